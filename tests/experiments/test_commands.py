"""The commands, from the arguments to what they print and leave behind."""

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments import runs
from experiments.analysis import compare_tables
from experiments.configuration.config import JobConfig
from experiments.launching import compose
from experiments.training.job import run_job, run_one
from games.errors import TacitError
from tests.command_line import printed_rows, refused

COLUMNS = ["entropy_coef", "seeds", *compare_tables.COLUMNS]


def cells(line):
    return [cell.strip() for cell in line.split("|")[1:-1]]


def _of_contrasts(row):
    return row[0].startswith(("contrast", "entropy_coef 0.1 − 0.01"))


@pytest.mark.slow
def test_train_end_to_end(finished, finished_runs):
    folder, said = finished
    assert said.err == ""
    assert sorted(path.name for path in folder.iterdir()) == ["runs"]
    expected = sorted([*(path.name for path in finished_runs), "compare"])
    assert sorted(path.name for path in (folder / "runs").iterdir()) == expected
    (compared,) = (folder / "runs" / "compare").iterdir()
    assert sorted(file.name for file in compared.iterdir()) == ["figure.png", "figure.svg", "table.json", "table.md"]

    table, contrasts = (list(rows) for _, rows in itertools.groupby(printed_rows(said.out), _of_contrasts))
    assert table[0] == COLUMNS
    assert [row[0] for row in table[1:]] == ["0.01", "0.1"]
    markdown = [cells(line) for line in (compared / "table.md").read_text().splitlines() if line.startswith("| ")]
    assert markdown[0] == [*COLUMNS, "run"]
    assert [row[:-1] for row in markdown[1:3]] == table[1:]
    assert markdown[3:] == contrasts
    assert contrasts[0] == ["contrast", "greedy XP", "p", "greedy SP − XP", "p"]
    assert contrasts[1][0] == "entropy_coef 0.1 − 0.01"
    for path, row in zip(finished_runs, table[1:], strict=True):
        for name, self_play, cross_play, gap in [("sampled", 7, 4, 5), ("greedy", 6, 2, 3)]:
            result = runs.read_crossplay(path)[name]
            own = result.seatings[:, 0] == result.seatings[:, 1]
            sp, xp = result.mean[own].mean(), result.mean[~own].mean()
            for column, value in [(self_play, sp), (cross_play, xp), (gap, sp - xp)]:
                assert float(row[column].split()[0]) == pytest.approx(value, abs=0.0051)
                assert row[column].endswith("(no interval)")
    assert "not estimable: an interval needs 6 seeds, there are 2" in said.out
    for path in (*finished_runs, compared):
        assert str(path.relative_to(folder)) in said.out
    plain = json.loads((compared / "table.json").read_text())
    assert [row["run"] for row in plain[:2]] == [path.name for path in finished_runs]
    assert [row["contrast"] for row in plain[2:]] == ["entropy_coef 0.1 − 0.01"]
    assert plain[0]["sampled"]["cross_play"]["note"] == "an SE needs 6 seeds, there are 2"


@pytest.mark.slow
def test_train_again_says_the_same(finished, tacit, tiny_overrides, monkeypatch):
    folder, before = finished
    monkeypatch.chdir(folder)
    files = {file: file.stat().st_mtime_ns for file in folder.glob("runs/*/*.*") if "compare" not in str(file)}
    said = tacit("train", *tiny_overrides, "learner.entropy_coef=[0.01,0.1]")
    assert (said.status, said.out) == (0, before.out)
    assert {file: file.stat().st_mtime_ns for file in files} == files


def test_six_seeds_have_intervals(tacit, synthetic_run, tmp_path):
    said = tacit("compare", synthetic_run(tmp_path, seeds=6))
    assert said.status == 0, said.err
    _, row = printed_rows(said.out)
    assert all(re.fullmatch(r"-?\d\.\d\d \[-?\d\.\d\d, -?\d\.\d\d\]", cell) for cell in row[2:]), row
    assert "no interval" not in said.out
    assert "not estimable" not in said.out


@pytest.mark.slow
def test_a_sweep(tacit, tiny_overrides, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # game.mismatch 0 and 0.0 are one run: of these four jobs two find theirs finished.
    swept = ["game.mismatch=0,0.0", "learner.gamma=0.5,0.6", "execution.figures=false", "execution.progress=true"]
    said = tacit("train", *tiny_overrides, "-m", *swept)
    assert said.status == 0, said.err
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    made = [path.parent for path in tmp_path.glob("runs/*/run.json")]
    assert sorted(runs.check_finished(path)["science"]["learner"]["gamma"] for path in made) == [0.5, 0.6]
    allowed = {path.name for path in made} | {"compare", "sweeps"}
    assert {path.name for path in (tmp_path / "runs").iterdir()} == allowed
    warning, sweep, *others = said.err.splitlines()
    assert warning.startswith("tacit: warning: learner.gamma is given 2 times, and learner.gamma=0.5,0.6 counts; ")
    assert sweep.startswith("sweep of 4 jobs, 2 of them left out: ")
    assert said.out.count("table in ") == 1
    assert others.count("compiling: 0 of 64 steps a seed") == 2
    assert not list(tmp_path.glob("runs/**/*.png"))


def test_an_empty_line_and_help(tacit):
    for arguments in [], ["--help"], ["-h"], ["help"]:
        said = tacit(*arguments)
        assert (said.status, said.err) == (0, "")
        for command in ("train", "crossplay", "compare", "phase", "symmetries", "games", "verify", "config"):
            assert f"  tacit {command} " in said.out


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("train", "\nlearner=ippo; others: ippo_jaxmarl, "),
        ("crossplay", "--seating"),
        ("compare", "--output"),
        ("phase", "alpha_count: 32 "),
        ("symmetries", "--generators"),
        ("games", "KEY=VALUE"),
        ("verify", "--steps"),
        ("config", "KEY=VALUE"),
    ],
)
def test_every_command_has_help(tacit, tmp_path, monkeypatch, command, says):
    monkeypatch.chdir(tmp_path)
    said = tacit(command, "--help")
    assert (said.status, said.err) == (0, "")
    assert says in said.out
    assert not list(tmp_path.iterdir())


def test_the_help_of_train_explains_every_key(tacit):
    said = tacit("train", "--help").out
    groups = compose.compose([])
    for name, group in groups.items():
        assert f"\n{name}" in said
        for key in group if isinstance(group, dict) else []:
            assert key == "_target_" or re.search(rf"\n  {key}: .*# \w", said), key
    assert "exact/" not in said and "defaults" not in said and "hydra" not in said


def test_the_composed_configuration_can_be_printed_by_hydra(tacit, tiny_overrides, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = tacit("train", *tiny_overrides, "--cfg", "job")
    assert said.status == 0
    assert "  _target_: games.tabular.library.lever.make\n" in said.out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["fly"],
            "there is no command 'fly'; there are train, crossplay, zoo, compare, report, export, status, runs, ",
        ),
        (["crossplay"], "RUN"),
        (["crossplay", "nowhere"], "there is no run directory "),
        (["crossplay", "nowhere", "--games", "many"], "--games: invalid int value: 'many'"),
        (["crossplay", "nowhere", "--games", "0"], "crossplay.games must be a whole number from 1"),
        (["crossplay", "nowhere", "--seating", "round"], "crossplay.seating must be one of all, distinct, one_"),
        (["compare"], "DIR"),
        (["compare", "nowhere"], "there is no folder nowhere"),
        (["games", "lever", "colours=2"], "the configuration has no key 'game.colours'"),
        (["games", "lever", "payofs=2"], "the configuration has no key 'game.payofs'; did you mean 'game.payoffs'?"),
        (["games", "hanabi", "colors=9"], "hanabi colors must be a whole number from 1 to 5"),
        (["verify", "chess"], "invalid choice: 'chess'"),
        (["verify", "hanabi", "--steps", "0"], "--steps must be at least 1"),
        (["verify", "hanabi", "--seed", "-1"], "--seed must be a whole number of at least 0"),
        (["config", "gamee=lever"], "the configuration has no key 'gamee'; did you mean 'game'?"),
        (["config", "--wings"], "there is no option --wings; tacit config --help says more"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_arguments_are_one_sentence(tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    assert says in refused(tmp_path, *arguments)


def test_the_list_of_games(tacit):
    said = tacit("games")
    assert (said.status, said.err) == (0, "")
    assert max(map(len, said.out.splitlines())) <= 120
    simulated, _, library = said.out.partition("\ntabular games")
    (line,) = [line for line in simulated.splitlines() if line.startswith("hanabi ")]
    assert line.split()[1:8] == ["hanabi-1", "2", "21", "0", "…", "25", "97"]
    assert line.endswith("  hle (658), minimal (308), belief (658)")
    rows = {line.split()[0]: re.split("  +", line)[1:] for line in library.partition("\n\n")[0].splitlines()[1:]}
    assert rows.pop("game") == [
        "agents", "states", "actions", "observations", "horizon", "discount", "symmetries", "optimum"
    ]  # fmt: skip
    assert rows == {
        "asymmetric_lever": ["2", "4", "3 x 3", "3 x 3", "3", "1", "2 / 2", "3"],
        "broadcast_channel": ["2", "4", "2 x 2", "2 x 2", "3", "1", "1 / 1", "2.99"],
        "cat_and_dog": ["2", "10", "5 x 4", "3 x 6", "2", "1", "4 / 4", "10"],
        "dectiger": ["2", "2", "3 x 3", "2 x 2", "3", "1", "4 / 2", "5.1908125"],
        "equal_levers": ["2", "1", "2 x 2", "1 x 1", "1", "1", "4 / 2", "1"],
        "grid_small": ["2", "16", "5 x 5", "2 x 2", "3", "0.9", "2 / 1", "1.37475964"],
        "hint": ["2", "25", "3 x 26", "26 x 11", "2", "1", "28,800 / 28,800", "0.4"],
        "lever": ["2", "1", "10 x 10", "1 x 1", "1", "1", "725,760 / 362,880", "1"],
        "noisy_lever": ["2", "2", "3 x 3", "3 x 3", "1", "1", "4 / 2", "–"],
        "overlapping_edits": ["2", "6", "3 x 3", "3 x 3", "1", "1", "12 / 6", "1"],
        "recycling": ["2", "4", "3 x 3", "2 x 2", "3", "0.9", "2 / 1", "9.76470125"],
        "resource_allocation": ["2", "4", "2 x 2", "4 x 4", "2", "1", "4 / 2", "6"],
        "silos": ["2", "9", "5 x 5", "5 x 5", "2", "1", "16 / 8", "1"],
        "skewed_dectiger": ["2", "2", "3 x 3", "2 x 2", "3", "1", "2 / 1", "–"],
        "split_maze": ["2", "35", "3 x 3", "8 x 8", "2", "1", "2 / 2", "0.7142857143"],
        "task_claiming": ["2", "1", "3 x 3", "1 x 1", "1", "1", "12 / 6", "2"],
        "tiny_hanabi": ["2", "12", "3 x 3", "3 x 5", "2", "1", "1 / 1", "2.25"],
        "two_stage_lever": ["2", "1", "2 x 2", "2 x 2", "2", "1", "4 / 2", "2"],
    }


def test_the_list_of_games_without_igraph(tacit, monkeypatch):
    known = tacit("games")
    monkeypatch.setitem(sys.modules, "igraph", None)
    said = tacit("games")
    assert (said.status, said.out) == (0, known.out)  # the orders of the library are known
    assert "–: needs igraph, pip install 'tacit[symmetry]'" in said.out
    said = tacit("games", "dectiger", "horizon=2")
    assert said.status == 0
    assert "\nsymmetries                  – with agent swaps, – without\n" in said.out


def test_a_tabular_game_in_words(tacit):
    said = tacit("games", "dectiger", "horizon=4")
    assert (said.status, said.err) == (0, "")
    assert said.out.split("\n\n")[1].splitlines() == [
        "horizon                     4, discount 1",
        "symmetries                  4 with agent swaps, 2 without",
        "known optimum               4.802755156",
        "states                      2: tiger-left, tiger-right",
        "actions of each agent       3: listen, open-left, open-right",
        "observations of each agent  2: hear-left, hear-right",
    ]
    said = tacit("games", "tiny_hanabi", "game.variant=F")
    for line in ("observations of player0  4: card0, card1, card2, nothing", "known optimum            2.333333333"):
        assert f"\n{line}\n" in said.out
    assert max(map(len, said.out.split("\n\n")[1].splitlines())) <= 110
    assert "known optimum               –\n" in tacit("games", "skewed_dectiger").out


def test_a_game_in_words(tacit):
    said = tacit("games", "lever", "players=3", "payoffs=[2,1]")
    assert "agents=3" in said.out
    assert "\nkeys payoffs=[2, 1] mismatch=0.0 players=3\n" in said.out
    actions = said.out.partition("actions\n")[2].partition("\n\n")[0]
    assert actions.split("\n") == ["    0  lever0", "    1  lever1", "    2  no-op"]
    said = tacit("games", "hanabi_2x3")
    assert "\nkeys preset=Hanabi-2x3 players=2 colors=null " in said.out
    assert "observer belief: 115 entries of float32" in said.out
    assert re.search(r"^ +0 +\d+  ", said.out, re.M)


@pytest.mark.slow
def test_verify(tacit):
    pytest.importorskip("hanabi_learning_environment", reason="the Hanabi Learning Environment is not installed")
    said = tacit("verify", "hanabi", "--steps", "200", "--seed", "5")
    assert said.status == 0
    assert re.match(r"\d{3,} steps of \d+ games on \d+ boards compared with HLE: 0 differences\n", said.out)


# --- cross-play and comparison of finished runs ---


@pytest.mark.slow
def test_crossplay_of_one_run(tacit, a_run):
    said = tacit("crossplay", a_run, "--games", "8")
    assert (said.status, said.err) == (0, "")
    (folder,) = (a_run.parent / "crossplay").iterdir()
    assert said.out.endswith(f"cells and figure in {folder}\n")
    assert sorted(file.name for file in folder.iterdir()) == [
        "crossplay.json",
        "crossplay.npz",
        "crossplay.png",
        "crossplay.svg",
    ]
    of_the_job, again = runs.read_crossplay(a_run), runs.read_crossplay(folder)
    for name in ("sampled", "greedy"):
        np.testing.assert_array_equal(again[name].mean, of_the_job[name].mean)
        (row,) = (row for row in printed_rows(said.out) if row[0] == name)
        assert row[1].startswith(f"{of_the_job[name].mean[[0, 3]].mean():.2f}")
    settings = json.loads((folder / "crossplay.json").read_text())["settings"]
    assert (settings["runs"], settings["games"]) == ([a_run.name], 8)


@pytest.mark.slow
def test_crossplay_of_two_networks(tacit, a_run, wide_run, tmp_path):
    out = tmp_path / "where" / "ever"
    said = tacit("crossplay", a_run, wide_run, a_run, "--games", "4", "--seating", "distinct", "--output", out)
    assert (said.status, said.err) == (0, "")
    for result in runs.read_crossplay(out).values():
        assert result.labels == tuple(f"{path.name[:6]}/{seed}" for path in (a_run, wide_run) for seed in (0, 1))
        assert len(result.seatings) == 4 + 4 * 3
        assert set(map(tuple, result.seatings.tolist())) == {(i, j) for i in range(4) for j in range(4)}


@pytest.mark.slow
def test_runs_of_different_games_do_not_meet(tacit, make_job, a_run, finished_runs, tmp_path):
    (run,) = make_job(tmp_path, {"game.payoffs": [1.0] * 10}).runs
    other = Path(shutil.copytree(a_run, tmp_path / run.name()))  # the same weights, said to be of other levers
    params = jax.tree.map(lambda *leaves: np.stack(leaves), *(agent.params for agent in runs.read_run(a_run).agents))
    runs.write_policies(other / "policies.safetensors", run, params)
    plain = json.loads((other / "run.json").read_text())
    runs.write_json(other / "run.json", plain | {"science": run.science()})
    said = tacit("crossplay", a_run, other)
    assert said.status == 2
    assert said.err.startswith(f"tacit: runs {a_run.name} and {other.name} are of different games: lever(")
    assert said.err.count("\n") == 1
    said = tacit("compare", a_run, other)
    assert said.err == (
        "tacit: warning: scores of different games or boards do not compare: a table each for 2 of them\n"
    )
    assert said.out.count("table and figure in ") == 2
    assert not (a_run.parent / "crossplay").exists()


def test_compare(tacit, finished, finished_runs, tmp_path):
    folder, trained = finished
    said = tacit("compare", *reversed(finished_runs), "--output", tmp_path)
    assert (said.status, said.err) == (0, "")
    (made,) = (tmp_path / "compare").iterdir()
    (by_train,) = (folder / "runs" / "compare").iterdir()
    for name in ("table.md", "table.json", "figure.svg", "figure.png"):
        assert (made / name).read_bytes() == (by_train / name).read_bytes(), name
    assert said.out.split("run ")[0] == trained.out.split("run ")[0]


# --- without the command line ---


@pytest.mark.slow
def test_a_printed_configuration_is_a_piece(tacit, tiny_overrides, finished_runs, tmp_path):
    said = tacit("config", *tiny_overrides, "learner.entropy_coef=0.01", "execution.figures=false")
    assert said.status == 0
    job = JobConfig.parse(json.loads(said.out))
    assert [run.name() for run in job.runs] == [finished_runs[0].name]
    path = tmp_path / "piece"
    run_one(job, path)
    assert runs.read_run(path).config == runs.read_run(finished_runs[0]).config
    # Another run does not go into the same directory.
    said = tacit("config", *tiny_overrides, "learner.entropy_coef=0.1")
    with pytest.raises(TacitError, match="is in the way: it holds run"):
        run_one(JobConfig.parse(json.loads(said.out)), path)
    said = tacit("config", *tiny_overrides, "learner.entropy_coef=[0.1,0.2]")
    with pytest.raises(TacitError, match="stands for 2"):
        run_one(JobConfig.parse(json.loads(said.out)), tmp_path / "two")


BLOCK = """
import sys
for name in ("hydra", "omegaconf", "hanabi_learning_environment", "matplotlib"):  # flax itself imports rich
    sys.modules[name] = None
"""


# `python -m experiments.run_piece`; and Hanabi itself does not need HLE.
PIECE = """
import runpy, sys
sys.argv = ["run_piece", "config.json", "a_run"]
try:
    runpy.run_module("experiments.run_piece", run_name="__main__", alter_sys=True)
except SystemExit as end:
    status = end.code
import games.hanabi
print("actions", games.hanabi.make().num_actions)
sys.exit(status)
"""


@pytest.mark.slow
def test_a_piece_needs_jax_and_little_else(tacit, tiny_overrides, finished_runs, tmp_path):
    (tmp_path / "config.json").write_text(tacit("config", *tiny_overrides, "learner.entropy_coef=0.01").out)
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "sitecustomize.py").write_text(BLOCK)
    environment = {
        **os.environ,
        "PYTHONPATH": f"{tmp_path / 'blocked'}:{Path(__file__).parents[2]}",
        "PYTHONWARNINGS": "error",
    }
    command = [sys.executable, "-c", PIECE]
    made = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=110, check=False
    )
    assert (made.returncode, made.stderr) == (0, "")
    assert "training 64 64 " in made.stdout
    assert made.stdout.endswith("\nactions 21\n")
    run = runs.read_run(tmp_path / "a_run")
    assert run.config.name() == finished_runs[0].name


@pytest.mark.parametrize("contents", [None, "{", "[]", '{"game": {}}'])
def test_a_bad_piece_is_one_sentence(tmp_path, capsys, contents):
    from experiments import run_piece

    if contents is not None:
        (tmp_path / "config.json").write_text(contents)
    assert run_piece.main([str(tmp_path / "config.json"), str(tmp_path / "run")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert not (tmp_path / "run").exists()
    assert run_piece.main([]) == 2


MY_GAME = '''
"""A game of a user's own: name the number that the other player does not name."""

import dataclasses
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from games.game import Game, Layout, Observer, Symmetry


class State(NamedTuple):
    ended: jax.Array
    illegal: jax.Array


@dataclasses.dataclass(frozen=True)
class Apart(Game):
    name: ClassVar[str] = "apart"
    version: ClassVar[str] = "apart-7"
    cyclic: ClassVar[bool] = False
    horizon: ClassVar[int] = 1
    num_players: ClassVar[int] = 2
    num_actions: ClassVar[int] = 3
    max_acting: ClassVar[int] = 2
    score_range: ClassVar[tuple] = (0.0, 2.0)

    prize: float = 1.0

    @property
    def observers(self):
        layout = Layout.of([("nothing", {"bit": 1}, "always set")])
        return {"nothing": Observer("nothing", layout, jnp.bool_, lambda s, p: jnp.ones(1, bool), lambda g, o: o)}

    def init(self, *, key):
        return State(jnp.bool_(False), jnp.bool_(False))

    def transition(self, state, actions, *, key):
        return State(jnp.bool_(True), state.illegal), jnp.where(actions[0] != actions[1], self.prize, 0.0)

    def acting(self, state):
        return jnp.arange(2, dtype=jnp.int32), jnp.broadcast_to(~state.ended, (2,))

    def legal_when_acting(self, state, player):
        return jnp.array([True, True, False])

    def action_name(self, action):
        return f"say {action}"

    def sample_symmetry(self, *, key):
        return Symmetry(jnp.arange(2), jnp.broadcast_to(jnp.arange(3), (2, 3)), ())
'''


@pytest.mark.slow
def test_a_game_of_the_users_own(plain, tacit, tmp_path, monkeypatch):
    (tmp_path / "my_games.py").write_text(MY_GAME)
    monkeypatch.syspath_prepend(tmp_path)
    made = plain({"execution.output": str(tmp_path / "runs"), "execution.evaluations": 0, "seeds": 2})
    made["learner"]["share_parameters"] = False
    made["game"] = {"_target_": "my_games.Apart", "prize": 2}
    made = json.loads(json.dumps(made))
    (path,) = run_job(JobConfig.parse(made))
    assert runs.check_finished(path)["science"]["game"]["version"] == "apart-7"
    run = runs.read_run(path)
    assert (run.game.prize, run.game.name) == (2, "apart")
    assert tacit("compare", path).status == 0
    with pytest.raises(TacitError, match="game has no key 'price'; did you mean 'prize'"):
        JobConfig.parse(made | {"game": {"_target_": "my_games.Apart", "price": 2}})


@pytest.mark.slow
def test_one_seed_alone(tacit, tiny_overrides, make_run, tmp_path):
    """For a cluster that trains each seed by itself: it plays with itself, and later with the others."""
    other = make_run(tmp_path, {"seeds": 1})
    said = tacit("train", *tiny_overrides, f"execution.output={tmp_path}", "seeds=1", "first_seed=1")
    assert said.status == 0, said.err
    assert "no cross-play cell" in said.out
    paths = [path for path in tmp_path.iterdir() if (path / "run.json").exists()]
    assert len(paths) == 2 and other in paths
    said = tacit("crossplay", *paths, "--games", "4", "--output", tmp_path / "both")
    assert said.status == 0
    assert len(runs.read_crossplay(tmp_path / "both")["sampled"].mean) == 4
