"""Retention, its floor, and the parts of a gap."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from games.errors import TacitError
from games.tabular.library import dectiger, lever, two_stage_lever
from marl.exact.structure_scores import floor, retention, split_gap


@pytest.mark.parametrize(
    ("team", "solo", "base", "expected"),
    [(0.25, 0.5, 0, 0.5), (3, 2, 0, 1.5), (-10, -5, -20, 2 / 3), (0, 0, -2, 1), (-3, 1, -2, -1 / 3)],
)
def test_retention(team, solo, base, expected):
    assert retention(team, solo, base) == pytest.approx(expected, abs=1e-15)


def test_no_retention_where_there_is_nothing_to_keep():
    with pytest.raises(TacitError, match=r"^the solo value 0 is not above the floor 0: there is nothing to keep$"):
        retention(0.0, 0.0)
    with pytest.raises(TacitError, match="the team value must be a number, not nan"):
        retention(float("nan"), 1.0)


def test_floor():
    assert floor(lever.problem(), 1) == (0, "0, as no reward is negative")
    assert floor(lever.problem([1, 2], mismatch=0.5), 1)[0] == 0  # never negative: the plain ratio
    assert floor(lever.problem([1, 2], mismatch=-0.5, players=3), 1) == (-0.5, "the worst value")
    assert floor(two_stage_lever.problem(), 2) == (-2, "the worst value")
    # Dec-tiger: open different doors at every step.
    assert floor(dectiger.problem(), 2)[0] == -200


def test_a_floor_that_is_only_a_bound_says_so(random_dec_pomdp):
    problem = random_dec_pomdp(3, num_actions=(3,), num_observations=(3,))
    found = floor(problem, 3, work=1, restarts=4)
    assert found.note.startswith("the worst value found, at least -")
    bound = float(found.note.split()[-1])
    assert bound < found.value < 3 * float(problem.expected_reward.mean())


@pytest.mark.parametrize(
    ("claims", "isolation", "spatial"),
    [(1.0, None, 0.75), (0.5, 0.375, 0.25), (None, 0.5, 0.25), (0.125, 0.0, 0), (2.0, 0.5, 0.75)],
)
def test_split_gap(claims, isolation, spatial):
    assert split_gap(1.0, 0.25, claims=claims, isolation=isolation) == (0.75, spatial, 0.75 - spatial)


def test_no_split():
    with pytest.raises(TacitError, match="there is no gap: the team's value 1 is not below the solo value 1"):
        split_gap(1.0, 1.0, claims=1.0)
    with pytest.raises(TacitError, match="neither claims nor isolation has a meaning in this game"):
        split_gap(1.0, 0.0)


values = st.floats(-10, 10, allow_subnormal=False)


@given(values, st.floats(0.01, 10), values, values, st.floats(0, 10))
def test_parts_of_a_gap(team, gap, claims, isolation, more):
    found = split_gap(team + gap, team, claims=claims, isolation=isolation)
    assert found.spatial >= 0 and found.semantic >= 0
    assert found.spatial + found.semantic == pytest.approx(gap, abs=1e-12)
    assert split_gap(team + gap, team, claims=claims + more, isolation=isolation).spatial >= found.spatial
