"""The split maze: its rules, and its values against an enumeration that knows nothing of tables."""

import itertools

import numpy as np
import pytest

from games.errors import TacitError
from games.tabular.library import split_maze
from games.tabular.library.split_maze import DOWN, LAYOUTS, PASSAGES, RIGHT, WAIT
from games.tabular.structures import STRUCTURES
from games.tabular.symmetry import automorphisms
from marl.exact.optimum import optimum

UPPER, LOWER = {"top", "right"}, {"left", "bottom"}  # the passages of the two ways
OPTIMA = {  # sevenths, for each first speaker and split
    None: {1: 5, 2: 5, 3: 5},
    0: {1: 6, 2: 6, 3: 7},
    1: {1: 7, 2: 6, 3: 6},
}
SETTINGS = [(first, split) for first in OPTIMA for split in OPTIMA[first]]


def seen_by(split):
    return set(PASSAGES[:split]), set(PASSAGES[split:])


def views(split):
    """What each agent sees in each layout."""
    return [[frozenset(walls & own) for walls in LAYOUTS] for own in seen_by(split)]


def mappings(seen, choices=(RIGHT, DOWN)):
    """All functions from what can be seen to choices."""
    different = list(dict.fromkeys(seen))
    for chosen in itertools.product(choices, repeat=len(different)):
        yield dict(zip(different, chosen, strict=True))


def is_open(walls, direction):
    return not walls & (UPPER if direction == RIGHT else LOWER)


def test_seven_layouts_leave_a_way_open():
    subsets = [frozenset(s) for size in range(5) for s in itertools.combinations(PASSAGES, size)]
    assert set(LAYOUTS) == {walls for walls in subsets if is_open(walls, RIGHT) or is_open(walls, DOWN)}
    assert len(LAYOUTS) == 7


@pytest.mark.parametrize(("first", "split"), SETTINGS)
def test_the_known_optimum_is_that_of_all_policies(first, split):
    """In two steps the first proposals decide: whoever has got to the middle knows the rest of the way."""
    seen = views(split)
    if first is None:
        best = max(
            sum(
                one[view] == other[theirs] and is_open(walls, one[view])
                for walls, view, theirs in zip(LAYOUTS, *seen, strict=True)
            )
            for one in mappings(seen[0])
            for other in mappings(seen[1])
        )
    else:  # to refuse is of no use
        best = max(
            sum(is_open(walls, proposed[view]) for walls, view in zip(LAYOUTS, seen[first], strict=True))
            for proposed in mappings(seen[first])
        )
    assert best == OPTIMA[first][split]
    assert split_maze.make(first, split).known_optimum == pytest.approx(best / 7, abs=1e-15)


@pytest.mark.parametrize("split", [1, 2, 3])
def test_the_solver_finds_the_known_optimum(split):
    game = split_maze.make(split=split)
    found = optimum(game.problem, game.horizon)
    assert found.exact
    assert found.value == pytest.approx(game.known_optimum, abs=1e-12)


def test_the_solo_optimum():
    game = split_maze.solo()
    assert (game.name, game.num_players, game.horizon, game.known_optimum) == ("split_maze solo", 1, 2, 1.0)
    found = optimum(game.problem, game.horizon)
    assert found.exact
    assert found.value == pytest.approx(1.0, abs=1e-12)
    assert split_maze.solo(first=1, split=3) == game


def follows_the_upper_way(problem, first, unsure=None):
    """Right unless one sees or learns of a wall on the upper way; accept what is proposed unless one knows better.

    unsure: what to do at the start without a wall in sight, instead of going right.
    """

    def policy(agent, path):
        names = problem.observations[agent]
        last, upper_wall = names[path[-1]], any(wall in names[path[0]] for wall in UPPER)
        if last in ("proposed", "lower-right"):
            return {WAIT: 1.0}
        if first is not None and agent != first:
            if not last.startswith("hears"):
                return {WAIT: 1.0}
            refuses = upper_wall and len(path) == 3
            return {DOWN if refuses or last == "hears-down" else RIGHT: 1.0}
        if unsure and last == "no-wall":
            return unsure
        knows_better = last in ("disagreed", "upper-right") or (len(path) == 1 and upper_wall)
        return {DOWN if knows_better else RIGHT: 1.0}

    return policy


@pytest.mark.parametrize(("first", "split"), SETTINGS)
def test_a_convention_reaches_the_optimum(expected_return, first, split):
    game = split_maze.make(first, split)
    assert game.horizon == (2 if first is None else 4)
    # Agent 1 sees more of the lower way than of the upper one, unless both see a half.
    unsure = {DOWN: 1.0} if (first, split) in ((None, 3), (1, 1), (1, 3)) else None
    value = expected_return(game.problem, game.horizon, follows_the_upper_way(game.problem, first, unsure))
    assert value == pytest.approx(OPTIMA[first][split] / 7, abs=1e-12)


@pytest.mark.parametrize(("first", "split"), SETTINGS)
def test_a_third_step_makes_up_for_a_disagreement(expected_return, first, split):
    game = split_maze.make(first, split, steps=3)
    assert game.horizon == (3 if first is None else 6)
    value = expected_return(game.problem, game.horizon, follows_the_upper_way(game.problem, first))
    assert value == pytest.approx(1.0, abs=1e-12)
    assert game.known_optimum == 1.0


def test_without_a_wall_in_sight_only_a_convention_helps(expected_return):
    game = split_maze.make()
    convention = follows_the_upper_way(game.problem, None)
    fair = follows_the_upper_way(game.problem, None, unsure={RIGHT: 0.5, DOWN: 0.5})
    assert expected_return(game.problem, 2, convention) == pytest.approx(5 / 7, abs=1e-12)
    assert expected_return(game.problem, 2, fair) == pytest.approx(9 / 14, abs=1e-12)
    other = follows_the_upper_way(game.problem, None, unsure={DOWN: 1.0})

    def mixed(agent, path):
        return (convention, other)[agent](agent, path)

    assert expected_return(game.problem, 2, other) == pytest.approx(5 / 7, abs=1e-12)
    assert expected_return(game.problem, 2, mixed) == pytest.approx(4 / 7, abs=1e-12)


def test_no_equivariant_policy_does_better_than_nine_fourteenths():
    """Right and down are exchanged by a symmetry that keeps "no wall": there both have probability 1/2."""
    first, second = views(2)
    chances = (0.0, 1.0)  # of going right, where walls tell the two apart; linear in each, so the best is at an end
    best = max(
        sum(
            sum(p * q for way, p, q in ((RIGHT, a, b), (DOWN, 1 - a, 1 - b)) if is_open(walls, way))
            for walls, a, b in (
                (walls, one[view] if view else 0.5, other[theirs] if theirs else 0.5)
                for walls, view, theirs in zip(LAYOUTS, first, second, strict=True)
            )
        )
        for one in mappings(first, chances)
        for other in mappings(second, chances)
    )
    assert best == 4.5


@pytest.mark.parametrize(("first", "split"), SETTINGS)
def test_right_and_down_are_all_that_can_be_exchanged(first, split):
    problem = split_maze.problem(first, split)
    orders = [automorphisms(problem, swap_agents=swap).policy_order for swap in (True, False)]
    assert orders == [2, 2]


def test_what_agents_see_and_may_do():
    both = split_maze.problem()
    cells = ["upper-left", "upper-right", "lower-left", "lower-right", "disagreed"]
    assert both.observations == (
        ("no-wall", "wall-top", "wall-left", *cells),
        ("no-wall", "wall-right", "wall-bottom", *cells),
    )
    moves, waits = [True, True, False], [False, False, True]
    assert [mask.tolist() for mask in both.legal] == [[moves] * 6 + [waits] + [moves]] * 2
    turns = split_maze.problem(first=1)
    assert turns.observations[0][-2:] == ("hears-right", "hears-down")
    assert turns.observations[1][-1] == "proposed"
    assert turns.legal[0].tolist() == [waits] * 8 + [moves] * 2
    assert turns.legal[1].tolist() == [moves] * 6 + [waits] + [moves] + [waits]
    assert [len(split_maze.solo().problem.observations[0]), split_maze.problem(split=3).num_observations] == [
        12,
        (10, 7),
    ]


def after(problem, state, joint):
    """(next state, what each agent then sees, reward) of a joint action, by names."""
    number = int(np.ravel_multi_index(joint, problem.num_actions))
    (reached,) = np.flatnonzero(problem.transition[number, problem.states.index(state)])
    (seen,) = np.flatnonzero(problem.observation[number, reached])
    reward = float(problem.expected_reward[number, problem.states.index(state)])
    return problem.states[reached], problem.joint_observation_name(seen), reward


def test_steps_of_the_maze():
    both, start = split_maze.problem(), "upper-left-agreed-top"
    assert after(both, start, (DOWN, DOWN)) == ("lower-left-agreed-top", "lower-left,lower-left", 0)
    assert after(both, start, (RIGHT, RIGHT)) == (start, "upper-left,upper-left", 0)  # a wall
    assert after(both, start, (DOWN, RIGHT)) == ("upper-left-disagreed-top", "disagreed,disagreed", 0)
    assert after(both, "lower-left-agreed-top", (RIGHT, RIGHT)) == ("lower-right-agreed", "lower-right,lower-right", 1)
    stays = ("lower-left-agreed-top", "lower-left,lower-left", 0)
    assert after(both, "lower-left-agreed-top", (DOWN, DOWN)) == stays  # the edge of the maze
    turns = split_maze.problem(first=0)
    assert after(turns, start, (DOWN, WAIT)) == ("upper-left-down-top", "proposed,hears-down", 0)
    accepted = ("lower-left-agreed-top", "lower-left,lower-left", 0)
    assert after(turns, "upper-left-down-top", (WAIT, DOWN)) == accepted
    refused = ("upper-left-disagreed-top", "disagreed,disagreed", 0)
    assert after(turns, "upper-left-down-top", (WAIT, RIGHT)) == refused


@pytest.mark.parametrize("first", [None, 0])
def test_every_structure_has_its_arguments_or_a_reason(first):
    game, given = split_maze.make(first), split_maze.arguments(first)
    assert list(given) == [structure.name for structure in STRUCTURES]
    assert [name for name, value in given.items() if isinstance(value, str)] == ["isolation"]
    for structure in STRUCTURES:
        if not isinstance(given[structure.name], str):
            changed = structure.apply(game, **given[structure.name])
            assert max(own.size for own in changed.tree.agents) <= 800
            assert changed.name.startswith(f"split_maze + {structure.name}(")


def test_the_check_finds_proposals_that_lead_nowhere():
    both = split_maze.problem()
    conflict = split_maze.arguments()["verification"]["conflict"]
    start, middle = map(both.states.index, ("upper-left-agreed-top", "lower-left-agreed-top"))
    found = {
        (s, joint)
        for s in (start, middle)
        for joint in itertools.product((RIGHT, DOWN), repeat=2)
        if conflict(s, joint)
    }
    assert found == {
        (start, (RIGHT, RIGHT)), (start, (RIGHT, DOWN)), (start, (DOWN, RIGHT)),
        (middle, (DOWN, DOWN)), (middle, (RIGHT, DOWN)), (middle, (DOWN, RIGHT)),
    }  # fmt: skip
    turns = split_maze.problem(first=0)
    conflict = split_maze.arguments(first=0)["verification"]["conflict"]
    assert not conflict(turns.states.index("upper-left-agreed-top"), (RIGHT, WAIT))  # nothing is settled yet
    assert conflict(turns.states.index("upper-left-down-top"), (WAIT, RIGHT))
    assert not conflict(turns.states.index("upper-left-down-top"), (WAIT, DOWN))
    assert conflict(turns.states.index("upper-left-right-top"), (WAIT, RIGHT))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"first": 2}, "split_maze first must be one of None, 0, 1, not 2"),
        ({"split": 4}, "split_maze split must be a whole number from 1 to 3, not 4"),
        ({"steps": 1}, "split_maze steps must be a whole number of at least 2, not 1"),
    ],
)
def test_bad_arguments(arguments, said):
    with pytest.raises(TacitError) as raised:
        split_maze.make(**arguments)
    assert str(raised.value) == said
