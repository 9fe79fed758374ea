"""Alternating best responses: published values, plateaus, random games, and what does not fit."""

from types import ModuleType

import pytest

from games.errors import TacitError
from games.tabular.library import dectiger, grid_small, hint, lever, recycling, tiny_hanabi
from marl.exact import alternation
from marl.exact.alternation import alternate
from marl.exact.deterministic import on_histories
from marl.exact.optimum import optimum
from tests.deterministic_policies import brute_force, expected_return, games, own_policies, random_game


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("library", "horizon", "value"), [(dectiger, 4, 4.80275515625), (recycling, 4, 13.38), (grid_small, 3, 1.550444)]
)
def test_published_values_are_found_from_any_starts(library: ModuleType, horizon: int, value: float, seed: int) -> None:
    found, _ = alternate(library.problem(discount=1.0), horizon, restarts=128, seed=seed)
    assert found == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize(("variant", "value"), [("A", 2.25), ("B", 1), ("C", 2.5), ("D", 2.5), ("E", 10), ("F", 7 / 3)])
def test_tiny_hanabi(variant: str, value: float) -> None:
    assert alternate(tiny_hanabi.problem(variant), 2, restarts=128, seed=0)[0] == pytest.approx(value, abs=1e-12)


def test_the_seed_decides_which_convention_is_found() -> None:
    found = [int(alternate(lever.problem(), 1, restarts=1, seed=seed)[1][0][0][0]) for seed in (*range(20), *range(20))]
    assert found[:20] == found[20:]
    assert len(set(found)) > 4


def test_a_given_start_is_not_left_for_something_worse() -> None:
    problem = dectiger.problem()
    best = on_histories(problem, 4, optimum(problem, 4).policy)
    assert alternate(problem, 4, restarts=1, seed=3)[0] < 4
    assert alternate(problem, 4, restarts=1, seed=3, starts=[best])[0] == pytest.approx(4.80275515625, abs=1e-9)


@pytest.mark.slow
def test_drawn_ties_lead_off_a_plateau(monkeypatch: pytest.MonkeyPatch) -> None:
    # Nearly all responses of the hint game are among equals: which word a card gets that is not guessed anyway.
    assert alternate(hint.problem(5), 2, restarts=128, seed=0)[0] == pytest.approx(0.4, abs=1e-12)
    monkeypatch.setattr(alternation, "DRIFT", 0)
    assert alternate(hint.problem(5), 2, restarts=128, seed=0)[0] < 0.4 - 1e-9


@pytest.mark.slow
@games
def test_alternating_best_responses_on_random_games(seed: int) -> None:
    problem, horizon = random_game(seed)
    best = brute_force(seed)
    value, policy = alternate(problem, horizon, restarts=1, seed=0)
    assert value <= best + 1e-12
    assert expected_return(problem, horizon, policy) == pytest.approx(value, rel=0, abs=1e-12)
    for agent in range(problem.num_agents):  # nobody can do better alone
        for own in own_policies(problem, horizon, agent):
            changed = (*policy[:agent], own, *policy[agent + 1 :])
            assert expected_return(problem, horizon, changed) <= value + 1e-9
    assert alternate(problem, horizon, restarts=50, seed=0)[0] == pytest.approx(best, rel=0, abs=1e-12)


def test_what_does_not_fit_is_refused_with_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TacitError, match=r"horizon 400 take .* GiB up to stage \d+ alone"):
        alternate(dectiger.problem(), 400, restarts=1, seed=0)
    monkeypatch.setattr(alternation, "MEMORY_LIMIT", 1 << 20)
    with pytest.raises(TacitError, match=r"best response at horizon 6 needs .* GiB for the beliefs of stage \d"):
        alternate(dectiger.problem(), 6, restarts=1, seed=0)
