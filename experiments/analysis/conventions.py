"""`tacit conventions RUN …`: convention matrices and gaps of saved seeds, and the effect of relabelling the game."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments import runs
from experiments.configuration.config import CrossPlayConfig, name_of
from experiments.presentation import figures
from experiments.presentation.tables import Cell, Column, Table, as_markdown, text_of, with_error
from experiments.runs.collection import PLAYS
from experiments.training.job import cross_play_both
from games.errors import TacitError, some_of, whole_number
from marl.conventions import (
    Correlation,
    action_orbits,
    check_turns,
    convention_counts,
    correlation,
    distances,
    merged,
    responses,
)
from marl.crossplay import CrossPlay, self_play_seatings
from marl.crossplay.estimators import Estimate, cross_play, self_play
from marl.equivariance import Defect, check_symmetric, measure_defect, other_play_return
from marl.literal import check_hanabi, gains, plays_of_agents

VERSION = 4
"""The version of the measurement, part of a folder's name; since 4 it has the convention gap."""


class Relabelled(NamedTuple):
    """The effect of relabelling the game, for each of N seeds."""

    self_play: np.ndarray  # float64[N, games] scores
    other_play: np.ndarray  # float64[N, games] scores from the same decks, with every player relabelled
    defect: list[Defect]


class Conventions(NamedTuple):
    """The convention matrices of N seeds and the distances between them."""

    counts: np.ndarray  # int64[N, A, A]
    distance: np.ndarray  # float64[N, N]
    sampling: np.ndarray  # float64[N] distance between two halves of a seed's games
    predicts: Correlation  # of the distance with cross-play
    merged_distance: np.ndarray  # float64[N, N], with actions that symmetries map to each other merged
    merged_predicts: Correlation


class Gaps(NamedTuple):
    """The convention gaps of N seeds, in shares of plays (`marl.literal`)."""

    self_play: np.ndarray  # float64[N]; nan for a seed that plays no card
    over_seeds: Estimate  # of self-play
    cross_play: Estimate


class Play(NamedTuple):
    """The results in sampled or in greedy play; a text instead is the reason why a result is undefined in this game."""

    self_play: np.ndarray  # float64[N]
    cross_play: np.ndarray  # float64[N, N], see `CrossPlay.matrix`
    relabelled: Relabelled | str
    conventions: Conventions | str
    gaps: Gaps | str


class Found(NamedTuple):
    """The results of one run, and the folder with them."""

    run: str
    game: str
    labels: list[str]
    actions: list[str]
    plays: dict[str, Play]
    folder: Path

    def __str__(self) -> str:
        """The tables in Markdown."""
        return as_markdown(shown(self))

    def _repr_markdown_(self) -> str:
        return str(self)


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
    games, symmetries = whole_number("games", games, 1), whole_number("symmetries", symmetries, 1)
    seed, plays = whole_number("seed", seed, 0, 2**31 - 1), some_of("plays", plays, PLAYS)
    run = runs.read_run(path.resolve())
    settings = {"version": VERSION, "run": run.name, "games": games, "symmetries": symmetries, "seed": seed}
    settings |= {} if plays == PLAYS else {"plays": list(plays)}
    digest = name_of(settings)
    folder = runs.make_folder((output or run.path.parent) / "conventions" / digest)  # before any play
    crossed = (
        runs.read_crossplay(run.path)
        if run.path.is_dir()
        else cross_play_both(run.game, run.agents, CrossPlayConfig(games=games, seed=seed))
    )
    key = jax.random.key(seed)
    looked_at = {
        name: _play(run, crossed[name], greedy=name == "greedy", games=games, symmetries=symmetries, key=key)
        for name in plays
    }
    game = run.game
    found = Found(
        run=run.name,
        game=game.name,
        labels=[agent.label for agent in run.agents],
        actions=[game.action_name(action) for action in range(game.noop)],
        plays=looked_at,
        folder=folder,
    )
    _write(found, settings)
    return found


def shown(found: Found) -> list[Table]:
    """For each way of playing a table: a row for each seed, means over seeds, and notes with the correlations."""
    return [_seed_table(found, name, play) for name, play in found.plays.items()]


def figure(found: Found, name: str) -> figures.Figure:
    """The convention matrices of the seeds, and cross-play against the distance between them.

    Args:
      found: results of a game with convention matrices.
      name: the way of playing, "sampled" or "greedy".

    Raises:
      TacitError: if convention matrices are undefined in the game.
    """
    play = found.plays[name]
    if isinstance(play.conventions, str):
        raise TacitError(f"there is no figure of convention matrices: {play.conventions}")
    return figures.conventions(
        responses(play.conventions.counts),
        found.actions,
        found.labels,
        play.conventions.distance,
        (play.cross_play + play.cross_play.T) / 2,
        f"{found.game}, run {found.run}, {name} play",
        f"Spearman {play.conventions.predicts}",
    )


def _play(run: runs.Run, crossed: CrossPlay, *, greedy: bool, games: int, symmetries: int, key: jax.Array) -> Play:
    game, agents = run.game, run.agents
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
    gaps: Gaps | str = _refusal(check_hanabi, game)
    if not gaps:
        gaps = convention_gaps(run, crossed.seatings, games=games, **settings)
    return Play(np.diag(crossed_matrix), crossed_matrix, relabelled, conventions, gaps)


def convention_gaps(run: runs.Run, seatings: np.ndarray, *, games: int, greedy: bool, key: jax.Array) -> Gaps:
    """The gaps in every seed's games with itself, and in as many games with others.

    Args:
      run: of Hanabi.
      seatings: int[C, P] of the run's cross-play.
      games: of each seed with itself.
      greedy: the way of playing.
      key: of decks and draws.

    Raises:
      TacitError: as `marl.literal.plays_of_agents`.
    """
    number = len(run.agents)
    alone = self_play_seatings(number, run.game.num_players)
    others = seatings[(seatings != seatings[:, :1]).any(axis=1)]
    settings: Any = {"greedy": greedy, "key": key}
    own = gains(plays_of_agents(run.game, run.agents, alone, games=games, **settings))
    over_seeds = Estimate(None, note="some seeds play no card")
    crossed = Estimate(None, note="some seeds play no card together")
    if np.isfinite(own).all():
        over_seeds = self_play(alone, own)
    if not len(others):
        return Gaps(own.mean(axis=1), over_seeds, Estimate(None, note="no two seeds meet in the run's cross-play"))
    each = -(-games * number // len(others))
    met = gains(plays_of_agents(run.game, run.agents, others, games=each, **settings))
    if np.isfinite(met).all():
        crossed = cross_play(others, met)
    return Gaps(own.mean(axis=1), over_seeds, crossed)


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
        return Correlation(None, note="not all pairs of seeds meet in the run's cross-play")
    return correlation(apart, scores)


# ------------------------------------------------------------------------------------------------------ what is shown


def _seed_table(found: Found, name: str, play: Play) -> Table:
    hidden = [Column(key, shown=False) for key in ("game", "run", "play")]
    columns = [*hidden, Column("seed", words=True)]
    rows: list[list[Any]] = [[found.game, found.run, name, label] for label in [*found.labels, "over seeds"]]
    parts, notes = [_scores(found, play)], []
    if isinstance(play.relabelled, str):
        notes.append(f"Other-Play return and equivariance defect: n/a ({play.relabelled})")
    if isinstance(play.gaps, str):
        notes.append(f"convention gap: n/a ({play.gaps})")
    else:
        parts.append(_gap_column(play.gaps))
        notes.append(f"convention gap in cross-play: {text_of(play.gaps.cross_play, 3)}")
    for more, cells in parts:
        columns += more
        rows = [[*row, *own] for row, own in zip(rows, cells, strict=True)]
    title = f"{found.game}, run {found.run}, {name} play"
    return Table(title, columns, rows, [*notes, *_convention_lines(play.conventions)], [len(rows) - 2])


def _scores(found: Found, play: Play) -> tuple[list[Column], list[list[Any]]]:
    """The columns of scores and of relabelling, with a cell for each seed and one over seeds."""
    seating = self_play_seatings(len(found.labels), 2)
    if isinstance(play.relabelled, str):
        scores = [*play.self_play.tolist(), self_play(seating, play.self_play)]
        return [Column("SP", ("self_play",))], [[score] for score in scores]
    columns = [
        Column("SP", ("self_play",)),
        Column("OP", ("other_play",)),
        Column("SP − OP", ("lost",)),
        Column("defect", digits=3),
        Column("largest", digits=3),
    ]
    own, other, defect = play.relabelled
    scores = (own, other, own - other)
    rows: list[list[Any]] = [
        [
            *(float(score[seed].mean()) for score in scores),
            Cell(one._asdict(), with_error(one.mean, one.standard_error, 3)),
            float(one.largest),
        ]
        for seed, one in enumerate(defect)
    ]
    means = np.array([one.mean for one in defect])
    return columns, [*rows, [*(self_play(seating, values) for values in (*scores, means)), None]]


def _gap_column(gaps: Gaps) -> tuple[list[Column], list[list[Any]]]:
    """The column of convention gaps in self-play, with a cell for each seed and one over seeds."""
    cells = [*(None if np.isnan(gap) else float(gap) for gap in gaps.self_play), gaps.over_seeds]
    return [Column("conv. gap", ("convention_gap",), digits=3)], [[one] for one in cells]


def _convention_lines(conventions: Conventions | str) -> list[str]:
    if isinstance(conventions, str):
        return [f"convention matrices: n/a ({conventions})"]
    if len(conventions.counts) < 2:
        return ["distances between seeds: n/a (there is one seed)"]
    pairs = np.triu_indices(len(conventions.counts), 1)
    return [
        f"distance of convention matrices: mean {conventions.distance[pairs].mean():.3f} over pairs of seeds, "
        f"{conventions.sampling.mean():.3f} between halves of one seed's games",
        f"Spearman of distance and XP: {conventions.predicts}",
        f"the same, relabelled actions as one: mean {conventions.merged_distance[pairs].mean():.3f}, "
        f"Spearman {conventions.merged_predicts}",
    ]


def _write(found: Found, settings: dict[str, Any]) -> None:
    folder = found.folder
    plain = {name: _plain(play) for name, play in found.plays.items()}
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
        figures.save(figure(found, name), folder / f"conventions_{name}")


def _plain(play: Play) -> dict[str, Any]:
    """A play as plain data for JSON, without its counts."""
    plain: dict[str, Any] = {"self_play": play.self_play.tolist(), "cross_play": _numbers(play.cross_play)}
    if isinstance(play.relabelled, str):
        plain["relabelled"] = play.relabelled
    else:
        plain["relabelled"] = {
            "self_play": play.relabelled.self_play.mean(axis=1).tolist(),
            "other_play": play.relabelled.other_play.mean(axis=1).tolist(),
            "defect": [one._asdict() for one in play.relabelled.defect],
        }
    if isinstance(play.conventions, str):
        plain["conventions"] = play.conventions
    else:
        plain["conventions"] = {
            "distance": play.conventions.distance.tolist(),
            "sampling": play.conventions.sampling.tolist(),
            "predicts": play.conventions.predicts._asdict(),
            "merged_distance": play.conventions.merged_distance.tolist(),
            "merged_predicts": play.conventions.merged_predicts._asdict(),
        }
    if isinstance(play.gaps, str):
        plain["convention_gap"] = play.gaps
    else:
        plain["convention_gap"] = {
            "self_play": _numbers(play.gaps.self_play[None])[0],
            "over_seeds": play.gaps.over_seeds._asdict(),
            "cross_play": play.gaps.cross_play._asdict(),
        }
    return plain


def _numbers(matrix: np.ndarray) -> list[list[float | None]]:
    """Nested lists with None for nan, which JSON does not have."""
    return [[None if np.isnan(value) else value for value in row] for row in matrix.tolist()]
