"""`tacit train`: train the runs of a job and show their scores."""

import dataclasses
import functools
import operator
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import numpy as np

from experiments import runs
from experiments.analysis import compare
from experiments.configuration import conf_files
from experiments.configuration.config import JobConfig, RunConfig
from experiments.configuration.targets import PARTS
from experiments.launching import compose
from experiments.presentation import figures, terminal
from experiments.runs import Runs
from experiments.runs.record import game_name
from experiments.training import hosts
from experiments.training.job import run_job
from marl.crossplay.estimators import cross_play


def run(config: JobConfig, *, in_sweep: bool = False, note: str = "") -> float | None:
    """Say what a job will do, with a note; train its runs, draw their figures and print the comparison.

    A job of a sweep prints no comparison, since the sweep does so at its end. It also skips runs that failed before,
    unless they are to be retried.

    Returns:
      The objective of a search: the lower end of the last run's greedy XP interval, or its mean if there is no
      interval. None in all processes but the first, and if there is neither.
    """
    first = jax.process_index() == 0
    if config.execution.progress and first and not in_sweep:
        terminal.say(plan(config) + note)
    with terminal.progress(show=config.execution.progress and first) as report:
        leave_failed = in_sweep and not (config.execution.retry_failed or config.execution.overwrite)
        warn = terminal.warn if first else lambda sentence: None
        paths = run_job(config, leave_failed=leave_failed, report=report, warn=warn)
    if not first:
        return None
    paths = [path for path in paths if runs.is_finished(path)]  # a sweep leaves out what failed before
    if sentence := other_crossplay([(config, path) for path in paths]):
        terminal.warn(sentence)
    if not in_sweep:
        for path in paths:
            if risen := still_rising(runs.read_metrics(path), config.runs[0].built.game.score_range):
                terminal.say(
                    f"run {path.name}: returns still rose at the end, from {risen[0]:.3g} to {risen[1]:.3g} within the "
                    "last fifth of the budget: with a larger budget.steps its scores may differ"
                )
    if config.execution.figures:
        for path in paths:
            draw(path)
    if not in_sweep:
        conclude(paths, config.execution.figures)
    if not paths:
        return None
    cells = runs.read_crossplay(paths[-1])["greedy"]
    best = cross_play(*cells.cells)
    return best.mean if best.low is None else best.low


def trained(overrides: Sequence[str]) -> Runs:
    """Train the runs that the arguments of `tacit train` stand for, unless they are finished, and read them.

    Nothing is printed and no figure drawn. Several jobs (KEY=A,B) are trained one after the other.

    Raises:
      TacitError: for anything wrong with a configuration, before anything compiles; and as `run_job`.
      Paused: as `run_job`.
    """
    jobs = [JobConfig.parse(plain) for plain in compose.jobs(overrides)]
    made = [(job, path) for job in jobs for path in run_job(job)]
    if sentence := other_crossplay(made):
        warnings.warn(sentence, stacklevel=3)
    return runs.load([path for _, path in made], index=False)


def plan(config: JobConfig) -> str:
    """What a job will do: game, learner and coefficients, seeds, steps and folder.

    Raises:
      TacitError: if the directory of a run is damaged.
    """
    members, output = config.runs, Path(config.execution.output)
    paths = [output / one.name() for one in members]
    done = 0 if config.execution.overwrite else sum(map(runs.is_finished, paths))
    varied = [key for key, value in members[0].learner.items() if any(one.learner[key] != value for one in members)]
    what = [game_name(config.game), *(part["_target_"].rpartition(".")[2] for part in (config.policy, config.learner))]
    what += [f"{key} {', '.join(map(str, dict.fromkeys(one.learner[key] for one in members)))}" for key in varied]
    several = f"{len(members)} runs of " * (len(members) > 1)
    total = sum(map(_steps, members))
    before = f"; {done} of {len(members)} finished before" * bool(done)
    return (
        f"{', '.join(what)}: {several}{config.seeds} seed{'s' * (config.seeds > 1)}, {config.steps:,} steps a seed, "
        f"{total:,} in all, into {output if several else paths[0]}{before}"
    )


def _steps(config: RunConfig) -> int:
    """The steps of games of all seeds of a run."""
    return config.seeds * config.steps


def other_crossplay(asked: Sequence[tuple[JobConfig, Path]]) -> str:
    """A sentence that names the finished runs whose cross-play had other settings than those asked for."""
    found = {path: runs.played_otherwise(path, dataclasses.asdict(config.crossplay)) for config, path in asked}
    others = {path: differs for path, differs in found.items() if differs}
    if not others:
        return ""
    path, differs = next(iter(others.items()))
    number = f"{len(others)} finished runs, such as {path}, keep their" if len(others) > 1 else f"run {path} keeps its"
    return (
        f"{number} cross-play of before ({differs}): tacit crossplay plays seeds anew, execution.overwrite=true makes "
        "runs again"
    )


def still_rising(metrics: Mapping[str, np.ndarray], score_range: tuple[float, float]) -> tuple[float, float] | None:
    """Mean returns in the last tenth of training and in the tenth before it, the earlier first, if they rose.

    Returns rose if the mean rise of the seeds is above a hundredth of the possible range, and above two standard errors
    over the seeds.

    Args:
      metrics: `count` and `return_sum` [rows, seeds] of a run, as `runs.read_metrics` gives them.
      score_range: the least and the greatest sum of a game's rewards.
    """
    tenth = len(metrics["steps"]) // 10
    if not tenth:
        return None

    def mean_returns(rows: slice) -> np.ndarray:
        return metrics["return_sum"][rows].sum(axis=0) / metrics["count"][rows].sum(axis=0)

    with np.errstate(invalid="ignore"):  # no game ended
        before, last = mean_returns(slice(-2 * tenth, -tenth)), mean_returns(slice(-tenth, None))
    rise = last - before
    error = rise.std(ddof=1) / np.sqrt(rise.size) if rise.size > 1 else 0.0
    if rise.mean() > max((score_range[1] - score_range[0]) / 100, 2 * error):
        return float(before.mean()), float(last.mean())
    return None


def conclude(paths: Sequence[Path], draw: bool) -> None:
    """Print the comparison of finished runs and write it to compare/ in their folder, with a figure if `draw`."""
    found, said = compare.read(paths)
    compare.show(found, said, paths[0].parent, draw=draw)


def draw(path: Path) -> None:
    """Draw the figures of one finished run into its directory, unless they exist."""
    if (path / "crossplay.svg").exists():
        return
    run = runs.read_run(path)
    title = f"{run.game.name}, run {run.name}, entropy coefficient {run.config.learner['entropy_coef']:g}"
    curves = figures.learning_curves(runs.read_metrics(path), title)
    figures.save(curves, path / "learning_curves")
    matrices = figures.crossplay_matrices(runs.read_crossplay(path), run.game.score_range, title)
    figures.save(matrices, path / "crossplay")


def main(arguments: Sequence[str]) -> None:
    """Run `tacit train ARGUMENTS`.

    Raises:
      TacitError: for anything wrong with the configuration, before anything compiles.
    """
    default = conf_files.default_choices(compose.TRAIN)
    chosen = " ".join(f"{group}={default[group]}" for group in PARTS)
    note = f" (the default: {chosen}; tacit train --help says what else there is)" * (not arguments)
    command = compose.Command(
        "train",
        compose.TRAIN,
        hosts.parse,
        functools.partial(run, note=note),
        operator.attrgetter("runs"),
        conclude,
        other_crossplay,
        _steps,
    )
    compose.main(command, arguments)
