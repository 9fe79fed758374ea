"""How times are taken: compile apart from running, and rivals in turns, so that both meet the same machine."""

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
    """Of one program: seconds to trace and compile, and to run, several times."""

    compile_seconds: float
    run_seconds: tuple[float, ...]
    working_bytes: int | None = None
    """What a call needs beside its arguments and results, as the compiler planned it; None where it does not say."""

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

    A program is a function and its arguments; its result becomes nobody's.
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
    """As in `Timing`."""
    analysis = compiled.memory_analysis()
    return None if analysis is None else int(analysis.temp_size_in_bytes)


def nbytes(tree: Any) -> int:
    """Bytes of all arrays of a tree, or of what `jax.eval_shape` says of them (PRNG keys by their data)."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def processor() -> str:
    """The cores of this machine, such as "2 cores of AMD EPYC"."""
    try:
        told = re.search(r"^model name\s*: *(.*)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        told = None
    return f"{os.cpu_count()} cores of {told[1].strip() if told else platform.processor()}"
