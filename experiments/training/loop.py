"""The training of several runs in one compiled program, from their last checkpoint to the end or to a pause.

Between compiled calls, of about two seconds each, it logs, evaluates, saves and may stop. Rows of the metrics table and
greedy evaluations come at fixed numbers of updates, and sums over updates are carried from call to call. So neither the
division into calls nor a pause changes any result except the measured times.
"""

import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import runs
from experiments.configuration.config import Built, JobConfig, RunConfig, stack_hyperparameters
from experiments.training import checkpoints
from experiments.training.initial_policies import begun_with
from experiments.training.memory import check_memory, out_of_memory
from experiments.training.stopping import Stopper
from games.check import check
from games.errors import TacitError
from marl import devices
from marl.agent import Agent
from marl.crossplay import crossplay
from marl.learners.learner import NEVER, updates, zero_metrics

_HEARTBEAT_SECONDS = 30.0
_CALL_SECONDS = 2.0
"""The intended length of a compiled call: a signal is handled, and progress reported, only after its end."""
_WORTH_SAVING_SECONDS = 60.0
"""A training that took longer in this process is saved before its cross-play."""


class Progress(NamedTuple):
    """The progress of a job."""

    stage: str
    """The present activity, in a few words."""
    done: int
    total: int
    """Steps of games so far and in all, of one learner."""
    steps_per_second: float
    """Of all learners together, in the last compiled call; 0 outside training."""
    mean_return: float
    """Of the games that ended in the last compiled calls; nan if none did."""
    entropy: float
    """Mean entropy in nats."""
    seconds_left: float
    """Until the end of training, at the speed of the last compiled call; nan outside training."""


Report = Callable[[Progress], None]


class Diverged(TacitError):
    """The loss of the run at `path` is not finite."""

    def __init__(self, path: Path, sentence: str) -> None:
        super().__init__(sentence)
        self.path = path

    def __reduce__(self) -> tuple[type, tuple[Path, str]]:  # launchers send it from process to process
        return Diverged, (self.path, str(self))


class Member(NamedTuple):
    """One run of a job and its directory."""

    config: RunConfig
    built: Built
    path: Path
    checkpoint: checkpoints.Checkpoint | None
    """The checkpoint to resume from; None to start from the beginning."""

    @property
    def updates(self) -> int:
        """Updates done so far."""
        return self.checkpoint.updates if self.checkpoint else 0

    @property
    def folder(self) -> Path:
        """The folder of its checkpoints."""
        return self.path / runs.CHECKPOINTS


def member(config: RunConfig, path: Path, warn: Callable[[str], None]) -> Member:
    """A run that is to be trained into `path`, with its newest checkpoint.

    Raises:
      TacitError: if its checkpoint is of another configuration or version.
    """
    built = config.built
    state = jax.eval_shape(
        functools.partial(_initial_state, built.learner), *_stacked_inputs([built], config.first_seed, config.seeds)
    )
    like = (state, _zero_metrics(built.learner, config.seeds))
    found = checkpoints.load(
        path / runs.CHECKPOINTS, config.science(), by_default=config.by_default(), like=like, warn=warn
    )
    return Member(config, built, path, found)


class Training:
    """Runs of one job that have done the same number of updates.

    Attributes:
      updates: updates done so far.
      calls: compiled calls so far, in this process.
      devices: the devices on which it runs.

    Raises:
      TacitError: if there are fewer devices than `execution.devices`.
    """

    def __init__(self, config: JobConfig, members: Sequence[Member], stopper: Stopper, report: Report) -> None:
        self.config, self.members, self.seeds = config, members, config.seeds
        self.game, self.kind = members[0].built.game, members[0].built.kind
        self.learner = members[0].built.learner
        self.updates, self.calls = members[0].updates, 0
        self.devices = _devices(config.execution.devices, len(members) * config.seeds)
        self._stopper, self._report = stopper, report
        self._tables = [_rows_of(member.checkpoint) for member in members]
        first = members[0].checkpoint
        self._seconds = float(first.log["training_seconds"][0]) if first else 0.0
        self._row: dict[str, np.ndarray] = {}  # the newest, complete or not; each value [runs, seeds]
        self._speed = 0.0
        self._save_seconds = 1.0
        self._state: Any = None  # learners and metrics since the last row, on their devices
        self._saved_updates = self.updates
        self._saved = self._last_heartbeat = self._began = time.monotonic()

    @property
    def steps(self) -> int:
        """Steps of games that each learner has played so far."""
        return self.updates * self.learner.steps_per_update

    @property
    def total_steps(self) -> int:
        return self.learner.total_updates * self.learner.steps_per_update

    def run(self) -> list[Any]:
        """Train to the end.

        Returns:
          The parameters of each run, leaves [seeds, ...], on the host.

        Raises:
          Paused: if a signal came or the time is used up; everything is saved.
          TacitError: if training diverges, or needs more memory than there is.
        """
        if self.updates == self.learner.total_updates:
            return [
                self.learner.agent_params(member.checkpoint.state[0]) for member in self.members if member.checkpoint
            ]
        advance, nothing = self._compile()
        per_row = -(-self.learner.total_updates // self.config.execution.rows)
        seconds_per_update = float("inf")
        while self.updates < self.learner.total_updates:
            if self.calls and devices.broadcast_from_first(self._stopper.stop(seconds_per_update + self._save_seconds)):
                self.save()
                raise self._stopper.pause(f"after {self.steps:,} of {self.total_steps:,} steps a seed")
            row_end = min((self.updates // per_row + 1) * per_row, self.learner.total_updates)
            count = self._affordable(row_end - self.updates, seconds_per_update)
            began = time.perf_counter()
            state, metrics = advance(*self._state, jnp.int32(count))
            self._state = state, metrics
            found = jax.tree.map(np.array, devices.fetch(metrics))  # waits for the call
            seconds_per_update = (time.perf_counter() - began) / count
            self.updates, self.calls = self.updates + count, self.calls + 1
            self._report_progress(found, count, seconds_per_update)
            if self.updates == row_end:
                self._end_row(devices.fetch(self.learner.agent_params(state)))
                self._state = state, devices.place(nothing, jax.tree.map(lambda x: x.sharding, metrics))
            self._report(self.progress("training"))
            if self._due(self._saved, 60 * self.config.execution.checkpoint_minutes):
                self.save()
        if self._due(self._began, _WORTH_SAVING_SECONDS):
            self.save()
        return self.split(devices.fetch(self.learner.agent_params(self._state[0])))

    def save(self) -> None:
        """Write a checkpoint of every run, unless there is one of this update already."""
        if self._state is None or self._saved_updates == self.updates:
            return
        began = time.monotonic()
        whole = devices.fetch(self._state)
        if jax.process_index() == 0:
            for number, (one, own) in enumerate(zip(self.members, self.split(whole), strict=True)):
                science, log = one.config.science(), self.table(number)
                checkpoints.save(one.folder, science, updates=self.updates, state=own, log=log, steps=self.steps)
        self._saved, self._saved_updates = time.monotonic(), self.updates
        self._save_seconds = self._saved - began

    def table(self, run: int) -> dict[str, np.ndarray]:
        """The metrics of a run, by its number in this job, as in `runs.read_metrics` ([rows, seeds])."""
        empty = {"steps": np.int64, "evaluation_steps": np.int64}
        table = {name: np.zeros(0, dtype) for name, dtype in empty.items()}
        table |= {name: np.stack(rows) for name, rows in self._tables[run].items()}
        return table | {"training_seconds": np.array([self._seconds])}

    def split(self, tree: Any) -> list[Any]:
        """Leaves [runs * seeds, ...] divided into one tree [seeds, ...] for each run."""
        seeds = self.seeds
        return [
            jax.tree.map(lambda leaf, run=run: leaf[run * seeds : (run + 1) * seeds], tree)
            for run in range(len(self.members))
        ]

    def agents(self, params: Any) -> list[Agent]:
        """The agents of one run from leaves [seeds, ...]."""
        return [
            Agent(self.kind, jax.tree.map(lambda leaf, row=row: leaf[row], params), f"{self.config.first_seed + row}")
            for row in range(self.seeds)
        ]

    def progress(self, stage: str) -> Progress:
        if not self._row:
            return Progress(stage, self.steps, self.total_steps, 0.0, float("nan"), float("nan"), float("nan"))
        count = self._row["count"].sum()
        mean_return = float(self._row["return_sum"].sum() / count) if count else float("nan")
        entropy = float(self._row["entropy"].mean())
        left = len(self.members) * self.seeds * (self.total_steps - self.steps) / self._speed
        return Progress(stage, self.steps, self.total_steps, self._speed, mean_return, entropy, left)

    def _compile(self) -> tuple[Any, Any]:
        """Compile the program, place the learners on their devices; the program, and zero metrics on the host."""
        learner, learners = self.learner, len(self.members) * self.seeds
        mesh = devices.mesh_for(self.devices, learners=learners, num_games=learner.num_games)
        check_memory(learner, learners=learners // mesh.shape[devices.LEARNERS], device=self.devices[0])
        self._report(self.progress("compiling"))
        given = _stacked_inputs([member.built for member in self.members], self.config.first_seed, self.seeds)
        nothing = _zero_metrics(learner, learners)
        if self.updates:
            parts = [member.checkpoint.state for member in self.members if member.checkpoint]
            state, metrics = jax.tree.map(_joined, *parts)
        else:
            state, metrics = jax.jit(_initial_state, static_argnums=0)(learner, *given), nothing
            if (file := self.config.initial_policies) is not None:
                state = begun_with(file, state, self.members[0].config)
        shapes, structure = jax.tree.flatten(jax.eval_shape(lambda: (state, metrics)))
        try:
            state = devices.place(state, devices.layout(mesh, state))
            metrics = devices.place(metrics, devices.layout(mesh, metrics))
            advance = _program(learner, mesh, structure, tuple(shapes))
        except jax.errors.JaxRuntimeError as error:
            raise out_of_memory(error) or error from error
        self._state = state, metrics
        return advance, nothing

    def _affordable(self, most: int, seconds_per_update: float) -> int:
        """Updates of the next compiled call: as many as fit into its time, at least one; the same on all hosts."""
        seconds = min(_CALL_SECONDS, self._stopper.seconds_left())
        return devices.broadcast_from_first(max(1, min(most, int(seconds / seconds_per_update))))

    def _report_progress(self, metrics: Any, updates: int, seconds_per_update: float) -> None:
        """Take the metrics since the last row, leaves [runs * seeds], after a call of `updates` updates.

        Computes the running row and the speed, writes the heartbeat, and raises `Diverged` if a loss is not finite.
        """
        self._seconds += updates * seconds_per_update
        self._speed = self.learner.steps_per_update * len(self.members) * self.seeds / seconds_per_update
        if (metrics.diverged != NEVER).any():
            first = int(metrics.diverged.argmin())
            run, seed = divmod(first, self.seeds)
            raise Diverged(
                self.members[run].path,
                f"training diverged: the loss of seed {self.config.first_seed + seed} in run "
                f"{self.members[run].path.name} is not finite in update {metrics.diverged[first]} of "
                f"{self.learner.total_updates}; {self._remedy()}",
            )
        shape = (len(self.members), self.seeds)
        named = [*metrics.episodes._asdict().items(), *metrics.maxima.items()]
        means = [(name, total / np.float32(metrics.updates)) for name, total in metrics.sums.items()]
        self._row = {name: np.reshape(value, shape) for name, value in [*named, *means]}
        if self._due(self._last_heartbeat, _HEARTBEAT_SECONDS):
            self._last_heartbeat = time.monotonic()
            for member in self.members:
                if jax.process_index() == 0:
                    runs.write_status(member.path, "running", steps=self.steps)

    def _remedy(self) -> str:
        """Advice about a loss that is not finite: what is wrong with the game, if it violates its contract."""
        broken = [finding.wrong for finding in check(self.game, games=16) if finding.wrong]
        return broken[0] if broken else "a smaller learner.learning_rate may help"

    def _end_row(self, params: Any) -> None:
        """Add the newest row to the tables, with an evaluation of `params` if one is due."""
        timed = {"steps_per_second": np.full((len(self.members), self.seeds), self._speed, np.float32)}
        for run, table in enumerate(self._tables):
            for name, value in (self._row | timed).items():
                table.setdefault(name, []).append(value[run])
            table.setdefault("steps", []).append(np.int64(self.steps))
        number, total = self.config.execution.evaluations, self.learner.total_updates
        due = [-(-total * (k + 1) // number) for k in range(number)]
        evaluated = self._tables[0].get("evaluation_steps", [])
        last = evaluated[-1] // self.learner.steps_per_update if evaluated else 0
        if any(last < update <= self.updates for update in due):
            self._evaluate(params)

    def _evaluate(self, params: Any) -> None:
        """A small greedy cross-play within each run: every seed with itself, and disjoint groups of seeds."""
        game, seeds = self.game, self.seeds
        selves = [(seed,) * game.num_players for seed in range(seeds)]
        starts = range(0, seeds - game.num_players + 1, game.num_players)
        groups = [range(first, first + game.num_players) for first in starts]
        turned = [tuple(np.roll(group, shift).tolist()) for group in groups for shift in range(game.num_players)]
        own = np.array(selves + turned, np.int32)
        everybody = [agent for part in self.split(params) for agent in self.agents(part)]
        result = crossplay(
            game,
            everybody,
            games=self.config.execution.evaluation_games,
            greedy=True,
            key=jax.random.key(self.config.crossplay.seed),
            seating=np.concatenate([own + run * seeds for run in range(len(self.members))]),
            max_lanes=self.config.crossplay.max_lanes,
            devices=self.devices,
        )
        means = result.mean.reshape(len(self.members), -1)
        crossed = means[:, seeds:].reshape(len(self.members), len(groups), game.num_players).mean(axis=2)
        for run, table in enumerate(self._tables):
            table.setdefault("greedy_self_play", []).append(means[run, :seeds])
            table.setdefault("greedy_cross_play", []).append(crossed[run])
            table.setdefault("evaluation_steps", []).append(np.int64(self.steps))

    def _due(self, since: float, seconds: float) -> bool:
        return bool(devices.broadcast_from_first(time.monotonic() - since >= seconds))


def _devices(wanted: int | None, learners: int) -> Sequence[Any]:
    """The first `wanted` of the available devices; None for `devices.for_learners`.

    Raises:
      TacitError: if there are fewer.
    """
    if wanted is None:
        return devices.for_learners(learners)
    available = jax.devices()
    if wanted > len(available):
        raise TacitError(f"execution.devices must be at most the {len(available)} that there are, not {wanted}")
    return available[:wanted]


def _stacked_inputs(built: Sequence[Built], first_seed: int, seeds: int) -> tuple[Any, np.ndarray]:
    """The hyperparameters and the seed of every learner, [runs * seeds]."""
    numbers = np.tile(np.arange(first_seed, first_seed + seeds, dtype=np.uint32), len(built))
    return stack_hyperparameters([one.hyperparameters for one in built for _ in range(seeds)]), numbers


def _initial_state(learner: Any, hyperparameters: Any, numbers: Any) -> Any:
    """The initial states of all learners, leaves [learners, ...]."""
    return jax.lax.map(lambda one: learner.init(one[0], key=jax.random.key(one[1])), (hyperparameters, numbers))


# Both functions are cached: the next job of a sweep often has the same learner, with other hyperparameters.
@functools.lru_cache(maxsize=4)
def _zero_metrics(learner: Any, learners: int) -> Any:
    """Metrics before the first update, leaves [learners, ...], on the host."""
    one = jax.eval_shape(lambda: learner.init(learner.hyperparameters(), key=jax.random.key(0)))
    nothing = zero_metrics(learner, one)
    return jax.tree.map(lambda x: np.repeat(np.asarray(x)[None], learners, axis=0), nothing)


@functools.lru_cache(maxsize=4)
def _program(learner: Any, mesh: jax.sharding.Mesh, structure: Any, shapes: tuple[jax.ShapeDtypeStruct, ...]) -> Any:
    """The compiled loop of updates, for learners whose states and metrics have these shapes."""
    state, metrics = jax.tree.unflatten(structure, shapes)
    advance = devices.over_learners(functools.partial(updates, learner), mesh, state, in_axes=(0, 0, None))
    return advance.lower(state, metrics, jax.ShapeDtypeStruct((), jnp.int32)).compile()


def _joined(*parts: Any) -> Any:
    """Leaves [seeds, ...] of several runs as [runs * seeds, ...]; random keys stay typed."""
    return jnp.concatenate(parts) if isinstance(parts[0], jax.Array) else np.concatenate(parts)


def _rows_of(checkpoint: checkpoints.Checkpoint | None) -> dict[str, list[Any]]:
    """The tables of a checkpoint row by row."""
    log = checkpoint.log.items() if checkpoint else ()
    return {name: list(rows) for name, rows in log if len(rows) and name != "training_seconds"}
