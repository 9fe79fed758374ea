"""Split maze: a 2 x 2 maze whose walls are split between two observers who must agree on every step to its exit.

Two cells, upper right and lower left, lie between the start (upper left) and the exit (lower right). One way goes
through the passages top (right) and right (down), the other through left (down) and bottom (right). The walls are drawn
uniformly from the seven layouts that leave a way open. Agent 0 sees the walls in the first `split` of the passages top,
left, right, bottom, and agent 1 sees the others; by default one has the half at the start, the other that at the exit.
Both propose to go right or down, and they go if they propose the same and no wall is there. Then each sees the cell
they are in or, if they proposed different directions, that they disagreed. Reaching the exit pays 1.

Who speaks first is a parameter. None: both propose at the same time. An agent: at every step of the maze it proposes,
and the other one, having heard that, accepts or proposes the other direction. Talk about walls is left to the structure
`cheap_talk`. Two steps of the maze suffice; a third makes up for one that led nowhere.

As a Dec-POMDP of horizon `steps`, or twice that with a first speaker: the state is the walls, the cell and what was
said. Who has reached the exit or is not to speak has the one legal action "wait".

The finding it models: language models that solve a maze alone often fail when each of two has a part of the map and
both must agree on every move, and it often helps if the stronger one begins. Cited for comparison, not reproduced: "The
Collaboration Gap", arXiv:2511.02687.

Known values:

- solo optimum (one agent sees all walls and needs nobody's consent): 1.
- Team optimum in two steps, by split and first speaker; in three steps it is always 1.

  | split | both at once | agent 0 first | agent 1 first |
  |-------|--------------|---------------|---------------|
  | 1     | 5/7          | 6/7           | 1             |
  | 2     | 5/7          | 6/7           | 6/7           |
  | 3     | 5/7          | 1             | 6/7           |

  An agent that sees three passages always knows a way, and if it begins, the other one need only follow.
- The best equivariant policy has the same value, but for split 2 with both at once, where it has 9/14: if neither agent
  sees a wall, only a convention tells them which way to go.
- Symmetries: 2 with agent swaps and without, exchanging right and down.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from games.errors import one_of, whole_number
from games.tabular.dec_pomdp import DecPOMDP, from_functions
from games.tabular.simulator import Simulator

PASSAGES = ("top", "left", "right", "bottom")
RIGHT, DOWN, WAIT = range(3)
ACTIONS = ("right", "down", "wait")
START, EXIT = "upper-left", "lower-right"
CELLS = (START, "upper-right", "lower-left", EXIT)
WAYS = {
    (START, RIGHT): ("top", "upper-right"),
    (START, DOWN): ("left", "lower-left"),
    ("upper-right", DOWN): ("right", EXIT),
    ("lower-left", RIGHT): ("bottom", EXIT),
}
"""(cell, direction) -> (passage, next cell)."""
LAYOUTS = tuple(
    frozenset(walls)
    for count in range(3)
    for walls in itertools.combinations(PASSAGES, count)
    if not {"top", "right"} & set(walls) or not {"left", "bottom"} & set(walls)
)
"""The seven sets of walled passages that leave a way open."""


class _State(NamedTuple):
    walls: frozenset[str]
    cell: str
    said: str  # "agreed", "disagreed", or what was proposed to the second speaker: "right", "down"


def problem(first: int | None = None, split: int = 2) -> DecPOMDP:
    """The tables of the game for two.

    Args:
      first: the agent that speaks first, 0 or 1; None: both propose at the same time.
      split: how many of the four passages agent 0 sees.

    Raises:
      TacitError: for a `first` that is not 0, 1 or None; for a split that is not a whole number from 1 to 3.
    """
    first = one_of("split_maze first", first, (None, 0, 1))
    split = whole_number("split_maze split", split, 1, 3)
    return _tables(("agent0", "agent1"), (PASSAGES[:split], PASSAGES[split:]), first)


def make(first: int | None = None, split: int = 2, steps: int = 2) -> Simulator:
    """The game of `problem` as a simulator, for `steps` proposals of each agent, at least 2."""
    tables, steps = problem(first, split), whole_number("split_maze steps", steps, 2)
    horizon = steps if first is None else 2 * steps
    return Simulator(tables, horizon, label="split_maze", known_optimum=_optimum(first, split, steps))


def solo(first: int | None = None, split: int = 2, steps: int = 2) -> Simulator:
    """The same maze for one agent who sees all walls. `first` and `split` are as in `make` and change nothing here."""
    del first, split
    steps = whole_number("split_maze steps", steps, 2)
    return Simulator(_tables(("planner",), (PASSAGES,), None), steps, label="split_maze solo", known_optimum=1.0)


def arguments(first: int | None = None, split: int = 2, steps: int = 2) -> dict[str, dict[str, object] | str]:
    """For each structure the arguments that make sense in this game, or in a sentence why there are none."""
    del split, steps
    return {
        "cheap_talk": {"symbols": 2, "rounds": 1},
        "commitments": {"form": "sequential"},
        "claims": {"items": ACTIONS[:WAIT]},
        "isolation": "both must propose the same direction, so there are no parts in which each could work alone",
        "leader": {"agent": 0},
        "shared_history": {},
        "verification": {"repairs": 1, "conflict": _leads_nowhere(first)},
    }


def _optimum(first: int | None, split: int, steps: int) -> float:
    if steps > 2:
        return 1.0
    if first is None:
        return 5 / 7
    return 1.0 if (split if first == 0 else 4 - split) == 3 else 6 / 7


def _leads_nowhere(first: int | None) -> Callable[[int, tuple[int, ...]], bool]:
    """Whether a joint action (by numbers, in a state by number) settles a step of the maze and nobody moves."""
    states = _reachable(first)

    def leads_nowhere(index: int, actions: tuple[int, ...]) -> bool:
        state = states[index]
        settles = first is None or state.said in ACTIONS
        return settles and state.cell != EXIT and _next(state, actions, first).cell == state.cell

    return leads_nowhere


def _tables(agents: tuple[str, ...], seen: tuple[tuple[str, ...], ...], first: int | None) -> DecPOMDP:
    """The game of agents of whom each sees some passages; in turns if there is a first of two."""
    states = _reachable(first)
    number = {state: index for index, state in enumerate(states)}
    views = [list(dict.fromkeys(_view(walls, own) for walls in LAYOUTS)) for own in seen]
    names = [[*own, *CELLS, "disagreed", *_turn_names(agent, first)] for agent, own in enumerate(views)]

    def observation(actions: tuple[int, ...], index: int) -> dict[tuple[int, ...], float]:
        del actions
        _, cell, said = states[index]
        if said in ("agreed", "disagreed"):
            told = [cell if said == "agreed" else said] * len(agents)
        else:
            told = ["proposed" if agent == first else f"hears-{said}" for agent in range(len(agents))]
        return {tuple(own.index(what) for own, what in zip(names, told, strict=True)): 1.0}

    def initial_observation(index: int) -> dict[tuple[int, ...], float]:
        walls = states[index].walls
        return {tuple(names[agent].index(_view(walls, own)) for agent, own in enumerate(seen)): 1.0}

    def wins(index: int, actions: tuple[int, ...]) -> float:
        state = states[index]
        return float(state.cell != EXIT and _next(state, actions, first).cell == EXIT)

    return from_functions(
        agents=agents,
        states=["-".join([cell, said, *sorted(walls)]) for walls, cell, said in states],
        actions=(ACTIONS,) * len(agents),
        observations=names,
        discount=1.0,
        start=[1 / len(LAYOUTS)] * len(LAYOUTS) + [0.0] * (len(states) - len(LAYOUTS)),
        transition=lambda index, actions: {number[_next(states[index], actions, first)]: 1.0},
        observation=observation,
        reward=wins,
        initial_observation=initial_observation,
        legal=[_legal(own, second=first == 1 - agent) for agent, own in enumerate(names)],
    )


def _reachable(first: int | None) -> list[_State]:
    """The states that play can lead to, those at the start first."""
    states = [_State(walls, START, "agreed") for walls in LAYOUTS]
    for state in states:  # which grows
        for actions in itertools.product(range(len(ACTIONS)), repeat=2):
            if (after := _next(state, actions, first)) not in states:
                states.append(after)
    return states


def _next(state: _State, actions: tuple[int, ...], first: int | None) -> _State:
    """What follows a joint action; an illegal one changes nothing or counts as a disagreement."""
    if state.cell == EXIT:
        return state
    if first is not None:
        if state.said in ("agreed", "disagreed"):
            return state if actions[first] == WAIT else state._replace(said=ACTIONS[actions[first]])
        actions = (ACTIONS.index(state.said), actions[1 - first])
    if len(set(actions)) > 1:
        return state._replace(said="disagreed")
    passage, cell = WAYS.get((state.cell, actions[0]), ("", state.cell))
    if cell == EXIT and passage not in state.walls:
        return _State(frozenset(), EXIT, "agreed")
    return _State(state.walls, state.cell if passage in state.walls else cell, "agreed")


def _view(walls: frozenset[str], seen: tuple[str, ...]) -> str:
    """The name of an agent's observation of the walls, given the passages that it sees."""
    return "wall-" + "+".join(passage for passage in seen if passage in walls) if walls & set(seen) else "no-wall"


def _turn_names(agent: int, first: int | None) -> list[str]:
    """What an agent observes when the first speaker has proposed."""
    if first is None:
        return []
    return ["proposed"] if agent == first else ["hears-right", "hears-down"]


def _legal(observations: list[str], second: bool) -> np.ndarray:
    """bool[O, 3]: right and down when it is one's turn, else wait."""
    waits = [name in ("proposed", EXIT) or (second and not name.startswith("hears")) for name in observations]
    return np.array([[not wait, not wait, wait] for wait in waits])
