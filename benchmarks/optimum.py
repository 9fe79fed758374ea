"""Self-play optima at longer horizons: value, upper bound and CPU seconds, beside published values.

    python -m benchmarks.optimum [--work N] [--file NAME=PATH ...] [--only NAME:HORIZON ...]

A file is a .dpomdp problem that the library does not have: of the MADP toolbox boxPushing (boxPushingUAI07), Mars,
fireFighting (fireFighting_2_3_3) and Grid3x3corners.
"""

import argparse
import time

from games.tabular.dec_pomdp import DecPOMDP
from games.tabular.dpomdp_file import read_file
from games.tabular.library import broadcast_channel, dectiger, grid_small, recycling
from marl.exact.optimum import WORK, optimum

LIBRARY = {
    "dectiger": dectiger,
    "recycling": recycling,
    "broadcast_channel": broadcast_channel,
    "grid_small": grid_small,
}

PUBLISHED = {
    "dectiger": {
        2: "-4",
        3: "5.1908125",
        4: "4.80275515625",
        5: "7.026450983203",
        6: "10.381625",
        7: "9.99356765625",
        8: "",
        9: "15.5724375",
        10: "15.184",
    },
    "recycling": {
        5: "16.486",
        6: "19.5542",
        7: "22.63374",
        8: "25.709878",
        9: "28.7870366",
        10: "31.86388902",
        15: "47.24852075",
        50: "154.9408284023669",
    },
    "broadcast_channel": {10: "9.29", 20: "18.31322818300334", 50: "45.5016041757"},
    "grid_small": {2: "0.91", 4: "2.2415766", 5: "2.9704960768", 6: "3.71716819232", 7: "4.4657", 8: "5.2319"},
    "boxPushing": {2: "17.6", 3: "66.081", 4: "98.5936"},
    "Mars": {2: "5.8", 3: "9.38", 4: "10.1808"},
    "fireFighting": {2: "-4.383496"},
    "Grid3x3corners": {2: "0", 3: "0.1332", 4: "0.4329", 5: "0.895656"},
}
"""Horizon -> value at discount 1: MADP's value database, masplan.org, and other exact solvers."""


def main() -> None:
    """Print a row for each problem and horizon, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=float, default=WORK, help="payoffs that a search may compute")
    parser.add_argument("--file", nargs="*", default=[], metavar="NAME=PATH", help="further problems")
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME:HORIZON", help="these rows alone")
    arguments = parser.parse_args()
    problems: dict[str, DecPOMDP] = {name: module.problem(discount=1.0) for name, module in LIBRARY.items()}
    for name, path in (given.split("=", 1) for given in arguments.file):
        problems[name] = read_file(path).replace(discount=1.0)
    print("| problem | horizon | published | value | upper bound | exact | CPU s |\n|---|---|---|---|---|---|---|")
    for name, problem in problems.items():
        for horizon, published in PUBLISHED.get(name, {}).items():
            if arguments.only and f"{name}:{horizon}" not in arguments.only:
                continue
            begun = time.process_time()
            found = optimum(problem, horizon, work=int(arguments.work))
            seconds = time.process_time() - begun
            said = f"{found.value:.10g} | {found.upper_bound:.10g} | {'yes' if found.exact else 'no'} | {seconds:.1f}"
            print(f"| {name} | {horizon} | {published} | {said} |", flush=True)


if __name__ == "__main__":
    main()
