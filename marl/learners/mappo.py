"""IPPO with a centralised critic.

MAPPO (Yu et al. 2022, "The surprising effectiveness of PPO in cooperative multi-agent games"): in training, the critic
sees the observations of all players, the player's own first and then the others' in the order of the seats. The actor
sees its own only; the actor alone is saved and plays. All else is `marl.learners.ppo`; the source's normalisation of
values is left out, so that MAPPO and IPPO differ in the critic alone.

The critic is a separate network without a memory; a recurrent actor keeps its memory. A critic head of the policy stays
as it was initialised. IPPO's critic shares layers with the actor instead. So to compare only what critics see, compare
with this learner and `critic_sees` "own", not with IPPO.
"""

import dataclasses
import math
from typing import Any, ClassVar, Literal, final, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp

from games.errors import TacitError, one_of, whole_number
from games.game import Game, Layout, Observer, Symmetry
from marl.learners import ppo
from marl.policies.layers import dense, hidden
from marl.policies.policy import Array, apply_in_parts

CriticSees = Literal["everybody", "own"]


@final
@dataclasses.dataclass(frozen=True)
class MAPPO(ppo.PPO):
    """The algorithm for one seed; the caller vmaps over seeds and hyperparameters.

    Attributes:
      critic_layers: widths of the critic's hidden layers.
      critic_sees: "everybody", or "own": the player's observation alone, which makes it IPPO with a critic of its own.
      game, policy, observer, ...: as in IPPO. Where players have parameters of their own, so have their critics.

    Raises:
      TacitError: as IPPO, and for a policy whose features are not a vector (a table).
    """

    version: ClassVar[str] = "mappo-2"

    _: dataclasses.KW_ONLY
    critic_layers: tuple[int, ...] = (64, 64)
    critic_sees: CriticSees = "everybody"

    def __post_init__(self) -> None:
        if not isinstance(self.critic_layers, list | tuple):
            raise TacitError(f"learner.critic_layers must be a list of layer widths, not {self.critic_layers!r}")
        layers = tuple(whole_number("learner.critic_layers", width, 1) for width in self.critic_layers)
        object.__setattr__(self, "critic_layers", layers)
        one_of("learner.critic_sees", self.critic_sees, get_args(CriticSees))
        own = self.game.observer(self.observer)
        features = jax.eval_shape(self._features_of_actor, jax.ShapeDtypeStruct((own.size,), own.dtype))
        if features.ndim != 1:
            raise TacitError(
                f"a centralised critic needs a policy that is a network, with features in a vector, not {self.policy}"
            )
        super().__post_init__()

    @property
    def actor_critic(self) -> "CentralisedCritic":
        """The policy as the actor, with a separate critic."""
        own = self.game.observer(self.observer)
        return CentralisedCritic(self.policy, own.size, self.seen.size, self.critic_layers)

    @property
    def seen(self) -> Observer:
        """The critic's observer, whose observation begins with the actor's."""
        own = self.game.observer(self.observer)
        return own if self.critic_sees == "own" else observer_of_all(self.game, self.observer)

    def agent_params(self, state: ppo.PPOState) -> Any:
        """The actor's parameters: those of the policy, without the centralised critic."""
        return state.params["actor"]

    def with_agent_params(self, state: ppo.PPOState, params: Any) -> ppo.PPOState:
        """An initial state whose actor plays with `params`; the critic stays as it is."""
        return state._replace(params={**state.params, "actor": params})

    def _features_of_actor(self, observation: Array) -> Array:
        params = self.policy.init(key=jax.random.key(0))
        percept = self.policy.perceive(params, observation)
        return self.policy.remember(params, self.policy.initial_memory(), percept)[1]


def observer_of_all(game: Game, name: str) -> Observer:
    """All players' observations of the observer `name`: the player's own first, then the others' in seat order."""
    one = game.observer(name)

    def encode(state: Any, player: Array) -> Array:
        seats = jnp.arange(game.num_players - 1, dtype=jnp.int32)
        others = seats + (seats >= player).astype(jnp.int32)
        everybody = jnp.concatenate([jnp.asarray(player, jnp.int32)[None], others])
        return jax.vmap(one.encode, (None, 0))(state, everybody).reshape(-1)

    def symmetry(symmetry: Symmetry, observation: Array) -> Array:
        """For symmetries that leave the players where they are."""
        parts = observation.reshape(game.num_players, -1)
        return jax.vmap(lambda part: one.symmetry(symmetry, part))(parts).reshape(-1)

    layout = Layout.of([(f"{name} of all", {"player": game.num_players, "entry": one.size}, "own, then seat by seat")])
    return Observer(f"{name} of all", layout, one.dtype, encode, symmetry)


@final
@dataclasses.dataclass(frozen=True)
class CentralisedCritic:
    """A policy for training: an actor that sees the first entries of an observation, a separate critic that sees all.

    Its features are the actor's, followed by the observation.

    Attributes:
      actor: the policy that is learned.
      own: entries of the player's own observation, with which the critic's begins.
      every: entries of the critic's observation.
      layers: widths of the critic's hidden layers (ReLU, float32).
    """

    actor: Any  # ActorCritic
    own: int
    every: int
    layers: tuple[int, ...]

    @property
    def memory_clock(self) -> Literal["every_step", "own_turns"]:
        return self.actor.memory_clock

    def init(self, *, key: Array) -> dict[str, Any]:
        actor_key, critic_key = jax.random.split(key)
        critic = self._critic().init(critic_key, jnp.zeros(self.every, jnp.float32))["params"]
        return {"actor": self.actor.init(key=actor_key), "critic": critic}

    def initial_memory(self) -> Any:
        return self.actor.initial_memory()

    def apply(self, params: Any, memory: Any, observation: Array, legal: Array) -> tuple[Any, Array]:
        return apply_in_parts(self, params, memory, observation, legal)

    def perceive(self, params: Any, observation: Array) -> tuple[Any, Array]:
        return self.actor.perceive(params["actor"], observation[: self.own]), observation.astype(jnp.float32)

    def remember(self, params: Any, memory: Any, percept: tuple[Any, Array]) -> tuple[Any, Array]:
        memory, features = self.actor.remember(params["actor"], memory, percept[0])
        return memory, jnp.concatenate([features, percept[1]])

    def replay(self, params: Any, memories: Any, percepts: tuple[Any, Array], moves: Array, done: Array) -> Array:
        features = self.actor.replay(params["actor"], memories, percepts[0], moves, done)
        return jnp.concatenate([features, percepts[1]], axis=-1)

    def act(self, params: Any, features: Array, legal: Array) -> Array:
        return self.actor.act(params["actor"], features[: -self.every], legal)

    def value(self, params: Any, features: Array) -> Array:
        return self._critic().apply({"params": params["critic"]}, features[-self.every :])  # type: ignore[return-value]

    def _critic(self) -> "_Critic":
        return _Critic(self.layers)


class _Critic(nn.Module):
    """Orthogonal kernels of gain sqrt 2, 1 for the value; zero biases."""

    layers: tuple[int, ...]

    @nn.compact
    def __call__(self, observation: Array) -> Array:
        layers = [dense(width, math.sqrt(2), "float32") for width in self.layers]
        return jnp.squeeze(dense(1, 1.0, "float32")(hidden(layers, "relu", observation)), axis=-1)
