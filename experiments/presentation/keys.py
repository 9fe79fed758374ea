"""Short forms of configuration keys and values, for tables and sentences."""

from collections.abc import Mapping, Sequence
from typing import Any


def last_part(key: str) -> str:
    """The last part of a dotted key; for a class (`learner._target_`) the name of its group."""
    parts = key.split(".")
    return parts[-2] if parts[-1] == "_target_" and len(parts) > 1 else parts[-1]


def short_names(keys: Sequence[str]) -> list[str]:
    """The last parts of keys where these are unique, else the whole keys."""
    ends = [last_part(key) for key in keys]
    return [key if ends.count(end) > 1 else end for key, end in zip(keys, ends, strict=True)]


def short(value: Any) -> str:
    """A value as a short text."""
    if value is None:
        return "–"
    return f"{value:g}" if isinstance(value, float) else str(value)


def short_value(key: str, value: Any) -> str:
    """A key's value as a short text; a class without its module."""
    return short(value).split(".")[-1] if is_class(key) else short(value)


def is_class(key: str) -> bool:
    """Whether a key's values are paths of classes or functions."""
    return key.endswith("._target_")


def game_title(name: str, board: Mapping[str, Any]) -> str:
    """A game's name with what tells it apart from others of this name, as `boards` of runs has it."""
    return ", ".join([name, *(f"{last_part(key)} {short(value)}" for key, value in board.items() if value is not None)])


def order(value: Any) -> tuple[int, float, str]:
    """A sort key: numbers by size, then the others as texts."""
    return (0, value, "") if isinstance(value, int | float) else (1, 0, str(value))


def is_number(value: Any) -> bool:
    """Whether a value is a number; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)
