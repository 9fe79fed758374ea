"""Self-play optima: published values, brute force on small random games, bounds, and policies on a history tree."""

import functools
import itertools
import math
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest

from games.errors import TacitError
from games.tabular import histories
from games.tabular.dec_pomdp import DecPOMDP, matrix_game
from games.tabular.library import (
    asymmetric_lever,
    broadcast_channel,
    dectiger,
    equal_levers,
    grid_small,
    hint,
    lever,
    recycling,
    tiny_hanabi,
    two_stage_lever,
)
from marl.exact import alternation
from marl.exact.alternation import alternate
from marl.exact.best_response import best_response
from marl.exact.deterministic import PurePolicy, on_histories, to_behaviour
from marl.exact.multi_agent_a_star import MultiAgentAStar
from marl.exact.optimum import optimum

PUBLISHED = {
    "dectiger": (
        dectiger,
        {2: -4, 3: 5.1908125, 4: 4.80275515625, 5: 7.026450983203, 6: 10.381625, 7: 9.99356765625},
    ),
    "broadcast_channel": (broadcast_channel, {2: 2, 3: 2.99, 4: 3.89, 5: 4.79, 10: 9.29, 20: 18.31322818300334}),
    "recycling": (
        recycling,
        {
            2: 7,
            3: 10.660125,
            4: 13.38,
            5: 16.486,
            6: 19.5542,
            7: 22.63374,
            8: 25.709878,
            9: 28.7870366,
            10: 31.86388902,
        },
    ),
    "grid_small": (grid_small, {2: 0.91, 3: 1.550444, 4: 2.2415766, 5: 2.9704960768}),
}
"""Horizon -> optimum at discount 1, from MADP's value database and masplan.org; dec-tiger's 7 from another solver."""
FAR = {
    "broadcast_channel": (broadcast_channel, 50, 45.5016041757),
    "recycling": (recycling, 50, 154.9408284023669),
}

# Published values ----------------------------------------------------------------------------------------------------

SLOW = {("dectiger", 5), ("dectiger", 6), ("grid_small", 4), ("recycling", 9), ("recycling", 10)}
PROOF = {("dectiger", 7), ("grid_small", 5)}


@pytest.mark.parametrize(
    ("name", "horizon"),
    [
        pytest.param(
            name,
            horizon,
            marks=[pytest.mark.proof] * ((name, horizon) in PROOF) + [pytest.mark.slow] * ((name, horizon) in SLOW),
        )
        for name, (_, values) in PUBLISHED.items()
        for horizon in values
    ],
)
def test_published_values(name: str, horizon: int) -> None:
    library, values = PUBLISHED[name]
    problem = library.problem(discount=1.0)
    found = optimum(problem, horizon, work=10**10)
    assert found.exact
    assert found.value == pytest.approx(values[horizon], rel=0, abs=1e-8)
    assert found.upper_bound == pytest.approx(values[horizon], rel=0, abs=1e-8)
    searched = optimum(problem, horizon, limit=0, work=10**10) if horizon <= 3 else found
    assert searched.exact and searched.value == pytest.approx(found.value, rel=0, abs=1e-9)
    if horizon <= 7:
        policy = on_histories(problem, horizon, found.policy)
        assert found.value == pytest.approx(expected_return(problem, horizon, policy), rel=0, abs=1e-9)


@pytest.mark.proof
@pytest.mark.parametrize("name", FAR)
def test_published_values_of_fifty_stages(name: str) -> None:
    library, horizon, value = FAR[name]
    found = optimum(library.problem(discount=1.0), horizon)
    assert found.exact
    assert found.value == pytest.approx(value, rel=0, abs=1e-8)


@pytest.mark.parametrize("library", [recycling, grid_small])
def test_the_discounted_optima_that_the_library_names(library: ModuleType) -> None:
    for horizon, value in library.DISCOUNTED_OPTIMA.items():
        found = optimum(library.problem(), horizon)
        assert found.exact
        assert found.value == pytest.approx(value, rel=0, abs=1e-9)


def test_a_lower_bound_says_so() -> None:
    found = optimum(dectiger.problem(), 4, work=1, restarts=16)
    assert not found.exact
    assert found.method == "multi-agent A*, 3 nodes; alternating best responses from its policy and 16 random starts"
    assert found.value == pytest.approx(4.80275515625, abs=1e-9)
    assert found.upper_bound > found.value + 1


def test_the_dec_tiger_optimum_is_found_by_going_through_3_to_the_7_policies() -> None:
    assert optimum(dectiger.problem(), 3).method == "best responses to all 2,187 policies of the other agents"
    assert optimum(dectiger.problem(), 3, limit=2_186).method.startswith("multi-agent A*")


def test_more_work_never_loosens_the_bounds() -> None:
    found = [optimum(dectiger.problem(), 5, work=work, restarts=1) for work in (1, 10**5, 10**8)]
    uppers, values = [each.upper_bound for each in found], [each.value for each in found]
    assert uppers == sorted(uppers, reverse=True) and values == sorted(values)
    assert [each.exact for each in found] == [False, False, True]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("name", "horizon"), [("dectiger", 4), ("recycling", 4), ("grid_small", 3)])
def test_alternating_best_responses_find_the_same_from_other_starts(name: str, horizon: int, seed: int) -> None:
    library, values = PUBLISHED[name]
    value, _ = alternate(library.problem(discount=1.0), horizon, restarts=128, seed=seed)
    assert value == pytest.approx(values[horizon], abs=1e-9)


def test_a_given_start_is_not_left_for_something_worse() -> None:
    problem = dectiger.problem()
    best = on_histories(problem, 4, optimum(problem, 4).policy)
    assert alternate(problem, 4, restarts=1, seed=3)[0] < 4
    assert alternate(problem, 4, restarts=1, seed=3, starts=[best])[0] == pytest.approx(4.80275515625, abs=1e-9)


def test_levers() -> None:
    found = optimum(lever.problem(), 1)
    assert (found.value, found.exact) == (1.0, True)
    mine, yours = (int(own[0][0]) for own in found.policy.actions)
    assert mine == yours < 9
    for problem, horizon, value in (
        (two_stage_lever.problem(), 2, 2.0),
        (asymmetric_lever.problem(), 3, 3.0),
        (equal_levers.problem(100), 1, 1.0),
        (equal_levers.problem(10, players=3), 1, 1.0),
    ):
        found = optimum(problem, horizon)
        assert (found.value, found.exact) == (value, True)


@pytest.mark.parametrize(("variant", "value"), [("A", 2.25), ("B", 1), ("C", 2.5), ("D", 2.5), ("E", 10), ("F", 7 / 3)])
def test_tiny_hanabi(variant: str, value: float) -> None:
    problem = tiny_hanabi.problem(variant)
    found = optimum(problem, 2)
    assert found.exact
    assert found.value == pytest.approx(value, abs=1e-12)
    assert alternate(problem, 2, restarts=128, seed=0)[0] == pytest.approx(value, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_hint(size: int) -> None:
    found = optimum(hint.problem(size), 2, work=10**6)
    assert found.value == pytest.approx(min(1, 2 / size), abs=1e-12)
    assert found.exact == (size < 4)


def test_drawn_ties_lead_off_a_plateau(monkeypatch: pytest.MonkeyPatch) -> None:
    # Nearly all responses of the hint game are among equals: which word a card gets that is not guessed anyway.
    assert alternate(hint.problem(5), 2, restarts=128, seed=0)[0] == pytest.approx(0.4, abs=1e-12)
    monkeypatch.setattr(alternation, "DRIFT", 0)
    assert alternate(hint.problem(5), 2, restarts=128, seed=0)[0] < 0.4 - 1e-9


def test_the_discount_counts() -> None:
    assert optimum(two_stage_lever.problem(discount=0.5), 2).value == pytest.approx(1.5, abs=1e-12)


def test_three_agents_in_a_matrix_game() -> None:
    payoffs = np.zeros((2, 3, 2))
    payoffs[1, 2, 0] = 4.0
    payoffs[0, 0, 1] = 3.0
    found = optimum(matrix_game(payoffs, "abc", [range(2), range(3), range(2)]), 1)
    assert (found.value, found.exact) == (4.0, True)
    assert [int(own[0][0]) for own in found.policy.actions] == [1, 2, 0]


# Brute force on small random games -----------------------------------------------------------------------------------

RANDOM = [
    # actions, observations, horizon, whether there are initial observations
    ((2, 2), (2, 2), 2, False),
    ((2, 3), (2, 1), 2, True),
    ((2, 2), (3, 1), 2, True),
    ((2, 2, 2), (2, 1, 1), 2, False),
    ((2, 1, 2), (2, 2, 1), 2, True),
    ((2, 2), (2, 1), 3, False),
]
games = pytest.mark.parametrize("seed", range(len(RANDOM) * 3))


@functools.cache
def brute_force(seed: int) -> float:
    """The largest expected return of the seed's game, over all deterministic joint policies."""
    problem, horizon = random_game(seed)
    return max(expected_return(problem, horizon, policy) for policy in joint_policies(problem, horizon))


@pytest.mark.slow
@games
def test_optimum_of_random_games(seed: int) -> None:
    problem, horizon = random_game(seed)
    best = brute_force(seed)
    found = optimum(problem, horizon)
    assert found.exact
    assert found.value == pytest.approx(best, rel=0, abs=1e-12)
    assert found.upper_bound == found.value
    policy = on_histories(problem, horizon, found.policy)
    assert expected_return(problem, horizon, policy) == pytest.approx(best, rel=0, abs=1e-12)


@pytest.mark.slow
@games
def test_alternating_best_responses_on_random_games(seed: int) -> None:
    problem, horizon = random_game(seed)
    best = brute_force(seed)
    value, policy = alternate(problem, horizon, restarts=1, seed=0)
    assert value <= best + 1e-12
    assert expected_return(problem, horizon, policy) == pytest.approx(value, rel=0, abs=1e-12)
    for agent in range(problem.num_agents):  # nobody can do better alone
        for own in own_policies(problem, horizon, agent):
            changed = (*policy[:agent], own, *policy[agent + 1 :])
            assert expected_return(problem, horizon, changed) <= value + 1e-9
    assert alternate(problem, horizon, restarts=50, seed=0)[0] == pytest.approx(best, rel=0, abs=1e-12)


@pytest.mark.slow
@games
def test_best_responses_on_random_games(seed: int) -> None:
    problem, horizon = random_game(seed)
    rng = np.random.default_rng(1000 + seed)
    for agent in range(problem.num_agents):
        own = [list(own_policies(problem, horizon, other)) for other in range(problem.num_agents)]
        policies = tuple(choices[rng.integers(len(choices))] for choices in own)
        responses = ((*policies[:agent], mine, *policies[agent + 1 :]) for mine in own[agent])
        best = max(expected_return(problem, horizon, policy) for policy in responses)
        value, response = best_response(problem, horizon, policies, agent)
        assert value == pytest.approx(best, rel=0, abs=1e-12)
        taken = (*policies[:agent], response, *policies[agent + 1 :])
        assert expected_return(problem, horizon, taken) == pytest.approx(best, rel=0, abs=1e-12)


@games
def test_bounds_of_random_games(seed: int) -> None:
    """An upper bound at any lookahead, and from the root alone; the lower the more lookahead."""
    problem, horizon = random_game(seed)
    value, before = optimum(problem, horizon).value, math.inf
    for lookahead in range(horizon + 1):
        search = MultiAgentAStar(problem)
        search.trees = search.trees[:1]  # otherwise two stages are one Bayesian game
        search.most_work = 10**9
        upper = search.run(search.dynamics.start()[0], horizon, lookahead, most_nodes=1).upper
        assert value - 1e-12 <= upper <= before + 1e-12
        before = upper
        search.most_work = 0
        assert search.run(search.dynamics.start()[0], horizon, lookahead).upper >= value - 1e-12


@games
def test_the_search_ends_at_any_lookahead_with_the_same_value(seed: int) -> None:
    problem, horizon = random_game(seed)
    value = optimum(problem, horizon).value
    for lookahead in range(horizon + 1):
        for most in (1, 2):
            search = MultiAgentAStar(problem)
            search.trees, search.most_work = search.trees[:most], 10**9
            found = search.run(search.dynamics.start()[0], horizon, lookahead)
            assert found.lower == found.upper == pytest.approx(value, rel=0, abs=1e-12)


@games
def test_values_if_the_state_is_seen(seed: int) -> None:
    problem, horizon = random_game(seed)
    seen = MultiAgentAStar(problem)._if_seen(horizon)  # pyright: ignore[reportPrivateUsage]
    for state in range(problem.num_states):
        alone = problem.replace(start=np.eye(problem.num_states)[state], initial_observation=None)
        assert seen[:, state].max() == pytest.approx(value_when_all_is_seen(alone, horizon), rel=0, abs=1e-12)


def test_a_response_to_a_policy_keeps_to_the_first_of_equal_actions_and_to_itself_where_it_never_comes() -> None:
    problem = two_stage_lever.problem()  # each observes the other's lever, so that the other's action is known
    always_right = (np.array([1]), np.array([1, 1]))
    mine = (np.array([0]), np.array([0, 0]))
    value, response = best_response(problem, 2, (mine, always_right), 0)
    assert value == 2
    assert [choices.tolist() for choices in response] == [[1], [0, 1]]
    indifferent = matrix_game(np.ones((3, 2)), "ab", [range(3), range(2)])
    _, response = best_response(indifferent, 1, ((np.array([2]),), (np.array([1]),)), 0)
    assert response[0].tolist() == [0]


def test_one_agent_is_a_pomdp() -> None:
    problem = tiger_alone()
    assert -1 + 0.85 * 10 + 0.15 * -100 < -2  # it does not pay to open after one observation
    disagree = 2 * 0.85 * 0.15
    twice_then_open_if_agreed = -2 + 0.85**2 * 10 - 0.15**2 * 100 - disagree
    for horizon, value in ((1, -1), (2, -2), (3, twice_then_open_if_agreed)):
        found = optimum(problem, horizon)
        assert found.exact
        assert found.value == pytest.approx(value, abs=1e-12)


# On a tree of action-observation histories ---------------------------------------------------------------------------


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


# Bad input -----------------------------------------------------------------------------------------------------------


def test_bad_input() -> None:
    problem = dectiger.problem()
    with pytest.raises(TacitError, match="horizon must be a whole number of at least 1"):
        optimum(problem, 0)
    with pytest.raises(TacitError, match="restarts must be"):
        optimum(problem, 2, restarts=0)
    listen = (np.array([0]), np.array([0, 0]))
    with pytest.raises(TacitError, match="agent must be a whole number from 0 to 1"):
        best_response(problem, 2, (listen, listen), 2)
    with pytest.raises(TacitError, match="for each of 2 agents, not 1"):
        best_response(problem, 2, (listen,), 0)
    with pytest.raises(TacitError, match=r"agent0 must be arrays of \[1, 2, 4\] actions, not of shapes"):
        best_response(problem, 3, (listen, listen), 0)
    with pytest.raises(TacitError, match="agent1 takes an action that is not legal at stage 2"):
        best_response(problem, 2, (listen, (np.array([0]), np.array([0, 3]))), 0)
    with pytest.raises(TacitError, match="agent1 takes an action that is not legal at stage 2"):
        to_behaviour((listen, (np.array([0]), np.array([-1, 0]))), histories.build(problem, 2))


def test_an_illegal_action_is_refused() -> None:
    problem = two_stage_lever.problem().replace(legal=(np.eye(2, dtype=bool), np.ones((2, 2), np.bool_)))
    policy = (np.array([0]), np.array([0, 0]))
    with pytest.raises(TacitError, match="player0 takes an action that is not legal at stage 2"):
        best_response(problem, 2, (policy, policy), 1)


def test_what_does_not_fit_is_refused_with_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TacitError, match=r"horizon 400 take .* GiB up to stage \d+ alone"):
        alternate(dectiger.problem(), 400, restarts=1, seed=0)
    found = optimum(broadcast_channel.problem(), 40)  # of few nodes
    with pytest.raises(TacitError, match=r"horizon 40 take .* GiB up to stage \d+ alone"):
        on_histories(broadcast_channel.problem(), 40, found.policy)
    monkeypatch.setattr(alternation, "MEMORY_LIMIT", 1 << 20)
    with pytest.raises(TacitError, match=r"best response at horizon 6 needs .* GiB for the beliefs of stage \d"):
        alternate(dectiger.problem(), 6, restarts=1, seed=0)


# The oracle: recursion over states and everybody's histories, as tuples ----------------------------------------------


def expected_return(problem: DecPOMDP, horizon: int, policy: PurePolicy) -> float:
    n = problem.num_agents
    widths = problem.num_observations

    def choice(agent: int, seen: tuple[int, ...], t: int) -> int:
        number = sum(o * widths[agent] ** place for place, o in enumerate(reversed(seen)))
        return int(policy[agent][t][number])

    def value(beliefs: np.ndarray, seen: tuple[tuple[int, ...], ...], t: int) -> float:
        actions = tuple(choice(agent, seen[agent], t) for agent in range(n))
        if problem.legal is not None:
            for agent in range(n):
                assert not seen[agent] or problem.legal[agent][seen[agent][-1], actions[agent]]
        joint = int(np.ravel_multi_index(actions, problem.num_actions))
        total = float(beliefs @ rewards(problem)[joint])
        if t + 1 < horizon:
            ahead = (beliefs @ problem.transition[joint])[:, None] * problem.observation[joint]
            for number, what in enumerate(itertools.product(*map(range, widths))):
                if ahead[:, number].any():
                    further = tuple((*own, o) for own, o in zip(seen, what, strict=True))
                    total += problem.discount * value(ahead[:, number], further, t + 1)
        return total

    if problem.initial_observation is None:
        return value(problem.start, ((),) * n, 0)
    first = problem.start[:, None] * problem.initial_observation
    return sum(
        value(first[:, number], tuple((o,) for o in what), 0)
        for number, what in enumerate(itertools.product(*map(range, widths)))
    )


@functools.cache
def rewards(problem: DecPOMDP) -> np.ndarray:
    """float64[JA, S], summed up in the slowest way."""
    table = np.broadcast_to(problem.reward, (*problem.transition.shape, problem.observation.shape[2]))
    return np.einsum("asto,ast,ato->as", table, problem.transition, problem.observation)


def own_policies(problem: DecPOMDP, horizon: int, agent: int) -> Iterator[tuple[np.ndarray, ...]]:
    """All deterministic policies of one agent."""
    width, first = problem.num_observations[agent], 0 if problem.initial_observation is None else 1
    seen = [list(itertools.product(range(width), repeat=first + t)) for t in range(horizon)]
    everything = list(range(problem.num_actions[agent]))
    choices = [
        everything if problem.legal is None or not history else np.flatnonzero(problem.legal[agent][history[-1]])
        for history in itertools.chain(*seen)
    ]
    cuts = np.cumsum([len(stage) for stage in seen])[:-1]
    for policy in itertools.product(*choices):
        yield tuple(np.split(np.array(policy), cuts))


def joint_policies(problem: DecPOMDP, horizon: int) -> Iterator[PurePolicy]:
    yield from itertools.product(*(list(own_policies(problem, horizon, agent)) for agent in range(problem.num_agents)))


def value_when_all_is_seen(problem: DecPOMDP, horizon: int) -> float:
    def best(state: int, seen: tuple[int, ...] | None, t: int) -> float:
        if t == horizon:
            return 0.0
        values = []
        for joint, actions in enumerate(itertools.product(*map(range, problem.num_actions))):
            legal = problem.legal is None or seen is None or all(
                mask[o, a] for mask, o, a in zip(problem.legal, seen, actions, strict=True)
            )  # fmt: skip
            if legal:
                values.append(rewards(problem)[joint, state] + problem.discount * expected(joint, state, t))
        return max(values)

    def expected(joint: int, state: int, t: int) -> float:
        return sum(
            problem.transition[joint, state, after]
            * problem.observation[joint, after, number]
            * best(after, what, t + 1)
            for after in range(problem.num_states)
            for number, what in enumerate(itertools.product(*map(range, problem.num_observations)))
            if t + 1 < horizon
        )

    total = 0.0
    for state, probability in enumerate(problem.start):
        if problem.initial_observation is None:
            total += probability * best(state, None, 0)
            continue
        for number, what in enumerate(itertools.product(*map(range, problem.num_observations))):
            total += probability * problem.initial_observation[state, number] * best(state, what, 0)
    return total


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


def random_game(seed: int) -> tuple[DecPOMDP, int]:
    """A game with impossible transitions and observations and with illegal actions, and its horizon."""
    rng = np.random.default_rng(seed)
    actions, observations, horizon, initial = RANDOM[seed % len(RANDOM)]
    states, joint_actions, joint_observations = 3, math.prod(actions), math.prod(observations)

    def rows(*shape: int) -> np.ndarray:
        table = rng.random(shape) * (rng.random(shape) < 0.7)
        table[..., 0] += ~table.any(-1)
        return table / table.sum(-1, keepdims=True)

    legal = []
    for own_actions, own_observations in zip(actions, observations, strict=True):
        mask = rng.random((own_observations, own_actions)) < 0.7
        mask[np.arange(own_observations), rng.integers(own_actions, size=own_observations)] = True
        legal.append(mask)
    problem = DecPOMDP(
        agents=tuple(map(str, range(len(actions)))),
        states=tuple("xyz"),
        actions=tuple(tuple(map(str, range(count))) for count in actions),
        observations=tuple(tuple(map(str, range(count))) for count in observations),
        discount=0.9,
        start=rows(states),
        transition=rows(joint_actions, states, states),
        observation=rows(joint_actions, states, joint_observations),
        reward=rng.normal(size=(joint_actions, states, states, joint_observations)),
        initial_observation=rows(states, joint_observations) if initial else None,
        legal=tuple(legal),
    )
    return problem, horizon


def tiger_alone() -> DecPOMDP:
    """Listen (-1), or open the left or the right door: 10, and -100 with the tiger behind it, which is placed anew."""
    heard = np.array([[0.85, 0.15], [0.15, 0.85]])
    return DecPOMDP(
        agents=("only",),
        states=("left", "right"),
        actions=(("listen", "open-left", "open-right"),),
        observations=(("hear-left", "hear-right"),),
        discount=1.0,
        start=np.array([0.5, 0.5]),
        transition=np.stack([np.eye(2), np.full((2, 2), 0.5), np.full((2, 2), 0.5)]),
        observation=np.stack([heard, np.full((2, 2), 0.5), np.full((2, 2), 0.5)]),
        reward=np.array([[-1.0, -1.0], [-100.0, 10.0], [10.0, -100.0]])[:, :, None, None],
    )
