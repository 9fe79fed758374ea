"""A folder or file of a user's own that hides a package of the lab: one sentence, from Python and from the command.

What hides what depends on how the lab is installed. Python takes the first regular package or module on its path, so
that a folder without __init__.py hides nothing that lies in a folder of the path; an editable installation is looked
into last, and such a folder hides that.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tacit import hiding

ROOT = Path(__file__).parents[2]
PROGRAM = "import sys\nfrom tacit.__main__ import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
"""What pip writes for the command, from pyproject.toml."""
EDITABLE = f"""
import sys
from importlib.machinery import PathFinder

class Last:  # as setuptools has it
    def find_spec(name, path=None, target=None):
        return PathFinder.find_spec(name, [{str(ROOT)!r}]) if "." not in name else None

sys.meta_path.append(Last)
"""


def run(*command, folder, path=()):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    done = subprocess.run(
        [*map(str, command)], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def own(folder, name):
    """A package of the user's own."""
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text("")
    return folder / name


def expected(what, place):
    return (
        f"the {what} {place} hides Tacit's package {place.stem!r}: run from another folder, or rename it "
        "(Python looks into the current folder and PYTHONPATH first)"
    )


def test_nothing_hides_the_lab_here():
    assert hiding.sentence() == ""


def test_the_packages_are_all_that_the_face_needs():
    assert set(hiding.PACKAGES) == {"conf", "experiments", "games", "marl"}
    assert all((ROOT / name / "__init__.py").is_file() for name in hiding.PACKAGES)


@pytest.mark.slow
@pytest.mark.parametrize("name", hiding.PACKAGES)
def test_import_says_which_folder_hides_which_package(name, tmp_path):
    place = own(tmp_path, name)
    status, _, said = run(sys.executable, "-c", "import tacit", folder=tmp_path, path=[ROOT])
    assert status == 1
    assert said.splitlines()[-1] == f"ImportError: {expected('folder', place)}"


@pytest.mark.slow
def test_so_does_the_command_without_a_traceback(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "tacit").write_text(PROGRAM)
    place = own(tmp_path, "experiments")
    program = [sys.executable, tmp_path / "bin" / "tacit", "--help"]
    said = (2, "", f"tacit: {expected('folder', place)}\n")
    assert run(*program, folder=tmp_path, path=[tmp_path, ROOT]) == said
    assert run(sys.executable, "-m", "tacit", "--help", folder=tmp_path, path=[ROOT]) == said
    status, out, _ = run(*program, folder=tmp_path, path=[ROOT])  # a program does not look into the current folder
    assert status == 0 and out.startswith("tacit: independently trained agents")


@pytest.mark.slow
def test_a_program_of_the_users_own_can_catch_it(tmp_path):
    own(tmp_path, "experiments")
    text = "try:\n    import tacit\nexcept ImportError as error:\n    print('caught')\n"
    (own(tmp_path, "mine") / "__init__.py").write_text(text)  # read while sys.argv[0] is "-m"
    (tmp_path / "mine" / "__main__.py").write_text("")
    assert run(sys.executable, "-m", "mine", "tacit", folder=tmp_path, path=[ROOT]) == (0, "caught\n", "")


@pytest.mark.slow
def test_a_file_hides_as_well(tmp_path):
    (tmp_path / "games.py").write_text("")
    _, _, said = run(sys.executable, "-c", "import tacit", folder=tmp_path, path=[ROOT])
    assert said.splitlines()[-1] == f"ImportError: {expected('file', tmp_path / 'games.py')}"


@pytest.mark.slow
def test_a_folder_without_init_hides_an_editable_installation_only(tmp_path):
    bare = (sys.executable, "-S")  # without the installations of this environment
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "mine.yaml").write_text("")
    assert run(sys.executable, "-c", "import tacit", folder=tmp_path, path=[ROOT])[0] == 0
    _, _, said = run(*bare, "-c", f"{EDITABLE}\nimport tacit", folder=tmp_path)
    assert said.splitlines()[-1] == f"ImportError: {expected('folder', tmp_path / 'conf')}"
    (tmp_path / "conf").rename(tmp_path / "my_conf")
    assert run(*bare, "-c", f"{EDITABLE}\nimport tacit", folder=tmp_path) == (0, "", "")


def test_a_lab_that_is_not_whole_is_said(monkeypatch):
    monkeypatch.setattr(hiding, "PACKAGES", ("games", "nowhere_at_all"))
    assert hiding.sentence().startswith("Tacit's package 'nowhere_at_all' is not installed beside ")
