"""The example's statistics by hand, its first update beside IPPO's, and values that IPPO does not reach."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from examples import normalised_values
from examples.normalised_values import NormalisedValues, Returns
from games.errors import TacitError
from games.tabular.library import lever
from marl.learners.ippo import IPPO, Hyperparameters
from marl.policies.tabular import Tabular

GAME = lever.make([1.0, 1.0, 1.0])


def learner(kind, **changes):
    sizes = {"num_games": 32, "rollout_length": 1, "epochs": 2, "minibatches": 1, "total_updates": 100}
    return kind(GAME, Tabular(GAME), "last", **sizes | changes)


def begun(one, **numbers):
    return one.init(Hyperparameters(**numbers), key=jax.random.key(0))


def test_units_by_hand(monkeypatch):
    monkeypatch.setattr(normalised_values, "DECAY", 0.5)
    assert [float(x) for x in Returns.none().units()] == [0, 1]
    everything = jnp.ones(2, jnp.bool_)
    once = Returns.none().followed_by(jnp.array([1.0, 3.0]), everything)
    np.testing.assert_allclose(once.units(), [2, 1], rtol=1e-6)
    twice = once.followed_by(jnp.array([6.0, 100.0]), jnp.array([True, False]))
    # Weights 1/3 and 2/3: the mean is (2 + 2 · 6) / 3, that of squares (5 + 2 · 36) / 3.
    np.testing.assert_allclose(twice.units(), [14 / 3, np.sqrt(77 / 3 - (14 / 3) ** 2)], rtol=1e-5)
    alike = Returns.none().followed_by(jnp.array([5.0, 5.0]), everything)
    np.testing.assert_allclose(alike.units(), [5, 0.01], rtol=1e-3)


@pytest.mark.parametrize("share", [True, False])
def test_the_first_update_is_that_of_ippo(share):
    """Its units are 0 and 1; afterwards they are those of what was won."""
    ones = [learner(kind, share_parameters=share) for kind in (IPPO, NormalisedValues)]
    (theirs, metrics), (ours, others) = (jax.jit(one.update)(begun(one)) for one in ones)
    for one, other in zip(jax.tree.leaves(theirs.params), jax.tree.leaves(ones[1].agent_params(ours)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(metrics.means["value_loss"], others.means["value_loss"], rtol=1e-5)
    mean = metrics.episodes.return_sum / metrics.episodes.count
    units = jax.tree.map(jnp.ravel, ours.params["returns"]).units()
    for got, wanted in zip(units, (mean, jnp.sqrt(mean - mean**2)), strict=True):  # returns are 0 or 1
        np.testing.assert_allclose(got, jnp.full_like(got, wanted), rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("share", [True, False])
def test_values_in_the_thousands(share):
    """A lever pays a thousand: 60 updates take the value of the only history near the mean return, and IPPO's not."""

    def error(kind):
        one = learner(kind, reward_scale=1000.0, share_parameters=share)
        state, update = begun(one, learning_rate=0.05, entropy_coef=10.0), jax.jit(one.update)
        for _ in range(60):
            state = update(state)[0]
        params = state.params if share else jax.tree.map(lambda every: every[0], state.params)
        network = one.actor_critic
        seen = GAME.observe(GAME.init(key=jax.random.key(0)), jnp.int32(0), "last")
        features = network.remember(params, network.initial_memory(), network.perceive(params, seen))[1]
        return abs(float(network.value(params, features)) / 1000 - 1 / 3)

    assert error(NormalisedValues) < 0.1
    assert error(IPPO) > 0.25


def test_advantages_have_to_be_normalised():
    with pytest.raises(TacitError, match=r"needs learner\.normalise_advantages=true"):
        learner(NormalisedValues, normalise_advantages=False)
