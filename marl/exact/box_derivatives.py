"""Whether a box holds at most one stationary point: bounds of the derivatives of action values over the box.

For two stationary points π and π' in a box and d = π - π', subtract α log π = Q + constant at both. At every cluster

    Σ_a d(C, a) (α d(C, a) / ξ(C, a) - (DQ d)(C, a)) = 0,

with ξ between π and π' (the mean value theorem for each logarithm) and DQ the derivatives of action values with respect
to action probabilities, somewhere in the box. With weights ω(C) > 0, d = z √(high / ω) and M the matrix
√(ω high) DQ √(high / ω), the sum over clusters gives α |z|² ≤ zᵀ M z. So there is at most one if the greatest
eigenvalue of (M + Mᵀ)/2 is below α everywhere in the box; it is at most that of the bounds' middle plus the norm of
their radius. Then every stationary point in the box has the index +1: the derivative of π - softmax(Q/α) has a positive
determinant there.

Numbers that depend on all but the own action a, or on all but the action x that is differentiated by, are left out of
DQ: Σ_a d(C, a) = 0 for every cluster.
"""

from typing import NamedTuple

import numpy as np

from marl.exact.boxes import (
    LEAST,
    VALUE_ERROR,
    Boxes,
    Contraction,
    Interval,
    add_at,
    greatest_belief,
    greatest_mean,
    pair,
)

_TINY = 1e-30
_SLACK = 1e-9
"""The share of the sum of its entries by which an eigenvalue is widened, for rounding."""
_POWERS = 20
"""Multiplications in a bound of the greatest eigenvalue."""


class _Over(NamedTuple):
    """The boxes over which derivatives are bounded, and what follows from them."""

    boxes: Boxes
    middle: Boxes  # a joint policy inside each
    weights: list[Interval]  # X of each agent, [P, C]
    worths: list[Interval]  # for each stage what joint actions are worth, [P, K, A_1, ..., A_n]


class Derivatives:
    """Derivatives of action values over boxes; prepared once for a game."""

    def __init__(self, contraction: Contraction) -> None:
        self.by, self.game = contraction, contraction.game
        self.offsets = np.cumsum([0, *(own.legal.size for own in self.game.agents)])

    def at_most_one(self, boxes: Boxes) -> np.ndarray:
        """bool[P]: whether it is shown that a box holds at most one stationary point of J_α, for each of its α."""
        low, high = self(boxes)
        choice = np.concatenate(
            [(own.legal & (own.legal.sum(1, keepdims=True) > 1)).ravel() for own in self.game.agents]
        )
        most = _flat(boxes.high)[:, choice]
        weights = np.maximum(self._reach(boxes), _TINY)[:, choice]
        scales, found = self.by.scale(boxes), np.zeros(len(boxes), np.bool_)
        for box in range(len(boxes)):
            sides = [side[box][np.ix_(choice, choice)] for side in (low, high)]
            if all(np.isfinite(side).all() for side in sides):
                scale = np.sqrt(weights[box] * most[box])[:, None] * np.sqrt(most[box] / weights[box])
                middle, radius = scale * (sides[0] + sides[1]) / 2, scale * (sides[1] - sides[0]) / 2
                slack = _SLACK * np.abs(middle).sum() + VALUE_ERROR * scales[box]
                left = boxes.alpha_low[box] - _greatest_eigenvalue((radius + radius.T) / 2) - slack
                found[box] = _positive_definite(left * np.eye(len(middle)) - (middle + middle.T) / 2)
        return found

    def __call__(self, boxes: Boxes) -> Interval:
        """Bounds of DQ: rows Q(C, a), columns π(x|C'), both of all agents, clusters and actions in order: [P, F, F]."""
        size = (len(boxes), self.offsets[-1], self.offsets[-1])
        low, high = np.zeros(size), np.zeros(size)
        over = _Over(boxes, self._middle(boxes), self.by.own_weights(boxes), self._worths(boxes))
        for agent, own in enumerate(self.game.agents):
            for t in range(self.game.tree.horizon):
                if not self.by.choices(t, agent):
                    continue
                rows, actions = own.stage(t), own.legal.shape[1]
                shape = (len(boxes), rows.stop - rows.start, actions, self.offsets[-1])
                found = np.zeros(shape), np.zeros(shape)
                belief = _beliefs(
                    self.by.weights_of_others(t, agent, over.weights), self.game.stages[t].local[:, agent]
                )
                self._same_stage(found, t, agent, belief, over)
                self._later_stages(found, t, agent, belief, over)
                self._earlier_stages(found, t, agent, belief, over)
                policy = over.middle.low[agent][:, rows]
                base = ((found[0] + found[1]) / 2 * policy[..., None]).sum(2, keepdims=True)
                place = self.offsets[agent] + rows.start * actions
                for side, part in zip((low, high), found, strict=True):
                    part = np.where(own.legal[rows][..., None], part - base, 0.0)
                    side[:, place : place + shape[1] * actions] = part.reshape(len(boxes), -1, shape[3])
        return low, high

    def _worths(self, boxes: Boxes) -> list[Interval]:
        """For each stage bounds of what joint actions are worth, whatever the policies in the box."""
        found: list[Interval] = []
        value = None
        for t in reversed(range(self.game.tree.horizon)):
            found = [self.by.worth(t, value, len(boxes)), *found]
            least, greatest = found[0]
            entropies = self.by.entropies(t, boxes)
            for agent in reversed(range(self.by.count)):
                place = self.game.stages[t].local[:, agent]
                least = -greatest_mean(-least, *self.by.at(t, agent, boxes))
                greatest = greatest_mean(greatest, *self.by.at(t, agent, boxes))
                ends = (1,) * (least.ndim - 2)
                added = [side[:, place].reshape(*least.shape[:2], *ends) for side in entropies[agent]]
                alphas = (side.reshape(-1, 1, *ends) for side in (boxes.alpha_low, boxes.alpha_high))
                least, greatest = (
                    side + alpha * more for side, alpha, more in zip((least, greatest), alphas, added, strict=True)
                )
            value = least, greatest
        return found

    def _mean(self, t: int, kept: tuple[int, ...], over: _Over) -> Interval:
        """What joint actions are worth, averaged over the actions of all but `kept`: [P, K, A of the kept ...]."""
        low, high = over.worths[t]
        for agent in reversed(range(self.by.count)):
            if agent not in kept:
                low, high = (np.moveaxis(side, 2 + agent, -1) for side in (low, high))
                low = -greatest_mean(-low, *self.by.at(t, agent, over.boxes))
                high = greatest_mean(high, *self.by.at(t, agent, over.boxes))
        return low, high

    def _middle(self, boxes: Boxes) -> Boxes:
        return boxes.middle([own.legal for own in self.game.agents])

    def _reach(self, boxes: Boxes) -> np.ndarray:
        """ω, float64[P, F]: γ^t times the probability of the cluster at the boxes' middle."""
        weights = self.by.own_weights(self._middle(boxes))
        found = []
        for agent, own in enumerate(self.game.agents):
            reach = np.zeros((len(boxes), len(own.legal)))
            for t, stage in enumerate(self.game.stages):
                others, _ = self.by.weights_of_others(t, agent, weights)
                rows = own.offsets[t] + stage.local[:, agent]
                add_at(reach, (slice(None), rows), self.by.discount**t * others * weights[agent][0][:, rows])
            found.append(np.repeat(reach, own.legal.shape[1], axis=1))
        return np.concatenate(found, axis=1)

    def _same_stage(self, found: Interval, t: int, agent: int, belief: Interval, over: _Over) -> None:
        """Q(C, a) by what another agent does at the same stage."""
        local = self.game.stages[t].local
        for other, theirs in enumerate(self.game.agents):
            if other == agent or not self.by.choices(t, other):
                continue
            sides = self._mean(t, (agent, other), over)
            if agent > other:
                sides = sides[0].swapaxes(2, 3), sides[1].swapaxes(2, 3)  # [P, K, a, x]
            own, _ = self.by.at(t, agent, over.middle)
            met, _ = self.by.at(t, other, over.middle)
            middle = (sides[0] + sides[1]) / 2
            by_action = (middle * met[:, :, None, :]).sum(3, keepdims=True)
            base = by_action + ((middle - by_action) * own[..., None]).sum(2, keepdims=True)
            actions = theirs.legal.shape[1]
            columns = self.offsets[other] + (theirs.offsets[t] + local[:, other])[:, None] * actions
            columns = (columns + np.arange(actions))[:, None, :]
            index = (slice(None), local[:, agent, None, None], np.arange(middle.shape[2])[:, None], columns)
            weighted = _times(_ends(belief, 2), (sides[0] - base, sides[1] - base))
            for side, part in zip(found, weighted, strict=True):
                add_at(side, index, part)

    def _later_stages(self, found: Interval, t: int, agent: int, belief: Interval, over: _Over) -> None:
        """Q(C, a) by what anybody does at later stages."""
        if t + 1 == self.game.tree.horizon:
            return
        stage, count = self.game.stages[t], found[0].shape[1] * found[0].shape[2]
        start = stage.local[stage.before, agent] * found[0].shape[2] + stage.actions[agent]
        reached = pair(  # [P, (C, a), K]: the probability of joint clusters, given own cluster and action
            _scattered(side[:, stage.before] * step, start, stage.after, (count, self._size(t + 1)))
            for side, step in zip(belief, self._steps(t, over.boxes, agent), strict=True)
        )
        for u in range(t + 1, self.game.tree.horizon):
            local = self.game.stages[u].local
            for other, theirs in enumerate(self.game.agents):
                if not self.by.choices(u, other):
                    continue
                rows, actions = theirs.stage(u), theirs.legal.shape[1]
                size = rows.stop - rows.start
                worth = self._advantage(u, other, over)
                chance = reached
                if other == agent:  # what has been done by now says nothing beyond the own cluster
                    others = self.by.weights_of_others(u, agent, over.weights)
                    of = self.by.members[u][agent]
                    worth = -greatest_belief(-worth[0], others, of), greatest_belief(worth[1], others, of)
                    chance = pair(_collected(side, local[:, agent], size) for side in reached)
                terms = _times(_ends(chance, 1), (worth[0][:, None], worth[1][:, None]))
                columns = self.offsets[other] + rows.start * actions
                for side, part in zip(found, terms, strict=True):
                    part = part if other == agent else _collected(part, local[:, other], size)
                    view = side[..., columns : columns + size * actions]
                    view += self.by.discount ** (u - t) * part.reshape(view.shape)
            if u + 1 < self.game.tree.horizon:
                ways = self.game.stages[u]
                reached = pair(
                    _collected(side[:, :, ways.before] * step[:, None], ways.after, self._size(u + 1))
                    for side, step in zip(reached, self._steps(u, over.boxes), strict=True)
                )

    def _earlier_stages(self, found: Interval, t: int, agent: int, belief: Interval, over: _Over) -> None:
        """Q(C, a) by what the others did before: what C tells about what they know."""
        if t == 0:
            return
        local, legal = self.game.stages[t].local, self.game.agents[agent].legal[self.game.agents[agent].stage(t)]
        sides = self._mean(t, (agent,), over)
        own, _ = self.by.at(t, agent, over.middle)
        base = ((sides[0] + sides[1]) / 2 * own).sum(2, keepdims=True)
        low, high = (np.where(legal[local[:, agent]], side - base, 0.0) for side in sides)
        others, of = self.by.weights_of_others(t, agent, over.weights), self.by.members[t][agent]
        mean = -greatest_belief(-low, others, of), greatest_belief(high, others, of)
        apart = low - mean[1][:, local[:, agent]], high - mean[0][:, local[:, agent]]
        weighted = _times(_ends(belief, 1), apart)  # [P, K, a]
        for other, theirs in enumerate(self.game.agents):
            for u in range(t):
                if other == agent or not self.by.choices(u, other):
                    continue
                share = self._shares(other, u, t, over)
                share = pair(side[:, :, local[:, other], None] for side in share)
                terms = _times(share, (weighted[0][:, None], weighted[1][:, None]))  # [P, (C', x), K, a]
                columns = self.offsets[other] + theirs.stage(u).start * theirs.legal.shape[1]
                for side, part in zip(found, terms, strict=True):
                    part = np.moveaxis(_collected(part, local[:, agent], side.shape[1]), 1, -1)
                    side[..., columns : columns + part.shape[-1]] += part

    def _advantage(self, t: int, agent: int, over: _Over) -> Interval:
        """q(joint cluster, x) - α log π(x|C) of an agent, up to a number of the joint cluster: [P, K, A]."""
        seen = self.game.stages[t].local[:, agent]
        legal = self.game.agents[agent].legal[self.game.agents[agent].stage(t)][seen]
        low, high = self._mean(t, (agent,), over)
        least, most = self.by.at(t, agent, over.boxes)
        rare, frequent = (-np.log(np.clip(side, LEAST, 1.0)) for side in (least, most))
        low, high = (
            low + over.boxes.alpha_low[:, None, None] * frequent,
            high + over.boxes.alpha_high[:, None, None] * rare,
        )
        policy, _ = self.by.at(t, agent, over.middle)
        base = (np.where(legal, (low + high) / 2, 0.0) * policy).sum(2, keepdims=True)
        return np.where(legal, low - base, 0.0), np.where(legal, high - base, 0.0)

    def _size(self, t: int) -> int:
        """The number of joint clusters of a stage."""
        return len(self.game.stages[t].chance)

    def _steps(self, t: int, boxes: Boxes, without: int | None = None) -> Interval:
        """Bounds of P(way), float64[P, L], given its joint cluster (and the action of the agent `without`)."""
        stage = self.game.stages[t]
        sides = []
        for side in (boxes.low, boxes.high):
            step = np.broadcast_to(stage.probability, (len(boxes), len(stage.probability)))
            for agent, own in enumerate(self.game.agents):
                if agent != without:
                    cluster = own.offsets[t] + stage.local[stage.before, agent]
                    step = step * side[agent][:, cluster, stage.actions[agent]]
            sides.append(step)
        return sides[0], sides[1]

    def _shares(self, agent: int, u: int, t: int, over: _Over) -> Interval:
        """∂ log X(C) / ∂π(x|C'), C' of stage u and C of stage t > u: bounds of [P, (C', x), N]."""
        own, weights, boxes = self.game.agents[agent], over.weights[agent], over.boxes
        before, rows, actions = own.stage(u), own.stage(t), own.legal.shape[1]
        count = (before.stop - before.start) * actions
        through = []
        for side, policy in zip(weights, (boxes.low[agent], boxes.high[agent]), strict=True):
            share: np.ndarray | None = None
            for stage in range(u + 1, t + 1):
                ways, size = own.ways_into(stage), own.stage(stage).stop - own.stage(stage).start
                come, action, after = own.before[ways], own.action[ways], own.after[ways] - own.offsets[stage]
                if share is None:
                    flat = (come - before.start) * actions + action
                    share = _scattered(own.weight[None, ways] * side[:, come], flat, after, (count, size))
                else:
                    step = own.weight[ways] * policy[:, come, action]
                    share = _collected(share[:, :, come - own.offsets[stage - 1]] * step[:, None], after, size)
            assert share is not None
            through.append(share)
        low, high = (side[agent][:, before].reshape(len(boxes), count, 1) for side in (boxes.low, boxes.high))
        rest = [np.maximum(side[:, None, rows] - part * p, 0.0) for side, part, p in zip(
            weights, through, (low, high), strict=True
        )]  # fmt: skip
        with np.errstate(divide="ignore", invalid="ignore"):
            least = np.where(through[0] > 0, through[0] / (through[0] * high + rest[1]), 0.0)
            most = np.where(through[1] > 0, through[1] / (through[1] * low + rest[0]), 0.0)
        return least, most


def _beliefs(weights: Interval, own: np.ndarray) -> Interval:
    """Bounds of P(joint cluster | own cluster), float64[P, K], from bounds of weights; `own` int64[K]."""
    low, high = weights
    totals = [np.zeros((len(side), own.max() + 1)) for side in weights]
    for total, side in zip(totals, weights, strict=True):
        add_at(total, (slice(None), own), side)
    rest = [np.maximum(total[:, own] - side, 0.0) for total, side in zip(totals, weights, strict=True)]
    with np.errstate(divide="ignore", invalid="ignore"):
        least = np.where(low > 0, low / (low + rest[1]), 0.0)
        most = np.where(high > 0, high / (high + rest[0]), 0.0)
    return least, most


def _times(chance: Interval, worth: Interval) -> Interval:
    """Bounds of products of a number that is at least 0 and of any number."""
    with np.errstate(invalid="ignore"):
        low = np.where(worth[0] >= 0, chance[0] * worth[0], chance[1] * worth[0])
        high = np.where(worth[1] >= 0, chance[1] * worth[1], chance[0] * worth[1])
    return low, high


def _ends(sides: Interval, axes: int) -> Interval:
    return pair(side.reshape(*side.shape, *(1,) * axes) for side in sides)


def _scattered(values: np.ndarray, row: np.ndarray, column: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """[P, L] values added up at (row, column): [P, *shape]."""
    total = np.zeros((len(values), *shape))
    add_at(total, (slice(None), row, column), values)
    return total


def _collected(values: np.ndarray, place: np.ndarray, size: int) -> np.ndarray:
    """[P, F, K, ...] values added up over equal places int64[K]: [P, F, size, ...]."""
    total = np.zeros((*values.shape[:2], size, *values.shape[3:]))
    add_at(total, (slice(None), slice(None), place), values)
    return total


def _greatest_eigenvalue(matrix: np.ndarray) -> float:
    """At least the greatest eigenvalue of a symmetric matrix M of entries ≥ 0: max (M x) / x, x > 0 (Collatz)."""
    vector = np.ones(len(matrix))
    for _ in range(_POWERS):
        vector = matrix @ vector + _TINY
        vector /= vector.max()
    return float(((matrix @ vector) / vector).max(initial=0.0))


def _positive_definite(matrix: np.ndarray) -> bool:
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return False
    return True


def _flat(policy: tuple[np.ndarray, ...]) -> np.ndarray:
    return np.concatenate([own.reshape(len(own), -1) for own in policy], axis=1)
