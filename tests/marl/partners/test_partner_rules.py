"""Each rule on a hand-made state, against the action that the literature's words demand.

Two players, five colors, ranks and cards: discard 0-4, play 5-9, hint color 10-14 (R Y G W B), hint rank 15-19.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from games.hanabi import Hanabi
from marl.partners import rules
from marl.partners.view import decode

GAME = Hanabi()
R, Y, G, W, B = range(10, 15)
ONE, TWO, THREE, FOUR, FIVE = range(15, 20)


def deck_of(names):
    first = ["RYGWB".index(color) * 5 + int(rank) - 1 for color, rank in names.split()]
    rest = [card for card in range(25) for _ in range((3, 2, 2, 2, 1)[card % 5])]
    for card in first:
        rest.remove(card)
    return np.array(first + rest, np.int32)


@functools.partial(jax.jit, static_argnums=0)
def step(game, state, action):
    actions = jnp.where(jnp.arange(game.players) == state.player, action, game.noop)
    return game.step(state, actions, key=jax.random.key(0))[0]


@functools.partial(jax.jit, static_argnums=0)
def see(game, state):
    return decode(game, game.observe(state, state.player.astype(jnp.int32), "hle"))


def after(names, *actions, game=GAME, deck=None):
    """What the player to move sees after these actions, from a deck that starts with the cards `names`."""
    state = game.init_from_deck(deck_of(names) if deck is None else np.array(deck, np.int32))
    for action in actions:
        assert not state.ended
        state = step(game, state, action)
        assert not state.illegal
    return see(game, state)


jitted = functools.cache(jax.jit)


def weights(rule, view):
    """{action: probability} of what a rule proposes."""
    row = np.asarray(jitted(rule)(view), np.float64)
    return {int(action): float(row[action] / row.sum()) for action in np.flatnonzero(row)}


FIRST = "R2 R3 R4 Y4 Y5 Y1 R1 G1 B2 W5"  # player 0's hand, then player 1's


@pytest.mark.slow
def test_the_view_of_a_literal_state():
    # Player 0 plays R2, a mistake; player 1 is told "R" later on.
    view = after("R2 R3 R4 Y4 Y5 Y1 R1 G1 B2 W5 R5", 5, 6, R)  # 0 misplays R2; 1 plays R1; 0 hints R to 1
    assert (int(view.information), int(view.lives), int(view.deck)) == (7, 2, 38)
    assert view.height.tolist() == [1, 0, 0, 0, 0]
    assert [int(rank) for rank in jnp.argmax(view.playable, axis=1)] == [1, 0, 0, 0, 0]
    assert view.useless.sum() == 1
    assert view.useless[0, 0]
    assert sorted(zip(*np.nonzero(view.critical), strict=True)) == [(0, 1), *((color, 4) for color in range(5))]
    assert view.cards[0].sum() == 5
    assert [tuple(map(int, np.argwhere(card)[0])) for card in view.cards[0]] == [(0, 2), (0, 3), (1, 3), (1, 4), (0, 4)]
    assert view.told.tolist() == [[False] * 4 + [True], [False] * 5]  # player 1 drew a red 1


@pytest.mark.slow
def test_a_hint_touches_the_cards_of_whom_it_is_given_to():
    """Three players: the hands R2 R3 R4 Y4 Y5, then Y1 R1 G1 B2 W5, then R1 Y2 Y3 R5 G2."""
    game, hands = Hanabi(players=3), f"{FIRST} R1 Y2 Y3 R5 G2"
    red_to_next, red_to_the_one_after = R, R + game.colors
    assert after(hands, red_to_next, game=game).touched.tolist() == [False, True, False, False, False]
    assert not after(hands, red_to_the_one_after, game=game).touched.any()  # player 2 has the red cards
    assert after(hands, 5, red_to_next, game=game).touched.tolist() == [True, False, False, True, False]


@pytest.mark.slow
def test_chances_count_the_copies_not_seen():
    view = after(FIRST, ONE)  # player 1 holds Y1 R1 G1 B2 W5 and knows which are 1s; sees R2 R3 R4 Y4 Y5
    np.testing.assert_allclose(view.play_chance[:3], 1.0)
    # Of the others' 25 kinds, neither is a 1, so none is playable now.
    np.testing.assert_allclose(view.play_chance[3:], 0.0)
    view = after(FIRST)  # player 0 sees Y1 R1 G1 B2 W5: 45 cards are unseen, 12 of them 1s
    np.testing.assert_allclose(view.play_chance, 12 / 45, rtol=1e-6)
    np.testing.assert_allclose(view.useless_chance, 0.0)


def test_play_certain_and_identified():
    assert weights(rules.play_certain, after(FIRST)) == {}
    view = after("R2 R3 R4 Y4 Y5 W5 B2 R1 G1 Y1", ONE)
    assert weights(rules.play_certain, view) == {7: 1.0}  # the first 1, whichever color
    assert weights(rules.play_identified, view) == {}
    view = after("R2 R3 R4 Y4 Y5 W5 B2 R1 G1 Y1", ONE, FOUR, G)  # G: the fourth card is the green 1
    assert weights(rules.play_identified, view) == {8: 1.0}


def test_play_likeliest():
    view = after(FIRST)
    assert weights(rules.play_likeliest(0.6), view) == {}
    assert weights(rules.play_likeliest(0.25), view) == {9: 1.0}  # 12/45 each: the last
    assert weights(rules.play_likeliest(0.27), view) == {}
    view = after(FIRST, ONE)
    assert weights(rules.play_likeliest(0.6), view) == {7: 1.0}  # the last of the three certain ones


def test_discard_useless_only_what_hints_show():
    # R1 lies on its pile; player 1 is told that its second card is a red 1.
    view = after("R1 R3 R4 Y4 Y5 Y2 R1 G2 B2 W5", 5, R, ONE)
    assert weights(rules.discard_useless, view) == {}  # player 0's turn: nothing is known of its own cards
    view = after("R1 R3 R4 Y4 Y5 Y2 R1 G2 B2 W5", 5, R, R, FIVE, ONE)
    assert weights(rules.discard_useless, view) == {1: 1.0}
    assert weights(rules.discard_likeliest(1.0), view) == {1: 1.0}


@pytest.mark.slow
def test_a_blocked_card_is_useless():
    # Both R2 are thrown away, so red ends at 1: a red 3 is useless for good.
    game = Hanabi(max_life_tokens=5)
    view = after("R2 R2 R3 Y4 Y5 R3 G2 G3 B2 W5", 5, TWO, 5, game=game)  # player 0 misplays R2 twice
    assert view.blocked[0].tolist() == [False, True, True, True, True]
    assert view.useless[0].tolist() == [False, True, True, True, True]


def test_discards_without_knowledge():
    view = after(FIRST, ONE)
    assert weights(rules.discard_oldest, view) == {0: 1.0}
    assert weights(rules.discard_randomly, view) == {slot: 0.2 for slot in range(5)}
    assert weights(rules.discard_likeliest(0.0), view) == {4: 1.0}
    assert weights(rules.discard_likeliest(1.0), view) == {}
    assert weights(rules.discard_untold, view) == {3: 1.0}  # the first three are told


def test_tell_playable_names_the_rank_then_the_color():
    assert weights(rules.tell_playable, after(FIRST)) == {ONE: 1.0}
    view = after(FIRST, ONE, FIVE)
    assert weights(rules.tell_playable, view) == {Y: 1.0}
    assert weights(rules.tell_next_playable, view) == {Y: 1.0}
    assert weights(rules.tell_color_of_playable, view) == {Y: 1.0}
    view = after(FIRST, ONE, FIVE, Y, FOUR)
    assert weights(rules.tell_playable, view) == {R: 1.0}  # the yellow 1 is known; the next is the red one
    assert weights(rules.tell_next_playable_randomly, view) == {Y: 0.5, ONE: 0.5}


def test_tell_next_unknown_names_the_color_then_the_rank():
    assert weights(rules.tell_next_unknown, after(FIRST)) == {Y: 1.0}
    assert weights(rules.tell_next_unknown, after(FIRST, Y, FIVE)) == {ONE: 1.0}
    assert weights(rules.tell_next_unknown, after(FIRST, Y, FIVE, ONE, FOUR)) == {R: 1.0}


def test_tell_most():
    assert weights(rules.tell_most, after(FIRST)) == {ONE: 1.0}  # three 1s
    # Afterwards a color is news for one card each; the 2 and the 5 too, and ranks come first.
    assert weights(rules.tell_most, after(FIRST, ONE, FIVE)) == {TWO: 1.0}
    view = after(FIRST, ONE, FIVE, TWO, FOUR, FIVE, THREE)
    assert weights(rules.tell_most, view) == {R: 0.2, Y: 0.2, G: 0.2, W: 0.2, B: 0.2}


def test_tell_randomly_counts_each_card():
    expected = {Y: 0.1, R: 0.1, G: 0.1, B: 0.1, W: 0.1, ONE: 0.3, TWO: 0.1, FIVE: 0.1}
    assert weights(rules.tell_randomly, after(FIRST)) == pytest.approx(expected)


@pytest.mark.slow
def test_tell_dispensable():
    # Discard 0 1, play 2 3, hint red 4, yellow 5, 1 6, 2 7; player 0 holds R1 Y1, player 1 R1 Y2, then R2 R1 Y1 Y1 ...
    game, deck = Hanabi(colors=2, ranks=2, hand_size=2), [0, 2, 0, 3, 1, 0, 2, 2]

    def told(*actions):
        return weights(rules.tell_dispensable, after("", *actions, game=game, deck=deck))

    assert told() == {}
    assert told(2, 6) == {}  # R1 is on its pile, but player 1 knows neither color nor rank of the other
    assert told(2, 6, 4, 6) == {6: 1.0}  # player 1 knows that it is red, and now lacks the rank
    assert told(2, 6, 6, 6) == {4: 1.0}
    assert told(2, 6, 3) == {4: 1.0}  # R2 finishes its pile, and player 0 drew another R1: red is enough


def test_conditions():
    rule = rules.when(rules.life_to_spare, rules.discard_oldest)
    assert weights(rule, after(FIRST)) == {0: 1.0}
    assert weights(rule, after("R2 R3 R4 Y4 Y5 Y1 R1 G1 B2 W5", 5, FIVE, 5)) == {}  # two mistakes: one life is left
    assert weights(rules.when(rules.short_of_tokens, rules.discard_oldest), after(FIRST)) == {}
    assert not rules.last_round(after(FIRST))


def test_the_focus_convention():
    # "Red" to player 1 touches R1 and, newer, R5: the focus is R5, which could be playable (as a red 1) but is not.
    lying = "R2 R3 R4 Y4 Y5 R1 Y2 Y3 R5 W5"
    assert R not in weights(rules.ask, after(lying))
    assert R not in weights(rules.inform, after(lying))
    assert weights(rules.ask, after(lying)) == {ONE: 1.0}
    assert weights(rules.play_asked, after(lying, ONE)) == {5: 1.0}
    # A hint of 5 cannot ask at the start: nobody plays.
    assert weights(rules.play_asked, after(lying, FIVE)) == {}
    # Of two askable hints the one that touches more cards that are needed.
    assert weights(rules.ask, after(FIRST)) == {ONE: 1.0}
    # W5 would be discarded next by player 1, and is the only one.
    assert weights(rules.save, after("R2 R3 R4 Y4 Y5 W5 Y2 Y3 B2 B3")) == {FIVE: 1.0}
    assert weights(rules.save, after(FIRST)) == {}


def test_hle_simple_plays_anything_told():
    assert weights(rules.play_told, after(FIRST, FIVE)) == {9: 1.0}
    assert weights(rules.play_oldest, after(FIRST)) == {5: 1.0}
