"""A sitting keeps its games in one file, whatever ends the program."""

import json

import pytest

from experiments.people.sitting import Sitting
from games.errors import TacitError
from games.hanabi import records

pytestmark = pytest.mark.slow


def move(sitting):
    sitting.move(sitting.seat.view()["legal"][0])


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


def test_a_window_that_shows_an_older_position_changes_nothing(tmp_path, planned):
    """An undone move and the next game have step numbers that were there before."""
    sitting = Sitting(tmp_path / "games.json", planned)
    first, second = sitting.seat.view()["legal"][:2]
    sitting.move(first, 0)
    sitting.undo(1)
    sitting.move(second, 2)
    shown = sitting.seat.view()
    for late in (lambda: sitting.move(first, 1), lambda: sitting.undo(1), lambda: sitting.advice(0)):
        with pytest.raises(TacitError, match="the game has moved on: this was for an earlier position"):
            late()
    assert sitting.seat.view() == shown
    play(sitting)
    version = sitting.version
    sitting.next_game(version)
    with pytest.raises(TacitError, match="the game has moved on"):
        sitting.move(first, 0)
    assert (sitting.version, sitting.seat.step) == (version + 1, 0)


def test_no_deck_comes_twice(tmp_path, planned):
    """Whatever seed is asked for later: games of another start of the program are known to the person."""
    file = tmp_path / "games.json"
    play(Sitting(file, planned))
    lower = Sitting(file, lambda number: planned(number - 3))
    assert lower.seat.settings.seed == 6
    higher = Sitting(file, lambda number: planned(number + 3))
    assert higher.seat.settings.seed == 9


def test_fixed_settings_are_those_of_the_file(tmp_path, planned):
    def fixed(number, seed=0):
        one = planned(number)
        return one._replace(fixed=True, settings=one.settings._replace(seed=one.settings.seed + seed))

    sitting = Sitting(tmp_path / "games.json", fixed)
    move(sitting)
    assert Sitting(sitting.file, fixed).resumed
    with pytest.raises(TacitError, match=r"game 0 was played with Settings\(.*seed=5.*not with Settings\(.*seed=6"):
        Sitting(sitting.file, lambda number: fixed(number, 1))


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
    for damaged in (kept[:50], b"{}", b"[3]", b'[{"tacit": {}}]', b"\xff", b"[" * 100_000, no_deck):
        file.write_bytes(damaged)
        with pytest.raises(TacitError, match=r"games\.json holds no games that were played here"):
            Sitting(file, planned)
        assert file.read_bytes() == damaged
