"""A Slurm of one machine: its own keys, ports and folders, no accounting, no cgroups, as whoever runs the tests."""

import contextlib
import os
import pwd
import secrets
import shutil
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel", "sinfo")
PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"  # where Debian keeps daemons
JOBS_AT_ONCE = 3

# Loopback only. A step's credential that expires soon lets a requeued job start soon. The machine may have fewer
# processors than jobs at once: then one waits for the other, as here most of a job's time is spent on starting.
CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CredType=cred/munge
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_min_interval=200000,bf_interval=1
SlurmdParameters=config_overrides
MessageTimeout=60
KillWait=30
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={jobs} State=UNKNOWN
PartitionName=tests Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""

# Without accounting there is no sacct, by which submitit learns that a job is gone: the controller knows it as well.
SACCT = """\
#!{python} -S
import subprocess
import sys

print("JobID|State|NodeList")
jobs = [after for option, after in zip(sys.argv, sys.argv[1:]) if option == "-j"]
for job in jobs:
    said = subprocess.run(["scontrol", "--oneliner", "show", "job", job], capture_output=True, text=True).stdout
    for line in said.splitlines():
        facts = dict(word.split("=", 1) for word in line.split() if "=" in word)
        name = facts["JobId"]
        if "ArrayTaskId" in facts:
            tasks = facts["ArrayTaskId"]
            name = facts["ArrayJobId"] + "_" + (tasks if tasks.isdigit() else f"[{{tasks}}]")
        print(name, facts["JobState"], facts.get("NodeList", ""), sep="|")
"""


class Slurm(NamedTuple):
    """A running Slurm."""

    folder: Path
    environment: dict[str, str]
    """What its commands, and everything that uses them, run under."""

    def __call__(self, *command: str) -> str:
        """What one of its commands prints."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def job(self, name: str) -> dict[str, str]:
        """The facts of a job, such as JobState; of an array's task under the name ARRAY_TASK."""
        words = self("scontrol", "--oneliner", "show", "job", name).split()
        return dict(word.split("=", 1) for word in words if "=" in word)


def pytest_runtest_setup(item):
    """Here and not in the fixture, so that it is one line of the summary and not one a test."""
    missing = [name for name in NEEDED if shutil.which(name, path=PATH) is None]
    if "slurm" in item.fixturenames and missing:
        pytest.skip(f"Slurm is not installed (Debian: slurm-wlm, munge): there is no {missing[0]}")


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """A running Slurm, stopped at the end with all its jobs."""
    folder = tmp_path_factory.mktemp("slurm")
    environment = _prepare(folder)
    controller = ["slurmctld", "-D", "-f", environment["SLURM_CONF"]]
    node = ["slurmd", "-D", "-f", environment["SLURM_CONF"]]
    with contextlib.ExitStack() as daemons:
        daemons.enter_context(_daemon(_munged(folder), folder, environment))
        _until(lambda: (folder / "munge" / "socket").exists(), folder)
        daemons.enter_context(_daemon(controller, folder, environment))
        daemons.enter_context(_daemon(node, folder, environment))
        running = Slurm(folder, environment)
        # It says nothing, or that it cannot connect, until the controller listens.
        asked = ["sinfo", "--noheader", "--format=%T"]
        _until(lambda: "idle" in subprocess.run(asked, env=environment, capture_output=True, text=True).stdout, folder)
        try:
            yield running
        finally:
            subprocess.run(["scancel", "--full", "--signal=KILL", f"--user={_user()}"], env=environment, timeout=60)


def _prepare(folder: Path) -> dict[str, str]:
    """Write its files into `folder`; the environment of its commands."""
    for name in ("munge", "state", "spool", "bin"):
        (folder / name).mkdir(mode=0o755)
    key = folder / "munge" / "key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(stat.S_IRUSR)
    sacct = folder / "bin" / "sacct"
    sacct.write_text(SACCT.format(python=sys.executable))
    sacct.chmod(0o755)
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        ports = one.getsockname()[1], other.getsockname()[1]
    (folder / "slurm.conf").write_text(
        CONFIGURATION.format(
            host=socket.gethostname().split(".")[0],
            controller_port=ports[0],
            node_port=ports[1],
            folder=folder,
            user=_user(),
            jobs=JOBS_AT_ONCE,
        )
    )
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))}
    return outside | {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": f"{folder / 'bin'}:{PATH}"}


def _munged(folder: Path) -> list[str]:
    files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "seed-file": "seed", "log-file": "log"}
    options = [f"--{option}={folder / 'munge' / name}" for option, name in files.items()]
    return ["munged", "--foreground", "--force", *options]  # --force: pytest's folders may be open to a group


@contextlib.contextmanager
def _daemon(command: list[str], folder: Path, environment: dict[str, str]):
    """A process that runs until the end of the context; what it says goes into FOLDER/NAME.log."""
    with (folder / f"{command[0]}.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _until(condition, folder: Path) -> None:
    """Wait for a daemon, at most 30 seconds."""
    end = time.monotonic() + 30
    while not condition():
        if time.monotonic() > end:
            logs = [f"{log.name}: {log.read_text()[-1000:]}" for log in folder.glob("*.log")]
            pytest.fail("Slurm does not start\n" + "\n".join(logs))
        time.sleep(0.05)


def _user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name
