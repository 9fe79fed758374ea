"""Self-play and cross-play of independently trained seeds, with errors over seeds: numpy in, float64 out.

A **cell** is one seating (which seed sits in which seat) with its mean score. It is *self-play* (SP) when one seed
fills every seat and *cross-play* (XP) otherwise; the seeds that meet in a cell are its **group**. The XP cells of one
list all have groups of one size k: a different seed in every seat (k = players), or one seed against copies of another
(k = 2). Cells that share a seed are dependent, so no error here counts cells: seeds are what was drawn independently.

- `self_play`: the mean over seeds.
- `cross_play_disjoint`: the mean over disjoint groups of consecutive seeds, the estimator of arXiv:2511.22581.
- `cross_play`: the mean over all XP cells.
- `gap`: SP − XP, on the same seeds.
- `difference`: any of these between two runs that share no seed.

**Standard error.** With d = score − mean, SE² = −(mean of d·d′ over the pairs of cells that share no seed), which is
s²/N for SP. Cells without a common seed are independent, so the mean of their products estimates the square of the true
mean: for a full list of cells SE² is unbiased, whether seeds, pairs or larger groups cause the spread (the variance
of a U-statistic of order k: Wang and Lindsay, Statistica Sinica 24, 2014). It can come out negative when pairs cause
the spread; it is never taken below a third of the bootstrap's variance, which counts pair effects three times (Owen,
"The pigeonhole bootstrap", Annals of Applied Statistics 1, 2007).

**Interval.** Seeds are drawn with replacement. A cell weighs the product of how often each seed of its group was drawn:
cells whose seats share an original seed are never XP, and a draw without any XP cell is dropped. The deviations of the
resampled means are scaled to the SE above and widened by sqrt(N / (N − 1)); the interval takes them at the normal
probability of ±t_{N−1} (the expanded percentile interval: Hesterberg, The American Statistician 69, 2015).

**Measured** coverage of the 95 % intervals, in percent (± 0.5 is noise), on synthetic random effects over seeds
(`python -m benchmarks.coverage`, which says what the rows are and prints the SE over the true one as well):

    effects        N   self-play  cross-play         gap  difference  disjoint  cells as independent
    seeds          6        95.4        95.5        97.6        96.5      95.2                  58.0
                   8        95.5        95.6        95.2        96.1      95.0                  51.4
                  16        96.4        95.2        95.5        95.5      94.2                  39.4
                  32        95.2        95.2        96.0        95.0      95.0                  28.6
    mixed          6        96.2        97.4        98.1        97.0      94.8                  72.9
                   8        95.5        95.5        95.5        95.2      95.6                  67.3
                  16        96.2        94.8        93.6        95.0      94.5                  56.4
                  32        95.1        94.0        95.3        95.6      94.7                  45.7
    pairs          6        95.6        99.1        98.0        98.6      95.0                  81.3
                   8        95.8        98.2        95.5        98.0      94.8                  80.7
                  16        95.5        96.6        93.6        96.5      94.6                  84.9
                  32        95.5        96.0        95.5        96.0      94.8                  84.2
    three players  6        95.0        98.5        98.4        98.0      95.2                  31.2
                   8        94.5        96.8        97.6        96.5      94.5                  26.3
                  12        95.5        94.5        96.1        95.2      95.2                  21.2
    conventions    6        95.8        96.7        96.7        94.5      77.0                  93.0
                   8        95.5        99.2        99.2        98.8      88.3                  92.8
                  16        95.5       100.0       100.0        99.9      93.4                  93.2
                  32        95.8        99.9        99.9        99.9      92.3                  89.3
    failures       6        60.1        60.1        97.8        99.2      58.7                  37.9
                   8        72.2        72.2        98.6        98.4      72.1                  38.6
                  16        92.8        92.8        96.5        95.7      92.5                  28.8
                  32        95.3        95.7        95.0        96.3      93.9                  19.3

Normal effects with 8 seeds or more: 93.6 to 98.2. Arbitrary conventions: too wide. Rare failures (probability .15):
too short with few seeds for every estimator here: a quarter of all samples of 8 seeds hold no failure at all.
"""

import functools
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from games.errors import TacitError

Quantity = Literal["self_play", "cross_play", "gap"]
Cells = tuple[ArrayLike, ArrayLike]
"""Seatings int[num_cells, num_players] and scores float[num_cells]."""

SEEDS_FOR_INTERVAL = 6
RESAMPLES = 10_000
LEVEL = 0.95
_CHUNK = 1 << 21  # numbers held at once: 16 MiB
_TERMS: dict[str, tuple[tuple[str, float], ...]] = {
    "self_play": (("self-play", 1.0),),
    "cross_play": (("cross-play", 1.0),),
    "gap": (("self-play", 1.0), ("cross-play", -1.0)),
}


class Estimate(NamedTuple):
    """A mean score with its standard error and interval over seeds; None, and `note` says why, if not estimable.

    `f"{estimate:.3f}"` sets the digits of "5.383 ± 0.021 [5.301, 5.442]".
    """

    mean: float | None
    se: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""

    def __format__(self, spec: str) -> str:
        spec = spec or "z.2f"
        if self.mean is None:
            return f"not estimable ({self.note})"
        if self.se is None:
            return f"{self.mean:{spec}}, SE and interval not estimable ({self.note})"
        if self.low is None or self.high is None:
            return f"{self.mean:{spec}} ± {self.se:{spec}}, interval not estimable ({self.note})"
        return f"{self.mean:{spec}} ± {self.se:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"

    def __str__(self) -> str:
        return format(self, "")


class Summary(NamedTuple):
    """What one list of cells says."""

    self_play: Estimate
    cross_play: Estimate
    cross_play_disjoint: Estimate
    gap: Estimate


def summarise(
    seatings: ArrayLike, scores: ArrayLike, *, resamples: int = RESAMPLES, level: float = LEVEL, rng: int = 0
) -> Summary:
    """`self_play`, `cross_play`, `cross_play_disjoint` and `gap` of one list of cells; arguments as in `self_play`."""
    return Summary(
        self_play=self_play(seatings, scores, resamples=resamples, level=level, rng=rng),
        cross_play=cross_play(seatings, scores, resamples=resamples, level=level, rng=rng),
        cross_play_disjoint=cross_play_disjoint(seatings, scores, level=level),
        gap=gap(seatings, scores, resamples=resamples, level=level, rng=rng),
    )


def self_play(
    seatings: ArrayLike, scores: ArrayLike, *, resamples: int = RESAMPLES, level: float = LEVEL, rng: int = 0
) -> Estimate:
    """Mean score of seeds that play with themselves: SE = std(ddof=1) / sqrt(N) from 2 seeds, interval from 6.

    `seatings` int[num_cells, num_players] and `scores` float[num_cells], XP cells are left out; `resamples` of the
    bootstrap, `level` of the interval, `rng` the generator's seed. Raises TacitError when the two are not such a list:
    other shapes, scores that are not finite, a seating given twice, or XP groups of several sizes.
    """
    return _estimate(_run((seatings, scores), "self_play"), resamples=resamples, level=level, rng=rng)


def cross_play(
    seatings: ArrayLike, scores: ArrayLike, *, resamples: int = RESAMPLES, level: float = LEVEL, rng: int = 0
) -> Estimate:
    """Mean score of all XP cells; SE and interval need 6 seeds and two groups that share none (2k seeds).

    Arguments and TacitError as in `self_play`; SP cells are left out.
    """
    return _estimate(_run((seatings, scores), "cross_play"), resamples=resamples, level=level, rng=rng)


def gap(
    seatings: ArrayLike, scores: ArrayLike, *, resamples: int = RESAMPLES, level: float = LEVEL, rng: int = 0
) -> Estimate:
    """Mean SP − mean XP, resampled together: a seed that is strong in both moves the gap by the difference only.

    Arguments, TacitError and needs as in `cross_play`; raises it as well when SP and XP are not of the same seeds.
    """
    return _estimate(_run((seatings, scores), "gap"), resamples=resamples, level=level, rng=rng)


def difference(
    a: Cells,
    b: Cells,
    *,
    of: Quantity = "cross_play",
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    rng: int = 0,
) -> Estimate:
    """A quantity of run `a` minus that of run `b`, whose seeds are independent even where their numbers agree.

    `a` and `b` are (seatings, scores) each; resampled independently, with Welch's degrees of freedom. The rest as in
    the function named by `of`.
    """
    first = _run(a, of, label="first run: ")
    second = _run(b, of, label="second run: ")
    second = second._replace(terms=tuple(term._replace(sign=-term.sign) for term in second.terms))
    return _estimate(first, second, resamples=resamples, level=level, rng=rng)


def cross_play_disjoint(seatings: ArrayLike, scores: ArrayLike, *, level: float = LEVEL) -> Estimate:
    """XP as the paper has it: m = N // k groups of consecutive seeds (0, 1), (2, 3), …, independent of each other.

    A group scores the mean of its cells; XP is the mean of the groups and SE = std(ddof=1) / sqrt(m), from 2 groups;
    the interval is Student's with m − 1 degrees of freedom, from 6 seeds. Every other XP cell is unused, and so are
    the last N mod k seeds. Arguments and TacitError as in `self_play`. Source: arXiv:2511.22581, eq. 30, 31.
    """
    run = _run((seatings, scores), "cross_play")
    (xp,) = run.terms
    size, num_seeds = xp.group_size, len(run.seeds)
    if not len(xp.groups):
        return Estimate(None, note=_absent(run))
    groups = np.arange(num_seeds // size * size).reshape(-1, size)
    pooled = {tuple(group): total / count for group, total, count in zip(xp.groups, xp.totals, xp.counts, strict=True)}
    for group in groups:
        if tuple(group) not in pooled:
            return Estimate(None, note=f"no cell of the seeds {', '.join(map(str, run.seeds[group]))} together")
    means = np.array([pooled[tuple(group)] for group in groups])
    mean = float(means.mean())
    if len(means) < 2:
        return Estimate(mean, note=_needs("an SE", 2 * size, num_seeds))
    se = float(means.std(ddof=1) / np.sqrt(len(means)))
    if num_seeds < SEEDS_FOR_INTERVAL:
        return Estimate(mean, se, note=_needs("an interval", SEEDS_FOR_INTERVAL, num_seeds))
    from scipy.special import stdtrit  # slow to load, and who only reads estimates does without

    half_width = float(stdtrit(len(means) - 1, (1 + level) / 2)) * se
    return Estimate(mean, se, mean - half_width, mean + half_width)


def resampled_means(
    seatings: ArrayLike, scores: ArrayLike, multiplicities: ArrayLike, *, of: Quantity = "cross_play"
) -> NDArray[np.float64]:
    """The quantity in each resample of the seeds: float[num_resamples], NaN where no cell survives.

        Σ_cells w·score / Σ_cells w,    w = Π over the seeds in the cell of the seed's multiplicity

    `multiplicities` [num_resamples, num_seeds] says how often each seed, in increasing order, was drawn.
    """
    return _resampled(_run((seatings, scores), of), _Draws(np.asarray(multiplicities, np.float64)))


# ----------------------------------------------------------------------------------------------- a list of cells, read


class _Term(NamedTuple):
    """SP or XP with its sign in the quantity; cells of one group are pooled, for they weigh the same in a resample."""

    name: str
    sign: float
    groups: NDArray[np.int64]  # [num_groups, k], positions in the sorted seeds
    totals: NDArray[np.float64]  # [num_groups], sum of the group's scores
    counts: NDArray[np.float64]  # [num_groups], its number of cells

    @property
    def group_size(self) -> int:
        return self.groups.shape[1]

    @property
    def mean(self) -> float:
        return float(self.totals.sum() / self.counts.sum())


class _Run(NamedTuple):
    """A quantity of one run: the signed sum of its terms."""

    seeds: NDArray[np.int64]  # sorted
    terms: tuple[_Term, ...]
    label: str

    @property
    def group_size(self) -> int:
        return max(term.group_size for term in self.terms)

    @property
    def mean(self) -> float:
        return sum(term.sign * term.mean for term in self.terms)


def _run(cells: Cells, of: Quantity, label: str = "") -> _Run:
    if of not in _TERMS:
        raise TacitError(f"no quantity is called {of!r}: expected one of {', '.join(_TERMS)}")
    seatings, scores = _checked(cells)
    seats = np.sort(seatings, axis=1)
    is_first = np.ones(seats.shape, bool)  # of the seats that hold one seed, the first: marks the group
    is_first[:, 1:] = seats[:, 1:] != seats[:, :-1]
    distinct = is_first.sum(axis=1)
    sizes = np.unique(distinct[distinct > 1])
    if len(sizes) > 1:
        raise TacitError(f"cross-play cells of {' and '.join(map(str, sizes))} different seeds: expected one number")
    cells_of = {"self-play": (distinct == 1, 1), "cross-play": (distinct > 1, int(sizes[0]) if len(sizes) else 2)}

    seeds = np.unique(seatings[np.any([cells_of[name][0] for name, _ in _TERMS[of]], axis=0)])
    terms = []
    for name, sign in _TERMS[of]:
        rows, size = cells_of[name]
        members = np.searchsorted(seeds, seats[rows][is_first[rows]]).reshape(-1, size)
        groups, group_of = np.unique(members, axis=0, return_inverse=True)
        totals, counts = np.zeros(len(groups)), np.zeros(len(groups))
        np.add.at(totals, group_of.reshape(-1), scores[rows])
        np.add.at(counts, group_of.reshape(-1), 1.0)
        terms.append(_Term(name, sign, groups, totals, counts))
    if all(len(term.groups) for term in terms) and any(len(np.unique(term.groups)) < len(seeds) for term in terms):
        raise TacitError("self-play and cross-play cells are not of the same seeds: a gap compares the same seeds")
    return _Run(seeds, tuple(terms), label)


def _checked(cells: Cells) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    seatings, scores = np.asarray(cells[0]), np.asarray(cells[1], np.float64)
    if seatings.ndim != 2 or not np.issubdtype(seatings.dtype, np.integer) or scores.shape != seatings.shape[:1]:
        raise TacitError(
            f"seatings {seatings.dtype}{list(seatings.shape)} with scores {list(scores.shape)}: "
            "expected int[num_cells, num_players] with float[num_cells]"
        )
    if not np.isfinite(scores).all():
        index = int(np.argmin(np.isfinite(scores)))
        raise TacitError(
            f"the score of seating {seatings[index].tolist()} is {scores[index]}: expected a finite number"
        )
    if len(np.unique(seatings, axis=0)) < len(seatings):
        raise TacitError("a seating is given twice: expected one cell a seating, with the mean of its games")
    return seatings.astype(np.int64), scores


# -------------------------------------------------------------------------------------------- errors of a sum of runs


class _Spread(NamedTuple):
    """The error of one run's quantity."""

    variance: float  # SE²
    deviations: NDArray[np.float64]  # of the resampled means from the mean, brought to that size and widened


def _estimate(*runs: _Run, resamples: int, level: float, rng: int) -> Estimate:
    """The sum of the quantities of independent runs."""
    if absent := _notes(runs, _absent):
        return Estimate(None, note=absent)
    mean = sum(run.mean for run in runs)
    if lacking := _notes(runs, _lacks_for_se):
        return Estimate(mean, note=lacking)
    if lacking := _notes(runs, _lacks_for_interval):
        return Estimate(mean, float(np.sqrt(sum(map(_variance, runs)))), note=lacking)

    draws = _draws(tuple(len(run.seeds) for run in runs), resamples, rng)
    resampled = [_resampled(run, drawn) for run, drawn in zip(runs, draws, strict=True)]
    kept = [means[np.isfinite(means)] for means in resampled]
    if min(map(len, kept)) < resamples / 2:
        return Estimate(mean, note="most resamples of the seeds keep no cross-play cell")
    spreads = [_spread(run, means) for run, means in zip(runs, kept, strict=True)]

    num_kept = min(map(len, kept))
    deviations = np.sum([spread.deviations[:num_kept] for spread in spreads], axis=0)
    variances = np.array([spread.variance for spread in spreads])
    shares = variances / variances.sum() if variances.any() else np.full(len(runs), 1 / len(runs))
    degrees_of_freedom = 1 / sum(share**2 / (len(run.seeds) - 1) for share, run in zip(shares, runs, strict=True))
    from scipy.special import ndtr, stdtrit  # as above

    tail = ndtr(-stdtrit(degrees_of_freedom, (1 + level) / 2))
    low, high = mean + np.quantile(deviations, (tail, 1 - tail))
    return Estimate(mean, float(np.sqrt(variances.sum())), float(low), float(high))


def _spread(run: _Run, resampled_means: NDArray[np.float64]) -> _Spread:
    deviations = resampled_means - run.mean
    bootstrap_variance = float(deviations.var())
    variance = max(_variance(run), bootstrap_variance / 3)
    widening = len(run.seeds) / (len(run.seeds) - 1)
    scale = np.sqrt(widening * variance / bootstrap_variance) if bootstrap_variance > 0 else 1.0
    return _Spread(variance, scale * deviations)


class _Draws:
    """How often each seed is drawn, [num_resamples, num_seeds], and the weights that follow from it."""

    def __init__(self, multiplicities: NDArray[np.float64]):
        self._drawn = np.ascontiguousarray(multiplicities.T)
        self._known: dict[tuple[tuple[int, ...], bytes], NDArray[np.float64]] = {}

    def __len__(self) -> int:
        return self._drawn.shape[1]

    def weights(self, groups: NDArray[np.int64], now: slice) -> NDArray[np.float64]:
        """[num_groups, resamples in `now`]: how often each group is drawn; remembered where that is small."""
        drawn = self._drawn[:, now]
        whole, name = drawn.shape[1] == len(self), (groups.shape, groups.tobytes())
        if whole and (known := self._known.get(name)) is not None:
            return known
        weights = np.ones((len(groups), drawn.shape[1]))
        for members in groups.T:
            weights *= drawn[members]
        if whole and len(self._known) < 4:
            self._known[name] = weights
        return weights


@functools.lru_cache(maxsize=4)
def _draws(num_seeds: tuple[int, ...], resamples: int, rng: int) -> tuple[_Draws, ...]:
    """For each run, num_seeds draws with replacement in each resample; the same for every run of as many seeds."""
    generator = np.random.default_rng(rng)
    return tuple(
        _Draws(generator.multinomial(number, np.full(number, 1 / number), size=resamples).astype(np.float64))
        for number in num_seeds
    )


def _resampled(run: _Run, draws: _Draws) -> NDArray[np.float64]:
    """`resampled_means` of a run."""
    means = np.zeros(len(draws))
    for term in run.terms:
        chunk = max(1, _CHUNK // len(term.groups))
        for start in range(0, len(means), chunk):
            now = slice(start, start + chunk)
            weights = draws.weights(term.groups, now)
            total, count = term.totals @ weights, term.counts @ weights
            means[now] += term.sign * np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
    return means


def _variance(run: _Run) -> float:
    """SE² before its lower bound: − the mean of d·d′ over the pairs of cells that share no seed (sums over terms)."""
    products = [a.sign * b.sign * _mean_product_apart(a, b, len(run.seeds)) for a in run.terms for b in run.terms]
    return -sum(products)


def _mean_product_apart(a: _Term, b: _Term, num_seeds: int) -> float:
    """Mean of d·d′ over the pairs of a cell of `a` and a cell of `b` that share no seed; NaN without such a pair."""
    in_a, in_b = _membership(a, num_seeds), _membership(b, num_seeds)
    deviations_a, deviations_b = a.totals - a.counts * a.mean, b.totals - b.counts * b.mean
    product = pairs = 0.0
    chunk = max(1, _CHUNK // len(b.groups))
    for start in range(0, len(a.groups), chunk):
        now = slice(start, start + chunk)
        apart = (in_a[now] @ in_b.T == 0).astype(np.float64)
        product += deviations_a[now] @ apart @ deviations_b
        pairs += a.counts[now] @ apart @ b.counts
    return product / pairs if pairs else np.nan


def _membership(term: _Term, num_seeds: int) -> NDArray[np.float64]:
    """[num_groups, num_seeds]: 1 where the seed is of the group."""
    member = np.zeros((len(term.groups), num_seeds))
    np.put_along_axis(member, term.groups, 1.0, axis=1)
    return member


# --------------------------------------------------------------------------------------------- what is not estimable


def _notes(runs: tuple[_Run, ...], lack: Callable[[_Run], str]) -> str:
    return "; ".join(run.label + note for run in runs if (note := lack(run)))


def _absent(run: _Run) -> str:
    return " and ".join(f"no {term.name} cell" for term in run.terms if not len(term.groups))


def _lacks_for_se(run: _Run) -> str:
    if run.group_size == 1:
        return _needs("an SE", 2, len(run.seeds))
    if note := _needs("an SE", max(SEEDS_FOR_INTERVAL, 2 * run.group_size), len(run.seeds)):
        return note
    return "every two cross-play cells share a seed" if np.isnan(_variance(run)) else ""


def _lacks_for_interval(run: _Run) -> str:
    return _needs("an interval", SEEDS_FOR_INTERVAL, len(run.seeds))


def _needs(what: str, needed: int, num_seeds: int) -> str:
    """Empty when there are enough."""
    there_are = f"there is {num_seeds}" if num_seeds == 1 else f"there are {num_seeds}"
    return f"{what} needs {needed} seeds, {there_are}" if num_seeds < needed else ""
