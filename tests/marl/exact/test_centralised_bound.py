"""Upper bounds from the centralised problem: its value by brute force, and the self-play optimum below them."""

import numpy as np
import pytest

from games.tabular.dec_pomdp import DecPOMDP
from games.tabular.library import broadcast_channel, dectiger, grid_small, recycling
from marl.exact.centralised_bound import CentralisedBound
from marl.exact.deterministic import legal_together
from marl.exact.occupancy import Dynamics
from marl.exact.optimum import optimum

SEEDS = range(12)
HORIZON = 3


def test_dec_tiger_for_one_who_hears_both() -> None:
    """After one observation both doors are open questions; after two that agree the right door is opened."""
    problem = dectiger.problem(discount=1.0)
    agree, contradict = 0.85**2 + 0.15**2, 2 * 0.85 * 0.15
    sure = 0.85**2 / agree  # where both heard the tiger on one side
    opened = 20 * sure - 50 * (1 - sure)
    for left, value in ((1, -2.0), (2, -2 + agree * opened - 2 * contradict)):
        assert bound(problem, left, 10**6) == pytest.approx(value, rel=0, abs=1e-12)


@pytest.mark.parametrize(
    ("library", "horizon", "value"),
    [
        (dectiger, 6, 10.381625),
        (recycling, 10, 31.86388902),
        (broadcast_channel, 6, 5.69),
        (grid_small, 5, 2.9704960768),
    ],
)
def test_no_bound_is_below_the_published_optimum(library, horizon: int, value: float) -> None:
    problem = library.problem(discount=1.0)
    bounds = [bound(problem, horizon, most) for most in (0, 10, 100, 1000)]
    assert bounds == sorted(bounds, reverse=True) and bounds[-1] > value - 1e-9
    state_is_seen = float(problem.start @ values_if_the_state_is_seen(problem, horizon))
    assert bounds[0] <= state_is_seen + 1e-9


@pytest.mark.parametrize("seed", SEEDS)
def test_the_value_of_random_games(seed: int) -> None:
    problem = random_game(seed)
    value = value_of_all_histories(problem, problem.start, -1, HORIZON)
    assert bound(problem, HORIZON, 10**6) == pytest.approx(value, rel=0, abs=1e-12)
    few = [bound(problem, HORIZON, most) for most in range(6)]
    assert few == sorted(few, reverse=True) and few[-1] >= value - 1e-12
    shared = CentralisedBound(Dynamics(problem))  # what is remembered does no harm
    again = [shared.value(problem.start, beginning(shared), HORIZON, most) for most in (1, 3, 1, 10**6)]
    assert again == sorted(again, reverse=True) and again[-1] == pytest.approx(value, rel=0, abs=1e-12)
    assert optimum(problem, HORIZON).value <= value + 1e-12


@pytest.mark.parametrize("seed", SEEDS)
def test_a_late_state_is_worth_no_less_in_any_belief(seed: int) -> None:
    problem = random_game(seed)
    bounds = CentralisedBound(Dynamics(problem))
    rng = np.random.default_rng(seed)
    for belief in rng.dirichlet(np.full(problem.num_states, 0.5), 5):
        late = float((bounds.vectors(HORIZON) @ belief).max())
        assert late >= value_of_all_histories(problem, belief, -1, HORIZON) - 1e-12
        assert late <= belief @ values_if_the_state_is_seen(problem, HORIZON) + 1e-12


@pytest.mark.parametrize("seed", SEEDS)
def test_a_search_that_stops_early_bounds_the_optimum(seed: int) -> None:
    problem = random_game(seed)
    best = optimum(problem, HORIZON)
    assert best.method.startswith("best responses to all")
    uppers = [
        optimum(problem, HORIZON, limit=0, work=work, restarts=1).upper_bound for work in (1, 10**5, 10**6, 10**9)
    ]
    assert uppers == sorted(uppers, reverse=True)
    assert min(uppers) >= best.value - 1e-12
    assert uppers[-1] == pytest.approx(best.value, rel=0, abs=1e-9)


def beginning(bounds: CentralisedBound) -> tuple[int, ...]:
    return tuple(int(own[-1]) for own in bounds.dynamics.class_of)


def bound(problem: DecPOMDP, left: int, most: int) -> float:
    bounds = CentralisedBound(Dynamics(problem))
    return bounds.value(problem.start, beginning(bounds), left, most)


def value_of_all_histories(problem: DecPOMDP, weights: np.ndarray, seen: int, left: int) -> float:
    """The oracle: the best joint action after every joint history, float64[S] weights of the states; -1: none seen."""
    values = []
    for action in np.flatnonzero(legal_together(problem)[seen]):
        value = float(weights @ problem.expected_reward[action])
        if left > 1:
            ahead = (weights @ problem.transition[action])[:, None] * problem.observation[action]
            value += problem.discount * sum(
                value_of_all_histories(problem, after, number, left - 1) for number, after in enumerate(ahead.T)
            )
        values.append(value)
    return max(values)


def values_if_the_state_is_seen(problem: DecPOMDP, left: int) -> np.ndarray:
    """float64[S], by backward induction over states and what is legal after the last joint observation."""
    legal = legal_together(problem)
    values = np.zeros((len(legal), problem.num_states))
    for _ in range(left):
        ahead = np.einsum("atj,jt->at", problem.observation, values[:-1])
        actions = problem.expected_reward + problem.discount * np.einsum("ast,at->as", problem.transition, ahead)
        values = np.stack([actions[row].max(0) for row in legal])
    return values[-1]


def random_game(seed: int) -> DecPOMDP:
    """Two agents, two actions and observations each, some illegal, three states; much is impossible."""
    rng = np.random.default_rng(seed)

    def rows(*shape: int) -> np.ndarray:
        table = rng.random(shape) * (rng.random(shape) < 0.7)
        table[..., 0] += ~table.any(-1)
        return table / table.sum(-1, keepdims=True)

    legal = tuple(rng.random((2, 2)) < 0.7 for _ in range(2))
    for mask in legal:
        mask[np.arange(2), rng.integers(2, size=2)] = True
    return DecPOMDP(
        agents=("a", "b"),
        states=tuple("xyz"),
        actions=(("0", "1"),) * 2,
        observations=(("0", "1"),) * 2,
        discount=0.9,
        start=rows(3),
        transition=rows(4, 3, 3),
        observation=rows(4, 3, 4),
        reward=rng.normal(size=(4, 3, 1, 1)),
        legal=legal,
    )
