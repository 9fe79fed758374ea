"""The permutations of the colors as a group that acts on states, actions, legal moves and observations.

Permutations that are their own inverse would hide a permutation that is applied the wrong way round somewhere, so
these are not.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from games.check import commutes
from games.hanabi import Hanabi, make, symmetry

# Boards with lives enough for random play to build fireworks and to use the deck up.
BOARDS = {
    "2 players 3x3": Hanabi(players=2, colors=3, ranks=3, hand_size=3, max_information_tokens=5, max_life_tokens=30),
    "mini": make("Hanabi-Mini", max_life_tokens=30),
    "3 players 4x2": Hanabi(players=3, colors=4, ranks=2, hand_size=2, max_information_tokens=3, max_life_tokens=30),
    "5 players 5x5": Hanabi(players=5, hand_size=4, max_life_tokens=30),
}


def cycles(colors: int) -> st.SearchStrategy[tuple[int, ...]]:
    """Permutations that are not their own inverse."""
    return st.sampled_from(
        [image for image in itertools.permutations(range(colors)) if any(image[image[c]] != c for c in range(colors))]
    )


def same(left, right):
    """bool[]: all arrays of two trees are equal."""
    return jnp.all(jnp.stack(jax.tree.leaves(jax.tree.map(jnp.array_equal, left, right))))


@functools.partial(jax.jit, static_argnums=0)
def reach(game, seed, steps):
    """The state after so many random legal moves (or the last state)."""
    players = jnp.arange(game.players)

    def body(step, state):
        key = jax.random.fold_in(jax.random.key(seed), step)
        logits = jnp.where(game.legal(state, state.player), 0.0, -jnp.inf)
        actions = jnp.where((players == state.player) & ~state.ended, jax.random.categorical(key, logits), game.noop)
        return game.step(state, actions, key=key)[0]

    return jax.lax.fori_loop(0, steps, body, game.init(key=jax.random.key(seed)))


@functools.partial(jax.jit, static_argnums=0)
def laws(game, state, image, other_image, seed):
    players = jnp.arange(game.players)
    g, h = symmetry.of_colors(game, image), symmetry.of_colors(game, other_image)
    gh = symmetry.of_colors(game, image[other_image])
    identity = symmetry.of_colors(game, jnp.arange(game.colors))
    to_image = jax.vmap(lambda images, ids: images[ids])  # per player
    # One legal step and one of any actions at all, which is nearly always illegal.
    key = jax.random.key(seed)
    legal = jax.vmap(game.legal, (None, 0))(state, players)
    legal_actions = jax.random.categorical(key, jnp.where(legal, 0.0, -jnp.inf), axis=1)
    any_actions = jax.random.randint(key, (game.players,), 0, game.num_actions)
    actions = jnp.stack([legal_actions, any_actions]).astype(jnp.int32)  # [2, P]
    hold = jax.vmap(lambda joint: commutes(game, g, state, joint, key=key))(actions)
    hold = {law: jnp.all(holds) for law, holds in hold.items()}
    hold["the legal step was legal"] = jnp.all(jnp.take_along_axis(legal, legal_actions[:, None], axis=1))
    hold["score"] = game.score(game.apply_symmetry(g, state)) == game.score(state)
    for name, observer in game.observers.items():
        act = jax.vmap(observer.symmetry, (None, 0))
        seen = jax.vmap(observer.encode, (None, 0))(state, players)
        hold[f"observations of {name}: group"] = jnp.array_equal(act(g, act(h, seen)), act(gh, seen))

    hold["states: group"] = same(game.apply_symmetry(g, game.apply_symmetry(h, state)), game.apply_symmetry(gh, state))
    hold["states: identity"] = same(game.apply_symmetry(identity, state), state)
    hold["actions: group"] = jnp.array_equal(to_image(g.actions, h.actions), gh.actions)
    hold["actions: identity"] = jnp.all(identity.actions == jnp.arange(game.num_actions)[None])
    return hold


@pytest.mark.slow
@pytest.mark.parametrize(
    "board", ["2 players 3x3", "mini", "3 players 4x2", pytest.param("5 players 5x5", marks=pytest.mark.proof)]
)
def test_permuted_games_are_the_same_game(board):
    game = BOARDS[board]

    @given(
        image=cycles(game.colors),
        other_image=cycles(game.colors),
        seed=st.integers(0, 2**20),
        steps=st.integers(0, min(game.horizon, 60)),
    )
    def check(image, other_image, seed, steps):
        state = reach(game, seed, steps)
        assert not state.illegal
        hold = laws(game, state, jnp.array(image, jnp.int32), jnp.array(other_image, jnp.int32), seed)
        assert [law for law, holds in jax.device_get(hold).items() if not holds] == []

    check()


def test_a_color_moves_to_its_image():
    game = Hanabi(players=3, colors=3, ranks=2, hand_size=2)
    state = game.init_from_deck(np.repeat(np.arange(6), np.tile(game.copies, 3)))
    cycle = symmetry.of_colors(game, jnp.array([1, 2, 0]))  # R to Y, Y to G, G to R
    moved = jax.jit(game.apply_symmetry)(cycle, state)
    assert (state.cards >> 3).tolist() == [[0, 0], [0, 0], [1, 1]]
    assert (moved.cards >> 3).tolist() == [[1, 1], [1, 1], [2, 2]]
    assert (moved.cards & 7).tolist() == (state.cards & 7).tolist()
    names = [game.action_name(action) for action in cycle.actions[0].tolist()]
    assert names[:4] == [game.action_name(action) for action in range(4)]
    assert names[4:10] == [f"hint {color} to player +{offset}" for offset in (1, 2) for color in "YGR"]
    assert names[10:] == [game.action_name(action) for action in range(10, game.num_actions)]


def test_a_sampled_symmetry_permutes_the_colors_only():
    game = make("Hanabi-3x3")
    sample = jax.jit(lambda key: game.sample_symmetry(key=key))
    images = set()
    for seed in range(40):
        sampled = sample(jax.random.key(seed))
        images.add(tuple(sampled.parameters.tolist()))
        assert sampled.players.tolist() == [0, 1]
        assert sorted(sampled.actions[0].tolist()) == list(range(game.num_actions))
    assert images == set(itertools.permutations(range(3)))
