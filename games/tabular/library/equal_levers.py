"""n levers that all pay the same: nothing tells them apart, so no policy that respects the symmetry can meet on one.

The symmetric special case of the lever game (Hu et al. 2020).

Known values for a match that pays r and a mismatch that pays r0 < r, two players: optimum r; the best equivariant
policy is uniform and scores r0 + (r - r0) / n; near alpha = (r - r0) / n, exactly, it loses stability.
Symmetries: n! · players! with player swaps (n! · 2 for two), n! without.
"""

from games.errors import whole_number
from games.tabular.dec_pomdp import DecPOMDP
from games.tabular.library import lever
from games.tabular.simulator import Simulator


def problem(n: int = 2, match: float = 1.0, mismatch: float = 0.0, players: int = 2) -> DecPOMDP:
    """`n` levers, each of which pays `match` if everybody pulls it; anything else pays `mismatch`.

    Raises:
      TacitError: for a bad argument.
    """
    return lever.problem([match] * whole_number("equal_levers n", n, 1), mismatch, players)


def make(n: int = 2, match: float = 1.0, mismatch: float = 0.0, players: int = 2) -> Simulator:
    """The game of `problem` as a simulator."""
    tables = problem(n, match, mismatch, players)
    return Simulator(tables, horizon=1, label="equal_levers", known_optimum=float(tables.reward.max()))
