"""Configurations: what they contain, checked before anything compiles, and how a run gets its name.

A configuration is nested plain data (from hydra, or from a JSON file). `game`, `policy` and `learner` name what they
build with `_target_`, so that a class of the user's own is configured like one of ours; every other key is an argument
of that target. A **job** may give lists for the learner's hyperparameters; it stands for one **run** for each
combination, and all runs of a job train in one compiled program.
"""

import dataclasses
import difflib
import hashlib
import importlib
import inspect
import itertools
import json
import os
import sys
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from games.errors import TacitError, number, one_of, whole_number
from games.game import Game
from marl.agent import Kind
from marl.crossplay import Seating, seatings
from marl.learners.learner import Learner

FORMAT = 1
"""Version of the run directory's format; part of a run's name."""

PARTS = ("game", "policy", "learner")
"""The groups that build something: a choice among them is a name in conf/, or a Python path."""

_GIVEN = {
    "game": (),
    "policy": ("game", "observation_size", "num_actions"),
    "learner": ("game", "policy", "observer", "total_updates"),
}
"""Arguments that a target is given by what else is chosen, so that no key says them."""
_ATTRIBUTES = {
    "policy": ("init", "initial_memory", "memory_clock", "apply", "perceive", "remember", "act", "value"),
    "learner": ("init", "update", "agent_params", "memory", "steps_per_update", "hyperparameters"),
}
"""What a target must have."""
_REQUIRED = "???"
"""What a configuration says for a key that the user has to give."""
_MOST_SEEDS = 4096
_MOST_UPDATES = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class CrossPlayConfig:
    """How the seeds of a run are played with each other after training.

    Attributes:
      games: games in each cell.
      seating: see `marl.crossplay.seatings`.
      max_seatings: random seatings beyond those of disjoint groups, where there are more.
      max_lanes: games in one compiled call.
      seed: of decks and draws.
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
    """How a job is carried out: nothing here changes what a run finds out.

    Attributes:
      output: the folder that holds the run directories.
      overwrite: train finished runs again instead of skipping them.
      retry_failed: in a sweep, train what failed before again instead of leaving it out.
      progress: show a progress bar.
      rows: rows of the metrics table.
      evaluations: greedy cross-plays during training; 0 for none.
      evaluation_games: games in each cell of these.
      figures: draw learning curves, cross-play matrices and the comparison of the job's runs.
      checkpoint_minutes: wall-clock time between two checkpoints.
      devices: how many devices share the learners (and the games of a learner); None for all.
      distributed: whether this process is one of several, on one or many hosts (`experiments.hosts`).

    Raises:
      TacitError: for a value that is none, naming its key.
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

    @classmethod
    def parse(cls, plain: Mapping[str, Any]) -> "JobConfig":
        """Read nested plain data as hydra composes it from `conf/`; every part is built once, so that all checks speak.

        Raises:
          TacitError: for a key that does not exist or a value that is none, naming it.
        """
        keys = ("game", "policy", "learner", "crossplay", "execution", "budget", "seeds", "first_seed")
        if not isinstance(plain, Mapping):
            raise TacitError(f"a configuration must be a mapping with the keys {', '.join(keys)}, not {plain!r}")
        refuse_unknown("the configuration", plain, keys)
        plain = {"crossplay": {}, "execution": {}, **plain}
        for group in ("game", "policy", "learner", "crossplay", "execution", "budget"):
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
        )
        if "share_parameters" in job.learner and job.learner["share_parameters"] is None:
            shared = not build_game(job.game).seats_differ
            job = dataclasses.replace(job, learner={**job.learner, "share_parameters": shared})
        for run in job.runs():  # build every part once, so that all its checks speak now
            game = run.build().game
            seatings(job.seeds, game.num_players, job.crossplay.seating)
        return job

    def runs(self) -> list["RunConfig"]:
        """One run for each combination of the listed hyperparameters, in the order of the lists.

        Raises:
          TacitError: if a list is empty, naming it.
        """
        target = _find("learner", self.learner)
        names = [name for name in target.hyperparameters._fields if isinstance(self.learner.get(name), list | tuple)]
        for name in names:
            if not self.learner[name]:
                raise TacitError(f"learner.{name} must be a number or a list of at least one number, not an empty list")
        return [
            RunConfig(
                game=self.game,
                policy=self.policy,
                learner={**self.learner, **dict(zip(names, values, strict=True))},
                seeds=self.seeds,
                first_seed=self.first_seed,
                steps=self.steps,
            )
            for values in itertools.product(*(self.learner[name] for name in names))
        ]


@dataclasses.dataclass(frozen=True)
class Built:
    """The objects that a run's configuration stands for."""

    game: Game
    kind: Kind
    learner: Learner
    hyperparameters: Any


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """What one run is about: a job's science with single hyperparameters. Attributes as in `JobConfig`."""

    game: Mapping[str, Any]
    policy: Mapping[str, Any]
    learner: Mapping[str, Any]
    seeds: int
    first_seed: int
    steps: int

    def build(self) -> Built:
        """The game, the policy and the learner.

        Raises:
          TacitError: for an unknown key or a value out of range.
        """
        game = build_game(self.game)
        kind = build_kind(self.policy, game, share_parameters=self.learner.get("share_parameters", True))
        target = _find("learner", self.learner)
        fields = target.hyperparameters._fields
        given = {name: value for name, value in self.learner.items() if name in fields}
        static = {name: value for name, value in self.learner.items() if name not in fields}
        hyperparameters = target.hyperparameters(**given).check()
        unbounded = _call(
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
        return Built(game=game, kind=kind, learner=learner, hyperparameters=hyperparameters)

    def science(self) -> dict[str, Any]:
        """What decides the run's results, as plain data: its name is the hash of this."""
        game = build_game(self.game)
        return {
            "format": FORMAT,
            "game": {**self.game, "version": game.version},
            "policy": dict(self.policy),
            "learner": _floats(self.learner, _find("learner", self.learner).hyperparameters._fields),
            "seeds": self.seeds,
            "first_seed": self.first_seed,
            "steps": self.steps,
        }

    def name(self) -> str:
        """Twelve hexadecimal digits that stand for `science()`."""
        return name_of(self.science())

    @classmethod
    def from_science(cls, science: Mapping[str, Any]) -> "RunConfig":
        """The inverse of `science()`; the game's version is the caller's to compare."""
        game = {key: value for key, value in science["game"].items() if key != "version"}
        return cls(
            game, science["policy"], science["learner"], science["seeds"], science["first_seed"], science["steps"]
        )


def build_game(config: Mapping[str, Any]) -> Game:
    """The game that a `game` group stands for."""
    return _call("game", config)


def build_kind(config: Mapping[str, Any], game: Game, *, share_parameters: bool) -> Kind:
    """The policy that a `policy` group stands for, given the game and the sizes of its observer where it takes them."""
    name = config.get("observer") or next(iter(game.observers))
    observer = game.observer(name)
    static = {key: value for key, value in config.items() if key != "observer"}
    policy = _call(
        "policy", static, ("observer",), game=game, observation_size=observer.size, num_actions=game.num_actions
    )
    return Kind(policy, name, share_parameters)


def default_group(group: str, path: str) -> dict[str, Any]:
    """The group that a Python path stands for: `_target_` and its keys with their defaults, "???" where there is none.

    The keys are the arguments in the target's signature but for those that it is given by what else is chosen; of a
    learner also its hyperparameters; of a policy also `observer`. A learner's `share_parameters` is None, as it is in
    conf/: one network each in tabular games, one for all in others.

    Raises:
      TacitError: if the path cannot be imported, is nothing that the group builds, or a default is no plain data.
    """
    target = _find(group, {"_target_": path})
    keys: dict[str, Any] = {"_target_": path}
    if group == "policy":
        keys["observer"] = None
    if group == "learner":
        numbers = target.hyperparameters
        keys |= {name: numbers._field_defaults.get(name, _REQUIRED) for name in numbers._fields}
    for name, parameter in inspect.signature(target).parameters.items():
        if name not in _GIVEN[group] and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            keys[name] = _REQUIRED if parameter.default is parameter.empty else parameter.default
    if "share_parameters" in keys:
        keys["share_parameters"] = None
    return {name: _plain_default(f"{group} {path!r}: {name}", value) for name, value in keys.items()}


def completed(group: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """A group with the keys that it leaves out, so that a run's name does not depend on whether they are written.

    Groups of Tacit's own stay as they are: conf/ writes them out, and runs have been named after what it says.
    """
    path = config.get("_target_")
    if not isinstance(path, str) or path.partition(".")[0] in ("games", "marl"):
        return dict(config)
    defaults = {name: value for name, value in default_group(group, path).items() if value != _REQUIRED}
    return {**defaults, **config}


def _plain_default(name: str, value: Any) -> Any:
    """A default as a configuration holds it."""
    if isinstance(value, Mapping):
        return {str(key): _plain_default(name, one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_default(name, one) for one in value]
    if value is not None and not isinstance(value, bool | int | float | str):
        raise TacitError(f"{name} must have a default of numbers, words, lists or mappings of them, not {value!r}")
    return value


def name_of(science: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that stand for what decides results: of a run, or of a folder over several runs."""
    text = json.dumps(canonical(science), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def stack_hyperparameters(values: Sequence[Any]) -> Any:
    """Equal NamedTuples of numbers, stacked to one of float32[len(values)]."""
    return jax.tree.map(lambda *leaves: np.asarray(leaves, np.float32), *values)


def canonical(plain: Any) -> Any:
    """Plain data in which equal numbers are written alike: a whole float (1.0, 2e6) becomes an int."""
    if isinstance(plain, Mapping):
        return {key: canonical(value) for key, value in plain.items()}
    if isinstance(plain, list | tuple):
        return [canonical(value) for value in plain]
    return int(plain) if isinstance(plain, float) and plain.is_integer() else plain


def _find(group: str, config: Mapping[str, Any]) -> Any:
    """The class or function that `_target_` names, if it is one that builds what the group stands for.

    A saved run names its targets, too: nothing but a game, a policy or a learner is ever called.
    """
    path = config.get("_target_")
    if not isinstance(path, str) or "." not in path:
        raise TacitError(f"{group}._target_ must be a dotted path such as package.module.Class, not {path!r}")
    target = _imported(group, path)
    try:
        builds = target if isinstance(target, type) else typing.get_type_hints(target).get("return")
    except (TypeError, NameError):  # no function, or annotations that name nothing
        builds = None
    if group == "game" and not (isinstance(builds, type) and issubclass(builds, Game)):
        raise TacitError(
            f"game {path!r} must be a class of games (games.game.Game), or a function annotated to return one, as in "
            "def make(size: int = 3) -> Simulator"
        )
    for attribute in _ATTRIBUTES.get(group, ()):
        if not isinstance(target, type) or not hasattr(target, attribute):
            raise TacitError(f"{group} {path!r} must be a class with {', '.join(_ATTRIBUTES[group])}")
    return target


def _imported(group: str, path: str) -> Any:
    """What a dotted path names, in a module that is installed or lies in the current directory."""
    module, _, name = path.rpartition(".")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)  # last: a file of the user's hides nothing that is installed
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):  # the module is there, and imports another one
            raise TacitError(f"{group} {path!r} cannot be imported: {error}") from error
        raise TacitError(
            f"{group} {path!r} cannot be imported: there is no module {error.name!r} in {here} nor among the installed "
            f"packages; run the command in the folder that holds it, or put that folder on PYTHONPATH"
        ) from error
    except (ImportError, ValueError) as error:
        raise TacitError(f"{group} {path!r} cannot be imported: {error}") from error
    if not hasattr(found, name):
        near = difflib.get_close_matches(name, [known for known in vars(found) if not known.startswith("_")], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f" ({found.__file__})"
        raise TacitError(f"{group} {path!r} cannot be imported: module {module!r} has no {name!r}{hint}")
    return getattr(found, name)


def _call(group: str, config: Mapping[str, Any], also_known: tuple[str, ...] = (), **given: Any) -> Any:
    """Call the target of a group with its keys, and with those of `given` that it takes."""
    target = _find(group, config)
    parameters = inspect.signature(target).parameters
    takes = [name for name in parameters if name not in given]
    arguments = {key: value for key, value in config.items() if key != "_target_"}
    refuse_unknown(group, arguments, (*takes, *also_known))
    for key, value in arguments.items():  # 1e3 is a float, and good for a whole number
        if isinstance(value, float) and value.is_integer() and parameters[key].annotation in (int, int | None):
            arguments[key] = int(value)
    accepted = {name: value for name, value in given.items() if name in parameters}
    try:
        return target(**arguments, **accepted)
    except TypeError as error:
        raise TacitError(f"{group}: {config['_target_']} cannot be built: {error}") from error


def parse_dataclass(cls: Any, group: str, plain: Mapping[str, Any]) -> Any:
    """An instance of a dataclass from the keys of a group; an unknown key is refused."""
    refuse_unknown(group, plain, tuple(field.name for field in dataclasses.fields(cls)))
    return cls(**plain)


def refuse_unknown(group: str, plain: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Refuse a key that is not known.

    Raises:
      TacitError: naming the nearest one.
    """
    for key in plain:
        if key not in known and key != "_target_":
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
            raise TacitError(f"{group} has no key {key!r}; {hint}")


def _floats(learner: Mapping[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    """The learner's keys with all hyperparameters as floats, so that 1 and 1.0 name the same run."""
    return {key: float(value) if key in fields else value for key, value in learner.items()}
