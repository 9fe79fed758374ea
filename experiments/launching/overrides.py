"""Overrides in hydra's grammar, KEY=VALUE: read, and what they stand for. Nothing is composed here."""

import itertools
import re
from collections.abc import Sequence, Set

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, ValueType
from hydra.errors import HydraException

from experiments.configuration import conf_files
from experiments.configuration.targets import PARTS
from games.errors import TacitError


def read(text: str) -> Override:
    """One override.

    Raises:
      TacitError: if it is none.
    """
    key, equals, _ = text.partition("=")
    try:
        return OverridesParser.create().parse_overrides([text])[0]
    except HydraException as error:
        if not key.strip("+~ ") or (not equals and not text.startswith("~")):
            raise TacitError(f"expected KEY=VALUE, not {text!r}") from error
        raise TacitError(
            f"{text!r} cannot be read: brackets and quotes must be closed, other special characters quoted twice, as "
            f"in {key}='\"a;b\"', and each KEY=VALUE an argument of its own"
        ) from error


def with_names_of_games(text: str) -> str:
    """An override of `game` with the names of games in the spelling of conf/."""
    key, equals, value = text.partition("=")
    if key.lstrip("+") != "game":
        return text
    return key + equals + re.sub(r"[\w.-]+", lambda found: conf_files.game_named(found[0]), value)


def choices(override: Override) -> list[str]:
    """The single-valued overrides, one for each job, that an override of a sweep stands for.

    Raises:
      TacitError: if there are infinitely many, as for an interval, or none.
    """
    key = override.get_key_element()
    if not override.is_sweep_override():
        return [f"{key}={override.get_value_element_as_str()}"]
    if not override.is_discrete_sweep():
        raise TacitError(f"{override.input_line} has no end: give choices, as in {key}=1,2, or a sweeper that searches")
    try:
        found = [f"{key}={choice}" for choice in override.sweep_string_iterator()]
    except HydraException as error:  # of a glob, which needs hydra's loader
        raise TacitError(f"{override.input_line} cannot be resolved: give choices, as in {key}=A,B") from error
    if not found:
        raise TacitError(f"{override.input_line} has no value: a sweep needs one of each key")
    return found


def swept(parsed: Sequence[Override]) -> frozenset[str]:
    """The keys of which overrides give several values."""
    return frozenset(
        override.key_or_group
        for override in parsed
        if override.is_sweep_override() and not (override.is_discrete_sweep() and len(choices(override)) == 1)
    )


def short(job: Sequence[str], keys: Set[str]) -> str:
    """A job's overrides of `keys`, without those that all jobs of the sweep share."""
    return " ".join(override for override in job if override.partition("=")[0].lstrip("+") in keys)


def names_of(parsed: Sequence[Override], group: str) -> list[str]:
    """What overrides choose of a group."""
    chosen = [choices(override) for override in parsed if override.key_or_group == group]
    return [choice.partition("=")[2] for choice in itertools.chain(*chosen)]


def given_twice(parsed: Sequence[Override]) -> str:
    """A warning of keys to which several overrides give values, or ""."""
    given = [one.key_or_group for one in parsed if one.type == OverrideType.CHANGE]
    last = {one.key_or_group: one.input_line for one in parsed if given.count(one.key_or_group) > 1}
    return "; ".join(f"{key} is given {given.count(key)} times, and {text} counts" for key, text in last.items())


def refuse_what_is_no_name(override: Override) -> None:
    """Refuse a choice of a group that is no name: of game=[lever,dectiger] hydra would make one game of both.

    Raises:
      TacitError: naming the group and the choice.
    """
    for one in OverridesParser.create().parse_overrides(choices(override)):
        if not isinstance(one.value(), str):
            raise TacitError(f"{one.key_or_group} must be a name, not {one.get_value_element_as_str()}")


def refuse_several_values(override: Override, *, sweeps: bool = True) -> None:
    """Refuse KEY=A,B.

    Args:
      sweeps: whether the command takes -m.

    Raises:
      TacitError: which says what is written instead.
    """
    if override.is_sweep_override():
        key, _, values = str(override.input_line).partition("=")
        may_be_a_list = override.value_type == ValueType.SIMPLE_CHOICE_SWEEP and key not in (*PARTS, "experiment")
        a_list = f"; a list has brackets: {key}=[{values}]" * may_be_a_list
        instead = "which only a sweep has: add -m" if sweeps else "and here there is one: give one value"
        raise TacitError(f"{key}={values} stands for several jobs, {instead}{a_list}")


def refuse_what_needs_a_sweep(parsed: Sequence[Override]) -> None:
    """Refuse several values of a key, a launcher or a sweeper without a sweep, and hydra.run, which has no effect.

    Raises:
      TacitError: naming the first of them.
    """
    for override in parsed:
        refuse_several_values(override)
        text, key = override.input_line, override.key_or_group
        if key.startswith(("hydra/launcher", "hydra.launcher", "hydra/sweeper", "hydra.sweep")):
            raise TacitError(f"{text} is for the jobs of a sweep, and without -m there is none")
        if key.startswith("hydra.run."):
            raise TacitError(f"{text} has no effect: execution.output=FOLDER says where runs are written")
