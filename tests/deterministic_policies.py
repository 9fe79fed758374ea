"""Deterministic joint policies of small random games, the slow way: recursion over states and everybody's histories."""

import functools
import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest

from games.tabular.dec_pomdp import DecPOMDP
from marl.exact.deterministic import PurePolicy

RANDOM = [
    # actions, observations, horizon, whether there are initial observations
    ((2, 2), (2, 2), 2, False),
    ((2, 3), (2, 1), 2, True),
    ((2, 2), (3, 1), 2, True),
    ((2, 2, 2), (2, 1, 1), 2, False),
    ((2, 1, 2), (2, 2, 1), 2, True),
    ((2, 2), (2, 1), 3, False),
]


games = pytest.mark.parametrize("seed", range(len(RANDOM) * 3))
"""Three games of each kind."""


@functools.cache
def brute_force(seed: int) -> float:
    """The largest expected return of the seed's game, over all deterministic joint policies."""
    problem, horizon = random_game(seed)
    return max(expected_return(problem, horizon, policy) for policy in joint_policies(problem, horizon))


def expected_return(problem: DecPOMDP, horizon: int, policy: PurePolicy) -> float:
    """Of a joint policy whose histories are those of observations alone."""
    n = problem.num_agents
    widths = problem.num_observations

    def choice(agent: int, seen: tuple[int, ...], t: int) -> int:
        number = sum(o * widths[agent] ** place for place, o in enumerate(reversed(seen)))
        return int(policy[agent][t][number])

    def value(beliefs: np.ndarray, seen: tuple[tuple[int, ...], ...], t: int) -> float:
        actions = tuple(choice(agent, seen[agent], t) for agent in range(n))
        if problem.legal is not None:
            for agent in range(n):
                assert not seen[agent] or problem.legal[agent][seen[agent][-1], actions[agent]]
        joint = int(np.ravel_multi_index(actions, problem.num_actions))
        total = float(beliefs @ rewards(problem)[joint])
        if t + 1 < horizon:
            ahead = (beliefs @ problem.transition[joint])[:, None] * problem.observation[joint]
            for number, what in enumerate(itertools.product(*map(range, widths))):
                if ahead[:, number].any():
                    further = tuple((*own, o) for own, o in zip(seen, what, strict=True))
                    total += problem.discount * value(ahead[:, number], further, t + 1)
        return total

    if problem.initial_observation is None:
        return value(problem.start, ((),) * n, 0)
    first = problem.start[:, None] * problem.initial_observation
    return sum(
        value(first[:, number], tuple((o,) for o in what), 0)
        for number, what in enumerate(itertools.product(*map(range, widths)))
    )


@functools.cache
def rewards(problem: DecPOMDP) -> np.ndarray:
    """float64[JA, S], summed up in the slowest way."""
    table = np.broadcast_to(problem.reward, (*problem.transition.shape, problem.observation.shape[2]))
    return np.einsum("asto,ast,ato->as", table, problem.transition, problem.observation)


def own_policies(problem: DecPOMDP, horizon: int, agent: int) -> Iterator[tuple[np.ndarray, ...]]:
    """All deterministic policies of one agent."""
    width, first = problem.num_observations[agent], 0 if problem.initial_observation is None else 1
    seen = [list(itertools.product(range(width), repeat=first + t)) for t in range(horizon)]
    everything = list(range(problem.num_actions[agent]))
    choices = [
        everything if problem.legal is None or not history else np.flatnonzero(problem.legal[agent][history[-1]])
        for history in itertools.chain(*seen)
    ]
    cuts = np.cumsum([len(stage) for stage in seen])[:-1]
    for policy in itertools.product(*choices):
        yield tuple(np.split(np.array(policy), cuts))


def joint_policies(problem: DecPOMDP, horizon: int) -> Iterator[PurePolicy]:
    yield from itertools.product(*(list(own_policies(problem, horizon, agent)) for agent in range(problem.num_agents)))


def random_game(seed: int) -> tuple[DecPOMDP, int]:
    """A game with impossible transitions and observations and with illegal actions, and its horizon."""
    rng = np.random.default_rng(seed)
    actions, observations, horizon, initial = RANDOM[seed % len(RANDOM)]
    states, joint_actions, joint_observations = 3, math.prod(actions), math.prod(observations)

    def rows(*shape: int) -> np.ndarray:
        table = rng.random(shape) * (rng.random(shape) < 0.7)
        table[..., 0] += ~table.any(-1)
        return table / table.sum(-1, keepdims=True)

    legal = []
    for own_actions, own_observations in zip(actions, observations, strict=True):
        mask = rng.random((own_observations, own_actions)) < 0.7
        mask[np.arange(own_observations), rng.integers(own_actions, size=own_observations)] = True
        legal.append(mask)
    problem = DecPOMDP(
        agents=tuple(map(str, range(len(actions)))),
        states=tuple("xyz"),
        actions=tuple(tuple(map(str, range(count))) for count in actions),
        observations=tuple(tuple(map(str, range(count))) for count in observations),
        discount=0.9,
        start=rows(states),
        transition=rows(joint_actions, states, states),
        observation=rows(joint_actions, states, joint_observations),
        reward=rng.normal(size=(joint_actions, states, states, joint_observations)),
        initial_observation=rows(states, joint_observations) if initial else None,
        legal=tuple(legal),
    )
    return problem, horizon
