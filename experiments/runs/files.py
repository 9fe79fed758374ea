"""Files that appear complete or not at all: written under a temporary name in their folder, then renamed."""

import io
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from games.errors import TacitError


def make_folder(path: Path) -> Path:
    """The folder `path`, made with those above it if it is not there.

    Raises:
      TacitError: if it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TacitError(f"the folder {path} cannot be made: {error.strerror or error}") from error
    return path


def write_json(file: Path, plain: Any) -> None:
    """Write plain data as JSON, complete or not at all."""
    write_bytes(file, (json.dumps(plain, indent=1, sort_keys=True) + "\n").encode())


def write_bytes(file: Path, contents: bytes, *, synced: bool = False) -> None:
    """Write a file, complete or not at all: under a temporary name, then renamed.

    Args:
      synced: return only when the contents are on the disk, so that they survive a loss of power.

    Raises:
      TacitError: if it cannot be written; an older file of that name is unchanged.
    """
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        try:
            beside.write_bytes(contents)
            if synced:
                _sync(beside)
            os.replace(beside, file)
            if synced:
                _sync(file.parent)  # which holds the name
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise TacitError(f"{file} cannot be written: {error.strerror or error}") from error


def _sync(path: Path) -> None:
    """Wait until a file's contents, or a folder's names, are on the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


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


def write_arrays(file: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays of any shapes [...] by name as an .npz file, complete or not at all."""
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, **arrays)
    write_bytes(file, packed.getvalue())


def read_arrays(file: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by name, of any shapes [...].

    Raises:
      TacitError: if the file is missing or damaged.
    """
    try:
        with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as packed:
            return dict(packed)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise TacitError(f"{file} is missing, cut short or damaged: {error}") from error


def read_metadata(file: Path) -> dict[str, str]:
    """The metadata of a .safetensors file, without its arrays.

    Raises:
      TacitError: if the file is missing or damaged.
    """
    try:
        with safe_open(file, framework="numpy") as opened:
            return opened.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise TacitError(f"{file} is missing, cut short or damaged: {error}") from error


def write_tensors(file: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write arrays of any shapes [...] by name as a .safetensors file, complete or not at all."""
    write_bytes(file, packed_tensors(tensors, metadata))


def packed_tensors(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """The bytes of a .safetensors file with arrays of any shapes [...] by name."""
    return save(dict(tensors), dict(metadata))


def read_tensors(file: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of a .safetensors file by name, of any shapes [...], whoever wrote it, and its metadata.

    Raises:
      TacitError: if the file is missing or damaged.
    """
    try:
        with safe_open(file, framework="numpy") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise TacitError(f"{file} is missing, cut short or damaged: {error}") from error
