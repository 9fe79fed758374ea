"""Tacit's hydra plugins: the grid sweeper, the launcher for Slurm, and choices that are Python paths.

Hydra imports this file in every hydra application of the environment, so the classes import what they need only when
they use it.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.launcher import Launcher
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class GridSweeper(Sweeper):
    """Runs all combinations of the swept values, except finished runs and, unless they are to be retried, failed ones.

    Args:
      max_batch_size: jobs given to the launcher at once; None for all.
      params: values to sweep over, by key; the command line overrides them.
    """

    def __init__(self, max_batch_size: int | None = None, params: Mapping[str, Any] | None = None) -> None:
        self._at_once = max_batch_size
        self._params = dict(params or {})

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by hydra before `sweep`."""
        self._loader, self._config = hydra_context.config_loader, config
        self._command, self._begun, self._warning = (
            vars(task_function)[name] for name in ("command", "begun", "warning")
        )
        self._launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> list[JobReturn]:
        """Launch the jobs of the overrides `arguments`; see `experiments.launching.sweeps.sweep`.

        Raises:
          TacitError: for `params` that are no text, and as `sweep`.
        """
        from experiments.launching import sweeps
        from games.errors import TacitError

        for key, value in self._params.items():
            if value is None or OmegaConf.is_config(value):
                raise TacitError(f"hydra.sweeper.params.{key} must be text, as in '0.5,0.6', not {value}")
        self._begun.append(True)
        overrides = [*(f"{key}={value}" for key, value in self._params.items()), *arguments]
        return sweeps.sweep(
            self._command, overrides, self._loader, self._config, self._launcher, at_once=self._at_once,
            warning=self._warning,
        )  # fmt: skip


class SlurmLauncher(Launcher):
    """Runs jobs on Slurm, which may be killed, interrupted or requeued; see `experiments.launching.launchers`.

    Args:
      params: the keys of conf/hydra/launcher/slurm.yaml.
    """

    def __init__(self, **params: Any) -> None:
        self._params = params

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by hydra before `launch`."""
        # Without this variable, importing submitit configures logging and so closes every handler of this process. The
        # variable is removed again for the jobs, which import submitit first.
        told = os.environ.get("SUBMITIT_LOG_LEVEL")
        os.environ["SUBMITIT_LOG_LEVEL"] = told or "NOCONFIG"
        try:
            from experiments.launching import launchers
        finally:
            if told is None:
                del os.environ["SUBMITIT_LOG_LEVEL"]
        self._launcher = launchers.SlurmLauncher(**self._params)
        self._launcher.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Submit jobs and wait until all of them have ended."""
        return self._launcher.launch(job_overrides, initial_job_idx)


class PythonPaths(ConfigSource):
    """Choices that are Python paths: game=my_game.make gives the keys of its signature (`targets.default_group`)."""

    @staticmethod
    def scheme() -> str:
        """The prefix of the search path's entry."""
        return "python"

    def available(self) -> bool:
        """Always."""
        return True

    def is_group(self, config_path: str) -> bool:
        """Always False: a Python path is a choice in a group, not a group."""
        return False

    def is_config(self, config_path: str) -> bool:
        """Whether this is the choice of a Python path in a group that builds something."""
        from experiments.configuration.targets import PARTS

        group, _, path = config_path.rpartition("/")
        return group in PARTS and "." in path and all(name.isidentifier() for name in path.split("."))

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """An empty list, since the possible paths cannot be listed."""
        return []

    def load_config(self, config_path: str) -> ConfigResult:
        """The group with the keys and defaults of the path's signature."""
        from experiments.configuration.targets import default_group

        group, _, path = config_path.rpartition("/")
        return ConfigResult(
            provider=self.provider,
            path=f"{self.scheme()}://{config_path}",
            config=OmegaConf.create(default_group(group, path)),
            header={"package": None},
        )


class PythonSearchPath(SearchPathPlugin):
    """Adds Python paths to the places where hydra looks for the choices of conf/, after all folders."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Called by hydra when an application begins, which may be one that does not use conf/."""
        if any(one.path == "pkg://conf" for one in search_path.get_path()):
            search_path.append("python-paths", f"{PythonPaths.scheme()}://")
