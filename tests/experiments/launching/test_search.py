"""Optuna's sweeper: what is searched, what is best, and a search that is repeated."""

import re

import pytest

from experiments import runs
from experiments.runs.collection import load

pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="hydra-optuna-sweeper is not installed")
# Optuna's storages, which nothing here uses, take from sqlalchemy what has moved there.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*declarative_base:DeprecationWarning")]
SEARCH = ("experiment=search", "hydra.sweeper.n_trials=3", "execution.figures=false")


def objectives(folder):
    """{(entropy coefficient, λ): greedy XP} of the runs in a folder."""
    found = load(folder, index=False)
    return {
        (run.keys["learner.entropy_coef"], run.keys["learner.gae_lambda"]): run.summaries["greedy"].cross_play.mean
        for run in found
    }


def best(said):
    (line,) = re.findall(r"^best trial: (.*), objective (\S+)$", said.out, re.M)
    return dict(part.split("=") for part in line[0].split()), float(line[1])


def test_a_search_of_three_trials(tacit, tiny_overrides, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = tacit("train", *SEARCH, *tiny_overrides)
    assert said.status == 0, said.err
    found = objectives(tmp_path / "runs")
    assert len(found) == 3
    assert all(0.005 <= coefficient <= 0.3 and 0.8 <= gae_lambda <= 1 for coefficient, gae_lambda in found)
    chosen, value = best(said)
    at = float(chosen["learner.entropy_coef"]), float(chosen["learner.gae_lambda"])
    assert value == pytest.approx(found[at], rel=1e-5)
    assert value == pytest.approx(max(found.values()), rel=1e-5)

    # The sampler has a seed: the same trials again, and nothing is trained.
    before = {path: runs.read_status(path) for path in (tmp_path / "runs").iterdir() if (path / "run.json").exists()}
    again = tacit("train", *SEARCH, *tiny_overrides)
    assert (again.status, best(again)) == (0, (chosen, value))
    assert {path: runs.read_status(path) for path in before} == before
    assert len(objectives(tmp_path / "runs")) == 3


def test_a_search_for_the_least_is_warned_of(tacit, tiny_overrides, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    space = ("hydra/sweeper=optuna", "hydra.sweeper.n_trials=1", "learner.clip=interval(0.1,0.3)")
    said = tacit("train", "-m", *tiny_overrides, *space, "execution.figures=false")
    assert said.status == 0, said.err
    assert "tacit: warning: this search looks for the least objective: hydra.sweeper.direction=maximize " in said.err
    assert "best trial: learner.clip=0." in said.out


def test_a_search_in_which_every_trial_fails(tacit, tiny_overrides, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    space = ("hydra/sweeper=greedy_xp", "hydra.sweeper.n_trials=2", "learner.clip=interval(-2.0,-1.0)")
    said = tacit("train", "-m", *tiny_overrides, *space, "execution.figures=false")
    assert said.status == 1
    assert "Traceback" not in said.err
    assert said.err.splitlines()[-1].startswith("tacit: none of the 2 trials finished: learner.clip must be ")


def test_a_search_with_a_configuration_that_is_none_makes_no_trial(tacit, tiny_overrides, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = tacit("train", *SEARCH, *tiny_overrides, "learner.gamma=7")
    assert (said.status, said.out) == (2, "")
    assert said.err == "tacit: learner.gamma must be a number of at least 0 and at most 1, not 7.0\n"
    assert not list(tmp_path.iterdir())


def test_an_interval_that_is_none_is_refused(tacit, tiny_overrides, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    space = ("hydra/sweeper=greedy_xp", "learner.entropy_coef=tag(log,interval(0,0.3))")
    said = tacit("train", "-m", *tiny_overrides, *space)
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith("tacit: ") and "low" in said.err and said.err.count("\n") == 1


def test_one_run_of_an_experiment_that_searches(tacit, tiny_overrides, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    single = ("hydra.mode=RUN", "learner.entropy_coef=0.02", "learner.gae_lambda=0.9", "execution.figures=false")
    said = tacit("train", "experiment=search", *tiny_overrides, *single)
    assert (said.status, said.err) == (0, "")
    assert len(objectives(tmp_path / "runs")) == 1


def test_a_search_of_nothing(tacit, tiny_overrides, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = tacit("train", "-m", "hydra/sweeper=greedy_xp", *tiny_overrides)
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith("tacit: there is nothing to search: ")
    assert said.err.count("\n") == 1
    assert not list(tmp_path.iterdir())
