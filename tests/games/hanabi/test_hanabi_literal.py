"""Literal chances: the published ones of a game, and those of an enumeration of all hands."""

import functools
import itertools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from games.errors import TacitError
from games.hanabi import make, records
from games.hanabi.cards import EMPTY
from games.hanabi.literal import chance_of, chance_of_failure, critical
from games.hanabi.rules import Hanabi

GAME = Path(__file__).parent / "recorded" / "hanabidata-4037579.json"

# Turn: marginal, joint; data/processed/joint_posteriors.csv of Fukushima, Xiong and Moradi Pari 2026 (CC BY 4.0).
PUBLISHED = {
    2: (0, 0), 5: (0, 0), 8: (0, 0), 11: (0.714285714286, 0.714285714286), 15: (0, 0), 17: (0, 0), 25: (0, 0),
    27: (0.6, 0.6), 37: (0.714285714286, 0.714285714286), 45: (0.5, 0.555555555556), 46: (0, 0), 49: (0.5, 0.5),
    66: (0, 0), 68: (0, 0), 70: (0, 0), 72: (0, 0),
}  # fmt: skip


@functools.partial(jax.jit, static_argnums=0)
def chances(game, state, slot):
    return chance_of_failure(game, state, state.player.astype(jnp.int32), slot)


@functools.partial(jax.jit, static_argnums=0)
def chances_of_loss(game, state, slot):
    return chance_of(game, state, state.player.astype(jnp.int32), slot, critical(game, state))


@pytest.mark.slow
def test_the_published_chances_of_a_game(move):
    recorded = records.of_replays(json.loads(GAME.read_text()))
    game, state = recorded.game, recorded.game.init_from_deck(recorded.decks[0])
    found = {}
    for turn, action in enumerate(recorded.actions[0].tolist()):
        if game.hand_size <= action < game.first_color_hint:
            literal = chances(game, state, jnp.int32(action - game.hand_size))
            found[turn] = tuple(int(ways.some) / int(ways.all) for ways in (literal.marginal, literal.joint))
            assert literal.joint.chance() == pytest.approx(found[turn][1], rel=1e-6)
        state, _, _ = move(game, state, action)
    assert found.keys() == PUBLISHED.keys()
    for turn, expected in PUBLISHED.items():
        assert found[turn] == pytest.approx(expected, abs=1e-12), turn


def fails(game, state, card):
    """Whether a card cannot be played."""
    return state.fireworks[card // game.ranks] != card % game.ranks


def is_lost(game, state, card):
    """Whether a point is lost with a copy of this card: it is the last, not played, and no lower rank is lost."""
    color, rank = divmod(card, game.ranks)
    still = [game.copies[lower] - int(state.discards[color, lower]) for lower in range(rank + 1)]
    height = int(state.fireworks[color])
    return rank >= height and still[rank] == 1 and all(still[lower] > 0 for lower in range(height, rank))


def enumerated(game, state, slot, asked):
    """The numbers of ways, `asked` and all, jointly and marginally: every hand of unseen cards, copy by copy."""
    player = int(state.player)
    left = np.repeat(np.arange(game.colors * game.ranks), np.tile(game.copies, game.colors)).tolist()
    for seat, card in itertools.product(range(game.players), range(game.hand_size)):
        byte = int(state.cards[seat, card])
        if seat != player and byte != EMPTY:
            left.remove((byte >> 3) * game.ranks + (byte & 7))
    for color, height in enumerate(state.fireworks.tolist()):
        for rank in range(height):
            left.remove(color * game.ranks + rank)
    for (color, rank), copies in np.ndenumerate(state.discards):
        for _ in range(copies):
            left.remove(color * game.ranks + rank)

    def allowed(card, place):
        color, rank = divmod(card, game.ranks)
        return state.color_knowledge[player, place] >> color & 1 and state.rank_knowledge[player, place] >> rank & 1

    hands = [
        hand
        for hand in itertools.permutations(left, game.hand_size)
        if all(allowed(card, place) for place, card in enumerate(hand))
    ]
    alone = [card for card in left if allowed(card, slot)]
    return [
        (sum(bool(asked(game, state, card)) for card in cards), len(cards))
        for cards in ([hand[slot] for hand in hands], alone)
    ]


# With so many lives random games go on to the end of the deck. With these seeds a rank is lost below a last copy.
BOARDS = {
    "2x3": (make("Hanabi-2x3", max_life_tokens=20), 8),
    "3x3": (make("Hanabi-3x3", max_life_tokens=20), 5),
    "3 players": (make("Hanabi-2x3", players=3, max_life_tokens=20), 8),
    "mini": (make("Hanabi-Mini", max_life_tokens=20), 4),
    "4 cards": (Hanabi(players=2, colors=2, ranks=3, hand_size=4, max_information_tokens=5, max_life_tokens=20), 8),
}


@pytest.mark.slow
@pytest.mark.parametrize("board", BOARDS)
def test_every_hand_of_small_boards_counted_one_by_one(random_games, board, move):
    game, seed = BOARDS[board]
    compared, told, lost, blocked = 0, 0, 0, 0
    for key, _, actions, _ in random_games(game, seed, 4, [1.0, 0.0]):
        state = game.init(key=key)
        for turn, action in enumerate(actions.tolist()):
            state = jax.tree.map(np.asarray, state)
            slot = turn % game.hand_size
            joint, marginal = chances(game, state, jnp.int32(slot))
            of_loss = chances_of_loss(game, state, jnp.int32(slot))
            for (ways, alone), asked in (((joint, marginal), fails), (of_loss, is_lost)):
                expected = enumerated(game, state, slot, asked)
                assert (int(ways.some), int(ways.all)) == expected[0]
                assert (int(alone.some), int(alone.all)) == expected[1]
            compared += 1
            told += joint.chance() != pytest.approx(float(marginal.chance()))
            lost += 0 < int(of_loss.joint.some) < int(of_loss.joint.all)
            left = np.array(game.copies)[None] - state.discards
            gone = (left == 0) & (state.fireworks[:, None] <= np.arange(game.ranks)[None])
            blocked += bool(((left == 1) & (np.cumsum(gone, axis=1) > 0)).any())
            state, _, _ = move(game, state, action)
    assert compared > 30
    assert told > 0
    assert lost > 0
    assert blocked > 0  # a last copy that nobody needs, since a lower rank of its color is lost


def test_larger_hands_are_refused():
    game = Hanabi(players=2, colors=2, ranks=3, hand_size=6)
    with pytest.raises(TacitError, match="hands of at most 5 cards, and this board's have 6"):
        chance_of_failure(game, game.init(key=jax.random.key(0)), jnp.int32(0), jnp.int32(0))
