"""Learners that begin with stored policies: the same weights, and on a larger board the same play of the smaller."""

import itertools
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from experiments import runs
from experiments.configuration.config import JobConfig
from experiments.configuration.targets import default_group
from experiments.training.job import run_job
from games.errors import TacitError

FROZEN = {"learner.learning_rate": 0.0, "budget.steps": 32}
SMALLER = {"_target_": "games.hanabi.Hanabi", "colors": 1, "ranks": 2, "hand_size": 1, "max_information_tokens": 2}
LARGER = SMALLER | {"colors": 2, "ranks": 3, "hand_size": 2}


def params(path):
    return [agent.params for agent in runs.read_run(path).agents]


def assert_equal(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_every_learner_begins_with_the_policy_of_its_seed(make_job, finished_runs, tmp_path):
    both = FROZEN | {"learner.entropy_coef": [0.01, 0.1]}
    fresh, job = make_job(tmp_path, both), make_job(tmp_path, both | {"initial_policies": str(finished_runs[0])})
    for one, run, path in zip(fresh.runs, job.runs, run_job(job), strict=True):
        assert_equal(params(path), params(finished_runs[0]))
        assert run.name() != one.name()
        assert json.loads((path / "run.json").read_text())["science"]["initial_policies"] == run.initial_policies
        assert runs.read_run(path).config == run


def test_one_policy_is_for_all_seeds(make_job, tmp_path):
    (one,) = run_job(make_job(tmp_path / "one", FROZEN | {"seeds": 1}))
    (path,) = run_job(make_job(tmp_path, FROZEN | {"initial_policies": str(tmp_path / "one")}))
    assert_equal(params(path), 2 * params(one))


@pytest.mark.parametrize(
    ("learner", "share"),
    [
        *itertools.product(("ippo.IPPO", "mappo.MAPPO", "magrpo.MAGRPO"), (True, False)),
        ("off_belief.OffBelief", True),
    ],
)
def test_every_learner_sets_the_weights_that_its_agents_play_with(plain, learner, share):
    group = default_group("learner", f"marl.learners.{learner}") | {"share_parameters": share}
    (run,) = JobConfig.parse(plain({"game": SMALLER, "learner": group, "budget.steps": 1_000_000})).runs
    built = run.built
    one, other = (built.learner.init(built.hyperparameters, key=jax.random.key(seed)) for seed in (0, 1))
    wanted = built.learner.agent_params(other)
    begun = built.learner.with_agent_params(one, wanted)
    assert_equal(built.learner.agent_params(begun), wanted)
    assert jax.tree.structure(begun) == jax.tree.structure(one)


def test_a_run_that_begins_with_policies_goes_on_learning(make_job, finished_runs, tmp_path):
    (path,) = run_job(make_job(tmp_path, {"initial_policies": str(finished_runs[0] / "policies.safetensors")}))
    begun, learned = (ravel_pytree(params(one))[0] for one in (finished_runs[0], path))
    assert jnp.abs(begun - learned).max() > 1e-3


@pytest.mark.parametrize(
    "policy",
    [
        {"_target_": "marl.policies.feed_forward.FeedForward", "observer": "belief", "torso": [5]},
        {"_target_": "marl.policies.recurrent.Recurrent", "observer": "belief", "torso": [5], "memory": 4},
    ],
    ids=["feed-forward", "recurrent"],
)
def test_a_smaller_board_is_played_alike_on_a_larger_one(make_job, make_run, tmp_path, policy):
    small = make_run(tmp_path / "small", {"game": SMALLER, "policy": policy})
    changes = FROZEN | {"game": LARGER, "policy": policy, "initial_policies": str(small)}
    (path,) = run_job(make_job(tmp_path, changes))
    before, after = runs.read_run(small), runs.read_run(path)
    observations, actions = after.game.places_of(before.game, "belief")
    seen, legal = np.random.default_rng(0).random(observations.size, np.float32), np.ones(actions.size, bool)
    more, among = np.zeros(after.game.observer("belief").size, np.float32), np.zeros(after.game.num_actions, bool)
    more[observations], among[actions] = seen, True
    for old, new in zip(before.agents, after.agents, strict=True):
        memory = old.kind.policy.initial_memory()
        _, expected = old.kind.policy.apply(old.params, memory, seen, legal)
        _, found = new.kind.policy.apply(new.params, memory, more, among)
        np.testing.assert_allclose(found[actions], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"seeds": 3}, "has 2 policies, and should have 1 or 3"),
        ({"policy.torso": [8, 8]}, r"has policy.torso=\[8\], and this job \[8, 8\]"),
        ({"policy.activation": "tanh"}, "has policy.activation=relu, and this job tanh"),
        ({"game.payoffs": [2.0, 0.9]}, "does not fit: it is lever with other parameters, and lever has no places"),
        ({"game": SMALLER}, "policies.safetensors plays lever, and this job hanabi"),
        ({"learner.share_parameters": False}, "has learner.share_parameters=True, and this job False"),
    ],
)
def test_policies_that_do_not_fit_are_refused_before_anything_is_written(
    make_job, finished_runs, tmp_path, changes, sentence
):
    with pytest.raises(TacitError, match=sentence) as caught:
        run_job(make_job(tmp_path / "runs", {"initial_policies": str(finished_runs[0]), **changes}))
    assert str(caught.value).startswith("initial_policies: ")
    assert not (tmp_path / "runs").exists()


def test_a_file_that_changed_since_the_job_was_named_is_refused(make_job, a_run, tmp_path):
    job = make_job(tmp_path / "runs", {"initial_policies": str(a_run)})
    assert job.runs
    shutil.copyfile(a_run / "run.json", a_run / "policies.safetensors")
    with pytest.raises(TacitError, match=r"initial_policies: .*policies\.safetensors has changed since the job began"):
        run_job(job)


def test_an_unfinished_run_is_refused(make_job, a_run, tmp_path):
    runs.write_status(a_run, "interrupted", steps=3, reason="time used up")
    with pytest.raises(TacitError, match=r"is not finished: interrupted \(time used up\) after 3 steps"):
        run_job(make_job(tmp_path / "runs", {"initial_policies": str(a_run)}))


@pytest.mark.parametrize("given", ["nowhere", "", 3, ["a"]])
def test_what_is_no_file_of_policies_is_refused(make_job, tmp_path, given):
    with pytest.raises(TacitError, match=r"^initial_policies must be a run, a folder with one run or a file"):
        make_job(tmp_path, {"initial_policies": given})


def test_a_folder_of_several_runs_is_refused(make_job, finished, tmp_path):
    with pytest.raises(TacitError, match=r"and .*runs has 2 policies\.safetensors$"):
        make_job(tmp_path, {"initial_policies": str(finished[0] / "runs")})
