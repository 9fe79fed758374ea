"""Multi-agent A*: the best deterministic joint policy of a tabular Dec-POMDP by search over its stages, with bounds.

A node is an occupancy state (`marl.exact.occupancy`), which the decision rules of the stages before lead to; a child
comes from one more decision rule (MAA*: Szer, Charpillet & Zilberstein, UAI 2005). Children are made one at a time, the
one with the highest bound first (incremental expansion: Oliehoek, Spaan, Amato & Whiteson, JAIR 2013):

    Σ_c P(c) Q̂(b_c, δ(c)),    Q̂(b, a) = r(b, a) + γ Σ_o P(o | b, a) V̂(b_ao)

c goes through the combinations of clusters, b_c is the belief if all clusters are known. V̂ is an upper bound of the
value of the Dec-POMDP that begins with a belief, from a search of its own (recursive: Koops, Jansen, Junges & Simão,
IJCAI 2023), as if everything were revealed once, after the next observation. The *lookahead* is how deep searches may
lie within one another; with none left everything is revealed from then on (`marl.exact.centralised_bound`). How long a
search for V̂ goes on is the *effort*: its first searches are short, and what is known of a belief is kept. The last two
stages are one Bayesian game, where it is small: an action is what an agent does now and after each observation, and
nothing is revealed.

Nothing here is drawn at random, and all limits are counts, so that results can be repeated.
"""

import heapq
import itertools
from typing import NamedTuple

import numpy as np

from games.tabular.dec_pomdp import DecPOMDP
from marl.exact.bayesian_game import BayesianGame, best_rule, rules_above
from marl.exact.centralised_bound import BeliefKey, CentralisedBound, Classes, belief_keys
from marl.exact.clusters import DIGITS
from marl.exact.deterministic import Controller
from marl.exact.occupancy import DecisionRule, Dynamics, Occupancy, forget

TREE_NUMBERS = 1 << 22
"""The values of joint actions of two stages in all states may be so many numbers."""

GAME_NUMBERS = 1 << 20
"""The payoffs of one Bayesian game may be so many numbers."""

OCCUPANCY_NUMBERS, SPENT_NUMBERS = 1 << 25, 1 << 21
"""One agent's clusters times all combinations may be so many; fewer once the work is spent and there is no policy yet.

Beyond, agents forget what they have seen, so that the search ends with a policy; the bound counts what they could know.
"""

LEAST_WORK = 10_000
"""About so many payoffs are computed in the time that everything else at a node takes."""

COMBINATION_WORK = 200
"""The same for what has to be done for each combination of clusters."""

BELIEFS = 100
"""So many beliefs of the centralised problem are searched for a bound, times the effort."""

BELIEF_WORK = 1_000
"""About so many payoffs are computed in the time that such a belief takes."""

MOST_LOOKAHEAD = 100
"""So many searches within one another keep within Python's limit of recursion."""

FEW_RULES = 8
MORE_RULES = 8
MOST_RULES = 30_000
"""Decision rules of a node that are kept, whole or in part: `MORE_RULES` times as many each time it is expanded.

They begin with 8 · 8, and what is left out of the last expansion is only bounded.
"""

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
      most: no joint policy through the node has a higher return.
      parent, rule, maps: the node before, its decision rule, and the clusters that follow its clusters.
      rules: int16[M, C_1 + ... + C_n], the decision rules of the children, the highest bound first.
      bounds: float64[M], no joint policy through a child has a higher return.
      made: the number of children made.
      most_rules: so many decision rules were kept, whole or in part.
      left_out: no joint policy through a child that is not among them has a higher return.
    """

    __slots__ = (
        *("occupancy", "left", "value", "scale", "most", "parent", "rule", "maps"),
        *("rules", "bounds", "made", "most_rules", "left_out"),
    )

    def __init__(
        self,
        occupancy: Occupancy,
        left: int,
        value: float,
        scale: float,
        most: float,
        parent: "_Node | None",
        rule: DecisionRule,
        maps: tuple[np.ndarray, ...],
    ) -> None:
        self.occupancy, self.left, self.value, self.scale, self.most = occupancy, left, value, scale, most
        self.parent, self.rule, self.maps = parent, rule, maps
        self.rules = np.zeros((0, 0), np.int16)
        self.bounds = np.zeros(0)
        self.made, self.most_rules, self.left_out = 0, FEW_RULES, -np.inf

    def next_bound(self) -> float:
        """The bound of the next child; -inf: all were made."""
        return float(self.bounds[self.made]) if self.made < len(self.bounds) else -np.inf

    def bound(self) -> float:
        """No joint policy through a child that is not yet made has a higher return."""
        return max(self.next_bound(), self.left_out)


class _ActionValues(NamedTuple):
    """Upper bounds of the joint actions in a belief; -inf for what is not legal."""

    belief: np.ndarray  # float64[S]
    left: int
    lookahead: int
    bounds: np.ndarray  # float64[JA]
    refined: np.ndarray  # bool[JA], whether a bound is as good as it becomes with this effort


class _Value(NamedTuple):
    """An upper bound of the value of a belief."""

    upper: float
    exact: bool  # whether no search makes it lower
    effort: tuple[int, int]  # lookahead and effort that it was computed with


_NOTHING = _Value(np.inf, False, (-1, -1))


class MultiAgentAStar:
    """Searches in one problem, which share what they learn of its beliefs.

    Attributes:
      nodes: made so far, those of searches for bounds as well.
      work: payoffs of Bayesian games computed so far, and `LEAST_WORK` for each node.
      most_work: after so much searches end with the bounds that they have.
      effort: nodes of a search for the bound of a belief.
      cut: whether such a search, or one that was still to begin, was ended for want of work.
    """

    def __init__(self, problem: DecPOMDP) -> None:
        self.problem, self.nodes, self.work, self.most_work = problem, 0, 0, 0
        self.dynamics = Dynamics(problem)
        self.centralised = CentralisedBound(self.dynamics)
        self.effort, self.cut = 1, False
        self.action_values: dict[tuple[BeliefKey, int], _ActionValues] = {}
        self.values: dict[BeliefKey, _Value] = {}
        self.trees = [_trees(self.dynamics, 1)]
        if _count_trees(self.dynamics) * problem.num_states <= TREE_NUMBERS:
            self.trees.append(_trees(self.dynamics, 2))
        self.tie = TIE * float(np.abs(problem.expected_reward).max())

    def allow(self, effort: int, most_work: int) -> None:
        """Set how hard the searches that follow try to bound beliefs, and at how much work they end."""
        self.effort, self.most_work, self.cut = effort, most_work, False
        self.action_values.clear()

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

        def expand(node: _Node) -> None:
            """Bound the children of a node, of more decision rules than before; of the last stages take the best."""
            nonlocal left_out, nodes, lower, best
            nodes, self.nodes = nodes + 1, self.nodes + 1
            node.most_rules *= MORE_RULES
            threshold = (lower + tie - node.value) / node.scale
            if (trees := self._last(node)) is not None:
                found = best_rule(self._last_game(node.occupancy, trees), threshold, node.most_rules)
                if len(found.payoff):
                    lower, best = node.value + node.scale * float(found.payoff[0]), (node, trees, found.actions[0])
            else:
                game = self._game(node.occupancy, node.left, lookahead, threshold)
                found = rules_above(game, threshold, node.most_rules)
                node.rules, node.made = found.actions, 0
                node.bounds = np.minimum(node.value + node.scale * found.payoff, node.most)
            self.work += LEAST_WORK + COMBINATION_WORK * len(node.occupancy.clusters) + found.work
            node.left_out = min(node.most, node.value + node.scale * found.left_out)
            if node.most_rules >= MOST_RULES:
                left_out, node.left_out = max(left_out, node.left_out), -np.inf

        def open_(node: _Node) -> bool:
            """Expand a new node, unless another one like it was; whether children may be better than `lower`."""
            key = (node.left, node.occupancy.clusters.tobytes(), _rounded(node.occupancy.belief).tobytes())
            if reached.get(key, -np.inf) >= node.value:
                return False
            reached[key] = node.value
            expand(node)
            return node.bound() > lower + tie

        def push(node: _Node) -> None:
            if node.bound() > lower + tie:
                heapq.heappush(queue, (-node.bound(), node.left, next(counter), node))

        def spent() -> bool:
            if self.work >= self.most_work:
                return lower > -np.inf or most_nodes is not None  # a search for a policy finds one at least
            return most_nodes is not None and nodes >= most_nodes and (lower > -np.inf or most_nodes == 1)

        node: _Node | None = _Node(start, left, 0.0, 1.0, np.inf, None, (), ())
        if open_(node):
            push(node)
        while queue and -queue[0][0] > lower + tie and not spent():
            node = heapq.heappop(queue)[-1]
            if node.next_bound() < node.left_out:
                expand(node)
                push(node)
                continue
            while node is not None and node.made < len(node.bounds):  # down to a whole policy, the rest into the queue
                bound, (child, whole) = node.next_bound(), self._next_child(node)
                push(node)
                if not whole:
                    left_out = max(left_out, bound)
                if not open_(child):
                    child = None
                elif spent() or not len(child.bounds):
                    push(child)
                    child = None
                node = child
        upper = max(lower, left_out, -queue[0][0] if queue else -np.inf)
        if upper <= lower + tie:
            upper = lower
        return Found(lower, upper, None if best is None else self._policy(*best))

    def _next_child(self, node: _Node) -> tuple[_Node, bool]:
        """The child with the highest bound of those not yet made, and whether agents know all there that they can."""
        here = node.occupancy
        bound, row, node.made = node.next_bound(), node.rules[node.made], node.made + 1
        rule = _by_agent(row, here)
        joint = self.dynamics.joint_action(here, rule)
        value = node.value + node.scale * float((self.problem.expected_reward[joint] * here.belief).sum())
        following, maps = self.dynamics.follow(here, rule)
        numbers = SPENT_NUMBERS if self.work >= self.most_work else OCCUPANCY_NUMBERS
        whole = len(following.clusters) * max(map(len, following.last)) <= numbers
        if not whole:
            following, maps = forget(following, maps)
        scale = node.scale * self.problem.discount
        return _Node(following, node.left - 1, value, scale, bound, node, rule, maps), whole

    # Bounds of decision rules -----------------------------------------------------------------------------------------

    def _game(self, occupancy: Occupancy, left: int, lookahead: int, threshold: float) -> BayesianGame:
        """The bounds Q̂ of the joint actions of each combination of clusters, times its probability.

        Those that no rule above `threshold` can take stay what the late state gives.
        """
        chance = occupancy.belief.sum(1)
        beliefs = occupancy.belief / chance[:, None]
        last = np.stack([own[mine] for own, mine in zip(occupancy.last, occupancy.clusters.T, strict=True)], 1)
        keys = belief_keys(beliefs, map(tuple, last.tolist()), left)
        entries = [self._action_values(key, belief, lookahead) for key, belief in zip(keys, beliefs, strict=True)]
        for entry in entries:  # so that the sum of the best is as low as it becomes
            while not entry.refined[action := int(entry.bounds.argmax())]:
                self._refine(entry, action)
        payoff = np.stack([entry.bounds for entry in entries]) * chance[:, None]
        best = payoff.max(1, keepdims=True)
        needed = best.sum() - best + payoff > threshold
        for k, action in np.argwhere(needed & ~np.stack([entry.refined for entry in entries])):
            self._refine(entries[k], int(action))
        bounds = np.stack([entry.bounds for entry in entries])
        payoff = np.where(np.isfinite(bounds), bounds, 0.0) * chance[:, None]
        legal = tuple(rows[own] for rows, own in zip(self.dynamics.legal, occupancy.last, strict=True))
        return BayesianGame(occupancy.clusters, payoff.reshape(-1, *self.problem.num_actions), legal)

    def _action_values(self, key: BeliefKey, belief: np.ndarray, lookahead: int) -> _ActionValues:
        """What is known of Q̂ of a belief."""
        left, last, _ = key
        lookahead = min(left, lookahead)
        if (known := self.action_values.get((key, lookahead))) is None:
            legal = self.centralised.legal(last)
            bounds = np.where(legal, self.centralised.vectors(left) @ belief, -np.inf)
            refined = ~legal if left > 1 else np.ones_like(legal)
            known = self.action_values[key, lookahead] = _ActionValues(belief, left, lookahead, bounds, refined)
        return known

    def _refine(self, entry: _ActionValues, action: int) -> None:
        """Compute Q̂ of a joint action from what may come after the next observation, if it is not yet."""
        if entry.refined[action]:
            return
        problem = self.problem
        value = float(problem.expected_reward[action] @ entry.belief)
        chance, beliefs = self.centralised.after(entry.belief, action)
        for seen in np.flatnonzero(chance):
            following = self.centralised.following[seen]
            then = self._value(beliefs[seen], following, entry.left - 1, entry.lookahead)
            value += problem.discount * float(chance[seen]) * then
        entry.bounds[action] = min(value, entry.bounds[action])
        entry.refined[action] = True

    def _value(self, belief: np.ndarray, last: Classes, left: int, lookahead: int) -> float:
        """V̂ of a belief that everybody knows."""
        key = belief_keys(belief[None], [last], left)[0]
        known = self.values.get(key, _NOTHING)
        effort = (min(left, lookahead), self.effort)
        if known.exact or (known.effort[0] >= effort[0] and known.effort[1] >= effort[1]):
            return known.upper
        if self.work >= self.most_work:
            self.cut = True
            if known is _NOTHING:
                return float((self.centralised.vectors(left) @ belief)[self.centralised.legal(last)].max())
            return known.upper
        exact = False
        if lookahead > 0:
            clusters = np.zeros((1, self.problem.num_agents), np.int64)
            point = Occupancy(clusters, belief[None], tuple(np.array([own]) for own in last))
            found = self.run(point, left, lookahead - 1, most_nodes=self.effort)
            upper, exact = found.upper, found.upper <= found.lower
        else:
            before = self.centralised.searched
            upper = self.centralised.value(belief, last, left, BELIEFS * self.effort)
            self.work += BELIEF_WORK * (self.centralised.searched - before)
        upper = min(upper, known.upper)
        self.values[key] = _Value(upper, exact, effort if self.work < self.most_work else known.effort)
        return upper

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
