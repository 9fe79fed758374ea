"""One run, as read from its directory."""

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from experiments.configuration import conf_files
from experiments.configuration.config import build_game, canonical
from experiments.runs import directory
from experiments.runs.files import read_json
from experiments.runs.index import Index
from marl.crossplay import CrossPlay
from marl.crossplay.estimators import Estimate, Summary, outlier_seeds, summarise

if TYPE_CHECKING:
    from games.game import Game
    from marl.agent import Agent

State = Literal["finished", "running", "cut", "failed", "damaged"]
GAMES_NOT_KEPT = (
    "the scores of its games were not kept, so what the decks add to the error is unknown: made again it has them"
)


@dataclasses.dataclass(frozen=True)
class Record:
    """One run, as read from its directory.

    Attributes:
      path: the run directory.
      command: the command that made it: train, phase, zsc-table, ….
      name: the run's name, a hash of its science.
      science: what decides its result, nested as in run.json; empty where that cannot be read.
      versions: of the libraries that made it, and the device.
      state: finished; running; cut (interrupted, or its process is gone); failed; damaged (files are missing,
        unreadable, or of another format).
      reason: why it is not finished; empty if it is.
      steps: steps of games done for each seed.
      updated: when its status was last written, ISO 8601 in UTC.
    """

    path: Path
    command: str
    name: str
    science: Mapping[str, Any]
    versions: Mapping[str, str]
    state: State
    reason: str
    steps: int
    updated: str
    index: Index | None = dataclasses.field(default=None, repr=False, compare=False)

    @functools.cached_property
    def keys(self) -> dict[str, Any]:
        """The science as one flat mapping, {"learner.entropy_coef": 0.1, …}, and "game", the game's short name."""
        flat = {key: value for key, value in flatten(self.science).items() if key not in ("format", "game")}
        return {"game": game_name(self.science.get("game") or {}), **flat}

    @functools.cached_property
    def game(self) -> "Game":
        """The game, built from its keys; TacitError if these or its rules are of another version of Tacit."""
        group = dict(self.science.get("game") or {})
        version, game = group.pop("version", None), build_game(group)
        directory.check_version(self.path, version, game)
        return game

    @functools.cached_property
    def agents(self) -> "list[Agent]":
        """The seeds of a finished training run as agents; TacitError if it is none, or cannot be read."""
        return directory.read_run(self.path).agents

    @functools.cached_property
    def summaries(self) -> dict[str, Summary]:
        """SP, XP and gap of the "sampled" and the "greedy" cross-play; empty if it is not a finished training run.

        Computing them takes about 20 ms for each, unless they are in the index.
        """
        return {
            play: Summary(*(Estimate(*estimate) for estimate in estimates))
            for play, estimates in self._found["summaries"].items()
        }

    @property
    def outlier_seeds(self) -> list[str]:
        """The labels of seeds whose greedy cross-play is far from that of all others (`estimators.outlier_seeds`)."""
        return self._found["far_seeds"]

    @functools.cached_property
    def _found(self) -> dict[str, Any]:
        """The estimates from the cross-play, as plain data, which the index caches under these names."""
        if self.command != "train" or self.state != "finished":
            return {"summaries": {}, "far_seeds": []}
        known = None if self.index is None else self.index.summaries(self.path.name)
        if known is not None:
            return known
        results = self.crossplay()
        greedy = results["greedy"]
        found = {
            "summaries": {play: list(map(list, _summary(cells))) for play, cells in results.items()},
            "far_seeds": [greedy.labels[seed] for seed in outlier_seeds(*greedy.cells)],
        }
        if self.index is not None:
            self.index.keep_summaries(self.path.name, found)
        return found

    def metrics(self) -> dict[str, np.ndarray]:
        """The arrays of metrics.npz as in `directory.read_metrics`; TacitError if it is missing or damaged."""
        return directory.read_metrics(self.path)

    def crossplay(self) -> dict[str, CrossPlay]:
        """The "sampled" and the "greedy" cross-play; TacitError if the file is missing or damaged."""
        return directory.read_crossplay(self.path)

    def crossplay_settings(self) -> Mapping[str, Any]:
        """How it was cross-played: games, seating, seed, …; TacitError if the file is missing or damaged."""
        return read_json(self.path / "crossplay.json").get("settings", {})


def _summary(cells: CrossPlay) -> Summary:
    found = summarise(*cells.cells)
    return found if cells.scores is not None else Summary(*map(_without_error, found))


def _without_error(estimate: Estimate) -> Estimate:
    """An estimate from cells whose games were not kept."""
    return estimate if estimate.mean is None else Estimate(estimate.mean, note=GAMES_NOT_KEPT)


def game_name(game: Mapping[str, Any]) -> str:
    """A game's short name, from the `game` group of a configuration.

    This is the choice of conf/game for its preset ("hanabi_small"), if it has one; else the name of its file without
    the ending; else the last part of `_target_`, or the part before it if the last is `make` ("lever").
    """
    if game.get("preset"):
        return conf_files.game_named(str(game["preset"]))
    if game.get("file"):
        return Path(str(game["file"])).stem
    parts = [part for part in str(game.get("_target_", "")).split(".") if part != "make"]
    return parts[-1] if parts else ""


def flatten(plain: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as a flat one, with keys joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in plain.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def plain_text(value: Any) -> str:
    """A configuration's value as JSON, the same for equal numbers."""
    return json.dumps(canonical(value), sort_keys=True)
