"""Whether a training fits into memory, estimated from shapes before anything compiles."""

import contextlib
import dataclasses
import functools
import os
from pathlib import Path
from typing import Any

import jax

from games.errors import TacitError

_CGROUP = Path("/sys/fs/cgroup/memory.max")


def check_memory(learner: Any, *, learners: int, device: Any) -> None:
    """Refuse a training that does not fit into a device's memory.

    Args:
      learner: the algorithm for one seed; `learner.peak_bytes()` is what it needs in bytes.
      learners: how many a device trains at once. Devices that share a learner's games still hold all of its rollout.
      device: one of the devices that train.

    Raises:
      TacitError: naming what is needed, what there is, and the number of games that would fit.
    """
    there_is = memory_of(device)
    needed = _memory(learner) * learners
    if needed <= there_is:
        return
    games, most = learner.num_games, ""
    while games % 2 == 0 and not most:
        games //= 2
        try:
            smaller = dataclasses.replace(learner, num_games=games)
        except TacitError:  # so few games do not fit another key
            break
        if smaller.peak_bytes() * learners <= there_is:
            most = f"learner.num_games={games} would fit"
    length = learner.steps_per_update // learner.num_games
    raise TacitError(
        f"{learners} learners with {learner.num_games} games of {length} steps need about "
        f"{_size(needed)} on a device, and {device.device_kind} has {_size(there_is)}: "
        f"{most or 'fewer seeds in a job, shorter rollouts or a smaller network may fit'}"
    )


@functools.lru_cache(maxsize=4)  # the next job of a sweep often has the same learner
def _memory(learner: Any) -> int:
    return learner.peak_bytes()


def out_of_memory(error: Exception) -> TacitError | None:
    """The error to raise for an error of XLA's runtime, if that ran out of memory; else None."""
    if "RESOURCE_EXHAUSTED" not in str(error):
        return None
    reason = str(error).splitlines()[0]
    return TacitError(
        f"the device ran out of memory ({reason}): a smaller learner.num_games or fewer seeds in a job may fit"
    )


def memory_of(device: Any) -> int:
    """Bytes that a program may use on a device; the host's memory is divided among its CPU devices."""
    statistics = device.memory_stats() or {}
    if "bytes_limit" in statistics:
        return statistics["bytes_limit"]
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):  # no such file, or "max" in it
        whole = min(whole, int(_CGROUP.read_text()))  # a container may have less
    return whole // len([other for other in jax.local_devices() if other.platform == device.platform])


def _size(number: float) -> str:
    return f"{number / 2**30:.1f} GiB" if number >= 2**30 else f"{number / 2**20:.0f} MiB"
