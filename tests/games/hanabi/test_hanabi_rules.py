"""The rules of Hanabi in hand-written games, and what the contract of `Game` promises."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from games.errors import TacitError
from games.hanabi import PRESETS, Hanabi, make
from games.hanabi.replay import drawn_deck, full_deck

# Two players with two cards each, red and yellow. Ids: discard 0, 1; play 2, 3; hint color 4 (R), 5 (Y); hint rank 6
# (1), 7 (2), 8 (3); no-op 9.
SMALL = Hanabi(players=2, colors=2, ranks=3, hand_size=2, max_information_tokens=2, max_life_tokens=1)
DISCARD_0, DISCARD_1, PLAY_0, PLAY_1, HINT_R, HINT_Y, HINT_1, HINT_2, HINT_3, NOOP = range(10)


@functools.partial(jax.jit, static_argnums=0)
def legal_for_all(game, state):
    return jax.vmap(game.legal, (None, 0))(state, jnp.arange(game.players))


def legal_ids(game, state, player):
    return np.flatnonzero(legal_for_all(game, state)[player]).tolist()


def assert_same_state(state, other):
    for name, left, right in zip(state._fields, state, other, strict=True):
        np.testing.assert_array_equal(left, right, err_msg=name)


# --- literal games ---------------------------------------------------------------------------------------------------


def test_the_last_life_costs_the_whole_score(move, deck_of):
    state = SMALL.init_from_deck(deck_of(SMALL, "R1 R2 R3 Y1"))
    state, reward, done = move(SMALL, state, PLAY_0)  # R1
    assert (reward, done, SMALL.score(state)) == (1.0, False, 1)
    state, reward, done = move(SMALL, state, PLAY_1)  # Y1
    assert (reward, done, SMALL.score(state)) == (1.0, False, 2)
    state, reward, done = move(SMALL, state, HINT_3)  # to player 1, who holds R3
    assert (reward, done) == (0.0, False)
    state, reward, done = move(SMALL, state, PLAY_0)  # R3 on R1
    assert (reward, done, SMALL.score(state)) == (-2.0, True, 0)
    assert SMALL.bombed(state)
    assert state.life_tokens == 0
    assert state.fireworks.tolist() == [1, 1]
    assert state.discards.tolist() == [[0, 0, 1], [0, 0, 0]]


def test_a_lost_life_before_the_last_costs_no_points(move, deck_of):
    game = Hanabi(players=2, colors=2, ranks=3, hand_size=2, max_information_tokens=2, max_life_tokens=2)
    state = game.init_from_deck(deck_of(game, "R1 R2 R3 Y1"))
    state, _, _ = move(game, state, PLAY_0)
    state, reward, done = move(game, state, PLAY_0)  # R3 on R1
    assert (reward, done, game.score(state), state.life_tokens) == (0.0, False, 1, 1)
    assert state.information_tokens == 2  # a misplayed card returns no token


def test_a_completed_firework_returns_a_token_but_not_above_the_maximum(move, deck_of):
    game = Hanabi(players=2, colors=2, ranks=2, hand_size=2, max_information_tokens=2, max_life_tokens=1)
    play_0, hint_y = 2, 5
    state = game.init_from_deck(deck_of(game, "R1 R2 Y1 Y2"))
    for action, points, tokens in [(hint_y, 0, 1), (play_0, 1, 1), (play_0, 1, 1)]:
        state, reward, done = move(game, state, action)
        assert (reward, done, state.information_tokens, bool(state.last_token)) == (points, False, tokens, False)
    state, reward, done = move(game, state, play_0)  # Y2 completes yellow
    assert (reward, done, state.information_tokens, bool(state.last_token)) == (1.0, False, 2, True)
    state, reward, done = move(game, state, play_0)  # R2 completes red and the game: no third token
    assert (reward, done, state.information_tokens, bool(state.last_token)) == (1.0, True, 2, False)
    assert game.score(state) == 4


def test_hints_spend_tokens_and_discards_return_them(move, deck_of):
    state = SMALL.init_from_deck(deck_of(SMALL, "R1 R2 R3 Y1"))
    assert legal_ids(SMALL, state, 0) == [PLAY_0, PLAY_1, HINT_R, HINT_Y, HINT_1, HINT_3]  # no discard at two tokens
    state, _, _ = move(SMALL, state, HINT_Y)
    assert state.information_tokens == 1
    state, _, _ = move(SMALL, state, HINT_1)
    assert state.information_tokens == 0
    assert legal_ids(SMALL, state, 0) == [DISCARD_0, DISCARD_1, PLAY_0, PLAY_1]
    state, _, _ = move(SMALL, state, DISCARD_1)
    assert state.information_tokens == 1
    assert state.last_token
    assert state.discards.tolist() == [[0, 1, 0], [0, 0, 0]]


def test_a_hint_says_what_a_card_is_and_what_the_others_are_not(move, deck_of):
    state = SMALL.init_from_deck(deck_of(SMALL, "R1 R2 R3 Y1"))
    state, _, _ = move(SMALL, state, HINT_R)
    hinted = 128
    assert state.color_knowledge.tolist() == [[0b11, 0b11], [hinted | 0b01, 0b10]]
    assert state.last_touched == 0b01
    state, _, _ = move(SMALL, state, HINT_2)
    assert state.rank_knowledge.tolist() == [[0b101, hinted | 0b010], [0b111, 0b111]]
    assert state.last_touched == 0b10
    state, _, _ = move(SMALL, state, PLAY_0)  # the younger card moves down with what is known of it
    assert state.rank_knowledge.tolist() == [[hinted | 0b010, 0b111], [0b111, 0b111]]
    assert state.color_knowledge.tolist() == [[0b11, 0b11], [hinted | 0b01, 0b10]]


def test_a_hint_reaches_the_player_it_names(move, deck_of):
    game = Hanabi(players=4, colors=2, ranks=5, hand_size=2, max_information_tokens=8)
    state = game.init_from_deck(deck_of(game, "R1 R1 R2 R2 Y3 Y3 Y4 Y4"))
    state, _, _ = move(game, state, game.first_rank_hint + 2 * game.ranks + 3)  # player 0 to +3: rank 4
    assert (state.rank_knowledge & 128).astype(bool).tolist() == [[False] * 2] * 3 + [[True] * 2]
    state, _, _ = move(game, state, game.first_color_hint + 2 * game.colors)  # player 1 to +3, player 0: red
    assert (state.color_knowledge & 128).astype(bool).tolist() == [[True] * 2] + [[False] * 2] * 3


@pytest.mark.slow
@pytest.mark.parametrize("players", [2, 3, 4, 5])
def test_after_the_last_card_is_drawn_each_player_has_one_more_turn(move, deck_of, players):
    game = Hanabi(players=players, colors=1, ranks=5, hand_size=1, max_life_tokens=100)
    state = game.init_from_deck(deck_of(game, "R5 R4 R4 R3 R3 R2 R2 R1 R1 R1"))
    movers_at_the_end, drawn_out = [], False
    for turn in range(game.deck_size):
        assert legal_ids(game, state, turn % players) != [game.noop]
        if drawn_out:
            movers_at_the_end.append(int(state.player))
        state, _, done = move(game, state, 1)  # everybody plays the only card
        drawn_out = state.dealt == game.deck_size
        assert done == (turn == game.deck_size - 1)
    assert sorted(movers_at_the_end) == list(range(players))
    assert (state.cards == 255).all()
    assert game.score(state) == 1


def test_a_deck_that_the_deal_uses_up_leaves_one_turn_each(move, deck_of):
    game = make("Hanabi-Very-Small", players=5)
    assert game.deck_size == game.players * game.hand_size
    state = game.init_from_deck(deck_of(game, "R1"))
    state, reward, done = move(game, state, game.hand_size)  # R1
    assert (reward, done) == (1.0, False)
    for player in range(1, 5):
        last = legal_ids(game, state, player)[-1]  # a hint while there are tokens, then a play
        state, _, done = move(game, state, last if player < 4 else 0)
        assert done == (player == 4)
    assert not state.illegal
    assert game.score(state) == 1


# --- the end, and illegal actions ------------------------------------------------------------------------------------


def test_after_the_end_nothing_changes_and_nothing_is_paid(move, deck_of):
    state = SMALL.init_from_deck(deck_of(SMALL, "R2 R1 R3 Y1"))
    state, _, done = move(SMALL, state, PLAY_0)
    assert done
    for player in range(2):
        assert legal_ids(SMALL, state, player) == [NOOP]
    for action in range(SMALL.num_actions):
        after, reward, done = move(SMALL, state, action)
        assert (reward, done) == (0.0, True)
        assert_same_state(after, state)  # nor is anything called illegal


def test_an_illegal_action_plays_nothing_and_is_flagged(move, deck_of):
    start = SMALL.init_from_deck(deck_of(SMALL, "R1 R2 R3 Y1"))
    for action in (DISCARD_0, HINT_2, NOOP, 10, 1000, -1):
        state, reward, done = move(SMALL, start, action)
        assert (reward, done) == (0.0, False)
        assert state.illegal
        assert_same_state(state, start._replace(illegal=state.illegal))
    state, reward, _ = move(SMALL, state, PLAY_0)  # the game can go on, and the flag stays
    assert reward == 1.0
    assert state.illegal


def test_a_player_out_of_turn_may_only_pass(deck_of):
    state = SMALL.init_from_deck(deck_of(SMALL, "R1 R2 R3 Y1"))
    assert legal_ids(SMALL, state, 1) == [NOOP]
    state, reward, _ = jax.jit(SMALL.step)(state, jnp.array([PLAY_0, PLAY_1]), key=jax.random.key(0))
    assert state.illegal
    assert reward == 0.0
    assert state.fireworks.tolist() == [0, 0]


def test_a_hint_without_tokens_tells_nothing(move, deck_of):
    state = SMALL.init_from_deck(deck_of(SMALL, "R1 R2 R3 Y1"))
    for action in (HINT_R, HINT_R):
        state, _, _ = move(SMALL, state, action)
    after, _, _ = move(SMALL, state, HINT_3)
    assert after.illegal
    assert_same_state(after, state._replace(illegal=after.illegal))


@pytest.mark.slow
def test_checked_step_raises_with_the_names_of_the_actions(deck_of):
    state = SMALL.init_from_deck(deck_of(SMALL, "R1 R2 R3 Y1"))
    key = jax.random.key(0)
    message = (
        r"player 0 may not take action 0 \('discard slot 0'\) here; legal for this player: 2 'play slot 0', "
        r"3 'play slot 1', 4 'hint R to player \+1', 5 'hint Y to player \+1', 6 'hint 1 to player \+1', "
        r"8 'hint 3 to player \+1'$"
    )
    with pytest.raises(TacitError, match=message):
        SMALL.checked_step(state, jnp.array([DISCARD_0, NOOP]), key=key)
    with pytest.raises(TacitError, match=r"player 1 may not take action 3 .*; legal for this player: 9 'no-op'$"):
        SMALL.checked_step(state, jnp.array([PLAY_0, PLAY_1]), key=key)
    with pytest.raises(TacitError, match=r"action 77 \(which does not exist\)"):
        SMALL.checked_step(state, jnp.array([77, NOOP]), key=key)
    after, reward, done = SMALL.checked_step(state, jnp.array([PLAY_0, NOOP]), key=key)
    assert (reward, done, after.illegal) == (1.0, False, False)


def test_every_action_has_a_name_of_its_own():
    game = Hanabi(players=3)
    names = [game.action_name(action) for action in range(game.num_actions)]
    assert len(set(names)) == game.num_actions
    assert names[0] == "discard slot 0"
    assert names[9] == "play slot 4"
    assert names[10] == "hint R to player +1"
    assert names[19] == "hint B to player +2"
    assert names[20] == "hint 1 to player +1"
    assert names[29] == "hint 5 to player +2"
    assert names[30] == "no-op"
    assert game.action_name(31) == game.action_name(-1) == "no such action"


# --- dealing ---------------------------------------------------------------------------------------------------------


def test_a_given_deck_is_drawn_in_its_order(move):
    game = Hanabi(players=3, colors=3, ranks=3, hand_size=2, max_life_tokens=100)
    cards = np.repeat(np.arange(9), np.tile(game.copies, 3))
    deck = np.random.default_rng(0).permutation(cards)
    state = game.init_from_deck(deck)
    codes = deck // 3 * 8 + deck % 3
    assert state.cards.tolist() == codes[:6].reshape(3, 2).tolist()  # player 0 gets the first hand
    for drawn in range(6, 12):
        mover = int(state.player)
        state, _, _ = move(game, state, game.hand_size)
        assert state.cards[mover, -1] == codes[drawn]
    assert drawn_deck(game, state).tolist() == deck[:12].tolist()


@pytest.mark.slow
def test_the_deck_is_a_function_of_the_key_alone(random_games):
    game = make("Hanabi-3x3", players=3)
    whole = jax.jit(functools.partial(full_deck, game))
    for eagerness in (0.0, 20.0):  # other games from the same decks
        for key, state, _, _ in random_games(game, 7, 12, [eagerness]):
            deck = np.asarray(whole(key))
            assert sorted(deck.tolist()) == sorted(np.repeat(np.arange(9), np.tile(game.copies, 3)).tolist())
            drawn = drawn_deck(game, state)
            assert len(drawn) >= game.players * game.hand_size
            assert drawn.tolist() == deck[: len(drawn)].tolist()
    decks = {tuple(np.asarray(whole(jax.random.key(seed))).tolist()) for seed in range(20)}
    assert len(decks) == 20


def test_the_shuffle_is_uniform():
    game = Hanabi(players=2, colors=2, ranks=2, hand_size=1)  # decks of 8 cards: 8! / (3! 3!) = 1,120 orders
    count, orders = 40_000, 1120
    keys = jax.vmap(jax.random.key)(jnp.arange(count))
    decks = np.asarray(jax.jit(jax.vmap(functools.partial(full_deck, game)))(keys))
    seen, counts = np.unique(decks, axis=0, return_counts=True)
    assert len(seen) == orders
    statistic = ((counts - count / orders) ** 2).sum() / (count / orders)
    # Chi-square with 1,119 degrees of freedom: mean 1,119, standard deviation 47.
    assert 1119 - 4 * 47 < statistic < 1119 + 4 * 47


def test_a_state_is_small():
    for players in (2, 3, 4, 5):
        state = jax.eval_shape(functools.partial(make(players=players).init, key=jax.random.key(0)))
        assert sum(leaf.size * leaf.dtype.itemsize for leaf in state) <= 256


# --- the contract ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_players_take_turns(move, random_games):
    game = make("Hanabi-3x3", players=3)
    assert (game.cyclic, game.max_acting) == (True, 1)
    acting = jax.jit(lambda state: (*game.acting(state), game.is_acting(state)))
    key, _, actions, _ = random_games(game, 0, 12, [0.0])[0]
    state = game.init(key=key)
    for turn, action in enumerate(actions.tolist()):
        players, valid, is_acting = acting(state)
        assert (players.tolist(), valid.tolist()) == ([turn % 3], [True])
        assert is_acting.tolist() == [turn % 3 == player for player in range(3)]
        state, _, done = move(game, state, action)
    assert done
    _, valid, is_acting = acting(state)
    assert not valid.any()
    assert not is_acting.any()


LONG_GAMES = [
    SMALL,
    Hanabi(players=2, colors=1, ranks=1, hand_size=1, max_information_tokens=0, max_life_tokens=100),
    Hanabi(players=5, colors=1, ranks=5, hand_size=2, max_information_tokens=100, max_life_tokens=100),
    Hanabi(players=3, colors=5, ranks=1, hand_size=2, max_information_tokens=3, max_life_tokens=100),
    Hanabi(players=2, max_life_tokens=100),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "game",
    [*LONG_GAMES[:3], *(pytest.param(game, marks=pytest.mark.proof) for game in LONG_GAMES[3:])],
    ids=range(len(LONG_GAMES)),
)
def test_no_game_is_longer_than_the_horizon(game):
    players = jnp.arange(game.players)

    @jax.jit
    @jax.vmap
    def last_state(key, hints_first):
        """Play so as to go on for long: hint while there are tokens, discard rather than play, lose lives last."""

        def body(state, key):
            ids = jnp.arange(game.num_actions)
            worth = jnp.where(ids >= 2 * game.hand_size, 10.0 * hints_first, jnp.where(ids < game.hand_size, 5.0, 0.0))
            logits = jnp.where(game.legal(state, state.player), worth, -jnp.inf)
            actions = jnp.where(players == state.player, jax.random.categorical(key, logits), game.noop)
            return game.step(state, actions, key=key)[0], None

        keys = jax.random.split(key, game.horizon)
        return jax.lax.scan(body, game.init(key=key), keys)[0]

    ends = last_state(jax.random.split(jax.random.key(0), 32), jnp.arange(32) % 2 == 0)
    assert ends.ended.all()
    assert not ends.illegal.any()


@pytest.mark.slow
def test_rewards_add_up_to_the_score_and_the_score_stays_in_its_range(random_games):
    for game in (make(), make("Hanabi-3x3", players=3)):
        for _, state, _, rewards in random_games(game, 1, 12, [0.0, 3.0, 20.0]):
            assert rewards.sum() == game.score(state)
            low, high = game.score_range
            assert low <= rewards.sum() <= high
            assert game.bombed(state) == (state.life_tokens == 0)


def test_all_arrays_keep_their_types(deck_of):
    state = SMALL.init_from_deck(deck_of(SMALL, "R1 R2 R3 Y1"))
    after, reward, done = jax.eval_shape(
        functools.partial(SMALL.step, key=jax.random.key(0)), state, jnp.zeros(2, jnp.int32)
    )
    for name, before, now in zip(state._fields, state, after, strict=True):
        assert (before.shape, before.dtype) == (now.shape, now.dtype), name
    assert (reward.dtype, done.dtype) == (jnp.float32, jnp.bool_)
    assert SMALL.score(state).dtype == jnp.int32
    for observer in SMALL.observers.values():
        seen = jax.eval_shape(SMALL.observers[observer.name].encode, state, jnp.int32(0))
        assert (seen.shape, seen.dtype) == ((observer.size,), observer.dtype)


# --- boards ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"players": 1}, r"players must be a whole number from 2 to 5 \(HLE seats 2 to 5 players\), not 1"),
        ({"players": 6}, "not 6"),
        ({"colors": 6}, r"colors must be a whole number from 1 to 5 \(HLE has 5 colors\), not 6"),
        ({"ranks": 0}, r"ranks must be a whole number from 1 to 5 \(HLE has 5 ranks\), not 0"),
        ({"hand_size": 9}, r"hand_size must be .* \(HLE keeps what a hint touches in 8 bits\), not 9"),
        ({"max_information_tokens": -1}, r"max_information_tokens must be .* from 0 to 100 \(.*one byte\), not -1"),
        ({"max_life_tokens": 0}, r"max_life_tokens must be .* \(without a life the game is over before it starts\)"),
        ({"ranks": 2.5}, r"not 2\.5"),
        ({"players": True}, "not True"),
        (
            {"players": 5, "colors": 1, "hand_size": 3},
            r"needs 5 x 3 = 15 cards .* 1 color\(s\) x 5 rank\(s\) make a deck of 10, so HLE refuses",
        ),
        ({"default_observer": "x"}, "default_observer must be one of hle, minimal, belief, not 'x'"),
    ],
)
def test_impossible_boards_are_refused_with_the_reason(values, message):
    with pytest.raises(TacitError, match=message):
        Hanabi(**values)


@pytest.mark.parametrize("deck", [[0] * 12, list(range(12)), [0, 0, 0, 1, 1, 2, 3, 3, 3, 4, 4], []])
def test_a_deck_of_another_board_is_refused(deck):
    with pytest.raises(TacitError, match="an order of the 12 cards"):
        SMALL.init_from_deck(np.array(deck, np.int32))


def test_presets():
    assert list(PRESETS) == [
        "Hanabi-Full",
        "Hanabi-Full-Minimal",
        "Hanabi-Small",
        "Hanabi-Very-Small",
        "Hanabi-2x3",
        "Hanabi-2x5",
        "Hanabi-3x3",
        "Hanabi-3x5",
        "Hanabi-4x5",
        "Hanabi-Mini",
    ]
    assert make() == Hanabi() == Hanabi(players=2.0)
    assert [make(players=players).hand_size for players in (2, 3, 4, 5)] == [5, 5, 4, 4]
    assert next(iter(make("Hanabi-Full-Minimal").observers)) == "minimal"
    assert make("Hanabi-Small", players=3) == Hanabi(3, 2, 5, 2, 3, 1)
    assert make("Hanabi-Very-Small") == Hanabi(2, 1, 5, 2, 3, 1)
    assert make("Hanabi-2x3") == Hanabi(2, 2, 3, 2, 4, 2)
    assert make("Hanabi-2x5") == Hanabi(2, 2, 5, 2, 3, 3)
    assert make("Hanabi-3x3") == Hanabi(2, 3, 3, 3, 5, 3)
    assert make("Hanabi-3x5") == Hanabi(2, 3, 5, 3, 5, 3)
    assert make("Hanabi-4x5") == Hanabi(2, 4, 5, 4, 6, 3)
    assert make("Hanabi-Mini") == Hanabi(2, 3, 3, 3, 5, 3, copies=(2, 2, 1))
    for preset in PRESETS:
        for players in (2, 3, 4, 5):
            assert make(preset, players=players).players == players


def test_given_values_replace_those_of_a_preset():
    assert make("Hanabi-Small", colors=3, max_information_tokens=0) == Hanabi(2, 3, 5, 2, 0, 1)
    assert make(players=4, hand_size=3, ranks=4, max_life_tokens=1) == Hanabi(4, 5, 4, 3, 8, 1)
    with pytest.raises(TacitError, match=r"preset must be one of Hanabi-Full, .*Hanabi-3x3, .*, not 'Hanabi-Big'"):
        make("Hanabi-Big")
    with pytest.raises(TacitError, match="must be a whole number"):
        make(colors=7)
    with pytest.raises(TacitError, match="seats 2 to 5 players"):
        make(players=1)


def test_an_observer_that_does_not_exist_is_named():
    with pytest.raises(TacitError, match="game 'hanabi' has no observer 'eyes'; it has hle, minimal, belief"):
        SMALL.observer("eyes")
