"""The figures of the ladder of boards: scores, gaps, and the coefficient that closes them; curves of one board."""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, PercentFormatter

from experiments.presentation.figures import MARKERS, STYLE
from marl.crossplay.closing import Closing
from marl.crossplay.estimators import Estimate

COLORS = ("#1f5fa8", "#c1440e", "#2e7d32", "#b8860b", "#6a3d9a", "0.3", "#0b8a8f")


class Point(NamedTuple):
    """A board at an entropy coefficient; scores are shares of the board's greatest."""

    board: str
    entropy_coef: float
    self_play: Estimate
    cross_play: Estimate
    gap: Estimate


def ladder(points: Sequence[Point], closings: Mapping[str, Closing]) -> Figure:
    """Three panels: cross-play and self-play, the gap, and the closing coefficient of every board.

    Args:
      points: of one board in the order of the coefficient.
      closings: by board, in the order of its size.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(13, 4.2), layout="constrained")
        scores, gaps, closed = figure.subplots(1, 3)
        styles = dict(zip(closings, itertools.cycle(zip(COLORS, itertools.cycle(MARKERS), strict=False)), strict=False))
        for board, (color, marker) in styles.items():
            own = [one for one in points if one.board == board]
            at = [one.entropy_coef for one in own]
            scores.plot(at, [one.self_play.mean for one in own], color=color, linewidth=0.8, linestyle=":")
            for axis, estimates in ((scores, [one.cross_play for one in own]), (gaps, [one.gap for one in own])):
                axis.plot(
                    at, [one.mean for one in estimates], marker=marker, color=color, ms=4, linewidth=1, label=board
                )
                for place, one in zip(at, estimates, strict=True):
                    if one.low is not None:
                        axis.vlines(place, one.low, one.high, color=color, linewidth=1, alpha=0.6)
        scores.plot([], [], color="0.4", linewidth=0.8, linestyle=":", label="self-play")
        scores.set(title="greedy cross-play", ylabel="share of the greatest score")
        gaps.set(title="SP − XP, greedy")
        gaps.axhline(0, color="0.35", linewidth=1, linestyle="--")
        for axis in (scores, gaps):
            axis.set(xscale="log", xlabel="entropy coefficient")
            axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        figure.legend(*scores.get_legend_handles_labels(), loc="outside lower center", ncols=8)
        top = 2 * max(one.entropy_coef for one in points)  # where what lies outside the grid is drawn
        for place, (board, closing) in enumerate(closings.items()):
            color, marker = styles[board]
            found, low, high = (min(one, top) for one in closing)
            closed.vlines(place, low, high, color=color, linewidth=1.5)
            closed.plot([place], [found], marker="^" if np.isinf(closing.coefficient) else marker, color=color, ms=6)
        closed.axhline(top, color="0.35", linewidth=1, linestyle="--")
        closed.annotate("above the grid", (0.02, top), (0, 3), xycoords=("axes fraction", "data"),
                        textcoords="offset points", fontsize=7, color="0.35")  # fmt: skip
        closed.set(title="coefficient that closes 90 % of the gap", yscale="log", xlabel="board")
        closed.set_xticks(range(len(closings)), [board.replace(", ", "\n") for board in closings])
        closed.set_xlim(-0.6, len(closings) - 0.4)
    return figure


def curves(
    runs: Mapping[str, Mapping[str, Sequence[float]]],
    legend: str,
    *,
    most: float | None = None,
    restarts: Sequence[float] = (),
    published: Sequence[tuple[str, float, float]] = (),
) -> Figure:
    """Greedy self-play (dotted) and cross-play of runs on one board against the steps of a seed.

    Args:
      runs: the curve of each, by what the legend calls it: `steps`, `self_play` and `cross_play`, of one length.
      legend: its title.
      most: the greatest score, half of which is marked; None to mark nothing.
      restarts: steps after which they went on with a fresh optimiser.
      published: whose score it is, its steps and the score; with any, the axis of steps is logarithmic.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6, 3.6), layout="constrained")
        axis = figure.subplots()
        for color, (name, curve) in zip(itertools.cycle(COLORS), runs.items(), strict=False):
            axis.plot(curve["steps"], curve["self_play"], color=color, linewidth=1, linestyle=":")
            axis.plot(curve["steps"], curve["cross_play"], color=color, marker="o", ms=3, linewidth=1.2, label=name)
        axis.plot([], [], color="0.4", linewidth=1, linestyle=":", label="self-play")
        if most is not None:
            axis.axhline(most / 2, color="0.35", linewidth=1, linestyle="--")
            axis.annotate("half of the greatest score", (0.02, most / 2), (0, 3), textcoords="offset points",
                          xycoords=("axes fraction", "data"), fontsize=7, color="0.35")  # fmt: skip
        for steps in restarts:
            axis.axvline(steps, color="0.6", linewidth=0.8, linestyle="--")
        for whose, steps, score in published:
            axis.plot([steps], [score], marker="*", color="0.35", ms=8, linestyle="")
            axis.annotate(whose, (steps, score), (-6, 0), textcoords="offset points", ha="right", va="center",
                          fontsize=7, color="0.35")  # fmt: skip
        axis.set(title="greedy cross-play", xlabel="steps of a seed", ylim=(0, None))
        axis.set(xscale="log") if published else axis.set(xlim=(0, None))
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        axis.legend(title=legend, fontsize=8)
    return figure
