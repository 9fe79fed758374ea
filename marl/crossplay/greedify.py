"""Play the most probable action, without letting labels decide between equals."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from marl.agent import Kind
    from marl.policies.policy import Array

TIE_TOLERANCE = 1e-4
"""Actions whose log-probability is within this of the best count as tied: a probability ratio above 0.9999. Well above
the rounding of a float32 network (about 1e-6), well below what training leaves between actions that it tells apart."""


def greedify(log_probs: "Array", tolerance: float = TIE_TOLERANCE) -> "Array":
    """The uniform distribution over the best actions, as log-probabilities.

    Ties are split evenly: an argmax by index would share the labels of the actions between agents that have never
    met, and a flat policy would seem to coordinate.

    Args:
      log_probs: float[..., num_actions], -inf where illegal.
      tolerance: how far below the best an action still counts as tied.
    """
    import jax.numpy as jnp  # the package offers this function, and who only reads results loads no jax

    best = log_probs >= jnp.max(log_probs, axis=-1, keepdims=True) - tolerance
    return jnp.where(best, -jnp.log(jnp.sum(best, axis=-1, keepdims=True, dtype=log_probs.dtype)), -jnp.inf)


def as_played(kind: "Kind", log_probs: "Array", *, greedy: "Array") -> "Array":
    """float[..., num_actions]: the log-probabilities that agents of a kind draw from, given those of their policy.

    `greedy` bool[] is an array, so that one compiled program plays either way.
    """
    import jax.numpy as jnp

    return log_probs if kind.always_sampled else jnp.where(greedy, greedify(log_probs), log_probs)
