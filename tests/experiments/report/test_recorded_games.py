"""Games that were played elsewhere in a report: what their pages say, and which files are refused."""

import json
from pathlib import Path

import pytest

from experiments.report import recorded
from experiments.report.build import build
from tests.command_line import call

GAME = Path(__file__).parents[2] / "games" / "hanabi" / "recorded" / "hanabidata-4037579.json"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A report of recorded games alone: one, one that breaks the rules, and one that was stopped early."""
    folder = tmp_path_factory.mktemp("recorded")
    whole = json.loads(GAME.read_text())
    broken = whole | {"actions": [whole["actions"][0], whole["actions"][0]]}
    stopped = whole | {"actions": whole["actions"][:10]}
    nothing = whole | {"actions": []}
    (folder / "games.json").write_text(json.dumps([whole, broken, stopped, nothing]))
    build([], folder / "site", recorded=[folder / "games.json"])
    return folder / "site"


def game_of(site, name):
    return json.loads((site / "games" / "recorded" / name).read_text().removeprefix("tacitGame(").removesuffix(");\n"))


@pytest.mark.slow
def test_each_legal_game_has_its_page(site):
    assert sorted(file.name for file in (site / "games" / "recorded").iterdir()) == ["0-0.js", "0-2.js", "0-3.js"]
    overview = (site / "data" / "overview.js").read_text().removeprefix("const overview = ").removesuffix(";\n")
    (listed,) = json.loads(overview)["recorded"]
    assert (listed["file"], listed["number"], listed["refused"]) == ("games.json", 4, 1)
    ends = [(game["number"], game["score"], game["moves"], game["ending"]) for game in listed["games"]]
    assert ends == [
        (0, 15.0, 74, "the game is over: the deck is used up"),
        (2, 3.0, 10, "the players stopped before the rules end the game"),
        (3, 0.0, 0, "the players stopped before the rules end the game"),
    ]


@pytest.mark.slow
def test_plays_have_their_published_chances(site):
    """The source's joint posteriors of this game, and the gap that follows for each player."""
    game = game_of(site, "0-0.js")
    plays = [step["moves"][0] for step in game["steps"] if "failure" in step["moves"][0]]
    assert len(plays) == 16
    above = [play["failure"] for play in plays if play["failure"]]
    assert above == pytest.approx([5 / 7, 0.6, 5 / 7, 5 / 9, 0.5], abs=1e-6)
    assert all(play["probabilities"] == [] for play in plays)
    gaps = game["convention_gaps"]
    assert sum(one["plays"] for one in gaps) == 16
    # One of the sixteen plays failed.
    assert sum(one["gap"] * one["plays"] for one in gaps) == pytest.approx(sum(above) - 1, abs=1e-5)


@pytest.mark.slow
def test_what_cannot_be_read_is_refused_and_leaves_no_report(tmp_path):
    for arguments, sentence in (
        (["report"], "report needs a DIR of runs, or games: --recorded FILE"),
        (["report", "--recorded", str(tmp_path / "none.json")], "none.json cannot be read: No such file"),
        (["report", "--recorded", str(Path(__file__))], "is no file of recorded games"),
    ):
        told = call(*arguments, "-o", str(tmp_path / "site"))
        assert told.status == 2
        assert sentence in told.err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_of_many_games_the_first_are_shown(monkeypatch, tmp_path):
    monkeypatch.setattr(recorded, "MOST", 2)
    whole = json.loads(GAME.read_text())
    (tmp_path / "games.json").write_text(json.dumps([whole] * 3))
    found = recorded.read(tmp_path / "games.json")
    assert (found.number, found.refused, list(found.played)) == (3, 0, [0, 1])


def test_the_pages_in_a_browser(page, site):
    page.goto((site / "index.html").as_uri())
    assert not page.locator("#runs").is_visible()
    assert "games.json: 3 games (left out: 1 game against the rules)" in page.locator("#recorded").inner_text()
    page.get_by_role("link", name="2", exact=True).click()
    page.locator(".steps").wait_for()
    assert page.locator("h1").inner_text() == "Game 2 of games.json: score 3 of 25"
    assert "the players stopped before the rules end the game" in page.locator("#about").inner_text()
    assert "Convention gap in this game: player 0" in page.locator("#gaps").inner_text()
    assert "nothing is known of its probability" in page.locator(".policy").inner_text()
    page.get_by_role("link", name="Tacit report").click()
    page.locator("#recorded").wait_for()
