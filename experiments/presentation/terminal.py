"""Terminal output besides tables: progress between compiled calls, warnings, and where results are."""

import contextlib
import datetime
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

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
    """Print a sentence on standard error, in one write, since several processes may; or not, if nobody reads there."""
    try:
        sys.stderr.write(f"{sentence}\n")
        sys.stderr.flush()
    except BrokenPipeError:  # as behind `2>&1 | head -1`: a run does not fail for that
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


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
            say(f"{progress.stage}: {steps}{_numbers(progress)}{left}")

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
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

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
def counter(*, show: bool) -> Iterator[Callable[..., None]]:
    """A reporter of (stage, done, total, left): a progress bar on a terminal, elsewhere lines as in `plain_lines`.

    `left` are the seconds that everything still takes, None (the default) where they are not known.
    """
    if not show:
        yield lambda stage, done, total, left=None: None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("{task.description}"), BarColumn(bar_width=20), TaskProgressColumn(), TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
        )  # fmt: skip
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("starting", left="")
            yield lambda stage, done, total, left=None: bar.update(
                task, description=stage, completed=done, total=total, left=_left(left).removeprefix(", ")
            )
    else:
        due = _throttle()

        def report(stage: str, done: int, total: int, left: float | None = None) -> None:
            if due(stage):
                say(f"{stage}: {done:,} of {total:,}{_left(left)}")

        yield report


def _left(seconds: float | None) -> str:
    return "" if seconds is None else f", about {duration(seconds)} left"


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
