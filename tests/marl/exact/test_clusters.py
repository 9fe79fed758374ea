"""Clusters of histories: known sizes, weights that add up, and stationary points that act alike in a cluster."""

import numpy as np
import pytest

from games.errors import TacitError
from games.tabular.dec_pomdp import DecPOMDP, from_functions
from games.tabular.histories import build
from games.tabular.library import dectiger, recycling, tiny_hanabi
from marl.exact import clusters as clusters_module
from marl.exact.clusters import clusters, number_rows
from tests.soft_iteration import stationary


def unequal_first_observations():
    """The first sees a or a2 in state s, b in t. In s equal levers pay 1; in t the second one's lever 0 pays 5."""
    return DecPOMDP(
        agents=("first", "second"),
        states=("s", "t"),
        actions=(("lever0", "lever1"),) * 2,
        observations=(("a", "a2", "b"), ("nothing",)),
        discount=1.0,
        start=np.array([0.99, 0.01]),
        transition=np.tile(np.eye(2), (4, 1, 1)),
        observation=np.tile(np.array([[0.001, 0.999, 0.0], [0.0, 0.0, 1.0]]), (4, 1, 1)),
        reward=np.array([[1, 5], [0, 0], [0, 5], [1, 0]], float)[:, :, None, None],
        initial_observation=np.array([[0.001, 0.999, 0.0], [0.0, 0.0, 1.0]]),
    )


@pytest.mark.parametrize(
    ("problem", "horizon", "own", "joint"),
    [
        # After an opened door nothing is known, whatever was heard: three clusters in place of six histories.
        (dectiger.problem(), 2, [1, 3], [1, 9]),
        (dectiger.problem(), 3, [1, 3, 9], [1, 9, 81]),
        (recycling.problem(), 3, [1, 2, 2], [1, 4, 4]),
        (tiny_hanabi.problem("A"), 2, [2, 4], [4, 8]),
    ],
)
def test_known_sizes(problem, horizon, own, joint):
    found = clusters(build(problem, horizon))
    assert [np.diff(agent.offsets).tolist() for agent in found.agents] == [own, own]
    assert [len(stage.local) for stage in found.stages] == joint


@pytest.mark.parametrize(("columns", "most"), [(1, 5), (2, 4), (3, 3), (4, 2**31)])
def test_rows_are_numbered_in_ascending_order(columns, most):
    rng = np.random.default_rng(columns)
    different = rng.integers(most, size=(20, columns))
    different[:3, 0] = most - 1  # four columns of 31 bits do not fit into one code
    rows = different[rng.integers(20, size=60)]
    _, first, number = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    for found, expected in zip(number_rows(rows), (first, number), strict=True):
        np.testing.assert_array_equal(found, expected.ravel())


def test_first_observations_that_say_the_same_are_one_cluster():
    first, second = clusters(build(unequal_first_observations(), 1)).agents
    assert (first.member.tolist(), second.member.tolist()) == ([0, 0, 1], [0])
    assert first.start == pytest.approx([1000, 1])  # in units of a, a thousandth of the cluster


@pytest.mark.parametrize("kind", [{"initial": True}, {"num_agents": 3, "num_actions": (2, 2)}, {"restricted": True}])
def test_dense_random_games_have_nothing_to_cluster(kind, random_dec_pomdp):
    tree = build(random_dec_pomdp(1, **kind), 2)
    assert [len(own.legal) for own in clusters(tree).agents] == [own.size for own in tree.agents]


@pytest.mark.parametrize(
    ("problem", "horizon"), [(dectiger.problem(), 3), (recycling.problem(), 4), (unequal_first_observations(), 2)]
)
def test_probabilities_of_clusters_are_those_of_their_histories(problem, horizon):
    tree = build(problem, horizon)
    game = clusters(tree)
    rng = np.random.default_rng(0)
    policies = [rng.dirichlet(np.ones(own.legal.shape[1]), len(own.legal)) for own in game.agents]
    weights, reach = [], []
    for own, histories, policy in zip(game.agents, tree.agents, policies, strict=True):
        weight, x = np.zeros(len(own.legal)), np.ones(histories.size)
        weight[own.stage(0)] = own.start
        for way in range(len(own.before)):
            weight[own.after[way]] += (
                own.weight[way] * weight[own.before[way]] * policy[own.before[way], own.action[way]]
            )
        for h in range(histories.offsets[1], histories.size):
            parent = histories.parent[h]
            x[h] = x[parent] * policy[own.member[parent], histories.action[h]]
        weights.append(weight)
        reach.append(x)
    for t, (stage, joint) in enumerate(zip(tree.stages, game.stages, strict=True)):
        rows = [own.offsets[t] + stage.local[:, agent] for agent, own in enumerate(tree.agents)]
        histories = stage.chance.sum(1) * np.prod([x[row] for x, row in zip(reach, rows, strict=True)], axis=0)
        of = [own.member[row] - own.offsets[t] for own, row in zip(game.agents, rows, strict=True)]
        places = [own.offsets[t] + joint.local[:, agent] for agent, own in enumerate(game.agents)]
        found = joint.chance * np.prod([w[place] for w, place in zip(weights, places, strict=True)], axis=0)
        for place, one in enumerate(joint.local):
            assert found[place] == pytest.approx(histories[(of[0] == one[0]) & (of[1] == one[1])].sum(), abs=1e-14)
        assert found.sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("problem", "alpha"), [(dectiger.problem(), 9.0), (recycling.problem(), 0.8)])
def test_stationary_points_act_alike_in_a_cluster(problem, alpha):
    tree = build(problem, 3)  # at an α with several stationary points
    points, residual = stationary(tree, alpha, count=8, seed=0)
    assert (residual < 1e-9).any()
    for own, log_probs in zip(clusters(tree).agents, points, strict=True):
        policy = np.exp(log_probs[residual < 1e-9])
        first = np.array([np.flatnonzero(own.member == cluster)[0] for cluster in own.member])
        assert len(np.unique(own.member)) < len(own.member)
        assert np.abs(policy - policy[:, first]).max() < 1e-8


def test_too_large_a_table_is_refused(monkeypatch):
    monkeypatch.setattr(clusters_module, "MOST_ENTRIES", 10)
    with pytest.raises(TacitError, match=r"a table of 72 entries at stage 2, and the most is 10; take a smaller hor"):
        clusters(build(dectiger.problem(), 2))


def test_events_below_the_digits_are_refused():
    # In the rare state both have levers; it can follow x1, and the first observations hardly tell.
    rare = 5e-14
    first = np.array([[0.5 / (1 - rare), 1 - 0.5 / (1 - rare)], [0.0, 1.0]])
    problem = from_functions(
        agents=("first", "second"),
        states=("often", "rare"),
        actions=(("left", "right"),) * 2,
        observations=(("x0", "x1", "often", "rare"), ("nothing", "often", "rare")),
        discount=1.0,
        start=(1 - rare, rare),
        transition=lambda state, actions: {state: 1.0},
        observation=lambda actions, state: {(2 + state, 1 + state): 1.0},
        reward=lambda state, actions: float(state == 1 and actions[0] == actions[1]),
        initial_observation=lambda state: {(seen, 0): p for seen, p in enumerate(first[state].tolist()) if p},
        legal=[np.array([[1, 0], [1, 0], [1, 0], [1, 1]], bool), np.array([[1, 0], [1, 0], [1, 1]], bool)],
    )
    with pytest.raises(TacitError, match="histories of this game differ by events of a probability below 1e-12"):
        clusters(build(problem, 2))
