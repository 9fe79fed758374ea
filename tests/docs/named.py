"""What the pages have to name: commands, and the keys of configuration files."""

from pathlib import Path

from omegaconf import OmegaConf

from experiments import cli
from games.errors import TacitError

CONF = Path(__file__).parents[2] / "conf"


def commands():
    """The names of all commands, as the command line lists them to who misspells one."""
    try:
        cli._dispatch(["no-such-command"])
    except TacitError as refused:
        found = str(refused).partition("there are ")[2].split(", ")
    assert "train" in found and len(found) >= 18
    return found


def keys(file):
    """The dotted keys of a configuration file that hold a value, without those that are for hydra itself."""
    config = OmegaConf.to_container(OmegaConf.load(file))
    config.pop("defaults", None)
    if file.parent == CONF:
        config.pop("hydra", None)
    return list(_leaves(config))


def _leaves(config, prefix=""):
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
