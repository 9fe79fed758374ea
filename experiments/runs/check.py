"""`tacit runs check`: verify that the run directories of a folder are complete and match their checksums."""

import hashlib
import io
import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.configuration.config import name_of
from experiments.runs import directory
from experiments.runs.collection import STATES, is_name, run_directories
from experiments.runs.complete import check_complete, checked_status, read_science
from experiments.runs.files import read_json, read_tensors
from games.errors import TacitError, one_of

_LEFT_BEHIND = re.compile(r"\.(?!claim\.\d+$).+\.\d+")
"""The names of temporary files that a process leaves when it is killed while writing."""


class Remark(NamedTuple):
    """Something wrong with a run directory, or worth knowing about it."""

    path: Path
    sentence: str
    damage: bool
    """Whether results are lost or in doubt."""


def check(root: Path | str) -> tuple[int, list[Remark]]:
    """Check every file of a run directory, or of all run directories in a folder; nothing is changed.

    The files of a finished run are compared with its checksums; those of a run that is older than checksums are only
    read. Checkpoints are skipped: they have checksums of their own, which are verified when a training resumes.

    Returns:
      The number of run directories, and the remarks in the order of the directories.

    Raises:
      TacitError: if there is no such folder, or no run in it.
    """
    found = run_directories(Path(root))
    if not found:
        raise TacitError(f"there is no run in {root}")
    return len(found), [remark for path, names in found.items() for remark in _of_run(path, names)]


def _of_run(path: Path, names: set[str]) -> Iterator[Remark]:
    def damaged(sentence: str | Exception) -> Remark:
        return Remark(path, str(sentence).replace(f"{path}{os.sep}", ""), damage=True)

    def remark(sentence: str) -> Remark:
        return Remark(path, sentence, damage=False)

    try:
        status = checked_status(path, names)
        state = one_of("the state in status.json", directory.state_of(path, status), STATES)
        if state == "running":
            return  # its files are about to change
        if left := sorted(name for name in os.listdir(path) if _LEFT_BEHIND.fullmatch(name)):
            yield remark(f"{', '.join(left)} can be deleted: a process was killed while it wrote")
        if "run.json" not in names and state == "cut":
            yield remark("it was cut short before it had said which run it is: training it again begins anew")
            return
        description = read_science(path)
        name = description["name"]
        if (hashed := name_of(description["science"], description.get("by_default"))) != name:
            yield damaged(f"run.json was changed: it says that it is run {name}, and its science that it is {hashed}")
        elif path.name != name and is_name(path.name):
            yield damaged(f"the directory has the name of another run: it holds run {name}")
        elif path.name != name:
            yield remark(f"the directory holds run {name}: no sweep finds it under this name")
        if state != "finished":
            yield from map(damaged, _unreadable(path, names))
        elif "checksums.json" in names:
            expected = _checksums(path)
            yield from map(damaged, _differing(path, expected, names))
            if later := sorted(set(directory.results(path)) - expected.keys()):
                yield remark(f"{', '.join(later)} came into the directory after the run was finished")
        else:
            yield remark(
                "it has no checksums: it was finished before there were any, or copied in part without them; "
                "its files were only read"
            )
            unreadable = list(_unreadable(path, names))
            yield from map(damaged, unreadable)
            if not unreadable:
                check_complete(path, description["science"].get("command", "train"), names)
    except TacitError as error:
        yield damaged(error)
    except OSError as error:  # a folder that can be listed but not entered
        yield damaged(f"the directory cannot be read: {error.strerror}")


def _checksums(path: Path) -> dict[str, str]:
    contents = read_json(path / "checksums.json")
    directory.check_format("checksums.json", contents.get("format"))
    if not isinstance(expected := contents.get("files"), dict):
        raise TacitError("checksums.json is damaged: it names no files")
    return expected


def _differing(path: Path, expected: dict[str, str], names: set[str]) -> Iterator[str]:
    """Which files of a finished run are missing or differ from their checksums."""
    if missing := sorted(expected.keys() - names):
        part = "all" if len(missing) == len(expected) else f"{len(missing)} of the {len(expected)}"
        yield f"{part} files it was finished with are missing, so it was copied in part: {', '.join(missing)}"
    for name in sorted(expected.keys() & names):
        try:
            digest = hashlib.sha256((path / name).read_bytes()).hexdigest()
        except OSError as error:
            yield f"{name} cannot be read: {error.strerror}"
            continue
        if digest != expected[name]:
            yield f"{name} is damaged or was changed: it does not have the checksum that it was written with"


def _unreadable(path: Path, names: set[str]) -> Iterator[Exception]:
    """The error of each file of a run that cannot be read."""
    for name in sorted(names - {"run.json", "status.json"}):
        try:
            if name.endswith(".json"):
                read_json(path / name)
            elif name.endswith(".npz"):
                _read_arrays(path / name)
            elif name.endswith(".safetensors"):
                read_tensors(path / name)
        except TacitError as error:
            yield error


def _read_arrays(file: Path) -> None:
    try:
        with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as arrays:
            for name in arrays.files:
                arrays[name]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise TacitError(f"{file} is cut short or damaged: {error}") from error
