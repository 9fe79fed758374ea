"""The estimators against numbers worked by hand, a naive resampling loop, and a known truth."""

import itertools
import math
import statistics

import numpy as np
import pytest

from games.errors import TacitError
from marl.crossplay import estimators, standard_error
from marl.crossplay.estimators import Estimate

# Row i, column j: the score with seed i in seat 0 and seed j in seat 1.
MATRIX = np.array([[10.0, 4.0, 6.0, 1.0], [2.0, 8.0, 0.0, 3.0], [5.0, 7.0, 12.0, 9.0], [2.0, 4.0, 6.0, 10.0]])


def cells_of(matrix):
    size = len(matrix)
    return np.array(list(itertools.product(range(size), repeat=2))), np.asarray(matrix, float).reshape(-1)


def random_cells(num_seeds, *, seed, num_players=2, one_against_copies=False):
    """SP and XP cells with a seed effect of sd 1 a seat and a cell effect of sd 0.5."""
    generator = np.random.default_rng(seed)
    if one_against_copies:
        xp = {
            tuple(one if seat == odd else other for seat in range(num_players))
            for one, other in itertools.permutations(range(num_seeds), 2)
            for odd in range(num_players)
        }
    else:
        xp = itertools.permutations(range(num_seeds), num_players)
    seatings = np.array([(seed,) * num_players for seed in range(num_seeds)] + sorted(xp))
    effects = generator.standard_normal(num_seeds)
    return seatings, effects[seatings].sum(axis=1) + 0.5 * generator.standard_normal(len(seatings))


def two_way(generator, num_seeds, *, seed_sd, pair_sd):
    """score_ij = 5 + a_i + b_j + pair_ij + noise, and 1 more in self-play."""
    a, b = seed_sd * generator.standard_normal((2, num_seeds))
    pair = np.triu(pair_sd * generator.standard_normal((num_seeds, num_seeds)), 1)
    noise = 0.3 * generator.standard_normal((num_seeds, num_seeds))
    return cells_of(5 + a[:, None] + b + pair + pair.T + noise + np.eye(num_seeds))


def holds(estimate, value):
    return estimate.low <= value <= estimate.high


# ------------------------------------------------------------------------------------------------------- by hand


def test_four_by_four_by_hand():
    summary = estimators.summarise(*cells_of(MATRIX))
    # SP: 10, 8, 12, 10; deviations 0, -2, 2, 0, so s² = 8/3 and SE = sqrt(8/3/4).
    assert summary.self_play.mean == 10.0
    assert summary.self_play.se == pytest.approx(math.sqrt(2 / 3), rel=1e-12)
    # Seeds 0 and 1: (4 + 2)/2 = 3. Seeds 2 and 3: (9 + 6)/2 = 7.5. s = 4.5/sqrt(2), SE = s/sqrt(2).
    assert summary.cross_play_disjoint[:2] == pytest.approx((5.25, 2.25), rel=1e-12)
    # 4+6+1 + 2+0+3 + 5+7+9 + 2+4+6 = 49, in 12 cells.
    assert summary.cross_play.mean == pytest.approx(49 / 12, rel=1e-12)
    assert summary.gap.mean == pytest.approx(10 - 49 / 12, rel=1e-12)


def test_se_of_six_seeds_by_hand():
    # Seeds 0 and 1 score 1 together, all others 0: mean 1/15, d = 14/15 in that pair and -1/15 in the 14 others.
    # 15 · 6 = 90 ordered couples of pairs share no seed. In 12 of them is the pair (0, 1): d·d' = -14/225; in 78 it
    # is not: 1/225. SE² = -(78 - 12 · 14)/225/90 = 1/225.
    matrix = np.zeros((6, 6))
    matrix[0, 1] = matrix[1, 0] = 1
    run = standard_error.read(cells_of(matrix), "cross_play")
    assert standard_error.over_seeds(run) == pytest.approx(1 / 225, rel=1e-12)
    assert estimators.cross_play(*cells_of(matrix)).mean == pytest.approx(1 / 15, rel=1e-12)


def test_standard_error_of_self_play_is_the_textbook_one():
    seatings, scores = cells_of(np.diag([3.0, 5.0, 4.0, 9.0, 1.0, 2.0]))
    estimate = estimators.self_play(seatings, scores)
    assert estimate.mean == 4.0
    assert estimate.se == pytest.approx(math.sqrt(40 / 5 / 6), rel=1e-12)  # deviations -1, 1, 0, 5, -3, -2


def test_disjoint_pairs_alone_have_the_paper_s_error():
    """A list with those cells only: the general formula comes down to s²/m."""
    pairs = [(0, 1), (2, 3), (4, 5), (6, 7)]
    seatings = [seats for a, b in pairs for seats in ((a, b), (b, a))]
    scores = [1.0, 3.0, 4.0, 4.0, 5.0, 7.0, 0.0, 8.0]  # pairs 2, 4, 6, 4
    run = standard_error.read((seatings, scores), "cross_play")
    paper = estimators.cross_play_disjoint(seatings, scores)
    assert paper[:2] == pytest.approx((4.0, math.sqrt(8 / 3 / 4)), rel=1e-12)
    assert standard_error.over_seeds(run) == pytest.approx(paper.se**2, rel=1e-12)
    # Student's t with 3 degrees of freedom.
    assert paper.high - paper.mean == pytest.approx(3.182446305284263 * paper.se, rel=1e-9)


def test_three_players_average_all_seatings_of_disjoint_groups():
    groups = [(0, 1, 2), (3, 4, 5)]
    seatings = [order for group in groups for order in itertools.permutations(group)] + [(0, 1, 3), (0, 0, 0)]
    scores = [1.0, 2.0, 3.0, 4.0, 5.0, 9.0, *[10.0] * 5, 16.0, 100.0, 100.0]  # groups 4 and 11
    estimate = estimators.cross_play_disjoint(seatings, scores)
    assert estimate[:2] == pytest.approx((7.5, 3.5), rel=1e-12)
    assert estimate.high - estimate.mean == pytest.approx(12.706204736432095 * 3.5, rel=1e-9)  # 1 degree of freedom


def test_seeds_left_over_are_not_in_a_disjoint_group():
    matrix = np.zeros((5, 5))
    matrix[:4, :4] = MATRIX
    matrix[4] = matrix[:, 4] = 1000
    assert estimators.cross_play_disjoint(*cells_of(matrix))[:2] == pytest.approx((5.25, 2.25), rel=1e-12)


def test_one_against_copies_meets_in_pairs():
    seatings = [(0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    seatings += [tuple(seat + 2 for seat in seats) for seats in seatings] + [(1, 2, 2), (2, 2, 2)]
    scores = [1.0, 2.0, 3.0, 4.0, 5.0, 9.0, *[10.0] * 5, 16.0, 50.0, 100.0]  # {0, 1}: 4; {2, 3}: 11; {1, 2}: 50
    assert estimators.cross_play_disjoint(seatings, scores)[:2] == pytest.approx((7.5, 3.5), rel=1e-12)
    assert estimators.cross_play(seatings, scores).mean == pytest.approx((24 + 66 + 50) / 13, rel=1e-12)
    assert estimators.self_play(seatings, scores).mean == 100.0
    # Seeds 1 and 2 both twice, 3 once, 0 never: {1, 2} weighs 4, each cell of {2, 3} weighs 2, {0, 1} nothing.
    (mean,) = estimators.resampled_means(seatings, scores, [[0, 2, 2, 1]])
    assert mean == pytest.approx((4 * 50 + 2 * 66) / (4 + 2 * 6), rel=1e-12)


# ---------------------------------------------------------------------------------------------------- not estimable


@pytest.mark.parametrize(
    ("num_seeds", "sp", "xp", "disjoint"),
    [
        (1, "2.00, SE and interval not estimable (an SE needs 2 seeds, there is 1)", "none", "none"),
        (
            2,
            "3.00 ± 1.00, interval not estimable (an interval needs 6 seeds, there are 2)",
            "1.00, SE and interval not estimable (an SE needs 6 seeds, there are 2)",
            "1.00, SE and interval not estimable (an SE needs 4 seeds, there are 2)",
        ),
        (
            4,
            "5.00 ± 1.29, interval not estimable (an interval needs 6 seeds, there are 4)",
            "1.00, SE and interval not estimable (an SE needs 6 seeds, there are 4)",
            "1.00 ± 0.00, interval not estimable (an interval needs 6 seeds, there are 4)",
        ),
        (
            5,
            "6.00 ± 1.41, interval not estimable (an interval needs 6 seeds, there are 5)",
            "1.00, SE and interval not estimable (an SE needs 6 seeds, there are 5)",
            "1.00 ± 0.00, interval not estimable (an interval needs 6 seeds, there are 5)",
        ),
    ],
)
def test_too_few_seeds(num_seeds, sp, xp, disjoint):
    none = "not estimable (no cross-play cell)"
    matrix = np.ones((num_seeds, num_seeds))
    np.fill_diagonal(matrix, 2.0 * np.arange(1, num_seeds + 1))
    summary = estimators.summarise(*cells_of(matrix))
    assert str(summary.self_play) == sp
    assert str(summary.cross_play) == xp.replace("none", none)
    assert str(summary.cross_play_disjoint) == disjoint.replace("none", none)
    assert summary.gap.se is None and summary.gap.low is None
    assert not any("nan" in str(estimate) for estimate in summary)


def test_an_error_needs_two_groups_without_a_common_seed():
    five = estimators.summarise(*random_cells(7, seed=0, num_players=5))
    assert five.cross_play.se is None and five.cross_play.note == "an SE needs 10 seeds, there are 7"
    assert five.cross_play_disjoint.note == "an SE needs 10 seeds, there are 7"
    assert five.self_play.low is not None

    star = [(0, other) for other in range(1, 8)]  # seed 0 in every cell
    estimate = estimators.cross_play(star, np.arange(7.0))
    assert (estimate.mean, estimate.se, estimate.note) == (3.0, None, "every two cross-play cells share a seed")
    assert estimators.cross_play_disjoint(star, np.arange(7.0)) == Estimate(
        None, note="no cell of the seeds 2, 3 together"
    )


def test_a_list_that_few_resamples_keep_is_not_estimable():
    seatings = list(itertools.permutations((0, 1, 2))) + list(itertools.permutations((3, 4, 5)))
    scores = np.arange(12.0)
    assert estimators.cross_play(seatings, scores) == Estimate(
        5.5, note="most resamples of the seeds keep no cross-play cell"
    )
    assert estimators.cross_play_disjoint(seatings, scores)[:2] == pytest.approx((5.5, 3.0), rel=1e-12)


def test_a_difference_says_which_run_is_too_small():
    few, many = cells_of(MATRIX), random_cells(6, seed=0)
    estimate = estimators.difference(many, few)
    assert estimate.se is None and estimate.note == "second run: an SE needs 6 seeds, there are 4"
    of_self_play = estimators.difference(few, many, of="self_play")
    assert of_self_play.se is not None and of_self_play.low is None
    assert of_self_play.note == "first run: an interval needs 6 seeds, there are 4"


def test_text():
    assert str(Estimate(5.384, 0.021, 5.301, 5.442)) == "5.38 ± 0.02 [5.30, 5.44]"
    assert f"{Estimate(5.384, 0.021, 5.301, 5.442):.3f}" == "5.384 ± 0.021 [5.301, 5.442]"
    assert str(Estimate(-0.001, 0.0, -0.001, 0.001)) == "0.00 ± 0.00 [0.00, 0.00]"
    assert str(Estimate(None, note="no cross-play cell")) == "not estimable (no cross-play cell)"


@pytest.mark.parametrize(
    ("seatings", "scores", "message"),
    [
        ([0, 1], [1.0, 2.0], "expected int"),
        ([[0, 1]], [1.0, 2.0], "expected int"),
        ([[0.5, 1.0]], [1.0], "expected int"),
        ([[0, 1], [1, 0]], [1.0, np.nan], r"seating \[1, 0\] is nan"),
        ([[0, 1], [0, 1]], [1.0, 2.0], "given twice"),
        ([[0, 1, 2], [0, 1, 1]], [1.0, 2.0], "2 and 3 different seeds"),
    ],
)
def test_bad_cells(seatings, scores, message):
    with pytest.raises(TacitError, match=message):
        estimators.cross_play(seatings, scores)


def test_a_gap_needs_the_same_seeds():
    with pytest.raises(TacitError, match="the same seeds"):
        estimators.gap([(0, 0), (1, 1), (0, 1), (1, 2)], [1.0, 1.0, 1.0, 1.0])
    with pytest.raises(TacitError, match="no quantity"):
        estimators.difference(cells_of(MATRIX), cells_of(MATRIX), of="xp")  # pyright: ignore[reportArgumentType]


# ------------------------------------------------------------------------------------------------------- bootstrap


def test_bootstrap_equals_a_naive_loop():
    """Draw seeds, seat every ordered pair of draws, leave out what shares an original seed."""
    seatings, scores = random_cells(7, seed=1)
    matrix = np.full((7, 7), np.nan)
    matrix[tuple(seatings.T)] = scores
    draws = np.random.default_rng(2).integers(7, size=(200, 7))
    expected = []
    for drawn in draws:
        sp = [matrix[seed, seed] for seed in drawn]
        xp = [matrix[drawn[i], drawn[j]] for i, j in itertools.permutations(range(7), 2) if drawn[i] != drawn[j]]
        expected.append((np.mean(sp), np.mean(xp)))
    sp, xp = np.array(expected).T
    counts = np.array([np.bincount(drawn, minlength=7) for drawn in draws])
    for of, values in (("self_play", sp), ("cross_play", xp), ("gap", sp - xp)):
        np.testing.assert_allclose(estimators.resampled_means(seatings, scores, counts, of=of), values, atol=1e-12)


def test_bootstrap_of_three_players_equals_a_naive_loop():
    seatings, scores = random_cells(6, seed=3, num_players=3)
    score = dict(zip(map(tuple, seatings.tolist()), scores, strict=True))
    draws = np.random.default_rng(4).integers(6, size=(50, 6))
    expected = []
    for drawn in draws:
        met = [tuple(drawn[list(seats)].tolist()) for seats in itertools.permutations(range(6), 3)]
        expected.append(np.mean([score[seats] for seats in met if len(set(seats)) == 3]))
    counts = np.array([np.bincount(drawn, minlength=6) for drawn in draws])
    np.testing.assert_allclose(estimators.resampled_means(seatings, scores, counts), expected, atol=1e-12)


def test_weights_of_seeds_drawn_more_than_once():
    seatings, scores = cells_of(MATRIX)
    once, doubled, pair_only, same = estimators.resampled_means(
        seatings, scores, [[1, 1, 1, 1], [2, 1, 1, 0], [3, 0, 0, 1], [0, 4, 0, 0]]
    )
    assert once == pytest.approx(49 / 12, rel=1e-12)
    # Seed 0 twice: its cells with 1 and 2 weigh 2, those of 1 with 2 weigh 1.
    assert doubled == pytest.approx((2 * (4 + 2 + 6 + 5) + 0 + 7) / (2 * 4 + 2), rel=1e-12)
    assert pair_only == pytest.approx((1 + 2) / 2, rel=1e-12)  # the self-play of seed 0 with its copies is never XP
    assert np.isnan(same)


def test_scale_of_the_interval():
    """The resampled deviations are brought to the SE, widened by sqrt(N/(N-1)), and cut at the probability of ±t."""
    seatings, scores = random_cells(8, seed=5)
    estimate = estimators.cross_play(seatings, scores, resamples=4000, rng=6)
    counts = np.random.default_rng(6).multinomial(8, [1 / 8] * 8, size=4000)
    deviations = estimators.resampled_means(seatings, scores, counts) - estimate.mean
    widened = estimate.mean + deviations / deviations.std() * estimate.se * math.sqrt(8 / 7)
    tail = statistics.NormalDist().cdf(-2.3646242515927844)  # the 97.5 % quantile of t with 7 degrees of freedom
    np.testing.assert_allclose((estimate.low, estimate.high), np.quantile(widened, (tail, 1 - tail)), rtol=1e-9)


def test_se_is_never_below_a_third_of_the_bootstrap_variance():
    """All rows have one mean, though pairs differ: the unbiased variance is negative, the SE is the bound."""
    distance = (np.arange(8)[:, None] - np.arange(8)) % 8
    seatings, scores = cells_of(np.isin(distance, (1, 4, 7)))  # a ring: neighbours and opposites fit
    assert standard_error.over_seeds(standard_error.read((seatings, scores), "cross_play")) < 0
    counts = np.random.default_rng(0).multinomial(8, [1 / 8] * 8, size=10_000)
    means = estimators.resampled_means(seatings, scores, counts)
    bound = means[np.isfinite(means)].std() / math.sqrt(3)
    assert estimators.cross_play(seatings, scores).se == pytest.approx(bound, rel=1e-9)


def test_same_arguments_same_numbers():
    cells = random_cells(6, seed=7)
    assert estimators.summarise(*cells) == estimators.summarise(*cells)
    assert estimators.cross_play(*cells, rng=1) != estimators.cross_play(*cells, rng=2)


def test_relabelling_leaves_the_means():
    seatings, scores = random_cells(8, seed=8)
    labels = np.array([31, 4, 100, 7, 0, 12, 55, 9])
    order = np.random.default_rng(0).permutation(len(scores))
    before = estimators.summarise(seatings, scores)
    after = estimators.summarise(labels[seatings][order], scores[order])
    for name in ("self_play", "cross_play", "gap"):
        assert getattr(after, name).mean == pytest.approx(getattr(before, name).mean, rel=1e-12)
        assert getattr(after, name).se == pytest.approx(getattr(before, name).se, rel=0.05)
    increasing = estimators.summarise(seatings * 10 + 3, scores)  # the order of the seeds is the same: so is everything
    assert increasing == before


def test_a_constant_shifts_the_means_alone():
    seatings, scores = random_cells(6, seed=9, num_players=3)
    before, after = estimators.summarise(seatings, scores), estimators.summarise(seatings, scores + 24)
    for name in before._fields:
        shift = 0.0 if name == "gap" else 24.0
        mean, se, low, high, _ = getattr(before, name)
        expected = (mean + shift, se, low + shift, high + shift)
        assert getattr(after, name)[:4] == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_equal_scores_have_no_error():
    estimate = estimators.cross_play(*cells_of(np.full((6, 6), 24.3)))
    assert str(estimate) == "24.30 ± 0.00 [24.30, 24.30]"


def test_gap_is_resampled_jointly():
    """Seed effects common to SP and XP cancel: the gap is known far better than either."""
    seatings, _ = cells_of(np.zeros((8, 8)))
    skill = np.arange(8.0)
    scores = skill[seatings].sum(axis=1) + 3 * (seatings[:, 0] == seatings[:, 1])
    summary = estimators.summarise(seatings, scores)
    assert summary.gap.mean == pytest.approx(3.0, rel=1e-12)
    assert summary.gap.se < 0.25 * summary.cross_play.se
    assert summary.self_play.se == pytest.approx(summary.cross_play.se, rel=1e-9)  # 2·sd(skill)/sqrt(8), both


def test_difference_adds_the_variances():
    a, b = random_cells(8, seed=10), random_cells(12, seed=11)
    for of in ("self_play", "cross_play", "gap"):
        of_a, of_b = getattr(estimators, of)(*a), getattr(estimators, of)(*b)
        estimate = estimators.difference(a, b, of=of)
        assert estimate.mean == pytest.approx(of_a.mean - of_b.mean, rel=1e-12)
        assert estimate.se == pytest.approx(math.hypot(of_a.se, of_b.se), rel=0.02)
        widths = [(one.high - one.low) / 2 for one in (of_a, of_b)]
        assert 0.8 * math.hypot(*widths) < (estimate.high - estimate.low) / 2 < sum(widths)
    itself = estimators.difference(a, a)  # two runs that happen to score the same: no certainty that they are equal
    assert itself.mean == 0 and itself.low < 0 < itself.high


def test_one_against_copies_has_an_error():
    estimate = estimators.summarise(*random_cells(6, seed=12, num_players=3, one_against_copies=True))
    assert all(one.se > 0 and one.low < one.mean < one.high for one in estimate)


def test_chunks_give_the_same_means(monkeypatch):
    seatings, scores = random_cells(6, seed=13)
    counts = np.random.default_rng(0).multinomial(6, [1 / 6] * 6, size=101)
    whole = estimators.resampled_means(seatings, scores, counts, of="gap"), estimators.gap(seatings, scores).se
    monkeypatch.setattr(standard_error, "_CHUNK", 40)
    parts = estimators.resampled_means(seatings, scores, counts, of="gap"), estimators.gap(seatings, scores).se
    np.testing.assert_allclose(parts[0], whole[0], rtol=1e-12)
    assert parts[1] == pytest.approx(whole[1], rel=1e-12)


# -------------------------------------------------------------------------------------------------------- coverage


@pytest.mark.slow
@pytest.mark.parametrize(("seed_sd", "pair_sd"), [(1.0, 0.3), (0.5, 1.0)])
def test_seed_errors_cover_and_cell_errors_do_not(seed_sd, pair_sd):
    """300 runs of 8 seeds with XP 5 and gap 1; `python -m benchmarks.coverage` has the whole table."""
    generator = np.random.default_rng(0)
    covered, naive_covered, ratios = [], [], []
    means, squared_ses = [], []
    for _ in range(300):
        cells = two_way(generator, 8, seed_sd=seed_sd, pair_sd=pair_sd)
        xp = estimators.cross_play(*cells, resamples=1000)
        gap = estimators.gap(*cells, resamples=1000)
        covered.append((holds(xp, 5.0), holds(gap, 1.0)))
        off_diagonal = cells[1][cells[0][:, 0] != cells[0][:, 1]]
        naive_se = off_diagonal.std(ddof=1) / math.sqrt(56)
        naive_covered.append(abs(xp.mean - 5.0) < 1.96 * naive_se)
        ratios.append(xp.se / naive_se)
        means.append(xp.mean)
        squared_ses.append(xp.se**2)
    coverage_xp, coverage_gap = np.mean(covered, axis=0)
    assert 0.92 <= coverage_xp <= 0.985
    assert 0.92 <= coverage_gap <= 0.99
    assert np.mean(naive_covered) < 0.80
    assert np.median(ratios) > 1.4
    assert math.sqrt(np.mean(squared_ses)) / np.std(means) == pytest.approx(1, abs=0.12)


def test_se_where_only_pairs_differ():
    """The N(N-1)/2 pairs are then independent: the SE finds that, the raw bootstrap counts them three times."""
    generator = np.random.default_rng(1)
    counts = generator.multinomial(16, [1 / 16] * 16, size=500)
    runs = [two_way(generator, 16, seed_sd=0.0, pair_sd=1.0) for _ in range(100)]
    rms = math.sqrt(np.mean([estimators.cross_play(*cells, resamples=500).se ** 2 for cells in runs]))
    raw = math.sqrt(np.mean([estimators.resampled_means(*cells, counts).var() for cells in runs]))
    true = math.sqrt((1 + 0.3**2 / 2) / 120)
    assert 0.95 * true < rms < 1.2 * true
    assert raw > 1.5 * true


def test_a_multiple_is_by_a_positive_factor():
    assert Estimate(2.0, 1.0, 1.0, 3.0).times(2.0) == (4.0, 2.0, 2.0, 6.0, "")
    with pytest.raises(TacitError, match=r"^a multiple of an estimate by -1: expected a positive factor$"):
        Estimate(2.0, 1.0, 1.0, 3.0).times(-1.0)
