"""One shape for all commands of the exact lab: a configuration is checked, computed as a run, and shown.

What a study is about stands in a module of its own, as a `Study`. Run directories, refusals, progress, finished runs
that are found again, sweeps (-m), tables in every format and figures come from here. A run's directory holds, beside
run.json and status.json, the study's JSON file and whatever arrays it computed.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np

from experiments import runs
from experiments.configuration.config import FORMAT, ExecutionConfig, name_of, parse_dataclass, refuse_unknown
from experiments.launching import compose
from experiments.presentation import figures, tables, terminal
from experiments.presentation.tables import SHOWN, Table
from experiments.studies.tabular import build_tabular
from games.errors import TacitError
from games.tabular.simulator import Simulator

Contents = Mapping[str, Any]
"""What the JSON file of a run says."""
Report = Callable[[str, int, int], None]
"""Is told how a run stands: the stage, and how much of it is done of how much."""
Arrays = Mapping[str, Mapping[str, np.ndarray]]
"""Arrays by name, by the .npz file that they belong into."""


@dataclasses.dataclass(frozen=True)
class StudyConfig:
    """What the configurations of all studies have; a study adds fields of its own, all of them part of the science."""

    game: Mapping[str, Any]
    """Empty if it is about none."""
    execution: ExecutionConfig

    made_by: ClassVar[Mapping[str, Any]]
    """The command, and the versions of what it depends on beside the game: part of the science, too."""

    @functools.cached_property
    def simulator(self) -> Simulator:
        """The game.

        Raises:
          TacitError: if it is not tabular.
        """
        return build_tabular(self.game)

    @classmethod
    def execution_of(cls, plain: Mapping[str, Any], also: Sequence[str] = ()) -> ExecutionConfig:
        """How a configuration, nested plain data, is to be carried out.

        Raises:
          TacitError: for a key that is none of the fields, nor one of `also`; for a value that is none.
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
        """Twelve hexadecimal digits that stand for `science()`."""
        return name_of(self.science())

    def label(self) -> str:
        """Which run of several this is, for whoever watches."""
        return self.simulator.name


C = TypeVar("C", bound=StudyConfig)


@dataclasses.dataclass(frozen=True)
class Study(Generic[C]):
    """A command of the exact lab."""

    command: str
    """Of `tacit`, and in the science of its runs."""
    root: str
    """Its configuration, conf/ROOT.yaml."""
    file: str
    """The JSON file of a run."""
    parse: Callable[[Mapping[str, Any]], Sequence[C]]
    """The runs that a configuration, given as nested plain data, stands for; refuses what is wrong in one sentence."""
    prepare: Callable[[C, Report], Callable[[], tuple[dict[str, Any], Arrays]]]
    """Refuses what cannot be computed, and returns the computation: what the JSON file says, and the arrays."""
    tables: Callable[[Sequence[Contents]], Sequence[Table]]
    """Of some runs."""
    draw: Callable[[Contents, str], Mapping[str, Callable[[], figures.Figure]]]
    """What draws the figures of one run, by name, given its contents and what is to be added to a title."""
    draw_together: Callable[[Sequence[Contents]], figures.Figure] | None = None
    """The figure of some runs in one table, which then has a folder below compare/."""
    together: Callable[[Sequence[Contents]], Sequence[Contents]] = tuple
    """What the contents of some runs say together."""
    objective: Callable[[Contents], float | None] = lambda contents: None
    """What a sweeper that searches is told of a run."""


class Job(NamedTuple):
    """A checked configuration: the runs that it stands for."""

    runs: Sequence[StudyConfig]

    @property
    def execution(self) -> ExecutionConfig:
        """How they are carried out."""
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
    """The runs that the arguments of a command stand for, those of a sweep over KEY=A,B among them.

    Raises:
      TacitError: for anything wrong with one of them.
    """
    return [
        config
        for job in compose.grid(arguments, study.root)
        for config in study.parse(compose.compose(job, study.root))
    ]


def games_of(plain: Mapping[str, Any], root: str) -> list[dict[str, Any]]:
    """The `game` group of a configuration of conf/ROOT.yaml or, if it has none, those of its list `games`.

    Each of these is a name, and what is changed in that game: "hint size=3".

    Raises:
      TacitError: if there is neither.
    """
    if plain.get("game") is not None:
        return [dict(plain["game"])]
    games = [plain["games"]] if isinstance(plain["games"], str) else plain["games"]
    if not isinstance(games, list | tuple) or not games:
        raise TacitError(f"games must be a list of games, such as [lever,dectiger], not {games!r}; or give game=NAME")
    listed = [str(game).split() for game in games]
    return [compose.compose([f"game={name}", *changes], root)["game"] for name, *changes in listed]


def make(study: Study[C], config: C, *, report: Report = lambda stage, done, total: None) -> Path:
    """Compute a run, or find the finished one: its directory.

    Raises:
      TacitError: if the directory is taken; and, before there is one, if the study refuses the game.
    """
    root, overwrite = Path(config.execution.output), config.execution.overwrite
    path = root / config.name()
    if not runs.needs_training(path, config, overwrite=overwrite):
        return path
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
    """Make the runs of a job with their figures and, unless it is one of a sweep, show them."""
    paths = []
    with terminal.counter(show=job.execution.progress and form == SHOWN) as report:
        for number, config in enumerate(job.runs, start=1):
            label = "" if len(job.runs) == 1 else f"{number} of {len(job.runs)}, {config.label()}: "

            def on_stage(stage: str, done: int, total: int, label: str = label) -> None:
                report(f"{label}{stage}", done, total)

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
    """Print the tables of finished runs and, if these are compared, keep table and figure in a folder."""
    contents = study.together(contents)
    found = study.tables(contents)
    below = [f"run {path}" for path in paths]
    if study.draw_together is None:
        tables.put(found, form, below=below)
        return
    folder = paths[0].parent / "compare" / name_of({"runs": [path.name for path in paths]})
    folder.mkdir(parents=True, exist_ok=True)
    runs.write_bytes(folder / "table.md", ("\n\n".join(map(tables.markdown, found)) + "\n").encode())
    runs.write_json(folder / "table.json", list(contents))
    if draw:
        figures.save(study.draw_together(contents), folder / "table")
    tables.put(found, form, below=[*below, terminal.where(folder)])
