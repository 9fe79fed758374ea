"""Who meets whom."""

import itertools
import math

import numpy as np
import pytest

from games.errors import TacitError
from marl.crossplay import CrossPlay, seatings


def listed(*arguments, **options):
    cells = seatings(*arguments, **options)
    assert cells.dtype == np.int32 and cells.ndim == 2
    assert len(set(map(tuple, cells.tolist()))) == len(cells)
    return cells.tolist()


def test_all_ordered_pairs_of_two_players():
    pairs = [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2], [2, 0], [2, 1], [2, 2]]
    assert listed(3, 2, "all") == pairs
    assert sorted(listed(3, 2, "distinct")) == pairs
    assert sorted(listed(3, 2, "one_against_copies")) == pairs


def test_distinct_pairs_begin_with_the_disjoint_ones():
    cells = listed(5, 2, "distinct")
    assert cells[:5] == [[a, a] for a in range(5)]
    assert cells[5:9] == [[0, 1], [1, 0], [2, 3], [3, 2]]
    assert len(cells) == 5 + 20


def test_one_against_copies_in_each_seat():
    expected = [[0, 0, 0], [1, 1, 1]]
    expected += [[0, 1, 1], [1, 0, 1], [1, 1, 0]]  # agent 0 against copies of agent 1
    expected += [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert listed(2, 3, "one_against_copies") == expected
    for agents, players in itertools.product((2, 3, 4), (2, 3, 4, 5)):
        cells = listed(agents, players, "one_against_copies")
        seats = players if players > 2 else 1
        assert len(cells) == agents + agents * (agents - 1) * seats
        assert all(sorted(map(cell.count, set(cell))) in ([players], [1, players - 1]) for cell in cells)


@pytest.mark.parametrize("kind", ["all", "distinct"])
@pytest.mark.parametrize(("agents", "players"), [(3, 3), (4, 3), (5, 3), (6, 3), (4, 4), (5, 4), (5, 5)])
def test_more_players_sit_in_all_orders(kind, agents, players):
    cells = listed(agents, players, kind)
    assert cells[:agents] == [[agent] * players for agent in range(agents)]
    assert sorted(cells[agents:]) == [list(order) for order in itertools.permutations(range(agents), players)]
    # The disjoint groups come first.
    groups = [range(first, first + players) for first in range(0, agents - players + 1, players)]
    grouped = [sorted(cell) for cell in cells[agents : agents + len(groups) * math.factorial(players)]]
    assert grouped == [list(group) for group in groups for _ in range(math.factorial(players))]


def test_beyond_the_disjoint_groups_at_most_so_many_are_drawn():
    # 6 agents, 3 seats: 120 orders; the groups (0 1 2) and (3 4 5) have 6 each, which leaves 108.
    capped = listed(6, 3, "distinct", max_seatings=20)
    assert len(capped) == 6 + 12 + 20
    assert {tuple(sorted(cell)) for cell in capped[6:18]} == {(0, 1, 2), (3, 4, 5)}
    assert all(len(set(cell)) == 3 and max(cell) < 6 for cell in capped[6:])
    assert capped == listed(6, 3, "distinct", max_seatings=20, seed=0)
    assert capped != listed(6, 3, "distinct", max_seatings=20, seed=1)
    assert len(listed(6, 3, "distinct", max_seatings=108)) == 6 + 120
    assert len(listed(6, 3, "distinct", max_seatings=107)) == 6 + 119
    assert listed(6, 3, "distinct", max_seatings=0) == capped[:18]
    assert len(listed(12, 5, "all", max_seatings=300)) == 12 + 2 * 120 + 300  # of 95,040
    assert len(listed(30, 2, "distinct")) == 30 + 15 * 2 + 200
    assert len(listed(30, 2, "all")) == 900  # all pairs are all pairs


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((0, 2, "one_against_copies"), "cross-play needs at least one agent, and there is none"),
        (
            (2, 3, "distinct"),
            "3 different agents are needed to fill every seat, and there are 2; seating=one_against_copies needs two",
        ),
        (
            (4, 5, "all"),
            "5 different agents are needed to fill every seat, and there are 4; seating=one_against_copies needs two",
        ),
    ],
)
def test_too_few_agents(arguments, sentence):
    with pytest.raises(TacitError) as error:
        seatings(*arguments)
    assert str(error.value) == sentence


@pytest.mark.parametrize("kind", ["all", "distinct", "one_against_copies"])
def test_one_agent_plays_with_itself(kind):
    assert listed(1, 2, kind) == [[0, 0]]
    assert listed(1, 5, kind) == [[0, 0, 0, 0, 0]]


def played(cells, means, agents):
    cells, nothing = np.array(cells), np.zeros(len(cells))
    return CrossPlay(tuple(map(str, range(agents))), cells, np.array(means), nothing, nothing, nothing, nothing)


def test_the_matrix_of_two_players():
    matrix = played([[0, 0], [0, 1], [1, 0], [1, 1]], [1.0, 2.0, 3.0, 4.0], 2).matrix()
    assert matrix.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert np.isnan(played([[0, 0], [1, 0]], [1.0, 3.0], 2).matrix()).tolist() == [[False, True], [False, True]]


def test_the_matrix_of_more_players_averages_over_seatings():
    cells = [[0, 0, 0], [1, 1, 1], [0, 1, 1], [1, 0, 1], [1, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    # Agent 0 in seat 0 beside agent 1: (0, 1, 1), (0, 1, 0) and (0, 0, 1). Self-play stays alone on the diagonal.
    assert played(cells, [10, 20, 1, 2, 3, 4, 5, 6], 2).matrix().tolist() == [[10, 4], [3, 20]]
