"""Self-play and cross-play of methods with one, three and four agents, against sums over named seatings."""

import itertools

import numpy as np
import pytest

from games.tabular import histories
from games.tabular.dec_pomdp import DecPOMDP, matrix_game
from games.tabular.library import lever
from games.tabular.symmetry import automorphisms
from marl.exact import crossplay, methods, other_play
from marl.exact.methods import METHODS, Outcomes, Setting


def setting(problem: DecPOMDP, best, equivariant, horizon=1, starts=16):
    tree = histories.build(problem, horizon)
    return Setting(tree, automorphisms(problem, swap_agents=True), best, equivariant, starts=starts)


def logs(policies):
    with np.errstate(divide="ignore"):
        return tuple(np.log(np.stack(own)) for own in zip(*policies, strict=True))


@pytest.mark.parametrize(
    ("num_agents", "runs"),
    [(1, 3), (2, 5), (4, 5), *(pytest.param(*more, marks=pytest.mark.proof) for more in [(3, 5), (4, 4)])],
)
def test_cross_play_is_the_mean_over_different_runs(random_dec_pomdp, random_policy, num_agents, runs):
    problem = random_dec_pomdp(
        num_agents, num_agents=num_agents, num_actions=(2,), num_observations=(2, 1), initial=True
    )
    given = setting(problem, 0, 0)
    log_probs = logs([random_policy(given.tree, seed, zeros=seed % 2 == 1) for seed in range(runs)])
    seatings = np.array(list(itertools.permutations(range(runs), num_agents)))
    expected = crossplay.play(given.tree, other_play.relabelled(given.tree, given.tied, log_probs), seatings)
    scored = methods.score(given, Outcomes(log_probs, True, ""))
    assert scored.cross_play == pytest.approx(expected.mean(), abs=1e-12)
    anybody = np.array(list(itertools.product(range(runs), repeat=num_agents)))
    expected = crossplay.play(given.tree, other_play.relabelled(given.tree, given.tied, log_probs), anybody)
    assert methods.score(given, Outcomes(log_probs, False, "")).cross_play == pytest.approx(expected.mean(), abs=1e-12)


@pytest.mark.parametrize("players", [pytest.param(3, marks=pytest.mark.proof), 4])
def test_conventions_by_hand(players):
    """All of k runs on lever 0 and all of m on lever 1, seats all different: C(k, n)/C(k+m, n) + C(m, n)/C(k+m, n)."""
    tree = histories.build(lever.problem([1.0, 0.5], players=players), 1)
    group = automorphisms(tree.problem, swap_agents=True)
    log_probs = logs([(np.eye(2)[[int(number >= 4)]],) * players for number in range(9)])
    scored = methods.score(Setting(tree, group, 1.0, 1.0), Outcomes(log_probs, True, ""))
    chances = {3: (4 / 84, 10 / 84), 4: (1 / 126, 5 / 126)}[players]
    assert scored.self_play == pytest.approx((4 + 5 * 0.5) / 9, abs=1e-12)
    assert scored.cross_play == pytest.approx(chances[0] + 0.5 * chances[1], abs=1e-12)


def test_too_few_runs_for_the_seats():
    given = setting(lever.problem([1, 1], players=3), 1, 0.25)
    two = tuple(np.repeat(np.log(own)[None], 2, axis=0) for own in given.tree.uniform())
    assert np.isnan(methods.score(given, Outcomes(two, True, "")).cross_play)


@pytest.mark.parametrize(
    ("players", "expected"),
    [
        # Two equal levers and one of 0.9: independent conventions of n players meet with 2 (1/2)^n.
        pytest.param(
            3,
            {"self-play": (1, 0.25), "high-entropy-greedy": (0.25, 0.25), "other-play": (0.9, 0.9)},
            marks=pytest.mark.proof,
        ),
        (4, {"self-play": (1, 0.125)}),
    ],
)
def test_methods_of_several_agents(players, expected):
    given = setting(lever.problem([1, 1, 0.9], players=players), 1, 0.9)
    for key, values in expected.items():
        (method,) = (method for method in METHODS if method.key == key)
        scored = methods.score(given, method.outcomes(given))
        assert (scored.self_play, scored.cross_play) == pytest.approx(values, abs=1e-6)


@pytest.mark.slow
def test_one_agent_alone_has_nobody_to_misunderstand():
    payoffs = matrix_game(np.array([0.25, 1.0, 0.5]), ("alone",), (("x", "y", "z"),))
    given = setting(payoffs, 1.0, 1.0)
    for key in ("self-play", "high-entropy-greedy"):
        (method,) = (method for method in METHODS if method.key == key)
        scored = methods.score(given, method.outcomes(given))
        assert (scored.self_play, scored.cross_play) == pytest.approx((1, 1), abs=1e-12)
