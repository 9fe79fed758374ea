"""`tacit status` and `tacit runs check`: the states of the runs of a folder, read from their directories."""

import collections
import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.presentation import tables, terminal
from experiments.presentation.tables import Column, Table
from experiments.runs import check as checking
from experiments.runs import saved_steps
from experiments.runs.collection import STATES, Runs, load
from experiments.runs.record import Record

_ALL = (*STATES, "damaged")


def status(roots: Sequence[Path], *, as_json: bool) -> None:
    """Print the number of runs in each state, and each run that is not finished with its reason.

    Only run directories are read, since a scheduler reports a job as completed even if its run has failed.

    Raises:
      TacitError: if there is no such folder, or no run in it.
    """
    contents = standing(load(roots))
    if as_json:
        print(json.dumps(contents, indent=1))
        return
    print(", ".join(f"{number:,} {state}" for state, number in contents["counts"].items()))
    if contents["unfinished"]:
        tables.show([table(contents["unfinished"])])


def table(unfinished: Sequence[Mapping[str, Any]]) -> Table:
    """The runs that are not finished, as `standing` gives them."""
    now = datetime.datetime.now(datetime.UTC)
    rows = [
        [
            Path(run["path"]).name,
            run["state"],
            run["game"],
            f"{run['steps']:,}" if run["total"] is None else f"{run['steps']:,} of {run['total']:,}",
            "none" if run["saved"] is None else f"{run['saved']:,}",
            terminal.ago(run["updated"], now) if run["updated"] else "",
            run["reason"],
        ]
        for run in unfinished
    ]
    names = ("run", "state", "game", "steps", "in checkpoint", "last heard", "reason")
    return Table("", [Column(name, words=name not in ("steps", "in checkpoint")) for name in names], rows)


def standing(runs: Runs) -> dict[str, Any]:
    """As plain data, `counts` of the runs in each state, and the facts about each of the `unfinished` ones."""
    counts = collections.Counter(record.state for record in runs)
    unfinished = [record for state in _ALL[1:] for record in runs if record.state == state]
    return {"counts": {state: counts[state] for state in _ALL}, "unfinished": [_plain(one) for one in unfinished]}


def _plain(record: Record) -> dict[str, Any]:
    return {
        "path": str(record.path),
        "name": record.name,
        "state": record.state,
        "game": record.keys["game"],
        "steps": record.steps,
        "total": record.science.get("steps"),
        "saved": saved_steps(record.path),
        "updated": record.updated,
        "reason": record.reason,
    }


def check(roots: Sequence[Path]) -> bool:
    """Print the damage found in the runs of some folders, a line each; True if there is none.

    Raises:
      TacitError: if there is no such folder, or no run in it.
    """
    checked = [checking.check(root) for root in roots]
    total, remarks = sum(number for number, _ in checked), [one for _, found in checked for one in found]
    for remark in remarks:
        print(f"{'DAMAGED ' if remark.damage else ''}{remark.path}: {remark.sentence}")
    bad = len({remark.path for remark in remarks if remark.damage})
    print(f"{total} run{'s' if total > 1 else ''} checked, {bad or 'none'} damaged")
    return not bad
