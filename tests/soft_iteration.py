"""Damped soft policy iteration from starts between nearly uniform and nearly pure ones: where it ends."""

import jax
import jax.numpy as jnp
import numpy as np

from marl.exact import objective
from marl.policies.policy import masked_log_softmax


def stationary(tree, alpha, count, seed):
    """(points, for each agent float64[count, H, A] log-probabilities; residuals float64[count]) at one α."""
    starts = starts_of(tree, count, seed)
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, _damped(objective.tables(tree), starts, jnp.asarray(alpha)))


def starts_of(tree, count, seed):
    """Log-policies float64[count, H, A] for each agent, of normal logits with standard deviations from 0.5 to 8."""
    generator = np.random.default_rng(seed)
    scales = np.geomspace(0.5, 8, count)[:, None, None]
    with jax.enable_x64(True):
        return tuple(
            np.asarray(masked_log_softmax(scales * generator.normal(size=(count, *own.legal.shape)), own.legal))
            for own in tree.agents
        )


def iterate(table, log_probs, alpha):
    """Soft policy iteration: log softmax(Q / α)."""
    swept = objective.sweep(table, log_probs, alpha)
    masks = objective.legal_masks(table)
    return tuple(masked_log_softmax(q / alpha, legal) for q, legal in zip(swept.q, masks, strict=True)), swept.reach


@jax.jit
def _damped(table, log_probs, alpha):
    """(points, residual): 400 iterations, each halfway in log space."""

    def one(start):
        def halfway(_, current):
            following, _ = iterate(table, current, alpha)
            return objective.log_policy(
                table,
                tuple(
                    jnp.where(legal, (new + old) / 2, -jnp.inf)
                    for new, old, legal in zip(following, current, objective.legal_masks(table), strict=True)
                ),
            )

        end = jax.lax.fori_loop(0, 400, halfway, start)
        following, _ = iterate(table, end, alpha)
        apart = [jnp.abs(jnp.exp(a) - jnp.exp(b)).max() for a, b in zip(end, following, strict=True)]
        return end, jnp.stack(apart).max()

    return jax.vmap(one)(log_probs)
