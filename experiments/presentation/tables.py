"""Tables of results, and how each format shows them.

A command fills a `Table` with values: numbers, words, estimates. This module alone formats them for a terminal,
Markdown, LaTeX, CSV and JSON.
"""

import csv
import decimal
import io
import itertools
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from marl.crossplay.estimators import Estimate

NOTHING = "–"
"""The text for a missing value."""
_WIDTH = 200
"""Characters of a line if the output is not a terminal."""


class Column(NamedTuple):
    """A column of a table."""

    name: str
    """Its header."""
    path: tuple[str, ...] = ()
    """Its name in CSV and JSON, where each part but the last is an object of JSON; the header, if empty."""
    words: bool = False
    """Words are aligned to the left, numbers to the right."""
    digits: int = 2
    """Digits after the decimal point of numbers."""
    shown: bool = True
    """If False, the column is only in CSV and JSON."""
    in_papers: bool = True
    """Whether it is in LaTeX's tables, which are narrow."""


class Cell(NamedTuple):
    """A value with a text or a mark of its own instead of its column's format."""

    value: Any
    text: str | None = None
    mark: str = ""
    """Follows the text, such as "*"; a note says what it means."""


class Table(NamedTuple):
    """Columns and rows of values: numbers, words, `Estimate`s, or any data with a text (`Cell`); None if missing."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    notes: Sequence[str] = ()
    """Sentences below the table."""
    ends: Sequence[int] = ()
    """The rows after which a line is drawn."""
    lead: int = 1
    """If a table is too wide and is divided, its first so many columns are repeated in each part."""
    enough: int | None = None
    """If a table is too wide, columns after the first so many are left out instead, and a sentence names them."""


def with_error(mean: float | None, error: float | None, digits: int = 2) -> str:
    """A mean with its standard error, for example "4.50 ± 0.12"."""
    if mean is None:
        return NOTHING
    return f"{mean:z.{digits}f}" + ("" if error is None else f" ± {error:.{digits}f}")


def text_of(estimate: Estimate, digits: int = 2) -> str:
    """The mean with its interval or, without one, with its standard error if that is known."""
    if estimate.mean is None:
        return "not estimable"
    mean = f"{estimate.mean:z.{digits}f}"
    if estimate.low is not None and estimate.high is not None:
        return f"{mean} {interval(estimate, digits)}"
    return f"{mean}{'' if estimate.se is None else f' ± {estimate.se:.{digits}f}'} (no interval)"


def p_value(p: float) -> str:
    """A p-value to three digits."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def interval(estimate: Estimate, digits: int = 2) -> str:
    """An estimate's interval; empty if there is none."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"[{estimate.low:z.{digits}f}, {estimate.high:z.{digits}f}]"


def text(value: Any, column: Column) -> str:
    """A value as text in a column's format."""
    if isinstance(value, Cell):
        plain = text(value.value, column) if value.text is None else value.text
        return f"{plain} {value.mark}" if value.mark else plain
    if value is None:
        return NOTHING
    if isinstance(value, Estimate):
        return text_of(value, column.digits)
    return f"{value:z.{column.digits}f}" if isinstance(value, float) else str(value)


def show(tables: Sequence[Table]) -> None:
    """Print tables on the terminal, with their notes.

    If a table is too wide, its intervals go below their means. If it is then still too wide, columns are left out, or
    the table is divided into parts.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table as Drawn
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    for table in tables:
        shown, rows = texts(table)
        parts = _parts(shown, rows, table.lead, console.width)
        if len(parts) > 1:
            rows = _with_intervals_below(table, rows)
            parts = _parts(shown, rows, table.lead, console.width)
        left_out: list[Column] = []
        if len(parts) > 1 and table.enough is not None and len(parts[0]) >= table.enough:
            parts, left_out = parts[:1], shown[len(parts[0]) :]
        for part in parts:
            title = Text(table.title) if table.title else None
            drawn = Drawn(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
            for place in part:
                justify = "left" if shown[place].words else "right"
                drawn.add_column(Text(shown[place].name), justify=justify, overflow="fold", no_wrap=place >= table.lead)
            for number, row in enumerate(rows):
                drawn.add_row(*(Text(row[place]) for place in part), end_section=number in table.ends)
            with console.capture() as text:
                console.print(drawn)
            print(text.get())  # not by rich, which ends the process if nobody reads
        if left_out:
            names = ", ".join(column.name for column in left_out)
            print(f"no room for {names}: --columns chooses, --format markdown and a wider terminal show all")
        for note in table.notes:
            print(note)


def _with_intervals_below(table: Table, rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """The texts of the shown columns, in which intervals are on a line of their own."""
    places = [place for place, column in enumerate(table.columns) if column.shown]
    below = []
    for row, texts in zip(table.rows, rows, strict=True):
        of_row = []
        for place, text in zip(places, texts, strict=True):
            value = row[place]
            if isinstance(value, Cell) and value.text is None:
                value = value.value
            own = interval(value, table.columns[place].digits) if isinstance(value, Estimate) else ""
            before, _, mark = text.partition(f" {own}") if own else (text, "", "")
            of_row.append(f"{before}{mark}\n{own}" if own else text)
        below.append(of_row)
    return below


def whole(number: int) -> str:
    """A whole number of any size: exact up to 15 digits."""
    return f"{number:,}" if number < 10**15 else f"{decimal.Decimal(number):.6e}"


def markdown(table: Table) -> str:
    """A table in Markdown and its notes, without the title."""
    shown, rows = texts(table)
    head, *lines = (f"| {' | '.join(row)} |" for row in ([column.name for column in shown], *rows))
    rule = "|".join("---" if column.words else "---:" for column in shown)
    lines = [head, f"|{rule}|", *lines]
    notes = ["\\" * note.startswith("* ") + note for note in table.notes]  # a mark, not a list item
    return "\n\n".join(["\n".join(lines), *notes])


def as_csv(tables: Sequence[Table]) -> str:
    """All rows under one header, an estimate in four columns; empty where a row has no such column or value."""
    lines = [dict(_flat(table.columns, row)) for table in tables for row in table.rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(itertools.chain(*lines))), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue().rstrip("\n")


def as_json(tables: Sequence[Table]) -> str:
    """All rows as a JSON list of objects, every estimate in full."""
    return json.dumps([_nested(table.columns, row) for table in tables for row in table.rows], indent=1)


def as_latex(tables: Sequence[Table]) -> str:
    """A LaTeX tabular for each table, for the package booktabs; its title and its notes are comments above it."""
    return "\n\n".join(map(_tabular, tables))


def as_markdown(tables: Sequence[Table]) -> str:
    """All tables in Markdown, each below its title."""
    return "\n\n".join("\n\n".join([f"**{one.title}**"] * bool(one.title) + [markdown(one)]) for one in tables)


def print_tables(tables: Sequence[Table], form: str, *, below: Sequence[str] = ()) -> None:
    """Print tables in a format: one of `FORMATS`, or `SHOWN` as `show` does, followed by the sentences `below`."""
    if form == SHOWN:
        show(tables)
        for sentence in below:
            print(sentence)
    else:
        print(FORMATS[form](tables))


SHOWN = "table"
"""The name of the terminal's format, which is not in `FORMATS`."""
FORMATS: Mapping[str, Callable[[Sequence[Table]], str]] = {
    "markdown": as_markdown, "csv": as_csv, "latex": as_latex, "json": as_json,
}  # fmt: skip


def texts(table: Table) -> tuple[list[Column], list[list[str]]]:
    """The columns that are shown, and the texts in them."""
    places = [place for place, column in enumerate(table.columns) if column.shown]
    rows = [[text(row[place], table.columns[place]) for place in places] for row in table.rows]
    return [table.columns[place] for place in places], rows


def _parts(columns: Sequence[Column], rows: Sequence[Sequence[str]], lead: int, width: int) -> list[list[int]]:
    """The column indices of each part of a table that is at most `width` wide; the leading ones are in every part."""
    widths = [
        2 + max(len(line) for text in (column.name, *(row[place] for row in rows)) for line in text.split("\n"))
        for place, column in enumerate(columns)
    ]
    parts = [list(range(lead))]
    for place in range(lead, len(columns)):
        if len(parts[-1]) > lead and 1 + sum(widths[one] for one in [*parts[-1], place]) > width:
            parts.append(list(range(lead)))
        parts[-1].append(place)
    return parts


def _plain(value: Any) -> Any:
    """A value as plain data."""
    if isinstance(value, Cell):
        return _plain(value.value)
    return value._asdict() if isinstance(value, Estimate) else value


def _nested(columns: Sequence[Column], row: Sequence[Any]) -> dict[str, Any]:
    """A row as an object of JSON."""
    nested: dict[str, Any] = {}
    for column, value in zip(columns, row, strict=True):
        *path, last = column.path or (column.name,)
        inner = nested
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = _plain(value)
    return nested


def _flat(columns: Sequence[Column], row: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """A row as names and numbers of CSV: the mean of an estimate has the column's name."""
    for column, value in zip(columns, row, strict=True):
        name, plain = "_".join(column.path or (column.name,)), _plain(value)
        if not isinstance(plain, Mapping):
            yield name, plain
            continue
        for part, number in plain.items():
            if part != "note":
                yield name if part == "mean" else f"{name}_{part}", number


def _tabular(table: Table) -> str:
    columns = [column for column in table.columns if column.shown and column.in_papers]
    lines = [f"% {sentence}" for sentence in (table.title, *table.notes) if sentence]
    lines += [f"\\begin{{tabular}}{{{''.join('l' if column.words else 'r' for column in columns)}}}", "\\toprule"]
    lines += [_latex_line(_escaped(column.name) for column in columns), "\\midrule"]
    for number, row in enumerate(table.rows):
        cells = zip(row, table.columns, strict=True)
        lines.append(_latex_line(_in_latex(value, column) for value, column in cells if column in columns))
        lines += ["\\midrule"] if number in table.ends and number + 1 < len(table.rows) else []
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"])


def _latex_line(texts: Iterator[str]) -> str:
    return " & ".join(texts) + r" \\"


def _in_latex(value: Any, column: Column) -> str:
    mark = ""
    if isinstance(value, Cell):
        if value.text is not None:
            return _escaped(text(value, column))
        value, mark = value.value, value.mark
    if value is None or (isinstance(value, Estimate) and value.mean is None):
        return "--"
    if not isinstance(value, Estimate):
        return _escaped(text(value, column))
    shown = f"{value.mean:z.{column.digits}f}"
    if value.low is not None and value.high is not None:
        shown += rf"\ [{value.low:z.{column.digits}f}, {value.high:z.{column.digits}f}]"
    elif value.se is not None:
        shown += rf" \pm {value.se:.{column.digits}f}"
    return f"${shown}{'^{' + mark + '}' if mark else ''}$"


def _escaped(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "−": "$-$", "<": "$<$"}
    special["["] = "{[}"  # which would begin an argument of the line break before it
    return "".join(special.get(letter, f"\\{letter}" if letter in "&%$#_{}" else letter) for letter in text)
