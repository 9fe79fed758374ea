"""Phase diagram over α: where independent starts end, and what their joint policies score with each other.

At every α all starts follow the gradient flow. Solutions found at one α are also followed upwards from α to α: random
starts miss small basins of attraction, and alone would put the least α with only one solution too low.

That least α is searched for by all available means (`Unique`). Several solutions are *seen* at an α where starts,
followed solutions or points of the branch from α = ∞ end differently; in a window between two folds of a branch; and
below `alpha_stable`, where a start beside the branch's saddle rises to another solution. Solutions are followed through
the folds of their own branches; windows can be far narrower than a step of α. Every α at which several were seen is a
lower bound.
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
from marl.exact.branches import Branch, follow_branch, upper_folds
from marl.exact.gradient_flow import Method, Stationary
from marl.exact.objective import Array, JointPolicy, Tables, double_precision, in_batches, sweep, tables
from marl.exact.starts import concatenate

SAME_POINT = 1e-5
"""Two points are one solution if no history's action probabilities differ by more, weighted by reach probability."""
_FOLLOWED = 16
_BISECTIONS = 40
_BRACKET = 2e-5
"""The relative width of the interval around the least α with one solution at which bisection stops."""
_BESIDE = 1e-3
"""The relative distance from a fold or bifurcation to the α that are tried on both sides of it."""
_NEWTON_AFTER = 500
"""Steps after which Newton's method is tried near folds and bifurcations."""
_PUSH = 0.1
"""The standard deviation of the noise that makes starts of the logits of points of a branch."""
_BRANCHES, _MOST_POINTS, _BACK, _UPWARDS = 8, 400, 1.1, 4.0
"""Branches through solutions: how many are followed, over how many points, and how far down and up in α."""


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
    unique: "Unique"
    beside: tuple[float, ...]
    """The α that were tried in addition to the given ones: on both sides of folds and bifurcations of the branch."""


class Unique(NamedTuple):
    """Bounds on the least α above which there is one solution, as far as was searched."""

    several_up_to: float | None  # the greatest α at which, or right below which, two solutions were seen; None: nowhere
    one_from: float | None  # the least α tried above that from which on all agreed and converged; None: none


@double_precision
def phase_diagram(
    tree: Tree,
    alphas: Sequence[float],
    starts: tuple[np.ndarray, ...],
    *,
    group: SymmetryGroup | None = None,
    branch: Branch | None = None,
    method: Method = "flow",
    step_tolerance: float = 1e-2,
    learning_rate: float = 1e-2,
    max_steps: int = 10_000,
    refine: bool = True,
    report: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Phase:
    """Follow all starts at all α.

    Args:
      tree: the game's histories.
      alphas: positive, in any order; the result is in ascending order.
      starts: for each agent float64[N, H, A] logits.
      group: symmetries for the equivariance defect.
      branch: the one from α = ∞ (`branches.principal_branch`). Starts are also tried on both sides of its folds and
        bifurcations and, everywhere, beside its points.
      method, step_tolerance, learning_rate, max_steps: see `gradient_flow.solve`.
      refine: follow the branches of what was found at the greatest α with several solutions, and bisect between the
        greatest α where several were seen and the next.
      report: called with what is being done, how much of it is done, and of how much.

    Raises:
      TacitError: without an α or a start; as `gradient_flow.solve`.
    """
    given = {float(alpha) for alpha in alphas}
    count = len(starts[0])
    if not given or not count:
        raise TacitError("a phase diagram needs at least one alpha and one start")
    settings: dict[str, Any] = {
        "method": method, "step_tolerance": step_tolerance, "learning_rate": learning_rate, "max_steps": max_steps
    }  # fmt: skip
    beside = _beside_events(branch, min(given), max(given)) - given
    alphas = sorted(given | beside)
    total = len(alphas) * count
    ends: dict[float, Stationary] = {}
    # Newton's method is tried early only where the flow is known to be slow, since `Row.time` is the flow's.
    late = max(max_steps, _NEWTON_AFTER)
    for asked, newton_after in ((sorted(given), late), (sorted(beside), _NEWTON_AFTER)):
        if asked:
            lanes = tuple(np.tile(own, (len(asked), 1, 1)) for own in starts)
            before = len(ends) * count
            every = gradient_flow.solve(
                tree, lanes, np.repeat(asked, count), **settings, newton_after=newton_after,
                report=lambda done, _, before=before: report("starts", before + done, total),
            )  # fmt: skip
            for number, alpha in enumerate(asked):
                ends[alpha] = every.take(slice(number * count, (number + 1) * count))
    found: list[Solutions] = []
    rows: list[Row] = []
    for number, alpha in enumerate(alphas):
        ended = ends[alpha]
        if others := _other_starts(found[-1] if found else None, branch, alpha):
            followed = concatenate(*others)
            newton_after = late if alpha in given else _NEWTON_AFTER
            ended = _join(
                ended,
                gradient_flow.solve(tree, followed, _full(followed, alpha), **settings, newton_after=newton_after),
            )
        found.append(distinct(tree, ended, count, group))
        rows.append(_row(alpha, ended.take(slice(count)), found[-1]))
        report("following", number + 1, len(alphas))
    search = _Search(tree, starts, branch, settings, report)
    unique = search.unique(rows, found, refine)
    shown = [number for number, alpha in enumerate(alphas) if alpha in given]
    return Phase([rows[number] for number in shown], [found[number] for number in shown], unique, tuple(sorted(beside)))


def _beside_events(branch: Branch | None, low: float, high: float) -> set[float]:
    """α on both sides of the folds and bifurcations of a branch, none of them next to another one."""
    if branch is None:
        return set()
    events = np.concatenate([branch.folds, branch.bifurcations, [branch.alpha_stable or np.nan]])
    events = np.unique(events[np.isfinite(events)])
    beside: set[float] = set()
    for event in events.tolist():
        for side in (event / (1 + _BESIDE), event * (1 + _BESIDE)):
            if low <= side <= high and not any(abs(np.log(side / other)) < _BESIDE for other in beside):
                beside.add(side)
    return beside


def _near_branch(branch: Branch | None, alpha: float) -> tuple[np.ndarray, ...] | None:
    """Starts beside the points of a branch next to an α, on all its sheets: they leave saddles. None: there is none."""
    if branch is None:
        return None
    ends = np.sort([branch.alpha[:-1], branch.alpha[1:]], axis=0)
    segments = np.flatnonzero((ends[0] <= alpha) & (alpha <= ends[1]))[:_FOLLOWED]
    if not len(segments):
        return None
    points = np.unique([segments, segments + 1])
    noise = np.random.default_rng(0)
    logits = []
    for own in branch.log_probs:
        finite = np.where(np.isfinite(own[points]), own[points], 0.0)
        push = _PUSH * noise.normal(size=finite.shape)
        logits.append(np.concatenate([finite + push, finite - push]))
    return tuple(logits)


def _other_starts(known: Solutions | None, branch: Branch | None, alpha: float) -> list[tuple[np.ndarray, ...]]:
    """Starts from the solutions at another α and from beside a branch, as far as there are any."""
    others = (_logits(known) if known else None, _near_branch(branch, alpha))
    return [one for one in others if one]


class _Search(NamedTuple):
    """The search for the α from which on there is one solution."""

    tree: Tree
    starts: tuple[np.ndarray, ...]
    branch: Branch | None
    settings: dict[str, Any]
    report: Callable[[str, int, int], None]

    def unique(self, rows: list[Row], found: list[Solutions], refine: bool) -> Unique:
        """See `Unique`; rows and solutions at ascending α, the branch's neighbourhoods among them."""
        several = [number for number, row in enumerate(rows) if row.solutions > 1]
        seen = [rows[number].alpha for number in several[-1:]]
        if self.branch is not None:
            seen += upper_folds(self.branch)
            seen += [] if self.branch.alpha_stable is None else [self.branch.alpha_stable]
        known = found[several[-1]] if several else None
        if refine and known is not None:
            seen += self.upper_folds_above(known, rows[several[-1]].alpha)
        doubtful = [row.alpha for row in rows if row.solutions != 1 or row.converged < row.starts]
        agreed = [row.alpha for row in rows if row.alpha > max(doubtful, default=0.0)]
        reach = _BRACKET
        for number in range(_BISECTIONS if refine and seen else 0):
            low = max([*seen, *doubtful])
            agreed = [alpha for alpha in agreed if alpha > low]
            if not agreed or agreed[0] <= low * (1 + _BRACKET):
                break
            # First right above what was seen: if that is a fold, the search ends there. Then farther away.
            middle = min(low * (1 + reach), float(np.sqrt(low * agreed[0])))
            reach *= 4
            ended, now = self.solve_at(middle, known)
            if len(now.starts) > 1:
                known = now
                if above := self.upper_folds_above(now, middle):
                    reach = _BRACKET
                seen += [middle, *above]
            elif ended.converged.all():
                agreed = [middle, *agreed]
            else:
                doubtful.append(middle)
            self.report("refining", number + 1, _BISECTIONS)
        low = max(seen, default=None)
        high = next((alpha for alpha in agreed if alpha > (low or 0.0)), None)
        return Unique(low, high)

    def solve_at(self, alpha: float, known: Solutions | None) -> tuple[Stationary, Solutions]:
        """Where all starts, known solutions and starts beside the branch end at one α."""
        logits = concatenate(self.starts, *_other_starts(known, self.branch, alpha))
        ended = gradient_flow.solve(
            self.tree, logits, _full(logits, alpha), **self.settings, newton_after=_NEWTON_AFTER
        )
        return ended, distinct(self.tree, ended, 0, None)

    def upper_folds_above(self, solutions: Solutions, alpha: float) -> list[float]:
        """α of the folds at which the branches from solutions at `alpha`, followed upwards, turn down."""
        found: list[float] = []
        _, chosen = np.unique(solutions.soft.round(9), return_index=True)  # those of equal value count as images of one
        for place in sorted(chosen.tolist())[:_BRANCHES]:
            policy = tuple(own[place] for own in solutions.log_probs)
            try:
                upwards = follow_branch(
                    self.tree, policy, alpha, direction="up",
                    alpha_min=alpha / _BACK, alpha_max=alpha * _UPWARDS, max_points=_MOST_POINTS, stability=False,
                )  # fmt: skip
            except TacitError:  # too large a game, or no curve: what was seen stays a bound
                continue
            found += upper_folds(upwards)
        return found


def _full(logits: tuple[np.ndarray, ...], alpha: float) -> np.ndarray:
    return np.full(len(logits[0]), alpha)


def _logits(solutions: Solutions) -> tuple[np.ndarray, ...] | None:
    """Solutions as starts; None if there are none."""
    if not len(solutions.starts):
        return None
    return tuple(np.where(np.isfinite(own), own, 0.0)[:_FOLLOWED] for own in solutions.log_probs)


def _join(first: Stationary, second: Stationary) -> Stationary:
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), first, second)


def distinct(tree: Tree, ended: Stationary, starts: int, group: SymmetryGroup | None) -> Solutions:
    """The different points among the converged ones, of which the first `starts` come from starts.

    Shapes as in `Stationary` and `Solutions`.
    """
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
        # Of the solutions that starts reached: only with so many is there a seating of different ones.
        kind = "distinct" if np.count_nonzero(counts) >= len(log_probs) else "one_against_copies"
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
