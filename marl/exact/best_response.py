"""Best responses to deterministic policies of the other agents of a tabular Dec-POMDP.

Against deterministic others one agent faces a POMDP whose hidden part is the state and what the others have seen (Nair
et al., "Taming decentralized POMDPs", IJCAI 2003):

    b(h a o; s', w v) = Σ_s b(h; s, w) P(s' | s, a, u) P(o, v | a, u, s'),   u = what the others do at w
    Q_t(h, a) = γ^t Σ_{s, w} b(h; s, w) r(s, a, u) + Σ_o max_a' Q_{t+1}(h a o, a')

with h the agent's own action-observation history, w the others' observation histories and b(h; s, w) the probability
of the state and of what everybody saw, if the agent acts as h says; it is not normalised. This is solved exactly; what
has probability 0 is dropped.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from games.errors import TacitError, whole_number
from games.tabular.dec_pomdp import DecPOMDP
from marl.exact.deterministic import Batch, PurePolicy, check_policy, legal_after

MEMORY_LIMIT = 2 << 30
"""Bytes that the beliefs of one stage of a best response may take."""

BATCH_BYTES = 32 << 20
"""About how many bytes of beliefs are held at a time when there are many best responses to take."""

TIE = 1e-13
"""Values that differ by less than this share of the largest possible return are equal."""


def best_response(
    problem: DecPOMDP, horizon: int, policies: PurePolicy, agent: int
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
    check_policy(problem, horizon, policies)
    batch = [[choices[None] for choices in own] for own in policies]
    values, response = Responder(problem, horizon, agent, MEMORY_LIMIT)(batch)
    return float(values[0]), tuple(choices[0] for choices in response)


def parts(numbers: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """int64[size or fewer] again and again: the numbers one part after the other."""
    for first in range(0, len(numbers), size):
        yield numbers[first : first + size]


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


class Responder:
    """Best responses of one agent of a problem. The others' joint actions are numbered in C order, U of them."""

    def __init__(self, problem: DecPOMDP, horizon: int, agent: int, memory_limit: int) -> None:
        self.problem, self.horizon, self.agent, self.memory_limit = problem, horizon, agent, memory_limit
        self.others = [other for other in range(problem.num_agents) if other != agent]
        self.num_actions = problem.num_actions[agent]
        self.num_observations = problem.num_observations[agent]
        self.legal = legal_after(problem, agent)
        self.tie = TIE * horizon * float(np.abs(problem.expected_reward).max())
        numbers = np.arange(len(problem.joint_actions)).reshape(problem.num_actions)
        self.joint_action = np.moveaxis(numbers, agent, -1).reshape(-1, self.num_actions)  # [U, A]
        self.moves: dict[int, _Moves] = {}

    def __call__(self, policies: Batch, rng: np.random.Generator | None = None) -> tuple[np.ndarray, list[np.ndarray]]:
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
            best = np.append(values[t + 1].max(1), 0.0)  # number -1 is padding: a child that cannot follow adds 0
            values[t] += best[children[t]].sum(2)
        total = np.bincount(stages[0].copy, values[0].max(1), count)
        return total, self._greedy(policies[self.agent], stages, children, values, rng)

    def copies_at_once(self) -> int:
        """For how many joint policies the beliefs take about `BATCH_BYTES`."""
        return max(1, BATCH_BYTES // self.bytes_of_one())

    def bytes_of_one(self) -> int:
        """About how many bytes the beliefs of one response take in the last stage, if every outcome is possible."""
        seen_by_others = len(self.problem.joint_observations) // self.num_observations
        nodes = (self.num_actions * self.num_observations) ** (self.horizon - 1)
        each = nodes * max(seen_by_others ** (self.horizon - 1), len(self.joint_action))
        return 8 * self.problem.num_states * each

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

    def _joint_action_of_others(self, policies: Batch, nodes: _Nodes, rows: _Rows, t: int) -> np.ndarray:
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
        """The response: a best action at each history it reaches, the first or (with `rng`) any; elsewhere `own`."""
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
