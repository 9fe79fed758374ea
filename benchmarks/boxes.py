"""α above which uniqueness is proved, by the formula and by boxes, beside α at which several solutions were seen.

    python -m benchmarks.boxes [--most N] [--only NAME ...]

The column "several seen up to" is that of the record results/exact.json (`python -m docs.results exact`).
"""

import argparse
import json
import time
from pathlib import Path

from games.tabular.dec_pomdp import DecPOMDP
from games.tabular.histories import build
from games.tabular.library import (
    asymmetric_lever,
    broadcast_channel,
    dectiger,
    equal_levers,
    hint,
    lever,
    recycling,
    skewed_dectiger,
    tiny_hanabi,
    two_stage_lever,
)
from marl.exact.certified import alpha_certified
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
}


def main() -> None:
    """Print a row for each game, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=1000, help="boxes to look at in each slice of α")
    parser.add_argument("--only", nargs="*", default=list(GAMES), metavar="NAME", help="these rows alone")
    arguments = parser.parse_args()
    seen = {one["game"]: one["alpha_unique"]["several_up_to"] for one in json.loads(RECORD.read_text())["numbers"]}
    print("| game | formula | boxes | several seen up to | boxes / seen | boxes looked at | CPU s |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name in arguments.only:
        tree = build(*GAMES[name])
        begun = time.process_time()
        found = alpha_boxed(tree, most=arguments.most)
        seconds = time.process_time() - begun
        assert found.alpha is not None
        print(
            f"| {name} | {alpha_certified(tree).alpha:.4g} | {found.alpha:.4g} | {seen[name]:.4g} | "
            f"{found.alpha / seen[name]:.2f} | {found.boxes:,} | {seconds:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
