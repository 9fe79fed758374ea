"""Records of results: what a table was made from, and whether the code has changed since."""

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from experiments import runs
from experiments.analysis import conventions
from experiments.analysis.conventions_tables import Play
from experiments.configuration import targets
from experiments.configuration.config import build_game
from experiments.presentation import figures, tables
from experiments.presentation.tables import Column, Table
from experiments.studies.tabular import SEARCH
from games.errors import TacitError
from marl import crossplay
from marl.crossplay.estimators import Estimate, Summary

CONVENTIONS = f"conventions-{conventions.VERSION}"
FIGURES = Path(__file__).parent / "figures"


class Found(NamedTuple):
    """The results read from a piece's folder."""

    tables: dict[str, str]
    """The tables in Markdown, by name."""
    numbers: Any
    """The numbers of the tables and more, as plain data."""
    paths: Sequence[Path]
    """The runs that they come from."""
    measured: bool = False
    """Whether the numbers are those of `tacit conventions`, and so depend on its version."""


class Piece(NamedTuple):
    """The commands behind one or several tables, and how to read their results."""

    commands: Callable[["Records"], Sequence[str]]
    """Given the records of the pieces in `needs`, arguments of `tacit` to run in a folder of the piece's own."""
    read: Callable[[Path, bool], Found]
    """Reads the results from that folder, given whether the size is small."""
    needs: tuple[str, ...] = ()
    smaller: str = "seeds=6 budget.steps=8192 crossplay.games=20 execution.rows=2"
    """Arguments added to every command at the small size; the default is for training, with enough seeds."""


class Records(NamedTuple):
    """The records in a folder."""

    folder: Path

    def file(self, piece: str) -> Path:
        """The path of a piece's record, which need not exist."""
        return self.folder / f"{piece.replace('/', '_')}.json"

    def read(self, piece: str) -> dict[str, Any] | None:
        """A record, or None if there is none."""
        return runs.read_json(self.file(piece)) if self.file(piece).exists() else None


def current_runs(folder: Path) -> list[Path]:
    """The runs in a folder with the code's present versions; runs of older versions are ignored."""
    paths = sorted(file.parent for file in folder.glob("*/run.json"))
    return [path for path in paths if not outdated({"depends": depends_on([path])})]


def only_run(folder: Path) -> Path:
    """The run in a folder with the code's present versions.

    Raises:
      TacitError: if there is none, or several.
    """
    found = current_runs(folder)
    if len(found) != 1:
        raise TacitError(f"{folder} has {len(found)} runs of this version, and should have one: remove the others")
    return found[0]


def depends_on(paths: Sequence[Path]) -> dict[str, Any]:
    """What runs depend on, with versions: games and, for training runs, learners and cross-play; also the seeds.

    Runs of the exact lab have the version of the search for one solution instead of learners, cross-play and seeds;
    partners measured by `tacit conventions` only have a game.
    """
    sciences = [science(path) for path in paths]
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


def science(path: Path) -> dict[str, Any]:
    """What decides the results of a run; of partners measured alone, the game."""
    if (path / "run.json").exists():
        return runs.read_json(path / "run.json")["science"]
    return {"game": runs.read_json(path / "conventions.json")["settings"]["game"]}


def greedy_conventions(path: Path, *, games: int) -> Play:
    """What `tacit conventions` says of a run's greedy play, from so many games; files beside the run's folder."""
    return conventions.conventions_run(path, games=games, plays=["greedy"], output=path.parents[1]).plays["greedy"]


def entropy_coef(path: Path) -> float:
    """The entropy coefficient of a training run."""
    return science(path)["learner"]["entropy_coef"]


def greedy_curve(path: Path) -> dict[str, list[Any]]:
    """The greedy evaluations of a training run: `steps` of a seed, and mean `self_play` and `cross_play` there."""
    metrics = runs.read_metrics(path)
    curve = {"steps": metrics["evaluation_steps"].tolist()}
    return curve | {name: metrics[f"greedy_{name}"].mean(axis=1).tolist() for name in ("self_play", "cross_play")}


def estimates_of(summary: Summary) -> dict[str, Estimate]:
    """SP, XP and gap by name."""
    return {"self_play": summary.self_play, "cross_play": summary.cross_play, "gap": summary.gap}


def outdated(record: Mapping[str, Any]) -> list[str]:
    """The dependencies of a record whose versions have changed, such as "ippo-2, now ippo-3"."""
    depends, found = record["depends"], []
    for game in depends["games"]:
        now = build_game({key: value for key, value in game.items() if key != "version"}).version
        found += [(game["version"], now)]
    for target, then in depends.get("learners", {}).items():
        found += [(then, getattr(targets.find("learner", {"_target_": target}), "version", None))]
    now = {"cross-play": crossplay.VERSION, "search": f"search-{SEARCH}", "conventions": CONVENTIONS}
    found += [(depends[name], version) for name, version in now.items() if name in depends]
    return [f"{then}, now {now}" for then, now in dict.fromkeys(found) if then != now]


def markdown(head: Sequence[str], rows: Iterable[Sequence[Any]], words: int = 1) -> str:
    """A table in Markdown whose first columns are of words."""
    columns = [Column(name, words=place < words) for place, name in enumerate(head)]
    return tables.markdown(Table("", columns, list(rows)))


def save_figure(figure: Figure, name: str) -> None:
    """Write a figure of the pages."""
    figures.save(figure, FIGURES / name)


def copy_figure(path: Path, name: str) -> None:
    """Copy a PNG of a run to the figures of the pages."""
    shutil.copy(path, FIGURES / f"{name}.png")
