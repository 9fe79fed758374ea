"""`tacit compare DIR …`: self-play against cross-play of finished runs, one comparison for each game."""

import collections
import hashlib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments import runs
from experiments.analysis import compare_tables, with_people
from experiments.analysis.compare_tables import Comparison, Row
from experiments.analysis.contrasts import Group, mean_summaries, run_tests
from experiments.catalogue import facts
from experiments.configuration.config import build_game
from experiments.presentation import keys as keys_of
from experiments.presentation import tables, terminal
from experiments.runs.collection import Runs, boards, load
from experiments.runs.record import Record, plain_text
from games.errors import TacitError
from marl.crossplay.estimators import Estimate

_SETTINGS = {"games": "numbers of games in a cell", "seating": "seatings", "max_seatings": "numbers of seatings",
             "seed": "decks (crossplay.seed)"}  # fmt: skip
_HELD = {6: 60, 8: 72, 16: 93, 32: 95}
"""How many of the 95 % intervals held in percent, by the number of seeds, where some fail: docs/estimators.md."""
_MOST_DRAWN = 60
"""The most rows of a figure."""
_MOST_VALUES = 8
"""The most values of a key that a sentence lists."""


class _Asked(NamedTuple):
    """The arguments of `read` that say how runs are compared."""

    by: Sequence[str] = ()
    over: Sequence[str] = ()
    contrasts: Sequence[str] = ()
    shares: bool = False
    people: Sequence[with_people.Games] = ()


def read(
    paths: Sequence[Path],
    *,
    where: Sequence[str] = (),
    by: Sequence[str] = (),
    over: Sequence[str] = (),
    contrasts: Sequence[str] = (),
    shares: bool = False,
    people: Sequence[Path] = (),
) -> tuple[list[Comparison], list[str]]:
    """The finished training runs among `paths`, one comparison for each game, and warnings, a sentence each.

    Args:
      paths: run directories and folders of runs.
      where: conditions KEY=VALUE that the runs have to meet.
      by: keys to sort by, or their ends ("entropy_coef"); by default those in which the runs of a game differ, except
        those that another key determines (the arguments of a class, where the class differs). If rows are equal in
        them, the other keys in which they differ follow.
      over: keys over whose values the rows are means.
      contrasts: KEY=A-B, see `contrasts.run_tests`.
      shares: show scores as shares of the game's optimum.
      people: files of `tacit play`, or folders of them, for a column of scores with people.

    Raises:
      TacitError: if no finished training run is left, or no run has such a key; if runs that a mean needs are missing,
        or its key is one of `by`; if shares are asked for of an optimum that is not known or not above 0; as
        `contrasts.run_tests`; if a file of people cannot be read, or they played with none of the runs.
    """
    found = load(paths)
    chosen = found.where(*where)
    if not chosen:
        raise TacitError(_why_none(found, where))
    games = with_people.read(people) if people else []
    comparisons, sentences = _compared(chosen, _Asked(by, over, contrasts, shares, games))
    if people and not any(row.people for one in comparisons for row in one.rows):
        raise with_people.played_with_others(games)
    return comparisons, sentences


def compare(
    found: Runs,
    *,
    by: Sequence[str] = (),
    over: Sequence[str] = (),
    contrasts: Sequence[str] = (),
    shares: bool = False,
) -> Comparison:
    """The comparison of the finished training runs of one game; arguments as of `read`, whose warnings are raised here.

    Raises:
      TacitError: as `read`; if the runs are of several games.
    """
    comparisons, sentences = _compared(found, _Asked(by, over, contrasts, shares))
    if len(comparisons) > 1:
        several = "; ".join(one.title for one in comparisons)
        raise TacitError(f"scores of different games or boards do not compare: give runs of one of {several}")
    for sentence in sentences:
        warnings.warn(sentence, stacklevel=3)
    return comparisons[0]


def write(comparison: Comparison, root: Path, *, draw: bool) -> Path:
    """Write table.md, table.json and, if `draw`, the figure into a folder below `root`.

    The folder's name is a hash of the runs and of how they are compared, so other tables of the same runs are kept.

    Raises:
      TacitError: if the folder cannot be written.
    """
    what = "".join(sorted(path.name for row in comparison.rows for path in row.paths))
    what += "".join(f" by {key}" for key in comparison.by) + "".join(f" over {key}" for key in comparison.over)
    what += "".join(f" contrast {text}" for text in comparison.asked) + " shares" * comparison.shares
    what += "".join(f" people {row.people.mean}" for row in comparison.rows if row.people)
    folder = root / "compare" / hashlib.sha256(what.encode()).hexdigest()[:12]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        runs.write_bytes(folder / "table.md", (str(comparison) + "\n").encode())
        plain = tables.as_json(compare_tables.shown(comparison, names=True))
        runs.write_bytes(folder / "table.json", (plain + "\n").encode())
        if draw and len(comparison.rows) <= _MOST_DRAWN:
            from experiments.analysis import compare_figures  # imports matplotlib, which a table does not need
            from experiments.presentation import figures

            figures.save(compare_figures.figure(comparison), folder / "figure")
    except OSError as error:
        raise TacitError(f"{folder} cannot be written: {error.strerror}") from error
    return folder


def show(
    comparisons: Sequence[Comparison],
    warnings: Sequence[str],
    root: Path,
    *,
    draw: bool,
    columns: Sequence[str] = tuple(compare_tables.COLUMNS),
) -> None:
    """Print warnings and the tables of comparisons, and write each with its figure, if `draw`, below `root`.

    If they cannot be written, it prints a warning.
    """
    for sentence in warnings:
        terminal.warn(sentence)
    for comparison in comparisons:
        tables.show(compare_tables.made([comparison], tables.SHOWN, columns))
        for row in comparison.rows:
            for path in row.paths:
                print(f"run {path}")
        try:
            print(terminal.where(write(comparison, root, draw=draw)))
        except TacitError as error:
            terminal.warn(f"the table is not kept: {error}")


def _compared(found: Runs, asked: _Asked) -> tuple[list[Comparison], list[str]]:
    finished = [record for record in found if record.command == "train" and record.state == "finished"]
    if not finished:
        if not found:
            raise TacitError("there is no run to compare")
        if len(found) == 1:
            runs.check_finished(found[0].path)  # raises with the reason, unless the run is damaged
            raise TacitError(f"run {found[0].path} is {found[0].state}: {found[0].reason}")
        raise TacitError(f"there is no finished training run to compare: {_left_out(found)}")
    asked = asked._replace(by=[found.key(key) for key in asked.by], over=[found.key(key) for key in asked.over])
    for key in asked.over:
        if key in asked.by:
            raise TacitError(f"--over {keys_of.last_part(key)}: it is one of --by, too")
    by_game = Runs(finished).by_game()
    on = boards([of_game[0] for of_game in by_game])
    comparisons = [_comparison(of_game, asked, board) for of_game, board in zip(by_game, on, strict=True)]
    comparisons.sort(key=lambda one: (one.short_game, _sort_key(one.board), _sort_key(one.rows[0].keys)))
    said = [f"{left} left out"] if (left := _left_out(found)) else []
    if len(comparisons) > 1:
        said.append(f"scores of different games or boards do not compare: a table each for {len(comparisons)} of them")
    return comparisons, said + [f"{one.title}: {text}" for one in comparisons for text in one.warnings]


def _comparison(records: Sequence[Record], asked: _Asked, board: Mapping[str, Any]) -> Comparison:
    """The comparison of runs of one game."""
    varying = [key for key in Runs(records).varying() if key != "seeds"]  # seeds have a column of their own
    names = list(asked.by) or [key for key in _determining_keys(records, varying) if key not in asked.over]
    names = names or [next(key for key in ("learner.entropy_coef", "learner._target_") if key not in asked.over)]
    for more in [] if asked.over else [_determining_keys(records, varying), ["seeds"]]:
        if len({_texts(record, names) for record in records}) < len(records):
            names += [key for key in more if key not in names and len({_texts(one, [key]) for one in records}) > 1]
    hidden = [key for key in varying if key not in names and key not in asked.over]
    determined_keys = _determined_keys(records, names, hidden)
    hidden = [key for key in hidden if not any(key in keys for keys in determined_keys.values())]
    groups = sorted(_groups(records, names, asked.over), key=lambda group: _sort_key(group.keys))
    tests = run_tests(groups, asked.contrasts)
    group = records[0].science["game"]
    name, score_range, optimum = facts_of_game(group)
    if asked.shares and optimum is None:
        raise TacitError(f"shares of the optimum: the optimum of {name} is not known")
    if asked.shares and optimum is not None and optimum <= 0:
        raise TacitError(f"shares of the optimum: that of {name} is {optimum:g}, and it has to be above 0")
    rows = [
        Row(
            paths=tuple(record.path for record in group.records),
            keys=dict(group.keys),
            summaries={
                play: summary.within(*score_range).times(1 / optimum if asked.shares and optimum else 1.0)
                for play, summary in mean_summaries(group).items()
            },
            seeds=_one_or_all(record.science["seeds"] for record in group.records),
            best=best,
            people=_with_people(group, asked, score_range, optimum),
        )
        for group, best in zip(groups, tests.best, strict=True)
    ]
    return Comparison(
        rows=_with_short_names(rows),
        tests=tests,
        score_range=score_range,
        optimum=optimum,
        shares=asked.shares,
        game=_game_title(name, group),
        short_game=records[0].keys["game"],
        board=board,
        warnings=_warnings(records, _determining_keys(records, hidden)),
        by=asked.by,
        asked=asked.contrasts,
        over={key: sorted({record.keys.get(key) for record in records}, key=keys_of.order) for key in asked.over},
        determined_keys=determined_keys,
    )


def _with_people(
    group: Group, asked: _Asked, score_range: tuple[float, float], optimum: float | None
) -> Estimate | None:
    """The score of a row's runs with people, or None."""
    found = with_people.score(asked.people, [record.path.resolve().name for record in group.records])
    return found and found.within(*score_range).times(1 / optimum if asked.shares and optimum else 1.0)


def _groups(records: Sequence[Record], names: Sequence[str], over: Sequence[str]) -> list[Group]:
    """The runs of each row: one, or all that differ in the keys `over` which rows are means."""
    if not over:
        return [Group({key: record.keys.get(key) for key in names}, [record]) for record in records]
    ends = ", ".join(map(keys_of.last_part, over))
    of_row: dict[str, list[Record]] = collections.defaultdict(list)
    for record in records:
        of_row[_texts(record, names)].append(record)
    all_values = {_texts(record, over) for record in records}
    for of_one in of_row.values():
        values = {_texts(record, over) for record in of_one}
        if len(values) < len(of_one):
            raise TacitError(
                f"--over {ends}: some runs of a row are equal in {ends}: choose with --where, or add to --by"
            )
        if values < all_values:
            row = ", ".join(f"{keys_of.last_part(key)} {of_one[0].keys.get(key)}" for key in names)
            raise TacitError(f"--over {ends}: not every value was run at {row}: choose with --where")
    return [Group({key: of_one[0].keys.get(key) for key in names}, of_one) for of_one in of_row.values()]


def facts_of_game(group: Mapping[str, Any]) -> tuple[str, tuple[float, float], float | None]:
    """A game's name, score range and optimum (None if it is not known), from the group `game` of a run.

    Stored facts are used for an unchanged game of conf/.

    Raises:
      TacitError: if there is no such game in this version of Tacit, or its file is missing.
    """
    group = {key: value for key, value in group.items() if key != "version"}
    if (known := facts.of_game(group)) is not None:
        low, high = known["score_range"]
        return known["name"], (low, high), known["optimum"]
    game = build_game(group)
    return game.name, game.score_range, getattr(game, "known_optimum", None)


def _determining_keys(records: Sequence[Record], keys: Sequence[str]) -> list[str]:
    """Of the keys in which runs differ, those that no other one determines; among classes only classes count.

    A game's version is always kept and determines no other key: runs of different versions cannot be compared.
    """
    found = Runs(records)
    classes = [key for key in keys if keys_of.is_class(key)]
    others = [key for key in keys if not keys_of.is_class(key) and key != "game.version"]
    determining = {"game.version", *found.determining_keys(classes), *found.determining_keys([*classes, *others])}
    return [key for key in keys if key in determining]


def _determined_keys(records: Sequence[Record], shown: Sequence[str], hidden: Sequence[str]) -> dict[str, list[str]]:
    """For each shown key the hidden keys that it determines; if several do, a class comes before other keys."""
    found = Runs(records)
    determined_keys: dict[str, list[str]] = {}
    for key in sorted(hidden):
        leaders = (
            one for one in sorted(shown, key=lambda one: not keys_of.is_class(one)) if found.determines(one, key)
        )
        if key != "game.version" and (leader := next(leaders, None)):
            determined_keys.setdefault(leader, []).append(key)
    return determined_keys


def _with_short_names(rows: Sequence[Row]) -> list[Row]:
    """The rows, with the beginnings of their runs' names if several rows have the same keys."""
    if len({_sort_key(row.keys) for row in rows}) == len(rows):
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
    settings = [record.crossplay_settings() for record in records]
    for name, words in _SETTINGS.items():
        values = {str(one.get(name, "not said")) for one in settings}
        if len(values) > 1:
            found.append(f"rows were cross-played with different {words}: {', '.join(sorted(values))}")
    if far := [f"{', '.join(one.outlier_seeds)} of run {one.path.name}" for one in records if one.outlier_seeds]:
        fewest = min(one.science["seeds"] for one in records if one.outlier_seeds)
        seeds = max(number for number in _HELD if number <= fewest)
        found.append(
            f"seeds that play far from all others: {'; '.join(far)}; where a few seeds fail, {_HELD[seeds]} % of the "
            f"95 % intervals of {seeds} seeds held (docs/estimators.md)"
        )
    if hidden := [key for key in hidden if key != "game.version"]:
        found.append(f"rows differ in what the table does not show, too: {', '.join(hidden)}")
    twice = [name for name, number in collections.Counter(record.name for record in records).items() if number > 1]
    if twice:
        found.append(f"a run is there more than once, and its seeds are not independent: {', '.join(twice)}")
    return found


def _left_out(found: Sequence[Record]) -> str:
    """How many runs are not finished training runs, in words."""
    unfinished = collections.Counter(record.state for record in found if record.state != "finished")
    others = collections.Counter(
        record.command for record in found if record.state == "finished" and record.command != "train"
    )
    parts = [f"{number} {state}" for state, number in sorted(unfinished.items())]
    parts += [f"{number} of tacit {command}" for command, number in sorted(others.items())]
    return f"{unfinished.total() + others.total()} of {len(found)} runs ({', '.join(parts)})" if parts else ""


def _one_or_all(numbers: Iterable[int]) -> int | str:
    """Equal numbers as one, others as a text of all."""
    several = sorted(set(numbers))
    return several[0] if len(several) == 1 else ", ".join(map(str, several))


def _texts(record: Record, keys: Sequence[str]) -> str:
    return plain_text([record.keys.get(key) for key in keys])


def _sort_key(keys: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(map(keys_of.order, keys.values()))


def _game_title(name: str, game: Mapping[str, Any]) -> str:
    given = [
        f"{key} {value}" for key, value in game.items() if key not in ("_target_", "version") and value is not None
    ]
    return ": ".join([f"{name} ({game['version']})", *([", ".join(given)] if given else [])])
