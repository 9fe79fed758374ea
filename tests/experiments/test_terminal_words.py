"""What a command says by itself: what it will do, that it was interrupted, and warnings of libraries."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments import train
from experiments.presentation import terminal
from experiments.training.loop import Progress

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "from experiments.cli import main; main()"]


def start(arguments, folder, command=COMMAND, **environment):
    """A process of its own, with variables of the environment."""
    given = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.Popen(
        [*command, *arguments], cwd=folder, env=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def others(tiny_overrides, *keys):
    """The arguments of the toy game without those of some keys."""
    return [override for override in tiny_overrides if not override.startswith(keys)]


@pytest.mark.slow
def test_train_says_what_it_will_do(tacit, tiny_overrides, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plainly = [*others(tiny_overrides, "execution.progress"), "execution.figures=false"]
    both = "entropy_coef 0.01, 0.5: 2 runs of 2 seeds, 64 steps a seed, 256 in all, into runs"
    said = tacit("train", *plainly, "learner.entropy_coef=[0.01,0.5]")
    assert (said.status, said.err) == (0, f"lever, FeedForward, IPPO, {both}\n")
    again = tacit("train", *plainly, "learner.entropy_coef=[0.01,0.5,0.7]").err
    assert again.endswith("3 runs of 2 seeds, 64 steps a seed, 384 in all, into runs; 2 of 3 finished before\n")
    swept = tacit("train", "-m", *plainly, "learner.entropy_coef=0.5,0.6,0.7").err.splitlines()[0]
    assert swept.startswith("sweep of 3 jobs, 2 of them left out: ")
    assert swept.endswith("; 1 run to make, 128 steps in all")


@pytest.mark.slow
def test_the_default_is_named_where_nothing_was_chosen(tacit, monkeypatch):
    monkeypatch.setattr(train, "run_job", lambda config, **_: [])
    monkeypatch.setattr(train, "conclude", lambda paths, draw: None)
    said = tacit("train")
    assert said.status == 0
    assert said.err.startswith(
        "hanabi_2x3, FeedForward, IPPO: 8 seeds, 2,000,000 steps a seed, 16,000,000 in all, into "
    )
    assert "(the default: game=hanabi_2x3 policy=feed_forward learner=ippo; tacit train --help" in said.err


@pytest.mark.slow
def test_a_platform_that_is_not_here_is_one_sentence(tiny_overrides, tmp_path):
    sentence = "tacit: JAX_PLATFORMS=nonsense names no platform that JAX can use here: there is cpu"
    sweep = start(["train", "-m", *tiny_overrides, "learner.clip=0.1,0.3"], tmp_path, JAX_PLATFORMS="nonsense")
    alone = start(["phase", "game=lever"], tmp_path, JAX_PLATFORMS="nonsense")
    for process in (alone, sweep):
        out, err = process.communicate(timeout=100)
        assert (process.returncode, out) == (2, "")
        assert err.splitlines()[-1].startswith(sentence)
        assert err.count("JAX_PLATFORMS") == 1
        assert "Traceback" not in err
    assert not list(tmp_path.glob("runs/*/status.json"))


@pytest.mark.slow
def test_caches_that_cannot_be_written_are_one_warning_or_none(finished_runs, tmp_path):
    nowhere = tmp_path / "a_file"
    nowhere.write_text("of the user")
    cache = {"JAX_COMPILATION_CACHE_DIR": str(nowhere), "MPLCONFIGDIR": str(nowhere / "matplotlib")}
    process = start(["crossplay", finished_runs[0], "--games", "4", "--output", tmp_path / "out"], tmp_path, **cache)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    assert err == (
        f"tacit: warning: JAX_COMPILATION_CACHE_DIR={nowhere} is no folder that can be written: compiled programs are "
        "not kept\n"
    )


def test_a_warning_of_a_library_is_one_line(tacit, monkeypatch):
    import warnings

    from experiments import cli

    def warned(arguments):
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            for _ in range(2):
                warnings.warn("a glyph\n  is missing", stacklevel=1)

    monkeypatch.setattr(cli, "_dispatch", warned)
    assert tacit("x").err == "tacit: warning: a glyph is missing\n"


class TestReturnsThatStillRise:
    """Twenty rows of two seeds, ten games in each; a tenth is two rows."""

    def metrics(self, *last_fifth):
        returns = np.full((20, 2), 1.0)
        returns[-4:] = np.array(last_fifth)
        return {"steps": np.arange(20), "count": np.full((20, 2), 10), "return_sum": 10 * returns}

    def test_the_last_two_tenths_are_compared(self):
        rising = self.metrics([1.0, 2.0], [2.0, 3.0], [2.0, 3.0], [3.0, 4.0])
        assert train.still_rising(rising, (0, 6)) == (2.0, 3.0)

    def test_not_what_is_below_a_hundredth_of_the_range_or_within_the_noise(self):
        rising = self.metrics([1.0, 1.0], [1.0, 1.0], [1.1, 1.1], [1.1, 1.1])
        assert train.still_rising(rising, (0, 9)) is not None
        assert train.still_rising(rising, (0, 11)) is None
        one_falls = self.metrics([1.0, 2.0], [1.0, 2.0], [2.0, 1.8], [2.0, 1.8])  # +1.0 and -0.2: 0.4 with error 0.6
        assert train.still_rising(one_falls, (0, 6)) is None
        assert train.still_rising(self.metrics([3.0, 3.0], [3.0, 3.0], [2.0, 2.0], [2.0, 2.0]), (0, 6)) is None

    def test_one_seed_and_few_rows(self):
        rising = self.metrics([1.0, 1.0], [1.0, 1.0], [2.0, 2.0], [2.0, 2.0])
        alone = {name: rows[:, :1] if rows.ndim == 2 else rows for name, rows in rising.items()}
        assert train.still_rising(alone, (0, 6)) == (1.0, 2.0)
        assert train.still_rising({name: rows[-9:] for name, rows in rising.items()}, (0, 6)) is None
        no_game_ended = {"count": np.zeros((20, 2)), "return_sum": np.zeros((20, 2))}
        assert train.still_rising(rising | no_game_ended, (0, 6)) is None


def test_progress_says_how_long_training_goes_on(capsys):
    report = terminal.plain_lines()
    report(Progress("compiling", 0, 1000, 0.0, float("nan"), float("nan"), float("nan")))
    report(Progress("training", 400, 1000, 24.0, 0.5, 1.25, 200.0))
    report(Progress("cross-play 1 of 1", 1000, 1000, 24.0, 0.5, 1.25, 0.0))
    assert capsys.readouterr().out.splitlines() == [
        "compiling: 0 of 1,000 steps a seed",
        "training: 400 of 1,000 steps a seed 24 steps/s, return 0.50, entropy 1.25, 3 min left",
        "cross-play 1 of 1: 1,000 of 1,000 steps a seed 24 steps/s, return 0.50, entropy 1.25",
    ]
