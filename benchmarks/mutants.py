"""Known defects, one at a time, and whether the tests of `make test` find them: `python -m benchmarks.mutants`.

`mutants.toml` lists them: a file, a text that occurs in it exactly once, its replacement, and the defect in words. Each
defect is made in a copy of the tree, where tests run until one fails: first those that `first` names, or whose names
contain the module's, then the others in the folder that mirrors the module's. A mutant is killed if a test fails. At
the end the tests that killed are run on an unchanged copy; if one fails there as well, its mutants are undecided.

`--only rollout` chooses by file or defect; `--output FILE` writes results as lines of JSON and skips mutants that it
already has; `--table FILE …` prints results.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
LIST = Path(__file__).with_suffix(".toml")
PYTEST = (sys.executable, "-m", "pytest", "-x", "-q", "-m", "not proof", "-p", "no:cacheprovider")
SECONDS = 1800
"""After so long a mutant's tests are ended, and it is undecided."""
PASSED, FAILED, INTERRUPTED, NOTHING_COLLECTED = 0, 1, 2, 5
"""pytest's exit status; an error while tests are collected interrupts it."""

FAILED_TEST = re.compile(r"^(?:FAILED|ERROR) (.*?)(?: - .*)?$", re.MULTILINE)
"""A line of pytest's summary."""


class Mutant(NamedTuple):
    """One defect."""

    file: str
    text: str
    """The text to replace, which occurs in the file exactly once."""
    replacement: str
    defect: str
    first: tuple[str, ...] = ()
    """Test files to run first, if they are not the ones named like the module."""

    def stages(self, tree: Path) -> Iterator[list[str]]:
        """pytest's arguments: the tests most likely to fail, then the others."""
        module = Path(self.file)
        mirrored = Path("tests") / module.parent
        folder = next(one for one in (mirrored, *mirrored.parents) if (tree / one).exists())
        named = [path.relative_to(tree).as_posix() for path in sorted((tree / folder).glob(f"test_*{module.stem}*.py"))]
        begin = [file for file in self.first if (tree / file).exists()] or named
        if begin:
            yield begin
        yield [folder.as_posix(), *(f"--ignore={file}" for file in begin)]


class Result(NamedTuple):
    """The result for a mutant."""

    file: str
    defect: str
    verdict: str
    """killed | survived | undecided"""
    test: str
    """The test that killed it, or why it is undecided."""
    seconds: float


def read(path: Path) -> list[Mutant]:
    """The list of a TOML file."""
    listed: list[dict[str, Any]] = tomllib.loads(path.read_text())["mutant"]
    return [Mutant(**entry | {"first": tuple(entry.get("first", ()))}) for entry in listed]


def mutated(source: str, mutant: Mutant) -> str:
    """The module's source with the defect.

    Raises:
      ValueError: the text does not occur there exactly once.
    """
    if source.count(mutant.text) != 1:
        raise ValueError(f"{mutant.file}: {mutant.text!r} stands there {source.count(mutant.text)} times, not once")
    return source.replace(mutant.text, mutant.replacement)


def run(mutant: Mutant, tree: Path, stamp: int) -> Result:
    """Make the defect in a copy of the tree, run tests until one fails, and undo it.

    Args:
      stamp: the file's modification time in seconds, different for each mutant, so that Python does not use bytecode of
        an earlier one.
    """
    file = tree / mutant.file
    source = file.read_text()
    start = time.monotonic()
    file.write_text(mutated(source, mutant))
    os.utime(file, (stamp, stamp))
    verdict, test = "survived", ""
    try:
        for arguments in mutant.stages(tree):
            status, said = pytest(arguments, tree, SECONDS - (time.monotonic() - start))
            if status in (FAILED, INTERRUPTED):
                failed = FAILED_TEST.search(said)
                verdict, test = ("killed", failed[1]) if failed else ("undecided", "no failing test is named")
                break
            if status not in (PASSED, NOTHING_COLLECTED):
                verdict, test = "undecided", f"pytest ended with {status}: {said.strip().splitlines()[-1:]}"
                break
    finally:
        file.write_text(source)
    return Result(mutant.file, mutant.defect, verdict, test, round(time.monotonic() - start, 1))


def pytest(arguments: Sequence[str], tree: Path, seconds: float) -> tuple[int, str]:
    """(exit status, output) of the tests of `make test` among those named, up to the first that fails."""
    environment = os.environ | {"PYTHONPATH": str(tree)}  # before the installed tree, in child processes, too
    try:
        done = subprocess.run(
            [*PYTEST, *arguments],
            cwd=tree, env=environment, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return -1, f"more than {SECONDS} s"
    return done.returncode, done.stdout


@contextlib.contextmanager
def copies(tree: Path, number: int) -> Iterator[list[Path]]:
    """Temporary copies of the files of a tree that git tracks."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=tree, capture_output=True, text=True, check=True).stdout
    files = [name for name in listed.split("\0") if name and (tree / name).is_file()]
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        made = [Path(folder) / str(copy) / tree.name for copy in range(number)]
        for copy in made:
            for name in files:
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(tree / name, copy / name)
        yield made


def examine(
    mutants: Sequence[Mutant], tree: Path, known: Sequence[Result] = (), output: Path | None = None, workers: int = 2
) -> list[Result]:
    """The results of all mutants, in their order; mutants with a known result are not run again."""
    asked = {(mutant.file, mutant.defect) for mutant in mutants}
    found = {(one.file, one.defect): one for one in known if (one.file, one.defect) in asked}
    todo = [mutant for mutant in mutants if (mutant.file, mutant.defect) not in found]
    free: queue.SimpleQueue[Path] = queue.SimpleQueue()
    with copies(tree, workers) as made, concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for copy in made:
            free.put(copy)

        def one(stamp: int, mutant: Mutant) -> Result:
            copy = free.get()
            try:
                return run(mutant, copy, stamp)
            finally:
                free.put(copy)

        for done in concurrent.futures.as_completed([pool.submit(one, *each) for each in enumerate(todo, 1)]):
            result = done.result()
            found[result.file, result.defect] = result
            print(f"{len(found)} of {len(mutants)}: {_line(result)}", flush=True)
            if output:
                with output.open("a") as lines:
                    print(json.dumps(result._asdict()), file=lines)
        by_test = collections.defaultdict(list)
        for key, result in found.items():
            if result.verdict == "killed":
                by_test[result.test].append(key)
        for test in _failing_anyway(sorted(by_test), made[0]):
            for key in by_test[test]:
                found[key] = found[key]._replace(verdict="undecided", test=f"{test} fails without it as well")
    return [found[mutant.file, mutant.defect] for mutant in mutants]


def _failing_anyway(tests: list[str], tree: Path) -> set[str]:
    """Those of the tests that fail on a tree without a defect."""
    failing = set()
    for _ in tests:  # pytest stops at the first that fails
        left = [test for test in tests if test not in failing]
        status, said = pytest(left, tree, SECONDS)
        failed = FAILED_TEST.findall(said)
        if status in (PASSED, NOTHING_COLLECTED) or not failed:
            break
        failing.update(failed)
    return failing


def table(columns: dict[str, list[Result]]) -> str:
    """Results as Markdown: a row for each mutant, a column for each set of results."""
    rows: dict[tuple[str, str], dict[str, Result]] = collections.defaultdict(dict)
    for column, results in columns.items():
        for one in results:
            rows[one.file, one.defect][column] = one
    lines = [
        "| " + " | ".join(["file", "defect", *columns]) + " |",
        "|---" * (2 + len(columns)) + "|",
    ]
    for (file, defect), by_column in sorted(rows.items()):
        cells = [_cell(by_column[column]) if column in by_column else "" for column in columns]
        lines.append("| " + " | ".join([f"`{file}`", defect.replace("|", "\\|"), *cells]) + " |")
    for column, results in columns.items():
        counts = collections.Counter(one.verdict for one in results)
        said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in ("killed", "survived", "undecided"))
        lines += ["", f"{column}: {said}, {sum(one.seconds for one in results) / 60:.0f} minutes of one process."]
    return "\n".join(lines)


def _cell(result: Result) -> str:
    if result.verdict == "killed":
        return f"`{result.test.removeprefix('tests/').split('[')[0]}`"
    return f"**{result.verdict}** {result.test}".strip()


def _line(result: Result) -> str:
    return f"{result.verdict} in {result.seconds:.0f} s: {result.file}: {result.defect}. {result.test}"


def _kept(path: Path) -> list[Result]:
    return [Result(**json.loads(line)) for line in path.read_text().splitlines()]


def main() -> int:
    """Print the table; status 1 if a mutant is not killed."""
    parser = argparse.ArgumentParser("python -m benchmarks.mutants", description=__doc__)
    parser.add_argument("--only", default="", help="mutants whose file or defect contains this")
    parser.add_argument("--output", type=Path, help="keep results here, and go on from those that are there")
    parser.add_argument("--tree", type=Path, default=ROOT, help="another checkout, whose tests are run")
    parser.add_argument("--workers", type=int, default=2, help="mutants at once (%(default)s)")
    parser.add_argument("--table", type=Path, nargs="+", help="print such files as one table, and run nothing")
    options = parser.parse_args()
    if options.table:
        print(table({file.stem: _kept(file) for file in options.table}))
        return 0
    mutants = [one for one in read(LIST) if options.only in one.file or options.only in one.defect]
    known = _kept(options.output) if options.output and options.output.exists() else []
    results = examine(mutants, options.tree.resolve(), known, options.output, options.workers)
    print(table({"killed by": results}))
    return int(any(one.verdict != "killed" for one in results))


if __name__ == "__main__":
    sys.exit(main())
