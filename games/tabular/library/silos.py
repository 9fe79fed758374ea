"""Silos: everybody has a private number, says a few bits about it to all, and must give a function of all numbers.

Numbers are uniform and independent. In each of `rounds` rounds everybody says one of 2^bits words, at the same time and
heard by all. Then everybody answers, and the team gets 1 if all answers are right. What is asked for is the sum of all
numbers, the majority (the most frequent number, of several the least), the maximum, or the size of the pairwise join
(how many pairs of agents have the same number). Words have no meaning but what agents make of them.

Two things can go wrong, and they can be told apart: words say too little of the numbers (their mutual information), or
the answers that are made of them are wrong (the return). `roles` says which observations and actions are what. Agents
with different conventions say all there is to say and still answer wrongly.

As a Dec-POMDP of horizon `rounds` + 1: the state is the numbers and how many rounds were played; an agent observes its
number at first and after each round the words of the others. Words are legal in rounds, answers after the last one.

The finding it models: language models form teams that fit the task and exchange enough information, and then fail to
put it together to the right answer. Cited for comparison, not reproduced: Silo-Bench, arXiv:2603.01045.

Known values:

- solo optimum (one agent sees all numbers): 1.
- Team optimum: 1 if 2^(bits · rounds) >= values. Otherwise, for games small enough to enumerate all policies:

  | agents, values | bits in all | sum | majority | maximum | join |
  |----------------|-------------|-----|----------|---------|------|
  | 2, 2           | 0           | 1/2 | 3/4      | 3/4     | 1/2  |
  | 2, 3           | 0           | 1/3 | 5/9      | 5/9     | 2/3  |
  | 2, 3           | 1           | 5/9 | 8/9      | 8/9     | 7/9  |
  | 3, 2           | 0           | 3/8 | 1/2      | 7/8     | 3/4  |

- Words are interchangeable, so that they are worth nothing to a policy that treats them alike. The best equivariant
  value of two agents with two values is 1/2, 3/4, 3/4, 1/4 for the four tasks, with one round of one bit or without.
- Symmetries of that round: 16, 8, 8, 32 with agent swaps, 8, 4, 4, 16 without. Each agent's words can be exchanged, for
  the sum also all numbers, for the join those of either agent.
"""

import itertools
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from games.errors import TacitError, one_of, whole_number
from games.tabular.dec_pomdp import DecPOMDP, from_functions
from games.tabular.simulator import Simulator

MOST_ENTRIES = 10_000_000
"""The largest table that is built."""
NUMBER, WORD, ANSWER = "number", "word", "answer"
"""What the names of private numbers, messages and answers begin with."""


def _majority(numbers: tuple[int, ...]) -> int:
    counts = Counter(numbers)
    return min(counts, key=lambda number: (-counts[number], number))


def _join(numbers: tuple[int, ...]) -> int:
    return sum(one == other for one, other in itertools.combinations(numbers, 2))


TASKS: dict[str, Callable[[tuple[int, ...]], int]] = {
    "sum": sum,
    "majority": _majority,
    "maximum": max,
    "join": _join,
}
"""Functions of all numbers: the sum; the most frequent number, of several the least; the greatest; the number of pairs
of agents with the same number, which is the size of the join of all tables of one number with each other."""


class Roles(NamedTuple):
    """Which observations, actions and steps are inputs, messages and answers, for measures of information."""

    inputs: tuple[np.ndarray, ...]  # for each agent bool[O_i], the observation is its private number; seen at step 0
    messages: tuple[np.ndarray, ...]  # for each agent bool[A_i], the action is a word that all others hear
    answers: tuple[np.ndarray, ...]  # for each agent bool[A_i], the action is an answer
    message_steps: tuple[int, ...]  # of the rounds
    answer_step: int


OPTIMA = {
    (2, 2, 0): {"sum": 1 / 2, "majority": 3 / 4, "maximum": 3 / 4, "join": 1 / 2},
    (2, 3, 0): {"sum": 1 / 3, "majority": 5 / 9, "maximum": 5 / 9, "join": 2 / 3},
    (2, 3, 1): {"sum": 5 / 9, "majority": 8 / 9, "maximum": 8 / 9, "join": 7 / 9},
    (3, 2, 0): {"sum": 3 / 8, "majority": 1 / 2, "maximum": 7 / 8, "join": 3 / 4},
}
"""The team's optima where the messages are too short: (agents, values, bits · rounds) -> task -> optimum."""


def problem(agents: int = 2, values: int = 2, bits: int = 1, rounds: int = 1, task: str = "sum") -> DecPOMDP:
    """The tables of the game, to be played to horizon `rounds` + 1.

    Args:
      agents: at least 2.
      values: numbers are 0 to values - 1, uniform and independent; at least 2.
      bits: of a word, at least 1.
      rounds: in each of them everybody says one of 2^bits words, at the same time; 0 or more.
      task: a key of `TASKS`.

    Raises:
      TacitError: for a bad argument, and for a table of more than `MOST_ENTRIES` entries.
    """
    agents = whole_number("silos agents", agents, 2)
    bits, rounds = whole_number("silos bits", bits, 1), whole_number("silos rounds", rounds, 0)
    values = whole_number("silos values", values, 2)
    deals, right, answers = _deals(agents, values, task)
    words = 2**bits if rounds else 0
    _check_size(agents, values, words, rounds, len(answers))
    heard = list(itertools.product(range(words), repeat=agents - 1)) if rounds else []
    early = heard if rounds > 1 else []  # what is heard in the last round has names of its own: answers follow it
    names = [
        *(f"{NUMBER}{number}" for number in range(values)),
        *(f"early-{_hears(said)}" for said in early),
        *map(_hears, heard),
        "done",
    ]
    actions = [*(f"{WORD}{word}" for word in range(words)), *(f"{ANSWER}{answer}" for answer in answers)]
    states = [(deal, stage) for stage in range(rounds + 1) for deal in range(len(deals))]  # and the end

    def transition(state: int, chosen: tuple[int, ...]) -> dict[int, float]:
        del chosen
        return {min(state + len(deals), len(states)): 1.0}

    def observation(chosen: tuple[int, ...], state: int) -> dict[tuple[int, ...], float]:
        if state == len(states) or max(chosen) >= words:
            return {(len(names) - 1,) * agents: 1.0}
        first = values if states[state][1] < rounds else values + len(early)
        others = [chosen[:agent] + chosen[agent + 1 :] for agent in range(agents)]
        return {tuple(first + heard.index(said) for said in others): 1.0}

    def reward(state: int, chosen: tuple[int, ...]) -> float:
        if state == len(states) or states[state][1] < rounds:
            return 0.0
        return float(all(action == words + right[states[state][0]] for action in chosen))

    def initial_observation(state: int) -> dict[tuple[int, ...], float]:
        return {deals[state % len(deals)]: 1.0}

    speaks = np.array([name.startswith((NUMBER, "early")) and rounds > 0 for name in names])
    may_say = np.arange(len(actions)) < words
    return from_functions(
        agents=[f"agent{agent}" for agent in range(agents)],
        states=[f"{_numbers(deals[deal])}-round{stage}" for deal, stage in states] + ["end"],
        actions=[actions] * agents,
        observations=[names] * agents,
        discount=1.0,
        start=[1 / len(deals)] * len(deals) + [0.0] * (len(states) + 1 - len(deals)),
        transition=transition,
        observation=observation,
        reward=reward,
        initial_observation=initial_observation,
        legal=[speaks[:, None] == may_say] * agents,
    )


def make(agents: int = 2, values: int = 2, bits: int = 1, rounds: int = 1, task: str = "sum") -> Simulator:
    """The game of `problem` as a simulator, to horizon `rounds` + 1."""
    tables = problem(agents, values, bits, rounds, task)
    said = int(bits * rounds)
    optimum = 1.0 if 2**said >= values else OPTIMA.get((agents, values, said), {}).get(task)
    return Simulator(tables, int(rounds) + 1, label="silos", known_optimum=optimum)


def solo(agents: int = 2, values: int = 2, bits: int = 1, rounds: int = 1, task: str = "sum") -> Simulator:
    """One agent who sees all numbers and answers at once. `bits` and `rounds` are as in `make` and change nothing."""
    del bits, rounds
    agents, values = whole_number("silos agents", agents, 2), whole_number("silos values", values, 2)
    deals, right, answers = _deals(agents, values, task)
    tables = from_functions(
        agents=("planner",),
        states=list(map(_numbers, deals)),
        actions=([f"{ANSWER}{answer}" for answer in answers],),
        observations=(list(map(_numbers, deals)),),
        discount=1.0,
        start=[1 / len(deals)] * len(deals),
        transition=lambda state, chosen: {state: 1.0},
        observation=lambda chosen, state: {(state,): 1.0},
        reward=lambda state, chosen: float(chosen[0] == right[state]),
        initial_observation=lambda state: {(state,): 1.0},
    )
    return Simulator(tables, 1, label="silos solo", known_optimum=1.0)


def arguments(
    agents: int = 2, values: int = 2, bits: int = 1, rounds: int = 1, task: str = "sum"
) -> dict[str, dict[str, object] | str]:
    """For each structure the arguments that make sense in this game, or in a sentence why there are none."""
    del agents, values, bits, task
    return {
        "cheap_talk": {"symbols": 2, "rounds": 1},
        "commitments": {"form": "sequential"},
        "claims": "everybody must give the same answer, so there is nothing of which one could have the only share",
        "isolation": "everybody must be able to give every answer, so there are no parts to keep to",
        "leader": {"agent": 0},
        "shared_history": {} if rounds else "the game has one step without a round, and nothing is done after it",
        "verification": {"repairs": 1},
    }


def roles(game: Simulator) -> Roles:
    """Which observations and actions of a game of `make` are private numbers, messages and answers.

    The information exchanged is the mutual information of an agent's messages with its number; whether the answers are
    right is the return.
    """
    actions, observations = game.problem.actions, game.problem.observations
    return Roles(
        inputs=_beginning(observations, NUMBER),
        messages=_beginning(actions, WORD),
        answers=_beginning(actions, ANSWER),
        message_steps=tuple(range(game.horizon - 1)),
        answer_step=game.horizon - 1,
    )


def _beginning(names: tuple[tuple[str, ...], ...], what: str) -> tuple[np.ndarray, ...]:
    return tuple(np.array([name.startswith(what) for name in own]) for own in names)


def _deals(agents: int, values: int, task: str) -> tuple[list[tuple[int, ...]], list[int], list[int]]:
    """All deals of numbers, the index of the right answer to each, and the answers."""
    function = TASKS[one_of("silos task", task, TASKS)]
    if values**agents > MOST_ENTRIES:
        raise TacitError(f"silos of {agents} agents have {values}^{agents} deals, more than {MOST_ENTRIES:,}")
    deals = list(itertools.product(range(values), repeat=agents))
    answers = sorted(set(map(function, deals)))
    return deals, [answers.index(function(deal)) for deal in deals], answers


def _check_size(agents: int, values: int, words: int, rounds: int, answers: int) -> None:
    """Whether the largest table, JA times S times the greater of S and JO, is small enough."""
    states = values**agents * (rounds + 1) + 1
    observations = values + 1 + min(rounds, 2) * words ** (agents - 1)
    entries = (words + answers) ** agents * states * max(states, observations**agents)
    if entries > MOST_ENTRIES:
        raise TacitError(
            f"silos of {agents} agents, {values} values and {rounds} rounds of {words} words have a table of "
            f"{entries:,} entries, more than {MOST_ENTRIES:,}"
        )


def _numbers(deal: tuple[int, ...]) -> str:
    return "-".join(map(str, deal))


def _hears(said: tuple[int, ...]) -> str:
    return "-".join(["hears", *(f"{WORD}{word}" for word in said)])
