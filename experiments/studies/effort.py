"""What a phase diagram or methods spend: what their configuration says, or with `fast` what takes about a minute.

The fast settings depend on the sizes of the game alone, so that they are the same on every machine.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.studies.forecast import method_sweeps
from experiments.studies.tabular import SearchEffort
from games.tabular.histories import Tree
from games.tabular.symmetry import SymmetryGroup
from marl.exact import cost

VERSION = 2
"""Of the fast settings: part of the names of runs that have them."""
_SECONDS, _A_SWEEP, _A_NUMBER = 40.0, 2e-5, 1.5e-9
"""The time of the fast settings without compilation, of a sweep, and of each number of the tables that it reads."""
_STARTS = (2, 1, 1)
"""Normal, wide and pure ones, at the most."""
_MOST_ALPHAS, _FEWEST_STEPS, _MOST_STEPS = 4, 100, 2_000
_ENOUGH_STEPS = 400
"""Fewer α are taken rather than fewer steps than this."""
_WORK, _RESTARTS = 30_000_000, 16
LEFT_OUT = "left out by fast=true: it takes longer than a first look"
"""Why a method has no result."""
SHORT_SEARCH = "a short search for the best policies"
"""What is left of a table's row where no method applies."""


class Effort(NamedTuple):
    """What is computed."""

    alpha: tuple[float, ...]
    starts: tuple[int, int, int]  # normal, wide and pure ones
    max_steps: int
    refine: bool
    branch: bool
    search: SearchEffort
    boxes: int = 0  # that a proof may take for a slice of α; 0: no proof

    @property
    def num_starts(self) -> int:
        """Starts at each α."""
        return sum(self.starts)


class MethodEffort(NamedTuple):
    """What is spent on methods of zero-shot coordination."""

    starts: int
    search: SearchEffort
    left_out: tuple[str, ...] = ()  # keys of the methods that are not carried out

    def left(self, keys: Sequence[str]) -> list[str]:
        """The methods that are carried out, of those with these keys."""
        return [key for key in keys if key not in self.left_out]


def fast(given: Effort, tree: Tree) -> Effort:
    """Of what is given as much as takes about a minute: few starts, at α spread over the given ones, and no more.

    Neither the search for one solution, nor the branch from α = ∞, nor a proof by boxes is left.
    """
    for_search, for_starts = _shares(tree)
    wanted = tuple(min(a, b) for a, b in zip(given.starts, _STARTS, strict=True))
    starts = wanted if sum(wanted) > 1 else tuple(min(a, 2) for a in given.starts)
    count = 2 * sum(starts)  # about as many solutions are followed from α to α
    alphas = _between(for_starts / (count * _sweeps(_ENOUGH_STEPS)), 1, min(_MOST_ALPHAS, len(given.alpha)))
    count = count if alphas > 1 else sum(starts)
    steps = _between((for_starts / (count * alphas) - cost.AFTERWARDS) / 2.5, _FEWEST_STEPS, _MOST_STEPS)
    return Effort(
        alpha=_spread(given.alpha, alphas),
        starts=(starts[0], starts[1], starts[2]),
        max_steps=min(given.max_steps, steps),
        refine=False,
        branch=False,
        search=fast_search(given.search, for_search),
    )


def fast_methods(given: MethodEffort, keys: Sequence[str], tree: Tree, group: SymmetryGroup) -> MethodEffort:
    """Of what is given as much as takes about a minute: few starts, and none of the methods that alone take longer.

    Args:
      given: what is asked for.
      keys: of the methods.
      tree, group: the game's histories, and the symmetries that count.
    """
    for_search, for_each = _shares(tree)
    starts = min(given.starts, sum(_STARTS))
    sweeps = method_sweeps(tree, group, starts)
    left_out = tuple(key for key in keys if any(key.startswith(own) and of > for_each for own, of in sweeps.items()))
    return MethodEffort(starts, fast_search(given.search, for_search), left_out)


def fast_search(given: SearchEffort, sweeps: float = math.inf) -> SearchEffort:
    """A search for the best policies that is as short as a first look; of the equivariant ones in so many sweeps."""
    restarts, tied_restarts = min(given.restarts, _RESTARTS), min(given.tied_restarts, _RESTARTS)
    tied_steps = _between(min(sweeps / (2 * _RESTARTS), given.tied_steps), _FEWEST_STEPS, given.tied_steps)
    return SearchEffort(min(given.work, _WORK), restarts, tied_restarts, tied_steps)


def in_words(spent: MethodEffort, starts: int) -> str:
    """What `fast_methods` left of what was asked for, `starts` among it."""
    return (
        f"{spent.starts} of {starts} starts, best policies searched from {spent.search.tied_restarts} starts "
        f"for {spent.search.tied_steps:,} steps"
    )


def with_version(science: dict[str, Any]) -> dict[str, Any]:
    """What decides a result, with the version of the fast settings, or without the key: such runs keep their names."""
    return {key: value for key, value in science.items() if key != "fast"} | (
        {"fast": VERSION} if science["fast"] else {}
    )


def _shares(tree: Tree) -> tuple[float, float]:
    """The sweeps of a first look: a third of them for the best policies, and the others."""
    sweeps = _SECONDS / (_A_SWEEP + _A_NUMBER * cost.entries(tree))
    return sweeps / 3, 2 * sweeps / 3


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
