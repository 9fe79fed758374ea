"""The best equivariant joint policy, against known Other-Play values and games that can be solved on paper."""

import functools
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from games.errors import TacitError
from games.tabular import histories
from games.tabular.dec_pomdp import matrix_game
from games.tabular.library import asymmetric_lever, dectiger, equal_levers, hint, lever, tiny_hanabi, two_stage_lever
from games.tabular.symmetry import automorphisms, equivariance_defect
from marl.exact import crossplay
from marl.exact.deterministic import on_histories, to_behaviour
from marl.exact.equivariant import best_equivariant
from marl.exact.optimum import optimum

pytest.importorskip("igraph", reason="install the dev extra")


@functools.cache
def found(problem, horizon, *, swap, upper_bound=None, **options):
    """(the result, its defect); by default no policy at all beats the upper bound."""
    tree = histories.build(problem, horizon)
    group = automorphisms(problem, swap_agents=swap)
    bound = optimum(problem, horizon).upper_bound if upper_bound is None else upper_bound
    best = best_equivariant(tree, group, upper_bound=bound, **{"restarts": 16} | options)
    policy = tuple(map(np.exp, best.log_probs))
    for own, legal in zip(policy, tree.agents, strict=True):
        np.testing.assert_allclose(own.sum(1), 1, rtol=1e-12)
        assert not own[~legal.legal].any()
    own = tuple(log[None] for log in best.log_probs)
    assert crossplay.self_play(tree, own) == pytest.approx([best.value], abs=1e-12)
    assert best.upper_bound >= best.value
    assert equivariance_defect(group, tree, policy).unweighted < 1e-12
    return best


ASYMMETRIC, TEN = asymmetric_lever.problem(), lever.problem()
KNOWN = [
    # game, horizon, with the player swap, value, how
    (TEN, 1, False, 0.9, "all 4 tied vertices"),
    (TEN, 1, True, 0.9, "search from 16 tied starts, Bernstein bound"),
    (two_stage_lever.problem(), 2, False, 1.0, "all 16 tied vertices"),
    (two_stage_lever.problem(), 2, True, 0.5, "search from 16 tied starts, Bernstein bound"),
    pytest.param(ASYMMETRIC, 3, True, 2.0, "search from 16 tied starts", marks=pytest.mark.slow),
    (equal_levers.problem(3), 1, True, 1 / 3, "search from 16 tied starts, Bernstein bound"),  # nothing is free
    (hint.problem(3), 2, True, 1 / 3, "all 2 tied vertices"),
    (dectiger.problem(), 2, False, -4.0, "all 2,916 tied vertices"),
    (dectiger.problem(), 2, True, -4.0, "search from 16 tied starts"),
    (tiny_hanabi.problem("A"), 2, True, 2.25, "all 64 tied vertices"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("problem", "horizon", "swap", "value", "method"), KNOWN)
def test_known_other_play_values(problem, horizon, swap, value, method):
    best = found(problem, horizon, swap=swap)
    assert best.value == pytest.approx(value, abs=1e-9)
    assert best.method == method
    assert best.exact == (best.upper_bound - best.value <= 1e-9)
    if "vertices" in method or "Bernstein" in method:
        assert best.exact


@pytest.mark.slow
def test_a_bound_that_is_not_met_is_no_proof():
    best = found(ASYMMETRIC, 3, swap=True)
    assert (best.exact, best.upper_bound) == (False, 3.0)


@pytest.mark.slow
def test_the_bound_without_the_swap_proves_the_lever_value_with_it():
    without = found(TEN, 1, swap=False)
    best = found(TEN, 1, swap=True, upper_bound=without.value)
    assert (best.exact, best.upper_bound, best.method) == (True, without.value, "search from 16 tied starts")


@pytest.mark.slow
def test_too_many_vertices_are_searched_instead():
    best = found(two_stage_lever.problem(), 2, swap=False, limit=15)
    assert best.value == pytest.approx(1.0, abs=1e-9)
    assert best.method.startswith("search from 16 tied starts")


@pytest.mark.parametrize(
    ("problem", "horizon", "met"), [(dectiger.problem(), 3, True), (equal_levers.problem(3), 1, False)]
)
def test_nothing_is_searched_for_if_the_best_policy_is_equivariant(problem, horizon, met):
    tree, best = histories.build(problem, horizon), optimum(problem, horizon)
    policy = to_behaviour(on_histories(problem, horizon, best.policy), tree)
    group = automorphisms(problem, swap_agents=True)
    known = best_equivariant(tree, group, upper_bound=best.value, first=policy, steps=1)
    assert (known.method == "the best self-play policy") == met
    assert (known.exact and known.value == pytest.approx(best.value, abs=1e-9)) == met


@settings(max_examples=5)
@given(seed=st.integers(0, 10**6), actions=st.integers(2, 4))
def test_a_game_that_can_be_turned_pays_its_mean(seed, actions):
    """The payoff depends on the difference of the actions only: an equivariant policy is uniform."""
    payoffs = np.random.default_rng(seed).normal(size=actions)
    table = payoffs[np.subtract.outer(np.arange(actions), np.arange(actions)) % actions]
    problem = matrix_game(table, "ab", [range(actions)] * 2)
    best = found(problem, 1, swap=False)
    assert best.value == pytest.approx(payoffs.mean(), abs=1e-12)
    assert best.exact


@pytest.mark.slow
@settings(max_examples=5)
@given(seed=st.integers(0, 10**6))
def test_a_symmetric_matrix_with_the_swap_is_a_quadratic_program(seed):
    """Two agents who make the same choice: max pᵀMp over the simplex, by going through all supports."""
    table = np.random.default_rng(seed).normal(size=(3, 3))
    table += table.T
    values = []
    for size in (1, 2, 3):
        for support in itertools.combinations(range(3), size):
            part = table[np.ix_(support, support)]
            weights = np.linalg.solve(part, np.ones(size))
            p = weights / weights.sum()
            if (p >= 0).all():
                values.append(p @ part @ p)
    best = found(matrix_game(table, "ab", [range(3)] * 2), 1, swap=True)
    assert best.value == pytest.approx(max(values), abs=1e-7)


@pytest.mark.slow
@settings(max_examples=5)
@given(seed=st.integers(0, 10**6), players=st.integers(2, 4))
def test_players_who_cannot_be_told_apart_choose_one_probability(seed, players):
    """Two actions: the payoff of k players on the first is v_k, the return a polynomial of the one probability."""
    payoffs = np.random.default_rng(seed).normal(size=players + 1)
    table = payoffs[players - np.indices((2,) * players).sum(0)]
    p = np.polynomial.Polynomial([0, 1])
    value = sum(v * math.comb(players, k) * p**k * (1 - p) ** (players - k) for k, v in enumerate(payoffs.tolist()))
    turns = [root.real for root in value.deriv().roots() if abs(root.imag) < 1e-9 and 0 < root.real < 1]
    best = found(matrix_game(table, "abcd"[:players], [range(2)] * players), 1, swap=True)
    assert best.value == pytest.approx(max(map(value, [0.0, 1.0, *turns])), abs=1e-8)
    assert best.upper_bound >= max(map(value, [0.0, 1.0, *turns])) - 1e-12
    assert best.exact


def test_restarts_are_counted():
    with pytest.raises(TacitError, match="restarts must be a whole number of at least 1, not 0"):
        found(lever.problem(), 1, swap=True, restarts=0)
