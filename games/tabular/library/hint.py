"""One-step hint game: name the color or the rank of the other player's card, which then guesses its card.

A card has one of C colors and one of C ranks, uniformly. Player 0 sees the card of player 1 and names its color or its
rank; player 1 sees only what was named and guesses the card; a right guess pays 1. It is the smallest game in which a
hint's meaning beyond its words is a convention: "red" can stand for any one red card.

As a Dec-POMDP of horizon 2: the state is the card. Player 0 first observes it and has the actions "color" and "rank";
player 1's observation of what was named follows, and then its guess, of any card. Who does not act has the one legal
action "wait".

Known values: the optimum is min(1, 2/C), each of the 2C words standing for another card. The best equivariant policy
scores 1/C: after a color the guess is as likely for every rank, since the permutations of the ranks keep the word; the
swap of colors and ranks makes both kinds of hint as good. Symmetries: (C!)^2 * 2, 28,800 for C = 5 (colors among
themselves, ranks among themselves, and colors with ranks); players cannot be swapped.
"""

import itertools

import numpy as np

from games.errors import whole_number
from games.tabular.dec_pomdp import DecPOMDP, from_functions
from games.tabular.simulator import Simulator

COLOR, RANK, HINTER_WAITS = range(3)


def problem(size: int = 5) -> DecPOMDP:
    """The tables of the game of `size` colors and `size` ranks, to be played to horizon 2.

    Raises:
      TacitError: for a size that is not a whole number from 1 to 8 (the tables grow with its seventh power).
    """
    size = whole_number("hint size", size, 1, 8)
    cards = list(itertools.product(range(size), repeat=2))
    card_names = [f"color{color}-rank{rank}" for color, rank in cards]
    words = [f"color{color}" for color in range(size)] + [f"rank{rank}" for rank in range(size)]
    nothing = (len(cards), len(words))

    def observation(actions: tuple[int, ...], state: int) -> dict[tuple[int, ...], float]:
        named = {COLOR: cards[state][0], RANK: size + cards[state][1], HINTER_WAITS: nothing[1]}
        return {(nothing[0], named[actions[0]]): 1.0}

    may_hint = np.array([True, True, False])
    may_guess = np.append(np.ones(len(cards), np.bool_), False)
    return from_functions(
        agents=("hinter", "guesser"),
        states=card_names,
        actions=(("color", "rank", "wait"), (*card_names, "wait")),
        observations=((*card_names, "nothing"), (*words, "nothing")),
        discount=1.0,
        start=[1 / len(cards)] * len(cards),
        transition=lambda state, actions: {state: 1.0},
        observation=observation,
        reward=lambda state, actions: float(actions[1] == state),
        initial_observation=lambda state: {(state, nothing[1]): 1.0},
        legal=(
            np.array([may_hint] * len(cards) + [~may_hint]),  # having seen the card; afterwards
            np.array([may_guess] * len(words) + [~may_guess]),  # having heard a word; before and afterwards
        ),
    )


def make(size: int = 5) -> Simulator:
    """The game of `problem` as a simulator, to horizon 2."""
    tables = problem(size)
    return Simulator(tables, horizon=2, label="hint", known_optimum=min(1.0, 2 / size))
