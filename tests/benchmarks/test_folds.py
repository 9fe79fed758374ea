"""A part of the hunt for windows that `tacit phase` misses: twenty of its random games, each against brute force."""

import numpy as np
import pytest

from benchmarks import folds

PAIRS, THREES = folds.SHAPES[0], folds.SHAPES[4]
"""Two agents with two actions, three agents with three; of these games 0 and 26 have a branch that folds."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "seeds", "several"),
    [
        pytest.param(PAIRS, (1, 2), 2, id="two agents"),
        pytest.param(THREES, (2, 26), 2, id="three agents"),
        pytest.param(PAIRS, (0, *range(3, 10)), 5, id="more of two agents"),
        pytest.param(THREES, (0, 1, 3, 4), 4, id="more of three agents"),
        pytest.param(THREES, (5, 6, 7, 8), 4, id="yet more of three agents"),
    ],
)
def test_no_window_lies_above_what_is_said_to_be_unique(shape, seeds, several):
    found = {seed: (folds.said(shape, seed), folds.seen(shape, seed, step=1.04)) for seed in seeds}
    for game, (statement, brute) in found.items():
        assert not folds.is_wrong(statement, brute), game
        assert statement["one_from"] is not None
        if brute["windows"]:
            # What is seen bounds what is said from below, and a step of brute force from above.
            top = brute["windows"][-1][1]
            assert top <= statement["several_up_to"] < statement["one_from"] < 1.05 * top, game
        if statement["alpha_stable"] is not None:
            assert statement["one_from"] > statement["alpha_stable"]
    assert sum(bool(brute["windows"]) for _, brute in found.values()) == several
    # With a symmetry of pairs the branch loses stability at a pitchfork; without one it need not.
    assert {statement["alpha_stable"] is None for statement, _ in found.values()} == {True, False}


def test_games_with_odd_seeds_stay_the_same_when_all_go_on_to_the_next_action():
    for seed in (4, 5):
        reward = folds.game(THREES, seed).expected_reward.reshape(3, 3, 3)
        turned = reward
        for axis in range(3):
            turned = np.roll(turned, 1, axis)
        assert np.allclose(reward, turned) == (seed == 5)


def test_statements_and_windows_are_compared_by_their_ends():
    brute = {"low": 0.1, "windows": [(0.1, 0.2), (0.4, 0.5)]}
    assert folds.is_wrong({"one_from": 0.5}, brute) and folds.is_wrong({"one_from": 0.3}, brute)
    assert not folds.is_wrong({"one_from": 0.501}, brute) and not folds.is_wrong({"one_from": None}, brute)
    assert not folds.is_wrong({"one_from": 0.01}, {"low": 0.1, "windows": []})
    nothing = {"folds": [], "alpha_stable": None}
    assert folds.apart(nothing, brute) == brute["windows"]
    assert folds.isolas(nothing, brute) == [(0.4, 0.5)]  # the other one may go on below
    assert folds.apart({"folds": [0.502], "alpha_stable": 0.2}, brute) == []
    assert folds.isolas({"folds": [0.401], "alpha_stable": None}, brute) == []
