"""Results for notebooks: each function takes the KEY=VALUE arguments of a command, makes its runs, and reads them.

A finished run is not made again, so running a notebook a second time only reads. Nothing is printed.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np

from experiments import runs
from experiments.configuration.config import JobConfig, build_game
from experiments.launching import compose
from experiments.studies import phase, structure_table, study, zsc_table
from experiments.training.job import run_job
from games.errors import TacitError
from games.tabular.simulator import Simulator
from marl.exact import crossplay
from marl.exact.methods import METHODS


def trained(*arguments: str) -> list[Path]:
    """`tacit train`: the run directories of the job.

    Raises:
      TacitError: as the command.
    """
    return run_job(JobConfig.parse(compose.compose(arguments)))


def initial_state(*arguments: str, seed: int = 0) -> Any:
    """The initial state of the game that the arguments choose, parsed as by `tacit train`.

    Raises:
      TacitError: as the command.
    """
    return build_game(compose.compose(arguments)["game"]).init(key=jax.random.key(seed))


def examples() -> Path:
    """Make the modules of the repository's folder examples/ importable, and so usable in arguments; return the folder.

    Raises:
      TacitError: if the package was installed without it.
    """
    folder = Path(__file__).parents[1] / "examples"
    if not folder.is_dir():
        raise TacitError("the folder examples/ is in Tacit's repository, and this is an installed package without it")
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    return folder


def phases(*arguments: str) -> list[dict[str, Any]]:
    """`tacit phase`: a phase diagram for each job that the arguments stand for (KEY=A,B are several).

    Returns:
      phase.json of each. Added to its `solutions` at each α are
        probabilities   for each agent float64[K, H, A]
        soft_cells, greedy_cells   float64[K, K], cross-play (of two agents; see `experiments.studies.phase` for more)
      and added to the file `decisions`, the histories and actions of agent 0 in words (see `decisions`).

    Raises:
      TacitError: as the command.
    """
    return [_with_solutions(config) for config in study.configs(phase.STUDY, arguments)]


def methods(*arguments: str) -> list[dict[str, Any]]:
    """`tacit zsc-table`, one for each game that the arguments stand for.

    Returns:
      zsc.json of each. Added to those of its `methods` that apply are
        probabilities   for each agent float64[K, H, A], of the K outcomes
        cells           float64[K, K], self-play and cross-play of the outcomes without relabelling
      and added to the file `decisions` (see `decisions`).

    Raises:
      TacitError: as the command.
    """
    return [_with_outcomes(config) for config in study.configs(zsc_table.STUDY, arguments)]


def structures(*arguments: str) -> list[dict[str, Any]]:
    """`tacit structure-table`: structure.json for each game and structure that the arguments stand for.

    Raises:
      TacitError: as the command.
    """
    made = (study.make(structure_table.STUDY, config) for config in study.configs(structure_table.STUDY, arguments))
    return [study.read(structure_table.STUDY, path) for path in made]


def decisions(simulator: Simulator) -> list[dict[str, Any]]:
    """The decisions of agent 0: each history in which it has a choice, in words, with its number and legal actions.

    Returns:
      {"history": number, "words": "left, saw right", "actions": {number: name}} for each.
    """
    problem, own = simulator.problem, simulator.tree.agents[0]
    actions, observations = problem.actions[0], problem.observations[0]
    found = []
    for history in range(own.size):
        legal = np.flatnonzero(own.legal[history])
        if len(legal) < 2:
            continue
        first, *rest = own.path(history)
        words = [] if first is None else [f"saw {observations[first]}"]
        for number, step in enumerate(cast("list[int]", rest)):
            words.append(f"saw {observations[step]}" if number % 2 else actions[step])
        found.append({"history": history, "words": ", ".join(words), "actions": {int(a): actions[a] for a in legal}})
    return found


def _with_solutions(config: phase.PhaseConfig) -> dict[str, Any]:
    path = study.make(phase.STUDY, config)
    contents = study.read(phase.STUDY, path)
    arrays = runs.read_arrays(path / "solutions.npz")
    for number, solutions in enumerate(contents["solutions"]):
        solutions |= {
            "probabilities": _probabilities(arrays, f"solutions_{number}", contents["agents"]),
            "soft_cells": arrays[f"soft_{number}"],
            "greedy_cells": arrays[f"greedy_{number}"],
        }
    return {**contents, "decisions": decisions(config.simulator)}


def _with_outcomes(config: zsc_table.ZscConfig) -> dict[str, Any]:
    path = study.make(zsc_table.STUDY, config)
    contents = study.read(zsc_table.STUDY, path)
    arrays = runs.read_arrays(path / "policies.npz")
    keys = {method.name: method.key for method in METHODS}
    for method in contents["methods"]:
        if not method["refused"]:
            probabilities = _probabilities(arrays, keys[method["name"]], config.simulator.num_players)
            with np.errstate(divide="ignore"):
                cells = crossplay.cross_play(config.simulator.tree, tuple(np.log(own) for own in probabilities))
            method |= {"probabilities": probabilities, "cells": cells}
    return {**contents, "decisions": decisions(config.simulator)}


def _probabilities(arrays: Mapping[str, np.ndarray], name: str, agents: int) -> tuple[np.ndarray, ...]:
    return tuple(np.exp(arrays[f"{name}_agent_{k}"]) for k in range(agents))
