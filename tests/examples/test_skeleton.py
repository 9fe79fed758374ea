"""The skeleton of a learner on the page docs/howto/add_a_learner.md, as a user saves it."""

import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from examples.spo import SPO
from experiments.configuration.config import JobConfig
from experiments.launching import compose
from marl.learners.ippo import Hyperparameters
from marl.learners.learner import updates, zero_metrics

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "add_a_learner.md"


def shown(words):
    """The one block of Python on the page that has these words."""
    (block,) = (one for one in re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.S | re.M) if words in one)
    return block


@pytest.mark.slow
def test_the_skeleton_learns(folder, monkeypatch):
    (folder / "skeleton_of_the_page.py").write_text(shown("class Mine"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    chosen = ["game=lever", "game.payoffs=[1.0,0.5]", "policy=tabular", "learner=skeleton_of_the_page.Mine"]
    plain = compose.compose([*chosen, "learner.learning_rate=[0.5,0.0]"])
    first, second = (run.built for run in JobConfig.parse(plain).runs)
    assert (first.learner.num_games, first.kind.share_parameters) == (32, True)
    assert first.learner.peak_bytes() > 0

    @jax.jit
    def train(numbers):
        state = first.learner.init(numbers, key=jax.random.key(0))
        return updates(first.learner, state, zero_metrics(first.learner, state), jnp.int32(60))

    every = jax.tree.map(lambda *one: jnp.array(one, jnp.float32), first.hyperparameters, second.hyperparameters)
    state, metrics = jax.device_get(jax.vmap(train)(every))
    assert (state.updates == 60).all()
    returns = metrics.episodes.return_sum / metrics.episodes.count
    assert returns[0] > 0.75
    np.testing.assert_allclose(returns[1], 0.375, atol=0.02)  # a quarter of the games on each lever
    assert metrics.means["entropy"][0] < 0.5
    del sys.modules["skeleton_of_the_page"]


def test_the_variant_on_the_page_is_the_example():
    names = {}
    exec(shown("class SPO"), names)
    given = jnp.array([0.4, 1.3], jnp.float32), jnp.array([-1.5, 2.0], jnp.float32), Hyperparameters(clip=0.2)
    np.testing.assert_array_equal(names["SPO"].surrogate(None, *given), SPO.surrogate(None, *given))
