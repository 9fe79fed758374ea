"""Figures of exact results, from a phase.json, zsc.json or adaptive.json.

The functions that draw policies take the dictionaries of `experiments.studies.study.results`, which include them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator

from experiments.presentation.figures import CROSS_PLAY, SELF_PLAY, STYLE, heat_map
from experiments.studies.exact_tables import game as game_title
from experiments.studies.exact_tables import games as game_titles
from experiments.studies.exact_tables import or_left_out
from experiments.studies.exact_tables import title as full_title

_WIDEST = 40
"""The most columns of a heat map of policies."""


def solutions(table: Mapping[str, Any], place: int = 0) -> Figure:
    """The solutions at one α of a phase diagram: the policy of agent 0 in each, and their cross-play.

    Args:
      table: the phase diagram of a game of two agents.
      place: the index of α in the diagram.
    """
    found, alpha = table["solutions"][place], table["rows"][place]["alpha"]
    names = [
        f"{number} ({starts} start{'s' * (starts != 1)})" for number, starts in enumerate(found["starts"], start=1)
    ]
    title = f"{game_title(table)}: the solutions found at α = {alpha:g}"
    return _policies(table, found["probabilities"][0], found["soft_cells"], names, title)


def outcomes(table: Mapping[str, Any], name: str) -> Figure:
    """The outcomes of one method of a zsc.json: the policy of agent 0 in each, and their cross-play.

    Args:
      table: the zsc.json of a game of two agents.
      name: the method's name, as the table shows it.
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
    """Greedy self-play and cross-play against α, a panel for each phase diagram, three in a row.

    The α at which all starts end in one solution are shaded. Lines are the thresholds and the best return in self-play.
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
            _alpha_axis(axis, table, alphas)
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

    Dots are the solutions in which the starts end. The line is the exact curve of solutions: if one lever has
    probability p and all others are equally probable, α = (np - 1) / ((n - 1) log(p (n - 1) / (1 - p))). Between
    alpha_stable and alpha_unique, shaded, the solution that is found depends on the start.
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


def phase_diagram(table: Mapping[str, Any], title: str = "") -> Figure:
    """Returns, distinct solutions and equivariance defect against α, from a run's phase.json, with the thresholds."""
    rows = table["rows"]
    alphas = np.array([row["alpha"] for row in rows])
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 6.6), layout="constrained")
        axes = figure.subplots(2, 2, sharex=True)
        for axis, kind in ((axes[0, 0], "soft"), (axes[0, 1], "greedy")):
            for what, color, marker in (("self", SELF_PLAY, "s"), ("cross", CROSS_PLAY, "o")):
                values = _column(rows, f"{kind}_{what}_play")
                axis.plot(alphas, values, color=color, marker=marker, ms=3.5, label=f"{what}-play")
            axis.set(title=f"{kind} play", ylabel="expected return")
        optimum, equivariant = table["optimum"], table["equivariant"]["swap"]
        for value, style, label in (
            (optimum["value"], "-", "best self-play" if optimum["exact"] else "best self-play found"),
            (equivariant["value"], "--", "best equivariant" if equivariant["exact"] else "best equivariant found"),
        ):
            axes[0, 1].axhline(value, color="0.35", linestyle=style, linewidth=1, label=f"{label}: {value:.4g}")
        numbers = _column(rows, "solutions")
        top = max(2.2, 1.2 * numbers.max())  # a valid limit even if no start converged and there is nothing to draw
        axes[1, 0].set(title="distinct stationary points", ylabel="number", ylim=(0.9, top), yscale="log")
        found = np.where(numbers > 0, numbers, np.nan)
        axes[1, 0].plot(alphas, found, color="0.2", marker="o", ms=3.5, drawstyle="steps-mid")
        axes[1, 0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
        axes[1, 0].yaxis.set_major_formatter("{x:g}")
        axes[1, 0].yaxis.set_minor_locator(NullLocator())
        axes[1, 1].plot(alphas, _column(rows, "defect"), color="0.2", marker="o", ms=3.5)
        axes[1, 1].set(title="equivariance defect (weighted by reach)", ylabel="total variation", ylim=(-0.03, 1.03))
        for axis in axes.flat:
            _alpha_axis(axis, table, alphas)
        for axis in axes[1]:
            axis.set_xlabel("α (weight of the entropies, in units of reward)")
        for axis in axes[0]:
            axis.legend(fontsize=8)
        _name_thresholds(figure, axes[1, 1], table)
        figure.suptitle(title or full_title(table))
    return figure


def branch_diagram(table: Mapping[str, Any], title: str = "") -> Figure:
    """The branch from α = ∞ among all solutions found, and its largest eigenvalue, from a run's phase.json."""
    rows, followed = table["rows"], _with_crossings(table["branch"])
    alphas = np.array([row["alpha"] for row in rows])
    # One point beyond the greatest α is kept, so that the line reaches the edge of the figure.
    inside = np.convolve(followed["alpha"] <= alphas[-1], (1, 1, 1), "same") > 0
    stable, unstable = followed["eigenvalue"] < 1 + 1e-9, followed["eigenvalue"] > 1 - 1e-9
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(12, 3.7), layout="constrained")
        axes = figure.subplots(1, 3, sharex=True)
        for axis, kind in ((axes[0], "soft"), (axes[1], "greedy")):
            for row, found in zip(rows, table["solutions"], strict=True):
                axis.plot([row["alpha"]] * len(found[kind]), found[kind], ".", color="0.65", ms=4, zorder=1)
            for shown, style, label in ((stable, "-", "stable"), (unstable, ":", "unstable")):
                line = np.where(inside & shown, followed[kind], np.nan)
                name = f"branch from ∞, {label}"
                axis.plot(followed["alpha"], line, style, color=CROSS_PLAY, linewidth=1.8, label=name)
            axis.set(title=f"{kind} return in self-play", ylabel="expected return")
        axes[0].plot([], [], ".", color="0.65", label="ends of the starts")
        axes[2].plot(followed["alpha"], np.where(inside, followed["eigenvalue"], np.nan), color=CROSS_PLAY)
        axes[2].axhline(1, color="0.35", linewidth=1)
        axes[2].set(title="largest eigenvalue of soft policy iteration", ylabel="eigenvalue")
        for axis in axes:
            _alpha_axis(axis, table, alphas)
            axis.set_xlabel("α")
        axes[0].legend(fontsize=8)
        _name_thresholds(figure, axes[2], table)
        figure.suptitle(title or full_title(table))
    return figure


def _with_crossings(branch: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Columns of a branch, with an interpolated point added wherever the eigenvalue crosses 1."""
    eigenvalue = np.array(branch["eigenvalue"])
    before = np.flatnonzero((eigenvalue[:-1] < 1) != (eigenvalue[1:] < 1))
    share = (1 - eigenvalue[before]) / (eigenvalue[before + 1] - eigenvalue[before])
    filled = {}
    for name in ("alpha", "eigenvalue", "soft", "greedy"):
        values = np.array(branch[name])
        between = values[before] + share * (values[before + 1] - values[before])
        filled[name] = np.insert(values, before + 1, between)
    return filled


def thresholds(table: Mapping[str, Any]) -> dict[str, float | None]:
    """The three thresholds of a phase.json by name; `alpha_unique` is the least α found to have one solution above."""
    return {
        "alpha_certified": table["alpha_certified"]["alpha"],
        "alpha_unique": table["alpha_unique"]["one_from"],
        "alpha_stable": table["alpha_stable"],
    }


WINDOW = "#ead9f7"
_FEW = 6
"""Up to so many values of α, each one is labelled on the axis."""
THRESHOLD_LINES: dict[str, tuple[str, Any]] = {
    "alpha_certified": ("#3a7d44", "-."),
    "alpha_unique": ("#8a2be2", "--"),
    "alpha_stable": ("#b8860b", ":"),
}


def _alpha_axis(axis: Any, table: Mapping[str, Any], alphas: np.ndarray) -> None:
    """A logarithmic axis over the α of a diagram, float64[A] ascending, with the thresholds of `table` on it.

    Shaded are the windows between two folds, in which the branch from α = ∞ has several points.
    """
    low, high = alphas[0] / 1.1, alphas[-1] * 1.1
    axis.set(xscale="log", xlim=(low, high))
    axis.xaxis.set_major_locator(FixedLocator(alphas.tolist()) if len(alphas) <= _FEW else LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_locator(NullLocator())
    for start, end in table["branch"]["windows"] if table["branch"] else ():
        axis.axvspan(start, end, color=WINDOW, linewidth=0.8, zorder=0)  # with an edge, so that a narrow one is visible
    for name, value in thresholds(table).items():
        if value is not None and low <= value <= high:
            color, style = THRESHOLD_LINES[name]
            axis.axvline(value, color=color, linestyle=style, linewidth=1.3)


def _name_thresholds(figure: Figure, axis: Any, table: Mapping[str, Any]) -> None:
    """A legend below the figure, which also names the thresholds outside of the axis."""
    low, high = axis.get_xlim()
    lines = [
        Line2D([], [], color=THRESHOLD_LINES[name][0], linestyle=THRESHOLD_LINES[name][1],
               label=f"{name} {value:.5g}{'' if low <= value <= high else ' (off the axis)'}")
        for name, value in thresholds(table).items()
        if value is not None
    ]  # fmt: skip
    if lines:
        figure.legend(handles=lines, loc="outside lower center", ncols=len(lines), fontsize=8)


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    return np.array([np.nan if row[name] is None else row[name] for row in rows])


def zsc_table(contents: Sequence[Mapping[str, Any]]) -> Figure:
    """Methods × games: cross-play, coloured on a scale from uniform play (0) to the best equivariant policy (1).

    Args:
      contents: a zsc.json for each game.
    """
    methods = [method["name"] for method in contents[0]["methods"]]
    values = np.array([[_cross_play(one["methods"][row]) for one in contents] for row in range(len(methods))])
    low = np.array([one["random"] for one in contents])
    span = np.array([one["equivariant"]["value"] for one in contents]) - low
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(span > 1e-9, (values - low) / span, np.where(np.isnan(values), np.nan, 1.0))
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(3.4 + 0.62 * len(contents), 1.9 + 0.3 * len(methods)), layout="constrained")
        axis = figure.subplots()
        image = heat_map(axis, share, values, (0.0, 1.0))
        axis.set_xticks(range(len(contents)), game_titles(contents), rotation=40, ha="right", rotation_mode="anchor")
        axis.set_yticks(range(len(methods)), methods)
        figure.colorbar(image, ax=axis, label="0: uniform play, 1: best equivariant", shrink=0.7, aspect=30)
        swaps = "with" if contents[0]["agent_swaps"] else "without"
        nothing = f"–: does not apply{or_left_out(contents)}"
        axis.set_title(f"cross-play of independent runs, relabelled ({swaps} agent swaps); {nothing}")
    return figure


def tie_breaking(exact: Mapping[str, Mapping[int, float]], published: Mapping[str, Mapping[int, float]]) -> Figure:
    """For each game the cross-play of the preferred one of several runs, computed and published, by number of runs."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.4 * len(exact), 2.8), layout="constrained")
        axes = figure.subplots(1, len(exact), squeeze=False)[0]
        for axis, (game, cells) in zip(axes, exact.items(), strict=True):
            axis.plot(cells.keys(), cells.values(), marker="o", label="exact, every optimum as likely")
            learned = published[game]
            axis.plot(learned.keys(), learned.values(), marker="x", linestyle="none", label="learned, published")
            axis.set_xscale("log", base=2)
            axis.set_xticks(list(cells), list(map(str, cells)))
            axis.set(xlabel="runs of each agent", title=game)
        axes[0].set_ylabel("cross-play")
        axes[0].legend(fontsize=8)
    return figure


def zsc_matrix(table: Mapping[str, Any], title: str) -> Figure:
    """Cross-play of the methods of a zsc.json: agent 0 is from the row's method, agent 1 from the column's."""
    names = [method["name"] for method in table["methods"] if not method["refused"]]
    values = np.array(table["matrix"]).reshape(len(names), len(names))
    low, high = table["random"], max(table["equivariant"]["value"], table["optimum"]["value"])
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        side = 2.6 + 0.42 * len(names)
        figure = Figure(figsize=(side + 0.8, side), layout="constrained")
        axis = figure.subplots()
        image = heat_map(axis, values, values, (low, high if high > low else low + 1.0))
        axis.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
        axis.set_yticks(range(len(names)), names)
        axis.set(xlabel="agent 1", ylabel="agent 0")
        figure.colorbar(image, ax=axis, label="expected return, relabelled", shrink=0.7, aspect=30)
        figure.suptitle(title)
    return figure


def adaptive(table: Mapping[str, Any], title: str) -> Figure:
    """Regrets of an adaptive.json, agents × the partner's levels, and the adaptive agent's beliefs by round."""
    regrets, beliefs = np.array(table["regrets"]), np.array(table["beliefs"])
    agents, levels = regrets.shape
    edges = np.arange(len(beliefs) + 1) + 0.5
    columns = min(levels, 4)
    rows = -(-levels // columns)
    with matplotlib.rc_context(STYLE):
        width, height = 3.0 + 0.55 * levels, max(1.4 + 0.32 * agents, 1.3 + 1.6 * rows)
        figure = Figure(figsize=(width + 0.6 + 1.7 * columns, height), layout="constrained")
        left, right = figure.subfigures(1, 2, width_ratios=[width, 0.6 + 1.7 * columns], squeeze=False)[0]
        axis = left.subplots()
        axis.grid(visible=False)
        image = heat_map(axis, regrets, regrets, (0.0, max(float(regrets.max()), 1e-9)))
        axis.set_xticks(range(levels), [str(level) for level in range(levels)])
        axis.set_yticks(range(agents), table["agents"])
        axis.axhline(agents - 1.5, color="white", linewidth=3)
        axis.set(xlabel="level of the partner", ylabel="agent", title="regret")
        left.colorbar(image, ax=axis, shrink=0.8, aspect=25)
        axes = right.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        colors = matplotlib.colormaps["viridis"](np.linspace(0.1, 0.95, levels))
        drawn: Any = None
        for level, axis in enumerate(axes.flat):
            if level >= levels:
                axis.set_axis_off()
                continue
            steps = beliefs[[*range(len(beliefs)), -1], level].T  # the last step is drawn up to its right edge
            drawn = axis.stackplot(edges, steps, step="post", colors=colors, labels=range(levels))
            axis.set_title(f"partner of level {level}", fontsize=8)
            axis.set(xlim=(edges[0], edges[-1]), ylim=(0, 1))
            axis.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
        right.supxlabel("round", fontsize=9)
        right.supylabel("mean belief before the round", fontsize=9)
        right.legend(handles=drawn[::-1], title="level", loc="outside right center", fontsize=8, title_fontsize=8)
        figure.suptitle(title)
    return figure


def _cross_play(method: Mapping[str, Any]) -> float:
    return np.nan if method["refused"] else method["cross_play"]
