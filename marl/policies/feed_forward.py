"""A memoryless actor-critic network: a torso shared by an actor and a critic head."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, final

import flax.linen as nn
import jax.numpy as jnp

from games.errors import TacitError, one_of, whole_number
from marl.policies.policy import Array, masked_log_softmax

ACTIVATIONS = {"relu": nn.relu, "tanh": nn.tanh}


@final
@dataclasses.dataclass(frozen=True)
class FeedForward:
    """Dense layers: torso, then an actor head and a critic head of their own.

    With torso (512,), actor (512,) and critic (512,) these are the layers of JaxMARL's feed-forward Hanabi network.

    Attributes:
      observation_size: entries of an observation.
      num_actions: actions, the no-op included.
      torso, actor, critic: widths of the hidden layers.
      activation: one of `ACTIVATIONS`.
    """

    memory_clock: ClassVar[Literal["own_turns"]] = "own_turns"

    observation_size: int
    num_actions: int
    torso: tuple[int, ...] = (64, 64)
    actor: tuple[int, ...] = ()
    critic: tuple[int, ...] = ()
    activation: str = "relu"

    def __post_init__(self) -> None:
        for name in ("torso", "actor", "critic"):
            widths = getattr(self, name)
            if not isinstance(widths, list | tuple):
                raise TacitError(f"policy.{name} must be a list of layer widths, not {widths!r}")
            # A list from a configuration file becomes hashable.
            object.__setattr__(self, name, tuple(whole_number(f"policy.{name}", width, 1) for width in widths))
        one_of("policy.activation", self.activation, ACTIVATIONS)

    def init(self, *, key: Array) -> Any:
        """Orthogonal kernels (gain sqrt 2 in hidden layers, 0.01 for logits, 1 for the value), zero biases.

        Initialise many seeds with `lax.map`, never with `vmap`: batched QR can hang on a CPU with few cores.
        """
        observation = jnp.zeros(self.observation_size, jnp.float32)
        return self._network().init(key, observation)["params"]

    def initial_memory(self) -> tuple[()]:
        return ()

    def apply(self, params: Any, memory: tuple[()], observation: Array, legal: Array) -> tuple[tuple[()], Array]:
        memory, features = self.encode(params, memory, observation)
        return memory, self.act(params, features, legal)

    def encode(self, params: Any, memory: tuple[()], observation: Array) -> tuple[tuple[()], Array]:
        return memory, self._part(params, "encode", observation.astype(jnp.float32))

    def act(self, params: Any, features: Array, legal: Array) -> Array:
        return masked_log_softmax(self._part(params, "logits", features), legal)

    def value(self, params: Any, features: Array) -> Array:
        return self._part(params, "value", features)

    def _part(self, params: Any, method: str, x: Array) -> Array:
        return self._network().apply({"params": params}, x, method=method)  # type: ignore[return-value]

    def _network(self) -> "_Network":
        return _Network(self.torso, self.actor, self.critic, self.num_actions, self.activation)


class _Network(nn.Module):
    torso: tuple[int, ...]
    actor: tuple[int, ...]
    critic: tuple[int, ...]
    num_actions: int
    activation: str

    def setup(self) -> None:
        root_two = math.sqrt(2)
        self.torso_layers = [_dense(width, root_two) for width in self.torso]
        self.actor_layers = [_dense(width, root_two) for width in self.actor]
        self.critic_layers = [_dense(width, root_two) for width in self.critic]
        self.logits_layer = _dense(self.num_actions, 0.01)
        self.value_layer = _dense(1, 1.0)

    def __call__(self, observation: Array) -> tuple[Array, Array]:
        features = self.encode(observation)
        return self.logits(features), self.value(features)

    def encode(self, observation: Array) -> Array:
        return self._hidden(self.torso_layers, observation)

    def logits(self, features: Array) -> Array:
        return self.logits_layer(self._hidden(self.actor_layers, features))

    def value(self, features: Array) -> Array:
        return jnp.squeeze(self.value_layer(self._hidden(self.critic_layers, features)), axis=-1)

    def _hidden(self, layers: Sequence[nn.Dense], x: Array) -> Array:
        for layer in layers:
            x = ACTIVATIONS[self.activation](layer(x))
        return x


def _dense(width: int, gain: float) -> nn.Dense:
    return nn.Dense(width, kernel_init=nn.initializers.orthogonal(gain))
