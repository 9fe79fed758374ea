"""Figures of runs: learning curves, cross-play matrices, and self-play against cross-play over configurations."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from experiments.runs import write_bytes
from marl.crossplay import CrossPlay
from marl.crossplay.estimators import Estimate, Summary

SELF_PLAY, CROSS_PLAY = "#c1440e", "#1f5fa8"
_STYLE: dict[Any, Any] = {
    "figure.dpi": 110,
    "savefig.dpi": 150,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "svg.hashsalt": "tacit",
}


def save(figure: Figure, path: Path) -> None:
    """Write PATH.png and PATH.svg, the same bytes for the same figure."""
    for suffix in (".png", ".svg"):
        metadata: dict[str, Any] = {"Date": None} if suffix == ".svg" else {"Software": None}
        drawn = io.BytesIO()
        with matplotlib.rc_context(_STYLE):
            figure.savefig(drawn, format=suffix[1:], metadata=metadata, bbox_inches="tight")
        write_bytes(path.with_suffix(suffix), drawn.getvalue())


def learning_curves(metrics: Mapping[str, np.ndarray], score_range: tuple[float, float], title: str) -> Figure:
    """Return, entropy and greedy self-play and cross-play against steps; a faint line for each seed."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(11, 3.1), layout="constrained")
        axes = figure.subplots(1, 3)
        steps = metrics["steps"]
        with np.errstate(invalid="ignore", divide="ignore"):
            returns = np.where(metrics["count"] > 0, metrics["return_sum"] / metrics["count"], np.nan)
        for axis, values, name in [(axes[0], returns, "mean return"), (axes[1], metrics["entropy"], "entropy (nats)")]:
            axis.plot(steps, values, color=SELF_PLAY, alpha=0.25, linewidth=0.8)
            mean = np.ma.masked_invalid(values).mean(axis=1).filled(np.nan)
            axis.plot(steps, mean, color=SELF_PLAY, linewidth=1.8, marker=None if len(steps) > 1 else "o")
            axis.set_title(name)
        axes[0].set_ylim(*score_range)
        axes[2].set(title="greedy play", ylim=score_range)
        for axis in axes:
            axis.set(xlabel="steps of games", xlim=(0, steps[-1] * 1.02))
            axis.xaxis.set_major_formatter(EngFormatter(sep=""))
            axis.xaxis.set_major_locator(MaxNLocator(5))
        if "greedy_self_play" in metrics:
            at = metrics["evaluation_steps"]
            for name, color, label in [
                ("greedy_self_play", SELF_PLAY, "self-play"),
                ("greedy_cross_play", CROSS_PLAY, "cross-play"),
            ]:
                axes[2].plot(at, metrics[name], color=color, alpha=0.25, linewidth=0.8)
                axes[2].plot(at, metrics[name].mean(axis=1), color=color, linewidth=1.8, marker="o", ms=3, label=label)
            axes[2].legend()
        figure.suptitle(title)
    return figure


def crossplay_matrices(results: Mapping[str, CrossPlay], score_range: tuple[float, float], title: str) -> Figure:
    """Mean scores of agent i (row) with agent j (column), a heat map for each result; see `CrossPlay.matrix`."""
    with matplotlib.rc_context({**_STYLE, "axes.grid": False}):
        size = len(next(iter(results.values())).labels)
        side = min(max(2.8, 0.42 * size), 8)
        figure = Figure(figsize=(len(results) * side + 1.2, side + 0.5), layout="constrained")
        axes = figure.subplots(1, len(results), squeeze=False)
        image: Any = None
        for axis, (name, result) in zip(axes[0], results.items(), strict=True):
            matrix = result.matrix()
            image = axis.imshow(matrix, vmin=score_range[0], vmax=score_range[1], cmap="viridis")
            others = "seat 1" if result.seatings.shape[1] == 2 else "in any other seat"
            axis.set(title=f"{name} play", xlabel=others, ylabel="seat 0")
            if size <= 24:
                axis.set_xticks(range(size), result.labels, rotation=90 if max(map(len, result.labels)) > 2 else 0)
                axis.set_yticks(range(size), result.labels)
            if size <= 12:
                middle = sum(score_range) / 2
                for (row, column), value in np.ndenumerate(matrix):
                    if np.isnan(value):
                        continue
                    color = "black" if value > middle else "white"
                    axis.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=6.5, color=color)
        figure.colorbar(image, ax=axes[0].tolist(), label="mean score", shrink=0.85)
        figure.suptitle(title)
    return figure


def comparison(
    values: Sequence[Any], summaries: Mapping[str, Sequence[Summary]], axis_name: str, score_range: tuple[float, float]
) -> Figure:
    """Self-play and cross-play with their intervals, for each configuration; one panel each for `summaries`."""
    numeric = all(isinstance(value, int | float) and value > 0 for value in values) and len(values) > 1
    places = np.asarray(values, float) if numeric else np.arange(len(values))
    shown = [
        number
        for rows in summaries.values()
        for summary in rows
        for estimate in (summary.self_play, summary.cross_play)
        for number in (estimate.mean, estimate.low, estimate.high)
        if number is not None
    ]
    margin = 0.06 * max(max(shown) - min(shown), 0.05 * (score_range[1] - score_range[0]))
    with matplotlib.rc_context(_STYLE):
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
            if numeric:
                axis.set_xscale("log")
                axis.set_xticks(places, [f"{value:g}" for value in values])
                axis.minorticks_off()
            else:
                labels = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
                turned = {"rotation": 30, "ha": "right"} if sum(map(len, labels)) > 40 else {}
                axis.set_xticks(places, labels, **turned)
                axis.set_xlim(-0.5, len(values) - 0.5)
        top = min(score_range[1], max(shown)) + margin
        axes[0, 0].set_ylim(min(shown) - margin, top)
        axes[0, 0].set_ylabel(f"mean score (best {score_range[1]:g})")
        axes[0, 0].legend()
    return figure


def _bars(estimates: Sequence[Estimate]) -> np.ndarray:
    """The distances to both ends of each interval, [2, n]; nothing where there is no interval."""
    ends = [
        (0.0, 0.0)
        if estimate.low is None or estimate.high is None or estimate.mean is None
        else (estimate.mean - estimate.low, estimate.high - estimate.mean)
        for estimate in estimates
    ]
    return np.maximum(np.array(ends).T, 0)
