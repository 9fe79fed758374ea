"""`tacit symmetries`: orders and generators in words, of library games and of a user's file."""

import math
import re
import sys

import pytest

from games.tabular import dpomdp_file
from games.tabular.library import dectiger, lever


def orders(said):
    """[symmetries of policies with swaps, without; automorphisms with swaps, without], as printed."""
    assert (said.status, said.err) == (0, "")
    lines = [line for line in said.out.splitlines() if line.startswith(("symmetries of policies", "automorphisms"))]
    return [text for line in lines for text in re.findall(r"\d[\d,.e+]*$|\d[\d,.e+]*(?= )", line)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["lever"], ["725,760", "362,880"]),  # 9! · 2: the tenth lever pays less
        (["lever", "payoffs=[1,2,3]"], ["2", "1"]),
        (["equal_levers", "n=4"], ["48", "24"]),  # 4! · 2
        (["equal_levers", "n=2", "players=3"], ["12", "2"]),  # 2 · 3!
        (["dectiger"], ["4", "2"]),
        (["skewed_dectiger"], ["2", "1"]),
        (["recycling"], ["2", "1"]),
        (["broadcast_channel"], ["1", "1"]),
        (["hint"], ["28,800", "28,800"]),  # (5!)² · 2
        (["hint", "size=3"], ["72", "72"]),
        (["tiny_hanabi"], ["1", "1"]),
        (["tiny_hanabi", "variant=E"], ["1", "1"]),
        (["two_stage_lever"], ["4", "2"]),
        (["asymmetric_lever"], ["2", "2"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_orders(tacit, arguments, expected):
    assert orders(tacit("symmetries", *arguments)) == expected * 2  # no two states of these are alike


def test_the_horizon_changes_nothing(tacit):
    assert tacit("symmetries", "dectiger", "horizon=9").out == tacit("symmetries", "dectiger").out


def test_a_hundred_levers(tacit):
    said = tacit("symmetries", "equal_levers", "n=100", "--generators", "1")
    assert f"{math.factorial(100)}".startswith("93326215443")  # of 158 digits
    assert orders(said) == ["1.866524e+158", "9.332622e+157"] * 2
    assert "generators (1 of 100; " in said.out
    assert len(said.out.partition("generators")[2].splitlines()) == 2


def test_generators_in_words(tacit):
    said = tacit("symmetries", "dectiger")
    assert said.out.splitlines()[0] == "dectiger: 2 agents, 2 states, 3 x 3 actions, 2 x 2 observations, discount 1"
    assert "generators (2 of 2; what is not named stays)" in said.out
    shown = {line.strip() for line in said.out.splitlines() if line.startswith("  ")}
    mirror = "; ".join(
        [f"actions of agent{agent}: (open-left open-right)" for agent in (0, 1)]
        + [f"observations of agent{agent}: (hear-left hear-right)" for agent in (0, 1)]
    )
    assert {mirror, "agents: (agent0 agent1)"} <= shown
    assert "generators" not in tacit("symmetries", "dectiger", "--generators", "0").out
    assert "generators" not in tacit("symmetries", "broadcast_channel").out
    skewed = tacit("symmetries", "skewed_dectiger").out
    assert skewed.splitlines()[-1] == "  agents: (agent0 agent1)"


def test_a_users_file(tacit, tmp_path):
    """The same game with other names, and with a prize that tells the doors apart."""
    text = dpomdp_file.write(dectiger.problem())
    (tmp_path / "mine.dpomdp").write_text(text)
    said = tacit("symmetries", f"game.file={tmp_path}/mine.dpomdp")
    assert orders(said) == ["4", "2", "4", "2"]
    assert said.out.startswith("mine: 2 agents, ")
    assert said.out.partition("\n")[2] == tacit("symmetries", "dectiger").out.partition("\n")[2]
    (tmp_path / "theirs.dpomdp").write_text(
        f"{text}\nR: open-left open-left : tiger-right : * : * : 20.001\n"  # 20 at the other door
    )
    assert orders(tacit("symmetries", f"game.file={tmp_path}/theirs.dpomdp")) == ["2", "1", "2", "1"]


def test_equal_states_count_only_among_the_automorphisms(tacit, tmp_path):
    """The one state of a lever game, split into two alike."""
    game = lever.problem((1.0, 1.0))
    half = game.replace(
        states=("one", "other"),
        start=[0.5, 0.5],
        transition=[[[0.5, 0.5]] * 2] * 4,
        observation=[[[1.0]] * 2] * 4,
        reward=game.reward.repeat(2, axis=1),
    )
    (tmp_path / "half.dpomdp").write_text(dpomdp_file.write(half))
    assert orders(tacit("symmetries", f"game.file={tmp_path}/half.dpomdp")) == ["4", "2", "8", "4"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "the following arguments are required: GAME"),
        (["levr"], "there is no game 'levr'; did you mean 'lever'?"),
        (["hanabi"], "exact commands need a tabular game, such as game=dectiger or game.file=PATH, and hanabi is none"),
        (["lever", "dectiger"], "symmetries needs one game, such as dectiger or game.file=PATH, not 2"),
        (["horizon=3"], "symmetries needs one game, such as dectiger or game.file=PATH, not 0"),
        (["lever", "colours=2"], "the configuration has no key 'game.colours'"),
        (["lever", "payofs=[1]"], "the configuration has no key 'game.payofs'; did you mean 'game.payoffs'?"),
        (["dectiger", "--generators", "-1"], "--generators must be a whole number of at least 0, not -1"),
        (["dectiger", "horizon=["], "'game.horizon=[' cannot be read: "),
        (["file"], "the configuration needs a value for game.file"),
        (["game.file=nowhere.dpomdp"], "nowhere.dpomdp cannot be read: No such file or directory"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_one_sentence(tacit, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    said = tacit("symmetries", *arguments)
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith(f"tacit: {says}")
    assert said.err.count("\n") == 1
    assert "hydra" not in said.err


def test_without_igraph_the_extra_is_named(tacit, monkeypatch):
    monkeypatch.setitem(sys.modules, "igraph", None)
    said = tacit("symmetries", "dectiger")
    assert (said.status, said.out) == (2, "")
    assert said.err == "tacit: symmetry groups need igraph, which is not here: pip install 'tacit[symmetry]'\n"


def test_a_file_is_named_by_its_key(tacit, tmp_path):
    there = tmp_path / "mine.txt"
    there.touch()
    for file in ("mine.dpomdp", there):
        said = tacit("symmetries", file)
        assert said.status == 2
        sentence = f"{file} is no game of the list; a file is named by its key: tacit symmetries game.file={file}"
        assert said.err.splitlines() == [f"tacit: {sentence}"]
