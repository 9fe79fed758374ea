"""What people see: a progress bar between compiled calls, and tables.

Every command prints with it: what computes the tables is imported by those functions that show it.
"""

import contextlib
import datetime
import decimal
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from games.errors import TacitError

if TYPE_CHECKING:
    from experiments.compare import Comparison
    from experiments.methods import MethodsTable
    from experiments.training import Progress as JobProgress
    from experiments.training import Report

_SECONDS_BETWEEN_LINES = 10.0
_LONGEST = 40
"""Characters of a game's parameter in a title."""


@contextlib.contextmanager
def progress(*, show: bool) -> "Iterator[Report]":
    """A reporter for `run_job`: a bar on a terminal, a line now and then elsewhere."""
    if not show:
        yield lambda progress: None
    elif sys.stderr.isatty():
        with _bar() as report:
            yield report
    else:
        yield plain_lines()


def warn(sentence: str) -> None:
    """Print a warning."""
    print(f"tacit: warning: {sentence}", file=sys.stderr)


def plain_lines() -> "Report":
    """A reporter that prints a line for each new stage and every ten seconds."""
    due = _now_and_then()

    def report(progress: "JobProgress") -> None:
        if due(progress.stage):
            steps = f"{progress.done:,} of {progress.total:,} steps a seed{_numbers(progress)}"
            print(f"{progress.stage}: {steps}", flush=True)

    return report


def _now_and_then() -> Callable[[str], bool]:
    """Whether a line about a stage is due: at each new stage, and every ten seconds."""
    last = {"stage": "", "time": -math.inf}

    def due(stage: str) -> bool:
        now = time.monotonic()
        if stage == last["stage"] and now - last["time"] < _SECONDS_BETWEEN_LINES:
            return False
        last.update(stage=stage, time=now)
        return True

    return due


@contextlib.contextmanager
def _bar() -> "Iterator[Report]":
    columns = (
        TextColumn("{task.description}"), BarColumn(bar_width=10), TaskProgressColumn(),
        TextColumn("{task.fields[numbers]}"), TimeRemainingColumn(compact=True),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("starting", numbers="")

        def report(progress: "JobProgress") -> None:
            bar.update(
                task,
                description=progress.stage,
                completed=progress.done,
                total=progress.total,
                numbers=_numbers(progress),
            )

        yield report


def _numbers(progress: "JobProgress") -> str:
    if not progress.steps_per_second:
        return ""
    mean_return = "no game ended" if math.isnan(progress.mean_return) else f"return {progress.mean_return:.2f}"
    return f" {progress.steps_per_second:,.0f} steps/s, {mean_return}, entropy {progress.entropy:.2f}"


@contextlib.contextmanager
def counter(*, show: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A reporter of (stage, done, total): a bar on a terminal, a line now and then elsewhere."""
    if not show:
        yield lambda stage, done, total: None
    elif sys.stderr.isatty():
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), TaskProgressColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("starting")
            yield lambda stage, done, total: bar.update(task, description=stage, completed=done, total=total)
    else:
        due = _now_and_then()

        def report(stage: str, done: int, total: int) -> None:
            if due(stage):
                print(f"{stage}: {done:,} of {total:,}", flush=True)

        yield report


def show_phase(contents: Mapping[str, Any], path: Path) -> None:
    """Print the table of a phase.json, its thresholds and its best values, and where it is."""
    console = Console(width=None if sys.stdout.isatty() else 200)
    sizes = " x ".join(map(str, contents["histories"]))
    table = Table(title=f"{phase_title(contents)}: {sizes} histories")
    columns = {
        "α": "alpha", "converged": "converged", "solutions": "solutions", "soft SP": "soft_self_play",
        "soft XP": "soft_cross_play", "greedy SP": "greedy_self_play", "greedy XP": "greedy_cross_play",
        "defect": "defect", "residual": "residual",
    }  # fmt: skip
    for name in columns:
        table.add_column(name, justify="right")
    for row in contents["rows"]:
        table.add_row(*(_phase_cell(row, key) for key in columns.values()))
    console.print(table)
    for sentence in phase_sentences(contents):
        console.print(sentence, highlight=False, soft_wrap=True)
    print(f"run {path}")


def phase_title(contents: Mapping[str, Any]) -> str:
    """For example "tiny_hanabi variant=E, horizon 2, discount 1", from a phase.json; long parameters are cut."""
    return f"{_with_parameters(contents)}, horizon {contents['horizon']}, discount {contents['discount']:g}"


def _with_parameters(contents: Mapping[str, Any]) -> str:
    given = (f"{key}={value}" for key, value in contents["parameters"].items() if value is not None)
    return " ".join([contents["game"], *(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…" for text in given)])


def symmetries(order: int) -> str:
    """A number of symmetries: exact up to 15 digits."""
    return f"{order:,}" if order < 10**15 else f"{decimal.Decimal(order):.6e}"


def phase_sentences(contents: Mapping[str, Any]) -> list[str]:
    """Thresholds and best values of a phase.json in words."""
    unique = contents["alpha_unique"]
    low, high = unique["several_up_to"], unique["one_from"]
    if low is None and high is None:
        said = "none: starts do not converge at the greatest α looked at"
    elif low is None:
        said = f"one solution at every α looked at, from {high:g} up"
    elif high is None:
        said = f"none: several solutions up to {low:.6g}, and no greater α looked at where all starts agree"
    else:
        said = f"several solutions up to {low:.6g}, one from {high:.6g} on"
    ways = [f"{contents['rows'][0]['starts']} starts at {len(contents['rows'])} α", "what they end in followed upwards"]
    ways += [f"{len(unique['beside'])} α beside folds and bifurcations"] if unique["beside"] else []
    ways += [] if contents["branch"] else ["the branch from α = ∞ was not followed"]
    certified, stable = contents["alpha_certified"], contents["alpha_stable"]
    orders = {name: symmetries(int(order)) for name, order in contents["symmetries"].items()}
    proved = "none" if certified["alpha"] is None else f"{certified['alpha']:.6g}"
    if contents["branch_refused"]:
        where = contents["branch_refused"]
    elif contents["branch"] is None:
        where = "not looked for (branch=false)"
    elif stable is None:
        where = f"the branch from α = ∞ stays stable down to {min(contents['branch']['alpha']):.4g}"
    else:
        where = f"{stable:.10g}: below it the branch from α = ∞ is no attractor"
    if contents["branch"] and contents["branch"]["windows"]:
        shown = ", ".join(f"{low:.6g} – {high:.6g}" for low, high in contents["branch"]["windows"])
        where += f"; it folds, and has several points at α of {shown}"
    equivariant, known = contents["equivariant"], ""
    if contents["known_optimum"] is not None and not contents["optimum"]["exact"]:
        known = f"; known: {contents['known_optimum']:.10g}"
    return [
        f"alpha_unique      {said} (searched: {'; '.join(ways)})",
        f"alpha_stable      {where}",
        f"alpha_certified   {proved} ({certified['method']})",
        f"best self-play    {_bounds(contents['optimum'])}{known}",
        f"best equivariant  {_bounds(equivariant['swap'])} with agent swaps (symmetries: {orders['swap']}), "
        f"{_bounds(equivariant['no_swap'])} without ({orders['no_swap']})",
    ]


def _bounds(found: Mapping[str, Any]) -> str:
    if found["exact"]:
        return f"{found['value']:.10g}"
    upper = "" if found["upper_bound"] is None else f", at most {found['upper_bound']:.6g}"
    return f"at least {found['value']:.10g}{upper}"


def _phase_cell(row: Mapping[str, Any], key: str) -> str:
    value = row[key]
    if key == "converged":
        return f"{value} of {row['starts']}"
    if value is None:
        return "–"
    if key in ("defect", "residual"):
        return f"{value:.1e}"
    return f"{value:.6g}" if key == "alpha" else f"{value:.4f}" if isinstance(value, float) else str(value)


_GAMES_A_TABLE = 6
_REFUSED = "n/a: "


def show_zsc(contents: Sequence[Mapping[str, Any]], paths: Sequence[Path], folder: Path) -> None:
    """Print the tables of several zsc.json, methods × games, and where they are."""
    console = Console(width=None if sys.stdout.isatty() else 200)
    rows = zsc_rows(contents)
    for first in range(1, len(rows[0]), _GAMES_A_TABLE):
        table = Table(title="cross-play of independent runs, relabelled (self-play where it is another)")
        for place, name in enumerate([rows[0][0], *rows[0][first : first + _GAMES_A_TABLE]]):
            table.add_column(name, justify="right" if place else "left", max_width=22 if place else None)
        for row in rows[1:]:
            table.add_row(row[0], *row[first : first + _GAMES_A_TABLE], end_section=row is rows[-3])
        console.print(table)
    console.print(zsc_sentence(contents), highlight=False, soft_wrap=True)
    for path in paths:
        print(f"run {path}")
    _say_where(folder)


def zsc_markdown(contents: Sequence[Mapping[str, Any]]) -> str:
    """The same as one table in Markdown."""
    head, *rows = zsc_rows(contents)
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*lines, "", zsc_sentence(contents)])


def zsc_rows(contents: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """A header, a row for each method and the best values: texts."""
    rows = [["method", *zsc_games(contents)]]
    for place, method in enumerate(contents[0]["methods"]):
        rows.append([method["name"], *(_zsc_cell(one["methods"][place]) for one in contents)])
    for name, words in (("equivariant", "best equivariant"), ("optimum", "best self-play")):
        rows.append([words, *(_short_bounds(one[name]) for one in contents)])
    return rows


def zsc_game(contents: Mapping[str, Any]) -> str:
    """A game's name in a table, with what tells it from its like: for example "tiny_hanabi E"."""
    short = [str(contents["parameters"][key]) for key in ("variant", "size", "n") if key in contents["parameters"]]
    return " ".join([contents["game"], *short, *([f"h{contents['horizon']}"] if contents["horizon"] > 1 else [])])


def zsc_games(contents: Sequence[Mapping[str, Any]]) -> list[str]:
    """`zsc_game` of each; names that several would share are followed by the parameters in which these differ."""
    called = []
    for one in contents:
        alike = [other["parameters"] for other in contents if zsc_game(other) == zsc_game(one)]
        differing = [key for key, value in one["parameters"].items() if any(own.get(key) != value for own in alike)]
        called.append(" ".join([zsc_game(one), *(f"{key}={one['parameters'][key]}" for key in differing)]))
    return called


def show_structures(contents: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Print the table of several structure.json, games × structures × methods, and where it is."""
    console = Console(width=None if sys.stdout.isatty() else 200)
    head, *rows = structure_rows(contents)
    table = Table(title=_STRUCTURES_TITLE)
    for place, name in enumerate(head):
        table.add_column(name, justify="left" if place < 2 else "right")
    for row, following in zip(rows, [*rows[1:], [""]], strict=True):
        table.add_row(*row, end_section=bool(following[0]))
    console.print(table)
    for sentence in structure_sentences(contents):
        console.print(sentence, highlight=False, soft_wrap=True)
    _say_where(folder)


def structure_markdown(contents: Sequence[Mapping[str, Any]]) -> str:
    """The same as one table in Markdown."""
    head, *rows = structure_rows(contents)
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*lines, *(f"\n{sentence}" for sentence in (_STRUCTURES_TITLE, *structure_sentences(contents)))])


_STRUCTURES_TITLE = (
    "cross-play of independent runs, relabelled / self-play where it is another; and retention of the solo value"
)


def structure_rows(contents: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """A header and a row for each game and structure: texts; a game's name stands in its first row alone."""
    methods = [method["name"] for method in contents[0]["methods"]]
    rows = [["game", "structure", "solo", "team", "equivariant", *methods]]
    before = ""
    for one in contents:
        best = ["–", "–"] if one["refused"] else [_short_bounds(one[name]) for name in ("optimum", "equivariant")]
        title = "" if one["title"] == before else one["title"]
        before = one["title"]
        cells = [_structure_cell(method) for method in one["methods"]]
        rows.append([title, one["structure"], f"{one['solo']:.4g}", *best, *cells])
    return rows


def _structure_cell(method: Mapping[str, Any]) -> str:
    if method["cross_play"] is None:
        return "n/a" if method["refused"] else "–"
    cross, own = f"{method['cross_play']:.3f}", f"{method['self_play']:.3f}"
    kept = "" if method["retention"] is None else f" ({method['retention']:.0%})"
    return f"{cross}{'' if cross == own else f' / {own}'}{kept}"


def structure_sentences(contents: Sequence[Mapping[str, Any]]) -> list[str]:
    """Why cells are empty, each reason once."""
    reasons: dict[str, list[str]] = {}
    for one in contents:
        for method in one["methods"]:
            if method["refused"]:
                where = f"{one['game']} {one['structure']}" + ("" if one["refused"] else f" {method['name']}")
                places = reasons.setdefault(method["refused"], [])
                places += [] if where in places else [where]
    return [f"n/a ({', '.join(places)}): {reason}." for reason, places in reasons.items()]


def zsc_sentence(contents: Sequence[Mapping[str, Any]]) -> str:
    """What was counted among the symmetries, and how many there are."""
    swaps = "with" if contents[0]["agent_swaps"] else "without"
    orders = ", ".join(
        f"{name} {symmetries(int(one['symmetries']))}" for name, one in zip(zsc_games(contents), contents, strict=True)
    )
    return f"Labels drawn independently, symmetries {swaps} agent swaps: {orders}."


def _zsc_cell(method: Mapping[str, Any]) -> str:
    if method["refused"]:
        return _REFUSED + method["refused"]
    own, cross = f"{method['self_play']:z.4f}", f"{method['cross_play']:z.4f}"
    return cross if own == cross else f"{cross} ({own})"


def _short_bounds(found: Mapping[str, Any]) -> str:
    if found["exact"]:
        return f"{found['value']:z.4f}"
    upper = "" if found["upper_bound"] is None else f", ≤ {found['upper_bound']:.4f}"
    return f"≥ {found['value']:z.4f}{upper}"


def show_adaptive(contents: Mapping[str, Any], path: Path) -> None:
    """Print the table of an adaptive.json, agents × the partner's levels, and where it is."""
    console = Console(width=None if sys.stdout.isatty() else 200)
    table = Table(title=f"{adaptive_title(contents)}: expected return (regret) with partners of each level")
    for name in ("agent", *contents["agents"][: len(contents["best"])], "mean"):
        table.add_column(name, justify="left" if name == "agent" else "right")
    for row in adaptive_rows(contents):
        table.add_row(*row, end_section=row[0] == "adaptive")
    console.print(table)
    if sentence := alike_sentence(contents["alike"]):
        console.print(sentence, highlight=False, soft_wrap=True)
    print(f"run {path}")


def adaptive_title(contents: Mapping[str, Any]) -> str:
    """For example "equal_levers n=3, 10 rounds", from an adaptive.json."""
    return f"{_with_parameters(contents)}, {contents['rounds']} round{'s' if contents['rounds'] > 1 else ''}"


def adaptive_rows(contents: Mapping[str, Any]) -> list[list[str]]:
    """A row for each agent, and one for an agent that knows the level: texts."""
    rows = [
        [name, *(f"{earned:z.4f} ({lost:z.4f})" for earned, lost in zip(_and_mean(own), _and_mean(lost), strict=True))]
        for name, own, lost in zip(contents["agents"], contents["returns"], contents["regrets"], strict=True)
    ]
    return [*rows, ["knows the level", *(f"{value:z.4f}" for value in _and_mean(contents["best"]))]]


def _and_mean(values: Sequence[float]) -> list[float]:
    return [*values, math.fsum(values) / len(values)]


def alike_sentence(alike: Sequence[Sequence[int]]) -> str:
    """Which levels of the partner cannot be told apart; nothing if all can."""
    if len(alike) == 1 < len(alike[0]):
        return "The partner's levels cannot be told apart: all of them play alike in this game."
    same = (f"{', '.join(map(str, levels[:-1]))} and {levels[-1]}" for levels in alike if len(levels) > 1)
    return " ".join(f"Levels {levels} of the partner cannot be told apart: they play alike." for levels in same)


def show_comparisons(comparisons: "Sequence[Comparison]", warnings: Sequence[str], root: Path, *, draw: bool) -> None:
    """Print warnings and the tables of comparisons, and write each with its figure, if `draw`, below `root`.

    Where nothing can be written there is a warning.
    """
    from experiments import compare_formats

    for sentence in warnings:
        warn(sentence)
    for comparison in comparisons:
        show_comparison(comparison)
        try:
            _say_where(compare_formats.write(comparison, root, draw=draw))
        except TacitError as error:
            warn(f"the table is not kept: {error}")


def _say_where(folder: Path) -> None:
    """Print where a table is."""
    print(f"table{' and figure' * any(folder.glob('*.svg'))} in {folder}")


def show_comparison(comparison: "Comparison") -> None:
    """Print the table of a comparison."""
    from experiments import compare

    console = Console(width=None if sys.stdout.isatty() else 200)
    table = Table(title=f"{comparison.game} (best {comparison.score_range[1]:g}); 95 % intervals over seeds")
    for name in compare.head(comparison):
        table.add_column(name, justify="right", overflow="fold")
    for row in comparison.rows:
        table.add_row(*compare.cells(row))
    console.print(table)
    for sentence in compare.sentences(comparison):
        console.print(sentence, highlight=False)
    for row in comparison.rows:
        print(f"run {row.path}")


def show_methods(table: "MethodsTable") -> None:
    """The scores of the methods, their comparisons, and where the tables are."""
    from experiments import methods
    from experiments.crossplay import sampling_in_words

    console = Console(width=None if sys.stdout.isatty() else 200)
    for play, found in table.blocks.items():
        shown = Table(title=f"{table.game}, {play} play (best {table.score_range[1]:g}); 95 % intervals over seeds")
        for name in ("method", *methods.COLUMNS):
            shown.add_column(name, justify="left" if name == "method" else "right", overflow="fold")
        for name, cells in methods.scores(found):
            shown.add_row(name, *cells)
        console.print(shown)
        for sentence in methods.in_words(table.comparisons[play]):
            console.print(sentence, highlight=False)
        console.print()
    if table.sampling:
        console.print(sampling_in_words(table.sampling), highlight=False)
    print(f"tables and figure in {table.folder}")


def show_status(contents: Mapping[str, Any]) -> None:
    """Print the counts of `experiments.status.standing`, and a table of the runs that are not finished."""
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(", ".join(f"{number:,} {state}" for state, number in contents["counts"].items()), highlight=False)
    if not contents["unfinished"]:
        return
    table = Table()
    for name in ("run", "state", "game", "steps", "last heard", "reason"):
        table.add_column(name, justify="right" if name == "steps" else "left", overflow="fold")
    now = datetime.datetime.now(datetime.UTC)
    for run in contents["unfinished"]:
        steps = f"{run['steps']:,}" if run["total"] is None else f"{run['steps']:,} of {run['total']:,}"
        heard = ago(run["updated"], now) if run["updated"] else ""
        table.add_row(Path(run["path"]).name, run["state"], run["game"], steps, heard, Text(run["reason"]))
    console.print(table)


def ago(updated: str, now: datetime.datetime) -> str:
    """How long ago a time in ISO 8601 was, in its largest unit, for example "3 min ago"."""
    seconds = max(0, int((now - datetime.datetime.fromisoformat(updated)).total_seconds()))
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"
