"""What was read of the runs in a folder, kept outside of it: a cache that may be deleted at any time.

    <cache folder>/tacit/index/<hash of the folder>.sqlite      $XDG_CACHE_HOME, else ~/.cache

The file is opened for reading only, and never changed: a newer one is written beside it and renamed over it, so that
two processes cannot spoil it; of what both have found out one keeps its own. An entry counts while its run directory
bears the same stamp, all of them while the code that made them is the same. Whatever is wrong with the file, or with
the folder it should be in, costs time and nothing else.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import sqlite3
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
class _Entry:
    """What is known of one run: JSON, and what its directory looked like then."""

    stamp: str
    facts: str
    summaries: str | None = None


@dataclasses.dataclass
class _Contents:
    """All entries of a folder, by the names of its directories."""

    file: Path | None
    entries: dict[str, _Entry]
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
        return json.loads(entry.facts) if entry is not None and entry.stamp == stamp else None

    def keep_facts(self, name: str, stamp: str, facts: dict[str, Any]) -> None:
        """Remember what a run directory with this stamp said; its older summaries are forgotten."""
        self._contents.entries[name] = _Entry(stamp, json.dumps(facts))
        self._contents.changed = True

    def summaries(self, name: str) -> dict[str, Any] | None:
        """The summaries that were kept of a run directory, as plain data."""
        entry = self._contents.entries.get(name)
        return None if entry is None or entry.summaries is None else json.loads(entry.summaries)

    def keep_summaries(self, name: str, summaries: dict[str, Any]) -> None:
        """Remember the summaries of a run directory whose facts are known."""
        if (entry := self._contents.entries.get(name)) is not None:
            entry.summaries = json.dumps(summaries)
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
    return None if cache is None else cache / "tacit" / "index" / f"{digest}.sqlite"


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


def _read(file: Path) -> dict[str, _Entry]:
    if not file.exists():
        return {}
    try:
        uri = f"{file.as_uri()}?mode=ro&immutable=1"
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as database:
            if database.execute("SELECT version FROM about").fetchall() != [(_version(),)]:
                return {}
            rows = database.execute("SELECT name, stamp, facts, summaries FROM runs").fetchall()
        return {name: _Entry(*rest) for name, *rest in rows}
    except (sqlite3.Error, OSError, TypeError, UnicodeDecodeError):
        return {}


def _save(contents: _Contents) -> None:
    if not contents.changed or contents.file is None:
        return
    with contextlib.suppress(sqlite3.Error, OSError, TacitError):
        with contextlib.closing(sqlite3.connect(":memory:")) as database:
            database.execute("CREATE TABLE about (version TEXT)")
            database.execute("CREATE TABLE runs (name TEXT PRIMARY KEY, stamp TEXT, facts TEXT, summaries TEXT)")
            database.execute("INSERT INTO about VALUES (?)", (_version(),))
            rows = ((name, *dataclasses.astuple(entry)) for name, entry in contents.entries.items())
            database.executemany("INSERT INTO runs VALUES (?, ?, ?, ?)", rows)
            database.commit()
            packed = database.serialize()
        contents.file.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(contents.file, packed)
        contents.changed = False
