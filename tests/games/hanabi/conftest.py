"""Playing games of Hanabi in the tests."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from games.hanabi import Hanabi, HanabiState


@functools.partial(jax.jit, static_argnums=0)
def _step(game, state, actions):
    return game.step(state, actions, key=jax.random.key(0))


@pytest.fixture(scope="session")
def move():
    """move(game, state, action) -> (state, reward, done): `action` by the player to move, the no-op by the others."""

    def play(game: Hanabi, state: HanabiState, action: int) -> tuple[HanabiState, float, bool]:
        actions = np.full(game.players, game.noop, np.int32)
        actions[int(state.player)] = action
        state, reward, done = _step(game, state, actions)
        return state, float(reward), bool(done)

    return play


@pytest.fixture(scope="session")
def deck_of():
    """deck_of(game, "R1 Y2"): a deck that starts with these cards; the others follow in order."""

    def deck(game: Hanabi, names: str) -> np.ndarray:
        first = ["RYGWB".index(color) * game.ranks + int(rank) - 1 for color, rank in names.split()]
        rest = [card for card in range(game.colors * game.ranks) for _ in range(game.copies[card % game.ranks])]
        for card in first:
            rest.remove(card)
        return np.array(first + rest, np.int32)

    return deck


@functools.partial(jax.jit, static_argnums=(0, 2))
def _random_games(game, key, games, eagerness):
    players = jnp.arange(game.players, dtype=jnp.int32)
    is_play = (jnp.arange(game.num_actions) >= game.hand_size) & (jnp.arange(game.num_actions) < 2 * game.hand_size)

    def one(key, eagerness):
        deal_key, play_key = jax.random.split(key)

        def body(state, key):
            hand = state.cards[state.player]
            fits = (state.fireworks[jnp.minimum(hand >> 3, game.colors - 1)] == (hand & 7)) & (hand != 255)
            fitting = jnp.zeros(game.num_actions, bool).at[game.hand_size : 2 * game.hand_size].set(fits)
            logits = jnp.where(is_play, jnp.where(fitting, eagerness, -eagerness), 0.0)
            logits = jnp.where(game.legal(state, state.player), logits, -jnp.inf)
            action = jax.random.categorical(key, logits).astype(jnp.int32)
            actions = jnp.where(players == state.player, action, game.noop)
            after, reward, _ = game.step(state, actions, key=key)
            return after, (action, reward, state.ended)

        state, (actions, rewards, over) = jax.lax.scan(
            body, game.init(key=deal_key), jax.random.split(play_key, game.horizon)
        )
        return deal_key, state, actions, rewards, jnp.sum(~over)

    return jax.vmap(one)(jax.random.split(key, games), eagerness)


@pytest.fixture(scope="session")
def random_games():
    """random_games(game, seed, games, eagerness) -> [(deal key, last state, actions, rewards), ...], all legal.

    Eagerness 0 plays at random; a large one cheats: it plays the cards that fit and no others.
    """

    def play(game: Hanabi, seed: int, games: int, eagerness: list[float]) -> list:
        batch = jnp.asarray(np.resize(eagerness, games), jnp.float32)
        keys, states, actions, rewards, lengths = _random_games(game, jax.random.key(seed), games, batch)
        states, actions, rewards, lengths = jax.device_get((states, actions, rewards, lengths))
        return [
            (keys[n], jax.tree.map(lambda x, n=n: x[n], states), actions[n, : lengths[n]], rewards[n, : lengths[n]])
            for n in range(games)
        ]

    return play
