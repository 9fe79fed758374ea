"""Configurations from the command line: hydra composes and launches, and its complaints become one sentence."""

import contextlib
import functools
import itertools
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiments.configuration.conf_files import choices
from experiments.configuration.targets import PARTS, completed, default_group, nearest
from experiments.launching import sweeps
from experiments.training.stopping import Paused
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
    run: Callable[..., float | None]
    """Does the work that a parsed configuration stands for; with in_sweep=True, one job of many, shows no results."""
    members: Callable[[Any], Sequence[Any]]
    """The runs that a parsed configuration stands for."""
    conclude: Callable[[Sequence[Path], bool], None]
    """Shows the finished runs of a sweep, given their directories and whether figures are wanted."""
    caution: Callable[[Sequence[tuple[Any, Path]]], str] = lambda asked: ""
    """A sentence on finished runs, with the configuration of each, that are not what was asked for, or ""."""


def main(command: Command, arguments: Sequence[str]) -> None:
    """Run `tacit NAME ARGUMENTS`.

    Raises:
      TacitError: for anything wrong with the configuration, before anything compiles.
      Paused: if the work stopped before its end, or no trial of a search finished.
    """
    parser = get_args_parser()
    parser.error = _refuse
    said = parser.parse_intermixed_args(list(arguments))
    overrides = said.overrides
    flags = list(arguments)
    for override in overrides:
        flags.remove(override)
    overrides = spelled_out(overrides, command.root)
    swept = _check(command, overrides, multirun=said.multirun)
    sys.argv = [f"tacit {command.name}", *flags, *overrides]  # hydra's parser takes overrides in one piece only
    # Hydra would print a traceback's end of its own and exit; the command line says it in one sentence instead.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        _launch(command, swept)
    except (HydraException, OmegaConfBaseException) as error:
        raise TacitError(_one_line(error, command.root)) from error
    except SystemExit as end:
        if isinstance(end.code, TacitError | Paused):
            raise end.code from end
        raise


def _launch(command: Command, swept: Set[str] | None) -> None:
    """Have hydra run one configuration, or a sweep over the keys `swept`."""
    here = os.getpid()
    failed: list[str] = []  # what jobs in this process ended with

    def job(composed: DictConfig) -> float | None:
        try:
            if swept is None:
                return command.run(parse(composed))
            return _in_sweep(command, composed, swept, elsewhere=os.getpid() != here)
        except Exception as error:
            # A job of a sweep leaves the others alone; a Ctrl-C in this process is meant for all of them.
            alone = swept is None or (isinstance(error, Paused) and os.getpid() == here)
            if alone and isinstance(error, TacitError | Paused):
                # Hydra prints the whole command line before it passes an error on, and nothing before an exit.
                raise SystemExit(error) from error
            failed.append(str(error) if isinstance(error, TacitError) else f"{type(error).__name__}: {error}")
            raise

    def parse(composed: DictConfig) -> Any:
        return command.parse(_plain(composed))

    if swept is not None:
        vars(job)["plan"] = sweeps.Plan(parse, command.members, command.conclude, command.caution, swept)
        sweeps.use()
    _read_paths()
    try:
        hydra.main(version_base="1.3", config_path=_CONFIG, config_name=command.root)(job)()
    except ValueError as error:
        if str(error) != "No trials are completed yet.":  # Optuna's, in search of the best one
            raise
        why = failed[-1] if failed else "tacit status says why, given the folder of their runs"
        raise Paused(f"none of the {f'{len(failed)} ' if failed else ''}trials finished: {why}", 1) from error


def _in_sweep(command: Command, composed: DictConfig, swept: Set[str], *, elsewhere: bool) -> float | None:
    """One job of a sweep over the keys `swept`, in this process or elsewhere."""
    job = HydraConfig.get()
    name = f"job {job.job.num}: {sweeps.short(job.overrides.task, swept)}"
    sys.stderr.write(f"{name}\n")  # in one piece: several processes may say so at once
    plain = _plain(composed)
    if elsewhere:  # the bars of several processes would write over each other
        plain["execution"]["progress"] = False
    value = command.run(command.parse(plain), in_sweep=True)
    sys.stderr.write(f"{name}: finished\n")
    return value


def _refuse(message: str) -> NoReturn:
    raise TacitError(message)


def _check(command: Command, overrides: list[str], *, multirun: bool) -> frozenset[str] | None:
    """Compose and parse the first configuration that the overrides name; a sweep looks at the others before it begins.

    Returns:
      The keys that a sweep goes over; None if it is none.
    """
    parser = OverridesParser.create()
    try:
        parsed = parser.parse_overrides(overrides)
        alone = [o for o in parsed if not o.is_sweep_override()]  # keys may be of a game that is swept over
        settling = [str(o.input_line) for o in alone if o.is_hydra_override() or o.key_or_group == "experiment"]
        settings = _compose(settling, command.root, with_hydra=True).hydra
        multirun = multirun or settings.mode == RunMode.MULTIRUN
        if multirun:
            mine = {o.key_or_group for o in parsed}
            own = dict(settings.sweeper.get("params") or {})
            parsed += parser.parse_overrides([f"{key}={value}" for key, value in own.items() if key not in mine])
        swept = [o for o in parsed if o.is_sweep_override() and not o.is_hydra_override()]
        fixed = [str(o.input_line) for o in parsed if not o.is_sweep_override() and not o.is_hydra_override()]
        first = [f"{o.get_key_element()}={next(o.sweep_string_iterator())}" for o in swept if o.is_discrete_sweep()]
    except HydraException as error:
        raise TacitError(_one_line(error, command.root)) from error
    if multirun and not swept and _searches(settings.sweeper):
        raise TacitError(
            "there is nothing to search: give a key an interval or choices, "
            "as in 'learner.entropy_coef=tag(log,interval(0.005,0.3))'"
        )
    composed = compose([*fixed, *first], command.root)
    for one in parsed:
        if one.key_or_group == "experiment":
            choices = one.sweep_string_iterator() if one.is_sweep_override() else [one.get_value_element_as_str()]
            _refuse_others(command, map(str, choices), composed)
    command.parse(composed)
    return frozenset(o.key_or_group for o in swept) if multirun else None


def _searches(sweeper: Mapping[str, Any]) -> bool:
    """Whether a sweeper is Optuna's, and told what to search by overrides alone."""
    elsewhere = sweeper.get("search_space") or sweeper.get("custom_search_space")
    return "optuna" in str(sweeper.get("_target_")) and not elsewhere


def _refuse_others(command: Command, experiments: Iterable[str], composed: Mapping[str, Any]) -> None:
    """Refuse experiments of another command: those of `tacit phase` are in exact/, the others have keys of training."""
    foreign = composed.keys() & _top_level_keys(TRAIN) - _top_level_keys(command.root)
    for experiment in experiments:
        if command.root == TRAIN and experiment.startswith("exact/"):
            raise TacitError(f"experiment={experiment} is for tacit phase, not for tacit {command.name}")
        if foreign:
            raise TacitError(f"experiment={experiment} is for tacit train, not for tacit {command.name}")


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


def grid(arguments: Sequence[str], root: str) -> list[list[str]]:
    """Overrides of each job that arguments stand for, in the grammar of a sweep: KEY=A,B is a job for each.

    Raises:
      TacitError: if they cannot be read, or a key has no end of choices.
    """
    parsed = OverridesParser.create().parse_overrides(spelled_out(arguments, root))
    return [list(job) for job in itertools.product(*map(sweeps.choices, parsed))]


def default_choices(root: str) -> dict[str, str]:
    """The choice that conf/ROOT.yaml makes in each group that says what is done, in its order."""
    made = dict(_compose([], root, with_hydra=True).hydra.runtime.choices)  # hydra's last first
    own = [group for group in reversed(made) if group != "experiment" and not group.startswith("hydra/")]
    return {group: made[group] for group in own}


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
    """The top-level keys of the configuration, and those that an override may begin with without being one."""
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


def _compose(overrides: list[str], root: str, *, with_hydra: bool = False) -> DictConfig:
    """What hydra makes of overrides that are spelled out.

    Raises:
      TacitError: for a key or a choice that is not there.
    """
    _read_paths()
    here = GlobalHydra.instance().is_initialized()  # within a job
    try:
        with contextlib.nullcontext() if here else hydra.initialize_config_module("conf", version_base="1.3"):
            return hydra.compose(root, overrides, return_hydra_config=with_hydra)
    except TacitError:
        raise
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        chosen = [o for o in overrides if o.partition("=")[0] in (*PARTS, "experiment")]
        raise TacitError(_one_line(error, root, chosen)) from error


def _plain(composed: DictConfig) -> dict[str, Any]:
    own = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    plain: Any = OmegaConf.to_container(own, resolve=True, throw_on_missing=True)
    return {key: completed(key, value) if key in PARTS and value else value for key, value in plain.items()}


def _one_line(error: Exception, root: str, chosen: Sequence[str] | None = None) -> str:
    """Hydra's complaint in one sentence, in the words of its user, who has `chosen` groups (overrides), if known."""
    text = str(error)
    if missing := re.search(r"Could not (?:override|append|find).*? '([^'/]+)'", text):
        key = missing.group(1)
        return f"the configuration has no key {key!r}" + ("" if chosen is None else f"; {_instead(key, chosen, root)}")
    if missing := re.search(r"Missing mandatory value.*full_key: (\S+)", text, re.S):
        return f"the configuration needs a value for {missing.group(1)}"
    if missing := re.search(r"Could not find '([^']+)'.*?Available options in '([^']+)':(.*?)(?:\n\S|$)", text, re.S):
        choice, group, options = missing.groups()
        known = [*options.split(), *(one for one in choices(group) if "/" in one)]
        own = f"; one of your own is a Python path such as my_{group}.Mine" * (group in PARTS)
        return f"there is no {group} {choice.removeprefix(f'{group}/')!r}; there are {', '.join(known)}{own}"
    if lacking := re.search(r"In '(hydra/\w+)/(\w+)': Could not load '[^']+/(submitit_slurm|joblib|optuna)'", text):
        group, choice, plugin = lacking.groups()
        extra = "optuna" if plugin == "optuna" else "sweeps"
        return f"{group}={choice} needs a plugin that is not installed: pip install 'tacit[{extra}]'"
    if bare := re.search(r"^Error parsing override '(.*)'\nmissing EQUAL", text):
        return f"expected KEY=VALUE, not {bare.group(1)!r}"
    lines = (line.strip() for line in text.splitlines())
    return "; ".join(line for line in lines if line and not line.startswith("See https://hydra.cc"))


def _instead(key: str, chosen: Sequence[str], root: str) -> str:
    """What a key that is not there may have meant: one spelled nearly like it, or any key of its group."""
    there = [override for override in chosen if override.partition("=")[0] != key]
    plain: Any = OmegaConf.to_container(_compose(there, root))
    names = [name for name in _keys(plain) if name != key]
    group, _, last = key.rpartition(".")

    def own(part: str) -> list[str]:
        return [str(name) for name in plain[part] if name != "_target_"]

    if isinstance(plain.get(group), Mapping):
        near = nearest(last, own(group))
        return f"did you mean '{group}.{near}'?" if near else f"{group} has {', '.join(own(group))}"
    known = {name.rpartition(".")[2]: name for name in names} | {name: name for name in names}
    if near := nearest(key, known):
        return f"did you mean {known[near]!r}?"
    game = f", and game has {', '.join(own('game'))}" if isinstance(plain.get("game"), Mapping) else ""
    return f"it has {', '.join(map(str, plain))}{game}"


class _Path(ConfigSource):
    """Choices that are Python paths: game=my_game.make is the group of its signature (`targets.default_group`)."""

    @staticmethod
    def scheme() -> str:
        return "python"

    def available(self) -> bool:
        return True

    def is_group(self, config_path: str) -> bool:
        return False

    def is_config(self, config_path: str) -> bool:
        group, _, path = config_path.rpartition("/")
        return group in PARTS and "." in path and all(name.isidentifier() for name in path.split("."))

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        return []

    def load_config(self, config_path: str) -> ConfigResult:
        group, _, path = config_path.rpartition("/")
        return ConfigResult(
            provider=self.provider,
            path=f"{self.scheme()}://{config_path}",
            config=OmegaConf.create(default_group(group, path)),
            header={"package": None},
        )


class _Paths(SearchPathPlugin):
    """Has hydra look for choices among Python paths, after all folders."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append("paths", f"{_Path.scheme()}://")


def _read_paths() -> None:
    """Register the plugins that let hydra take Python paths as choices.

    Before each use: launchers reset the registry.
    """
    for plugin in (_Path, _Paths):
        Plugins.instance().register(plugin)


def _keys(plain: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The dotted names of all keys, groups included."""
    keys = []
    for key, value in plain.items():
        keys.append(prefix + key)
        if isinstance(value, Mapping):
            keys += _keys(value, f"{prefix}{key}.")
    return keys
