"""The launchers' configurations, what they refuse, and signals that are passed on to who requeues."""

import os
import pickle
import signal
from types import SimpleNamespace

import hydra
import pytest
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from experiments.launching import launchers
from experiments.training.stopping import Paused, Stopper
from games.errors import TacitError


@pytest.fixture
def handled():
    """The signals that reach somebody else's handlers, in turn."""
    seen: list = []
    numbers = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
    former = [signal.signal(number, lambda number, frame: seen.append(number)) for number in numbers]
    yield seen
    for number, handler in zip(numbers, former, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize(
    "choice, target, kept",
    [
        ("slurm", "tacit.SlurmLauncher", {"timeout_min": 240, "nodes": 1}),
        ("local", "hydra_joblib_launcher.joblib_launcher.JoblibLauncher", {"n_jobs": 2, "prefer": "processes"}),
    ],
)
def test_the_choices_extend_the_plugins(choice, target, kept):
    with hydra.initialize_config_module("conf", version_base="1.3"):
        composed = hydra.compose("config", [f"hydra/launcher={choice}"], return_hydra_config=True)
    launcher = composed.hydra.launcher
    assert launcher._target_ == f"hydra_plugins.{target}"
    assert {key: launcher[key] for key in kept} == kept


def test_the_defaults_leave_time_to_start():
    with hydra.initialize_config_module("conf", version_base="1.3"):
        composed = hydra.compose("config", ["hydra/launcher=slurm"], return_hydra_config=True)
    launchers.check_time(composed.hydra.launcher.timeout_min, composed.hydra.launcher.signal_delay_s)


def test_a_limit_that_leaves_no_time_to_start_is_refused():
    launchers.check_time(4, 120)
    with pytest.raises(TacitError, match=r"timeout_min must be at least 5 .* 121 seconds .*, not 4"):
        launchers.check_time(4, 121)


@pytest.fixture
def launcher(tmp_path):
    """launcher(changes) -> one of a task that does nothing, with the defaults."""

    def make(**changes):
        with hydra.initialize_config_module("conf", version_base="1.3"):
            composed = hydra.compose("config", ["hydra/launcher=slurm"], return_hydra_config=True)
        params = OmegaConf.to_container(composed.hydra.launcher, resolve=False)
        del params["_target_"]
        return launchers.SlurmLauncher(**{**params, "submitit_folder": str(tmp_path), **changes})

    return make


def test_without_slurm_one_sentence(launcher, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TacitError, match=r"needs Slurm's commands .* hydra/launcher=local"):
        launcher().launch([["a=1"]], 0)


@pytest.mark.proof
def test_what_slurm_refuses_is_one_sentence(launcher, slurm, monkeypatch):
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(TacitError, match=r"^Slurm refuses the sweep: .*[Ii]nvalid partition"):
        launcher(partition="nowhere", cpus_per_task=1).launch([["a=1"], ["a=2"]], 0)


def test_all_arrays_of_a_large_sweep_are_named():
    jobs = [SimpleNamespace(job_id=job) for job in ("123_0", "123_1", "130_0", "124_0")]
    assert launchers._arrays(jobs) == "123 130 124"


@pytest.mark.parametrize("stop, leaves", [(Paused("stopped by SIGTERM", 130), True), (Paused("used up", 75), False)])
def test_a_job_that_slurm_stopped_leaves_no_result(launcher, monkeypatch, stop, leaves):
    ended = JobReturn(status=JobStatus.FAILED, _return_value=stop)
    monkeypatch.setattr(launchers.SlurmLauncher.__base__, "__call__", lambda self, *arguments: ended)
    if leaves:
        with pytest.raises(SystemExit):
            launcher()([], "", 0, "", {})
    else:
        assert launcher()([], "", 0, "", {}) is ended


def test_a_pause_survives_pickling():
    pause = pickle.loads(pickle.dumps(Paused("stopped by SIGTERM here", 130)))
    assert (str(pause), pause.status) == ("stopped by SIGTERM here", 130)


@pytest.mark.parametrize(
    "numbers, requeued",
    [
        ([signal.SIGUSR2], True),
        ([signal.SIGUSR2, signal.SIGTERM], True),
        ([signal.SIGTERM], False),
        ([signal.SIGUSR1], False),
    ],
)
def test_only_the_signal_to_requeue_is_passed_on_and_last(handled, numbers, requeued):
    with pytest.raises(Paused, match="somewhere"), Stopper(None) as stopper:
        for number in numbers:
            os.kill(os.getpid(), number)
        handled.append("saved")
        raise stopper.pause("somewhere")
    assert handled == ["saved", *([signal.SIGUSR2] if requeued else [])]


def test_a_job_that_finished_in_spite_of_the_signal_is_not_requeued(handled):
    with Stopper(None) as stopper:
        os.kill(os.getpid(), signal.SIGUSR2)
        assert stopper.stop()
    assert handled == []
