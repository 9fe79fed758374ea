"""The asymmetric lever game: the two-stage lever game, and a last stage that only one of the players decides.

Treutlein, Dennis, Oesterheld and Foerster 2021, "A new formalism, method and open issues for zero-shot coordination",
in the form of the authors' code (johannestreutlein/op-tie-breaking): two players, two levers and a third action. At
the first two stages pulling the same lever pays +1, anything else -1, the third action included; at the third stage
the team gets +1 if the second player takes the third action, else 0, whatever the first player does. After a stage
each sees what the other has done. The last stage tells the players apart, so that one can be the one who repeats.

Known values at horizon 3: optimum 3; best equivariant policy 2 (0 + 1 + 1).
Symmetries: 2 (the two levers), with and without agent swaps: swapping the players is no symmetry here.
"""

from games.tabular.dec_pomdp import DecPOMDP, from_functions
from games.tabular.simulator import Simulator

ACTIONS = ("left", "right", "third")
LEFT, RIGHT, THIRD = range(3)
STAGES = ("first", "second", "third", "over")


def problem() -> DecPOMDP:
    """A state for each stage and one for afterwards, where nothing pays; each observes the other's action."""
    last = len(STAGES) - 1
    return from_functions(
        agents=("player0", "player1"),
        states=STAGES,
        actions=(ACTIONS, ACTIONS),
        observations=(ACTIONS, ACTIONS),
        discount=1.0,
        start=[float(stage == "first") for stage in STAGES],
        transition=lambda stage, actions: {min(stage + 1, last): 1.0},
        observation=lambda actions, stage: {(actions[1], actions[0]): 1.0},
        reward=_reward,
    )


def make() -> Simulator:
    """The game of `problem` as a simulator, to horizon 3."""
    return Simulator(problem(), horizon=3, label="asymmetric_lever", known_optimum=3.0)


def _reward(stage: int, actions: tuple[int, ...]) -> float:
    if STAGES[stage] in ("first", "second"):
        return 1.0 if actions in ((LEFT, LEFT), (RIGHT, RIGHT)) else -1.0
    return float(STAGES[stage] == "third" and actions[1] == THIRD)
