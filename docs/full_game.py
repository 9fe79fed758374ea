"""The full game of two on a CPU, in stages of hours that go on from the policies of the one before.

A stage is one piece: each coefficient is trained for the stage's steps, and its policies are kept in results/zoo/, in
half precision where nobody can tell, beside those of the stage before, with which it began. The next stage begins
with these files, with a fresh optimiser, on any machine. The first one begins with policies that learned 3×5, one for
each seed.
"""

from pathlib import Path

from docs.records import (
    Found,
    Piece,
    Records,
    current_runs,
    entropy_coef,
    estimates_of,
    greedy_curve,
    markdown,
    save_figure,
    science,
)
from experiments import runs
from experiments.analysis import zoo
from experiments.presentation import ladder_figures, tables
from games.errors import TacitError
from marl.crossplay import estimators

COEFFICIENTS = (0.01, 0.05)
SMALLER_STEPS = 3_000_000
"""Of each seed on 3×5."""
STAGES = (10_000_000, 20_000_000)
"""Steps of each seed on the full game, stage by stage."""
ZOO = Path(__file__).parents[1] / "results" / "zoo"
PUBLISHED = (
    ("IPPO, jax-aht: self-play 15.78", 1e9, 15.78),
    ("IPPO at high entropy: cross-play 24.45 (self-play 24.48)", 1e10, 24.45),
)
"""Whose, steps and scores: jax-aht's table of the full game, and arXiv:2511.22581 (entropy coefficient 0.05)."""
_UP = "../../../../results/zoo"


def pieces() -> dict[str, Piece]:
    """A piece for each stage."""
    return {
        f"full_game_{number}": Piece(
            lambda records, number=number, steps=steps: [
                command for coefficient in COEFFICIENTS for command in _commands(coefficient, number, steps)
            ],
            lambda folder, small, number=number: stage(folder, small, number),
            needs=(f"full_game_{number - 1}",) if number > 1 else (),
            smaller=f"{'initial_policies=null ' * (number > 1)}budget.steps=65536 crossplay.games=20 execution.rows=2",
        )
        for number, steps in enumerate(STAGES, start=1)
    }


def _commands(coefficient: float, number: int, steps: int) -> list[str]:
    train = f"train experiment=full_game learner.entropy_coef={coefficient} budget.steps="
    if number > 1:
        return [f"{train}{steps} initial_policies={_UP}/{kept(coefficient, number - 1)}"]
    smaller = f"smaller_{coefficient:g}"
    return [
        f"{train}{SMALLER_STEPS} game=hanabi_3x5 execution.output={smaller}",
        f"{train}{steps} initial_policies={smaller}",
    ]


def kept(coefficient: float, number: int) -> str:
    """The name of the file with the policies of a coefficient after a stage."""
    return f"full_game_{number}_{coefficient:g}.safetensors"


def stage(folder: Path, small: bool, number: int) -> Found:
    """A row for each coefficient: steps so far, greedy SP, XP and gap; and its policies into the zoo.

    Raises:
      TacitError: if the folder has several runs of a coefficient.
    """
    paths = sorted(current_runs(folder / "runs"), key=entropy_coef)
    if [entropy_coef(path) for path in paths] != list(COEFFICIENTS):
        raise TacitError(f"{folder} should have one run for each of {COEFFICIENTS}, and has {len(paths)} runs")
    before = sum(STAGES[: number - 1])
    rows, numbers = [], []
    for path in paths:
        coefficient, steps = entropy_coef(path), before + science(path)["steps"]
        estimates = estimates_of(estimators.summarise(*runs.read_crossplay(path)["greedy"].cells))
        rows.append([f"{coefficient:g}", f"{steps / 1e6:.0f}", *(tables.text_of(one) for one in estimates.values())])
        curve = greedy_curve(path)
        curve["steps"] = [before + one for one in curve["steps"]]
        numbers.append(
            {"entropy_coef": coefficient, "curve": curve} | {key: one._asdict() for key, one in estimates.items()}
        )
        if not small:
            zoo.keep(path, ZOO).file.replace(ZOO / kept(coefficient, number))
            (ZOO / kept(coefficient, number - 2)).unlink(missing_ok=True)  # a stage that is cut begins again
    head = ["entropy_coef", "millions of steps a seed", "greedy SP", "greedy XP", "SP − XP"]
    return Found({"table": markdown(head, rows)}, numbers, paths)


def draw_full_game(records: Records) -> None:
    """The curves of all stages that have a record, beside published scores."""
    found = [record for number in range(1, len(STAGES) + 1) if (record := records.read(f"full_game_{number}"))]
    curves: dict[str, dict[str, list[float]]] = {}
    for record in found:
        for one in record["numbers"]:
            whole = curves.setdefault(f"{one['entropy_coef']:g}", {key: [] for key in one["curve"]})
            for key, values in one["curve"].items():
                whole[key] += values
    if curves:
        restarts = [sum(STAGES[:number]) for number in range(1, len(found))]
        figure = ladder_figures.curves(curves, "entropy coefficient", restarts=restarts, published=PUBLISHED)
        save_figure(figure, "full_game")
