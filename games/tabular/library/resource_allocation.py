"""Resource allocation with references: divide the same labelled items again and again, values being private.

Two agents and m items. Each agent likes one item best: it is worth `high` to that agent and every other item `low`. The
favourites are drawn independently and stay; an agent knows its own only. In every round both name the item that they
take, at the same time. If they name different ones, each has its own and the team gets the sum of the two values; an
item that both name is lost, and nobody gets anything. After a round an agent learns only whether it got its item.

Items differ in nothing but who likes them, so that "the first one" means something only by convention. A round gives
references of another kind: an item that somebody took, or over which there was a clash, is not like the others any
more. What agents can make of that depends on whether the history is shared (structure `shared_history`) or, as in the
game itself, everybody has only their own part of it.

The finding it models: single agents find allocations on the Pareto frontier and pairs fail to, among other things for
lack of a shared history and because references are bound to different things; exchange of information alone does not
repair that. Cited for comparison, not reproduced: "Talk is cheap, communication is hard: dynamic grounding failures and
repair in multi-agent negotiation", arXiv:2605.01750.

Known values for `high` 2 and `low` 1:

| items, rounds | 2, 1 | 2, 2 | 3, 1 | 3, 2 |
|---------------|------|------|------|------|
| solo optimum  | 7/2  | 7    | 11/3 | 22/3 |
| team optimum  | 3    | 6    | 3    | 19/3 |

Solo (one agent sees both favourites): rounds · (2 high (m - 1) / m + (high + low) / m), each round on the frontier.
Team with two items: each keeps to an item of its own, whatever it likes. With three items and two rounds: both take
their favourite; who got it takes it again, and after a clash agent 1 yields.
Best equivariant values, two rounds: with two items 19/4 with agent swaps and 11/2 without; with three items at least
89/15 (both yield with probability 3/5) and 19/3. Who yields is a convention between agents and none between items.
Symmetries: m! · 2 with agent swaps, m! without (4 and 2 for the default).
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np

from games.errors import number, whole_number
from games.tabular.centralised import centralised
from games.tabular.dec_pomdp import DecPOMDP, from_functions
from games.tabular.simulator import Simulator

OPTIMA = {(2, 1): 3.0, (2, 2): 6.0, (3, 1): 3.0, (3, 2): 19 / 3}
"""The team's optima by (items, rounds), for `high` 2 and `low` 1."""


def problem(items: int = 2, high: float = 2.0, low: float = 1.0) -> DecPOMDP:
    """The tables of the game: a state is the two favourites.

    Args:
      items: 2 to 5.
      high, low: values of an agent's favourite and of any other item, high >= low >= 0.

    Raises:
      TacitError: for a bad argument.
    """
    items, high, low = _checked(items, high, low)
    states = list(itertools.product(range(items), repeat=2))
    names = [f"item{item}" for item in range(items)]
    got, lost = items, items + 1

    def observation(taken: tuple[int, ...], state: int) -> dict[tuple[int, ...], float]:
        return {(lost, lost) if taken[0] == taken[1] else (got, got): 1.0}

    return from_functions(
        agents=("agent0", "agent1"),
        states=[f"likes{first}-likes{second}" for first, second in states],
        actions=(names, names),
        observations=([*(f"likes{item}" for item in range(items)), "got", "lost"],) * 2,
        discount=1.0,
        start=[1 / len(states)] * len(states),
        transition=lambda state, taken: {state: 1.0},
        observation=observation,
        reward=lambda state, taken: sum(_values(states[state], taken, high, low)),
        initial_observation=lambda state: {states[state]: 1.0},
    )


def make(items: int = 2, rounds: int = 2, high: float = 2.0, low: float = 1.0) -> Simulator:
    """The game of `problem` as a simulator, to horizon `rounds`."""
    tables = problem(items, high, low)
    optimum = OPTIMA.get((items, rounds)) if (high, low) == (2, 1) else None
    return Simulator(tables, rounds, "resource_allocation", known_optimum=optimum)


def solo(items: int = 2, rounds: int = 2, high: float = 2.0, low: float = 1.0) -> Simulator:
    """The same game for one agent that knows both favourites and names both items."""
    planner = Simulator(centralised(problem(items, high, low)), rounds, "resource_allocation solo")
    best = planner.horizon * (2 * high * (items - 1) + high + low) / items
    return Simulator(planner.problem, planner.horizon, planner.label, known_optimum=best)


def arguments(
    items: int = 2, rounds: int = 2, high: float = 2.0, low: float = 1.0
) -> dict[str, dict[str, object] | str]:
    """For each structure the arguments that make sense in this game, or in a sentence why there are none."""
    items, _, _ = _checked(items, high, low)
    rounds = whole_number("resource_allocation rounds", rounds, 1)
    return {
        "cheap_talk": {"symbols": 2, "rounds": 1},
        "commitments": {"form": "sequential"},
        "claims": {"items": tuple(range(items))},
        "isolation": {"partition": (tuple(range(0, items, 2)), tuple(range(1, items, 2)))},
        "leader": {"agent": 0},
        "shared_history": {} if rounds > 1 else "the game has one round, and nothing is done after it",
        "verification": {"repairs": 1, "conflict": contested},
    }


def contested(state: int, taken: tuple[int, ...]) -> bool:
    """Whether both name the same item: a check of the division that does not know what anybody likes."""
    del state
    return taken[0] == taken[1]


def utilities(favourites: Sequence[int], items: int = 2, high: float = 2.0, low: float = 1.0) -> np.ndarray:
    """What each agent gets in a round for each joint action: float64[items * items, 2].

    Args:
      favourites: of the two agents.
      items, high, low: as in `problem`.

    Raises:
      TacitError: for a bad argument.
    """
    items, high, low = _checked(items, high, low)
    first, second = (whole_number("favourite", item, 0, items - 1) for item in favourites)
    pairs = itertools.product(range(items), repeat=2)
    return np.array([_values((first, second), taken, high, low) for taken in pairs], np.float64)


def pareto_frontier(points: np.ndarray) -> np.ndarray:
    """The points that no other one dominates, being at least as good for everybody and better for somebody.

    Args:
      points: float64[K, n], what each of n agents gets.

    Returns:
      float64[F, n] without repetitions, in lexicographic order.
    """
    points = np.unique(np.asarray(points, np.float64), axis=0)
    no_worse = (points[:, None] >= points[None]).all(2)  # [K, K], row against column
    better = (points[:, None] > points[None]).any(2)
    return points[~(no_worse & better).any(0)]


def _values(favourites: tuple[int, ...], taken: tuple[int, ...], high: float, low: float) -> tuple[float, float]:
    """What the two agents get in a round."""
    if taken[0] == taken[1]:
        return 0.0, 0.0
    first, second = (high if item == liked else low for item, liked in zip(taken, favourites, strict=True))
    return first, second


def _checked(items: int, high: float, low: float) -> tuple[int, float, float]:
    items = whole_number("resource_allocation items", items, 2, 5)
    low = number("resource_allocation low", low, 0.0)
    return items, number("resource_allocation high", high, low, math.inf), low
