"""Broadcast channel: two agents share a channel that carries one message at a time.

Ooi and Wornell 1996, "Decentralized control of a multiple access broadcast channel"; as a Dec-POMDP by Hansen,
Bernstein and Zilberstein 2004, "Dynamic programming for partially observable stochastic games", with MADP's numbers
(broadcastChannel.dpomdp). Each agent has room for one message and sends or waits. A step pays 1 if exactly one agent
sends and has a message. Sending empties the room whatever becomes of the message; into an empty room a new message
comes with probability 0.9 for the first agent and 0.1 for the second. Each agent is told whether there was a collision
(both sent), which is right with probability 0.9, independently.

Optimum, undiscounted: 2 at horizon 2, 2.99 at 3, 3.89 at 4, 4.79 at 5, 5.69 at 6.
Symmetries: 1, with and without the agent swap.
"""

import itertools

from games.tabular.dec_pomdp import DecPOMDP, from_functions
from games.tabular.simulator import Simulator

OPTIMA = {2: 2.0, 3: 2.99, 4: 3.89, 5: 4.79, 6: 5.69}
"""Horizon -> optimum at discount 1: MADP's value database and masplan.org."""

SEND, WAIT = range(2)
COLLISION, NO_COLLISION = range(2)
ARRIVES = (9, 1)
"""Tenths: how likely a new message comes to each agent."""
MESSAGES = list(itertools.product(range(2), repeat=2))
"""State -> which agents have a message."""


def problem(discount: float | None = None) -> DecPOMDP:
    """The tables; a discount of None is the published one, 1.

    Raises:
      TacitError: for a discount that is not from 0 to 1.
    """
    return from_functions(
        agents=("agent0", "agent1"),
        states=[f"S{first}{second}" for first, second in MESSAGES],
        actions=(("send", "wait"),) * 2,
        observations=(("Collision", "No-Collision"),) * 2,
        discount=1.0 if discount is None else discount,
        start=[float(messages == (1, 1)) for messages in MESSAGES],
        transition=_transition,
        observation=_observation,
        reward=_reward,
    )


def make(horizon: int = 3, discount: float | None = None) -> Simulator:
    """The game of `problem` as a simulator."""
    tables = problem(discount)
    optimum = OPTIMA.get(horizon) if tables.discount == 1 else None
    return Simulator(tables, horizon, label="broadcast_channel", known_optimum=optimum)


def _transition(state: int, actions: tuple[int, ...]) -> dict[int, float]:
    tenths = [
        {1: 10} if message and action == WAIT else {0: 10 - arrives, 1: arrives}
        for message, action, arrives in zip(MESSAGES[state], actions, ARRIVES, strict=True)
    ]
    return {
        MESSAGES.index((first, second)): tenths[0][first] * tenths[1][second] / 100
        for first, second in itertools.product(*tenths)
    }


def _observation(actions: tuple[int, ...], state: int) -> dict[tuple[int, ...], float]:
    del state
    truth = COLLISION if actions == (SEND, SEND) else NO_COLLISION
    tenths = [9 if told == truth else 1 for told in range(2)]
    return {told: tenths[told[0]] * tenths[told[1]] / 100 for told in itertools.product(range(2), repeat=2)}


def _reward(state: int, actions: tuple[int, ...]) -> float:
    if (actions[0] == SEND) == (actions[1] == SEND):
        return 0.0
    return float(MESSAGES[state][actions.index(SEND)])
