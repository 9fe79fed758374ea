"""Tiny Hanabi A to F: one player shows something by what it does, the other acts on it.

Games of Samuel Sokota's study of cooperative learning, known from OpenSpiel's tiny_hanabi (Foerster et al. 2019,
"Bayesian action decoder for deep multi-agent reinforcement learning", has game A). Each player is dealt one of C cards,
uniformly and independently; player 0 acts and is seen, then player 1 acts; both receive payoff[card0][card1][a0][a1].

As a Dec-POMDP of horizon 2: the state is the deal, then the deal and player 0's action. Each first observes the own
card. Who does not act has the one legal action "wait"; player 0's action is player 1's second observation.

| game | cards | actions | optimum | known to reach it                                                |
|------|-------|---------|---------|------------------------------------------------------------------|
| A    | 2     | 2       | 2.25    | high entropy (unique from alpha .37682), greedy                   |
| B    | 2     | 2       | 1       | the same, from .30020                                             |
| C    | 2     | 2       | 2.5     | not high entropy: unique from .82305, greedy 2 above it           |
| D    | 2     | 2       | 2.5     | from .05210 to .605, then greedy 2.25                             |
| E    | 2     | 3       | 10      | from 2.96553 to 4.225, then greedy 9, from 4.475 on 8             |
| F    | 3     | 2       | 7/3     | from .21820 to .98, then greedy 2.1111, from 1.14 on 1.8889       |

Symmetries: 1 in all six games, so that the best equivariant policy is the optimum.
"""

import itertools

import numpy as np

from games.errors import one_of
from games.tabular.dec_pomdp import DecPOMDP, from_functions
from games.tabular.simulator import Simulator

PAYOFFS = {
    "A": [[[[0, 1], [0, 0]], [[0, 1], [3, 2]]], [[[3, 3], [3, 2]], [[2, 0], [3, 3]]]],
    "B": [[[[1, 0], [1, 0]], [[0, 1], [0, 1]]], [[[0, 1], [0, 0]], [[1, 0], [1, 0]]]],
    "C": [[[[3, 0], [0, 3]], [[2, 0], [3, 3]]], [[[2, 2], [3, 0]], [[0, 1], [0, 2]]]],
    "D": [[[[3, 0], [1, 3]], [[3, 0], [3, 0]]], [[[3, 2], [0, 2]], [[0, 1], [0, 0]]]],
    "E": [
        [[[10, 0, 0], [4, 8, 4], [10, 0, 0]], [[0, 0, 10], [4, 8, 4], [0, 0, 10]]],
        [[[0, 0, 10], [4, 8, 4], [0, 0, 0]], [[10, 0, 0], [4, 8, 4], [10, 0, 0]]],
    ],
    "F": [
        [[[0, 3], [3, 2]], [[0, 0], [0, 1]], [[3, 1], [2, 1]]],
        [[[0, 2], [0, 1]], [[1, 2], [1, 2]], [[0, 1], [0, 3]]],
        [[[1, 3], [1, 2]], [[0, 3], [2, 2]], [[3, 1], [3, 0]]],
    ],
}
"""payoff[card of player 0][card of player 1][action of player 0][action of player 1]."""

OPTIMA = {"A": 2.25, "B": 1.0, "C": 2.5, "D": 2.5, "E": 10.0, "F": 7 / 3}


def problem(variant: str = "A") -> DecPOMDP:
    """The tables of one of the six games, to be played to horizon 2.

    Raises:
      TacitError: for a variant that is not one of A to F.
    """
    payoffs = np.array(PAYOFFS[one_of("tiny_hanabi variant", variant, PAYOFFS)], np.float64)
    cards, _, actions, _ = payoffs.shape
    deals = list(itertools.product(range(cards), repeat=2))
    wait, nothing = actions, cards + actions
    states = [(*deal, wait) for deal in deals] + [(*deal, shown) for deal in deals for shown in range(actions)]

    def transition(state: int, chosen: tuple[int, ...]) -> dict[int, float]:
        first, second, shown = states[state]
        return {states.index((first, second, chosen[0])) if shown == wait else state: 1.0}

    def observation(chosen: tuple[int, ...], state: int) -> dict[tuple[int, ...], float]:
        del state
        return {(cards, nothing if chosen[0] == wait else cards + chosen[0]): 1.0}

    def reward(state: int, chosen: tuple[int, ...]) -> float:
        first, second, shown = states[state]
        return 0.0 if wait in (shown, chosen[1]) else float(payoffs[first, second, shown, chosen[1]])

    held = [f"card{card}" for card in range(cards)]
    done = [f"action{action}" for action in range(actions)]  # no entry for `wait`
    may_act = np.append(np.ones(actions, np.bool_), False)
    return from_functions(
        agents=("player0", "player1"),
        states=["-".join([held[a], held[b], *done[shown : shown + 1]]) for a, b, shown in states],
        actions=((*done, "wait"),) * 2,
        observations=((*held, "nothing"), (*held, *(f"saw-{name}" for name in done), "nothing")),
        discount=1.0,
        start=[1 / len(deals) if shown == wait else 0.0 for _, _, shown in states],
        transition=transition,
        observation=observation,
        reward=reward,
        initial_observation=lambda state: {(states[state][0], states[state][1]): 1.0},
        legal=(
            np.array([may_act] * cards + [~may_act]),  # with a card; having acted
            np.array([~may_act] * cards + [may_act] * actions + [~may_act]),  # with a card; having seen; at the end
        ),
    )


def make(variant: str = "A") -> Simulator:
    """The game of `problem` as a simulator, to horizon 2."""
    return Simulator(problem(variant), horizon=2, label="tiny_hanabi", known_optimum=OPTIMA[variant])
