"""Synthetic cross-play with known means, and how often intervals of `estimators` cover them: numpy in, numpy out.

True mean cross-play is `XP_MEAN`, true mean self-play is `GAP` more. Two players:

    XP_ij = mu + a_i + b_j + pair_{ij} + order_ij + noise,    SP_i = mu + 1 + a_i + b_i + own_i + noise,

a, b, the symmetric pair effect, the order and own effects independent normals: a two-way random-effects model, in which
the seeds of the rows are those of the columns. `EFFECTS` names three sizes of the effects: "seeds" (the spread is the
seeds' own: sd 1, pair .3), "mixed" (sd .5, pair 1) and "pairs" (sd 0, pair 1). `decks` adds to "seeds" an effect of
each deck that is common to all scores. Two kinds of samples are not normal: `conventions` (whether two seeds fit is
arbitrary) and `failures` (few seeds fail, and then cost much).
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from games.errors import TacitError, whole_number
from marl.crossplay import estimators
from marl.crossplay.cells import self_play_seatings
from marl.crossplay.estimators import LEVEL, Estimate

XP_MEAN, GAP = 5.0, 1.0

TRUTH = {
    "self_play": XP_MEAN + GAP,
    "cross_play": XP_MEAN,
    "gap": GAP,
    "difference": 0.0,
    "cross_play_disjoint": XP_MEAN,
    "cells_as_independent": XP_MEAN,
}
"""Every quantity that `estimates` knows, and its true value. "difference" is that of two samples' cross-play."""

Cells = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Seatings int[num_cells, num_players] and scores, float[num_cells] or, of each game, float[num_cells, num_games]."""

DECKS_SD = 0.5
"""Standard deviation of the decks' effect on every mean score, in samples that have one."""
NUM_GAMES = 100
"""Games of a cell, where they are sampled one by one."""


class Effects(NamedTuple):
    """Standard deviations of the random effects."""

    seed: float  # of a seed, in each seat
    pair: float
    order: float = 0.3  # of a seating, beyond its group, with the noise of its games
    triple: float = 1.0  # with three players


EFFECTS = {"seeds": Effects(1.0, 0.3), "mixed": Effects(0.5, 1.0), "pairs": Effects(0.0, 1.0)}


class Coverage(NamedTuple):
    """The coverage of an estimate's intervals over many samples."""

    share: float
    """The share of samples whose interval covers the truth; NaN without intervals."""
    se_ratio: float
    """Root mean square of the standard error over the true one, which is the spread of the means."""


def random_effects(generator: np.random.Generator, num_seeds: int, effects: Effects, num_players: int = 2) -> Cells:
    """Cells (seatings, scores) of all seatings of different seeds and of the self-play ones, for 2 or 3 players.

    Three players have seat and pair effects for all seats and pairs, and an effect for each triple.
    """
    normal = generator.standard_normal
    own = self_play_seatings(num_seeds, num_players)
    mixed = np.array(list(itertools.permutations(range(num_seeds), num_players)))
    seats = effects.seed * normal((num_seeds, num_players))  # a, b, …
    pair = np.triu(effects.pair * normal((num_seeds, num_seeds)), 1)
    pair += pair.T
    xp = XP_MEAN + sum(seats[mixed[:, seat], seat] for seat in range(num_players))
    for first, second in itertools.combinations(range(num_players), 2):
        xp = xp + pair[mixed[:, first], mixed[:, second]]
    if num_players == 3:
        triple = effects.triple * normal((num_seeds,) * 3)
        xp = xp + triple[tuple(np.sort(mixed, axis=1).T)]
    sp = XP_MEAN + GAP + seats.sum(axis=1) + 0.5 * normal(num_seeds)
    scores = np.concatenate([sp, xp])
    return np.concatenate([own, mixed]), scores + effects.order * normal(len(scores))


def conventions(generator: np.random.Generator, num_seeds: int) -> Cells:
    """Cells of two players who score 10 when their conventions, one of two, agree, and 0 when they do not."""
    seatings = np.array(list(itertools.product(range(num_seeds), repeat=2)))
    convention = generator.integers(2, size=num_seeds)
    agree = 10.0 * (convention[seatings[:, 0]] == convention[seatings[:, 1]])
    is_self_play = seatings[:, 0] == seatings[:, 1]
    scores = np.where(is_self_play, XP_MEAN + GAP, agree)
    return seatings, scores + 0.3 * generator.standard_normal(len(scores))


def failures(generator: np.random.Generator, num_seeds: int) -> Cells:
    """Cells of two players who lose 5 for each seat that holds a failed seed; each fails with probability .15."""
    probability, cost = 0.15, 5.0
    seatings = np.array(list(itertools.product(range(num_seeds), repeat=2)))
    lost = cost * ((generator.random(num_seeds) < probability) - probability)[seatings].sum(axis=1)
    is_self_play = seatings[:, 0] == seatings[:, 1]
    return seatings, XP_MEAN + GAP * is_self_play - lost + 0.3 * generator.standard_normal(len(seatings))


def on_decks(generator: np.random.Generator, runs: Sequence[Cells]) -> list[Cells]:
    """The scores of `NUM_GAMES` games a cell, [num_cells, NUM_GAMES], on common decks, of runs with mean scores.

    A deck adds the same to every score of every run, N(0, NUM_GAMES · DECKS_SD²); each game has noise of its own.
    """
    common = DECKS_SD * np.sqrt(NUM_GAMES) * generator.standard_normal(NUM_GAMES)
    noise = EFFECTS["seeds"].order * np.sqrt(NUM_GAMES)
    return [
        (seatings, scores[:, None] + common + noise * generator.standard_normal((len(scores), NUM_GAMES)))
        for seatings, scores in runs
    ]


def decks(generator: np.random.Generator, num_seeds: int, num_runs: int) -> list[Cells]:
    """Runs with the effects "seeds", `on_decks`."""
    return on_decks(generator, [random_effects(generator, num_seeds, EFFECTS["seeds"]) for _ in range(num_runs)])


def _apart(draw: Callable[[np.random.Generator, int], Cells]) -> Callable[[np.random.Generator, int, int], list[Cells]]:
    """Runs that have nothing in common."""
    return lambda generator, num_seeds, num_runs: [draw(generator, num_seeds) for _ in range(num_runs)]


SAMPLES: dict[str, Callable[[np.random.Generator, int, int], list[Cells]]] = {
    **{
        name: _apart(lambda generator, num_seeds, effects=effects: random_effects(generator, num_seeds, effects))
        for name, effects in EFFECTS.items()
    },
    "decks": decks,
    "conventions": _apart(conventions),
    "failures": _apart(failures),
    "three players": _apart(lambda generator, num_seeds: random_effects(generator, num_seeds, EFFECTS["mixed"], 3)),
}
"""The kinds of samples by name: (generator, num_seeds, num_runs) -> cells of each run. Of two players, but the last."""


def sample(kind: str, num_seeds: int, *, seed: int = 0) -> Cells:
    """One sample of a kind of `SAMPLES`; `seed` is the generator's.

    Raises:
      TacitError: if there is no such kind, or fewer than two seeds.
    """
    return _draw(kind, num_seeds)(np.random.default_rng(seed), 1)[0]


def cells_as_independent(seatings: NDArray[np.int64], scores: NDArray[np.float64]) -> Estimate:
    """The mean over XP cells (as in `Cells`) as if they were independent, which they are not.

    The standard error is too small: do not report it.
    """
    xp = scores[(seatings != seatings[:, :1]).any(axis=1)]
    xp = xp.mean(axis=1) if xp.ndim > 1 else xp
    mean, se = float(xp.mean()), float(xp.std(ddof=1) / np.sqrt(len(xp)))
    return Estimate(mean, se, mean - 1.96 * se, mean + 1.96 * se)


def estimates(
    kind: str,
    num_seeds: int,
    *,
    samples: int,
    resamples: int,
    quantities: Sequence[str] = tuple(TRUTH),
    seed: int = 0,
) -> dict[str, list[Estimate]]:
    """Quantities of `TRUTH` in each of many samples of a kind of `SAMPLES`, with 95 % intervals.

    The samples are the same whatever the quantities.

    Raises:
      TacitError: as `sample`; for an unknown quantity.
    """
    draw = _draw(kind, num_seeds)
    for quantity in quantities:
        if quantity not in TRUTH:
            raise TacitError(f"no quantity is called {quantity!r}: expected one of {', '.join(TRUTH)}")
    generator = np.random.default_rng(seed)
    found: dict[str, list[Estimate]] = {name: [] for name in quantities}
    for _ in range(samples):
        cells, other = draw(generator, 2)
        rng = int(generator.integers(2**31))
        for name in quantities:
            found[name].append(_estimate(name, cells, other, resamples, rng))
    return found


def coverage(found: Mapping[str, Sequence[Estimate]]) -> dict[str, Coverage]:
    """The coverage of each quantity in what `estimates` found."""
    summed = {}
    for name, one in found.items():
        mean, se, low, high = np.array([estimate[:4] for estimate in one], float).T
        share = np.mean((low <= TRUTH[name]) & (TRUTH[name] <= high)) if np.isfinite(low).all() else np.nan
        summed[name] = Coverage(float(share), float(np.sqrt(np.mean(se**2)) / mean.std()))
    return summed


def measure(
    kinds: Sequence[str],
    num_seeds: Sequence[int],
    *,
    samples: int,
    resamples: int,
    quantities: Sequence[str] = tuple(TRUTH),
    seed: int = 0,
) -> dict[str, dict[int, dict[str, Coverage]]]:
    """`coverage` for each kind of `SAMPLES`, each number of seeds and each quantity.

    Raises:
      TacitError: as `estimates`.
    """
    return {
        kind: {
            number: coverage(
                estimates(kind, number, samples=samples, resamples=resamples, quantities=quantities, seed=seed)
            )
            for number in num_seeds
        }
        for kind in kinds
    }


def _draw(kind: str, num_seeds: int) -> Callable[[np.random.Generator, int], list[Cells]]:
    whole_number("num_seeds", num_seeds, 2)
    if kind not in SAMPLES:
        raise TacitError(f"no kind of samples is called {kind!r}: expected one of {', '.join(SAMPLES)}")
    return lambda generator, num_runs: SAMPLES[kind](generator, num_seeds, num_runs)


def _estimate(name: str, cells: Cells, other: Cells, resamples: int, rng: int) -> Estimate:
    match name:
        case "difference":
            return estimators.difference(cells, other, resamples=resamples, level=LEVEL, rng=rng)
        case "cross_play_disjoint":
            return estimators.cross_play_disjoint(*cells, level=LEVEL)
        case "cells_as_independent":
            return cells_as_independent(*cells)
    return getattr(estimators, name)(*cells, resamples=resamples, level=LEVEL, rng=rng)
