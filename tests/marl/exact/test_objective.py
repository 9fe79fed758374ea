"""J_α, its gradient and soft action values, against a plain recursion over joint histories."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from games.tabular import histories
from games.tabular.library import dectiger, hint, lever, tiny_hanabi, two_stage_lever
from marl.exact import crossplay, gradient_flow, objective
from marl.exact.objective import Dense, Sparse, double_precision
from marl.exact.starts import normal_starts
from marl.learners.ippo import IPPO, Hyperparameters
from marl.learners.learner import updates, zero_metrics
from marl.policies.tabular import Tabular

ALPHA = 1.3


@pytest.fixture(scope="module")
def games(random_dec_pomdp):
    """name -> tree"""
    random = {
        "discounted": (dict(seed=1, discount=0.7, num_observations=(2, 1)), 3),
        "restricted": (dict(seed=3, discount=0.8, initial=True, restricted=True), 3),
        "three": (dict(seed=4, num_agents=3, num_actions=(2, 3, 2), num_observations=(2, 1)), 2),
        "three restricted": (dict(seed=5, num_agents=3, discount=0.5, initial=True, restricted=True), 2),
        "myopic": (dict(seed=6, discount=0.0), 2),
    }
    known = {
        "tiny_hanabi": (tiny_hanabi.problem("E"), 2),
        "hint": (hint.problem(2), 2),
        "two_stage_lever": (two_stage_lever.problem(), 2),
        "dectiger": (dectiger.problem(), 2),
        "three levers": (lever.problem((1.0, 0.9), -0.5, players=3), 1),
    }
    all_games = {name: (random_dec_pomdp(**options), horizon) for name, (options, horizon) in random.items()} | known
    return {name: histories.build(problem, horizon) for name, (problem, horizon) in all_games.items()}


def at_full_size(*names):
    """What `make proof` adds: every game is other programs to compile."""
    return [pytest.param(*name if isinstance(name, tuple) else (name,), marks=pytest.mark.proof) for name in names]


NAMES = ["restricted", "three restricted", "myopic", "hint", "dectiger"]
NAMES += at_full_size("discounted", "three", "tiny_hanabi", "two_stage_lever", "three levers")
every_game = pytest.mark.parametrize("name", NAMES)
some_games = pytest.mark.parametrize(
    "name", ["restricted", "three restricted", *at_full_size("discounted", "tiny_hanabi")]
)


@double_precision
def swept(tree, policies, alpha=ALPHA):
    """(sweep, gradient) at probabilities."""
    tables = objective.tables(tree)
    log_probs = logs(policies)
    result = SWEEP(tables, tuple(map(jnp.asarray, log_probs)), jnp.asarray(alpha))
    return jax.tree.map(np.asarray, result)


@jax.jit
def SWEEP(tables, log_probs, alpha):
    result = objective.sweep(tables, log_probs, alpha)
    return result, objective.gradient(tables, log_probs, result), result.reach


@jax.jit
def values_of_logits(tables, logits, alpha):
    return jax.vmap(lambda own: objective.sweep(tables, objective.log_policy(tables, own), alpha).objective)(logits)


@jax.jit
def automatic_gradient(tables, logits, alpha):
    return jax.grad(lambda own: objective.sweep(tables, objective.log_policy(tables, own), alpha).objective)(logits)


def logs(policies):
    with np.errstate(divide="ignore"):
        return tuple(map(np.log, policies))


# ------------------------------------------------------------------------------------------------------- by enumeration


@pytest.mark.slow
@every_game
@pytest.mark.parametrize("zeros", [False, True])
def test_objective_values_and_reach_by_enumeration(games, enumeration, random_policy, name, zeros):
    tree = games[name]
    policies = random_policy(tree, 7, zeros)
    plain = enumeration(tree, policies, ALPHA)
    result, _, reaches = swept(tree, policies)
    assert result.objective.dtype == np.float64
    assert result.objective == pytest.approx(plain.objective(), abs=1e-12)
    for agent, own in enumerate(tree.agents):
        q, others, reach = plain.action_values(agent)
        np.testing.assert_allclose(result.others[agent], others, rtol=1e-12, atol=1e-16)
        np.testing.assert_allclose(reaches[agent], reach, rtol=1e-12, atol=1e-16)
        met = others > 0
        if tree.problem.discount > 0:
            np.testing.assert_allclose(result.q[agent][met], q[met], rtol=0, atol=1e-11)
            np.testing.assert_array_equal(result.q[agent][~met], 0)
        else:
            first = own.stage(0)  # of later stages, which do not count, nothing can be told
            np.testing.assert_allclose(result.q[agent][first], q[first], rtol=0, atol=1e-11)
        np.testing.assert_array_equal(result.advantage[agent][~own.legal], 0)
        if not zeros:
            soft = np.where(own.legal, q - ALPHA * np.log(np.where(own.legal, policies[agent], 1)), 0)
            expected = np.where(own.legal, soft - (policies[agent] * soft).sum(1, keepdims=True), 0)
            kept = slice(None) if tree.problem.discount > 0 else own.stage(0)
            np.testing.assert_allclose(result.advantage[agent][kept], expected[kept], rtol=0, atol=1e-11)


@pytest.mark.slow
@every_game
def test_without_entropy_it_is_the_expected_return(games, enumeration, random_policy, name):
    tree = games[name]
    policies = random_policy(tree, 8, zeros=True)
    expected = enumeration(tree, policies, 0.0).objective()
    assert swept(tree, policies, 0.0)[0].objective == pytest.approx(expected, abs=1e-12)
    own = tuple(log[None] for log in logs(policies))
    assert crossplay.self_play(tree, own) == pytest.approx([expected], abs=1e-12)


def test_uniform_in_ten_levers():
    tree = histories.build(lever.problem(), 1)
    result, _, _ = swept(tree, tree.uniform(), 0.5)
    assert result.objective == pytest.approx(9.9 / 100 + 0.5 * 2 * np.log(10), abs=1e-15)
    np.testing.assert_allclose(result.q[0], [[0.1] * 9 + [0.09]], rtol=1e-15)


# ------------------------------------------------------------------------------------------------------------- gradient


@pytest.mark.slow
@some_games
def test_gradient_against_central_differences_and_automatic_differentiation(games, name):
    tree = games[name]
    logits = normal_starts(tree, 1, 1.0, seed=11)
    flat = np.concatenate([own.ravel() for own in logits])

    def split(rows):
        ends = np.cumsum([own.size for own in logits])[:-1]
        return tuple(
            part.reshape(len(rows), *own.shape[1:])
            for part, own in zip(np.split(rows, ends, axis=1), logits, strict=True)
        )

    with jax.enable_x64(True):
        tables = objective.tables(tree)
        step = 1e-4
        values = [
            np.asarray(values_of_logits(tables, split(flat + factor * step * np.eye(len(flat))), ALPHA))
            for factor in (-2, -1, 1, 2)
        ]
        expected = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
        start = tuple(jnp.asarray(own[0]) for own in logits)
        log_probs = objective.log_policy(tables, start)
        _, found, _ = SWEEP(tables, log_probs, jnp.asarray(ALPHA))
        automatic = automatic_gradient(tables, start, ALPHA)
    found, automatic = (np.concatenate([np.ravel(own) for own in both]) for both in (found, automatic))
    scale = np.abs(expected).max()
    assert scale > 0.01
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9 * scale)
    np.testing.assert_allclose(automatic, found, rtol=1e-10, atol=1e-13 * scale)


@pytest.mark.slow
@given(seed=st.integers(0, 10**6), alpha=st.floats(0, 50))
def test_objective_and_gradient_of_random_games(random_dec_pomdp, enumeration, random_policy, seed, alpha):
    tree = histories.build(random_dec_pomdp(seed, num_actions=(2,), initial=True, discount=0.9), 2)
    policies = random_policy(tree, seed, zeros=True)
    plain = enumeration(tree, policies, alpha)
    result, gradients, _ = swept(tree, policies, alpha)
    assert result.objective == pytest.approx(plain.objective(), rel=1e-12, abs=1e-12)
    for agent, own in enumerate(tree.agents):
        q, _, reach = plain.action_values(agent)
        p = policies[agent]
        soft = q - alpha * np.log(np.where(p > 0, p, 1))
        gamma = np.repeat(0.9 ** np.arange(2), np.diff(own.offsets))
        expected = (gamma * reach)[:, None] * p * (soft - (p * soft).sum(1, keepdims=True))
        np.testing.assert_allclose(gradients[agent], expected, rtol=0, atol=1e-11 * (1 + alpha))


# ----------------------------------------------------------------------------------------------------- forms and names


@pytest.mark.slow
@pytest.mark.parametrize("name", ["restricted", *at_full_size("discounted", "hint")])
def test_matrix_form_and_list_agree(games, random_policy, monkeypatch, name):
    tree = games[name]
    policies = random_policy(tree, 9, zeros=True)
    several = tuple(np.stack(both) for both in zip(logs(policies), logs(random_policy(tree, 10)), strict=True))
    results, returns = [], []
    for fill, form in ((0.0, Dense), (2.0, Sparse)):
        monkeypatch.setattr(objective, "_DENSE_FILL", fill)
        forget_tables()
        with jax.enable_x64(True):
            assert all(isinstance(stage, form) for stage in objective.tables(tree).stages)
        results.append(swept(tree, policies))
        returns.append(crossplay.cross_play(tree, several))
    monkeypatch.undo()
    forget_tables()
    for one, other in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(returns[0], returns[1], rtol=0, atol=1e-12)


def forget_tables():
    """Tables may be kept; the tests of a form must not meet those of the other one."""
    getattr(objective.tables, "cache_clear", lambda: None)()


def test_three_agents_and_sparse_games_are_listed(games):
    with jax.enable_x64(True):
        assert all(isinstance(stage, Sparse) for stage in objective.tables(games["three"]).stages)
        assert all(isinstance(stage, Dense) for stage in objective.tables(games["dectiger"]).stages)
        sparse = objective.tables(histories.build(hint.problem(5), 2)).stages
        assert isinstance(sparse[0], Dense) and isinstance(sparse[1], Sparse)


@pytest.mark.parametrize(
    ("name", "seed"),
    [
        ("restricted", 3),  # seeds that move the agents
        ("three restricted", 0),
        *at_full_size(*((name, seed) for name in ("discounted", "three restricted", "hint") for seed in (1, 3))),
    ],
)
def test_another_order_of_agents_and_labels_gives_the_same(games, random_policy, relabel, name, seed):
    """The objective is read off the last agent's values; so it is the same read off any."""
    tree = games[name]
    other = relabel(tree.problem, seed)
    other_tree = histories.build(other.problem, tree.horizon)
    policies = random_policy(tree, seed, zeros=True)
    expected, _, _ = swept(tree, policies)
    found, _, _ = swept(other_tree, other.policy(tree, other_tree, policies))
    assert found.objective == pytest.approx(float(expected.objective), abs=1e-12)
    for mine, moved in zip(found.q, other.policy(tree, other_tree, expected.q), strict=True):
        np.testing.assert_allclose(mine, moved, rtol=0, atol=1e-11)


# ----------------------------------------------------------------------------------------------------------- precision


@pytest.mark.slow
@some_games
@pytest.mark.parametrize("size", [800.0, 1e6])
def test_extreme_logits_give_numbers(games, name, size):
    tree = games[name]
    logits = tuple(np.where(own > 0, size, -size)[0] for own in normal_starts(tree, 1, 1.0, seed=3))
    with jax.enable_x64(True):
        tables = objective.tables(tree)
        log_probs = objective.log_policy(tables, tuple(map(jnp.asarray, logits)))
        result = jax.tree.map(np.asarray, SWEEP(tables, log_probs, jnp.asarray(ALPHA)))
        automatic = automatic_gradient(tables, tuple(map(jnp.asarray, logits)), ALPHA)
    for leaf in jax.tree.leaves((result, automatic)):
        assert np.isfinite(leaf).all()


@pytest.mark.parametrize("name", ["restricted", *at_full_size("discounted", "three")])
def test_the_precision_of_others_stays_as_it_was(games, random_policy, name):
    tree = games[name]
    single = tuple(log[None].astype(np.float32) for log in logs(random_policy(tree, 1)))
    for returns in (crossplay.self_play(tree, single), crossplay.play(tree, single, np.zeros((3, len(single)), int))):
        assert isinstance(returns, np.ndarray) and returns.dtype == np.float64
    assert not jax.config.jax_enable_x64
    assert jnp.zeros(()).dtype == jnp.float32
    with pytest.raises(TypeError):
        crossplay.self_play(tree, tuple(own[:, :-1] for own in single))  # also after an error
    assert not jax.config.jax_enable_x64


@pytest.mark.slow
def test_a_learner_gets_the_same_bits_before_and_around_exact_calls():
    game = lever.make((1.0, 0.9, 0.5))
    policy = Tabular(game)
    learner = IPPO(
        game=game, policy=policy, observer="last", num_games=8, rollout_length=4, epochs=2, minibatches=2,
        total_updates=10,
    )  # fmt: skip
    numbers = Hyperparameters(*map(jnp.float32, Hyperparameters(learning_rate=3e-2, entropy_coef=0.1)))

    def exact_call():
        start = normal_starts(game.tree, 2, 1.0, seed=0)
        gradient_flow.polish(game.tree, start, np.full(2, 0.3))
        crossplay.cross_play(game.tree, start)

    def train(between=lambda: None):
        update = jax.jit(functools.partial(updates, learner))  # compiled anew
        state = jax.jit(lambda key: learner.init(numbers, key=key))(jax.random.key(5))
        for _ in range(2):
            state, _ = update(state, zero_metrics(learner, state), jnp.int32(3))
            between()
        leaves, structure = jax.tree.flatten(state)
        plain = [jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x for x in leaves]
        return structure, [(leaf.dtype, leaf.shape, leaf.tobytes()) for leaf in map(np.asarray, plain)]

    before = train()
    exact_call()
    around = train(exact_call)
    assert before == around
