"""Imports go down only: games <- marl <- experiments <- tacit, hydra_plugins; few modules may touch some libraries."""

import ast
import functools
import graphlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = ("games", "marl", "experiments", "hydra_plugins", "tacit", "conf")
MODULES = sorted(file for floor in FLOORS for file in (ROOT / floor).rglob("*.py"))
NUMERIC = {"jax", "numpy"}
MAY_IMPORT = {
    "games": {"games", "hanabi_learning_environment", "igraph", "safetensors", "scipy"} | NUMERIC,
    "marl": {"diffrax", "games", "marl", "flax", "optax", "scipy"} | NUMERIC,
    "experiments": {
        "conf", "experiments", "flax", "games", "hydra", "marl", "matplotlib", "omegaconf", "optax", "rich",
        "safetensors", "pandas", "xarray", "submitit", "hydra_plugins", "plotly", "mlflow", "tensorboard",
    }
    | NUMERIC,
    "hydra_plugins": {"experiments", "games", "hydra", "omegaconf"},
    "tacit": {"experiments", "games", "jax", "marl", "numpy", "tacit"},
    "conf": set(),
}  # fmt: skip
ONLY_IN = {
    "hydra": {"experiments/launching/", "hydra_plugins/"},
    "omegaconf": {
        "experiments/launching/",
        "hydra_plugins/",
        "experiments/configuration/conf_files.py",  # where a class of the user's own extends one of ours
    },
    "diffrax": {"marl/exact/gradient_flow.py", "marl/exact/integrators.py"},
    "hanabi_learning_environment": {"games/hanabi/hle.py"},
    "igraph": {"games/tabular/symmetry.py"},
    "pandas": {"experiments/runs/collection.py"},
    "xarray": {"experiments/runs/collection.py", "experiments/runs/labelled.py"},
    "submitit": {"experiments/launching/"},
    "hydra_plugins": {"experiments/launching/"},
    "mlflow": {"experiments/analysis/export.py"},
    "tensorboard": {"experiments/analysis/export.py"},
    "matplotlib": {
        "experiments/analysis/compare_figures.py", "experiments/presentation/figures.py",
        "experiments/presentation/ladder_figures.py", "experiments/presentation/statistics_figures.py",
        "experiments/studies/exact_figures.py", "experiments/studies/structure_figures.py",
    },
    "safetensors": {"experiments/runs/files.py", "games/hanabi/records.py"},
}  # fmt: skip


def name(file):
    return file.relative_to(ROOT).as_posix()


@functools.cache
def tree(file):
    return ast.parse(file.read_text(), str(file))


@functools.cache
def imported(file):
    """The dotted names of all that a module imports, anywhere in it."""
    found = []
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name(file)}: a relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(found)


def below(*floors):
    """The modules of folders."""
    return [file for file in MODULES if name(file).startswith(floors)]


def test_there_is_something_to_check():
    assert {name(file).split("/")[0] for file in MODULES} == set(MAY_IMPORT)
    assert len(MODULES) > 30
    assert below("marl/exact/") and below("games/", "marl/") != below("marl/")


def test_imports_go_down_only():
    wrong = []
    for file in MODULES:
        tops = {module.split(".")[0] for module in imported(file)} - sys.stdlib_module_names
        upwards = tops - MAY_IMPORT[name(file).split("/")[0]]
        elsewhere = {top for top in tops & ONLY_IN.keys() if not name(file).startswith(tuple(ONLY_IN[top]))}
        wrong += [f"{name(file)} imports {top}" for top in sorted(upwards | elsewhere)]
    assert wrong == []


def test_imports_make_no_circle():
    """Not even in functions or for types."""
    modules = {name(file).removesuffix(".py").removesuffix("/__init__").replace("/", "."): file for file in MODULES}
    needed = {
        module: {one if one in modules else one.rpartition(".")[0] for one in imported(file)}
        & modules.keys() - {module}
        for module, file in modules.items()
    }
    try:
        graphlib.TopologicalSorter(needed).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" needs ".join(reversed(error.args[1])))


def test_what_runs_a_piece_knows_no_command_line():
    reached, todo = set(), ["experiments.run_piece"]
    while todo:
        module = todo.pop()
        file = ROOT / (module.replace(".", "/") + ".py")
        if module in reached or not file.exists():
            continue
        reached.add(module)
        for dotted in imported(file):
            todo += [dotted, dotted.rpartition(".")[0], f"{dotted}.__init__", f"{dotted.rpartition('.')[0]}.__init__"]
    assert {"experiments.training.job", "experiments.runs.directory", "marl.crossplay.evaluate"} <= reached
    experiments = {module for module in reached if module.startswith("experiments.")}
    experiments = {module for module in experiments if not module.startswith("experiments.runs.")}  # all of it is light
    experiments -= {"experiments.__init__", "experiments.run_piece"}
    assert {module.split(".")[1] for module in experiments} == {"configuration", "training"}


def test_nobody_sets_double_precision_globally():
    for file in MODULES:
        for node in ast.walk(tree(file)):
            said = node.value if isinstance(node, ast.Constant) else getattr(node, "attr", None)
            assert not (isinstance(said, str) and said.strip() in ("jax_enable_x64", "JAX_ENABLE_X64")), name(file)


def test_nothing_below_the_top_prints_or_opens_files():
    called = {
        (name(file), node.func.id)
        for file in below("games/", "marl/")
        for node in ast.walk(tree(file))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not [call for call in called if call[1] in ("print", "open", "input")]


def test_the_exact_core_knows_no_networks():
    importing = [name(file) for file in below("marl/exact/") if any(m.split(".")[0] == "flax" for m in imported(file))]
    assert importing == []
