"""Notebooks run from top to bottom at tiny size."""

from pathlib import Path

import pytest

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


@pytest.mark.slow
def test_the_notebook_of_structures_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    source = (NOTEBOOKS / "structure.py").read_text()
    assert source.count("\nstructure_figures.") == 6
    first, parameters, *cells = source.split("\n# %%")[1:]
    assert first.startswith(" [markdown]") and parameters.startswith(' tags=["parameters"]')
    tiny = {
        "size": ["starts=2", "restarts=2", "method=self-play,other-play"],
        "table": ["game=task_claiming,silos", "structure=none,isolation"],
        "agents": ["game.agents=2"],
        "penalties": ["penalty=0.5"],
    }
    assert all(f"\n{name} = [" in parameters for name in tiny)
    exec(compile("\n# %%".join(["", *cells]), "structure", "exec"), tiny)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 3
    assert said[1].split() == ["self-play", "1.00", "1.00", "1.000", "0.250"]
    # 2 games with 2 structures, 1 of another size, 2 of overlapping edits, and 2 soft ones
    assert len(list((tmp_path / "runs").iterdir())) == 9
