"""The library's tables against MADP's files, the published payoffs and values worked out by hand."""

import importlib
import itertools
from pathlib import Path

import numpy as np
import pytest

from games.errors import TacitError
from games.tabular import dpomdp_file
from games.tabular.library import (
    asymmetric_lever,
    broadcast_channel,
    cat_and_dog,
    dectiger,
    equal_levers,
    file,
    grid_small,
    hint,
    lever,
    noisy_lever,
    recycling,
    skewed_dectiger,
    tiny_hanabi,
    two_stage_lever,
)
from games.tabular.simulator import Simulator
from marl.exact.optimum import optimum

PUBLISHED = Path(__file__).resolve().parents[4] / "shared" / "dpomdp"
MADP_GAMES = [dectiger, broadcast_channel, recycling, grid_small]
ALL = [
    "asymmetric_lever",
    "broadcast_channel",
    "cat_and_dog",
    "dectiger",
    "equal_levers",
    "grid_small",
    "hint",
    "lever",
    "noisy_lever",
    "recycling",
    "skewed_dectiger",
    "tiny_hanabi",
    "two_stage_lever",
]


def name_of(module):
    return getattr(module, "__name__", module).rpartition(".")[2]


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="MADP's problem files are not beside the repository")
@pytest.mark.parametrize(
    ("module", "published"),
    [
        (dectiger, "dectiger"),
        (broadcast_channel, "broadcastChannel"),
        (recycling, "recycling"),
        (grid_small, "GridSmall"),
    ],
    ids=name_of,
)
def test_every_entry_is_the_published_one(module, published):
    ours, theirs = module.problem(), dpomdp_file.read_file(PUBLISHED / f"{published}.dpomdp")
    if module is recycling:  # there the file's names are those of other actions, or numbers
        assert theirs.actions == (("searchbig", "searchlittle", "waitandrecharge"),) * 2
        theirs = theirs.replace(states=ours.states, actions=ours.actions, observations=ours.observations)
    assert ours.same_tables(theirs)


def entry(problem, joint, state):
    """Transition row and reward of a joint action, given by indices."""
    number = int(np.ravel_multi_index(joint, problem.num_actions))
    return problem.transition[number, state].tolist(), float(problem.expected_reward[number, state])


def test_some_published_entries_by_hand():
    tiger = dectiger.problem()
    assert entry(tiger, (0, 0), 1) == ([0, 1], -2)
    assert entry(tiger, (1, 1), 0) == ([0.5, 0.5], -50)
    assert entry(tiger, (1, 0), 1) == ([0.5, 0.5], 9)
    assert entry(tiger, (1, 2), 1) == ([0.5, 0.5], -100)
    assert tiger.observation[0, 0].tolist() == [0.7225, 0.1275, 0.1275, 0.0225]
    assert tiger.observation[3, 0].tolist() == [0.25] * 4
    channel = broadcast_channel.problem()
    assert entry(channel, (0, 1), 2) == ([0.09, 0.01, 0.81, 0.09], 1)  # only the first agent has a message, and sends
    assert entry(channel, (1, 1), 3) == ([0, 0, 0, 1], 0)
    assert channel.observation[1, 0].tolist() == [0.01, 0.09, 0.09, 0.81]
    robots = recycling.problem()
    assert entry(robots, (0, 0), 3) == ([1, 0, 0, 0], 0)
    assert entry(robots, (1, 2), 0) == ([0.35, 0.35, 0.15, 0.15], 2)
    assert entry(robots, (1, 2), 3) == ([0.06, 0.14, 0.24, 0.56], -3.88)
    assert entry(robots, (2, 2), 0)[1] == 5
    grid = grid_small.problem()
    row, reward = entry(grid, (4, 0), 0)  # in one corner, one stays and the other tries to go up into the wall
    assert row == [0.8, 0.1, 0.1] + [0] * 13
    assert reward == 0.8
    assert np.flatnonzero(grid.start).tolist() == [6]


@pytest.mark.parametrize("module", MADP_GAMES, ids=name_of)
def test_the_optimum_is_known_at_discount_1_and_the_published_one_only(module):
    assert module.make(horizon=2, discount=1).known_optimum == module.OPTIMA[2]
    assert module.make(horizon=2, discount=1.0).known_optimum == module.OPTIMA[2]
    assert module.make(horizon=2, discount=0.5).known_optimum is None
    assert module.make(horizon=7, discount=1).known_optimum is None
    published = 1.0 if module in (dectiger, broadcast_channel) else 0.9
    assert module.make().problem.discount == published
    if published < 1:
        game = module.make(horizon=2)
        best = optimum(game.problem, 2)
        assert best.exact and game.known_optimum == pytest.approx(best.value, abs=1e-12)
        assert module.make(horizon=3).known_optimum > game.known_optimum
    with pytest.raises(TacitError, match="discount must be a number from 0 to 1, not 2"):
        module.make(discount=2)
    with pytest.raises(TacitError, match="horizon must be a whole number of at least 1, not 0"):
        module.make(horizon=0)


def test_skewed_dec_tiger_differs_in_the_start_only():
    skewed = skewed_dectiger.problem()
    assert skewed.start.tolist() == [0.8, 0.2]
    assert skewed.replace(start=dectiger.problem().start).same_tables(dectiger.problem())
    assert skewed_dectiger.make(discount=0.5).problem.discount == 0.5


def test_every_game_makes_a_simulator_of_its_name():
    for name in ALL:
        simulator = importlib.import_module(f"games.tabular.library.{name}").make()
        assert isinstance(simulator, Simulator)
        assert simulator.name == name


def pulls(problem, joint):
    return float(problem.expected_reward[int(np.ravel_multi_index(joint, problem.num_actions)), 0])


def test_levers_pay_for_meeting():
    problem = lever.problem()
    assert problem.num_actions == (10, 10)
    assert [pulls(problem, (i, i)) for i in range(10)] == [1.0] * 9 + [0.9]
    assert [pulls(problem, (i, (i + 1) % 10)) for i in range(10)] == [0.0] * 10
    assert (lever.make().horizon, lever.make().known_optimum) == (1, 1.0)
    three = lever.problem([2, 5], mismatch=-1, players=3)
    table = [pulls(three, joint) for joint in itertools.product(range(2), repeat=3)]
    assert table == [2, -1, -1, -1, -1, -1, -1, 5]
    assert lever.make((-3.0, -4.0), mismatch=-1.0).known_optimum == -1


def test_equal_levers():
    problem = equal_levers.problem(3, match=2.0, mismatch=-1.0)
    assert [[pulls(problem, (i, j)) for j in range(3)] for i in range(3)] == [[2, -1, -1], [-1, 2, -1], [-1, -1, 2]]
    assert equal_levers.make(4, match=2.5).known_optimum == 2.5
    assert equal_levers.problem(2, players=4).num_agents == 4


@pytest.mark.parametrize(
    ("make", "arguments", "said"),
    [
        (lever.make, {"payoffs": []}, "lever payoffs must be a list of at least one number, not []"),
        (lever.make, {"payoffs": "1"}, "lever payoffs must be a list of at least one number, not '1'"),
        (lever.make, {"payoffs": 1.0}, "lever payoffs must be a list of at least one number, not 1.0"),
        (lever.make, {"payoffs": [1, "x"]}, "lever payoffs must be a number, not 'x'"),
        (lever.make, {"payoffs": [1, float("nan")]}, "lever payoffs must be a number, not nan"),
        (lever.make, {"mismatch": float("inf")}, "lever mismatch must be a number, not inf"),
        (lever.make, {"players": 1}, "lever players must be a whole number of at least 2, not 1"),
        (lever.make, {"players": 9}, "10 levers and 9 players have 10^9 joint actions, more than 10,000,000"),
        (equal_levers.make, {"n": 0}, "equal_levers n must be a whole number of at least 1, not 0"),
        (equal_levers.make, {"n": 2.5}, "equal_levers n must be a whole number of at least 1, not 2.5"),
        (two_stage_lever.make, {"horizon": 0}, "horizon must be a whole number of at least 1, not 0"),
        (two_stage_lever.make, {"discount": -1}, "discount must be a number from 0 to 1, not -1"),
        (tiny_hanabi.make, {"variant": "G"}, "tiny_hanabi variant must be one of A, B, C, D, E, F, not 'G'"),
        (hint.make, {"size": 0}, "hint size must be a whole number from 1 to 8, not 0"),
        (hint.make, {"size": 9}, "hint size must be a whole number from 1 to 8, not 9"),
        (file.make, {"file": None, "horizon": 2}, "file must be the path of a .dpomdp file, not None"),
        (file.make, {"file": "no/such.dpomdp", "horizon": 2}, "no/such.dpomdp cannot be read: No such file"),
    ],
)
def test_bad_arguments(make, arguments, said):
    with pytest.raises(TacitError) as raised:
        make(**arguments)
    assert str(raised.value).startswith(said)


LEFT, RIGHT, THIRD = 0, 1, 2


def conventions(first, after_match, after_mismatch, last=None):
    """A policy of the lever games: chances of each agent's actions at first and last, in between what it does next.

    Args:
      after_match, after_mismatch: for each agent "stay", "switch" or "mix".
    """

    def policy(agent, path):
        if len(path) == 1:
            return first[agent]
        if len(path) == 5:
            return last[agent]
        _, own, other = path
        move = (after_match if own == other else after_mismatch)[agent]
        return {LEFT: 0.5, RIGHT: 0.5} if move == "mix" else {own if move == "stay" else 1 - own: 1.0}

    return policy


ANY = ({LEFT: 0.5, RIGHT: 0.5},) * 2
BOTH_LEFT = ({LEFT: 1.0},) * 2
STAY, MIX = ("stay", "stay"), ("mix", "mix")


@pytest.mark.parametrize(
    ("policy", "value"),
    [
        (conventions(BOTH_LEFT, STAY, MIX), 2.0),  # the optimum
        (conventions(ANY, STAY, MIX), 0.5),  # the best that treats levers and players alike
        (conventions(ANY, STAY, ("stay", "switch")), 1.0),  # the best that treats the levers alike
        (conventions(ANY, STAY, STAY), 0.0),
        (conventions(ANY, ("switch", "switch"), MIX), 0.5),  # as good as staying, and
        (conventions(ANY, ("stay", "switch"), MIX), -0.5),  # together with it worse
    ],
)
def test_values_of_the_two_stage_lever_game(expected_return, policy, value):
    assert expected_return(two_stage_lever.problem(), 2, policy) == pytest.approx(value, abs=1e-12)


def test_the_optimum_of_the_two_stage_lever_game_is_discounted():
    assert two_stage_lever.make().known_optimum == 2
    assert two_stage_lever.make(horizon=3, discount=0.5).known_optimum == 1.75


@pytest.mark.parametrize(
    ("policy", "value"),
    [
        (conventions(BOTH_LEFT, STAY, MIX, ({LEFT: 1.0}, {THIRD: 1.0})), 3.0),  # the optimum
        (conventions(ANY, STAY, ("stay", "switch"), ({RIGHT: 1.0}, {THIRD: 1.0})), 2.0),  # the best equivariant one
        (conventions(BOTH_LEFT, STAY, MIX, ({THIRD: 1.0}, {LEFT: 1.0})), 2.0),  # the last stage is the second player's
        (conventions(({THIRD: 1.0},) * 2, MIX, MIX, ({LEFT: 1.0}, {THIRD: 1.0})), 0.0),  # both third: -1, then mixing
    ],
)
def test_values_of_the_asymmetric_lever_game(expected_return, policy, value):
    assert expected_return(asymmetric_lever.problem(), 3, policy) == pytest.approx(value, abs=1e-12)


def test_the_asymmetric_lever_game_pays_nothing_after_its_third_stage():
    assert not asymmetric_lever.problem().expected_reward[:, 3].any()
    assert asymmetric_lever.make().horizon == 3


@pytest.mark.parametrize("variant", "ABCDEF")
def test_tiny_hanabi_pays_the_table(expected_return, variant):
    payoffs = np.array(tiny_hanabi.PAYOFFS[variant])
    cards, _, actions, _ = payoffs.shape
    problem = tiny_hanabi.problem(variant)
    assert problem.num_actions == (actions + 1, actions + 1)
    for shown in itertools.product(range(actions), repeat=cards):  # a pure policy of player 0, and two of player 1
        for reply in (lambda card, a: (card + a) % actions, lambda card, a: (2 * card + a + 1) % actions):

            def policy(agent, path, shown=shown, reply=reply):
                turn = (len(path) == 1) == (agent == 0)
                if not turn:
                    return {actions: 1.0}
                return {shown[path[0]]: 1.0} if agent == 0 else {reply(path[0], path[2] - cards): 1.0}

            pairs = itertools.product(range(cards), repeat=2)
            paid = [payoffs[c0, c1, shown[c0], reply(c1, shown[c0])] for c0, c1 in pairs]
            assert expected_return(problem, 2, policy) == pytest.approx(np.mean(paid), abs=1e-12)


@pytest.mark.parametrize("variant", "ABCDEF")
def test_the_optimum_of_tiny_hanabi(variant):
    payoffs = np.array(tiny_hanabi.PAYOFFS[variant], float)
    cards, _, actions, _ = payoffs.shape
    best = max(
        sum(
            sum(payoffs[c0, c1, a0] for c0 in range(cards) if shown[c0] == a0).max()
            for c1 in range(cards)
            for a0 in set(shown)
        )
        for shown in itertools.product(range(actions), repeat=cards)
    )
    assert tiny_hanabi.make(variant).known_optimum == pytest.approx(best / cards**2, abs=1e-12)


def hint_policy(names_color, guess):
    """`names_color`: (card) -> probability of naming the color; `guess`: (word) -> {card: probability}."""

    def policy(agent, path):
        if agent == 0:
            return {hint.COLOR: names_color(path[0]), hint.RANK: 1 - names_color(path[0])} if len(path) == 1 else {2: 1}
        return {9: 1} if len(path) == 1 else guess(path[2])

    return policy


def test_values_of_the_hint_game(expected_return):
    problem = hint.problem(3)
    assert (problem.num_actions, problem.num_observations) == ((3, 10), (10, 7))
    assert hint.make(3).known_optimum == 2 / 3
    assert hint.make(1).known_optimum == 1
    # color c stands for card (c, c), rank r for (r + 1, r): six of nine cards
    words = {**{c: (c, c) for c in range(3)}, **{3 + r: ((r + 1) % 3, r) for r in range(3)}}
    optimal = hint_policy(
        lambda card: float(card // 3 == card % 3), lambda word: {3 * words[word][0] + words[word][1]: 1}
    )
    assert expected_return(problem, 2, optimal) == pytest.approx(2 / 3, abs=1e-12)
    # every card of the word alike, every kind of word alike: the equivariant policy
    alike = hint_policy(
        lambda card: 0.5,
        lambda word: {3 * word + k if word < 3 else 3 * k + word - 3: 1 / 3 for k in range(3)},
    )
    assert expected_return(problem, 2, alike) == pytest.approx(1 / 3, abs=1e-12)


def test_a_hint_game_of_25_cards():
    problem = hint.problem()
    assert (problem.num_states, problem.num_actions) == (25, (3, 26))
    assert [mask.sum(1).tolist() for mask in problem.legal] == [[2] * 25 + [1], [25] * 10 + [1]]


def pet_policy(first, second):
    """`first`: (pet) -> action of player 0; `second`: (what player 1 sees) -> its action."""

    def policy(agent, path):
        if agent == 0:
            return {first(path[0]) if len(path) == 1 else cat_and_dog.WAIT: 1.0}
        return {3 if len(path) == 1 else second(path[2]): 1.0}

    return policy


def reply(to_on, to_off):
    """Player 1: by the light; by the pet where it sees it; waits when the game is over."""
    return lambda seen: {1: to_on, 2: to_off, 3: cat_and_dog.CAT, 4: cat_and_dog.DOG, 5: 3}[seen]


@pytest.mark.parametrize(
    ("first", "second", "value"),
    [
        (lambda pet: pet, reply(0, 1), 10.0),  # on for the cat, and understood
        (lambda pet: 1 - pet, reply(0, 1), -10.0),  # the opposite convention
        (lambda pet: cat_and_dog.REMOVE, reply(0, 1), 5.0),
        (lambda pet: cat_and_dog.BAIL, reply(0, 1), 1.0),
        (lambda pet: pet, reply(2, 2), 0.5),
        (lambda pet: cat_and_dog.ON, reply(0, 0), 0.0),
    ],
)
def test_values_of_cat_and_dog(expected_return, first, second, value):
    assert expected_return(cat_and_dog.problem(), 2, pet_policy(first, second)) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(("levers", "noise"), [(2, 0.2), (3, 0.4), (4, 0.0), (3, 1.0)])
def test_values_of_the_noisy_lever_game(expected_return, levers, noise):
    problem = noisy_lever.problem(levers, noise, high=3.0, low=1.0, bail=0.5)
    # Both believe what they see: both are right, or are told the same one of the others.
    expected = 3 * (1 - noise) ** 2 + noise**2 / (levers - 1)
    assert expected_return(problem, 1, lambda agent, path: {path[0]: 1.0}) == pytest.approx(expected, abs=1e-12)
    assert expected_return(problem, 1, lambda agent, path: {levers: 1.0}) == pytest.approx(0.5, abs=1e-12)
    always = (3 + levers - 1) / levers
    assert expected_return(problem, 1, lambda agent, path: {0: 1.0}) == pytest.approx(always, abs=1e-12)
    assert expected_return(problem, 1, lambda agent, path: {agent: 1.0}) == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"levers": 1}, "noisy_lever levers must be a whole number from 2 to 8, not 1"),
        ({"noise": 1.5}, "noisy_lever noise must be a number of at least 0 and at most 1, not 1.5"),
        ({"bail": "much"}, "noisy_lever bail must be a number, not 'much'"),
    ],
)
def test_bad_arguments_of_the_noisy_lever_game(given, said):
    with pytest.raises(TacitError, match=f"^{said}$"):
        noisy_lever.make(**given)


def test_a_users_file(tmp_path):
    path = tmp_path / "my game.dpomdp"
    path.write_text(dpomdp_file.write(dectiger.problem()))
    simulator = file.make(str(path), 4)
    assert simulator.problem.same_tables(dectiger.problem())
    assert (simulator.name, simulator.horizon, simulator.known_optimum) == ("my game", 4, None)
    assert file.make(str(path), 4, discount=0.5).problem.discount == 0.5
    with pytest.raises(TacitError, match="discount must be a number from 0 to 1, not 7"):
        file.make(str(path), 4, discount=7)
