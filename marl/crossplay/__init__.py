"""Cross-play between independently trained agents, and what may be concluded from it."""

from marl.crossplay.evaluate import CrossPlay, Seating, crossplay, seatings
from marl.crossplay.greedify import TIE_TOLERANCE, greedify

__all__ = ["TIE_TOLERANCE", "CrossPlay", "Seating", "crossplay", "greedify", "seatings"]
