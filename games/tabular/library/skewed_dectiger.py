"""Skewed dec-tiger: dec-tiger whose tiger is behind the left door with probability 0.8 at the start.

MADP's dectiger_skewed.dpomdp: dec-tiger in everything but the start distribution. Left and right differ only there.

Symmetries: 2 with the agent swap, 1 without.
"""

from games.tabular.dec_pomdp import DecPOMDP
from games.tabular.library import dectiger
from games.tabular.simulator import Simulator


def problem(discount: float | None = None) -> DecPOMDP:
    """The tables; a discount of None is the published one, 1.

    Raises:
      TacitError: for a discount that is not from 0 to 1.
    """
    return dectiger.problem(discount, start=(0.8, 0.2))


def make(horizon: int = 3, discount: float | None = None) -> Simulator:
    """The game of `problem` as a simulator."""
    return Simulator(problem(discount), horizon, label="skewed_dectiger")
