"""Long runs in pieces: stopped by time, by a signal or killed, and gone on with as if nothing had happened."""

import dataclasses
import json
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from experiments import run_piece, runs
from experiments.training import loop, memory
from experiments.training.job import run_job, run_one
from experiments.training.stopping import REQUEUE, Paused, Stopper
from games.errors import TacitError

TIMES = {"steps_per_second", "training_seconds"}
RECURRENT = {
    "policy": {
        "_target_": "marl.policies.recurrent.Recurrent", "torso": [8], "memory": 8, "actor": [], "critic": [],
    },
    "game": {"_target_": "games.hanabi.make", "preset": "Hanabi-2x3", "players": 2},
    "learner.rollout_length": 12,
    "budget.steps": 30 * 8 * 12,
}  # fmt: skip
SMALL_RECURRENT = {  # games of three steps are in progress after four
    "policy": RECURRENT["policy"],
    "game": {"_target_": "games.tabular.library.dectiger.make", "horizon": 3},
}


@pytest.fixture(autouse=True)
def short_calls(monkeypatch):
    """One update in a compiled call, so that there are many places to stop at."""
    monkeypatch.setattr(loop, "_CALL_SECONDS", 0.0)


@pytest.fixture(scope="module")
def many(make_job):
    """many(output, changes) -> a job of two runs with 30 updates in 4 rows, games in progress between updates."""

    def make(output, changes=()):
        shared = {
            "learner.entropy_coef": [0.01, 0.1], "learner.anneal": "linear", "budget.steps": 30 * 32,
            "execution.rows": 4, "execution.evaluations": 3,
        }  # fmt: skip
        return make_job(output, shared | dict(changes))

    return make


ALONE = {"learner.entropy_coef": 0.01}


@pytest.fixture(scope="module")
def whole(many, tmp_path_factory):
    """The first of the two runs, alone and not interrupted. Tests only read it."""
    (path,) = run_job(many(tmp_path_factory.mktemp("whole"), ALONE))
    return path


def stop_after(calls, number=signal.SIGUSR1):
    """A reporter that sends this process a signal after some compiled calls."""
    seen = []

    def report(progress):
        if progress.stage == "training":
            seen.append(progress.done)
            if len(seen) == calls:
                os.kill(os.getpid(), number)

    return report


def status_of(path):
    return json.loads((path / "status.json").read_text())


def assert_same_run(one, other):
    """Equal bits in the policies, the metrics but for the times, and the cross-play."""
    weights, others = (load_file(path / "policies.safetensors") for path in (one, other))
    assert weights.keys() == others.keys()
    for name in weights:
        assert weights[name].tobytes() == others[name].tobytes(), name
    metrics, others = runs.read_metrics(one), runs.read_metrics(other)
    assert metrics.keys() == others.keys()
    for name in metrics.keys() - TIMES:
        assert metrics[name].dtype == others[name].dtype, name
        assert metrics[name].tobytes() == others[name].tobytes(), name
    assert (one / "crossplay.json").read_bytes() == (other / "crossplay.json").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="feed_forward", marks=pytest.mark.proof),
        pytest.param(SMALL_RECURRENT, id="recurrent"),
        pytest.param(RECURRENT, id="hanabi", marks=pytest.mark.proof),
    ],
)
def test_three_pieces_are_the_uninterrupted_run(many, tmp_path, changes):
    whole = run_job(many(tmp_path / "whole", changes))
    job = many(tmp_path / "pieces", changes)
    steps = job.runs[0].built.learner.steps_per_update
    paths = [tmp_path / "pieces" / run.name() for run in job.runs]
    # In the middle of a row, which has 8 updates, and at its end.
    for calls, done in [(5, 5), (11, 16)]:
        with pytest.raises(
            Paused, match=f"stopped by SIGUSR1 after {done * steps:,} of {30 * steps:,} steps a seed"
        ) as end:
            run_job(job, report=stop_after(calls))
        assert end.value.status == 130
        for path in paths:
            assert (status_of(path)["state"], status_of(path)["steps"]) == ("interrupted", done * steps)
            assert runs.read_metrics(path)["steps"].tolist() == [8 * steps * (row + 1) for row in range(done // 8)]
    began = []
    assert run_job(job, report=lambda progress: began.append(progress.done)) == paths
    assert began[0] == 16 * steps
    for path, other in zip(paths, whole, strict=True):
        assert_same_run(path, other)
        assert not (path / "checkpoints").exists()


@pytest.mark.slow
def test_the_size_of_calls_changes_nothing(many, tmp_path, monkeypatch):
    one_by_one = run_job(many(tmp_path / "short"))
    monkeypatch.setattr(loop, "_CALL_SECONDS", 100.0)
    for path, other in zip(run_job(many(tmp_path / "long")), one_by_one, strict=True):
        assert_same_run(path, other)


@pytest.mark.slow
def test_runs_that_stand_elsewhere_go_on_from_there(many, whole, tmp_path):
    with pytest.raises(Paused):
        run_job(many(tmp_path, ALONE), report=stop_after(10))
    stages = []
    paths = run_job(many(tmp_path), report=lambda progress: stages.append((progress.stage, progress.done)))
    assert [done for stage, done in stages if stage == "compiling"] == [10 * 32, 0]
    assert all(status_of(path)["state"] == "finished" for path in paths)
    assert_same_run(paths[0], whole)


@pytest.mark.slow
def test_time_used_up(tacit, tiny_overrides, tmp_path, make_job):
    coefficients = "learner.entropy_coef=[0.01,0.1]"
    arguments = [*tiny_overrides, f"execution.output={tmp_path}", coefficients, "budget.minutes=1e-9"]
    job = make_job(tmp_path, {"learner.entropy_coef": [0.01, 0.1]})
    first, second = (tmp_path / run.name() for run in job.runs)
    # A piece does at least one compiled call, and at the end the cross-play of each run is a piece of its own.
    where = ["after 32 of 64 steps a seed", *(f"before the cross-play of run {path.name}" for path in (first, second))]
    for place in where:
        said = tacit("train", *arguments)
        assert (said.status, said.out) == (75, "")
        assert said.err == f"tacit: budget.minutes=1e-09 used up {place}; the same command goes on from there\n"
        assert status_of(second)["reason"] == said.err.removeprefix("tacit: ").strip()
    said = tacit("train", *arguments)
    assert said.status == 0
    assert "entropy_coef 0.1 − 0.01" in said.out
    for path in (first, second):
        assert status_of(path)["state"] == "finished"
        assert (path / "crossplay.png").exists() and (path / "learning_curves.png").exists()


@pytest.mark.slow
def test_run_piece_in_pieces(plain, tmp_path, capsys):
    config = tmp_path / "config.json"
    config.write_text(json.dumps(plain({"budget.minutes": 1e-9})))
    statuses = [run_piece.main([str(config), str(tmp_path / "run")]) for _ in range(4)]
    assert statuses == [75, 75, 0, 0]
    assert "budget.minutes=1e-09 used up after 32 of 64 steps a seed" in capsys.readouterr().err


@pytest.mark.proof
@pytest.mark.timeout(300)
def test_the_full_experiment_in_pieces(tacit, tmp_path):
    tiny = [
        "experiment=hanabi_full", "learner.num_games=2", "learner.rollout_length=4", "learner.epochs=1",
        "learner.minibatches=1", "policy.torso=[4]", "policy.memory=4", "policy.actor=[]", "policy.critic=[]",
        "seeds=2", "learner.entropy_coef=[0.01,0.1]", "budget.steps=16", "crossplay.games=1", "execution.evaluations=0",
        "execution.progress=false", "budget.minutes=1e-9", f"execution.output={tmp_path}",
    ]  # fmt: skip
    ends = []
    while not ends or ends[-1].status == 75:
        ends.append(tacit("train", *tiny))
    assert [end.status for end in ends] == [75, 75, 75, 0]  # two updates, and two runs to cross-play
    assert "used up after 8 of 16 steps a seed" in ends[0].err
    assert "before the cross-play of run" in ends[2].err
    assert "entropy_coef 0.1 − 0.01" in ends[3].out
    paths = [path for path in tmp_path.iterdir() if (path / "run.json").exists()]
    assert len(paths) == 2
    for path in paths:
        assert status_of(path)["state"] == "finished"
        assert (path / "crossplay.png").exists() and (path / "learning_curves.png").exists()


@pytest.mark.slow
def test_a_damaged_checkpoint_is_passed_over(many, whole, tmp_path):
    job = many(tmp_path / "run", ALONE)
    (path,) = (tmp_path / "run" / run.name() for run in job.runs)
    for calls in (4, 6):
        with pytest.raises(Paused):
            run_job(job, report=stop_after(calls))
    newest = max((path / "checkpoints").iterdir(), key=number_of)
    os.truncate(newest, newest.stat().st_size // 2)
    said, began = [], []
    run_job(job, report=lambda progress: began.append(progress.done), warn=said.append)
    assert began[0] == 4 * 32
    assert len(said) == 1
    assert str(newest) in said[0]
    assert_same_run(path, whole)


@pytest.mark.slow
def test_overwriting_begins_anew(many, tmp_path):
    with pytest.raises(Paused):
        run_job(many(tmp_path), report=stop_after(4))
    began = []
    run_job(many(tmp_path, {"execution.overwrite": True}), report=lambda progress: began.append(progress.done))
    assert began[0] == 0


@pytest.mark.slow
def test_a_checkpoint_of_another_configuration_is_refused(many, tmp_path):
    path = tmp_path / "run"
    with pytest.raises(Paused):
        run_one(many(tmp_path, ALONE), path, report=stop_after(4))
    other = many(tmp_path, {**ALONE, "learner.gamma": 0.5})
    described = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps(described | {"name": other.runs[0].name()}))
    kept = sorted((path / "checkpoints").iterdir())
    with pytest.raises(TacitError, match=r"gamma.*0\.5") as refused:
        run_one(other, path)
    assert str(path) in str(refused.value)
    assert status_of(path)["state"] == "failed"
    assert sorted((path / "checkpoints").iterdir()) == kept


@pytest.mark.slow
def test_divergence_names_the_update_and_keeps_the_last_checkpoint(many, tmp_path, monkeypatch):
    job = many(tmp_path, ALONE)
    with pytest.raises(Paused):
        run_job(job, report=stop_after(7))
    (path,) = (tmp_path / run.name() for run in job.runs)
    kept = sorted((path / "checkpoints").iterdir())
    # As if the weights had been spoilt since: the next loss is not finite.
    load = loop.checkpoints.load

    def spoilt(*arguments, **keywords):
        found = load(*arguments, **keywords)
        state, metrics = found.state
        second = np.arange(2) == 1
        params = jax.tree.map(
            lambda leaf: np.where(second.reshape(2, *[1] * (leaf.ndim - 1)), np.nan, leaf), state.params
        )
        return found._replace(state=(state._replace(params=params), metrics))

    monkeypatch.setattr(loop.checkpoints, "load", spoilt)
    sentence = rf"training diverged: the loss of seed 1 in run {path.name} is not finite in update 8 of 30"
    with pytest.raises(TacitError, match=sentence):
        run_job(job)
    assert status_of(path)["state"] == "failed"
    assert sorted((path / "checkpoints").iterdir()) == kept
    monkeypatch.undo()
    run_job(job)
    assert status_of(path)["state"] == "finished"


def test_a_requeue_is_asked_for_whatever_signal_comes_after_it():
    asked = []
    former = signal.signal(REQUEUE, lambda number, _: asked.append(number))
    try:
        with pytest.raises(Paused, match="stopped by SIGTERM here"), Stopper(None) as stopper:
            for number in (REQUEUE, signal.SIGTERM):
                os.kill(os.getpid(), number)
            assert stopper.stop()
            raise stopper.pause("here")
    finally:
        signal.signal(REQUEUE, former)
    assert asked == [REQUEUE]


def test_signals_only_leave_a_note(capfd):
    before = signal.getsignal(signal.SIGTERM)
    with Stopper(None) as stopper:
        assert not stopper.stop(1e9)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stopper.stop()
        assert stopper.seconds_left() == 0
        assert "SIGTERM" in str(stopper.pause("here"))
        with pytest.raises(KeyboardInterrupt):  # who presses Ctrl-C now has waited long enough
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) == before
    said = "stopping when what is being compiled or played is done; Ctrl-C again stops at once"
    assert capfd.readouterr().err == f"tacit: SIGTERM: {said}\n"


def test_a_signal_counts_where_nobody_reads_the_note():
    """As after Ctrl-C in `tacit train 2>&1 | tee log`, which ends tee, too."""
    read, write = os.pipe()
    os.close(read)
    kept = os.dup(2)
    try:
        os.dup2(write, 2)
        with Stopper(None) as stopper:
            os.kill(os.getpid(), signal.SIGINT)
            assert stopper.stop()
            assert stopper.pause("here").status == 130
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(write)


def test_time_left():
    with Stopper(1.0) as stopper:
        assert not stopper.stop(50)
        assert stopper.stop(70)
        assert 50 < stopper.seconds_left() <= 60


@pytest.mark.slow
def test_what_does_not_fit_is_refused_before_it_compiles(many, tmp_path, monkeypatch):
    job = many(tmp_path, {"learner.num_games": 64, "budget.steps": 64 * 32})
    learner = job.runs[0].built.learner
    room = 4 * dataclasses.replace(learner, num_games=16).peak_bytes()
    monkeypatch.setattr(memory, "memory_of", lambda device: room)
    stages = []
    sentence = r"4 learners with 64 games of 4 steps need about .* learner\.num_games=16 would fit"
    with pytest.raises(TacitError, match=sentence):
        run_job(job, report=lambda progress: stages.append(progress.stage))
    assert stages == []


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, pytest.param(RECURRENT, marks=pytest.mark.proof)], ids=["lever", "hanabi"])
def test_the_estimate_is_near_what_the_compiler_says(many, tmp_path, changes):
    """On a CPU the compiler reuses memory less than on a GPU; within a factor of two either way is asked for."""
    learner = many(tmp_path, {**changes, "learner.num_games": 256, "budget.steps": 1e6}).runs[0].built.learner
    state = jax.eval_shape(lambda: learner.init(learner.hyperparameters(), key=jax.random.key(0)))
    analysis = jax.jit(learner.update).lower(state).compile().memory_analysis()
    said = analysis.temp_size_in_bytes + analysis.argument_size_in_bytes
    assert 0.5 < learner.peak_bytes() / said < 2, (learner.peak_bytes(), said)


def test_a_full_device_is_one_sentence():
    error = memory.out_of_memory(RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 99 bytes.\nmore"))
    assert "learner.num_games" in str(error)
    assert "allocating 99 bytes" in str(error)
    assert "more" not in str(error)
    assert memory.out_of_memory(RuntimeError("INVALID_ARGUMENT")) is None


@pytest.mark.slow
def test_more_devices_than_there_are(many, tmp_path):
    there_are = len(jax.devices())
    with pytest.raises(TacitError, match=rf"execution\.devices must be at most the {there_are} that there are, not 99"):
        run_job(many(tmp_path, {"execution.devices": 99}))


# Imports once and then trains in forks, which begin before jax has started anything.
STARTER = """
import json, os, sys
from pathlib import Path
import experiments.training.job
from experiments import run_piece
from experiments.training import loop

loop._CALL_SECONDS = 0.0
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        os.close(0)
        os._exit(run_piece.main(line.split()))
    print("child", child, flush=True)
    os.waitpid(child, 0)
    print("ended", flush=True)
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("kills", "updates"), [(2, 30), pytest.param(6, 400, marks=pytest.mark.proof)], ids=["chosen moments", "any moment"]
)
def test_killed_again_and_again(plain, many, tmp_path, kills, updates):
    config, path = tmp_path / "config.json", tmp_path / "run"
    changes = {
        "learner.entropy_coef": 0.01, "learner.anneal": "linear", "budget.steps": updates * 32, "execution.rows": 4,
        "execution.evaluations": 0, "execution.checkpoint_minutes": 1e-9,
    }  # fmt: skip
    config.write_text(json.dumps(plain(changes)))
    command = [sys.executable, "-c", STARTER]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    starter = subprocess.Popen(command, **pipes, text=True, cwd=Path(__file__).parents[3])
    lines: queue.Queue = queue.Queue()
    threading.Thread(target=lambda: [lines.put(line) for line in starter.stdout], daemon=True).start()
    generator, reached = random.Random(0), [0]

    def newest():
        return max(map(number_of, (path / "checkpoints").glob("[0-9]*")), default=0)

    try:
        for _ in range(kills):
            print(config, path, file=starter.stdin, flush=True)
            child = int(read_until(lines, "child").split()[1])
            read_until(lines, "training")
            if kills == 2:
                while newest() < reached[-1] + 4:
                    time.sleep(0.005)
            else:
                time.sleep(generator.uniform(0, 0.3))
            os.kill(child, signal.SIGKILL)
            read_until(lines, "ended")
            reached.append(newest())
            assert status_of(path)["state"] == "running"  # nobody was left to say otherwise
        assert reached == sorted(reached)  # nothing that was saved is ever lost
        assert reached[-1] > 6
        print(config, path, file=starter.stdin, flush=True)
        read_until(lines, "ended", seconds=120)
    finally:
        starter.kill()
        starter.communicate()
    assert status_of(path)["state"] == "finished", status_of(path)
    (whole,) = run_job(many(tmp_path / "whole", changes))
    assert_same_run(path, whole)


def number_of(checkpoint):
    return int(checkpoint.name.partition("-")[0])


def read_until(lines, word, seconds=60):
    """The next line that holds `word`."""
    deadline = time.monotonic() + seconds
    while word not in (line := lines.get(timeout=max(0.0, deadline - time.monotonic()))):
        pass
    return line
