"""What IPPO learns from a step: changes to its defaults on 3×5, by the steps that cross-play needs.

The yardstick is nine tenths of the defaults' greedy XP at the end of the budget: the steps at which the mean curve of a
change first reaches it, between two evaluations by linear interpolation. Single changes, value normalisation and
combinations of changes are compared on seeds 0 to 7. The one with the highest XP is `experiment=few_steps`, which is
compared with the defaults on other boards and fresh seeds.

Warm starts: on larger boards, learners with `few_steps` begin with fresh weights, with a policy of 3×5 for each seed,
or with one policy of 3×5 for all.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from docs.records import (
    Found,
    Piece,
    estimates_of,
    greedy_conventions,
    greedy_curve,
    markdown,
    only_run,
    save_figure,
    science,
)
from experiments import runs
from experiments.presentation import ladder_figures, tables
from marl.crossplay import estimators
from marl.crossplay.closing import first_at_most

SHARE = 0.9
SMALLER = "seeds=6 budget.steps=16384 crossplay.games=20 execution.rows=2"
DEFAULTS = "defaults"
CHANGES = {
    DEFAULTS: "",
    "rewards in tenths": "learner.reward_scale=0.1",
    "value_coef 2": "learner.value_coef=2",
    "learning rate 2.5e-3": "learner.learning_rate=2.5e-3",
    "learning rate to 0, linear": "learner.anneal=linear",
    "λ 0.95": "learner.gae_lambda=0.95",
    "λ 0.8": "learner.gae_lambda=0.8",
    "2 epochs": "learner.epochs=2",
    "8 minibatches": "learner.minibatches=8",
    "256 games, 8 steps": "learner.num_games=256 learner.rollout_length=8",
    "entropy 0.1 to 0.01, linear": (
        "learner.entropy_schedule=linear learner.entropy_coef=0.1 learner.entropy_coef_final=0.01"
    ),
    "observer belief": "policy.observer=belief",
}
"""The rows of the table of single changes: what is changed, and the overrides."""
NORMALISATION = {DEFAULTS: "", "values normalised": "learner=examples.normalised_values.NormalisedValues"}
"""The rows of the table of value normalisation."""
_THREE = "policy.observer=belief learner.gae_lambda=0.8 learner.value_coef=2"
_FIVE = f"{_THREE} learner.learning_rate=2.5e-3 learner.anneal=linear"
COMBINATIONS = {
    DEFAULTS: "",
    "belief, λ 0.8": "policy.observer=belief learner.gae_lambda=0.8",
    "belief, λ 0.8, value_coef 2": _THREE,
    "the same, learning rate 2.5e-3 to 0": _FIVE,
    "the same, 2 epochs": f"{_FIVE} learner.epochs=2",
    "the same, 8 minibatches": f"{_FIVE} learner.minibatches=8",
    "the same, 256 games, 8 steps": f"{_FIVE} learner.num_games=256 learner.rollout_length=8",
}
"""The rows of the table of combinations; "the same" is the row with five changes."""
BOARDS = {"2×5": "hanabi_2x5", "4×5": "hanabi_4x5"}
STEPS = 1_500_000
CONFIRMED = {
    DEFAULTS: f"per_step budget.steps={STEPS}",
    "few_steps, half the steps": f"few_steps budget.steps={STEPS // 2}",
    "few_steps": f"few_steps budget.steps={STEPS}",
}
"""The rows of each board of `BOARDS`."""

WARM_STEPS = 4_000_000
"""Of the policies of 3×5, and again of those that begin with them."""
FRESH = "fresh weights"
STARTS = {
    FRESH: "",
    "a policy of 3×5 for each seed": "initial_policies=smaller_8",
    "one policy of 3×5 for all seeds": "initial_policies=smaller_1",
}
"""The rows of each board of `LARGER`."""
LARGER = {"4×5": "hanabi_4x5", "5×5": "hanabi"}


def place(number: int) -> str:
    """The folder of a row's run."""
    return f"change{number}"


def changes(folder: Path, rows_: Mapping[str, str]) -> Found:
    """A row for each change: greedy SP, XP and gap at the end, and the steps to nine tenths of the defaults' XP."""
    paths = [only_run(folder / place(number)) for number in range(len(rows_))]
    summaries = [estimators.summarise(*runs.read_crossplay(path)["greedy"].cells) for path in paths]
    bound = _share_of(summaries[list(rows_).index(DEFAULTS)])
    rows, numbers = [], []
    for name, path, summary in zip(rows_, paths, summaries, strict=True):
        curve, estimates = greedy_curve(path), estimates_of(summary)
        reached = first_at(curve["steps"], curve["cross_play"], bound)
        rows.append([name, *(tables.text_of(one) for one in estimates.values()), _in_millions(reached)])
        numbers.append(
            {"change": name, "steps_to_share": reached, "curve": curve["cross_play"], "steps": curve["steps"]}
            | {key: one._asdict() for key, one in estimates.items()}
        )
    head = ["change", "greedy SP", "greedy XP", "SP − XP", f"millions of steps to XP {bound:.2f}"]
    return Found({"table": markdown(head, rows)}, numbers, paths)


def first_at(steps: ArrayLike, curve: ArrayLike, bound: float) -> float | None:
    """The steps at which a curve first reaches a bound, None if it never does."""
    found = first_at_most(np.asarray(steps), -np.asarray(curve), -bound)
    return None if np.isinf(found) else found


def _share_of(summary: estimators.Summary) -> float:
    """`SHARE` of the mean XP."""
    mean = summary.cross_play.mean
    assert mean is not None
    return SHARE * mean


def _in_millions(steps: float | None) -> str:
    return "not reached" if steps is None else f"{steps / 1e6:.2f}"


def compared(rows: Mapping[str, str]) -> Piece:
    """The piece of a table of changes."""
    return Piece(
        lambda records: [
            " ".join(f"train experiment=per_step {change} execution.output={place(number)}".split())
            for number, change in enumerate(rows.values())
        ],
        lambda folder, small: changes(folder, rows),
        smaller=SMALLER,
    )


def confirmed(folder: Path, small: bool) -> Found:
    """On fresh seeds: greedy SP, XP and gap of both, and how much XP `few_steps` has more than the defaults."""
    rows, numbers, paths = [], [], []
    for board, game in BOARDS.items():
        cells = {}
        for number, name in enumerate(CONFIRMED):
            path = only_run(folder / f"{game}_{place(number)}")
            paths.append(path)
            cells[name] = runs.read_crossplay(path)["greedy"].cells
            estimates = estimates_of(estimators.summarise(*cells[name]))
            if name != DEFAULTS:
                estimates["more"] = estimators.difference(cells[name], cells[DEFAULTS])
            steps = science(path)["steps"]
            told = [*(tables.text_of(one) for one in estimates.values()), ""]
            rows.append([board, name, f"{steps / 1e6:.2f}", *told[:4]])
            numbers.append(
                {"board": board, "settings": name, "steps": steps}
                | {key: one._asdict() for key, one in estimates.items()}
            )
    head = ["board", "settings", "millions of steps", "greedy SP", "greedy XP", "SP − XP", "XP − the defaults' XP"]
    return Found({"table": markdown(head, rows, 2)}, numbers, paths)


def warm_starts(folder: Path, small: bool) -> Found:
    """A row for each start on each board: greedy SP, XP, gap, distance, and steps to a share of the fresh XP."""
    rows, numbers, paths = [], [], []
    for board, game in LARGER.items():
        begun = {name: only_run(folder / f"{game}_{place(number)}") for number, name in enumerate(STARTS)}
        cells = {name: runs.read_crossplay(path)["greedy"].cells for name, path in begun.items()}
        curves = {name: greedy_curve(path) for name, path in begun.items()}
        bound = _share_of(estimators.summarise(*cells[FRESH]))
        for name, path in begun.items():
            estimates = estimates_of(estimators.summarise(*cells[name]))
            if name != FRESH:
                estimates["more"] = estimators.difference(cells[name], cells[FRESH])
            measured = greedy_conventions(path, games=20 if small else 1000).conventions
            assert not isinstance(measured, str)
            distance = measured.mean_distance
            reached = first_at(curves[name]["steps"], curves[name]["cross_play"], bound)
            told = [*(tables.text_of(one) for one in estimates.values()), ""]
            rows.append([board, name, *told[:4], f"{distance:.3f}", _in_millions(reached)])
            numbers.append(
                {"board": board, "start": name, "steps_to_share": reached, "distance": distance, "curve": curves[name]}
                | {key: one._asdict() for key, one in estimates.items()}
            )
        paths += begun.values()
        if not small:
            save_figure(ladder_figures.curves(curves, "begun with"), f"warm_starts_{game}")
    head = ["board", "begun with", "greedy SP", "greedy XP", "SP − XP", "XP − the fresh ones' XP", "distance"]
    head += [f"millions of steps to {SHARE:.0%} of the fresh ones' XP"]
    return Found({"table": markdown(head, rows, 2)}, numbers, paths, measured=True)


PIECES: dict[str, Piece] = {
    "single_changes": compared(CHANGES),
    "normalised_values": compared(NORMALISATION),
    "combinations": compared(COMBINATIONS),
    "few_steps": Piece(
        lambda records: [
            f"train experiment={settings} game={game} seeds=16 first_seed=100 execution.output={game}_{place(number)}"
            for board, game in BOARDS.items()
            for number, settings in enumerate(CONFIRMED.values())
        ],
        confirmed,
        smaller=SMALLER,
    ),
    "warm_starts": Piece(
        lambda records: [
            f"train experiment=few_steps first_seed=200 budget.steps={WARM_STEPS} {rest}".rstrip()
            for rest in (
                *(f"game=hanabi_3x5 seeds={seeds} execution.output=smaller_{seeds}" for seeds in (8, 1)),
                *(
                    f"game={game} seeds=8 execution.output={game}_{place(number)} {start}"
                    for game in LARGER.values()
                    for number, start in enumerate(STARTS.values())
                ),
            )
        ],
        warm_starts,
        smaller="budget.steps=16384 crossplay.games=20 execution.rows=2",
    ),
}
