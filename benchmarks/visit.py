"""One visit to a machine with an accelerator that is lent for minutes: measure, train, and bring back what goes on.

    python -m benchmarks.visit OUT CONFIG.json … [--pack FOLDER] [--minutes M] [--benchmark-minutes B] [--small]

It unpacks FOLDER, what an earlier visit brought back; runs `benchmarks.accelerator` for B minutes into
OUT/accelerator.json; trains each configuration (`tacit config … > CONFIG.json`) with `experiments.run_piece` for an
equal part of the time that is left, or less if its `budget.minutes` says so; and packs all runs, with their newest
checkpoints, into the files OUT/pack/0, OUT/pack/1, …: a tar file cut into pieces of at most 16 MiB. The next visit
goes on from there. `--only-unpack` unpacks FOLDER into OUT/runs, to go on elsewhere or to read finished runs.

This process itself never uses the device: its programs do, one after the other.
"""

import argparse
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.runs.directory import CHECKPOINTS, checkpoint_files
from experiments.training.stopping import TRY_AGAIN
from games.errors import TacitError

PART = 16 * 2**20
"""The greatest number of bytes of a file that is brought back."""
PARTS = 3
"""The number of such files that surely come back: the same again has to travel to the next visit."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, train and pack.

    Returns:
      The exit status: 0, or 2 after bad input or where a part failed; what the others made is packed all the same.
    """
    parser = argparse.ArgumentParser("python -m benchmarks.visit", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("output", type=Path, metavar="OUT", help="folder of what is brought back")
    parser.add_argument("configs", type=Path, nargs="*", metavar="CONFIG.json")
    parser.add_argument("--pack", type=Path, metavar="FOLDER", help="the folder OUT/pack of an earlier visit")
    parser.add_argument("--minutes", type=float, default=9.0, help="of the whole visit (%(default)s)")
    parser.add_argument("--benchmark-minutes", type=float, default=2.5, help="0: none (%(default)s)")
    parser.add_argument("--small", action="store_true", help="the benchmark at tiny sizes")
    parser.add_argument("--only-unpack", action="store_true", help="unpack FOLDER into OUT/runs, and no more")
    given = parser.parse_args(arguments)
    end = time.monotonic() + 60 * given.minutes
    try:
        configs = _read(given.configs)
        if given.only_unpack:
            if given.pack is None:
                raise TacitError("--only-unpack needs --pack FOLDER")
            unpack(given.pack, given.output / "runs")
            return 0
        given.output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            runs = Path(folder)
            if given.pack is not None:
                unpack(given.pack, runs)
            failed = []
            if given.benchmark_minutes:
                failed += _measure(given.output / "accelerator.json", given.benchmark_minutes, small=given.small)
            failed += _train(configs, runs, end)
            parts = pack(runs, given.output / "pack")
        if parts > PARTS:
            failed.append(f"the pack has {parts} files of 16 MiB, and perhaps only {PARTS} come back")
    except TacitError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    for sentence in failed:
        print(f"{parser.prog}: {sentence}", file=sys.stderr)
    return 2 if failed else 0


def pack(runs: Path, folder: Path) -> int:
    """Write the folder `runs` as parts of a compressed tar file, folder/0, folder/1, …; return their number.

    Of a run's checkpoints, by far its largest files, the newest goes with it.
    """
    kept = [checkpoint_files(run / CHECKPOINTS) for run in runs.iterdir()]
    older = {file.relative_to(runs).as_posix() for files in kept for _, file in files[:-1]}

    def chosen(file: tarfile.TarInfo) -> tarfile.TarInfo | None:
        return None if file.name.removeprefix("./") in older else file

    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz", compresslevel=1) as archive:
        archive.add(runs, ".", filter=chosen)
    contents = whole.getvalue()
    starts = range(0, len(contents), PART)
    folder.mkdir(parents=True, exist_ok=True)
    for part in folder.iterdir():  # of a longer pack, which would be read with the new ones
        part.unlink()
    for number, start in enumerate(starts):
        (folder / str(number)).write_bytes(contents[start : start + PART])
    return len(starts)


def unpack(folder: Path, runs: Path) -> None:
    """Read what `pack` has written into `folder`, into the folder `runs`.

    Raises:
      TacitError: if it is not there, or damaged.
    """
    try:
        parts = sorted(folder.iterdir(), key=lambda file: int(file.name))
        contents = io.BytesIO(b"".join(part.read_bytes() for part in parts))
        with tarfile.open(fileobj=contents, mode="r:gz") as archive:
            archive.extractall(runs, filter="data")
    except (OSError, EOFError, ValueError, tarfile.TarError) as error:
        raise TacitError(f"{folder} is no pack of an earlier visit, or damaged: {error}") from error


def _read(configs: Sequence[Path]) -> dict[Path, Any]:
    """The configurations, by file."""
    found = {}
    for config in configs:
        try:
            found[config] = json.loads(config.read_text())
            found[config]["budget"]["minutes"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TacitError(f"{config} is not a configuration that `tacit config` has written: {error}") from error
    if len({config.stem for config in configs}) < len(configs):
        raise TacitError("each configuration names a run, and two have the same file name")
    return found


def _measure(output: Path, minutes: float, *, small: bool) -> list[str]:
    arguments = ["--minutes", str(minutes), "--output", str(output), *(["--small"] if small else [])]
    status = subprocess.run([sys.executable, "-m", "benchmarks.accelerator", *arguments]).returncode
    return [f"the benchmark ended with status {status}"] if status else []


def _train(configs: Mapping[Path, Any], runs: Path, end: float) -> list[str]:
    """Train each configuration for its part of the time; say which failed."""
    failed = []
    for number, (config, plain) in enumerate(configs.items()):
        left = (end - time.monotonic()) / (len(configs) - number) / 60
        if left <= 0:
            failed.append(f"no time was left for {config}")
            continue
        plain["budget"]["minutes"] = min(left, plain["budget"]["minutes"] or left)
        piece = runs / f"{config.stem}.json"
        piece.write_text(json.dumps(plain))
        status = subprocess.run([sys.executable, "-m", "experiments.run_piece", piece, runs / config.stem]).returncode
        if status not in (0, TRY_AGAIN):
            failed.append(f"{config} ended with status {status}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
