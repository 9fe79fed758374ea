"""One-step lookahead: values by hand, against the enumeration, and that one searcher never lowers self-play."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from games.errors import TacitError
from games.tabular import histories
from games.tabular.dec_pomdp import matrix_game
from games.tabular.library import dectiger, lever, tiny_hanabi
from marl.exact.crossplay import play, self_play
from marl.exact.lookahead import lookahead
from marl.exact.reasoning import best_response


def stacked(policies):
    with np.errstate(divide="ignore"):
        return tuple(np.log(np.stack(own)) for own in zip(*policies, strict=True))


def test_levers():
    """A random partner makes the better lever better; a convention is kept, and clashes as before."""
    tree = histories.build(lever.problem([1.0, 0.9]), 1)
    runs = stacked([(np.array([row], float),) * 2 for row in ([0.5, 0.5], [1, 0], [0, 1])])
    searched = lookahead(tree, runs)
    for own in searched:
        np.testing.assert_array_equal(np.exp(own[:, 0]), [[1, 0], [1, 0], [0, 1]])
    seatings = np.array([[0, 0], [1, 1], [2, 2], [0, 1], [0, 2], [1, 2]])
    np.testing.assert_allclose(play(tree, runs, seatings), [0.475, 1, 0.9, 0.5, 0.45, 0])
    np.testing.assert_allclose(play(tree, searched, seatings), [1, 1, 0.9, 1, 0, 0])


def test_two_searchers_may_get_in_each_others_way():
    tree = histories.build(matrix_game(np.array([[0, 1], [1, -0.5]]), ("a", "b"), (("x", "y"),) * 2), 1)
    uniform = stacked([tree.uniform()])
    assert self_play(tree, uniform)[0] == 0.375
    assert self_play(tree, lookahead(tree, uniform, agents=[0]))[0] == 0.5
    assert self_play(tree, lookahead(tree, uniform, agents=[1]))[0] == 0.5
    assert self_play(tree, lookahead(tree, uniform))[0] == 0


def test_ties_are_split_evenly():
    tree = histories.build(lever.problem([1, 1, 0.5]), 1)
    searched = lookahead(tree, stacked([tree.uniform()]))
    np.testing.assert_allclose(np.exp(searched[0][0, 0]), [0.5, 0.5, 0])


@pytest.fixture(scope="module")
def games(random_dec_pomdp):
    problems = {
        "two": (random_dec_pomdp(0, initial=True, discount=0.9), 2),
        "restricted": (random_dec_pomdp(1, initial=True, restricted=True, num_observations=(2, 3)), 2),
        "three": (random_dec_pomdp(2, num_agents=3, num_actions=(2,), num_observations=(2, 1), discount=0.8), 2),
        "tiny_hanabi": (tiny_hanabi.problem("C"), 2),
        "dectiger": (dectiger.problem(), 2),
    }
    return {name: histories.build(*both) for name, both in problems.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["two", "restricted", "three", "tiny_hanabi", "dectiger"])
def test_against_the_enumeration(games, enumeration, random_policy, name):
    tree = games[name]
    policies = [random_policy(tree, seed, zeros=seed == 1) for seed in range(2)]
    searched = lookahead(tree, stacked(policies))
    for number, policy in enumerate(policies):
        game = enumeration(tree, policy, 0.0)
        for agent, own in enumerate(tree.agents):
            q, others, _ = game.action_values(agent)
            best = np.where(own.legal, q, -np.inf)
            best = best >= best.max(1, keepdims=True) - 1e-9
            expected = np.where(others[:, None] > 0, best / best.sum(1, keepdims=True), policy[agent])
            np.testing.assert_allclose(np.exp(searched[agent][number]), expected, atol=1e-12)


@given(st.integers(0, 2**31), st.integers(0, 1), st.booleans())
@settings(max_examples=25)
def test_one_searcher_never_lowers_self_play(random_dec_pomdp, random_policy, seed, agent, zeros):
    tree = histories.build(random_dec_pomdp(seed, initial=True), 2)
    before = stacked([random_policy(tree, seed, zeros)])
    after = lookahead(tree, before, agents=[agent])
    np.testing.assert_array_equal(after[1 - agent], before[1 - agent])
    assert self_play(tree, after)[0] >= self_play(tree, before)[0] - 1e-12


def test_search_again_and_again_ends_in_a_best_response(games, random_policy):
    """Lookahead by one agent, repeated, is policy iteration: it stops where `reasoning.best_response` is."""
    tree = games["two"]
    policy = stacked([random_policy(tree, 5)])
    goal = best_response(tree, tuple(own[0] for own in policy))
    for _ in range(3):
        policy = lookahead(tree, policy, agents=[1])
    np.testing.assert_allclose(np.exp(policy[1][0]), np.exp(goal[1]), atol=1e-12)


def test_an_agent_that_is_not_there(games):
    with pytest.raises(TacitError, match="agent must be a whole number from 0 to 1"):
        lookahead(games["two"], stacked([games["two"].uniform()]), agents=[2])
