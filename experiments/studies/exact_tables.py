"""The tables of the exact lab's commands, made from a phase.json, zsc.json, structure.json or adaptive.json."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from experiments.presentation.tables import NOTHING, Cell, Column, Table, whole

_LONGEST = 40
"""The most characters of a game's parameter in a title."""
_REFUSED = "n/a"


# ------------------------------------------------------------------------------------------------------ phase diagrams


def phase(contents: Mapping[str, Any]) -> Table:
    """The rows of a phase.json over α, its thresholds and its best values."""
    columns = [
        Column("α", ("alpha",), digits=6),
        Column("converged"),
        Column("solutions"),
        *(Column(words, (name,), digits=4) for name, words in _PHASE_RETURNS.items()),
        Column("defect"),
        Column("residual"),
        Column("game", shown=False),
    ]
    rows = [
        [
            Cell(row["alpha"], f"{row['alpha']:.6g}"),
            Cell(row["converged"], f"{row['converged']} of {row['starts']}"),
            row["solutions"],
            *(row[name] for name in _PHASE_RETURNS),
            *(Cell(row[name], NOTHING if row[name] is None else f"{row[name]:.1e}") for name in ("defect", "residual")),
            title(contents),
        ]
        for row in contents["rows"]
    ]
    sizes = " x ".join(map(str, contents["histories"]))
    sentences = [f"{name:<18}{said}" for name, said in phase_findings(contents).items()]
    remembered = "histories" if contents.get("memory") is None else "memories"
    return Table(f"{title(contents)}: {sizes} {remembered}", columns, rows, sentences)


_PHASE_RETURNS = {
    "soft_self_play": "soft SP",
    "soft_cross_play": "soft XP",
    "greedy_self_play": "greedy SP",
    "greedy_cross_play": "greedy XP",
}


def phase_findings(contents: Mapping[str, Any]) -> dict[str, str]:
    """Thresholds and best values of a phase.json in words; of what is missing, why."""
    unique = contents["alpha_unique"]
    low, high = unique["several_up_to"], unique["one_from"]
    if low is None and high is None:
        said = "none: starts do not converge at the greatest α looked at"
    elif low is None:
        said = f"one solution at every α looked at, from {high:g} up"
    elif high is None:
        said = f"none: several solutions up to {low:.6g}, and no greater α looked at where all starts agree"
    else:
        said = f"several solutions up to {low:.6g}, one from {high:.6g} on"
    ways = [f"{contents['rows'][0]['starts']} starts at {len(contents['rows'])} α", "what they end in followed upwards"]
    ways += [f"{len(unique['beside'])} α beside folds and bifurcations"] if unique["beside"] else []
    ways += [] if contents["branch"] else ["the branch from α = ∞ was not followed"]
    ways += [] if contents.get("refined", True) else ["not refined"]  # files of before do not say
    certified, stable = contents["alpha_certified"], contents["alpha_stable"]
    orders = {name: whole(int(order)) for name, order in contents["symmetries"].items()}
    proved = "none" if certified["alpha"] is None else f"{certified['alpha']:.6g}"
    if contents["branch_refused"]:
        where = contents["branch_refused"]
    elif contents["branch"] is None:
        where = "not looked for (branch=false)"
    elif stable is None:
        where = f"the branch from α = ∞ stays stable down to {min(contents['branch']['alpha']):.4g}"
    else:
        where = f"{stable:.10g}: below it the branch from α = ∞ is no attractor"
    if contents["branch"] and contents["branch"]["windows"]:
        shown = ", ".join(f"{low:.6g} – {high:.6g}" for low, high in contents["branch"]["windows"])
        where += f"; it folds, and has several points at α of {shown}"
    equivariant, known = contents["equivariant"], ""
    if contents["known_optimum"] is not None and not contents["optimum"]["exact"]:
        known = f"; known: {contents['known_optimum']:.10g}"
    cut = {"fast": contents["fast"]} if contents.get("fast") else {}
    return {
        **cut,
        "alpha_unique": f"{said} (searched: {'; '.join(ways)})",
        "alpha_stable": where,
        "alpha_certified": f"{proved} ({certified['method']})",
        **_boxed(contents.get("alpha_boxed")),  # files of before do not have it
        "best self-play": f"{_in_full(contents['optimum'])}{known}",
        "best equivariant": f"{_in_full(equivariant['swap'])} with agent swaps (symmetries: {orders['swap']}), "
        f"{_in_full(equivariant['no_swap'])} without ({orders['no_swap']})",
    }


def _boxed(found: Mapping[str, Any] | None) -> dict[str, str]:
    if found is None:
        return {}
    if isinstance(found["boxes"], str):
        return {"alpha_boxed": f"none ({found['boxes']})"}
    proved = "none" if found["alpha"] is None else f"{found['alpha']:.6g}"
    return {"alpha_boxed": f"{proved} (proved by {found['boxes']:,} boxes)"}


def title(contents: Mapping[str, Any]) -> str:
    """A title such as "tiny_hanabi variant=E, horizon 2, discount 1"; long parameters are truncated."""
    further = [] if contents.get("memory") is None else [f"memory {contents['memory']}"]
    further += ["fast"] if contents.get("fast") else []
    said = [_with_parameters(contents), f"horizon {contents['horizon']}", f"discount {contents['discount']:g}"]
    return ", ".join([*said, *further])


def bounds(found: Mapping[str, Any]) -> Cell:
    """A best value, or its bounds if it is not known exactly, such as "≥ 0.5722, ≤ 0.8560"."""
    if found["exact"]:
        return Cell(found, f"{found['value']:z.4f}")
    upper = "" if found["upper_bound"] is None else f", ≤ {found['upper_bound']:.4f}"
    return Cell(found, f"≥ {found['value']:z.4f}{upper}")


def _with_parameters(contents: Mapping[str, Any]) -> str:
    given = (f"{key}={value}" for key, value in contents["parameters"].items() if value is not None)
    return " ".join([contents["game"], *(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…" for text in given)])


def _in_full(found: Mapping[str, Any]) -> str:
    if found["exact"]:
        return f"{found['value']:.10g}"
    upper = "" if found["upper_bound"] is None else f", at most {found['upper_bound']:.6g}"
    return f"at least {found['value']:.10g}{upper} ({found['method']})"


# ------------------------------------------------------------------------------------------------- methods × games


def methods(contents: Sequence[Mapping[str, Any]]) -> Table:
    """The table of several zsc.json: a row for each method and for the best values, a column for each game."""
    called = games(contents)
    columns = [Column("method", words=True), *map(Column, called)]
    rows: list[list[Any]] = []
    for place, method in enumerate(contents[0]["methods"]):
        rows.append([method["name"], *(_scores(one["methods"][place]) for one in contents)])
    for name, words in (("equivariant", "best equivariant"), ("optimum", "best self-play")):
        rows.append([words, *(bounds(one[name]) for one in contents)])
    swaps = "with" if contents[0]["agent_swaps"] else "without"
    orders = ", ".join(f"{name} {whole(int(one['symmetries']))}" for name, one in zip(called, contents, strict=True))
    return Table(
        "cross-play of independent runs, relabelled (self-play where it is another)",
        columns,
        rows,
        [
            *_reasons((game, method) for game, one in zip(called, contents, strict=True) for method in one["methods"]),
            f"Labels drawn independently, symmetries {swaps} agent swaps: {orders}.",
            *_first_looks(zip(called, contents, strict=True)),
        ],
        ends=[len(rows) - 3],
    )


def game(contents: Mapping[str, Any]) -> str:
    """A game's name in a table, with what distinguishes its variants, such as "tiny_hanabi E h2 memory 1"."""
    short = [str(contents["parameters"][key]) for key in ("variant", "size", "n") if key in contents["parameters"]]
    short += [f"h{contents['horizon']}"] if contents["horizon"] > 1 else []
    short += [] if contents.get("memory") is None else [f"memory {contents['memory']}"]
    return " ".join([contents["game"], *short])


def games(contents: Sequence[Mapping[str, Any]]) -> list[str]:
    """`game` of each; if several games have the same name, the parameters in which they differ are added."""
    called = []
    for one in contents:
        alike = [other["parameters"] for other in contents if game(other) == game(one)]
        differing = [key for key, value in one["parameters"].items() if any(own.get(key) != value for own in alike)]
        called.append(" ".join([game(one), *(f"{key}={one['parameters'][key]}" for key in differing)]))
    return called


def _scores(method: Mapping[str, Any]) -> Cell:
    plain = {key: method.get(key) for key in ("cross_play", "self_play", "refused")}
    if method["refused"]:
        return Cell(plain, _REFUSED)
    own, cross = f"{method['self_play']:z.4f}", f"{method['cross_play']:z.4f}"
    return Cell(plain, cross if own == cross else f"{cross} ({own})")


def _reasons(refused: Any) -> list[str]:
    """Sentences on why cells have no value, each reason once; `refused` are pairs (place, a method's results there)."""
    reasons: dict[str, list[str]] = {}
    for where, method in refused:
        if method["refused"]:
            places = reasons.setdefault(method["refused"], [])
            places += [] if where in places else [where]
    return [f"{_REFUSED} ({', '.join(places)}): {reason}." for reason, places in reasons.items()]


def or_left_out(contents: Sequence[Mapping[str, Any]]) -> str:
    """What a figure adds to why a method has no result: empty without `fast`."""
    return ", or left out (fast=true)" if any(one.get("fast") for one in contents) else ""


def _first_looks(runs: Iterable[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """Sentences on what `fast` left of what was asked for, each once; of files of before nothing is said."""
    left: dict[str, list[str]] = {}
    for place, one in runs:
        if said := one.get("fast"):
            left.setdefault(said, []).append(place)
    return [f"fast ({', '.join(places)}): {said}." for said, places in left.items()]


# ---------------------------------------------------------------------------------------------- structures × methods


def structures(contents: Sequence[Mapping[str, Any]]) -> Table:
    """The table of several structure.json: a row for each game and structure; only a game's first row has its name."""
    names = [method["name"] for method in contents[0]["methods"]]
    columns = [Column(name, words=name in ("game", "structure")) for name in ("game", "structure", "solo", "team")]
    rows, ends, before, refused = [], [], "", []
    for number, one in enumerate(contents):
        best = [None, None] if one["refused"] else [bounds(one[name]) for name in ("optimum", "equivariant")]
        shown = Cell(one["title"], "" if one["title"] == before else one["title"])
        if before not in ("", one["title"]):
            ends.append(number - 1)
        before = one["title"]
        solo = Cell(one["solo"], f"{one['solo']:.4g}")
        rows.append([shown, one["structure"], solo, *best, *map(_retained, one["methods"])])
        for method in one["methods"]:
            where = f"{one['game']} {one['structure']}" + ("" if one["refused"] else f" {method['name']}")
            refused.append((where, method))
    return Table(
        "cross-play of independent runs, relabelled / self-play where it is another; and retention of the solo value",
        [*columns, Column("equivariant"), *map(Column, names)],
        rows,
        [*_reasons(refused), *_first_looks((f"{one['game']} {one['structure']}", one) for one in contents)],
        ends,
        lead=2,
    )


def _retained(method: Mapping[str, Any]) -> Cell:
    plain = {key: method[key] for key in ("cross_play", "self_play", "retention", "refused")}
    if method["cross_play"] is None:
        return Cell(plain, _REFUSED if method["refused"] else NOTHING)
    cross, own = f"{method['cross_play']:.3f}", f"{method['self_play']:.3f}"
    kept = "" if method["retention"] is None else f" ({method['retention']:.0%})"
    return Cell(plain, f"{cross}{'' if cross == own else f' / {own}'}{kept}")


# ------------------------------------------------------------------------------------- a partner of unknown depth


def adaptive(contents: Mapping[str, Any]) -> Table:
    """The table of an adaptive.json: a row for each agent and for one that knows the level; columns for the levels."""
    levels = contents["agents"][: len(contents["best"])]
    rows: list[list[Any]] = [
        [
            name,
            *(
                Cell({"return": earned, "regret": lost}, f"{earned:z.4f} ({lost:z.4f})")
                for earned, lost in zip(_and_mean(own), _and_mean(lost), strict=True)
            ),
        ]
        for name, own, lost in zip(contents["agents"], contents["returns"], contents["regrets"], strict=True)
    ]
    knows = [Cell({"return": value, "regret": 0.0}, f"{value:z.4f}") for value in _and_mean(contents["best"])]
    rows.append(["knows the level", *knows])
    rows = [[*row, adaptive_title(contents)] for row in rows]
    alike = alike_sentence(contents["alike"])
    return Table(
        f"{adaptive_title(contents)}: expected return (regret) with partners of each level",
        [Column("agent", words=True), *map(Column, (*levels, "mean")), Column("game", shown=False)],
        rows,
        [alike] if alike else [],
        ends=[number for number, row in enumerate(rows) if row[0] == "adaptive"],
    )


def adaptive_title(contents: Mapping[str, Any]) -> str:
    """The title of an adaptive.json, such as "equal_levers n=3, 10 rounds"."""
    return f"{_with_parameters(contents)}, {contents['rounds']} round{'s' if contents['rounds'] > 1 else ''}"


def alike_sentence(alike: Sequence[Sequence[int]]) -> str:
    """A sentence on which levels of the partner have equal policies; empty if all differ."""
    if len(alike) == 1 < len(alike[0]):
        return "The partner's levels cannot be told apart: all of them play alike in this game."
    same = (f"{', '.join(map(str, levels[:-1]))} and {levels[-1]}" for levels in alike if len(levels) > 1)
    return " ".join(f"Levels {levels} of the partner cannot be told apart: they play alike." for levels in same)


def _and_mean(values: Sequence[float]) -> list[float]:
    return [*values, math.fsum(values) / len(values)]
