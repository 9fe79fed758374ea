"""A relabelled game is the game itself, seen and played through permutations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from games.errors import TacitError
from games.game import Symmetry
from games.hanabi.rules import Hanabi
from games.hanabi.symmetry import of_colors
from games.relabelled import Relabelled, relabelled
from games.tabular.library.lever import make as lever

STEPS = 24


@functools.lru_cache
def board(players):
    return Hanabi(players=players, colors=4, ranks=3, hand_size=2, max_information_tokens=3, max_life_tokens=2)


@functools.lru_cache
def followed(players):
    """Random games in step with the same games of the underlying board: everything that both say at every step."""
    game = board(players)
    through = Relabelled(game)
    seats = jnp.arange(players, dtype=jnp.int32)

    def play(key):
        first, *keys = jax.random.split(key, STEPS + 1)
        state = through.init(key=first)

        def step(carry, key):
            state, inner = carry
            legal = jax.vmap(lambda player: through.legal(state, player))(seats)
            # Out of turn the no-op, in turn one of the legal actions.
            actions = jax.vmap(lambda key, legal: jax.random.categorical(key, jnp.where(legal, 0.0, -jnp.inf)))(
                jax.random.split(key, players), legal
            ).astype(jnp.int32)
            meant = jax.vmap(lambda player, action: jnp.argsort(state.symmetries.actions[player, player])[action])(
                seats, actions
            )
            said = {
                "legal": legal,
                "inner_legal": jax.vmap(lambda player: game.legal(inner, player))(seats),
                "seen": jax.vmap(lambda player: through.observe(state, player, "hle"))(seats),
                "inner_seen": jax.vmap(lambda player: game.observe(inner, player, "hle"))(seats),
                "symmetries": state.symmetries,
            }
            state, reward, done = through.step(state, actions, key=key)
            inner, inner_reward, inner_done = game.step(inner, meant.astype(jnp.int32), key=key)
            said |= {"rewards": (reward, inner_reward), "ends": (done, inner_done, state.illegal, inner.illegal)}
            return (state, inner), said

        return jax.lax.scan(step, (state, state.inner), jnp.stack(keys))[1]

    return jax.tree.map(np.asarray, jax.jit(jax.vmap(play))(jax.random.split(jax.random.key(players), 16)))


@pytest.mark.slow
@pytest.mark.parametrize("players", [3, *(pytest.param(other, marks=pytest.mark.proof) for other in (2, 4, 5))])
def test_it_is_the_underlying_game_under_the_actions_meant(players):
    said = followed(players)
    np.testing.assert_array_equal(*said["rewards"])
    np.testing.assert_array_equal(*said["ends"][:2])
    assert not said["ends"][2].any()
    assert not said["ends"][3].any()
    assert said["rewards"][0].any()
    assert said["ends"][0].any()


@pytest.mark.slow
@pytest.mark.parametrize("players", [3, *(pytest.param(other, marks=pytest.mark.proof) for other in (2, 4, 5))])
def test_every_player_sees_the_image_under_its_own_permutation(players):
    """Permutations of four colors: most are not their own inverses, so an inverse in one place would show."""
    said, game = followed(players), board(players)
    image = said["symmetries"].parameters  # [G, T, P, C]
    assert (np.take_along_axis(image, image, axis=-1) != np.arange(4)).any()
    assert (image == image[:, :1]).all()  # the same throughout a game
    assert (image[:, 0, 0] != image[:, 0, 1]).any()
    assert len(np.unique(image[:, 0].reshape(-1, 4), axis=0)) > 10

    def expected(image, seen, legal, player):
        symmetry = of_colors(game, image)
        return game.observer("hle").symmetry(symmetry, seen), symmetry.on_legal(player, legal)

    over_all = jax.jit(jax.vmap(jax.vmap(jax.vmap(expected)), (0, 0, 0, None)))
    seats = np.broadcast_to(np.arange(players, dtype=np.int32), (STEPS, players))
    seen, legal = over_all(image, said["inner_seen"], said["inner_legal"], seats)
    np.testing.assert_array_equal(said["seen"], seen)
    np.testing.assert_array_equal(said["legal"], legal)
    assert (said["seen"] != said["inner_seen"]).any()


@pytest.mark.slow
def test_a_hint_by_hand():
    """Color 0 is shown to player 0 as 1, and its hint of color 1 touches what player 1 holds of color 0."""
    game = board(2)
    image = jnp.array([1, 2, 3, 0], jnp.int32)
    state = Relabelled(game).init(key=jax.random.key(3))
    own = of_colors(game, image)
    nothing = of_colors(game, jnp.arange(4, dtype=jnp.int32))
    symmetries = jax.tree.map(lambda *leaves: jnp.stack(leaves), own, nothing)
    rest = [0, 0, 1, 1, 2, 3, 3, 4, 4, 5, 6, 6, 7, 7, 8, 9, 9, 10, 10, 11]
    deck = jnp.array([3, 6, 0, 9, *rest])
    inner = game.init_from_deck(deck)  # player 1 holds color 0 and color 3
    state = state._replace(inner=inner, symmetries=symmetries)
    legal = np.asarray(Relabelled(game).legal(state, jnp.int32(0)))
    # discards at the start are not allowed, plays are, then hints of what is seen as colors 1 and 0
    assert np.flatnonzero(legal).tolist() == [2, 3, 4, 5, 8]
    after, _, _ = Relabelled(game).step(state, jnp.array([5, game.noop]), key=jax.random.key(0))
    assert int(after.inner.last_touched) == 0b01
    assert int(after.inner.last_action) == 4  # everybody else hears of color 0
    assert game.action_name(4) == "hint R to player +1"


def test_twice_is_once():
    once = Relabelled(board(2))
    assert relabelled(once) is once
    assert relabelled(board(2)) == once


@pytest.mark.parametrize(
    ("game", "why"),
    [
        (lever(), "game lever draws no symmetries to relabel it by; of tabular games, tacit zsc-table knows them all"),
        (Hanabi(colors=1), "game hanabi has no symmetry but the identity, so there is nothing to relabel"),
    ],
)
def test_a_game_without_symmetries_is_refused(game, why):
    with pytest.raises(TacitError, match=why):
        Relabelled(game)


def test_players_who_swap_cannot_have_a_symmetry_each():
    class Swapped(Hanabi):  # type: ignore[misc]
        def sample_symmetry(self, *, key):
            own = super().sample_symmetry(key=key)
            return Symmetry(own.players[::-1], own.actions, own.parameters)

    with pytest.raises(TacitError, match="of game hanabi permute players: each cannot have one of its own"):
        Relabelled(Swapped())
