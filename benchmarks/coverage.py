"""Coverage of the 95 % intervals of `marl.crossplay.estimators`: `python -m benchmarks.coverage`.

The samples are those of `marl.crossplay.synthetic`: cross-play of two players with random effects of seeds and pairs
(`seeds`, `mixed`, `pairs`), with effects of common decks (`decks`), with arbitrary conventions and with rare failures;
and of three players, with every seating of three different seeds and the effects of `mixed`.

`difference` compares two runs' XP, both of that many seeds. `cells_as_independent` treats the XP cells as independent,
which they are not: no estimator of this lab does. In brackets, the root mean square of the SE over the true standard
error. About 20 minutes on two cores; `--datasets 100` is quicker, `--effects pairs` measures a part.

`--comparisons` measures `marl.crossplay.comparisons` instead: how often tests of equal methods find a difference, and
how often the intervals of `blocks` contain the true mean. In a block a seed keeps its effects, but has a separate pair
effect with every seed of the other method.
"""

import argparse
import itertools
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from marl.crossplay import comparisons
from marl.crossplay.synthetic import EFFECTS, SAMPLES, TRUTH, XP_MEAN, measure, on_decks


def block(
    generator: np.random.Generator, num_seeds: tuple[int, int], kind: str
) -> tuple[NDArray[np.int64], NDArray[np.float64], list[str]]:
    """(seatings, scores, method of each seed) of the cells of two methods, the first in seat 0; true mean 5."""
    first, second = num_seeds
    effects = EFFECTS.get(kind, EFFECTS["seeds"])
    seatings = np.array(list(itertools.product(range(first), range(first, first + second))))
    a, b = (effects.seed * generator.standard_normal((number, 1)) for number in num_seeds)
    spread = np.hypot(effects.pair, effects.order)
    scores = (XP_MEAN + a + b.T + spread * generator.standard_normal(num_seeds)).reshape(-1)
    if kind == "decks":
        ((_, scores),) = on_decks(generator, [(seatings, scores)])
    return seatings, scores, ["A"] * first + ["B"] * second


def compare(kind: str, num_seeds: int, *, datasets: int, resamples: int) -> list[float]:
    """Rates over datasets of four equal methods.

    For the tests by seeds and by disjoint pairs: how often the first two methods differ at .05 and at .005, and how
    often any two of the four do by corrected p-values. Then how often a block's interval contains the mean, with
    `num_seeds` of either method and with twice as many of one.
    """
    generator = np.random.default_rng(0)
    found = []
    for _ in range(datasets):
        cells = dict(zip("ABCD", SAMPLES[kind](generator, num_seeds, 4), strict=True))
        row = []
        for test in ("seeds", "disjoint pairs"):
            compared = comparisons.compare_methods(cells, test=test, resamples=resamples)
            p = compared[0].p or 0.0
            row += [p < 0.05, p < 0.005, any(" > " in one.verdict for one in compared)]
        for sizes in ((num_seeds, num_seeds), (num_seeds, 2 * num_seeds)):
            estimate = comparisons.blocks(*block(generator, sizes, kind), resamples=resamples).cross_play[0][1]
            _, _, low, high = np.array(estimate[:4], float)
            row.append(low <= XP_MEAN <= high)
        found.append(row)
    return np.mean(found, axis=0).tolist()


def main_comparisons(kinds: Sequence[str], datasets: int, resamples: int) -> None:
    """Print the table of `compare`."""
    print(f"in %, {datasets} datasets, {resamples} resamples")
    columns = ("seeds .05", ".005", "any of 4", "disjoint .05", ".005", "any of 4", "block N x N", "N x 2N")
    print(f"{'effects':14}{'seeds':>6}" + "".join(f"{name:>14}" for name in columns))
    for kind, num_seeds in itertools.product(kinds, (6, 8, 16)):
        shares = compare(kind, num_seeds, datasets=datasets, resamples=resamples)
        print(f"{kind:14}{num_seeds:6d}" + "".join(f"{100 * share:14.1f}" for share in shares), flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Coverage of the 95 % intervals of marl.crossplay.estimators.")
    parser.add_argument("--datasets", type=int, default=2000)
    parser.add_argument("--effects", choices=list(SAMPLES), help="only these")
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--comparisons", action="store_true", help="of marl.crossplay.comparisons instead")
    arguments = parser.parse_args()
    if arguments.comparisons:
        kinds = (*EFFECTS, "decks") if arguments.effects is None else [arguments.effects]
        main_comparisons(kinds, arguments.datasets, arguments.resamples)
        return
    start = time.perf_counter()
    print(f"coverage in % (SE / true SE), {arguments.datasets} datasets, {arguments.resamples} resamples")
    print(f"{'effects':14}{'seeds':>6}" + "".join(f"{name:>22}" for name in TRUTH))
    for kind in SAMPLES if arguments.effects is None else [arguments.effects]:
        for num_seeds in (6, 8, 12) if kind == "three players" else (6, 8, 16, 32):
            sizes = {"samples": arguments.datasets, "resamples": arguments.resamples}
            result = measure([kind], [num_seeds], **sizes)[kind][num_seeds]
            shown = "".join(f"{f'{100 * one.share:.1f} ({one.se_ratio:.2f})':>22}" for one in result.values())
            print(f"{kind:14}{num_seeds:6d}{shown}", flush=True)
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
