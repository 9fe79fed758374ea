"""Many runs together: their states, what conditions choose, the table, and cells with names."""

import errno
import functools
import json
import os
import sys

import numpy as np
import pytest

from experiments import runs
from experiments.analysis.status import standing, table
from experiments.configuration.config import name_of
from experiments.presentation import tables
from experiments.runs.collection import EXPECTED, Runs, load
from experiments.runs.labelled import by_seat
from experiments.runs.record import game_name
from games.errors import TacitError
from marl.crossplay import CrossPlay

COEFFICIENT = "learner.entropy_coef"
GAMMA = "learner.gamma"


def digits(seats, shift=0):
    """A score that says who sat where: seats (3, 5) -> 35."""
    return shift + int("".join(map(str, seats)))


def by_name(loaded):
    return {record.path.name: record for record in loaded}


# ------------------------------------------------------------------------------------------------------------- loading


def test_the_state_of_each_run(synthetic_run, tmp_path):
    folder = tmp_path / "runs"
    for number, state in enumerate(["finished", "running", "killed", "interrupted", "failed"]):
        synthetic_run(folder, seeds=2, state=state, name=state, **{GAMMA: 0.1 * number})
    found = by_name(load(folder))
    assert {name: (record.state, record.reason) for name, record in found.items()} == {
        "finished": ("finished", ""),
        "running": ("running", ""),
        "killed": ("cut", "its process is gone"),
        "interrupted": ("cut", "stopped from outside"),
        "failed": ("failed", "the loss is not finite"),
    }
    assert found["finished"].steps == 64 and found["failed"].steps == 32
    by_default = json.loads((folder / "finished" / "run.json").read_text())["by_default"]
    assert found["finished"].name == name_of(found["finished"].science, by_default)
    assert found["finished"].command == "train"
    assert found["failed"].summaries == {}


def test_a_run_is_read_as_it_was_written(synthetic_run, tmp_path):
    path = synthetic_run(tmp_path / "runs", seeds=3, score=digits, **{COEFFICIENT: 0.25})
    (record,) = load(path)
    assert record.path == path
    assert record.science == json.loads((path / "run.json").read_text())["science"]
    assert record.keys[COEFFICIENT] == 0.25
    assert record.keys["game"] == "lever"
    assert record.keys["seeds"] == 3
    assert "format" not in record.keys
    assert record.metrics()["count"].shape == (10, 3)
    cells = record.crossplay()["greedy"]
    assert cells.mean.tolist() == [0, 1, 2, 10, 11, 12, 20, 21, 22]
    # Self-play 0, 11, 22; cross-play 1, 2, 10, 12, 20, 21.
    assert record.summaries["sampled"].self_play.mean == 11
    assert record.summaries["greedy"].cross_play.mean == 11
    assert record.summaries["greedy"].cross_play.low is None  # of three seeds


def test_what_is_loaded(synthetic_run, tmp_path):
    first = synthetic_run(tmp_path / "one", seeds=2, **{GAMMA: 0.1})
    second = synthetic_run(tmp_path / "two", seeds=2, **{GAMMA: 0.2})
    for beside in ("crossplay", "compare", "notes"):
        (tmp_path / "one" / beside / "0123456789ab").mkdir(parents=True)
    runs.write_json(tmp_path / "one" / "crossplay" / "0123456789ab" / "crossplay.json", {})
    (tmp_path / "one" / ".hidden").mkdir()
    (tmp_path / "one" / "table.csv").write_text("")
    (tmp_path / "one" / "0123456789ab").mkdir()  # about to be claimed
    assert [record.path for record in load(tmp_path / "one")] == [first]
    assert [record.path for record in load([tmp_path / "two", first, tmp_path / "one"])] == [second, first]
    with pytest.raises(TacitError, match=r"there is no folder .*three"):
        load(tmp_path / "three")
    with pytest.raises(TacitError, match=r"there is no run in .*notes"):
        load(tmp_path / "one" / "notes")
    with pytest.raises(TacitError, match=r"there is no run in .*crossplay"):
        load(tmp_path / "one" / "crossplay")


def test_a_run_directory_that_is_the_working_directory(synthetic_run, tmp_path, monkeypatch):
    path = synthetic_run(tmp_path / "runs", seeds=2)
    monkeypatch.chdir(path)
    assert load(".")[0].path.name == path.name


@pytest.mark.parametrize("name", EXPECTED["train"])
def test_a_finished_run_that_lacks_a_file_is_damaged(synthetic_run, tmp_path, name):
    path = synthetic_run(tmp_path / "runs", seeds=2)
    (path / name).unlink()
    (record,) = load(path.parent)
    assert (record.state, record.reason) == ("damaged", f"it is finished, and {name} is missing")
    assert record.summaries == {}


def spoil(path, name, change):
    plain = json.loads((path / name).read_text())
    change(plain)
    (path / name).write_text(json.dumps(plain))


@pytest.mark.parametrize(
    ("spoiled", "reason"),
    [
        (lambda path: (path / "run.json").write_text("{"), "run.json is missing, cut short or damaged"),
        (lambda path: (path / "run.json").unlink(), "run.json is missing, cut short or damaged"),
        (lambda path: (path / "status.json").unlink(), "status.json is missing"),
        (lambda path: (path / "status.json").write_text("{}"), "status.json is damaged: it does not say"),
        (lambda path: (path / "crossplay.json").write_text("{}"), "crossplay.json is not a cross-play result"),
        (lambda path: spoil(path, "run.json", lambda it: it.update(format=2)), "run.json has the newer format 2, and"),
        (lambda path: spoil(path, "run.json", lambda it: it.update(format=0)), "run.json has the older format 0, and"),
        (lambda path: spoil(path, "run.json", lambda it: it.pop("science")), "run.json is damaged: it does not say sc"),
        (
            lambda path: spoil(path, "crossplay.json", lambda it: it["greedy"]["mean"].pop()),
            "crossplay.json is damaged: its greedy cells do not make sense",
        ),
        (
            lambda path: spoil(path, "status.json", lambda it: it.update(state="tired")),
            "the state in status.json must be one of finished, running, cut, failed, not 'tired'",
        ),
        (
            lambda path: spoil(path, "crossplay.json", lambda it: it["greedy"]["mean"].__setitem__(0, [1])),
            "crossplay.json is not a cross-play result",
        ),
        (
            lambda path: spoil(path, "crossplay.json", lambda it: it["greedy"].update(mean=None)),
            "crossplay.json is damaged: its greedy cells are no numbers",
        ),
        (
            lambda path: spoil(path, "status.json", lambda it: it.update(steps=None)),
            "status.json is damaged: its steps must be a whole number, not None",
        ),
        (
            lambda path: spoil(path, "status.json", lambda it: it.update(reason=None)),
            "status.json is damaged: its reason must be a text, not None",
        ),
        (
            lambda path: spoil(path, "status.json", lambda it: it.update(updated="yesterday")),
            "status.json is damaged: updated must be a time with its zone in ISO 8601, not 'yesterday'",
        ),
        (
            lambda path: spoil(path, "status.json", lambda it: it.update(updated="2024-01-01T00:00:00")),
            "status.json is damaged: updated must be a time with its zone in ISO 8601",
        ),
        (
            lambda path: spoil(path, "run.json", lambda it: it["science"].update(game="oops")),
            "run.json is damaged: its game must be an object, not 'oops'",
        ),
        (
            lambda path: spoil(path, "run.json", lambda it: it["science"]["game"].pop("version")),
            "run.json is damaged: game.version must be a text, not None",
        ),
        (
            lambda path: spoil(path, "run.json", lambda it: it["science"].update(seeds="2")),
            "run.json is damaged: its seeds must be a whole number, not '2'",
        ),
        (
            lambda path: spoil(path, "run.json", lambda it: it["science"].update(command=["train"])),
            "run.json is damaged: its command must be a text, not ['train']",
        ),
        (
            lambda path: spoil(path, "run.json", lambda it: it.update(versions=None)),
            "run.json is damaged: its versions must be an object, not None",
        ),
    ],
)
def test_damage_is_a_state_with_its_reason(synthetic_run, tmp_path, spoiled, reason):
    path = synthetic_run(tmp_path / "runs", seeds=2)
    spoiled(path)
    (record,) = load(path.parent)
    assert record.state == "damaged"
    assert record.reason.startswith(reason)
    assert str(path) not in record.reason
    tables.show([table(standing(load(path.parent))["unfinished"])])  # whatever is wrong can be shown


def test_other_commands_lack_groups_that_a_training_has(synthetic_run, tmp_path):
    path = synthetic_run(tmp_path / "runs", seeds=2)
    (path / "adaptive.json").write_text("{}")
    spoil(path, "run.json", lambda it: it.update(science={"command": "adaptive", "game": None, "format": 1}))
    (record,) = load(path.parent)
    assert (record.state, record.keys["game"]) == ("finished", "")


def test_a_directory_that_cannot_be_listed_is_one_damaged_run(synthetic_run, tmp_path, unreadable):
    for number, name in enumerate(("locked", "open")):
        synthetic_run(tmp_path / "runs", seeds=2, name=name, **{GAMMA: 0.1 * number})
    (tmp_path / "runs" / "sweeps").mkdir()
    unreadable(tmp_path / "runs" / "locked", tmp_path / "runs" / "sweeps")
    found = [(record.path.name, record.state, record.reason) for record in load(tmp_path / "runs")]
    assert found == [("locked", "damaged", "the directory cannot be read"), ("open", "finished", "")]
    unreadable(tmp_path / "runs")
    with pytest.raises(TacitError, match=r"runs cannot be read: Permission denied"):
        load(tmp_path / "runs")


def test_a_directory_that_can_be_listed_but_not_entered_is_one_damaged_run(synthetic_run, tmp_path, monkeypatch):
    for number, name in enumerate(("locked", "open")):
        synthetic_run(tmp_path / "runs", seeds=2, name=name, **{GAMMA: 0.1 * number})
    stat = os.stat

    def refusing(path, **more):
        if "locked/" in os.fspath(path):
            raise PermissionError(errno.EACCES, "Permission denied")
        return stat(path, **more)

    monkeypatch.setattr(os, "stat", refusing)
    found = [(record.path.name, record.state, record.reason) for record in load(tmp_path / "runs")]
    assert found == [
        ("locked", "damaged", "the directory cannot be read: Permission denied"),
        ("open", "finished", ""),
    ]


def test_a_run_that_has_just_begun_says_nothing_of_itself_yet(synthetic_run, tmp_path):
    for state in ("running", "killed"):
        (synthetic_run(tmp_path / "runs", seeds=2, state=state, name=state) / "run.json").unlink()
    assert [(record.path.name, record.state) for record in load(tmp_path / "runs")] == [
        ("killed", "cut"),
        ("running", "running"),
    ]


def test_the_short_name_of_a_game():
    assert game_name({"_target_": "games.hanabi.make", "preset": "Hanabi-Small", "players": 2}) == "hanabi_small"
    assert game_name({"_target_": "games.hanabi.make", "preset": "Hanabi-Full", "colors": 3}) == "hanabi"
    assert game_name({"_target_": "games.tabular.library.lever.make", "players": 2}) == "lever"
    assert game_name({"_target_": "games.tabular.library.file.make", "file": "../mine/box.dpomdp"}) == "box"
    assert game_name({"_target_": "mine.games.Signals"}) == "Signals"
    assert game_name({}) == ""


# ------------------------------------------------------------------------------------------------------------ choosing


@pytest.fixture(scope="module")
def grid(synthetic_run, tmp_path_factory):
    """Two coefficients × two discounts, three seeds, and one run that failed."""
    folder = tmp_path_factory.mktemp("grid")
    for coefficient in (0.5, 1.0):
        for gamma in (0.25, 0.75):
            score = functools.partial(digits, shift=1000 * coefficient + 100 * gamma)
            synthetic_run(folder, seeds=3, score=score, **{COEFFICIENT: coefficient, GAMMA: gamma})
    synthetic_run(folder, seeds=3, state="failed", **{COEFFICIENT: 2.0, "policy.torso": [8, 4]})
    return folder


@pytest.mark.parametrize(
    ("conditions", "number"),
    [
        ([], 5),
        (["entropy_coef=0.5"], 2),
        (["learner.entropy_coef=5e-1"], 2),
        (["entropy_coef=1"], 2),
        (["entropy_coef=1", "gamma=0.75"], 1),
        (["entropy_coef=0.7"], 0),
        (["game=lever"], 5),
        (["game=LEVER"], 5),
        (["game=le_ver"], 0),  # which no command takes for lever
        (["game=hanabi"], 0),
        (["game=games.tabular.library.lever.make"], 5),
        (["game=games.tabular.library.lever"], 0),
        (["torso=[8,4]"], 1),
        (["share_parameters=true"], 5),
        (["activation=relu"], 5),
        (["observer=null"], 5),
        (["policy=feed_forward"], 5),
        (["policy=feed-forward", "learner=ippo"], 5),
        (["policy=FeedForward", "learner=IPPO"], 5),
        (["policy=marl.policies.feed_forward.FeedForward"], 5),
        (["policy=recurrent"], 0),
        (["learner=mappo"], 0),
    ],
)
def test_conditions(grid, conditions, number):
    chosen = load(grid).where(*conditions)
    assert isinstance(chosen, Runs)
    assert len(chosen) == number


def test_conditions_in_error(grid):
    loaded = load(grid)
    with pytest.raises(TacitError, match="a condition is KEY=VALUE, such as game=hanabi_small, not 'lever'"):
        loaded.where("lever")
    with pytest.raises(
        TacitError, match=r"none of the 5 runs has a key 'entropy_koef'; did you mean 'learner.entropy_"
    ):
        loaded.where("entropy_koef=1")
    with pytest.raises(TacitError, match=r"none of the 5 runs has a key 'budget.steps'; did you mean 'steps'\?"):
        loaded.where("budget.steps=64")
    with pytest.raises(TacitError, match=r"'_target_' may be game._target_ or learner._target_ or policy._target_"):
        loaded.where("_target_=x")


def test_conditions_as_keywords(grid):
    loaded = load(grid)
    assert len(loaded.where(gamma=0.75, entropy_coef=1)) == len(loaded.where("gamma=0.75", "entropy_coef=1")) == 1
    assert len(loaded.where("game=lever", observer=None, torso=[8, 4])) == 1
    assert len(loaded.where(share_parameters=True)) == len(loaded.where(**{"learner._target_": "IPPO"})) == 5
    assert [len(loaded.where(command=name)) for name in ("train", "phase")] == [5, 0]
    assert len(loaded.where("entropy_coef=0.7").where("gamma=0.75")) == 0  # of no run at all
    with pytest.raises(TacitError, match="a condition's value is a number, a word or a list of them, not <object"):
        loaded.where(gamma=object())
    with pytest.raises(TacitError, match="a condition is KEY=VALUE, such as game=hanabi_small, not 3"):
        loaded.where(3)


def test_a_run_by_the_beginning_of_its_name(grid):
    loaded = load(grid)
    for record in loaded:
        assert loaded[record.name] is loaded[record.name[:8]] is record
    with pytest.raises(TacitError, match=r"5 runs have names that begin with '': .*, "):
        loaded[""]
    with pytest.raises(TacitError, match=r"none of the 5 runs has a name that begins with 'xyz': .*/"):
        loaded["xyz"]
    with pytest.raises(TacitError, match="none of the 0 runs has a name that begins with 'xyz': there is no run"):
        loaded[:0]["xyz"]


def test_runs_of_each_game_and_sums_of_runs(grid, synthetic_run, tmp_path):
    other = load(synthetic_run(tmp_path, seeds=2, **{"game.mismatch": 0.5}))
    both = load(grid) + other
    assert [len(one) for one in both.by_game()] == [5, 1]
    with pytest.raises(TypeError):
        _ = both + other[0].path


def test_a_folder_that_may_be_missing(tmp_path):
    for folder in (tmp_path / "none", tmp_path):
        found = load(folder, missing_ok=True)
        assert (len(found), found.by_game(), len(found.where("game=lever").finished())) == (0, [], 0)
        with pytest.raises(TacitError, match="there is no "):
            load(folder)


def test_what_runs_differ_in(grid):
    loaded = load(grid)
    assert loaded.finished().varying() == [COEFFICIENT, GAMMA]
    assert loaded.varying() == [COEFFICIENT, GAMMA, "policy.torso"]
    assert loaded.where("gamma=0.25").varying() == [COEFFICIENT]
    assert loaded[:1].varying() == []


def test_keys_that_follow_from_others(grid):
    loaded = load(grid)
    assert loaded.determining_keys() == {COEFFICIENT: ["policy.torso"], GAMMA: []}  # 0.5 and 1: [8], 2: [8, 4]
    assert loaded.determining_keys([GAMMA, "policy.torso"]) == {GAMMA: ["policy.torso"]}
    assert loaded.determining_keys(["policy.torso", "seeds"]) == {"policy.torso": ["seeds"]}
    assert loaded[:1].determining_keys() == {}
    assert loaded.determines(COEFFICIENT, "policy.torso")
    assert not loaded.determines("policy.torso", COEFFICIENT)
    assert not loaded.determines(COEFFICIENT, GAMMA)


# --------------------------------------------------------------------------------------------------------- table, cells


def test_the_table(grid):
    table = load(grid).table()
    assert len(table) == 5
    rows = table.set_index("state").loc["finished"].set_index([COEFFICIENT, GAMMA])
    # Cells 0 to 22 on top of 1000 · coefficient + 100 · gamma: both self-play and cross-play are 11 on average.
    assert rows["sampled_sp"].to_dict() == {
        (0.5, 0.25): 536.0,
        (0.5, 0.75): 586.0,
        (1.0, 0.25): 1036.0,
        (1.0, 0.75): 1086.0,
    }
    assert rows["greedy_gap"].abs().max() < 1e-9
    assert rows["greedy_xp_low"].isna().all()  # of three seeds
    assert set(rows["seeds"]) == {3} and set(rows["steps"]) == {64} and set(rows["steps_done"]) == {64}
    failed = table[table["state"] == "failed"].iloc[0]
    assert failed["reason"] == "the loss is not finite"
    assert np.isnan(failed["sampled_sp"])
    assert os.path.isdir(failed["path"])


def test_intervals_of_enough_seeds(synthetic_run, tmp_path):
    path = synthetic_run(tmp_path / "runs", seeds=8)
    (row,) = load(path).table().to_dict("records")
    assert row["sampled_xp_low"] < row["sampled_xp"] < row["sampled_xp_high"]
    assert row["sampled_gap"] == pytest.approx(row["sampled_sp"] - row["sampled_xp"])


@pytest.mark.slow
def test_cells_have_names(grid):
    cells = load(grid).finished().crossplay("greedy")
    assert cells["score"].dims == ("entropy_coef", "gamma", "seed", "partner_seed", "seat")
    assert cells.sizes == {"entropy_coef": 2, "gamma": 2, "seed": 3, "partner_seed": 3, "seat": 2}
    one = cells["score"].sel(entropy_coef=1.0, gamma=0.75)
    for seed in range(3):
        for partner in range(3):
            assert one.sel(seed=seed, partner_seed=partner, seat=0) == 1075 + 10 * seed + partner
            assert one.sel(seed=seed, partner_seed=partner, seat=1) == 1075 + 10 * partner + seed
    assert cells["games"].to_numpy().min() == cells["games"].to_numpy().max() == 100
    assert cells.attrs["play"] == "greedy"


def test_cells_that_were_not_played_are_nan(grid, synthetic_run, tmp_path):
    cells = load(grid).finished()
    lacking = Runs(record for record in cells if (record.keys[COEFFICIENT], record.keys[GAMMA]) != (0.5, 0.75))
    score = lacking.crossplay()["score"]
    assert score.sizes["entropy_coef"] == score.sizes["gamma"] == 2
    assert np.isnan(score.sel(entropy_coef=0.5, gamma=0.75)).all()
    assert not np.isnan(score.sel(entropy_coef=0.5, gamma=0.25)).any()


def test_keys_that_change_together_are_one_dimension(synthetic_run, tmp_path):
    for coefficient, gamma, torso in ((0.1, 0.5, [4]), (0.2, 0.6, [8]), (0.3, 0.6, [8])):
        synthetic_run(tmp_path / "runs", seeds=2, **{COEFFICIENT: coefficient, GAMMA: gamma, "policy.torso": torso})
    cells = load(tmp_path / "runs").crossplay()
    assert cells["score"].dims == ("entropy_coef", "seed", "partner_seed", "seat")
    assert cells["gamma"].dims == cells["torso"].dims == ("entropy_coef",)
    assert cells["gamma"].values.tolist() == [0.5, 0.6, 0.6]
    assert cells["torso"].values.tolist() == ["[4]", "[8]", "[8]"]


def test_seeds_bear_their_numbers(synthetic_run, tmp_path):
    synthetic_run(tmp_path / "runs", seeds=2, score=digits, first_seed=8)
    cells = load(tmp_path / "runs").crossplay()
    assert cells["score"].dims == ("seed", "partner_seed", "seat")
    assert cells["seed"].values.tolist() == cells["partner_seed"].values.tolist() == [8, 9]


def test_more_than_two_players_have_seeds_in_seats(synthetic_run, tmp_path):
    for coefficient in (0.1, 0.2):
        synthetic_run(tmp_path / "runs", seeds=3, players=3, score=digits, first_seed=8, **{COEFFICIENT: coefficient})
    cells = load(tmp_path / "runs").crossplay()
    assert cells["score"].dims == ("entropy_coef", "seed", "seat")
    one = cells.sel(entropy_coef=0.2)
    assert one["seed"].values.tolist() == [8, 9, 10]
    # Seed 8 in seat 0 plays in (0, 1, 2) and (0, 2, 1): the mean of 12 and 21.
    assert one["score"].values.tolist() == [[16.5, 151.5, 165], [111, 111, 111], [205.5, 70.5, 57]]
    assert one["self_play"].dims == ("seed",) and one["self_play"].values.tolist() == [0, 111, 222]
    assert (one["games"] == 200).all()


def test_cells_of_a_seed_in_a_seat_share_their_decks():
    seats = np.array([[0, 0, 0], [0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 0, 0]])
    scores = np.array([[7, 7], [0, 2], [2, 4], [1, 3], [9, 9]], np.float32)
    cells = CrossPlay(
        ("0", "1", "2"), seats, scores.mean(axis=1), np.ones(5), np.full(5, 2), np.arange(5), np.full(5, 3.0), scores
    )
    found = by_seat(cells)
    nan = np.nan
    # The games of (0, 1, 2) and (0, 2, 1) are 1 and 3 on average over the decks. (1, 0, 0) holds seed 0 twice.
    np.testing.assert_array_equal(found["score"], [[2, 2, nan], [5.5, 1, 3], [nan, 3, 1.5]])
    np.testing.assert_array_equal(found["standard_error"][0], [1, 1, nan])
    np.testing.assert_array_equal(found["games"], [[4, 2, nan], [4, 2, 2], [nan, 2, 4]])
    np.testing.assert_array_equal(found["bombed"], [[3, 3, nan], [7, 1, 2], [nan, 2, 4]])
    np.testing.assert_array_equal(found["length"][1], [3, 3, 3])
    np.testing.assert_array_equal(found["self_play"], [7, nan, nan])
    unkept = by_seat(cells._replace(scores=None))["standard_error"]
    np.testing.assert_array_equal(unkept, [[nan, 1, nan], [nan, 1, 1], [nan, 1, nan]])


def test_cells_that_have_no_common_names(synthetic_run, grid, tmp_path):
    loaded = load(grid)
    with pytest.raises(TacitError, match=r"crossplay\(\) needs finished training runs, and .* is failed"):
        loaded.crossplay()
    with pytest.raises(TacitError, match="play must be one of sampled, greedy, not 'gready'"):
        loaded.crossplay("gready")
    with pytest.raises(TacitError, match="there is no run whose cross-play"):
        Runs([]).crossplay()
    with pytest.raises(TacitError, match="are one configuration: give one of them"):
        Runs([*loaded.finished(), loaded.finished()[0]]).crossplay()
    synthetic_run(tmp_path / "runs", seeds=4)
    with pytest.raises(TacitError, match="are of 3 seeds, 2 players and of 4 seeds, 2 players"):
        load([grid, tmp_path / "runs"]).finished().crossplay()


@pytest.mark.parametrize(("library", "method"), [("pandas", "table"), ("xarray", "crossplay")])
def test_a_missing_library_is_named_with_its_extra(grid, monkeypatch, library, method):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(TacitError, match=rf"{method}\(\) needs {library}: pip install 'tacit\[analysis\]'"):
        getattr(load(grid).finished(), method)()


def test_a_link_to_nowhere_is_passed_over(synthetic_run, tmp_path):
    path = synthetic_run(tmp_path / "runs", seeds=2)
    (path.parent / "0123456789ab").symlink_to(tmp_path / "gone")
    assert [record.path for record in load(path.parent)] == [path]
