"""The entropy coefficient at which different seeds score nearly what each scores with itself."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from marl.crossplay.standard_error import LEVEL, RESAMPLES


class Closing(NamedTuple):
    """A coefficient with its interval; infinity says that it lies above the greatest that was tried."""

    coefficient: float
    low: float
    high: float


def closing_coefficient(
    coefficients: Sequence[float],
    matrices: Sequence[NDArray[np.float64]],
    *,
    share: float = 0.9,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    rng: int = 0,
) -> Closing:
    """The coefficient that closes a share of the gap that the lowest coefficient leaves, and its bootstrap interval.

    It is the first place where the gap SP − XP is at most (1 − share) times that at the lowest coefficient, between two
    neighbours by linear interpolation of the gap in the coefficient's logarithm. The interval has the percentiles of
    resamples of seeds, drawn for each coefficient alone; a resample without any gap at the lowest coefficient has
    nothing to close there, and gives the lowest.

    Args:
      coefficients: ascending, above 0.
      matrices: for each coefficient float[N, N], the scores of N ≥ 2 seeds of two players with each other.
      share: of the gap, 0 to 1.
      resamples, level: of the interval.
      rng: the generator's seed.
    """
    steps, generator = np.log(np.asarray(coefficients, float)), np.random.default_rng(rng)
    gaps = np.array([_gap(matrix, np.ones((1, len(matrix))))[0] for matrix in matrices])
    drawn = np.stack([_gap(matrix, _draws(generator, len(matrix), resamples)) for matrix in matrices], axis=1)
    found = [first_at_most(steps, row, (1 - share) * row[0]) for row in drawn]
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    return Closing(*map(float, np.exp([first_at_most(steps, gaps, (1 - share) * gaps[0]), low, high])))


def _draws(generator: np.random.Generator, seeds: int, resamples: int) -> NDArray[np.float64]:
    """float[resamples, seeds]: how often each seed is drawn; at least two seeds are."""
    drawn = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=4 * resamples)
    return drawn[(drawn > 0).sum(axis=1) > 1][:resamples].astype(float)


def _gap(matrix: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """float[R]: SP − XP of the scores [N, N], with seeds weighted by each row of `weights` [R, N]."""
    own = np.diag(matrix)
    pairs = (weights @ (matrix - np.diag(own)) * weights).sum(axis=1)
    return weights @ own / weights.sum(axis=1) - pairs / (weights.sum(axis=1) ** 2 - (weights**2).sum(axis=1))


def first_at_most(x: NDArray[Any], y: NDArray[np.float64], bound: float) -> float:
    """Where the line through the points (x, y), float[K] each, first is at most the bound; infinity if nowhere."""
    below = np.flatnonzero(y <= bound)
    if not len(below):
        return np.inf
    after = below[0]
    if after == 0:
        return float(x[0])
    part = (y[after - 1] - bound) / (y[after - 1] - y[after])
    return float(x[after - 1] + part * (x[after] - x[after - 1]))
