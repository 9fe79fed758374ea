"""Configurations from the command line: hydra composes and launches, and its complaints become one sentence."""

import difflib
import functools
import itertools
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any, NamedTuple, NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiments.stopping import Paused
from games.errors import TacitError

_CONFIG = "pkg://conf"
TRAIN = "config"
"""The configuration of `tacit train` in conf/."""


class Command(NamedTuple):
    """A command of `tacit` that takes a configuration."""

    name: str
    root: str
    """Its configuration, conf/ROOT.yaml."""
    parse: Callable[[Mapping[str, Any]], Any]
    """Checks a whole configuration, given as nested plain data."""
    run: Callable[[Any], float | None]
    """Does the work that a parsed configuration stands for."""


def main(command: Command, arguments: Sequence[str]) -> None:
    """Run `tacit NAME ARGUMENTS`.

    Raises:
      TacitError: for anything wrong with the configuration, before anything compiles.
      Paused: if the work stopped before its end.
    """
    parser = get_args_parser()
    parser.error = _refuse
    overrides = parser.parse_intermixed_args(list(arguments)).overrides
    flags = list(arguments)
    for override in overrides:
        flags.remove(override)
    overrides = spelled_out(overrides, command.root)
    _check(command, overrides)
    sys.argv = [f"tacit {command.name}", *flags, *overrides]  # hydra's parser takes overrides in one piece only
    # Hydra would print a traceback's end of its own and exit; the command line says it in one sentence instead.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        _launch(command)
    except (HydraException, OmegaConfBaseException) as error:
        raise TacitError(_one_line(error, command.root)) from error
    except SystemExit as end:
        if isinstance(end.code, TacitError | Paused):
            raise end.code from end
        raise


def _launch(command: Command) -> None:
    @hydra.main(version_base="1.3", config_path=_CONFIG, config_name=command.root)
    def job(composed: DictConfig) -> float | None:
        try:
            return command.run(command.parse(_plain(composed)))
        except (TacitError, Paused) as error:
            # Hydra prints the whole command line before it passes an error on, and nothing before an exit.
            raise SystemExit(error) from error

    job()


def _refuse(message: str) -> NoReturn:
    raise TacitError(message)


def _check(command: Command, overrides: list[str]) -> None:
    """Compose and parse every configuration that the overrides name, one choice of a sweep at a time."""
    parser = OverridesParser.create()
    try:
        parsed = parser.parse_overrides(overrides)
        fixed = [str(o.input_line) for o in parsed if not o.is_sweep_override() and not o.is_hydra_override()]
        swept = [
            [f"{o.get_key_element()}={choice}" for choice in o.sweep_string_iterator()]
            for o in parsed
            if o.is_sweep_override() and not o.is_hydra_override() and o.is_discrete_sweep()
        ]
        first = [choices[0] for choices in swept]
    except HydraException as error:
        raise TacitError(_one_line(error, command.root)) from error
    command.parse(compose([*fixed, *first], command.root))
    for number, choices in enumerate(swept):
        for choice in choices[1:]:
            command.parse(compose([*fixed, *first[:number], choice, *first[number + 1 :]], command.root))


def compose(overrides: Sequence[str], root: str = TRAIN) -> dict[str, Any]:
    """The configuration as plain data, from conf/ROOT.yaml and `overrides`, which may be short (`spelled_out`).

    Raises:
      TacitError: for a key or a choice that is not there.
    """
    composed = _compose(spelled_out(overrides, root), root)
    try:
        return _plain(composed)
    except OmegaConfBaseException as error:
        raise TacitError(_one_line(error, root)) from error


def explained(root: str) -> list[str]:
    """The commented lines of conf/ROOT.yaml, without those for hydra: what a command's help says about its keys."""
    lines = resources.files("conf").joinpath(f"{root}.yaml").read_text().partition("\nhydra:")[0].splitlines()
    return [line.removeprefix("# ") for line in lines if "#" in line]


def spelled_out(overrides: Sequence[str], root: str = TRAIN) -> list[str]:
    """Overrides with nothing left out: horizon=3 becomes game.horizon=3, and game.file=PATH also chooses game=file.

    A key without a dot means one of the game if the configuration has none of that name and a chosen game has.

    Raises:
      TacitError: if the overrides cannot be read, or for a game that is not there.
    """
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        raise TacitError(_one_line(error, root)) from error
    changes = [override.key_or_group if override.type == OverrideType.CHANGE else "" for override in parsed]
    texts = [str(override.input_line) for override in parsed]
    if "game.file" in changes and "game" not in changes:
        changes, texts = ["game", *changes], ["game=file", *texts]
        parsed = OverridesParser.create().parse_overrides(texts)
    known = _top_level_keys(root)
    if all(key in known or "." in key or "/" in key for key in changes):
        return texts
    own = _keys_of_the_games(parsed, root)
    return [
        f"game.{text}" if key not in known and key in own else text for key, text in zip(changes, texts, strict=True)
    ]


@functools.cache
def _top_level_keys(root: str) -> frozenset[str]:
    """The keys of the whole configuration, with those that stand for nothing in a change."""
    return frozenset({"", "game", "hydra", "experiment", *map(str, _compose([], root))})


def _keys_of_the_games(parsed: Sequence[Override], root: str) -> set[str]:
    """The keys of every game that some choice of a game or an experiment among the overrides stands for."""
    choices = [
        [f"{override.key_or_group}={choice}" for choice in override.sweep_string_iterator()]
        if override.is_sweep_override()
        else [str(override.input_line)]
        for override in parsed
        if override.key_or_group in ("game", "experiment")
    ]
    games = (_compose(list(chosen), root).get("game", {}) for chosen in itertools.product(*choices))
    return {str(key) for game in games for key in game}


def _compose(overrides: list[str], root: str) -> DictConfig:
    """What hydra makes of overrides that are spelled out.

    Raises:
      TacitError: for a key or a choice that is not there.
    """
    try:
        with hydra.initialize_config_module("conf", version_base="1.3"):
            return hydra.compose(root, overrides)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        game = [override for override in overrides if override.startswith("game=")]
        raise TacitError(_one_line(error, root, game)) from error


def _plain(composed: DictConfig) -> dict[str, Any]:
    plain: Any = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    return {key: value for key, value in plain.items() if key != "hydra"}


def _one_line(error: Exception, root: str, game: Sequence[str] = ()) -> str:
    """Hydra's complaint in one sentence, in the words of its user, who chose a `game` (an override) or none."""
    text = str(error)
    if missing := re.search(r"Could not (?:override|append|find).*? '([^'/]+)'", text):
        key = missing.group(1)
        near = difflib.get_close_matches(key, [known for known in _keys(compose(game, root)) if known != key], n=1)
        return f"the configuration has no key {key!r}" + (f"; did you mean {near[0]!r}?" if near else "")
    if missing := re.search(r"Missing mandatory value.*full_key: (\S+)", text, re.S):
        return f"the configuration needs a value for {missing.group(1)}"
    if missing := re.search(
        r"Could not find '([^']+)/([^'/]*)'.*?Available options in '[^']+':(.*?)(?:\n\S|$)", text, re.S
    ):
        group, choice, options = missing.groups()
        return f"there is no {group} {choice!r}; there are {', '.join(options.split())}"
    if bare := re.search(r"^Error parsing override '(.*)'\nmissing EQUAL", text):
        return f"expected KEY=VALUE, not {bare.group(1)!r}"
    lines = (line.strip() for line in text.splitlines())
    return "; ".join(line for line in lines if line and not line.startswith("See https://hydra.cc"))


def _keys(plain: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The dotted names of all keys, groups included."""
    keys = []
    for key, value in plain.items():
        keys.append(prefix + key)
        if isinstance(value, Mapping):
            keys += _keys(value, f"{prefix}{key}.")
    return keys
