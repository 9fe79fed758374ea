"""`tacit games`: the list of games, and a description of each.

Facts about games of conf/ with unchanged values are stored (`experiments.catalogue.facts`); any other game is built to
describe it.
"""

from collections.abc import Sequence
from typing import Any

from experiments.catalogue import facts
from experiments.catalogue.facts import FROM_FILE
from experiments.configuration import conf_files
from games.errors import TacitError

SIMULATED = ("game", "version", "players", "actions", "score", "steps", "observers (size)")
TABULAR = ("game", "agents", "states", "actions", "observations", "horizon", "discount", "symmetries", "optimum")


def list_games() -> str:
    """A line for each game of conf/: those that are only simulated, then the tabular library."""
    simulated: list[tuple[str, ...]] = [SIMULATED]
    tabular: list[tuple[str, ...]] = [TABULAR]
    for name in conf_files.choices("game"):
        if name == FROM_FILE:
            continue
        is_tabular, row = _row(conf_files.written("game", name))
        (tabular if is_tabular else simulated).append((name, *row))
    return "\n".join(
        [
            "games of their own, which learners play",
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


def _row(group: dict[str, Any]) -> tuple[bool, list[str]]:
    """Whether a game of conf/ is tabular, and its cells in the list."""
    if (known := facts.of_game(group)) is not None:
        return known["is_tabular"], known["row"]
    from experiments.catalogue import described
    from experiments.configuration.config import build_game

    game = build_game(group)
    return described.is_tabular(game), described.row(game)


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


def describe_game(name: str, overrides: Sequence[str]) -> str:
    """Sizes, keys, names, actions and observation layouts of one game, with `overrides` such as players=3."""
    name, overrides = _named(name, overrides)
    name = conf_files.game_named(name)
    if not overrides and name in conf_files.choices("game"):
        known = facts.of_game(conf_files.written("game", name))
        if known is not None:
            return "\n".join(known["page"])
    from experiments.catalogue import described
    from experiments.configuration.config import build_game
    from experiments.launching import compose

    group = compose.composed_game([f"game={name}", *overrides])
    return "\n".join(described.page(name, group, build_game(group)))


def check_game(name: str, overrides: Sequence[str]) -> tuple[str, bool]:
    """Check one game, with `overrides`: a line for each requirement, "ok" or what is wrong, and whether all are met."""
    from experiments.configuration.config import build_game
    from experiments.launching import compose
    from games import check

    name, overrides = _named(name, overrides)
    found = check.check(build_game(compose.composed_game([f"game={name}", *overrides])))
    lines = [
        f"WRONG  {finding.law}: {finding.wrong}" if finding.wrong else f"ok     {finding.law}" for finding in found
    ]
    return "\n".join(lines), not any(finding.wrong for finding in found)


def _named(name: str, overrides: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The name of a game and its overrides, where the name may be written as for other commands: game=NAME.

    Raises:
      TacitError: for a key in the place of the name.
    """
    key, _, value = name.partition("=")
    if key == "game":
        return value, overrides
    if key == "game.file":
        return FROM_FILE, [name, *overrides]
    if key != name and key.isidentifier():
        raise TacitError(f"{name} comes after the name of a game, as in tacit games lever {name}")
    return name, overrides
