"""What a learner's state is worth: no recompiling, equal bits, seeds that do not touch each other, resuming, counts."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from games import hanabi
from games.game import Game, Layout, Observer
from games.hanabi import Hanabi
from marl.learners.ippo import IPPO, Hyperparameters
from marl.learners.learner import NEVER, zero_metrics
from marl.learners.learner import updates as run_updates
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
def program(batch="acting"):
    def run(state, metrics, count):
        TRACED.append(batch)
        return run_updates(LEARNERS[batch], state, metrics, count)

    return jax.jit(run)


def updates(state, count, batch="acting", metrics=None):
    return program(batch)(state, nothing(batch) if metrics is None else metrics, jnp.int32(count))


@functools.cache
def nothing(batch="acting"):
    return zero_metrics(LEARNER, new(0)) if batch == "acting" else nothing()


@functools.cache
def batched_program():
    """As a job trains its runs: seeds and coefficients in one batch, here of four."""
    return jax.jit(jax.vmap(functools.partial(run_updates, LEARNER), in_axes=(0, 0, None)))


def batched_updates(states, count):
    return batched_program()(states, stack(*[nothing()] * 4), jnp.int32(count))


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


@pytest.mark.slow
@pytest.mark.parametrize("batch", ["acting", "all"])
def test_one_program_for_all_counts_and_numbers(batch):
    for count, changes in [
        (1, {}),
        (3, {"learning_rate": 1e-2}),
        (2, {"entropy_coef": 0.5}),
        (5, {"gamma": 0.9, "gae_lambda": 0.3, "clip": 0.1, "value_coef": 1.0, "max_grad_norm": 3.0}),
    ]:
        state, metrics = updates(new(0, batch, **changes), count, batch)
        assert state.updates == count
        assert np.isfinite(jax.tree.leaves(metrics.means)).all()
    assert program(batch)._cache_size() == 1
    assert init(batch)._cache_size() == 1
    assert TRACED.count(batch) == 1  # a jitted function's Python body runs when it is traced


@pytest.mark.slow
@pytest.mark.parametrize("batch", ["acting", "all"])
def test_the_first_ratio_is_one(batch):
    """The learner evaluates the policy as the rollout did, after as many updates as one likes."""
    state = new(1, batch, learning_rate=1e-2)
    for _ in range(3):
        before = state
        state, metrics = updates(state, 4, batch)
        assert 0 <= metrics.maxima["first_ratio_error"] < 1e-5
        assert metrics.means["approx_kl"] > 1e-6  # and then it moved
        assert largest_difference(before, state) > 1e-3


# --------------------------------------------------------------------------------------------------------- equal bits


def test_the_same_seed_gives_the_same_bits():
    first = updates(new(3), 6)
    again = updates(new(3), 6)
    assert_same_bits(first, again)
    other = updates(new(4), 6)
    assert largest_difference(first[0], other[0]) > 1e-3


def test_many_updates_are_one_after_the_other():
    together, total = updates(new(5), 4)
    state, parts = new(5), []
    for _ in range(4):
        state, metrics = updates(state, 1)
        parts.append(to_numpy(metrics))
    assert_same_bits(together, state)
    for name, values in total.means.items():
        assert float(values) == pytest.approx(np.mean([part.means[name] for part in parts]), rel=1e-4, abs=1e-6), name
    for name, values in total.maxima.items():
        assert values == max(part.maxima[name] for part in parts), name
    for name, values in total.episodes._asdict().items():
        assert values == sum(getattr(part.episodes, name) for part in parts), name


@pytest.mark.proof
def test_many_updates_are_as_many_calls_of_update():
    """Equal bits were seen (jax 0.10.2, CPU); the tolerance leaves room for another fusion of the same sums."""
    together, _ = updates(new(5), 4)
    update, state = jax.jit(LEARNER.update), new(5)
    for _ in range(4):
        state, _ = update(state)
    assert update._cache_size() == 1
    assert largest_difference(together, state) <= 1e-5
    assert_same_bits(together.playing, state.playing)
    assert_same_bits((together.key, together.updates), (state.key, state.updates))


def test_a_resumed_run_is_the_uninterrupted_one():
    whole, _ = updates(new(6), 7)
    state, _ = updates(new(6), 3)
    saved = to_numpy(state)  # plain numpy arrays, as in a file
    assert all(type(leaf) is np.ndarray for leaf in jax.tree.leaves(saved))
    restored = jax.tree.map(jnp.asarray, saved)
    restored = restored._replace(key=jax.random.wrap_key_data(restored.key))
    assert_same_bits(state, restored)
    resumed, _ = updates(restored, 4)
    assert_same_bits(whole, resumed)


@pytest.mark.parametrize("batch", ["acting", "all"])
@pytest.mark.parametrize("cut", [(7,), (3, 4), (1, 1, 1, 1, 1, 1, 1), (0, 5, 0, 2)])
def test_cutting_updates_into_calls_changes_no_bit(batch, cut):
    """Neither of the state nor of the metrics, which every call adds to."""
    whole = updates(new(7, batch), 7, batch)
    assert whole[1].updates == 7
    state, metrics = new(7, batch), None
    for count in cut:
        before = metrics
        state, metrics = updates(state, count, batch, metrics)
        if count == 0:
            assert_same_bits(metrics, nothing(batch) if before is None else before)
    assert_same_bits(whole, (state, metrics))


@pytest.mark.slow
@pytest.mark.parametrize("batch", [pytest.param("acting", marks=pytest.mark.proof), "all"])
def test_double_precision_elsewhere_changes_nothing(batch):
    """Every array names its dtype: the same bits before, inside and after a context of double precision."""
    learner = LEARNERS[batch]

    def train(init, run):
        state = init(numbers(), jax.random.key(8))
        return run(state, nothing(batch), jnp.int32(5))

    before = train(init(batch), program(batch))
    with jax.enable_x64(True):
        assert (jnp.ones(3) / 3).dtype == jnp.float64
        # Programs of their own, which are traced here and now.
        inside = train(
            jax.jit(lambda numbers, key: learner.init(numbers, key=key)),
            jax.jit(functools.partial(run_updates, learner)),
        )
    after = train(init(batch), program(batch))
    assert_same_bits(before, inside)
    assert_same_bits(before, after)


# -------------------------------------------------------------------------------------------------------- many seeds


@pytest.mark.slow
def test_a_seed_alone_and_beside_others():
    """A batch of seeds is another program: matrix products of another shape may sum in another order.

    Seen (jax 0.10.2, CPU): the parameters differ by 3e-8 after 3 updates and by 4e-8 after 20, and the games are the
    same. Once a draw fell between two roundings they would part, so that this is no promise over a whole training.
    """
    alone, own = updates(new(10), 3)
    beside, metrics = batched_updates(stack(*map(new, (10, 11, 12, 13))), 3)
    assert largest_difference(alone, row(beside, 0)) <= 1e-5
    assert_same_bits(alone.playing, row(beside.playing, 0))
    assert_same_bits(own.episodes, row(metrics.episodes, 0))


@pytest.mark.slow
def test_a_seed_does_not_see_the_seeds_beside_it():
    """In programs of one shape a seed's bits do not depend on its neighbours, nor on its place."""
    first = batched_updates(stack(*map(new, (10, 11, 12, 13))), 4)
    other = batched_updates(stack(new(14), new(15, entropy_coef=1.0, learning_rate=0.1), new(10), new(16)), 4)
    assert_same_bits(row(first, 0), row(other, 2))
    assert largest_difference(row(first[0], 1), row(other[0], 1)) > 1e-3


def test_coefficients_times_seeds():
    states = [new(seed, entropy_coef=coefficient, learning_rate=0.05) for coefficient in (0.0, 3.0) for seed in (0, 1)]
    states, _ = batched_updates(stack(*states), 15)
    states, metrics = batched_updates(states, 5)
    assert batched_program()._cache_size() == 1
    entropy = np.asarray(metrics.means["entropy"])
    assert entropy.shape == (4,)
    assert entropy[:2].max() < entropy[2:].min() - 0.1
    assert (states.hyperparameters.entropy_coef == jnp.array([0.0, 0.0, 3.0, 3.0], jnp.float32)).all()
    assert len(set(entropy.tolist())) == 4


# ---------------------------------------------------------------------------------------------------------- divergence


def first_infinite_loss(state, most=6):
    """The number of the first update, one to a call, whose mean loss is not a finite number."""
    for _ in range(most):
        state, metrics = updates(state, 1)
        if not np.isfinite(metrics.means["loss"]):
            assert metrics.diverged == state.updates
            return int(state.updates)
        assert metrics.diverged == NEVER
    raise AssertionError(f"all losses of {most} updates are finite")


def test_the_update_that_diverged_is_named():
    wild = {"learning_rate": 1e30, "max_grad_norm": 1e30}
    number = first_infinite_loss(new(30, **wild))
    # However the updates are cut, it is the first of them; later ones, which diverge as well, do not replace it.
    whole, metrics = updates(new(30, **wild), number + 3)
    assert metrics.diverged == number and whole.updates == number + 3
    state, metrics = updates(new(30, **wild), number)
    _, metrics = updates(state, 2, metrics=metrics)
    assert metrics.diverged == number
    # Metrics begun anew know only their own updates.
    _, metrics = updates(state, 2)
    assert metrics.diverged == number + 1


def test_a_seed_that_diverges_is_told_from_its_neighbours():
    states = stack(new(30), new(30, learning_rate=1e30, max_grad_norm=1e30), new(31), new(32))
    states, metrics = batched_updates(states, 6)
    number = first_infinite_loss(new(30, learning_rate=1e30, max_grad_norm=1e30))
    assert metrics.diverged.tolist() == [NEVER, number, NEVER, NEVER]
    assert np.isfinite(metrics.means["loss"]).tolist() == [True, False, True, True]


@dataclasses.dataclass(frozen=True)
class Unpaid(Game):
    """One player, one action, twelve steps, and at the tenth a reward that is no number."""

    name = "unpaid"
    version = "unpaid-1"
    cyclic = True
    num_players = max_acting = 1
    num_actions = 3
    horizon = 12
    score_range = (0.0, 1.0)

    @functools.cached_property
    def observers(self):
        layout = Layout.of([("time", {"number": 1}, "")])
        return {
            "time": Observer(
                "time", layout, jnp.float32, lambda s, p: s.time.astype(jnp.float32)[None] / 12, lambda _, x: x
            )
        }

    def init(self, *, key):
        return UnpaidState(jnp.int32(0), jnp.bool_(False), jnp.bool_(False))

    def transition(self, state, actions, *, key):
        reward = jnp.where(state.time == 9, jnp.nan, 0.0).astype(jnp.float32)
        return state._replace(time=state.time + 1, ended=state.time == 11), reward

    def acting(self, state):
        return jnp.zeros(1, jnp.int32), ~state.ended[None]

    def legal_when_acting(self, state, player):
        return jnp.array([True, True, False])

    def action_name(self, action):
        return str(action)


class UnpaidState(NamedTuple):
    time: Any
    ended: Any
    illegal: Any


@pytest.mark.slow
def test_a_reward_that_is_no_number_is_found_at_its_update():
    game = Unpaid()
    learner = IPPO(
        game=game, policy=FeedForward(1, 3, torso=()), observer="time", num_games=2, rollout_length=4, epochs=1,
        minibatches=1, total_updates=6,
    )  # fmt: skip
    state = jax.jit(lambda key: learner.init(numbers(), key=key))(jax.random.key(0))
    run, metrics = jax.jit(functools.partial(run_updates, learner)), zero_metrics(learner, state)
    for count, diverged in ((1, NEVER), (1, NEVER), (2, 3), (1, 3)):
        state, metrics = run(state, metrics, jnp.int32(count))
        assert metrics.diverged == diverged
    assert state.updates == metrics.updates == 5


class Quadrupled(Hanabi):
    """Hanabi whose points count four."""

    def transition(self, state, actions, *, key):
        state, reward = super().transition(state, actions, key=key)
        return state, 4 * reward


@pytest.mark.parametrize("batch", ["acting", "all"])
def test_scaled_rewards_are_those_of_the_game_with_other_points(batch):
    fields = {field.name: getattr(GAME, field.name) for field in dataclasses.fields(GAME) if field.init}
    other = dataclasses.replace(LEARNERS[batch], game=Quadrupled(**fields))

    def trained(learner):
        run = functools.partial(run_updates, learner)
        state = jax.jit(lambda key: learner.init(numbers(), key=key))(jax.random.key(0))
        return jax.jit(run)(state, zero_metrics(learner, state), jnp.int32(6))

    state, metrics = trained(dataclasses.replace(other, reward_scale=0.25))
    of_game, expected = trained(LEARNERS[batch])
    assert_same_bits(state.params, of_game.params)
    assert metrics.episodes.return_sum == 4 * expected.episodes.return_sum > 0  # in the game's own points
    assert largest_difference(trained(other)[0], of_game) > 1e-3


# ------------------------------------------------------------------------------------------------------------- counts


@pytest.mark.parametrize("batch", ["acting", "all"])
def test_only_whole_games_are_counted(batch):
    """What was played is what ended and what goes on: steps and rewards are conserved between the two."""
    state, steps, ended = new(20, batch), 0, 0
    for count in (1, 2, 1, 6):
        before = state.playing
        state, metrics = updates(state, count, batch)
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
