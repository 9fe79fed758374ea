"""Greedy play: ties are split evenly, and labels decide nothing."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marl.crossplay import TIE_TOLERANCE, greedify

NEVER = -math.inf


def greedy(*log_probs, **options):
    found = greedify(jnp.array(log_probs, jnp.float32), **options)
    assert found.dtype == jnp.float32
    return np.exp(found).tolist()


def test_the_best_action_is_certain():
    assert greedy(-1.0, -0.5, -3.0) == [0.0, 1.0, 0.0]


def test_ties_are_split_evenly():
    assert greedy(-0.7, -9.0, -0.7, NEVER) == [0.5, 0.0, 0.5, 0.0]
    np.testing.assert_allclose(greedy(*[-1.5] * 3, NEVER), [1 / 3] * 3 + [0], rtol=1e-6)


def test_the_tolerance():
    assert TIE_TOLERANCE == 1e-4
    assert greedy(-1.0, -1.00009) == [0.5, 0.5]  # a probability ratio of 0.99991
    assert greedy(-1.0, -1.00011) == [1.0, 0.0]
    assert greedy(-1.0, -1.4, -1.6, tolerance=0.5) == [0.5, 0.5, 0.0]
    # It is counted from the best one: ties do not make a chain.
    assert greedy(-1.0, -1.00008, -1.00016) == [0.5, 0.5, 0.0]


def test_illegal_actions_stay_out_even_beside_a_very_unlikely_best_one():
    assert greedy(NEVER, -80.0, NEVER) == [0.0, 1.0, 0.0]
    assert greedy(NEVER, NEVER, 0.0) == [0.0, 0.0, 1.0]


@pytest.mark.slow
@given(
    rows=st.lists(
        st.lists(st.sampled_from([0.0, -0.5, -0.50005, -3.0, NEVER]), min_size=4, max_size=4).map(
            lambda row: [*row[:-1], max(row[-1], -5.0)]  # at least one is legal
        ),
        min_size=1,
        max_size=5,
    ),
    order=st.permutations(range(4)),
)
def test_against_a_loop_and_whatever_the_order_of_the_actions(rows, order):
    rows = np.array(rows, np.float32)
    found = np.exp(jax.jit(greedify)(jnp.asarray(rows)))
    for row, probabilities in zip(rows, found, strict=True):
        best = [a for a in range(4) if row[a] >= max(row) - 1e-4]
        np.testing.assert_allclose(probabilities, [1 / len(best) if a in best else 0 for a in range(4)], rtol=1e-6)
    np.testing.assert_array_equal(np.exp(greedify(jnp.asarray(rows[:, order]))), found[:, order])
