"""Masked distributions, entropy, the draw of an action, and the two policies themselves."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from games.errors import TacitError
from marl.policies.feed_forward import FeedForward
from marl.policies.policy import entropy, masked_log_softmax, sample
from marl.policies.uniform import Uniform

LOG2 = math.log(2)


def bits(*flags):
    return jnp.array(flags, jnp.bool_)


# ---------------------------------------------------------------------------------------------- masked_log_softmax


def test_masked_log_softmax_by_hand():
    # exp(logits) = 1, 2, 4, 8; the legal ones add up to 1 + 2 + 8 = 11.
    logits = jnp.array([0.0, LOG2, 2 * LOG2, 3 * LOG2], jnp.float32)
    log_probs = masked_log_softmax(logits, bits(1, 1, 0, 1))
    assert log_probs.dtype == jnp.float32
    assert log_probs[2] == -jnp.inf
    np.testing.assert_allclose(jnp.exp(log_probs), [1 / 11, 2 / 11, 0, 8 / 11], rtol=1e-6)


def test_the_only_legal_action_is_certain_whatever_its_logit():
    for logit in (-1e30, -50.0, 0.0, 50.0, 1e30):
        log_probs = masked_log_softmax(jnp.array([3.0, logit, 1e4], jnp.float32), bits(0, 1, 0))
        assert log_probs.tolist() == [-math.inf, 0.0, -math.inf]


entries = st.tuples(st.floats(-80, 80, width=32), st.booleans())
compiled = jax.jit(masked_log_softmax)


@given(st.sampled_from([1, 2, 9]).flatmap(lambda size: st.lists(entries, min_size=size, max_size=size)))
def test_masked_log_softmax_is_the_formula(entries):
    logits = np.array([logit for logit, _ in entries], np.float32)
    legal = np.array([flag for _, flag in entries])
    legal[int(np.argmax(logits))] = True  # at least one
    found = np.asarray(compiled(logits, legal))
    total = math.fsum(math.exp(float(x) - 80) for x in logits[legal])
    expected = [float(x) - 80 - math.log(total) if flag else -math.inf for x, flag in zip(logits, legal, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-5)


def test_gradients_are_finite_and_leave_masked_logits_alone():
    legal = bits(1, 0, 1, 1)

    @jax.jit
    def of_both(logits):
        of_log_prob = jax.grad(lambda x: masked_log_softmax(x, legal)[2])(logits)
        return of_log_prob, jax.grad(lambda x: entropy(masked_log_softmax(x, legal)))(logits)

    for logits in ([0.1, 0.2, -0.3, 0.4], [0.0, 1e4, -1e4, 1e4], [1e30, 1e30, -1e30, 0.0]):
        logits = jnp.array(logits, jnp.float32)
        of_log_prob, of_entropy = of_both(logits)
        for gradient in (of_log_prob, of_entropy):
            assert np.isfinite(gradient).all()
            assert gradient[1] == 0
    # d log p_a / d logit_b = [a = b] - p_b, with p = 1/6, 2/6, 3/6
    logits = jnp.log(jnp.array([1.0, 9.0, 2.0, 3.0], jnp.float32))
    gradient, _ = of_both(logits)
    np.testing.assert_allclose(gradient, [-1 / 6, 0, 4 / 6, -3 / 6], atol=1e-6)


# ---------------------------------------------------------------------------------------------------------- entropy


def test_entropy_by_hand():
    assert entropy(jnp.array([0.0, -jnp.inf, -jnp.inf], jnp.float32)) == 0.0
    four_of_six = masked_log_softmax(jnp.zeros(6, jnp.float32), bits(1, 0, 1, 1, 0, 1))
    assert entropy(four_of_six) == pytest.approx(math.log(4), rel=1e-6)
    # 1/2, 1/4, 1/4: 1.5 bits
    halves = jnp.log(jnp.array([[0.5, 0.25, 0.25, 0.0], [1.0, 0.0, 0.0, 0.0]], jnp.float32))
    np.testing.assert_allclose(entropy(halves), [1.5 * LOG2, 0.0], rtol=1e-6)


# ----------------------------------------------------------------------------------------------------------- sample


def test_frequencies_are_the_probabilities():
    draws = 20_000
    probabilities = np.array([0.5, 0.0, 0.3, 0.001, 0.199, 0.0])
    with np.errstate(divide="ignore"):
        log_probs = jnp.asarray(np.log(probabilities), jnp.float32)
    keys = jax.random.split(jax.random.key(0), draws)
    actions = jax.jit(jax.vmap(lambda key: sample(log_probs, key=key)))(keys)
    assert actions.dtype == jnp.int32
    found = np.bincount(actions, minlength=6) / draws
    error = np.sqrt(probabilities * (1 - probabilities) / draws)
    assert (np.abs(found - probabilities) <= 4 * error).all(), found


@pytest.fixture
def sample_at(monkeypatch):
    """sample_at(log_probs [N, A], u [N]): the action that each uniform number in [0, 1) draws."""

    def draw(log_probs, numbers):
        def one(log_probs, number):
            monkeypatch.setattr(jax.random, "uniform", lambda key, shape, dtype: number)
            return sample(log_probs, key=jax.random.key(0))

        return np.asarray(jax.jit(jax.vmap(one))(log_probs, jnp.asarray(numbers, jnp.float32)))

    return draw


LARGEST_UNIFORM = np.float32(1 - 2**-23)  # of jax.random.uniform in float32


def test_each_action_has_its_own_interval(sample_at):
    log_probs = jnp.log(jnp.array([0.0, 0.25, 0.0, 0.5, 0.25, 0.0], jnp.float32))
    numbers = [0.0, 0.2499, 0.25, 0.7499, 0.75, LARGEST_UNIFORM]
    actions = sample_at(jnp.broadcast_to(log_probs, (6, 6)), numbers)
    assert actions.tolist() == [1, 1, 3, 3, 4, 4]


@pytest.mark.slow
@pytest.mark.parametrize("num_actions", [4, 21, 1000])
def test_a_probability_of_zero_is_never_drawn(sample_at, num_actions):
    # The worst uniform numbers are those at the steps of the distribution function, where a sum that was rounded
    # differently for a neighbour would let an impossible action in. A prefix sum of many is not a running sum.
    rng = np.random.default_rng(3)
    probabilities = rng.exponential(size=num_actions).astype(np.float32) ** 3
    probabilities[rng.random(num_actions) < 0.6] = 0
    probabilities[1] = 0.1
    probabilities[-2:] = 0
    log_probs = jnp.log(jnp.asarray(probabilities / probabilities.sum()))
    cumulative = np.asarray(jax.jit(jnp.cumsum)(jnp.exp(log_probs)))
    steps = np.minimum(cumulative / cumulative[-1], LARGEST_UNIFORM)
    numbers = np.concatenate([[0, LARGEST_UNIFORM], steps, np.nextafter(steps, np.float32(0))])
    actions = sample_at(jnp.broadcast_to(log_probs, (len(numbers), num_actions)), numbers)
    assert (probabilities[actions] > 0).all()


# ------------------------------------------------------------------------------------------------------ FeedForward


def count(policy):
    shapes = jax.eval_shape(lambda: policy.init(key=jax.random.key(0)))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


def test_number_of_parameters_by_hand():
    # 5x4+4 torso, 4x3+3 logits, 4x1+1 value
    assert count(FeedForward(5, 3, torso=(4,))) == 24 + 15 + 5
    # no hidden layer at all: 5x3+3 and 5x1+1
    assert count(FeedForward(5, 3, torso=())) == 18 + 6
    # 5x7+7, 7x6+6; actor 6x5+5, 5x3+3; critic 6x4+4, 4x2+2, 2x1+1
    assert count(FeedForward(5, 3, torso=(7, 6), actor=(5,), critic=(4, 2))) == 42 + 48 + 35 + 18 + 28 + 10 + 3
    # JaxMARL's feed-forward Hanabi network: 658x512+512, twice 512x512+512, 512x21+21, 512x1+1
    jaxmarl = FeedForward(658, 21, torso=(512,), actor=(512,), critic=(512,))
    assert count(jaxmarl) == 337_408 + 2 * 262_656 + 10_773 + 513 == 874_006


def by_shape(params):
    return {leaf.shape: np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(params)}


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_network_is_what_it_says(activation):
    policy = FeedForward(9, 3, torso=(7, 6), actor=(5,), critic=(4, 2), activation=activation)
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(lambda: policy.init(key=jax.random.key(0)))
    # biases too; every width is another, so that a shape says which layer it is
    params = jax.tree.map(lambda leaf: rng.normal(0, 0.5, leaf.shape).astype(np.float32), shapes)
    observation, legal = rng.normal(size=9).astype(np.float32), bits(1, 0, 1)
    layers = by_shape(params)
    activate = np.tanh if activation == "tanh" else lambda x: np.maximum(x, 0)

    def dense(x, width):
        return x @ layers[(len(x), width)] + layers[(width,)]

    torso = activate(dense(activate(dense(np.asarray(observation, np.float64), 7)), 6))
    logits = dense(activate(dense(torso, 5)), 3)[[0, 2]]
    value = dense(activate(dense(activate(dense(torso, 4)), 2)), 1)[0]

    @jax.jit
    def run(params, observation, legal):
        memory, features = policy.remember(params, policy.initial_memory(), policy.perceive(params, observation))
        applied = policy.apply(params, memory, observation, legal)
        return memory, policy.act(params, features, legal), policy.value(params, features), applied

    memory, log_probs, found_value, (applied_memory, applied) = run(params, observation, legal)
    assert memory == applied_memory == ()
    assert log_probs.shape == (3,) and found_value.shape == ()
    assert log_probs.dtype == found_value.dtype == jnp.float32
    np.testing.assert_array_equal(log_probs, applied)
    assert log_probs[1] == -jnp.inf
    np.testing.assert_allclose(log_probs[jnp.array([0, 2])], logits - np.log(np.exp(logits).sum()), atol=1e-5)
    assert found_value == pytest.approx(value, abs=1e-5)


def test_bits_and_numbers_are_the_same_observation():
    policy = FeedForward(4, 3, torso=(5,))
    params = jax.jit(lambda key: policy.init(key=key))(jax.random.key(0))
    apply = jax.jit(policy.apply)
    as_bits = apply(params, (), bits(1, 0, 0, 1), bits(1, 1, 1))[1]
    as_numbers = apply(params, (), jnp.array([1, 0, 0, 1], jnp.float32), bits(1, 1, 1))[1]
    np.testing.assert_array_equal(as_bits, as_numbers)


def test_initial_parameters():
    policy = FeedForward(9, 3, torso=(7, 6), actor=(5,), critic=(4, 2))
    init = jax.jit(lambda key: policy.init(key=key))
    params, again, other = init(jax.random.key(4)), init(jax.random.key(4)), init(jax.random.key(5))
    jax.tree.map(np.testing.assert_array_equal, params, again)
    layers = by_shape(params)
    assert all((leaf == 0).all() for shape, leaf in layers.items() if len(shape) == 1)
    assert all((leaf != np.asarray(by_shape(other)[shape])).any() for shape, leaf in layers.items() if len(shape) == 2)
    # Orthogonal with gain g: the columns are orthogonal and as long as g.
    gains = {(9, 7): 2, (7, 6): 2, (6, 5): 2, (6, 4): 2, (4, 2): 2, (5, 3): 1e-4, (2, 1): 1}
    for shape, squared in gains.items():
        kernel = layers[shape]
        np.testing.assert_allclose(kernel.T @ kernel, squared * np.eye(shape[1]), atol=1e-5 * squared)


def test_the_heads_gain_is_the_heads_alone():
    policy = FeedForward(9, 3, torso=(7, 6), actor=(5,), critic=(4, 2), head_gain=3.0)
    layers = by_shape(jax.jit(lambda key: policy.init(key=key))(jax.random.key(4)))
    gains = {(9, 7): 2, (7, 6): 2, (6, 5): 9, (6, 4): 9, (4, 2): 9, (5, 3): 1e-4, (2, 1): 1}
    for shape, squared in gains.items():
        kernel = layers[shape]
        np.testing.assert_allclose(kernel.T @ kernel, squared * np.eye(shape[1]), atol=1e-5 * squared)


def test_a_list_of_widths_is_as_good_as_a_tuple():
    assert FeedForward(4, 3, torso=[5, 6]) == FeedForward(4, 3, torso=(5, 6))
    assert hash(FeedForward(4, 3, torso=[5, 6])) == hash(FeedForward(4, 3, torso=(5, 6)))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"torso": 64}, r"policy\.torso must be a list of layer widths, not 64"),
        ({"actor": "64"}, r"policy\.actor must be a list of layer widths, not '64'"),
        ({"critic": (8, 0)}, r"policy\.critic must be a whole number of at least 1, not 0"),
        ({"torso": (2.5,)}, r"policy\.torso must be a whole number of at least 1, not 2\.5"),
        ({"actor": (True,)}, r"policy\.actor must be a whole number of at least 1, not True"),
        ({"head_gain": -1.0}, r"policy\.head_gain must be a number above 0, not -1\.0"),
        ({"activation": "gelu"}, r"policy\.activation must be one of relu, tanh, not 'gelu'; did you mean 'relu'\?"),
    ],
)
def test_refusals_name_the_key(wrong, sentence):
    with pytest.raises(TacitError, match=f"^{sentence}$"):
        FeedForward(4, 3, **wrong)


# ---------------------------------------------------------------------------------------------------------- Uniform


def test_uniform():
    policy = Uniform()
    assert policy.init(key=jax.random.key(0)) == policy.initial_memory() == ()
    memory, log_probs = policy.apply((), (), jnp.zeros(3, jnp.float32), bits(1, 0, 1, 1, 0))
    assert memory == ()
    np.testing.assert_allclose(jnp.exp(log_probs), [1 / 3, 0, 1 / 3, 1 / 3, 0], rtol=1e-6)
