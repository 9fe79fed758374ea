"""`tacit games`: which games there are, and what a game is made of."""

import textwrap
from collections.abc import Sequence
from typing import Any

from experiments import compose, terminal
from experiments.config import build_game
from games import check
from games.errors import TacitError
from games.game import Game
from games.tabular.dec_pomdp import DecPOMDP
from games.tabular.simulator import Simulator
from games.tabular.symmetry import automorphisms

FROM_FILE = "file"
"""The choice of `game` that reads a file of the user's."""

_SIMULATED = ("game", "version", "players", "actions", "score", "steps", "observers (size)")
_TABULAR = ("game", "agents", "states", "actions", "observations", "horizon", "discount", "symmetries", "optimum")
_WIDTH = 110


def list_games() -> str:
    """A line for each game that is there without a file of the user's: simulators, then the tabular library."""
    simulated: list[tuple[str, ...]] = [_SIMULATED]
    tabular: list[tuple[str, ...]] = [_TABULAR]
    for name in compose.choices("game"):
        if name == FROM_FILE:
            continue
        game = build_game(compose.compose([f"game={name}"])["game"])
        if isinstance(game, Simulator):
            tabular.append((name, *_tabular_row(game)))
        else:
            simulated.append((name, *_simulated_row(game)))
    return "\n".join(
        [
            "simulators",
            *_columns(simulated, left=(0, 1, 6)),
            "",
            "tabular games, which exact commands take as well",
            *_columns(tabular, left=(0,)),
            "",
            "symmetries: of policies, with agent swaps / without; –: needs igraph, pip install 'tacit[symmetry]'",
            "optimum: the best expected return in self-play at this horizon and discount, where it is known",
            "tacit games NAME shows a game's names and layouts; KEY=VALUE changes it, such as horizon=4 or variant=E",
            f"tacit games {FROM_FILE} file=PATH shows the game of a .dpomdp file of your own",
        ]
    )


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


def _columns(rows: Sequence[tuple[str, ...]], left: tuple[int, ...]) -> list[str]:
    """Rows of cells as lines, the columns `left` aligned to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if number in left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _sizes(sizes: tuple[int, ...]) -> str:
    return " x ".join(map(str, sizes))


def _orders(problem: DecPOMDP) -> list[str]:
    """The numbers of symmetries with agent swaps and without."""
    try:
        groups = [automorphisms(problem, swap_agents=swap) for swap in (True, False)]
    except TacitError:  # igraph, an extra, is not installed
        return ["–", "–"]
    return [terminal.symmetries(group.policy_order) for group in groups]


def _optimum(game: Simulator) -> str:
    return "–" if game.known_optimum is None else f"{game.known_optimum:.10g}"


def describe_game(name: str, overrides: Sequence[str]) -> str:
    """Sizes, keys, names, actions and observation layouts of one game, with `overrides` such as players=3."""
    group = _group(name, overrides)
    game = build_game(group)
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
        lines += [str(observer.layout)]
    return "\n".join(lines)


def check_game(name: str, overrides: Sequence[str]) -> tuple[str, bool]:
    """A line for each law of the contract, "ok" or what breaks it, and whether one game, with `overrides`, keeps it."""
    found = check.check(build_game(_group(name, overrides)))
    lines = [
        f"WRONG  {finding.law}: {finding.wrong}" if finding.wrong else f"ok     {finding.law}" for finding in found
    ]
    return "\n".join(lines), not any(finding.wrong for finding in found)


def _group(name: str, overrides: Sequence[str]) -> dict[str, Any]:
    """The group `game` of the game called `name`, with `overrides` such as players=3."""
    given = (f"game.{override.removeprefix('game.')}" for override in overrides)
    return compose.compose([f"game={name}", *given])["game"]


def _describe_tables(game: Simulator) -> list[str]:
    """What the exact commands see: horizon, symmetries, optimum, and all names."""
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
