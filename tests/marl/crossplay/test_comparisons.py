"""Comparisons of methods and blocks of cells, against numbers worked by hand and textbook formulas."""

import itertools

import numpy as np
import pytest
from scipy import stats

from games.errors import TacitError
from marl.crossplay.comparisons import (
    ALPHA,
    Blocks,
    against_greatest,
    blocks,
    combination_test,
    compare_methods,
    difference_test,
    holm,
    own_cells,
    paired_test,
)
from marl.crossplay.estimators import Estimate, cross_play, difference, self_play
from marl.crossplay.standard_error import Part


def cells(matrix):
    """(seatings, scores) of all pairs of a matrix."""
    pairs = np.array(list(itertools.product(range(len(matrix)), repeat=2)))
    return pairs, np.asarray(matrix, float).reshape(-1)


def noisy(seed, mean, num_seeds=8, spread=1.0):
    return cells(mean + spread * np.random.default_rng(seed).standard_normal((num_seeds, num_seeds)))


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02], rtol=1e-14)
    np.testing.assert_array_equal(holm([0.4, 0.9]), [0.8, 0.9])
    np.testing.assert_array_equal(holm([0.7, 0.8]), [1.0, 1.0])
    assert holm([]).shape == (0,)


def test_paired_test_is_the_paired_t_test_of_disjoint_pairs():
    a, b = (np.random.default_rng(seed).normal(size=(8, 8)) for seed in (0, 1))
    pairs = [(0, 1), (2, 3), (4, 5), (6, 7)]
    of_a, of_b = ([(matrix[i, j] + matrix[j, i]) / 2 for i, j in pairs] for matrix in (a, b))
    found = paired_test(cells(a), cells(b))
    expected = stats.ttest_rel(of_a, of_b)
    assert found.difference.mean == pytest.approx(np.mean(of_a) - np.mean(of_b), abs=1e-12)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
    interval = expected.confidence_interval(0.95)
    assert found.difference[2:4] == pytest.approx((interval.low, interval.high), rel=1e-9)


def test_paired_test_of_self_play_and_gap():
    a, b = (np.random.default_rng(seed).normal(size=(6, 6)) for seed in (2, 3))
    own_a, own_b = (np.diag(matrix).reshape(3, 2).mean(axis=1) for matrix in (a, b))
    crossed = [[(m[i, i + 1] + m[i + 1, i]) / 2 for i in (0, 2, 4)] for m in (a, b)]
    assert paired_test(cells(a), cells(b), of="self_play").p == pytest.approx(
        stats.ttest_rel(own_a, own_b).pvalue, rel=1e-9
    )
    gaps = own_a - crossed[0], own_b - crossed[1]
    assert paired_test(cells(a), cells(b), of="gap").p == pytest.approx(stats.ttest_rel(*gaps).pvalue, rel=1e-9)


def test_paired_test_with_three_players_takes_groups_of_three():
    seats = [(s,) * 3 for s in range(6)] + [
        order for group in ((0, 1, 2), (3, 4, 5)) for order in itertools.permutations(group)
    ]
    # XP 1 and 3 in the groups of one method, 0 and 0 in the other.
    first = [9.0] * 6 + [1.0] * 6 + [3.0] * 6
    second = [9.0] * 6 + [0.0] * 12
    found = paired_test((np.array(seats), np.array(first)), (np.array(seats), np.array(second)))
    assert found.difference[:2] == pytest.approx((2.0, 1.0))
    assert found.p == pytest.approx(2 * stats.t.sf(2.0, 1), rel=1e-9)


def test_difference_test_of_self_play_by_the_formula():
    a, b = np.array([3.0, 4, 5, 6, 7, 8]), np.array([5.0, 5, 6, 6, 7, 9, 8, 10])
    v_a, v_b = (own.var(ddof=1) / (len(own) - 1) for own in (a, b))  # SE² N / (N - 1)
    freedom = (v_a + v_b) ** 2 / (v_a**2 / 5 + v_b**2 / 7)
    p = 2 * stats.t.sf(abs(a.mean() - b.mean()) / np.sqrt(v_a + v_b), freedom)
    found = difference_test(cells(np.diag(a)), cells(np.diag(b)), of="self_play")
    assert found.difference.mean == pytest.approx(-1.5)
    assert found.p == pytest.approx(p, rel=1e-9)


def test_p_values_and_intervals_tell_the_same():
    for shift in np.linspace(0, 1.2, 13):
        found = difference_test(noisy(5, 0.0), noisy(6, shift), resamples=2000)
        excluded = not found.difference.low <= 0 <= found.difference.high
        assert excluded == (found.p < 0.05) or 0.03 < found.p < 0.07  # skewed resamples move the ends a little


def test_verdicts():
    compared = compare_methods({"low": noisy(0, 0.0), "high": noisy(1, 5.0), "same": noisy(2, 0.1)}, resamples=1000)
    assert [one[:2] for one in compared] == [("low", "high"), ("low", "same"), ("high", "same")]
    assert [one.verdict for one in compared] == ["high > low", "not distinguishable", "high > same"]
    np.testing.assert_allclose([one.corrected for one in compared], holm([one.p for one in compared]))


def test_a_difference_that_only_an_uncorrected_test_would_find():
    quiet = {f"method {number}": noisy(10 + number, 0.0) for number in range(6)}
    pair = {"a": noisy(5, 0.0), "b": noisy(6, 0.62)}
    alone = compare_methods(pair, test="disjoint pairs")[0]
    (among,) = [
        one for one in compare_methods(pair | quiet, test="disjoint pairs") if (one.first, one.second) == ("a", "b")
    ]
    assert alone.p == among.p == alone.corrected == pytest.approx(0.0148, abs=1e-4)
    assert alone.verdict == "b > a"
    assert 0.05 < among.corrected <= 28 * alone.p
    assert among.verdict == "not distinguishable"


def test_few_seeds_are_not_compared_and_not_counted():
    few = noisy(0, 9.0, num_seeds=4)
    compared = compare_methods({"a": noisy(0, 0.0), "b": noisy(1, 5.0), "few": few}, resamples=500)
    assert compared[0].corrected == compared[0].p
    assert compared[1].p is None
    assert compared[1].verdict.startswith("not estimable (second run: ")
    paired = paired_test(few, few)
    assert paired.p is None
    assert "6 seeds, there are 4" in paired.difference.note


def test_scores_without_any_spread():
    same, more = cells(np.full((6, 6), 2.0)), cells(np.full((6, 6), 3.0))
    assert difference_test(same, same).p == 1
    assert difference_test(same, more).p == 0
    assert paired_test(same, more).p == 0


@pytest.mark.parametrize("seeds", [None, "0 to 7"])
def test_equal_means_of_three_runs_do_not_differ_by_rounding(seeds):
    """1/3 + 1/3 + 1/3 − 1/3 − 1/3 − 1/3 = 1.1e-16."""
    thirds = [Part(1 / 3, cells(np.ones((8, 8))), seeds=seeds)] * 3
    found = combination_test([*thirds, *(part._replace(weight=-1 / 3) for part in thirds)])
    assert found == ((0.0, 0.0, 0.0, 0.0, ""), 1.0)
    assert against_greatest([thirds, thirds]) == [1.0, 1.0]


def test_equal_scores_in_another_order_of_games_do_not_differ_by_rounding():
    pairs, _ = cells(np.zeros((6, 6)))
    a, b = ((pairs, np.tile(games, (36, 1))) for games in ([0.1, 0.2, 0.3], [0.3, 0.2, 0.1]))
    assert (a[1].mean(axis=1) != b[1].mean(axis=1)).all()
    assert paired_test(a, b).p == difference_test(a, b).p == 1


def test_against_the_greatest_are_the_tests_with_it():
    methods = {
        name: noisy(seed, mean, 10) for seed, (name, mean) in enumerate(zip("abcde", (2, 1.8, 1, 1.9, 0), strict=True))
    }
    means = {name: cross_play(*one).mean for name, one in methods.items()}
    best = max(means, key=means.__getitem__)
    found = dict(zip(methods, against_greatest([[Part(1.0, one)] for one in methods.values()]), strict=True))
    assert found.pop(best) == 1
    assert found == {name: difference_test(methods[best], methods[name]).p for name in found}
    assert sorted(p * 10 < ALPHA for p in found.values()) == [False, False, True, True]


def test_the_greatest_of_equal_methods_is_rarely_called_better():
    """Which of 6 equal methods is the greatest is chance, and the correction for all pairs has to allow for it."""
    least = []
    for dataset in range(60):
        worth = np.random.default_rng(dataset).normal(size=(6, 8))
        methods = [[Part(1.0, cells(np.diag(one)))] for one in worth]
        least.append(min(against_greatest(methods, of="self_play")))
    assert sum(p < ALPHA for p in least) > 10
    assert sum(p * 15 < ALPHA for p in least) <= 3


def test_against_the_greatest_needs_intervals():
    def method(mean, seeds=8, **part):
        return [Part(1.0, noisy(int(10 * mean), mean, seeds, 0.1), **part)]

    def tested(*methods):
        return [None if p is None else p * 3 >= ALPHA for p in against_greatest(methods)]

    assert tested(method(1.0), method(0.0, seeds=4), method(0.5)) == [True, None, False]
    assert tested(method(1.0), method(2.0, seeds=4), method(0.0)) == [None] * 3
    assert tested(method(1.0), method(2.0, note="no games"), method(0.0)) == [None] * 3
    assert tested(method(1.0)) == [None]
    assert tested(method(1.0, seeds=4), method(0.0, seeds=4)) == [None] * 2
    assert against_greatest([method(1.0), method(1.0)]) == [1.0, 1.0]


def test_seeds_that_runs_share_are_paired():
    """What a seed is worth in both runs cancels: the difference is what is left, here a constant."""
    worth = np.random.default_rng(0).normal(size=8)
    low = cells(worth[:, None] + worth)
    high = (low[0], low[1] + 0.25)
    apart = combination_test([Part(1.0, high), Part(-1.0, low)])
    paired = combination_test([Part(1.0, high, seeds="0 to 7"), Part(-1.0, low, seeds="0 to 7")])
    assert apart.difference == difference(high, low) and apart.p > 0.5
    assert paired.difference.mean == pytest.approx(0.25)
    assert paired.difference.se == pytest.approx(0, abs=1e-7) and paired.p < 1e-6
    with pytest.raises(TacitError, match="cells of different seeds cannot be paired"):
        combination_test([Part(1.0, high, seeds=0), Part(-1.0, noisy(0, 1.0, 6), seeds=0)])


def test_paired_self_play_is_the_paired_t_test():
    a, b = np.random.default_rng(1).normal(size=(2, 8))
    parts = [Part(1.0, cells(np.diag(a)), seeds=0), Part(-1.0, cells(np.diag(b)), seeds=0)]
    found = combination_test(parts, of="self_play")
    assert found.difference.se == pytest.approx((a - b).std(ddof=1) / np.sqrt(8), rel=1e-9)
    widened = found.difference.se * np.sqrt(8 / 7)
    assert found.p == pytest.approx(2 * stats.t.sf(abs((a - b).mean()) / widened, 7), rel=1e-9)


def test_a_mean_of_differences_is_a_combination():
    """Of independent runs the squared errors add up, weighted by the squares of the weights."""
    runs = [noisy(seed, mean, 12) for seed, mean in enumerate((1.0, 0.2, 0.9, 0.4))]
    weights = (0.5, -0.5, 0.5, -0.5)
    parts = [Part(weight, run) for weight, run in zip(weights, runs, strict=True)]
    found = combination_test(parts, of="self_play").difference
    alone = [self_play(*run) for run in runs]
    assert found.mean == pytest.approx(sum(w * one.mean for w, one in zip(weights, alone, strict=True)))
    assert found.se == pytest.approx(0.5 * np.sqrt(sum(one.se**2 for one in alone)), rel=1e-9)


def test_intervals_end_where_scores_do():
    found = cross_play(*noisy(0, 0.9, 8, 0.5))
    assert found.high > 1 and found.low < 0.9
    assert found.within(0.0, 1.0) == found._replace(high=1.0)
    assert found.within(0.0, 1.0).times(0.5)[:4] == pytest.approx([0.5 * one for one in (*found[:3], 1.0)])
    none = cross_play(*noisy(0, 0.9, 3))
    assert none.within(0.0, 1.0) == none and none.times(0.5).note == none.note


def test_tests_refuse_what_does_not_pair():
    with pytest.raises(TacitError, match="as many seeds of either method, not 8 and 6"):
        paired_test(noisy(0, 0.0), noisy(0, 0.0, num_seeds=6))
    seatings, scores = noisy(0, 0.0)
    apart = ~((seatings == [0, 1]).all(axis=1) | (seatings == [1, 0]).all(axis=1))
    with pytest.raises(TacitError, match="seeds 0, 1 have no cell together"):
        paired_test((seatings[apart], scores[apart]), (seatings, scores))
    with pytest.raises(TacitError, match="no test is called 'anova'"):
        compare_methods({}, test="anova")


# --------------------------------------------------------------------------------------------------------------- blocks


def test_blocks_by_hand():
    matrix = [[10, 2, 5, 6], [4, 20, 7, 9], [1, 2, 30, 8], [3, 5, 6, 40]]
    found = blocks(*cells(matrix), ["A", "A", "B", "B"])
    assert found.methods == ("A", "B")
    assert [one.mean for one in found.self_play] == [15, 35]
    assert [[one.mean for one in row] for row in found.cross_play] == [[3, 6.75], [2.75, 7]]
    np.testing.assert_array_equal(found.means(), [[3, 4.75], [4.75, 7]])  # over both seatings
    assert "6 seeds of each method, there are 2" in found.cross_play[0][1].note


def test_the_error_of_a_block_of_additive_effects():
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=6), 2 * generator.normal(size=9)
    matrix = np.full((15, 15), 99.0)
    matrix[:6, 6:] = a[:, None] + b[None]
    estimate = blocks(*cells(matrix), ["A"] * 6 + ["B"] * 9).cross_play[0][1]
    assert estimate.mean == pytest.approx(a.mean() + b.mean())
    assert estimate.se == pytest.approx(np.sqrt(a.var(ddof=1) / 6 + b.var(ddof=1) / 9), rel=1e-9)
    half = stats.t.ppf(0.975, 5) * estimate.se * np.sqrt(6 / 5)
    assert estimate.high - estimate.low == pytest.approx(2 * half, rel=0.06)


def test_a_partner_of_one_agent_is_taken_as_it_is():
    scores = np.array([1.0, 2, 3, 4, 6, 8])
    matrix = np.zeros((7, 7))
    matrix[:6, 6] = scores
    matrix[6, 6] = 5
    found = blocks(*cells(matrix), ["A"] * 6 + ["rules"])
    assert found.cross_play[0][1][:2] == pytest.approx((4.0, np.sqrt(scores.var(ddof=1) / 6)))
    assert found.self_play[1].mean == 5
    assert found.cross_play[1][1].mean is None
    two = blocks(*cells(matrix[5:, 5:]), ["one", "rules"])
    assert two.cross_play[0][1].mean == 8
    assert "one agent of each method" in two.cross_play[0][1].note


def test_blocks_of_three_players_have_one_against_the_rest():
    method = ["A", "A", "B", "B", "C"]
    seats = {(0, 2, 3): 1.0, (2, 0, 2): 3.0, (3, 3, 1): 5.0, (0, 1, 2): 7.0, (0, 2, 4): 100.0, (4, 4, 4): 50.0}
    found = blocks(np.array(list(seats)), np.array(list(seats.values())), method)
    assert found.methods == ("A", "B", "C")
    expected = np.full((3, 3), np.nan)
    expected[0, 1], expected[1, 0] = 3, 7  # one A among B, one B among A
    np.testing.assert_array_equal(found.means(), expected)
    assert found.self_play[2].mean == 50
    assert found.cross_play[0][2].note == "no cell of the two methods together"


def test_own_cells_are_each_methods_alone():
    found = own_cells([[0, 0], [0, 1], [1, 0], [1, 1], [2, 2], [2, 0]], [1, 2, 3, 4, 5, 6], ["A", "B", "A"])
    assert list(found) == ["A", "B"]
    np.testing.assert_array_equal(found["A"][0], [[0, 0], [2, 2], [2, 0]])
    np.testing.assert_array_equal(found["B"][1], [4])


def test_every_agent_needs_a_method():
    with pytest.raises(TacitError, match="methods of 1 agents are given, and agents 0 to 1 play"):
        blocks([[0, 1]], [1.0], ["A"])
    with pytest.raises(TacitError, match=r"seatings \(1, 2\) with scores \(2,\)"):
        blocks([[0, 1]], [1.0, 2.0], ["A", "B"])


def test_intervals_of_blocks_end_where_scores_do():
    own = Estimate(0.9, 0.1, 0.7, 1.1)
    found = Blocks(("a",), (own,), ((own._replace(low=-0.5),),), ((own,),)).within(0.0, 1.0)
    assert found == Blocks(
        ("a",), (own._replace(high=1.0),), ((own._replace(low=0.0, high=1.0),),), ((own._replace(high=1.0),),)
    )
