"""What IPPO learns from a step: single changes to its defaults on 3×5, by the steps that cross-play needs.

The yardstick is nine tenths of the defaults' greedy XP at the end of the budget: the steps at which the mean curve of a
change first reaches it, between two evaluations by linear interpolation.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from docs.records import Found, Piece, current_runs, markdown
from experiments import runs
from experiments.presentation import tables
from marl.crossplay import estimators
from marl.crossplay.closing import first_at_most

SHARE = 0.9
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
"""The rows of the table: what is changed, and the overrides."""


def place(name: str) -> str:
    """The folder of a change's run."""
    return f"change{list(CHANGES).index(name)}"


def single_changes(folder: Path, small: bool) -> Found:
    """A row for each change: greedy SP, XP and gap at the end, and the steps to nine tenths of the defaults' XP."""
    paths, found = [], {}
    for name in CHANGES:
        (path,) = current_runs(folder / place(name))
        paths.append(path)
        metrics = runs.read_metrics(path)
        curve = metrics["greedy_cross_play"].mean(axis=1)
        found[name] = (
            estimators.summarise(*runs.read_crossplay(path)["greedy"].cells),
            metrics["evaluation_steps"],
            curve,
        )
    bound = SHARE * found[DEFAULTS][0].cross_play.mean
    rows, numbers = [], []
    for name, (summary, steps, curve) in found.items():
        reached = first_at(steps, curve, bound)
        estimates = {"self_play": summary.self_play, "cross_play": summary.cross_play, "gap": summary.gap}
        told = "not reached" if reached is None else f"{reached / 1e6:.2f}"
        rows.append([name, *(tables.text_of(one) for one in estimates.values()), told])
        numbers.append(
            {"change": name, "steps_to_share": reached, "curve": curve.tolist(), "steps": steps.tolist()}
            | {key: one._asdict() for key, one in estimates.items()}
        )
    head = ["change", "greedy SP", "greedy XP", "SP − XP", f"millions of steps to XP {bound:.2f}"]
    return Found({"table": markdown(head, rows)}, numbers, paths)


def first_at(steps: NDArray[Any], curve: NDArray[np.float64], bound: float) -> float | None:
    """The steps at which a curve first reaches a bound, None if it never does."""
    found = first_at_most(steps, -curve, -bound)
    return None if np.isinf(found) else found


PIECES: dict[str, Piece] = {
    "single_changes": Piece(
        lambda records: [
            " ".join(f"train experiment=per_step {change} execution.output={place(name)}".split())
            for name, change in CHANGES.items()
        ],
        single_changes,
        smaller="seeds=6 budget.steps=16384 crossplay.games=20 execution.rows=2",
    ),
}
