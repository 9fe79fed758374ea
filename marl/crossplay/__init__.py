"""Cross-play between independently trained agents, and what may be concluded from it.

Cells, estimators and comparisons need no jax; the code that plays is imported at its first use.
"""

from typing import TYPE_CHECKING, Any

from marl.crossplay.cells import CrossPlay, Seating, seatings, self_play_seatings
from marl.crossplay.greedify import TIE_TOLERANCE, greedify

if TYPE_CHECKING:
    from marl.crossplay.evaluate import crossplay

VERSION = "cross-play-2"
"""The version of how agents are played and what is estimated from it. A record of results (docs/results.py) depends on
it. Since 2, errors include the decks."""

__all__ = ["TIE_TOLERANCE", "CrossPlay", "Seating", "crossplay", "greedify", "seatings", "self_play_seatings"]


def __getattr__(name: str) -> Any:
    if name == "crossplay":
        from marl.crossplay.evaluate import crossplay

        return crossplay
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
