"""MAGRPO: advantages by hand, groups of equal beginnings, whole games, and small games with exact answers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from games import hanabi
from games.errors import TacitError
from games.tabular.dec_pomdp import matrix_game
from games.tabular.library.hint import make as hint_game
from games.tabular.library.lever import make as lever_game
from games.tabular.library.two_stage_lever import make as two_stage_lever
from games.tabular.simulator import Simulator
from marl.learners import rollout
from marl.learners.learner import updates, zero_metrics
from marl.learners.magrpo import MAGRPO, Hyperparameters, group_advantages
from marl.policies.feed_forward import FeedForward
from marl.policies.recurrent import Recurrent
from marl.policies.tabular import Tabular

pytestmark = pytest.mark.slow


def learner(game, policy, *, observer="last", **changes):
    settings = {"num_games": 64, "group_size": 8, "epochs": 2, "minibatches": 2, "total_updates": 100} | changes
    return MAGRPO(game, policy, observer, **settings)


def network(game, observer="last", torso=()):
    return FeedForward(game.observer(observer).size, game.num_actions, torso=torso)


@functools.cache
def programs(learner):
    return jax.jit(lambda numbers, key: learner.init(numbers, key=key)), jax.jit(functools.partial(updates, learner))


def new(learner, seed=0, **hyperparameters):
    numbers = {"learning_rate": 0.05, "entropy_coef": 0.0, "max_grad_norm": 10.0} | hyperparameters
    return programs(learner)[0](Hyperparameters(*map(jnp.float32, Hyperparameters(**numbers))), jax.random.key(seed))


def train(learner, *, last=10, **start):
    """All of a learner's updates: (state, metrics of the last ones)."""
    state, run = new(learner, **start), programs(learner)[1]
    state, _ = run(state, nothing(), jnp.int32(learner.total_updates - last))
    return run(state, nothing(), jnp.int32(last))


@functools.cache
def nothing():
    """The metrics of no update, which are the same for all learners."""
    return zero_metrics(OF_HANABI, new(OF_HANABI))


def mean_return(metrics):
    return float(metrics.episodes.return_sum / metrics.episodes.count)


# ---------------------------------------------------------------------------------------------------------- advantages

# Two groups of two games, three steps. Game 1 ends after its second step, game 3 after its first.
REWARD = np.array([[1.0, 0.0, 0.0, 5.0], [0.0, 2.0, 1.0, 0.0], [3.0, 0.0, 1.0, 0.0]], np.float32)
DONE = np.array([[0, 0, 0, 1], [0, 1, 0, 0], [1, 0, 1, 0]], bool)
TO_GO = np.array([[1.0, -1.0, -1.5, 1.5], [0.5, -0.5, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
# to go: 4 2 | 2 5, then 3 2 | 2 -, then 3 - | 1 -: a game that goes on alone has nothing to compare itself with.
EPISODE = np.array([[1.0, -1.0, -1.5, 1.5], [1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
PLAYED = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 1, 0]], bool)


@pytest.mark.parametrize(("credit", "differences"), [("to_go", TO_GO), ("episode", EPISODE)])
def test_advantages_by_hand(credit, differences):
    def found(normaliser):
        advantage, played = group_advantages(
            jnp.asarray(REWARD),
            jnp.asarray(DONE),
            gamma=jnp.float32(1),
            group_size=2,
            normaliser=normaliser,
            credit=credit,
        )
        np.testing.assert_array_equal(played, PLAYED)
        return advantage

    np.testing.assert_allclose(found("none"), differences, atol=1e-6)
    # Of two games the one is a standard deviation above the mean and the other one below, whatever it is worth.
    np.testing.assert_allclose(found("group_std"), np.sign(differences), rtol=1e-4)
    # The root of the mean square over the 9 steps that were played.
    std = np.sqrt((differences**2).sum() / 9)
    np.testing.assert_allclose(found("batch_std"), differences / std, rtol=1e-4)


@given(seed=st.integers(0, 2**32 - 1))
def test_advantages_are_the_naive_ones(seed):
    rng = np.random.default_rng(seed)
    steps, groups, size = 5, 3, 4
    lengths = rng.integers(1, steps + 1, groups * size)
    reward = rng.normal(size=(steps, groups * size)).astype(np.float32)  # also where nothing is played any more
    done = np.arange(steps)[:, None] == lengths[None] - 1
    for normaliser in ("group_std", "none"):
        gamma = float(rng.choice([1.0, 0.9, 0.0]))
        found, _ = NAIVE[normaliser](reward, done, gamma=jnp.float32(gamma))
        for game in range(groups * size):
            group = range(game // size * size, (game // size + 1) * size)
            for t in range(steps):
                if t >= lengths[game]:
                    assert found[t, game] == 0
                    continue
                to_go = {
                    g: reward[t : lengths[g], g] @ gamma ** np.arange(lengths[g] - t) for g in group if t < lengths[g]
                }
                values = np.array(list(to_go.values()))
                std = values.std() + 1e-5 if normaliser == "group_std" else 1.0
                assert found[t, game] == pytest.approx((to_go[game] - values.mean()) / std, abs=2e-3)


NAIVE = {
    name: jax.jit(functools.partial(group_advantages, group_size=4, normaliser=name, credit="to_go"))
    for name in ("group_std", "none")
}


def test_equal_returns_are_no_signal():
    """Even where their mean is rounded: 3 times a tenth, in groups of three."""
    reward = jnp.full((1, 6), 0.1, jnp.float32)
    for normaliser in ("group_std", "batch_std", "none"):
        found, _ = group_advantages(
            reward, jnp.ones((1, 6), bool), gamma=jnp.float32(1), group_size=3, normaliser=normaliser, credit="to_go"
        )
        assert np.abs(found).max() < 2e-3


# --------------------------------------------------------------------------------------------------------- whole games


HANABI = hanabi.make("Hanabi-2x3")
OF_HANABI = learner(HANABI, network(HANABI, "hle", (8,)), observer="hle", num_games=12, group_size=4, epochs=1)


def test_a_group_begins_with_one_deck():
    state = new(OF_HANABI)
    later = programs(OF_HANABI)[1](state, nothing(), jnp.int32(1))[0]
    for playing in (state.playing, later.playing):
        assert (playing.lengths == 0).all()
        numbers = jax.tree.map(
            lambda leaf: jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf,
            playing.states,
        )
        rows = np.concatenate(
            [np.asarray(leaf).reshape(12, -1).astype(np.int64) for leaf in jax.tree.leaves(numbers)], 1
        )
        groups = rows.reshape(3, 4, -1)  # the cards to come are part of them
        assert (groups == groups[:, :1]).all()
        assert len(np.unique(groups[:, 0], axis=0)) == 3


def test_an_update_plays_every_game_to_its_end_once():
    state = new(OF_HANABI)
    state, metrics = programs(OF_HANABI)[1](state, nothing(), jnp.int32(3))
    assert metrics.episodes.count == 3 * 12
    assert 3 * 12 <= metrics.episodes.length_sum < 3 * 12 * HANABI.horizon
    assert metrics.maxima["first_ratio_error"] < 1e-5
    assert state.updates == 3
    assert "value_loss" not in metrics.means
    assert OF_HANABI.steps_per_update == 12 * 26  # the horizon of this board


def test_games_that_ended_stay_as_they_ended():
    """The rollout without restarts: what is counted ends with a game, and nothing is chosen or paid after it."""
    state = new(OF_HANABI)
    play = functools.partial(
        rollout.rollout, HANABI, OF_HANABI.policy, observer="hle", batch="acting", share_parameters=True, sequence=1,
        length=HANABI.horizon, restart=False,
    )  # fmt: skip
    playing, trajectory, episodes = jax.jit(lambda params, playing: play(params, playing, key=jax.random.key(1)))(
        state.params, state.playing
    )
    assert playing.states.ended.all()
    assert (trajectory.done.sum(axis=0) == 1).all()
    last = trajectory.done.argmax(axis=0)
    after = np.arange(HANABI.horizon)[:, None] > last[None]
    assert after.any()
    assert (trajectory.legal[after].sum(axis=-1) == 1).all()
    assert (trajectory.reward[after] == 0).all()
    assert episodes.count == 12
    assert episodes.length_sum == (last + 1).sum()
    assert episodes.return_sum == pytest.approx(trajectory.reward.sum())
    assert episodes.bombed == jax.vmap(HANABI.bombed)(playing.states).sum()


# ------------------------------------------------------------------------------------------------------- exact answers


PAYOFFS = np.array([0.2, 1.0, 0.5])
BANDIT = Simulator(matrix_game(PAYOFFS[:, None], ("chooses", "watches"), (("a", "b", "c"), ("wait",))), 1, "bandit")


@pytest.mark.parametrize("normaliser", ["group_std", "batch_std", "none"])
def test_what_much_entropy_leaves_depends_on_the_normaliser(normaliser):
    """E[A | a] + c H is greatest at p(a) ∝ exp(E[A | a] / c), with groups of two games, the other one drawn from p.

    none       A is half the difference of two rewards: E[A | a] = (R(a) − E R) / 2
    batch_std  divided by its root mean square, which is the deviation of R over √2
    group_std  A is ±1, or 0 for equal rewards: E[A | a] = P(the other is worse) − P(the other is better)
    """
    coefficient = {"group_std": 1.0, "batch_std": 1.5, "none": 0.25}[normaliser]
    expected = np.ones(3) / 3
    for _ in range(300):
        centred = PAYOFFS - expected @ PAYOFFS
        advantage = {
            "none": centred / 2,
            "batch_std": centred / 2 / np.sqrt(expected @ centred**2 / 2),
            "group_std": np.sign(PAYOFFS[:, None] - PAYOFFS[None]) @ expected,
        }[normaliser]
        response = np.exp(advantage / coefficient)
        expected = (expected + response / response.sum()) / 2
    ours = learner(
        BANDIT, network(BANDIT), num_games=256, group_size=2, total_updates=80, anneal="linear",
        advantage_normaliser=normaliser,
    )  # fmt: skip
    state, metrics = train(ours, entropy_coef=coefficient, learning_rate=0.04)
    observation = BANDIT.observe(BANDIT.init(key=jax.random.key(0)), jnp.int32(0), "last")
    legal = jnp.array([True, True, True, False])
    found = np.exp(jax.jit(ours.policy.apply)(state.params, (), observation, legal)[1])[:3]
    assert found == pytest.approx(expected, abs=0.03)
    assert mean_return(metrics) == pytest.approx(expected @ PAYOFFS, abs=0.03)


@pytest.mark.parametrize("share_parameters", [True, pytest.param(False, marks=pytest.mark.proof)])
def test_two_players_meet_on_a_lever(share_parameters):
    game = lever_game(payoffs=(1.0, 1.0, 1.0))
    ours = learner(game, network(game), share_parameters=share_parameters, anneal="linear")
    before, (state, metrics) = new(ours, seed=1), train(ours, seed=1)
    assert mean_return(metrics) > 0.97
    assert state.params["logits_layer"]["bias"].shape == ((4,) if share_parameters else (2, 4))
    # A critic's head of the policy is nobody's business.
    jax.tree.map(np.testing.assert_array_equal, before.params["value_layer"], state.params["value_layer"])


def test_a_hint_gets_a_meaning():
    """Two colors, two ranks: the optimum is 1, and whoever gives hints at random gets 1/2."""
    game = hint_game(2)
    ours = learner(game, Tabular(game), share_parameters=False, num_games=256, group_size=16, anneal="linear")
    state, metrics = train(ours, learning_rate=0.2, seed=1)
    assert mean_return(metrics) > 0.97
    assert metrics.episodes.length_sum == 2 * metrics.episodes.count
    assert len(state.params["logits"]) == 2  # each player's own


def test_a_recurrent_policy_is_replayed_over_the_whole_game():
    """Two stages of ±1: the optimum is 2. The first ratio is 1 only if the replay is right."""
    game = two_stage_lever()
    policy = Recurrent(game.observer("last").size, game.num_actions, torso=(), memory=8)
    _, metrics = train(learner(game, policy, anneal="linear"), learning_rate=0.02)
    assert metrics.maxima["first_ratio_error"] < 1e-5
    assert mean_return(metrics) > 1.9


# ------------------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"group_size": 1}, r"learner\.group_size must be a whole number of at least 2, not 1"),
        ({"group_size": 7}, r"learner\.group_size must divide learner\.num_games, 64, and 7 does not"),
        ({"num_games": 0}, r"learner\.num_games must be a whole number of at least 1, not 0"),
        (
            {"advantage_normaliser": "std"},
            r"learner\.advantage_normaliser must be one of group_std, batch_std, none, not 'std'",
        ),
        ({"credit": "all"}, r"learner\.credit must be one of to_go, episode, not 'all'"),
        ({"anneal": "exp"}, r"learner\.anneal must be one of none, linear, cosine, not 'exp'"),
        ({"minibatches": 3}, r"learner\.minibatches must divide the 64 steps of a rollout .*, and 3 does not"),
    ],
)
def test_refusals_name_the_key(wrong, sentence):
    with pytest.raises(TacitError, match=f"^{sentence}$"):
        learner(BANDIT, network(BANDIT), **wrong)


def test_hyperparameters_out_of_range():
    Hyperparameters().check()
    with pytest.raises(TacitError, match=r"^learner\.clip must be a number above 0, not 0$"):
        Hyperparameters(clip=0).check()
    with pytest.raises(TacitError, match=r"^learner\.entropy_coef must be a number of at least 0, not -1$"):
        Hyperparameters(entropy_coef=-1).check()
