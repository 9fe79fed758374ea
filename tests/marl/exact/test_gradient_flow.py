"""The gradient flow, against another integrator, its own certificate recomputed, and relabelled games."""

import functools

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from games.errors import TacitError
from games.tabular import histories, symmetry
from games.tabular.library import dectiger, equal_levers, hint, lever, tiny_hanabi, two_stage_lever
from marl.exact import gradient_flow, objective, phase
from marl.exact.gradient_flow import METHODS, solve
from marl.exact.integrators import Rosenbrock, divide
from marl.exact.starts import concatenate, normal_starts, pure_starts

DEC_TIGER = histories.build(dectiger.problem(), 2)


def largest_distance(first, second):
    """Greatest total variation between the action distributions of two joint policies."""
    return max(
        0.5 * np.abs(np.exp(one) - np.exp(other)).sum(-1).max() for one, other in zip(first, second, strict=True)
    )


# ---------------------------------------------------------------------------------------------------------- integrator


def gradient_field(t, logits, args):
    tables, alpha = args
    log_probs = objective.log_policy(tables, logits)
    return objective.gradient(tables, log_probs, objective.sweep(tables, log_probs, alpha))


@functools.partial(jax.jit, static_argnames=("solver", "controlled"))
def integrated(tables, logits, alpha, end, steps, solver, controlled):
    controller = diffrax.PIDController(rtol=1e-10, atol=1e-12) if controlled else diffrax.ConstantStepSize()
    return diffrax.diffeqsolve(
        diffrax.ODETerm(gradient_field), solver, 0.0, end, end / steps, logits, (tables, alpha),
        stepsize_controller=controller, max_steps=4096, adjoint=diffrax.DirectAdjoint(),
    ).ys  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tree", "alpha", "end", "steps"),
    [
        pytest.param(DEC_TIGER, 15.0, 0.5, 64, id="dectiger", marks=pytest.mark.proof),
        pytest.param(histories.build(tiny_hanabi.problem("A"), 2), 0.5, 4.0, 32, id="tiny_hanabi"),
    ],
)
def test_the_rosenbrock_flow_is_that_of_tsit5_and_of_order_two(tree, alpha, end, steps):
    with jax.enable_x64(True):
        tables = objective.tables(tree)
        start = tuple(jnp.asarray(own[0]) for own in normal_starts(tree, 1, 1.0, seed=0))
        run = functools.partial(integrated, tables, start, jnp.asarray(alpha), jnp.asarray(end))
        expected = flat(run(jnp.asarray(64.0), solver=diffrax.Tsit5(), controlled=True))
        ends = [flat(run(jnp.asarray(steps * 2.0**k), solver=Rosenbrock(), controlled=False)) for k in range(5)]
    moved = np.abs(expected - flat(start)).max()
    errors = [np.abs(one - expected).max() for one in ends]
    assert moved > 0.3
    assert errors[-1] < 2e-4 * moved
    ratios = np.array(errors[:-1]) / errors[1:]
    assert (np.abs(ratios[1:] - 4) < 0.4).all(), ratios


def flat(policies):
    return np.concatenate([np.ravel(own) for own in policies])


def test_the_implicit_part_is_the_inverse_of_its_matrix():
    generator = np.random.default_rng(0)
    probs = generator.dirichlet(np.full(4, 0.3), 5)
    right, factors = generator.normal(size=(5, 4)), np.array([0.0, 1e-3, 1.0, 1e4, 1e12])
    with jax.enable_x64(True):
        found = np.asarray(divide(*map(jnp.asarray, (factors, probs, right))))
    for c, p, r, k in zip(factors[:4], probs, right, found, strict=False):
        np.testing.assert_allclose(k, np.linalg.solve(np.eye(4) + c * (np.diag(p) - np.outer(p, p)), r), rtol=1e-9)
    np.testing.assert_allclose(found[4], right[4].mean(), rtol=1e-6)  # what moves all logits together stays


# ---------------------------------------------------------------------------------------------------------- certificate


@pytest.fixture(scope="module")
def games(random_dec_pomdp):
    """name -> (tree, an alpha at which starts agree)"""
    three = random_dec_pomdp(1, num_agents=3, num_actions=(2,), num_observations=(2, 1), initial=True, restricted=True)
    return {
        "dectiger": (DEC_TIGER, 15.0),
        "tiny_hanabi": (histories.build(tiny_hanabi.problem("A"), 2), 1.0),
        "three": (histories.build(three, 2), 5.0),
    }


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("dectiger", 1),
        ("dectiger", 0.2),
        pytest.param("tiny_hanabi", 0.1, marks=pytest.mark.proof),
        pytest.param("three", 0.1, marks=pytest.mark.slow),
    ],
)
def test_the_certificate_recomputed_by_enumeration(games, enumeration, name, factor):
    tree, alpha = games[name]
    alpha *= factor
    start = concatenate(pure_starts(tree, 3, seed=0), normal_starts(tree, 2, 2.0, seed=0))
    found = solve(tree, start, np.full(5, alpha))
    assert found.converged.all()
    for row in range(5):
        policies = tuple(np.exp(own[row]) for own in found.log_probs)
        plain = enumeration(tree, policies, alpha)
        residuals, reached = [], []
        for agent, own in enumerate(tree.agents):
            np.testing.assert_array_equal(policies[agent] > 0, own.legal)
            q, _, reach = plain.action_values(agent)
            target = np.where(own.legal, np.exp((q - q.max(1, keepdims=True)) / alpha), 0)
            target /= target.sum(1, keepdims=True)
            residuals.append(0.5 * np.abs(policies[agent] - target).sum(1))
            reached.append(reach >= 1e-6)
        residuals, reached = np.concatenate(residuals), np.concatenate(reached)
        assert residuals.max() <= 1e-8
        assert found.residual_all[row] == pytest.approx(residuals.max(), abs=1e-12)
        assert found.residual_reached[row] == pytest.approx(residuals[reached].max(), abs=1e-12)
        assert found.moved[row] < 1e-3


def test_a_start_that_does_not_arrive_says_so(enumeration):
    start = normal_starts(DEC_TIGER, 3, 3.0, seed=1)
    found = solve(DEC_TIGER, start, np.full(3, 5.0), max_steps=1)
    assert not found.converged.any()
    assert (found.residual_reached > 1e-3).all()
    policies = tuple(np.exp(own[0]) for own in found.log_probs)
    q, _, _ = enumeration(DEC_TIGER, policies, 5.0).action_values(0)
    target = np.exp(q / 5.0) / np.exp(q / 5.0).sum(1, keepdims=True)
    assert found.residual_all[0] >= 0.5 * np.abs(policies[0] - target).sum(1).max() - 1e-12
    further = solve(DEC_TIGER, start, np.full(3, 5.0))
    assert further.converged.all()
    assert (further.steps > found.steps).all() and (further.time > found.time).all()


@pytest.mark.slow
def test_a_point_that_is_wrong_only_where_nobody_comes_is_polished():
    tree = histories.build(two_stage_lever.problem(), 2)
    alpha = np.full(1, 0.05)
    at_rest = solve(tree, pure_starts(tree, 1, seed=0), alpha)
    reached = phase.reach_probabilities(tree, at_rest.log_probs)
    assert any(((own > 0) & (own < objective.REACHED)).any() for own in reached)
    rare = (reached[0] < objective.REACHED)[..., None]  # of one agent alone: both would rest at the other lever
    wrong = (np.where(rare, at_rest.log_probs[0][..., ::-1], at_rest.log_probs[0]), at_rest.log_probs[1])
    assert largest_distance(wrong, at_rest.log_probs) > 0.4
    polished = gradient_flow.polish(tree, wrong, alpha)
    assert polished.converged.all() and (polished.moved < 1e-12).all()
    assert (polished.residual_all <= gradient_flow.CONVERGED).all()


def test_a_point_far_from_rest_is_not_polished():
    start = normal_starts(DEC_TIGER, 2, 1.0, seed=0)
    left = gradient_flow.polish(DEC_TIGER, start, np.full(2, 15.0))
    assert not left.converged.any()
    np.testing.assert_allclose(left.moved, 0, atol=1e-15)
    with jax.enable_x64(True):
        before = objective.log_policy(objective.tables(DEC_TIGER), tuple(map(jnp.asarray, start)))
    for one, other in zip(left.log_probs, before, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tree", "most", "wide"),
    [
        (histories.build(equal_levers.problem(3), 1), 0.6, 128),  # a wide program, which ends in a narrow one
        (DEC_TIGER, 20.0, 16),  # lanes are filled again
        pytest.param(DEC_TIGER, 20.0, 128, marks=pytest.mark.proof),
    ],
    ids=["three levers", "dectiger", "dectiger wide"],
)
def test_the_result_of_a_start_does_not_depend_on_its_company(monkeypatch, tree, most, wide):
    monkeypatch.setattr(objective, "_WIDE", wide)
    start = normal_starts(tree, 20, 2.0, seed=4)
    alphas = np.linspace(most / 10, most, 20)
    together = solve(tree, start, alphas)
    alone = solve(tree, tuple(own[17:] for own in start), alphas[17:])
    assert together.converged.all()
    assert largest_distance(together.take(slice(17, None)).log_probs, alone.log_probs) < 1e-12


def test_progress_is_told():
    told = []
    start = normal_starts(DEC_TIGER, 3, 1.0, seed=0)
    solve(DEC_TIGER, start, np.full(3, 15.0), report=lambda done, total: told.append((done, total)))
    assert told[-1] == (3, 3)
    assert told == sorted(told)


# -------------------------------------------------------------------------------------------------------------- methods


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "method"),
    [("tiny_hanabi", method) for method in METHODS if method != "flow"]
    + [pytest.param("dectiger", method, marks=pytest.mark.proof) for method in METHODS if method != "flow"]
    + [pytest.param("three", "natural_gradient", marks=pytest.mark.proof)],
)
def test_every_method_comes_to_the_same_point_at_high_alpha(games, name, method):
    tree, alpha = games[name]
    start = concatenate(pure_starts(tree, 3, seed=1), normal_starts(tree, 3, 1.0, seed=1))
    flow = solve(tree, start, np.full(6, alpha))
    rate = {"adam": 1e-2}.get(method, 1.0 / alpha)
    other = solve(tree, start, np.full(6, alpha), method=method, learning_rate=rate, max_steps=40_000)
    assert flow.converged.all() and other.converged.all()
    assert largest_distance(flow.log_probs, other.log_probs) < 1e-7
    assert largest_distance([own[:1] for own in flow.log_probs], flow.log_probs) < 1e-7


# --------------------------------------------------------------------------------------------------------------- starts


def test_pure_starts_are_all_joint_policies_where_these_are_few():
    tree = histories.build(lever.problem((1.0, 0.9, 0.5)), 1)
    start = pure_starts(tree, 9, seed=0)
    best = [tuple(int(own[row, 0].argmax()) for own in start) for row in range(9)]
    assert sorted(best) == [(a, b) for a in range(3) for b in range(3)]
    assert len(pure_starts(tree, 8, seed=0)[0]) == 8
    assert len(pure_starts(tree, 100, seed=0)[0]) == 9


def test_pure_starts_have_099_on_one_legal_action(random_dec_pomdp):
    tree = histories.build(random_dec_pomdp(3, num_actions=(3, 4), initial=True, restricted=True), 2)
    start = pure_starts(tree, 300, seed=0)
    choices = set()
    for own, logits in zip(tree.agents, start, strict=True):
        assert logits.shape == (300, *own.legal.shape)
        for h, legal in enumerate(own.legal):
            rows, count = logits[:, h, legal], int(legal.sum())
            choices.add(count)
            if count == 1:
                continue
            assert set(rows.argmax(1).tolist()) == set(range(count))
            probs = np.exp(rows) / np.exp(rows).sum(1, keepdims=True)
            assert ((probs.max(1) > 0.98) & (probs.max(1) < 0.995)).all()
            others = (rows.sum(1) - rows.max(1)) / (count - 1)
            assert (rows.max(1) - others).mean() == pytest.approx(np.log(99 * (count - 1)), abs=0.04)
    assert choices >= {1, 2, 3}


def test_normal_starts_have_their_scale():
    start = normal_starts(DEC_TIGER, 500, 3.0, seed=0)
    assert [own.shape for own in start] == [(500, 7, 3)] * 2
    assert flat(start).std() == pytest.approx(3.0, rel=0.02)
    np.testing.assert_array_equal(start[0], normal_starts(DEC_TIGER, 500, 3.0, seed=0)[0])
    assert (start[0] != normal_starts(DEC_TIGER, 500, 3.0, seed=1)[0]).all()
    both = concatenate(start, pure_starts(DEC_TIGER, 2, seed=0))
    assert [len(own) for own in both] == [502, 502]


# ------------------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
def test_alpha_is_a_positive_number(alpha):
    start = normal_starts(DEC_TIGER, 2, 1.0, seed=0)
    with pytest.raises(TacitError, match=f"^alpha must be a number above 0, not {alpha}$"):
        solve(DEC_TIGER, start, np.array([1.0, alpha]))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"method": "newton"},
            "method must be one of flow, flow_explicit, natural_gradient, gradient_ascent, adam, not 'newton'",
        ),
        ({"step_tolerance": 0.0}, "step_tolerance must be a number above 0, not 0.0"),
        ({"step_tolerance": float("nan")}, "step_tolerance must be a number above 0, not nan"),
        ({"learning_rate": -0.1}, "learning_rate must be a number above 0, not -0.1"),
        ({"learning_rate": "fast"}, "learning_rate must be a number above 0, not 'fast'"),
    ],
)
def test_settings_out_of_range(settings, said):
    with pytest.raises(TacitError, match=f"^{said}$"):
        solve(DEC_TIGER, normal_starts(DEC_TIGER, 1, 1.0, seed=0), np.ones(1), **settings)


def test_no_starts_at_all():
    with pytest.raises(TacitError, match=r"^there must be at least one start$"):
        concatenate()


# ----------------------------------------------------------------------------------------------------- relabelled games


@pytest.mark.slow
@settings(max_examples=4)
@given(seed=st.integers(0, 10**6))
def test_a_relabelled_game_gives_relabelled_results(random_dec_pomdp, relabel, seed):
    """At an α at which starts disagree, so that it matters which way each start goes."""
    problem = random_dec_pomdp(seed, num_actions=(2,))
    other = relabel(problem, seed)
    tree, other_tree = histories.build(problem, 2), histories.build(other.problem, 2)
    start = concatenate(pure_starts(tree, 4, seed=seed), normal_starts(tree, 4, 1.0, seed=seed))
    found = solve(tree, start, np.full(8, 0.1))
    moved = solve(other_tree, other.policy(tree, other_tree, start), np.full(8, 0.1))
    both = found.converged & moved.converged
    assert both.sum() >= 7
    expected = other.policy(tree, other_tree, found.log_probs)
    assert largest_distance([own[both] for own in expected], [own[both] for own in moved.log_probs]) < 1e-6


@pytest.mark.parametrize(
    ("tree", "alpha"),
    [
        pytest.param(DEC_TIGER, 2.0, id="dectiger"),
        pytest.param(histories.build(two_stage_lever.problem(), 2), 0.6, id="two_stage_lever", marks=pytest.mark.proof),
        pytest.param(histories.build(hint.problem(2), 2), 0.05, id="hint", marks=pytest.mark.proof),
    ],
)
def test_every_symmetry_takes_solutions_to_solutions(tree, alpha):
    pytest.importorskip("igraph", reason="install the dev extra")
    elements = symmetry.automorphisms(tree.problem, swap_agents=True).elements(10)
    assert len(elements) > 1
    start = normal_starts(tree, 3, 1.5, seed=2)
    every = concatenate(*(symmetry.on_policy(element, tree, start) for element in elements))
    found = solve(tree, every, np.full(3 * len(elements), alpha))
    assert found.converged.all()
    own = found.take(slice(0, 3)).log_probs
    spread = 0.0
    for number, element in enumerate(elements):
        image = symmetry.on_policy(element, tree, own)
        assert largest_distance(image, found.take(slice(3 * number, 3 * number + 3)).log_probs) < 1e-6
        spread = max(spread, largest_distance(image, own))
    assert spread > 0.1  # the solutions themselves are not symmetric
