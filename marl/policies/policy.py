"""The contract that every policy keeps, and what policies share."""

from typing import Any, Literal, Protocol

import jax
import jax.numpy as jnp

Array = jax.Array


class Policy(Protocol):
    """A hashable description of a policy, as pure functions of its parameters. The caller makes batches with `vmap`.

    A memoryless policy has the empty memory `()`. Callers never ask for a policy's class.
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

    `apply` is `perceive`, `remember`, then `act` (`apply_in_parts`). The parts are separate because a learner perceives
    all steps of a sequence at once and remembers one after the other, because it needs the value at steps where a
    player does not act, and because a centralised critic leaves `value` out.

    A memory with floating-point entries depends on the parameters: learners replay it from the first step of a sequence
    and backpropagate through it, by `replay` (`replay_in_turn` serves any policy). A memory of integers does not depend
    on them, and is taken as it was recorded.
    """

    def perceive(self, params: Any, observation: Array) -> Any:
        """Encode an observation, dtype[size] of its observer, without the memory."""
        ...

    def remember(self, params: Any, memory: Any, percept: Any) -> tuple[Any, Array]:
        """The memory afterwards and float32[features]."""
        ...

    def act(self, params: Any, features: Array, legal: Array) -> Array:
        """float32[num_actions] log-probabilities, -inf where illegal."""
        ...

    def value(self, params: Any, features: Array) -> Array:
        """float32[]: the expected return from here."""
        ...


class Replayed(ActorCritic, Protocol):
    """An actor-critic whose memory depends on its parameters."""

    def replay(self, params: Any, memories: Any, percepts: Any, moves: Array, done: Array) -> Array:
        """The features at every step of R sequences side by side, by `remember`.

        Not for one sequence and the caller's `vmap`: the parameters' gradient is then one product over all of them.

        Args:
          params: of `init`.
          memories: [R, ...] before the first step.
          percepts: [L, R, ...] of `perceive`.
          moves: bool[L, R] whether `remember` updates the memory, or it stays as it was.
          done: bool[L, R] whether a game ended with the step, so that the memory is reset.

        Returns:
          float32[L, R, features].
        """
        ...


def replay_in_turn(policy: ActorCritic, params: Any, memories: Any, percepts: Any, moves: Array, done: Array) -> Array:
    """A scan over steps that serves any policy as `Replayed.replay`; the backward pass recomputes each step."""

    def one(memory: Any, step: tuple[Any, Array, Array]) -> tuple[Any, Array]:
        percept, moves, done = step
        after, features = policy.remember(params, memory, percept)
        kept = jax.tree.map(lambda new, old: jnp.where(moves, new, old), after, memory)
        return jax.tree.map(lambda new, old: jnp.where(done, new, old), policy.initial_memory(), kept), features

    return jax.lax.scan(jax.checkpoint(jax.vmap(one)), memories, (percepts, moves, done))[1]


def apply_in_parts(
    policy: ActorCritic, params: Any, memory: Any, observation: Array, legal: Array
) -> tuple[Any, Array]:
    """`Policy.apply` of an actor-critic by its parts; arguments and results as in `Policy.apply`."""
    memory, features = policy.remember(params, memory, policy.perceive(params, observation))
    return memory, policy.act(params, features, legal)


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
