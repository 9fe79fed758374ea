"""What a phase diagram spends: what its configuration says, or with `fast` what takes about a minute.

The fast settings depend on the sizes of the game alone, so that they are the same on every machine.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments.studies.tabular import SearchEffort
from games.tabular.histories import Tree
from marl.exact import cost

VERSION = 1
"""Of the fast settings: part of the names of runs that have them."""
_SECONDS, _A_SWEEP, _A_NUMBER = 40.0, 2e-5, 1.5e-9
"""The time of the fast settings without compilation, of a sweep, and of each number of the tables that it reads."""
_STARTS = (2, 1, 1)
"""Normal, wide and pure ones, at the most."""
_MOST_ALPHAS, _FEWEST_STEPS, _MOST_STEPS = 4, 100, 2_000
_ENOUGH_STEPS = 400
"""Fewer α are taken rather than fewer steps than this."""
_WORK, _RESTARTS = 30_000_000, 16


class Effort(NamedTuple):
    """What is computed."""

    alpha: tuple[float, ...]
    starts: tuple[int, int, int]  # normal, wide and pure ones
    max_steps: int
    refine: bool
    branch: bool
    search: SearchEffort

    @property
    def num_starts(self) -> int:
        """Starts at each α."""
        return sum(self.starts)


def fast(given: Effort, tree: Tree) -> Effort:
    """Of what is given as much as takes about a minute: few starts, at α spread over the given ones, and no more.

    Neither the search for one solution nor the branch from α = ∞ is left.
    """
    sweeps = _SECONDS / (_A_SWEEP + _A_NUMBER * cost.entries(tree))
    for_search, for_starts = sweeps / 3, 2 * sweeps / 3
    wanted = tuple(min(a, b) for a, b in zip(given.starts, _STARTS, strict=True))
    starts = wanted if sum(wanted) > 1 else tuple(min(a, 2) for a in given.starts)
    count = 2 * sum(starts)  # about as many solutions are followed from α to α
    alphas = _between(for_starts / (count * _sweeps(_ENOUGH_STEPS)), 1, min(_MOST_ALPHAS, len(given.alpha)))
    count = count if alphas > 1 else sum(starts)
    steps = _between((for_starts / (count * alphas) - cost.AFTERWARDS) / 2.5, _FEWEST_STEPS, _MOST_STEPS)
    tied_steps = _between(for_search / (2 * _RESTARTS), _FEWEST_STEPS, given.search.tied_steps)
    return Effort(
        alpha=_spread(given.alpha, alphas),
        starts=(starts[0], starts[1], starts[2]),
        max_steps=min(given.max_steps, steps),
        refine=False,
        branch=False,
        search=SearchEffort(_WORK, _RESTARTS, _RESTARTS, tied_steps),
    )


def _sweeps(steps: int) -> float:
    """Of a start: two a step, and polishing."""
    return 2.5 * steps + cost.AFTERWARDS


def _between(value: float, least: int, most: int) -> int:
    return max(least, min(most, int(value)))


def _spread(values: Sequence[float], count: int) -> tuple[float, ...]:
    """`count` of ascending values, evenly spread and neither end where there are more."""
    if count >= len(values):
        return tuple(values)
    places = np.linspace(-0.5, len(values) - 0.5, count + 1)
    return tuple(values[round(float(place))] for place in (places[:-1] + places[1:]) / 2)
