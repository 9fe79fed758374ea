"""`import tacit` costs nothing, and what it offers is there, documented and typed."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import tacit

ROOT = Path(__file__).parents[2]
HEAVY = ("jax", "flax", "matplotlib", "hydra", "omegaconf", "numpy", "scipy", "rich")


def loaded_after(program):
    """The heavy libraries that a process has loaded after a program."""
    said = f"{program}\nimport json, sys\nprint(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", said], cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_import_loads_nothing():
    assert loaded_after("import tacit; dir(tacit); tacit.__all__") == []


@pytest.mark.slow
def test_what_reads_and_estimates_loads_no_jax():
    program = "import tacit; tacit.load('nowhere', missing_ok=True); tacit.summarise(([(0, 0), (1, 1)], [1.0, 2.0]))"
    assert not set(loaded_after(program)) & {"jax", "flax", "matplotlib", "hydra"}


@pytest.mark.slow
@pytest.mark.parametrize("name", tacit.__all__)
def test_every_name_is_there_and_documented(name):
    assert getattr(tacit, name).__doc__  # its own: inspect.getdoc finds that of a base, too
    assert name in dir(tacit)


def test_they_are_few():
    assert len(tacit.__all__) <= 19 and tacit.__all__ == sorted(tacit.__all__)


def test_a_name_that_it_lacks_is_answered_with_those_it_has():
    with pytest.raises(AttributeError, match="module 'tacit' has no attribute 'trian'; it has Agent, Paused, Runs, "):
        _ = tacit.trian


def test_checkers_of_types_see_what_is_there():
    """What is imported for types alone is what `__getattr__` gives, from the same modules."""
    tree = ast.parse((ROOT / "tacit" / "__init__.py").read_text())
    (for_types,) = (
        node for node in tree.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    )
    seen = {alias.name: node.module for node in for_types.body for alias in node.names}
    assert sorted(seen) == tacit.__all__
    for name, module in seen.items():
        found = getattr(tacit, name)
        there = sys.modules[module]
        assert getattr(there, name, None) is found or sys.modules[f"{module}.{name}"] is found


@pytest.mark.slow
def test_figures_are_documented():
    for name in tacit.figures.__all__:
        assert getattr(tacit.figures, name).__doc__, name
