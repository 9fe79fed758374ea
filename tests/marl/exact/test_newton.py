"""Newton's method takes over where the flow is slow: right at the pitchfork of two equal levers, α = 1/2."""

import numpy as np
import pytest

from games.errors import TacitError
from games.tabular import histories
from games.tabular.library import dectiger, equal_levers
from marl.exact import gradient_flow, newton
from marl.exact.starts import normal_starts, pure_starts

TREE = histories.build(equal_levers.problem(2), 1)


def both(probability):
    """Logits of two agents, float64[1, 1, 2], that choose lever 0 with some probability."""
    own = np.log([probability, 1 - probability])[None, None]
    return own, own


def convention(alpha):
    """How often lever 0 is chosen by those who prefer it: p = 1/(1 + exp((1 - 2p)/α)), by bisection."""
    low, high = 0.5 + 1e-9, 1.0
    for _ in range(100):
        p = (low + high) / 2
        low, high = (p, high) if 1 / (1 + np.exp((1 - 2 * p) / alpha)) > p else (low, p)
    return low


@pytest.mark.parametrize("above", [1e-3, 2e-5])
def test_starts_end_right_above_a_pitchfork(above):
    alpha = 0.5 * (1 + above)
    starts = pure_starts(TREE, 4, seed=0)
    found = gradient_flow.solve(TREE, starts, np.full(4, alpha), max_steps=1000, newton_after=500)
    assert found.converged.all() and (found.residual_all < 1e-12).all()
    np.testing.assert_allclose(np.exp(found.log_probs), 0.5, atol=1e-9)
    assert (found.moved <= newton.NEAR).all()
    slow = gradient_flow.solve(TREE, starts, np.full(4, alpha), max_steps=1000)
    conventional = starts[0][:, 0].argmax(1) == starts[1][:, 0].argmax(1)  # others end exactly in the middle
    assert (np.abs(np.exp(slow.log_probs[0][conventional]) - 0.5) > 1e-6).all()  # whatever its residual says


def test_starts_end_in_conventions_right_below_a_pitchfork():
    alpha = 0.5 * (1 - 1e-4)
    expected = convention(alpha)
    assert 0.5 + 5e-3 < expected < 0.5 + 1e-2
    starts = tuple(np.concatenate(own) for own in zip(both(0.99), both(0.01), strict=True))
    found = gradient_flow.solve(TREE, starts, np.full(2, alpha), max_steps=2000, newton_after=500)
    assert found.converged.all()
    for own in found.log_probs:
        np.testing.assert_allclose(np.exp(own[:, 0, 0]), [expected, 1 - expected], atol=1e-9)


def test_only_a_maximum_uphill_and_near_is_taken():
    """Below the pitchfork: from beside the saddle in the middle, towards each of the three points."""
    alpha = 0.5 * (1 - 1e-4)
    there = convention(alpha)
    beside = both(0.5 + 1e-3)

    def found(start, guess, alpha=alpha):
        log_probs, moved = newton.maxima_near(TREE, start, guess, np.full(1, alpha))
        return np.exp(log_probs[0][0, 0, 0]), moved[0]

    assert np.isnan(found(beside, both(0.5))[1])  # a saddle
    assert np.isnan(found(beside, both(1 - there))[1])  # beyond the saddle
    assert found(beside, both(there)) == pytest.approx((there, there - 0.501), abs=1e-9)
    at_low = convention(0.2)  # far from the middle
    assert np.isnan(found(both(at_low - 0.06), both(at_low), 0.2)[1])  # farther than NEAR
    assert found(both(at_low - 0.04), both(at_low), 0.2) == pytest.approx((at_low, 0.04), abs=1e-9)


def test_a_game_too_large_is_left_to_the_flow(monkeypatch):
    alpha, starts = np.full(4, 0.5 * (1 + 2e-5)), pure_starts(TREE, 4, seed=0)
    flow = gradient_flow.solve(TREE, starts, alpha, max_steps=500)
    assert newton.applies(TREE)
    monkeypatch.setattr(newton, "MOST_DENSE", 1)
    assert not newton.applies(TREE)
    without = gradient_flow.solve(TREE, starts, alpha, max_steps=500, newton_after=100)
    for one, other in zip(without, flow, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_the_game_counts_by_its_free_probabilities():
    assert newton.applies(histories.build(dectiger.problem(), 3))  # 2 agents, 21 histories, 3 actions: 84
    assert not newton.applies(histories.build(dectiger.problem(), 5))  # 341 histories: 1,364


def test_where_newtons_method_is_not_needed_nothing_changes():
    tree = histories.build(dectiger.problem(), 2)
    starts = normal_starts(tree, 3, 1.0, seed=0)
    flow = gradient_flow.solve(tree, starts, np.full(3, 15.0))
    other = gradient_flow.solve(tree, starts, np.full(3, 15.0), newton_after=10_000)
    np.testing.assert_array_equal(flow.steps, other.steps)
    for one, two in zip(flow.log_probs, other.log_probs, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-10)


@pytest.mark.parametrize("value", [0, -5, 2.5])
def test_newton_after_is_a_positive_whole_number(value):
    with pytest.raises(TacitError, match="newton_after"):
        gradient_flow.solve(TREE, pure_starts(TREE, 1, seed=0), np.full(1, 1.0), newton_after=value)
