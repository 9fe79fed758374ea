"""One job on several hosts: every process runs the same program, and the devices of all of them are used together.

With `execution.distributed=true` each task of a Slurm job step is a process (`srun --ntasks=4 tacit train …`).
Elsewhere environment variables tell each process about the others:

    JAX_COORDINATOR_ADDRESS  host:port of process 0, the same for all
    JAX_NUM_PROCESSES        how many there are
    JAX_PROCESS_ID           which this one is, from 0

JAX itself reads the first, and also JAX_LOCAL_DEVICE_IDS, JAX_COORDINATOR_PORT and JAX_COORDINATOR_BIND_ADDRESS. The
n-th Slurm task of a host uses its n-th GPU; where Slurm shows each task only its own GPU (`--gpus-per-task=1`), set
JAX_LOCAL_DEVICE_IDS=0.
"""

import os
from collections.abc import Mapping
from typing import Any

import jax

from experiments.configuration.config import JobConfig
from games.errors import TacitError
from marl import devices


def initialise(environment: Mapping[str, str] = os.environ) -> None:
    """Connect to the other processes of this job, if the environment names any; call this before any other use of JAX.

    Waits until all are connected. Does nothing in a process alone, such as Slurm's batch script or a step of one task.

    Raises:
      TacitError: if the environment sets only some of the variables, or they cannot be connected.
    """
    told = "JAX_COORDINATOR_ADDRESS" in environment
    # Tasks of the step that `srun` made. SLURM_NTASKS, which JAX uses, also counts tasks that have not been started.
    tasks = environment.get("SLURM_STEP_NUM_TASKS", "1")
    if jax.distributed.is_initialized() or not (told or int(tasks) > 1):
        return
    processes, number = (_whole(environment, name) for name in ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID"))
    try:
        jax.distributed.initialize(num_processes=processes, process_id=number)
    except RuntimeError as error:
        raise TacitError(f"the processes of the job cannot be connected: {str(error).splitlines()[0]}") from error
    except ValueError as error:
        raise TacitError(
            "JAX_COORDINATOR_ADDRESS asks for JAX_NUM_PROCESSES and, from 0 and below it, JAX_PROCESS_ID: "
            f"{str(error).splitlines()[0]}"
        ) from error


def parse(plain: Mapping[str, Any]) -> JobConfig:
    """`JobConfig.parse`, after connecting to the other processes if `execution.distributed` is true.

    A process alone makes every core of its CPU a device, unless it has used JAX before.

    Raises:
      TacitError: as `initialise` and `JobConfig.parse`.
    """
    execution = plain.get("execution") if isinstance(plain, Mapping) else None
    if isinstance(execution, Mapping) and execution.get("distributed") is True:
        initialise()
    else:
        devices.one_per_core()
    return JobConfig.parse(plain)


def _whole(environment: Mapping[str, str], name: str) -> int | None:
    said = environment.get(name)
    if said is not None and not said.isdecimal():
        raise TacitError(f"the environment variable {name} must be a whole number, not {said!r}")
    return None if said is None else int(said)
