"""The entropy-regularised objective of a tabular Dec-POMDP, exactly: value, gradient, soft action values.

    J_α(π) = E Σ_t γ^t (r_t + α Σ_i H(π_i(·|h_{i,t})))

A joint policy is a tuple over agents of arrays over the agent's action-observation histories and its actions (see
`games.tabular.histories`). With x_i(h) the product of agent i's own action probabilities on the way to h, every
quantity is a sum over joint histories of chance weight times a product of x's. If there are two agents, and at least a
fifth of all pairs of their histories can occur together, these sums are thin matrix products with one matrix a stage
(`Dense`); otherwise they run over the list of joint histories (`Sparse`).

`sweep` and what is built on it act on one joint policy, inside double precision; the caller makes batches with `vmap`.
Functions for callers outside double precision enter it themselves (`double_precision`) and return numpy arrays.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from games.tabular.histories import Tree
from marl.exact.bounded_memory import (
    MemoryTables,
    discounts_of,
    legal_of,
    memory_sweep,
    memory_tables,
    padded_groups,
)
from marl.policies.policy import masked_log_softmax

Array = jax.Array
JointPolicy = tuple[Array, ...]
"""For each agent float64[H, A]."""

_WIDE, _NARROW, _FEW = 128, 16, 4
_LARGE = 20_000
"""Numbers in a game's tables from which on a row costs as much in a narrow batch as in a wide one
(docs/performance.md): then only rows of padding cost."""
_DENSE_FILL = 0.2
"""The least share of the pairs of two agents' histories that occur together for which a stage is in matrix form."""

REACHED = 1e-6
"""A history counts as reached from this probability on."""

P = ParamSpec("P")
R = TypeVar("R")


def double_precision(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function in float64 and return numpy arrays; the caller's precision does not matter and is restored."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with jax.enable_x64(True):
            result = function(*args, **kwargs)
            return jax.tree.map(lambda leaf: np.asarray(leaf) if isinstance(leaf, jax.Array) else leaf, result)

    return wrapped


def in_batches(function: Callable[..., Any], table: "Tables", *rows: Any, width: int | None = None) -> Any:
    """`function(table, *rows)` of any number of rows, in padded batches of few sizes, so that few are compiled.

    Args:
      function: jitted and vmapped over all arguments but the first.
      table: of the game.
      rows: pytrees of arrays [B, ...] of at least one row.
      width: rows of a batch; None: `batch_width`.

    Returns:
      The results as numpy arrays [B, ...].
    """
    total = len(jax.tree.leaves(rows)[0])
    width = batch_width(total, table) if width is None else width
    parts = []
    for first in range(0, total, width):
        chosen = np.minimum(np.arange(first, first + width), total - 1)
        part = function(table, *jax.tree.map(lambda leaf, chosen=chosen: jnp.asarray(leaf[chosen]), rows))
        parts.append(jax.tree.map(lambda leaf, first=first: np.asarray(leaf)[: total - first], part))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def batch_width(total: int, table: "Tables") -> int:
    """Rows of a batch: one of two sizes a game, so that few programs are compiled."""
    wide, narrow = (_WIDE, _NARROW) if table_entries(table) < _LARGE else (_NARROW, _FEW)
    return wide if total > narrow else narrow


def table_entries(table: "Tables | Dense | Sparse") -> int:
    """How many numbers they hold, or a stage of them."""
    return sum(leaf.size for leaf in jax.tree.leaves(table))


class Dense(NamedTuple):
    """A stage of two agents in matrix form; S states, N_i histories."""

    chance: Array  # float64[S * N_1, N_2]
    reward: Array  # float64[S, A_1, A_2]


class Sparse(NamedTuple):
    """A stage as a list of K joint histories."""

    local: Array  # int32[K, n]
    chance: Array  # float64[K]
    reward: Array  # float64[K, A_1, ..., A_n], expected reward times chance


class AgentStage(NamedTuple):
    """How one agent's histories of a stage follow from those of the stage before."""

    legal: Array  # bool[N, A]
    sequence: Array | None  # int32[N] (parent, action) as one number; None: equally many follow each, in order
    children: (
        Array | None
    )  # int32[N_before * A, most] histories after each (parent, action), padded with N where there are fewer


class HistoryTables(NamedTuple):
    """What the exact core needs of a game with perfect recall."""

    stages: tuple[Dense | Sparse, ...]
    agents: tuple[tuple[AgentStage, ...], ...]
    discount: Array  # float64[horizon], γ^t


Tables = HistoryTables | MemoryTables
"""What the exact core needs of a game: arrays only, so that it is an argument of compiled functions."""


class Sweep(NamedTuple):
    """What `sweep` computes for one joint policy at one α; for each agent arrays over all its histories."""

    objective: Array  # float64[], J_α
    own: tuple[Array, ...]  # float64[H], x_i: product of the own action probabilities
    others: tuple[Array, ...]  # float64[H], chance and the other agents' share of the reach probability
    q: tuple[Array, ...]  # float64[H, A], soft action values, counted from the history's own stage on
    advantage: tuple[Array, ...]  # float64[H, A], Q - α log π - V; 0 where illegal

    @property
    def reach(self) -> tuple[Array, ...]:
        """float64[H] for each agent: the probability of reaching the history."""
        return tuple(own * others for own, others in zip(self.own, self.others, strict=True))


@functools.lru_cache(maxsize=2)
def tables(tree: Tree) -> Tables:
    """The arrays of a game for the exact core, cached for the last two games. Call within double precision.

    Raises:
      TacitError: for a game with bounded memory that is too large (`bounded_memory.memory_tables`).
    """
    if tree.memory is not None:
        return memory_tables(tree, _WIDE)
    problem = tree.problem
    reward = problem.expected_reward.T.reshape(problem.num_states, *problem.num_actions)  # [S, A_1, ..., A_n]
    stages: list[Dense | Sparse] = []
    for t, stage in enumerate(tree.stages):
        sizes = [own.stage(t).stop - own.stage(t).start for own in tree.agents]
        if len(sizes) == 2 and len(stage.local) >= _DENSE_FILL * sizes[0] * sizes[1]:
            chance = np.zeros((problem.num_states, *sizes))
            chance[:, stage.local[:, 0], stage.local[:, 1]] = stage.chance.T
            stages.append(Dense(jnp.asarray(chance.reshape(-1, sizes[1])), jnp.asarray(reward)))
        else:
            weighted = (stage.chance @ reward.reshape(problem.num_states, -1)).reshape(-1, *problem.num_actions)
            local = jnp.asarray(stage.local, jnp.int32)
            stages.append(Sparse(local, jnp.asarray(stage.chance.sum(1)), jnp.asarray(weighted)))
    agents = tuple(
        tuple(_agent_stage(tree, agent, t) for t in range(tree.horizon)) for agent in range(problem.num_agents)
    )
    return HistoryTables(tuple(stages), agents, jnp.asarray(problem.discount ** np.arange(tree.horizon)))


def _agent_stage(tree: Tree, agent: int, t: int) -> AgentStage:
    own = tree.agents[agent]
    now = own.stage(t)
    legal = jnp.asarray(own.legal[now])
    if t == 0:
        return AgentStage(legal, None, None)
    before = own.stage(t - 1)
    sequences = (before.stop - before.start) * own.legal.shape[1]
    sequence = (own.parent[now] - before.start) * own.legal.shape[1] + own.action[now]
    counts = np.bincount(sequence, minlength=sequences)
    if (counts == counts[0]).all():
        return AgentStage(legal, None, None)
    children = padded_groups(sequence, sequences)
    return AgentStage(legal, jnp.asarray(sequence, jnp.int32), jnp.asarray(children, jnp.int32))


def legal_masks(tables: Tables) -> tuple[Array, ...]:
    """bool[H, A] for each agent."""
    if isinstance(tables, MemoryTables):
        return legal_of(tables)
    return tuple(jnp.concatenate([stage.legal for stage in stages]) for stages in tables.agents)


def log_policy(tables: Tables, logits: JointPolicy) -> JointPolicy:
    """log softmax of logits over the legal actions of every history; -inf where illegal."""
    return tuple(map(masked_log_softmax, logits, legal_masks(tables)))


def sweep(tables: Tables, log_probs: JointPolicy, alpha: Array | float) -> Sweep:
    """Forward through the agents' own weights, backward through the histories: J_α, Q and advantages.

    With G(h,a) the counterfactual continuation (chance and others weighted, own weight left out),

        G_t(h,a) = γ^t Σ c·x_{-i}·E[r] + Σ_{h' after (h,a)} V_{t+1}(h'),
        V_t(h) = Σ_a π(a|h) G_t(h,a) + α γ^t Σ c·x_{-i}·(entropies of all agents),

    Q = G / (γ^t · others). Nothing is divided by the own weight, which underflows first.

    Args:
      tables: of the game.
      log_probs: log-probabilities, -inf where illegal.
      alpha: float64[], weight of the entropies, in units of reward.
    """
    if isinstance(tables, MemoryTables):
        return Sweep(*memory_sweep(tables, log_probs, alpha))
    num_agents, horizon = len(tables.agents), len(tables.stages)
    policies = [_by_stage(tables, agent, jnp.exp(log_probs[agent])) for agent in range(num_agents)]
    # A log-probability of -inf is replaced by 0, so that its product with a probability of 0 is 0.
    finite = tuple(jnp.where(jnp.isfinite(own), own, 0.0) for own in log_probs)
    logs = [_by_stage(tables, agent, finite[agent]) for agent in range(num_agents)]
    entropies = [
        [-jnp.sum(p * log, -1) for p, log in zip(*both, strict=True)] for both in zip(policies, logs, strict=True)
    ]
    own = [_own_weights(tables.agents[agent], policies[agent]) for agent in range(num_agents)]
    met = [
        _counterfactuals(
            tables.stages[t],
            [own[i][t] for i in range(num_agents)],
            [policies[i][t] for i in range(num_agents)],
            [entropies[i][t] for i in range(num_agents)],
        )
        for t in range(horizon)
    ]
    q, advantage, others = [], [], []
    objective = jnp.zeros(())
    for agent in range(num_agents):
        values = None
        q_own: list[Array] = []
        advantage_own: list[Array] = []
        for t in reversed(range(horizon)):
            weight, reward, other_entropies = met[t][agent]
            scale = tables.discount[t]
            counterfactual = scale * reward
            if values is not None:
                counterfactual += _sum_children(tables.agents[agent][t + 1], values, counterfactual.shape)
            probs, log = policies[agent][t], logs[agent][t]
            soft = counterfactual - alpha * scale * weight[:, None] * log
            mean = jnp.sum(probs * soft, -1)
            legal = tables.agents[agent][t].legal
            divisor = (scale * weight)[:, None]
            safe = jnp.where(divisor > 0, divisor, 1.0)
            q_own.append(jnp.where(legal & (divisor > 0), counterfactual / safe, 0.0))
            advantage_own.append(jnp.where(legal & (divisor > 0), (soft - mean[:, None]) / safe, 0.0))
            values = mean + alpha * scale * other_entropies
        assert values is not None
        objective = jnp.sum(values)  # the same for every agent
        q.append(jnp.concatenate(q_own[::-1]))
        advantage.append(jnp.concatenate(advantage_own[::-1]))
        others.append(jnp.concatenate([met[t][agent][0] for t in range(horizon)]))
    return Sweep(objective, tuple(map(jnp.concatenate, own)), tuple(others), tuple(q), tuple(advantage))


def gradient(tables: Tables, log_probs: JointPolicy, swept: Sweep) -> JointPolicy:
    """∂J_α/∂θ for softmax logits θ: γ^t · reach(h) · π(a|h) · advantage(h,a), the policy gradient theorem."""
    gammas = discounts(tables)
    return tuple(
        (gamma * reach)[:, None] * jnp.exp(log) * advantage
        for gamma, reach, log, advantage in zip(gammas, swept.reach, log_probs, swept.advantage, strict=True)
    )


def soft_policy_iteration(tables: Tables, log_probs: JointPolicy, alpha: Array) -> tuple[JointPolicy, Sweep]:
    """(log softmax(Q/α), the sweep at `log_probs`), for each agent float64[H, A]: a fixed point is stationary."""
    swept = sweep(tables, log_probs, alpha)
    return log_policy(tables, tuple(q / alpha for q in swept.q)), swept


def residuals(tables: Tables, log_probs: JointPolicy, alpha: Array) -> tuple[Array, Array]:
    """The greatest total variation between π(·|h) and softmax(Q(h,·)/α).

    Args:
      tables: of the game.
      log_probs: for each agent float64[H, A].
      alpha: float64[], in units of reward.

    Returns:
      float64[] over histories of reach probability `REACHED` and more, and float64[] over all.
    """
    target, swept = soft_policy_iteration(tables, log_probs, alpha)
    apart = distances(log_probs, target)
    return greatest(apart, swept.reach), greatest(apart, None)


def distances(first: JointPolicy, second: JointPolicy) -> tuple[Array, ...]:
    """Total variation between two joint policies, for each agent float64[H, A], at each history: float64[H]."""
    return tuple(0.5 * jnp.abs(jnp.exp(a) - jnp.exp(b)).sum(-1) for a, b in zip(first, second, strict=True))


def greatest(values: tuple[Array, ...], reach: tuple[Array, ...] | None) -> Array:
    """float64[]: the greatest of values, for each agent float64[H], where the reach probability is `REACHED` and more.

    Over all histories if `reach`, likewise float64[H], is None.
    """
    if reach is not None:
        values = tuple(jnp.where(w >= REACHED, d, 0.0) for d, w in zip(values, reach, strict=True))
    return functools.reduce(jnp.maximum, [jnp.max(own) for own in values])


def expected_return(tables: Tables, log_probs: JointPolicy) -> Array:
    """float64[]: E Σ_t γ^t r_t."""
    return sweep(tables, log_probs, 0.0).objective


def cross_returns(tables: Tables, log_probs: JointPolicy) -> Array:
    """float64[B, B]: the expected return with agent 0 of joint policy i and agent 1 of joint policy j, two agents only.

    Args:
      log_probs: for each agent float64[B, H, A].
    """
    first, second = log_probs
    if isinstance(tables, MemoryTables):  # not bilinear in the weights of memories: pair by pair

        def against_all(own: Array) -> Array:
            return jax.vmap(lambda other: expected_return(tables, (own, other)))(second)

        return jax.lax.map(against_all, first)

    def columns(own: Array, agent: int) -> list[Array]:
        policies = _by_stage(tables, agent, jnp.exp(own))
        weights = _own_weights(tables.agents[agent], policies)
        return [weight[:, None] * policy for weight, policy in zip(weights, policies, strict=True)]

    left = jax.vmap(lambda own: columns(own, 0))(first)
    right = jax.vmap(lambda own: columns(own, 1))(second)
    total = jnp.zeros((len(first), len(second)))
    for stage, gamma, y_1, y_2 in zip(tables.stages, tables.discount, left, right, strict=True):
        against = jax.vmap(functools.partial(_reward_against, stage, size=y_1.shape[1]))(y_2)  # [B, N_1, A_1]
        total += gamma * y_1.reshape(len(first), -1) @ against.reshape(len(second), -1).T
    return total


def discounts(tables: Tables) -> tuple[Array, ...]:
    """γ^t of each history: float64[H] for each agent."""
    if isinstance(tables, MemoryTables):
        return discounts_of(tables)
    return tuple(
        jnp.concatenate(
            [jnp.full(len(stage.legal), 1.0) * gamma for stage, gamma in zip(own, tables.discount, strict=True)]
        )
        for own in tables.agents
    )


def _by_stage(tables: HistoryTables, agent: int, whole: Array) -> list[Array]:
    sizes = [len(stage.legal) for stage in tables.agents[agent]]
    return jnp.split(whole, np.cumsum(sizes)[:-1].tolist())


def _own_weights(stages: Sequence[AgentStage], policies: Sequence[Array]) -> list[Array]:
    """x: float64[N] for each stage."""
    weights = [jnp.ones(len(stages[0].legal))]
    for stage, policy in zip(stages[1:], policies[:-1], strict=True):
        flat = (weights[-1][:, None] * policy).reshape(-1)
        size = len(stage.legal)
        weights.append(jnp.repeat(flat, size // len(flat)) if stage.sequence is None else flat[stage.sequence])
    return weights


def _sum_children(stage: AgentStage, values: Array, shape: tuple[int, ...]) -> Array:
    """float64[N_before, A]: the sum over the histories that follow each (history, action)."""
    if stage.children is None:
        return values.reshape(*shape, -1).sum(-1)
    return jnp.append(values, 0.0)[stage.children].sum(-1).reshape(shape)


def _counterfactuals(
    stage: Dense | Sparse, own: list[Array], policies: list[Array], entropies: list[Array]
) -> list[tuple]:
    """For each agent: the others' weight [N], counterfactual reward [N, A], the others' weighted entropies [N]."""
    joined = [weight[:, None] * policy for weight, policy in zip(own, policies, strict=True)]
    weighted = [weight * entropy for weight, entropy in zip(own, entropies, strict=True)]
    return (
        _dense_counterfactuals(stage, own, joined, weighted)
        if isinstance(stage, Dense)
        else _sparse_counterfactuals(stage, own, joined, entropies)
    )


def _dense_counterfactuals(stage: Dense, own: list[Array], joined: list[Array], weighted: list[Array]) -> list[tuple]:
    num_states, _, num_actions = stage.reward.shape
    right = stage.chance @ jnp.concatenate([joined[1], weighted[1][:, None]], axis=1)
    right = right.reshape(num_states, len(own[0]), num_actions + 1)
    first = (
        right[..., :-1].sum((0, 2)),
        jnp.einsum("sab,snb->na", stage.reward, right[..., :-1]),
        right[..., -1].sum(0),
    )
    paid = jnp.einsum("na,sab->snb", joined[0], stage.reward)
    both = jnp.broadcast_to(jnp.stack([own[0], weighted[0]], axis=1), (num_states, len(own[0]), 2))
    left = stage.chance.T @ jnp.concatenate([paid, both], axis=2).reshape(-1, num_actions + 2)
    return [first, (left[:, -2], left[:, :-2], left[:, -1])]


def _sparse_counterfactuals(
    stage: Sparse, own: list[Array], joined: list[Array], entropies: list[Array]
) -> list[tuple]:
    agents = range(len(own))
    weight = [own[i][stage.local[:, i]] for i in agents]
    chosen = [joined[i][stage.local[:, i]] for i in agents]
    entropy = [entropies[i][stage.local[:, i]] for i in agents]
    met = []
    for agent in agents:
        rest = [i for i in agents if i != agent]
        share = functools.reduce(jnp.multiply, [weight[i] for i in rest], stage.chance)
        reward = stage.reward
        for i in reversed(rest):  # contract the last axis first, so that the earlier ones keep their numbers
            reward = jnp.einsum(
                reward, [0, *range(1, reward.ndim)], chosen[i], [0, i + 1], _without(reward.ndim, i + 1)
            )
        others_entropy = functools.reduce(jnp.add, [entropy[i] for i in rest], jnp.zeros(()))
        sums = functools.partial(jax.ops.segment_sum, segment_ids=stage.local[:, agent], num_segments=len(own[agent]))
        met.append((sums(share), sums(reward), sums(share * others_entropy)))
    return met


def _without(ndim: int, axis: int) -> list[int]:
    return [number for number in range(ndim) if number != axis]


def _reward_against(stage: Dense | Sparse, joined: Array, size: int) -> Array:
    """float64[N_1, A_1]: what agent 0's actions earn against agent 1's weights float64[N_2, A_2]; `size` is N_1."""
    if isinstance(stage, Dense):
        num_states, _, num_actions = stage.reward.shape
        right = (stage.chance @ joined).reshape(num_states, size, num_actions)
        return jnp.einsum("sab,snb->na", stage.reward, right)
    earned = jnp.einsum("kab,kb->ka", stage.reward, joined[stage.local[:, 1]])
    return jax.ops.segment_sum(earned, stage.local[:, 0], size)
