"""`tacit conventions`: what it prints and writes, for a game with relabellings and for one without."""

import json

import jax
import numpy as np
import pytest

from experiments import runs
from experiments.analysis.conventions import conventions, conventions_run
from experiments.analysis.conventions_tables import Conventions, Found, Play, figure, shown
from experiments.presentation import figures, tables
from games.errors import TacitError
from marl.conventions import Correlation, distances
from marl.crossplay import CrossPlay, self_play_seatings
from marl.literal import Sums, gap, moves_of_agents
from tests.command_line import printed_rows

HANABI = {
    "game": {"_target_": "games.hanabi.make", "preset": "Hanabi-2x3", "ranks": 2, "max_information_tokens": 2},
    "policy.torso": [4],
    "seeds": 4,
    "learner.share_parameters": True,
}


@pytest.fixture(scope="module")
def hanabi_run(tmp_path_factory, make_run):
    """A run of small Hanabi that learned nothing, with cross-play scores 10 i + j."""
    path = make_run(tmp_path_factory.mktemp("hanabi"), HANABI)
    seatings = np.array(list(np.ndindex(4, 4)))
    zeros = np.zeros(16)
    made_up = CrossPlay(tuple("abcd"), seatings, seatings @ [10.0, 1.0], zeros, zeros, zeros, zeros)
    runs.write_crossplay(path, {"sampled": made_up, "greedy": made_up}, {})
    return path


@pytest.fixture(scope="module")
def said(hanabi_run, tacit):
    """What `tacit conventions` says of the run's sampled and greedy play."""
    said = tacit("conventions", hanabi_run, "--games", 6, "--symmetries", 2)
    assert said.status == 0, said.err
    return said


@pytest.mark.slow
def test_a_run_of_hanabi(hanabi_run, said):
    (folder,) = (hanabi_run.parent / "conventions").iterdir()
    assert str(folder) in said.out
    assert {file.name for file in folder.iterdir()} == {
        "conventions.json", "conventions.npz", "conventions_greedy.png", "conventions_greedy.svg",
        "conventions_sampled.png", "conventions_sampled.svg",
    }  # fmt: skip
    assert runs.training_runs([hanabi_run, hanabi_run.parent / "conventions"]) == [hanabi_run]
    found = json.loads((folder / "conventions.json").read_text())
    assert found["settings"] == {"version": 5, "run": hanabi_run.name, "games": 6, "symmetries": 2, "seed": 0}
    assert found["labels"] == [f"{hanabi_run.name[:6]}/{seed}" for seed in range(4)]
    assert found["actions"][0] == "discard slot 0"
    assert "no-op" not in found["actions"]
    for name in ("sampled", "greedy"):
        play = found[name]
        assert play["self_play"] == [0, 11, 22, 33]
        assert play["cross_play"][2] == [20, 21, 22, 23]
        assert len(play["relabelled"]["other_play"]) == 4
        assert all(0 <= one["mean"] <= one["largest"] <= 1 for one in play["relabelled"]["defect"])
        with np.load(folder / "conventions.npz") as counts:
            np.testing.assert_allclose(play["conventions"]["distance"], distances(counts[name]))
        assert len(play["convention_gap"]["self_play"]) == len(play["gap_of_discards"]["self_play"]) == 4
    run = runs.read_run(hanabi_run)
    moves = moves_of_agents(
        run.game, run.agents, self_play_seatings(4, 2), games=6, greedy=False, key=jax.random.key(0)
    )
    for key, sums in (("convention_gap", moves.plays), ("gap_of_discards", moves.discards)):
        for seed, told in enumerate(found["sampled"][key]["self_play"]):
            assert told == pytest.approx(gap(Sums(*(leaf[seed] for leaf in sums.over_hints()))).gap)
    gaps = found["sampled"]["convention_gap"]
    assert gaps["over_seeds"]["mean"] == pytest.approx(np.mean(gaps["self_play"]))
    assert -1 <= gaps["cross_play"]["mean"] <= 1
    assert said.out.count("convention gap in cross-play: ") == 2
    assert min(found["sampled"]["conventions"]["sampling"]) > 0  # the halves of a seed's games are different games
    assert "Spearman of distance and XP" in said.out
    assert sum(row[0] == "over seeds" for row in printed_rows(said.out)) == 2


@pytest.mark.slow
def test_a_game_without_relabellings_or_answers_says_why(finished_runs, tmp_path):
    found = conventions_run(finished_runs[0] / "policies.safetensors", games=4, output=tmp_path)
    text = tables.as_markdown(shown(found))
    assert text.count("Other-Play return and equivariance defect: n/a (game lever draws no symmetries") == 2
    assert text.count("convention gap: n/a (game lever has no cards to play") == 2
    assert text.count("convention matrices: n/a (in game lever several players act at once") == 2
    assert [file.name for file in found.folder.iterdir()] == ["conventions.json"]
    plain = json.loads((found.folder / "conventions.json").read_text())
    assert "draws no symmetries" in plain["greedy"]["relabelled"]
    assert plain["sampled"]["self_play"] == found.plays["sampled"].self_play.tolist()


@pytest.mark.slow
def test_one_play_and_its_figure(hanabi_run, said, tmp_path):
    found = conventions_run(hanabi_run, games=6.0, symmetries=2, plays="greedy", output=tmp_path)
    (table,) = shown(found)
    assert table.title == f"hanabi, run {hanabi_run.name}, greedy play"
    assert all(note in said.out for note in table.notes)
    assert [row[3] for row in table.rows] == [*found.labels, "over seeds"]
    own, other, lost = (np.array([row[column] for row in table.rows[:-1]]) for column in (4, 5, 6))
    np.testing.assert_allclose(lost, own - other, atol=1e-9)
    assert table.rows[-1][4].mean == pytest.approx(own.mean())
    assert json.loads(tables.as_json([table]))[0]["other_play"] == other[0]
    assert str(found.folder.name) not in said.out
    drawn = figure(found, "greedy")
    assert drawn.get_suptitle() == f"hanabi, run {hanabi_run.name}, greedy play"
    titles = [axis.get_title() for axis in drawn.get_axes() if len(axis.images)]
    assert titles == found.labels
    refused = found._replace(
        plays={"greedy": found.plays["greedy"]._replace(conventions="in this game nobody answers")}
    )
    with pytest.raises(TacitError, match="no figure of convention matrices: in this game nobody answers"):
        figure(refused, "greedy")


@pytest.mark.slow
def test_partners_are_measured_one_by_one(hanabi_run, tacit, tmp_path):
    said = tacit(
        "conventions", "game=hanabi_2x3", "ranks=2", "--with", "cautious,careless=cautious", "--games", 30,
        "--symmetries", 1, "--output", tmp_path, "--format", "json",
    )  # fmt: skip
    assert said.status == 0, said.err
    rows = json.loads(said.out)
    assert [(row["play"], row["partner"]) for row in rows] == [("sampled", "cautious"), ("sampled", "careless")]
    for row in rows:  # plays only what is certain, and the same whatever the colors are called
        assert row["convention_gap"] == {"mean": 0, "standard_error": 0}
        assert row["gap_of_discards"]["standard_error"] > 0
        assert (row["lost"]["mean"], row["defect"]["mean"]) == (0, 0)
        assert 0 < row["self_play"]["mean"] <= 4
        assert row["self_play"]["standard_error"] > 0
    (folder,) = (tmp_path / "conventions").iterdir()
    plain = json.loads((folder / "conventions.json").read_text())
    assert plain["settings"]["with"] == ["cautious", "careless=cautious"]
    assert plain["sampled"]["conventions"]["distance"][0][1] < 0.5  # the same player twice, on its own games
    assert plain["sampled"]["cross_play"][0][1] is None
    # Runs first, then the partners in their game.
    several = conventions([hanabi_run], with_partners="cautious", games=2, symmetries=1, output=tmp_path)
    assert [one.labels for one in several] == [[f"{hanabi_run.name[:6]}/{seed}" for seed in range(4)], ["cautious"]]
    (table,) = shown(several[1])
    assert table.title == "hanabi, partners, sampled play"
    assert table.notes == ["each with copies of itself; ±: the standard error over games"]
    assert len(figure(several[1], "sampled").get_axes()) == 2  # a matrix and its color bar


def test_neither_runs_nor_partners_or_both_are_refused(hanabi_run, finished_runs):
    with pytest.raises(TacitError, match=r"^conventions needs a RUN, or a game and partners: game=NAME --with partner"):
        conventions([], game=["game=hanabi_2x3"])
    with pytest.raises(TacitError, match=r"^a run brings its own game: leave out game=hanabi$"):
        conventions([hanabi_run], game=["game=hanabi"])
    with pytest.raises(TacitError, match=r"^there is no partner 'pears'; did you mean 'piers'\?"):
        conventions([hanabi_run], with_partners="pears")
    assert not (hanabi_run.parent / "conventions" / "none").exists()


def test_bad_settings_are_refused(finished_runs, tmp_path):
    with pytest.raises(TacitError, match=r"^symmetries must be"):
        conventions_run(finished_runs[0], symmetries=0)
    with pytest.raises(TacitError, match=r"^seed must be a whole number from 0 to 2147483647, not 4294967296"):
        conventions_run(finished_runs[0], seed=2**32)
    with pytest.raises(TacitError, match="plays must be one of sampled, greedy, not 'timid'"):
        conventions_run(finished_runs[0], plays="timid")
    with pytest.raises(TacitError, match="plays must be one or several of sampled, greedy, not an empty list"):
        conventions_run(finished_runs[0], plays=[])
    with pytest.raises(TacitError, match="there is no run directory"):
        conventions_run(tmp_path / "nothing")


def test_one_seed_has_no_distance():
    alone = Conventions(
        np.ones((1, 2, 2), int), np.zeros((1, 1)), np.zeros(1), Correlation(None, note="x"), np.zeros((1, 1)),
        Correlation(None, note="x"),
    )  # fmt: skip
    play = Play(np.array([1.5]), np.array([[1.5]]), "why not", alone, "no cards")
    found = Found(run="a", game="g", labels=["a/0"], actions=[], plays={"greedy": play}, folder=None)
    (table,) = shown(found)
    assert table.rows[0] == ["g", "a", "greedy", "a/0", 1.5]
    assert table.rows[1][:4] == ["g", "a", "greedy", "over seeds"]
    assert table.rows[1][4].mean == 1.5
    assert "convention gap: n/a (no cards)" in table.notes
    assert any("n/a (there is one seed)" in note for note in table.notes)
    assert "n/a (why not)" in " ".join(table.notes)


def test_the_figure_shows_every_seed_and_pair():
    matrices = np.full((5, 3, 3), 1 / 3)
    matrices[0, 2] = np.nan
    distance = np.arange(25.0).reshape(5, 5) / 25
    drawn = figures.conventions(matrices, ["a", "b", "c"], [*"vwxyz"], distance, 2 * distance, "title", "note")
    axes = drawn.get_axes()
    assert [axis.get_title() for axis in axes if len(axis.images)] == [*"vwxyz"]
    (scatter,) = [axis for axis in axes if axis.get_xlabel().startswith("distance")]
    (points,) = scatter.lines
    np.testing.assert_allclose(points.get_ydata(), 2 * points.get_xdata())
    assert len(points.get_xdata()) == 10
