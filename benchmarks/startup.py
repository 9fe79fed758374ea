"""The cost of starting a command and of `import tacit`: CPU seconds of a separate process, which depend little on load.

Files are in the page cache, since every command runs once before it is measured. `tacit compare` reads runs of a toy
game that are trained for it, each time without an index.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

REPEATS = 5
TOY = (
    "game=lever", "seeds=8", "budget.steps=64", "crossplay.games=8", "policy.torso=[8]", "learner.num_games=8",
    "learner.rollout_length=4", "learner.epochs=1", "learner.minibatches=1",
    "learner.entropy_coef=[0.01,0.02,0.03,0.04,0.05,0.06,0.07,0.08]", "execution.figures=false",
    "execution.progress=false", "execution.evaluations=0", "execution.rows=2",
)  # fmt: skip
"""A job of eight runs."""
_CONFIGURED = ("train", "phase", "zsc-table", "structure-table", "adaptive")
_OTHERS = (
    "crossplay", "zoo", "compare", "report", "export", "status", "runs", "methods", "conventions", "symmetries",
    "games", "verify", "config",
)  # fmt: skip
IMPORT = "import tacit"
"""In the place of a command: Python alone imports the face."""
COMMANDS: tuple[tuple[str, float | None], ...] = (
    (IMPORT, 0.2),
    ("--help", 1.0),
    ("games", 1.0),
    ("games hanabi", 1.0),
    ("games hanabi players=3", None),
    ("status runs", 1.0),
    ("runs check runs", 1.0),
    ("compare runs --format csv", 2.0),
    ("compare runs", None),
    ("config", None),
    *((f"{name} --help", 1.0) for name in (*_CONFIGURED, *_OTHERS)),
)
"""The arguments of `tacit`, and the goal for its CPU seconds, if there is one."""


def main(*, repeats: int = REPEATS, commands: tuple[tuple[str, float | None], ...] = COMMANDS) -> list[str]:
    """The lines of a table: the least and the median CPU seconds of each command."""
    with tempfile.TemporaryDirectory() as folder:
        if any(" runs" in f" {command}" for command, _ in commands):
            _run(["train", *TOY], Path(folder))
        lines = ["| `tacit …` | CPU s, least (median) | goal |", "|---|---:|---:|"]
        for command, goal in commands:
            arguments = [] if command == IMPORT else command.split()
            _run(arguments, Path(folder))
            taken = [_run(arguments, Path(folder)) for _ in range(repeats)]
            said = f"{min(taken):.2f} ({statistics.median(taken):.2f})"
            lines.append(f"| `{command}` | {said} | {'' if goal is None else goal} |")
    return lines


def _run(arguments: list[str], folder: Path) -> float:
    """CPU seconds, user and system, of a command in `folder`; without arguments, of `import tacit`."""
    program = ["-m", "tacit", *arguments] if arguments else ["-c", IMPORT]
    with tempfile.TemporaryDirectory() as cache:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, *program],
            cwd=folder,
            env={**os.environ, "XDG_CACHE_HOME": cache},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
