"""What cross-play refuses, in one sentence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from games.errors import TacitError
from games.tabular.library.dectiger import make as dectiger
from games.tabular.library.lever import make as lever_game
from marl.agent import Agent, Kind
from marl.crossplay import crossplay
from marl.policies.feed_forward import FeedForward
from marl.policies.tabular import Tabular
from marl.policies.uniform import Uniform

GAME = lever_game(payoffs=(1.0, 1.0, 1.0))
KEY = jax.random.key(0)
NETWORK = FeedForward(observation_size=GAME.observer("last").size, num_actions=4, torso=(2,))


def play(agents, **options):
    return crossplay(GAME, agents, games=2, greedy=False, key=KEY, **options)


@pytest.mark.slow
def test_weights_that_do_not_fit_their_own_architecture():
    params = NETWORK.init(key=KEY)
    fits = Agent(Kind(NETWORK, "last", True), params, "ann")
    wrong = jax.tree.map(lambda leaf: jnp.zeros((3, *leaf.shape), leaf.dtype), params)
    with pytest.raises(TacitError, match=r"agent bob declares \S+ of shape \(\d.*\), and holds \(3, "):
        play([fits, Agent(fits.kind, wrong, "bob")])
    with pytest.raises(TacitError, match=r"weights of agent eve are not those that its policy declares: FeedForward"):
        play([fits, Agent(fits.kind, (), "eve")])


@pytest.mark.parametrize(
    ("policy", "observer", "says"),
    [
        (NETWORK, "last", r"agent ann cannot play dectiger: its policy does not take bool\[9\] and 4 actions, Scope"),
        (NETWORK, "hle", r"game 'dectiger' has no observer 'hle'; it has last, history"),
        (
            Tabular(dectiger(horizon=3)),
            "last",
            "cannot play dectiger: its table is of the histories of dectiger with h",
        ),
    ],
)
def test_agents_of_another_game(policy, observer, says):
    agent = Agent(Kind(policy, observer, True), policy.init(key=KEY), "ann")
    with pytest.raises(TacitError, match=says):
        crossplay(dectiger(horizon=2), [agent], games=2, greedy=False, key=KEY)


def test_a_table_fits_games_with_the_same_histories():
    policy = Tabular(GAME)
    assert policy.misfit(lever_game(payoffs=(1.0, 0.5, 0.9))) == ""
    assert policy.misfit(lever_game(payoffs=(1.0, 1.0))).startswith("its table is of the histories of lever")


@pytest.mark.parametrize("cells", [[[0, 2]], [[-1, 0]], [[0, 1, 1]], [0, 1]])
def test_seatings_that_name_no_such_agents(cells):
    agents = [Agent(Kind(Uniform(), "last", True), (), name) for name in "ab"]
    with pytest.raises(TacitError, match=r"seatings are rows of 2 numbers of agents, 0 to 1"):
        play(agents, seating=np.array(cells))


@pytest.mark.slow
def test_heavy_weights_are_played_in_more_calls(monkeypatch):
    agents = [Agent(Kind(NETWORK, "last", True), NETWORK.init(key=jax.random.key(i)), str(i)) for i in range(3)]
    whole = play(agents)
    monkeypatch.setattr("marl.crossplay.evaluate._WEIGHT_BYTES", 1)
    np.testing.assert_array_equal(play(agents).mean, whole.mean)
