"""Hanabi in JAX: rules, observers and color symmetry, equal to HLE's bit for bit."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from games.errors import one_of
from games.hanabi.rules import Hanabi, HanabiState

__all__ = ["PRESETS", "Hanabi", "HanabiState", "make"]

_FULL = {"colors": 5, "ranks": 5, "hand_size": None, "max_information_tokens": 8, "max_life_tokens": 3}
_SMALL = {"colors": 2, "ranks": 5, "hand_size": 2, "max_information_tokens": 3, "max_life_tokens": 1}

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        # HLE's, with the values of its rl_env
        "Hanabi-Full": _FULL,
        "Hanabi-Full-Minimal": _FULL | {"default_observer": "minimal"},
        "Hanabi-Small": _SMALL,
        "Hanabi-Very-Small": _SMALL | {"colors": 1},
        # ours, small enough to learn on a CPU in minutes
        "Hanabi-2x3": {"colors": 2, "ranks": 3, "hand_size": 2, "max_information_tokens": 4, "max_life_tokens": 2},
        "Hanabi-3x3": {"colors": 3, "ranks": 3, "hand_size": 3, "max_information_tokens": 5, "max_life_tokens": 3},
    }
)
"""Named boards for any number of players; a hand size of None is HLE's: 5 cards for 2 or 3 players, else 4."""


def make(
    preset: str = "Hanabi-Full",
    *,
    players: int = 2,
    colors: int | None = None,
    ranks: int | None = None,
    hand_size: int | None = None,
    max_information_tokens: int | None = None,
    max_life_tokens: int | None = None,
) -> Hanabi:
    """The board of a preset, with any of its values replaced.

    Raises:
      TacitError: for a preset that does not exist, and for a board that HLE cannot express.
    """
    one_of("hanabi preset", preset, PRESETS)
    given = {
        "colors": colors,
        "ranks": ranks,
        "hand_size": hand_size,
        "max_information_tokens": max_information_tokens,
        "max_life_tokens": max_life_tokens,
    }
    values: dict[str, Any] = {**PRESETS[preset], **{key: value for key, value in given.items() if value is not None}}
    if values["hand_size"] is None:
        values["hand_size"] = 5 if players in (2, 3) else 4
    return Hanabi(players=players, **values)
