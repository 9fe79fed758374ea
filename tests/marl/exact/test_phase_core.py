"""Phase diagrams: known answers of small games, and what the rows say recomputed from the starts."""

import functools

import numpy as np
import pytest

from games.errors import TacitError
from games.tabular import histories
from games.tabular.library import dectiger, equal_levers, lever, tiny_hanabi, two_stage_lever
from games.tabular.symmetry import automorphisms, equivariance_defect
from marl.exact import crossplay
from marl.exact.gradient_flow import solve
from marl.exact.phase import SAME_POINT, distinct, phase_diagram, reach_probabilities
from marl.exact.starts import concatenate, normal_starts, pure_starts


def group_of(problem):
    pytest.importorskip("igraph", reason="install the dev extra")
    return automorphisms(problem, swap_agents=True)


# ---------------------------------------------------------------------------------------------------------- ten levers

LEVER = (0.05, 0.15, 0.18, 0.2, 0.25, 0.5)


@functools.cache
def ten_levers():
    problem = lever.problem()
    tree = histories.build(problem, 1)
    pure = pure_starts(tree, 100, seed=0)  # of all policies take those who pull the same lever
    agree = pure[0][:, 0].argmax(1) == pure[1][:, 0].argmax(1)
    starts = concatenate(tuple(own[agree] for own in pure), normal_starts(tree, 6, 1.0, seed=1))
    return phase_diagram(tree, LEVER, starts, group=group_of(problem))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("alpha", "conventions", "worse", "uniform"),
    [(0.05, 9, 1, 0), (0.15, 9, 1, 1), (0.18, 9, 1, 1), (0.2, 9, 0, 1), (0.25, 0, 0, 1), (0.5, 0, 0, 1)],
)
def test_solutions_of_ten_levers(alpha, conventions, worse, uniform):
    """Near-uniform is stable above .10335, the 0.9 lever a solution below .19645, the others below .21941."""
    diagram = ten_levers()
    solutions = diagram.solutions[LEVER.index(alpha)]
    greedy = np.sort(solutions.greedy)
    np.testing.assert_allclose(greedy, [1 / 9] * uniform + [0.9] * worse + [1.0] * conventions, atol=1e-12)
    row = diagram.rows[LEVER.index(alpha)]
    assert (row.solutions, row.starts, row.converged) == (len(greedy), 16, 16)
    assert row.residual <= 1e-8
    np.testing.assert_allclose(row.defect, 0 if conventions == 0 else 1, atol=1e-12 if conventions == 0 else 0.3)
    conventions_of = [int(own.argmax()) for own in np.exp(solutions.log_probs[0][solutions.greedy > 0.8, 0])]
    assert sorted(conventions_of) == list(range(conventions + worse))
    others = np.flatnonzero(solutions.greedy > 0.8)
    clash = solutions.greedy_cells[np.ix_(others, others)]
    np.testing.assert_allclose(clash, np.diag(solutions.greedy[others]), atol=1e-12)


@pytest.mark.slow
def test_high_entropy_never_finds_the_best_lever_that_can_be_found():
    for row in ten_levers().rows[-2:]:
        assert row.greedy_self_play == pytest.approx(1 / 9, abs=1e-12)
        assert row.greedy_cross_play == pytest.approx(1 / 9, abs=1e-12)
        assert row.soft_self_play == pytest.approx(row.soft_cross_play, abs=1e-12)
        assert row.soft_self_play == pytest.approx(0.099, abs=2e-4)
    low = ten_levers().rows[0]
    assert low.greedy_self_play > 0.98
    assert low.greedy_cross_play < 0.15


@pytest.mark.slow
def test_unique_of_ten_levers():
    several, one = ten_levers().unique
    assert several < one < several + 1e-4
    assert several == pytest.approx(0.21941, abs=1e-4)


# -------------------------------------------------------------------------------------------------------- other levers


@pytest.mark.slow
@pytest.mark.parametrize(("n", "fold"), [(3, 0.364213), pytest.param(4, 0.310680, marks=pytest.mark.proof)])
def test_fold_of_equal_levers(n, fold):
    """α(p) = (np - 1) / ((n - 1) log(p (n - 1) / (1 - p))), its maximum over p, is the fold."""
    p = np.linspace(1 / n + 1e-3, 1 - 1e-3, 100_000)
    assert ((n * p - 1) / ((n - 1) * np.log(p * (n - 1) / (1 - p)))).max() == pytest.approx(fold, abs=1e-6)
    tree = histories.build(equal_levers.problem(n), 1)
    diagram = phase_diagram(tree, [0.3, 0.36, 0.4], pure_starts(tree, 16, seed=0))
    several, one = diagram.unique
    assert several < one < several * 1.001
    assert several == pytest.approx(fold, abs=1e-6)  # its branch is followed up to the fold
    assert [len(solutions.starts) > 1 for solutions in diagram.solutions] == [True, n == 3, False]


def test_hysteresis_of_three_levers():
    """Between alpha_stable 1/3 and the fold .364213 a start stays where it came from; it jumps at either end."""
    tree = histories.build(equal_levers.problem(3), 1)
    path = [0.31, 0.34, 0.36, 0.37]  # below, inside twice, above

    def follow(alphas, logits):
        most = []
        for alpha in alphas:
            ended = solve(tree, logits, np.array([alpha]))
            assert ended.converged.all()
            most.append(float(np.exp(ended.log_probs[0]).max()))
            logits = tuple(own + 1e-4 * np.arange(3) for own in ended.log_probs)  # what noise does
        return most

    upwards = follow(path, (np.array([[[3.0, 0, 0]]]),) * 2)
    downwards = follow(path[::-1], (np.array([[[0.1, 0, 0]]]),) * 2)[::-1]
    assert [upwards[3], downwards[3]] == pytest.approx([1 / 3] * 2, abs=1e-6)
    assert upwards[1] > upwards[2] > 0.6  # the convention that it came with, until it breaks off
    assert downwards[1:3] == pytest.approx([1 / 3] * 2, abs=1e-6)  # uniform, until it loses its stability
    assert downwards[0] == pytest.approx(upwards[0], abs=1e-6) and upwards[0] > 0.8


def test_match_and_mismatch_scale_the_fold():
    tree = histories.build(equal_levers.problem(3, match=5.0, mismatch=1.0), 1)
    diagram = phase_diagram(tree, [1.3, 1.6], pure_starts(tree, 9, seed=0))
    assert diagram.unique[0] == pytest.approx(4 * 0.364213, abs=4e-4)


@pytest.mark.slow
def test_two_stage_lever():
    tree = histories.build(two_stage_lever.problem(), 2)
    starts = concatenate(pure_starts(tree, 6, seed=0), normal_starts(tree, 2, 1.0, seed=0))
    diagram = phase_diagram(tree, [1.05, 0.9], starts, group=group_of(tree.problem), refine=False)
    low, high = diagram.rows
    assert (low.alpha, high.alpha) == (0.9, 1.05) == diagram.unique
    assert low.solutions > 1 and high.solutions == 1
    assert (low.converged, high.converged) == (8, 8)
    assert low.greedy_self_play == pytest.approx(2, abs=1e-9)
    assert low.greedy_cross_play < 0.5
    for value in (high.soft_self_play, high.soft_cross_play, high.greedy_self_play, high.greedy_cross_play):
        assert value == pytest.approx(0, abs=1e-9)
    assert high.defect < 1e-9 < 0.1 < low.defect
    for own in diagram.solutions[1].log_probs:
        np.testing.assert_allclose(np.exp(own[0]), 0.5, atol=1e-8)


@pytest.mark.slow
def test_three_players_clash_in_every_mixed_seating():
    tree = histories.build(equal_levers.problem(2, players=3), 1)
    starts = pure_starts(tree, 8, seed=0)
    diagram = phase_diagram(tree, [0.1, 2.0], starts, group=group_of(tree.problem), refine=False)
    low, high = diagram.rows
    solutions = diagram.solutions[0]
    assert low.solutions == 2
    np.testing.assert_allclose(solutions.greedy, [1, 1], atol=1e-9)
    assert solutions.cells.tolist()[:2] == [[0, 0, 0], [1, 1, 1]]
    assert len(solutions.cells) == 2 + 6
    np.testing.assert_allclose(solutions.greedy_cells, [1, 1] + [0] * 6, atol=1e-9)
    assert low.greedy_cross_play == pytest.approx(0, abs=1e-9)
    assert (high.solutions, diagram.solutions[1].cells) == (1, None)
    assert high.greedy_cross_play == high.greedy_self_play == pytest.approx(0.25, abs=1e-9)
    assert high.defect < 1e-9


@pytest.mark.slow
def test_three_players_mix_the_solutions_that_starts_reached():
    """Of three solutions two came from starts, so that no seating of three different ones did."""
    tree = histories.build(equal_levers.problem(3, players=3), 1)
    conventions = np.log(np.full((3, 1, 3), 0.01) + 0.97 * np.eye(3)[:, None])
    found = distinct(tree, solve(tree, (conventions,) * 3, np.full(3, 0.1)), 2, None)
    assert found.starts.tolist() == [1, 1, 0]
    mixed = [seats for seats in found.cells.tolist() if set(seats) == {0, 1}]
    assert len(mixed) == 6


# --------------------------------------------------------------------------------------------------------- tiny Hanabi


TINY_HANABI = {
    # game: where uniqueness sets in, {alpha: greedy values of the solutions there}
    "A": (0.37682, {0.05: {2.25}, 0.36: {2.25}, 0.39: {2.25}}),
    "B": (0.30020, {0.05: {0.75, 1.0}, 0.28: {0.75, 1.0}, 0.32: {1.0}}),
    "C": (0.82305, {0.78: {2.25, 2.5}, 0.87: {2.0}, 2.0: {2.0}}),
    "D": (0.05210, {0.05: {2.25, 2.5}, 0.055: {2.5}, 0.6: {2.5}, 0.62: {2.25}}),
    "E": (2.96553, {2.8: {9, 10}, 3.1: {10}, 4.22: {10}, 4.25: {9}, 4.48: {9}, 4.5: {8}}),
    "F": (
        0.21820,
        {0.2: {7 / 3, 19 / 9}, 0.23: {7 / 3}, 0.98: {7 / 3}, 1.0: {19 / 9}, 1.14: {19 / 9}, 1.16: {17 / 9}},
    ),
}


@pytest.mark.parametrize(
    ("variant", "count", "seed", "refine"),
    [
        pytest.param("A", 5, 0, False, marks=pytest.mark.slow),
        pytest.param("B", 5, 1, True, marks=pytest.mark.slow),
        *(pytest.param(variant, 16, 0, True, marks=pytest.mark.proof) for variant in TINY_HANABI),
    ],
)
def test_tiny_hanabi(variant, count, seed, refine):
    tree = histories.build(tiny_hanabi.problem(variant), 2)
    unique, greedy = TINY_HANABI[variant]
    diagram = phase_diagram(tree, list(greedy), pure_starts(tree, count, seed=seed), refine=refine)
    several, one = diagram.unique
    if refine:
        assert several < one < several * 1.001
        assert several == pytest.approx(unique, rel=2e-3)
    else:
        assert (several, one) == (max(a for a in greedy if a < unique), min(a for a in greedy if a > unique))
    for row, solutions in zip(diagram.rows, diagram.solutions, strict=True):
        assert row.starts == count and row.converged >= (14 if count == 16 and row.alpha < unique else count)
        assert (row.solutions > 1) == (row.alpha < unique)
        assert set(np.round(solutions.greedy, 6)) == {round(value, 6) for value in greedy[row.alpha]}
    if variant == "A":  # two solutions that score the same and go together
        np.testing.assert_allclose(diagram.solutions[0].greedy_cells, np.full((2, 2), 2.25), atol=1e-9)
    if variant == "B":  # two conventions that clash
        order = np.argsort(-diagram.solutions[0].greedy)
        cells = diagram.solutions[0].greedy_cells[np.ix_(order, order)]
        np.testing.assert_allclose(cells, [[1, 0.25], [0, 0.75]], atol=1e-9)


# ----------------------------------------------------------------------------------------------------------- dec-tiger


@pytest.mark.proof
def test_dec_tiger_at_horizon_3():
    """A window of α in which all starts greedify to the optimum; below it cross-play collapses, above it -6."""
    problem = dectiger.problem()
    tree, group = histories.build(problem, 3), group_of(problem)
    starts = concatenate(pure_starts(tree, 12, seed=0), normal_starts(tree, 4, 1.0, seed=1))
    diagram = phase_diagram(tree, [3, 12, 15, 19.5, 20], starts, group=group, refine=False)
    assert diagram.unique == (3.0, 12.0)
    below, *window, above = diagram.rows
    for row, solutions in zip(diagram.rows[1:], diagram.solutions[1:], strict=True):
        expected = -6 if row is above else 5.1908125
        assert (row.solutions, row.converged, row.starts) == (1, 16, 16)
        assert row.greedy_self_play == pytest.approx(expected, abs=1e-9)
        assert row.greedy_cross_play == pytest.approx(expected, abs=1e-9)
        assert row.defect < 1e-9
        policies = tuple(map(np.exp, solutions.log_probs))
        assert equivariance_defect(group, tree, policies).unweighted.max() < 1e-7
    assert len(window) == 3
    assert (below.converged, below.starts) == (16, 16)
    assert below.solutions > 2
    assert below.greedy_cross_play < below.greedy_self_play - 30
    assert below.defect > 0.9


# ------------------------------------------------------------------------------------------------------- what rows say


@pytest.mark.slow
def test_rows_recomputed_from_the_starts():
    """Returns are means over starts and over ordered pairs of different ones, not over solutions."""
    problem = tiny_hanabi.problem("B")
    tree, alpha = histories.build(problem, 2), 0.1
    starts = normal_starts(tree, 10, 1.0, seed=3)
    diagram = phase_diagram(tree, [alpha], starts, group=group_of(problem))
    (row,), (solutions,) = diagram.rows, diagram.solutions
    ended = solve(tree, starts, np.full(10, alpha))
    assert sorted(solutions.starts.tolist(), reverse=True) == solutions.starts.tolist()
    assert 2 == row.solutions == len(solutions.starts) and solutions.starts.sum() == 10
    different = ~np.eye(10, dtype=bool)
    for log_probs, own, others in (
        (ended.log_probs, row.soft_self_play, row.soft_cross_play),
        (crossplay.greedy(ended.log_probs), row.greedy_self_play, row.greedy_cross_play),
    ):
        matrix = crossplay.cross_play(tree, log_probs)
        assert own == pytest.approx(np.diag(matrix).mean(), abs=1e-9)
        assert others == pytest.approx(matrix[different].mean(), abs=1e-9)
    assert diagram.unique == (pytest.approx(0.30020, abs=1e-5), None)  # followed upwards, beyond what was asked for
    assert row.residual == solutions.residual.max()


@pytest.mark.slow
def test_solutions_are_followed_upwards():
    """At .36 no start finds the second solution of game A any more; it is followed from below, and counts as none."""
    tree = histories.build(tiny_hanabi.problem("A"), 2)
    starts = normal_starts(tree, 4, 1.0, seed=1)
    followed = phase_diagram(tree, [0.05, 0.36], starts)
    assert [solutions.starts.tolist() for solutions in followed.solutions] == [[3, 1], [4, 0]]
    assert followed.rows[1].soft_self_play == pytest.approx(followed.solutions[1].soft[0], abs=1e-12)
    assert followed.unique == (pytest.approx(0.37682, abs=1e-5), None)
    alone = phase_diagram(tree, [0.36], starts)
    assert [solutions.starts.tolist() for solutions in alone.solutions] == [[4]]
    assert alone.unique == (None, 0.36)


def test_points_that_are_one_solution():
    tree = histories.build(lever.problem((1.0, 0.9, 0.5)), 1)
    diagram = phase_diagram(tree, [0.05], pure_starts(tree, 9, seed=0))
    probs = np.exp(diagram.solutions[0].log_probs[0])
    distances = 0.5 * np.abs(probs[:, None] - probs[None]).sum(-1).max(-1)
    assert (distances[~np.eye(len(probs), dtype=bool)] > SAME_POINT).all()


def test_points_that_did_not_converge_are_never_counted():
    tree = histories.build(tiny_hanabi.problem("A"), 2)
    diagram = phase_diagram(tree, [0.2, 0.05], normal_starts(tree, 3, 4.0, seed=0), max_steps=1)
    for row, solutions in zip(diagram.rows, diagram.solutions, strict=True):
        assert (row.starts, row.converged, row.solutions) == (3, 0, 0)
        assert row.soft_self_play is row.soft_cross_play is row.greedy_self_play is row.greedy_cross_play is None
        assert row.defect is row.residual is row.time is None
        assert len(solutions.soft) == 0
    assert diagram.unique == (None, None)


def test_rows_come_in_ascending_order_and_once_each():
    tree = histories.build(tiny_hanabi.problem("A"), 2)
    told = []
    diagram = phase_diagram(
        tree, [2.0, 1.0, 2], normal_starts(tree, 2, 1.0, seed=0), report=lambda *progress: told.append(progress)
    )
    assert [row.alpha for row in diagram.rows] == [1.0, 2.0]
    assert diagram.unique == (None, 1.0)
    assert ("starts", 4, 4) in told and told[-1] == ("following", 2, 2)


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
def test_alpha_is_a_positive_number(alpha):
    tree = histories.build(lever.problem(), 1)
    with pytest.raises(TacitError, match=f"^alpha must be a number above 0, not {alpha}$"):
        phase_diagram(tree, [0.5, alpha], pure_starts(tree, 2, seed=0))


def test_reach_probabilities_by_enumeration(random_dec_pomdp, enumeration, random_policy):
    tree = histories.build(random_dec_pomdp(5, initial=True, restricted=True, discount=0.5), 2)
    policies = [random_policy(tree, seed, zeros=True) for seed in range(2)]
    with np.errstate(divide="ignore"):
        log_probs = tuple(np.log(np.stack(own)) for own in zip(*policies, strict=True))
    for row, policy in enumerate(policies):
        plain = enumeration(tree, policy, 0.0)
        for agent, reach in enumerate(reach_probabilities(tree, log_probs)):
            np.testing.assert_allclose(reach[row], plain.action_values(agent)[2], rtol=1e-12, atol=1e-16)
