"""A minibatch in parts: the gradient, the reports and so the learning of the whole, whatever the parts."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from games import hanabi
from games.errors import TacitError
from marl.learners.ippo import IPPO, Hyperparameters
from marl.learners.learner import no_metrics, updates
from marl.policies.feed_forward import FeedForward
from marl.policies.recurrent import Recurrent

GAME = hanabi.make("Hanabi-2x3")
SIZE = GAME.observer("hle").size
POLICIES = {
    "feed_forward": FeedForward(SIZE, GAME.num_actions, torso=(8,)),
    "recurrent": Recurrent(SIZE, GAME.num_actions, torso=(8,), memory=8, actor=(), critic=()),
}


def learner(policy, batch="all", **changes):
    settings = {
        "game": GAME, "policy": POLICIES[policy], "observer": "hle", "num_games": 16, "rollout_length": 8, "epochs": 1,
        "minibatches": 2, "total_updates": 4, "batch": batch,
    }  # fmt: skip
    return IPPO(**{**settings, **changes})


@functools.cache
def after_two_updates(ours):
    def run(key):
        state = ours.init(Hyperparameters(learning_rate=1e-3, entropy_coef=0.05), key=key)
        return updates(ours, state, no_metrics(ours, state), jnp.int32(2))

    return jax.device_get(jax.jit(run)(jax.random.key(0)))


@pytest.mark.parametrize("batch", ["acting", "all"])
@pytest.mark.parametrize(("policy", "parts"), [("feed_forward", 4), ("feed_forward", 64), ("recurrent", 4)])
def test_parts_add_up_to_the_whole(policy, batch, parts):
    whole, in_parts = (after_two_updates(learner(policy, batch, microbatches=number)) for number in (1, parts))
    for name in whole[1].sums:
        assert in_parts[1].sums[name] == pytest.approx(whole[1].sums[name], rel=1e-4, abs=1e-5), name
    assert whole[1].maxima["first_ratio_error"] < 1e-5
    assert in_parts[1].maxima["first_ratio_error"] < 1e-5
    for ours, theirs in zip(jax.tree.leaves(in_parts[0].params), jax.tree.leaves(whole[0].params), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-4)  # Adam's first steps are signs: they turn at 0
    far = learner(policy, batch, microbatches=1, minibatches=1)
    moved = [
        np.abs(ours - theirs).max()
        for ours, theirs in zip(
            jax.tree.leaves(after_two_updates(far)[0].params), jax.tree.leaves(whole[0].params), strict=True
        )
    ]
    assert max(moved) > 1e-3  # another minibatch is another step


@pytest.mark.parametrize("policy", POLICIES)
def test_the_gradient_of_parts(policy):
    one = learner(policy, microbatches=1)
    state = one.init(Hyperparameters(entropy_coef=0.05), key=jax.random.key(1))
    rows = jax.jit(lambda state: one._rows(one._rollout(state, jax.random.key(2))[1], state.hyperparameters))(state)
    # Not the parameters that played, so that ratios differ from 1 and some are clipped.
    params = jax.tree.map(lambda leaf: leaf + 0.3 * jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape), state.params)
    gradients, reports = [], []
    for parts in (1, 4, 8):
        ours = dataclasses.replace(one, microbatches=parts)
        gradient, report = jax.jit(ours._gradient)(params, one._chosen(rows, jnp.arange(8)), state.hyperparameters)
        gradients.append(np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(gradient)]))
        reports.append(report)
    assert np.abs(gradients[0]).max() > 0.01
    for gradient, report in zip(gradients[1:], reports[1:], strict=True):
        np.testing.assert_allclose(gradient, gradients[0], rtol=1e-4, atol=1e-6)
        assert {name: float(value) for name, value in report.items()} == pytest.approx(
            {name: float(value) for name, value in reports[0].items()}, rel=1e-4, abs=1e-6
        )
    assert reports[0]["clip_fraction"] > 0
    loss = jax.jit(one._loss)(params, one._chosen(rows, jnp.arange(8)), state.hyperparameters)[0]
    assert float(reports[0]["loss"]) == pytest.approx(float(loss), rel=1e-6)


def test_how_many_parts_suit_a_processor():
    def parts(policy, num_games, rollout_length):
        return learner(policy, num_games=num_games, rollout_length=rollout_length, minibatches=4)._microbatches

    if jax.default_backend() != "cpu":
        assert parts("feed_forward", 1024, 128) == 1
        return
    assert parts("feed_forward", 1024, 128) == 32  # of 1,024 steps
    assert parts("feed_forward", 64, 32) == 1
    assert parts("recurrent", 1024, 128) == 16  # of 16 sequences
    assert parts("recurrent", 1024, 8) == 2  # of 128 sequences


def test_refusals():
    with pytest.raises(
        TacitError, match=r"^learner\.microbatches must divide a minibatch's 64 sequences, and 5 does not$"
    ):
        learner("feed_forward", microbatches=5)
    with pytest.raises(TacitError, match=r"learner\.microbatches must be .* at least 1"):
        learner("feed_forward", microbatches=0)
