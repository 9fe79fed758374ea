"""The index is a cache: it may be deleted, damaged, or stand where nobody can write."""

import json
import os

import pytest

from experiments.configuration import config
from experiments.runs import collection, complete, directory, files, index, record
from experiments.runs.collection import load
from experiments.runs.index import Index, cache_folder, index_file
from marl.crossplay import estimators, standard_error

GAMMA = "learner.gamma"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def folder(synthetic_run, tmp_path, cache):
    """Three runs, one of them cut."""
    for number, state in enumerate(["finished", "finished", "killed"]):
        synthetic_run(tmp_path / "runs", seeds=8, state=state, name=f"run{number}", **{GAMMA: 0.1 * number})
    return tmp_path / "runs"


@pytest.fixture
def counted(monkeypatch):
    """Counts what is read from directories, and what is summarised."""
    done = {"_facts": 0, "summarise": 0}

    def counting(name, function):
        def call(*args):
            done[name] += 1
            return function(*args)

        return call

    for module, name in ((collection, "_facts"), (record, "summarise")):
        monkeypatch.setattr(module, name, counting(name, getattr(module, name)))
    return done


def states(folder):
    return [record.state for record in load(folder)]


def rows(folder):
    kept = json.loads(index_file(folder).read_text())["runs"]
    return sorted((name, "summaries" in entry) for name, entry in kept.items())


def test_the_second_time_nothing_is_read_or_computed(folder, counted):
    first = load(folder)
    summaries = [record.summaries for record in first]
    assert counted == {"_facts": 3, "summarise": 4}  # two finished runs, sampled and greedy
    records = list(first)
    del first
    index_of = records[0].index
    assert index_of is not None
    index_of.save()
    second = load(folder)
    assert [record.summaries for record in second] == summaries
    assert list(second) == records
    assert counted == {"_facts": 3, "summarise": 4}


def test_summaries_are_saved_when_the_runs_are_forgotten(folder):
    loaded = load(folder)
    assert rows(folder) == [("run0", 0), ("run1", 0), ("run2", 0)]
    assert loaded[1].summaries
    del loaded
    assert rows(folder) == [("run0", 0), ("run1", 1), ("run2", 0)]


def test_it_lies_in_the_cache_folder_and_nothing_beside_the_runs(folder, cache):
    before = sorted(folder.rglob("*"))
    load(folder)
    assert sorted(folder.rglob("*")) == before
    files = [file.relative_to(cache) for file in cache.rglob("*") if file.is_file()]
    assert [file.parts[:2] for file in files] == [("tacit", "index")]
    assert files[0].suffix == ".json"


def test_one_folder_has_one_index_however_it_is_named(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    (folder.parent / "link").symlink_to(folder)
    assert index_file(folder) == index_file(folder.relative_to(folder.parent)) == index_file(folder.parent / "link")
    assert index_file(folder) != index_file(folder.parent)


def test_the_cache_folder_is_the_users(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    for ignored in ("relative/folder", ""):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert cache_folder() == tmp_path / "home" / ".cache"


def test_without_a_cache_folder_there_is_no_index(folder, counted, monkeypatch):
    monkeypatch.setattr(index, "cache_folder", lambda: None)
    for _ in range(2):
        assert states(folder) == ["finished", "finished", "cut"]
    assert counted["_facts"] == 6


def test_a_change_in_a_directory_is_seen(folder, synthetic_run, counted):
    load(folder)
    synthetic_run(folder, seeds=8, state="failed", name="run1", **{GAMMA: 0.1})
    assert states(folder) == ["finished", "failed", "cut"]
    assert counted["_facts"] == 4
    (folder / "run0" / "metrics.npz").unlink()
    assert states(folder) == ["damaged", "failed", "cut"]


def test_a_change_that_keeps_the_size_is_seen(folder):
    before = {record.path.name: record.steps for record in load(folder)}
    file = folder / "run1" / "status.json"
    text = file.read_text()
    changed = text.replace(f'"steps": {before["run1"]}', f'"steps": {before["run1"] + 1}')
    assert len(changed) == len(text) and changed != text
    file.write_text(changed)
    assert {record.path.name: record.steps for record in load(folder)} == before | {"run1": before["run1"] + 1}


def test_other_results_have_other_summaries(folder, synthetic_run):
    loaded = load(folder)
    before = loaded[0].summaries
    del loaded
    synthetic_run(folder, seeds=8, score=lambda seats: 7.5, name="run0")
    after = load(folder)[0].summaries
    assert before["greedy"].cross_play.mean != after["greedy"].cross_play.mean == 7.5


def test_scores_of_games_that_come_back_bring_the_errors_back(folder):
    games = folder / "run0" / "crossplay.npz"
    kept = games.read_bytes()
    before = load(folder)[0].summaries
    games.unlink()
    assert load(folder)[0].summaries["greedy"].cross_play.se is None
    games.write_bytes(kept)
    assert load(folder)[0].summaries == before


def test_whether_a_process_lives_is_never_remembered(folder, monkeypatch):
    assert states(folder) == ["finished", "finished", "cut"]
    monkeypatch.setattr(collection.directory.claims, "owner", lambda path: "somebody")
    assert states(folder) == ["finished", "finished", "running"]


def test_runs_that_are_gone_are_forgotten(folder):
    load(folder)
    for file in (folder / "run0").iterdir():
        file.unlink()
    assert [record.path.name for record in load(folder)] == ["run1", "run2"]
    assert [name for name, _ in rows(folder)] == ["run1", "run2"]


def test_one_run_of_a_folder_leaves_the_others_in_its_index(folder, counted):
    load(folder)
    assert len(load(folder / "run1")) == 1
    assert len(rows(folder)) == 3
    assert counted["_facts"] == 3


@pytest.mark.parametrize("contents", [b"", b"no JSON", b"[1, 2]", b"{}", b"\xff" * 5000])
def test_a_damaged_index_is_made_anew(folder, counted, contents):
    load(folder)
    index_file(folder).write_bytes(contents)
    assert states(folder) == ["finished", "finished", "cut"]
    assert counted["_facts"] == 6
    assert len(rows(folder)) == 3


@pytest.mark.parametrize("entries", [{"run0": {}}, {"run0": 1}, ["run0"]])
def test_an_index_of_another_layout_is_made_anew(folder, counted, entries):
    load(folder)
    written = json.loads(index_file(folder).read_text())
    index_file(folder).write_text(json.dumps(written | {"runs": entries}))
    assert states(folder) == ["finished", "finished", "cut"]
    assert len(rows(folder)) == 3


def test_it_does_not_outlive_the_code_that_made_it(folder, counted, monkeypatch, tmp_path):
    load(folder)
    changed = tmp_path / "estimators.py"
    changed.write_text("# another estimator\n")
    monkeypatch.setattr(index, "_READERS", (str(changed), *index._READERS[1:]))
    load(folder)
    assert counted["_facts"] == 6


@pytest.mark.parametrize(
    "module", [config, estimators, standard_error, collection, complete, directory, files, index, record]
)
def test_the_code_that_makes_it(folder, counted, monkeypatch, module):
    load(folder)
    read_bytes = index.Path.read_bytes
    edited = index.Path(module.__file__)
    monkeypatch.setattr(index.Path, "read_bytes", lambda path: read_bytes(path) + b"# edited" * (path == edited))
    load(folder)
    assert counted["_facts"] == 6


def test_it_can_be_left_out(folder, cache, counted):
    for _ in range(2):
        load(folder, index=False)[0].summaries  # noqa: B018
    assert counted == {"_facts": 6, "summarise": 4}
    assert not cache.exists()


@pytest.mark.parametrize("obstacle", ["file", "folder"])
def test_a_cache_folder_that_cannot_be_written_costs_only_time(folder, cache, counted, obstacle):
    if obstacle == "file":  # where the folder should be
        cache.write_text("")
    else:  # where the file should be
        index_file(folder).mkdir(parents=True)
    for _ in range(2):
        assert states(folder) == ["finished", "finished", "cut"]
    assert counted["_facts"] == 6


def test_it_is_replaced_and_never_changed(folder):
    load(folder)
    file = index_file(folder)
    opened = file.open("rb")
    with opened:
        before = opened.read()
        loaded = load(folder)
        assert loaded[0].summaries
        del loaded
        opened.seek(0)
        assert opened.read() == before != file.read_bytes()
    assert os.listdir(file.parent) == [file.name]


def test_of_two_readers_each_may_save(folder):
    one, other = Index(folder), Index(folder)
    one.keep_facts("a", "stamp", {"state": "failed"})
    other.keep_facts("b", "stamp", {"state": "failed"})
    one.save()
    other.save()
    assert rows(folder) == [("b", 0)]
    assert Index(folder).facts("b", "stamp") == {"state": "failed"}
    assert Index(folder).facts("b", "another") is None
