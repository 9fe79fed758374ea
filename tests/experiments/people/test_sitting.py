"""A sitting keeps its games in one file, whatever ends the program."""

import json

import pytest

from experiments.people.sitting import Sitting
from games.errors import TacitError
from games.hanabi import records

pytestmark = pytest.mark.slow


def move(sitting):
    sitting.do(lambda seat: seat.move(seat.view()["legal"][0], seat.step))


def play(sitting):
    while not sitting.seat.over:
        move(sitting)


def test_games_follow_one_another_in_one_file(tmp_path, planned):
    file = tmp_path / "new" / "games.json"
    sitting = Sitting(file, planned)
    with pytest.raises(TacitError, match="is dealt when this one is over"):
        sitting.next_game()
    play(sitting)
    assert (sitting.number, sitting.last) == (0, False)
    sitting.next_game()
    move(sitting)
    first, second = json.loads(file.read_text())
    assert (first["tacit"]["seed"], second["tacit"]["seed"]) == (5, 6)
    assert "score" in first
    assert "score" not in second
    left = Sitting(file, planned)  # as after a kill
    assert (left.resumed, left.number) == (True, 1)
    assert left.seat.view() == sitting.seat.view()
    play(left)
    assert not Sitting(file, planned).resumed
    assert Sitting(file, planned).number == 2
    recorded = records.read(file)
    assert records.replay(recorded).scores.tolist() == recorded.scores.tolist()


def test_the_last_game(tmp_path, planned):
    sitting = Sitting(tmp_path / "games.json", lambda number: planned(0) if number == 0 else None)
    play(sitting)
    assert sitting.last
    with pytest.raises(TacitError, match="this was the last game"):
        sitting.next_game()
    with pytest.raises(TacitError, match=r"all 1 games of .* were played"):
        Sitting(sitting.file, lambda number: planned(0) if number == 0 else None)
    with pytest.raises(TacitError, match="holds more games than are planned"):
        Sitting(sitting.file, lambda number: None)


def test_a_file_that_another_program_changed_is_not_overwritten(tmp_path, planned):
    file = tmp_path / "games.json"
    one, other = Sitting(file, planned), Sitting(file, planned)
    move(one)
    written, before = file.read_bytes(), other.seat.view()
    with pytest.raises(TacitError, match=r"games\.json was changed by another program"):
        move(other)
    assert file.read_bytes() == written
    assert other.seat.view() == before
    move(one)


def test_files_of_other_games_are_refused(tmp_path, planned, board):
    file = tmp_path / "games.json"
    move(Sitting(file, planned))
    kept = file.read_bytes()
    with pytest.raises(TacitError, match=r"game 0 is of \['person', 'counts'\], not of \['counts', 'person'\]"):
        Sitting(file, lambda number: planned(number)._replace(names=("counts", "person")))
    with pytest.raises(TacitError, match=r"game 0 is on the board Hanabi\(players=2, colors=2, ranks=3"):
        Sitting(file, lambda number: planned(number)._replace(game=type(board)()))
    assert file.read_bytes() == kept
    no_deck = json.dumps([{**json.loads(kept)[0], "deck": []}]).encode()
    for damaged in (kept[:50], b"{}", b"[3]", b'[{"tacit": {}}]', b"\xff", no_deck):
        file.write_bytes(damaged)
        with pytest.raises(TacitError, match=r"games\.json holds no games that were played here"):
            Sitting(file, planned)
        assert file.read_bytes() == damaged
