"""Figures of runs: learning curves, cross-play matrices, conventions, phase diagrams and tables of methods."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, FixedLocator, LogLocator, MaxNLocator, NullLocator

from experiments.runs.files import write_bytes
from marl.crossplay import CrossPlay
from marl.crossplay.comparisons import Blocks

SELF_PLAY, CROSS_PLAY = "#c1440e", "#1f5fa8"
STYLE: dict[Any, Any] = {
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
"""Of all figures, for `matplotlib.rc_context`."""


def save(figure: Figure, path: Path) -> None:
    """Write PATH.png and PATH.svg, the same bytes for the same figure."""
    for suffix in (".png", ".svg"):
        metadata: dict[str, Any] = {"Date": None} if suffix == ".svg" else {"Software": None}
        drawn = io.BytesIO()
        with matplotlib.rc_context(STYLE):
            figure.savefig(drawn, format=suffix[1:], metadata=metadata, bbox_inches="tight")
        write_bytes(path.with_suffix(suffix), drawn.getvalue())


def learning_curves(metrics: Mapping[str, np.ndarray], title: str) -> Figure:
    """Return, entropy and greedy self-play and cross-play against steps; a faint line for each seed.

    Args:
      metrics: as in metrics.npz: `steps` int64[rows], each metric [rows, seeds], evaluations [E, seeds or groups].
      title: of the figure.
    """
    with matplotlib.rc_context(STYLE):
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
        axes[2].set_title("greedy play")
        axes[2].sharey(axes[0])
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
                if not metrics[name].shape[1]:  # one seed alone has nobody to cross
                    continue
                axes[2].plot(at, metrics[name], color=color, alpha=0.25, linewidth=0.8)
                axes[2].plot(at, metrics[name].mean(axis=1), color=color, linewidth=1.8, marker="o", ms=3, label=label)
            axes[2].legend()
        figure.suptitle(title)
    return figure


def crossplay_matrices(results: Mapping[str, CrossPlay], score_range: tuple[float, float], title: str) -> Figure:
    """Mean scores of agent i (row) with agent j (column), a heat map for each result; see `CrossPlay.matrix`."""
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
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


def conventions(
    matrices: np.ndarray,
    actions: Sequence[str],
    labels: Sequence[str],
    distance: np.ndarray,
    scores: np.ndarray,
    title: str,
    note: str,
) -> Figure:
    """Convention matrices of N seeds [N, A, A], and their cross-play scores [N, N] against their distances [N, N].

    Rows that a seed never visits are gray; at most 12 seeds have their matrix drawn.
    """
    shown = min(len(matrices), 12)
    rows = -(-shown // 4)
    columns = -(-shown // rows)
    side = max(1.5, 0.13 * len(actions))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(columns * side + 6.4, max(rows * side + 1.9, 3.4)), layout="constrained")
        left, right = figure.subfigures(1, 2, width_ratios=[columns * side + 2.6, 3.8], squeeze=False)[0]
        axes = left.subplots(rows, columns, squeeze=False)
        colors = matplotlib.colormaps["viridis"].with_extremes(bad="0.88")
        image: Any = None
        for number, axis in enumerate(axes.flat):
            axis.grid(visible=False)
            if number >= shown:
                axis.set_axis_off()
                continue
            image = axis.imshow(matrices[number], vmin=0, vmax=1, cmap=colors)
            axis.set_title(labels[number], fontsize=8)
            axis.set_xticks(range(len(actions)), actions if number + columns >= shown else [], rotation=90, fontsize=6)
            axis.set_yticks(range(len(actions)), actions if number % columns == 0 else [], fontsize=6)
        left.colorbar(image, ax=axes.ravel().tolist(), shrink=0.6, label="P(next player's action | action)")
        left.supylabel("action", fontsize=8)
        left.supxlabel("action of the next player", fontsize=8)
        axis = right.subplots()
        pairs = np.triu_indices(len(distance), 1)
        axis.plot(distance[pairs], scores[pairs], "o", ms=4, alpha=0.7, color=CROSS_PLAY)
        axis.set(xlabel="distance of the convention matrices", ylabel="cross-play score, mean of both seatings")
        axis.set_title(note, fontsize=8)
        axis.set_xlim(left=0)
        figure.suptitle(title)
    return figure


def phase_diagram(table: Mapping[str, Any], title: str) -> Figure:
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
        top = max(2.2, 1.2 * numbers.max())  # also where no start converged, and there is nothing to draw
        axes[1, 0].set(title="distinct stationary points", ylabel="number", ylim=(0.9, top), yscale="log")
        found = np.where(numbers > 0, numbers, np.nan)
        axes[1, 0].plot(alphas, found, color="0.2", marker="o", ms=3.5, drawstyle="steps-mid")
        axes[1, 0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
        axes[1, 0].yaxis.set_major_formatter("{x:g}")
        axes[1, 0].yaxis.set_minor_locator(NullLocator())
        axes[1, 1].plot(alphas, _column(rows, "defect"), color="0.2", marker="o", ms=3.5)
        axes[1, 1].set(title="equivariance defect (weighted by reach)", ylabel="total variation", ylim=(-0.03, 1.03))
        for axis in axes.flat:
            alpha_axis(axis, table, alphas)
        for axis in axes[1]:
            axis.set_xlabel("α (weight of the entropies, in units of reward)")
        for axis in axes[0]:
            axis.legend(fontsize=8)
        _name_thresholds(figure, axes[1, 1], table)
        figure.suptitle(title)
    return figure


def branch_diagram(table: Mapping[str, Any], title: str) -> Figure:
    """The branch from α = ∞ among all solutions found, and its largest eigenvalue, from a run's phase.json."""
    rows, followed = table["rows"], _with_crossings(table["branch"])
    alphas = np.array([row["alpha"] for row in rows])
    # The line leaves the figure at its edge: it goes on to where α is greater for the first time.
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
            alpha_axis(axis, table, alphas)
            axis.set_xlabel("α")
        axes[0].legend(fontsize=8)
        _name_thresholds(figure, axes[2], table)
        figure.suptitle(title)
    return figure


def _with_crossings(branch: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Columns of a branch with a point more, by interpolation, wherever the eigenvalue crosses 1."""
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
"""So many values of α are named on the axis themselves."""
THRESHOLD_LINES: dict[str, tuple[str, Any]] = {
    "alpha_certified": ("#3a7d44", "-."),
    "alpha_unique": ("#8a2be2", "--"),
    "alpha_stable": ("#b8860b", ":"),
}


def alpha_axis(axis: Any, table: Mapping[str, Any], alphas: np.ndarray) -> None:
    """A logarithmic axis over the α of a diagram, float64[A] ascending, with the thresholds of `table` on it.

    Shaded are the windows between two folds, in which the branch from α = ∞ has several points.
    """
    low, high = alphas[0] / 1.1, alphas[-1] * 1.1
    axis.set(xscale="log", xlim=(low, high))
    axis.xaxis.set_major_locator(FixedLocator(alphas.tolist()) if len(alphas) <= _FEW else LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_locator(NullLocator())
    for start, end in table["branch"]["windows"] if table["branch"] else ():
        axis.axvspan(start, end, color=WINDOW, linewidth=0.8, zorder=0)  # the edge shows also where it is narrow
    for name, value in thresholds(table).items():
        if value is not None and low <= value <= high:
            color, style = THRESHOLD_LINES[name]
            axis.axvline(value, color=color, linestyle=style, linewidth=1.3)


def _name_thresholds(figure: Figure, axis: Any, table: Mapping[str, Any]) -> None:
    """A legend below the figure; thresholds beyond the axis are named as well."""
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


def zsc_table(contents: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Figure:
    """Methods × games: cross-play, coloured by its place between uniform play (0) and the best equivariant policy (1).

    Args:
      contents: a zsc.json for each game.
      names: of the games.
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
        axis.set_xticks(range(len(contents)), names, rotation=40, ha="right", rotation_mode="anchor")
        axis.set_yticks(range(len(methods)), methods)
        figure.colorbar(image, ax=axis, label="0: uniform play, 1: best equivariant", shrink=0.7, aspect=30)
        swaps = "with" if contents[0]["agent_swaps"] else "without"
        axis.set_title(f"cross-play of independent runs, relabelled ({swaps} agent swaps); –: does not apply")
    return figure


def zsc_matrix(table: Mapping[str, Any], title: str) -> Figure:
    """Cross-play of the methods of a zsc.json with each other: agent 0 of the row's, agent 1 of the column's."""
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
            steps = beliefs[[*range(len(beliefs)), -1], level].T  # the last one up to its right edge
            drawn = axis.stackplot(edges, steps, step="post", colors=colors, labels=range(levels))
            axis.set_title(f"partner of level {level}", fontsize=8)
            axis.set(xlim=(edges[0], edges[-1]), ylim=(0, 1))
            axis.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
        right.supxlabel("round", fontsize=9)
        right.supylabel("mean belief before the round", fontsize=9)
        right.legend(handles=drawn[::-1], title="level", loc="outside right center", fontsize=8, title_fontsize=8)
        figure.suptitle(title)
    return figure


def methods(found: Mapping[str, Blocks], score_range: tuple[float, float], game: str) -> Figure:
    """Methods × methods, `Blocks.together`: a heat map for each play, self-play in a column of its own.

    Args:
      found: by the name of the play.
      score_range: of the game.
      game: its name.
    """
    names = next(iter(found.values())).methods
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        side = 1.2 + 0.42 * len(names)
        figure = Figure(figsize=(len(found) * (side + 0.5) + 2.6, side + 1.4), layout="constrained")
        axes = figure.subplots(1, len(found), squeeze=False, sharey=True)[0]
        image: Any = None
        for axis, (play, block) in zip(axes, found.items(), strict=True):
            means = block.means()
            own = [np.nan if one.mean is None else one.mean for one in block.self_play]
            values = np.column_stack([own, means])
            image = heat_map(axis, values, values, score_range)
            axis.axvline(0.5, color="white", linewidth=3)
            axis.set_xticks(
                range(len(names) + 1), ["with itself", *names], rotation=40, ha="right", rotation_mode="anchor"
            )
            axis.set_yticks(range(len(names)), names)
            axis.set_title(f"{play} play")
        figure.colorbar(image, ax=axes.tolist(), label="mean score", shrink=0.7, aspect=30)
        figure.suptitle(f"{game}: methods with each other; on the diagonal different seeds of one method")
    return figure


def _cross_play(method: Mapping[str, Any]) -> float:
    return np.nan if method["refused"] else method["cross_play"]


def heat_map(axis: Any, colors: np.ndarray, values: np.ndarray, limits: tuple[float, float]) -> Any:
    """Cells with their values written in, three digits; a dash where there is none.

    Args:
      axis: of matplotlib.
      colors: float[rows, columns], what is shown as a colour.
      values: float[rows, columns], what is written; NaN where there is none.
      limits: the least and the greatest colour.

    Returns:
      Matplotlib's image, for a colour bar.
    """
    axis.set_facecolor("0.93")
    image = axis.imshow(colors, vmin=limits[0], vmax=limits[1], cmap="viridis", aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        if np.isnan(value):
            axis.text(column, row, "–", ha="center", va="center", fontsize=6.5, color="0.5")
            continue
        color = "black" if colors[row, column] > sum(limits) / 2 else "white"
        axis.text(column, row, f"{round(value, 9):z.3g}", ha="center", va="center", fontsize=6.5, color=color)
    return image
