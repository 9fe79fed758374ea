"""What was read of the runs in a folder, kept outside of it: a cache that may be deleted at any time.

    <cache folder>/tacit/index/<hash of the folder>.json      $XDG_CACHE_HOME, else ~/.cache

A newer file is written beside the old one and renamed over it, so that two processes cannot spoil it; of what both have
found out one keeps its own. An entry counts while its run directory
bears the same stamp, all of them while the code that made them is the same. Whatever is wrong with the file, or with
the folder it should be in, costs time and nothing else.
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

_OWN = ("collection.py", "directory.py", "files.py", "index.py", "record.py")
_READERS = (
    estimators.__file__,
    standard_error.__file__,
    config.__file__,
    *(str(Path(__file__).with_name(name)) for name in _OWN),
)
"""The code that makes entries."""


@dataclasses.dataclass
class _Contents:
    """All entries of a folder, by the names of its directories: stamp, facts and, once they are known, summaries."""

    file: Path | None
    entries: dict[str, dict[str, Any]]
    changed: bool = False


class Index:
    """The index of the runs in one folder. What is still unsaved is saved when the object is forgotten."""

    def __init__(self, folder: Path):
        file = index_file(folder)
        self._contents = _Contents(file, {} if file is None else _read(file))
        weakref.finalize(self, _save, self._contents)

    def facts(self, name: str, stamp: str) -> dict[str, Any] | None:
        """What was kept of the run directory `name`, if it bore this stamp then."""
        entry = self._contents.entries.get(name)
        return dict(entry["facts"]) if entry is not None and entry["stamp"] == stamp else None

    def keep_facts(self, name: str, stamp: str, facts: dict[str, Any]) -> None:
        """Remember what a run directory with this stamp said; its older summaries are forgotten."""
        self._contents.entries[name] = {"stamp": stamp, "facts": dict(facts)}
        self._contents.changed = True

    def summaries(self, name: str) -> dict[str, Any] | None:
        """The summaries that were kept of a run directory, as plain data."""
        return self._contents.entries.get(name, {}).get("summaries")

    def keep_summaries(self, name: str, summaries: dict[str, Any]) -> None:
        """Remember the summaries of a run directory whose facts are known."""
        if (entry := self._contents.entries.get(name)) is not None:
            entry["summaries"] = summaries
            self._contents.changed = True

    def forget_all_but(self, names: Collection[str]) -> None:
        """Forget directories that are gone."""
        for name in self._contents.entries.keys() - set(names):
            del self._contents.entries[name]
            self._contents.changed = True

    def save(self) -> None:
        """Write the file anew, if there is news and it can be written."""
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
    """Changes with the code that makes entries, so that none outlives it."""
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
