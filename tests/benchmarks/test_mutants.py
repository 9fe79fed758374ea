"""The list of mutants fits the code; the examination tells what tests find from what they miss."""

import subprocess
from collections import Counter

import pytest

from benchmarks import mutants
from benchmarks.mutants import Mutant


def test_each_mutant_of_the_list_can_be_made():
    listed = mutants.read(mutants.LIST)
    sources = {one.file: (mutants.ROOT / one.file).read_text() for one in listed}
    for one in listed:
        changed = mutants.mutated(sources[one.file], one)
        assert changed != sources[one.file]
        compile(changed, one.file, "exec")
        assert all((mutants.ROOT / file).is_file() for file in one.first), one.defect
        assert all((mutants.ROOT / path).exists() for path in list(one.stages(mutants.ROOT))[-1][:1]), one.file
    assert len({(one.file, one.defect) for one in listed}) == len(listed)
    floors = Counter(one.file.split("/")[0] for one in listed)
    assert sum(floors.values()) >= 80 and set(floors) == {"games", "marl", "experiments"}
    assert floors["experiments"] <= 20


def test_a_text_that_is_not_there_once_fails():
    for source, times in (("a = 1\n", 0), ("b = 1\nb = 1\n", 2)):
        with pytest.raises(ValueError, match=rf"m\.py: 'b = 1' stands there {times} times, not once"):
            mutants.mutated(source, Mutant("m.py", "b = 1", "b = 2", "another number"))


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A repository with two modules; the tests see the sum of one, and fail on the other in any case."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # pytest starts six times, at once
    root = tmp_path / "tree"
    files = {
        "games/sums.py": "def total(a, b):\n    return a + b\n\n\ndef shown(a):\n    return str(a)\n",
        "tests/games/test_sums.py": "from games.sums import total\n\ndef test_total():\n    assert total(1, 2) == 3\n",
        "marl/odd.py": "ONE = 1\n",
        "tests/marl/test_odd.py": "def test_broken():\n    assert False\n",
        "pyproject.toml": '[tool.pytest.ini_options]\npythonpath = ["."]\nmarkers = ["proof"]\n',
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for command in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", *command], cwd=root, check=True)
    return root


@pytest.mark.slow
def test_what_tests_find_is_killed_and_what_fails_anyway_is_undecided(tree, tmp_path, capsys):
    found = Mutant("games/sums.py", "a + b", "a - b", "a sign")
    missed = Mutant("games/sums.py", "str(a)", "repr(a)", "other characters")
    unclear = Mutant("marl/odd.py", "1", "2", "another number")
    output = tmp_path / "results.jsonl"
    results = mutants.examine([found, missed, unclear], tree, output=output, workers=1)
    assert [(one.verdict, one.test) for one in results] == [
        ("killed", "tests/games/test_sums.py::test_total"),
        ("survived", ""),
        ("undecided", "tests/marl/test_odd.py::test_broken fails without it as well"),
    ]
    assert (tree / "games/sums.py").read_text().count("a + b") == 1
    assert [one.defect for one in mutants._kept(output)] == ["a sign", "other characters", "another number"]

    capsys.readouterr()
    assert mutants.examine([missed], tree, mutants._kept(output), workers=1) == [results[1]]
    assert capsys.readouterr().out == ""  # nothing was left to run

    lines = mutants.table({"killed by": results}).splitlines()
    assert lines[2] == "| `games/sums.py` | a sign | `games/test_sums.py::test_total` |"
    assert lines[3] == "| `games/sums.py` | other characters | **survived** |"
    assert lines[-1].startswith("killed by: 1 killed, 1 survived, 1 undecided")


def test_where_the_tests_of_a_module_are(tmp_path):
    for file in ("test_sums.py", "test_other_sums.py", "test_else.py"):
        (tmp_path / "tests" / "games").mkdir(parents=True, exist_ok=True)
        (tmp_path / "tests" / "games" / file).touch()
    named = ["tests/games/test_other_sums.py", "tests/games/test_sums.py"]
    one = Mutant("games/sums.py", "a", "b", "")
    assert list(one.stages(tmp_path)) == [named, ["tests/games", *(f"--ignore={file}" for file in named)]]
    told = one._replace(first=("tests/games/test_else.py",))
    assert next(told.stages(tmp_path)) == ["tests/games/test_else.py"]
