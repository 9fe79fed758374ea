"""Tables of observations: the directive `{observers}` shows the named slices of every observer of every game."""

from typing import Any

from generated import Generated, table
from sphinx.application import Sphinx

from experiments.catalogue import facts
from experiments.configuration import conf_files
from experiments.configuration.config import build_game
from experiments.launching import compose
from games.errors import TacitError
from games.game import Game, Section


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("observers", Observers)
    return {"parallel_read_safe": True}


class Observers(Generated):
    """`{observers}`: a section for each game of conf/ that does not need a user's file."""

    def markdown(self) -> str:
        """The sections, in the order of the games' names."""
        return "\n\n".join(section(name) for name in conf_files.choices("game") if name != facts.FROM_FILE)


def section(name: str) -> str:
    """A game with a table for each of its observers."""
    game = build_game(compose.compose([f"game={name}"])["game"])
    return "\n\n".join([f"## `game={name}`", *(_observer(game, observer) for observer in game.observers)])


def _observer(game: Game, name: str) -> str:
    try:
        observer = game.observer(name)
    except TacitError as error:
        return f"`{name}`: {error}."
    rows = [
        [
            "\N{NO-BREAK SPACE}".join((str(part.start), "…", str(part.stop - 1))),
            f"`{part.name}`",
            _axes(part),
            part.meaning,
        ]
        for part in observer.layout.sections
    ]
    title = f"`{name}`: {observer.size} entries of {observer.dtype.__name__}"
    return f"{title}\n\n{table(['entries', 'slice', 'axes', 'meaning'], rows)}"


def _axes(section: Section) -> str:
    return " × ".join(f"{axis} {length}" for axis, length in section.axes)
