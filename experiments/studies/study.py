"""The common part of all commands of the exact lab: check a configuration, compute it as a run, and show it.

What is specific to a command is a `Study` in a module of its own. This module handles run directories, errors,
progress, reuse of finished runs, sweeps (-m), tables in every format and figures. A run's directory holds, besides
run.json and status.json, the study's JSON file and the arrays that it computed.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar, overload

import numpy as np

from experiments import runs
from experiments.configuration.config import FORMAT, ExecutionConfig, name_of, parse_dataclass, refuse_unknown
from experiments.launching import compose
from experiments.presentation import figures, tables, terminal
from experiments.presentation.tables import SHOWN, Table
from experiments.studies.tabular import build_tabular
from games.errors import TacitError
from games.tabular.simulator import Simulator
from marl.programs import free_programs

Contents = Mapping[str, Any]
"""The contents of a run's JSON file."""
Arrays = Mapping[str, Mapping[str, np.ndarray]]
"""For each .npz file of a run its arrays by name."""


class Report(Protocol):
    """Called with the progress of a run: the stage, how much of it is done, its total, and seconds left if known."""

    def __call__(self, stage: str, done: int, total: int, left: float | None = None) -> None: ...


def silent(stage: str, done: int, total: int, left: float | None = None) -> None:
    """A `Report` that says nothing."""


@dataclasses.dataclass(frozen=True)
class StudyConfig:
    """The fields that the configurations of all studies have. All fields that a study adds are part of the science."""

    game: Mapping[str, Any]
    """The `game` group; empty for a study without a game."""
    execution: ExecutionConfig

    made_by: ClassVar[Mapping[str, Any]]
    """The command, and the versions of what it depends on besides the game; part of the science."""

    @functools.cached_property
    def simulator(self) -> Simulator:
        """The game.

        Raises:
          TacitError: if it is not tabular.
        """
        return build_tabular(self.game)

    @classmethod
    def execution_of(cls, plain: Mapping[str, Any], also: Sequence[str] = ()) -> ExecutionConfig:
        """The `execution` group of a configuration given as nested plain data.

        Raises:
          TacitError: for a key that is neither a field nor in `also`, or an invalid value.
        """
        fields = (field.name for field in dataclasses.fields(cls))
        refuse_unknown("the configuration", plain, (*fields, *also))
        return parse_dataclass(ExecutionConfig, "execution", plain.get("execution", {}))

    def science(self) -> dict[str, Any]:
        """What decides the result, as plain data: the run's name is the hash of this."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del plain["execution"]
        game = {**self.game, "version": self.simulator.version} if self.game else None
        return {**plain, "game": game, "format": FORMAT, **self.made_by}

    def name(self) -> str:
        """Twelve hexadecimal digits: a hash of `science()`."""
        return name_of(self.science())

    def label(self) -> str:
        """A name for this run in progress messages."""
        return self.simulator.name


C = TypeVar("C", bound=StudyConfig)


@dataclasses.dataclass(frozen=True)
class Study(Generic[C]):
    """A command of the exact lab."""

    command: str
    """Its name as a command of `tacit`; part of the science of its runs."""
    root: str
    """Its configuration, conf/ROOT.yaml."""
    file: str
    """The JSON file of a run."""
    parse: Callable[[Mapping[str, Any]], Sequence[C]]
    """Parses a configuration, given as nested plain data, into runs; an error in it raises a `TacitError`."""
    prepare: Callable[[C, Report], Callable[[], tuple[dict[str, Any], Arrays]]]
    """Checks that a run can be computed, and returns the computation of its JSON contents and arrays."""
    tables: Callable[[Sequence[Contents]], Sequence[Table]]
    """Makes the tables of one or several runs."""
    draw: Callable[[Contents, str], Mapping[str, Callable[[], figures.Figure]]]
    """Given a run's contents and a suffix for titles, functions that draw its figures, by name."""
    draw_together: Callable[[Sequence[Contents]], figures.Figure] | None = None
    """Draws the figure of several runs; then table and figure are also stored in a folder below compare/."""
    together: Callable[[Sequence[Contents]], Sequence[Contents]] = tuple
    """Adds values that depend on several runs to their contents."""
    objective: Callable[[Contents], float | None] = lambda contents: None
    """The objective of a search, from a run's contents."""
    in_full: Callable[[C, dict[str, Any], Path], dict[str, Any]] = lambda config, contents, path: contents
    """Adds to a run's contents, for Python, what the other files of its directory hold."""


class Results(Sequence[dict[str, Any]]):
    """The contents of finished runs of a study: `results[0]`, `len(results)`, `for one in results`, `some + others`.

    Each is what the run's JSON file holds, with what `Study.in_full` and `Study.together` add. Printed they are tables.
    Some of them, `some[2:]`, keep what was added of all; of a sum it is of the sum.
    """

    def __init__(self, study: Study, contents: Sequence[Contents], together: Sequence[Contents] | None = None):
        self.study = study
        self._alone = list(contents)
        self._contents = [dict(one) for one in (study.together(contents) if together is None else together)]

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> "Results": ...
    def __getitem__(self, index: int | slice) -> "dict[str, Any] | Results":
        if isinstance(index, slice):
            return Results(self.study, self._alone[index], self._contents[index])
        return self._contents[index]

    def __len__(self) -> int:
        return len(self._contents)

    def __add__(self, other: "Results") -> "Results":
        if not isinstance(other, Results) or other.study is not self.study:
            return NotImplemented
        return Results(self.study, [*self._alone, *other._alone])

    def tables(self) -> list[Table]:
        """The tables that the command shows."""
        return list(self.study.tables(self._contents))

    def __repr__(self) -> str:
        return f"<{len(self)} results of tacit {self.study.command}>"

    def __str__(self) -> str:
        return tables.as_markdown(self.tables())

    def _repr_markdown_(self) -> str:
        return str(self)


class Job(NamedTuple):
    """A checked configuration: the runs that it stands for."""

    runs: Sequence[StudyConfig]

    @property
    def execution(self) -> ExecutionConfig:
        """The `execution` group, the same for all runs."""
        return self.runs[0].execution


def main(study: Study, arguments: Sequence[str], form: str = SHOWN) -> None:
    """Run `tacit COMMAND ARGUMENTS` and print its tables in a format.

    Raises:
      TacitError: for anything wrong with the configuration, before anything is computed.
    """
    command = compose.Command(
        study.command,
        study.root,
        parse=lambda plain: Job(study.parse(plain)),
        run=functools.partial(_run, study, form=form),
        members=lambda job: job.runs,
        conclude=lambda paths, draw: _show(study, paths, [read(study, path) for path in paths], form, draw=draw),
    )
    compose.main(command, arguments)


def configs(study: Study[C], arguments: Sequence[str]) -> list[C]:
    """The runs that the arguments of a command stand for, including those of a sweep over KEY=A,B.

    Raises:
      TacitError: for anything wrong with one of them.
    """
    return [config for plain in compose.jobs(arguments, study.root) for config in study.parse(plain)]


def results(study: Study, arguments: Sequence[str]) -> Results:
    """Compute the runs that the arguments of a command stand for, unless they are finished, and read them.

    Raises:
      TacitError: as the command.
    """
    made = [(config, make(study, config)) for config in configs(study, arguments)]
    return Results(study, [study.in_full(config, read(study, path), path) for config, path in made])


def games_of(plain: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The `game` group of a configuration or, if it has none, the groups of its list `games`.

    An entry of the list is a game's name followed by keys of the game, such as "hint size=3".

    Raises:
      TacitError: if the configuration has neither, or for a key that a game does not have.
    """
    if plain.get("game") is not None:
        return [dict(plain["game"])]
    games = [plain["games"]] if isinstance(plain["games"], str) else plain["games"]
    if not isinstance(games, list | tuple) or not games:
        raise TacitError(f"games must be a list of games, such as [lever,dectiger], not {games!r}; or give game=NAME")
    listed = [str(game).split() for game in games]
    return [compose.composed_game([f"game={name}", *changes]) for name, *changes in listed]


def make(study: Study[C], config: C, *, report: Report = silent) -> Path:
    """Compute a run unless it is finished, and return its directory.

    Raises:
      TacitError: if the directory is taken; and, before it is made, if the study refuses the game.
    """
    root, overwrite = Path(config.execution.output), config.execution.overwrite
    path = root / config.name()
    if not runs.needs_training(path, config, overwrite=overwrite):
        return path
    free_programs()  # of the runs before this one
    compute = study.prepare(config, report)
    with runs.in_progress(root, config, overwrite=overwrite):
        contents, arrays = compute()
        for file, own in arrays.items():
            runs.write_arrays(path / file, own)
        runs.write_json(path / study.file, contents)
    return path


def read(study: Study, path: Path) -> dict[str, Any]:
    """The contents of a finished run's JSON file.

    Raises:
      TacitError: if the run is not finished, is of another command, or is damaged.
    """
    runs.check_finished(path, command=study.command)
    return runs.read_json(path / study.file)


def _run(study: Study, job: Job, *, in_sweep: bool = False, form: str) -> float | None:
    """Make the runs of a job and draw their figures; unless the job is part of a sweep, also show its tables."""
    paths = []
    with terminal.counter(show=job.execution.progress and form == SHOWN) as report:
        for number, config in enumerate(job.runs, start=1):
            label = "" if len(job.runs) == 1 else f"{number} of {len(job.runs)}, {config.label()}: "

            def on_stage(stage: str, done: int, total: int, left: float | None = None, label: str = label) -> None:
                report(f"{label}{stage}", done, total, left)

            paths.append(make(study, config, report=on_stage))
    contents = [read(study, path) for path in paths]
    if job.execution.figures:
        for path, one in zip(paths, contents, strict=True):
            for name, draw in study.draw(one, f"run {path.name}").items():
                if not (path / f"{name}.svg").exists():
                    figures.save(draw(), path / name)
    if not in_sweep:
        _show(study, paths, contents, form, draw=job.execution.figures)
    return study.objective(contents[-1])


def _show(study: Study, paths: Sequence[Path], contents: Sequence[Contents], form: str, *, draw: bool) -> None:
    """Print the tables of finished runs; if the study compares runs, also write table and figure to a folder."""
    contents = study.together(contents)
    found = study.tables(contents)
    below = [f"run {path}" for path in paths]
    if study.draw_together is None:
        tables.print_tables(found, form, below=below)
        return
    folder = runs.make_folder(paths[0].parent / "compare" / name_of({"runs": [path.name for path in paths]}))
    runs.write_bytes(folder / "table.md", ("\n\n".join(map(tables.markdown, found)) + "\n").encode())
    runs.write_json(folder / "table.json", list(contents))
    if draw:
        figures.save(study.draw_together(contents), folder / "table")
    tables.print_tables(found, form, below=[*below, terminal.where(folder)])
