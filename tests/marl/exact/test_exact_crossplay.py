"""Exact self-play, cross-play and greedy policies, against the enumeration."""

import numpy as np
import pytest

from games.errors import TacitError
from games.tabular import histories
from games.tabular.library import lever, tiny_hanabi
from marl.crossplay import seatings
from marl.exact.crossplay import cross_play, greedy, play, self_play


@pytest.fixture(scope="module")
def games(random_dec_pomdp):
    problems = {
        "two": (random_dec_pomdp(0, initial=True, discount=0.9), 2),
        "restricted": (random_dec_pomdp(1, initial=True, restricted=True, num_observations=(2, 3)), 2),
        "tiny_hanabi": (tiny_hanabi.problem("C"), 2),
        "three": (random_dec_pomdp(2, num_agents=3, num_actions=(2,), num_observations=(2, 1), discount=0.8), 2),
        "two levers": (lever.problem((1.0, 0.9), -0.5), 1),
        "three levers": (lever.problem((1.0, 0.9), -0.5, players=3), 1),
    }
    return {name: histories.build(*both) for name, both in problems.items()}


def several(tree, random_policy, count):
    """(policies[number][agent] probabilities, the same as log-probabilities for each agent [B, H, A])."""
    policies = [random_policy(tree, seed, zeros=seed % 2 == 1) for seed in range(count)]
    with np.errstate(divide="ignore"):
        return policies, tuple(np.log(np.stack(own)) for own in zip(*policies, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["two", "restricted", "tiny_hanabi"])
def test_matrix_of_two_agents(games, enumeration, random_policy, name):
    tree = games[name]
    policies, log_probs = several(tree, random_policy, 3)
    matrix = cross_play(tree, log_probs)
    expected = [[enumeration(tree, (one[0], other[1]), 0.0).objective() for other in policies] for one in policies]
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(matrix, expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(self_play(tree, log_probs), np.diag(matrix), rtol=0, atol=1e-12)
    cells = seatings(3, 2, "all")
    np.testing.assert_allclose(play(tree, log_probs, cells), matrix[cells[:, 0], cells[:, 1]], rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["three", "three levers"])
def test_seatings_of_three_agents(games, enumeration, random_policy, name):
    tree = games[name]
    policies, log_probs = several(tree, random_policy, 4)
    cells = np.array([[0, 0, 0], [0, 1, 2], [2, 1, 0], [3, 3, 1], [1, 3, 3]])
    expected = [
        enumeration(tree, tuple(policies[number][agent] for agent, number in enumerate(row)), 0.0).objective()
        for row in cells.tolist()
    ]
    assert len(set(np.round(expected, 6))) == len(cells)
    np.testing.assert_allclose(play(tree, log_probs, cells), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(self_play(tree, log_probs)[0], expected[0], rtol=0, atol=1e-12)


def test_more_seatings_than_are_played_at_once(games, random_policy):
    tree = games["three levers"]
    _, log_probs = several(tree, random_policy, 7)
    cells = np.random.default_rng(0).integers(0, 7, (300, 3))
    first, second, third = (np.exp(own[cells[:, agent], 0]) for agent, own in enumerate(log_probs))
    meet = first * second * third  # the probability of all meeting on each lever
    expected = meet @ [1.0, 0.9] - 0.5 * (1 - meet.sum(1))
    np.testing.assert_allclose(play(tree, log_probs, cells), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("count", [16, 17, 33])
def test_a_matrix_of_more_than_it_is_padded_to_at_least(games, random_policy, count):
    tree = games["two levers"]
    _, (first, second) = several(tree, random_policy, count)
    meet = np.exp(first[:, 0])[:, None] * np.exp(second[:, 0])  # the probability of both meeting on each lever
    expected = meet @ [1.0, 0.9] - 0.5 * (1 - meet.sum(-1))
    assert expected.shape == (count, count)
    np.testing.assert_allclose(cross_play(tree, (first, second)), expected, rtol=0, atol=1e-14)


def test_a_matrix_is_for_two_agents(games, random_policy):
    tree = games["three"]
    with pytest.raises(TacitError, match="a cross-play matrix is for two agents; with 3 the seatings have to be named"):
        cross_play(tree, several(tree, random_policy, 2)[1])


def test_greedy_splits_ties_evenly():
    row = np.log([0.3, 0.3, 0.1, 0.3])
    close, apart = row.copy(), row.copy()
    close[0] += 5e-9
    apart[0] += 2e-8
    with np.errstate(divide="ignore"):
        illegal = np.log([0.5, 0.0, 0.5, 0.0])
    own, other = greedy((np.stack([row, close, apart])[None], illegal[None, None]))
    third = [1 / 3, 1 / 3, 0, 1 / 3]
    np.testing.assert_allclose(np.exp(own[0]), [third, third, [1, 0, 0, 0]], rtol=1e-15)
    np.testing.assert_array_equal(np.exp(other[0, 0]), [0.5, 0, 0.5, 0])
    assert own.dtype == np.float64
    wide = greedy((np.stack([row, close, apart])[None],), tolerance=1e-7)[0]
    np.testing.assert_allclose(np.exp(wide[0]), [third] * 3, rtol=1e-15)


def test_labels_do_not_let_a_flat_policy_coordinate():
    tree = histories.build(lever.problem(), 1)
    flat = tuple(np.log(own)[None] for own in tree.uniform())
    best = greedy(flat)
    assert self_play(tree, best) == pytest.approx([9.9 / 100], abs=1e-15)
    assert cross_play(tree, best) == pytest.approx(9.9 / 100, abs=1e-15)
