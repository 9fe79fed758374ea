"""Off-belief learning, against its definition evaluated by plain-Python recursion and games done by hand."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from games.errors import TacitError
from games.tabular import histories
from games.tabular.dec_pomdp import DecPOMDP, from_functions, matrix_game
from games.tabular.library import (
    broadcast_channel,
    cat_and_dog,
    dectiger,
    hint,
    lever,
    recycling,
    tiny_hanabi,
    two_stage_lever,
)
from marl.exact.objective import double_precision, expected_return, tables
from marl.exact.off_belief import off_belief
from marl.exact.reasoning import k_level

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


def relay():
    """Three agents, two steps: the first two see a bit each and all see everybody's actions before they act again."""
    return from_functions(
        agents="abc",
        states=("00", "01", "10", "11"),
        actions=(("x", "y"),) * 3,
        observations=(("o0", "o1"),) * 3,
        discount=0.5,
        start=[0.4, 0.3, 0.2, 0.1],
        transition=lambda state, chosen: {state: 1.0},
        observation=lambda chosen, state: {(chosen[1], chosen[0], chosen[0] ^ chosen[1]): 1.0},
        reward=lambda state, chosen: float(chosen[2] == state // 2) + float(chosen[0] ^ chosen[1] == state % 2) / 2,
        initial_observation=lambda state: {(state // 2, state % 2, 0): 1.0},
    )


def even(q, legal):
    best = np.where(legal, q, -np.inf)
    best = best >= best.max(1, keepdims=True) - DISTINCT
    return best / best.sum(1, keepdims=True)


def returns(enumeration, tree, levels):
    """The self-play return of each level."""
    return [enumeration(tree, tuple(map(np.exp, level)), 0.0).objective() for level in levels]


def off_belief_values(enumeration, tree, agent, past, future):
    """(Q, others' weight) of one agent by a recursion forward in time: float64[H, A], float64[H].

    Joint histories are weighted by the others' play in `past`, who also choose the others' simultaneous actions, and
    valued by everybody's play in `future` from the next step on.
    """
    before, after = enumeration(tree, past, 0.0), enumeration(tree, future, 0.0)
    q, weights = np.zeros(past[agent].shape), np.zeros(len(past[agent]))
    own = tree.agents[agent]
    stage = {}
    for chance, state, paths in before.first():
        stage[state, paths] = stage.get((state, paths), 0.0) + chance
    for t in range(tree.horizon):
        following = {}
        for (state, paths), weight in stage.items():
            h = before.number[agent][paths[agent]]
            weights[h] += weight
            for actions in np.ndindex(*tree.problem.num_actions):
                rest = [before.row(i, paths)[a] for i, a in enumerate(actions) if i != agent]
                share = weight * np.prod(rest)
                if share == 0 or not own.legal[h, actions[agent]]:
                    continue
                reward, ways = after.after(state, paths, actions)
                q[h, actions[agent]] += share * reward
                if t + 1 == tree.horizon:
                    continue
                for chance, *later in ways:
                    q[h, actions[agent]] += share * tree.problem.discount * chance * after.value(*later)
                    following[tuple(later)] = following.get(tuple(later), 0.0) + share * chance
        stage = following
    return q / np.where(weights > 0, weights, 1.0)[:, None], weights


GAMES = [
    (dectiger.problem(), 2),
    (recycling.problem(), 2),
    (broadcast_channel.problem(), 2),
    (two_stage_lever.problem(0.5), 2),
    (hint.problem(2), 2),
    (three_agents(), 1),
    *((random_game(seed), 2) for seed in range(4)),
    (relay(), 2),
    (lever.problem([3, 2], players=3), 1),
    (cat_and_dog.problem(), 2),
    (tiny_hanabi.problem("C"), 2),
    (tiny_hanabi.problem("F"), 2),
]


@pytest.mark.slow
@pytest.mark.parametrize(("problem", "horizon"), GAMES)
@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_every_level_solves_its_definition(enumeration, problem, horizon, temperature):
    tree = histories.build(problem, horizon)
    levels = off_belief(tree, 2, temperature=temperature)
    policies = [tuple(map(np.exp, level)) for level in levels]
    for own, start in zip(policies[0], tree.uniform(), strict=True):
        np.testing.assert_allclose(own, start, rtol=1e-12)
    for k in (1, 2):
        for agent, own in enumerate(tree.agents):
            q, missing = np.zeros(own.legal.shape), np.ones(own.size, bool)
            for below in reversed(range(k)):  # the highest level that allows the history
                values, weights = off_belief_values(enumeration, tree, agent, policies[below], policies[k])
                found = missing & (weights > 0)
                q[found] = values[found]
                missing &= ~found
            assert not missing.any()
            if temperature:
                shares = np.where(own.legal, np.exp(q / temperature), 0.0)
                expected = shares / shares.sum(1, keepdims=True)
            else:
                expected = even(q, own.legal)
            np.testing.assert_allclose(policies[k][agent], expected, atol=1e-9)


def tiny_levels(variant):
    """Player 0 [level][c1, a1] and player 1 [level][c2, a1, a2], by sums over the deals."""
    payoff = np.array(tiny_hanabi.PAYOFFS[variant], float)
    cards, _, actions, _ = payoff.shape
    first = [np.full((cards, actions), 1 / actions)]
    second = [np.full((cards, actions, actions), 1 / actions)]
    for _ in range(3):
        reply = np.zeros((cards, actions, actions))
        for c2, a1 in itertools.product(range(cards), range(actions)):
            # Who would have done a1? If nobody of the level below, somebody of the one below that.
            belief = next(p[:, a1] for p in reversed(first) if p[:, a1].sum() > 0)
            values = [sum(belief[c1] * payoff[c1, c2, a1, a2] for c1 in range(cards)) for a2 in range(actions)]
            reply[c2, a1] = even(np.array([values]), True)
        shown = np.zeros((cards, actions))
        for c1, c2, a1, a2 in itertools.product(range(cards), range(cards), range(actions), range(actions)):
            shown[c1, a1] += reply[c2, a1, a2] * payoff[c1, c2, a1, a2]
        first.append(even(shown, True))
        second.append(reply)
    return payoff, first, second


@pytest.mark.parametrize("variant", "ABCDEF")
def test_tiny_hanabi_by_sums_over_deals(enumeration, variant):
    tree = histories.build(tiny_hanabi.problem(variant), 2)
    payoff, first, second = tiny_levels(variant)
    cards, actions = first[0].shape
    levels = off_belief(tree, 3)
    for k, (own_0, own_1) in enumerate(levels):
        for c1 in range(cards):
            np.testing.assert_allclose(np.exp(own_0[tree.agents[0].root[c1], :actions]), first[k][c1], atol=1e-12)
        for c2, a1 in itertools.product(range(cards), range(actions)):
            row = tree.agents[1].child[tree.agents[1].root[c2], actions, cards + a1]
            np.testing.assert_allclose(np.exp(own_1[row, :actions]), second[k][c2, a1], atol=1e-12)
    expected = [np.einsum("xa,yab,xyab->", p, q, payoff) / cards**2 for p, q in zip(first, second, strict=True)]
    np.testing.assert_allclose(returns(enumeration, tree, levels), expected, atol=1e-12)


TINY = {
    # level 0, 1 and 2 in self-play
    "A": (1.625, 2.25, 2.25),
    "B": (0.4375, 0.625, 1.0),
    "C": (1.5, 2.125, 2.5),
    "D": (1.3125, 2.25, 2.25),
    "E": (67 / 18, 8.0, 8.0),
    "F": (25 / 18, 19 / 9, 19 / 9),
}


@pytest.mark.parametrize("variant", "ABCDEF")
def test_tiny_hanabi_values(enumeration, variant):
    tree = histories.build(tiny_hanabi.problem(variant), 2)
    np.testing.assert_allclose(returns(enumeration, tree, off_belief(tree, 2)), TINY[variant], atol=1e-12)


def test_known_returns(enumeration):
    # Lever: the partner's simultaneous pull is random, which makes nine levers equally good.
    ten = histories.build(lever.problem(), 1)
    np.testing.assert_allclose(returns(enumeration, ten, off_belief(ten, 2)), [0.099, 1 / 9, 1 / 9], atol=1e-12)
    # Two-stage lever: what the partner pulled says nothing about what it will pull.
    two = histories.build(two_stage_lever.problem(), 2)
    np.testing.assert_allclose(returns(enumeration, two, off_belief(two, 4)), 0, atol=1e-12)
    # Hint: the word itself leaves three cards; a grounded player reads no more into it.
    tree = histories.build(hint.problem(3), 2)
    np.testing.assert_allclose(returns(enumeration, tree, off_belief(tree, 2)), [1 / 9, 1 / 3, 1 / 3], atol=1e-12)


@pytest.mark.slow
def test_dectiger_listens_first_and_then_trusts(enumeration):
    """Horizon 3: level 1 only listens (-2 a step), as a random partner may open; level 2 finds the optimum."""
    tree = histories.build(dectiger.problem(), 3)
    values = returns(enumeration, tree, off_belief(tree, 2))
    np.testing.assert_allclose(values[1:], [-6, 5.1908125], atol=1e-9)


def test_the_reply_is_of_this_level():
    """Tiny Hanabi B, level 1: what separates off-belief learning from the best response to a random partner.

    Player 1, who knows nothing of player 0's card, is indifferent but for its card 0 after action 1, where it replies
    0. Player 0 foresees that: with card 0, action 1 is worth (1 + 1/2) / 2 against 1/2 for action 0; with card 1 it is
    worth 1/4 against 1/2. To a random partner, card 0 has nothing to choose.
    """
    tree = histories.build(tiny_hanabi.problem("B"), 2)
    card = tree.agents[0].root
    np.testing.assert_allclose(np.exp(off_belief(tree, 1)[1][0][card[:2], :2]), [[0, 1], [1, 0]])
    np.testing.assert_allclose(np.exp(k_level(tree, 1)[1][0][card[:2], :2]), [[0.5, 0.5], [1, 0]])


@given(st.integers(0, 2**31))
@settings(max_examples=15, deadline=None)
def test_labels_do_not_matter(relabel, seed):
    rng = np.random.default_rng(seed)
    games = [(tiny_hanabi.problem("ABCDEF"[rng.integers(6)]), 2), (dectiger.problem(), 2), (relay(), 2)]
    problem, horizon = games[rng.integers(3)]
    renamed = relabel(problem, seed)
    old, new = histories.build(problem, horizon), histories.build(renamed.problem, horizon)
    for before, after in zip(off_belief(old, 3), off_belief(new, 3), strict=True):
        for x, y in zip(renamed.policy(old, new, tuple(map(np.exp, before))), map(np.exp, after), strict=True):
            np.testing.assert_allclose(x, y, atol=1e-12)


def test_high_temperature_is_uniform_and_low_is_greedy():
    tree = histories.build(tiny_hanabi.problem("A"), 2)
    hot, cold, greedy = (off_belief(tree, 1, temperature=t)[1] for t in (1e9, 1e-3, 0.0))
    for a, b, c, start in zip(hot, cold, greedy, tree.uniform(), strict=True):
        np.testing.assert_allclose(np.exp(a), start, atol=1e-8)
        np.testing.assert_allclose(np.exp(b), np.exp(c), atol=1e-8)


def test_bad_input():
    tree = histories.build(lever.problem([1, 2]), 1)
    with pytest.raises(TacitError, match="levels must be a whole number"):
        off_belief(tree, -1)
    with pytest.raises(TacitError, match="temperature must be a number of at least 0"):
        off_belief(tree, 1, temperature=-0.1)


def test_who_believes_that_the_light_was_switched_at_random_bails():
    tree = cat_and_dog.make().tree
    alice, bob = (np.exp(own) for own in off_belief(tree, 1)[1])
    # Bob's own histories of the second stage, by what it sees: nothing, the light on or off, the pet, that it is over.
    own = tree.agents[1]
    rows = {int(own.observation[row]): bob[row] for row in range(own.size) if own.parent[row] >= 0}
    assert rows[1].tolist() == rows[2].tolist() == [0, 0, 1, 0]
    assert (rows[3].argmax(), rows[4].argmax(), rows[5].argmax()) == (cat_and_dog.CAT, cat_and_dog.DOG, 3)
    assert alice[:2].tolist() == [[0, 0, 0, 1, 0]] * 2  # removes the barrier, whatever the pet
    for light in (cat_and_dog.ON, cat_and_dog.OFF):  # is worth what Bob's bailing pays
        alice[:2] = np.eye(5)[light]
        with np.errstate(divide="ignore"):
            log_probs = (np.log(alice), np.log(bob))
        assert double_precision(expected_return)(tables(tree), log_probs) == pytest.approx(0.5)
