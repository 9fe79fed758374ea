"""Figures of `tacit structure-table`: the effects of structures and methods, in six figures.

Every function takes the contents of structure.json files and returns a Figure.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from experiments.presentation.figures import CROSS_PLAY, SELF_PLAY, STYLE, heat_map
from experiments.studies.exact_tables import or_left_out

Contents = Sequence[Mapping[str, Any]]

_SPATIAL, _SEMANTIC, _UNSPLIT = "#1f5fa8", "#e0a03c", "0.75"
_RELIABILITY, _UNCERTAINTY, _RESOLUTION = "#c1440e", "0.72", "#3a7d44"
_MARKERS = "osD^vPX*"
_SAME = 1e-6
"""Differences up to this are not drawn."""


def structure_table(contents: Contents) -> Figure:
    """Structures × methods, a panel for each game: cross-play, coloured by the retained share of the solo value.

    Args:
      contents: of each game and structure, with the same methods.
    """
    games = _games(contents)
    methods = [method["name"] for method in contents[0]["methods"]]
    structures = list(dict.fromkeys(_structure(one) for one in contents))
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        size = (2.4 + (0.25 + 0.44 * len(methods)) * len(games), 2.2 + 0.3 * len(structures))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(1, len(games), squeeze=False, sharey=True)[0]
        image: Any = None
        for axis, (game, cells) in zip(axes, games.items(), strict=True):
            rows = {_structure(one): one["methods"] for one in cells}
            nothing = [{"cross_play": None, "retention": None}] * len(methods)
            values, kept = (
                np.array([[_number(cell[key]) for cell in rows.get(name, nothing)] for name in structures])
                for key in ("cross_play", "retention")
            )
            image = heat_map(axis, kept, values, (0.0, 1.0))
            axis.set_xticks(range(len(methods)), methods, rotation=50, ha="right", rotation_mode="anchor")
            axis.set_yticks(range(len(structures)), structures)
            axis.set_title(f"{game}\nsolo {cells[0]['solo']:.3g}", fontsize=9)
        figure.colorbar(image, ax=axes.tolist(), label="share of the solo value", shrink=0.8, aspect=25)
        figure.suptitle(
            "cross-play of independent runs, by structure (rows) and training (columns); "
            f"–: not applicable{or_left_out(contents)}"
        )
    return figure


def retention_by_agents(contents: Contents) -> Figure:
    """The retained share of the solo value against the number of agents, for self-play and cross-play of each method.

    Args:
      contents: of one game with different numbers of agents (its parameter `agents`), all with the same structure.
    """
    counts = [one["parameters"]["agents"] for one in contents]
    methods = [method["name"] for method in contents[0]["methods"]]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.5, 3.4), layout="constrained")
        axes = figure.subplots(1, 2)
        for axis, key in zip(axes, ("self_play", "cross_play"), strict=True):
            for place, name in enumerate(methods):
                kept = [_share(one, one["methods"][place][key]) for one in contents]
                aside = 0.05 * (place - (len(methods) - 1) / 2)  # shifted, so that equal lines are both visible
                axis.plot(np.array(counts) + aside, kept, label=name, **_line(place))
            axis.set(title=key.replace("_", "-"), xlabel="agents", ylim=(-0.04, 1.06))
            axis.set_xticks(counts)
        axes[0].set_ylabel("share of the solo value")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
        fixed = [f"{value} {key}" for key, value in contents[0]["parameters"].items() if key != "agents"]
        figure.suptitle(", ".join([f"{_plain(contents[0]['game'])} over the number of agents", *fixed]))
    return figure


def gap_parts(contents: Contents) -> Figure:
    """The gap between cross-play without structure and the solo value, in spatial and semantic parts, for each game.

    Args:
      contents: as `experiments.studies.structure_table.with_splits` gives them.
    """
    bare = _without_structure(contents)
    with matplotlib.rc_context(STYLE):
        figure, axes = _row_of_panels(bare, height=3.7)
        for axis, (game, (one,)) in zip(axes, _games(bare).items(), strict=True):
            for place, method in enumerate(one["methods"]):
                gap = 1 - _share(one, method["cross_play"])
                split = method.get("split")
                if np.isnan(gap) or gap < _SAME:
                    axis.text(place, 0.01, "n/a" if np.isnan(gap) else "none", ha="center", fontsize=7, color="0.4")
                elif split is None:
                    axis.bar(place, gap, 0.7, color=_UNSPLIT)
                else:
                    spatial = gap * split["spatial"] / split["gap"]
                    axis.bar(place, spatial, 0.7, color=_SPATIAL)
                    axis.bar(place, gap - spatial, 0.7, bottom=spatial, color=_SEMANTIC)
            axis.set_title(game)
            _name_methods(axis, one)
        axes[0].set_ylabel("share of the solo value")
        parts = [
            Patch(color=_SPATIAL, label="spatial: claims or isolation alone removes it"),
            Patch(color=_SEMANTIC, label="semantic: what is left"),
            Patch(color=_UNSPLIT, label="not split: neither has a meaning here"),
        ]
        figure.legend(handles=parts, loc="outside lower center", ncols=3, fontsize=8)
        figure.suptitle("gap between cross-play without structure and the solo value")
    return figure


def search_effect(contents: Contents) -> Figure:
    """Self-play and cross-play without structure, without and with a one-step search by all agents, for each game."""
    bare = _without_structure(contents)
    with matplotlib.rc_context(STYLE):
        figure, axes = _row_of_panels(bare, height=1.7 + 0.45 * len(bare[0]["methods"]))
        for axis, (game, (one,)) in zip(axes, _games(bare).items(), strict=True):
            names = [method["name"] for method in one["methods"]]
            for place, method in enumerate(one["methods"]):
                for key, color, aside in (("self_play", SELF_PLAY, -0.16), ("cross_play", CROSS_PLAY, 0.16)):
                    before, after = _number(method[key]), _number(method.get(f"searched_{key}"))
                    if np.isnan(before):
                        continue
                    y = place + aside
                    axis.plot([before, after], [y, y], color=color, linewidth=1.5)
                    axis.plot(before, y, "o", color=color, ms=5.5, mfc="white", clip_on=False)
                    axis.plot(after, y, "o", color=color, ms=3.2, clip_on=False, zorder=3)
                if method["cross_play"] is None and method["refused"]:
                    axis.text(one["solo"], place, "n/a ", ha="right", va="center", fontsize=7, color="0.4")
            axis.axvline(one["solo"], color="0.35", linewidth=1, linestyle="--")
            axis.set_yticks(range(len(names)), names)
            axis.set(title=game, xlabel="expected return", ylim=(len(names) - 0.5, -0.5))
            axis.margins(x=0.12)
            axis.xaxis.set_major_locator(MaxNLocator(3))
        marks = [
            Line2D([], [], color=SELF_PLAY, marker="o", ls="", label="self-play"),
            Line2D([], [], color=CROSS_PLAY, marker="o", ls="", label="cross-play"),
            Line2D([], [], color="0.35", marker="o", mfc="white", ls="", label="before search"),
            Line2D([], [], color="0.35", marker="o", ms=3.2, ls="", label="after search"),
            Line2D([], [], color="0.35", ls="--", lw=1, label="solo"),
        ]
        figure.legend(handles=marks, loc="outside lower center", ncols=len(marks), fontsize=8)
        figure.suptitle("one-step search at test time, everybody at once, without structure")
    return figure


def calibration_parts(contents: Contents) -> Figure:
    """Brier scores of agents' predictions, with their parts, in self-play and with a stranger, for each game."""
    bare = _without_structure(contents)
    with matplotlib.rc_context(STYLE):
        figure, axes = _row_of_panels(bare, height=3.9)
        for axis, (game, (one,)) in zip(axes, _games(bare).items(), strict=True):
            for place, method in enumerate(one["methods"]):
                for key, aside, hatch in (("predicts_itself", -0.2, ""), ("predicts_strangers", 0.2, "////")):
                    found = method.get(key)
                    if found is None:
                        axis.text(place + aside, 0.02, "n/a", ha="center", fontsize=6, color="0.4")
                        continue
                    style = {"hatch": hatch, "edgecolor": "white", "linewidth": 0}
                    x, uncertainty = place + aside, found["uncertainty"]
                    axis.bar(x, uncertainty, 0.36, color=_UNCERTAINTY, **style)
                    axis.bar(x, found["reliability"], 0.36, bottom=uncertainty, color=_RELIABILITY, **style)
                    axis.bar(x, -found["resolution"], 0.36, color=_RESOLUTION, **style)
                    axis.plot(x, found["brier"], "D", color="black", ms=3.5)
            axis.axhline(0, color="0.3", linewidth=0.8)
            axis.set_title(game)
            _name_methods(axis, one)
        axes[0].set_ylabel("Brier score, 0 to 2")
        parts = [
            Patch(color=_RELIABILITY, label="reliability (miscalibration)"),
            Patch(color=_UNCERTAINTY, label="uncertainty"),
            Patch(color=_RESOLUTION, label="resolution (counts down)"),
            Line2D([], [], color="black", marker="D", ms=3.5, ls="", label="Brier, the sum"),
            Patch(facecolor="0.45", label="with itself"),
            Patch(facecolor="0.45", edgecolor="white", hatch="////", label="with a stranger"),
        ]
        figure.legend(handles=parts, loc="outside lower center", ncols=3, fontsize=8)
        figure.suptitle("how well agents predict their partner's next action, without structure")
    return figure


def soft_isolation(contents: Contents) -> Figure:
    """Cross-play against the penalty of soft isolation, games × methods, with reference values.

    Args:
      contents: of each game without structure, under hard isolation, and under isolation with several penalties.
    """
    games = _games(contents)
    names = [method["name"] for method in contents[0]["methods"]]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(1.4 + 2.3 * len(names), 1.3 + 2.1 * len(games)), layout="constrained")
        axes = figure.subplots(len(games), len(names), squeeze=False, sharex=True, sharey="row")
        for row, (game, cells) in zip(axes, games.items(), strict=True):
            soft = sorted((one for one in cells if one["penalty"] is not None), key=lambda one: one["penalty"])
            penalties = [one["penalty"] for one in soft]
            (none,) = _without_structure(cells)
            hard = [one for one in cells if one["structure"] == "isolation" and one["penalty"] is None]
            for place, axis in enumerate(row):
                values = np.array([_number(one["methods"][place]["cross_play"]) for one in soft])
                without = _number(none["methods"][place]["cross_play"])
                for sign, color in ((1, CROSS_PLAY), (-1, SELF_PLAY)):
                    where, apart = sign * (values - without) > 0, {"interpolate": True, "linewidth": 0}
                    axis.fill_between(penalties, values, without, where=where, color=color, alpha=0.18, **apart)
                axis.axhline(none["solo"], color="0.2", linewidth=1)
                axis.axhline(without, color="0.35", linewidth=1, linestyle=":")
                for one in hard:
                    level = _number(one["methods"][place]["cross_play"])
                    axis.axhline(level, color=_RESOLUTION, linewidth=1.2, linestyle="--")
                below = values < none["solo"] - _SAME
                axis.plot(penalties, values, color=CROSS_PLAY, linewidth=1.5)
                axis.plot(np.array(penalties)[below], values[below], "o", color=CROSS_PLAY, ms=4.5, mfc="white")
                axis.plot(np.array(penalties)[~below], values[~below], "o", color=CROSS_PLAY, ms=4.5)
                axis.margins(y=0.12)
            row[0].set_ylabel(f"{game}\nexpected return")
        for axis, name in zip(axes[0], names, strict=True):
            axis.set_title(name)
        for axis in axes[-1]:
            axis.set_xlabel("penalty")
        lines = [
            Line2D([], [], color=CROSS_PLAY, marker="o", mfc="white", label="soft isolation, below solo"),
            Line2D([], [], color=CROSS_PLAY, marker="o", label="soft isolation, not below"),
            Line2D([], [], color="0.2", lw=1, label="solo"),
            Line2D([], [], color="0.35", lw=1, ls=":", label="no structure"),
            Line2D([], [], color=_RESOLUTION, lw=1.2, ls="--", label="hard isolation"),
        ]
        figure.legend(handles=lines, loc="outside lower center", ncols=len(lines), fontsize=8)
        figure.suptitle("cross-play under soft isolation (shaded: above or below no structure)")
    return figure


def _games(contents: Contents) -> dict[str, list[Mapping[str, Any]]]:
    """The contents of each game by a short name, with the parameters that distinguish games of the same name."""
    titles = {one["title"]: one for one in contents}
    found: dict[str, list[Mapping[str, Any]]] = {}
    for title, first in titles.items():
        alike = [one["parameters"] for one in titles.values() if one["game"] == first["game"]]
        differs = [key for key in first["parameters"] if len({str(other.get(key)) for other in alike}) > 1]
        name = ", ".join([_plain(first["game"]), *(f"{first['parameters'][key]} {key}" for key in differs)])
        found[name] = [one for one in contents if one["title"] == title]
    return found


def _structure(one: Mapping[str, Any]) -> str:
    return _plain(one["structure"]) + ("" if one["penalty"] is None else f", penalty {one['penalty']:g}")


def _without_structure(contents: Contents) -> list[Mapping[str, Any]]:
    return [one for one in contents if one["structure"] == "none"]


def _row_of_panels(bare: Contents, *, height: float) -> tuple[Figure, Any]:
    """A panel for each game, wide enough for its methods."""
    figure = Figure(figsize=(1.6 + (0.6 + 0.36 * len(bare[0]["methods"])) * len(bare), height), layout="constrained")
    return figure, figure.subplots(1, len(bare), squeeze=False, sharey=True)[0]


def _name_methods(axis: Any, one: Mapping[str, Any]) -> None:
    names = [method["name"] for method in one["methods"]]
    axis.set_xticks(range(len(names)), names, rotation=50, ha="right", rotation_mode="anchor")
    axis.set_xlim(-0.6, len(names) - 0.4)
    axis.grid(visible=False, axis="x")


def _line(place: int) -> dict[str, Any]:
    """Colour and marker of a method's line."""
    color = matplotlib.colormaps["tab10"](place % 10)
    return {"color": color, "marker": _MARKERS[place % len(_MARKERS)], "ms": 4.5, "linewidth": 1.5}


def _share(one: Mapping[str, Any], value: float | None) -> float:
    """A value as a share of the solo value, both measured from the floor."""
    low = one["floor"]["value"]
    return (_number(value) - low) / (one["solo"] - low) if one["solo"] > low else float("nan")


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _plain(name: str) -> str:
    return name.replace("_", " ")
