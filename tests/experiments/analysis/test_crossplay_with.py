"""`tacit crossplay RUN --with PARTNERS`: ad-hoc teamplay with partners that nobody trained."""

import json

import numpy as np
import pytest

from experiments import runs
from experiments.analysis import crossplay
from marl.crossplay import CrossPlay
from tests.command_line import printed_rows

GAME = ("game=hanabi", "colors=2", "ranks=2", "hand_size=2")
CHANGES = {
    "game": {
        "_target_": "games.hanabi.make", "preset": "Hanabi-Full", "players": 2, "colors": 2, "ranks": 2, "hand_size": 2,
        "max_information_tokens": 3, "max_life_tokens": None,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def hanabi_run(tmp_path_factory, make_run):
    return make_run(tmp_path_factory.mktemp("hanabi"), CHANGES)


@pytest.mark.slow
@pytest.mark.parametrize("partners", [["uniform"], pytest.param(["iggi", "uniform"], marks=pytest.mark.proof)])
def test_seeds_play_with_partners_from_both_seats(tacit, hanabi_run, tmp_path, partners):
    said = tacit("crossplay", hanabi_run, "--with", ",".join(partners), "--games", "6", "--output", tmp_path)
    assert said.status == 0, said.err
    name = hanabi_run.name
    rows = printed_rows(said.out)
    head = rows.index(["play", "partner", "self-play", "bombed", "games", f"with {name}"])
    assert [row[:2] for row in rows[head + 1 :]] == [[play, who] for play in ("sampled", "greedy") for who in partners]
    results = runs.read_crossplay(tmp_path)
    result = results["sampled"]
    assert list(result.labels[2:]) == partners
    expected = {(0, 0), (0, 1), (1, 0), (1, 1)}
    for partner in range(2, 2 + len(partners)):  # partners do not meet
        expected |= {(0, partner), (1, partner), (partner, 0), (partner, 1), (partner, partner)}
    assert sorted(map(tuple, result.seatings.tolist())) == sorted(expected)
    assert json.loads((tmp_path / "crossplay.json").read_text())["settings"]["with"] == partners
    assert (tmp_path / "crossplay.png").stat().st_size > 0
    assert said.out.count(f"greedy play of all but {', '.join(partners)}, whose draws are their play\n") == 1
    # What is said of the run alone does not depend on who else plays.
    plain = tacit("crossplay", hanabi_run, "--games", "6", "--output", tmp_path / "plain")
    assert len(plain.out.splitlines()) == 7  # title, header and rule, two rows, a blank line, where it is
    assert plain.out.splitlines()[:5] == said.out.splitlines()[:5]


def test_the_error_is_over_seeds_of_the_mean_of_both_seats():
    cells = [(0, 2), (2, 0), (1, 2), (2, 1), (2, 2), (0, 0), (1, 1), (0, 1), (1, 0)]
    result = CrossPlay(
        ("a", "b", "p"), np.array(cells), np.array([1.0, 3.0, 5.0, 7.0, 99, 99, 99, 99, 99]),
        *(np.zeros(9),) * 4,
    )  # fmt: skip
    estimate = crossplay.with_partner(result, range(2), 2)
    assert estimate.mean == 4.0
    assert estimate.se == pytest.approx(2.0)  # the seeds' means are 2 and 6
    three = CrossPlay(
        ("a", "p"), np.array([(0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, 1), (0, 0, 0)]),
        np.array([1.0, 2.0, 6.0, 99, 99]), *(np.zeros(5),) * 4,
    )  # fmt: skip
    assert crossplay.with_partner(three, range(1), 1).mean == 3.0


@pytest.mark.slow
def test_partners_without_a_run(tacit, tmp_path):
    said = tacit("crossplay", *GAME, "--with", "iggi,uniform", "--games", "6", "--output", tmp_path)
    assert said.status == 0, said.err
    assert ["sampled", "iggi"] in [row[:2] for row in printed_rows(said.out)]
    assert "XP" not in said.out
    assert runs.read_crossplay(tmp_path)["greedy"].labels == ("iggi", "uniform")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--with", "partners"], "crossplay needs a RUN, or a game and partners"),
        ([*GAME], "crossplay needs a RUN, or a game and partners"),
        (
            ["game=lever", "--with", "partners"],
            "the rule-based partners play hanabi only, and not the game 'lever'; uniform",
        ),
        (["game=lever", "--with", "odd=unifrom"], "there is no partner 'unifrom'; did you mean 'uniform'?"),
        ([*GAME, "--with", "iggi,nobody"], "uniform; one of your own is a Python path such as my_policy.Mine"),
        (["game=hanabi", "learner.gamma=1", "--with", "iggi"], "the configuration has no key"),
    ],
)
def test_bad_input_is_one_sentence(tacit, arguments, expected):
    said = tacit("crossplay", *arguments)
    assert said.status == 2
    assert expected in said.err
    assert said.err.count("\n") == 1


def test_a_run_brings_its_own_game(tacit, hanabi_run):
    said = tacit("crossplay", hanabi_run, "game=hanabi", "--with", "iggi")
    assert said.status == 2
    assert "a run brings its own game: leave out game=hanabi" in said.err
