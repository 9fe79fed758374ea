"""Export of a tabular game to Gambit's extensive form (.efg), which OpenSpiel reads too.

The tree: chance draws the first state and what agents see before they act. At every stage the agents move one after
the other without seeing each other's moves; then chance draws the next state and the joint observation. The
information sets of an agent are its own action-observation histories. An agent with one legal action gets no node, and
neither does a chance move with one outcome. All agents receive the same payoff at the end,

    Σ_t γ^t (r(joint action, s) + Σ_i bonus(agent i, its history, its action)),

where r is the mean reward over what happens next, so that no chance move follows the last stage.

With the bonus −α log π(a | h) of a joint policy π (the "frozen payoff" game) the expected payoff of π is J_α(π), and π
is stationary for J_α exactly if no agent has regret at a reached history: being indifferent between all actions as to
r + continuation − α log π(a | h) is being the softmax of the soft action values.

Probabilities are printed exactly: as a ratio where all of a node's are ratios of numbers below 2^31, which is what
OpenSpiel reads, and else as decimals of 18 digits that sum to exactly 1.

Format: https://gambitproject.readthedocs.io, "Game representation formats".
"""

import decimal
import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from games.errors import TacitError, whole_number
from games.tabular.dec_pomdp import DecPOMDP

Path = tuple[int | None, ...]
"""An action-observation history: (initial observation or None, action, observation, action, observation, ...)."""

MOST_NODES = 2_000_000
"""The largest tree that is written."""

_DIGITS = 10**18


class ExtensiveForm(NamedTuple):
    """A game as text, and what its information sets are."""

    text: str
    """The content of an .efg file."""
    histories: tuple[tuple[Path, ...], ...]
    """For each agent its information sets in the order of the tree, depth first, which is also Gambit's: the number of
    `histories[agent][k]` is k + 1. Its actions are the legal ones after that history, in order."""


def export(
    problem: DecPOMDP,
    horizon: int,
    bonus: Callable[[int, Path, int], float] | None = None,
    *,
    title: str = "Dec-POMDP",
) -> ExtensiveForm:
    """`horizon` stages of `problem` in extensive form.

    Args:
      bonus: (agent, history, action) -> a payoff that taking the action adds at its stage, discounted like a reward;
        not called where only one action is legal.
      title: how Gambit calls the game.

    Raises:
      TacitError: for a bad horizon, and for a game of more than `MOST_NODES` nodes.
    """
    writer = _Writer(problem, whole_number("horizon", horizon, 1), bonus or (lambda agent, history, action: 0.0))
    players = " ".join(_quoted(agent) for agent in problem.agents)
    lines = [f"EFG 2 R {_quoted(title)} {{ {players} }}", *writer.start()]
    return ExtensiveForm("\n".join(lines) + "\n", tuple(tuple(numbers) for numbers in writer.numbers))


class _Writer:
    """Writes the tree depth first, and numbers the information sets in that order."""

    def __init__(self, problem: DecPOMDP, horizon: int, bonus: Callable[[int, Path, int], float]) -> None:
        self.problem, self.horizon, self.bonus = problem, horizon, bonus
        self.numbers: list[dict[Path, int]] = [{} for _ in problem.agents]
        self.rewards = problem.expected_reward
        self.outcomes: dict[float, int] = {}
        self.chance_nodes = 0
        self.nodes = 0

    def start(self) -> Iterator[str]:
        """The whole tree."""
        problem = self.problem
        first = _exact(problem.start)
        seen = problem.initial_observation
        branches = []
        for state, probability in first.items():
            if seen is None:
                branches.append((probability, state, None))
            else:
                branches += [(probability * also, state, joint) for joint, also in _exact(seen[state]).items()]
        nothing: tuple[Path, ...] = ((None,),) * problem.num_agents
        yield from self._chance(branches, nothing, 0, 0.0)

    def _chance(
        self, branches: Sequence[tuple[Fraction, int, int | None]], paths: tuple[Path, ...], stage: int, payoff: float
    ) -> Iterator[str]:
        """Chance draws a state and a joint observation; `paths` end with what the agents did, or are (None,)."""
        if len(branches) > 1:
            self.chance_nodes += 1
            moves = zip(branches, _printed([probability for probability, _, _ in branches]), strict=True)
            named = " ".join(
                f"{_quoted(self._drawn_name(state, joint))} {printed}" for (_, state, joint), printed in moves
            )
            yield self._node(f'c "" {self.chance_nodes} "" {{ {named} }} 0')
        for _, state, joint in branches:
            after = paths
            if joint is not None:
                observations = self.problem.joint_observations[joint].tolist()
                before = paths if stage > 0 else ((),) * len(paths)
                after = tuple((*path, seen) for path, seen in zip(before, observations, strict=True))
            yield from self._moves(state, after, (), stage, payoff)

    def _moves(
        self, state: int, paths: tuple[Path, ...], actions: tuple[int, ...], stage: int, payoff: float
    ) -> Iterator[str]:
        """The agents from number `len(actions)` on choose, the others have chosen `actions`."""
        agent = len(actions)
        if agent == len(paths):
            yield from self._next_stage(state, paths, actions, stage, payoff)
            return
        legal = self._legal(agent, paths[agent])
        if len(legal) == 1:
            yield from self._moves(state, paths, (*actions, legal[0]), stage, payoff)
            return
        number = self.numbers[agent].setdefault(paths[agent], len(self.numbers[agent]) + 1)
        names = " ".join(_quoted(self.problem.actions[agent][action]) for action in legal)
        label = _quoted(self._history_name(agent, paths[agent]))
        yield self._node(f'p "" {agent + 1} {number} {label} {{ {names} }} 0')
        for action in legal:
            extra = self.problem.discount**stage * self.bonus(agent, paths[agent], action)
            yield from self._moves(state, paths, (*actions, action), stage, payoff + extra)

    def _next_stage(
        self, state: int, paths: tuple[Path, ...], actions: tuple[int, ...], stage: int, payoff: float
    ) -> Iterator[str]:
        """Everybody has acted: the reward, then chance or the end."""
        problem = self.problem
        joint_action = int(np.ravel_multi_index(actions, problem.num_actions))
        payoff += problem.discount**stage * float(self.rewards[joint_action, state])
        if stage + 1 == self.horizon:
            outcome, printed = self.outcomes.setdefault(payoff, len(self.outcomes) + 1), _decimal(payoff)
            yield self._node(f't "" {outcome} "{printed}" {{ {", ".join([printed] * len(paths))} }}')
            return
        branches = [
            (probability * also, next_state, joint)
            for next_state, probability in _exact(problem.transition[joint_action, state]).items()
            for joint, also in _exact(problem.observation[joint_action, next_state]).items()
        ]
        acted = tuple((*path, action) for path, action in zip(paths, actions, strict=True))
        yield from self._chance(branches, acted, stage + 1, payoff)

    def _node(self, line: str) -> str:
        self.nodes += 1
        if self.nodes > MOST_NODES:
            raise TacitError(
                f"the extensive form of this game at horizon {self.horizon} has more than {MOST_NODES:,} nodes"
            )
        return line

    def _legal(self, agent: int, path: Path) -> list[int]:
        last = path[-1]
        if self.problem.legal is None or last is None:
            return list(range(self.problem.num_actions[agent]))
        return np.flatnonzero(self.problem.legal[agent][last]).tolist()

    def _drawn_name(self, state: int, joint: int | None) -> str:
        name = self.problem.states[state]
        return name if joint is None else f"{name}: {self.problem.joint_observation_name(joint)}"

    def _history_name(self, agent: int, path: Path) -> str:
        """A history in words, for example "card-1 play card-2", or "start" for the empty one."""
        actions, observations = self.problem.actions[agent], self.problem.observations[agent]
        words = [
            (observations if position % 2 == 0 else actions)[entry]
            for position, entry in enumerate(path)
            if entry is not None
        ]
        return " ".join(words) or "start"


def _exact(probabilities: np.ndarray) -> dict[int, Fraction]:
    """Index -> probability where it is above 0: the decimals that the numbers print as, over their sum."""
    exact = {index: Fraction(repr(probabilities[index].item())) for index in np.flatnonzero(probabilities).tolist()}
    total = sum(exact.values())
    return {index: probability / total for index, probability in exact.items()}


def _printed(probabilities: Sequence[Fraction]) -> list[str]:
    """Numbers that sum to exactly 1, the way that Gambit and OpenSpiel both read."""
    if all(probability.denominator < 2**31 for probability in probabilities):
        return list(map(str, probabilities))
    units = [max(1, round(probability * _DIGITS)) for probability in probabilities]
    units[int(np.argmax(units))] += _DIGITS - sum(units)
    return [f"0.{unit:018d}" for unit in units]


def _decimal(number: float) -> str:
    """`number` without an exponent; reading it back gives the same bits."""
    if not math.isfinite(number):
        raise TacitError(f"a payoff must be a finite number, not {number}")
    return format(decimal.Decimal(repr(number)), "f")


def _quoted(name: str) -> str:
    """A label in quotes, without characters that would end it or that one of the readers stumbles over."""
    kept = ("'" if character in '"\\' else character for character in name if character.isprintable())
    return f'"{"".join(kept)}"'
