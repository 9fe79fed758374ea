"""Phase diagram over α: where independent starts come to rest, and what their joint policies score with each other.

At every α all starts follow the gradient flow. Solutions found at one α are also followed upwards from α to α: random
starts miss small basins, and would understate from where on there is one solution only.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from games.errors import TacitError
from games.tabular.histories import Tree
from games.tabular.symmetry import SymmetryGroup, equivariance_defect
from marl.crossplay import seatings
from marl.exact import crossplay, gradient_flow
from marl.exact.gradient_flow import Method, Stationary
from marl.exact.objective import Array, JointPolicy, Tables, double_precision, in_batches, sweep, tables

SAME_POINT = 1e-5
"""Two points are one solution if no history's action probabilities differ by more, weighted by reach probability."""
_FOLLOWED = 16
_BISECTIONS = 40
_BRACKET = 2e-5
"""How near, relatively, both ends of the bracket of uniqueness are brought."""


class Solutions(NamedTuple):
    """The distinct stationary points at one α; K of them, the first reached from the most starts."""

    log_probs: tuple[np.ndarray, ...]  # for each agent float64[K, H, A]
    starts: np.ndarray  # int64[K], starts that ended there; 0 for a solution only found by following
    residual: np.ndarray  # float64[K], over all histories
    soft: np.ndarray  # float64[K], expected return in self-play
    greedy: np.ndarray  # float64[K], of the greedified policy
    defect: np.ndarray  # float64[K], equivariance defect weighted by reach; nan without a symmetry group
    soft_cells: np.ndarray  # float64[K, K] cross-play of two agents, else [C] over `cells`
    greedy_cells: np.ndarray  # likewise
    cells: np.ndarray | None  # int64[C, n] seatings of the solutions with more than two agents, else None


class Row(NamedTuple):
    """One α of a phase diagram; returns are means over the starts that converged, None where there is none."""

    alpha: float
    starts: int
    converged: int
    solutions: int  # distinct stationary points, those found only by following included
    soft_self_play: float | None
    soft_cross_play: float | None  # of different starts
    greedy_self_play: float | None
    greedy_cross_play: float | None
    defect: float | None  # the greatest over the solutions of starts
    residual: float | None  # the greatest, over all histories
    time: float | None  # the longest flow time


class Phase(NamedTuple):
    """A phase diagram."""

    rows: list[Row]
    solutions: list[Solutions]
    unique: tuple[float | None, float | None]
    """(greatest α at which starts disagree or do not all converge, or None; least α above it where they agree)."""


@double_precision
def phase_diagram(
    tree: Tree,
    alphas: Sequence[float],
    starts: tuple[np.ndarray, ...],
    *,
    group: SymmetryGroup | None = None,
    method: Method = "flow",
    step_tolerance: float = 1e-2,
    learning_rate: float = 1e-2,
    max_steps: int = 10_000,
    refine: bool = True,
    report: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Phase:
    """All starts at all α.

    Args:
      tree: the game's histories.
      alphas: positive, in any order; the result is in ascending order.
      starts: for each agent float64[N, H, A] logits.
      group: symmetries for the equivariance defect.
      method, step_tolerance, learning_rate, max_steps: see `gradient_flow.solve`.
      refine: bisect between the greatest α with several solutions and the next.
      report: told what is being done, how much of it is done, of how much.

    Raises:
      TacitError: without an α or a start; as `gradient_flow.solve`.
    """
    alphas = sorted({float(alpha) for alpha in alphas})
    count = len(starts[0])
    if not alphas or not count:
        raise TacitError("a phase diagram needs at least one alpha and one start")
    settings: dict[str, Any] = {
        "method": method, "step_tolerance": step_tolerance, "learning_rate": learning_rate, "max_steps": max_steps
    }  # fmt: skip
    lanes = tuple(np.tile(own, (len(alphas), 1, 1)) for own in starts)
    every = gradient_flow.solve(
        tree, lanes, np.repeat(alphas, count), **settings, report=lambda done, total: report("starts", done, total)
    )
    found: list[Solutions] = []
    rows: list[Row] = []
    for number, alpha in enumerate(alphas):
        ended = every.take(slice(number * count, (number + 1) * count))
        if found and (upwards := _logits(found[-1])) is not None:
            ended = _join(ended, gradient_flow.solve(tree, upwards, _full(upwards, alpha), **settings))
        found.append(_distinct(tree, ended, count, alpha, group))
        rows.append(_row(alpha, ended.take(slice(count)), found[-1]))
        report("following", number + 1, len(alphas))
    return Phase(rows, found, _unique(tree, rows, found, settings, refine, report))


def _unique(
    tree: Tree,
    rows: list[Row],
    found: list[Solutions],
    settings: dict[str, Any],
    refine: bool,
    report: Callable[[str, int, int], None],
) -> tuple[float | None, float | None]:
    alphas = [row.alpha for row in rows]
    several = [number for number, row in enumerate(rows) if row.solutions != 1 or row.converged < row.starts]
    if not several:
        return None, alphas[0]
    last = several[-1]
    if last + 1 == len(alphas):
        return alphas[last], None
    low, known = alphas[last], found[last]
    agreed = [alphas[last + 1]]  # α at which the followed solutions agreed, the greatest first
    for number in range(_BISECTIONS if refine else 0):
        logits = _logits(known)
        if logits is None or len(known.starts) < 2:
            break
        # A step can throw a solution out of its basin. So at the end the least α of agreement is tried from nearby.
        near = agreed[-1] / low < 1 + _BRACKET
        middle = agreed[-1] if near else float(np.sqrt(low * agreed[-1]))
        ended = gradient_flow.solve(tree, logits, _full(logits, middle), **settings)
        now = _distinct(tree, ended, 0, middle, None)
        agree = bool(ended.converged.all()) and len(now.starts) == 1
        if agree and near:
            break
        if agree:
            agreed.append(middle)
        else:
            if near and len(agreed) == 1:
                break
            low, known = middle, now if len(now.starts) > 1 else known
            agreed = [alpha for alpha in agreed if alpha > middle]
        report("refining", number + 1, _BISECTIONS)
    return low, agreed[-1]


def _full(logits: tuple[np.ndarray, ...], alpha: float) -> np.ndarray:
    return np.full(len(logits[0]), alpha)


def _logits(solutions: Solutions) -> tuple[np.ndarray, ...] | None:
    """Solutions as starts; None if there are none."""
    if not len(solutions.starts):
        return None
    return tuple(np.where(np.isfinite(own), own, 0.0)[:_FOLLOWED] for own in solutions.log_probs)


def _join(first: Stationary, second: Stationary) -> Stationary:
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), first, second)


def _distinct(tree: Tree, ended: Stationary, starts: int, alpha: float, group: SymmetryGroup | None) -> Solutions:
    """The different points among the converged ones, of which the first `starts` come from starts."""
    rows = np.flatnonzero(ended.converged)
    reach = reach_probabilities(tree, tuple(own[rows] for own in ended.log_probs))
    probs = [np.exp(own[rows]) for own in ended.log_probs]
    members: list[list[int]] = []
    firsts: list[int] = []
    for place in range(len(rows)):
        for known, first in enumerate(firsts):
            if _distance(probs, reach, place, first) <= SAME_POINT:
                members[known].append(place)
                break
        else:
            firsts.append(place)
            members.append([place])
    counts = np.array([sum(rows[place] < starts for place in places) for places in members], np.int64)
    order = np.argsort(-counts, kind="stable")
    chosen = rows[np.array(firsts, np.int64)[order]] if firsts else np.zeros(0, np.int64)
    log_probs = tuple(own[chosen] for own in ended.log_probs)
    greedy = crossplay.greedy(log_probs)
    defect = np.full(len(chosen), np.nan)
    if group is not None and len(chosen):
        reached = reach_probabilities(tree, log_probs)
        defect = np.asarray(equivariance_defect(group, tree, list(map(np.exp, log_probs)), reached).weighted)
    cells = None
    if len(log_probs) > 2 and len(chosen) > 1:
        kind = "distinct" if len(chosen) >= len(log_probs) else "one_against_copies"
        cells = seatings(len(chosen), len(log_probs), kind)
    soft_cells, greedy_cells = (_cells(tree, policies, cells) for policies in (log_probs, greedy))
    return Solutions(
        log_probs=log_probs,
        starts=counts[order],
        residual=ended.residual_all[chosen],
        soft=crossplay.self_play(tree, log_probs) if len(chosen) else np.zeros(0),
        greedy=crossplay.self_play(tree, greedy) if len(chosen) else np.zeros(0),
        defect=defect,
        soft_cells=soft_cells,
        greedy_cells=greedy_cells,
        cells=cells,
    )


def _cells(tree: Tree, log_probs: tuple[np.ndarray, ...], cells: np.ndarray | None) -> np.ndarray:
    if len(log_probs) == 2:
        return crossplay.cross_play(tree, log_probs) if len(log_probs[0]) else np.zeros((0, 0))
    return np.zeros(0) if cells is None else crossplay.play(tree, log_probs, cells)


def _distance(probs: list[np.ndarray], reach: tuple[np.ndarray, ...], first: int, second: int) -> float:
    """The greatest difference of action probabilities, weighted by the larger reach probability."""
    return max(
        float((0.5 * np.abs(p[first] - p[second]).sum(-1) * np.maximum(w[first], w[second])).max())
        for p, w in zip(probs, reach, strict=True)
    )


def _row(alpha: float, ended: Stationary, solutions: Solutions) -> Row:
    """The means over starts: a solution counts as often as starts ended in it."""
    converged = int(ended.converged.sum())
    weights = solutions.starts
    nobody = converged == 0
    return Row(
        alpha=alpha,
        starts=len(ended.converged),
        converged=converged,
        solutions=len(weights),
        soft_self_play=None if nobody else float(weights @ solutions.soft / converged),
        soft_cross_play=_between(weights, solutions.soft, solutions.soft_cells, solutions.cells),
        greedy_self_play=None if nobody else float(weights @ solutions.greedy / converged),
        greedy_cross_play=_between(weights, solutions.greedy, solutions.greedy_cells, solutions.cells),
        defect=None if nobody or np.isnan(solutions.defect).any() else float(solutions.defect[weights > 0].max()),
        residual=None if nobody else float(solutions.residual[weights > 0].max()),
        time=None if nobody else float(ended.time[ended.converged].max()),
    )


def _between(weights: np.ndarray, own: np.ndarray, cells: np.ndarray, seats: np.ndarray | None) -> float | None:
    """The mean return of different starts; None with fewer than two.

    Two agents: the mean over all ordered pairs of starts. More: the mean over the seatings of different solutions by
    name, and the self-play of the solution where all starts agree.
    """
    total = int(weights.sum())
    if total < 2:
        return None
    if cells.ndim == 2:
        pairs = np.outer(weights, weights) - np.diag(weights)
        return float((pairs * cells).sum() / (total * (total - 1)))
    if seats is None or (weights > 0).sum() == 1:
        return float(own[int(np.argmax(weights))])
    mixed = [len(set(seating)) > 1 and bool((weights[seating] > 0).all()) for seating in seats.tolist()]
    return float(cells[mixed].mean())


@double_precision
def reach_probabilities(tree: Tree, log_probs: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """The probability with which each joint policy reaches each history: for each agent float64[B, H]."""
    if not len(log_probs[0]):
        return tuple(np.zeros(own.shape[:2]) for own in log_probs)
    return in_batches(_reach, tables(tree), log_probs)


@jax.jit
@functools.partial(jax.vmap, in_axes=(None, 0))
def _reach(table: Tables, log_probs: JointPolicy) -> tuple[Array, ...]:
    return sweep(table, log_probs, 0.0).reach
