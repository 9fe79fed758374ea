"""What hints say literally of a player's own cards, and the exact chance that one of them cannot be played.

Literally a hint says which cards of a hand have its color or rank and which have not, and nothing about why it was
given. With the fireworks, the discards and the other hands, that leaves for each own card i a set A_i of kinds, and
n(c) unseen copies of each kind c (in the own hand and the deck). The own hand is drawn from these without replacement:

    joint      P(card j is c) ∝ n(c) · 1[c ∈ A_j] · W_c
    marginal   P(card j is c) ∝ n(c) · 1[c ∈ A_j]

where W_c is the number of ways to give the other own cards distinct copies of kinds in their sets once a copy of c is
taken. By inclusion and exclusion it is a sum over the partitions of the other cards,

    W_c = Σ_partitions Π_{blocks B} (−1)^(|B|−1) (|B|−1)! (Σ_{s ∈ ∩_B A_i} n(s) − 1[c ∈ ∩_B A_i]).

Fukushima, Xiong and Moradi Pari 2026, "The Convention Gap" (arXiv:2609.11489).
"""

import math
from typing import NamedTuple

import jax.numpy as jnp

from games.errors import TacitError
from games.game import Array
from games.hanabi.board import Board, State
from games.hanabi.observers import from_seat

MOST_CARDS = 5
"""The largest hand: with it the numbers of ways fit into 32 bits."""


class Ways(NamedTuple):
    """Numbers of ways to draw the own hand, so that chances are their exact ratios."""

    some: Array  # int32[] those in which the card is of one of the kinds that are asked for
    all: Array  # int32[]

    def chance(self) -> Array:
        """float32[]: the probability that the card is of one of these kinds."""
        return self.some.astype(jnp.float32) / jnp.maximum(self.all, 1).astype(jnp.float32)


class Literal(NamedTuple):
    """The chances of one card, jointly with the others of the hand and without them."""

    joint: Ways
    marginal: Ways


def possible(board: Board, state: State, player: Array) -> Array:
    """bool[H, K]: the kinds `color * ranks + rank` that hints leave for each card; none in an empty slot."""
    colors = jnp.arange(board.colors, dtype=jnp.uint8)
    ranks = jnp.arange(board.ranks, dtype=jnp.uint8)
    of_color = (_own(board, state.color_knowledge, player)[:, None] >> colors[None]) & 1  # [H, C]
    of_rank = (_own(board, state.rank_knowledge, player)[:, None] >> ranks[None]) & 1
    both = (of_color[:, :, None] & of_rank[:, None, :]) == 1
    return both.reshape(board.hand_size, -1)


def unseen(board: Board, state: State, player: Array) -> Array:
    """int32[K]: the copies of each kind that a player does not see: in its own hand, or in the deck."""
    ranks = jnp.arange(board.ranks, dtype=jnp.uint8)
    played = state.fireworks[:, None] > ranks[None]
    left = jnp.asarray(board.copies, jnp.int32)[None] - state.discards.astype(jnp.int32) - played
    others = from_seat(state.cards, player, board.players)[1:].reshape(-1)
    kinds = jnp.arange(board.colors * board.ranks, dtype=jnp.int32)
    of_kind = (kinds // board.ranks * 8 + kinds % board.ranks).astype(jnp.uint8)
    seen = (others[:, None] == of_kind[None]).astype(jnp.int32)
    return left.reshape(-1) - jnp.sum(seen, axis=0, dtype=jnp.int32)


def check_hand(board: Board) -> None:
    """Refuse boards with larger hands than are counted.

    Raises:
      TacitError: for hands of more than `MOST_CARDS` cards.
    """
    if board.hand_size > MOST_CARDS:
        raise TacitError(
            f"chances of cards are counted for hands of at most {MOST_CARDS} cards, and this board's have "
            f"{board.hand_size}"
        )


def unplayable(board: Board, state: State) -> Array:
    """bool[K]: the kinds that are not the next of their color, so that to play one fails."""
    ranks = jnp.arange(board.ranks, dtype=jnp.uint8)
    return (state.fireworks[:, None] != ranks[None]).reshape(-1)


def critical(board: Board, state: State) -> Array:
    """bool[K]: the kinds of which one copy is left and still needed: to discard it lowers the best score in reach.

    A kind is needed if it is not played and no lower rank of its color is lost.
    """
    ranks = jnp.arange(board.ranks, dtype=jnp.uint8)
    left = jnp.asarray(board.copies, jnp.uint8)[None] - state.discards  # played copies count as left
    played = state.fireworks[:, None] > ranks[None]
    lost = (left == 0) & ~played
    blocked = jnp.any(lost[:, None] & (ranks[None] < ranks[:, None])[None], axis=2)
    return ((left == 1) & ~played & ~blocked).reshape(-1)


def chance_of(board: Board, state: State, player: Array, slot: Array, kinds: Array) -> Literal:
    """The chances that a player's card in `slot` is of one of some kinds, as that player could count them.

    Args:
      board: the sizes; hands of at most `MOST_CARDS` cards.
      state: one state; the player's own cards are not looked at.
      player: int32[], with a full hand, as the player to move always has: each moves once after the last draw.
      slot: int32[] of the card.
      kinds: bool[K], such as `unplayable` or `critical`.

    Raises:
      TacitError: for larger hands.
    """
    check_hand(board)
    # The other cards, from the slot after this one on, around the hand.
    order = (slot + jnp.arange(board.hand_size, dtype=jnp.int32)) % board.hand_size
    sets = possible(board, state, player)[order]
    copies = unseen(board, state, player)
    own = jnp.where(sets[0], copies, 0)
    joint = own * _ways_of_others(sets[1:], copies)
    return Literal(_ways(joint, kinds), _ways(own, kinds))


def chance_of_failure(board: Board, state: State, player: Array, slot: Array) -> Literal:
    """The chances that a player's card in `slot`, an int32[], cannot be played; arguments as for `chance_of`.

    Raises:
      TacitError: for larger hands.
    """
    return chance_of(board, state, player, slot, unplayable(board, state))


def _ways(weights: Array, kinds: Array) -> Ways:
    return Ways(jnp.sum(jnp.where(kinds, weights, 0), dtype=jnp.int32), jnp.sum(weights, dtype=jnp.int32))


def _ways_of_others(sets: Array, copies: Array) -> Array:
    """int32[K]: W_c for the other cards' sets bool[O, K].

    The sum over partitions runs over subsets of the cards, numbered by their bits: the block of a subset's lowest card
    times the sum over partitions of the rest.
    """
    everything = 1 << len(sets)
    block: list[Array] = [jnp.ones(copies.shape, jnp.int32)]  # for each subset its factor as one block, int32[K]
    common = [jnp.ones(copies.shape, jnp.bool_)]
    for subset in range(1, everything):
        lowest = (subset & -subset).bit_length() - 1
        common.append(common[subset & (subset - 1)] & sets[lowest])
        size = subset.bit_count()
        sign = (-1) ** (size - 1) * math.factorial(size - 1)
        block.append(sign * (jnp.sum(jnp.where(common[subset], copies, 0), dtype=jnp.int32) - common[subset]))
    ways = [block[0]]
    for subset in range(1, everything):
        lowest = subset & -subset
        rest = subset ^ lowest
        total, part = jnp.zeros(copies.shape, jnp.int32), rest
        while True:  # over the subsets of the rest that are not in the lowest card's block
            total = total + block[subset ^ part] * ways[part]
            if part == 0:
                break
            part = (part - 1) & rest
        ways.append(total)
    return ways[-1]


def _own(board: Board, rows: Array, player: Array) -> Array:
    return from_seat(rows, player, board.players)[0]
