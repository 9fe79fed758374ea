"""A network of action values whose memory sees public entries only: that of Off-Belief Learning's Hanabi agents.

R2D2 with a public and a private part (Hu et al. 2021, "Off-Belief Learning", ICML): the values are a linear map of the
product, entry by entry, of dense layers of the whole observation and of long short-term memories of its public part.
Here it only plays; no learner of this package trains it.
"""

import dataclasses
from typing import Any, Literal, final

import flax.linen as nn
import jax.numpy as jnp

from games.errors import whole_number
from marl.policies.policy import Array

Memory = tuple[tuple[Array, Array], ...]
"""(c, h), each float32[width], of every layer."""


@final
@dataclasses.dataclass(frozen=True)
class PublicPrivate:
    """Plays the legal action of the greatest value; ties are split evenly.

    With o the observation, s its public part, and relu layers D:

        p = D₃ D₂ D₁ o,   q = LSTM₂ LSTM₁ D₀ s,   values = W (p ⊙ q) + b.

    Attributes:
      observation_size: entries of an observation.
      num_actions: actions, the no-op included.
      private_entries: how many entries at an observation's beginning the others do not see.
      width: of every hidden layer.
    """

    observation_size: int
    num_actions: int
    private_entries: int
    width: int = 512

    def __post_init__(self) -> None:
        whole_number("policy.private_entries", self.private_entries, 0, self.observation_size - 1)
        whole_number("policy.width", self.width, 1)

    @property
    def memory_clock(self) -> Literal["every_step"]:
        return "every_step"

    def init(self, *, key: Array) -> Any:
        """Normal kernels with variance 1 / inputs, orthogonal ones from memory to memory, zero biases."""
        observation = jnp.zeros(self.observation_size, jnp.float32)
        return self._network().init(key, self.initial_memory(), observation)["params"]

    def initial_memory(self) -> Memory:
        """Zeros."""
        zeros = jnp.zeros(self.width, jnp.float32)
        return ((zeros, zeros),) * 2

    def apply(self, params: Any, memory: Memory, observation: Array, legal: Array) -> tuple[Memory, Array]:
        memory, values = self.values(params, memory, observation)
        values = jnp.where(legal, values, -jnp.inf)
        best = values == jnp.max(values)
        return memory, jnp.where(best, -jnp.log(jnp.sum(best, dtype=jnp.float32)), -jnp.inf)

    def values(self, params: Any, memory: Memory, observation: Array) -> tuple[Memory, Array]:
        """The memory afterwards and float32[num_actions], illegal actions' values among them."""
        return self._network().apply({"params": params}, memory, observation.astype(jnp.float32))  # type: ignore[return-value]

    def _network(self) -> "_Network":
        return _Network(self.num_actions, self.private_entries, self.width)


class _Network(nn.Module):
    num_actions: int
    private_entries: int
    width: int

    def setup(self) -> None:
        self.private_layers = [nn.Dense(self.width) for _ in range(3)]
        self.public_layer = nn.Dense(self.width)
        self.memory_layers = [nn.OptimizedLSTMCell(self.width) for _ in range(2)]
        self.values_layer = nn.Dense(self.num_actions)

    def __call__(self, memory: Memory, observation: Array) -> tuple[Memory, Array]:
        private = observation
        for layer in self.private_layers:
            private = nn.relu(layer(private))
        public = nn.relu(self.public_layer(observation[self.private_entries :]))
        after = []
        for cell, before in zip(self.memory_layers, memory, strict=True):
            now, public = cell(before, public)
            after.append(now)
        return tuple(after), self.values_layer(private * public)
