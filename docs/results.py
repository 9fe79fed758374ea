"""`make results`: the runs behind the tables of docs/, a record of each in results/, and the tables in the pages.

A **piece** is what one table needs: commands of `tacit`, which take up what is finished and go on with what was
stopped, and a function that reads what they left. Its **record**, results/<piece>.json, has the tables, the numbers
they show and how they were made. A record whose commands and versions are those of the code is not made again, so that
hours can be spread over days and machines. Pages are made of records: between

    <!-- results: demo.table -->
    <!-- end of results -->

stands the table `table` of the piece `demo` with what made it below; nothing there is written by hand.

    python -m docs.results                 all pieces, then the pages
    python -m docs.results demo methods    these, and what they need
    python -m docs.results --small         all in minutes, for the machinery: records below runs/, pages left alone
    python -m docs.results --pages         the pages alone, from the records that there are
"""

import argparse
import datetime
import json
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.measure import processor
from experiments import compare, compare_formats, methods, runs, targets
from experiments.config import CrossPlayConfig, build_game, name_of
from games.errors import TacitError
from marl import crossplay
from marl.crossplay.comparisons import difference_test, holm, own_cells

ROOT = Path(__file__).parents[1]
RECORDS = ROOT / "results"
FIGURES = ROOT / "docs" / "figures"
RUNS = Path("runs") / "results"
MOST_BYTES = 50_000
"""Of a record."""

_BLOCK = re.compile(r"(<!-- results: ([\w/]+)\.(\w+) -->\n).*?(<!-- end of results -->)", re.DOTALL)


class Found(NamedTuple):
    """What was read of a piece's folder."""

    tables: dict[str, str]
    """Markdown, by name."""
    numbers: Any
    """What the tables show and more, as plain data."""
    paths: Sequence[Path]
    """The runs that they are of."""


class Piece(NamedTuple):
    """What one table needs."""

    commands: Callable[["Records"], Sequence[str]]
    """Arguments of `tacit`, to run in a folder of the piece's own; from the records of the pieces that it needs."""
    read: Callable[[Path, bool], Found]
    """What stands in that folder afterwards; and whether the size is small."""
    needs: tuple[str, ...] = ()


class Records(NamedTuple):
    """The records in a folder."""

    folder: Path

    def file(self, piece: str) -> Path:
        """Where the record of a piece is, or would be."""
        return self.folder / f"{piece.replace('/', '_')}.json"

    def read(self, piece: str) -> dict[str, Any] | None:
        """A record, or None if there is none."""
        return runs.read_json(self.file(piece)) if self.file(piece).exists() else None


# ----------------------------------------------------------------------------------------------------- what is compared

SMALL = "seeds=6 budget.steps=8192 crossplay.games=20 execution.rows=2"
"""Added to every training at the small size: enough seeds for intervals."""
COEFFICIENTS = (0.002, 0.02, 0.07)
"""The grid of every method's entropy coefficient, each at the budget of the table: docs/protocol.md."""
LOW = COEFFICIENTS[0]
METHODS = {
    "IPPO": "experiment=methods/ippo",
    "MAPPO": "experiment=methods/mappo",
    "IPPO, separate critic": "experiment=methods/separate_critic",
    "Other-Play": "experiment=methods/other_play",
    "OBL level 1": "experiment=methods/off_belief",
    "MAGRPO, batch_std": "experiment=methods/magrpo learner.advantage_normaliser=batch_std",
    "MAGRPO, group_std": "experiment=methods/magrpo learner.advantage_normaliser=group_std",
}
PARTNERS = "iggi,piers,outer,van_den_bergh,hle_simple,focus,uniform"
CONTRASTS = (
    ("IPPO", "IPPO, low"),
    ("MAPPO", "IPPO, separate critic"),
    ("Other-Play", "IPPO, low"),
)
"""Named before they were run: greedy XP of the first minus that of the second; corrected among themselves."""


def made_now(folder: Path) -> list[Path]:
    """The runs in a folder that are of the code's versions; those of older ones stay there, and belong to no table."""
    paths = sorted(file.parent for file in folder.glob("*/run.json"))
    return [path for path in paths if not outdated({"depends": depends_on([path])})]


def trained(command: str, figure: str = "") -> Piece:
    """A piece of trainings: the table of `tacit compare` of them all and, if it has a name, its figure in docs/."""

    def read(folder: Path, small: bool) -> Found:
        comparison = compare.compare(made_now(folder / "runs"))
        if figure and not small:
            from experiments import figures

            figures.save(compare.figure(comparison), FIGURES / figure)
        numbers = json.loads(compare_formats.as_json([comparison]))
        return Found({"table": compare.markdown(comparison)}, numbers, [row.path for row in comparison.rows])

    return Piece(lambda records: [f"train {command}"], read)


def choose(method: str) -> Piece:
    """The grid of a method's entropy coefficient on seeds 0 to 7."""
    grid = ",".join(map(str, COEFFICIENTS))
    return trained(f"{METHODS[method]} learner.entropy_coef=[{grid}] seeds=8 first_seed=0")


def chosen(records: Records, method: str) -> float:
    """The coefficient of the grid with the greatest greedy XP."""
    record = records.read(f"choose/{_slug(method)}")
    if record is None:
        raise TacitError(f"the piece methods needs the record of choose/{_slug(method)}")
    rows = record["numbers"]
    return max(rows, key=lambda row: row["greedy"]["cross_play"]["mean"])["learner.entropy_coef"]


def fresh_seeds(records: Records) -> list[str]:
    """Every method at the coefficient that was chosen for it, and IPPO at the lowest, on 16 other seeds."""
    commands, fresh = [], "seeds=16 first_seed=100"
    for method, experiment in METHODS.items():
        coefficient = chosen(records, method)
        commands.append(
            f"train {experiment} {fresh} learner.entropy_coef={coefficient} execution.output={_slug(method)}"
        )
    return [*commands, f"train {METHODS['IPPO']} {fresh} learner.entropy_coef={LOW} execution.output=ippo_low"]


def with_each_other(folder: Path, small: bool) -> Found:
    """The tables of `tacit methods` of all methods, and the contrasts that were named."""
    named = []
    for method in (*METHODS, "IPPO, low"):
        (path,) = made_now(folder / _slug(method))
        named.append((method, path))
    config = CrossPlayConfig(games=20 if small else 1000)
    table = methods.methods_table(named, config, folder / "methods", with_partners=PARTNERS)
    greedy = own_cells(*table.results["greedy"].cells, table.method_of_agent)
    tested = [difference_test(greedy[first], greedy[second]) for first, second in CONTRASTS]
    corrected = holm([one.p for one in tested])
    lines = ["| greedy XP | difference | p, Holm over these |", "|---|---|---|"]
    lines += [
        f"| {first} − {second} | {compare.text_of(one.difference)} | {p:.3f} |"
        for (first, second), one, p in zip(CONTRASTS, tested, corrected, strict=True)
    ]
    sections = dict(part.split("\n", 1) for part in methods.markdown(table).split("### ")[1:])
    tables = {name.split()[0].lower(): text.strip() for name, text in sections.items()}
    numbers = runs.read_json(folder / "methods" / "table.json")
    return Found({**tables, "contrasts": "\n".join(lines)}, numbers, [path for _, path in named])


PIECES: dict[str, Piece] = {
    "choose/demo": trained("experiment=demo first_seed=0"),
    "demo": trained("experiment=demo", "demo"),
    "small_sweep": trained("experiment=small_sweep", "small_sweep"),
    "ablation_entropy": trained("experiment=ablation/entropy", "ablation_entropy"),
    "ablation_gae_lambda": trained("experiment=ablation/gae_lambda", "ablation_gae_lambda"),
    "ablation_recurrence": trained(
        "-m experiment=ablation/recurrence policy=feed_forward,recurrent", "ablation_recurrence"
    ),
    "precision": trained(
        "-m experiment=ablation/recurrence policy=feed_forward policy.precision=float32,bfloat16 "
        "learner.entropy_coef=0.05"
    ),
}


def _slug(method: str) -> str:
    return re.sub(r"\W+", "_", method.lower())


PIECES |= {f"choose/{_slug(method)}": choose(method) for method in METHODS}
PIECES["methods"] = Piece(fresh_seeds, with_each_other, needs=tuple(f"choose/{_slug(method)}" for method in METHODS))


# -------------------------------------------------------------------------------------------------------- what is made


def make(piece: str, records: Records, *, small: bool) -> None:
    """Run a piece's commands, read what they left, and write its record; nothing if its record is that of the code.

    Raises:
      TacitError: if a command fails, a record that it needs is missing, or its own is too large.
    """
    commands = [f"{command} {SMALL}" if small else command for command in PIECES[piece].commands(records)]
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
        status = subprocess.run([sys.executable, "-m", "experiments.cli", *command.split()], cwd=folder).returncode
        seconds = (runs.read_json(spent)["seconds"] if spent.exists() else 0) + time.monotonic() - began
        runs.write_json(spent, {"seconds": seconds})
        if status:
            raise TacitError(
                f"{piece}: tacit {command} ended with status {status}; the same command goes on from there"
            )
    found = PIECES[piece].read(folder, small)
    made = {
        "commands": commands,
        "depends": depends_on(found.paths),
        "made": {**provenance(), "seconds": round(runs.read_json(spent)["seconds"])},
        "tables": found.tables,
        "numbers": found.numbers,
    }
    size = len(json.dumps(made))
    if size > MOST_BYTES:
        raise TacitError(f"the record of {piece} has {size} bytes, and at most {MOST_BYTES} belong into the repository")
    records.folder.mkdir(parents=True, exist_ok=True)
    runs.write_json(records.file(piece), made)


def provenance() -> dict[str, str]:
    """On what and from what a record is made."""
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


def depends_on(paths: Sequence[Path]) -> dict[str, Any]:
    """Of training runs: their seeds, games and learners with the versions that they had, and that of cross-play."""
    sciences = [runs.read_json(path / "run.json")["science"] for path in paths]
    games = {json.dumps(one["game"], sort_keys=True): one["game"] for one in sciences}
    seeds = {(one["first_seed"], one["first_seed"] + one["seeds"] - 1) for one in sciences}
    return {
        "seeds": sorted(seeds),
        "games": list(games.values()),
        "learners": {one["learner"]["_target_"]: one["learner"].get("version") for one in sciences},
        "cross-play": crossplay.VERSION,
    }


def outdated(record: Mapping[str, Any]) -> list[str]:
    """What a record depends on that has another version now, such as "ippo-2, now ippo-3"."""
    depends, found = record["depends"], []
    for game in depends["games"]:
        now = build_game({key: value for key, value in game.items() if key != "version"}).version
        found += [(game["version"], now)]
    for target, then in depends["learners"].items():
        found += [(then, getattr(targets.find("learner", {"_target_": target}), "version", None))]
    found += [(depends["cross-play"], crossplay.VERSION)]
    return [f"{then}, now {now}" for then, now in dict.fromkeys(found) if then != now]


# ---------------------------------------------------------------------------------------------------------------- pages


def page(text: str, records: Records) -> str:
    """A page with every table as its record has it; a table without a record stays as it is.

    Raises:
      TacitError: if a page names a piece or a table that there is not.
    """

    def filled(block: re.Match[str]) -> str:
        piece, table = block[2], block[3]
        if piece not in PIECES:
            raise TacitError(f"a page names the piece {piece}, which there is not: {', '.join(PIECES)}")
        if (record := records.read(piece)) is None:
            return block[0]
        if table not in record["tables"]:
            raise TacitError(f"the piece {piece} has no table {table}, only {', '.join(record['tables'])}")
        text = re.sub(r"^\* ", r"\\* ", record["tables"][table], flags=re.MULTILINE)  # a mark, and no list
        return f"{block[1]}\n{text}\n\n{made_by(record)}\n\n{block[4]}"

    return _BLOCK.sub(filled, text)


def made_by(record: Mapping[str, Any]) -> str:
    """What stands below a table: how it was made, and what it depends on that has changed since."""
    made, depends = record["made"], record["depends"]
    commands = ", ".join(f"`tacit {command}`" for command in record["commands"])
    seeds = " and ".join(f"{first}–{last}" for first, last in depends["seeds"])
    versions = {game["version"] for game in depends["games"]} | set(depends["learners"].values())
    minutes = f"{made['seconds'] // 60} min {made['seconds'] % 60:02d} s"
    said = [
        f"Made by {commands}",
        f"seeds {seeds}",
        ", ".join([*sorted(map(str, versions)), depends["cross-play"]]),
        f"jax {made['jax']}, Python {made['python']}, {made['machine']}",
        minutes,
        f"{made['date']}, commit {made['commit']}",
    ]
    older = f" **Older than the code: {', '.join(found)}.**" if (found := outdated(record)) else ""
    return f"<small>{'; '.join(said)}.{older}</small>"


def write_pages(records: Records) -> list[Path]:
    """Bring the pages of docs/ to what the records say; those that changed."""
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
            for file in write_pages(records):
                print(file)
    except TacitError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
