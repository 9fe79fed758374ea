"""`tacit train`: compose a configuration with hydra, train its runs, show what they say."""

import difflib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiments import compare, figures, runs, terminal
from experiments.config import JobConfig
from experiments.job import run_job
from games.errors import TacitError

_CONFIG = "pkg://conf"


def run(config: JobConfig) -> float | None:
    """Train the runs of a job, draw their figures and print the comparison.

    Returns:
      The lower end of the last run's greedy XP interval (its mean if there is no interval), for sweepers.
    """
    with terminal.progress(show=config.execution.progress) as report:
        paths = run_job(config, report=report)
    if config.execution.figures:
        for path in paths:
            draw(path)
    comparison = compare.compare(paths)
    folder = compare.write(comparison, Path(config.execution.output), draw=config.execution.figures)
    terminal.show_comparison(comparison, folder)
    best = comparison.rows[-1].summaries["greedy"].cross_play
    return best.mean if best.low is None else best.low


def draw(path: Path) -> None:
    """The figures of one finished run, into its directory, if they are not there."""
    if (path / "crossplay.svg").exists():
        return
    run = runs.read_run(path)
    title = f"{run.game.name}, run {run.name}, entropy coefficient {run.config.learner['entropy_coef']:g}"
    curves = figures.learning_curves(runs.read_metrics(path), run.game.score_range, title)
    figures.save(curves, path / "learning_curves")
    matrices = figures.crossplay_matrices(runs.read_crossplay(path), run.game.score_range, title)
    figures.save(matrices, path / "crossplay")


def main(arguments: Sequence[str]) -> None:
    """Run `tacit train ARGUMENTS`.

    Raises:
      TacitError: for anything wrong with the configuration, before anything compiles.
    """
    parser = get_args_parser()
    parser.error = _refuse
    overrides = parser.parse_intermixed_args(list(arguments)).overrides
    flags = list(arguments)
    for override in overrides:
        flags.remove(override)
    _check(overrides)
    sys.argv = ["tacit train", *flags, *overrides]  # hydra's parser takes overrides in one piece only
    # Hydra would print a traceback's end of its own and exit; the command line says it in one sentence instead.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        _job()
    except (HydraException, OmegaConfBaseException) as error:
        raise TacitError(_one_line(error)) from error
    except SystemExit as end:
        if isinstance(end.code, str):
            raise TacitError(end.code) from end
        raise


@hydra.main(version_base="1.3", config_path=_CONFIG, config_name="config")
def _job(composed: DictConfig) -> float | None:
    try:
        return run(JobConfig.parse(_plain(composed)))
    except TacitError as error:
        # Hydra prints the whole command line before it passes an error on, and nothing before an exit.
        raise SystemExit(str(error)) from error


def _refuse(message: str) -> NoReturn:
    raise TacitError(message)


def _check(overrides: list[str]) -> None:
    """Compose and parse every configuration that the overrides name, one choice of a sweep at a time."""
    parser = OverridesParser.create()
    try:
        parsed = parser.parse_overrides(overrides)
        fixed = [str(o.input_line) for o in parsed if not o.is_sweep_override() and not o.is_hydra_override()]
        swept = [
            [f"{o.get_key_element()}={choice}" for choice in o.sweep_string_iterator()]
            for o in parsed
            if o.is_sweep_override() and not o.is_hydra_override() and o.is_discrete_sweep()
        ]
        first = [choices[0] for choices in swept]
    except HydraException as error:
        raise TacitError(_one_line(error)) from error
    JobConfig.parse(compose([*fixed, *first]))
    for number, choices in enumerate(swept):
        for choice in choices[1:]:
            JobConfig.parse(compose([*fixed, *first[:number], choice, *first[number + 1 :]]))


def compose(overrides: Sequence[str]) -> dict[str, Any]:
    """The configuration as plain data, from `conf/` and `overrides`.

    Raises:
      TacitError: for a key or a choice that is not there.
    """
    try:
        with hydra.initialize_config_module("conf", version_base="1.3"):
            return _plain(hydra.compose("config", list(overrides)))
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise TacitError(_one_line(error)) from error


def _plain(composed: DictConfig) -> dict[str, Any]:
    plain: Any = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    return {key: value for key, value in plain.items() if key != "hydra"}


def _one_line(error: Exception) -> str:
    """Hydra's complaint in one sentence, in the words of its user."""
    text = str(error)
    if missing := re.search(r"Could not (?:override|append|find).*? '([^'/]+)'", text):
        key = missing.group(1)
        near = difflib.get_close_matches(key, [known for known in _keys(compose([])) if known != key], n=1)
        return f"the configuration has no key {key!r}" + (f"; did you mean {near[0]!r}?" if near else "")
    if missing := re.search(
        r"Could not find '([^']+)/([^'/]*)'.*?Available options in '[^']+':(.*?)(?:\n\S|$)", text, re.S
    ):
        group, choice, options = missing.groups()
        return f"there is no {group} {choice!r}; there are {', '.join(options.split())}"
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())


def _keys(plain: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The dotted names of all keys, groups included."""
    keys = []
    for key, value in plain.items():
        keys.append(prefix + key)
        if isinstance(value, Mapping):
            keys += _keys(value, f"{prefix}{key}.")
    return keys
