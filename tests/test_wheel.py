"""The wheel in an environment of its own, made by plain pip: no compiler, no oracle, none of our tools."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TINY = (
    "game=lever", "policy=tabular", "seeds=2", "budget.steps=64", "learner.num_games=8", "learner.rollout_length=4",
    "learner.epochs=1", "learner.minibatches=1", "crossplay.games=4", "execution.evaluations=0",
)  # fmt: skip


def run(*command, folder):
    """What a command prints; it must succeed."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    ended = subprocess.run(
        [*map(str, command)], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )
    assert ended.returncode == 0, (ended.stdout + ended.stderr)[-3000:]
    return ended.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The programs of an environment with the wheel and two of its extras."""
    folder = tmp_path_factory.mktemp("wheel")
    look = ["download", "--quiet", "--no-deps", "--retries", "0", "--timeout", "15", "--dest", folder / "reached"]
    assert run(sys.executable, "-m", "pip", "--version", folder=folder)
    if subprocess.run([sys.executable, "-m", "pip", *look, "setuptools"], capture_output=True).returncode:
        pytest.skip("no index of packages can be reached, from which pip would install the wheel's dependencies")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(lambda name: name and (ROOT / name).exists(), listed.split("\0")):
        (folder / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / "tree" / name)
    wheel = ["wheel", "--quiet", "--no-deps", "--wheel-dir", folder, folder / "tree"]
    run(sys.executable, "-m", "pip", *wheel, folder=folder)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "bare", with_pip=True)
    programs = folder / "bare" / "bin"
    run(programs / "python", "-m", "pip", "install", "--quiet", f"{wheel}[report,symmetry]", folder=folder)
    return programs


@pytest.mark.proof
@pytest.mark.timeout(900)
def test_a_sweep_and_its_report_from_another_folder(installed, tmp_path):
    packages = run(installed / "python", "-m", "pip", "list", folder=tmp_path).lower()
    assert "tacit" in packages
    assert not [name for name in ("hanabi", "pytest", "ruff", "sphinx", "optuna") if name in packages]
    said = run(installed / "tacit", "train", "-m", *TINY, "learner.gamma=0.5,0.6", folder=tmp_path)
    assert said.count("\nrun ") == 2
    assert said.count("table and figure in ") == 1  # of our sweeper, which hydra has found
    run(installed / "tacit", "report", "runs", folder=tmp_path)
    assert (tmp_path / "report" / "index.html").exists()
    run(installed / "tacit", "phase", "game=lever", "alpha=[0.5]", "refine=false", "branch=false", folder=tmp_path)
    program = "import tacit; print(tacit.make('lever'), len(tacit.load('runs').where('command=train')))"
    assert run(installed / "python", "-c", program, folder=tmp_path).endswith(" 2\n")
    assert run(installed / "python", "-m", "tacit", "status", "runs", folder=tmp_path).startswith("3 finished")
