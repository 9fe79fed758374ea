"""Arguments in Python as overrides of a command line: `seeds=4`, `{"learner.clip": 0.1}`, `learner={"clip": 0.1}`."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.runs.record import flatten
from games.errors import TacitError

_PLAIN = re.compile(r"[A-Za-z_][\w./-]*", re.ASCII)
"""Words that need no quotes."""
_OTHERS = {"null", "true", "false", "inf", "nan"}
"""Words that are no words without quotes."""


def overrides(arguments: Sequence[str | Mapping[str, Any]], keywords: Mapping[str, Any]) -> list[str]:
    """The overrides that texts "KEY=VALUE", mappings of keys to values, and keywords stand for, in this order.

    A text is in the grammar of the command line, where KEY=A,B is a job for each. The values of mappings and keywords
    are taken as they are: numbers, words, True, None, lists, arrays, and mappings of the keys of a group.

    Raises:
      TacitError: for an argument that is neither, and for a value that a configuration cannot hold.
    """
    found: list[str] = []
    for argument in (*arguments, keywords):
        if isinstance(argument, str):
            found.append(argument)
        elif isinstance(argument, Mapping):
            found += [f"{key}={_text(key, value)}" for key, value in flatten(argument).items()]
        else:
            raise TacitError(f"expected texts KEY=VALUE, mappings or keywords, not {argument!r}")
    return found


def _text(key: str, value: Any) -> str:
    """A value in hydra's grammar."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str | Path):
        return _quoted(str(value))
    if isinstance(value, Sequence):
        return f"[{','.join(_text(key, one) for one in value)}]"
    raise TacitError(f"{key} must be a number, a word, True, False, None, or a list or mapping of them, not {value!r}")


def _quoted(word: str) -> str:
    if _PLAIN.fullmatch(word) and word.lower() not in _OTHERS:
        return word
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", word)  # backslashes count before a quote only
    ending = len(escaped) - len(escaped.rstrip("\\"))
    return f"'{escaped}{escaped[len(escaped) - ending :]}'"
