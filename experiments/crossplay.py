"""`tacit crossplay RUN …`: play the saved seeds of one or several runs with each other."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from experiments import figures, runs
from experiments.config import CrossPlayConfig
from experiments.job import cross_play_both
from games.errors import TacitError
from marl.crossplay import CrossPlay
from marl.crossplay.estimators import summarise


class Played(NamedTuple):
    """What `tacit crossplay` found, and where it wrote it."""

    results: dict[str, CrossPlay]
    folder: Path


def crossplay_runs(paths: Sequence[Path], config: CrossPlayConfig, output: Path | None = None) -> Played:
    """Play all seeds of finished runs with each other, and write the result and its figure.

    Args:
      paths: run directories of one game.
      config: games, seating, seed.
      output: the folder to write to; by default one named after runs and settings, beside the first run.

    Raises:
      TacitError: if a run cannot be read or the runs are of different games.
    """
    loaded = [runs.read_run(path) for path in dict.fromkeys(path.resolve() for path in paths)]
    for run in loaded[1:]:
        if run.game != loaded[0].game:
            raise TacitError(
                f"runs {loaded[0].name} and {run.name} are of different games: {loaded[0].game}, {run.game}"
            )
    game = loaded[0].game
    agents = [agent for run in loaded for agent in run.agents]
    settings = {"runs": [run.name for run in loaded], **dataclasses.asdict(config)}
    results = cross_play_both(game, agents, config)
    if output is None:
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
        output = loaded[0].path.parent / "crossplay" / digest
    output.mkdir(parents=True, exist_ok=True)
    runs.write_crossplay(output, results, settings)
    title = f"{game.name}: runs {', '.join(run.name for run in loaded)}"
    figures.save(figures.crossplay_matrices(results, game.score_range, title), output / "crossplay")
    return Played(results, output)


def describe(played: Played) -> str:
    """The estimates in words, a line each."""
    lines = []
    for name, result in played.results.items():
        summary = summarise(result.seatings, result.mean)
        lines += [
            f"{name:>8}  SP       {summary.self_play}",
            f"{name:>8}  XP       {summary.cross_play}",
            f"{name:>8}  SP − XP  {summary.gap}",
            f"{name:>8}  XP over disjoint groups  {summary.cross_play_disjoint}",
            f"{name:>8}  bombed games {int(result.bombed.sum())} of {int(result.games.sum())}, "
            f"mean length {result.length.mean():.1f} steps",
        ]
    return "\n".join(lines)
