"""The commands of `tacit`: what arguments each takes, and which module carries it out.

A command imports what it needs only after its arguments are parsed, so that help and usage errors come at once.
"""

import argparse
import functools
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

from experiments.presentation import terminal
from games.errors import TacitError, did_you_mean, whole_number


class _Parser(argparse.ArgumentParser):
    """Reports an error in one sentence, without the usage."""

    def error(self, message: str) -> NoReturn:
        raise TacitError(f"{message}; {self.prog} --help says more")

    def all_of(self, arguments: Sequence[str]) -> argparse.Namespace:
        """The options and words of a command; what is none of them is refused, with the option of nearest spelling."""
        options, unknown = self.parse_known_intermixed_args(arguments)
        if unknown:
            name = unknown[0].partition("=")[0]
            known = [one for action in self._actions for one in action.option_strings]
            raise TacitError(f"there is no option {name}; {did_you_mean(name, known, f'{self.prog} --help says more')}")
        return options


def _configured(module: str, arguments: list[str]) -> None:
    """Run a command whose arguments are KEY=VALUE, or print its help."""
    if {"-h", "--help"} & set(arguments):
        from experiments import usage

        print(getattr(usage, module)())
    elif module == "train":
        importlib.import_module("experiments.train").main(arguments)
    else:
        parser = _Parser(f"tacit {module.replace('_', '-')}", add_help=False, allow_abbrev=False)
        _with_format(parser)
        options, others = parser.parse_known_args(arguments)
        study = importlib.import_module("experiments.studies.study")
        study.main(importlib.import_module(f"experiments.studies.{module}").STUDY, others, options.format)


def _with_format(parser: argparse.ArgumentParser) -> None:
    """Add the option `--format`, which every command that shows a table has."""
    from experiments.presentation import tables

    parser.add_argument(
        "--format", choices=[tables.SHOWN, *tables.FORMATS], default=tables.SHOWN, help="of the table (%(default)s)"
    )


def _symmetries(arguments: list[str]) -> None:
    parser = _Parser("tacit symmetries", description="The symmetry group of a tabular game: orders and generators.")
    parser.add_argument(
        "overrides", nargs="+", metavar="GAME", help="a game of the list or game.file=PATH, and KEY=VALUE of its keys"
    )
    parser.add_argument("--generators", type=int, default=8, help="show so many generators (%(default)s)")
    options = parser.all_of(arguments)
    whole_number("--generators", options.generators, 0)
    from experiments.configuration import conf_files

    for text in options.overrides:
        is_game = conf_files.game_named(text) in conf_files.choices("game")
        if not is_game and "=" not in text and (text.endswith(".dpomdp") or Path(text).is_file()):
            raise TacitError(
                f"{text} is no game of the list; a file is named by its key: tacit symmetries game.file={text}"
            )
    from experiments.launching import compose
    from experiments.studies import symmetries, tabular

    overrides = [text if "=" in text else f"game={text}" for text in options.overrides]
    games = [text for text in overrides if text.startswith("game=")]
    if len(games) != 1 and (games or not any(text.startswith("game.file=") for text in overrides)):
        raise TacitError(f"symmetries needs one game, such as dectiger or game.file=PATH, not {len(games)}")
    game = tabular.build_tabular(compose.composed_game(overrides))
    print(symmetries.describe(game, options.generators))


def _config(arguments: list[str]) -> None:
    parser = _Parser("tacit config", description="Print the composed configuration as JSON, as run_piece reads it.")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as for tacit train")
    options = parser.all_of(arguments)
    from experiments.launching import compose

    print(json.dumps(compose.one_job(options.overrides), indent=1))


def _crossplay(arguments: list[str]) -> None:
    parser = _Parser("tacit crossplay", description="Play saved seeds with each other and with partners.")
    parser.add_argument(
        "runs",
        nargs="*",
        metavar="RUN",
        help="run directory, a folder of them, or a file of the zoo; without any: game=NAME KEY=VALUE …",
    )
    _with_format(parser)
    options, config = _playing(parser, arguments)
    from experiments import runs
    from experiments.analysis import crossplay
    from experiments.presentation import tables

    paths, game = _runs_or_game(parser, options.runs)
    played = crossplay.crossplay_runs(
        runs.training_runs(paths) if paths else [],
        config,
        options.output,
        with_partners=options.partners,
        game=game,
    )
    tables.print_tables(crossplay.shown(played), options.format, below=[f"cells and figure in {played.folder}"])


def _runs_or_game(parser: _Parser, words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """The runs, and the overrides that name a game, among the words of a command that takes either."""
    game = [text for text in words if "=" in text and not Path(text).exists()]
    known = {option.removeprefix("--") for action in parser._actions for option in action.option_strings}
    for text in game:
        key, _, value = text.partition("=")
        if key in known:
            raise TacitError(f"{text} is an option of this command: --{key} {value}")
    return [Path(text) for text in words if text not in game], game


def _with_partners(parser: _Parser) -> None:
    """Add the option `--with`, which every command has that measures partners, too."""
    from experiments.catalogue import facts

    parser.add_argument("--with", dest="partners", default="", metavar="NAMES", help=facts.read()["partner_choices"])


def _playing(parser: _Parser, arguments: list[str]) -> tuple[Any, Any]:
    """Parse the options of a command that plays agents with each other; the options, and their `CrossPlayConfig`."""
    from experiments.configuration.config import CrossPlayConfig

    defaults = CrossPlayConfig()
    _with_partners(parser)
    parser.add_argument("--games", type=int, default=defaults.games, help="games in each cell (%(default)s)")
    parser.add_argument("--seating", default=defaults.seating, help="all, distinct or one_against_copies (%(default)s)")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="of decks and draws (%(default)s)")
    parser.add_argument("--output", type=Path, help="folder of what is found (beside the first run)")
    options = parser.all_of(arguments)
    return options, CrossPlayConfig(games=options.games, seating=options.seating, seed=options.seed)


def _zoo(arguments: list[str]) -> None:
    parser = _Parser("tacit zoo", description="Write finished runs as files that stand alone.")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run directory, or a folder of them")
    parser.add_argument("--output", type=Path, default=Path("zoo"), help="folder of the files (%(default)s)")
    options = parser.all_of(arguments)
    from experiments import runs
    from experiments.analysis import zoo

    for path in runs.training_runs(options.runs):
        print(zoo.keep(path, options.output), flush=True)


def _compare(arguments: list[str]) -> None:
    from experiments.analysis import compare, compare_tables
    from experiments.presentation import tables

    parser = _Parser("tacit compare", description="Finished runs side by side: a table for each game, and a figure.")
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="run directory, or a folder of them")
    parser.add_argument("--by", default="", metavar="KEY[,KEY…]", help="columns to sort by (what the runs differ in)")
    parser.add_argument("--over", default="", metavar="KEY[,KEY…]", help="rows are means over the values of these keys")
    parser.add_argument(
        "--where",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="only such runs: game=hanabi_2x3, policy=linear.Linear …",
    )
    parser.add_argument(
        "--contrast",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=A-B",
        help="what A gains over B: entropy_coef=0.1-0.01 (the greatest minus the least value of each number)",
    )
    parser.add_argument("--columns", default="", metavar="NAME[,NAME…]", help="scores to show: 'greedy XP,greedy SP'")
    parser.add_argument("--shares", action="store_true", help="scores as shares of the game's optimum")
    parser.add_argument(
        "--people",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="of tacit play: scores with people, too",
    )
    _with_format(parser)
    parser.add_argument("--output", type=Path, help="where to make the folder compare/… (beside the first run)")
    options = parser.all_of(arguments)
    by, over = ([key for key in text.split(",") if key] for text in (options.by, options.over))
    columns = compare_tables.chosen(options.columns)
    found, warnings = compare.read(
        options.folders,
        where=options.where,
        by=by,
        over=over,
        contrasts=options.contrast,
        shares=options.shares,
        people=options.people,
    )
    if options.format == tables.SHOWN:
        root = options.output or found[0].rows[0].path.parent
        compare.show(found, warnings, root, draw=True, columns=columns)
        return
    for sentence in warnings:
        terminal.warn(sentence)
    for one in found if options.output else []:
        compare.write(one, options.output, draw=True)
    tables.print_tables(
        compare_tables.made(found, options.format, columns, asked=bool(options.contrast)), options.format
    )


def _export(arguments: list[str]) -> None:
    from experiments.analysis import export

    parser = _Parser("tacit export", description="Finished training runs for MLflow or TensorBoard.")
    parser.add_argument("tracker", choices=list(export.TRACKERS))
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="run directory, or a folder of them")
    parser.add_argument("--output", type=Path, help="its folder (the tracker's name)")
    options = parser.all_of(arguments)
    print(export.describe(export.TRACKERS[options.tracker](options.folders, options.output or Path(options.tracker))))


def _report(arguments: list[str]) -> None:
    parser = _Parser("tacit report", description="A static site over runs that opens offline.")
    parser.add_argument("folders", nargs="*", type=Path, metavar="DIR", help="run directory, or a folder of them")
    parser.add_argument("-o", "--output", type=Path, default=Path("report"), help="its folder (%(default)s)")
    parser.add_argument(
        "--games",
        type=int,
        default=1,
        help="sample games of a pair of seeds, sampled and greedy; 0: none (%(default)s)",
    )
    parser.add_argument(
        "--recorded", nargs="+", type=Path, default=[], metavar="FILE", help="games of people, as games hanabi --replay"
    )
    options = parser.all_of(arguments)
    whole_number("--games", options.games, 0)
    if not options.folders and not options.recorded:
        raise TacitError("report needs a DIR of runs, or games: --recorded FILE")
    from experiments.report.build import build

    page = build(
        options.folders,
        options.output,
        games=options.games,
        recorded=options.recorded,
        progress=terminal.say,
    )
    print(f"open {page}")


def _status(arguments: list[str]) -> None:
    parser = _Parser("tacit status", description="How the runs of a folder stand, from their own status files.")
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="run directory, or a folder of them")
    parser.add_argument("--json", action="store_true", help="as JSON")
    options = parser.all_of(arguments)
    from experiments.analysis import status

    status.status(options.folders, as_json=options.json)


def _runs(arguments: list[str]) -> int:
    parser = _Parser("tacit runs", description="Verify the checksums and the completeness of runs.")
    parser.add_argument("what", choices=["check"])
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="run directory, or a folder of them")
    options = parser.all_of(arguments)
    from experiments.analysis import status

    return 0 if status.check(options.folders) else 1


def _methods(arguments: list[str]) -> None:
    parser = _Parser("tacit methods", description="Learned methods side by side, and every one with every other.")
    parser.add_argument(
        "runs", nargs="+", metavar="[NAME=]RUN", help="run directory, a folder of them, or a file of the zoo"
    )
    _with_format(parser)
    options, config = _playing(parser, arguments)
    from experiments.analysis import methods
    from experiments.presentation import tables

    table = methods.methods_table(methods.named(options.runs), config, options.output, with_partners=options.partners)
    tables.print_tables(methods.shown(table), options.format, below=[f"tables and figure in {table.folder}"])


def _conventions(arguments: list[str]) -> None:
    parser = _Parser(
        "tacit conventions",
        description="Equivariance defect, Other-Play return, convention matrices and gaps of saved seeds and partners.",
    )
    parser.add_argument(
        "runs",
        nargs="*",
        metavar="RUN",
        help="run directory, a folder of them, or a file of the zoo; without any: game=NAME KEY=VALUE …",
    )
    _with_partners(parser)
    parser.add_argument("--games", type=int, default=1000, help="self-play games of each seed (%(default)s)")
    parser.add_argument("--symmetries", type=int, default=4, help="relabellings tried in each game (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of decks and draws (%(default)s)")
    parser.add_argument("--output", type=Path, help="where to make the folder conventions/… (beside each run)")
    _with_format(parser)
    options = parser.all_of(arguments)
    from experiments import runs
    from experiments.analysis import conventions, conventions_tables
    from experiments.presentation import tables

    paths, game = _runs_or_game(parser, options.runs)
    settings = {name: getattr(options, name) for name in ("games", "symmetries", "seed", "output")}
    found = conventions.conventions(
        runs.training_runs(paths) if paths else [], with_partners=options.partners, game=game, **settings
    )
    made = [table for one in found for table in conventions_tables.shown(one)]
    tables.print_tables(made, options.format, below=[f"results in {one.folder}" for one in found])


def _games(arguments: list[str]) -> int:
    parser = _Parser("tacit games", description="List the games, or show one with its actions and observers.")
    parser.add_argument("name", nargs="?", metavar="NAME", help="a game of the list, or a Python path: my_game.make")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="another board, such as players=3")
    parser.add_argument("--check", action="store_true", help="play it at random and try every law of the contract")
    parser.add_argument(
        "--replay",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="for hanabi: replay games of AH2AC2 (.safetensors) or hanab.live (.json)",
    )
    _with_format(parser)
    options = parser.all_of(arguments)
    if options.replay:
        _replay(options)
        return 0
    if options.format != parser.get_default("format"):
        raise TacitError("--format belongs to the table of --replay")
    from experiments.catalogue import listing

    if options.check:
        if not options.name:
            raise TacitError("--check needs the NAME of a game, as in tacit games my_game.make --check")
        text, holds = listing.check_game(options.name, options.overrides)
        print(text)
        return 0 if holds else 1
    print(listing.describe_game(options.name, options.overrides) if options.name else listing.list_games())
    return 0


def _replay(options: argparse.Namespace) -> None:
    if options.name != "hanabi" or options.overrides or options.check:
        raise TacitError("--replay belongs to hanabi alone, as in tacit games hanabi --replay FILE")
    from experiments.people import recorded
    from experiments.presentation import tables

    tables.print_tables(recorded.describe(options.replay), options.format)


def _play(arguments: list[str]) -> None:
    parser = _Parser("tacit play", description="Play Hanabi with agents: the page opens in the browser.")
    parser.add_argument(
        "words",
        nargs="*",
        metavar="AGENT",
        help="RUN or RUN:SEED (a run directory or a file of the zoo), or a partner's name; one for all other seats or "
        "one for each; without any RUN also game=NAME KEY=VALUE …",
    )
    parser.add_argument("--seat", type=int, default=0, help="yours (%(default)s)")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the first deck; later games have the next (%(default)s)"
    )
    parser.add_argument(
        "--play", choices=["greedy", "sampled"], default="greedy", help="how the agents choose (%(default)s)"
    )
    parser.add_argument("--practice", action="store_true", help="moves can be undone")
    parser.add_argument("--terminal", action="store_true", help="here instead of in the browser")
    parser.add_argument("--port", type=int, default=0, help="of the page (one that is free)")
    parser.add_argument("--no-open", action="store_true", help="print the address only")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where the games are kept (one in played/)")
    parser.add_argument("--study", type=Path, metavar="FILE", help="a session of the study that a YAML file describes")
    parser.add_argument("--participant", type=int, metavar="N", help="go on with this one (the next who has not begun)")
    options = parser.all_of(arguments)
    whole_number("--seed", options.seed, 0, 2**31 - 1)
    if options.study:
        of_game = ("words", "seat", "seed", "play", "practice", "output")
        if given := [name for name in of_game if getattr(options, name) not in ([], parser.get_default(name))]:
            name = "AGENT" if given[0] == "words" else f"--{given[0]}"
            raise TacitError(f"--study says what is played: leave out {name}")
    elif options.participant is not None:
        raise TacitError("--participant belongs to a --study")
    from experiments.people import play, study
    from experiments.people.seat import Settings

    settings = Settings(
        person=options.seat, seed=options.seed, greedy=options.play == "greedy", practice=options.practice
    )
    play.play(
        study.session(options.study, options.participant)
        if options.study
        else play.sitting(options.words, settings, options.output),
        in_terminal=options.terminal,
        port=options.port,
        opened=not options.no_open,
    )


def _verify(arguments: list[str]) -> int:
    parser = _Parser("tacit verify", description="Compare the engine with HLE, step by step.")
    parser.add_argument("game", choices=["hanabi"])
    parser.add_argument("--steps", type=int, default=20_000, help="steps to compare at the least (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of boards, decks and actions (%(default)s)")
    options = parser.all_of(arguments)
    whole_number("--seed", options.seed, 0)
    from games.hanabi.verify import verify

    report = verify(
        steps=options.steps,
        seed=options.seed,
        on_progress=lambda report: terminal.say(
            f"{report.steps} of {options.steps} steps, {report.boards} boards, {len(report.differences)} differences"
        ),
    )
    print(report)
    return 1 if report.differences else 0


COMMANDS: Mapping[str, Callable[[list[str]], int | None]] = MappingProxyType(
    {
        "train": functools.partial(_configured, "train"),
        "crossplay": _crossplay,
        "zoo": _zoo,
        "compare": _compare,
        "report": _report,
        "export": _export,
        "status": _status,
        "runs": _runs,
        "methods": _methods,
        "conventions": _conventions,
        "phase": functools.partial(_configured, "phase"),
        "zsc-table": functools.partial(_configured, "zsc_table"),
        "structure-table": functools.partial(_configured, "structure_table"),
        "adaptive": functools.partial(_configured, "adaptive"),
        "symmetries": _symmetries,
        "games": _games,
        "play": _play,
        "verify": _verify,
        "config": _config,
    }
)
"""What each command does with its arguments; it returns the status to exit with, or None for 0."""
