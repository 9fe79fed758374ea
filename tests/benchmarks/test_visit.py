"""A visit to a machine that lends an accelerator: from a bare tree, with few packages, and on from its own pack."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from benchmarks import visit
from experiments import runs
from games.errors import TacitError
from tests.command_line import call

ROOT = Path(__file__).parents[2]
THERE = ("jax", "optax", "flax", "orbax-checkpoint", "safetensors", "diffrax", "scipy", "matplotlib", "rich")
"""What is installed on such a machine, with what it needs."""
NOT_THERE = ("hydra", "omegaconf", "hanabi_learning_environment", "igraph", "jaxmarl", "pandas", "pytest")


def closure(names):
    """The installed ones of these distributions and all that they require without extras."""
    found, todo = {}, list(names)
    while todo:
        name = re.match(r"[\w.-]+", todo.pop())[0].lower().replace("_", "-")
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue
        todo += [one for one in found[name].requires or () if "extra ==" not in one]
    return list(found.values())


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """(a copy of the tree without git, the environment of a process that sees only THERE)."""
    tree, packages = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("packages")
    for folder in ("games", "marl", "experiments", "benchmarks", "conf"):
        os.symlink(ROOT / folder, tree / folder)
    for one in closure(THERE):
        for top in {file.parts[0] for file in one.files if file.parts[0] not in ("..", "__pycache__")}:
            if not (packages / top).exists():
                os.symlink(one.locate_file(top), packages / top)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return tree, kept | {"PYTHONPATH": f"{tree}:{packages}"}


def run(bare, *arguments):
    tree, environment = bare
    return subprocess.run(
        [sys.executable, "-S", *map(str, arguments)], cwd=tree, env=environment, capture_output=True, text=True,
        timeout=250, check=False,
    )  # fmt: skip


def test_a_pack_is_what_was_packed(tmp_path, monkeypatch):
    monkeypatch.setattr(visit, "PART", 1000)
    contents = os.urandom(25_000)
    (tmp_path / "runs" / "one").mkdir(parents=True)
    (tmp_path / "runs" / "one" / "file").write_bytes(contents)
    assert visit.pack(tmp_path / "runs", tmp_path / "pack") == 26
    assert {file.stat().st_size for file in (tmp_path / "pack").iterdir()} > {1000}
    visit.unpack(tmp_path / "pack", tmp_path / "again")  # the tenth part after the ninth, not after the first
    assert (tmp_path / "again" / "one" / "file").read_bytes() == contents
    (tmp_path / "runs" / "one" / "file").write_bytes(contents[:100])
    assert visit.pack(tmp_path / "runs", tmp_path / "pack2") == visit.pack(tmp_path / "runs", tmp_path / "pack") == 1
    visit.unpack(tmp_path / "pack", tmp_path / "shorter")
    assert (tmp_path / "shorter" / "one" / "file").read_bytes() == contents[:100]
    (tmp_path / "runs" / "one" / "file").write_bytes(contents)
    assert visit.pack(tmp_path / "runs", tmp_path / "pack") == 26
    (tmp_path / "pack" / "3").unlink()
    with pytest.raises(TacitError, match="is no pack of an earlier visit, or damaged"):
        visit.unpack(tmp_path / "pack", tmp_path / "broken")


def test_of_the_checkpoints_the_newest_is_packed(tmp_path):
    folder = tmp_path / "runs" / "one" / "checkpoints"
    folder.mkdir(parents=True)
    for name in ("9-ffffffff.safetensors", "10-00000000.safetensors"):
        (folder / name).write_text(name)
    (tmp_path / "runs" / "one.json").write_text("{}")
    visit.pack(tmp_path / "runs", tmp_path / "pack")
    visit.unpack(tmp_path / "pack", tmp_path / "again")
    there = {file.relative_to(tmp_path / "again").as_posix() for file in (tmp_path / "again").rglob("*.*")}
    assert there == {"one.json", "one/checkpoints/10-00000000.safetensors"}


@pytest.mark.parametrize("contents", [None, "{", "[]", '{"budget": 3}'])
def test_what_is_no_configuration_is_refused_before_anything_is_measured(tmp_path, capsys, contents):
    file = tmp_path / "mine.json"
    if contents is not None:
        file.write_text(contents)
    assert visit.main([str(tmp_path / "out"), str(file)]) == 2
    assert f"{file} is not a configuration that `tacit config` has written" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.proof
def test_two_visits_of_a_bare_tree_with_few_packages(bare, tmp_path):
    names = ", ".join(f"util.find_spec({name!r})" for name in NOT_THERE)
    said = run(bare, "-c", f"from importlib import util; print(any([{names}]), util.find_spec('jax') is not None)")
    assert (said.stdout, said.stderr) == ("False True\n", "")
    tiny = [
        "game=hanabi_2x3", "policy.torso=[8]", "learner.num_games=8", "learner.rollout_length=8", "seeds=2",
        "crossplay.games=8", "execution.evaluations=0", "execution.rows=2",
    ]  # fmt: skip
    for name, steps in (("short", "budget.steps=128"), ("long", "budget.steps=2e7")):
        (tmp_path / f"{name}.json").write_text(call("config", *tiny, steps).out)
    configs = [tmp_path / "short.json", tmp_path / "long.json"]
    measured = run(bare, "-m", "benchmarks.visit", tmp_path / "none", "--small", "--benchmark-minutes=0.05")
    assert measured.returncode == 0, measured.stderr
    assert json.loads((tmp_path / "none" / "accelerator.json").read_text())["rows"]
    steps, pack = [], tmp_path / "none" / "pack"
    for name in ("first", "second"):
        after = ("--pack", pack, "--benchmark-minutes=0", "--minutes=0.6")
        visited = run(bare, "-m", "benchmarks.visit", tmp_path / name, *configs, *after)
        assert visited.returncode == 0, visited.stderr
        pack = tmp_path / name / "pack"
        run(bare, "-m", "benchmarks.visit", tmp_path / name, "--only-unpack", "--pack", pack)
        assert runs.is_finished(tmp_path / name / "runs" / "short")
        steps.append(runs.read_status(tmp_path / name / "runs" / "long")["steps"])
    assert 0 < steps[0] < steps[1] < 2e7
