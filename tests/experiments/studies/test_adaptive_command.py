"""`tacit adaptive`: the printed table, the run directory, the figure, and refusals."""

import dataclasses
import json

import numpy as np
import pytest

from experiments.studies import adaptive, exact_figures, exact_tables, study
from games.errors import TacitError
from games.tabular import dpomdp_file
from games.tabular.library import lever, tiny_hanabi
from tests.command_line import printed_rows

BY_HAND = "payoffs=[[1,0],[0.8,0.9]]"
"""Two rounds against levels 0 and 1 are worked out in tests/marl/exact/test_adaptive.py."""


@pytest.fixture(scope="module")
def made(tacit, tmp_path_factory):
    """(folder of runs, Said). Tests only read it."""
    folder = tmp_path_factory.mktemp("adaptive") / "runs"
    said = tacit("adaptive", BY_HAND, "rounds=2", "levels=1", f"execution.output={folder}")
    assert (said.status, said.err) == (0, "")
    return folder, said


def read(folder):
    (file,) = folder.glob("*/adaptive.json")
    return json.loads(file.read_text())


@pytest.mark.slow
def test_the_table(made):
    folder, said = made
    assert printed_rows(said.out) == [
        ["agent", "level 0", "level 1", "mean"],
        ["level 0", "1.3500 (0.3500)", "1.8000 (0.2000)", "1.5750 (0.2750)"],
        ["level 1", "1.7000 (0.0000)", "1.6000 (0.4000)", "1.6500 (0.2000)"],
        ["level 2", "1.0000 (0.7000)", "2.0000 (0.0000)", "1.5000 (0.3500)"],
        ["adaptive", "1.5250 (0.1750)", "1.8000 (0.2000)", "1.6625 (0.1875)"],
        ["knows the level", "1.7000", "2.0000", "1.8500"],
    ]
    assert f"matrix {BY_HAND}, 2 rounds: expected return (regret)" in " ".join(said.out.split())
    assert "told apart" not in said.out
    (path,) = folder.iterdir()
    assert said.out.splitlines()[-1] == f"run {path}"


@pytest.mark.slow
def test_what_a_run_holds(made):
    folder, _ = made
    (path,) = folder.iterdir()
    assert {file.name for file in path.iterdir()} == {
        "run.json", "status.json", "checksums.json", "adaptive.json", "adaptive.png", "adaptive.svg"
    }  # fmt: skip
    science = json.loads((path / "run.json").read_text())["science"]
    assert (science["command"], science["payoffs"], science["game"]) == ("adaptive", [[1, 0], [0.8, 0.9]], None)
    contents = read(folder)
    assert contents["row_player"] == [[0.5, 0.5], [0, 1]]
    assert contents["column_player"] == [[0.5, 0.5], [1, 0]]
    np.testing.assert_allclose(contents["beliefs"][1], [[2 / 3, 1 / 3], [1 / 3, 2 / 3]])
    assert contents["alike"] == [[0], [1]]


def test_a_finished_run_is_found(made, tacit, monkeypatch):
    folder, said = made
    monkeypatch.setattr(adaptive, "_contents", None)
    again = tacit("adaptive", "levels=1", "rounds=2.0", BY_HAND, f"execution.output={folder}")
    assert (again.status, again.out) == (0, said.out)


def test_a_run_that_failed_says_so(tacit, tmp_path, monkeypatch):
    monkeypatch.setattr(adaptive, "_contents", lambda config: {"no JSON": object()})
    with pytest.raises(TypeError):
        study.main(adaptive.STUDY, ["game=lever", f"execution.output={tmp_path}"])
    (status,) = tmp_path.glob("*/status.json")
    assert json.loads(status.read_text())["state"] == "failed"


@pytest.mark.parametrize(
    ("arguments", "said_of_it"),
    [
        (
            ["game=equal_levers", "n=3"],
            ["The partner's levels cannot be told apart: all of them play alike in this game."],
        ),
        (["game=lever"], ["Levels 1, 2 and 3 of the partner cannot be told apart: they play alike."]),
        # Whom labels do not tell apart, a level 0 with a favourite does.
        (["game=equal_levers", "levels=1", "level_zero=[[0.5,0.5],[0.9,0.1]]"], []),
    ],
)
def test_levels_that_play_alike(arguments, said_of_it, tacit, tmp_path):
    said = tacit("adaptive", *arguments, "execution.figures=false", f"execution.output={tmp_path}")
    assert said.status == 0
    assert [line for line in said.out.splitlines() if "told apart" in line] == said_of_it
    if "n=3" in arguments:
        np.testing.assert_allclose(read(tmp_path)["returns"], 10 / 3)
        np.testing.assert_allclose(read(tmp_path)["beliefs"], 1 / 4)


def test_a_game_is_its_matrix(tmp_path):
    (tmp_path / "mine.dpomdp").write_text(dpomdp_file.write(lever.problem([3, 1], mismatch=-2)))
    for arguments in (
        ["game=lever", "game.payoffs=[3,1]", "mismatch=-2"],
        [f"game.file={tmp_path / 'mine.dpomdp'}", "horizon=1"],
        ["payoffs=[[3,-2],[-2,1]]"],
    ):
        (config,) = study.configs(adaptive.STUDY, arguments)
        np.testing.assert_array_equal(config.matrix(), [[3, -2], [-2, 1]])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "adaptive needs either game=NAME, such as lever, or a matrix, such as payoffs=[[1,0],[0,1]]"),
        (["game=lever", "payoffs=[1,2]"], "adaptive needs either game=NAME"),
        (["game=tiny_hanabi"], "adaptive repeats a matrix game, and tiny_hanabi is none: it has horizon 2"),
        (["game=lever", "players=3"], "adaptive needs a game of 2 players, and lever has 3"),
        (["game=hanabi_2x3"], "exact commands need a tabular game"),
        (["game=levers"], "there is no game 'levers'"),
        (["payoffs=[1,0]"], "payoffs must be a list of lists of numbers, such as [[1,0],[0,1]], not [1, 0]"),
        (["payoffs=[[1,0],[]]"], "payoffs must be a list of lists of numbers"),
        (["payoffs=[[1,0],[1]]"], "payoffs must be rows of one length, not of 1 and 2"),
        (["payoffs=[[1,x]]"], "payoffs must be a number, not 'x'"),
        ([BY_HAND, "rounds=0"], "rounds must be a whole number from 1 to 1000, not 0"),
        ([BY_HAND, "levels=21"], "levels must be a whole number from 0 to 20, not 21"),
        ([BY_HAND, "level_zero=[[1,0]]"], "level_zero must be 2 distributions, of the row and of the column player"),
        ([BY_HAND, "level_zero=[[1,0],[1,1]]"], "level_zero must be 2 probabilities that sum to 1"),
        ([BY_HAND, "colour=1"], "the configuration has no key 'colour'"),
        (["payoffs=[[11,-30,0],[-30,7,6],[0,0,5]]", "rounds=1000"], "different counts, more than 20,000"),
    ],
)
def test_refusals(arguments, sentence, tacit, tmp_path):
    said = tacit("adaptive", *arguments, f"execution.output={tmp_path / 'runs'}")
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith("tacit: ") and said.err.count("\n") == 1
    assert sentence in said.err
    assert not (tmp_path / "runs").exists()


def test_private_observations_are_refused():
    """No game of the library has one step and private types: the first stage of tiny Hanabi has."""
    with pytest.raises(TacitError, match="tiny_hanabi is none: it has observations before the first action"):
        adaptive.matrix_of(dataclasses.replace(tiny_hanabi.make(), horizon=1))


def test_the_figure(made):
    folder, _ = made
    contents = read(folder)
    axes = exact_figures.adaptive(contents, exact_tables.adaptive_title(contents)).axes
    texts = [text.get_text() for text in axes[0].texts]
    assert texts == ["0.35", "0.2", "0", "0.4", "0.7", "0", "0.175", "0.2"]
    # In the second round, with a partner of level 1: level 0 up to 1/3, level 1 above it.
    panel = next(axis for axis in axes if axis.get_title() == "partner of level 1")
    lower, upper = (area.get_paths()[0].vertices for area in panel.collections)
    assert lower[lower[:, 0] == 2.5, 1].max() == pytest.approx(1 / 3)
    assert upper[:, 1].max() == pytest.approx(1)


def test_help(tacit):
    said = tacit("adaptive", "--help")
    assert said.status == 0
    assert "levels: 3 " in said.out and "adaptive" in tacit("--help").out
