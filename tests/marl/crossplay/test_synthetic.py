"""Synthetic cross-play: the means that it claims, and what intervals make of it."""

import math

import numpy as np
import pytest

from games.errors import TacitError
from marl.crossplay import synthetic
from marl.crossplay.estimators import Estimate


@pytest.mark.parametrize("kind", list(synthetic.SAMPLES))
def test_the_true_means_are_5_and_6(kind):
    generator = np.random.default_rng(0)
    own, others = [], []
    for _ in range(400):
        ((seatings, scores),) = synthetic.SAMPLES[kind](generator, 6, 1)
        is_self_play = (seatings == seatings[:, :1]).all(axis=1)
        own.append(scores[is_self_play].mean())
        others.append(scores[~is_self_play].mean())
    for means, truth in ((own, 6.0), (others, 5.0)):
        assert np.mean(means) == pytest.approx(truth, abs=4 * np.std(means) / math.sqrt(400))


def test_a_sample_has_every_seating_once_and_is_the_same_again():
    seatings, scores = synthetic.sample("seeds", 4, seed=3)
    assert sorted(map(tuple, seatings.tolist())) == [(i, j) for i in range(4) for j in range(4)]
    np.testing.assert_array_equal(scores, synthetic.sample("seeds", 4, seed=3)[1])
    assert (scores != synthetic.sample("seeds", 4, seed=4)[1]).all()


def test_cells_as_independent_is_the_textbook_error():
    seatings = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    found = synthetic.cells_as_independent(seatings, np.array([9.0, 1.0, 3.0, 9.0]))
    assert found[:2] == (2.0, 1.0)  # standard deviation sqrt(2) over sqrt(2) cells
    assert (found.low, found.high) == pytest.approx((0.04, 3.96))


def test_coverage_counts_intervals_and_compares_errors():
    estimates = [Estimate(4.0, 2.0, 0.0, 4.5), Estimate(6.0, 2.0, 4.5, 9.0)]
    (measured,) = synthetic.coverage({"cross_play": estimates}).values()
    assert measured == (0.5, 2.0)  # the second interval holds 5; the means' own standard deviation is 1
    (few,) = synthetic.coverage({"cross_play": [one._replace(low=None) for one in estimates]}).values()
    assert math.isnan(few.share)


def test_samples_do_not_depend_on_the_quantities():
    both = synthetic.estimates(
        "mixed", 6, samples=2, resamples=50, quantities=("self_play", "cross_play", "difference")
    )
    alone = synthetic.estimates("mixed", 6, samples=2, resamples=50, quantities=("cross_play",))
    assert alone["cross_play"] == both["cross_play"]
    assert len(both["difference"]) == 2


def test_counting_cells_misses_and_counting_seeds_does_not():
    ways = ("cells_as_independent", "cross_play_disjoint", "cross_play")
    measured = synthetic.measure(["seeds"], [8], samples=200, resamples=200, quantities=ways)["seeds"][8]
    assert measured["cells_as_independent"].share < 0.65
    assert measured["cells_as_independent"].se_ratio < 0.5
    for way in ("cross_play_disjoint", "cross_play"):
        assert 0.91 <= measured[way].share <= 0.99
        assert measured[way].se_ratio == pytest.approx(1, abs=0.15)


def test_bad_arguments_are_refused():
    with pytest.raises(TacitError, match="no kind of samples is called 'luck': expected one of seeds, mixed, pairs"):
        synthetic.sample("luck", 4)
    with pytest.raises(TacitError, match="num_seeds must be"):
        synthetic.sample("seeds", 1)
    with pytest.raises(TacitError, match="no quantity is called 'median'"):
        synthetic.estimates("seeds", 4, samples=1, resamples=1, quantities=("median",))
