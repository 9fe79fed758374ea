"""The extensive form against two programs that read it, and against a recursion over states and observations."""

import io
import itertools
import re
from fractions import Fraction

import numpy as np
import pytest

from games.errors import TacitError
from games.tabular import efg
from games.tabular.library import dectiger, hint, lever, tiny_hanabi

pyspiel = pytest.importorskip("pyspiel", reason="OpenSpiel is in the extra `dev`")
pygambit = pytest.importorskip("pygambit", reason="pygambit is in the extra `dev`")


class RandomPolicy:
    """A behaviour policy of every agent that depends on nothing but (agent, own history); legal actions only."""

    def __init__(self, problem, seed):
        self.problem, self.seed = problem, seed

    def legal(self, agent, path):
        if self.problem.legal is None or path[-1] is None:
            return list(range(self.problem.num_actions[agent]))
        return [a for a in range(self.problem.num_actions[agent]) if self.problem.legal[agent][path[-1], a]]

    def __call__(self, agent, path):
        """{action: probability}"""
        legal = self.legal(agent, path)
        name = [agent, *(0 if entry is None else entry + 1 for entry in path)]
        generator = np.random.default_rng([self.seed, len(name), *name])
        return dict(zip(legal, generator.dirichlet(np.ones(len(legal))).tolist(), strict=True))


def open_spiel_return(form, policy):
    """Expected returns of all players in OpenSpiel's own tree; information sets are known by their number only."""

    def onwards(state):
        if state.is_terminal():
            return np.array(state.returns())
        if state.is_chance_node():
            return sum(chance * onwards(state.child(action)) for action, chance in state.chance_outcomes())
        agent = state.current_player()
        owner, _, number, _ = state.information_state_string().split("-", 3)
        assert int(owner) == agent
        chosen = policy(agent, form.histories[agent][int(number) - 1])
        moves = zip(state.legal_actions(), chosen.values(), strict=True)
        return sum(chance * onwards(state.child(action)) for action, chance in moves)

    return onwards(pyspiel.load_efg_game(form.text).new_initial_state())


def in_gambit(form):
    return pygambit.read_efg(io.StringIO(form.text))


def gambit_return(form, policy):
    """Expected payoff of each player in Gambit, given the mixed actions at its information sets in its own order."""
    game = in_gambit(form)
    mixed = [
        [list(policy(agent, path).values()) for path in histories] for agent, histories in enumerate(form.histories)
    ]
    for player, histories in zip(game.players, form.histories, strict=True):
        assert len(game.get_infosets(player)) == len(histories)
    payoffs = game.mixed_behavior_profile(mixed, rational=False).payoffs
    return np.array([payoffs[player] for player in game.players])


@pytest.fixture(scope="module")
def games(random_dec_pomdp):
    return {
        "dectiger": (dectiger.problem(), 2),
        "discounted": (dectiger.problem(discount=0.9), 2),
        "tiny_hanabi": (tiny_hanabi.problem("E"), 2),
        "hint": (hint.problem(2), 2),
        "three levers": (lever.problem((1.0, 0.9), -0.5, players=3), 1),
        "three agents": (random_dec_pomdp(1, num_agents=3, num_states=2, num_actions=(2,), discount=0.7), 2),
        "restricted": (random_dec_pomdp(2, initial=True, restricted=True, discount=0.5), 2),
        "long": (random_dec_pomdp(3, num_states=2, num_actions=(2,), num_observations=(1, 2)), 3),
    }


NAMES = ["dectiger", "discounted", "tiny_hanabi", "hint", "three levers", "three agents", "restricted", "long"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_both_programs_give_random_policies_the_return_of_the_enumeration(games, expected_return, name):
    problem, horizon = games[name]
    form = efg.export(problem, horizon)
    for seed in range(2):
        policy = RandomPolicy(problem, seed)
        expected = expected_return(problem, horizon, policy)
        for value in (open_spiel_return(form, policy), gambit_return(form, policy)):
            assert value.shape == (problem.num_agents,)
            np.testing.assert_allclose(value, expected, rtol=0, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["discounted", "tiny_hanabi", "restricted"])
def test_a_bonus_of_an_action_adds_to_the_payoff_at_its_stage(games, expected_return, name):
    problem, horizon = games[name]
    policy = RandomPolicy(problem, 7)

    def bonus(agent, path, action):
        assert len(policy.legal(agent, path)) > 1  # not asked where there is nothing to choose
        return -2.5 * float(np.log(policy(agent, path)[action]))

    form = efg.export(problem, horizon, bonus)
    expected = expected_return(problem, horizon, policy, bonus)
    assert abs(expected - expected_return(problem, horizon, policy)) > 0.1
    np.testing.assert_allclose(open_spiel_return(form, policy), expected, rtol=0, atol=1e-10)
    np.testing.assert_allclose(gambit_return(form, policy), expected, rtol=0, atol=1e-10)


def test_a_reward_of_next_state_and_observation_counts_by_its_mean(random_dec_pomdp, expected_return):
    problem = random_dec_pomdp(4, num_states=2)
    rewards = np.random.default_rng(5).normal(size=(6, 2, 2, 4))
    problem = problem.replace(reward=rewards)
    policy = RandomPolicy(problem, 0)
    value = open_spiel_return(efg.export(problem, 2), policy)
    np.testing.assert_allclose(value, expected_return(problem, 2, policy), rtol=0, atol=1e-10)


def test_information_sets_of_dec_tiger():
    form = efg.export(dectiger.problem(), 2)
    for histories in form.histories:
        assert histories[0] == (None,)
        assert set(histories[1:]) == {(None, a, o) for a in range(3) for o in range(2)}
    game = in_gambit(form)
    assert list(game.players) == ["agent0", "agent1"]
    assert len(game.get_infosets("agent1")) == 7
    for label in ("start", "listen hear-left", "open-right hear-right"):
        assert f'"{label}" {{ "listen" "open-left" "open-right" }} 0' in form.text
    # 2 states, of 9 joint actions one keeps the state; then 4 observations, of a state or of two; then 9 joint actions
    assert sum(line.startswith("t ") for line in form.text.splitlines()) == 2 * (1 * 4 + 8 * 8) * 9


def test_who_has_one_legal_action_has_no_information_set():
    form = efg.export(tiny_hanabi.problem("A"), 2)
    # player 0 acts on its card; player 1 on its card and the action seen, having waited (action 2)
    assert set(form.histories[0]) == {(0,), (1,)}
    assert set(form.histories[1]) == {(card, 2, 2 + shown) for card, shown in itertools.product(range(2), repeat=2)}


def test_moves_at_a_stage_do_not_see_each_other():
    form = efg.export(lever.problem((1.0, 0.9)), 1)
    assert form.histories == (((None,),), ((None,),))
    lines = form.text.splitlines()
    assert lines[0] == 'EFG 2 R "Dec-POMDP" { "player0" "player1" }'
    assert lines[1:] == [
        'p "" 1 1 "start" { "lever0" "lever1" } 0',
        'p "" 2 1 "start" { "lever0" "lever1" } 0',
        't "" 1 "1.0" { 1.0, 1.0 }',
        't "" 2 "0.0" { 0.0, 0.0 }',
        'p "" 2 1 "start" { "lever0" "lever1" } 0',
        't "" 2 "0.0" { 0.0, 0.0 }',
        't "" 3 "0.9" { 0.9, 0.9 }',
    ]


@pytest.mark.parametrize("name", NAMES)
def test_chance_sums_to_exactly_one(games, name):
    form = efg.export(*games[name])
    sums = [chances_of(line) for line in form.text.splitlines() if line.startswith("c ")]
    assert all(sum(chances) == 1 and min(chances) > 0 for chances in sums)
    assert bool(sums) == (name != "three levers")


def chances_of(line):
    """The probabilities of a chance node as exact fractions."""
    return [Fraction(word) for word in re.findall(r'" ([0-9./]+)(?= )', line.split("{", 1)[1])]


def test_chances_that_are_ratios_are_printed_as_ratios():
    text = efg.export(dectiger.problem(start=(1 / 3, 2 / 3)), 2).text
    assert '{ "tiger-left" 1/3 "tiger-right" 2/3 } 0' in text
    assert '"tiger-left: hear-left,hear-left" 289/400' in text


def test_payoffs_are_printed_without_an_exponent():
    text = efg.export(lever.problem((1e-7, 1e22)), 1).text
    assert "{ 0.0000001, 0.0000001 }" in text
    assert "{ 10000000000000000000000, 10000000000000000000000 }" in text


def test_names_that_would_end_a_label_are_read(expected_return):
    problem = lever.problem((1.0, 0.9)).replace(agents=('a "b"', "c\\"), actions=(('x"', "y\n"), ("x", "{ }")))
    form = efg.export(problem, 1, title='say "hi"')
    assert 'p "" 1 1 "start" { "x\'" "y" } 0' in form.text
    assert list(in_gambit(form).players) == ["a 'b'", "c'"]
    policy = RandomPolicy(problem, 0)
    assert open_spiel_return(form, policy)[0] == pytest.approx(expected_return(problem, 1, policy), abs=1e-12)


def test_bad_input(monkeypatch):
    with pytest.raises(TacitError, match="horizon must be a whole number of at least 1, not 0"):
        efg.export(dectiger.problem(), 0)
    with pytest.raises(TacitError, match="a payoff must be a finite number, not inf"):
        efg.export(dectiger.problem(), 1, lambda agent, path, action: float("inf"))
    monkeypatch.setattr(efg, "MOST_NODES", 1000)
    with pytest.raises(TacitError, match="the extensive form of this game at horizon 2 has more than 1,000 nodes"):
        efg.export(dectiger.problem(), 2)
