"""Action-observation histories of a Dec-POMDP, numbered, and their chance weights, which depend on no policy.

With perfect recall the return of a joint policy is a sum over joint histories of chance weight times the product of the
agents' own realisation weights. Everything that does not depend on the policies is collected here once.
"""

import dataclasses
from typing import NamedTuple, final

import numpy as np

from games.errors import TacitError, whole_number
from games.tabular.dec_pomdp import DecPOMDP

MEMORY_LIMIT = 4 << 30
"""Bytes that the histories of a game may take."""


class AgentHistories(NamedTuple):
    """The H action-observation histories of one agent, stage by stage; A its actions, O its observations."""

    offsets: np.ndarray  # int64[horizon + 1], the histories of stage t are offsets[t] ... offsets[t + 1] - 1
    parent: np.ndarray  # int64[H], the history one stage before; -1 at stage 0
    action: np.ndarray  # int64[H], the own action that led here; -1 at stage 0
    observation: np.ndarray  # int64[H], the last observation; -1 where there has been none
    legal: np.ndarray  # bool[H, A]
    child: np.ndarray  # int64[H, A, O], the next history; -1 where impossible or beyond the horizon
    root: np.ndarray  # int64[O] the first history after each initial observation, or -1; int64[1] without one

    @property
    def size(self) -> int:
        return len(self.parent)

    def stage(self, t: int) -> slice:
        """The histories of stage t."""
        return slice(int(self.offsets[t]), int(self.offsets[t + 1]))

    def path(self, history: int) -> tuple[int | None, ...]:
        """(initial observation or None, action, observation, action, observation, ...)."""
        steps: list[int] = []
        while self.parent[history] >= 0:
            steps = [int(self.action[history]), int(self.observation[history]), *steps]
            history = int(self.parent[history])
        first = int(self.observation[history])
        return (None if first < 0 else first, *steps)


class JointHistories(NamedTuple):
    """The K joint histories of one stage that can occur."""

    local: np.ndarray  # int64[K, n], each agent's history, counted within the stage
    chance: np.ndarray  # float64[K, S], P(state and all observations so far | all actions so far)


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Tree:
    """All histories of `problem` up to `horizon` steps; with bounded memory, memories in their place.

    `memory` is None with perfect recall, else K; then `stages` is empty (`games.tabular.memories`).
    """

    problem: DecPOMDP
    horizon: int
    agents: tuple[AgentHistories, ...]
    stages: tuple[JointHistories, ...]
    memory: int | None = None

    def uniform(self) -> tuple[np.ndarray, ...]:
        """The joint policy that takes every legal action with the same probability: for each agent float64[H, A]."""
        return tuple(own.legal / own.legal.sum(1, keepdims=True) for own in self.agents)

    def need_perfect_recall(self, what: str) -> None:
        """Refuse a game with bounded memory.

        Raises:
          TacitError: saying that `what` needs perfect recall.
        """
        if self.memory is not None:
            raise TacitError(f"{what} needs perfect recall, and with memory={self.memory} agents forget")


def build(problem: DecPOMDP, horizon: int, *, memory_limit: int = MEMORY_LIMIT) -> Tree:
    """Number the histories that some joint policy reaches, in the order of (parent, action, observation).

    Raises:
      TacitError: if `horizon` is not a positive whole number; if a stage would take more than `memory_limit` bytes
        (found out before anything of that size is allocated).
    """
    horizon = whole_number("horizon", horizon, 1)
    joint, chance = _first_stage(problem)  # the agents' observations; the builders number them
    builders = [_Builder(problem, agent, joint[:, agent]) for agent in range(problem.num_agents)]
    local = np.stack([builder.local for builder in builders], axis=1)
    stages = [JointHistories(local, chance)]
    for t in range(1, horizon):
        _check_size(problem, builders, stages[-1], t, memory_limit)
        parents, joint_actions, joint_observations, chance = _expand(problem, builders, stages[-1])
        for agent, builder in enumerate(builders):
            builder.extend(
                stages[-1].local[parents, agent],
                problem.joint_actions[joint_actions, agent],
                problem.joint_observations[joint_observations, agent],
            )
        stages.append(JointHistories(np.stack([builder.local for builder in builders], axis=1), chance))
    return Tree(problem, horizon, tuple(builder.finish() for builder in builders), tuple(stages))


def expected_rewards(tree: Tree) -> list[np.ndarray]:
    """For each stage float64[K, A_1, ..., A_n]: expected reward of the joint actions, times chance."""
    problem = tree.problem
    return [(stage.chance @ problem.expected_reward.T).reshape(-1, *problem.num_actions) for stage in tree.stages]


def joint_rows(tree: Tree, t: int, local: np.ndarray) -> np.ndarray:
    """Where joint histories `local`, int64[K', n], stand among those of stage t: int64[K'], -1 if they cannot occur."""
    sizes = tuple(own.stage(t).stop - own.stage(t).start for own in tree.agents)
    codes = np.asarray(np.ravel_multi_index(tuple(tree.stages[t].local.T), sizes))
    wanted = np.asarray(np.ravel_multi_index(tuple(local.T), sizes))
    order = np.argsort(codes)
    rows = order[np.minimum(np.searchsorted(codes, wanted, sorter=order), len(codes) - 1)]
    return np.where(codes[rows] == wanted, rows, -1)


def predecessors(tree: Tree) -> list[tuple[np.ndarray, ...]]:
    """For each stage but the last, where joint histories of the next come from: row and agents' actions, int64[K']."""
    links = []
    for t in range(tree.horizon - 1):
        after = tree.stages[t + 1].local
        rows = [own.stage(t + 1).start + column for own, column in zip(tree.agents, after.T, strict=True)]
        parents = [own.parent[row] - own.stage(t).start for own, row in zip(tree.agents, rows, strict=True)]
        actions = (own.action[row] for own, row in zip(tree.agents, rows, strict=True))
        links.append((joint_rows(tree, t, np.stack(parents, axis=1)), *actions))
    return links


class _Builder:
    """The histories of one agent, while stages are added. `local` numbers those of the newest joint histories."""

    def __init__(self, problem: DecPOMDP, agent: int, observations: np.ndarray) -> None:
        self.mask = None if problem.legal is None else problem.legal[agent]
        self.num_actions = problem.num_actions[agent]
        self.num_observations = problem.num_observations[agent]
        roots, self.local = np.unique(observations, return_inverse=True)
        self.root = np.full(self.num_observations if roots[0] >= 0 else 1, -1, np.int64)
        self.root[np.maximum(roots, 0)] = np.arange(len(roots))
        self.offsets = [0, len(roots)]
        nothing = np.full(len(roots), -1, np.int64)
        self.stages = [(nothing, nothing, roots.astype(np.int64))]

    @property
    def legal(self) -> np.ndarray:
        """bool[histories of the newest stage, A]."""
        return self._legal(self.stages[-1][2])

    def extend(self, parents: np.ndarray, actions: np.ndarray, observations: np.ndarray) -> None:
        sizes = (self.offsets[-1] - self.offsets[-2], self.num_actions, self.num_observations)
        codes, self.local = np.unique(
            np.ravel_multi_index((parents, actions, observations), sizes), return_inverse=True
        )
        parent, action, observation = np.unravel_index(codes, sizes)
        self.stages.append((parent + self.offsets[-2], action, observation))
        self.offsets.append(self.offsets[-1] + len(codes))

    def finish(self) -> AgentHistories:
        parent, action, observation = (
            np.concatenate(column).astype(np.int64) for column in zip(*self.stages, strict=True)
        )
        child = np.full((len(parent), self.num_actions, self.num_observations), -1, np.int64)
        later = np.arange(self.offsets[1], len(parent))
        child[parent[later], action[later], observation[later]] = later
        return AgentHistories(
            np.array(self.offsets), parent, action, observation, self._legal(observation), child, self.root
        )

    def _legal(self, observations: np.ndarray) -> np.ndarray:
        if self.mask is None:
            return np.ones((len(observations), self.num_actions), np.bool_)
        return np.where(observations[:, None] < 0, True, self.mask[observations])


def _first_stage(problem: DecPOMDP) -> tuple[np.ndarray, np.ndarray]:
    """(int64[K, n] first observations or -1, float64[K, S] chance)."""
    if problem.initial_observation is None:
        return np.full((1, problem.num_agents), -1, np.int64), problem.start[None].copy()
    chance = (problem.start[:, None] * problem.initial_observation).T  # [JO, S]
    possible = np.flatnonzero(chance.any(1))
    return problem.joint_observations[possible], chance[possible]


def _expand(
    problem: DecPOMDP, builders: list[_Builder], stage: JointHistories
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """All continuations of a stage: (parent row, joint action, joint observation, float64[S] chance), each [K']."""
    found: list[tuple[np.ndarray, ...]] = []
    legal = [builder.legal[stage.local[:, agent]] for agent, builder in enumerate(builders)]  # [K, A]
    for joint_action, actions in enumerate(problem.joint_actions.tolist()):
        rows = np.flatnonzero(np.logical_and.reduce([mask[:, a] for mask, a in zip(legal, actions, strict=True)]))
        if not len(rows):
            continue
        moved = stage.chance[rows] @ problem.transition[joint_action]  # [rows, S']
        seen = problem.observation[joint_action]
        for joint_observation in np.flatnonzero((seen * moved.any(0)[:, None]).any(0)).tolist():
            chance = moved * seen[:, joint_observation]
            kept = chance.any(1)
            numbers = np.ones(int(kept.sum()), np.int64)
            found.append((rows[kept], numbers * joint_action, numbers * joint_observation, chance[kept]))
    parents, joint_actions, joint_observations, chance = (np.concatenate(c) for c in zip(*found, strict=True))
    return parents, joint_actions, joint_observations, chance


def _check_size(problem: DecPOMDP, builders: list[_Builder], stage: JointHistories, t: int, memory_limit: int) -> None:
    """Count the joint histories of stage t without making them."""
    # Rows with the same possible states and the same legal actions have the same number of continuations.
    keys = [stage.chance > 0]
    keys += [builder.legal[stage.local[:, agent]] for agent, builder in enumerate(builders)]
    patterns, counts = np.unique(np.packbits(np.concatenate(keys, axis=1), axis=1), axis=0, return_counts=True)
    width = sum(key.shape[1] for key in keys)
    patterns = np.unpackbits(patterns, axis=1, count=width).astype(bool)
    states, *legal = np.split(patterns, np.cumsum([key.shape[1] for key in keys])[:-1], axis=1)
    total = 0
    for joint_action, actions in enumerate(problem.joint_actions.tolist()):
        allowed = np.logical_and.reduce([mask[:, a] for mask, a in zip(legal, actions, strict=True)])
        next_states = states[allowed].astype(np.int32) @ (problem.transition[joint_action] > 0).astype(np.int32) > 0
        ways = (next_states.astype(np.int32) @ (problem.observation[joint_action] > 0).astype(np.int32) > 0).sum(1)
        total += int(ways @ counts[allowed])
    needed = total * 8 * (problem.num_states + 2 * problem.num_agents + 3)
    if needed > memory_limit:
        raise TacitError(
            f"the game is too large: stage {t + 1} of it has {total:,} joint histories, which take "
            f"{needed / 2**30:.3g} GiB, and the limit is {memory_limit / 2**30:.3g} GiB; take a smaller horizon"
        )
