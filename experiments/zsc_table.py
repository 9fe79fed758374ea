"""`tacit zsc-table`: all exact methods of zero-shot coordination on tabular games, a run for each game.

A run's directory holds, beside run.json and status.json,

    zsc.json        for each method its self-play and cross-play, the gap to the best equivariant value, or why it does
                    not apply; the methods' cross-play with each other; the best values
    policies.npz    the joint policies that each method ends in (<method>_agent_<k>, [N, H, A] log-probabilities)
    crossplay.*     the matrix of methods

and a folder below `compare/`, named after the runs, the table of all games and its figure.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments import compose, exact, exact_tables, figures, runs, tables, terminal
from experiments.config import FORMAT, ExecutionConfig, build_game, name_of, parse_dataclass, refuse_unknown
from experiments.tables import SHOWN
from games.errors import TacitError, one_of, whole_number
from games.tabular import histories
from games.tabular.simulator import Simulator
from marl.exact import crossplay
from marl.exact.equivariant import best_equivariant
from marl.exact.methods import METHODS, Setting, between, score
from marl.exact.optimum import optimum

COMMAND = "zsc-table"
ROOT = "zsc_table"
"""The configuration of `tacit zsc-table` in conf/."""
_MOST_STARTS = 1000

Report = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True)
class ZscConfig:
    """The methods on one game, checked. The keys are explained in conf/zsc_table.yaml.

    Raises:
      TacitError: in one sentence, for an unknown key or a value out of range.
    """

    game: Mapping[str, Any]
    execution: ExecutionConfig
    method: tuple[str, ...]
    agent_swaps: bool
    starts: int
    seed: int

    @classmethod
    def parse(cls, plain: Mapping[str, Any]) -> "ZscConfig":
        """Read nested plain data as hydra composes it from conf/zsc_table.yaml.

        Raises:
          TacitError: for a key that does not exist or a value that is none, naming it; if not 2 players play.
        """
        refuse_unknown("the configuration", plain, (*(field.name for field in dataclasses.fields(cls)), "games"))
        simulator = exact.build_tabular(plain["game"])
        if simulator.num_players != 2:
            raise TacitError(f"zsc-table needs a game of 2 players, and {simulator.name} has {simulator.num_players}")
        known = tuple(method.key for method in METHODS)
        given = plain.get("method")
        chosen = known if given is None else given if isinstance(given, list | tuple) else [given]
        if not chosen:
            raise TacitError("method must be one or several methods, not an empty list")
        for method in chosen:
            one_of("method", method, known)
        return cls(
            game=dict(plain["game"]),
            execution=parse_dataclass(ExecutionConfig, "execution", plain.get("execution", {})),
            method=tuple(method for method in known if method in chosen),
            agent_swaps=one_of("agent_swaps", plain.get("agent_swaps"), (True, False)),
            starts=whole_number("starts", plain.get("starts"), 2, _MOST_STARTS),
            seed=whole_number("seed", plain.get("seed"), 0, 2**31 - 3),
        )

    def science(self) -> dict[str, Any]:
        """What decides the result, as plain data: the run's name is the hash of this."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del plain["execution"]
        game = {**self.game, "version": build_game(self.game).version}
        made = {"format": FORMAT, "command": COMMAND, "search": exact.SEARCH}
        return {**plain, **made, "method": list(self.method), "game": game}

    def name(self) -> str:
        """Twelve hexadecimal digits that stand for `science()`."""
        return name_of(self.science())


def configs(arguments: Sequence[str]) -> list[ZscConfig]:
    """One configuration for each game that KEY=VALUE arguments stand for; KEY=A,B are several games (or methods).

    Raises:
      TacitError: for anything wrong with one of them.
    """
    overrides = compose.each_game(arguments, ROOT, lists=("method",))
    return [ZscConfig.parse(compose.compose(one, ROOT)) for one in overrides]


def run_zsc(config: ZscConfig, *, report: Report = lambda stage, done, total: None) -> Path:
    """Carry out the methods on one game, or find the finished run: its directory.

    Raises:
      TacitError: if the directory is taken; and, before there is one, if the game is too large or its symmetries cannot
        be computed.
    """
    root = Path(config.execution.output)
    path = root / config.name()
    if not runs.needs_training(path, config, overwrite=config.execution.overwrite):
        return path
    simulator = exact.build_tabular(config.game)
    setting, best = _setting(config, simulator, report)
    with runs.in_progress(root, config, overwrite=config.execution.overwrite):
        _compute(config, simulator, setting, best, path, report)
    return path


def read_zsc(path: Path) -> dict[str, Any]:
    """The contents of a finished run's zsc.json.

    Raises:
      TacitError: if the run is not finished, is of another kind, or is damaged.
    """
    runs.check_finished(path, command=COMMAND)
    return runs.read_json(path / "zsc.json")


def run(configs: Sequence[ZscConfig], form: str = SHOWN) -> None:
    """The methods on all games: runs, figures, and the table, printed in a format."""
    execution = configs[0].execution
    for config in configs:
        simulator = exact.build_tabular(config.game)
        histories.build(simulator.problem, simulator.horizon)  # refuses what is too large before the first game is made
    paths = []
    with terminal.counter(show=execution.progress and form == SHOWN) as report:
        for number, config in enumerate(configs):
            label = f"{number + 1} of {len(configs)}, {build_game(config.game).name}"

            def on_game(stage: str, done: int, total: int, label: str = label) -> None:
                report(f"{label}: {stage}", done, total)

            paths.append(run_zsc(config, report=on_game))
    contents = [read_zsc(path) for path in paths]
    names = "".join(path.name for path in paths)
    folder = Path(execution.output) / "compare" / hashlib.sha256(names.encode()).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    table = exact_tables.methods(contents)
    runs.write_bytes(folder / "table.md", (tables.markdown(table) + "\n").encode())
    if execution.figures:
        for path, one in zip(paths, contents, strict=True):
            if not (path / "crossplay.svg").exists():
                title = f"{exact_tables.title(one)}, run {path.name}"
                figures.save(figures.zsc_matrix(one, title), path / "crossplay")
        figures.save(figures.zsc_table(contents, exact_tables.games(contents)), folder / "table")
    tables.put([table], form)
    if form == SHOWN:
        for path in paths:
            print(f"run {path}")
        terminal.say_where(folder)


def main(arguments: Sequence[str], form: str = SHOWN) -> None:
    """Run `tacit zsc-table ARGUMENTS` and print the table in a format.

    Raises:
      TacitError: for anything wrong with the configuration, before anything compiles.
    """
    run(configs(arguments), form)


def _setting(config: ZscConfig, simulator: Simulator, report: Report) -> tuple[Setting, dict[str, Any]]:
    """What methods are given, and the best values as plain data."""
    tree, both = simulator.tree, exact.groups(simulator)
    report("best policies", 0, len(config.method))
    best = optimum(simulator.problem, simulator.horizon, seed=config.seed)
    group, tied, known = both.no_swap, best, {"optimum": exact.bounds_of(best)}
    if group.policy_order > 1:
        tied = best_equivariant(tree, group, upper_bound=best.upper_bound, seed=config.seed)
    if config.agent_swaps and both.swap.policy_order > group.policy_order:
        # A policy that also respects the swaps is one of those that respect the rest.
        group = both.swap
        tied = best_equivariant(tree, group, upper_bound=tied.upper_bound, seed=config.seed)
    known["equivariant"] = exact.bounds_of(tied)
    return Setting(tree, group, best.value, tied.value, starts=config.starts, seed=config.seed), known


def _compute(
    config: ZscConfig, simulator: Simulator, setting: Setting, best: dict[str, Any], path: Path, report: Report
) -> None:
    tree = setting.tree
    rows: list[dict[str, Any]] = []
    scores, arrays = [], {}
    chosen = [method for method in METHODS if method.key in config.method]
    for number, method in enumerate(chosen):
        report(method.name, number, len(chosen))
        said = {"name": method.name, "source": method.source, "uses": method.uses}
        try:
            outcomes = method.outcomes(setting)
        except TacitError as error:
            rows.append({**said, "refused": str(error)})
            continue
        scored = score(setting, outcomes)
        scores.append(scored)
        arrays |= {f"{method.key}_agent_{k}": own for k, own in enumerate(outcomes.log_probs)}
        rows.append(
            {
                **said,
                "refused": None,
                "note": outcomes.note,
                "outcomes": len(outcomes.log_probs[0]),
                "self_play": scored.self_play,
                "cross_play": scored.cross_play,
                "gap": setting.best_equivariant - scored.cross_play,
            }
        )
    runs.write_arrays(path / "policies.npz", arrays)
    with np.errstate(divide="ignore"):
        random = crossplay.self_play(tree, tuple(np.log(own)[None] for own in tree.uniform()))
    runs.write_json(
        path / "zsc.json",
        {
            "format": FORMAT,
            "game": simulator.name,
            "parameters": {key: value for key, value in config.game.items() if key not in exact.NO_PARAMETERS},
            "horizon": simulator.horizon,
            "discount": simulator.problem.discount,
            "histories": [own.size for own in tree.agents],
            "agent_swaps": config.agent_swaps,
            "symmetries": str(setting.group.policy_order),
            "methods": rows,
            "matrix": between(tree, scores).tolist() if scores else [],
            "random": float(random[0]),
            **best,
        },
    )
