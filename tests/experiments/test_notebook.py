"""Notebooks run from top to bottom at tiny size."""

from pathlib import Path

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def test_the_notebook_runs(tiny_overrides, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    source = (NOTEBOOKS / "cross_play.py").read_text()
    parameters = 'overrides = ["experiment=demo"]'
    assert parameters in source
    tiny = [*tiny_overrides, "learner.entropy_coef=[0.01,0.1]"]
    exec(compile(source.replace(parameters, f"overrides = {tiny}"), "cross_play", "exec"), {})
    said = capsys.readouterr().out
    assert said.count("| 0.01 |") == 1
    assert "player 0 to move" in said
    assert len(list((tmp_path / "runs").iterdir())) == 2
