"""`tacit compare`: contrasts, one correction for all tests of a table, and rows that are means."""

import itertools
import json

import numpy as np
import pytest

from experiments import runs
from experiments.analysis import compare, compare_tables, contrasts
from experiments.analysis.contrasts import Group, mean_summaries
from experiments.presentation import tables
from experiments.runs.collection import load
from games.errors import TacitError

TABULAR = "marl.policies.tabular.Tabular"
FEED_FORWARD = "marl.policies.feed_forward.FeedForward"


def level(mean, noise=0.02):
    """seats -> a score: self-play 1, cross-play around `mean` by the sum of what the seeds are worth."""
    worth = np.random.default_rng(0).normal(size=64)
    return lambda seats: 1.0 if len(set(seats)) == 1 else mean + noise * sum(worth[list(seats)])


def test_without_being_asked_contrasts_are_of_the_extremes(synthetic_run, tmp_path):
    for name, coefficient, mean in (("zebra", 0.01, 0.1), ("middle", 0.02, 0.3), ("apple", 0.1, 0.5)):
        synthetic_run(tmp_path, score=level(mean), name=name, **{"learner.entropy_coef": coefficient})
    (found,), _ = compare.read([tmp_path])
    assert [row.path.name for row in found.rows] == ["zebra", "middle", "apple"]
    (contrast,) = found.tests.contrasts
    assert (contrast.key, contrast.first, contrast.second) == ("learner.entropy_coef", 0.1, 0.01)
    assert contrast.tested["greedy XP"].difference.mean == pytest.approx(0.4, abs=1e-9)
    assert contrast.tested["greedy SP − XP"].difference.mean == pytest.approx(-0.4, abs=1e-9)


@pytest.fixture(scope="module")
def two_factors(synthetic_run, tmp_path_factory):
    """Greedy XP is the coefficient plus λ / 10, and 0.06 more where both are high."""
    root = tmp_path_factory.mktemp("factors")
    for coefficient, decay in itertools.product((0.1, 0.3), (0.5, 0.9)):
        mean = coefficient + decay / 10 + 0.06 * (coefficient == 0.3 and decay == 0.9)
        keys = {"learner.entropy_coef": coefficient, "learner.gae_lambda": decay}
        synthetic_run(root, score=level(mean, noise=1e-3), **keys)
    return root


def test_a_contrast_is_at_fixed_values_and_in_the_mean_over_them(two_factors):
    (found,), _ = compare.read([two_factors], contrasts=["entropy_coef=0.3-0.1"])
    shown = tables.texts(compare_tables.contrasts(found))[1]
    assert [row[:2] for row in shown] == [
        ["entropy_coef 0.3 − 0.1", "gae_lambda 0.5"],
        ["entropy_coef 0.3 − 0.1", "gae_lambda 0.9"],
        ["entropy_coef 0.3 − 0.1", "mean of 2"],
    ]
    assert [row[2].split()[0] for row in shown] == ["0.20", "0.26", "0.23"]
    (found,), _ = compare.read([two_factors])
    assert [(one.key, one.at, one.number) for one in found.tests.contrasts] == [
        ("learner.entropy_coef", None, 2),
        ("learner.gae_lambda", None, 2),
    ]


def test_all_tests_of_a_table_have_one_correction(two_factors):
    (found,), _ = compare.read([two_factors], contrasts=["gae_lambda=0.9-0.5"])
    # All pairs of rows in both plays, and what the contrasts compare: greedy XP of two rows is such a pair.
    assert found.tests.number == 2 * 6 + 3 * 2 - 2
    assert found.tests.corrected(0.001) == pytest.approx(0.016)
    twice = ["gae_lambda=0.9-0.5", "gae_lambda=0.5-0.9"]
    assert compare.read([two_factors], contrasts=twice)[0][0].tests.number == found.tests.number
    assert found.tests.corrected(0.5) == 1
    plain = json.loads(tables.as_json([compare_tables.contrasts(found)]))
    for row, contrast in zip(plain, found.tests.contrasts, strict=True):
        assert row["greedy"]["cross_play_p"] == found.tests.corrected(contrast.tested["greedy XP"].p)
    assert [row.best["greedy"] for row in found.rows] == [False, False, False, True]


def gain(comparison):
    return comparison.tests.contrasts[0].tested["greedy XP"].difference


def test_one_run_on_other_decks_leaves_the_others_paired(synthetic_run, tmp_path):
    paths = [synthetic_run(tmp_path, score=level(mean), **{"learner.entropy_coef": mean}) for mean in (0.1, 0.2, 0.3)]
    asked = {"contrasts": ["entropy_coef=0.3-0.1"]}
    (alone,), _ = compare.read([paths[0], paths[2]], **asked)
    assert "seeds of equal numbers paired; p-values" in compare_tables.sentences(alone)[-1]
    results = runs.read_crossplay(paths[1])
    runs.write_crossplay(paths[1], results, {"games": 100, "seating": "all", "seed": 1})
    (found,), _ = compare.read([tmp_path], **asked)
    assert gain(found) == gain(alone)
    assert gain(found).se == pytest.approx(0, abs=1e-9)  # what a seed is worth is the same at all coefficients
    assert compare_tables.sentences(found)[-1].startswith(
        "two-sided tests over seeds at 5 %, seeds of equal numbers paired (only in runs with equal ranges of seeds, on"
    )


def test_a_mean_over_runs_with_some_seeds_in_common_has_no_error(synthetic_run, tmp_path):
    for first in (0, 4, 8):
        synthetic_run(tmp_path, score=level(0.5), first_seed=first)
    low, middle, high = sorted(load(tmp_path), key=lambda record: record.keys["first_seed"])
    apart = mean_summaries(Group({}, [low, high]))["greedy"].cross_play
    assert apart.se == pytest.approx(low.summaries["greedy"].cross_play.se / np.sqrt(2))
    in_part = mean_summaries(Group({}, [low, middle]))["greedy"].cross_play
    assert in_part.mean == apart.mean and in_part.se is None
    assert in_part.note == contrasts.IN_COMMON_IN_PART
    for begun, known in ((("one", "other"), True), (("one", "one"), False)):
        for record, policies in zip((low, high), begun, strict=True):
            record.science["initial_policies"] = policies
        assert (mean_summaries(Group({}, [low, high]))["greedy"].cross_play.se is not None) == known


@pytest.mark.parametrize(
    ("contrast", "says"),
    [
        ("entropy_coef", "expected KEY=A-B, where KEY is one of learner.entropy_coef, learner.gae_lambda"),
        ("gamma=0.1-0.2", "expected KEY=A-B, where KEY is one of learner.entropy_coef, learner.gae_lambda"),
        ("entropy_coef=0.3-0.2", "expected entropy_coef=A-B with two of its values: 0.1, 0.3"),
        ("entropy_coef=0.3-0.3", "expected entropy_coef=A-B with two of its values: 0.1, 0.3"),
    ],
)
def test_a_contrast_that_no_rows_make(two_factors, contrast, says):
    with pytest.raises(TacitError) as refused:
        compare.read([two_factors], contrasts=[contrast])
    assert str(refused.value) == f"--contrast {contrast}: {says}"


def test_values_of_a_contrast_are_those_of_a_condition(synthetic_run, tmp_path):
    for share, coefficient in ((True, 0.123456789), (False, 0.123456789), (True, 0.123456788)):
        synthetic_run(tmp_path, **{"learner.share_parameters": share, "learner.entropy_coef": coefficient})
    asked = ["share_parameters=true-False", "entropy_coef=0.123456789-0.123456788"]
    (found,), _ = compare.read([tmp_path], contrasts=asked)
    assert [(one.first, one.second) for one in found.tests.contrasts] == [(True, False), (0.123456789, 0.123456788)]


def test_seeds_are_no_contrast_unless_asked_for(synthetic_run, tmp_path):
    for first in (0, 8):
        synthetic_run(tmp_path, first_seed=first)
    (found,), _ = compare.read([tmp_path])
    assert (found.rows[0].keys, found.tests.contrasts) == ({"first_seed": 0}, [])
    (found,), _ = compare.read([tmp_path], contrasts=["first_seed=8-0"])
    assert len(found.tests.contrasts) == 1


def test_a_contrast_of_classes_and_of_small_numbers(synthetic_run, tmp_path):
    for policy, coefficient in ((TABULAR, 1e-3), (FEED_FORWARD, 1e-3), (TABULAR, 1e-4)):
        keys = {"_target_": policy, **({} if policy == TABULAR else {"torso": [4], "activation": "relu"})}
        synthetic_run(tmp_path, seeds=6, policy=keys, **{"learner.entropy_coef": coefficient})
    (found,), _ = compare.read([tmp_path], contrasts=["policy=Tabular-FeedForward", "entropy_coef=1e-3-1e-4"])
    contrasts = [(one.first, one.second, one.number) for one in found.tests.contrasts]
    assert contrasts == [(TABULAR, FEED_FORWARD, 1), (1e-3, 1e-4, 1)]
    (alone,), _ = compare.read([tmp_path], where=["policy=FeedForward"])
    assert not compare_tables.made([alone], "table")[1:]  # one row: nothing to contrast


def test_rows_are_means_over_a_key(two_factors, synthetic_run, tmp_path):
    (found,), said = compare.read([two_factors], over=["gae_lambda"])
    assert said == []
    assert [row.keys for row in found.rows] == [{"learner.entropy_coef": 0.1}, {"learner.entropy_coef": 0.3}]
    assert [len(row.paths) for row in found.rows] == [2, 2]
    alone = [
        record.summaries["greedy"].cross_play
        for record in load(two_factors)
        if record.keys["learner.entropy_coef"] == 0.1
    ]
    assert found.rows[0].summaries["greedy"].cross_play.mean == pytest.approx(np.mean([one.mean for one in alone]))
    assert "each row is the mean over gae_lambda: 0.5, 0.9" in compare_tables.sentences(found)
    assert found.tests.contrasts[0].tested["greedy XP"].difference.mean == pytest.approx(0.23)
    with pytest.raises(
        TacitError, match="--over gae_lambda: some runs of a row are equal in gae_lambda: choose with --where"
    ):
        compare.read([two_factors], by=["seeds"], over=["gae_lambda"])
    synthetic_run(tmp_path, score=0.2, **{"learner.entropy_coef": 0.5, "learner.gae_lambda": 0.5})
    with pytest.raises(TacitError, match=r"not every value was run at entropy_coef 0\.5: choose with --where"):
        compare.read([two_factors, tmp_path], over=["gae_lambda"])


def test_rows_that_are_means_over_other_values_are_refused(synthetic_run, tmp_path):
    for gamma, coefficients in ((0.5, (0.1, 0.2)), (0.9, (0.1, 0.4))):
        for coefficient in coefficients:
            synthetic_run(tmp_path, **{"learner.gamma": gamma, "learner.entropy_coef": coefficient})
    with pytest.raises(
        TacitError, match=r"^--over entropy_coef: not every value was run at gamma 0\.5: choose with --where$"
    ):
        compare.read([tmp_path], over=["entropy_coef"])
    with pytest.raises(TacitError, match=r"^--over gamma: it is one of --by, too$"):
        compare.read([tmp_path], over=["gamma"], by=["gamma"])


def test_a_mean_over_all_that_varies_is_one_row(synthetic_run, tmp_path):
    for coefficient, seeds in ((0.1, 6), (0.3, 8)):
        synthetic_run(tmp_path, seeds=seeds, **{"learner.entropy_coef": coefficient})
    (found,), _ = compare.read([tmp_path], over=["entropy_coef"])
    (row,) = found.rows
    assert (row.keys, row.seeds, len(row.paths)) == ({"learner._target_": "marl.learners.ippo.IPPO"}, "6, 8", 2)


def test_runs_that_differ_in_their_numbers_of_seeds_alone_keep_contrasts(synthetic_run, tmp_path):
    for coefficient, seeds in itertools.product((0.1, 0.3), (6, 8)):
        synthetic_run(tmp_path, score=level(coefficient), seeds=seeds, **{"learner.entropy_coef": coefficient})
    (found,), _ = compare.read([tmp_path])
    assert list(found.rows[0].keys) == ["learner.entropy_coef", "seeds"]
    assert [(one.key, one.number) for one in found.tests.contrasts] == [("learner.entropy_coef", 2)]
    (apart,), _ = compare.read([tmp_path], contrasts=["entropy_coef=0.3-0.1"])
    assert [one.at for one in apart.tests.contrasts] == [{"seeds": 6}, {"seeds": 8}, None]
    assert [one.tested["greedy XP"].p is None for one in apart.tests.contrasts] == [False, False, True]
    assert compare_tables.contrasts(apart).notes == [f"not estimable: {contrasts.IN_COMMON_IN_PART}"]


def test_a_key_without_a_contrast_is_named(synthetic_run, tmp_path):
    for gamma, coefficient in ((0.5, 0.3), (0.9, 0.1), (0.9, 0.2)):
        synthetic_run(tmp_path, **{"learner.gamma": gamma, "learner.entropy_coef": coefficient})
    (found,), _ = compare.read([tmp_path], by=["gamma", "entropy_coef"])
    assert found.tests.contrasts == []
    assert [note for note in compare_tables.sentences(found) if note.startswith("no contrast of ")] == [
        f"no contrast of {key}: no two rows differ in it alone, from the least to the greatest"
        for key in ("gamma", "entropy_coef")
    ]


def test_shares_of_the_optimum(synthetic_run, tmp_path):
    hint = {"_target_": "games.tabular.library.hint.make", "size": 5}
    synthetic_run(tmp_path, score=level(0.2), game=hint)
    ((plain,), _), ((shares,), _) = (compare.read([tmp_path], shares=asked) for asked in (False, True))
    assert (plain.optimum, plain.score_range) == (0.4, (0.0, 1.0))
    assert "possible scores 0 to 1, optimum 0.4; " in compare_tables.table(plain).title
    assert "shares of the optimum; " in compare_tables.table(shares).title
    in_full, share = (one.rows[0].summaries["greedy"].cross_play for one in (plain, shares))
    assert share[:4] == pytest.approx([number / 0.4 for number in in_full[:4]])
    assert share.mean == pytest.approx(0.5, abs=0.1)


def test_there_are_no_shares_of_a_negative_optimum(synthetic_run, tmp_path):
    dectiger = {"_target_": "games.tabular.library.dectiger.make", "horizon": 2, "discount": None}
    synthetic_run(tmp_path, score=-5.0, game=dectiger)
    says = "shares of the optimum: that of dectiger is -4, and it has to be above 0"
    with pytest.raises(TacitError, match=f"^{says}$"):
        compare.read([tmp_path], shares=True)


def test_tables_of_other_contrasts_are_kept_beside(two_factors, tmp_path):
    expected = {
        (): ["entropy_coef", "gae_lambda"],
        ("entropy_coef=0.3-0.1",): ["entropy_coef"] * 3,
        ("gae_lambda=0.9-0.5",): ["gae_lambda"] * 3,
    }
    for asked, contrasted in expected.items():
        (found,), _ = compare.read([two_factors], contrasts=asked)
        rows = json.loads((compare.write(found, tmp_path, draw=False) / "table.json").read_text())
        assert [row["contrast"].split()[0] for row in rows[4:]] == contrasted
    assert len(list((tmp_path / "compare").iterdir())) == len(expected)
