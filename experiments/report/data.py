"""The data about runs for the pages of a report: plain data, numbers rounded to five digits, None for a missing number.

A row of the overview has `id` (of the run in this report), `name`, `folder`, `command`, `game`, `board` (the game with
what tells it apart from others of its name in this report: only scores of one board compare), `policy`, `learner`,
`seeds`, `steps`, `state`, `reason`, `keys` (what the runs differ in), `scores` ("sampled" and "greedy": a `Summary`, of
an estimate [mean, SE, low, high] each, with a note as a fifth where something is not estimable),
`range` (least and greatest cell of each play), `score_range` and `optimum` (of the game, if known). The data of a
run's own page are this, `columns` and `curves`, `crossplay`, `conventions`, `phase`, `zsc`, each None where the run has
no such thing.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments import runs
from experiments.analysis import compare, compare_tables
from experiments.configuration.config import canonical
from experiments.presentation import keys as keys_of
from experiments.presentation.tables import text_of
from experiments.runs.collection import PLAYS
from experiments.runs.record import Record
from experiments.studies import exact_tables
from games.errors import TacitError
from marl.conventions import responses
from marl.crossplay import CrossPlay
from marl.crossplay.estimators import Estimate

_DIGITS = 5
_OWN_COLUMNS = ("game", "seeds", "steps")
_PHASE = ("alpha", "soft_self_play", "soft_cross_play", "greedy_self_play", "greedy_cross_play", "solutions", "defect")


def swept_keys(records: Sequence[Record]) -> list[str]:
    """The keys in which runs of one command and one game differ, except those with a column of their own.

    For a key that some runs lack, such as one of another policy or of a later Tacit, only the runs that have it count.
    """
    values: dict[str, dict[tuple[str, str], set[str]]] = {}
    known = dict.fromkeys(key for record in records for key in record.keys)
    for record in records:
        if not record.science:
            continue
        group = (record.command, str(record.keys["game"]))
        for key in known:
            if key in record.keys:
                text = json.dumps(canonical(record.keys[key]), sort_keys=True)
                values.setdefault(key, {}).setdefault(group, set()).add(text)
    return [
        key
        for key, groups in values.items()
        if key not in _OWN_COLUMNS and not key.endswith("._target_") and max(map(len, groups.values())) > 1
    ]


def columns(*, narrow: bool = False) -> list[dict[str, str]]:
    """The columns of estimates that `tacit compare` has: name, and the play and the field of a row's `scores`."""
    shown = compare_tables.NARROW if narrow else compare_tables.COLUMNS
    places = [compare_tables.COLUMNS[name] for name in shown]
    return [{"name": name, "play": play, "field": field} for name, (play, field) in zip(shown, places, strict=True)]


def overview_row(
    record: Record, identifier: str, board: Mapping[str, Any], keys: Sequence[str], results: Mapping[str, CrossPlay]
) -> dict[str, Any]:
    """A run's row in the table of all runs; see the module's docstring."""
    flat = record.keys
    game = json.dumps(record.science["game"], sort_keys=True) if results else "{}"
    score_range, optimum = _range_and_optimum(game)
    return {
        "id": identifier,
        "name": record.path.name,
        "folder": record.path.parent.name,
        "command": record.command,
        "game": flat.get("game", ""),
        "board": keys_of.game_title(flat["game"], board),
        "policy": _kind(flat.get("policy._target_")),
        "learner": _kind(flat.get("learner._target_")),
        "seeds": flat.get("seeds"),
        "steps": flat.get("steps"),
        "state": record.state,
        "reason": record.reason,
        "keys": {key: flat[key] for key in keys if key in flat},
        "scores": _scores(record, score_range) if results else {},
        "range": {play: numbers([cells.mean.min(), cells.mean.max()]) for play, cells in results.items()} or None,
        "score_range": score_range,
        "optimum": optimum,
    }


def run_page(
    record: Record, row: Mapping[str, Any], results: Mapping[str, CrossPlay], conventions: Path | None
) -> dict[str, Any]:
    """A run's own page, without its sample games.

    Args:
      record: the run.
      row: its `overview_row`.
      results: its cross-play by name, empty if it has none.
      conventions: its folder of `tacit conventions`, if there is one.
    """
    problems: list[str] = []
    finished = record.state == "finished"
    measured = (record.path / "metrics.npz").exists()
    parts: dict[str, Any] = {
        "curves": _read(problems, lambda: _curves(record.metrics())) if measured else None,
        "crossplay": _crossplay(results) if results else None,
        "conventions": _read(problems, lambda: _conventions(conventions)) if conventions else None,
        "phase": _read(problems, lambda: _phase(record)) if finished and record.command == "phase" else None,
        "zsc": _read(problems, lambda: _zsc(record.path)) if finished and record.command == "zsc-table" else None,
    }
    return {
        **row,
        **parts,
        "columns": columns(),
        "keys": {key: value for key, value in record.keys.items() if key != "game" or record.science},
        "versions": dict(record.versions),
        "steps_done": record.steps,
        "updated": record.updated,
        "problems": problems,
        "games": [],
        "games_note": "",
    }


def results_of(record: Record) -> dict[str, CrossPlay]:
    """The cross-play of a finished training run by name; empty if it is missing or unreadable."""
    if record.command != "train" or record.state != "finished":
        return {}
    try:
        return {play: cells for play, cells in record.crossplay().items() if len(cells.mean)}
    except TacitError:
        return {}


def conventions_of(folder: Path) -> dict[str, Path]:
    """The folders of `tacit conventions` in a folder of runs, by the run's name.

    Of several it is that of the latest version, and of these the one with most games.
    """
    found: dict[str, tuple[tuple[int, int], Path]] = {}
    for file in sorted(folder.glob("conventions/*/conventions.json")):
        try:
            settings = runs.read_json(file)["settings"]
            name, rank = str(settings["run"]), (int(settings.get("version", 0)), int(settings["games"]))
        except (TacitError, KeyError, TypeError, ValueError):
            continue  # the run that it belongs to cannot be read
        if name not in found or rank > found[name][0]:
            found[name] = (rank, file.parent)
    return {name: path for name, (_, path) in found.items()}


def numbers(values: Any) -> Any:
    """Nested lists of numbers, rounded; None for what is not finite."""
    return _plain(np.asarray(values, np.float64).tolist())


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if value is None or not np.isfinite(value):
        return None
    rounded = float(f"{value:.{_DIGITS}g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded


def _read(problems: list[str], part: Any) -> Any:
    """What `part` returns; if it raises, None, and the error is added to the problems that the report shows."""
    try:
        return part()
    except TacitError as error:
        problems.append(str(error))
    except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
        problems.append(f"A file of this run does not hold what was expected ({type(error).__name__}: {error})")
    return None


def _kind(target: Any) -> str:
    return str(target or "").rpartition(".")[2]


def _scores(record: Record, score_range: Sequence[float] | None) -> dict[str, Any]:
    try:
        summaries = record.summaries
    except TacitError:  # for instance scores that are not numbers; the run's page still shows its cells
        return {}
    if score_range:
        summaries = {play: summary.within(*score_range) for play, summary in summaries.items()}
    return {
        play: {field: _estimate(estimate) for field, estimate in summary._asdict().items()}
        for play, summary in summaries.items()
    }


def _estimate(estimate: Estimate) -> list[Any]:
    plain = [_plain(value) for value in (estimate.mean, estimate.se, estimate.low, estimate.high)]
    return [*plain, estimate.note] if estimate.note else plain


@functools.lru_cache(maxsize=1024)
def _range_and_optimum(game: str) -> tuple[list[float] | None, float | None]:
    try:
        _, score_range, optimum = compare.facts_of_game(json.loads(game))
    except TacitError:
        return None, None  # a game of another version of Tacit, or one whose file is missing
    return numbers(score_range), _plain(optimum)


def _curves(metrics: Mapping[str, np.ndarray]) -> dict[str, Any]:
    count = metrics["count"]
    returns = np.divide(metrics["return_sum"], count, out=np.full(count.shape, np.nan), where=count > 0)
    curves = {
        "steps": metrics["steps"].tolist(),
        "returns": numbers(returns),
        "entropy": numbers(metrics["entropy"]),
    }
    if "greedy_self_play" in metrics:
        curves |= {
            "evaluation_steps": metrics["evaluation_steps"].tolist(),
            "greedy_self_play": numbers(metrics["greedy_self_play"]),
            "greedy_cross_play": numbers(metrics["greedy_cross_play"]),
        }
    return curves


def _crossplay(results: Mapping[str, CrossPlay]) -> dict[str, Any]:
    labels = next(iter(results.values())).labels
    return {"labels": short_labels(labels), "plays": {play: _cells(cells) for play, cells in results.items()}}


def _cells(cells: CrossPlay) -> dict[str, Any]:
    """Cells in order; `seatings` is None for all ordered pairs, `games` one number if it is the same in all cells."""
    size = len(cells.labels)
    pairs = np.stack(np.divmod(np.arange(size * size), size), axis=1)
    return {
        "seatings": None if np.array_equal(cells.seatings, pairs) else cells.seatings.tolist(),
        "mean": numbers(cells.mean),
        "se": numbers(cells.standard_error),
        "games": int(cells.games[0]) if (cells.games == cells.games[0]).all() else cells.games.tolist(),
        "bombed": cells.bombed.tolist(),
    }


def short_labels(labels: Sequence[str]) -> list[str]:
    """The seeds' numbers from labels RUN/SEED where these are unique, else the labels."""
    seeds = [label.rpartition("/")[2] for label in labels]
    return seeds if len(set(seeds)) == len(seeds) else list(labels)


def _conventions(folder: Path) -> dict[str, Any]:
    found = runs.read_json(folder / "conventions.json")
    plays: dict[str, Any] = {}
    for play in PLAYS:
        if play not in found:
            continue
        known = found[play]["conventions"]
        gap = [_convention_gap(found[play].get(key)) for key in ("convention_gap", "gap_of_discards")]
        if isinstance(known, str):
            plays[play] = {"refused": known, "gap": gap}
            continue
        with np.load(folder / "conventions.npz", allow_pickle=False) as arrays:
            matrices = responses(arrays[play])
        scores = np.array(found[play]["cross_play"], np.float64)
        distance = np.array(known["distance"])
        pairs = zip(*np.triu_indices(len(scores), 1), strict=True)
        plays[play] = {
            "matrices": numbers(matrices),
            "pairs": [
                [int(a), int(b), *numbers([distance[a, b], (scores[a, b] + scores[b, a]) / 2])] for a, b in pairs
            ],
            "predicts": _correlation(known["predicts"]),
            "gap": gap,
        }
    return {
        "labels": short_labels(found["labels"]),
        "actions": found["actions"],
        "games": found["settings"]["games"],
        "plays": plays,
    }


def _convention_gap(gap: Mapping[str, Any] | str | None) -> list[str] | None:
    """The convention gap of seeds with themselves and with each other in words; None where it is not defined."""
    if not isinstance(gap, Mapping):
        return None
    return [text_of(Estimate(**gap[key]), 3) for key in ("over_seeds", "cross_play")]


def _correlation(predicts: Mapping[str, Any]) -> str:
    if predicts["rho"] is None:
        return f"not estimable ({predicts['note']})"
    interval = "" if predicts["low"] is None else f" [{predicts['low']:.2f}, {predicts['high']:.2f}]"
    return f"{predicts['rho']:.2f}{interval}"


def _phase(record: Record) -> dict[str, Any]:
    table = runs.read_json(record.path / "phase.json")
    found = exact_tables.phase_findings(table)
    if record.keys.get("refine") is False:
        found["alpha_unique"] += "; not refined (refine=false)"
    columns = {name: [_plain(row[name]) for row in table["rows"]] for name in _PHASE}
    return {
        **columns,
        "thresholds": {
            "alpha_certified": table["alpha_certified"]["alpha"],
            "alpha_unique": table["alpha_unique"]["one_from"],
            "alpha_stable": table["alpha_stable"],
        },
        "optimum": table["optimum"]["value"],
        "equivariant": table["equivariant"]["swap"]["value"],
        "found": found,
        "gaps": _gaps(table["rows"]),
    }


def _gaps(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Why rows of a phase diagram lack values, or are means of fewer starts than others."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        converged, starts = row["converged"], row["starts"]
        if converged == 0:
            reason = f"No values: none of {starts} starts converged"
        elif converged == 1:
            reason = f"No XP: it needs two starts, and 1 of {starts} converged"
        elif converged < starts:
            reason = f"Means of {converged} of {starts} starts, since the others did not converge"
        else:
            continue
        reasons.setdefault(reason, []).append(f"{row['alpha']:.6g}")
    return [f"{reason}, at α = {', '.join(alphas)}." for reason, alphas in reasons.items()]


def _zsc(path: Path) -> dict[str, Any]:
    table = runs.read_json(path / "zsc.json")
    names = [method["name"] for method in table["methods"] if not method["refused"]]
    return {
        "methods": [
            {name: method.get(name) for name in ("name", "refused", "note", "self_play", "cross_play", "gap")}
            for method in table["methods"]
        ],
        "names": names,
        "matrix": numbers(table["matrix"]),
    }
