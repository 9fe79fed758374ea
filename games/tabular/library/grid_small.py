"""Meeting on a 2 x 2 grid: two robots that see only walls are paid for being in the same cell.

Bernstein, Hansen and Zilberstein 2005, "Bounded policy iteration for decentralized POMDPs", in the version with two
observations of Amato, Bernstein and Zilberstein 2006; the numbers of MADP's GridSmall.dpomdp. Each robot moves up,
down, left or right or stays. Staying succeeds; any other choice happens with probability 0.6, and each of the other
four with 0.1; a move into a wall leaves the robot where it is. A robot sees whether the free cell beside it is on its
right or on its left. A step that ends with both in one cell pays 1. They start in the two corners of a diagonal.

With only these two observations the rule says nothing of a wider grid, so that the size is no argument.

Optimum, undiscounted: 0.91 at horizon 2, 1.550444 at 3, 2.2415766 at 4, 2.9704960768 at 5, 3.71716819232 at 6.
Published discount 0.9. Symmetries: 2 with the agent swap (half a turn of the grid), 1 without.
"""

import numpy as np

from games.tabular.dec_pomdp import DecPOMDP
from games.tabular.simulator import Simulator

OPTIMA = {2: 0.91, 3: 1.550444, 4: 2.2415766, 5: 2.9704960768, 6: 3.71716819232}
"""Horizon -> optimum at discount 1: MADP's value database and masplan.org."""
PUBLISHED_DISCOUNT = 0.9
DISCOUNTED_OPTIMA = {2: 0.856, 3: 1.37475964}
"""Horizon -> optimum at the published discount, which `marl.exact.optimum` finds and proves."""

ACTIONS = ("up", "down", "left", "right", "stay")
STEPS = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1), "stay": (0, 0)}
CELLS = ((0, 0), (0, 1), (1, 0), (1, 1))
"""(row, column) of cells 0 to 3."""


def problem(discount: float | None = None) -> DecPOMDP:
    """The tables; a discount of None is the published one, 0.9.

    A state is 4 times the cell of the first robot plus the cell of the second.

    Raises:
      TacitError: for a discount that is not from 0 to 1.
    """
    tenths = np.array([[_move(cell, action) for cell in CELLS] for action in ACTIONS])  # [5, 4, 4]
    both = np.einsum("ast,buv->absutv", tenths, tenths).reshape(25, 16, 16)
    columns = np.array([column for _, column in CELLS])
    seen = np.eye(2)[columns]  # [cell, observation]
    observation = np.einsum("so,up->suop", seen, seen).reshape(1, 16, 4)
    meet = np.eye(4).reshape(1, 1, 16, 1)
    return DecPOMDP(
        agents=("agent0", "agent1"),
        states=tuple(f"s{state}" for state in range(16)),
        actions=(ACTIONS, ACTIONS),
        observations=(("nnnnnynnn", "nnnynnnnn"),) * 2,  # MADP's: the eight cells around, y where it is free
        discount=PUBLISHED_DISCOUNT if discount is None else discount,
        start=np.eye(16)[4 * 1 + 2],
        transition=both / 100,
        observation=np.broadcast_to(observation, (25, 16, 4)),
        reward=np.broadcast_to(meet, (25, 16, 16, 1)),
    )


def make(horizon: int = 3, discount: float | None = None) -> Simulator:
    """The game of `problem` as a simulator."""
    tables = problem(discount)
    optima = {1.0: OPTIMA, PUBLISHED_DISCOUNT: DISCOUNTED_OPTIMA}.get(tables.discount, {})
    return Simulator(tables, horizon, label="grid_small", known_optimum=optima.get(horizon))


def _move(cell: tuple[int, int], action: str) -> list[int]:
    """Tenths for each next cell."""
    weights = {other: 10 if other == action else 0 for other in ACTIONS}
    if action != "stay":
        weights = {other: 6 if other == action else 1 for other in ACTIONS}
    arrived = [0] * len(CELLS)
    for happens, weight in weights.items():
        to = cell[0] + STEPS[happens][0], cell[1] + STEPS[happens][1]
        arrived[CELLS.index(to if to in CELLS else cell)] += weight
    return arrived
