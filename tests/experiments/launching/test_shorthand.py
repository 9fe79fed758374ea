"""Overrides that leave out what can only be meant: keys of the game, and the game that reads a file."""

import json

import numpy as np
import pytest

from experiments import runs
from experiments.launching.compose import compose, expand_overrides, jobs
from games.errors import TacitError
from games.tabular import dpomdp_file
from games.tabular.library import dectiger


@pytest.mark.parametrize(
    ("short", "long"),
    [
        (["game=dectiger", "horizon=3"], ["game=dectiger", "game.horizon=3"]),
        (["horizon=3", "game=dectiger", "discount=1"], ["game.horizon=3", "game=dectiger", "game.discount=1"]),
        (["game=tiny_hanabi", "variant=E"], ["game=tiny_hanabi", "game.variant=E"]),
        (["game=lever", "payoffs=[1, 2]", "seeds=3"], ["game=lever", "game.payoffs=[1, 2]", "seeds=3"]),
        (["game=dectiger,grid_small", "horizon=2,3"], ["game=dectiger,grid_small", "game.horizon=2,3"]),
        (["game=hanabi_2x3,lever", "mismatch=1"], ["game=hanabi_2x3,lever", "game.mismatch=1"]),  # where there is one
        (["players=3"], ["game.players=3"]),  # of the default game
        (["experiment=demo", "players=3"], ["experiment=demo", "game.players=3"]),
        (["game.file=a.dpomdp", "horizon=2"], ["game=file", "game.file=a.dpomdp", "game.horizon=2"]),
        (["game=file", "file=a.dpomdp"], ["game=file", "game.file=a.dpomdp"]),
        (["game.file=a.dpomdp", "game=lever"], ["game.file=a.dpomdp", "game=lever"]),
        (["game=Hanabi-2x3,LEVER"], ["game=hanabi_2x3,lever"]),
        (["game=Hanabi-Full", "colors=2"], ["game=hanabi", "game.colors=2"]),  # what HLE calls it
    ],
    ids=lambda overrides: " ".join(overrides),
)
def test_what_is_left_out_is_filled_in(short, long):
    assert expand_overrides(short) == long
    assert expand_overrides(long) == long


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["seeds=3", "learner=ippo", "experiment=demo", "budget.steps=1e6"],
        ["horizon=3"],  # the default game has none
        ["game=dectiger", "gamma=1"],  # a key of the learner alone
        ["game=dectiger", "+horizon=3", "~seeds"],
        ["game=lever", "hydra.sweeper.max_batch_size=1"],
        ["game=dectiger", "game.horizon=3"],
        ["games=['file file=/data/Hanabi-Full/t.dpomdp']"],
    ],
    ids=" ".join,
)
def test_everything_else_stays(overrides):
    assert expand_overrides(overrides) == overrides


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("game=[hanabi_2x3,Hanabi-3x3]", r"^game must be a name, not \[hanabi_2x3,hanabi_3x3\]$"),
        ("game=lever,[hint,dectiger]", r"^game must be a name, not \[hint,dectiger\]$"),
        ("learner=[ippo,mappo]", r"^learner must be a name, not \[ippo,mappo\]$"),
        ("experiment=[search]", r"^experiment must be a name, not \[search\]$"),
        ("policy=3", "^policy must be a name, not 3$"),
    ],
)
def test_of_a_group_one_is_chosen(override, sentence):
    """Of a list hydra would make one game, out of the keys of all."""
    for stands_for in (expand_overrides, compose, jobs):
        with pytest.raises(TacitError, match=sentence):
            stands_for([override])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["game=dectiger", "horizont=3"], "the configuration has no key 'horizont'"),
        (["horizon=3"], "the configuration has no key 'horizon'"),
        (["game=lever,hint"], "game=lever,hint stands for several jobs, which only a sweep has: add -m\n"),
        (["game=levr", "horizon=3"], "there is no game 'levr'; did you mean 'lever'?"),
        (["game=lever", "horizon=[1"], "'horizon=[1' cannot be read: brackets and quotes must be closed, "),
        (["game.file=nowhere.dpomdp", "horizon=2"], "nowhere.dpomdp"),
        (["game=dectiger", "horizon=0"], "horizon must be a whole number of at least 1, not 0"),
        (["-m", "game=dectiger", "horizon=2,0"], "horizon must be a whole number of at least 1, not 0"),
        (["-m", "game=dectiger,lever", "horizon=2"], "the configuration has no key 'game.horizon'\n"),
        (["-m", "game=dectiger,grid_small", "horizon=2", "seeds=0"], "seeds must be a whole number from 1 to "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_one_sentence(tacit, tmp_path, monkeypatch, overrides, sentence):
    monkeypatch.chdir(tmp_path)
    said = tacit("train", *overrides)
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith("tacit: ")
    assert sentence in said.err
    assert said.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_composed_configuration_may_be_asked_for_in_short():
    composed = compose(["game=dectiger", "horizon=2", "discount=0.5"])["game"]
    assert (composed["horizon"], composed["discount"]) == (2, 0.5)
    with pytest.raises(TacitError, match=r"^the configuration needs a value for game\.file$"):
        compose(["game=file"])


def tiny(overrides):
    """The toy game's arguments without its game and network."""
    return [override for override in overrides if not override.startswith(("game=", "policy.", "learner.share"))]


@pytest.mark.slow
def test_a_sweep_over_games_with_a_key_that_only_they_have(tacit, tiny_overrides, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plainly = [*tiny(tiny_overrides), "policy=tabular", "execution.figures=false"]
    said = tacit("train", "-m", *plainly, "game=dectiger,grid_small", "horizon=1")
    assert said.status == 0, said.err
    games = [json.loads(file.read_text())["science"]["game"] for file in tmp_path.glob("runs/*/run.json")]
    assert sorted((game["_target_"].split(".")[-2], game["horizon"]) for game in games) == [
        ("dectiger", 1), ("grid_small", 1)
    ]  # fmt: skip
    assert "job 0: game=dectiger\n" in said.err  # and not what both have


@pytest.mark.slow
def test_training_on_dec_tiger(tacit, tiny_overrides, tmp_path, monkeypatch):
    """A sweep over horizons, with parameters of its own for each seat, and a file of the same game."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_tiger.dpomdp").write_text(dpomdp_file.write(dectiger.problem()))
    plainly = [*tiny(tiny_overrides), "policy=tabular", "execution.figures=false"]
    said = tacit("train", "-m", *plainly, "game=dectiger", "horizon=1,2")
    assert said.status == 0, said.err
    swept = {
        json.loads(file.read_text())["science"]["game"]["horizon"]: file for file in tmp_path.glob("runs/*/run.json")
    }
    assert sorted(swept) == [1, 2]
    said = tacit("train", *plainly, "game.file=my_tiger.dpomdp", "horizon=2")
    assert said.status == 0, said.err
    (read,) = set(tmp_path.glob("runs/*/run.json")) - set(swept.values())
    paths = [swept[2].parent, read.parent]
    ours, theirs = (runs.read_run(path) for path in paths)
    assert (ours.game.name, theirs.game.name) == ("dectiger", "my_tiger")
    assert ours.agents[0].params["logits"].shape == (2, 1 + 3 * 2, 4)
    metrics = [runs.read_metrics(path) for path in paths]
    assert metrics[0]["count"].sum() == 2 * 64 / 2  # two seeds, 64 steps, games of two
    for name in ("return_sum", "entropy", "loss"):  # the same game with the same seeds
        np.testing.assert_array_equal(metrics[0][name], metrics[1][name])
    plain = json.loads((paths[1] / "run.json").read_text())["science"]
    assert (plain["game"]["file"], plain["game"]["horizon"]) == ("my_tiger.dpomdp", 2)
    assert plain["learner"]["share_parameters"] is False
