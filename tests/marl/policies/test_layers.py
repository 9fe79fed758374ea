"""Matrix products with bfloat16 factors and float32 sums, alone and in the networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from games.errors import TacitError
from marl.policies.feed_forward import FeedForward
from marl.policies.layers import bfloat16_dot_general
from marl.policies.recurrent import Recurrent

LEGAL = jnp.array([True, True, False, True, True])


def rounded(x):
    """To the nearest bfloat16, in double precision."""
    return np.asarray(x, np.float32).astype(jnp.bfloat16).astype(np.float64)


def product(x, kernel):
    return bfloat16_dot_general(x, kernel, (((x.ndim - 1,), (0,)), ((), ())))


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
def test_products_and_their_gradients_by_hand(batch):
    x, kernel, weights = normal(*batch, 300, seed=1), normal(300, 7, seed=2), normal(*batch, 7, seed=3)
    found, pull_back = jax.vjp(jax.jit(product), x, kernel)
    of_x, of_kernel = pull_back(weights)
    assert found.dtype == of_x.dtype == of_kernel.dtype == jnp.float32
    # Sums of 300 terms in bfloat16, which has 8 bits, would be off by some hundredths; in float32 by 1e-6.
    np.testing.assert_allclose(found, rounded(x) @ rounded(kernel), atol=2e-5)
    np.testing.assert_allclose(of_x, rounded(weights) @ rounded(kernel).T, atol=2e-5)
    rows, errors = rounded(x).reshape(-1, 300), rounded(weights).reshape(-1, 7)
    np.testing.assert_allclose(of_kernel, rows.T @ errors, atol=2e-5)
    assert np.abs(found - np.asarray(x, float) @ np.asarray(kernel, float)).max() > 1e-3  # the factors were rounded


def test_a_batch_of_kernels():
    """As players with parameters of their own, and seeds, have."""
    x, kernels = normal(3, 40, seed=4), normal(3, 40, 5, seed=5)
    together = jax.jit(jax.vmap(product))(x, kernels)
    one_by_one = [rounded(row) @ rounded(kernel) for row, kernel in zip(x, kernels, strict=True)]
    np.testing.assert_allclose(together, one_by_one, atol=1e-5)


# ------------------------------------------------------------------------------------------------------- the networks


def network(kind, precision):
    widths = {"torso": (32, 16), "actor": (8,), "critic": (8,), "precision": precision}
    return kind(40, 5, **widths, **({"memory": 12} if kind is Recurrent else {}))


def run(policy, params, observations):
    """Log-probabilities of the legal actions and the values along a sequence."""
    memory, log_probs, values = policy.initial_memory(), [], []
    for observation in observations:
        memory, features = policy.remember(params, memory, policy.perceive(params, observation))
        log_probs.append(policy.act(params, features, LEGAL)[np.flatnonzero(LEGAL)])
        values.append(policy.value(params, features))
    return jnp.stack(log_probs), jnp.stack(values)


def loss(policy, params, observations):
    log_probs, values = run(policy, params, observations)
    return jnp.mean(log_probs[:, 0]) + jnp.mean(values**2)


def random_params(policy):
    shapes = jax.eval_shape(lambda: policy.init(key=jax.random.key(0)))
    rng = np.random.default_rng(1)
    return jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(0, 1 / np.sqrt(leaf.shape[0]), leaf.shape), jnp.float32), shapes
    )


def dot_generals(jaxpr):
    """(dtypes of the factors, dtype of the product) of every matrix product, inner programs included."""
    found = []
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            found.append((tuple(str(x.aval.dtype) for x in equation.invars), str(equation.outvars[0].aval.dtype)))
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                found += dot_generals(inner)
    return found


# Layers: 2 of the torso, 2 of each head, and the two of the unit. Each layer has a product, and two for its gradients;
# the observation's own is not asked for, but where the layer's rule makes it along the way.
@pytest.mark.slow
@pytest.mark.parametrize(("kind", "layers"), [(FeedForward, 6), (Recurrent, 8)])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_product_is_of_the_named_precision(kind, layers, precision):
    policy, steps = network(kind, precision), 3
    params, observations = random_params(policy), normal(steps, 40, seed=7)
    forward = dot_generals(jax.make_jaxpr(lambda p: run(policy, p, observations))(params).jaxpr)
    assert forward == [((precision, precision), "float32")] * layers * steps
    backward = dot_generals(jax.make_jaxpr(jax.grad(lambda p: loss(policy, p, observations)))(params).jaxpr)
    assert set(backward) == {((precision, precision), "float32")}
    # the memory that a sequence begins with is asked for no gradient either
    assert 3 * layers * steps - steps - 1 <= len(backward) <= 3 * layers * steps


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_product_of_a_replay_is_of_the_named_precision(precision):
    policy, steps, rows = network(Recurrent, precision), 3, 4
    params, observations = random_params(policy), normal(steps, rows, 40, seed=9)
    moves, done = jnp.ones((steps, rows), jnp.bool_), jnp.zeros((steps, rows), jnp.bool_)

    def total(params):
        percepts = jax.vmap(jax.vmap(lambda x: policy.perceive(params, x)))(observations)
        return jnp.sum(policy.replay(params, normal(rows, 12, seed=10), percepts, moves, done))

    # Two of the torso and W; then U h, and U's part in the gradients by h and by U.
    assert dot_generals(jax.make_jaxpr(total)(params).jaxpr) == [((precision, precision), "float32")] * 4
    both = dot_generals(jax.make_jaxpr(jax.grad(total))(params).jaxpr)
    assert set(both) == {((precision, precision), "float32")}
    assert 3 * 3 - 1 + 3 <= len(both) <= 3 * 3 + 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", [FeedForward, Recurrent])
def test_a_network_of_low_precision_is_near_its_twin_and_not_the_same(kind):
    single, low = network(kind, "float32"), network(kind, "bfloat16")
    params, observations = random_params(single), normal(3, 40, seed=8)
    # One set of parameters serves both, and both begin with the same ones.
    start, start_low = (jax.jit(lambda key, p=p: p.init(key=key))(jax.random.key(3)) for p in (single, low))
    jax.tree.map(np.testing.assert_array_equal, start, start_low)

    def of(policy):
        both = jax.jit(lambda p: (run(policy, p, observations), jax.grad(lambda p: loss(policy, p, observations))(p)))
        values, gradient = both(params)
        assert {leaf.dtype for leaf in jax.tree.leaves((values, gradient))} == {jnp.dtype("float32")}
        return (*values, np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(gradient)]))

    for name, exact, near in zip(("log_probs", "values", "gradient"), of(single), of(low), strict=True):
        error = float(np.abs(exact - near).max() / np.abs(exact).max())
        # A factor is rounded by at most 2^-9 of itself; a few layers add up to some of these.
        assert 2**-14 < error < 8 * 2**-9, name


@pytest.mark.parametrize("precision", ["bf16", None, "tf32"])
def test_other_precisions_are_refused(precision):
    with pytest.raises(TacitError, match=r"^policy\.precision must be one of float32, bfloat16, not "):
        FeedForward(4, 3, precision=precision)
