"""The search over the stages: its bounds at every lookahead, and that it ends with the optimum."""

import math

import pytest

from games.tabular.library import dectiger
from marl.exact import multi_agent_a_star
from marl.exact.deterministic import on_histories
from marl.exact.multi_agent_a_star import MultiAgentAStar
from marl.exact.optimum import optimum
from tests.deterministic_policies import expected_return, games, random_game


@games
def test_bounds_of_random_games(seed: int) -> None:
    """An upper bound at any lookahead, and from the root alone; the lower the more lookahead."""
    problem, horizon = random_game(seed)
    value, before = optimum(problem, horizon).value, math.inf
    for lookahead in range(horizon + 1):
        search = MultiAgentAStar(problem)
        search.trees = search.trees[:1]  # otherwise two stages are one Bayesian game
        search.allow(10**6, 10**9)
        upper = search.run(search.dynamics.start()[0], horizon, lookahead, most_nodes=1).upper
        assert value - 1e-12 <= upper <= before + 1e-12
        before = upper
        search.allow(1, 0)
        assert search.run(search.dynamics.start()[0], horizon, lookahead).upper >= value - 1e-12


@games
def test_the_search_ends_at_any_lookahead_with_the_same_value(seed: int) -> None:
    problem, horizon = random_game(seed)
    value = optimum(problem, horizon).value
    for lookahead in range(horizon + 1):
        for most in (1, 2):
            search = MultiAgentAStar(problem)
            search.trees = search.trees[:most]
            search.allow(most, 10**9)
            found = search.run(search.dynamics.start()[0], horizon, lookahead)
            assert found.lower == found.upper == pytest.approx(value, rel=0, abs=1e-12)


@games
def test_where_everybody_must_forget_the_bounds_hold_and_the_policy_has_the_value(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, horizon = random_game(seed)
    best = optimum(problem, horizon).value
    monkeypatch.setattr(multi_agent_a_star, "OCCUPANCY_NUMBERS", 1)
    search = MultiAgentAStar(problem)
    search.trees = search.trees[:1]  # otherwise the last two stages are one Bayesian game
    search.allow(1, 10**9)
    found = search.run(search.dynamics.start()[0], horizon, 0)
    assert found.lower - 1e-12 <= best <= found.upper + 1e-12
    assert found.policy is not None
    value = expected_return(problem, horizon, on_histories(problem, horizon, found.policy))
    assert found.lower == pytest.approx(value, rel=0, abs=1e-12)


@pytest.mark.slow
def test_fifty_stages_of_dec_tiger_end_with_bounds() -> None:
    found = optimum(dectiger.problem(), 50, work=10**6)
    assert -100 < found.value < found.upper_bound < 1000  # only listen; know the tiger and open every time
    assert not found.exact
