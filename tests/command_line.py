"""The command line in this process, and runs that nobody trained: what several folders of tests use."""

import atexit
import contextlib
import functools
import hashlib
import io
import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest

from experiments import cli, runs
from experiments.configuration.config import RunConfig, build_game, build_kind
from experiments.runs import claims, directory
from marl.agent import declared_parameters
from marl.crossplay import CrossPlay, seatings

TINY = (
    "game=lever",
    "learner.num_games=8",
    "learner.rollout_length=4",
    "learner.epochs=1",
    "learner.minibatches=1",
    "learner.learning_rate=0.05",
    "learner.share_parameters=true",
    "learner.gamma=0.99",
    "policy.torso=[8]",
    "budget.steps=64",
    "seeds=2",
    "crossplay.games=8",
    "execution.rows=2",
    "execution.evaluations=1",
    "execution.evaluation_games=4",
    "execution.progress=false",
)


def tiny(*changes: str) -> list[str]:
    """The arguments of the toy game, with some keys given otherwise or added."""
    changed = {change.partition("=")[0] for change in changes}
    return [*(override for override in TINY if override.partition("=")[0] not in changed), *changes]


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
        atexit.unregister(cli.end_at_once)
        if full_error is None:
            os.environ.pop("HYDRA_FULL_ERROR", None)
    return Said(ended.value.code, out.getvalue(), err.getvalue())


_NO_PROCESS = 1 << 23
"""Above the largest process number that Linux gives."""
CHECKED = ("run.json", "crossplay.json", "crossplay.npz", "metrics.npz", "policies.safetensors")


@functools.cache
def zero_weights(text):
    """The policy's parameters of all seeds, zeros, for a configuration as JSON."""
    game, policy, shared, seeds = json.loads(text)
    built = build_game(game)
    declared = declared_parameters(build_kind(policy, built, share_parameters=shared), built.num_players)
    return jax.tree.map(lambda leaf: np.zeros((seeds, *leaf.shape), leaf.dtype), declared)


def refused(folder, *arguments):
    """What a command said that was refused: one sentence, and nothing new in `folder`."""
    before = sorted(folder.iterdir())
    said = call(*arguments)
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith("tacit: ")
    assert said.err.count("\n") == 1
    assert sorted(folder.iterdir()) == before
    return said.err


def printed_rows(out):
    """The rows of all tables that a command printed, headers first, each a list of its cells."""
    lines, rows, inside = out.splitlines(), [], False
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        inside = (inside and bool(line)) or set(following.strip()) == {"─"}  # sections are apart by a line of blanks
        if inside and set(line.strip()) - {"─"}:
            rows.append(re.split(r" {2,}", line.strip()))
    return rows


def invented_cells(seeds, players, score, generator):
    """Cross-play of `score(seats)`, or of noise around it (a number) with self-play above it."""
    seats = seatings(seeds, players, "all")
    own = (seats == seats[:, :1]).all(axis=1)
    if callable(score):
        mean = np.array([float(score(tuple(row))) for row in seats.tolist()])
    else:
        spread = generator.normal(size=seeds)[seats].mean(axis=1) + generator.normal(size=len(seats))
        mean = score * (1 + 0.3 * own + 0.05 * spread)
    scores = np.repeat(mean[:, None], 100, axis=1)  # what decks do is a matter of tests/marl
    return CrossPlay(
        labels=tuple(map(str, range(seeds))),
        seatings=seats,
        mean=mean,
        standard_error=np.full(len(seats), 0.01),
        games=np.full(len(seats), 100),
        bombed=generator.integers(0, 50, len(seats)),
        length=np.full(len(seats), 2.0),
        scores=scores,
    )


def invented_metrics(seeds, players, steps, score, generator):
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
    runs.write_json(path / "run.json", {"format": 1, **directory.description(run), "versions": {"jax": "0"}})
    runs.write_metrics(path, invented_metrics(seeds, players, steps, score, generator))
    if state == "finished":
        text = json.dumps([run.game, run.policy, run.learner.get("share_parameters", True), seeds])
        runs.write_policies(path / "policies.safetensors", run, zero_weights(text))
        results = {play: invented_cells(seeds, players, score, generator) for play in ("sampled", "greedy")}
        runs.write_crossplay(path, results, {"games": 100, "seating": "all", "seed": 0})
        digests = {file: hashlib.sha256((path / file).read_bytes()).hexdigest() for file in CHECKED}
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
