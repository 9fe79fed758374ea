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
_TAKEN = {"seed", "partner_seed", "seat", "cell", "seats", *_FIELDS}


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
    if players == 2:
        inner, sizes = ("seed", "partner_seed", "seat"), (seeds, seeds, 2)
        starts = {record.science["first_seed"] for record in runs}
        numbers = np.arange(seeds) + (starts.pop() if len(starts) == 1 else 0)
        coordinates |= {"seed": numbers, "partner_seed": numbers, "seat": [0, 1]}
    else:
        inner, sizes = ("cell",), (len(cells[0].seatings),)
        coordinates["seats"] = (("cell", "seat"), cells[0].seatings)
    arrays = {name: np.full(shape + sizes, np.nan) for name in _FIELDS}
    for place, one in zip(places, cells, strict=True):
        for name, field in _FIELDS.items():
            _fill(arrays[name][place], one.seatings, getattr(one, field))
    dimensions = (*(axis.name for axis in axes), *inner)
    return xarray.Dataset(
        {name: (dimensions, values) for name, values in arrays.items()}, coordinates, attrs={"play": play}
    )


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
        if first.seatings.shape[1] > 2 and not np.array_equal(first.seatings, one.seatings):
            raise TacitError(f"runs {runs[0].name} and {record.name} of more than two players have other seatings")
    return cells


def _fill(array: np.ndarray, seatings: np.ndarray, values: np.ndarray) -> None:
    """Put the values of one run's cells in their places, for two players [seed, partner seed, seat of seed]."""
    if array.ndim == 1:
        array[:] = values
    else:
        first, second = seatings.T
        array[first, second, 0] = values
        array[second, first, 1] = values


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
