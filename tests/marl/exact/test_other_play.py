"""Other-Play against sums over all relabellings, and the optima of games that can be worked out by hand."""

import itertools

import numpy as np
import pytest

from games.errors import TacitError
from games.tabular.histories import build
from games.tabular.library import asymmetric_lever, dectiger, hint, lever, tiny_hanabi, two_stage_lever
from games.tabular.symmetry import automorphisms, on_policy, orbits
from marl.exact import crossplay, other_play

TWO_STAGE = build(two_stage_lever.problem(), 2)
GAMES = {
    "two_stage_lever": TWO_STAGE,
    "dectiger": build(dectiger.problem(), 2),
    "hint": hint.make(size=2).tree,
}


def logs(policies):
    with np.errstate(divide="ignore"):
        return tuple(map(np.log, policies))


@pytest.mark.parametrize("swap_agents", [True, False])
@pytest.mark.parametrize("tree", GAMES.values(), ids=GAMES)
def test_the_expectation_over_all_relabellings(tree, swap_agents, random_policy):
    group = automorphisms(tree.problem, swap_agents=swap_agents)
    elements = group.elements(100)
    assert len(elements) > 1
    mine, yours = (logs(random_policy(tree, seed, zeros=True)) for seed in (1, 2))

    def met(first, second):
        return crossplay.self_play(tree, (first[0][None], second[1][None]))[0]

    both = [met(on_policy(g, tree, mine), on_policy(h, tree, yours)) for g, h in itertools.product(elements, repeat=2)]
    one = [met(mine, on_policy(g, tree, yours)) for g in elements]
    average = [other_play.relabelled(tree, orbits(group, tree), policy) for policy in (mine, yours)]
    assert met(*average) == pytest.approx(np.mean(both), abs=1e-12)
    if not swap_agents:  # with swaps, relabelling both also draws both seats
        assert met(*average) == pytest.approx(np.mean(one), abs=1e-12)
    assert met(mine, average[1]) == pytest.approx(np.mean(one), abs=1e-12)
    assert met(mine, yours) != pytest.approx(np.mean(one), abs=1e-3)


def test_a_drawn_policy_earns_the_mean(random_policy):
    tree = GAMES["dectiger"]
    several = [logs(random_policy(tree, seed, zeros=True)) for seed in range(4)]
    stacked = tuple(np.stack(own) for own in zip(*several, strict=True))
    drawn = other_play.mixture(tree, stacked)
    apart = crossplay.play(tree, stacked, np.stack([np.arange(4), np.zeros(4, int)], axis=1))
    assert crossplay.self_play(tree, (drawn[0][None], several[0][1][None]))[0] == pytest.approx(apart.mean(), abs=1e-10)
    # It is no mean of action probabilities: a history says something about which policy was drawn.
    assert np.abs(np.exp(drawn[0]) - np.exp(stacked[0]).mean(0)).max() > 0.05


def test_what_is_never_reached_is_uniform_and_earns_the_same():
    tree = GAMES["dectiger"]
    listens = [np.zeros(own.legal.shape) for own in tree.agents]
    for own in listens:
        own[:, 0] = 1
    policy = tuple(own[None] for own in logs(listens))
    changed = other_play.uniform_where_unreached(tree, policy)
    assert crossplay.self_play(tree, changed)[0] == pytest.approx(-4)
    for own, new in zip(tree.agents, changed, strict=True):
        after_listening = (own.parent < 0) | (own.action == 0)
        assert np.exp(new[0][after_listening]) == pytest.approx(np.tile([1, 0, 0], (after_listening.sum(), 1)))
        assert np.exp(new[0][~after_listening]) == pytest.approx(1 / 3)


def found(tree, swap_agents, best, starts=16):
    group = automorphisms(tree.problem, swap_agents=swap_agents)
    return *other_play.optima(tree, group, best=best, starts=starts), orbits(group, tree)


def test_with_swaps_repeating_and_switching_clash():
    policies, reached, tied = found(TWO_STAGE, True, 0.5)
    assert len(policies[0]) == 2 and reached >= 8
    assert crossplay.cross_play(TWO_STAGE, policies) == pytest.approx(np.array([[0.5, -0.5], [-0.5, 0.5]]), abs=1e-6)
    # After a match, first action and last action of each agent: one optimum repeats, the other switches.
    own = TWO_STAGE.agents[0]
    matched = np.flatnonzero((own.parent >= 0) & (own.action == own.observation))
    repeats = np.exp(policies[0])[:, matched, own.action[matched]]
    assert sorted(repeats.round(6).tolist()) == [[0, 0], [1, 1]]
    chosen = other_play.break_ties(TWO_STAGE, tied, policies)
    turned = other_play.break_ties(TWO_STAGE, tied, tuple(own[::-1] for own in policies))
    assert crossplay.self_play(TWO_STAGE, chosen) == pytest.approx([0.5], abs=1e-6)
    assert all((a == b).all() for a, b in zip(chosen, turned, strict=True))


@pytest.mark.slow
def test_the_preferred_one_of_several_runs():
    policies, _, tied = found(TWO_STAGE, True, 0.5)
    earned = [other_play.cross_play_of_the_preferred(TWO_STAGE, tied, policies, runs) for runs in (1, 2, 4, 32)]
    # The two optima earn 0.5 with themselves, -0.5 with each other; an agent misses the preferred one with 1 / 2^runs.
    assert earned == pytest.approx([0.5 * (1 - 2 * 0.5**runs) ** 2 for runs in (1, 2, 4, 32)], abs=1e-6)
    asymmetric = asymmetric_lever.make().tree
    policies, _, tied = found(asymmetric, True, 2.0)
    assert len(policies[0]) == 4
    order = list(other_play.by_preference(asymmetric, tied, policies))
    cells = np.array(crossplay.cross_play(asymmetric, other_play.relabelled(asymmetric, tied, policies)))
    for runs in (1, 3):
        drawn = itertools.product(range(4), repeat=runs)
        best = [min(one, key=order.index) for one in drawn]
        expected = np.mean([cells[mine, yours] for mine, yours in itertools.product(best, repeat=2)])
        earned = other_play.cross_play_of_the_preferred(asymmetric, tied, policies, runs)
        assert earned == pytest.approx(expected, abs=1e-9)


@pytest.mark.slow
def test_without_swaps_four_optima_earn_nothing_with_each_other():
    policies, _, _ = found(TWO_STAGE, False, 1.0, starts=64)
    cells = crossplay.cross_play(TWO_STAGE, policies)
    assert cells.shape == (4, 4)
    assert np.diag(cells) == pytest.approx(1, abs=1e-6)
    assert cells.mean() == pytest.approx(0, abs=1e-6)


def test_the_lever_that_is_told_from_the_others():
    policies, _, _ = found(lever.make().tree, True, 0.9)
    assert [np.exp(own).round(6).tolist() for own in policies] == [[[[0.0] * 9 + [1.0]]]] * 2


def test_refusals():
    tree = tiny_hanabi.make("A").tree
    group = automorphisms(tree.problem, swap_agents=True)
    with pytest.raises(TacitError, match=r"^the group is trivial: Other-Play is self-play here$"):
        other_play.optima(tree, group, best=2.25)
    with pytest.raises(TacitError, match=r"^none of 4 starts reached the best equivariant value known, 2$"):
        found(TWO_STAGE, True, 2.0, starts=4)
