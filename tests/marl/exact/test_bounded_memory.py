"""Agents with bounded memory, against the same policies played by agents who remember everything.

A policy of memories is a policy of histories that plays alike at all histories with the same memory. So every value of
it can be had from the recursion over states and histories in plain Python (`conftest.Enumeration`), or from the exact
core with perfect recall.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from games.errors import TacitError
from games.tabular import histories, memories, symmetry
from games.tabular.dec_pomdp import from_functions, matrix_game
from games.tabular.library import dectiger, recycling, tiny_hanabi
from marl.exact import (
    bounded_memory,
    branches,
    certified,
    crossplay,
    deterministic,
    equivariant,
    gradient_flow,
    lookahead,
    objective,
    off_belief,
    optimum,
    phase,
    reasoning,
)
from marl.exact.objective import double_precision
from marl.exact.starts import concatenate, normal_starts, pure_starts
from tests.remembered import memory_of

ALPHA = 1.3


@pytest.fixture(scope="module")
def games(random_dec_pomdp):
    """name -> (problem, horizon, K)"""
    pair = dict(num_actions=(2, 2), num_observations=(2, 2), num_states=2)
    return {
        "blind": (random_dec_pomdp(seed=1, discount=0.7), 3, 0),
        "one pair": (random_dec_pomdp(seed=2, discount=0.9, **pair), 3, 1),
        "initial": (random_dec_pomdp(seed=3, initial=True, restricted=True), 3, 1),
        "initial blind": (random_dec_pomdp(seed=3, initial=True, restricted=True), 3, 0),
        "three": (random_dec_pomdp(seed=4, num_agents=3, **pair | {"num_observations": (2, 1)}), 3, 1),
        "alone": (random_dec_pomdp(seed=5, num_agents=1), 4, 1),
        "long": (random_dec_pomdp(seed=6, **pair), 6, 1),
    }  # fmt: skip


@double_precision
def swept(tree, policies, alpha=ALPHA):
    """(sweep, reach, gradient) at probabilities."""
    with np.errstate(divide="ignore"):
        logs = tuple(jnp.asarray(np.log(own)) for own in policies)
    return jax.tree.map(np.asarray, SWEEP(objective.tables(tree), logs, jnp.asarray(alpha)))


@jax.jit
def SWEEP(tables, log_probs, alpha):
    result = objective.sweep(tables, log_probs, alpha)
    return result, result.reach, objective.gradient(tables, log_probs, result)


@jax.jit
def automatic_gradient(tables, rows, logits, alpha):
    """The gradient by logits of memories of J_α with perfect recall; `rows` are the memories of the histories."""

    def value(logits):
        everywhere = tuple(own[row] for own, row in zip(logits, rows, strict=True))
        return objective.sweep(tables, objective.log_policy(tables, everywhere), alpha).objective

    return jax.grad(value)(logits)


def both(problem, horizon, memory):
    """(tree of histories, tree of memories, the memory of each history for each agent)"""
    tree, bounded = histories.build(problem, horizon), memories.build(problem, horizon, memory)
    return tree, bounded, [memory_of(tree, bounded, agent) for agent in range(problem.num_agents)]


# -------------------------------------------------------------------------------------------------- against recursions


@pytest.mark.slow
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("name", ["blind", "one pair", "initial", "initial blind", "three", "alone"])
def test_values_are_those_of_agents_who_remember_all_and_play_alike(games, enumeration, random_policy, name, zeros):
    tree, bounded, rows = both(*games[name])
    policies = random_policy(bounded, 7, zeros)
    plain = enumeration(tree, [own[row] for own, row in zip(policies, rows, strict=True)], ALPHA)
    result, reaches, _ = swept(bounded, policies)
    assert result.objective == pytest.approx(plain.objective(), abs=1e-12)
    for agent, (own, row) in enumerate(zip(bounded.agents, rows, strict=True)):
        q, _, reach = plain.action_values(agent)
        total = np.bincount(row, reach, own.size)
        np.testing.assert_allclose(reaches[agent], total, rtol=1e-12, atol=1e-16)
        met = total > 0
        assert met.all() or zeros
        mean = np.stack([np.bincount(row, reach * column, own.size) for column in q.T], axis=1)[met] / total[met, None]
        np.testing.assert_allclose(result.q[agent][met], mean, rtol=0, atol=1e-11)
        probs = policies[agent][met]
        soft = np.where(probs > 0, mean - ALPHA * np.log(np.where(probs > 0, probs, 1)), mean)
        expected = np.where(own.legal[met], soft - (probs * soft).sum(1, keepdims=True), 0)
        np.testing.assert_allclose(result.advantage[agent][met], expected, rtol=0, atol=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["one pair", "three", "long"])
def test_the_gradient_is_the_derivative_of_the_objective_with_perfect_recall(games, random_policy, name):
    tree, bounded, rows = both(*games[name])
    policies = random_policy(bounded, 8)
    with jax.enable_x64(True):
        logits = tuple(jnp.asarray(np.log(np.where(own > 0, own, 1.0))) for own in policies)
        expected = automatic_gradient(objective.tables(tree), tuple(map(jnp.asarray, rows)), logits, ALPHA)
    for found, own in zip(swept(bounded, policies)[2], expected, strict=True):
        np.testing.assert_allclose(found, np.asarray(own), rtol=0, atol=1e-12)


@pytest.mark.slow
def test_the_gradient_is_a_difference_of_the_recursion(games, enumeration, random_policy):
    tree, bounded, rows = both(*games["blind"])
    policies = random_policy(bounded, 9)
    found = swept(bounded, policies)[2]

    def value(agent, memory, action, step):
        logits = [np.log(own) for own in policies]
        logits[agent][memory, action] += step
        probs = [np.exp(own) / np.exp(own).sum(1, keepdims=True) for own in logits]
        return enumeration(tree, [own[row] for own, row in zip(probs, rows, strict=True)], ALPHA).objective()

    for place in ((0, 0, 1), (1, 1, 2), (1, 2, 0)):
        difference = (value(*place, 1e-5) - value(*place, -1e-5)) / 2e-5
        assert found[place[0]][place[1:]] == pytest.approx(difference, abs=1e-8)


@pytest.mark.slow
def test_memories_that_are_hardly_reached_have_the_values_of_the_limit(games, random_policy):
    # What an agent plays at stage 0 with probability exp(-2000) it does not do in double precision.
    problem, horizon, memory = games["one pair"]
    bounded = memories.build(problem, horizon, memory)
    tables_of = []
    for rare in (-60.0, -2000.0):
        logits = [np.log(own) for own in random_policy(bounded, 10)]
        logits[0][0] = [0.0, rare]
        logits[0][1:3] = [rare, 0.0]
        with jax.enable_x64(True):
            tables = objective.tables(bounded)
            log_probs = objective.log_policy(tables, tuple(map(jnp.asarray, logits)))
            tables_of.append(jax.tree.map(np.asarray, SWEEP(tables, log_probs, jnp.asarray(ALPHA))))
    (near, _, _), (limit, reach, _) = tables_of
    assert (reach[0] == 0).any()
    assert np.isfinite(limit.objective)
    for agent in (0, 1):
        np.testing.assert_allclose(limit.q[agent], near.q[agent], rtol=0, atol=1e-11)


# ----------------------------------------------------------------------------- as long a memory as the game: as before


@pytest.mark.slow
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("name", ["dectiger", "recycling", "tiny_hanabi", "three", "restricted"])
def test_with_a_memory_as_long_as_the_game_nothing_changes(random_dec_pomdp, random_policy, name, zeros):
    problem, horizon = {
        "dectiger": lambda: (dectiger.problem(), 3),
        "recycling": lambda: (recycling.problem(), 3),
        "tiny_hanabi": lambda: (tiny_hanabi.problem("E"), 2),
        "three": lambda: (random_dec_pomdp(seed=4, num_agents=3, num_actions=(2, 3, 2), num_observations=(2, 1)), 2),
        "restricted": lambda: (random_dec_pomdp(seed=3, discount=0.8, initial=True, restricted=True), 3),
    }[name]()
    tree, bounded = histories.build(problem, horizon), memories.build(problem, horizon, horizon)
    policies = random_policy(tree, 11, zeros)
    (before, reach_before, gradient_before), (after, reach, gradient) = swept(tree, policies), swept(bounded, policies)
    scale = np.abs(problem.expected_reward).max() * horizon
    assert after.objective == pytest.approx(before.objective, abs=1e-13 * scale)
    compared = [(before.q, after.q), (before.advantage, after.advantage), (gradient_before, gradient)]
    for ours, theirs in compared:
        for own, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(other, own, rtol=0, atol=1e-13 * scale)
    for own, other in zip(reach_before, reach, strict=True):
        np.testing.assert_allclose(other, own, rtol=1e-12, atol=0)


def diagram(tree, alphas, branch=False):
    """The phase diagram of a few starts."""
    starts = concatenate(normal_starts(tree, 4, 1.0, seed=0), pure_starts(tree, 4, seed=1))
    followed = branches.principal_branch(tree, alpha_min=min(alphas)) if branch else None
    return phase.phase_diagram(tree, alphas, starts, branch=followed, refine=branch)


def same_diagrams(first, second):
    for one, other in zip(first.rows, second.rows, strict=True):
        assert (one.alpha, one.starts, one.converged, one.solutions) == (
            other.alpha, other.starts, other.converged, other.solutions
        )  # fmt: skip
        for field in ("soft_self_play", "soft_cross_play", "greedy_self_play", "greedy_cross_play"):
            assert getattr(one, field) == pytest.approx(getattr(other, field), abs=1e-7)
    for one, other in zip(first.unique, second.unique, strict=True):
        assert one is other is None or one == pytest.approx(other, rel=1e-6)


@pytest.mark.slow
def test_with_a_memory_as_long_as_the_game_the_whole_phase_diagram_is_the_same(random_dec_pomdp):
    problem = random_dec_pomdp(seed=12, num_actions=(2, 2), num_observations=(2, 1), num_states=2)
    trees = histories.build(problem, 2), memories.build(problem, 2, 2)
    same_diagrams(*(diagram(tree, [0.05, 0.2, 1.0], branch=True) for tree in trees))


@pytest.mark.proof
@pytest.mark.parametrize(("module", "alphas"), [(dectiger, [8.0, 14.0]), (recycling, [0.9, 2.0])])
def test_with_a_memory_as_long_as_the_game_the_phase_diagrams_of_three_steps_are_the_same(module, alphas):
    problem = module.problem()
    same_diagrams(*(diagram(tree, alphas) for tree in (histories.build(problem, 3), memories.build(problem, 3, 3))))


# ------------------------------------------------------------------------------------------------------ known by hand


def test_blind_uniform_play_of_dec_tiger():
    # Nine joint actions: both listen -2; both open the same door -50 or 20, two ways; different doors -100, two ways;
    # one listens and one opens, -101 or 9, four ways. Without memory the tiger is behind either door.
    tree = memories.build(dectiger.problem(), 50, 0)
    result, _, _ = swept(tree, tree.uniform(), 2.0)
    each = (-2 + 2 * (-50 + 20) / 2 + 2 * -100 + 4 * (-101 + 9) / 2) / 9
    assert result.objective == pytest.approx(50 * (each + 2 * 2.0 * np.log(3)), rel=1e-13)
    now, later = [-(2 + 2 * 46) / 3, -(46 + 15 + 100) / 3, -(46 + 15 + 100) / 3], each + 2 * 2.0 * np.log(3)
    np.testing.assert_allclose(result.q[0], now + later * np.arange(49, -1, -1)[:, None], rtol=1e-12)


@pytest.mark.slow
def test_blind_agents_play_a_matrix_game_at_every_step():
    # What the two do without memory is a game of its own at every step: listen, open left, open right.
    payoffs = np.array([[-2.0, -46, -46], [-46, -15, -100], [-46, -100, -15]])
    game = matrix_game(payoffs, ["one", "two"], [["listen", "left", "right"]] * 2)
    alone = branches.principal_branch(histories.build(game, 1), alpha_min=5.0)
    blind = branches.principal_branch(memories.build(dectiger.problem(), 4, 0), alpha_min=5.0)
    for events in ("folds", "bifurcations"):
        # At each of four steps the same event, once or several times: the set of α is the same.
        ours, theirs = (np.unique(getattr(branch, events).round(6)) for branch in (alone, blind))
        np.testing.assert_allclose(theirs, ours)
    assert blind.alpha_stable == pytest.approx(alone.alpha_stable) if alone.alpha_stable else blind.alpha_stable is None
    for step in range(4):
        np.testing.assert_allclose(blind.log_probs[0][-1][step], alone.log_probs[0][-1][0], atol=1e-6)


def forgetful():
    """One agent that is paid 1 at its second step for the lever of its first, which it does not see."""
    return from_functions(
        agents=["one"],
        states=["first", "left", "right"],
        actions=[["left", "right"]],
        observations=[["nothing"]],
        discount=1.0,
        start=[1.0, 0.0, 0.0],
        transition=lambda state, actions: {1 + actions[0]: 1.0},
        observation=lambda actions, state: {(0,): 1.0},
        reward=lambda state, actions: float(state == 1 + actions[0]),
    )


@pytest.mark.slow
def test_an_agent_that_forgets_needs_conventions_with_itself():
    # With K = 0 both steps are the players of two equal levers: conventions below α = 1/2, a pitchfork. With K = 1,
    # or perfect recall, one agent alone has one stationary point at every α.
    starts = functools.partial(normal_starts, count=6, scale=2.0, seed=0)
    forgets, remembers = (memories.build(forgetful(), 2, memory) for memory in (0, 1))
    assert branches.alpha_stable(forgets, alpha_min=0.1) == pytest.approx(0.5, rel=1e-7)
    assert branches.alpha_stable(remembers, alpha_min=0.1) is None
    assert certified.alpha_certified(histories.build(forgetful(), 2)).alpha == 0.0
    for tree, alpha, found in ((forgets, 0.3, 2), (forgets, 0.6, 1), (remembers, 0.3, 1)):
        (row,) = phase.phase_diagram(tree, [alpha], starts(tree), refine=False).rows
        assert (row.converged, row.solutions) == (6, found)


# ------------------------------------------------------------------------------------------------- stationary points


@pytest.mark.slow
def test_the_flow_ends_in_soft_best_responses_by_recursion(games, enumeration):
    tree, bounded, rows = both(*games["one pair"])
    ended = gradient_flow.solve(bounded, normal_starts(bounded, 3, 2.0, seed=0), np.full(3, 0.1))
    assert ended.converged.all()
    for start in range(3):
        policies = [np.exp(own[start]) for own in ended.log_probs]
        plain = enumeration(tree, [own[row] for own, row in zip(policies, rows, strict=True)], 0.1)
        for agent, row in enumerate(rows):
            q, _, reach = plain.action_values(agent)
            mean = np.stack([np.bincount(row, reach * column) for column in q.T], axis=1)
            mean = mean / np.bincount(row, reach)[:, None]
            weights = np.exp((mean - mean.max(1, keepdims=True)) / 0.1)
            expected = weights / weights.sum(1, keepdims=True)
            np.testing.assert_allclose(policies[agent], expected, atol=1e-8)


@pytest.mark.slow
def test_the_largest_eigenvalue_says_whether_a_point_is_a_maximum():
    # By the Hessian in logits of J_α with perfect recall. Uniform play of the agent that forgets is always stationary.
    tree, bounded, rows = both(forgetful(), 2, 0)

    def value(logits, alpha):
        everywhere = tuple(own[row] for own, row in zip(logits, rows, strict=True))
        tables = objective.tables(tree)
        return objective.sweep(tables, objective.log_policy(tables, everywhere), alpha).objective

    for alpha, stable in ((0.49, False), (0.51, True)):
        eigenvalue = branches.largest_eigenvalue(bounded, tuple(map(np.log, bounded.uniform())), alpha)
        assert eigenvalue == pytest.approx(0.5 / alpha)
        with jax.enable_x64(True):
            second = jax.hessian(value)((jnp.zeros((2, 2)),), alpha)[0][0]
            curvature = float(np.linalg.eigvalsh(np.asarray(second).reshape(4, 4)).max())
        assert (curvature < 1e-12) == stable == (eigenvalue < 1)


# ------------------------------------------------------------------------------------------------ greedy and cross-play


@pytest.mark.slow
def test_cross_play_is_that_of_agents_who_remember_all_and_play_alike(games, random_policy):
    tree, bounded, rows = both(*games["long"])
    with np.errstate(divide="ignore"):
        policies = [tuple(map(np.log, random_policy(bounded, seed, zeros=seed == 1))) for seed in range(3)]
    short = tuple(np.stack(own) for own in zip(*policies, strict=True))
    whole = tuple(own[:, row] for own, row in zip(short, rows, strict=True))
    np.testing.assert_allclose(crossplay.cross_play(bounded, short), crossplay.cross_play(tree, whole), atol=1e-12)
    greedy = crossplay.self_play(bounded, crossplay.greedy(short))
    np.testing.assert_allclose(greedy, crossplay.self_play(tree, crossplay.greedy(whole)), atol=1e-12)


# ---------------------------------------------------------------------------------------------------------- published


@pytest.mark.parametrize(
    ("horizon", "published"),
    [
        pytest.param(5, 16.486, marks=pytest.mark.slow),
        pytest.param(10, 31.86388902, marks=pytest.mark.proof),
        pytest.param(50, 154.9408284023669, marks=pytest.mark.proof),
    ],
)
def test_recycling_robots_need_to_remember_one_pair(horizon, published):
    """The optimum without discount (MADP's table of optimal values) is reached with K = 1."""
    pytest.importorskip("igraph")
    problem = recycling.problem().replace(discount=1.0)
    tree = memories.build(problem, horizon, 1)
    alone = symmetry.automorphisms(problem, swap_agents=False).trivial
    bound = optimum.optimum(problem, horizon).upper_bound
    found = equivariant.best_equivariant(tree, alone, upper_bound=bound, restarts=16)
    assert found.value == pytest.approx(published, rel=1e-9)
    assert found.value <= found.upper_bound


# ---------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (certified.alpha_certified, "the proof that there is one stationary point"),
        (lambda tree: certified.jacobian_bound(tree, 1.0), "the proof that there is one stationary point"),
        (lambda tree: reasoning.k_level(tree, 1), "a best response"),
        (lambda tree: reasoning.realisation_plan(tree, tree.uniform()), "a realisation plan"),
        (lambda tree: off_belief.off_belief(tree, 1), "off-belief learning"),
        (lambda tree: lookahead.lookahead(tree, tree.uniform()), "a search with exact beliefs"),
        (lambda tree: deterministic.to_behaviour(((),), tree), "a policy of observation histories"),
    ],
)
def test_what_needs_perfect_recall_is_refused(call, what):
    with pytest.raises(TacitError) as caught:
        call(memories.build(forgetful(), 2, 0))
    assert str(caught.value) == f"{what} needs perfect recall, and with memory=0 agents forget"


def test_what_does_not_fit_is_refused(monkeypatch):
    # The values of 2 states and 3 x 3 actions at 3 steps, and four times the largest stage: 2 states, 6 x 6 outcomes.
    needed = 8 * 16 * (3 * 2 * 3 * 3 + 4 * 2 * (6 * 3) ** 2)
    monkeypatch.setattr(bounded_memory, "MEMORY_LIMIT", needed - 1)
    with jax.enable_x64(True), pytest.raises(TacitError) as caught:
        objective.tables(memories.build(dectiger.problem(), 3, 1))
    assert str(caught.value).startswith("the game is too large for memory=1 at horizon 3: 16 joint policies at a time")
    monkeypatch.setattr(bounded_memory, "MEMORY_LIMIT", needed)
    with jax.enable_x64(True):
        objective.tables(memories.build(dectiger.problem(), 3, 1))
