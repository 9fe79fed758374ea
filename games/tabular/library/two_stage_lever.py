"""The two-stage lever game: coordinate twice on one of two levers, having seen the first choice of the other.

Treutlein, Dennis, Oesterheld and Foerster 2021, "A new formalism, method and open issues for zero-shot coordination":
two players, two levers, two stages; +1 for pulling the same lever at a stage, -1 for different ones. After a stage each
sees which lever the other has pulled.

Known values at horizon 2: optimum 2; best equivariant policy 0.5 with the player swap, 1.0 without it (one player
repeats, the other follows); with the swap the optima "repeat" and "switch" clash, so that exact cross-play of
independent Other-Play optima is 0, and 0.5 with tie-breaking.
Symmetries: 4 with the player swap, 2 without.
"""

from games.tabular.dec_pomdp import DecPOMDP, from_functions
from games.tabular.simulator import Simulator

LEVERS = ("left", "right")


def problem(discount: float = 1.0) -> DecPOMDP:
    """One state; each agent observes the lever that the other pulled.

    Raises:
      TacitError: for a discount that is not from 0 to 1.
    """
    return from_functions(
        agents=("player0", "player1"),
        states=("only",),
        actions=(LEVERS, LEVERS),
        observations=(LEVERS, LEVERS),
        discount=discount,
        start=(1.0,),
        transition=lambda state, pulled: {0: 1.0},
        observation=lambda pulled, state: {(pulled[1], pulled[0]): 1.0},
        reward=lambda state, pulled: 1.0 if pulled[0] == pulled[1] else -1.0,
    )


def make(horizon: int = 2, discount: float = 1.0) -> Simulator:
    """The game of `problem` as a simulator."""
    simulator = Simulator(problem(discount), horizon=horizon, label="two_stage_lever")
    optimum = sum(discount**stage for stage in range(simulator.horizon))
    return Simulator(simulator.problem, simulator.horizon, simulator.label, known_optimum=optimum)
