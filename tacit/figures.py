"""Figures of what the functions of `tacit` return; each is a matplotlib Figure, which a notebook shows.

    tacit.figures.comparison(tacit.compare(runs))

`figure.savefig(PATH)` keeps one.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from experiments.analysis.compare_figures import figure as comparison
from experiments.analysis.conventions_tables import figure as conventions
from experiments.presentation import figures as _training
from experiments.presentation.statistics_figures import coverage, intervals, matrix_and_estimates
from experiments.runs.collection import PLAYS
from experiments.studies.exact_figures import (
    branch_diagram,
    hysteresis,
    outcomes,
    phase_diagram,
    solutions,
    windows,
    zsc_table,
)
from experiments.studies.structure_figures import (
    calibration_parts,
    gap_parts,
    retention_by_agents,
    search_effect,
    soft_isolation,
    structure_table,
)
from games.errors import some_of

if TYPE_CHECKING:
    from experiments.analysis.methods import MethodsTable
    from experiments.runs import Record

__all__ = [
    "branch_diagram",
    "calibration_parts",
    "comparison",
    "conventions",
    "coverage",
    "crossplay",
    "gap_parts",
    "hysteresis",
    "intervals",
    "learning_curves",
    "matrix_and_estimates",
    "methods",
    "outcomes",
    "phase_diagram",
    "retention_by_agents",
    "search_effect",
    "soft_isolation",
    "solutions",
    "structure_table",
    "windows",
    "zsc_table",
]


def crossplay(run: "Record", title: str = "", *, plays: str | Sequence[str] = PLAYS) -> _training.Figure:
    """The scores of a training run's seeds with each other, a heat map for each play; on the diagonal with themselves.

    Args:
      run: a finished training run.
      title: by default the names of game and run.
      plays: sampled, greedy, or a list of one or both.

    Raises:
      TacitError: if the run has no cross-play, or plays are others.
    """
    plays, found = some_of("plays", plays, PLAYS), run.crossplay()
    results = {play: found[play] for play in plays}
    return _training.crossplay_matrices(results, run.game.score_range, title or _title(run))


def learning_curves(run: "Record", title: str = "") -> _training.Figure:
    """Returns, entropies and scores of a training run against its steps, a line for each seed.

    Args:
      run: a training run.
      title: by default the names of game and run.
    """
    return _training.learning_curves(run.metrics(), title or _title(run))


def methods(table: "MethodsTable") -> _training.Figure:
    """The scores of methods with each other, a heat map for each play, from `tacit.methods`."""
    return _training.methods(table.blocks, table.score_range, table.game)


def _title(run: "Record") -> str:
    return f"{run.game.name}, run {run.name}"
