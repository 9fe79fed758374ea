"""Sweeps that are killed, doubled, or have nowhere to write: nothing finished is lost or made twice."""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments import runs
from experiments.runs.check import check
from experiments.runs.claims import owner
from tests.command_line import tiny

# Loads everything once and then becomes a `tacit` for each line of arguments: a sweep begins at once, and the process
# that is killed is the one that trains. JAX has not started its threads when it forks.
NURSERY = """
import json, os, sys, warnings
import jax
import experiments.training.job
from experiments import cli, train

warnings.simplefilter("ignore")
for line in sys.stdin:
    said, arguments = json.loads(line)
    child = os.fork()
    if child == 0:
        os.setsid()
        for number in (1, 2):
            os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
        sys.argv = ["tacit", *arguments]
        cli.main()
    print(child, flush=True)
    # Reaped at once: a dead process that nobody has waited for still has its number.
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
GAMMAS = [round(0.5 + number / 100, 2) for number in range(48)]


class Nursery:
    """`tacit` in processes of its own, one at a time."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, "-c", NURSERY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, said, *arguments):
        self._process.stdin.write(json.dumps([str(said), [str(argument) for argument in arguments]]) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def wait(self):
        """The exit status, or minus the signal that ended it."""
        return int(self._process.stdout.readline())

    def close(self):
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


@pytest.fixture(scope="module")
def nursery():
    nursery = Nursery()
    yield nursery
    nursery.close()


def sweep_of(tiny_overrides, output, gammas):
    swept = f"learner.gamma={','.join(map(str, gammas))}"
    return ["train", "-m", *tiny_overrides, swept, "execution.figures=false", f"execution.output={output}"]


def finished(output):
    """What finished runs hold, by path: when each of their files was written."""
    paths = [file.parent for file in output.glob("*/status.json")]
    return {
        path: {name: (path / name).stat().st_mtime_ns for name in [*runs.results(path), "checksums.json"]}
        for path in paths
        if json.loads((path / "status.json").read_text())["state"] == "finished"
    }


def assert_nothing_lost(output, before):
    """What counts as finished is whole, and what was it before was not made again; what is not whole does not count.

    Returns:
      How many runs were caught in the middle.
    """
    after = finished(output)
    assert {path: after.get(path) for path in before} == before
    _, findings = check(output)
    assert not [finding.sentence for finding in findings if finding.damage]
    states = [record.state for record in runs.load(output)]
    assert states.count("finished") == len(after)
    assert set(states) <= {"finished", "cut"}
    return states.count("cut")


def assert_all_finished(output, gammas):
    after = finished(output)
    assert sorted(runs.check_finished(path)["science"]["learner"]["gamma"] for path in after) == gammas
    # Nothing torn; a process killed between its last status and the release of its claim leaves that, which is dead.
    left = {file.name for path in after for file in path.iterdir() if not file.name.startswith(".claim.")}
    assert left == {
        "run.json",
        "status.json",
        "checksums.json",
        "metrics.npz",
        "policies.safetensors",
        "crossplay.json",
        "crossplay.npz",
    }
    assert not any(owner(path) for path in after)


def wait_for(condition):
    """Until it holds; pytest's own limit ends it."""
    while not condition():
        time.sleep(0.005)


@pytest.mark.slow
def test_killed_in_the_middle_of_a_run_and_after_one(nursery, tacit, tiny_overrides, tmp_path):
    output, said = tmp_path / "runs", tmp_path / "said"
    command = [*sweep_of(tiny_overrides, output, GAMMAS[:2]), "execution.evaluations=0"]
    moments = [lambda: list(output.glob("*/run.json")), lambda: len(finished(output)) == 1]
    before, caught = {}, []
    for moment in moments:
        child = nursery.start(said, *command)
        wait_for(moment)
        os.kill(child, signal.SIGKILL)
        assert nursery.wait() == -signal.SIGKILL, said.read_text()
        caught.append(assert_nothing_lost(output, before))
        before = finished(output)
        if not before:
            (cut,) = (file.parent for file in output.glob("*/run.json"))
            refused = tacit("compare", cut)  # how many steps it had done is written only every ten seconds
            sentence = f"tacit: run {cut} is not finished: cut short after (0|32) steps\n"
            assert refused.status == 2 and re.fullmatch(sentence, refused.err)
    assert caught[0] == 1 and len(before) == 1
    nursery.start(said, *command)
    assert nursery.wait() == 0, said.read_text()
    assert_nothing_lost(output, before)
    assert_all_finished(output, GAMMAS[:2])


@pytest.mark.proof
@pytest.mark.timeout(900)
def test_killed_thirty_times(nursery, tiny_overrides, tmp_path):
    output, said = tmp_path / "runs", tmp_path / "said"
    command = [*sweep_of(tiny_overrides, output, GAMMAS), "execution.evaluations=0"]
    dice = random.Random(0)

    # Seconds to the end of the first run that a sweep makes, with all that is compiled for it; the next are quick.
    kills, cut, one_run = 0, 0, None
    while kills < 30:
        before = finished(output)
        began = time.monotonic()
        child = nursery.start(said, *command)
        end = began + 1.2 * one_run * dice.random() if one_run else float("inf")
        measured = False
        while time.monotonic() < end:
            if not measured and len(finished(output)) > len(before):
                one_run, measured = time.monotonic() - began, True
                end = min(end, time.monotonic() + 0.1 * one_run * dice.random())
            time.sleep(0.01)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        ended = nursery.wait()
        cut += assert_nothing_lost(output, before)
        if ended == 0:
            break  # the whole sweep was quicker
        assert ended == -signal.SIGKILL, said.read_text()
        kills += 1
    assert kills == 30, f"the sweep was over after {kills} kills"
    assert cut > 0  # some were caught in the middle of a run

    before = finished(output)
    nursery.start(said, *command)
    assert nursery.wait() == 0, said.read_text()
    assert_nothing_lost(output, before)
    assert_all_finished(output, GAMMAS)


@pytest.mark.slow
@pytest.mark.parametrize("number", [2, pytest.param(6, marks=pytest.mark.proof)])
def test_two_sweeps_on_one_folder_at_once(nursery, tacit, tiny_overrides, tmp_path, number):
    output = tmp_path / "runs"
    command = sweep_of(tiny_overrides, output, GAMMAS[:number])
    nursery.start(tmp_path / "other", *command)
    here = tacit(*command)
    ended = [nursery.wait(), here.status]
    said = [(tmp_path / "other").read_text(), here.out + here.err]
    done = [
        line for text in said for line in text.splitlines() if line.startswith("job ") and line.endswith("finished")
    ]
    assert len(finished(output)) == number, said
    # Every run was made by one of the two. A job may find its run finished, which takes no training.
    trained = [json.loads((path / "status.json").read_text())["process"] for path in finished(output)]
    assert len(set(trained)) <= 2
    assert len(done) >= number
    assert set(ended) <= {0, 1}
    for status, text in zip(ended, said, strict=True):
        assert "Traceback" not in text
        if status == 1:  # it ended while the other was still at work
            assert f"of {number} runs are finished" in text
    assert not list(output.glob("*/.claim*"))


DISK = 4 << 20
"""Bytes of a file system that is full soon."""


@pytest.fixture
def small_disk(tmp_path):
    """A file system of `DISK` bytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def one_sentence(said, *parts):
    assert said.status == 2
    assert said.err.startswith("tacit: ")
    assert said.err.count("\n") == 1
    for part in parts:
        assert part in said.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "room"),
    [
        pytest.param("beginning", 4 << 10, marks=pytest.mark.proof),
        ("checkpoint", 56 << 10),
        ("end", 32 << 10),
    ],
)
def test_a_full_disk(tacit, small_disk, where, room):
    output = small_disk / "runs"
    command = [
        "train",
        *tiny("learner.gamma=0.5", "execution.figures=false", "policy.torso=[64,64]"),
        f"execution.output={output}",
    ]
    # 80 KiB of policies, and three times as much in a checkpoint
    if where == "checkpoint":
        command.append("execution.checkpoint_minutes=1e-9")
    (small_disk / "ballast").write_bytes(bytes(DISK - room))
    one_sentence(tacit(*command), str(output), "No space left on device")
    statuses = [json.loads(file.read_text()) for file in output.glob("*/status.json")]
    assert all(status["state"] != "finished" for status in statuses)
    (small_disk / "ballast").unlink()
    said = tacit(*command)
    assert (said.status, said.err) == (0, "")  # what could not be written left nothing behind


@pytest.mark.slow
def test_a_folder_that_cannot_be_written(tacit, small_disk, a_run):
    output = small_disk / "runs"
    shutil.copytree(a_run, output / a_run.name)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    command = ["train", *tiny("learner.gamma=0.5", "execution.figures=false"), f"execution.output={output}"]
    one_sentence(tacit(*command), str(output), "Read-only file system")
    # What is there can be read.
    assert tacit("status", output).out.startswith("1 finished")
    assert tacit("runs", "check", output).status == 0


def test_a_run_that_was_copied_by_half(tacit, a_run):
    (a_run / "crossplay.json").unlink()
    (a_run / "metrics.npz").write_bytes((a_run / "metrics.npz").read_bytes()[:100])
    said = tacit("runs", "check", a_run.parent)
    assert said.status == 1
    assert "crossplay.json" in said.out and "metrics.npz" in said.out
    one_sentence(tacit("compare", a_run), "crossplay.json")
    assert runs.load(Path(a_run))[0].state == "damaged"


def test_a_run_whose_status_did_not_come_along(tacit, a_run):
    (a_run / "status.json").unlink()
    said = tacit("runs", "check", a_run.parent)
    assert said.status == 1
    assert "status.json" in said.out
    one_sentence(tacit("compare", a_run), "status.json")
