"""Stored facts, facts.json, so that commands which only print them start without computing anything.

    python -m experiments.catalogue.facts     computes the facts and writes the file; a test compares the two

The file holds, for each game of conf/ with the values written there, its row in the list of games and all that
`tacit games NAME` shows, including the orders of its symmetry groups; and what help texts say of methods, structures
and partners.
"""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.configuration import conf_files
from experiments.configuration.config import canonical

FILE = Path(__file__).with_name("facts.json")
FROM_FILE = "file"
"""The choice of `game` that reads a user's file, so there are no stored facts about it."""


@functools.cache
def read() -> dict[str, Any]:
    """The contents of facts.json; see `computed`."""
    return json.loads(FILE.read_text(encoding="utf-8"))


def of_game(group: Mapping[str, Any]) -> dict[str, Any] | None:
    """The stored facts of a `game` group, if it is one of conf/ with unchanged values; else None."""
    return next((known for known in read()["games"].values() if canonical(known["group"]) == canonical(group)), None)


def computed() -> dict[str, Any]:
    """The facts as plain data, computed from the code; takes some seconds."""
    from experiments.catalogue import described
    from experiments.configuration.config import build_game
    from games.tabular.structures import STRUCTURES
    from marl.exact.methods import METHODS

    games = {}
    for name in conf_files.choices("game"):
        if name != FROM_FILE:
            group = conf_files.written("game", name)
            game = build_game(group)
            games[name] = {
                "group": group,
                "name": game.name,
                "score_range": list(game.score_range),
                "optimum": getattr(game, "known_optimum", None),
                "is_tabular": described.is_tabular(game),
                "row": described.row(game),
                "page": described.page(name, group, game),
            }
    return {
        "games": games,
        "methods": [{"key": one.key, "source": one.source, "uses": one.uses} for one in METHODS],
        "structures": [{"name": one.name, "adds": one.adds} for one in STRUCTURES],
        "partner_choices": described.PARTNER_CHOICES,
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(computed(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
