"""Figures of training runs: learning curves, cross-play matrices, conventions, methods with each other."""

import io
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from experiments.runs.files import write_bytes
from marl.crossplay import CrossPlay
from marl.crossplay.comparisons import Blocks
from marl.crossplay.estimators import Estimate

SELF_PLAY, CROSS_PLAY = "#c1440e", "#1f5fa8"
PARTNERS = "0.35"
GAP_NAMED = 0.05  # of partners with smaller gaps the names would lie on each other
MARKERS = "osD^v"
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
"""The style of all figures, for `matplotlib.rc_context`."""


def save(figure: Figure, path: Path) -> None:
    """Write PATH.png and PATH.svg; the same figure always gives the same bytes."""
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
                if not metrics[name].shape[1]:  # a single seed has no cross-play
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
    scores: np.ndarray | None,
    title: str,
    note: str = "",
) -> Figure:
    """Convention matrices of N agents [N, A, A], and their cross-play scores [N, N] against their distances [N, N].

    Rows that an agent never visits are gray; at most 12 agents have their matrix drawn. Without scores, only matrices.
    """
    shown = min(len(matrices), 12)
    rows = -(-shown // 4)
    columns = -(-shown // rows)
    side = max(1.5, 0.13 * len(actions))
    with matplotlib.rc_context(STYLE):
        widths = [columns * side + 2.6, *([] if scores is None else [3.8])]
        figure = Figure(figsize=(sum(widths), max(rows * side + 1.9, 3.4)), layout="constrained")
        left, *right = figure.subfigures(1, len(widths), width_ratios=widths, squeeze=False)[0]
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
        if scores is not None:
            axis = right[0].subplots()
            pairs = np.triu_indices(len(distance), 1)
            axis.plot(distance[pairs], scores[pairs], "o", ms=4, alpha=0.7, color=CROSS_PLAY)
            axis.set(xlabel="distance of the convention matrices", ylabel="cross-play score, mean of both seatings")
            axis.set_title(note, fontsize=8)
            axis.set_xlim(left=0)
        figure.suptitle(title)
    return figure


def methods(found: Mapping[str, Blocks], score_range: tuple[float, float], game: str) -> Figure:
    """Scores of methods with each other (`Blocks.together`): a heat map for each play, self-play in a separate column.

    Args:
      found: blocks by the name of the play.
      score_range: the game's least and greatest score.
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


class GapPoint(NamedTuple):
    """A point of the figure of convention gaps: a run, or a partner with copies of itself."""

    players: int
    board: str
    name: str
    score: float  # as a share of the board's greatest
    own: Estimate  # the gap in self-play
    met: Estimate | None = None  # in cross-play; None for a partner


def gaps_against_scores(points: Sequence[GapPoint], people: Mapping[int, float]) -> Figure:
    """Convention gaps against scores, a panel for each number of players; people, without such a score, are lines.

    Args:
      points: runs of one board are joined by a line, in their order. Partners with a small gap have no name.
      people: their gap, by number of players.
    """
    numbers = sorted({one.players for one in points} | set(people))
    boards = list(dict.fromkeys(one.board for one in points))
    columns = min(2, len(numbers))
    rows = -(-len(numbers) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(1.2 + 4.4 * columns, 0.6 + 3.8 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
        for spare in panels[len(numbers) :]:
            spare.remove()
        for axis, players in zip(panels, numbers, strict=False):
            for board, marker in zip(boards, itertools.cycle(MARKERS)):
                own = [one for one in points if (one.players, one.board) == (players, board)]
                runs, partners = ([one for one in own if (one.met is None) == alone] for alone in (False, True))
                _gap_line(axis, runs, [one.own for one in runs], SELF_PLAY, f"{board}, seeds with themselves", marker)
                _gap_line(axis, runs, [one.met for one in runs], CROSS_PLAY, f"{board}, different seeds", marker)
                _gap_line(axis, partners, [one.own for one in partners], PARTNERS, f"{board}, partners", marker)
            if players in people:
                axis.axhline(people[players], color="#2e7d32", linewidth=1.2, label="people with people, full board")
            axis.axhline(0, color="0.35", linewidth=1, linestyle="--")
            axis.set(title=f"{players} players", xlabel="score, share of the greatest", xlim=(-0.03, 1.08))
            if axis.get_legend_handles_labels()[0]:
                axis.legend(fontsize=6)
        for axis in panels[::columns]:
            axis.set_ylabel("convention gap (share of plays)")
        figure.suptitle("Convention gap against the score: greedy cross-play of runs, self-play of partners")
    return figure


def _gap_line(
    axis: Any, points: Sequence[GapPoint], gaps: Sequence[Estimate | None], color: str, label: str, marker: str
) -> None:
    """Points of one board with their names and intervals, those of runs joined by a line."""
    known = [(point, gap, gap.mean) for point, gap in zip(points, gaps, strict=True) if gap and gap.mean is not None]
    if not known:
        return
    line = {} if color != PARTNERS else {"linestyle": "none", "markerfacecolor": "white"}
    scores, means = [point.score for point, _, _ in known], [mean for _, _, mean in known]
    axis.plot(scores, means, marker=marker, color=color, linewidth=0.8, ms=4, label=label, **line)
    for point, gap, mean in known:
        if gap.low is not None:
            axis.vlines(point.score, gap.low, gap.high, color=color, linewidth=1, alpha=0.6)
        if color == SELF_PLAY or (color == PARTNERS and mean > GAP_NAMED):
            axis.annotate(point.name, (point.score, mean), (3, 4), textcoords="offset points", fontsize=6, color=color)


def heat_map(axis: Any, colors: np.ndarray, values: np.ndarray, limits: tuple[float, float]) -> Any:
    """A heat map with a value of three digits written into each cell; a dash where there is none.

    Args:
      axis: matplotlib's.
      colors: float[rows, columns], the values shown as colours.
      values: float[rows, columns], the values written; NaN where there is none.
      limits: the least and the greatest value of the colour scale.

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
