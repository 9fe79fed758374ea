"""What holds in every file of code: docstrings that say shapes and errors, files one can read, nothing left to do."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = ("games", "marl", "experiments", "hydra_plugins", "tacit")
MODULES = sorted(file for floor in FLOORS for file in (ROOT / floor).rglob("*.py"))

LONGEST = 500
LONGER = {  # file -> why it is not in several
    "marl/learners/ppo.py": "a learner's file reads from top to bottom: configuration, update, losses",
    "tests/games/tabular/structures/test_structures.py": "each structure beside the program that plays it",
    "tests/games/tabular/test_tabular_symmetry.py": "one module's cases and their oracle, which share the games",
    "tests/experiments/report/test_report_site.py": "one site, made once, that a browser walks through",
    "tests/marl/learners/test_replay.py": "one law, that a replay is what was recorded, for every policy and learner",
}

SHAPE = re.compile(r"(?:\b(?:bool|u?int\d*|float\d*|dtype)|(?<=[\s(`]))\[[^\]\[`]*\](?!\()")
ELSEWHERE = re.compile(r"\bas (?:in )?`")
"""The docstring of what it names says it: "arguments as in `self_play`"."""
CONSTRUCTORS = ("__init__", "__post_init__")
"""What they refuse stands in the docstring of their class."""
SHAPES_IN_MODULE = {"marl/partners/rules.py"}
"""All functions have one signature, and the module's docstring says it."""


def name(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def public(tree: ast.Module):
    """(dotted name, node, whether it is a method) of public classes and functions."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name, node, False
            for member in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(member, ast.FunctionDef) and not member.name.startswith("_"):
                    yield f"{node.name}.{member.name}", member, True


def has_arrays(function: ast.FunctionDef) -> bool:
    """Whether a parameter or the result is an array; a random key has no shape to speak of."""
    given = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    said = [one.annotation for one in given if one.arg != "key" and not one.arg.endswith("_key")]
    return any(
        re.search(r"\b(Array|ArrayLike|ndarray|NDArray)\b", ast.unparse(each))
        for each in [*said, function.returns]
        if each
    )


def raises(function: ast.FunctionDef) -> bool:
    """Whether a user's mistake is refused in the function itself, and nothing catches it there."""
    caught = {
        inner
        for node in ast.walk(function)
        if isinstance(node, ast.Try) and any("TacitError" in ast.unparse(h.type) for h in node.handlers if h.type)
        for part in node.body
        for inner in ast.walk(part)
    }
    return any(
        isinstance(node, ast.Raise) and node.exc is not None and "TacitError(" in ast.unparse(node.exc)
        for node in ast.walk(function)
        if node not in caught
    )


def complaints(source: str, shapes: bool = True) -> list[str]:
    """What the docstrings of a module lack."""
    tree = ast.parse(source)
    found = [] if ast.get_docstring(tree) or not source.strip() else ["the module has no docstring"]
    for dotted, node, is_method in public(tree):
        said = ast.get_docstring(node) or ""
        if not said and not is_method:  # what a method does may be said by the contract that it keeps
            found.append(f"{dotted} has no docstring")
        if not said:
            continue
        is_function = isinstance(node, ast.FunctionDef)
        if is_function and shapes and has_arrays(node) and not SHAPE.search(said) and not ELSEWHERE.search(said):
            found.append(f"{dotted} states no shape")
        refusing = [node] if is_function else [one for one in node.body if getattr(one, "name", "") in CONSTRUCTORS]
        if any(map(raises, refusing)) and not re.search(r"Raises:\n(?:.*\n)*? *TacitError:", said + "\n"):
            found.append(f"{dotted} does not say that it raises")
    return found


def test_docstrings_say_shapes_and_errors():
    found = {name(file): complaints(file.read_text(), name(file) not in SHAPES_IN_MODULE) for file in MODULES}
    assert {file: lacking for file, lacking in found.items() if lacking} == {}


def test_a_docstring_that_lacks_something_is_found():
    source = '''
def plain(x): ...
def shapeless(x: Array, *, key: Array) -> int:
    """Of x."""
def silent(x: int) -> int:
    """Of x."""
    raise TacitError("x")
def good(x: Array) -> int:
    """Of x float32[3]; see [there](there).

    Raises:
      TacitError: always.
    """
    raise TacitError("x")
class Kept(Contract):
    """One."""
    def __post_init__(self):
        raise TacitError("x")
    def act(self, x: Array) -> Array: ...
    def link(self, x: Array) -> Array:
        """See [there](there)."""
'''
    assert complaints(source) == [
        "the module has no docstring",
        "plain has no docstring",
        "shapeless states no shape",
        "silent does not say that it raises",
        "Kept does not say that it raises",
        "Kept.link states no shape",
    ]


def tracked(*endings: str) -> list[Path]:
    """Files of the repository, also those not committed yet."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("this is no git checkout, so nobody says which files are ours")
    files = [ROOT / line for line in listed.stdout.splitlines() if line.endswith(endings)]
    return sorted(file for file in files if file.is_file())


def test_no_file_is_long_without_a_reason():
    lengths = {name(file): len(file.read_text().splitlines()) for file in tracked(".py", ".js", ".css", ".html")}
    long = {file for file, length in lengths.items() if length > LONGEST}
    assert long == set(LONGER)


def test_nothing_is_left_to_do():
    marks = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
    assert [
        name(file)
        for file in tracked(".py", ".js", ".css", ".html", ".yaml", ".toml", "Makefile")
        if marks.search(file.read_text())
    ] == []
