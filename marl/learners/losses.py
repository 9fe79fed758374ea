"""What the losses of several learners are made of, elementwise or as means over masked entries."""

import jax.numpy as jnp

from marl.policies.policy import Array


def clipped_surrogate(ratio: Array, advantage: Array, clip: Array) -> Array:
    """min(r A, clip(r, 1 − ε, 1 + ε) A), elementwise.

    All are float32[...] of one shape, `clip` ε float32[]; r = π(a|o) / π_old(a|o), A in units of the normalised
    advantage.
    """
    return jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - clip, 1 + clip) * advantage)


def clipped_value_error(value: Array, old_value: Array, target: Array, clip: Array) -> Array:
    """½ max((v − G)², (clip(v, v_old − ε, v_old + ε) − G)²), elementwise: float32[...], `clip` ε float32[]."""
    clipped = old_value + jnp.clip(value - old_value, -clip, clip)
    return 0.5 * jnp.maximum((value - target) ** 2, (clipped - target) ** 2)


def masked_mean(x: Array, mask: Array, count: Array | None = None) -> Array:
    """The mean of x float32[...] where the mask bool[...] is set, float32[]; 0 if it is set nowhere.

    With `count` float32[] the sum of x there, divided by that: the share of a part in the mean of the whole.
    """
    if count is None:
        count = jnp.sum(mask.astype(jnp.float32))
    return jnp.sum(jnp.where(mask, x, 0.0)) / jnp.maximum(count, 1.0)


def normalise(x: Array, mask: Array) -> Array:
    """(x − mean) / (std + 1e-8) for x float32[...], both over the entries where the mask bool[...] is set."""
    mean = masked_mean(x, mask)
    return (x - mean) / (jnp.sqrt(masked_mean((x - mean) ** 2, mask)) + 1e-8)
