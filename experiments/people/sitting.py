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
    fixed: bool = False
    """The game has these settings, also where a file holds it with others: then the file is refused."""


class Sitting:
    """The games of a file: those that are over, and the one that is being played.

    Args:
      file: of earlier sittings, or a new one.
      planned: the game of each number from 0, or None after the last; a game left unfinished keeps its own settings.

    Raises:
      TacitError: if the file cannot be read, or holds other games than those planned, or all games were played.
    """

    def __init__(self, file: Path, planned: Callable[[int], Planned | None]) -> None:
        self.file, self._planned = file, planned
        self._bytes = _bytes(file)
        self.records: list[dict[str, Any]] = _records(file, self._bytes)
        self.version = 0
        """How often the position was changed: a window that shows an older one is out of date."""
        self.resumed = bool(self.records) and "score" not in self.records[-1]
        for number, record in enumerate(self.records):
            _check_as_planned(file, number, record, planned(number))
        last = self.records.pop() if self.resumed else None
        plan = self._plan(len(self.records))
        if plan is None:
            raise TacitError(f"all {len(self.records)} games of {file} were played")
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

    def move(self, action: Any, version: Any = None) -> None:
        """`Seat.move`, at this version of the position if one is given.

        Raises:
          TacitError: as `Seat.move`; if the position is of another version; if the file was changed by another program
            or cannot be written.
        """
        self._check(version)
        self.seat.move(action)
        self._changed()

    def undo(self, version: Any = None) -> None:
        """`Seat.undo`.

        Raises:
          TacitError: as `move`.
        """
        self._check(version)
        self.seat.undo()
        self._changed()

    def advice(self, version: Any = None) -> list[tuple[int, float]]:
        """`Seat.advice`.

        Raises:
          TacitError: as `move`.
        """
        self._check(version)
        advice = self.seat.advice()
        self._save()
        return advice

    def next_game(self, version: Any = None) -> None:
        """Deal the next game.

        Raises:
          TacitError: if this game is not over, or it was the last; if the position is of another version.
        """
        self._check(version)
        if not self.seat.over:
            raise TacitError("the next game is dealt when this one is over")
        record = self.seat.record(self._names)
        plan = self._plan(self.number + 1, record)
        if plan is None:
            raise TacitError("this was the last game")
        self.records.append(record)
        self._names = plan.names
        self.seat = Seat(plan.game, plan.agents, plan.settings)
        self.version += 1

    def _plan(self, number: int, *more: dict[str, Any]) -> Planned | None:
        """The game of a number; unless its settings are fixed, with a seed that none of the games before has."""
        plan = self._planned(number)
        if plan is None or plan.fixed:
            return plan
        known = [settings_of(record).seed for record in (*self.records, *more)]
        seed = max([plan.settings.seed, *(seed + 1 for seed in known)])
        return plan._replace(settings=plan.settings._replace(seed=seed))

    def _check(self, version: Any) -> None:
        if version is not None and version != self.version:
            raise TacitError("the game has moved on: this was for an earlier position")
        if _bytes(self.file) != self._bytes:
            raise TacitError(f"{self.file} was changed by another program: end this one, and start again to go on")
        runs.make_folder(self.file.parent)

    def _changed(self) -> None:
        self.version += 1
        self._save()

    def _save(self) -> None:
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
    except (TacitError, ValueError, RecursionError) as error:
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
    if plan.fixed and settings_of(record) != plan.settings:
        raise TacitError(f"{file}, game {number} was played with {settings_of(record)}, not with {plan.settings}")
