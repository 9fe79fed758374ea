"""Tabular games for studies: building them, their symmetry groups, and the best values that can be reached."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from experiments.configuration.config import build_game
from games.errors import TacitError, one_of, some_of, whole_number
from games.game import Game
from games.tabular import memories
from games.tabular.histories import Tree
from games.tabular.simulator import Simulator
from games.tabular.symmetry import SymmetryGroup, automorphisms
from marl.exact import equivariant
from marl.exact.deterministic import on_histories, to_behaviour
from marl.exact.equivariant import BestEquivariant, best_equivariant
from marl.exact.methods import METHODS
from marl.exact.optimum import WORK, Optimum, optimum

SEARCH = 2
"""The version of the search for one solution: part of the names of runs that depend on it. Version 1 could miss windows
of α narrower than a step of the grid."""
MOST_STARTS = 1000
"""The most starts of a method and of a search."""


class Groups(NamedTuple):
    """The symmetries of a game, with and without agent swaps."""

    swap: SymmetryGroup
    no_swap: SymmetryGroup


def build_tabular(config: Mapping[str, Any]) -> Simulator:
    """The tabular game that a `game` group stands for.

    Raises:
      TacitError: if the game is not tabular.
    """
    return tabular(build_game(config))


def tabular(game: Game) -> Simulator:
    """The game itself.

    Raises:
      TacitError: if it is not tabular.
    """
    if not isinstance(game, Simulator):
        raise TacitError(
            f"exact commands need a tabular game, such as game=dectiger or game.file=PATH, and {game.name} is none"
        )
    return game


def groups(simulator: Simulator) -> Groups:
    """Both symmetry groups of a game."""
    return Groups(*(automorphisms(simulator.problem, swap_agents=swap) for swap in (True, False)))


def parameters(game: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a `game` group without name, horizon and discount, which a run's JSON file has elsewhere."""
    return {key: value for key, value in game.items() if key not in ("_target_", "horizon", "discount", "file")}


class SearchEffort(NamedTuple):
    """How long the best policies are searched for."""

    work: int = WORK  # of `optimum`, and the starts of its alternating best responses
    restarts: int = 128
    tied_restarts: int = equivariant.RESTARTS
    tied_steps: int = equivariant.STEPS


def best_values(
    tree: Tree, both: Groups, *, seed: int, search: SearchEffort
) -> tuple[Optimum | BestEquivariant, dict[str, BestEquivariant]]:
    """The best self-play policy, and the best equivariant ones with and without agent swaps.

    With bounded memory they are the best of its policies, and upper bounds those of agents who forget nothing.
    """
    settings = {"restarts": search.tied_restarts, "steps": search.tied_steps, "seed": seed}
    best = optimum(tree.problem, tree.horizon, work=search.work, restarts=search.restarts, seed=seed)
    first = None
    if tree.memory is None:
        first = to_behaviour(on_histories(tree.problem, tree.horizon, best.policy), tree)
    else:
        best = best_equivariant(tree, both.swap.trivial, upper_bound=best.upper_bound, first=first, **settings)
    # A policy that is equivariant also under swaps is equivariant under the other symmetries.
    without = best_equivariant(tree, both.no_swap, upper_bound=best.upper_bound, first=first, **settings)
    swapped = best_equivariant(tree, both.swap, upper_bound=without.upper_bound, first=first, **settings)
    return best, {"swap": swapped, "no_swap": without}


def bounds_of(found: Optimum | BestEquivariant) -> dict[str, Any]:
    """A best value and its bounds, as plain data; None for an infinite bound."""
    upper = found.upper_bound if math.isfinite(found.upper_bound) else None
    return {"value": found.value, "exact": found.exact, "upper_bound": upper, "method": found.method}


def decisions(tree: Tree) -> list[dict[str, Any]]:
    """The decisions of agent 0: each history in which it has a choice, in words, with its number and legal actions.

    With bounded memory the words are the step, from 1, and what is remembered.

    Returns:
      {"history": number, "words": "left, saw right", "actions": {number: name}} for each.
    """
    problem, own = tree.problem, tree.agents[0]
    actions, observations = problem.actions[0], problem.observations[0]
    remembered = [] if tree.memory is None else memories.windows(tree, 0).reshape(own.size, -1, 2).tolist()
    found = []
    for history in range(own.size):
        legal = np.flatnonzero(own.legal[history])
        if len(legal) < 2:
            continue
        if tree.memory is None:
            words, (first, *rest) = [], own.path(history)
            pairs = zip([None, *rest[::2]], [first, *rest[1::2]], strict=True)
        else:
            words = [f"step {int(np.searchsorted(own.offsets, history, side='right'))}"]
            pairs = (tuple(None if entry < 0 else entry for entry in pair) for pair in remembered[history])
        for action, observation in pairs:
            words += [] if action is None else [actions[action]]
            words += [] if observation is None else [f"saw {observations[observation]}"]
        found.append({"history": history, "words": ", ".join(words), "actions": {int(a): actions[a] for a in legal}})
    return found


def probabilities(arrays: Mapping[str, np.ndarray], name: str, agents: int) -> tuple[np.ndarray, ...]:
    """For each agent float64[K, H, A], from the log-probabilities NAME_agent_k in an .npz file of a run."""
    return tuple(np.exp(arrays[f"{name}_agent_{k}"]) for k in range(agents))


def method_settings(plain: Mapping[str, Any]) -> dict[str, Any]:
    """The checked keys that all commands with methods share: method, agent_swaps, starts, seed and fast.

    Raises:
      TacitError: naming the first invalid value.
    """
    return {
        "method": some_of("method", plain.get("method"), [method.key for method in METHODS]),
        "agent_swaps": one_of("agent_swaps", plain.get("agent_swaps"), (True, False)),
        "starts": whole_number("starts", plain.get("starts"), 2, MOST_STARTS),
        "seed": whole_number("seed", plain.get("seed"), 0, 2**31 - 3),
        "fast": switch("fast", plain.get("fast")),
    }


def switch(name: str, value: Any) -> bool:
    """`value`, if it is true or false.

    Raises:
      TacitError: naming `name`.
    """
    if not isinstance(value, bool):
        raise TacitError(f"{name} must be true or false, not {value!r}")
    return value
