"""What several tests of tabular games need."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def expected_return():
    """The function below: values that share no code with what is tested."""
    return enumerated_return


def enumerated_return(problem, horizon, policy, bonus=lambda agent, path, action: 0.0):
    """E Σ_t γ^t (r(joint action, s, s', joint observation) + Σ_i bonus), by going through all that can happen.

    Args:
      policy: (agent, own history) -> {legal action: probability}, where a history is (initial observation or None,
        action, observation, action, observation, ...).
      bonus: (agent, own history, action) -> reward of that action, where there is more than one legal action.
    """
    agents = range(problem.num_agents)

    def seen(joint):
        return np.unravel_index(joint, problem.num_observations)

    def onwards(state, paths, stage):
        if stage == horizon:
            return 0.0
        total = 0.0
        choices = [policy(agent, paths[agent]).items() for agent in agents]
        for number, joint in enumerate(np.ndindex(*problem.num_actions)):
            chances = [dict(choices[agent]).get(joint[agent], 0.0) for agent in agents]
            if (weight := float(np.prod(chances))) == 0:
                continue
            total += weight * sum(
                problem.discount**stage * bonus(agent, paths[agent], joint[agent])
                for agent in agents
                if len(choices[agent]) > 1
            )
            reward = np.broadcast_to(problem.reward[number, state], (problem.num_states, problem.observation.shape[2]))
            for after in np.flatnonzero(problem.transition[number, state]):
                for observed in np.flatnonzero(problem.observation[number, after]):
                    chance = problem.transition[number, state, after] * problem.observation[number, after, observed]
                    longer = [
                        (*paths[agent], joint[agent], int(one))
                        for agent, one in zip(agents, seen(observed), strict=True)
                    ]
                    future = onwards(after, longer, stage + 1)
                    total += weight * chance * (problem.discount**stage * reward[after, observed] + future)
        return float(total)

    value = 0.0
    for state in np.flatnonzero(problem.start):
        if problem.initial_observation is None:
            value += problem.start[state] * onwards(state, [(None,) for _ in agents], 0)
            continue
        for observed in np.flatnonzero(problem.initial_observation[state]):
            chance = problem.start[state] * problem.initial_observation[state, observed]
            value += chance * onwards(state, [(int(one),) for one in seen(observed)], 0)
    return float(value)
