"""What hydra's own discovery finds of ours, and how often a job is composed and built."""

import collections

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.version import VersionBase

from experiments.configuration import config
from experiments.launching import compose


def search_path():
    return [one.path for one in GlobalHydra.instance().config_loader().get_search_path().get_path()]


def test_hydra_finds_them_by_itself():
    ours = {one.__name__ for one in Plugins.instance().discover() if one.__module__ == "hydra_plugins.tacit"}
    assert ours == {"GridSweeper", "SlurmLauncher", "PythonPaths", "PythonSearchPath"}


def test_somebody_elses_application_does_not_look_among_python_paths(tmp_path):
    with hydra.initialize_config_module("conf", version_base="1.3"):
        assert "python://" in search_path()
    with hydra.initialize_config_dir(str(tmp_path), version_base="1.3"):
        assert "python://" not in search_path()


def test_a_hydra_of_the_users_own_is_left_alone_and_not_asked(tmp_path):
    with hydra.initialize_config_dir(str(tmp_path), version_base="1.2"):
        before = search_path()
        assert compose.compose(["game=lever", "seeds=3"])["seeds"] == 3
        assert search_path() == before and str(VersionBase.instance().getbase()) == "1.2"
    with hydra.initialize_config_module("conf", version_base="1.3"):  # as within a job of ours
        here = GlobalHydra.instance().hydra
        assert compose.compose(["game=lever"])["game"]["payoffs"]
        assert GlobalHydra.instance().hydra is here


@pytest.mark.parametrize(
    ("root", "asked", "made"),
    [
        (compose.TRAIN, [], "hydra_plugins.tacit.GridSweeper"),
        ("phase", [], "hydra_plugins.tacit.GridSweeper"),
        (compose.TRAIN, ["experiment=search"], "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper"),
        (compose.TRAIN, ["hydra/sweeper=basic"], "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"),
    ],
)
def test_the_grid_is_the_default_and_no_more(root, asked, made):
    with hydra.initialize_config_module("conf", version_base="1.3"):
        composed = hydra.compose(root, asked, return_hydra_config=True)
    assert composed.hydra.sweeper._target_ == made


@pytest.mark.slow
def test_a_job_is_composed_by_hydra_alone_and_a_run_built_once(tacit, tiny_overrides, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    built, call = collections.Counter(), config.call

    def counted(group, *arguments, **given):
        built[group] += 1
        return call(group, *arguments, **given)

    monkeypatch.setattr(config, "call", counted)
    monkeypatch.setattr(compose.hydra, "compose", lambda *_, **__: pytest.fail("composed once more"))
    said = tacit("train", *tiny_overrides, "learner.entropy_coef=[0.01,0.1]", "execution.figures=false")
    assert (said.status, said.err) == (0, "")
    assert (built["game"], built["policy"], built["learner"]) == (3, 2, 2)  # a game tells the job its defaults, too
    assert said.out.count("\nrun ") == 2
