"""MAPPO: the critic sees everybody, the actor only itself, and the actor alone is what plays."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from games import hanabi
from games.errors import TacitError
from games.tabular.library.lever import make as lever_game
from games.tabular.library.tiny_hanabi import make as tiny_hanabi
from games.tabular.library.two_stage_lever import make as two_stage_lever
from marl.agent import Agent, Kind, check_fits
from marl.crossplay import crossplay
from marl.learners.ippo import IPPO, Hyperparameters
from marl.learners.learner import updates, zero_metrics
from marl.learners.mappo import MAPPO, CentralisedCritic, observer_of_all
from marl.policies.feed_forward import FeedForward
from marl.policies.recurrent import Recurrent
from marl.policies.tabular import Tabular

pytestmark = pytest.mark.slow


def learner(game, policy, *, kind=MAPPO, observer="last", **changes):
    settings = {"num_games": 64, "epochs": 2, "minibatches": 2, "total_updates": 100, "anneal": "linear"} | changes
    return kind(game, policy, observer, rollout_length=game.horizon, **settings)


WITH_A_CRITIC_OF_ITS_OWN = functools.partial(MAPPO, critic_sees="own")


def network(game, torso=(), observer="last"):
    return FeedForward(game.observer(observer).size, game.num_actions, torso=torso)


@functools.cache
def programs(learner):
    return jax.jit(lambda numbers, key: learner.init(numbers, key=key)), jax.jit(functools.partial(updates, learner))


def train(learner, *, seed=0, last=10, **hyperparameters):
    """All of a learner's updates: (state, metrics of the last ones)."""
    numbers = {"learning_rate": 0.03, "entropy_coef": 0.0, "max_grad_norm": 10.0, "gamma": 1.0} | hyperparameters
    init, run = programs(learner)
    state = init(Hyperparameters(*map(jnp.float32, Hyperparameters(**numbers))), jax.random.key(seed))
    state, _ = run(state, nothing(), jnp.int32(learner.total_updates - last))
    state, metrics = run(state, nothing(), jnp.int32(last))
    assert metrics.maxima["first_ratio_error"] < 1e-5
    return state, metrics


@functools.cache
def nothing():
    """The metrics of no update, which are the same for all learners."""
    game = lever_game(payoffs=(1.0, 1.0, 1.0))
    some = learner(game, network(game))
    return zero_metrics(some, jax.eval_shape(lambda: some.init(Hyperparameters(), key=jax.random.key(0))))


def mean_return(metrics):
    return float(metrics.episodes.return_sum / metrics.episodes.count)


# ------------------------------------------------------------------------------------------------------- what is seen


def test_the_critic_sees_the_players_own_observation_first():
    game = hanabi.make("Hanabi-Full", players=4)
    state = jax.jit(lambda: game.init(key=jax.random.key(3)))()
    one, every = game.observer("hle"), observer_of_all(game, "hle")
    encode, encode_all = (jax.jit(functools.partial(observer.encode, state)) for observer in (one, every))
    seen = [encode(jnp.int32(player)) for player in range(4)]
    assert every.size == 4 * one.size
    assert every.dtype == one.dtype
    for player, order in [(0, (0, 1, 2, 3)), (1, (1, 0, 2, 3)), (3, (3, 0, 1, 2))]:
        expected = np.concatenate([seen[other] for other in order])
        np.testing.assert_array_equal(encode_all(jnp.int32(player)), expected)
        assert not (expected == np.concatenate(seen)).all() or player == 0


def test_the_actor_sees_its_own_observation_alone():
    actor = FeedForward(3, 4, torso=(5,))
    both = CentralisedCritic(actor, own=3, every=6, layers=(7,))
    params = jax.jit(lambda key: both.init(key=key))(jax.random.key(0))
    legal = jnp.array([True, True, False, True])
    rows = jax.random.normal(jax.random.key(1), (2, 6), jnp.float32)
    rows = rows.at[1, :3].set(rows[0, :3])  # the same own observation, another partner's

    @jax.jit
    def play(row):
        features = both.remember(params, (), both.perceive(params, row))[1]
        return both.act(params, features, legal), both.value(params, features)

    alone = jax.jit(actor.apply)(params["actor"], (), rows[0, :3], legal)[1]
    (log_probs, values) = zip(*map(play, rows), strict=True)
    for found in log_probs:
        np.testing.assert_allclose(found, alone, rtol=1e-6)
    assert abs(values[0] - values[1]) > 1e-3
    # The value by hand: one hidden layer of ReLU.
    first, last = (params["critic"][f"Dense_{n}"] for n in range(2))
    hidden = np.maximum(np.asarray(rows[0]) @ first["kernel"] + first["bias"], 0)
    assert float(values[0]) == pytest.approx(float((hidden @ last["kernel"] + last["bias"])[0]), rel=1e-5)


# ------------------------------------------------------------------------------------------------------------ learning


@pytest.mark.parametrize(
    ("kind", "knows"),
    [(MAPPO, True), (WITH_A_CRITIC_OF_ITS_OWN, False), pytest.param(IPPO, False, marks=pytest.mark.proof)],
)
def test_the_critic_knows_what_the_player_does_not(kind, knows):
    """Tiny Hanabi: when player 0 moves, the return of settled players depends on player 1's card, which she cannot see.

    A value of what she sees is at best the mean over that card, and off by its deviation; a centralised one is exact.
    """
    game = tiny_hanabi("A")
    ours = learner(game, network(game, (16,)), kind=kind, total_updates=150, num_games=128)
    state, _ = train(ours, seed=2, gae_lambda=0.9)
    _, played, _ = jax.jit(ours._rollout)(state, jax.random.key(5))
    returns, first = np.asarray(played.reward.sum(axis=0)), np.asarray(played.value[0, :, 0])
    assert returns.std() > 0.5
    off = np.sqrt(np.mean((first - returns) ** 2))
    seen = np.asarray(played.observation[0, :, 0])
    seen = np.unpackbits(seen, axis=1) if seen.dtype == np.uint8 else seen
    card = seen[:, : game.observer("last").size]  # her own comes first
    unknown = np.sqrt(np.mean([returns[(card == own).all(axis=1)].var() for own in np.unique(card, axis=0)]))
    assert 0.9 * unknown > 0.3
    assert (off < 0.15) if knows else (off > 0.9 * unknown)


@pytest.mark.parametrize("share_parameters", [pytest.param(True, marks=pytest.mark.proof), False])
def test_the_actor_alone_is_the_agent(share_parameters):
    """Its parameters fit the policy's own declaration, and playing them gives the return of training."""
    game = lever_game(payoffs=(1.0, 1.0, 1.0))
    policy = network(game)
    state, metrics = train(learner(game, policy, share_parameters=share_parameters), seed=1)
    assert mean_return(metrics) > 0.97
    params = learner(game, policy, share_parameters=share_parameters).agent_params(state)
    agent = Agent(Kind(policy, "last", share_parameters), jax.device_get(params), "0")
    check_fits(agent, game)
    played = crossplay(game, [agent], games=64, greedy=True, key=jax.random.key(0), seating=np.zeros((1, 2), np.int32))
    assert played.mean == pytest.approx(1.0)


def test_a_recurrent_actor_keeps_its_memory():
    """Two stages of ±1: the optimum is 2; `train` checks the first ratio, 1 only if the replay is right."""
    game = two_stage_lever()
    policy = Recurrent(game.observer("last").size, game.num_actions, torso=(), memory=8)
    state, metrics = train(learner(game, policy), learning_rate=0.02)
    assert mean_return(metrics) > 1.9
    declared = jax.eval_shape(lambda: policy.init(key=jax.random.key(0)))
    assert jax.tree.structure(learner(game, policy).agent_params(state)) == jax.tree.structure(declared)


# ------------------------------------------------------------------------------------------------------------ refusals


def test_a_critic_that_sees_its_own_has_the_same_networks_on_less():
    game = hanabi.make("Hanabi-Small")
    every, own = (
        learner(game, network(game, (8,), "hle"), observer="hle", critic_sees=sees, critic_layers=(5,)).actor_critic
        for sees in ("everybody", "own")
    )
    size = game.observer("hle").size
    assert (every.every, own.every, own.own) == (2 * size, size, size)
    shapes = [
        jax.tree.map(jnp.shape, jax.eval_shape(lambda one=one: one.init(key=jax.random.key(0)))) for one in (every, own)
    ]
    assert shapes[0]["actor"] == shapes[1]["actor"]
    assert [one["critic"]["Dense_0"]["kernel"] for one in shapes] == [(2 * size, 5), (size, 5)]
    with pytest.raises(TacitError, match=r"learner\.critic_sees must be one of everybody, own, not 'some'"):
        learner(game, network(game, (8,), "hle"), observer="hle", critic_sees="some")


def test_refusals():
    game = lever_game(payoffs=(1.0, 1.0, 1.0))
    with pytest.raises(TacitError, match=r"^a centralised critic needs a policy that is a network, with features in a"):
        learner(game, Tabular(game))
    with pytest.raises(TacitError, match=r"^learner\.critic_layers must be a list of layer widths, not 64$"):
        learner(game, network(game), critic_layers=64)
    with pytest.raises(TacitError, match=r"^learner\.critic_layers must be a whole number of at least 1, not 0$"):
        learner(game, network(game), critic_layers=[64, 0])
    with pytest.raises(
        TacitError, match=r"^learner\.minibatches must divide the 64 steps of a rollout .*and 3 does not$"
    ):
        learner(game, network(game), minibatches=3)
    assert learner(game, network(game)).steps_per_update == 64
