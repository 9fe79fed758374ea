"""A sitting: games of one person, one after another, kept in one file that `games.hanabi.records` reads.

The file is written after every move, so that whatever ends the program, the game goes on where it was left.
"""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from experiments import runs
from experiments.people.seat import Seat, Settings, settings_of
from games.errors import TacitError
from games.hanabi import Hanabi
from games.hanabi.replay import of_replay
from marl.agent import Agent


class Planned(NamedTuple):
    """A game that is to be played."""

    game: Hanabi
    agents: tuple[Agent, ...]
    """One for each seat; that of the person's seat is asked what it would do there."""
    names: tuple[str, ...]
    """How the record calls the agents of all seats; the person's is "person"."""
    settings: Settings


class AllPlayed(TacitError):
    """No game is left to play."""


class Sitting:
    """The games of a file: those that are over, and the one that is being played.

    Args:
      file: of earlier sittings, or a new one.
      planned: the game of each number from 0, or None after the last; a game left unfinished keeps its own settings.

    Raises:
      AllPlayed: if all games were played.
      TacitError: if the file cannot be read, or holds other games than those planned.
    """

    def __init__(self, file: Path, planned: Callable[[int], Planned | None]) -> None:
        self.file, self._planned = file, planned
        self._bytes = _bytes(file)
        self.records: list[dict[str, Any]] = _records(file, self._bytes)
        self.resumed = bool(self.records) and "score" not in self.records[-1]
        for number, record in enumerate(self.records):
            _check_as_planned(file, number, record, planned(number))
        last = self.records.pop() if self.resumed else None
        plan = planned(len(self.records))
        if plan is None:
            raise AllPlayed(f"all {len(self.records)} games of {file} were played")
        self._names = plan.names
        self.seat = (
            Seat.of_record(plan.game, plan.agents, last) if last else Seat(plan.game, plan.agents, plan.settings)
        )

    @property
    def number(self) -> int:
        """The number of the game that is being played, from 0."""
        return len(self.records)

    @property
    def last(self) -> bool:
        """Whether no game follows."""
        return self._planned(self.number + 1) is None

    def do(self, change: Callable[[Seat], Any]) -> Any:
        """Change the game by one of the methods of its seat, and write the file; returns what the method returned.

        Raises:
          TacitError: as the method, and if the file was changed by another program or cannot be written.
        """
        if _bytes(self.file) != self._bytes:
            raise TacitError(f"{self.file} was changed by another program: end this one, and start again to go on")
        result = change(self.seat)
        self._save()
        return result

    def next_game(self) -> None:
        """Deal the next game.

        Raises:
          TacitError: if this game is not over, or it was the last.
        """
        if not self.seat.over:
            raise TacitError("the next game is dealt when this one is over")
        plan = self._planned(self.number + 1)
        if plan is None:
            raise TacitError("this was the last game")
        self.records.append(self.seat.record(self._names))
        self._names = plan.names
        self.seat = Seat(plan.game, plan.agents, plan.settings)

    def _save(self) -> None:
        runs.make_folder(self.file.parent)
        contents = json.dumps([*self.records, self.seat.record(self._names)]).encode()
        runs.write_bytes(self.file, contents)
        self._bytes = contents


def _bytes(file: Path) -> bytes | None:
    try:
        return file.read_bytes() if file.exists() else None
    except OSError as error:
        raise TacitError(f"{file} cannot be read: {error.strerror}") from error


def _records(file: Path, contents: bytes | None) -> list[dict[str, Any]]:
    if contents is None:
        return []
    try:
        plain = json.loads(contents)
        if not isinstance(plain, list):
            raise TacitError("it is no list of games")
        for record in plain:
            settings_of(record if isinstance(record, dict) else {})
            of_replay(record)
    except (TacitError, ValueError) as error:
        raise TacitError(f"{file} holds no games that were played here: {error}") from error
    return plain


def _check_as_planned(file: Path, number: int, record: dict[str, Any], plan: Planned | None) -> None:
    """Refuse a file whose game is of other agents, or on another board, than planned."""
    if plan is None:
        raise TacitError(f"{file} holds more games than are planned")
    theirs, board = record["tacit"].get("agents"), of_replay(record)[0]
    if theirs != list(plan.names):
        raise TacitError(f"{file}, game {number} is of {theirs}, not of {list(plan.names)}: give another file")
    if dataclasses.replace(board, default_observer=plan.game.default_observer) != plan.game:
        raise TacitError(f"{file}, game {number} is on the board {board}, not on {plan.game}: give another file")
