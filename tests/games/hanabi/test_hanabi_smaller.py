"""Where a smaller board's observations and actions stand among a larger board's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from games.errors import TacitError
from games.hanabi import Hanabi
from games.hanabi.cards import EMPTY

SMALLER = Hanabi(colors=2, ranks=3, hand_size=2, max_information_tokens=3, max_life_tokens=2)
LARGER = Hanabi(colors=3, ranks=5, hand_size=4, max_information_tokens=8, max_life_tokens=3)
NAMES = [SMALLER.action_name(action) for action in range(SMALLER.num_actions)]
SAME = ("information_tokens", "life_tokens", "player", "last_player", "last_card", "last_touched", "last_scored")


def by_name(names):
    """The larger board's actions of these names."""
    every = [LARGER.action_name(action) for action in range(LARGER.num_actions)]
    return [every.index(name) for name in names]


def on_the_larger_board(state):
    """The same cards, hints, piles and tokens, with as many cards to draw."""
    more = ((0, 0), (0, LARGER.hand_size - SMALLER.hand_size))
    return LARGER.init(key=jax.random.key(0))._replace(
        dealt=(LARGER.deck_size - (SMALLER.deck_size - state.dealt)).astype(jnp.uint8),
        cards=jnp.pad(state.cards, more, constant_values=EMPTY),
        color_knowledge=jnp.pad(state.color_knowledge, more),
        rank_knowledge=jnp.pad(state.rank_knowledge, more),
        fireworks=jnp.pad(state.fireworks, (0, 1)),
        discards=jnp.pad(state.discards, ((0, 1), (0, 2))),
        last_action=jnp.asarray(by_name(NAMES), jnp.uint8)[state.last_action],
        last_token=state.last_token,
        **{name: getattr(state, name) for name in SAME},
    )


def test_actions_have_the_same_names():
    _, actions = LARGER.places_of(SMALLER, "hle")
    assert actions.tolist() == by_name(NAMES)


def test_a_table_is_seen_alike_on_both_boards():
    observations, _ = LARGER.places_of(SMALLER, "hle")
    layout = SMALLER.observer("hle").layout
    common = np.ones(layout.size, bool)
    common[layout["missing_card"]] = False  # a hand of two cards is full on one board only
    ever = np.zeros(layout.size, bool)

    @jax.jit
    def see(state, player):
        return tuple(
            game.observer("hle").encode(shown, player)
            for game, shown in ((SMALLER, state), (LARGER, on_the_larger_board(state)))
        )

    step, legal = jax.jit(SMALLER.step), jax.jit(SMALLER.legal)
    rng = np.random.default_rng(0)
    for game in range(8):
        state = SMALLER.init(key=jax.random.key(game))
        for turn in range(SMALLER.horizon):
            player = turn % 2
            smaller, larger = map(np.array, see(state, player))
            np.testing.assert_array_equal(larger[observations][common], smaller[common])
            larger[observations] = False
            assert not larger.any()
            ever |= smaller
            if state.ended:
                break
            action = rng.choice(np.flatnonzero(legal(state, player)))
            actions = np.where(np.arange(2) == player, action, SMALLER.noop)
            state, _, _ = step(state, actions, key=jax.random.key(turn))
    assert ever.mean() > 0.9  # nobody is told of his own last move, for example


def test_copies_of_a_rank_follow_those_of_the_lower_ranks():
    smaller, larger = Hanabi(colors=1, ranks=2, hand_size=1, copies=(2, 1)), Hanabi(colors=2, ranks=3, hand_size=2)
    observations, _ = larger.places_of(smaller, "minimal")
    start = larger.observer("minimal").layout["discards"].start
    assert (observations[smaller.observer("minimal").layout["discards"]] - start).tolist() == [0, 1, 3]


@pytest.mark.parametrize(
    ("sizes", "sentence"),
    [
        ({"colors": 4}, "a board with colors=4 does not fit into one with 3"),
        ({"max_life_tokens": 4}, "a board with max_life_tokens=4 does not fit into one with 3"),
        ({"players": 3}, "a board of 3 players does not fit into one of 2"),
        ({"ranks": 5, "colors": 3, "hand_size": 3}, "a board with 24 cards to draw does not fit into one with 22"),
        ({"copies": (3, 3, 1)}, r"a board with copies \(3, 3, 1\) does not fit into one with \(3, 2, 2, 2, 1\)"),
    ],
)
def test_a_board_that_does_not_fit_is_refused(sizes, sentence):
    with pytest.raises(TacitError, match=f"^{sentence}$"):
        LARGER.places_of(Hanabi(**{"colors": 2, "ranks": 3, "hand_size": 2, "max_life_tokens": 2, **sizes}), "hle")
