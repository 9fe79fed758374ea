"""Figures of exact results: what solutions play and how they meet, windows over α, hysteresis.

They take what `experiments.results` gives: contents of phase.json or zsc.json with the policies beside.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.exact_tables import game as game_title
from experiments.figures import (
    CROSS_PLAY,
    SELF_PLAY,
    STYLE,
    THRESHOLD_LINES,
    alpha_axis,
    heat_map,
    thresholds,
)

_WIDEST = 40
"""The most columns of a heat map of policies."""


def solutions(table: Mapping[str, Any], place: int = 0) -> Figure:
    """The solutions at one α of a phase diagram: what agent 0 plays in each, and their cross-play.

    Args:
      table: of a game of two agents.
      place: of α in the diagram.
    """
    found, alpha = table["solutions"][place], table["rows"][place]["alpha"]
    names = [
        f"{number} ({starts} start{'s' * (starts != 1)})" for number, starts in enumerate(found["starts"], start=1)
    ]
    title = f"{game_title(table)}: the solutions found at α = {alpha:g}"
    return _policies(table, found["probabilities"][0], found["soft_cells"], names, title)


def outcomes(table: Mapping[str, Any], name: str) -> Figure:
    """The outcomes of one method of a zsc.json: what agent 0 plays in each, and their cross-play.

    Args:
      table: of a game of two agents.
      name: of the method, as the table shows it.
    """
    (method,) = (method for method in table["methods"] if method["name"] == name)
    names = [str(number) for number in range(1, method["outcomes"] + 1)]
    title = f"{game_title(table)}: the outcomes of {name}"
    return _policies(table, method["probabilities"][0], method["cells"], names, title)


def _policies(
    table: Mapping[str, Any], probabilities: np.ndarray, cells: np.ndarray, names: Sequence[str], title: str
) -> Figure:
    """Joint policies by their action probabilities, [K, H, A], and their cross-play, [K, K], as two heat maps."""
    decisions = table["decisions"]
    columns = [(one["history"], action) for one in decisions for action in one["actions"]][:_WIDEST]
    words = [f"{one['words']}: {name}".removeprefix(": ") for one in decisions for name in one["actions"].values()]
    values = np.stack([probabilities[:, history, action] for history, action in columns], axis=1)
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        side = 0.9 + 0.36 * len(names)
        widths = [2.2 + 0.4 * len(columns), 0.9 + side]
        figure = Figure(figsize=(sum(widths), side + 1.6), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=widths)
        heat_map(left, values, values.round(3), (0.0, 1.0))
        left.set_xticks(range(len(columns)), words[:_WIDEST], rotation=50, ha="right", rotation_mode="anchor")
        left.set_yticks(range(len(names)), names)
        left.set(title="action probabilities of agent 0", ylabel="policy")
        for edge in np.cumsum([len(one["actions"]) for one in decisions])[:-1]:
            left.axvline(edge - 0.5, color="white", linewidth=3)
        low, high = min(float(cells.min()), 0.0), max(float(cells.max()), 0.0)
        heat_map(right, cells, cells.round(3), (low, high if high > low else 1.0))
        right.set_xticks(range(len(names)), [str(number) for number in range(1, len(names) + 1)])
        right.set_yticks(range(len(names)), [str(number) for number in range(1, len(names) + 1)])
        right.set(title="expected return", xlabel="agent 1 of", ylabel="agent 0 of")
        figure.suptitle(title)
    return figure


def windows(tables: Sequence[Mapping[str, Any]]) -> Figure:
    """Greedy self-play and cross-play against α, a panel for each phase diagram, three in a row; the α of one solution.

    Shaded is where all starts end in one solution. Lines are the thresholds and the best return in self-play.
    """
    columns = min(len(tables), 3)
    rows = -(-len(tables) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.4 * columns, 2.5 * rows + 0.5), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
        for axis, table in zip(axes.flat, tables, strict=False):
            alphas = np.array([row["alpha"] for row in table["rows"]])
            for what, color, marker in (("self", SELF_PLAY, "s"), ("cross", CROSS_PLAY, "o")):
                values = [row[f"greedy_{what}_play"] for row in table["rows"]]
                axis.plot(alphas, np.array(values, float), color=color, marker=marker, ms=3.5, label=f"{what}-play")
            axis.axhline(table["optimum"]["value"], color="0.35", linewidth=1, label="best self-play")
            axis.set_title(game_title(table))
            alpha_axis(axis, table, alphas)
            axis.tick_params(axis="x", labelsize=7)
            if table["alpha_unique"]["one_from"] is not None:
                axis.axvspan(table["alpha_unique"]["one_from"], axis.get_xlim()[1], color="0.93", zorder=0)
        for axis in axes.flat[len(tables) :]:
            axis.set_axis_off()
        for axis in axes[:, 0]:
            axis.set_ylabel("greedy return")
        for axis in axes.flat[max(0, len(tables) - columns) : len(tables)]:
            axis.set_xlabel("α")
        lines, names = axes.flat[0].get_legend_handles_labels()
        for name, (color, style) in THRESHOLD_LINES.items():
            if any(thresholds(table)[name] is not None for table in tables):
                lines.append(Line2D([], [], color=color, linestyle=style))
                names.append(name)
        figure.legend(lines, names, loc="outside lower center", ncols=len(names), fontsize=8)
    return figure


def hysteresis(tables: Sequence[Mapping[str, Any]]) -> Figure:
    """Phase diagrams of games of n equal levers (match 1, mismatch 0): how strongly each solution prefers a lever.

    Dots are the solutions that starts end in, the line is where solutions are: all levers but one have the same
    probability, and the one with p has α = (np - 1) / ((n - 1) log(p (n - 1) / (1 - p))). Between alpha_stable and
    alpha_unique, shaded, what one finds depends on where one comes from.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.4 * len(tables), 3.2), layout="constrained")
        axes = figure.subplots(1, len(tables), squeeze=False, sharey=True)[0]
        for axis, table in zip(axes, tables, strict=True):
            alphas = np.array([row["alpha"] for row in table["rows"]])
            levers = table["solutions"][0]["probabilities"][0].shape[-1]
            line = 1 / (1 + np.exp(np.linspace(np.log(levers - 1) - 1e-6, -20, 2001)))  # from 1 / n to 1
            at = (levers * line - 1) / ((levers - 1) * np.log(line * (levers - 1) / (1 - line)))
            axis.plot(at, line, ":", color=CROSS_PLAY, linewidth=1.5, label="all solutions with one preferred lever")
            axis.plot(alphas[[0, -1]], [1 / levers] * 2, ":", color="0.5", linewidth=1.5, label="uniform")
            for alpha, found in zip(alphas, table["solutions"], strict=True):
                strongest = found["probabilities"][0].max(axis=(1, 2))
                axis.plot([alpha] * len(strongest), strongest, "o", color=SELF_PLAY, ms=4, zorder=3)
            axis.plot([], [], "o", color=SELF_PLAY, ms=4, label="ends of the starts")
            known = thresholds(table)
            if known["alpha_stable"] is not None and known["alpha_unique"] is not None:
                axis.axvspan(known["alpha_stable"], known["alpha_unique"], color="0.9", zorder=0)
                stable, alone = known["alpha_stable"], known["alpha_unique"]
                axis.set_title(f"{levers} levers: uniform play stable from\n{stable:.3f}, alone from {alone:.3f}")
            axis.set(xlabel="α", xlim=(alphas[0] * 0.98, alphas[-1] * 1.02), ylim=(0, 1.03))
        axes[0].set_ylabel("probability of the preferred lever")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    return figure
