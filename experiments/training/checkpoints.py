"""The checkpoints of a training run: all that is needed to resume it; the last two are kept.

    checkpoints/
      7-1c3a9f02.safetensors    the number of the save, which only grows, and the CRC-32 of the file
      8-90be4d11.safetensors    the newest

A checkpoint is written under a temporary name and renamed when it is complete; then the oldest is deleted. Arrays are
stored as bytes, with their dtypes and shapes in the file's metadata, since safetensors does not support every dtype;
typed random keys are stored as the integers they consist of. A checkpoint does not depend on the devices that held the
state.
"""

import json
import os
import shutil
import zlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.runs.directory import checkpoint_files
from experiments.runs.files import packed_tensors, read_tensors, write_bytes
from games.errors import TacitError

FORMAT = 2
"""Of the checkpoints that this version writes and reads."""
KEPT = 2
"""How many checkpoints of a run remain."""


class Checkpoint(NamedTuple):
    """A training run at some update."""

    updates: int
    """How many updates had been made."""
    state: Any
    """The state to resume from: numpy arrays, and typed random keys on the default device."""
    log: dict[str, np.ndarray]
    """The metrics so far, by name."""


class _Type(NamedTuple):
    """The dtype and shape of an array on the disk, where typed random keys are integers."""

    dtype: str
    shape: list[int]
    keys: str | None = None  # the implementation of the random keys, if it holds keys

    def __str__(self) -> str:
        return f"{self.dtype}{self.shape}" + (f" of {self.keys} keys" if self.keys else "")


def save(
    folder: Path,
    science: Mapping[str, Any],
    *,
    updates: int,
    state: Any,
    log: Mapping[str, np.ndarray],
    steps: int | None = None,
) -> None:
    """Write a checkpoint; when this returns, the file is complete and on the disk.

    Of several processes that train together only one calls this, and the others do not wait for it.

    Args:
      folder: the run's own folder of checkpoints; made if it is not there.
      science: the run's configuration, as JSON data.
      updates: how many updates made `state`.
      state: a tree of jax or numpy arrays that this process can address; typed random keys may be among them.
      log: arrays of the metrics so far, by name, as `read_metrics` has them ([rows, seeds]).
      steps: of games for each seed, which `tacit status` shows.

    Raises:
      TacitError: if it cannot be written; the earlier checkpoints are still there.
    """
    named = {**_named(state), **{_log_name(name): array for name, array in log.items()}}
    types = {name: _type(leaf) for name, leaf in named.items()}
    integers = {name: jax.random.key_data(leaf) if types[name].keys else leaf for name, leaf in named.items()}
    about = {"format": FORMAT, "science": dict(science), "updates": updates, "steps": steps}
    about |= {"arrays": types, "log": list(log)}
    contents = packed_tensors(
        {name: _as_bytes(array) for name, array in jax.device_get(integers).items()}, {"about": json.dumps(about)}
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for partial in _partial_files(folder):
            partial.unlink()
        before = checkpoint_files(folder)
        number = before[-1][0] + 1 if before else 1
        write_bytes(folder / f"{number}-{zlib.crc32(contents):08x}.safetensors", contents, synced=True)
        for _, path in before[: 1 - KEPT]:
            path.unlink()
    except OSError as error:
        raise TacitError(f"the checkpoint cannot be written in {folder}: {error.strerror}") from error


def load(
    folder: Path,
    science: Mapping[str, Any],
    *,
    by_default: Collection[str] = (),
    like: Any,
    warn: Callable[[str], None],
) -> Checkpoint | None:
    """The newest undamaged checkpoint, equal bit for bit to what was saved; None if there is none.

    Changes nothing on the disk. Of several processes that train together each calls this for itself.

    Args:
      folder: the run's own folder of checkpoints.
      science: the configuration of the run that is resumed, as JSON data.
      by_default: keys such as "learner.clip" that a checkpoint may lack, since they have the defaults.
      like: a tree with the structure of the state, whose leaves have its shapes and dtypes (`jax.ShapeDtypeStruct`,
        or arrays).
      warn: called with one sentence for every incomplete or damaged checkpoint that is skipped.

    Raises:
      TacitError: if the newest undamaged checkpoint has another format or another configuration, or its state differs
        from `like` in structure, shapes or dtypes.
    """
    if not folder.is_dir():
        return None
    if older := [path for path in folder.iterdir() if path.name.isdigit()]:
        newest = max(older, key=lambda path: int(path.name))
        raise TacitError(
            f"checkpoint {newest} has format 1, and this Tacit reads format {FORMAT}: "
            "execution.overwrite=true begins the run again"
        )
    for partial in _partial_files(folder):
        warn(f"checkpoint {partial} is passed over: it was cut short while it was written")
    named = _named(like)
    types = {name: _type(leaf) for name, leaf in named.items()}
    for _, path in reversed(checkpoint_files(folder)):
        if not _is_whole(path):
            warn(f"checkpoint {path} is passed over: the file is cut short or changed")
            continue
        tensors, metadata = read_tensors(path)
        about = json.loads(metadata["about"])
        _check(path, about, science, by_default, types)
        stored = {name: _Type(*of) for name, of in about["arrays"].items()}
        arrays = {name: tensors[name].view(of.dtype).reshape(of.shape) for name, of in stored.items()}
        leaves = [_restored(arrays[name], types[name]) for name in named]
        log = {name: arrays[_log_name(name)] for name in about["log"]}
        return Checkpoint(about["updates"], jax.tree.unflatten(jax.tree.structure(like), leaves), log)
    return None


def discard(folder: Path) -> None:
    """Remove a run's checkpoints, if there are any, because the run is finished or begins again.

    If the process is killed meanwhile, `load` finds either all of them or none.

    Raises:
      TacitError: if they cannot be removed.
    """
    aside = folder.with_name(f".{folder.name}.discarded")
    try:
        if aside.exists():  # an earlier call was interrupted
            shutil.rmtree(aside)
        if folder.exists():
            os.replace(folder, aside)
            shutil.rmtree(aside)
    except OSError as error:
        raise TacitError(f"the checkpoints {folder} cannot be removed: {error.strerror}") from error


def _partial_files(folder: Path) -> list[Path]:
    """The temporary files of checkpoints whose writing was interrupted."""
    return sorted(folder.glob(".*.safetensors.*"))


def _is_whole(path: Path) -> bool:
    """Whether a checkpoint's file is as it was written."""
    try:
        return f"{zlib.crc32(path.read_bytes()):08x}" == path.stem.rpartition("-")[2]
    except OSError:
        return False


def _check(
    path: Path,
    about: Mapping[str, Any],
    science: Mapping[str, Any],
    by_default: Collection[str],
    types: Mapping[str, _Type],
) -> None:
    """Refuse a checkpoint of another format, another configuration, or a state of other types.

    Raises:
      TacitError: naming the first difference.
    """
    if about["format"] != FORMAT:
        raise TacitError(f"checkpoint {path} has format {about['format']}, and this Tacit reads format {FORMAT}")
    theirs, ours = _flat(about["science"]), _flat(science)
    ours = {key: value for key, value in ours.items() if key in theirs or key not in by_default}
    if found := _first_difference(theirs, ours):
        name, made, now = found
        raise TacitError(
            f"checkpoint {path} was made by another configuration: {name} is {made} there, and {now} in this run"
        )
    stored = {name: str(_Type(*of)) for name, of in about["arrays"].items()}
    for name in about["log"]:
        del stored[_log_name(name)]
    if found := _first_difference(stored, {name: str(of) for name, of in types.items()}):
        name, made, now = found
        raise TacitError(
            f"checkpoint {path} was made by another version of Tacit: {name} is {made} there, and {now} here"
        )


def _named(state: Any) -> dict[str, Any]:
    """The leaves of a state by their paths in it, such as state.params['kernel']."""
    return {f"state{jax.tree_util.keystr(path)}": leaf for path, leaf in jax.tree_util.tree_leaves_with_path(state)}


def _log_name(name: str) -> str:
    return f"log[{name!r}]"


def _type(leaf: Any) -> _Type:
    """The dtype and shape that an array, or the `jax.ShapeDtypeStruct` of one, has on the disk."""
    if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return _Type(str(leaf.dtype), list(leaf.shape))
    kinds = []

    def integers(key: jax.Array) -> jax.Array:
        kinds.append(str(jax.random.key_impl(key)))
        return jax.random.key_data(key)

    data = jax.eval_shape(integers, leaf)
    return _Type(str(data.dtype), list(data.shape), kinds[0])


def _as_bytes(array: Any) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _restored(array: np.ndarray, of: _Type) -> Any:
    return jax.random.wrap_key_data(jnp.asarray(array), impl=of.keys) if of.keys else array


def _flat(plain: Any, name: str = "") -> dict[str, str]:
    """The values of nested JSON data by dotted names, as JSON."""
    if not isinstance(plain, Mapping) or not plain:
        return {name: json.dumps(plain)}
    parts = [_flat(value, f"{name}.{key}" if name else str(key)) for key, value in plain.items()]
    return {key: value for part in parts for key, value in part.items()}


def _first_difference(made: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, str, str] | None:
    """The first name whose values differ, with both values; None if there is none."""
    for name in [*now, *made]:
        if made.get(name) != now.get(name):
            return name, made.get(name, "missing"), now.get(name, "missing")
    return None
