"""`python -m benchmarks.estimates [--expected] KEY=VALUE …`: what a `tacit phase` should cost, and what it costs.

The arguments are those of `tacit phase`; of several runs each gets a row. Both columns are CPU seconds of this process,
which other work on the machine stretches less than wall time: the sweeps that `experiments.studies.phase.parts` counts,
times the CPU time of one; and what the run then took, compilation included (JAX_COMPILATION_CACHE_DIR keeps it low).
With --expected nothing is run.
"""

import sys
import tempfile
import time
from collections.abc import Sequence

from benchmarks.measure import processor
from experiments.studies import study
from experiments.studies.phase import STUDY, PhaseConfig, parts
from experiments.studies.tabular import groups
from marl.exact import cost

HEADER = (
    "| settings | sweeps | CPU ms a sweep | expected, CPU s | needed, CPU s | wall s |",
    "|---|---:|---:|---:|---:|---:|",
)


def row(config: PhaseConfig, words: str, *, compute: bool = True) -> str:
    """A line of the table: one run, expected and then, unless `compute` is false, computed."""
    tree, spent = config.tree, config.effort
    sweeps = sum(part.sweeps for part in parts(config, groups(config.simulator).swap))
    each = cost.sweep_seconds(tree, spent.num_starts * len(spent.alpha), time.process_time)
    expected = f"| {words} | {sweeps:,.0f} | {1e3 * each:.3g} | {sweeps * each:,.0f} |"
    if not compute:
        return f"{expected} – | – |"
    wall, cpu = time.perf_counter(), time.process_time()
    study.make(STUDY, config)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return f"{expected} {cpu:,.0f} | {wall:,.0f} |"


def main(arguments: Sequence[str]) -> None:
    """Print a row for each run that the arguments stand for."""
    given = [argument for argument in arguments if argument != "--expected"]
    print(processor(), *HEADER, sep="\n")
    with tempfile.TemporaryDirectory() as folder:
        for config in study.configs(STUDY, [*given, f"execution.output={folder}", "execution.progress=false"]):
            print(row(config, " ".join(given), compute=given == list(arguments)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
