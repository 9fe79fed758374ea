"""A Python path as a choice: keys from the signature, names of runs, mistakes, and processes elsewhere."""

import json
import os
import re
import subprocess
import sys
import textwrap

import pytest

from experiments.configuration.config import JobConfig, RunConfig
from experiments.configuration.targets import completed, default_group
from experiments.launching import compose
from games.errors import TacitError

OWN = """
    import math

    import numpy as np

    from games.tabular.dec_pomdp import matrix_game
    from games.tabular.simulator import Simulator

    def make(size: int, *, pays=(1, 0.5), label: str | None = None, even: bool = True) -> Simulator:
        table = np.diag(np.resize(np.array(pays, float), size))
        names = [str(n) for n in range(size)]
        return Simulator(matrix_game(table, ("a", "b"), (names, names)), 1, label or "mine")

    def unsaid(size=3):
        return make(size)

    def odd(table=np.ones(2)) -> Simulator:
        return make(2)

    def anything(*sizes, **more) -> Simulator:
        return make(3)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """own(name, text) writes a module of that name into the current directory, which is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield lambda name, text=OWN: (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", "") and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def test_keys_and_defaults_come_from_the_signature(own):
    own("own_a")
    assert default_group("game", "own_a.make") == {
        "_target_": "own_a.make", "size": "???", "pays": [1, 0.5], "label": None, "even": True,
    }  # fmt: skip
    assert default_group("game", "own_a.anything") == {"_target_": "own_a.anything"}
    policy = default_group("policy", "marl.policies.feed_forward.FeedForward")
    assert policy == compose.compose(["policy=feed_forward"])["policy"]
    learner = default_group("learner", "marl.learners.ippo.IPPO")
    assert learner == {**compose.compose(["learner=ippo"])["learner"], "other_play": False}  # a file of ours says more
    assert not {"game", "policy", "observer", "total_updates", "hyperparameters"} & set(learner)


def test_the_current_directory_is_last_on_the_path(own, tmp_path):
    own("own_b")
    own("math")  # hides nothing
    default_group("game", "own_b.make")
    assert sys.path[-1] == str(tmp_path)
    assert sys.path.count(str(tmp_path)) == 1


def test_values_are_set_like_those_of_built_in_groups(own):
    own("own_c")
    game = compose.compose(["game=own_c.make", "size=1e1", "game.pays=[2]"])["game"]
    assert game == {"_target_": "own_c.make", "size": 10.0, "pays": [2], "label": None, "even": True}


def test_a_run_is_named_alike_however_its_groups_were_written(own):
    own("own_d")
    short = compose.compose(["game=own_d.make", "size=2", "seeds=2"])
    (one,), (other,), (third,) = (
        JobConfig.parse(plain).runs
        for plain in (
            short,
            {**short, "game": {"_target_": "own_d.make", "size": 2.0}},  # as JSON, with defaults left out
            {**short, "game": {"_target_": "own_d.make", "size": 2, "pays": [1.0, 0.5], "even": True}},
        )
    )
    assert one.name() == other.name() == third.name()
    assert RunConfig.from_science(json.loads(json.dumps(one.science()))).name() == one.name()
    (larger,) = JobConfig.parse({**short, "game": {"_target_": "own_d.make", "size": 3}}).runs
    assert larger.name() != one.name()


def test_groups_of_the_lab_stay_as_they_are():
    group = {"_target_": "marl.learners.ippo.IPPO", "num_games": 8}
    assert completed("learner", group) == group


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["game=nowhere_at_all.make"], "no module 'nowhere_at_all' in {here} nor among the installed packages; run"),
        (["game=own_e.mak"], "game 'own_e.mak' cannot be imported: module 'own_e' has no 'mak'; did you mean 'make'?"),
        (["game=own_e.more.make"], "game 'own_e.more.make' cannot be imported: "),
        (["game=own_e.unsaid"], "game 'own_e.unsaid' must be a class of games (games.game.Game), or a function annot"),
        (["game=own_e.make"], "the configuration needs a value for game.size"),
        (["game=own_e.make", "size=2", "evn=false"], "has no key 'evn'; did you mean 'game.even'?"),
        (["game=own_e.make", "game.evn=false"], "has no key 'game.evn'; did you mean 'game.even'?"),
        (["game=own_e.odd"], "table must have a default of numbers, words, lists or mappings of them, not array("),
        (
            ["game=own_f.make"],
            "cannot be imported: ModuleNotFoundError: No module named 'not_there', own_f.py line 1\n",
        ),
        (["game=own_e"], "there is no game 'own_e'; there are "),
        (["learner=own_e.make"], "learner 'own_e.make' must be a class with init, update, "),
        (["policy=own_e.make"], "policy 'own_e.make' must be a class with init, initial_memory, "),
        (["-m", "game=lever,own_e.make", "learner.gamma=0.5,0.6"], "the configuration needs a value for game.size"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_one_sentence(tacit, own, tmp_path, arguments, says):
    own("own_e")
    own("own_f", "import not_there")
    said = tacit("train", *arguments)
    assert (said.status, said.out) == (2, "")
    assert says.format(here=tmp_path) in said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("own_j.make", "game 'own_j.make' cannot be imported: SystemExit: 0, own_j.py line 1"),
        ("own_k.make", "game 'own_k.make' must be a class of games"),
        ("own_k.other", "game 'own_k.other' must be a class of games"),
        ("time.make", "module 'time' has no 'make'; (it is built in, or a folder)"),
        ("folder_of_mine.make", "module 'folder_of_mine' has no 'make'; (it is built in, or a folder)"),
    ],
)
def test_what_builds_nothing_is_one_sentence(own, tmp_path, path, says):
    own("own_j", "raise SystemExit(0)")
    own("own_k", "import math\ndef make() -> 'math.Game': ...\ndef other() -> 'a game': ...")
    (tmp_path / "folder_of_mine").mkdir()
    with pytest.raises(TacitError, match=re.escape(says)):
        default_group("game", path)


def test_the_list_of_games_says_how_to_bring_one(tacit, own):
    assert "one of your own is a Python path such as my_game.Mine" in tacit("games", "mine").err


TINY = (
    "seeds=2", "crossplay.games=8", "execution.rows=2", "execution.evaluations=0", "execution.progress=false",
    "execution.figures=false", "learner.num_games=8", "budget.steps=16", "policy=tabular",
    "learner=reinforce.Reinforce",
)  # fmt: skip


@pytest.mark.slow
def test_a_saved_run_says_what_it_lacks(tacit, own, folder, monkeypatch):
    own("own_g")
    said = tacit("train", "game=own_g.make", "size=2", *TINY)
    assert said.status == 0, said.err
    (run,) = (path.parent for path in folder.glob("runs/*/policies.safetensors"))
    assert tacit("compare", "runs").status == 0
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one != str(folder)])
    del sys.modules["own_g"]
    for command in (["crossplay", run], ["compare", run]):
        said = tacit(*command)
        assert said.status == 2
        assert f"game 'own_g.make' cannot be imported: there is no module 'own_g' in {folder}" in said.err
        assert "run the command in the folder that holds it, or put that folder on PYTHONPATH" in said.err
        assert said.err.count("\n") == 1
    monkeypatch.syspath_prepend(folder)
    said = tacit("crossplay", run, "--games", "8")
    assert said.status == 0, said.err


@pytest.mark.proof
@pytest.mark.timeout(300)
def test_processes_elsewhere_find_it_too(own, folder):
    """In a new interpreter, and in those of hydra's local launcher, without the current directory on their paths."""
    own("own_h")
    command = [sys.executable, "-P", "-c", "from experiments import cli; cli.main()", "train", "-m", "game=own_h.make"]
    said = subprocess.run(
        [*command, "size=2,3", "hydra/launcher=local", *TINY],
        cwd=folder, capture_output=True, text=True, timeout=280, env=os.environ | {"PYTHONSAFEPATH": "1"},
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    made = [json.loads(file.read_text())["science"]["game"]["size"] for file in folder.glob("runs/*/run.json")]
    assert sorted(made) == [2, 3]


def test_a_default_that_is_no_plain_data(own):
    own("own_i")
    with pytest.raises(TacitError, match=r"^game 'own_i.odd': table must have a default"):
        default_group("game", "own_i.odd")
