"""Timing: compiling is timed apart from running, and compared programs run in turns, so that both see the same load."""

import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax


class Timing(NamedTuple):
    """The times of one program: seconds to trace and compile, and of several runs."""

    compile_seconds: float
    run_seconds: tuple[float, ...]
    working_bytes: int | None = None
    """The compiler's figure for the memory of a call besides its arguments and results; None if it gives none."""

    @property
    def best(self) -> float:
        return min(self.run_seconds)

    @property
    def median(self) -> float:
        return statistics.median(self.run_seconds)

    def rate(self, work: float) -> str:
        """Units of work a second: the best run, and the median in brackets."""
        return f"{work / self.best:,.0f} ({work / self.median:,.0f})"


def race(programs: Mapping[str, tuple[Callable[..., Any], tuple[Any, ...]]], *, repeats: int) -> dict[str, Timing]:
    """Compile each program, run it once unmeasured, then run all in turns `repeats` times.

    A program is a function and its arguments; its result is discarded.
    """
    compiled, compile_seconds = {}, {}
    for name, (function, arguments) in programs.items():
        began = time.perf_counter()
        compiled[name] = jax.jit(function).lower(*arguments).compile()
        compile_seconds[name] = time.perf_counter() - began
        jax.block_until_ready(compiled[name](*arguments))
    run_seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(repeats):
        for name, (_, arguments) in programs.items():
            began = time.perf_counter()
            jax.block_until_ready(compiled[name](*arguments))
            run_seconds[name].append(time.perf_counter() - began)
    return {
        name: Timing(compile_seconds[name], tuple(run_seconds[name]), working_bytes(compiled[name]))
        for name in programs
    }


def working_bytes(compiled: Any) -> int | None:
    """The working memory of a compiled program, as in `Timing`."""
    analysis = compiled.memory_analysis()
    return None if analysis is None else int(analysis.temp_size_in_bytes)


def nbytes(tree: Any) -> int:
    """Bytes of all arrays of a tree, or of their shapes from `jax.eval_shape` (PRNG keys by their data)."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def processor() -> str:
    """The cores of this machine, such as "2 cores of AMD EPYC"."""
    try:
        told = re.search(r"^model name\s*: *(.*)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        told = None
    return f"{os.cpu_count()} cores of {told[1].strip() if told else platform.processor()}"
