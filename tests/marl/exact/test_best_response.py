"""Best responses to deterministic policies: by going through all of them, ties, and bad input."""

import numpy as np
import pytest

from games.errors import TacitError
from games.tabular.dec_pomdp import matrix_game
from games.tabular.library import dectiger, two_stage_lever
from marl.exact.best_response import best_response
from tests.deterministic_policies import expected_return, games, own_policies, random_game


@pytest.mark.slow
@games
def test_best_responses_on_random_games(seed: int) -> None:
    problem, horizon = random_game(seed)
    rng = np.random.default_rng(1000 + seed)
    for agent in range(problem.num_agents):
        own = [list(own_policies(problem, horizon, other)) for other in range(problem.num_agents)]
        policies = tuple(choices[rng.integers(len(choices))] for choices in own)
        responses = ((*policies[:agent], mine, *policies[agent + 1 :]) for mine in own[agent])
        best = max(expected_return(problem, horizon, policy) for policy in responses)
        value, response = best_response(problem, horizon, policies, agent)
        assert value == pytest.approx(best, rel=0, abs=1e-12)
        taken = (*policies[:agent], response, *policies[agent + 1 :])
        assert expected_return(problem, horizon, taken) == pytest.approx(best, rel=0, abs=1e-12)


def test_a_response_to_a_policy_keeps_to_the_first_of_equal_actions_and_to_itself_where_it_never_comes() -> None:
    problem = two_stage_lever.problem()  # each observes the other's lever, so that the other's action is known
    always_right = (np.array([1]), np.array([1, 1]))
    mine = (np.array([0]), np.array([0, 0]))
    value, response = best_response(problem, 2, (mine, always_right), 0)
    assert value == 2
    assert [choices.tolist() for choices in response] == [[1], [0, 1]]
    indifferent = matrix_game(np.ones((3, 2)), "ab", [range(3), range(2)])
    _, response = best_response(indifferent, 1, ((np.array([2]),), (np.array([1]),)), 0)
    assert response[0].tolist() == [0]


def test_an_illegal_action_is_refused() -> None:
    problem = two_stage_lever.problem().replace(legal=(np.eye(2, dtype=bool), np.ones((2, 2), np.bool_)))
    policy = (np.array([0]), np.array([0, 0]))
    with pytest.raises(TacitError, match="player0 takes an action that is not legal at stage 2"):
        best_response(problem, 2, (policy, policy), 1)


def test_bad_input() -> None:
    problem = dectiger.problem()
    listen = (np.array([0]), np.array([0, 0]))
    with pytest.raises(TacitError, match="agent must be a whole number from 0 to 1"):
        best_response(problem, 2, (listen, listen), 2)
    with pytest.raises(TacitError, match="for each of 2 agents, not 1"):
        best_response(problem, 2, (listen,), 0)
    with pytest.raises(TacitError, match=r"agent0 must be arrays of \[1, 2, 4\] actions, not of shapes"):
        best_response(problem, 3, (listen, listen), 0)
    with pytest.raises(TacitError, match="agent1 takes an action that is not legal at stage 2"):
        best_response(problem, 2, (listen, (np.array([0]), np.array([0, 3]))), 0)
