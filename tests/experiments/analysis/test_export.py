"""`tacit export`: what MLflow and TensorBoard read back, and that a second export changes nothing."""

import json
import os
import shutil
import sys
import warnings

import numpy as np
import pytest

from experiments import runs
from experiments.analysis import export
from games.errors import TacitError
from marl.crossplay.estimators import summarise

ROWS = 10


@pytest.fixture(scope="module")
def folder(synthetic_run, tmp_path_factory):
    """Two runs of the lever game, one of 3 players of it, and one that is not finished."""
    root = tmp_path_factory.mktemp("tracked")
    for gamma in (0.5, 0.9):
        synthetic_run(root, **{"learner.gamma": gamma})
    synthetic_run(root, state="failed", **{"learner.gamma": 0.1})
    return root


def run_with(folder, gamma):
    """The directory and the metrics of a run."""
    for path in folder.iterdir():
        if json.loads((path / "run.json").read_text())["science"]["learner"]["gamma"] == gamma:
            return path, runs.read_metrics(path)
    raise AssertionError(gamma)


def greedy(path):
    cells = runs.read_crossplay(path)["greedy"]
    return summarise(cells.seatings, cells.mean)


# --- MLflow ---


@pytest.fixture(scope="module")
def client_of():
    """client_of(output) -> MLflow's own client of the store in a folder."""
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow = pytest.importorskip("mlflow")
    return lambda output: mlflow.MlflowClient(f"sqlite:///{output}/mlflow.db")


@pytest.fixture(scope="module")
def store(folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("mlflow")
    return output, export.to_mlflow([folder], output)


def everything(client):
    """All that the store holds of live runs, by name."""
    found = {}
    for experiment in client.search_experiments():
        for run in client.search_runs([experiment.experiment_id]):
            history = {name: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]
                       for name in run.data.metrics}  # fmt: skip
            found[run.info.run_name] = (experiment.name, run.info.run_id, run.data.params, run.data.tags, history)
    return found


@pytest.mark.slow
def test_mlflow_reads_back_the_runs(folder, store, client_of):
    output, done = store
    path, metrics = run_with(folder, 0.5)
    assert sorted(done.written) == sorted(run_with(folder, gamma)[0].name for gamma in (0.5, 0.9))
    assert export.describe(done) == f"2 runs exported to sqlite:///{output}/mlflow.db"
    found = everything(client_of(output))
    assert sorted(found) == sorted(done.written)
    experiment, _, parameters, tags, history = found[path.name]
    assert (experiment, tags["tacit.run"], parameters["learner.gamma"], parameters["seeds"]) == (
        "lever", path.name, "0.5", "8",
    )  # fmt: skip
    means = (metrics["return_sum"] / metrics["count"]).mean(axis=1)
    assert [step for step, _ in history["train/return"]] == metrics["steps"].tolist()
    np.testing.assert_allclose([value for _, value in history["train/return"]], means, rtol=1e-6)
    np.testing.assert_allclose([v for _, v in history["train/loss"]], metrics["loss"].mean(axis=1), rtol=1e-6)
    assert [step for step, _ in history["evaluation/greedy_cross_play"]] == metrics["evaluation_steps"].tolist()
    xp = greedy(path).cross_play
    for name, value in [("greedy/xp", xp.mean), ("greedy/xp_low", xp.low), ("greedy/xp_se", xp.se)]:
        assert history[name] == [(64, pytest.approx(value))]


@pytest.mark.slow
def test_mlflow_again_changes_nothing_and_a_changed_run_is_replaced(folder, store, client_of, tmp_path):
    shutil.copytree(folder, tmp_path / "runs")
    shutil.copytree(store[0], tmp_path / "store")
    client = client_of(tmp_path / "store")
    before = everything(client)
    done = export.to_mlflow([tmp_path / "runs"], tmp_path / "store")
    assert (done.written, sorted(done.kept)) == ([], sorted(before))
    assert everything(client) == before
    assert export.describe(done).endswith("mlflow.db, 2 there already")

    path, metrics = run_with(tmp_path / "runs", 0.9)
    runs.write_metrics(path, metrics | {"loss": metrics["loss"] + 1})
    done = export.to_mlflow([tmp_path / "runs"], tmp_path / "store")
    after = everything(client)
    assert (done.written, sorted(after)) == ([path.name], sorted(before))
    (other,) = set(before) - {path.name}
    assert after[other] == before[other]
    assert after[path.name][1] != before[path.name][1]
    assert after[path.name][4]["train/loss"][0][1] == pytest.approx(before[path.name][4]["train/loss"][0][1] + 1)


# --- TensorBoard ---


def scalars(folder):
    """{tag: [(step, value)]} as TensorBoard's own reader has them."""
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    read = accumulators.EventAccumulator(str(folder), size_guidance={"tensors": 0})
    read.Reload()
    return {
        tag: [(event.step, float(event.tensor_proto.float_val[0])) for event in read.Tensors(tag)]
        for tag in read.Tags()["tensors"]
    }


def test_tensorboard_reads_back_the_runs(folder, tmp_path):
    done = export.to_tensorboard([folder], tmp_path)
    path, metrics = run_with(folder, 0.9)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(done.written)
    assert len(done.written) == 2
    found = scalars(tmp_path / path.name)
    assert [step for step, _ in found["train/entropy"]] == metrics["steps"].tolist()
    np.testing.assert_allclose([v for _, v in found["train/entropy"]], metrics["entropy"].mean(axis=1), rtol=1e-6)
    assert found["greedy/gap"] == [(64, pytest.approx(greedy(path).gap.mean))]
    science = json.loads((tmp_path / path.name / "tacit.json").read_text())["science"]
    assert science["learner"]["gamma"] == 0.9


def test_tensorboard_again_changes_nothing_and_a_changed_run_is_replaced(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "runs")
    output = tmp_path / "events"
    export.to_tensorboard([tmp_path / "runs"], output)
    before = {file: file.stat().st_mtime_ns for file in output.rglob("*")}
    done = export.to_tensorboard([tmp_path / "runs"], output)
    assert (done.written, len(done.kept)) == ([], 2)
    assert {file: file.stat().st_mtime_ns for file in output.rglob("*")} == before

    path, metrics = run_with(tmp_path / "runs", 0.5)
    old = scalars(output / path.name)["train/loss"]
    runs.write_metrics(path, metrics | {"loss": metrics["loss"] + 1})
    done = export.to_tensorboard([tmp_path / "runs"], output)
    assert done.written == [path.name]
    new = scalars(output / path.name)["train/loss"]
    assert new == [(step, pytest.approx(value + 1)) for step, value in old]

    (path / "crossplay.npz").unlink()  # and with it the errors
    assert export.to_tensorboard([tmp_path / "runs"], output).written == [path.name]

    shutil.rmtree(output / path.name)
    (output / path.name).mkdir()
    with pytest.raises(TacitError, match="is in the way"):
        export.to_tensorboard([tmp_path / "runs"], output)


def test_tensorboard_interrupted_leaves_nothing(folder, tmp_path, monkeypatch):
    def interrupted(record):
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "_scores", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export.to_tensorboard([folder], tmp_path)
    assert list(tmp_path.iterdir()) == []


# --- both ---


@pytest.mark.parametrize("tracker", export.TRACKERS)
def test_nothing_to_export(tracker, synthetic_run, tmp_path):
    path = synthetic_run(tmp_path, state="failed")
    with pytest.raises(TacitError, match="there is no finished training run in"):
        export.TRACKERS[tracker]([path], tmp_path / "output")
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize("tracker", export.TRACKERS)
def test_two_runs_of_one_name(tracker, synthetic_run, tmp_path):
    one, other = (synthetic_run(tmp_path / folder, seeds=2) for folder in ("one", "other"))
    assert [record.path for record in export._finished([tmp_path / "one", tmp_path / "other"])] == [one]
    runs.write_metrics(other, {**runs.read_metrics(other), "loss": np.ones((ROWS, 2), np.float32)})
    with pytest.raises(TacitError, match=f"^{one} and {other} have one name and different contents"):
        export.TRACKERS[tracker]([tmp_path / "one", tmp_path / "other"], tmp_path / "output")
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize("tracker", export.TRACKERS)
def test_a_missing_extra_is_named(tracker, folder, tmp_path, monkeypatch):
    for name in ("mlflow", "tensorboard", "tensorboard.summary"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(TacitError, match=rf"tacit export needs {tracker}: pip install 'tacit\[trackers\]'"):
        export.TRACKERS[tracker]([folder], tmp_path / "output")
