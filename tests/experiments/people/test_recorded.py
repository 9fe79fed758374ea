"""`tacit games hanabi --replay`: what it says of recorded games."""

import json
from pathlib import Path

import pytest

from experiments.people import recorded
from experiments.presentation.tables import as_markdown
from tests.command_line import call

GAME = Path(__file__).parents[2] / "games" / "hanabi" / "recorded" / "hanabidata-4037579.json"


def cells(table):
    """The first row as text, by column."""
    rows = [line.strip("| ").split(" | ") for line in as_markdown([table]).splitlines() if line.startswith("|")]
    return dict(zip(rows[0], rows[2], strict=True))


@pytest.mark.slow
def test_a_game_of_people(tmp_path):
    games, moves = recorded.describe([GAME])
    assert games.rows[0][:6] == [GAME.name, 1, 2, 0, 0, "1 of 1"]
    assert cells(games)["score"] == "15.00"
    text = cells(moves)
    assert text["hints on the card"] == "all"
    told = [text[name] for name in ("plays", "failed", "convention gap", "marginal")]
    assert told == ["16", "0.062", "0.130", "0.127"]
    for place in (2, 6):  # plays and discards
        assert sum(row[place] for row in moves.rows[1:]) == moves.rows[0][place] > 0
    assert [row[1] for row in moves.rows] == ["all", "0", "1", "2", "3 or more"]


@pytest.mark.slow
def test_a_refused_game_is_named_and_the_others_count(tmp_path):
    whole = json.loads(GAME.read_text())
    broken = whole | {"actions": [whole["actions"][0], whole["actions"][0]]}  # a hint of player 1 by player 1
    stopped = whole | {"actions": whole["actions"][:10], "score": None}
    (tmp_path / "games.json").write_text(json.dumps([broken, whole, stopped]))
    games, _ = recorded.describe([tmp_path / "games.json"])
    assert games.rows[0][:6] == ["games.json", 3, 2, 1, 1, "1 of 1"]
    assert games.notes[0] == ("games.json, game 0 is refused: step 1: there is no hint of type 3, value 1, to player 1")


def test_what_is_no_such_file_is_refused_in_one_sentence(tmp_path):
    for arguments, sentence in (
        (["games", "lever", "--replay", str(GAME)], "--replay belongs to hanabi alone"),
        (["games", "hanabi", "--replay", str(tmp_path / "a.json")], "a.json cannot be read: No such file or directory"),
        (["games", "--format", "csv"], "--format belongs to the table of --replay"),
    ):
        status, _, err = call(*arguments)
        assert status == 2
        assert sentence in err
        assert len(err.splitlines()) == 1
