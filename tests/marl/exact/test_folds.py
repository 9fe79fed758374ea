"""Windows of α between two folds of the branch from α = ∞, narrower than a step of the grid: nobody may miss them."""

import functools
import itertools
from pathlib import Path

import numpy as np
import pytest

from games.tabular import dpomdp_file, histories
from marl.exact import branches
from marl.exact.branches import Branch, principal_branch, upper_folds, windows
from marl.exact.phase import Unique, phase_diagram
from marl.exact.starts import concatenate, normal_starts, pure_starts
from marl.exact.uniqueness import alpha_boxed

SEEDS = (18, 25, 65)
"""Random games of three agents with three actions; their windows are 0.4, 3.9 and 3.1 % wide."""


@pytest.fixture(scope="module")
def game(random_dec_pomdp):
    """game(seed) -> its rewards float64[3, 3, 3], its tree, its branch."""

    @functools.cache
    def make(seed):
        problem = random_dec_pomdp(seed, num_agents=3, num_states=1, num_actions=(3,), num_observations=(1,))
        tree = histories.build(problem, 1)
        span = float(np.ptp(problem.expected_reward))
        branch = principal_branch(tree, alpha_min=0.01 * span)
        return problem.expected_reward.reshape(3, 3, 3), tree, branch

    return make


def fixed_points(reward, alpha):
    """How many distinct points damped soft best responses from all pure starts end in, by numpy alone."""
    found = []
    for choice in itertools.product(range(3), repeat=3):
        policies = [np.full(3, 0.01) + 0.97 * np.eye(3)[action] for action in choice]
        for _ in range(20_000):
            values = [
                np.einsum("abc,b,c->a", reward, policies[1], policies[2]),
                np.einsum("abc,a,c->b", reward, policies[0], policies[2]),
                np.einsum("abc,a,b->c", reward, policies[0], policies[1]),
            ]
            target = [np.exp((q - q.max()) / alpha) / np.exp((q - q.max()) / alpha).sum() for q in values]
            moved = max(np.abs(new - old).max() for new, old in zip(target, policies, strict=True))
            policies = [0.5 * (new + old) for new, old in zip(target, policies, strict=True)]
            if moved < 1e-9:
                break
        point = np.concatenate(policies)
        if not any(np.abs(point - other).max() < 1e-4 for other in found):
            found.append(point)
    return len(found)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_a_window_narrower_than_a_step_is_seen(game, seed):
    reward, tree, branch = game(seed)
    ((low, high),) = windows(branch)
    assert 1 < high / low < 1.04
    assert upper_folds(branch) == [high]
    middle = np.sqrt(low * high)
    assert fixed_points(reward, middle) == 2  # by other means
    assert fixed_points(reward, 1.002 * high) == 1
    grid = [low / 1.05, high * 1.05]  # on both sides
    starts = pure_starts(tree, 27, seed=0)
    diagram = phase_diagram(tree, grid, starts, branch=branch)
    unique = diagram.unique
    assert [row.alpha for row in diagram.rows] == grid
    assert branch.alpha_stable == pytest.approx(low, rel=1e-9)
    assert unique.several_up_to == pytest.approx(high, rel=1e-9)
    assert high < unique.one_from < 1.0001 * high
    assert {alpha for alpha in diagram.beside if low < alpha < high}


@pytest.mark.slow
def test_a_grid_with_several_solutions_below_a_window_says_what_is_above(game):
    """At .2 there are conventions, which starts find; between .5777 and .5802 two points, which the grid passes by."""
    _, tree, branch = game(18)
    starts = pure_starts(tree, 27, seed=0)
    without = phase_diagram(tree, [0.2, 0.7], starts, refine=False).unique
    assert without == (0.2, 0.7)
    told = phase_diagram(tree, [0.2, 0.7], starts, branch=branch, refine=False).unique
    assert told.several_up_to == pytest.approx(0.5801675, abs=1e-6)
    assert told.several_up_to < told.one_from <= told.several_up_to * 1.001 * (1 + 1e-9)


@pytest.mark.slow
def test_conventions_are_followed_through_their_own_fold(game):
    """Without the branch from ∞, from a grid below: the branch of what was found there leads to the same fold."""
    _, tree, branch = game(25)
    ((low, high),) = windows(branch)
    inside = np.sqrt(low * high)
    unique = phase_diagram(tree, [inside, 2 * high], pure_starts(tree, 27, seed=0)).unique
    assert unique.several_up_to == pytest.approx(high, rel=1e-9)
    assert high < unique.one_from < 1.0001 * high


def made(alpha, **changes):
    """A branch of which only the α matter."""
    number = len(alpha)
    return Branch(
        np.array(alpha, float), (np.zeros((number, 1, 1)),), np.zeros(number), np.zeros(number),
        np.zeros(0), np.zeros(0), None, "alpha_min",
    )._replace(**changes)  # fmt: skip


def test_windows_and_summits_of_made_branches():
    assert windows(made([5, 4, 3])) == upper_folds(made([5, 4, 3])) == []
    assert windows(made([5, 3, 2, 3, 4, 1])) == [(2, 4)]
    assert upper_folds(made([5, 3, 2, 3, 4, 1])) == [4]
    # Two that overlap are one; a third is apart.
    turning = made([9, 5, 6, 4, 5.5, 2, 3, 1])
    assert windows(turning) == [(2, 3), (4, 6)]
    assert upper_folds(turning) == [6, 5.5, 3]
    # A branch that begins upwards has passed nothing before its summit, and turns downwards there all the same.
    assert windows(made([2, 3, 4, 1])) == [] and upper_folds(made([2, 3, 4, 1])) == [4]
    assert upper_folds(made([2, 3, 4])) == []


def test_nothing_is_said_below_what_the_branch_shows(game):
    """The statement is bounded by alpha_stable, and by every fold above which there is another sheet."""
    _, tree, branch = game(65)
    top = float(branch.alpha[0]) / 100
    for stable, folds in ((0.8 * top, []), (None, [0.9 * top])):
        alphas = [0.5 * top, top]
        turning = made([2 * top, 0.6 * top, *folds, 0.1 * top])
        shown = turning._replace(
            alpha_stable=stable, log_probs=tuple(np.zeros((len(turning.alpha), 1, 3)) for _ in range(3))
        )
        unique = phase_diagram(tree, alphas, pure_starts(tree, 3, seed=0), branch=shown, refine=False).unique
        bound = stable or folds[0]
        assert unique.several_up_to == bound
        assert unique.one_from > bound


def test_a_loss_of_stability_that_no_start_sees_is_refined_all_the_same(game):
    """All that is seen is one α: the branch says so, and the starts agree at every α looked at."""
    _, tree, branch = game(18)
    shown = branch._replace(alpha_stable=1.0, folds=np.zeros(0), alpha=np.sort(branch.alpha)[::-1])
    unique = phase_diagram(tree, [1.5, 2.0], pure_starts(tree, 3, seed=0), branch=shown).unique
    assert unique.several_up_to == 1.0
    assert 1.0 < unique.one_from <= 1.0 + 1e-4


def test_unique_without_anything_seen(game):
    _, tree, _ = game(18)
    assert phase_diagram(tree, [2.0, 3.0], pure_starts(tree, 3, seed=0)).unique == Unique(None, 2.0)


@pytest.mark.slow
def test_progress_of_a_branch_and_of_a_diagram_never_runs_backwards(game):
    _, tree, branch = game(18)
    told = []
    again = branches.principal_branch(
        tree, alpha_min=0.1, alpha_max=5.0, report=lambda done, total: told.append(("branch", done, total))
    )
    assert len(told) > 5 and told[-1] == ("branch", 100, 100)
    phase_diagram(
        tree, [0.2, 0.58, 0.7], pure_starts(tree, 27, seed=0), branch=branch,
        report=lambda *progress: told.append(progress),
    )  # fmt: skip
    for stage in {stage for stage, _, _ in told}:
        shares = [done for name, done, _ in told if name == stage]
        assert shares == sorted(shares), stage
        assert len({total for name, _, total in told if name == stage}) == 1
    assert again.ended == "alpha_min"


FILES = Path(__file__).parents[4] / "shared" / "dpomdp" / "folds"


@pytest.mark.proof
@pytest.mark.parametrize(
    ("name", "horizon", "unique"),
    [
        ("f11", 1, 0.70354), ("rand3", 2, 0.58963), ("f4", 1, 1.14243), ("f14", 1, 0.54144), ("f16", 1, 0.45316),
        ("g74", 1, 0.43476), ("g64", 1, 0.45463),
    ],
)  # fmt: skip
def test_games_with_windows_that_nobody_here_wrote(name, horizon, unique):
    if not FILES.exists():
        pytest.skip("the problem files are not part of the repository and not here")
    problem = dpomdp_file.read_file(FILES / f"{name}.dpomdp")
    tree = histories.build(problem, horizon)
    span = float(np.ptp(problem.expected_reward))
    branch = principal_branch(tree, alpha_min=0.01 * span)
    starts = concatenate(normal_starts(tree, 16, 1.0, seed=0), pure_starts(tree, 16, seed=2))
    found = phase_diagram(tree, np.geomspace(0.01 * span, 0.6 * span, 32), starts, branch=branch).unique
    assert found.several_up_to == pytest.approx(unique, abs=1e-5)
    assert found.several_up_to < found.one_from < 1.0001 * found.several_up_to
    assert unique <= alpha_boxed(tree, most=100).alpha <= 1.35 * unique  # a proof, never below what is seen
