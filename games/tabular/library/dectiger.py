"""Dec-tiger: two agents listen for a tiger behind one of two doors, and had better open the same one.

Nair, Tambe, Yokoo, Pynadath and Marsella 2003, "Taming decentralized POMDPs: towards efficient policy computation for
multiagent settings", with MADP's numbers (dectiger.dpomdp). If both listen, each hears the right door with probability
0.85, independently; if anybody opens a door the tiger is placed anew and observations tell nothing.

Optimum, undiscounted: -4 at horizon 2, 5.1908125 at 3, 4.80275515625 at 4, 7.026450983203 at 5, 10.381625 at 6.
Symmetries: 4 with the agent swap, 2 without (left and right).
"""

from collections.abc import Sequence

from games.tabular.dec_pomdp import DecPOMDP, from_functions
from games.tabular.simulator import Simulator

OPTIMA = {2: -4.0, 3: 5.1908125, 4: 4.80275515625, 5: 7.026450983203, 6: 10.381625}
"""Horizon -> optimum at discount 1: MADP's value database and masplan.org."""

LISTEN, OPEN_LEFT, OPEN_RIGHT = range(3)


def problem(discount: float | None = None, start: Sequence[float] = (0.5, 0.5)) -> DecPOMDP:
    """The tables.

    Args:
      discount: None is the published one, 1.
      start: probability that the tiger is behind the left and the right door.

    Raises:
      TacitError: for a discount that is not from 0 to 1.
    """
    return from_functions(
        agents=("agent0", "agent1"),
        states=("tiger-left", "tiger-right"),
        actions=(("listen", "open-left", "open-right"),) * 2,
        observations=(("hear-left", "hear-right"),) * 2,
        discount=1.0 if discount is None else discount,
        start=start,
        transition=_transition,
        observation=_observation,
        reward=_reward,
    )


def make(horizon: int = 3, discount: float | None = None) -> Simulator:
    """The game of `problem` as a simulator."""
    tables = problem(discount)
    optimum = OPTIMA.get(horizon) if tables.discount == 1 else None
    return Simulator(tables, horizon, label="dectiger", known_optimum=optimum)


def _transition(tiger: int, actions: tuple[int, ...]) -> dict[int, float]:
    return {tiger: 1.0} if actions == (LISTEN, LISTEN) else {0: 0.5, 1: 0.5}


def _observation(actions: tuple[int, ...], tiger: int) -> dict[tuple[int, ...], float]:
    joint = [(first, second) for first in range(2) for second in range(2)]
    if actions != (LISTEN, LISTEN):
        return dict.fromkeys(joint, 0.25)
    percent = [[85 if heard == tiger else 15 for heard in pair] for pair in joint]
    return {pair: first * second / 10_000 for pair, (first, second) in zip(joint, percent, strict=True)}


def _reward(tiger: int, actions: tuple[int, ...]) -> float:
    opened = [action - OPEN_LEFT for action in actions if action != LISTEN]
    if not opened:
        return -2.0
    if len(opened) == 1:
        return -101.0 if opened[0] == tiger else 9.0
    if opened[0] != opened[1]:
        return -100.0
    return -50.0 if opened[0] == tiger else 20.0
