"""Lossless clusters of histories: those that tell the same about the state and about what others have seen and done.

Histories h and h' of an agent are in one cluster if P(s, others' histories | h) = P(s, others' histories | h') under
every joint policy, that is, if their chance weights are proportional (the lossless criterion of Oliehoek, Whiteson and
Spaan, "Lossless clustering of histories in decentralized POMDPs", AAMAS 2009), and if they allow the same actions. What
follows them is then clustered alike. At every stationary point of J_α an agent acts alike in a cluster: from the last
stage backwards, action values at h and h' are those of one soft best response, which is unique.

With x_i(h) the product of an agent's own probabilities on the way to h and κ(h) the chance weight of h relative to the
first history of its cluster, a cluster has the weight X_i(C) = Σ_{h in C} κ(h) x_i(h), and the probability of a joint
cluster is its chance weight (of first histories) times the X_i of all agents.
"""

import dataclasses
import math
from typing import NamedTuple, final

import numpy as np

from games.errors import TacitError
from games.tabular.histories import Tree, expected_rewards, predecessors

DIGITS = 12
"""Conditional probabilities that are equal to so many decimals are taken for equal."""
_TOO_RARE = (
    f"histories of this game differ by events of a probability below 1e-{DIGITS}: they cannot be told from equal ones"
)
MOST_ENTRIES = 100_000_000
"""The most entries of the table of a stage's histories against those of the others."""


class OwnClusters(NamedTuple):
    """The C clusters of one agent, stage by stage, and the E ways from one to another."""

    offsets: np.ndarray  # int64[horizon + 1], the clusters of stage t are offsets[t] ... offsets[t + 1] - 1
    legal: np.ndarray  # bool[C, A]
    member: np.ndarray  # int64[H], the cluster of each history
    before: np.ndarray  # int64[E]
    action: np.ndarray  # int64[E]
    after: np.ndarray  # int64[E]
    start: np.ndarray  # float64[C of stage 0], X of the clusters of first observations
    weight: np.ndarray  # float64[E]: X(C') = Σ over the ways into C' of weight · X(C) π(a|C)

    def stage(self, t: int) -> slice:
        """The clusters of stage t."""
        return slice(int(self.offsets[t]), int(self.offsets[t + 1]))

    def ways_into(self, t: int) -> slice:
        """The ways into clusters of stage t ≥ 1; they are in the order of the stages."""
        return slice(*np.searchsorted(self.after, self.offsets[t : t + 2]).tolist())


class JointClusters(NamedTuple):
    """The K joint clusters of one stage, and the L ways into those of the next."""

    local: np.ndarray  # int64[K, n], each agent's cluster, counted within the stage
    chance: np.ndarray  # float64[K]
    reward: np.ndarray  # float64[K, A_1, ..., A_n], expected
    before: np.ndarray  # int64[L]
    actions: np.ndarray  # int64[n, L]
    after: np.ndarray  # int64[L]
    probability: np.ndarray  # float64[L], of what follows, given the joint cluster and the actions


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Clusters:
    """All clusters of a game's histories."""

    tree: Tree
    agents: tuple[OwnClusters, ...]
    stages: tuple[JointClusters, ...]


def clusters(tree: Tree) -> Clusters:
    """Cluster the histories of all agents.

    Raises:
      TacitError: if a stage has more than `MOST_ENTRIES` pairs of an agent's and the others' histories; with bounded
        memory; if what follows one history of a cluster has a probability below 1e-12 and cannot follow another.
    """
    tree.need_perfect_recall("a proof by clusters of histories")
    labels, firsts, shares = zip(*(_label(tree, agent) for agent in range(len(tree.agents))), strict=True)
    agents = tuple(_own(tree, agent, labels[agent], firsts[agent], shares[agent]) for agent in range(len(tree.agents)))
    return Clusters(tree, agents, _joint(tree, labels, firsts))


def alike(own: np.ndarray, others: np.ndarray, chance: np.ndarray, legal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Put the N histories of one agent into lossless clusters, in the order of their first histories.

    Args:
      own: int64[K], the agent's history in each of the K joint histories that can occur.
      others: int64[K], a number of what the others have seen and done there (`number_rows`).
      chance: float64[K, S], the weight of each joint history and state.
      legal: bool[N, A], the actions that each history allows.

    Returns:
      (int64[N] the cluster of each history, float64[N] the weight of each history).
    """
    states = chance.shape[1]
    table = np.zeros((len(legal), (others.max() + 1) * states))
    table[own[:, None], others[:, None] * states + np.arange(states)] = chance
    total = table.sum(1)
    table = np.round(table / total[:, None], DIGITS)
    known: dict[tuple[bytes, bytes], int] = {}
    keys = zip(map(np.ndarray.tobytes, legal), map(np.ndarray.tobytes, table), strict=True)
    return np.array([known.setdefault(key, len(known)) for key in keys]), total


def number_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number the M different rows of int64[K, n], whose entries are from 0 to 2^31, in ascending order.

    Returns:
      (int64[M] where each of them is first, int64[K] the number of each row).
    """
    code = np.zeros(len(rows), np.int64)
    for column in rows.T:
        if code.max() >= 1 << 31:  # else the next product may not fit
            code = np.unique(code, return_inverse=True)[1]
        code = code * (column.max() + 1) + column
    return np.unique(code, return_index=True, return_inverse=True)[1:]


def _label(tree: Tree, agent: int) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """For each stage: the histories' clusters int64[N], the clusters' first histories int64[C], and κ float64[N]."""
    own = tree.agents[agent]
    labels, firsts, shares = [], [], []
    for t, stage in enumerate(tree.stages):
        legal, (_, others) = own.legal[own.stage(t)], number_rows(np.delete(stage.local, agent, axis=1))
        entries = len(legal) * (others.max() + 1) * stage.chance.shape[1]
        if entries > MOST_ENTRIES:
            raise TacitError(
                f"clusters of histories need a table of {entries:,} entries at stage {t + 1}, and the most is "
                f"{MOST_ENTRIES:,}; take a smaller horizon"
            )
        label, total = alike(stage.local[:, agent], others, stage.chance, legal)
        first = np.unique(label, return_index=True)[1]
        labels.append(label)
        firsts.append(first)
        shares.append(total / total[first][label])
    return labels, firsts, shares


def _own(
    tree: Tree, agent: int, labels: list[np.ndarray], firsts: list[np.ndarray], shares: list[np.ndarray]
) -> OwnClusters:
    own = tree.agents[agent]
    offsets = np.cumsum([0, *map(len, firsts)])
    first = np.concatenate([own.offsets[t] + rows for t, rows in enumerate(firsts)])
    member = np.concatenate([offsets[t] + label for t, label in enumerate(labels)])
    later = np.arange(own.offsets[1], own.size)
    later = later[np.isin(own.parent[later], first)]
    later = later[np.argsort(member[later], kind="stable")]
    share = np.concatenate(shares)
    before, after = member[own.parent[later]], member[later]
    if not np.isin(np.arange(offsets[1], offsets[-1]), after).all():
        raise TacitError(_TOO_RARE)
    start = np.bincount(labels[0], shares[0])
    return OwnClusters(offsets, own.legal[first], member, before, own.action[later], after, start, share[later])


def _joint(
    tree: Tree, labels: tuple[list[np.ndarray], ...], firsts: tuple[list[np.ndarray], ...]
) -> tuple[JointClusters, ...]:
    rewards, links = expected_rewards(tree), predecessors(tree)
    chances = [stage.chance.sum(1) for stage in tree.stages]
    rows, numbers = zip(
        *(_first_rows(tree, t, [own[t] for own in labels], [own[t] for own in firsts]) for t in range(tree.horizon)),
        strict=True,
    )
    stages = []
    for t, row in enumerate(rows):
        local = np.stack([own[t][tree.stages[t].local[row, agent]] for agent, own in enumerate(labels)], axis=1)
        reward = rewards[t][row] / chances[t][row].reshape(-1, *(1,) * len(labels))
        ways = [np.zeros(0, np.int64)] * 2 + [np.zeros((len(labels), 0), np.int64), np.zeros(0)]
        if t + 1 < tree.horizon:
            before, *actions = links[t]
            kept = np.isin(before, row)
            probability = chances[t + 1][kept] / chances[t][before[kept]]
            ways = [numbers[t][before[kept]], numbers[t + 1][kept], np.stack(actions)[:, kept], probability]
        before, after, actions, probability = ways
        stages.append(JointClusters(local, chances[t][row], reward, before, actions, after, probability))
    return tuple(stages)


def _first_rows(
    tree: Tree, t: int, labels: list[np.ndarray], firsts: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """The joint histories of first histories, int64[K'], and the number among them of each one's cluster, int64[K]."""
    local = tree.stages[t].local
    first = np.logical_and.reduce([np.isin(local[:, agent], rows) for agent, rows in enumerate(firsts)])
    sizes = [len(rows) for rows in firsts]
    code = np.ravel_multi_index(tuple(label[local[:, agent]] for agent, label in enumerate(labels)), sizes)
    number = np.full(math.prod(sizes), -1)
    number[code[first]] = np.arange(first.sum())
    if (number[code] < 0).any():
        raise TacitError(_TOO_RARE)
    return np.flatnonzero(first), number[code]
