"""Exact beliefs against decks gone through one by one, and against games replayed with another hand."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from games.errors import TacitError
from games.hanabi.beliefs import HandBelief
from games.hanabi.cards import EMPTY
from games.hanabi.rules import Hanabi
from games.tabular.library.lever import make as lever

pytestmark = pytest.mark.slow

BOARDS = {
    2: Hanabi(players=2, colors=2, ranks=3, hand_size=2, max_information_tokens=3, max_life_tokens=3),
    3: Hanabi(players=3, colors=2, ranks=3, hand_size=2, max_information_tokens=3, max_life_tokens=3),
    "copies": Hanabi(2, colors=2, ranks=3, hand_size=2, max_information_tokens=3, max_life_tokens=3, copies=(1, 3, 2)),
}
STEPS = 14


def policy(game, seed):
    """Sharp log-probabilities that are some function of observation and legal actions."""
    size = game.observer("hle").size
    matrix = jax.random.normal(jax.random.key(seed), (size, game.num_actions), jnp.float32)

    def log_probs(state, player):
        logits = game.observe(state, player, "hle").astype(jnp.float32) @ matrix
        return jax.nn.log_softmax(jnp.where(game.legal(state, player), logits, -jnp.inf))

    return log_probs


@functools.lru_cache
def history(board):
    """One game: the states before each step, the actions, everybody's log-likelihoods before each step, as numpy."""
    game, act = BOARDS[board], policy(BOARDS[board], 1)
    belief, players = HandBelief(game), game.players

    def step(carry, key):
        state, heard = carry
        mover = game.acting(state)[0][0]
        action = jax.random.categorical(key, act(state, mover)).astype(jnp.int32)
        actions = jnp.where(jnp.arange(players) == mover, action, game.noop)

        def listen(listener, own):
            told = belief.after_others_action(state, listener, own, lambda other: act(other, mover)[action])
            return jnp.where(listener == mover, belief.after_own_action(state, listener, action, own), told)

        after, _, _ = game.step(state, actions, key=key)
        new = jax.vmap(listen)(jnp.arange(players, dtype=jnp.int32), heard)
        return (after, new), (state, action, heard)

    def play(key):
        nothing = jnp.zeros((players, belief.num_hands), jnp.float32)
        return jax.lax.scan(step, (game.init(key=key), nothing), jax.random.split(key, STEPS))[1]

    return jax.tree.map(np.asarray, jax.jit(play)(jax.random.key(players + 4)))


def at(tree, t):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[t]), tree)


def going_on(states):
    return [t for t in range(STEPS) if not states.ended[t]]


def kind(game, byte):
    return int(byte >> 3) * game.ranks + int(byte & 7)


def hand_number(game, kinds):
    return int(functools.reduce(lambda number, one: number * game.colors * game.ranks + one, kinds, 0))


def unseen(game, state, player):
    """The kinds of all cards that a player does not see, sorted, as a list."""
    others = [card for seat in range(game.players) if seat != player for card in state.cards[seat] if card != EMPTY]
    left = np.repeat(np.arange(game.colors * game.ranks), np.tile(game.copies, game.colors)).tolist()
    for card in others:
        left.remove(kind(game, card))
    for color, height in enumerate(state.fireworks):
        for rank in range(height):
            left.remove(color * game.ranks + rank)
    for (color, rank), copies in np.ndenumerate(state.discards):
        for _ in range(copies):
            left.remove(color * game.ranks + rank)
    return left


@pytest.mark.parametrize("board", BOARDS)
def test_the_grounded_belief_counts_the_ways_to_deal_each_hand(board):
    game, (states, _, _) = BOARDS[board], history(board)
    belief, players = HandBelief(game), game.players
    weights = jax.jit(jax.vmap(belief.weights, (0, None)), static_argnums=1)
    empty_slots = 0
    for player in range(players):
        found = np.asarray(weights(jax.tree.map(jnp.asarray, states), player))
        for t in going_on(states):
            state = jax.tree.map(lambda leaf, t=t: leaf[t], states)
            cards = [card for card in state.cards[player] if card != EMPTY]
            empty_slots += game.hand_size - len(cards)
            expected = np.zeros(belief.num_hands)
            for hand in itertools.permutations(unseen(game, state, player), len(cards)):
                fits = all(
                    state.color_knowledge[player, slot] >> (one // game.ranks) & 1
                    and state.rank_knowledge[player, slot] >> (one % game.ranks) & 1
                    for slot, one in enumerate(hand)
                )
                expected[hand_number(game, [*hand, *[0] * (game.hand_size - len(cards))])] += fits
            np.testing.assert_array_equal(found[t], expected)
            true = [kind(game, card) for card in cards] + [0] * (game.hand_size - len(cards))
            assert expected[hand_number(game, true)] > 0
    assert empty_slots or players == 2  # that game ends before the deck is empty


@pytest.mark.parametrize("board", BOARDS)
def test_log_likelihoods_are_those_of_the_game_replayed_with_another_hand(board):
    """For every hand that fits: the same actions from a deck in which the player was dealt it all along."""
    game, act, (states, actions, heard) = BOARDS[board], policy(BOARDS[board], 1), history(board)
    belief, players = HandBelief(game), game.players

    @jax.jit
    def replayed(deck, player, t):
        def step(carry, numbered):
            (state, total), (number, action) = carry, numbered
            mover = game.acting(state)[0][0]
            total = total + jnp.where((mover == player) | (number >= t), 0.0, act(state, mover)[action])
            state, _, _ = game.step(state, jnp.where(jnp.arange(players) == mover, action, game.noop), key=KEY)
            return (state, total), None

        numbered = jnp.arange(STEPS), jnp.asarray(actions)
        return jax.lax.scan(step, (game.init_from_deck(deck), jnp.float32(0)), numbered)[0][1]

    compared = 0
    for t, player in itertools.product((3, 6, going_on(states)[-1]), range(players)):
        now = jax.tree.map(lambda leaf, t=t: leaf[t], states)
        dealt_to, deck = dealing(game, states, actions, t)
        held = [place for place, seat in dealt_to if seat == player]  # still in the hand, oldest first
        weights = np.asarray(belief.weights(at(states, t), jnp.int32(player)))
        for hand in np.flatnonzero(weights)[::2]:
            mine = np.unravel_index(hand, [game.colors * game.ranks] * game.hand_size)[: len(held)]
            rest = unseen(game, now, player)
            for one in mine:
                rest.remove(one)
            other = list(deck)
            for place, one in zip(held, mine, strict=True):
                other[place] = one
            other[int(now.dealt) :] = rest
            expected = float(replayed(jnp.array(other, jnp.int32), player, t))
            np.testing.assert_allclose(heard[t, player, hand], expected, rtol=2e-5, atol=1e-4)
            compared += 1
        assert len(np.unique(heard[t, player])) > 1
    assert compared > 20


def dealing(game, states, actions, t):
    """Where in the deck the cards lie that are in hands at step t, with the player, and the cards dealt so far."""
    cards = [kind(game, card) for card in states.deck[t][: int(states.dealt[t])]]
    hands = [list(range(seat * game.hand_size, (seat + 1) * game.hand_size)) for seat in range(game.players)]
    for step in range(t):
        if actions[step] < 2 * game.hand_size:
            mover = step % game.players
            del hands[mover][actions[step] % game.hand_size]
            if states.dealt[step + 1] > states.dealt[step]:
                hands[mover].append(int(states.dealt[step]))
    return [(place, seat) for seat, hand in enumerate(hands) for place in hand], cards


KEY = jax.random.key(0)


def test_a_drawn_state_keeps_what_the_player_sees():
    game, (states, _, heard) = BOARDS[3], history(3)
    belief = HandBelief(game)
    t, player = going_on(states)[4], 1
    state, own = at(states, t), jnp.asarray(heard[t, player])
    drawn = jax.jit(jax.vmap(lambda key: belief.resampled(state, jnp.int32(player), own, key=key)))(
        jax.random.split(KEY, 4000)
    )
    for name in set(state._fields) - {"cards", "deck", "deck_key", "deck_given"}:
        same = np.broadcast_to(getattr(state, name), getattr(drawn, name).shape)
        np.testing.assert_array_equal(getattr(drawn, name), same, err_msg=name)
    others = [seat for seat in range(3) if seat != player]
    assert (np.asarray(drawn.cards)[:, others] == np.asarray(state.cards)[others]).all()
    # All cards are there, hand and deck together.
    expected = unseen(game, jax.tree.map(np.asarray, state), player)
    for row in range(50):
        hand = [kind(game, card) for card in np.asarray(drawn.cards)[row, player]]
        deck = [kind(game, card) for card in np.asarray(drawn.deck)[row, int(state.dealt) :]]
        assert sorted(hand + deck) == expected
    # Hands come as often as they should.
    hands = [hand_number(game, [kind(game, card) for card in row]) for row in np.asarray(drawn.cards)[:, player]]
    weights = np.asarray(belief.weights(state, jnp.int32(player))) * np.exp(np.asarray(own, np.float64) - own.max())
    shares = weights / weights.sum()
    counts = np.bincount(hands, minlength=belief.num_hands)
    errors = np.sqrt(4000 * shares * (1 - shares)) + 1e-9
    assert (np.abs(counts - 4000 * shares) < 4.5 * errors + 1e-6).all()
    assert (counts > 0).sum() > 2
    # The next card is any of those left.
    seen = jax.vmap(lambda one: game.draw(one.deck, one.deck_key, one.dealt, one.deck_given)[1])(drawn)
    assert len(np.unique(seen)) == len(np.unique(np.asarray(drawn.deck)[:, int(state.dealt) :]))


@pytest.mark.parametrize("players", [2, 3])
def test_only_a_card_that_leaves_the_hand_moves_what_is_known_of_it(players):
    game, (states, _, _) = BOARDS[players], history(players)
    belief, state, player = HandBelief(game), at(states, 3), jnp.int32(1)
    known = jnp.arange(belief.num_hands, dtype=jnp.float32)  # all different
    moved = jax.jit(jax.vmap(lambda action: belief.after_own_action(state, player, action, known)))
    told = np.asarray(moved(jnp.arange(game.num_actions, dtype=jnp.int32)))
    hand = [kind(game, card) for card in np.asarray(state.cards)[1]]
    kinds = game.colors * game.ranks
    for action in range(game.num_actions):
        for second, newest in itertools.product(range(kinds), repeat=2):
            # One of two cards has left: the other is the first now, and nothing is known of the second.
            before = {0: (hand[0], second), 1: (second, hand[1])}[action % 2] if action < 4 else (second, newest)
            assert told[action, hand_number(game, [second, newest])] == known[hand_number(game, before)], action


def test_what_has_no_exact_belief_is_refused():
    with pytest.raises(TacitError, match="game lever has no belief: exact beliefs are of Hanabi's small boards"):
        HandBelief(lever())
    with pytest.raises(TacitError, match=r"at most 4,096, and this one has 25\^5 = 9,765,625"):
        HandBelief(Hanabi())
