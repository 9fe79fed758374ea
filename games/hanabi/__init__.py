"""Hanabi in JAX: rules, observers and color symmetry, equal to HLE's bit for bit."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from games.errors import TacitError, one_of
from games.hanabi.rules import Hanabi, HanabiState

__all__ = ["PRESETS", "Hanabi", "HanabiState", "make"]

_FULL = {"colors": 5, "ranks": 5, "hand_size": None, "max_information_tokens": 8, "max_life_tokens": 3}
_SMALL = {"colors": 2, "ranks": 5, "hand_size": 2, "max_information_tokens": 3, "max_life_tokens": 1}
_3X3 = {"colors": 3, "ranks": 3, "hand_size": 3, "max_information_tokens": 5, "max_life_tokens": 3}

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        # HLE's, with the values of its rl_env
        "Hanabi-Full": _FULL,
        "Hanabi-Full-Minimal": _FULL | {"default_observer": "minimal"},
        "Hanabi-Small": _SMALL,
        "Hanabi-Very-Small": _SMALL | {"colors": 1},
        # ours, a ladder of sizes; the first is small enough to learn on a CPU in minutes
        "Hanabi-2x3": {"colors": 2, "ranks": 3, "hand_size": 2, "max_information_tokens": 4, "max_life_tokens": 2},
        "Hanabi-2x5": {"colors": 2, "ranks": 5, "hand_size": 2, "max_information_tokens": 3, "max_life_tokens": 3},
        "Hanabi-3x3": _3X3,
        "Hanabi-3x5": {"colors": 3, "ranks": 5, "hand_size": 3, "max_information_tokens": 5, "max_life_tokens": 3},
        "Hanabi-4x5": {"colors": 4, "ranks": 5, "hand_size": 4, "max_information_tokens": 6, "max_life_tokens": 3},
        # jax-aht's mini-Hanabi
        "Hanabi-Mini": _3X3 | {"copies": (2, 2, 1)},
    }
)
"""Named boards for any number of players; a hand size of None is HLE's: 5 cards for 2 or 3 players, else 4.

A preset without copies has HLE's, whatever its number of ranks.
"""


def make(
    preset: str = "Hanabi-Full",
    *,
    players: int = 2,
    colors: int | None = None,
    ranks: int | None = None,
    hand_size: int | None = None,
    max_information_tokens: int | None = None,
    max_life_tokens: int | None = None,
    copies: Sequence[int] | None = None,
) -> Hanabi:
    """The board of a preset, with any of its values replaced.

    Args:
      preset: a name of `PRESETS`.
      players, colors, ranks, hand_size, max_information_tokens, max_life_tokens: as of `Board`; None is the preset's.
      copies: as of `Board`, with an empty list for HLE's; None is the preset's.

    Raises:
      TacitError: for a preset that does not exist, as `Board`, and for another number of ranks than that of a preset
        with copies of its own, if `copies` does not say how many of each.
    """
    one_of("hanabi preset", preset, PRESETS)
    given = {
        "colors": colors,
        "ranks": ranks,
        "hand_size": hand_size,
        "max_information_tokens": max_information_tokens,
        "max_life_tokens": max_life_tokens,
        "copies": copies,
    }
    values: dict[str, Any] = {**PRESETS[preset], **{key: value for key, value in given.items() if value is not None}}
    if copies is None and "copies" in PRESETS[preset] and values["ranks"] != PRESETS[preset]["ranks"]:
        raise TacitError(
            f"{preset} has copies of its own for {PRESETS[preset]['ranks']} ranks: hanabi copies must be given with "
            f"ranks {values['ranks']!r}, a whole number for each rank, or [] for HLE's"
        )
    if values["hand_size"] is None:
        values["hand_size"] = 5 if players in (2, 3) else 4
    return Hanabi(players=players, **values)
