"""Figures: the same bytes twice, valid XML, and something sensible where there is little to show."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest

from experiments import runs
from experiments.analysis import compare, compare_figures
from experiments.configuration.config import JobConfig
from experiments.presentation import figures
from experiments.runs import load
from experiments.training.job import run_job
from marl.crossplay import CrossPlay, seatings
from marl.crossplay.estimators import Estimate, summarise

PNG = b"\x89PNG\r\n\x1a\n"


def play(players, agents, kind="all", scores=None, **options):
    """A result with random scores in every cell."""
    cells = seatings(agents, players, kind, **options)
    made = np.random.default_rng(0).uniform(0, 5, len(cells)) if scores is None else np.full(len(cells), scores)
    return CrossPlay(
        labels=tuple(map(str, range(agents))),
        seatings=cells,
        mean=made,
        standard_error=np.full(len(cells), 0.1),
        games=np.full(len(cells), 10),
        bombed=np.zeros(len(cells), int),
        length=np.full(len(cells), 9.0),
    )


def metrics(rows, seeds, evaluations):
    rng = np.random.default_rng(0)
    made = {
        "steps": np.arange(1, rows + 1) * 1000,
        "count": np.full((rows, seeds), 4),
        "return_sum": rng.uniform(0, 20, (rows, seeds)),
        "entropy": rng.uniform(0, 2, (rows, seeds)),
        "evaluation_steps": np.arange(1, evaluations + 1) * 1000,
    }
    if evaluations:
        made |= {
            "greedy_self_play": rng.uniform(0, 5, (evaluations, seeds)),
            "greedy_cross_play": rng.uniform(0, 5, (evaluations, seeds // 2)),
        }
    return made


def a_comparison(values, agents=6, **options):
    rows = {
        name: [summarise(result.seatings, result.mean, resamples=50) for result in results]
        for name, results in {"sampled": [play(2, agents, **options)] * len(values)}.items()
    }
    scale = compare_figures.Scale("mean score", (0.0, 5.0), 4.5)
    return compare_figures.comparison_along_an_axis(values, {**rows, "greedy": rows["sampled"]}, "entropy coef", scale)


def no_game_ended():
    made = metrics(3, 4, 0)
    made["count"][0] = 0  # nobody finished a game in the first rows
    made["count"][1, 0] = 0
    return made


def some_gaps(means, half):
    gaps = [Estimate(mean, half, half and mean - half, half and mean + half) for mean in means]
    points = [
        figures.GapPoint(2, board, name, score, own, met)
        for board in ("2×3", "3×3")
        for name, score, own, met in zip(["0.01", "0.1"], [0.7, 0.9], gaps, gaps[::-1], strict=True)
    ]
    partner = figures.GapPoint(3, "full", "iggi", 0.6, Estimate(0.0, 0.01))
    return figures.gaps_against_scores([*points, partner], {3: 0.36})


FIGURES = {
    "learning curves": lambda: figures.learning_curves(metrics(20, 4, 5), "title"),
    "learning curves, one row, no evaluation": lambda: figures.learning_curves(metrics(1, 2, 0), "title"),
    "learning curves, no game ended": lambda: figures.learning_curves(no_game_ended(), "title"),
    "matrices": lambda: figures.crossplay_matrices({"sampled": play(2, 8), "greedy": play(2, 8)}, (0.0, 5.0), "title"),
    "matrices of many": lambda: figures.crossplay_matrices({"sampled": play(2, 30)}, (0.0, 5.0), "title"),
    "matrices with missing cells": lambda: figures.crossplay_matrices(
        {"sampled": play(3, 7, "distinct", max_seatings=12)}, (0.0, 5.0), "title"
    ),
    "comparison": lambda: a_comparison([0.01, 0.1, 1.0]),
    "comparison of one run": lambda: a_comparison([0.01]),
    "comparison with coefficient 0": lambda: a_comparison([0.0, 0.1]),
    "comparison without intervals": lambda: a_comparison([0.01, 0.1], agents=2),
    "convention gaps": lambda: some_gaps([0.1, 0.05], 0.02),
    "convention gaps without intervals": lambda: some_gaps([0.1, None], None),
    "comparison of equal scores": lambda: a_comparison([0.01, 0.1], scores=2.0),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_two_files(name, tmp_path):
    figures.save(FIGURES[name](), tmp_path / "figure")
    assert ElementTree.parse(tmp_path / "figure.svg").getroot().tag.endswith("svg")
    assert (tmp_path / "figure.png").read_bytes().startswith(PNG)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["learning curves", "matrices with missing cells", "comparison"])
def test_the_same_figure_gives_the_same_bytes(name, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for path in (one, two):
        figures.save(FIGURES[name](), path)
    for suffix in (".png", ".svg"):
        assert one.with_suffix(suffix).read_bytes() == two.with_suffix(suffix).read_bytes()


def texts(figure):
    return [text.get_text() for axis in figure.axes for text in axis.texts]


def test_with_two_players_the_matrix_is_the_cells():
    result = play(2, 4)
    np.testing.assert_array_equal(result.matrix(), result.mean.reshape(4, 4))
    one = play(2, 4, "one_against_copies")
    assert one.matrix()[1, 2] == one.mean[one.seatings.tolist().index([1, 2])]
    assert len(texts(figures.crossplay_matrices({"sampled": result}, (0.0, 5.0), "title"))) == 16


def test_with_more_players_the_matrix_averages_over_seatings():
    result = play(3, 3, "distinct")
    matrix = result.matrix()
    for agent in range(3):
        assert matrix[agent, agent] == result.mean[result.seatings.tolist().index([agent] * 3)]
    where = [result.seatings.tolist().index(seats) for seats in ([0, 1, 2], [0, 2, 1])]
    assert matrix[0, 1] == matrix[0, 2] == pytest.approx(result.mean[where].mean())
    copies = play(3, 3, "one_against_copies")
    where = [copies.seatings.tolist().index(seats) for seats in ([0, 1, 1], [0, 1, 0], [0, 0, 1])]
    assert copies.matrix()[0, 1] == pytest.approx(copies.mean[where].mean())
    few = play(3, 9, "distinct", max_seatings=18)
    shown = texts(figures.crossplay_matrices({"sampled": few}, (0.0, 5.0), "title"))
    assert "nan" not in shown
    assert len(shown) == np.isfinite(few.matrix()).sum() < 81


@pytest.mark.slow
def test_a_job_of_three_players(tacit, tmp_path):
    overrides = [
        "game=hanabi_very_small", "game.players=3", "learner.num_games=2", "learner.rollout_length=4",
        "learner.epochs=1", "learner.minibatches=1", "policy.torso=[4]", "seeds=4", "budget.steps=16",
        "crossplay.games=2", "crossplay.max_seatings=3", "crossplay.max_lanes=8", "execution.rows=2",
        "execution.evaluations=1", "execution.evaluation_games=2", "execution.progress=false",
        f"execution.output={tmp_path}",
    ]  # fmt: skip
    said = tacit("train", *overrides)
    assert (said.status, said.err) == (0, "")
    (path,) = [path.parent for path in tmp_path.glob("*/run.json")]
    cells = seatings(4, 3, "all", max_seatings=3).tolist()
    assert len(cells) < 4 + 4 * 3 * 2  # not all of them
    for result in runs.read_crossplay(path).values():
        assert result.seatings.tolist() == cells
        assert all(len(set(seats)) in (1, 3) for seats in cells)
        assert np.isnan(result.matrix()).any()
    read = runs.read_metrics(path)
    assert read["greedy_self_play"].shape == (1, 4)
    assert read["greedy_cross_play"].shape == (1, 1)  # seeds 0, 1 and 2
    assert {file.suffix for file in path.iterdir()} >= {".png", ".svg"}
    ElementTree.parse(path / "crossplay.svg")


@pytest.mark.slow
def test_comparing_runs_that_differ_in_two_keys(make_job, finished_runs, tmp_path):
    changes = {"learner.entropy_coef": 0.1, "learner.gamma": 0.5, "game.payoffs": [1] * 9 + [0.9]}
    (other,) = run_job(make_job(tmp_path, changes))
    comparison = compare.compare(load([other, *finished_runs]))
    # payoffs 1 and 1.0 are no difference
    assert [row.keys for row in comparison.rows] == [
        {"learner.entropy_coef": 0.01, "learner.gamma": 0.99},
        {"learner.entropy_coef": 0.1, "learner.gamma": 0.5},
        {"learner.entropy_coef": 0.1, "learner.gamma": 0.99},
    ]
    assert "| entropy_coef | gamma |" in str(comparison)
    folder = compare.write(comparison, tmp_path, draw=True)
    drawn = (folder / "figure.svg").read_text()
    ElementTree.fromstring(drawn)
    for label in ("entropy coef", "gamma", "0.99", "0.5"):
        assert f"<!-- {label} -->" in drawn
    plain = json.loads((folder / "table.json").read_text())
    assert [row.get("learner.gamma") for row in plain] == [0.99, 0.5, 0.99, None, None]
    assert [row.get("contrast") for row in plain][3:] == ["entropy_coef 0.1 − 0.01", "gamma 0.99 − 0.5"]


@pytest.mark.slow
def test_a_job_with_one_row_and_no_evaluation_is_drawn(plain, finished_runs, tmp_path):
    changes = {"execution.output": str(tmp_path), "execution.rows": 1, "execution.evaluations": 0}
    job = JobConfig.parse(plain(changes))
    (path,) = run_job(job)
    read = runs.read_metrics(path)
    assert read["steps"].tolist() == [64]
    assert read["evaluation_steps"].tolist() == []
    assert "greedy_self_play" not in read
    figures.save(figures.learning_curves(read, "title"), tmp_path / "curves")
