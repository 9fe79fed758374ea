"""`tacit compare DIR …`: self-play against cross-play of finished runs, a table for each game and a figure."""

import collections
import csv
import hashlib
import io
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments import figures, runs
from experiments.config import build_game, canonical
from experiments.runs.collection import Record, Runs, load, run_directories
from games.errors import TacitError
from marl.crossplay.comparisons import ALPHA, not_worse
from marl.crossplay.estimators import Estimate, Summary, difference

COLUMNS = {
    "SP": ("sampled", "self_play"),
    "XP": ("sampled", "cross_play"),
    "SP − XP": ("sampled", "gap"),
    "XP, disjoint pairs": ("sampled", "cross_play_disjoint"),
    "greedy SP": ("greedy", "self_play"),
    "greedy XP": ("greedy", "cross_play"),
    "greedy SP − XP": ("greedy", "gap"),
}
"""The play and the estimate in each column."""
MARK = "*"
_IN_PAPERS = ("SP", "XP", "SP − XP", "greedy SP", "greedy XP")
_SHORT = {"self_play": "sp", "cross_play": "xp", "gap": "gap"}
_SETTINGS = {"games": "numbers of games in a cell", "seating": "seatings", "max_seatings": "numbers of seatings",
             "seed": "decks (crossplay.seed)"}  # fmt: skip
_MOST_DRAWN = 60
"""Rows of a figure."""


class Row(NamedTuple):
    """One run of a comparison."""

    path: Path
    keys: dict[str, Any]
    """What the rows are sorted by, and this run's values."""
    summaries: dict[str, Summary]
    """Of the "sampled" and of the "greedy" cross-play."""
    seeds: int
    best: dict[str, bool | None]
    """By play: whether its XP is the greatest or not significantly less (`marl.crossplay.comparisons.not_worse`)."""


class Comparison(NamedTuple):
    """Runs of one game side by side, sorted by their keys."""

    rows: list[Row]
    greedy_gain: Estimate | None
    """Greedy XP of the last run minus that of the first; None for one run."""
    score_range: tuple[float, float]
    game: str
    short_game: str
    warnings: list[str]
    """Why rows are not comparable, a sentence each."""


def read(
    paths: Sequence[Path], *, by: Sequence[str] = (), where: Sequence[str] = ()
) -> tuple[list[Comparison], list[str]]:
    """The finished training runs among `paths`, one comparison for each game, and warnings, a sentence each.

    Args:
      paths: run directories and folders of runs.
      by: keys to sort by, or their ends ("entropy_coef"); without any, those in which the runs of a game differ.
      where: conditions KEY=VALUE that a run meets.

    Raises:
      TacitError: if no finished training run is left, or no run has such a key.
    """
    return _compared(load(paths).where(where), by)


def compare(paths: Sequence[Path], *, by: Sequence[str] = ()) -> Comparison:
    """The comparison of finished runs of one game; `by` as in `read`.

    Raises:
      TacitError: as `read`; if the runs are of several games.
    """
    comparisons, _ = _compared(load(paths, index=False), by)
    if len(comparisons) > 1:
        raise TacitError("scores of different games or boards do not compare: give runs of one game")
    return comparisons[0]


def stored(folder: Path | str) -> tuple[list[Comparison], str]:
    """The comparisons of what is stored in a folder of runs, if there is any, and a sentence that says which runs.

    Unlike `read` it takes a folder that is not there, or without finished training runs, for an answer.
    """
    there = Path(folder).exists() and run_directories(Path(folder))
    finished = [one for one in load(folder, index=False).finished() if one.command == "train"] if there else []
    if not finished:
        return [], f"no finished training run is stored in {folder}"
    comparisons, warnings = _compared(Runs(finished), ())
    names = ", ".join(one.name for one in finished)
    return comparisons, "; ".join([f"stored in {folder}: {names}", *warnings])


def _compared(found: Runs, by: Sequence[str]) -> tuple[list[Comparison], list[str]]:
    finished = [record for record in found if record.command == "train" and record.state == "finished"]
    if not finished:
        if len(found) == 1:
            runs.check_finished(found[0].path)  # says what is wrong with it, but for damage
            raise TacitError(f"run {found[0].path} is {found[0].state}: {found[0].reason}")
        raise TacitError(f"there is no finished training run to compare: {_left_out(found) or 'no run meets --where'}")
    by = [found.key(key) for key in by]
    of_game: dict[str, list[Record]] = collections.defaultdict(list)
    for record in finished:
        of_game[_board(record)].append(record)
    comparisons = [_comparison(of_game[board], by) for board in sorted(of_game)]
    comparisons.sort(key=lambda one: (one.short_game, _sort_key(one.rows[0])))
    said = [f"{left} left out"] if (left := _left_out(found)) else []
    if len(comparisons) > 1:
        said.append(f"scores of different games or boards do not compare: a table each for {len(comparisons)} of them")
    return comparisons, said + [f"{one.short_game}: {text}" for one in comparisons for text in one.warnings]


def _comparison(records: Sequence[Record], by: Sequence[str]) -> Comparison:
    """Of runs of one board."""
    varying = [key for key in Runs(records).varying() if key != "seeds"]  # which have a column of their own
    names = list(by) or varying or ["learner.entropy_coef"]
    summaries = [record.summaries for record in records]
    seeds = [record.science["seeds"] for record in records]
    best = {play: not_worse([one[play].cross_play for one in summaries], seeds) for play in ("sampled", "greedy")}
    rows = [
        Row(
            path=record.path,
            keys={key: record.keys.get(key) for key in names},
            summaries=summaries[place],
            seeds=seeds[place],
            best={play: verdicts[place] for play, verdicts in best.items()},
        )
        for place, record in enumerate(records)
    ]
    order = sorted(range(len(rows)), key=lambda place: _sort_key(rows[place]))
    gain = None
    if len(rows) > 1:
        last, first = (records[order[end]].crossplay()["greedy"] for end in (-1, 0))
        gain = difference((last.seatings, last.mean), (first.seatings, first.mean), of="cross_play")
    group = records[0].science["game"]
    game = build_game({key: value for key, value in group.items() if key != "version"})
    return Comparison(
        rows=[rows[place] for place in order],
        greedy_gain=gain,
        score_range=game.score_range,
        game=_game_title(game.name, group),
        short_game=records[0].keys["game"],
        warnings=_warnings(records, [key for key in varying if key not in names]),
    )


def _warnings(records: Sequence[Record], hidden: Sequence[str]) -> list[str]:
    """What keeps runs of one board from being compared."""
    found = []
    versions = sorted({str(record.science["game"]["version"]) for record in records})
    if len(versions) > 1:
        found.append(f"rows are of different versions of the game: {', '.join(versions)}")
    settings = [runs.read_json(record.path / "crossplay.json").get("settings", {}) for record in records]
    for name, words in _SETTINGS.items():
        values = {str(one.get(name, "not said")) for one in settings}
        if len(values) > 1:
            found.append(f"rows were cross-played with different {words}: {', '.join(sorted(values))}")
    if hidden := [key for key in hidden if key != "game.version"]:
        found.append(f"rows differ in what the table does not show, too: {', '.join(hidden)}")
    twice = [name for name, number in collections.Counter(record.name for record in records).items() if number > 1]
    if twice:
        found.append(f"a run is there more than once, and its seeds are not independent: {', '.join(twice)}")
    return found


def _left_out(found: Sequence[Record]) -> str:
    """How many runs are no finished training runs, in words."""
    unfinished = collections.Counter(record.state for record in found if record.state != "finished")
    others = collections.Counter(
        record.command for record in found if record.state == "finished" and record.command != "train"
    )
    parts = [f"{number} {state}" for state, number in sorted(unfinished.items())]
    parts += [f"{number} of tacit {command}" for command, number in sorted(others.items())]
    return f"{unfinished.total() + others.total()} of {len(found)} runs ({', '.join(parts)})" if parts else ""


def _board(record: Record) -> str:
    game = {key: value for key, value in record.science["game"].items() if key != "version"}
    return json.dumps(canonical(game), sort_keys=True)


# ------------------------------------------------------------------------------------------------------------- formats


def write(comparison: Comparison, root: Path, *, draw: bool) -> Path:
    """Write table.md, table.json and, if `draw`, the figure into a folder below `root` named after the runs.

    Raises:
      TacitError: if the folder cannot be written.
    """
    names = "".join(sorted(row.path.name for row in comparison.rows))
    folder = root / "compare" / hashlib.sha256(names.encode()).hexdigest()[:12]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        runs.write_bytes(folder / "table.md", (markdown(comparison) + "\n").encode())
        runs.write_bytes(folder / "table.json", (as_json([comparison]) + "\n").encode())
        if draw and len(comparison.rows) <= _MOST_DRAWN:
            figures.save(figure(comparison), folder / "figure")
    except OSError as error:
        raise TacitError(f"{folder} cannot be written: {error.strerror}") from error
    return folder


def figure(comparison: Comparison) -> figures.Figure:
    """Self-play and cross-play of the rows with their intervals, in sampled and in greedy play."""
    axis, values = _axis(comparison)
    by_play = {name: [row.summaries[name] for row in comparison.rows] for name in ("sampled", "greedy")}
    return figures.comparison(values, by_play, axis, comparison.score_range)


def head(comparison: Comparison) -> list[str]:
    """The columns of a comparison's table, in few letters."""
    keys = list(comparison.rows[0].keys)
    ends = [_end(key) for key in keys]
    names = [key if ends.count(end) > 1 else end for key, end in zip(keys, ends, strict=True)]
    return [*names, *([] if "seeds" in keys else ["seeds"]), *COLUMNS]


def cells(row: Row) -> list[str]:
    """The texts of a row in the columns of `head`."""
    seeds = [] if "seeds" in row.keys else [str(row.seeds)]
    return [*_values(row), *seeds, *(_cell(row, column) for column in COLUMNS)]


def markdown(comparison: Comparison) -> str:
    """The table as Markdown."""
    names = [*head(comparison), "run"]
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join([*cells(row), row.path.name]) + " |" for row in comparison.rows]
    for sentence in sentences(comparison):
        lines += ["", sentence]
    return "\n".join(lines)


def as_json(comparisons: Sequence[Comparison]) -> str:
    """All rows as a JSON list: keys, every estimate in full, and whether XP is among the best, null if not testable."""
    plain = [
        {
            "run": row.path.name,
            "game": comparison.short_game,
            **row.keys,
            "seeds": row.seeds,
            **{
                name: {field: estimate._asdict() for field, estimate in summary._asdict().items()}
                for name, summary in row.summaries.items()
            },
            "best": row.best,
        }
        for comparison, row in _all_rows(comparisons)
    ]
    return json.dumps(plain, indent=1)


def as_csv(comparisons: Sequence[Comparison]) -> str:
    """All rows as CSV under one header; empty where a run has no such key or a value is not estimable."""
    lines = []
    for comparison, row in _all_rows(comparisons):
        line = {"run": row.path.name, "game": comparison.short_game, **row.keys, "seeds": row.seeds}
        for play, summary in row.summaries.items():
            for field, name in _SHORT.items():
                estimate: Estimate = getattr(summary, field)
                line[f"{play}_{name}"] = estimate.mean
                line |= {f"{play}_{name}_{part}": getattr(estimate, part) for part in ("se", "low", "high")}
            line[f"{play}_best"] = row.best[play]
        lines.append(line)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(itertools.chain(*lines))), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue().rstrip("\n")


def as_latex(comparisons: Sequence[Comparison]) -> str:
    """A tabular for each comparison, for the package booktabs; what its marks mean is in comments above it."""
    return "\n\n".join(map(_tabular, comparisons))


FORMATS: Mapping[str, Callable[[Sequence[Comparison]], str]] = {"csv": as_csv, "latex": as_latex, "json": as_json}


def _tabular(comparison: Comparison) -> str:
    keys = len(head(comparison)) - len(COLUMNS)
    names = [*head(comparison)[:keys], *_IN_PAPERS]
    lines = [f"% {comparison.game}; 95 % intervals over seeds", *(f"% {text}" for text in sentences(comparison))]
    lines += [f"\\begin{{tabular}}{{{'r' * len(names)}}}", "\\toprule", _latex_line(map(_escaped, names)), "\\midrule"]
    for row in comparison.rows:
        texts = [*map(_escaped, cells(row)[:keys]), *(_in_math(row, column) for column in _IN_PAPERS)]
        lines.append(_latex_line(texts))
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"])


def _latex_line(texts: Any) -> str:
    return " & ".join(texts) + r" \\"


def _escaped(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "−": "$-$"}
    return "".join(special.get(letter, f"\\{letter}" if letter in "&%$#_{}" else letter) for letter in text)


def _in_math(row: Row, column: str) -> str:
    estimate = _estimate(row, column)
    if estimate.mean is None:
        return "--"
    text = f"{estimate.mean:z.2f}"
    if estimate.low is not None and estimate.high is not None:
        text += rf"\ [{estimate.low:z.2f}, {estimate.high:z.2f}]"
    elif estimate.se is not None:
        text += rf" \pm {estimate.se:.2f}"
    return f"${text}{'^{' + MARK + '}' if _marked(row, column) else ''}$"


def _all_rows(comparisons: Sequence[Comparison]) -> list[tuple[Comparison, Row]]:
    return [(comparison, row) for comparison in comparisons for row in comparison.rows]


# --------------------------------------------------------------------------------------------------------------- words


def sentences(comparison: Comparison) -> list[str]:
    """What stands below a table: why cells have no interval, what the mark means, and the gain in greedy XP."""
    shown = [estimate for row in comparison.rows for summary in row.summaries.values() for estimate in summary]
    notes = list(dict.fromkeys(f"not estimable: {estimate.note}" for estimate in shown if estimate.note))
    if comparison.greedy_gain is None:
        return notes
    first, last = comparison.rows[0], comparison.rows[-1]
    gain = f"greedy XP at {_label(last)} minus at {_label(first)}: {text_of(comparison.greedy_gain)}"
    return [*notes, *_legend(comparison.rows), gain]


def _legend(rows: Sequence[Row]) -> list[str]:
    """What the mark says, and where it cannot be said."""
    tested = {play: sum(row.best[play] is not None for row in rows) for play in ("sampled", "greedy")}
    if not any(tested.values()):
        return ["no marks of significance: a test needs an interval of the greatest XP and of another row"]
    columns = {"sampled": "XP", "greedy": "greedy XP"}
    pairs = {columns[play]: number * (number - 1) // 2 for play, number in tested.items() if number}
    if len(set(pairs.values())) == 1:
        corrected = f"all {pairs.popitem()[1]} pairs of tested rows"
    else:
        corrected = f"all pairs of tested rows ({', '.join(f'{column}: {number}' for column, number in pairs.items())})"
    return [
        f"{MARK} the greatest XP of the column, or not significantly less: two-sided tests over seeds, "
        f"{ALPHA * 100:g} % after Holm's correction for {corrected}",
        *(
            f"{columns[play]}: {len(rows) - number} of {len(rows)} rows cannot be tested"
            for play, number in tested.items()
            if number < len(rows)
        ),
    ]


def text_of(estimate: Estimate) -> str:
    """The mean with its interval, else with what is known."""
    if estimate.mean is None:
        return "not estimable"
    if estimate.low is not None and estimate.high is not None:
        return f"{estimate.mean:z.2f} [{estimate.low:z.2f}, {estimate.high:z.2f}]"
    return f"{estimate.mean:z.2f}{'' if estimate.se is None else f' ± {estimate.se:.2f}'} (no interval)"


def short(value: Any) -> str:
    """A configuration's value in few letters."""
    if value is None:
        return "–"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _cell(row: Row, column: str) -> str:
    return text_of(_estimate(row, column)) + (f" {MARK}" if _marked(row, column) else "")


def _estimate(row: Row, column: str) -> Estimate:
    play, field = COLUMNS[column]
    return getattr(row.summaries[play], field)


def _marked(row: Row, column: str) -> bool:
    play, field = COLUMNS[column]
    return field == "cross_play" and row.best[play] is True


def _end(key: str) -> str:
    """The last part of a key; a class is called after its group."""
    parts = key.split(".")
    return parts[-2] if parts[-1] == "_target_" and len(parts) > 1 else parts[-1]


def _axis(comparison: Comparison) -> tuple[str, list[Any]]:
    keys = list(comparison.rows[0].keys)
    name = ", ".join(_end(key).replace("_", " ") for key in keys)
    if len(keys) == 1:
        return name, [row.keys[keys[0]] for row in comparison.rows]
    return name, [", ".join(_values(row)) for row in comparison.rows]


def _label(row: Row) -> str:
    return ", ".join(f"{_end(key)} {value}" for key, value in zip(row.keys, _values(row), strict=True))


def _values(row: Row) -> list[str]:
    """The values of a row's keys in few letters; a class without its module."""
    return [
        short(value).split(".")[-1] if key.endswith("_target_") else short(value) for key, value in row.keys.items()
    ]


def _sort_key(row: Row) -> tuple[Any, ...]:
    return tuple(
        (0, value, "") if isinstance(value, int | float) else (1, 0, str(value)) for value in row.keys.values()
    )


def _game_title(name: str, game: Mapping[str, Any]) -> str:
    given = [
        f"{key} {value}" for key, value in game.items() if key not in ("_target_", "version") and value is not None
    ]
    return ": ".join([f"{name} ({game['version']})", *([", ".join(given)] if given else [])])
