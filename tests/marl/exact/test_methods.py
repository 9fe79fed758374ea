"""All exact methods: known answers of the literature, and scores against sums over pairs."""

import functools

import numpy as np
import pytest

from games.errors import TacitError
from games.tabular.library import (
    cat_and_dog,
    dectiger,
    equal_levers,
    lever,
    noisy_lever,
    tiny_hanabi,
    two_stage_lever,
)
from games.tabular.symmetry import automorphisms
from marl.exact import crossplay, methods, other_play
from marl.exact.methods import METHODS, Outcomes, Setting

MAKE = {
    "lever": (lever.make, 1.0, 0.9),
    "three levers": (functools.partial(equal_levers.make, n=3), 1.0, 1 / 3),
    "two-stage lever": (two_stage_lever.make, 2.0, 0.5),
    "dectiger": (functools.partial(dectiger.make, horizon=3), 5.1908125, 5.1908125),
    "noisy lever": (noisy_lever.make, 0.7, 0.7),
    "cat and dog": (cat_and_dog.make, 10.0, 5.0),
    **{letter: (functools.partial(tiny_hanabi.make, letter), best, best)
       for letter, best in zip("ABCDEF", (2.25, 1, 2.5, 2.5, 10, 21 / 9), strict=True)},
}  # fmt: skip


@functools.cache
def setting(name, starts=16, swap_agents=True):
    make, best, equivariant = MAKE[name]
    tree = make().tree
    return Setting(tree, automorphisms(tree.problem, swap_agents=swap_agents), best, equivariant, starts=starts)


@functools.cache
def played(key, name, **settings):
    """(outcomes, score)"""
    (method,) = (method for method in METHODS if method.key == key)
    given = setting(name, **settings)
    outcomes = method.outcomes(given)
    return outcomes, methods.score(given, outcomes)


def test_the_registry():
    keys = [method.key for method in METHODS]
    assert len(set(keys)) == len(keys) == 20
    assert keys[:6] == [
        "self-play", "high-entropy", "high-entropy-greedy", "annealed-greedy", "other-play", "other-play-tie-breaking"
    ]  # fmt: skip
    uses = {method.key: method.uses for method in METHODS}
    assert uses["other-play"] == "the game and its symmetries"
    assert uses["self-play"] == uses["k-level-4"] == "the game"
    assert uses["obl-level-4"] == "the game and exact beliefs"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "name", "self_play", "cross_play"),
    [
        ("self-play", "lever", 1, 1 / 9),
        ("other-play", "lever", 0.9, 0.9),
        ("other-play-tie-breaking", "lever", 0.9, 0.9),
        ("annealed-greedy", "lever", 1 / 9, 1 / 9),
        ("best-response-to-random", "lever", 1 / 9, 1 / 9),
        ("obl-level-0", "lever", 0.099, 0.099),
        ("self-play", "three levers", 1, 1 / 3),
        ("other-play", "two-stage lever", 0.5, 0),
        ("other-play-tie-breaking", "two-stage lever", 0.5, 0.5),
        ("self-play", "cat and dog", 10, 0),
        ("other-play", "cat and dog", 5, 5),
        ("obl-level-1", "cat and dog", 5, 5),
        ("other-play", "noisy lever", 0.7, 0.7),
        ("high-entropy-greedy", "noisy lever", 0.64, 0.64),
    ],
)
def test_known_answers(key, name, self_play, cross_play):
    _, scored = played(key, name)
    assert scored.self_play == pytest.approx(self_play, abs=1e-6)
    assert scored.cross_play == pytest.approx(cross_play, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "unique", "value"),
    [
        pytest.param("A", 0.37682, 2.25, marks=pytest.mark.slow),
        *(
            pytest.param(*case, marks=pytest.mark.proof)
            for case in [
                ("B", 0.3002, 1),
                ("C", 0.82305, 2),  # not the best value
                ("D", 0.0521, 2.5),
                ("E", None, 10),
                ("F", None, 21 / 9),
                ("dectiger", None, 5.1908125),
            ]
        ),
    ],
)
def test_high_entropy_just_above_uniqueness_then_greedy(name, unique, value):
    outcomes, scored = played("high-entropy-greedy", name)
    assert (scored.self_play, scored.cross_play) == pytest.approx((value, value), abs=1e-9)
    assert not outcomes.sample and "one end of 16 starts" in outcomes.note
    if unique is not None:
        outcomes, _ = played("high-entropy", name)
        alpha = float(outcomes.note.split()[2].rstrip(","))
        assert unique < alpha < 1.17 * unique  # by 10 % a step, then 5 %


def test_annealing_says_where_it_loses_stability():
    outcomes, _ = played("annealed-greedy", "lever")
    assert outcomes.note == "followed down to α = 0.01, no attractor below α = 0.10335"


def test_self_play_draws_its_conventions():
    outcomes, _ = played("self-play", "lever", starts=64)
    levers = np.exp(outcomes.log_probs[0][:, 0]).argmax(1)
    assert set(levers.tolist()) == set(range(9))  # all that pay 1, and not the one of 0.9
    assert outcomes.note == "64 starts"


def test_self_play_says_what_stays_below_the_best_value(monkeypatch):
    monkeypatch.setattr(methods, "MOST_RESTARTS", 8)
    given = Setting(setting("A").tree, setting("A").group, 2.5, 2.5, starts=3)
    assert methods.self_play(given).note == "3 starts, 3 of them below the best value known"


def test_other_play_without_a_symmetry():
    for key in ("other-play", "other-play-tie-breaking"):
        with pytest.raises(TacitError, match=r"^the group is trivial: Other-Play is self-play here$"):
            played(key, "A")


@pytest.mark.parametrize("sample", [True, False])
def test_cross_play_is_the_mean_over_pairs(sample, random_policy):
    given = setting("two-stage lever")
    with np.errstate(divide="ignore"):
        drawn = [tuple(map(np.log, random_policy(given.tree, seed, zeros=True))) for seed in range(5)]
    outcomes = Outcomes(tuple(np.stack(own) for own in zip(*drawn, strict=True)), sample, "")
    scored = methods.score(given, outcomes)
    cells = crossplay.cross_play(given.tree, other_play.relabelled(given.tree, given.tied, outcomes.log_probs))
    counted = ~np.eye(5, dtype=bool) if sample else np.ones((5, 5), bool)
    assert scored.cross_play == pytest.approx(cells[counted].mean(), abs=1e-12)
    assert scored.self_play == pytest.approx(crossplay.self_play(given.tree, outcomes.log_probs).mean(), abs=1e-12)
    other = methods.score(given, Outcomes(tuple(own[:2] for own in outcomes.log_probs), True, ""))
    matrix = methods.between(given.tree, [scored, other])
    assert matrix[0, 1] == pytest.approx(cells[:, :2].mean(), abs=1e-12)
    assert matrix[1, 0] == pytest.approx(cells[:2].mean(), abs=1e-12)
    assert matrix[1, 1] == pytest.approx((cells[0, 1] + cells[1, 0]) / 2, abs=1e-12)


def test_a_sample_of_one_has_no_cross_play():
    policy = tuple(own[:1] for own in played("self-play", "lever")[0].log_probs)
    assert np.isnan(methods.score(setting("lever"), Outcomes(policy, True, "")).cross_play)
