"""Bounded memory: agents who know the time and, of their own past, the last K actions and observations.

A *memory* takes the place of a history (`games.tabular.histories`): at a stage it is the window of the last K pairs of
an own action and the observation that followed, in which an initial observation counts as a pair without an action.
Which actions are legal is known too: with K = 0 a memory is a set of legal actions. Histories with the same window are
one memory, which a game meets at most once, as the time is known. No stage has more than (A O)^K, at any horizon.

With K at least the horizon nothing is forgotten, and memories are the histories, in the same order.
"""

import functools

import numpy as np

from games.errors import TacitError, whole_number
from games.tabular.dec_pomdp import DecPOMDP
from games.tabular.histories import MEMORY_LIMIT, AgentHistories, Tree


def build(problem: DecPOMDP, horizon: int, memory: int, *, memory_limit: int = MEMORY_LIMIT) -> Tree:
    """The memories that some joint policy reaches, numbered within a stage by their windows, the oldest pair first.

    In the result `parent`, `action` and `observation` of a memory are those of one way to it, the first, and `child`
    has the memory that follows. It has no `stages`: joint memories have no chance weight, since what is forgotten
    depends on the policies.

    Args:
      problem, horizon: the game.
      memory: K.
      memory_limit: the most bytes for the combinations of a state and what all agents know.

    Raises:
      TacitError: if `horizon` is not a positive whole number or `memory` a negative one; if a stage would take more
        than `memory_limit` bytes (found out before anything of that size is allocated).
    """
    horizon = whole_number("horizon", horizon, 1)
    memory = whole_number("memory", memory, 0)
    first, possible = _first_stage(problem)
    builders = [_Builder(problem, agent, memory, first[:, agent]) for agent in range(problem.num_agents)]
    support = np.zeros((problem.num_states, *(builder.size for builder in builders)), np.bool_)
    for row, states in zip(np.stack([builder.local for builder in builders], axis=1), possible, strict=True):
        support[(slice(None), *row)] |= states
    occurs: list[np.ndarray] = []
    settled = False  # whether the stage is like the one before: then so are all that follow
    for t in range(1, horizon):
        after = support
        if not settled:
            _check_size(problem, builders, t, memory_limit)
            outcomes = _outcomes(problem, builders, support)
            axes = range(1, outcomes.ndim)
            occurs = [np.asarray(outcomes.any(tuple({0, *axes} - {axis}))) for axis in axes]
            after = outcomes
        before = [builder.windows for builder in builders]
        for agent, builder in enumerate(builders):
            number = builder.extend(occurs[agent])
            if not settled:
                after = _merge(after.take(np.flatnonzero(occurs[agent]), 1 + agent), 1 + agent, number)
        same = all(np.array_equal(a, b.windows) for a, b in zip(before, builders, strict=True))
        settled = same and np.array_equal(support, after)
        support = after
    return Tree(problem, horizon, tuple(builder.finish() for builder in builders), (), memory)


def windows(tree: Tree, agent: int) -> np.ndarray:
    """int64[H, 2 K]: action and observation of each pair that a memory holds, the oldest first; -1 where there is none.

    Args:
      tree: of bounded memory.
      agent: whose memories.
    """
    own, pairs = tree.agents[agent], []
    memory = np.arange(own.size)
    for _ in range(tree.memory or 0):
        # Any way to a memory ends in the pairs that it holds.
        pairs = [
            np.where(memory < 0, -1, own.action[memory]),
            np.where(memory < 0, -1, own.observation[memory]),
            *pairs,
        ]
        memory = np.where(memory < 0, -1, own.parent[memory])
    return np.stack(pairs, axis=1) if pairs else np.zeros((own.size, 0), np.int64)


def remainders(windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What windows int64[M, 2 K] become once their oldest pair is forgotten.

    Returns:
      int64[W, 2 K - 2], the different remainders (one of no columns for K = 0), and int64[M], the one of each window.
    """
    if not windows.shape[1]:
        return np.zeros((1, 0), np.int64), np.zeros(len(windows), np.int64)
    return _different(windows[:, 2:])[:2]


class _Builder:
    """The memories of one agent, while stages are added. `local` numbers those of the first joint observations."""

    def __init__(self, problem: DecPOMDP, agent: int, memory: int, observations: np.ndarray) -> None:
        num_actions, num_observations = problem.num_actions[agent], problem.num_observations[agent]
        legal = np.ones((num_observations, num_actions)) if problem.legal is None else problem.legal[agent]
        self.mask = np.vstack([np.ones(num_actions), legal]).astype(np.bool_)  # the first row: before any observation
        # With K = 0 an observation stands for all with the same legal actions, the first of them.
        self.alike = (self.mask[:, None] == self.mask[None]).all(-1).argmax(1) - 1
        self.memory = memory
        roots, root_of = np.unique(observations, return_inverse=True)
        none = np.full(len(roots), -1, np.int64)
        nothing = np.full((len(roots), max(2 * memory - 2, 0)), -1, np.int64)
        self.windows, number, first = _different(self._windows(nothing, none, roots))
        self.local = number[root_of]
        self.root = np.full(num_observations if roots[0] >= 0 else 1, -1, np.int64)
        self.root[np.maximum(roots, 0)] = number
        self.offsets = [0, len(self.windows)]
        self.stages = [(none[first], none[first], roots[first])]
        self.children: list[np.ndarray] = []

    @property
    def size(self) -> int:
        """M, the memories of the newest stage."""
        return len(self.windows)

    @property
    def legal(self) -> np.ndarray:
        """bool[M, A], of the newest stage."""
        return self.mask[self.stages[-1][2] + 1]

    @property
    def kept(self) -> tuple[np.ndarray, np.ndarray]:
        """`remainders` of the newest stage."""
        return remainders(self.windows[:, : 2 * self.memory])

    @property
    def outcomes(self) -> tuple[int, int, int]:
        """W, A and O: remainders of the newest stage, actions, observations."""
        return (len(self.kept[0]), self.mask.shape[1], len(self.mask) - 1)

    def extend(self, occurs: np.ndarray) -> np.ndarray:
        """Add a stage.

        Args:
          occurs: bool[W A O], which (remainder, action, observation) some joint policy meets.

        Returns:
          int64[...], the new memory after each that occurs, in order.
        """
        (left, kept), legal = self.kept, self.legal
        target = np.full(self.outcomes, -1, np.int64)
        remainder, action, observation = np.nonzero(occurs.reshape(target.shape))
        self.windows, number, first = _different(self._windows(left[remainder], action, observation))
        target[remainder, action, observation] = number + self.offsets[-1]
        self.children.append(np.where(legal[:, :, None], target[kept], -1))
        ways = legal[:, action[first]] & (
            kept[:, None] == remainder[first]
        )  # [M, M'] from which memory, by which action
        self.stages.append((ways.argmax(0) + self.offsets[-2], action[first], observation[first]))
        self.offsets.append(self.offsets[-1] + len(self.windows))
        return number

    def finish(self) -> AgentHistories:
        parent, action, observation = (np.concatenate(column) for column in zip(*self.stages, strict=True))
        last = np.full((self.size, self.mask.shape[1], len(self.mask) - 1), -1, np.int64)
        child = np.concatenate([*self.children, last])
        return AgentHistories(
            np.array(self.offsets), parent, action, observation, self.mask[observation + 1], child, self.root
        )

    def _windows(self, left: np.ndarray, action: np.ndarray, observation: np.ndarray) -> np.ndarray:
        """int64[N, 2 max(K, 1)]: remainders int64[N, 2 K - 2] with a new pair. With K = 0 it is what is legal now."""
        if self.memory == 0:
            return np.stack([np.full_like(observation, -1), self.alike[observation + 1]], axis=1)
        return np.concatenate([left, action[:, None], observation[:, None]], axis=1)


def _different(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The different rows of int64[N, C] in lexicographic order, the one of each row, and where each stands first."""
    found, first, number = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    return found, number.reshape(-1), first


def _merge(support: np.ndarray, axis: int, number: np.ndarray) -> np.ndarray:
    """Or over the entries of an axis with the same number: bool[..., N, ...] to bool[..., 1 + max(number), ...]."""
    order = np.argsort(number, kind="stable")
    starts = np.flatnonzero(np.diff(number[order], prepend=-1))
    return np.logical_or.reduceat(support.take(order, axis), starts, axis)


def _first_stage(problem: DecPOMDP) -> tuple[np.ndarray, np.ndarray]:
    """(int64[K, n] first observations or -1, bool[K, S] the states that are possible with them)."""
    if problem.initial_observation is None:
        return np.full((1, problem.num_agents), -1, np.int64), problem.start[None] > 0
    possible = ((problem.start[:, None] * problem.initial_observation) > 0).T
    met = np.flatnonzero(possible.any(1))
    return problem.joint_observations[met], possible[met]


def _outcomes(problem: DecPOMDP, builders: list[_Builder], support: np.ndarray) -> np.ndarray:
    """bool[S', W_1 A_1 O_1, ...]: which next states, and which outcomes for each agent, occur together.

    Args:
      problem: the game.
      builders: of its agents.
      support: bool[S, M_1, ...], the states and memories that occur together now.
    """
    shape = [size for builder in builders for size in builder.outcomes]
    found = np.zeros((problem.num_states, *shape), np.bool_)
    for joint_action, actions in enumerate(problem.joint_actions.tolist()):
        part = support
        for agent, (builder, action) in enumerate(zip(builders, actions, strict=True)):
            legal = builder.legal[:, action].reshape(-1, *[1] * (len(builders) - 1 - agent))
            part = _merge(part & legal, 1 + agent, builder.kept[1])
        next_states = (problem.transition[joint_action] > 0).T.astype(np.int32)
        moved = np.asarray(np.tensordot(next_states, part.astype(np.int32), 1) > 0)
        seen = np.asarray(problem.observation[joint_action] > 0)
        states = moved.reshape(len(moved), -1).any(1)
        for joint_observation in np.flatnonzero(seen[states].any(0)).tolist():
            observations = problem.joint_observations[joint_observation].tolist()
            own = [(slice(None), a, o) for a, o in zip(actions, observations, strict=True)]
            possible = seen[:, joint_observation].reshape(-1, *[1] * len(builders))
            found[(slice(None), *[index for three in own for index in three])] |= moved & possible
    return found.reshape(problem.num_states, *(int(np.prod(builder.outcomes)) for builder in builders))


def _check_size(problem: DecPOMDP, builders: list[_Builder], t: int, memory_limit: int) -> None:
    sizes = [functools.reduce(int.__mul__, builder.outcomes) for builder in builders]
    needed = functools.reduce(int.__mul__, sizes, problem.num_states)
    if needed > memory_limit:
        outcomes = " x ".join(map("{:,}".format, sizes))
        raise TacitError(
            f"the game is too large for memory={builders[0].memory}: stage {t + 1} combines {problem.num_states:,} "
            f"states and {outcomes} outcomes, which take {needed / 2**30:.3g} GiB, and the limit is "
            f"{memory_limit / 2**30:.3g} GiB; take a smaller memory"
        )
