"""`tacit methods`: names, tables, tests and the figure, on tiny runs and on made-up cells."""

import itertools
import json

import numpy as np
import pytest

from experiments import runs
from experiments.analysis import methods
from experiments.configuration.config import CrossPlayConfig
from experiments.presentation import tables
from games.errors import TacitError
from marl.crossplay import CrossPlay

GAME = {"_target_": "games.hanabi.make", "preset": "Hanabi-2x3", "colors": 1, "ranks": 2, "max_life_tokens": 1}
POLICY = {"_target_": "marl.policies.feed_forward.FeedForward", "torso": [8]}


@pytest.fixture(scope="module")
def made(make_run):
    """made(folder, …) -> a run of six seeds that learned nothing."""
    return lambda folder, **changes: make_run(folder, {"game": GAME, "policy": POLICY, "seeds": 6, **changes})


@pytest.fixture(scope="module")
def trained(made, tmp_path_factory):
    """Two of them, which differ in their learners."""
    folder = tmp_path_factory.mktemp("runs")
    return [made(folder, **{"learner.entropy_coef": coefficient}) for coefficient in (0.01, 0.1)]


def invented(game, agents, config, seating):
    """What `cross_play_both` returns, but that nobody plays."""
    generator = np.random.default_rng(0)

    def scores():
        mean = 2.0 * generator.integers(0, 2, len(seating))  # so far apart that intervals would end beyond the scores
        return CrossPlay(
            labels=tuple(agent.label for agent in agents),
            seatings=seating,
            mean=mean,
            standard_error=np.full(len(seating), 0.01),
            games=np.full(len(seating), config.games),
            bombed=np.zeros(len(seating), np.int64),
            length=np.full(len(seating), 2.0),
        )

    return {"sampled": scores(), "greedy": scores()}


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
            science("marl.learners.mappo.MAPPO", critic_sees="everybody"),
            science("marl.learners.mappo.MAPPO", critic_sees="own"),
        ]
    )
    assert found == [
        "IPPO, entropy coef 0.002", "IPPO, entropy coef 0.07", "Other-Play", "OBL level 2",
        "Learner (1)", "Learner (2)", "MAGRPO, none", "MAGRPO, group_std",
        "MAPPO", "IPPO, separate critic",
    ]  # fmt: skip


def test_runs_are_called_after_the_policies_that_they_began_with():
    found = methods.names([science(), science() | {"initial_policies": "0123456789ab"}])
    assert found == ["IPPO, fresh", "IPPO, begun with 0123456789ab"]


@pytest.mark.slow
def test_names_can_be_given(trained, tmp_path):
    low, high = trained
    odd = tmp_path / "a=b"
    odd.mkdir()
    (odd / "run.json").write_text("{}")
    assert methods.named([f"low={low}", str(high), str(odd)]) == [("low", low), ("", high), ("", odd)]
    assert methods.named([str(low.parent)]) == [("", run) for run in sorted({low, high})]
    with pytest.raises(TacitError, match=r"both is the name of one method, and .* is a folder of 2 runs"):
        methods.named([f"both={low.parent}"])
    with pytest.raises(TacitError, match="there is no run in"):
        methods.named([str(tmp_path / "compare")])


@pytest.mark.slow
@pytest.mark.parametrize("play", ["invented", pytest.param("played", marks=pytest.mark.proof)])
def test_every_method_plays_with_every_other(trained, tmp_path, capsys, monkeypatch, play):
    """Nine combinations of kinds of agents take minutes to compile; the next test plays with one."""
    if play == "invented":
        monkeypatch.setattr(methods, "cross_play_both", invented)
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
        estimates = [*found.self_play, *itertools.chain(*found.cross_play, *found.together)]
        ends = [end for one in estimates for end in (one.low, one.high) if end is not None]
        assert min(ends) >= 0 and max(ends) <= 2
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
    assert written.count("Greedy play of all but iggi, uniform, whose draws are their play.") == 1
    assert (tmp_path / "out" / "methods.png").stat().st_size > 10_000
    plain = json.loads((tmp_path / "out" / "table.json").read_text())
    assert plain["settings"]["with"] == ["iggi", "uniform"]
    for test, (one,) in table.comparisons["greedy"].items():
        assert plain["greedy"]["comparisons"][test][0]["verdict"] == one.verdict
    assert runs.read_crossplay(tmp_path / "out")["greedy"].labels == greedy.labels
    tables.show(methods.shown(table))
    shown = capsys.readouterr().out
    assert "greedy play (possible scores 0 to 2)" in shown
    assert "p, disjoint pairs" in shown
    assert shown.count("greedy play of all but iggi, uniform, whose draws are their play") == 1


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
def test_seeds_that_cannot_be_paired_leave_the_rest_of_the_table(trained, made, tmp_path):
    low, _ = trained
    alone = made(tmp_path, seeds=1, **{"learner.entropy_coef": 0.2})
    table = methods.methods_table([("low", low), ("alone", alone)], CrossPlayConfig(games=2), tmp_path / "out")
    (paired,) = table.comparisons["greedy"]["disjoint pairs"]
    assert paired.p is None
    assert "as many seeds of either method, not 6 and 1" in paired.verdict
    both = table.blocks["greedy"].together
    assert both[0][1] == both[1][0]
    assert both[0][1].se is not None
    assert "| low | " in (tmp_path / "out" / "table.md").read_text()
