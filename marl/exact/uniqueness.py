"""A proof by boxes that J_α has exactly one stationary point, for far smaller α than `marl.exact.certified` proves it.

From the α where `alpha_certified` proves it, downwards, in slices of α: boxes of joint policies and α are narrowed
(`marl.exact.boxes`) until they are empty or hold at most one stationary point, of index +1
(`marl.exact.box_derivatives`), and halved where neither happens. The indices of all stationary points sum to 1
(`docs/certified.md`, step 7): if all boxes of a slice end so, there is exactly one at each of its α.
`docs/certified.md`, "From boxes", has the statement.

The images of a stationary point under the game's symmetries are stationary points of the same index. So it is enough to
look at the joint policies that give one (cluster, action) the greatest probability of its orbit: each joint policy has
an image among them.
"""

import dataclasses
import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from games.errors import TacitError, number, whole_number
from games.tabular.histories import Tree, expected_rewards, joint_rows
from games.tabular.symmetry import Automorphism, SymmetryGroup, on_histories, orbits
from marl.exact.box_derivatives import Derivatives
from marl.exact.boxes import Boxes, Contraction, all_policies, join
from marl.exact.certified import alpha_certified
from marl.exact.clusters import Clusters, clusters

SLICES = (1.05, 1.02, 1.01)
"""Ratios of the greatest and the least α of a slice: the next one where a slice ends undecided, until none is left."""
_FORMULA_ERROR = 1 + 1e-9
"""The search begins so much above `alpha_certified`, whose rounding errors are not bounded."""
_LEAST_SHARE = 1e-3
"""The search ends at this share of `alpha_certified`."""
_BATCH, _AT_ONCE = 256, 32
"""Boxes that are narrowed, and boxes whose derivatives are bounded, at a time."""
_STALLED = 0.98
"""A box that keeps more than this share of its width is not narrowed again."""
_SAME = 1e-13
"""Chances are equal to this share of themselves, expected rewards to this share of the greatest one met: hundreds of
symmetries, one after the other, stay below the share by which bounds are widened."""
_MOST_LOGIT = 600.0
"""No difference of action values over α may be greater: then all probabilities are above `boxes.LEAST`."""
_NARROW = 0.15
"""Boxes of which no probability has a greater width are tried for at most one stationary point."""
_WIDTH_OF_ALPHA, _LATER = 5.0, 0.2
"""In narrow boxes log α counts for so much, and probabilities for the greatest own weight, `_LATER` times as much at
each later stage: what is done first decides what the rest is worth."""


class Boxed(NamedTuple):
    """What `alpha_boxed` proves."""

    alpha: float | None  # in units of reward; for every larger α there is exactly one stationary point; None: no proof
    boxes: int  # how many were looked at


def alpha_boxed(
    tree: Tree,
    *,
    group: SymmetryGroup | None = None,
    most: int = 2_000,
    report: Callable[[float, int], None] = lambda alpha, boxes: None,
) -> Boxed:
    """The least α, in units of reward, above which boxes prove that J_α has exactly one stationary point.

    Args:
      tree: the game's histories.
      group: its symmetries, with or without agent swaps; with them fewer boxes are needed. Those that hold no better
        than to `_SAME` in this tree are left aside.
      most: boxes to look at in each slice of α; more reach lower. A slice near the answer takes all of them, three
        times; one takes between 0.1 and 10 ms in games of up to 100 joint clusters a stage.
      report: called after each slice with the α that is reached and how many boxes were looked at.

    Raises:
      TacitError: if `most` is not a positive whole number; as `clusters`.
    """
    most = whole_number("most", most, 1)
    reached = alpha_certified(tree).alpha
    if reached is None or reached == 0:
        return Boxed(reached, 0)
    search = _Search(tree, group, most)
    least, reached = _LEAST_SHARE * reached, _FORMULA_ERROR * reached
    for ratio in SLICES:
        while reached > least and search.one_between(reached / ratio, reached):
            reached /= ratio
            report(reached, search.looked)
    return Boxed(reached, search.looked)


def one_between(tree: Tree, low: float, high: float, *, group: SymmetryGroup | None = None, most: int = 2_000) -> bool:
    """Whether boxes prove that J_α has exactly one stationary point at every α between two positive values.

    Raises:
      TacitError: for values that are not positive, or in the wrong order; as `alpha_boxed`.
    """
    low, high = number("low", low, 0, above=True), number("high", high, 0, above=True)
    if low > high:
        raise TacitError(f"low must not be above high, and {low:g} is above {high:g}")
    search = _Search(tree, group, whole_number("most", most, 1))
    return alpha_certified(tree).alpha is not None and search.one_between(low, high)


class _Search:
    def __init__(self, tree: Tree, group: SymmetryGroup | None, most: int) -> None:
        self.game = clusters(tree)
        self.orbit = [] if group is None else largest_orbit(self.game, exact_symmetries(tree, group))
        self.contraction = Contraction(self.game)
        self.derivatives = Derivatives(self.contraction)
        self.most, self.looked = most, 0

    def one_between(self, low: float, high: float) -> bool:
        todo, left = all_policies(self.game, low, high), self.most
        if 2 * self.contraction.scale(todo)[0] > _MOST_LOGIT * low:
            return False
        while len(todo):
            batch, todo = todo.take(slice(-_BATCH, None)), todo.take(slice(-_BATCH))
            left -= len(batch)
            self.looked += len(batch)
            if left < 0:
                return False
            undecided = self._undecided(self._narrowed(batch))
            if len(undecided):
                todo = join([todo, *self._halves(undecided)])
        return True

    def _narrowed(self, boxes: Boxes) -> Boxes:
        """Boxes narrowed until they stall, without the empty ones."""
        stalled = []
        while len(boxes):
            before = boxes.total_width
            boxes = self._with_greatest(self.contraction.shrink(boxes))
            full = ~boxes.empty
            boxes, before = boxes.take(full), before[full]
            stall = ~(boxes.total_width < _STALLED * before)
            stalled.append(boxes.take(stall))
            boxes = boxes.take(~stall)
        return join([boxes, *stalled])

    def _with_greatest(self, boxes: Boxes) -> Boxes:
        """Boxes without joint policies in which another of the orbit has a greater probability than its first."""
        if not self.orbit:
            return boxes
        low, high = [own.copy() for own in boxes.low], [own.copy() for own in boxes.high]
        (agent, *place), *rest = self.orbit
        first = (slice(None), *place)
        for other, *place in rest:
            second = (slice(None), *place)
            high[other][second] = np.minimum(high[other][second], high[agent][first])
            low[agent][first] = np.maximum(low[agent][first], low[other][second])
        return dataclasses.replace(boxes, low=tuple(low), high=tuple(high))

    def _undecided(self, boxes: Boxes) -> Boxes:
        """Those of which it is not shown that they hold at most one stationary point."""
        tried, shown = np.flatnonzero(_greatest_width(boxes) < _NARROW), np.zeros(len(boxes), np.bool_)
        for part in np.split(tried, range(_AT_ONCE, len(tried), _AT_ONCE)):
            if len(part):
                shown[part] = self.derivatives.at_most_one(boxes.take(part))
        return boxes.take(~shown)

    def _halves(self, boxes: Boxes) -> tuple[Boxes, Boxes]:
        """Each box divided where it is widest: in α, or in one probability."""
        weights = self.contraction.own_weights(boxes)
        in_alpha = _WIDTH_OF_ALPHA * np.log(boxes.alpha_high / boxes.alpha_low)
        widths = [np.where(_greatest_width(boxes) < _NARROW, in_alpha, 0.0)[:, None]]
        for own, width, (_, weight) in zip(self.game.agents, boxes.widths, weights, strict=True):
            stages = np.repeat(np.arange(len(own.offsets) - 1), np.diff(own.offsets))
            widths.append((width * (weight * _LATER**stages)[..., None]).reshape(len(boxes), -1))
        ends = np.cumsum([width.shape[1] for width in widths])
        widest = np.concatenate(widths, axis=1).argmax(1)
        low, high = [own.copy() for own in boxes.low], [own.copy() for own in boxes.high]
        alpha_low, alpha_high = boxes.alpha_low.copy(), boxes.alpha_high.copy()
        of_alpha = np.flatnonzero(widest < ends[0])
        alpha_low[of_alpha] = alpha_high[of_alpha] = np.sqrt(boxes.alpha_low * boxes.alpha_high)[of_alpha]
        for agent, (first, last) in enumerate(itertools.pairwise(ends)):
            rows = np.flatnonzero((first <= widest) & (widest < last))
            place = (rows, *np.unravel_index(widest[rows] - first, low[agent].shape[1:]))
            low[agent][place] = high[agent][place] = (boxes.low[agent][place] + boxes.high[agent][place]) / 2
        below = dataclasses.replace(boxes, high=tuple(high), alpha_high=alpha_high)
        above = dataclasses.replace(boxes, low=tuple(low), alpha_low=alpha_low)
        return below, above


def exact_symmetries(tree: Tree, group: SymmetryGroup) -> SymmetryGroup:
    """The group that those generators make that map the tree onto itself, to `_SAME`.

    A group is that of a problem's tables, which agree in units of their largest entries. In the tree an entry that no
    history comes to does not count, and what a rare history says must agree as well as what a frequent one does.
    """
    chances, totals = [stage.chance.sum(1) for stage in tree.stages], expected_rewards(tree)
    greatest = max(float((_largest(own) / chance).max()) for own, chance in zip(totals, chances, strict=True))
    slack = [_SAME * greatest * chance for chance in chances]
    kept = tuple(g for g in group.acting if _maps_onto_itself(g, tree, totals, slack))
    return dataclasses.replace(group, generators=kept)


def _maps_onto_itself(symmetry: Automorphism, tree: Tree, totals: list[np.ndarray], slack: list[np.ndarray]) -> bool:
    """Whether chances are equal to `_SAME`, and expected rewards times chance, float64[K, ...], to float64[K] slack."""
    images, agents = on_histories(symmetry, tree), symmetry.agents
    for t, (stage, total) in enumerate(zip(tree.stages, totals, strict=True)):
        local = np.empty_like(stage.local)
        for agent, (own, image) in enumerate(zip(tree.agents, images, strict=True)):
            other = int(agents[agent])
            local[:, other] = image[own.stage(t).start + stage.local[:, agent]] - tree.agents[other].stage(t).start
        there = joint_rows(tree, t, local)
        if (there < 0).any():
            return False
        apart = np.abs(stage.chance[there][:, symmetry.states] - stage.chance)
        moved = total[there].transpose(0, *(1 + agents))
        for agent, actions in enumerate(symmetry.actions):
            moved = moved.take(actions, axis=1 + agent)
        if (apart > _SAME * stage.chance).any() or (_largest(moved - total) > slack[t]).any():
            return False
    return True


def _largest(numbers: np.ndarray) -> np.ndarray:
    """float64[K]: the largest magnitude in each row of float64[K, ...]."""
    return np.abs(numbers).reshape(len(numbers), -1).max(1)


def largest_orbit(game: Clusters, group: SymmetryGroup) -> list[tuple[int, int, int]]:
    """(agent, cluster, action) of one orbit with the most of them, of the earliest stage where several have as many."""
    found: dict[int, set[tuple[int, int, int]]] = {}
    for agent, (own, numbers) in enumerate(zip(game.agents, orbits(group, game.tree), strict=True)):
        for row, action in np.argwhere(numbers >= 0).tolist():
            found.setdefault(int(numbers[row, action]), set()).add((agent, int(own.member[row]), action))
    return min(map(sorted, found.values()), key=lambda orbit: (-len(orbit), orbit[0][1]))


def _greatest_width(boxes: Boxes) -> np.ndarray:
    """float64[P]: of any probability."""
    return np.max([own.max((1, 2), initial=0.0) for own in boxes.widths], axis=0)
