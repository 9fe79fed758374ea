"""The files of conf/, read without hydra: choices of groups, values, and explanations."""

import functools
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from games.errors import TacitError, one_spelling


def choices(group: str) -> list[str]:
    """The choices of a group, including those in its folders, such as sweep/hanabi."""
    own = Path(str(resources.files("conf"))) / group
    return sorted(file.relative_to(own).with_suffix("").as_posix() for file in own.rglob("*.yaml"))


@functools.cache
def game_named(name: str) -> str:
    """The choice of `game` that a name in any spelling stands for; another word as it is.

    Capitals do not count, nor does - instead of _, and the name of a preset does: "Hanabi-2x3" is hanabi_2x3, and
    "Hanabi-Full" is hanabi.
    """
    plain = one_spelling(name)
    return plain if plain in choices("game") else _of_presets().get(plain, name)


@functools.cache
def _of_presets() -> dict[str, str]:
    """The choices of `game` that are presets of a game, by the preset's name."""
    groups = {name: _read(f"game/{name}") for name in choices("game")}
    return {one_spelling(group["preset"]): name for name, group in groups.items() if "preset" in group}


def written(group: str, name: str) -> dict[str, Any]:
    """The values of conf/GROUP/NAME.yaml, laid over those of the files that its defaults list names."""
    plain = _read(f"{group}/{name}")
    before = [written(group, one) for one in plain.pop("defaults", [])]
    return {key: value for values in (*before, plain) for key, value in values.items()}


def default_choices(root: str) -> dict[str, str]:
    """The default choice of each group of conf/ROOT.yaml, in its order, including "experiment"."""
    return _chosen(_read(root))


class HydraSettings(NamedTuple):
    """What a file of conf/ says of hydra; empty where it says nothing."""

    mode: str = ""
    sweeper: str = ""


def hydra_settings(name: str) -> HydraSettings:
    """What conf/NAME.yaml says of hydra, if there is such a file."""
    try:
        plain = _read(name)
    except FileNotFoundError:
        return HydraSettings()
    return HydraSettings(plain.get("hydra", {}).get("mode", ""), _chosen(plain).get("override /hydra/sweeper", ""))


def keys(name: str) -> frozenset[str]:
    """The top-level keys of conf/NAME.yaml; none if there is no such file."""
    try:
        return frozenset(_read(name).keys() - {"defaults"})
    except FileNotFoundError:
        return frozenset()


def _chosen(plain: dict[str, Any]) -> dict[str, str]:
    """The choices in the defaults list of a file, by group as it is written there."""
    lists = (one for one in plain.get("defaults", []) if isinstance(one, dict))
    return {group: choice for one in lists for group, choice in one.items()}


def _read(name: str) -> dict[str, Any]:
    from omegaconf import OmegaConf  # imported here, since experiments.run_piece works without it

    file = resources.files("conf").joinpath(f"{name}.yaml")
    plain: Any = OmegaConf.to_container(OmegaConf.create(file.read_text(encoding="utf-8")))
    return plain


def of_user(file: Path) -> dict[str, Any]:
    """The values of a YAML file of the user's own.

    Raises:
      TacitError: if it cannot be read, or is no mapping.
    """
    from omegaconf import OmegaConf

    try:
        plain: Any = OmegaConf.to_container(OmegaConf.create(file.read_text(encoding="utf-8")), resolve=True)
    except OSError as error:
        raise TacitError(f"{file} cannot be read: {error.strerror}") from error
    except Exception as error:  # YAML's and OmegaConf's errors have no common base
        raise TacitError(f"{file} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(plain, dict):
        raise TacitError(f"{file} is to hold KEY: VALUE lines")
    return plain


def explained(name: str) -> list[str]:
    """The lines of conf/NAME.yaml that a command's help shows: what the file is for, its keys, values and meanings."""
    shown, key = [], ""
    for line in resources.files("conf").joinpath(f"{name}.yaml").read_text().splitlines():
        if line[:1].strip():  # not a continuation of the previous key's value
            key = line.partition(":")[0]
        if line.strip() and key not in ("defaults", "hydra", "_target_"):
            shown.append(line.removeprefix("# "))
    return shown
