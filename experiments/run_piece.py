"""`python -m experiments.run_piece CONFIG.json RUN_DIR`: train and cross-play one run without hydra.

CONFIG.json is a composed configuration (`tacit train … --cfg job` prints one as YAML; `tacit config …` as JSON).
For machines that have only jax, flax, optax and safetensors.
"""

import json
import sys
from pathlib import Path

from experiments.training import hosts, platforms
from experiments.training.job import run_one
from experiments.training.loop import Progress
from experiments.training.stopping import INTERRUPTED, Paused
from games.errors import TacitError


def main(arguments: list[str]) -> int:
    """Train and cross-play the run of `arguments`, CONFIG.json and RUN_DIR; bad input is reported on standard error.

    Returns:
      The exit status: 0 finished, 2 bad input, 75 time used up, 130 interrupted.
    """
    if len(arguments) != 2:
        print("usage: python -m experiments.run_piece CONFIG.json RUN_DIR", file=sys.stderr)
        return 2
    try:
        try:
            plain = json.loads(Path(arguments[0]).read_text())
        except (OSError, ValueError) as error:
            raise TacitError(f"{arguments[0]} is not a readable JSON file: {error}") from error
        run_one(hosts.parse(plain), Path(arguments[1]), report=_print, warn=_warn)
    except TacitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Paused as pause:
        print(pause, file=sys.stderr)
        return pause.status
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        if (refused := platforms.unusable(error)) is None:
            raise
        print(f"error: {refused}", file=sys.stderr)
        return 2
    return 0


def _print(progress: Progress) -> None:
    print(*progress, flush=True)


def _warn(sentence: str) -> None:
    print(f"warning: {sentence}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
