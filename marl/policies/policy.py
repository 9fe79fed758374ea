"""The contract that every policy keeps, and what policies share."""

from typing import Any, Literal, Protocol

import jax
import jax.numpy as jnp

Array = jax.Array


class Policy(Protocol):
    """A hashable description of a policy, as pure functions of its parameters. The caller makes batches with `vmap`.

    A memoryless policy has the empty memory `()`. Nobody asks what kind a policy is.
    """

    @property
    def memory_clock(self) -> Literal["every_step", "own_turns"]:
        """When `apply` is called: at every step of the game, or only where the player acts."""
        ...

    def init(self, *, key: Array) -> Any:
        """Parameters."""
        ...

    def initial_memory(self) -> Any:
        """The memory at the first step of a game."""
        ...

    def apply(self, params: Any, memory: Any, observation: Array, legal: Array) -> tuple[Any, Array]:
        """Act once.

        Args:
          params: of `init`.
          memory: of `initial_memory` or an earlier call in the same game.
          observation: [observation_size], any dtype.
          legal: bool[num_actions], at least one True.

        Returns:
          The memory afterwards and float32[num_actions] log-probabilities, -inf where illegal.
        """
        ...


class ActorCritic(Policy, Protocol):
    """A policy with a value head of its own, in the parts that learners call.

    `apply` is `encode`, then `act`. The parts are apart because a learner needs the value at steps where a player does
    not act, and a centralised critic leaves `value` out.
    """

    def encode(self, params: Any, memory: Any, observation: Array) -> tuple[Any, Array]:
        """The memory afterwards and float32[features]."""
        ...

    def act(self, params: Any, features: Array, legal: Array) -> Array:
        """float32[num_actions] log-probabilities, -inf where illegal."""
        ...

    def value(self, params: Any, features: Array) -> Array:
        """float32[]: the expected return from here."""
        ...


def masked_log_softmax(logits: Array, legal: Array) -> Array:
    """log softmax over the legal actions: log_probs[a] = logits[a] - log sum_{legal b} exp(logits[b]), else -inf.

    Safe to differentiate: a masked entry gets no gradient.

    Args:
      logits: float32[..., num_actions].
      legal: bool[..., num_actions], at least one True in each row.
    """
    masked = jnp.where(legal, logits, jnp.finfo(logits.dtype).min)
    log_probs = jax.nn.log_softmax(masked, axis=-1)
    return jnp.where(legal, log_probs, -jnp.inf)


def entropy(log_probs: Array) -> Array:
    """H = -sum_a p(a) log p(a) in nats, float32[...], with 0 log 0 = 0; safe to differentiate."""
    finite = jnp.isfinite(log_probs)
    safe = jnp.where(finite, log_probs, 0.0)
    return -jnp.sum(jnp.where(finite, jnp.exp(safe) * safe, 0.0), axis=-1)


def sample(log_probs: Array, *, key: Array) -> Array:
    """Draw an action by inverting the distribution function: int32[]. Never one of probability 0.

    One uniform number an action instead of one a candidate, which a categorical draw by Gumbel noise takes.
    """
    probabilities = jnp.exp(log_probs)
    # A parallel prefix sum can round up where nothing was added, or down, so the last sum need not be the greatest.
    cumulative = jnp.where(probabilities > 0, jnp.cumsum(probabilities), 0.0)
    threshold = jax.random.uniform(key, (), jnp.float32) * jnp.max(cumulative)
    return jnp.argmax(cumulative > threshold).astype(jnp.int32)
