"""The proved bound on α: known values, and what it says about stationary points, checked on random games."""

import ast
import importlib
import math
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from games.errors import TacitError
from games.tabular.dec_pomdp import DecPOMDP, from_functions, matrix_game
from games.tabular.histories import build
from games.tabular.library import (
    asymmetric_lever,
    broadcast_channel,
    dectiger,
    equal_levers,
    lever,
    recycling,
    tiny_hanabi,
    two_stage_lever,
)
from marl.exact import objective
from marl.exact.certified import alpha_certified, jacobian_bound
from tests.soft_iteration import iterate, starts_of, stationary

DOCUMENTATION = Path(__file__).resolve().parents[3] / "docs" / "certified.md"


@pytest.mark.parametrize(
    ("variant", "certified", "unique"),
    [
        ("A", math.sqrt(5) / 4, 0.37682),
        ("B", 0.5, 0.30020),
        ("C", math.sqrt(5) / 2, 0.82305),
        ("D", math.sqrt(10) / 4, 0.05210),
        ("E", 5.0, 2.96553),
        ("F", 0.9242113755, 0.21820),
    ],
)
def test_tiny_hanabi(variant, certified, unique):
    certificate = alpha_certified(build(tiny_hanabi.problem(variant), 2))
    assert certificate.alpha == pytest.approx(certified, abs=1e-9)
    assert certificate.alpha > unique
    assert certificate.method == "signal and reply"


def test_a_discounted_reply_counts_by_the_root_of_the_discount():
    certificate = alpha_certified(build(tiny_hanabi.problem("A").replace(discount=0.25), 2))
    assert certificate.alpha == pytest.approx(math.sqrt(5) / 8, abs=1e-12)


@pytest.mark.parametrize(
    ("n", "fold"), [(2, 0.5), (3, 0.364213), (4, 0.310680), (5, 0.280544), (10, 0.219309)]
)  # for n = 2 the bound is the threshold itself
def test_equal_levers(n, fold):
    certificate = alpha_certified(build(equal_levers.problem(n), 1))
    assert certificate.alpha == pytest.approx(0.5, abs=1e-12)
    assert certificate.alpha >= fold
    assert certificate.method == "one stage"


def test_two_stages_by_hand():
    # First stage: a quarter of 8 (rewards and what follows) plus E / 2 with E = 2 · (2 / α)² / 8, together α.
    assert alpha_certified(build(two_stage_lever.problem(), 1)).alpha == pytest.approx(1.0, abs=1e-12)
    certificate = alpha_certified(build(two_stage_lever.problem(), 2))
    assert certificate.alpha == pytest.approx(1 + math.sqrt(1.5), abs=1e-12)
    assert certificate.method == "finite horizon"


@pytest.mark.parametrize(
    ("problem", "horizon", "unique"),
    [
        (lever.problem, 1, 0.21941),
        (two_stage_lever.problem, 2, 1.0),
        (asymmetric_lever.problem, 3, 1.0),
        (dectiger.problem, 3, 11.81),
    ],
)
def test_certified_is_not_below_unique(problem, horizon, unique):
    assert alpha_certified(build(problem(), horizon)).alpha >= unique


def test_more_agents_add_up():
    # Each pair of three agents has the cross-difference 2 of -(equal pairs), every agent two partners: 2 · 2 / 4.
    payoffs = np.array([[[-3, -1], [-1, -1]], [[-1, -1], [-1, -3]]], float)
    names = [f"agent{agent}" for agent in range(3)]
    certificate = alpha_certified(build(matrix_game(payoffs, names, [("left", "right")] * 3), 1))
    assert certificate.alpha == pytest.approx(1.0, abs=1e-12)


def test_private_types_take_the_norm_of_the_matrix():
    # Types meet with p = [[.4, .1], [.1, .4]]; D is 4 for equal ones, 0 for different ones: ¼ ‖4 diag(.4, .4) / .5‖.
    problem = _types_game(np.array([[0.4, 0.1], [0.1, 0.4]]), np.array([[1.0, 0.0], [0.0, 1.0]]))
    assert alpha_certified(build(problem, 1)).alpha == pytest.approx(0.8, abs=1e-12)


def test_table_in_the_documentation():
    rows = re.findall(r"^\| `(\w+)\.problem\((.*)\)` \| (\d) \| (\S+) \| ([\w ]+) \|$", DOCUMENTATION.read_text(), re.M)
    assert len(rows) == 29
    for game, arguments, horizon, alpha, method in rows:
        module = importlib.import_module(f"games.tabular.library.{game}")
        positional, named = _arguments(arguments)
        certificate = alpha_certified(build(module.problem(*positional, **named), int(horizon)))
        assert (f"{certificate.alpha:.7g}", certificate.method) == (alpha, method), (game, arguments, horizon)


def test_one_agent_needs_no_entropy(random_dec_pomdp):
    certificate = alpha_certified(build(random_dec_pomdp(3, num_agents=1, initial=True), 3))
    assert certificate[:2] == (0.0, "no interaction")


def test_numbers_of_actions_can_be_worth_coordinating_on():
    # Nothing is paid; a match gives both m actions at the next stage, worth 2 α log m. That is a lever game of two
    # levers, which has one stationary point iff its match pays at most 2 α.
    assert jacobian_bound(build(_counts_game(2), 2), 1.0) == pytest.approx(math.log(2), abs=1e-12)
    assert alpha_certified(build(_counts_game(2), 2)).alpha == 0.0
    assert alpha_certified(build(_counts_game(3), 2))[:2] == (None, "none")


def test_no_weight_on_later_stages():
    assert alpha_certified(build(two_stage_lever.problem(discount=0.0), 2))[:2] == (None, "none")
    assert alpha_certified(build(two_stage_lever.problem(discount=0.0), 1)).alpha == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(("problem", "horizon"), [(broadcast_channel, 3), (recycling, 2), (dectiger, 2)])
def test_scaled_rewards_scale_the_bound(problem, horizon):
    plain = problem.problem()
    scaled = plain.replace(reward=7.3 * plain.reward)
    ratio = alpha_certified(build(scaled, horizon)).alpha / alpha_certified(build(plain, horizon)).alpha
    assert ratio == pytest.approx(7.3, rel=1e-9)


def test_bound_is_one_at_alpha_certified_and_decreases():
    tree = build(dectiger.problem(), 2)
    alpha = alpha_certified(tree).alpha
    bounds = [jacobian_bound(tree, factor * alpha) for factor in (0.25, 0.5, 1.0, 2.0, 4.0)]
    assert bounds[2] == pytest.approx(1.0, abs=1e-9)
    assert (np.diff(bounds) < 0).all()


@pytest.mark.parametrize("alpha", [0.0, -1.0, math.nan])
def test_alpha_must_be_above_0(alpha):
    with pytest.raises(TacitError, match="alpha must be a number above 0"):
        jacobian_bound(build(lever.problem(), 1), alpha)


KINDS = {
    "types": (1, {"initial": True}),
    "three agents": (1, {"num_agents": 3, "num_actions": (2, 2), "initial": True}),
    "two stages": (2, {"num_actions": (2, 2)}),
    "two stages after a deal": (2, {"num_states": 2, "num_actions": (2, 2), "initial": True, "discount": 0.7}),
}


@pytest.mark.slow
@pytest.mark.parametrize("games", [10, pytest.param(50, marks=pytest.mark.proof)])
@pytest.mark.parametrize("kind", KINDS)
def test_one_point_above_the_bound(kind, games, random_dec_pomdp):
    # In each random game 8 starts, from nearly uniform to nearly pure.
    horizon, arguments = KINDS[kind]
    for seed in range(games):
        tree = build(random_dec_pomdp(seed, **arguments), horizon)
        points, residual = stationary(tree, 1.001 * alpha_certified(tree).alpha, count=8, seed=seed)
        assert residual.max() < 1e-9
        assert max(np.ptp(np.exp(own), axis=0).max() for own in points) < 1e-8


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "least"), [("types", 0.3), ("three agents", 0.3), ("two stages", 0.1)])
def test_bound_of_the_jacobian_at_stationary_points(kind, least, random_dec_pomdp):
    # Also far below the certified α, where there are several: the bound is about every one of them.
    horizon, arguments = KINDS[kind]
    closest = 0.0
    for seed in range(12):
        tree = build(random_dec_pomdp(seed, **arguments), horizon)
        certified = alpha_certified(tree).alpha
        for factor in (0.2, 0.5, 1.001):
            points, residual = stationary(tree, factor * certified, count=8, seed=seed)
            bound = jacobian_bound(tree, factor * certified)
            eigenvalues = _eigenvalues(tree, points, factor * certified)[residual < 1e-9]
            assert len(eigenvalues)
            assert np.abs(eigenvalues.imag).max() < 1e-6  # self-adjoint
            assert np.abs(eigenvalues).max() <= bound + 1e-9
            closest = max(closest, np.abs(eigenvalues).max() / bound)
    assert closest > least  # the bound is not true for want of size


def test_bound_of_the_jacobian_is_reached_by_two_levers():
    tree = build(equal_levers.problem(2), 1)
    points, _ = stationary(tree, 0.8, count=1, seed=0)
    assert np.abs(_eigenvalues(tree, points, 0.8)).max() == pytest.approx(0.5 / 0.8, abs=1e-9)
    assert jacobian_bound(tree, 0.8) == pytest.approx(0.5 / 0.8, abs=1e-12)


@pytest.mark.slow
def test_bound_of_the_jacobian_where_the_entropies_to_come_differ():
    tree = build(_counts_game(2), 2)
    points, residual = stationary(tree, 1.0, count=4, seed=0)
    assert residual.max() < 1e-9
    assert np.abs(_eigenvalues(tree, points, 1.0)).max() == pytest.approx(math.log(2), abs=1e-9)  # reaches the bound


@pytest.mark.slow
def test_bound_of_the_jacobian_where_legal_actions_differ(random_dec_pomdp):
    # Small rewards: nearly all there is to coordinate on is how many actions will be legal.
    problem = random_dec_pomdp(0, num_states=2, num_actions=(3, 3), initial=True, restricted=True)
    tree = build(problem.replace(reward=1e-3 * problem.reward), 2)
    points, residual = stationary(tree, 0.3, count=4, seed=0)
    assert residual.max() < 1e-9
    bound = jacobian_bound(tree, 0.3)
    assert 0.8 * bound < np.abs(_eigenvalues(tree, points, 0.3)).max() <= bound


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["A", "B", "C", "D"])
def test_bound_of_the_jacobian_of_a_signal_and_a_reply(variant):
    tree = build(tiny_hanabi.problem(variant), 2)
    alpha = alpha_certified(tree).alpha
    points, residual = stationary(tree, alpha, count=4, seed=0)
    assert residual.max() < 1e-9
    assert 0.6 < np.abs(_eigenvalues(tree, points, alpha)).max() <= 1 + 1e-9


@pytest.mark.parametrize("kind", ["types", "three agents"])
def test_one_stage_is_a_contraction(kind, random_dec_pomdp):
    # Norm: the root of Σ_i Σ_s p_i(s) TV_i(s)², s being the types.
    horizon, arguments = KINDS[kind]
    for seed in range(20):
        tree = build(random_dec_pomdp(seed, **arguments), horizon)
        alpha = 1.001 * alpha_certified(tree).alpha
        before = starts_of(tree, 16, seed)
        after, reach = _step(tree, before, alpha)
        distances = [
            np.sqrt(sum((p[0] * _variation(own) ** 2).sum(-1) for p, own in zip(reach, policies, strict=True)))
            for policies in (before, after)
        ]
        assert (distances[1] <= distances[0] * jacobian_bound(tree, alpha) + 1e-12).all()


def _arguments(text):
    """The arguments of a call, all of them literals."""
    call = ast.parse(f"f({text})", mode="eval").body
    named = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    return [ast.literal_eval(value) for value in call.args], named


def _types_game(chance, worth):
    """Two levers for each of two agents; equal levers pay `worth[s1, s2]`, different ones the opposite."""
    types = ("t0", "t1")
    return from_functions(
        agents=("first", "second"),
        states=[f"{a}{b}" for a in types for b in types],
        actions=(("left", "right"),) * 2,
        observations=(types, types),
        discount=1.0,
        start=chance.ravel().tolist(),
        transition=lambda state, actions: {state: 1.0},
        observation=lambda actions, state: {(0, 0): 1.0},
        reward=lambda state, actions: worth.ravel()[state] * (1.0 if actions[0] == actions[1] else -1.0),
        initial_observation=lambda state: {divmod(state, 2): 1.0},
    )


def _counts_game(m) -> DecPOMDP:
    """Two actions each; after a match everybody has `m` actions, after a mismatch one. Nothing pays."""
    seen = ("start", "match", "mismatch")
    legal = np.zeros((3, m), np.bool_)
    legal[0, :2] = legal[1] = legal[2, 0] = True
    return from_functions(
        agents=("first", "second"),
        states=seen,
        actions=(tuple(f"a{action}" for action in range(m)),) * 2,
        observations=(seen, seen),
        discount=1.0,
        start=(1.0, 0.0, 0.0),
        transition=lambda state, actions: {1 if actions[0] == actions[1] else 2: 1.0},
        observation=lambda actions, state: {(state, state): 1.0},
        reward=lambda state, actions: 0.0,
        initial_observation=lambda state: {(state, state): 1.0},
        legal=(legal, legal),
    )


@jax.jit
def _steps(table, log_probs, alpha):
    return jax.vmap(lambda one: iterate(table, one, alpha))(log_probs)


@jax.jit
def _jacobians(table, log_probs, alpha):
    """float64[B, L, L] over all legal (history, action) pairs of all agents, the illegal ones left as zeros."""

    def one(point):
        masks = objective.legal_masks(table)
        logits = tuple(jnp.where(legal, own, 0.0) for own, legal in zip(point, masks, strict=True))

        def flat_map(flat):
            sizes = np.cumsum([own.size for own in logits])[:-1]
            parts = [p.reshape(own.shape) for p, own in zip(jnp.split(flat, sizes), logits, strict=True)]
            following, _ = iterate(table, objective.log_policy(table, tuple(parts)), alpha)
            return jnp.concatenate(
                [jnp.where(legal, own, 0.0).ravel() for own, legal in zip(following, masks, strict=True)]
            )

        return jax.jacfwd(flat_map)(jnp.concatenate([own.ravel() for own in logits]))

    return jax.vmap(one)(log_probs)


def _eigenvalues(tree, points, alpha):
    with jax.enable_x64(True):
        return np.linalg.eigvals(np.asarray(_jacobians(objective.tables(tree), points, jnp.asarray(alpha))))


def _step(tree, log_probs, alpha):
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, _steps(objective.tables(tree), log_probs, jnp.asarray(alpha)))


def _variation(log_probs):
    """float64[B - 1, H]: total variation between neighbours in the batch."""
    return np.abs(np.diff(np.exp(log_probs), axis=0)).sum(-1) / 2
