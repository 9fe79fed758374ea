"""The entropy coefficient's schedules: literal values, and a target that is met where the answer is known."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from games.errors import TacitError
from games.tabular.dec_pomdp import matrix_game
from games.tabular.simulator import Simulator
from marl.learners.ippo import IPPO, Hyperparameters
from marl.learners.learner import ENTROPY_COEF_RANGE, next_entropy_coef, relative_entropy, updates, zero_metrics
from marl.learners.rollout import Trajectory
from marl.policies.feed_forward import FeedForward

PAYOFFS = np.array([0.2, 1.0, 0.5])
# The second player has one action and so no turn.
BANDIT = Simulator(matrix_game(PAYOFFS[:, None], ("chooses", "watches"), (("a", "b", "c"), ("wait",))), 1, "bandit")
POLICY = FeedForward(BANDIT.observer("last").size, BANDIT.num_actions, torso=())
UPDATES = 120


def learner(**changes):
    settings = {"num_games": 128, "epochs": 2, "minibatches": 2, "anneal": "linear"} | changes
    return IPPO(BANDIT, POLICY, "last", rollout_length=1, total_updates=UPDATES, **settings)


@functools.cache
def programs(learner):
    return jax.jit(lambda numbers: learner.init(numbers, key=jax.random.key(0))), jax.jit(
        functools.partial(updates, learner)
    )


def train(learner, count=UPDATES, last=1, **hyperparameters):
    """Train `count` updates: (state, metrics of the `last` ones)."""
    numbers = {"learning_rate": 0.03, "max_grad_norm": 10.0} | hyperparameters
    init, run = programs(learner)
    state = init(Hyperparameters(*map(jnp.float32, Hyperparameters(**numbers))))
    state, _ = run(state, nothing(), jnp.int32(count - last))
    return run(state, nothing(), jnp.int32(last))


@functools.cache
def nothing():
    """The metrics of no update, which are the same for all learners."""
    state = jax.eval_shape(lambda: learner().init(Hyperparameters(), key=jax.random.key(0)))
    return zero_metrics(learner(), state)


# ------------------------------------------------------------------------------------------------------ literal values


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        ("constant", [0.7] * 5),
        ("linear", [0.1, 0.08, 0.06, 0.02, 0.02]),
        ("cosine", [0.1, 0.02 + 0.08 * (1 + math.sqrt(0.5)) / 2, 0.06, 0.02, 0.02]),
    ],
)
def test_schedules_over_a_run(schedule, values):
    numbers = Hyperparameters(entropy_coef=jnp.float32(0.1), entropy_coef_final=jnp.float32(0.02))
    found = jax.vmap(lambda done: next_entropy_coef(schedule, numbers, jnp.float32(0.7), jnp.float32(0.5), done, 1000))(
        jnp.array([0, 250, 500, 1000, 1700], jnp.int32)
    )
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, values, rtol=1e-5)


@pytest.mark.parametrize(
    ("now", "entropy", "after"),
    [
        (0.5, 0.4, 0.5 * math.exp(0.1)),  # half of (0.6 - 0.4)
        (0.5, 0.6, 0.5),
        (0.5, 1.0, 0.5 * math.exp(-0.2)),
        (99.0, 0.0, ENTROPY_COEF_RANGE[1]),
        (0.0, 0.0, ENTROPY_COEF_RANGE[0]),  # a product would never leave 0
    ],
)
def test_one_step_towards_a_target(now, entropy, after):
    numbers = Hyperparameters(target_entropy=jnp.float32(0.6), entropy_learning_rate=jnp.float32(0.5))
    found = next_entropy_coef("target", numbers, jnp.float32(now), jnp.float32(entropy), jnp.int32(3), 10)
    assert found.dtype == jnp.float32
    assert found == pytest.approx(after, rel=1e-6)


def test_relative_entropy_counts_decisions_alone():
    """Two decisions: 1/2 among 4 actions is a share of 1/2, 1/8 among 2 is 3; the rest is no decision."""
    legal = np.zeros((4, 1, 1, 5), bool)
    legal[0, ..., :4] = legal[1, ..., :2] = legal[2, ..., :1] = legal[3, ..., :5] = True
    fields = dict.fromkeys(Trajectory._fields)
    fields |= {
        "legal": jnp.asarray(legal),
        "log_prob": jnp.log(jnp.array([0.5, 0.125, 1.0, 0.3], jnp.float32)).reshape(4, 1, 1),
        "acting": jnp.array([True, True, True, False]).reshape(4, 1, 1),
    }
    assert relative_entropy(Trajectory(**fields)) == pytest.approx(1.75, rel=1e-6)


# -------------------------------------------------------------------------------------------------------------- in use


@pytest.mark.slow
def test_a_falling_coefficient_in_the_metrics():
    """The first of 120 updates has c_0 and the last c_0 / 120, so that the mean is c_0 (1 + ... + 120) / 120²."""
    _, metrics = train(learner(entropy_schedule="linear"), last=UPDATES, entropy_coef=0.3)
    assert metrics.means["entropy_coef"] == pytest.approx(0.3 * 121 / 240, rel=1e-5)
    state, metrics = train(learner(entropy_schedule="linear"), entropy_coef=0.3, entropy_coef_final=0.1)
    assert metrics.means["entropy_coef"] == pytest.approx(0.1 + 0.2 / 120, rel=1e-5)
    assert state.entropy_coef == pytest.approx(0.1, rel=1e-6)


def softmax_response(coefficient):
    """The policy that is softmax(A / c), A the normalised advantages under that very policy."""
    policy = np.ones(3) / 3
    for _ in range(300):
        centred = PAYOFFS - policy @ PAYOFFS
        response = np.exp(centred / np.sqrt(policy @ centred**2) / coefficient)
        policy = (policy + response / response.sum()) / 2
    return policy


@pytest.mark.slow
@pytest.mark.parametrize("start", [0.02, 20.0])
def test_a_target_is_met_from_below_and_from_above(start):
    """The coefficient becomes the one whose policy has the target's entropy, wherever it began."""
    target = 0.7
    _, metrics = train(
        learner(entropy_schedule="target", anneal="none"),
        last=20,
        entropy_coef=start,
        target_entropy=target,
        entropy_learning_rate=0.2,
    )
    low, high = 0.1, 10.0
    for _ in range(60):
        middle = math.sqrt(low * high)
        policy = softmax_response(middle)
        low, high = (middle, high) if -(policy @ np.log(policy)) / math.log(3) < target else (low, middle)
    assert metrics.means["relative_entropy"] == pytest.approx(target, abs=0.03)
    assert metrics.means["entropy"] / math.log(3) == pytest.approx(target, abs=0.06)  # during an update it is not yet
    assert metrics.means["entropy_coef"] == pytest.approx(middle, rel=0.15)


@pytest.mark.slow
def test_a_constant_coefficient_ignores_what_belongs_to_the_others():
    """To the bit, and the same as a line from c to c."""
    plain = learner()
    state, metrics = train(plain, entropy_coef=0.2)
    others, _ = train(plain, entropy_coef=0.2, entropy_coef_final=0.9, target_entropy=0.9, entropy_learning_rate=3.0)
    flat, _ = train(learner(entropy_schedule="linear"), entropy_coef=0.2, entropy_coef_final=0.2)
    for other in (others, flat):
        jax.tree.map(np.testing.assert_array_equal, state.params, other.params)
    assert state.entropy_coef == metrics.means["entropy_coef"] == np.float32(0.2)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"entropy_coef_final": -0.1}, r"learner\.entropy_coef_final must be a number of at least 0, not -0\.1"),
        ({"target_entropy": 1.5}, r"learner\.target_entropy must be a number of at least 0 and at most 1, not 1\.5"),
        ({"entropy_learning_rate": "x"}, r"learner\.entropy_learning_rate must be a number of at least 0, not 'x'"),
    ],
)
def test_numbers_out_of_range(wrong, sentence):
    with pytest.raises(TacitError, match=f"^{sentence}$"):
        Hyperparameters(**wrong).check()


def test_an_unknown_schedule():
    sentence = r"learner\.entropy_schedule must be one of constant, linear, cosine, target, not 'fall'"
    with pytest.raises(TacitError, match=f"^{sentence}$"):
        learner(entropy_schedule="fall")
