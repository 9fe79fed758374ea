"""The main job: train the runs of one configuration together, then play their seeds with each other.

Uses neither hydra nor the terminal, so that the same code runs from the command line, in a sweep and on an
accelerator machine (`experiments.run_piece`).
"""

import contextlib
import dataclasses
import itertools
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments import runs
from experiments.configuration.config import CrossPlayConfig, JobConfig, RunConfig
from experiments.training import checkpoints, initial_policies
from experiments.training.loop import Diverged, Report, Training, member
from experiments.training.memory import out_of_memory
from experiments.training.stopping import Paused, Stopper
from games.errors import TacitError
from games.shapes import require_shapes
from marl import devices
from marl.agent import Agent
from marl.crossplay import CrossPlay, crossplay


def run_job(
    config: JobConfig,
    *,
    leave_failed: bool = False,
    report: Report = lambda progress: None,
    warn: Callable[[str], None] = warnings.warn,
) -> list[Path]:
    """Train all runs of a job that are not finished yet and cross-play their seeds.

    An interrupted run resumes from its last checkpoint. If the training of one run diverges, the others continue
    without it.

    Args:
      config: the job; its runs train in one compiled program.
      leave_failed: skip runs that failed before.
      report: called with the progress between compiled calls.
      warn: called with a sentence for each damaged checkpoint that is skipped.

    Returns:
      The run directories, one for each run in the order of `config.runs`.

    Raises:
      Paused: if it was stopped by a signal or its time is used up; everything is saved.
      TacitError: if a run is being trained by another process, its checkpoint is of another version, training diverges
        or does not fit into memory.
      KeyboardInterrupt: after the directories have been marked as interrupted.
    """
    root = Path(config.execution.output)
    members = config.runs
    todo = [(run, root / run.name()) for run in members]
    if leave_failed:
        todo = [(run, path) for run, path in todo if not _has_failed(path)]
    _complete(config, todo, report, warn)
    return [root / run.name() for run in members]


def run_one(
    config: JobConfig,
    path: Path,
    *,
    report: Report = lambda progress: None,
    warn: Callable[[str], None] = warnings.warn,
) -> None:
    """Train the only run of a job into the directory `path`, whatever its name.

    Raises:
      TacitError: if the job has several runs; else as `run_job`.
    """
    members = config.runs
    if len(members) != 1:
        raise TacitError(f"one run directory holds one run, and this configuration stands for {len(members)}")
    _complete(config, [(members[0], path)], report, warn)


def cross_play_both(
    game: Any,
    agents: Sequence[Agent],
    config: CrossPlayConfig,
    on: Sequence[Any] | None = None,
    seating: np.ndarray | None = None,
) -> dict[str, CrossPlay]:
    """The sampled and the greedy cross-play that a `CrossPlayConfig` describes.

    Args:
      game, agents: who plays what.
      config: games, seed and, without `seating`, which agents meet.
      on: devices; None for the usual one.
      seating: int[C, players] the cells themselves.
    """
    return {
        name: crossplay(
            game,
            agents,
            games=config.games,
            greedy=name == "greedy",
            key=jax.random.key(config.seed),
            seating=config.seating if seating is None else seating,
            max_seatings=config.max_seatings,
            max_lanes=config.max_lanes,
            devices=on,
        )
        for name in ("sampled", "greedy")
    }


def _complete(
    config: JobConfig, members: Sequence[tuple[RunConfig, Path]], report: Report, warn: Callable[[str], None]
) -> None:
    """Claim the runs that are not finished; train those that have done the same number of updates in one program."""
    for run, _ in members[:1]:  # all have the same game; refuse a broken one before anything is written
        built = run.built
        require_shapes(built.game, [built.kind.observer])
        if config.initial_policies is not None:
            initial_policies.check(config.initial_policies, run)
    trainings: list[Training] = []
    ended: set[Path] = set()
    with Stopper(config.minutes) as stopper:
        todo = _claimed(config, members)
        try:
            found = sorted((member(run, path, warn) for run, path in todo), key=lambda one: -one.updates)
            groups = [list(group) for _, group in itertools.groupby(found, key=lambda one: one.updates)]
            trainings = [Training(config, group, stopper, report) for group in groups]
            for training in trainings:
                _finish(training, stopper, report)
                ended |= {one.path for one in training.members}
        except Diverged as error:
            _give_up([one for one in todo if one[1] == error.path], trainings, "failed", str(error))
            others = [one for one in todo if one[1] not in ended | {error.path}]
            _give_up(others, trainings, "interrupted", f"it goes on without run {error.path.name}, which diverged")
            diverged = error
        except (Paused, KeyboardInterrupt) as stop:
            _give_up(todo, trainings, "interrupted", str(stop) or "stopped from outside")
            raise
        except Exception as error:
            known = out_of_memory(error) or error
            reason = str(known) if isinstance(known, TacitError) else f"{type(known).__name__}: {known}"
            _give_up(todo, trainings, "failed", reason)
            raise known from error
        else:
            return
    if others:
        _complete(config, others, report, warn)
    raise diverged


def _has_failed(path: Path) -> bool:
    status = runs.read_status(path)
    return status is not None and status["state"] == "failed"


def _claimed(config: JobConfig, members: Sequence[tuple[RunConfig, Path]]) -> list[tuple[RunConfig, Path]]:
    """Claim the runs that are not finished, and return them; of several processes the first one claims for all."""
    overwrite, first = config.execution.overwrite, jax.process_index() == 0
    if first:
        for run, path in members:  # refuse before anything is written
            runs.needs_training(path, run, overwrite=overwrite)
    claimed = []
    for run, path in members:
        mine = False
        try:
            mine = first and runs.claim(path.parent, run, overwrite=overwrite, name=path.name) is not None
            if mine and overwrite:
                checkpoints.discard(path / runs.CHECKPOINTS)
        except BaseException as error:
            _give_up([*claimed, *[(run, path)] * mine], (), "interrupted", str(error) or "stopped from outside")
            raise
        if devices.broadcast_from_first(mine):
            claimed.append((run, path))
    return claimed


def _finish(training: Training, stopper: Stopper, report: Report) -> None:
    """Train, then cross-play the seeds of each run."""
    for number, (one, params) in enumerate(zip(training.members, training.run(), strict=True)):
        # A process that has trained nothing yet plays the first cross-play even if its time is used up.
        if (number or training.calls) and devices.broadcast_from_first(stopper.stop()):
            training.save()
            raise stopper.pause(f"before the cross-play of run {one.path.name}")
        report(training.progress(f"cross-play {number + 1} of {len(training.members)}"))
        config = training.config
        results = cross_play_both(training.game, training.agents(params), config.crossplay, training.devices)
        if jax.process_index() == 0:
            runs.check_mine(one.path)
            runs.write_policies(one.path / "policies.safetensors", one.config, params)
            runs.write_crossplay(one.path, results, dataclasses.asdict(config.crossplay))
            runs.write_metrics(one.path, training.table(number))
            runs.finish(one.path, steps=training.steps)
            checkpoints.discard(one.folder)


def _give_up(todo: Sequence[tuple[RunConfig, Path]], trainings: Sequence[Training], state: str, reason: str) -> None:
    """Write a state and its reason into the runs that are not finished, if this process still owns them."""
    if jax.process_index() != 0:
        return
    tables = {one.path: (training, n) for training in trainings for n, one in enumerate(training.members)}
    for _, path in todo:
        with contextlib.suppress(TacitError):
            if runs.is_finished(path):
                continue
            runs.check_mine(path)
            steps = 0
            if path in tables:
                training, number = tables[path]
                steps = training.steps
                runs.write_metrics(path, training.table(number))
            runs.write_status(path, state, steps=steps, reason=reason)
