"""What a table of a Dec-POMDP must be, and that the message names the row that is not."""

import numpy as np
import pytest

from games.errors import TacitError
from games.tabular.dec_pomdp import DecPOMDP, from_functions, matrix_game
from games.tabular.library import dectiger, tiny_hanabi

TIGER = dectiger.problem()


def changed(table, index, value):
    """A copy of one of dec-tiger's tables with another entry."""
    copy = np.array(getattr(TIGER, table))
    copy[index] = value
    return {table: copy}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (changed("start", 0, 0.25), "start: probabilities sum to 0.75, not 1"),
        (changed("start", 0, np.nan), "start: a probability must be a number of at least 0, not nan"),
        (
            changed("transition", (0, 0, 0), 0.95),
            "T[listen,listen], state tiger-left: probabilities sum to 0.95, not 1",
        ),
        (
            changed("transition", (5, 1, 0), -0.5),
            "T[open-left,open-right], state tiger-right: a probability must be a number of at least 0, not -0.5",
        ),
        (
            changed("transition", (8, 1, 1), np.inf),
            "T[open-right,open-right], state tiger-right: a probability must be a number of at least 0, not inf",
        ),
        (
            changed("observation", (3, 1, 2), 0.5),
            "O[open-left,listen], next state tiger-right: probabilities sum to 1.25, not 1",
        ),
        (
            {"initial_observation": np.array([[1.0, 0, 0, 0], [0.5, 0.25, 0, 0]])},
            "initial O, state tiger-right: probabilities sum to 0.75, not 1",
        ),
        (
            changed("reward", (1, 1, 0, 0), np.nan),
            "R[listen,open-left], state tiger-right: rewards must be finite numbers",
        ),
        ({"start": np.ones(3) / 3}, "start must be of shape (2,), not (3,)"),
        ({"transition": TIGER.transition[:8]}, "transition must be of shape (9, 2, 2), not (8, 2, 2)"),
        ({"observation": TIGER.observation[..., :2]}, "observation must be of shape (9, 2, 4), not (9, 2, 2)"),
        (
            {"reward": np.zeros((9, 2, 1, 3))},
            "reward must be of shape (9, 2, 2, 4), with 1 for what it does not depend on, not (9, 2, 1, 3)",
        ),
        ({"initial_observation": np.ones((2, 2))}, "initial_observation must be of shape (2, 4), not (2, 2)"),
        ({"discount": 1.1}, "discount must be a number from 0 to 1, not 1.1"),
        ({"discount": float("nan")}, "discount must be a number from 0 to 1, not nan"),
        ({"discount": "1"}, "discount must be a number from 0 to 1, not '1'"),
        ({"agents": ()}, "a Dec-POMDP needs at least one agent"),
        ({"agents": ("one",)}, "actions must be given for each of 1 agents, not for 2"),
        ({"agents": ("a", "a")}, "the agents must have different names, and 'a' stands twice"),
        ({"observations": (("x", "x"), ("y", "z"))}, "the observations of agent agent0 must have different names"),
        ({"actions": ((), ("y", "z"))}, "there must be at least one of the actions of agent agent0"),
        ({"legal": (np.ones((2, 3)),)}, "legal must have a table for each of 2 agents, not 1"),
        (
            {"legal": (np.ones((2, 3)), np.ones((3, 2)))},
            "legal of agent agent1 must be of shape (2, 3), not (3, 2)",
        ),
        (
            {"legal": (np.ones((2, 3)), np.array([[1, 1, 1], [0, 0, 0]]))},
            "agent agent1 has no legal action after observation hear-right",
        ),
    ],
)
def test_what_is_wrong_is_named(fields, said):
    with pytest.raises(TacitError) as raised:
        TIGER.replace(**fields)
    assert said in str(raised.value)


def test_rows_may_miss_one_by_rounding():
    assert TIGER.replace(**changed("start", 0, 0.5 + 5e-10)).start[0] == 0.5 + 5e-10
    with pytest.raises(TacitError, match=r"start: probabilities sum to 1\.00000001, not 1"):
        TIGER.replace(**changed("start", 0, 0.5 + 1e-8))


def test_tables_are_copies_and_cannot_be_written():
    start = np.array([0.5, 0.5])
    problem = TIGER.replace(start=start)
    start[0] = 7
    assert problem.start.tolist() == [0.5, 0.5]
    with pytest.raises(ValueError, match="read-only"):
        problem.transition[0, 0, 0] = 0


def test_joint_actions_and_observations_are_numbered_with_the_last_agent_fastest(random_dec_pomdp):
    problem = random_dec_pomdp(0, num_agents=3, num_actions=(2, 3, 2), num_observations=(1, 2, 2))
    assert problem.joint_actions[:4].tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1]]
    assert problem.joint_actions.shape == (12, 3)
    assert problem.joint_observations.tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1]]
    assert TIGER.joint_action_name(5) == "open-left,open-right"
    assert TIGER.joint_observation_name(2) == "hear-right,hear-left"


def test_the_expected_reward_averages_over_what_happens_next(random_dec_pomdp):
    problem = random_dec_pomdp(0)
    rewards = np.random.default_rng(1).normal(size=(6, 3, 3, 4))
    shapes = [rewards, rewards[:, :, :1], rewards[..., :1], rewards[:, :, :1, :1]]
    for reward in shapes:
        full = np.broadcast_to(reward, (6, 3, 3, 4))
        joint = problem.transition[..., None] * problem.observation[:, None]  # P(s', joint observation | a, s)
        mean = (full * joint).sum((2, 3))
        np.testing.assert_allclose(problem.replace(reward=reward).expected_reward, mean, rtol=0, atol=1e-14)


def test_same_tables_sees_every_field():
    problem = tiny_hanabi.problem("A")
    assert problem.same_tables(tiny_hanabi.problem("A"))
    others = {
        "agents": ("a", "b"),
        "states": tuple(f"s{state}" for state in range(12)),
        "discount": 0.5,
        "start": np.eye(12)[0],
        "reward": problem.reward + 1,
        "initial_observation": None,
        "legal": None,
    }
    for field, value in others.items():
        assert not problem.same_tables(problem.replace(**{field: value})), field
        assert not problem.replace(**{field: value}).same_tables(problem), field
    flipped = (problem.legal[0], np.ones_like(problem.legal[1]))
    assert not problem.same_tables(problem.replace(legal=flipped))


def test_a_matrix_game_is_one_state_for_one_step():
    payoffs = np.arange(6.0).reshape(2, 3)
    problem = matrix_game(payoffs, ("row", "column"), (("up", "down"), ("l", "m", "r")))
    assert isinstance(problem, DecPOMDP)
    assert problem.expected_reward.ravel().tolist() == [0, 1, 2, 3, 4, 5]
    assert problem.joint_action_name(5) == "down,r"
    assert (problem.num_states, problem.num_actions, problem.num_observations) == (1, (2, 3), (1, 1))


def test_functions_of_indices_make_the_same_tables():
    problem = from_functions(
        agents=("a", "b"),
        states=("x", "y"),
        actions=(("0", "1"), ("0",)),
        observations=(("u",), ("v", "w")),
        discount=0.5,
        start=(1.0, 0.0),
        transition=lambda state, actions: {1 - state: 0.75, state: 0.25},
        observation=lambda actions, state: {(0, state): 1.0},
        reward=lambda state, actions: 10.0 * state + actions[0],
        initial_observation=lambda state: {(0, 0): 0.5, (0, 1): 0.5},
    )
    assert problem.transition.tolist() == [[[0.25, 0.75], [0.75, 0.25]]] * 2
    assert problem.observation.tolist() == [[[1, 0], [0, 1]]] * 2
    assert problem.reward[..., 0, 0].tolist() == [[0, 10], [1, 11]]
    assert problem.initial_observation.tolist() == [[0.5, 0.5]] * 2
