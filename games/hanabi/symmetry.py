"""The permutations of Hanabi's colors, as a group action on states, actions, legal moves and observations.

A permutation is the array `image`: color c becomes color image[c], in all of these; nowhere is the inverse meant.
"""

from typing import TypeVar

import jax.numpy as jnp
import numpy as np

from games.game import Array, Symmetry
from games.hanabi.board import Board, State

S = TypeVar("S", bound=State)


def of_colors(game: Board, image: Array) -> Symmetry:
    """The symmetry that takes color c to `image[c]`, int32[colors]."""
    image = jnp.asarray(image, jnp.int32)
    targets = np.arange(game.players - 1, dtype=np.int32)[:, None]
    hints = game.first_color_hint + targets * game.colors + image[None]
    actions = jnp.arange(game.num_actions, dtype=jnp.int32)
    actions = actions.at[game.first_color_hint : game.first_rank_hint].set(hints.reshape(-1))
    return Symmetry(
        players=jnp.arange(game.players, dtype=jnp.int32),
        actions=jnp.broadcast_to(actions, (game.players, game.num_actions)),
        parameters=image,
    )


def on_state(game: Board, symmetry: Symmetry, state: S) -> S:
    """The state with every color c replaced by image[c]."""
    image = symmetry.parameters
    source = jnp.argsort(image)
    # Entries after the board's colors map to themselves, so that a byte without a card (EMPTY) stays.
    full = jnp.arange(32, dtype=jnp.uint8).at[: game.colors].set(image.astype(jnp.uint8))

    def cards(codes: Array) -> Array:
        return (full[codes >> 3] << 3) | (codes & 7)

    def knowledge(byte: Array) -> Array:
        bits = [((byte >> color) & 1) << image[color].astype(jnp.uint8) for color in range(game.colors)]
        return sum(bits[1:], bits[0]) | (byte & 128)

    return state._replace(
        deck=cards(state.deck),
        cards=cards(state.cards),
        color_knowledge=knowledge(state.color_knowledge),
        fireworks=state.fireworks[source],
        discards=state.discards[source],
        last_action=symmetry.actions[0][state.last_action].astype(jnp.uint8),
        last_card=cards(state.last_card),
    )
