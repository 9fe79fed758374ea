"""J_α and soft action values of agents with bounded memory, on the product of the state and all agents' memories.

The policy is π_i(a | m, t), m the memory (`games.tabular.memories`); a game meets each memory of a stage at most once.
So the policy gradient theorem holds as it does for histories, with Q_i(m, a) the mean, under the current joint policy,
of what follows given m and a. In contrast to a history's it also depends on how the agent itself chose earlier.

Backward, V_t(s, m_1, ..., m_n) is the soft value from stage t on; forward, P_t(s, m_1, ..., m_n) are probabilities.
Equal stages in a row are one `Run`, a loop of the compiled program: a longer horizon takes no longer to compile.

P_t is stored as a product Π_i x_i(m_i) β(s, m_1, ..., m_n). x_i collects agent i's own probabilities, in logarithms,
the greatest of a stage being 1, since own probabilities underflow first. Where several memories and actions lead to one
memory, x there is their sum, and the share of each in it, which is the agent's own, multiplies β. With perfect recall
all shares are 1, and β are the chance weights of `games.tabular.histories`, up to a factor for each stage.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from games.errors import TacitError
from games.tabular import memories
from games.tabular.histories import MEMORY_LIMIT, Tree

Array = jax.Array

_NEVER = -1e9
"""In place of the logarithm of a probability of 0: finite, so that shares are defined among memories never reached."""
_ILLEGAL = -1e290
"""In place of the logarithm of what is impossible."""


class AgentMemory(NamedTuple):
    """One agent's M memories of a stage, and how those of the next stage, M' of them, follow; O its observations.

    The oldest pair is forgotten first, which leaves one of W remainders. `target` and `sources` are None at the end.
    Arrays of jax or, while they are made, of numpy.
    """

    legal: Any  # bool[M, A]
    kept: Any  # int32[M], the remainder
    members: Any  # int32[W, most], the memories of each remainder, padded with M where there are fewer
    target: Any  # int32[W A O], the next memory; M' where impossible
    sources: Any  # int32[M', most], what leads to it, counted as in `target`, padded with W A O


class Run(NamedTuple):
    """R equal stages in a row."""

    agents: tuple[AgentMemory, ...]
    discount: Array  # float64[R], γ^t


class MemoryTables(NamedTuple):
    """What the exact core needs of a game with bounded memory; S states."""

    runs: tuple[Run, ...]
    start: Array  # float64[S, M_1, ..., M_n], the probability of a first state and first memories
    transition: Array  # float64[A_1, ..., A_n, S, S']
    observation: Array  # float64[A_1, ..., A_n, S', O_1, ..., O_n]
    reward: Array  # float64[S, A_1, ..., A_n]
    gamma: Array  # float64[]


def memory_tables(tree: Tree, width: int) -> MemoryTables:
    """The arrays of a game with bounded memory. Call within double precision.

    Args:
      tree: of bounded memory.
      width: how many joint policies are computed at a time.

    Raises:
      TacitError: if these would take more than `MEMORY_LIMIT` bytes.
    """
    problem, agents = tree.problem, range(tree.problem.num_agents)
    stages = [_stages(tree, agent) for agent in agents]
    _check_size(tree, stages, width)
    gammas = problem.discount ** np.arange(tree.horizon)
    runs: list[Run] = []
    first = 0
    for t in range(1, tree.horizon + 1):
        if t == tree.horizon or not all(_equal(own[t], own[first]) for own in stages):
            run = jax.tree.map(jnp.asarray, tuple(own[first] for own in stages))
            runs.append(Run(run, jnp.asarray(gammas[first:t])))
            first = t
    actions, observations, states = problem.num_actions, problem.num_observations, problem.num_states
    return MemoryTables(
        runs=tuple(runs),
        start=jnp.asarray(_start(tree)),
        transition=jnp.asarray(problem.transition.reshape(*actions, states, states)),
        observation=jnp.asarray(problem.observation.reshape(*actions, states, *observations)),
        reward=jnp.asarray(problem.expected_reward.T.reshape(states, *actions)),
        gamma=jnp.asarray(problem.discount),
    )


def memory_sweep(tables: MemoryTables, log_probs: tuple[Array, ...], alpha: Array | float) -> tuple[Any, ...]:
    """J_α, x, P / x, Q and advantages: the fields of `objective.Sweep`, in order. Arguments as in `objective.sweep`."""
    policies = list(zip(*(_by_run(tables, agent, own) for agent, own in enumerate(log_probs)), strict=True))
    value: Any = None
    futures: list[Array] = []
    for run, policy in zip(reversed(tables.runs), reversed(policies), strict=True):
        step = functools.partial(_backward, tables, run.agents, alpha)
        value, future = _scan(step, value, policy, reverse=True)
        futures.insert(0, future)
    state = (tuple(jnp.zeros(size) for size in tables.start.shape[1:]), tables.start)
    parts = []
    for run, policy, future in zip(tables.runs, policies, futures, strict=True):
        step = functools.partial(_forward, tables, run.agents, alpha)
        state, found = _scan(step, state, (policy, future, run.discount))
        parts.append(jax.tree.map(lambda own: own.reshape(-1, *own.shape[2:]), found))
    return ((tables.start * value).sum(), *jax.tree.map(lambda *own: jnp.concatenate(own), *parts))


def legal_of(tables: MemoryTables) -> tuple[Array, ...]:
    """bool[H, A] for each agent."""
    return _over_stages(tables, lambda own, run: jnp.tile(own.legal, (len(run.discount), 1)))


def discounts_of(tables: MemoryTables) -> tuple[Array, ...]:
    """γ^t of each memory: float64[H] for each agent."""
    return _over_stages(tables, lambda own, run: jnp.repeat(run.discount, _size(own)))


def _over_stages(tables: MemoryTables, function: Callable[[AgentMemory, Run], Array]) -> tuple[Array, ...]:
    agents = range(len(tables.runs[0].agents))
    return tuple(jnp.concatenate([function(run.agents[agent], run) for run in tables.runs]) for agent in agents)


# The tables -----------------------------------------------------------------------------------------------------------


def _stages(tree: Tree, agent: int) -> list[AgentMemory]:
    """The memories of each stage, as numpy arrays."""
    own, windows, found = tree.agents[agent], memories.windows(tree, agent), []
    for t in range(tree.horizon):
        now = own.stage(t)
        left, kept = memories.remainders(windows[now])
        target = sources = None
        if t + 1 < tree.horizon:
            after = own.stage(t + 1)
            target = np.full((len(left), *own.child.shape[1:]), -1, np.int64)
            np.maximum.at(target, kept, own.child[now] - after.start)
            target = np.where(target < 0, after.stop - after.start, target).ravel()
            sources = padded_groups(target, after.stop - after.start).astype(np.int32)
            target = target.astype(np.int32)
        members = padded_groups(kept, len(left)).astype(np.int32)
        found.append(AgentMemory(own.legal[now], kept.astype(np.int32), members, target, sources))
    return found


def padded_groups(number: np.ndarray, count: int) -> np.ndarray:
    """int64[count, most]: the places of each number below `count` in int64[N], padded with N where there are fewer."""
    places = np.argsort(number, kind="stable")
    places = places[number[places] < count]
    sizes = np.bincount(number[places], minlength=count)
    groups = np.full((count, max(1, int(sizes.max(initial=0)))), len(number))
    groups[number[places], np.arange(len(places)) - np.repeat(np.cumsum(sizes) - sizes, sizes)] = places
    return groups


def _equal(first: AgentMemory, second: AgentMemory) -> bool:
    return all(
        a is b is None or (a is not None and b is not None and np.array_equal(a, b))
        for a, b in zip(first, second, strict=True)
    )


def _start(tree: Tree) -> np.ndarray:
    problem = tree.problem
    start = np.zeros((problem.num_states, *(own.stage(0).stop for own in tree.agents)))
    if problem.initial_observation is None:
        start[(slice(None), *[0] * problem.num_agents)] = problem.start
        return start
    for seen, chance in zip(problem.joint_observations, problem.initial_observation.T, strict=True):
        roots = [int(own.root[o]) for own, o in zip(tree.agents, seen, strict=True)]
        if min(roots) >= 0:
            start[(slice(None), *roots)] += problem.start * chance
    return start


def _check_size(tree: Tree, stages: list[list[AgentMemory]], width: int) -> None:
    """Refuse what does not fit: the values of all stages, and a few arrays of the largest stage."""
    total, largest = 0, 0
    for t in range(tree.horizon):
        now = [own[t] for own in stages]
        ahead = [len(own.members) * own.legal.shape[1] for own in now]
        widest = [
            max(own.legal.size, pairs * observations)
            for own, pairs, observations in zip(now, ahead, tree.problem.num_observations, strict=True)
        ]
        total += int(np.prod(ahead, dtype=object))
        largest = max(largest, int(np.prod(widest, dtype=object)))
    needed = 8 * width * tree.problem.num_states * (total + 4 * largest)
    if needed > MEMORY_LIMIT:
        raise TacitError(
            f"the game is too large for memory={tree.memory} at horizon {tree.horizon}: {width} joint policies at a "
            f"time would take {needed / 2**30:.3g} GiB, and the limit is {MEMORY_LIMIT / 2**30:.3g} GiB; take a "
            f"smaller memory or horizon"
        )


# One stage ------------------------------------------------------------------------------------------------------------


def _backward(
    tables: MemoryTables, agents: tuple[AgentMemory, ...], alpha: Array | float, value: Array | None, log_probs: Any
) -> tuple[Array, Array]:
    """One stage back: (V float64[S, M_1, ...], F float64[S, W_1 A_1, ...]), given the next stage's V.

    F is what a joint action earns now and later, given what is left of the memories.
    """
    sizes = [(len(own.members), own.legal.shape[1]) for own in agents]
    states = len(tables.reward)
    future = tables.reward.reshape(states, *[size for _, count in sizes for size in (1, count)])
    pairs = [size for both in sizes for size in both]
    future = jnp.broadcast_to(future, (states, *pairs))
    if value is not None:
        for axis, own in enumerate(agents, start=1):
            value = _take(value, own.target, axis)
        observations = tables.observation.shape[len(agents) + 1 :]
        value = value.reshape(
            states, *[n for both, seen in zip(sizes, observations, strict=True) for n in (*both, seen)]
        )
        future = future + tables.gamma * _expect(tables, value, len(agents))
    future = future.reshape(states, *[remainders * count for remainders, count in sizes])
    value = future
    for axis, (own, log, (_, count)) in enumerate(zip(agents, log_probs, sizes, strict=True), start=1):
        ahead = value.reshape(*value.shape[:axis], -1, count, *value.shape[axis + 1 :]).take(own.kept, axis)
        value = (ahead * _along(jnp.exp(log), axis, ahead.ndim)).sum(axis + 1)
    for axis, log in enumerate(log_probs, start=1):
        value = value + alpha * _along(_entropy(log), axis, value.ndim)
    return value, future


def _forward(
    tables: MemoryTables, agents: tuple[AgentMemory, ...], alpha: Array | float, state: Any, given: Any
) -> tuple[Any, Any]:
    """One stage on: ((log x of each agent, β) of the next stage, (x, P / x, Q and advantages of this one))."""
    logs, beta = state
    log_probs, future, scale = given
    own = tuple(map(jnp.exp, logs))
    plays = [x[:, None] * jnp.exp(log) for x, log in zip(own, log_probs, strict=True)]
    found = []
    for agent, (memory, log) in enumerate(zip(agents, log_probs, strict=True)):
        met = beta
        for other, another in enumerate(agents):
            if other != agent:
                met = _forget(met, 1 + other, another, plays[other])
        met = jnp.moveaxis(met, 1 + agent, 0).reshape(len(log), -1)
        ahead = jnp.moveaxis(future, 1 + agent, 0).reshape(*memory.members.shape[:1], log.shape[1], -1)
        others = met.sum(1)
        divisor = (scale * others)[:, None]
        counts = memory.legal & (divisor > 0)
        q = jnp.einsum("mx,max->ma", met, ahead[memory.kept]) / jnp.where(others > 0, others, 1.0)[:, None]
        q = jnp.where(counts, q, 0.0)
        soft = q - alpha * jnp.where(jnp.isfinite(log), log, 0.0)
        mean = jnp.sum(jnp.exp(log) * soft, -1, keepdims=True)
        found.append((own[agent], others, q, jnp.where(counts, soft - mean, 0.0)))
    result = tuple(zip(*found, strict=True))
    is_last = agents[0].target is None
    return state if is_last else _next(tables, agents, logs, beta, log_probs), result


def _next(tables: MemoryTables, agents: tuple[AgentMemory, ...], logs: Any, beta: Array, log_probs: Any) -> Any:
    """(log x of each agent, β) of the next stage."""
    later = []
    for agent, (memory, log_own, log) in enumerate(zip(agents, logs, log_probs, strict=True)):
        ways = jnp.where(memory.legal, log_own[:, None] + jnp.where(jnp.isfinite(log), log, _NEVER), _ILLEGAL)
        left = logsumexp(_take(ways, memory.members, 0, _ILLEGAL), axis=1)  # [W, A]
        share = jnp.where(memory.legal, jnp.exp(ways - left[memory.kept]), 0.0)
        beta = _forget(beta, 1 + agent, memory, share)
        led = _take(
            jnp.repeat(left.ravel(), tables.observation.shape[len(agents) + 1 + agent]), memory.sources, 0, _ILLEGAL
        )
        after = logsumexp(led, axis=1)
        after = after - after.max()
        later.append((after, jnp.exp(led - after[:, None])))
    sizes = [size for memory in agents for size in (len(memory.members), memory.legal.shape[1])]
    beta = _move(tables, beta.reshape(-1, *sizes), len(agents))
    beta = beta.reshape(len(beta), *(len(memory.target) for memory in agents))
    for axis, (memory, (_, share)) in enumerate(zip(agents, later, strict=True), start=1):
        reached = _take(beta, memory.sources, axis)
        beta = (reached * _along(share, axis, reached.ndim)).sum(axis + 1)
    return tuple(after for after, _ in later), beta


def _forget(weights: Array, axis: int, memory: AgentMemory, plays: Array) -> Array:
    """An action is taken and the oldest pair forgotten: an axis of M memories becomes one of W A.

    Args:
      weights: float64[..., M, ...].
      axis: of the memories.
      memory: the agent's.
      plays: float64[M, A], the weight of each memory and action.
    """
    joined = jnp.expand_dims(weights, axis + 1) * _along(plays, axis, weights.ndim + 1)
    summed = _take(joined, memory.members, axis).sum(axis + 1)
    return summed.reshape(*weights.shape[:axis], -1, *weights.shape[axis + 1 :])


def _move(tables: MemoryTables, weights: Array, agents: int) -> Array:
    """float64[S, W_1, A_1, ...] to float64[S', W_1, A_1, O_1, ...]: the state moves and everybody observes."""
    actions, pairs, triples = _axes(agents)
    moved = jnp.einsum(weights, [0, *pairs], tables.transition, [*actions, 0, 1], [1, *pairs])
    seen = [3 * agent + 4 for agent in range(agents)]
    return jnp.einsum(moved, [1, *pairs], tables.observation, [*actions, 1, *seen], [1, *triples])


def _expect(tables: MemoryTables, values: Array, agents: int) -> Array:
    """float64[S', W_1, A_1, O_1, ...] to float64[S, W_1, A_1, ...]: the mean over observations and the next state."""
    actions, pairs, triples = _axes(agents)
    seen = [3 * agent + 4 for agent in range(agents)]
    mean = jnp.einsum(values, [1, *triples], tables.observation, [*actions, 1, *seen], [1, *pairs])
    return jnp.einsum(mean, [1, *pairs], tables.transition, [*actions, 0, 1], [0, *pairs])


def _axes(agents: int) -> tuple[list[int], list[int], list[int]]:
    """Numbers of axes for einsum: of actions; of remainders and actions; of remainders, actions and observations."""
    triples = [[3 * agent + 2, 3 * agent + 3, 3 * agent + 4] for agent in range(agents)]
    return (
        [a for _, a, _ in triples],
        [axis for w, a, _ in triples for axis in (w, a)],
        [axis for three in triples for axis in three],
    )


def _take(values: Array, index: Array, axis: int, padding: float = 0.0) -> Array:
    """Entries of an axis; one more than there are stands for the padding."""
    widths = [(0, int(place == axis)) for place in range(values.ndim)]
    return jnp.pad(values, widths, constant_values=padding).take(index, axis)


def _along(values: Array, axis: int, ndim: int) -> Array:
    """An array whose axes are the axes `axis`, `axis` + 1, ... of one with `ndim` axes, for broadcasting."""
    return values.reshape(*[1] * axis, *values.shape, *[1] * (ndim - axis - values.ndim))


def _entropy(log_probs: Array) -> Array:
    return -jnp.sum(jnp.exp(log_probs) * jnp.where(jnp.isfinite(log_probs), log_probs, 0.0), -1)


def _size(memory: AgentMemory) -> int:
    """M."""
    return len(memory.legal)


def _by_run(tables: MemoryTables, agent: int, whole: Array) -> list[Array]:
    """float64[H, A] as float64[R, M, A] for each run."""
    counts = [len(run.discount) * _size(run.agents[agent]) for run in tables.runs]
    parts = jnp.split(whole, np.cumsum(counts)[:-1].tolist())
    return [part.reshape(len(run.discount), -1, whole.shape[1]) for part, run in zip(parts, tables.runs, strict=True)]


def _scan(step: Callable[[Any, Any], tuple[Any, Any]], state: Any, given: Any, *, reverse: bool = False) -> Any:
    """`jax.lax.scan`; over a single entry the state may change its shape."""
    if len(jax.tree.leaves(given)[0]) > 1:
        return jax.lax.scan(step, state, given, reverse=reverse)
    state, result = step(state, jax.tree.map(lambda leaf: leaf[0], given))
    return state, jax.tree.map(lambda leaf: leaf[None], result)
