"""The ladder of boards: for every rung a budget, five coefficients on seeds 0 to 7, three of them on 16 fresh seeds.

A rung is three pieces. `ladder_BOARD_budget` doubles the budget at the lowest coefficient; the budget of the rung is
the one after which greedy self-play gains less than a hundredth, or else the greatest. `ladder_BOARD_locate` has the
five coefficients with it; and `ladder_BOARD` reports the lowest and the two between which the gap is closed.
"""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from docs.records import (
    Found,
    Piece,
    Records,
    current_runs,
    entropy_coef,
    estimates_of,
    greedy_conventions,
    greedy_curve,
    markdown,
    save_figure,
    science,
)
from experiments import runs
from experiments.presentation import ladder_figures, tables
from experiments.presentation.ladder_figures import Point
from games.errors import TacitError
from marl.crossplay import estimators, self_play_seatings
from marl.crossplay.closing import Closing, closing_coefficient
from marl.crossplay.estimators import Estimate

COEFFICIENTS = (0.003, 0.01, 0.03, 0.1, 0.3)
SHARE = 0.9
"""How much of the gap has to be closed."""


class Rung(NamedTuple):
    """A board and what is spent on it; the greatest budget fits two hours on two cores."""

    game: str
    budgets: tuple[int, ...]
    """Steps of each seed, doubling."""
    seeds: int = 16
    """Fresh ones."""


_SMALL = (500_000, 1_000_000, 2_000_000, 4_000_000)
_LARGE = (1_000_000, 2_000_000, 4_000_000, 8_000_000)
RUNGS = {
    "2×3": Rung("hanabi_2x3", _SMALL),
    "2×5": Rung("hanabi_2x5", _SMALL),
    "3×3": Rung("hanabi_3x3", _SMALL),
    "Mini": Rung("hanabi_mini", _SMALL),
    "3×5": Rung("hanabi_3x5", _SMALL),
    "4×5": Rung("hanabi_4x5", _LARGE, seeds=8),
    "5×5": Rung("hanabi", _LARGE, seeds=8),
}


def slug(board: str) -> str:
    """The name of a board in a piece's name."""
    return board.replace("×", "x").replace(" ", "_").lower()


def pieces() -> dict[str, Piece]:
    """The three pieces of every rung."""
    found: dict[str, Piece] = {}
    grid = _listed(COEFFICIENTS)
    for board, rung in RUNGS.items():
        name = f"ladder_{slug(board)}"
        base = f"experiment=ladder game={rung.game}"
        steps = ",".join(map(str, rung.budgets))
        found[f"{name}_budget"] = Piece(
            lambda records, base=base, steps=steps: [
                f"train -m {base} seeds=4 learner.entropy_coef={COEFFICIENTS[0]} budget.steps={steps}"
            ],
            budgets,
            smaller="budget.steps=8192,16384 crossplay.games=20 execution.rows=2",
        )
        found[f"{name}_locate"] = Piece(
            lambda records, base=base, name=name: [
                f"train {base} seeds=8 learner.entropy_coef=[{grid}] budget.steps={budget(records, name)}"
            ],
            measured_rung,
            needs=(f"{name}_budget",),
        )
        found[name] = Piece(
            lambda records, base=base, name=name, seeds=rung.seeds: [
                f"train {base} seeds={seeds} first_seed=100 learner.entropy_coef=[{_listed(reported(records, name))}] "
                f"budget.steps={budget(records, name)}"
            ],
            measured_rung,
            needs=(f"{name}_budget", f"{name}_locate"),
        )
    return found


def budgets(folder: Path, small: bool) -> Found:
    """Greedy self-play at the end of every budget, a row a budget."""
    paths = sorted(current_runs(folder / "runs"), key=_steps)
    numbers = []
    for path in paths:
        crossed = runs.read_crossplay(path)["greedy"].cells
        one = {"steps": _steps(path), "most": runs.read_run(path).game.score_range[1]}
        numbers.append(one | {"self_play": estimators.self_play(*crossed).mean})
    rows, before = [], None
    for one in numbers:
        own = one["self_play"]
        gain = "" if before is None else f"{own / before - 1:+.1%}"
        rows.append([f"{one['steps']:,}", f"{own:.2f}", f"{own / one['most']:.2f}", gain])
        before = own
    head = ["steps a seed", "greedy SP", "of the greatest", "gained by doubling"]
    return Found({"table": markdown(head, rows, 0)}, numbers, paths)


def budget(records: Records, name: str) -> int:
    """The budget of a rung: the least after which doubling gains less than a hundredth, or the greatest.

    Raises:
      TacitError: without the record of its budgets.
    """
    found = _numbers(records, f"{name}_budget")
    for one, doubled in itertools.pairwise(found):
        if doubled["self_play"] < 1.01 * one["self_play"]:
            return one["steps"]
    return found[-1]["steps"]


def reported(records: Records, name: str) -> tuple[float, ...]:
    """Three coefficients of a rung: the lowest, and the two between which seeds 0 to 7 close the gap.

    These are the two highest if nothing closes it, and the second and third if the second does.

    Raises:
      TacitError: without the record of its five coefficients.
    """
    runs_ = _numbers(records, f"{name}_locate")["runs"]
    gaps = [one["gap"]["mean"] for one in runs_]
    closed = next((place for place, gap in enumerate(gaps) if gap <= (1 - SHARE) * gaps[0]), len(gaps) - 1)
    upper = max(2, closed)
    return tuple(runs_[place]["entropy_coef"] for place in (0, upper - 1, upper))


def measured_rung(folder: Path, small: bool) -> Found:
    """A row for each coefficient: greedy scores, defect, distance and convention gaps; below, what closes the gap."""
    paths = sorted(current_runs(folder / "runs"), key=entropy_coef)
    found = [_row(path, games=20 if small else 1000) for path in paths]
    head = ["entropy_coef", "SP", "XP", "SP − XP", "defect", "distance", "convention gap, SP", "convention gap, XP"]
    rows = []
    for one in found:
        scores = [tables.text_of(one[key]) for key in ("self_play", "cross_play", "gap")]
        gaps = [tables.text_of(one[key], 3) for key in ("own", "met")]
        rows.append([
            f"{one['entropy_coef']:g}", *scores, tables.text_of(one["defect"], 3), f"{one['distance']:.3f}", *gaps
        ])  # fmt: skip
    closing = closing_coefficient([one["entropy_coef"] for one in found], [one["matrix"] for one in found], share=SHARE)
    table = f"{markdown(head, rows)}\n\ngreedy play; {SHARE:.0%} of the gap is closed at {in_words(closing, found)}"
    if not reached(found[0]["self_play"].mean, found[0]["most"]):
        table += f"; not reached: SP at {found[0]['entropy_coef']:g} is below half of {found[0]['most']:g}"
    numbers = [{**one, "matrix": np.round(one["matrix"], 4).tolist()} for one in found]
    literal = [
        {
            "players": 2,
            "most": one["most"],
            "entropy_coef": one["entropy_coef"],
            "greedy": {"score": one["cross_play"], "self_play": one["own"], "cross_play": one["met"]},
        }
        for one in numbers
    ]
    plain = {"runs": numbers, "closing": closing._asdict(), "literal": literal}
    return Found({"table": table}, _plain(plain), paths, measured=True)


def _row(path: Path, *, games: int) -> dict[str, Any]:
    """What a run of the ladder is measured by, in greedy play."""
    crossed = runs.read_crossplay(path)["greedy"]
    play = greedy_conventions(path, games=games)
    assert not isinstance(play.relabelled, str) and not isinstance(play.conventions, str)
    assert not isinstance(play.gaps, str)
    alone = self_play_seatings(len(play.self_play), 2)
    low, high = runs.read_run(path).game.score_range
    summary = estimators.summarise(*crossed.cells).within(low, high)
    return {
        "entropy_coef": entropy_coef(path),
        "most": high,
        **estimates_of(summary),
        "defect": estimators.self_play(alone, np.array([one.mean for one in play.relabelled.defect])),
        "distance": play.conventions.mean_distance,
        "own": play.gaps.plays.over_seeds,
        "met": play.gaps.plays.cross_play,
        "matrix": crossed.matrix(),
        "curve": greedy_curve(path),
    }


def reached(self_play: float, most: float) -> bool:
    """Whether a rung counts: self-play at its lowest coefficient has half of the greatest score."""
    return self_play >= most / 2


def in_words(closing: Closing, found: Sequence[Mapping[str, Any]]) -> str:
    """The place and its interval; "above 0.3" for what lies outside the grid."""
    most = found[-1]["entropy_coef"]
    place, low, high = (f"above {most:g}" if np.isinf(one) else f"{one:.2g}" for one in closing)
    return f"{place} [{low}, {high}]"


def draw_ladder(records: Records) -> None:
    """The figure of all rungs that have a record, and the curves of those that were not reached: fresh seeds."""
    points, closings = [], {}
    for board in RUNGS:
        if (record := records.read(f"ladder_{slug(board)}")) is None:
            continue
        numbers = record["numbers"]
        low = numbers["runs"][0]
        if not reached(low["self_play"]["mean"], low["most"]):
            curves = {f"{one['entropy_coef']:g}": one["curve"] for one in numbers["runs"]}
            figure = ladder_figures.curves(curves, "entropy coefficient", most=low["most"])
            save_figure(figure, f"ladder_{slug(board)}_curves")
            board = f"{board}, not reached"
        closings[board] = Closing(*(np.inf if one is None else one for one in numbers["closing"].values()))
        for one in numbers["runs"]:
            parts = (Estimate(**one[key]).times(1 / one["most"]) for key in ("self_play", "cross_play", "gap"))
            points.append(Point(board, one["entropy_coef"], *parts))
    if points:
        save_figure(ladder_figures.ladder(points, closings), "ladder")


def _plain(numbers: Any) -> Any:
    """Plain data: estimates as objects, infinity as None."""
    if isinstance(numbers, Estimate):
        return numbers._asdict()
    if isinstance(numbers, Mapping):
        return {key: _plain(value) for key, value in numbers.items()}
    if isinstance(numbers, list | tuple):
        return list(map(_plain, numbers))
    return None if isinstance(numbers, float) and np.isinf(numbers) else numbers


def _numbers(records: Records, piece: str) -> Any:
    if (record := records.read(piece)) is None:
        raise TacitError(f"the ladder needs the record of {piece}")
    return record["numbers"]


def _listed(coefficients: Sequence[float]) -> str:
    return ",".join(map(str, coefficients))


def _steps(path: Path) -> int:
    return science(path)["steps"]
