"""The convention gap: of players whose gap is known, and by hand."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from games.errors import TacitError
from games.hanabi import literal as of_cards
from games.hanabi import make, records
from games.hanabi.literal import chance_of_failure
from games.hanabi.replay import _filled_up, drawn_deck, full_deck
from games.tabular.library.lever import make as lever
from marl.crossplay.record import record_games
from marl.literal import (
    MOST_HINTS,
    Gap,
    Sums,
    _moves_of_records,
    gains,
    gap,
    hints_received,
    moves_of_agents,
    moves_of_records,
)
from marl.partners import partners

GAME = Path(__file__).parents[1] / "games" / "hanabi" / "recorded" / "hanabidata-4037579.json"

BOARDS = {
    "2x3": make("Hanabi-2x3"),
    "3x3, 3 players": make("Hanabi-3x3", players=3),
    "full": make(),
    "full, 4 players": make(players=4),
}


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def recorded_games(game, choose, games, key):
    """Games in which `choose(game, state, key)` is the action of the player to move, as records."""

    def one(key):
        deal_key, play_key = jax.random.split(key)

        def turn(state, key):
            action = choose(game, state, key)
            after, _, _ = game.step(state, records.actions_of_all(game, state, action), key=key)
            return after, (jnp.where(state.ended, game.noop, action), ~state.ended)

        _, (actions, going_on) = jax.lax.scan(turn, game.init(key=deal_key), jax.random.split(play_key, game.horizon))
        return full_deck(game, deal_key), actions, jnp.sum(going_on, dtype=jnp.int32)

    return jax.vmap(one)(jax.random.split(key, games))


def played_by(game, choose, games, seed=0):
    """The plays and discards of recorded games, after a check that all of it is legal."""
    decks, actions, lengths = jax.device_get(recorded_games(game, choose, games, jax.random.key(seed)))
    recorded = records.RecordedGames(game, decks, actions, lengths, np.full(games, -1), ())
    assert records.replay(recorded).refused == []
    return moves_of_records(recorded)


def hints_a_slot(game, state, key, plays=0.3):
    """Plays, discards or hints by chances of public facts; hints a slot of the next player, color or rank by a coin."""
    kind_key, slot_key, coin_key = jax.random.split(key, 3)
    slot = jax.random.randint(slot_key, (), 0, game.hand_size)
    may_hint, may_discard = state.information_tokens > 0, state.information_tokens < game.max_information_tokens
    logits = jnp.log(jnp.array([plays, 0.2 * may_discard, 0.5 * may_hint]))
    kind = jax.random.categorical(kind_key, logits)
    target = state.cards[(state.player + 1) % game.players]
    held = jnp.sum(target != 255, dtype=jnp.int32)
    card = target[slot % jnp.maximum(held, 1)].astype(jnp.int32)
    hint = jnp.where(
        jax.random.bernoulli(coin_key), game.first_color_hint + (card >> 3), game.first_rank_hint + (card & 7)
    )
    return jnp.select([kind == 0, kind == 1], [game.hand_size + slot, slot], hint)


def first_plays_its_best(game, state, key):
    """Player 0 plays its card of the least chance to fail, half of the time; nobody else plays any.

    What it sees of the others' hands decides what it plays, so that a formula without them is not right on average.
    """
    coin_key, other_key = jax.random.split(key)
    slots = jnp.arange(game.hand_size, dtype=jnp.int32)
    ways = jax.vmap(lambda slot: chance_of_failure(game, state, jnp.int32(0), slot))(slots).joint
    best = game.hand_size + jnp.argmin(ways.some).astype(jnp.int32)  # of all cards the ways are equally many
    plays = (state.player == 0) & jax.random.bernoulli(coin_key)
    return jnp.where(plays, best, hints_a_slot(game, state, other_key, plays=0.0))


def plays_what_is_certain(game, state, key):
    """Plays a card that cannot fail if there is one; else hints a slot or discards."""
    slots = jnp.arange(game.hand_size, dtype=jnp.int32)
    player = state.player.astype(jnp.int32)
    ways = jax.vmap(lambda slot: chance_of_failure(game, state, player, slot))(slots).joint
    other = hints_a_slot(game, state, key)
    is_play = (other >= game.hand_size) & (other < game.first_color_hint)
    may_discard = state.information_tokens < game.max_information_tokens
    # Instead of an uncertain play: a discard, or with all tokens a hint of the next player's oldest card.
    target = state.cards[(state.player + 1) % game.players][0].astype(jnp.int32)
    instead = jnp.where(may_discard, other - game.hand_size, game.first_color_hint + (target >> 3))
    return jnp.where(
        jnp.any(ways.some == 0), game.hand_size + jnp.argmin(ways.some), jnp.where(is_play, instead, other)
    ).astype(jnp.int32)


@pytest.mark.slow
@pytest.mark.parametrize("board", BOARDS)
def test_who_plays_what_is_certain_has_gap_0(board):
    found = gap(played_by(BOARDS[board], plays_what_is_certain, 256).plays.over_hints())
    assert (found.gap, found.standard_error, found.failed) == (0.0, 0.0, 0.0)
    assert found.moves > 100


@pytest.mark.slow
@pytest.mark.parametrize(
    ("board", "games"),
    [
        ("2x3", 20_000),
        ("3x3, 3 players", 20_000),
        ("full", 2_000),
        ("full, 4 players", 2_000),
        *(pytest.param(board, 100_000, marks=pytest.mark.proof) for board in ("2x3", "full")),
    ],
)
def test_who_tells_nothing_but_literally_has_gap_0(board, games):
    for sums in played_by(BOARDS[board], hints_a_slot, games, seed=1):
        found = gap(sums.over_hints())
        assert abs(found.gap) < 4 * found.standard_error
        assert 0 < found.standard_error < 0.01
        assert found.failed > 0.01


def without_negative_hints(game, state, player):
    """What is possible if only the hints that touched a card counted."""
    touched = [jnp.where(known >= 128, known, 255) for known in (state.color_knowledge, state.rank_knowledge)]
    return POSSIBLE(game, state._replace(color_knowledge=touched[0], rank_knowledge=touched[1]), player)


def without_discards(game, state, player):
    return UNSEEN(game, state._replace(discards=jnp.zeros_like(state.discards)), player)


def without_another_hand(game, state, player):
    return UNSEEN(game, state._replace(cards=state.cards.at[(player + 1) % game.players].set(255)), player)


POSSIBLE, UNSEEN = of_cards.possible, of_cards.unseen
FORGETFUL = [("possible", without_negative_hints), ("unseen", without_discards), ("unseen", without_another_hand)]


@pytest.mark.slow
def test_who_plays_what_is_literally_best_has_gap_0():
    found = gap(played_by(BOARDS["3x3, 3 players"], first_plays_its_best, 20_000).plays.over_hints())
    assert abs(found.gap) < 4 * found.standard_error


@pytest.mark.slow
@pytest.mark.parametrize(("name", "formula"), FORGETFUL)
def test_a_formula_that_forgets_something_finds_another_gap(monkeypatch, name, formula):
    game = BOARDS["3x3, 3 players"]
    decks, actions, lengths = recorded_games(game, first_plays_its_best, 20_000, jax.random.key(0))
    monkeypatch.setattr(of_cards, name, formula)
    wrong = jax.jit(lambda *of_games: _moves_of_records.__wrapped__(game, *of_games))  # traced with the other formula
    found = gap(jax.device_get(wrong(decks, actions, lengths)).plays.over_hints())
    assert abs(found.gap) > 4 * found.standard_error


def test_the_gap_of_a_published_game():
    plays, discards = moves_of_records(records.read(GAME))
    # The sums of the published chances (tests/games/hanabi/test_hanabi_literal.py) of 16 plays, one of which failed.
    joint, marginal = 2 * 5 / 7 + 0.6 + 5 / 9 + 0.5, 2 * 5 / 7 + 0.6 + 0.5 + 0.5
    found = gap(plays.over_hints())
    assert found.gap == pytest.approx((joint - 1) / 16, abs=1e-6)
    assert found.marginal == pytest.approx((marginal - 1) / 16, abs=1e-6)
    assert (found.failed, found.moves) == (1 / 16, 16)
    assert gap(discards.over_hints()).moves == np.sum(records.read(GAME).actions < 5)
    assert np.isnan(found.standard_error)  # one game


def test_the_gap_and_its_error_by_hand():
    # Games of 1, 3 and 2 plays, which gain 0.5, 0 and 1: the gap is 1.5 / 6, and their residuals
    # 0.5 - 0.25, 0 - 0.75 and 1 - 0.5 have the mean 0 and the variance (1/16 + 9/16 + 4/16) / 2.
    found = gap(Sums(np.array([1, 3, 2]), np.array([0, 1, 0]), np.array([0.5, 1, 1]), np.array([0.5, 1, 1])))
    assert found == Gap(0.25, pytest.approx(np.sqrt(14 / 32) / 2 / np.sqrt(3)), 0.25, pytest.approx(1 / 6), 6)
    with pytest.raises(TacitError, match="there is no such move"):
        gap(Sums(*np.zeros((4, 3))))


def test_games_gain_what_their_cell_does():
    count = np.array([[1, 3], [2, 2], [0, 0]])[..., None]
    joint, failures = np.array([[1, 1], [0.5, 1.5], [0, 0]])[..., None], np.array([[0, 1], [1, 0], [0, 0]])[..., None]
    found = gains(Sums(count, failures, joint, joint))
    # The gaps are 1/4 and 1/4; the first cell's games gain 1 and 0 on 1 and 3 plays, 2 on average.
    np.testing.assert_allclose(found, [[0.25 + 0.75 / 2, 0.25 - 0.75 / 2], [-0.25, 0.75], [np.nan, np.nan]])
    # Of all cells together: 2 gained in 8 moves, and so 0.25 in every one, the empty one included.
    pooled = gains(Sums(count, failures, joint, joint), pooled=True)
    assert pooled.mean() == pytest.approx(2 / 8)
    np.testing.assert_allclose(pooled[2], 0.25)
    for cell in (0, 1):
        of_cell = Sums(*(leaf[cell, :, 0] for leaf in (count, failures, joint, joint)))
        assert found[cell].mean() == gap(of_cell).gap


@pytest.mark.slow
def test_the_moves_of_agents_are_those_of_their_recorded_games():
    game, agents = BOARDS["2x3"], partners(BOARDS["2x3"], ["uniform", "iggi"])
    seatings = np.array([[0, 1], [1, 1]])
    settings = {"games": 8, "greedy": False, "key": jax.random.key(3)}
    found = moves_of_agents(game, agents, seatings, **settings)
    for cell, games in enumerate(record_games(game, agents, seatings, **settings)):
        decks = [_filled_up(game, drawn_deck(game, one.state(one.length)).tolist()) for one in games]
        actions = np.full((8, game.horizon), game.noop, np.int32)
        for row, one in zip(actions, games, strict=True):
            row[: one.length] = one.actions[np.arange(one.length), np.arange(one.length) % 2]
        lengths = np.array([one.length for one in games], np.int32)
        recorded = records.RecordedGames(game, np.array(decks, np.int32), actions, lengths, np.full(8, -1), ())
        assert records.replay(recorded).refused == []
        jax.tree.map(
            lambda one, other, cell=cell: np.testing.assert_allclose(one[cell], other, atol=1e-6),
            found,
            moves_of_records(recorded),
        )
    for sums in found:
        assert sums.moves.shape == (2, 8, MOST_HINTS + 1)
        assert (sums.moves.sum((0, 1))[:3] > 0).all()


def test_hints_are_counted_card_by_card():
    game = BOARDS["2x3"]  # 2 discards, 2 plays, 2 color hints, 3 rank hints
    state = game.init_from_deck([0, 1, 0, 3, 0, 1, 2, 3, 3, 4, 4, 5])  # R1 and R2, R1 and Y1
    counts = jnp.zeros((2, 2), jnp.int32)
    for action, expected in (
        (4, [[0, 0], [1, 0]]),  # red to player 1: its first card
        (4, [[1, 1], [1, 0]]),  # red to player 0: both
        (6, [[1, 1], [2, 1]]),  # rank 1 to player 1: both
        (7, [[1, 2], [2, 1]]),  # rank 2 to player 0: the second
        (2, [[2, 0], [2, 1]]),  # player 0 plays its first card: the second moves down
        (1, [[2, 0], [2, 0]]),  # player 1 discards its second card
    ):
        state, _, _ = game.step(state, records.actions_of_all(game, state, jnp.int32(action)), key=jax.random.key(0))
        counts = hints_received(game, state, counts)
        assert counts.tolist() == expected


def test_other_games_are_refused():
    with pytest.raises(TacitError, match="game lever has no cards to play: the convention gap is of Hanabi"):
        moves_of_agents(lever(), [], np.zeros((1, 2), int), games=1, greedy=True, key=jax.random.key(0))
