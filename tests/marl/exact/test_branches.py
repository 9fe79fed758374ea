"""Branches of stationary points: thresholds and folds known in closed form, eigenvalues against the Hessian itself."""

import jax
import numpy as np
import pytest
from scipy.linalg import eigh
from scipy.optimize import brentq, minimize_scalar

from games.errors import TacitError
from games.tabular import histories, symmetry
from games.tabular.dec_pomdp import matrix_game
from games.tabular.library import dectiger, equal_levers, lever, two_stage_lever
from marl.exact import branch_equations, branches, gradient_flow
from marl.exact.objective import gradient, log_policy, sweep, tables
from marl.exact.starts import normal_starts


def with_orbits(problem, horizon):
    tree = histories.build(problem, horizon)
    return tree, symmetry.orbits(symmetry.automorphisms(problem, swap_agents=True), tree)


def one_against_rest(levers):
    """Two agents, lever 0 alone and all others alike: the orbits of a one-dimensional problem."""
    return (np.minimum(np.arange(levers), 1)[None],) * 2


def lever_alpha(p, levers, special):
    """α at which pulling lever 0, which pays `special` where the others pay 1, with probability p is stationary."""
    other = (1 - p) / (levers - 1)
    return (special * p - other) / np.log(p / other)


def lever_start(p, levers):
    policy = np.full((1, levers), (1 - p) / (levers - 1))
    policy[0, 0] = p
    return (np.log(policy),) * 2


# alpha_stable


@pytest.mark.slow
@pytest.mark.parametrize(
    ("levers", "match", "mismatch"),
    [(2, 1.0, 0.0), (2, -1.0, 1.0), (3, 2.5, 1.0), (4, 0.0, 7.0), (5, 1.0, 0.0), (10, 1.0, 0.0)],
)
def test_uniform_play_of_equal_levers_is_stable_down_to_the_difference_over_n(levers, match, mismatch):
    tree = histories.build(equal_levers.problem(levers, match, mismatch), 1)
    found = branches.alpha_stable(tree, alpha_min=0.05)
    assert found == pytest.approx(abs(match - mismatch) / levers, rel=1e-8)


@pytest.mark.slow
def test_the_sign_of_the_eigenvalue_counts_and_not_the_spectral_radius():
    pairs = [(0, 1), (0, 2), (1, 2)]
    payoffs = np.zeros((2, 2, 2))
    for actions in np.ndindex(2, 2, 2):
        payoffs[actions] = -sum(actions[i] == actions[j] for i, j in pairs)
    tree = histories.build(matrix_game(payoffs, ["a", "b", "c"], [["x", "y"]] * 3), 1)
    # The eigenvalues at the uniform policy are -1/α once and 1/(2α) twice.
    assert branches.largest_eigenvalue(tree, tuple(map(np.log, tree.uniform())), 0.8) == pytest.approx(0.625, rel=1e-12)
    assert branches.alpha_stable(tree, alpha_min=0.05) == pytest.approx(0.5, rel=1e-10)


@pytest.mark.slow
def test_ten_levers_near_uniform_branch():
    tree, orbits = with_orbits(lever.problem(), 1)
    branch = branches.principal_branch(tree, orbits, alpha_min=0.02)
    # The nine equal levers, each pulled with q, part at α = q; the tenth is pulled with x q, -log x = 1 - 0.9 x.
    ratio = brentq(lambda x: -np.log(x) - 1 + 0.9 * x, 0.1, 0.9, xtol=1e-15)
    assert branch.alpha_stable == pytest.approx(1 / (9 + ratio), rel=1e-10)
    assert branch.alpha_stable == pytest.approx(0.10335, abs=5e-6)
    assert branch.bifurcations.tolist() == [branch.alpha_stable]
    assert branch.folds.size == 0
    assert branches.alpha_stable(tree, orbits, alpha_min=0.02) == branch.alpha_stable
    assert branches.alpha_stable(tree, orbits, alpha_min=0.2) is None
    np.testing.assert_array_equal(branch.eigenvalue < 1, branch.alpha > branch.alpha_stable)
    # Beyond its loss of stability the branch still treats the nine alike.
    nine = np.exp(branch.log_probs[0][-1, 0, :9])
    assert np.ptp(nine) < 1e-15
    assert branch.residual.max() <= 1e-12


@pytest.mark.slow
def test_the_two_stage_lever_loses_stability_at_one():
    tree, orbits = with_orbits(two_stage_lever.problem(), 2)
    assert branches.alpha_stable(tree, orbits, alpha_min=0.5) == pytest.approx(1.0, rel=1e-10)


# Folds


@pytest.mark.slow
@pytest.mark.parametrize(("levers", "special", "known"), [(3, 1.0, 0.364213), (10, 1.0, 0.219309), (10, 0.9, 0.19645)])
def test_the_fold_of_the_branch_of_one_lever(levers, special, known):
    tree = histories.build(lever.problem([special] + [1.0] * (levers - 1)), 1)
    p = brentq(lambda p: lever_alpha(p, levers, special) - 0.15, 0.9, 1 - 1e-9)
    branch = branches.follow_branch(
        tree, lever_start(p, levers), 0.15, one_against_rest(levers), direction="up", alpha_min=0.097, alpha_max=1.0
    )
    top = minimize_scalar(
        lambda p: -lever_alpha(p, levers, special), bounds=(0.5, 0.95), method="bounded", options={"xatol": 1e-9}
    )
    assert branch.folds.tolist() == [pytest.approx(-top.fun, rel=1e-10)]
    assert branch.folds[0] == pytest.approx(known, abs=1e-5 if special == 0.9 else 1e-6)
    assert branch.ended == "alpha_min"
    # Every point obeys the closed form, on both sides of the fold, where p no longer determines one α alone.
    followed = np.exp(branch.log_probs[0][:, 0, 0])
    away = np.abs(followed - 1 / levers) > 1e-3
    np.testing.assert_allclose(branch.alpha[away], lever_alpha(followed[away], levers, special), rtol=1e-11)
    assert (np.diff(followed) < 0).all()
    turn = int(np.argmax(branch.alpha))
    assert branch.eigenvalue[turn] == pytest.approx(1, abs=1e-6)
    assert branch.alpha_stable == branch.folds[0]
    if special == 1:
        # It meets the uniform branch where that one loses stability, and goes through it.
        assert branch.bifurcations.tolist() == [pytest.approx(1 / levers, rel=1e-6)]
        assert followed[-1] < 1 / levers


def test_a_principal_branch_that_folds_twice():
    tree, orbits = with_orbits(lever.problem([1.01, 1.0, 1.0]), 1)
    branch = branches.principal_branch(tree, orbits, alpha_min=0.1)

    def extremum(sign, low, high):
        found = minimize_scalar(
            lambda p: sign * lever_alpha(p, 3, 1.01), bounds=(low, high), method="bounded", options={"xatol": 1e-9}
        )
        return lever_alpha(found.x, 3, 1.01)

    lower, upper = extremum(1, 0.34, 0.55), extremum(-1, 0.55, 0.95)
    assert branch.folds.tolist() == [pytest.approx(lower, rel=1e-9), pytest.approx(upper, rel=1e-9)]
    assert lower < upper
    assert branch.alpha_stable == branch.folds[0]
    assert branch.bifurcations.size == 0
    first, second = np.flatnonzero(np.isin(branch.alpha, branch.folds))
    assert (branch.eigenvalue[:first] < 1).all()
    assert (branch.eigenvalue[first + 1 : second] > 1).all()
    assert (branch.eigenvalue[second + 1 :] < 1).all()
    assert branch.ended == "alpha_min"


# Eigenvalues


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [{"horizon": 2}, {"horizon": 1, "num_agents": 3, "num_observations": (3,), "restricted": True}]
)
def test_the_largest_eigenvalue_is_that_of_the_hessian_relative_to_the_entropies(random_dec_pomdp, settings):
    settings = dict(settings)
    horizon = settings.pop("horizon")
    tree = histories.build(random_dec_pomdp(5, discount=0.9, initial=True, **settings), horizon)
    branch = branches.principal_branch(tree, alpha_min=0.4)
    alpha, log_probs = branch.alpha[-1], tuple(own[-1] for own in branch.log_probs)
    hessian, entropies = hessian_of_objective(tree, log_probs, alpha)
    # Hessian = D + C with D < 0: the eigenvalues of -D⁻¹C.
    oracle = eigh(hessian - entropies, -entropies, eigvals_only=True)[-1]
    assert oracle > 0.05
    assert branch.eigenvalue[-1] == pytest.approx(oracle, rel=1e-6)
    assert branches.largest_eigenvalue(tree, log_probs, alpha) == pytest.approx(oracle, rel=1e-6)
    assert branch.residual.max() <= 1e-9


def hessian_of_objective(tree, log_probs, alpha, step=1e-5):
    """Of J_α by the logits of all but each history's first legal action, and the part that the entropies give.

    The Hessian by central differences of the exact gradient.
    """
    free = []
    for own in tree.agents:
        mask = own.legal.copy()
        mask[np.arange(len(mask)), mask.argmax(1)] = False
        free.append(np.nonzero(mask))
    sizes = [len(rows) for rows, _ in free]
    base = [np.where(own.legal, log, 0.0) for own, log in zip(tree.agents, log_probs, strict=True)]
    with jax.enable_x64(True):
        table = tables(tree)

        @jax.jit
        def slope(logits):
            moved = log_policy(table, logits)
            swept = sweep(table, moved, alpha)
            return gradient(table, moved, swept), swept.reach

        def slope_at(change):
            parts = np.split(change, np.cumsum(sizes)[:-1])
            logits = [own.copy() for own in base]
            for own, where, part in zip(logits, free, parts, strict=True):
                own[where] += part
            slopes = slope(tuple(logits))[0]
            return np.concatenate([np.asarray(own)[where] for own, where in zip(slopes, free, strict=True)])

        steps = step * np.eye(sum(sizes))
        hessian = np.stack([(slope_at(row) - slope_at(-row)) / (2 * step) for row in steps])
        reach = [np.asarray(own) for own in slope(tuple(base))[1]]
    hessian = (hessian + hessian.T) / 2
    entropies, row = np.zeros_like(hessian), 0
    for agent, (own, log, (rows, columns)) in enumerate(zip(tree.agents, log_probs, free, strict=True)):
        for t in range(tree.horizon):
            for history in range(own.stage(t).start, own.stage(t).stop):
                mine = columns[rows == history]
                probs = np.exp(log[history, mine])
                weight = alpha * tree.problem.discount**t * reach[agent][history]
                block = slice(row, row + len(mine))
                entropies[block, block] = -weight * (np.diag(probs) - np.outer(probs, probs))
                row += len(mine)
    return hessian, entropies


@pytest.mark.slow
def test_arnoldi_iteration_finds_the_same_eigenvalue(monkeypatch):
    tree = histories.build(dectiger.problem(), 2)
    log_probs = tuple(map(np.log, tree.uniform()))
    dense = branches.largest_eigenvalue(tree, log_probs, 40.0)
    monkeypatch.setattr(branch_equations, "MOST_DENSE", 0)
    assert branches.largest_eigenvalue(tree, log_probs, 40.0) == pytest.approx(dense, rel=1e-10)
    assert dense > 0.1


# Dec-tiger


@pytest.mark.slow
def test_dectiger_orbits_change_nothing_but_the_size():
    tree, orbits = with_orbits(dectiger.problem(), 2)
    tied = branches.principal_branch(tree, orbits, alpha_min=1.0)
    free = branches.principal_branch(tree, alpha_min=1.0)
    assert tied.residual.max() <= 1e-9
    assert free.residual.max() <= 1e-9
    assert tied.alpha_stable is None
    assert free.alpha_stable is None
    for one, other in zip(tied.log_probs, free.log_probs, strict=True):
        np.testing.assert_allclose(np.exp(one[-1]), np.exp(other[-1]), rtol=0, atol=1e-12)
    assert tied.log_probs[0].dtype == np.float64


@pytest.mark.slow
@pytest.mark.parametrize(("horizon", "alpha_max"), [(2, 24_200.0), pytest.param(3, 36_300.0, marks=pytest.mark.proof)])
def test_dectiger_is_what_the_flow_finds(horizon, alpha_max):
    tree, orbits = with_orbits(dectiger.problem(), horizon)
    down = branches.principal_branch(tree, orbits, alpha_min=1.0)
    assert down.ended == "alpha_min"
    assert down.residual.max() <= 1e-9
    at_15 = branches.principal_branch(tree, orbits, alpha_min=15.0, alpha_max=alpha_max)
    assert at_15.alpha[-1] == pytest.approx(15.0, rel=1e-12)
    flow = gradient_flow.solve(tree, normal_starts(tree, 4, 1.0, seed=0), np.full(4, 15.0))
    assert flow.converged.all()
    for ours, theirs in zip(at_15.log_probs, flow.log_probs, strict=True):
        np.testing.assert_allclose(np.exp(theirs), np.exp(np.broadcast_to(ours[-1], theirs.shape)), rtol=0, atol=1e-8)


# Limits and refusals


def test_a_game_without_a_choice_is_always_stable():
    tree = histories.build(lever.problem([1.0]), 1)
    branch = branches.principal_branch(tree, alpha_min=0.1)
    assert branch.alpha_stable is None
    assert branch.eigenvalue.max() == 0


def test_it_stops_at_the_number_of_points_and_says_so():
    tree = histories.build(equal_levers.problem(2), 1)
    branch = branches.principal_branch(tree, alpha_min=0.01, max_points=3)
    assert len(branch.alpha) == 3
    assert branch.ended == "max_points"
    with pytest.raises(TacitError, match=r"could not be followed below alpha .* \(ended by max_points\)"):
        branches.alpha_stable(tree, alpha_min=0.01, max_points=3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"alpha_min": 0.0}, "alpha_min must be a number above 0"),
        ({"alpha_min": float("nan")}, "alpha_min must be a number above 0"),
        ({"alpha_min": 2.0, "alpha_max": 1.0}, "alpha_max must be a number above 2"),
        ({"alpha_min": 0.1, "max_points": 1}, "max_points must be a whole number of at least 2"),
        ({"alpha_min": 0.1, "alpha_max": 0.4}, "not stable at alpha_max 0.4"),
        ({"alpha_min": 0.1, "orbits": (np.zeros((1, 2), int),)}, "orbits must number every legal action"),
    ],
)
def test_bad_input_is_refused(arguments, words):
    tree = histories.build(equal_levers.problem(2), 1)
    with pytest.raises(TacitError, match=words):
        branches.principal_branch(tree, **arguments)


def test_orbits_of_no_symmetry_are_refused():
    tree = histories.build(lever.problem([1.0, 0.5]), 1)
    with pytest.raises(TacitError, match="not those of symmetries"):
        branches.principal_branch(tree, (np.zeros((1, 2), int),) * 2, alpha_min=0.1)


def test_a_start_that_is_not_stationary_is_refused():
    tree = histories.build(equal_levers.problem(2), 1)
    policy = (np.log(np.array([[0.3, 0.7]])),) * 2
    with pytest.raises(TacitError, match="not a stationary point"):
        branches.follow_branch(tree, policy, 0.8, direction="up", alpha_min=0.1, alpha_max=1.0)


def test_a_game_with_too_many_unknowns_is_refused(monkeypatch):
    monkeypatch.setattr(branch_equations, "MOST_UNKNOWNS", 10)
    tree = histories.build(dectiger.problem(), 2)
    with pytest.raises(TacitError, match="has 28 unknowns and the limit is 10"):
        branches.principal_branch(tree, alpha_min=1.0)
