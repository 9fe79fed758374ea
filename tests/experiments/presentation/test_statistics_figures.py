"""Figures about errors of cross-play: what they frame, colour and count."""

import numpy as np
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from experiments.presentation import statistics_figures
from marl.crossplay import synthetic
from marl.crossplay.estimators import Estimate
from marl.crossplay.synthetic import Coverage

RIGHT, WRONG = Estimate(5.2, 0.5, 4.0, 6.0), Estimate(7.0, 0.2, 6.5, 7.5)


def test_a_matrix_with_its_disjoint_pairs():
    cells = synthetic.sample("seeds", 6)
    drawn = statistics_figures.matrix_and_estimates(cells, {"cross_play_disjoint": RIGHT, "cross_play": WRONG}, "title")
    matrix, estimates = drawn.get_axes()[:2]
    frames = [patch for patch in matrix.patches if isinstance(patch, Rectangle)]
    framed = {(round(frame.get_y() + 0.46), round(frame.get_x() + 0.46)) for frame in frames}
    assert framed == {(0, 1), (1, 0), (2, 3), (3, 2), (4, 5), (5, 4)}
    seatings, scores = cells
    np.testing.assert_array_equal(np.asarray(matrix.images[0].get_array())[tuple(seatings.T)], scores)
    names = [label.get_text() for label in estimates.get_yticklabels()]
    assert names == ["disjoint pairs", "all pairs, bootstrap over seeds"]
    assert [list(line.get_xdata()) for line in estimates.lines[:4]] == [[4.0, 6.0], [5.2], [6.5, 7.5], [7.0]]


def test_intervals_that_miss_the_truth_are_red_and_counted():
    drawn = statistics_figures.intervals({"cross_play": [RIGHT, WRONG, RIGHT]}, "title", most=2)
    (axis,) = drawn.get_axes()
    assert axis.get_title().endswith("2 of 3 hold the truth")
    held, missed = axis.collections
    assert [len(lines.get_segments()) for lines in (held, missed)] == [1, 1]
    assert to_hex(missed.get_color()[0]) == "#c1440e"


def test_coverage_against_seeds():
    measured = {
        kind: {seeds: {"cross_play": Coverage(share, 1.0)} for seeds, share in ((6, 0.9), (16, 0.95))}
        for kind in ("seeds", "failures")
    }
    drawn = statistics_figures.coverage(measured, "title")
    assert [axis.get_title() for axis in drawn.get_axes()] == ["seeds", "failures"]
    assert list(drawn.get_axes()[1].lines[0].get_ydata()) == [0.9, 0.95]
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["all pairs, bootstrap over seeds"]
