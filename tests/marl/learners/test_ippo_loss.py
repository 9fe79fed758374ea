"""The loss and the step of IPPO: numbers worked by hand, and a naive loop over the recorded steps."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from games.errors import TacitError
from games.tabular.library.lever import make as lever_game
from marl.learners import ppo, rollout
from marl.learners.ippo import IPPO, Hyperparameters
from marl.learners.learner import annealed
from marl.learners.losses import clipped_surrogate, clipped_value_error, masked_mean, normalise
from marl.policies.feed_forward import FeedForward

GAME = lever_game(payoffs=(1.0, 1.0, 1.0))  # only its two players and four actions matter here
POLICY = FeedForward(2, 4, torso=())  # logits and value are linear in an observation of two numbers


def learner(**changes):
    settings = {
        "game": GAME, "policy": POLICY, "observer": "last", "num_games": 2, "rollout_length": 4, "epochs": 1,
        "minibatches": 1, "total_updates": 10,
    }  # fmt: skip
    return IPPO(**settings | changes)


def f32(*values):
    return np.array(values, np.float32)


def hyperparameters(**changes):
    return Hyperparameters(*(jnp.float32(x) for x in Hyperparameters(**changes)))


@functools.cache
def shapes_of_policy():
    return jax.eval_shape(lambda: POLICY.init(key=jax.random.key(0)))


def linear(kernel, bias, value_kernel, value_bias):
    """Parameters of `POLICY`, whatever its layers are called."""
    shapes = shapes_of_policy()
    by_shape = {np.shape(x): np.asarray(x, np.float32) for x in (kernel, bias, value_kernel, value_bias)}
    return jax.tree.map(lambda leaf: by_shape[leaf.shape], shapes)


# ------------------------------------------------------------------------------------------------------- the pieces


def test_clipped_surrogate_by_hand():
    ratio = f32(1.5, 1.5, 0.5, 0.5, 1.1, 1.0)
    terms = clipped_surrogate(ratio, f32(1.0, -1.0, 1.0, -1.0, 2.0, -3.0), jnp.float32(0.2))
    # clipped from above at 1.2 where more is better, from below at 0.8 where less is, and else not at all
    np.testing.assert_allclose(terms, [1.2, -1.5, 0.5, -0.8, 2.2, -3.0], rtol=1e-6)


def test_clipped_value_error_by_hand():
    value, old, target = f32(2.0, 2.0, 2.0, 0.0, 1.1), f32(1.0, 1.0, 1.75, 1.0, 1.0), f32(3.0, 0.0, 2.0, 0.0, 1.0)
    # clip(v) = 1.5, 1.5, 2, 0.5, 1.1
    expected = [0.5 * 1.5**2, 0.5 * 2.0**2, 0.0, 0.5 * 0.5**2, 0.5 * 0.1**2]
    np.testing.assert_allclose(clipped_value_error(value, old, target, jnp.float32(0.5)), expected, rtol=1e-5)


def test_masked_mean_and_normalise_by_hand():
    x = f32(1.0, 100.0, 3.0, -50.0)
    mask = np.array([True, False, True, False])
    assert masked_mean(x, mask) == 2.0
    assert masked_mean(x, np.zeros(4, bool)) == 0.0
    assert masked_mean(f32(1.0, math.nan, 3.0, -50.0), mask) == 2.0
    np.testing.assert_allclose(np.asarray(normalise(x, mask))[[0, 2]], [-1.0, 1.0], rtol=1e-6)
    np.testing.assert_array_equal(normalise(f32(5.0, 5.0), np.ones(2, bool)), [0.0, 0.0])


# ------------------------------------------------------------------------------------------------------- by hand


def two_rows(**changes):
    """Two steps of one player each; her distribution is 3/4, 1/4 on the two legal actions, and her value 1."""
    steps = ppo._Steps(
        observation=np.zeros((2, 1, 2), np.float32),
        player=np.zeros((2, 1), np.int32),
        value=f32([0.5], [1.1]),
        target=f32([2.0], [1.0]),
        in_value_term=np.ones((2, 1), bool),
        slot=np.zeros((2, 1), np.int32),
        acting=np.ones((2, 1), bool),
        legal=np.array([[[1, 1, 0, 0]]] * 2, bool),
        action=np.array([[0], [1]], np.int32),
        log_prob=f32([math.log(0.5)], [math.log(0.5)]),
        advantage=f32([2.0], [-1.0]),
        in_policy_terms=np.ones((2, 1), bool),
        done=np.zeros(2, bool),
    )
    steps = steps._replace(**changes)
    return ppo._Rows((), jax.tree.map(lambda x: x[None], steps))  # two sequences of one step


PARAMS = linear(np.zeros((2, 4)), [math.log(3), 0, 9, -9], np.zeros((2, 1)), [1])
H = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))


@functools.partial(jax.jit, static_argnums=0)
def loss_and_gradient(learner, params, rows, hyperparameters):
    return jax.value_and_grad(learner._loss, has_aux=True)(params, rows, hyperparameters)


def loss(rows, *, learner_=None, **changes):
    """(loss, what it reports)"""
    learner_ = learner_ or learner(normalise_advantages=False)
    return jax.device_get(loss_and_gradient(learner_, PARAMS, rows, hyperparameters(**changes))[0])


def gradient(rows, **changes):
    return jax.device_get(loss_and_gradient(learner(), PARAMS, rows, hyperparameters(**changes))[1])


def test_loss_by_hand():
    # Ratios 3/2 and 1/2. Surrogate: min(3, 1.2 · 2) = 2.4 and min(-0.5, -0.8) = -0.8, mean 0.8.
    # Value 1: clipped 0.7 against 2, ½ max(1, 1.69) = 0.845; clipped 1 against 1, 0; mean 0.4225.
    total, report = loss(two_rows())
    expected = {
        "policy_loss": -0.8, "value_loss": 0.4225, "entropy": H, "loss": -0.8 + 0.5 * 0.4225 - 0.01 * H,
        "clip_fraction": 1.0, "approx_kl": (0.5 - math.log(1.5) - 0.5 - math.log(0.5)) / 2, "ratio_error": 0.5,
    }  # fmt: skip
    assert report.keys() == expected.keys()
    for name, value in expected.items():
        assert report[name] == pytest.approx(value, rel=1e-5), name
    assert total == report["loss"]


def test_normalised_advantages_by_hand():
    # 2 and -1 have mean 1/2 and deviation 3/2, so A = 1 and -1: (1.2 - 0.8)/2. The values' targets stay raw.
    report = loss(two_rows(), learner_=learner())[1]
    assert report["policy_loss"] == pytest.approx(-0.2, rel=1e-5)
    assert report["value_loss"] == pytest.approx(0.4225, rel=1e-5)


def test_rows_outside_the_masks_count_for_nothing():
    wild = {
        "value": f32([0.5], [1e6]), "target": f32([2.0], [-1e6]), "in_value_term": np.array([[True], [False]]),
        "advantage": f32([2.0], [1e6]), "log_prob": f32([math.log(0.5)], [-80.0]),
        "in_policy_terms": np.array([[True], [False]]),
    }  # fmt: skip
    rows = two_rows(**wild)
    report = loss(rows)[1]
    assert report["policy_loss"] == pytest.approx(-2.4, rel=1e-5)
    assert report["value_loss"] == pytest.approx(0.845, rel=1e-5)
    assert report["ratio_error"] == pytest.approx(0.5, rel=1e-5)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient(rows)))
    # All rows masked: nothing to learn, and nothing that is not a number.
    nothing = np.zeros((2, 1), bool)
    total, _ = loss(two_rows(in_value_term=nothing, in_policy_terms=nothing), learner_=learner())
    assert total == 0


def test_the_entropy_coefficient_enters_through_the_entropy_alone():
    low, report = loss(two_rows(), entropy_coef=0.0)
    high, same = loss(two_rows(), entropy_coef=3.0)
    assert float(high) == pytest.approx(float(low) - 3 * H, rel=1e-6)
    assert {k: float(v) for k, v in report.items() if k != "loss"} == {
        k: float(v) for k, v in same.items() if k != "loss"
    }

    at_0, at_1, at_3 = (jax.tree.leaves(gradient(two_rows(), entropy_coef=c)) for c in (0.0, 1.0, 3.0))
    for g0, g1, g3 in zip(at_0, at_1, at_3, strict=True):
        np.testing.assert_allclose(g3 - g0, 3 * (g1 - g0), atol=1e-6)
    # The sign: with nothing else to gain, a step down the gradient levels 3/4, 1/4.
    only_entropy = two_rows(advantage=np.zeros((2, 1), np.float32))
    slopes = gradient(only_entropy, entropy_coef=1.0)
    (bias,) = (leaf for leaf in jax.tree.leaves(slopes) if leaf.shape == (4,))
    # dH/dlogit_a = -p_a (log p_a + H), and the loss is -H
    slope = [p * (math.log(p) + H) for p in (0.75, 0.25)]
    np.testing.assert_allclose(bias, [*slope, 0, 0], atol=1e-6)
    assert bias[0] > 0 > bias[1]


# --------------------------------------------------------------------------------------------------------- naive loop


def random_trajectory(seed, batch):
    """4 steps of 2 turn-based games of 2 players, with ends, and old log-probabilities off the present policy's."""
    rng = np.random.default_rng(seed)
    steps, games, recorded = 4, 2, 2 if batch == "all" else 1
    mover = rng.integers(0, 2, (steps, games, 1)).astype(np.int32)
    legal = rng.random((steps, games, 1, 4)) < 0.7
    action = rng.integers(0, 3, (steps, games, 1)).astype(np.int32)
    np.put_along_axis(legal, action[..., None], True, axis=-1)
    everybody = np.broadcast_to(np.arange(2, dtype=np.int32), (steps, games, 2))
    shape = (steps, games, recorded)
    return rollout.Trajectory(
        observation=rng.normal(size=(*shape, 2)).astype(np.float32),
        memory=(),
        player=everybody if batch == "all" else mover,
        valid=np.ones(shape, bool),
        value=rng.normal(size=shape).astype(np.float32),
        slot=mover if batch == "all" else np.zeros((steps, games, 1), np.int32),
        acting=np.ones((steps, games, 1), bool),
        legal=legal,
        action=action,
        log_prob=np.log(rng.uniform(0.1, 0.6, (steps, games, 1))).astype(np.float32),
        reward=rng.normal(size=(steps, games)).astype(np.float32),
        done=rng.random((steps, games)) < 0.4,
    )


def naive_loss(params, trajectory, ahead, chosen, *, clip, value_coef, entropy_coef, gamma, gae_lambda, normalised):
    """Over the recorded steps `chosen`, [(t, game)]: one after the other in double precision."""
    kernel, bias, value_kernel, value_bias = (np.asarray(x, float) for x in params)
    t_max, _, m_max = trajectory.player.shape

    def own_steps(game, player):
        return [(t, m) for t in range(t_max) for m in range(m_max) if trajectory.player[t, game, m] == player]

    def advantage_of(game, player, n):
        """By its definition, forwards."""
        own = own_steps(game, player)
        t, m = own[n]
        end = next((s for s in range(t, t_max) if trajectory.done[s, game]), None)
        value = float(trajectory.value[t, game, m])
        if end is not None and (n + 1 == len(own) or own[n + 1][0] > end):
            return float(sum(trajectory.reward[t : end + 1, game], 0.0)) - value
        if n + 1 == len(own):
            return float(sum(trajectory.reward[t:, game]) + ahead[game, player]) - value
        t_next, m_next = own[n + 1]
        delta = sum(trajectory.reward[t:t_next, game]) + gamma * float(trajectory.value[t_next, game, m_next]) - value
        return delta + gamma * gae_lambda * advantage_of(game, player, n + 1)

    policy_terms, value_terms = [], []
    for t, game in chosen:
        for m in range(m_max):
            player = trajectory.player[t, game, m]
            advantage = advantage_of(game, player, own_steps(game, player).index((t, m)))
            observation = trajectory.observation[t, game, m].astype(float)
            old, value = float(trajectory.value[t, game, m]), float(observation @ value_kernel + value_bias)
            target = old + advantage
            near = min(max(value, old - clip), old + clip)
            value_terms.append(max((value - target) ** 2, (near - target) ** 2) / 2)
            if trajectory.slot[t, game, 0] == m:
                logits = (observation @ kernel + bias)[trajectory.legal[t, game, 0]]
                probabilities = np.exp(logits) / np.exp(logits).sum()
                place = trajectory.legal[t, game, 0, : trajectory.action[t, game, 0]].sum()
                ratio = probabilities[place] / math.exp(trajectory.log_prob[t, game, 0])
                policy_terms.append((advantage, ratio, -(probabilities * np.log(probabilities)).sum()))
    advantages, ratios, entropies = np.array(policy_terms).T if policy_terms else np.zeros((3, 1))
    if normalised and policy_terms:
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    surrogate = np.minimum(ratios * advantages, np.clip(ratios, 1 - clip, 1 + clip) * advantages)
    value_loss = np.mean(value_terms) if value_terms else 0.0
    return {
        "loss": -surrogate.mean() + value_coef * value_loss - entropy_coef * entropies.mean(),
        "policy_loss": -surrogate.mean(),
        "value_loss": value_loss,
        "entropy": entropies.mean(),
        "clip_fraction": np.mean(np.abs(ratios - 1) > clip) if policy_terms else 0.0,
        "approx_kl": np.mean(ratios - 1 - np.log(ratios)) if policy_terms else 0.0,
        "ratio_error": np.abs(ratios - 1).max() if policy_terms else 0.0,
    }


NUMBERS = {"clip": 0.3, "value_coef": 0.7, "entropy_coef": 0.05, "gamma": 0.9, "gae_lambda": 0.6}
COMPILED = {}


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("batch", ["acting", "all"])
@given(seed=st.integers(0, 2**32 - 1))
def test_the_loss_is_the_naive_one(batch, normalised, seed):
    if (batch, normalised) not in COMPILED:
        learner_ = learner(batch=batch, normalise_advantages=normalised)

        def of_minibatch(params, trajectory, ahead, chosen, hyperparameters):
            rows = learner_._rows(trajectory, ahead, hyperparameters)
            rows = rows._replace(steps=jax.tree.map(lambda x: x[:, chosen], rows.steps))
            return learner_._loss(params, rows, hyperparameters)[1]

        COMPILED[batch, normalised] = jax.jit(of_minibatch)
    rng = np.random.default_rng(seed + 1)
    weights = [rng.normal(0, 0.6, shape).astype(np.float32) for shape in ((2, 4), (4,), (2, 1), (1,))]
    trajectory = random_trajectory(seed, batch)
    ahead = rng.normal(size=(2, 2)).astype(np.float32)
    chosen = rng.permutation(8)[:5].astype(np.int32)  # a row is step · games + game
    report = COMPILED[batch, normalised](linear(*weights), trajectory, ahead, chosen, hyperparameters(**NUMBERS))
    weights[2], weights[3] = weights[2][:, 0], weights[3][0]
    expected = naive_loss(
        weights, trajectory, ahead, [divmod(int(row), 2) for row in chosen], normalised=normalised, **NUMBERS
    )
    for name, value in expected.items():
        assert float(report[name]) == pytest.approx(value, rel=2e-3, abs=2e-4), name


# --------------------------------------------------------------------------------------------------------- the step


@pytest.fixture(scope="module")
def one_step():
    """one_step(**hyperparameters) -> (parameters before, after, gradient of the loss, reported means)."""
    learner_ = learner(anneal="linear")
    state = jax.jit(lambda: learner_.init(hyperparameters(), key=jax.random.key(0)))()
    state = state._replace(params=linear([[1, 0, -1, 0], [0.5, 1, 0, 0]], [0, 0.1, 0.2, 0], [[1], [0.5]], [0.3]))
    trajectory = jax.tree.map(jnp.asarray, random_trajectory(7, "acting"))

    @jax.jit
    def step(state):
        rows = learner_._rows(trajectory, jnp.zeros((2, 2), jnp.float32), hyperparameters())
        params, _, means, _ = learner_._learn(state, rows, jax.random.key(1))
        gradient = jax.grad(lambda p: learner_._loss(p, rows, state.hyperparameters)[0])(state.params)
        return params, gradient, means

    def run(updates=0, **changes):
        params, gradient, means = jax.device_get(
            step(state._replace(hyperparameters=hyperparameters(**changes), updates=jnp.int32(updates)))
        )
        return state.params, params, gradient, means

    return run


@pytest.mark.parametrize("batch", ["acting", "all"])
def test_steps_without_a_known_advantage_teach_nothing(batch):
    """Neither their advantages nor what was done in them changes the step, not even its entropy term."""
    learner_ = learner(batch=batch)
    state = learner_.init(hyperparameters(), key=jax.random.key(0))
    first, second = (random_trajectory(seed, batch) for seed in (7, 8))
    second = second._replace(player=first.player, slot=first.slot)
    first_two = np.arange(4) < 2
    known = np.broadcast_to(first_two[:, None, None], first.value.shape)

    def mixed(one, two):
        return np.where(first_two.reshape(4, *[1] * (one.ndim - 1)), one, two)

    changed = first._replace(**{
        name: mixed(getattr(first, name), getattr(second, name))
        for name in ("observation", "value", "legal", "action", "log_prob", "reward")
    })  # fmt: skip

    @jax.jit
    def step(trajectory, advantage):
        rows = learner_._in_sequences(trajectory, advantage, jnp.asarray(known))
        return learner_._learn(state, rows, jax.random.key(1))[0]

    advantage = np.random.default_rng(0).normal(size=first.value.shape).astype(np.float32)
    before = step(first, advantage)
    for after in (step(changed, advantage), step(first, np.where(known, advantage, 99).astype(np.float32))):
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7), after, before)
    other = step(first, np.where(known, -advantage, advantage))
    assert any(not np.allclose(one, two) for one, two in zip(*map(jax.tree.leaves, (other, before)), strict=True))


def assert_adams_first_step(before, after, gradient, rate, limit):
    """m̂ = g and v̂ = g², so that the step is lr · g / (|g| + 1e-5), with g cut to the norm `limit`."""
    norm = math.sqrt(sum(float((leaf.astype(float) ** 2).sum()) for leaf in jax.tree.leaves(gradient)))
    scale = min(1.0, limit / norm)
    for old, new, slope in zip(*map(jax.tree.leaves, (before, after, gradient)), strict=True):
        slope = slope.astype(float) * scale
        np.testing.assert_allclose(new - old, -rate * slope / (np.abs(slope) + 1e-5), rtol=2e-3, atol=2e-6)
    return norm


@pytest.mark.slow
@pytest.mark.parametrize("limit", [1e-5, 1e-4, 1e3])
def test_the_gradient_is_cut_to_its_norm(one_step, limit):
    # Adam forgets the scale of a gradient, but for its 1e-5: there the cut shows.
    before, after, gradient, means = one_step(learning_rate=0.05, max_grad_norm=limit)
    norm = assert_adams_first_step(before, after, gradient, 0.05, limit)
    assert norm > 0.1
    assert means["gradient_norm"] == pytest.approx(norm, rel=1e-4)  # as it was before the cut
    largest = max(np.abs(new - old).max() for old, new in zip(*map(jax.tree.leaves, (before, after)), strict=True))
    assert (largest > 0.049) == (limit > 1e-4)


@pytest.mark.parametrize(("updates", "factor"), [(0, 1.0), (5, 0.5), (8, 0.2), (10, 0.0), (15, 0.0)])
def test_the_learning_rate_falls_over_the_run(one_step, updates, factor):
    before, after, gradient, _ = one_step(updates=updates, learning_rate=0.05, max_grad_norm=1e3)
    assert_adams_first_step(before, after, gradient, 0.05 * factor, 1e3)
    if factor == 0:  # but for the rounding of a fused multiply-add
        jax.tree.map(lambda old, new: np.testing.assert_allclose(new, old, atol=1e-8), before, after)


@pytest.mark.parametrize(
    ("anneal", "values"),
    [
        ("none", [1, 1, 1, 1, 1, 1]),
        ("linear", [1, 0.75, 0.5, 0.25, 0, 0]),
        ("cosine", [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0, 0]),
    ],
)
def test_schedules(anneal, values):
    schedule = jax.jit(jax.vmap(lambda updates: annealed(anneal, updates, 1000)))
    found = schedule(jnp.array([0, 250, 500, 750, 1000, 1700], jnp.int32))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, values, atol=1e-6)


# --------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"num_games": 0}, r"learner\.num_games must be a whole number of at least 1, not 0"),
        ({"rollout_length": 2.5}, r"learner\.rollout_length must be a whole number of at least 1, not 2\.5"),
        ({"epochs": True}, r"learner\.epochs must be a whole number of at least 1, not True"),
        ({"minibatches": "4"}, r"learner\.minibatches must be a whole number of at least 1, not '4'"),
        ({"total_updates": -1}, r"learner\.total_updates must be a whole number of at least 1, not -1"),
        ({"reward_scale": 0.0}, r"learner\.reward_scale must be a number above 0, not 0\.0"),
        ({"batch": "some"}, r"learner\.batch must be one of acting, all, not 'some'"),
        ({"anneal": "exp"}, r"learner\.anneal must be one of none, linear, cosine, not 'exp'"),
        ({"share_parameters": "no"}, r"learner\.share_parameters must be one of True, False, not 'no'"),
        ({"normalise_advantages": 2}, r"learner\.normalise_advantages must be one of True, False, not 2"),
        ({"minibatches": 3}, r"learner\.minibatches must divide the 8 steps .*4 steps x 2 games.*and 3 does not"),
    ],
)
def test_refusals_name_the_key(wrong, sentence):
    with pytest.raises(TacitError, match=f"^{sentence}$"):
        learner(**wrong)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"learning_rate": -1e-4}, r"learner\.learning_rate must be a number of at least 0, not -0\.0001"),
        ({"entropy_coef": math.nan}, r"learner\.entropy_coef must be a number of at least 0, not nan"),
        ({"gamma": 1.01}, r"learner\.gamma must be a number of at least 0 and at most 1, not 1\.01"),
        ({"gae_lambda": "1"}, r"learner\.gae_lambda must be a number of at least 0 and at most 1, not '1'"),
        ({"clip": 0.0}, r"learner\.clip must be a number above 0, not 0\.0"),
        ({"value_coef": math.inf}, r"learner\.value_coef must be a number of at least 0, not inf"),
        ({"max_grad_norm": 0}, r"learner\.max_grad_norm must be a number above 0, not 0"),
    ],
)
def test_hyperparameters_refuse_what_is_out_of_range(wrong, sentence):
    with pytest.raises(TacitError, match=f"^{sentence}$"):
        Hyperparameters(**wrong).check()
    Hyperparameters().check()
