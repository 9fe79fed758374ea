"""A tabular Dec-POMDP: dense tables for any number of agents, checked when it is made.

At every step each agent i chooses an action, the state moves by `transition`, everybody receives an observation and the
team one reward. Joint actions and joint observations are numbered in C order, the last agent fastest.

Every tabular game is of this one type. A matrix game has one state and is played to horizon 1. Private types, deals and
turns compile to it: a deal is the `initial_observation`, `legal` says whose turn it is (out of turn an agent has one
legal action), and a public action is the observation that follows it.
"""

import collections
import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, final

import numpy as np

from games.errors import TacitError

ROW_TOLERANCE = 1e-9
"""How far the probabilities of a row may sum from 1."""


@final
@dataclasses.dataclass(frozen=True, eq=False)
class DecPOMDP:
    """The tables of one Dec-POMDP. S states, n agents, JA joint actions, JO joint observations.

    Attributes:
      agents: names, one for each agent.
      states: names.
      actions: for each agent, the names of its actions.
      observations: for each agent, the names of its observations.
      discount: γ, 0 to 1.
      start: float64[S], the distribution of the first state.
      transition: float64[JA, S, S], P(s' | joint action, s).
      observation: float64[JA, S, JO], P(joint observation | joint action, s'), s' being the state afterwards.
      reward: float64[JA, S, S or 1, JO or 1], r(joint action, s, s', joint observation); an axis of length 1 says that
        the reward does not depend on it.
      initial_observation: float64[S, JO], P(joint observation | first state) of what agents see before they act; None:
        nothing.
      legal: for each agent bool[number of its observations, number of its actions], what it may do right after an
        observation; None: everything. Before any observation everything is legal.

    Raises:
      TacitError: naming the table and the row that is wrong.
    """

    agents: tuple[str, ...]
    states: tuple[str, ...]
    actions: tuple[tuple[str, ...], ...]
    observations: tuple[tuple[str, ...], ...]
    discount: float
    start: np.ndarray
    transition: np.ndarray
    observation: np.ndarray
    reward: np.ndarray
    initial_observation: np.ndarray | None = None
    legal: tuple[np.ndarray, ...] | None = None

    def __post_init__(self) -> None:
        for field in ("agents", "states"):
            object.__setattr__(self, field, tuple(map(str, getattr(self, field))))
        for field in ("actions", "observations"):
            object.__setattr__(self, field, tuple(tuple(map(str, names)) for names in getattr(self, field)))
        for field in ("start", "transition", "observation", "reward", "initial_observation"):
            if (table := getattr(self, field)) is not None:
                object.__setattr__(self, field, _frozen(field, table, np.float64))
        if self.legal is not None:
            object.__setattr__(self, "legal", tuple(_frozen("legal", mask, np.bool_) for mask in self.legal))
        self._check_names()
        self._check_tables()

    @property
    def num_agents(self) -> int:
        return len(self.agents)

    @property
    def num_states(self) -> int:
        return len(self.states)

    @property
    def num_actions(self) -> tuple[int, ...]:
        """How many actions each agent has."""
        return tuple(map(len, self.actions))

    @property
    def num_observations(self) -> tuple[int, ...]:
        """How many observations each agent has."""
        return tuple(map(len, self.observations))

    @functools.cached_property
    def joint_actions(self) -> np.ndarray:
        """int64[JA, n]: the action of each agent in each joint action."""
        return np.array(list(np.ndindex(*self.num_actions)), np.int64).reshape(-1, self.num_agents)

    @functools.cached_property
    def joint_observations(self) -> np.ndarray:
        """int64[JO, n]: the observation of each agent in each joint observation."""
        return np.array(list(np.ndindex(*self.num_observations)), np.int64).reshape(-1, self.num_agents)

    @functools.cached_property
    def expected_reward(self) -> np.ndarray:
        """float64[JA, S]: the mean reward of a joint action in a state, over what happens next."""
        observed = self.reward[..., 0]  # [JA, S, S' or 1]
        if self.reward.shape[3] > 1:
            observed = (self.reward * self.observation[:, None]).sum(-1)
        return observed[..., 0] if observed.shape[2] == 1 else (observed * self.transition).sum(-1)

    def replace(self, **fields: object) -> "DecPOMDP":
        """A copy with other fields, checked anew."""
        return dataclasses.replace(self, **fields)  # pyright: ignore[reportArgumentType]

    def same_tables(self, other: "DecPOMDP") -> bool:
        """Whether names, numbers and masks are all equal, bit for bit."""
        for field in dataclasses.fields(self):
            ours, theirs = getattr(self, field.name), getattr(other, field.name)
            if isinstance(ours, np.ndarray) or isinstance(theirs, np.ndarray):
                equal = ours is not None and theirs is not None and np.array_equal(ours, theirs)
            elif field.name == "legal" and ours is not None and theirs is not None:
                equal = len(ours) == len(theirs) and all(map(np.array_equal, ours, theirs))
            else:
                equal = ours == theirs
            if not equal:
                return False
        return True

    def joint_action_name(self, joint_action: int) -> str:
        """The name of a joint action, for example "listen,open-left"."""
        return _joint_name(self.joint_actions[joint_action], self.actions)

    def joint_observation_name(self, joint_observation: int) -> str:
        """The name of a joint observation, for example "hear-left,hear-right"."""
        return _joint_name(self.joint_observations[joint_observation], self.observations)

    def _check_names(self) -> None:
        if not self.agents:
            raise TacitError("a Dec-POMDP needs at least one agent")
        for what, per_agent in (("actions", self.actions), ("observations", self.observations)):
            if len(per_agent) != self.num_agents:
                raise TacitError(f"{what} must be given for each of {self.num_agents} agents, not for {len(per_agent)}")
        named = [("agents", self.agents), ("states", self.states)]
        for agent, actions, observations in zip(self.agents, self.actions, self.observations, strict=True):
            named += [(f"actions of agent {agent}", actions), (f"observations of agent {agent}", observations)]
        for what, names in named:
            if not names:
                raise TacitError(f"there must be at least one of the {what}")
            if repeated := [name for name, count in collections.Counter(names).items() if count > 1]:
                raise TacitError(f"the {what} must have different names, and {repeated[0]!r} stands twice")

    def _check_tables(self) -> None:
        states, joint_actions, joint_observations = (
            self.num_states, math.prod(self.num_actions), math.prod(self.num_observations)
        )  # fmt: skip
        expected = {
            "start": (states,),
            "transition": (joint_actions, states, states),
            "observation": (joint_actions, states, joint_observations),
        }
        if self.initial_observation is not None:
            expected["initial_observation"] = (states, joint_observations)
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise TacitError(f"{name} must be of shape {shape}, not {getattr(self, name).shape}")
        full = (joint_actions, states, states, joint_observations)
        if self.reward.shape[:2] != full[:2] or any(
            size not in (1, most) for size, most in zip(self.reward.shape[2:], full[2:], strict=True)
        ):
            raise TacitError(
                f"reward must be of shape {full}, with 1 for what it does not depend on, not {self.reward.shape}"
            )
        if not isinstance(self.discount, int | float) or not 0 <= self.discount <= 1:
            raise TacitError(f"discount must be a number from 0 to 1, not {self.discount!r}")
        object.__setattr__(self, "discount", float(self.discount))
        _check_rows(self.start[None], lambda row: "start")
        _check_rows(self.transition.reshape(-1, states), self._row_name("T", "state"))
        _check_rows(self.observation.reshape(-1, joint_observations), self._row_name("O", "next state"))
        if self.initial_observation is not None:
            _check_rows(self.initial_observation, lambda row: f"initial O, state {self.states[row]}")
        if not np.isfinite(self.reward).all():
            joint_action, state = np.argwhere(~np.isfinite(self.reward))[0][:2].tolist()
            raise TacitError(
                f"R[{self.joint_action_name(joint_action)}], state {self.states[state]}: rewards must be finite numbers"
            )
        self._check_legal()

    def _row_name(self, table: str, state: str) -> Callable[[int], str]:
        def name(row: int) -> str:
            joint_action, number = divmod(row, self.num_states)
            return f"{table}[{self.joint_action_name(joint_action)}], {state} {self.states[number]}"

        return name

    def _check_legal(self) -> None:
        if self.legal is None:
            return
        if len(self.legal) != self.num_agents:
            raise TacitError(f"legal must have a table for each of {self.num_agents} agents, not {len(self.legal)}")
        for agent, mask in enumerate(self.legal):
            shape = (self.num_observations[agent], self.num_actions[agent])
            if mask.shape != shape:
                raise TacitError(f"legal of agent {self.agents[agent]} must be of shape {shape}, not {mask.shape}")
            if not mask.any(1).all():
                observation = self.observations[agent][int(np.argmin(mask.any(1)))]
                raise TacitError(f"agent {self.agents[agent]} has no legal action after observation {observation}")


def from_functions(
    *,
    agents: Sequence[str],
    states: Sequence[str],
    actions: Sequence[Sequence[str]],
    observations: Sequence[Sequence[str]],
    discount: float,
    start: Iterable[float],
    transition: Callable[[int, tuple[int, ...]], dict[int, float]],
    observation: Callable[[tuple[int, ...], int], dict[tuple[int, ...], float]],
    reward: Callable[[int, tuple[int, ...]], float],
    initial_observation: Callable[[int], dict[tuple[int, ...], float]] | None = None,
    legal: Sequence[np.ndarray] | None = None,
) -> DecPOMDP:
    """A Dec-POMDP from functions of indices, filled in for every state and joint action.

    Args:
      agents, states, actions, observations, discount: as in `DecPOMDP`.
      legal: for each agent bool[O_i, A_i], as in `DecPOMDP`.
      start: probability of each first state.
      transition: (state, joint action) -> {next state: probability}.
      observation: (joint action, next state) -> {joint observation: probability}.
      reward: (state, joint action) -> reward.
      initial_observation: first state -> {joint observation: probability}.

    Raises:
      TacitError: as `DecPOMDP`, and if a function returns something else, naming it with the state and the actions.
    """
    joint_actions = list(itertools.product(*(range(len(names)) for names in actions)))
    sizes = tuple(len(names) for names in observations)
    count = len(states)
    t = np.zeros((len(joint_actions), count, count))
    o = np.zeros((len(joint_actions), count, math.prod(sizes)))
    r = np.zeros((len(joint_actions), count, 1, 1))
    for number, joint_action in enumerate(joint_actions):
        for state in range(count):
            acts = ",".join(str(own[action]) for own, action in zip(actions, joint_action, strict=True))
            where = f"of actions {acts} in state {states[state]}"
            given = transition(state, joint_action)
            for next_state, probability in _chances(f"transition {where}", given, (count,), _NEXT).items():
                t[number, state, next_state] += probability
            given = observation(joint_action, state)
            after = f"observation of actions {acts} and next state {states[state]}"
            for seen, probability in _chances(after, given, sizes, _SEEN).items():
                o[number, state, np.ravel_multi_index(seen, sizes)] += probability
            r[number, state] = _number(f"reward {where}", reward(state, joint_action))
    first = None
    if initial_observation is not None:
        first = np.zeros((count, math.prod(sizes)))
        for state in range(count):
            where = f"initial_observation of state {states[state]}"
            for seen, probability in _chances(where, initial_observation(state), sizes, _SEEN).items():
                first[state, np.ravel_multi_index(seen, sizes)] += probability
    return DecPOMDP(
        agents=tuple(agents),
        states=tuple(states),
        actions=tuple(map(tuple, actions)),
        observations=tuple(map(tuple, observations)),
        discount=discount,
        start=_table("start", list(start), np.float64),
        transition=t,
        observation=o,
        reward=r,
        initial_observation=first,
        legal=None if legal is None else tuple(legal),
    )


def matrix_game(payoffs: np.ndarray, agents: Sequence[str], actions: Sequence[Sequence[str]]) -> DecPOMDP:
    """A one-shot game with the same payoff for everybody, to be played to horizon 1.

    Args:
      payoffs: float64[A_1, ..., A_n].
      agents, actions: names.

    Raises:
      TacitError: for payoffs of another shape.

    >>> levers = matrix_game(np.eye(2), ["ann", "bob"], [["left", "right"]] * 2)
    >>> levers.num_actions, levers.num_observations
    ((2, 2), (1, 1))
    """
    payoffs, sizes = _table("payoffs", payoffs, np.float64), tuple(map(len, actions))
    joint_actions = payoffs.size
    if joint_actions != math.prod(sizes):
        raise TacitError(f"payoffs must be of shape {sizes}, the actions of each agent, not {payoffs.shape}")
    return DecPOMDP(
        agents=tuple(agents),
        states=("only",),
        actions=tuple(map(tuple, actions)),
        observations=(("nothing",),) * len(agents),
        discount=1.0,
        start=np.ones(1),
        transition=np.ones((joint_actions, 1, 1)),
        observation=np.ones((joint_actions, 1, 1)),
        reward=payoffs.reshape(-1, 1, 1, 1),
    )


_NEXT = "{next state: probability}, a state being its index"
_SEEN = "{joint observation: probability}, a joint observation being a tuple of an index for each agent"


def _chances(what: str, given: Any, sizes: tuple[int, ...], form: str) -> dict[Any, float]:
    """What a function gave, {index or tuple of indices: probability}, with every index below its size."""
    if not isinstance(given, Mapping):
        raise TacitError(f"{what} must be {form}, not {given!r}")
    for key in given:
        indices = (key,) if form is _NEXT else key
        if not isinstance(indices, tuple) or len(indices) != len(sizes) or not all(map(_below, indices, sizes)):
            ranges = ", ".join(f"0 to {size - 1}" for size in sizes)
            raise TacitError(f"{what} must be {form} ({ranges}), and {key!r} is none: {given!r}")
    return {key: _number(f"the probability of {key!r} in {what}", probability) for key, probability in given.items()}


def _below(index: Any, size: int) -> bool:
    return isinstance(index, int | np.integer) and 0 <= int(index) < size


def _number(what: str, value: Any) -> float:
    try:
        if isinstance(value, str) or np.ndim(value):
            raise TypeError
        return float(value)
    except (TypeError, ValueError) as error:
        raise TacitError(f"{what} must be a number, not {value!r}") from error


def _table(name: str, table: object, dtype: type) -> np.ndarray:
    try:
        return np.array(table, dtype)
    except (TypeError, ValueError) as error:
        raise TacitError(f"{name} must be an array of numbers, with rows of one length, not {table!r}") from error


def _frozen(name: str, table: object, dtype: type) -> np.ndarray:
    array = _table(name, table, dtype)
    array.setflags(write=False)
    return array


def _joint_name(joint: np.ndarray, names: tuple[tuple[str, ...], ...]) -> str:
    return ",".join(own[index] for own, index in zip(names, joint.tolist(), strict=True))


def _check_rows(rows: np.ndarray, name: Callable[[int], str]) -> None:
    """Every row of `rows` is a probability distribution."""
    bad = ~((rows >= 0).all(1) & (np.abs(rows.sum(1) - 1) <= ROW_TOLERANCE))  # also catches nan
    if not bad.any():
        return
    row = int(np.argmax(bad))
    if not np.isfinite(rows[row]).all() or (rows[row] < 0).any():
        wrong = next(value for value in rows[row].tolist() if not (math.isfinite(value) and value >= 0))
        raise TacitError(f"{name(row)}: a probability must be a number of at least 0, not {wrong:g}")
    raise TacitError(f"{name(row)}: probabilities sum to {rows[row].sum():.12g}, not 1")
