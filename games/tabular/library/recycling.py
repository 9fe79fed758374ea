"""Recycling robots: two robots pick up small cans alone or a big one together, as far as their batteries carry.

Amato, Bernstein and Zilberstein 2007, "Optimizing memory-bounded controllers for decentralized POMDPs", after the robot
of Sutton and Barto; the numbers of MADP's recycling.dpomdp. A robot's battery is high or low. Searching for little
cans pays 2 for each robot that does it, searching for the big one pays 5 if both do. A high battery is low afterwards
with probability 0.3 (little) or 0.5 (big). With a low battery a robot runs out with probability 0.2 (little) or 0.3
(big): that costs 10 for each, pays nobody, and the robot comes back charged. Waiting charges. A robot sees its own
battery.

MADP's file calls the three actions searchbig, searchlittle, waitandrecharge in this order, though it is the first that
charges and the last that fetches the big can; here they are called by what they do.

Optimum, undiscounted: 7 at horizon 2, 10.660125 at 3, 13.38 at 4, 16.486 at 5, 19.5542 at 6. Published discount 0.9.
Symmetries: 2 with the agent swap, 1 without.
"""

import itertools

from games.tabular.dec_pomdp import DecPOMDP, from_functions
from games.tabular.simulator import Simulator

OPTIMA = {2: 7.0, 3: 10.660125, 4: 13.38, 5: 16.486, 6: 19.5542}
"""Horizon -> optimum at discount 1: MADP's value database and masplan.org."""
PUBLISHED_DISCOUNT = 0.9
DISCOUNTED_OPTIMA = {2: 6.8, 3: 9.76470125}
"""Horizon -> optimum at the published discount, which `marl.exact.optimum` finds and proves."""

RECHARGE, LITTLE, BIG = range(3)
HIGH, LOW = range(2)
BATTERIES = list(itertools.product((HIGH, LOW), repeat=2))
"""State -> the battery of each robot."""
RUNS_DOWN = {LITTLE: 3, BIG: 5}
"""Tenths: how likely a search leaves a high battery low."""
RUNS_OUT = {LITTLE: 2, BIG: 3}
"""Tenths: how likely a search empties a low battery."""


def problem(discount: float | None = None) -> DecPOMDP:
    """The tables; a discount of None is the published one, 0.9.

    Raises:
      TacitError: for a discount that is not from 0 to 1.
    """
    names = ("high", "low")
    return from_functions(
        agents=("agent0", "agent1"),
        states=[f"{names[first]}-{names[second]}" for first, second in BATTERIES],
        actions=(("wait-and-recharge", "search-little", "search-big"),) * 2,
        observations=(names, names),
        discount=PUBLISHED_DISCOUNT if discount is None else discount,
        start=[float(batteries == (HIGH, HIGH)) for batteries in BATTERIES],
        transition=_transition,
        observation=lambda actions, state: {BATTERIES[state]: 1.0},
        reward=_reward,
    )


def make(horizon: int = 3, discount: float | None = None) -> Simulator:
    """The game of `problem` as a simulator."""
    tables = problem(discount)
    optima = {1.0: OPTIMA, PUBLISHED_DISCOUNT: DISCOUNTED_OPTIMA}.get(tables.discount, {})
    return Simulator(tables, horizon, label="recycling", known_optimum=optima.get(horizon))


def _transition(state: int, actions: tuple[int, ...]) -> dict[int, float]:
    tenths = [_next_battery(battery, action) for battery, action in zip(BATTERIES[state], actions, strict=True)]
    return {
        BATTERIES.index((first, second)): tenths[0][first] * tenths[1][second] / 100
        for first, second in itertools.product(*tenths)
    }


def _next_battery(battery: int, action: int) -> dict[int, int]:
    """Next battery -> tenths."""
    if action == RECHARGE:
        return {HIGH: 10}
    low = RUNS_DOWN[action] if battery == HIGH else 10 - RUNS_OUT[action]
    return {HIGH: 10 - low, LOW: low}


def _reward(state: int, actions: tuple[int, ...]) -> float:
    """The mean reward over which robots run out."""
    out = [
        RUNS_OUT.get(action, 0) if battery == LOW else 0
        for battery, action in zip(BATTERIES[state], actions, strict=True)
    ]
    found = 5 if actions == (BIG, BIG) else 2 * actions.count(LITTLE)
    hundredths = 0
    for stranded in itertools.product((False, True), repeat=2):
        weight = 1
        for is_out, tenths in zip(stranded, out, strict=True):
            weight *= tenths if is_out else 10 - tenths
        hundredths += weight * (-10 * sum(stranded) if any(stranded) else found)
    return hundredths / 100
