"""Descriptions computed from the code: a game's row in the list of games, its page, and the partners."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.presentation import tables
from games.errors import TacitError
from games.game import Game
from games.tabular.dec_pomdp import DecPOMDP
from games.tabular.simulator import Simulator
from games.tabular.symmetry import automorphisms
from marl.partners import PARTNERS

ALL_PARTNERS = "partners"
"""The word in `--with` for all rule-based partners."""
FOREIGN = "jaxmarl:"
"""The prefix in `--with` of a file with JaxMARL's weights."""
PARTNER_CHOICES = f"{ALL_PARTNERS}, or some of {', '.join(PARTNERS)}, [NAME=]my_policy.Mine, [NAME=]{FOREIGN}FILE"
"""What `--with` accepts, separated by commas."""
_WIDTH = 110


def is_tabular(game: Game) -> bool:
    """Whether the exact lab's commands accept the game, too."""
    return isinstance(game, Simulator)


def row(game: Game) -> list[str]:
    """The game's cells in the list, under the headers `listing.TABULAR` or `listing.SIMULATED` without the name."""
    return list(_tabular_row(game) if isinstance(game, Simulator) else _simulated_row(game))


def page(name: str, group: Mapping[str, Any], game: Game) -> list[str]:
    """The lines of `tacit games NAME`: sizes, keys, names, actions and observation layouts."""
    keys = " ".join(f"{key}={'null' if value is None else value}" for key, value in group.items() if key != "_target_")
    lines = [f"{name}: {game}", f"version {game.version}, at most {game.horizon} steps", f"keys {keys}"]
    if isinstance(game, Simulator):
        lines += ["", *_describe_tables(game)]
    lines += ["", "actions"]
    lines += [f"{action:>5}  {game.action_name(action)}" for action in range(game.num_actions)]
    for name in game.observers:
        try:
            observer = game.observer(name)
        except TacitError as error:
            lines += ["", str(error)]
            continue
        lines += ["", f"observer {observer.name}: {observer.size} entries of {observer.dtype.__name__}"]
        lines += str(observer.layout).split("\n")
    return lines


def _simulated_row(game: Game) -> tuple[str, ...]:
    low, high = game.score_range
    observers = ", ".join(f"{name} ({game.observer(name).size})" for name in game.observers)
    sizes = (str(game.num_players), str(game.num_actions), f"{low:g} … {high:g}", str(game.horizon))
    return (game.version, *sizes, observers)


def _tabular_row(game: Simulator) -> tuple[str, ...]:
    problem = game.problem
    return (
        str(problem.num_agents),
        str(problem.num_states),
        _sizes(problem.num_actions),
        _sizes(problem.num_observations),
        str(game.horizon),
        f"{problem.discount:g}",
        " / ".join(_orders(problem)),
        _optimum(game),
    )


def _sizes(sizes: tuple[int, ...]) -> str:
    return " x ".join(map(str, sizes))


def _orders(problem: DecPOMDP) -> list[str]:
    """The numbers of symmetries with agent swaps and without."""
    try:
        groups = [automorphisms(problem, swap_agents=swap) for swap in (True, False)]
    except TacitError:  # igraph, an extra, is not installed
        return ["–", "–"]
    return [tables.whole(group.policy_order) for group in groups]


def _optimum(game: Simulator) -> str:
    return "–" if game.known_optimum is None else f"{game.known_optimum:.10g}"


def _describe_tables(game: Simulator) -> list[str]:
    """The lines about a tabular game: horizon, symmetries, optimum, and all names."""
    problem = game.problem
    swap, no_swap = _orders(problem)
    facts = [
        ("horizon", f"{game.horizon}, discount {problem.discount:g}"),
        ("symmetries", f"{swap} with agent swaps, {no_swap} without"),
        ("known optimum", _optimum(game)),
        ("states", _names(problem.states)),
    ]
    for what, of_agents in (("actions", problem.actions), ("observations", problem.observations)):
        if len(set(of_agents)) == 1:
            facts.append((f"{what} of each agent", _names(of_agents[0])))
        else:
            own = zip(problem.agents, of_agents, strict=True)
            facts += [(f"{what} of {agent}", _names(listed)) for agent, listed in own]
    width = max(len(what) for what, _ in facts) + 2
    return [
        line
        for what, text in facts
        for line in textwrap.wrap(
            f"{what:<{width}}{text}", _WIDTH, subsequent_indent=" " * width, break_on_hyphens=False
        )
    ]


def _names(listed: Sequence[str]) -> str:
    return f"{len(listed)}: {', '.join(listed)}"
