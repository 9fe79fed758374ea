"""IPPO with value normalisation: the critic learns values in units of running statistics of the returns.

The network predicts (G − μ) / σ for a return G. μ and σ are its mean and standard deviation over the updates before,
each update weighted `DECAY` times as much as the next; 0 and 1 before the first. Advantages are estimated from values
in units of the reward again, so that only the network's output and the value's loss and clipping differ from IPPO's.
The reported `value_loss` is in units of σ².

MAPPO (Yu et al. 2022) normalises values, too, and updates its statistics in every minibatch. PopArt (van Hasselt et al.
2016) also rescales the last layer when μ and σ change, which is left out here.

    tacit train game=hanabi_2x3 learner=normalised_values.NormalisedValues budget.steps=20000
"""

import dataclasses
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp

from games.errors import TacitError
from marl.learners import ppo, rollout
from marl.learners.ippo import IPPO
from marl.learners.learner import Metrics
from marl.learners.losses import masked_mean
from marl.policies.policy import Array, apply_in_parts

DECAY = 0.99
LEAST_STD = 0.01
"""In units of the learner's rewards: σ of returns that are all alike."""


class Returns(NamedTuple):
    """Decayed sums over updates: of mean returns, of mean squares, and of the weights."""

    first: Array  # float32[]
    second: Array  # float32[]
    weight: Array  # float32[]

    @classmethod
    def none(cls) -> "Returns":
        """Before the first update."""
        return cls(jnp.float32(0), jnp.float32(0), jnp.float32(0))

    def followed_by(self, returns: Array, mask: Array) -> "Returns":
        """With one more update, whose returns are those that the mask marks: float32[...] and bool[...]."""
        new = Returns(masked_mean(returns, mask), masked_mean(returns**2, mask), jnp.float32(1))
        return jax.tree.map(lambda old, new: DECAY * old + (1 - DECAY) * new, self, new)

    def units(self) -> tuple[Array, Array]:
        """μ and σ, float32[] each."""
        mean, square = (total / jnp.where(self.weight > 0, self.weight, 1.0) for total in (self.first, self.second))
        std = jnp.sqrt(jnp.maximum(square - mean**2, LEAST_STD**2))
        return mean, jnp.where(self.weight > 0, std, 1.0)


@dataclasses.dataclass(frozen=True)
class NormalisedCritic:
    """A policy for training, an `ActorCritic` whose network predicts normalised values."""

    policy: Any  # ActorCritic

    @property
    def memory_clock(self) -> Literal["every_step", "own_turns"]:
        return self.policy.memory_clock

    def init(self, *, key: Array) -> dict[str, Any]:
        return {"policy": self.policy.init(key=key), "returns": Returns.none()}

    def initial_memory(self) -> Any:
        return self.policy.initial_memory()

    def apply(self, params: Any, memory: Any, observation: Array, legal: Array) -> tuple[Any, Array]:
        return apply_in_parts(self, params, memory, observation, legal)

    def perceive(self, params: Any, observation: Array) -> Any:
        return self.policy.perceive(params["policy"], observation)

    def remember(self, params: Any, memory: Any, percept: Any) -> tuple[Any, Array]:
        return self.policy.remember(params["policy"], memory, percept)

    def replay(self, params: Any, memories: Any, percepts: Any, moves: Array, done: Array) -> Array:
        return self.policy.replay(params["policy"], memories, percepts, moves, done)

    def act(self, params: Any, features: Array, legal: Array) -> Array:
        return self.policy.act(params["policy"], features, legal)

    def value(self, params: Any, features: Array) -> Array:
        mean, std = jax.lax.stop_gradient(params["returns"]).units()
        return mean + std * self.policy.value(params["policy"], features)


@dataclasses.dataclass(frozen=True)
class NormalisedValues(IPPO):
    """The algorithm for one seed; its keys are IPPO's. All players share the statistics of returns.

    Raises:
      TacitError: as IPPO; without `normalise_advantages`, since advantages are divided by σ beside the returns.
    """

    version: ClassVar[str] = "normalised-values-2"  # part of a run's name: change it with the code

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.normalise_advantages:
            raise TacitError("NormalisedValues needs learner.normalise_advantages=true")

    @property
    def actor_critic(self) -> NormalisedCritic:
        """The policy, with the statistics among its parameters; no gradient reaches these."""
        return NormalisedCritic(self.policy)

    def learn(
        self,
        state: ppo.PPOState,
        trajectory: rollout.Trajectory,
        advantage: Array,
        known: Array,
        episodes: rollout.Episodes,
        *,
        key: Array,
    ) -> tuple[ppo.PPOState, Metrics]:
        """As IPPO, in the units of the updates before; then the statistics gain this update's returns."""
        returns = state.params["returns"]
        shared = returns if self.share_parameters else jax.tree.map(lambda every: every[0], returns)
        mean, std = shared.units()
        in_units = trajectory._replace(value=(trajectory.value - mean) / std)
        plain = state._replace(params={**state.params, "returns": jax.tree.map(jnp.zeros_like, returns)})
        after, metrics = super().learn(plain, in_units, advantage / std, known, episodes, key=key)
        following = shared.followed_by(trajectory.value + advantage, known & trajectory.valid)
        following = jax.tree.map(lambda every, one: jnp.broadcast_to(one, every.shape), returns, following)
        return after._replace(params={**after.params, "returns": following}), metrics

    def agent_params(self, state: ppo.PPOState) -> Any:
        """The policy's own parameters, without the statistics that its value head goes with."""
        return state.params["policy"]

    def with_agent_params(self, state: ppo.PPOState, params: Any) -> ppo.PPOState:
        """An initial state whose policy plays with `params`; its values are learned anew, in units of 0 and 1."""
        return state._replace(params={**state.params, "policy": params})
