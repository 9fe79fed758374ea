"""`tacit games`: which games there are, and what a game is made of."""

from collections.abc import Sequence
from importlib import resources

from experiments import compose
from experiments.config import build_game
from games.errors import TacitError
from games.game import Game
from games.tabular.simulator import Simulator

FROM_FILE = "file"
"""The choice of `game` that reads a file of the user's."""


def names() -> list[str]:
    """The games of the configuration group `game`."""
    files = resources.files("conf").joinpath("game").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def list_games() -> str:
    """A line for each game that is there without a file of the user's."""
    lines = [
        f"{'game':<20} {'version':<18} {'players':>7} {'actions':>7} {'score':>11} {'optimum':>8} {'steps':>6}  "
        "observers (size)"
    ]
    for name in names():
        if name == FROM_FILE:
            continue
        game = build_game(compose.compose([f"game={name}"])["game"])
        low, high = game.score_range
        optimum = game.known_optimum if isinstance(game, Simulator) else None
        lines.append(
            f"{name:<20} {game.version:<18} {game.num_players:>7} {game.num_actions:>7} {f'{low:g} … {high:g}':>11} "
            f"{'' if optimum is None else f'{optimum:.6g}':>8} {game.horizon:>6}  "
            + ", ".join(_observer(game, observer) for observer in game.observers)
        )
    lines += ["", "optimum: the best expected score in self-play, where it is known"]
    lines += ["tacit games NAME shows actions and observation layouts; KEY=VALUE changes a board"]
    return "\n".join([*lines, f"tacit games {FROM_FILE} file=PATH shows the game of a .dpomdp file of your own"])


def _observer(game: Game, name: str) -> str:
    """For example "last (14)", or without a size where the game is too large for it."""
    try:
        return f"{name} ({game.observer(name).size})"
    except TacitError:
        return f"{name} (too large)"


def describe_game(name: str, overrides: Sequence[str]) -> str:
    """Sizes, actions and observation layouts of one game, with `overrides` such as players=3."""
    config = compose.compose([f"game={name}", *(f"game.{override}" for override in overrides)])["game"]
    game = build_game(config)
    lines = [f"{name}: {game}", f"version {game.version}, at most {game.horizon} steps", "", "actions"]
    lines += [f"{action:>5}  {game.action_name(action)}" for action in range(game.num_actions)]
    for name in game.observers:
        try:
            observer = game.observer(name)
        except TacitError as error:
            lines += ["", str(error)]
            continue
        lines += ["", f"observer {observer.name}: {observer.size} entries of {observer.dtype.__name__}"]
        lines += [str(observer.layout)]
    return "\n".join(lines)
