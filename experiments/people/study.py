"""A study: many people play with the same agents, each in an order of their own, without knowing which agent it is.

A file says what is played:

    agents: [runs/NAME:0, runs/OTHER, piers]   # as for `tacit play`; each is all other seats of its games
    game: [game=hanabi_2x3]                    # only if no agent is of a run
    games: 2                                   # of each participant with each agent
    participants: 20
    seat: 0                                    # the person's
    seed: 0                                    # of orders, decks and draws
    play: greedy                               # or sampled

Participants are numbers from 1. The session of number n is the file participant-n.json in a folder called as the study,
beside its file. No two games of a study have the same deck.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from experiments import runs
from experiments.configuration import annotations, conf_files
from experiments.configuration.config import parse_dataclass
from experiments.people.play import planned, seated
from experiments.people.seat import MOST_SEED, Settings
from experiments.people.sitting import Planned, Sitting
from games.errors import TacitError, whole_number

_NAME = "participant-{}.json"


@dataclasses.dataclass(frozen=True)
class Study:
    """What a file says; see above.

    Raises:
      TacitError: for a value of another type or out of range, naming it.
    """

    agents: Sequence[str]
    game: Sequence[str] = ()
    games: int = 1
    participants: int = 1
    seat: int = 0
    seed: int = 0
    play: Literal["greedy", "sampled"] = "greedy"

    def __post_init__(self) -> None:
        types = annotations.of(Study)
        for field in dataclasses.fields(self):
            value = annotations.converted(f"study {field.name}", getattr(self, field.name), types[field.name])
            object.__setattr__(self, field.name, value)
        for name in ("games", "participants"):
            whole_number(f"study {name}", getattr(self, name), 1)
        whole_number("study seed", self.seed, 0, MOST_SEED - self.participants * self.length)
        if not self.agents or len(set(self.agents)) < len(self.agents):
            raise TacitError("study agents must be a list of at least one agent, none of them twice")

    @property
    def length(self) -> int:
        """Games of a session."""
        return len(self.agents) * self.games

    def order(self, participant: int) -> list[int]:
        """The agent of each game of a participant, by its place in the list; a random order for each of them."""
        generator = np.random.default_rng((self.seed, participant))
        return generator.permutation(np.arange(self.length) % len(self.agents)).tolist()


def read(file: Path) -> Study:
    """The study that a file describes.

    Raises:
      TacitError: naming the file and what is wrong.
    """
    if file.suffix not in (".yaml", ".yml"):
        raise TacitError(f"{file} is no study: its name is to end in .yaml")
    plain = conf_files.of_user(file)
    if "agents" not in plain:
        raise TacitError(f"{file} lacks agents, a list such as [runs/NAME:0, piers]")
    try:
        return parse_dataclass(Study, "study", plain)
    except TacitError as error:
        raise TacitError(f"{file}: {error}") from error


def session(file: Path, participant: int | None = None) -> Sitting:
    """The session of a participant, who goes on, or by default of the first one who has not begun.

    Raises:
      TacitError: as `read`; if there is no such participant, or all of them have begun or played; as `play.seated`.
    """
    study = read(file)
    numbers = range(1, study.participants + 1)
    if participant is not None and participant not in numbers:
        raise TacitError(f"{file} has the participants 1 to {study.participants}, not {participant}")
    game, agents = seated(study.agents, study.game)

    def game_of(number: int, place: int) -> Planned | None:
        if place >= study.length:
            return None
        own = agents[study.order(number)[place]]
        seed = study.seed + (number - 1) * study.length + place
        settings = Settings(study.seat, seed, greedy=study.play == "greedy", practice=False, asking=False)
        return planned(game, [own], settings)._replace(fixed=True)

    folder = file.parent / file.stem
    number = _claimed(folder, numbers) if participant is None else participant
    if number is None:
        raise TacitError(
            f"all {study.participants} participants of {file} have begun: --participant N goes on with one"
        )
    return Sitting(folder / _NAME.format(number), lambda place: game_of(number, place))


def _claimed(folder: Path, numbers: Sequence[int]) -> int | None:
    """The first number without a session, which now has an empty one: two who begin at once get two numbers."""
    runs.make_folder(folder)
    for number in numbers:
        try:
            with (folder / _NAME.format(number)).open("x") as opened:
                opened.write("[]")
        except FileExistsError:
            continue
        except OSError as error:
            raise TacitError(f"{folder} cannot be written: {error.strerror}") from error
        return number
    return None
