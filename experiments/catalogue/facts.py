"""What is known without a computation, so that commands which only say it start at once: facts.json.

    python -m experiments.catalogue.facts     computes the facts and writes the file anew; a test compares the two

It holds, of each game of conf/ as it stands there, its row in the list of games and all that `tacit games NAME` shows,
symmetry orders among it; and what help texts say of methods, structures and partners.
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
"""The choice of `game` that reads a file of the user's: nothing is known of it."""


@functools.cache
def read() -> dict[str, Any]:
    """The contents of facts.json; see `computed`."""
    return json.loads(FILE.read_text(encoding="utf-8"))


def of_game(group: Mapping[str, Any]) -> dict[str, Any] | None:
    """The facts of the game that a `game` group stands for, if it is one of conf/ with the values that it has there."""
    return next((known for known in read()["games"].values() if canonical(known["group"]) == canonical(group)), None)


def computed() -> dict[str, Any]:
    """The facts as plain data, from the code itself: some seconds of work."""
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
