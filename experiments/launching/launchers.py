"""Sweeps on Slurm: hydra's submitit launcher, adapted to jobs that may be killed, interrupted or requeued."""

import re
import shutil
import time
from collections.abc import Sequence
from typing import Any

import submitit
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus
from hydra_plugins.hydra_submitit_launcher import submitit_launcher
from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf
from submitit.core.utils import FailedJobError, FailedSubmissionError, UncompletedJobError

from experiments.presentation import terminal
from experiments.training.stopping import INTERRUPTED, Paused
from games.errors import TacitError

_START_SECONDS = 120
"""Least time before the signal: Slurm may send it a minute early, and it kills a job whose Python has not started."""
_POLL_SECONDS = 1.0
_LARGEST_ARRAY = 1000
"""Jobs of one array: Slurm's MaxArraySize is 1001 unless a cluster says otherwise; a larger sweep is several arrays."""


class SlurmLauncher(submitit_launcher.SlurmLauncher):
    """Waits for all jobs of a sweep, even if one fails, and prints how many are over."""

    def __call__(self, *arguments: Any) -> JobReturn:
        """One job, on its node."""
        ended = super().__call__(*arguments)
        stop = ended._return_value
        if isinstance(stop, Paused) and stop.status == INTERRUPTED:
            # Slurm stopped the job and may requeue it. Returning a result would mark the job as over.
            raise SystemExit(INTERRUPTED)
        return ended

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """Submit the jobs as one array and wait for their ends.

        Returns:
          What each job returned, in order; a job without a result counts as failed, with a `TacitError`.

        Raises:
          TacitError: if the time limit is too short, or Slurm is not installed or refuses the jobs.
        """
        check_time(self.params["timeout_min"], self.params["signal_delay_s"])
        jobs = self._submit(job_overrides, initial_job_idx)
        try:
            _wait(jobs)
        except KeyboardInterrupt:
            terminal.say(f"tacit: the jobs go on without this command; scancel {_arrays(jobs)} ends them")
            raise
        return [_end(job, overrides) for job, overrides in zip(jobs, job_overrides, strict=True)]

    def _submit(self, job_overrides: Sequence[Sequence[str]], first: int) -> list[submitit.Job]:
        if shutil.which("sbatch") is None or shutil.which("srun") is None:
            raise TacitError(
                "hydra/launcher=slurm needs Slurm's commands sbatch and srun, which are not there; "
                "hydra/launcher=local runs a sweep on this machine"
            )
        params = dict(self.params)
        folder, timeouts = params.pop("submitit_folder"), params.pop("max_num_timeout")
        executor = submitit.AutoExecutor(folder=folder, cluster="slurm", slurm_max_num_timeout=timeouts)
        everywhere = BaseQueueConf.__dataclass_fields__  # submitit's own parameters; Slurm's get a prefix
        named = {name if name in everywhere else f"slurm_{name}": value for name, value in params.items()}
        state = Singleton.get_state()
        arguments = [
            (list(overrides), "hydra.sweep.dir", number, f"job_{number}", state)
            for number, overrides in enumerate(job_overrides, start=first)
        ]
        try:
            executor.update_parameters(**named)
            jobs: list[submitit.Job] = []
            for start in range(0, len(arguments), _LARGEST_ARRAY):
                jobs += executor.map_array(self, *zip(*arguments[start : start + _LARGEST_ARRAY], strict=True))
            return jobs
        except (FailedJobError, FailedSubmissionError) as error:
            said = re.findall(r"sbatch: error: (.*)", str(error)) or str(error).splitlines()
            raise TacitError(f"Slurm refuses the sweep: {said[-1]}") from error


def check_time(timeout_min: int, signal_delay_s: int) -> None:
    """Refuse a time limit within which a job may get Slurm's signal before Python handles it.

    Args:
      timeout_min: the limit, in minutes.
      signal_delay_s: seconds before the limit at which Slurm sends the signal.

    Raises:
      TacitError: if less than two minutes are left for the start.
    """
    least = -(-(signal_delay_s + _START_SECONDS) // 60)
    if timeout_min < least:
        raise TacitError(
            f"hydra.launcher.timeout_min must be at least {least} with a signal {signal_delay_s} seconds before the "
            f"end (hydra.launcher.signal_delay_s), not {timeout_min}: jobs need time to start"
        )


def _wait(jobs: Sequence[submitit.Job]) -> None:
    """Wait until all jobs are over; print a line whenever more of them are."""
    waiting, over = list(jobs), -1
    while waiting:
        waiting = [job for job in waiting if not job.done()]
        if len(jobs) - len(waiting) != over:
            over = len(jobs) - len(waiting)
            terminal.say(f"Slurm job {_arrays(jobs)}: {over} of {len(jobs)} jobs are over")
        if waiting:
            time.sleep(_POLL_SECONDS)


def _arrays(jobs: Sequence[submitit.Job]) -> str:
    """The numbers of the arrays that jobs belong to."""
    return " ".join(dict.fromkeys(job.job_id.partition("_")[0] for job in jobs))


def _end(job: submitit.Job, overrides: Sequence[str]) -> JobReturn:
    """What a job returned, or a failure that says why it returned nothing."""
    try:
        return job.results()[0]
    except UncompletedJobError as error:
        what = "failed outside its run" if isinstance(error, FailedJobError) else f"left no result ({job.state})"
        lost = TacitError(f"Slurm job {job.job_id} {what}; what it said is in {job.paths.stderr}")
    return JobReturn(overrides=list(overrides), status=JobStatus.FAILED, _return_value=lost)
