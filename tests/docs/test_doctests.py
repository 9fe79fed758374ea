"""The examples in docstrings and on pages print what they say they print."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [page for page in sorted(DOCS.rglob("*.md")) if "_build" not in page.parts and ">>> " in page.read_text()]
FILES = [
    file
    for package in ("games", "marl", "experiments", "tacit")
    for file in sorted((ROOT / package).rglob("*.py"))
    if ">>> " in file.read_text()
]
LIKE = doctest.NORMALIZE_WHITESPACE
WHOLE = {"howto/add_a_game.md"}
"""Pages whose other Python is run before their examples, all in one module."""


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_examples_of_pages(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```(?:pycon|python)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    names = {}
    if page.relative_to(DOCS).as_posix() in WHOLE:
        exec("\n".join(block for block in blocks if ">>> " not in block), names)
    examples = doctest.DocTestParser().get_doctest("\n".join(blocks), names, page.name, str(page), 0)
    assert examples.examples
    complaints = []
    doctest.DocTestRunner(verbose=False, optionflags=LIKE).run(examples, out=complaints.append)
    assert not complaints, "".join(complaints)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_examples_of_docstrings(file):
    name = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    failed, tried = doctest.testmod(importlib.import_module(name), verbose=False, optionflags=LIKE)
    assert tried > 0 and failed == 0


def test_there_are_examples_of_what_one_tries_first():
    names = {file.relative_to(ROOT).as_posix() for file in (*PAGES, *FILES)}
    first = {"games/game.py", "games/tabular/dec_pomdp.py", "marl/exact/crossplay.py"}
    assert first | {"docs/estimators.md", "docs/reference/game_contract.md"} <= names
