"""`tacit phase`: table, sentences, run directory and figures, on games small enough to solve by hand.

Two levers that pay the same: the stationary policies put probability p on one lever, the same for everybody, with
alpha log(p / (1 - p)) = p^(n-1) - (1 - p)^(n-1) for n agents. For n = 2 and n = 3 the right-hand side is 2p - 1, so
that there are two solutions beside the uniform one exactly below alpha = 1/2.
"""

import copy
import dataclasses
import json
import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy.optimize import brentq

from experiments import runs
from experiments.presentation import figures
from experiments.studies import exact_figures, exact_tables, phase, study, tabular
from games.errors import TacitError
from games.tabular import dpomdp_file
from games.tabular.library import equal_levers
from tests.command_line import printed_rows

FEW = ("normal_starts=2", "wide_starts=0", "pure_starts=4", "refine=false", "execution.progress=false")
SMALL = ("game=equal_levers", "n=2", "alpha=[0.3,0.7]", *FEW)
FILES = {"run.json", "status.json", "checksums.json", "phase.json", "solutions.npz"}
FIGURES = {"phase.png", "phase.svg", "branch.png", "branch.svg"}
P = brentq(lambda p: 0.3 * math.log(p / (1 - p)) - (2 * p - 1), 0.6, 0.999)


@pytest.fixture(scope="module")
def made(tacit, tmp_path_factory):
    """What `tacit phase` left of the small diagram, and what it said: (run directory, Said). Tests only read it."""
    folder = tmp_path_factory.mktemp("phase") / "runs"
    said = tacit("phase", *SMALL, f"execution.output={folder}")
    assert (said.status, said.err) == (0, "")
    (path,) = folder.iterdir()
    return path, said


def config(*overrides):
    (one,) = study.configs(phase.STUDY, [*SMALL, *overrides])
    return one


def cells(said):
    """The rows of the printed table, each a list of its cells."""
    return printed_rows(said.out)


def contents(path):
    """phase.json."""
    return json.loads((path / "phase.json").read_text())


def arrays(path):
    """solutions.npz."""
    with np.load(path / "solutions.npz") as saved:
        return dict(saved)


def mean_of_pairs(counts, cell):
    """The mean of cell[i][j] over ordered pairs of different starts, of which counts[i] ended in i."""
    ends = np.repeat(np.arange(len(counts)), counts)
    return np.mean([cell[i][j] for a, i in enumerate(ends) for b, j in enumerate(ends) if a != b])


# --- what is printed ---


@pytest.mark.slow
def test_the_table(made):
    path, said = made
    header, low, high = cells(said)
    assert header == [
        "α", "converged", "solutions", "soft SP", "soft XP", "greedy SP", "greedy XP", "defect", "residual"
    ]  # fmt: skip
    own, mixed = P**2 + (1 - P) ** 2, 2 * P * (1 - P)
    counts = contents(path)["solutions"][0]["starts"]
    assert sum(counts) == 6
    soft = mean_of_pairs(counts, [[own, mixed], [mixed, own]])
    greedy = mean_of_pairs(counts, [[1, 0], [0, 1]])
    # The swap of the levers takes p to 1 - p.
    assert low[:8] == [
        "0.3", "6 of 6", "2", f"{own:.4f}", f"{soft:.4f}", "1.0000", f"{greedy:.4f}", f"{2 * P - 1:.1e}"
    ]  # fmt: skip
    assert high[:7] == ["0.7", "6 of 6", "1", "0.5000", "0.5000", "0.5000", "0.5000"]
    assert all(float(row[-1]) <= 1e-8 for row in (low, high))
    title = "equal_levers n=2 match=1.0 mismatch=0.0 players=2, horizon 1, discount 1: 1 x 1 histories"
    printed = said.out.replace(",", "").split()  # on as many lines as the table's width asks for
    words = title.replace(",", "").split()
    first = printed.index(words[0])
    assert sorted(printed[first : first + len(words)]) == sorted(words)


@pytest.mark.slow
def test_the_thresholds_and_best_values_in_words(made):
    path, said = made
    assert said.out.splitlines()[-6:] == [
        "alpha_unique      several solutions up to 0.5, one from 0.5005 on (searched: 6 starts at 2 α; what they end "
        "in followed upwards; 2 α beside folds and bifurcations; not refined)",
        "alpha_stable      0.5: below it the branch from α = ∞ is no attractor",
        "alpha_certified   0.5 (one stage)",
        "best self-play    1",
        "best equivariant  0.5 with agent swaps (symmetries: 4), 0.5 without (2)",
        f"run {path}",
    ]


@pytest.mark.slow
def test_with_a_memory_as_long_as_the_game_the_table_is_the_same(tacit, made, tmp_path):
    said = tacit("phase", *SMALL, "memory=1", f"execution.output={tmp_path}")
    assert (said.status, said.err) == (0, "")
    (path,) = tmp_path.iterdir()
    before, after = contents(made[0]), contents(path)
    assert (before["memory"], after["memory"]) == (None, 1)
    assert cells(said)[1:] == cells(made[1])[1:]
    assert {name: after[name] for name in ("solutions", "histories", "symmetries")} == {
        name: before[name] for name in ("solutions", "histories", "symmetries")
    }
    assert [(one["value"], one["exact"]) for one in (before["optimum"], before["equivariant"]["swap"])] == [
        (one["value"], one["exact"]) for one in (after["optimum"], after["equivariant"]["swap"])
    ]
    assert after["alpha_stable"] == pytest.approx(0.5)
    assert "horizon 1, discount 1, memory 1: 1 x 1 memories" in " ".join(said.out.split())
    assert (
        "alpha_certified   none (the proof that there is one stationary point needs perfect recall, and with memory=1 "
        "agents forget)" in said.out
    )
    assert {file.name for file in path.iterdir()} >= FILES | FIGURES
    assert study.results(phase.STUDY, [*SMALL, "memory=1", f"execution.output={tmp_path}"])[0]["decisions"] == [
        {"history": 0, "words": "step 1", "actions": {0: "lever0", 1: "lever1"}}
    ]


def test_only_runs_with_bounded_memory_have_it_in_their_name():
    assert "memory" not in config().science()
    assert config("memory=null").name() == config().name()
    assert config("memory=2").science()["memory"] == 2
    assert len({config(f"memory={memory}").name() for memory in ("null", 0, 1)}) == 3


@pytest.mark.slow
def test_boxes_prove_more_than_the_formula(made):
    game = equal_levers.make(3)
    found = phase._boxed(game.tree, tabular.groups(game).swap, 20, study.silent)
    assert 0.364213 < found["alpha"] < 0.45
    assert contents(made[0])["alpha_boxed"] is None
    said = exact_tables.phase_findings({**contents(made[0]), "alpha_boxed": found})
    assert said["alpha_boxed"] == f"{found['alpha']:.6g} (proved by {found['boxes']:,} boxes)"


def test_boxes_need_perfect_recall():
    (one,) = study.configs(phase.STUDY, ["game=dectiger", "horizon=3", "memory=1"])
    found = phase._boxed(one.tree, tabular.groups(one.simulator).swap, 20, study.silent)
    assert found["alpha"] is None
    assert "needs perfect recall, and with memory=1 agents forget" in found["boxes"]


def test_only_runs_with_boxes_have_them_in_their_name():
    assert "boxes" not in config().science()
    assert config("boxes=0").name() == config().name() != config("boxes=5").name()


def test_decisions_with_bounded_memory_in_words():
    (one,) = study.configs(phase.STUDY, ["game=dectiger", "horizon=3", "memory=1"])
    words = [decision["words"] for decision in tabular.decisions(one.tree)]
    assert words[:2] == ["step 1", "step 2, listen, saw hear-left"]
    assert len(words) == 13
    assert words[-1].startswith("step 3, open-right, saw hear-")


def unique(low, high):
    return {"several_up_to": low, "one_from": high, "beside": []}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"alpha_unique": unique(None, 0.3)}, "one solution at every α looked at, from 0.3 up"),
        ({"alpha_unique": unique(0.7, None)}, "up to 0.7, and no greater α looked at where all starts agree"),
        ({"alpha_unique": unique(None, None)}, "none: starts do not converge at the greatest α looked at"),
        ({"alpha_stable": None}, "the branch from α = ∞ stays stable down to 0.3"),
        ({"alpha_stable": None, "branch": None}, "not looked for (branch=false)"),
        ({"alpha_stable": None, "branch": None, "branch_refused": "too large"}, "alpha_stable      too large"),
        ({"alpha_certified": {"alpha": None, "method": "no bound"}}, "alpha_certified   none (no bound)"),
        (
            {"optimum": {"value": 0.4, "exact": False, "upper_bound": 1.0, "method": "5 starts"}},
            "best self-play    at least 0.4, at most 1 (5 starts); known: 1",
        ),
        (
            {
                "optimum": {"value": 1 / 3, "exact": False, "upper_bound": None, "method": "5 starts"},
                "known_optimum": None,
            },
            "best self-play    at least 0.3333333333 (5 starts)",
        ),
        ({"symmetries": {"swap": str(10**20), "no_swap": "28800"}}, "(symmetries: 1.000000e+20), 0.5 without (28,800)"),
    ],
    ids=lambda value: "" if isinstance(value, str) else " ".join(value),
)
def test_other_sentences(made, changes, sentence):
    table = copy.deepcopy(contents(made[0])) | changes
    sentences = exact_tables.phase(table).notes
    assert any(f"{sentence}\n" in f"{said}\n" or f"{sentence} (searched" in said for said in sentences)


@pytest.mark.slow
def test_progress(tacit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = tacit("phase", *SMALL, "execution.progress=true", "execution.figures=false")
    assert said.status == 0
    stages = [line.split(":")[0] for line in said.err.splitlines() if re.fullmatch(r"[a-z ]+: \d+ of \d+", line)]
    assert list(dict.fromkeys(stages)) == ["best policies", "branch", "starts", "following"]


# --- the run directory ---


def test_the_run_directory(made):
    path, _ = made
    assert {file.name for file in path.iterdir()} == FILES | FIGURES
    assert runs.read_status(path)["state"] == "finished"
    science = runs.check_finished(path, command="phase")["science"]
    assert (science["command"], science["alpha"], science["normal_starts"]) == ("phase", [0.3, 0.7], 2)
    assert science["game"]["version"] == equal_levers.make(2).version
    assert config().name() == path.name
    assert study.read(phase.STUDY, path) == contents(path)


def test_phase_json(made):
    table = contents(made[0])
    sizes = ("game", "parameters", "horizon", "discount", "agents", "histories")
    parameters = {"n": 2, "match": 1.0, "mismatch": 0.0, "players": 2}
    assert [table[name] for name in sizes] == ["equal_levers", parameters, 1, 1, 2, [1, 1]]
    assert table["symmetries"] == {"swap": "4", "no_swap": "2"}
    assert [row["alpha"] for row in table["rows"]] == [0.3, 0.7]
    assert [row["residual"] <= 1e-8 for row in table["rows"]] == [True, True]
    found = table["alpha_unique"]  # a pitchfork at 1/2, right above which starts are too slow to converge
    assert found["several_up_to"] == pytest.approx(0.5, abs=1e-8)
    assert found["one_from"] == found["beside"][1] == pytest.approx(0.5005, abs=1e-8)
    assert found["beside"][0] == pytest.approx(0.5 / 1.001, abs=1e-8)
    assert table["alpha_stable"] == pytest.approx(0.5, abs=1e-8)
    assert table["alpha_certified"]["alpha"] == pytest.approx(0.5, abs=1e-12)
    assert (table["known_optimum"], table["branch_refused"]) == (1.0, None)
    assert table["optimum"]["value"] == 1 and table["optimum"]["exact"]
    for found in table["equivariant"].values():
        assert found["value"] == pytest.approx(0.5, abs=1e-9) and found["exact"]
    branch = table["branch"]
    assert branch["alpha"][0] > 10 and branch["alpha"][-1] == pytest.approx(0.3)
    np.testing.assert_allclose(branch["soft"], 0.5, rtol=0, atol=1e-9)
    # The Jacobian of soft policy iteration at the uniform policy of two levers has the eigenvalue 1/(2 alpha).
    np.testing.assert_allclose(branch["eigenvalue"], 0.5 / np.array(branch["alpha"]), rtol=1e-6)
    (bifurcation,) = branch["bifurcations"]
    assert bifurcation == pytest.approx(0.5, abs=1e-8)


def test_the_saved_policies_are_stationary(made):
    path, _ = made
    saved, table = arrays(path), contents(path)
    payoff = np.eye(2)
    for place, alpha in enumerate((0.3, 0.7)):
        policies = [np.exp(saved[f"solutions_{place}_agent_{agent}"][:, 0]) for agent in (0, 1)]  # [K, A]
        count = table["rows"][place]["solutions"]
        assert [own.shape for own in policies] == [(count, 2)] * 2
        for own, other in (policies, policies[::-1]):
            weight = np.exp(other @ payoff / alpha)
            np.testing.assert_allclose(own, weight / weight.sum(1, keepdims=True), rtol=0, atol=1e-12)
        np.testing.assert_allclose(saved[f"soft_{place}"], policies[0] @ payoff @ policies[1].T, rtol=0, atol=1e-12)
        assert saved[f"starts_{place}"].tolist() == table["solutions"][place]["starts"]
        assert saved[f"starts_{place}"].sum() == 6
    np.testing.assert_allclose(np.sort(saved["solutions_0_agent_0"][:, 0, 0]), np.log([1 - P, P]), rtol=0, atol=1e-9)
    np.testing.assert_array_equal(saved["greedy_0"], np.eye(2))
    assert saved["branch_alpha"].tolist() == table["branch"]["alpha"]
    np.testing.assert_allclose(np.exp(saved["branch_agent_1"]), 0.5, rtol=0, atol=1e-9)


@pytest.mark.slow
def test_the_same_command_finds_the_finished_run(made, tacit, monkeypatch):
    path, said = made
    before = {file: file.stat().st_mtime_ns for file in path.iterdir()}
    monkeypatch.setattr(phase, "_compute", None)
    # In another order, and a whole number for a float: the same diagram.
    others = [override for override in SMALL if not override.startswith("alpha")]
    for order in ("alpha=[0.7,0.3]", "alpha=[0.3,0.7,0.3]"):
        again = tacit("phase", *others, order, "match=1", f"execution.output={path.parent}")
        assert (again.status, again.err) == (0, "")
        assert cells(again) == cells(said)
        assert again.out.splitlines()[-6:] == said.out.splitlines()[-6:]
    assert {file: file.stat().st_mtime_ns for file in path.iterdir()} == before
    assert [path.name for path in path.parent.iterdir()] == [path.name]


@pytest.mark.slow
def test_overwriting(made, tacit, tmp_path):
    path, said = made
    output = f"execution.output={tmp_path}"
    first = tacit("phase", *SMALL, output, "execution.figures=false")
    (again,) = tmp_path.iterdir()
    assert {file.name for file in again.iterdir()} == FILES
    (again / "phase.json").write_text("{}")
    assert tacit("phase", *SMALL, output, "execution.overwrite=true").status == 0
    assert {file.name for file in again.iterdir()} == FILES | FIGURES
    assert first.out.replace(str(again), "") == said.out.replace(str(path), "")
    # The same numbers as before: a diagram depends on nothing but its configuration.
    assert (again / "phase.json").read_bytes() == (path / "phase.json").read_bytes()
    ours, theirs = arrays(again), arrays(path)
    assert sorted(ours) == sorted(theirs)
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name])


@pytest.mark.slow
def test_what_names_a_run(made):
    name = made[0].name
    for same in ("execution.output=elsewhere", "execution.overwrite=true", "game.mismatch=0", "seed=0.0"):
        assert config(same).name() == name
    others = ["alpha=0.3", "seed=1", "n=3", "method=adam", "branch=false", "refine=true", "pure_starts=3"]
    assert len({name, *(config(other).name() for other in others)}) == 1 + len(others)
    assert config("alpha=0.3").name() == config("alpha=[0.3]").name()


@pytest.mark.slow
def test_an_interrupted_run_is_started_again(tacit, tmp_path, monkeypatch):
    arguments = ("phase", *SMALL, f"execution.output={tmp_path}", "execution.figures=false")

    def interrupt(*given, **named):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(phase.phase, "phase_diagram", interrupt)
        said = tacit(*arguments)
    assert (said.status, said.err) == (130, "tacit: interrupted\n")
    (path,) = tmp_path.iterdir()
    assert runs.read_status(path)["state"] == "interrupted"
    assert not (path / "phase.json").exists()
    with pytest.raises(TacitError, match="is not finished: interrupted"):
        study.read(phase.STUDY, path)
    assert tacit(*arguments).status == 0
    assert runs.read_status(path)["state"] == "finished"
    assert {file.name for file in path.iterdir()} == FILES
    assert tacit(*arguments[:-1]).status == 0  # finds it finished, and draws what is missing
    assert {file.name for file in path.iterdir()} == FILES | FIGURES


def test_a_defect_leaves_its_reason(tmp_path, monkeypatch):
    def fail(*given, **named):
        raise RuntimeError("something broke")

    monkeypatch.setattr(phase, "best_values", fail)
    small = config(f"execution.output={tmp_path}")
    with pytest.raises(RuntimeError, match="something broke"):
        study.make(phase.STUDY, small)
    status = runs.read_status(tmp_path / small.name())
    assert (status["state"], status["reason"]) == ("failed", "something broke")


def test_other_commands_do_not_take_it(made, tacit):
    path, _ = made
    before = sorted(path.parent.iterdir())
    for name in ("compare", "crossplay"):
        said = tacit(name, path)
        assert (said.status, said.out) == (2, "")
        assert said.err.startswith("tacit: run ")
        assert said.err.endswith(f"{path.name} was made by tacit phase, and a run of tacit train is needed\n")
    assert sorted(path.parent.iterdir()) == before


def test_a_training_run_has_no_diagram(made, tmp_path):
    plain = json.loads((made[0] / "run.json").read_text())
    del plain["science"]["command"]  # training runs have none
    runs.write_json(tmp_path / "run.json", plain)
    runs.write_status(tmp_path, "finished", steps=64)
    with pytest.raises(TacitError, match="was made by tacit train, and a run of tacit phase is needed"):
        study.read(phase.STUDY, tmp_path)


# --- figures ---


@pytest.mark.slow
def test_the_same_table_gives_the_same_figures(made, tmp_path):
    path, _ = made
    for name, draw in phase.STUDY.draw(contents(path), f"run {path.name}").items():
        figures.save(draw(), tmp_path / name)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {
        name: (path / name).read_bytes() for name in FIGURES
    }
    for name in ("phase.svg", "branch.svg"):
        drawn = (path / name).read_text()
        ElementTree.fromstring(drawn)
        for text in ("alpha_certified 0.5", "alpha_unique 0.5005", "alpha_stable 0.5", f"run {path.name}"):
            assert text in drawn


def test_a_threshold_beyond_the_axis_is_named(made):
    table = contents(made[0]) | {"alpha_certified": {"alpha": 9.0, "method": ""}, "alpha_stable": None}
    (legend,) = exact_figures.phase_diagram(table, "title").legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == ["alpha_certified 9 (off the axis)", "alpha_unique 0.5005"]


def test_the_branch_changes_its_line_where_it_loses_stability(made):
    figure = exact_figures.branch_diagram(contents(made[0]), "title")
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    stable, unstable = (lines[f"branch from ∞, {label}"] for label in ("stable", "unstable"))
    shown = [np.asarray(line.get_xdata())[np.isfinite(line.get_ydata())] for line in (stable, unstable)]
    assert shown[0].min() == shown[1].max() == pytest.approx(0.5, abs=0.01)  # interpolated between two points
    assert shown[1].min() == pytest.approx(0.3)
    assert shown[0].max() > 0.7


@pytest.mark.slow
def test_starts_that_do_not_converge_are_drawn_and_said(tacit, tmp_path):
    """One step is not enough for anybody: there are no returns, and nothing is counted."""
    said = tacit("phase", *SMALL, "max_steps=1", "method=adam", "branch=false", f"execution.output={tmp_path}")
    assert (said.status, said.err) == (0, "")
    _, low, high = cells(said)
    assert low[1:] == high[1:] == ["0 of 6", "0", "–", "–", "–", "–", "–", "–"]
    assert "alpha_unique      none: starts do not converge at the greatest α looked at (searched" in said.out
    assert {file.name for file in next(tmp_path.iterdir()).iterdir()} == FILES | {"phase.png", "phase.svg"}


# --- other games ---


@pytest.mark.slow
def test_three_agents(tacit, tmp_path):
    said = tacit("phase", *SMALL, "players=3", f"execution.output={tmp_path}")
    assert (said.status, said.err) == (0, "")
    _, low, high = cells(said)
    own, mixed = P**3 + (1 - P) ** 3, P**2 * (1 - P) + (1 - P) ** 2 * P
    assert low[:7] == ["0.3", "6 of 6", "2", f"{own:.4f}", f"{mixed:.4f}", "1.0000", "0.0000"]
    assert high[:7] == ["0.7", "6 of 6", "1", "0.2500", "0.2500", "0.2500", "0.2500"]
    assert "alpha_stable      0.5: " in said.out
    assert "best equivariant  0.25 with agent swaps (symmetries: 12), 0.25 without (2)" in said.out
    assert {file.name for file in next(tmp_path.iterdir()).iterdir()} == FILES | FIGURES


@pytest.mark.slow
def test_a_sweep_and_a_single_alpha(tacit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sweep = ("phase", "-m", "game=tiny_hanabi", "variant=A,B", "alpha=0.5", "branch=false", *FEW)
    said = tacit(*sweep)
    assert (said.status, "tacit:" in said.err) == (0, False)
    assert re.findall(r"(tiny_hanabi .*): 6 x 6 histories", said.out) == [
        f"tiny_hanabi variant={variant}, horizon 2, discount 1" for variant in "AB"
    ]
    assert said.out.count("alpha_unique      one solution at every α looked at, from 0.5 up (searched: 6 starts") == 2
    assert said.out.count("alpha_stable      not looked for (branch=false)\n") == 2
    # Known answers: one solution, which greedily is the optimum; sqrt(5)/4 and 1/2 are proved to be enough.
    assert [line.split()[1] for line in said.out.splitlines() if line.startswith("alpha_certified")] == [
        "0.559017",
        "0.5",
    ]
    tables = [contents(path.parent) for path in (tmp_path / "runs").glob("*/phase.json")]
    assert sorted(table["optimum"]["value"] for table in tables) == [1.0, 2.25]
    for table in tables:
        (row,) = table["rows"]
        assert (row["solutions"], row["defect"], table["branch"]) == (1, 0.0, None)
        assert row["greedy_cross_play"] == pytest.approx(table["optimum"]["value"], abs=1e-12)
    assert [(row["game"], row["alpha"]) for row in json.loads(tacit(*sweep, "--format", "json").out)] == [
        (f"tiny_hanabi variant={variant}, horizon 2, discount 1", 0.5) for variant in "AB"
    ]  # and nothing else
    assert not list(tmp_path.glob("**/*.png"))  # one α is no axis
    assert not list(tmp_path.glob("**/*.svg"))


@pytest.mark.slow
def test_a_users_file(tacit, made, tmp_path):
    (tmp_path / "mine.dpomdp").write_text(dpomdp_file.write(equal_levers.problem(2)))
    chosen = [override for override in SMALL if not override.startswith(("game=", "n="))]
    said = tacit(
        "phase", f"game.file={tmp_path}/mine.dpomdp", "horizon=1", *chosen, f"execution.output={tmp_path}/runs"
    )
    assert (said.status, said.err) == (0, "")
    assert cells(said) == cells(made[1])
    assert said.out.splitlines()[-6:-1] == made[1].out.splitlines()[-6:-1]
    assert "mine, horizon 1, discount 1: 1 x 1 histories" in said.out


def test_help_explains_every_key(tacit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for flag in ("--help", "-h"):
        said = tacit("phase", flag)
        assert (said.status, said.err) == (0, "")
    explained = set(re.findall(r"^(\w+): \S+ +# \S", said.out, re.M))
    fields = {field.name for field in dataclasses.fields(phase.PhaseConfig)} - {"game", "execution"}
    assert explained == fields | {"alpha_count", "alpha_min", "alpha_max"}
    assert not list(tmp_path.iterdir())
