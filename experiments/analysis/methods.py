"""`tacit methods [NAME=]RUN … [--with PARTNERS]`: compare learned methods, and play each with every other.

Each run is a method with independent seeds; partners that nobody trained take part as methods of one agent. All agents
play with each other on the same decks. The tables show each method's self-play (SP) and the cross-play between its
seeds (XP), with intervals over seeds; the scores of each pair of methods, with the standard error over the seeds of
both (table.json has the intervals, too); and whether two methods differ significantly.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np

from experiments import runs
from experiments.analysis.crossplay import named_partners, partner_names, read_runs, sampling, sampling_in_words
from experiments.configuration.config import CrossPlayConfig, name_of
from experiments.presentation import figures, tables
from experiments.presentation.keys import short
from experiments.presentation.tables import NOTHING, Cell, Column, Table
from experiments.runs.record import flatten
from experiments.training.job import cross_play_both
from games.errors import TacitError
from marl.crossplay import CrossPlay, seatings
from marl.crossplay.comparisons import Blocks, PairTest, Test, blocks, compare_methods, own_cells
from marl.crossplay.estimators import Estimate


class MethodsTable(NamedTuple):
    """The results of `tacit methods`, each by the name of the play, "sampled" or "greedy"."""

    game: str
    score_range: tuple[float, float]
    method_of_agent: tuple[str, ...]
    results: dict[str, CrossPlay]
    blocks: dict[str, Blocks]
    comparisons: dict[str, dict[Test, list[PairTest]]]
    """Tests of whether the cross-play of two methods differs, for each pair; corrected for the number of pairs."""
    sampling: tuple[str, ...]
    """The agents that sample their actions in greedy play, too."""
    folder: Path

    def __str__(self) -> str:
        """The tables in Markdown, each play with a heading."""
        return markdown(self)

    def _repr_markdown_(self) -> str:
        return str(self)


def methods_table(
    methods: Sequence[tuple[str, Path]],
    config: CrossPlayConfig,
    output: Path | None = None,
    *,
    with_partners: str = "",
) -> MethodsTable:
    """Play the seeds of all runs, and partners, with each other; write the tables and the figure.

    Args:
      methods: (name, run); with an empty name the run is called after its learner and the keys that distinguish it.
      config: games, seating, seed.
      output: the folder to write to; by default one named after runs and settings, next to the first run.
      with_partners: as in `experiments.analysis.crossplay.crossplay_runs`.

    Raises:
      TacitError: if a run cannot be read, the runs are of different games, two methods have one name, or the folder
        cannot be made.
    """
    loaded = read_runs([path for _, path in methods])
    if len(loaded) < len(methods):
        raise TacitError("a run is given twice, and a method's seeds must be its own")
    found = names([run.config.science() for run in loaded])
    called = [given or own for (given, _), own in zip(methods, found, strict=True)]
    game = loaded[0].game
    joining = named_partners(game, with_partners)
    everybody = [*called, *(partner.label for partner in joining)]
    for name in everybody:
        if everybody.count(name) > 1:
            raise TacitError(f"two methods are called {name}: give each RUN a name of its own, as in NAME=RUN")
    method_of_agent = [name for name, run in zip(called, loaded, strict=True) for _ in run.agents]
    method_of_agent += [partner.label for partner in joining]
    agents = [agent for run in loaded for agent in run.agents] + joining
    sizes = [*(len(run.agents) for run in loaded), *(1 for _ in joining)]
    seating = cells(sizes, game.num_players, config)
    settings = {"methods": dict(zip(called, [run.name for run in loaded], strict=True)), **dataclasses.asdict(config)}
    settings |= {"with": partner_names(with_partners)}
    if output is None:
        digest = name_of(settings)
        output = loaded[0].path.parent / "methods" / digest
    runs.make_folder(output)  # before any play
    results = cross_play_both(game, agents, config, seating=seating)
    table = MethodsTable(
        game=game.name,
        score_range=game.score_range,
        method_of_agent=tuple(method_of_agent),
        results=results,
        blocks={name: blocks(*one.cells, method_of_agent).within(*game.score_range) for name, one in results.items()},
        comparisons={
            name: _compared(one, method_of_agent, set(called), game.score_range) for name, one in results.items()
        },
        sampling=sampling(agents),
        folder=output,
    )
    _write(table, settings)
    return table


def _compared(
    result: CrossPlay, method_of_agent: Sequence[str], trained: set[str], score_range: tuple[float, float]
) -> dict[Test, list[PairTest]]:
    own = own_cells(*result.cells, method_of_agent)
    cells = {method: found for method, found in own.items() if method in trained}
    furthest = score_range[1] - score_range[0]
    return {
        test: [
            one._replace(difference=one.difference.within(-furthest, furthest))
            for one in compare_methods(cells, test=test)
        ]
        for test in get_args(Test)
    }


def named(texts: Sequence[str]) -> list[tuple[str, Path]]:
    """[NAME=]RUN … as (name or "", path); a folder stands for its training runs.

    Raises:
      TacitError: if there is no run, or a name is given to a folder of several.
    """
    given = [("", text) if Path(text).exists() else text.rpartition("=")[::2] for text in texts]
    found = runs.training_runs([Path(path) for _, path in given])
    called = {}
    for name, path in given:
        own = {run for run in found if name and Path(path) in (run, run.parent)}
        if len(own) > 1:
            raise TacitError(f"{name} is the name of one method, and {path} is a folder of {len(own)} runs")
        called |= dict.fromkeys(own, name)
    return [(called.get(path, ""), path) for path in found]


def names(sciences: Sequence[Mapping[str, Any]]) -> list[str]:
    """Default names of runs: the learner and, if several runs have the same learner, the keys in which they differ.

    Runs that differ only in their seeds are numbered.
    """
    learners = [_learner(science) for science in sciences]
    keys = ("policy", "learner", "steps", "initial_policies")
    flat = [flatten({key: science.get(key) for key in keys}) for science in sciences]
    called = []
    for own, learner in zip(flat, learners, strict=True):
        alike = [other for other, name in zip(flat, learners, strict=True) if name == learner]
        differing = [key for key in own if any(other.get(key) != own[key] for other in alike)]
        called.append(", ".join([learner, *(_said(key, own[key]) for key in differing)]))
    return [
        f"{name} ({called[:place].count(name) + 1})" if called.count(name) > 1 else name
        for place, name in enumerate(called)
    ]


def cells(sizes: Sequence[int], players: int, config: CrossPlayConfig) -> np.ndarray:
    """int32[C, players]: seatings of each method's own agents, and of one agent with copies of another method's agent.

    Args:
      sizes: number of agents of each method, which have consecutive numbers.
      players: of the game.
      config: how agents of one method are seated.
    """
    firsts = np.cumsum([0, *sizes[:-1]]).tolist()
    rows: list[tuple[int, ...]] = []
    for first, size in zip(firsts, sizes, strict=True):
        own = seatings(size, players, config.seating, max_seatings=config.max_seatings)
        rows += map(tuple, (own + first).tolist())
    for (a, size_a), (b, size_b) in itertools.permutations(zip(firsts, sizes, strict=True), 2):
        for one, other in itertools.product(range(a, a + size_a), range(b, b + size_b)):
            rows += [tuple(one if seat == s else other for s in range(players)) for seat in range(players)]
    return np.array(list(dict.fromkeys(rows)), np.int32)


def shown(table: MethodsTable) -> list[Table]:
    """For each play: the methods' scores, their scores with each other, and which differ significantly."""
    found = [one for play in table.blocks for one in _of_play(table, play)]
    if table.sampling:
        found[-1] = found[-1]._replace(notes=[sampling_in_words(table.sampling)])
    return found


def markdown(table: MethodsTable) -> str:
    """All tables in Markdown, each play with a heading."""
    parts = [f"### {play.capitalize()} play\n\n{tables.as_markdown(_of_play(table, play))}\n" for play in table.blocks]
    if table.sampling:
        parts.append(f"{sampling_in_words(table.sampling).capitalize()}.\n")
    return "\n".join(parts)


def _of_play(table: MethodsTable, play: str) -> list[Table]:
    return [made(table, play) for made in (_scores, _together, _verdicts)]


def _scores(table: MethodsTable, play: str) -> Table:
    found = table.blocks[play]
    low, high = table.score_range
    title = f"{table.game}, {play} play (possible scores {low:g} to {high:g}); 95 % intervals over seeds"
    columns = [_PLAY, Column("method", words=True), Column("SP", ("self_play",)), Column("XP", ("cross_play",))]
    rows = [
        [play, name, _estimate(found.self_play[row]), _estimate(found.cross_play[row][row])]
        for row, name in enumerate(found.methods)
    ]
    return Table(title, columns, rows)


def _together(table: MethodsTable, play: str) -> Table:
    found = table.blocks[play]
    seats = next(iter(table.results.values())).seatings.shape[1]
    how = "over both seatings" if seats == 2 else "one of the row's, in any seat, with copies of one of the column's"
    columns = [_PLAY, Column("method", words=True), *(Column(name, ("with", name)) for name in found.methods)]
    rows = [
        [play, name, *(Cell(estimate, tables.with_error(estimate.mean, estimate.se)) for estimate in row)]
        for name, row in zip(found.methods, found.together, strict=True)
    ]
    return Table(f"With each other, {play}, mean ± SE over seeds: {how}", columns, rows)


def _verdicts(table: MethodsTable, play: str) -> Table:
    comparisons = table.comparisons[play]
    columns = [
        _PLAY,
        *(Column(name, words=True) for name in ("first", "second")),
        Column("difference"),
        Column("verdict", words=True),
        *(Column(f"p, {test}") for test in comparisons),
    ]
    rows = [
        [
            play, one.first, one.second, _estimate(one.difference), one.verdict,
            *(None if (p := other.corrected) is None else Cell(p, tables.p_value(p)) for other in same),
        ]
        for same in zip(*comparisons.values(), strict=True)
        for one in same[:1]
    ]  # fmt: skip
    return Table("XP of two methods, p-values corrected by Holm, by each of two tests", columns, rows)


_PLAY = Column("play", shown=False)


def _estimate(estimate: Estimate) -> Cell:
    """A cell with the estimate; empty if it has no mean: a partner is one agent and has no cross-play."""
    return Cell(estimate, NOTHING if estimate.mean is None else None)


def _learner(science: Mapping[str, Any]) -> str:
    learner = science["learner"]
    name = learner["_target_"].rpartition(".")[2]
    if learner.get("critic_sees") == "own":
        return "IPPO, separate critic"
    if learner.get("other_play"):
        return "Other-Play" if name == "IPPO" else f"{name}, Other-Play"
    return f"OBL level {learner['levels']}" if name == "OffBelief" else name


def _said(key: str, value: Any) -> str:
    """A key and its value in words; a value that is a word stands alone."""
    if key == "initial_policies":
        return "fresh" if value is None else f"begun with {value}"
    return value.split(".")[-1] if isinstance(value, str) else f"{key.split('.')[-1].replace('_', ' ')} {short(value)}"


def _write(table: MethodsTable, settings: Mapping[str, Any]) -> None:
    runs.write_crossplay(table.folder, table.results, settings)
    runs.write_bytes(table.folder / "table.md", markdown(table).encode())
    plain = {
        play: {
            "methods": list(found.methods),
            "self_play": [one._asdict() for one in found.self_play],
            "cross_play": [[one._asdict() for one in row] for row in found.cross_play],
            "together": [[one._asdict() for one in row] for row in found.together],
            "comparisons": {
                test: [one._asdict() | {"difference": one.difference._asdict()} for one in some]
                for test, some in comparisons.items()
            },
        }
        for (play, found), comparisons in zip(table.blocks.items(), table.comparisons.values(), strict=True)
    }
    runs.write_json(table.folder / "table.json", plain | {"settings": dict(settings), "game": table.game})
    figures.save(figures.methods(table.blocks, table.score_range, table.game), table.folder / "methods")
