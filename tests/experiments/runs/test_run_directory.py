"""What a run directory holds comes back as it was written; what is damaged or foreign is said in one sentence."""

import json
import os
import shutil

import jax
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from experiments import runs
from experiments.runs import directory
from games.errors import TacitError
from games.tabular.library import lever
from marl.crossplay import crossplay

FILES = {
    "run.json",
    "status.json",
    "metrics.npz",
    "policies.safetensors",
    "crossplay.json",
    "crossplay.npz",
    "checksums.json",
}
FIGURES = {"learning_curves.png", "learning_curves.svg", "crossplay.png", "crossplay.svg"}
TEN_LEVERS = lever.make()


def test_a_finished_run_has_these_files(finished_runs):
    for path in finished_runs:
        assert {file.name for file in path.iterdir()} == FILES | FIGURES


def test_run_json_says_what_made_it(finished_runs):
    for path in finished_runs:
        plain = json.loads((path / "run.json").read_text())
        assert plain["name"] == path.name
        assert plain["format"] == 1
        assert plain["science"]["game"]["version"] == TEN_LEVERS.version
        assert {"python", "jax", "flax", "optax", "numpy", "device"} <= set(plain["versions"])
        assert all(isinstance(version, str) for version in plain["versions"].values())


def test_metrics_come_back(tmp_path):
    written = {
        "steps": np.array([3, 6], np.int64),
        "loss": np.array([[0.5, np.pi], [1e-30, -2.0]], np.float32),
        "empty": np.zeros((0, 2), np.float64),
    }
    runs.write_metrics(tmp_path, written)
    read = runs.read_metrics(tmp_path)
    assert read.keys() == written.keys()
    for name, values in written.items():
        assert read[name].dtype == values.dtype
        np.testing.assert_array_equal(read[name], values)


def test_metrics_of_training(finished_runs):
    for path in finished_runs:
        metrics = runs.read_metrics(path)
        assert metrics["steps"].tolist() == [32, 64]
        assert metrics["evaluation_steps"].tolist() == [64]
        assert metrics["greedy_self_play"].shape == (1, 2)
        assert metrics["greedy_cross_play"].shape == (1, 1)  # one pair of seeds
        of_seeds = set(metrics) - {
            "steps", "evaluation_steps", "greedy_self_play", "greedy_cross_play", "training_seconds"
        }  # fmt: skip
        assert {"count", "return_sum", "loss", "entropy", "first_ratio_error", "steps_per_second"} <= of_seeds
        for name in of_seeds:
            assert metrics[name].shape == (2, 2), name
        assert all(np.isfinite(values).all() for values in metrics.values())
        # In the lever game every step is a finished game.
        np.testing.assert_array_equal(metrics["count"].sum(axis=0), [64, 64])
        assert (metrics["return_sum"] <= metrics["count"]).all()
        assert (metrics["first_ratio_error"] < 1e-5).all()


def test_crossplay_comes_back(finished_runs, tmp_path):
    results = runs.read_crossplay(finished_runs[0])
    assert results.keys() == {"sampled", "greedy"}
    for result in results.values():
        assert result.labels == ("0", "1")
        assert result.seatings.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
        assert result.games.tolist() == [8] * 4
        assert result.length.tolist() == [1.0] * 4
    one_game = results["sampled"]._replace(standard_error=np.full(4, np.nan))  # as with one game a cell
    runs.write_crossplay(tmp_path, {"sampled": one_game, "greedy": results["greedy"]}, {"games": 1})
    read = runs.read_crossplay(tmp_path)
    for name, result in {"sampled": one_game, "greedy": results["greedy"]}.items():
        assert read[name].labels == result.labels
        for field, value in result._asdict().items():
            if field != "labels":
                np.testing.assert_array_equal(getattr(read[name], field), value)


@pytest.mark.slow
def test_the_policies_alone_play_what_the_run_recorded(finished_runs, tmp_path):
    file = tmp_path / "from_a_friend.safetensors"
    shutil.copy(finished_runs[1] / "policies.safetensors", file)
    config, game, agents = runs.read_policies(file, "friend")
    assert config.name() == finished_runs[1].name
    assert [agent.label for agent in agents] == ["friend/0", "friend/1"]
    recorded = runs.read_crossplay(finished_runs[1])
    for name, result in recorded.items():
        played = crossplay(game, agents, games=8, greedy=name == "greedy", key=jax.random.key(0))
        np.testing.assert_array_equal(played.mean, result.mean)


def test_policies_come_back(finished_runs, wide_run):
    for path, torso in [(finished_runs[0], (8,)), (wide_run, (4, 6))]:
        run = runs.read_run(path)
        assert run.agents[0].kind.policy.torso == torso
        tensors = load_file(path / "policies.safetensors")
        assert len(jax.tree.leaves(run.agents[0].params)) == len(tensors)
        for seed, agent in enumerate(run.agents):
            for keys, leaf in jax.tree_util.tree_flatten_with_path(agent.params)[0]:
                name = jax.tree_util.keystr(keys, simple=True, separator="/")
                np.testing.assert_array_equal(leaf, tensors[name][seed])


@pytest.mark.slow
def test_unshared_parameters_come_back(make_job, tmp_path):
    job = make_job(tmp_path, {"learner.share_parameters": False})
    (run,) = job.runs
    built = run.built
    state = jax.lax.map(
        lambda key: built.learner.init(built.hyperparameters, key=key), jax.random.split(jax.random.key(0), 2)
    )
    runs.write_policies(tmp_path / "policies.safetensors", run, jax.device_get(state.params))
    _, _, agents = runs.read_policies(tmp_path / "policies.safetensors", "run")
    assert not agents[0].kind.share_parameters
    assert {leaf.shape[0] for leaf in jax.tree.leaves(agents[0].params)} == {2}
    crossplay(built.game, agents, games=2, greedy=False, key=jax.random.key(0))


def test_a_file_appears_complete_or_not_at_all(a_run, monkeypatch):
    before = {file.name: file.read_bytes() for file in a_run.iterdir()}
    results = runs.read_crossplay(a_run)
    metrics = runs.read_metrics(a_run)
    config = runs.read_run(a_run).config
    params = jax.tree.map(lambda *leaves: np.stack(leaves), *(agent.params for agent in runs.read_run(a_run).agents))

    def fails(*_):
        raise OSError(28, "No space left on device")

    writers = [
        lambda: runs.write_metrics(a_run, metrics),
        lambda: runs.write_crossplay(a_run, results, {}),
        lambda: runs.write_policies(a_run / "policies.safetensors", config, params),
        lambda: runs.write_status(a_run, "running", steps=0),
    ]
    for where in (os, "replace"), (os.path, None):  # at the end of the writing, and in the middle of it
        with monkeypatch.context() as patched:
            if where[0] is os:
                patched.setattr(os, "replace", fails)
            else:
                patched.setattr("pathlib.Path.write_bytes", fails)
            for write in writers:
                with pytest.raises(TacitError, match="cannot be written: No space left"):
                    write()
        assert {file.name: file.read_bytes() for file in a_run.iterdir()} == before


# --- what is damaged or foreign ---


READERS = {
    "run.json": runs.check_finished,
    "status.json": runs.check_finished,
    "metrics.npz": runs.read_metrics,
    "policies.safetensors": runs.read_run,
    "crossplay.json": runs.read_crossplay,
}


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "one byte short", "garbage"])
@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_named(a_run, name, damage):
    file = a_run / name
    whole = file.read_bytes()
    assert READERS[name](a_run) is not None
    if damage == "missing":
        file.unlink()
    else:
        cut = {"empty": 0, "truncated": len(whole) // 2, "one byte short": len(whole.rstrip()) - 1}
        file.write_bytes(b"\x80garbage \xff" * 20 if damage == "garbage" else whole[: cut[damage]])
    with pytest.raises(TacitError, match=name.replace(".", r"\.")) as raised:
        READERS[name](a_run)
    assert str(a_run) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_scores_of_all_games_come_back(a_run):
    for play, one in runs.read_crossplay(a_run).items():
        assert one.scores.shape == (4, 8) and one.scores.dtype == np.float32, play
        np.testing.assert_allclose(one.scores.mean(axis=1), one.mean, rtol=1e-6)
    whole = (a_run / "crossplay.npz").read_bytes()
    (a_run / "crossplay.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TacitError, match=r"crossplay\.npz is missing, cut short or damaged"):
        runs.read_crossplay(a_run)
    np.savez(a_run / "crossplay.npz", greedy=np.zeros((3, 8), np.float32))
    with pytest.raises(TacitError, match=r"crossplay\.npz is damaged: its greedy scores are not those of the cells"):
        runs.read_crossplay(a_run)
    (a_run / "crossplay.npz").unlink()
    assert {one.scores for one in runs.read_crossplay(a_run).values()} == {None}


@pytest.mark.parametrize("name", ["run.json", "status.json", "crossplay.json"])
@pytest.mark.parametrize("contents", ["{}", "[]", "3", '{"state": "finished"}', '{"format": 1}'])
def test_json_of_something_else_is_refused(a_run, name, contents):
    (a_run / name).write_text(contents)
    with pytest.raises(TacitError, match=str(a_run)):
        READERS[name](a_run)


def rewrite(file, change):
    """Write a policies file again after change(tensors, metadata)."""
    with safe_open(file, framework="numpy") as opened:
        metadata = dict(opened.metadata())
    tensors = load_file(file)
    change(tensors, metadata)
    save_file(tensors, file, metadata)


def change_science(key, value):
    def change(tensors, metadata):
        science = json.loads(metadata["science"])
        *groups, last = key.split(".")
        place = science
        for group in groups:
            place = place[group]
        place[last] = value
        metadata["science"] = json.dumps(science)

    return change


def more_levers(tensors, metadata):
    change_science("game.payoffs", [1.0] * 11)(tensors, metadata)
    change_science("game.version", lever.make([1.0] * 11).version)(tensors, metadata)


def first(tensors):
    return min(name for name in tensors if name.endswith("kernel"))


FOREIGN = {
    "future format": (lambda t, m: m.update(format="2"), "has the newer format 2, and this Tacit reads format 1"),
    "not ours": (lambda t, m: m.pop("science"), "was not written by Tacit"),
    "no science": (lambda t, m: m.update(science="half a {"), "does not say in this version's terms"),
    "empty science": (lambda t, m: m.update(science="{}"), "does not say in this version's terms"),
    "other game version": (change_science("game.version", "tabular-0"), "tabular-0, and this is tabular-1"),
    "other tables": (change_science("game.payoffs", [2.0] * 10), f"{TEN_LEVERS.version}, and this is tabular-1"),
    "unknown key": (change_science("policy.wings", 2), "has no key 'wings'"),
    "not a game": (change_science("game._target_", "os.system"), "must be a class of games"),
    "not a policy": (change_science("policy._target_", "subprocess.Popen"), "must be a class with init"),
    "wider torso": (change_science("policy.torso", [9]), r"declares .* of shape \(2, 9, 11\), and holds \(2, 8, 11\)"),
    "deeper torso": (change_science("policy.torso", [8, 8]), r"declares .*, and holds no such weights|declares"),
    "shallower torso": (change_science("policy.torso", []), "declares"),
    "more levers": (more_levers, r"declares .* and holds \(2, 11\)"),
    "more seeds": (change_science("seeds", 3), r"declares .* of shape \(3, "),
    "own parameters": (change_science("learner.share_parameters", False), r"declares .* of shape \(2, 2, "),
    "lost weights": (lambda t, m: t.pop(first(t)), "holds no such weights"),
    "weights too many": (
        lambda t, m: t.update(extra=np.zeros(3, np.float32)),
        "its architecture does not have: .*extra",
    ),
    "turned weights": (lambda t, m: t.update({first(t): np.ascontiguousarray(t[first(t)].T)}), "declares"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_foreign_weights_are_refused(a_run, case, tacit):
    change, sentence = FOREIGN[case]
    file = a_run / "policies.safetensors"
    rewrite(file, change)
    with pytest.raises(TacitError, match=sentence) as raised:
        runs.read_policies(file, "run")
    assert str(raised.value).startswith(str(file))
    said = tacit("crossplay", a_run)
    assert (said.status, said.err) == (2, f"tacit: {raised.value}\n")
    assert not (a_run.parent / "crossplay").exists()


def test_a_run_of_another_format_is_refused(a_run):
    plain = json.loads((a_run / "run.json").read_text())
    (a_run / "run.json").write_text(json.dumps(plain | {"format": 2}))
    with pytest.raises(TacitError, match="has the newer format 2, and this Tacit reads format 1"):
        runs.check_finished(a_run)


def test_a_directory_that_is_no_run(tmp_path):
    with pytest.raises(TacitError, match="there is no run directory"):
        runs.read_run(tmp_path / "nowhere")
    with pytest.raises(TacitError, match=r"is not a run directory: it has no run\.json"):
        runs.read_run(tmp_path)


def test_a_half_made_directory_is_started_again(make_job, finished_runs, tmp_path):
    # killed before status.json was in its place
    job = make_job(tmp_path)
    (run,) = job.runs
    path = tmp_path / run.name()
    path.mkdir()
    (path / ".status.json.123").write_text("{")
    assert runs.claim(tmp_path, run, overwrite=False) == path


def test_a_claim_that_cannot_be_written_is_given_up(make_job, tmp_path, monkeypatch):
    (run,) = make_job(tmp_path).runs
    write = directory.write_json

    def full(file, plain):
        if file.name == "run.json":
            raise TacitError("the disk is full")
        write(file, plain)

    with monkeypatch.context() as patched, pytest.raises(TacitError, match="the disk is full"):
        patched.setattr(directory, "write_json", full)
        runs.claim(tmp_path, run, overwrite=False)
    assert not list(tmp_path.glob("*/.claim.*"))
    assert runs.claim(tmp_path, run, overwrite=False) == tmp_path / run.name()


@pytest.mark.parametrize(("overwrite", "steps"), [(False, 32), (True, 0)])
def test_a_run_that_goes_on_says_how_far_it_was(make_job, tmp_path, overwrite, steps):
    (run,) = make_job(tmp_path).runs
    path = runs.claim(tmp_path, run, overwrite=False)
    runs.write_status(path, "interrupted", steps=32, reason="stopped from outside")
    runs.claim(tmp_path, run, overwrite=overwrite)
    assert (runs.read_status(path)["state"], runs.read_status(path)["steps"]) == ("running", steps)


def test_result_folders_beside_runs_are_no_runs(finished_runs):
    root = finished_runs[0].parent
    everything = sorted(root.iterdir())
    assert root / "compare" in everything
    assert runs.training_runs(everything) == sorted(finished_runs)
    with pytest.raises(TacitError, match=r"there is no run in .*compare"):
        runs.training_runs([root / "compare"])


def test_a_folder_stands_for_its_training_runs(finished_runs):
    assert runs.training_runs([finished_runs[0].parent]) == sorted(finished_runs)
    assert runs.training_runs([finished_runs[0]]) == [finished_runs[0]]


def test_a_run_json_that_was_changed_is_refused(a_run):
    plain = json.loads((a_run / "run.json").read_text())
    plain["science"]["game"]["version"] = "lever-0"
    runs.write_json(a_run / "run.json", plain)
    with pytest.raises(TacitError, match=r"its game\.version is tabular-1-\w+, and that of run\.json lever-0: one of"):
        runs.read_run(a_run)


def test_exact_runs_beside_trained_ones_are_left_out(finished_runs, tmp_path):
    exact = tmp_path / "exact"
    exact.mkdir()
    (exact / "run.json").write_text('{"science": {"command": "phase"}}')
    assert runs.training_runs([*finished_runs, exact]) == list(finished_runs)
    assert runs.training_runs([exact]) == [exact]
