"""Task claiming: everybody picks one of m interchangeable tasks, and work on a task that another has picked is wasted.

One step: n agents pick a task each, at the same time and without a word; the team gets 1 for every task that is picked.

The finding it models: agents that work at the same time on one body of code take the same work or step on each other's
changes. Cited for comparison, not reproduced: CodeCRDT (arXiv:2510.18893) lets agents claim work on a shared board,
eventually consistent, and reports zero merge failures, up to 21.1 % less time on some tasks and up to 39.4 % more on
others; CAID (arXiv:2603.21489) compares isolation that is enforced with isolation that is only asked for, and both with
a single agent.

Known values for m tasks and n agents:

- solo optimum (one agent picks for all) and team optimum: min(m, n). The team's needs a convention: who takes which.
- No policy that treats tasks and agents alike can do other than pick uniformly, which is worth the expected number of
  distinct tasks, m (1 - (1 - 1/m)^n): 5/3 for the default, against 2. This is the best equivariant value for m > 1.
- Symmetries: m! · n! with agent swaps, m! without (12 and 6 for the default).
"""

import itertools

import numpy as np

from games.errors import TacitError, whole_number
from games.tabular.centralised import centralised
from games.tabular.dec_pomdp import DecPOMDP, matrix_game
from games.tabular.simulator import Simulator

MOST_JOINT_ACTIONS = 1_000_000
"""The largest table that is built."""


def problem(tasks: int = 3, agents: int = 2) -> DecPOMDP:
    """One simultaneous step, reward: the number of different tasks that are picked.

    Args:
      tasks: at least 1.
      agents: at least 2.

    Raises:
      TacitError: for a bad argument, and for more than `MOST_JOINT_ACTIONS` joint actions.
    """
    tasks, agents = _sizes(tasks, agents)
    picked = [len(set(picks)) for picks in itertools.product(range(tasks), repeat=agents)]
    names = [f"task{task}" for task in range(tasks)]
    return matrix_game(np.array(picked, np.float64), [f"agent{agent}" for agent in range(agents)], [names] * agents)


def make(tasks: int = 3, agents: int = 2) -> Simulator:
    """The game of `problem` as a simulator, to horizon 1."""
    return Simulator(problem(tasks, agents), 1, "task_claiming", known_optimum=float(min(tasks, agents)))


def solo(tasks: int = 3, agents: int = 2) -> Simulator:
    """The same game for one agent that picks everybody's task."""
    return Simulator(centralised(problem(tasks, agents)), 1, "task_claiming solo", float(min(tasks, agents)))


def arguments(tasks: int = 3, agents: int = 2) -> dict[str, dict[str, object] | str]:
    """For each structure the arguments that make sense in this game, or in a sentence why there are none."""
    tasks, agents = _sizes(tasks, agents)
    parts = tuple(tuple(range(agent, tasks, agents)) for agent in range(agents))
    return {
        "cheap_talk": {"symbols": 2, "rounds": 1},
        "commitments": {"form": "sequential"},
        "claims": {"items": tuple(range(tasks))},
        "isolation": {"partition": parts} if tasks >= agents else "there are fewer tasks than agents to give them to",
        "leader": {"agent": 0},
        "shared_history": "the game has one step, and nothing is done after it",
        "verification": {"repairs": 1},
    }


def _sizes(tasks: int, agents: int) -> tuple[int, int]:
    tasks = whole_number("task_claiming tasks", tasks, 1)
    agents = whole_number("task_claiming agents", agents, 2)
    if tasks**agents > MOST_JOINT_ACTIONS:
        raise TacitError(
            f"{tasks} tasks and {agents} agents have {tasks}^{agents} joint actions, more than {MOST_JOINT_ACTIONS:,}"
        )
    return tasks, agents
