"""The checkpoints of a training run: all that is needed to go on with it, in one folder, the last two kept.

    checkpoints/
      7/             a checkpoint has the number of its save, which only grows
        about/       JSON: what made the checkpoint, the types of its arrays, and checksums
        arrays/      the state and the log, as one array of bytes
      8/             the newest

orbax writes a checkpoint beside its place, renames it when it is whole, and then deletes the oldest. The checksums are
ours: its files do not show every change. One array of bytes holds arrays of every type and size, empty ones too, and a
read that fails leaves no other read of the same checkpoint behind. Typed random keys are stored as the integers they
are made of. Nothing here depends on the devices that held the state.
"""

import contextlib
import json
import logging
import os
import re
import shutil
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from games.errors import TacitError

FORMAT = 1
"""Of the checkpoints that this version writes and reads."""
KEPT = 2
"""How many checkpoints of a run remain."""
_UNREADABLE = (OSError, ValueError, KeyError, TypeError)
"""What orbax and the JSON decoder raise of files that are missing, cut short or changed."""


class Checkpoint(NamedTuple):
    """How a training run stood."""

    updates: int
    """How many updates had been made."""
    state: Any
    """What training goes on from: numpy arrays, and typed random keys on the default device."""
    log: dict[str, np.ndarray]
    """The metrics so far, by name."""


class _Type(NamedTuple):
    """What an array is on the disk, where typed random keys are integers."""

    dtype: str
    shape: list[int]
    keys: str | None = None  # how the random keys are made, if it holds keys

    def __str__(self) -> str:
        return f"{self.dtype}{self.shape}" + (f" of {self.keys} keys" if self.keys else "")


class _Damaged(Exception):
    """What is on the disk is not what was written."""


def save(folder: Path, science: Mapping[str, Any], *, updates: int, state: Any, log: Mapping[str, np.ndarray]) -> None:
    """Write a checkpoint; when this returns it is whole and on the disk.

    Of several processes that train together only one calls this, and no process waits for another.

    Args:
      folder: the run's own folder of checkpoints; made if it is not there.
      science: the run's configuration, as JSON data.
      updates: how many updates made `state`.
      state: a tree of jax or numpy arrays that this process can address; typed random keys may be among them.
      log: arrays of the metrics so far, by name, as `read_metrics` has them ([rows, seeds]).

    Raises:
      TacitError: if it cannot be written; the earlier checkpoints are still there.
    """
    import orbax.checkpoint as ocp  # half a second, and a finished run needs none

    named = {**_named(state), **{_log_name(name): array for name, array in log.items()}}
    types = {name: _type(leaf) for name, leaf in named.items()}
    plain_leaves = [jax.random.key_data(leaf) if types[name].keys else leaf for name, leaf in named.items()]
    contents = np.concatenate([_as_bytes(leaf) for leaf in jax.device_get(plain_leaves)])
    about = {
        "format": FORMAT,
        "science": dict(science),
        "updates": updates,
        "arrays": [[name, *of] for name, of in types.items()],  # in the order of their bytes
        "log": list(log),
        "checksum": zlib.crc32(contents.data),
    }
    # This envelope is the same in every format.
    sealed = {"about": about, "checksum": _checksum(about)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _manager(folder, remove_torn=True) as manager:
            manager.save(
                max(manager.all_steps(), default=0) + 1,
                args=ocp.args.Composite(
                    about=ocp.args.JsonSave(sealed), arrays=ocp.args.StandardSave({"bytes": contents})
                ),
                force=True,
            )
    except (OSError, ValueError) as error:
        raise TacitError(f"the checkpoint cannot be written in {folder}: {_reason(error)}") from error


def load(
    folder: Path,
    science: Mapping[str, Any],
    *,
    by_default: Collection[str] = (),
    like: Any,
    warn: Callable[[str], None],
) -> Checkpoint | None:
    """The newest whole checkpoint, equal bit for bit to what was saved; None if there is none.

    Changes nothing on the disk. Of several processes that train together each calls this for itself.

    Args:
      folder: the run's own folder of checkpoints.
      science: the configuration of the run that goes on, as JSON data.
      by_default: its keys that a checkpoint may lack, as in "learner.clip": they have the defaults.
      like: a tree with the structure of the state, whose leaves have its shapes and dtypes (`jax.ShapeDtypeStruct`,
        or arrays).
      warn: is told of every torn or damaged checkpoint that is passed over, in one sentence.

    Raises:
      TacitError: if the newest undamaged checkpoint has another format or another configuration, or its state is not
        as `like`.
    """
    if not folder.is_dir():
        return None
    for torn in sorted(folder.glob("*.orbax-checkpoint-tmp*")):
        warn(f"checkpoint {torn} is passed over: it was cut short while it was written")
    named = _named(like)
    types = {name: _type(leaf) for name, leaf in named.items()}
    with _manager(folder) as manager:
        for number in sorted(manager.all_steps(), reverse=True):
            path = folder / str(number)
            try:
                about = _read_about(manager, number)
                _check(path, about, science, by_default, types)
                arrays = _read_arrays(manager, number, about)
            except _Damaged:
                warn(f"checkpoint {path} is passed over: files of it are missing, cut short or changed")
                continue
            leaves = [_restored(arrays[name], types[name]) for name in named]
            log = {name: arrays[_log_name(name)] for name in about["log"]}
            return Checkpoint(about["updates"], jax.tree.unflatten(jax.tree.structure(like), leaves), log)
    return None


def discard(folder: Path) -> None:
    """Remove a run's checkpoints, if there are any, because the run is finished or begins again.

    Cut short at any moment, this has removed all of them or none, as far as `load` is concerned.

    Raises:
      TacitError: if they cannot be removed.
    """
    aside = folder.with_name(f".{folder.name}.discarded")
    try:
        if aside.exists():  # an earlier call was cut short
            shutil.rmtree(aside)
        if folder.exists():
            os.replace(folder, aside)
            shutil.rmtree(aside)
    except OSError as error:
        raise TacitError(f"the checkpoints {folder} cannot be removed: {error.strerror}") from error


@contextlib.contextmanager
def _manager(folder: Path, *, remove_torn: bool = False) -> Iterator[Any]:
    """orbax's manager of a folder; it logs nothing, and waits for no other process."""
    import orbax.checkpoint as ocp

    me = jax.process_index()
    options = ocp.CheckpointManagerOptions(
        create=False,  # this would wait for the other processes
        cleanup_tmp_directories=remove_torn,
        preservation_policy=ocp.checkpoint_managers.LatestN(KEPT),
        enable_async_checkpointing=False,
        multiprocessing_options=ocp.options.MultiprocessingOptions(primary_host=me, active_processes={me}),
    )
    logger = logging.getLogger("absl")
    was_disabled, logger.disabled = logger.disabled, True
    try:
        with ocp.CheckpointManager(folder.absolute(), options=options) as manager:
            yield manager
    finally:
        logger.disabled = was_disabled


def _read_about(manager: Any, number: int) -> dict[str, Any]:
    """What a checkpoint says of itself.

    Raises:
      _Damaged: if that is not there, or has changed.
    """
    import orbax.checkpoint as ocp

    try:
        sealed = manager.restore(number, args=ocp.args.Composite(about=ocp.args.JsonRestore())).about
        intact = sealed["checksum"] == _checksum(sealed["about"])
    except _UNREADABLE as error:
        raise _Damaged from error
    if not intact:
        raise _Damaged
    return sealed["about"]


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
    stored = {name: str(_Type(*of)) for name, *of in about["arrays"]}
    for name in about["log"]:
        del stored[_log_name(name)]
    if found := _first_difference(stored, {name: str(of) for name, of in types.items()}):
        name, made, now = found
        raise TacitError(
            f"checkpoint {path} was made by another version of Tacit: {name} is {made} there, and {now} here"
        )


def _read_arrays(manager: Any, number: int, about: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of a checkpoint by name, as they are on the disk.

    Raises:
      _Damaged: if they are not there, or have changed.
    """
    import orbax.checkpoint as ocp

    try:
        contents = manager.restore(number, args=ocp.args.Composite(arrays=ocp.args.StandardRestore())).arrays["bytes"]
    except _UNREADABLE as error:
        raise _Damaged from error
    if zlib.crc32(contents.data) != about["checksum"]:
        raise _Damaged
    arrays, start = {}, 0
    for name, *of in about["arrays"]:
        stored = _Type(*of)
        array = np.empty(stored.shape, stored.dtype)
        array.reshape(-1).view(np.uint8)[:] = contents[start : start + array.nbytes]
        arrays[name], start = array, start + array.nbytes
    return arrays


def _named(state: Any) -> dict[str, Any]:
    """The leaves of a state by their paths in it, such as state.params['kernel']."""
    return {f"state{jax.tree_util.keystr(path)}": leaf for path, leaf in jax.tree_util.tree_leaves_with_path(state)}


def _log_name(name: str) -> str:
    return f"log[{name!r}]"


def _type(leaf: Any) -> _Type:
    """What an array, or the `jax.ShapeDtypeStruct` of one, is on the disk."""
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


def _reason(error: Exception) -> str:
    """The operating system's words for an error, which the storage library wraps in many of its own."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    code = re.search(r"os_error_code='(\d+)'", str(error))
    return os.strerror(int(code[1])) if code else str(error).partition("\n")[0]


def _checksum(plain: Any) -> int:
    return zlib.crc32(json.dumps(plain, sort_keys=True).encode())


def _flat(plain: Any, name: str = "") -> dict[str, str]:
    """The values of nested JSON data by dotted names, as JSON."""
    if not isinstance(plain, Mapping) or not plain:
        return {name: json.dumps(plain)}
    parts = [_flat(value, f"{name}.{key}" if name else str(key)) for key, value in plain.items()]
    return {key: value for part in parts for key, value in part.items()}


def _first_difference(made: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, str, str] | None:
    """A name, and what it stands for on both sides, if there is a difference."""
    for name in [*now, *made]:
        if made.get(name) != now.get(name):
            return name, made.get(name, "missing"), now.get(name, "missing")
    return None
