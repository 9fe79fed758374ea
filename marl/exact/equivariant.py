"""The best symmetry-equivariant joint policy, whose value is the Other-Play value.

Hu et al. 2020, "Other-Play for zero-shot coordination"; Treutlein et al. 2021, "A new formalism, method and open issues
for zero-shot coordination".

A joint policy is equivariant if and only if its action probabilities are constant on the orbits of (history, action).
Without agent swaps a tied policy is a free choice, for each orbit of histories, of a distribution over the orbits of
their actions, and no game meets one choice twice. So the return is linear in each choice and some vertex is best; few
vertices are enumerated. With swaps n agents may make the same choice, the return is a polynomial of degree n in it, and
the best policy may mix (in the two-stage lever game it does): a search gives a lower bound. Where there are few
choices, each between two orbits, the polynomial's Bernstein coefficients give an upper bound that can be refined.
"""

import functools
import heapq
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from games.errors import whole_number
from games.tabular.histories import Tree
from games.tabular.symmetry import SymmetryGroup, orbits, project
from marl.exact import crossplay
from marl.exact.objective import (
    Array,
    JointPolicy,
    Tables,
    double_precision,
    expected_return,
    in_batches,
    log_policy,
    sweep,
    tables,
)  # fmt: skip

MET = 1e-9
"""A lower and an upper bound this close are one value."""
VERTICES = 20_000
_GRID = 2_000
"""The most points at which the return is evaluated for its Bernstein coefficients."""
_HALVINGS = 20_000
RESTARTS, STEPS = 32, 2000
"""Of the search, by default."""
_AT_ONCE, _FEW = 32, 16


class BestEquivariant(NamedTuple):
    """The best equivariant joint policy found: its value ≤ the best value ≤ `upper_bound`."""

    value: float
    log_probs: tuple[np.ndarray, ...]  # for each agent float64[H, A]
    exact: bool  # the value is the best one: the bounds meet, or all candidates were enumerated
    upper_bound: float
    method: str


@double_precision
def best_equivariant(
    tree: Tree,
    group: SymmetryGroup,
    *,
    upper_bound: float,
    first: Sequence[np.ndarray] | None = None,
    restarts: int = RESTARTS,
    steps: int = STEPS,
    seed: int = 0,
    limit: int = VERTICES,
) -> BestEquivariant:
    """The best joint policy that every element of `group` maps to itself.

    Args:
      tree: the game's histories.
      group: its symmetries, with or without agent swaps.
      upper_bound: a bound on the value of all policies, or of those equivariant under a subgroup of `group`.
      first: for each agent float64[H, A] probabilities, such as the best self-play policy; if the mean of its images
        reaches the bound, there is nothing to search for.
      restarts, seed: random starts of the search, where there are too many vertices or agents are swapped.
      steps: of each of them; with fewer α falls faster.
      limit: the most vertices to enumerate.

    Raises:
      TacitError: if `restarts` or `steps` is not a positive whole number.
    """
    restarts, steps = whole_number("restarts", restarts, 1), whole_number("steps", steps, 1)
    tied = orbits(group, tree)
    if first is not None:
        with np.errstate(divide="ignore"):
            policy = tuple(map(np.log, project(tied, first)))
        value = float(crossplay.self_play(tree, tuple(own[None] for own in policy))[0])
        if upper_bound - value <= MET:
            return BestEquivariant(value, policy, True, max(upper_bound, value), "the best self-play policy")
    swaps = any((g.agents != np.arange(len(g.agents))).any() for g in group.acting)
    corners = vertices(tree, tied, limit)
    if corners is not None and not swaps:
        values = crossplay.self_play(tree, corners)
        best = int(np.argmax(values))
        policy = tuple(own[best] for own in corners)
        value = float(values[best])
        return BestEquivariant(value, policy, True, value, f"all {len(values):,} tied vertices")
    starts = search_tied(tree, tied, restarts, np.random.default_rng(seed), steps)
    if corners is not None:
        starts = tuple(np.concatenate(pair) for pair in zip(starts, corners, strict=True))
    values = crossplay.self_play(tree, starts)
    best = int(np.argmax(values))
    value = float(values[best])
    policy = tuple(own[best] for own in starts)
    method = f"search from {restarts} tied starts"
    if upper_bound - value > MET and (coefficients := _bernstein(tree, tied)) is not None:
        upper_bound = min(upper_bound, _greatest_value(coefficients, value))
        method += ", Bernstein bound"
    upper = max(upper_bound, value)
    return BestEquivariant(value, policy, upper - value <= MET, upper, method)


def vertices(tree: Tree, tied: tuple[np.ndarray, ...], limit: int = VERTICES) -> tuple[np.ndarray, ...] | None:
    """All policies that pick one orbit of actions at every orbit of histories, V of them.

    Args:
      tree: the game's histories.
      tied: for each agent int64[H, A], the orbit of each (history, action), -1 where illegal.
      limit: the most policies.

    Returns:
      For each agent float64[V, H, A] probabilities; None if V is more than `limit`.
    """
    choices = _choices(tied)
    if math.prod(map(len, choices)) > limit:
        return None
    picks = np.array(list(itertools.product(*choices)), np.int64)  # [V, history orbits]
    count = 1 + max(int(own.max()) for own in tied)
    picked = np.zeros((len(picks), count + 1), bool)  # the last entry stands for illegal actions, -1
    np.put_along_axis(picked, picks, True, axis=1)
    chosen = [picked[:, own] & (own >= 0) for own in tied]  # [V, H, A]
    with np.errstate(divide="ignore"):
        return tuple(np.log(own / own.sum(-1, keepdims=True)) for own in chosen)


def _choices(tied: tuple[np.ndarray, ...]) -> list[list[int]]:
    """The orbits of actions at each orbit of histories, in order of the first."""
    found: dict[int, list[int]] = {}  # the least orbit of actions names the orbit of histories
    for own in tied:
        for row in own:
            present = sorted(set(row[row >= 0].tolist()))
            found[present[0]] = present
    return list(found.values())


def _bernstein(tree: Tree, tied: tuple[np.ndarray, ...]) -> np.ndarray | None:
    """Bernstein coefficients [n + 1, ..., n + 1] of the return over tied choices between two; None if too many.

    The return is a polynomial of degree at most n, the number of agents, in the probability w_k of the first of the two
    in each choice k: it is interpolated from its values at w_k = 0, 1/n, ..., 1.
    """
    choices = [choice for choice in _choices(tied) if len(choice) > 1]
    degree = len(tied)
    if any(len(choice) > 2 for choice in choices) or (degree + 1) ** len(choices) > _GRID:
        return None
    nodes = np.arange(degree + 1) / degree
    grid = np.array(list(itertools.product(nodes, repeat=len(choices))))  # one empty row where there is no choice
    weights = np.ones((len(grid), 2 + max(int(own.max()) for own in tied)))  # of the orbits; the last one is illegal
    for number, (first, second) in enumerate(choices):
        weights[:, first], weights[:, second] = grid[:, number], 1 - grid[:, number]
    weights[:, -1] = 0
    policy = []
    for own in tied:
        same = (own[:, :, None] == own[:, None, :]).sum(-1)  # an orbit's probability is shared by its actions here
        policy.append(weights[:, own] / same)
    with np.errstate(divide="ignore"):
        values = crossplay.self_play(tree, tuple(map(np.log, policy))).reshape((degree + 1,) * len(choices))
    basis = [[math.comb(degree, j) * w**j * (1 - w) ** (degree - j) for j in range(degree + 1)] for w in nodes.tolist()]
    for axis in range(len(choices)):
        values = np.moveaxis(np.tensordot(np.linalg.inv(basis), values, (1, axis)), 0, axis)
    return values


def _greatest_value(coefficients: np.ndarray, known: float) -> float:
    """An upper bound on a polynomial over [0, 1]^k, at most MET above its maximum or above `known`, if that is more.

    Branch and bound: the coefficients on a part bound the values there, those at its corners are values; a part is
    halved by de Casteljau's algorithm. After `_HALVINGS` of these, the bound reached so far is returned.
    """
    parts = [(-float(coefficients.max()), 0, coefficients)]
    corners = np.ix_(*[[0, -1]] * coefficients.ndim)
    for number in range(1, _HALVINGS):
        bound, _, part = parts[0]
        known = max(known, float(part[corners].max()))
        if -bound <= known + MET / 2:
            break
        heapq.heappop(parts)
        spread = [float(np.ptp(part, axis=axis).max()) for axis in range(part.ndim)]
        axis = int(np.argmax(spread))
        lower, upper = [part.take(0, axis)], [part.take(-1, axis)]
        while part.shape[axis] > 1:
            part = (part.take(range(part.shape[axis] - 1), axis) + part.take(range(1, part.shape[axis]), axis)) / 2
            lower.append(part.take(0, axis))
            upper.append(part.take(-1, axis))
        for side, half in enumerate((np.stack(lower, axis), np.stack(upper[::-1], axis))):
            heapq.heappush(parts, (-float(half.max()), 2 * number + side, half))
    return -parts[0][0]


def search_tied(
    tree: Tree, tied: tuple[np.ndarray, ...], restarts: int, rng: np.random.Generator, steps: int = STEPS
) -> tuple[np.ndarray, ...]:
    """`steps` of natural policy gradient of tied logits, α falling to 0: for each agent float64[restarts, H, A]."""
    count = 1 + max(int(own.max()) for own in tied)
    logits = 2 * rng.normal(size=(restarts, count))
    span = float(np.ptp(tree.problem.expected_reward)) or 1.0
    orbit = tuple(map(jnp.asarray, tied))

    def ascend(table: Tables, logits: Array) -> JointPolicy:
        return _ascend(table, orbit, logits, jnp.asarray(span), jnp.asarray(steps))

    return in_batches(ascend, tables(tree), logits, width=rows(restarts))


def rows(restarts: int) -> int:
    """Of a batch of so many starts of the search: one of two sizes, so that few programs are compiled."""
    return _AT_ONCE if restarts > _FEW else _FEW


@jax.jit
@functools.partial(jax.vmap, in_axes=(None, None, 0, None, None))
def _ascend(table: Tables, tied: tuple[Array, ...], logits: Array, span: Array, steps: Array) -> JointPolicy:
    """Follow one start to its end; probabilities up to 1e-6 are set to 0 if that does not lower the return."""
    sizes = sum(jnp.zeros(len(logits)).at[jnp.where(own >= 0, own, len(logits))].add(1.0, mode="drop") for own in tied)

    def policy(logits: Array) -> JointPolicy:
        return log_policy(table, tuple(logits[own] for own in tied))

    def step(number: Array, logits: Array) -> Array:
        alpha = 0.1 * span * 0.5 ** (number * 30.0 / steps)
        swept = sweep(table, policy(logits), jnp.where(number < 0.9 * steps, alpha, 0.0))
        # An advantage is the same on its whole orbit, except at unreached histories.
        total = jnp.zeros(len(logits))
        for own, advantage in zip(tied, swept.advantage, strict=True):
            total = total.at[jnp.where(own >= 0, own, len(logits))].add(advantage, mode="drop")
        return logits + total / sizes / span

    logits = jax.lax.fori_loop(0, steps, step, logits)
    mixed = policy(logits)
    kept = log_policy(table, tuple(jnp.where(own > np.log(1e-6), own, -jnp.inf) for own in mixed))
    return jax.tree.map(
        lambda a, b: jnp.where(expected_return(table, kept) >= expected_return(table, mixed), a, b), kept, mixed
    )
