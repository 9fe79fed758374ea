"""What the parts of a phase diagram cost, in sweeps (`objective.sweep` of one joint policy), and how long one takes.

Nearly all of the time of the exact lab is sweeps. How many a part needs follows from sizes, but for how many steps the
flow takes to its end, how many points a branch has and how often the search for one solution looks: for these there
are the constants below, about the medians of the library's games (docs/performance.md), and single cases are half or
twice as long.
"""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp

from games.tabular.histories import Tree
from marl.exact.branch_equations import KRYLOV, MOST_DENSE, MOST_UNKNOWNS
from marl.exact.equivariant import rows
from marl.exact.gradient_flow import CHUNK, Method
from marl.exact.newton import free_coordinates
from marl.exact.objective import (
    Array,
    JointPolicy,
    Sparse,
    Tables,
    batch_width,
    double_precision,
    log_policy,
    residuals,
    table_entries,
    tables,
)

STEPS = 500
"""Of the flow, from a start to its end. The other methods mostly take all that they may."""
SWEEPS_A_STEP: dict[Method, float] = {
    "flow": 2.0, "flow_explicit": 6.0, "natural_gradient": 6.0, "gradient_ascent": 1.0, "adam": 1.0
}  # fmt: skip
AFTERWARDS = 250
"""Sweeps that relaxing and polishing one start take."""
POINTS, NEWTON_STEPS = 100, 3
"""Of a branch, and at each of its points; a Newton step differentiates by every unknown, about two sweeps each."""
LOOKS = 8
"""α at which the search for one solution solves all starts again, and the branches that it follows from there."""
_TIMES = 3
"""That the sweeps of one batch are timed."""
_OF_LISTS = 2
"""How many times a number of `objective.Sparse` costs what one of `objective.Dense` does: 1 to 5 on two cores."""
FEW_NUMBERS, FEW_SECONDS = 1e-8, 3e-5
"""Seconds for each number of a game's tables and for each sweep that hardly any machine needs: see `at_most`."""


@double_precision
def sweep_seconds(tree: Tree, count: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds that one sweep takes here, a row of a batch: measured after compilation.

    Args:
      tree: the game's histories.
      count: policies at a time, which decide how wide the batch is.
      clock: seconds from any beginning.
    """
    table = tables(tree)
    rows = batch_width(count, table)
    logits = tuple(jnp.zeros((rows, *own.legal.shape)) for own in tree.agents)
    jax.block_until_ready(_residuals(table, logits))
    before = clock()
    for _ in range(_TIMES):
        jax.block_until_ready(_residuals(table, logits))
    return (clock() - before) / (_TIMES * min(rows, count))


@jax.jit
def _residuals(table: Tables, logits: JointPolicy) -> Array:
    def of_one(logits: JointPolicy) -> Array:
        return residuals(table, log_policy(table, logits), jnp.ones(()))[1]

    return jax.vmap(of_one)(logits)


@double_precision
def entries(tree: Tree) -> int:
    """How many numbers a game's tables hold: a sweep of one policy reads most of them once or twice.

    Those of lists of joint histories count `_OF_LISTS` times: each is looked up and added on its own.
    """
    parts = jax.tree.leaves(tables(tree), is_leaf=lambda part: isinstance(part, Sparse))
    return sum(_OF_LISTS * table_entries(part) if isinstance(part, Sparse) else part.size for part in parts)


def at_most(tree: Tree, sweeps: float) -> float:
    """Seconds that hardly any machine needs for so many sweeps, from sizes alone: saves measuring small games."""
    return sweeps * (FEW_SECONDS + FEW_NUMBERS * entries(tree))


def of_best(restarts: int, steps: int) -> float:
    """Sweeps of searching the best equivariant policies, with and without agent swaps (`equivariant.search_tied`)."""
    return 2.0 * rows(restarts) * steps


def of_starts(count: float, method: Method, max_steps: int) -> float:
    """Sweeps of following so many starts to their ends, each for at most `max_steps` steps of `method`."""
    steps = min(STEPS, max_steps) if method == "flow" else max_steps
    return count * (SWEEPS_A_STEP[method] * steps + AFTERWARDS)


@double_precision
def of_chunk(tree: Tree, count: int, method: Method) -> float:
    """Sweeps between two reports of `gradient_flow.solve` of so many starts."""
    return min(count, batch_width(count, tables(tree))) * (SWEEPS_A_STEP[method] * CHUNK + 1.0)


def of_branch(tree: Tree, tied: int, *, stability: bool = True) -> float:
    """Sweeps of following a branch of so many unknowns (`branch_equations.space_of`); 0 where it is refused.

    Args:
      tree: the game's histories.
      tied: unknowns, with symmetries counted once.
      stability: whether eigenvalues are computed at every point.
    """
    if tied > MOST_UNKNOWNS:
        return 0.0
    free = free_coordinates(tree)
    spectrum = (2.0 * free if free <= MOST_DENSE else 20.0 * KRYLOV) * stability
    return POINTS * (NEWTON_STEPS * 2.0 * tied + spectrum)


def of_search(tree: Tree, count: int, method: Method, max_steps: int, branches: int) -> float:
    """Sweeps of the search for the least α with one solution (`phase.phase_diagram`, `refine`).

    Args:
      tree: the game's histories.
      count: starts at each α.
      method, max_steps: of the starts.
      branches: through solutions that are followed at a time.
    """
    return LOOKS * of_starts(count, method, max_steps) + branches * of_branch(
        tree, free_coordinates(tree), stability=False
    )
