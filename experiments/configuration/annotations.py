"""Check values of a configuration against the type annotations of the parameters that they are passed to.

Supported are whole numbers, numbers, truth values, text, null, `Literal`, lists of these (`tuple[X, ...]`,
`Sequence[X]`, `list[X]`) and unions of all of them. A value with any other annotation is passed on unchecked.
"""

import collections.abc
import dataclasses
import types
import typing
from collections.abc import Callable
from typing import Any, NamedTuple

from games.errors import TacitError


class _Simple(NamedTuple):
    """How to check a value against one annotation."""

    one: str
    many: str
    read: Callable[[Any], Any]
    """Converts the value; raises ValueError or OverflowError if it does not fit."""


def of(target: Any) -> dict[str, Any]:
    """The annotations of the parameters of a class or function, by name; empty if one of them cannot be resolved."""
    annotated = target if dataclasses.is_dataclass(target) or not isinstance(target, type) else target.__init__
    try:
        return typing.get_type_hints(annotated)
    except (NameError, TypeError, AttributeError):
        return {}


def converted(name: str, value: Any, annotation: Any) -> Any:
    """`value`, converted to fit an annotation.

    A whole float (1e3) is accepted for int, an int for float, a list for a tuple; a truth value is not a number.

    Raises:
      TacitError: naming `name` and what the annotation asks for.
    """
    simple = _simple(annotation)
    if simple is None:
        return value
    try:
        return simple.read(value)
    except (ValueError, OverflowError):
        raise TacitError(f"{name} must be {simple.one}, not {value!r}") from None


def _simple(annotation: Any) -> _Simple | None:
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is None:
        return _SIMPLE.get(annotation) if isinstance(annotation, type) else None
    if origin is typing.Literal:
        words = ", ".join(map(str, inside))
        return _Simple(f"one of {words}", f"words among {words}", lambda value: _among(inside, value))
    if origin in (typing.Union, types.UnionType):
        return _either([_simple(one) for one in inside])
    if origin is tuple and inside[1:] == (...,):
        return _sequence(tuple, _simple(inside[0]))
    if origin in (list, collections.abc.Sequence):
        return _sequence(list if origin is list else tuple, _simple(inside[0]))
    return None


def _either(members: list[_Simple | None]) -> _Simple | None:
    known = [member for member in members if member is not None]
    if len(known) < len(members):
        return None

    def read(value: Any) -> Any:
        for member in known[:-1]:
            try:
                return member.read(value)
            except (ValueError, OverflowError):
                continue
        return known[-1].read(value)

    return _Simple(" or ".join(one.one for one in known), " or ".join(one.many for one in known), read)


def _sequence(made: type, entry: _Simple | None) -> _Simple | None:
    if entry is None:
        return None

    def read(value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise ValueError
        return made(entry.read(one) for one in value)

    return _Simple(f"a list of {entry.many}", f"lists of {entry.many}", read)


def _among(choices: tuple[Any, ...], value: Any) -> Any:
    """The choice that equals the value; True does not equal 1 here."""
    for choice in choices:
        if value == choice and isinstance(value, bool) == isinstance(choice, bool):
            return choice
    raise ValueError


def _whole(value: Any) -> int:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError
    return float(value)


def _instance(kind: type) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if not isinstance(value, kind):
            raise ValueError
        return value

    return read


_SIMPLE = {
    int: _Simple("a whole number", "whole numbers", _whole),
    float: _Simple("a number", "numbers", _number),
    bool: _Simple("true or false", "truth values", _instance(bool)),
    str: _Simple("text", "texts", _instance(str)),
    types.NoneType: _Simple("null", "nulls", _instance(types.NoneType)),
}
