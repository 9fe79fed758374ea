"""Recorded games are the games that cross-play counted, step by step."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from games import hanabi
from games.errors import TacitError
from games.tabular.library.dectiger import make as dectiger
from games.tabular.library.lever import make as lever_game
from marl.agent import Agent, Kind
from marl.crossplay import crossplay
from marl.crossplay.record import record_games
from marl.policies.feed_forward import FeedForward
from marl.policies.recurrent import Recurrent
from marl.policies.uniform import Uniform

pytestmark = pytest.mark.slow

KEY = jax.random.key(3)
HANABI = hanabi.make("Hanabi-2x3")


def random_agent(game, policy, observer, seed, *, shared=True, label=""):
    """An agent whose weights are far from a flat policy's."""
    shapes = jax.eval_shape(lambda: policy.init(key=KEY))
    seats = () if shared else (game.num_players,)
    rng = np.random.default_rng(seed)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(0, 0.7, (*seats, *leaf.shape)).astype(np.float32)), shapes
    )
    return Agent(Kind(policy, observer, shared), params, label or f"agent {seed}")


def mixed_agents():
    """Two of one kind, and one of another with a memory and weights for each seat."""
    size, actions = HANABI.observer("hle").size, HANABI.num_actions
    flat = FeedForward(size, actions, torso=(8,))
    recurrent = Recurrent(size, actions, torso=(8,), memory=8, actor=(8,), critic=(8,))
    return [
        random_agent(HANABI, flat, "hle", 1),
        random_agent(HANABI, recurrent, "hle", 2, shared=False),
        random_agent(HANABI, flat, "hle", 3),
    ]


CELLS = np.array([[0, 2], [2, 0], [2, 2]])  # one kind, in parts of two cells
MIXED = np.array([[2, 1], [0, 1]])  # a memory in the second seat
GAMES = 5


def assert_the_same_games(result, recorded, games):
    """The means of the recorded games, and everything else that cross-play counts."""
    assert [len(cell) for cell in recorded] == [games] * len(result.seatings)
    for cell, seats in enumerate(result.seatings.tolist()):
        own = recorded[cell]
        assert [one.seats for one in own] == [tuple(seats)] * games
        assert [one.number for one in own] == list(range(games))
        assert np.mean([one.score for one in own]) == pytest.approx(result.mean[cell], abs=1e-6)
        assert np.mean([one.length for one in own]) == pytest.approx(result.length[cell], abs=1e-9)
        assert sum(one.bombed for one in own) == result.bombed[cell]
        if games > 1:
            error = np.std([one.score for one in own], ddof=1) / np.sqrt(games)
            assert error == pytest.approx(result.standard_error[cell], abs=1e-6)


@pytest.mark.parametrize(("greedy", "cells", "some"), [(True, CELLS, [2, 0]), (False, MIXED, [1, 0])])
def test_recorded_games_are_those_that_cross_play_counts(greedy, cells, some):
    agents = mixed_agents()
    result = crossplay(HANABI, agents, games=GAMES, greedy=greedy, key=KEY, seating=cells)
    recorded = record_games(HANABI, agents, cells, games=GAMES, greedy=greedy, key=KEY, max_lanes=2 * GAMES)
    assert_the_same_games(result, recorded, GAMES)
    assert len({one.length for cell in recorded for one in cell}) > 3

    # in an order of their own
    again = record_games(HANABI, agents, cells[some], games=GAMES, greedy=greedy, key=KEY, cells=some)
    for cell, own in zip(some, again, strict=True):
        for number, one in enumerate(own):
            np.testing.assert_array_equal(one.actions, recorded[cell][number].actions)
            jax.tree.map(np.testing.assert_array_equal, one.states, recorded[cell][number].states)


def test_every_step_follows_from_the_one_before():
    step = jax.jit(lambda state, actions: HANABI.step(state, actions, key=KEY))
    legal = jax.jit(HANABI.legal)
    for cell in record_games(HANABI, mixed_agents(), MIXED, games=GAMES, greedy=False, key=KEY)[:1]:
        for one in cell[:2]:
            assert one.greedy is False
            assert one.state(0).last_action == HANABI.noop and one.state(one.length).ended
            for t in range(one.length):
                state = one.state(t)
                player = int(state.player)
                assert one.acting[t].tolist() == [seat == player for seat in range(2)]
                assert one.actions[t, 1 - player] == HANABI.noop
                np.testing.assert_array_equal(np.isfinite(one.log_probs[t, player]), legal(state, player))
                assert np.exp(one.log_probs[t, player]).sum() == pytest.approx(1, abs=1e-5)
                after, reward, _ = step(state, one.actions[t])
                assert reward == one.rewards[t]
                jax.tree.map(np.testing.assert_array_equal, jax.device_get(after), one.state(t + 1))


def test_the_log_probabilities_are_the_policys_own():
    agents = mixed_agents()
    one = record_games(HANABI, agents, CELLS[[0, 2]], games=GAMES, greedy=True, key=KEY)[0][0]
    policy, mixed = agents[0].kind.policy, 0

    @jax.jit
    def says(params, state, player):
        return policy.apply(params, (), HANABI.observe(state, player, "hle"), HANABI.legal(state, player))[1]

    for t in range(one.length):
        player = int(one.state(t).player)
        own = one.log_probs[t, player]
        np.testing.assert_allclose(
            np.exp(own), np.exp(says(agents[one.seats[player]].params, one.state(t), player)), atol=1e-5
        )
        assert one.actions[t, player] == own.argmax()
        mixed += np.exp(own.max()) < 0.99
    assert mixed  # the policy itself is not greedy


def test_games_whose_players_act_at_once():
    game = dectiger(horizon=3)
    size = game.observer("last").size
    agents = [
        random_agent(game, FeedForward(size, game.num_actions, torso=()), "last", seed, shared=False) for seed in (1, 2)
    ]
    result = crossplay(game, agents, games=20, greedy=False, key=KEY)
    recorded = record_games(game, agents, result.seatings, games=20, greedy=False, key=KEY)
    assert_the_same_games(result, recorded, 20)
    for one in recorded[1]:
        assert one.length == 3 and one.acting.all() and (one.actions < game.noop).all()
        assert one.states.actions[3, :, 1:].T.tolist() == one.actions.tolist()


def test_three_players_in_a_game_of_one_step():
    game = lever_game(payoffs=(1.0, 0.5), players=3)
    agents = [Agent(Kind(Uniform(), "last", True), (), str(n)) for n in range(3)]
    result = crossplay(game, agents, games=4, greedy=False, key=KEY, seating="distinct")
    recorded = record_games(game, agents, result.seatings, games=4, greedy=False, key=KEY)
    assert_the_same_games(result, recorded, 4)
    for cell in recorded:
        for one in cell:
            np.testing.assert_allclose(np.exp(one.log_probs[0]), [[0.5, 0.5, 0]] * 3, atol=1e-6)


@dataclasses.dataclass(frozen=True)
class Wrong:
    """Plays the no-op whatever is legal."""

    memory_clock: str = "own_turns"

    def init(self, *, key):
        return ()

    def initial_memory(self):
        return ()

    def apply(self, params, memory, observation, legal):
        return memory, jnp.where(jnp.arange(legal.shape[0]) == legal.shape[0] - 1, jnp.float32(0), -jnp.inf)


def test_refusals():
    game = lever_game(payoffs=(1.0, 0.5))
    agents = [Agent(Kind(Uniform(), "last", True), (), name) for name in ("right", "too")]
    pair = np.array([[0, 1]])
    with pytest.raises(TacitError, match="games must be"):
        record_games(game, agents, pair, games=0, greedy=True, key=KEY)
    with pytest.raises(TacitError, match="numbers of agents, 0 to 1, not"):
        record_games(game, agents, np.array([[0, 2]]), games=1, greedy=True, key=KEY)
    with pytest.raises(TacitError, match=r"1 seatings are 1 cells of a cross-play, not \[1, 2\]"):
        record_games(game, agents, pair, games=1, greedy=True, key=KEY, cells=[1, 2])
    wrong = Agent(Kind(Wrong(), "last", True), (), "the wrong one")
    with pytest.raises(TacitError, match=r"seating \['right', 'the wrong one'\] played an illegal"):
        record_games(game, [*agents, wrong], np.array([[0, 2]]), games=2, greedy=True, key=KEY)
