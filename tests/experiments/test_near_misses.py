"""Words that are nearly right: one sentence that names the right one, before anything is loaded or written."""

import json

import pytest

from games.tabular import dpomdp_file
from games.tabular.library import dectiger
from tests.command_line import refused


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["trian", "game=lever"], "there is no command 'trian'; did you mean 'train'?"),
        (["crossplay", "nowhere", "--gmaes", "3"], "there is no option --gmaes; did you mean '--games'?"),
        (["crossplay", "nowhere", "games=3"], "games=3 is an option of this command: --games 3"),
        (["games", "levr"], "there is no game 'levr'; did you mean 'lever'?"),
        (["games", "chess"], "there is no game 'chess'; there are asymmetric_lever,"),
        (["games", "lever players=3"], "'game=lever players=3' cannot be read: "),
        (["games", "lever", "players=2,3"], "game.players=2,3 stands for several jobs, and here there is one: give "),
        (["games", "players=3"], "players=3 comes after the name of a game, as in tacit games lever players=3"),
        (["crossplay", "nowhere", "with=iggi"], "with=iggi is an option of this command: --with iggi"),
        (["crossplay", "game=lever", "partners=iggi", "--with", "uniform"], "has no key 'game.partners'"),
        (["config", "seeds=2,3"], "seeds=2,3 stands for several jobs, and here there is one: give one value"),
        (["config", "experiment=search"], "experiment=search is a sweep of its own, which only its command launches"),
        (["config", "experiment=exact/tiny_hanabi"], "experiment=exact/tiny_hanabi is for tacit phase, not for "),
        (["symmetries", "equal_levers", "alpha=3", "seed=oops"], "the configuration has no key 'game.alpha'"),
        (["zsc-table", "games=['dectiger starts=5']"], "the configuration has no key 'game.starts'"),
        (["train", "--seeds", "3"], "there is no option --seeds; keys are written seeds=3"),
        (["train", "--entropy-coef=1"], "there is no option --entropy-coef; keys are written learner.entropy_coef=1"),
        (["train", "--seed", "3"], "there is no option --seed; keys are written seeds=3 or crossplay.seed=3"),
        (["train", "seed=3"], "the configuration has no key 'seed'; did you mean 'seeds' or 'crossplay.seed'?"),
        (["train", "--format", "csv"], "there is no option --format; tacit train --help says more"),
        (["phase", "--fromat", "csv"], "there is no option --fromat; did you mean '--format'?"),
        (["train", "-mseeds=1,2"], "seeds=1,2"),  # which argparse reads in two ways, by the version of Python
        (["train", "--multirn"], "there is no option --multirn; did you mean '--multirun'?"),
        (["train", "payoffs=[1,2"], "'payoffs=[1,2' cannot be read: brackets and quotes must be closed, "),
        (["train", "-m", "hydra/launcher=slrum"], "there is no hydra/launcher 'slrum'; did you mean 'slurm'?"),
        (["train", "-m", "seeds=range(3,1)"], "seeds=range(3,1) has no value: a sweep needs one of each key"),
        (["phase", "--alpha", "3"], "there is no option --alpha; keys are written alpha=3"),
        (["zsc-table", "method=[self_pley]"], "not 'self_pley'; did you mean 'self-play'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_near_miss_is_one_sentence(tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    assert says in refused(tmp_path, *arguments)


def test_a_game_has_one_name_and_any_spelling_of_it_is_understood(tacit):
    for name in ("hanabi-2x3", "Hanabi-2x3"):
        assert tacit("games", name).out == tacit("games", "hanabi_2x3").out
    assert tacit("games", "Hanabi-Full").out.startswith("hanabi: ")
    assert tacit("symmetries", "Two-Stage-Lever").out == tacit("symmetries", "two_stage_lever").out


def test_a_game_is_named_as_for_other_commands(tacit, tmp_path, monkeypatch):
    """And a file that has the name of a game of the list is not in its way."""
    (tmp_path / "lever").write_text("of the user")
    monkeypatch.chdir(tmp_path)
    assert tacit("games", "game=lever").out == tacit("games", "lever").out
    assert tacit("symmetries", "game=lever").out == tacit("symmetries", "lever").out
    (tmp_path / "mine.dpomdp").write_text(dpomdp_file.write(dectiger.problem()))
    by_key = tacit("games", "game.file=mine.dpomdp", "horizon=2")
    assert (by_key.status, by_key.out) == (0, tacit("games", "file", "file=mine.dpomdp", "horizon=2").out)


def test_a_configuration_of_keys_given_twice_is_printed_with_a_warning(tacit):
    said = tacit("config", "seeds=3", "seeds=4")
    assert (said.status, json.loads(said.out)["seeds"]) == (0, 4)
    assert said.err == "tacit: warning: seeds is given 2 times, and seeds=4 counts\n"
