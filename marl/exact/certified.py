"""A proved sufficient bound: above it the entropy-regularised objective has exactly one stationary point.

    J_α(π) = E Σ_t γ^t (r_t + α Σ_i H(π_i(·|h_{i,t})))

At a stationary point the soft policy iteration π ↦ softmax(Q_π/α) has a Jacobian that is self-adjoint for the inner
product Σ γ^t P(h) π(a|h) u(h,a) v(h,a) of changes of log-policies. Its quadratic form is a sum over pairs of choices of
different agents, and every pair is at most a quarter of a cross-difference of action values, which ranges of the
rewards bound. If the bound ρ(α) of its eigenvalues is below 1, every stationary point is a strict local maximum and, by
the degree of the map, there is only one. `docs/certified.md` has the statement and the proof in full; names and
numbers of steps there are those used here.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np

from games.errors import number
from games.tabular.histories import Tree, predecessors

ASSUMPTIONS = (
    "finite horizon, discount above 0, policies of each agent's whole action-observation history that give every legal "
    "action a positive probability; in double precision, without a bound of its rounding errors"
)
_BISECTIONS = 200
"""Halvings of an interval of 1/α; double precision ends them earlier."""


class Certificate(NamedTuple):
    """What `alpha_certified` proves."""

    alpha: float | None  # in units of reward; for every larger α there is exactly one stationary point; None: no proof
    method: str  # "one stage", "signal and reply", "finite horizon", "no interaction" or "none"
    assumptions: str


class _Choices(NamedTuple):
    """What the bound needs of a game: N pairs of a stage and an agent that has a choice there, in order of the stages.

    The kinds are what an action value is made of: rewards; α times logarithms of numbers of legal actions; and
    what entropies of later stages lack of those logarithms, in units of the most that they can lack.
    """

    stage: np.ndarray  # int64[N]
    agent: np.ndarray  # int64[N]
    log_count: np.ndarray  # float64[N], logarithm of the most legal actions
    spread: np.ndarray  # float64[2 kinds, N], most difference of values of two actions at one history
    coupling: np.ndarray  # float64[3 kinds, N, N], symmetric; the discount weights and the quarter are inside
    discount: float


class _Links(NamedTuple):
    """How K' joint histories of a stage follow from K of the stage before."""

    sequence: np.ndarray  # int64[K'], (joint history before, joint action) as one number
    probability: np.ndarray  # float64[K'], given both


class _Range(NamedTuple):
    """The most and the least that can follow joint histories and joint actions: float64[K, A_1, ..., A_n] each.

    Illegal joint actions have -inf and inf, so that they are never the best or the worst.
    """

    high: np.ndarray
    low: np.ndarray


def alpha_certified(tree: Tree) -> Certificate:
    """The least α, in units of reward, above which the bound ρ(α) of `jacobian_bound` is below 1.

    ρ decreases in α, so that uniqueness is proved for every α above. Two agents at horizon 1 with private types s:
    ¼ ‖p(s) D(s) / √(p_1 p_2)‖₂, D(s) the greatest cross-difference r(a,b) - r(a',b) - r(a,b') + r(a',b') of rewards.
    One agent that acts and then another: ¼ √(γ max_{h,a} E[D(h_2)² | h, a]), D(h_2) over what the second cannot tell
    apart and two of its own actions. Otherwise the largest eigenvalue of a matrix over stages and agents.

    Returns:
      alpha None where there is no proof: numbers of legal actions that depend too much on what is played, or, beyond
      horizon 1, a discount of 0, which leaves the later stages free.

    Raises:
      TacitError: for a game with bounded memory.
    """
    choices = _choices(tree)
    if _decisive_discount(tree, choices) and _ratio(choices, 0.0) < 1:
        return Certificate(_least_alpha(choices), _method(choices), ASSUMPTIONS)
    return Certificate(None, "none", ASSUMPTIONS)


def jacobian_bound(tree: Tree, alpha: float) -> float:
    """ρ(α): at every stationary point of J_α all eigenvalues of the soft policy iteration's Jacobian are in [-ρ, ρ].

    Args:
      alpha: above 0, in units of reward.

    Raises:
      TacitError: for an alpha that is not a number above 0, and for a game with bounded memory.
    """
    return _ratio(_choices(tree), 1 / number("alpha", alpha, 0, above=True))


def _decisive_discount(tree: Tree, choices: _Choices) -> bool:
    return tree.problem.discount > 0 or not choices.stage.any()


def _method(choices: _Choices) -> str:
    if not choices.coupling.any():
        return "no interaction"
    if not choices.stage.any():
        return "one stage"
    pair = len(choices.stage) == 2 and choices.stage[0] < choices.stage[1]
    return "signal and reply" if pair else "finite horizon"


def _least_alpha(choices: _Choices) -> float:
    """1/α at which the ratio, which increases in 1/α, reaches 1; the end of the last interval where it is below 1."""
    scale = max(float(choices.coupling[0].max(initial=0.0)), float(choices.spread[0].max(initial=0.0)))
    if scale == 0:
        return 0.0
    proved, unproved = 0.0, 1 / scale
    while _ratio(choices, unproved) < 1:
        proved, unproved = unproved, 2 * unproved
        if unproved * scale > 2.0**_BISECTIONS:  # later entropies lack at most log |A|: no α is too small
            return 0.0
    for _ in range(_BISECTIONS):
        middle = (proved + unproved) / 2
        if not proved < middle < unproved:
            break
        if _ratio(choices, middle) < 1:
            proved = middle
        else:
            unproved = middle
    return 1 / proved


def _ratio(choices: _Choices, inverse: float) -> float:
    """ρ at α = 1/`inverse`, the largest eigenvalue of the couplings in units of α; 0 stands for the limit α = ∞."""
    if not len(choices.stage):
        return 0.0
    # What the entropies from a stage on lack of the logarithms of the numbers of actions, in units of α (step 1).
    lacking = np.zeros(choices.stage.max() + 2)
    for t in reversed(range(len(lacking) - 1)):
        here = choices.stage == t
        later = choices.discount * lacking[t + 1]
        spread = choices.spread[0, here] * inverse + choices.spread[1, here] + later
        lacking[t] = np.minimum(choices.log_count[here], spread**2 / 8).sum() + later
    later_stage = np.maximum(choices.stage[:, None], choices.stage)
    rewards, counts, entropies = choices.coupling
    matrix = rewards * inverse + counts + entropies * lacking[later_stage + 1]
    return float(np.linalg.eigvalsh(matrix)[-1])


def _choices(tree: Tree) -> _Choices:
    """Backward through the stages: ranges of rewards and log-counts to come, spreads and cross-differences of them."""
    tree.need_perfect_recall("the proof that there is one stationary point")
    problem = tree.problem
    nodes = [
        (t, agent)
        for t in range(tree.horizon)
        for agent, own in enumerate(tree.agents)
        if (own.legal[own.stage(t)].sum(1) > 1).any()
    ]
    numbers = {node: position for position, node in enumerate(nodes)}
    links = _links(tree)
    log_count, spread = np.zeros(len(nodes)), np.zeros((2, len(nodes)))
    coupling = np.zeros((3, len(nodes), len(nodes)))

    def couple(first: tuple[int, int], second: tuple[int, int], differences: np.ndarray) -> None:
        weight = problem.discount ** ((second[0] - first[0]) / 2) / 4
        for one, other in itertools.permutations((numbers[first], numbers[second])):
            coupling[:, one, other] = weight * differences

    continuation = None
    for t in reversed(range(tree.horizon)):
        ranges, continuation = _continuation_ranges(tree, t, links, continuation)
        acting = [agent for stage, agent in nodes if stage == t]
        for agent in acting:
            own = tree.agents[agent]
            log_count[numbers[t, agent]] = math.log(own.legal[own.stage(t)].sum(1).max())
            gains = [_gains(part, agent) for part in ranges]
            spread[:, numbers[t, agent]] = [gain.max(initial=0.0) for gain in gains]
            differences = _across_histories(tree, t, agent, gains)
            for earlier in nodes:
                if earlier[0] < t and earlier[1] != agent:
                    couple(earlier, (t, agent), _different_stages(tree, links, earlier, (t, agent), differences))
        for pair in itertools.combinations(acting, 2):
            couple((t, pair[0]), (t, pair[1]), _same_stage(tree, t, pair, ranges))
    stage, agent = np.array(nodes, np.int64).reshape(-1, 2).T
    return _Choices(stage, agent, log_count, spread, coupling, problem.discount)


def _links(tree: Tree) -> list[_Links]:
    """From each stage to the next."""
    links = []
    for t, (row, *actions) in enumerate(predecessors(tree)):
        joint_action = np.ravel_multi_index(tuple(actions), tree.problem.num_actions)
        probability = tree.stages[t + 1].chance.sum(1) / tree.stages[t].chance.sum(1)[row]
        links.append(_Links(row * len(tree.problem.joint_actions) + joint_action, probability))
    return links


def _expected_next(tree: Tree, t: int, links: list[_Links], values: np.ndarray) -> np.ndarray:
    """float64[K, A_1, ..., A_n]: the mean of the next stage's `values` after joint histories and actions of stage t."""
    shape = (len(tree.stages[t].local), *tree.problem.num_actions)
    return np.bincount(links[t].sequence, weights=links[t].probability * values, minlength=math.prod(shape)).reshape(
        shape
    )


def _continuation_ranges(
    tree: Tree, t: int, links: list[_Links], continuation: list[_Range] | None
) -> tuple[list[_Range], list[_Range]]:
    """Rewards from stage t on, and log-counts from the next stage on, over all plans of agents who share what they see.

    Args:
      continuation: of the stage after, the second result; None at the last one.

    Returns:
      For both kinds the range for every joint action, and the range of the stage, float64[K], with its own log-counts.
    """
    problem, stage = tree.problem, tree.stages[t]
    shape = (len(stage.local), *problem.num_actions)
    legal = np.ones(shape, np.bool_)
    log_counts = np.zeros(len(stage.local))
    for agent, own in enumerate(tree.agents):
        mask = own.legal[own.stage(t)][stage.local[:, agent]]
        legal &= mask.reshape(len(mask), *(-1 if axis == agent else 1 for axis in range(problem.num_agents)))
        log_counts += np.log(mask.sum(1))
    belief = stage.chance / stage.chance.sum(1, keepdims=True)
    now = ((belief @ problem.expected_reward.T).reshape(shape), np.zeros(shape))
    ranges, here = [], []
    for kind, (reward, added) in enumerate(zip(now, (0.0, log_counts), strict=True)):
        high = low = reward
        if continuation is not None:
            high = reward + problem.discount * _expected_next(tree, t, links, continuation[kind].high)
            low = reward + problem.discount * _expected_next(tree, t, links, continuation[kind].low)
        part = _Range(np.where(legal, high, -np.inf), np.where(legal, low, np.inf))
        ranges.append(part)
        axes = tuple(range(1, len(shape)))
        here.append(_Range(part.high.max(axes) + added, part.low.min(axes) + added))
    return ranges, here


def _gains(part: _Range, agent: int) -> np.ndarray:
    """float64[K, A, A]: how much better [k, a] can be for the agent than [k, a'], whatever the others do; a ≠ a'."""
    high, low = (np.moveaxis(table, agent + 1, 1).reshape(table.shape[0], table.shape[agent + 1], -1) for table in part)
    gains = np.stack([(high - low[:, other, None]).max(2) for other in range(low.shape[1])], axis=2)
    gains[:, range(gains.shape[1]), range(gains.shape[1])] = -np.inf
    return gains


def _across_histories(tree: Tree, t: int, agent: int, gains: list[np.ndarray]) -> np.ndarray:
    """float64[3 kinds, histories of the agent at stage t]: X, the cross-difference over joint histories (step 3)."""
    own = tree.agents[agent]
    local, legal = tree.stages[t].local[:, agent], own.legal[own.stage(t)]
    choice = legal.sum(1) > 1
    most = []
    for gain in gains:
        greatest = np.full((len(legal), *gain.shape[1:]), -np.inf)
        np.maximum.at(greatest, local, gain)
        both = (greatest + greatest.transpose(0, 2, 1)).max((1, 2))
        most.append(np.where(choice, np.maximum(both, 0.0), 0.0))
    return np.stack([*most, 2 * tree.problem.discount * choice])


def _same_stage(tree: Tree, t: int, pair: tuple[int, int], ranges: list[_Range]) -> np.ndarray:
    """float64[3 kinds]: the bound of a pair of simultaneous choices, a norm of the cross-differences D (step 4)."""
    stage = tree.stages[t]
    choice = np.ones(len(stage.local), np.bool_)
    for agent in pair:
        own = tree.agents[agent]
        choice &= (own.legal[own.stage(t)].sum(1) > 1)[stage.local[:, agent]]
    differences = [np.where(choice, _cross_differences(part, pair), 0.0) for part in ranges]
    differences.append(2 * tree.problem.discount * choice)
    if t > 0:
        return np.array([part.max() for part in differences])
    # Nobody has acted yet: chance alone says who meets whom.
    weight = stage.chance.sum(1)
    first, second = stage.local[:, pair[0]], stage.local[:, pair[1]]
    size = (first.max() + 1, second.max() + 1)
    scale = np.sqrt(np.outer(np.bincount(first, weight), np.bincount(second, weight)))
    code = np.ravel_multi_index((first, second), size)
    return np.array(
        [
            np.linalg.norm(np.bincount(code, weight * part, math.prod(size)).reshape(size) / scale, 2)
            for part in differences
        ]
    )


def _cross_differences(part: _Range, pair: tuple[int, int]) -> np.ndarray:
    """float64[K]: the most of q(a,b) - q(a',b) - q(a,b') + q(a',b') for two agents, the others' actions being fixed."""
    axes = (pair[0] + 1, pair[1] + 1)
    high, low = (
        np.moveaxis(table, axes, (1, 2)).reshape(len(table), table.shape[axes[0]], table.shape[axes[1]], -1)
        for table in part
    )
    most = np.zeros(len(high))
    for one, other in itertools.combinations(range(high.shape[1]), 2):
        up = (high[:, one] - low[:, other]).max(1)
        down = (high[:, other] - low[:, one]).max(1)
        most = np.maximum(most, (up + down).max(1))
    return most


def _different_stages(
    tree: Tree, links: list[_Links], first: tuple[int, int], second: tuple[int, int], differences: np.ndarray
) -> np.ndarray:
    """float64[3 kinds]: the bound of an earlier choice of one agent and a later one of another (step 3).

    √max E[X(h_j)² | h_i, a_i] over the earlier agent's histories and actions and over everybody's plans in between.
    """
    (t, agent), (last, later) = first, second
    local = tree.stages[last].local
    choice_known = _reveals_choice(tree, first, second)
    own = tree.agents[agent]
    choice = (own.legal[own.stage(t)].sum(1) > 1)[tree.stages[t].local[:, agent]]
    bounds = []
    for part in differences:
        squares = np.where(choice_known, 0.0, part**2)[local[:, later]]
        for k in reversed(range(t + 1, last)):
            squares = _expected_next(tree, k, links, squares).max(tuple(range(1, 1 + tree.problem.num_agents)))
        after = np.moveaxis(_expected_next(tree, t, links, squares), agent + 1, 1)
        after = after.reshape(*after.shape[:2], -1).max(2) * choice[:, None]  # [K, A_i]
        if t == 0:  # chance alone says with which types one's own goes together
            weight, rows = tree.stages[0].chance.sum(1), tree.stages[0].local[:, agent]
            mean = np.zeros((rows.max() + 1, after.shape[1]))
            np.add.at(mean, rows, weight[:, None] * after)
            after = mean / np.bincount(rows, weight)[:, None]
        bounds.append(math.sqrt(after.max()))
    return np.array(bounds)


def _reveals_choice(tree: Tree, first: tuple[int, int], second: tuple[int, int]) -> np.ndarray:
    """bool[histories of the later agent]: whether they tell what the earlier agent knew and did at its stage."""
    (t, agent), (last, later) = first, second
    own, local = tree.agents[agent], tree.stages[last].local
    history = own.offsets[last] + local[:, agent]
    for _ in range(last - t - 1):
        history = own.parent[history]
    done = own.parent[history] * tree.problem.num_actions[agent] + own.action[history]
    size = local[:, later].max() + 1
    greatest, least = np.full(size, -1), np.full(size, np.iinfo(np.int64).max)
    np.maximum.at(greatest, local[:, later], done)
    np.minimum.at(least, local[:, later], done)
    return greatest == least
