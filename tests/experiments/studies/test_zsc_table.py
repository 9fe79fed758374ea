"""`tacit zsc-table`: the printed table, run directories, figures, going on, and refusals."""

import csv
import json
import re

import numpy as np
import pytest

from experiments.studies import exact_figures, exact_tables, phase, study, zsc_table
from games.errors import TacitError
from marl.exact.methods import METHODS
from tests.command_line import printed_rows

METHOD = "method=[self-play,other-play,other-play-tie-breaking,obl-level-0]"
SMALL = ("-m", "game=lever,two_stage_lever,tiny_hanabi", METHOD, "starts=8", "execution.progress=false")
REFUSED = "the group is trivial: Other-Play is self-play here"


@pytest.fixture(scope="module")
def made(tacit, tmp_path_factory):
    """(folder of runs, Said). Tests only read it."""
    folder = tmp_path_factory.mktemp("zsc") / "runs"
    said = tacit("zsc-table", *SMALL, f"execution.output={folder}")
    assert (said.status, said.err.splitlines()[0]) == (0, "sweep of 3 jobs; 3 runs to make")
    return folder, said


def printed(said):
    return [path for line in said.out.splitlines() for path in re.findall(r"^run (.*)", line)]


def contents(folder, game):
    (found,) = [
        one for one in map(json.loads, (p.read_text() for p in folder.glob("*/zsc.json"))) if one["game"] == game
    ]
    return found


@pytest.mark.slow
def test_the_table(made):
    _, said = made
    rows = printed_rows(said.out)
    assert rows == [
        ["method", "lever", "two_stage_lever h2", "tiny_hanabi A h2"],
        ["self-play", "0.1111 (1.0000)", rows[1][2], rows[1][3]],
        ["Other-Play", "0.9000", "0.0000 (0.5000)", "n/a"],
        ["Other-Play, tie-breaking", "0.9000", "0.5000", "n/a"],
        ["OBL level 0", "0.0990", "0.0000", rows[4][3]],
        ["best equivariant", "0.9000", "0.5000", "2.2500"],
        ["best self-play", "1.0000", "2.0000", "2.2500"],
    ]
    assert rows[1][2].endswith("(2.0000)")
    payoffs = np.array([[[[0, 1], [0, 0]], [[0, 1], [3, 2]]], [[[3, 3], [3, 2]], [[2, 0], [3, 3]]]])
    assert rows[4][3] == f"{payoffs.mean():.4f}"
    sentence = "symmetries with agent swaps: lever 725,760, two_stage_lever h2 4, tiny_hanabi A h2 1."
    assert f"Labels drawn independently, {sentence}" in said.out


@pytest.mark.slow
def test_what_a_run_holds(made):
    folder, said = made
    assert len(printed(said)) == 3
    for path in map(folder.__class__, printed(said)):
        names = {file.name for file in path.iterdir()}
        assert names == {
            "run.json", "status.json", "checksums.json", "zsc.json", "policies.npz", "crossplay.png", "crossplay.svg"
        }  # fmt: skip
        assert json.loads((path / "run.json").read_text())["science"]["command"] == "zsc-table"
    two_stage = contents(folder, "two_stage_lever")
    by_name = {method["name"]: method for method in two_stage["methods"]}
    assert by_name["Other-Play"]["outcomes"] == 2
    assert by_name["Other-Play"]["gap"] == pytest.approx(0.5, abs=1e-6)
    assert "2 optima, equally likely" in by_name["Other-Play"]["note"]
    assert two_stage["equivariant"]["exact"] and two_stage["random"] == pytest.approx(0)
    # In the order of the table: Other-Play, whatever it is, earns nothing with the one that breaks ties.
    assert two_stage["matrix"][1][2] == pytest.approx(0, abs=1e-6)
    assert two_stage["matrix"][2][2] == pytest.approx(0.5, abs=1e-6)
    refused = [method["refused"] for method in contents(folder, "tiny_hanabi")["methods"]]
    assert refused == [None, REFUSED, REFUSED, None]
    assert np.array(contents(folder, "tiny_hanabi")["matrix"]).shape == (2, 2)


def test_the_folder_of_the_table(made):
    folder, said = made
    (table,) = (folder / "compare").iterdir()
    assert f"table and figure in {table}" in said.out
    assert {file.name for file in table.iterdir()} == {"table.md", "table.json", "table.png", "table.svg"}
    lines = (table / "table.md").read_text().splitlines()
    assert lines[0] == "| method | lever | two_stage_lever h2 | tiny_hanabi A h2 |"
    assert "| Other-Play | 0.9000 | 0.0000 (0.5000) | n/a |" in lines
    assert f"n/a (tiny_hanabi A h2): {REFUSED}." in lines


@pytest.mark.slow
def test_finished_games_are_not_made_again(made, tacit, monkeypatch):
    folder, said = made
    made_of = []
    compute = zsc_table._compute
    monkeypatch.setattr(zsc_table, "_compute", lambda config, *rest: made_of.append(config) or compute(config, *rest))
    again = tacit("zsc-table", *SMALL, f"execution.output={folder}")
    assert (again.status, again.out, made_of) == (0, said.out, [])


@pytest.mark.slow
def test_an_interrupted_game_is_made_again_and_the_others_stay(tacit, tmp_path, monkeypatch):
    arguments = ("zsc-table", "-m", "game=lever,two_stage_lever", "method=obl-level-0", "execution.figures=false",
                 "execution.progress=false", f"execution.output={tmp_path}")  # fmt: skip
    compute = zsc_table._compute

    def stop(config, *rest):
        if config.label() == "two_stage_lever":
            raise KeyboardInterrupt
        return compute(config, *rest)

    monkeypatch.setattr(zsc_table, "_compute", stop)
    assert tacit(*arguments).status == 130
    states = [json.loads(file.read_text())["state"] for file in tmp_path.glob("*/status.json")]
    assert sorted(states) == ["finished", "interrupted"]
    redone = []
    monkeypatch.setattr(zsc_table, "_compute", lambda *all: redone.append(all[0].label()) or compute(*all))
    assert tacit(*arguments).status == 0
    assert redone == ["two_stage_lever"]


@pytest.mark.slow
def test_without_agent_swaps(tacit, tmp_path):
    said = tacit("zsc-table", "game=two_stage_lever", "method=other-play", "agent_swaps=false", "starts=64",
                 "execution.figures=false", "execution.progress=false", f"execution.output={tmp_path}")  # fmt: skip
    assert said.status == 0
    (one,) = (json.loads(file.read_text()) for file in tmp_path.glob("*/zsc.json"))
    assert (one["symmetries"], one["equivariant"]["value"]) == ("2", pytest.approx(1, abs=1e-6))
    assert one["methods"][0]["cross_play"] == pytest.approx(0, abs=1e-6)
    assert "symmetries without agent swaps: two_stage_lever h2 2." in said.out


@pytest.mark.slow
def test_which_games():
    default = [
        (config.game["_target_"].split(".")[-2], config.game.get("variant"))
        for config in study.configs(zsc_table.STUDY, [])
    ]
    assert len(default) == len(set(default)) == 18
    assert {name for name, _ in default} == {
        "lever", "equal_levers", "two_stage_lever", "asymmetric_lever", "tiny_hanabi", "hint", "dectiger",
        "skewed_dectiger", "recycling", "broadcast_channel", "grid_small", "cat_and_dog", "noisy_lever",
    }  # fmt: skip
    several = study.configs(zsc_table.STUDY, ["game=tiny_hanabi", "variant=C,E", "method=[self-play,high-entropy]"])
    assert [config.game["variant"] for config in several] == ["C", "E"]
    assert several[0].method == ("self-play", "high-entropy")
    assert several[0].name() != several[1].name()
    listed = study.configs(zsc_table.STUDY, ["game=lever", "payoffs=[1,1,0.5]"])
    assert [config.game["payoffs"] for config in listed] == [[1, 1, 0.5]]
    assert listed[0].method == tuple(method.key for method in METHODS)


def test_the_listed_games(tacit, tmp_path):
    said = tacit("zsc-table", "games=[lever,'equal_levers n=3']", "method=[obl-level-0]", "execution.figures=false",
                 "execution.progress=false", f"execution.output={tmp_path}", "--format", "csv")  # fmt: skip
    assert (said.status, said.err) == (0, "")
    scores = {line["method"]: line for line in csv.DictReader(said.out.splitlines())}["OBL level 0"]
    # Uniform play: of ten levers nine pay 1 and one 0.9, of three equal ones each pays 1.
    assert float(scores["lever_cross_play"]) == pytest.approx((9 + 0.9) / 100)
    assert float(scores["equal_levers 3_cross_play"]) == pytest.approx(1 / 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["game=lever", "method=sad"], "method must be one of self-play, high-entropy"),
        (["game=lever", "method=[]"], "method must be one or several of self-play, high-entropy"),
        (["game=lever", "players=3"], "zsc-table needs a game of 2 players, and lever has 3"),
        (["game=hanabi_2x3"], "exact commands need a tabular game"),
        (["game=lever", "starts=1"], "starts"),
        (["game=lever", "agent_swaps=2"], "agent_swaps must be one of True, False"),
        (["game=levers"], "there is no game 'levers'"),
        (["game=lever", "method=self-play", "colour=1"], "the configuration has no key 'colour'"),
        (["game=dectiger", "horizon=9"], "take a smaller horizon"),
        (["experiment=demo"], "the configuration has no key 'experiment'"),
        (["learner=ippo"], "the configuration has no key 'learner'"),
        (["games=[]"], "games must be a list of games, such as [lever,dectiger], not []"),
        (["games=null"], "games must be a list of games, such as [lever,dectiger], not None"),
    ],
)
def test_refusals(arguments, sentence, tacit, tmp_path):
    said = tacit("zsc-table", *arguments, f"execution.output={tmp_path / 'runs'}")
    assert said.status == 2 and said.err.startswith("tacit: ") and said.err.count("\n") == 1
    assert sentence in said.err
    assert not (tmp_path / "runs").exists()


def test_without_igraph(tacit, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "igraph", None)
    said = tacit("zsc-table", "game=lever", f"execution.output={tmp_path / 'runs'}")
    assert (said.status, said.out) == (2, "")
    assert said.err == "tacit: symmetry groups need igraph, which is not here: pip install 'tacit[symmetry]'\n"
    assert not (tmp_path / "runs").exists()


def test_help_names_every_method(tacit):
    said = tacit("zsc-table", "--help")
    assert said.status == 0
    for method in METHODS:
        assert re.search(rf"^  {method.key} +\S.*; uses {method.uses}$", said.out, re.M)
    assert "zsc-table" in tacit("--help").out


def test_games_that_differ_in_parameters_have_names_that_differ():
    def game(name, horizon=2, **parameters):
        return {"game": name, "horizon": horizon, "parameters": parameters}

    assert exact_tables.games([game("dinner", bland=0.1, bonus=2), game("dinner", bland=0.8, bonus=2)]) == [
        "dinner h2 bland=0.1",
        "dinner h2 bland=0.8",
    ]
    apart = [game("tiny_hanabi", variant="A"), game("tiny_hanabi", variant="B"), game("lever", 1, levers=3)]
    assert exact_tables.games(apart) == ["tiny_hanabi A h2", "tiny_hanabi B h2", "lever"]
    remembered = [game("dectiger") | {"memory": memory} for memory in (None, 0, 2)]
    assert exact_tables.games(remembered) == ["dectiger h2", "dectiger h2 memory 0", "dectiger h2 memory 2"]


def test_the_figure_says_where_a_method_does_not_apply(made):
    folder, _ = made
    games = [contents(folder, name) for name in ("lever", "tiny_hanabi")]
    axis = exact_figures.zsc_table(games).axes[0]
    texts = {(round(t.get_position()[0]), round(t.get_position()[1])): t.get_text() for t in axis.texts}
    assert texts[0, 0] == "0.111" and texts[0, 1] == "0.9" and texts[1, 1] == "–"
    shares = np.ma.filled(axis.images[0].get_array(), np.nan)
    assert shares[1, 0] == pytest.approx(1) and shares[3].tolist() == pytest.approx([0, 0])
    assert np.isnan(shares[1, 1])
    assert shares[0, 0] == pytest.approx((1 / 9 - 0.099) / (0.9 - 0.099))


def test_a_damaged_or_other_run_is_refused(made, tmp_path):
    folder, _ = made
    with pytest.raises(TacitError, match="there is no run directory"):
        study.read(zsc_table.STUDY, tmp_path / "none")
    with pytest.raises(TacitError, match="was made by tacit zsc-table, and a run of tacit phase is needed"):
        study.read(phase.STUDY, next(folder.glob("*/zsc.json")).parent)
