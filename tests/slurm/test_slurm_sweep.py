"""A sweep on a real Slurm in which one job fails, one is killed, one preempted and one reaches its time limit.

Slurm's limits are whole minutes, and it looks at them every 30 seconds. So that a job of seconds reaches its limit, it
is frozen (SIGSTOP) in the middle of its training and its limit is lowered; Slurm then wakes it with the signal for the
coming end. Limit, clock, signal and requeue are Slurm's, and the speed of the machine does not matter.
"""

import functools
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from experiments import runs
from experiments.configuration.config import JobConfig
from experiments.launching import compose
from tests.command_line import printed_rows

UPDATES = 32
TINY = [
    "game=lever", "policy.torso=[4]", "seeds=2", "learner.num_games=8", "learner.rollout_length=4", "learner.epochs=1",
    "learner.minibatches=1", f"budget.steps={UPDATES * 32}", "crossplay.games=8", "execution.evaluations=0",
    f"execution.rows={UPDATES}", "execution.checkpoint_minutes=1e-9", "execution.progress=false",
    "execution.figures=false",
]  # fmt: skip
# The number of a job in the array is its place here.
RATES = ["0.01", "0.02", "0.03", "1e+38", "0.04", "0.05", "0.06", "0.07"]
TIMED_OUT, PREEMPTED, KILLED, FAILING = 0, 1, 2, 3
LIMIT_MINUTES, SIGNAL_SECONDS = 10, 120
SWEEP = [
    "train", "-m", "hydra/launcher=slurm", f"hydra.launcher.timeout_min={LIMIT_MINUTES}",
    f"hydra.launcher.signal_delay_s={SIGNAL_SECONDS}", "hydra.launcher.cpus_per_task=1",
    f"learner.learning_rate={','.join(RATES)}", *TINY,
]  # fmt: skip
START = "from experiments import cli; cli.main()"


class Pause(NamedTuple):
    """A job between its two starts."""

    status: dict
    rows: dict[str, np.ndarray]
    """Its metrics."""


class Sweep(NamedTuple):
    """The sweep after its end, and what was seen on the way."""

    folder: Path
    environment: dict[str, str]
    status: int
    out: str
    err: str
    pauses: dict[int, "Pause"]
    """Of the jobs that were requeued, by their numbers."""

    @property
    def paths(self) -> list[Path]:
        """The run directories, by the numbers of the jobs."""
        return [self.folder / name for name in names()]


@pytest.fixture(scope="module")
def sweep(slurm, tmp_path_factory):
    """The sweep, once: the first three jobs are frozen when they have trained a little, and then meet their fate."""
    folder = tmp_path_factory.mktemp("sweep")
    environment = slurm.environment | {"OMP_NUM_THREADS": "1"}
    command = start(folder, environment)
    try:
        frozen: dict[int, int] = {}
        until(lambda: all([freeze(frozen, folder, n) for n in (TIMED_OUT, PREEMPTED, KILLED)]), command, folder)
        array = re.search(r"Slurm job (\d+): \d of 8 jobs", (folder / "err").read_text()).group(1)
        os.kill(frozen[KILLED], signal.SIGKILL)
        slurm("scontrol", "requeue", f"{array}_{PREEMPTED}")  # as in favour of a job of higher priority
        timed_out = f"{array}_{TIMED_OUT}"
        minutes, seconds = map(int, slurm.job(timed_out)["RunTime"].split(":")[-2:])
        # Between one and two minutes from now: near enough for the signal, too far for the end.
        limit = math.ceil((60 * minutes + seconds + 60) / 60)
        slurm("scontrol", "update", f"JobId={timed_out}", f"TimeLimit={limit}")
        pauses = {}
        for number in (PREEMPTED, TIMED_OUT):
            until(lambda number=number: not Path(f"/proc/{frozen[number]}").exists(), command, folder)
            path = folder / names()[number]
            pauses[number] = Pause(status_of(path), runs.read_metrics(path))
        slurm("scontrol", "update", f"JobId={timed_out}", f"TimeLimit={LIMIT_MINUTES}")
        status = command.wait(300)
        restarts = [slurm.job(f"{array}_{number}")["Restarts"] for number in range(len(RATES))]
        assert restarts == ["1", "1", *["0"] * 6]
    finally:
        command.kill()
        command.wait()
    out, err = ((folder / name).read_text() for name in ("out", "err"))
    return Sweep(folder, environment, status, out, err, pauses)


def start(folder, environment):
    """The command that sweeps, in the background; it prints into FOLDER/out and FOLDER/err."""
    command = [sys.executable, "-c", START, *SWEEP, f"execution.output={folder}"]
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=err)


def until(condition, command, folder):
    """Wait for something while the sweep runs; pytest's own limit ends it."""
    while not condition():
        assert command.poll() is None, (folder / "err").read_text()
        time.sleep(0.02)


@functools.cache
def names():
    """The names of the runs, by the numbers of the jobs."""
    plain, found = compose.compose(TINY), []
    for rate in RATES:
        plain["learner"]["learning_rate"] = float(rate)
        found += [run.name() for run in JobConfig.parse(plain).runs]
    return found


def freeze(frozen, folder, number):
    """Stop the process of a job after its second checkpoint, once; whether it stands still."""
    if number not in frozen and newest_checkpoint(folder, number) >= 2:
        frozen[number] = process_of(folder, number)
        os.kill(frozen[number], signal.SIGSTOP)
    return number in frozen


def newest_checkpoint(folder, number):
    """The updates after which it was saved; 0 if there is none."""
    saved = (folder / names()[number] / "checkpoints").glob("[0-9]*")
    return max((int(path.name.partition("-")[0]) for path in saved), default=0)


def process_of(folder, number):
    """The id of the process that runs a job of the array."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
            variables = (process / "environ").read_bytes().split(b"\0")
        except OSError:  # it has ended, or is somebody else's
            continue
        here = f"PWD={folder}".encode() in variables and f"SLURM_ARRAY_TASK_ID={number}".encode() in variables
        if here and b"python" in command[0] and b"submitit.core._submit" in command:
            return int(process.name)
    raise AssertionError(f"job {number} has no process")


def status_of(path):
    return json.loads((path / "status.json").read_text())


# The first test that asks for the sweep pays for it.
pytestmark = [pytest.mark.proof, pytest.mark.timeout(500)]


def test_all_others_are_finished(sweep):
    states = [status_of(path)["state"] for path in sweep.paths]
    expected = ["finished"] * len(RATES)
    expected[FAILING], expected[KILLED] = "failed", "running"  # nobody was left to write that it was killed
    assert states == expected
    assert "is not finite in update" in status_of(sweep.paths[FAILING])["reason"]


@pytest.mark.parametrize("number, by", [(TIMED_OUT, "SIGUSR2"), (PREEMPTED, "SIGTERM")], ids=["limit", "preemption"])
def test_a_requeued_job_goes_on(sweep, number, by):
    status, rows = sweep.pauses[number]
    done = len(rows["steps"])
    assert 2 <= done < UPDATES
    assert (status["state"], status["steps"]) == ("interrupted", done * 32)
    assert status["reason"].startswith(f"stopped by {by} after {done * 32:,} of {UPDATES * 32:,} steps a seed")
    metrics = runs.read_metrics(sweep.paths[number])
    assert len(metrics["steps"]) == UPDATES
    # Speeds are measured: had it started anew, these would be others.
    assert metrics["steps_per_second"][:done].tobytes() == rows["steps_per_second"].tobytes()
    assert metrics["training_seconds"] > rows["training_seconds"]


def test_the_sweep_says_how_it_ended(sweep):
    assert sweep.status == 1
    assert re.search(r"Slurm job \d+: 8 of 8 jobs are over", sweep.err)
    assert f"learning_rate={RATES[FAILING]}: training diverged" in sweep.err
    assert re.search(rf"learning_rate={RATES[KILLED]}: Slurm job \d+_{KILLED} left no result \(FAILED\)", sweep.err)
    assert "6 of 8 runs are finished, 1 cut, 1 failed" in sweep.err
    cells = [row[0] for row in printed_rows(sweep.out)]
    shown = [rate for rate in RATES if rate in cells]
    assert shown == [rate for number, rate in enumerate(RATES) if number not in (FAILING, KILLED)]


def test_the_same_command_again_finishes_what_was_killed(sweep):
    before = [(path / "status.json").read_bytes() for path in sweep.paths]
    assert start(sweep.folder, sweep.environment).wait(200) == 1
    changed = [(path / "status.json").read_bytes() != old for path, old in zip(sweep.paths, before, strict=True)]
    assert [number for number, new in enumerate(changed) if new] == [KILLED]
    assert status_of(sweep.paths[KILLED])["state"] == "finished"
    assert re.search(r"Slurm job \d+: 1 of 1 jobs are over", (sweep.folder / "err").read_text())
    assert len(runs.read_metrics(sweep.paths[KILLED])["steps"]) == UPDATES
