"""Runs of a toy game, trained by the face itself."""

import pytest

import tacit

TINY = {
    "policy": "tabular",
    "seeds": 6,
    "budget.steps": 64,
    "learner": {"num_games": 8, "rollout_length": 4, "epochs": 1, "minibatches": 1, "learning_rate": 0.05},
    "crossplay.games": 8,
    "execution": {"rows": 2, "evaluations": 0},
}


@pytest.fixture(scope="session")
def tiny():
    """The keys of a training that takes a moment."""
    return TINY


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """The folder of the runs below, with a blank in its name."""
    return tmp_path_factory.mktemp("with a blank") / "runs"


@pytest.fixture(scope="session")
def runs(folder):
    """Two runs of six seeds of three levers, at two coefficients. Tests only read them."""
    keys = {"learner.entropy_coef": [0.01, 0.1], "execution.output": folder}
    return tacit.train("game=lever", TINY, payoffs=(1, 1, 0.9), **keys)
