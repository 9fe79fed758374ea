"""Overlapping edits: values by counting, for two to four agents."""

import itertools
import math
import operator

import numpy as np
import pytest

from games.errors import TacitError
from games.tabular import structures
from games.tabular.library import overlapping_edits
from games.tabular.symmetry import automorphisms
from marl.exact.best_response import best_response
from marl.exact.equivariant import best_equivariant
from marl.exact.optimum import optimum

SIZES = [(2, 3), (3, 3), (2, 4), (3, 4), (4, 4)]
"""(agents, slots)."""
NOT_SOLVED = ("isolation", "shared_history")
OF_NAME = operator.attrgetter("name")


def reward(problem, deal, edits):
    number = int(np.ravel_multi_index(edits, problem.num_actions))
    return float(problem.expected_reward[number, problem.states.index("-".join(map(str, deal)))])


def test_some_merges_by_hand():
    problem = overlapping_edits.problem(slots=4)
    assert overlapping_edits.make().name == "overlapping_edits"
    assert (problem.num_states, problem.num_actions, problem.num_observations) == (12, (4, 4), (4, 4))
    assert reward(problem, (0, 1), (0, 1)) == 1
    assert reward(problem, (0, 1), (0, 2)) == 1
    assert reward(problem, (0, 1), (1, 1)) == 0  # both in slot 1
    assert reward(problem, (0, 1), (2, 1)) == 0  # the first feature is missing
    assert reward(problem, (3, 2), (0, 3)) == 1  # the ring closes
    assert reward(problem, (3, 2), (0, 1)) == 0
    three = overlapping_edits.problem(3, 4)
    assert reward(three, (2, 0, 1), (2, 0, 1)) == 1
    assert reward(three, (2, 0, 1), (2, 1, 2)) == 0
    seen = three.initial_observation[three.states.index("2-0-1")]
    assert three.joint_observations[seen.argmax()].tolist() == [2, 0, 1]


@pytest.mark.parametrize(("agents", "slots"), SIZES)
def test_solo_and_team_both_can_pass_always(agents, slots):
    for game in (overlapping_edits.make(agents, slots), overlapping_edits.solo(agents, slots)):
        found = optimum(game.problem, 1)
        assert found.exact
        assert found.value == pytest.approx(1.0, abs=1e-12)
        assert game.known_optimum == 1.0
    alone = overlapping_edits.solo(agents, slots)
    assert alone.num_players == 1
    assert [own.size for own in alone.tree.agents] == [math.perm(slots, agents)]


def own_slot(shift):
    return (np.array([(feature + shift) % 4 for feature in range(4)]),)


def test_the_two_conventions_do_not_mix():
    problem = overlapping_edits.problem(slots=4)
    same, following = own_slot(0), own_slot(1)

    def value(first, second):
        passes = [
            reward(problem, deal, (int(first[0][deal[0]]), int(second[0][deal[1]])))
            for deal in itertools.permutations(range(4), 2)
        ]
        return np.mean(passes)

    assert (value(same, same), value(following, following)) == (1, 1)
    assert value(following, same) == pytest.approx(2 / 3)  # a clash if the second has the feature after the first's
    assert best_response(problem, 1, (same, same), 0)[0] == pytest.approx(1, abs=1e-12)


def halves(slots, agents):
    """The chance to pass if every agent takes either of its slots with probability 1/2, by going through all."""
    passed = [
        len(set(edits)) == agents
        for deal in itertools.permutations(range(slots), agents)
        for edits in itertools.product(*((feature, (feature + 1) % slots) for feature in deal))
    ]
    return float(np.mean(passed))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("agents", "slots", "value"), [(2, 3, 3 / 4), (3, 3, 1 / 4), (2, 4, 5 / 6), (3, 4, 1 / 2), (4, 4, 1 / 8)]
)
def test_the_best_equivariant_value_over_the_number_of_agents(agents, slots, value):
    assert halves(slots, agents) == pytest.approx(value, abs=1e-12)
    game = overlapping_edits.make(agents, slots)
    tied = best_equivariant(game.tree, automorphisms(game.problem, swap_agents=False), upper_bound=1.0)
    assert tied.exact
    assert tied.value == pytest.approx(value, abs=1e-12)


@pytest.mark.slow
def test_agent_swaps_do_not_change_that_value():
    game = overlapping_edits.make()
    tied = best_equivariant(game.tree, automorphisms(game.problem, swap_agents=True), upper_bound=1.0)
    assert tied.exact
    assert tied.value == pytest.approx(3 / 4, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("agents", "slots", "swapped", "not_swapped"), [
    (2, 3, 12, 6), (2, 4, 16, 8), (2, 5, 20, 10), (3, 4, 48, 8), (4, 4, 192, 8)
])  # fmt: skip
def test_order_of_the_symmetries_of_the_ring(agents, slots, swapped, not_swapped):
    problem = overlapping_edits.problem(agents, slots)
    assert automorphisms(problem, swap_agents=True).order == swapped
    assert automorphisms(problem, swap_agents=False).order == not_swapped


@pytest.mark.parametrize(
    ("slots", "parts", "value"),
    [(3, ((0, 2), (1,)), 2 / 3), (4, ((0, 2), (1, 3)), 1.0), (4, ((0, 1), (2, 3)), 7 / 12)],
    ids=["ring of 3", "ring of 4", "halves"],
)
def test_what_isolation_costs_depends_on_the_cut(slots, parts, value):
    game = structures.isolation(overlapping_edits.make(2, slots), partition=parts)
    found = optimum(game.problem, game.horizon)
    assert found.exact
    assert found.value == pytest.approx(value, abs=1e-12)


def test_arguments_of_the_structures_of_edits():
    found = overlapping_edits.arguments()
    assert list(found) == [structure.name for structure in structures.STRUCTURES]
    assert found["claims"] == {"items": (0, 1, 2)}
    assert found["isolation"] == {"partition": ((0, 2), (1,))}
    assert overlapping_edits.arguments(3, 4)["isolation"] == {"partition": ((0, 3), (1,), (2,))}
    assert [name for name, given in found.items() if isinstance(given, str)] == ["shared_history"]


@pytest.mark.slow
@pytest.mark.parametrize("structure", [one for one in structures.STRUCTURES if one.name not in NOT_SOLVED], ids=OF_NAME)
def test_structures_that_give_edits_the_solo_optimum(structure):
    given = overlapping_edits.arguments()[structure.name]
    game = structure.apply(overlapping_edits.make(), **given)
    assert optimum(game.problem, game.horizon, restarts=8).value == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"slots": 2}, "overlapping_edits slots must be a whole number of at least 3, not 2"),
        (
            {"agents": 5, "slots": 4},
            "overlapping_edits agents must be a whole number from 2 to 4 (every agent has a feature of its own), not 5",
        ),
        (
            {"agents": 4, "slots": 5},
            "overlapping edits of 4 agents in 5 slots have a table of 46,875,000 entries, more than 10,000,000",
        ),
    ],
)
def test_bad_arguments_of_overlapping_edits(given, said):
    for function in (overlapping_edits.make, overlapping_edits.solo, overlapping_edits.arguments):
        with pytest.raises(TacitError) as raised:
            function(**given)
        assert str(raised.value) == said
