"""The run directory: one folder for each run, written by one process at a time.

    run.json               format version, the science that names the run, versions of what made it
    status.json            running | finished | interrupted | failed, and why
    metrics.npz            steps [rows], and each metric [rows, seeds]; greedy evaluations during training
    checkpoints/           while it is not finished: see experiments.training.checkpoints
    policies.safetensors   all seeds' parameters, stacked; the science again, so that the file can be read on its own
    crossplay.json         the cells of the sampled and of the greedy cross-play
    crossplay.npz          the score of each of their games, float32[cells, games]; game g has one deck in all cells
    checksums.json         of the files above, once it is finished
    *.png, *.svg           figures
    .claim.N               while a process makes it: its lock, see experiments.runs.claims

Every file appears complete or not at all: it is written under a temporary name and then renamed.

Reading a run's status does not import jax; only the functions that build agents from its weights do.
"""

import contextlib
import datetime
import hashlib
import json
import os
import platform
import re
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from experiments.configuration.config import FORMAT, RunConfig, build_game, build_kind
from experiments.runs import claims
from experiments.runs.files import (
    read_arrays,
    read_json,
    read_metadata,
    read_tensors,
    write_arrays,
    write_json,
    write_tensors,
)
from games.errors import TacitError
from marl.crossplay import CrossPlay, seatings

if TYPE_CHECKING:
    from games.game import Game
    from marl.agent import Agent

RESULT_FOLDERS = ("compare", "conventions", "crossplay", "methods", "sweeps")
"""The folders that `tacit` writes next to run directories."""
SCORES = "crossplay.npz"
"""The file with the scores of single games of a cross-play."""
CHECKPOINTS = "checkpoints"
"""The folder of a run's checkpoints, while it is not finished."""
FIGURES = ("*.png", "*.svg")
"""Figures, which can be drawn again from a run's other files."""
_CHECKPOINT = re.compile(r"(\d+)-([0-9a-f]{8})\.safetensors")


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
    game: "Game"
    agents: "list[Agent]"

    @property
    def name(self) -> str:
        return self.path.stem


def claim(root: Path, config: Config, *, overwrite: bool, name: str | None = None) -> Path | None:
    """Make and claim the directory of a run and return it; None if the run is finished already.

    The directory is called `name`, by default the run's own name. A directory that an interrupted, failed or killed
    training left is claimed with its checkpoints. This process owns the directory until its status says how the run
    ended.

    Raises:
      Busy: if another process is making this run.
      TacitError: as `needs_training`; if the directory cannot be made.
    """
    path = root / (name or config.name())
    if not needs_training(path, config, overwrite=overwrite):
        return None
    made_by = versions()  # starts JAX, which may fail: before anything is written
    try:
        path.mkdir(parents=True, exist_ok=True)
        claims.take(path)
        if not needs_training(path, config, overwrite=overwrite):  # another process has finished it meanwhile
            claims.release(path)
            return None
        old = [*FIGURES, "checksums.json"]  # of a training that is overwritten
        torn = [".[!.]*.json.*", ".[!.]*.npz.*", ".[!.]*.safetensors.*"]  # of a process that was killed while it wrote
        for file in (file for pattern in (*old, *torn) for file in path.glob(pattern)):
            file.unlink()
        before = read_status(path)
        write_status(path, "running", steps=before["steps"] if before is not None and not overwrite else 0)
        write_json(path / "run.json", {"format": FORMAT, **description(config), "versions": made_by})
    except BaseException as error:
        claims.release(path)
        if isinstance(error, OSError):
            raise TacitError(f"the run directory {path} cannot be written: {error.strerror}") from error
        raise
    return path


def description(config: Config) -> dict[str, Any]:
    """The part of run.json that describes a configuration."""
    said = {"name": config.name(), "science": config.science()}
    return said | {"by_default": config.by_default()} if isinstance(config, RunConfig) else said


def needs_training(path: Path, config: Config, *, overwrite: bool) -> bool:
    """Whether a run still has to be made in `path`; False if it is finished already. Changes nothing.

    Raises:
      Busy: if another process is making this run now.
      TacitError: if `path` is something other than this run, or a finished run has lost files.
    """
    if path.exists() and not path.is_dir():
        raise TacitError(f"{path} is in the way: a run directory belongs there")
    status = read_status(path)
    if status is not None:
        if (path / "run.json").exists() and (other := read_json(path / "run.json").get("name")) != config.name():
            raise TacitError(f"{path} is in the way: it holds run {other}, and this is run {config.name()}")
    elif path.is_dir() and any(not file.name.startswith(".") for file in path.iterdir()):
        raise TacitError(f"{path} is in the way: it holds files, but no status.json of a run")
    claims.check_free(path)
    if status is not None and status["state"] == "finished" and not overwrite and (lost := missing(path)):
        raise TacitError(
            f"run {path} is damaged: it says that it is finished, and lacks {', '.join(lost)}; copy it again, or make "
            "it again with execution.overwrite=true"
        )
    return overwrite or status is None or status["state"] != "finished"


@contextlib.contextmanager
def in_progress(root: Path, config: Config, *, overwrite: bool) -> Iterator[Path]:
    """Claim the directory of a run that is computed without checkpoints; at the end write how the run ended.

    Raises:
      TacitError: as `claim`.
    """
    path = root / config.name()
    if claim(root, config, overwrite=overwrite) is None:
        raise claims.Busy(f"run {path} was finished by another process meanwhile; the same command shows it")
    try:
        yield path
        finish(path, steps=0)
    except BaseException as error:
        state = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        with contextlib.suppress(TacitError):  # on a full disk raise the first error, not the one of writing it
            write_status(path, state, steps=0, reason=str(error) or type(error).__name__)
        raise


def finish(path: Path, *, steps: int) -> None:
    """Mark a run as finished after `steps` steps a seed, and write the checksums of its files."""
    claims.check(path)
    made = {name: hashlib.sha256((path / name).read_bytes()).hexdigest() for name in results(path)}
    write_json(path / "checksums.json", {"format": FORMAT, "files": made})
    write_status(path, "finished", steps=steps)


def results(path: Path) -> list[str]:
    """The names of the result files of a run directory: all but figures, hidden files, status and checksums."""
    drawn = {file for pattern in FIGURES for file in path.glob(pattern)}
    about = {path / "status.json", path / "checksums.json"}
    files = {file for file in path.iterdir() if file.is_file() and not file.name.startswith(".")}
    return sorted(file.name for file in files - drawn - about)


def write_status(path: Path, state: str, *, steps: int, reason: str = "") -> None:
    """Write status.json: `state` is running | finished | interrupted | failed, after `steps` steps a seed.

    For any state but running, this also gives up the directory's claim.

    Raises:
      Busy: if another process has taken the directory.
      TacitError: if it cannot be written.
    """
    claims.check(path)
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
    if state != "running":
        claims.release(path)


def read_status(path: Path) -> dict[str, Any] | None:
    """What status.json says, or None if there is none.

    Raises:
      TacitError: if the file is damaged.
    """
    file = path / "status.json"
    if not file.exists():
        return None
    status = read_json(file)
    if missing := {"state", "reason", "steps", "updated", "process", "host"} - set(status):
        raise TacitError(f"{file} is damaged: it does not say {', '.join(sorted(missing))}")
    return status


def missing(path: Path) -> list[str]:
    """The names of the files that a finished run had and that are not in its directory any more."""
    sums = path / "checksums.json"
    if not sums.exists():  # the run is older than checksums
        return []
    return sorted(name for name in read_json(sums).get("files", {}) if not (path / name).exists())


def state_of(path: Path, status: Mapping[str, Any]) -> str:
    """The state of a run: finished | running | failed | cut (interrupted, or running with its process gone)."""
    if status["state"] == "running" and claims.owner(path) is None:
        status = read_status(path) or status  # it may have ended since `status` was read
    gone = status["state"] == "running" and claims.owner(path) is None
    return "cut" if gone or status["state"] == "interrupted" else status["state"]


def is_finished(path: Path) -> bool:
    """Whether the run in a directory is finished."""
    status = read_status(path)
    return status is not None and status["state"] == "finished"


def write_metrics(path: Path, metrics: Mapping[str, np.ndarray]) -> None:
    """Save the arrays of a run's metrics.npz, by name as `read_metrics` gives them back ([rows, seeds])."""
    write_arrays(path / "metrics.npz", metrics)


def read_metrics(path: Path) -> dict[str, np.ndarray]:
    """The arrays of metrics.npz: `steps` int64[rows], each metric [rows, seeds], evaluations [E, seeds or groups].

    Raises:
      TacitError: if the file is missing or damaged.
    """
    return read_arrays(path / "metrics.npz")


def checkpoint_files(folder: Path) -> list[tuple[int, Path]]:
    """The checkpoints in a folder of a run's checkpoints with their numbers, the newest last."""
    names = {path: _CHECKPOINT.fullmatch(path.name) for path in folder.iterdir()} if folder.is_dir() else {}
    return sorted((int(name[1]), path) for path, name in names.items() if name)


def saved_steps(path: Path) -> int | None:
    """Steps of games for each seed in a run's newest checkpoint; None if there is none, or it does not say."""
    with contextlib.suppress(TacitError, ValueError, IndexError):
        return json.loads(read_metadata(checkpoint_files(path / CHECKPOINTS)[-1][1])["about"]).get("steps")
    return None


def write_policies(file: Path, config: RunConfig, params: Any, scores: Mapping[str, float] | None = None) -> None:
    """Save all seeds' parameters, leaves [seeds, ...], in one file with the configuration in its metadata.

    Args:
      file: a run directory's policies.safetensors, or a file outside of a run directory.
      config: the run's configuration; the game's version is written with it.
      params: of the run's policy, in its dtypes or narrower ones.
      scores: mean scores of the seeds, by name.
    """
    from marl.agent import named

    tensors = {name: np.ascontiguousarray(leaf) for name, leaf in named(params).items()}
    metadata = {"format": str(FORMAT), "science": json.dumps(config.science(), sort_keys=True)}
    if scores is not None:
        metadata["scores"] = json.dumps(scores, sort_keys=True)
    write_tensors(file, tensors, metadata)


def read_policies(
    file: Path, label: str, science: Mapping[str, Any] | None = None
) -> "tuple[RunConfig, Game, list[Agent]]":
    """The agents of a policies.safetensors file, one for each seed.

    Args:
      file: of a run directory, or of the zoo.
      label: how the agents are called, before their seeds.
      science: what the file must say of itself: that of the run.json beside it.

    Raises:
      TacitError: if the file is missing, damaged or of another format, if it says otherwise than `science`, if the game
        has changed since, or if the weights do not fit the architecture that the file declares.
    """
    import jax

    from marl.agent import Agent, check_shapes, declared_parameters, named

    tensors, metadata = read_tensors(file)
    if "science" not in metadata:
        raise TacitError(f"{file} was not written by Tacit: it does not say what its weights are")
    written = metadata.get("format", "")  # metadata are strings
    check_format(str(file), int(written) if written.isdecimal() else written or None)
    try:
        own = json.loads(metadata["science"])
        config, version = RunConfig.from_science(own), own["game"]["version"]
        game = build_game(config.game)
        kind = build_kind(config.policy, game, share_parameters=config.learner.get("share_parameters", True))
    except TacitError as error:
        raise TacitError(f"{file}: {error}") from error
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise TacitError(f"{file} does not say in this version's terms what its weights are: {error}") from error
    check_version(file, version, game)
    declared = declared_parameters(kind, game.num_players)
    leaves, structure = named(declared), jax.tree.structure(declared)
    check_shapes(str(file), {name: (config.seeds, *leaf.shape) for name, leaf in leaves.items()}, tensors)
    if science is not None and own != science:
        key, ours, theirs = _difference(own, science)
        raise TacitError(f"{file}: its {key} is {ours}, and that of run.json {theirs}: one of the two was changed")
    # A file of the zoo may be in half precision.
    seeds = [tensors[name].astype(leaf.dtype) for name, leaf in leaves.items()]
    agents = [
        Agent(kind, jax.tree.unflatten(structure, [weights[row] for weights in seeds]), f"{label}/{seed}")
        for row, seed in enumerate(range(config.first_seed, config.first_seed + config.seeds))
    ]
    return config, game, agents


def check_version(path: Path, version: Any, game: "Game") -> None:
    """Refuse a run or its file, `path`, that was made on another version of its game.

    Raises:
      TacitError: naming both versions.
    """
    if version != game.version:
        raise TacitError(
            f"{path} was trained on game version {version}, and this is {game.version}: its scores would not compare"
        )


def write_crossplay(path: Path, results: Mapping[str, CrossPlay], settings: Mapping[str, Any]) -> None:
    """Save cross-play results by name ("sampled", "greedy") with the settings that made them."""
    plain = {
        name: {field: np.asarray(value).tolist() for field, value in result._asdict().items() if field != "scores"}
        for name, result in results.items()
    }
    scores = {name: result.scores for name, result in results.items() if result.scores is not None}
    if scores:
        write_arrays(path / SCORES, scores)
    write_json(path / "crossplay.json", {"format": FORMAT, "settings": dict(settings), **plain})


def played_otherwise(path: Path, settings: Mapping[str, Any]) -> str:
    """How the cross-play of a finished run differs from the settings asked for: "games 1000 instead of 50", or "".

    Differences in `max_lanes`, or in a `max_seatings` that chooses no other cells, are ignored. "" also for a damaged
    file, which other functions report.
    """
    try:
        plain = read_json(path / "crossplay.json")
        own, cells = dict(plain["settings"]), plain["greedy"]["seatings"]
        agents, players = len(plain["greedy"]["labels"]), len(cells[0])
        same = seatings(agents, players, own["seating"], max_seatings=settings["max_seatings"]).tolist() == cells
    except (TacitError, KeyError, IndexError, TypeError, ValueError):
        return ""
    nothing = {"max_lanes", *(["max_seatings"] if same else [])}
    differ = [key for key in settings if key in own and key not in nothing and own[key] != settings[key]]
    return ", ".join(f"{key} {own[key]} instead of {settings[key]}" for key in differ)


def read_crossplay(path: Path) -> dict[str, CrossPlay]:
    """The results of crossplay.json by name, with the scores of crossplay.npz where there is one.

    Raises:
      TacitError: if the first file is missing, or either is damaged.
    """
    file, kept = path / "crossplay.json", path / SCORES
    plain = read_json(file)
    try:
        results = {
            name: CrossPlay(
                labels=tuple(plain[name]["labels"]),
                **{field: np.asarray(value) for field, value in plain[name].items() if field != "labels"},
            )
            for name in ("sampled", "greedy")
        }
    except (KeyError, TypeError, ValueError) as error:
        raise TacitError(f"{file} is not a cross-play result of this version: {error}") from error
    scores = read_arrays(kept) if kept.exists() else {}
    for name, of_games in scores.items():
        if name not in results or of_games.ndim != 2 or of_games.shape[:1] != results[name].seatings.shape[:1]:
            raise TacitError(f"{kept} is damaged: its {name} scores are not those of the cells of crossplay.json")
    return {name: result._replace(scores=scores.get(name)) for name, result in results.items()}


def read_run(path: Path) -> Run:
    """A finished run from its directory, or from a file of the zoo (`experiments.analysis.zoo`).

    Raises:
      TacitError: if it is missing, is not a run, is not finished, or is from another version.
    """
    if path.suffix == ".safetensors":
        file, science = path, None
    else:
        science = check_finished(path)["science"]
        file = path / "policies.safetensors"
    config, game, agents = read_policies(file, path.name[:6], science)
    return Run(path, config, game, agents)


def _difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[str, Any, Any]:
    """The first key in which two sciences differ, such as "game.version", and its values."""
    key = next(key for key in [*one, *other] if one.get(key) != other.get(key))
    first, second = one.get(key), other.get(key)
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        inner, first, second = _difference(first, second)
        return f"{key}.{inner}", first, second
    return key, first, second


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
        killed = status["state"] == "running" and state_of(path, status) == "cut"
        state = "cut short" if killed else status["state"]
        reason = f" ({status['reason']})" if status["reason"] else ""
        raise TacitError(f"run {path} is not finished: {state}{reason} after {status['steps']} steps")
    description = read_json(path / "run.json")
    check_format(f"run {path}", description.get("format"))
    if "science" not in description:
        raise TacitError(f"{path / 'run.json'} is damaged: it has no 'science'")
    if (made_by := description["science"].get("command", "train")) != command:
        raise TacitError(f"run {path} was made by tacit {made_by}, and a run of tacit {command} is needed")
    return description


def check_format(what: str, found: Any) -> None:
    """Refuse what was written in another format.

    Raises:
      TacitError: saying whether it is newer or older.
    """
    if found != FORMAT:
        age = ("newer" if found > FORMAT else "older") if isinstance(found, int) else "unknown"
        raise TacitError(f"{what} has the {age} format {found}, and this Tacit reads format {FORMAT}")


def versions() -> dict[str, str]:
    """The versions of libraries and the device, on which results may depend besides the configuration."""
    import flax
    import jax
    import optax

    return {
        "python": platform.python_version(),
        "jax": jax.__version__,
        "flax": flax.__version__,
        "optax": optax.__version__,
        "numpy": np.__version__,
        "device": jax.devices()[0].device_kind,
    }
