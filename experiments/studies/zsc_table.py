"""`tacit zsc-table`: all exact methods of zero-shot coordination on tabular games, a run for each game.

A run's directory holds, besides run.json and status.json,

    zsc.json        for each method its self-play and cross-play, the gap to the best equivariant value, or why it does
                    not apply; the methods' cross-play with each other; the best values
    policies.npz    the joint policies that each method finds (<method>_agent_<k>, [N, H, A] log-probabilities)
    crossplay.*     the matrix of methods

A folder below `compare/`, named by a hash of the runs, holds the table of all games and its figure.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from experiments import runs
from experiments.configuration.config import FORMAT
from experiments.studies import effort, exact_figures, exact_tables
from experiments.studies.effort import MethodEffort
from experiments.studies.forecast import FAST, Part, forecast, of_methods
from experiments.studies.study import Arrays, Report, Study, StudyConfig, games_of
from experiments.studies.tabular import (
    SEARCH,
    Groups,
    SearchEffort,
    best_values,
    bounds_of,
    decisions,
    groups,
    method_settings,
    parameters,
    probabilities,
)
from games.errors import TacitError
from marl.exact import cost, crossplay
from marl.exact.methods import METHODS, Setting, between, score


@dataclasses.dataclass(frozen=True)
class ZscConfig(StudyConfig):
    """The methods on one game, checked. The keys are explained in conf/zsc_table.yaml.

    Raises:
      TacitError: in one sentence, for an unknown key or a value out of range.
    """

    made_by: ClassVar = {"command": "zsc-table", "search": SEARCH}

    method: tuple[str, ...]
    agent_swaps: bool
    starts: int
    seed: int
    fast: bool

    @classmethod
    def parse(cls, plain: Mapping[str, Any]) -> Sequence["ZscConfig"]:
        """Read nested plain data as hydra composes it from conf/zsc_table.yaml: one for each game.

        Raises:
          TacitError: for an unknown key or an invalid value, naming it; for a game that is too large or does not have 2
            players.
        """
        execution, settings = cls.execution_of(plain, ["games"]), method_settings(plain)
        configs = [
            cls(
                game=game,
                execution=execution,
                **settings,
            )
            for game in games_of(plain)
        ]
        for simulator in (config.simulator for config in configs):
            if simulator.num_players != 2:
                raise TacitError(
                    f"zsc-table needs a game of 2 players, and {simulator.name} has {simulator.num_players}"
                )
            _ = simulator.tree  # refuses a game that is too large before anything is computed
        return configs

    def science(self) -> dict[str, Any]:
        """What decides the result, as plain data: the run's name is the hash of this."""
        return effort.with_version(super().science())


def _prepare(config: ZscConfig, report: Report) -> Callable[[], tuple[dict[str, Any], Arrays]]:
    tree, both = config.simulator.tree, groups(config.simulator)
    group = both.swap if config.agent_swaps else both.no_swap
    spent = MethodEffort(config.starts, SearchEffort())
    if config.fast:
        spent = effort.fast_methods(spent, config.method, tree, group)
    search = Part("best policies", cost.of_best(spent.search.tied_restarts, spent.search.tied_steps))
    methods = of_methods(spent.left(config.method), tree, group, spent.starts)
    report = forecast(config, [search, *methods], tree, spent.starts, report, FAST * (not config.fast))
    setting, best = _setting(config, spent, both, report)
    fast = effort.in_words(spent, config.starts) if config.fast else None
    return lambda: _compute(config, setting, spent.left_out, {**best, "fast": fast}, report)


def _setting(config: ZscConfig, spent: MethodEffort, both: Groups, report: Report) -> tuple[Setting, dict[str, Any]]:
    """The setting in which methods are carried out, and the best values as plain data."""
    tree, search, seed = config.simulator.tree, spent.search, config.seed
    report("best policies", 0, len(config.method))
    best, equivariant = best_values(tree, both, seed=seed, search=search)
    swaps = config.agent_swaps and both.swap.policy_order > both.no_swap.policy_order
    group, tied = (both.swap, equivariant["swap"]) if swaps else (both.no_swap, equivariant["no_swap"])
    known = {"optimum": bounds_of(best), "equivariant": bounds_of(tied)}
    return Setting(tree, group, best.value, tied.value, starts=spent.starts, seed=seed), known


def _compute(
    config: ZscConfig, setting: Setting, left_out: Sequence[str], best: dict[str, Any], report: Report
) -> tuple[dict[str, Any], Arrays]:
    """The contents of zsc.json, and the arrays of policies.npz."""
    simulator, tree = config.simulator, setting.tree
    rows: list[dict[str, Any]] = []
    scores, arrays = [], {}
    methods = [method for method in METHODS if method.key in config.method]
    for number, method in enumerate(methods):
        report(method.name, number, len(methods))
        said = {"name": method.name, "source": method.source, "uses": method.uses}
        try:
            if method.key in left_out:
                raise TacitError(effort.LEFT_OUT)
            outcomes = method.outcomes(setting)
        except TacitError as error:
            rows.append({**said, "refused": str(error)})
            continue
        scored = score(setting, outcomes)
        scores.append(scored)
        arrays |= {f"{method.key}_agent_{k}": own for k, own in enumerate(outcomes.log_probs)}
        rows.append(
            {
                **said,
                "refused": None,
                "note": outcomes.note,
                "outcomes": len(outcomes.log_probs[0]),
                "self_play": scored.self_play,
                "cross_play": scored.cross_play,
                "gap": setting.best_equivariant - scored.cross_play,
            }
        )
    with np.errstate(divide="ignore"):
        random = crossplay.self_play(tree, tuple(np.log(own)[None] for own in tree.uniform()))
    contents = {
        "format": FORMAT,
        "game": simulator.name,
        "parameters": parameters(config.game),
        "horizon": simulator.horizon,
        "discount": simulator.problem.discount,
        "histories": [own.size for own in tree.agents],
        "agent_swaps": config.agent_swaps,
        "symmetries": str(setting.group.policy_order),
        "methods": rows,
        "matrix": between(tree, scores).tolist() if scores else [],
        "random": float(random[0]),
        **best,
    }
    return contents, {"policies.npz": arrays}


def _in_full(config: ZscConfig, contents: dict[str, Any], path: Path) -> dict[str, Any]:
    """With the policies that the methods find, their cross-play, and the decisions of agent 0 in words.

    Added to those of `methods` that apply are `probabilities`, for each agent float64[K, H, A] of the K outcomes, and
    `cells`, float64[K, K] their self-play and cross-play without relabelling; added to the file `decisions`
    (`tabular.decisions`).
    """
    arrays = runs.read_arrays(path / "policies.npz")
    keys = {method.name: method.key for method in METHODS}
    for method in contents["methods"]:
        if not method["refused"]:
            found = probabilities(arrays, keys[method["name"]], config.simulator.num_players)
            with np.errstate(divide="ignore"):
                cells = crossplay.cross_play(config.simulator.tree, tuple(np.log(own) for own in found))
            method |= {"probabilities": found, "cells": cells}
    return {**contents, "decisions": decisions(config.simulator.tree)}


STUDY = Study(
    command="zsc-table",
    root="zsc_table",
    file="zsc.json",
    parse=ZscConfig.parse,
    prepare=_prepare,
    tables=lambda contents: [exact_tables.methods(contents)],
    draw=lambda contents, run: {
        "crossplay": lambda: exact_figures.zsc_matrix(contents, f"{exact_tables.title(contents)}, {run}")
    },
    draw_together=exact_figures.zsc_table,
    in_full=_in_full,
)
