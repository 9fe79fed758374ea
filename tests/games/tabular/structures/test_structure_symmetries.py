"""What structures do to symmetries, against brute force on histories, and to the best equivariant value."""

import itertools
import math

import numpy as np
import pytest

from games.tabular.library import equal_levers, lever, tiny_hanabi, two_stage_lever
from games.tabular.structures import apply_all
from games.tabular.symmetry import automorphisms
from marl.exact.equivariant import best_equivariant
from marl.exact.optimum import optimum


def signatures(game, agent):
    """(for each action the stages in which it may be legal, for each observation those in which it may come)."""
    own, problem = game.tree.agents[agent], game.problem
    actions = [frozenset()] * problem.num_actions[agent]
    observations = [frozenset()] * problem.num_observations[agent]
    for t in range(game.horizon):
        for history in range(*own.stage(t).indices(own.size)):
            observations[own.observation[history]] |= {t}
            for action in np.flatnonzero(own.legal[history]):
                actions[action] |= {t}
    return actions, observations


def bijections(source, target):
    """All permutations that respect signatures; what never occurs keeps its order."""
    if sorted(map(sorted, source)) != sorted(map(sorted, target)):
        return []
    kinds = sorted(set(source), key=sorted)
    places = [[i for i, own in enumerate(source) if own == kind] for kind in kinds]
    images = [[i for i, own in enumerate(target) if own == kind] for kind in kinds]
    choices = [itertools.permutations(own) if kind else [own] for kind, own in zip(kinds, images, strict=True)]
    found = []
    for chosen in itertools.product(*choices):
        image = [0] * len(source)
        for own, to in zip(places, chosen, strict=True):
            for i, j in zip(own, to, strict=True):
                image[i] = j
        found.append(tuple(image))
    return found


def plays(game):
    """For each joint history, as the agents' paths, and legal joint action: (chance, chance times expected reward)."""
    found, problem = {}, game.problem
    for t, stage in enumerate(game.tree.stages):
        for local, chance in zip(stage.local.tolist(), stage.chance, strict=True):
            histories = [int(own.offsets[t]) + h for own, h in zip(game.tree.agents, local, strict=True)]
            paths = tuple(own.path(h) for own, h in zip(game.tree.agents, histories, strict=True))
            legal = [np.flatnonzero(own.legal[h]) for own, h in zip(game.tree.agents, histories, strict=True)]
            for joint in itertools.product(*(own.tolist() for own in legal)):
                number = np.ravel_multi_index(joint, problem.num_actions)
                found[paths, joint] = (chance.sum(), chance @ problem.expected_reward[number])
    return found


def brute_force(game, swap_agents):
    """How many relabellings of agents, actions and observations keep the chance and reward of all joint histories."""
    known, agents = plays(game), range(game.problem.num_agents)
    marks, count = [signatures(game, agent) for agent in agents], 0
    for order in itertools.permutations(agents) if swap_agents else [tuple(agents)]:
        action_maps = [bijections(marks[i][0], marks[order[i]][0]) for i in agents]
        observation_maps = [bijections(marks[i][1], marks[order[i]][1]) for i in agents]
        for actions in itertools.product(*action_maps):
            for observations in itertools.product(*observation_maps):
                count += _keeps(known, order, actions, observations)
    return count


def _keeps(known, order, actions, observations):
    for (paths, joint), (chance, reward) in known.items():
        to_paths, to_joint = [()] * len(paths), [0] * len(paths)
        for i, (path, action) in enumerate(zip(paths, joint, strict=True)):
            to_paths[order[i]] = tuple((actions if k % 2 else observations)[i][label] for k, label in enumerate(path))
            to_joint[order[i]] = actions[i][action]
        other = known.get((tuple(to_paths), tuple(to_joint)))
        if other is None or abs(other[0] - chance) > 1e-9 or abs(other[1] - reward) > 1e-9:
            return False
    return True


TWO = equal_levers.make(2)
CASES = [  # (game, structures, orders with and without agent swaps, by hand)
    (TWO, [("cheap_talk", {})], (16, 8)),  # two levers, two symbols of each agent, two agents
    (TWO, [("commitments", {})], (4, 2)),
    (TWO, [("commitments", {"form": "sequential"})], (2, 2)),
    (TWO, [("claims", {"items": 1})], (4, 2)),
    (TWO, [("claims", {"items": ["lever0"]})], (2, 1)),
    (TWO, [("isolation", {"partition": [[0], [0, 1]]})], (1, 1)),
    (TWO, [("isolation", {"partition": [[0], [1]], "penalty": 0.5})], (2, 1)),  # both swapped, or none
    (TWO, [("isolation", {"partition": [[0, 1], [0, 1]]})], (4, 2)),
    (TWO, [("leader", {})], (4, 4)),  # the matching joint actions among themselves, and the others
    (TWO, [("leader", {"symbols": 2})], (4, 4)),
    (TWO, [("shared_history", {})], (4, 2)),
    (TWO, [("verification", {})], (4, 2)),
    (TWO, [("verification", {"conflict": lambda state, joint: joint[0] == 0})], (1, 1)),
    (two_stage_lever.make(), [("shared_history", {})], (4, 2)),
    (two_stage_lever.make(), [("verification", {})], (4, 2)),
    (tiny_hanabi.make("B"), [("shared_history", {})], (1, 1)),
    (TWO, [("claims", {"items": 1}), ("shared_history", {})], (4, 2)),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("game", "structures", "orders"), CASES, ids=lambda value: value[0][0] if isinstance(value, list) else ""
)
def test_orders_against_brute_force(game, structures, orders):
    made = apply_all(game, structures)
    for swap_agents, order in zip((True, False), orders, strict=True):
        found = automorphisms(made.problem, swap_agents=swap_agents).policy_order
        assert (found, brute_force(made, swap_agents)) == (order, order)


def test_larger_orders():
    ten = lever.make()
    talk = apply_all(ten, [("cheap_talk", {"symbols": 3, "rounds": 2})])
    assert automorphisms(talk.problem, swap_agents=True).policy_order == math.factorial(9) * 6 * 6 * 2
    claim = apply_all(ten, [("claims", {"items": 2})])
    assert automorphisms(claim.problem, swap_agents=True).policy_order == math.factorial(9) * 2 * 2
    sets = apply_all(TWO, [("commitments", {"subsets": True})])
    assert automorphisms(sets.problem, swap_agents=True).policy_order == 2 * 2  # sets go with their levers
    named = apply_all(equal_levers.make(3), [("claims", {"items": ["lever0", "lever1", "lever2"]})])
    assert automorphisms(named.problem, swap_agents=True).policy_order == 6 * 2  # claims go with their levers


def best(game, structures, swap_agents=True):
    made = apply_all(game, structures)
    group = automorphisms(made.problem, swap_agents=swap_agents)
    found = best_equivariant(made.tree, group, upper_bound=optimum(made.problem, made.horizon).upper_bound, restarts=4)
    return found.value, found.exact


@pytest.mark.slow
@pytest.mark.parametrize("game", [TWO, pytest.param(lever.make(), marks=pytest.mark.proof)], ids=["two", "ten"])
def test_talk_carries_nothing_without_a_convention(game):
    talk = [("cheap_talk", {"symbols": 2})]
    made = apply_all(game, talk)
    assert optimum(made.problem, made.horizon, restarts=8).value == pytest.approx(1.0)  # as without talk
    with_talk, without = best(game, talk), best(game, [])
    assert with_talk == (pytest.approx(0.5 if game is TWO else 0.9, abs=1e-9), True)
    assert with_talk == (pytest.approx(without[0], abs=1e-9), without[1])


# The best equivariant value with two equal levers, by hand: 1/2 without a structure.
BEST = [
    ([("leader", {})], True, 1.0),
    ([("leader", {"symbols": 2})], True, 0.5),  # instructions are as empty as talk
    ([("commitments", {"form": "sequential"})], True, 1.0),  # the second commits itself to what the first said
    # With probability 1/2 each: one lever, or both. One of each kind meets for sure, two of a kind by chance.
    ([("commitments", {"subsets": True})], True, 0.75),
    ([("commitments", {"subsets": True})], False, 1.0),
    ([("verification", {})], True, 0.75),  # after a mismatch, whoever repeats or switches, the other does so too
    ([("verification", {})], False, 1.0),  # after a mismatch player 0 repeats and player 1 switches
    ([("claims", {"items": 2})], True, 0.5),  # items are no levers
    ([("claims", {"items": ["lever0", "lever1"]})], False, 1.0),  # player 0 claims, both pull that lever
    # Each claims with probability p = 2/3: 1/2 + p - 3/4 p^2.
    ([("claims", {"items": ["lever0", "lever1"]})], True, 5 / 6),
    ([("isolation", {"partition": [[0], [0, 1]]})], True, 1.0),
    ([("isolation", {"partition": [[0], [1]]})], True, 0.0),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("structures", "swap_agents", "expected"), BEST, ids=lambda v: v[0][0] if isinstance(v, list) else ""
)
def test_best_equivariant_values_by_hand(structures, swap_agents, expected):
    assert best(TWO, structures, swap_agents)[0] == pytest.approx(expected, abs=1e-7)


def test_optima_by_hand():
    def best_of(structures):
        made = apply_all(TWO, structures)
        return optimum(made.problem, made.horizon, restarts=8).value

    assert best_of([("isolation", {"partition": [[0], [1]], "penalty": 0.25})]) == pytest.approx(0.75)
    payoffs = np.array(tiny_hanabi.PAYOFFS["A"], float)  # [card 0, card 1, action 0, action 1]
    for structures, expected in [
        ([("leader", {})], payoffs.max((2, 3)).mean()),
        # Player 0 chooses by its card; then player 1 knows everything.
        ([("shared_history", {})], payoffs.max(3).mean(1).max(1).mean()),
    ]:
        made = apply_all(tiny_hanabi.make("A"), structures)
        assert optimum(made.problem, made.horizon).value == pytest.approx(expected, abs=1e-12)
