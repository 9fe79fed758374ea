"""A sweep makes what is not made yet, leaves what failed, and one job that fails does not stop the others."""

import contextlib
import itertools
import json
import re
import shutil
import subprocess
import sys

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from experiments import runs, train
from experiments.launching import compose, sweeps
from experiments.launching.sweeps import Composer
from games.errors import TacitError
from tests.command_line import printed_rows, tiny

pytestmark = pytest.mark.timeout(300)

SWEEP = ("-m", "learner.gamma=0.5,0.6,0.7", "execution.figures=false")


@pytest.fixture
def sweep(tacit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *more: tacit("train", *tiny(*SWEEP, *more))


@pytest.fixture(scope="module")
def finished_sweep(tacit, tmp_path_factory):
    """A folder in which the sweep was made. Tests only read it."""
    folder = tmp_path_factory.mktemp("swept")
    with contextlib.chdir(folder):
        said = tacit("train", *tiny(*SWEEP))
    assert (said.status, complaints(said)) == (0, [])
    return folder


@pytest.fixture
def swept(finished_sweep, make_job, tmp_path):
    """The directories of a finished sweep's runs, in a copy of it."""
    shutil.copytree(finished_sweep, tmp_path, dirs_exist_ok=True)
    return paths_of(make_job, tmp_path)


def paths_of(make_job, folder):
    jobs = [make_job("runs", {"learner.gamma": gamma}) for gamma in (0.5, 0.6, 0.7)]
    return [folder / "runs" / job.runs[0].name() for job in jobs]


def complaints(said):
    """What a sweep says on the standard error beside its size and how its jobs stand."""
    return [line for line in said.err.splitlines() if not re.match(r"sweep of \d+ job|job \d+: ", line)]


def jobs_of(said):
    """The gammas of the jobs that were begun."""
    begun = [line for line in said.err.splitlines() if line.startswith("job ") and not line.endswith("finished")]
    return [float(line.rpartition("=")[2]) for line in begun]


def set_status(path, **changes):
    status = json.loads((path / "status.json").read_text())
    (path / "status.json").write_text(json.dumps(status | changes))


def times(path):
    return {file.name: file.stat().st_mtime_ns for file in path.iterdir()}


@pytest.mark.slow
def test_a_finished_sweep_is_not_made_again(sweep, swept):
    before = [times(path) for path in swept]
    said = sweep()
    assert (said.status, complaints(said), jobs_of(said)) == (0, [], [])
    assert said.err.startswith("sweep of 3 jobs, 3 of them left out")
    assert said.out.count("table in ") == 1  # the table is shown all the same
    assert [times(path) for path in swept] == before
    said = sweep("crossplay.games=3", "crossplay.max_lanes=5")
    assert complaints(said) == [
        f"tacit: warning: 3 finished runs, such as runs/{swept[0].name}, keep their cross-play of before "
        "(games 8 instead of 3): tacit crossplay plays seeds anew, execution.overwrite=true makes runs again"
    ]
    assert jobs_of(sweep("execution.overwrite=true", "learner.gamma=0.5")) == [0.5]


def test_a_finished_run_whose_cross_play_should_be_another_is_named(
    tacit, tiny_overrides, finished, tmp_path, monkeypatch
):
    monkeypatch.chdir(shutil.copytree(finished[0], tmp_path / "here"))
    before = {path: path.read_bytes() for path in tmp_path.rglob("crossplay.json")}
    again = [*tiny_overrides, "learner.entropy_coef=[0.01,0.1]"]
    said = tacit("train", *again, "crossplay.seed=9", "crossplay.seating=distinct")
    assert said.status == 0
    assert "tacit: warning: 2 finished runs, such as " in said.err
    assert "(seating all instead of distinct, seed 0 instead of 9): tacit crossplay plays seeds anew" in said.err
    assert {path: path.read_bytes() for path in before} == before
    assert tacit("train", *again, "crossplay.max_lanes=7").err == ""  # it changes nothing


def test_each_run_is_compared_with_what_its_own_job_asked_for(finished_runs, make_job, a_run):
    """A sweep may ask for other games in other jobs; a damaged file is for others to name."""
    same, more = (make_job("runs", {"crossplay.games": games}) for games in (8, 50))
    first, second = finished_runs
    assert train.other_crossplay([(same, first), (same, second)]) == ""
    assert f"run {second} keeps its cross-play" in train.other_crossplay([(same, first), (more, second)])
    assert (
        train.other_crossplay([(make_job("runs", {"crossplay.max_seatings": 3, "crossplay.max_lanes": 7}), first)])
        == ""
    )
    distinct = {"crossplay.seating": "distinct"}
    kept = json.loads((a_run / "crossplay.json").read_text())
    (a_run / "crossplay.json").write_text(json.dumps(kept | {"settings": kept["settings"] | {"seating": "distinct"}}))
    assert train.other_crossplay([(make_job("runs", distinct), a_run)]) == ""
    fewer = make_job("runs", {**distinct, "crossplay.max_seatings": 3})
    assert "(max_seatings 200 instead of 3)" in train.other_crossplay([(fewer, a_run)])
    for damaged in ("{", '{"format": 1, "settings": 3}', "[]"):
        (a_run / "crossplay.json").write_text(damaged)
        assert train.other_crossplay([(more, a_run)]) == ""


@pytest.mark.slow
def test_what_was_cut_is_made_and_what_failed_only_when_asked(sweep, swept):
    set_status(swept[0], state="interrupted", reason="stopped by SIGTERM")
    set_status(swept[1], state="running")  # and nobody is at it
    set_status(swept[2], state="failed", reason="training diverged")
    said = sweep()
    assert jobs_of(said) == [0.5, 0.6]
    assert said.status == 1
    assert complaints(said) == [
        "tacit: 2 of 3 runs are finished, 1 failed: tacit status runs says why; "
        "execution.retry_failed=true tries what failed again"
    ]
    said = sweep("execution.retry_failed=true")
    assert (jobs_of(said), said.status, complaints(said)) == ([0.7], 0, [])
    assert [runs.read_status(path)["state"] for path in swept] == ["finished"] * 3


@pytest.mark.slow
def test_a_run_that_fails_leaves_the_others_alone(sweep, make_job, tmp_path, monkeypatch):
    from experiments import train

    def fails(config, **options):
        if config.runs[0].learner["gamma"] == 0.5:
            for run in config.runs:
                runs.claim(tmp_path / "runs", run, overwrite=False)
                runs.write_status(tmp_path / "runs" / run.name(), "failed", steps=0, reason="it rained")
            raise TacitError("it rained")
        if config.runs[0].learner["gamma"] == 0.6:
            raise ZeroDivisionError("a mistake of ours")
        return run_job(config, **options)

    run_job = train.run_job
    monkeypatch.setattr(train, "run_job", fails)
    said = sweep()
    assert jobs_of(said) == [0.5, 0.6, 0.7]
    assert said.status == 1
    assert complaints(said) == [
        "tacit: job learner.gamma=0.5: it rained",
        "tacit: job learner.gamma=0.6: ZeroDivisionError: a mistake of ours",
        "tacit: 1 of 3 runs are finished, 1 failed, 1 not begun: tacit status runs says why; "
        "execution.retry_failed=true tries what failed again",
    ]
    states = [runs.read_status(path) for path in paths_of(make_job, tmp_path)]
    assert [state and state["state"] for state in states] == ["failed", None, "finished"]


@pytest.mark.slow
def test_a_damaged_run_is_named_and_the_others_are_shown(sweep, swept):
    (swept[1] / "policies.safetensors").unlink()
    said = sweep()
    assert (said.status, jobs_of(said)) == (1, [])
    assert complaints(said) == [
        f"tacit: run runs/{swept[1].name} is damaged: it says that it is finished, and lacks policies.safetensors; "
        "copy it again, or make it again with execution.overwrite=true",
        "tacit: 2 of 3 runs are finished, 1 damaged: tacit status runs says why",
    ]
    assert said.out.count("table in ") == 1


@pytest.mark.slow
def test_another_run_in_a_runs_place_is_not_shown_as_it(sweep, swept):
    shutil.rmtree(swept[1])
    shutil.copytree(swept[0], swept[1])
    said = sweep()
    assert (said.status, jobs_of(said)) == (1, [])
    assert f"runs/{swept[1].name} is in the way: it holds run {swept[0].name}" in said.err
    assert "2 of 3 runs are finished, 1 damaged" in said.err
    assert "0.6" not in [cell for row in printed_rows(said.out) for cell in row]


@pytest.mark.slow
def test_a_coefficient_that_diverges_does_not_take_the_others_along(tacit, make_job, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rates = {"learner.learning_rate": [0.05, 1e38], "learner.gamma": 0.5}
    command = ["train", "-m", *tiny("learner.gamma=0.5", "execution.figures=false", "budget.steps=640")]
    said = tacit(*command, "learner.learning_rate=[0.05,1e38]")
    paths = [tmp_path / "runs" / run.name() for run in make_job("runs", {**rates, "budget.steps": 640}).runs]
    assert [runs.read_status(path)["state"] for path in paths] == ["finished", "failed"]
    assert f"in run {paths[1].name} is not finite" in said.err
    assert "1 of 2 runs are finished, 1 failed" in said.err
    failed = runs.read_status(paths[1])
    # One more coefficient: the one that failed is still left alone.
    said = tacit(*command, "learner.learning_rate=[0.05,1e38,0.01]")
    assert "2 of 3 runs are finished, 1 failed" in said.err
    assert runs.read_status(paths[1]) == failed


class _Dying:
    """A launcher that gives all up when it comes to a job whose process is killed."""

    def __init__(self, root, kills):
        self.root, self.kills, self.launched = root, dict(kills), []

    def launch(self, batch, initial_job_idx):
        self.launched.append([job[0] for job in batch])
        for (job,) in batch:
            path = self.root / job
            path.mkdir(exist_ok=True)
            runs.write_status(path, "running", steps=0)
            if self.kills.get(job, 0):
                self.kills[job] -= 1
                raise RuntimeError("a worker process\nwas killed")
            runs.write_status(path, "finished", steps=0)
        return [JobReturn(status=JobStatus.COMPLETED) for _ in batch]


def test_jobs_whose_launcher_gave_up_are_launched_again(tmp_path):
    launcher = _Dying(tmp_path, {"b": 1, "c": 2})
    ended = sweeps._launched(launcher, [((job,), [tmp_path / job]) for job in "abcd"], 0)
    assert launcher.launched == [["a", "b", "c", "d"], ["b", "c", "d"], ["c", "d"], ["d"]]
    assert [one.status for one in ended] == [JobStatus.COMPLETED] * 2 + [JobStatus.FAILED, JobStatus.COMPLETED]
    assert str(ended[2]._return_value) == "its process was lost: RuntimeError: a worker process was killed"


def test_a_launcher_that_does_not_work_is_not_asked_again(tmp_path):
    class Broken:
        def launch(self, batch, initial_job_idx):
            raise OSError("no more processes")

    ended = sweeps._launched(Broken(), [((job,), [tmp_path / job]) for job in "ab"], 0)
    assert [str(one._return_value) for one in ended] == ["its process was lost: OSError: no more processes"] * 2


@pytest.mark.slow
def test_runs_of_other_versions_are_kept_with_a_warning(sweep, swept):
    file = swept[2] / "run.json"
    plain = json.loads(file.read_text())
    plain["versions"]["jax"] = "0.4.0"
    file.write_text(json.dumps(plain))
    said = sweep()
    assert (said.status, jobs_of(said)) == (0, [])
    assert complaints(said)[0].startswith("tacit: warning: 1 of these runs were made with other versions of jax")
    assert swept[2].name in said.err


@pytest.mark.slow
def test_a_sweep_without_an_end_is_refused(tacit, tiny_overrides, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = tacit("train", "-m", *tiny_overrides, "learner.gamma=interval(0,1)")
    assert said.status == 2
    assert "learner.gamma=interval(0,1) has no end: give choices" in said.err
    assert not list(tmp_path.glob("runs/*/run.json"))


def test_of_several_values_for_a_key_the_last_ones_count():
    """Also where hydra must not see the key before it knows the game."""
    given = ["game=dectiger,grid_small", "game.horizon=2", "game.horizon=3,4", "seeds=2"]
    parsed = OverridesParser.create().parse_overrides(given)
    found = compose._overrides_for_hydra(parsed)
    assert found == ["game=dectiger,grid_small", "game.horizon=choice(2)", "game.horizon=3,4", "seeds=2"]


@pytest.mark.slow
def test_jobs_are_composed_as_hydra_does():
    choices = [
        ["game=lever", "game=dectiger"],
        ["learner.gamma=0.5", "learner.gamma=0.6"],
        ["learner.entropy_coef=[0.1,0.2]", "learner.entropy_coef=0.3"],
        ["policy.torso=[4]"],
        ["budget.minutes=1", "budget.minutes=null"],
        ["policy=feed_forward", "policy=recurrent"],
        ["++learner.own='a b'"],
    ]
    with hydra.initialize_config_module("conf", version_base="1.3"):
        loader, config = GlobalHydra.instance().config_loader(), hydra.compose("config", return_hydra_config=True)
        compose = Composer(loader, config)
        for job in itertools.product(*choices):
            theirs = OmegaConf.to_container(loader.load_sweep_config(config, list(job)), resolve=False)
            theirs.pop("hydra")
            assert OmegaConf.to_container(compose(job)) == theirs, job


@pytest.mark.proof
@pytest.mark.timeout(300)
def test_local_processes(make_job, tmp_path):
    command = [sys.executable, "-c", "from experiments import cli; cli.main()", "train", *tiny(*SWEEP)]
    said = subprocess.run([*command, "hydra/launcher=local"], cwd=tmp_path, capture_output=True, text=True, timeout=280)
    assert (said.returncode, "tacit:" in said.stderr) == (0, False)
    ended = {line for line in said.stderr.splitlines() if line.endswith(": finished")}
    assert ended == {f"job {number}: learner.gamma={gamma}: finished" for number, gamma in enumerate((0.5, 0.6, 0.7))}
    assert said.stdout.count("table in ") == 1
    assert all(runs.is_finished(path) for path in paths_of(make_job, tmp_path))
