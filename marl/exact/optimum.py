"""The self-play optimum of a tabular Dec-POMDP: the best deterministic joint policy and its value.

Some optimal joint policy is deterministic. `optimum` takes best responses (`marl.exact.best_response`) to all policies
of the other agents where these are few. Otherwise it alternates best responses from many starts for a lower bound, with
ties drawn at random to leave plateaus, and relaxes the problem for an upper bound.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from games.errors import TacitError, whole_number
from games.tabular.centralised import centralised
from games.tabular.dec_pomdp import DecPOMDP
from marl.exact.best_response import MEMORY_LIMIT, Responder
from marl.exact.deterministic import (
    PurePolicy,
    by_stage,
    check_stages,
    first_legal,
    flat,
    last_observations,
    legal_after,
    legal_together,
    stage_sizes,
    take,
)

BOUND_BYTES = 128 << 20
"""Bytes that beliefs may take in the relaxation to shared observations; beyond, agents see the state as well."""

MET = 1e-9
"""A lower bound that is this near to an upper bound is the optimum."""

LEANING = 0.1
"""Concentration of the Dirichlet distribution that preferences of random starts are drawn from."""

DRIFT = 5
"""The search with random ties from a start ends after so many responses of each agent without an improvement."""


class Optimum(NamedTuple):
    """What `optimum` found: optimum ≤ `upper_bound`, and `value` is the optimum if `exact`, else a lower bound."""

    value: float  # of `policy`, with the problem's discount
    policy: PurePolicy
    exact: bool
    upper_bound: float
    method: str


def optimum(problem: DecPOMDP, horizon: int, *, restarts: int = 128, seed: int = 0, limit: int = 5_000) -> Optimum:
    """The best deterministic joint policy: the certain optimum, or the best that alternating best responses find.

    Args:
      problem, horizon: the game.
      restarts: random starts of the alternating best responses, where there are too many policies to enumerate.
      seed: of these starts.
      limit: the most policies of the other agents to enumerate.

    Raises:
      TacitError: if `horizon` or `restarts` is not a positive whole number; if the beliefs of a stage would take more
        than `MEMORY_LIMIT`.
    """
    horizon = whole_number("horizon", horizon, 1)
    restarts = whole_number("restarts", restarts, 1)
    seed = whole_number("seed", seed, 0)
    check_stages(problem, horizon, restarts, MEMORY_LIMIT)
    found = _enumerate(problem, horizon, whole_number("limit", limit, 0))
    if found is not None:
        value, policy, count = found
        return Optimum(value, policy, True, value, f"best responses to all {count:,} policies of the other agents")
    value, policy = _alternate(problem, horizon, restarts, np.random.default_rng(seed))
    upper = max(upper_bound(problem, horizon), value)
    return Optimum(value, policy, upper - value <= MET, upper, f"alternating best responses, {restarts} starts")


def upper_bound(problem: DecPOMDP, horizon: int) -> float:
    """The value for agents who share their observations or, where that is too large, who see the state as well."""
    try:
        team = centralised(problem)
        check_stages(team, horizon, 1, BOUND_BYTES)
        return float(Responder(team, horizon, 0, BOUND_BYTES)([first_legal(team, horizon, 0)])[0][0])
    except TacitError:
        return _fully_observable_value(problem, horizon)


# Exact: every policy of the others ------------------------------------------------------------------------------------


def _enumerate(problem: DecPOMDP, horizon: int, limit: int) -> tuple[float, PurePolicy, int] | None:
    """(value, policy, number) of the best of all best responses of one agent; None if they are more than `limit`.

    The agent with the most policies responds.
    """
    policies: list[np.ndarray | None] = []
    for agent in range(problem.num_agents):
        policies.append(_Policies(problem, horizon, agent, limit).all())
    counts = [limit + 1 if own is None else len(own) for own in policies]
    agent = int(np.argmax(counts))
    policies[agent] = flat(first_legal(problem, horizon, agent))
    sizes = [limit + 1 if own is None else len(own) for own in policies]
    count = int(np.prod(sizes, dtype=object))
    if count > limit:
        return None
    responder = Responder(problem, horizon, agent, MEMORY_LIMIT)
    best: tuple[float, PurePolicy] | None = None
    for part in _parts(np.arange(count), responder.copies_at_once()):
        batch = [
            by_stage(problem, horizon, other, own[number])
            for other, (own, number) in enumerate(zip(policies, np.unravel_index(part, sizes), strict=True))
            if own is not None
        ]
        values, batch[agent] = responder(batch)
        first = int(np.argmax(values))
        if best is None or values[first] > best[0]:
            best = float(values[first]), take(batch, first)
    return None if best is None else (*best, count)


class _Policies:
    """The deterministic policies of one agent, without copies that differ only at histories no joint policy reaches.

    What is reachable is tracked as `support` bool[S, JO + 1]: which states are possible after which joint observation
    (the last column: none yet), whatever the others legally do.
    """

    def __init__(self, problem: DecPOMDP, horizon: int, agent: int, limit: int) -> None:
        self.problem, self.horizon = problem, horizon
        self.legal = legal_after(problem, agent)
        self.num_observations = problem.num_observations[agent]
        self.fill = flat(first_legal(problem, horizon, agent))
        self.offsets = np.cumsum([0, *stage_sizes(problem, horizon, agent)])
        self.limit = min(limit, MEMORY_LIMIT // self.fill.nbytes)
        self.last = np.append(problem.joint_observations[:, agent], -1)  # own part of each column of a support
        team_legal = legal_together(problem)
        self.ways: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # for each own action
        for action in range(problem.num_actions[agent]):
            joint = np.flatnonzero(problem.joint_actions[:, agent] == action)
            self.ways.append((team_legal[:, joint], problem.transition[joint] > 0, problem.observation[joint] > 0))

    def all(self) -> np.ndarray | None:
        """int64[P, observation histories of all stages], the first legal action at unreachable histories.

        None if P is more than `limit`.
        """
        problem = self.problem
        support = np.zeros((problem.num_states, len(self.last)), np.bool_)
        if problem.initial_observation is None:
            support[:, -1] = problem.start > 0
            policies = self._from(support, 0, 0)
        else:
            support[:, :-1] = problem.start[:, None] * problem.initial_observation > 0
            policies = self._product(self._from(part, last, 0) for last, part in self._by_observation(support))
        return None if policies is None else np.where(policies < 0, self.fill, policies)

    def _from(self, support: np.ndarray, history: int, t: int) -> np.ndarray | None:
        """All policies for a history and those that follow it; -1 at the others."""
        found: list[np.ndarray] = []
        legal = self.legal[self.last[support.any(0)][0]]
        for action in np.flatnonzero(legal).tolist():
            later: np.ndarray | None = np.full((1, self.offsets[-1]), -1, np.int64)
            if t + 1 < self.horizon:
                later = self._product(
                    self._from(part, history * self.num_observations + seen, t + 1)
                    for seen, part in self._by_observation(self._after(support, action))
                )
            if later is None or sum(map(len, found)) + len(later) > self.limit:
                return None
            later[:, self.offsets[t] + history] = action
            found.append(later)
        return np.concatenate(found)

    def _after(self, support: np.ndarray, action: int) -> np.ndarray:
        legal, transition, observation = self.ways[action]
        taken = support @ legal  # [S, joint actions]
        reached = np.any(taken.T[:, :, None] & transition, axis=1)  # [joint actions, S']
        seen = (reached[:, :, None] & observation).any(0)
        return np.pad(seen, ((0, 0), (0, 1)))

    def _by_observation(self, support: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        for observation in range(self.num_observations):
            part = support & (self.last == observation)
            if part.any():
                yield observation, part

    def _product(self, parts: Iterable[np.ndarray | None]) -> np.ndarray | None:
        """All combinations of policies for histories that do not follow one another."""
        product = np.full((1, self.offsets[-1]), -1, np.int64)
        for part in parts:
            if part is None or len(product) * len(part) > self.limit:
                return None
            product = np.maximum(product[:, None], part[None]).reshape(-1, self.offsets[-1])
        return product


# Beyond: alternating best responses -----------------------------------------------------------------------------------


def _alternate(problem: DecPOMDP, horizon: int, restarts: int, rng: np.random.Generator) -> tuple[float, PurePolicy]:
    """(value, policy): the best of the joint policies that no single agent can improve, reached from random starts."""
    num_agents = problem.num_agents
    responders = [Responder(problem, horizon, agent, MEMORY_LIMIT) for agent in range(num_agents)]
    batch = [_random_policies(problem, horizon, agent, restarts, rng) for agent in range(num_agents)]
    values = np.full(restarts, -np.inf)
    unchanged = np.zeros(restarts, np.int64)  # consecutive responses that left the policy as it was
    in_vain = np.zeros(restarts, np.int64)  # consecutive responses that found nothing better

    # First accept ties, drawn at random, to leave plateaus; then accept improvements only.
    for ties, patience in ((rng, DRIFT * num_agents), (None, np.inf)):
        for responder in itertools.cycle(responders):
            active = np.flatnonzero((unchanged < num_agents) & (in_vain < patience))
            if not len(active):
                break
            for part in _parts(active, responder.copies_at_once()):
                policies = [[choices[part] for choices in own] for own in batch]
                found, response = responder(policies, ties)
                better = found > values[part] + responder.tie
                changed = better
                if ties is not None:
                    changed = better | (flat(response) != flat(policies[responder.agent])).any(1)
                for choices, new in zip(batch[responder.agent], response, strict=True):
                    choices[part[changed]] = new[changed]
                values[part[better]] = found[better]
                in_vain[part] = np.where(better, 0, in_vain[part] + 1)
                unchanged[part] = np.where(changed, 0, unchanged[part] + 1)
    best = int(np.argmax(values))
    return float(values[best]), take(batch, best)


def _random_policies(
    problem: DecPOMDP, horizon: int, agent: int, count: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """For each stage int64[count, N]: actions drawn independently at each history.

    They are drawn uniformly for every second policy. The others prefer the same actions at all histories, so that the
    search also starts near policies that mostly take one action.
    """
    preference = np.log(rng.dirichlet(np.full(problem.num_actions[agent], LEANING), (count, 1)) + 1e-300)
    preference[::2] = 0
    legal = legal_after(problem, agent)
    policies: list[np.ndarray] = []
    for last in last_observations(problem, horizon, agent):
        score = preference + rng.gumbel(size=(count, len(last), legal.shape[1]))
        policies.append(np.where(legal[last], score, -np.inf).argmax(2))
    return policies


def _parts(numbers: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for first in range(0, len(numbers), size):
        yield numbers[first : first + size]


# Bounds ---------------------------------------------------------------------------------------------------------------


def _fully_observable_value(problem: DecPOMDP, horizon: int) -> float:
    """The value of the MDP whose state is the problem's state and the last joint observation."""
    legal = legal_together(problem).T
    values = np.zeros((problem.num_states, legal.shape[1]))
    for _ in range(horizon):
        expected = np.einsum("atj,tj->at", problem.observation, values[:, :-1])
        action_values = problem.expected_reward + problem.discount * np.einsum(
            "ast,at->as", problem.transition, expected
        )
        values = np.where(legal[:, None], action_values[:, :, None], -np.inf).max(0)
    if problem.initial_observation is None:
        return float(problem.start @ values[:, -1])
    return float((problem.start[:, None] * problem.initial_observation * values[:, :-1]).sum())
