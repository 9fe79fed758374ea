"""Which method is better, and how methods play with each other: numpy in, float64 out.

A **method** is whatever trained a set of seeds, or a fixed set of agents. What is compared are cells (seatings with
their mean scores, as in `marl.crossplay.estimators`), and seeds are what was drawn independently.

Two tests of the difference between two methods, with the same null hypothesis (equal means):

- `difference_test`: all cells, with the SE, the widening and the degrees of freedom of `estimators.difference`, that is
  the bootstrap over seeds; t = difference / (SE · sqrt(N / (N − 1))), Student with Welch's degrees of freedom.
- `paired_test`: disjoint groups of seeds (0, 1), (2, 3), …: group m of one method is paired with group m of the other,
  and a t test says whether the mean difference is 0.

**What pairs with what.** `crossplay` deals the same decks in all cells of a call, so a lucky set of decks is common to
both methods and cancels in either test, as far as it adds to every score alike; where the scores of all games are
given, both tests count as an error what does not cancel. Beyond that, group m of one method has
nothing in common with group m of the other unless their seeds began with the same numbers: pairing independent groups
is valid and only costs degrees of freedom (m − 1 in place of up to 2m − 2), and where equal numbers do make seeds alike
it is `difference_test` that is not exact. The paired test uses few cells; the other has more power.

**Several comparisons.** p-values are corrected by Holm's step-down method (Scandinavian Journal of Statistics 6, 1979):
the chance of any false "A > B" in one table is at most `ALPHA`, whatever depends on what. Corrected p ≥ `ALPHA` reads
"not distinguishable", which is not the same as equal.

**Methods with each other** (`blocks`). A block's seeds are two independent sets (`estimators.between`). A method of one
agent, such as a rule-based partner, is taken as it is: errors are over the other method's seeds. Learners of the same
number begin with the same parameters whatever their method; training is assumed to remove that dependence.

**Measured** (`python -m benchmarks.coverage --comparisons --datasets 500 --resamples 1000`; ± 1 is noise), in percent,
with four equal methods of N seeds and the effects of `estimators`: how often two differ at .05 and .005 by either test,
how often corrected p-values separate any two of the four, and how often a block's 95 % interval covers the mean, with N
seeds of each method and with 2N of one:

                       seeds                 disjoint pairs         block
    effects   N   .05  .005  any of 4    .05  .005  any of 4    NxN   Nx2N
    seeds     6   2.6   0.2       1.8    3.2   0.8       5.4   97.8   97.6
              8   3.6   0.8       3.0    6.0   0.6       4.4   96.4   98.0
             16   4.2   0.0       3.4    4.8   0.2       4.4   95.8   95.8
    mixed     6   2.8   0.2       3.8    5.2   1.2       6.4   97.0   98.0
              8   3.8   0.8       5.0    6.2   0.6       4.8   97.0   96.8
             16   4.4   0.6       5.4    4.0   0.2       4.4   95.2   97.2
    pairs     6   2.0   0.0       0.8    5.8   0.2       5.0   98.4   99.0
              8   3.0   0.8       1.6    5.4   1.4       6.4   98.4   98.0
             16   4.4   0.2       2.4    3.8   0.2       4.4   96.0   95.4
    decks     6   4.0   0.2       1.4    5.8   0.8       7.2   95.8   97.4
              8   3.4   0.4       2.2    5.8   1.4       6.2   96.0   96.2
             16   6.4   0.6       4.8    6.2   1.0       6.0   95.8   94.6
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from games.errors import TacitError
from marl.crossplay import estimators
from marl.crossplay.estimators import LEVEL, RESAMPLES, SEEDS_FOR_INTERVAL, Cells, Estimate, Quantity
from marl.crossplay.standard_error import Part, Run, by_game, combined, estimate, unless_rounding

ALPHA = 0.05
Test = Literal["seeds", "disjoint pairs"]


class Tested(NamedTuple):
    """A difference with its two-sided p-value, None where the difference has no SE (`difference.note` says why)."""

    difference: Estimate
    p: float | None


class PairTest(NamedTuple):
    """Two methods, one of several comparisons."""

    first: str
    second: str
    difference: Estimate  # first − second
    p: float | None  # of this comparison alone
    corrected: float | None  # by Holm over all comparisons made together
    verdict: str  # "A > B", "not distinguishable" or "not estimable (why)"


class Blocks(NamedTuple):
    """How M methods play with themselves and with each other."""

    methods: tuple[str, ...]
    self_play: tuple[Estimate, ...]  # each seed with itself
    cross_play: tuple[tuple[Estimate, ...], ...]  # [row][column], see `blocks`; the diagonal without self-play
    together: tuple[tuple[Estimate, ...], ...]  # with two players over both seatings, symmetric; else as `cross_play`

    def means(self) -> NDArray[np.float64]:
        """float64[M, M]: `together`, nan where there is none."""
        return np.array([[np.nan if one.mean is None else one.mean for one in row] for row in self.together])

    def within(self, low: float, high: float) -> "Blocks":
        """With intervals cut to what is possible if scores are from `low` to `high`."""

        def cut(row: Sequence[Estimate]) -> tuple[Estimate, ...]:
            return tuple(one.within(low, high) for one in row)

        return Blocks(
            self.methods, cut(self.self_play), tuple(map(cut, self.cross_play)), tuple(map(cut, self.together))
        )


# ------------------------------------------------------------------------------------------------------ is one better?


def compare_methods(
    cells: Mapping[str, Cells],
    *,
    of: Quantity = "cross_play",
    test: Test = "seeds",
    alpha: float = ALPHA,
    resamples: int = RESAMPLES,
    rng: int = 0,
) -> list[PairTest]:
    """Compare every two methods, in their order, with p-values corrected for the number of comparisons.

    Args:
      cells: (seatings, scores) of each method's own seeds, as `own_cells` cuts them out. They must have been played on
        the same decks.
      of: what is compared.
      test: "seeds" is `difference_test`, "disjoint pairs" is `paired_test`.
      alpha: below which corrected p-value a verdict names the better one.
      resamples, rng: of the bootstrap, and its seed.

    Raises:
      TacitError: as the tests do.
    """
    if test not in ("seeds", "disjoint pairs"):
        raise TacitError(f"no test is called {test!r}: expected seeds or disjoint pairs")
    pairs = list(itertools.combinations(cells, 2))
    tested = [
        difference_test(cells[a], cells[b], of=of, resamples=resamples, rng=rng)
        if test == "seeds"
        else _paired_or_why_not(cells[a], cells[b], of)
        for a, b in pairs
    ]
    possible = [one.p for one in tested if one.p is not None]
    corrected = iter(holm(possible).tolist())
    found = []
    for (a, b), one in zip(pairs, tested, strict=True):
        p = None if one.p is None else next(corrected)
        found.append(PairTest(a, b, one.difference, one.p, p, _verdict(a, b, one.difference, p, alpha)))
    return found


def difference_test(
    a: Cells, b: Cells, *, of: Quantity = "cross_play", resamples: int = RESAMPLES, rng: int = 0
) -> Tested:
    """Whether a quantity differs between two methods of independent seeds; `estimators.difference` with a p-value.

    Raises:
      TacitError: as `estimators.difference`.
    """
    return _tested(estimators.minus(a, b, of), True, resamples, rng)


def combination_test(
    parts: Sequence[Part],
    *,
    of: Quantity = "cross_play",
    same_decks: bool = True,
    resamples: int = RESAMPLES,
    rng: int = 0,
) -> Tested:
    """Whether a weighted sum of a quantity over runs is 0, such as a mean of differences.

    Args:
      parts: the runs with their weights; those of the same seeds are paired by seed: resampled together.
      of: the quantity.
      same_decks: game g has the same deck in all runs.
      resamples, rng: of the bootstrap, and its seed.

    Raises:
      TacitError: as `estimators.difference`; if parts are said to share seeds and do not.
    """
    return _tested(combined(parts, of), same_decks, resamples, rng)


def _tested(runs: Sequence[Run], same_decks: bool, resamples: int, rng: int) -> Tested:
    found, parts = estimate(*runs, same_decks=same_decks, resamples=resamples, level=LEVEL, rng=rng)
    if found.mean is None or parts is None:  # an SE over too few seeds has no p-value either
        return Tested(found, None)
    return Tested(found, float(_p_values(found.mean, *parts)))


def against_greatest(
    methods: Sequence[Sequence[Part]], *, of: Quantity = "cross_play", same_decks: bool = True
) -> list[float | None]:
    """Whether M methods differ from the one with the greatest quantity: p-values, two-sided and not corrected.

    Which one is the greatest is read off the same scores. A correction therefore has to count all M(M − 1)/2 pairs.

    Args:
      methods: the parts of each, as in `combination_test`, with weights that sum to 1.
      of, same_decks: as in `combination_test`.

    Returns:
      For each method p (1 for the greatest), or None if it cannot be tested: it has no interval. All are None where the
      greatest cannot be tested, or is alone.

    Raises:
      TacitError: as `combination_test`.
    """
    alone = [combination_test(parts, of=of, same_decks=same_decks) for parts in methods]
    known = [number for number, one in enumerate(alone) if one.p is not None]
    means = [-np.inf if one.difference.mean is None else one.difference.mean for one in alone]
    if len(known) < 2 or (best := int(np.argmax(means))) not in known:
        return [None] * len(methods)

    def p(other: int) -> float | None:
        less = [part._replace(weight=-part.weight) for part in methods[other]]
        return combination_test([*methods[best], *less], of=of, same_decks=same_decks).p

    return [1.0 if one == best else p(one) if one in known else None for one in range(len(methods))]


def paired_test(a: Cells, b: Cells, *, of: Quantity = "cross_play", level: float = LEVEL) -> Tested:
    """Whether two methods differ over disjoint groups of seeds, group m of the one against group m of the other.

    A method's seeds are taken in the order of their numbers, k at a time, with k the seeds that meet in a cross-play
    cell (2 with two players); a group scores the mean of its cells. The interval is Student's.

    Raises:
      TacitError: if the methods have different numbers of seeds, or a group has no cell; as `estimators.difference`.
    """
    if (numbers := (_num_seeds(a), _num_seeds(b)))[0] != numbers[1]:
        raise TacitError(f"a paired test needs as many seeds of either method, not {numbers[0]} and {numbers[1]}")
    (means_a, games_a), (means_b, games_b) = _groups(a, of), _groups(b, of)
    means = unless_rounding(means_a - means_b, np.abs(means_a) + np.abs(means_b))
    if numbers[0] < SEEDS_FOR_INTERVAL or len(means) < 2:
        note = f"an interval needs {SEEDS_FOR_INTERVAL} seeds, there are {numbers[0]}"
        return Tested(Estimate(float(means.mean()), note=note), None)
    games = games_a - games_b if games_a.shape == games_b.shape else np.zeros((len(means), 0))
    estimate, parts = estimators.of_groups(means, games, level=level)
    return Tested(estimate, float(_p_values(means.mean(), *parts)))


def _paired_or_why_not(a: Cells, b: Cells, of: Quantity) -> Tested:
    try:
        return paired_test(a, b, of=of)
    except TacitError as reason:  # seeds that cannot be paired are no reason to withhold the rest of a table
        return Tested(Estimate(None, note=str(reason)), None)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Corrected p-values, float64[m], of float[m] in any order (Holm 1979).

    With p₍₁₎ ≤ … ≤ p₍ₘ₎ that of p₍ₖ₎ is the maximum over j ≤ k of (m − j + 1) p₍ⱼ₎, at most 1.
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected


def _verdict(a: str, b: str, difference: Estimate, p: float | None, alpha: float) -> str:
    if p is None or difference.mean is None:
        return f"not estimable ({difference.note})"
    if p >= alpha:
        return "not distinguishable"
    return f"{a} > {b}" if difference.mean > 0 else f"{b} > {a}"


def _p_values(means: ArrayLike, variances: NDArray[np.float64], degrees_of_freedom: NDArray) -> NDArray:
    """Two-sided, of sums [...] of k independent means, [..., k]; degrees of freedom by Welch and Satterthwaite."""
    from scipy.special import stdtr

    means, total = np.asarray(means, np.float64), variances.sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = 1 / np.sum((variances / total[..., None]) ** 2 / degrees_of_freedom, axis=-1)
        p = 2 * stdtr(freedom, -np.abs(means) / np.sqrt(total))
    return np.where(total == 0, np.where(means == 0, 1.0, 0.0), p)


def _num_seeds(cells: Cells) -> int:
    return len(np.unique(np.asarray(cells[0])))


def _groups(cells: Cells, of: Quantity) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The quantity in each disjoint group of seeds: its mean and its games as in `estimators.of_groups`."""
    seatings, scores = np.asarray(cells[0]), np.column_stack(by_game(cells[1]))
    seeds = np.unique(seatings)
    distinct = np.array([len(set(seats)) for seats in seatings.tolist()])
    size = int(distinct.max())
    found = []
    for group in seeds[: len(seeds) // size * size].reshape(-1, size):
        inside = np.isin(seatings, group).all(axis=1)
        own, mixed = scores[inside & (distinct == 1)], scores[inside & (distinct == size) & (size > 1)]
        if (of != "cross_play" and not len(own)) or (of != "self_play" and not len(mixed)):
            raise TacitError(f"the seeds {', '.join(map(str, group))} have no cell together that the paired test needs")
        self_play = own.mean(axis=0) if of != "cross_play" else 0.0
        cross_play = mixed.mean(axis=0) if of != "self_play" else 0.0
        found.append({"self_play": self_play, "cross_play": cross_play, "gap": self_play - cross_play}[of])
    return np.array(found)[:, 0], np.array(found)[:, 1:]


# --------------------------------------------------------------------------------------------- methods with each other


def own_cells(seatings: ArrayLike, scores: ArrayLike, method_of_seed: Sequence[str]) -> dict[str, Cells]:
    """For each method the cells in which only its own seeds play; methods in the order of their first seeds.

    Args:
      seatings: int[num_cells, num_players], numbers of agents.
      scores: float[num_cells] or float[num_cells, num_games], as in `estimators`.
      method_of_seed: of each agent.
    """
    seatings, scores, methods, method = _read(seatings, scores, method_of_seed)
    return {
        name: (seatings[(method == number).all(axis=1)], scores[(method == number).all(axis=1)])
        for number, name in enumerate(methods)
    }


def blocks(
    seatings: ArrayLike,
    scores: ArrayLike,
    method_of_seed: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    rng: int = 0,
) -> Blocks:
    """The mean score of every method with every other one, and of its seeds with each other and with themselves.

    Block (row A, column B): with two players A in seat 0 and B in seat 1. With more, A in one seat, whichever, and B in
    all others; cells with more than one seat of either, or of three methods, are in no block.

    Args:
      seatings: int[num_cells, num_players], numbers of agents.
      scores: float[num_cells] or float[num_cells, num_games], as in `estimators`.
      method_of_seed: of each agent; methods are ordered as they first appear.
      resamples, level, rng: of the bootstrap, of the interval, and the generator's seed.

    Raises:
      TacitError: if an agent has no method; as `estimators.cross_play`.
    """
    own = own_cells(seatings, scores, method_of_seed)
    seatings, scores, methods, method = _read(seatings, scores, method_of_seed)
    settings = {"resamples": resamples, "level": level, "rng": rng}
    two = seatings.shape[1] == 2

    def between(a: int, b: int, *, both: bool = False) -> Estimate:
        if a == b:
            return estimators.cross_play(*own[methods[a]], **settings)
        if both:
            chosen = (np.sort(method, axis=1) == sorted((a, b))).all(axis=1)
        elif two:
            chosen = (method == np.array([[a, b]])).all(axis=1)
        else:
            chosen = ((method == a).sum(axis=1) == 1) & ((method == b).sum(axis=1) == seatings.shape[1] - 1)
        return estimators.between(seatings[chosen], scores[chosen], method[chosen] == b, **settings)

    everyone = range(len(methods))
    rows = tuple(tuple(between(a, b) for b in everyone) for a in everyone)
    together = rows
    if two:
        half = {(a, b): between(a, b, both=True) for a in everyone for b in everyone if a < b}
        together = tuple(
            tuple(rows[a][a] if a == b else half[min(a, b), max(a, b)] for b in everyone) for a in everyone
        )
    self_play = tuple(estimators.self_play(*own[name], **settings) for name in methods)
    return Blocks(tuple(methods), self_play, rows, together)


def _read(
    seatings: ArrayLike, scores: ArrayLike, method_of_seed: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.float64], list[str], NDArray[np.int64]]:
    """Cells as arrays, the methods, and the number of the method in each seat, [num_cells, num_players]."""
    seats, means = np.asarray(seatings, np.int64), np.asarray(scores, np.float64)
    if seats.ndim != 2 or means.ndim not in (1, 2) or means.shape[:1] != seats.shape[:1]:
        raise TacitError(
            f"seatings {seats.shape} with scores {means.shape}: expected [num_cells, num_players] and [num_cells] or "
            "[num_cells, num_games]"
        )
    if seats.size and (seats.min() < 0 or seats.max() >= len(method_of_seed)):
        raise TacitError(
            f"methods of {len(method_of_seed)} agents are given, and agents {seats.min()} to {seats.max()} play"
        )
    methods = list(dict.fromkeys(method_of_seed))
    number = np.array([methods.index(name) for name in method_of_seed], np.int64)
    return seats, means, methods, number[seats]
