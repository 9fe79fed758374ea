"""Occupancy states of a tabular Dec-POMDP: where joint policies lead, with histories in lossless clusters.

After t stages of a deterministic joint policy the future depends on the joint distribution of the state and of what
everybody has seen alone (Dibangoye et al., "Optimally solving Dec-POMDPs as continuous-state MDPs", JAIR 2016). Two
histories of an agent that say the same of the state and of the others' histories,

    P(s, θ_-i | θ_i) = P(s, θ_-i | θ'_i),

may act the same without loss (Oliehoek, Whiteson & Spaan, "Lossless clustering of histories in decentralized POMDPs",
AAMAS 2009), so they are one *cluster* from then on. They must have the same legal actions, too.
"""

from typing import NamedTuple

import numpy as np

from games.tabular.dec_pomdp import DecPOMDP
from marl.exact.deterministic import legal_after

DIGITS = 12
"""Conditional probabilities that are equal to so many decimals are taken for equal."""

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
        unchanged, agent = 0, 0
        while unchanged < len(last):
            number = _alike(members, belief, agent, last[agent])
            unchanged += 1
            if number is not None:
                unchanged = 1
                first = np.unique(number, return_index=True)[1]
                last[agent] = last[agent][first]
                maps[agent] = np.where(maps[agent] >= 0, number[maps[agent]], -1)
                members[:, agent] = number[members[:, agent]]
                members, belief = _merged(members, belief)
            agent = (agent + 1) % len(last)
        return Occupancy(members, belief, tuple(last)), tuple(maps)


def _alike(members: np.ndarray, belief: np.ndarray, agent: int, last: np.ndarray) -> np.ndarray | None:
    """int64[histories]: the cluster of each of an agent's histories; None if no two are alike."""
    count = len(last)
    if count == 1:
        return None
    states = belief.shape[1]
    others = np.delete(members, agent, axis=1)
    column = np.zeros(len(members), np.int64)
    for own in others.T:
        column = column * (own.max() + 1) + own
    _, column = np.unique(column, return_inverse=True)
    table = np.zeros((count, (column.max() + 1) * states))
    place = column[:, None] * states + np.arange(states)
    table[members[:, agent][:, None], place] = belief
    table /= table.sum(1, keepdims=True)
    table = np.round(table, DIGITS) + 0.0
    known: dict[tuple[int, bytes], int] = {}
    keys = zip(last.tolist(), (row.tobytes() for row in table), strict=True)
    number = np.array([known.setdefault(key, len(known)) for key in keys])
    return None if len(known) == count else number


def _merged(members: np.ndarray, belief: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the same clusters as one, their beliefs added."""
    code = np.zeros(len(members), np.int64)
    for own in members.T:
        code = code * (own.max() + 1) + own
    _, first, number = np.unique(code, return_index=True, return_inverse=True)
    merged = np.zeros((len(first), belief.shape[1]))
    np.add.at(merged, number, belief)
    return members[first], merged
