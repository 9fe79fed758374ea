"""The tests of `tacit compare`: which rows may be the best, and differences between two values of a key.

All tests of a table share one correction (Bonferroni): a p-value is multiplied by their number. Every pair of rows
counts, since the same scores say which row is the greatest; a contrast of two rows in greedy XP is one of these. Runs
with equal ranges of seeds, on the same decks, are paired.
"""

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from experiments.presentation import keys as keys_of
from experiments.runs.collection import PLAYS
from experiments.runs.record import GAMES_NOT_KEPT, Record, plain_text
from games.errors import TacitError
from marl.crossplay.comparisons import ALPHA, Tested, against_greatest, combination_test
from marl.crossplay.estimators import Estimate, Quantity, Summary
from marl.crossplay.standard_error import Part

IN_COMMON_IN_PART = (
    "runs of a mean have some of their seeds in common, seeds without the decks, or the policies that they began with, "
    "so the error of the mean is unknown"
)
COMPARED: Mapping[str, Quantity] = {"greedy XP": "cross_play", "greedy SP − XP": "gap"}
"""What a contrast compares, by the name of its column."""


_SEEDS = ("seeds", "first_seed")
"""Numbers that no contrast is of unless it is asked for."""


class Group(NamedTuple):
    """The runs whose mean is a row of the table, with the keys that the row shows."""

    keys: Mapping[str, Any]
    records: Sequence[Record]


class Contrast(NamedTuple):
    """The first value of a key minus the second."""

    key: str
    first: Any
    second: Any
    at: Mapping[str, Any] | None
    """The values of the other keys; None for the mean over all at which both values were run."""
    number: int
    """Of how many differences it is the mean."""
    tested: Mapping[str, Tested]
    """By name in `COMPARED`; p-values are not corrected."""


class Tests(NamedTuple):
    """The tests of one table."""

    best: Sequence[Mapping[str, bool | None]]
    """For each row by play: whether its XP is the greatest or not significantly less; None if it cannot be tested."""
    contrasts: Sequence[Contrast]
    number: int
    """How many different tests there are, by which p-values are multiplied."""
    paired: bool
    """Whether all runs have the same range of seeds and the same decks; if not, those that have are paired."""
    skipped: Sequence[str]
    """Keys with numbers that have no contrast, though none was asked for."""

    def corrected(self, p: float) -> float:
        """A p-value after the correction."""
        return min(1.0, p * self.number)


def run_tests(groups: Sequence[Group], asked: Sequence[str]) -> Tests:
    """All tests of a table.

    Args:
      groups: its rows.
      asked: contrasts KEY=A-B, each at all combinations of the other keys' values and in the mean over these; if there
        are none, the greatest minus the least value of each key with numbers, in the mean.

    Raises:
      TacitError: for a contrast of a key or a value that no row has, or that no two rows differ in alone.
    """
    keys = [group.keys for group in groups]
    pairs = [pair for text in asked for pair in _asked(text, keys)] if asked else _extremes(keys)
    played = _Played([record for group in groups for record in group.records])
    contrasts, hypotheses = [], set()
    for key, first, second, at, rows in pairs:
        weighted = [
            one
            for both in rows
            for row, sign in zip(both, (1, -1), strict=True)
            for one in _weighted(groups[row], sign / len(rows))
        ]
        parts = played.parts(weighted, "greedy")
        tested = {name: combination_test(parts, of=of, same_decks=played.same_decks) for name, of in COMPARED.items()}
        contrasts.append(Contrast(key, first, second, at, len(rows), tested))
        hypotheses |= {_hypothesis("greedy", name, rows) for name, one in tested.items() if one.p is not None}
    p_values = {
        play: against_greatest([played.parts(_weighted(one), play) for one in groups], same_decks=played.same_decks)
        for play in PLAYS
    }
    pairs_of_rows = {
        _hypothesis(play, "greedy XP", [both])
        for play, of_play in p_values.items()
        for both in itertools.combinations([row for row, p in enumerate(of_play) if p is not None], 2)
    }
    number = len(pairs_of_rows | hypotheses)
    best = [
        {play: None if p is None else p * number >= ALPHA for play, p in zip(PLAYS, of_row, strict=True)}
        for of_row in zip(*p_values.values(), strict=True)
    ]
    contrasted = {contrast.key for contrast in contrasts}
    skipped = [] if asked else [key for key in _numeric(keys) if key not in contrasted]
    return Tests(best, contrasts, number, played.paired, skipped)


def _hypothesis(play: str, name: str, pairs: Sequence[tuple[int, int]]) -> tuple[str, str, frozenset[tuple[int, int]]]:
    """What a difference between rows asks, equal for both directions."""
    turned = [(second, first) for first, second in pairs]
    return play, name, frozenset(min(sorted(pairs), sorted(turned)))


def mean_summaries(group: Group) -> dict[str, Summary]:
    """The summaries of the mean over a row's runs, by play; those of the run itself if it is alone."""
    if len(group.records) == 1:
        return group.records[0].summaries
    played = _Played(group.records)

    def estimate(of: Quantity, play: str) -> Estimate:
        parts = played.parts(_weighted(group), play)
        return combination_test(parts, of=of, same_decks=played.same_decks).difference

    disjoint = Estimate(None, note="in a mean over several runs")
    return {
        play: Summary(estimate("self_play", play), estimate("cross_play", play), disjoint, estimate("gap", play))
        for play in PLAYS
    }


_Weighted = Sequence[tuple[float, Record]]
"""The runs of a weighted sum."""


def _weighted(group: Group, weight: float = 1.0) -> _Weighted:
    """A row as the mean of its runs, times a weight."""
    return [(weight / len(group.records), record) for record in group.records]


class _Drawn(NamedTuple):
    """The seeds and the decks of a run: what is paired where both are equal."""

    seeds: range
    decks: tuple[Any, ...]

    def overlaps(self, other: "_Drawn", *, same_decks: bool) -> bool:
        """Whether the two have something in common that neither pairing nor `same_decks` accounts for."""
        seeds = max(self.seeds.start, other.seeds.start) < min(self.seeds.stop, other.seeds.stop)
        return self != other and (seeds or (self.decks == other.decks and not same_decks))


class _Played:
    """The cross-play of runs."""

    def __init__(self, records: Sequence[Record]):
        self._of = {record.path: record.crossplay() for record in records}
        self._drawn = {record.path: _drawn(record) for record in records}
        self.same_decks = len({one.decks for one in self._drawn.values()}) == 1
        self.paired = len(set(self._drawn.values())) == 1

    def parts(self, weighted: _Weighted, play: str) -> list[Part]:
        """The parts of a weighted sum; their notes say why it has no error.

        Where runs of opposite signs have something in common and are not paired, the error is too large: that is
        allowed. Of one sign it would be too small.
        """
        in_part = any(
            self._drawn[a.path].overlaps(self._drawn[b.path], same_decks=self.same_decks)
            or (self._drawn[a.path] != self._drawn[b.path] and _begun_alike(a, b))
            for (of_a, a), (of_b, b) in itertools.combinations(weighted, 2)
            if of_a * of_b > 0
        )
        return [
            Part(
                weight,
                cells.cells,
                seeds=self._drawn[record.path],
                note=GAMES_NOT_KEPT if cells.scores is None else IN_COMMON_IN_PART * in_part,
            )
            for weight, record in weighted
            for cells in [self._of[record.path][play]]
        ]


def _begun_alike(one: Record, other: Record) -> bool:
    """Whether the learners of both began with the same stored policies."""
    begun = one.science.get("initial_policies")
    return begun is not None and begun == other.science.get("initial_policies")


def _drawn(record: Record) -> _Drawn:
    first, of = record.science["first_seed"], record.crossplay_settings()
    decks = (record.science["game"]["version"], of.get("seed"), of.get("games"))
    return _Drawn(range(first, first + record.science["seeds"]), decks)


_Pairs = list[tuple[str, Any, Any, Mapping[str, Any] | None, list[tuple[int, int]]]]
"""Of each contrast: the key, both values, the values of the other keys, and the rows that differ in the key alone."""


def _extremes(keys: Sequence[Mapping[str, Any]]) -> _Pairs:
    """The greatest minus the least value of each key with numbers."""
    found: _Pairs = []
    for key in _numeric(keys):
        values = [row[key] for row in keys]
        rows = _rows(keys, key, max(values), min(values))
        found += [(key, max(values), min(values), None, [both for _, both in rows])] if rows else []
    return found


def _numeric(keys: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys in which rows differ by numbers, except for seeds."""
    return [
        key
        for key in keys[0]
        for values in [[row[key] for row in keys]]
        if key not in _SEEDS and all(map(keys_of.is_number, values)) and len(set(values)) > 1
    ]


def _asked(text: str, keys: Sequence[Mapping[str, Any]]) -> _Pairs:
    """The contrasts that KEY=A-B stands for; KEY is one of the rows' keys or the end of one."""
    said, equals, both = text.partition("=")
    known = [key for key in keys[0] if key == said or key.endswith(f".{said}") or keys_of.last_part(key) == said]
    if not equals or len(known) != 1:
        raise TacitError(f"--contrast {text}: expected KEY=A-B, where KEY is one of {', '.join(keys[0])}")
    (key,) = known
    values = [row[key] for row in keys]
    names = dict.fromkeys(keys_of.short_value(key, value) for value in values)
    named = {_plain(keys_of.short_value(key, value)): value for value in values}
    named |= {plain_text(value): value for value in values}
    chosen = next(
        (
            (named[first], named[second])
            for place, letter in enumerate(both)
            if letter == "-"
            for first, second in [(_plain(both[:place]), _plain(both[place + 1 :]))]
            if first in named and second in named and plain_text(named[first]) != plain_text(named[second])
        ),
        None,
    )
    if chosen is None:
        raise TacitError(f"--contrast {text}: expected {said}=A-B with two of its values: {', '.join(names)}")
    rows = _rows(keys, key, *chosen)
    if not rows:
        raise TacitError(f"--contrast {text}: no two rows have these values and are equal in all other columns")
    found: _Pairs = [(key, *chosen, at, [pair]) for at, pair in rows] if len(rows) > 1 else []
    return [*found, (key, *chosen, None, [pair for _, pair in rows])]


def _rows(
    keys: Sequence[Mapping[str, Any]], key: str, first: Any, second: Any
) -> list[tuple[Mapping[str, Any], tuple[int, int]]]:
    """The other keys' values and the two rows, wherever one row has the first value and one the second."""
    found: dict[str, dict[str, list[int]]] = {}
    for row, own in enumerate(keys):
        others = plain_text({name: value for name, value in own.items() if name != key})
        found.setdefault(others, {}).setdefault(plain_text(own[key]), []).append(row)
    pairs = (
        list(itertools.product(of.get(plain_text(first), []), of.get(plain_text(second), []))) for of in found.values()
    )
    return [
        ({name: value for name, value in keys[both[0]].items() if name != key}, both)
        for both, *more in filter(None, pairs)
        if not more
    ]


def _plain(text: str) -> str:
    """A value as on the command line, equal for equal numbers."""
    try:
        return plain_text(json.loads(text))
    except ValueError:
        return text
