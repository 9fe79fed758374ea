"""Resolve `_target_`, a class or function of ours or of the user's: find its keys, and call it with their values.

An exception that the user's code raises while it is imported or called becomes one sentence, with its file and line.
"""

import contextlib
import functools
import importlib
import inspect
import os
import sys
import typing
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

from experiments.configuration import annotations
from experiments.configuration.conf_files import written
from games.errors import TacitError, did_you_mean, in_short

PARTS = ("game", "policy", "learner")
"""The groups that build something: a choice of one is a name in conf/, or a Python path."""

_GIVEN = {
    "game": (),
    "policy": ("game", "observation_size", "num_actions"),
    "learner": ("game", "policy", "observer", "total_updates"),
}
"""Arguments that are filled in from the other groups of the configuration: they have no keys."""
_ATTRIBUTES = {
    "policy": ("init", "initial_memory", "memory_clock", "apply", "perceive", "remember", "act", "value"),
    "partner": ("init", "initial_memory", "memory_clock", "apply"),
    "learner": ("init", "update", "agent_params", "peak_bytes", "steps_per_update", "hyperparameters"),
}
"""The attributes that a target must have."""
REQUIRED = "???"
"""The placeholder for a key that the user has to give."""
_OURS = ("games", "marl")
"""Packages with targets of the lab's own."""


def default_group(group: str, path: str) -> dict[str, Any]:
    """The group that a Python path stands for: `_target_` and its keys with their defaults, "???" where there is none.

    The keys are the arguments in the target's signature except those that are filled in from the other groups; for a
    learner also its hyperparameters; for a policy also `observer`. A learner's `share_parameters` is None, as it is in
    conf/: a network for each seat in tabular games, one for all seats in others. A class of ours that a file of conf/
    builds takes its defaults from that file; a class that extends it takes them too, except where its own signature
    has another default than the extended class.

    Raises:
      TacitError: if the path cannot be imported, is not something that the group builds, or a default is not plain
        data.
    """
    target = find(group, {"_target_": path})
    keys = _signature(group, path, target)
    for base in target.__mro__ if isinstance(target, type) else ():
        extended = f"{base.__module__}.{base.__qualname__}"
        if extended in _files(group):
            theirs = _signature(group, extended, base)
            of_file = written(group, _files(group)[extended])
            return {
                name: of_file[name] if name in of_file and name in theirs and value == theirs[name] else value
                for name, value in keys.items()
            }
    return keys


def completed(group: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """A group with its missing keys added, so that a run's name does not depend on whether they are written.

    Groups of Tacit's own are not changed: conf/ lists all their keys, and runs have been named after these.
    """
    path = config.get("_target_")
    if not isinstance(path, str) or _is_ours(path):
        return dict(config)
    if _signature(group, path, find(group, config)).keys() <= config.keys():
        return dict(config)  # without reading conf/
    defaults = {name: value for name, value in default_group(group, path).items() if value != REQUIRED}
    return {**defaults, **config}


def find(group: str, config: Mapping[str, Any]) -> Any:
    """The class or function that `_target_` names, after a check that it builds a game, a policy or a learner.

    Files of saved runs name targets, too: because of this check they cannot have anything else called.

    Raises:
      TacitError: if it does not exist, or builds something else.
    """
    from games.game import Game  # and jax: reading a configuration does without

    path = config.get("_target_")
    if not isinstance(path, str) or "." not in path:
        raise TacitError(f"{group}._target_ must be a dotted path such as package.module.Class, not {path!r}")
    target = _imported(group, path)
    try:
        builds = target if isinstance(target, type) else typing.get_type_hints(target).get("return")
    except Exception:  # not a function, or annotations that cannot be resolved
        builds = None
    if group == "game" and not (isinstance(builds, type) and issubclass(builds, Game)):
        raise TacitError(
            f"game {path!r} must be a class of games (games.game.Game), or a function annotated to return one, as in "
            "def make(size: int = 3) -> Simulator"
        )
    for attribute in _ATTRIBUTES.get(group, ()):
        if not isinstance(target, type) or not hasattr(target, attribute):
            raise TacitError(f"{group} {path!r} must be a class with {', '.join(_ATTRIBUTES[group])}")
    if group == "learner" and not all(hasattr(target.hyperparameters, name) for name in ("_fields", "check")):
        raise TacitError(f"learner {path!r} must have as hyperparameters a NamedTuple class with check()")
    return target


def call(group: str, config: Mapping[str, Any], also_known: tuple[str, ...] = (), **given: Any) -> Any:
    """Call the target of a group with the group's keys, and with those of `given` that it takes.

    Raises:
      TacitError: for a key that it does not take, a value that does not fit its annotation, or an error in the target.
    """
    target = find(group, config)
    parameters = inspect.signature(target).parameters
    takes = [name for name in parameters if name not in given]
    arguments = {key: value for key, value in config.items() if key != "_target_"}
    refuse_unknown(group, arguments, (*takes, *also_known))
    annotated = annotations.of(target)
    arguments = {
        key: annotations.converted(f"{group}.{key}", value, annotated.get(key)) for key, value in arguments.items()
    }
    accepted = {name: value for name, value in given.items() if name in parameters}
    with one_sentence(group, config["_target_"], arguments):
        return target(**arguments, **accepted)


def hyperparameters(config: Mapping[str, Any]) -> Any:
    """A learner's hyperparameters, of single numbers.

    Raises:
      TacitError: for one that is missing, not a number, or refused by their `check()`.
    """
    numbers = find("learner", config).hyperparameters
    given = {name: config[name] for name in numbers._fields if name in config}
    given = {name: annotations.converted(f"learner.{name}", value, float) for name, value in given.items()}
    with one_sentence("learner", config["_target_"], given):
        return numbers(**given).check()


def refuse_unknown(group: str, plain: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Refuse an unknown key.

    Raises:
      TacitError: naming the known key with the nearest spelling, or all known keys.
    """
    for key in plain:
        if key not in known and key != "_target_":
            hint = did_you_mean(str(key), known, f"it has {', '.join(known)}")
            raise TacitError(f"{group} has no key {key!r}; {hint}")


def _is_ours(path: str) -> bool:
    return path.partition(".")[0] in _OURS


def _signature(group: str, path: str, target: Any) -> dict[str, Any]:
    """The keys of a target and their defaults, see `default_group`."""
    keys: dict[str, Any] = {"_target_": path}
    if group == "policy":
        keys["observer"] = None
    if group == "learner":
        numbers = target.hyperparameters
        keys |= {name: numbers._field_defaults.get(name, REQUIRED) for name in numbers._fields}
    for name, parameter in inspect.signature(target).parameters.items():
        if name not in _GIVEN[group] and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            keys[name] = REQUIRED if parameter.default is parameter.empty else parameter.default
    if "share_parameters" in keys:
        keys["share_parameters"] = None
    return {name: _plain_default(f"{group} {path!r}: {name}", value) for name, value in keys.items()}


def _plain_default(name: str, value: Any) -> Any:
    """A default as a configuration holds it."""
    if isinstance(value, Mapping):
        return {str(key): _plain_default(name, one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_default(name, one) for one in value]
    if value is not None and not isinstance(value, bool | int | float | str):
        raise TacitError(f"{name} must have a default of numbers, words, lists or mappings of them, not {value!r}")
    return value


@functools.cache
def _files(group: str) -> dict[str, str]:
    """The name of the file of conf/GROUP that builds each target; of several, the one named after its module."""
    files: dict[str, str] = {}
    for file in sorted(resources.files("conf").joinpath(group).iterdir(), key=lambda file: file.name):
        name, suffix = os.path.splitext(file.name)
        path = written(group, name)["_target_"] if suffix == ".yaml" else None
        if path and (path not in files or name == path.split(".")[-2]):
            files[path] = name
    return files


def _imported(group: str, path: str) -> Any:
    """What a dotted path names, in a module that is installed or lies in the current directory."""
    module, _, name = path.rpartition(".")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)  # last, so that a file of the user's shadows no installed package
    try:
        found = importlib.import_module(module)
    except (Exception, SystemExit) as error:  # SystemExit: of a script
        absent = error.name if isinstance(error, ModuleNotFoundError) else None
        if absent and f"{module}.".startswith(f"{absent}."):  # not a module that this module imports
            raise TacitError(
                f"{group} {path!r} cannot be imported: there is no module {absent!r} in {here} nor among the installed "
                f"packages; run the command in the folder that holds it, or put that folder on PYTHONPATH"
            ) from error
        raise TacitError(f"{group} {path!r} cannot be imported: {in_short(error)}") from error
    if not hasattr(found, name):
        where = getattr(found, "__file__", None) or "it is built in, or a folder"
        hint = did_you_mean(name, [known for known in vars(found) if not known.startswith("_")], f"({where})")
        raise TacitError(f"{group} {path!r} cannot be imported: module {module!r} has no {name!r}; {hint}")
    return getattr(found, name)


@contextlib.contextmanager
def one_sentence(group: str, path: str, arguments: Mapping[str, Any]) -> Iterator[None]:
    """Turn an exception in a target into a TacitError; in a target of ours only a TypeError, for missing arguments.

    Raises:
      TacitError: naming the target with its arguments, the exception, and the line of the user's file.
    """
    try:
        yield
    except TacitError:
        raise
    except Exception as error:
        if _is_ours(path) and not isinstance(error, TypeError):
            raise
        said = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        raise TacitError(f"{group} {path}({said}): {in_short(error)}") from error
