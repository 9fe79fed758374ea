"""Compiled programs of a long process: each has memory maps, of which Linux allows a process 65,530.

A process that runs out of them dies inside the compiler ("Cannot allocate memory", although much is free).
"""

import gc
from pathlib import Path

import jax

MOST_MAPS = 40_000
_MAPS = Path("/proc/self/maps")


def free_programs(most: int = MOST_MAPS) -> None:
    """Free all compiled programs if this process has more than `most` memory maps; they are compiled again when needed.

    Where the system does not list a process's maps, nothing is done.
    """
    if _MAPS.exists() and _MAPS.read_bytes().count(b"\n") > most:
        jax.clear_caches()
        gc.collect()
