"""Newton's method for a nearby maximum of J_α, where the flow to it is too slow to be followed.

At a distance δ in α from a fold or a bifurcation the flow converges at a rate proportional to δ or its square root, and
so does damped soft policy iteration. Newton's method converges in a few steps, but may do so to a saddle or a maximum
farther away. So a point that it finds is taken for the flow's end only if it is stable, near, and J_α rises all along
the straight line in logits that leads to it.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from games.tabular.histories import Tree
from marl.exact.branch_equations import MOST_DENSE, NoPointError, along_alpha, equations, unknowns
from marl.exact.objective import (
    Array,
    JointPolicy,
    Tables,
    distances,
    double_precision,
    greatest,
    in_batches,
    log_policy,
    sweep,
    tables,
)

NEAR = 0.05
"""The greatest total variation, at a reached history, between a policy and the maximum that is taken for its end."""
_ALONG = 8
"""Parts of the line along which J_α must rise."""
_ROUNDING = 1e-13


def applies(tree: Tree) -> bool:
    """Whether a game is small enough for Newton's method: `MOST_DENSE` unknowns."""
    return free_coordinates(tree) <= MOST_DENSE


def free_coordinates(tree: Tree) -> int:
    """Of joint policies: one less than there are legal actions, at every history of every agent."""
    return sum(int((own.legal.sum(1) - 1).sum()) for own in tree.agents)


@double_precision
def maxima_near(
    tree: Tree, logits: tuple[np.ndarray, ...], guesses: tuple[np.ndarray, ...], alphas: np.ndarray
) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """For each policy a maximum of J_α that is near and uphill, where there is one.

    Args:
      tree: the game's histories.
      logits: for each agent float64[B, H, A].
      guesses: for each agent float64[B, H, A], logits from which Newton's method begins.
      alphas: float64[B], α of each, positive.

    Returns:
      Log-probabilities, for each agent float64[B, H, A], and float64[B], how far reached histories are from where they
      were (total variation): nan where no such maximum was found.

    Raises:
      TacitError: for a game of more than `branch_equations.MOST_UNKNOWNS` unknowns.
    """
    found, moved = tuple(map(np.array, logits)), np.full(len(alphas), np.nan)
    curve = equations(tree, None)
    rows = []
    for row, alpha in enumerate(alphas.tolist()):
        start = unknowns(curve.full, tuple(own[row] for own in guesses), alpha, curve.scale)
        try:
            z = curve.correct(start, along_alpha(start)).z
        except NoPointError:
            continue
        if curve.eigenvalues(z)[0] < 1:
            rows.append(row)
            for own, new in zip(found, curve.evaluate(z).log_probs, strict=True):
                own[row] = new
    if rows:
        begin, end = (tuple(own[rows] for own in whole) for whole in (logits, found))
        apart, uphill = in_batches(_line, tables(tree), begin, end, alphas[rows])
        moved[rows] = np.where(uphill & (apart <= NEAR), apart, np.nan)
    return found, moved


@jax.jit
@functools.partial(jax.vmap, in_axes=(None, 0, 0, 0))
def _line(table: Tables, begin: JointPolicy, end: JointPolicy, alpha: Array) -> tuple[Array, Array]:
    """(the greatest total variation between two policies at a reached history, whether J_α rises on the way)."""
    begin, end = log_policy(table, begin), log_policy(table, end)

    def value(share: Array) -> Array:
        between = tuple(jnp.where(jnp.isfinite(a), a + share * (b - a), a) for a, b in zip(begin, end, strict=True))
        return sweep(table, log_policy(table, between), alpha).objective

    values = jax.lax.map(value, jnp.linspace(0.0, 1.0, _ALONG + 1))
    rises = jnp.all(jnp.diff(values) >= -_ROUNDING * (1 + jnp.abs(values).max()))
    return greatest(distances(begin, end), sweep(table, end, alpha).reach), rises
