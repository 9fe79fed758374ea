"""Boards with other copies than HLE's: the engine beside the rules in plain Python, which are HLE's on HLE's decks."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from games.errors import TacitError
from games.hanabi import Hanabi, make
from games.hanabi.hle import HleGame
from tests.games.hanabi.oracle import Table

HLES = {
    "2x3": make("Hanabi-2x3"),
    "3 players, one rank": Hanabi(
        players=3, colors=4, ranks=1, hand_size=2, max_information_tokens=2, max_life_tokens=2
    ),
    "5 players": Hanabi(players=5, hand_size=4),
}
OTHERS = {
    "mini": make("Hanabi-Mini"),
    "3 players, 1 3 2": Hanabi(
        players=3, colors=2, ranks=3, hand_size=3, max_information_tokens=2, max_life_tokens=2, copies=(1, 3, 2)
    ),
    "one rank": Hanabi(
        players=2, colors=3, ranks=1, hand_size=2, max_information_tokens=1, max_life_tokens=2, copies=(2,)
    ),
    "4 players, 3 each": Hanabi(players=4, ranks=5, hand_size=4, copies=(3, 3, 3, 3, 3)),
    "5 players, 1 each": Hanabi(players=5, ranks=4, hand_size=3, max_information_tokens=4, copies=(1, 1, 1, 1)),
}
PROOF = ("5 players", "4 players, 3 each", "5 players, 1 each")


def shuffled(game, rng):
    return rng.permutation(np.repeat(np.arange(game.colors * game.ranks), np.tile(game.copies, game.colors)))


def table(game, deck):
    return Table(
        deck.tolist(),
        players=game.players,
        colors=game.colors,
        hand_size=game.hand_size,
        tokens=game.max_information_tokens,
        lives=game.max_life_tokens,
        copies=game.copies,
    )


def choice(reference, number, rng):
    """A legal action: at random, and in every second game hardly ever a play that fails."""
    legal = np.flatnonzero(reference.legal(reference.mover)[:-1])
    hand, fits = reference.hands[reference.mover], []
    for slot, card in enumerate(hand):
        fits += [slot] * (reference.heights[card.color] == card.rank)
    if number % 2 and rng.random() < 0.95:
        size = reference.hand_size
        good = [action for action in legal if not size <= action < 2 * size or action - size in fits]
        plays = [action for action in good if size <= action < 2 * size]
        legal = plays if plays and rng.random() < 0.7 else good or legal
    return int(rng.choice(legal))


@functools.partial(jax.jit, static_argnums=0)
def looked_at(game, state):
    players = jnp.arange(game.players, dtype=jnp.int32)
    seen = {name: jax.vmap(game.observe, (None, 0, None))(state, players, name) for name in ("hle", "belief")}
    return seen | {"legal": jax.vmap(game.legal, (None, 0))(state, players), "score": game.score(state)}


@pytest.mark.parametrize("board", [pytest.param(one, marks=[pytest.mark.slow] * (one in PROOF)) for one in HLES])
def test_the_rules_in_plain_python_are_hles(board):
    pytest.importorskip("hanabi_learning_environment.pyhanabi", reason="hanabi-learning-environment is not installed")
    game, rng, endings = HLES[board], np.random.default_rng(1), set()
    theirs = HleGame(game)
    for number in range(12):
        deck = shuffled(game, rng)
        ours, state = table(game, deck), theirs.deal(deck)
        while True:
            for player in range(game.players):
                assert ours.legal(player) == theirs.legal(state, player).tolist()
                assert ours.observation(player) == theirs.observe(state, player).astype(int).tolist()
            assert (ours.score, ours.ended) == (theirs.score(state), theirs.ended(state))
            if ours.ended:
                break
            assert ours.mover == theirs.player(state)
            action = choice(ours, number, rng)
            assert ours.act(action) == theirs.apply(state, action)
        endings.add(theirs.ending(state))
    assert len(endings) > 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "board",
    [pytest.param(board, marks=[pytest.mark.proof] * (board in PROOF)) for board in (*HLES, *OTHERS)],
)
def test_the_engine_is_the_rules_in_plain_python(move, board):
    game, rng, endings = (HLES | OTHERS)[board], np.random.default_rng(2), set()
    knowledge = game.observer("minimal").size
    for number in range(8):
        deck = shuffled(game, rng)
        ours, state, done = table(game, deck), game.init_from_deck(deck), False
        for step in range(game.horizon + 1):
            found = jax.device_get(looked_at(game, state))
            assert found["legal"].tolist() == [ours.legal(player) for player in range(game.players)]
            assert (int(found["score"]), done) == (ours.score, ours.ended)
            for player in range(game.players):
                assert found["hle"][player].astype(int).tolist() == ours.observation(player)
                belief = found["belief"][player][knowledge:].reshape(game.players * game.hand_size, -1)
                expected = np.array(ours.beliefs(player))
                np.testing.assert_allclose(belief[:, : game.colors * game.ranks], expected, atol=1e-6)
            if ours.ended:
                break
            assert step < game.horizon
            action = choice(ours, number, rng)
            expected = ours.act(action)
            state, reward, done = move(game, state, action)
            assert reward == expected
            assert not state.illegal
        endings.add("bombed" if ours.lives == 0 else "deck" if ours.turns_left == 0 else "complete")
    assert len(endings) > 1


def test_a_deck_has_the_copies_of_each_rank():
    game = make("Hanabi-Mini")
    assert game.copies == (2, 2, 1)
    assert game.deck_size == 15
    cards = np.sort(np.asarray(game.init(key=jax.random.key(0)).deck))
    assert cards.tolist() == [0, 0, 1, 1, 2, 8, 8, 9, 9, 10, 16, 16, 17, 17, 18]
    with pytest.raises(TacitError, match="an order of the 15 cards"):
        game.init_from_deck(np.repeat(np.arange(9), np.tile((3, 2, 1), 3)))


def test_the_mini_board_has_the_sizes_of_jax_aht():
    game = make("Hanabi-Mini")
    assert (game.observer("hle").size, game.num_actions, game.score_range) == (191, 13, (0.0, 9.0))


def test_empty_copies_are_hles():
    assert Hanabi().copies == (3, 2, 2, 2, 1)
    assert Hanabi(colors=2, ranks=3, hand_size=2, copies=(3, 2, 1)) == Hanabi(colors=2, ranks=3, hand_size=2)
    assert Hanabi(ranks=1, hand_size=2).copies == (3,)
    assert Hanabi(ranks=2, copies=[3.0, 1]).copies == (3, 1)
    assert hash(Hanabi(copies=[1, 1, 1, 1, 3])) == hash(Hanabi(copies=(1, 1, 1, 1, 3)))
    assert Hanabi(copies=(1, 1, 1, 1, 3)) != Hanabi()
    assert make("Hanabi-Mini", copies=[]) == make("Hanabi-3x3") == make("Hanabi-Mini", copies=[3, 2, 1])
    assert make("Hanabi-3x3", copies=[2, 2, 1]) == make("Hanabi-Mini") == Hanabi(2, 3, 3, 3, 5, 3, copies=(2, 2, 1))
    assert make(ranks=3).copies == (3, 2, 1)
    assert make("Hanabi-Mini", ranks=2, copies=[1, 2]).copies == (1, 2)
    assert make("Hanabi-Mini", ranks=3.0, players=3).copies == (2, 2, 1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"copies": (3, 2, 1)},
            "hanabi copies must be 5 whole number(s), one for each rank, the lowest rank first, not [3, 2, 1]",
        ),
        ({"ranks": 1, "copies": (2, 1)}, "hanabi copies must be 1 whole number(s), one for each rank"),
        ({"copies": (3, 2, 2, 2, 4)}, "copies of rank 5 must be a whole number from 1 to 3 (HLE has at most 3), not 4"),
        ({"copies": (3, 0, 2, 2, 1)}, "hanabi copies of rank 2 must be a whole number from 1 to 3"),
        ({"copies": (True, 2, 2, 2, 1)}, "hanabi copies of rank 1 must be a whole number from 1 to 3"),
        ({"copies": (2.5, 2, 2, 2, 1)}, "hanabi copies of rank 1 must be a whole number from 1 to 3"),
        ({"copies": 3}, "hanabi copies must be a list of a whole number for each rank, not 3"),
        ({"copies": "32221"}, "hanabi copies must be a list of a whole number for each rank, not '32221'"),
        ({"players": 5, "ranks": 3, "copies": (1, 1, 1)}, "5 color(s) x 3 rank(s) make a deck of 15"),
    ],
)
def test_copies_that_cannot_be_are_refused_with_the_reason(values, message):
    with pytest.raises(TacitError, match=re.escape(message)):
        Hanabi(**values)


def test_a_preset_with_copies_of_its_own_has_them_for_its_ranks_only():
    message = "Hanabi-Mini has copies of its own for 3 ranks: hanabi copies must be given with ranks 4"
    with pytest.raises(TacitError, match=message):
        make("Hanabi-Mini", ranks=4)


def test_hle_has_no_such_deck():
    message = re.escape("has copies [3, 2, 1] of 3 rank(s): it cannot express a board with copies [2, 2, 1]")
    with pytest.raises(TacitError, match=message):
        HleGame(make("Hanabi-Mini"))
