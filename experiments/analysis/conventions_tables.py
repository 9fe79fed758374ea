"""The results of `tacit conventions`, and its tables and figure."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.analysis.crossplay import sampling_in_words
from experiments.presentation import figures
from experiments.presentation.tables import Cell, Column, Table, as_markdown, text_of, with_error
from games.errors import TacitError
from marl.conventions import Correlation, responses
from marl.crossplay import self_play_seatings
from marl.crossplay.estimators import Estimate, self_play
from marl.equivariance import Defect


class Relabelled(NamedTuple):
    """The effect of relabelling the game, for each of N agents."""

    self_play: np.ndarray  # float64[N, games] scores
    other_play: np.ndarray  # float64[N, games] scores from the same decks, with every player relabelled
    defect: list[Defect]


class Conventions(NamedTuple):
    """The convention matrices of N agents and the distances between them."""

    counts: np.ndarray  # int64[N, A, A]
    distance: np.ndarray  # float64[N, N]
    sampling: np.ndarray  # float64[N] distance between two halves of an agent's games
    predicts: Correlation  # of the distance with cross-play
    merged_distance: np.ndarray  # float64[N, N], with actions that symmetries map to each other merged
    merged_predicts: Correlation

    @property
    def mean_distance(self) -> float:
        """The mean of the distance over pairs of agents."""
        return _mean_over_pairs(self.distance)


class Gaps(NamedTuple):
    """The convention gaps of N agents, in shares of their moves of one kind (`marl.literal`)."""

    self_play: np.ndarray  # float64[N]; nan for an agent that makes no such move
    standard_error: np.ndarray  # float64[N] of self-play, over games; nan for a single game
    over_seeds: Estimate  # of self-play
    cross_play: Estimate


class MoveGaps(NamedTuple):
    """The convention gaps of plays and of discards."""

    plays: Gaps
    discards: Gaps


class Play(NamedTuple):
    """The results in sampled or in greedy play; a text instead is the reason why a result is undefined in this game."""

    self_play: np.ndarray  # float64[N]
    cross_play: np.ndarray  # float64[N, N], see `CrossPlay.matrix`; nan between partners
    relabelled: Relabelled | str
    conventions: Conventions | str
    gaps: MoveGaps | str


class Found(NamedTuple):
    """The results of one run's seeds or of partners, and the folder with them."""

    run: str  # its name; empty for partners, over which there are no means, since they are no sample
    game: str
    labels: list[str]
    actions: list[str]
    plays: dict[str, Play]
    folder: Path
    sampling: tuple[str, ...] = ()
    """The agents that sample their actions in greedy play, too."""

    def __str__(self) -> str:
        """The tables in Markdown."""
        return as_markdown(shown(self))

    def _repr_markdown_(self) -> str:
        return str(self)


def shown(found: Found) -> list[Table]:
    """For each way of playing a table: a row for each agent; of a run also means over seeds and correlations."""
    return [_table(found, name, play) for name, play in found.plays.items()]


def figure(found: Found, name: str) -> figures.Figure:
    """The convention matrices of the agents; of a run's seeds also cross-play against the distance between them.

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
        (play.cross_play + play.cross_play.T) / 2 if found.run else None,
        _title(found, name),
        f"Spearman {play.conventions.predicts}",
    )


def _title(found: Found, name: str) -> str:
    return f"{found.game}, {f'run {found.run}' if found.run else 'partners'}, {name} play"


def _table(found: Found, name: str, play: Play) -> Table:
    hidden = [Column(key, shown=False) for key in ("game", "run", "play")]
    columns = [*hidden, Column("seed" if found.run else "partner", words=True)]
    named = [*found.labels, *(["over seeds"] if found.run else [])]
    rows: list[list[Any]] = [[found.game, found.run, name, label] for label in named]
    parts, notes = [_scores(found, play)], []
    if isinstance(play.relabelled, str):
        notes.append(f"Other-Play return and equivariance defect: n/a ({play.relabelled})")
    if isinstance(play.gaps, str):
        notes.append(f"convention gap: n/a ({play.gaps})")
    else:
        parts += [
            _gap_column(found, play.gaps.plays, Column("conv. gap", ("convention_gap",), digits=3)),
            _gap_column(found, play.gaps.discards, Column("of discards", ("gap_of_discards",), digits=3)),
        ]
        met = [text_of(one.cross_play, 3) for one in play.gaps]
        notes += [f"convention gap in cross-play: {met[0]}; of discards: {met[1]}"] if found.run else []
    for more, cells in parts:
        columns += more
        rows = [[*row, *own] for row, own in zip(rows, cells, strict=True)]
    if found.run:
        notes += _convention_lines(play.conventions)
    else:
        notes.append("each with copies of itself; ±: the standard error over games")
        notes += [sampling_in_words(found.sampling)] if found.sampling and name == "greedy" else []
    return Table(_title(found, name), columns, rows, notes, [len(rows) - 2] if found.run else [])


def _scores(found: Found, play: Play) -> tuple[list[Column], list[list[Any]]]:
    """The columns of scores and of relabelling, with a row of cells for each agent, and over seeds of a run."""
    seating = self_play_seatings(len(found.labels), 2)
    if isinstance(play.relabelled, str):
        scores = [*play.self_play.tolist(), *([self_play(seating, play.self_play)] if found.run else [])]
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
            *(_mean(score[agent], with_its_error=not found.run) for score in scores),
            Cell(one._asdict(), with_error(one.mean, one.standard_error, 3)),
            float(one.largest),
        ]
        for agent, one in enumerate(defect)
    ]
    if found.run:
        means = np.array([one.mean for one in defect])
        rows.append([*(self_play(seating, values) for values in (*scores, means)), None])
    return columns, rows


def _mean(scores: np.ndarray, *, with_its_error: bool) -> Any:
    """The mean of an agent's games; of a partner, over which no interval is shown, with its error."""
    if not with_its_error:
        return float(scores.mean())
    error = float(scores.std(ddof=1) / np.sqrt(len(scores))) if len(scores) > 1 else None
    return Cell({"mean": float(scores.mean()), "standard_error": error}, with_error(float(scores.mean()), error))


def _gap_column(found: Found, gaps: Gaps, column: Column) -> tuple[list[Column], list[list[Any]]]:
    """A column of convention gaps in self-play, with a cell for each agent, and one over seeds of a run."""
    cells: list[Any] = []
    for gap, error in zip(*_numbers(np.stack([gaps.self_play, gaps.standard_error])), strict=True):
        told = Cell({"mean": gap, "standard_error": error}, with_error(gap, error, 3))
        cells.append(gap if found.run else told)
    return [column], [[one] for one in [*cells, *([gaps.over_seeds] if found.run else [])]]


def _convention_lines(conventions: Conventions | str) -> list[str]:
    if isinstance(conventions, str):
        return [f"convention matrices: n/a ({conventions})"]
    if len(conventions.counts) < 2:
        return ["distances between seeds: n/a (there is one seed)"]
    return [
        f"distance of convention matrices: mean {conventions.mean_distance:.3f} over pairs of seeds, "
        f"{conventions.sampling.mean():.3f} between halves of one seed's games",
        f"Spearman of distance and XP: {conventions.predicts}",
        f"the same, relabelled actions as one: mean {_mean_over_pairs(conventions.merged_distance):.3f}, "
        f"Spearman {conventions.merged_predicts}",
    ]


def _mean_over_pairs(distance: np.ndarray) -> float:
    """Of float64[N, N]."""
    return float(distance[np.triu_indices(len(distance), 1)].mean())


def plain(play: Play) -> dict[str, Any]:
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
        plain |= {"convention_gap": play.gaps, "gap_of_discards": play.gaps}
    else:
        plain |= {"convention_gap": _plain_gaps(play.gaps.plays), "gap_of_discards": _plain_gaps(play.gaps.discards)}
    return plain


def _plain_gaps(gaps: Gaps) -> dict[str, Any]:
    alone = _numbers(np.stack([gaps.self_play, gaps.standard_error]))
    estimates = {"over_seeds": gaps.over_seeds._asdict(), "cross_play": gaps.cross_play._asdict()}
    return dict(zip(("self_play", "standard_error"), alone, strict=True)) | estimates


def _numbers(matrix: np.ndarray) -> list[list[float | None]]:
    """Nested lists with None for nan, which JSON does not have."""
    return [[None if np.isnan(value) else value for value in row] for row in matrix.tolist()]
