"""Boxes: bounds against linear programmes and samples, and no stationary point is ever lost."""

import dataclasses
import itertools

import numpy as np
import pytest
from scipy.optimize import linprog

from games.tabular.histories import build
from games.tabular.library import dectiger, lever
from marl.exact import boxes
from marl.exact.boxes import Boxes, Contraction, all_policies, greatest_belief, greatest_mean, join
from marl.exact.clusters import clusters
from tests.soft_iteration import stationary


def random_boxes(rng, count, actions):
    """(low, high) float64[count, 1, A] with a distribution inside, and one inside."""
    inside = rng.dirichlet(np.ones(actions), (count, 1))
    low, high = inside * rng.random(inside.shape), inside + (1 - inside) * rng.random(inside.shape)
    return low, high, inside


def test_greatest_mean_is_the_linear_programme():
    rng = np.random.default_rng(0)
    low, high, _ = random_boxes(rng, 30, 4)
    worth = rng.normal(size=low.shape)
    found = greatest_mean(worth, low, high)[:, 0]
    for box in range(len(low)):
        bounds = list(zip(low[box, 0], high[box, 0], strict=True))
        best = linprog(-worth[box, 0], A_eq=np.ones((1, 4)), b_eq=[1], bounds=bounds)
        assert found[box] == pytest.approx(-best.fun, abs=1e-9)


def test_greatest_belief_is_reached_at_a_corner_of_the_weights():
    rng = np.random.default_rng(1)
    low = rng.random((1, 4))
    high = low + rng.random((1, 4))
    worth = rng.normal(size=(1, 4))
    found = greatest_belief(worth, (low, high), np.array([[0, 1, 2, 3]]))[0, 0]
    corners = [np.array(corner) for corner in itertools.product(*zip(low[0], high[0], strict=True))]
    assert found == pytest.approx(max(corner @ worth[0] / corner.sum() for corner in corners), abs=1e-12)


def test_beliefs_without_a_weight_are_unknown():
    nothing = np.zeros((1, 2))
    assert greatest_belief(np.array([[3.0, 5.0]]), (nothing, nothing), np.array([[0, 1]]))[0, 0] == 5.0


def test_entropies_and_divergences_hold_for_samples_and_are_reached():
    rng = np.random.default_rng(2)
    low, high, fixed = random_boxes(rng, 40, 3)
    least, greatest = boxes._entropies(low, high)
    divergence = boxes._greatest_divergence(fixed, low, high)
    reached = np.zeros(len(low))
    for box in range(len(low)):
        samples = rng.dirichlet(np.ones(3), 20_000)
        samples = samples[((low[box, 0] <= samples) & (samples <= high[box, 0])).all(1)]
        if not len(samples):
            continue
        entropy = -(samples * np.log(samples)).sum(1)
        assert least[box, 0] <= entropy.min()
        assert entropy.max() <= greatest[box, 0]
        apart = (fixed[box] * np.log(fixed[box] / samples)).sum(1)
        assert apart.max() <= divergence[box, 0]
        reached[box] = (entropy.max() - least[box, 0]) / (greatest[box, 0] - least[box, 0])
    assert np.median(reached) > 0.9


KINDS = {
    "one stage": (1, {"initial": True}),
    "three agents": (2, {"num_agents": 3, "num_actions": (2, 2)}),
    "two stages": (2, {"num_actions": (2, 3)}),
    "legal actions differ": (2, {"num_states": 2, "num_actions": (3, 3), "initial": True, "restricted": True}),
    "three stages, discounted": (3, {"num_states": 2, "num_actions": (2, 2), "discount": 0.7}),
}


@pytest.mark.slow
@pytest.mark.parametrize("games", [3, pytest.param(15, marks=pytest.mark.proof)])
@pytest.mark.parametrize("kind", KINDS)
def test_no_stationary_point_is_lost(kind, games, random_dec_pomdp):
    # At α with several: from the box of all policies, and from random boxes with the point anywhere inside.
    horizon, arguments = KINDS[kind]
    rng = np.random.default_rng(0)
    for seed in range(games):
        tree = build(random_dec_pomdp(seed, **arguments), horizon)
        game = clusters(tree)
        contraction = Contraction(game)
        for alpha in (0.05, 0.2, 0.6):
            points, residual = stationary(tree, alpha, count=8, seed=seed)
            found = [np.exp(own[residual < 1e-10]) for own in points]
            if not len(found[0]):
                continue
            inside = tuple(own[:, _firsts(one.member)] for own, one in zip(found, game.agents, strict=True))
            count, whole = len(inside[0]), all_policies(game, 0.98 * alpha, 1.01 * alpha)
            narrow = join([whole] * count)
            share = rng.random() ** 2
            around = dataclasses.replace(
                narrow,
                low=tuple(
                    p - share * rng.random(p.shape) * (p - end) for p, end in zip(inside, narrow.low, strict=True)
                ),
                high=tuple(
                    p + share * rng.random(p.shape) * (end - p) for p, end in zip(inside, narrow.high, strict=True)
                ),
            )
            for start in (whole, around):
                shrunk = start
                for _ in range(6):
                    shrunk = contraction.shrink(shrunk)
                assert not shrunk.empty.any()
                for low, high, point in zip(shrunk.low, shrunk.high, inside, strict=True):
                    assert (low <= point + 1e-8).all()
                    assert (point <= high + 1e-8).all()


def test_a_box_shrinks_to_the_only_point():
    tree = build(dectiger.problem(), 2)
    game = clusters(tree)
    contraction, box = Contraction(game), all_policies(clusters(tree), 24.0, 24.0)
    for _ in range(60):
        box = contraction.shrink(box)
    assert box.total_width[0] < 1e-5
    points, _ = stationary(tree, 24.0, count=1, seed=0)
    for low, high, point, own in zip(box.low, box.high, points, game.agents, strict=True):
        middle = np.exp(point[0, _firsts(own.member)])
        assert np.abs(middle - low[0]).max() < 1e-5
        assert np.abs(middle - high[0]).max() < 1e-5


def test_boxes_without_a_point_become_empty():
    game = clusters(build(lever.problem(), 1))
    contraction, whole = Contraction(game), all_policies(clusters(build(lever.problem(), 1)), 0.5, 0.5)
    low = [own.copy() for own in whole.low]
    low[0][0, 0, 0] = 0.9  # nobody pulls one lever so often at α = 0.5
    box = dataclasses.replace(whole, low=tuple(low))
    for _ in range(5):
        box = contraction.shrink(box)
    assert box.empty.all()


def test_the_middle_is_a_joint_policy_inside():
    rng = np.random.default_rng(3)
    low, high, _ = random_boxes(rng, 20, 3)
    box = Boxes((low,), (high,), np.ones(20), np.ones(20))
    (middle,) = box.middle([np.ones((1, 3), bool)]).low
    assert np.abs(middle.sum(2) - 1).max() < 1e-12
    assert (low - 1e-12 <= middle).all()
    assert (middle <= high + 1e-12).all()


def _firsts(member):
    """The first history of each cluster."""
    return np.unique(member, return_index=True)[1]
