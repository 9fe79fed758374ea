"""`tacit status` counts runs by their own directories; `tacit runs check` prints a line for each finding."""

import datetime
import json
from pathlib import Path

import pytest

from experiments.analysis import status
from experiments.presentation import terminal
from experiments.training import checkpoints

NOW = datetime.datetime(2026, 3, 1, 12, 0, 0, tzinfo=datetime.UTC)


@pytest.fixture
def folder(synthetic_run, tmp_path):
    """Two finished runs, and one in each other state."""
    states = ("finished", "failed", "killed", "running", "finished", "interrupted")
    for number, state in enumerate(states):
        synthetic_run(
            tmp_path / "runs", seeds=2, state=state, name=f"{state}{number}", **{"learner.gamma": 0.1 * number}
        )
    (synthetic_run(tmp_path / "runs", seeds=2, name="spoiled", first_seed=3) / "run.json").write_text("{")
    return tmp_path / "runs"


def test_how_runs_stand(folder, capsys):
    status.status([folder], as_json=True)
    contents = json.loads(capsys.readouterr().out)
    assert contents["counts"] == {"finished": 2, "running": 1, "cut": 2, "failed": 1, "damaged": 1}
    assert [run["state"] for run in contents["unfinished"]] == ["running", "cut", "cut", "failed", "damaged"]
    failed = contents["unfinished"][3]
    assert failed["path"] == str(folder / "failed1")
    assert (failed["steps"], failed["total"], failed["game"]) == (32, 64, "lever")
    assert failed["reason"] == "the loss is not finite"
    assert datetime.datetime.fromisoformat(failed["updated"]).tzinfo is not None


def test_the_table_names_what_is_not_finished(folder, capsys):
    status.status([folder], as_json=False)
    out = capsys.readouterr().out
    assert "2 finished, 1 running, 2 cut, 1 failed, 1 damaged" in out
    (line,) = [line for line in out.splitlines() if "failed1" in line]
    assert "32 of 64" in line and "the loss is not finite" in line and " s ago" in line
    (line,) = [line for line in out.splitlines() if "spoiled" in line]
    assert "run.json is missing, cut short or damaged" in line
    assert "finished0" not in out


def test_what_the_checkpoint_holds(folder, capsys):
    checkpoints.save(folder / "running3" / "checkpoints", {}, updates=3, state=(), log={}, steps=48)
    (folder / "failed1" / "checkpoints").mkdir()
    (folder / "failed1" / "checkpoints" / "1-00000000.safetensors").write_bytes(b"cut short")
    status.status([folder], as_json=True)
    saved = {Path(run["path"]).name: run["saved"] for run in json.loads(capsys.readouterr().out)["unfinished"]}
    assert saved == {"running3": 48, "killed2": None, "interrupted5": None, "failed1": None, "spoiled": None}
    status.status([folder], as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert any("steps  in checkpoint" in line for line in lines)
    (line,) = [line for line in lines if "running3" in line]
    assert "32 of 64" in line and " 48 " in line


def test_when_all_is_finished_there_is_no_table(folder, capsys):
    status.status([folder / "finished0", folder / "finished4"], as_json=False)
    assert capsys.readouterr().out == "2 finished, 0 running, 0 cut, 0 failed, 0 damaged\n"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "0 s ago"), (59, "59 s ago"), (119, "119 s ago"), (120, "2 min ago"), (7200, "2 h ago"), (2e5, "2 days ago")],
)
def test_how_long_ago(seconds, words):
    assert terminal.ago((NOW - datetime.timedelta(seconds=seconds)).isoformat(), NOW) == words


def test_checking_prints_a_line_for_each_finding(folder, capsys):
    assert not status.check([folder])
    lines = capsys.readouterr().out.splitlines()
    (damaged,) = [line for line in lines if line.startswith("DAMAGED ")]
    assert damaged.startswith(f"DAMAGED {folder / 'spoiled'}: run.json is missing, cut short or damaged")
    assert lines[-1] == "7 runs checked, 1 damaged"
    assert status.check([folder / "failed1"])
    assert capsys.readouterr().out.splitlines()[-1] == "1 run checked, none damaged"
