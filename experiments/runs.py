"""The run directory: one run, one folder, written by nobody else.

    run.json               format version, the science that names the run, versions of what made it
    status.json            running | finished | interrupted | failed, with the reason
    metrics.npz            steps [rows], and each metric [rows, seeds]; greedy evaluations during training
    checkpoints/           while it is not finished: see experiments.checkpoints
    policies.safetensors   all seeds' parameters, stacked; the science again, so that the file stands alone
    crossplay.json         the cells of the sampled and of the greedy cross-play
    *.png, *.svg           figures

Every file appears complete or not at all: it is written beside its place and renamed.
"""

import contextlib
import datetime
import io
import json
import os
import platform
import socket
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import flax
import jax
import numpy as np
import optax
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from experiments.config import FORMAT, RunConfig, build_game, build_kind
from games.errors import TacitError
from games.game import Game
from marl.agent import Agent, declared_parameters
from marl.crossplay import CrossPlay

RESULT_FOLDERS = ("compare", "conventions", "crossplay", "methods", "sweeps")
"""What `tacit` writes beside run directories."""
_STALE_MINUTES = 10


class Config(Protocol):
    """What a run directory needs of a configuration."""

    def science(self) -> dict[str, Any]:
        """What decides the result, as plain data."""
        ...

    def name(self) -> str:
        """The run's name: a hash of `science()`."""
        ...


class Run(NamedTuple):
    """A finished training run, read from its directory or from a file of the zoo."""

    path: Path
    config: RunConfig
    game: Game
    agents: list[Agent]

    @property
    def name(self) -> str:
        return self.path.stem


def claim(root: Path, config: Config, *, overwrite: bool, name: str | None = None) -> Path | None:
    """Make the directory of a run that is to be made, `name` or the run's own; None if it is finished already.

    A directory that an interrupted, failed or killed training left is claimed with its checkpoints.

    Raises:
      TacitError: as `needs_training`; if the directory cannot be made.
    """
    path = root / (name or config.name())
    if not needs_training(path, config, overwrite=overwrite):
        return None
    try:
        path.mkdir(parents=True, exist_ok=True)
        write_status(path, "running", steps=0)
    except OSError as error:
        raise TacitError(f"the run directory {path} cannot be written: {error.strerror}") from error
    for figure in (*path.glob("*.png"), *path.glob("*.svg")):  # of a training that is overwritten
        figure.unlink()
    write_json(
        path / "run.json",
        {"format": FORMAT, "name": config.name(), "science": config.science(), "versions": versions()},
    )
    return path


def needs_training(path: Path, config: Config, *, overwrite: bool) -> bool:
    """Whether `path` may be claimed for a run; False if it is finished already. Changes nothing.

    Raises:
      TacitError: if a process is training this run now, or the name is taken by something that is not this run.
    """
    if path.exists() and not path.is_dir():
        raise TacitError(f"{path} is in the way: a run directory belongs there")
    status = read_status(path)
    if status is not None:
        if (path / "run.json").exists() and (other := read_json(path / "run.json").get("name")) != config.name():
            raise TacitError(f"{path} is in the way: it holds run {other}, and this is run {config.name()}")
        if status["state"] == "running" and _alive(status):
            raise TacitError(f"run {path} is being trained by process {status['process']} on {status['host']}")
        return overwrite or status["state"] != "finished"
    if path.is_dir() and any(not file.name.startswith(".") for file in path.iterdir()):
        raise TacitError(f"{path} is in the way: it holds files, but no status.json of a run")
    return True


@contextlib.contextmanager
def in_progress(root: Path, config: Config, *, overwrite: bool) -> Iterator[Path]:
    """The claimed directory of a run that is made in one piece; at the end its status says how that went.

    Raises:
      TacitError: as `claim`.
    """
    claim(root, config, overwrite=overwrite)
    path = root / config.name()
    try:
        yield path
    except BaseException as error:
        state = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        write_status(path, state, steps=0, reason=str(error) or type(error).__name__)
        raise
    write_status(path, "finished", steps=0)


def write_status(path: Path, state: str, *, steps: int, reason: str = "") -> None:
    """Say how the run stands: `state` running | finished | interrupted | failed, after `steps` steps a seed."""
    write_json(
        path / "status.json",
        {
            "state": state,
            "reason": reason,
            "steps": steps,
            "updated": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "process": os.getpid(),
            "host": socket.gethostname(),
        },
    )


def read_status(path: Path) -> dict[str, Any] | None:
    """What status.json says, or None if there is none."""
    file = path / "status.json"
    if not file.exists():
        return None
    status = read_json(file)
    if missing := {"state", "reason", "steps", "updated", "process", "host"} - set(status):
        raise TacitError(f"{file} is damaged: it does not say {', '.join(sorted(missing))}")
    return status


def is_finished(path: Path) -> bool:
    """Whether the run in a directory is finished."""
    status = read_status(path)
    return status is not None and status["state"] == "finished"


def write_metrics(path: Path, metrics: Mapping[str, np.ndarray]) -> None:
    """Save the arrays of a run's metrics.npz."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **metrics)
    write_bytes(path / "metrics.npz", buffer.getvalue())


def read_metrics(path: Path) -> dict[str, np.ndarray]:
    """The arrays of metrics.npz.

    Raises:
      TacitError: if the file is missing or damaged.
    """
    file = path / "metrics.npz"
    try:
        with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise TacitError(f"{file} is missing, cut short or damaged: {error}") from error


def write_policies(file: Path, config: RunConfig, params: Any, scores: Mapping[str, float] | None = None) -> None:
    """Save all seeds' parameters, leaves [seeds, ...], in one file that says itself what they are.

    Args:
      file: a run directory's policies.safetensors, or one that stands alone.
      config: the run's configuration; the game's version is written with it.
      params: of the run's policy, in its dtypes or narrower ones.
      scores: what the seeds scored, by name.
    """
    names, leaves = _named(params)
    tensors = {name: np.ascontiguousarray(leaf) for name, leaf in zip(names, leaves, strict=True)}
    metadata = {"format": str(FORMAT), "science": json.dumps(config.science(), sort_keys=True)}
    if scores is not None:
        metadata["scores"] = json.dumps(scores, sort_keys=True)
    write_bytes(file, save(tensors, metadata))


def read_policies(file: Path, label: str) -> tuple[RunConfig, Game, list[Agent]]:
    """The agents of a policies.safetensors file, one for each seed.

    Raises:
      TacitError: if the file is missing, damaged or of another format, if the game has changed since, or if the
        weights do not fit the architecture that the file declares.
    """
    tensors, metadata = read_tensors(file)
    if "science" not in metadata:
        raise TacitError(f"{file} was not written by Tacit: it does not say what its weights are")
    if metadata.get("format") != str(FORMAT):
        raise TacitError(f"{file} has format {metadata.get('format')}, and this Tacit reads format {FORMAT}")
    try:
        science = json.loads(metadata["science"])
        config, version = RunConfig.from_science(science), science["game"]["version"]
        game = build_game(config.game)
        kind = build_kind(config.policy, game, share_parameters=config.learner.get("share_parameters", True))
    except (TacitError, KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise TacitError(f"{file} does not say in this version's terms what its weights are: {error}") from error
    if version != game.version:
        raise TacitError(
            f"{file} was trained on game version {version}, and this is {game.version}: its scores would not compare"
        )
    declared = declared_parameters(kind, game.num_players)
    names, shapes = _named(declared)
    for name, shape in zip(names, shapes, strict=True):
        expected, found = (config.seeds, *shape.shape), getattr(tensors.get(name), "shape", None)
        if found != expected:
            raise TacitError(f"{file} declares {name} of shape {expected}, and holds {found or 'no such weights'}")
        tensors[name] = tensors[name].astype(shape.dtype)  # a file of the zoo may be in half precision
    if len(tensors) != len(names):
        raise TacitError(f"{file} holds weights that its architecture does not have: {set(tensors) - set(names)}")
    structure = jax.tree.structure(declared)
    agents = [
        Agent(kind, jax.tree.unflatten(structure, [tensors[name][row] for name in names]), f"{label}/{seed}")
        for row, seed in enumerate(range(config.first_seed, config.first_seed + config.seeds))
    ]
    return config, game, agents


def read_tensors(file: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of a .safetensors file by name, whoever wrote it, and its metadata.

    Raises:
      TacitError: if the file is missing or damaged.
    """
    try:
        with safe_open(file, framework="numpy") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise TacitError(f"{file} is missing, cut short or damaged: {error}") from error


def write_crossplay(path: Path, results: Mapping[str, CrossPlay], settings: Mapping[str, Any]) -> None:
    """Save cross-play results by name ("sampled", "greedy") with the settings that made them."""
    plain = {
        name: {field: np.asarray(value).tolist() for field, value in result._asdict().items()}
        for name, result in results.items()
    }
    write_json(path / "crossplay.json", {"format": FORMAT, "settings": dict(settings), **plain})


def read_crossplay(path: Path) -> dict[str, CrossPlay]:
    """The results of crossplay.json by name.

    Raises:
      TacitError: if the file is missing or damaged.
    """
    file = path / "crossplay.json"
    plain = read_json(file)
    try:
        return {
            name: CrossPlay(
                labels=tuple(plain[name]["labels"]),
                **{field: np.asarray(value) for field, value in plain[name].items() if field != "labels"},
            )
            for name in ("sampled", "greedy")
        }
    except (KeyError, TypeError) as error:
        raise TacitError(f"{file} is not a cross-play result of this version: {error}") from error


def among(paths: Sequence[Path]) -> list[Path]:
    """`paths` without the folders of results that stand beside runs, so that runs/* names the runs.

    Raises:
      TacitError: if nothing is left.
    """
    kept = [path for path in paths if path.name not in RESULT_FOLDERS or (path / "run.json").exists()]
    if not kept:
        raise TacitError(f"there is no run among {', '.join(map(str, paths))}")
    return kept


def read_run(path: Path) -> Run:
    """A finished run from its directory, or from a file of the zoo (`experiments.zoo`).

    Raises:
      TacitError: if it is missing, is not a run, is not finished, or is from another version.
    """
    if path.suffix == ".safetensors":
        file = path
    else:
        check_finished(path)
        file = path / "policies.safetensors"
    config, game, agents = read_policies(file, label=path.name[:6])
    return Run(path, config, game, agents)


def check_finished(path: Path, *, command: str = "train") -> dict[str, Any]:
    """The contents of run.json, if the run at `path` is finished and of the `command` that is asked for.

    Raises:
      TacitError: if the directory is missing, is not a run, is not finished, or is of another command or format.
    """
    if not path.is_dir():
        raise TacitError(f"there is no run directory {path}")
    status = read_status(path)
    if status is None or not (path / "run.json").exists():
        raise TacitError(f"{path} is not a run directory: it has no run.json and status.json")
    if status["state"] != "finished":
        state = status["state"]
        if state == "running" and not _alive(status):
            state = "cut short"
        reason = f" ({status['reason']})" if status["reason"] else ""
        raise TacitError(f"run {path} is not finished: {state}{reason} after {status['steps']} steps")
    description = read_json(path / "run.json")
    if description.get("format") != FORMAT:
        raise TacitError(f"run {path} has format {description.get('format')}, and this Tacit reads format {FORMAT}")
    if "science" not in description:
        raise TacitError(f"{path / 'run.json'} is damaged: it has no 'science'")
    if (made_by := description["science"].get("command", "train")) != command:
        raise TacitError(f"run {path} was made by tacit {made_by}, and a run of tacit {command} is needed")
    return description


def versions() -> dict[str, str]:
    """What results depend on beside the configuration."""
    return {
        "python": platform.python_version(),
        "jax": jax.__version__,
        "flax": flax.__version__,
        "optax": optax.__version__,
        "numpy": np.__version__,
        "device": jax.devices()[0].device_kind,
    }


def write_json(file: Path, plain: Any) -> None:
    """Write plain data as JSON, complete or not at all."""
    write_bytes(file, (json.dumps(plain, indent=1, sort_keys=True) + "\n").encode())


def write_bytes(file: Path, contents: bytes) -> None:
    """Write a file, complete or not at all: beside its place, then renamed."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        beside.write_bytes(contents)
        os.replace(beside, file)
    finally:
        beside.unlink(missing_ok=True)


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
      TacitError: if the file is missing or damaged.
    """
    try:
        plain = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise TacitError(f"{file} is missing, cut short or damaged: {error}") from error
    if not isinstance(plain, dict):
        raise TacitError(f"{file} is damaged: it holds no object")
    return plain


def _alive(status: Mapping[str, Any]) -> bool:
    """Whether the process that wrote a status may still be at work."""
    if status["host"] != socket.gethostname():
        age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(status["updated"])
        return age < datetime.timedelta(minutes=_STALE_MINUTES)
    if status["process"] == os.getpid():
        return False
    try:
        os.kill(status["process"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _named(params: Any) -> tuple[Sequence[str], Sequence[Any]]:
    leaves = jax.tree_util.tree_flatten_with_path(params)[0]
    names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
    return names, [leaf for _, leaf in leaves]
