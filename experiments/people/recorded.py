"""`tacit games hanabi --replay FILE …`: what recorded games are, and whether they keep the rules."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.presentation.tables import Cell, Column, Table, with_error
from games.hanabi import records
from marl.literal import MOST_HINTS, Gap, Moves, Sums, gap, moves_of_records

_MOST_REFUSED = 10
"""Refused games of a file that are named one by one."""

_OF_MOVES = [
    Column("plays"),
    Column("failed", digits=3),
    Column("convention gap", ("gap",), digits=3),
    Column("marginal", digits=3),
    Column("discards"),
    Column("critical", digits=3),
    Column("gap of discards", ("gap_of_discards",), digits=3),
]
_OF_GAMES = [
    Column("stopped early", ("stopped",)),
    Column("scores that agree", ("scores_agree",)),
    Column("score"),
    Column("perfect", digits=3),
    Column("length"),
]
_OF_COUNTED = (
    "scores and lengths are of the games that are not refused; ±: the standard error over games; stopped early: before "
    "the rules ended the game"
)
_NOTES = [
    "failed: the share of plays that failed; convention gap: how much less often they failed than by what hints say "
    "literally, jointly for the whole hand (marginal: card by card)",
    "critical: the share of discards that were of the last copy of a card still needed; their gap: how much less often "
    "they were than by what hints say literally",
]


def describe(files: Sequence[Path]) -> list[Table]:
    """The games of each file, how many keep the rules, and their scores; and their moves, by hints that touched a card.

    Raises:
      TacitError: for a file that cannot be read, or that has no game.
    """
    games, moves, notes, ends = [], [], [], []
    for file in files:
        recorded = records.read(file)
        replayed = records.replay(recorded)
        legal = replayed.legal()
        for one in replayed.refused[:_MOST_REFUSED]:
            notes.append(f"{file.name}, game {one.game} is refused: {one.reason}")
        if (more := len(replayed.refused) - _MOST_REFUSED) > 0:
            notes.append(f"{file.name}: {more} more games are refused")
        sums = jax.tree.map(lambda leaf, legal=legal: np.asarray(leaf)[legal], moves_of_records(recorded))
        counts = [file.name, len(legal), recorded.game.players, int((~legal).sum())]
        games.append([*counts, *_of_games(recorded, replayed)])
        moves.append([file.name, "all", *_of_moves(Moves(*(one.over_hints() for one in sums)))])
        for hints in range(MOST_HINTS + 1):
            own = jax.tree.map(lambda leaf, hints=hints: leaf[:, hints], sums)
            moves.append([file.name, f"{hints}{' or more' * (hints == MOST_HINTS)}", *_of_moves(own)])
        ends.append(len(moves) - 1)
    columns = [Column("file", words=True), Column("games"), Column("players"), Column("refused")]
    by_hints = [Column("file", words=True), Column("hints on the card", ("hints",))]
    return [
        Table("recorded games of hanabi", [*columns, *_OF_GAMES], games, [*notes, _OF_COUNTED]),
        Table("their plays and discards", [*by_hints, *_OF_MOVES], moves, _NOTES, ends[:-1]),
    ]


def _of_games(recorded: records.RecordedGames, replayed: records.Replayed) -> list[Any]:
    """The cells of `_OF_GAMES`; None where there is no legal game, or no score to compare with."""
    legal = replayed.legal()
    scores, told = replayed.scores[legal], recorded.scores[legal]
    if not legal.any():
        return [None] * len(_OF_GAMES)
    known = told >= 0
    agree = f"{int((scores == told)[known].sum())} of {int(known.sum())}" if known.any() else None
    perfect = float((scores == recorded.game.score_range[1]).mean())
    return [int((~replayed.ended[legal]).sum()), agree, _mean(scores), perfect, _mean(recorded.lengths[legal])]


def _of_moves(moves: Moves) -> list[Any]:
    """The cells of `_OF_MOVES`, from sums [games]; None where no card was played, or none discarded."""
    plays, discards = _gap(moves.plays), _gap(moves.discards)
    of_plays = [0, None, None, None]
    of_discards = [0, None, None]
    if plays:
        of_plays = [plays.moves, plays.failed, _with_error(plays.gap, plays.standard_error, 3), plays.marginal]
    if discards:
        of_discards = [discards.moves, discards.failed, _with_error(discards.gap, discards.standard_error, 3)]
    return [*of_plays, *of_discards]


def _gap(sums: Sums) -> Gap | None:
    return gap(sums) if sums.moves.sum() else None


def _mean(values: np.ndarray) -> Cell:
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return _with_error(float(values.mean()), float(error), 2)


def _with_error(mean: float, error: float, digits: int) -> Cell:
    known = error if np.isfinite(error) else None
    return Cell({"mean": mean, "standard_error": known}, with_error(mean, known, digits))
