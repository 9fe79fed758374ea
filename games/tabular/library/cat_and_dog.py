"""Cat and dog: the first player sees a pet and has a light, the second guesses what it is.

The toy game of Hu, Lerer, Cui, Pineda, Wu, Brown and Foerster 2021, "Off-belief learning" (ICML; arXiv:2103.04000).
The pet is a cat or a dog, equally likely; only player 0 sees it. Player 0 switches the light on or off, which costs
nothing and says nothing by itself; or ends the game (`bail`) for +1; or removes the barrier for -5, so that player 1
sees the pet too. Then player 1 ends the game for +0.5, or guesses: +10 if right, -10 if wrong.

As a Dec-POMDP of horizon 2, the state is the pet and what player 0 has done. Who does not act waits.

Known values: optimum 10, by one of two conventions for the light; two that meet with opposite conventions earn -10, so
that their cross-play is 0 over labels. Best equivariant policy 5: remove the barrier and guess, which is off-belief
learning of level 1 as well, since the light is worth 0.5 to who believes that it was switched at random.
Symmetries: 4 (the pets, and the light), with and without agent swaps.
"""

import itertools

import numpy as np

from games.tabular.dec_pomdp import DecPOMDP, from_functions
from games.tabular.simulator import Simulator

PETS = ("cat", "dog")
CAT, DOG = range(2)
FIRST = ("on", "off", "bail", "remove", "wait")
ON, OFF, BAIL, REMOVE, WAIT = range(5)
SECOND = ("cat", "dog", "bail", "wait")
PAID_FOR_BAIL, COST_OF_REMOVING = 1.0, -5.0
PAID_FOR_LATE_BAIL, RIGHT, WRONG = 0.5, 10.0, -10.0


def problem() -> DecPOMDP:
    """The tables, to be played to horizon 2."""
    states = list(itertools.product((CAT, DOG), (WAIT, ON, OFF, BAIL, REMOVE)))
    # Player 0 sees the pet, then nothing; player 1 nothing, then the light, the pet or that the game is over.
    pet_or_nothing = (*PETS, "nothing")
    signs = ("nothing", "light on", "light off", *PETS, "over")

    def transition(state: int, chosen: tuple[int, ...]) -> dict[int, float]:
        pet, done = states[state]
        return {states.index((pet, chosen[0])) if done == WAIT else state: 1.0}

    def sign(pet: int, done: int) -> int:
        return {WAIT: 0, ON: 1, OFF: 2, REMOVE: 3 + pet, BAIL: 5}[done]

    def observation(chosen: tuple[int, ...], state: int) -> dict[tuple[int, ...], float]:
        del chosen
        return {(len(PETS), sign(*states[state])): 1.0}

    def reward(state: int, chosen: tuple[int, ...]) -> float:
        pet, done = states[state]
        if done == WAIT:
            return {BAIL: PAID_FOR_BAIL, REMOVE: COST_OF_REMOVING}.get(chosen[0], 0.0)
        if done == BAIL or SECOND[chosen[1]] == "wait":
            return 0.0
        if SECOND[chosen[1]] == "bail":
            return PAID_FOR_LATE_BAIL
        return RIGHT if chosen[1] == pet else WRONG

    first, second = (np.array(actions) != "wait" for actions in (FIRST, SECOND))
    return from_functions(
        agents=("player0", "player1"),
        states=["-".join([PETS[pet], *([] if done == WAIT else [FIRST[done]])]) for pet, done in states],
        actions=(FIRST, SECOND),
        observations=(pet_or_nothing, signs),
        discount=1.0,
        start=[0.5 if done == WAIT else 0.0 for _, done in states],
        transition=transition,
        observation=observation,
        reward=reward,
        initial_observation=lambda state: {(states[state][0], 0): 1.0},
        legal=(
            np.array([first, first, ~first]),  # having seen the pet; having acted
            np.array([~second, second, second, second, second, ~second]),  # at the start; having seen; when all is over
        ),
    )


def make() -> Simulator:
    """The game of `problem` as a simulator, to horizon 2."""
    return Simulator(problem(), horizon=2, label="cat_and_dog", known_optimum=10.0)
