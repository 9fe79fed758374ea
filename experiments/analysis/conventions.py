"""`tacit conventions RUN … [--with PARTNERS]`: what agents gain by convention, and the effect of relabelling the game.

The seeds of a run are measured one by one, over all of them, and against each other; partners one by one.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments import runs
from experiments.analysis import conventions_tables
from experiments.analysis.conventions_tables import Conventions, Found, Gaps, MoveGaps, Play, Relabelled
from experiments.analysis.crossplay import check_runs_or_game, named_partners, partner_names, sampling
from experiments.configuration.config import CrossPlayConfig, build_game, name_of
from experiments.launching import compose
from experiments.presentation import figures
from experiments.runs.collection import PLAYS
from experiments.training.job import cross_play_both
from games.errors import TacitError, some_of, whole_number
from games.game import Game
from marl.agent import Agent
from marl.conventions import (
    Correlation,
    action_orbits,
    check_turns,
    convention_counts,
    correlation,
    distances,
    merged,
)
from marl.crossplay import CrossPlay, self_play_seatings
from marl.crossplay.estimators import Estimate, cross_play, self_play
from marl.equivariance import check_symmetric, measure_defect, other_play_return
from marl.literal import Sums, check_hanabi, gains, moves_of_agents

VERSION = 5
"""The version of the measurement, part of a folder's name; since 4 it has the convention gap, since 5 of discards."""


def conventions(
    paths: Sequence[Path], *, with_partners: str = "", game: Sequence[str] = (), **settings: Any
) -> list[Found]:
    """Measure runs, and then partners in each game of the runs.

    Args:
      paths: run directories or files of the zoo; none to measure partners alone.
      with_partners: see `experiments.analysis.crossplay.partner_names`.
      game: without runs, the game as overrides such as game=hanabi players=3.
      settings: of `conventions_run`; by default the results are next to the runs, of partners alone in runs/.

    Raises:
      TacitError: as `conventions_run` and `conventions_partners`; if there is neither a run nor a game with partners.
    """
    check_runs_or_game("conventions", bool(paths), with_partners, game)
    games: dict[Game, tuple[Mapping[str, Any], Path]] = {}
    if not paths:
        composed = compose.composed_game(game)
        games[build_game(composed)] = composed, Path("runs")
    for path in paths if with_partners else ():
        run = runs.read_run(path.resolve())
        games.setdefault(run.game, (run.config.game, run.path.parent))
    for one in games:
        named_partners(one, with_partners)  # a mistake in their names is told before anything is played
    found = [conventions_run(path, **settings) for path in paths]
    output = settings.pop("output", None)
    for config, beside in games.values():
        found.append(conventions_partners(config, with_partners, **settings, output=output or beside))
    return found


def conventions_run(
    path: Path,
    *,
    games: int = 1000,
    symmetries: int = 4,
    seed: int = 0,
    plays: str | Sequence[str] = PLAYS,
    output: Path | None = None,
) -> Found:
    """Measure the conventions of a finished run's seeds; write conventions.json, conventions.npz and figures.

    Cross-play is read from the run's directory; for a file of the zoo, which has none, it is played. The self-play that
    is compared with the Other-Play return is played anew, from the same decks and draws.

    Args:
      path: a run directory or a file of the zoo.
      games: self-play games of each seed, for each quantity.
      symmetries: relabellings of each game for the equivariance defect.
      seed: of decks and draws.
      plays: "sampled", "greedy", or a list of one or both.
      output: where to make the folder, which is named after run and settings; by default next to the run.

    Raises:
      TacitError: if the run cannot be read, a setting is out of range, or the folder cannot be made.
    """
    settings = _checked(games, symmetries, seed, plays)
    run = runs.read_run(path.resolve())
    crossing = CrossPlayConfig(games=settings["games"], seed=settings["seed"])
    return _measured(
        run.name,
        run.game,
        run.agents,
        lambda: runs.read_crossplay(run.path) if run.path.is_dir() else cross_play_both(run.game, run.agents, crossing),
        settings | {"run": run.name},
        output or run.path.parent,
    )


def conventions_partners(
    game: Mapping[str, Any],
    names: str,
    *,
    games: int = 1000,
    symmetries: int = 4,
    seed: int = 0,
    plays: str | Sequence[str] = PLAYS,
    output: Path | None = None,
) -> Found:
    """Measure the conventions of partners with copies of themselves; write files as `conventions_run`.

    Args:
      game: what is played, as a configuration: `_target_` and its arguments.
      names: of the partners, see `experiments.analysis.crossplay.partner_names`.
      games, symmetries, seed, plays: as for `conventions_run`.
      output: where to make the folder; by default runs/.

    Raises:
      TacitError: for a partner that does not exist, a setting out of range, or a folder that cannot be made.
    """
    built = build_game(game)
    agents = named_partners(built, names)
    settings = _checked(games, symmetries, seed, plays)
    if plays == PLAYS and all(agent.kind.always_sampled for agent in agents):
        settings["plays"] = list(PLAYS[:1])  # their greedy play is the same
    crossing = CrossPlayConfig(games=settings["games"], seed=settings["seed"])
    alone = self_play_seatings(len(agents), built.num_players)
    return _measured(
        "",
        built,
        agents,
        lambda: cross_play_both(built, agents, crossing, seating=alone),
        settings | {"game": {**game, "version": built.version}, "with": partner_names(names)},
        output or Path("runs"),
    )


def _checked(games: int, symmetries: int, seed: int, plays: str | Sequence[str]) -> dict[str, Any]:
    """The settings, from which a folder gets its name."""
    games, symmetries = whole_number("games", games, 1), whole_number("symmetries", symmetries, 1)
    seed, plays = whole_number("seed", seed, 0, 2**31 - 1), some_of("plays", plays, PLAYS)
    settings: dict[str, Any] = {"version": VERSION, "games": games, "symmetries": symmetries, "seed": seed}
    return settings | ({} if plays == PLAYS else {"plays": list(plays)})


def _measured(
    run: str,
    game: Game,
    agents: Sequence[Agent],
    crossed: Callable[[], Mapping[str, CrossPlay]],
    settings: Mapping[str, Any],
    parent: Path,
) -> Found:
    """Make the folder, and only then play; `crossed` gives the cross-play by play."""
    folder = runs.make_folder(parent / "conventions" / name_of(settings))
    results = crossed()
    numbers = {name: settings[name] for name in ("games", "symmetries")}
    key = jax.random.key(settings["seed"])
    found = Found(
        run=run,
        game=game.name,
        labels=[agent.label for agent in agents],
        actions=[game.action_name(action) for action in range(game.noop)],
        plays={
            name: _play(game, agents, results[name], greedy=name == "greedy", **numbers, key=key)
            for name in settings.get("plays", PLAYS)
        },
        folder=folder,
        sampling=sampling(agents),
    )
    _write(found, settings)
    return found


def _play(
    game: Game,
    agents: Sequence[Agent],
    crossed: CrossPlay,
    *,
    greedy: bool,
    games: int,
    symmetries: int,
    key: jax.Array,
) -> Play:
    settings: Any = {"greedy": greedy, "key": key}
    relabelled: Relabelled | str = _refusal(check_symmetric, game)
    if not relabelled:
        own, other = other_play_return(game, agents, games=games, **settings)
        defect = measure_defect(game, agents, games=games, symmetries=symmetries, **settings)
        relabelled = Relabelled(own.cells[1].astype(np.float64), other.cells[1].astype(np.float64), defect)
    crossed_matrix = crossed.matrix()
    conventions: Conventions | str = _refusal(check_turns, game)
    if not conventions:
        first, second = (
            convention_counts(game, agents, games=number, greedy=greedy, key=half)
            for half, number in zip(jax.random.split(key), (-(-games // 2), max(1, games // 2)), strict=True)
        )
        conventions = _compare(first, second, action_orbits(game), crossed_matrix)
    gaps: MoveGaps | str = _refusal(check_hanabi, game)
    if not gaps:
        gaps = convention_gaps(game, agents, crossed.seatings, games=games, **settings)
    return Play(np.diag(crossed_matrix), crossed_matrix, relabelled, conventions, gaps)


def convention_gaps(
    game: Game, agents: Sequence[Agent], seatings: np.ndarray, *, games: int, greedy: bool, key: jax.Array
) -> MoveGaps:
    """The gaps in every agent's games with itself, and in as many games with others.

    Args:
      game: of Hanabi.
      agents: the seeds of a run, or partners.
      seatings: int[C, P] of their cross-play.
      games: of each agent with itself.
      greedy: the way of playing.
      key: of decks and draws.

    Raises:
      TacitError: as `marl.literal.moves_of_agents`.
    """
    number = len(agents)
    alone = self_play_seatings(number, game.num_players)
    others = seatings[(seatings != seatings[:, :1]).any(axis=1)]
    settings: Any = {"greedy": greedy, "key": key}
    own = moves_of_agents(game, agents, alone, games=games, **settings)
    each = -(-games * number // max(1, len(others)))
    met = moves_of_agents(game, agents, others, games=each, **settings) if len(others) else own
    return MoveGaps(*(_gaps(alone, one, others, two) for one, two in zip(own, met, strict=True)))


def _gaps(alone: np.ndarray, own: Sums, others: np.ndarray, met: Sums) -> Gaps:
    """The gaps of moves [N, games] of agents with themselves, and [C, games] of the seatings `others`."""
    gained = gains(own)
    games = gained.shape[1]
    error = gained.std(axis=1, ddof=1) / np.sqrt(games) if games > 1 else np.full(len(gained), np.nan)
    over_seeds = Estimate(None, note="some seeds make no such move")
    if np.isfinite(gained).all():
        over_seeds = self_play(alone, gained)
    crossed = Estimate(None, note="no two agents meet in cross-play")
    if len(others):
        together = gains(met, pooled=True)
        crossed = Estimate(None, note="different seeds make no such move together")
        if np.isfinite(together).all():
            crossed = cross_play(others, together)
    return Gaps(gained.mean(axis=1), error, over_seeds, crossed)


def _refusal(check: Any, game: Any) -> str:
    """The reason why `check` refuses the game; empty if it does not."""
    try:
        check(game)
    except TacitError as error:
        return str(error)
    return ""


def _compare(first: np.ndarray, second: np.ndarray, orbits: np.ndarray, scores: np.ndarray) -> Conventions:
    """Conventions from the counts of two halves of the games, and cross-play scores [N, N]."""
    counts = first + second
    apart, merged_apart = distances(counts), distances(merged(counts, orbits))
    return Conventions(
        counts=counts,
        distance=apart,
        sampling=np.array([distances(np.stack(halves))[0, 1] for halves in zip(first, second, strict=True)]),
        predicts=_predicts(apart, scores),
        merged_distance=merged_apart,
        merged_predicts=_predicts(merged_apart, scores),
    )


def _predicts(apart: np.ndarray, scores: np.ndarray) -> Correlation:
    others = ~np.eye(len(scores), dtype=bool)
    if not np.isfinite(scores[others]).all():
        return Correlation(None, note="not all pairs meet in cross-play")
    return correlation(apart, scores)


def _write(found: Found, settings: Mapping[str, Any]) -> None:
    folder = found.folder
    plain = {name: conventions_tables.plain(play) for name, play in found.plays.items()}
    runs.write_json(
        folder / "conventions.json", {"settings": settings, "labels": found.labels, "actions": found.actions, **plain}
    )
    arrays = {
        name: play.conventions.counts for name, play in found.plays.items() if not isinstance(play.conventions, str)
    }
    if not arrays:
        return
    runs.write_arrays(folder / "conventions.npz", arrays)
    for name in arrays:
        figures.save(conventions_tables.figure(found, name), folder / f"conventions_{name}")
