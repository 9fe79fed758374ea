"""`tacit play AGENT …`: a person's games of Hanabi with agents that they name."""

import atexit
import contextlib
import os
import re
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from experiments import runs
from experiments.analysis.crossplay import named_partners
from experiments.configuration.config import build_game
from experiments.launching import compose
from experiments.people import terminal
from experiments.people.seat import Settings
from experiments.people.server import Server, serve
from experiments.people.sitting import Planned, Sitting
from experiments.presentation.terminal import say
from games.errors import TacitError
from games.game import Game
from games.hanabi import Hanabi
from marl.agent import Agent, check_fits

PERSON = "person"
"""What records call the person."""


class Named(NamedTuple):
    """An agent and how records call it."""

    agent: Agent
    name: str


def sitting(words: Sequence[str], settings: Settings, file: Path | None = None) -> Sitting:
    """Games with the same agents, one after another; each has the next seed.

    Args:
      words: agents, one for each other seat in order or one for all of them: RUN or RUN:SEED, a run directory or a file
        of the zoo and the number of one of its seeds (the first), or the name of a partner; and the game's keys, if
        none of them is of a run.
      settings: of the first game.
      file: where the games are kept; by default one in `played/` that is named after agents, board and seat.

    Raises:
      TacitError: if an agent cannot be read or does not fit the game, the runs are of different games, the game is none
        of Hanabi, the number of agents is wrong, or the file holds other games.
    """
    overrides = [word for word in words if "=" in word and not Path(word).exists()]
    texts = [word for word in words if word not in overrides]
    game, found = seated(texts, overrides)
    if len(found) not in (1, game.players - 1):
        raise TacitError(
            f"a game of {game.players} needs one agent, or {game.players - 1} for the other seats, not {len(found)}"
        )
    return Sitting(
        file or Path("played") / default_name(game, found, settings.person),
        lambda number: planned(game, found, settings._replace(seed=settings.seed + number)),
    )


def play(table: Sitting, *, in_terminal: bool, port: int = 0, opened: bool = True) -> None:
    """Play until the person leaves: in the terminal, or at a page on this port that is opened in the browser.

    Raises:
      TacitError: if the port is in use.
    """
    if table.resumed:
        own = table.seat.settings
        as_begun = f"{'greedy' if own.greedy else 'sampled'} play, {'' if own.practice else 'no '}practice"
        say(f"going on with game {table.number + 1} of {table.file} at step {table.seat.step}, as begun: {as_begun}")
    with contextlib.suppress(KeyboardInterrupt):  # how one leaves
        if in_terminal:
            terminal.play(table)
        else:
            server = Server(table, port)
            print(f"open {server.address} (Ctrl-C ends this program; the game is kept)", flush=True)
            if opened:
                webbrowser.open(server.address)
            serve(server)
    if not in_terminal:
        # At the interpreter's usual end, a thread that still answers would crash it, or not let it end.
        atexit.register(_end_at_once)
    if table.file.exists():
        say(f"\n{table.file} holds the games")


def _end_at_once() -> None:
    sys.stdout.flush()
    os._exit(0)


def seated(texts: Sequence[str], overrides: Sequence[str]) -> tuple[Hanabi, list[Named]]:
    """The game, and the agents of these names in their order; as in `sitting`.

    Raises:
      TacitError: as `sitting`.
    """
    if not texts:
        raise TacitError("play needs an AGENT: a RUN, RUN:SEED, or a partner and its game, as in piers game=hanabi_2x3")
    places = [_place(text) for text in texts]
    loaded = {path: runs.read_run(path) for path, _ in filter(None, places)}
    games: list[Game] = [run.game for run in loaded.values()]
    if loaded and overrides:
        raise TacitError(f"a run brings its own game: leave out {' '.join(overrides)}")
    if not loaded and not overrides:
        raise TacitError(f"{texts[0]} needs a game: tacit play {texts[0]} game=hanabi_2x3")
    game = games[0] if games else build_game(compose.composed_game(overrides))
    if other := next((one for one in games if one != game), None):
        raise TacitError(f"the runs are of different games: {game} and {other}")
    if not isinstance(game, Hanabi):
        raise TacitError(f"a person plays Hanabi, and this is the game {game.name}")
    found = []
    for text, place in zip(texts, places, strict=True):
        if place is None:
            (agent,) = named_partners(game, text)
            found.append(Named(agent, agent.label))
        else:
            found.append(_of_run(loaded[place[0]], place[1]))
        check_fits(found[-1].agent, game)
    return game, found


def planned(game: Hanabi, agents: Sequence[Named], settings: Settings) -> Planned:
    """A game with agents for the other seats in order, or one for all; the first is asked in the person's seat."""
    others = list(agents) if len(agents) > 1 else [agents[0]] * (game.players - 1)
    seats = [*others[: settings.person], Named(agents[0].agent, PERSON), *others[settings.person :]]
    return Planned(game, tuple(seat.agent for seat in seats), tuple(seat.name for seat in seats), settings)


def default_name(game: Hanabi, agents: Sequence[Named], person: int) -> str:
    """A file's name that says agents, board and seat."""
    who = "-".join(dict.fromkeys(re.sub(r"[^\w.]+", "_", one.name) for one in agents))
    copies = "" if game.has_hle_copies else f"-copies{''.join(map(str, game.copies))}"
    return f"{who[:80]}-{game.players}p-{game.colors}x{game.ranks}{copies}-seat{person}.json"


def _place(text: str) -> tuple[Path, int | None] | None:
    """The path of a run and the seed that are meant; None for a partner's name.

    Raises:
      TacitError: if it is a path of nothing.
    """
    before, colon, seed = text.rpartition(":")
    if colon and seed.isdecimal() and Path(before).exists():
        return Path(before).resolve(), int(seed)
    if Path(text).exists():
        return Path(text).resolve(), None
    if ("/" in text or seed.isdecimal()) and "=" not in text and not text.startswith("jaxmarl:"):
        raise TacitError(f"there is no run {text}")
    return None


def _of_run(run: runs.Run, seed: int | None) -> Named:
    name = run.path.name if run.path.is_dir() else run.path.stem
    seeds = [int(agent.label.rpartition("/")[2]) for agent in run.agents]
    if seed is not None and seed not in seeds:
        raise TacitError(f"run {name} has the seeds {seeds[0]} to {seeds[-1]}, not {seed}")
    place = 0 if seed is None else seeds.index(seed)
    return Named(run.agents[place], f"{name}:{seeds[place]}")
