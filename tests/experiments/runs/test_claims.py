"""A run directory has one owner, also between processes that want it in the same moment, and one that died has none."""

import json
import os
import socket
import subprocess
import sys
import time

import pytest

from experiments import runs
from experiments.runs import claims

HERE = {
    "host": socket.gethostname(),
    "namespace": claims._me().namespace,
    "job": "",
    "restarts": 0,
}
SLEEPER = [sys.executable, "-c", "import time; time.sleep(100)"]

# Many processes at once, forks of one: each says whether it became the owner, and goes when all have.
CONTENDERS = """
import os, sys, time
from pathlib import Path
from experiments.runs import claims

for path in map(Path, sys.argv[1:]):
    begin, children = time.time() + 0.5, []
    held, hold = os.pipe()
    for _ in range(5):
        read, write = os.pipe()
        if os.fork() == 0:
            os.close(hold)
            time.sleep(max(0, begin - time.time()))
            try:
                claims.take(path)
                said = f"{os.getpid()} mine"
            except claims.Busy as error:
                said = f"{os.getpid()} {error}"
            os.write(write, said.encode())
            os.close(write)
            os.read(held, 1)
            os._exit(0)
        os.close(write)
        children.append(read)
    said = [os.read(read, 10_000).decode() for read in children]
    print(*said, sep="\\n", flush=True)
    os.close(hold)
    for _ in children:
        os.wait()
"""


def write(path, number, owner, *, seconds_ago=0.0):
    claim = path / f".claim.{number}"
    claim.write_text(json.dumps(owner))
    os.utime(claim, (time.time() - seconds_ago,) * 2)


def taken(path):
    """Whether this process gets the directory; it gives it up again."""
    try:
        claims.take(path)
    except claims.Busy:
        return False
    claims.release(path)
    return True


@pytest.fixture
def other():
    process = subprocess.Popen(SLEEPER)
    yield process
    process.kill()
    process.wait()


def began(process):
    return claims._began(process)


def test_take_and_release(tmp_path):
    assert claims.owner(tmp_path) is None
    claims.take(tmp_path)
    claims.take(tmp_path)  # again: it is mine
    assert claims.owner(tmp_path).process == os.getpid()
    claims.check_free(tmp_path)  # of others
    claims.check(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [".claim.1"]
    claims.release(tmp_path)
    claims.release(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_living_process_keeps_it(tmp_path, other):
    write(tmp_path, 3, HERE | {"process": other.pid, "began": began(other.pid)}, seconds_ago=10**6)
    with pytest.raises(claims.Busy, match=f"is being trained by process {other.pid} on {HERE['host']}$"):
        claims.take(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [".claim.3"]


@pytest.mark.parametrize("what", ["killed", "not reaped", "number used again"])
def test_a_dead_process_does_not(tmp_path, other, what):
    owner = HERE | {"process": other.pid, "began": began(other.pid)}
    if what == "number used again":
        owner["began"] = "1"
    else:
        other.kill()
        if what == "killed":
            other.wait()
        else:
            os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # it is dead and still has its number
    write(tmp_path, 3, owner)
    claims.take(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [".claim.4"]
    claims.release(tmp_path)


def test_another_host_has_ten_minutes(tmp_path):
    owner = HERE | {"host": "elsewhere", "process": 1, "began": ""}
    write(tmp_path, 1, owner, seconds_ago=550)
    with pytest.raises(
        claims.Busy, match="by process 1 on elsewhere, silent for 9 minutes; after 10 it counts as gone"
    ):
        claims.take(tmp_path)
    write(tmp_path, 1, owner, seconds_ago=610)
    assert taken(tmp_path)


def test_another_container_of_this_host_is_another_host(tmp_path):
    process = 4_000_000  # above any that there are here
    write(tmp_path, 1, HERE | {"namespace": "pid:[1]", "process": process, "began": "5"})
    assert not taken(tmp_path)
    write(tmp_path, 1, HERE | {"process": process, "began": "5"})
    assert taken(tmp_path)


@pytest.mark.parametrize(("job", "restarts", "free"), [("7", "1", True), ("7", "0", False), ("8", "1", False)])
def test_a_job_that_was_requeued_follows_itself(tmp_path, monkeypatch, job, restarts, free):
    monkeypatch.setenv("SLURM_JOB_ID", job)
    monkeypatch.setenv("SLURM_RESTART_COUNT", restarts)
    write(tmp_path, 1, HERE | {"host": "node1", "process": 1, "began": "", "job": "7"})
    assert taken(tmp_path) == free


@pytest.mark.parametrize("number", [1, 2])
def test_who_was_taken_for_dead_hears_of_it(tmp_path, number):
    claims.take(tmp_path)
    (tmp_path / ".claim.1").unlink()
    # By its successor or, when that had given the run up, by one who began to count anew.
    write(tmp_path, number, HERE | {"host": "elsewhere", "process": 9, "began": ""})
    with pytest.raises(claims.Busy, match="was taken over by process 9 on elsewhere"):
        claims.check(tmp_path)
    claims.release(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [f".claim.{number}"]  # the other's stays


def test_who_was_taken_for_dead_hears_of_it_after_the_end(tmp_path):
    claims.take(tmp_path)
    (tmp_path / ".claim.1").unlink()  # taken over, finished, and given up
    with pytest.raises(claims.Busy, match="was taken over by another process"):
        runs.write_status(tmp_path, "running", steps=1)
    assert not (tmp_path / "status.json").exists()
    claims.release(tmp_path)


def test_a_damaged_claim_is_nobodys(tmp_path):
    for contents in ("", "{", "[]", '{"host": "x"}'):
        (tmp_path / ".claim.1").write_text(contents)
        assert taken(tmp_path), contents


@pytest.mark.slow
def test_of_many_one_gets_it(tmp_path):
    free, of_the_dead = tmp_path / "free", tmp_path / "of the dead"
    for path in (free, of_the_dead):
        path.mkdir()
    write(of_the_dead, 5, HERE | {"process": 4_000_000, "began": "1"})
    ended = subprocess.run([sys.executable, "-c", CONTENDERS, free, of_the_dead], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    said = [line.split(" ", 1) for line in ended.stdout.splitlines()]
    assert len(said) == 10
    for path, words in ((free, said[:5]), (of_the_dead, said[5:])):
        (winner,) = [process for process, word in words if word == "mine"]
        busy = f"run {path} is being trained by process {winner} on {HERE['host']}"
        assert {word for _, word in words} == {"mine", busy}
