"""α above which uniqueness is proved, by the formula and by boxes, beside α at which several solutions were seen.

    python -m benchmarks.boxes [--most N] [--only NAME ...]
    python -m benchmarks.boxes --random [--every N] [--most N]

The second looks for wrong proofs in the random games of `benchmarks.folds`, every N-th: right above the α from which on
boxes prove that there is one stationary point, many starts end in several. The column "several seen up to" is that of
the record results/exact.json (`python -m docs.results exact`).
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from benchmarks import folds
from games.tabular.dec_pomdp import DecPOMDP
from games.tabular.histories import build
from games.tabular.library import (
    asymmetric_lever,
    broadcast_channel,
    cat_and_dog,
    dectiger,
    equal_levers,
    grid_small,
    hint,
    lever,
    noisy_lever,
    overlapping_edits,
    recycling,
    resource_allocation,
    silos,
    skewed_dectiger,
    split_maze,
    task_claiming,
    tiny_hanabi,
    two_stage_lever,
)
from games.tabular.symmetry import automorphisms
from marl.exact import gradient_flow, phase
from marl.exact.certified import alpha_certified
from marl.exact.starts import concatenate, normal_starts, pure_starts
from marl.exact.uniqueness import alpha_boxed

RECORD = Path(__file__).parents[1] / "results" / "exact.json"

GAMES: dict[str, tuple[DecPOMDP, int]] = {
    "lever": (lever.problem(), 1),
    "equal_levers 3": (equal_levers.problem(3), 1),
    "two_stage_lever h2": (two_stage_lever.problem(), 2),
    **{f"tiny_hanabi {variant} h2": (tiny_hanabi.problem(variant), 2) for variant in "ABCDEF"},
    "hint 3 h2": (hint.problem(3), 2),
    "dectiger h2": (dectiger.problem(), 2),
    "recycling h3": (recycling.problem(), 3),
    "broadcast_channel h3": (broadcast_channel.problem(), 3),
    "dectiger h3": (dectiger.problem(), 3),
    "skewed_dectiger h3": (skewed_dectiger.problem(), 3),
    "asymmetric_lever h3": (asymmetric_lever.problem(), 3),
    "grid_small h2": (grid_small.problem(), 2),
    "cat_and_dog h2": (cat_and_dog.problem(), 2),
    "noisy_lever": (noisy_lever.problem(), 1),
    "overlapping_edits": (overlapping_edits.problem(), 1),
    "resource_allocation h2": (resource_allocation.problem(), 2),
    "silos h2": (silos.problem(), 2),
    "split_maze h2": (split_maze.problem(), 2),
    "task_claiming": (task_claiming.problem(), 1),
}


def random_games(every: int, most: int) -> None:
    """Print for each shape of the random games how many there are, wrong proofs, and how far the proofs reach."""
    print("| horizon | agents | actions | games | wrong | median of boxes / formula |\n|---|---|---|---:|---:|---:|")
    for shape in folds.SHAPES:
        wrong, reached = 0, []
        for seed in range(0, shape.games, every):
            tree = build(folds.game(shape, seed), shape.horizon)
            group = automorphisms(tree.problem, swap_agents=True)
            proved, formula = alpha_boxed(tree, group=group, most=most).alpha, alpha_certified(tree).alpha
            assert proved and formula
            reached.append(proved / formula)
            starts = concatenate(pure_starts(tree, folds.PURE, seed=7), normal_starts(tree, folds.NORMAL, 1.5, seed=8))
            alphas = np.full(len(starts[0]), 1.0001 * proved)
            ended = gradient_flow.solve(tree, starts, alphas, newton_after=folds.NEWTON_AFTER)
            wrong += len(phase.distinct(tree, ended, 0, None).starts) > 1
        row = [*shape[:3], len(reached), wrong, f"{np.median(reached):.2f}"]
        print(f"| {' | '.join(map(str, row))} |", flush=True)


def main() -> None:
    """Print a row for each game, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=1000, help="boxes to look at in each slice of α")
    parser.add_argument("--only", nargs="*", default=list(GAMES), metavar="NAME", help="these rows alone")
    parser.add_argument("--random", action="store_true", help="look for wrong proofs in random games")
    parser.add_argument("--every", type=int, default=1, help="of the random games every N-th")
    arguments = parser.parse_args()
    if arguments.random:
        random_games(arguments.every, arguments.most)
        return
    seen = {one["game"]: one["alpha_unique"]["several_up_to"] for one in json.loads(RECORD.read_text())["numbers"]}
    print("| game | formula | boxes | several seen up to | boxes / seen | boxes looked at | CPU s |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name in arguments.only:
        tree = build(*GAMES[name])
        begun = time.process_time()
        group = automorphisms(tree.problem, swap_agents=True)
        found = alpha_boxed(tree, group=group, most=arguments.most)
        seconds = time.process_time() - begun
        assert found.alpha is not None
        print(
            f"| {name} | {alpha_certified(tree).alpha:.4g} | {found.alpha:.4g} | {seen[name]:.4g} | "
            f"{found.alpha / seen[name]:.2f} | {found.boxes:,} | {seconds:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
