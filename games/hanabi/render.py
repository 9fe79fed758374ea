"""A state of Hanabi as text and as a picture (SVG), with the sizes of the board read off the state's arrays.

Both show every hand face up, as a spectator sees it, and under each card what its holder knows of it from hints: the
colors and ranks it can still be, with a mark where a hint named one. Slot 0 holds the oldest card.
"""

from collections.abc import Iterable
from typing import NamedTuple
from xml.sax.saxutils import escape

import jax
import numpy as np
from jax.core import Tracer

from games.hanabi.board import State
from games.hanabi.cards import COLOR_LETTERS, EMPTY, HINTED


def text(state: State) -> str:
    """One game in lines of text; one line for a batch of games and for a traced state."""
    refusal = _refusal(state)
    if refusal:
        return refusal
    position = read(state)
    lines = [
        f"Hanabi: {len(position.hands)} players, {_count(position.colors, 'color')}, {_count(position.ranks, 'rank')}",
        f"score {position.score} of {position.colors * position.ranks}, "
        f"information tokens {position.information_tokens}, life tokens {position.life_tokens}, "
        f"cards left {position.cards_left}",
        "fireworks: " + " ".join(f"{COLOR_LETTERS[color]}{height}" for color, height in enumerate(position.fireworks)),
        "discards: " + (" ".join(_name(color, rank) for color, rank in position.discards) or "none"),
        f"last move: {position.last_move}",
        position.turn,
        "",
    ]
    width = max(position.colors + position.ranks + 5, 8)

    def row(label: str, words: Iterable[str]) -> str:
        return f"{label:<12}{''.join(word.ljust(width) for word in words)}".rstrip()

    lines.append(row("", (f"slot {slot}" for slot in range(max(len(hand) for hand in position.hands)))))
    for player, hand in enumerate(position.hands):
        mark = ">" if player == position.player else " "
        lines.append(row(f"{mark} player {player}", (_name(slot.color, slot.rank) for slot in hand)))
        lines.append(row("", (_known(slot) for slot in hand)))
    lines.append("* named by a hint")
    return "\n".join(lines)


def svg(state: State) -> str:
    """One game as a picture; a picture of one line of text for a batch of games and for a traced state."""
    refusal = _refusal(state)
    return _sentence(refusal) if refusal else _picture(read(state))


# --- reading a state -------------------------------------------------------------------------------------------------


class Slot(NamedTuple):
    """A card in a hand and what its holder knows of it."""

    color: int
    rank: int
    colors: list[int]  # those it can be
    ranks: list[int]
    color_hinted: bool
    rank_hinted: bool
    touched: bool  # by the last hint


class Position(NamedTuple):
    """A state in plain Python."""

    colors: int
    ranks: int
    hands: list[list[Slot]]
    fireworks: list[int]
    discards: list[tuple[int, int]]  # (color, rank), sorted
    information_tokens: int
    life_tokens: int
    cards_left: int
    score: int
    player: int | None  # to move
    turn: str
    last_move: str


def _refusal(state: State) -> str | None:
    """Why there is no single game to show, or None."""
    if any(isinstance(leaf, Tracer) for leaf in state):
        return "HanabiState (traced: it has no values yet)"
    if not all(isinstance(leaf, jax.Array | np.ndarray | np.generic) for leaf in state):
        return f"HanabiState (of {type(state.cards).__name__})"
    if state.cards.ndim != 2:
        return f"HanabiState (a batch of games of shape {state.cards.shape[:-2]}: take one of them to see it)"
    return None


def read(state: State) -> Position:
    """One game, of concrete arrays, in plain Python."""
    state = jax.tree.map(np.asarray, state)
    players, _ = state.cards.shape
    colors, ranks = state.discards.shape
    ended, cards_left = bool(state.ended), state.deck.size - int(state.dealt)
    bombed = int(state.life_tokens) == 0
    points = int(state.fireworks.sum(dtype=int))
    if bombed:
        turn = "the game is over: the last life is lost"
    elif ended:
        completed = points == colors * ranks
        turn = f"the game is over: {'all fireworks are completed' if completed else 'the deck is used up'}"
    else:
        turn = f"player {int(state.player)} to move"
        if cards_left == 0:
            turn += f", the deck is empty: {_count(int(state.turns_left), 'turn')} left"
    if bool(state.illegal):
        turn += " (an illegal action was tried and not played)"
    last_move, target, touched = _last_move(state)
    hands = []
    for player in range(players):
        hand = []
        for slot, card in enumerate(state.cards[player].tolist()):
            if card == EMPTY:
                continue
            color_bits = int(state.color_knowledge[player, slot])
            rank_bits = int(state.rank_knowledge[player, slot])
            hand.append(
                Slot(
                    color=card >> 3,
                    rank=card & 7,
                    colors=[color for color in range(colors) if color_bits >> color & 1],
                    ranks=[rank for rank in range(ranks) if rank_bits >> rank & 1],
                    color_hinted=bool(color_bits & HINTED),
                    rank_hinted=bool(rank_bits & HINTED),
                    touched=player == target and slot in touched,
                )
            )
        hands.append(hand)
    return Position(
        colors=colors,
        ranks=ranks,
        hands=hands,
        fireworks=state.fireworks.tolist(),
        discards=[(color, rank) for (color, rank), count in np.ndenumerate(state.discards) for _ in range(int(count))],
        information_tokens=int(state.information_tokens),
        life_tokens=int(state.life_tokens),
        cards_left=cards_left,
        score=0 if bombed else points,
        player=None if ended else int(state.player),
        turn=turn,
        last_move=last_move,
    )


def _last_move(state: State) -> tuple[str, int | None, list[int]]:
    """The last move in words; for a hint also its target and the slots that it touched."""
    players, slots = state.cards.shape
    colors, ranks = state.discards.shape
    action, mover = int(state.last_action), int(state.last_player)
    token = "; an information token came back" if bool(state.last_token) else ""
    if action < 2 * slots:
        plays, slot = divmod(action, slots)
        card = _name(int(state.last_card) >> 3, int(state.last_card) & 7)
        if not plays:
            return f"player {mover} discarded slot {slot}, {card}{token}", None, []
        outcome = "it scored" if bool(state.last_scored) else "it did not fit and cost a life"
        return f"player {mover} played slot {slot}, {card}: {outcome}{token}", None, []
    hint = action - 2 * slots
    if hint < (players - 1) * colors:
        offset, color = divmod(hint, colors)
        named = f"color {COLOR_LETTERS[color]}"
    elif hint < (players - 1) * (colors + ranks):
        offset, rank = divmod(hint - (players - 1) * colors, ranks)
        named = f"rank {rank + 1}"
    else:
        return "none", None, []
    target = (mover + 1 + offset) % players
    touched = [slot for slot in range(slots) if int(state.last_touched) >> slot & 1]
    where = f"slot{'s' * (len(touched) > 1)} {', '.join(map(str, touched))}"
    return f"player {mover} hinted {named} to player {target}: {where}", target, touched


def _name(color: int, rank: int) -> str:
    return f"{COLOR_LETTERS[color]}{rank + 1}"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"


def _known(slot: Slot) -> str:
    colors = "".join(COLOR_LETTERS[color] for color in slot.colors) + "*" * slot.color_hinted
    return f"{colors} {''.join(str(rank + 1) for rank in slot.ranks)}{'*' * slot.rank_hinted}"


# --- drawing a picture -----------------------------------------------------------------------------------------------

_FILL = ("#cf3f4a", "#f2c230", "#3f9a57", "#fbfaf5", "#3a76c2")
_INK_ON = ("#ffffff", "#3a2f00", "#ffffff", "#4a4740", "#ffffff")
_EDGE = ("#9c2730", "#b98f12", "#2a6f3d", "#8f8b80", "#27548e")
_INK, _PALE, _FAINT, _PAPER, _TURN = "#2b2b2b", "#77736a", "#d9d5cb", "#f6f3ec", "#fde9b8"
_CARD_WIDTH, _CARD_HEIGHT = 44, 58
_COLUMN = _CARD_WIDTH + 14  # from a card of a hand to the next
_ROW = _CARD_HEIGHT + 58  # from a hand to the next
_MARGIN, _LABEL, _CHIP = 16, 94, 19


def _picture(position: Position) -> str:
    slots = max(len(hand) for hand in position.hands)
    hands_width = _LABEL + max(slots, 1) * _COLUMN + 4
    board_x = _MARGIN + hands_width + 26
    most_discards = max((sum(color == c for color, _ in position.discards) for c in range(position.colors)), default=0)
    board_width = max(250, position.colors * (_CARD_WIDTH + 8), 24 + most_discards * _CHIP)
    top = 66
    parts = [_text(_MARGIN, 30, _sentence_case(position.turn), size=17, weight="bold")]
    parts.append(_text(_MARGIN, 50, f"Last move: {position.last_move}", fill=_PALE))
    for player, hand in enumerate(position.hands):
        parts += _hand(_MARGIN, top + player * _ROW, hands_width, player, hand, position)
    board, board_bottom = _board(board_x, top, position)
    # The widths of the sentences are guesses that are rather too large.
    words = max(10.9 * len(position.turn), 7.9 * len(position.last_move) + 76)
    width = max(board_x + board_width, _MARGIN + round(words)) + _MARGIN
    height = max(top + len(position.hands) * _ROW, board_bottom) + _MARGIN - 6
    return _document(width, height, [*parts, *board], f"Hanabi: {position.turn}, score {position.score}")


def _hand(x: int, y: int, width: int, player: int, hand: list[Slot], position: Position) -> list[str]:
    moves = player == position.player
    parts = [_box(x, y, width, _ROW - 8, fill=_TURN if moves else "#ffffff", edge="#d9a520" if moves else _FAINT)]
    if moves:
        middle = y + 12 + _CARD_HEIGHT // 2
        parts.append(f'<polygon points="{x + 7},{middle - 6} {x + 7},{middle + 6} {x + 16},{middle}" fill="{_INK}"/>')
    parts.append(_text(x + 21, y + 17 + _CARD_HEIGHT // 2, f"player {player}", weight="bold" if moves else "normal"))
    for place, slot in enumerate(hand):
        left, above = x + _LABEL + place * _COLUMN + 4, y + 11
        parts += _card(left, above, slot.color, slot.rank)
        if slot.touched:
            parts.append(
                f'<rect x="{left - 3}" y="{above - 3}" width="{_CARD_WIDTH + 6}" height="{_CARD_HEIGHT + 6}" rx="8" '
                f'fill="none" stroke="{_INK}" stroke-width="2.5"/>'
            )
        parts += _knowledge(left, above + _CARD_HEIGHT + 13, slot, position)
    return parts


def _knowledge(x: float, y: float, slot: Slot, position: Position) -> list[str]:
    """A dot for each color and a digit for each rank that the card can be, in fixed places; hinted ones framed."""
    parts = []
    for color in range(position.colors):
        center = _spread(x, color, position.colors)
        if color not in slot.colors:
            parts.append(f'<circle cx="{center:g}" cy="{y}" r="1.2" fill="{_FAINT}"/>')
            continue
        if slot.color_hinted:
            parts.append(f'<circle cx="{center:g}" cy="{y}" r="5.8" fill="none" stroke="{_INK}" stroke-width="1.6"/>')
        parts.append(f'<circle cx="{center:g}" cy="{y}" r="3.4" fill="{_FILL[color]}" stroke="{_EDGE[color]}"/>')
    for rank in slot.ranks:
        center = _spread(x, rank, position.ranks)
        if slot.rank_hinted:
            parts.append(_box(center - 5.5, y + 9, 11, 13, fill=_INK, edge=_INK, radius=2.5))
        ink, weight = ("#ffffff", "bold") if slot.rank_hinted else (_INK, "normal")
        parts.append(_text(center, y + 19, str(rank + 1), size=10, fill=ink, weight=weight, anchor="middle"))
    return parts


def _board(x: int, y: int, position: Position) -> tuple[list[str], int]:
    """Fireworks, tokens, deck and discards from (x, y) downwards, and where they end."""
    parts = [_text(x, y + 8, f"Fireworks: score {position.score} of {position.colors * position.ranks}", weight="bold")]
    y += 18
    for color, height in enumerate(position.fireworks):
        left = x + color * (_CARD_WIDTH + 8)
        if height:
            parts += _card(left, y, color, height - 1)
        else:
            parts.append(
                _box(left, y, _CARD_WIDTH, _CARD_HEIGHT, fill="none", edge=_EDGE[color], dashed=True, radius=6)
            )
            middle = (left + _CARD_WIDTH / 2, y + _CARD_HEIGHT / 2 + 5)
            parts.append(_text(*middle, COLOR_LETTERS[color], size=14, fill=_EDGE[color], anchor="middle"))
    y += _CARD_HEIGHT + 24
    for label, count, fill in [
        ("Information tokens", position.information_tokens, "#3a76c2"),
        ("Life tokens", position.life_tokens, "#cf3f4a"),
    ]:
        parts += [_text(x, y, label), _text(x + 136, y, str(count), weight="bold")]
        if count <= 8:
            parts += [f'<circle cx="{x + 160 + 12 * n}" cy="{y - 4}" r="4.5" fill="{fill}"/>' for n in range(count)]
        y += 20
    parts += [_text(x, y, "Cards left"), _text(x + 136, y, str(position.cards_left), weight="bold")]
    y += 28
    parts.append(_text(x, y, "Discards" if position.discards else "Discards: none", weight="bold"))
    y += 9
    for color in range(position.colors):
        ranks = [rank for c, rank in position.discards if c == color]
        for place, rank in enumerate(ranks):
            left = x + place * _CHIP
            parts.append(_box(left, y, _CHIP - 3, _CHIP, fill=_FILL[color], edge=_EDGE[color], radius=3))
            center = left + (_CHIP - 3) / 2
            parts.append(
                _text(center, y + 14, str(rank + 1), size=12, fill=_INK_ON[color], weight="bold", anchor="middle")
            )
        y += (_CHIP + 3) * bool(ranks)
    return parts, y


def _card(x: float, y: float, color: int, rank: int) -> list[str]:
    ink = _INK_ON[color]
    middle = (x + _CARD_WIDTH / 2, y + _CARD_HEIGHT / 2 + 12)
    return [
        _box(x, y, _CARD_WIDTH, _CARD_HEIGHT, fill=_FILL[color], edge=_EDGE[color], radius=6),
        _text(x + 6, y + 14, COLOR_LETTERS[color], size=11, fill=ink),
        _text(*middle, str(rank + 1), size=26, fill=ink, weight="bold", anchor="middle"),
    ]


def _spread(x: float, place: int, places: int) -> float:
    """Where marks of one row stand below a card, around its middle."""
    return x + _CARD_WIDTH / 2 + (place - (places - 1) / 2) * 8.8


def _box(
    x: float, y: float, width: float, height: float, *, fill: str, edge: str, dashed: bool = False, radius: float = 8
) -> str:
    dashes = ' stroke-dasharray="4 3"' if dashed else ""
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}" fill="{fill}" '
        f'stroke="{edge}"{dashes}/>'
    )


def _text(
    x: float, y: float, words: str, *, size: int = 13, fill: str = _INK, weight: str = "normal", anchor: str = "start"
) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" font-weight="{weight}" fill="{fill}" text-anchor="{anchor}">'
        f"{escape(words)}</text>"
    )


def _sentence_case(words: str) -> str:
    return words[:1].upper() + words[1:]


def _sentence(words: str) -> str:
    return _document(32 + 8 * len(words), 44, [_text(16, 27, words)], words)


def _document(width: float, height: float, parts: Iterable[str], title: str) -> str:
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
            f'viewBox="0 0 {width:g} {height:g}" font-family="DejaVu Sans, Verdana, Arial, sans-serif">',
            f"<title>{escape(title)}</title>",
            f'<rect width="{width:g}" height="{height:g}" fill="{_PAPER}"/>',
            *parts,
            "</svg>",
        ]
    )
