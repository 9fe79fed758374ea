"""The best symmetry-equivariant joint policy, whose value is the Other-Play value.

Hu et al. 2020, "Other-Play for zero-shot coordination"; Treutlein et al. 2021, "A new formalism, method and open issues
for zero-shot coordination".

A joint policy is equivariant if and only if its action probabilities are constant on the orbits of (history, action).
Without agent swaps a tied policy is a free choice, for each orbit of histories, of a distribution over the orbits of
their actions, and no game meets one choice twice: the return is linear in each of them, so some vertex is best, and
few vertices are gone through. With swaps two agents make the same choice, the return is quadratic in it, and the best
policy may mix (in the two-stage lever game it does): the search then gives a lower bound.
"""

import functools
import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from games.errors import whole_number
from games.tabular.histories import Tree
from games.tabular.symmetry import SymmetryGroup, orbits
from marl.exact import crossplay
from marl.exact.objective import (
    Array,
    JointPolicy,
    Tables,
    double_precision,
    expected_return,
    log_policy,
    sweep,
    tables,
)  # fmt: skip

MET = 1e-9
"""A lower and an upper bound this close are one value."""
_VERTICES = 20_000
_STEPS = 2000
_AT_ONCE = 32


class BestEquivariant(NamedTuple):
    """The best equivariant joint policy found: its value ≤ the best value ≤ `upper_bound`."""

    value: float
    log_probs: tuple[np.ndarray, ...]  # for each agent float64[H, A]
    exact: bool  # the value is the best one: the bounds meet, or all candidates were gone through
    upper_bound: float
    method: str


@double_precision
def best_equivariant(
    tree: Tree, group: SymmetryGroup, *, upper_bound: float, restarts: int = 32, seed: int = 0, limit: int = _VERTICES
) -> BestEquivariant:
    """The best joint policy that every element of `group` maps to itself.

    Args:
      tree: the game's histories.
      group: its symmetries, with or without agent swaps.
      upper_bound: a value that no policy exceeds, or none that is equivariant under a part of `group`.
      restarts, seed: random starts of the search, where there are too many vertices or agents are swapped.
      limit: the most vertices to go through.

    Raises:
      TacitError: if `restarts` is not a positive whole number.
    """
    restarts = whole_number("restarts", restarts, 1)
    tied = orbits(group, tree)
    swaps = any((g.agents != np.arange(len(g.agents))).any() for g in group.acting)
    vertices = _vertices(tree, tied, limit)
    if vertices is not None and not swaps:
        values = crossplay.self_play(tree, vertices)
        best = int(np.argmax(values))
        policy = tuple(own[best] for own in vertices)
        value = float(values[best])
        return BestEquivariant(value, policy, True, value, f"all {len(values):,} tied vertices")
    starts = _search(tree, tied, restarts, np.random.default_rng(seed))
    if vertices is not None:
        starts = tuple(np.concatenate(pair) for pair in zip(starts, vertices, strict=True))
    values = crossplay.self_play(tree, starts)
    best = int(np.argmax(values))
    value = float(values[best])
    upper = max(upper_bound, value)
    policy = tuple(own[best] for own in starts)
    return BestEquivariant(value, policy, upper - value <= MET, upper, f"search from {restarts} tied starts")


def _vertices(tree: Tree, tied: tuple[np.ndarray, ...], limit: int) -> tuple[np.ndarray, ...] | None:
    """All policies that pick one orbit of actions at every orbit of histories; None if there are more than `limit`."""
    choices: dict[int, list[int]] = {}  # the least action orbit names the orbit of histories
    for own in tied:
        for row in own:
            present = sorted(set(row[row >= 0].tolist()))
            choices[present[0]] = present
    if math.prod(map(len, choices.values())) > limit:
        return None
    picks = np.array(list(itertools.product(*choices.values())), np.int64)  # [V, history orbits]
    count = 1 + max(int(own.max()) for own in tied)
    picked = np.zeros((len(picks), count + 1), bool)  # the last entry stands for illegal actions, -1
    np.put_along_axis(picked, picks, True, axis=1)
    chosen = [picked[:, own] & (own >= 0) for own in tied]  # [V, H, A]
    with np.errstate(divide="ignore"):
        return tuple(np.log(own / own.sum(-1, keepdims=True)) for own in chosen)


def _search(
    tree: Tree, tied: tuple[np.ndarray, ...], restarts: int, rng: np.random.Generator
) -> tuple[np.ndarray, ...]:
    """Natural policy gradient of tied logits, its α falling to 0: for each agent float64[restarts, H, A]."""
    table = tables(tree)
    count = 1 + max(int(own.max()) for own in tied)
    logits = 2 * rng.normal(size=(restarts, count))
    span = float(np.ptp(tree.problem.expected_reward)) or 1.0
    found = []
    for first in range(0, restarts, _AT_ONCE):
        rows = np.minimum(np.arange(first, first + _AT_ONCE), restarts - 1)
        part = _ascend(table, tuple(map(jnp.asarray, tied)), jnp.asarray(logits[rows]), jnp.asarray(span))
        found.append(jax.tree.map(lambda leaf, first=first: np.asarray(leaf)[: restarts - first], part))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *found)


@jax.jit
@functools.partial(jax.vmap, in_axes=(None, None, 0, None))
def _ascend(table: Tables, tied: tuple[Array, ...], logits: Array, span: Array) -> JointPolicy:
    """One start to its end; probabilities that have all but vanished become 0."""
    sizes = sum(jnp.zeros(len(logits)).at[jnp.where(own >= 0, own, len(logits))].add(1.0, mode="drop") for own in tied)

    def policy(logits: Array) -> JointPolicy:
        return log_policy(table, tuple(logits[own] for own in tied))

    def step(number: Array, logits: Array) -> Array:
        alpha = 0.1 * span * 0.5 ** (number * 30.0 / _STEPS)
        swept = sweep(table, policy(logits), jnp.where(number < 0.9 * _STEPS, alpha, 0.0))
        # An advantage is the same on its whole orbit but for histories that nobody reaches.
        total = jnp.zeros(len(logits))
        for own, advantage in zip(tied, swept.advantage, strict=True):
            total = total.at[jnp.where(own >= 0, own, len(logits))].add(advantage, mode="drop")
        return logits + total / sizes / span

    logits = jax.lax.fori_loop(0, _STEPS, step, logits)
    mixed = policy(logits)
    kept = log_policy(table, tuple(jnp.where(own > np.log(1e-6), own, -jnp.inf) for own in mixed))
    return jax.tree.map(
        lambda a, b: jnp.where(expected_return(table, kept) >= expected_return(table, mixed), a, b), kept, mixed
    )
