"""Overlapping edits: everybody adds a feature of their own to shared code, and two edits in one place cannot be merged.

The code has m slots in a ring. Each of n agents is given a feature, all different ones, and sees only its own; feature
k can be written into slot k or slot k + 1. Each edits one slot, at the same time. The merge passes, and pays 1, if
every feature is there and no two edits are in the same slot; otherwise everybody gets 0.

The finding it models: agents that could each do both features fail when they do one each. Cited for comparison, not
reproduced: CooperBench (arXiv:2601.13295) reports about 25 % of tasks solved by two agents in cooperation against 48 %
by one alone, and 68.6, 46.5 and 30.0 % with 2, 3 and 4 agents.

Known values, exact for n = 2 to 4:

- Solo optimum (one agent sees all features and writes them all): 1. Team optimum: 1, for example if everybody takes the
  slot with the number of the feature. The other one, everybody the next slot, is as good, and the two do not mix.
- A reflection of the ring exchanges the two slots of a feature and so the two conventions. A policy that treats slots
  alike therefore takes either with probability 1/2, and passes if no agent goes to the next slot where the owner of the
  next feature stays. So the best equivariant value is 3/4, 1/4 for n = 2, 3 in 3 slots, and 5/6, 1/2, 1/8 for n = 2, 3,
  4 in 4 slots (the curve over n; 3 slots are the default because structures with a board stay small with them).
- Symmetries: 2m · n! with agent swaps, 2m without (12 and 6 for the default).
- Hard isolation: if agent i of two owns the slots i, i + 2, …, every feature of an even ring fits into a slot of its
  own, and the optimum is 1; in the default ring of 3 the agent with one slot cannot write one of the features, and the
  optimum is 2/3. The partition matters: in 4 slots, each agent owning a half of the ring, the optimum is 7/12.
"""

import itertools
import math

from games.errors import TacitError, whole_number
from games.tabular.centralised import centralised
from games.tabular.dec_pomdp import DecPOMDP, from_functions
from games.tabular.simulator import Simulator

MOST_ENTRIES = 10_000_000
"""The largest table that is built: 4 slots take 4 agents, 7 slots take 3."""


def problem(agents: int = 2, slots: int = 3) -> DecPOMDP:
    """The tables of the game, to be played to horizon 1. A state says who has which feature.

    Afterwards an agent sees its own feature again, which tells it nothing new.

    Args:
      agents: at least 2 and at most `slots`.
      slots: at least 3, and so many features.

    Raises:
      TacitError: for a bad argument, and for a table of more than `MOST_ENTRIES` entries.
    """
    agents, slots = _sizes(agents, slots)
    deals = list(itertools.permutations(range(slots), agents))

    def passes(deal: tuple[int, ...], edits: tuple[int, ...]) -> bool:
        there = all((edit - feature) % slots in (0, 1) for feature, edit in zip(deal, edits, strict=True))
        return there and len(set(edits)) == agents

    return from_functions(
        agents=[f"agent{agent}" for agent in range(agents)],
        states=["-".join(map(str, deal)) for deal in deals],
        actions=[[f"slot{slot}" for slot in range(slots)]] * agents,
        observations=[[f"feature{feature}" for feature in range(slots)]] * agents,
        discount=1.0,
        start=[1 / len(deals)] * len(deals),
        transition=lambda state, edits: {state: 1.0},
        observation=lambda edits, state: {deals[state]: 1.0},
        reward=lambda state, edits: float(passes(deals[state], edits)),
        initial_observation=lambda state: {deals[state]: 1.0},
    )


def make(agents: int = 2, slots: int = 3) -> Simulator:
    """The game of `problem` as a simulator, to horizon 1."""
    return Simulator(problem(agents, slots), 1, "overlapping_edits", known_optimum=1.0)


def solo(agents: int = 2, slots: int = 3) -> Simulator:
    """The same game for one agent that sees all features and makes all edits."""
    return Simulator(centralised(problem(agents, slots)), 1, "overlapping_edits solo", known_optimum=1.0)


def arguments(agents: int = 2, slots: int = 3) -> dict[str, dict[str, object] | str]:
    """For each structure the arguments that make sense in this game, or in a sentence why there are none."""
    agents, slots = _sizes(agents, slots)
    return {
        "cheap_talk": {"symbols": 2, "rounds": 1},
        "commitments": {"form": "sequential"},
        "claims": {"items": tuple(range(slots))},
        "isolation": {"partition": tuple(tuple(range(agent, slots, agents)) for agent in range(agents))},
        "leader": {"agent": 0},
        "shared_history": "the game has one step, and nothing is done after it",
        "verification": {"repairs": 1},
    }


def _sizes(agents: int, slots: int) -> tuple[int, int]:
    slots = whole_number("overlapping_edits slots", slots, 3)
    agents = whole_number("overlapping_edits agents", agents, 2, slots, "every agent has a feature of its own")
    entries = slots ** (2 * agents) * math.perm(slots, agents)
    if entries > MOST_ENTRIES:
        raise TacitError(
            f"overlapping edits of {agents} agents in {slots} slots have a table of {entries:,} entries, "
            f"more than {MOST_ENTRIES:,}"
        )
    return agents, slots
