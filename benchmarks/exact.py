"""The exact lab: value and gradient, cross-play, a phase diagram, symmetry groups, and a comparison with OpenSpiel.

Every program is called once unmeasured, which compiles it ("first call"); then all programs of a part run in turns. A
short one is called several times in a row, so that one measured run lasts at least `LEAST_SECONDS`. Figures are the
median of the runs with the least and the greatest in brackets. Goals are those set before the lab was written.
"""

import math
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.measure import Timing
from experiments.studies import study
from experiments.studies.phase import STUDY
from games.tabular import efg, memories
from games.tabular.histories import Tree, build
from games.tabular.library import dectiger, equal_levers, hint
from games.tabular.symmetry import automorphisms
from marl.exact import crossplay
from marl.exact.objective import Sweep, Tables, expected_return, gradient, log_policy, sweep, tables
from marl.exact.starts import normal_starts

ALPHA = 12.0
BATCH = 256
LEAST_SECONDS = 0.1
SAME_VALUE = 1e-10
"""The greatest allowed difference between the two programs' expected returns."""
PHASE = ("game=dectiger", "horizon=3")
"""The arguments of the measured `tacit phase`; its other keys have the defaults of conf/phase.yaml."""
VALUE_GOALS = {(3, 1): 190.0, (4, 1): 500.0, (5, 1): 9_000.0, (3, BATCH): 15.0}
"""(horizon, policies at once) -> at most so many µs a policy."""

Policies = tuple[np.ndarray, ...]


def values(*, repeats: int = 9) -> list[str]:
    """J_α and its gradient at random logits of dec-tiger, one policy and `BATCH` at once: lines of the report."""
    lines = [
        f"dec-tiger, α = {ALPHA:g}, logits N(0, 1): J_α and its gradient by the logits, double precision",
        "",
        "| horizon | policies at once | µs a policy | policies/s | goal, µs | first call s |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for horizon in (3, 4, 5):
        tree = build(dectiger.problem(), horizon)
        logits = normal_starts(tree, BATCH, 1.0, seed=0)
        with jax.enable_x64(True):
            table, one, many = tables(tree), _row(logits, 0), tuple(map(jnp.asarray, logits))
            alpha = jnp.asarray(ALPHA)
            batch = jax.jit(jax.vmap(_value_and_gradient, in_axes=(None, 0, None)))
            programs = {
                1: _blocking(jax.jit(_value_and_gradient), table, one, alpha),
                BATCH: _blocking(batch, table, many, alpha),
            }
            times = in_turns(programs, repeats=repeats)
        lines += [
            f"| {horizon} | {count} | {spread(timing, 1e6 / count)} | {count / timing.median:,.0f} | "
            f"{_goal(VALUE_GOALS.get((horizon, count)))} | {timing.compile_seconds:.1f} |"
            for count, timing in times.items()
        ]
    return lines


def bounded_memory(*, repeats: int = 3, horizon: int = 50, policies: int = 128) -> list[str]:
    """J_α and its gradient with bounded memory, in seconds of the process on all processors: lines of the report."""
    lines = [
        f"{policies} joint policies of dec-tiger at horizon {horizon}, J_α and its gradient, process CPU time",
        "",
        "| K | memories of an agent | s | first call s |",
        "|---:|---:|---:|---:|",
    ]
    for memory in (0, 1, 2):
        tree = memories.build(dectiger.problem(), horizon, memory)
        with jax.enable_x64(True):
            batch = jax.jit(jax.vmap(_value_and_gradient, in_axes=(None, 0, None)))
            logits = tuple(map(jnp.asarray, normal_starts(tree, policies, 1.0, seed=0)))
            program = _blocking(batch, tables(tree), logits, jnp.asarray(ALPHA))
            times = []
            for _ in range(1 + repeats):
                begun = time.process_time()
                program()
                times.append(time.process_time() - begun)
        lines.append(
            f"| {memory} | {tree.agents[0].size:,} | {spread(Timing(times[0], tuple(times[1:])))} | {times[0]:.1f} |"
        )
    return lines


def cross_play(*, repeats: int = 5, seeds: int = 1024) -> list[str]:
    """All pairs of random joint policies of dec-tiger: lines of the report."""
    lines = [
        f"{seeds:,} x {seeds:,} pairs of random joint policies of dec-tiger, from numpy to numpy",
        "",
        "| horizon | seconds | million pairs/s | goal, s | first call s |",
        "|---:|---:|---:|---:|---:|",
    ]
    for horizon, goal in ((3, 1.0), (4, None)):
        tree = build(dectiger.problem(), horizon)
        logits = normal_starts(tree, seeds, 1.0, seed=0)
        with jax.enable_x64(True):
            log_probs = tuple(np.asarray(own) for own in log_policy(tables(tree), tuple(map(jnp.asarray, logits))))
        programs = {horizon: lambda tree=tree, log_probs=log_probs: crossplay.cross_play(tree, log_probs)}
        timing = in_turns(programs, repeats=repeats)[horizon]
        lines.append(
            f"| {horizon} | {spread(timing)} | {seeds**2 / timing.median / 1e6:,.1f} | {_goal(goal)} | "
            f"{timing.compile_seconds:.1f} |"
        )
    return lines


def phase(*, repeats: int = 3) -> list[str]:
    """`tacit phase` with nothing compiled, by its parts, and again with everything compiled: lines of the report.

    The parts are the stages that the run reports, compilation included; writing the run directory counts with the last.
    """
    runs = [_phase_seconds(compiled=False) for _ in range(repeats)]
    again = _phase_seconds(compiled=True)
    (config,) = study.configs(STUDY, PHASE)
    count = config.normal_starts + config.wide_starts + config.pure_starts
    goals = {"diagram": 60.0}
    lines = [
        f"`tacit phase {' '.join(PHASE)}`: {len(config.alpha)} α x {count} starts",
        "",
        "| part | seconds, compilation included | goal, s | seconds, compiled before |",
        "|---|---:|---:|---:|",
    ]
    for part, seconds in again.items():
        timing = Timing(0.0, tuple(run[part] for run in runs))
        lines.append(f"| {part} | {spread(timing)} | {_goal(goals.get(part))} | {_number(seconds)} |")
    return lines


def symmetry(*, repeats: int = 5) -> list[str]:
    """The symmetry groups of three games, with and without agent swaps: lines of the report."""
    problems = {
        "100 equal levers": equal_levers.problem(100),
        "5 x 5 hint game": hint.problem(5),
        "dec-tiger": dectiger.problem(),
    }
    lines = ["| game | agent swaps | order on policies | seconds |", "|---|---|---:|---:|"]
    for name, problem in problems.items():
        for swap in (True, False):
            programs = {name: lambda problem=problem, swap=swap: automorphisms(problem, swap_agents=swap)}
            timing = in_turns(programs, repeats=repeats)[name]
            order = automorphisms(problem, swap_agents=swap).policy_order
            shown = f"{order:,}" if order < 10**9 else f"{order:.3e}"
            lines.append(f"| {name} | {'yes' if swap else 'no'} | {shown} | {spread(timing)} |")
    return lines


def open_spiel(*, repeats: int = 5, policies: int = 4) -> list[str]:
    """The expected return of the same random joint policies of dec-tiger, here and in OpenSpiel: lines of the report.

    OpenSpiel reads the exported game and draws the policies. Its `policy_value` is written in Python, its
    `expected_returns` in C++; both look the policies up in its C++ table, which is the faster of its tables.

    Raises:
      RuntimeError: if the values differ by more than `SAME_VALUE`.
    """
    import pyspiel
    from open_spiel.python.algorithms import expected_game_score

    lines = [
        "| horizon | program | ms a policy | x Tacit, one policy | greatest difference of values |",
        "|---:|---|---:|---:|---:|",
    ]
    for horizon in (2, 3):
        problem = dectiger.problem()
        tree = build(problem, horizon)
        form = efg.export(problem, horizon)
        game = pyspiel.load_efg_game(form.text)
        root = game.new_initial_state()
        drawn = [pyspiel.GetRandomPolicy(game, seed) for seed in range(policies)]
        log_probs = _as_log_probs(tree, form, [policy.policy_table() for policy in drawn])
        repeated = tuple(np.resize(own, (BATCH, *own.shape[1:])) for own in log_probs)
        with jax.enable_x64(True):
            table, many = tables(tree), tuple(map(jnp.asarray, repeated))
            one = jax.jit(expected_return)
            batch = jax.jit(jax.vmap(expected_return, in_axes=(None, 0)))
            rows = [_row(log_probs, number) for number in range(policies)]
            ours, ours_batch = "Tacit, one policy", f"Tacit, {BATCH} policies at once"
            programs: dict[str, Callable[[], Sequence[float]]] = {
                ours: lambda one=one, table=table, rows=rows: [float(one(table, row)) for row in rows],
                ours_batch: lambda batch=batch, table=table, many=many: np.asarray(batch(table, many)).tolist(),
                "OpenSpiel `expected_returns`, C++": lambda root=root, drawn=drawn: [
                    pyspiel.expected_returns(root, policy, -1, True)[0] for policy in drawn
                ],
                "OpenSpiel `policy_value`, Python": lambda root=root, drawn=drawn: [
                    expected_game_score.policy_value(root, [policy] * 2)[0] for policy in drawn
                ],
            }
            returns = {name: np.array(program()) for name, program in programs.items()}
            times = in_turns(programs, repeats=repeats)
        for name, timing in times.items():
            difference = float(np.max(np.abs(returns[name] - np.resize(returns[ours], len(returns[name])))))
            if not difference <= SAME_VALUE:
                raise RuntimeError(f"dec-tiger, horizon {horizon}: {name} differs from {ours} by {difference:g}")
            ratio = (timing.median / len(returns[name])) / (times[ours].median / policies)
            shown = f"{ratio:,.1f}" if ratio >= 1 else f"{ratio:.3f}"
            lines.append(
                f"| {horizon} | {name} | {spread(timing, 1e3 / len(returns[name]))} | {shown} | {difference:.1e} |"
            )
    return lines


PARTS: dict[str, Callable[..., list[str]]] = {
    "exact-values": values,
    "exact-memory": bounded_memory,
    "exact-crossplay": cross_play,
    "exact-phase": phase,
    "exact-symmetry": symmetry,
    "exact-openspiel": open_spiel,
}
"""The parts by their names in `python -m benchmarks --only`; `exact` is all of them. Each takes `repeats`."""


def in_turns(programs: Mapping[Any, Callable[[], Any]], *, repeats: int) -> dict[Any, Timing]:
    """Seconds per call of each program, measured in turns; the first call counts as compiling. Each call blocks."""
    first = {name: _seconds(program, 1) for name, program in programs.items()}
    calls = {name: max(1, math.ceil(LEAST_SECONDS / _seconds(program, 1))) for name, program in programs.items()}
    runs: dict[Any, list[float]] = {name: [] for name in programs}
    for _ in range(repeats):
        for name, program in programs.items():
            runs[name].append(_seconds(program, calls[name]))
    return {name: Timing(first[name], tuple(runs[name])) for name in programs}


def spread(timing: Timing, scale: float = 1.0) -> str:
    """Median (least–greatest) of the runs, in seconds times `scale`."""
    median, least, greatest = (_number(scale * s) for s in (timing.median, timing.best, max(timing.run_seconds)))
    return f"{median} ({least}–{greatest})"


def _value_and_gradient(table: Tables, logits: Any, alpha: jax.Array) -> tuple[jax.Array, Any]:
    log_probs = log_policy(table, logits)
    swept: Sweep = sweep(table, log_probs, alpha)
    return swept.objective, gradient(table, log_probs, swept)


def _phase_seconds(*, compiled: bool) -> dict[str, float]:
    """Seconds of the parts of one phase run, and of the whole."""
    if not compiled:
        jax.clear_caches()
    begun = {"game and symmetries": time.perf_counter()}
    names = {"starts": "diagram", "branch": "principal branch", "best policies": "best policies"}

    def report(stage: str, done: int, total: int, left: float | None = None) -> None:
        if stage in names:
            begun.setdefault(names[stage], time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        (config,) = study.configs(STUDY, [*PHASE, f"execution.output={folder}"])
        study.make(STUDY, config, report=report)
    marks = [*begun.values(), time.perf_counter()]
    seconds = {part: end - start for part, start, end in zip(begun, marks[:-1], marks[1:], strict=True)}
    return {**seconds, "whole": marks[-1] - marks[0]}


def _as_log_probs(
    tree: Tree, form: efg.ExtensiveForm, policies: Iterable[Mapping[str, Sequence[tuple[int, float]]]]
) -> Policies:
    """OpenSpiel's tables of joint policies as log-probabilities, for each agent float64[B, H, A].

    Its information states are called "agent-agent-number-label", the number counting from 1 in the order of `form`.
    """
    probs = [[own.copy() for own in tree.uniform()] for _ in policies]
    for joint, policy in zip(probs, policies, strict=True):
        for name, moves in policy.items():
            agent, _, number, _ = name.split("-", 3)
            first, *later = form.histories[int(agent)][int(number) - 1]
            own = tree.agents[int(agent)]
            history = own.root[first or 0]
            for action, observation in zip(later[::2], later[1::2], strict=True):
                history = own.child[history, action, observation]
            joint[int(agent)][history] = [probability for _, probability in moves]
    return tuple(np.log(np.stack(own)) for own in zip(*probs, strict=True))


def _row(whole: Policies, number: int) -> tuple[jax.Array, ...]:
    return tuple(jnp.asarray(own[number]) for own in whole)


def _blocking(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    return lambda: jax.block_until_ready(function(*arguments))


def _seconds(program: Callable[[], Any], calls: int) -> float:
    began = time.perf_counter()
    for _ in range(calls):
        program()
    return (time.perf_counter() - began) / calls


def _number(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:,.0f}" if value >= 99.95 else f"{value:#.3g}" if value >= 1e-3 else f"{value:.6f}"


def _goal(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"
