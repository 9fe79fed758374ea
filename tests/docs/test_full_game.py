"""The stages of the full game: each goes on from the files of the one before, and the curves are joined."""

import pytest

from docs import full_game, results
from docs.records import Records
from experiments import runs
from experiments.launching import compose


@pytest.fixture
def two_stages(monkeypatch):
    monkeypatch.setattr(full_game, "STAGES", (1000, 500))
    monkeypatch.setattr(full_game, "COEFFICIENTS", (0.01, 0.1))


def test_a_stage_begins_with_the_policies_of_the_one_before(two_stages, tmp_path):
    found = full_game.pieces()
    assert found["full_game_1"].commands(Records(tmp_path)) == [
        "train experiment=full_game learner.entropy_coef=0.01 budget.steps=3000000 game=hanabi_3x5 "
        "execution.output=smaller_0.01",
        "train experiment=full_game learner.entropy_coef=0.01 budget.steps=1000 initial_policies=smaller_0.01",
        "train experiment=full_game learner.entropy_coef=0.1 budget.steps=3000000 game=hanabi_3x5 "
        "execution.output=smaller_0.1",
        "train experiment=full_game learner.entropy_coef=0.1 budget.steps=1000 initial_policies=smaller_0.1",
    ]
    assert found["full_game_2"].commands(Records(tmp_path))[1] == (
        "train experiment=full_game learner.entropy_coef=0.1 budget.steps=500 "
        "initial_policies=../../../../results/zoo/full_game_1_0.1.safetensors"
    )


def test_the_zoo_has_the_policies_of_the_last_two_stages_that_were_run():
    records = Records(results.RECORDS)
    done = sum(records.read(name) is not None for name in full_game.pieces())
    stages = [number for number in (done - 1, done) if number > 0]
    kept = [full_game.kept(coefficient, number) for coefficient in full_game.COEFFICIENTS for number in stages]
    files = sorted(full_game.ZOO.glob("*.safetensors"))
    assert [file.name for file in files] == sorted(kept)
    assert sum(file.stat().st_size for file in files) < 10_000_000


def test_curves_of_stages_are_joined(two_stages, tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(full_game, "save_figure", lambda figure, name: drawn.update({name: figure}))
    records = Records(tmp_path)
    full_game.draw_full_game(records)
    assert not drawn
    for number, steps in ((1, [500, 1000]), (2, [1250, 1500])):
        curve = {"steps": steps, "self_play": [1.0, 2.0], "cross_play": [number, number + 0.5]}
        numbers = [{"entropy_coef": one, "curve": curve} for one in (0.01, 0.1)]
        runs.write_json(records.file(f"full_game_{number}"), {"numbers": numbers})
    full_game.draw_full_game(records)
    axis = drawn["full_game"].axes[0]
    lines = {line.get_label(): line for line in axis.lines}
    assert lines["0.1"].get_xdata().tolist() == [500, 1000, 1250, 1500]
    assert lines["0.1"].get_ydata().tolist() == [1, 1.5, 2, 2.5]
    assert [1000, 1000] in [list(line.get_xdata()) for line in axis.lines]  # where the optimiser was fresh again
    assert axis.get_xscale() == "log"


def test_the_settings_are_those_of_few_steps_with_wider_layers():
    (few, full) = (compose.compose([f"experiment={name}", "game=hanabi"]) for name in ("few_steps", "full_game"))
    changed = {key for key in few["learner"] if few["learner"][key] != full["learner"][key]}
    assert changed == {"anneal", "learning_rate"}
    assert full["policy"] == few["policy"] | {"torso": [128, 128]}
