"""Methods of zero-shot coordination on a tabular game, exactly, and what their outcomes score with each other.

A method names its source and what it may use. From a setting it computes the joint policies that it may end in. Where
it does not apply it raises a TacitError with the reason; there is no fallback.

Labels are arbitrary, so cross-play is the expectation over independent relabellings of all agents by the game's
symmetries (`marl.exact.other_play`). Whether these contain agent swaps changes the numbers; `Setting.group` decides.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from games.errors import TacitError
from games.tabular.histories import Tree
from games.tabular.symmetry import SymmetryGroup, orbits
from marl.exact import branches, crossplay, off_belief, other_play, phase, reasoning
from marl.exact.alternation import alternate
from marl.exact.deterministic import to_behaviour
from marl.exact.starts import concatenate, normal_starts, pure_starts

FIRST_RESTARTS, MOST_RESTARTS = 8, 1024
"""Random restarts of one self-play start: the first, doubled up to the second until the best known value is reached."""
LOW, HIGH = 0.01, 0.6
"""The interval of α that is searched first, in units of the span of one step's rewards."""
MOST_DOUBLED = 10
ABOVE_UNIQUE = (1.05, 1.1, 1.25, 1.5, 2.0)
"""Multiples of the least α from which on starts agree. High entropy takes the first at which all of them agree."""
LEVELS = 4
"""The highest level of off-belief learning and of reasoning."""
_BEST = 1e-9


@dataclasses.dataclass(frozen=True, eq=False)
class Setting:
    """What methods are given.

    Attributes:
      tree: the histories of the game.
      group: the symmetries that count, with or without agent swaps.
      best_self_play: the greatest self-play value known (`marl.exact.optimum`).
      best_equivariant: the greatest value known of a policy equivariant under `group` (`marl.exact.equivariant`).
      starts: independent starts of methods that have any.
      seed: of the starts.
    """

    tree: Tree
    group: SymmetryGroup
    best_self_play: float
    best_equivariant: float
    starts: int = 16
    seed: int = 0

    @functools.cached_property
    def tied(self) -> tuple[np.ndarray, ...]:
        """The orbits of (history, action) under `group`: for each agent int64[H, A]."""
        return orbits(self.group, self.tree)


class Outcomes(NamedTuple):
    """The N joint policies that a method ends in, each as likely as the others."""

    log_probs: tuple[np.ndarray, ...]  # for each agent float64[N, H, A]
    sample: bool
    """Whether they are a sample, one from each start; otherwise they are all outcomes, and two runs may share one."""
    note: str


@dataclasses.dataclass(frozen=True)
class Method:
    """A method: its name, the paper it comes from, what it may use, and how it is carried out.

    `outcomes` raises a TacitError with the reason where the method does not apply.
    """

    name: str
    source: str
    uses: str
    outcomes: Callable[[Setting], Outcomes]

    @property
    def key(self) -> str:
        """The name without blanks and commas, in small letters."""
        return self.name.lower().replace(",", "").replace(" ", "-")


# The methods ----------------------------------------------------------------------------------------------------------


def self_play(setting: Setting) -> Outcomes:
    """The best joint policies that alternating best responses find, ties drawn, one for each start.

    A start that stays below the best value known begins anew from more random policies. At histories that its joint
    policy never reaches it plays uniformly.
    """
    tree, rng = setting.tree, np.random.default_rng(setting.seed)
    policies, short = [], 0
    for seed in rng.integers(2**31, size=setting.starts).tolist():
        restarts = FIRST_RESTARTS
        value, policy = alternate(tree.problem, tree.horizon, restarts=restarts, seed=seed)
        while value < setting.best_self_play - _BEST and restarts < MOST_RESTARTS:
            restarts *= 2
            value, policy = alternate(tree.problem, tree.horizon, restarts=restarts, seed=seed)
        short += value < setting.best_self_play - _BEST
        policies.append(to_behaviour(policy, tree))
    with np.errstate(divide="ignore"):
        log_probs = tuple(np.log(np.stack(own)) for own in zip(*policies, strict=True))
    note = f"{setting.starts} starts" + (f", {short} of them below the best value known" if short else "")
    return Outcomes(other_play.uniform_where_unreached(tree, log_probs), True, note)


def high_entropy(setting: Setting) -> Outcomes:
    """The one solution in which the gradient flow from all starts ends, at the least such α times 1.05 to 2."""
    log_probs, note = _flow_end(setting)
    return Outcomes(log_probs, False, note)


def high_entropy_greedy(setting: Setting) -> Outcomes:
    """The joint policy of `high_entropy`, made greedy: the best actions of every history, ties split evenly."""
    log_probs, note = _flow_end(setting)
    return Outcomes(crossplay.greedy(log_probs), False, note)


def annealed_greedy(setting: Setting) -> Outcomes:
    """The end of the branch that comes from α = ∞, at α of 1 % of the span of one step's rewards, made greedy.

    Raises:
      TacitError: if the branch does not come down to that α.
    """
    alpha_min = LOW * _span(setting.tree)
    branch = _branch(setting)
    if branch.ended != "alpha_min":
        raise TacitError(
            f"the branch from α = ∞ does not come down to α = {alpha_min:.3g}: it ends at {branch.alpha[-1]:.3g} "
            f"({branch.ended})"
        )
    stable = branch.alpha_stable
    lost = "stable throughout" if stable is None else f"no attractor below α = {stable:.5g}"
    end = tuple(own[-1:] for own in branch.log_probs)
    return Outcomes(crossplay.greedy(end), False, f"followed down to α = {alpha_min:.3g}, {lost}")


def other_play_any(setting: Setting) -> Outcomes:
    """All the different best equivariant policies that were found; a run's start decides in which of them it ends."""
    policies, reached, starts = _other_play_optima(setting)
    several = len(policies[0])
    words = "one optimum" if several == 1 else f"{several} optima, equally likely"
    return Outcomes(policies, False, f"{words} ({reached} of {starts} starts)")


def other_play_tie_breaking(setting: Setting) -> Outcomes:
    """The one of `other_play_any` that a fixed symmetry-invariant tie-breaking function prefers."""
    policies, _, _ = _other_play_optima(setting)
    chosen = other_play.break_ties(setting.tree, setting.tied, policies)
    return Outcomes(chosen, False, f"one of {len(policies[0])} optima")


@functools.lru_cache(maxsize=1)
def _other_play_optima(setting: Setting) -> tuple[tuple[np.ndarray, ...], int, int]:
    """(for each agent float64[K, H, A], how many starts reached one of the K, of how many): see `other_play.optima`.

    If none does, the search is repeated with twice as many starts.
    """
    starts = setting.starts
    while True:
        try:
            found = other_play.optima(
                setting.tree, setting.group, best=setting.best_equivariant, starts=starts, seed=setting.seed
            )
            return *found, starts
        except TacitError:
            if setting.group.policy_order == 1 or 2 * starts > MOST_RESTARTS:
                raise
            starts *= 2


@functools.lru_cache(maxsize=1)
def _flow_end(setting: Setting) -> tuple[tuple[np.ndarray, ...], str]:
    """(for each agent float64[1, H, A], note): see `high_entropy`."""
    tree, count = setting.tree, setting.starts
    starts = concatenate(
        normal_starts(tree, count - count // 2 - count // 8, 1.0, seed=setting.seed),
        normal_starts(tree, count // 8, 4.0, seed=setting.seed + 1),
        pure_starts(tree, count // 2, seed=setting.seed + 2),
    )
    try:
        branch = _branch(setting)
    except TacitError:
        branch = None
    unique = _unique_from(tree, starts, branch)
    for multiple in ABOVE_UNIQUE:
        diagram = _ends(tree, starts, multiple * unique, branch)
        row = diagram.rows[0]
        if _is_one(row):
            return diagram.solutions[0].log_probs, f"α = {row.alpha:.5g}, one end of {row.starts} starts"
    raise TacitError(f"starts disagree (or do not converge) again above α = {unique:.5g}")


@functools.lru_cache(maxsize=1)
def _branch(setting: Setting) -> branches.Branch:
    """The branch from α = ∞ down to the least α of the search, which two methods use.

    Raises:
      TacitError: if the game is too large for it.
    """
    return branches.principal_branch(setting.tree, setting.tied, alpha_min=LOW * _span(setting.tree))


def _unique_from(tree: Tree, starts: tuple[np.ndarray, ...], branch: branches.Branch | None) -> float:
    """The least α from which on one solution was found (`phase.Unique`).

    α is halved from `HIGH` to `LOW` until starts disagree. From there the search goes up, to twice α at a time.

    Raises:
      TacitError: if there is none after α was doubled `MOST_DOUBLED` times.
    """
    low = HIGH * _span(tree)
    while _is_one(_ends(tree, starts, low, branch).rows[0]) and low / 2 >= LOW * _span(tree):
        low /= 2
    for _ in range(MOST_DOUBLED):
        unique = phase.phase_diagram(tree, [low, 2 * low], starts, branch=branch).unique
        if unique.one_from is not None:
            return unique.one_from
        low *= 2
    raise TacitError(f"starts disagree (or do not converge) up to α = {low:.3g}")


def _ends(tree: Tree, starts: tuple[np.ndarray, ...], alpha: float, branch: branches.Branch | None) -> phase.Phase:
    return phase.phase_diagram(tree, [alpha], starts, branch=branch, refine=False)


def _is_one(row: phase.Row) -> bool:
    return row.solutions == 1 and row.converged == row.starts


def _span(tree: Tree) -> float:
    return float(np.ptp(tree.problem.expected_reward)) or 1.0


# The registry ---------------------------------------------------------------------------------------------------------


_Levels = Callable[[Tree], list[tuple[np.ndarray, ...]]]


@functools.lru_cache(maxsize=8)
def _levels(compute: _Levels, tree: Tree) -> list[tuple[np.ndarray, ...]]:
    """The joint policies of levels 0 to `LEVELS`."""
    return compute(tree)


def _level(compute: _Levels, level: int) -> Callable[[Setting], Outcomes]:
    """The method that ends in one level of several."""

    def outcomes(setting: Setting) -> Outcomes:
        return Outcomes(
            tuple(own[None] for own in _levels(compute, setting.tree)[level]), False, "no starts: one outcome"
        )

    return outcomes


_off_belief = functools.partial(off_belief.off_belief, levels=LEVELS)
_k_level = functools.partial(reasoning.k_level, levels=LEVELS)
_k_level_together = functools.partial(reasoning.k_level, levels=LEVELS, synchronous=True)
_hierarchy = functools.partial(reasoning.cognitive_hierarchy, levels=LEVELS)
_hierarchy_together = functools.partial(reasoning.cognitive_hierarchy, levels=LEVELS, synchronous=True)

_GAME, _SYMMETRIES, _BELIEFS = "the game", "the game and its symmetries", "the game and exact beliefs"
_FLOW, _CUI, _HU = "arXiv:2511.22581", "Cui et al. 2021", "Hu et al. 2021"

METHODS: tuple[Method, ...] = (
    Method("self-play", "alternating best responses (Nair et al. 2003)", _GAME, self_play),
    Method("high entropy", _FLOW, _GAME, high_entropy),
    Method("high entropy, greedy", _FLOW, _GAME, high_entropy_greedy),
    Method("annealed, greedy", _FLOW, _SYMMETRIES, annealed_greedy),
    Method("Other-Play", "Hu et al. 2020", _SYMMETRIES, other_play_any),
    Method("Other-Play, tie-breaking", "Treutlein et al. 2021", _SYMMETRIES, other_play_tie_breaking),
    *(Method(f"OBL level {k}", _HU, _BELIEFS, _level(_off_belief, k)) for k in range(LEVELS + 1)),
    Method("best response to random", _CUI, _GAME, _level(_k_level, 1)),
    *(Method(f"k-level {k}", _CUI, _GAME, _level(_k_level, k)) for k in range(2, LEVELS + 1)),
    Method(f"k-level {LEVELS}, synchronous", _CUI, _GAME, _level(_k_level_together, LEVELS)),
    *(Method(f"cognitive hierarchy {k}", _CUI, _GAME, _level(_hierarchy, k)) for k in range(2, LEVELS + 1)),
    Method(f"cognitive hierarchy {LEVELS}, synchronous", _CUI, _GAME, _level(_hierarchy_together, LEVELS)),
)
"""All methods, in the order of tables. OBL level 0 takes every legal action with the same probability."""


# What they score ------------------------------------------------------------------------------------------------------


class Score(NamedTuple):
    """What a method's outcomes earn."""

    self_play: float  # the mean of the joint policies as they are
    cross_play: float  # of independent runs, relabelled; nan for a sample of fewer than there are agents
    average: tuple[np.ndarray, ...]  # for each agent float64[H, A], what an agent of a random run plays, relabelled


def score(setting: Setting, outcomes: Outcomes) -> Score:
    """Self-play and cross-play of a method with itself, for any number of agents.

    Returns are linear in what each agent plays, so the mean over all seatings is the return of the agents' average
    policies. For a sample, the seatings with one start in several seats are then taken out.
    """
    tree = setting.tree
    own = float(crossplay.self_play(tree, outcomes.log_probs).mean())
    relabelled = other_play.relabelled(tree, setting.tied, outcomes.log_probs)
    average = other_play.mixture(tree, relabelled)
    if outcomes.sample:
        cross = _of_different_runs(tree, relabelled, average)
    else:
        cross = float(crossplay.self_play(tree, tuple(one[None] for one in average))[0])
    return Score(own, cross, average)


def _of_different_runs(tree: Tree, policies: tuple[np.ndarray, ...], average: tuple[np.ndarray, ...]) -> float:
    """The mean return over all seatings with a different one of N runs in every seat; nan if there are fewer runs.

    By inclusion and exclusion over partitions of the seats into groups that share a run, with b the size of a group:

        Σ over different runs = Σ over partitions Π over groups (-1)^(b-1) (b-1)! · Σ over a run for each group.

    A seat that is alone in its group plays the average, so that only the runs of larger groups are enumerated.
    """
    count, seats = len(policies[0]), len(policies)
    if count < seats:
        return float("nan")
    rows = tuple(np.concatenate([own, one[None]]) for own, one in zip(policies, average, strict=True))
    total = 0.0
    for groups in _partitions(seats):
        shared = [group for group in groups if len(group) > 1]
        runs = np.array(list(itertools.product(range(count), repeat=len(shared))), np.int64)
        seatings = np.full((len(runs), seats), count)
        for group, run in zip(shared, runs.T, strict=True):
            seatings[:, group] = run[:, None]
        factor = math.prod((-1) ** (len(group) - 1) * math.factorial(len(group) - 1) for group in shared)
        total += factor * count ** len(groups) * float(crossplay.play(tree, rows, seatings).mean())
    return total / math.perm(count, seats)


def _partitions(seats: int) -> Iterator[list[list[int]]]:
    """All partitions of the seats 0 to `seats` - 1 into groups."""
    if not seats:
        yield []
        return
    for groups in _partitions(seats - 1):
        yield [*groups, [seats - 1]]
        for place, group in enumerate(groups):
            yield [*groups[:place], [*group, seats - 1], *groups[place + 1 :]]


def between(tree: Tree, scores: Sequence[Score]) -> np.ndarray:
    """float64[M, M]: agent 0 of a run of the row's method with agent 1 of a run of the column's, relabelled.

    Raises:
      TacitError: for a game of other than two agents.
    """
    averages = tuple(np.stack(own) for own in zip(*(one.average for one in scores), strict=True))
    matrix = np.array(crossplay.cross_play(tree, averages))
    for place, one in enumerate(scores):
        matrix[place, place] = one.cross_play
    return matrix
