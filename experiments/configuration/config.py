"""Configurations: their keys, which are checked before anything compiles, and how a run gets its name.

A configuration is nested plain data (from hydra, or from a JSON file). `game`, `policy` and `learner` name what they
build with `_target_`, so that a class of the user's own is configured like one of ours; every other key is an argument
of that target. A **job** may give lists for the learner's hyperparameters; it stands for one **run** for each
combination, and all runs of a job train in one compiled program.
"""

import dataclasses
import functools
import hashlib
import inspect
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.configuration import conf_files
from experiments.configuration.targets import (
    REQUIRED,
    call,
    completed,
    default_group,
    find,
    hyperparameters,
    refuse_unknown,
)
from games.errors import TacitError, did_you_mean, number, one_of, whole_number
from marl.crossplay import Seating, seatings

if TYPE_CHECKING:
    from games.game import Game
    from marl.agent import Kind
    from marl.learners.learner import Learner

FORMAT = 1
"""Version of the run directory's format; part of a run's name."""

ADDED_KEYS: Mapping[str, Mapping[str, Any]] = {
    "games.hanabi.make": {"copies": None},
    "games.hanabi.Hanabi": {"copies": []},
    "games.hanabi.rules.Hanabi": {"copies": []},
}
"""Keys that joined a game of Tacit's after runs had been named, by the game's `_target_`, each with the value that
stands for the game of before: a run's name leaves them out where they have it."""

_POLICIES = "policies.safetensors"
_MOST_SEEDS = 4096
_MOST_UPDATES = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class CrossPlayConfig:
    """How the seeds of a run are played with each other after training.

    Attributes:
      games: games in each cell.
      seating: see `marl.crossplay.seatings`.
      max_seatings: random seatings besides those of disjoint groups, where there are more than these.
      max_lanes: games in one compiled call.
      seed: of decks and action draws.
    """

    games: int = 1000
    seating: Seating = "all"
    max_seatings: int = 200
    max_lanes: int = 8192
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low, high in [
            ("games", 1, 2**31 - 1), ("max_seatings", 1, None), ("max_lanes", 1, 2**31 - 1), ("seed", 0, 2**31 - 1)
        ]:  # fmt: skip
            object.__setattr__(self, name, whole_number(f"crossplay.{name}", getattr(self, name), low, high))
        one_of("crossplay.seating", self.seating, ("all", "distinct", "one_against_copies"))


@dataclasses.dataclass(frozen=True)
class ExecutionConfig:
    """How a job is carried out: nothing here changes the policies or scores of a run.

    Attributes:
      output: the folder that holds the run directories.
      overwrite: train finished runs again instead of skipping them.
      retry_failed: in a sweep, train runs that failed before again instead of skipping them.
      progress: show a progress bar.
      rows: rows of the metrics table.
      evaluations: greedy cross-plays during training; 0 for none.
      evaluation_games: games in each cell of these.
      figures: draw learning curves, cross-play matrices and the comparison of the job's runs.
      checkpoint_minutes: wall-clock time between two checkpoints.
      devices: how many devices share the learners (and the games of a learner); None for all.
      distributed: whether this process is one of several, on one or many hosts (`experiments.training.hosts`).

    Raises:
      TacitError: for an invalid value, naming its key.
    """

    output: str = "runs"
    overwrite: bool = False
    retry_failed: bool = False
    progress: bool = True
    rows: int = 100
    evaluations: int = 10
    evaluation_games: int = 64
    figures: bool = True
    checkpoint_minutes: float = 10.0
    devices: int | None = None
    distributed: bool = False

    def __post_init__(self) -> None:
        for name in ("overwrite", "retry_failed", "progress", "figures", "distributed"):
            one_of(f"execution.{name}", getattr(self, name), (True, False))
        for name, low in [("rows", 1), ("evaluations", 0), ("evaluation_games", 1)]:
            object.__setattr__(self, name, whole_number(f"execution.{name}", getattr(self, name), low))
        number("execution.checkpoint_minutes", self.checkpoint_minutes, 0, above=True)
        if self.devices is not None:
            object.__setattr__(self, "devices", whole_number("execution.devices", self.devices, 1))
        if not isinstance(self.output, str) or not self.output:
            raise TacitError(f"execution.output must be a folder's name, not {self.output!r}")


@dataclasses.dataclass(frozen=True)
class JobConfig:
    """A whole configuration, checked.

    Attributes:
      game, policy, learner: what to build, `_target_` and its arguments; `policy.observer` names the game's observer.
      seeds: independent learners in each run, numbered from `first_seed`.
      first_seed: the first learner's number, which alone decides its randomness.
      steps: steps of games for each learner.
      minutes: wall-clock time after which the job saves everything and stops; None for none.
      crossplay, execution: see there.
      initial_policies: the file of the policies that the learners begin with: as many as there are seeds, or one for
        all; None for fresh ones. They may be of a smaller board that fits into this one (`games.hanabi.smaller`).

    Raises:
      TacitError: in one sentence, for an unknown key or a value out of range.
    """

    game: Mapping[str, Any]
    policy: Mapping[str, Any]
    learner: Mapping[str, Any]
    seeds: int
    first_seed: int
    steps: int
    minutes: float | None
    crossplay: CrossPlayConfig
    execution: ExecutionConfig
    initial_policies: Path | None = None

    @classmethod
    def parse(cls, plain: Mapping[str, Any]) -> "JobConfig":
        """Read nested plain data as hydra composes it from `conf/`; every part is built once, so that all checks run.

        Raises:
          TacitError: for an unknown key or an invalid value, naming it.
        """
        groups = ("game", "policy", "learner", "crossplay", "execution", "budget")
        keys = (*groups, "seeds", "first_seed", "initial_policies")
        if not isinstance(plain, Mapping):
            raise TacitError(f"a configuration must be a mapping with the keys {', '.join(keys)}, not {plain!r}")
        refuse_unknown("the configuration", plain, keys)
        plain = {"crossplay": {}, "execution": {}, **plain}
        for group in groups:
            if not isinstance(plain.get(group), Mapping):
                raise TacitError(f"the configuration needs a group {group!r} of keys, not {plain.get(group)!r}")
        refuse_unknown("budget", plain["budget"], ("steps", "minutes"))
        minutes = plain["budget"].get("minutes")
        job = cls(
            game=completed("game", plain["game"]),
            policy=completed("policy", plain["policy"]),
            learner=completed("learner", plain["learner"]),
            seeds=whole_number("seeds", plain.get("seeds"), 1, _MOST_SEEDS),
            first_seed=whole_number("first_seed", plain.get("first_seed", 0), 0, 2**31 - 1),
            steps=whole_number("budget.steps", plain["budget"].get("steps"), 1),
            minutes=None if minutes is None else number("budget.minutes", minutes, 0, above=True),
            crossplay=parse_dataclass(CrossPlayConfig, "crossplay", plain["crossplay"]),
            execution=parse_dataclass(ExecutionConfig, "execution", plain["execution"]),
            initial_policies=_policies_file(plain.get("initial_policies")),
        )
        job = dataclasses.replace(job, learner=_with_defaults_of_the_game(job.game, job.learner))
        for run in job.runs:  # build every part, so that all its checks run now
            seatings(job.seeds, run.built.game.num_players, job.crossplay.seating)
        return job

    @functools.cached_property
    def runs(self) -> list["RunConfig"]:
        """One run for each combination of the listed hyperparameters, in the order of the lists.

        Raises:
          TacitError: if a list is empty or has a value twice, naming it.
        """
        target = find("learner", self.learner)
        names = [name for name in target.hyperparameters._fields if isinstance(self.learner.get(name), list | tuple)]
        for name in names:
            values = self.learner[name]
            if not values:
                raise TacitError(f"learner.{name} must be a number or a list of at least one number, not an empty list")
            if twice := [value for place, value in enumerate(values) if value in values[:place]]:
                raise TacitError(f"learner.{name} has {twice[0]!r} twice in its list, and both would be the same run")
        begun = None if self.initial_policies is None else digest(self.initial_policies)
        return [
            RunConfig(
                game=self.game,
                policy=self.policy,
                learner={**self.learner, **dict(zip(names, values, strict=True))},
                seeds=self.seeds,
                first_seed=self.first_seed,
                steps=self.steps,
                initial_policies=begun,
            )
            for values in itertools.product(*(self.learner[name] for name in names))
        ]


@dataclasses.dataclass(frozen=True)
class Built:
    """The objects that a run's configuration stands for."""

    game: "Game"
    kind: "Kind"
    learner: "Learner"
    hyperparameters: Any


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """The configuration of one run: what decides its results.

    Attributes as in `JobConfig`, with no lists; of the initial policies only their file's `digest`.
    """

    game: Mapping[str, Any]
    policy: Mapping[str, Any]
    learner: Mapping[str, Any]
    seeds: int
    first_seed: int
    steps: int
    initial_policies: str | None = None

    @functools.cached_property
    def built(self) -> Built:
        """The game, the policy and the learner, built on first use.

        Raises:
          TacitError: for an unknown key or a value out of range.
        """
        game = self._game
        kind = build_kind(self.policy, game, share_parameters=self.learner.get("share_parameters", True))
        fields = find("learner", self.learner).hyperparameters._fields
        static = {name: value for name, value in self.learner.items() if name not in fields}
        numbers = hyperparameters(self.learner)
        unbounded = call(
            "learner",
            static,
            fields,
            game=game,
            policy=kind.policy,
            observer=kind.observer,
            total_updates=_MOST_UPDATES,
        )
        total_updates = self.steps // unbounded.steps_per_update
        if total_updates < 1:
            length = "learner.rollout_length" if "rollout_length" in self.learner else "the longest game"
            raise TacitError(
                f"budget.steps must be at least one update's {unbounded.steps_per_update} steps "
                f"(learner.num_games x {length}), not {self.steps}"
            )
        if total_updates > _MOST_UPDATES:
            raise TacitError(f"budget.steps must be below {unbounded.steps_per_update * 2**31:.0e}, not {self.steps:g}")
        learner = dataclasses.replace(unbounded, total_updates=total_updates)
        return Built(game=game, kind=kind, learner=learner, hyperparameters=numbers)

    @functools.cached_property
    def _game(self) -> "Game":
        return build_game(self.game)

    def science(self) -> dict[str, Any]:
        """What decides the run's results, as plain data: its name is the hash of this."""
        learner = find("learner", self.learner)
        version = {"version": learner.version} if hasattr(learner, "version") else {}
        begun = {} if self.initial_policies is None else {"initial_policies": self.initial_policies}
        return {
            "format": FORMAT,
            "game": {**self.game, "version": self._game.version},
            "policy": dict(self.policy),
            "learner": {**_floats(self.learner, learner.hyperparameters._fields), **version},
            "seeds": self.seeds,
            "first_seed": self.first_seed,
            "steps": self.steps,
            **begun,
        }

    def by_default(self) -> dict[str, Any]:
        """The keys of `science()` that the name leaves out: as in `ADDED_KEYS`, or by default of the learner's version.

        So a key that a later version of Tacit adds does not rename older runs.
        """
        of_game = ADDED_KEYS.get(self.game["_target_"], {})
        of_learner = declared_defaults(find("learner", self.learner))
        return _equal_keys("game", self.game, of_game) | _equal_keys("learner", self.learner, of_learner)

    def name(self) -> str:
        """Twelve hexadecimal digits: a hash of `science()`."""
        return name_of(self.science(), self.by_default())

    @classmethod
    def from_science(cls, science: Mapping[str, Any]) -> "RunConfig":
        """The inverse of `science()`; the caller compares the versions."""
        game, learner = (
            {key: value for key, value in science[part].items() if key != "version"} for part in ("game", "learner")
        )
        seeds, first_seed, steps = (science[key] for key in ("seeds", "first_seed", "steps"))
        return cls(game, science["policy"], learner, seeds, first_seed, steps, science.get("initial_policies"))


def digest(file: Path) -> str:
    """Twelve hexadecimal digits: a hash of a file's bytes.

    Raises:
      TacitError: if it cannot be read.
    """
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()[:12]
    except OSError as error:
        raise TacitError(f"initial_policies: {file} cannot be read: {error.strerror or error}") from error


def _policies_file(given: Any) -> Path | None:
    """The file that `initial_policies` names: itself, or that of a run, or of the only run in a folder."""
    if given is None:
        return None
    if not isinstance(given, str) or not given:
        raise TacitError(f"initial_policies must be a run, a folder with one run or a file of policies, not {given!r}")
    path = Path(given)
    found = [path] if path.is_file() else [*path.glob(_POLICIES), *path.glob(f"*/{_POLICIES}")]
    if len(found) != 1:
        raise TacitError(
            f"initial_policies must be a run, a folder with one run or a file of policies, and {given} has "
            f"{len(found) or 'no'} {_POLICIES}"
        )
    return found[0]


def _with_defaults_of_the_game(game: Mapping[str, Any], learner: Mapping[str, Any]) -> dict[str, Any]:
    """A learner's keys, with null replaced by the default for this game."""
    learner = dict(learner)
    built = build_game(game)
    if learner.get("share_parameters", True) is None:
        learner["share_parameters"] = not built.seats_differ
    numbers = find("learner", learner).hyperparameters
    if "gamma" in numbers._fields and learner.get("gamma") is None:
        learner["gamma"] = 1.0 if built.discounted else numbers._field_defaults.get("gamma", 1.0)
    return learner


def game_group(name: str, keys: Mapping[str, Any]) -> dict[str, Any]:
    """The `game` group of a game of conf/, or of a Python path such as my_game.make, with some of its keys replaced.

    Raises:
      TacitError: if there is no such game, or it needs a key that is not given; unknown keys are refused when the game
        is built.
    """
    name = conf_files.game_named(name)
    if "." in name:
        group = default_group("game", name)
    elif name in (known := conf_files.choices("game")):
        group = conf_files.written("game", name)
    else:
        hint = did_you_mean(name, known, f"there are {', '.join(known)}")
        raise TacitError(f"there is no game {name!r}; {hint}; one of your own is a Python path such as my_game.make")
    group |= keys
    for key, value in group.items():
        if value == REQUIRED:
            raise TacitError(f"game {name!r} needs a value for {key}")
    return group


def build_game(config: Mapping[str, Any]) -> "Game":
    """The game that a `game` group stands for."""
    return call("game", config)


def build_kind(config: Mapping[str, Any], game: "Game", *, share_parameters: bool, group: str = "policy") -> "Kind":
    """The policy of a `policy` group with its observer; the policy gets the game and the sizes if it takes them.

    As the group "partner" it need not have what a learner calls.
    """
    from games.shapes import call_user_code
    from marl.agent import Kind

    name = config.get("observer") or next(iter(call_user_code(game, "observers", lambda: game.observers)), "observer")
    observer = call_user_code(game, f"observer {name!r}", game.observer, name)
    static = {key: value for key, value in config.items() if key != "observer"}
    policy = call(group, static, ("observer",), game=game, observation_size=observer.size, num_actions=game.num_actions)
    return Kind(policy, name, share_parameters)


def declared_defaults(learner: Any) -> dict[str, Any]:
    """The defaults of a learner that declares a version, by key; they may change only together with the version.

    Empty for a learner without a version, and for one that extends a learner with a version: its own version does not
    cover the defaults that it inherits.
    """
    declare = ["version" in vars(one) for one in getattr(learner, "__mro__", (learner,))]
    if not declare[0] or any(declare[1:]):
        return {}
    arguments = inspect.signature(learner).parameters.values()
    own = {argument.name: argument.default for argument in arguments if argument.default is not argument.empty}
    return {**learner.hyperparameters._field_defaults, **own}


def name_of(science: Mapping[str, Any], by_default: Mapping[str, Any] | None = None) -> str:
    """Twelve hexadecimal digits: a hash of what decides the results of a run, or of a folder over several runs.

    Args:
      science: as nested plain data.
      by_default: keys, such as "learner.clip", that are left out where they have these values.
    """
    counted = canonical(science)
    for dotted, value in (by_default or {}).items():
        group, _, key = dotted.partition(".")
        keys = counted.get(group)
        if isinstance(keys, dict) and key in keys and keys[key] == value:
            del keys[key]
    return hashlib.sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()[:12]


def stack_hyperparameters(values: Sequence[Any]) -> Any:
    """Equal NamedTuples of numbers, stacked to one of float32[len(values)]."""
    return type(values[0])(*(np.asarray(leaves, np.float32) for leaves in zip(*values, strict=True)))


def canonical(plain: Any) -> Any:
    """Plain data in which equal numbers are written in the same way: a whole float (1.0, 2e6) becomes an int."""
    if isinstance(plain, Mapping):
        return {key: canonical(value) for key, value in plain.items()}
    if isinstance(plain, list | tuple):
        return [canonical(value) for value in plain]
    return int(plain) if isinstance(plain, float) and plain.is_integer() else plain


def parse_dataclass(cls: Any, group: str, plain: Mapping[str, Any]) -> Any:
    """An instance of a dataclass from the keys of a group; an unknown key is refused."""
    refuse_unknown(group, plain, tuple(field.name for field in dataclasses.fields(cls)))
    return cls(**plain)


def _equal_keys(group: str, keys: Mapping[str, Any], declared: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a group, dotted, that have the declared values."""
    own, declared = canonical(keys), canonical(declared)
    return {f"{group}.{key}": own[key] for key in sorted(own.keys() & declared.keys()) if own[key] == declared[key]}


def _floats(learner: Mapping[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    """The learner's keys with all hyperparameters as floats, so that 1 and 1.0 name the same run."""
    return {key: float(value) if key in fields else value for key, value in learner.items()}
