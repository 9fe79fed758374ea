"""The ladder of boards: what the record of one piece decides for the next, and the figure."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from docs import ladder, learning, results
from docs.records import Records
from experiments import runs
from experiments.launching import compose
from games.errors import TacitError
from marl.crossplay.closing import Closing


@pytest.fixture
def records(tmp_path):
    return Records(tmp_path)


def write(records, piece, numbers):
    runs.write_json(records.file(piece), {"numbers": numbers})


def estimate(mean):
    return {"mean": mean, "se": 0.1, "low": mean - 0.2, "high": mean + 0.2, "note": ""}


@pytest.mark.parametrize(
    ("self_play", "steps"),
    [([4.0, 5.0, 5.04, 6.0], 2000), ([4.0, 5.0, 5.1, 5.2], 8000), ([4.0, 3.9, 5.0, 5.0], 1000)],
)
def test_a_budget_is_the_least_that_doubling_hardly_improves(records, self_play, steps):
    found = [{"steps": 1000 * 2**place, "self_play": one} for place, one in enumerate(self_play)]
    write(records, "ladder_2x3_budget", found)
    assert ladder.budget(records, "ladder_2x3") == steps


@pytest.mark.parametrize(
    ("gaps", "chosen"),
    [
        ([1.0, 0.9, 0.3, 0.05, 0.0], (0.003, 0.03, 0.1)),
        ([1.0, 0.05, 0.3, 0.05, 0.0], (0.003, 0.01, 0.03)),
        ([1.0, 0.9, 0.3, 0.2, 0.2], (0.003, 0.1, 0.3)),
    ],
)
def test_the_lowest_coefficient_is_reported_and_those_that_enclose_the_place(records, gaps, chosen):
    rows = [{"entropy_coef": one, "gap": estimate(gap)} for one, gap in zip(ladder.COEFFICIENTS, gaps, strict=True)]
    write(records, "ladder_2x3_locate", {"runs": rows})
    assert ladder.reported(records, "ladder_2x3") == chosen


def test_a_rung_needs_the_records_before_it(records):
    with pytest.raises(TacitError, match="the ladder needs the record of ladder_2x3_budget"):
        ladder.pieces()["ladder_2x3_locate"].commands(records)


def test_the_commands_of_a_rung(records):
    write(records, "ladder_2x3_budget", [{"steps": 500_000, "self_play": 4.0}])
    (command,) = ladder.pieces()["ladder_2x3_locate"].commands(records)
    assert command == (
        "train experiment=ladder game=hanabi_2x3 seeds=8 learner.entropy_coef=[0.003,0.01,0.03,0.1,0.3] "
        "budget.steps=500000"
    )


def test_the_figure_has_the_rungs_that_were_run(records, monkeypatch):
    drawn = []
    monkeypatch.setattr(ladder, "save_figure", lambda figure, name: drawn.append(figure))
    ladder.draw_ladder(records)
    assert not drawn
    rows = [
        {"entropy_coef": one, "most": 6.0} | {key: estimate(3.0) for key in ("self_play", "cross_play", "gap")}
        for one in (0.003, 0.1, 0.3)
    ]
    write(records, "ladder_2x3", {"runs": rows, "closing": {"coefficient": 0.2, "low": 0.1, "high": None}})
    ladder.draw_ladder(records)
    scores, gaps, closed = drawn[0].axes
    assert gaps.lines[0].get_label() == "2×3"
    assert scores.lines[1].get_ydata().tolist() == [0.5, 0.5, 0.5]  # shares of the greatest score
    assert [tick.get_text() for tick in closed.get_xticklabels()] == ["2×3"]
    assert closed.lines[0].get_ydata() == [0.2]


def test_a_rung_that_was_not_reached_is_marked_and_has_curves(records, monkeypatch):
    drawn = {}
    monkeypatch.setattr(ladder, "save_figure", lambda figure, name: drawn.update({name: figure}))
    rows = [
        {"entropy_coef": one, "most": 25.0, "curve": {"steps": [10, 20], "self_play": [3, 9.5], "cross_play": [2, end]}}
        | {key: estimate(9.5) for key in ("self_play", "cross_play", "gap")}
        for one, end in ((0.003, 4.0), (0.1, 8.0))
    ]
    write(records, "ladder_5x5", {"runs": rows, "closing": {"coefficient": 0.2, "low": 0.1, "high": None}})
    ladder.draw_ladder(records)
    assert [tick.get_text() for tick in drawn["ladder"].axes[2].get_xticklabels()] == ["5×5\nnot reached"]
    lines = {line.get_label(): line.get_ydata() for line in drawn["ladder_5x5_curves"].axes[0].lines}
    assert lines["0.1"].tolist() == [2, 8.0]
    rows[0]["self_play"] = estimate(12.5)
    write(records, "ladder_5x5", {"runs": rows, "closing": {"coefficient": 0.2, "low": 0.1, "high": None}})
    drawn.clear()
    ladder.draw_ladder(records)
    assert [tick.get_text() for tick in drawn["ladder"].axes[2].get_xticklabels()] == ["5×5"]
    assert list(drawn) == ["ladder"]


def test_places_outside_the_grid_are_said():
    found = [{"entropy_coef": 0.003}, {"entropy_coef": 0.3}]
    assert ladder.in_words(Closing(0.123, 0.1, np.inf), found) == "0.12 [0.1, above 0.3]"


def test_the_first_steps_at_which_a_curve_reaches_a_bound():
    steps, curve = np.array([10, 20, 30, 40]), np.array([1.0, 2.0, 4.0, 3.0])
    assert learning.first_at(steps, curve, 3.0) == 25
    assert learning.first_at(steps, curve, 0.5) == 10
    assert learning.first_at(steps, curve, 4.5) is None


def test_few_steps_is_the_combination_with_the_greatest_cross_play():
    found = Records(Path(results.__file__).parents[1] / "results").read("combinations")["numbers"]
    best = max(found, key=lambda one: one["cross_play"]["mean"])["change"]
    chosen = compose.compose(["experiment=per_step", *learning.COMBINATIONS[best].split()])
    assert compose.compose(["experiment=few_steps"]) == chosen


def test_every_rung_has_its_own_board_and_budgets_that_double():
    boards = [compose.compose(["experiment=ladder", f"game={rung.game}"])["game"] for rung in ladder.RUNGS.values()]
    assert all(one not in boards[:place] for place, one in enumerate(boards))
    for rung in ladder.RUNGS.values():
        assert all(after == 2 * before for before, after in itertools.pairwise(rung.budgets))
