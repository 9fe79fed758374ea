"""How often `tacit phase` says "one solution from α on" although there are several above: `python -m benchmarks.folds`.

600 random games (`SHAPES`: 400 of horizon 1, 200 of horizon 2; every other one has a symmetry) are searched as by
`tacit phase`, with its numbers of starts and of α, and by brute force: at α in steps of one percent, from many pure and
random starts, and from the solutions at the next α above and below. The statement of `tacit phase` is *wrong* if brute
force finds several solutions at an α that the statement calls unique.

A window of α with several solutions is *apart* if the principal branch has neither a fold nor a loss of stability at
its upper end, so that following the branch alone does not find it. It is an *isola* if the same holds at its lower end,
and there is one solution again below.

Both searches write a line for each game to a file, and skip games that are in the file. To get the statements of
another checkout, run `PYTHONPATH=CHECKOUT python FILE --only said --said other.jsonl` with the path of this file; then
`--beside other.jsonl` adds them to the table.
"""

import argparse
import inspect
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from games.tabular import histories
from games.tabular.dec_pomdp import DecPOMDP
from games.tabular.symmetry import automorphisms, orbits
from marl.exact import branches, gradient_flow, phase
from marl.exact.starts import concatenate, normal_starts, pure_starts

STEP = 1.01
"""The factor from one α of brute force to the next."""
PURE, NORMAL = 32, 16
"""Starts of brute force at each α."""
NEWTON_AFTER = 500
"""Steps of the flow after which brute force switches to Newton's method (`gradient_flow.solve`)."""


class Shape(NamedTuple):
    """The sizes of a group of games; there are few shapes, since each is compiled."""

    horizon: int
    agents: int
    actions: int
    states: int
    observations: int
    games: int


SHAPES = (
    Shape(1, 2, 2, 1, 1, 40),
    Shape(1, 2, 4, 1, 1, 60),
    Shape(1, 2, 6, 1, 1, 60),
    Shape(1, 3, 2, 1, 1, 60),
    Shape(1, 3, 3, 1, 1, 80),
    Shape(1, 3, 4, 1, 1, 40),
    Shape(1, 4, 2, 1, 1, 60),
    Shape(2, 2, 2, 2, 2, 80),
    Shape(2, 2, 3, 2, 2, 60),
    Shape(2, 3, 2, 2, 2, 60),
)


def game(shape: Shape, seed: int) -> DecPOMDP:
    """A random game; with an odd seed it has a symmetry: shifting all agents' actions by one leaves it the same."""
    generator = np.random.default_rng((*shape[:-1], seed))
    joint = (shape.actions,) * shape.agents
    tables = [
        generator.normal(size=(*joint, shape.states)),
        generator.dirichlet(np.ones(shape.states), (*joint, shape.states)),
        generator.dirichlet(np.ones(shape.observations**shape.agents), (*joint, shape.states)),
    ]
    if seed % 2:
        axes = tuple(range(shape.agents))
        turns = [(turn,) * shape.agents for turn in range(shape.actions)]
        tables = [np.mean([np.roll(table, turn, axes) for turn in turns], axis=0) for table in tables]
    reward, transition, observation = (table.reshape(shape.actions**shape.agents, shape.states, -1) for table in tables)
    return DecPOMDP(
        agents=tuple(f"agent{agent}" for agent in range(shape.agents)),
        states=tuple(f"s{state}" for state in range(shape.states)),
        actions=(tuple(f"a{action}" for action in range(shape.actions)),) * shape.agents,
        observations=(tuple(f"o{seen}" for seen in range(shape.observations)),) * shape.agents,
        discount=1.0,
        start=np.full(shape.states, 1 / shape.states),
        transition=transition,
        observation=observation,
        reward=reward[..., None],
    )


def span(problem: DecPOMDP) -> float:
    """The difference between the greatest and the least reward."""
    return float(np.ptp(problem.expected_reward))


def said(shape: Shape, seed: int) -> dict[str, Any]:
    """What `tacit phase` says of a game."""
    problem = game(shape, seed)
    tree = histories.build(problem, shape.horizon)
    alphas = np.geomspace(0.01 * span(problem), 0.6 * span(problem) * shape.horizon, 32).tolist()
    starts = concatenate(
        normal_starts(tree, 12, 1.0, seed=0), normal_starts(tree, 4, 4.0, seed=1), pure_starts(tree, 16, seed=2)
    )
    tied = orbits(automorphisms(problem, swap_agents=True), tree)
    start = time.perf_counter()
    branch = branches.principal_branch(tree, tied, alpha_min=alphas[0])
    # An older search knows nothing of branches.
    told: dict[str, Any] = {"branch": branch} if "branch" in inspect.signature(phase.phase_diagram).parameters else {}
    unique = phase.phase_diagram(tree, alphas, starts, **told).unique
    return {
        "several_up_to": unique[0],
        "one_from": unique[1],
        "alpha_stable": branch.alpha_stable,
        "folds": branch.folds.tolist(),
        "seconds": round(time.perf_counter() - start, 2),
    }


def seen(shape: Shape, seed: int, step: float = STEP) -> dict[str, Any]:
    """The windows of α in which brute force finds several solutions, ascending; `step` is the factor between two α."""
    problem = game(shape, seed)
    tree = histories.build(problem, shape.horizon)
    low, high = 0.02 * span(problem) * shape.horizon, 0.6 * span(problem) * shape.horizon
    alphas = np.exp(np.arange(np.log(low), np.log(high), np.log(step)))
    starts = concatenate(pure_starts(tree, PURE, seed=7), normal_starts(tree, NORMAL, 1.5, seed=8))
    count = len(starts[0])
    start = time.perf_counter()
    lanes = tuple(np.tile(own, (len(alphas), 1, 1)) for own in starts)
    ended = gradient_flow.solve(tree, lanes, alphas.repeat(count), newton_after=NEWTON_AFTER)
    found = [_points(tree, ended.take(slice(place * count, (place + 1) * count))) for place in range(len(alphas))]
    # Down and up again, each α from the solutions at its neighbour: starts alone miss small basins.
    for way in (-1, 1):
        for place in range(len(alphas))[::way]:
            if 0 <= place - way < len(alphas) and len(found[place - way][0]) != len(found[place][0]):
                both = concatenate(found[place], found[place - way])
                ended = gradient_flow.solve(tree, both, np.full(len(both[0]), alphas[place]), newton_after=NEWTON_AFTER)
                found[place] = _points(tree, ended)
    several = np.array([len(points[0]) > 1 for points in found])
    ends = np.flatnonzero(np.diff(np.concatenate([[False], several, [False]]).astype(int)))
    return {
        "low": low,
        "windows": [(float(alphas[first]), float(alphas[last - 1])) for first, last in ends.reshape(-1, 2)],
        "seconds": round(time.perf_counter() - start, 2),
    }


def _points(tree: histories.Tree, ended: gradient_flow.Stationary) -> tuple[np.ndarray, ...]:
    return phase.distinct(tree, ended, 0, None).log_probs


def is_wrong(statement: dict[str, Any], brute: dict[str, Any]) -> bool:
    """Whether brute force finds several solutions above the α from which on the statement says there is one."""
    top = max((high for _, high in brute["windows"]), default=0.0)
    return statement["one_from"] is not None and top >= statement["one_from"]


def apart(statement: dict[str, Any], brute: dict[str, Any]) -> list[tuple[float, float]]:
    """The windows at whose upper ends the principal branch has neither a fold nor a loss of stability."""
    return [(low, high) for low, high in brute["windows"] if not _happens(statement, high)]


def isolas(statement: dict[str, Any], brute: dict[str, Any]) -> list[tuple[float, float]]:
    """Those windows of `apart` whose lower end is apart, too, and above the least α searched."""
    found = apart(statement, brute)
    return [(low, high) for low, high in found if low > brute["low"] * STEP and not _happens(statement, low)]


def _happens(statement: dict[str, Any], alpha: float) -> bool:
    events = [*statement["folds"], *([statement["alpha_stable"]] if statement["alpha_stable"] else [])]
    return any(abs(np.log(alpha / event)) < 2 * np.log(STEP) for event in events)


def table(
    brute: dict[str, Any], statements: dict[str, Any], beside: dict[str, Any] | None, chosen: list[tuple[Shape, int]]
) -> Iterator[str]:
    """Wrong statements by shape, and windows that are apart."""
    before = [] if beside is None else ["wrong before"]
    heads = ["horizon", "agents", "actions", "games", "several seen", *before, "wrong", "apart", "isolas", "s a game"]
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    groups = {shape: [one for one in chosen if one[0] == shape] for shape in SHAPES}
    for shape, group in [*groups.items(), (None, chosen)]:
        names = [name for name in (_name(*one) for one in group) if name in brute and name in statements]
        if not names:
            continue
        both = [(statements[name], brute[name]) for name in names]
        cells = [str(len(names)), str(sum(bool(one["windows"]) for _, one in both))]
        if beside is not None:
            cells.append(str(sum(is_wrong(beside[name], brute[name]) for name in names if name in beside)))
        cells.append(str(sum(itertools.starmap(is_wrong, both))))
        cells.append(str(sum(bool(apart(*one)) for one in both)))
        cells.append(str(sum(bool(isolas(*one)) for one in both)))
        cells.append(f"{np.mean([one['seconds'] for one, _ in both]):.1f}")
        yield f"| {'all | |' if shape is None else ' | '.join(map(str, shape[:3]))} | {' | '.join(cells)} |"


def _name(shape: Shape, seed: int) -> str:
    return f"{'-'.join(map(str, shape[:-1]))} {seed}"


def read(file: Path) -> dict[str, Any]:
    """The results in a file, by game."""
    lines = file.read_text().splitlines() if file.exists() else []
    return dict(json.loads(line) for line in lines)


def complete(file: Path, chosen: list[tuple[Shape, int]], search: Callable[[Shape, int], dict[str, Any]]) -> None:
    """Search the games that a file lacks, and add them to it."""
    known = read(file)
    for number, (shape, seed) in enumerate(chosen):
        name = _name(shape, seed)
        if name not in known:
            line = json.dumps([name, search(shape, seed)])
            with file.open("a") as opened:
                print(line, file=opened)
            print(f"{search.__name__}: {number + 1} of {len(chosen)}", file=sys.stderr)


def main() -> None:
    """Search what is missing, and print the table."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.folds", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--games", type=int, help="of each shape at most so many (all)")
    parser.add_argument("--only", choices=("said", "seen"), help="one of the two searches")
    parser.add_argument("--said", type=Path, default=Path("said.jsonl"), help="statements (%(default)s)")
    parser.add_argument("--seen", type=Path, default=Path("seen.jsonl"), help="brute force (%(default)s)")
    parser.add_argument("--beside", type=Path, help="statements of another checkout, for the table")
    options = parser.parse_args()
    most = max(shape.games for shape in SHAPES)
    seeds = range(min(options.games or most, most))  # so that a part of the search has games of all shapes
    chosen = [(shape, seed) for seed in seeds for shape in SHAPES if seed < shape.games]
    if options.only != "seen":
        complete(options.said, chosen, said)
    if options.only != "said":
        complete(options.seen, chosen, seen)
    beside = read(options.beside) if options.beside else None
    print("\n".join(table(read(options.seen), read(options.said), beside, chosen)))


if __name__ == "__main__":
    main()
