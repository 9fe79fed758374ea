"""The noisy lever game: two players see which lever pays, each through its own noise, and may bail out together.

A game of few states after the noisy lever game, with bail lever, of Anwar, Pandian, Wan, Krueger and Foerster 2024,
"Noisy zero-shot coordination" (arXiv:2411.04976), whose payoffs and noise are Gaussian. Here one of n levers, each as
likely, pays `high` when both pull it, the others pay `low`, and the bail lever always pays `bail`; different levers pay
nothing. Each player is told which lever is the high one, by itself rightly with probability 1 - `noise`, otherwise any
other lever, each as likely.

Known values, with q = (1 - noise)^2 and `low` = 0: who takes what it sees for common knowledge, as Other-Play does in
the game without noise, pulls that lever and earns q high. Who knows the noise earns max(q high, bail): the best
equivariant policy. With the defaults that is 0.64 against 0.7. Symmetries: 2 n! with the player swap, n! without.
"""

import itertools
import math

from games.errors import number, whole_number
from games.tabular.dec_pomdp import DecPOMDP, from_functions
from games.tabular.simulator import Simulator

MOST_LEVERS = 8


def problem(levers: int = 2, noise: float = 0.2, high: float = 1.0, low: float = 0.0, bail: float = 0.7) -> DecPOMDP:
    """One simultaneous step; the state is the lever that pays `high`.

    Args:
      levers: how many there are without the bail lever, 2 to `MOST_LEVERS`.
      noise: the probability that a player is told another lever, 0 to 1.
      high, low: paid when both pull the high lever, or the same other one.
      bail: paid when both pull the bail lever.

    Raises:
      TacitError: for a bad argument.
    """
    levers = whole_number("noisy_lever levers", levers, 2, MOST_LEVERS)
    noise = number("noisy_lever noise", noise, 0, 1)
    high, low, bail = (
        number(f"noisy_lever {name}", value, -math.inf)
        for name, value in (("high", high), ("low", low), ("bail", bail))
    )
    names = [f"lever{lever}" for lever in range(levers)]
    nothing = levers

    def seen(state: int) -> dict[tuple[int, ...], float]:
        told = [1 - noise if lever == state else noise / (levers - 1) for lever in range(levers)]
        pairs = itertools.product(range(levers), repeat=2)
        return {pair: told[pair[0]] * told[pair[1]] for pair in pairs if told[pair[0]] * told[pair[1]] > 0}

    def reward(state: int, pulled: tuple[int, ...]) -> float:
        first, second = pulled
        if first != second:
            return 0.0
        if first == levers:
            return bail
        return high if first == state else low

    return from_functions(
        agents=("player0", "player1"),
        states=names,
        actions=((*names, "bail"),) * 2,
        observations=((*(f"saw-{name}" for name in names), "nothing"),) * 2,
        discount=1.0,
        start=[1 / levers] * levers,
        transition=lambda state, pulled: {state: 1.0},
        observation=lambda pulled, state: {(nothing, nothing): 1.0},
        reward=reward,
        initial_observation=seen,
    )


def make(levers: int = 2, noise: float = 0.2, high: float = 1.0, low: float = 0.0, bail: float = 0.7) -> Simulator:
    """The game of `problem` as a simulator."""
    return Simulator(problem(levers, noise, high, low, bail), horizon=1, label="noisy_lever")
