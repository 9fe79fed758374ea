"""The command line in a folder that holds the examples, as a user has their own files."""

import shutil
from pathlib import Path

import pytest

from tests.experiments.conftest import tacit  # noqa: F401

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def small():
    """The arguments of `tacit train` for two seeds and few games."""
    return (
        "seeds=2", "crossplay.games=8", "execution.rows=2", "execution.evaluations=0", "execution.progress=false",
        "execution.figures=false", "learner.num_games=8",
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current directory: a new one with copies of the examples."""
    for file in (ROOT / "examples").glob("*.py"):
        shutil.copy(file, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path
