"""Deterministic joint policies of a tabular Dec-POMDP: one action for each *observation* history of each stage.

A deterministic agent's actions follow from its observations, so its policy is a function of these alone. They are the
digits of a history's number, the newest last: after observation o, history h becomes h * (number of observations) + o.
Stage t has O^t histories, or O^(t + 1) in a game with initial observations.
"""

from typing import NamedTuple

import numpy as np

from games.errors import TacitError
from games.tabular.dec_pomdp import DecPOMDP
from games.tabular.histories import Tree

PurePolicy = tuple[tuple[np.ndarray, ...], ...]
"""policy[agent][stage]: int64[N], an action for each of the agent's N observation histories of that stage."""

POLICY_BYTES = 1 << 30
"""Bytes that a joint policy on all observation histories may take."""

Batch = list[list[np.ndarray]]
"""P joint policies: batch[agent][stage] is int64[P, N]."""


class Controller(NamedTuple):
    """A deterministic joint policy with few nodes: histories after which an agent goes on in the same way share one."""

    first: tuple[np.ndarray, ...]  # for each agent int64[1], or int64[O] by the initial observation: the first node
    actions: tuple[tuple[np.ndarray, ...], ...]  # for each agent and stage int64[N], the action at each node
    following: tuple[tuple[np.ndarray, ...], ...]
    """For each agent and each stage but the last int64[N, O]: the node after each observation; -1: is never met."""


def as_controller(problem: DecPOMDP, policy: PurePolicy) -> Controller:
    """A deterministic joint policy as a controller whose nodes are the observation histories."""
    following = tuple(
        tuple(np.arange(len(choices) * width).reshape(-1, width) for choices in own[:-1])
        for own, width in zip(policy, problem.num_observations, strict=True)
    )
    return Controller(tuple(np.arange(len(own[0])) for own in policy), policy, following)


def on_histories(problem: DecPOMDP, horizon: int, controller: Controller) -> PurePolicy:
    """What a controller does at each observation history; the first legal action where none of its nodes is.

    Raises:
      TacitError: if that takes more than `POLICY_BYTES`.
    """
    check_stages(problem, horizon, 1, POLICY_BYTES)
    policy: list[tuple[np.ndarray, ...]] = []
    for agent, fill in enumerate(first_legal(problem, horizon, own) for own in range(problem.num_agents)):
        node = controller.first[agent]
        stages: list[np.ndarray] = []
        for t, choices in enumerate(controller.actions[agent]):
            stages.append(np.where(node >= 0, choices[node], fill[t][0]))
            if t + 1 < horizon:
                node = np.where(node[:, None] >= 0, controller.following[agent][t][node], -1).ravel()
        policy.append(tuple(stages))
    return tuple(policy)


def to_behaviour(policy: PurePolicy, tree: Tree) -> tuple[np.ndarray, ...]:
    """A deterministic joint policy as probabilities on the action-observation histories of `tree`.

    Returns:
      For each agent float64[H, A]: 1 at the policy's action; the same for every legal action at histories with an own
      action that the policy does not take.

    Raises:
      TacitError: if the policy is not one of the tree's problem and horizon; for a game with bounded memory.
    """
    tree.need_perfect_recall("a policy of observation histories")
    check_policy(tree.problem, tree.horizon, policy)
    behaviours = tree.uniform()
    for agent, (own, behaviour) in enumerate(zip(tree.agents, behaviours, strict=True)):
        count = len(own.parent)
        history = np.zeros(count, np.int64)  # the observation history
        follows = np.ones(count, np.bool_)  # whether all own actions so far are the policy's
        choice = np.zeros(count, np.int64)
        for t, choices in enumerate(policy[agent]):
            here = own.stage(t)
            if t == 0:
                history[here] = np.maximum(own.observation[here], 0)
            else:
                parent = own.parent[here]
                history[here] = history[parent] * tree.problem.num_observations[agent] + own.observation[here]
                follows[here] = follows[parent] & (own.action[here] == choice[parent])
            choice[here] = choices[history[here]]
        behaviour[follows] = np.eye(behaviour.shape[1])[choice[follows]]
    return behaviours


def legal_after(problem: DecPOMDP, agent: int) -> np.ndarray:
    """bool[O + 1, A]: what is legal after each observation and, in the last row, before any."""
    legal = np.ones((problem.num_observations[agent] + 1, problem.num_actions[agent]), np.bool_)
    if problem.legal is not None:
        legal[:-1] = problem.legal[agent]
    return legal


def legal_together(problem: DecPOMDP) -> np.ndarray:
    """bool[JO + 1, JA]: what is legal for all agents after each joint observation and, in the last row, before any."""
    last = np.vstack([problem.joint_observations, np.full(problem.num_agents, -1)])
    legal = np.ones((len(last), len(problem.joint_actions)), np.bool_)
    for agent in range(problem.num_agents):
        legal &= legal_after(problem, agent)[last[:, agent]][:, problem.joint_actions[:, agent]]
    return legal


def stage_sizes(problem: DecPOMDP, horizon: int, agent: int) -> list[int]:
    """The number of observation histories of each stage."""
    first = 0 if problem.initial_observation is None else 1
    return [problem.num_observations[agent] ** (first + t) for t in range(horizon)]


def last_observations(problem: DecPOMDP, horizon: int, agent: int) -> list[np.ndarray]:
    """For each stage int64[N]: the last observation of each observation history, -1 before any."""
    last = [np.arange(size) % problem.num_observations[agent] for size in stage_sizes(problem, horizon, agent)]
    if problem.initial_observation is None:
        last[0] = np.full(1, -1)
    return last


def first_legal(problem: DecPOMDP, horizon: int, agent: int) -> list[np.ndarray]:
    """For each stage int64[1, N]: the policy that always takes the first legal action."""
    legal = legal_after(problem, agent)
    return [legal[last].argmax(1)[None] for last in last_observations(problem, horizon, agent)]


def flat(stages: list[np.ndarray]) -> np.ndarray:
    """int64[P, N of all stages]: policies of one agent, int64[P, N] for each stage, stage behind stage."""
    return np.concatenate(stages, axis=1)


def by_stage(problem: DecPOMDP, horizon: int, agent: int, flat: np.ndarray) -> list[np.ndarray]:
    """The inverse of the function `flat`: for each stage int64[P, N]."""
    return np.split(flat, np.cumsum(stage_sizes(problem, horizon, agent))[:-1], axis=1)


def take(batch: Batch, number: int) -> PurePolicy:
    """The joint policy of that number: int64[N] for each agent and stage."""
    return tuple(tuple(choices[number].copy() for choices in own) for own in batch)


def check_stages(problem: DecPOMDP, horizon: int, copies: int, memory_limit: int) -> None:
    """Refuse a horizon at which so many joint policies do not fit in memory.

    Raises:
      TacitError: if `copies` of them take more than `memory_limit` bytes.
    """
    needed = 0
    first = 0 if problem.initial_observation is None else 1
    for t in range(horizon):
        needed += 8 * copies * sum(width ** (first + t) for width in problem.num_observations)
        if needed > memory_limit:
            raise TacitError(
                f"{copies} policies of horizon {horizon} take {needed / 2**30:.3g} GiB up to stage {t + 1} alone, and "
                f"the limit is {memory_limit / 2**30:.3g} GiB; take a smaller horizon"
            )


def check_policy(problem: DecPOMDP, horizon: int, policy: PurePolicy) -> None:
    """Refuse what is no joint policy of this game.

    Args:
      problem, horizon: the game.
      policy: should be int64[N] for each agent and stage.

    Raises:
      TacitError: for a wrong number of agents or wrong shapes; for an action that is not legal.
    """
    if len(policy) != problem.num_agents:
        raise TacitError(f"a joint policy needs a policy for each of {problem.num_agents} agents, not {len(policy)}")
    for agent, stages in enumerate(policy):
        name, legal = problem.agents[agent], legal_after(problem, agent)
        sizes = stage_sizes(problem, horizon, agent)
        shapes = [np.shape(choices) for choices in stages]
        if shapes != [(size,) for size in sizes]:
            raise TacitError(f"the policy of agent {name} must be arrays of {sizes} actions, not of shapes {shapes}")
        for t, (choices, last) in enumerate(zip(stages, last_observations(problem, horizon, agent), strict=True)):
            in_range = (choices >= 0) & (choices < legal.shape[1])
            if not (in_range & legal[last, np.where(in_range, choices, 0)]).all():
                raise TacitError(f"the policy of agent {name} takes an action that is not legal at stage {t + 1}")
