"""`tacit adaptive`: an agent that infers its partner's reasoning depth in a repeated matrix game, as a run.

A run's directory holds, besides run.json and status.json,

    adaptive.json   the policies of the levels, exact returns and regrets of all agents with partners of each level, the
                    mean beliefs of the adaptive agent before each round, which partner levels have equal policies
    adaptive.*      the regrets and the beliefs as a figure
"""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from experiments.configuration.config import FORMAT, canonical
from experiments.studies import exact_figures, exact_tables
from experiments.studies.study import Arrays, Report, Study, StudyConfig
from experiments.studies.tabular import parameters
from games.errors import TacitError, number, whole_number
from games.tabular.simulator import Simulator
from marl.exact.adaptive import adaptive_table, reasoning_levels

_MOST_ROUNDS = 1000
_MOST_LEVELS = 20

Row = tuple[float, ...]
Rows = tuple[Row, ...]


@dataclasses.dataclass(frozen=True)
class AdaptiveConfig(StudyConfig):
    """A repeated matrix game, checked: either `game` or `payoffs`. The keys are explained in conf/adaptive.yaml.

    Raises:
      TacitError: in one sentence, for an unknown key, a value out of range, or a game that is not a matrix game.
    """

    made_by: ClassVar = {"command": "adaptive"}

    payoffs: Rows | None
    rounds: int
    levels: int
    level_zero: tuple[Row, Row] | None

    @classmethod
    def parse(cls, plain: Mapping[str, Any]) -> Sequence["AdaptiveConfig"]:
        """Read nested plain data as hydra composes it from conf/adaptive.yaml.

        Raises:
          TacitError: for an unknown key or an invalid value, naming it.
        """
        execution = cls.execution_of(plain)
        game, payoffs, level_zero = (plain.get(key) for key in ("game", "payoffs", "level_zero"))
        if (game is None) == (payoffs is None):
            raise TacitError(
                "adaptive needs either game=NAME, such as lever, or a matrix, such as payoffs=[[1,0],[0,1]]"
                "; a key of the game of that name is game.payoffs"
            )
        config = cls(
            game=dict(game or {}),
            execution=execution,
            payoffs=None if payoffs is None else _rows("payoffs", payoffs),
            rounds=whole_number("rounds", plain.get("rounds"), 1, _MOST_ROUNDS),
            levels=whole_number("levels", plain.get("levels"), 0, _MOST_LEVELS),
            level_zero=None if level_zero is None else _distributions("level_zero", level_zero),
        )
        config.matrix()  # refuses anything but a matrix game
        return [config]

    def matrix(self) -> np.ndarray:
        """float64[A, B], the reward of both players.

        Raises:
          TacitError: if the rows of `payoffs` differ in length, or the game is not a matrix game.
        """
        if self.payoffs is not None:
            if len(lengths := {len(row) for row in self.payoffs}) > 1:
                said = " and ".join(map(str, sorted(lengths)))
                raise TacitError(f"payoffs must be rows of one length, not of {said}")
            return np.array(self.payoffs)
        return matrix_of(self.simulator)


def matrix_of(simulator: Simulator) -> np.ndarray:
    """float64[A, B], the mean rewards of a matrix game: two players choose once, without observations.

    Raises:
      TacitError: if the game is not a matrix game.
    """
    problem = simulator.problem
    if problem.num_agents != 2:
        raise TacitError(f"adaptive needs a game of 2 players, and {simulator.name} has {problem.num_agents}")
    if simulator.horizon > 1 or problem.initial_observation is not None:
        why = f"horizon {simulator.horizon}" if simulator.horizon > 1 else "observations before the first action"
        raise TacitError(f"adaptive repeats a matrix game, and {simulator.name} is none: it has {why}")
    return (problem.expected_reward @ problem.start).reshape(problem.num_actions)


def _rows(name: str, given: Any) -> Rows:
    """Lists of numbers, none of them empty."""
    for rows in (given, *(given if isinstance(given, list | tuple) else ())):
        if not isinstance(rows, list | tuple) or not rows:
            raise TacitError(f"{name} must be a list of lists of numbers, such as [[1,0],[0,1]], not {given!r}")
    return tuple(tuple(number(name, entry, -math.inf) for entry in row) for row in given)


def _distributions(name: str, given: Any) -> tuple[Row, Row]:
    rows = _rows(name, given)
    if len(rows) != 2:
        raise TacitError(f"{name} must be 2 distributions, of the row and of the column player, not {len(rows)}")
    return rows[0], rows[1]


def _contents(config: AdaptiveConfig) -> dict[str, Any]:
    """The contents of adaptive.json."""
    matrix = config.matrix()
    table = adaptive_table(matrix, config.rounds, config.levels, level_zero=config.level_zero)
    rows, columns = reasoning_levels(matrix, config.levels, level_zero=config.level_zero)
    if config.payoffs is not None:
        game, given = "matrix", {"payoffs": json.dumps(canonical(config.payoffs), separators=(",", ":"))}
    else:
        game, given = config.simulator.name, parameters(config.game)
    alike: dict[bytes, list[int]] = {}
    for level, own in enumerate(columns):
        alike.setdefault(own.tobytes(), []).append(level)
    return {
        "format": FORMAT,
        "game": game,
        "parameters": given,
        "rounds": config.rounds,
        "row_player": rows.tolist(),
        "column_player": columns.tolist(),
        "alike": list(alike.values()),
        **{name: np.asarray(value).tolist() for name, value in table._asdict().items()},
    }


def _prepare(config: AdaptiveConfig, report: Report) -> Callable[[], tuple[dict[str, Any], Arrays]]:
    contents = _contents(config)
    return lambda: (contents, {})


STUDY = Study(
    command="adaptive",
    root="adaptive",
    file="adaptive.json",
    parse=AdaptiveConfig.parse,
    prepare=_prepare,
    tables=lambda contents: list(map(exact_tables.adaptive, contents)),
    draw=lambda contents, run: {
        "adaptive": lambda: exact_figures.adaptive(contents, f"{exact_tables.adaptive_title(contents)}, {run}")
    },
)
