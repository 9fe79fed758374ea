"""The one error that stands for a user's mistake, and the checks that raise it."""

import difflib
import math
import os
import sysconfig
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

_NOT_USER_CODE = (
    "<",
    *(sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    *(str(Path(__file__).parents[1] / name) + os.sep for name in ("games", "marl", "experiments", "tacit")),
)
"""Prefixes of the names of files of Python, of installed packages and of this package."""
_NEAR = 0.75
"""The least `difflib` similarity between a word and one that may have been meant."""


class TacitError(ValueError):
    """Bad input, said in one sentence: what was wrong and what was expected.

    The command line prints the sentence and exits with status 2; anything else that is raised is a defect of Tacit
    and keeps its traceback.
    """


def whole_number(name: str, value: Any, low: int, high: int | None = None, why: str = "") -> int:
    """`value` as an int, if it is a whole number from `low` to `high`; 2e6 is one, True and "3" are not.

    Raises:
      TacitError: naming `name`, the range and, if given, why it is so.
    """
    is_whole = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not is_whole or value != int(value) or value < low or (high is not None and value > high):
        bounds = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise TacitError(f"{name} must be a whole number {bounds}{f' ({why})' if why else ''}, not {value!r}")
    return int(value)


def number(name: str, value: Any, low: float, high: float = math.inf, *, above: bool = False) -> float:
    """`value` as a float, if it is a finite number with low <= value <= high; low < value if `above`.

    Raises:
      TacitError: naming `name` and the range.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or not low <= value <= high or (above and value == low):
        lower = "" if low == -math.inf else f" {'above' if above else 'of at least'} {low:g}"
        upper = "" if high == math.inf else f" and at most {high:g}"
        raise TacitError(f"{name} must be a number{lower}{upper}, not {value!r}")
    return float(value)


def one_of(name: str, value: Any, choices: Any) -> Any:
    """`value`, if it is among `choices`.

    Raises:
      TacitError: naming `name` and the choices.
    """
    if value not in choices:
        hint = did_you_mean(str(value), map(str, choices))
        raise TacitError(f"{name} must be one of {', '.join(map(str, choices))}, not {value!r}{hint and f'; {hint}'}")
    return value


def some_of(name: str, given: Any, known: Sequence[str]) -> tuple[str, ...]:
    """The names given, one or several of `known`, in the order of `known`; null means all.

    Raises:
      TacitError: for an unknown name, or an empty list.
    """
    several = known if given is None else given if isinstance(given, list | tuple) else [given]
    if not several:
        raise TacitError(f"{name} must be one or several of {', '.join(known)}, not an empty list")
    for one in several:
        one_of(name, one, known)
    return tuple(one for one in known if one in several)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word whose spelling is nearest, if any is near; capitals do not count, nor does - instead of _."""
    spelled = {one_spelling(one): one for one in known}
    near = difflib.get_close_matches(one_spelling(word), spelled, n=1, cutoff=_NEAR)
    return spelled[near[0]] if near else None


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """A hint about a word that is not known: "did you mean 'lever'?", or `otherwise` if no known word is near."""
    near = nearest(word, known)
    return f"did you mean {near!r}?" if near else otherwise


def one_spelling(word: str) -> str:
    """The word in small letters, with _ for -: equal for words that differ in nothing else."""
    return word.lower().replace("-", "_")


def in_short(error: BaseException) -> str:
    """An error's name and the first line of what it says, with the innermost line of the user's own files."""
    says = error.msg if isinstance(error, SyntaxError) else str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}{': ' if says else ''}{says}{location_in_user_code(error)}"


def location_in_user_code(error: BaseException, own: str | None = None) -> str:
    """Where in a user's code an error came up: ", mined.py line 5", the innermost such line; "" if there is none.

    Args:
      error: with its traceback.
      own: a file that counts as the user's, too, although it is ours.
    """
    lines = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        lines.append((error.filename, error.lineno))
    theirs = [(file, line) for file, line in lines if file == own or not file.startswith(_NOT_USER_CODE)]
    return f", {Path(theirs[-1][0]).name} line {theirs[-1][1]}" if theirs else ""
