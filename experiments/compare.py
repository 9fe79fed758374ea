"""Compare finished runs: one table and one figure of self-play against cross-play."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments import figures, runs
from experiments.config import build_game, canonical
from games.errors import TacitError
from marl.crossplay.estimators import Estimate, Summary, difference, summarise

COLUMNS = ("SP", "XP", "SP − XP", "XP, disjoint pairs", "greedy SP", "greedy XP", "greedy SP − XP")


class Row(NamedTuple):
    """One run of a comparison."""

    path: Path
    keys: dict[str, Any]
    """What the runs differ in, and this run's values."""
    summaries: dict[str, Summary]
    """Of the "sampled" and of the "greedy" cross-play."""


class Comparison(NamedTuple):
    """Runs of one game side by side, ordered by what they differ in."""

    rows: list[Row]
    greedy_gain: Estimate | None
    """Greedy XP of the last run minus that of the first; None for one run."""
    score_range: tuple[float, float]
    game: str


def compare(paths: Sequence[Path]) -> Comparison:
    """Read the cross-play of finished runs of one game.

    Raises:
      TacitError: if a run is not finished, or the runs are of different games.
    """
    sciences = [runs.check_finished(path)["science"] for path in paths]
    if any(science["game"] != sciences[0]["game"] for science in sciences):
        raise TacitError("scores of different games or boards do not compare: give runs of one game")
    results = [runs.read_crossplay(path) for path in paths]
    flat = [flatten(science) for science in sciences]
    varying = [key for key in flat[0] if len({json.dumps(canonical(one.get(key))) for one in flat}) > 1]
    names = varying or ["learner.entropy_coef"]
    rows = [
        Row(
            path=path,
            keys={key: one.get(key) for key in names},
            summaries={name: summarise(cells.seatings, cells.mean) for name, cells in result.items()},
        )
        for path, one, result in zip(paths, flat, results, strict=True)
    ]
    order = sorted(range(len(rows)), key=lambda i: _sort_key(rows[i]))
    gain = None
    if len(rows) > 1:
        last, first = (results[order[end]]["greedy"] for end in (-1, 0))
        gain = difference((last.seatings, last.mean), (first.seatings, first.mean), of="cross_play")
    game = build_game({key: value for key, value in sciences[0]["game"].items() if key != "version"})
    return Comparison([rows[i] for i in order], gain, game.score_range, _game_title(game.name, sciences[0]["game"]))


def write(comparison: Comparison, root: Path, *, draw: bool) -> Path:
    """Write table.md, table.json and, if `draw`, the figure into a folder below `root` named after the runs."""
    names = "".join(sorted(row.path.name for row in comparison.rows))
    folder = root / "compare" / hashlib.sha256(names.encode()).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    runs.write_bytes(folder / "table.md", (markdown(comparison) + "\n").encode())
    plain = [
        {
            "run": row.path.name,
            **row.keys,
            **{
                name: {field: estimate._asdict() for field, estimate in summary._asdict().items()}
                for name, summary in row.summaries.items()
            },
        }
        for row in comparison.rows
    ]
    runs.write_json(folder / "table.json", plain)
    if draw:
        names, values = _axis(comparison)
        by_play = {name: [row.summaries[name] for row in comparison.rows] for name in ("sampled", "greedy")}
        figure = figures.comparison(values, by_play, names, comparison.score_range)
        figures.save(figure, folder / "figure")
    return folder


def cells(row: Row) -> list[str]:
    """The texts of `COLUMNS` for a run."""
    sampled, greedy = row.summaries["sampled"], row.summaries["greedy"]
    estimates = [
        sampled.self_play,
        sampled.cross_play,
        sampled.gap,
        sampled.cross_play_disjoint,
        greedy.self_play,
        greedy.cross_play,
        greedy.gap,
    ]
    return [text_of(estimate) for estimate in estimates]


def notes(comparison: Comparison) -> list[str]:
    """Why some of the `cells` have no interval, a sentence each."""
    shown = [estimate for row in comparison.rows for summary in row.summaries.values() for estimate in summary]
    return list(dict.fromkeys(f"not estimable: {estimate.note}" for estimate in shown if estimate.note))


def gain_sentence(comparison: Comparison) -> str:
    """Greedy XP of the last run against the first, in words; empty for one run."""
    if comparison.greedy_gain is None:
        return ""
    first, last = comparison.rows[0], comparison.rows[-1]
    return f"greedy XP at {_label(last)} minus at {_label(first)}: {text_of(comparison.greedy_gain)}"


def markdown(comparison: Comparison) -> str:
    """The table as Markdown."""
    keys = list(comparison.rows[0].keys)
    head = [*(key.split(".")[-1] for key in keys), *COLUMNS, "run"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in comparison.rows:
        values = [*(short(row.keys[key]) for key in keys), *cells(row), row.path.name]
        lines.append("| " + " | ".join(values) + " |")
    for sentence in (*notes(comparison), gain_sentence(comparison)):
        lines += ["", sentence] if sentence else []
    return "\n".join(lines)


def _axis(comparison: Comparison) -> tuple[str, list[Any]]:
    keys = list(comparison.rows[0].keys)
    name = ", ".join(key.split(".")[-1].replace("_", " ") for key in keys)
    if len(keys) == 1:
        return name, [row.keys[keys[0]] for row in comparison.rows]
    return name, [", ".join(map(short, row.keys.values())) for row in comparison.rows]


def text_of(estimate: Estimate) -> str:
    """The mean with its interval, else with what is known."""
    if estimate.mean is None:
        return "not estimable"
    if estimate.low is not None and estimate.high is not None:
        return f"{estimate.mean:z.2f} [{estimate.low:z.2f}, {estimate.high:z.2f}]"
    return f"{estimate.mean:z.2f}{'' if estimate.se is None else f' ± {estimate.se:.2f}'} (no interval)"


def _label(row: Row) -> str:
    return ", ".join(f"{key.split('.')[-1]} {short(value)}" for key, value in row.keys.items())


def short(value: Any) -> str:
    """A configuration's value in few letters."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _sort_key(row: Row) -> tuple[Any, ...]:
    return tuple(
        (0, value, "") if isinstance(value, int | float) else (1, 0, str(value)) for value in row.keys.values()
    )


def flatten(plain: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, its keys joined by points."""
    flat: dict[str, Any] = {}
    for key, value in plain.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _game_title(name: str, game: Mapping[str, Any]) -> str:
    given = [
        f"{key} {value}" for key, value in game.items() if key not in ("_target_", "version") and value is not None
    ]
    return ": ".join([f"{name} ({game['version']})", *([", ".join(given)] if given else [])])
