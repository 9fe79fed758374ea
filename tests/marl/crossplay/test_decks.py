"""What decks add to the error of a mean: they are drawn, too, and all cells have the same."""

import itertools

import jax
import numpy as np
import pytest

from games.errors import TacitError
from games.hanabi import Hanabi
from marl.agent import Agent, Kind
from marl.crossplay import comparisons, crossplay, estimators, synthetic
from marl.policies.feed_forward import FeedForward

PAIRS = np.array(list(itertools.product(range(6), repeat=2)))
ESTIMATORS = (estimators.self_play, estimators.cross_play, estimators.gap)


def on_decks(seed=0, num_games=9, decks=2.0):
    """Scores [36, num_games] of six seeds with effects of seeds, of decks and of single games."""
    generator = np.random.default_rng(seed)
    seeds = generator.standard_normal(6)[PAIRS].sum(axis=1)
    return seeds[:, None] + decks * generator.standard_normal(num_games) + generator.standard_normal((36, num_games))


def naive_covariance(seatings, scores, other_seatings, others):
    """Mean over the pairs of cells that share no seed of the covariance of their means, pair by pair."""
    found = [
        np.cov(one, other)[0, 1] / len(one)
        for seats, one in zip(seatings, scores, strict=True)
        for other_seats, other in zip(other_seatings, others, strict=True)
        if not set(seats) & set(other_seats)
    ]
    return float(np.mean(found))


@pytest.mark.parametrize("estimate", ESTIMATORS)
def test_the_error_is_that_over_seeds_and_the_covariance_of_cells_without_a_common_seed(estimate):
    scores = on_decks()
    own = PAIRS[:, 0] == PAIRS[:, 1]
    parts = {"self_play": [(own, 1)], "cross_play": [(~own, 1)], "gap": [(own, 1), (~own, -1)]}[estimate.__name__]
    decks = sum(
        sign * other_sign * naive_covariance(PAIRS[rows], scores[rows], PAIRS[other_rows], scores[other_rows])
        for (rows, sign), (other_rows, other_sign) in itertools.product(parts, repeat=2)
    )
    found, given = estimate(PAIRS, scores), estimate(PAIRS, scores.mean(axis=1))
    assert found.mean == pytest.approx(given.mean, rel=1e-12)
    assert found.se**2 == pytest.approx(given.se**2 + max(decks, 0), rel=1e-9)
    if estimate is not estimators.gap:  # where the decks cancel
        assert decks > 0.2
        assert found.high - found.low > given.high - given.low


def test_literal_numbers():
    """Two seeds in three games: covariance of (1, 2, 6) and (2, 4, 9), 9.5, by 3 games; s² / N is 2 / 2."""
    found = estimators.self_play([[0, 0], [1, 1]], [[1, 2, 6], [2, 4, 9]])
    assert found.mean == 4.0
    assert found.se**2 == pytest.approx(2 / 2 + 9.5 / 3, rel=1e-12)


def test_a_negative_covariance_counts_as_none():
    scores = [[0.0, 1.0], [1.0, 0.0]]
    assert estimators.self_play([[0, 0], [1, 1]], scores).se == estimators.self_play([[0, 0], [1, 1]], [0.5, 0.5]).se


def test_one_game_says_nothing_about_decks():
    one = on_decks(num_games=1)
    assert estimators.cross_play(PAIRS, one) == estimators.cross_play(PAIRS, one[:, 0])


def test_disjoint_groups():
    scores = on_decks()
    chosen = [np.isin(PAIRS, group).all(axis=1) & (PAIRS[:, 0] != PAIRS[:, 1]) for group in ((0, 1), (2, 3), (4, 5))]
    groups = np.array([scores[rows].mean(axis=0) for rows in chosen])
    decks = np.mean([np.cov(groups)[a, b] for a, b in itertools.permutations(range(3), 2)]) / 9
    found = estimators.cross_play_disjoint(PAIRS, scores)
    assert found.mean == pytest.approx(groups.mean(), rel=1e-12)
    assert found.se**2 == pytest.approx(groups.mean(axis=1).var(ddof=1) / 3 + decks, rel=1e-9)


def test_what_decks_do_to_both_runs_cancels_in_their_difference():
    decks = 5 * np.random.default_rng(3).standard_normal(9)
    a, b = (on_decks(seed, decks=0.0) for seed in (1, 2))
    for test in (
        lambda a, b: estimators.difference(a, b),
        lambda a, b: comparisons.paired_test(a, b).difference,
    ):
        without = test((PAIRS, a), (PAIRS, b))
        found = test((PAIRS, a + decks), (PAIRS, b + decks))
        assert found[:4] == pytest.approx(without[:4], rel=1e-9)
    apart = estimators.difference((PAIRS, a + decks), (PAIRS, b + decks), same_decks=False)
    assert apart.se > 2 * without.se
    alone = [estimators.cross_play(PAIRS, a + decks).se, estimators.cross_play(PAIRS, b + decks).se]
    assert apart.se == pytest.approx(np.hypot(*alone), rel=1e-9)


def test_a_deck_that_one_run_likes_and_the_other_does_not_does_not_cancel():
    decks = 5 * np.random.default_rng(3).standard_normal(9)
    a, b = (on_decks(seed, decks=0.0) for seed in (1, 2))
    found = comparisons.difference_test((PAIRS, a + decks), (PAIRS, b - decks))
    covariance = np.var(2 * decks, ddof=1) / 9
    given = estimators.difference((PAIRS, (a + decks).mean(axis=1)), (PAIRS, (b - decks).mean(axis=1)))
    assert found.difference.se**2 == pytest.approx(given.se**2 + covariance, rel=0.2)
    assert found.p > comparisons.difference_test((PAIRS, (a + decks).mean(axis=1)), (PAIRS, (b - decks).mean(axis=1))).p


def test_blocks_count_the_decks_of_two_methods():
    generator = np.random.default_rng(5)
    seatings = np.array(list(itertools.product(range(6), range(6, 12))))
    scores = 3 * generator.standard_normal(7) + generator.standard_normal((36, 7))
    methods = ["A"] * 6 + ["B"] * 6
    found, given = (
        comparisons.blocks(seatings, one, methods).cross_play[0][1] for one in (scores, scores.mean(axis=1))
    )
    decks = naive_covariance(seatings, scores, seatings, scores)
    assert found.se**2 == pytest.approx(given.se**2 + decks, rel=1e-9)


def test_runs_of_different_numbers_of_games_have_no_decks_in_common():
    with pytest.raises(TacitError, match="9 and 8 games: expected as many of either run on the same decks"):
        estimators.difference((PAIRS, on_decks()), (PAIRS, on_decks(num_games=8)))
    assert estimators.difference((PAIRS, on_decks()), (PAIRS, on_decks(num_games=8)), same_decks=False).se > 0


@pytest.mark.slow
def test_intervals_hold_only_if_they_count_the_decks():
    ways = ("self_play", "cross_play", "gap", "difference", "cross_play_disjoint")
    measured = synthetic.measure(["decks"], [8], samples=300, resamples=200, quantities=ways)["decks"][8]
    for name in ways:
        assert 0.91 <= measured[name].share <= 0.99, name
        assert measured[name].se_ratio == pytest.approx(1, abs=0.15), name
    generator, held = np.random.default_rng(0), []
    for _ in range(300):
        ((seatings, scores),) = synthetic.decks(generator, 8, 1)
        found = estimators.cross_play(seatings, scores.mean(axis=1), resamples=200)
        held.append(found.low <= synthetic.XP_MEAN <= found.high)
    assert np.mean(held) < 0.91


def test_cross_play_keeps_every_game():
    game = Hanabi(colors=2, ranks=2, hand_size=2)
    policy = FeedForward(game.observer("hle").size, game.num_actions, torso=(4,))
    kind = Kind(policy, "hle", True)
    agents = [Agent(kind, policy.init(key=jax.random.key(seed)), str(seed)) for seed in range(2)]
    settings = {"greedy": True, "key": jax.random.key(1)}
    found = crossplay(game, agents, games=7, **settings)
    assert found.scores.shape == (4, 7) and found.scores.dtype == np.float32
    np.testing.assert_allclose(found.scores.mean(axis=1), found.mean, rtol=1e-6)
    np.testing.assert_allclose(found.scores.std(axis=1, ddof=1) / np.sqrt(7), found.standard_error, rtol=1e-5)
    assert found.cells[1] is found.scores and found._replace(scores=None).cells[1] is found.mean
    # In calls of three games, the last of which plays two beyond the seven.
    np.testing.assert_array_equal(crossplay(game, agents, games=7, max_lanes=3, **settings).scores, found.scores)


# ------------------------------------------------------------------------------------------ one far from all others


def test_one_seed_far_from_all_others_is_named():
    generator = np.random.default_rng(0)
    seatings, scores = synthetic.random_effects(generator, 8, synthetic.EFFECTS["seeds"])
    assert estimators.outlier_seeds(seatings, scores) == []
    bad = (seatings == 3).any(axis=1)
    assert estimators.outlier_seeds(seatings, scores - 20 * bad) == [3]
    alone = (seatings == 5).all(axis=1)  # bad with itself only
    assert estimators.outlier_seeds(seatings + 10, scores - 20 * alone) == [15]
    assert estimators.outlier_seeds(seatings[:0], scores[:0]) == []
    own, level = np.repeat(np.arange(8)[:, None], 2, axis=1), np.eye(8)[3]
    assert estimators.outlier_seeds(own, 1 - 0.001 * level) == []
    assert estimators.outlier_seeds(own, 1 - 0.1 * level) == [3]


def test_of_normal_seeds_few_are_called_far():
    generator = np.random.default_rng(0)
    samples = [synthetic.random_effects(generator, 8, synthetic.EFFECTS["seeds"]) for _ in range(300)]
    assert sum(bool(estimators.outlier_seeds(*cells)) for cells in samples) < 0.04 * 300
