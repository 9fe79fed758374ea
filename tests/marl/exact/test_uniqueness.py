"""Uniqueness proved by boxes: near the true thresholds where these are known, and never below one."""

import numpy as np
import pytest

from benchmarks import folds
from benchmarks.folds import Shape
from games.errors import TacitError
from games.tabular.dec_pomdp import DecPOMDP, from_functions
from games.tabular.histories import build
from games.tabular.library import (
    dectiger,
    equal_levers,
    lever,
    recycling,
    skewed_dectiger,
    tiny_hanabi,
    two_stage_lever,
)
from games.tabular.symmetry import automorphisms, on_policy
from marl.exact.certified import alpha_certified
from marl.exact.clusters import clusters
from marl.exact.uniqueness import alpha_boxed, exact_symmetries, largest_orbit, one_between
from tests.marl.exact.test_certified import KINDS as CERTIFIED
from tests.marl.exact.test_clusters import unequal_first_observations
from tests.soft_iteration import stationary


@pytest.mark.slow
@pytest.mark.parametrize(("count", "fold"), [(2, 0.5), (3, 0.364213), (10, 0.219309)])
def test_equal_levers_are_proved_down_to_their_fold(count, fold):
    found = alpha_boxed(build(equal_levers.problem(count), 1), most=100)
    assert fold <= found.alpha <= 1.1 * fold


@pytest.mark.slow
@pytest.mark.parametrize(
    ("problem", "horizon", "unique", "factor"),
    [
        (lever.problem(), 1, 0.219412, 1.05),
        (tiny_hanabi.problem("A"), 2, 0.376823, 1.05),
        pytest.param(tiny_hanabi.problem("B"), 2, 0.300204, 1.05, marks=pytest.mark.proof),
        pytest.param(tiny_hanabi.problem("C"), 2, 0.823054, 1.2, marks=pytest.mark.proof),
        pytest.param(tiny_hanabi.problem("D"), 2, 0.0520992, 1.05, marks=pytest.mark.proof),
        pytest.param(two_stage_lever.problem(), 2, 1.0, 1.1, marks=pytest.mark.proof),
        pytest.param(recycling.problem(), 3, 1.12666, 2.0, marks=pytest.mark.proof),
        (dectiger.problem(), 2, 11.988, 1.5),
    ],
)
def test_library_is_proved_down_to_near_where_several_are_seen(problem, horizon, unique, factor):
    # `unique`: the greatest α at which several were seen (docs/exact.md).
    found = alpha_boxed(build(problem, horizon), most=200)
    assert unique <= found.alpha <= factor * unique


@pytest.mark.slow
def test_dectiger_is_proved_far_below_the_formula():
    tree = build(dectiger.problem(), 3)
    assert alpha_certified(tree).alpha > 270
    assert one_between(tree, 40.0, 40.2, most=500)
    assert not one_between(tree, 11.5, 11.7, most=100)  # several up to 11.809


@pytest.mark.slow
@pytest.mark.parametrize(("low", "high"), [(0.2, 0.21), (0.215, 0.23)])
def test_no_proof_where_there_are_several(low, high):
    assert not one_between(build(lever.problem(), 1), low, high, most=3000)


def symmetries(tree):
    return automorphisms(tree.problem, swap_agents=True)


@pytest.mark.parametrize(
    ("problem", "horizon", "size"),
    [(dectiger.problem(), 2, 4), (equal_levers.problem(3), 1, 6), (two_stage_lever.problem(), 2, 4)],
)
def test_some_image_of_every_joint_policy_gives_the_first_of_the_orbit_most(problem, horizon, size):
    tree = build(problem, horizon)
    game, group = clusters(tree), symmetries(tree)
    orbit = largest_orbit(game, group)
    assert len(orbit) == size
    first_histories = [np.unique(own.member, return_index=True)[1] for own in game.agents]
    generator = np.random.default_rng(0)
    for _ in range(5):
        policy = tuple(generator.random(own.legal.shape)[own.member] for own in game.agents)
        rows = []
        for element in group.elements(100):
            image = [own[firsts] for own, firsts in zip(on_policy(element, tree, policy), first_histories, strict=True)]
            rows.append([image[agent][cluster, action] for agent, cluster, action in orbit])
        assert np.allclose(np.sort(rows, axis=1), np.sort(rows[0]))  # images hold the same numbers
        assert any(row[0] == max(row) for row in rows)


@pytest.mark.slow
def test_symmetries_lose_no_solution_and_save_boxes():
    pair, tiger = build(equal_levers.problem(2), 1), build(dectiger.problem(), 2)
    # Below 1/2 two solutions are images of each other, and the third is its own.
    assert not one_between(pair, 0.4, 0.45, group=symmetries(pair), most=3000)
    assert one_between(pair, 0.505, 0.51, group=symmetries(pair), most=200)
    assert not one_between(tiger, 11.8, 11.9, group=symmetries(tiger), most=3000)  # several up to 11.988
    assert not one_between(tiger, 12.6, 12.65, most=800)
    assert one_between(tiger, 12.6, 12.65, group=symmetries(tiger), most=800)


def matching(payoffs, start, initial=None):
    """A game of one stage: two agents are paid payoffs[state][action] if they choose the same action."""
    reward = np.stack([np.diag(own).ravel() for own in payoffs], axis=1)
    count, seen = len(payoffs), 1 if initial is None else initial.shape[1]
    return DecPOMDP(
        agents=("first", "second"),
        states=tuple(f"s{state}" for state in range(count)),
        actions=(("0", "1"),) * 2,
        observations=(tuple(f"o{number}" for number in range(round(seen**0.5))),) * 2,
        discount=1.0,
        start=np.array(start),
        transition=np.broadcast_to(np.eye(count)[-1], (4, count, count)),
        observation=np.full((4, count, seen), 1 / seen),
        reward=reward[..., None, None],
        initial_observation=initial,
    )


RARE = np.array([[1.0, 0, 0, 0], [1.0, 0, 0, 0], [0, 0, 0, 1.0]])  # both agents know that it is one of the first two
NEARLY_SYMMETRIC = {
    "a large reward beyond the horizon": matching([(1.0, 0.95), (1e11, 1e11)], (1.0, 0.0)),
    "rare states": matching([(1.0, 0.8), (0.8, 1.0), (0.0, 0.0)], (9e-13, 1e-13, 1 - 1e-12), RARE),
}


@pytest.mark.parametrize("name", NEARLY_SYMMETRIC)
def test_symmetries_of_tables_that_are_none_of_the_tree_are_left_aside(name):
    tree = build(NEARLY_SYMMETRIC[name], 1)
    assert symmetries(tree).policy_order == 4
    assert len(symmetries(tree).acting) > len(exact_symmetries(tree, symmetries(tree)).generators)
    assert not one_between(tree, 0.2, 0.2, group=symmetries(tree), most=300)  # there are three


def test_symmetries_of_another_game_are_left_aside():
    other, tree = build(dectiger.problem(), 2), build(skewed_dectiger.problem(), 2)
    assert len(exact_symmetries(other, symmetries(other)).generators) == 2
    assert len(exact_symmetries(tree, symmetries(other)).generators) == 1  # the agents are alike, the doors are not


@pytest.mark.slow
@pytest.mark.parametrize("shape", [Shape(1, 3, 3, 1, 1, 80), Shape(2, 2, 2, 2, 2, 80)], ids=str)
@pytest.mark.parametrize("games", [1, pytest.param(10, marks=pytest.mark.proof)])
def test_all_starts_agree_above_what_symmetries_help_to_prove(shape, games):
    for seed in range(1, 2 * games, 2):  # a shift of all actions leaves these games the same
        tree = build(folds.game(shape, seed), shape.horizon)
        assert len(largest_orbit(clusters(tree), symmetries(tree))) >= shape.actions
        proved = alpha_boxed(tree, group=symmetries(tree), most=20).alpha
        points, residual = stationary(tree, 1.1 * proved, count=16, seed=seed)  # nearer, all is slow
        settled = residual < 1e-9
        assert settled.any()
        assert max(np.ptp(np.exp(own[settled]), axis=0).max() for own in points) < 1e-6


@pytest.mark.slow
def test_no_proof_where_several_hang_on_a_rare_observation():
    # Sampled and counted by damped soft policy iteration: at 0.3 sixteen starts end 0.9 apart.
    tree = build(unequal_first_observations(), 1)
    points, residual = stationary(tree, 0.3, count=16, seed=0)
    assert residual.max() < 1e-9
    assert max(np.ptp(np.exp(own), axis=0).max() for own in points) > 0.5
    assert not one_between(tree, 0.3, 0.3)
    assert 0.4 < alpha_boxed(tree, most=50).alpha <= alpha_certified(tree).alpha * (1 + 1e-9)


@pytest.mark.slow
def test_no_proof_where_late_rewards_are_discounted_away():
    # (s, s) and (r, r) are strict equilibria, since what follows (r, r) is paid in units of its own stage.
    seen = ("hunt", "play", "end")
    legal = np.array([[1, 1], [1, 1], [1, 0]], bool)
    first, second = ((41.0, 35.0), (0.0, 0.0)), ((-110.0, -100.0), (-130.0, 100.0))
    problem = from_functions(
        agents=("first", "second"),
        states=seen,
        actions=(("s", "r"),) * 2,
        observations=(seen, seen),
        discount=0.01,
        start=(1.0, 0.0, 0.0),
        transition=lambda state, actions: {1 if (state, *actions) == (0, 1, 1) else 2: 1.0},
        observation=lambda actions, state: {(state, state): 1.0},
        reward=lambda state, actions: (first, np.array(second) / 0.01, np.zeros((2, 2)))[state][actions[0]][actions[1]],
        legal=(legal, legal),
    )
    tree = build(problem, 2)
    for alpha in (0.9, 1.5):
        points, residual = stationary(tree, alpha, count=16, seed=0)
        assert max(np.ptp(np.exp(own[residual < 1e-9]), axis=0).max() for own in points) > 0.9
        assert not one_between(tree, alpha, alpha, most=300)


def test_no_proof_without_a_discount_that_counts_and_for_values_out_of_order():
    assert not one_between(build(two_stage_lever.problem(discount=0.0), 2), 5.0, 5.0)
    with pytest.raises(TacitError, match="low must not be above high, and 2 is above 1"):
        one_between(build(lever.problem(), 1), 2.0, 1.0)
    with pytest.raises(TacitError, match="low must be a number above 0, not 0"):
        one_between(build(lever.problem(), 1), 0.0, 1.0)


def test_no_proof_where_probabilities_underflow(random_dec_pomdp):
    # One agent has one stationary point at every α, but at the least its probabilities are below exp(-700).
    tree = build(random_dec_pomdp(3, num_agents=1, initial=True), 2)
    assert one_between(tree, 0.1, 0.2)
    assert not one_between(tree, 1e-3, 2e-3)


KINDS = {
    **CERTIFIED,
    "legal actions differ": (2, {"num_states": 2, "num_actions": (3, 3), "initial": True, "restricted": True}),
}


@pytest.mark.slow
@pytest.mark.parametrize("games", [1, pytest.param(10, marks=pytest.mark.proof)])
@pytest.mark.parametrize("kind", KINDS)
def test_all_starts_agree_above_what_is_proved(kind, games, random_dec_pomdp):
    horizon, arguments = KINDS[kind]
    lower = []
    for seed in range(games):
        tree = build(random_dec_pomdp(seed, **arguments), horizon)
        proved, formula = alpha_boxed(tree, most=20).alpha, alpha_certified(tree).alpha
        if not formula:  # no proof, or nothing to prove
            assert proved == formula
            continue
        lower.append(proved / formula)
        points, residual = stationary(tree, 1.0001 * proved, count=16, seed=seed)
        settled = residual < 1e-9
        assert settled.any()
        assert max(np.ptp(np.exp(own[settled]), axis=0).max() for own in points) < 1e-6
    assert not lower or np.median(lower) < 1  # boxes prove more than the formula


def test_nothing_to_prove(random_dec_pomdp):
    alone = build(random_dec_pomdp(3, num_agents=1, initial=True), 2)
    assert alpha_boxed(alone) == (0.0, 0)
    assert alpha_boxed(build(two_stage_lever.problem(discount=0.0), 2)) == (None, 0)


def test_most_must_be_a_positive_number():
    with pytest.raises(TacitError, match="most must be a whole number of at least 1, not 0"):
        alpha_boxed(build(lever.problem(), 1), most=0)


@pytest.mark.slow
def test_progress_is_reported():
    seen = []
    found = alpha_boxed(build(equal_levers.problem(3), 1), most=20, report=lambda alpha, boxes: seen.append(alpha))
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] == found.alpha
