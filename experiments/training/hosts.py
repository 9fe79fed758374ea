"""One job on several hosts: every process runs the same program, and all of them together own the devices.

With `execution.distributed=true` each task of a Slurm job step is a process (`srun --ntasks=4 tacit train …`), or
each process is told by environment variables:

    JAX_COORDINATOR_ADDRESS  host:port of process 0, the same for all
    JAX_NUM_PROCESSES        how many there are
    JAX_PROCESS_ID           which this one is, from 0

JAX reads the first itself, and JAX_LOCAL_DEVICE_IDS, JAX_COORDINATOR_PORT and JAX_COORDINATOR_BIND_ADDRESS besides. A
Slurm task takes the GPU of its number on its host; where Slurm shows each task only its own GPU
(`--gpus-per-task=1`), set JAX_LOCAL_DEVICE_IDS=0.
"""

import os
from collections.abc import Mapping
from typing import Any

import jax

from experiments.configuration.config import JobConfig
from games.errors import TacitError


def initialise(environment: Mapping[str, str] = os.environ) -> None:
    """Join the other processes of this job, if the environment tells of any; before anything else is asked of JAX.

    Waits until all are there. A process alone, Slurm's batch script and a step of one task included, joins nobody.

    Raises:
      TacitError: if the environment tells only half of it.
    """
    told = "JAX_COORDINATOR_ADDRESS" in environment
    # Of the step that `srun` made. SLURM_NTASKS, which JAX counts, also counts tasks that nobody has started yet.
    tasks = environment.get("SLURM_STEP_NUM_TASKS", "1")
    if jax.distributed.is_initialized() or not (told or int(tasks) > 1):
        return
    processes, number = (_whole(environment, name) for name in ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID"))
    try:
        jax.distributed.initialize(num_processes=processes, process_id=number)
    except ValueError as error:
        raise TacitError(
            "JAX_COORDINATOR_ADDRESS asks for JAX_NUM_PROCESSES and, from 0 and below it, JAX_PROCESS_ID: "
            f"{str(error).splitlines()[0]}"
        ) from error


def parse(plain: Mapping[str, Any]) -> JobConfig:
    """`JobConfig.parse`, after joining the other processes if `execution.distributed` says that there are some.

    Raises:
      TacitError: as both.
    """
    execution = plain.get("execution") if isinstance(plain, Mapping) else None
    if isinstance(execution, Mapping) and execution.get("distributed") is True:
        initialise()
    return JobConfig.parse(plain)


def _whole(environment: Mapping[str, str], name: str) -> int | None:
    said = environment.get(name)
    if said is not None and not said.isdecimal():
        raise TacitError(f"the environment variable {name} must be a whole number, not {said!r}")
    return None if said is None else int(said)
