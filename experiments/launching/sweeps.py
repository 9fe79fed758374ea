"""Sweeps: the jobs of a grid whose runs are not finished yet; a job that fails does not stop the others.

How a run ended is read from its status file, since launchers report a job as completed even if its training failed.
"""

import collections
import copy
import dataclasses
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf

from experiments import runs
from experiments.launching.compose import Command, plain
from experiments.launching.overrides import choices, short, swept
from experiments.presentation import terminal
from experiments.training.stopping import TRY_AGAIN, Paused
from games.errors import TacitError

MAKE, LEAVE, DAMAGED = "make", "leave", "damaged"
"""What a sweep does with a run: make it, skip it, or report its directory as damaged and skip it."""


def sweep(
    command: Command,
    arguments: Sequence[str],
    loader: ConfigLoader,
    config: DictConfig,
    launcher: Launcher,
    *,
    at_once: int | None = None,
    warning: str = "",
) -> list[JobReturn]:
    """Launch the jobs of a command's overrides, then show the finished runs and count the others.

    Args:
      arguments: overrides; of two for one key the last counts.
      loader, config: hydra's loader, and the configuration that it composed for the sweep.
      at_once: jobs given to the launcher at once; None for all.
      warning: shown before the first job, once all are found to be right.

    Raises:
      TacitError: for an invalid configuration, before the first job.
      Paused: if a run is not finished.
    """
    overrides = OverridesParser.create(config_loader=loader).parse_overrides(list(arguments))
    jobs = list(itertools.product(*{override.get_key_element(): choices(override) for override in overrides}.values()))
    keys = swept(overrides)
    plans: dict[Path, str] = {}  # what to do with every run of the sweep
    todo: list[tuple[tuple[str, ...], list[Path]]] = []  # jobs, and the runs that they are to make
    draw, left, steps = False, [], 0
    compose = Composer(loader, config)
    for job in jobs:
        checked = command.parse(plain(compose(job), command.root))
        members = {Path(checked.execution.output) / run.name(): run for run in command.members(checked)}
        new = {path: _plan(path, members[path], checked.execution) for path in members if path not in plans}
        plans |= new
        draw |= checked.execution.figures
        if MAKE in new.values():  # gamma=0 and gamma=0.0 are one run
            todo.append((job, [path for path, plan in new.items() if plan == MAKE]))
            steps += sum(command.steps(members[path]) for path in todo[-1][1])
        else:
            if dataclasses.is_dataclass(checked) and not isinstance(checked, type):
                checked = dataclasses.replace(checked)  # without the games that it has built
            left += [(checked, path) for path in new if _state(path) == "finished"]
    if warning:
        terminal.warn(warning)
    _print_what_comes(len(jobs), [len(made) for _, made in todo], steps)
    folder = Path(config.hydra.sweep.dir)
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, folder / "multirun.yaml")
    ended: list[JobReturn] = []
    batch = at_once or max(len(todo), 1)
    for first in range(0, len(todo), batch):
        ended += _launched(launcher, todo[first : first + batch], first)
    for (job, _), result in zip(todo, ended, strict=True):
        _print_error(short(job, keys), result)
    if sentence := command.caution(left):
        terminal.warn(sentence)
    states = {path: plan if plan == DAMAGED else _state(path) for path, plan in plans.items()}
    paused = any(isinstance(_error(result), Paused) for result in ended)
    _conclude(states, lambda finished: command.conclude(finished, draw), paused=paused)
    return ended


class Composer:
    """Composes the configurations of the jobs of one sweep, which all change the same keys.

    Hydra takes a tenth of a second for a job. So jobs that differ only in plain values share one composed
    configuration, into which the values are put.
    """

    def __init__(self, loader: ConfigLoader, config: DictConfig) -> None:
        self._loader, self._config = loader, config
        self._bases: dict[tuple[str, ...], DictConfig] = {}

    def __call__(self, job: Sequence[str]) -> DictConfig:
        """The configuration of a job, without hydra's own part."""
        overrides = OverridesParser.create().parse_overrides(list(job))
        values = {override.key_or_group: override.value() for override in overrides if self._is_value(override)}
        others = tuple(str(override.input_line) for override in overrides if override.key_or_group not in values)
        if others not in self._bases:
            composed = self._loader.load_sweep_config(self._config, list(job))
            self._bases[others] = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
        own = copy.deepcopy(self._bases[others])
        for key, value in values.items():
            OmegaConf.update(own, key, value)
        return own

    def _is_value(self, override: Override) -> bool:
        """Whether an override only sets a plain value, judged by the configurations composed so far.

        Other overrides choose from a group, add a key or delete one.
        """
        return override.type == OverrideType.CHANGE and any(
            OmegaConf.select(base, override.key_or_group) is not None
            and not OmegaConf.is_config(OmegaConf.select(base, override.key_or_group))
            for base in self._bases.values()
        )


def _plan(path: Path, run: runs.Config, execution: Any) -> str:
    """What a sweep does with a run: make it unless it is finished, owned by another process, or has failed before."""
    try:
        if not runs.needs_training(path, run, overwrite=execution.overwrite):
            return LEAVE
        status = runs.read_status(path)
    except runs.Busy:
        return LEAVE
    except TacitError as error:
        terminal.say(f"tacit: {error}")
        return DAMAGED
    failed = status is not None and status["state"] == "failed"
    return LEAVE if failed and not (execution.retry_failed or execution.overwrite) else MAKE


def _launched(
    launcher: Launcher, batch: Sequence[tuple[tuple[str, ...], list[Path]]], first: int
) -> Sequence[JobReturn]:
    """Launch a batch of jobs, the sweep's from number `first` on, and return how each ended.

    If a launcher gives up all jobs because the process of one was killed, the unfinished ones are launched again. A job
    that was under way at two such failures counts as failed.
    """
    ended: dict[int, JobReturn] = {}
    begun: collections.Counter[int] = collections.Counter()
    todo = list(range(len(batch)))
    while todo:
        try:
            results = launcher.launch([batch[number][0] for number in todo], initial_job_idx=first)
        except TacitError:
            raise
        except Exception as error:  # an error of the launcher itself; those of jobs are in their results
            sentence = f"its process was lost: {type(error).__name__}: {' '.join(str(error).split())}"
            lost = JobReturn(status=JobStatus.FAILED, _return_value=TacitError(sentence))
            states = {number: {_state(path) for path in batch[number][1]} for number in todo}
            began = [number for number in todo if states[number] not in ({"finished"}, {"not begun"})]
            begun.update(began)
            ended |= {
                number: JobReturn(status=JobStatus.COMPLETED) for number in todo if states[number] == {"finished"}
            }
            ended |= {number: lost for number in todo if begun[number] > 1}
            if not began:  # no job has begun: the launcher itself does not work
                ended |= {number: lost for number in todo if number not in ended}
            todo = [number for number in todo if number not in ended]
        else:
            ended |= dict(zip(todo, results, strict=True))
            todo = []
    return [ended[number] for number in range(len(batch))]


def _print_what_comes(jobs: int, todo: Sequence[int], steps: int) -> None:
    """Print the number of jobs, of those that are left out, of the runs that the others make, and of their steps."""
    left = f", {jobs - len(todo)} of them left out: finished, failed before, at work elsewhere, or twice in it"
    made = sum(todo)
    total = f"; {made} run{'s' * (made != 1)} to make" + f", {steps:,} steps in all" * bool(steps)
    terminal.say(f"sweep of {jobs} job{'s' * (jobs != 1)}{left * (len(todo) < jobs)}{total * bool(made)}")


def _print_error(job: str, result: JobReturn) -> None:
    """Print a job's error, if it ended with one."""
    error = _error(result)
    if error is not None:
        sentence = str(error) if isinstance(error, TacitError | Paused) else f"{type(error).__name__}: {error}"
        terminal.say(f"tacit: job {job}: {sentence}")


def _error(result: JobReturn) -> Exception | None:
    return result._return_value if result.status is JobStatus.FAILED else None


def _conclude(states: Mapping[Path, str], show: Callable[[Sequence[Path]], None], *, paused: bool) -> None:
    """Show the finished runs and count the others.

    Raises:
      Paused: if a run is not finished.
    """
    finished = [path for path, state in states.items() if state == "finished"]
    if finished:
        show(finished)
        _warn_other_versions(finished)
    counts = collections.Counter(state for state in states.values() if state != "finished")
    if counts:
        said = ", ".join(f"{number} {state}" for state, number in counts.items())
        again = "; execution.retry_failed=true tries what failed again" * ("failed" in counts)
        folder = os.path.commonpath([path.parent for path in states])
        raise Paused(
            f"{len(finished)} of {len(states)} runs are finished, {said}: tacit status {folder} says why{again}",
            TRY_AGAIN if paused else 1,
        )


def _warn_other_versions(paths: Sequence[Path]) -> None:
    """Warn of finished runs that were made with other library versions or on another device."""
    here = runs.versions()
    other = [path for path in paths if runs.read_json(path / "run.json").get("versions") != here]
    if other:
        terminal.warn(
            f"{len(other)} of these runs were made with other versions of jax and its like, or on another device, such "
            f"as {other[0]}; execution.overwrite=true makes them again"
        )


def _state(path: Path) -> str:
    try:
        status = runs.read_status(path)
        if status is None:
            return "not begun"
        state = runs.state_of(path, status)
        return DAMAGED if state == "finished" and runs.missing(path) else state
    except TacitError:
        return DAMAGED
