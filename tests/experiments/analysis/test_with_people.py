"""`tacit compare --people`: what runs score with people, beside what their seeds score with each other."""

import json

import numpy as np
import pytest

from experiments.analysis import with_people
from games.errors import TacitError
from tests.command_line import call

pytestmark = pytest.mark.slow


def kept(file, *games, **more):
    """A file as `tacit play` leaves it, as far as it is read; a game is (its agent, score or None)."""
    file.parent.mkdir(exist_ok=True)
    records = []
    for agent, score in games:
        told = {"agents": ["person", agent], "undone": 0, "asked": 0, "greedy": True} | more
        records.append({"tacit": told} | ({} if score is None else {"score": score}))
    file.write_text(json.dumps(records))
    return file


@pytest.fixture
def root(synthetic_run, tmp_path):
    for name, coefficient in (("run1", 0.01), ("run10", 0.1)):
        synthetic_run(tmp_path / "runs", seeds=6, name=name, **{"learner.entropy_coef": coefficient})
    return tmp_path / "runs"


def test_people_count_once_each(tmp_path):
    played = tmp_path / "played"
    kept(played / "a.json", ("x:0", 1), ("x:3", 0), ("y:0", 1), ("x:0", None))
    kept(played / "b.json", ("x:1", 1), ("piers", 1))
    kept(played / "c.json", ("x:2", 0.2))
    people = with_people.read([played])
    found = with_people.score(people, ["x"])
    means = [0.5, 1.0, 0.2]
    assert found.mean == pytest.approx(np.mean(means))
    assert found.se == pytest.approx(np.std(means, ddof=1) / np.sqrt(3))
    assert with_people.score(people, ["x", "y"]).mean == pytest.approx(np.mean([2 / 3, 1.0, 0.2]))
    assert with_people.score(people, ["y"]).mean == 1
    assert with_people.score(people, ["z"]) is None


def test_games_with_help_are_left_out_and_kinds_of_play_are_not_mixed(tmp_path):
    files = [kept(tmp_path / "a.json", ("x:0", 1)), kept(tmp_path / "b.json", ("x:0", 0), undone=1)]
    files += [kept(tmp_path / "c.json", ("x:0", 0), asked=2)]
    assert with_people.score(with_people.read([*files, files[0]]), ["x"]).mean == 1
    with pytest.raises(TacitError, match="there is no finished game"):
        with_people.read(files[1:])
    files += [kept(tmp_path / "d.json", ("x:0", 0), greedy=False)]
    with pytest.raises(TacitError, match="people played with greedy and with sampling agents"):
        with_people.read(files)


def test_the_column_beside_cross_play(root, tmp_path):
    files = [kept(tmp_path / f"{n}.json", ("run1:2", n % 2), ("run1:0", 1)) for n in range(8)]
    told = call("compare", str(root), "--people", *map(str, files), "--format", "json")
    assert told.status == 0, told.err
    low, high = json.loads(told.out)
    assert low["people"]["mean"] == pytest.approx(0.75)
    assert low["people"]["low"] < 0.75 < low["people"]["high"]
    assert high["people"] is None
    shown = call("compare", str(root), "--people", *map(str, files))
    assert "with people" in shown.out
    assert "intervals over people" in shown.out
    without = call("compare", str(root))
    assert "people" not in without.out
    assert len(list((root / "compare").iterdir())) == 2  # the one does not overwrite the other


def test_what_is_no_game_with_people_is_refused(root, tmp_path):
    (tmp_path / "bad.json").write_text("[3]")
    (tmp_path / "none").mkdir()
    for people, sentence in (
        (tmp_path / "missing.json", "missing.json cannot be read: No such file"),
        (tmp_path / "bad.json", "bad.json holds no games of tacit play"),
        (tmp_path / "none", "there is no finished game of a person in"),
        (kept(tmp_path / "a.json", ("run1:0", None)), "there is no finished game of a person in"),
        (kept(tmp_path / "b.json", ("other:0", 1), ("piers", 1)), "with none of these runs, but with other"),
        (kept(tmp_path / "c.json", ("piers", 1)), "people played with none of these runs, but with partners alone"),
    ):
        told = call("compare", str(root), "--people", str(people))
        assert told.status == 2
        assert sentence in told.err
        assert len(told.err.splitlines()) == 1


def test_an_error_is_raised_for_people_without_games(tmp_path):
    with pytest.raises(TacitError, match="there is no finished game"):
        with_people.read([kept(tmp_path / "a.json")])
