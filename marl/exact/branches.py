"""Branches of soft stationary points over α, and where they lose stability.

A soft stationary point satisfies π(·|h) = softmax(Q_π(h,·)/α) at every history. The principal branch is the curve of
such points that comes from α = ∞. It is followed by pseudo-arclength continuation, which goes round folds: with s the
scale of the returns and w = Q/(α + s), taken as differences within each history,

    w - Q_π/(α + s) = 0,   π = softmax(w (α + s)/α),

is solved for (w, log α) together. w has no unit and stays bounded both for α -> ∞ and for α -> 0. There is one unknown
for each orbit of (history, action) under the game's symmetries, less one for each orbit of histories. So the branch
consists of equivariant policies; bifurcations that break the symmetry do not stop it, and it goes on beyond its loss of
stability.

Stability is judged in the space of *all* policies, by the Jacobian P of soft policy iteration log π <- log softmax(Q/α)
modulo constants per history, which is also the derivative of Q_π/(α + s) by w. At a stationary point the Hessian of J_α
on the tangent space of policies is D + C, with D < 0 from the entropies, history by history, and C from how histories
depend on each other, and P = -D⁻¹C: its eigenvalues are real, and an eigenvalue of the Hessian crosses 0 where one of P
crosses +1. That is where damped soft policy iteration and the flow leave the branch; an eigenvalue below -1 (which the
spectral radius would count) only makes undamped iteration oscillate.

Pseudo-arclength continuation: Keller 1977, "Numerical solution of bifurcation and nonlinear eigenvalue problems".
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.optimize import brentq

from games.errors import TacitError, number, one_of, whole_number
from games.tabular.histories import Tree
from marl.exact.branch_equations import (
    CONVERGED,
    Curve,
    NoPointError,
    Solution,
    along_alpha,
    eigenvalues,
    equations,
    scale_of,
    space_of,
    trivial_orbits,
    unknowns,
)
from marl.exact.objective import double_precision, tables

START = 100.0
"""The default alpha_max, in units of the scale of the returns."""
_DAMPED_STEPS = 10_000
_FIRST_STEP, _LONGEST_STEP, _SHORTEST_STEP = 0.05, 0.2, 1e-9
_LEAST_COSINE = 0.95
"""Between the tangents at both ends of a step."""
_AT_ONE = 1e-6
"""An eigenvalue this near to +1 at a fold belongs to the fold; those this near at a bifurcation cross together."""


class Branch(NamedTuple):
    """P points of a branch in the order in which it was followed; the folds are among them."""

    alpha: np.ndarray  # float64[P]
    log_probs: tuple[np.ndarray, ...]  # for each agent float64[P, H, A], -inf where illegal
    eigenvalue: np.ndarray  # float64[P], the largest signed eigenvalue of P among all policies: stable below 1
    residual: np.ndarray  # float64[P], greatest total variation between π(·|h) and softmax(Q/α), at all histories
    folds: np.ndarray  # float64[F], α where the branch turns round in α, in order
    bifurcations: np.ndarray  # float64[B], α where eigenvalues cross +1 without a fold, in order
    alpha_stable: float | None  # α where the largest eigenvalue crosses +1 for the first time; None: nowhere
    ended: str  # what stopped it: "alpha_min", "alpha_max", "max_points", "step" (no shorter one) or "unstable"


@double_precision
def principal_branch(
    tree: Tree,
    orbits: Sequence[np.ndarray] | None = None,
    *,
    alpha_min: float,
    alpha_max: float | None = None,
    max_points: int = 2_000,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Branch:
    """The branch from α = ∞, followed from `alpha_max` until it leaves [alpha_min, alpha_max].

    It starts where damped soft policy iteration leads from the uniform policy at `alpha_max`.

    Args:
      tree: the game's histories.
      orbits: for each agent int64[H, A], which (history, action) must have equal values (`games.tabular.symmetry.
        orbits`); None: each stands for itself.
      alpha_min: where to stop, positive, in units of reward.
      alpha_max: where to start; None is 100 times the span of the returns.
      max_points: after which to stop.
      report: called with how many percent of the way to alpha_min, in log α, are done, and 100.

    Raises:
      TacitError: for a value out of range; for a game of more than `MOST_UNKNOWNS` unknowns; if no stable stationary
        point was found at `alpha_max`; if `orbits` does not come from symmetries of the game.
    """
    return _principal(tree, orbits, alpha_min, alpha_max, max_points, until_unstable=False, report=report)


@double_precision
def alpha_stable(
    tree: Tree,
    orbits: Sequence[np.ndarray] | None = None,
    *,
    alpha_min: float,
    alpha_max: float | None = None,
    max_points: int = 2_000,
) -> float | None:
    """α at which the principal branch, coming from α = ∞, loses stability; None if it does not down to `alpha_min`.

    There the largest signed eigenvalue of P crosses +1, at a fold or a bifurcation. Located to 1e-10 relative; to about
    1e-8 only where `orbits` leaves out the symmetry that breaks, as the equations are then singular. The branch is
    followed no further; `Branch.alpha_stable` is the same number. Arguments as in `principal_branch`.

    Raises:
      TacitError: as `principal_branch`; if the branch cannot be followed to `alpha_min`.
    """
    branch = _principal(tree, orbits, alpha_min, alpha_max, max_points, until_unstable=True)
    if branch.ended not in ("unstable", "alpha_min"):
        raise TacitError(
            f"the principal branch could not be followed below alpha {branch.alpha[-1]:g} (ended by {branch.ended})"
        )
    return branch.alpha_stable


@double_precision
def follow_branch(
    tree: Tree,
    log_probs: tuple[np.ndarray, ...],
    alpha: float,
    orbits: Sequence[np.ndarray] | None = None,
    *,
    direction: Literal["up", "down"],
    alpha_min: float,
    alpha_max: float,
    max_points: int = 2_000,
    stability: bool = True,
) -> Branch:
    """The branch through a given stationary point, followed until it leaves [alpha_min, alpha_max].

    Args:
      tree, orbits, max_points: as in `principal_branch`.
      log_probs: for each agent float64[H, A], stationary at `alpha` to about 1e-3; Newton's method does the rest.
      alpha: of the start, within the bounds.
      direction: whether α grows or falls at first.
      alpha_min, alpha_max: where to stop.
      stability: whether to compute eigenvalues. Without them `eigenvalue` is nan, `alpha_stable` None, and of the
        bifurcations only those are seen at which branches of policies tied by `orbits` meet.

    Raises:
      TacitError: for a value out of range; if there is no stationary point, equivariant under `orbits`, at the start.
    """
    one_of("direction", direction, ("up", "down"))
    alpha_min, alpha_max = _bounds(alpha_min, alpha_max)
    number("alpha", alpha, alpha_min, alpha_max)
    curve = dataclasses.replace(equations(tree, orbits), stability=stability)
    guess = unknowns(curve.tied, log_probs, alpha, curve.scale)
    start = _start(curve, guess, 1.0 if direction == "up" else -1.0)
    given = tuple(np.exp(own) for own in log_probs)
    found = curve.evaluate(start.z).log_probs
    moved = max(np.abs(np.exp(new) - old).sum(-1).max() / 2 for new, old in zip(found, given, strict=True))
    if moved > 1e-2:
        raise TacitError(
            f"the start at alpha {alpha:g} is not a stationary point that respects the orbits: the nearest one found "
            f"is {moved:.2g} away in total variation"
        )
    return _follow(curve, start, alpha_min, alpha_max, max_points, until_unstable=False)


def windows(branch: Branch) -> list[tuple[float, float]]:
    """The intervals of α, between two folds, in which a branch has several points at one α, from the lowest up.

    Where the branch turns upwards it passes α that it has passed before, and passes them once more on its way down.
    """
    merged: list[tuple[float, float]] = []
    for low, high in sorted(pair for pair in _rises(branch) if pair[0] != branch.alpha[0]):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged


def upper_folds(branch: Branch) -> list[float]:
    """α of the folds where a branch turns downwards, in order: right below each it has two points at one α."""
    return [high for _, high in _rises(branch) if high != branch.alpha[-1]]


def _rises(branch: Branch) -> list[tuple[float, float]]:
    """(least, greatest) α of each stretch along which α grows."""
    rises = np.diff(branch.alpha) > 0
    ends = np.flatnonzero(np.diff(np.concatenate([[False], rises, [False]]).astype(int)))
    return [(float(branch.alpha[low]), float(branch.alpha[high])) for low, high in ends.reshape(-1, 2)]


@double_precision
def largest_eigenvalue(tree: Tree, log_probs: tuple[np.ndarray, ...], alpha: float) -> float:
    """The largest signed eigenvalue (real part) of the Jacobian of soft policy iteration at one joint policy.

    At a stationary point all eigenvalues are real, and if this one is below 1 the point is a strict local maximum of
    J_α in the action probabilities at reached histories.

    Args:
      tree: the game's histories.
      log_probs: for each agent float64[H, A], finite where legal.
      alpha: weight of the entropies, positive, in units of reward.

    Raises:
      TacitError: for a value out of range.
    """
    alpha = number("alpha", alpha, 0.0, above=True)
    full, scale = space_of(trivial_orbits(tree)), scale_of(tree)
    return float(eigenvalues(tables(tree), full, scale, unknowns(full, log_probs, alpha, scale))[0])


# The branch


def _principal(
    tree: Tree,
    orbits: Sequence[np.ndarray] | None,
    alpha_min: float,
    alpha_max: float | None,
    max_points: int,
    until_unstable: bool,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Branch:
    default = max(START * scale_of(tree), 2 * number("alpha_min", alpha_min, 0.0, above=True))
    alpha_min, alpha_max = _bounds(alpha_min, default if alpha_max is None else alpha_max)
    curve = equations(tree, orbits)
    start = _start(curve, _damped_iteration(curve, alpha_max), -1.0)
    if curve.evaluate(start.z).residual > CONVERGED:
        raise TacitError("the orbits are not those of symmetries of the game")
    if curve.eigenvalues(start.z)[0] >= 1:
        raise TacitError(f"the principal branch is not stable at alpha_max {alpha_max:g}: it must start higher")
    return _follow(curve, start, alpha_min, alpha_max, max_points, until_unstable, report)


def _damped_iteration(curve: Curve, alpha: float) -> np.ndarray:
    """z to which damped soft policy iteration converges from the uniform policy."""
    z = np.append(np.zeros(len(curve.tied.entry)), np.log(alpha))
    for _ in range(_DAMPED_STEPS):
        error = curve.evaluate(z).error
        z[:-1] -= 0.5 * error
        if np.abs(error).max(initial=0.0) < CONVERGED:
            return z
    raise TacitError(f"soft policy iteration from the uniform policy does not converge at alpha_max {alpha:g}")


def _start(curve: Curve, guess: np.ndarray, direction: float) -> Solution:
    """The solution near `guess` at the same α, with a tangent along which α grows (`direction` 1) or falls (-1)."""
    try:
        upwards = curve.correct(guess, along_alpha(guess))
        return curve.correct(upwards.z, direction * upwards.tangent)
    except NoPointError as error:
        alpha = np.exp(guess[-1])
        raise TacitError(f"Newton's method finds no stationary point near the start at alpha {alpha:g}") from error


def _follow(
    curve: Curve,
    start: Solution,
    alpha_min: float,
    alpha_max: float,
    max_points: int,
    until_unstable: bool,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Branch:
    """Step along the tangent, return to the curve by Newton's method, and find the events on the way."""
    whole_number("max_points", max_points, 2)
    bounds = {"alpha_min": np.log(alpha_min), "alpha_max": np.log(alpha_max)}
    point = _Point(*start, curve.eigenvalues(start.z))
    points, events, length, ended = [point], [], _FIRST_STEP, ""
    while not ended:
        try:
            found, crossed, ended = _step(curve, point, length, bounds)
        except NoPointError:
            length /= 2
            ended = "step" if length < _SHORTEST_STEP else ""
            continue
        point, length = found[-1], min(1.5 * length, _LONGEST_STEP)
        points += found
        events += crossed
        lowest = min(point.alpha for point in points)
        report(round(100 * float(np.log(alpha_max / lowest) / np.log(alpha_max / alpha_min))), 100)
        if until_unstable and any(event.of_largest for event in crossed):
            ended = "unstable"
        elif len(points) >= max_points:
            ended = ended or "max_points"
    evaluations = [curve.evaluate(point.z) for point in points]
    return Branch(
        alpha=np.array([point.alpha for point in points]),
        log_probs=tuple(np.stack(own) for own in zip(*(one.log_probs for one in evaluations), strict=True)),
        eigenvalue=np.array([point.eigenvalues[0] for point in points]),
        residual=np.array([float(one.residual) for one in evaluations]),
        folds=np.array([event.alpha for event in events if event.is_fold]),
        bifurcations=np.array([event.alpha for event in events if not event.is_fold]),
        alpha_stable=next((event.alpha for event in events if event.of_largest), None) if curve.stability else None,
        ended=ended,
    )


class _Point(NamedTuple):
    """A point on the branch."""

    z: np.ndarray
    tangent: np.ndarray
    determinant: tuple[float, float]
    eigenvalues: np.ndarray  # float64[...], of P among all policies, the largest first
    is_fold: bool = False

    @property
    def alpha(self) -> float:
        return float(np.exp(self.z[-1]))

    def above_one(self) -> tuple[int, int]:
        """How many eigenvalues are above 1, without and with the one that is 1 because this is a fold."""
        margin = _AT_ONE if self.is_fold else 0.0
        return int((self.eigenvalues > 1 + margin).sum()), int((self.eigenvalues > 1 - margin).sum())


class _Event(NamedTuple):
    """An eigenvalue of P crosses +1."""

    alpha: float
    is_fold: bool
    of_largest: bool  # it is the largest that crosses: stability is lost or won


class _Stretch:
    """The branch beyond one point, by the distance along that point's tangent. Results are cached."""

    def __init__(self, curve: Curve, here: _Point) -> None:
        self._curve, self._here = curve, here
        self._solved = {0.0: Solution(here.z, here.tangent, here.determinant)}
        self._spectra = {0.0: here.eigenvalues}

    def at(self, distance: float) -> Solution:
        if distance not in self._solved:
            predicted = self._here.z + distance * self._here.tangent
            self._solved[distance] = self._curve.correct(predicted, self._here.tangent)
        return self._solved[distance]

    def log_alpha(self, distance: float) -> float:
        return float(self.at(distance).z[-1])

    def slope(self, distance: float) -> float:
        """How fast log α changes; 0 at a fold."""
        return float(self.at(distance).tangent[-1])

    def determinant(self, distance: float) -> float:
        """Relative to where the stretch begins; 0 at a bifurcation among equivariant policies, but not at a fold."""
        sign, log = self.at(distance).determinant
        return sign * float(np.exp(log - self._here.determinant[1]))

    def eigenvalues(self, distance: float) -> np.ndarray:
        if distance not in self._spectra:
            self._spectra[distance] = self._curve.eigenvalues(self.at(distance).z)
        return self._spectra[distance]


def _step(
    curve: Curve, here: _Point, length: float, bounds: dict[str, float]
) -> tuple[list[_Point], list[_Event], str]:
    """One step: (the points after `here`, what happens on the way, the bound of log α that was met or "").

    Raises:
      NoPointError: if the step is too long.
    """
    stretch = _Stretch(curve, here)
    end = stretch.at(length)
    bent = np.linalg.norm(end.z - here.z - length * here.tangent) > length / 4
    if bent or end.tangent @ here.tangent < _LEAST_COSINE:
        raise NoPointError
    fold = _root(stretch.slope, 0.0, length) if stretch.slope(0.0) * stretch.slope(length) < 0 else None
    points, events, reached = [here], [], 0.0
    for distance in [length] if fold is None else [fold, length]:
        met = _passed_bound(stretch.log_alpha(distance), bounds)
        if met:
            distance = _root(lambda s, bound=bounds[met]: stretch.log_alpha(s) - bound, reached, distance)
        point = _Point(*stretch.at(distance), stretch.eigenvalues(distance), distance == fold)
        events += _crossings(stretch, points[-1], reached, point, distance)
        if point.is_fold:
            events.append(_Event(point.alpha, True, point.above_one()[0] == 0))
        points.append(point)
        reached = distance
        if met:
            return points[1:], events, met
    return points[1:], events, ""


def _passed_bound(log_alpha: float, bounds: dict[str, float]) -> str:
    """The bound that log α has passed, or ""."""
    if log_alpha < bounds["alpha_min"]:
        return "alpha_min"
    return "alpha_max" if log_alpha > bounds["alpha_max"] else ""


def _crossings(stretch: _Stretch, before: _Point, start: float, after: _Point, end: float) -> list[_Event]:
    """The bifurcations between two points, at the distances `start` and `end`: eigenvalues that cross together once."""
    (few_before, many_before), (few_after, many_after) = before.above_one(), after.above_one()
    upwards = few_after > many_before
    found: dict[float, bool] = {}  # the distance, and whether it is the largest eigenvalue that crosses
    for index in range(many_before, few_after) if upwards else range(many_after, few_before):
        if not any(abs(stretch.eigenvalues(root)[index] - 1) < _AT_ONE for root in found):
            root = _root(lambda s, index=index: float(stretch.eigenvalues(s)[index]) - 1, start, end)
            found[root] = index == 0
    # Where another branch of equivariant policies is met, one eigenvalue may rise above 1 as another one falls below.
    if not found and before.determinant[0] != after.determinant[0]:
        found[_root(stretch.determinant, start, end)] = False
    return [_Event(float(np.exp(stretch.log_alpha(root))), False, found[root]) for root in sorted(found)]


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    root: Any = brentq(function, low, high, xtol=1e-14, rtol=np.float64(1e-14), maxiter=1_000)
    return float(root)


def _bounds(alpha_min: float, alpha_max: float) -> tuple[float, float]:
    alpha_min = number("alpha_min", alpha_min, 0.0, above=True)
    return alpha_min, number("alpha_max", alpha_max, alpha_min, above=True)
