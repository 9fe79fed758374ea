"""How often the 95 % intervals of `marl.crossplay.estimators` hold the truth: `python -m benchmarks.coverage`.

Synthetic cross-play with known means. Two players:

    XP_ij = mu + a_i + b_j + pair_{ij} + order_ij + noise,    SP_i = mu + 1 + a_i + b_i + own_i + noise,

a, b, the symmetric pair effect, the order and own effects independent normals. `seeds`: the spread is the seeds' own
(sd 1, pair .3); `mixed`: sd .5, pair 1; `pairs`: sd 0, pair 1, as between arbitrary conventions that fit or do not.
`conventions` is not normal: each seed takes one of two conventions, and a pair scores 10 if they agree and 0 if not.
`failures`: each seed fails with probability .15 and then costs 5 a seat; few seeds often hold no failure to learn from.
`three players`: every seating of three different seeds; `mixed` effects for all seats and pairs, and triples of sd 1.

`difference` compares two runs' XP, both of that many seeds. `naive` treats the XP cells as independent, which they are
not: no estimator of this lab does. In brackets, the root mean square of the SE over the true standard error.
About 20 minutes on two cores; `--datasets 100` for a glance, `--effects pairs` for a part.

`--comparisons` measures `marl.crossplay.comparisons` instead: how often tests of equal methods find a difference, and
how often the intervals of `blocks` hold the truth. In a block a seed keeps its effects, but has a pair effect of its
own with every seed of the other method.
"""

import argparse
import functools
import itertools
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from marl.crossplay import comparisons, estimators
from marl.crossplay.estimators import Estimate

XP_MEAN, GAP = 5.0, 1.0
QUANTITIES = ("self_play", "cross_play", "gap", "difference", "cross_play_disjoint", "naive")


class Effects(NamedTuple):
    """Standard deviations of the random effects."""

    seed: float  # of a seed, in each seat
    pair: float
    order: float = 0.3  # of a seating, beyond its group, with the noise of its games
    triple: float = 1.0  # with three players


EFFECTS = {"seeds": Effects(1.0, 0.3), "mixed": Effects(0.5, 1.0), "pairs": Effects(0.0, 1.0)}


def random_effects(
    generator: np.random.Generator, num_seeds: int, effects: Effects, num_players: int = 2
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Cells (seatings, scores) of all seatings of different seeds and of the self-play ones; true XP 5, gap 1."""
    normal = generator.standard_normal
    own = np.repeat(np.arange(num_seeds)[:, None], num_players, axis=1)
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


def conventions(generator: np.random.Generator, num_seeds: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Cells of two players who score 10 when their conventions, one of two, agree; true XP 5, true gap 1."""
    seatings = np.array(list(itertools.product(range(num_seeds), repeat=2)))
    convention = generator.integers(2, size=num_seeds)
    agree = 10.0 * (convention[seatings[:, 0]] == convention[seatings[:, 1]])
    is_self_play = seatings[:, 0] == seatings[:, 1]
    scores = np.where(is_self_play, XP_MEAN + GAP, agree)
    return seatings, scores + 0.3 * generator.standard_normal(len(scores))


def failures(generator: np.random.Generator, num_seeds: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Cells of two players who lose 5 for each seat that holds a failed seed; true XP 5, true gap 1."""
    probability, cost = 0.15, 5.0
    seatings = np.array(list(itertools.product(range(num_seeds), repeat=2)))
    lost = cost * ((generator.random(num_seeds) < probability) - probability)[seatings].sum(axis=1)
    is_self_play = seatings[:, 0] == seatings[:, 1]
    return seatings, XP_MEAN + GAP * is_self_play - lost + 0.3 * generator.standard_normal(len(seatings))


def naive(seatings: NDArray[np.int64], scores: NDArray[np.float64]) -> Estimate:
    """The mean over XP cells as if they were independent."""
    xp = scores[(seatings != seatings[:, :1]).any(axis=1)]
    mean, se = float(xp.mean()), float(xp.std(ddof=1) / np.sqrt(len(xp)))
    return Estimate(mean, se, mean - 1.96 * se, mean + 1.96 * se)


def measure(
    draw: Callable[[np.random.Generator], tuple[NDArray[np.int64], NDArray[np.float64]]],
    *,
    datasets: int,
    resamples: int,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """(coverage, SE over the true one) of every quantity over `datasets` draws."""
    truth = dict(self_play=XP_MEAN + GAP, gap=GAP, difference=0.0)
    generator = np.random.default_rng(seed)
    found: dict[str, list[Estimate]] = {name: [] for name in QUANTITIES}
    for _ in range(datasets):
        cells, other = draw(generator), draw(generator)
        rng = int(generator.integers(2**31))
        found["self_play"].append(estimators.self_play(*cells, resamples=resamples, rng=rng))
        found["cross_play"].append(estimators.cross_play(*cells, resamples=resamples, rng=rng))
        found["gap"].append(estimators.gap(*cells, resamples=resamples, rng=rng))
        found["difference"].append(estimators.difference(cells, other, resamples=resamples, rng=rng))
        found["cross_play_disjoint"].append(estimators.cross_play_disjoint(*cells))
        found["naive"].append(naive(*cells))
    result = {}
    for name, estimates in found.items():
        mean, se, low, high = np.array([estimate[:4] for estimate in estimates], float).T
        value = truth.get(name, XP_MEAN)
        result[name] = (np.mean((low <= value) & (value <= high)), np.sqrt(np.mean(se**2)) / mean.std())
    return result


def block(
    generator: np.random.Generator, num_seeds: tuple[int, int], effects: Effects
) -> tuple[NDArray[np.int64], NDArray[np.float64], list[str]]:
    """(seatings, scores, method of each seed) of the cells of two methods, the first in seat 0; true mean 5."""
    first, second = num_seeds
    seatings = np.array(list(itertools.product(range(first), range(first, first + second))))
    a, b = (effects.seed * generator.standard_normal((number, 1)) for number in num_seeds)
    spread = np.hypot(effects.pair, effects.order)
    scores = XP_MEAN + a + b.T + spread * generator.standard_normal(num_seeds)
    return seatings, scores.reshape(-1), ["A"] * first + ["B"] * second


def compare(effects: Effects, num_seeds: int, *, datasets: int, resamples: int) -> list[float]:
    """Shares of datasets of four equal methods.

    For the tests by seeds and by disjoint pairs: the first two methods differ at .05, at .005, and any two of the four
    do by corrected p-values. Then a block's interval holds the mean, with `num_seeds` of either method and with twice
    as many of one.
    """
    generator = np.random.default_rng(0)
    found = []
    for _ in range(datasets):
        cells = {name: random_effects(generator, num_seeds, effects) for name in "ABCD"}
        row = []
        for test in ("seeds", "disjoint pairs"):
            compared = comparisons.compare_methods(cells, test=test, resamples=resamples)
            p = compared[0].p or 0.0
            row += [p < 0.05, p < 0.005, any(" > " in one.verdict for one in compared)]
        for sizes in ((num_seeds, num_seeds), (num_seeds, 2 * num_seeds)):
            estimate = comparisons.blocks(*block(generator, sizes, effects), resamples=resamples).cross_play[0][1]
            _, _, low, high = np.array(estimate[:4], float)
            row.append(low <= XP_MEAN <= high)
        found.append(row)
    return np.mean(found, axis=0).tolist()


def main_comparisons(datasets: int, resamples: int) -> None:
    """Print the table of `compare`."""
    print(f"in %, {datasets} datasets, {resamples} resamples")
    columns = ("seeds .05", ".005", "any of 4", "disjoint .05", ".005", "any of 4", "block N x N", "N x 2N")
    print(f"{'effects':14}{'seeds':>6}" + "".join(f"{name:>14}" for name in columns))
    for (name, effects), num_seeds in itertools.product(EFFECTS.items(), (6, 8, 16)):
        shares = compare(effects, num_seeds, datasets=datasets, resamples=resamples)
        print(f"{name:14}{num_seeds:6d}" + "".join(f"{100 * share:14.1f}" for share in shares), flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Coverage of the 95 % intervals of marl.crossplay.estimators.")
    parser.add_argument("--datasets", type=int, default=2000)
    parser.add_argument("--effects", choices=[*EFFECTS, "conventions", "failures", "three players"], help="only these")
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--comparisons", action="store_true", help="of marl.crossplay.comparisons instead")
    arguments = parser.parse_args()
    if arguments.comparisons:
        main_comparisons(arguments.datasets, arguments.resamples)
        return
    draws = {
        **{name: functools.partial(random_effects, effects=effects) for name, effects in EFFECTS.items()},
        "conventions": conventions,
        "failures": failures,
        "three players": functools.partial(random_effects, effects=EFFECTS["mixed"], num_players=3),
    }
    rows = [
        (name, num_seeds, lambda generator, draw=draw, n=num_seeds: draw(generator, n))
        for name, draw in draws.items()
        for num_seeds in ((6, 8, 12) if name == "three players" else (6, 8, 16, 32))
        if arguments.effects in (None, name)
    ]
    start = time.perf_counter()
    print(f"coverage in % (SE / true SE), {arguments.datasets} datasets, {arguments.resamples} resamples")
    print(f"{'effects':14}{'seeds':>6}" + "".join(f"{name:>20}" for name in QUANTITIES))
    for name, num_seeds, draw in rows:
        result = measure(draw, datasets=arguments.datasets, resamples=arguments.resamples)
        shown = "".join(f"{f'{100 * coverage:.1f} ({ratio:.2f})':>20}" for coverage, ratio in result.values())
        print(f"{name:14}{num_seeds:6d}{shown}", flush=True)
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
