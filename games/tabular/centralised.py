"""One agent in the place of all: it has everybody's observations and chooses everybody's actions."""

import numpy as np

from games.tabular.dec_pomdp import DecPOMDP


def centralised(problem: DecPOMDP, agent: str = "planner") -> DecPOMDP:
    """The POMDP of a single agent whose actions and observations are the joint ones of `problem`, in the same order.

    States, chances, rewards and the horizon to play to stay what they are. Its optimum is an upper bound of the team's:
    a team that can say everything at once does as well, and none does better.

    Args:
      problem: of any number of agents.
      agent: what the single one is called.
    """
    legal = None
    if problem.legal is not None:
        seen, actions = problem.joint_observations, problem.joint_actions
        own = [mask[seen[:, i]][:, actions[:, i]] for i, mask in enumerate(problem.legal)]
        legal = (np.logical_and.reduce(own),)
    return problem.replace(
        agents=(agent,),
        actions=([problem.joint_action_name(number) for number in range(len(problem.joint_actions))],),
        observations=([problem.joint_observation_name(number) for number in range(len(problem.joint_observations))],),
        legal=legal,
    )
