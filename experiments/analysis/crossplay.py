"""`tacit crossplay RUN … [--with PARTNERS]`: play saved seeds with each other and with partners that nobody trained."""

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments import runs
from experiments.catalogue.described import ALL_PARTNERS, FOREIGN
from experiments.configuration.config import CrossPlayConfig, build_game, build_kind, name_of
from experiments.configuration.targets import one_sentence
from experiments.launching import compose
from experiments.presentation import figures
from experiments.presentation.tables import Cell, Column, Table, with_error
from experiments.training.job import cross_play_both
from games.errors import TacitError, did_you_mean, one_of
from games.game import Game
from marl.agent import Agent, check_fits
from marl.crossplay import CrossPlay, seatings
from marl.crossplay.estimators import Estimate, self_play, summarise
from marl.partners import PARTNERS, jaxmarl_agent, partners


class Played(NamedTuple):
    """The results of `tacit crossplay`, and the folder with them.

    The agents are the seeds of the first run, then of the next, …, then the partners.
    """

    results: dict[str, CrossPlay]
    folder: Path
    runs: tuple[tuple[str, int], ...]
    """Name and number of seeds of each run."""
    score_range: tuple[float, float]
    """The least and the greatest score that the game can have."""
    sampling: tuple[str, ...] = ()
    """The agents that sample their actions in greedy play, too."""


def crossplay_runs(
    paths: Sequence[Path],
    config: CrossPlayConfig,
    output: Path | None = None,
    *,
    with_partners: str = "",
    game: Sequence[str] = (),
) -> Played:
    """Play all seeds of finished runs with each other and with partners, and write the result and its figure.

    Args:
      paths: run directories of one game; none to play partners with each other.
      config: games, seating, seed.
      output: the folder to write to; by default one named after runs and settings, next to the first run.
      with_partners: partners that play as well, see `partner_names`. Each seed plays, in every seat, with copies of
        each partner in all other seats; each partner also plays with copies of itself.
      game: without runs, the game as overrides such as game=hanabi players=3.

    Raises:
      TacitError: if a run cannot be read, the runs are of different games, there is no agent, a partner cannot play the
        game, or the folder cannot be made.
    """
    check_runs_or_game("crossplay", bool(paths), with_partners, game)
    loaded = read_runs(paths)
    played_game = loaded[0].game if loaded else build_game(compose.composed_game(game))
    joining = named_partners(played_game, with_partners)
    settings = {"runs": [run.name for run in loaded], **dataclasses.asdict(config)}
    if joining:
        settings |= {"with": partner_names(with_partners), "game": list(game)}
    agents = [agent for run in loaded for agent in run.agents]
    cells = _cells(played_game, len(agents), len(joining), config)
    if output is None:
        digest = name_of(settings)
        output = (loaded[0].path.parent if loaded else Path("runs")) / "crossplay" / digest
    runs.make_folder(output)  # before any play
    results = cross_play_both(played_game, agents + joining, config, seating=cells)
    runs.write_crossplay(output, results, settings)
    who = [f"runs {', '.join(run.name for run in loaded)}"] * bool(loaded) + ["partners"] * bool(joining)
    figure = figures.crossplay_matrices(results, played_game.score_range, f"{played_game.name}: {' and '.join(who)}")
    figures.save(figure, output / "crossplay")
    members = tuple((run.name, len(run.agents)) for run in loaded)
    return Played(results, output, members, played_game.score_range, sampling(agents + joining))


def check_runs_or_game(command: str, has_runs: bool, with_partners: str, game: Sequence[str]) -> None:
    """Check that a command is given runs, or else a game and partners.

    Raises:
      TacitError: if it is given neither or both.
    """
    if has_runs and game:
        raise TacitError(f"a run brings its own game: leave out {' '.join(game)}")
    if not has_runs and not (with_partners and game):
        raise TacitError(f"{command} needs a RUN, or a game and partners: game=NAME --with partners")


def sampling(agents: Sequence[Agent]) -> tuple[str, ...]:
    """The labels of the agents that sample their actions in greedy play, too."""
    return tuple(agent.label for agent in agents if agent.kind.always_sampled)


def sampling_in_words(labels: Sequence[str]) -> str:
    """A note for a table of greedy play on the agents that sample nevertheless, or ""."""
    return f"greedy play of all but {', '.join(labels)}, whose draws are their play" if labels else ""


def read_runs(paths: Sequence[Path]) -> list[runs.Run]:
    """Finished runs of one game, each once.

    Raises:
      TacitError: if a run cannot be read, or they are of different games.
    """
    loaded = [runs.read_run(path) for path in dict.fromkeys(path.resolve() for path in paths)]
    for run in loaded[1:]:
        if run.game != loaded[0].game:
            raise TacitError(
                f"runs {loaded[0].name} and {run.name} are of different games: {loaded[0].game}, {run.game}"
            )
    return loaded


def named_partners(game: Game, names: str) -> list[Agent]:
    """The agents named by `partner_names`.

    Raises:
      TacitError: for an unknown name, a file that cannot be read, an agent that cannot play the game, or two partners
        with the same name.
    """
    found = [_partner(game, text) for text in partner_names(names)]
    labels = [agent.label for agent in found]
    for label in labels:
        if labels.count(label) > 1:
            raise TacitError(f"two partners are called {label}: give one a name of its own, as in NAME=my_policy.Mine")
    return found


def partner_names(names: str) -> list[str]:
    """The items of `--with`, separated by commas, each once: of `marl.partners`, which "partners" stands for, and

    [NAME=]my_policy.Mine: a policy by hand, the Python path of a class, called after the class unless it has a name;
    [NAME=]jaxmarl:FILE: an agent that JaxMARL trained, called after its file unless it has a name.
    """
    texts = names.split(",") if names else []
    return list(dict.fromkeys(one for text in texts for one in (PARTNERS if text == ALL_PARTNERS else (text,))))


def _partner(game: Game, text: str) -> Agent:
    before, foreign, file = text.partition(FOREIGN)
    if not foreign or not (before == "" or before.endswith("=")):
        name, _, partner = text.rpartition("=")
        if "." in partner and all(part.isidentifier() for part in partner.split(".")):
            return _by_hand(game, partner, name)
        if partner not in PARTNERS:
            known = f"there are {', '.join(PARTNERS)}; one of your own is a Python path such as my_policy.Mine"
            raise TacitError(f"there is no partner {partner!r}; {did_you_mean(partner, PARTNERS, known)}")
        (agent,) = partners(game, [partner])
        return agent._replace(label=name or partner)
    tensors, metadata = runs.read_tensors(Path(file))
    if "science" in metadata:
        raise TacitError(f"{file} was written by Tacit: name it as a RUN, not as {FOREIGN}{file}")
    return jaxmarl_agent(game, tensors, label=before[:-1] or Path(file).stem, file=file)


def _by_hand(game: Game, path: str, name: str) -> Agent:
    """A policy of the user's own, called `name` or after its class; a mistake in it is refused before any play."""
    kind = build_kind({"_target_": path}, game, share_parameters=True, group="partner")
    with one_sentence("partner", path, {}):
        one_of(f"memory_clock of partner {path}", kind.policy.memory_clock, ("every_step", "own_turns"))
        agent = Agent(kind, kind.policy.init(key=jax.random.key(0)), name or path.rpartition(".")[2])
        hash(kind)
    check_fits(agent, game)
    return agent


def _cells(game: Game, seeds: int, joining: int, config: CrossPlayConfig) -> np.ndarray:
    """int[C, players]: the seeds with each other, each with each partner, and each partner with copies of itself.

    Without seeds, the partners play with each other as seeds do.
    """
    players = game.num_players
    own = seatings(seeds or joining, players, config.seating, max_seatings=config.max_seatings)
    if not seeds:
        return own
    mixed = [
        [seed if seat == taken else partner for seat in range(players)]
        for partner in range(seeds, seeds + joining)
        for seed in range(seeds)
        for taken in range(players)
    ]
    alone = [[partner] * players for partner in range(seeds, seeds + joining)]
    return np.array([*own.tolist(), *mixed, *alone], np.int32)


def with_partner(result: CrossPlay, seeds: range, partner: int) -> Estimate:
    """The mean score of some seeds with copies of a partner, over all seats, with its error over seeds.

    Args:
      result: of `crossplay_runs`.
      seeds: the agents' numbers.
      partner: the partner's number.
    """
    met = np.sort(result.seatings, axis=1)  # sorted, since seeds have lower numbers than partners
    ours = (met[:, 1:] == partner).all(axis=1)
    _, cells = result.cells
    scores = [cells[ours & (met[:, 0] == seed)].mean(axis=0) for seed in seeds]
    return self_play([[seed] * met.shape[1] for seed in seeds], scores)


def shown(played: Played) -> list[Table]:
    """For each play a table of estimates, and one of each partner's own score and that of each run's seeds with it."""
    seeds = sum(number for _, number in played.runs)
    found = [_of_seeds(played, seeds)] if seeds else []
    if len(next(iter(played.results.values())).labels) > seeds:
        found.append(_with_partners(played, seeds))
    return found


def _of_seeds(played: Played, seeds: int) -> Table:
    columns = [
        Column("play", words=True),
        Column("SP", ("self_play",)),
        Column("XP", ("cross_play",)),
        Column("SP − XP", ("gap",)),
        Column("disjoint XP", ("cross_play_disjoint",)),
        Column("bombed games", ("bombed",)),
        Column("games"),
        Column("mean length", ("length",), digits=1),
    ]
    rows = []
    for play, result in played.results.items():
        own = (result.seatings < seeds).all(axis=1)
        summary = summarise(*(of_cells[own] for of_cells in result.cells)).within(*played.score_range)
        estimates = [summary.self_play, summary.cross_play, summary.gap, summary.cross_play_disjoint]
        numbers = [int(result.bombed[own].sum()), int(result.games[own].sum()), float(result.length[own].mean())]
        rows.append([play, *estimates, *numbers])
    names = ", ".join(name for name, _ in played.runs)
    return Table(f"{seeds} seeds of {names}; 95 % intervals over seeds", columns, rows)


def _with_partners(played: Played, seeds: int) -> Table:
    columns = [Column("play", words=True), Column("partner", words=True), Column("self-play", ("self_play",))]
    columns += [Column("bombed"), Column("games"), *(Column(f"with {name}", ("with", name)) for name, _ in played.runs)]
    firsts = itertools.accumulate((number for _, number in played.runs), initial=0)
    members = [range(first, first + number) for first, (_, number) in zip(firsts, played.runs, strict=False)]
    rows: list[list[Any]] = []
    for play, result in played.results.items():
        for partner in range(seeds, len(result.labels)):
            (alone,) = np.flatnonzero((result.seatings == partner).all(axis=1))
            games, mean = int(result.games[alone]), float(result.mean[alone])
            error = float(result.standard_error[alone]) if games > 1 else None
            own = Cell({"mean": mean, "standard_error": error}, with_error(mean, error))
            met = [with_partner(result, those, partner).within(*played.score_range) for those in members]
            rows.append([play, result.labels[partner], own, int(result.bombed[alone]), games, *met])
    return Table(
        "partners: with copies of themselves (± error over games) and with seeds, in any seat",
        columns,
        rows,
        [sampling_in_words(played.sampling)] if played.sampling else [],
        [len(rows) // len(played.results) - 1],
        lead=2,
    )
