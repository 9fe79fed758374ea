"""The functions of `tacit`: each names what lies below, and imports it at its first call."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from games.errors import TacitError, number, one_of, whole_number
from marl.crossplay.estimators import LEVEL, RESAMPLES

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from experiments.analysis.compare_tables import Comparison
    from experiments.analysis.conventions_tables import Found
    from experiments.analysis.methods import MethodsTable
    from experiments.runs import Record, Runs
    from experiments.studies.study import Results
    from games.game import Game
    from marl.agent import Agent
    from marl.crossplay import CrossPlay, Seating
    from marl.crossplay.estimators import Summary

Play = Literal["sampled", "greedy"]
Argument = str | Mapping[str, Any]
"""A text "KEY=VALUE" as on the command line, or a mapping of keys to values, such as {"learner.clip": 0.1}."""


def make(game: str, **keys: Any) -> "Game":
    """A game by the name that `tacit games` lists, with some of its keys: `make("lever", payoffs=[1, 1, 0.9])`.

    Args:
      game: its name, or the Python path of one of your own, "my_game.make".
      keys: what `tacit games NAME` lists with it; of a file, `make("file", file="PATH.dpomdp")`.

    Raises:
      TacitError: if there is no such game or key, or the game refuses a value.
    """
    from experiments.configuration.config import build_game, game_group

    return build_game(game_group(_of_type(str, game, "make takes the name of a game"), keys))


def train(*arguments: Argument, **keys: Any) -> "Runs":
    """Train independent seeds and play them with each other, as `tacit train`; finished runs are read, not made again.

        train(game="lever", seeds=8)    train("game=lever", "seeds=8")    train({"learner.entropy_coef": [0.01, 0.1]})

    Args:
      arguments: texts KEY=VALUE, or mappings for keys with a dot.
      keys: keywords; a group's keys may also be a mapping, `learner={"entropy_coef": 0.1}`. A list of a hyperparameter
        is a run for each value.

    Returns:
      The runs, in the order of the values. They are in the folder runs/ unless execution.output says otherwise.

    Raises:
      TacitError: for anything wrong with the configuration, before anything compiles; if training diverges.
      Paused: on Ctrl-C, or if budget.minutes are used up; all is saved, and the same call goes on from there.
    """
    from experiments.launching import words
    from experiments.train import trained

    return trained(words.overrides(arguments, keys))


def crossplay(
    game: "Game",
    agents: "Sequence[Agent]",
    *,
    play: Play = "greedy",
    games: int = 1000,
    seating: "Seating" = "all",
    seed: int = 0,
) -> "CrossPlay":
    """Play agents with each other and with themselves, the same decks in every cell.

    Args:
      game: as `make` makes it, or `run.game`.
      agents: of any kinds: `run.agents`, `partners(game)`, or your own `Agent`s.
      play: greedy, every agent its most probable action, or sampled.
      games: games of each cell.
      seating: who meets whom: all, distinct or one_against_copies (`marl.crossplay.seatings`).
      seed: of decks and draws.

    Returns:
      The score of each cell; `summarise` estimates self-play and cross-play from it.

    Raises:
      TacitError: if these are no agents, an agent does not fit the game, or an argument is out of range.
    """
    import jax

    from games.game import Game
    from marl.agent import Agent
    from marl.crossplay import crossplay as played

    _of_type(Game, game, _A_GAME)
    agents = [
        _of_type(Agent, one, "agents are tacit.Agent, such as those of run.agents")
        for one in _of_type(Sequence, agents, "crossplay takes a list of agents")
    ]
    one_of("play", play, ("sampled", "greedy"))
    one_of("seating", seating, ("all", "distinct", "one_against_copies"))
    return played(
        game,
        agents,
        games=whole_number("games", games, 1),
        greedy=play == "greedy",
        key=jax.random.key(whole_number("seed", seed, 0, 2**31 - 1)),
        seating=seating,
    )


def partners(game: "Game", *names: str) -> "list[Agent]":
    """Agents that nobody trained, as `tacit crossplay --with`: `partners(game, "iggi", "my_policy.Mine")`.

    Args:
      game: as `make` makes it; only "uniform" and policies of your own play other games than Hanabi.
      names: of rule-based agents or "uniform", or Python paths of policies by hand; without any all rule-based agents.

    Raises:
      TacitError: for an unknown name, a partner that cannot play the game, or two with one name.
    """
    from experiments.analysis.crossplay import named_partners
    from games.game import Game

    _of_type(Game, game, _A_GAME)
    return named_partners(game, ",".join(names) if names else "partners")


def summarise(
    played: "CrossPlay | tuple[ArrayLike, ArrayLike]",
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> "Summary":
    """Self-play, cross-play and their gap, each with its standard error and its interval over agents.

    Args:
      played: what `crossplay` returned; or cells of your own, (seatings int[C, P], scores float[C] or float[C, games]).
      resamples: of the bootstrap over agents.
      level: of the intervals, between 0 and 1.
      seed: of the bootstrap.

    Raises:
      TacitError: if these are no cells, or an argument is out of range.
    """
    from marl.crossplay import CrossPlay
    from marl.crossplay.estimators import summarise as estimated

    _of_type(tuple, played, "summarise takes what crossplay returns, or seatings and scores")
    cells = played.cells if isinstance(played, CrossPlay) else played
    if len(cells) != 2:
        raise TacitError(f"cells are a pair of seatings and scores, not {len(cells)} things")
    return estimated(
        *cells,
        resamples=whole_number("resamples", resamples, 1),
        level=number("level", level, 0, 0.999999, above=True),
        rng=whole_number("seed", seed, 0),
    )


def compare(
    runs: "Runs",
    *,
    by: str | Sequence[str] = (),
    over: str | Sequence[str] = (),
    contrasts: str | Sequence[str] = (),
    shares: bool = False,
) -> "Comparison":
    """Finished training runs of one game side by side, as `tacit compare`: printed it is a table, drawn a figure.

    What the command warns of (runs left out, seeds far from all others, other decks) is a `UserWarning`.

    Args:
      runs: as `train` or `load` returns them.
      by: keys to sort by, such as "entropy_coef"; by default those in which the runs differ. As all three: a list, or
        a text with commas.
      over: keys over whose values rows are means.
      contrasts: "entropy_coef=0.1-0.01", what the first value gains over the second; by default of the extremes.
      shares: scores as shares of the game's optimum.

    Raises:
      TacitError: if no finished training run is among them, they are of several games, or none has such a key or value.
    """
    from experiments.analysis import compare as below
    from experiments.runs import Runs

    _of_type(Runs, runs, "compare takes runs as train and load return them")
    by, over, contrasts = _texts("by", by), _texts("over", over), _texts("contrasts", contrasts)
    return below.compare(runs, by=by, over=over, contrasts=contrasts, shares=shares)


def methods(
    named: "Mapping[str, Record] | Sequence[Record]",
    *,
    games: int = 1000,
    seed: int = 0,
    output: str | Path | None = None,
) -> "MethodsTable":
    """Learned methods, every one with every other, as `tacit methods`: each run is a method with independent seeds.

    Tables, scores and figure are written, as the command writes them.

    Args:
      named: runs by the names of their methods; or runs, which are called after their learners.
      games: games of each cell.
      seed: of decks and draws.
      output: the folder to write to; by default one named after runs and settings, next to the first run.

    Raises:
      TacitError: if a run cannot be read, the runs are of different games, two methods have one name, or the folder
        cannot be made.
    """
    from experiments.analysis.methods import methods_table
    from experiments.configuration.config import CrossPlayConfig
    from experiments.runs import Record

    what = "methods takes runs of train or load, one or more, or a mapping of names to them"
    runs = [("", run) for run in _of_type(Sequence, named, what)] if not isinstance(named, Mapping) else named.items()
    if not runs:
        raise TacitError(f"{what}, not {named!r}")
    for _, run in runs:
        _of_type(Record, run, what)
    return methods_table(
        [(name, run.path) for name, run in runs],
        CrossPlayConfig(games=games, seed=seed),
        Path(output) if output else None,
    )


def conventions(
    run: "Record",
    *,
    games: int = 1000,
    seed: int = 0,
    plays: Play | Sequence[Play] = "greedy",
    output: str | Path | None = None,
) -> "Found":
    """What the conventions of a run's seeds look like and what relabelling changes, as `tacit conventions`.

    Numbers and figures are written, as the command writes them.

    Args:
      run: a finished training run.
      games: self-play games of each seed.
      seed: of decks and draws.
      plays: sampled, greedy, or a list of one or both.
      output: where to make the folder, which is named after run and settings; by default next to the run.

    Raises:
      TacitError: if the run cannot be read, an argument is out of range, or the folder cannot be made.
    """
    from experiments.analysis.conventions import conventions_run
    from experiments.runs import Record

    _of_type(Record, run, "conventions takes a run, one of those that train and load return")
    return conventions_run(run.path, games=games, seed=seed, plays=plays, output=Path(output) if output else None)


def phase(*arguments: Argument, **keys: Any) -> "Results":
    """Exact: where the gradient flow of a tabular game ends at every α, as `tacit phase`; arguments as in `train`.

    Returns:
      For each game that the arguments stand for the contents of phase.json, with the policies of all solutions.

    Raises:
      TacitError: as the command.
    """
    return _results("phase", arguments, keys)


def zsc_table(*arguments: Argument, **keys: Any) -> "Results":
    """Exact: methods of zero-shot coordination on tabular games, as `tacit zsc-table`; arguments as in `train`.

    Returns:
      For each game the contents of zsc.json, with the policies that the methods find.

    Raises:
      TacitError: as the command.
    """
    return _results("zsc_table", arguments, keys)


def structure_table(*arguments: Argument, **keys: Any) -> "Results":
    """Exact: structures against training on tabular games, as `tacit structure-table`; arguments as in `train`.

    Returns:
      For each game and structure the contents of structure.json.

    Raises:
      TacitError: as the command.
    """
    return _results("structure_table", arguments, keys)


def symmetries(game: "Game", *, generators: int = 8) -> str:
    """Exact: the symmetry group of a tabular game in words, as `tacit symmetries`.

    Args:
      game: as `make` makes it.
      generators: how many generators of the group to show.

    Raises:
      TacitError: if the game is not tabular.
    """
    from experiments.studies.symmetries import describe
    from games.game import Game

    _of_type(Game, game, _A_GAME)
    return describe(game, whole_number("generators", generators, 0))


_A_GAME = 'a game is what make returns, such as make("lever"), or run.game'


def _of_type(kind: type, given: Any, expected: str) -> Any:
    """`given`, if it is of that type; else a TacitError that says what was expected."""
    if not isinstance(given, kind):
        raise TacitError(f"{expected}, not {given!r}")
    return given


def _texts(name: str, given: str | Sequence[str]) -> list[str]:
    """The texts of a list, or of one text with commas; TacitError if these are none."""
    several = given.split(",") if isinstance(given, str) else given
    if not isinstance(several, Sequence) or not all(isinstance(one, str) for one in several):
        raise TacitError(f"{name} must be a list of texts, or a text with commas, not {given!r}")
    return [one.strip() for one in several if one.strip()]


def _results(name: str, arguments: Sequence[Argument], keys: Mapping[str, Any]) -> "Results":
    """The results of the study in the module `experiments.studies.NAME`."""
    from experiments.launching import words
    from experiments.studies import study

    found = importlib.import_module(f"experiments.studies.{name}").STUDY
    return study.results(found, words.overrides(arguments, keys))
