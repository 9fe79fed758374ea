"""Configurations from the command line: hydra composes and launches, and its errors become one sentence."""

import argparse
import contextlib
import functools
import itertools
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from hydra.version import VersionBase
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

from experiments.configuration import conf_files
from experiments.configuration.targets import PARTS, completed
from experiments.launching.overrides import (
    choices,
    given_twice,
    names_of,
    read,
    refuse_several_values,
    refuse_what_is_no_name,
    refuse_what_needs_a_sweep,
    short,
    swept,
    with_names_of_games,
)
from experiments.presentation import terminal
from experiments.training import platforms
from experiments.training.stopping import Paused
from games.errors import TacitError, did_you_mean, nearest

_CONFIG = "pkg://conf"
TRAIN = "config"
"""The configuration of `tacit train` in conf/."""
_EXTRAS = {
    "hydra/launcher/submitit_slurm": "sweeps",
    "hydra/launcher/joblib": "sweeps",
    "hydra/sweeper/optuna": "optuna",
}
"""What hydra's plugins add to the choices, and the extra that installs each."""


class Command(NamedTuple):
    """A command of `tacit` that takes a configuration."""

    name: str
    root: str
    """Its configuration, conf/ROOT.yaml."""
    parse: Callable[[Mapping[str, Any]], Any]
    """Checks a whole configuration, given as nested plain data."""
    run: Callable[..., float | None]
    """Runs a parsed configuration and returns its objective, if any; with in_sweep=True it shows no results."""
    members: Callable[[Any], Sequence[Any]]
    """The runs of a parsed configuration."""
    conclude: Callable[[Sequence[Path], bool], None]
    """Shows the finished runs of a sweep, given their directories and whether to draw figures."""
    caution: Callable[[Sequence[tuple[Any, Path]]], str] = lambda asked: ""
    """A warning or "": which finished runs, each with the configuration asked for, were played with other settings."""
    steps: Callable[[Any], int] = lambda run: 0
    """The steps of games that a run takes, of all its seeds; 0 where nothing is trained."""


def main(command: Command, arguments: Sequence[str]) -> None:
    """Run `tacit NAME ARGUMENTS`.

    Raises:
      TacitError: for anything wrong with the configuration, before anything compiles.
      Paused: if the work stopped before its end, or no trial of a search finished.
    """
    flags_parser = _flags()
    said, unknown = flags_parser.parse_known_intermixed_args(list(arguments))
    if unknown:
        known = [option for action in flags_parser._actions for option in action.option_strings]
        _refuse_option(command, unknown[0], arguments, [*known, "--help", *["--format"] * (command.root != TRAIN)])
    flags = list(arguments)
    for override in said.overrides:
        flags.remove(override)
    parsed = OverridesParser.create().parse_overrides(expand_overrides(said.overrides, command.root))
    _refuse_wrong_choices(command.name, command.root, parsed)
    settings = [conf_files.hydra_settings(f"experiment/{name}") for name in names_of(parsed, "experiment")]
    keys, varied = {override.key_or_group for override in parsed}, swept(parsed)
    if not any((said.run, said.multirun, said.cfg, said.info, said.shell_completion, said.hydra_help)):
        if "hydra.mode" not in keys and any(one.mode == RunMode.MULTIRUN.name for one in settings):
            flags.append("-m")  # hydra sees it, too, unless there is a mistake in the configuration
        elsewhere = said.config_dir or said.config_path or said.config_name or "hydra.searchpath" in keys
        if not elsewhere and "hydra.mode" not in keys and flags.count("-m") == 0:
            refuse_what_needs_a_sweep(parsed)
        if not elsewhere and ("hydra/sweeper" in keys or any(one.sweeper for one in settings)):
            _check_one(command, parsed)  # our own sweeper checks all jobs before the first
    sys.argv = [f"tacit {command.name}", *flags, *_overrides_for_hydra(parsed)]
    # Otherwise hydra prints its own shortened traceback and exits; the command line prints one sentence instead.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        _launch(command, varied, given_twice(parsed))
    except (HydraException, OmegaConfBaseException) as error:
        chosen = [choices(override)[0] for override in parsed if override.key_or_group in (*PARTS, "experiment")]
        raise TacitError(_one_line(error, command.root, chosen, varied)) from error
    except SystemExit as end:
        if isinstance(end.code, TacitError | Paused):
            raise end.code from end
        raise


def _flags() -> argparse.ArgumentParser:
    """A parser of hydra's flags. Hydra's own accepts no flags between overrides, and prints its usage on an error."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.error = _refuse
    parser.add_argument("overrides", nargs="*")
    for switch in (["-r", "--run"], ["-m", "--multirun"], ["--resolve"], ["-sc", "--shell-completion"],
                   ["--hydra-help"], ["--version"]):  # fmt: skip
        parser.add_argument(*switch, action="store_true")
    for option in (["-p", "--package"], ["-cp", "--config-path"], ["-cn", "--config-name"], ["-cd", "--config-dir"],
                   ["--experimental-rerun"]):  # fmt: skip
        parser.add_argument(*option)
    parser.add_argument("-c", "--cfg", choices=["job", "hydra", "all"])
    shown = ["all", "config", "defaults", "defaults-tree", "plugins", "searchpath"]
    parser.add_argument("-i", "--info", nargs="?", const="all", choices=shown)
    return parser


def _refuse(message: str) -> NoReturn:
    raise TacitError(message)


def _refuse_option(command: Command, option: str, arguments: Sequence[str], known: Sequence[str]) -> NoReturn:
    """Refuse an option that is not among the known ones; if it is spelled like a key, say how the key is given."""
    name, _, value = option.partition("=")
    # From Python 3.12 on argparse takes -mx=1 for -m and -x=1.
    after = arguments[arguments.index(option) + 1 :][:1] if option in arguments else []
    value = value or next((text for text in after if "=" not in text and not text.startswith("-")), "VALUE")
    near = _near_keys(name.strip("-"), _keys(_compose([], command.root)))
    written = " or ".join(f"{key}={value}" for key in near)
    hint = f"keys are written {written}" if near else f"tacit {command.name} --help says more"
    raise TacitError(f"there is no option {name}; {did_you_mean(name, known, hint)}")


def _refuse_wrong_choices(command: str, root: str, parsed: Sequence[Override]) -> None:
    """Refuse groups and experiments of another command.

    Experiments of `tacit phase` are in exact/; the others have keys of training.
    """
    own, theirs = (conf_files.default_choices(one) for one in (root, TRAIN))
    foreign = _top_level_keys(TRAIN) - _top_level_keys(root)
    for override in parsed:
        key = override.key_or_group
        if not key:
            raise TacitError(f"expected KEY=VALUE, not {override.input_line!r}")
        if key in theirs and key not in own:
            raise TacitError(f"the configuration has no key {key!r}; it chooses {', '.join(own)}")
    for name in names_of(parsed, "experiment"):
        keys = conf_files.keys(f"experiment/{name}")
        if root == TRAIN and keys and name.startswith("exact/"):
            raise TacitError(f"experiment={name} is for tacit phase, not for tacit {command}")
        if keys & foreign:
            raise TacitError(f"experiment={name} is for tacit train, not for tacit {command}")


def _check_one(command: Command, parsed: Sequence[Override]) -> None:
    """Compose and check the first configuration that overrides stand for; what an interval searches stays as it is.

    Raises:
      TacitError: if it is none.
    """
    own = [override for override in parsed if not override.is_hydra_override()]
    first = [choices(one)[0] for one in own if one.is_discrete_sweep() or not one.is_sweep_override()]
    composed = _compose(first, command.root)
    command.parse(plain(composed, command.root))


def _overrides_for_hydra(parsed: Sequence[Override]) -> list[str]:
    """The overrides as hydra gets them: game.horizon=3 becomes game.horizon=choice(3) if games are swept over.

    Before a sweep hydra composes the overrides that are not swept over, with the default game even if games are swept
    over. It would refuse a key that the default game does not have.
    """
    changing = {override.key_or_group for override in parsed if override.is_sweep_override()}
    groups = PARTS if "experiment" in changing else tuple(changing.intersection(PARTS))

    def later(override: Override) -> bool:
        fixed = override.type == OverrideType.CHANGE and not override.is_sweep_override()
        return fixed and override.key_or_group.startswith(tuple(f"{group}." for group in groups))

    return [
        f"{one.get_key_element()}=choice({one.get_value_element_as_str()})" if later(one) else str(one.input_line)
        for one in parsed
    ]


def _launch(command: Command, keys: Set[str], warning: str) -> None:
    """Have hydra run one configuration, or a sweep over `keys` and those that a file sweeps over.

    The warning is shown once the configuration, or those of all jobs, have been found to be right.
    """
    here = os.getpid()
    begun: list[bool] = []  # not empty once our sweeper or a job in this process has begun
    failed: list[str] = []  # the errors of jobs in this process

    def job(composed: DictConfig) -> float | None:
        begun.append(True)
        in_sweep = HydraConfig.get().mode == RunMode.MULTIRUN
        try:
            if in_sweep:
                return _in_sweep(command, composed, keys, elsewhere=os.getpid() != here)
            checked = command.parse(plain(composed, command.root))
            if warning:
                terminal.warn(warning)
            return command.run(checked)
        except Exception as error:
            if os.getpid() == here and (refused := platforms.unusable(error)):
                raise SystemExit(refused) from error  # no other job of a sweep could run
            # A failed job of a sweep does not stop the others; a Ctrl-C in this process stops all of them.
            alone = not in_sweep or (isinstance(error, Paused) and os.getpid() == here)
            if alone and isinstance(error, TacitError | Paused):
                # Hydra prints the whole command line before it re-raises an error, but nothing before an exit.
                raise SystemExit(error) from error
            failed.append(str(error) if isinstance(error, TacitError) else f"{type(error).__name__}: {error}")
            raise

    # For our sweeper, to which hydra passes only this function.
    vars(job).update(command=command, begun=begun, warning=warning)
    try:
        hydra.main(version_base="1.3", config_path=_CONFIG, config_name=command.root)(job)()
    except ValueError as error:
        if str(error) == "No trials are completed yet.":  # Optuna's, if no trial finished
            why = failed[-1] if failed else "tacit status says why, given the folder of their runs"
            raise Paused(f"none of the {f'{len(failed)} ' if failed else ''}trials finished: {why}", 1) from error
        if begun or isinstance(error, HydraException | OmegaConfBaseException | TacitError):
            raise
        raise TacitError(_one_line(error, command.root)) from error  # of flags, or an interval that is none


def _in_sweep(command: Command, composed: DictConfig, keys: Set[str], *, elsewhere: bool) -> float | None:
    """One job of a sweep over `keys` and those that a file sweeps over, in this process or elsewhere."""
    settings = HydraConfig.get()
    keys = keys | set(settings.sweeper.get("params") or {})
    name = f"job {settings.job.num}: {short(settings.overrides.task, keys)}"
    terminal.say(name)
    made = plain(composed, command.root)
    if elsewhere:  # progress bars of several processes would overwrite each other
        made["execution"]["progress"] = False
    value = command.run(command.parse(made), in_sweep=True)
    terminal.say(f"{name}: finished")
    return value


def compose(overrides: Sequence[str], root: str = TRAIN) -> dict[str, Any]:
    """The configuration as plain data, from conf/ROOT.yaml and `overrides`, which may be short (`expand_overrides`).

    Raises:
      TacitError: for a key or a choice that does not exist.
    """
    texts = expand_overrides(overrides, root)
    for override in OverridesParser.create().parse_overrides(texts):
        refuse_several_values(override, sweeps=False)
    return plain(_compose(texts, root), root)


def composed_game(overrides: Sequence[str]) -> dict[str, Any]:
    """The group `game` of overrides of nothing else: game=NAME or game.file=PATH, and keys of the game, game. or not.

    Raises:
      TacitError: for a key that the game does not have, and as `compose`.
    """

    def whole(text: str) -> str:
        key = text.partition("=")[0].lstrip("+~")
        sign = text[: len(text) - len(text.lstrip("+~"))]
        return text if key == "game" or key.startswith("game.") else f"{sign}game.{text.removeprefix(sign)}"

    return compose([whole(text) for text in overrides])["game"]


def one_job(overrides: Sequence[str]) -> dict[str, Any]:
    """The configuration of the one job of `tacit train` that overrides stand for; warns of keys given twice.

    Raises:
      TacitError: as `compose`, and for experiments of another command or that are sweeps or searches.
    """
    parsed = OverridesParser.create().parse_overrides(expand_overrides(overrides))
    _refuse_wrong_choices("train", TRAIN, parsed)
    _refuse_sweeps_of_their_own(parsed)
    if warning := given_twice(parsed):
        terminal.warn(warning)
    return compose(overrides)


def jobs(overrides: Sequence[str], root: str = TRAIN) -> list[dict[str, Any]]:
    """The configuration of each job that overrides stand for, KEY=A,B being a job for each, without launching any.

    Of a key given twice the last value counts, as in Python where a mapping of settings is followed by changes.

    Raises:
      TacitError: as `compose` and `grid`; for what only a command line launches: overrides of hydra, and experiments
        that are sweeps or searches.
    """
    parsed = OverridesParser.create().parse_overrides(expand_overrides(overrides, root))
    for override in parsed:
        if override.key_or_group.partition("/")[0].partition(".")[0] == "hydra":
            raise TacitError(f"{override.input_line} is for the command line: jobs run in this process, one by one")
    _refuse_sweeps_of_their_own(parsed)
    return [compose(job, root) for job in grid(overrides, root)]


def _refuse_sweeps_of_their_own(parsed: Sequence[Override]) -> None:
    for name in names_of(parsed, "experiment"):
        if conf_files.hydra_settings(f"experiment/{name}").mode == RunMode.MULTIRUN.name:
            raise TacitError(f"experiment={name} is a sweep of its own, which only its command launches")


def grid(arguments: Sequence[str], root: str) -> list[list[str]]:
    """The overrides of each job that arguments stand for, in the grammar of a sweep: KEY=A,B is a job for each.

    Raises:
      TacitError: if they cannot be parsed, or a key has infinitely many values.
    """
    parsed = OverridesParser.create().parse_overrides(expand_overrides(arguments, root))
    return [list(job) for job in itertools.product(*map(choices, parsed))]


def expand_overrides(overrides: Sequence[str], root: str = TRAIN) -> list[str]:
    """Short overrides written in full: horizon=3 becomes game.horizon=3, and game.file=PATH also chooses game=file.

    Names of games may be in any spelling: game=Hanabi-2x3 becomes game=hanabi_2x3. A key without a dot is a key of the
    game if the configuration has no key of that name and a chosen game has one.

    Raises:
      TacitError: if the overrides cannot be parsed, for a choice of a group that is no name, or a game that does not
        exist.
    """
    parsed = [read(with_names_of_games(text)) for text in overrides]
    for override in parsed:
        if override.type == OverrideType.CHANGE and override.key_or_group in conf_files.default_choices(root):
            refuse_what_is_no_name(override)
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
    """The top-level keys of the configuration, and other first parts that an override may have."""
    return frozenset({"", "game", "hydra", "experiment", *conf_files.default_choices(root), *conf_files.keys(root)})


def _keys_of_the_games(parsed: Sequence[Override], root: str) -> set[str]:
    """The keys of all games that the overrides of `game` and `experiment` choose."""
    chosen = [choices(override) for override in parsed if override.key_or_group in ("game", "experiment")]
    games = (_compose(list(some), root).get("game", {}) for some in itertools.product(*chosen))
    return {str(key) for game in games for key in game}


def _compose(overrides: list[str], root: str) -> DictConfig:
    """Compose the configuration of overrides that are written in full.

    Raises:
      TacitError: for a key or a choice that does not exist.
    """
    try:
        with _our_hydra():
            return hydra.compose(root, overrides)
    except TacitError:
        raise
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        chosen = [o for o in overrides if o.partition("=")[0] in (*PARTS, "experiment")]
        raise TacitError(_one_line(error, root, chosen)) from error


@contextlib.contextmanager
def _our_hydra() -> Iterator[None]:
    """Hydra with our configuration: the one of the job that this is part of, or one for now: a user's comes back."""
    there, version = GlobalHydra.instance().hydra, VersionBase.instance().version_base
    paths = there.config_loader.get_search_path().get_path() if there else ()
    if any((one.provider, one.path) == ("main", _CONFIG) for one in paths):
        yield
        return
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_module("conf", version_base="1.3"):
            yield
    finally:
        if there:
            GlobalHydra.instance().hydra, VersionBase.instance().version_base = there, version


def plain(composed: DictConfig, root: str) -> dict[str, Any]:
    """A composed configuration as nested plain data, without hydra's own part, with the default keys of a user's class.

    Raises:
      TacitError: for a value that is missing, or refers to a key that does not exist.
    """
    own = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    try:
        made: Any = OmegaConf.to_container(own, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise TacitError(_one_line(error, root)) from error
    return {key: completed(key, value) if key in PARTS and value else value for key, value in made.items()}


def _one_line(error: Exception, root: str, chosen: Sequence[str] | None = None, varied: Set[str] = frozenset()) -> str:
    """An error of hydra's in one sentence of our own.

    Args:
      chosen: overrides of groups, if they are known; for a sweep those of its first job.
      varied: the keys that a sweep goes over.
    """
    cause = error.__cause__
    if not str(error) and isinstance(cause, OmegaConfBaseException):  # wrapped by hydra without a message
        return _one_line(cause, root, chosen, varied)
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and cause.full_key:
        several = "experiment" in varied or cause.full_key.partition(".")[0] in varied  # choices with different keys
        hint = "" if chosen is None or several else f"; {_suggestion(cause.full_key, chosen, root)}"
        return f"the configuration has no key {cause.full_key!r}{hint}"
    if isinstance(error, MissingMandatoryValue):
        return f"the configuration needs a value for {error.full_key}"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file in _EXTRAS:
        plugin = error.missing_cfg_file
        return f"{plugin} is a plugin that is not installed: pip install 'tacit[{_EXTRAS[plugin]}]'"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group = error.missing_cfg_file.rpartition("/")[0]
        group = next((one for one in (*PARTS, "experiment") if group.startswith(f"{one}/")), group)
        choice = error.missing_cfg_file.removeprefix(f"{group}/")
        known = [*error.options, *(one for one in conf_files.choices(group) if "/" in one)]
        own = f"; one of your own is a Python path such as my_{group}.Mine" * (group in PARTS)
        listed = f"there are {', '.join(known)}{own}"
        return f"there is no {group} {choice!r}; {did_you_mean(choice, known, listed)}"
    lines = (line.strip() for line in str(error).splitlines())
    return "; ".join(line for line in lines if line and not line.startswith("See https://hydra.cc"))


def _suggestion(key: str, chosen: Sequence[str], root: str) -> str:
    """Suggestions for an unknown key: keys of similar spelling, or all keys of its group."""
    there = [override for override in chosen if override.partition("=")[0] != key]
    plain: Any = OmegaConf.to_container(_compose(there, root))
    group, _, last = key.rpartition(".")

    def own(part: str) -> list[str]:
        return [str(name) for name in plain[part] if name != "_target_"]

    if isinstance(plain.get(group), Mapping):
        near = nearest(last, own(group))
        return f"did you mean '{group}.{near}'?" if near else f"{group} has {', '.join(own(group))}"
    if near := _near_keys(key, [name for name in _keys(plain) if name != key]):
        return f"did you mean {' or '.join(map(repr, near))}?"
    game = f", and game has {', '.join(own('game'))}" if isinstance(plain.get("game"), Mapping) else ""
    return f"it has {', '.join(map(str, plain))}{game}"


def _near_keys(key: str, names: Sequence[str]) -> list[str]:
    """The dotted names whose spelling, or that of their last part, is nearest, after a top-level one that is near."""
    top = nearest(key, [name for name in names if "." not in name])
    parts = {name: name.rpartition(".")[2] for name in names}
    near = nearest(key, [*names, *parts.values()])
    return list(dict.fromkeys([*([top] if top else []), *(name for name in names if near in (name, parts[name]))]))


def _keys(plain: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The dotted names of all keys, groups included."""
    keys = []
    for key, value in plain.items():
        keys.append(prefix + key)
        if isinstance(value, Mapping):
            keys += _keys(value, f"{prefix}{key}.")
    return keys
