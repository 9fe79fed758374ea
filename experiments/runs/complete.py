"""The files of a complete run directory, and the checks that every reader makes first."""

import datetime
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.runs import directory
from experiments.runs.files import read_json
from games.errors import TacitError
from marl.crossplay import CrossPlay

EXPECTED = {
    "train": ("crossplay.json", "metrics.npz", "policies.safetensors"),
    "phase": ("phase.json", "solutions.npz"),
    "zsc-table": ("zsc.json", "policies.npz"),
    "structure-table": ("structure.json",),
    "adaptive": ("adaptive.json",),
}
"""The files that a finished run of each command has besides run.json and status.json."""


def read_science(path: Path) -> dict[str, Any]:
    """The contents of run.json.

    Raises:
      TacitError: if it is missing, damaged, or of a newer or an older format.
    """
    description = read_json(path / "run.json")
    directory.check_format("run.json", description.get("format"))
    if missing := {"name", "science"} - set(description):
        raise TacitError(f"run.json is damaged: it does not say {', '.join(sorted(missing))}")
    if not isinstance(description["science"], dict):
        raise TacitError("run.json is damaged: its science is no object")
    _check_types(description)
    return description


def checked_status(path: Path, names: Collection[str]) -> dict[str, Any]:
    """The contents of the status.json of a run directory with files of these names.

    Raises:
      TacitError: if it is missing or damaged, or a value has the wrong type.
    """
    if not names:
        raise TacitError("the directory cannot be read")
    status = directory.read_status(path)
    if status is None:
        raise TacitError("status.json is missing: the directory was copied in part, or is no run's")
    steps, updated = status["steps"], status["updated"]
    if not _is_whole(steps):
        raise TacitError(f"status.json is damaged: its steps must be a whole number, not {steps!r}")
    try:
        zone = datetime.datetime.fromisoformat(updated).tzinfo
    except (TypeError, ValueError):
        zone = None
    if zone is None:
        raise TacitError(f"status.json is damaged: updated must be a time with its zone in ISO 8601, not {updated!r}")
    if not isinstance(status["reason"], str):
        raise TacitError(f"status.json is damaged: its reason must be a text, not {status['reason']!r}")
    return status


def _check_types(description: Mapping[str, Any]) -> None:
    """Refuse the contents of a run.json whose values have the wrong types.

    For commands other than train only the values that all commands share are checked.
    """

    def need(right: bool, what: str, kind: str, value: Any) -> None:
        if not right:
            raise TacitError(f"run.json is damaged: {what} must be {kind}, not {value!r}")

    science: dict[str, Any] = description["science"]
    versions = description.get("versions", {})
    command = science.get("command", "train")
    for what, text in (("its name", description["name"]), ("its command", command)):
        need(isinstance(text, str), what, "a text", text)
    need(isinstance(versions, dict), "its versions", "an object", versions)
    by_default = description.get("by_default", {})
    need(isinstance(by_default, dict), "its by_default", "an object", by_default)
    for group, texts in (("game", ("_target_", "version")), ("policy", ("_target_",)), ("learner", ("_target_",))):
        found: Any = science.get(group)
        if command == "train" or found is not None:
            need(isinstance(found, dict), f"its {group}", "an object", found)
            for key in texts:
                need(isinstance(found.get(key), str), f"{group}.{key}", "a text", found.get(key))
    for key in ("seeds", "first_seed", "steps") if command == "train" else ():
        need(_is_whole(science.get(key)), f"its {key}", "a whole number", science.get(key))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def check_complete(path: Path, command: str, names: Collection[str]) -> None:
    """Refuse a finished run that lacks a file of its command, or whose cross-play cannot be read.

    Raises:
      TacitError: naming the files.
    """
    if missing := [name for name in EXPECTED.get(command, ()) if name not in names]:
        raise TacitError(f"it is finished, and {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    if command == "train":
        for play, cells in directory.read_crossplay(path).items():
            arrays = [getattr(cells, field) for field in CrossPlay._fields if field not in ("labels", "scores")]
            if any(array.ndim == 0 or array.dtype.kind not in "iuf" for array in arrays):
                raise TacitError(f"crossplay.json is damaged: its {play} cells are no numbers")
            lengths = {len(array) for array in arrays}
            if len(lengths) > 1 or cells.seatings.ndim != 2 or not np.isfinite(cells.mean).all():
                raise TacitError(f"crossplay.json is damaged: its {play} cells do not make sense")
