"""A policy of one's own: logits and a value that are linear in what the player sees, and no memory.

tacit train game=rendezvous.Rendezvous policy=linear.Linear budget.steps=20000
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp

from games.errors import number
from marl.policies.policy import Array, apply_in_parts, masked_log_softmax


@dataclasses.dataclass(frozen=True)
class Linear:
    """log π(a|o) = log softmax over legal actions of (W o + b)_a, and the value w·o.

    Attributes:
      observation_size, num_actions: given by the game and its observer.
      spread: standard deviation of W and w at the start.

    Raises:
      TacitError: for a spread that is no number above 0.
    """

    observation_size: int
    num_actions: int
    spread: float = 0.01

    def __post_init__(self) -> None:
        number("policy.spread", self.spread, 0, above=True)

    @property
    def memory_clock(self) -> Literal["own_turns"]:
        """Without a memory either clock will do."""
        return "own_turns"

    def init(self, *, key: Array) -> dict[str, Array]:
        """Normal weights of standard deviation `spread`."""
        weights = self.spread * jax.random.normal(key, (self.num_actions + 1, self.observation_size), jnp.float32)
        return {"logits": weights[:-1], "value": weights[-1], "bias": jnp.zeros(self.num_actions, jnp.float32)}

    def initial_memory(self) -> tuple[()]:
        """None."""
        return ()

    def apply(self, params: Any, memory: tuple[()], observation: Array, legal: Array) -> tuple[tuple[()], Array]:
        """Act once; see `marl.policies.policy.Policy`."""
        return apply_in_parts(self, params, memory, observation, legal)

    def perceive(self, params: Any, observation: Array) -> Array:
        """The observation as numbers."""
        return observation.astype(jnp.float32)

    def remember(self, params: Any, memory: tuple[()], percept: Array) -> tuple[tuple[()], Array]:
        """Nothing; the heads see the percept."""
        return memory, percept

    def act(self, params: Any, features: Array, legal: Array) -> Array:
        """float32[num_actions] log-probabilities."""
        return masked_log_softmax(params["logits"] @ features + params["bias"], legal)

    def value(self, params: Any, features: Array) -> Array:
        """float32[]: the expected return from here."""
        return params["value"] @ features
