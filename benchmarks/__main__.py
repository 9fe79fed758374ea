"""`python -m benchmarks`: all measurements beside JaxMARL, as the tables of docs/performance.md."""

import argparse
import importlib.metadata
import os
import platform
import sys
from pathlib import Path

import jax

from benchmarks import crossplay, engine, training


def main() -> int:
    """Print the report; status 2 if the peer is not installed."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("--only", choices=["engine", "training", "crossplay"], help="one part instead of all")
    parser.add_argument("--games", type=int, default=training.GAMES, help="games of the training part (%(default)s)")
    parser.add_argument("--repeats", type=int, default=2, help="measured updates of the training part (%(default)s)")
    parser.add_argument("--baselines", type=Path, help="a JaxMARL checkout, whose own training script is measured")
    options = parser.parse_args()
    try:
        peer = importlib.metadata.version("jaxmarl")
    except importlib.metadata.PackageNotFoundError:
        print(
            "the benchmark measures beside JaxMARL, which is not installed: pip install 'tacit[bench]'", file=sys.stderr
        )
        return 2
    print(f"Python {platform.python_version()}, jax {jax.__version__}, JaxMARL {peer}, {_machine()}")
    parts = {
        "engine": engine.main,
        "training": lambda: training.main(games=options.games, repeats=options.repeats, baselines=options.baselines),
        "crossplay": crossplay.main,
    }
    for name, part in parts.items():
        if options.only in (None, name):
            print(f"\n## {name}\n", *part(), sep="\n", flush=True)
    return 0


def _machine() -> str:
    device = jax.devices()[0]
    if device.platform != "cpu":
        return f"{len(jax.devices())} x {device.device_kind}"
    names = [line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return f"{os.cpu_count()} cores of {names[0] if names else platform.processor()}"


def _lines(file: str) -> list[str]:
    try:
        return Path(file).read_text().splitlines()
    except OSError:
        return []


if __name__ == "__main__":
    sys.exit(main())
