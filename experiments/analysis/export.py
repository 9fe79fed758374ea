"""`tacit export mlflow|tensorboard DIR …`: export finished training runs to MLflow or TensorBoard.

Exporters only read run directories. A second export writes only runs that have changed: every exported run has a stamp,
the hash of the files it was made from.

    mlflow        OUTPUT/mlflow.db, a SQLite store; an experiment for each game, a run for each run, found by the tag
                  tacit.run: the science as parameters, curves and final scores as metrics
    tensorboard   OUTPUT/RUN/, an event file with the same curves and scores, beside tacit.json with the science
"""

import contextlib
import datetime
import hashlib
import importlib
import json
import logging
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from experiments import runs
from experiments.runs.collection import load
from experiments.runs.record import Record
from games.errors import TacitError

_FORMAT = 1
"""The version of the export format; part of the stamp."""
_FILES = ("run.json", "metrics.npz", "crossplay.json", "crossplay.npz")
"""The files that an export is made from; older runs lack the last."""
_SUMS = {"return_sum": "return", "length_sum": "length", "bombed": "bombed"}
"""Metrics that are sums over the games that ended, and the names of their means."""
_FINAL = {"self_play": "sp", "cross_play": "xp", "gap": "gap"}
_MOST_METRICS, _MOST_PARAMETERS = 1000, 100
"""The most that mlflow accepts in one call."""


class Exported(NamedTuple):
    """The result of an export."""

    place: str
    written: list[str]
    """Names of the runs that were new or had changed."""
    kept: list[str]
    """Names of the runs that were exported before and have not changed."""


class _Point(NamedTuple):
    name: str
    value: float
    step: int


def to_mlflow(paths: Sequence[Path], output: Path) -> Exported:
    """Export the finished training runs among `paths` to MLflow's SQLite store OUTPUT/mlflow.db.

    Raises:
      TacitError: if there is no such run, two of the same name differ, MLflow is not installed, or the store cannot be
        written.
    """
    records = _finished(paths)
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}  # read when mlflow is imported
    mlflow, entities = _library("mlflow"), _library("mlflow.entities")
    runs.make_folder(output)
    done = Exported(f"sqlite:///{output.resolve() / 'mlflow.db'}", [], [])
    with _quiet("mlflow", "alembic"):
        client = mlflow.MlflowClient(done.place)
        for record in records:
            experiment = _experiment(client, record.keys["game"], output)
            found = client.search_runs([experiment], f"tags.`tacit.run` = '{record.path.name}'")
            stamp = _stamp(record)
            if [(run.data.tags["tacit.stamp"], run.info.status) for run in found] == [(stamp, "FINISHED")]:
                done.kept.append(record.path.name)
                continue
            for run in found:  # made from other files, or incomplete
                client.delete_run(run.info.run_id)
            _log_run(client, entities, experiment, record, stamp)
            done.written.append(record.path.name)
    return done


def to_tensorboard(paths: Sequence[Path], output: Path) -> Exported:
    """Export the finished training runs among `paths` as event files, a folder OUTPUT/RUN each.

    Raises:
      TacitError: if there is no such run, two of the same name differ, TensorBoard is not installed, or a folder cannot
        be written or holds something else.
    """
    records = _finished(paths)
    summary = _library("tensorboard.summary")
    runs.make_folder(output)
    done = Exported(str(output), [], [])
    for record in records:
        folder, stamp = output / record.path.name, _stamp(record)
        told = folder / "tacit.json"
        if folder.exists() and not told.exists():
            raise TacitError(f"{folder} is in the way: it is no folder that tacit export made")
        if told.exists() and runs.read_json(told).get("stamp") == stamp:
            done.kept.append(folder.name)
            continue
        beside = output / f".{folder.name}.{os.getpid()}"
        try:
            writer = summary.Writer(str(beside))
            time = _time(record)
            for point in [*_curves(record), *_scores(record)]:
                writer.add_scalar(point.name, point.value, point.step, wall_time=time)
            writer.close()
            runs.write_json(beside / "tacit.json", {"stamp": stamp, "science": record.science})
            if folder.exists():
                shutil.rmtree(folder)
            beside.rename(folder)
        finally:  # of an export that was interrupted
            shutil.rmtree(beside, ignore_errors=True)
        done.written.append(folder.name)
    return done


TRACKERS: dict[str, Callable[[Sequence[Path], Path], Exported]] = {"mlflow": to_mlflow, "tensorboard": to_tensorboard}


def describe(done: Exported) -> str:
    """What an export did, in a sentence."""
    there = f", {len(done.kept)} there already" if done.kept else ""
    return f"{len(done.written)} run{'' if len(done.written) == 1 else 's'} exported to {done.place}{there}"


def _log_run(client: Any, entities: ModuleType, experiment: str, record: Record, stamp: str) -> None:
    """Write a new run to MLflow; it is marked as finished once it is complete."""
    time = int(1000 * _time(record))
    tags = {"tacit.run": record.path.name, "tacit.stamp": stamp, "tacit.path": str(record.path)}
    tags |= {f"tacit.version.{name}": str(version) for name, version in record.versions.items()}
    run = client.create_run(experiment, start_time=time, tags=tags, run_name=record.path.name).info.run_id
    parameters = [entities.Param(name, _text(value)) for name, value in record.keys.items()]
    points = [*_curves(record), *_scores(record)]
    metrics = [entities.Metric(point.name, point.value, time, point.step) for point in points]
    for some in _parts(parameters, _MOST_PARAMETERS):
        client.log_batch(run, params=some)
    for some in _parts(metrics, _MOST_METRICS):
        client.log_batch(run, metrics=some)
    client.set_terminated(run, "FINISHED", end_time=time)


def _experiment(client: Any, name: str, output: Path) -> str:
    """The number of the experiment of this name, which is made if it does not exist."""
    found = client.get_experiment_by_name(name)
    if found is None:
        return client.create_experiment(name, artifact_location=(output.resolve() / "artifacts").as_uri())
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return found.experiment_id


def _curves(record: Record) -> list[_Point]:
    """Every metric of metrics.npz by steps, as the mean over seeds; values that are not finite are left out."""
    metrics = record.metrics()
    of_steps = {"train": metrics["steps"], "evaluation": metrics["evaluation_steps"]}
    points = []
    for name, values in metrics.items():
        group = "evaluation" if name.startswith("greedy_") else "train"
        if name in ("steps", "evaluation_steps", "count") or len(values) != len(of_steps[group]):
            continue  # training_seconds is one number
        if name in _SUMS:
            with np.errstate(invalid="ignore", divide="ignore"):
                values = values / metrics["count"]
        means = np.ma.masked_invalid(values.reshape(len(values), -1)).mean(axis=1).filled(np.nan)
        points += [
            _Point(f"{group}/{_SUMS.get(name, name)}", float(mean), int(step))
            for mean, step in zip(means, of_steps[group], strict=True)
            if np.isfinite(mean)
        ]
    return points


def _scores(record: Record) -> list[_Point]:
    """SP, XP and gap at the end, with errors and intervals where there are any."""
    return [
        _Point(f"{play}/{short}" + ("" if part == "mean" else f"_{part}"), float(value), record.steps)
        for play, summary in record.summaries.items()
        for field, short in _FINAL.items()
        for part, value in getattr(summary, field)._asdict().items()
        if part != "note" and value is not None
    ]


def _finished(paths: Sequence[Path]) -> list[Record]:
    """The finished training runs, one for each name."""
    found: dict[str, Record] = {}
    for record in load(paths).finished():
        if record.command != "train":
            continue
        same = found.setdefault(record.path.name, record)
        if same is not record and _stamp(same) != _stamp(record):
            raise TacitError(f"{same.path} and {record.path} have one name and different contents: export one of them")
    if not found:
        raise TacitError(f"there is no finished training run in {', '.join(map(str, paths))}")
    return list(found.values())


def _stamp(record: Record) -> str:
    digest = hashlib.sha256(str(_FORMAT).encode())
    for file in _FILES:
        if (record.path / file).exists():
            digest.update((record.path / file).read_bytes())
    return digest.hexdigest()


def _time(record: Record) -> float:
    """When the run was finished, in seconds since 1970."""
    return datetime.datetime.fromisoformat(record.updated).timestamp()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _parts(values: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


def _library(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise TacitError(f"tacit export needs {name.split('.')[0]}: pip install 'tacit[trackers]'") from error


@contextlib.contextmanager
def _quiet(*loggers: str) -> Iterator[None]:
    """Keep a library's log messages about database migrations, and deprecation warnings inside it, off the terminal."""
    before = {name: logging.getLogger(name).level for name in loggers}
    try:
        for name in loggers:
            logging.getLogger(name).setLevel(logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
