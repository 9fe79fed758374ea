"""Off-belief learning, exactly: act as if the past had been played one level below, and the future at one's own level.

Hu, Lerer, Cui, Pineda, Wu, Brown and Foerster 2021, "Off-belief learning" (ICML; arXiv:2103.04000). It uses exact
beliefs over the joint histories, and no symmetries.

Let B_π(τ | h) be the probability of the joint history τ (all agents' histories and the state) given one agent's own
history h, if everybody has played π so far. The value of being at h, with π below and π' from here on, and that of an
action, are

    V^{π→π'}(h) = E_{τ ~ B_π(·|h)} V^{π'}(τ),      Q^{π→π'}(h, a) = E_{τ ~ B_π(·|h)} [r(τ, a) + γ E V^{π'}(τ')],

where V^{π'}(τ) is the true expected return of π' from τ on. Level 0 is uniform; level k is the policy π_k with

    π_k(a | h) ∝ exp(Q^{π_{k-1}→π_k}(h, a) / T),   at temperature T = 0: uniform among the best actions.

Q at stage t needs π_k at later stages only, so that backward recursion gives the one solution (the paper's theorem).

What is fictitious is only the belief at the history where the agent decides. From the τ drawn there the game goes on
as it really would; the policies in it were themselves decided on with beliefs of level k - 1, drawn anew at each turn,
so that no decision of π_k infers anything from actions of level k. (Learners often draw anew in the value as well,
replacing V^{π'}(τ') by V^{π→π'} at the agent's next own turn. In games in which everybody acts once, such as tiny
Hanabi and hint, that is the same; in games in which everybody acts at every step it turns into k-level reasoning, as
the partners' level-k actions would never be met.)

**Simultaneous moves.** The paper lets one agent act at a time. Where others choose at the same stage, their action is
taken from level k - 1, with the belief: each agent counts what it cannot have seen yet as past, as if it moved last.
This is the one order of the moves that treats agents alike and keeps the solution unique (level-k actions at the same
stage would make a stage game with many equilibria). An agent that waits has one legal action, so games with public
turns are as in the paper.

**Histories that level k - 1 excludes** (from level 2 on, at T = 0 or where probabilities underflow): belief and
simultaneous action are those of the highest lower level that allows the history; level 0 allows all of them.
"""

import numpy as np

from games.errors import number, whole_number
from games.tabular.histories import Tree, expected_rewards, predecessors
from marl.exact.reasoning import SEEN, TIE, JointPolicy, largest_return, realisation_plan, split_ties


def off_belief(tree: Tree, levels: int, *, temperature: float = 0.0) -> list[JointPolicy]:
    """The joint policies of levels 0 to `levels`: for each agent float64[H, A] log-probabilities, -inf where illegal.

    Args:
      tree: the game's histories.
      levels: the highest level; level 0 takes every legal action with the same probability.
      temperature: T, in units of return; 0: the best actions, ties split evenly.

    Raises:
      TacitError: if `levels` is not a whole number from 0, or `temperature` is below 0; for a game with bounded memory.
    """
    tree.need_perfect_recall("off-belief learning")
    levels = whole_number("levels", levels, 0)
    temperature = number("temperature", temperature, 0)
    with np.errstate(divide="ignore"):
        policies = [tuple(map(np.log, tree.uniform()))]
    rewards, links = expected_rewards(tree), predecessors(tree)
    for _ in range(levels):
        plans = [realisation_plan(tree, policy) for policy in reversed(policies)]
        policies.append(_next_level(tree, plans, rewards, links, temperature))
    return policies


def _next_level(
    tree: Tree,
    plans: list[tuple[np.ndarray, ...]],
    rewards: list[np.ndarray],
    links: list[tuple[np.ndarray, ...]],
    temperature: float,
) -> JointPolicy:
    """The level above those with the realisation plans `plans`, the highest first."""
    tolerance = TIE * largest_return(tree)
    parts: list[list[np.ndarray]] = [[] for _ in tree.agents]
    value = np.zeros(0)  # of each joint history of the stage after, times chance, under the new level
    for t in reversed(range(tree.horizon)):
        worth = rewards[t].copy()
        if len(value):
            np.add.at(worth, links[t], tree.problem.discount * value)
        joint = tree.stages[t]
        value = worth
        for agent, own in reversed(list(enumerate(tree.agents))):
            legal = own.legal[own.stage(t)]
            q = _action_values(tree, t, agent, plans, worth)
            if temperature:
                logs = np.where(legal, q / temperature, -np.inf)
                logs -= np.logaddexp.reduce(logs, axis=1, keepdims=True)
            else:
                logs = split_ties(q, legal, tolerance)
            parts[agent].append(logs)
            value = np.einsum("k...a,ka->k...", value, np.exp(logs)[joint.local[:, agent]])
    return tuple(np.concatenate(own[::-1]) for own in parts)


def _action_values(
    tree: Tree, t: int, agent: int, plans: list[tuple[np.ndarray, ...]], worth: np.ndarray
) -> np.ndarray:
    """Q: float64[N, A], with the belief of the first of `plans` that allows the history.

    Args:
      worth: float64[K, A_1, ..., A_n], chance times (reward and true value of what follows) of each joint action.
    """
    joint, size = tree.stages[t].local, tree.agents[agent].legal[tree.agents[agent].stage(t)].shape[0]
    q = np.zeros((size, worth.shape[1 + agent]))
    missing = np.ones(size, np.bool_)
    for level in plans:
        weight, earned = tree.stages[t].chance.sum(1), np.moveaxis(worth, 1 + agent, 1)
        for other in reversed([i for i in range(len(level)) if i != agent]):
            plan = level[other][tree.agents[other].stage(t)][joint[:, other]]  # [K, A_other]
            weight = weight * plan.sum(1)
            earned = np.einsum("k...a,ka->k...", earned, plan)
        total = np.bincount(joint[:, agent], weight, size)
        sums = np.zeros_like(q)
        np.add.at(sums, joint[:, agent], earned)
        found = missing & (total > SEEN)
        q[found] = sums[found] / total[found, None]
        missing &= ~found
        if not missing.any():
            break
    return q
