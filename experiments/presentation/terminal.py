"""Terminal output besides tables: progress between compiled calls, warnings, and where results are."""

import contextlib
import datetime
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from experiments.training.loop import Progress as JobProgress
    from experiments.training.loop import Report

_SECONDS_BETWEEN_LINES = 10.0


@contextlib.contextmanager
def progress(*, show: bool) -> "Iterator[Report]":
    """A reporter for `run_job`: a progress bar on a terminal, elsewhere a line for each stage and every ten seconds."""
    if not show:
        yield lambda progress: None
    elif sys.stderr.isatty():
        with _bar() as report:
            yield report
    else:
        yield plain_lines()


def say(sentence: str) -> None:
    """Print what is about to be done."""
    print(sentence, file=sys.stderr, flush=True)


def warn(sentence: str) -> None:
    """Print a warning."""
    say(f"tacit: warning: {sentence}")


def plain_lines() -> "Report":
    """A reporter that prints a line for each new stage and every ten seconds."""
    due = _throttle()

    def report(progress: "JobProgress") -> None:
        if due(progress.stage):
            steps = f"{progress.done:,} of {progress.total:,} steps a seed"
            left = f", {duration(progress.seconds_left)} left" if progress.seconds_left > 0 else ""
            print(f"{progress.stage}: {steps}{_numbers(progress)}{left}", flush=True)

    return report


def _throttle() -> Callable[[str], bool]:
    """Whether a line about a stage is due: at each new stage, and every ten seconds."""
    last = {"stage": "", "time": -math.inf}

    def due(stage: str) -> bool:
        now = time.monotonic()
        if stage == last["stage"] and now - last["time"] < _SECONDS_BETWEEN_LINES:
            return False
        last.update(stage=stage, time=now)
        return True

    return due


@contextlib.contextmanager
def _bar() -> "Iterator[Report]":
    columns = (
        TextColumn("{task.description}"), BarColumn(bar_width=10), TaskProgressColumn(),
        TextColumn("{task.fields[numbers]}"), TimeRemainingColumn(compact=True),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("starting", numbers="")

        def report(progress: "JobProgress") -> None:
            bar.update(
                task,
                description=progress.stage,
                completed=progress.done,
                total=progress.total,
                numbers=_numbers(progress),
            )

        yield report


def _numbers(progress: "JobProgress") -> str:
    if not progress.steps_per_second:
        return ""
    mean_return = "no game ended" if math.isnan(progress.mean_return) else f"return {progress.mean_return:.2f}"
    return f" {progress.steps_per_second:,.0f} steps/s, {mean_return}, entropy {progress.entropy:.2f}"


@contextlib.contextmanager
def counter(*, show: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A reporter of (stage, done, total): a progress bar on a terminal, elsewhere lines as in `plain_lines`."""
    if not show:
        yield lambda stage, done, total: None
    elif sys.stderr.isatty():
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), TaskProgressColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("starting")
            yield lambda stage, done, total: bar.update(task, description=stage, completed=done, total=total)
    else:
        due = _throttle()

        def report(stage: str, done: int, total: int) -> None:
            if due(stage):
                print(f"{stage}: {done:,} of {total:,}", flush=True)

        yield report


def where(folder: Path) -> str:
    """A sentence that names the folder of a table."""
    return f"table{' and figure' * any(folder.glob('*.svg'))} in {folder}"


def ago(updated: str, now: datetime.datetime) -> str:
    """How long ago a time in ISO 8601 was, in its largest unit, for example "3 min ago"."""
    return f"{duration((now - datetime.datetime.fromisoformat(updated)).total_seconds())} ago"


def duration(seconds: float) -> str:
    """A time in its largest unit, for example "3 min"; 0 s if it is negative."""
    whole = max(0, int(seconds))
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if whole >= 2 * size:
            return f"{whole // size} {unit}"
    return f"{whole} s"
