"""`tacit games`: which games there are, and what a game is made of."""

from collections.abc import Sequence
from importlib import resources

from experiments import train
from experiments.config import build_game


def names() -> list[str]:
    """The games of the configuration group `game`."""
    files = resources.files("conf").joinpath("game").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def list_games() -> str:
    """A line for each game."""
    lines = [f"{'game':<20} {'version':<10} {'players':>7} {'actions':>7} {'score':>9} {'steps':>6}  observers (size)"]
    for name in names():
        game = build_game(train.compose([f"game={name}"])["game"])
        low, high = game.score_range
        observers = ", ".join(f"{observer.name} ({observer.size})" for observer in game.observers.values())
        lines.append(
            f"{name:<20} {game.version:<10} {game.num_players:>7} {game.num_actions:>7} {f'{low:g} … {high:g}':>9} "
            f"{game.horizon:>6}  {observers}"
        )
    return "\n".join([*lines, "", "tacit games NAME shows actions and observation layouts; KEY=VALUE changes a board"])


def describe_game(name: str, overrides: Sequence[str]) -> str:
    """Sizes, actions and observation layouts of one game, with `overrides` such as players=3."""
    config = train.compose([f"game={name}", *(f"game.{override}" for override in overrides)])["game"]
    game = build_game(config)
    lines = [f"{name}: {game}", f"version {game.version}, at most {game.horizon} steps", "", "actions"]
    lines += [f"{action:>5}  {game.action_name(action)}" for action in range(game.num_actions)]
    for observer in game.observers.values():
        lines += ["", f"observer {observer.name}: {observer.size} entries of {observer.dtype.__name__}"]
        lines += [str(observer.layout)]
    return "\n".join(lines)
