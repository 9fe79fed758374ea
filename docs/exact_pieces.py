"""The pieces of the exact lab: phase diagrams, methods, structures and the adaptive agent; see `docs.pieces`."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from docs.records import Found, Piece, current_runs, markdown, only_run, save_figure, science
from experiments import runs
from experiments.presentation import tables
from experiments.studies import (
    adaptive,
    exact_figures,
    exact_tables,
    phase,
    structure_figures,
    structure_table,
    study,
    zsc_table,
)
from experiments.studies.tabular import build_tabular, groups
from games.tabular.symmetry import orbits
from marl.exact import other_play

PHASES = (
    "-m game=asymmetric_lever,broadcast_channel,dectiger,lever,recycling,skewed_dectiger,two_stage_lever",
    "-m game=tiny_hanabi variant=A,B,C,D,E,F",
    "game=dectiger horizon=2",
    "game=equal_levers n=3",
    "game=hint size=3",
    "game=grid_small horizon=2",
    "-m game=cat_and_dog,noisy_lever,overlapping_edits,resource_allocation,silos,split_maze,task_claiming",
)
"""The phase diagrams of the table of exact.md."""
MEMORIES = (
    "-m game=dectiger horizon=5,10,50 memory=1 alpha=[8,12,16,20]",
    "game=recycling horizon=50 memory=1 alpha=[0.5,1,1.5,2]",
)
"""The phase diagrams with bounded memory, of few starts: the longest takes minutes."""
GAMES_A_TABLE = 4
ISOLATED = "game=task_claiming,overlapping_edits"
RUNS = (1, 2, 4, 8, 16, 32)
PUBLISHED = {
    "asymmetric_lever": {1: 0.90, 2: 1.23, 8: 1.90},
    "two_stage_lever": {1: -0.03, 2: 0.14, 4: 0.48, 8: 0.50, 16: 0.50, 32: 0.50},
}
"""XP of Other-Play with tie-breaking by training seeds of each agent, learned: Treutlein et al. 2021."""
FEW_STARTS = "alpha_count=2 normal_starts=2 wide_starts=0 pure_starts=2 refine=false"


def phase_diagrams(folder: Path, small: bool) -> Found:
    """The thresholds and best values of phase diagrams, a row for each."""
    paths, contents = in_order(folder / "runs", phase.STUDY)
    if not small:
        by_game = {exact_tables.game(one): one for one in contents}
        for game, draw, name in (
            ("dectiger h3", exact_figures.phase_diagram, "dectiger_phase"),
            ("lever", exact_figures.branch_diagram, "lever_branch"),
        ):
            save_figure(draw(by_game[game], exact_tables.title(by_game[game])), name)
    head = [
        "game",
        "symmetries",
        "certified",
        "several up to",
        "one from",
        "stable",
        "best self-play",
        "best equivariant",
    ]
    head += ["greedy above", "greedy at the least α", "windows", "not converged"]
    return Found({"table": markdown(head, map(_phase_row, contents))}, list(map(_thresholds, contents)), paths)


def _phase_row(contents: Mapping[str, Any]) -> list[Any]:
    unique, branch = contents["alpha_unique"], contents["branch"]
    low, high = unique["several_up_to"], unique["one_from"]
    orders = dict.fromkeys(tables.whole(int(contents["symmetries"][name])) for name in ("swap", "no_swap"))
    best = dict.fromkeys(str(exact_tables.bounds(contents["equivariant"][name]).text) for name in ("swap", "no_swap"))
    above = [row["greedy_cross_play"] for row in contents["rows"] if high is not None and row["alpha"] >= high]
    least = contents["rows"][0]
    stable = "not looked for" if branch is None else "never lost"
    return [
        exact_tables.game(contents),
        " / ".join(orders),
        f"{contents['alpha_certified']['alpha']:.4g}",
        "none" if low is None else f"{low:.6g}",
        "none" if high is None else f"{high:.6g}",
        stable if contents["alpha_stable"] is None else f"{contents['alpha_stable']:.6g}",
        exact_tables.bounds(contents["optimum"]),
        " / ".join(best),
        ", then ".join(dict.fromkeys(f"{value:z.4f}" for value in above if value is not None)),
        " / ".join(
            "–" if least[key] is None else f"{least[key]:z.4f}" for key in ("greedy_self_play", "greedy_cross_play")
        ),
        ", ".join(f"{low:.6g} – {high:.6g}" for low, high in branch["windows"]) if branch else "",
        str(sum(row["converged"] < row["starts"] for row in contents["rows"])),
    ]


def _thresholds(contents: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a phase.json that a record keeps."""
    kept = ("parameters", "horizon", "alpha_unique", "alpha_stable", "optimum", "equivariant")
    certified = contents["alpha_certified"]["alpha"]
    columns = {
        key: [row[key] for row in contents["rows"]]
        for key in ("alpha", "solutions", "greedy_self_play", "greedy_cross_play")
    }
    named = {"game": exact_tables.game(contents), "alpha_certified": certified}
    return {**named, **{key: contents[key] for key in kept}, **columns}


def bounded_memory(folder: Path, small: bool) -> Found:
    """Phase diagrams with bounded memory, a row for each."""
    paths, contents = in_order(folder / "runs", phase.STUDY)
    head = ["game", "K", "memories", "several up to", "one from", "best self-play", "not converged"]
    head += ["α: greedy SP / XP (solutions)"]
    numbers = [{"memory": one["memory"], **_thresholds(one)} for one in contents]
    return Found({"table": markdown(head, map(_memory_row, contents))}, numbers, paths)


def _memory_row(contents: Mapping[str, Any]) -> list[Any]:
    low, high = (contents["alpha_unique"][name] for name in ("several_up_to", "one_from"))
    greedy = (
        f"{row['alpha']:g}: "
        + " / ".join("–" if row[name] is None else f"{row[name]:z.2f}" for name in _GREEDY)
        + f" ({row['solutions']})"
        for row in contents["rows"]
    )
    starts, converged = (sum(row[name] for row in contents["rows"]) for name in ("starts", "converged"))
    return [
        exact_tables.game({**contents, "memory": None}),  # it has a column
        contents["memory"],
        contents["histories"][0],
        "none" if low is None else f"{low:g}",
        "none" if high is None else f"{high:g}",
        exact_tables.bounds(contents["optimum"]).text,
        f"{starts - converged} of {starts}",
        "; ".join(greedy),
    ]


_GREEDY = ("greedy_self_play", "greedy_cross_play")


def method_tables(folder: Path, small: bool) -> Found:
    """The tables of `tacit zsc-table`, a few games in each."""
    paths, contents = in_order(folder / "runs", zsc_table.STUDY)
    if not small:
        save_figure(exact_figures.zsc_table(contents), "zsc_table")
    parts = [contents[first : first + GAMES_A_TABLE] for first in range(0, len(contents), GAMES_A_TABLE)]
    numbers = [
        {"game": exact_tables.game(one), **{key: one[key] for key in ("optimum", "equivariant")}}
        | {row["name"]: row["refused"] or [row["self_play"], row["cross_play"]] for row in one["methods"]}
        for one in contents
    ]
    return Found({"table": "\n\n".join(tables.markdown(exact_tables.methods(part)) for part in parts)}, numbers, paths)


def structure_tables(folder: Path, small: bool) -> Found:
    """The table of `tacit structure-table`."""
    paths, contents = in_order(
        folder / "runs",
        structure_table.STUDY,
        by=lambda one: (one["title"], structure_table.NAMES.index(one["structure"])),
    )
    if not small:
        split = structure_table.with_splits(contents)
        for draw, name in (
            (structure_figures.structure_table, "table"),
            (structure_figures.gap_parts, "gap"),
            (structure_figures.search_effect, "search"),
            (structure_figures.calibration_parts, "calibration"),
        ):
            save_figure(draw(split), f"structure_{name}")
    numbers = [
        {"game": one["title"], "structure": one["structure"], "solo": one["solo"]}
        | {row["name"]: row["refused"] or [row["self_play"], row["cross_play"]] for row in one["methods"]}
        for one in contents
    ]
    return Found({"table": tables.markdown(exact_tables.structures(contents))}, numbers, paths)


def structures_by_agents(folder: Path, small: bool) -> Found:
    """Cross-play and self-play by number of agents, a row for each."""
    paths, contents = in_order(folder / "runs", structure_table.STUDY, by=lambda one: one["parameters"]["agents"])
    if not small:
        save_figure(structure_figures.retention_by_agents(contents), "structure_agents")
    return _rows_of_methods(paths, contents, ["agents"], [[one["parameters"]["agents"]] for one in contents])


def soft_isolation(folder: Path, small: bool) -> Found:
    """Cross-play and self-play without structure, under hard isolation and with penalties, a row for each."""
    paths, contents = in_order(
        folder / "runs",
        structure_table.STUDY,
        by=lambda one: (one["game"], one["structure"] != "none", -1.0 if one["penalty"] is None else one["penalty"]),
    )
    if not small:
        save_figure(structure_figures.soft_isolation(contents), "structure_isolation")
    named = [
        [one["game"], one["structure"] if one["penalty"] is None else f"penalty {one['penalty']:g}"] for one in contents
    ]
    return _rows_of_methods(paths, contents, ["game", "structure"], named)


def _rows_of_methods(
    paths: Sequence[Path], contents: Sequence[Mapping[str, Any]], head: Sequence[str], named: Sequence[Sequence[Any]]
) -> Found:
    """A row for each content, its names first: the solo value, and cross-play / self-play of each method."""
    rows, numbers = [], []
    for one, names in zip(contents, named, strict=True):
        scores = [(row["cross_play"], row["self_play"]) for row in one["methods"]]
        rows.append([*map(str, names), f"{one['solo']:.4g}", *(f"{cross:.3f} / {own:.3f}" for cross, own in scores)])
        of_methods = {row["name"]: list(score) for row, score in zip(one["methods"], scores, strict=True)}
        numbers.append(dict(zip(head, names, strict=True)) | {"solo": one["solo"]} | of_methods)
    columns = [*head, "solo", *(row["name"] for row in contents[0]["methods"])]
    return Found({"table": markdown(columns, rows, len(head))}, numbers, paths)


def in_order(
    folder: Path, of: study.Study, by: Callable[[dict[str, Any]], Any] = exact_tables.game
) -> tuple[list[Path], list[dict[str, Any]]]:
    """The runs in a folder with the code's present versions, and their contents; sorted, by default by game."""
    found = sorted(((path, study.read(of, path)) for path in current_runs(folder)), key=lambda one: by(one[1]))
    return [path for path, _ in found], [contents for _, contents in found]


def tie_breaking(folder: Path, small: bool) -> Found:
    """Cross-play of agents who each take the preferred one of several Other-Play optima; also the published values."""
    paths, contents = in_order(folder / "runs", zsc_table.STUDY)
    exact = {}
    for path, one in zip(paths, contents, strict=True):
        arrays = runs.read_arrays(path / "policies.npz")
        simulator = build_tabular({key: value for key, value in science(path)["game"].items() if key != "version"})
        policies = tuple(arrays[f"other-play_agent_{agent}"] for agent in range(2))
        tied = orbits(groups(simulator).swap, simulator.tree)
        exact[one["game"]] = {
            count: other_play.cross_play_of_the_preferred(simulator.tree, tied, policies, count) for count in RUNS
        }
    if not small:
        save_figure(exact_figures.tie_breaking(exact, PUBLISHED), "tie_breaking")
    rows = [
        [game, whose, *(f"{of[count]:z.3f}" if count in of else "" for count in RUNS)]
        for game, cells in exact.items()
        for whose, of in (("exact", cells), ("published", PUBLISHED[game]))
    ]
    return Found({"table": markdown(["game", "XP", *map(str, RUNS)], rows, 2)}, exact, paths)


def adaptive_table(folder: Path, small: bool) -> Found:
    """The table of `tacit adaptive`."""
    path = only_run(folder / "runs")
    contents = study.read(adaptive.STUDY, path)
    if not small:
        save_figure(exact_figures.adaptive(contents, exact_tables.adaptive_title(contents)), "adaptive")
    numbers = {key: contents[key] for key in ("agents", "returns", "regrets", "best")}
    return Found({"table": tables.markdown(exact_tables.adaptive(contents))}, numbers, [path])


PIECES: dict[str, Piece] = {
    "exact": Piece(
        lambda records: [f"phase {games} execution.figures=false" for games in PHASES],
        phase_diagrams,
        smaller=FEW_STARTS,
    ),
    "exact_memory": Piece(
        lambda records: [
            f"phase {games} normal_starts=2 wide_starts=0 pure_starts=2 max_steps=3000 refine=false branch=false "
            "execution.figures=false"
            for games in MEMORIES
        ],
        bounded_memory,
        smaller="horizon=3 max_steps=50",
    ),
    "exact_methods": Piece(
        lambda records: ["zsc-table execution.figures=false"],
        method_tables,
        smaller="-m game=lever,tiny_hanabi starts=2 method=[self-play,other-play]",
    ),
    "tie_breaking": Piece(
        lambda records: [
            "zsc-table -m game=two_stage_lever,asymmetric_lever method=other-play execution.figures=false"
        ],
        tie_breaking,
        smaller="starts=4",
    ),
    "structures": Piece(
        lambda records: ["structure-table execution.figures=false"],
        structure_tables,
        smaller="game=task_claiming starts=2 restarts=2 method=self-play",
    ),
    "structures_by_agents": Piece(
        lambda records: [
            "structure-table -m game=overlapping_edits game.slots=4 game.agents=2,3,4 structure=none "
            "execution.figures=false"
        ],
        structures_by_agents,
        smaller="game.agents=2,3 starts=2 restarts=2 method=self-play",
    ),
    "soft_isolation": Piece(
        lambda records: [
            f"structure-table -m {ISOLATED} structure=[none,isolation] execution.figures=false",
            f"structure-table -m {ISOLATED} structure=isolation penalty=0,0.0625,0.125,0.1875,0.25,0.375,0.5,1 "
            "execution.figures=false",
        ],
        soft_isolation,
        smaller="game=task_claiming starts=2 restarts=2 method=self-play",
    ),
    "adaptive": Piece(
        lambda records: ["adaptive payoffs=[[11,-30,0],[-30,7,6],[0,0,5]] execution.figures=false"],
        adaptive_table,
        smaller="rounds=2",
    ),
}
