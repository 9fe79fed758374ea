"""Figures about errors of cross-play: what an interval means, and how often it contains the true mean.

They show samples of `marl.crossplay.synthetic`, whose true means are known. Estimates have the names of
`synthetic.TRUTH` and are drawn in the order in which they are given.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

from experiments.presentation.figures import CROSS_PLAY, SELF_PLAY, STYLE, heat_map
from marl.crossplay.estimators import Estimate
from marl.crossplay.synthetic import TRUTH, Cells, Coverage

_WORDS = {
    "self_play": "self-play",
    "cross_play": "all pairs, bootstrap over seeds",
    "gap": "SP − XP, bootstrap over seeds",
    "difference": "difference of two samples",
    "cross_play_disjoint": "disjoint pairs",
    "cells_as_independent": "all cells as if independent",
}
_COLORS = {"cells_as_independent": SELF_PLAY, "cross_play_disjoint": "#b8860b", "cross_play": CROSS_PLAY}
_WRONG, _RIGHT = "#c1440e", "0.65"


def matrix_and_estimates(cells: Cells, estimates: Mapping[str, Estimate], title: str) -> Figure:
    """One sample of two players: its matrix with the cells of disjoint pairs framed, and the estimates from it.

    Args:
      cells: (seatings, scores).
      estimates: by name, with intervals.
      title: of the figure.
    """
    seatings, scores = cells
    size = int(seatings.max()) + 1
    matrix = np.full((size, size), np.nan)
    matrix[seatings[:, 0], seatings[:, 1]] = scores
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 0.42 * size + 1.1), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=[1, 1.1])
        left.grid(visible=False)
        image = heat_map(left, matrix, matrix, (float(np.nanmin(matrix)), float(np.nanmax(matrix))))
        for first in range(0, size - 1, 2):
            for row, column in ((first, first + 1), (first + 1, first)):
                frame = Rectangle((column - 0.46, row - 0.46), 0.92, 0.92, fill=False, edgecolor="#ff8c1a", linewidth=2)
                left.add_patch(frame)
        left.set(xlabel="seed in seat 1", ylabel="seed in seat 0", title="scores; framed: disjoint pairs")
        left.set_xticks(range(size))
        left.set_yticks(range(size))
        figure.colorbar(image, ax=left, shrink=0.8, aspect=25)
        places = -np.arange(len(estimates))
        for place, (name, one) in zip(places, estimates.items(), strict=True):
            right.plot([_number(one.low), _number(one.high)], [place, place], color=_color(name), linewidth=2)
            right.plot([_number(one.mean)], [place], "o", color=_color(name), ms=6)
        _truth(right, next(iter(estimates)))
        right.set_yticks(places, [_WORDS[name] for name in estimates])
        right.set(ylim=(places[-1] - 0.7, 0.7), xlabel="mean cross-play", title="one sample, three 95 % intervals")
        figure.suptitle(title)
    return figure


def intervals(found: Mapping[str, Sequence[Estimate]], title: str, *, most: int = 100) -> Figure:
    """The intervals of many samples, a panel for each estimate; red where one does not contain the true mean.

    Args:
      found: estimates by name, one for each sample (`synthetic.estimates`).
      title: of the figure.
      most: the most samples to draw; the shares in the titles count all.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.1 * len(found) + 0.6, 4.4), layout="constrained")
        axes = figure.subplots(1, len(found), sharex=True, sharey=True, squeeze=False)[0]
        for axis, (name, estimates) in zip(axes, found.items(), strict=True):
            low, mean, high = np.array([[one.low, one.mean, one.high] for one in estimates], float).T
            holds = (low <= TRUTH[name]) & (TRUTH[name] <= high)
            for right, color in ((True, _RIGHT), (False, _WRONG)):
                (rows,) = np.nonzero(holds[:most] == right)
                axis.hlines(rows, low[rows], high[rows], color=color, linewidth=1.1)
                axis.plot(mean[rows], rows, "o", ms=2, color=color)
            _truth(axis, name)
            axis.set_title(f"{_WORDS[name]}\n{holds.sum()} of {len(holds)} hold the truth", fontsize=9)
            axis.set(xlabel="mean cross-play", ylim=(-1, 1.08 * min(most, len(low))))
        axes[0].set_ylabel("sample")
        figure.suptitle(title)
    return figure


def coverage(measured: Mapping[str, Mapping[int, Mapping[str, Coverage]]], title: str) -> Figure:
    """Coverage of 95 % intervals against the number of seeds, a panel for each kind of samples.

    Args:
      measured: results of `synthetic.measure`.
      title: of the figure.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(2.7 * len(measured) + 0.8, 3.5), layout="constrained")
        axes = figure.subplots(1, len(measured), sharex=True, sharey=True, squeeze=False)[0]
        for axis, (kind, by_seeds) in zip(axes, measured.items(), strict=True):
            numbers = list(by_seeds)
            for name in by_seeds[numbers[0]]:
                shares = [by_seeds[number][name].share for number in numbers]
                axis.plot(numbers, shares, "o-", ms=4, color=_color(name), label=_WORDS[name])
            axis.axhline(0.95, color="0.35", linewidth=1, linestyle="--")
            axis.set(title=kind, xlabel="seeds", xscale="log", ylim=(0, 1.03))
            axis.set_xticks(numbers, list(map(str, numbers)))
            axis.minorticks_off()
        axes[0].set_ylabel("intervals that hold the truth")
        axes[0].yaxis.set_major_formatter(PercentFormatter(1))
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8)
        figure.suptitle(title)
    return figure


def _truth(axis: Any, name: str) -> None:
    axis.axvline(TRUTH[name], color="black", linewidth=1, linestyle="--", zorder=0)
    axis.text(TRUTH[name], 1, " truth", transform=axis.get_xaxis_transform(), va="top", fontsize=8)


def _color(name: str) -> str:
    return _COLORS.get(name, "0.2")


def _number(value: float | None) -> float:
    return np.nan if value is None else value
