"""`tacit phase`: the limits of the gradient flow of a tabular game, from many starts at each α.

A run's directory holds, besides run.json and status.json,

    phase.json      the table over α, the thresholds, the best values, the branch
    solutions.npz   for the i-th α the distinct stationary joint policies (solutions_<i>_agent_<k>, [K, H, A]
                    log-probabilities), how many starts ended in each (starts_<i>) and their cross-play
                    (soft_<i>, greedy_<i>); the branch's policies (branch_agent_<k>) and their α (branch_alpha)
    *.png, *.svg    the phase diagram and the branch
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from experiments import runs
from experiments.configuration.config import FORMAT
from experiments.studies import effort, exact_figures, exact_tables
from experiments.studies.effort import Effort
from experiments.studies.forecast import FAST, Part, forecast
from experiments.studies.study import Arrays, Contents, Report, Study, StudyConfig
from experiments.studies.tabular import (
    SEARCH,
    Groups,
    SearchEffort,
    best_values,
    bounds_of,
    build_tabular,
    decisions,
    groups,
    parameters,
    probabilities,
    switch,
)
from games.errors import TacitError, number, one_of, whole_number
from games.tabular import memories
from games.tabular.histories import MEMORY_LIMIT, Tree
from games.tabular.simulator import Simulator
from games.tabular.symmetry import SymmetryGroup, orbits
from marl.exact import branches, cost, crossplay, gradient_flow, phase
from marl.exact.branch_equations import space_of
from marl.exact.certified import Certificate, alpha_certified
from marl.exact.starts import concatenate, normal_starts, pure_starts
from marl.exact.uniqueness import alpha_boxed

_MOST_ALPHAS = 10_000
_MOST_STARTS = 100_000
_LEAST_ALPHA = 1e-12
"""In units of the range of one step's rewards. Below it, double precision does not resolve action values over α."""
_FOLLOWED, _BRANCHES = 8, 16
"""About how many solutions are followed from one α to the next, and how many branches of solutions while refining."""
_COPIES = 4
"""The number of arrays, each of the size of all starts' policies, that a phase diagram holds in memory at a time."""


@dataclasses.dataclass(frozen=True)
class PhaseConfig(StudyConfig):
    """The checked configuration of a phase diagram. The keys are explained in conf/phase.yaml.

    Raises:
      TacitError: in one sentence, for an unknown key or a value out of range.
    """

    made_by: ClassVar = {"command": "phase", "search": SEARCH}

    alpha: tuple[float, ...]
    normal_starts: int
    wide_starts: int
    pure_starts: int
    seed: int
    method: gradient_flow.Method
    step_tolerance: float
    learning_rate: float
    max_steps: int
    refine: bool
    branch: bool
    fast: bool
    memory: int | None
    boxes: int

    @functools.cached_property
    def tree(self) -> Tree:
        """The game's histories or, with bounded memory, its memories.

        Raises:
          TacitError: if they do not fit into memory.
        """
        if self.memory is None:
            return self.simulator.tree
        return memories.build(self.simulator.problem, self.simulator.horizon, self.memory)

    @classmethod
    def parse(cls, plain: Mapping[str, Any]) -> Sequence["PhaseConfig"]:
        """Read nested plain data as hydra composes it from conf/phase.yaml.

        Raises:
          TacitError: for an unknown key or an invalid value, naming it.
        """
        grid = ("alpha_count", "alpha_min", "alpha_max")
        execution = cls.execution_of(plain, grid)
        simulator = build_tabular(plain["game"])
        whole = {
            name: whole_number(name, plain.get(name), 0, _MOST_STARTS)
            for name in ("normal_starts", "wide_starts", "pure_starts")
        }
        if sum(whole.values()) < 2:
            raise TacitError("normal_starts, wide_starts and pure_starts must be at least 2 together: XP needs two")
        switches = {name: switch(name, plain.get(name)) for name in ("refine", "branch", "fast")}
        config = cls(
            game=dict(plain["game"]),
            execution=execution,
            alpha=_alphas(simulator, plain),
            **whole,
            seed=whole_number("seed", plain.get("seed"), 0, 2**31 - 1),
            method=one_of("method", plain.get("method"), gradient_flow.METHODS),
            step_tolerance=number("step_tolerance", plain.get("step_tolerance"), 0.0, 1.0, above=True),
            learning_rate=number("learning_rate", plain.get("learning_rate"), 0.0, above=True),
            max_steps=whole_number("max_steps", plain.get("max_steps"), 1),
            **switches,
            boxes=whole_number("boxes", plain.get("boxes"), 0),
            memory=None if plain.get("memory") is None else whole_number("memory", plain["memory"], 0),
        )
        return [config]

    def science(self) -> dict[str, Any]:
        """What decides the result, as plain data: the run's name is the hash of this."""
        plain = effort.with_version(super().science())
        later = {"memory": self.memory, "boxes": self.boxes or None}  # runs without these keys keep their names
        return {key: value for key, value in (plain | later).items() if key not in later or value is not None}

    @functools.cached_property
    def effort(self) -> Effort:
        """What is computed: what the keys say, or as much of it as is fast."""
        starts = (self.normal_starts, self.wide_starts, self.pure_starts)
        said = Effort(self.alpha, starts, self.max_steps, self.refine, self.branch, SearchEffort(), self.boxes)
        return effort.fast(said, self.tree) if self.fast else said


def _alphas(simulator: Simulator, plain: Mapping[str, Any]) -> tuple[float, ...]:
    """The values of α, ascending."""
    span = float(np.ptp(simulator.problem.expected_reward)) or 1.0
    given = plain.get("alpha")
    if given is not None:
        values = given if isinstance(given, list | tuple) else [given]
        if not values:
            raise TacitError("alpha must be a number above 0 or a list of such numbers, not an empty list")
        alphas = sorted({number("alpha", value, 0.0, above=True) for value in values})
        return _not_too_small("alpha", alphas, span)
    count = whole_number("alpha_count", plain.get("alpha_count"), 1, _MOST_ALPHAS)
    low, high = (
        number(name, share * span if plain.get(name) is None else plain[name], 0.0, above=True)
        for name, share in (("alpha_min", 0.01), ("alpha_max", 0.6))
    )
    if low > high:
        raise TacitError(f"alpha_min must not be above alpha_max, and {low:g} is above {high:g}")
    return _not_too_small("alpha_min", [float(f"{value:.6g}") for value in np.geomspace(low, high, count)], span)


def _not_too_small(name: str, alphas: list[float], span: float) -> tuple[float, ...]:
    if alphas[0] < _LEAST_ALPHA * span:
        raise TacitError(
            f"{name} must be at least {_LEAST_ALPHA:g} of the span of one step's rewards, which is {span:g}, "
            f"not {alphas[0]:g}"
        )
    return tuple(alphas)


def _prepare(config: PhaseConfig, report: Report) -> Callable[[], tuple[dict[str, Any], Arrays]]:
    both, starts = groups(config.simulator), _starts(config)
    return lambda: _compute(config, both, starts, report)


def _starts(config: PhaseConfig) -> tuple[np.ndarray, ...]:
    """The starts, the same at every α; an error if those at all α together do not fit into memory."""
    tree, spent = config.tree, config.effort
    count = spent.num_starts * len(spent.alpha)
    needed = _COPIES * 8 * count * sum(own.legal.size for own in tree.agents)
    if needed > MEMORY_LIMIT:
        raise TacitError(
            f"{count:,} starts (at {len(spent.alpha):,} values of alpha) of this game would take "
            f"{needed / 2**30:.3g} GiB, and the limit is {MEMORY_LIMIT / 2**30:.3g} GiB; take fewer of one or the other"
        )
    normal, wide, pure = spent.starts
    return concatenate(
        normal_starts(tree, normal, 1.0, seed=config.seed),
        normal_starts(tree, wide, 4.0, seed=config.seed + 1),
        pure_starts(tree, pure, seed=config.seed + 2),
    )


def _compute(
    config: PhaseConfig, both: Groups, starts: tuple[np.ndarray, ...], report: Report
) -> tuple[dict[str, Any], Arrays]:
    """The contents of phase.json, and the arrays of solutions.npz."""
    simulator, tree, spent = config.simulator, config.tree, config.effort
    count = spent.num_starts * len(spent.alpha)
    report = forecast(config, parts(config, both.swap), tree, count, report, FAST * (not config.fast))
    report("best policies", 0, 1)  # first, since it may refuse the game for its size
    best, equivariant = best_values(tree, both, seed=config.seed, search=spent.search)
    branch = None
    if spent.branch:
        branch = _branch(tree, both.swap, min(spent.alpha), report)
    followed = branch if isinstance(branch, branches.Branch) else None
    diagram = phase.phase_diagram(
        tree,
        spent.alpha,
        starts,
        group=both.swap,
        branch=followed,
        method=config.method,
        step_tolerance=config.step_tolerance,
        learning_rate=config.learning_rate,
        max_steps=spent.max_steps,
        refine=spent.refine,
        report=report,
    )
    arrays: dict[str, np.ndarray] = {}
    for place, solutions in enumerate(diagram.solutions):
        arrays |= {f"solutions_{place}_agent_{k}": own for k, own in enumerate(solutions.log_probs)}
        arrays |= {f"starts_{place}": solutions.starts}
        arrays |= {f"soft_{place}": solutions.soft_cells, f"greedy_{place}": solutions.greedy_cells}
    branch_table: dict[str, Any] | None = None
    if followed is not None:
        arrays |= {f"branch_agent_{k}": own for k, own in enumerate(followed.log_probs)}
        arrays["branch_alpha"] = followed.alpha
        branch_table = {
            "alpha": followed.alpha.tolist(),
            "eigenvalue": followed.eigenvalue.tolist(),
            "soft": crossplay.self_play(tree, followed.log_probs).tolist(),
            "greedy": crossplay.self_play(tree, crossplay.greedy(followed.log_probs)).tolist(),
            "folds": followed.folds.tolist(),
            "bifurcations": followed.bifurcations.tolist(),
            "windows": branches.windows(followed),
            "ended": followed.ended,
        }
    contents = {
        "format": FORMAT,
        "game": simulator.name,
        "parameters": parameters(config.game),
        "horizon": simulator.horizon,
        "discount": simulator.problem.discount,
        "agents": simulator.num_players,
        "memory": config.memory,
        "histories": [own.size for own in tree.agents],
        "symmetries": {name: str(group.policy_order) for name, group in both._asdict().items()},
        "rows": [row._asdict() for row in diagram.rows],
        "solutions": [
            {name: getattr(s, name).tolist() for name in ("starts", "soft", "greedy", "defect")}
            for s in diagram.solutions
        ],
        "alpha_unique": {**diagram.unique._asdict(), "beside": diagram.beside},
        "alpha_stable": None if followed is None else followed.alpha_stable,
        "alpha_certified": _certified(tree),
        "alpha_boxed": _boxed(tree, both.swap, spent.boxes, report),
        "branch": branch_table,
        "branch_refused": branch if isinstance(branch, str) else None,
        "optimum": bounds_of(best),
        "equivariant": {name: bounds_of(value) for name, value in equivariant.items()},
        "known_optimum": simulator.known_optimum if config.memory is None else None,
        "refined": spent.refine,
        "fast": _left_out(config),
    }
    return contents, {"solutions.npz": arrays}


def _certified(tree: Tree) -> dict[str, Any]:
    """What `alpha_certified` proves; of a game with bounded memory, why it proves nothing."""
    try:
        return alpha_certified(tree)._asdict()
    except TacitError as error:
        return Certificate(None, str(error), "")._asdict()


def _boxed(tree: Tree, group: SymmetryGroup, most: int, report: Report) -> dict[str, Any] | None:
    """What boxes prove; of a game that they cannot be taken of, why; None if they are not asked for."""
    if not most:
        return None
    report("boxes", 0, 1)
    try:
        return alpha_boxed(tree, group=group, most=most)._asdict()
    except TacitError as error:
        return {"alpha": None, "boxes": str(error)}


def parts(config: PhaseConfig, swap: SymmetryGroup) -> list[Part]:
    """The parts of a diagram, in order, each with its cost; `swap` are the symmetries that the branch respects."""
    tree, spent, method = config.tree, config.effort, config.method
    count, alphas, steps = spent.num_starts, len(spent.alpha), spent.max_steps
    unknowns = len(space_of(orbits(swap, tree)).entry)
    return [
        Part("best policies", cost.of_best(spent.search.tied_restarts, spent.search.tied_steps)),
        Part("branch", cost.of_branch(tree, unknowns) * spent.branch, ("branch=false",)),
        Part(
            "starts",
            cost.of_starts(count * alphas, method, steps),
            ("fewer α", "fewer starts"),
            cost.of_chunk(tree, count * alphas, method),
        ),
        Part("following", cost.of_starts(min(_FOLLOWED, count) * (alphas - 1), method, steps), ("fewer α",)),
        Part("refining", cost.of_search(tree, count, method, steps, _BRANCHES) * spent.refine, ("refine=false",)),
    ]


def _left_out(config: PhaseConfig) -> str | None:
    """In words what `fast` left of what was asked for; None without it."""
    if not config.fast:
        return None
    spent = config.effort
    asked = config.normal_starts + config.wide_starts + config.pure_starts
    return (
        f"{len(spent.alpha)} of {len(config.alpha)} α, {spent.num_starts} of {asked} starts, "
        f"at most {spent.max_steps:,} steps, best policies searched from {spent.search.restarts} starts "
        f"for {spent.search.tied_steps:,} steps; not refined, no branch{', no boxes' if config.boxes else ''}"
    )


def _branch(tree: Tree, group: SymmetryGroup, alpha_min: float, report: Report) -> branches.Branch | str:
    """The principal branch, or the reason why there is none."""
    tied = orbits(group, tree)
    try:
        return branches.principal_branch(
            tree, tied, alpha_min=alpha_min, report=lambda done, of: report("branch", done, of)
        )
    except TacitError as error:
        return str(error)


def _in_full(config: PhaseConfig, contents: dict[str, Any], path: Path) -> dict[str, Any]:
    """With the policies of all solutions, their cross-play, and the decisions of agent 0 in words.

    Added to `solutions` at each α are `probabilities` for each agent float64[K, H, A], and `soft_cells` and
    `greedy_cells`, float64[K, K] of two agents; added to the file `decisions` (`tabular.decisions`).
    """
    arrays = runs.read_arrays(path / "solutions.npz")
    for place, solutions in enumerate(contents["solutions"]):
        solutions |= {
            "probabilities": probabilities(arrays, f"solutions_{place}", contents["agents"]),
            "soft_cells": arrays[f"soft_{place}"],
            "greedy_cells": arrays[f"greedy_{place}"],
        }
    return {**contents, "decisions": decisions(config.tree)}


def _draw(contents: Contents, run: str) -> dict[str, Callable[[], exact_figures.Figure]]:
    if len(contents["rows"]) < 2:
        return {}
    title = f"{exact_tables.title(contents)}, {run}"
    branch = {"branch": lambda: exact_figures.branch_diagram(contents, title)} if contents["branch"] else {}
    return {**branch, "phase": lambda: exact_figures.phase_diagram(contents, title)}


STUDY = Study(
    command="phase",
    root="phase",
    file="phase.json",
    parse=PhaseConfig.parse,
    prepare=_prepare,
    tables=lambda contents: list(map(exact_tables.phase, contents)),
    draw=_draw,
    objective=lambda contents: contents["alpha_unique"]["one_from"],
    in_full=_in_full,
)
