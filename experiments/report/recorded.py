"""Games that were played elsewhere, or by `tacit play`, for the replay page of a report."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.report import games
from games.hanabi import records

MOST = 500
"""The most games of a file in a report."""


class Recorded(NamedTuple):
    """The games of a file, of which those that break the rules are left out."""

    number: int
    """Of games in the file."""
    refused: int
    played: dict[int, dict[str, Any]]
    """The first `MOST` of the others by their number in the file, in the format of `experiments.report.games`."""


def read(file: Path) -> Recorded:
    """The games of a file that `games.hanabi.records` reads.

    Raises:
      TacitError: if it cannot be read.
    """
    recorded = records.read(file)
    replayed = records.replay(recorded)
    legal = np.flatnonzero(replayed.legal()).tolist()
    played = {number: _described(file, recorded, number) for number in legal[:MOST]}
    return Recorded(len(recorded.decks), len(replayed.refused), played)


def _described(file: Path, recorded: records.RecordedGames, number: int) -> dict[str, Any]:
    game, length = recorded.game, int(recorded.lengths[number])
    states = jax.device_get(records.states(recorded, number))
    one = games.recording(game, states, recorded.actions[number, :length])
    told = games.describe(game, one)
    if not states.ended[-1]:
        told["ending"] = "the players stopped before the rules end the game"
    seats = [{"agent": seat, "label": ""} for seat in range(game.players)]
    return {"format": games.FORMAT, "seats": seats, "source": f"game {number} of {file.name}", **told}
