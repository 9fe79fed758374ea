"""Hanabi once more, from its rules: plain lists, one card at a time, no arrays.

HLE has one deck for each number of colors and ranks. For all other numbers of copies this is what the engine is
compared with; on HLE's decks it is compared with HLE itself. It imports nothing of the engine.
"""

import dataclasses
from collections.abc import Sequence

NOTHING = ("none", 0, 0)


@dataclasses.dataclass
class Card:
    """A card in a hand, and what its holder has been told."""

    color: int
    rank: int
    colors: list[int]
    """The colors that hints leave."""
    ranks: list[int]
    named_color: bool = False
    named_rank: bool = False


class Table:
    """One game in progress.

    Args:
      deck: cards `color * ranks + rank`, the first drawn first.
      copies: cards of each rank in every color.
    """

    def __init__(
        self,
        deck: Sequence[int],
        *,
        players: int,
        colors: int,
        hand_size: int,
        tokens: int,
        lives: int,
        copies: Sequence[int],
    ) -> None:
        self.players, self.colors, self.ranks, self.hand_size = players, colors, len(copies), hand_size
        self.most_tokens, self.most_lives, self.copies = tokens, lives, list(copies)
        self.pile = [divmod(card, self.ranks) for card in deck]  # what is left to draw
        assert sorted(self.pile) == sorted(
            (c, r) for c in range(colors) for r in range(self.ranks) for _ in range(copies[r])
        )
        self.undealt = len(self.pile) - players * hand_size
        self.hands: list[list[Card]] = [[] for _ in range(players)]
        for player in range(players):
            for _ in range(hand_size):
                self.draw(player)
        self.heights = [0] * colors
        self.discarded: list[tuple[int, int]] = []
        self.tokens, self.lives, self.mover, self.turns_left = tokens, lives, 0, players
        # The last move: who, (kind, target or slot, value), the card that left, the slots touched.
        self.last = (0, NOTHING, (0, 0), [0] * hand_size)
        self.last_scored = self.last_token = False
        self.moves = [(kind, slot, 0) for kind in ("discard", "play") for slot in range(hand_size)]
        for kind, values in (("color", colors), ("rank", self.ranks)):
            self.moves += [(kind, offset, value) for offset in range(1, players) for value in range(values)]

    def draw(self, player: int) -> None:
        if self.pile:
            color, rank = self.pile.pop(0)
            self.hands[player].append(Card(color, rank, list(range(self.colors)), list(range(self.ranks))))

    # --- rules -------------------------------------------------------------------------------------------------------

    @property
    def score(self) -> int:
        return sum(self.heights) if self.lives > 0 else 0

    @property
    def ended(self) -> bool:
        return self.lives == 0 or sum(self.heights) == self.colors * self.ranks or self.turns_left == 0

    def is_legal(self, kind: str, where: int, value: int) -> bool:
        if kind in ("play", "discard"):
            return where < len(self.hands[self.mover]) and (kind == "play" or self.tokens < self.most_tokens)
        hand = self.hands[(self.mover + where) % self.players]
        return self.tokens > 0 and any((card.color if kind == "color" else card.rank) == value for card in hand)

    def legal(self, player: int) -> list[bool]:
        """Of every action id; the last is the no-op."""
        if self.ended or player != self.mover:
            return [False] * len(self.moves) + [True]
        return [self.is_legal(*move) for move in self.moves] + [False]

    def act(self, action: int) -> int:
        """Make a legal move of the player whose turn it is; the change of the score."""
        kind, where, value = self.moves[action]
        before, player, gone, touched = self.score, self.mover, (0, 0), [0] * self.hand_size
        assert not self.ended and self.is_legal(kind, where, value)
        if not self.pile:
            self.turns_left -= 1
        self.last_scored = self.last_token = False
        if kind in ("play", "discard"):
            card = self.hands[player].pop(where)
            gone = (card.color, card.rank)
            completed = False
            if kind == "play" and self.heights[card.color] == card.rank:
                self.heights[card.color] += 1
                self.last_scored, completed = True, self.heights[card.color] == self.ranks
            else:
                self.discarded.append(gone)
                self.lives -= kind == "play"
            if (kind == "discard" or completed) and self.tokens < self.most_tokens:
                self.tokens += 1
                self.last_token = True
            self.draw(player)
        else:
            self.tokens -= 1
            for slot, card in enumerate(self.hands[(player + where) % self.players]):
                named = (card.color if kind == "color" else card.rank) == value
                touched[slot] = int(named)
                left = card.colors if kind == "color" else card.ranks
                left[:] = [one for one in left if (one == value) == named]
                card.named_color |= named and kind == "color"
                card.named_rank |= named and kind == "rank"
        self.last = (player, (kind, where, value), gone, touched)
        self.mover = (player + 1) % self.players
        return self.score - before

    # --- what a player sees ------------------------------------------------------------------------------------------

    def observation(self, player: int) -> list[int]:
        """The bits of HLE's canonical encoder with card knowledge."""
        seats = [(player + offset) % self.players for offset in range(self.players)]
        bits: list[int] = []
        for seat in seats[1:]:
            for slot in range(self.hand_size):
                held = [(card.color, card.rank) for card in self.hands[seat][slot : slot + 1]]
                bits += [int((c, r) in held) for c in range(self.colors) for r in range(self.ranks)]
        bits += [int(len(self.hands[seat]) < self.hand_size) for seat in seats]
        bits += first(len(self.pile), self.undealt)
        for height in self.heights:
            bits += only(height - 1, self.ranks)
        bits += first(self.tokens, self.most_tokens) + first(self.lives, self.most_lives)
        for color in range(self.colors):
            for rank, copies in enumerate(self.copies):
                bits += first(self.discarded.count((color, rank)), copies)
        bits += self.last_move(player)
        for seat in seats:
            for slot in range(self.hand_size):
                for color, rank in self.kinds():
                    bits += [int(color in card.colors and rank in card.ranks) for card in self.slot(seat, slot)] or [0]
                for card in self.slot(seat, slot):
                    bits += only(card.color if card.named_color else -1, self.colors)
                    bits += only(card.rank if card.named_rank else -1, self.ranks)
                bits += [0] * (self.colors + self.ranks) * (slot >= len(self.hands[seat]))
        return bits

    def last_move(self, player: int) -> list[int]:
        mover, (kind, where, value), (color, rank), touched = self.last
        seat, played = (mover - player) % self.players, kind == "play"
        hinted, took = kind in ("color", "rank"), kind in ("play", "discard")
        return [
            *only(-1 if kind == "none" else seat, self.players),
            *(int(kind == one) for one in ("play", "discard", "color", "rank")),
            *only((seat + where) % self.players if hinted else -1, self.players),
            *only(value if kind == "color" else -1, self.colors),
            *only(value if kind == "rank" else -1, self.ranks),
            *touched,
            *only(where if took else -1, self.hand_size),
            *only(color * self.ranks + rank if took else -1, self.colors * self.ranks),
            int(played and self.last_scored),
            int(played and self.last_token),
        ]

    def beliefs(self, player: int) -> list[list[float]]:
        """Each card's chances by what everybody sees (V0), the observer's hand first; zeros in an empty slot."""
        left = [
            self.copies[rank] - self.discarded.count((color, rank)) - (self.heights[color] > rank)
            for color, rank in self.kinds()
        ]
        found = []
        for seat in ((player + offset) % self.players for offset in range(self.players)):
            for slot in range(self.hand_size):
                weights = [0] * len(left)
                for card in self.slot(seat, slot):
                    fits = [color in card.colors and rank in card.ranks for color, rank in self.kinds()]
                    weights = [count * fit for count, fit in zip(left, fits, strict=True)]
                found.append([weight / max(sum(weights), 1) for weight in weights])
        return found

    def kinds(self) -> list[tuple[int, int]]:
        return [(color, rank) for color in range(self.colors) for rank in range(self.ranks)]

    def slot(self, seat: int, slot: int) -> list[Card]:
        """The card in a slot, or nothing."""
        return self.hands[seat][slot : slot + 1]


def only(index: int, length: int) -> list[int]:
    """One bit of `length`; none if the index is -1."""
    return [int(place == index) for place in range(length)]


def first(count: int, length: int) -> list[int]:
    """The first `count` bits of `length`."""
    return [int(place < count) for place in range(length)]
