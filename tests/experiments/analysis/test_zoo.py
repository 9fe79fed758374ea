"""The zoo: a run as one file that stands alone, rounded where nobody can tell."""

import json

import jax
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from experiments import runs
from experiments.analysis import zoo
from games.errors import TacitError
from marl.learners.ippo import IPPO


def metadata(file):
    with safe_open(file, framework="numpy") as opened:
        return opened.metadata()


@pytest.mark.slow
def test_a_run_as_one_file(tacit, finished_runs, tmp_path):
    path = finished_runs[0]
    said = tacit("zoo", path, "--output", tmp_path / "zoo")
    file = tmp_path / "zoo" / f"{path.name}.safetensors"
    assert said.status == 0
    assert said.out.startswith(f"{file}: float16, 0.00 MiB (in half precision: sampled SP ")
    kept, whole = load_file(file), load_file(path / "policies.safetensors")
    assert kept.keys() == whole.keys()
    for name, weights in kept.items():
        assert weights.dtype == np.float16
        np.testing.assert_array_equal(weights, whole[name].astype(np.float16))
    described = metadata(file)
    science = json.loads(described["science"])
    assert science == runs.check_finished(path)["science"]
    assert science["game"]["version"] == runs.read_run(path).game.version
    played = runs.read_crossplay(path)["greedy"]
    scores = json.loads(described["scores"])
    assert set(scores) == {"sampled SP", "sampled XP", "greedy SP", "greedy XP"}
    assert scores["greedy XP"] == pytest.approx(played.mean[[1, 2]].mean())


@pytest.mark.slow
def test_a_file_plays_without_its_run(tacit, finished_runs, tmp_path):
    files = [zoo.keep(path, tmp_path).file for path in finished_runs]
    run = runs.read_run(files[0])
    assert run.name == finished_runs[0].name
    for agent, other in zip(run.agents, runs.read_run(finished_runs[0]).agents, strict=True):
        for ours, theirs in zip(jax.tree.leaves(agent.params), jax.tree.leaves(other.params), strict=True):
            assert ours.dtype == np.float32
            np.testing.assert_allclose(ours, theirs, rtol=2**-10, atol=1e-6)
    said = tacit("crossplay", *files, "--games", "4", "--output", tmp_path / "played")
    assert said.status == 0
    assert len(runs.read_crossplay(tmp_path / "played")["greedy"].labels) == 4


def test_a_run_of_an_older_learner_does_not_pass_for_a_new_one(finished_runs, tmp_path, monkeypatch):
    older = IPPO.version
    monkeypatch.setattr(IPPO, "version", "ippo-99")
    sentence = f"was made by learner version {older}, and in the zoo it would pass for one of ippo-99"
    with pytest.raises(TacitError, match=sentence):
        zoo.keep(finished_runs[0], tmp_path / "zoo")
    assert not (tmp_path / "zoo").exists()


def test_weights_whose_rounding_shows_stay_as_they_are(finished_runs, tmp_path, monkeypatch):
    # As if every game of these seeds scored the same but for what rounding does.
    monkeypatch.setattr(zoo, "_rounded", lambda leaf: np.zeros_like(leaf))
    monkeypatch.setattr(zoo, "_error", lambda played, own: 1e-9)
    kept = zoo.keep(finished_runs[0], tmp_path)
    assert kept.dtype == "float32"
    whole = load_file(finished_runs[0] / "policies.safetensors")
    for name, weights in load_file(kept.file).items():
        np.testing.assert_array_equal(weights, whole[name])


def test_refusals(tacit, a_run, tmp_path):
    (a_run / "crossplay.json").unlink()
    said = tacit("zoo", a_run, "--output", tmp_path / "zoo")
    assert said.status == 2
    assert "crossplay.json is missing" in said.err
    assert not (tmp_path / "zoo").exists()
    stranger = tmp_path / "stranger.safetensors"
    save_file({"weights": np.zeros(2, np.float32)}, stranger)
    said = tacit("crossplay", stranger, a_run)
    assert (said.status, said.out) == (2, "")
    assert "was not written by Tacit" in said.err
    with pytest.raises(TacitError, match="missing"):
        runs.read_run(tmp_path / "nobody.safetensors")
