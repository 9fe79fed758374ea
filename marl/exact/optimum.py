"""The self-play optimum of a tabular Dec-POMDP: the best deterministic joint policy and its value.

Some optimal joint policy is deterministic, and a deterministic agent knows its own actions, so here a policy is one
action for each *observation* history of each stage. Against deterministic others one agent faces a POMDP whose hidden
part is the state and what the others have seen (Nair et al., "Taming decentralized POMDPs", IJCAI 2003):

    b(h a o; s', w v) = Σ_s b(h; s, w) P(s' | s, a, u) P(o, v | a, u, s'),   u = what the others do at w
    Q_t(h, a) = γ^t Σ_{s, w} b(h; s, w) r(s, a, u) + Σ_o max_a' Q_{t+1}(h a o, a')

with h the agent's own action-observation history, w the others' observation histories and b(h; s, w) the probability
of the state and of what everybody saw, if the agent acts as h says; it is not normalised. `best_response` solves this
exactly; what has probability 0 is dropped. `optimum` takes best responses to all policies of the other agents where
these are few. Beyond, it alternates best responses from many starts, drawing among equally good actions so as to leave
plateaus, which gives a lower bound, and relaxes the problem for an upper bound.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from games.errors import TacitError, whole_number
from games.tabular.centralised import centralised
from games.tabular.dec_pomdp import DecPOMDP
from games.tabular.histories import Tree

JointPolicy = tuple[tuple[np.ndarray, ...], ...]
"""policy[agent][stage]: int64[N], an action for each of the agent's N observation histories of that stage.

The observations of a history are the digits of its number, the newest last: after observation o, history h becomes
h * (number of observations) + o. Stage t has O^t histories, or O^(t + 1) in a game with initial observations.
"""

_Batch = list[list[np.ndarray]]
"""P joint policies: batch[agent][stage] is int64[P, N]."""

MEMORY_LIMIT = 2 << 30
"""Bytes that the beliefs of one stage of a best response may take."""

BATCH_BYTES = 32 << 20
"""About how many bytes of beliefs are worked on at a time when there are many best responses to take."""

BOUND_BYTES = 128 << 20
"""Bytes that the beliefs of agents who share their observations may take; beyond, they are told the state as well."""

TIE = 1e-13
"""Values that differ by less than this share of the largest possible return are equal."""

MET = 1e-9
"""A lower bound that is this near to an upper bound is the optimum."""

LEANING = 0.1
"""Concentration of the Dirichlet distribution that preferences of random starts are drawn from."""

DRIFT = 5
"""How many responses in vain of each agent, with ties drawn anew, end the search from a start."""


class Optimum(NamedTuple):
    """What `optimum` found: optimum ≤ `upper_bound`, and `value` is the optimum if `exact`, else a lower bound."""

    value: float  # of `policy`, with the problem's discount
    policy: JointPolicy
    exact: bool
    upper_bound: float
    method: str


def best_response(
    problem: DecPOMDP, horizon: int, policies: JointPolicy, agent: int
) -> tuple[float, tuple[np.ndarray, ...]]:
    """The best that one agent can do when the others keep to their deterministic policies.

    Args:
      problem, horizon: the game.
      policies: a joint policy; what `agent` does in it matters only at observation histories that its response never
        meets: there the response does the same.
      agent: who responds.

    Returns:
      (value of the joint policy with the response, the response: for each stage int64[N]). Of equally good actions the
      response takes the first.

    Raises:
      TacitError: if a policy has a wrong shape or takes an illegal action; if the beliefs of a stage would take more
        than `MEMORY_LIMIT`.
    """
    horizon = whole_number("horizon", horizon, 1)
    agent = whole_number("agent", agent, 0, problem.num_agents - 1)
    _check_policy(problem, horizon, policies)
    batch = [[choices[None] for choices in own] for own in policies]
    values, response = _Responder(problem, horizon, agent, MEMORY_LIMIT)(batch)
    return float(values[0]), tuple(choices[0] for choices in response)


def optimum(problem: DecPOMDP, horizon: int, *, restarts: int = 128, seed: int = 0, limit: int = 5_000) -> Optimum:
    """The best deterministic joint policy: for certain, or as good as alternating best responses find it.

    Args:
      problem, horizon: the game.
      restarts: random starts of the alternating best responses, where there are too many policies to go through.
      seed: of these starts.
      limit: the most policies of the other agents to go through.

    Raises:
      TacitError: if `horizon` or `restarts` is not a positive whole number; if the beliefs of a stage would take more
        than `MEMORY_LIMIT`.
    """
    horizon = whole_number("horizon", horizon, 1)
    restarts = whole_number("restarts", restarts, 1)
    seed = whole_number("seed", seed, 0)
    _check_stages(problem, horizon, restarts, MEMORY_LIMIT)
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
        _check_stages(team, horizon, 1, BOUND_BYTES)
        return float(_Responder(team, horizon, 0, BOUND_BYTES)([_first_legal(team, horizon, 0)])[0][0])
    except TacitError:
        return _value_when_all_is_seen(problem, horizon)


def to_behaviour(policy: JointPolicy, tree: Tree) -> tuple[np.ndarray, ...]:
    """A deterministic joint policy as probabilities on the action-observation histories of `tree`.

    Returns:
      For each agent float64[H, A]: 1 at the policy's action; the same for every legal action at histories with an own
      action that the policy does not take.

    Raises:
      TacitError: if the policy is not one of the tree's problem and horizon.
    """
    _check_policy(tree.problem, tree.horizon, policy)
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


# Best responses, to many joint policies at a time ---------------------------------------------------------------------


class _Nodes(NamedTuple):
    """The N action-observation histories of the responding agent at a stage, for each joint policy separately."""

    copy: np.ndarray  # int64[N], which joint policy
    history: np.ndarray  # int64[N], the own observation history
    legal: np.ndarray  # bool[N, A]
    reach: np.ndarray  # float64[N], the probability of the observations if the agent acts so


class _Rows(NamedTuple):
    """The K parts of a stage's beliefs that are not 0: one for a node and observation histories of the others."""

    node: np.ndarray  # int64[K]
    others: np.ndarray  # int64[K, n - 1]
    belief: np.ndarray  # float64[K, S]


class _Moves(NamedTuple):
    """What can follow a joint action of the others: C outcomes (own action, own observation, others' observations)."""

    action: np.ndarray  # int64[C]
    own: np.ndarray  # int64[C]
    others: np.ndarray  # int64[C, n - 1]
    table: np.ndarray  # float64[S, C * S], P(next state and observations | state, actions)


class _Responder:
    """Best responses of one agent of a problem. The others' joint actions are numbered in C order, U of them."""

    def __init__(self, problem: DecPOMDP, horizon: int, agent: int, memory_limit: int) -> None:
        self.problem, self.horizon, self.agent, self.memory_limit = problem, horizon, agent, memory_limit
        self.others = [other for other in range(problem.num_agents) if other != agent]
        self.num_actions = problem.num_actions[agent]
        self.num_observations = problem.num_observations[agent]
        self.legal = _legal_after(problem, agent)
        self.tie = TIE * horizon * float(np.abs(problem.expected_reward).max())
        numbers = np.arange(len(problem.joint_actions)).reshape(problem.num_actions)
        self.joint_action = np.moveaxis(numbers, agent, -1).reshape(-1, self.num_actions)  # [U, A]
        self.moves: dict[int, _Moves] = {}

    def __call__(self, policies: _Batch, rng: np.random.Generator | None = None) -> tuple[np.ndarray, list[np.ndarray]]:
        """(values float64[P], responses: for each stage int64[P, N]) to P joint policies; ties are drawn if `rng`."""
        count = len(policies[0][0])
        nodes, rows = self._first(count)
        stages = [nodes]
        children: list[np.ndarray] = []
        values: list[np.ndarray] = []  # Q_t, first without what comes later
        for t in range(self.horizon):
            plays = self._joint_action_of_others(policies, nodes, rows, t)
            values.append(self._reward_now(nodes, rows, plays) * self.problem.discount**t)
            if t + 1 < self.horizon:
                nodes, rows, child = self._expand(nodes, rows, plays, t)
                stages.append(nodes)
                children.append(child)
        for t in reversed(range(self.horizon - 1)):
            best = np.append(values[t + 1].max(1), 0.0)  # and at number -1: what cannot happen adds 0
            values[t] += best[children[t]].sum(2)
        total = np.bincount(stages[0].copy, values[0].max(1), count)
        return total, self._greedy(policies[self.agent], stages, children, values, rng)

    def copies_at_once(self) -> int:
        """For how many joint policies the beliefs take about `BATCH_BYTES`, if everything can happen."""
        seen_by_others = len(self.problem.joint_observations) // self.num_observations
        nodes = (self.num_actions * self.num_observations) ** (self.horizon - 1)
        each = nodes * max(seen_by_others ** (self.horizon - 1), len(self.joint_action))
        return max(1, BATCH_BYTES // (8 * self.problem.num_states * each))

    def _first(self, count: int) -> tuple[_Nodes, _Rows]:
        """Stage 0 of `count` joint policies."""
        problem, copies = self.problem, np.arange(count)
        if problem.initial_observation is None:
            nodes = _Nodes(copies, np.zeros_like(copies), np.tile(self.legal[-1], (count, 1)), np.ones(count))
            others = np.zeros((count, len(self.others)), np.int64)
            return nodes, _Rows(copies, others, np.tile(problem.start, (count, 1)))
        beliefs = (problem.start[:, None] * problem.initial_observation).T  # [JO, S]
        possible = np.flatnonzero(beliefs.any(1))
        beliefs, seen = beliefs[possible], problem.joint_observations[possible]
        own, number = np.unique(seen[:, self.agent], return_inverse=True)
        reach = np.bincount(number, beliefs.sum(1))
        nodes = _Nodes(
            np.repeat(copies, len(own)),
            np.tile(own, count),
            np.tile(self.legal[own], (count, 1)),
            np.tile(reach, count),
        )
        node = (copies[:, None] * len(own) + number).ravel()
        return nodes, _Rows(node, np.tile(seen[:, self.others], (count, 1)), np.tile(beliefs, (count, 1)))

    def _joint_action_of_others(self, policies: _Batch, nodes: _Nodes, rows: _Rows, t: int) -> np.ndarray:
        """int64[K]: the number of the joint action that the others take at each row."""
        copy = nodes.copy[rows.node]
        plays = np.zeros(len(copy), np.int64)
        for column, other in enumerate(self.others):
            plays = plays * self.problem.num_actions[other] + policies[other][t][copy, rows.others[:, column]]
        return plays

    def _reward_now(self, nodes: _Nodes, rows: _Rows, plays: np.ndarray) -> np.ndarray:
        """float64[N, A]: the expected reward of this stage, times reach; -inf for what is not legal."""
        present = np.flatnonzero(np.bincount(plays))
        shape = (len(nodes.copy), len(present))
        cell = rows.node * len(present) + np.searchsorted(present, plays)
        weights = [np.bincount(cell, belief, shape[0] * shape[1]).reshape(shape) for belief in rows.belief.T]
        rewards = self.problem.expected_reward[self.joint_action[present]].transpose(2, 0, 1)  # [S, U, A]
        values = np.concatenate(weights, axis=1) @ rewards.reshape(-1, self.num_actions)
        return np.where(nodes.legal, values, -np.inf)

    def _expand(self, nodes: _Nodes, rows: _Rows, plays: np.ndarray, t: int) -> tuple[_Nodes, _Rows, np.ndarray]:
        """Stage t + 1, and int64[N, A, O]: the node that follows; -1 if none can."""
        groups = [(int(play), np.flatnonzero(plays == play)) for play in np.flatnonzero(np.bincount(plays))]
        moves = [self._moves_against(play) for play, _ in groups]
        entries = sum(len(where) * own.table.shape[1] for (_, where), own in zip(groups, moves, strict=True))
        self._check_memory(entries, f"the beliefs of stage {t + 2}")
        parts = [self._follow(nodes, rows, where, own) for (_, where), own in zip(groups, moves, strict=True)]
        edge, others, belief, probability = (np.concatenate(part) for part in zip(*parts, strict=True))
        shape = (len(nodes.copy), self.num_actions, self.num_observations)
        child = np.full(int(np.prod(shape)), -1, np.int64)
        child[edge] = 0
        met = np.flatnonzero(child == 0)
        child[met] = np.arange(len(met))
        node = child[edge]
        parent, _, last = np.unravel_index(met, shape)
        following = _Nodes(
            nodes.copy[parent],
            nodes.history[parent] * self.num_observations + last,
            self.legal[last],
            np.bincount(node, probability, len(met)),
        )
        return following, _Rows(node, others, belief), child.reshape(shape)

    def _follow(
        self, nodes: _Nodes, rows: _Rows, where: np.ndarray, moves: _Moves
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """What follows rows at which the others play the same: index in [N, A, O], others, belief and its sum."""
        belief = (rows.belief[where] @ moves.table).reshape(len(where), len(moves.action), -1)
        probability = belief @ np.ones(belief.shape[2])
        possible = (probability > 0) & nodes.legal[rows.node[where]][:, moves.action]
        kept = np.flatnonzero(possible)
        row, outcome = np.divmod(kept, len(moves.action))
        edge = rows.node[where][row] * self.num_actions + moves.action[outcome]
        edge = edge * self.num_observations + moves.own[outcome]
        widths = np.array([self.problem.num_observations[other] for other in self.others], np.int64)
        others = rows.others[where][row] * widths + moves.others[outcome]
        return edge, others, belief.reshape(-1, belief.shape[2])[kept], probability.ravel()[kept]

    def _moves_against(self, play: int) -> _Moves:
        if play not in self.moves:
            problem, joint_actions = self.problem, self.joint_action[play]
            transition, observation = problem.transition[joint_actions], problem.observation[joint_actions]
            possible = np.any(transition, axis=1)[:, :, None] & (observation > 0)  # [A, S', JO]
            action, joint = np.nonzero(possible.any(1))
            self._check_memory(len(action) * problem.num_states**2, "the table of one step")
            table = transition[action] * observation[action, :, joint][:, None]  # [C, S, S']
            seen = problem.joint_observations[joint]
            self.moves[play] = _Moves(
                action,
                seen[:, self.agent],
                seen[:, self.others],
                np.ascontiguousarray(table.swapaxes(0, 1)).reshape(problem.num_states, -1),
            )
        return self.moves[play]

    def _greedy(
        self,
        own: list[np.ndarray],
        stages: list[_Nodes],
        children: list[np.ndarray],
        values: list[np.ndarray],
        rng: np.random.Generator | None,
    ) -> list[np.ndarray]:
        """The response that takes a best action where it comes, the first or any of them, and is `own` elsewhere."""
        response = [choices.copy() for choices in own]
        met = np.arange(len(stages[0].copy))
        for t, nodes in enumerate(stages):
            close = values[t][met].max(1) - self.tie * nodes.reach[met]
            best = values[t][met] >= close[:, None]
            actions = (best if rng is None else best * rng.random(best.shape)).argmax(1)
            response[t][nodes.copy[met], nodes.history[met]] = actions
            if t < len(children):
                following = children[t][met, actions]
                met = following[following >= 0]
        return response

    def _check_memory(self, entries: int, what: str) -> None:
        if entries * 8 > self.memory_limit:
            raise TacitError(
                f"a best response at horizon {self.horizon} needs {entries * 8 / 2**30:.3g} GiB for {what}, and the "
                f"limit is {self.memory_limit / 2**30:.3g} GiB; take a smaller horizon"
            )


# Exact: every policy of the others -----------------------------------------------------------------------------------


def _enumerate(problem: DecPOMDP, horizon: int, limit: int) -> tuple[float, JointPolicy, int] | None:
    """(value, policy, number) of the best of all best responses of one agent; None if they are more than `limit`.

    The agent with the most policies responds.
    """
    policies: list[np.ndarray | None] = []
    for agent in range(problem.num_agents):
        policies.append(_Policies(problem, horizon, agent, limit).all())
    counts = [limit + 1 if own is None else len(own) for own in policies]
    agent = int(np.argmax(counts))
    policies[agent] = _flat(_first_legal(problem, horizon, agent))
    sizes = [limit + 1 if own is None else len(own) for own in policies]
    count = int(np.prod(sizes, dtype=object))
    if count > limit:
        return None
    responder = _Responder(problem, horizon, agent, MEMORY_LIMIT)
    best: tuple[float, JointPolicy] | None = None
    for part in _parts(np.arange(count), responder.copies_at_once()):
        batch = [
            _by_stage(problem, horizon, other, own[number])
            for other, (own, number) in enumerate(zip(policies, np.unravel_index(part, sizes), strict=True))
            if own is not None
        ]
        values, batch[agent] = responder(batch)
        first = int(np.argmax(values))
        if best is None or values[first] > best[0]:
            best = float(values[first]), _take(batch, first)
    return None if best is None else (*best, count)


class _Policies:
    """The deterministic policies of one agent that differ where some joint policy can bring it.

    What can happen is followed as support bool[S, JO + 1]: which states are possible with which joint observation
    before (the last column: none yet), whatever the others legally do.
    """

    def __init__(self, problem: DecPOMDP, horizon: int, agent: int, limit: int) -> None:
        self.problem, self.horizon = problem, horizon
        self.legal = _legal_after(problem, agent)
        self.num_observations = problem.num_observations[agent]
        self.fill = _flat(_first_legal(problem, horizon, agent))
        self.offsets = np.cumsum([0, *_stage_sizes(problem, horizon, agent)])
        self.limit = min(limit, MEMORY_LIMIT // self.fill.nbytes)
        self.last = np.append(problem.joint_observations[:, agent], -1)  # own part of each column of a support
        team_legal = _legal_together(problem)
        self.ways: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # for each own action
        for action in range(problem.num_actions[agent]):
            joint = np.flatnonzero(problem.joint_actions[:, agent] == action)
            self.ways.append((team_legal[:, joint], problem.transition[joint] > 0, problem.observation[joint] > 0))

    def all(self) -> np.ndarray | None:
        """int64[P, observation histories of all stages], the first legal action where it makes no difference.

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
        """The ways to go on from a history; -1 at the histories that do not follow it."""
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
        """All combinations of what to do at histories that do not follow one another."""
        product = np.full((1, self.offsets[-1]), -1, np.int64)
        for part in parts:
            if part is None or len(product) * len(part) > self.limit:
                return None
            product = np.maximum(product[:, None], part[None]).reshape(-1, self.offsets[-1])
        return product


# Beyond: alternating best responses ----------------------------------------------------------------------------------


def _alternate(problem: DecPOMDP, horizon: int, restarts: int, rng: np.random.Generator) -> tuple[float, JointPolicy]:
    """(value, policy): the best of the joint policies that no single agent can improve, reached from random starts."""
    num_agents = problem.num_agents
    responders = [_Responder(problem, horizon, agent, MEMORY_LIMIT) for agent in range(num_agents)]
    batch = [_random_policies(problem, horizon, agent, restarts, rng) for agent in range(num_agents)]
    values = np.full(restarts, -np.inf)
    unchanged = np.zeros(restarts, np.int64)  # responses in a row that left the policy as it was
    in_vain = np.zeros(restarts, np.int64)  # responses in a row that found nothing better

    # First with ties drawn anew every time, which leads off a plateau; then only what is better is taken.
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
                    changed = better | (_flat(response) != _flat(policies[responder.agent])).any(1)
                for choices, new in zip(batch[responder.agent], response, strict=True):
                    choices[part[changed]] = new[changed]
                values[part[better]] = found[better]
                in_vain[part] = np.where(better, 0, in_vain[part] + 1)
                unchanged[part] = np.where(changed, 0, unchanged[part] + 1)
    best = int(np.argmax(values))
    return float(values[best]), _take(batch, best)


def _random_policies(
    problem: DecPOMDP, horizon: int, agent: int, count: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """For each stage int64[count, N]: actions drawn independently at each history.

    They are drawn uniformly for every second policy; the others lean to some actions at all histories alike, which
    starts the search near policies that mostly do one thing.
    """
    preference = np.log(rng.dirichlet(np.full(problem.num_actions[agent], LEANING), (count, 1)) + 1e-300)
    preference[::2] = 0
    legal = _legal_after(problem, agent)
    policies: list[np.ndarray] = []
    for last in _last_observations(problem, horizon, agent):
        score = preference + rng.gumbel(size=(count, len(last), legal.shape[1]))
        policies.append(np.where(legal[last], score, -np.inf).argmax(2))
    return policies


# Bounds --------------------------------------------------------------------------------------------------------------


def _value_when_all_is_seen(problem: DecPOMDP, horizon: int) -> float:
    """The value of the MDP whose state is the problem's state and the last joint observation."""
    legal = _legal_together(problem).T
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


# Deterministic policies ----------------------------------------------------------------------------------------------


def _legal_after(problem: DecPOMDP, agent: int) -> np.ndarray:
    """bool[O + 1, A]: what is legal after each observation and, in the last row, before any."""
    legal = np.ones((problem.num_observations[agent] + 1, problem.num_actions[agent]), np.bool_)
    if problem.legal is not None:
        legal[:-1] = problem.legal[agent]
    return legal


def _legal_together(problem: DecPOMDP) -> np.ndarray:
    """bool[JO + 1, JA]: what is legal for all agents after each joint observation and, in the last row, before any."""
    last = np.vstack([problem.joint_observations, np.full(problem.num_agents, -1)])
    legal = np.ones((len(last), len(problem.joint_actions)), np.bool_)
    for agent in range(problem.num_agents):
        legal &= _legal_after(problem, agent)[last[:, agent]][:, problem.joint_actions[:, agent]]
    return legal


def _stage_sizes(problem: DecPOMDP, horizon: int, agent: int) -> list[int]:
    """The number of observation histories of each stage."""
    first = 0 if problem.initial_observation is None else 1
    return [problem.num_observations[agent] ** (first + t) for t in range(horizon)]


def _last_observations(problem: DecPOMDP, horizon: int, agent: int) -> list[np.ndarray]:
    """For each stage int64[N]: the last observation of each observation history, -1 before any."""
    last = [np.arange(size) % problem.num_observations[agent] for size in _stage_sizes(problem, horizon, agent)]
    if problem.initial_observation is None:
        last[0] = np.full(1, -1)
    return last


def _first_legal(problem: DecPOMDP, horizon: int, agent: int) -> list[np.ndarray]:
    """For each stage int64[1, N]: the policy that always takes the first legal action."""
    legal = _legal_after(problem, agent)
    return [legal[last].argmax(1)[None] for last in _last_observations(problem, horizon, agent)]


def _flat(stages: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(stages, axis=1)


def _by_stage(problem: DecPOMDP, horizon: int, agent: int, flat: np.ndarray) -> list[np.ndarray]:
    return np.split(flat, np.cumsum(_stage_sizes(problem, horizon, agent))[:-1], axis=1)


def _take(batch: _Batch, number: int) -> JointPolicy:
    return tuple(tuple(choices[number].copy() for choices in own) for own in batch)


def _parts(numbers: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for first in range(0, len(numbers), size):
        yield numbers[first : first + size]


def _check_stages(problem: DecPOMDP, horizon: int, copies: int, memory_limit: int) -> None:
    """Whether joint policies fit in memory."""
    needed = 0
    first = 0 if problem.initial_observation is None else 1
    for t in range(horizon):
        needed += 8 * copies * sum(width ** (first + t) for width in problem.num_observations)
        if needed > memory_limit:
            raise TacitError(
                f"{copies} policies of horizon {horizon} take {needed / 2**30:.3g} GiB up to stage {t + 1} alone, and "
                f"the limit is {memory_limit / 2**30:.3g} GiB; take a smaller horizon"
            )


def _check_policy(problem: DecPOMDP, horizon: int, policy: JointPolicy) -> None:
    if len(policy) != problem.num_agents:
        raise TacitError(f"a joint policy needs a policy for each of {problem.num_agents} agents, not {len(policy)}")
    for agent, stages in enumerate(policy):
        name, legal = problem.agents[agent], _legal_after(problem, agent)
        sizes = _stage_sizes(problem, horizon, agent)
        shapes = [np.shape(choices) for choices in stages]
        if shapes != [(size,) for size in sizes]:
            raise TacitError(f"the policy of agent {name} must be arrays of {sizes} actions, not of shapes {shapes}")
        for t, (choices, last) in enumerate(zip(stages, _last_observations(problem, horizon, agent), strict=True)):
            in_range = (choices >= 0) & (choices < legal.shape[1])
            if not (in_range & legal[last, np.where(in_range, choices, 0)]).all():
                raise TacitError(f"the policy of agent {name} takes an action that is not legal at stage {t + 1}")
