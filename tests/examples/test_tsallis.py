"""The example's term of the loss: by hand, in the loss of a minibatch, and in what is learned."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from examples.tsallis import Tsallis
from experiments.launching import compose
from games.tabular.library import lever
from marl.learners.ippo import IPPO, Actions, Hyperparameters
from marl.policies.tabular import Tabular

GAME = lever.make([1.0, 1.0, 1.0])


def learner(kind, **changes):
    sizes = {"num_games": 32, "rollout_length": 1, "epochs": 2, "minibatches": 1, "total_updates": 100}
    return kind(GAME, Tabular(GAME), "last", **sizes | changes)


def test_the_penalty_by_hand():
    log_probs = jnp.log(jnp.array([[0.5, 0.5, 0.0], [0.25, 0.25, 0.5], [1.0, 0.0, 0.0]], jnp.float32))
    actions = Actions(log_probs, legal=jnp.isfinite(log_probs), action=None, ratio=None, advantage=None)
    np.testing.assert_allclose(
        learner(Tsallis, weight=0.2).penalty(actions, Hyperparameters()), [0.1, 0.075, 0.2], rtol=1e-6
    )


def test_the_loss_gains_its_mean():
    """Before anything is learned all levers are nearly equally likely, and Σ π² is 1/3 for every action."""

    def first_update(one):
        return jax.jit(one.update)(one.init(Hyperparameters(), key=jax.random.key(0)))[1].means

    plain, with_penalty = (
        first_update(learner(kind, epochs=1, **more)) for kind, more in ((IPPO, {}), (Tsallis, {"weight": 0.3}))
    )
    np.testing.assert_allclose(with_penalty["loss"] - plain["loss"], 0.1, rtol=1e-3)
    assert with_penalty["value_loss"] == plain["value_loss"]


@pytest.mark.slow
def test_a_heavy_weight_keeps_the_choice_open():
    def entropy(one):
        state = one.init(Hyperparameters(learning_rate=0.1, entropy_coef=0.0), key=jax.random.key(0))
        update = jax.jit(one.update)
        for _ in range(60):
            state, metrics = update(state)
        return float(metrics.means["entropy"])

    assert entropy(learner(IPPO)) < 0.2
    assert entropy(learner(Tsallis, weight=20.0)) > 1.0  # of log 3 = 1.0986


def test_its_keys_are_those_of_ippo_and_the_weight(folder):
    theirs = compose.compose(["learner=ippo"])["learner"]
    assert compose.compose(["learner=tsallis.Tsallis"])["learner"] == {
        **theirs, "_target_": "tsallis.Tsallis", "other_play": False, "weight": 0.1,
    }  # fmt: skip
