"""The error of a mean over cells, over seeds and over decks; `marl.crossplay.estimators` uses and explains it.

A quantity of a run (`Run`) is a signed sum of means over its cells (`Term`). `estimate` returns the sum of the
quantities of runs that share no seed, with its error.
"""

import functools
import itertools
from collections.abc import Callable, Hashable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from games.errors import TacitError

Quantity = Literal["self_play", "cross_play", "gap"]
Cells = tuple[ArrayLike, ArrayLike]
"""Seatings int[num_cells, num_players] and scores, float[num_cells, num_games] or their means float[num_cells]."""

SEEDS_FOR_INTERVAL = 6
RESAMPLES = 10_000
LEVEL = 0.95
_ROUNDING = 1e-12  # of a sum, as a part of the sum of its absolute terms
_CHUNK = 1 << 21  # numbers held at once: 16 MiB
TERMS: dict[str, tuple[tuple[str, float], ...]] = {
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

    def within(self, low: float, high: float) -> "Estimate":
        """The interval cut to what is possible, which changes nothing about how often it covers."""
        if self.low is None or self.high is None:
            return self
        return self._replace(low=min(max(self.low, low), high), high=max(min(self.high, high), low))

    def times(self, factor: float) -> "Estimate":
        """The estimate of a multiple.

        Raises:
          TacitError: unless the factor is positive, for else the ends of the interval would change places.
        """
        if factor <= 0:
            raise TacitError(f"a multiple of an estimate by {factor:g}: expected a positive factor")
        numbers = (None if number is None else factor * number for number in self[:4])
        return Estimate(*numbers, note=self.note)

    def __str__(self) -> str:
        return format(self, "")


class Parts(NamedTuple):
    """The independent parts of a squared error, as a t test takes them."""

    variances: NDArray[np.float64]
    degrees_of_freedom: NDArray[np.float64]

    @property
    def freedom(self) -> float:
        """The degrees of freedom of their sum, by Welch and Satterthwaite."""
        total = self.variances.sum()
        shares = self.variances / total if total else np.full(len(self.variances), 1 / len(self.variances))
        return float(1 / np.sum(shares**2 / self.degrees_of_freedom))


# ----------------------------------------------------------------------------------------------- a list of cells, read


class Term(NamedTuple):
    """SP or XP with its sign in the quantity; cells of one group are pooled, for they weigh the same in a resample."""

    name: str
    sign: float
    groups: NDArray[np.int64]  # [num_groups, k], positions in the sorted seeds
    totals: NDArray[np.float64]  # [num_groups], sum of the group's scores
    counts: NDArray[np.float64]  # [num_groups], its number of cells
    games: NDArray[np.float64]  # [num_groups, num_games], sum of score − mean of the cell; num_games 0: unknown

    @property
    def group_size(self) -> int:
        return self.groups.shape[1]

    @property
    def mean(self) -> float:
        return float(self.totals.sum() / self.counts.sum())


class Run(NamedTuple):
    """A quantity of one run: the signed sum of its terms."""

    seeds: NDArray[np.int64]  # sorted within each independent set, the sets concatenated
    terms: tuple[Term, ...]
    sets: tuple[int, ...]  # number of seeds in each
    label: str = ""
    note: str = ""  # why nothing but its mean is known

    @property
    def group_size(self) -> int:
        return max(term.group_size for term in self.terms)

    @property
    def num_games(self) -> int:
        return self.terms[0].games.shape[1]

    @property
    def mean(self) -> float:
        return sum(term.sign * term.mean for term in self.terms)

    @property
    def size(self) -> float:
        """What rounding errors of the mean are relative to."""
        return sum(abs(term.sign) * float(np.abs(term.totals).sum() / term.counts.sum()) for term in self.terms)

    @property
    def games(self) -> NDArray[np.float64]:
        """The quantity in each game, less its mean: float64[num_games]."""
        return np.sum([term.sign * term.games.sum(axis=0) / term.counts.sum() for term in self.terms], axis=0)


def read(cells: Cells, of: Quantity, label: str = "") -> Run:
    """The terms of a quantity, read from cells.

    Raises:
      TacitError: where they are no such list, see `estimators.self_play`.
    """
    if of not in TERMS:
        raise TacitError(f"no quantity is called {of!r}: expected one of {', '.join(TERMS)}")
    seatings, scores, games = checked(cells)
    seats = np.sort(seatings, axis=1)
    is_first = np.ones(seats.shape, bool)  # of the seats that hold one seed, the first: marks the group
    is_first[:, 1:] = seats[:, 1:] != seats[:, :-1]
    distinct = is_first.sum(axis=1)
    sizes = np.unique(distinct[distinct > 1])
    if len(sizes) > 1:
        raise TacitError(f"cross-play cells of {' and '.join(map(str, sizes))} different seeds: expected one number")
    cells_of = {"self-play": (distinct == 1, 1), "cross-play": (distinct > 1, int(sizes[0]) if len(sizes) else 2)}

    seeds = np.unique(seatings[np.any([cells_of[name][0] for name, _ in TERMS[of]], axis=0)])
    terms = []
    for name, sign in TERMS[of]:
        rows, size = cells_of[name]
        members = np.searchsorted(seeds, seats[rows][is_first[rows]]).reshape(-1, size)
        terms.append(pooled(name, sign, members, scores[rows], games[rows]))
    if all(len(term.groups) for term in terms) and any(len(np.unique(term.groups)) < len(seeds) for term in terms):
        raise TacitError("self-play and cross-play cells are not of the same seeds: a gap compares the same seeds")
    return Run(seeds, tuple(terms), (len(seeds),), label)


class Part(NamedTuple):
    """A run's part of a weighted sum of runs."""

    weight: float
    cells: Cells
    seeds: Hashable = None
    """Parts with equal values here were trained from the same seeds; None: from seeds that no other part shares."""
    note: str = ""
    """Why nothing but its mean is known; empty otherwise."""
    label: str = ""
    """Before what a note says of the run."""


def combined(parts: Sequence[Part], of: Quantity) -> tuple[Run, ...]:
    """Runs that share no seed, the sum of whose quantities is the weighted sum of the parts' quantities.

    Raises:
      TacitError: as `read`; if parts are said to share seeds and do not.
    """
    runs: dict[Hashable, list[Run]] = {}
    for number, part in enumerate(parts):
        run = read(part.cells, of, part.label)
        terms = tuple(term._replace(sign=part.weight * term.sign) for term in run.terms)
        weighted = run._replace(terms=terms, note=part.note)
        runs.setdefault(number if part.seeds is None else (part.seeds,), []).append(weighted)
    return tuple(map(_joined, runs.values()))


def _joined(runs: Sequence[Run]) -> Run:
    """The sum of quantities of the same seeds."""
    first, *others = runs
    if not all(np.array_equal(first.seeds, other.seeds) for other in others):
        raise TacitError("cells of different seeds cannot be paired by seed")
    note = next((run.note for run in runs if run.note), "")
    return first._replace(terms=tuple(term for run in runs for term in run.terms), note=note)


def pooled(
    name: str, sign: float, members: NDArray[np.int64], scores: NDArray[np.float64], games: NDArray[np.float64]
) -> Term:
    """The term of cells with the seeds `members` [num_cells, k], `scores` [num_cells] and `games` as in `checked`."""
    groups, group_of = np.unique(members, axis=0, return_inverse=True)
    totals, counts, in_games = np.zeros(len(groups)), np.zeros(len(groups)), np.zeros((len(groups), games.shape[1]))
    for into, what in ((totals, scores), (counts, 1.0), (in_games, games)):
        np.add.at(into, group_of.reshape(-1), what)
    return Term(name, sign, groups, totals, counts, in_games)


def checked(cells: Cells) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Seatings, mean scores [num_cells] and what each game scored less these, [num_cells, num_games].

    Raises:
      TacitError: as `read`.
    """
    seatings, (scores, games) = np.asarray(cells[0]), by_game(cells[1])
    if seatings.ndim != 2 or not np.issubdtype(seatings.dtype, np.integer) or scores.shape != seatings.shape[:1]:
        raise TacitError(
            f"seatings {seatings.dtype}{list(seatings.shape)} with scores {list(np.shape(cells[1]))}: "
            "expected int[num_cells, num_players] with float[num_cells, num_games] or float[num_cells]"
        )
    if not np.isfinite(scores).all():
        index = int(np.argmin(np.isfinite(scores)))
        raise TacitError(
            f"the score of seating {seatings[index].tolist()} is {scores[index]}: expected a finite number"
        )
    if len(np.unique(seatings, axis=0)) < len(seatings):
        raise TacitError("a seating is given twice: expected one cell a seating, with the mean of its games")
    return seatings.astype(np.int64), scores, games


def by_game(scores: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean scores [n], and what each game scored less these, [n, num_games]: [n, 0] where only means are given."""
    scores = np.asarray(scores, np.float64)
    if scores.ndim < 2:
        return scores, np.zeros((*scores.shape, 0))
    means = scores.mean(axis=1)
    return means, scores - means[:, None]


# -------------------------------------------------------------------------------------------- errors of a sum of runs


class _Spread(NamedTuple):
    """The error of one run's quantity."""

    variance: float  # S
    deviations: NDArray[np.float64]  # of the resampled means from the mean, scaled to that variance and widened


def estimate(
    *runs: Run, same_decks: bool = True, resamples: int, level: float, rng: int
) -> tuple[Estimate, Parts | None]:
    """The sum of the quantities of runs that share no seed.

    Then the parts of its squared error, widened as the interval is; None without an interval.
    """
    if note := _notes(runs, absent):
        return Estimate(None, note=note), None
    size = sum(run.size for run in runs)
    mean = float(unless_rounding(sum(run.mean for run in runs), size))
    if lacking := _notes(runs, _lacks_for_se):
        return Estimate(mean, note=lacking), None
    decks = float(unless_rounding(_over_decks(runs, same_decks), _ROUNDING * size**2))
    if lacking := _notes(runs, _lacks_for_interval):
        return Estimate(mean, float(np.sqrt(sum(map(over_seeds, runs)) + decks)), note=lacking), None

    draws = _draws(tuple(run.sets for run in runs), resamples, rng)
    means_drawn = [resampled(run, drawn) for run, drawn in zip(runs, draws, strict=True)]
    kept = [means[np.isfinite(means)] for means in means_drawn]
    if min(map(len, kept)) < resamples / 2:
        return Estimate(mean, note="most resamples of the seeds keep no cross-play cell"), None
    spreads = [_spread(run, means) for run, means in zip(runs, kept, strict=True)]

    num_kept = min(map(len, kept))
    deviations = np.sum([spread.deviations[:num_kept] for spread in spreads], axis=0)
    if decks:
        deviations += np.sqrt(decks) * np.random.default_rng((rng, 1)).standard_normal(num_kept)
    variances = unless_rounding([spread.variance for spread in spreads], _ROUNDING * size**2)
    sizes = np.array([min(run.sets) for run in runs])
    parts = parts_of(variances, sizes, decks, min(run.num_games for run in runs))
    from scipy.special import ndtr, stdtrit  # slow to load, and who only reads estimates does without

    tail = ndtr(-stdtrit(parts.freedom, (1 + level) / 2))
    low, high = mean + np.quantile(deviations, (tail, 1 - tail))
    widened = parts._replace(variances=parts.variances * np.append(sizes / (sizes - 1), 1.0)[: len(parts.variances)])
    return Estimate(mean, float(np.sqrt(variances.sum() + decks)), float(low), float(high)), widened


def unless_rounding(sums: ArrayLike, sizes: ArrayLike) -> NDArray[np.float64]:
    """Sums [...], 0 where they are rounding errors of sums whose absolute terms sum to `sizes` [...]."""
    return np.where(np.abs(sums) <= _ROUNDING * np.asarray(sizes), 0.0, sums)


def parts_of(variances: NDArray[np.float64], sizes: NDArray[np.int64], decks: float, num_games: int) -> Parts:
    """Variances [n] over seeds or groups, `sizes` [n] of them, and over the decks of the games, where these count."""
    if not decks:
        return Parts(variances, np.asarray(sizes - 1, np.float64))
    return Parts(np.append(variances, decks), np.append(sizes - 1, num_games - 1).astype(np.float64))


def _over_decks(runs: Sequence[Run], same_decks: bool) -> float:
    """D of the sum of the runs; 0 where the games of one are unknown."""
    numbers = [run.num_games for run in runs]
    if same_decks and len(set(numbers) - {0}) > 1:
        raise TacitError(f"{' and '.join(map(str, numbers))} games: expected as many of either run on the same decks")
    if min(numbers) < 2:
        return 0.0
    total = sum(_covariance_over_games(run) for run in runs)
    if same_decks:
        for a, b in itertools.combinations(runs, 2):
            total += 2 * float(a.games @ b.games) / pairs_of_games(a.num_games)
    return max(0.0, total)


def pairs_of_games(num_games: int) -> int:
    """The divisor that makes a sum of products over games the covariance of two means over games."""
    return max(1, num_games * (num_games - 1))


def _spread(run: Run, resampled_means: NDArray[np.float64]) -> _Spread:
    deviations = resampled_means - run.mean
    bootstrap_variance = float(deviations.var())
    variance = max(over_seeds(run), bootstrap_variance / 3)
    widening = min(run.sets) / (min(run.sets) - 1)
    scale = np.sqrt(widening * variance / bootstrap_variance) if bootstrap_variance > 0 else 1.0
    return _Spread(variance, scale * deviations)


class Draws:
    """How often each seed is drawn, [num_resamples, num_seeds], and the weights that follow from it."""

    def __init__(self, multiplicities: NDArray[np.float64]):
        self._drawn = np.ascontiguousarray(multiplicities.T)
        self._known: dict[tuple[tuple[int, ...], bytes], NDArray[np.float64]] = {}

    def __len__(self) -> int:
        return self._drawn.shape[1]

    def weights(self, groups: NDArray[np.int64], now: slice) -> NDArray[np.float64]:
        """How often each group is drawn: float64[num_groups, num_resamples], those of `now`; cached if small."""
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
def _draws(num_seeds: tuple[tuple[int, ...], ...], resamples: int, rng: int) -> tuple[Draws, ...]:
    """For each set of each run, as many draws with replacement as it has seeds; the same for every run of such sets."""
    generator = np.random.default_rng(rng)

    def of(number: int) -> NDArray[np.int64]:
        return generator.multinomial(number, np.full(number, 1 / number), size=resamples)

    return tuple(
        Draws(np.concatenate([of(number) for number in sets], axis=1).astype(np.float64)) for sets in num_seeds
    )


def resampled(run: Run, draws: Draws) -> NDArray[np.float64]:
    """`estimators.resampled_means` of a run: float64[num_resamples]."""
    means = np.zeros(len(draws))
    for term in run.terms:
        chunk = max(1, _CHUNK // len(term.groups))
        for start in range(0, len(means), chunk):
            now = slice(start, start + chunk)
            weights = draws.weights(term.groups, now)
            total, count = term.totals @ weights, term.counts @ weights
            means[now] += term.sign * np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
    return means


def over_seeds(run: Run) -> float:
    """S before its lower bound: − the mean of d·d′ over the pairs of cells that share no seed (sums over terms)."""
    return -_mean_product_apart(run, lambda term: (term.totals - term.counts * term.mean)[:, None])


def _covariance_over_games(run: Run) -> float:
    """D before its lower bound: the mean covariance, over games, of the means of two cells that share no seed."""
    return _mean_product_apart(run, lambda term: term.games) / pairs_of_games(run.num_games)


def _mean_product_apart(run: Run, of: Callable[[Term], NDArray[np.float64]]) -> float:
    """Mean of x·x′ over the pairs of cells that share no seed, NaN without such a pair; summed over terms.

    `of` says x of a term's groups, [num_groups, n], each the sum over the group's cells; products are summed over n.
    """
    total = 0.0
    for a, b in itertools.product(run.terms, repeat=2):
        in_a, in_b = (_membership(term, len(run.seeds)) for term in (a, b))
        of_a, of_b = of(a), of(b)
        product = pairs = 0.0
        chunk = max(1, _CHUNK // len(b.groups))
        for start in range(0, len(a.groups), chunk):
            now = slice(start, start + chunk)
            apart = (in_a[now] @ in_b.T == 0).astype(np.float64)
            product += np.sum(of_a[now] * (apart @ of_b))
            pairs += a.counts[now] @ apart @ b.counts
        total += a.sign * b.sign * product / pairs if pairs else np.nan
    return total


def _membership(term: Term, num_seeds: int) -> NDArray[np.float64]:
    """[num_groups, num_seeds]: 1 where the seed is of the group."""
    member = np.zeros((len(term.groups), num_seeds))
    np.put_along_axis(member, term.groups, 1.0, axis=1)
    return member


# --------------------------------------------------------------------------------------------- what is not estimable


def _notes(runs: tuple[Run, ...], lack: Callable[[Run], str]) -> str:
    return "; ".join(dict.fromkeys(run.label + note for run in runs if (note := lack(run))))


def absent(run: Run) -> str:
    """A note that names the terms without any cell; empty if there is none."""
    return " and ".join(dict.fromkeys(f"no {term.name} cell" for term in run.terms if not len(term.groups)))


def _lacks_for_se(run: Run) -> str:
    if run.note:
        return run.note
    if run.group_size == 1:
        return needs("an SE", 2, len(run.seeds))
    if note := needs("an SE", max(SEEDS_FOR_INTERVAL, 2 * run.group_size), len(run.seeds)):
        return note
    return "every two cross-play cells share a seed" if np.isnan(over_seeds(run)) else ""


def _lacks_for_interval(run: Run) -> str:
    return needs("an interval", SEEDS_FOR_INTERVAL, len(run.seeds))


def needs(what: str, needed: int, num_seeds: int) -> str:
    """A note that `what` needs more seeds; empty when there are enough."""
    there_are = f"there is {num_seeds}" if num_seeds == 1 else f"there are {num_seeds}"
    return f"{what} needs {needed} seeds, {there_are}" if num_seeds < needed else ""
