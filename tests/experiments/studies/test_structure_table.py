"""`tacit structure-table`: values, run directories, going on, refusals, the split of gaps, and figures."""

import json

import pytest

from experiments.studies import structure_figures, structure_table, study
from experiments.studies.structure_table import STUDY, with_splits
from games.errors import TacitError

SMALL = ("game=task_claiming", "structure=[none,isolation,claims,shared_history]", "method=[self-play,other-play]",
         "starts=4", "execution.progress=false")  # fmt: skip
ONE_STEP = "the game has one step, and nothing is done after it"


@pytest.fixture(scope="module")
def made(tacit, tmp_path_factory):
    """(folder of runs, Said). Tests only read it."""
    folder = tmp_path_factory.mktemp("structures") / "runs"
    said = tacit("structure-table", *SMALL, f"execution.output={folder}")
    assert (said.status, said.err) == (0, "")
    return folder, said


@pytest.fixture(scope="module")
def contents(made):
    return [study.read(STUDY, made[0] / config.name()) for config in study.configs(STUDY, SMALL)]


def cell(contents, structure, method, key):
    (one,) = (one for one in contents if one["structure"] == structure)
    (found,) = (found for found in one["methods"] if found["key"] == method)
    return found[key]


@pytest.mark.slow
def test_the_values_of_task_claiming(contents):
    assert [one["structure"] for one in contents] == ["none", "claims", "isolation", "shared_history"]
    assert [one["solo"] for one in contents] == pytest.approx([2.0] * 4)
    assert [one["floor"]["value"] for one in contents] == [0.0] * 4
    for method in ("self-play", "other-play"):  # 3 (1 - (2/3)^2) different tasks if nobody knows who takes which
        assert cell(contents, "none", method, "cross_play") == pytest.approx(5 / 3)
        assert cell(contents, "none", method, "retention") == pytest.approx(5 / 6)
        assert cell(contents, "isolation", method, "cross_play") == pytest.approx(2)
        assert cell(contents, "isolation", method, "retention") == pytest.approx(1)
    assert cell(contents, "none", "self-play", "self_play") == pytest.approx(2)
    assert cell(contents, "none", "other-play", "self_play") == pytest.approx(5 / 3)
    assert [one.get("symmetries") for one in contents[:1]] == ["12"]


@pytest.mark.slow
def test_search_and_predictions_of_task_claiming(contents):
    # Each picks one of the two tasks that its partner leaves, both at once: the same one in a quarter of the games.
    assert cell(contents, "none", "self-play", "searched_self_play") == pytest.approx(1.75)
    assert cell(contents, "none", "self-play", "searched_cross_play") == pytest.approx(5 / 3)
    itself, stranger = (cell(contents, "none", "self-play", f"predicts_{whom}") for whom in ("itself", "strangers"))
    assert (itself["brier"], itself["reliability"]) == pytest.approx((0, 0))
    # Certain of one task of three, and wrong in two thirds of the games.
    parts = [stranger[key] for key in ("brier", "reliability", "resolution", "uncertainty")]
    assert parts == pytest.approx([4 / 3, 2 / 3, 0, 2 / 3])


def test_what_has_no_meaning_says_why(made, contents):
    assert contents[3]["refused"] == ONE_STEP
    assert [method["refused"] for method in contents[3]["methods"]] == [ONE_STEP] * 2
    assert [method["cross_play"] for method in contents[3]["methods"]] == [None] * 2
    assert made[1].out.count(f"n/a (task_claiming shared_history): {ONE_STEP}.") == 1


@pytest.mark.slow
def test_run_directories_are_found_again(made, tacit, monkeypatch):
    folder, first = made
    names = sorted(config.name() for config in study.configs(STUDY, SMALL))
    assert sorted(path.name for path in folder.iterdir() if path.name != "compare") == names
    for name in names:
        assert {"run.json", "status.json", "structure.json"} <= {file.name for file in (folder / name).iterdir()}
        science = json.loads((folder / name / "run.json").read_text())["science"]
        assert (science["command"], science["starts"]) == ("structure-table", 4)
        assert "penalty" not in science  # there is none

    def nothing(*_):
        raise AssertionError("computed again")

    monkeypatch.setattr(structure_table, "_contents", nothing)
    again = tacit("structure-table", *SMALL, f"execution.output={folder}")
    assert (again.status, again.err, again.out) == (0, "", first.out)


def test_the_folder_of_the_table(made):
    (table,) = (made[0] / "compare").iterdir()
    lines = (table / "table.md").read_text().splitlines()
    assert lines[0] == "| game | structure | solo | team | equivariant | self-play | Other-Play |"
    assert lines[2] == (
        "| task_claiming tasks=3 agents=2 | none | 2 | 2.0000 | 1.6667 | 1.667 / 2.000 (83%) | 1.667 (83%) |"
    )
    assert lines[5] == "|  | shared_history | 2 | – | – | n/a | n/a |"
    written = json.loads((table / "table.json").read_text())
    assert written[0]["methods"][0]["split"] == pytest.approx({"gap": 1 / 3, "spatial": 1 / 3, "semantic": 0})
    for name, start in (("table.png", b"\x89PNG\r\n\x1a\n"), ("table.svg", b"<?xml")):
        drawn = (table / name).read_bytes()
        assert drawn.startswith(start) and len(drawn) > 5000


@pytest.mark.slow
def test_information_and_a_soft_penalty(tmp_path):
    def method(*arguments):
        (config,) = study.configs(STUDY, [*arguments, "method=self-play", "starts=4", f"execution.output={tmp_path}"])
        return study.read(STUDY, study.make(STUDY, config))["methods"][0]

    # Everybody says its number and uses what it hears; a stranger's words are read right by chance alone.
    silos = method("game=silos", "structure=none")
    assert silos["information"] == pytest.approx({"sent": 1, "used": 1})
    assert (silos["self_play"], silos["cross_play"]) == pytest.approx((1, 1 / 4))
    soft = method("game=task_claiming", "structure=isolation", "penalty=0.5")
    assert "information" not in soft
    assert (soft["self_play"], soft["cross_play"]) == pytest.approx((2, 2))
    # With two tasks and two agents nobody has a choice left.
    bound = method("game=task_claiming", "game.tasks=2", "structure=isolation")
    assert bound["cross_play"] == pytest.approx(2)
    assert (bound["predicts_itself"], bound["predicts_strangers"]) == (None, None)
    assert bound["no_predictions"] == "nobody ever has a choice: there is nothing to predict"


def test_the_penalty_is_part_of_the_name_of_isolation_alone():
    def names(*more):
        return [
            config.name()
            for config in study.configs(STUDY, ["game=task_claiming", "structure=[none,claims,isolation]", *more])
        ]

    hard, soft, softer = names(), names("penalty=0.5"), names("penalty=0.25")
    assert hard[:2] == soft[:2] == softer[:2]
    assert len({hard[2], soft[2], softer[2]}) == 3
    assert [config.structure for config in study.configs(STUDY, ["game=silos"])] == list(structure_table.NAMES)


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("structure=walls", ("structure", "walls", "isolation")),
        ("method=luck", ("method", "luck", "self-play")),
        ("structure=[]", ("structure must be one or several of none, cheap_talk", "not an empty list")),
        ("method=[]", ("method must be one or several of self-play", "not an empty list")),
        ("penalty=-1", ("penalty", "-1")),
        ("starts=1", ("starts", "1")),
    ],
)
def test_refusals(tacit, argument, words):
    said = tacit("structure-table", "game=task_claiming", argument)
    assert said.status != 0 and said.out == ""
    assert all(word in said.err for word in words), said.err
    assert len(said.err.strip().splitlines()) == 1


def test_an_unfinished_run_is_not_read(tmp_path):
    with pytest.raises(TacitError):
        study.read(STUDY, tmp_path)


def by_hand(structure, *cross_plays, penalty=None):
    methods = [
        {
            "name": f"method {k}",
            "key": f"method-{k}",
            "cross_play": value,
            "refused": None if value is not None else "it does not apply",
        }
        for k, value in enumerate(cross_plays)
    ]
    return {"title": "a game", "solo": 2.0, "structure": structure, "penalty": penalty, "methods": methods}


def test_splits_by_hand():
    given = [
        by_hand("none", 1.0, 2.0, None, 1.5),
        by_hand("claims", 1.6, 2.0, None, 1.25),
        by_hand("isolation", 1.25, 2.0, None, 1.0),
        by_hand("isolation", 2.0, 2.0, 2.0, 2.0, penalty=0.5),  # soft: does not count
        {**by_hand("none", 1.0), "title": "another game"},
    ]
    found = with_splits(given)
    first, second, third, fourth = found[0]["methods"]
    assert first["split"] == pytest.approx({"gap": 1.0, "spatial": 0.6, "semantic": 0.4})
    assert (second["split"], second["no_split"][:15]) == (None, "there is no gap")
    assert (third["split"], third["no_split"]) == (None, "it does not apply")
    assert fourth["split"] == {"gap": 0.5, "spatial": 0.0, "semantic": 0.5}
    (other,) = found[4]["methods"]
    assert (other["split"], other["no_split"][:18]) == (None, "neither claims nor")
    assert "split" not in given[0]["methods"][0] and "split" not in found[1]["methods"][0]


def test_splits_are_of_runs_with_the_same_settings():
    def pair(none, isolation, **settings):
        return [{**by_hand("none", none), **settings}, {**by_hand("isolation", isolation), **settings}]

    settings = {"starts": 4, "agent_swaps": True, "restarts": 8, "seed": 0}
    given = pair(1.0, 1.5, **settings)
    for key, other in [("starts", 16), ("agent_swaps", False), ("restarts", 9), ("seed", 1)]:
        given += pair(1.0, 2.0, **{**settings, key: other})
    parts = [one["methods"][0]["split"]["spatial"] for one in with_splits(given)[::2]]
    assert parts == [0.5, 1.0, 1.0, 1.0, 1.0]


def test_splits_are_of_the_same_method_wherever_it_stands():
    both, later = [by_hand("none", 1.0, 1.5), by_hand("isolation", 1.5, 2.0)], by_hand("isolation", 2.0)
    later["methods"][0]["key"] = "method-9"
    both[1]["methods"].reverse()
    found = with_splits([both[0], later, both[1]])
    assert [method["split"]["spatial"] for method in found[0]["methods"]] == [0.5, 0.5]


def test_a_part_of_results_keeps_its_splits_and_a_sum_has_new_ones():
    one, other = (study.Results(STUDY, [by_hand(*what)]) for what in (("none", 1.0), ("isolation", 2.0)))
    assert "no_split" in one[0]["methods"][0]
    whole = one + other
    assert whole[0]["methods"][0]["split"]["spatial"] == 1.0 and "no_split" not in whole[0]["methods"][0]
    assert whole[:1][0] == whole[0] == with_splits([one[0], other[0]])[0]
    assert (whole[:1] + whole[1:])[0] == whole[0]


@pytest.mark.slow
def test_the_figure_of_a_gap_shows_its_parts(contents):
    axis = structure_figures.gap_parts(with_splits(contents)).axes[0]
    spatial, semantic = axis.patches[0], axis.patches[1]
    assert axis.get_title() == "task claiming"
    assert (spatial.get_height(), semantic.get_height()) == pytest.approx((1 / 6, 0))


def test_the_heat_map_shows_cross_play_and_dashes(contents):
    axis = structure_figures.structure_table(contents).axes[0]
    shown = [text.get_text() for text in axis.texts]
    assert [shown[0:2], shown[4:6], shown[6:8]] == [["1.67", "1.67"], ["2", "2"], ["–", "–"]]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["none", "claims", "isolation", "shared history"]


def test_figures_of_search_and_of_predictions(contents):
    search = structure_figures.search_effect(contents).axes[0]
    assert [line.get_xdata()[0] for line in search.lines[:3]] == pytest.approx([2, 2, 1.75])  # the way, and its ends
    predictions = structure_figures.calibration_parts(contents).axes[0]
    brier = [line.get_ydata()[0] for line in predictions.lines if line.get_marker() == "D"]
    assert brier[:2] == pytest.approx([0, 4 / 3])
    bars = [bar.get_height() for bar in predictions.patches[3:6]]  # with a stranger
    assert bars == pytest.approx([2 / 3, 2 / 3, 0])


def test_figures_over_agents_and_penalties():
    def one(structure, cross_play, penalty=None, agents=2):
        methods = [{"name": "self-play", "self_play": 3.0, "cross_play": cross_play, "refused": None}]
        return {"game": "a_game", "title": f"a_game {agents}", "parameters": {"agents": agents, "slots": 4},
                "solo": 3.0, "floor": {"value": -1.0}, "structure": structure, "penalty": penalty,
                "methods": methods}  # fmt: skip

    curve = structure_figures.retention_by_agents([one("none", 2.0), one("none", 0.0, agents=3)])
    own, cross = (axis.lines[0].get_ydata() for axis in curve.axes)
    assert (own.tolist(), cross.tolist()) == ([1, 1], [0.75, 0.25])
    assert curve.get_suptitle() == "a game over the number of agents, 4 slots"
    isolation = [one("none", 2.0), one("isolation", 2.5), one("isolation", 3.0, 1.0), one("isolation", 1.5, 0.5)]
    (axis,) = structure_figures.soft_isolation(isolation).axes
    solo, without, hard, soft, below, not_below = (line.get_xydata().tolist() for line in axis.lines)
    assert [line[0][1] for line in (solo, without, hard)] == [3, 2, 2.5]
    assert (soft, below, not_below) == ([[0.5, 1.5], [1, 3]], [[0.5, 1.5]], [[1, 3]])
