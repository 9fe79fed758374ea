"""The histories of tabular games, against known counts and a plain enumeration of all that can happen."""

import itertools
import re
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from games.errors import TacitError
from games.tabular import histories
from games.tabular.library import dectiger, hint, tiny_hanabi, two_stage_lever


def sparse(problem, seed):
    """The same game with about half of what can happen made impossible."""
    generator = np.random.default_rng(seed)

    def thinned(table):
        if table is None:
            return None
        kept = table * (generator.random(table.shape) < 0.5)
        kept[..., 0] += kept.sum(-1) == 0
        return kept / kept.sum(-1, keepdims=True)

    names = ("start", "transition", "observation", "initial_observation")
    return problem.replace(**{name: thinned(getattr(problem, name)) for name in names})


def enumerated(problem, horizon):
    """For each stage {joint path: float64[S] chance of states and observations given the actions}."""
    agents = range(problem.num_agents)

    def legal(path, agent):
        if problem.legal is None or path[-1] is None:
            return range(problem.num_actions[agent])
        return np.flatnonzero(problem.legal[agent][path[-1]]).tolist()

    if problem.initial_observation is None:
        stage = {((None,),) * problem.num_agents: problem.start}
    else:
        stage = {
            tuple((seen,) for seen in np.unravel_index(joint, problem.num_observations)): (
                problem.start * problem.initial_observation[:, joint]
            )
            for joint in range(problem.initial_observation.shape[1])
        }
    stages = []
    for _ in range(horizon):
        stage = {tuple(tuple(map(plain, path)) for path in paths): c for paths, c in stage.items() if c.any()}
        stages.append(stage)
        following = {}
        for paths, chance in stage.items():
            for actions in itertools.product(*(legal(paths[agent], agent) for agent in agents)):
                joint = int(np.ravel_multi_index(actions, problem.num_actions))
                for number, seen in enumerate(itertools.product(*map(range, problem.num_observations))):
                    after = tuple((*paths[agent], actions[agent], seen[agent]) for agent in agents)
                    following[after] = (chance @ problem.transition[joint]) * problem.observation[joint][:, number]
        stage = following
    return stages


def plain(entry):
    return None if entry is None else int(entry)


def by_paths(tree, t):
    """{joint path: chance} of a stage of a tree."""
    stage = tree.stages[t]
    firsts = [int(own.offsets[t]) for own in tree.agents]
    return {
        tuple(own.path(first + local) for own, first, local in zip(tree.agents, firsts, row, strict=True)): chance
        for row, chance in zip(stage.local.tolist(), stage.chance, strict=True)
    }


@pytest.fixture(scope="module")
def games(random_dec_pomdp):
    return {
        "dense": (random_dec_pomdp(0), 3),
        "initial": (random_dec_pomdp(1, initial=True, restricted=True), 2),
        "sparse": (sparse(random_dec_pomdp(2, initial=True, restricted=True), 2), 3),
        "sparse without": (sparse(random_dec_pomdp(3, restricted=True), 3), 3),
        "three": (sparse(random_dec_pomdp(4, num_agents=3, num_actions=(2,), num_observations=(2, 2, 1)), 4), 3),
        "dectiger": (dectiger.problem(), 2),
        "tiny_hanabi": (tiny_hanabi.problem("F"), 2),
        "hint": (hint.problem(3), 2),
        "two_stage_lever": (two_stage_lever.problem(), 3),
    }


every_game = pytest.mark.parametrize(
    "name",
    ["dense", "initial", "sparse", "sparse without", "three", "dectiger", "tiny_hanabi", "hint", "two_stage_lever"],
)


@pytest.mark.parametrize(("horizon", "joint", "own"), [(1, 1, 1), (2, 37, 7), (3, 1333, 43), (4, 47989, 259)])
def test_counts_of_dec_tiger(horizon, joint, own):
    tree = histories.build(dectiger.problem(), horizon)
    assert sum(len(stage.local) for stage in tree.stages) == joint
    assert [agent.size for agent in tree.agents] == [own, own]
    assert [len(stage.local) for stage in tree.stages] == [36**t for t in range(horizon)]


@every_game
def test_joint_histories_are_those_of_the_enumeration(games, name):
    problem, horizon = games[name]
    tree = histories.build(problem, horizon)
    for t, expected in enumerate(enumerated(problem, horizon)):
        found = by_paths(tree, t)
        assert found.keys() == expected.keys()
        for paths, chance in found.items():
            np.testing.assert_allclose(chance, expected[paths], rtol=1e-13, atol=0)


@every_game
def test_paths_parents_and_children_tell_the_same(games, name):
    problem, horizon = games[name]
    tree = histories.build(problem, horizon)
    for agent, own in enumerate(tree.agents):
        assert own.offsets[0] == 0 and own.offsets[-1] == own.size
        for t in range(horizon):
            stage = range(own.size)[own.stage(t)]
            reached = tree.stages[t].local[:, agent] + stage.start
            assert sorted(set(reached.tolist())) == list(stage)
            for h in stage:
                path = own.path(h)
                assert len(path) == 2 * t + 1
                last = path[-1]
                assert own.observation[h] == (-1 if last is None else last)
                everything = problem.legal is None or last is None
                np.testing.assert_array_equal(own.legal[h], True if everything else problem.legal[agent][last])
                if t == 0:
                    assert own.parent[h] == own.action[h] == -1
                    assert own.root[0 if last is None else last] == h
                else:
                    assert (own.path(own.parent[h]), own.action[h]) == (path[:-2], path[-2])
                    assert own.child[own.parent[h], path[-2], last] == h
        # nothing else has a child, and numbers follow (parent, action, observation)
        assert (own.child >= 0).sum() == own.size - own.offsets[1]
        np.testing.assert_array_equal(own.child[own.child >= 0], np.arange(own.offsets[1], own.size))
        assert (own.root >= 0).sum() == own.offsets[1]


@every_game
def test_every_joint_history_comes_from_its_predecessor_by_the_agents_actions(games, name):
    problem, horizon = games[name]
    tree = histories.build(problem, horizon)
    links = histories.predecessors(tree)
    assert len(links) == horizon - 1
    for t, (row, *actions) in enumerate(links):
        before, after = list(by_paths(tree, t)), list(by_paths(tree, t + 1))
        assert len(row) == len(after)
        for paths, comes_from, *taken in zip(after, row, *actions, strict=True):
            assert before[comes_from] == tuple(path[:-2] for path in paths)
            assert taken == [path[-2] for path in paths]


@every_game
def test_joint_histories_are_found_among_those_of_their_stage(games, name):
    tree = histories.build(*games[name])
    for t, stage in enumerate(tree.stages):
        sizes = [own.stage(t).stop - own.stage(t).start for own in tree.agents]
        every = np.array(list(itertools.product(*map(range, sizes))))
        known = {local: row for row, local in enumerate(map(tuple, stage.local.tolist()))}
        expected = [known.get(local, -1) for local in map(tuple, every.tolist())]
        np.testing.assert_array_equal(histories.joint_rows(tree, t, every), expected)


@every_game
def test_expected_rewards_are_those_of_what_may_happen_next(games, name):
    problem, horizon = games[name]
    tree = histories.build(problem, horizon)
    reward = np.broadcast_to(problem.reward, (*problem.transition.shape, problem.observation.shape[2]))
    for stage, found in zip(tree.stages, histories.expected_rewards(tree), strict=True):
        assert found.shape == (len(stage.local), *problem.num_actions)
        expected = np.einsum("ks,ast,ato,asto->ka", stage.chance, problem.transition, problem.observation, reward)
        np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=0, atol=1e-12)


@given(seed=st.integers(0, 10**6), agents=st.sampled_from([2, 3]), initial=st.booleans())
def test_chances_sum_to_one_for_every_sequence_of_joint_actions(random_dec_pomdp, seed, agents, initial):
    problem = random_dec_pomdp(seed, num_agents=agents, num_actions=(2,), num_observations=(2, 1), initial=initial)
    tree = histories.build(sparse(problem, seed), 3)
    for t in range(3):
        sums = {}
        for paths, chance in by_paths(tree, t).items():
            actions = tuple(path[1::2] for path in paths)
            sums[actions] = sums.get(actions, 0.0) + chance.sum()
        assert len(sums) == 2 ** (agents * t)
        assert list(sums.values()) == pytest.approx([1.0] * len(sums), abs=1e-12)


@given(seed=st.integers(0, 10**6), initial=st.booleans())
def test_a_joint_policy_reaches_every_stage_with_probability_one(random_dec_pomdp, seed, initial):
    tree = histories.build(sparse(random_dec_pomdp(seed, initial=initial, restricted=True), seed), 3)
    for own, policy in zip(tree.agents, tree.uniform(), strict=True):
        np.testing.assert_array_equal(policy > 0, own.legal)
        np.testing.assert_allclose(policy.sum(1), 1, rtol=1e-15)
    weights = [np.ones(own.size) for own in tree.agents]
    for own, policy, weight in zip(tree.agents, tree.uniform(), weights, strict=True):
        for h in range(own.offsets[1], own.size):
            weight[h] = weight[own.parent[h]] * policy[own.parent[h], own.action[h]]
    for t, stage in enumerate(tree.stages):
        reached = stage.chance.sum(1)
        for agent, (own, weight) in enumerate(zip(tree.agents, weights, strict=True)):
            reached = reached * weight[own.stage(t)][stage.local[:, agent]]
        assert reached.sum() == pytest.approx(1, abs=1e-12)


@every_game
def test_the_size_that_is_refused_is_the_true_one(games, name):
    problem, horizon = games[name]
    stages = histories.build(problem, horizon).stages
    bytes_each = 8 * (problem.num_states + 2 * problem.num_agents + 3)
    refused = 0
    for t in range(1, horizon):
        count = len(stages[t].local)
        if count <= max(len(stage.local) for stage in stages[1:t] or stages[:1]):
            continue  # an earlier stage is refused first
        said = re.escape(f"the game is too large: stage {t + 1} of it has {count:,} joint histories, which take ")
        with pytest.raises(TacitError, match=said):
            histories.build(problem, horizon, memory_limit=count * bytes_each - 1)
        refused += 1
    assert refused


def test_a_game_that_is_too_large_is_refused_before_it_is_made():
    problem = dectiger.problem()
    tracemalloc.start()
    with pytest.raises(TacitError) as refused:
        histories.build(problem, 8, memory_limit=1 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(refused.value) == (
        "the game is too large: stage 4 of it has 46,656 joint histories, which take 0.00313 GiB, "
        "and the limit is 0.000977 GiB; take a smaller horizon"
    )
    assert peak < 1 << 20


@pytest.mark.slow
def test_dec_tiger_at_horizon_8_is_refused():
    said = "stage 6 of it has 60,466,176 joint histories, which take 4.05 GiB, and the limit is 4 GiB; take a smaller"
    with pytest.raises(TacitError, match=said):
        histories.build(dectiger.problem(), 8)


@pytest.mark.parametrize("horizon", [0, -1, 1.5, float("nan"), "3", True, None])
def test_a_horizon_is_a_positive_whole_number(horizon):
    with pytest.raises(TacitError, match=r"^horizon must be a whole number of at least 1, not "):
        histories.build(dectiger.problem(), horizon)
