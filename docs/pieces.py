"""The pieces behind the tables of docs/: each one's commands, and a function that makes its tables from their results.

`python -m docs.results` makes them. docs/protocol.md says which seeds are used for choices, and which are reported.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from docs import exact_pieces, full_game, ladder, learning
from docs.records import Found, Piece, Records, copy_figure, current_runs, entropy_coef, markdown, only_run, save_figure
from experiments import runs
from experiments.analysis import compare, compare_figures, compare_tables, conventions, conventions_tables, methods
from experiments.configuration.config import CrossPlayConfig, build_game
from experiments.presentation import figures, tables
from experiments.presentation.tables import Column, Table
from games.errors import TacitError
from marl.crossplay import estimators, self_play_seatings
from marl.crossplay.comparisons import difference_test, holm, own_cells
from marl.crossplay.estimators import Estimate

COEFFICIENTS = (0.002, 0.02, 0.07)
"""The entropy coefficients that are tried for every method, with the budget of the table: docs/protocol.md."""
LOW = COEFFICIENTS[0]
METHODS = {
    "IPPO": "experiment=methods/ippo",
    "MAPPO": "experiment=methods/mappo",
    "IPPO, separate critic": "experiment=methods/separate_critic",
    "Other-Play": "experiment=methods/other_play",
    "OBL level 1": "experiment=methods/off_belief",
    "MAGRPO, batch_std": "experiment=methods/magrpo learner.advantage_normaliser=batch_std",
    "MAGRPO, group_std": "experiment=methods/magrpo learner.advantage_normaliser=group_std",
}
PARTNERS = "iggi,piers,outer,van_den_bergh,hle_simple,focus,uniform"
_OF_LADDER = {f"ladder_{ladder.slug(board)}": board for board in ladder.RUNGS if board != "2×3"}
LITERAL = {"small_sweep": "2×3", **_OF_LADDER}
"""The pieces whose runs are in the figure of convention gaps once they are done, and their boards."""
PEOPLE = {3: 0.357}
"""The convention gap of people, by number of players: docs/literal.md says whose."""
CONTRASTS = (
    ("IPPO", "IPPO, low"),
    ("MAPPO", "IPPO, separate critic"),
    ("Other-Play", "IPPO, low"),
)
"""Contrasts named before the runs: greedy XP of the first minus that of the second; p-values are corrected together."""


def trained(command: str, figure: str = "", matrix: str = "", *, literal: bool = False) -> Piece:
    """A piece of training runs: the tables of `tacit compare` for each game, and of their convention gaps if `literal`.

    In docs/figures/, if named, are its figure and the cross-play matrix of the first run of the table.
    """

    def read(folder: Path, small: bool) -> Found:
        comparisons, _ = compare.read(current_runs(folder / "runs"))
        if figure and not small:
            save_figure(compare_figures.figure(comparisons[0]), figure)
        if matrix and not small:
            copy_figure(comparisons[0].rows[0].path / "crossplay.png", matrix)
        made = [one for comparison in comparisons for one in compare_tables.shown(comparison, names=True)]
        shown = tables.as_markdown(made) if len(comparisons) > 1 else str(comparisons[0])
        paths = [row.path for one in comparisons for row in one.rows]
        found, numbers = {"table": shown}, json.loads(tables.as_json(made))
        if literal:
            gaps = [gaps_of_run(path, games=20 if small else 1000) for path in paths]
            found["literal"] = gap_table(gaps)
            numbers = {"runs": numbers, "literal": gaps}
        return Found(found, numbers, paths, measured=literal)

    return Piece(lambda records: [f"train {command}"], read)


def gaps_of_run(path: Path, *, games: int) -> dict[str, Any]:
    """A run's players, optimum and entropy coefficient, and for each play the cross-play score and convention gaps."""
    run, crossed = runs.read_run(path), runs.read_crossplay(path)
    plays: dict[str, Any] = {}
    for play in ("greedy", "sampled"):
        gaps, of_discards = conventions.convention_gaps(
            run.game,
            run.agents,
            crossed[play].seatings,
            games=games,
            greedy=play == "greedy",
            key=jax.random.key(0),
        )
        scored = estimators.cross_play(*crossed[play].cells)
        found = {"score": scored, "self_play": gaps.over_seeds, "cross_play": gaps.cross_play}
        found["discards"] = of_discards.over_seeds
        plays[play] = {name: one._asdict() for name, one in found.items()}
    most = run.game.score_range[1]
    return {"players": run.game.num_players, "most": most, "entropy_coef": entropy_coef(path), **plays}


def gap_table(gaps: Sequence[Mapping[str, Any]]) -> str:
    """A row for each run of `gaps_of_run`."""
    columns = [
        Column("entropy_coef", words=True),
        Column("greedy XP"),
        *(Column(f"{play} gap, {whom}", digits=3) for play in ("greedy", "sampled") for whom in ("SP", "XP")),
    ]
    rows = [
        [
            str(one["entropy_coef"]),
            Estimate(**one["greedy"]["score"]),
            *(Estimate(**one[play][whom]) for play in ("greedy", "sampled") for whom in ("self_play", "cross_play")),
        ]
        for one in gaps
    ]
    return tables.markdown(Table("", columns, rows))


def gaps_of_partners(folder: Path, small: bool) -> Found:
    """The scores and convention gaps of the partners, by board and number of players."""
    found = {file.parent: runs.read_json(file) for file in (folder / "runs" / "conventions").glob("*/conventions.json")}
    found = {path: one for path, one in found.items() if one["settings"]["version"] == conventions.VERSION}
    contents = sorted(
        found.values(), key=lambda one: (one["settings"]["game"]["preset"], one["settings"]["game"]["players"])
    )
    numbers = []
    for one in contents:
        config, played = one["settings"]["game"], one["sampled"]
        game = build_game({key: value for key, value in config.items() if key != "version"})
        for place, name in enumerate(one["labels"]):
            gap, error = (played["convention_gap"][key][place] for key in ("self_play", "standard_error"))
            of_discards = [played["gap_of_discards"][key][place] for key in ("self_play", "standard_error")]
            score = played["self_play"][place]
            numbers.append(
                {"board": config["preset"], "players": game.num_players, "most": game.score_range[1], "partner": name}
                | {"score": score, "gap": gap, "standard_error": error, "discards": of_discards}
            )
    return Found(partner_tables(numbers), numbers, sorted(found), measured=True)


def partner_tables(numbers: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """From `gaps_of_partners`: a table each of scores and both gaps, a row a partner, a column a board and players."""
    cells = {
        "scores": lambda one: one["score"],
        "plays": lambda one: tables.with_error(one["gap"], one["standard_error"], 3),
        "discards": lambda one: tables.with_error(one["discards"][0], one["discards"][1], 3),
    }
    columns = list(dict.fromkeys((one["board"], one["players"]) for one in numbers))
    partners = list(dict.fromkeys(one["partner"] for one in numbers))
    at = {(one["partner"], one["board"], one["players"]): one for one in numbers}
    head = ["partner", *(f"{board.removeprefix('Hanabi-')}, {players} players" for board, players in columns)]
    found = {}
    for name, cell in cells.items():
        of = {place: cell(one) for place, one in at.items()}
        found[name] = markdown(head, [[who, *(of.get((who, *column), "") for column in columns)] for who in partners])
    return found


def draw_gaps(records: Records) -> None:
    """The figure of convention gaps against scores: runs from the records of `literal` pieces, partners and people."""
    points = []
    for piece, board in LITERAL.items():
        for one in (records.read(piece) or {"numbers": {"literal": ()}})["numbers"]["literal"]:
            greedy = {name: Estimate(**values) for name, values in one["greedy"].items()}
            score, own, met = (greedy[name] for name in ("score", "self_play", "cross_play"))
            points.append(
                figures.GapPoint(one["players"], board, f"{one['entropy_coef']}", score.mean / one["most"], own, met)
            )
    boards = {"Hanabi-2x3": "2×3", "Hanabi-Full": "5×5"}
    for one in (records.read("partners") or {"numbers": ()})["numbers"]:
        if one["board"] in boards:
            share, gap = one["score"] / one["most"], Estimate(one["gap"], one["standard_error"])
            points.append(figures.GapPoint(one["players"], boards[one["board"]], one["partner"], share, gap))
    save_figure(figures.gaps_against_scores(points, PEOPLE), "convention_gaps")


def choose(method: str) -> Piece:
    """The runs of a method with all entropy coefficients on seeds 0 to 7, from which one is chosen."""
    grid = ",".join(map(str, COEFFICIENTS))
    return trained(f"{METHODS[method]} learner.entropy_coef=[{grid}] seeds=8 first_seed=0")


def chosen(records: Records, method: str) -> float:
    """The entropy coefficient of a method with the greatest greedy XP."""
    record = records.read(f"choose/{_slug(method)}")
    if record is None:
        raise TacitError(f"the piece methods needs the record of choose/{_slug(method)}")
    rows = [row for row in record["numbers"] if "contrast" not in row]
    return max(rows, key=lambda row: row["greedy"]["cross_play"]["mean"])["learner.entropy_coef"]


def fresh_seeds(records: Records) -> list[str]:
    """Every method at the coefficient that was chosen for it, and IPPO at the lowest, on 16 other seeds."""
    commands, fresh = [], "seeds=16 first_seed=100"
    for method, experiment in METHODS.items():
        coefficient = chosen(records, method)
        commands.append(
            f"train {experiment} {fresh} learner.entropy_coef={coefficient} execution.output={_slug(method)}"
        )
    return [*commands, f"train {METHODS['IPPO']} {fresh} learner.entropy_coef={LOW} execution.output=ippo_low"]


def with_each_other(folder: Path, small: bool) -> Found:
    """The tables of `tacit methods` for all methods, and the contrasts."""
    named = [(method, only_run(folder / _slug(method))) for method in (*METHODS, "IPPO, low")]
    config = CrossPlayConfig(games=20 if small else 1000)
    table = methods.methods_table(named, config, folder / "methods", with_partners=PARTNERS)
    if not small:
        copy_figure(folder / "methods" / "methods.png", "methods")
    greedy = own_cells(*table.results["greedy"].cells, table.method_of_agent)
    tested = [difference_test(greedy[first], greedy[second]) for first, second in CONTRASTS]
    corrected = holm([math.nan if one.p is None else one.p for one in tested])
    lines = ["| greedy XP | difference | p, Holm over these |", "|---|---|---|"]
    lines += [
        f"| {first} − {second} | {tables.text_of(one.difference)} | {tables.p_value(p)} |"
        for (first, second), one, p in zip(CONTRASTS, tested, corrected, strict=True)
    ]
    sections = dict(part.split("\n", 1) for part in methods.markdown(table).split("### ")[1:])
    by_play = {name.split()[0].lower(): text.strip() for name, text in sections.items()}
    whole = runs.read_json(folder / "methods" / "table.json")
    numbers = {
        play: {
            "methods": found["methods"],
            "self_play": list(map(_with_interval, found["self_play"])),
            "together": [[[one["mean"], one["se"]] for one in row] for row in found["together"]],
            "comparisons": {
                test: [{**one, "difference": _with_interval(one["difference"])} for one in tested]
                for test, tested in found["comparisons"].items()
            },
        }
        for play, found in whole.items()
        if play in table.results
    }
    return Found({**by_play, "contrasts": "\n".join(lines)}, numbers, [path for _, path in named])


def _with_interval(estimate: Mapping[str, Any]) -> list[float | None]:
    return [estimate[key] for key in ("mean", "low", "high")]


def convention_tables(folder: Path, small: bool) -> Found:
    """`tacit conventions` of the piece's runs in greedy play: the table of the first run, and a row for each run."""
    paths = sorted(current_runs(folder / "runs"), key=entropy_coef)
    games = 20 if small else 500
    looked_at = [conventions.conventions_run(path, games=games, plays=["greedy"], output=folder) for path in paths]
    if not small:
        save_figure(conventions_tables.figure(looked_at[0], "greedy"), "conventions_2x3")
    head = [
        "entropy_coef",
        "SP − XP",
        "SP − OP",
        "defect",
        "distance (halves of one seed)",
        "Spearman of distance and XP",
    ]
    rows, numbers = [], []
    for path, found in zip(paths, looked_at, strict=True):
        play = found.plays["greedy"]
        relabelled, matrices = play.relabelled, play.conventions
        assert not isinstance(relabelled, str) and not isinstance(matrices, str)
        alone = self_play_seatings(len(found.labels), 2)
        gap = estimators.gap(*runs.read_crossplay(path)["greedy"].cells)
        rows.append(
            [
                f"{entropy_coef(path):g}",
                tables.text_of(gap),
                tables.text_of(estimators.self_play(alone, relabelled.self_play - relabelled.other_play)),
                tables.text_of(estimators.self_play(alone, np.array([one.mean for one in relabelled.defect]))),
                f"{matrices.mean_distance:.3f} ({matrices.sampling.mean():.3f})",
                str(matrices.predicts),
            ]
        )
        numbers.append(
            runs.read_json(found.folder / "conventions.json")["greedy"] | {"entropy_coef": entropy_coef(path)}
        )
    listing = tables.as_markdown(conventions_tables.shown(looked_at[0]))
    return Found({"listing": listing, "table": markdown(head, rows)}, numbers, paths)


def by_agents(folder: Path, small: bool) -> Found:
    """SP and XP in sampled play, a row for each number of agents, columns for each entropy coefficient."""
    paths = current_runs(folder / "runs")
    scores = {}
    for path in paths:
        agents = runs.read_json(path / "run.json")["science"]["game"]["agents"]
        scores[agents, entropy_coef(path)] = estimators.summarise(*runs.read_crossplay(path)["sampled"].cells)
    agents, coefficients = (sorted(set(values)) for values in zip(*scores, strict=True))
    columns = [(name, coefficient) for coefficient in coefficients for name in ("self_play", "cross_play")]
    names = {"self_play": "SP", "cross_play": "XP"}
    head = ["agents", *(f"{names[name]}, {coefficient:g}" for name, coefficient in columns)]
    rows = [[str(n), *(tables.text_of(getattr(scores[n, c], name)) for name, c in columns)] for n in agents]
    numbers = [
        {"agents": n, "entropy_coef": c, **{name: getattr(one, name)._asdict() for name in names}}
        for (n, c), one in sorted(scores.items())
    ]
    return Found({"table": markdown(head, rows)}, numbers, paths)


GRID_OF_OBL = "learner.samples=1,4 learner.entropy_coef=[0.005,0.02] seeds=8 first_seed=0"

PIECES: dict[str, Piece] = {
    "demo": trained("experiment=demo", "demo"),
    "small_sweep": trained("experiment=small_sweep", "small_sweep", matrix="small_sweep_matrix", literal=True),
    "partners": Piece(
        lambda records: [
            *(f"conventions game={board} --with partners" for board in ("hanabi_2x3", "hanabi_3x3")),
            *(f"conventions game=hanabi players={players} --with partners" for players in (2, 3, 4, 5)),
        ],
        gaps_of_partners,
        smaller="--with iggi,focus --games 4 --symmetries 1",  # all partners would compile for many minutes
    ),
    "ablation_entropy": trained("experiment=ablation/entropy", "ablation_entropy"),
    "ablation_gae_lambda": trained("experiment=ablation/gae_lambda", "ablation_gae_lambda"),
    "ablation_recurrence": trained(
        "-m experiment=ablation/recurrence policy=feed_forward,recurrent", "ablation_recurrence"
    ),
    "ablation_off_belief": trained(f"-m experiment=methods/off_belief {GRID_OF_OBL}"),
    "precision": trained(
        "-m experiment=ablation/recurrence policy=feed_forward policy.precision=float32,bfloat16 "
        "learner.entropy_coef=0.05"
    ),
    "many_edits": Piece(
        lambda records: [
            "train -m game=many_edits game.slots=6 game.agents=2,3,4,5,6 learner.entropy_coef=[0.01,0.1] seeds=12 "
            "budget.steps=5e5"
        ],
        by_agents,
    ),
    "conventions": Piece(
        lambda records: [
            "train game=hanabi_2x3 learner.entropy_coef=[0.01,0.1] budget.steps=1e6 crossplay.games=500 seeds=8"
        ],
        convention_tables,
    ),
    **exact_pieces.PIECES,
    **ladder.pieces(),
    **learning.PIECES,
    **full_game.pieces(),
}


def _slug(method: str) -> str:
    return re.sub(r"\W+", "_", method.lower())


PIECES |= {f"choose/{_slug(method)}": choose(method) for method in METHODS}
PIECES["methods"] = Piece(fresh_seeds, with_each_other, needs=tuple(f"choose/{_slug(method)}" for method in METHODS))
