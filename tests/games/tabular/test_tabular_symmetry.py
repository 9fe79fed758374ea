"""The symmetry group of tabular games, against known orders, brute force and an evaluator of its own."""

import itertools
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from games.errors import TacitError
from games.tabular import histories, symmetry
from games.tabular.dec_pomdp import DecPOMDP, from_functions, matrix_game
from games.tabular.symmetry import (
    Automorphism,
    automorphisms,
    equivariance_defect,
    on_histories,
    on_policy,
    orbits,
    project,
)

SHARED = Path(__file__).resolve().parents[3] / ".." / "shared"

# Payoff [card 1][card 2][action 1][action 2] of OpenSpiel's tiny Hanabi games.
TINY_HANABI = {
    "A": [[[[0, 1], [0, 0]], [[0, 1], [3, 2]]], [[[3, 3], [3, 2]], [[2, 0], [3, 3]]]],
    "B": [[[[1, 0], [1, 0]], [[0, 1], [0, 1]]], [[[0, 1], [0, 0]], [[1, 0], [1, 0]]]],
    "C": [[[[3, 0], [0, 3]], [[2, 0], [3, 3]]], [[[2, 2], [3, 0]], [[0, 1], [0, 2]]]],
    "D": [[[[3, 0], [1, 3]], [[3, 0], [3, 0]]], [[[3, 2], [0, 2]], [[0, 1], [0, 0]]]],
    "E": [
        [[[10, 0, 0], [4, 8, 4], [10, 0, 0]], [[0, 0, 10], [4, 8, 4], [0, 0, 10]]],
        [[[0, 0, 10], [4, 8, 4], [0, 0, 0]], [[10, 0, 0], [4, 8, 4], [10, 0, 0]]],
    ],
    "F": [
        [[[0, 3], [3, 2]], [[0, 0], [0, 1]], [[3, 1], [2, 1]]],
        [[[0, 2], [0, 1]], [[1, 2], [1, 2]], [[0, 1], [0, 3]]],
        [[[1, 3], [1, 2]], [[0, 3], [2, 2]], [[3, 1], [3, 0]]],
    ],
}


def names(count):
    return [f"x{number}" for number in range(count)]


def levers(payoffs, players=2):
    table = np.zeros((len(payoffs),) * players)
    np.fill_diagonal(table, payoffs)
    return matrix_game(table, names(players), [names(len(payoffs))] * players)


def tiger(start=(0.5, 0.5), both_right=20.0):
    """Decentralised tiger: 0 listens, 1 opens left, 2 opens right; state 0: the tiger is left."""

    def reward(state, joint):
        wrong = joint.count(1 + state)
        if joint == (0, 0):
            return -2.0
        if 0 in joint:
            return -101.0 if wrong else 9.0
        return (both_right, -100.0, -50.0)[wrong]

    def hear(joint, state):
        right = (0.85, 0.15) if state == 0 else (0.15, 0.85)
        if joint != (0, 0):
            right = (0.5, 0.5)
        return {(a, b): right[a] * right[b] for a in (0, 1) for b in (0, 1)}

    return from_functions(
        agents=names(2),
        states=names(2),
        actions=[names(3)] * 2,
        observations=[names(2)] * 2,
        discount=1.0,
        start=start,
        transition=lambda state, joint: {state: 1.0} if joint == (0, 0) else {0: 0.5, 1: 0.5},
        observation=hear,
        reward=reward,
    )


def hint_game(size):
    """Agent 0 sees agent 1's card (color, rank) and names its color (action 0) or rank (1); agent 1 guesses the card.

    States: the cards before the hint, the cards after it, the end. The action that waits is the last one.
    """
    cards = size * size
    end = 2 * cards

    def see(joint, state):
        if not cards <= state < end:
            return {(cards, 0): 1.0}
        color, rank = divmod(state - cards, size)
        return {(cards, 1 + (color if joint[0] == 0 else size + rank)): 1.0}

    hinter = np.zeros((cards + 1, 3), bool)
    hinter[:cards, :2] = hinter[cards, 2] = True
    guesser = np.zeros((1 + 2 * size, cards + 1), bool)
    guesser[1:, :cards] = guesser[0, cards] = True
    return from_functions(
        agents=names(2),
        states=names(2 * cards + 1),
        actions=[names(3), names(cards + 1)],
        observations=[names(cards + 1), names(1 + 2 * size)],
        discount=1.0,
        start=[1 / cards] * cards + [0] * (cards + 1),
        transition=lambda state, joint: {min(state + cards, end): 1.0},
        observation=see,
        reward=lambda state, joint: float(cards <= state < end and joint[1] == state - cards),
        initial_observation=lambda state: {(min(state, cards), 0): 1.0},
        legal=(hinter, guesser),
    )


def tiny_hanabi(payoff):
    """Each agent sees its card; agent 0 acts, agent 1 sees the action and acts. The last action waits.

    States: cards before the first action, cards after it with the action, the end.
    """
    payoff = np.array(payoff, float)
    cards, _, first, second = payoff.shape
    deals = list(itertools.product(range(cards), repeat=2))
    later = list(itertools.product(range(cards), range(cards), range(first)))
    end = len(deals) + len(later)
    seen_first, seen_second = cards, cards + first  # observation "nothing" of each agent

    def move(state, joint):
        if state < len(deals) and joint[0] < first:
            return {len(deals) + later.index((*deals[state], joint[0])): 1.0}
        return {end: 1.0}

    def see(joint, state):
        acted = len(deals) <= state < end
        return {(seen_first, cards + later[state - len(deals)][2] if acted else seen_second): 1.0}

    def pay(state, joint):
        if not len(deals) <= state < end or joint[1] == second:
            return 0.0
        return float(payoff[(*later[state - len(deals)], joint[1])])

    def dealt(state):
        return {deals[state] if state < len(deals) else (seen_first, seen_second): 1.0}

    masks = np.zeros((cards + 1, first + 1), bool), np.zeros((cards + first + 1, second + 1), bool)
    masks[0][:cards, :first] = masks[0][cards, first] = True
    masks[1][cards : cards + first, :second] = masks[1][:cards, second] = masks[1][cards + first, second] = True
    return from_functions(
        agents=names(2),
        states=names(end + 1),
        actions=[names(first + 1), names(second + 1)],
        observations=[names(cards + 1), names(cards + first + 1)],
        discount=1.0,
        start=[1 / len(deals)] * len(deals) + [0] * (len(later) + 1),
        transition=move,
        observation=see,
        reward=pay,
        initial_observation=dealt,
        legal=masks,
    )


def random_relabelling(problem, generator, agents=None):
    permute = generator.permutation
    return Automorphism(
        permute(problem.num_agents) if agents is None else np.array(agents),
        tuple(map(permute, problem.num_actions)),
        tuple(map(permute, problem.num_observations)),
        permute(problem.num_states),
    )


def relabel(problem, g):
    """The same game under other labels: agent i is called g.agents[i], its action a g.actions[i][a], and so on."""
    source = np.argsort(g.agents)

    def joint(own, sizes, new_sizes):
        images = np.empty(own.shape, int)
        for i in range(problem.num_agents):
            images[:, g.agents[i]] = sizes[i][own[:, i]]
        return np.ravel_multi_index(tuple(images.T), new_sizes)

    actions = [problem.actions[i] for i in source]
    observations = [problem.observations[i] for i in source]
    ja = joint(problem.joint_actions, g.actions, tuple(map(len, actions)))
    jo = joint(problem.joint_observations, g.observations, tuple(map(len, observations)))
    s = g.states

    def moved(table, *axes):
        image = np.empty_like(table)
        image[np.ix_(*axes)] = table
        return image

    legal = None
    if problem.legal is not None:
        legal = tuple(moved(problem.legal[i], g.observations[i], g.actions[i]) for i in source)
    first = problem.initial_observation
    return DecPOMDP(
        agents=problem.agents,
        states=problem.states,
        actions=tuple(actions),
        observations=tuple(observations),
        discount=problem.discount,
        start=moved(problem.start, s),
        transition=moved(problem.transition, ja, s, s),
        observation=moved(problem.observation, ja, s, jo),
        reward=moved(problem.expected_reward, ja, s)[:, :, None, None],
        initial_observation=None if first is None else moved(first, s, jo),
        legal=legal,
    )


def tables(problem):
    parts = [problem.start, problem.transition, problem.observation, problem.expected_reward, *(problem.legal or ())]
    if problem.initial_observation is not None:
        parts.append(problem.initial_observation)
    return np.concatenate([np.ravel(part).astype(float) for part in parts])


def all_relabellings(problem, swap_agents):
    sizes = list(zip(problem.num_actions, problem.num_observations, strict=True))
    permutations = [np.array(p) for p in itertools.permutations(range(problem.num_agents))]
    for agents in permutations if swap_agents else permutations[:1]:
        if any(sizes[i] != sizes[j] for i, j in enumerate(agents)):
            continue
        axes = [*problem.num_actions, *problem.num_observations, problem.num_states]
        for maps in itertools.product(*(map(np.array, itertools.permutations(range(size))) for size in axes)):
            n = problem.num_agents
            yield Automorphism(agents, maps[:n], maps[n : 2 * n], maps[-1])


def brute_force(problem, swap_agents):
    """(number of symmetries, number of those that differ on agents, actions and observations)."""
    own = tables(problem)
    found = [
        g for g in all_relabellings(problem, swap_agents) if np.abs(tables(relabel(problem, g)) - own).max() < 1e-9
    ]
    return len(found), len({np.concatenate([g.agents, *g.actions, *g.observations]).tobytes() for g in found})


def powers(g):
    """All powers of a relabelling, the identity last."""
    found = [g]
    while (
        not all((own == np.arange(len(own))).all() for own in (found[-1].agents, *found[-1][1], *found[-1][2]))
        or (found[-1].states != np.arange(len(g.states))).any()
    ):
        found.append(g.compose(found[-1]))
    return found


def planted(problem, g):
    """The game averaged over all powers of `g`, which are then symmetries of it."""
    images = [relabel(problem, power) for power in powers(g)]

    def mean(field):
        return sum(getattr(image, field) for image in images) / len(images)

    legal = None
    if problem.legal is not None:
        legal = tuple(np.any(masks, axis=0) for masks in zip(*(image.legal for image in images), strict=True))
    return problem.replace(
        start=mean("start"),
        transition=mean("transition"),
        observation=mean("observation"),
        reward=mean("reward"),
        initial_observation=None if problem.initial_observation is None else mean("initial_observation"),
        legal=legal,
    )


def symmetric_game(random_dec_pomdp, seed=3):
    """A two-agent game with a cyclic group of order 6: its generator swaps the agents and turns three actions."""
    turn, flip, stay = np.array([1, 2, 0]), np.array([1, 0]), np.arange(3)
    g = Automorphism(np.array([1, 0]), (turn, turn), (flip, flip), stay)
    game = random_dec_pomdp(seed, num_actions=(3, 3), num_observations=(2, 2), num_states=3, initial=True)
    return planted(game, g), g


def three_agents(random_dec_pomdp):
    """A game whose only symmetries turn its three agents, flipping one agent's actions on the way: order 6."""
    flip, stay = np.array([1, 0]), np.arange(2)
    g = Automorphism(np.array([1, 2, 0]), (flip, stay, stay), (stay, stay, flip), flip)
    game = random_dec_pomdp(0, num_agents=3, num_states=2, num_actions=(2,), num_observations=(2,))
    return planted(game, g), g


def random_policy(tree, generator, batch=()):
    policy = []
    for own in tree.agents:
        weights = generator.random((*batch, *own.legal.shape)) * own.legal
        policy.append(weights / weights.sum(-1, keepdims=True))
    return tuple(policy)


def play(tree, policy):
    """(expected return, for each agent the probability that a game goes through each history), by recursion."""
    problem = tree.problem
    reach = [np.zeros(own.size) for own in tree.agents]

    def from_here(t, state, local, weight):
        for own, history in zip(reach, local, strict=True):
            own[history] += weight
        value = 0.0
        for ja, actions in enumerate(problem.joint_actions):
            chosen = weight * np.prod([pi[h, a] for pi, h, a in zip(policy, local, actions, strict=True)])
            if chosen == 0:
                continue
            value += chosen * problem.expected_reward[ja, state] * problem.discount**t
            if t + 1 == tree.horizon:
                continue
            chances = problem.transition[ja, state][:, None] * problem.observation[ja]
            for s, jo in np.argwhere(chances > 0).tolist():
                seen = problem.joint_observations[jo]
                after = [own.child[h, a, o] for own, h, a, o in zip(tree.agents, local, actions, seen, strict=True)]
                value += from_here(t + 1, s, after, chosen * chances[s, jo])
        return value

    total = 0.0
    for state in np.flatnonzero(problem.start).tolist():
        if problem.initial_observation is None:
            total += from_here(0, state, [0] * problem.num_agents, problem.start[state])
            continue
        for jo in np.flatnonzero(problem.initial_observation[state]).tolist():
            local = [own.root[o] for own, o in zip(tree.agents, problem.joint_observations[jo], strict=True)]
            total += from_here(0, state, local, problem.start[state] * problem.initial_observation[state, jo])
    return total, reach


def orders(problem):
    """[order with agent swap, on policies; order without, on policies]."""
    groups = [automorphisms(problem, swap_agents=swap) for swap in (True, False)]
    return [order for group in groups for order in (group.order, group.policy_order)]


# Orders


@pytest.mark.slow
@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        (levers([1.0] * 9 + [0.9]), [725_760, 725_760, 362_880, 362_880]),
        (levers([1.0] * 3, players=3), [36, 36, 6, 6]),
        (tiger(), [4, 4, 2, 2]),
        (tiger(start=(0.6, 0.4)), [2, 2, 1, 1]),
        (hint_game(2), [8, 8, 8, 8]),
        (hint_game(3), [72, 72, 72, 72]),
        (hint_game(5), [28_800, 28_800, 28_800, 28_800]),
    ],
    ids=["10 levers", "3 players", "tiger", "tiger, uneven start", "hint 2", "hint 3", "hint 5"],
)
def test_orders(problem, expected):
    assert orders(problem) == expected


def test_a_hundred_levers_have_an_exact_order():
    assert orders(levers([1.0] * 100)) == [2 * math.factorial(100)] * 2 + [math.factorial(100)] * 2
    group = automorphisms(levers([1.0] * 99 + [0.9]), swap_agents=True)
    assert group.order == 2 * math.factorial(99) and type(group.order) is int


@pytest.mark.parametrize("variant", sorted(TINY_HANABI))
def test_tiny_hanabi_has_no_symmetry(variant):
    assert orders(tiny_hanabi(TINY_HANABI[variant])) == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("dectiger", (4, 2)), ("recycling", (2, 1)), ("broadcastChannel", (1, 1)), ("GridSmall", (2, 1))],
)
def test_orders_of_problem_files(name, expected):
    file = SHARED / "dpomdp" / f"{name}.dpomdp"
    if not file.exists():
        pytest.skip("the problem files are not part of the repository and not here")
    from games.tabular.dpomdp_file import read_file

    problem = read_file(file)
    assert orders(problem) == [expected[0], expected[0], expected[1], expected[1]]


@pytest.mark.parametrize("options", [{}, {"initial": True, "restricted": True}])
@pytest.mark.parametrize("seed", range(3))
def test_brute_force_over_all_relabellings(random_dec_pomdp, seed, options):
    game = random_dec_pomdp(seed, num_states=2, num_actions=(3, 3), **options)
    if game.legal is not None:  # an action that is never legal does not count, but brute force would count it
        for mask in (masks := [mask.copy() for mask in game.legal]):
            mask[0] = True
        game = game.replace(legal=tuple(masks))
    symmetric = planted(game, random_relabelling(game, np.random.default_rng(seed)))
    for swap_agents in (True, False):
        group = automorphisms(symmetric, swap_agents=swap_agents)
        assert (group.order, group.policy_order) == brute_force(symmetric, swap_agents)
    assert automorphisms(symmetric, swap_agents=True).order > 1
    assert automorphisms(game, swap_agents=True).order == 1


def test_brute_force_with_three_agents(random_dec_pomdp):
    game, _ = three_agents(random_dec_pomdp)
    for swap_agents, order in ((True, 6), (False, 2)):
        group = automorphisms(game, swap_agents=swap_agents)
        assert (group.order, group.policy_order) == brute_force(game, swap_agents) == (order, order)


def test_equal_states_count_in_the_order_and_not_on_policies():
    game = levers([1.0, 2.0])
    three = game.replace(
        states=names(3),
        start=np.full(3, 1 / 3),
        transition=np.full((4, 3, 3), 1 / 3),
        observation=np.ones((4, 3, 1)),
        reward=np.repeat(game.reward, 3, axis=1),
    )
    assert orders(three) == [12, 2, 6, 1]
    assert brute_force(three, True) == (12, 2)
    assert len(automorphisms(three, swap_agents=True).elements(2)) == 2


@pytest.mark.parametrize("seed", range(4))
def test_relabelling_keeps_the_orders(random_dec_pomdp, seed):
    generator = np.random.default_rng(seed)
    for game in (tiger(), hint_game(3), levers([1, 1, 2, 2, 2]), symmetric_game(random_dec_pomdp)[0]):
        assert orders(relabel(game, random_relabelling(game, generator))) == orders(game)


@pytest.mark.parametrize("swap_agents", [True, False])
def test_generators_are_symmetries(random_dec_pomdp, swap_agents):
    games = (tiger(), levers([1, 1, 2]), symmetric_game(random_dec_pomdp)[0], three_agents(random_dec_pomdp)[0])
    for game in games:
        group = automorphisms(game, swap_agents=swap_agents)
        for g in group.generators:
            np.testing.assert_allclose(tables(relabel(game, g)), tables(game), rtol=0, atol=1e-9)
        elements = group.elements(100)
        assert len(elements) == group.policy_order
        assert all(element.same_image(group.identity) == (n == 0) for n, element in enumerate(elements))


def test_compose_and_inverse_are_those_of_relabellings(random_dec_pomdp):
    generator = np.random.default_rng(0)
    game = random_dec_pomdp(0, num_agents=3, num_states=4, num_actions=(2, 3, 2), num_observations=(1, 2, 3))
    for _ in range(3):
        first = random_relabelling(game, generator)
        middle = relabel(game, first)
        second = random_relabelling(middle, generator)
        at_once = relabel(game, second.compose(first))
        assert np.array_equal(tables(at_once), tables(relabel(middle, second)))
        assert np.array_equal(tables(relabel(middle, first.inverse())), tables(game))


def test_a_reward_change_of_a_thousandth_breaks_symmetries():
    changed = levers([1.0, 1.0, 1.001])
    assert orders(changed) == [4, 4, 2, 2]
    game = tiger()
    for joint_action, expected in ((4, [2, 2, 1, 1]), (1, [1, 1, 1, 1])):  # both open left; only one does
        reward = game.reward.copy()
        reward[joint_action, 0] += 1e-3
        assert orders(game.replace(reward=reward)) == expected


@pytest.mark.parametrize("field", ["transition", "observation", "initial_observation"])
def test_a_probability_change_of_a_thousandth_breaks_symmetries(field):
    game = tiger().replace(initial_observation=np.full((2, 4), 0.25))
    assert orders(game) == [4, 4, 2, 2]
    table = getattr(game, field).copy()
    row = table[0] if field == "initial_observation" else table[4, 0]  # after both opened left
    row[0] += 1e-3
    row[-1] -= 1e-3  # as before under the agents' swap, not under left and right
    assert orders(game.replace(**{field: table})) == [2, 2, 1, 1]


def test_rounding_does_not_break_symmetries():
    assert 0.1 + 0.2 != 0.3
    assert orders(levers([0.3, 0.1 + 0.2])) == [4, 4, 2, 2]
    assert orders(tiger(start=(0.1 + 0.4 + 1e-16, 0.5))) == [4, 4, 2, 2]


def test_only_expected_rewards_count():
    game = tiger()
    luck = np.broadcast_to(game.reward, (9, 2, 2, 4)).copy()
    for state in range(2):  # while both listen: a bonus for an observation, taken off again in the mean
        luck[0, state, :, 0] += 1.0
        luck[0, state] -= game.observation[0, state, 0]
    assert not np.allclose(luck[0, 0], luck[0, 1])
    assert orders(game.replace(reward=luck)) == [4, 4, 2, 2]


def test_what_cannot_happen_does_not_count():
    game = hint_game(2)
    cards, end = 4, 8
    generator = np.random.default_rng(0)
    reward, transition = game.reward.copy(), game.transition.copy()
    for ja, (hint, guess) in enumerate(game.joint_actions.tolist()):
        hinting, guessing = hint < 2 and guess == cards, hint == 2 and guess < cards
        for state in range(2 * cards + 1):
            legal = hinting if state < cards else guessing if state < end else (hint == 2 and guess == cards)
            if not legal:
                reward[ja, state] = generator.normal()
                transition[ja, state] = generator.dirichlet(np.ones(9))
    first = game.initial_observation.copy()
    first[cards:] = generator.dirichlet(np.ones(first.shape[1]), cards + 1)  # of states that no game starts in
    assert orders(game.replace(reward=reward, transition=transition, initial_observation=first)) == [8, 8, 8, 8]


def test_states_and_observations_that_cannot_occur_do_not_count():
    game = tiger()
    transition = np.zeros((9, 4, 4))
    transition[:, :2, :2] = game.transition
    transition[:, 2:] = 0.25
    observation = np.zeros((9, 4, 4, 4))
    observation[:, :2, :2, :2] = game.observation.reshape(9, 2, 2, 2)
    observation[:, 2:, 2, 3] = 1.0
    more = game.replace(
        states=names(4),
        observations=(names(4), names(4)),
        start=np.array([0.5, 0.5, 0, 0]),
        transition=transition,
        observation=observation.reshape(9, 4, 16),
        reward=np.concatenate([game.reward, np.arange(18.0).reshape(9, 2, 1, 1)], axis=1),
    )
    assert orders(more) == [4, 4, 2, 2]
    for g in automorphisms(more, swap_agents=True).elements(4):
        assert all(own[2:].tolist() == [2, 3] for own in (g.states, *g.observations))


def test_agents_with_other_numbers_of_actions_are_not_swapped():
    payoffs = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    game = matrix_game(payoffs, names(2), [names(2), names(3)])
    assert orders(game) == [2, 2, 2, 2]
    # The same where the third action can never be played, so that only the number differs.
    illegal = game.replace(
        initial_observation=np.ones((1, 1)), legal=(np.ones((1, 2), bool), np.array([[True, True, False]]))
    )
    assert orders(illegal) == [2, 2, 2, 2]


def test_legal_actions_count(random_dec_pomdp):
    game = tiger()
    free = np.ones((2, 3), bool)
    bound = free.copy()
    bound[0, 1] = False
    assert orders(game.replace(legal=(free, free))) == [4, 4, 2, 2]
    assert orders(game.replace(legal=(bound, free))) == [1, 1, 1, 1]
    assert orders(game.replace(legal=(bound, bound))) == [2, 2, 1, 1]
    bound[1, 2] = False
    assert orders(game.replace(legal=(bound, bound))) == [4, 4, 2, 2]


# The action on histories and policies


@pytest.mark.parametrize("make", [symmetric_game, three_agents])
def test_action_on_policies_is_a_group_action(random_dec_pomdp, make):
    game, g = make(random_dec_pomdp)
    tree = histories.build(game, 2)
    policy = random_policy(tree, np.random.default_rng(0), batch=(2,))
    group = automorphisms(game, swap_agents=True)
    assert group.policy_order == 6
    elements = group.elements(6)
    assert any(element.same_image(g) for element in elements)
    for a, b in itertools.product(elements, repeat=2):
        together, one_by_one = on_policy(a.compose(b), tree, policy), on_policy(a, tree, on_policy(b, tree, policy))
        assert all(map(np.array_equal, together, one_by_one))
    assert not g.same_image(g.inverse())
    back = on_policy(g.inverse(), tree, on_policy(g, tree, policy))
    assert all(map(np.array_equal, back, policy))
    assert not np.allclose(on_policy(g, tree, policy)[0], policy[0])


def test_image_of_a_history_is_the_history_of_the_images():
    tree = histories.build(tiger(), 3)
    turn = np.array([0, 2, 1])
    flip = np.array([1, 0])
    g = Automorphism(np.array([1, 0]), (turn, turn), (flip, flip), flip)
    for agent, image in enumerate(on_histories(g, tree)):
        for history in range(43):
            path = tree.agents[agent].path(history)
            moved = [None] + [(turn if n % 2 == 0 else flip)[step] for n, step in enumerate(path[1:])]
            assert tree.agents[1 - agent].path(image[history]) == tuple(moved)


def test_actions_move_with_the_histories(random_dec_pomdp):
    game, g = symmetric_game(random_dec_pomdp)
    tree = histories.build(game, 2)
    policy = random_policy(tree, np.random.default_rng(1))
    image = on_policy(g, tree, policy)
    where = on_histories(g, tree)
    for agent, own in enumerate(policy):
        for history, action in np.ndindex(own.shape):
            there = image[1 - agent][where[agent][history], g.actions[agent][action]]
            assert there == own[history, action]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_self_play_value_is_invariant(random_dec_pomdp, seed):
    generator = np.random.default_rng(seed)
    for game, horizon in ((symmetric_game(random_dec_pomdp, seed)[0], 2), (tiger(), 2), (hint_game(2), 2)):
        tree = histories.build(game, horizon)
        policy = random_policy(tree, generator)
        value, reach = play(tree, policy)
        for g in automorphisms(game, swap_agents=True).elements(10)[1:]:
            image_value, image_reach = play(tree, on_policy(g, tree, policy))
            assert image_value == pytest.approx(value, abs=1e-12)
            for agent, where in enumerate(on_histories(g, tree)):
                np.testing.assert_allclose(image_reach[g.agents[agent]][where], reach[agent], rtol=0, atol=1e-12)


def test_group_of_another_game_is_refused():
    one_sided = tiger().replace(observation=np.tile([0.0, 0.0, 0.5, 0.5], (9, 2, 1)))
    tree = histories.build(one_sided, 2)
    swap = automorphisms(tiger(), swap_agents=True).elements(4)
    with pytest.raises(TacitError, match="has no image"):
        for g in swap:
            on_histories(g, tree)


# Orbits, projection and defect


def test_orbits_of_levers():
    game = levers([1.0, 1.0, 0.5])
    tree = histories.build(game, 1)
    swapped, kept = (orbits(automorphisms(game, swap_agents=swap), tree) for swap in (True, False))
    assert [own.tolist() for own in swapped] == [[[0, 0, 1]], [[0, 0, 1]]]
    assert [own.tolist() for own in kept] == [[[0, 0, 1]], [[2, 2, 3]]]


def test_orbits_leave_out_illegal_actions():
    tree = histories.build(hint_game(2), 2)
    first, second = orbits(automorphisms(hint_game(2), swap_agents=True), tree)
    for own, agent in zip((first, second), tree.agents, strict=True):
        assert ((own >= 0) == agent.legal).all()
    assert len(np.unique(first[:4, :2])) == 1  # every hint about every card
    # After a hint: the two cards it fits, and the two it does not fit.
    assert sorted(np.unique(second[tree.agents[1].stage(1), :4], return_counts=True)[1].tolist()) == [8, 8]


@pytest.mark.parametrize("swap_agents", [True, False])
def test_projection_is_the_group_average(random_dec_pomdp, swap_agents):
    generator = np.random.default_rng(5)
    for game, horizon in ((symmetric_game(random_dec_pomdp)[0], 3), (tiger(), 3), (hint_game(3), 2)):
        group, tree = automorphisms(game, swap_agents=swap_agents), histories.build(game, horizon)
        policy = random_policy(tree, generator, batch=(2,))
        elements = group.elements(100)
        images = [on_policy(g, tree, policy) for g in elements]
        orbit = orbits(group, tree)
        projected = project(orbit, policy)
        for agent, own in enumerate(projected):
            np.testing.assert_allclose(own, np.mean([image[agent] for image in images], axis=0), rtol=0, atol=1e-14)
            np.testing.assert_allclose(own.sum(-1), 1.0, rtol=0, atol=1e-14)
        for own, again in zip(projected, project(orbit, projected), strict=True):
            np.testing.assert_allclose(again, own, rtol=0, atol=1e-15)
        before = equivariance_defect(group, tree, policy)
        after = equivariance_defect(group, tree, projected)
        assert before.exact and after.exact
        assert (before.unweighted > 0.1).all() and (after.unweighted < 1e-14).all()


def test_defect_of_levers():
    game = levers([1.0, 1.0])
    tree = histories.build(game, 1)
    policy = (np.array([[0.9, 0.1]]), np.array([[0.5, 0.5]]))
    levers_and_agents = automorphisms(game, swap_agents=True)
    assert equivariance_defect(levers_and_agents, tree, policy).unweighted == pytest.approx(0.8, abs=1e-15)
    only_agents = automorphisms(levers([1.0, 2.0]), swap_agents=True)
    assert equivariance_defect(only_agents, tree, policy).unweighted == pytest.approx(0.4, abs=1e-15)
    nothing = equivariance_defect(automorphisms(levers([1.0, 2.0]), swap_agents=False), tree, policy)
    assert nothing.unweighted == 0 and nothing.weighted is None and nothing.exact


def test_weighted_defect_takes_the_likelier_history():
    tree = histories.build(tiger(), 2)
    group = automorphisms(tiger(), swap_agents=False)
    uniform = tree.uniform()
    changed = [np.stack([own, own]) for own in uniform]
    one = int(tree.agents[0].child[0, 0, 0])
    other = int(tree.agents[0].child[0, 0, 1])  # its image
    changed[0][1, one] = (0.0, 1 / 3, 2 / 3)  # its image's image under the flip: (0, 2/3, 1/3)
    reach = [np.zeros((2, own.size)) for own in tree.agents]
    reach[0][1, one], reach[0][1, other] = 0.1, 0.3
    defect = equivariance_defect(group, tree, changed, reach)
    np.testing.assert_allclose(defect.unweighted, [0, 1 / 3], rtol=0, atol=1e-15)
    np.testing.assert_allclose(defect.weighted, [0, 0.1], rtol=0, atol=1e-15)
    reach[0][1, one], reach[0][1, other] = 0.6, 0.3
    defect = equivariance_defect(group, tree, changed, reach)
    np.testing.assert_allclose(defect.weighted, [0, 0.2], rtol=0, atol=1e-15)


def test_defect_of_a_large_group_is_a_lower_bound(monkeypatch):
    game = levers([1.0] * 8)
    tree = histories.build(game, 1)
    group = automorphisms(game, swap_agents=True)
    policy = random_policy(tree, np.random.default_rng(0))
    sampled = equivariance_defect(group, tree, policy, [np.full(1, 0.5)] * 2)
    assert group.policy_order == 80_640 and not sampled.exact
    # Every permutation of the levers applies, so the farthest image reverses the order of the probabilities.
    farthest = max(np.abs(np.sort(own) - np.sort(other)[:, ::-1]).sum() / 2 for own in policy for other in policy)
    assert 0.5 * farthest < sampled.unweighted <= farthest
    assert sampled.weighted == pytest.approx(sampled.unweighted / 2, abs=1e-15)
    again = equivariance_defect(group, tree, policy)
    assert again.unweighted == sampled.unweighted
    assert equivariance_defect(group, tree, project(orbits(group, tree), policy)).unweighted < 1e-15
    # The generators alone already tell an equivariant policy from any other.
    monkeypatch.setattr(symmetry, "RANDOM_PRODUCTS", 0)
    assert 0.01 < equivariance_defect(group, tree, policy).unweighted <= sampled.unweighted


def test_errors(monkeypatch):
    group = automorphisms(levers([1.0] * 4), swap_agents=True)
    with pytest.raises(TacitError, match="48 ways, more than the limit 47"):
        group.elements(47)
    with pytest.raises(TacitError, match="limit must be a whole number of at least 1"):
        equivariance_defect(group, histories.build(levers([1.0] * 4), 1), [np.full((1, 4), 0.25)] * 2, limit=0)
    monkeypatch.setitem(sys.modules, "igraph", None)
    with pytest.raises(TacitError, match=r"pip install 'tacit\[symmetry\]'"):
        automorphisms(tiger(), swap_agents=True)
