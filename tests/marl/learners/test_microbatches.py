"""A minibatch in parts: the gradient, the reports and so the learning of the whole, whatever the parts."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from games import hanabi
from games.errors import TacitError
from games.tabular.library.dectiger import make as dectiger
from marl.learners.ippo import IPPO, Hyperparameters
from marl.policies.feed_forward import FeedForward
from marl.policies.recurrent import Recurrent

GAMES = {"dectiger": (dectiger(horizon=3), "last"), "Hanabi": (hanabi.make("Hanabi-2x3"), "hle")}


def learner(policy, batch="all", game="dectiger", **changes):
    game, observer = GAMES[game]
    size = game.observer(observer).size
    policies = {
        "feed_forward": FeedForward(size, game.num_actions, torso=(8,)),
        "recurrent": Recurrent(size, game.num_actions, torso=(8,), memory=8, actor=(), critic=()),
    }
    settings = {
        "game": game, "policy": policies[policy], "observer": observer, "num_games": 16, "rollout_length": 8,
        "epochs": 1, "minibatches": 2, "total_updates": 4, "batch": batch,
    }  # fmt: skip
    return IPPO(**{**settings, **changes})


@functools.cache
def played(policy, batch, game):
    """(a learner's state at its start, the rows of what it then plays)."""
    ours = learner(policy, batch, game)

    @jax.jit
    def play(key):
        state = ours.init(Hyperparameters(learning_rate=1e-3, entropy_coef=0.05), key=key)
        ahead = np.ones((ours.num_games, ours.game.num_players), np.float32)
        return state, ours._rows(ours._rollout(state, jax.random.key(2))[1], ahead, state.hyperparameters)

    state, rows = play(jax.random.key(1))
    return state, jax.device_get(rows)


@functools.cache
def learned(policy, batch, game, microbatches, minibatches=2):
    """(parameters, means, maxima) after two passes over the rows."""
    ours = learner(policy, batch, game, epochs=2, microbatches=microbatches, minibatches=minibatches)
    params, _, *reports = jax.jit(ours._learn)(*played(policy, batch, game), jax.random.key(3))
    return jax.device_get((params, *reports))


def over(*chosen):
    """The test of these cases, and of all on a small board of Hanabi at `make proof`."""
    whole = [
        ("Hanabi", *case, batch)
        for case in (("feed_forward", 4), ("feed_forward", 64), ("recurrent", 4))
        for batch in ("acting", "all")
    ]
    proof = [pytest.param(*case, marks=pytest.mark.proof) for case in whole]
    return pytest.mark.parametrize(("game", "policy", "parts", "batch"), [*chosen, *proof])


@pytest.mark.slow
@over(("dectiger", "feed_forward", 64, "all"), ("dectiger", "recurrent", 4, "acting"))
def test_parts_add_up_to_the_whole(game, policy, parts, batch):
    whole, in_parts = (learned(policy, batch, game, number) for number in (1, parts))
    for name in whole[1]:
        assert in_parts[1][name] == pytest.approx(whole[1][name], rel=1e-4, abs=1e-5), name
    assert whole[2]["first_ratio_error"] < 1e-5
    assert in_parts[2]["first_ratio_error"] < 1e-5
    for ours, theirs in zip(jax.tree.leaves(in_parts[0]), jax.tree.leaves(whole[0]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-4)  # Adam's first steps are signs: they turn at 0
    far = jax.tree.leaves(learned(policy, batch, game, 1, minibatches=1)[0])
    moved = [np.abs(ours - theirs).max() for ours, theirs in zip(far, jax.tree.leaves(whole[0]), strict=True)]
    assert max(moved) > 1e-3  # another minibatch is another step


@pytest.mark.slow
@over(("dectiger", "feed_forward", 8, "all"), ("dectiger", "recurrent", 4, "acting"))
def test_the_gradient_of_parts(game, policy, parts, batch):
    one = learner(policy, batch, game, microbatches=1)
    state, rows = played(policy, batch, game)
    # Not the parameters that played, so that ratios differ from 1 and some are clipped.
    params = jax.tree.map(
        lambda leaf: leaf + 0.3 * np.cos(np.arange(leaf.size, dtype=np.float32)).reshape(leaf.shape),
        jax.device_get(state.params),
    )
    size = max(parts, 8)
    chosen = one._chosen(rows, np.arange(0, one._sequences, one._sequences // size))
    gradients, reports = [], []
    for number in (1, parts):
        ours = dataclasses.replace(one, microbatches=number)
        gradient, report = jax.jit(ours._gradient)(params, chosen, state.hyperparameters)
        gradients.append(np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(gradient)]))
        reports.append(report)
    assert np.abs(gradients[0]).max() > 0.01
    np.testing.assert_allclose(gradients[1], gradients[0], rtol=1e-4, atol=1e-6)
    whole, in_parts = ({name: float(value) for name, value in report.items()} for report in reports)
    assert in_parts == pytest.approx(whole, rel=1e-4, abs=1e-6)
    assert whole["clip_fraction"] > 0
    loss = jax.jit(one._loss)(params, chosen, state.hyperparameters)[0]
    assert whole["loss"] == pytest.approx(float(loss), rel=1e-6)


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
