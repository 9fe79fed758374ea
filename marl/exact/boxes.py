"""Boxes that hold every stationary point of J_α: interval soft policy iteration over clusters of histories.

A box gives each action probability a least and a greatest value. Bounds of the policies give bounds of differences of
action values, Q(C, b) - Q(C, a). A stationary point is π(a|C) = 1 / Σ_b exp((Q(C, b) - Q(C, a)) / α), which bounds its
probabilities: a smaller box with the same stationary points. Three things keep the bounds narrow (`docs/certified.md`,
"From boxes", has them one by one):

- The own policy at later stages counts to second order only. At a stationary point α log Σ exp(Q/α) =
  Σ_a p(a) Q(a) + α H(p) + α KL(p ‖ π) for every p. So values of an agent are those of a fixed p inside its box and
  between 0 and the greatest α KL(p ‖ π) at each later cluster.
- What the others do next is the same after b as after a, where they cannot tell b from a.
- Beliefs about the others' clusters are bounded by the greatest ratio Σ w c / Σ w, least ≤ w ≤ greatest.

**Rounding.** Every bound is widened outwards by far more than the rounding errors of what led to it: differences of
action values by `_VALUE_ERROR` times the greatest value of the game, probabilities by `_RATIO_ERROR` of themselves. A
difference takes fewer than 10⁵ additions of terms of that size, each with a relative error of at most 1.2e-16.
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, final

import numpy as np
import scipy.sparse

from marl.exact.clusters import Clusters

VALUE_ERROR = 1e-10
_RATIO_ERROR = 1e-12
_SUM_ERROR = 1e-15
LEAST = 1e-290
"""No probability of a stationary point may be less (`uniqueness` sees to that), since exp underflows below."""
_SEEN = 1e-250
"""Weights of a belief of which the greatest is less may have underflowed, and count as unknown."""
_HALVINGS = 40
"""Of the level in the greatest entropy."""

Interval = tuple[np.ndarray, np.ndarray]


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Boxes:
    """P boxes of joint policies and α: the least and the greatest action probabilities, 0 where illegal, and α."""

    low: tuple[np.ndarray, ...]  # for each agent float64[P, C, A]
    high: tuple[np.ndarray, ...]
    alpha_low: np.ndarray  # float64[P], in units of reward
    alpha_high: np.ndarray

    def __len__(self) -> int:
        return len(self.low[0])

    def take(self, rows: slice | np.ndarray) -> "Boxes":
        """Some of the boxes: `rows` int64[P'] or a slice."""
        low, high = (tuple(own[rows] for own in side) for side in (self.low, self.high))
        return dataclasses.replace(
            self, low=low, high=high, alpha_low=self.alpha_low[rows], alpha_high=self.alpha_high[rows]
        )

    @property
    def empty(self) -> np.ndarray:
        """bool[P]: whether no joint policy is inside."""
        found = [
            (low > high).any((1, 2)) | (low.sum(2) > 1 + _RATIO_ERROR).any(1) | (high.sum(2) < 1 - _RATIO_ERROR).any(1)
            for low, high in zip(self.low, self.high, strict=True)
        ]
        return np.logical_or.reduce(found)

    @property
    def widths(self) -> tuple[np.ndarray, ...]:
        """For each agent float64[P, C, A]."""
        return tuple(high - low for low, high in zip(self.low, self.high, strict=True))

    @property
    def total_width(self) -> np.ndarray:
        """float64[P]"""
        return np.sum([own.sum((1, 2)) for own in self.widths], axis=0)

    def middle(self, legal: Sequence[np.ndarray]) -> "Boxes":
        """A joint policy inside each box, all probabilities equally far up, as boxes without width in policies.

        Args:
          legal: for each agent bool[C, A].
        """
        policy = tuple(map(_middle, self.low, self.high, legal))
        return dataclasses.replace(self, low=policy, high=policy)


def join(parts: Sequence[Boxes]) -> Boxes:
    """All boxes of all parts."""
    low, high = (
        tuple(map(np.concatenate, zip(*side, strict=True)))
        for side in ([part.low for part in parts], [part.high for part in parts])
    )
    alphas = ([part.alpha_low for part in parts], [part.alpha_high for part in parts])
    return Boxes(low, high, *map(np.concatenate, alphas))


def all_policies(game: Clusters, alpha_low: float, alpha_high: float) -> Boxes:
    """The one box of all joint policies and of α between two values."""
    legal = [own.legal for own in game.agents]
    forced = [own & (own.sum(1, keepdims=True) == 1) for own in legal]
    low, high = (tuple(own[None].astype(float) for own in side) for side in (forced, legal))
    return Boxes(low, high, np.array([alpha_low]), np.array([alpha_high]))


class Ahead(NamedTuple):
    """What an agent can expect from the joint clusters of a stage on, bounds of float64[P, K, ...] each."""

    given: Interval  # [P, K, others' actions]: own policy fixed, own bonus included, entropies of the others left out
    value: Interval  # [P, K]: the others' policies and entropies included


class _Group(NamedTuple):
    """Ways from a joint cluster to the next stage that differ for the others in nothing: G groups."""

    of_way: np.ndarray  # int64[L]
    place: np.ndarray  # int64[G], (joint cluster, others' actions) as one number
    others: np.ndarray  # int64[G, n - 1], the others' next clusters, counted within the stage
    weight: np.ndarray  # float64[G, A], γ P(the others' next clusters | own action)


class Contraction:
    """`shrink` maps boxes to smaller ones that hold the same stationary points; prepared once for a game."""

    def __init__(self, game: Clusters) -> None:
        self.game = game
        problem, horizon = game.tree.problem, game.tree.horizon
        self.discount = problem.discount
        self.count = len(game.agents)
        self.members = [
            [members(stage.local[:, agent]) for agent in range(self.count)] for stage in game.stages
        ]  # int64[N, most] joint clusters of each own cluster
        self.groups = [[self._group(t, agent) for agent in range(self.count)] for t in range(horizon - 1)]
        self.following = [self._following(t) for t in range(horizon - 1)]
        rewards, entropies = [0.0], [0.0]
        for t in reversed(range(horizon)):
            log_counts = [math.log(own.legal[own.stage(t)].sum(1).max()) for own in game.agents]
            rewards.append(float(np.abs(game.stages[t].reward).max()) + self.discount * rewards[-1])
            entropies.append(sum(log_counts) + self.discount * entropies[-1])
        self.greatest_reward, self.greatest_entropy = max(rewards), max(entropies)

    def scale(self, boxes: Boxes) -> np.ndarray:
        """The greatest absolute value that a policy can have at any stage, in units of the stage: float64[P]."""
        return self.greatest_reward + boxes.alpha_high * self.greatest_entropy

    def choices(self, t: int, agent: int) -> bool:
        """Whether an agent has more than one legal action anywhere at a stage."""
        own = self.game.agents[agent]
        return bool((own.legal[own.stage(t)].sum(1) > 1).any())

    def shrink(self, boxes: Boxes) -> Boxes:
        """Boxes inside `boxes` with every stationary point of J_α that is there."""
        game, error = self.game, VALUE_ERROR * self.scale(boxes)
        low, high = [own.copy() for own in boxes.low], [own.copy() for own in boxes.high]
        weights = self.own_weights(boxes)
        ahead: list[Ahead] | None = None
        entropies: list[Interval] = []
        for t in reversed(range(game.tree.horizon)):
            now = dataclasses.replace(boxes, low=tuple(low), high=tuple(high))
            for agent in range(self.count):
                if self.choices(t, agent):
                    gains = self._gains(t, agent, ahead, entropies, now)
                    most = self._mean_over_others(t, agent, gains, now, weights)
                    most = most + _like(error, most)
                    self._respond(t, agent, most, now)
            if t:
                ahead, entropies = self.look_ahead(t, ahead, now)
        return dataclasses.replace(boxes, low=tuple(low), high=tuple(high))

    def own_weights(self, boxes: Boxes) -> list[Interval]:
        """Bounds of X, float64[P, C] each, for each agent."""
        found = []
        for own, *sides in zip(self.game.agents, boxes.low, boxes.high, strict=True):
            weights = []
            for policy in sides:
                weight = np.zeros(policy.shape[:2])
                weight[:, own.stage(0)] = own.start
                for t in range(1, self.game.tree.horizon):
                    ways = own.ways_into(t)
                    before, after = own.before[ways], own.after[ways]
                    shares = own.weight[ways] * weight[:, before] * policy[:, before, own.action[ways]]
                    add_at(weight, (slice(None), after), shares)
                weights.append(weight)
            found.append(tuple(weights))
        return found

    def weights_of_others(self, t: int, agent: int, weights: list[Interval]) -> Interval:
        """Chance times the X of all others: bounds of float64[P, K]."""
        stage = self.game.stages[t]
        sides = []
        for side in range(2):
            product = np.broadcast_to(stage.chance, (len(weights[0][0]), len(stage.chance)))
            for other in self.others(agent):
                product = product * weights[other][side][:, self.game.agents[other].stage(t)][:, stage.local[:, other]]
            sides.append(product)
        return sides[0], sides[1]

    def others(self, agent: int) -> list[int]:
        return [other for other in range(self.count) if other != agent]

    def at(self, t: int, agent: int, boxes: Boxes, local: np.ndarray | None = None) -> Interval:
        """An agent's box at a stage, for the clusters `local` (of the joint clusters, if None): float64[P, K, A]."""
        rows = self.game.agents[agent].stage(t)
        local = self.game.stages[t].local[:, agent] if local is None else local
        return boxes.low[agent][:, rows][:, local], boxes.high[agent][:, rows][:, local]

    def worth(self, t: int, value: Interval | None, size: int) -> Interval:
        """Reward and, if there is a next stage, its values: bounds of float64[P, K, A_1, ..., A_n]."""
        reward = np.broadcast_to(self.game.stages[t].reward, (size, *self.game.stages[t].reward.shape))
        if value is None:
            return reward, reward
        low, high = (reward + (self.following[t] @ side.T).T.reshape(reward.shape) for side in value)
        return low, high

    def entropies(self, t: int, boxes: Boxes) -> list[Interval]:
        """Bounds of the entropies at a stage, float64[P, N] each, for each agent."""
        return [
            _entropies(*(side[agent][:, own.stage(t)] for side in (boxes.low, boxes.high)))
            for agent, own in enumerate(self.game.agents)
        ]

    def look_ahead(self, t: int, ahead: list[Ahead] | None, boxes: Boxes) -> tuple[list[Ahead], list[Interval]]:
        """From what is ahead of the next stage what is ahead of stage t, and all agents' entropies."""
        stage, entropies, found = self.game.stages[t], self.entropies(t, boxes), []
        for agent, own in enumerate(self.game.agents):
            rows, seen = own.stage(t), stage.local[:, agent]
            low, high = (side[agent][:, rows] for side in (boxes.low, boxes.high))
            fixed = _middle(low, high, own.legal[rows])
            entropy = _surprise(fixed).sum(2)
            added = (
                boxes.alpha_low[:, None] * entropy,
                boxes.alpha_high[:, None] * (entropy + _greatest_divergence(fixed, low, high)),
            )
            given = []
            for side, more in zip(
                self.worth(t, None if ahead is None else ahead[agent].value, len(boxes)), added, strict=True
            ):
                mean = np.einsum("pk...a,pka->pk...", np.moveaxis(side, 2 + agent, -1), fixed[:, seen])
                given.append(mean + _like(more[:, seen], mean))
            least, greatest = given
            for other in reversed(self.others(agent)):
                least = -greatest_mean(-least, *self.at(t, other, boxes))
                greatest = greatest_mean(greatest, *self.at(t, other, boxes))
                place = stage.local[:, other]
                least = least + _like(boxes.alpha_low[:, None] * entropies[other][0][:, place], least)
                greatest = greatest + _like(boxes.alpha_high[:, None] * entropies[other][1][:, place], greatest)
            found.append(Ahead((given[0], given[1]), (least, greatest)))
        return found, entropies

    def _respond(self, t: int, agent: int, most: np.ndarray, boxes: Boxes) -> None:
        """Narrow an agent's box at a stage to softmax of differences: `most`[P, N, a, b] bounds Q(b) - Q(a)."""
        rows = self.game.agents[agent].stage(t)
        legal = self.game.agents[agent].legal[rows]
        low, high = boxes.low[agent][:, rows], boxes.high[agent][:, rows]  # views
        lower, upper = softmax_bounds(most, legal, boxes)
        lower, upper = np.where(legal, np.maximum(low, lower), 0.0), np.where(legal, np.minimum(high, upper), 0.0)
        # What the other actions leave: probabilities add up to 1.
        least = (1 - (upper.sum(2, keepdims=True) - upper)) * (1 - _RATIO_ERROR) - _SUM_ERROR
        most_left = 1 - (lower.sum(2, keepdims=True) - lower) + _SUM_ERROR
        low[:] = np.where(legal, np.maximum(lower, least), 0.0)
        high[:] = np.where(legal, np.minimum(upper, most_left), 0.0)

    def _gains(
        self,
        t: int,
        agent: int,
        ahead: list[Ahead] | None,
        entropies: list[Interval],
        boxes: Boxes,
    ) -> np.ndarray:
        """The most that action b can be worth more than a: float64[P, K, A (a), A (b), actions of the others]."""
        low, high = self.worth(t, None if ahead is None else ahead[agent].value, len(boxes))
        low, high = (np.moveaxis(side, 2 + agent, 2) for side in (low, high))
        apart = high[:, :, None] - low[:, :, :, None]
        if ahead is None or self.count == 1:
            return apart
        group, stage = self.groups[t][agent], self.game.stages[t]
        sides = []
        for side in ahead[agent].given:
            total = np.zeros((len(boxes), len(group.place), low.shape[2], *side.shape[2:]))
            worth = side[:, stage.after] * _like((self.discount * stage.probability)[None], side)
            add_at(total, (slice(None), group.of_way, stage.actions[agent]), worth)
            sides.append(total)
        more = sides[1][:, :, None] - sides[0][:, :, :, None]  # [P, G, a, b, others' next actions]
        for column, other in reversed(list(enumerate(self.others(agent)))):
            more = greatest_mean(more, *self.at(t + 1, other, boxes, group.others[:, column]))
        likelier = group.weight[:, None] - group.weight[:, :, None]  # [G, a, b]
        for column, other in enumerate(self.others(agent)):
            least, greatest = (side[:, group.others[:, column], None, None] for side in entropies[other])
            least = _like(boxes.alpha_low, more) * least
            greatest = _like(boxes.alpha_high, more) * greatest
            more = more + np.maximum(least * likelier, greatest * likelier)
        acts = [stage.reward.shape[1 + other] for other in self.others(agent)]
        together = np.zeros((len(boxes), len(stage.local) * math.prod(acts), *more.shape[2:]))
        add_at(together, (slice(None), group.place), more)
        together = together.reshape(len(boxes), len(stage.local), *acts, *more.shape[2:])
        reward = np.moveaxis(stage.reward, 1 + agent, 1)
        together = np.moveaxis(together, (-2, -1), (2, 3)) + (reward[:, None] - reward[:, :, None])
        return np.minimum(apart, together)

    def _mean_over_others(
        self, t: int, agent: int, gains: np.ndarray, boxes: Boxes, weights: list[Interval]
    ) -> np.ndarray:
        """The greatest mean of gains over what the others play and know: float64[P, N, A, A]."""
        for other in reversed(self.others(agent)):
            gains = greatest_mean(gains, *self.at(t, other, boxes))
        most = greatest_belief(gains, self.weights_of_others(t, agent, weights), self.members[t][agent])
        same = np.arange(most.shape[2])
        most[:, :, same, same] = 0.0
        return most

    def _group(self, t: int, agent: int) -> _Group:
        stage, after = self.game.stages[t], self.game.stages[t + 1].local
        others = self.others(agent)
        acts = tuple(stage.reward.shape[1 + other] for other in others)
        keys = [stage.before, *(stage.actions[other] for other in others), *(after[stage.after, i] for i in others)]
        found, of_way = np.unique(np.stack(keys, axis=1), axis=0, return_inverse=True)
        of_way, known = of_way.ravel(), 1 + len(others)
        weight = np.zeros((len(found), stage.reward.shape[1 + agent]))
        add_at(weight, (of_way, stage.actions[agent]), self.discount * stage.probability)
        place = np.arange(len(stage.local) * math.prod(acts)).reshape(len(stage.local), *acts)[
            tuple(found[:, :known].T)
        ]
        return _Group(of_way, place, found[:, known:], weight)

    def _following(self, t: int) -> scipy.sparse.csr_matrix:
        """γ P(next joint cluster | joint cluster and actions), rows (joint cluster, joint action) as one number."""
        stage = self.game.stages[t]
        sequence = np.ravel_multi_index((stage.before, *stage.actions), stage.reward.shape)
        shape = (stage.reward.size, len(self.game.stages[t + 1].local))
        return scipy.sparse.csr_matrix((self.discount * stage.probability, (sequence, stage.after)), shape=shape)


# Bounds of means, entropies and probabilities -------------------------------------------------------------------------


def pair(sides: Iterable[np.ndarray]) -> Interval:
    """A lower and an upper bound, two float64[...] of one shape."""
    low, high = sides
    return low, high


def add_at(total: np.ndarray, index: Any, values: np.ndarray) -> None:
    """Add float64[...] values to a total in place; an index may occur more than once."""
    np.add.at(total, index, values)


def members(local: np.ndarray) -> np.ndarray:
    """int64[N, most]: the joint clusters of each own cluster from int64[K] own clusters; -1 where there are fewer."""
    order, counts = np.argsort(local, kind="stable"), np.bincount(local)
    place = np.arange(len(local)) - np.repeat(np.cumsum(counts) - counts, counts)
    found = np.full((len(counts), int(counts.max())), -1)
    found[local[order], place] = order
    return found


def softmax_bounds(most: np.ndarray, legal: np.ndarray, boxes: Boxes) -> Interval:
    """Bounds of 1 / Σ_b exp((Q(b) - Q(a)) / α), float64[P, N, A].

    Args:
      most: float64[P, N, A (a), A (b)], upper bounds of Q(b) - Q(a).
      legal: bool[N, A].
      boxes: whose α.
    """
    least, alphas = -most.swapaxes(2, 3), [_like(side, most) for side in (boxes.alpha_low, boxes.alpha_high)]
    most = np.maximum(most / alphas[0], most / alphas[1])
    least = np.minimum(least / alphas[0], least / alphas[1])
    with np.errstate(over="ignore", divide="ignore"):
        lower, upper = (1 / np.where(legal[:, None, :], np.exp(side), 0.0).sum(3) for side in (most, least))
    return lower * (1 - _RATIO_ERROR), np.maximum(upper * (1 + _RATIO_ERROR), LEAST)


def greatest_mean(worth: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The greatest Σ_a p(a) worth(a), low ≤ p ≤ high and Σ p = 1: [P, K, ..., A] with float64[P, K, A] to [P, K, ...].

    A linear programme of one constraint, whose dual has the price of probability as its only number: the least
    Σ_a (low(a) worth(a) + (high(a) - low(a)) max(worth(a) - price, 0)) + price (1 - Σ_a low(a)). Some worth is the best
    price, and any price gives an upper bound. Adding up arrays takes a sixth of the time of sorting their last axis.
    """
    shape = (*low.shape[:2], *(1,) * (worth.ndim - 3), low.shape[2])
    low, room = low.reshape(shape), (high - low).reshape(shape)
    worths, rooms = (np.moveaxis(array, -1, 0) for array in (worth, room))
    left = 1 - low.sum(-1)
    best = np.full(worth.shape[:-1], np.inf)
    for chosen, price in enumerate(worths):
        total = price * left
        for action, (more, own_room) in enumerate(zip(worths, rooms, strict=True)):
            if action != chosen:
                total += np.maximum(more - price, 0.0) * own_room
        np.minimum(best, total, out=best)
    for own, least in zip(worths, np.moveaxis(low, -1, 0), strict=True):
        best += own * least
    return best


def greatest_belief(worth: np.ndarray, weights: Interval, of: np.ndarray) -> np.ndarray:
    """The greatest mean Σ w c / Σ w over the joint clusters of each own cluster: [P, K, ...] to [P, N, ...].

    At the best weights a joint cluster has its greatest weight if it is worth more than the mean, else its least.

    Args:
      worth: float64[P, K, ...], c.
      weights: bounds of w, float64[P, K].
      of: int64[N, M], the joint clusters, -1 where there are fewer.
    """
    if of.shape[1] == 1:
        return worth[:, of[:, 0]]
    real = of >= 0
    c = np.where(_like(real[None], worth, 3), worth[:, of], -np.inf)  # [P, N, M, ...]
    low, high = (np.where(real, side[:, of], 0.0) for side in weights)
    top = high.max(2, keepdims=True)
    known, top = top[:, :, 0] > _SEEN, np.where(top > _SEEN, top, 1.0)
    order = np.argsort(-c, axis=2)
    c = np.take_along_axis(c, order, 2)
    best, c = c[:, :, 0], np.where(np.isneginf(c), 0.0, c)
    low, high = (np.take_along_axis(np.broadcast_to(_like(side / top, c), c.shape), order, 2) for side in (low, high))
    weight = low.sum(2, keepdims=True) + np.cumsum(high - low, 2)
    total = (low * c).sum(2, keepdims=True) + np.cumsum((high - low) * c, 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        means = np.where(weight > LEAST, total / weight, best[:, :, None])
    return np.where(_like(known, best), np.minimum(means.max(2), best), best)


def _middle(low: np.ndarray, high: np.ndarray, legal: np.ndarray) -> np.ndarray:
    room, left = high - low, 1 - low.sum(2, keepdims=True)
    total = room.sum(2, keepdims=True)
    policy = low + np.where(total > 0, room * left / np.where(total > 0, total, 1.0), 0.0)
    policy = np.where(legal, np.maximum(policy, 0.0), 0.0)
    return policy / np.where(policy.sum(2, keepdims=True) > 0, policy.sum(2, keepdims=True), 1.0)


def _entropies(low: np.ndarray, high: np.ndarray) -> Interval:
    """The least and the greatest entropy of the distributions in boxes float64[P, N, A]: float64[P, N], in nats."""
    high = np.maximum(low, high)
    at_low, slope = _surprise(low), _slope(_surprise(low), _surprise(high), high - low)
    least = (at_low - slope * low).sum(2) - greatest_mean(-slope, low, high)  # secants lie below -p log p
    below, above = np.zeros(low.shape[:2]), np.ones(low.shape[:2])
    for _ in range(_HALVINGS):
        level = (below + above) / 2
        full = np.clip(level[..., None], low, high).sum(2) >= 1
        below, above = np.where(full, below, level), np.where(full, level, above)
    greatest = _surprise(np.clip(above[..., None], low, high)).sum(2)
    return np.maximum(least, 0.0) - _RATIO_ERROR, greatest + _RATIO_ERROR


def _greatest_divergence(fixed: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """At least the greatest KL(fixed ‖ p) of the distributions p in boxes float64[P, N, A]: float64[P, N], in nats."""
    high = np.maximum(low, high)
    at_low, at_high = (
        np.where(fixed > 0, fixed * np.log(np.where(fixed > 0, fixed, 1.0) / np.maximum(side, LEAST)), 0.0)
        for side in (low, high)
    )
    slope = _slope(at_low, at_high, high - low)  # of secants, which lie above -log p
    greatest = (at_low - slope * low).sum(2) + greatest_mean(slope, low, high)
    return np.maximum(greatest, 0.0) + _RATIO_ERROR


def _slope(at_low: np.ndarray, at_high: np.ndarray, width: np.ndarray) -> np.ndarray:
    return np.where(width > 0, (at_high - at_low) / np.where(width > 0, width, 1.0), 0.0)


def _surprise(p: np.ndarray) -> np.ndarray:
    return -p * np.log(np.where(p > 0, p, 1.0))


def _like(array: np.ndarray, other: np.ndarray, axes: int | None = None) -> np.ndarray:
    """An array with axes of length 1 at its end, as many as `other` has more (of `axes` first ones)."""
    missing = other.ndim - array.ndim if axes is None else other.ndim + 1 - axes
    return array.reshape(*array.shape, *(1,) * missing)
