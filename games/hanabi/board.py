"""A board of Hanabi and the record of a game on it: what its rules, observers, symmetries and pictures share."""

import dataclasses
from typing import Any, NamedTuple

from games.errors import TacitError, whole_number
from games.game import Array


class State(NamedTuple):
    """One game of Hanabi in small integers (P players, H slots, C colors, R ranks, D cards)."""

    deck: Array  # uint8[D] card bytes; the first `dealt` are dealt, in order
    deck_key: Array  # uint32[2] the deck is a function of this key alone
    deck_given: Array  # bool[] the order of `deck` was given: draw the cards in that order
    dealt: Array  # uint8[] cards dealt so far
    cards: Array  # uint8[P, H] card bytes, oldest first, padded with EMPTY
    color_knowledge: Array  # uint8[P, H] bit c: color c is possible; HINTED; 0 in an empty slot
    rank_knowledge: Array  # uint8[P, H] bit r: rank r is possible; HINTED; 0 in an empty slot
    fireworks: Array  # uint8[C] cards played on each pile
    discards: Array  # uint8[C, R] discarded copies of each card
    information_tokens: Array  # uint8[]
    life_tokens: Array  # uint8[]
    player: Array  # uint8[] whose turn it is
    turns_left: Array  # uint8[] turns to play, counted down from P once the deck is empty
    last_player: Array  # uint8[] who moved last
    last_action: Array  # uint8[] action id of the last move; the no-op before the first
    last_card: Array  # uint8[] card byte of the last move; EMPTY unless it was a play or discard
    last_touched: Array  # uint8[] bit i: slot i was touched by the last hint
    last_scored: Array  # bool[] the last play succeeded
    last_token: Array  # bool[] the last play or discard returned an information token
    ended: Array  # bool[]
    illegal: Array  # bool[] an illegal action was tried


@dataclasses.dataclass(frozen=True)
class Board:
    """The sizes of any board that HLE can express, and, beyond HLE, other numbers of copies.

    Attributes:
      players: 2 to 5.
      colors: 1 to 5.
      ranks: 1 to 5.
      hand_size: 1 to 8 cards.
      max_information_tokens: 0 to 100; the game starts with all of them.
      max_life_tokens: 1 to 100.
      copies: cards of each rank in every color, the lowest rank first, each 1 to 3. Empty stands for HLE's
        (`hle_copies`), which are then filled in.

    Raises:
      TacitError: for sizes that HLE cannot express, saying why, and for other copies than these.
    """

    players: int = 2
    colors: int = 5
    ranks: int = 5
    hand_size: int = 5
    max_information_tokens: int = 8
    max_life_tokens: int = 3
    copies: tuple[int, ...] = dataclasses.field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        ranges = {
            "players": (2, 5, "HLE seats 2 to 5 players"),
            "colors": (1, 5, "HLE has 5 colors"),
            "ranks": (1, 5, "HLE has 5 ranks"),
            "hand_size": (1, 8, "HLE keeps what a hint touches in 8 bits"),
            "max_information_tokens": (0, 100, "a state holds the count in one byte"),
            "max_life_tokens": (1, 100, "without a life the game is over before it starts"),
        }
        for key, (low, high, why) in ranges.items():
            value = whole_number(f"hanabi {key}", getattr(self, key), low, high, why)
            object.__setattr__(self, key, value)  # 5.0 from a configuration file becomes 5
        object.__setattr__(self, "copies", _checked_copies(self.copies, self.ranks))
        needed = self.players * self.hand_size
        if needed > self.deck_size:
            raise TacitError(
                f"hanabi needs {self.players} x {self.hand_size} = {needed} cards for the first hands, and "
                f"{self.colors} color(s) x {self.ranks} rank(s) make a deck of {self.deck_size}"
                f"{', so HLE refuses' if self.has_hle_copies else ''}"
            )

    @property
    def has_hle_copies(self) -> bool:
        """Whether the deck is one that HLE can express."""
        return self.copies == hle_copies(self.ranks)

    @property
    def deck_size(self) -> int:
        return self.colors * sum(self.copies)

    @property
    def num_players(self) -> int:
        return self.players

    @property
    def first_color_hint(self) -> int:
        return 2 * self.hand_size

    @property
    def first_rank_hint(self) -> int:
        return self.first_color_hint + (self.players - 1) * self.colors

    @property
    def num_actions(self) -> int:
        return self.first_rank_hint + (self.players - 1) * self.ranks + 1

    @property
    def horizon(self) -> int:
        """A bound on the length of a game.

        Each card of the deck is drawn by one play or discard, then everybody moves once; a hint costs a token, and a
        token comes from the start, a discard or a finished firework.
        """
        drawing = self.deck_size - self.players * self.hand_size + self.players
        return drawing + self.max_information_tokens + drawing + self.colors

    @property
    def score_range(self) -> tuple[float, float]:
        return 0.0, float(self.colors * self.ranks)


def hle_copies(ranks: int) -> tuple[int, ...]:
    """HLE's copies of a card of each rank: three of rank 1, one of the highest, two of the others.

    A single rank has three.
    """
    return tuple(3 if rank == 0 else 1 if rank == ranks - 1 else 2 for rank in range(ranks))


def _checked_copies(copies: Any, ranks: int) -> tuple[int, ...]:
    if not isinstance(copies, tuple | list):
        raise TacitError(f"hanabi copies must be a list of a whole number for each rank, not {copies!r}")
    if not copies:
        return hle_copies(ranks)
    if len(copies) != ranks:
        raise TacitError(
            f"hanabi copies must be {ranks} whole number(s), one for each rank, the lowest rank first, not "
            f"{list(copies)!r}"
        )
    return tuple(
        whole_number(f"hanabi copies of rank {rank + 1}", one, 1, 3, "HLE has at most 3")
        for rank, one in enumerate(copies)
    )
