"""What a learner's state is worth: no recompiling, equal bits, seeds that do not touch each other, resuming, counts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from games import hanabi
from marl.learners.ippo import IPPO, Hyperparameters
from marl.policies.feed_forward import FeedForward

GAME = hanabi.make("Hanabi-2x3")
POLICY = FeedForward(GAME.observer("hle").size, GAME.num_actions, torso=(16,))
LEARNERS = {
    batch: IPPO(
        game=GAME, policy=POLICY, observer="hle", num_games=6, rollout_length=8, epochs=2, minibatches=2,
        total_updates=20, batch=batch, anneal="cosine",
    )
    for batch in ("acting", "all")
}  # fmt: skip
LEARNER = LEARNERS["acting"]
TRACED = []


@functools.cache
def init(batch="acting"):
    return jax.jit(lambda numbers, key: LEARNERS[batch].init(numbers, key=key))


@functools.cache
def updates(batch="acting"):
    def run(state, count):
        TRACED.append(batch)
        return LEARNERS[batch].updates(state, count)

    return jax.jit(run)


@functools.cache
def batched_updates():
    """As a job trains its runs: seeds and coefficients in one batch, here of four."""
    return jax.jit(jax.vmap(LEARNER.updates, in_axes=(0, None)))


def numbers(**changes):
    return Hyperparameters(*map(jnp.float32, Hyperparameters(**{"learning_rate": 3e-3} | changes)))


def new(seed, batch="acting", **changes):
    return init(batch)(numbers(**changes), jax.random.key(seed))


def stack(*states):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)


def row(tree, number):
    return jax.tree.map(lambda leaf: leaf[number], tree)


def to_numpy(tree):
    def plain(leaf):
        return np.asarray(jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf)

    return jax.tree.map(plain, tree)


def assert_same_bits(first, second):
    def same(path, one, other):
        assert one.dtype == other.dtype, jax.tree_util.keystr(path)
        np.testing.assert_array_equal(one, other, err_msg=jax.tree_util.keystr(path))

    jax.tree_util.tree_map_with_path(same, to_numpy(first), to_numpy(second))


def largest_difference(first, second):
    differences = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), to_numpy(first.params), to_numpy(second.params))
    return max(jax.tree.leaves(differences))


# ---------------------------------------------------------------------------------------------------- one compilation


@pytest.mark.parametrize("batch", ["acting", "all"])
def test_one_program_for_all_counts_and_numbers(batch):
    run = updates(batch)
    for count, changes in [
        (1, {}),
        (3, {"learning_rate": 1e-2}),
        (2, {"entropy_coef": 0.5}),
        (5, {"gamma": 0.9, "gae_lambda": 0.3, "clip": 0.1, "value_coef": 1.0, "max_grad_norm": 3.0}),
    ]:
        state, metrics = run(new(0, batch, **changes), jnp.int32(count))
        assert state.updates == count
        assert np.isfinite(jax.tree.leaves(metrics.means)).all()
    assert run._cache_size() == 1
    assert init(batch)._cache_size() == 1
    assert TRACED.count(batch) == 1  # a jitted function's Python body runs when it is traced


@pytest.mark.parametrize("batch", ["acting", "all"])
def test_the_first_ratio_is_one(batch):
    """The learner evaluates the policy as the rollout did, after as many updates as one likes."""
    state = new(1, batch, learning_rate=1e-2)
    for _ in range(3):
        before = state
        state, metrics = updates(batch)(state, jnp.int32(4))
        assert 0 <= metrics.maxima["first_ratio_error"] < 1e-5
        assert metrics.means["approx_kl"] > 1e-6  # and then it moved
        assert largest_difference(before, state) > 1e-3


# --------------------------------------------------------------------------------------------------------- equal bits


def test_the_same_seed_gives_the_same_bits():
    first = updates()(new(3), jnp.int32(6))
    again = updates()(new(3), jnp.int32(6))
    assert_same_bits(first, again)
    other = updates()(new(4), jnp.int32(6))
    assert largest_difference(first[0], other[0]) > 1e-3


def test_many_updates_are_one_after_the_other():
    """Equal bits were seen (jax 0.10.2, CPU); the tolerance leaves room for another fusion of the same sums."""
    together, total = updates()(new(5), jnp.int32(4))
    update, state, parts = jax.jit(LEARNER.update), new(5), []
    for _ in range(4):
        state, metrics = update(state)
        parts.append(metrics)
    assert update._cache_size() == 1
    assert largest_difference(together, state) <= 1e-5
    assert_same_bits(together.playing, state.playing)
    assert_same_bits((together.key, together.updates), (state.key, state.updates))
    parts = to_numpy(stack(*parts))
    for name, values in parts.means.items():
        assert float(total.means[name]) == pytest.approx(values.mean(), rel=1e-4, abs=1e-6), name
    for name, values in parts.maxima.items():
        assert float(total.maxima[name]) == pytest.approx(values.max(), abs=1e-6), name
    for name, values in parts.episodes._asdict().items():
        assert getattr(total.episodes, name) == values.sum(), name


def test_a_resumed_run_is_the_uninterrupted_one():
    whole, _ = updates()(new(6), jnp.int32(7))
    state, _ = updates()(new(6), jnp.int32(3))
    saved = to_numpy(state)  # plain numpy arrays, as in a file
    assert all(type(leaf) is np.ndarray for leaf in jax.tree.leaves(saved))
    restored = jax.tree.map(jnp.asarray, saved)
    restored = restored._replace(key=jax.random.wrap_key_data(restored.key))
    assert_same_bits(state, restored)
    resumed, _ = updates()(restored, jnp.int32(4))
    assert_same_bits(whole, resumed)


@pytest.mark.parametrize("batch", ["acting", "all"])
def test_double_precision_elsewhere_changes_nothing(batch):
    """Every array names its dtype: the same bits before, inside and after a context of double precision."""

    learner = LEARNERS[batch]

    @jax.jit
    def train(key, count):
        return learner.updates(learner.init(Hyperparameters(learning_rate=3e-3), key=key), count)

    before = train(jax.random.key(8), jnp.int32(5))
    with jax.enable_x64(True):
        assert (jnp.ones(3) / 3).dtype == jnp.float64
        inside = train(jax.random.key(8), jnp.int32(5))
    assert train._cache_size() == 2  # it was traced again
    after = train(jax.random.key(8), jnp.int32(5))
    assert_same_bits(before, inside)
    assert_same_bits(before, after)


# -------------------------------------------------------------------------------------------------------- many seeds


def test_a_seed_alone_and_beside_others():
    """A batch of seeds is another program: matrix products of another shape may sum in another order.

    Seen (jax 0.10.2, CPU): the parameters differ by 3e-8 after 3 updates and by 4e-8 after 20, and the games are the
    same. Once a draw fell between two roundings they would part, so that this is no promise over a whole training.
    """
    alone, own = updates()(new(10), jnp.int32(3))
    beside, metrics = batched_updates()(stack(*map(new, (10, 11, 12, 13))), jnp.int32(3))
    assert largest_difference(alone, row(beside, 0)) <= 1e-5
    assert_same_bits(alone.playing, row(beside.playing, 0))
    assert_same_bits(own.episodes, row(metrics.episodes, 0))


def test_a_seed_does_not_see_the_seeds_beside_it():
    """In programs of one shape a seed's bits do not depend on its neighbours, nor on its place."""
    first = batched_updates()(stack(*map(new, (10, 11, 12, 13))), jnp.int32(4))
    other = batched_updates()(
        stack(new(14), new(15, entropy_coef=1.0, learning_rate=0.1), new(10), new(16)), jnp.int32(4)
    )
    assert_same_bits(row(first, 0), row(other, 2))
    assert largest_difference(row(first[0], 1), row(other[0], 1)) > 1e-3


def test_coefficients_times_seeds():
    run = batched_updates()
    states = [new(seed, entropy_coef=coefficient, learning_rate=0.05) for coefficient in (0.0, 3.0) for seed in (0, 1)]
    states, _ = run(stack(*states), jnp.int32(15))
    states, metrics = run(states, jnp.int32(5))
    assert run._cache_size() == 1
    entropy = np.asarray(metrics.means["entropy"])
    assert entropy.shape == (4,)
    assert entropy[:2].max() < entropy[2:].min() - 0.1
    assert (states.hyperparameters.entropy_coef == jnp.array([0.0, 0.0, 3.0, 3.0], jnp.float32)).all()
    assert len(set(entropy.tolist())) == 4


# ------------------------------------------------------------------------------------------------------------- counts


@pytest.mark.parametrize("batch", ["acting", "all"])
def test_only_whole_games_are_counted(batch):
    """What was played is what ended and what goes on: steps and rewards are conserved between the two."""
    state, steps, ended = new(20, batch), 0, 0
    for count in (1, 2, 1, 6):
        before = state.playing
        state, metrics = updates(batch)(state, jnp.int32(count))
        episodes = metrics.episodes
        played = count * LEARNERS[batch].steps_per_update
        assert episodes.length_sum == played + before.lengths.sum() - state.playing.lengths.sum()
        assert (state.playing.lengths >= 0).all()
        assert 0 <= episodes.bombed <= episodes.count
        # Hanabi-2x3 ends after 2 to 26 steps, with 0 to 6 points.
        assert episodes.count * 2 <= episodes.length_sum <= episodes.count * GAME.horizon
        assert 0 <= episodes.return_sum <= 6 * (episodes.count - episodes.bombed)
        # points of the games that go on stand in their states, and in nothing else
        points = state.playing.states.fireworks.astype(jnp.int32).sum(axis=1)
        np.testing.assert_array_equal(state.playing.returns, points)
        steps, ended = steps + played, ended + int(episodes.count)
    assert ended >= 10
