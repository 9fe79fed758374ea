"""What a run of the exact lab says of its cost: from fake speeds and a fake clock, and for games of two sizes."""

import json

import jax
import numpy as np
import pytest

from experiments.studies import effort, forecast, phase, structure_table, study, zsc_table
from experiments.studies.effort import Effort, MethodEffort
from experiments.studies.forecast import Forecast, Part
from experiments.studies.tabular import SearchEffort
from games.errors import TacitError
from games.tabular.library import dectiger, equal_levers, split_maze, two_stage_lever
from games.tabular.symmetry import automorphisms, orbits
from marl.exact import cost, gradient_flow
from marl.exact.branch_equations import equations
from marl.exact.methods import METHODS
from tests.command_line import printed_rows

FAST = ("fast=true",)
FEW = ("alpha=[0.3,0.7]", "normal_starts=2", "wide_starts=0", "pure_starts=4", "refine=false")


class Clock:
    """Seconds that a test sets."""

    now = 0.0

    def __call__(self):
        return self.now


def watched(parts, seconds, fast=()):
    """(the forecast, its clock, what it has reported, what it has said)."""
    clock, reported, said = Clock(), [], []

    def report(stage, done, total, left=None):
        reported.append((stage, done, total, left))

    return Forecast(parts, seconds, report, said.append, fast, clock), clock, reported, said


PARTS = [
    Part("branch", 600_000.0, ("branch=false",)),
    Part("starts", 240_000.0, ("fewer starts", "fewer α"), chunk=1_000.0),
    Part("refining", 1_000.0, ("refine=false",)),
]


def test_a_long_run_says_so_before_it_begins():
    """841,000 sweeps of a millisecond are 14 minutes; a thousand of them are too few to be named."""
    _, _, _, said = watched(PARTS, 1e-3, ["fast=true"])
    assert said == [
        "about 14 min (before it begins; perhaps half or twice as long), 10 min of it branch; "
        "faster: branch=false, fewer starts, fewer α, fast=true"
    ]


def test_a_short_run_says_nothing():
    report, clock, _, said = watched(PARTS, 1e-5, ["fast=true"])
    for clock.now in (1.0, 1.01, 1.02):
        report("starts", 0, 8)
    assert said == []


def test_the_first_chunk_is_timed_without_what_was_compiled_before_it():
    report, clock, reported, said = watched(PARTS, 1e-5)
    report("branch", 0, 100)
    clock.now = 20.0  # compiling
    report("starts", 0, 8)
    assert said == []
    clock.now = 22.0  # a thousand sweeps took 2 s, not 0.01: 240,000 take 480 s, and 1,000 more two
    report("starts", 0, 8)
    assert said == [
        "about 8 min (measured by its first steps; perhaps half or twice as long), 8 min of it starts; "
        "faster: fewer starts, fewer α"
    ]
    assert reported[-1][:3] == ("starts", 0, 8)
    assert reported[-1][3] == pytest.approx(240_000 * 0.002 - 2 + 1_000 * 0.002)


def test_the_seconds_left_follow_from_what_is_done():
    report, clock, reported, _ = watched(PARTS, 1e-3)
    report("branch", 0, 100)
    assert reported[-1][3] == pytest.approx(841.0)
    clock.now = 30.0
    report("branch", 10, 100)  # nine times as much again, then the other parts at the speed that was measured
    assert reported[-1][3] == pytest.approx(9 * 30 + 241)
    clock.now = 31.0
    report("elsewhere", 1, 2)
    assert reported[-1] == ("elsewhere", 1, 2, None)


def test_a_part_that_takes_longer_than_expected_does_not_say_how_long():
    report, clock, reported, _ = watched(PARTS, 1e-3)
    report("branch", 0, 100)
    clock.now = 601.0
    report("branch", 0, 100)
    assert reported[-1] == ("branch", 0, 100, None)


# --- counts ---


@pytest.mark.slow
def test_sweeps_are_timed_by_the_clock_after_compilation():
    """Two readings twelve seconds apart, for three batches of 4 policies."""
    readings = iter((5.0, 17.0))
    assert cost.sweep_seconds(equal_levers.make(2).tree, 4, lambda: next(readings)) == 1.0


def test_the_counts_of_parts():
    tree = dectiger.make(horizon=3).tree
    assert cost.of_best(32, 2000) == 2 * 32 * 2000
    assert cost.of_best(2, 100) == 2 * 16 * 100  # padded to a batch of 16
    assert cost.of_starts(10, "flow", 10_000) == 10 * (2 * 500 + 250)
    assert cost.of_starts(10, "flow", 100) == 10 * (2 * 100 + 250)
    assert cost.of_starts(1, "adam", 10_000) == 10_250
    # 43 histories of 3 actions each for two agents.
    free = 2 * 43 * 2
    assert len(equations(tree, None).full.entry) == free
    assert cost.of_branch(tree, free, stability=False) == 100 * 3 * 2 * free
    assert cost.of_branch(tree, 2_001) == 0  # refused
    with jax.enable_x64(True):
        assert cost.of_chunk(tree, 1024, "flow") == 128 * (2 * gradient_flow.CHUNK + 1)


def test_entries_grow_as_joint_histories_do():
    small, large = (cost.entries(dectiger.make(horizon=h).tree) for h in (3, 4))
    assert 25 < large / small < 36  # the last stage is 36 times as large; rewards do not grow


def test_numbers_of_lists_of_joint_histories_count_twice():
    # 630 in a matrix, 336 in a list, 175 of the agents' histories, 2 discounts.
    assert cost.entries(split_maze.make().tree) == 630 + 2 * 336 + 175 + 2


def test_what_methods_share_is_counted_once():
    tree = two_stage_lever.make().tree
    group = automorphisms(tree.problem, swap_agents=True)
    unknowns = len(equations(tree, orbits(group, tree)).tied.entry)
    branch = cost.of_branch(tree, unknowns)
    flow = cost.of_starts(160, "flow", 10_000) + cost.of_search(tree, 16, "flow", 10_000, 16)
    every = forecast.of_methods([method.key for method in METHODS], tree, group, 16)
    assert [part.stage for part in every] == [method.name for method in METHODS]
    assert {part.stage: part.sweeps for part in every if part.sweeps} == {
        "high entropy": branch + flow,
        "Other-Play": 16 * 2000,
        "k-level 4, synchronous": 20_000,
        "cognitive hierarchy 4, synchronous": 20_000,
    }
    greedy, annealed = forecast.of_methods(["high-entropy-greedy", "annealed-greedy"], tree, group, 16)
    assert (greedy.sweeps, annealed.sweeps) == (branch + flow, 0)
    (alone,) = forecast.of_methods(["annealed-greedy"], tree, group, 16)
    assert alone.sweeps == branch > 0


# --- fast ---

ASKED = Effort(tuple(np.geomspace(1, 60, 32).tolist()), (12, 4, 16), 10_000, True, True, SearchEffort(), boxes=1_000)


def test_fast_settings_of_a_small_game():
    spent = effort.fast(ASKED, equal_levers.make(2).tree)
    assert (spent.starts, spent.num_starts, spent.max_steps) == ((2, 1, 1), 4, 2_000)
    assert (spent.refine, spent.branch, spent.boxes) == (False, False, 0)
    assert spent.search == SearchEffort(work=30_000_000, restarts=16, tied_restarts=16, tied_steps=2_000)
    assert spent.alpha == tuple(ASKED.alpha[place] for place in (4, 12, 20, 28))


@pytest.mark.parametrize("horizon", [2, 3, 4])
def test_fast_settings_take_about_the_same_time(horizon):
    """At the speed that they assume: at most 40 seconds, and no game gets fewer than 100 steps."""
    tree = dectiger.make(horizon=horizon).tree
    spent = effort.fast(ASKED, tree)
    sweep = 2e-5 + 1.5e-9 * cost.entries(tree)
    search = cost.of_best(spent.search.tied_restarts, spent.search.tied_steps)
    followed = 2 if len(spent.alpha) > 1 else 1
    starts = followed * spent.num_starts * len(spent.alpha) * (2.5 * spent.max_steps + cost.AFTERWARDS)
    assert (search + starts) * sweep <= 40.0
    assert spent.max_steps >= 400


def test_fast_settings_never_exceed_what_is_asked_for():
    few = Effort((3.0,), (0, 0, 5), 50, False, False, SearchEffort())
    spent = effort.fast(few, equal_levers.make(2).tree)
    assert (spent.alpha, spent.starts, spent.max_steps) == ((3.0,), (0, 0, 2), 50)
    only = effort.fast(few._replace(starts=(7, 0, 0)), equal_levers.make(2).tree)
    assert only.starts == (2, 0, 0)


def test_fast_methods_leave_out_what_takes_longer_than_a_first_look():
    """The branches that high entropy follows, and the one that annealing follows, grow with the game."""
    asked, keys = MethodEffort(16, SearchEffort()), [method.key for method in METHODS]
    high_entropy = ("high-entropy", "high-entropy-greedy")
    for game, left_out in (
        (equal_levers.make(2), ()),
        (dectiger.make(horizon=3), high_entropy),
        (dectiger.make(horizon=4), (*high_entropy, "annealed-greedy")),
    ):
        spent = effort.fast_methods(asked, keys, game.tree, automorphisms(game.problem, swap_agents=True))
        assert spent == MethodEffort(4, SearchEffort(30_000_000, 16, 16, 2_000), left_out)
        assert spent.left(keys) == [key for key in keys if key not in left_out]


def test_a_short_search_takes_no_more_sweeps_than_it_may():
    assert effort.fast_search(SearchEffort(), 1_000 * 32).tied_steps == 1_000
    assert effort.fast_search(SearchEffort(), 1.0).tied_steps == 100


def test_fast_methods_never_exceed_what_is_asked_for():
    game = equal_levers.make(2)
    asked = MethodEffort(2, SearchEffort(work=1, restarts=3, tied_restarts=5, tied_steps=300))
    spent = effort.fast_methods(asked, ["other-play"], game.tree, automorphisms(game.problem, swap_agents=True))
    assert spent == asked


@pytest.mark.parametrize(("count", "taken"), [(1, (3,)), (2, (1, 5)), (3, (1, 3, 5)), (7, (0, 1, 2, 3, 4, 5, 6))])
def test_values_are_spread_evenly(count, taken):
    assert effort._spread(tuple(range(7)), count) == taken


def silent(folder):
    return ("execution.progress=false", "execution.figures=false", f"execution.output={folder}")


def config(*overrides):
    (one,) = study.configs(phase.STUDY, ["game=equal_levers", "n=2", *FEW, *overrides])
    return one


@pytest.mark.slow
def test_only_fast_runs_have_other_names():
    """A run without the key is named as before there was one."""
    plain = config().science()
    assert "fast" not in plain
    assert config("fast=false").name() == config().name()
    fast = config("fast=true")
    assert fast.science() == {**plain, "fast": effort.VERSION}
    assert fast.name() != config().name()


@pytest.mark.slow
@pytest.mark.parametrize("of", [zsc_table.STUDY, structure_table.STUDY])
def test_only_fast_tables_have_other_names(of):
    plain, said, fast = (study.configs(of, ["game=task_claiming", *given])[0] for given in ([], ["fast=false"], FAST))
    assert "fast" not in plain.science()
    assert said.name() == plain.name() != fast.name()
    assert fast.science() == {**plain.science(), "fast": effort.VERSION}
    with pytest.raises(TacitError, match=r"^fast must be true or false, not 1$"):
        study.configs(of, ["game=task_claiming", "fast=1"])


@pytest.mark.slow
def test_a_fast_table_of_methods_says_what_it_leaves_out(tacit, tmp_path, monkeypatch):
    monkeypatch.setattr(effort, "_SECONDS", 1.0)
    said = tacit("zsc-table", "game=equal_levers", "n=2", "method=[high-entropy,other-play]", *FAST, *silent(tmp_path))
    assert (said.status, said.err) == (0, "")
    assert printed_rows(said.out)[1:] == [
        ["high entropy", "n/a"],
        ["Other-Play", "0.5000"],
        ["best equivariant", "0.5000"],
        ["best self-play", "1.0000"],
    ]
    assert f"n/a (equal_levers 2): {effort.LEFT_OUT}.\n" in said.out
    steps = effort.fast_search(SearchEffort(), effort._shares(equal_levers.make(2).tree)[0]).tied_steps
    note = f"4 of 16 starts, best policies searched from 16 starts for {steps:,} steps"
    assert f"\nfast (equal_levers 2): {note}.\n" in said.out
    (path,) = tmp_path.glob("*/zsc.json")
    assert [method["refused"] for method in json.loads(path.read_text())["methods"]] == [effort.LEFT_OUT, None]


@pytest.mark.slow
def test_a_fast_table_of_structures_says_what_it_leaves_out(tacit, tmp_path, monkeypatch):
    monkeypatch.setattr(effort, "_SECONDS", 1.0)
    methods, structures = "method=[self-play,high-entropy]", "structure=[none,shared_history]"
    said = tacit("structure-table", "game=task_claiming", structures, methods, *FAST, *silent(tmp_path))
    assert (said.status, said.err) == (0, "")
    assert f"n/a (task_claiming none high entropy): {effort.LEFT_OUT}.\n" in said.out
    assert "\nfast (task_claiming none): 4 of 16 starts, best policies searched from 16 starts for " in said.out
    assert f"\nfast (task_claiming shared_history): {effort.SHORT_SEARCH}.\n" in said.out  # at one step there is none


@pytest.mark.slow
def test_a_fast_diagram_says_what_it_leaves_out(tacit, tmp_path):
    said = tacit(
        "phase", "game=equal_levers", "n=2", "fast=true", "execution.progress=false", f"execution.output={tmp_path}"
    )
    assert (said.status, said.err) == (0, "")
    (note,) = (line for line in said.out.splitlines() if line.startswith("fast "))
    assert note == (
        "fast              4 of 32 α, 4 of 32 starts, at most 2,000 steps, best policies searched from 16 starts for "
        "2,000 steps; not refined, no branch"
    )
    assert "4 starts at 4 α" in said.out
    assert "the branch from α = ∞ was not followed; not refined)" in said.out


@pytest.mark.slow
def test_the_sentence_comes_for_a_large_game_and_not_for_a_small_one(monkeypatch):
    """Of dec-tiger with the speed of a slow machine; a run that is interrupted before anything is computed."""
    said = []
    monkeypatch.setattr(forecast.terminal, "say", said.append)
    monkeypatch.setattr(cost, "sweep_seconds", lambda tree, count: 1e-3)

    class StopError(Exception):
        pass

    def stop(*given, **named):
        raise StopError

    monkeypatch.setattr(phase, "best_values", stop)
    for arguments, sentences in (
        (["game=dectiger", "horizon=4"], 1),
        (["game=dectiger", "horizon=4", "execution.progress=false"], 1),
        (["game=equal_levers", "n=2", *FEW], 1),
    ):
        (one,) = study.configs(phase.STUDY, arguments)
        with pytest.raises(StopError):
            phase._prepare(one, study.silent)()
        assert len(said) == sentences
    assert said[0].startswith("dectiger: about ")
    assert "fast=true" in said[0] and "refine=false" in said[0]
