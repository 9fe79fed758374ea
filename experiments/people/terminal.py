"""A sitting in the terminal: the table as the person sees it, and a line to type for each move."""

from collections.abc import Callable, Iterable
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments.people.sitting import Sitting
from games.errors import TacitError

_STYLES = {"R": "bold red", "Y": "bold yellow", "G": "bold green", "W": "bold", "B": "bold blue"}
_HELP = "a number makes a move; ? asks the agent, u undoes (in practice), q leaves"


def play(sitting: Sitting, read: Callable[[str], str] = input) -> None:
    """Play until the person leaves or the last game is over.

    Args:
      sitting: its games.
      read: gives the next line that the person types; EOFError leaves.
    """
    console = Console(highlight=False, markup=False)
    told, shown = 0, None
    while True:
        seat = sitting.seat
        view = seat.view()
        if shown != (sitting.number, seat.step):
            told = _show(console, view, told if shown and shown[0] == sitting.number else 0)
            shown = (sitting.number, seat.step)
        if view["over"] and sitting.last:
            console.print("That was the last game.")
            return
        try:
            line = read("next game: n, leave: q> " if view["over"] else "your move> ").strip().lower()
        except EOFError:
            line = "q"
        try:
            if line == "q":
                return
            if line == "u":
                sitting.undo()
                told = 0
            elif line == "n":
                sitting.next_game()
            elif line == "?":
                _advise(console, view, sitting.advice())
            elif line.isdecimal():
                sitting.move(int(line))
            else:
                console.print(f"“{line}” is none of these: {_HELP}")
        except TacitError as error:
            console.print(f"{error}; {_HELP}")


def _show(console: Console, view: dict[str, Any], told: int) -> int:
    """Show the table and what happened since; returns how many moves were told."""
    state, person = view["state"], view["person"]
    console.print()
    for words in view["moves"][told:]:
        console.print(f"  {words}")
    console.print(
        f"score {state['score']} of {view['score_range'][1]}, hint tokens {state['information_tokens']}, "
        f"lives {state['life_tokens']}, cards in the deck {state['cards_left']}"
    )
    console.print(
        _row("fireworks", (f"{c}{n}" for c, n in zip(view["board"]["colors"], state["fireworks"], strict=True)))
    )
    console.print(_row("discards", state["discards"] or ["none"]))
    hands = Table.grid(padding=(0, 2))
    for player, hand in enumerate(state["hands"]):
        label = f"player {player}, {view['seats'][player]['label']}"
        faces = [_card(card or _known(colors, ranks)) for card, colors, ranks, _ in hand]
        hands.add_row(label, *faces)
        hands.add_row("", *(Text(f"{colors} {ranks}", style="dim") for _, colors, ranks, _ in hand))
    console.print(hands)
    if view["over"]:
        console.print(f"{state['turn']}; the score is {state['score']} of {view['score_range'][1]}", style="bold")
        return len(view["moves"])
    moves = Table.grid(padding=(0, 3))
    named = [f"{action:>3}  {view['actions'][action]}" for action in view["legal"]]
    for first in range(0, len(named), 3):
        moves.add_row(*named[first : first + 3])
    console.print(f"player {person}, your moves ({_HELP}):")
    console.print(moves)
    return len(view["moves"])


def _advise(console: Console, view: dict[str, Any], advice: list[tuple[int, float]]) -> None:
    console.print(f"{view['seats'][view['person']]['policy']} in your seat:")
    for action, chance in sorted(advice, key=lambda one: -one[1])[:5]:
        console.print(f"  {chance:6.1%}  {view['actions'][action]}")


def _row(name: str, cards: Iterable[str]) -> Text:
    return Text(f"{name}: ").append_text(Text(" ").join(_card(card) for card in cards))


def _card(card: str) -> Text:
    return Text(card, style=_STYLES.get(card[0], ""))


def _known(colors: str, ranks: str) -> str:
    """A card that the person does not see, by what is certain of it."""
    return f"{colors if len(colors) == 1 else '?'}{ranks if len(ranks) == 1 else '?'}"
