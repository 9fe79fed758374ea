"""The coefficient that closes the gap, on matrices whose gap is known."""

import math

import numpy as np
import pytest

from marl.crossplay.closing import closing_coefficient


def matrix(gap, seeds=8, noise=0.0):
    """Seeds score 3 with themselves and 3 − gap with others, but for noise between pairs."""
    found = np.full((seeds, seeds), 3.0 - gap) + np.random.default_rng(round(100 * gap)).normal(
        0, noise, (seeds, seeds)
    )
    np.fill_diagonal(found, 3.0)
    return found


def test_between_neighbours_it_is_interpolated_in_the_logarithm():
    found = closing_coefficient([0.01, 0.1, 1.0], [matrix(1.0), matrix(0.5), matrix(0.0)], resamples=50)
    # A tenth of the gap is left at four fifths of the way from 0.1 to 1: 10^(−1 + 0.8).
    assert found == pytest.approx((10**-0.2,) * 3, rel=1e-9)
    half = closing_coefficient([0.01, 0.1, 1.0], [matrix(1.0), matrix(0.5), matrix(0.0)], share=0.5, resamples=50)
    assert half.coefficient == pytest.approx(0.1, rel=1e-9)


def test_a_gap_that_no_coefficient_closes():
    found = closing_coefficient([0.01, 0.1], [matrix(1.0), matrix(0.2)], resamples=50)
    assert found == (math.inf, math.inf, math.inf)


def test_without_a_gap_there_is_nothing_to_close():
    assert closing_coefficient([0.01, 0.1], [matrix(0.0), matrix(0.2)], resamples=50) == pytest.approx((0.01,) * 3)


def test_the_first_place_counts():
    gaps = [1.0, 0.05, 0.5, 0.0]
    found = closing_coefficient([1e-3, 1e-2, 1e-1, 1.0], list(map(matrix, gaps)), resamples=50)
    assert 1e-3 < found.coefficient < 1e-2


def test_the_interval_has_the_place_and_grows_with_the_noise():
    noisy = {
        noise: closing_coefficient(
            [0.01, 0.1, 1.0], [matrix(gap, noise=noise) for gap in (1.0, 0.5, 0.0)], resamples=500
        )
        for noise in (0.05, 0.5)
    }
    for found in noisy.values():
        assert found.low < 10**-0.2 < found.high
    assert noisy[0.5].low < noisy[0.05].low < noisy[0.05].high < noisy[0.5].high
