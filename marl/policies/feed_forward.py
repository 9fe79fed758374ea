"""A memoryless actor-critic network: a torso shared by an actor and a critic head."""

import dataclasses
import math
from typing import Any, Literal, final

import flax.linen as nn
import jax.numpy as jnp

from games.errors import number
from marl.policies.layers import Precision, check, dense, hidden, widths
from marl.policies.policy import Array, apply_in_parts, masked_log_softmax


@final
@dataclasses.dataclass(frozen=True)
class FeedForward:
    """Dense layers: torso, then an actor head and a critic head of their own.

    With torso (512,), actor (512,) and critic (512,) these are the layers of JaxMARL's feed-forward Hanabi network.

    Attributes:
      observation_size: entries of an observation.
      num_actions: actions, the no-op included.
      torso, actor, critic: widths of the hidden layers.
      activation: one of `marl.policies.layers.ACTIVATIONS`.
      precision: of matrix products, see `marl.policies.layers.Precision`.
      head_gain: gain of the initial kernels of the heads' hidden layers.
    """

    observation_size: int
    num_actions: int
    torso: tuple[int, ...] = (64, 64)
    actor: tuple[int, ...] = ()
    critic: tuple[int, ...] = ()
    activation: str = "relu"
    precision: Precision = "float32"
    head_gain: float = math.sqrt(2)

    def __post_init__(self) -> None:
        for name in ("torso", "actor", "critic"):
            object.__setattr__(self, name, widths(name, getattr(self, name)))
        check(self.activation, self.precision)
        number("policy.head_gain", self.head_gain, 0, above=True)

    @property
    def memory_clock(self) -> Literal["own_turns"]:
        return "own_turns"

    def init(self, *, key: Array) -> Any:
        """Orthogonal kernels (gain sqrt 2 in the torso, 0.01 for logits, 1 for the value), zero biases.

        Initialise many seeds with `lax.map`, never with `vmap`: batched QR can hang on a CPU with few cores.
        """
        observation = jnp.zeros(self.observation_size, jnp.float32)
        return self._network().init(key, observation)["params"]

    def initial_memory(self) -> tuple[()]:
        return ()

    def apply(self, params: Any, memory: tuple[()], observation: Array, legal: Array) -> tuple[tuple[()], Array]:
        return apply_in_parts(self, params, memory, observation, legal)

    def perceive(self, params: Any, observation: Array) -> Array:
        return self._apply_method(params, "features", observation.astype(jnp.float32))

    def remember(self, params: Any, memory: tuple[()], percept: Array) -> tuple[tuple[()], Array]:
        del params
        return memory, percept

    def act(self, params: Any, features: Array, legal: Array) -> Array:
        return masked_log_softmax(self._apply_method(params, "logits", features), legal)

    def value(self, params: Any, features: Array) -> Array:
        return self._apply_method(params, "value", features)

    def _apply_method(self, params: Any, method: str, x: Array) -> Array:
        return self._network().apply({"params": params}, x, method=method)  # type: ignore[return-value]

    def _network(self) -> "_Network":
        return _Network(
            self.torso, self.actor, self.critic, self.num_actions, self.activation, self.precision, self.head_gain
        )


class _Network(nn.Module):
    torso: tuple[int, ...]
    actor: tuple[int, ...]
    critic: tuple[int, ...]
    num_actions: int
    activation: str
    precision: Precision
    head_gain: float

    def setup(self) -> None:
        def layers(sizes: tuple[int, ...], gain: float = self.head_gain) -> list[nn.Dense]:
            return [dense(width, gain, self.precision) for width in sizes]

        self.torso_layers = layers(self.torso, math.sqrt(2))
        self.actor_layers, self.critic_layers = layers(self.actor), layers(self.critic)
        self.logits_layer = dense(self.num_actions, 0.01, self.precision)
        self.value_layer = dense(1, 1.0, self.precision)

    def __call__(self, observation: Array) -> tuple[Array, Array]:
        features = self.features(observation)
        return self.logits(features), self.value(features)

    def features(self, observation: Array) -> Array:
        return hidden(self.torso_layers, self.activation, observation)

    def logits(self, features: Array) -> Array:
        return self.logits_layer(hidden(self.actor_layers, self.activation, features))

    def value(self, features: Array) -> Array:
        return jnp.squeeze(self.value_layer(hidden(self.critic_layers, self.activation, features)), axis=-1)
