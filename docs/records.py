"""Records of results: what a table was made of, and whether that is still the code's."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments import runs
from experiments.configuration import targets
from experiments.configuration.config import build_game
from experiments.studies.tabular import SEARCH
from marl import crossplay


class Found(NamedTuple):
    """What was read of a piece's folder."""

    tables: dict[str, str]
    """Markdown, by name."""
    numbers: Any
    """What the tables show and more, as plain data."""
    paths: Sequence[Path]
    """The runs that they are of."""


class Piece(NamedTuple):
    """What one table needs."""

    commands: Callable[["Records"], Sequence[str]]
    """Arguments of `tacit`, to run in a folder of the piece's own; from the records of the pieces that it needs."""
    read: Callable[[Path, bool], Found]
    """What stands in that folder afterwards; and whether the size is small."""
    needs: tuple[str, ...] = ()
    smaller: str = "seeds=6 budget.steps=8192 crossplay.games=20 execution.rows=2"
    """Added to every command at the small size: of trainings, with enough seeds for intervals."""


class Records(NamedTuple):
    """The records in a folder."""

    folder: Path

    def file(self, piece: str) -> Path:
        """Where the record of a piece is, or would be."""
        return self.folder / f"{piece.replace('/', '_')}.json"

    def read(self, piece: str) -> dict[str, Any] | None:
        """A record, or None if there is none."""
        return runs.read_json(self.file(piece)) if self.file(piece).exists() else None


def made_now(folder: Path) -> list[Path]:
    """The runs in a folder that are of the code's versions; those of older ones stay there, and belong to no table."""
    paths = sorted(file.parent for file in folder.glob("*/run.json"))
    return [path for path in paths if not outdated({"depends": depends_on([path])})]


def depends_on(paths: Sequence[Path]) -> dict[str, Any]:
    """Of runs: their seeds, games and learners with the versions that they had, and those of what scored them.

    Trainings have seeds, learners and cross-play; the others, of the exact lab, the search for one solution.
    """
    sciences = [runs.read_json(path / "run.json")["science"] for path in paths]
    trainings = [one for one in sciences if "learner" in one]
    games = {json.dumps(one["game"], sort_keys=True): one["game"] for one in sciences if one["game"] is not None}
    seeds = {(one["first_seed"], one["first_seed"] + one["seeds"] - 1) for one in trainings}
    depends: dict[str, Any] = {"games": list(games.values())}
    if trainings:
        depends |= {
            "seeds": sorted(seeds),
            "learners": {one["learner"]["_target_"]: one["learner"].get("version") for one in trainings},
            "cross-play": crossplay.VERSION,
        }
    if searched := {f"search-{one['search']}" for one in sciences if "search" in one}:
        (depends["search"],) = searched
    return depends


def outdated(record: Mapping[str, Any]) -> list[str]:
    """What a record depends on that has another version now, such as "ippo-2, now ippo-3"."""
    depends, found = record["depends"], []
    for game in depends["games"]:
        now = build_game({key: value for key, value in game.items() if key != "version"}).version
        found += [(game["version"], now)]
    for target, then in depends.get("learners", {}).items():
        found += [(then, getattr(targets.find("learner", {"_target_": target}), "version", None))]
    now = {"cross-play": crossplay.VERSION, "search": f"search-{SEARCH}"}
    found += [(depends[name], version) for name, version in now.items() if name in depends]
    return [f"{then}, now {now}" for then, now in dict.fromkeys(found) if then != now]
