"""The lever game: pull the same lever without having met.

Hu, Lerer, Peysakhovich and Foerster 2020, "Other-Play for zero-shot coordination": two players, ten levers; nine pay
1.0 and one pays 0.9 when both pull it; different levers pay nothing.

Known values of that game: optimum 1.0, independent conventions 1/9 in cross-play, best equivariant policy 0.9.
Symmetries: 9! · 2 = 725,760 with the player swap, 9! = 362,880 without.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np

from games.errors import TacitError, number, whole_number
from games.tabular.dec_pomdp import DecPOMDP, matrix_game
from games.tabular.simulator import Simulator

TEN_LEVERS = (1.0,) * 9 + (0.9,)
MOST_JOINT_ACTIONS = 10_000_000
"""The largest payoff table that is built."""


def problem(payoffs: Sequence[float] = TEN_LEVERS, mismatch: float = 0.0, players: int = 2) -> DecPOMDP:
    """One simultaneous step: everybody on lever i pays `payoffs[i]`, anything else `mismatch`.

    Args:
      payoffs: reward for meeting on each lever; at least one.
      mismatch: reward for not meeting.
      players: at least 2.

    Raises:
      TacitError: for a bad argument, and for a payoff table of more than `MOST_JOINT_ACTIONS` entries.
    """
    if isinstance(payoffs, str) or not isinstance(payoffs, Sequence) or not payoffs:
        raise TacitError(f"lever payoffs must be a list of at least one number, not {payoffs!r}")
    matches = [number("lever payoffs", payoff, -math.inf) for payoff in payoffs]
    mismatch = number("lever mismatch", mismatch, -math.inf)
    players = whole_number("lever players", players, 2)
    if len(matches) ** players > MOST_JOINT_ACTIONS:
        raise TacitError(
            f"{len(matches)} levers and {players} players have {len(matches)}^{players} joint actions, "
            f"more than {MOST_JOINT_ACTIONS:,}"
        )
    table = np.full((len(matches),) * players, mismatch)
    for lever, payoff in enumerate(matches):
        table[(lever,) * players] = payoff
    names = [f"lever{lever}" for lever in range(len(matches))]
    return matrix_game(table, [f"player{player}" for player in range(players)], list(itertools.repeat(names, players)))


def make(payoffs: Sequence[float] = TEN_LEVERS, mismatch: float = 0.0, players: int = 2) -> Simulator:
    """The game of `problem` as a simulator."""
    tables = problem(payoffs, mismatch, players)
    return Simulator(tables, horizon=1, label="lever", known_optimum=float(tables.reward.max()))
