"""Multi-agent A*: the best deterministic joint policy of a tabular Dec-POMDP by search over its stages, with bounds.

A node is an occupancy state (`marl.exact.occupancy`), which the decision rules of the stages before lead to; a child
comes from one more decision rule (MAA*: Szer, Charpillet & Zilberstein, UAI 2005). Children are made one at a time, the
one with the highest bound first (incremental expansion: Oliehoek, Spaan, Amato & Whiteson, JAIR 2013):

    Σ_c P(c) Q̂(b_c, δ(c)),    Q̂(b, a) = r(b, a) + γ Σ_o P(o | b, a) V̂(b_ao)

c goes through the combinations of clusters, b_c is the belief if all clusters are known. V̂ is an upper bound of the
value of the Dec-POMDP that begins with a belief, from a search of its own (recursive: Koops, Jansen, Junges & Simão,
IJCAI 2023), as if everything were revealed once, after the next observation. The *lookahead* is how deep searches may
lie within one another; with none left the state is seen from then on. The last two stages are one Bayesian game, where
it is small: an action is what an agent does now and after each observation, and nothing is revealed.

Nothing here is drawn at random, and all limits are counts, so that results can be repeated.
"""

import heapq
import itertools
from typing import NamedTuple

import numpy as np

from games.tabular.dec_pomdp import DecPOMDP
from marl.exact.bayesian_game import BayesianGame, best_rule, rules_above
from marl.exact.clusters import DIGITS
from marl.exact.deterministic import Controller
from marl.exact.occupancy import DecisionRule, Dynamics, Occupancy

TREE_NUMBERS = 1 << 22
"""The values of joint actions of two stages in all states may be so many numbers."""

GAME_NUMBERS = 1 << 24
"""The payoffs of one Bayesian game may be so many numbers."""

OCCUPANCY_NUMBERS = 1 << 25
"""An occupancy state may have so many numbers before histories are put in clusters."""

LEAST_WORK = 10_000
"""About so many payoffs are computed in the time that everything else at a node takes."""

BOUND_NODES = 100
"""So many nodes are made in a search for a bound."""

MOST_LOOKAHEAD = 100
"""So many searches within one another keep within Python's limit of recursion."""

MOST_RULES = 10_000
"""Decision rules of one node that are kept, whole or in part."""

TIE = 1e-12
"""Values that differ by less than this share of the largest possible return are equal."""


class Found(NamedTuple):
    """What a search found: `lower` ≤ optimum ≤ `upper`."""

    lower: float
    upper: float
    policy: Controller | None  # of value `lower`; None: none was found that is better than the lower bound given


class _Trees(NamedTuple):
    """What each agent may do in the last stages: T_i policy trees of depth 1 or 2."""

    depth: int
    first: tuple[np.ndarray, ...]  # for each agent int64[T_i], the action now
    later: tuple[np.ndarray, ...]  # for each agent int64[T_i, O_i], the action after each observation
    value: np.ndarray  # float64[S, T_1, ..., T_n]


class _Node:
    """A node of the search, whose children are made one after the other.

    Attributes:
      occupancy: the occupancy state.
      left: the number of stages to come.
      value: the return so far.
      scale: what later rewards are discounted by.
      parent, rule, maps: the node before, its decision rule, and the clusters that follow its clusters.
      rules: int16[M, C_1 + ... + C_n], the decision rules of the children, the highest bound first.
      bounds: float64[M], no joint policy through a child has a higher return.
      made: the number of children made.
    """

    __slots__ = ("bounds", "left", "made", "maps", "occupancy", "parent", "rule", "rules", "scale", "value")

    def __init__(
        self,
        occupancy: Occupancy,
        left: int,
        value: float,
        scale: float,
        parent: "_Node | None",
        rule: DecisionRule,
        maps: tuple[np.ndarray, ...],
    ) -> None:
        self.occupancy, self.left, self.value, self.scale = occupancy, left, value, scale
        self.parent, self.rule, self.maps = parent, rule, maps
        self.rules = np.zeros((0, 0), np.int16)
        self.bounds = np.zeros(0)
        self.made = 0


_Key = tuple[int, int, tuple[int, ...], bytes]
"""Stages left, lookahead, everybody's class of legal actions, belief."""


class MultiAgentAStar:
    """Searches in one problem, which share what they learn of its beliefs.

    Attributes:
      nodes: made so far, those of searches for bounds as well.
      work: payoffs of Bayesian games computed so far, and `LEAST_WORK` for each node.
      most_work: after so much searches end with the bounds that they have.
    """

    def __init__(self, problem: DecPOMDP) -> None:
        self.problem, self.nodes, self.work, self.most_work = problem, 0, 0, 0
        self.dynamics = Dynamics(problem)
        self.class_of = [own[problem.joint_observations[:, i]] for i, own in enumerate(self.dynamics.class_of)]
        self.legal: dict[tuple[int, ...], np.ndarray] = {}
        self.action_values: dict[_Key, np.ndarray] = {}
        self.values: dict[_Key, float] = {}
        self.seen = [problem.expected_reward]  # for each number of stages left but the first float64[JA, S]
        self.trees = [_trees(self.dynamics, 1)]
        if _count_trees(self.dynamics) * problem.num_states <= TREE_NUMBERS:
            self.trees.append(_trees(self.dynamics, 2))
        self.tie = TIE * float(np.abs(problem.expected_reward).max())

    def run(
        self, start: Occupancy, left: int, lookahead: int, lower: float = -np.inf, most_nodes: int | None = None
    ) -> Found:
        """The best joint policy for `left` stages from an occupancy state.

        Args:
          start: the occupancy state.
          left: the number of stages.
          lookahead: how many searches within one another bound what is to come.
          lower: a value that can be reached; only what is better is looked for.
          most_nodes: to make in this search without those for bounds; None: as many as are left.
        """
        tie = self.tie * left
        counter = itertools.count()
        reached: dict[tuple[int, bytes, bytes], float] = {}
        queue: list[tuple[float, int, int, _Node]] = []
        left_out, nodes = -np.inf, 0
        best: tuple[_Node, _Trees, np.ndarray] | None = None

        def open_(node: _Node, most: float) -> bool:
            """Bound the children of a new node, none above `most`; whether one may be better than `lower`."""
            nonlocal left_out, nodes, lower, best
            nodes, self.nodes = nodes + 1, self.nodes + 1
            here = node.occupancy
            threshold = (lower + tie - node.value) / node.scale
            if (trees := self._last(node)) is not None:
                found = best_rule(self._last_game(here, trees), threshold, MOST_RULES)
                self.work += LEAST_WORK + found.work
                left_out = max(left_out, min(most, node.value + node.scale * found.left_out))
                if len(found.payoff):
                    lower, best = node.value + node.scale * float(found.payoff[0]), (node, trees, found.actions[0])
                return False
            key = (node.left, here.clusters.tobytes(), _rounded(here.belief).tobytes())
            if reached.get(key, -np.inf) >= node.value:
                return False
            reached[key] = node.value
            rules = rules_above(self._game(here, node.left, lookahead), threshold, MOST_RULES)
            self.work += LEAST_WORK + rules.work
            left_out = max(left_out, min(most, node.value + node.scale * rules.left_out))
            node.rules, node.bounds = rules.actions, np.minimum(node.value + node.scale * rules.payoff, most)
            return len(node.bounds) > 0

        def push(node: _Node) -> None:
            if node.made < len(node.bounds) and node.bounds[node.made] > lower + tie:
                heapq.heappush(queue, (-float(node.bounds[node.made]), node.left, next(counter), node))

        node: _Node | None = _Node(start, left, 0.0, 1.0, None, (), ())
        if open_(node, np.inf):
            push(node)
        while queue and -queue[0][0] > lower + tie:
            spent = self.work >= self.most_work or (most_nodes is not None and nodes >= most_nodes)
            if spent and lower > -np.inf:  # else one policy at least
                break
            node = heapq.heappop(queue)[-1]
            while node is not None:  # down to a whole policy; what is left of the nodes goes back into the queue
                bound, child = float(node.bounds[node.made]), self._next_child(node)
                if child is None:
                    left_out = max(left_out, bound)
                elif not open_(child, bound):
                    child = None
                push(node)
                node = child
        upper = max(lower, left_out, -queue[0][0] if queue else -np.inf)
        if upper <= lower + tie:
            upper = lower
        return Found(lower, upper, None if best is None else self._policy(*best))

    def _next_child(self, node: _Node) -> _Node | None:
        """The child with the highest bound of those not yet made; None if it is too large."""
        problem, here = self.problem, node.occupancy
        row, node.made = node.rules[node.made], node.made + 1
        if here.belief.size * len(problem.joint_observations) > OCCUPANCY_NUMBERS:
            return None
        rule = _by_agent(row, here)
        joint = self.dynamics.joint_action(here, rule)
        value = node.value + node.scale * float((problem.expected_reward[joint] * here.belief).sum())
        following, maps = self.dynamics.follow(here, rule)
        return _Node(following, node.left - 1, value, node.scale * problem.discount, node, rule, maps)

    # Bounds of decision rules -----------------------------------------------------------------------------------------

    def _game(self, occupancy: Occupancy, left: int, lookahead: int) -> BayesianGame:
        """The bounds Q̂ of the joint actions of each combination of clusters, times its probability."""
        chance = occupancy.belief.sum(1)
        beliefs = occupancy.belief / chance[:, None]
        keys = _rounded(beliefs)
        classes = np.stack([own[mine] for own, mine in zip(occupancy.last, occupancy.clusters.T, strict=True)], 1)
        payoff = np.empty((len(chance), len(self.problem.joint_actions)))
        for k, last in enumerate(map(tuple, classes.tolist())):
            key = (left, min(left, lookahead), last, keys[k].tobytes())
            if (known := self.action_values.get(key)) is None:
                known = self._action_values(beliefs[k], last, left, lookahead)
                if self.work < self.most_work:
                    self.action_values[key] = known
            payoff[k] = known
        payoff *= chance[:, None]
        legal = tuple(rows[own] for rows, own in zip(self.dynamics.legal, occupancy.last, strict=True))
        return BayesianGame(occupancy.clusters, payoff.reshape(-1, *self.problem.num_actions), legal)

    def _action_values(self, belief: np.ndarray, last: tuple[int, ...], left: int, lookahead: int) -> np.ndarray:
        """float64[JA]: Q̂ of a belief, for each joint action; 0 for what is not legal."""
        problem, legal = self.problem, self._legal(last)
        if not lookahead or left == 1 or self.work >= self.most_work:
            return np.where(legal, self._if_seen(left) @ belief, 0.0)
        values = np.where(legal, problem.expected_reward @ belief, 0.0)
        for action in np.flatnonzero(legal):
            after = ((belief @ problem.transition[action])[:, None] * problem.observation[action]).T  # [JO, S']
            chance = after.sum(1)
            for seen in np.flatnonzero(chance):
                following = tuple(int(own[seen]) for own in self.class_of)
                value = self._value(after[seen] / chance[seen], following, left - 1, lookahead - 1)
                values[action] += problem.discount * chance[seen] * value
        return values

    def _value(self, belief: np.ndarray, last: tuple[int, ...], left: int, lookahead: int) -> float:
        """V̂ of a belief that everybody knows."""
        key = (left, min(left, lookahead), last, _rounded(belief).tobytes())
        if (known := self.values.get(key)) is None:
            if self.work >= self.most_work or not lookahead:
                return float((self._if_seen(left) @ belief)[self._legal(last)].max())
            clusters = np.zeros((1, self.problem.num_agents), np.int64)
            point = Occupancy(clusters, belief[None], tuple(np.array([own]) for own in last))
            known = self.run(point, left, lookahead, most_nodes=BOUND_NODES).upper
            if self.work < self.most_work:
                self.values[key] = known
        return known

    def _legal(self, last: tuple[int, ...]) -> np.ndarray:
        """bool[JA]: what is legal for all agents, whose classes of legal actions are `last`."""
        if last not in self.legal:
            actions = self.problem.joint_actions
            own = [legal[last[i]][actions[:, i]] for i, legal in enumerate(self.dynamics.legal)]
            self.legal[last] = np.logical_and.reduce(own)
        return self.legal[last]

    def _if_seen(self, left: int) -> np.ndarray:
        """float64[JA, S]: the value of each joint action if the state and all observations are seen from then on."""
        problem = self.problem
        while len(self.seen) < left:
            classes, number = np.unique(np.stack(self.class_of, 1), axis=0, return_inverse=True)
            legal = np.stack([self._legal(tuple(own)) for own in classes.tolist()])  # [classes, JA]
            best = np.where(legal[:, :, None], self.seen[-1], -np.inf).max(1)[number.reshape(-1)]  # [JO, S]
            ahead = np.einsum("atj,jt->at", problem.observation, best)
            self.seen.append(
                problem.expected_reward + problem.discount * np.einsum("ast,at->as", problem.transition, ahead)
            )
        return self.seen[left - 1]

    # The last stages --------------------------------------------------------------------------------------------------

    def _last(self, node: _Node) -> _Trees | None:
        """The trees that end the policies of a node, if they are to be chosen at once."""
        for trees in self.trees:
            if trees.depth == node.left and len(node.occupancy.belief) * trees.value[0].size <= GAME_NUMBERS:
                return trees
        return self.trees[0] if node.left == 1 else None

    def _last_game(self, occupancy: Occupancy, trees: _Trees) -> BayesianGame:
        payoff = occupancy.belief @ trees.value.reshape(len(trees.value), -1)
        legal = tuple(
            rows[own][:, first]
            for rows, own, first in zip(self.dynamics.legal, occupancy.last, trees.first, strict=True)
        )
        return BayesianGame(occupancy.clusters, payoff.reshape(-1, *trees.value.shape[1:]), legal)

    def _policy(self, node: _Node, trees: _Trees, row: np.ndarray) -> Controller:
        """The policy whose last stages are `row`, one tree for each cluster of each agent."""
        stages: list[tuple[DecisionRule, tuple[np.ndarray, ...]]] = []
        chosen = _by_agent(row, node.occupancy)
        at: _Node | None = node
        while at is not None and at.parent is not None:
            stages.append((at.rule, at.maps))
            at = at.parent
        actions: list[tuple[np.ndarray, ...]] = []
        following: list[tuple[np.ndarray, ...]] = []
        for agent, own in enumerate(chosen):
            mine = [rule[agent] for rule, _ in reversed(stages)]
            then = [maps[agent] for _, maps in reversed(stages)]
            mine.append(trees.first[agent][own])
            if trees.depth == 2:
                later = trees.later[agent][own]  # [C, O]
                then.append(np.arange(later.size).reshape(later.shape))
                mine.append(later.ravel())
            actions.append(tuple(mine))
            following.append(tuple(then))
        return Controller(self.dynamics.start()[1], tuple(actions), tuple(following))


def _rounded(belief: np.ndarray) -> np.ndarray:
    return np.round(belief, DIGITS) + 0.0  # no -0.0


def _by_agent(row: np.ndarray, occupancy: Occupancy) -> DecisionRule:
    return tuple(np.split(row.astype(np.int64), np.cumsum([len(own) for own in occupancy.last])[:-1]))


def _count_trees(dynamics: Dynamics) -> int:
    """The number of joint policy trees of depth 2."""
    count = 1
    for legal, classes in zip(dynamics.legal, dynamics.class_of, strict=True):
        count *= legal.shape[1] * int(np.prod(legal.sum(1)[classes[:-1]], dtype=object))
    return count


def _trees(dynamics: Dynamics, depth: int) -> _Trees:
    problem = dynamics.problem
    first, later = [], []
    for agent, (legal, classes) in enumerate(zip(dynamics.legal, dynamics.class_of, strict=True)):
        choices = [np.arange(problem.num_actions[agent])]
        if depth == 2:
            choices += [np.flatnonzero(legal[number]) for number in classes[:-1]]
        all_trees = np.stack([own.ravel() for own in np.meshgrid(*choices, indexing="ij")], 1)
        first.append(all_trees[:, 0])
        later.append(all_trees[:, 1:])
    joint = np.ravel_multi_index(np.ix_(*first), problem.num_actions)  # [T_1, ..., T_n]
    value = np.moveaxis(problem.expected_reward[joint], -1, 0).copy()
    if depth == 2:
        for action in range(len(problem.joint_actions)):
            where = np.ix_(*(np.flatnonzero(own == problem.joint_actions[action, i]) for i, own in enumerate(first)))
            for number, seen in enumerate(problem.joint_observations):
                chance = problem.transition[action] * problem.observation[action][:, number]  # [S, S']
                then = np.ix_(*(own[where[i].ravel(), seen[i]] for i, own in enumerate(later)))
                reply = np.ravel_multi_index(then, problem.num_actions)
                value[(slice(None), *where)] += problem.discount * (chance @ problem.expected_reward.T)[:, reply]
    return _Trees(depth, tuple(first), tuple(later), value)
