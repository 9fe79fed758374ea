"""The algorithm that the benchmark trains JaxMARL's environment with."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import peer


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # JaxMARL's and gymnax' own
def test_replay_gives_the_log_probabilities_of_the_rollout():
    pytest.importorskip("jaxmarl", reason="the extra `bench` installs JaxMARL")
    with jax.numpy_rank_promotion("allow"):
        learner = peer.Peer("recurrent", games=8, length=16)
        state = jax.jit(learner.init)(jax.random.PRNGKey(0))
        play = jax.jit(learner.rollout)
        playing = play(state.params, state.playing, jax.random.PRNGKey(1))[0]
        _, record, _ = play(state.params, playing, jax.random.PRNGKey(2))
        inputs = record["seen"], record["legal"], record["fresh"]
        _, log_probs, value = learner.network.apply(state.params, playing.memory, *inputs)
    assert abs(playing.memory).max() > 0.1  # the games were under way
    chosen = jnp.take_along_axis(log_probs, record["action"][..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(chosen, record["log_prob"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(value, record["value"], rtol=0, atol=1e-5)
    assert record["done"].any() and record["fresh"][1:].any()
    np.testing.assert_array_equal(record["fresh"][1:], record["done"][:-1])
    # Out of turn there is the no-op alone, and one of the two agents is out of turn.
    legal = np.asarray(record["legal"])
    assert (legal[:, :8, -1] + legal[:, 8:, -1] == 1).all()
