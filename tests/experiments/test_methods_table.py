"""`tacit methods`: names, tables, tests and the figure, on tiny runs and on made-up cells."""

import itertools
import json

import numpy as np
import pytest

from experiments import methods, runs
from experiments.config import CrossPlayConfig, JobConfig
from experiments.job import run_job
from games.errors import TacitError

GAME = {"_target_": "games.hanabi.make", "preset": "Hanabi-2x3", "colors": 1, "ranks": 2, "max_life_tokens": 1}
POLICY = {"_target_": "marl.policies.feed_forward.FeedForward", "torso": [8]}
IPPO = {"_target_": "marl.learners.ippo.IPPO", "num_games": 8, "rollout_length": 8, "epochs": 1, "minibatches": 1}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two runs of six seeds, hardly trained."""
    folder = tmp_path_factory.mktemp("runs")
    job = {
        "game": GAME, "policy": POLICY, "learner": IPPO | {"entropy_coef": [0.01, 0.1]}, "seeds": 6,
        "budget": {"steps": 64}, "crossplay": {"games": 2},
        "execution": {"output": str(folder), "evaluations": 0, "progress": False},
    }  # fmt: skip
    return run_job(JobConfig.parse(job))


def science(target="marl.learners.ippo.IPPO", steps=100, **learner):
    return {"policy": {}, "learner": {"_target_": target, **learner}, "steps": steps}


def test_runs_are_called_after_their_learner_and_what_they_differ_in():
    found = methods.names(
        [
            science(entropy_coef=0.002, gamma=1.0),
            science(entropy_coef=0.07, gamma=1.0),
            science(entropy_coef=0.002, gamma=1.0, other_play=True),
            science("marl.learners.off_belief.OffBelief", levels=2),
            science("my.own.Learner"),
            science("my.own.Learner"),
            science("marl.learners.magrpo.MAGRPO", advantage_normaliser="none"),
            science("marl.learners.magrpo.MAGRPO", advantage_normaliser="group_std"),
        ]
    )
    assert found == [
        "IPPO, entropy coef 0.002", "IPPO, entropy coef 0.07", "Other-Play", "OBL level 2",
        "Learner (1)", "Learner (2)", "MAGRPO, none", "MAGRPO, group_std",
    ]  # fmt: skip


def test_names_can_be_given(trained, tmp_path):
    low, high = trained
    odd = tmp_path / "a=b"
    odd.mkdir()
    (odd / "run.json").write_text("{}")
    assert methods.named([f"low={low}", str(high), str(odd)]) == [("low", low), ("", high), ("", odd)]
    with pytest.raises(TacitError, match="there is no run among"):
        methods.named([str(tmp_path / "compare")])


@pytest.mark.slow
def test_every_method_plays_with_every_other(trained, tmp_path, capsys):
    low, high = trained
    table = methods.methods_table(
        [("low", low), ("", high)], CrossPlayConfig(games=4), tmp_path / "out", with_partners="iggi,uniform"
    )
    assert table.method_of_agent == ("low",) * 6 + ("IPPO, entropy coef 0.1",) * 6 + ("iggi", "uniform")
    for found in table.blocks.values():
        assert found.methods == ("low", "IPPO, entropy coef 0.1", "iggi", "uniform")
        means = found.means()
        assert np.isfinite(means[~np.eye(4, dtype=bool)]).all()
        assert np.isnan(means[2, 2])  # one agent has no cross-play of its own
        assert found.cross_play[0][1].low is not None
    greedy = table.results["greedy"]
    played = np.asarray(greedy.seatings)
    assert len(played) == 14**2
    # The block of the two methods is the mean of its cells.
    block = (played[:, 0] < 6) & (played[:, 1] >= 6) & (played[:, 1] < 12)
    one_way = table.blocks["greedy"].cross_play[0][1].mean
    assert one_way == pytest.approx(float(greedy.mean[block].mean()), abs=1e-12)
    turned = (played[:, 1] < 6) & (played[:, 0] >= 6) & (played[:, 0] < 12)
    assert table.blocks["greedy"].means()[0, 1] == pytest.approx(float(greedy.mean[block | turned].mean()), abs=1e-12)
    # Partners have no seeds, so they are not compared.
    assert list(table.comparisons["greedy"]) == ["seeds", "disjoint pairs"]
    for tested in table.comparisons["greedy"].values():
        assert [(one.first, one.second) for one in tested] == [("low", "IPPO, entropy coef 0.1")]
    written = (tmp_path / "out" / "table.md").read_text()
    assert "| low | " in written
    assert "### Greedy play" in written
    assert (tmp_path / "out" / "methods.png").stat().st_size > 10_000
    plain = json.loads((tmp_path / "out" / "table.json").read_text())
    assert plain["settings"]["with"] == ["iggi", "uniform"]
    for test, (one,) in table.comparisons["greedy"].items():
        assert plain["greedy"]["comparisons"][test][0]["verdict"] == one.verdict
    assert runs.read_crossplay(tmp_path / "out")["greedy"].labels == greedy.labels
    from experiments import terminal

    terminal.show_methods(table)
    shown = capsys.readouterr().out
    assert "greedy play (best 2)" in shown
    assert "by disjoint pairs" in shown
    assert f"tables and figure in {tmp_path / 'out'}" in shown


def test_one_name_for_two_runs_is_refused(trained):
    with pytest.raises(TacitError, match="two methods are called low"):
        methods.methods_table([("low", path) for path in trained], CrossPlayConfig(games=1))


def test_agents_of_one_method_meet_by_the_seating_and_those_of_two_one_against_copies():
    config = CrossPlayConfig(seating="all")
    two = methods.cells([2, 1], 2, config).tolist()
    assert sorted(two) == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2], [2, 0], [2, 1], [2, 2]]
    three = {tuple(row) for row in methods.cells([3, 1], 3, config).tolist()}
    own = {row for row in three if 3 not in row}
    assert own == {(0, 0, 0), (1, 1, 1), (2, 2, 2), *itertools.permutations(range(3))}
    mixed = three - own - {(3, 3, 3)}
    assert {row for row in mixed if row.count(3) == 2} == {
        tuple(one if seat == s else 3 for s in range(3)) for one in range(3) for seat in range(3)
    }
    assert {row for row in mixed if row.count(3) == 1} == {
        tuple(3 if seat == s else one for s in range(3)) for one in range(3) for seat in range(3)
    }


@pytest.mark.slow
def test_seeds_that_cannot_be_paired_leave_the_rest_of_the_table(trained, tmp_path):
    low, _ = trained
    job = {
        "game": GAME, "policy": POLICY, "learner": IPPO | {"entropy_coef": 0.2}, "seeds": 1, "budget": {"steps": 64},
        "crossplay": {"games": 1}, "execution": {"output": str(tmp_path), "evaluations": 0, "progress": False},
    }  # fmt: skip
    (alone,) = run_job(JobConfig.parse(job))
    table = methods.methods_table([("low", low), ("alone", alone)], CrossPlayConfig(games=2), tmp_path / "out")
    (paired,) = table.comparisons["greedy"]["disjoint pairs"]
    assert paired.p is None
    assert "as many seeds of either method, not 6 and 1" in paired.verdict
    both = table.blocks["greedy"].together
    assert both[0][1] == both[1][0]
    assert both[0][1].se is not None
    assert "| low | " in (tmp_path / "out" / "table.md").read_text()
