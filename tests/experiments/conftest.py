"""The command line in this process, and finished runs of a toy game that several tests look at."""

import contextlib
import copy
import functools
import hashlib
import io
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest

from experiments import cli, compose, runs
from experiments.config import JobConfig, RunConfig, build_game, build_kind
from experiments.runs import claims, index
from marl.agent import declared_parameters
from marl.crossplay import CrossPlay, seatings

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


@pytest.fixture(autouse=True, scope="session")
def indexes_of_their_own(tmp_path_factory):
    """Indexes of runs that tests made do not stay behind in the user's folder for caches."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "cache_folder", lambda: folder)
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


_NO_PROCESS = 1 << 23
"""Above the largest process number that Linux gives."""
_CHECKED = ("run.json", "crossplay.json", "metrics.npz", "policies.safetensors")


@functools.cache
def _zero_weights(text):
    """The policy's parameters of all seeds, zeros, for a configuration as JSON."""
    game, policy, shared, seeds = json.loads(text)
    built = build_game(game)
    declared = declared_parameters(build_kind(policy, built, share_parameters=shared), built.num_players)
    return jax.tree.map(lambda leaf: np.zeros((seeds, *leaf.shape), leaf.dtype), declared)


def _cells(seeds, players, score, generator):
    """Cross-play of `score(seats)`, or of noise around it (a number) with self-play above it."""
    seats = seatings(seeds, players, "all")
    own = (seats == seats[:, :1]).all(axis=1)
    if callable(score):
        mean = np.array([float(score(tuple(row))) for row in seats.tolist()])
    else:
        spread = generator.normal(size=seeds)[seats].mean(axis=1) + generator.normal(size=len(seats))
        mean = score * (1 + 0.3 * own + 0.05 * spread)
    return CrossPlay(
        labels=tuple(map(str, range(seeds))),
        seatings=seats,
        mean=mean,
        standard_error=np.full(len(seats), 0.01),
        games=np.full(len(seats), 100),
        bombed=generator.integers(0, 50, len(seats)),
        length=np.full(len(seats), 2.0),
    )


def _learned(seeds, players, steps, score, generator):
    """The arrays of a metrics.npz, 10 rows."""
    rows, names = 10, ("approx_kl", "clip_fraction", "entropy", "loss", "policy_loss", "value_loss", "steps_per_second")
    level = 0.0 if callable(score) else score
    return {
        "steps": np.linspace(steps / rows, steps, rows).astype(np.int64),
        "count": np.full((rows, seeds), 10, np.int32),
        "return_sum": (10 * level * np.linspace(0.1, 1, rows)[:, None] * np.ones((1, seeds))).astype(np.float32),
        "length_sum": np.full((rows, seeds), 20, np.int32),
        "bombed": np.zeros((rows, seeds), np.int32),
        **{name: generator.random((rows, seeds)).astype(np.float32) for name in names},
        "evaluation_steps": np.array([steps // 2, steps], np.int64),
        "greedy_self_play": np.full((2, seeds), level),
        "greedy_cross_play": np.full((2, max(1, seeds // players)), level),
    }


def write_synthetic_run(plain, root, *, seeds=8, players=2, score=0.5, state="finished", name=None, **overrides):
    """Write a run directory of the toy game that nobody trained; the arguments are those of `synthetic_run`."""
    plain = {**plain, "seeds": seeds, "game": {**plain["game"], "players": players}}
    for dotted, value in overrides.items():
        group, _, key = dotted.rpartition(".")
        plain = {**plain, group: {**plain[group], key: value}} if group else {**plain, key: value}
    steps = plain["budget"]["steps"]
    run = RunConfig(*(plain[key] for key in ("game", "policy", "learner", "seeds", "first_seed")), int(steps))
    path = Path(root) / (name or run.name())
    path.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(int(run.name(), 16))
    description = {"format": 1, "name": run.name(), "science": run.science(), "versions": {"jax": "0"}}
    runs.write_json(path / "run.json", description)
    runs.write_metrics(path, _learned(seeds, players, steps, score, generator))
    if state == "finished":
        text = json.dumps([run.game, run.policy, run.learner.get("share_parameters", True), seeds])
        runs.write_policies(path / "policies.safetensors", run, _zero_weights(text))
        results = {play: _cells(seeds, players, score, generator) for play in ("sampled", "greedy")}
        runs.write_crossplay(path, results, {"games": 100, "seating": "all", "seed": 0})
        digests = {file: hashlib.sha256((path / file).read_bytes()).hexdigest() for file in _CHECKED}
        runs.write_json(path / "checksums.json", {"format": 1, "files": digests})
    runs.write_status(
        path,
        "running" if state == "killed" else state,
        steps=steps if state == "finished" else steps // 2,
        reason={"failed": "the loss is not finite", "interrupted": "stopped from outside"}.get(state, ""),
    )
    if state in ("running", "killed"):
        owner = claims._me() if state == "running" else claims._me()._replace(process=_NO_PROCESS)
        (path / ".claim.1").write_text(json.dumps(owner._asdict()))
    return path


@pytest.fixture(scope="session")
def synthetic_run(plain):
    """synthetic_run(root, seeds=8, …, **{"learner.gamma": 0.5}) -> the directory of a run that nobody trained.

    Args:
      root: the folder of runs.
      seeds, players: of the toy game.
      score: mean cross-play score, with noise, and self-play 30 % above; or seats -> the exact score of a cell.
      state: finished | running (by a process that lives) | killed | interrupted | failed.
      name: of the directory, instead of the run's.
      overrides: dotted keys of the configuration; game=… replaces the whole group.
    """
    return functools.partial(write_synthetic_run, plain())
