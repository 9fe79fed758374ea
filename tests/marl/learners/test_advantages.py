"""Generalised advantage estimation against numbers worked by hand and a naive loop over each player's own steps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marl.learners.rollout import Trajectory, advantages

GAMMA, LAMBDA = 0.5, 0.5


@functools.partial(jax.jit, static_argnames="num_players")
def run(player, valid, value, reward, done, gamma, gae_lambda, *, num_players):
    nothing = dict.fromkeys(Trajectory._fields)
    trajectory = Trajectory(
        **nothing | {"player": player, "valid": valid, "value": value, "reward": reward, "done": done}
    )
    return advantages(trajectory, num_players=num_players, gamma=gamma, gae_lambda=gae_lambda)


def of_one_game(player, value, reward, ends, *, num_players=None, valid=None, gamma=GAMMA, gae_lambda=LAMBDA):
    """One game: `player` and `value` are [T, M], `ends` the steps that end a game -> (advantage, known) [T, M]."""
    player, value = np.array(player, np.int32), np.array(value, np.float32)
    valid = np.ones(player.shape, bool) if valid is None else np.array(valid)
    done = np.isin(np.arange(len(reward)), ends)
    advantage, known = run(
        player[:, None], valid[:, None], value[:, None], np.array(reward, np.float32)[:, None], done[:, None],
        np.float32(gamma), np.float32(gae_lambda), num_players=num_players or int(player.max()) + 1,
    )  # fmt: skip
    assert advantage.dtype == jnp.float32 and known.dtype == jnp.bool_
    return np.asarray(advantage)[:, 0], np.asarray(known)[:, 0]


# ----------------------------------------------------------------------------------------------------------- by hand


def test_one_player():
    # δ2 = 2 - 3 = -1; δ1 = 0 + 3/2 - 2 = -1/2; δ0 = 1 + 2/2 - 1 = 1
    # A2 = -1; A1 = -1/2 - 1/4 = -3/4; A0 = 1 - 3/16
    advantage, known = of_one_game([[0]] * 3, [[1], [2], [3]], [1, 0, 2], [2])
    np.testing.assert_array_equal(advantage[:, 0], [0.8125, -0.75, -1])
    assert known.all()


def test_a_game_that_ends_in_the_middle_is_cut_there():
    # A1 = δ1 = 0 - 2 = -2; A0 = δ0 - 2/4 = (1 + 1 - 1) - 1/2. The next game: A3 = 4 - 1, A2 = (3 + 1/2 - 3) + 3/4
    advantage, known = of_one_game([[0]] * 4, [[1], [2], [3], [1]], [1, 0, 3, 4], [1, 3])
    np.testing.assert_array_equal(advantage[:, 0], [0.5, -2, 1.25, 3])
    assert known.all()


def test_the_last_step_of_a_game_that_goes_on_only_lends_its_value():
    # v2 = 3 stands for the rest: A1 = δ1 = 0 + 3/2 - 2 = -1/2, A0 = 1 - 1/8. The reward of step 2 belongs to step 2.
    advantage, known = of_one_game([[0]] * 3, [[1], [2], [3]], [1, 0, 1000], [])
    np.testing.assert_array_equal(advantage[:, 0], [0.875, -0.5, 0])
    assert known[:, 0].tolist() == [True, True, False]


def test_two_players_whose_game_ends_in_the_middle():
    # Moves 0, 1 | 0, 1. Player 0: A0 = (1+2) - 1, A2 = (4+8) - 3; player 1: A1 = 2 - 2, A3 = 8 - 4.
    advantage, known = of_one_game([[0], [1], [0], [1]], [[1], [2], [3], [4]], [1, 2, 4, 8], [1, 3])
    np.testing.assert_array_equal(advantage[:, 0], [2, 0, 9, 4])
    assert known.all()


ALTERNATING = [[0], [1], [0], [1], [0]]
OWN_VALUES = [[1], [1], [2], [2], [3]]
REWARDS = [1, 2, 3, 4, 5]


def test_two_players_in_turns_acting():
    # Player 0 moves at 0, 2, 4: R = 1+2, 3+4, 5.  A4 = 5-3 = 2, A2 = (7 + 3/2 - 2) + 2/4 = 7, A0 = (3 + 2/2 - 1) + 7/4
    # Player 1 moves at 1, 3:    R = 2+3, 4+5.     A3 = 9-2 = 7, A1 = (5 + 2/2 - 1) + 7/4
    advantage, known = of_one_game(ALTERNATING, OWN_VALUES, REWARDS, [4])
    np.testing.assert_array_equal(advantage[:, 0], [4.75, 6.75, 7, 7, 2])
    assert known.all()


def test_two_players_in_turns_acting_in_a_game_that_goes_on():
    # Each player's last move lends its value: player 0 has v4 = 3, player 1 v3 = 2.
    # A2 = δ2 = 7 + 3/2 - 2 = 6.5, A0 = 3 + 6.5/4 = 4.625; A1 = δ1 = 5 + 2/2 - 1 = 5
    advantage, known = of_one_game(ALTERNATING, OWN_VALUES, REWARDS, [])
    np.testing.assert_array_equal(advantage[:, 0], [4.625, 5, 6.5, 0, 0])
    assert known[:, 0].tolist() == [True, True, True, False, False]


def test_two_players_in_turns_all():
    # Everybody at every step, two games of two steps, values v[t, p]: A1 = r1 - v1, A0 = r0 + v1/2 - v0 + A1/4.
    # Player 0: A1 = 2-2 = 0, A0 = 1 + 1 - 1 = 1.   Player 1: A1 = 2-4 = -2, A0 = 1 + 2 - 3 - 1/2 = -1/2
    # Player 0: A3 = 4-0 = 4, A2 = 3 + 0 - 1 + 1 = 3. Player 1: A3 = 4-2 = 2, A2 = 3 + 1 - 2 + 1/2 = 5/2
    advantage, known = of_one_game([[0, 1]] * 4, [[1, 3], [2, 4], [1, 2], [0, 2]], [1, 2, 3, 4], [1, 3])
    np.testing.assert_array_equal(advantage, [[1, -0.5], [0, -2], [3, 2.5], [4, 2]])
    assert known.all()


@pytest.mark.parametrize(
    ("gamma", "gae_lambda", "acting", "everybody"),
    [
        # A reward of 16 at step 4, and every value 0: A_0 is (γλ)^n · 16, n the steps that count from 0 to 4.
        (0.5, 1.0, 16 / 2**2, 16 / 2**4),
        (1.0, 0.5, 16 / 2**2, 16 / 2**4),
        (0.5, 0.5, 16 / 4**2, 16 / 4**4),
        (1.0, 1.0, 16, 16),
        (1.0, 0.0, 0, 0),
    ],
)
def test_discounts_count_own_turns_when_acting_and_every_step_in_all(gamma, gae_lambda, acting, everybody):
    discounts = {"gamma": gamma, "gae_lambda": gae_lambda}
    rewards = [0, 0, 0, 0, 16]
    own = of_one_game(ALTERNATING, [[0]] * 5, rewards, [4], **discounts)[0]
    every = of_one_game([[0, 1]] * 5, [[0, 0]] * 5, rewards, [4], **discounts)[0]
    assert own[0, 0] == acting
    assert every[0].tolist() == [everybody, everybody]
    # The other player's last move was at step 3, the last but one: the reward of step 4 is wholly hers.
    assert own[3, 0] == 16
    assert every[3].tolist() == [16 * gamma * gae_lambda] * 2


def test_a_place_that_nobody_fills_counts_for_nothing():
    # Two places; at step 1 only player 1 acts and the other place holds a copy of her number.
    player, valid = [[0, 1], [1, 1], [1, 0]], [[True, True], [False, True], [True, True]]
    value = [[1, 1], [9, 2], [2, 4]]
    # Player 0 moves at 0 and 2: A2 = 4-4 = 0, A0 = (1+2) + 4/2 - 1 = 4
    # Player 1 at 0, 1 and 2: A2 = 4-2 = 2, A1 = 2 + 2/2 - 2 + 2/4 = 3/2, A0 = 1 + 2/2 - 1 + 3/8
    advantage, known = of_one_game(player, value, [1, 2, 4], [2], valid=valid)
    np.testing.assert_array_equal(advantage, [[4, 1.375], [0, 1.5], [2, 0]])
    assert known.tolist() == valid


# ------------------------------------------------------------------------------------------------------------- naive


def naive(player, valid, value, reward, done, gamma, gae_lambda):
    """One game, [T, M] and [T]: for each player, from her last step back."""
    advantage, known = np.zeros(player.shape), np.zeros(player.shape, bool)
    for person in set(player.flat):
        own = [(t, m) for t, m in np.argwhere(valid & (player == person))]
        for n in reversed(range(len(own))):
            t, m = own[n]
            following = own[n + 1] if n + 1 < len(own) else None
            end = next((s for s in range(t, len(done)) if done[s]), None)
            if end is not None and (following is None or end < following[0]):
                total, v_next, a_next = sum(reward[t : end + 1]), 0.0, 0.0
            elif following is not None:
                total, v_next, a_next = sum(reward[t : following[0]]), value[following], advantage[following]
            else:
                continue
            advantage[t, m] = total + gamma * v_next - value[t, m] + gamma * gae_lambda * a_next
            known[t, m] = True
    return advantage, known


STEPS, GAMES, PLAYERS = 11, 3, 3


@pytest.mark.parametrize("recorded", [1, 2, 3])
@given(seed=st.integers(0, 2**32 - 1), everybody=st.booleans(), ends=st.sampled_from([0.0, 0.15, 0.6]))
def test_random_trajectories(recorded, seed, everybody, ends):
    """Turn-based (1 place), some of three at once (2, with unfilled places) and all of three (3)."""
    rng = np.random.default_rng(seed)
    shape = (STEPS, GAMES, recorded)
    player = np.argsort(rng.random((STEPS, GAMES, PLAYERS)))[..., :recorded].astype(np.int32)
    valid = rng.random(shape) < 0.7
    if everybody:
        valid[:] = True
        player = np.broadcast_to(np.arange(recorded, dtype=np.int32), shape)
    value = rng.normal(size=shape).astype(np.float32)
    reward = rng.normal(size=shape[:2]).astype(np.float32)
    done = rng.random(shape[:2]) < ends
    gamma, gae_lambda = rng.choice([0.0, 0.3, 0.99, 1.0], 2).astype(np.float32)
    advantage, known = run(player, valid, value, reward, done, gamma, gae_lambda, num_players=PLAYERS)
    for game in range(GAMES):
        expected = naive(
            *(x[:, game] for x in (player, valid, value.astype(float), reward.astype(float), done)), gamma, gae_lambda
        )
        np.testing.assert_array_equal(known[:, game], expected[1])
        np.testing.assert_allclose(advantage[:, game], expected[0], atol=2e-5)
