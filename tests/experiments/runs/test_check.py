"""`tacit runs check` names what is damaged, and finds nothing where nothing is."""

import hashlib
import json

import pytest

from experiments import runs
from experiments.configuration import conf_files
from experiments.runs.check import check
from games.errors import TacitError

FILES = ("crossplay.json", "crossplay.npz", "metrics.npz", "policies.safetensors", "run.json")


@pytest.fixture
def path(synthetic_run, tmp_path):
    return synthetic_run(tmp_path / "runs", seeds=2)


def found(path):
    """(damage, sentence) of each finding in the folder."""
    number, findings = check(path.parent)
    assert {finding.path for finding in findings} <= {path}
    assert number == 1
    return [(finding.damage, finding.sentence) for finding in findings]


def test_a_whole_run_is_whole(path):
    assert found(path) == []
    assert check(path) == (1, [])


@pytest.mark.slow
def test_a_finished_run_of_before_its_game_had_a_key_is_the_same_run(synthetic_run, tmp_path):
    """A run of Hanabi whose configuration has no copies, beside the same one with copies: null."""
    games = [conf_files.written("game", "hanabi_2x3") for _ in range(2)]
    del games[0]["copies"]
    before, now = (synthetic_run(tmp_path / str(n), seeds=2, game=game) for n, game in enumerate(games))
    assert before.name == now.name
    science, named = (runs.read_json(before / "run.json")[key] for key in ("science", "by_default"))
    assert "copies" not in science["game"]
    assert "game.copies" not in named
    assert runs.read_json(now / "run.json")["science"]["game"]["copies"] is None
    assert found(before) == found(now) == []
    records = runs.load([before, now])
    assert records.varying() == []
    assert records[0].game == records[1].game
    assert [len(record.agents) for record in records] == [2, 2]
    config = runs.read_run(now).config
    assert not runs.needs_training(before, config, overwrite=False)
    assert runs.claim(before.parent, config, overwrite=False) is None


@pytest.mark.parametrize("state", ["running", "killed", "interrupted", "failed"])
def test_a_run_that_is_not_finished_is_not_damaged_by_that(synthetic_run, tmp_path, state):
    assert found(synthetic_run(tmp_path / "runs", seeds=2, state=state)) == []


@pytest.mark.slow
def test_runs_of_training_are_whole(finished_runs):
    assert check(finished_runs[0].parent) == (2, [])
    sums = runs.read_json(finished_runs[0] / "checksums.json")
    assert sums["files"] == {name: hashlib.sha256((finished_runs[0] / name).read_bytes()).hexdigest() for name in FILES}


@pytest.mark.parametrize("name", [name for name in FILES if name != "run.json"])
def test_one_changed_bit(path, name):
    contents = bytearray((path / name).read_bytes())
    contents[len(contents) // 2] ^= 1
    (path / name).write_bytes(contents)
    sentence = f"{name} is damaged or was changed: it does not have the checksum that it was written with"
    assert found(path) == [(True, sentence)]


def test_a_changed_configuration(path):
    plain = runs.read_json(path / "run.json")
    plain["science"]["learner"]["gamma"] = 0.123
    (path / "run.json").write_text(json.dumps(plain))
    first, second = found(path)
    assert first[0] and first[1].startswith(f"run.json was changed: it says that it is run {path.name}, and its sci")
    assert second[0] and second[1].startswith("run.json is damaged or was changed")


def test_a_directory_that_was_copied_in_part(path):
    (path / "metrics.npz").unlink()
    (path / "policies.safetensors").unlink()
    sentence = "2 of the 5 files it was finished with are missing, so it was copied in part: metrics.npz, policies.safe"
    ((damage, said),) = found(path)
    assert damage and said.startswith(sentence)


def test_a_copy_that_did_not_get_to_its_status(path):
    for name in ("status.json", "run.json"):
        (path / name).unlink()
        assert found(path) == [(True, "status.json is missing: the directory was copied in part, or is no run's")]


def test_a_copy_of_cross_play_alone_is_known_by_the_name_of_its_folder(path):
    for file in path.iterdir():
        if file.name != "crossplay.json":
            file.unlink()
    ((damage, said),) = found(path)
    assert damage and said.startswith("status.json is missing")


@pytest.mark.parametrize("name", ["run.json", "status.json", "checksums.json"])
def test_a_file_cut_short(path, name):
    (path / name).write_text((path / name).read_text()[:40])
    sentences = found(path)
    assert all(damage for damage, _ in sentences)
    assert sentences[0][1].startswith(f"{name} is missing, cut short or damaged")


@pytest.mark.parametrize("name", [name for name in FILES if name != "run.json"])
def test_an_unreadable_file_of_a_run_without_checksums(path, name):
    (path / "checksums.json").unlink()
    sentence = "it has no checksums: it was finished before there were any, or copied in part without them; "
    remark = (False, f"{sentence}its files were only read")
    assert found(path) == [remark]
    contents = (path / name).read_bytes()
    (path / name).write_bytes(contents[: len(contents) // 2])
    first, (damage, said) = found(path)
    assert first == remark
    assert damage and said.startswith(f"{name} is ") and "cut short or damaged" in said
    (path / name).unlink()
    # Runs that were finished before games were kept have no crossplay.npz.
    lost = [] if name == "crossplay.npz" else [(True, f"it is finished, and {name} is missing")]
    assert found(path) == [remark, *lost]


def test_a_state_that_there_is_not(path):
    plain = runs.read_json(path / "status.json")
    (path / "status.json").write_text(json.dumps({**plain, "state": "tired"}))
    sentence = "the state in status.json must be one of finished, running, cut, failed, not 'tired'"
    assert found(path) == [(True, sentence)]


def test_unreadable_metrics_of_a_run_that_was_cut(synthetic_run, tmp_path):
    path = synthetic_run(tmp_path / "runs", seeds=2, state="interrupted")
    (path / "metrics.npz").write_bytes(b"PK")
    ((damage, said),) = found(path)
    assert damage and said.startswith("metrics.npz is cut short or damaged")


@pytest.mark.parametrize(("version", "age"), [(2, "newer"), (0, "older")])
@pytest.mark.parametrize("name", ["run.json", "checksums.json"])
def test_another_format(path, name, version, age):
    plain = runs.read_json(path / name)
    (path / name).write_text(json.dumps({**plain, "format": version}))
    assert found(path) == [(True, f"{name} has the {age} format {version}, and this Tacit reads format 1")]


def test_checksums_that_name_nothing(path):
    (path / "checksums.json").write_text('{"format": 1, "files": ["run.json"]}')
    assert found(path) == [(True, "checksums.json is damaged: it names no files")]


def test_what_a_killed_process_left_behind(path, synthetic_run):
    for name in (".crossplay.json.1234", ".status.json.77", ".claim.3"):
        (path / name).write_text("")
    sentence = ".crossplay.json.1234, .status.json.77 can be deleted: a process was killed while it wrote"
    assert found(path) == [(False, sentence)]


def test_what_a_living_process_is_writing_is_nothing_to_say(synthetic_run, tmp_path):
    path = synthetic_run(tmp_path / "runs", seeds=2, state="running")
    (path / ".metrics.npz.1234").write_text("")
    assert found(path) == []


def test_a_run_that_was_cut_before_it_said_what_it_is(synthetic_run, tmp_path):
    path = synthetic_run(tmp_path / "runs", seeds=2, state="killed")
    (path / "run.json").unlink()
    sentence = "it was cut short before it had said which run it is: training it again begins anew"
    assert found(path) == [(False, sentence)]


def test_a_directory_of_another_name(path):
    moved = path.rename(path.with_name("best"))
    assert found(moved) == [(False, f"the directory holds run {path.name}: no sweep finds it under this name")]


def test_a_directory_with_the_name_of_another_run(path):
    moved = path.rename(path.with_name("0123456789ab"))
    assert found(moved) == [(True, f"the directory has the name of another run: it holds run {path.name}")]


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        ("status.json", {"steps": None}, "status.json is damaged: its steps must be a whole number, not None"),
        ("run.json", {"name": 7}, "run.json is damaged: its name must be a text, not 7"),
        ("run.json", {"by_default": ["clip"]}, "run.json is damaged: its by_default must be an object, not ['clip']"),
    ],
)
def test_a_value_of_another_type(path, name, changes, sentence):
    (path / name).write_text(json.dumps(runs.read_json(path / name) | changes))
    assert found(path) == [(True, sentence)]


def test_a_directory_that_cannot_be_listed(path, synthetic_run, unreadable):
    whole = synthetic_run(path.parent, seeds=2, **{"learner.gamma": 0.5})
    unreadable(path)
    assert check(path.parent) == (2, [(path, "the directory cannot be read", True)])
    assert check(whole) == (1, [])


def test_a_file_that_came_later(path):
    (path / "notes.txt").write_text("mine")
    (path / "crossplay.png").write_bytes(b"a figure may be drawn anew")
    assert found(path) == [(False, "notes.txt came into the directory after the run was finished")]


def test_every_damaged_run_of_a_folder_is_named(synthetic_run, tmp_path):
    paths = [synthetic_run(tmp_path / "runs", seeds=2, **{"learner.gamma": 0.1 * number}) for number in range(4)]
    for spoiled in paths[1:3]:
        (spoiled / "metrics.npz").write_bytes(b"")
    number, findings = check(tmp_path / "runs")
    assert number == 4
    assert sorted(finding.path for finding in findings) == sorted(paths[1:3])


def test_nothing_to_check(tmp_path):
    with pytest.raises(TacitError, match=r"there is no folder .*none"):
        check(tmp_path / "none")
    with pytest.raises(TacitError, match="there is no run in"):
        check(tmp_path)
