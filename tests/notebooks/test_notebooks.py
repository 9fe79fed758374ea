"""Every notebook, executed as Jupyter does it, at tiny size."""

import ast
import functools
import re

import pytest
from nbclient.exceptions import CellExecutionError

from docs import notebooks

SCRIPTS = sorted(notebooks.NOTEBOOKS.glob("[0-9]_*.py"))

SMALL_HANABI = {
    "seeds": 2, "budget.steps": 64, "crossplay.games": 4, "learner.num_games": 8, "learner.rollout_length": 8,
    "learner.epochs": 1, "learner.minibatches": 1, "policy.torso": [8], "execution.evaluations": 0,
}  # fmt: skip
FEW_STARTS = {"normal_starts": 2, "wide_starts": 0, "pure_starts": 4, "refine": False}

TINY = {
    "0_use_from_python": {"steps": 1024, "coefficients": [0.01, 0.1]},
    "1_conventions": {"seeds": 6, "levers": [2]},
    "2_high_entropy": {
        "dectiger": {**FEW_STARTS, "horizon": 2, "alpha": [3, 14]},
        "variants": "C",
        "tiny_hanabi": {**FEW_STARTS, "alpha": [0.4, 0.9]},
        "lever": {**FEW_STARTS, "payoffs": [1.0, 1.0, 0.9], "alpha_count": 3},
        "levers": "2",
        "lever_alpha": [0.4, 0.6],
    },
    "3_where_it_fails": {
        "starts": 2,
        "grid": {**FEW_STARTS, "alpha": [0.4, 0.9]},
        "methods": ["self-play", "annealed-greedy", "other-play", "other-play-tie-breaking"],
    },
    "4_hanabi": {
        "entropy_coefs": [0.01, 0.1],
        "lambda_coef": 0.1,
        "lambdas": [0.9, 1.0],
        "size": SMALL_HANABI,
        "memory_coefs": [0.1],
        "memory_size": SMALL_HANABI,
        "games": 4,
    },
    "5_your_own": {
        "alphas": [0.2, 0.6],
        "starts": FEW_STARTS,
        "seeds": 2,
        "steps": 2048,
    },
    "6_statistics": {"samples": 20, "resamples": 50, "seeds": [6, 8]},
    "7_structure": {
        "size": {"starts": 2, "restarts": 2, "method": ["self-play", "other-play"]},
        "structures": ["none", "isolation"],
        "structures_of_silos": ["none"],
        "agents": "2",
        "penalties": "0.5",
    },
}
"""The parameters of each notebook."""

PRINTED = {
    "0_use_from_python": [
        "player 0 to move",
        "shapes: {'hands': (1, 2, 2, 3), 'fireworks': (2, 3), 'life_tokens': (2,)}",
        "| 0.01 | 6 | ",
        "True finished 0.01",
        "{0.1: 4, 0.3: 4, 0.4: 1}",
    ],
    "1_conventions": [
        "symmetries of policies                             725,760                 362,880",
        "| self-play | 0.1111 (1.0000) |\n| Other-Play | 0.9000 |",
        "| self-play | 0.5000 (1.0000) |\n| Other-Play | 0.5000 |",
    ],
    "2_high_entropy": ["alpha_certified   0.5 (one stage)"],
    "3_where_it_fails": [
        "| annealed, greedy | 0.1111 | 0.0000 | 2.5000 |",
        "| Other-Play | 0.9000 | 0.0000 (0.5000) | n/a",
        "| Other-Play, tie-breaking | 0.9000 | 0.5000 | n/a",
        "alpha_certified   1.11803 (signal and reply)",
    ],
    "4_hanabi": [
        "player 0 to move",
        "| 0.01 | 2 | ",
        "| FeedForward | 0.1 | 2 | ",
        "| Recurrent | 0.1 | 2 | ",
        "| over seeds | ",
        "finished training runs that are stored in runs/hanabi_full: 0",
    ],
    "5_your_own": [
        "agents: watchman master",
        "alpha_certified   1.36529 (finite horizon)",
        "best self-play    1\n",
        "| 0.6 | 2 | ",
        "| Reinforce, 0.6 | IPPO, 1 |",
    ],
    "6_statistics": ["cells_as_independent  5.63 ± 0.20 [5.23, 6.02]", "failures"],
    "7_structure": ["self-play               1.00  1.00  1.000              0.250"],
}
"""Lines, or parts of lines, that each notebook prints with these parameters."""

FIGURES = {
    "0_use_from_python": 3,
    "1_conventions": 2,
    "2_high_entropy": 4,
    "3_where_it_fails": 5,
    "4_hanabi": 7,
    "5_your_own": 4,
    "6_statistics": 3,
    "7_structure": 6,
}
"""How many figures each notebook shows."""

TWICE = ("1_conventions", "6_statistics")
"""Notebooks that are executed a second time, with the runs of the first where there are any: the same bytes."""

CHEAP = ("6_statistics",)
"""What `make test` executes; `make proof` executes all others, too."""

IMPORTED = {"tacit", "pathlib", "sys", "jax", "numpy", "matplotlib"}
"""What notebooks may import: of ours `tacit` alone."""
LOGIC = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.While, ast.If, ast.Try, ast.With)


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """executed(script) -> the notebook at tiny size, and its folder; each is executed once."""

    @functools.cache
    def execute(script):
        folder = tmp_path_factory.mktemp(script.stem)
        return notebooks.execute(script, folder, TINY[script.stem]), folder

    return execute


@pytest.mark.slow
@pytest.mark.parametrize(
    "script",
    [
        pytest.param(script, marks=[] if script.stem in CHEAP else [pytest.mark.proof], id=script.stem)
        for script in SCRIPTS
    ],
)
def test_a_notebook_runs(script, executed):
    found, folder = executed(script)
    said = notebooks.printed(found)
    for expected in PRINTED[script.stem]:
        assert expected in said
    assert str(folder) not in said
    assert len(notebooks.figures(found)) == FIGURES[script.stem]
    complaints = [
        output.text for cell in found.cells for output in cell.get("outputs", ()) if output.get("name") == "stderr"
    ]
    assert not complaints


@pytest.mark.proof
@pytest.mark.parametrize("name", TWICE)
def test_a_notebook_says_and_shows_the_same_again(name, executed):
    script = notebooks.NOTEBOOKS / f"{name}.py"
    found, folder = executed(script)
    again = notebooks.execute(script, folder, TINY[name])
    assert notebooks.printed(again) == notebooks.printed(found)
    assert notebooks.figures(again) == notebooks.figures(found)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
class TestWhatAllNotebooksKeep:
    def test_the_first_cell_is_the_title(self, script):
        first = notebooks.read(script).cells[0]
        assert first.cell_type == "markdown", "a docstring is a code cell in Jupyter: put # %% [markdown] above it"
        assert first.source.startswith("# ")

    def test_one_cell_holds_all_parameters(self, script):
        notebook = notebooks.read(script)
        cell = notebooks.parameters_cell(notebook)
        assigned = ast.parse(cell.source).body
        small = {line.targets[0].id: ast.literal_eval(line.value) for line in assigned}
        full = notebooks.full_size(notebook)
        assert cell.source.count("# full:") == len(full) > 0
        for name, value in full.items():
            assert type(value) is type(small[name]) and value != small[name]
        assert set(TINY[script.stem]) <= set(small)

    def test_it_has_no_logic_of_its_own(self, script):
        body = ast.walk(ast.parse(script.read_text()))
        for node in body:
            assert not isinstance(node, LOGIC), f"line {node.lineno}: belongs below tacit/"
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
                assert {name.partition(".")[0] for name in names} <= IMPORTED

    def test_the_page_says_what_it_shows(self, script):
        page = (notebooks.ROOT / "docs" / "notebooks.md").read_text()
        assert f"notebooks/{script.name}" in page
        shown = re.findall(rf"figures/({script.stem}_\d+\.png)", page)
        assert shown
        for name in shown:
            assert 5_000 < (notebooks.FIGURES / name).stat().st_size < 150_000


TOY = """# %% [markdown]
\"\"\"
# A toy
\"\"\"

# %% tags=["parameters"]
size = 2  # full: 5
color = "blue"

# %%
# %matplotlib inline
from matplotlib.figure import Figure

figure = Figure(figsize=(size, 1))
figure.subplots()
print(size, color)
figure
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A folder with one notebook, as if it were notebooks/, and the current one."""
    (tmp_path / "0_toy.py").write_text(TOY)
    monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(notebooks, "FIGURES", tmp_path / "figures")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "0_toy.py"


@pytest.mark.slow
def test_the_command_writes_the_figures(toy, capsys):
    notebooks.main(["0_toy"])
    small = (toy.parent / "figures" / "0_toy_1.png").read_bytes()
    assert capsys.readouterr().out.strip() == str(toy.parent / "figures" / "0_toy_1.png")
    notebooks.main(["--full"])
    full = (toy.parent / "outputs" / "0_toy_1.png").read_bytes()
    width = [int.from_bytes(png[16:20]) for png in (small, full)]
    assert width[1] > 2 * width[0] > 0
    with pytest.raises(SystemExit):
        notebooks.main(["toy"])
    assert "there is no notebook toy, only 0_toy" in capsys.readouterr().err


@pytest.mark.proof
def test_parameters_replace_those_of_the_notebook(toy):
    executed = notebooks.execute(toy, toy.parent, {"color": "red"})
    assert notebooks.printed(executed) == "2 red\n"


def test_a_parameter_that_the_notebook_does_not_have_is_an_error(toy):
    with pytest.raises(ValueError, match=r"0_toy\.py has no parameter colour, only color, size"):
        notebooks.execute(toy, toy.parent, {"colour": "red"})


@pytest.mark.slow
def test_a_cell_that_fails_is_an_error(toy):
    with pytest.raises(CellExecutionError, match="TypeError"):
        notebooks.execute(toy, toy.parent, {"size": "large"})
