"""`make results`: the runs behind the tables of docs/, a record of each in results/, and the tables in the pages.

A **piece** (`docs.pieces`) has commands of `tacit`, which reuse finished runs and resume stopped ones, and a function
that reads their results. Its **record** (`docs.records`), results/<piece>.json, has the tables, the numbers they show
and how they were made. A record is made again only if its commands or versions differ from those of the code, so that
hours of work can be spread over days and machines. Pages take their tables from records: between

    <!-- results: demo.table -->
    <!-- end of results -->

is the table `table` of the piece `demo`, and below it how it was made; nothing there is written by hand.

    python -m docs.results                 all pieces, then the pages
    python -m docs.results demo methods    these, and the pieces they need
    python -m docs.results --small         all in minutes, as a test: records below runs/, pages unchanged
    python -m docs.results --pages         the pages alone, from the existing records
"""

import argparse
import datetime
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.measure import processor
from docs.full_game import draw_full_game
from docs.ladder import draw_ladder
from docs.pieces import PIECES, draw_gaps
from docs.records import CONVENTIONS, Records, depends_on, outdated
from experiments import runs
from experiments.configuration.config import name_of
from games.errors import TacitError

ROOT = Path(__file__).parents[1]
RECORDS = ROOT / "results"
RUNS = Path("runs") / "results"
MOST_BYTES = 50_000
"""The greatest size of a record."""

_BLOCK = re.compile(r"(<!-- results: ([\w/]+)\.(\w+) -->\n).*?(<!-- end of results -->)", re.DOTALL)


# -------------------------------------------------------------------------------------------------------- what is made


def make(piece: str, records: Records, *, small: bool) -> None:
    """Run a piece's commands, read their results, and write its record; do nothing if the record is up to date.

    Raises:
      TacitError: if a command fails, a record that it needs is missing, or its own is too large.
    """
    commands = [
        f"{command} {PIECES[piece].smaller}" if small else command for command in PIECES[piece].commands(records)
    ]
    record = records.read(piece)
    if record is not None and record["commands"] == commands and not outdated(record):
        print(f"{piece}: there is a record of these commands and versions", flush=True)
        return
    folder = (records.folder / "work" if small else RUNS) / piece / name_of({"commands": commands})
    folder.mkdir(parents=True, exist_ok=True)
    spent = folder / "seconds.json"  # of earlier calls that were stopped
    for number, command in enumerate(commands, start=1):
        print(f"{piece}, {number} of {len(commands)}: tacit {command}", flush=True)
        began = time.monotonic()
        status = tacit(command, folder)
        seconds = (runs.read_json(spent)["seconds"] if spent.exists() else 0) + time.monotonic() - began
        runs.write_json(spent, {"seconds": seconds})
        if status:
            raise TacitError(
                f"{piece}: tacit {command} ended with status {status}; the same command goes on from there"
            )
    found = PIECES[piece].read(folder, small)
    made = {
        "commands": commands,
        "depends": depends_on(found.paths) | ({"conventions": CONVENTIONS} if found.measured else {}),
        "made": {**provenance(), "seconds": round(runs.read_json(spent)["seconds"])},
        "tables": found.tables,
        "numbers": rounded(found.numbers),
    }
    text = (json.dumps(made, sort_keys=True) + "\n").encode()
    if len(text) > MOST_BYTES:
        raise TacitError(
            f"the record of {piece} has {len(text)} bytes, and at most {MOST_BYTES} belong into the repository"
        )
    records.folder.mkdir(parents=True, exist_ok=True)
    runs.write_bytes(records.file(piece), text)


def tacit(command: str, folder: Path) -> int:
    """The exit status of a command line of `tacit`, run in a folder by the code beside docs/."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}  # else what is installed, perhaps of another clone
    words = [sys.executable, "-m", "experiments.cli", *command.split()]
    return subprocess.run(words, cwd=folder, env=environment).returncode


def rounded(plain: Any) -> Any:
    """Plain data with every number rounded to six digits."""
    if isinstance(plain, Mapping):
        return {key: rounded(value) for key, value in plain.items()}
    if isinstance(plain, list | tuple):
        return list(map(rounded, plain))
    return float(f"{plain:.6g}") if isinstance(plain, float) else plain


def provenance() -> dict[str, str]:
    """The machine, the versions and the commit with which a record is made."""
    code = ("*.py", "conf", "requirements")
    commit, changes = (
        subprocess.run(["git", "-C", ROOT, *asked], capture_output=True, text=True).stdout.strip()
        for asked in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "--", *code))
    )
    return {
        "commit": commit + " with changes" * bool(changes) or "unknown",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "jax": version("jax"),
        "python": platform.python_version(),
        "machine": processor(),
    }


# ---------------------------------------------------------------------------------------------------------------- pages


def page(text: str, records: Records) -> str:
    """A page with every table replaced by that of its record; a table without a record is not changed.

    Raises:
      TacitError: if the page names a piece or a table that does not exist.
    """

    def filled(block: re.Match[str]) -> str:
        piece, table = block[2], block[3]
        if piece not in PIECES:
            raise TacitError(f"a page names the piece {piece}, which there is not: {', '.join(PIECES)}")
        if (record := records.read(piece)) is None:
            return block[0]
        if table not in record["tables"]:
            raise TacitError(f"the piece {piece} has no table {table}, only {', '.join(record['tables'])}")
        text = re.sub(r"^\* ", r"\\* ", record["tables"][table], flags=re.MULTILINE)  # as `tables.markdown` does now
        return f"{block[1]}\n{text}\n\n{made_by(record)}\n\n{block[4]}"

    return _BLOCK.sub(filled, text)


def made_by(record: Mapping[str, Any]) -> str:
    """The lines below a table: how it was made, and which of its dependencies have changed since."""
    made, depends = record["made"], record["depends"]
    seeds = " and ".join(f"{first}–{last}" for first, last in depends.get("seeds", ()))
    versions = sorted({game["version"] for game in depends["games"]} | set(depends.get("learners", {}).values()))
    versions += [depends[name] for name in ("cross-play", "search", "conventions") if name in depends]
    said = [
        f"Made by {', '.join(f'`tacit {command}`' for command in record['commands'])}",
        *([f"seeds {seeds}"] if seeds else []),
        *([", ".join(versions)] if versions else []),
        f"jax {made['jax']}, Python {made['python']}, {made['machine']}",
        f"{made['seconds'] // 60} min {made['seconds'] % 60:02d} s",
        f"{made['date']}, commit {made['commit']}",
    ]
    older = f" **Older than the code: {', '.join(found)}.**" if (found := outdated(record)) else ""
    return f"<small>{'; '.join(said)}.{older}</small>"


def write_pages(records: Records) -> list[Path]:
    """Update the pages of docs/ from the records; return the pages that changed."""
    changed = []
    for file in sorted((ROOT / "docs").glob("*.md")):
        text = file.read_text()
        if (new := page(text, records)) != text:
            file.write_text(new)
            changed.append(file)
    return changed


def main(arguments: Sequence[str] | None = None) -> None:
    """Make pieces and pages."""
    parser = argparse.ArgumentParser(prog="python -m docs.results", description="Make the results of docs/ again.")
    parser.add_argument("piece", nargs="*", help=f"{', '.join(PIECES)}; none: all")
    parser.add_argument(
        "--small", action="store_true", help="all in minutes; no page and no record in results/ changes"
    )
    parser.add_argument("--pages", action="store_true", help="only the pages")
    given = parser.parse_args(arguments)
    if unknown := sorted(set(given.piece) - set(PIECES)):
        parser.error(f"there is no piece {', '.join(unknown)}, only {', '.join(PIECES)}")
    records = Records(RUNS / "small" if given.small else RECORDS)
    try:
        if not given.pages:
            wanted = given.piece or list(PIECES)
            for piece in dict.fromkeys(one for name in wanted for one in (*PIECES[name].needs, name)):
                make(piece, records, small=given.small)
        if not given.small:
            draw_gaps(records)
            draw_ladder(records)
            draw_full_game(records)
            for file in write_pages(records):
                print(file)
    except TacitError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
