"""The best deterministic joint policy of a tabular Dec-POMDP: best responses to all policies of the others."""

from collections.abc import Iterable, Iterator

import numpy as np

from games.tabular.dec_pomdp import DecPOMDP
from marl.exact.best_response import MEMORY_LIMIT, Responder, parts
from marl.exact.deterministic import (
    PurePolicy,
    by_stage,
    check_stages,
    first_legal,
    flat,
    legal_after,
    legal_together,
    stage_sizes,
    take,
)


def enumerate_policies(problem: DecPOMDP, horizon: int, limit: int) -> tuple[float, PurePolicy, int] | None:
    """(value, policy, number) of the best of all best responses of one agent; None if they are more than `limit`.

    The agent with the most policies responds.

    Args:
      problem, horizon: the game.
      limit: the most policies of the other agents.

    Raises:
      TacitError: if one joint policy would take more than `MEMORY_LIMIT`.
    """
    check_stages(problem, horizon, 1, MEMORY_LIMIT)
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
    for part in parts(np.arange(count), responder.copies_at_once()):
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
