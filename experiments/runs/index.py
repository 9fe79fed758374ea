"""A cache of what was read of the runs in a folder. It lies outside of the folder and may be deleted at any time.

    <cache folder>/tacit/index/<hash of the folder>.json      $XDG_CACHE_HOME, else ~/.cache

A new file is written under a temporary name and renamed over the old one, so that two processes cannot corrupt it; if
both write, the later one's entries remain. An entry is valid while its run directory has the same stamp, and all
entries while the code that made them is the same. If the file or its folder is missing or unusable, the runs are just
read again.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import weakref
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from experiments.configuration import config
from experiments.runs.files import write_bytes
from games.errors import TacitError
from marl.crossplay import estimators, standard_error

_READERS = (
    estimators.__file__,
    standard_error.__file__,
    config.__file__,
    *sorted(map(str, Path(__file__).parent.glob("*.py"))),
)
"""The code on which the entries depend."""


@dataclasses.dataclass
class _Contents:
    """All entries of a folder, by directory name: stamp, facts and, once they are computed, summaries."""

    file: Path | None
    entries: dict[str, dict[str, Any]]
    changed: bool = False


class Index:
    """The index of the runs in one folder. Unsaved changes are saved when the object is garbage-collected."""

    def __init__(self, folder: Path):
        file = index_file(folder)
        self._contents = _Contents(file, {} if file is None else _read(file))
        weakref.finalize(self, _save, self._contents)

    def facts(self, name: str, stamp: str) -> dict[str, Any] | None:
        """The cached facts of the run directory `name`; None unless they were stored with this stamp."""
        entry = self._contents.entries.get(name)
        return dict(entry["facts"]) if entry is not None and entry["stamp"] == stamp else None

    def keep_facts(self, name: str, stamp: str, facts: dict[str, Any]) -> None:
        """Store the facts of a run directory with this stamp; its older summaries are dropped."""
        self._contents.entries[name] = {"stamp": stamp, "facts": dict(facts)}
        self._contents.changed = True

    def summaries(self, name: str) -> dict[str, Any] | None:
        """The cached summaries of a run directory, as plain data."""
        return self._contents.entries.get(name, {}).get("summaries")

    def keep_summaries(self, name: str, summaries: dict[str, Any]) -> None:
        """Store the summaries of a run directory whose facts are stored."""
        if (entry := self._contents.entries.get(name)) is not None:
            entry["summaries"] = summaries
            self._contents.changed = True

    def forget_all_but(self, names: Collection[str]) -> None:
        """Drop the entries of all other directories, which are gone."""
        for name in self._contents.entries.keys() - set(names):
            del self._contents.entries[name]
            self._contents.changed = True

    def save(self) -> None:
        """Write the file, if anything has changed and the file can be written."""
        _save(self._contents)


def index_file(folder: Path) -> Path | None:
    """Where the index of a folder belongs; None for a user without a home."""
    cache = cache_folder()
    digest = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:24]
    return None if cache is None else cache / "tacit" / "index" / f"{digest}.json"


def cache_folder() -> Path | None:
    """The user's folder for caches; None for a user without a home."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return Path(given) if os.path.isabs(given) else Path.home() / ".cache"
    except RuntimeError:
        return None


def _version() -> str:
    """A hash of the code that makes entries, so that entries of older code are not used."""
    code = b"".join(Path(file).read_bytes() for file in _READERS)
    return hashlib.sha256(code + np.__version__.encode()).hexdigest()


def _read(file: Path) -> dict[str, dict[str, Any]]:
    try:
        written = json.loads(file.read_text())
        entries = written["runs"] if written["version"] == _version() else {}
        if all({"stamp", "facts"} <= set(entry) for entry in entries.values()):
            return entries
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        pass
    return {}


def _save(contents: _Contents) -> None:
    if not contents.changed or contents.file is None:
        return
    with contextlib.suppress(OSError, TacitError):
        contents.file.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(contents.file, json.dumps({"version": _version(), "runs": contents.entries}).encode())
        contents.changed = False
