"""Values against annotations: what each takes, what it makes of it, and what it leaves alone."""

import collections.abc
import dataclasses
import math
from typing import Annotated, Any, List, Literal, Optional  # noqa: UP035

import pytest

from experiments.configuration import annotations
from games.errors import TacitError
from games.game import Game

TAKEN = [
    (int, 3, 3),
    (int, 1e3, 1000),
    (float, 3, 3.0),
    (float, 2.5, 2.5),
    (bool, False, False),
    (str, "7", "7"),
    (None | int, None, None),
    (Optional[int], 4.0, 4),  # noqa: UP045
    (int | float, 3, 3),
    (int | float, 3.5, 3.5),
    (bool | int, True, True),
    (float | collections.abc.Sequence[float], [1, 2.5], (1.0, 2.5)),
    (tuple[int, ...], [2.0, 3], (2, 3)),
    (tuple[int, ...], [], ()),
    (List[str], ("a",), ["a"]),  # noqa: UP006
    (tuple[tuple[float, ...], ...], [[1], []], ((1.0,), ())),
    (Literal["near", "far", 2], "far", "far"),
    (Literal["near", "far", 2], 2.0, 2),
    (Any, "whatever", "whatever"),  # from here on: nothing is said
    (None, "whatever", "whatever"),
    (Game, 3, 3),
    (list, 3, 3),
    (tuple[int, str], [1], [1]),
    (dict[str, int], 3, 3),
    (int | Game, "x", "x"),
    (collections.abc.Sequence[Game], 3, 3),
]


@pytest.mark.parametrize(("annotation", "value", "made"), TAKEN, ids=str)
def test_what_fits_is_passed_on(annotation, value, made):
    found = annotations.converted("game.key", value, annotation)
    assert (found, type(found)) == (made, type(made))


@pytest.mark.parametrize(
    ("annotation", "value", "asked"),
    [
        (int, 2.5, "a whole number, not 2.5"),
        (int, True, "a whole number, not True"),
        (int, "3", "a whole number, not '3'"),
        (int, math.inf, "a whole number, not inf"),
        (int, None, "a whole number, not None"),
        (float, "abc", "a number, not 'abc'"),
        (float, False, "a number, not False"),
        (float, [1, 2], "a number, not [1, 2]"),
        (float, 10**400, f"a number, not {10**400}"),
        (bool, 1, "true or false, not 1"),
        (str, 7, "text, not 7"),
        (int | None, "none", "a whole number or null, not 'none'"),
        (tuple[int, ...], 8, "a list of whole numbers, not 8"),
        (tuple[int, ...], [1, 2.5], "a list of whole numbers, not [1, 2.5]"),
        (list[str], "ab", "a list of texts, not 'ab'"),
        (float | tuple[float, ...], "x", "a number or a list of numbers, not 'x'"),
        (list[list[int]], [1], "a list of lists of whole numbers, not [1]"),
        (Literal["near", "far"], "there", "one of near, far, not 'there'"),
        (Literal[0, 1], True, "one of 0, 1, not True"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(annotation, value, asked):
    with pytest.raises(TacitError) as refused:
        annotations.converted("game.key", value, annotation)
    assert str(refused.value) == f"game.key must be {asked}"


def test_annotations_of_functions_and_classes():
    @dataclasses.dataclass
    class Base:
        size: int

    @dataclasses.dataclass
    class Extended(Base):
        gain: "float" = 1.0

    class Plain:
        size: str

        def __init__(self, size: Annotated[int, []], other=3):
            pass

    def make(size: "int | None" = None) -> Game: ...

    def unclear(size: int, board: "NotThere"): ...  # noqa: F821

    assert annotations.of(Extended) == {"size": int, "gain": float}
    assert annotations.of(Plain) == {"size": int}
    assert annotations.of(make) == {"size": int | None, "return": Game}
    assert annotations.of(unclear) == {}
    assert annotations.of(3) == {}
