"""The share of one fully informed agent's value that a team keeps, and which kind of coordination the rest needs.

**Retention** is (team − floor) / (solo − floor). `solo` is the optimum of the same task for one agent that has all the
information. The floor is the value that counts as nothing done: 0 in games whose rewards are never negative, where
retention is the plain ratio team / solo; elsewhere the worst value that any joint policy has, so that the ratio has a
meaning where values are 0 or negative. Retention is not clipped: it exceeds 1 where the team earns more than one agent
(n pairs of hands), and is below 0 where a structure costs more than the worst play of the game without it.

**The gap** solo − team is split by what two structures alone do to the same method on the same measure (self-play or
cross-play):

    spatial  = min(max(claims − team, isolation − team, 0), gap),      semantic = gap − spatial.

Both structures decide who touches what and nothing else: what they recover is spatial. The rest is semantic: every
agent's action is valid where it is, but the actions do not fit together. Clipping keeps both parts from 0 to the gap. A
structure that hurts (a partition may forbid what the task needs) recovers nothing, and a value above solo recovers all;
the spatial part never falls where one of the two values rises.
"""

import math
from typing import NamedTuple

from games.errors import TacitError, number
from games.tabular.dec_pomdp import DecPOMDP
from marl.exact.optimum import WORK, optimum

LEAST = 1e-9
"""Differences of values up to this count as 0."""


class Floor(NamedTuple):
    """The value at which retention is 0."""

    value: float
    note: str
    """Which value it is, and whether it is exact."""


class GapSplit(NamedTuple):
    """The parts of a gap: 0 ≤ spatial, 0 ≤ semantic, spatial + semantic = gap."""

    gap: float
    spatial: float
    semantic: float


def floor(problem: DecPOMDP, horizon: int, *, work: int = WORK, restarts: int = 128, seed: int = 0) -> Floor:
    """The value at which retention in a game is 0; a game and all its transforms have the same.

    Args:
      problem, horizon: the game of the team, without structure.
      work, restarts, seed: of the search for the worst joint policy (`marl.exact.optimum.optimum` of the negated
        rewards).

    Raises:
      TacitError: as `optimum`.
    """
    if (problem.expected_reward >= 0).all():
        return Floor(0.0, "0, as no reward is negative")
    worst = optimum(problem.replace(reward=-problem.reward), horizon, work=work, restarts=restarts, seed=seed)
    note = "the worst value" if worst.exact else f"the worst value found, at least {-worst.upper_bound:.6g}"
    return Floor(-worst.value, note)


def retention(team: float, solo: float, floor: float = 0.0) -> float:
    """(team − floor) / (solo − floor), the share of the solo value that the team keeps.

    Args:
      team: the value of a method's joint policies, in self-play or in cross-play.
      solo: the best value of one agent that has all information.
      floor: the value at which retention is 0, from `floor`.

    Raises:
      TacitError: if a value is no finite number; if the solo value is not above the floor, so that retention has no
        meaning.
    """
    team, solo, floor = (_value(name, value) for name, value in (("team", team), ("solo", solo), ("floor", floor)))
    if solo - floor <= LEAST:
        raise TacitError(f"the solo value {solo:.6g} is not above the floor {floor:.6g}: there is nothing to keep")
    return (team - floor) / (solo - floor)


def split_gap(solo: float, team: float, *, claims: float | None = None, isolation: float | None = None) -> GapSplit:
    """The gap solo − team in its spatial and its semantic part.

    Args:
      solo: the best value of one agent that has all information.
      team: the value of a method in the game without structure.
      claims, isolation: the value of the same method, on the same measure, in the game with `claims` alone and with
        hard `isolation` alone; None where a structure has no meaning in the game.

    Raises:
      TacitError: if a value is no finite number; if there is no gap; if neither structure has a meaning.
    """
    solo, team = _value("solo", solo), _value("team", team)
    given = (("claims", claims), ("isolation", isolation))
    values = [_value(name, value) for name, value in given if value is not None]
    if not values:
        raise TacitError("neither claims nor isolation has a meaning in this game: the gap cannot be split")
    gap = solo - team
    if gap <= LEAST:
        raise TacitError(f"there is no gap: the team's value {team:.6g} is not below the solo value {solo:.6g}")
    spatial = min(max(*(value - team for value in values), 0.0), gap)
    return GapSplit(gap, spatial, gap - spatial)


def _value(name: str, value: float) -> float:
    return number(f"the {name} value", value, -math.inf)
