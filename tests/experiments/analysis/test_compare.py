"""`tacit compare`: which rows, in which order, what is marked and what is warned of, in every format."""

import csv
import io
import json
import re

import numpy as np
import pytest

from experiments import runs
from experiments.analysis import compare, compare_figures, compare_tables
from experiments.presentation import tables
from experiments.runs.collection import load
from games.errors import TacitError
from marl.crossplay.estimators import summarise


def level(mean, noise=0.02, seed=0):
    """seats -> a score: self-play 1, cross-play around `mean` by the sum of what the seeds are worth."""
    worth = np.random.default_rng(seed).normal(size=64)
    return lambda seats: 1.0 if len(set(seats)) == 1 else mean + noise * sum(worth[list(seats)])


@pytest.fixture(scope="module")
def folder(synthetic_run, tmp_path_factory):
    """Three coefficients whose XP is 0.1, 0.5 and 0.51, and runs that are not finished."""
    root = tmp_path_factory.mktemp("compared")
    for coefficient, mean, seed in [(0.1, 0.51, 0), (0.001, 0.1, 1), (0.01, 0.5, 2)]:
        synthetic_run(root, score=level(mean, seed=seed), **{"learner.entropy_coef": coefficient})
    synthetic_run(root, state="failed", **{"learner.entropy_coef": 0.2})
    synthetic_run(root, state="interrupted", **{"learner.entropy_coef": 0.3})
    (root / "compare").mkdir()
    return root


def test_rows_are_finished_runs_sorted_by_what_differs(folder):
    (found,), said = compare.read([folder])
    assert [row.keys for row in found.rows] == [{"learner.entropy_coef": value} for value in (0.001, 0.01, 0.1)]
    assert [row.seeds for row in found.rows] == [8, 8, 8]
    assert said == ["2 of 5 runs (1 cut, 1 failed) left out"]
    for row in found.rows:
        cells = runs.read_crossplay(row.path)["greedy"]
        assert row.summaries["greedy"] == summarise(*cells.cells)


def gain(comparison):
    return comparison.tests.contrasts[0].tested["greedy XP"].difference


def test_decks_widen_intervals_and_cancel_in_contrasts_where_they_are_the_same(synthetic_run, tmp_path):
    paths = [
        synthetic_run(tmp_path, score=level(mean, seed=seed), **{"learner.entropy_coef": coefficient})
        for coefficient, mean, seed in ((0.01, 0.1, 1), (0.1, 0.5, 2))
    ]
    (before,), _ = compare.read([tmp_path])
    for path in paths:
        decks_of(path, seed=3)
    (same,), _ = compare.read([tmp_path])
    for row, found in zip(before.rows, same.rows, strict=True):
        old, new = (one.summaries["greedy"].cross_play for one in (row, found))
        assert new.mean == pytest.approx(old.mean, abs=1e-12)
        assert new.se**2 == pytest.approx(old.se**2 + np.random.default_rng(3).normal(size=100).var(ddof=1) / 100)
    assert gain(same)[:4] == pytest.approx(gain(before)[:4], rel=1e-9)
    change(paths[0] / "crossplay.json", "settings", "seed", 1)
    (others,), _ = compare.read([tmp_path])
    assert gain(others).se > 2 * gain(before).se


def test_a_run_whose_games_were_not_kept_has_means_and_says_why_no_errors(synthetic_run, tmp_path):
    paths = [synthetic_run(tmp_path, **{"learner.entropy_coef": coefficient}) for coefficient in (0.01, 0.1)]
    (paths[0] / "crossplay.npz").unlink()
    (found,), _ = compare.read([tmp_path])
    without, with_games = (row.summaries["greedy"].cross_play for row in found.rows)
    assert without.mean is not None and without.se is None and "the scores of its games were not kept" in without.note
    assert with_games.low is not None
    assert gain(found).se is None and "were not kept" in gain(found).note
    assert [row.best["greedy"] for row in found.rows] == [None, None]


@pytest.mark.parametrize(("seeds", "held", "of"), [(7, 60, 6), (16, 93, 16)])
def test_one_seed_far_from_all_others_is_warned_of(synthetic_run, tmp_path, seeds, held, of):
    path = synthetic_run(tmp_path, seeds=seeds, score=lambda seats: 1.0 - 0.9 * (3 in seats) + 0.001 * sum(seats))
    _, said = compare.read([tmp_path])
    assert said == [
        f"lever: seeds that play far from all others: 3 of run {path.name}; where a few seeds fail, {held} % of the "
        f"95 % intervals of {of} seeds held (docs/estimators.md)"
    ]


def test_by_and_where(synthetic_run, tmp_path):
    for gamma, coefficient in [(0.9, 0.3), (0.5, 0.3), (0.9, 0.1)]:
        synthetic_run(tmp_path, **{"learner.gamma": gamma, "learner.entropy_coef": coefficient})
    (found,), said = compare.read([tmp_path])
    assert [tuple(row.keys.values()) for row in found.rows] == [(0.1, 0.9), (0.3, 0.5), (0.3, 0.9)]
    assert (list(found.rows[0].keys), said) == (["learner.entropy_coef", "learner.gamma"], [])
    (found,), _ = compare.read([tmp_path], by=["gamma", "learner.entropy_coef"])
    assert [tuple(row.keys.values()) for row in found.rows] == [(0.5, 0.3), (0.9, 0.1), (0.9, 0.3)]
    (found,), said = compare.read([tmp_path], by=["entropy_coef"])  # rows that are equal in it have more keys
    assert (list(found.rows[0].keys), said) == (["learner.entropy_coef", "learner.gamma"], [])
    (found,), said = compare.read([tmp_path], by=["entropy_coef"], where=["learner.gamma=0.9"])
    assert (list(found.rows[0].keys), said) == (["learner.entropy_coef"], [])
    (found,), said = compare.read([tmp_path], where=["gamma=0.9", "game=lever"])
    assert [row.keys for row in found.rows] == [{"learner.entropy_coef": 0.1}, {"learner.entropy_coef": 0.3}]
    (found,), _ = compare.read([tmp_path], by=["seeds"])
    names = [column.name for column in tables.texts(compare_tables.table(found))[0]]
    assert names[:4] == ["seeds", "entropy_coef", "gamma", "greedy XP"]
    assert "\nseeds & entropy\\_coef & gamma & greedy XP &" in tables.as_latex([compare_tables.table(found)])
    for wrong, says in [({"by": ["gamm"]}, "did you mean"), ({"where": ["gamma=0.7"]}, "no run meets --where")]:
        with pytest.raises(TacitError, match=says):
            compare.read([tmp_path], **wrong)


def test_the_mark_is_on_the_greatest_and_what_is_not_less(folder):
    (found,), _ = compare.read([folder])
    assert [row.best for row in found.rows] == [
        {"sampled": False, "greedy": False},
        {"sampled": True, "greedy": True},
        {"sampled": True, "greedy": True},
    ]
    columns, texts = tables.texts(compare_tables.table(found))
    marked = [[column.name for column, text in zip(columns, row, strict=True) if "*" in text] for row in texts]
    assert marked == [[], ["greedy XP", "XP"], ["greedy XP", "XP"]]
    assert "* the greatest XP of the column, or not significantly less" in compare_tables.sentences(found)
    assert compare_tables.sentences(found)[-1] == (
        "two-sided tests over seeds at 5 %, seeds of equal numbers paired; p-values are multiplied by 7, the number of "
        "all tests"
    )


def test_where_the_mark_cannot_be_said(synthetic_run, tmp_path):
    few = synthetic_run(tmp_path / "few", seeds=4, score=level(0.9))
    low, middle = (synthetic_run(tmp_path, score=level(mean), **{"learner.gamma": mean}) for mean in (0.1, 0.5))
    (found,), _ = compare.read([low, few, middle])  # the greatest has too few seeds
    assert all(row.best == {"sampled": None, "greedy": None} for row in found.rows)
    why = "no marks of significance: a test needs an interval of the greatest XP and of another row"
    assert why in compare_tables.sentences(found)
    assert compare_tables.MARK not in "".join(
        text for row in tables.texts(compare_tables.table(found))[1] for text in row
    )

    fewer = synthetic_run(tmp_path / "fewer", seeds=4, score=level(0.3))
    (found,), _ = compare.read([low, fewer, middle], by=["gamma"])
    assert [row.best["greedy"] for row in found.rows if row.path == fewer] == [None]
    assert sorted(str(row.best["greedy"]) for row in found.rows) == ["False", "None", "True"]
    assert "greedy XP: 1 of 3 rows cannot be tested" in compare_tables.sentences(found)

    (alone,), said = compare.read([middle])
    assert (alone.rows[0].best, compare_tables.sentences(alone), said) == ({"sampled": None, "greedy": None}, [], [])


def test_games_are_apart(synthetic_run, tmp_path):
    for players in (3, 2):
        for gamma in (0.5, 0.9):
            synthetic_run(tmp_path, players=players, seeds=6, **{"learner.gamma": gamma})
    found, said = compare.read([tmp_path], by=["game.players", "gamma"])
    assert [[tuple(row.keys.values()) for row in one.rows] for one in found] == [
        [(2, 0.5), (2, 0.9)],
        [(3, 0.5), (3, 0.9)],
    ]
    assert said == ["scores of different games or boards do not compare: a table each for 2 of them"]
    with pytest.raises(TacitError, match="different games or boards do not compare"):
        compare.compare(load(tmp_path))
    shown = list(map(compare_tables.table, found))
    rows = list(csv.DictReader(io.StringIO(tables.as_csv(shown))))
    assert [row["game.players"] for row in rows] == ["2", "2", "3", "3"]
    assert tables.as_latex(shown).count("\\begin{tabular}") == 2

    found, _ = compare.read([tmp_path])  # the players are no key of a table, and still tell the rows apart
    assert [one.title for one in found] == ["lever, players 2", "lever, players 3"]
    for asked, number in ((False, 2), (True, 1)):
        plain = json.loads(tables.as_json(compare_tables.made(found, "json", asked=asked)))
        assert [(row["game"], row["game.players"]) for row in plain] == [("lever", 2)] * number + [
            ("lever", 3)
        ] * number
    assert [compare_tables.contrasts(one).title for one in found] == [
        "contrasts: lever, players 2, greedy play",
        "contrasts: lever, players 3, greedy play",
    ]


def change(file, *steps):
    """Replace a value in a JSON file: change(file, key, …, key, value)."""
    plain = json.loads(file.read_text())
    *groups, key, value = steps
    place = plain
    for group in groups:
        place = place[group]
    place[key] = value
    file.write_text(json.dumps(plain))


@pytest.mark.parametrize(
    ("file", "steps", "says"),
    [
        (
            "run.json",
            ("science", "game", "version", "tabular-0"),
            "rows are of different versions of the game: ",
        ),
        (
            "crossplay.json",
            ("settings", "games", 7),
            "rows were cross-played with different numbers of games in a cell: ",
        ),
        ("crossplay.json", ("settings", "seating", "distinct"), "with different seatings: all, distinct"),
        ("crossplay.json", ("settings", "seed", 1), "with different decks (crossplay.seed): 0, 1"),
        ("run.json", ("name", "twin"), "lever: a run is there more than once, and its seeds are not independent: twin"),
        ("run.json", ("versions", "jax", "1"), None),
        ("crossplay.json", ("settings", "max_lanes", 1), None),
    ],
)
def test_rows_that_do_not_compare_are_warned_of(synthetic_run, tmp_path, file, steps, says):
    paths = [synthetic_run(tmp_path, seeds=2, **{"learner.gamma": gamma}) for gamma in (0.5, 0.9)]
    change(paths[0] / file, *steps)
    if steps == ("name", "twin"):
        change(paths[1] / file, *steps)
    _, said = compare.read(paths)
    assert [says is not None and says in sentence for sentence in said] == ([] if says is None else [True])


def test_the_formats_say_the_same(folder):
    (found,), _ = compare.read([folder])
    shown = [compare_tables.table(found)]
    plain = json.loads(tables.as_json(shown))
    rows = list(csv.DictReader(io.StringIO(tables.as_csv(shown))))
    tabular = [line.split(" & ") for line in tables.as_latex(shown).splitlines() if line.endswith(r" \\")]
    scores = ["greedy XP", "greedy SP $-$ XP", "XP", "SP $-$ XP", "greedy SP", r"SP \\"]
    assert tabular[0] == [r"entropy\_coef", "seeds", *scores]
    for one, row, line in zip(plain, rows, tabular[1:], strict=True):
        greedy = one["greedy"]["cross_play"]
        assert (one["game"], row["game"], one["seeds"], row["seeds"]) == ("lever", "lever", 8, "8")
        assert float(row["learner.entropy_coef"]) == one["learner.entropy_coef"] == float(line[0])
        for part in ("se", "low", "high"):
            assert float(row[f"greedy_cross_play_{part}"]) == greedy[part]
        assert float(row["greedy_cross_play"]) == greedy["mean"]
        assert row["best_greedy"] == str(one["best"]["greedy"])
        star = "^{*}" if one["best"]["greedy"] else ""
        assert line[2] == rf"${greedy['mean']:.2f}\ [{greedy['low']:.2f}, {greedy['high']:.2f}]{star}$"


def test_latex_is_escaped(synthetic_run, tmp_path):
    path = synthetic_run(tmp_path, seeds=2)
    change(path / "run.json", "science", "learner", "note", r"50% of $x_1 & {y} #~^\ ")
    (found,), _ = compare.read([path], by=["note"])
    text = tables.as_latex([compare_tables.table(found)]).replace(r"\\", "")
    assert r"50\% of \$x\_1 \& \{y\} \#\textasciitilde{}\textasciicircum{}\textbackslash{}" in text
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert [part in body for part in (r"\toprule", r"\midrule", r"\bottomrule", r"\end{tabular}")] == [True] * 4
    assert not re.search(r"(?<!\\)[%#]", body)
    assert len(re.findall(r"(?<!\\)\$", body)) % 2 == 0
    assert r"\pm" in body  # two seeds: an SE of self-play, and no interval


def test_what_is_not_there(tmp_path, synthetic_run):
    with pytest.raises(TacitError, match="there is no folder"):
        compare.read([tmp_path / "nowhere"])
    failed = synthetic_run(tmp_path, state="failed")
    with pytest.raises(TacitError, match=r"is not finished: failed \(the loss is not finite\)"):
        compare.read([failed])
    half = synthetic_run(tmp_path / "half")
    (half / "crossplay.json").unlink()
    with pytest.raises(TacitError, match=r"^run .*half.* is damaged: .*crossplay\.json"):
        compare.read([half])
    synthetic_run(tmp_path, state="interrupted", **{"learner.gamma": 0.5})
    with pytest.raises(TacitError, match=r"no finished training run to compare: 2 of 2 runs \(1 cut, 1 failed\)"):
        compare.read([tmp_path])


def test_a_folder_that_cannot_be_written(synthetic_run, tacit, tmp_path):
    path = synthetic_run(tmp_path, seeds=2)
    found = compare.compare(load(path))
    (tmp_path / "file").write_text("")
    with pytest.raises(TacitError, match="cannot be written: "):
        compare.write(found, tmp_path / "file", draw=False)
    said = tacit("compare", path, "--output", tmp_path / "file")
    assert (said.status, said.err.count("\n")) == (0, 1)
    assert said.err.startswith(f"tacit: warning: the table is not kept: {tmp_path / 'file'}")
    assert f"run {path}\n" in said.out


def test_a_figure_that_is_not_drawn_is_not_announced(synthetic_run, tacit, tmp_path, monkeypatch):
    path = synthetic_run(tmp_path, seeds=2)
    monkeypatch.setattr(compare, "_MOST_DRAWN", 0)
    said = tacit("compare", path)
    (folder,) = (tmp_path / "compare").iterdir()
    assert said.out.endswith(f"\ntable in {folder}\n")


def test_the_figure_has_a_panel_for_each_play(folder):
    found = compare.compare(load(folder).finished(), by=["entropy_coef"])
    panels = compare_figures.figure(found).get_axes()
    assert [panel.get_title() for panel in panels] == ["sampled play", "greedy play"]
    assert [label.get_text() for label in panels[0].get_xticklabels()] == ["0.001", "0.01", "0.1"]
    cross_play = panels[0].containers[1].lines[0].get_ydata()
    np.testing.assert_allclose(cross_play, [0.1, 0.5, 0.51], atol=0.05)


def test_intervals_stay_in_the_range_of_scores(synthetic_run, tmp_path):
    synthetic_run(tmp_path, seeds=6, score=lambda seats: float(len(set(seats)) == 1 or 0 in seats))
    (found,), _ = compare.read([tmp_path])
    (record,) = load(tmp_path)
    of_record, shown = record.summaries["greedy"], found.rows[0].summaries["greedy"]
    assert of_record.cross_play_disjoint.high > 1 or of_record.cross_play.low < 0
    for one, (low, high) in ((shown.cross_play, (0, 1)), (shown.cross_play_disjoint, (0, 1)), (shown.gap, (-1, 1))):
        assert low <= one.low <= one.mean <= one.high <= high


def test_columns_are_chosen_by_name(folder, tacit):
    said = tacit("compare", folder, "--columns", "greedy xp, sp - xp", "--format", "csv")
    assert said.out.splitlines()[0].startswith("learner.entropy_coef,run,seeds,greedy_cross_play,")
    assert "sampled_gap" in said.out and "greedy_gap" not in said.out
    (found,), _ = compare.read([folder])
    assert not [note for note in compare_tables.sentences(found, ["SP"]) if note.startswith("* ")]
    assert compare_tables.sentences(found, ["SP"])[-1].startswith("two-sided tests over seeds")  # of the contrasts
    assert " & disjoint XP " in tables.as_latex([compare_tables.table(found, columns=["SP", "disjoint XP"])])
    said = tacit("compare", folder, "--columns", "greedy score")
    assert said.status == 2
    assert said.err.startswith("tacit: --columns greedy score: there are greedy xp, greedy sp - xp, xp")
    said = tacit("compare", folder, "--contrast", "entropy_coef=0.1-0.001", "--format", "csv")
    assert said.out.startswith("contrast,at,greedy_cross_play,")
    assert said.out.count("\n") == 2


def decks_of(path, seed, size=1.0):
    """Add what 100 decks do to all scores of a run alike, with mean 0."""
    results = runs.read_crossplay(path)
    decks = size * np.random.default_rng(seed).normal(size=100)
    added = {play: one._replace(scores=one.scores + decks - decks.mean()) for play, one in results.items()}
    runs.write_crossplay(path, added, runs.read_json(path / "crossplay.json")["settings"])
