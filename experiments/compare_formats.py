"""Comparisons as files: Markdown and a figure in a folder, CSV, JSON and LaTeX."""

import csv
import hashlib
import io
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments import runs
from experiments.compare import (
    COLUMNS,
    MARK,
    Comparison,
    Row,
    cells,
    estimate_of,
    figure,
    head,
    is_marked,
    markdown,
    sentences,
)
from games.errors import TacitError
from marl.crossplay.estimators import Estimate

_IN_PAPERS = ("SP", "XP", "SP − XP", "greedy SP", "greedy XP")
_SHORT = {"self_play": "sp", "cross_play": "xp", "gap": "gap"}
_MOST_DRAWN = 60
"""Rows of a figure."""


def write(comparison: Comparison, root: Path, *, draw: bool) -> Path:
    """Write table.md, table.json and, if `draw`, the figure into a folder below `root`.

    It is named after the runs and the keys that were asked for, so that other tables of the same runs stay.

    Raises:
      TacitError: if the folder cannot be written.
    """
    what = "".join(sorted(row.path.name for row in comparison.rows)) + "".join(f" by {key}" for key in comparison.by)
    folder = root / "compare" / hashlib.sha256(what.encode()).hexdigest()[:12]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        runs.write_bytes(folder / "table.md", (markdown(comparison) + "\n").encode())
        runs.write_bytes(folder / "table.json", (as_json([comparison]) + "\n").encode())
        if draw and len(comparison.rows) <= _MOST_DRAWN:
            from experiments import figures

            figures.save(figure(comparison), folder / "figure")
    except OSError as error:
        raise TacitError(f"{folder} cannot be written: {error.strerror}") from error
    return folder


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
    estimate = estimate_of(row, column)
    if estimate.mean is None:
        return "--"
    text = f"{estimate.mean:z.2f}"
    if estimate.low is not None and estimate.high is not None:
        text += rf"\ [{estimate.low:z.2f}, {estimate.high:z.2f}]"
    elif estimate.se is not None:
        text += rf" \pm {estimate.se:.2f}"
    return f"${text}{'^{' + MARK + '}' if is_marked(row, column) else ''}$"


def _all_rows(comparisons: Sequence[Comparison]) -> list[tuple[Comparison, Row]]:
    return [(comparison, row) for comparison in comparisons for row in comparison.rows]
