"""Any tabular game as a `Game`, so that sampled learners and sampled cross-play run on it.

An agent whose last observation leaves it a single legal action is not acting: it gives the no-op, and the simulator
plays that action for it. Everybody who acts does so at the same time. A game always lasts `horizon` steps.

Rewards are those of the sampled transition, r(joint action, s, s', joint observation), already multiplied by γ^t: the
sum of a game's rewards is the return whose mean the exact objective gives. A learner that is to maximise it uses a
discount of its own of 1, the default in such games (`Game.discounted`).
"""

# Why: see the attributes of `games.game.Game`.
# pyright: reportIncompatibleVariableOverride=false

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np

from games.errors import TacitError, whole_number
from games.game import Array, Game, Layout, Observer
from games.tabular import histories
from games.tabular.dec_pomdp import DecPOMDP

MOST_HISTORIES = 100_000
"""The most entries of the observer `history`."""


class TabularState(NamedTuple):
    """A hidden state and what everybody did and saw; n agents, column t of a table is what came with step t.

    "None" has the index after the last: the most actions, or the most observations, of an agent.
    """

    state: Array  # int32[]
    step: Array  # int32[] steps played so far
    actions: Array  # int32[n, horizon + 1] own actions, the one of step t (from 0) in column t + 1; first none
    observations: Array  # int32[n, horizon + 1] the initial observation or none, then the one after each step
    ended: Array  # bool[]
    illegal: Array  # bool[]


@final
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Simulator(Game):
    """`horizon` steps of a Dec-POMDP. Two simulators are equal if label, horizon and all numbers of the tables are.

    Attributes:
      problem: the tables.
      horizon: steps of a game.
      label: how the game is called.
      known_optimum: the best expected return that is known for this horizon, if any.

    Raises:
      TacitError: if the horizon is not a whole number of at least 1.
    """

    seats_differ: ClassVar[bool] = True
    discounted: ClassVar[bool] = True
    version_of_rules: ClassVar[str] = "tabular-1"
    """Changes with the rules of this module; `version` adds the tables."""

    problem: DecPOMDP
    horizon: int
    label: str
    known_optimum: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "horizon", whole_number("horizon", self.horizon, 1))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Simulator) and (self.label, self.version) == (other.label, other.version)

    def __hash__(self) -> int:
        return hash((self.label, self.version))

    def __repr__(self) -> str:
        tables = self.problem
        actions, observations = ("x".join(map(str, sizes)) for sizes in (tables.num_actions, tables.num_observations))
        return (
            f"{self.label}(horizon={self.horizon}, agents={tables.num_agents}, states={tables.num_states}, "
            f"actions={actions}, observations={observations}, discount={tables.discount:g}, "
            f"tables={self.version[-8:]})"
        )

    @property
    def name(self) -> str:
        return self.label

    @functools.cached_property
    def version(self) -> str:
        """The version of the rules and eight hexadecimal digits of a digest of the horizon and of all tables."""
        problem, digest = self.problem, hashlib.sha256()
        sizes = (self.horizon, problem.discount, problem.num_actions, problem.num_observations)
        digest.update(repr(sizes).encode())
        tables = [problem.start, problem.transition, problem.observation, problem.reward, problem.initial_observation]
        for table in (*tables, *(problem.legal or ())):
            digest.update(b"none" if table is None else f"{table.shape}".encode() + table.tobytes())
        return f"{self.version_of_rules}-{digest.hexdigest()[:8]}"

    @functools.cached_property
    def tree(self) -> histories.Tree:
        """All action-observation histories, numbered; built on demand.

        Raises:
          TacitError: if they do not fit into memory.
        """
        return histories.build(self.problem, self.horizon)

    @property
    def num_players(self) -> int:
        return self.problem.num_agents

    @property
    def num_actions(self) -> int:
        return max(self.problem.num_actions) + 1

    @functools.cached_property
    def max_acting(self) -> int:
        return max(1, max(int(acts.sum(1).max()) for acts in self._who_acts))

    @functools.cached_property
    def cyclic(self) -> bool:
        players = np.arange(self.num_players)
        return all((acts == (players == t % self.num_players)).all() for t, acts in enumerate(self._who_acts))

    @functools.cached_property
    def score_range(self) -> tuple[float, float]:
        return 0.0 - self._greatest_return(-self.problem.reward), self._greatest_return(self.problem.reward)

    @functools.cached_property
    def observers(self) -> Mapping[str, Observer]:  # pyright: ignore[reportIncompatibleMethodOverride] (kept, once made)
        """`last`: the time and the player's last action and observation. `history`: all of them, as one index.

        `history` is built on demand.

        Raises:
          TacitError: on asking for `history` of a game with too many histories.
        """
        return _Observers({"last": lambda: self._last, "history": lambda: self._history})

    def init(self, *, key: Array) -> TabularState:
        state_key, observation_key = jax.random.split(key)
        state = _draw(self.problem.start, (), state_key)
        joint = self.num_players, self.horizon + 1
        seen = jnp.full(joint, self._no_observation, jnp.int32)
        if self.problem.initial_observation is not None:
            first = _draw(self.problem.initial_observation, (state,), observation_key)
            seen = seen.at[:, 0].set(_constant(self.problem.joint_observations)[first])
        return TabularState(
            state=state,
            step=jnp.int32(0),
            actions=jnp.full(joint, self.noop, jnp.int32),
            observations=seen,
            ended=jnp.bool_(False),
            illegal=jnp.bool_(False),
        )

    def transition(self, state: TabularState, actions: Array, *, key: Array) -> tuple[TabularState, Array]:
        problem, step, here = self.problem, state.step, state.state
        state_key, observation_key = jax.random.split(key)
        only = jnp.argmax(self._legal_now(state), axis=1).astype(jnp.int32)
        actions = jnp.where(actions == self.noop, only, actions)
        strides = np.cumprod([1, *problem.num_actions[:0:-1]])[::-1]
        joint_action = jnp.sum(actions * jnp.asarray(strides, jnp.int32), dtype=jnp.int32)
        there = _draw(problem.transition, (joint_action, here), state_key)
        seen = _draw(problem.observation, (joint_action, there), observation_key)
        rewards = jnp.asarray(problem.reward, jnp.float32)
        reward = rewards[joint_action, here, min(1, rewards.shape[2] - 1) * there, min(1, rewards.shape[3] - 1) * seen]
        discounts = jnp.asarray(problem.discount ** np.arange(self.horizon), jnp.float32)
        after = state._replace(
            state=there,
            step=step + 1,
            actions=state.actions.at[:, step + 1].set(actions),
            observations=state.observations.at[:, step + 1].set(_constant(problem.joint_observations)[seen]),
            ended=step + 1 >= self.horizon,
        )
        return after, reward * discounts[step]

    def acting(self, state: TabularState) -> tuple[Array, Array]:
        chooses = (jnp.sum(self._legal_now(state), axis=1, dtype=jnp.int32) > 1) & ~state.ended
        players = jnp.argsort(~chooses, stable=True)[: self.max_acting].astype(jnp.int32)
        return players, chooses[players]

    def legal_when_acting(self, state: TabularState, player: Array) -> Array:
        return self._legal_now(state)[player]

    def action_name(self, action: int) -> str:
        """An action in words; where agents have different names for it, all of them with a slash between."""
        if action == self.noop:
            return "no-op"
        names = dict.fromkeys(own[action] for own in self.problem.actions if 0 <= action < len(own))
        return "/".join(names) or "no such action"

    @property
    def _no_observation(self) -> int:
        return max(self.problem.num_observations)

    def _legal_now(self, state: TabularState) -> Array:
        """bool[n, num_actions]: what the tables allow each agent, `noop` False."""
        seen = state.observations[:, state.step]
        return jnp.asarray(self._legal)[jnp.arange(self.num_players, dtype=jnp.int32), seen]

    @functools.cached_property
    def _legal(self) -> np.ndarray:
        """bool[n, max observations + 1, num_actions]: legal actions after each observation, and after none (last)."""
        problem = self.problem
        allowed = np.zeros((self.num_players, self._no_observation + 1, self.num_actions), np.bool_)
        for agent, (actions, observations) in enumerate(
            zip(problem.num_actions, problem.num_observations, strict=True)
        ):
            allowed[agent, :, :actions] = True
            if problem.legal is not None:
                allowed[agent, :observations, :actions] = problem.legal[agent]
        return allowed

    @functools.cached_property
    def _joint_legal(self) -> np.ndarray:
        """bool[JO or 1, JA]: which joint actions are legal after each joint observation; one row if all are always."""
        if self.problem.legal is None:
            return np.ones((1, len(self.problem.joint_actions)), np.bool_)
        seen, actions = self.problem.joint_observations, self.problem.joint_actions
        own = [mask[seen[:, agent]][:, actions[:, agent]] for agent, mask in enumerate(self.problem.legal)]
        return np.logical_and.reduce(own)

    @functools.cached_property
    def _who_acts(self) -> list[np.ndarray]:
        """For each step the sets of agents that may act together in it, bool[number of sets, n]."""
        problem, joint_legal = self.problem, self._joint_legal
        agents = np.arange(self.num_players)
        chooses = self._legal.sum(2) > 1  # [n, max observations + 1]
        by_observation = chooses[agents, problem.joint_observations]  # [JO, n]
        moves, shows = problem.transition > 0, problem.observation > 0
        if problem.initial_observation is None:
            sets = [chooses[None, :, -1]]
            played = np.tile(problem.start[:, None] > 0, (1, len(moves)))
        else:
            possible = (problem.start[:, None] > 0) & (problem.initial_observation > 0)  # [S, JO]
            sets = [by_observation[possible.any(0)]]
            played = _any_product(possible, joint_legal)
        while len(sets) < self.horizon:
            # played[s, a]: joint action a may be played in state s at this step.
            entered = np.any(played.T[:, :, None] & moves, axis=1)  # [JA, S']
            possible = np.any(entered[:, :, None] & shows, axis=0)  # [S', JO]
            sets.append(by_observation[possible.any(0)])
            played = _any_product(possible, joint_legal)
        return [np.unique(together, axis=0) for together in sets]

    def _greatest_return(self, reward: np.ndarray) -> float:
        """The greatest discounted sum of `reward` [JA, S, S or 1, JO or 1], over chance and play."""
        problem = self.problem
        moves, shows = problem.transition > 0, problem.observation > 0
        value = np.zeros((problem.num_states, 1))  # of being in s' having seen each joint observation, [S, JO or 1]
        everything = np.full(problem.num_states, -np.inf)
        for _ in range(self.horizon):
            if reward.shape[3] == 1:
                after = np.where(shows, value[None], -np.inf).max(2)  # [JA, S']
                total = reward[..., 0] + problem.discount * after[:, None]
            else:
                total = np.where(shows[:, None], reward + problem.discount * value[None, None], -np.inf).max(3)
            of_action = np.where(moves, total, -np.inf).max(2)  # [JA, S]
            everything = of_action.max(0)
            value = np.stack([of_action[legal].max(0) for legal in self._joint_legal], axis=1)
        if problem.initial_observation is None:
            return float(everything[problem.start > 0].max())
        possible = (problem.start[:, None] > 0) & (problem.initial_observation > 0)
        return float(np.where(possible, value, -np.inf).max())

    @functools.cached_property
    def _stacked_histories(self) -> tuple[np.ndarray, np.ndarray]:
        """The histories' numbers in tables for all agents, -1 where there is none.

        int32[n, max observations + 1], the first history by initial observation (last: none), and
        int32[n, most histories, max actions, max observations], the next one.
        """
        agents = self.tree.agents
        most = max(own.size for own in agents)
        root = np.full((len(agents), self._no_observation + 1), -1, np.int32)
        child = np.full((len(agents), most, self.noop, self._no_observation), -1, np.int32)
        for agent, own in enumerate(agents):
            size, actions, observations = own.child.shape
            child[agent, :size, :actions, :observations] = own.child
            if self.problem.initial_observation is None:
                root[agent, -1] = own.root[0]
            else:
                root[agent, :observations] = own.root
        return root, child

    @functools.cached_property
    def _last(self) -> Observer:
        layout = Layout.of(
            [
                ("time", {"step": self.horizon}, "steps played so far"),
                ("action", {"action": self.num_actions}, "the player's own last action; the last entry: none yet"),
                (
                    "observation",
                    {"observation": self._no_observation + 1},
                    "the player's last observation; the last entry: none yet",
                ),
            ]
        )

        def encode(state: TabularState, player: Array) -> Array:
            own = [state.step, state.actions[player, state.step], state.observations[player, state.step]]
            parts = [
                jax.nn.one_hot(index, section.size, dtype=jnp.bool_)
                for index, section in zip(own, layout.sections, strict=True)
            ]
            return jnp.concatenate(parts)

        return Observer("last", layout, jnp.bool_, encode, _trivial)

    @functools.cached_property
    def _history(self) -> Observer:
        bound = max(_most_histories(self.problem, agent, self.horizon) for agent in range(self.num_players))
        if bound > MOST_HISTORIES:
            raise TacitError(
                f"observer 'history' of game {self.label!r} would need up to {bound:.0f} entries at horizon "
                f"{self.horizon}, and at most {MOST_HISTORIES} are possible; observer 'last' has no such limit"
            )
        root, child = self._stacked_histories
        layout = Layout.of([("history", {"index": child.shape[1]}, "the player's whole action-observation history")])

        def encode(state: TabularState, player: Array) -> Array:
            def follow(step: Array, index: Array) -> Array:
                after = jnp.asarray(child)[
                    player, index, state.actions[player, step + 1], state.observations[player, step + 1]
                ]
                return jnp.where((step < state.step) & (index >= 0), after, index)

            first = jnp.asarray(root)[player, state.observations[player, 0]]
            index = jax.lax.fori_loop(jnp.int32(0), jnp.int32(self.horizon), follow, first)
            return jax.nn.one_hot(index, layout.size, dtype=jnp.bool_)  # all False once the game is over

        return Observer("history", layout, jnp.bool_, encode, _trivial)


class _Observers(Mapping[str, Observer]):
    """Observers that are made on demand."""

    def __init__(self, makers: dict[str, Callable[[], Observer]]) -> None:
        self._makers = makers

    def __getitem__(self, name: str) -> Observer:
        return self._makers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


def _most_histories(problem: DecPOMDP, agent: int, horizon: int) -> float:
    """How many histories an agent has if everything that it may do can be followed by every observation."""
    actions, observations = problem.num_actions[agent], problem.num_observations[agent]
    choices = np.full(observations, actions) if problem.legal is None else problem.legal[agent].sum(1)
    first = problem.initial_observation is None
    total, newest = (1.0, float(actions)) if first else (float(observations), float(choices.sum()))
    for _ in range(horizon - 1):  # `newest`: histories of a stage times the actions that are legal after each
        total += newest * observations
        newest *= float(choices.sum())
    return total


def _any_product(possible: np.ndarray, legal: np.ndarray) -> np.ndarray:
    """bool[S, JA]: the joint actions that may be played where `possible` [S, JO], by `legal` [JO or 1, JA]."""
    if len(legal) == 1:
        return np.any(possible, axis=1, keepdims=True) & legal
    return np.greater(possible.astype(np.float32) @ legal.astype(np.float32), 0)


def _constant(table: np.ndarray) -> Array:
    return jnp.asarray(table, jnp.int32)


def _draw(table: np.ndarray, row: tuple[Array, ...], key: Array) -> Array:
    """int32[]: an index by inverting the distribution function of a row of `table`; never one of probability 0."""
    if (table.max(-1) == 1).all():
        return _constant(table.argmax(-1))[row]
    sums = np.cumsum(table, axis=-1)
    cumulative = jnp.asarray(sums / sums[..., -1:], jnp.float32)[row]  # its last entry is exactly 1
    return jnp.argmax(cumulative > jax.random.uniform(key, (), jnp.float32)).astype(jnp.int32)


def _trivial(symmetry: Any, observation: Array) -> Array:
    del symmetry
    return observation
