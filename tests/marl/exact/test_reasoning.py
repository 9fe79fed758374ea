"""Best responses, k-level reasoning and cognitive hierarchies, against plain Python and games done by hand."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from games.errors import TacitError
from games.tabular import histories
from games.tabular.dec_pomdp import DecPOMDP, matrix_game
from games.tabular.library import broadcast_channel, dectiger, hint, lever, recycling, tiny_hanabi, two_stage_lever
from marl.exact import reasoning
from marl.exact.reasoning import (
    best_response,
    best_response_to_mixture,
    cognitive_hierarchy,
    k_level,
    poisson,
)

DISTINCT = 1e-7
"""Action values in the games here are equal up to rounding or differ by more."""


def three_agents(seed=0):
    """A random one-shot game of three agents with 2, 3 and 2 actions."""
    payoffs = np.random.default_rng(seed).integers(0, 5, (2, 3, 2)).astype(float)
    return matrix_game(payoffs, "abc", [["x", "y"], ["x", "y", "z"], ["x", "y"]])


def random_game(seed):
    """Two agents, two states, actions and observations each, everything random, and a discount that matters."""
    rng = np.random.default_rng(seed)
    names = (("x", "y"), ("x", "y"))
    return DecPOMDP(
        agents=("a", "b"),
        states=("0", "1"),
        actions=names,
        observations=names,
        discount=0.4,
        start=rng.dirichlet(np.ones(2)),
        transition=rng.dirichlet(np.ones(2), (4, 2)),
        observation=rng.dirichlet(np.ones(4), (4, 2)),
        reward=rng.normal(size=(4, 2, 1, 1)),
        initial_observation=rng.dirichlet(np.ones(4), 2),
    )


def returns(enumeration, tree, levels):
    """The self-play return of each level."""
    return [enumeration(tree, tuple(map(np.exp, level)), 0.0).objective() for level in levels]


def with_partners(own, partners):
    """For each agent the joint policy in which it alone plays `own`."""
    return [tuple(own[j] if j == i else p for j, p in enumerate(partners)) for i in range(len(partners))]


def even(q, legal):
    best = np.where(legal, q, -np.inf)
    best = best >= best.max(1, keepdims=True) - DISTINCT
    return best / best.sum(1, keepdims=True)


GAMES = [
    (dectiger.problem(), 2),
    (recycling.problem(), 2),
    (broadcast_channel.problem(), 2),
    (two_stage_lever.problem(0.5), 2),
    (hint.problem(2), 2),
    (three_agents(), 1),
    *((random_game(seed), 2) for seed in range(4)),
    (lever.problem([3, 2], players=3), 1),
    *((tiny_hanabi.problem(variant), 2) for variant in "ABCDEF"),
]


@pytest.mark.parametrize(("problem", "horizon"), GAMES)
def test_every_level_is_a_best_response_by_plain_recursion(enumeration, problem, horizon):
    tree = histories.build(problem, horizon)
    levels = k_level(tree, 3)
    for partners, own in itertools.pairwise(levels):
        for agent, joint in enumerate(with_partners(own, partners)):
            oracle = enumeration(tree, tuple(map(np.exp, joint)), 0.0)
            q, others, _ = oracle.action_values(agent)
            # No action is better at any history: by the one-shot deviation principle, a best response.
            met = others > 1e-12
            expected = even(np.where(met[:, None], q, 0.0), tree.agents[agent].legal)
            np.testing.assert_allclose(np.exp(own[agent]), expected, atol=1e-12)


@pytest.mark.parametrize("problem", [tiny_hanabi.problem("C"), three_agents(1), three_agents(2)])
def test_response_is_worth_the_best_of_all_pure_policies(enumeration, random_policy, problem):
    tree = histories.build(problem, 2 if problem.num_agents == 2 else 1)
    with np.errstate(divide="ignore"):
        partners = tuple(map(np.log, random_policy(tree, 3, zeros=True)))
    response = best_response(tree, partners)
    for agent, own in enumerate(tree.agents):
        choices = [np.flatnonzero(row) for row in own.legal]
        values = []
        for picks in itertools.product(*choices):
            pure = np.full(own.legal.shape, -np.inf)
            pure[np.arange(own.size), picks] = 0.0
            values.append(tuple(pure if i == agent else p for i, p in enumerate(partners)))
        best = max(returns(enumeration, tree, values))
        assert returns(enumeration, tree, [with_partners(response, partners)[agent]]) == pytest.approx([best])


def tiny_levels(variant, weights):
    """Probabilities of player 0 [level][c1, a1] and player 1 [level][c2, a1, a2], by sums over the deals.

    `weights(k)` are those of levels 0 ... k - 1 among the partners of level k.
    """
    payoff = np.array(tiny_hanabi.PAYOFFS[variant], float)
    cards, _, actions, _ = payoff.shape
    first = [np.full((cards, actions), 1 / actions)]
    second = [np.full((cards, actions, actions), 1 / actions)]
    for k in range(1, 4):
        partner_0 = sum(w * p for w, p in zip(weights(k), first, strict=False))
        partner_1 = sum(w * p for w, p in zip(weights(k), second, strict=False))
        one = np.zeros((cards, actions))
        two = np.zeros((cards, actions, actions))
        for c1, c2, a1, a2 in itertools.product(range(cards), range(cards), range(actions), range(actions)):
            one[c1, a1] += partner_1[c2, a1, a2] * payoff[c1, c2, a1, a2]
            two[c2, a1, a2] += partner_0[c1, a1] * payoff[c1, c2, a1, a2]
        first.append(even(one, True))
        second.append(even(two.reshape(-1, actions), True).reshape(two.shape))
    return payoff, first, second


@pytest.mark.parametrize("variant", "ABCDEF")
@pytest.mark.parametrize("name", ["k_level", "cognitive_hierarchy"])
def test_tiny_hanabi_by_sums_over_deals(enumeration, variant, name):
    tree = histories.build(tiny_hanabi.problem(variant), 2)
    weights = (lambda k: np.eye(k)[-1]) if name == "k_level" else (lambda k: poisson(k - 1, 1.5))
    payoff, first, second = tiny_levels(variant, weights)
    cards, actions = first[0].shape
    levels = getattr(reasoning, name)(tree, 3)
    for k, (own_0, own_1) in enumerate(levels):
        for c1 in range(cards):
            row = tree.agents[0].root[c1]
            np.testing.assert_allclose(np.exp(own_0[row, :actions]), first[k][c1], atol=1e-12)
        for c2, a1 in itertools.product(range(cards), range(actions)):
            row = tree.agents[1].child[tree.agents[1].root[c2], actions, cards + a1]
            np.testing.assert_allclose(np.exp(own_1[row, :actions]), second[k][c2, a1], atol=1e-12)
    expected = [np.einsum("xa,yab,xyab->", p, q, payoff) / cards**2 for p, q in zip(first, second, strict=True)]
    np.testing.assert_allclose(returns(enumeration, tree, levels), expected, atol=1e-12)


def test_known_returns(enumeration):
    # Lever: a random partner makes nine levers equally good, and two who pick among them meet with probability 1/9.
    ten = histories.build(lever.problem(), 1)
    np.testing.assert_allclose(returns(enumeration, ten, k_level(ten, 2)), [0.099, 1 / 9, 1 / 9], atol=1e-12)
    np.testing.assert_allclose(np.exp(k_level(ten, 1)[1][0][0]), [1 / 9] * 9 + [0], atol=1e-12)
    # Two-stage lever: a random partner makes everything equally good, on every level.
    two = histories.build(two_stage_lever.problem(), 2)
    for make in (k_level, cognitive_hierarchy):
        np.testing.assert_allclose(returns(enumeration, two, make(two, 3)), 0, atol=1e-12)
    # Hint: the word leaves three cards, whoever speaks.
    tree = histories.build(hint.problem(3), 2)
    np.testing.assert_allclose(returns(enumeration, tree, k_level(tree, 2)), [1 / 9, 1 / 3, 1 / 3], atol=1e-12)
    # Dec-tiger: with a random partner about to open, listening is best; two who listen pay 2 a step.
    tiger = histories.build(dectiger.problem(), 2)
    np.testing.assert_allclose(returns(enumeration, tiger, cognitive_hierarchy(tiger, 2))[1:], [-4, -4], atol=1e-12)


def test_mixture_is_inferred_along_the_history(enumeration):
    """A partner who always pulls left or always right, drawn once, is found out after the first stage."""
    tree = histories.build(two_stage_lever.problem(), 2)
    sure = ([0.0, -np.inf], [-np.inf, 0.0])
    always = [tuple(np.tile(row, (own.size, 1)) for own in tree.agents) for row in sure]
    response = best_response_to_mixture(tree, always, [0.25, 0.75])
    # It starts on the right, and then follows: -1 + 1 with the one, 1 + 1 with the other.
    met = [(response[0], partner[1]) for partner in always]
    np.testing.assert_allclose(returns(enumeration, tree, met), [0, 2], atol=1e-12)


def test_three_agents_draw_their_levels_independently():
    """Each of two partners plays x for certain or y for certain: four cases, not two."""
    payoffs = np.zeros((2, 2, 2))
    payoffs[0, 0, 1] = payoffs[0, 1, 0] = 1.0  # the first agent's x pays if the others differ
    payoffs[1, 0, 0] = payoffs[1, 1, 1] = 0.9
    tree = histories.build(matrix_game(payoffs, "abc", [["x", "y"]] * 3), 1)
    sure = [tuple(np.array([row]) for _ in range(3)) for row in ([0.0, -np.inf], [-np.inf, 0.0])]
    response = best_response_to_mixture(tree, sure, [0.5, 0.5])
    np.testing.assert_allclose(np.exp(response[0]), [[1, 0]])
    with pytest.raises(TacitError, match="weights must be 2 probabilities"):
        best_response_to_mixture(tree, sure, [0.5, 0.6])


def test_poisson():
    np.testing.assert_allclose(poisson(2, 2.0), [0.2, 0.4, 0.4])
    with pytest.raises(TacitError, match="tau"):
        poisson(2, 0.0)


@pytest.mark.parametrize("name", ["k_level", "cognitive_hierarchy"])
def test_synchronous_levels_respond_to_each_other(enumeration, name):
    """Where nothing is tied or excluded, training together comes to what finished levels do, with nothing illegal."""
    make = getattr(reasoning, name)
    for problem, horizon in [
        (dectiger.problem(), 2),
        (tiny_hanabi.problem("A"), 2),
        (lever.problem([3, 2], players=3), 1),
    ]:
        tree = histories.build(problem, horizon)
        trained, finished = make(tree, 3, synchronous=True), make(tree, 3)
        np.testing.assert_allclose(returns(enumeration, tree, trained), returns(enumeration, tree, finished), atol=1e-3)
        for policy in trained:
            for logs, own in zip(policy, tree.agents, strict=True):
                np.testing.assert_allclose(np.exp(logs).sum(1), 1, rtol=1e-12)
                assert not np.exp(logs)[~own.legal].any()


def test_training_together_is_the_stated_recursion():
    """Two steps on two levers paying 2 and 1, with the probabilities worked out one by one."""
    tree = histories.build(lever.problem([2, 1]), 1)
    levels = k_level(tree, 2, synchronous=True, steps=2, rate=1.0)
    # Level 1 meets the uniform partner: Q = (1, .5), a difference of .5; the range of rewards is 2: .25 a step.
    assert levels[1][0][0, 0] - levels[1][0][0, 1] == pytest.approx(0.5)
    # Level 2 meets level 1, uniform at the first step and .25 apart at the second: p = 1 / (1 + e^-.25).
    p = 1 / (1 + np.exp(-0.25))
    assert levels[2][1][0, 0] - levels[2][1][0, 1] == pytest.approx(0.25 + (2 * p - (1 - p)) / 2)
    # In a hierarchy with τ = 1 it meets levels 0 and 1 half the time each.
    levels = cognitive_hierarchy(tree, 2, tau=1.0, synchronous=True, steps=2, rate=1.0)
    p = (0.5 + p) / 2
    assert levels[2][1][0, 0] - levels[2][1][0, 1] == pytest.approx(0.25 + (2 * p - (1 - p)) / 2)


def test_training_follows_the_advantages_of_a_longer_game(enumeration):
    """Dec-tiger, two steps of level 1: each adds rate · advantage / 121 (rewards: -101 to 20), the partner uniform."""
    tree = histories.build(dectiger.problem(), 2)
    one, two = (k_level(tree, 1, synchronous=True, steps=steps, rate=3.0)[1] for steps in (1, 2))
    uniform = tuple(map(np.log, tree.uniform()))
    for agent in range(2):
        for before, after in ((uniform, one), (one, two)):
            joint = with_partners(before, uniform)[agent]
            q, _, _ = enumeration(tree, tuple(map(np.exp, joint)), 0.0).action_values(agent)
            gained = after[agent] - before[agent] - 3.0 * q / 121
            np.testing.assert_allclose(gained, np.broadcast_to(gained[:, :1], gained.shape), atol=1e-12)


@pytest.mark.slow
@given(st.integers(0, 2**31))
@settings(max_examples=15, deadline=None)
def test_labels_do_not_matter(relabel, seed):
    rng = np.random.default_rng(seed)
    variant = "ABCDEF"[rng.integers(6)]
    problem, horizon = [(tiny_hanabi.problem(variant), 2), (dectiger.problem(), 2), (three_agents(seed), 1)][
        rng.integers(3)
    ]
    renamed = relabel(problem, seed)
    old, new = histories.build(problem, horizon), histories.build(renamed.problem, horizon)
    for make in (k_level, cognitive_hierarchy):
        for before, after in zip(make(old, 3), make(new, 3), strict=True):
            for x, y in zip(renamed.policy(old, new, tuple(map(np.exp, before))), map(np.exp, after), strict=True):
                np.testing.assert_allclose(x, y, atol=1e-12)


@pytest.mark.parametrize("levels", [-1, 1.5, True])
def test_bad_levels(levels):
    tree = histories.build(lever.problem([1, 2]), 1)
    for make in (k_level, cognitive_hierarchy):
        with pytest.raises(TacitError, match="levels must be a whole number"):
            make(tree, levels)
