"""The simulated game of overlapping edits pays what the tabular one does, and its symmetries are symmetries."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.configuration.config import build_game
from games.check import commutes
from games.errors import TacitError
from games.overlapping_edits import EditsState, OverlappingEdits
from games.tabular.library import overlapping_edits as tabular

OFF = jnp.zeros((), jnp.bool_)


def rewards(game, features, actions):
    """float[N] for int[N, agents] both."""

    def one(features, actions):
        state = EditsState(features, OFF, OFF)
        state, reward, done = game.step(state, actions, key=jax.random.key(0))
        return jnp.where(done & ~state.illegal, reward, jnp.nan)

    return np.asarray(jax.jit(jax.vmap(one))(jnp.asarray(features, jnp.int32), jnp.asarray(actions, jnp.int32)))


@pytest.mark.parametrize(("agents", "slots"), [(2, 3), (3, 4), pytest.param(4, 4, marks=pytest.mark.proof)])
def test_pays_what_the_tables_say(agents, slots):
    problem = tabular.problem(agents, slots)
    cases = [
        (list(map(int, state.split("-"))), joint)
        for state, joint in itertools.product(problem.states, itertools.product(range(slots), repeat=agents))
    ]
    paid = rewards(OverlappingEdits(agents, slots), *zip(*cases, strict=True))
    np.testing.assert_array_equal(paid, problem.expected_reward.T.reshape(-1))


def test_deals_are_different_features():
    game = OverlappingEdits(5, 6)
    deals = jax.jit(jax.vmap(lambda key: game.init(key=key).features))(jax.random.split(jax.random.key(0), 600))
    assert all(len(set(deal)) == 5 for deal in np.asarray(deals).tolist())
    counts = np.bincount(np.asarray(deals)[:, 0], minlength=6)
    assert counts.min() > 60  # 100 each, with a standard deviation of 9


@pytest.mark.slow
def test_symmetries():
    game = OverlappingEdits(3, 5)
    keys = jax.random.split(jax.random.key(1), 300)

    def one(key):
        deal, symmetry, act = jax.random.split(key, 3)
        symmetry = game.sample_symmetry(key=symmetry)
        state = game.init(key=deal)
        near = (state.features + jax.random.randint(act, (3,), 0, 2, jnp.int32)) % 5  # where features fit
        hold = commutes(game, symmetry, state, near, key=act)
        return game.step(state, near, key=act)[1], hold, symmetry.parameters[0]

    paid, hold, images = jax.device_get(jax.jit(jax.vmap(one))(keys))
    assert 0 < paid.mean() < 1
    assert {law for law, holds in hold.items() if not holds.all()} == set()
    assert len({tuple(row) for row in images.tolist()}) == 10  # the dihedral group of five


def test_the_configuration_builds_it():
    assert (
        build_game({"_target_": "games.overlapping_edits.OverlappingEdits", "agents": 6, "slots": 8}).num_players == 6
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((1, 4), "agents must be a whole number of at least 2"),
        ((2, 2), "slots must be a whole number of at least 3"),
        ((5, 4), "at least as many slots"),
    ],
)
def test_bad_sizes(arguments, says):
    with pytest.raises(TacitError, match=says):
        OverlappingEdits(*arguments)
