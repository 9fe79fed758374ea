"""A search with hydra's Optuna sweeper, seen from outside: a hydra callback, named in conf/config.yaml."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import OmegaConf

from experiments.presentation import terminal


class Search(Callback):
    """Warns before a search that goes the wrong way, and prints its best trial; lets other sweeps be."""

    def on_multirun_start(self, config: Any, **_: Any) -> None:
        """Called by hydra before the first job, with the whole configuration."""
        if str(config.hydra.sweeper.get("direction", "")).endswith("minimize"):
            terminal.warn(
                "this search looks for the least greedy XP: for the greatest say hydra/sweeper=greedy_xp, or "
                "hydra.sweeper.direction=maximize"
            )

    def on_multirun_end(self, config: Any, **_: Any) -> None:
        """Called by hydra after the last job."""
        file = Path(config.hydra.sweep.dir) / "optimization_results.yaml"
        if file.exists():
            found: Any = OmegaConf.to_container(OmegaConf.load(file))
            print(sentence(found))


def sentence(found: Mapping[str, Any]) -> str:
    """For example "best trial: learner.entropy_coef=0.05, objective 5.31", from the sweeper's results."""
    trial = " ".join(f"{key}={value}" for key, value in found["best_params"].items())
    return f"best trial: {trial}, objective {found['best_value']:.6g}"
