"""Deterministic policies on a tree of action-observation histories."""

import math

import numpy as np
import pytest

from games.errors import TacitError
from games.tabular import histories
from games.tabular.library import broadcast_channel, dectiger, two_stage_lever
from marl.exact.deterministic import Controller, on_histories, to_behaviour
from marl.exact.optimum import optimum
from tests.deterministic_policies import games, random_game, rewards


@games
def test_a_policy_on_a_tree_returns_the_same(seed: int) -> None:
    problem, horizon = random_game(seed)
    tree = histories.build(problem, horizon)
    found = optimum(problem, horizon)
    behaviour = to_behaviour(on_histories(problem, horizon, found.policy), tree)
    for own, table in zip(tree.agents, behaviour, strict=True):
        assert np.allclose(table.sum(1), 1) and not table[~own.legal].any()
    assert return_on_tree(tree, behaviour) == pytest.approx(found.value, rel=0, abs=1e-12)


def test_a_policy_on_a_tree_is_uniform_where_it_contradicts_itself() -> None:
    problem = two_stage_lever.problem()
    tree = histories.build(problem, 2)
    policy = ((np.array([1]), np.array([0, 1])), (np.array([0]), np.array([1, 0])))
    mine, yours = to_behaviour(policy, tree)
    at = {tree.agents[0].path(h): mine[h].tolist() for h in range(len(mine))}
    assert at == {
        (None,): [0, 1],
        (None, 0, 0): [0.5, 0.5],
        (None, 0, 1): [0.5, 0.5],
        (None, 1, 0): [1, 0],
        (None, 1, 1): [0, 1],
    }
    at = {tree.agents[1].path(h): yours[h].tolist() for h in range(len(yours))}
    assert at[None, 0, 0] == [0, 1] and at[None, 0, 1] == [1, 0] and at[None, 1, 0] == [0.5, 0.5]


def test_who_left_a_policy_once_has_left_it() -> None:
    """Always listen: who opened a door once is uniform ever after, also where the last action was right."""
    problem = dectiger.problem()
    tree = histories.build(problem, 3)
    listen = tuple(np.zeros(2**stage, np.int64) for stage in range(3))
    for own, behaviour in zip(tree.agents, to_behaviour((listen, listen), tree), strict=True):
        paths = [own.path(history) for history in range(len(behaviour))]
        assert {(0, 0), (0, 1), (1, 0), (1, 1)} <= {path[1::2] for path in paths}
        for path, probabilities in zip(paths, behaviour.tolist(), strict=True):
            assert probabilities == ([1 / 3] * 3 if any(path[1::2]) else [1, 0, 0]), path


def test_what_is_no_policy_is_refused() -> None:
    listen = (np.array([0]), np.array([0, 0]))
    with pytest.raises(TacitError, match="agent1 takes an action that is not legal at stage 2"):
        to_behaviour((listen, (np.array([0]), np.array([-1, 0]))), histories.build(dectiger.problem(), 2))


def test_what_does_not_fit_is_refused_with_its_size() -> None:
    one, same = (np.zeros(1, np.int64),), (np.zeros((1, 2), np.int64),)  # one cluster at every stage
    always = Controller(one * 2, (one * 40,) * 2, (same * 39,) * 2)
    with pytest.raises(TacitError, match=r"horizon 40 take .* GiB up to stage \d+ alone"):
        on_histories(broadcast_channel.problem(), 40, always)


def return_on_tree(tree: histories.Tree, behaviour: tuple[np.ndarray, ...]) -> float:
    weights = []  # probability of the own actions on the way to each history
    for own, table in zip(tree.agents, behaviour, strict=True):
        weight = np.ones(len(table))
        for h in np.flatnonzero(own.parent >= 0):
            weight[h] = weight[own.parent[h]] * table[own.parent[h], own.action[h]]
        weights.append(weight)
    total = 0.0
    for t, stage in enumerate(tree.stages):
        for local, chance in zip(stage.local, stage.chance, strict=True):
            at = [int(own.offsets[t] + h) for own, h in zip(tree.agents, local, strict=True)]
            reach = math.prod(weight[h] for weight, h in zip(weights, at, strict=True))
            for joint, actions in enumerate(tree.problem.joint_actions):
                taken = math.prod(table[h, a] for table, h, a in zip(behaviour, at, actions, strict=True))
                total += tree.problem.discount**t * reach * taken * float(chance @ rewards(tree.problem)[joint])
    return total
