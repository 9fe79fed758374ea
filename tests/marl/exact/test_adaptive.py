"""The adaptive agent in a repeated matrix game, against numbers worked out by hand and all sequences of play."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from games.errors import TacitError
from marl.exact.adaptive import adaptive_table, reasoning_levels

CLIMBING = np.array([[11.0, -30, 0], [-30, 7, 6], [0, 0, 5]])
"""Claus and Boutilier 1998: miscoordination is punished, and levels 0 to 3 are four different joint strategies."""


def test_levels_climb():
    rows, columns = reasoning_levels(CLIMBING, 4)
    np.testing.assert_allclose(rows[0], 1 / 3)
    np.testing.assert_array_equal(rows[1:].argmax(1), [2, 1, 1, 1])
    np.testing.assert_array_equal(columns[1:].argmax(1), [2, 2, 1, 1])
    np.testing.assert_array_equal(rows[1:].max(1), 1)


def test_ties_are_split_and_level_zero_may_be_biased():
    rows, _ = reasoning_levels(np.eye(3), 3)
    np.testing.assert_allclose(rows, 1 / 3)
    rows, columns = reasoning_levels(np.eye(3), 2, level_zero=([0.4, 0.4, 0.2], [0.2, 0.2, 0.6]))
    np.testing.assert_allclose(rows, [[0.4, 0.4, 0.2], [0, 0, 1], [0.5, 0.5, 0]])
    np.testing.assert_allclose(columns, [[0.2, 0.2, 0.6], [0.5, 0.5, 0], [0, 0, 1]])


def test_two_rounds_by_hand():
    """payoffs [[1, 0], [.8, .9]]: as column player level 0 is even and level 1 plays the first action (.9 > .45).

    Round 1: P(first) = .75, rows are worth .75 and .825: the second. Round 2, having seen the first action, P(level 1)
    = 2/3, P(first) = 5/6, rows .8333 and .8167: the first row; having seen the second action it is level 0: the second
    row. With level 0: .85 + (.5 + .85) / 2; with level 1: .8 + 1.
    """
    table = adaptive_table(np.array([[1, 0], [0.8, 0.9]]), rounds=2, levels=1)
    assert table.agents == ("level 0", "level 1", "level 2", "adaptive")
    np.testing.assert_allclose(table.returns, [[1.35, 1.8], [1.7, 1.6], [1.0, 2.0], [1.525, 1.8]], atol=1e-12)
    np.testing.assert_allclose(table.best, [1.7, 2.0])
    np.testing.assert_allclose(table.regrets, [[0.35, 0.2], [0, 0.4], [0.7, 0], [0.175, 0.2]], atol=1e-12)
    np.testing.assert_allclose(table.beliefs, [[[1 / 2, 1 / 2]] * 2, [[2 / 3, 1 / 3], [1 / 3, 2 / 3]]], atol=1e-12)


def all_sequences(payoffs, columns, prior, rounds):
    """(returns with each level, the best possible mean over the prior), over every sequence of partner actions."""
    returns, best = np.zeros(len(prior)), 0.0
    for t in range(rounds):
        for seen in itertools.product(range(payoffs.shape[1]), repeat=t):
            joint = np.array([float(np.prod([level[b] for b in seen])) for level in columns])
            if not joint.any():
                continue
            worth = [
                sum(p * q for p, q in zip(prior * joint, payoffs[a] @ columns.T, strict=True))
                for a in range(len(payoffs))
            ]
            best += max(worth)
            chosen = [a for a, value in enumerate(worth) if value >= max(worth) - 1e-9 * sum(prior * joint)]
            returns += joint * np.mean([payoffs[a] @ columns.T for a in chosen], axis=0)
    return returns, best


@given(st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_against_all_sequences(seed):
    rng = np.random.default_rng(seed)
    payoffs = rng.integers(-3, 6, (3, 3)).astype(float)
    prior, zero = rng.dirichlet(np.ones(3)), (rng.dirichlet(np.ones(3)), rng.dirichlet(np.ones(3)))
    table = adaptive_table(payoffs, 4, 2, prior=prior, level_zero=zero)
    returns, best = all_sequences(payoffs, reasoning_levels(payoffs, 2, level_zero=zero)[1], prior, 4)
    np.testing.assert_allclose(table.returns[-1], returns, atol=1e-9)
    # Nobody with this prior does better, agents of fixed depth included.
    assert prior @ table.returns[-1] == pytest.approx(best, abs=1e-9)
    assert (table.returns @ prior <= best + 1e-9).all()
    assert (table.regrets >= 0).all()
    # The mean posterior is the prior; and being k and thought l is as probable as being l and thought k.
    np.testing.assert_allclose(prior @ table.beliefs, [prior] * 4, atol=1e-12)
    joint = prior[:, None] * table.beliefs
    np.testing.assert_allclose(joint, joint.transpose(0, 2, 1), atol=1e-12)
    # The agent one level above its partner is the one that knows.
    for level in range(3):
        assert table.regrets[level + 1, level] == pytest.approx(0, abs=1e-9)


def test_labels_do_not_matter():
    rows, columns = [2, 0, 1], [1, 2, 0]
    before, after = adaptive_table(CLIMBING, 5, 3), adaptive_table(CLIMBING[rows][:, columns], 5, 3)
    np.testing.assert_allclose(before.returns, after.returns, atol=1e-9)


def test_regret_stops_growing_once_the_level_is_known():
    """Level 3 plays the second action and level 2 the third; fixed agents of the wrong depth lose in every round."""
    short, long = (adaptive_table(CLIMBING, rounds, 3) for rounds in (15, 30))
    wrong = short.regrets[:-1] > 1e-9
    np.testing.assert_allclose(long.regrets[:-1][wrong], 2 * short.regrets[:-1][wrong], rtol=1e-9)
    np.testing.assert_allclose(long.regrets[-1], short.regrets[-1], atol=0.02)
    assert (short.regrets[-1] > 0).any()


def test_bad_input():
    for arguments, message in [
        (dict(payoffs=np.zeros(3)), "payoffs must be a matrix"),
        (dict(rounds=0), "rounds must be a whole number"),
        (dict(prior=[0.5, 0.5, 0.1]), "prior must be 3 probabilities"),
        (dict(prior=[0.5, 0.5, 0.0]), "prior must give every level"),
        (dict(level_zero=([0.5, 0.6], [0.5, 0.5])), "level_zero must be 2 probabilities"),
    ]:
        with pytest.raises(TacitError, match=message):
            adaptive_table(**(dict(payoffs=np.eye(2), rounds=2, levels=2) | arguments))
    with pytest.raises(TacitError, match="different counts, more than 20,000"):
        adaptive_table(np.eye(9) + np.arange(9), 40, 3, level_zero=([1 / 9] * 9, np.arange(1, 10) / 45))
