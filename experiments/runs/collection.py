"""Collections of runs: their states, selection by keys, a table, and labelled arrays.

    runs = load("runs")
    runs.where("game=hanabi_small", entropy_coef=0.1).finished().table()    # pandas
    runs.finished().crossplay("greedy")["score"].mean(["partner_seed", "seat"])  # xarray

What was read is cached in an index outside of the folder (`experiments.runs.index`), so that thousands of runs load in
about a second; run directories are never written.
"""

import contextlib
import importlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, overload

from experiments.configuration import conf_files
from experiments.runs import directory
from experiments.runs.complete import EXPECTED, check_complete, checked_status, read_science
from experiments.runs.directory import RESULT_FOLDERS
from experiments.runs.files import read_json
from experiments.runs.index import Index
from experiments.runs.labelled import dataset
from experiments.runs.record import Record, plain_text
from games.errors import TacitError, nearest, one_of, one_spelling
from marl.crossplay.estimators import Estimate

if TYPE_CHECKING:
    import pandas
    import xarray

STATES = ("finished", "running", "cut", "failed")
"""The states of a run that is not damaged."""
PLAYS = ("sampled", "greedy")
STAMPED = ("run.json", "status.json", "crossplay.json", "crossplay.npz")
"""The files whose contents decide what a record says; older runs lack the last."""
_SEEN = {*STAMPED, *(name for names in EXPECTED.values() for name in names)}
_MARKS = {"run.json", "status.json", "metrics.npz", "policies.safetensors", "checkpoints"}
"""A folder with one of these is a run directory."""
_MOST_LISTED = 5
"""The most runs that an error lists."""
_A_NAME = re.compile("[0-9a-f]{12}")
_ESTIMATES = {"sp": "self_play", "xp": "cross_play", "gap": "gap"}


class Runs(Sequence[Record]):
    """Runs in the order of their paths: `runs[0]`, `runs[:3]`, or by the beginning of a name, `runs["93cde6"]`."""

    def __init__(self, records: Iterable[Record]):
        self._records = tuple(records)

    @overload
    def __getitem__(self, index: int | str) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> "Runs": ...
    def __getitem__(self, index: int | str | slice) -> "Record | Runs":
        if isinstance(index, str):
            return self._named(index)
        return Runs(self._records[index]) if isinstance(index, slice) else self._records[index]

    def _named(self, beginning: str) -> Record:
        """The one run whose name begins so."""
        found = [record for record in self if record.name.startswith(beginning)]
        if len(found) == 1:
            return found[0]
        if found:
            raise TacitError(f"{len(found)} runs have names that begin with {beginning!r}: {_listed_in(found)}")
        raise TacitError(f"none of the {len(self)} runs has a name that begins with {beginning!r}: {_listed_in(self)}")

    def __len__(self) -> int:
        return len(self._records)

    def __add__(self, other: "Runs") -> "Runs":
        return Runs((*self, *other)) if isinstance(other, Runs) else NotImplemented

    def __repr__(self) -> str:
        return f"<{len(self)} runs>"

    def finished(self) -> "Runs":
        """Those that are finished."""
        return Runs(record for record in self if record.state == "finished")

    def by_game(self) -> list["Runs"]:
        """The runs of each game and board, whatever its version; only scores of one game compare."""
        found: dict[str, list[Record]] = {}
        for record in self:
            game = {key: value for key, value in (record.science.get("game") or {}).items() if key != "version"}
            found.setdefault(plain_text(game), []).append(record)
        return [Runs(found[game]) for game in sorted(found)]

    def where(self, *conditions: str, **values: Any) -> "Runs":
        """Those that meet all conditions, as texts "KEY=VALUE" or as keywords, `where("game=lever", entropy_coef=0.1)`.

        KEY is a key of `Record.keys` or the end of one that no other key shares ("entropy_coef"). VALUE is read as
        JSON (0.1, true, null, [64, 64]), else as text; 1 and 1.0 are equal. In "game" capitals do not count, nor
        does - instead of _. "policy" and "learner" stand for their classes, FeedForward or feed_forward. All three
        may also be Python paths, as on the command line: game=mined.Mined. "command" is the command that made the run.

        Raises:
          TacitError: for a condition without =, a key that no run has, and an ending that several keys share.
        """
        chosen = self._records
        texts = [*conditions, *(f"{key}={one if isinstance(one, str) else _json(one)}" for key, one in values.items())]
        for condition in texts:
            if not isinstance(condition, str) or "=" not in condition:
                raise TacitError(f"a condition is KEY=VALUE, such as game=hanabi_small, not {condition!r}")
            key, _, value = condition.partition("=")
            if key == "command":
                chosen = tuple(record for record in chosen if record.command == value)
                continue
            full = self.key(key) if self else key
            chosen = tuple(record for record in chosen if full in record.keys and _meets(record, full, value))
        return Runs(chosen)

    def key(self, text: str) -> str:
        """The key of `Record.keys` that `text` is, or ends alone.

        Raises:
          TacitError: if no run has such a key, or several keys end so.
        """
        known = dict.fromkeys(key for record in self for key in record.keys)
        if text == "command":  # a key of other runs than training runs, and a fact of all
            return text
        if text in ("policy", "learner") and f"{text}._target_" in known:
            return f"{text}._target_"
        if text in known:
            return text
        ends = [key for key in known if key.endswith(f".{text}")]
        if len(ends) > 1:
            raise TacitError(f"{text!r} may be {' or '.join(ends)}: say which")
        if not ends:
            shown = {key.rpartition(".")[2]: key for key in known}
            end = text.rpartition(".")[2]  # budget.steps is the key of the command line, and steps that of the run
            near = end if end in shown else nearest(text, [*known, *shown])
            hint = f"; did you mean {shown.get(near, near)!r}?" if near else ""
            raise TacitError(f"none of the {len(self)} runs has a key {text!r}{hint}")
        return ends[0]

    def varying(self) -> list[str]:
        """The keys in which the runs differ, in the order of the first run's keys; one that a run lacks counts."""
        known = dict.fromkeys(key for record in self for key in record.keys)
        return [key for key in known if len({plain_text(record.keys.get(key)) for record in self}) > 1]

    def determining_keys(self, keys: Sequence[str] | None = None) -> dict[str, list[str]]:
        """Those of `keys` that no other one determines, each with the keys that it determines.

        A key determines another one if all runs with the same value of it have the same value of the other. Of keys
        that determine each other the first is taken.

        Args:
          keys: keys of `Record.keys`; by default those in which the runs differ.
        """
        keys = self.varying() if keys is None else keys
        values = {key: self._texts(key) for key in keys}
        found: dict[str, list[str]] = {}
        for key in sorted(keys, key=lambda key: -len(set(values[key]))):  # most values first
            determining = next((one for one in found if _determines(values[one], values[key])), None)
            if determining is None:
                found[key] = []
            else:
                found[determining].append(key)
        return found

    def determines(self, key: str, other: str) -> bool:
        """Whether `key` determines `other`, as in `determining_keys`."""
        return _determines(self._texts(key), self._texts(other))

    def _texts(self, key: str) -> list[str]:
        return [plain_text(record.keys.get(key)) for record in self]

    def table(self) -> "pandas.DataFrame":
        """A row for each run: name, state, command, its keys, scores with their 95 % intervals, path.

        The scores are columns such as sampled_sp, sampled_sp_low, sampled_sp_high, sampled_xp_…, sampled_gap_…,
        greedy_…; missing where they cannot be estimated. `seeds` and `steps` are what the run was to do, `steps_done`
        is what it did.

        Raises:
          TacitError: if pandas is not installed.
        """
        return _extra("pandas", "table").DataFrame([_row(record) for record in self])

    def crossplay(self, play: str = "greedy") -> "xarray.Dataset":
        """The cells of all runs as labelled arrays `score`, `standard_error`, `games`, `bombed`, `length`.

        The first dimensions are the keys in which the runs differ, named by their last part (entropy_coef) where that
        is unique. Of keys that change together the first is the dimension, and the others are coordinates along it.
        Then come `seed`, for two players `partner_seed`, and `seat`, the seat of `seed`. With more than two players the
        arrays are over all cells in which other seeds sit in all other seats (`labelled.by_seat`), and `self_play` is a
        seed's score with itself; `Record.crossplay` has the cells one by one. What was not played is nan.

        Args:
          play: sampled | greedy.

        Raises:
          TacitError: if xarray is not installed, a run is not a finished training run, the runs differ in their numbers
            of players or seeds, or two runs have the same keys.
        """
        varying = self.varying()
        play, xarray = one_of("play", play, PLAYS), _extra("xarray", "crossplay")
        return dataset(self, varying, self.determining_keys(varying), play, xarray)


def load(root: Path | str | Sequence[Path | str], *, index: bool = True, missing_ok: bool = False) -> Runs:
    """All runs of a folder: finished or not, damaged ones too.

    Args:
      root: a run directory, a folder of run directories (folders of results beside runs are skipped), or several.
      index: use the index, and update it.
      missing_ok: return no runs where there is no such folder, or no run in it.

    Raises:
      TacitError: if there is no such folder, or no run in it, unless `missing_ok`.
    """
    given = [root] if isinstance(root, Path | str) else root
    if not isinstance(given, Sequence) or not all(isinstance(one, Path | str) for one in given):
        raise TacitError(f"runs are loaded from a folder, or a list of folders, not {root!r}")
    roots = list(map(Path, given))
    roots = [one for one in roots if one.exists() or not missing_ok]
    found = {path: names for one in roots for path, names in run_directories(one).items()}
    if not found and missing_ok:
        return Runs(())
    if not found:
        raise TacitError(f"there is no run in {', '.join(map(str, roots))}")
    indexes = {folder: Index(folder) for folder in {path.parent for path in found}} if index else {}
    records = [_record(path, names, indexes.get(path.parent)) for path, names in found.items()]
    for folder, one in indexes.items():
        if folder in roots:  # the whole folder was read
            one.forget_all_but({path.name for path in found if path.parent == folder})
        one.save()
    return Runs(records)


def boards(found: Sequence[Record]) -> list[dict[str, Any]]:
    """For each run what tells its game apart from others of its name, whatever its version: {"game.players": 2}.

    These are the keys of the game in which the runs whose game has the same short name differ.
    """
    same_name: dict[str, list[Record]] = {}
    for record in found:
        same_name.setdefault(record.keys["game"], []).append(record)
    differing = {
        name: [key for key in Runs(some).varying() if key.startswith("game.") and key != "game.version"]
        for name, some in same_name.items()
    }
    return [{key: record.keys.get(key) for key in differing[record.keys["game"]]} for record in found]


def run_directories(root: Path) -> dict[Path, set[str]]:
    """The run directories in `root`, sorted by name, or `root` itself if it is one, each with the names of its files.

    Damaged ones count. A folder with a run's name counts as soon as it is not empty. A folder that cannot be listed
    counts too, since it may be one; it alone is returned with no names.

    Raises:
      TacitError: if there is no such folder, or it cannot be listed.
    """
    if not root.is_dir():
        raise TacitError(f"there is no folder {root}")
    try:
        names = set(os.listdir(root))
    except OSError as error:
        raise TacitError(f"{root} cannot be read: {error.strerror}") from error
    if names & _MARKS:
        return {(root if root.name not in ("", "..") else root.resolve()): names}
    if root.name in RESULT_FOLDERS:
        return {}
    inside = {root / name: _listed(root / name) for name in sorted(names)}
    return {path: held or set() for path, held in inside.items() if _is_run(path, held)}


def training_runs(paths: Sequence[Path]) -> list[Path]:
    """The training runs among `paths`, in which a folder stands for its run directories.

    Folders of results and runs of the exact lab are left out, so that runs and runs/* mean the training runs. If all
    runs are of the exact lab they are kept, so that reading them raises an error that says what is needed.

    Raises:
      TacitError: if nothing is left.
    """
    found = [run for path in paths for run in _runs_of(path)]
    if not found:
        raise TacitError(f"there is no run in {', '.join(map(str, paths))}")
    return [path for path in found if not _exact(path)] or found


def _runs_of(path: Path) -> list[Path]:
    """The run directories in a folder, or a path that is no folder or not such a one, so that reading it says why."""
    if path.name in RESULT_FOLDERS and not (path / "run.json").exists():
        return []
    inside = list(run_directories(path)) if path.is_dir() else []
    return [path] if inside == [] or path.resolve() in [run.resolve() for run in inside] else inside


def _exact(path: Path) -> bool:
    """Whether `path` is a run of another command than `tacit train`; False for what cannot be read."""
    try:
        return "command" in read_json(path / "run.json")["science"]
    except (TacitError, KeyError, TypeError):
        return False


def is_name(text: str) -> bool:
    """Whether a run may have this name: 12 hexadecimal digits."""
    return _A_NAME.fullmatch(text) is not None


def _is_run(path: Path, held: set[str] | None) -> bool:
    """Whether a folder that holds these names (None: it cannot be listed) is to be shown as a run."""
    if held is None:
        return path.name not in RESULT_FOLDERS
    return bool(held & _MARKS or (held and is_name(path.name)))


def _listed(path: Path) -> set[str] | None:
    """The names in a folder except hidden ones; empty if it is hidden or not a folder; None if it is unreadable."""
    try:
        return set() if path.name.startswith(".") else {name for name in os.listdir(path) if name[0] != "."}
    except (NotADirectoryError, FileNotFoundError):  # a file, or deleted just now
        return set()
    except OSError:
        return None


def _record(path: Path, names: set[str], index: Index | None) -> Record:
    stamp = _stamp(path, names)
    facts = None if index is None else index.facts(path.name, stamp)
    if facts is None:
        facts = _facts(path, names)
        if index is not None:
            index.keep_facts(path.name, stamp, facts)
    if facts["state"] == "running":  # its process may die without changing any file
        facts["state"] = directory.state_of(path, facts)
        facts["reason"] = "its process is gone" if facts["state"] == "cut" else ""
    return Record(path=path, index=index, **facts)


def _stamp(path: Path, names: set[str]) -> str:
    """A text that changes whenever the files that `_facts` reads change."""
    seen: list[Any] = sorted(names & _SEEN)
    for name in STAMPED:
        with contextlib.suppress(OSError):  # missing, or in a folder without permission to enter
            about = os.stat(path / name)
            seen += [name, about.st_mtime_ns, about.st_size]
    return json.dumps(seen)


def _facts(path: Path, names: set[str]) -> dict[str, Any]:
    """What the files of a run directory say; damage is a state. Whether a running process is alive is not checked."""
    facts = {
        "command": "", "name": path.name, "science": {}, "versions": {}, "state": "damaged", "reason": "", "steps": 0,
        "updated": "",
    }  # fmt: skip
    try:
        status = checked_status(path, names)
        facts |= {"steps": status["steps"], "updated": status["updated"]}
        if status["state"] == "running" and "run.json" not in names:  # it has just begun, or was killed early
            return {**facts, "state": "running"}
        description = read_science(path)
        science = description["science"]
        facts |= {"command": science.get("command", "train"), "name": description["name"], "science": science}
        facts |= {"versions": description.get("versions", {})}
        if status["state"] == "finished":
            check_complete(path, facts["command"], names)
        state = "cut" if status["state"] == "interrupted" else status["state"]
        return {**facts, "state": one_of("the state in status.json", state, STATES), "reason": status["reason"]}
    except TacitError as error:
        return {**facts, "reason": str(error).replace(f"{path}{os.sep}", "")}
    except OSError as error:  # a folder that can be listed but not entered
        return {**facts, "reason": f"the directory cannot be read: {error.strerror}"}


def _listed_in(found: Sequence[Record]) -> str:
    """The paths of a few runs."""
    shown = [str(record.path) for record in found[:_MOST_LISTED]]
    return ", ".join([*shown, *(["…"] if len(found) > _MOST_LISTED else [])]) or "there is no run"


def _json(value: Any) -> str:
    """A value in Python as a condition has it."""
    try:
        return plain_text(value)
    except TypeError as error:
        raise TacitError(f"a condition's value is a number, a word or a list of them, not {value!r}") from error


def _determines(finer: Sequence[str], coarser: Sequence[str]) -> bool:
    """Whether equal values of `finer` always come with equal values of `coarser`."""
    return len(set(zip(finer, coarser, strict=True))) == len(set(finer))


def _meets(record: Record, key: str, wanted: str) -> bool:
    value = record.keys[key]
    if key == "game":
        return (
            one_spelling(str(value)) == one_spelling(conf_files.game_named(wanted))
            or record.keys.get("game._target_") == wanted
        )
    if str(value) == wanted:
        return True
    if key in ("policy._target_", "learner._target_"):
        return _letters(str(value).rpartition(".")[2]) == _letters(wanted)
    try:
        return plain_text(value) == plain_text(json.loads(wanted))
    except ValueError:
        return False


def _letters(name: str) -> str:
    """A name in one spelling: FeedForward, feed_forward and feed-forward become the same."""
    return re.sub("[_-]", "", name).lower()


def _row(record: Record) -> dict[str, Any]:
    row = {"name": record.name, "state": record.state, "reason": record.reason, "command": record.command}
    row |= {**record.keys, "steps_done": record.steps, "updated": record.updated}
    for play, summary in record.summaries.items():
        for short, field in _ESTIMATES.items():
            estimate: Estimate = getattr(summary, field)
            row |= {
                f"{play}_{short}": estimate.mean,
                f"{play}_{short}_low": estimate.low,
                f"{play}_{short}_high": estimate.high,
            }
    return {**row, "path": str(record.path)}


def _extra(library: str, method: str) -> ModuleType:
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise TacitError(f"{method}() needs {library}: pip install 'tacit[analysis]'") from error
