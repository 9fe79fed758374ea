"""What a rule-based player reads off an observation of Hanabi: cards, knowledge, counts and chances.

P players, H slots (oldest card first), C colors, R ranks. The observer is player 0 and the others follow in the order
of play. Everything comes from the observer `hle` (`games.hanabi.observers`), nothing from the state.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from games.hanabi.rules import Hanabi
from marl.policies.policy import Array

OBSERVER = "hle"


class View(NamedTuple):
    """One observation, decoded."""

    cards: Array  # bool[P-1, H, C, R] the others' cards, next player first; all False in an empty slot
    possible: Array  # bool[P, H, C, R] what each card can be, given the hints; all False in an empty slot
    told: Array  # bool[P, H] a hint named the card's color or rank
    told_color: Array  # bool[P, H] a hint named the card's color
    knows_color: Array  # bool[P, H] hints leave one color
    knows_rank: Array  # bool[P, H] hints leave one rank
    height: Array  # int32[C] cards on each pile
    playable: Array  # bool[C, R] fits on its pile now
    useless: Array  # bool[C, R] can never be played: it is on its pile, or a card below it is gone
    blocked: Array  # bool[C, R] useless because a card below it, or it itself, is gone
    critical: Array  # bool[C, R] not useless, and the last copy that is left
    out: Array  # bool[C, R] some copy is neither played nor discarded: in a hand or in the deck
    unseen: Array  # bool[C, R] some copy is neither on the table nor in another's hand
    play_chance: Array  # float32[H] that the own card is playable, each copy not seen being equally likely
    useless_chance: Array  # float32[H] that it is useless
    information: Array  # int32[] information tokens
    lives: Array  # int32[]
    deck: Array  # int32[] cards left to draw
    touched: Array  # bool[H] own cards touched by a hint that was the last move of the game


def decode(game: Hanabi, observation: Array) -> View:
    """Decode an observation of the observer `hle`.

    Args:
      game: the board.
      observation: [observation size], any dtype.
    """
    layout = game.observer(OBSERVER).layout
    players, slots, colors, ranks = game.players, game.hand_size, game.colors, game.ranks
    seen = observation.astype(jnp.bool_)

    cards = seen[layout["hands"]].reshape(players - 1, slots, colors, ranks)
    knowledge = seen[layout["card[0,0].possible"].start :].reshape(players, slots, colors * ranks + colors + ranks)
    possible = knowledge[:, :, : colors * ranks].reshape(players, slots, colors, ranks)
    told_color = jnp.any(knowledge[:, :, colors * ranks : -ranks], axis=-1)
    told_rank = jnp.any(knowledge[:, :, -ranks:], axis=-1)

    rank = jnp.arange(ranks, dtype=jnp.int32)
    top = seen[layout["fireworks"]].reshape(colors, ranks)
    height = jnp.sum(top * (rank + 1)[None], axis=1, dtype=jnp.int32)
    copies = jnp.asarray(game.copies, jnp.int32)
    of_rank = np.repeat(np.arange(ranks), game.copies)[:, None] == np.arange(ranks)  # [copies, R]
    gone = seen[layout["discards"]].reshape(colors, -1).astype(jnp.int32) @ jnp.asarray(of_rank, jnp.int32)

    played = rank[None] < height[:, None]
    left = copies[None] - gone  # played copies count as left
    gone_for_good = (left == 0) & ~played
    blocked = jnp.any(gone_for_good[:, None] & (rank[None] <= rank[:, None])[None], axis=2)
    playable, useless = rank[None] == height[:, None], played | blocked
    out = left - played.astype(jnp.int32)
    unseen = out - jnp.sum(cards, axis=(0, 1), dtype=jnp.int32)  # own cards and the deck
    weight = jnp.where(possible[0], unseen[None], 0)  # [H, C, R]
    total = jnp.maximum(jnp.sum(weight, axis=(1, 2)), 1).astype(jnp.float32)

    def chance(kinds: Array) -> Array:
        return jnp.sum(jnp.where(kinds[None], weight, 0), axis=(1, 2)).astype(jnp.float32) / total

    def count(section: str) -> Array:
        return jnp.sum(seen[layout[section]], dtype=jnp.int32)

    to_me = seen[layout["last_target"]][0]
    return View(
        cards=cards,
        possible=possible,
        told=told_color | told_rank,
        told_color=told_color,
        knows_color=jnp.sum(jnp.any(possible, axis=3), axis=2) == 1,
        knows_rank=jnp.sum(jnp.any(possible, axis=2), axis=2) == 1,
        height=height,
        playable=playable,
        useless=useless,
        blocked=blocked,
        critical=~useless & (left == 1),
        out=out > 0,
        unseen=unseen > 0,
        play_chance=chance(playable),
        useless_chance=chance(useless),
        information=count("information_tokens"),
        lives=count("life_tokens"),
        deck=count("deck"),
        touched=seen[layout["last_touched"]] & to_me,
    )
