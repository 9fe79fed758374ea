"""The main job: train the runs of one configuration together, then play their seeds with each other.

Knows neither hydra nor the terminal, so that the same code runs from the command line, in a sweep and on an
accelerator machine (`experiments.run_piece`).
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import runs
from experiments.config import Built, JobConfig, RunConfig, stack_hyperparameters
from games.errors import TacitError
from marl.agent import Agent
from marl.crossplay import CrossPlay, crossplay

_HEARTBEAT_SECONDS = 30.0


class Progress(NamedTuple):
    """How a job stands, for whoever shows it."""

    stage: str
    """What is being done, in a few words."""
    done: int
    total: int
    """Steps of games so far and in all, of one learner."""
    steps_per_second: float
    """Of all learners together, in the last compiled call; 0 outside training."""
    mean_return: float
    """Of the games that ended in the last compiled call; nan if none did."""
    entropy: float
    """Mean entropy in nats."""


Report = Callable[[Progress], None]


def run_job(config: JobConfig, *, report: Report = lambda progress: None) -> list[Path]:
    """Train all runs of a job that are not finished yet and cross-play their seeds.

    Args:
      config: the job; its runs train in one compiled program.
      report: is told of the progress between compiled calls.

    Returns:
      The run directories, one for each run in the order of `config.runs()`.

    Raises:
      TacitError: if a run is being trained by another process, or training diverges.
      KeyboardInterrupt: after the directories have been marked as interrupted.
    """
    root = Path(config.execution.output)
    members = config.runs()
    for run in members:  # refuse before anything is written
        runs.needs_training(root / run.name(), run, overwrite=config.execution.overwrite)
    claimed = [runs.claim(root, run, overwrite=config.execution.overwrite) for run in members]
    todo = [(run, path) for run, path in zip(members, claimed, strict=True) if path is not None]
    if todo:
        _train_and_cross_play(config, [run for run, _ in todo], [path for _, path in todo], report)
    return [root / run.name() for run in members]


def run_one(config: JobConfig, path: Path, *, report: Report = lambda progress: None) -> None:
    """Train the only run of a job into the directory `path`, whatever its name.

    Raises:
      TacitError: if the job has several runs; else as `run_job`.
    """
    members = config.runs()
    if len(members) != 1:
        raise TacitError(f"one run directory holds one run, and this configuration stands for {len(members)}")
    claimed = runs.claim(path.parent, members[0], overwrite=config.execution.overwrite, name=path.name)
    if claimed is not None:
        _train_and_cross_play(config, members, [claimed], report)


def _train_and_cross_play(
    config: JobConfig, members: Sequence[RunConfig], paths: Sequence[Path], report: Report
) -> None:
    log = _Log([run.build() for run in members], config, paths)
    try:
        params = _train(log, report)
        parts = zip(members, paths, log.agents(params), log.split(params), strict=True)
        for number, (run, path, agents, own) in enumerate(parts):
            report(log.progress(f"cross-play {number + 1} of {len(members)}"))
            runs.write_policies(path, run, own)
            results = cross_play_both(log.game, agents, config.crossplay)
            runs.write_crossplay(path, results, dataclasses.asdict(config.crossplay))
            log.write_metrics(number)
            runs.write_status(path, "finished", steps=log.steps)
    except KeyboardInterrupt:
        log.give_up("interrupted", "stopped from outside")
        raise
    except Exception as error:
        log.give_up("failed", f"{type(error).__name__}: {error}")
        raise


def cross_play_both(game: Any, agents: Sequence[Agent], config: Any) -> dict[str, CrossPlay]:
    """The sampled and the greedy cross-play that a `CrossPlayConfig` describes."""
    return {
        name: crossplay(
            game,
            agents,
            games=config.games,
            greedy=name == "greedy",
            key=jax.random.key(config.seed),
            seating=config.seating,
            max_seatings=config.max_seatings,
            max_lanes=config.max_lanes,
        )
        for name in ("sampled", "greedy")
    }


def _train(log: "_Log", report: Report) -> Any:
    """Train all learners of a log; their parameters, leaves [runs * seeds, ...], on the host."""
    learner, seeds = log.learner, log.seeds
    numbers = np.tile(np.arange(log.config.first_seed, log.config.first_seed + seeds, dtype=np.uint32), len(log.built))
    hyperparameters = stack_hyperparameters([built.hyperparameters for built in log.built for _ in range(seeds)])

    @jax.jit
    def start(hyperparameters: Any, numbers: Any) -> Any:
        return jax.lax.map(lambda one: learner.init(one[0], key=jax.random.key(one[1])), (hyperparameters, numbers))

    report(log.progress("compiling"))
    advance = jax.jit(jax.vmap(learner.updates, in_axes=(0, None)), donate_argnums=0)
    state = start(hyperparameters, numbers)
    per_row = -(-learner.total_updates // log.config.execution.rows)
    evaluations = log.evaluation_updates()
    done = 0
    while done < learner.total_updates:
        count = min(per_row, learner.total_updates - done)
        began = time.perf_counter()
        state, metrics = advance(state, jnp.int32(count))
        metrics = jax.device_get(metrics)  # waits for the call
        done += count
        log.add(count, metrics, seconds=time.perf_counter() - began)
        if evaluations and done >= evaluations[0]:
            evaluations = [update for update in evaluations if update > done]
            log.evaluate(jax.device_get(state.params))
        report(log.progress("training"))
    return jax.device_get(state.params)


class _Log:
    """What happened so far in the training of several runs, and its way into their directories."""

    def __init__(self, built: Sequence[Built], config: JobConfig, paths: Sequence[Path]) -> None:
        self.built, self.config, self.paths = built, config, paths
        self.game, self.kind, self.learner = built[0].game, built[0].kind, built[0].learner
        self.seeds = config.seeds
        self.steps = 0
        self._rows: list[dict[str, np.ndarray]] = []  # each value [runs, seeds]
        self._evaluations: list[dict[str, np.ndarray]] = []  # each value [runs, cells]
        self._row_steps: list[int] = []
        self._evaluation_steps: list[int] = []
        self._speed = 0.0
        self._heard = time.monotonic()

    def add(self, updates: int, metrics: Any, *, seconds: float) -> None:
        """Note one compiled call of `updates` updates; `metrics` has leaves [runs * seeds]."""
        new_steps = updates * self.learner.steps_per_update
        self.steps += new_steps
        self._speed = new_steps * len(self.built) * self.seeds / seconds
        shape = (len(self.built), self.seeds)
        episodes = metrics.episodes._asdict()
        row = {name: np.reshape(value, shape) for name, value in [*episodes.items(), *metrics.means.items()]}
        row |= {name: np.reshape(value, shape) for name, value in metrics.maxima.items()}
        row["steps_per_second"] = np.full(shape, self._speed, np.float32)
        self._rows.append(row)
        self._row_steps.append(self.steps)
        if not np.isfinite(row["loss"]).all():
            run, seed = np.argwhere(~np.isfinite(row["loss"]))[0].tolist()
            raise TacitError(
                f"training diverged: the loss of seed {self.config.first_seed + seed} in run {self.paths[run].name} is "
                f"not finite after {self.steps} steps; a smaller learner.learning_rate may help"
            )
        if time.monotonic() - self._heard > _HEARTBEAT_SECONDS:
            self._heard = time.monotonic()
            for path in self.paths:
                runs.write_status(path, "running", steps=self.steps)

    def evaluation_updates(self) -> list[int]:
        """After which numbers of updates to evaluate."""
        number = self.config.execution.evaluations
        return [-(-self.learner.total_updates * (k + 1) // number) for k in range(number)]

    def evaluate(self, params: Any) -> None:
        """A small greedy cross-play within each run: every seed with itself, and disjoint groups of seeds."""
        game, seeds = self.game, self.seeds
        selves = [(seed,) * game.num_players for seed in range(seeds)]
        starts = range(0, seeds - game.num_players + 1, game.num_players)
        groups = [range(first, first + game.num_players) for first in starts]
        turned = [tuple(np.roll(group, shift).tolist()) for group in groups for shift in range(game.num_players)]
        own = np.array(selves + turned, np.int32)
        everybody = [agent for agents in self.agents(params) for agent in agents]
        cells = np.concatenate([own + run * seeds for run in range(len(self.built))])
        games = self.config.execution.evaluation_games
        result = crossplay(
            game,
            everybody,
            games=games,
            greedy=True,
            key=jax.random.key(self.config.crossplay.seed),
            seating=cells,
            max_lanes=self.config.crossplay.max_lanes,
        )
        means = result.mean.reshape(len(self.built), -1)
        crossed = means[:, seeds:].reshape(len(self.built), len(groups), game.num_players).mean(axis=2)
        self._evaluations.append({"greedy_self_play": means[:, :seeds], "greedy_cross_play": crossed})
        self._evaluation_steps.append(self.steps)

    def agents(self, params: Any) -> list[list[Agent]]:
        """The agents of each run from leaves [runs * seeds, ...]."""
        return [
            [
                Agent(self.kind, jax.tree.map(lambda leaf, row=row: leaf[row], own), f"{self.config.first_seed + row}")
                for row in range(self.seeds)
            ]
            for own in self.split(params)
        ]

    def split(self, params: Any) -> list[Any]:
        """The parameters of each run, leaves [seeds, ...]."""
        seeds = self.seeds
        return [
            jax.tree.map(lambda leaf, run=run: leaf[run * seeds : (run + 1) * seeds], params)
            for run in range(len(self.built))
        ]

    def write_metrics(self, run: int) -> None:
        """Write a run's metrics.npz; `run` is its number in this job."""
        table: dict[str, np.ndarray] = {"steps": np.array(self._row_steps, np.int64)}
        for name in self._rows[0] if self._rows else ():
            table[name] = np.stack([row[name][run] for row in self._rows])
        table["evaluation_steps"] = np.array(self._evaluation_steps, np.int64)
        for name in self._evaluations[0] if self._evaluations else ():
            table[name] = np.stack([row[name][run] for row in self._evaluations])
        runs.write_metrics(self.paths[run], table)

    def give_up(self, state: str, reason: str) -> None:
        """Mark the runs that are not finished."""
        for run, path in enumerate(self.paths):
            status = runs.read_status(path)
            if status is None or status["state"] != "finished":
                self.write_metrics(run)
                runs.write_status(path, state, steps=self.steps, reason=reason)

    def progress(self, stage: str) -> Progress:
        total = self.learner.total_updates * self.learner.steps_per_update
        if not self._rows:
            return Progress(stage, 0, total, 0.0, float("nan"), float("nan"))
        last = self._rows[-1]
        count = last["count"].sum()
        mean_return = float(last["return_sum"].sum() / count) if count else float("nan")
        return Progress(stage, self.steps, total, self._speed, mean_return, float(last["entropy"].mean()))
