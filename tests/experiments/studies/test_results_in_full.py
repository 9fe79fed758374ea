"""Results of studies for Python: policies come with them, finished runs are read, and figures show the policies."""

import math

import numpy as np
import pytest
from scipy.optimize import brentq

from experiments.presentation import figures
from experiments.studies import exact_figures, phase, zsc_table
from experiments.studies.study import Results, results
from experiments.studies.tabular import decisions
from games.errors import TacitError
from games.tabular.library import dectiger, two_stage_lever

FEW = ("normal_starts=2", "wide_starts=0", "pure_starts=4", "refine=false", "branch=false")
LEVERS = ("game=equal_levers", "n=2", "alpha=[0.3,0.7]", *FEW)
TWO_STAGE = ("game=two_stage_lever", "method=other-play", "starts=4")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("results") / "runs"


@pytest.fixture(scope="module")
def levers(folder):
    """Two levers at an α with both conventions and at one with neither."""
    (table,) = results(phase.STUDY, [*LEVERS, f"execution.output={folder}"])
    return table


@pytest.fixture(scope="module")
def two_stage(folder):
    (table,) = results(zsc_table.STUDY, [*TWO_STAGE, f"execution.output={folder}"])
    return table


class TestPhases:
    def test_policies_come_with_their_diagram(self, levers):
        low, high = levers["solutions"]
        strongest = low["probabilities"][0].max(axis=(1, 2))
        # Uniform play is no end of the flow at α < 1/2, and in both conventions α log(p / (1 - p)) = 2 p - 1.
        p = brentq(lambda p: 0.3 * math.log(p / (1 - p)) - (2 * p - 1), 0.6, 0.999)
        np.testing.assert_allclose(strongest, [p, p], atol=1e-8)
        assert low["soft_cells"].shape == (2, 2)
        np.testing.assert_allclose(np.diag(low["soft_cells"]), strongest**2 + (1 - strongest) ** 2, rtol=1e-8)
        np.testing.assert_allclose(high["probabilities"], np.full((2, 1, 1, 2), 0.5), atol=1e-8)

    def test_a_finished_run_is_read(self, levers, folder):
        before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
        (again,) = results(phase.STUDY, [*LEVERS, f"execution.output={folder}"])
        assert again["rows"] == levers["rows"]
        assert before == {file: file.stat().st_mtime_ns for file in folder.rglob("*")}

    def test_mistakes_are_those_of_the_command(self):
        with pytest.raises(TacitError, match="horizom"):
            results(phase.STUDY, ["game=dectiger", "horizom=3"])


class TestMethods:
    @pytest.mark.slow
    def test_outcomes_come_with_their_cross_play(self, two_stage):
        (method,) = two_stage["methods"]
        assert method["outcomes"] == 2
        np.testing.assert_allclose(method["cells"], [[0.5, -0.5], [-0.5, 0.5]], atol=1e-9)
        # Left after both went left, and after both went right: "repeat" and "switch", in either order.
        both = method["probabilities"][0][:, [1, 4], 0]
        assert sorted(both.round(6).tolist()) == [[0, 1], [1, 0]]


class TestDecisions:
    def test_histories_are_named_by_what_happened(self):
        found = decisions(two_stage_lever.make().tree)
        assert [one["words"] for one in found] == [
            "", "left, saw left", "left, saw right", "right, saw left", "right, saw right"
        ]  # fmt: skip
        assert found[3] == {"history": 3, "words": "right, saw left", "actions": {0: "left", 1: "right"}}

    def test_all_histories_of_dectiger(self):
        found = decisions(dectiger.make(horizon=2).tree)
        assert len(found) == 1 + 3 * 2
        assert found[1]["words"] == "listen, saw hear-left"


def the_same_twice(draw, tmp_path):
    """The axes of a figure that is saved twice, with the same bytes."""
    figure = draw()
    for name, one in (("a", figure), ("b", draw())):
        figures.save(one, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    return figure.axes


def numbers(axis):
    """What is written into the cells of a heat map."""
    return [text.get_text() for text in axis.texts]


class TestFigures:
    @pytest.mark.slow
    def test_solutions(self, levers, tmp_path):
        left, right = the_same_twice(lambda: exact_figures.solutions(levers), tmp_path)
        assert [label.get_text() for label in left.get_xticklabels()] == ["lever0", "lever1"]
        assert sorted(numbers(left)) == ["0.046", "0.046", "0.954", "0.954"]
        # Both meet with probability .954² + .046², and miss each other's lever with the rest.
        assert sorted(numbers(right)) == ["0.088", "0.088", "0.912", "0.912"]

    @pytest.mark.slow
    def test_outcomes(self, two_stage, tmp_path):
        left, right = the_same_twice(lambda: exact_figures.outcomes(two_stage, "Other-Play"), tmp_path)
        labels = [label.get_text() for label in left.get_xticklabels()]
        assert labels[:3] == ["left", "right", "left, saw left: left"]
        assert numbers(right) == ["0.5", "-0.5", "-0.5", "0.5"]

    @pytest.mark.slow
    def test_windows_shade_where_there_is_one_solution(self, levers, tmp_path):
        axes = the_same_twice(lambda: exact_figures.windows([levers, levers, levers, levers]), tmp_path)
        assert [axis.axison for axis in axes] == [True] * 4 + [False] * 2
        (shaded,) = axes[0].patches
        assert shaded.get_x() == 0.7
        assert axes[0].lines[0].get_ydata().tolist() == [1, 0.5]

    def test_hysteresis_has_the_solutions_on_its_line(self, levers, tmp_path):
        (axis,) = the_same_twice(lambda: exact_figures.hysteresis([levers]), tmp_path)
        line, uniform, low, *_ = axis.lines
        alpha, p = line.get_data()
        np.testing.assert_allclose(np.interp(-0.3, -alpha, p), low.get_ydata()[0], atol=1e-5)
        assert set(uniform.get_ydata()) == {0.5}


class TestCollections:
    def test_results_are_a_sequence_that_prints_as_tables(self, levers):
        some = Results(phase.STUDY, [levers])
        both = some + some[:1]
        assert (len(both), both[1]["rows"], repr(both)) == (2, levers["rows"], "<2 results of tacit phase>")
        assert "| 0.7 | 6 of 6 | 1 | 0.5000 |" in str(some)
        assert some.tables()[0].notes[2] == "alpha_certified   0.5 (one stage)"
        with pytest.raises(TypeError):
            some + Results(zsc_table.STUDY, [])

    def test_sweeps_and_launchers_are_for_the_command_line(self):
        for wrong, says in [
            ("hydra/launcher=slurm", "hydra/launcher=slurm is for the command line"),
            ("experiment=exact/library", "experiment=exact/library is a sweep of its own, which only its command"),
        ]:
            with pytest.raises(TacitError, match=says):
                results(phase.STUDY, [wrong])
