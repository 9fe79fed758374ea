"""`tacit compare DIR …`: self-play against cross-play of finished runs, a table for each game and a figure."""

import collections
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments import runs
from experiments.catalogue import facts
from experiments.configuration.config import build_game
from experiments.presentation import keys as keys_of
from experiments.presentation import tables, terminal
from experiments.presentation.tables import Cell, Column, Table
from experiments.runs.collection import PLAYS, Runs, load
from experiments.runs.record import Record, without_error
from games.errors import TacitError
from marl.crossplay.comparisons import ALPHA, not_worse
from marl.crossplay.estimators import Estimate, Summary, difference

if TYPE_CHECKING:
    from experiments.analysis.compare_figures import Figure

COLUMNS = {
    "SP": ("sampled", "self_play"),
    "XP": ("sampled", "cross_play"),
    "SP − XP": ("sampled", "gap"),
    "XP, disjoint pairs": ("sampled", "cross_play_disjoint"),
    "greedy SP": ("greedy", "self_play"),
    "greedy XP": ("greedy", "cross_play"),
    "greedy SP − XP": ("greedy", "gap"),
}
"""The play and the name of the estimate in each column."""
NARROW = tuple(name for name in COLUMNS if name != "XP, disjoint pairs")
"""The columns of narrow tables: those of LaTeX, and the report's table of all runs."""
MARK = "*"
_SETTINGS = {"games": "numbers of games in a cell", "seating": "seatings", "max_seatings": "numbers of seatings",
             "seed": "decks (crossplay.seed)"}  # fmt: skip
_MOST_JOINED = 11
"""The most rows whose keys are joined into labels below one axis."""
_MOST_VALUES = 8
"""The most values of a key that a sentence lists."""
_MOST_DRAWN = 60
"""The most rows of a figure."""


class Row(NamedTuple):
    """One run of a comparison."""

    path: Path
    keys: dict[str, Any]
    """The keys by which the rows are sorted, with this run's values."""
    summaries: dict[str, Summary]
    """The summaries of the "sampled" and of the "greedy" cross-play."""
    seeds: int
    best: dict[str, bool | None]
    """By play: whether its XP is the greatest or not significantly less (`marl.crossplay.comparisons.not_worse`)."""
    short_name: str = ""
    """The beginning of the run's name, if several rows of the comparison have the same keys."""


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
    by: Sequence[str] = ()
    """The keys that were asked for; empty for those in which the runs differ."""
    following: Mapping[str, Sequence[str]] = MappingProxyType({})
    """For a shown key, the keys that it determines and that are not shown."""

    def __str__(self) -> str:
        """The table in Markdown, with the names of runs."""
        return tables.markdown(table(self, names=True))

    def _repr_markdown_(self) -> str:
        return str(self)


def read(
    paths: Sequence[Path], *, by: Sequence[str] = (), where: Sequence[str] = ()
) -> tuple[list[Comparison], list[str]]:
    """The finished training runs among `paths`, one comparison for each game, and warnings, a sentence each.

    Args:
      paths: run directories and folders of runs.
      by: keys to sort by, or their ends ("entropy_coef"); by default those in which the runs of a game differ, except
        those that another key determines (the arguments of a class, where the class differs).
      where: conditions KEY=VALUE that the runs have to meet.

    Raises:
      TacitError: if no finished training run is left, or no run has such a key.
    """
    found = load(paths)
    chosen = found.where(*where)
    if not chosen:
        raise TacitError(_why_none(found, where))
    return _compared(chosen, by)


def compare(found: Runs, *, by: Sequence[str] = ()) -> Comparison:
    """The comparison of the finished training runs of one game; `by` as in `read`.

    Raises:
      TacitError: as `read`; if the runs are of several games.
    """
    comparisons, _ = _compared(found, by)
    if len(comparisons) > 1:
        several = ", ".join(dict.fromkeys(one.short_game for one in comparisons))
        raise TacitError(f"scores of different games or boards do not compare: give runs of one of {several}")
    return comparisons[0]


def _compared(found: Runs, by: Sequence[str]) -> tuple[list[Comparison], list[str]]:
    finished = [record for record in found if record.command == "train" and record.state == "finished"]
    if not finished:
        if len(found) == 1:
            runs.check_finished(found[0].path)  # raises with the reason, unless the run is damaged
            raise TacitError(f"run {found[0].path} is {found[0].state}: {found[0].reason}")
        raise TacitError(f"there is no finished training run to compare: {_left_out(found)}")
    by = [found.key(key) for key in by]
    comparisons = [_comparison(of_game, by) for of_game in Runs(finished).by_game()]
    comparisons.sort(key=lambda one: (one.short_game, _sort_key(one.rows[0])))
    said = [f"{left} left out"] if (left := _left_out(found)) else []
    if len(comparisons) > 1:
        said.append(f"scores of different games or boards do not compare: a table each for {len(comparisons)} of them")
    return comparisons, said + [f"{one.short_game}: {text}" for one in comparisons for text in one.warnings]


def _comparison(records: Sequence[Record], by: Sequence[str]) -> Comparison:
    """The comparison of runs of one game."""
    varying = [key for key in Runs(records).varying() if key != "seeds"]  # seeds have a column of their own
    names = list(by) or _leading(records, varying) or ["learner.entropy_coef"]
    hidden = [key for key in varying if key not in names]
    following = _following(records, names, hidden)
    hidden = [key for key in hidden if not any(key in keys for keys in following.values())]
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
    rows = _told_apart(rows)
    order = sorted(range(len(rows)), key=lambda place: _sort_key(rows[place]))
    gain = None
    if len(rows) > 1:
        gain = _gain(*(records[order[end]] for end in (-1, 0)))
    group = records[0].science["game"]
    name, score_range = _name_and_range({key: value for key, value in group.items() if key != "version"})
    return Comparison(
        rows=[rows[place] for place in order],
        greedy_gain=gain,
        score_range=score_range,
        game=_game_title(name, group),
        short_game=records[0].keys["game"],
        warnings=_warnings(records, _leading(records, hidden)),
        by=by,
        following=following,
    )


def _gain(last: Record, first: Record) -> Estimate:
    """Greedy XP of one run minus that of another."""
    cells = [record.crossplay()["greedy"] for record in (last, first)]
    decks = [
        (record.science["game"]["version"], *(_crossplay_settings(record).get(key) for key in ("seed", "games")))
        for record in (last, first)
    ]
    same = decks[0] == decks[1]
    found = difference(cells[0].cells, cells[1].cells, of="cross_play", same_decks=same)
    return found if all(one.scores is not None for one in cells) else without_error(found)


def _crossplay_settings(record: Record) -> Mapping[str, Any]:
    return runs.read_json(record.path / "crossplay.json").get("settings", {})


def _name_and_range(group: Mapping[str, Any]) -> tuple[str, tuple[float, float]]:
    """A game's name and score range, from its group; stored facts are used for an unchanged game of conf/."""
    if (known := facts.of_game(group)) is not None:
        low, high = known["score_range"]
        return known["name"], (low, high)
    game = build_game(group)
    return game.name, game.score_range


def _leading(records: Sequence[Record], keys: Sequence[str]) -> list[str]:
    """Of the keys in which runs differ, those that no other one determines; among classes only classes count.

    A game's version is always kept and determines no other key: runs of different versions cannot be compared.
    """
    found = Runs(records)
    classes = [key for key in keys if keys_of.is_class(key)]
    others = [key for key in keys if not keys_of.is_class(key) and key != "game.version"]
    leading = {"game.version", *found.leading(classes), *found.leading([*classes, *others])}
    return [key for key in keys if key in leading]


def _following(records: Sequence[Record], shown: Sequence[str], hidden: Sequence[str]) -> dict[str, list[str]]:
    """For each shown key the hidden keys that it determines; if several do, a class comes before other keys."""
    found = Runs(records)
    following: dict[str, list[str]] = {}
    for key in sorted(hidden):
        leaders = (one for one in sorted(shown, key=lambda one: not keys_of.is_class(one)) if found.decides(one, key))
        if key != "game.version" and (leader := next(leaders, None)):
            following.setdefault(leader, []).append(key)
    return following


def _told_apart(rows: Sequence[Row]) -> list[Row]:
    """The rows, with the beginnings of their runs' names if several rows have the same keys."""
    if len({tuple(_values(row)) for row in rows}) == len(rows):
        return list(rows)
    names = {row.path.name for row in rows}
    longest = max(map(len, names))
    length = next((size for size in range(6, longest) if len({name[:size] for name in names}) == len(names)), longest)
    return [row._replace(short_name=row.path.name[:length]) for row in rows]


def _why_none(found: Runs, where: Sequence[str]) -> str:
    """The first condition that no remaining run meets, and the values of its key among the runs remaining before it."""
    number = next(number for number in range(len(where)) if not found.where(*where[: number + 1]))
    before = found.where(*where[:number])
    key = found.key(where[number].partition("=")[0])
    known = [{**record.keys, "command": record.command} for record in before]
    values = sorted((keys[key] for keys in known if key in keys), key=keys_of.order)
    texts = list(dict.fromkeys(keys_of.short_value(key, value) for value in values))
    more = [f"… ({len(texts)} values)"] if len(texts) > _MOST_VALUES else []
    said = f"{keys_of.last_part(key)} is {', '.join([*texts[:_MOST_VALUES], *more])}" if texts else f"no run has {key}"
    given = f"with {' '.join(where[:number])} " if number else ""
    return f"no run meets --where {' '.join(where[: number + 1])}: {given}{said}"


def _warnings(records: Sequence[Record], hidden: Sequence[str]) -> list[str]:
    """Reasons why runs of one game cannot be compared."""
    found = []
    versions = sorted({str(record.science["game"]["version"]) for record in records})
    if len(versions) > 1:
        found.append(f"rows are of different versions of the game: {', '.join(versions)}")
    settings = [_crossplay_settings(record) for record in records]
    for name, words in _SETTINGS.items():
        values = {str(one.get(name, "not said")) for one in settings}
        if len(values) > 1:
            found.append(f"rows were cross-played with different {words}: {', '.join(sorted(values))}")
    found += [_far_in_words(label) for record in records for label in record.far_seeds]
    if hidden := [key for key in hidden if key != "game.version"]:
        found.append(f"rows differ in what the table does not show, too: {', '.join(hidden)}")
    twice = [name for name, number in collections.Counter(record.name for record in records).items() if number > 1]
    if twice:
        found.append(f"a run is there more than once, and its seeds are not independent: {', '.join(twice)}")
    return found


def _far_in_words(label: str) -> str:
    """What an outlying seed means for the intervals."""
    return (
        f"seed {label} plays far from all others, so that intervals over few seeds are too short: of 95 % intervals of "
        "6 to 8 seeds 60 to 72 % held (docs/estimators.md)"
    )


def _left_out(found: Sequence[Record]) -> str:
    """How many runs are not finished training runs, in words."""
    unfinished = collections.Counter(record.state for record in found if record.state != "finished")
    others = collections.Counter(
        record.command for record in found if record.state == "finished" and record.command != "train"
    )
    parts = [f"{number} {state}" for state, number in sorted(unfinished.items())]
    parts += [f"{number} of tacit {command}" for command, number in sorted(others.items())]
    return f"{unfinished.total() + others.total()} of {len(found)} runs ({', '.join(parts)})" if parts else ""


# --------------------------------------------------------------------------------------------------------------- shapes


def figure(comparison: Comparison) -> "Figure":
    """Self-play and cross-play of the rows with their intervals, in sampled and in greedy play.

    A numeric key is the axis, and there is a line for each combination of the other keys' values. Without a numeric
    key, or if rows have the same keys, the rows are listed below each other.
    """
    from experiments.analysis import compare_figures  # imports matplotlib, which a table does not need

    rows, keys = comparison.rows, list(comparison.rows[0].keys)
    by_play = {play: [row.summaries[play] for row in rows] for play in ("sampled", "greedy")}
    names = dict(zip(keys, (name.replace("_", " ") for name in keys_of.short_names(keys)), strict=True))
    alike = bool(rows[0].short_name)
    numeric = [key for key in keys if all(_is_number(row.keys[key]) for row in rows)]
    if not alike and numeric == keys and (len(keys) == 1 or len(rows) <= _MOST_JOINED):
        values = [row.keys[keys[0]] if len(keys) == 1 else ", ".join(_values(row)) for row in rows]
        return compare_figures.comparison(values, by_play, ", ".join(names.values()), comparison.score_range)
    axis = max(numeric, key=lambda key: len({row.keys[key] for row in rows}), default=None)
    if alike or axis is None or len({row.keys[axis] for row in rows}) == 1:
        texts = [", ".join([*_values(row), *([row.short_name] if alike else [])]) for row in rows]
        what = ", ".join([*names.values(), *(["run"] if alike else [])])
        return compare_figures.comparison_of_categories(texts, by_play, what, comparison.score_range)
    others = [key for key in keys if key != axis]
    lines = [", ".join(keys_of.short_value(key, row.keys[key]) for key in others) for row in rows]
    what = ", ".join(names[key] for key in others)
    values = [row.keys[axis] for row in rows]
    return compare_figures.comparison_of_lines(values, lines, by_play, names[axis], what, comparison.score_range)


def table(comparison: Comparison, *, names: bool = False) -> Table:
    """A row for each run: its keys and its estimates; the greatest XP and those not significantly less are marked.

    With `names` the last column has the runs' names; otherwise only rows with the same keys show beginnings of names.
    """
    keys, alike = list(comparison.rows[0].keys), bool(comparison.rows[0].short_name)
    run = Column("run", words=True, shown=names or alike)
    estimates = [Column(name, path, in_papers=name in NARROW) for name, path in COLUMNS.items()]
    leading = [*map(Column, keys_of.short_names(keys), [(key,) for key in keys]), *([] if names else [run])]
    leading += [] if "seeds" in keys else [Column("seeds")]
    hidden = [Column("game", shown=False), *(Column(f"best {play}", ("best", play), shown=False) for play in PLAYS)]
    rows = []
    for row in comparison.rows:
        name = Cell(row.path.name, row.short_name) if alike and not names else row.path.name
        first = [Cell(value, keys_of.short_value(key, value)) for key, value in row.keys.items()]
        first += ([] if names else [name]) + ([] if "seeds" in keys else [row.seeds])
        found = [Cell(_estimate(row, column), mark=MARK if _is_best(row, column) else "") for column in COLUMNS]
        rows.append([*first, *found, *([name] if names else []), comparison.short_game, *map(row.best.get, PLAYS)])
    title = f"{comparison.game} (best {comparison.score_range[1]:g}); 95 % intervals over seeds"
    lead = sum(column.shown for column in leading)
    columns = [*leading, *estimates, *([run] if names else []), *hidden]
    return Table(title, columns, rows, sentences(comparison), lead=lead)


def write(comparison: Comparison, root: Path, *, draw: bool) -> Path:
    """Write table.md, table.json and, if `draw`, the figure into a folder below `root`.

    The folder's name is a hash of the runs and of `by`, so that other tables of the same runs are kept.

    Raises:
      TacitError: if the folder cannot be written.
    """
    what = "".join(sorted(row.path.name for row in comparison.rows)) + "".join(f" by {key}" for key in comparison.by)
    folder = root / "compare" / hashlib.sha256(what.encode()).hexdigest()[:12]
    made = table(comparison, names=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        runs.write_bytes(folder / "table.md", (tables.markdown(made) + "\n").encode())
        runs.write_bytes(folder / "table.json", (tables.as_json([made]) + "\n").encode())
        if draw and len(comparison.rows) <= _MOST_DRAWN:
            from experiments.presentation import figures

            figures.save(figure(comparison), folder / "figure")
    except OSError as error:
        raise TacitError(f"{folder} cannot be written: {error.strerror}") from error
    return folder


def show(comparisons: Sequence[Comparison], warnings: Sequence[str], root: Path, *, draw: bool) -> None:
    """Print warnings and the tables of comparisons, and write each with its figure, if `draw`, below `root`.

    If they cannot be written, it prints a warning.
    """
    for sentence in warnings:
        terminal.warn(sentence)
    for comparison in comparisons:
        tables.show([table(comparison)])
        for row in comparison.rows:
            print(f"run {row.path}")
        try:
            print(terminal.where(write(comparison, root, draw=draw)))
        except TacitError as error:
            terminal.warn(f"the table is not kept: {error}")


# --------------------------------------------------------------------------------------------------------------- words


def sentences(comparison: Comparison) -> list[str]:
    """The sentences below a table: hidden keys, why cells have no interval, what the mark means, the greedy gain."""
    notes = [
        f"not shown, since it changes with {keys_of.last_part(key)}: {', '.join(keys_of.short_names(following))}"
        for key, following in comparison.following.items()
    ]
    lacking: dict[str, list[str]] = {}
    for column in COLUMNS:
        for note in dict.fromkeys(_estimate(row, column).note for row in comparison.rows):
            lacking.setdefault(note, []).append(column)
    lacking.pop("", None)
    notes += [
        f"not estimable: {note}" + f" ({', '.join(columns)})" * (columns != list(COLUMNS))
        for note, columns in lacking.items()
    ]
    if comparison.greedy_gain is None:
        return notes
    labels = list(map(_label, comparison.rows))
    gain = f"greedy XP at {labels[-1]} minus at {labels[0]}: {tables.text_of(comparison.greedy_gain)}"
    says_which = labels.count(labels[0]) == labels.count(labels[-1]) == 1
    return [*notes, *_legend(comparison.rows), *([gain] if says_which else [])]


def _legend(rows: Sequence[Row]) -> list[str]:
    """The meaning of the mark, and where it cannot be determined."""
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


def _estimate(row: Row, column: str) -> Estimate:
    """The estimate in a column of `COLUMNS`."""
    play, field = COLUMNS[column]
    return getattr(row.summaries[play], field)


def _is_best(row: Row, column: str) -> bool:
    """Whether it is the greatest XP of the column, or not significantly less."""
    play, field = COLUMNS[column]
    return field == "cross_play" and row.best[play] is True


def _label(row: Row) -> str:
    names = keys_of.short_names(list(row.keys))
    return ", ".join(f"{name} {value}" for name, value in zip(names, _values(row), strict=True))


def _values(row: Row) -> list[str]:
    return [keys_of.short_value(key, value) for key, value in row.keys.items()]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _sort_key(row: Row) -> tuple[Any, ...]:
    return tuple(map(keys_of.order, row.keys.values()))


def _game_title(name: str, game: Mapping[str, Any]) -> str:
    given = [
        f"{key} {value}" for key, value in game.items() if key not in ("_target_", "version") and value is not None
    ]
    return ": ".join([f"{name} ({game['version']})", *([", ".join(given)] if given else [])])
