"""What a player of Hanabi sees: three observers of one state.

`hle`      HLE's canonical encoder with card knowledge, bit for bit.
`minimal`  HLE's canonical encoder of observation type MINIMAL: the same without the knowledge of past hints.
`belief`   as `hle`, with each card's plausibility bits replaced by the V0 belief of Off-Belief Learning (Hu et al.
           2021) and JaxMARL: the bits times the copies not yet seen by everybody, normalised over the cards.

The observer always sits in seat 0: hands, players and targets are counted from it.
"""

import jax
import jax.numpy as jnp
import numpy as np

from games.game import Array, Layout, Observer, Symmetry
from games.hanabi.board import Board, State
from games.hanabi.cards import EMPTY, HINTED

NAMES = ("hle", "minimal", "belief")


def make(game: Board, name: str) -> Observer:
    """The observer of `NAMES` for this board."""
    layout = _layout(game, name)

    def encode(state: State, player: Array) -> Array:
        pieces = _hands(game, state, player) + _board(game, state) + _last_action(game, state, player)
        if name == "hle":
            pieces += _knowledge(game, state, player)
        bits = _unpack(pieces)
        if name != "belief":
            return bits
        return jnp.concatenate([bits.astype(jnp.float32), _belief(game, state, player)])

    def permute_colors(symmetry: Symmetry, observation: Array) -> Array:
        return layout.permute(observation, "color", symmetry.parameters)

    return Observer(
        name=name,
        layout=layout,
        dtype=jnp.float32 if name == "belief" else jnp.bool_,
        encode=encode,
        symmetry=permute_colors,
    )


def from_seat(rows: Array, player: Array, players: int) -> Array:
    """`rows` [P, ...] turned so that `player`'s row comes first and the others follow in the order of play."""
    turned = rows
    for seat in range(1, players):
        turned = jnp.where(player == seat, jnp.concatenate([rows[seat:], rows[:seat]]), turned)
    return turned


def _layout(game: Board, name: str) -> Layout:
    players, slots = {"player": game.players}, {"slot": game.hand_size}
    color, rank = {"color": game.colors}, {"rank": game.ranks}
    one = {"bit": 1}
    undealt = game.deck_size - game.players * game.hand_size
    named = [
        ("hands", {"player": game.players - 1} | slots | color | rank, "cards of the others, next player first"),
        ("missing_card", players, "this hand is a card short"),
        ("deck", {"count": undealt}, "thermometer of the cards left to draw"),
        ("fireworks", color | rank, "highest rank played on each pile"),
        ("information_tokens", {"count": game.max_information_tokens}, "thermometer"),
        ("life_tokens", {"count": game.max_life_tokens}, "thermometer"),
        ("discards", color | {"copy": sum(game.copies)}, "thermometer of the discarded copies, rank by rank"),
        ("last_player", players, "who moved last"),
        ("last_type", {"type": 4}, "play, discard, color hint, rank hint"),
        ("last_target", players, "whom the last hint was for, counted from the observer"),
        ("last_color", color, "color of the last hint"),
        ("last_rank", rank, "rank of the last hint"),
        ("last_touched", slots, "slots that the last hint touched"),
        ("last_slot", slots, "slot of the last play or discard"),
        ("last_card", color | rank, "card of the last play or discard"),
        ("last_scored", one, "the last play succeeded"),
        ("last_token", one, "the last play returned an information token"),
    ]
    if name != "minimal":
        first = ("belief", "probability of each card") if name == "belief" else ("possible", "cards this can be")
        for player in range(game.players):
            for slot in range(game.hand_size):
                at = f"card[{player},{slot}]"
                named += [
                    (f"{at}.{first[0]}", color | rank, first[1]),
                    (f"{at}.color", color, "color named by a hint"),
                    (f"{at}.rank", rank, "rank named by a hint"),
                ]
    return Layout.of(named)


# --- bits ------------------------------------------------------------------------------------------------------------
#
# An observation is built as a row of pieces, each a few bits in one number, and the pieces are unpacked to bits at
# once: some eighty scalar operations and one shift by constants in place of hundreds of comparisons. Observing is most
# of what a step costs; on a CPU this is five times faster than to concatenate the sections' bits.

Piece = tuple[Array, int]
"""uint32[] and how many of its low bits count: at most 31. Bit i of the number is entry i of the section."""


def _unpack(pieces: list[Piece]) -> Array:
    """bool[sum of the widths]: the bits of all pieces, concatenated."""
    size = sum(width for _, width in pieces)
    words = [jnp.uint32(0)] * -(-size // 32)
    start = 0
    for value, width in pieces:
        word, shift = divmod(start, 32)
        words[word] = words[word] | (value << shift)
        if shift + width > 32:
            words[word + 1] = words[word + 1] | (value >> (32 - shift))
        start += width
    # The barrier keeps XLA from recomputing a word for each of its bits.
    packed = jax.lax.optimization_barrier(jnp.stack(words))
    bits = packed[:, None] >> jnp.arange(32, dtype=jnp.uint32)[None]
    return (bits & 1).astype(jnp.bool_).reshape(-1)[:size]


def _one_hot(index: Array, when: Array) -> Array:
    """uint32: bit `index` where `when`, else 0."""
    return jnp.where(when, jnp.uint32(1) << (index.astype(jnp.uint32) & 31), jnp.uint32(0))


def _thermometer(value: Array, length: int) -> list[Piece]:
    """The first `value` of `length` bits."""
    pieces = []
    for start in range(0, length, 24):
        width = min(24, length - start)
        filled = jnp.clip(value.astype(jnp.int32) - start, 0, width).astype(jnp.uint32)
        pieces.append(((jnp.uint32(1) << filled) - 1, width))
    return pieces


def _each(values: Array, width: int) -> list[Piece]:
    """The entries of uint32[n] as pieces of one width."""
    return [(values[i], width) for i in range(values.shape[0])]


def _card(game: Board, card: Array, when: Array) -> Array:
    """uint32: the bit of a card byte among the colors * ranks kinds."""
    return _one_hot((card >> 3).astype(jnp.uint32) * game.ranks + (card & 7), when)


# --- sections --------------------------------------------------------------------------------------------------------


def _hands(game: Board, state: State, player: Array) -> list[Piece]:
    hands = from_seat(state.cards, player, game.players)
    others = hands[1:].reshape(-1)
    short = _one_hot(jnp.arange(game.players, dtype=jnp.uint32), hands[:, -1] == EMPTY)
    cards = _each(_card(game, others, others != EMPTY), game.colors * game.ranks)
    return [*cards, (jnp.sum(short, dtype=jnp.uint32), game.players)]


def _board(game: Board, state: State) -> list[Piece]:
    undealt = game.deck_size - game.players * game.hand_size
    height = state.fireworks.astype(jnp.uint32)
    first_copy = np.cumsum([0, *game.copies[:-1]]).astype(np.uint32)
    gone = ((jnp.uint32(1) << state.discards.astype(jnp.uint32)) - 1) << first_copy[None]
    return [
        *_thermometer(game.deck_size - state.dealt, undealt),
        *_each(_one_hot(height - 1, height > 0), game.ranks),
        *_thermometer(state.information_tokens, game.max_information_tokens),
        *_thermometer(state.life_tokens, game.max_life_tokens),
        *_each(jnp.sum(gone, axis=1, dtype=jnp.uint32), sum(game.copies)),
    ]


def _last_action(game: Board, state: State, player: Array) -> list[Piece]:
    action, noop = state.last_action, game.num_actions - 1
    discarded = action < game.hand_size
    played = (action >= game.hand_size) & (action < game.first_color_hint)
    hinted_color = (action >= game.first_color_hint) & (action < game.first_rank_hint)
    hinted_rank = (action >= game.first_rank_hint) & (action < noop)
    hinted, took = hinted_color | hinted_rank, discarded | played

    hint = action - jnp.where(hinted_rank, jnp.uint8(game.first_rank_hint), jnp.uint8(game.first_color_hint))
    kinds = jnp.where(hinted_rank, jnp.uint8(game.ranks), jnp.uint8(game.colors))
    value = hint % kinds
    seat = (state.last_player + game.players - player.astype(jnp.uint8)) % game.players
    target = (seat + 1 + hint // kinds) % game.players
    slot = action - jnp.where(played, jnp.uint8(game.hand_size), jnp.uint8(0))
    types = [played, discarded, hinted_color, hinted_rank]
    return [
        (_one_hot(seat, action != noop), game.players),
        *((type_.astype(jnp.uint32), 1) for type_ in types),
        (_one_hot(target, hinted), game.players),
        (_one_hot(value, hinted_color), game.colors),
        (_one_hot(value, hinted_rank), game.ranks),
        (state.last_touched.astype(jnp.uint32), game.hand_size),
        (_one_hot(slot, took), game.hand_size),
        (_card(game, state.last_card, took), game.colors * game.ranks),
        ((state.last_scored & played).astype(jnp.uint32), 1),
        ((state.last_token & played).astype(jnp.uint32), 1),
    ]


def _possible_and_hinted(game: Board, state: State, player: Array) -> tuple[Array, Array]:
    """For every card, this player's first: its possible kinds, and the color and the rank that a hint named.

    Returns:
      uint32[P * H] with a bit for each kind, and uint32[P * H] with a bit for each color, then each rank.
    """
    color = from_seat(state.color_knowledge, player, game.players).reshape(-1).astype(jnp.uint32)
    rank = from_seat(state.rank_knowledge, player, game.players).reshape(-1).astype(jnp.uint32)
    colors, ranks = color & (2**game.colors - 1), rank & (2**game.ranks - 1)
    possible = jnp.zeros_like(color)
    for c in range(game.colors):
        possible = possible | jnp.where((color >> c) & 1 == 1, ranks << (game.ranks * c), 0)
    hinted_color, hinted_rank = jnp.where(color >= HINTED, colors, 0), jnp.where(rank >= HINTED, ranks, 0)
    return possible, hinted_color | (hinted_rank << game.colors)


def _knowledge(game: Board, state: State, player: Array) -> list[Piece]:
    possible, hinted = _possible_and_hinted(game, state, player)
    both = zip(_each(possible, game.colors * game.ranks), _each(hinted, game.colors + game.ranks), strict=True)
    return [piece for card in both for piece in card]


def _belief(game: Board, state: State, player: Array) -> Array:
    """float32[P * H * (C*R + C + R)]: each card's V0 belief, and the color and the rank that a hint named."""
    possible, hinted = _possible_and_hinted(game, state, player)

    def bits(numbers: Array, length: int) -> Array:
        return ((numbers[:, None] >> jnp.arange(length, dtype=jnp.uint32)[None]) & 1).astype(jnp.float32)

    kinds = game.colors * game.ranks
    played = state.fireworks[:, None] > jnp.arange(game.ranks, dtype=jnp.uint8)[None]  # [C, R]
    copies = jnp.asarray(game.copies, jnp.float32)[None]
    unseen = (copies - state.discards.astype(jnp.float32) - played.astype(jnp.float32)).reshape(-1)
    # Term by term over all cards at once: a reduction along the kinds would run one number at a time.
    total = jnp.zeros(possible.shape, jnp.float32)
    for kind in range(kinds):
        total = total + jnp.where((possible >> kind) & 1 == 1, unseen[kind], 0.0)
    belief = bits(possible, kinds) * unseen[None] / jnp.where(total > 0, total, 1.0)[:, None]
    return jnp.concatenate([belief, bits(hinted, game.colors + game.ranks)], axis=-1).reshape(-1)
