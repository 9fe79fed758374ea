"""The functions of the face: what they return, and that a mistake is answered in one sentence."""

import dataclasses

import numpy as np
import pytest

import tacit
from experiments.launching import compose, words
from games.tabular.simulator import Simulator
from marl.crossplay.estimators import summarise as estimated
from marl.policies.uniform import Uniform
from tests.command_line import call


class TestMake:
    def test_a_game_of_the_list_with_its_keys(self):
        game = tacit.make("lever", payoffs=[1, 1, 0.9])
        assert isinstance(game, Simulator) and game.num_actions - 1 == 3
        assert game.score_range == (0.0, 1.0)
        assert (tacit.make("dectiger").horizon, tacit.make("dectiger", horizon=2).horizon) == (3, 2)
        assert tacit.make("hanabi_2x3", players=3).num_players == 3

    def test_a_game_of_ones_own(self, tmp_path, monkeypatch):
        monkeypatch.syspath_prepend(tmp_path)
        text = "from games.tabular.library import lever\nfrom games.tabular.simulator import Simulator\n"
        text += "def make(levers: int) -> Simulator:\n    return lever.make([1.0] * levers)\n"
        (tmp_path / "my_levers_of_tests.py").write_text(text)
        assert tacit.make("my_levers_of_tests.make", levers=4).num_actions == 5
        with pytest.raises(tacit.TacitError, match=r"game 'my_levers_of_tests\.make' needs a value for levers"):
            tacit.make("my_levers_of_tests.make")

    @pytest.mark.parametrize(
        ("name", "keys", "says"),
        [
            ("levr", {}, r"there is no game 'levr'; did you mean 'lever'\?; one of your own is a Python path"),
            ("zzz", {}, r"there is no game 'zzz'; there are asymmetric_lever, "),
            ("lever", {"payofs": [1]}, r"game has no key 'payofs'; did you mean 'payoffs'\?"),
            ("lever", {"payoffs": "x"}, r"game\.payoffs must be a list of numbers, not 'x'"),
            ("file", {}, "game 'file' needs a value for file"),
        ],
    )
    def test_mistakes(self, name, keys, says):
        with pytest.raises(tacit.TacitError, match=says):
            tacit.make(name, **keys)


@pytest.mark.slow
class TestRuns:
    def test_runs_come_in_the_order_of_their_values(self, runs, folder):
        assert [run.keys["learner.entropy_coef"] for run in runs] == [0.01, 0.1]
        assert all(run.state == "finished" and run.path.parent == folder for run in runs)
        assert runs[0].keys["game.payoffs"] == [1, 1, 0.9]

    def test_the_command_line_finds_what_python_trained(self, runs, folder, tiny):
        words = ["game=lever", "payoffs=[1,1,0.9]", "policy=tabular", "seeds=6", "budget.steps=64", "crossplay.games=8"]
        words += [f"learner.{key}={value}" for key, value in tiny["learner"].items()]
        before = {file: file.stat().st_mtime_ns for file in folder.glob("*/*")}
        found = tacit.train(*words, "learner.entropy_coef=0.01,0.1", {"execution.output": folder})
        assert [run.path for run in found] == [run.path for run in runs]
        said = call(
            "train", *words, "learner.entropy_coef=0.1", f"execution.output='{folder}'", "execution.figures=false"
        )
        assert said.status == 0 and f"run {runs[1].path}\n" in said.out
        assert before == {file: file.stat().st_mtime_ns for file in before}

    def test_load_finds_by_name_and_by_keys(self, runs, folder):
        loaded = tacit.load(folder)
        assert loaded[runs[1].name[:6]].path == runs[1].path
        for conditions, keywords in [
            (["entropy_coef=0.1", "game=lever"], {}),
            ([], {"game": "lever", "entropy_coef": 0.1}),
            (["command=train"], {"learner.entropy_coef": 0.1, "game.payoffs": [1, 1, 0.9]}),
        ]:
            assert [one.name for one in loaded.where(*conditions, **keywords)] == [runs[1].name]
        assert len(loaded.where(command="phase")) == 0
        assert tacit.load(folder / "none", missing_ok=True).finished().by_game() == []

    def test_runs_are_compared(self, runs):
        lines = str(tacit.compare(runs)).splitlines()
        assert lines[0].startswith("| entropy_coef | seeds | greedy XP |")
        assert lines[2].startswith("| 0.01 | 6 | ") and lines[3].startswith("| 0.1 | 6 | ")
        assert str(tacit.compare(runs, by="seeds,entropy_coef")).startswith("| seeds | entropy_coef | greedy XP |")
        assert len(tacit.figures.comparison(tacit.compare(runs)).axes) == 2
        asked = tacit.compare(runs, by="", contrasts="entropy_coef=0.1-0.01")
        assert (asked.by, len(asked.tests.contrasts)) == ([], 1)
        with pytest.raises(tacit.TacitError, match="compare takes runs as train and load return them, not "):
            tacit.compare([runs[0]])
        failed = dataclasses.replace(runs[0], state="failed", reason="it was stopped")
        with pytest.warns(UserWarning, match=r"^1 of 3 runs \(1 failed\) left out$") as said:
            assert len(tacit.compare(tacit.Runs([*runs, failed])).rows) == 2
        assert said[0].filename == __file__
        with pytest.raises(tacit.TacitError, match=r"there is no run to compare$"):
            tacit.compare(runs.where("entropy_coef=7"))

    def test_seeds_of_a_run_play(self, runs):
        run = runs[0]
        assert run.game == tacit.make("lever", payoffs=[1, 1, 0.9])
        other = dataclasses.replace(run, science={**run.science, "game": {**run.science["game"], "version": "0-other"}})
        with pytest.raises(tacit.TacitError, match=r"was trained on game version 0-other, and this is \S+: its scores"):
            _ = other.game
        played = tacit.crossplay(run.game, run.agents, games=8)
        np.testing.assert_array_equal(played.mean, run.crossplay()["greedy"].mean)  # the same decks and draws
        assert tacit.summarise(played) == estimated(*played.cells)
        assert run.summaries["greedy"] == tacit.summarise(played)
        sampled = tacit.crossplay(run.game, run.agents, games=8, play="sampled")
        np.testing.assert_array_equal(sampled.mean, run.crossplay()["sampled"].mean)

    def test_methods_meet(self, runs, tmp_path, monkeypatch):
        table = tacit.methods({"low": runs[0], "high": runs[1]}, games=2)
        assert "| low | high |" in str(table)
        assert len(tacit.figures.methods(table).axes) == 3
        table = tacit.methods(runs, games=2, output=tmp_path / "here")
        assert "entropy coef 0.01" in str(table) and table.folder == tmp_path / "here"
        (tmp_path / "file").write_text("")
        for made in (tacit.methods, lambda runs, output: tacit.conventions(runs[0], output=output)):
            with monkeypatch.context() as patched, pytest.raises(tacit.TacitError, match=r"^the folder .* be made: "):
                patched.setattr("experiments.training.job.crossplay", None)  # nothing is played
                made(runs, output=str(tmp_path / "file"))

    def test_figures_of_a_run(self, runs):
        axes = tacit.figures.crossplay(runs[0], plays=["greedy"]).axes
        assert [axis.get_title() for axis in axes] == ["greedy play", ""]
        assert len(tacit.figures.crossplay(runs[0], plays="greedy").axes) == 2
        with pytest.raises(tacit.TacitError, match="plays must be one of sampled, greedy, not 'timid'"):
            tacit.figures.crossplay(runs[0], plays=["timid"])
        assert tacit.figures.learning_curves(runs[0], "mine").get_suptitle() == "mine"

    def test_another_crossplay_of_a_finished_run_is_a_warning(self, runs, folder, tiny):
        keys, tiny = {"learner.entropy_coef": [0.01], "execution.output": folder}, {**tiny, "crossplay.games": 9}
        with pytest.warns(UserWarning, match=r"keeps its cross-play of before \(games 8 instead of 9\)"):
            tacit.train("game=lever", tiny, payoffs=(1, 1, 0.9), **keys)


@pytest.mark.parametrize(
    ("arguments", "keys", "says"),
    [
        ([3], {}, "expected texts KEY=VALUE, mappings or keywords, not 3"),
        ([{1: 2}], {"game": "lever"}, "'1=2' cannot be read"),
        (["seeds"], {}, "expected KEY=VALUE, not 'seeds'"),
        ([], {"gane": "lever"}, r"no key 'gane'; did you mean 'game'\?"),
        ([], {"game": "lever", "seeds": "a,b"}, "seeds must be a whole number from 1 to 4096, not 'a,b'"),
        (
            [],
            {"seeds": object()},
            "seeds must be a number, a word, True, False, None, or a list or mapping of them, not ",
        ),
        (["experiment=sweep/hanabi"], {}, "experiment=sweep/hanabi is a sweep of its own, which only its command"),
    ],
)
def test_mistakes_of_a_training(arguments, keys, says):
    with pytest.raises(tacit.TacitError, match=says):
        tacit.train(*arguments, **keys)


def test_later_arguments_replace_earlier_ones():
    (job,) = compose.jobs(words.overrides([{"seeds": 2}, "seeds=4"], {"seeds": 8}))
    assert job["seeds"] == 8


def test_a_job_of_several_processes_connects_them(monkeypatch):
    def connect(**_):
        raise tacit.TacitError("they are connected")

    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "localhost:1")
    monkeypatch.setattr("jax.distributed.initialize", connect)
    with pytest.raises(tacit.TacitError, match="they are connected"):
        tacit.train("execution.distributed=true", game="lever")


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda game: tacit.make(3), "make takes the name of a game, not 3"),
        (lambda game: tacit.load(3), "runs are loaded from a folder, or a list of folders, not 3"),
        (
            lambda game: tacit.symmetries("lever"),
            r"a game is what make returns, such as .*, or run\.game, not \'lever\'",
        ),
        (lambda game: tacit.partners("hanabi_2x3"), "a game is what make returns"),
        (lambda game: tacit.crossplay("lever", []), "a game is what make returns"),
        (lambda game: tacit.crossplay(game, 3), "crossplay takes a list of agents, not 3"),
        (lambda game: tacit.conventions("runs/abc"), "conventions takes a run, .*, not 'runs/abc'"),
        (lambda game: tacit.methods([]), r"methods takes runs of train or load, one or more, .*, not \[\]"),
        (lambda game: tacit.methods({"a": 3}), "methods takes runs .*, not 3"),
        (lambda game: tacit.compare("runs"), "compare takes runs as train and load return them, not 'runs'"),
        (lambda game: tacit.compare(tacit.Runs(()), by=3), "by must be a list of texts, or a text with commas, not 3"),
    ],
)
def test_first_arguments_of_another_type(call, says):
    with pytest.raises(tacit.TacitError, match=says):
        call(tacit.make("lever"))


@pytest.mark.parametrize("wrong", [{"level": -0.5}, {"level": 95}, {"level": 1}, {"resamples": 0}, {"seed": -1}])
def test_settings_of_a_summary(wrong):
    with pytest.raises(tacit.TacitError, match=rf"^{next(iter(wrong))} must be a "):
        tacit.summarise(([(0, 0), (1, 1)], [1.0, 2.0]), **wrong)


def test_only_agents_play():
    game = tacit.make("lever")
    with pytest.raises(tacit.TacitError, match=r"such as those of run\.agents, not 'ann'"):
        tacit.crossplay(game, ["ann"])
    agent = tacit.Agent.of(Uniform(), observer="last")
    for wrong in ({"play": "best"}, {"games": 0}, {"seating": "none"}, {"seed": -1}):
        with pytest.raises(tacit.TacitError, match=rf"{next(iter(wrong))} must be "):
            tacit.crossplay(game, [agent], **wrong)


@pytest.mark.slow
def test_an_agent_of_ones_own_plays():
    game = tacit.make("lever", payoffs=[1, 1, 1, 1])
    ann, bob = (tacit.Agent.of(Uniform(), observer="last", label=name) for name in ("ann", "bob"))
    played = tacit.crossplay(game, [ann, bob], games=400, play="sampled")
    assert played.labels == ("ann", "bob")
    assert np.abs(played.matrix() - 1 / 4).max() < 0.1


def test_cells_are_summarised():
    cells = ([(i, j) for i in range(6) for j in range(6)], [float(i == j) for i in range(6) for j in range(6)])
    found = tacit.summarise(cells)
    assert (found.self_play.mean, found.cross_play.mean, found.gap.mean) == (1, 0, 1)
    assert found == tacit.summarise(cells, seed=0) == estimated(*cells)
    for wrong, says in [
        (3, "summarise takes what crossplay returns"),
        ((1, 2, 3), "a pair of seatings and scores, not 3"),
    ]:
        with pytest.raises(tacit.TacitError, match=says):
            tacit.summarise(wrong)


@pytest.mark.slow
def test_partners_play_hanabi():
    game = tacit.make("hanabi_2x3")
    assert len(tacit.partners(game)) >= 10
    assert [one.label for one in tacit.partners(game, "iggi", "piers")] == ["iggi", "piers"]
    with pytest.raises(tacit.TacitError, match="there is no partner 'nobody'; there are cautious, "):
        tacit.partners(game, "nobody")


def test_partners_of_any_game():
    game = tacit.make("lever")
    uniform, own = tacit.partners(game, "uniform", "mine=examples.focal.Last")
    assert [uniform.label, own.label] == ["uniform", "mine"]
    assert tacit.crossplay(game, [uniform, own], games=4).labels == ("uniform", "mine")


FEW = {"normal_starts": 2, "wide_starts": 0, "pure_starts": 4, "refine": False, "branch": False}


class TestTheExactLab:
    @pytest.mark.slow
    def test_a_phase_diagram(self, tmp_path):
        (found,) = tacit.phase(FEW, game="equal_levers", n=2, alpha=[0.3, 0.7], execution={"output": tmp_path})
        assert [row["solutions"] for row in found["rows"]] == [2, 1]
        assert found["decisions"][0]["actions"] == {0: "lever0", 1: "lever1"}

    @pytest.mark.slow
    def test_methods_and_structures(self, tmp_path):
        where = {"execution.output": tmp_path}
        found = tacit.zsc_table("game=lever,two_stage_lever", where, method="other-play", starts=4)
        assert "| Other-Play | 0.9000 | " in str(found) and len(found) == 2
        few = {"starts": 2, "restarts": 2, "method": ["self-play"]}
        found = tacit.structure_table("game=task_claiming", few, where, structure=["none", "isolation"])
        assert [one["structure"] for one in found] == ["none", "isolation"]
        assert found[0]["methods"][0]["split"] is not None  # of both together

    def test_symmetries_in_words(self):
        assert "symmetries of policies                                   4                       2" in tacit.symmetries(
            tacit.make("lever", payoffs=[1, 1, 0.9]), generators=0
        )
        with pytest.raises(tacit.TacitError, match=r"exact commands need a tabular game, .* and hanabi is none"):
            tacit.symmetries(tacit.make("hanabi_2x3"))
