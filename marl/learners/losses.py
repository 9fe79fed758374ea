"""The parts of the losses of several learners, elementwise or as means over masked entries."""

import jax
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

    With `count` float32[] the sum over the mask is divided by `count` instead: what a part adds to the whole's mean.
    """
    if count is None:
        count = jnp.sum(mask.astype(jnp.float32))
    return jnp.sum(jnp.where(mask, x, 0.0)) / jnp.maximum(count, 1.0)


def normalise(x: Array, mask: Array) -> Array:
    """(x − mean) / (std + 1e-8) for x float32[...], both over the entries where the mask bool[...] is set."""
    mean = masked_mean(x, mask)
    return (x - mean) / (jnp.sqrt(masked_mean((x - mean) ** 2, mask)) + 1e-8)


def lambda_returns(r_t: Array, discount_t: Array, v_t: Array, lambda_t: Array) -> Array:
    """G_{t-1} = r_t + discount_t ((1 − λ_t) v_t + λ_t G_t), from the last v_t in place of G_t.

    All are float32[T, ...]: step t gives the reward r_t and leads to a state of value v_t, which is multiplied by the
    discount (0 where the game ends). These returns minus the values of the states where steps begin are generalised
    advantages.
    The names and the order are those of rlax.
    """

    def backward(following: Array, step: tuple[Array, ...]) -> tuple[Array, Array]:
        reward, discount, value, weight = step
        one = reward + discount * ((1 - weight) * value + weight * following)
        return one, one

    return jax.lax.scan(backward, v_t[-1], (r_t, discount_t, v_t, lambda_t), reverse=True)[1]
