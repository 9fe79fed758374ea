"""The tabular policy: its memory is the player's history, its rows are free, and learners can use it."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from games.errors import TacitError
from games.hanabi import make as hanabi
from games.tabular import histories
from games.tabular.dec_pomdp import from_functions, matrix_game
from games.tabular.simulator import Simulator
from marl.crossplay import crossplay
from marl.learners.ippo import IPPO, Hyperparameters
from marl.learners.learner import updates, zero_metrics
from marl.policies.tabular import Tabular, agent_of, numbering


def recall():
    """Both see a coin, then nothing; each that names the coin at the second step earns a half.

    Agent 0 has a third action and a third observation that never comes.
    """
    return from_functions(
        agents=("a", "b"),
        states=("tails", "heads"),
        actions=(("tails", "heads", "other"), ("tails", "heads")),
        observations=(("tails", "heads", "nothing", "never"), ("tails", "heads", "nothing")),
        discount=1.0,
        start=[0.5, 0.5],
        transition=lambda state, actions: {state: 1.0},
        observation=lambda actions, state: {(2, 2): 1.0},
        reward=lambda state, actions: 0.5 * (actions[0] == state) + 0.5 * (actions[1] == state),
        initial_observation=lambda state: {(state, state): 1.0},
    )


GAME = Simulator(recall(), 2, "recall")


def paths(game, agent):
    own = game.tree.agents[agent]
    return [own.path(history) for history in range(own.size)]


def test_histories_that_two_agents_share_have_one_number():
    tables = numbering(GAME)
    numbers = [dict(zip(paths(GAME, agent), tables.of_agent[agent], strict=True)) for agent in (0, 1)]
    assert sorted(numbers[0]) == sorted([(0,), (1,), *((first, a, 2) for first in (0, 1) for a in range(3))])
    assert sorted(numbers[1]) == sorted([(0,), (1,), *((first, a, 2) for first in (0, 1) for a in range(2))])
    assert all(numbers[0][path] == number for path, number in numbers[1].items())
    assert sorted(numbers[0].values()) == list(range(8))
    assert tables.child.shape == (8, 3, 4)
    assert tables.root.tolist() == [numbers[0][(0,)], numbers[0][(1,)], -1, -1, -1]
    followed = {
        (first, action, seen): int(tables.child[numbers[0][(first,)], action, seen])
        for first, action, seen in itertools.product((0, 1), range(3), range(4))
    }
    assert {path: number for path, number in followed.items() if number >= 0} == {
        path: number for path, number in numbers[0].items() if len(path) == 3
    }


@pytest.mark.slow
def test_the_memory_is_the_number_of_the_history():
    policy, legal = Tabular(GAME), jnp.ones(GAME.num_actions, jnp.bool_).at[GAME.noop].set(False)
    params = policy.init(key=jax.random.key(0))
    deal = jax.jit(lambda seed: GAME.init(key=jax.random.key(seed)))
    look, apply, step = jax.jit(GAME.observe, static_argnums=2), jax.jit(policy.apply), jax.jit(GAME.step)
    for seed, actions in enumerate([(0, 1), (2, 0), (1, 1)]):
        state = deal(seed)
        coin, memories = int(state.state), [policy.initial_memory()] * 2
        for expected in ([(coin,), (coin,)], [(coin, action, 2) for action in actions]):
            for player in (0, 1):
                seen = look(state, jnp.int32(player), "last")
                memories[player], log_probs = apply(params, memories[player], seen, legal)
                row = numbering(GAME).of_agent[player][paths(GAME, player).index(expected[player])]
                assert memories[player] == row
                weights = np.exp(np.asarray(params["logits"][row, :3], np.float64))
                np.testing.assert_allclose(np.exp(log_probs), [*weights / weights.sum(), 0], atol=1e-6)
            state, _, _ = step(state, np.array(actions, np.int32), key=jax.random.key(9))
            assert not state.illegal


@pytest.mark.slow
def test_a_joint_policy_becomes_an_agent():
    """Agent 0 names the coin, agent 1 the other side; what is mixed is played as often as it says."""
    rows = {path: np.eye(3)[path[0]] for path in paths(GAME, 0)}
    names = np.array([rows[path] for path in paths(GAME, 0)])
    lies = np.array([np.eye(2)[1 - path[0]] for path in paths(GAME, 1)])
    mixed = np.array([[0.25, 0.75] if path[0] else [0.5, 0.5] for path in paths(GAME, 1)])
    agents = [agent_of(GAME, (names, lies), "one"), agent_of(GAME, (names, mixed), "two")]
    assert agents[0].kind == agents[1].kind
    played = crossplay(GAME, agents, games=4000, greedy=False, key=jax.random.key(1))
    assert played.labels == ("one", "two")
    np.testing.assert_array_equal(played.mean[[0, 2]], 1.0)  # agent 1 is "one": a half at each of two steps
    expected = 1 + 0.5 * (0.5 + 0.75)
    assert (np.abs(played.mean[[1, 3]] - expected) < 4 * played.standard_error[[1, 3]]).all()
    greedy = crossplay(GAME, agents, games=4000, greedy=True, key=jax.random.key(2))
    assert (np.abs(greedy.mean[[1, 3]] - (1 + 0.5 * (0.5 + 1))) < 4 * greedy.standard_error[[1, 3]]).all()


@pytest.mark.parametrize(
    ("change", "agent"),
    [
        (lambda p: p[:, :2], "a"),
        (lambda p: p[:-1], "a"),
        (lambda p: 0.9 * p, "a"),
        (lambda p: np.log(p + 1e-9), "a"),
        (lambda p: p * np.nan, "a"),
    ],
)
def test_what_is_no_joint_policy_is_refused(change, agent):
    uniform = GAME.tree.uniform()
    with pytest.raises(TacitError, match=f"^the policy of agent {agent} must be of shape \\(8, 3\\), with a"):
        agent_of(GAME, (change(uniform[0]), uniform[1]), "wrong")
    with pytest.raises(TacitError, match=r"^a joint policy of 'recall' has 2 policies, not 1"):
        agent_of(GAME, uniform[:1], "alone")


def test_probability_on_an_illegal_action_is_refused():
    masks = [np.ones((4, 3), bool), np.ones((3, 2), bool)]
    masks[1][1] = [False, True]
    game = Simulator(recall().replace(legal=tuple(masks)), 2, "restricted")
    uniform = histories.build(recall(), 2).uniform()
    with pytest.raises(TacitError, match=r"^the policy of agent b must be "):
        agent_of(game, (game.tree.uniform()[0], uniform[1]), "wrong")


def test_only_tabular_games_have_tables():
    with pytest.raises(TacitError, match=r"^a tabular policy needs a tabular game, and 'hanabi' is none"):
        Tabular(hanabi(preset="Hanabi-2x3"))
    with pytest.raises(TacitError, match=r"^policy.observer of a tabular policy must be 'last'"):
        Tabular(GAME, observation_size=GAME.observer("history").size)
    assert Tabular(GAME) == Tabular(Simulator(recall(), 2, "recall"), GAME.observer("last").size)


def train(game, number, share_parameters):
    policy = Tabular(game)
    learner = IPPO(
        game=game, policy=policy, observer="last", num_games=64, rollout_length=4, epochs=4, minibatches=1,
        total_updates=number, share_parameters=share_parameters,
    )  # fmt: skip
    settings = Hyperparameters(learning_rate=0.05, entropy_coef=0.001, gamma=1.0)
    state = jax.jit(lambda key: learner.init(settings, key=key))(jax.random.key(0))
    run, nothing = jax.jit(functools.partial(updates, learner)), zero_metrics(learner, state)
    state, _ = run(state, nothing, jnp.int32(number))
    state, metrics = run(state, nothing, jnp.int32(1))
    assert metrics.maxima["first_ratio_error"] < 1e-5
    return state, float(metrics.episodes.return_sum / metrics.episodes.count)


@pytest.mark.slow
@pytest.mark.parametrize("share_parameters", [True, pytest.param(False, marks=pytest.mark.proof)])
def test_a_learner_remembers_what_only_the_first_observation_showed(share_parameters):
    state, mean_return = train(GAME, 40, share_parameters)
    assert mean_return > 1.9  # 1.5 without memory: a coin at the second step
    assert state.params["logits"].shape == ((8, 4) if share_parameters else (2, 8, 4))


@pytest.mark.proof
def test_a_learner_meets_on_a_lever():
    game = Simulator(matrix_game(np.eye(3), "ab", [["x", "y", "z"]] * 2), 1, "levers")
    assert train(game, 40, False)[1] > 0.95


def test_a_policy_is_hashable_and_small_to_show():
    policy = dataclasses.replace(Tabular(GAME), game=Simulator(recall(), 1, "recall"))
    assert len({policy, Tabular(GAME), Tabular(GAME)}) == 2
    assert repr(Tabular(GAME)).startswith("Tabular(game=recall(horizon=2, ")
