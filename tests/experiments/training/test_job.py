"""Jobs: many runs in one program, finished runs are kept, interrupted ones start again."""

import contextlib
import dataclasses
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from experiments import runs
from experiments.configuration.config import JobConfig
from experiments.runs import claims
from experiments.training import loop
from experiments.training.job import run_job
from games.errors import TacitError
from tests.command_line import tiny

BOTH = {"learner.entropy_coef": [0.01, 0.1]}


def bytes_of(path):
    return {file.name: file.read_bytes() for file in path.iterdir()}


def status_of(path):
    return json.loads((path / "status.json").read_text())


def weights(path):
    return load_file(path / "policies.safetensors")


def largest_difference(one, other):
    assert one.keys() == other.keys()
    return max(float(np.abs(one[name] - other[name]).max()) for name in one)


def test_every_run_of_a_job_has_its_own_metrics(finished_runs):
    for path, coefficient in zip(finished_runs, BOTH["learner.entropy_coef"], strict=True):
        np.testing.assert_allclose(runs.read_metrics(path)["entropy_coef"], coefficient, rtol=1e-6)


@pytest.mark.slow
def test_five_coefficients_compile_once_and_give_five_directories(make_job, tmp_path, monkeypatch, caplog):
    traced = []
    updates = loop.updates

    def counting(learner, state, metrics, count):
        traced.append(1)
        return updates(learner, state, metrics, count)

    monkeypatch.setattr(loop, "updates", counting)
    coefficients = [0.0, 0.01, 0.03, 0.1, 0.3]
    # 7 updates in rows of 3, 3 and 1: the number of updates in a call does not compile again either
    changes = {"learner.entropy_coef": coefficients, "budget.steps": 7 * 32, "execution.rows": 3}
    with jax.log_compiles(), caplog.at_level(logging.WARNING, logger="jax"):
        paths = run_job(make_job(tmp_path, changes))
    assert len(traced) == 1
    compiled = [r.getMessage() for r in caplog.records if r.getMessage().startswith("Compiling jit(in_turn)")]
    assert len(compiled) == 1, compiled
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert len(set(paths)) == 5
    for path, coefficient in zip(paths, coefficients, strict=True):
        science = runs.check_finished(path)["science"]
        assert science["learner"]["entropy_coef"] == coefficient
        assert runs.read_metrics(path)["steps"].tolist() == [96, 192, 224]
        assert len(runs.read_run(path).agents) == 2
    learned = [weights(path) for path in paths]
    assert all(largest_difference(learned[0], other) > 1e-4 for other in learned[1:])


@pytest.mark.slow
def test_a_run_beside_others_is_the_run_alone(make_job, finished_runs, tmp_path):
    # XLA vectorises another number of learners in another way. Seen on a CPU: equal bits beside two others, 3e-8 beside
    # eight. In a long training such a difference can turn a sampled action, and from there on the two go different
    # ways: no bits are promised, and the two are equally good samples of the same run.
    for path, coefficient in zip(finished_runs, BOTH["learner.entropy_coef"], strict=True):
        (alone,) = run_job(make_job(tmp_path, {"learner.entropy_coef": coefficient}))
        assert alone.name == path.name
        assert largest_difference(weights(alone), weights(path)) < 1e-5


@pytest.mark.slow
def test_a_seeds_number_alone_decides_its_randomness(make_job, finished_runs, tmp_path):
    changes = {"learner.entropy_coef": 0.01, "seeds": 2, "first_seed": 1}
    (path,) = run_job(make_job(tmp_path, changes))
    later, first = weights(path), weights(finished_runs[0])
    seed_1 = {name: leaf[0] for name, leaf in later.items()}
    assert largest_difference(seed_1, {name: leaf[1] for name, leaf in first.items()}) < 1e-5
    assert largest_difference(seed_1, {name: leaf[0] for name, leaf in first.items()}) > 1e-3
    assert [agent.label for agent in runs.read_run(path).agents] == [f"{path.name[:6]}/1", f"{path.name[:6]}/2"]


@pytest.mark.slow
def test_a_finished_run_is_kept_and_overwritten_only_on_request(make_job, a_run):
    # finished_runs[0], a_run and this job are one run
    job = make_job(a_run.parent, {"learner.entropy_coef": 0.01})
    before, at = bytes_of(a_run), {file: file.stat().st_mtime_ns for file in a_run.iterdir()}
    stages = []
    assert run_job(job, report=lambda progress: stages.append(progress.stage)) == [a_run]
    assert stages == []
    assert bytes_of(a_run) == before
    assert {file: file.stat().st_mtime_ns for file in a_run.iterdir()} == at

    again = dataclasses.replace(job, execution=dataclasses.replace(job.execution, overwrite=True))
    run_job(again, report=lambda progress: stages.append(progress.stage))
    assert "training" in stages
    after = bytes_of(a_run)
    assert status_of(a_run)["state"] == "finished"
    assert (a_run / "policies.safetensors").stat().st_mtime_ns > at[a_run / "policies.safetensors"]
    # The figures of the run before are gone: the command line draws them anew.
    assert set(before) - set(after) == {"crossplay.png", "crossplay.svg", "learning_curves.png", "learning_curves.svg"}


@pytest.mark.slow
def test_overwriting_draws_the_figures_again(tacit, tiny_overrides, a_run):
    figure = a_run / "crossplay.svg"
    figure.write_text("of a run before")
    output = f"execution.output={a_run.parent}"
    said = tacit("train", *tiny_overrides, output, "learner.entropy_coef=0.01")
    assert (said.status, figure.read_text()) == (0, "of a run before")
    said = tacit("train", *tiny_overrides, output, "learner.entropy_coef=0.01", "execution.overwrite=true")
    assert said.status == 0
    assert figure.read_text().startswith("<?xml")


@contextlib.contextmanager
def stopped_at(stage, error=KeyboardInterrupt, after=0):
    seen = []

    def report(progress):
        seen.append(progress.stage)
        if sum(one.startswith(stage) for one in seen) > after:
            raise error

    with pytest.raises(error if isinstance(error, type) else type(error)):
        yield report


@pytest.mark.slow
def test_interrupted_in_training(make_job, finished_runs, tacit, tmp_path):
    job = make_job(tmp_path, BOTH)
    paths = [tmp_path / path.name for path in finished_runs]
    with stopped_at("compiling") as report:
        run_job(job, report=report)
    assert [status_of(path)["steps"] for path in paths] == [0, 0]
    with stopped_at("training") as report:
        run_job(job, report=report)
    for path in paths:
        status = status_of(path)
        assert (status["state"], status["steps"]) == ("interrupted", 32)
        assert status["reason"]
        assert runs.read_metrics(path)["steps"].tolist() == [32]
        assert not (path / "policies.safetensors").exists()
        for command in ("crossplay", "compare"):
            said = tacit(command, path)
            assert said.status == 2
            reason = f"run {path} is not finished: interrupted (stopped from outside) after 32 steps"
            assert said.err == f"tacit: {reason}\n"
    # The same command starts it again, and nothing shows that it was ever interrupted.
    assert run_job(job) == paths
    for path, whole in zip(paths, finished_runs, strict=True):
        runs.check_finished(path)
        assert largest_difference(weights(path), weights(whole)) == 0
        assert (path / "crossplay.json").read_bytes() == (whole / "crossplay.json").read_bytes()


@pytest.mark.slow
def test_interrupted_between_the_runs_of_a_job(make_job, finished_runs, tmp_path):
    job = make_job(tmp_path, BOTH)
    first, second = (tmp_path / path.name for path in finished_runs)
    with stopped_at("cross-play", after=1) as report:
        run_job(job, report=report)
    assert [status_of(path)["state"] for path in (first, second)] == ["finished", "interrupted"]
    kept = bytes_of(first)
    run_job(job)
    assert bytes_of(first) == kept
    runs.check_finished(second)
    assert largest_difference(weights(second), weights(finished_runs[1])) < 1e-5


@pytest.mark.slow
def test_an_error_is_written_down(make_job, tmp_path, tacit):
    job = make_job(tmp_path)
    with stopped_at("training", MemoryError("no room")) as report:
        run_job(job, report=report)
    (path,) = tmp_path.iterdir()
    assert status_of(path)["state"] == "failed"
    assert status_of(path)["reason"] == "MemoryError: no room"
    said = tacit("compare", path)
    assert said.err == f"tacit: run {path} is not finished: failed (MemoryError: no room) after 32 steps\n"


@pytest.mark.slow
def test_diverged_training_is_one_sentence(tacit, tmp_path):
    output = f"execution.output={tmp_path}"
    said = tacit("train", *tiny(output, "learner.learning_rate=1e30"))
    (path,) = tmp_path.iterdir()
    assert said.status == 2
    assert said.out == ""
    assert said.err == (
        f"tacit: training diverged: the loss of seed 0 in run {path.name} is not finite in update 2 of 2; "
        "a smaller learner.learning_rate may help\n"
    )
    assert status_of(path)["state"] == "failed"
    assert "diverged" in status_of(path)["reason"]


@pytest.fixture
def another_process():
    process = subprocess.Popen(["sleep", "100"])
    yield process.pid
    process.kill()
    process.wait()


def write_running(path, process, host=None, seconds_ago=0.0):
    """What a process that trains a run has in its directory."""
    host = host or socket.gethostname()
    status = status_of(path) | {"state": "running", "process": process, "host": host}
    (path / "status.json").write_text(json.dumps(status))
    began = "" if host == "elsewhere" else Path(f"/proc/{process}/stat").read_text().split()[21]
    owner = {"host": host, "namespace": claims._me().namespace, "process": process, "began": began}
    claim = path / ".claim.1"
    claim.write_text(json.dumps(owner | {"job": "", "restarts": 0}))
    os.utime(claim, (time.time() - seconds_ago,) * 2)


def test_a_run_that_is_being_trained_is_left_alone(make_job, a_run, another_process):
    write_running(a_run, another_process)
    before = bytes_of(a_run)
    job = make_job(a_run.parent, {"learner.entropy_coef": 0.01, "execution.overwrite": True})
    with pytest.raises(TacitError, match=f"is being trained by process {another_process} on "):
        run_job(job)
    with pytest.raises(TacitError, match="is not finished: running after 64 steps"):
        runs.read_run(a_run)
    assert bytes_of(a_run) == before


def test_a_refused_job_does_not_touch_its_other_runs(make_job, finished_runs, a_run, another_process):
    other = a_run.parent / finished_runs[1].name
    other.mkdir()
    (other / "status.json").write_bytes((finished_runs[1] / "status.json").read_bytes())
    write_running(other, another_process)
    before = bytes_of(a_run)
    with pytest.raises(TacitError, match="is being trained"):
        run_job(make_job(a_run.parent, {**BOTH, "execution.overwrite": True}))
    assert bytes_of(a_run) == before


def test_an_interrupt_while_runs_are_claimed_gives_them_up(make_job, tmp_path, monkeypatch):
    job, claim = make_job(tmp_path, BOTH), runs.claim
    first, second = job.runs

    def interrupted(root, run, **options):
        if run == second:
            raise KeyboardInterrupt
        return claim(root, run, **options)

    monkeypatch.setattr(runs, "claim", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_job(job)
    status = status_of(tmp_path / first.name())
    assert (status["state"], status["reason"]) == ("interrupted", "stopped from outside")
    assert not list(tmp_path.glob("*/.claim.*"))


def test_another_machine_counts_as_at_work_while_it_gives_signs(a_run):
    run = runs.read_run(a_run).config
    write_running(a_run, 1, host="elsewhere")
    with pytest.raises(TacitError, match="is being trained by process 1 on elsewhere"):
        runs.claim(a_run.parent, run, overwrite=False)
    write_running(a_run, 1, host="elsewhere", seconds_ago=601)
    with pytest.raises(TacitError, match="is not finished: cut short after 64 steps"):
        runs.read_run(a_run)
    assert runs.claim(a_run.parent, run, overwrite=False) == a_run


def test_what_is_in_the_way_is_not_touched(make_job, finished_runs, tmp_path):
    job = make_job(tmp_path, {"learner.entropy_coef": 0.01})
    path = tmp_path / finished_runs[0].name
    path.write_text("a file of the user")
    with pytest.raises(TacitError, match="is in the way: a run directory belongs there"):
        run_job(job)
    assert path.read_text() == "a file of the user"
    path.unlink()
    path.mkdir()
    (path / "thesis.txt").write_text("of the user")
    with pytest.raises(TacitError, match="is in the way: it holds files"):
        run_job(job)
    assert bytes_of(path) == {"thesis.txt": b"of the user"}


# A training that waits where a chunk has ended, for a signal to come.
WAITING = """
import contextlib, os, select, signal, sys
from experiments import cli
from experiments.presentation import terminal

woken, wakes = os.pipe()
os.set_blocking(wakes, False)
signal.set_wakeup_fd(wakes)

@contextlib.contextmanager
def progress(*, show):
    def report(progress):
        if progress.stage == "training":
            print("training", flush=True)
            select.select([woken], [], [], 100)
    yield report

terminal.progress = progress
sys.argv = ["tacit", "train", *sys.argv[1:]]
cli.main()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "numbers",
    [
        pytest.param([signal.SIGTERM], id="SIGTERM"),
        pytest.param([signal.SIGTERM, signal.SIGKILL], marks=pytest.mark.proof, id="SIGTERM and SIGKILL"),
    ],
)
def test_signals(make_job, tiny_overrides, finished_runs, tacit, tmp_path, numbers):
    overrides = [*tiny_overrides, "learner.entropy_coef=0.01"]
    processes = {}
    for number in numbers:
        arguments = [*overrides, f"execution.output={tmp_path / number.name}"]
        command = [sys.executable, "-c", WAITING, *arguments]
        processes[number] = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    ended = {}
    try:
        for number, process in processes.items():
            assert process.stdout.readline() == "training\n"
            path = tmp_path / number.name / finished_runs[0].name
            assert status_of(path)["state"] == "running"
            with pytest.raises(TacitError, match="is being trained by process"):
                run_job(make_job(path.parent, {"learner.entropy_coef": 0.01}))
            os.kill(process.pid, number)
            ended[number] = process.communicate(timeout=60)
    finally:
        for process in processes.values():
            process.kill()
            process.wait()

    assert processes[signal.SIGTERM].returncode == 130
    sentence = "stopped by SIGTERM after 32 of 64 steps a seed; the same command goes on from there"
    out, err = ended[signal.SIGTERM]
    assert out == ""
    assert err.startswith("tacit: SIGTERM: stopping when ")
    assert err.endswith(f"; Ctrl-C again stops at once\ntacit: {sentence}\n")
    path = tmp_path / "SIGTERM" / finished_runs[0].name
    assert (status_of(path)["state"], status_of(path)["reason"]) == ("interrupted", sentence)

    if signal.SIGKILL in numbers:
        assert processes[signal.SIGKILL].returncode == -signal.SIGKILL
        path = tmp_path / "SIGKILL" / finished_runs[0].name
        assert status_of(path)["state"] == "running"
        said = tacit("compare", path)
        # How many it had done is written only every ten seconds.
        assert said.status == 2
        assert re.fullmatch(f"tacit: run {path} is not finished: cut short after (0|32) steps\n", said.err)

    for number in numbers:
        (path,) = run_job(make_job(tmp_path / number.name, {"learner.entropy_coef": 0.01}))
        runs.check_finished(path)
        assert largest_difference(weights(path), weights(finished_runs[0])) < 1e-5


def test_parsing_needs_no_output_folder(plain, tmp_path):
    JobConfig.parse(plain({"execution.output": str(tmp_path / "later")}))
    assert not list(tmp_path.iterdir())
