"""Self-play and cross-play of independently trained seeds, with errors over seeds: numpy in, float64 out.

A **cell** is one seating (which seed sits in which seat) with its mean score. It is *self-play* (SP) when one seed
fills every seat and *cross-play* (XP) otherwise; the seeds that meet in a cell are its **group**. The XP cells of one
list all have groups of one size k: a different seed in every seat (k = players), or one seed against copies of another
(k = 2). Cells that share a seed are dependent, so no error here counts cells: seeds are what was drawn independently.
So are the **decks**: game g has the same one in every cell. Scores of all games, [num_cells, num_games], say how much
the decks move a mean; with the means of the cells alone, [num_cells], errors are those on these very decks.

- `self_play`: the mean over seeds.
- `cross_play_disjoint`: the mean over disjoint groups of consecutive seeds, the estimator of arXiv:2511.22581.
- `cross_play`: the mean over all XP cells.
- `gap`: SP − XP, on the same seeds.
- `difference`: any of these between two runs that share no seed.

**Standard error.** SE² = S + D, over seeds and over decks. With d = score − mean, S = −(mean of d·d′ over the pairs of
cells that share no seed), which is s²/N for SP. Cells without a common seed are independent on given decks, so the mean
of their products estimates the square of the true mean there: for a full list of cells S is unbiased, whether seeds,
pairs or larger groups cause the spread (the variance of a U-statistic of order k: Wang and Lindsay, Statistica Sinica
24, 2014). It can come out negative when pairs cause the spread; it is never taken below a third of the bootstrap's
variance, which counts pair effects three times (Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1,
2007). D is the mean, over the same pairs, of the covariance of the two cells' scores over the games, by the number of
games: all that cells without a common seed have in common is the deck. It is never taken below 0. In a difference on
the same decks, twice the covariance of the two runs' means over the games is taken off.

**Interval.** Seeds are drawn with replacement. A cell weighs the product of how often each seed of its group was drawn:
cells whose seats share an original seed are never XP, and a draw without any XP cell is dropped. The deviations of the
resampled means are scaled to S and widened by sqrt(N / (N − 1)), and a normal deviation of variance D is added to each;
the interval takes them at the normal probability of ±t (the expanded percentile interval: Hesterberg, The American
Statistician 69, 2015), with N − 1 degrees of freedom for the seeds and one less than games for the decks, combined as
Welch and Satterthwaite do.

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
    decks          6        95.3        94.8        96.5        96.3      94.0                  47.0
                   8        95.5        95.2        95.7        96.3      94.4                  39.9
                  16        95.0        94.3        95.8        95.6      94.0                  22.2
                  32        94.8        94.6        95.5        94.5      94.8                  12.7
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

Normal effects with 8 seeds or more: 93.6 to 98.2. Too wide where pairs cause all the spread and seeds are few, and with
arbitrary conventions: S is then often below what the bootstrap allows, which counts pairs three times. Rare failures
(probability .15): too short with few seeds for every estimator here: a quarter of all samples of 8 seeds hold no
failure at all.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from marl.crossplay.standard_error import (
    LEVEL,
    RESAMPLES,
    SEEDS_FOR_INTERVAL,
    Cells,
    Draws,
    Estimate,
    Part,
    Parts,
    Quantity,
    Run,
    absent,
    checked,
    combined,
    estimate,
    needs,
    pairs_of_games,
    parts_of,
    pooled,
    read,
    resampled,
)


class Summary(NamedTuple):
    """The estimates from one list of cells."""

    self_play: Estimate
    cross_play: Estimate
    cross_play_disjoint: Estimate
    gap: Estimate

    def within(self, low: float, high: float) -> "Summary":
        """With intervals cut to what is possible if scores are from `low` to `high`."""
        furthest = high - low
        return Summary(*(
            one.within(-furthest, furthest) if name == "gap" else one.within(low, high)
            for name, one in self._asdict().items()
        ))  # fmt: skip

    def times(self, factor: float) -> "Summary":
        """The estimates of a multiple of the scores, by a positive factor."""
        return Summary(*(one.times(factor) for one in self))


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

    `seatings` int[num_cells, num_players] and `scores` float[num_cells, num_games] or their means float[num_cells], XP
    cells are left out; `resamples` of the bootstrap, `level` of the interval, `rng` the generator's seed. Raises
    TacitError when the two are not such a list: other shapes, scores that are not finite, a seating given twice, or XP
    groups of several sizes.
    """
    return estimate(read((seatings, scores), "self_play"), resamples=resamples, level=level, rng=rng)[0]


def cross_play(
    seatings: ArrayLike, scores: ArrayLike, *, resamples: int = RESAMPLES, level: float = LEVEL, rng: int = 0
) -> Estimate:
    """Mean score of all XP cells; SE and interval need 6 seeds and two groups that share none (2k seeds).

    Arguments and TacitError as in `self_play`; SP cells are left out.
    """
    return estimate(read((seatings, scores), "cross_play"), resamples=resamples, level=level, rng=rng)[0]


def gap(
    seatings: ArrayLike, scores: ArrayLike, *, resamples: int = RESAMPLES, level: float = LEVEL, rng: int = 0
) -> Estimate:
    """Mean SP − mean XP, resampled together: a seed that is strong in both moves the gap by the difference only.

    Arguments, TacitError and needs as in `cross_play`; raises it as well when SP and XP are not of the same seeds.
    """
    return estimate(read((seatings, scores), "gap"), resamples=resamples, level=level, rng=rng)[0]


def difference(
    a: Cells,
    b: Cells,
    *,
    of: Quantity = "cross_play",
    same_decks: bool = True,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    rng: int = 0,
) -> Estimate:
    """A quantity of run `a` minus that of run `b`, whose seeds are independent even where their numbers agree.

    `a` and `b` are (seatings, scores) each; resampled independently. With `same_decks` game g has the same deck in both
    runs, and what it does to both cancels. The rest, and TacitError, as in the function named by `of`.
    """
    return estimate(*minus(a, b, of), same_decks=same_decks, resamples=resamples, level=level, rng=rng)[0]


def minus(a: Cells, b: Cells, of: Quantity) -> tuple[Run, ...]:
    """Independent runs whose sum is the quantity of `a` minus that of `b`."""
    return combined((Part(1.0, a, label="first run: "), Part(-1.0, b, label="second run: ")), of)


def cross_play_disjoint(seatings: ArrayLike, scores: ArrayLike, *, level: float = LEVEL) -> Estimate:
    """XP as the paper has it: m = N // k groups of consecutive seeds (0, 1), (2, 3), …, independent of each other.

    A group scores the mean of its cells; XP is the mean of the groups and SE² = s² / m + D (above), from 2 groups; the
    interval is Student's with m − 1 degrees of freedom for the groups, from 6 seeds. Every other XP cell is unused, and
    so are the last N mod k seeds. Arguments and TacitError as in `self_play`. Source: arXiv:2511.22581, eq. 30, 31.
    """
    run = read((seatings, scores), "cross_play")
    (xp,) = run.terms
    size, num_seeds = xp.group_size, len(run.seeds)
    if not len(xp.groups):
        return Estimate(None, note=absent(run))
    row = {tuple(group): number for number, group in enumerate(xp.groups)}
    groups = np.arange(num_seeds // size * size).reshape(-1, size)
    for group in groups:
        if tuple(group) not in row:
            return Estimate(None, note=f"no cell of the seeds {', '.join(map(str, run.seeds[group]))} together")
    chosen = [row[tuple(group)] for group in groups]
    means, games = xp.totals[chosen] / xp.counts[chosen], xp.games[chosen] / xp.counts[chosen, None]
    if len(means) < 2:
        return Estimate(float(means.mean()), note=needs("an SE", 2 * size, num_seeds))
    found, _ = of_groups(means, games, level=level)
    if num_seeds < SEEDS_FOR_INTERVAL:
        return Estimate(*found[:2], note=needs("an interval", SEEDS_FOR_INTERVAL, num_seeds))
    return found


def of_groups(
    means: NDArray[np.float64], games: NDArray[np.float64], *, level: float = LEVEL
) -> tuple[Estimate, Parts]:
    """The mean over m ≥ 2 groups that share no seed, with Student's interval, and the parts of its squared error.

    `means` float64[m]; `games` float64[m, num_games] what each group scored in each game, less its mean; without games
    [m, 0] the error is that on these very decks.
    """
    number = len(means)
    apart = (games.sum(axis=0) ** 2).sum() - (games**2).sum()
    decks = max(0.0, float(apart) / (number * (number - 1)) / pairs_of_games(games.shape[1]))
    parts = parts_of(np.array([means.var(ddof=1) / number]), np.array([number]), decks, games.shape[1])
    mean, se = float(means.mean()), float(np.sqrt(parts.variances.sum()))
    from scipy.special import stdtrit  # slow to load

    half_width = float(stdtrit(parts.freedom, (1 + level) / 2)) * se
    return Estimate(mean, se, mean - half_width, mean + half_width), parts


def between(
    seatings: ArrayLike,
    scores: ArrayLike,
    of_second: ArrayLike,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    rng: int = 0,
) -> Estimate:
    """Mean score of cells in which seeds of two methods meet; errors over the methods that have several seeds.

    `of_second` bool[num_cells, num_players]: whose seed it is. The bootstrap draws the seeds of each method from its
    own (the two-way, or pigeonhole, bootstrap: Owen, see above), and the method with fewer seeds sets the degrees of
    freedom; each needs 6. A method of one agent is taken as it is. Other arguments and TacitError as in `self_play`.
    """
    seats, means, games = checked((seatings, scores))
    if not len(seats):
        return Estimate(None, note="no cell of the two methods together")
    mean, second = float(means.mean()), np.asarray(of_second)
    drawn = [seeds for seeds in (np.unique(seats[~second]), np.unique(seats[second])) if len(seeds) > 1]
    if not drawn:
        return Estimate(mean, note="one agent of each method: there are no seeds to draw errors from")
    sets = tuple(map(len, drawn))
    if min(sets) < SEEDS_FOR_INTERVAL:
        return Estimate(
            mean, note=f"an interval needs {SEEDS_FOR_INTERVAL} seeds of each method, there are {min(sets)}"
        )
    seeds = np.concatenate(drawn)
    member = (seats[:, :, None] == seeds[None, None]).any(axis=1)  # [num_cells, num_seeds]
    members = np.nonzero(member)[1].reshape(len(seats), -1)
    run = Run(seeds, (pooled("cross-play", 1.0, members, means, games),), sets)
    return estimate(run, resamples=resamples, level=level, rng=rng)[0]


def outlier_seeds(seatings: ArrayLike, scores: ArrayLike) -> list[int]:
    """Seeds that play far from all others, in self-play or with these: intervals over few seeds are then too short.

    A seed is far if a t test of its mean score against the other seeds' has p < .005 / N in one of the two (Grubbs,
    Technometrics 11, 1969), and it is off by 5 % of the greatest absolute mean. Arguments and TacitError as in
    `self_play`; [] with fewer than 6 seeds.
    """
    seats, means, _ = checked((seatings, scores))
    seeds = np.unique(seats)
    number, alone = len(seeds), (seats == seats[:, :1]).all(axis=1)
    far = np.zeros(number, bool)
    if number < SEEDS_FOR_INTERVAL:
        return []
    from scipy.special import stdtrit

    critical = float(stdtrit(number - 2, 1 - 0.005 / number / 2)) * np.sqrt(1 + 1 / (number - 1))
    for chosen in (one for one in (alone, ~alone) if one.any()):
        of_seed = np.array([[means[chosen & (seats == seed).any(axis=1)].mean() for seed in seeds]])
        others = np.broadcast_to(of_seed, (number, number))[~np.eye(number, dtype=bool)].reshape(number, -1)
        off = np.abs(of_seed[0] - others.mean(axis=1))
        far |= (off > critical * others.std(axis=1, ddof=1)) & (off > 0.05 * np.abs(of_seed).max())
    return seeds[far].tolist()


def resampled_means(
    seatings: ArrayLike, scores: ArrayLike, multiplicities: ArrayLike, *, of: Quantity = "cross_play"
) -> NDArray[np.float64]:
    """The quantity in each resample of the seeds: float[num_resamples], NaN where no cell survives.

        Σ_cells w·score / Σ_cells w,    w = Π over the seeds in the cell of the seed's multiplicity

    `multiplicities` [num_resamples, num_seeds] says how often each seed, in increasing order, was drawn.
    """
    return resampled(read((seatings, scores), of), Draws(np.asarray(multiplicities, np.float64)))
