"""The climbing game pays what its source says, and the exact commands take it by its Python path."""

import json

import numpy as np
import pytest

from examples import climbing
from games.errors import TacitError
from tests.command_line import printed_rows

FEW_STARTS = ("normal_starts=2", "wide_starts=0", "pure_starts=9", "refine=false", "branch=false")
QUIET = ("execution.progress=false", "execution.figures=false")


def test_pays_what_the_source_says():
    problem = climbing.make().problem
    paid = {problem.joint_action_name(joint): reward for joint, reward in enumerate(problem.expected_reward[:, 0])}
    assert paid == {
        "a0,b0": 11, "a0,b1": -30, "a0,b2": 0,
        "a1,b0": -30, "a1,b1": 7, "a1,b2": 6,
        "a2,b0": 0, "a2,b1": 0, "a2,b2": 5,
    }  # fmt: skip
    assert climbing.make(penalty=0).problem.expected_reward.min() == 0


@pytest.mark.parametrize("penalty", [12, "much", float("nan")])
def test_a_bad_penalty(penalty):
    with pytest.raises(TacitError, match="climbing penalty must be a number"):
        climbing.make(penalty)


@pytest.mark.slow
def test_its_phases(tacit, folder):
    """At α = 40 one policy is left; by the fixed point a ∝ exp(Rb/α), b ∝ exp(Rᵀa/α), here iterated in numpy."""
    said = tacit("phase", "game=climbing.make", "alpha=[1,40]", *FEW_STARTS, *QUIET)
    assert said.status == 0, said.err
    assert "best self-play    11" in said.out
    (file,) = folder.glob("runs/*/phase.json")
    low, high = json.loads(file.read_text())["rows"]
    assert (low["alpha"], high["alpha"], high["solutions"]) == (1, 40, 1)
    assert low["solutions"] > 1
    payoffs = np.array([[11, -30, 0], [-30, 7, 6], [0, 0, 5.0]])
    a = b = np.full(3, 1 / 3)
    for _ in range(500):
        a, b = (np.exp(values / 40) / np.exp(values / 40).sum() for values in (payoffs @ b, a @ payoffs))
    assert high["soft_self_play"] == pytest.approx(a @ payoffs @ b, abs=1e-6)
    science = json.loads((file.parent / "run.json").read_text())["science"]["game"]
    assert (science["_target_"], science["penalty"]) == ("climbing.make", -30)


@pytest.mark.slow
def test_methods_on_it(tacit, folder):
    """Without symmetries independent optimisers that find the optimum agree on it; high entropy ends in the corner."""
    said = tacit(
        "zsc-table", "game=climbing.make", "penalty=-5", "method=[self-play,high-entropy-greedy]", "starts=4", *QUIET
    )
    assert said.status == 0, said.err
    rows = dict(printed_rows(said.out))
    assert float(rows["best self-play"]) == 11
    assert float(rows["self-play"]) == 11
    assert float(rows["high entropy, greedy"]) in (5, 6, 7)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["games", "climbing.make", "penalty=-5"], "climbing.make: climbing(horizon=1"),
        (["symmetries", "climbing.make"], "symmetries of policies                                   1"),
        (["config", "game=climbing.make", "penalty=-1e1"], '"penalty": -10.0'),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_other_commands_take_it(tacit, folder, arguments, says):
    said = tacit(*arguments)
    assert (said.status, said.err) == (0, "")
    assert says in said.out
