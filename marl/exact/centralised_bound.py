"""Upper bounds of what a team can still get from a belief that everybody knows: the centralised POMDP.

If from then on all agents learn every joint observation, the team is one agent in a POMDP, and no Dec-POMDP is worth
more (Q_POMDP: Szer, Charpillet & Zilberstein, UAI 2005). Its value comes from a search over beliefs, each of which is
met once: the joint action with the highest bound first, the others only if their bound is higher than what it leaves
(branch and bound). Where the search stops, the state is known one step late (Hauskrecht, "Value-function approximations
for partially observable Markov decision processes", JAIR 2000, the fast informed bound):

    α_a(s) = r(s, a) + γ Σ_o max_a' Σ_s' P(s', o | s, a) α_a'(s'),

so that α_a · b bounds the value of joint action a in belief b. Searches go one stage deeper after the other, as far as
the beliefs that they may look at last.
"""

from collections.abc import Iterable

import numpy as np
from scipy import sparse

from marl.exact.clusters import DIGITS
from marl.exact.occupancy import Dynamics

Classes = tuple[int, ...]
"""For each agent the class of its legal actions, as `Dynamics` numbers them."""

BeliefKey = tuple[int, Classes, bytes]
"""Stages left, everybody's class of legal actions, belief."""


def belief_keys(beliefs: np.ndarray, last: Iterable[Classes], left: int) -> list[BeliefKey]:
    """For each belief, float64[K, S], what those share that are equal to it in `DIGITS` decimals."""
    rounded = np.round(beliefs, DIGITS) + 0.0  # no -0.0
    return [(left, own, row.tobytes()) for own, row in zip(last, rounded, strict=True)]


class CentralisedBound:
    """Upper bounds for one problem, which remember the beliefs that they met.

    Attributes:
      following: for each joint observation everybody's class of legal actions after it.
      searched: how many beliefs were searched so far.
    """

    def __init__(self, dynamics: Dynamics) -> None:
        problem = self.problem = dynamics.problem
        self.dynamics = dynamics
        classes = [own[seen] for own, seen in zip(dynamics.class_of, problem.joint_observations.T, strict=True)]
        self.following: list[Classes] = [tuple(row) for row in np.stack(classes, 1).tolist()]
        self.searched, self._most = 0, 0
        self._legal: dict[Classes, np.ndarray] = {}
        self._vectors = [problem.expected_reward]  # for each number of stages left but the first float64[JA, S]
        self._known: dict[BeliefKey, tuple[int, float]] = {}

    def legal(self, last: Classes) -> np.ndarray:
        """bool[JA]: what is legal for all agents."""
        if last not in self._legal:
            actions = self.problem.joint_actions
            own = [legal[last[i]][actions[:, i]] for i, legal in enumerate(self.dynamics.legal)]
            self._legal[last] = np.logical_and.reduce(own)
        return self._legal[last]

    def vectors(self, left: int) -> np.ndarray:
        """float64[JA, S]: a belief's product with a row bounds the value of that joint action."""
        while len(self._vectors) < left:
            self._vectors.append(self._backed_up(self._vectors[-1]))
        return self._vectors[left - 1]

    def after(self, belief: np.ndarray, action: int) -> tuple[np.ndarray, np.ndarray]:
        """(float64[JO], float64[JO, S]): each joint observation's probability, and the belief after it."""
        problem = self.problem
        joint = (belief @ problem.transition[action])[:, None] * problem.observation[action]
        chance = joint.sum(0)
        return chance, (joint / np.where(chance > 0, chance, 1)).T

    def value(self, belief: np.ndarray, last: Classes, left: int, most: int) -> float:
        """An upper bound of what a team can get from a belief, float64[S], of classes `last` in `left` stages.

        `most` is about the number of beliefs to search.
        """
        self._most = self.searched + most
        value = self._search(belief, last, left, 0)
        for depth in range(1, left):
            if self.searched >= self._most:
                break
            value = min(value, self._search(belief, last, left, depth))
        return value

    def _search(self, belief: np.ndarray, last: Classes, left: int, depth: int) -> float:
        depth = min(depth, left - 1)
        key = belief_keys(belief[None], [last], left)[0]
        deep, value = self._known.get(key, (-1, np.inf))
        if deep >= depth:
            return value
        bounds = np.where(self.legal(last), self.vectors(left) @ belief, -np.inf)
        if depth > 0 and self.searched < self._most:
            self.searched += 1
            rewards = self.problem.expected_reward @ belief
            best = -np.inf
            for action in np.argsort(-bounds, kind="stable"):
                if bounds[action] <= best:
                    break
                chance, beliefs = self.after(belief, int(action))
                total = float(rewards[action])
                for seen in np.flatnonzero(chance):
                    then = self._search(beliefs[seen], self.following[seen], left - 1, depth - 1)
                    total += self.problem.discount * float(chance[seen]) * then
                best = max(best, min(total, float(bounds[action])))
        else:
            best = float(bounds.max())
        best = min(best, value)
        complete = depth == 0 or self.searched < self._most
        self._known[key] = depth if complete else deep, best
        return best

    def _backed_up(self, vectors: np.ndarray) -> np.ndarray:
        problem = self.problem
        ahead = np.zeros_like(vectors)
        for action, (transition, observation) in enumerate(zip(problem.transition, problem.observation, strict=True)):
            after = sparse.csr_array(transition)  # in large games most transitions are impossible
            for seen in np.flatnonzero(observation.any(0)):
                legal = vectors[self.legal(self.following[seen])]
                ahead[action] += (after @ (observation[:, seen, None] * legal.T)).max(1)
        return problem.expected_reward + problem.discount * ahead
