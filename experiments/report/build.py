"""`tacit report DIR …`: a static site about runs, which opens from the disk without a server and without a network.

    report/
      index.html, heatmaps.html, run.html, replay.html   the pages, the same in every report
      *.js, *.css, plotly.min.js                         shared scripts and styles
      data/overview.js                                   the table of all runs
      data/runs/<id>.js                                  one run: curves, cross-play, conventions, …
      games/<id>/<seats>-<play>-<number>.js              one sample game
      games/recorded/<file>-<number>.js                  one game that was played elsewhere
      report.json                                        marks the folder as a report, which another may replace

Browsers do not let a page opened from the disk fetch files, so the data are scripts that pass an object to the page.
All data come from run directories; the pages show them as text, never as HTML.
"""

import importlib.util
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments import runs
from experiments.report import data
from experiments.runs import collection
from experiments.runs.collection import PLAYS
from experiments.runs.record import Record
from games.errors import TacitError, whole_number
from marl.crossplay import CrossPlay

if TYPE_CHECKING:
    from experiments.report.recorded import Recorded

FORMAT = 1
MOST_GAMES = 1000
"""Sample games in a report, unless a run would be left with fewer than two pairs."""
MOST_RUNS = 100
"""The most runs with sample games."""
MOST_PAIRS = 64
"""The most pairs of seeds of one run with sample games."""
STATIC = Path(__file__).parent / "static"
"""The pages, which are the same in every report; `tacit play` shows some of them, too."""
_PAGES = (".html", ".js", ".css")
_MARK = "report.json"
_OWN_FOLDERS = ("data", "games")
_RECORDED = "recorded"
"""The folder in games/ of those that were recorded elsewhere."""

Progress = Callable[[str], None]


def build(
    paths: Sequence[Path],
    output: Path,
    *,
    games: int = 1,
    recorded: Sequence[Path] = (),
    progress: Progress = lambda text: None,
) -> Path:
    """Write a report about all runs in `paths`; an existing report in `output` is replaced.

    Args:
      paths: run directories, or folders of them.
      output: the folder of the report.
      games: sample games of each pair of seeds and each play; 0 records none. If a run has many seeds, or there are
        many runs, only some pairs get games, spread evenly from the worst to the best.
      recorded: files of games that `games.hanabi.records` reads.
      progress: called with a text for each step.

    Returns:
      The page to open.

    Raises:
      TacitError: if there is no run and no recorded game, plotly is missing, a file of games cannot be read, or
        `output` holds something else or cannot be written.
    """
    whole_number("--games", games, 0)
    plotly = _plotly()
    progress("reading runs")
    records = collection.load(paths) if paths or not recorded else ()
    _check_replaceable(output)
    found = _read_recorded(recorded, progress)
    try:
        return _write_report(list(records), output, plotly, games, found, progress)
    except OSError as error:
        raise TacitError(f"the report {output} cannot be written: {error.strerror or error}") from error


def _read_recorded(files: Sequence[Path], progress: Progress) -> dict[Path, "Recorded"]:
    if not files:
        return {}
    from experiments.report import recorded  # plays, which a report without games does not need

    found = {}
    for file in files:
        progress(f"replaying {file.name}")
        found[file] = recorded.read(file)
    return found


def _write_report(
    records: list[Record],
    output: Path,
    plotly: Path,
    games: int,
    recorded: Mapping[Path, "Recorded"],
    progress: Progress,
) -> Path:
    output.mkdir(parents=True, exist_ok=True)
    runs.write_json(output / _MARK, {"format": FORMAT, "runs": len(records)})
    keys = data.swept_keys(records)
    conventions: dict[Path, dict[str, Path]] = {}
    written: set[Path] = set()
    rows: list[dict[str, Any]] = []
    trained = [record.path for record in records if record.command == "train" and record.state == "finished"]
    with_games = set(trained[:MOST_RUNS])
    pairs = max(2, min(MOST_PAIRS, MOST_GAMES // (len(PLAYS) * max(1, games * len(with_games)))))
    named = zip(records, identifiers(records), collection.boards(records), strict=True)
    for number, (record, identifier, board) in enumerate(named, 1):
        progress(f"run {number} of {len(records)}")
        folder = record.path.parent
        if folder not in conventions:
            conventions[folder] = data.conventions_of(folder)
        results = data.results_of(record)
        row = data.overview_row(record, identifier, board, keys, results)
        page = data.run_page(record, row, results, conventions[folder].get(record.path.name))
        if results and games and record.path in with_games:
            progress(f"run {number} of {len(records)}: recording games")
            written |= _record_games(record, page, results, output / "games" / identifier, games=games, most=pairs)
        elif results and games:
            page["games_note"] = f"No games were recorded: in a report over more runs, the first {MOST_RUNS} have some."
        file = output / "data" / "runs" / f"{identifier}.js"
        written.add(_write(file, f"report.received({_json(identifier)}, {_json(page)});\n"))
        rows.append(row)
    # The table is written after the pages to which it links.
    listed, scripts = _write_recorded(recorded, output)
    written |= scripts
    overview = {"keys": keys, "columns": data.columns(narrow=True), "rows": rows, "recorded": listed}
    written.add(_write(output / "data" / "overview.js", f"const overview = {_json(overview)};\n"))
    for source in (plotly, *(file for file in sorted(STATIC.iterdir()) if file.suffix in _PAGES)):
        _copy(source, output / source.name)
    _remove_others(output, written)
    return output / "index.html"


def identifiers(records: Sequence[Record]) -> list[str]:
    """A unique name for each run of the report that is safe in a file's name."""
    given = {_RECORDED}
    names = []
    for record in records:
        name = base = re.sub(r"[^A-Za-z0-9_-]", "_", record.path.name)[:80] or "run"
        number = 1
        while name.lower() in given:  # also on file systems that ignore case
            number += 1
            name = f"{base}-{number}"
        given.add(name.lower())
        names.append(name)
    return names


def sample_pairs(cells: CrossPlay, most: int) -> list[tuple[int, ...]]:
    """At most `most` of the seatings: all, or a quarter self-play and the rest cross-play, from worst to best."""
    seatings = [tuple(seats) for seats in cells.seatings.tolist()]
    if len(seatings) <= most:
        return seatings
    ranked = np.argsort(cells.mean, kind="stable")
    alone = np.array([len(set(seats)) == 1 for seats in seatings])
    own, others = ranked[alone[ranked]], ranked[~alone[ranked]]
    share = min(len(own), max(1, most // 4)) if len(others) else most
    chosen = [*_spread(own, share), *_spread(others, most - share)]
    return [seatings[index] for index in sorted(chosen)]


def _spread(ranked: np.ndarray, number: int) -> list[int]:
    """At most `number` entries, evenly spaced from the first to the last."""
    places = np.unique(np.linspace(0, len(ranked) - 1, min(number, len(ranked))).round().astype(int))
    return ranked[places].tolist()


def _record_games(
    record: Record, page: dict[str, Any], results: Mapping[str, CrossPlay], folder: Path, *, games: int, most: int
) -> set[Path]:
    """Play and write sample games of a run; add them, or the reason why there are none, to the data of its page."""
    written: set[Path] = set()
    if not (record.path / "policies.safetensors").exists():
        page["games_note"] = "No games were recorded: the run has no policies.safetensors."
        return written
    try:
        from experiments.report.games import record as play_games

        run = runs.read_run(record.path)
        for play, cells in results.items():
            pairs = sample_pairs(cells, most)
            played = play_games(run, pairs, games=games, greedy=play == "greedy")
            for seats, number, game in _numbered(pairs, games, played):
                file = f"{'-'.join(map(str, seats))}-{play}-{number}"
                written.add(_write(folder / f"{file}.js", game_script(game)))
                page["games"].append(
                    {"seats": seats, "play": play, "file": f"games/{folder.name}/{file}", "score": game.get("score")}
                )
    except TacitError as error:
        page["games_note"] = f"No games were recorded: {error}."
    return written


def _write_recorded(recorded: Mapping[Path, "Recorded"], output: Path) -> tuple[list[dict[str, Any]], set[Path]]:
    """Write recorded games; what the overview lists of each file, and the scripts written."""
    listed, written = [], set()
    for place, (path, found) in enumerate(recorded.items()):
        games = []
        for number, game in found.played.items():
            file = f"games/{_RECORDED}/{place}-{number}"
            written.add(_write(output / f"{file}.js", game_script(game)))
            told = {"number": number, "file": file, "score": game["score"], "moves": len(game["steps"])}
            games.append(told | {"ending": game["ending"], "players": len(game["seats"])})
        listed.append({"file": path.name, "number": found.number, "refused": found.refused, "games": games})
    return listed, written


def _numbered(
    pairs: Sequence[tuple[int, ...]], games: int, played: Sequence[dict[str, Any]]
) -> Iterator[tuple[list[int], int, dict[str, Any]]]:
    """The seats, the number and the game of each played game: all games of the first pair, then of the second, …."""
    for index, game in enumerate(played):
        yield list(pairs[index // games]), index % games, game


def _plotly() -> Path:
    """Plotly's own script, from the installed package."""
    found = importlib.util.find_spec("plotly")
    for folder in (found.submodule_search_locations or []) if found else []:
        script = Path(folder) / "package_data" / "plotly.min.js"
        if script.exists():
            return script
    raise TacitError("tacit report needs plotly: pip install 'tacit[report]'")


def _check_replaceable(output: Path) -> None:
    if output.exists() and not output.is_dir():
        raise TacitError(f"{output} is in the way: a folder for the report belongs there")
    if output.is_dir() and any(output.iterdir()) and not (output / _MARK).exists():
        raise TacitError(f"{output} is in the way: it holds files, but no report; give an empty folder or a new one")


def game_script(game: Mapping[str, Any]) -> str:
    """The script that gives a game, in the format of `experiments.report.games`, to the replay page."""
    return f"tacitGame({_json(game)});\n"


def _json(plain: Any) -> str:
    """Plain data as a JavaScript expression, escaped so that it is also safe inside HTML."""
    return json.dumps(plain, separators=(",", ":")).replace("<", "\\u003c")


def _write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    runs.write_bytes(file, text.encode())
    return file


def _copy(source: Path, target: Path) -> None:
    contents = source.read_bytes()
    if not target.exists() or target.read_bytes() != contents:
        runs.write_bytes(target, contents)


def _remove_others(output: Path, written: set[Path]) -> None:
    """Remove files of an earlier report from the folders of data."""
    for name in _OWN_FOLDERS:
        for path in sorted((output / name).rglob("*"), reverse=True):
            if path.is_dir() and not path.is_symlink():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path not in written:
                path.unlink()
