"""The command `tacit`, also as `python -m tacit`."""

from experiments.cli import main

if __name__ == "__main__":
    main()
