"""A policy by hand: always the last legal action, which in the lever game is the one lever unlike the others."""

import dataclasses

import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Last:
    """The policy."""

    memory_clock = "own_turns"  # without memory either will do

    def init(self, *, key):
        return ()  # no parameters

    def initial_memory(self):
        return ()  # and no memory

    def apply(self, params, memory, observation, legal):
        actions = jnp.arange(legal.size)
        last = jnp.max(jnp.where(legal, actions, -1))
        return memory, jnp.where(actions == last, 0.0, -jnp.inf)  # log-probabilities
