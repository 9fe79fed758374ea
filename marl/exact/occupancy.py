"""Occupancy states of a tabular Dec-POMDP: where joint policies lead, with histories in lossless clusters.

After t stages of a deterministic joint policy the future depends on the joint distribution of the state and of what
everybody has seen alone (Dibangoye et al., "Optimally solving Dec-POMDPs as continuous-state MDPs", JAIR 2016). Two
histories of an agent that say the same of the state and of the others' histories, and have the same legal actions, may
act the same without loss, so they are one *cluster* from then on (`marl.exact.clusters.alike`).
"""

from typing import NamedTuple

import numpy as np

from games.tabular.dec_pomdp import DecPOMDP
from marl.exact.clusters import alike, number_rows
from marl.exact.deterministic import legal_after

DecisionRule = tuple[np.ndarray, ...]
"""For each agent int64[C]: the action of each of its clusters."""


class Occupancy(NamedTuple):
    """The K combinations of the agents' clusters that may be met at a stage. Agent i has C_i clusters."""

    clusters: np.ndarray  # int64[K, n], every agent's cluster
    belief: np.ndarray  # float64[K, S], P(clusters, state); all together sum to 1
    last: tuple[np.ndarray, ...]  # for each agent int64[C_i], the class of legal actions of each cluster


class Dynamics:
    """The occupancy states of one problem. Joint actions and joint observations are numbered as the problem does."""

    def __init__(self, problem: DecPOMDP) -> None:
        self.problem = problem
        self.legal: list[np.ndarray] = []  # for each agent bool[classes, A]
        self.class_of: list[np.ndarray] = []  # for each agent int64[O + 1]: the last one is before any observation
        for agent in range(problem.num_agents):
            legal, number = np.unique(legal_after(problem, agent), axis=0, return_inverse=True)
            self.legal.append(legal)
            self.class_of.append(number.reshape(-1))

    def start(self) -> tuple[Occupancy, tuple[np.ndarray, ...]]:
        """The first occupancy state, and for each agent int64[O or 1]: the cluster of what it has seen."""
        problem = self.problem
        if problem.initial_observation is None:
            clusters = np.zeros((1, problem.num_agents), np.int64)
            last = tuple(number[-1:] for number in self.class_of)
            return Occupancy(clusters, problem.start[None], last), (np.zeros(1, np.int64),) * problem.num_agents
        belief = (problem.start[:, None] * problem.initial_observation).T
        seen = np.flatnonzero(belief.any(1))
        return self._clustered(problem.joint_observations[seen], belief[seen], problem.num_observations)

    def joint_action(self, occupancy: Occupancy, rule: DecisionRule) -> np.ndarray:
        """int64[K]: the joint action that a decision rule takes at each combination of clusters."""
        joint = np.zeros(len(occupancy.clusters), np.int64)
        for agent, actions in enumerate(rule):
            joint = joint * self.problem.num_actions[agent] + actions[occupancy.clusters[:, agent]]
        return joint

    def follow(self, occupancy: Occupancy, rule: DecisionRule) -> tuple[Occupancy, tuple[np.ndarray, ...]]:
        """The occupancy state after a decision rule; for each agent int64[C, O], its cluster then, -1: impossible."""
        problem = self.problem
        joint = self.joint_action(occupancy, rule)
        members, beliefs = [], []
        for action in np.flatnonzero(np.bincount(joint)):
            where = np.flatnonzero(joint == action)
            moved = occupancy.belief[where] @ problem.transition[action]
            after = moved[:, None, :] * problem.observation[action].T  # [K', JO, S']
            row, seen = np.nonzero(after.any(2))
            beliefs.append(after[row, seen])
            widths = np.array(problem.num_observations, np.int64)
            members.append(occupancy.clusters[where[row]] * widths + problem.joint_observations[seen])
        sizes = [len(actions) * width for actions, width in zip(rule, problem.num_observations, strict=True)]
        following, cluster = self._clustered(np.concatenate(members), np.concatenate(beliefs), sizes)
        return following, tuple(
            own.reshape(-1, width) for own, width in zip(cluster, problem.num_observations, strict=True)
        )

    def _clustered(
        self, members: np.ndarray, belief: np.ndarray, sizes: tuple[int, ...] | list[int]
    ) -> tuple[Occupancy, tuple[np.ndarray, ...]]:
        """Histories in clusters, and for each agent int64[histories]: which cluster; -1 for those that are not met.

        The last observation is what is left of a history's number divided by the number of observations.
        """
        agents = range(self.problem.num_agents)
        maps, last = [], []
        members = members.copy()
        for agent in agents:
            met, members[:, agent] = np.unique(members[:, agent], return_inverse=True)
            own = np.full(sizes[agent], -1, np.int64)
            own[met] = np.arange(len(met))
            maps.append(own)
            last.append(self.class_of[agent][met % self.problem.num_observations[agent]])
        unchanged, agent = 0, -1
        while unchanged < len(last):
            unchanged, agent = unchanged + 1, (agent + 1) % len(last)
            if len(last[agent]) == 1:
                continue
            _, others = number_rows(np.delete(members, agent, axis=1))
            number, _ = alike(members[:, agent], others, belief, self.legal[agent][last[agent]])
            if number.max() + 1 < len(number):
                unchanged = 1
                last[agent] = last[agent][np.unique(number, return_index=True)[1]]
                maps[agent] = np.where(maps[agent] >= 0, number[maps[agent]], -1)
                members[:, agent] = number[members[:, agent]]
                members, belief = _merged(members, belief)
        return Occupancy(members, belief, tuple(last)), tuple(maps)


def forget(occupancy: Occupancy, maps: tuple[np.ndarray, ...]) -> tuple[Occupancy, tuple[np.ndarray, ...]]:
    """What is left if agents know no more than their legal actions from here on.

    Args:
      occupancy: what they knew.
      maps: for each agent int64[...], numbers of its clusters, -1 for none; what is returned leads to those left.
    """
    last, numbers = zip(*(np.unique(own, return_inverse=True) for own in occupancy.last), strict=True)
    columns = zip(numbers, occupancy.clusters.T, strict=True)
    clusters, belief = _merged(np.stack([number[own] for number, own in columns], axis=1), occupancy.belief)
    maps = tuple(np.where(own >= 0, number[own], -1) for number, own in zip(numbers, maps, strict=True))
    return Occupancy(clusters, belief, last), maps


def _merged(members: np.ndarray, belief: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the same clusters as one, their beliefs added."""
    first, number = number_rows(members)
    merged = np.zeros((len(first), belief.shape[1]))
    np.add.at(merged, number, belief)
    return members[first], merged
