"""Bounds of derivatives of action values over boxes: against finite differences of the exact core's action values."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from games.tabular.histories import build
from games.tabular.library import dectiger, equal_levers, tiny_hanabi
from marl.exact import objective
from marl.exact.box_derivatives import Derivatives, _greatest_eigenvalue
from marl.exact.boxes import Contraction, all_policies
from marl.exact.clusters import clusters
from tests.soft_iteration import stationary

STEP = 1e-6
GAMES = {
    "dectiger": (lambda _: dectiger.problem(), 3, 20.0),
    "signal and reply": (lambda _: tiny_hanabi.problem("E"), 2, 2.0),
    "three agents": (lambda make: make(3, num_agents=3, num_actions=(2, 2)), 2, 0.5),
    "legal actions differ": (lambda make: make(5, num_actions=(3, 3), initial=True, restricted=True), 2, 0.4),
    "discounted": (lambda make: make(7, num_states=2, num_actions=(2, 2), discount=0.6), 3, 0.4),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", GAMES)
def test_finite_differences_are_within_the_bounds(name, random_dec_pomdp):
    make, horizon, alpha = GAMES[name]
    tree = build(make(random_dec_pomdp), horizon)
    game = clusters(tree)
    rng = np.random.default_rng(0)
    whole = all_policies(game, alpha, alpha)
    policies = [_random(rng, own.legal) for own in game.agents]
    other = [_random(rng, own.legal) for own in game.agents]
    for width in (0.0, 0.02):
        box = dataclasses.replace(
            whole,
            low=tuple(np.maximum(p - width * (p < 1), 0)[None] for p in policies),
            high=tuple(np.minimum(p + width * (p > 0), 1)[None] for p in policies),
        )
        low, high = (side[0] for side in Derivatives(Contraction(game))(box))
        inside = [p + rng.random() * width * 0.9 * (q - p) for p, q in zip(policies, other, strict=True)]
        direction = [q - p for p, q in zip(policies, other, strict=True)]
        numbers = _differences(tree, game, inside, direction, alpha)
        along = np.concatenate([own.ravel() for own in direction])
        least = np.minimum(low * along, high * along).sum(1)
        most = np.maximum(low * along, high * along).sum(1)
        place = 0
        for own, number in zip(game.agents, numbers, strict=True):
            rows = slice(place, place + own.legal.size)
            place = rows.stop
            least_own, most_own = least[rows].reshape(own.legal.shape), most[rows].reshape(own.legal.shape)
            for cluster in np.flatnonzero(own.legal.sum(1) > 1):
                a, b = np.flatnonzero(own.legal[cluster])[:2]  # up to a number of the cluster
                apart = number[cluster, a] - number[cluster, b]
                assert least_own[cluster, a] - most_own[cluster, b] <= apart + 1e-5
                assert apart <= most_own[cluster, a] - least_own[cluster, b] + 1e-5
                if width == 0:
                    assert apart == pytest.approx(least_own[cluster, a] - least_own[cluster, b], abs=1e-4)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_levers_have_one_point_near_the_uniform_one_above_their_fold(count):
    # There DQ is the identity and the greatest eigenvalue of M is 1/n: stable, and alone near, above α = 1/n.
    game = clusters(build(equal_levers.problem(count), 1))
    uniform = tuple(np.full((1, 1, count), 1 / count) for _ in range(2))
    for alpha, alone in ((1.01 / count, True), (0.99 / count, False)):
        box = dataclasses.replace(all_policies(game, alpha, alpha), low=uniform, high=uniform)
        assert Derivatives(Contraction(game)).at_most_one(box).tolist() == [alone]


@pytest.mark.slow
def test_a_box_with_two_points_is_never_said_to_hold_one(random_dec_pomdp):
    seen = 0
    for seed in range(6):
        tree = build(random_dec_pomdp(seed, num_actions=(2, 2)), 2)
        game = clusters(tree)
        points, residual = stationary(tree, 0.05, count=16, seed=seed)
        policies = [np.exp(own[residual < 1e-10]) for own in points]
        for one in range(1, len(policies[0])):
            low, high = (tuple(side(own[0], own[one])[None] for own in policies) for side in (np.minimum, np.maximum))
            if max((most - least).max() for least, most in zip(low, high, strict=True)) > 1e-4:
                seen += 1
                box = dataclasses.replace(all_policies(game, 0.05, 0.05), low=low, high=high)
                assert not Derivatives(Contraction(game)).at_most_one(box)[0]
    assert seen >= 4


def test_the_bound_of_the_greatest_eigenvalue():
    rng = np.random.default_rng(0)
    for size in (1, 4, 30):
        matrix = rng.random((size, size)) * (rng.random((size, size)) < 0.5)
        matrix = matrix + matrix.T
        greatest = np.linalg.eigvalsh(matrix)[-1]
        assert greatest <= _greatest_eigenvalue(matrix) * (1 + 1e-12) + 1e-12
        assert _greatest_eigenvalue(matrix) <= 1.2 * greatest + 1e-9


def _random(rng, legal):
    policy = (0.2 + rng.random(legal.shape)) * legal
    return policy / policy.sum(1, keepdims=True)


def _differences(tree, game, policies, direction, alpha):
    """Central differences of Q along a direction, for each agent float64[C, A], by the sweep over histories."""
    sides = []
    for sign in (1, -1):
        logs = []
        for own, p, d in zip(game.agents, policies, direction, strict=True):
            with np.errstate(divide="ignore"):
                logs.append(np.log((p + sign * STEP * d)[own.member]))
        with jax.enable_x64(True):
            swept = objective.sweep(objective.tables(tree), tuple(map(jnp.asarray, logs)), alpha)
            sides.append([np.asarray(q) for q in swept.q])
    firsts = [np.unique(own.member, return_index=True)[1] for own in game.agents]
    return [(a - b)[first] / (2 * STEP) for a, b, first in zip(*sides, firsts, strict=True)]
