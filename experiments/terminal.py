"""What people see: a progress bar between compiled calls, and tables."""

import contextlib
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from experiments import compare
from experiments.job import Progress as JobProgress
from experiments.job import Report

_SECONDS_BETWEEN_LINES = 10.0


@contextlib.contextmanager
def progress(*, show: bool) -> Iterator[Report]:
    """A reporter for `run_job`: a bar on a terminal, a line now and then elsewhere."""
    if not show:
        yield lambda progress: None
    elif sys.stderr.isatty():
        with _bar() as report:
            yield report
    else:
        yield plain_lines()


def plain_lines() -> Report:
    """A reporter that prints a line for each new stage and every ten seconds."""
    last = {"stage": "", "time": -math.inf}

    def report(progress: JobProgress) -> None:
        now = time.monotonic()
        if progress.stage == last["stage"] and now - last["time"] < _SECONDS_BETWEEN_LINES:
            return
        last.update(stage=progress.stage, time=now)
        print(f"{progress.stage}: {progress.done:,} of {progress.total:,} steps a seed{_numbers(progress)}", flush=True)

    return report


@contextlib.contextmanager
def _bar() -> Iterator[Report]:
    columns = (
        TextColumn("{task.description}"), BarColumn(bar_width=10), TaskProgressColumn(),
        TextColumn("{task.fields[numbers]}"), TimeRemainingColumn(compact=True),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("starting", numbers="")

        def report(progress: JobProgress) -> None:
            bar.update(
                task,
                description=progress.stage,
                completed=progress.done,
                total=progress.total,
                numbers=_numbers(progress),
            )

        yield report


def _numbers(progress: JobProgress) -> str:
    if not progress.steps_per_second:
        return ""
    mean_return = "no game ended" if math.isnan(progress.mean_return) else f"return {progress.mean_return:.2f}"
    return f" {progress.steps_per_second:,.0f} steps/s, {mean_return}, entropy {progress.entropy:.2f}"


def show_comparison(comparison: compare.Comparison, folder: Path | None) -> None:
    """Print the table of a comparison, and where it was written."""
    console = Console(width=None if sys.stdout.isatty() else 200)
    table = Table(title=f"{comparison.game} (best {comparison.score_range[1]:g}); 95 % intervals over seeds")
    keys = list(comparison.rows[0].keys)
    for name in [*(key.split(".")[-1] for key in keys), *compare.COLUMNS]:
        table.add_column(name, justify="right", overflow="fold")
    for row in comparison.rows:
        values = [f"{value:g}" if isinstance(value, float) else str(value) for value in row.keys.values()]
        table.add_row(*values, *compare.cells(row))
    console.print(table)
    for sentence in (*compare.notes(comparison), compare.gain_sentence(comparison)):
        if sentence:
            console.print(sentence, highlight=False)
    for row in comparison.rows:
        print(f"run {row.path}")
    if folder is not None:
        print(f"table and figure in {folder}")
