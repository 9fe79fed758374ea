"""Self-play against cross-play over configurations: the figures of `tacit compare`."""

import itertools
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.analysis.compare_tables import Comparison
from experiments.presentation import keys as keys_of
from experiments.presentation.figures import CROSS_PLAY, SELF_PLAY, STYLE
from experiments.runs.collection import PLAYS
from marl.crossplay.estimators import Estimate, Summary

_COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#000000")
"""Colors of lines, also distinguishable for color-blind readers (Okabe and Ito, 2008)."""
_LETTER = 0.08
"""Inches: a little more than the mean width of a letter of tick labels."""
_PANEL = 3.7
"""Inches: the width of a panel of a comparison without the labels to its left."""
_OPEN: dict[str, Any] = {"marker": "s", "linestyle": "--", "markerfacecolor": "white"}
_FILLED: dict[str, Any] = {"marker": "o", "linestyle": "-"}
_OPTIMUM: dict[str, Any] = {"linestyle": ":", "linewidth": 1}
_MOST_LINES = 6
"""The most lines of a panel; more are divided among panels."""


class Scale(NamedTuple):
    """The axis of scores."""

    name: str
    score_range: tuple[float, float]
    optimum: float | None


def figure(comparison: Comparison) -> Figure:
    """Self-play and cross-play of the rows with their intervals, in sampled and in greedy play.

    The numeric key with most values is the axis, and there is a line for each combination of the other keys' values; of
    many lines, some are in a panel for each value of one of these keys. Without a numeric key, or if rows have the same
    keys, the rows are listed below each other.
    """
    rows, keys = comparison.rows, list(comparison.rows[0].keys)
    unit, (low, high) = comparison.unit, comparison.score_range
    optimum = None if comparison.optimum is None else comparison.optimum / unit
    name = "share of the optimum" if comparison.shares else "mean score"
    scale = Scale(name, (low / unit, high / unit), optimum)
    by_play = {play: [row.summaries[play] for row in rows] for play in PLAYS}
    names = dict(zip(keys, (name.replace("_", " ") for name in keys_of.short_names(keys)), strict=True))
    alike = bool(rows[0].short_name)
    numeric = [key for key in keys if all(keys_of.is_number(row.keys[key]) for row in rows)]
    axis = max(numeric, key=lambda key: len({row.keys[key] for row in rows}), default=None)

    def texts(of: Sequence[str]) -> list[str]:
        return [", ".join(keys_of.short_value(key, row.keys[key]) for key in of) for row in rows]

    if alike or axis is None or len({row.keys[axis] for row in rows}) == 1 < len(rows):
        listed = [", ".join(filter(None, [text, row.short_name])) for text, row in zip(texts(keys), rows, strict=True)]
        what = ", ".join([*names.values(), *(["run"] if alike else [])])
        return comparison_of_categories(listed, by_play, what, scale)
    values, others = [row.keys[axis] for row in rows], [key for key in keys if key != axis]
    if not others:
        return comparison_along_an_axis(values, by_play, names[axis], scale)
    numbers = {key: len(set(texts([one for one in others if one != key]))) for key in others}
    panels = [min(numbers, key=lambda key: _too_many(numbers[key]))] if len(set(texts(others))) > _MOST_LINES else []
    lines = [key for key in others if key not in panels]
    what = ", ".join(names[key] for key in lines)
    facets = [f"{names[key]} {text}" for key in panels for text in texts([key])] or [""] * len(rows)
    return comparison_of_lines(values, texts(lines), by_play, names[axis], what, scale, facets)


def comparison_along_an_axis(
    values: Sequence[float], summaries: Mapping[str, Sequence[Summary]], axis_name: str, scale: Scale
) -> Figure:
    """Self-play and cross-play with their intervals along one axis; one panel each for `summaries`.

    Args:
      values: of each configuration on the axis: on a logarithmic scale if all are above 0, else equally spaced.
      summaries: of each configuration, by play.
      axis_name: of what `values` are.
      scale: of the scores.
    """
    numeric = _is_logarithmic(values)
    places = np.asarray(values, float) if numeric else np.arange(len(values))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.4 * len(summaries), 3.6), layout="constrained")
        axes = figure.subplots(1, len(summaries), sharey=True, squeeze=False)
        for axis, (name, rows) in zip(axes[0], summaries.items(), strict=True):
            for label, color, marker, estimates in [
                ("self-play", SELF_PLAY, "s", [row.self_play for row in rows]),
                ("cross-play", CROSS_PLAY, "o", [row.cross_play for row in rows]),
            ]:
                mean = np.array([estimate.mean for estimate in estimates], float)
                axis.errorbar(
                    places, mean, yerr=_bars(estimates), color=color, marker=marker, ms=5, capsize=3, label=label
                )
            axis.set(title=f"{name} play", xlabel=axis_name)
            _mark_optimum(axis.axhline, scale)
            _name_ticks(axis, values, logarithmic=numeric)
        axes[0, 0].set_ylim(*_score_limits(summaries, scale))
        axes[0, 0].set_ylabel(scale.name)
        axes[0, 0].legend()
    return figure


def comparison_of_lines(
    values: Sequence[float],
    lines: Sequence[str],
    summaries: Mapping[str, Sequence[Summary]],
    axis_name: str,
    lines_name: str,
    scale: Scale,
    facets: Sequence[str],
) -> Figure:
    """Self-play (broken, open squares) and cross-play (dots) along one axis, a color for each line.

    Args:
      values: of each configuration on the axis.
      lines: the name of the line that each configuration is on.
      summaries: of each configuration, by play: one column of panels each.
      axis_name, lines_name: of what `values` and `lines` are.
      scale: of the scores.
      facets: the name of the row of panels that each configuration is in.
    """
    ticks, names, rows = sorted(set(values)), list(dict.fromkeys(lines)), list(dict.fromkeys(facets))
    logarithmic = _is_logarithmic(ticks)
    at = dict(zip(ticks, np.log(ticks) if logarithmic else np.arange(len(ticks)), strict=True))
    apart = 0.025 * (at[ticks[-1]] - at[ticks[0]] or 1)
    step = min(apart, 0.5 * min(np.diff(list(at.values())), default=1) / len(names))  # so that no line hides another
    texts = {name: textwrap.fill(name, 32) for name in names}
    letters = max(len(line) for text in texts.values() for line in text.split("\n"))
    height = 1.4 + 0.18 * sum(1 + text.count("\n") for text in texts.values())
    with matplotlib.rc_context(STYLE):
        width = 4.4 * len(summaries) + 0.7 + _LETTER * max(letters, len(lines_name))
        figure = Figure(figsize=(width, max(3.6, height, 2.7 * len(rows))), layout="constrained")
        axes = figure.subplots(len(rows), len(summaries), sharex=True, sharey=True, squeeze=False)
        for (row, facet), (column, play) in itertools.product(enumerate(rows), enumerate(summaries)):
            axis = axes[row, column]
            for number, (name, color) in enumerate(zip(names, _colors(len(names)), strict=True)):
                of_line = [place for place in range(len(lines)) if (facets[place], lines[place]) == (facet, name)]
                of_line.sort(key=lambda place: values[place])
                places = np.array([at[values[place]] for place in of_line]) + step * (number - (len(names) - 1) / 2)
                for looks, own, shift in ((_OPEN, "self_play", -step / 4), (_FILLED, "cross_play", step / 4)):
                    estimates = [getattr(summaries[play][place], own) for place in of_line]
                    if not estimates:
                        continue
                    axis.errorbar(
                        np.exp(places + shift) if logarithmic else places + shift,
                        np.array([estimate.mean for estimate in estimates], float),
                        yerr=_bars(estimates), color=color, ms=5, capsize=3, **looks,
                    )  # fmt: skip
            axis.set_title(", ".join(filter(None, [f"{play} play", facet])))
            _mark_optimum(axis.axhline, scale)
            _name_ticks(axis, ticks, logarithmic=logarithmic)
        for axis in axes[-1]:
            axis.set_xlabel(axis_name)
        axes[0, 0].set_ylim(*_score_limits(summaries, scale))
        for axis in axes[:, 0]:
            axis.set_ylabel(scale.name)
        colored = zip(texts.values(), _colors(len(names)), strict=True)
        handles = [Line2D([], [], color=color, linewidth=2.5, label=text) for text, color in colored]
        handles += [
            Line2D([], [], color="0.35", label=label, **looks)
            for label, looks in (("self-play", _OPEN), ("cross-play", _FILLED))
        ]
        handles += [Line2D([], [], color="0.35", label="optimum", **_OPTIMUM)] * (scale.optimum is not None)
        figure.legend(handles=handles, title=lines_name, loc="outside right upper", alignment="left")
    return figure


def comparison_of_categories(
    names: Sequence[str],
    summaries: Mapping[str, Sequence[Summary]],
    axis_name: str,
    scale: Scale,
) -> Figure:
    """Self-play and cross-play with their intervals below each other, for configurations that have no order.

    Args:
      names: of the configurations, from top to bottom.
      summaries: of each configuration, by play: one panel each.
      axis_name: of what `names` are.
      scale: of the scores.
    """
    texts = [textwrap.fill(name, 36) for name in names]
    lines = [text.split("\n") for text in texts]
    letters = max(len(line) for text in lines for line in text)
    places = np.arange(len(names))
    with matplotlib.rc_context(STYLE):
        size = (3.8 * len(summaries) + _LETTER * letters, 1.3 + sum(max(0.32, 0.17 * len(text)) for text in lines))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(1, len(summaries), sharex=True, sharey=True, squeeze=False)
        for axis, (play, rows) in zip(axes[0], summaries.items(), strict=True):
            for label, color, marker, shift, estimates in [
                ("self-play", SELF_PLAY, "s", -0.14, [row.self_play for row in rows]),
                ("cross-play", CROSS_PLAY, "o", 0.14, [row.cross_play for row in rows]),
            ]:
                mean = np.array([estimate.mean for estimate in estimates], float)
                axis.errorbar(
                    mean, places + shift, xerr=_bars(estimates), color=color, marker=marker, linestyle="none", ms=5,
                    capsize=3, label=label,
                )  # fmt: skip
            axis.set(title=f"{play} play", xlabel=scale.name)
            _mark_optimum(axis.axvline, scale)
        axes[0, 0].set_yticks(places, texts)
        axes[0, 0].set_ylim(len(names) - 0.5, -0.5)
        axes[0, 0].set_xlim(*_score_limits(summaries, scale))
        handles, labels = axes[0, 0].get_legend_handles_labels()
        title = f"rows: {axis_name}"
        figure.legend(handles, labels, loc="outside lower center", ncols=3, title=title)
    return figure


def _too_many(lines: int) -> tuple[bool, int]:
    """A sort key of numbers of lines in a panel: the most that are not too many, then the fewest."""
    return (False, -lines) if lines <= _MOST_LINES else (True, lines)


def _is_logarithmic(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) and value > 0 for value in values) and len(values) > 1


def _score_limits(summaries: Mapping[str, Sequence[Summary]], scale: Scale) -> tuple[float, float]:
    """The limits of an axis that shows all intervals and the optimum."""
    shown = [
        number
        for rows in summaries.values()
        for summary in rows
        for estimate in (summary.self_play, summary.cross_play)
        for number in (estimate.mean, estimate.low, estimate.high, scale.optimum)
        if number is not None
    ]
    low, high = scale.score_range
    margin = 0.06 * max(max(shown) - min(shown), 0.05 * (high - low))
    return min(shown) - margin, max(shown) + margin


def _mark_optimum(line: Callable[..., Any], scale: Scale) -> None:
    """A line at the optimum, if it is known."""
    if scale.optimum is not None:
        line(scale.optimum, color="0.35", label="optimum", zorder=1, **_OPTIMUM)


def _name_ticks(axis: Any, values: Sequence[Any], *, logarithmic: bool) -> None:
    """Ticks at the values on a logarithmic scale, else at 0, 1, …; labels that would overlap are rotated or omitted."""
    labels = [f"{value:g}" if logarithmic or isinstance(value, float) else str(value) for value in values]
    if logarithmic:
        places = np.log(np.asarray(values, float))
        inches = places * _PANEL / (1.1 * (np.ptp(places) or 1))
        axis.set_xscale("log")
    else:
        inches = np.arange(len(values)) * _PANEL / len(values)
        axis.set_xlim(-0.5, len(values) - 0.5)
    gaps, lengths = np.diff(inches), np.array(list(map(len, labels)))
    meet = bool((gaps < _LETTER * (lengths[1:] + lengths[:-1]) / 2 + 0.04).any())
    turned: dict[str, Any] = {}
    if meet and (gaps < 0.32).any():
        turned = {"rotation": 90}
        last = -np.inf
        for place, inch in enumerate(inches):
            if inch - last < 0.17:
                labels[place] = ""
            else:
                last = inch
    elif meet or (not logarithmic and sum(map(len, labels)) > 40):
        turned = {"rotation": 30, "ha": "right"}
    axis.set_xticks(values if logarithmic else range(len(values)), labels, **turned)
    if logarithmic:
        axis.minorticks_off()


def _colors(number: int) -> list[Any]:
    if number <= len(_COLORS):
        return list(_COLORS[:number])
    return list(matplotlib.colormaps["viridis"](np.linspace(0, 0.95, number)))


def _bars(estimates: Sequence[Estimate]) -> np.ndarray:
    """The distances from the means to both ends of the intervals, [2, n]; zero without an interval."""
    ends = [
        (0.0, 0.0)
        if estimate.low is None or estimate.high is None or estimate.mean is None
        else (estimate.mean - estimate.low, estimate.high - estimate.mean)
        for estimate in estimates
    ]
    return np.maximum(np.array(ends).T, 0)
