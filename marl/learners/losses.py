"""What the losses of several learners are made of, elementwise or as means over masked entries."""

import jax.numpy as jnp

from marl.policies.policy import Array


def clipped_surrogate(log_prob: Array, old_log_prob: Array, advantage: Array, clip: Array) -> tuple[Array, Array]:
    """min(r A, clip(r, 1 − ε, 1 + ε) A) and r = exp(log π − log π_old), elementwise."""
    ratio = jnp.exp(log_prob - old_log_prob)
    return jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - clip, 1 + clip) * advantage), ratio


def clipped_value_error(value: Array, old_value: Array, target: Array, clip: Array) -> Array:
    """½ max((v − G)², (clip(v, v_old − ε, v_old + ε) − G)²), elementwise."""
    clipped = old_value + jnp.clip(value - old_value, -clip, clip)
    return 0.5 * jnp.maximum((value - target) ** 2, (clipped - target) ** 2)


def masked_mean(x: Array, mask: Array, count: Array | None = None) -> Array:
    """The mean of x where mask is set; 0 if it is set nowhere. With `count` the sum of x there, divided by that."""
    if count is None:
        count = jnp.sum(mask.astype(jnp.float32))
    return jnp.sum(jnp.where(mask, x, 0.0)) / jnp.maximum(count, 1.0)


def normalise(x: Array, mask: Array) -> Array:
    """(x − mean) / (std + 1e-8), both over the masked entries."""
    mean = masked_mean(x, mask)
    return (x - mean) / (jnp.sqrt(masked_mean((x - mean) ** 2, mask)) + 1e-8)
