"""Task claiming against its analytic values."""

import math

import numpy as np
import pytest

from games.errors import TacitError
from games.tabular import structures
from games.tabular.library import task_claiming
from games.tabular.symmetry import automorphisms
from marl.exact.crossplay import self_play
from marl.exact.equivariant import best_equivariant
from marl.exact.optimum import optimum

SIZES = [(2, 2), (3, 2), (4, 2), (2, 3), (3, 3), (4, 3)]


def uniform_value(game):
    return float(self_play(game.tree, tuple(np.log(own)[None] for own in game.tree.uniform()))[0])


def test_the_payoffs_by_hand():
    pays = task_claiming.problem(3, 2).expected_reward[:, 0].reshape(3, 3)
    assert pays.tolist() == [[1, 2, 2], [2, 1, 2], [2, 2, 1]]
    three = task_claiming.problem(2, 3).expected_reward[:, 0].reshape(2, 2, 2)
    assert three.tolist() == [[[1, 2], [2, 2]], [[2, 2], [2, 1]]]
    assert task_claiming.make().name == "task_claiming"
    assert (task_claiming.make().problem.num_actions, task_claiming.make().horizon) == ((3, 3), 1)


@pytest.mark.parametrize(("tasks", "agents"), SIZES)
def test_symmetric_play_finds_the_analytic_number_of_tasks(tasks, agents):
    game = task_claiming.make(tasks, agents)
    distinct = tasks * (1 - (1 - 1 / tasks) ** agents)
    assert uniform_value(game) == pytest.approx(distinct, abs=1e-12)
    group = automorphisms(game.problem, swap_agents=False)
    tied = best_equivariant(game.tree, group, upper_bound=float(min(tasks, agents)))
    assert tied.exact
    assert tied.value == pytest.approx(distinct, abs=1e-12)


def test_agent_swaps_change_nothing_in_it():
    game = task_claiming.make()
    tied = best_equivariant(game.tree, automorphisms(game.problem, swap_agents=True), upper_bound=2.0)
    assert tied.exact
    assert tied.value == pytest.approx(5 / 3, abs=1e-9)


@pytest.mark.parametrize(("tasks", "agents"), SIZES)
def test_solo_and_team_optimum(tasks, agents):
    for game in (task_claiming.make(tasks, agents), task_claiming.solo(tasks, agents)):
        found = optimum(game.problem, game.horizon)
        assert (found.value, found.exact) == (min(tasks, agents), True)
        assert game.known_optimum == min(tasks, agents)
    assert task_claiming.solo(tasks, agents).num_players == 1


@pytest.mark.parametrize(("tasks", "agents"), SIZES)
def test_order_of_the_symmetries(tasks, agents):
    problem = task_claiming.problem(tasks, agents)
    assert automorphisms(problem, swap_agents=False).order == math.factorial(tasks)
    assert automorphisms(problem, swap_agents=True).order == math.factorial(tasks) * math.factorial(agents)


def test_arguments_of_the_structures():
    found = task_claiming.arguments()
    assert list(found) == [structure.name for structure in structures.STRUCTURES]
    assert found["claims"] == {"items": (0, 1, 2)}
    assert found["isolation"] == {"partition": ((0, 2), (1,))}
    assert isinstance(found["shared_history"], str)
    assert isinstance(task_claiming.arguments(2, 3)["isolation"], str)


@pytest.mark.parametrize(
    ("structure", "value"),
    [("cheap_talk", 5 / 3), ("commitments", 2.0), ("claims", 2.0), ("isolation", 2.0), ("leader", 2.0)],
)
def test_what_a_structure_gives_those_who_treat_tasks_alike(structure, value):
    """Talk has no words for tasks that look alike; a board of the tasks themselves has, and so has all that binds."""
    game = structures.apply_all(task_claiming.make(), [(structure, task_claiming.arguments()[structure])])
    group = automorphisms(game.problem, swap_agents=False)
    tied = best_equivariant(game.tree, group, upper_bound=2.0)
    assert tied.exact
    assert tied.value == pytest.approx(value, abs=1e-12)


def test_a_board_of_labels_is_talk():
    game = structures.claims(task_claiming.make(), items=3)
    tied = best_equivariant(game.tree, automorphisms(game.problem, swap_agents=False), upper_bound=2.0)
    assert tied.exact
    assert tied.value == pytest.approx(5 / 3, abs=1e-12)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"tasks": 0}, "task_claiming tasks must be a whole number of at least 1, not 0"),
        ({"agents": 1}, "task_claiming agents must be a whole number of at least 2, not 1"),
        ({"tasks": 11, "agents": 6}, "11 tasks and 6 agents have 11^6 joint actions, more than 1,000,000"),
    ],
)
def test_bad_arguments_of_task_claiming(given, said):
    for function in (task_claiming.make, task_claiming.solo, task_claiming.arguments):
        with pytest.raises(TacitError) as raised:
            function(**given)
        assert str(raised.value) == said
