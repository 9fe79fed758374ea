"""Checks and output for a search with hydra's Optuna sweeper: a hydra callback, named in conf/own_directories.yaml."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import OmegaConf

from experiments.presentation import terminal
from games.errors import TacitError


class Search(Callback):
    """Refuses an empty search space, warns of a search that minimises, prints the best trial; ignores other ones."""

    def on_multirun_start(self, config: Any, **_: Any) -> None:
        """Called by hydra before the first job, with the whole configuration."""
        sweeper = config.hydra.sweeper
        if "optuna" in sweeper._target_ and not _space(config):
            refused = TacitError(
                "there is nothing to search: give a key an interval or choices, "
                "as in 'learner.entropy_coef=tag(log,interval(0.005,0.3))'"
            )
            raise SystemExit(refused)  # hydra swallows every other exception of a callback
        if str(sweeper.get("direction", "")).endswith("minimize"):
            terminal.warn(
                "this search looks for the least objective: hydra.sweeper.direction=maximize looks for the greatest"
            )

    def on_multirun_end(self, config: Any, **_: Any) -> None:
        """Called by hydra after the last job."""
        file = Path(config.hydra.sweep.dir) / "optimization_results.yaml"
        if file.exists():
            found: Any = OmegaConf.to_container(OmegaConf.load(file))
            print(sentence(found))


def _space(config: Any) -> bool:
    """Whether Optuna's sweeper has a search space."""
    sweeper = config.hydra.sweeper
    overrides = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
    return any(override.is_sweep_override() for override in overrides) or any(
        sweeper.get(key) for key in ("params", "search_space", "custom_search_space")
    )


def sentence(found: Mapping[str, Any]) -> str:
    """The sweeper's results in words, such as "best trial: learner.entropy_coef=0.05, objective 5.31"."""
    trial = " ".join(f"{key}={value}" for key, value in found["best_params"].items())
    return f"best trial: {trial}, objective {found['best_value']:.6g}"
