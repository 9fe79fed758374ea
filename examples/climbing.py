"""A tabular game of one's own, in one file: the climbing game of Claus and Boutilier 1998.

"The dynamics of reinforcement learning in cooperative multiagent systems": two players choose one of three actions at
the same time and both are paid what the table says. The best pair stands beside the worst, so a learner whose partner
still tries things out climbs down to the safe corner:

                 b0     b1     b2
           a0    11    −30      0
           a1   −30      7      6
           a2     0      0      5

    tacit games climbing.make
    tacit phase game=climbing.make penalty=-5 alpha=[1,2,4,8]
    tacit zsc-table game=climbing.make method=[self-play,high-entropy-greedy]
"""

import math

import numpy as np

from games.errors import number
from games.tabular.dec_pomdp import matrix_game
from games.tabular.simulator import Simulator

OPTIMUM = 11.0
"""What a0 and b0 pay, the most in the table as long as the penalty is none."""


def make(penalty: float = -30.0) -> Simulator:
    """The game as a simulator of one step; exact commands read its tables.

    Args:
      penalty: what missing the best pair pays, −30 in the source; at most 11.

    Raises:
      TacitError: for a penalty that is no number or above 11.
    """
    penalty = number("climbing penalty", penalty, -math.inf, OPTIMUM)
    payoffs = np.array([[OPTIMUM, penalty, 0.0], [penalty, 7.0, 6.0], [0.0, 0.0, 5.0]])
    tables = matrix_game(payoffs, agents=("row", "column"), actions=(("a0", "a1", "a2"), ("b0", "b1", "b2")))
    return Simulator(tables, horizon=1, label="climbing", known_optimum=OPTIMUM)
