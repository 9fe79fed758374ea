"""A policy of a tabular game as a table: logits and a value for every action-observation history.

The memory is the number of the player's history; each step's own action and observation update it. So learners on
sampled games and the exact core have the same class of policies.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np

from games.errors import TacitError
from games.game import Game
from games.tabular.simulator import Simulator
from marl.agent import Agent, Kind
from marl.policies.policy import Array, apply_in_parts, masked_log_softmax

OBSERVER = "last"
"""The observer of this policy."""


class Numbering(NamedTuple):
    """One numbering of the histories of all agents, stage by stage: equal histories of two agents have one number.

    H histories, A and O the most actions and observations of an agent.
    """

    of_agent: tuple[np.ndarray, ...]  # for each agent int64[its histories], the number here of each of `Tree.agents`
    root: np.ndarray  # int32[O + 1] the first history by initial observation, the last entry: none; -1 where impossible
    child: np.ndarray  # int32[H, A, O] the next history; -1 where impossible or beyond the horizon


@final
@dataclasses.dataclass(frozen=True)
class Tabular:
    """Free logits and values; the table has a row for every history that some agent of the game can have.

    Without parameter sharing each seat has its own table, of which it uses the rows of its own histories.

    Attributes:
      game: a tabular game.
      observation_size: only checked: this policy sees the game through the observer `last`.

    Raises:
      TacitError: for a game that is not tabular, another observer, or histories that do not fit into memory.
    """

    game: Game
    observation_size: dataclasses.InitVar[int | None] = None

    def __post_init__(self, observation_size: int | None) -> None:
        if not isinstance(self.game, Simulator):
            raise TacitError(f"a tabular policy needs a tabular game, and {self.game.name!r} is none")
        if observation_size not in (None, self.game.observer(OBSERVER).size):
            raise TacitError(f"policy.observer of a tabular policy must be {OBSERVER!r}")
        numbering(self.game)

    def misfit(self, game: Game) -> str:
        """Why this policy cannot play `game`, or "": its rows are the histories of its own game."""
        own = self._numbering
        if isinstance(game, Simulator) and all(map(np.array_equal, own[1:], numbering(game)[1:])):
            return ""
        return f"its table is of the histories of {self.game.name} with horizon {self.game.horizon}"

    @property
    def memory_clock(self) -> Literal["every_step"]:
        return "every_step"

    def init(self, *, key: Array) -> dict[str, Array]:
        """Normal logits float32[histories, num_actions] of standard deviation 0.01, values float32[histories] of 0."""
        size = len(self._numbering.child)
        return {
            "logits": 0.01 * jax.random.normal(key, (size, self.game.num_actions), jnp.float32),
            "value": jnp.zeros(size, jnp.float32),
        }

    def initial_memory(self) -> Array:
        """int32[]: a placeholder, which the first step replaces."""
        return jnp.int32(0)

    def apply(self, params: Any, memory: Array, observation: Array, legal: Array) -> tuple[Array, Array]:
        return apply_in_parts(self, params, memory, observation, legal)

    def perceive(self, params: Any, observation: Array) -> tuple[Array, Array, Array]:
        """The player's last action, what was seen after it (int32[] each), and whether it is the first step."""
        del params
        layout = self.game.observer(OBSERVER).layout
        action, seen = (jnp.argmax(observation[layout[name]]).astype(jnp.int32) for name in ("action", "observation"))
        return action, seen, observation[layout["time"].start]

    def remember(self, params: Any, memory: Array, percept: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        """The memory and the features, int32[] each: both are the player's history's number, a row of the table."""
        del params
        action, seen, is_first = percept
        tables = self._numbering
        first, later = jnp.asarray(tables.root)[seen], jnp.asarray(tables.child)[memory, action, seen]
        history = jnp.where(is_first, first, later)
        return history, history

    def act(self, params: Any, features: Array, legal: Array) -> Array:
        return masked_log_softmax(params["logits"][features], legal)

    def value(self, params: Any, features: Array) -> Array:
        return params["value"][features]

    @property
    def _numbering(self) -> Numbering:
        assert isinstance(self.game, Simulator)
        return numbering(self.game)


@functools.lru_cache(maxsize=16)
def numbering(game: Simulator) -> Numbering:
    """Number the histories of all agents of a game together.

    Raises:
      TacitError: if the histories do not fit into memory.
    """
    agents = game.tree.agents
    most_actions, most_observations = game.noop, max(game.problem.num_observations)
    of_agent = [np.zeros(own.size, np.int64) for own in agents]
    size = 0
    for stage in range(game.horizon):
        codes = []
        for own, numbers in zip(agents, of_agent, strict=True):
            here = own.stage(stage)
            if stage == 0:
                codes.append(np.where(own.observation[here] < 0, most_observations, own.observation[here]))
            else:
                row = numbers[own.parent[here]] * most_actions + own.action[here]
                codes.append(row * most_observations + own.observation[here])
        different = np.unique(np.concatenate(codes))
        for own, numbers, code in zip(agents, of_agent, codes, strict=True):
            numbers[own.stage(stage)] = size + np.searchsorted(different, code)
        size += len(different)
    root = np.full(most_observations + 1, -1, np.int32)
    child = np.full((size, most_actions, most_observations), -1, np.int32)
    for own, numbers in zip(agents, of_agent, strict=True):
        first, later = np.arange(own.offsets[1]), np.arange(own.offsets[1], own.size)
        root[own.observation[first]] = numbers[first]  # no observation is -1, the last entry
        child[numbers[own.parent[later]], own.action[later], own.observation[later]] = numbers[later]
    return Numbering(tuple(of_agent), root, child)


def agent_of(game: Simulator, joint_policy: Sequence[np.ndarray], label: str) -> Agent:
    """A joint policy as an agent for cross-play: in seat i it plays the policy of agent i.

    Args:
      game: the game, whose `tree` numbers the histories.
      joint_policy: for each agent float[H, A] probabilities of its actions after each of its histories, 0 where
        illegal.
      label: how results call it.

    Raises:
      TacitError: if these are not distributions over the legal actions of this game's histories.
    """
    tables, agents = numbering(game), game.tree.agents
    if len(joint_policy) != len(agents):
        raise TacitError(f"a joint policy of {game.label!r} has {len(agents)} policies, not {len(joint_policy)}")
    logits = np.zeros((len(agents), len(tables.child), game.num_actions), np.float32)
    for agent, (own, policy) in enumerate(zip(agents, joint_policy, strict=True)):
        policy = np.asarray(policy, np.float64)
        if (
            policy.shape != own.legal.shape
            or not (policy >= 0).all()
            or policy[~own.legal].any()
            or not np.allclose(policy.sum(1), 1, rtol=0, atol=1e-6)
        ):
            raise TacitError(
                f"the policy of agent {game.problem.agents[agent]} must be of shape {own.legal.shape}, with a "
                "distribution over the legal actions in every row"
            )
        log_policy = np.log(policy, out=np.full(policy.shape, -np.inf), where=policy > 0)
        logits[agent, tables.of_agent[agent], : policy.shape[1]] = log_policy
    params = {"logits": jnp.asarray(logits), "value": jnp.zeros(logits.shape[:2], jnp.float32)}
    return Agent(Kind(Tabular(game), OBSERVER, share_parameters=False), params, label)
