"""The cross-play of many runs as one xarray.Dataset with named dimensions; see `Runs.crossplay`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from experiments.runs.record import Record, plain_text
from games.errors import TacitError
from marl.crossplay import CrossPlay

if TYPE_CHECKING:
    import xarray

_FIELDS = {
    "score": "mean", "standard_error": "standard_error", "games": "games", "bombed": "bombed", "length": "length",
}  # fmt: skip
_TAKEN = {"seed", "partner_seed", "seat", "self_play", *_FIELDS}


class _Axis(NamedTuple):
    """A dimension over what the runs differ in."""

    name: str
    keys: list[str]
    """The dimension's own key, then the keys that it determines."""
    values: dict[str, list[Any]]
    """The values of each of these keys along the dimension."""
    places: list[int]
    """Each run's index on the dimension."""


def dataset(
    runs: Sequence[Record],
    varying: Sequence[str],
    determining_keys: Mapping[str, Sequence[str]],
    play: str,
    xarray: Any,
) -> "xarray.Dataset":
    """The cells of one play of all runs, as `Runs.crossplay` describes it.

    Args:
      runs: runs.
      varying: the keys in which they differ.
      determining_keys: those of them that become dimensions, each with the keys that it determines.
      play: "sampled" or "greedy".
      xarray: the imported library.

    Raises:
      TacitError: if two runs have the same configuration, or their cells differ in shape.
    """
    cells = _cells(runs, play)
    axes = _axes(runs, varying, determining_keys)
    places = list(zip(*(axis.places for axis in axes), strict=True)) if axes else [()] * len(runs)
    for number, place in enumerate(places):
        if (first := places.index(place)) != number:
            raise TacitError(f"{runs[first].path} and {runs[number].path} are one configuration: give one of them")
    shape = tuple(len(axis.values[axis.keys[0]]) for axis in axes)
    names = _names(varying)
    coordinates: dict[str, Any] = {
        names[key]: (axis.name, _values(axis.values[key])) for axis in axes for key in axis.keys
    }
    players, seeds = cells[0].seatings.shape[1], len(cells[0].labels)
    starts = {record.science["first_seed"] for record in runs}
    numbers = np.arange(seeds) + (starts.pop() if len(starts) == 1 else 0)
    coordinates |= {"seed": numbers, "seat": np.arange(players)}
    dimensions = {**dict.fromkeys(_FIELDS, ("seed", "seat")), "self_play": ("seed",)}
    if players == 2:
        dimensions = dict.fromkeys(_FIELDS, ("seed", "partner_seed", "seat"))
        coordinates["partner_seed"] = numbers
    found = [_by_pair(one) if players == 2 else by_seat(one) for one in cells]
    arrays = {name: np.full(shape + values.shape, np.nan) for name, values in found[0].items()}
    for place, one in zip(places, found, strict=True):
        for name, values in one.items():
            arrays[name][place] = values
    outer = tuple(axis.name for axis in axes)
    return xarray.Dataset(
        {name: (outer + dimensions[name], values) for name, values in arrays.items()}, coordinates, attrs={"play": play}
    )


def by_seat(cells: CrossPlay) -> dict[str, np.ndarray]:
    """What each of N seeds scores in each of P seats while other seeds sit in all others, float64[N, P]; and alone.

    `score` and `length` are means over these cells, `games` and `bombed` sums. `standard_error`, over the games as in
    a single cell, counts that cells share their decks; nan where their games were not kept. `self_play`, float64[N], is
    the score with itself. What was not played is nan.
    """
    seeds, players = len(cells.labels), cells.seatings.shape[1]
    found = {name: np.full((seeds, players), np.nan) for name in _FIELDS} | {"self_play": np.full(seeds, np.nan)}
    for seed in range(seeds):
        taken = cells.seatings == seed
        if (alone := taken.all(axis=1)).any():
            found["self_play"][seed] = cells.mean[alone].mean()
        for seat in range(players):
            chosen = taken[:, seat] & (taken.sum(axis=1) == 1)
            if not chosen.any():
                continue
            found["score"][seed, seat] = cells.mean[chosen].mean()
            found["length"][seed, seat] = cells.length[chosen].mean()
            found["games"][seed, seat] = cells.games[chosen].sum()
            found["bombed"][seed, seat] = cells.bombed[chosen].sum()
            if chosen.sum() == 1:
                found["standard_error"][seed, seat] = cells.standard_error[chosen][0]
            elif cells.scores is not None and cells.scores.shape[1] > 1:
                decks = cells.scores[chosen].mean(axis=0, dtype=np.float64)
                found["standard_error"][seed, seat] = decks.std(ddof=1) / np.sqrt(len(decks))
    return found


def _by_pair(cells: CrossPlay) -> dict[str, np.ndarray]:
    """The cells of two players, float64[N, N, 2]: seed, partner seed, seat of seed."""
    seeds = len(cells.labels)
    found = {name: np.full((seeds, seeds, 2), np.nan) for name in _FIELDS}
    first, second = cells.seatings.T
    for name, field in _FIELDS.items():
        array, values = found[name], getattr(cells, field)
        array[first, second, 0] = values
        array[second, first, 1] = values
    return found


def _cells(runs: Sequence[Record], play: str) -> list[CrossPlay]:
    """The cells of every run; an error if their shapes differ."""
    if not runs:
        raise TacitError("there is no run whose cross-play could be labelled")
    for record in runs:
        if record.state != "finished" or record.command != "train":
            what = f"of tacit {record.command}" if record.state == "finished" else record.state
            raise TacitError(f"crossplay() needs finished training runs, and {record.path} is {what}")
    cells = [record.crossplay()[play] for record in runs]
    first = cells[0]
    for record, one in zip(runs, cells, strict=True):
        if one.seatings.shape[1] != first.seatings.shape[1] or len(one.labels) != len(first.labels):
            said = " and of ".join(f"{len(it.labels)} seeds, {it.seatings.shape[1]} players" for it in (first, one))
            raise TacitError(f"runs {runs[0].name} and {record.name} have no common dimensions: they are of {said}")
    return cells


def _axes(runs: Sequence[Record], varying: Sequence[str], determining_keys: Mapping[str, Sequence[str]]) -> list[_Axis]:
    """The dimensions: keys in which the runs differ and that no other one determines."""
    values = {key: [record.keys.get(key) for record in runs] for key in varying}
    axes = []
    for key in (key for key in varying if key in determining_keys):
        texts = list(map(plain_text, values[key]))
        distinct = dict(zip(texts, range(len(runs)), strict=True))
        order = sorted(distinct.values(), key=lambda run: _order(values[key][run]))
        places = {texts[run]: place for place, run in enumerate(order)}
        axes.append(
            _Axis(
                name=_names(varying)[key],
                keys=[key, *determining_keys[key]],
                values={one: [values[one][run] for run in order] for one in (key, *determining_keys[key])},
                places=[places[text] for text in texts],
            )
        )
    return axes


def _names(varying: Sequence[str]) -> Mapping[str, str]:
    """Short names of the keys in which the runs differ: the last parts, where these are unique."""
    ends = Counter(key.rpartition(".")[2] for key in varying)
    short = {key: key.rpartition(".")[2] for key in varying}
    return {key: end if ends[end] == 1 and end not in _TAKEN else key for key, end in short.items()}


def _order(value: Any) -> tuple[Any, ...]:
    is_number = isinstance(value, int | float)
    return (not is_number, value if is_number else 0, plain_text(value))


def _values(values: Sequence[Any]) -> list[Any]:
    """Values as coordinates: numbers as they are, else texts."""
    if all(isinstance(value, int | float) for value in values):
        return list(values)
    return [value if isinstance(value, str) else plain_text(value) for value in values]
