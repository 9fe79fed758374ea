"""The example's policy: its probabilities by hand, and its place among the choices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from examples.linear import Linear
from experiments.launching import compose
from games.errors import TacitError


def test_probabilities_by_hand():
    policy = Linear(observation_size=2, num_actions=3)
    params = {
        "logits": jnp.array([[1, 0], [0, 2], [9, 9]], jnp.float32),
        "bias": jnp.array([0, -1, 9], jnp.float32),
        "value": jnp.array([0.5, 0.25], jnp.float32),
    }
    seen, legal = jnp.array([False, True]), jnp.array([True, True, False])  # logits 0 and 1
    memory, log_probs = policy.apply(params, (), seen, legal)
    assert memory == ()
    np.testing.assert_allclose(np.exp(log_probs), [1 / (1 + np.e), np.e / (1 + np.e), 0], rtol=1e-6)
    assert policy.value(params, policy.perceive(params, seen)) == 0.25
    shapes = jax.tree.map(jnp.shape, policy.init(key=jax.random.key(0)))
    assert shapes == jax.tree.map(jnp.shape, params)


@pytest.mark.slow
def test_its_keys(tacit, folder):
    assert compose.compose(["policy=linear.Linear", "policy.spread=0.1"])["policy"] == {
        "_target_": "linear.Linear", "observer": None, "spread": 0.1,
    }  # fmt: skip
    with pytest.raises(TacitError, match=r"policy\.spread must be a number above 0, not 0"):
        Linear(2, 3, spread=0)
    said = tacit("config", "policy=linear.Linear", "policy.sprad=1")
    assert "did you mean 'policy.spread'?" in said.err
