"""The common mechanism of all structures: a tabular game whose steps are interleaved with steps of other kinds.

A structure is a short list of functions (`Rules`) on *points* of the new game. A point is where the original game
stands (`Core`: how many of its steps were played, its state, what everybody observed last) together with a phase, which
is the structure's own. At every step the rules say what each agent may do; what phase follows, with what probability;
and, if this step carries out a joint action of the original game, which one. The rest is the same for all and is here:

- **States and tables.** Only the points that legal play reaches within the horizon become states, only actions that are
  somewhere legal become actions, and only what is seen becomes observations. Whatever follows the last step is one
  absorbing state. A game that does not fit into memory is refused while its points are being counted.
- **Observations.** The original observation that was drawn is part of the state, so that it can be shown again: an
  agent's new observation is its last original one together with what the structure adds, and legal-action masks, which
  depend on the last observation alone, stay right. What an agent knows from its own history is not shown to it again.
- **Time and discount.** A structure adds `delay` steps before the first original step, and plays every original step in
  a block of `pace` steps. The new discount is γ^(1 / pace), and a reward of original step t is multiplied by what makes
  it count γ^t, at whatever new step it is paid: added steps cost nothing. (Entropies of policies in J_α are discounted
  by the new step, like any other.) With γ = 0 that cannot be expressed, and the structure is refused.
- **Rewards** are the expected ones given state and joint action.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from games.errors import TacitError
from games.tabular.dec_pomdp import DecPOMDP
from games.tabular.simulator import Simulator

MEMORY_LIMIT = 1 << 30
"""Bytes that the tables of a transformed game may take."""


class Core(NamedTuple):
    """The situation of the original game."""

    step: int  # original steps played
    state: int
    seen: tuple[int, ...] | None  # the last joint observation; None: none yet


class Move(NamedTuple):
    """An action that the original game does not have."""

    name: str
    means: Any = None  # what it says to the others, if anything; hashable


Action = int | Move
Joint = tuple[Action, ...]
WAIT = Move("wait")


class Step(NamedTuple):
    """What a joint action of the new game does at a point."""

    phases: dict[Any, float]  # the next phase -> probability
    played: Joint | None = None  # the joint action of the original game that is carried out now, if any
    extra: float = 0.0  # reward beside that of `played`


class Rules(NamedTuple):
    """A structure. A phase is any hashable object; `rules.start` is the one of the first step."""

    start: Any
    legal: Callable[[int, Core, Any], Sequence[Action]]  # (agent, core, phase) -> what the agent may do
    step: Callable[[Core, Any, Joint], Step]
    # (agent, core, phase, joint action that led here or None) -> texts that the agent sees beside its observation.
    view: Callable[[int, Core, Any, Joint | None], tuple[str, ...]]
    delay: int = 0
    pace: int = 1


class Original:
    """The original game, with what structures need to know of it."""

    def __init__(self, game: Simulator) -> None:
        self.problem: DecPOMDP = game.problem
        self.horizon = game.horizon
        self.label = game.label
        self.agents = range(game.problem.num_agents)
        self._reward = game.problem.expected_reward

    def begins(self) -> dict[Core, float]:
        """Where the game can begin, with probabilities."""
        problem, first = self.problem, {}
        for state in np.flatnonzero(problem.start).tolist():
            if problem.initial_observation is None:
                first[Core(0, state, None)] = float(problem.start[state])
                continue
            row = problem.initial_observation[state]
            for seen in np.flatnonzero(row).tolist():
                first[Core(0, state, self._joint(seen))] = float(problem.start[state] * row[seen])
        return first

    def after(self, core: Core, played: Joint) -> dict[Core, float]:
        """Where a joint action leads, with probabilities; after the last step to one and the same place."""
        if core.step + 1 == self.horizon:
            return {Core(self.horizon, 0, None): 1.0}
        problem, number = self.problem, self._number(played)
        chances = problem.transition[number, core.state][:, None] * problem.observation[number]
        return {
            Core(core.step + 1, state, self._joint(seen)): float(chances[state, seen])
            for state, seen in np.argwhere(chances > 0).tolist()
        }

    def legal(self, agent: int, core: Core) -> tuple[int, ...]:
        """The actions that an agent may take in the original game."""
        everything = tuple(range(self.problem.num_actions[agent]))
        if core.seen is None or self.problem.legal is None:
            return everything
        return tuple(np.flatnonzero(self.problem.legal[agent][core.seen[agent]]).tolist())

    def joint_legal(self, core: Core) -> list[tuple[int, ...]]:
        """The joint actions that may be played in the original game."""
        return list(itertools.product(*(self.legal(agent, core) for agent in self.agents)))

    def reward(self, core: Core, played: Joint) -> float:
        """The expected reward of a joint action, undiscounted."""
        return float(self._reward[self._number(played), core.state])

    def says(self, agent: int, what: str) -> str:
        """What others see of an agent: "player0: claim item1"."""
        return f"{self.problem.agents[agent]}: {what}"

    def heard(self, agent: int, joint: Joint | None) -> tuple[str, ...]:
        """What the other agents have just said, for those moves that say something."""
        moves = [(other, move) for other, move in enumerate(joint or ()) if other != agent]
        return tuple(self.says(k, move.name) for k, move in moves if isinstance(move, Move) and move.means is not None)

    def _joint(self, seen: int) -> tuple[int, ...]:
        return tuple(self.problem.joint_observations[seen].tolist())

    def _number(self, played: Joint) -> int:
        return int(np.ravel_multi_index(originals(played), self.problem.num_actions))


def originals(joint: Joint) -> tuple[int, ...]:
    """A joint action that consists of original actions only."""
    return tuple(action for action in joint if isinstance(action, int))


def action_number(problem: DecPOMDP, agent: int, action: object, what: str) -> int | None:
    """The number of an agent's action that is given by name or number; None if the agent has none of that name.

    Raises:
      TacitError: if it is neither a name nor a number of an action of that agent.
    """
    names = problem.actions[agent]
    if isinstance(action, str):
        return names.index(action) if action in names else None
    if isinstance(action, int) and not isinstance(action, bool) and 0 <= action < len(names):
        return action
    raise TacitError(
        f"{what} must name actions of {problem.agents[agent]}, by name or by a number from 0 to {len(names) - 1}, "
        f"not {action!r}"
    )


def named(game: Simulator, structure: str, **arguments: object) -> str:
    """The label of a transformed game, such as "lever + cheap_talk(symbols=2, rounds=1)"; None is not shown."""
    given = {key: value for key, value in arguments.items() if value is not None}
    shown = [f"{key}={getattr(value, '__name__', value)}" for key, value in given.items()]
    return f"{game.label} + {structure}({', '.join(shown)})"


def check_joint_actions(label: str, *counts: int) -> None:
    """Refuse a game whose joint actions alone would fill the memory, before anything lists them.

    Args:
      label: of the transformed game.
      counts: how many actions agents have, or a part of the agents.

    Raises:
      TacitError: if one number for each joint action would take more than `MEMORY_LIMIT`.
    """
    if 8 * math.prod(counts) > MEMORY_LIMIT:
        raise TacitError(
            f"{label} is too large: agents would have {' x '.join(f'{count:,}' for count in counts)} joint actions, "
            f"whose tables exceed the limit of {MEMORY_LIMIT / 2**30:.3g} GiB"
        )


def transform(original: Original, rules: Rules, label: str) -> Simulator:
    """The game of `rules` around the original one, built for the points that can be reached.

    Raises:
      TacitError: if the tables would take more than `MEMORY_LIMIT` (found out before they are allocated); if the
        structure adds steps and the discount is 0.
    """
    gamma, horizon = original.problem.discount, rules.delay + rules.pace * original.horizon
    if gamma == 0 and horizon > original.horizon:
        raise TacitError(f"{label} adds steps, and with discount 0 no reward after the first step can be expressed")
    discount = gamma ** (1 / rules.pace)
    builder = _ProblemBuilder(original, rules, label)
    start = {(core, rules.start): chance for core, chance in original.begins().items()}
    first = [(builder.state(point), builder.add_view(point, None), chance) for point, chance in start.items()]
    layer = list(start)
    for time in range(horizon):
        following: dict[_Point, None] = {}  # an ordered set
        for point in layer:
            core, phase = point
            options = [tuple(rules.legal(agent, core, phase)) for agent in original.agents]
            state = builder.add_legal(point, options)
            for joint in itertools.product(*options):
                step = rules.step(core, phase, joint)
                reward, cores = step.extra, {core: 1.0}
                if step.played is not None:
                    reward += original.reward(core, step.played)
                    cores = original.after(core, step.played)
                scale = gamma**core.step / discount**time if gamma else 1.0  # without γ, no steps are added
                if time + 1 == horizon:
                    builder.moves[state, joint] = ({_END: 1.0}, reward * scale)
                    continue
                chances: dict[int, float] = {}
                for (place, chance), (then, share) in itertools.product(cores.items(), step.phases.items()):
                    target = (place, then)
                    following[target] = None
                    number = builder.state(target)
                    chances[number] = chances.get(number, 0.0) + chance * share
                    if (joint, number) not in builder.observed:
                        builder.observed[joint, number] = builder.add_view(target, joint)
                builder.moves[state, joint] = (chances, reward * scale)
        layer = list(following)
    return Simulator(builder.tables(first, discount), horizon, label)


_Point = tuple[Core, Any]
_END = 0
"""The number of the absorbing state, and of what everybody observes in it."""


class _ProblemBuilder:
    """Collects states, actions and observations as they are found, then makes the tables."""

    def __init__(self, original: Original, rules: Rules, label: str) -> None:
        self.original, self.rules, self.label = original, rules, label
        self.states: dict[_Point | None, int] = {None: _END}
        self.actions: list[dict[Action, None]] = [{} for _ in original.agents]  # ordered sets
        self.views: list[dict[object, int]] = [{None: _END} for _ in original.agents]
        self.legal: list[dict[int, tuple[Action, ...]]] = [{} for _ in original.agents]  # view -> actions
        self.shown: dict[int, set[tuple[int, ...]]] = {}  # state -> the joint views it comes with
        self.moves: dict[tuple[int, Joint], tuple[dict[int, float], float]] = {}  # -> (next states, reward)
        self.observed: dict[tuple[Joint, int], tuple[int, ...]] = {}  # (joint action, next state) -> joint view

    def state(self, point: _Point) -> int:
        if point not in self.states:
            self.states[point] = len(self.states)
            self._check_size()
        return self.states[point]

    def add_view(self, point: _Point, joint: Joint | None) -> tuple[int, ...]:
        """What everybody observes on coming to a point."""
        core, phase = point
        seen = []
        for agent, views in enumerate(self.views):
            own = None if core.seen is None else core.seen[agent]
            view = (own, self.rules.view(agent, core, phase, joint))
            seen.append(views.setdefault(view, len(views)))
        self.shown.setdefault(self.states[point], set()).add(tuple(seen))
        return tuple(seen)

    def add_legal(self, point: _Point, options: list[tuple[Action, ...]]) -> int:
        """Note what everybody may do at a point, and return the number of its state."""
        state = self.states[point]
        for agent, choices in enumerate(options):
            for seen in self.shown[state]:
                assert self.legal[agent].setdefault(seen[agent], choices) == choices, "legal actions are not seen"
            self.actions[agent].update(dict.fromkeys(choices))
        self._check_size()
        return state

    def tables(self, first: list[tuple[int, tuple[int, ...], float]], discount: float) -> DecPOMDP:
        """The game. `first`: (state, joint view, probability) of all that it can begin with."""
        self._check_size()
        problem = self.original.problem
        # Original actions in their order, then the structure's in the order in which they came up.
        ordered = [sorted(a for a in own if isinstance(a, int)) for own in self.actions]
        actions = [
            [*old, *(a for a in own if isinstance(a, Move))] for old, own in zip(ordered, self.actions, strict=True)
        ]
        numbers = [{action: number for number, action in enumerate(own)} for own in actions]
        sizes = tuple(len(views) for views in self.views)
        count, joint_actions, joint_observations = len(self.states), math.prod(map(len, actions)), math.prod(sizes)
        # Impossible entries of the tables lead to the absorbing state.
        start, opening = np.zeros(count), np.zeros((count, joint_observations))
        transition = np.zeros((joint_actions, count, count))
        observation = np.zeros((joint_actions, count, joint_observations))
        reward = np.zeros((joint_actions, count, 1, 1))
        opening[:, _END] = transition[:, :, _END] = observation[:, :, _END] = 1.0
        for state, seen, chance in first:
            start[state] = chance
            opening[state, _END] = 0.0
            opening[state, np.ravel_multi_index(seen, sizes)] = 1.0
        index = {joint: self._index(joint, numbers) for joint in {joint for _, joint in self.moves}}
        for (state, joint), (chances, paid) in self.moves.items():
            transition[index[joint], state, _END] = 0.0
            for target, chance in chances.items():
                transition[index[joint], state, target] = chance
            reward[index[joint], state] = paid
        for (joint, state), seen in self.observed.items():
            observation[index[joint], state, _END] = 0.0
            observation[index[joint], state, np.ravel_multi_index(seen, sizes)] = 1.0
        legal = tuple(np.ones((size, len(own)), np.bool_) for size, own in zip(sizes, actions, strict=True))
        for mask, views, known in zip(legal, self.legal, numbers, strict=True):
            for view, choices in views.items():
                mask[view] = False
                mask[view, [known[action] for action in choices]] = True
        return DecPOMDP(
            agents=problem.agents,
            states=_distinct([self._state_name(point) for point in self.states]),
            actions=tuple(_distinct([_name(a, problem.actions[k]) for a in own]) for k, own in enumerate(actions)),
            observations=tuple(
                _distinct([_view_name(view, problem.observations[k]) for view in own])
                for k, own in enumerate(self.views)
            ),
            discount=discount,
            start=start,
            transition=transition,
            observation=observation,
            reward=reward,
            initial_observation=opening,
            legal=legal,
        )

    def _check_size(self) -> None:
        joint_actions = math.prod(max(1, len(own)) for own in self.actions)
        joint_observations = math.prod(map(len, self.views))
        states = len(self.states)
        needed = 8 * joint_actions * states * (states + joint_observations + 1)
        if needed > MEMORY_LIMIT:
            raise TacitError(
                f"{self.label} is too large: its tables would take at least {needed / 2**30:.3g} GiB ({states:,} "
                f"states, {joint_actions:,} joint actions and {joint_observations:,} joint observations or more), and "
                f"the limit is {MEMORY_LIMIT / 2**30:.3g} GiB"
            )

    def _index(self, joint: Joint, numbers: list[dict[Action, int]]) -> int:
        own = tuple(known[action] for known, action in zip(numbers, joint, strict=True))
        return int(np.ravel_multi_index(own, tuple(map(len, numbers))))

    def _state_name(self, point: _Point | None) -> str:
        if point is None:
            return "end"
        core, problem = point[0], self.original.problem
        names = [f"step {core.step}", problem.states[core.state]]
        if core.seen is not None:
            names += [own[seen] for own, seen in zip(problem.observations, core.seen, strict=True)]
        return ", ".join(names)


def _name(action: Action, names: Sequence[str]) -> str:
    return names[action] if isinstance(action, int) else action.name


def _view_name(view: Any, names: Sequence[str]) -> str:
    """An observation in words, for example "hear-left; player1: say 0"."""
    if view is None:
        return "end"
    own, texts = view
    parts = [*texts] if own is None else [names[own], *texts]
    return "; ".join(parts) or "start"


def _distinct(names: list[str]) -> tuple[str, ...]:
    """The names, made unique: a repeated one gets a number."""
    result: dict[str, None] = {}
    for name in names:
        number, unique = 1, name
        while unique in result:
            number += 1
            unique = f"{name} #{number}"
        result[unique] = None
    return tuple(result)
