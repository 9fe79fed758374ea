"""`tacit structure-table`: structures × methods on tabular games, exactly.

A structure is a transformation of a game (`games.tabular.structures`), a method stands for training
(`marl.exact.methods`), and all cells of their table have the same unit. A run is one game under one structure. Its
directory holds, besides run.json and status.json,

    structure.json   the solo optimum and the worst value; the best values of the team; for each method its self-play
                     and cross-play, without and with a one-step search at test time, the share of the solo value that
                     is retained, how well it predicts itself and a stranger; or why structure or method does not apply

A folder below `compare/`, named by a hash of the runs, holds the table of all runs and its figure.
"""

import dataclasses
import importlib
import itertools
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from experiments.configuration.config import FORMAT
from experiments.studies import effort, exact_tables, structure_figures
from experiments.studies.effort import MethodEffort
from experiments.studies.forecast import FAST, Part, forecast, of_methods
from experiments.studies.study import Report, Study, StudyConfig, games_of
from experiments.studies.tabular import (
    MOST_STARTS,
    SEARCH,
    SearchEffort,
    best_values,
    bounds_of,
    build_tabular,
    groups,
    method_settings,
    parameters,
)
from games.errors import TacitError, number, some_of, whole_number
from games.tabular.centralised import centralised
from games.tabular.histories import Tree
from games.tabular.library.silos import Roles
from games.tabular.simulator import Simulator
from games.tabular.structures import STRUCTURES
from marl.crossplay import self_play_seatings
from marl.exact import cost, information, other_play
from marl.exact.calibration import mean_calibration
from marl.exact.lookahead import lookahead
from marl.exact.methods import METHODS, Method, Outcomes, Setting, score
from marl.exact.optimum import optimum
from marl.exact.structure_scores import Floor, floor, retention, split_gap

NONE = "none"
NAMES = (NONE, *(structure.name for structure in STRUCTURES))
_SETTINGS = ("title", "agent_swaps", "starts", "restarts", "seed")
"""What structure.json says of its run beside structure, penalty and methods; files of before lack the last two."""


@dataclasses.dataclass(frozen=True)
class StructureConfig(StudyConfig):
    """Methods on one game under one structure, checked. The keys are explained in conf/structure_table.yaml.

    Raises:
      TacitError: in one sentence, for an unknown key or a value out of range.
    """

    made_by: ClassVar = {"command": "structure-table", "search": SEARCH}

    structure: str
    penalty: float | None
    method: tuple[str, ...]
    agent_swaps: bool
    starts: int
    restarts: int
    seed: int
    fast: bool

    @classmethod
    def parse(cls, plain: Mapping[str, Any]) -> Sequence["StructureConfig"]:
        """Read nested plain data as hydra composes it from conf/structure_table.yaml: one for each game and structure.

        Raises:
          TacitError: for an unknown key or an invalid value, naming it; for a game that is not tabular.
        """
        execution, settings = cls.execution_of(plain, ["games"]), method_settings(plain)
        penalty = plain.get("penalty")
        configs = [
            cls(
                game=game,
                execution=execution,
                structure=structure,
                penalty=None if penalty is None else number("penalty", penalty, 0),
                **settings,
                restarts=whole_number("restarts", plain.get("restarts"), 1, MOST_STARTS),
            )
            for game in games_of(plain)
            for structure in some_of("structure", plain.get("structure"), NAMES)
        ]
        for config in configs:
            _ = config.simulator  # refuses a game that is not tabular before anything is computed
        return configs

    def science(self) -> dict[str, Any]:
        """What decides the result, as plain data: the run's name is the hash of this."""
        plain = effort.with_version(super().science())
        if self.structure != "isolation" or self.penalty is None:
            del plain["penalty"]
        return plain

    def label(self) -> str:
        """Which run of several this is, for whoever watches."""
        return f"{self.simulator.name} with {self.structure}"


def with_splits(contents: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each structure.json, with values added that depend on several structures of its game.

    Every method of the game without structure gets `split`: its gap to the solo value, with the spatial and the
    semantic part (`marl.exact.structure_scores.split_gap` of cross-play; of isolations only the hard one is used). It
    is None if it cannot be computed, and `no_split` is the reason. The other structures' runs are those with the same
    settings.
    """
    whole = [dict(one) for one in contents]
    for base in (one for one in whole if one["structure"] == NONE):
        base["methods"] = [
            {name: value for name, value in one.items() if name != "no_split"} for one in base["methods"]
        ]
        for method in base["methods"]:
            others = {name: _cross_play(whole, base, name, method["key"]) for name in ("claims", "isolation")}
            try:
                if method["cross_play"] is None:
                    raise TacitError(method["refused"] or "there is no cross-play")
                method["split"] = split_gap(base["solo"], method["cross_play"], **others)._asdict()
            except TacitError as error:
                method |= {"split": None, "no_split": str(error)}
    return whole


def solo_and_arguments(config: Mapping[str, Any]) -> tuple[Simulator, Mapping[str, Mapping[str, Any] | str]]:
    """The task of a game for one agent alone, and for each structure its arguments, or why it cannot be applied.

    A game's module may define both (`solo`, `arguments`). For any other game the single planner has all agents'
    observations, and structures that need to know the parts of the game do not apply.
    """
    module = _module(config)
    given = {key: value for key, value in config.items() if key != "_target_"}
    if hasattr(module, "solo") and hasattr(module, "arguments"):
        return module.solo(**given), module.arguments(**given)
    game = build_tabular(config)
    planner = Simulator(centralised(game.problem), game.horizon, f"{game.name} solo")
    parts = "the game does not say which of its actions are whose part"
    one_step = "the game has one step, and nothing is done after it"
    return planner, {
        "cheap_talk": {},
        "commitments": {"form": "sequential"},
        "claims": "the game does not say which of its actions take something",
        "isolation": parts,
        "leader": {},
        "shared_history": {} if game.horizon > 1 else one_step,
        "verification": {},
    }


def _module(config: Mapping[str, Any]) -> ModuleType:
    """The module of a game's `_target_`."""
    return importlib.import_module(config["_target_"].rpartition(".")[0])


def _contents(config: StructureConfig, report: Report) -> dict[str, Any]:
    """The contents of structure.json."""
    game = config.simulator
    solo, arguments = solo_and_arguments(config.game)
    report("solo", 0, 1)
    search = SearchEffort(restarts=config.restarts, tied_restarts=config.restarts)
    if config.fast:
        search = effort.fast_search(search)
    settings = {"work": search.work, "restarts": search.restarts, "seed": config.seed}
    alone = optimum(solo.problem, solo.horizon, **settings)
    worst = floor(game.problem, game.horizon, **settings)
    said = {
        "format": FORMAT,
        "game": game.name,
        "parameters": parameters(config.game),
        "title": " ".join([game.name, *(f"{key}={value}" for key, value in parameters(config.game).items())]),
        "structure": config.structure,
        "penalty": config.penalty if config.structure == "isolation" else None,
        "agent_swaps": config.agent_swaps,
        "starts": config.starts,
        "restarts": config.restarts,
        "seed": config.seed,
        "fast": effort.SHORT_SEARCH if config.fast else None,
        "solo": alone.value,
        "floor": worst._asdict(),
    }
    given = {} if config.structure == NONE else arguments[config.structure]
    module = _module(config.game)
    roles = module.roles(game) if config.structure == NONE and hasattr(module, "roles") else None
    methods = [method for method in METHODS if method.key in config.method]
    try:
        if isinstance(given, str):
            raise TacitError(given)
        for structure in (one for one in STRUCTURES if one.name == config.structure):
            soft = {} if config.penalty is None or structure.name != "isolation" else {"penalty": config.penalty}
            game = structure.apply(game, **given, **soft)
        setting, spent, best, report = _setting(config, game, search, report)
    except TacitError as error:
        nothing = [{"name": method.name, "key": method.key, **_refused(str(error))} for method in methods]
        return {**said, "refused": str(error), "methods": nothing}
    rows = []
    for done, method in enumerate(methods):
        report(method.name, done, len(methods))
        left_out = method.key in spent.left_out
        row = _refused(effort.LEFT_OUT) if left_out else _row(method, setting, alone.value, worst, roles)
        rows.append({"name": method.name, "key": method.key, **row})
    return {
        **said,
        "fast": effort.in_words(spent, config.starts) if config.fast else None,
        "refused": None,
        "arguments": {key: str(value) if callable(value) else value for key, value in given.items()},
        "horizon": game.horizon,
        "histories": [own.size for own in game.tree.agents],
        "symmetries": str(setting.group.policy_order),
        **best,
        "methods": rows,
    }


def _setting(
    config: StructureConfig, game: Simulator, search: SearchEffort, report: Report
) -> tuple[Setting, MethodEffort, dict[str, Any], Report]:
    """The setting in which methods are carried out, what is spent, the best values, and a report that forecasts."""
    both, seed = groups(game), config.seed
    group = both.swap if config.agent_swaps else both.no_swap
    spent = MethodEffort(config.starts, search)
    if config.fast:
        spent = effort.fast_methods(spent, config.method, game.tree, group)
    search = spent.search
    searched = Part("best policies", cost.of_best(search.tied_restarts, search.tied_steps), ("restarts=2",))
    methods = of_methods(spent.left(config.method), game.tree, group, spent.starts)
    report = forecast(config, [searched, *methods], game.tree, spent.starts, report, FAST * (not config.fast))
    report("best policies", 0, 1)
    best, equivariant = best_values(game.tree, both, seed=seed, search=search)
    tied = equivariant["swap" if config.agent_swaps else "no_swap"]
    setting = Setting(game.tree, group, best.value, tied.value, starts=spent.starts, seed=seed)
    return setting, spent, {"optimum": bounds_of(best), "equivariant": bounds_of(tied)}, report


def _row(method: Method, setting: Setting, solo: float, worst: Floor, roles: Roles | None) -> dict[str, Any]:
    """A method's results, or why it does not apply; with measures of information if the game has messages."""
    try:
        outcomes = method.outcomes(setting)
    except TacitError as error:
        return _refused(str(error))
    plain = score(setting, outcomes)
    searched = score(setting, outcomes._replace(log_probs=lookahead(setting.tree, outcomes.log_probs)))
    try:
        retained, no_retention = retention(plain.cross_play, solo, worst.value), None
    except TacitError as error:
        retained, no_retention = None, str(error)
    return {
        "refused": None,
        "note": outcomes.note,
        "outcomes": len(outcomes.log_probs[0]),
        "self_play": plain.self_play,
        "cross_play": plain.cross_play,
        "searched_self_play": searched.self_play,
        "searched_cross_play": searched.cross_play,
        "retention": retained,
        "no_retention": no_retention,
        **_predictions(setting, outcomes),
        **({} if roles is None else {"information": _information(setting.tree, outcomes, roles)}),
    }


def _refused(reason: str) -> dict[str, Any]:
    return {"refused": reason, "self_play": None, "cross_play": None, "retention": None}


def _predictions(setting: Setting, outcomes: Outcomes) -> dict[str, Any]:
    """Brier scores, with their parts, of agents' predictions about themselves and about relabelled strangers."""
    tree, own = setting.tree, outcomes.log_probs
    count, seats = len(own[0]), len(own)
    alone = self_play_seatings(count, seats)
    strangers = other_play.relabelled(tree, setting.tied, own)
    if outcomes.sample:  # each outcome with the next ones
        apart = (np.arange(count)[:, None] + np.arange(seats)) % count
    else:  # all combinations, since two runs may have the same outcome
        apart = np.array(list(itertools.product(range(count), repeat=seats)))
    try:
        return {
            "predicts_itself": mean_calibration(tree, own, alone)._asdict(),
            "predicts_strangers": mean_calibration(tree, own, apart, strangers=strangers)._asdict(),
        }
    except TacitError as error:  # under hard isolation no agent may have a choice to predict
        return {"predicts_itself": None, "predicts_strangers": None, "no_predictions": str(error)}


def _information(tree: Tree, outcomes: Outcomes, roles: Roles) -> dict[str, float]:
    """Information in bits: what messages tell of the sender's private observation, and what answers use of messages.

    Means over agents and joint policies in self-play.
    """
    heard = [step + 1 for step in roles.message_steps]
    told = [(joint, agent) for joint in zip(*outcomes.log_probs, strict=True) for agent in range(len(joint))]
    sent = [information.sent(tree, joint, agent, steps=roles.message_steps) for joint, agent in told]
    used = [information.used(tree, joint, agent, received=heard, steps=[roles.answer_step]) for joint, agent in told]
    return {"sent": float(np.mean(sent)), "used": float(np.mean(used))}


def _cross_play(
    contents: Sequence[Mapping[str, Any]], base: Mapping[str, Any], structure: str, key: str
) -> float | None:
    """The cross-play of a method under a structure, its penalty none and all else as in the run `base`."""
    same = (
        one
        for one in contents
        if all(one[name] == base[name] for name in _SETTINGS if name in one and name in base)
        and bool(one.get("fast")) == bool(base.get("fast"))
    )
    found = (one for one in same if one["structure"] == structure and one["penalty"] is None)
    return next((method["cross_play"] for one in found for method in one["methods"] if method["key"] == key), None)


STUDY = Study(
    command="structure-table",
    root="structure_table",
    file="structure.json",
    parse=StructureConfig.parse,
    prepare=lambda config, report: lambda: (_contents(config, report), {}),
    tables=lambda contents: [exact_tables.structures(contents)],
    draw=lambda contents, run: {},
    draw_together=structure_figures.structure_table,
    together=with_splits,
)
