"""A sweep through submitit to a `sbatch` that runs the jobs of an array at once, on this machine.

The jobs are processes of their own with Slurm's variables, and come back through submitit's files. What a real Slurm
does to them is in test_slurm_sweep.py.
"""

import json
import re
import sys

import pytest

from experiments import runs
from tests.command_line import TINY, call, printed_rows

SBATCH = """\
#!{python} -S
import os, pathlib, re, subprocess, sys

script = pathlib.Path(sys.argv[-1])
last = int(re.search(r"--array=0-(\\d+)%", script.read_text()).group(1))
for task in range(last + 1):
    own = {{"JOB_ID": 8 + task, "ARRAY_JOB_ID": 7, "ARRAY_TASK_ID": task, "NTASKS": 1, "JOB_NUM_NODES": 1,
            "NODEID": 0, "PROCID": 0, "LOCALID": 0, "JOB_NODELIST": "localhost"}}
    environment = os.environ | {{f"SLURM_{{name}}": str(value) for name, value in own.items()}}
    ended = f"bash {{script}}; echo $? > {folder}/ended_7_{{task}}"
    quiet = {{"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}}
    subprocess.Popen(["bash", "-c", ended], env=environment, start_new_session=True, **quiet)
print("Submitted batch job 7")
"""

SRUN = """\
#!/bin/bash
while [[ $1 == --* ]]; do
    case $1 in --output|--error) shift 2;; *) shift;; esac
done
exec "$@"
"""

SACCT = """\
#!{python} -S
import pathlib

print("JobID|State|NodeList")
for task in range(2):
    ended = pathlib.Path(f"{folder}/ended_7_{{task}}")
    print(f"7_{{task}}", "COMPLETED" if ended.exists() else "RUNNING", "localhost", sep="|")
"""


@pytest.fixture
def pretended(tmp_path, monkeypatch):
    """Slurm's commands on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("sacct", SACCT)):
        text = text if name == "srun" else text.format(python=sys.executable, folder=folder)
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


GAME = """
from games.tabular.library import lever
from games.tabular.simulator import Simulator

def make(levers: int = 3) -> Simulator:
    return lever.make((1.0,) * levers)
"""


@pytest.mark.slow
def test_jobs_come_back_and_one_that_fails_leaves_the_other(pretended, tmp_path, monkeypatch):
    """Of a game in the current directory, which is not on the path of the jobs."""
    (tmp_path / "levers_for_slurm.py").write_text(GAME)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    rates = ["0.01", "1e+38"]
    said = call(
        "train", "-m", "hydra/launcher=slurm", "hydra.launcher.cpus_per_task=1", *TINY, "game=levers_for_slurm.make",
        f"learner.learning_rate={','.join(rates)}", "execution.figures=false", "execution.output=runs",
    )  # fmt: skip
    assert said.status == 1, said.err
    assert re.search(r"Slurm job 7: 2 of 2 jobs are over", said.err)
    assert f"learning_rate={rates[1]}: training diverged" in said.err
    assert "1 of 2 runs are finished, 1 failed" in said.err
    assert len(printed_rows(said.out)) == 2  # the header and the run that is finished
    del sys.modules["levers_for_slurm"]
    statuses = {}
    for file in (tmp_path / "runs").glob("*/status.json"):
        learner = json.loads((file.parent / "run.json").read_text())["science"]["learner"]
        statuses[learner["learning_rate"]] = runs.read_status(file.parent)["state"]
    assert statuses == {0.01: "finished", 1e38: "failed"}
