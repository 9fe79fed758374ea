"""Self-play optima: published values, brute force on small random games, and bounds."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from games.errors import TacitError
from games.tabular import dpomdp_file
from games.tabular.dec_pomdp import DecPOMDP, matrix_game
from games.tabular.library import (
    asymmetric_lever,
    broadcast_channel,
    dectiger,
    equal_levers,
    grid_small,
    hint,
    lever,
    recycling,
    tiny_hanabi,
    two_stage_lever,
)
from marl.exact.deterministic import on_histories
from marl.exact.optimum import optimum
from tests.deterministic_policies import brute_force, expected_return, games, random_game

PUBLISHED = {
    "dectiger": (
        dectiger,
        {2: -4, 3: 5.1908125, 4: 4.80275515625, 5: 7.026450983203, 6: 10.381625, 7: 9.99356765625},
    ),
    "broadcast_channel": (broadcast_channel, {2: 2, 3: 2.99, 4: 3.89, 5: 4.79, 10: 9.29, 20: 18.31322818300334}),
    "recycling": (
        recycling,
        {
            2: 7,
            3: 10.660125,
            4: 13.38,
            5: 16.486,
            6: 19.5542,
            7: 22.63374,
            8: 25.709878,
            9: 28.7870366,
            10: 31.86388902,
        },
    ),
    "grid_small": (grid_small, {2: 0.91, 3: 1.550444, 4: 2.2415766, 5: 2.9704960768}),
}
"""Horizon -> optimum at discount 1, from MADP's value database and masplan.org; dec-tiger's 7 from another solver."""
FAR = {
    "broadcast_channel": (broadcast_channel, 50, 45.5016041757),
    "recycling": (recycling, 50, 154.9408284023669),
}

# Published values ----------------------------------------------------------------------------------------------------

SLOW = {("dectiger", 5), ("dectiger", 6), ("grid_small", 4), ("recycling", 9), ("recycling", 10)}
PROOF = {("dectiger", 7), ("grid_small", 5)}


@pytest.mark.parametrize(
    ("name", "horizon"),
    [
        pytest.param(
            name,
            horizon,
            marks=[pytest.mark.proof] * ((name, horizon) in PROOF) + [pytest.mark.slow] * ((name, horizon) in SLOW),
        )
        for name, (_, values) in PUBLISHED.items()
        for horizon in values
    ],
)
def test_published_values(name: str, horizon: int) -> None:
    library, values = PUBLISHED[name]
    problem = library.problem(discount=1.0)
    found = optimum(problem, horizon, work=10**10)
    assert found.exact
    assert found.value == pytest.approx(values[horizon], rel=0, abs=1e-8)
    assert found.upper_bound == pytest.approx(values[horizon], rel=0, abs=1e-8)
    searched = optimum(problem, horizon, limit=0, work=10**10) if horizon <= 3 else found
    assert searched.exact and searched.value == pytest.approx(found.value, rel=0, abs=1e-9)
    if horizon <= 7:
        policy = on_histories(problem, horizon, found.policy)
        assert found.value == pytest.approx(expected_return(problem, horizon, policy), rel=0, abs=1e-9)


@pytest.mark.proof
@pytest.mark.parametrize("name", FAR)
def test_published_values_of_fifty_stages(name: str) -> None:
    library, horizon, value = FAR[name]
    found = optimum(library.problem(discount=1.0), horizon)
    assert found.exact
    assert found.value == pytest.approx(value, rel=0, abs=1e-8)


FILES = Path(__file__).parents[4] / "shared" / "dpomdp"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "horizon", "value"),
    [
        ("boxPushingUAI07", 3, 66.081),
        ("boxPushingUAI07", 4, 98.59361),
        ("Mars", 3, 9.38),
        ("Mars", 4, 10.1808),
        ("fireFighting_2_3_3", 2, -4.383496),
        ("Grid3x3corners", 5, 0.895656),
    ],
)
def test_published_values_of_problem_files(name: str, horizon: int, value: float) -> None:
    if not (path := FILES / f"{name}.dpomdp").exists():
        pytest.skip("the problem file of the MADP toolbox is not part of the repository and not here")
    found = optimum(dpomdp_file.read_file(path).replace(discount=1.0), horizon)
    assert found.exact
    assert found.value == pytest.approx(value, rel=0, abs=5e-6)


@pytest.mark.parametrize("library", [recycling, grid_small])
def test_the_discounted_optima_that_the_library_names(library: ModuleType) -> None:
    for horizon, value in library.DISCOUNTED_OPTIMA.items():
        found = optimum(library.problem(), horizon)
        assert found.exact
        assert found.value == pytest.approx(value, rel=0, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("horizon", "listed"), [(7, 4.4657), (8, 5.2319)])
def test_better_policies_of_grid_small_than_those_of_masplan(horizon: int, listed: float) -> None:
    problem = grid_small.problem(discount=1.0)
    found = optimum(problem, horizon, work=10**6, restarts=1)
    value = expected_return(problem, horizon, on_histories(problem, horizon, found.policy))
    assert found.value == pytest.approx(value, rel=0, abs=1e-12)
    assert listed + 0.003 < value < found.upper_bound


def test_a_lower_bound_says_so() -> None:
    found = optimum(dectiger.problem(), 5, work=1, restarts=16)
    assert not found.exact
    method = "multi-agent A*, 6 nodes; alternating best responses from its policy and 16 random starts"
    assert found.method == f"{method}, which found the value"
    assert found.value == pytest.approx(7.026450983203, abs=1e-9)
    assert found.upper_bound > found.value + 1


def test_the_dec_tiger_optimum_is_found_by_going_through_3_to_the_7_policies() -> None:
    assert optimum(dectiger.problem(), 3).method == "best responses to all 2,187 policies of the other agents"
    assert optimum(dectiger.problem(), 3, limit=2_186).method.startswith("multi-agent A*")


def test_more_work_never_loosens_the_bounds() -> None:
    found = [optimum(dectiger.problem(), 5, work=work, restarts=1) for work in (1, 10**5, 10**8)]
    uppers, values = [each.upper_bound for each in found], [each.value for each in found]
    assert uppers == sorted(uppers, reverse=True) and values == sorted(values)
    assert [each.exact for each in found] == [False, False, True]


def test_levers() -> None:
    found = optimum(lever.problem(), 1)
    assert (found.value, found.exact) == (1.0, True)
    mine, yours = (int(own[0][0]) for own in found.policy.actions)
    assert mine == yours < 9
    for problem, horizon, value in (
        (two_stage_lever.problem(), 2, 2.0),
        (asymmetric_lever.problem(), 3, 3.0),
        (equal_levers.problem(100), 1, 1.0),
        (equal_levers.problem(10, players=3), 1, 1.0),
    ):
        found = optimum(problem, horizon)
        assert (found.value, found.exact) == (value, True)


@pytest.mark.parametrize(("variant", "value"), [("A", 2.25), ("B", 1), ("C", 2.5), ("D", 2.5), ("E", 10), ("F", 7 / 3)])
def test_tiny_hanabi(variant: str, value: float) -> None:
    problem = tiny_hanabi.problem(variant)
    found = optimum(problem, 2)
    assert found.exact
    assert found.value == pytest.approx(value, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_hint(size: int) -> None:
    found = optimum(hint.problem(size), 2, work=10**6)
    assert found.value == pytest.approx(min(1, 2 / size), abs=1e-12)
    assert found.exact == (size < 4)


def test_the_discount_counts() -> None:
    assert optimum(two_stage_lever.problem(discount=0.5), 2).value == pytest.approx(1.5, abs=1e-12)


def test_three_agents_in_a_matrix_game() -> None:
    payoffs = np.zeros((2, 3, 2))
    payoffs[1, 2, 0] = 4.0
    payoffs[0, 0, 1] = 3.0
    found = optimum(matrix_game(payoffs, "abc", [range(2), range(3), range(2)]), 1)
    assert (found.value, found.exact) == (4.0, True)
    assert [int(own[0][0]) for own in found.policy.actions] == [1, 2, 0]


# Brute force on small random games -----------------------------------------------------------------------------------


@pytest.mark.slow
@games
def test_optimum_of_random_games(seed: int) -> None:
    problem, horizon = random_game(seed)
    best = brute_force(seed)
    found = optimum(problem, horizon)
    assert found.exact
    assert found.value == pytest.approx(best, rel=0, abs=1e-12)
    assert found.upper_bound == found.value
    policy = on_histories(problem, horizon, found.policy)
    assert expected_return(problem, horizon, policy) == pytest.approx(best, rel=0, abs=1e-12)


def test_one_agent_is_a_pomdp() -> None:
    problem = tiger_alone()
    assert -1 + 0.85 * 10 + 0.15 * -100 < -2  # it does not pay to open after one observation
    disagree = 2 * 0.85 * 0.15
    twice_then_open_if_agreed = -2 + 0.85**2 * 10 - 0.15**2 * 100 - disagree
    for horizon, value in ((1, -1), (2, -2), (3, twice_then_open_if_agreed)):
        found = optimum(problem, horizon)
        assert found.exact
        assert found.value == pytest.approx(value, abs=1e-12)


def test_bad_input() -> None:
    problem = dectiger.problem()
    with pytest.raises(TacitError, match="horizon must be a whole number of at least 1"):
        optimum(problem, 0)
    with pytest.raises(TacitError, match="restarts must be"):
        optimum(problem, 2, restarts=0)


def tiger_alone() -> DecPOMDP:
    """Listen (-1), or open the left or the right door: 10, and -100 with the tiger behind it, which is placed anew."""
    heard = np.array([[0.85, 0.15], [0.15, 0.85]])
    return DecPOMDP(
        agents=("only",),
        states=("left", "right"),
        actions=(("listen", "open-left", "open-right"),),
        observations=(("hear-left", "hear-right"),),
        discount=1.0,
        start=np.array([0.5, 0.5]),
        transition=np.stack([np.eye(2), np.full((2, 2), 0.5), np.full((2, 2), 0.5)]),
        observation=np.stack([heard, np.full((2, 2), 0.5), np.full((2, 2), 0.5)]),
        reward=np.array([[-1.0, -1.0], [-100.0, 10.0], [10.0, -100.0]])[:, :, None, None],
    )
