"""Memories of bounded length against the windows of all histories, gone through one by one."""

import numpy as np
import pytest

from games.errors import TacitError
from games.tabular import histories, memories, symmetry
from games.tabular.library import dectiger, equal_levers, hint, recycling, tiny_hanabi
from tests.remembered import memory_of


@pytest.fixture(scope="module")
def games(random_dec_pomdp):
    """name -> (problem, horizon)"""
    return {
        "dectiger": (dectiger.problem(), 3),
        "recycling": (recycling.problem(), 3),
        "tiny_hanabi": (tiny_hanabi.problem("E"), 2),
        "hint": (hint.problem(2), 2),
        "three": (random_dec_pomdp(seed=4, num_agents=3, num_actions=(2, 3, 2), num_observations=(2, 1)), 2),
        "initial": (random_dec_pomdp(seed=3, initial=True, restricted=True), 3),
        "long": (random_dec_pomdp(seed=8, num_actions=(2, 2)), 4),
        "one step": (equal_levers.problem(2), 1),
    }


NAMES = ["dectiger", "recycling", "tiny_hanabi", "hint", "three", "initial", "long", "one step"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("more", [0, 3])
def test_with_a_memory_as_long_as_the_game_memories_are_histories_in_the_same_order(games, name, more):
    problem, horizon = games[name]
    tree, bounded = histories.build(problem, horizon), memories.build(problem, horizon, horizon + more)
    for agent, (own, short) in enumerate(zip(tree.agents, bounded.agents, strict=True)):
        for field, ours, theirs in zip(own._fields, own, short, strict=True):
            np.testing.assert_array_equal(theirs, ours, err_msg=field)
        np.testing.assert_array_equal(memory_of(tree, bounded, agent), np.arange(own.size))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("memory", [0, 1, 2])
def test_histories_with_the_same_window_are_one_memory(games, name, memory):
    problem, horizon = games[name]
    tree, bounded = histories.build(problem, horizon), memories.build(problem, horizon, memory)
    for agent, (own, short) in enumerate(zip(tree.agents, bounded.agents, strict=True)):
        number = memory_of(tree, bounded, agent)
        assert set(number.tolist()) == set(range(short.size))
        np.testing.assert_array_equal(short.legal[number], own.legal)
        follows = own.child >= 0
        np.testing.assert_array_equal(short.child[number][follows], number[own.child[follows]])
        # The way to a memory that is stored is one.
        later = np.arange(short.offsets[1], short.size)
        np.testing.assert_array_equal(
            short.child[short.parent[later], short.action[later], short.observation[later]], later
        )


@pytest.mark.parametrize(("memory", "sizes"), [(0, [1] * 50), (1, [1] + [6] * 49), (2, [1, 6] + [36] * 48)])
def test_the_sizes_of_dec_tiger_at_horizon_50(memory, sizes):
    # Three actions and two observations: K pairs of these.
    for own in memories.build(dectiger.problem(), 50, memory).agents:
        assert np.diff(own.offsets).tolist() == sizes


def test_a_memory_that_cannot_occur_is_not_counted():
    # An empty battery is recharged, or seen: of two actions and two observations one pair is impossible.
    problem = recycling.problem()
    for own in memories.build(problem, 4, 1).agents:
        pairs = {(int(a), int(o)) for a, o in zip(own.action[1:], own.observation[1:], strict=True)}
        assert own.size == 1 + 3 * len(pairs)
        assert len(pairs) < problem.num_actions[0] * problem.num_observations[0]


@pytest.mark.parametrize("memory", [0, 1, 2])
@pytest.mark.parametrize("name", ["dectiger", "tiny_hanabi", "hint"])
def test_the_image_of_a_memory_is_the_memory_of_the_image(games, name, memory):
    pytest.importorskip("igraph")
    problem, horizon = games[name]
    tree, bounded = histories.build(problem, horizon), memories.build(problem, horizon, memory)
    number = [memory_of(tree, bounded, agent) for agent in range(problem.num_agents)]
    for element in symmetry.automorphisms(problem, swap_agents=True).elements(100):
        whole, short = symmetry.on_histories(element, tree), symmetry.on_histories(element, bounded)
        for agent, image in enumerate(element.agents.tolist()):
            np.testing.assert_array_equal(short[agent][number[agent]], number[image][whole[agent]])


def test_the_group_of_the_identity_ties_nothing():
    pytest.importorskip("igraph")
    bounded = memories.build(dectiger.problem(), 3, 1)
    alone = symmetry.automorphisms(bounded.problem, swap_agents=True).trivial
    for own, agent in zip(symmetry.orbits(alone, bounded), bounded.agents, strict=True):
        assert len(np.unique(own)) == agent.legal.size
    assert [element.same_image(alone.identity) for element in alone.elements(1)] == [True]


@pytest.mark.parametrize(
    ("memory", "sentence"),
    [
        (-1, "memory must be a whole number of at least 0, not -1"),
        (1.5, "memory must be a whole number of at least 0, not 1.5"),
    ],
)
def test_a_memory_that_is_no_length_is_refused(memory, sentence):
    with pytest.raises(TacitError) as caught:
        memories.build(dectiger.problem(), 3, memory)
    assert str(caught.value).startswith(sentence)


def test_a_memory_that_is_too_long_is_refused_before_it_is_made():
    with pytest.raises(TacitError) as caught:
        memories.build(dectiger.problem(), 50, 6, memory_limit=2 * 36**2 - 1)
    assert str(caught.value) == (
        "the game is too large for memory=6: stage 3 combines 2 states and 36 x 36 outcomes, which take 2.41e-06 GiB, "
        "and the limit is 2.41e-06 GiB; take a smaller memory"
    )
