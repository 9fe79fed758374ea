"""An actor-critic network with a gated recurrent unit between its torso and its heads."""

import dataclasses
import functools
import math
from typing import Any, Literal, final

import flax.linen as nn
import jax
import jax.numpy as jnp

from games.errors import number, one_of, whole_number
from marl.policies.layers import Precision, check, dense, hidden, product, products, widths
from marl.policies.policy import Array, apply_in_parts, masked_log_softmax


@final
@dataclasses.dataclass(frozen=True)
class Recurrent:
    """Dense torso, a gated recurrent unit (Cho et al. 2014, with the reset gate after the product), two heads.

    With x the torso's output and h the memory,

        r = σ(W_r x + U_r h + b_r),   z = σ(W_z x + U_z h + b_z),   n = tanh(W_n x + b_n + r ⊙ (U_n h + c)),
        h' = (1 − z) ⊙ n + z ⊙ h,

    and the heads see h'. The products with W belong to `perceive`, so that a learner computes them for all steps at
    once; only those with U are sequential. With the widths below these are the layers of JaxMARL's recurrent Hanabi
    network.

    Attributes:
      observation_size: entries of an observation.
      num_actions: actions, the no-op included.
      torso, actor, critic: widths of the hidden layers.
      memory: width of the unit.
      activation: of the hidden layers, one of `marl.policies.layers.ACTIVATIONS`.
      memory_clock: whether the unit is updated at every step of the game, or where the player acts.
      precision: of matrix products, see `marl.policies.layers.Precision`.
      head_gain: gain of the initial kernels of the heads' hidden layers.
    """

    observation_size: int
    num_actions: int
    torso: tuple[int, ...] = (128,)
    memory: int = 128
    actor: tuple[int, ...] = (128,)
    critic: tuple[int, ...] = (128,)
    activation: str = "relu"
    memory_clock: Literal["every_step", "own_turns"] = "every_step"
    precision: Precision = "float32"
    head_gain: float = math.sqrt(2)

    def __post_init__(self) -> None:
        for name in ("torso", "actor", "critic"):
            object.__setattr__(self, name, widths(name, getattr(self, name)))
        object.__setattr__(self, "memory", whole_number("policy.memory", self.memory, 1))
        one_of("policy.memory_clock", self.memory_clock, ("every_step", "own_turns"))
        check(self.activation, self.precision)
        number("policy.head_gain", self.head_gain, 0, above=True)

    def init(self, *, key: Array) -> Any:
        """Orthogonal kernels (gain sqrt 2 in the torso, 0.01 for logits, 1 for the value and each U), zero biases.

        W is normal with variance 1 / inputs (LeCun et al. 1998).

        Initialise many seeds with `lax.map`, never with `vmap`: batched QR can hang on a CPU with few cores.
        """
        return self._network().init(key, jnp.zeros(self.observation_size, jnp.float32), self.initial_memory())["params"]

    def initial_memory(self) -> Array:
        """float32[memory], zeros."""
        return jnp.zeros(self.memory, jnp.float32)

    def apply(self, params: Any, memory: Array, observation: Array, legal: Array) -> tuple[Array, Array]:
        return apply_in_parts(self, params, memory, observation, legal)

    def perceive(self, params: Any, observation: Array) -> Array:
        """float32[3 · memory]: W x + b of the reset gate, the update gate and the candidate."""
        return self._apply_method(params, "perceive", observation.astype(jnp.float32))

    def remember(self, params: Any, memory: Array, percept: Array) -> tuple[Array, Array]:
        """h' float32[memory] twice: the memory is what the heads see."""
        after = self._apply_method(params, "remember", memory, percept)
        return after, after

    def replay(self, params: Any, memories: Array, percepts: Array, moves: Array, done: Array) -> Array:
        unit = params["memory_layer"]["kernel"], params["candidate_bias"]
        return _replay(self.precision, unit, memories, percepts, moves, done)  # type: ignore[return-value]

    def act(self, params: Any, features: Array, legal: Array) -> Array:
        return masked_log_softmax(self._apply_method(params, "logits", features), legal)

    def value(self, params: Any, features: Array) -> Array:
        return self._apply_method(params, "value", features)

    def _apply_method(self, params: Any, method: str, *inputs: Array) -> Array:
        return self._network().apply({"params": params}, *inputs, method=method)  # type: ignore[return-value]

    def _network(self) -> "_Network":
        return _Network(
            self.torso,
            self.memory,
            self.actor,
            self.critic,
            self.num_actions,
            self.activation,
            self.precision,
            self.head_gain,
        )


class _Network(nn.Module):
    torso: tuple[int, ...]
    memory: int
    actor: tuple[int, ...]
    critic: tuple[int, ...]
    num_actions: int
    activation: str
    precision: Precision
    head_gain: float

    def setup(self) -> None:
        def layers(sizes: tuple[int, ...], gain: float = self.head_gain) -> list[nn.Dense]:
            return [dense(width, gain, self.precision) for width in sizes]

        product = products(self.precision)
        self.torso_layers = layers(self.torso, math.sqrt(2))
        self.actor_layers, self.critic_layers = layers(self.actor), layers(self.critic)
        self.input_layer = nn.Dense(3 * self.memory, dot_general=product)
        self.memory_layer = nn.Dense(
            3 * self.memory, use_bias=False, kernel_init=_three_orthogonal, dot_general=product
        )
        self.candidate_bias = self.param("candidate_bias", nn.initializers.zeros_init(), (self.memory,), jnp.float32)
        self.logits_layer = dense(self.num_actions, 0.01, self.precision)
        self.value_layer = dense(1, 1.0, self.precision)

    def __call__(self, observation: Array, memory: Array) -> tuple[Array, Array]:
        features = self.remember(memory, self.perceive(observation))
        return self.logits(features), self.value(features)

    def perceive(self, observation: Array) -> Array:
        return self.input_layer(hidden(self.torso_layers, self.activation, observation))

    def remember(self, memory: Array, percept: Array) -> Array:
        _, keep, candidate, _ = _gates(_in_three(percept), _in_three(self.memory_layer(memory)), self.candidate_bias)
        return (1 - keep) * candidate + keep * memory

    def logits(self, features: Array) -> Array:
        return self.logits_layer(hidden(self.actor_layers, self.activation, features))

    def value(self, features: Array) -> Array:
        return jnp.squeeze(self.value_layer(hidden(self.critic_layers, self.activation, features)), axis=-1)


def _in_three(x: Array) -> list[Array]:
    """Of float32[..., 3 · memory] the parts of the reset gate, the update gate and the candidate."""
    return jnp.split(x, 3, axis=-1)


def _gates(percepts: list[Array], memories: list[Array], bias: Array) -> tuple[Array, Array, Array, Array]:
    """r, z, n and U_n h + c of the parts of W x + b and U h."""
    reset = nn.sigmoid(percepts[0] + memories[0])
    keep = nn.sigmoid(percepts[1] + memories[1])
    within = memories[2] + bias.reshape(*[1] * (memories[2].ndim - 1), -1)
    return reset, keep, nn.tanh(percepts[2] + reset * within), within


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _replay(
    precision: Precision, unit: tuple[Array, Array], memories: Array, percepts: Array, moves: Array, done: Array
) -> Array:
    """The features float32[L, R, memory] of R sequences.

    `unit` is U [memory, 3 · memory] and c; the rest is as in `Replayed.replay`. The gradient goes back through time
    with one product a step, and sums U's gradient over all steps in one product, where differentiating the scan would
    make two small products a step.
    """
    return _replay_forward(precision, unit, memories, percepts, moves, done)[0]


def _replay_forward(
    precision: Precision, unit: tuple[Array, Array], memories: Array, percepts: Array, moves: Array, done: Array
) -> tuple[Array, Any]:
    kernel, bias = unit

    def one_step(memory: Array, step: tuple[list[Array], Array, Array]) -> tuple[Array, tuple[Array, Array, Any]]:
        percept, moves, done = step
        gates = _gates(percept, _in_three(product(precision, memory, kernel)), bias)
        _, keep, candidate, _ = gates
        after = (1 - keep) * candidate + keep * memory
        kept = jnp.where(moves[:, None], after, memory)
        return jnp.where(done[:, None], jnp.float32(0), kept), (after, memory, gates)

    # Parted here: on a CPU, XLA computes an entry at a time with parts of what the loop slices.
    features, before, gates = jax.lax.scan(one_step, memories, (_in_three(percepts), moves, done))[1]
    return features, (kernel, before, gates, moves, done)


def _replay_backward(precision: Precision, saved: Any, by_features: Array) -> Any:
    kernel, before, (reset, keep, candidate, within), moves, done = saved
    # Derivatives of h' with respect to the inputs of the three activations.
    by_candidate = (1 - keep) * (1 - candidate**2)
    by_keep = (before - candidate) * keep * (1 - keep)
    by_reset = by_candidate * within * reset * (1 - reset)

    def one_step(by_kept: Array, step: tuple[Array, ...]) -> tuple[Array, Array]:
        by_feature, by_reset, by_keep, by_candidate, reset, keep, moves, done = step
        by_kept = jnp.where(done[:, None], jnp.float32(0), by_kept)
        by_after = by_feature + jnp.where(moves[:, None], by_kept, jnp.float32(0))
        by_gates = jnp.concatenate([by_after * by_reset, by_after * by_keep, by_after * by_candidate * reset], axis=1)
        by_memory = by_after * keep + product(precision, by_gates, kernel.T)
        return by_memory + jnp.where(moves[:, None], jnp.float32(0), by_kept), by_after

    steps = (by_features, by_reset, by_keep, by_candidate, reset, keep, moves, done)
    by_first, by_after = jax.lax.scan(one_step, jnp.zeros_like(before[0]), steps, reverse=True)
    gates = (by_after * by_reset, by_after * by_keep, by_after * by_candidate)
    by_product = jnp.concatenate([*gates[:2], gates[2] * reset], axis=-1)
    width = kernel.shape[0]
    by_kernel = product(precision, before.reshape(-1, width).T, by_product.reshape(-1, 3 * width))
    by_bias = jnp.sum(gates[2] * reset, axis=(0, 1))
    return (by_kernel, by_bias), by_first, jnp.concatenate(gates, axis=-1), None, None


_replay.defvjp(_replay_forward, _replay_backward)


def _three_orthogonal(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """[n, 3n]: an orthogonal matrix for each gate."""
    orthogonal = nn.initializers.orthogonal()
    square = (shape[0], shape[0])
    return jnp.concatenate([orthogonal(one, square, dtype) for one in jax.random.split(key, 3)], axis=1)
