"""The example's variant of IPPO: its surrogate by hand, its keys, and a run by its Python path."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from examples.spo import SPO
from experiments.launching import compose
from games.tabular.library import lever
from marl.learners.ippo import Hyperparameters
from marl.policies.tabular import Tabular


@pytest.fixture(scope="module")
def learner():
    game = lever.make()
    sizes = {"num_games": 2, "rollout_length": 1, "epochs": 1, "minibatches": 1, "total_updates": 1}
    return SPO(game, Tabular(game), "last", **sizes)


def test_the_surrogate_by_hand(learner):
    """ε = 0.25: for A = 2, r A − 4 (r − 1)²."""
    numbers = Hyperparameters(clip=0.25)
    ratio = jnp.array([1.0, 1.25, 1.5, 0.5, 0.75, 1.0], jnp.float32)
    advantage = jnp.array([2.0, 2.0, 2.0, -2.0, -2.0, 0.0], jnp.float32)
    terms = learner.surrogate(ratio, advantage, numbers)
    np.testing.assert_allclose(terms, [2, 2.25, 2, -2, -1.75, 0], rtol=1e-6)
    slope = jax.grad(lambda ratio: jnp.sum(learner.surrogate(ratio, advantage, numbers)))(ratio)
    np.testing.assert_allclose(slope, [2, 0, -2, 2, 0, 0], atol=1e-6)  # none at 1 ± ε, back from beyond it


@pytest.mark.slow
def test_the_loss_is_made_of_it(learner, monkeypatch):
    seen = []
    surrogate = SPO.surrogate

    def watched(self, ratio, advantage, hyperparameters):
        seen.append((ratio.shape, advantage.shape))
        return surrogate(self, ratio, advantage, hyperparameters)

    monkeypatch.setattr(SPO, "surrogate", watched)
    jax.eval_shape(learner.update, learner.init(Hyperparameters(), key=jax.random.key(0)))
    assert set(seen) == {((1, 2, 2), (1, 2, 2))}  # one step of two games, two players who act


def test_its_keys_are_those_of_ippo(folder):
    theirs = compose.compose(["learner=ippo"])["learner"]
    assert compose.compose(["learner=spo.SPO"])["learner"] == {
        **theirs, "_target_": "spo.SPO", "other_play": False,
    }  # fmt: skip


@pytest.mark.slow
def test_it_trains_by_its_path(tacit, small, folder):
    arguments = ("game=lever", "learner=spo.SPO", "policy=tabular", "learner.clip=[0.1,0.3]", "budget.steps=512")
    said = tacit("train", *arguments, *small)
    assert said.status == 0, said.err
    sciences = [json.loads(file.read_text())["science"]["learner"] for file in folder.glob("runs/*/run.json")]
    assert sorted((one["_target_"], one["clip"]) for one in sciences) == [("spo.SPO", 0.1), ("spo.SPO", 0.3)]
