"""A comparison of runs and its tables: a row for each run, the contrasts, and the sentences below."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from experiments.analysis.contrasts import COMPARED, Contrast, Tests
from experiments.presentation import keys as keys_of
from experiments.presentation import tables
from experiments.presentation.tables import Cell, Column, Table
from experiments.runs.collection import PLAYS
from games.errors import TacitError
from marl.crossplay.comparisons import ALPHA
from marl.crossplay.estimators import Estimate, Summary

COLUMNS = {
    "greedy XP": ("greedy", "cross_play"),
    "greedy SP − XP": ("greedy", "gap"),
    "XP": ("sampled", "cross_play"),
    "SP − XP": ("sampled", "gap"),
    "greedy SP": ("greedy", "self_play"),
    "SP": ("sampled", "self_play"),
    "disjoint XP": ("sampled", "cross_play_disjoint"),
}
"""The play and the name of the estimate in each column; what is asked first comes first."""
NARROW = tuple(name for name in COLUMNS if name != "disjoint XP")
"""The columns of narrow tables: those of LaTeX, and the report's table of all runs."""
MARK = "*"


class Row(NamedTuple):
    """A run of a comparison, or the mean of several."""

    paths: tuple[Path, ...]
    keys: dict[str, Any]
    """The keys by which the rows are sorted, with this row's values."""
    summaries: dict[str, Summary]
    """The summaries of the "sampled" and of the "greedy" cross-play, with intervals inside the range of scores."""
    seeds: int | str
    """In each run; all numbers, "6, 8", where the runs of a mean differ in it."""
    best: Mapping[str, bool | None]
    """By play: whether its XP is the greatest or not significantly less (`contrasts.Tests`)."""
    short_name: str = ""
    """The beginning of the run's name, if several rows have the same keys."""
    people: Estimate | None = None
    """The score with people, if games of people were given."""

    @property
    def path(self) -> Path:
        """The run directory, of the first run."""
        return self.paths[0]


class Comparison(NamedTuple):
    """Runs of one game side by side, sorted by their keys."""

    rows: list[Row]
    tests: Tests
    score_range: tuple[float, float]
    """The least and the greatest score that the game can have."""
    optimum: float | None
    """The best expected score of a joint policy, if it is known."""
    shares: bool
    """Whether scores are shares of the optimum."""
    game: str
    short_game: str
    board: Mapping[str, Any]
    """The keys, with values, that tell the game apart from others of its short name that are compared beside it."""
    warnings: list[str]
    """Why rows are not comparable, a sentence each."""
    by: Sequence[str] = ()
    """The keys that were asked for; empty for those in which the runs differ."""
    asked: Sequence[str] = ()
    """The contrasts that were asked for."""
    over: Mapping[str, Sequence[Any]] = MappingProxyType({})
    """The keys over whose values each row is a mean."""
    determined_keys: Mapping[str, Sequence[str]] = MappingProxyType({})
    """For a shown key, the keys that it determines and that are not shown."""

    @property
    def unit(self) -> float:
        """What the scores shown are divided by: the optimum for shares of it, else 1."""
        return self.optimum if self.shares and self.optimum else 1.0

    @property
    def with_people(self) -> bool:
        """Whether a row has a score with people."""
        return any(row.people for row in self.rows)

    @property
    def title(self) -> str:
        """The short name of the game with its board."""
        return keys_of.game_title(self.short_game, self.board)

    @property
    def scale(self) -> str:
        """What the scores are, in words."""
        low, high = self.score_range
        known = "" if self.optimum is None else f", optimum {self.optimum:.6g}"
        return f"{'shares of the optimum; ' * self.shares}possible scores {low:g} to {high:g}{known}"

    def __str__(self) -> str:
        """The tables in Markdown, with the names of runs."""
        return "\n\n".join(map(tables.markdown, shown(self, names=True)))

    def _repr_markdown_(self) -> str:
        return str(self)


def table(comparison: Comparison, *, names: bool = False, columns: Sequence[str] = tuple(COLUMNS)) -> Table:
    """A row for each run: its keys and its estimates; the greatest XP and those not significantly less are marked.

    With `names` the last column has the runs' names; otherwise only rows with the same keys show beginnings of names.
    `columns` are names in `COLUMNS`.
    """
    keys, alike = list(comparison.rows[0].keys), bool(comparison.rows[0].short_name)
    run = Column("run", words=True, shown=names or alike)
    chosen_ones = len(columns) < len(COLUMNS)
    people = [Column("with people", ("people",))] * comparison.with_people
    estimates = [Column(name, COLUMNS[name], in_papers=name in NARROW or chosen_ones) for name in columns]
    leading = [*map(Column, keys_of.short_names(keys), [(key,) for key in keys]), *([] if names else [run])]
    leading += [] if "seeds" in keys else [Column("seeds")]
    apart = {key: value for key, value in comparison.board.items() if key not in keys}
    hidden = [*(Column(key, shown=False) for key in ("game", *apart))]
    hidden += [Column(f"best {play}", ("best", play), shown=False) for play in PLAYS]
    rows = []
    for row in comparison.rows:
        name = Cell(row.path.name, row.short_name) if alike and not names else ", ".join(one.name for one in row.paths)
        first = [Cell(value, keys_of.short_value(key, value)) for key, value in row.keys.items()]
        first += ([] if names else [name]) + ([] if "seeds" in keys else [row.seeds])
        found = [Cell(_estimate(row, column), mark=MARK if _is_best(row, column) else "") for column in columns]
        own_name = [name] if names else []
        best = map(row.best.get, PLAYS)
        beside = [row.people] * comparison.with_people
        rows.append([*first, *found, *beside, *own_name, comparison.short_game, *apart.values(), *best])
    title = f"{comparison.game}; {comparison.scale}; 95 % intervals over seeds"
    lead = sum(column.shown for column in leading)
    in_order = [*leading, *estimates, *people, *([run] if names else []), *hidden]
    enough = None if chosen_ones else lead + 2
    return Table(title, in_order, rows, sentences(comparison, columns), lead=lead, enough=enough)


def contrasts(comparison: Comparison) -> Table:
    """A row for each contrast, with what it compares and its p-value, corrected as `sentences` of the rows say."""
    tests = comparison.tests
    anywhere = any(_where(one) for one in tests.contrasts)
    columns = [Column("contrast", words=True), Column("at", words=True, shown=anywhere)]
    for name, of in COMPARED.items():
        columns += [Column(name, ("greedy", of)), Column("p", ("greedy", f"{of}_p"))]
    columns += [Column(key, shown=False) for key in ("game", *comparison.board)]
    low, high = comparison.score_range
    rows = []
    for one in tests.contrasts:
        first, second = (keys_of.short_value(one.key, value) for value in (one.first, one.second))
        row: list[Any] = [f"{keys_of.last_part(one.key)} {first} − {second}", _where(one)]
        for name, tested in one.tested.items():
            furthest = (high - low) * (1 if name == "greedy XP" else 2)
            row.append(tested.difference.within(-furthest, furthest).times(1 / comparison.unit))
            p = None if tested.p is None else tests.corrected(tested.p)
            row.append(None if p is None else Cell(p, tables.p_value(p)))
        rows.append([*row, comparison.short_game, *comparison.board.values()])
    said = {_estimate(row, name).note for row in comparison.rows for name in COLUMNS}
    lacking = [tested.difference.note for one in tests.contrasts for tested in one.tested.values()]
    notes = [f"not estimable: {note}" for note in dict.fromkeys(lacking) if note not in said | {""}]
    return Table(f"contrasts: {comparison.title}, greedy play", columns, rows, notes, lead=1 + anywhere)


def shown(comparison: Comparison, columns: Sequence[str] = tuple(COLUMNS), *, names: bool = False) -> list[Table]:
    """The table of the rows, see `table`, and the contrasts if there are any."""
    return [one for one in (table(comparison, names=names, columns=columns), contrasts(comparison)) if one.rows]


def made(
    comparisons: Sequence[Comparison], form: str, columns: Sequence[str] = tuple(COLUMNS), *, asked: bool = False
) -> list[Table]:
    """The tables of comparisons for a format; CSV and JSON have either the rows or, if `asked` for, the contrasts."""
    if form in ("csv", "json"):
        return [contrasts(one) if asked else table(one, columns=columns) for one in comparisons]
    return [made for one in comparisons for made in shown(one, columns)]


def chosen(text: str) -> list[str]:
    """The names of columns in NAME,NAME…, where "-" stands for "−" too; all columns for "".

    Raises:
      TacitError: for a name that no column has.
    """
    known = {name.replace("−", "-").lower(): name for name in COLUMNS}
    said = [one.strip() for one in text.split(",") if one.strip()]
    for one in said:
        if one.replace("−", "-").lower() not in known:
            raise TacitError(f"--columns {one}: there are {', '.join(known)}")
    return [known[one.replace("−", "-").lower()] for one in said] or list(COLUMNS)


# --------------------------------------------------------------------------------------------------------------- words


def sentences(comparison: Comparison, columns: Sequence[str] = tuple(COLUMNS)) -> list[str]:
    """The sentences below a table: hidden keys, means, why cells have no interval, what the mark means."""
    notes = [
        f"not shown, since it changes with {keys_of.last_part(key)}: {', '.join(keys_of.short_names(determined))}"
        for key, determined in comparison.determined_keys.items()
    ]
    for key, values in comparison.over.items():
        texts = ", ".join(keys_of.short_value(key, value) for value in values)
        notes.append(f"each row is the mean over {keys_of.last_part(key)}: {texts}")
    if comparison.with_people:
        notes.append(
            "with people: the score of seeds of the run with people in one seat, who "
            "undid no move and asked for no advice; intervals over people"
        )
    lacking: dict[str, list[str]] = {}
    for column in columns:
        for note in dict.fromkeys(_estimate(row, column).note for row in comparison.rows):
            lacking.setdefault(note, []).append(column)
    lacking.pop("", None)
    notes += [f"not estimable: {note}" + f" ({', '.join(of)})" * (of != list(columns)) for note, of in lacking.items()]
    return [*notes, *_legend(comparison, columns)] if len(comparison.rows) > 1 else notes


def _legend(comparison: Comparison, columns: Sequence[str]) -> list[str]:
    """The meaning of the mark, where it cannot be determined, and how the rows and the contrasts are tested."""
    rows, tests = comparison.rows, comparison.tests
    marked = {name: COLUMNS[name][0] for name in columns if COLUMNS[name][1] == "cross_play"}
    tested = {name: sum(row.best[play] is not None for row in rows) for name, play in marked.items()}
    notes = []
    if any(tested.values()):
        notes += [f"{MARK} the greatest XP of the column, or not significantly less"]
        notes += [
            f"{name}: {len(rows) - number} of {len(rows)} rows cannot be tested"
            for name, number in tested.items()
            if number < len(rows)
        ]
    elif marked:
        notes += ["no marks of significance: a test needs an interval of the greatest XP and of another row"]
    if tests.contrasts or any(tested.values()):
        notes += [_about_tests(comparison)] * (tests.number > 0)
    return notes + [
        f"no contrast of {keys_of.last_part(key)}: no two rows differ in it alone, from the least to the greatest"
        for key in tests.skipped
    ]


def _about_tests(comparison: Comparison) -> str:
    number = comparison.tests.number
    corrected = f"p-values are multiplied by {number}, the number of all tests" if number > 1 else "one test"
    only = "" if comparison.tests.paired else " (only in runs with equal ranges of seeds, on the same decks)"
    return f"two-sided tests over seeds at {ALPHA * 100:g} %, seeds of equal numbers paired{only}; {corrected}"


def _where(contrast: Contrast) -> str:
    if contrast.at is None:
        return f"mean of {contrast.number}" if contrast.number > 1 else ""
    values = [keys_of.short_value(key, value) for key, value in contrast.at.items()]
    names = keys_of.short_names(list(contrast.at))
    return ", ".join(f"{name} {value}" for name, value in zip(names, values, strict=True))


def _estimate(row: Row, column: str) -> Estimate:
    """The estimate in a column of `COLUMNS`."""
    play, field = COLUMNS[column]
    return getattr(row.summaries[play], field)


def _is_best(row: Row, column: str) -> bool:
    """Whether it is the greatest XP of the column, or not significantly less."""
    play, field = COLUMNS[column]
    return field == "cross_play" and row.best[play] is True
