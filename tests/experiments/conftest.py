"""The command line in this process, and finished runs of a toy game that several tests look at."""

import contextlib
import copy
import io
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import pytest

from experiments import cli, compose, runs
from experiments.config import JobConfig

# Here the programs are tiny and many: keep all of them in the compilation cache, if there is one.
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


@contextlib.contextmanager
def compiled_quickly():
    """XLA optimises less, for programs that take longer to compile than to run."""
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(autouse=True)
def quick_compilation():
    with compiled_quickly():
        yield


TINY = (
    "game=lever",
    "learner.num_games=8",
    "learner.rollout_length=4",
    "learner.epochs=1",
    "learner.minibatches=1",
    "learner.learning_rate=0.05",
    "learner.share_parameters=true",
    "policy.torso=[8]",
    "budget.steps=64",
    "seeds=2",
    "crossplay.games=8",
    "execution.rows=2",
    "execution.evaluations=1",
    "execution.evaluation_games=4",
    "execution.progress=false",
)


class Said(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


def call(*arguments: str) -> Said:
    """`tacit ARGUMENTS` in this process."""
    out, err = io.StringIO(), io.StringIO()
    argv, on_term, full_error = sys.argv, signal.getsignal(signal.SIGTERM), os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = ["tacit", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
            cli.main()
    finally:
        sys.argv = argv
        signal.signal(signal.SIGTERM, on_term)
        if full_error is None:
            os.environ.pop("HYDRA_FULL_ERROR", None)
    return Said(ended.value.code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def tiny_overrides():
    """The arguments of `tacit train` for the toy game."""
    return TINY


@pytest.fixture(scope="session")
def tacit():
    """tacit(*arguments) -> status, out, err."""
    return call


@pytest.fixture(scope="session")
def plain():
    """plain({"learner.gamma": 0.5, …}) -> the toy configuration as plain data, with dotted keys replaced."""
    composed = compose.compose(TINY)

    def change(changes=()):
        made = copy.deepcopy(composed)
        for dotted, value in dict(changes).items():
            *groups, key = dotted.split(".")
            place = made
            for group in groups:
                place = place[group]
            place[key] = value
        return made

    return change


@pytest.fixture(scope="session")
def make_job(plain):
    """make_job(output, {"learner.gamma": 0.5, …}) -> a checked job."""
    return lambda output, changes=(): JobConfig.parse(plain({"execution.output": str(output), **dict(changes)}))


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A folder with what `tacit train` left: runs of the toy game at two coefficients. Tests only read it."""
    folder = tmp_path_factory.mktemp("finished")
    with contextlib.chdir(folder), compiled_quickly():
        said = call("train", *TINY, "learner.entropy_coef=[0.01,0.1]")
    assert said.status == 0, said.err
    return folder, said


@pytest.fixture(scope="session")
def finished_runs(finished, make_job):
    """Its run directories, in the order of the coefficients."""
    folder, _ = finished
    return [folder / "runs" / run.name() for run in make_job("runs", {"learner.entropy_coef": [0.01, 0.1]}).runs()]


@pytest.fixture
def a_run(finished_runs, tmp_path):
    """A copy of a finished run that a test may spoil."""
    return Path(shutil.copytree(finished_runs[0], tmp_path / "copies" / finished_runs[0].name))


@pytest.fixture(scope="session")
def make_run(make_job):
    """make_run(folder, {"policy.torso": [4], …}) -> the directory of a run that is finished, but learned nothing."""

    def make(folder, changes):
        (run,) = make_job(folder, changes).runs()
        path = runs.claim(folder, run, overwrite=False)
        built = run.build()
        keys = jax.random.split(jax.random.key(1), run.seeds)
        state = jax.lax.map(lambda key: built.learner.init(built.hyperparameters, key=key), keys)
        runs.write_policies(path / "policies.safetensors", run, jax.device_get(state.params))
        runs.write_status(path, "finished", steps=0)
        return path

    return make


@pytest.fixture(scope="session")
def wide_run(tmp_path_factory, make_run):
    """A run of the toy game with another network."""
    with compiled_quickly():
        return make_run(tmp_path_factory.mktemp("wide"), {"policy.torso": [4, 6], "policy.actor": [3]})
