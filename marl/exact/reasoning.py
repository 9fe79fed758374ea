"""Best responses to given partners, and what is built of them: k-level reasoning and cognitive hierarchies.

Cui, Hu, Pineda and Foerster 2021, "K-level reasoning for zero-shot coordination in Hanabi" (NeurIPS;
arXiv:2207.07166); Camerer, Ho and Chong 2004, "A cognitive hierarchy model of games". Level 0 takes every legal action
with the same probability. A level-k agent best-responds to partners of level k - 1 (k-level reasoning), or to partners
each of whom is of level l < k with a probability in proportion to the Poisson one, τ^l / l! (cognitive hierarchy).
Neither needs to know the game's symmetries. Both respect them: nothing depends on labels, ties included.

**Realisation plans.** With y_j(h, a) the product of agent j's own action probabilities on the way to its history h,
times that of a there, and c(h_1 ... h_n) chance's part, agent i's counterfactual value of an action is

    G(h, a) = Σ_{h_-i, a_-i} c(h, h_-i) Π_j y_j(h_j, a_j) r(h, h_-i, a, a_-i) + γ Σ_{h' after (h, a)} max_a' G(h', a'),

and Q = G / Σ_{h_-i} c Π_j x_j with x_j(h_j) = Σ_a y_j(h_j, a). That is linear in each y_j. A partner whose level is
drawn once, before the game, has the plan Σ_l w_l y_j^l (Kuhn): the best response to it is exact, and the Bayesian
inference of the level along the history, w_l x_j^l(h) / Σ w x, is in these sums. With three agents or more each of the
others draws its own level. Equally good actions are equally probable; so are all legal actions at a history that the
partners exclude, where nothing distinguishes them.

**Asynchronous**: level k is the best response to the finished level k - 1. **Synchronous**: all levels are trained at
the same time, as in the paper. Here that is the natural policy gradient of softmax policies, all started uniform, each
step raising the logits of every level by rate · advantage / (range of rewards) against the *present* lower levels.
The two may differ where the finished partner leaves a tie or excludes a history, since a synchronous level has also
been trained with its partner before that was deterministic, and by the probability that worse actions keep after the
last step. The paper's best response to a hierarchy (SyKLRBR) is `best_response_to_mixture` of the levels with Poisson
weights (`poisson`).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse

from games.errors import TacitError, number, whole_number
from games.tabular.histories import Tree

JointPolicy = tuple[np.ndarray, ...]
"""For each agent float64[H, A], log-probabilities, -inf where illegal."""

TIE = 1e-9
"""Action values closer than this share of the largest possible return are equal."""
SEEN = 1e-280
"""Weights of histories below this count as 0: much smaller numbers are subnormal and lose precision."""


def k_level(
    tree: Tree, levels: int, *, synchronous: bool = False, steps: int = 500, rate: float = 4.0
) -> list[JointPolicy]:
    """The joint policies of levels 0 to `levels`: each agent at level k responds to others of level k - 1.

    Args:
      tree: the game's histories.
      levels: the highest level.
      synchronous: train all levels at the same time instead of one after the other.
      steps, rate: number and size of the training steps, if synchronous.

    Raises:
      TacitError: for a number that is out of its range; for a game with bounded memory.
    """
    levels = whole_number("levels", levels, 0)
    return _hierarchy(tree, np.eye(levels + 1, k=-1), synchronous, steps, rate)


def cognitive_hierarchy(
    tree: Tree, levels: int, *, tau: float = 1.5, synchronous: bool = False, steps: int = 500, rate: float = 4.0
) -> list[JointPolicy]:
    """The joint policies of levels 0 to `levels`: level k responds to a Poisson(tau) mixture of levels 0 to k - 1.

    Args:
      tree: the game's histories.
      levels: the highest level.
      tau: mean level of the whole Poisson distribution; 1.5 is what Camerer et al. found typical.
      synchronous, steps, rate: as in `k_level`.

    Raises:
      TacitError: for a number that is out of its range; for a game with bounded memory.
    """
    levels = whole_number("levels", levels, 0)
    partners = np.zeros((levels + 1, levels + 1))
    for k in range(1, levels + 1):
        partners[k, :k] = poisson(k - 1, tau)
    return _hierarchy(tree, partners, synchronous, steps, rate)


def poisson(highest: int, tau: float) -> np.ndarray:
    """float64[highest + 1]: Poisson(tau) cut off after `highest` and normalised.

    Raises:
      TacitError: if tau is not above 0, or `highest` is no whole number from 0.
    """
    highest, tau = whole_number("highest", highest, 0), number("tau", tau, 0, above=True)
    logs = np.array([level * math.log(tau) - math.lgamma(level + 1) for level in range(highest + 1)])
    weights = np.exp(logs - logs.max())
    return weights / weights.sum()


def best_response(tree: Tree, log_probs: JointPolicy) -> JointPolicy:
    """Each agent's best response to the other agents of a joint policy, ties split evenly."""
    return best_response_to_mixture(tree, [log_probs], [1.0])


def best_response_to_mixture(tree: Tree, policies: Sequence[JointPolicy], weights: Sequence[float]) -> JointPolicy:
    """Each agent's best response to others who each draw one of several policies before the game.

    Args:
      tree: the game's histories.
      policies: joint policies.
      weights: probability of each.

    Raises:
      TacitError: if the weights are no probabilities of so many policies; for a game with bounded memory.
    """
    shares = np.asarray(weights, np.float64)
    if shares.shape != (len(policies),) or not (shares >= 0).all() or not math.isclose(shares.sum(), 1, rel_tol=1e-9):
        raise TacitError(f"weights must be {len(policies)} probabilities that sum to 1, not {list(weights)}")
    return _respond(_Game(tree), _mixed([realisation_plan(tree, policy) for policy in policies], shares))


def realisation_plan(tree: Tree, log_probs: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """y: for each agent float64[H, A, ...], the product of its own action probabilities up to and with each action.

    Args:
      tree: the game's histories.
      log_probs: for each agent float64[H, A, ...].

    Raises:
      TacitError: for a game with bounded memory.
    """
    tree.need_perfect_recall("a realisation plan")
    plans = []
    for own, logs in zip(tree.agents, log_probs, strict=True):
        plan = np.exp(logs)
        for t in range(1, tree.horizon):
            now = own.stage(t)
            plan[now] *= plan[own.parent[now], own.action[now]][:, None]
        plans.append(plan)
    return tuple(plans)


def largest_return(tree: Tree) -> float:
    """A bound on the absolute value of all returns, the scale of ties; 1 in a game without rewards."""
    reward = float(np.abs(tree.problem.expected_reward).max())
    return reward * float(np.sum(tree.problem.discount ** np.arange(tree.horizon))) or 1.0


def split_ties(q: np.ndarray, legal: np.ndarray, tolerance: float) -> np.ndarray:
    """Log-probabilities of the uniform choice among the best legal actions: float64[H, A].

    Args:
      q: float64[H, A], action values.
      legal: bool[H, A].
      tolerance: how far below the best an action still counts as equally good.
    """
    q = np.where(legal, q, -np.inf)
    best = q >= q.max(1, keepdims=True) - tolerance
    return np.where(best, -np.log(best.sum(1, keepdims=True)), -np.inf)


# What one agent meets at a stage, for L sets of plans at a time -------------------------------------------------------


class _Stage(NamedTuple):
    """N own histories with A actions; the U tuples of histories that the others can have, with B joint actions."""

    others: np.ndarray  # int64[U, n - 1], counted over all stages
    size: int  # N
    chance: sparse.csr_matrix  # float64[N, U]
    reward: sparse.csr_matrix  # float64[N * A, U * B], times chance
    children: sparse.csr_matrix | None  # float64[N * A, N of the next stage], 1 where one follows; None at the end


class _Game:
    """The stages of a game as each agent meets them."""

    def __init__(self, tree: Tree) -> None:
        tree.need_perfect_recall("a best response")
        self.tree = tree
        self.stages = [[_stage(tree, agent, t) for t in range(tree.horizon)] for agent in range(len(tree.agents))]

    def counterfactuals(self, agent: int, t: int, plans: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """(weights of the own histories [N, L], counterfactual rewards [N, A, L]) against plans [H, A, L] of all."""
        stage = self.stages[agent][t]
        rest = [plan for i, plan in enumerate(plans) if i != agent]
        copies = plans[0].shape[2]
        reach = np.ones((len(stage.others), copies))
        joined = np.ones((len(stage.others), 1, copies))
        for column, plan in enumerate(rest):
            chosen = plan[stage.others[:, column]]
            reach = reach * chosen.sum(1)
            joined = (joined[:, :, None] * chosen[:, None]).reshape(len(chosen), -1, copies)
        reward = stage.reward @ joined.reshape(-1, copies)
        return stage.chance @ reach, reward.reshape(stage.size, -1, copies)

    def ahead(self, agent: int, t: int, values: np.ndarray) -> np.ndarray:
        """float64[N, A, L]: the sums of values [N of the next stage, L] over what follows each (history, action)."""
        stage = self.stages[agent][t]
        assert stage.children is not None
        return (stage.children @ values).reshape(stage.size, -1, values.shape[1])


def _stage(tree: Tree, agent: int, t: int) -> _Stage:
    problem, joint, own = tree.problem, tree.stages[t], tree.agents[agent]
    now = own.stage(t)
    size, actions = now.stop - now.start, problem.num_actions[agent]
    starts = np.array([other.stage(t).start for i, other in enumerate(tree.agents) if i != agent], np.int64)
    others, number = np.unique(np.delete(joint.local, agent, axis=1), axis=0, return_inverse=True)
    number = number.reshape(-1)
    chance = sparse.csr_matrix((joint.chance.sum(1), (joint.local[:, agent], number)), (size, len(others)))
    by_action = problem.expected_reward.reshape(*problem.num_actions, -1)  # [A_1, ..., A_n, S]
    by_action = np.moveaxis(by_action, agent, 0).reshape(actions, -1, problem.num_states)  # [A, B, S]
    paid = np.einsum("ks,abs->kab", joint.chance, by_action)
    k, a, b = np.nonzero(paid)
    width = by_action.shape[1]
    cells = (joint.local[k, agent] * actions + a, number[k] * width + b)
    reward = sparse.csr_matrix((paid[k, a, b], cells), (size * actions, len(others) * width))
    children = None
    if t + 1 < tree.horizon:
        later = own.stage(t + 1)
        count = later.stop - later.start
        before = (own.parent[later] - now.start) * actions + own.action[later]
        children = sparse.csr_matrix((np.ones(count), (before, np.arange(count))), (size * actions, count))
    return _Stage(others + starts, size, chance, reward, children)


def _respond(game: _Game, plans: Sequence[np.ndarray]) -> JointPolicy:
    """Best responses of all agents to the plans float64[H, A] of the others."""
    tree, responses = game.tree, []
    tolerance = TIE * largest_return(tree)
    columns = [plan[:, :, None] for plan in plans]
    for agent, own in enumerate(tree.agents):
        parts: list[np.ndarray] = []
        values = None
        for t in reversed(range(tree.horizon)):
            weight, worth = game.counterfactuals(agent, t, columns)
            if values is not None:
                worth = worth + tree.problem.discount * game.ahead(agent, t, values)
            legal = own.legal[own.stage(t)]
            values = np.where(legal, worth[:, :, 0], -np.inf).max(1)[:, None]
            q = np.where(weight > SEEN, worth[:, :, 0] / np.maximum(weight, SEEN), 0.0)
            parts.append(split_ties(q, legal, tolerance))
        responses.append(np.concatenate(parts[::-1]))
    return tuple(responses)


def _mixed(plans: Sequence[Sequence[np.ndarray]], weights: np.ndarray) -> tuple[np.ndarray, ...]:
    """Σ_l w_l y^l for each agent."""
    return tuple(np.tensordot(weights, np.stack(own), 1) for own in zip(*plans, strict=True))


def _hierarchy(tree: Tree, partners: np.ndarray, synchronous: bool, steps: int, rate: float) -> list[JointPolicy]:
    """Levels whose level k responds to the mixture partners[k] (float64[L + 1, L + 1]) of the ones below."""
    if synchronous:
        steps, rate = whole_number("steps", steps, 1), number("rate", rate, 0, above=True)
        return _train_together(_Game(tree), partners, steps, rate)
    with np.errstate(divide="ignore"):
        levels = [tuple(map(np.log, tree.uniform()))]
    game, plans = _Game(tree), [realisation_plan(tree, levels[0])]
    for k in range(1, len(partners)):
        levels.append(_respond(game, _mixed(plans, partners[k, :k])))
        plans.append(realisation_plan(tree, levels[-1]))
    return levels


def _train_together(game: _Game, partners: np.ndarray, steps: int, rate: float) -> list[JointPolicy]:
    """All levels by natural policy gradient at the same time; the partners' levels are the last axis."""
    tree, discount = game.tree, game.tree.problem.discount
    speed = rate / (float(np.ptp(tree.problem.expected_reward)) or 1.0)
    logits = [np.where(own.legal[:, :, None], np.zeros(len(partners)), -np.inf) for own in tree.agents]
    for _ in range(steps):
        logs = _normalised(logits)
        plans = [plan @ partners.T for plan in realisation_plan(tree, logs)]
        for agent, own in enumerate(tree.agents):
            values = None
            for t in reversed(range(tree.horizon)):
                weight, worth = game.counterfactuals(agent, t, plans)
                if values is not None:
                    worth = worth + discount * game.ahead(agent, t, values)
                now = own.stage(t)
                values = (np.exp(logs[agent][now]) * worth).sum(1)
                weight = weight[:, None]
                advantage = np.where(weight > SEEN, (worth - values[:, None]) / np.maximum(weight, SEEN), 0.0)
                logits[agent][now] = logs[agent][now] + speed * advantage
    final = _normalised(logits)
    return [tuple(own[:, :, k] for own in final) for k in range(len(partners))]


def _normalised(logits: list[np.ndarray]) -> list[np.ndarray]:
    return [own - np.logaddexp.reduce(own, axis=1, keepdims=True) for own in logits]
