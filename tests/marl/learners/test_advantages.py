"""Generalised advantage estimation against numbers worked by hand and a naive loop over each player's own steps."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marl.learners.losses import lambda_returns
from marl.learners.rollout import Trajectory, advantages

GAMMA, LAMBDA = 0.5, 0.5


@functools.partial(jax.jit, static_argnames="num_players")
def run(player, valid, value, reward, done, ahead, gamma, gae_lambda, *, num_players):
    nothing = dict.fromkeys(Trajectory._fields)
    trajectory = Trajectory(
        **nothing | {"player": player, "valid": valid, "value": value, "reward": reward, "done": done}
    )
    return advantages(trajectory, ahead, num_players=num_players, gamma=gamma, gae_lambda=gae_lambda)


def of_one_game(player, value, reward, ends, *, ahead=(0, 0), valid=None, gamma=GAMMA, gae_lambda=LAMBDA):
    """One game: `player` and `value` are [T, M], `ends` the steps that end a game, `ahead` [P] -> advantage [T, M]."""
    player, value = np.array(player, np.int32), np.array(value, np.float32)
    valid = np.ones(player.shape, bool) if valid is None else np.array(valid)
    done = np.isin(np.arange(len(reward)), ends)
    advantage = run(
        player[:, None], valid[:, None], value[:, None], np.array(reward, np.float32)[:, None], done[:, None],
        np.array([ahead], np.float32), np.float32(gamma), np.float32(gae_lambda), num_players=len(ahead),
    )  # fmt: skip
    assert advantage.dtype == jnp.float32
    return np.asarray(advantage)[:, 0]


# ----------------------------------------------------------------------------------------------------------- by hand


def test_returns_of_literal_numbers():
    # G2 = 4 + 1/2 · 8 = 8; G1 = 2 + 1 (1/2 · 6 + 1/2 · 8) = 9; G0 = 1 + 1/2 · 9, where λ = 1 leaves the value out
    reward, discount, value, weight = (
        np.array(numbers, np.float32) for numbers in ([1, 2, 4], [0.5, 1, 0.5], [100, 6, 8], [1, 0.5, 0.25])
    )
    assert lambda_returns(reward, discount, value, weight).tolist() == [5.5, 9, 8]
    # A game that ends at step 1: nothing of what follows counts.
    assert lambda_returns(reward, np.array([0.5, 0, 0.5], np.float32), value, weight).tolist() == [2, 2, 8]


def test_one_player():
    # δ2 = 2 - 3 = -1; δ1 = 0 + 3/2 - 2 = -1/2; δ0 = 1 + 2/2 - 1 = 1
    # A2 = -1; A1 = -1/2 - 1/4 = -3/4; A0 = 1 - 3/16
    advantage = of_one_game([[0]] * 3, [[1], [2], [3]], [1, 0, 2], [2])
    np.testing.assert_array_equal(advantage[:, 0], [0.8125, -0.75, -1])


def test_a_game_that_ends_in_the_middle_is_cut_there():
    # A1 = δ1 = 0 - 2 = -2; A0 = δ0 - 2/4 = (1 + 1 - 1) - 1/2. The next game: A3 = 4 - 1, A2 = (3 + 1/2 - 3) + 3/4
    advantage = of_one_game([[0]] * 4, [[1], [2], [3], [1]], [1, 0, 3, 4], [1, 3])
    np.testing.assert_array_equal(advantage[:, 0], [0.5, -2, 1.25, 3])


def test_the_last_step_of_a_game_that_goes_on_has_what_is_ahead_of_it():
    # A2 = δ2 = 4 + 7 - 3 = 8; A1 = δ1 + 8/4 = (0 + 3/2 - 2) + 2; A0 = δ0 + 3/8 = (1 + 2/2 - 1) + 3/8
    advantage = of_one_game([[0]] * 3, [[1], [2], [3]], [1, 0, 4], [], ahead=[7])
    np.testing.assert_array_equal(advantage[:, 0], [1.375, 1.5, 8])
    # If the last step ends the game, nothing is: what lies ahead belongs to the next one.
    ended = of_one_game([[0]] * 3, [[1], [2], [3]], [1, 0, 4], [2], ahead=[7])
    np.testing.assert_array_equal(ended, of_one_game([[0]] * 3, [[1], [2], [3]], [1, 0, 4], [2]))


def test_two_players_whose_game_ends_in_the_middle():
    # Moves 0, 1 | 0, 1. Player 0: A0 = (1+2) - 1, A2 = (4+8) - 3; player 1: A1 = 2 - 2, A3 = 8 - 4.
    advantage = of_one_game([[0], [1], [0], [1]], [[1], [2], [3], [4]], [1, 2, 4, 8], [1, 3])
    np.testing.assert_array_equal(advantage[:, 0], [2, 0, 9, 4])


ALTERNATING = [[0], [1], [0], [1], [0]]
OWN_VALUES = [[1], [1], [2], [2], [3]]
REWARDS = [1, 2, 3, 4, 5]


def test_two_players_in_turns_acting():
    # Player 0 moves at 0, 2, 4: R = 1+2, 3+4, 5.  A4 = 5-3 = 2, A2 = (7 + 3/2 - 2) + 2/4 = 7, A0 = (3 + 2/2 - 1) + 7/4
    # Player 1 moves at 1, 3:    R = 2+3, 4+5.     A3 = 9-2 = 7, A1 = (5 + 2/2 - 1) + 7/4
    advantage = of_one_game(ALTERNATING, OWN_VALUES, REWARDS, [4])
    np.testing.assert_array_equal(advantage[:, 0], [4.75, 6.75, 7, 7, 2])


def test_two_players_in_turns_acting_in_a_game_that_goes_on():
    # Player 0: A4 = 5 + 8 - 3 = 10, A2 = (7 + 3/2 - 2) + 10/4 = 9, A0 = 3 + 9/4 - 0
    # Player 1: A3 = 9 + 1 - 2 = 8,  A1 = (5 + 2/2 - 1) + 8/4 = 7
    advantage = of_one_game(ALTERNATING, OWN_VALUES, REWARDS, [], ahead=[8, 1])
    np.testing.assert_array_equal(advantage[:, 0], [5.25, 7, 9, 8, 10])


def test_two_players_in_turns_all():
    # Everybody at every step, two games of two steps, values v[t, p]: A1 = r1 - v1, A0 = r0 + v1/2 - v0 + A1/4.
    # Player 0: A1 = 2-2 = 0, A0 = 1 + 1 - 1 = 1.   Player 1: A1 = 2-4 = -2, A0 = 1 + 2 - 3 - 1/2 = -1/2
    # Player 0: A3 = 4-0 = 4, A2 = 3 + 0 - 1 + 1 = 3. Player 1: A3 = 4-2 = 2, A2 = 3 + 1 - 2 + 1/2 = 5/2
    advantage = of_one_game([[0, 1]] * 4, [[1, 3], [2, 4], [1, 2], [0, 2]], [1, 2, 3, 4], [1, 3])
    np.testing.assert_array_equal(advantage, [[1, -0.5], [0, -2], [3, 2.5], [4, 2]])


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
    own = of_one_game(ALTERNATING, [[0]] * 5, rewards, [4], **discounts)
    every = of_one_game([[0, 1]] * 5, [[0, 0]] * 5, rewards, [4], **discounts)
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
    advantage = of_one_game(player, value, [1, 2, 4], [2], valid=valid)
    np.testing.assert_array_equal(advantage, [[4, 1.375], [0, 1.5], [2, 0]])


# ------------------------------------------------------------------------------------------------------------- naive


def naive(player, valid, value, reward, done, ahead, gamma, gae_lambda):
    """One game, [T, M], [T] and [P]: for each player, from her last step back."""
    advantage = np.zeros(player.shape)
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
                total, v_next, a_next = sum(reward[t:]) + ahead[person], 0.0, 0.0
            advantage[t, m] = total + gamma * v_next - value[t, m] + gamma * gae_lambda * a_next
    return advantage


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
    ahead = rng.normal(size=(GAMES, PLAYERS)).astype(np.float32)
    advantage = run(player, valid, value, reward, done, ahead, gamma, gae_lambda, num_players=PLAYERS)
    for game in range(GAMES):
        in_order = (x[:, game] for x in (player, valid, value.astype(float), reward.astype(float), done))
        expected = naive(*in_order, ahead[game], gamma, gae_lambda)
        np.testing.assert_allclose(advantage[:, game], expected, atol=2e-5)


# ------------------------------------------------------------------------------------ no bias, over all that can happen

ACTIONS, OUTCOMES = 2, 3
"""Of a game of two states: an action leads to one of them or to the end, after which a game begins in state 0."""


class Chain:
    """A random game of P players in turns, a random policy, and its exact values, by numpy and linear equations."""

    def __init__(self, players, batch, gamma, seed):
        rng = np.random.default_rng(seed)
        self.players, self.gamma, self.batch = players, gamma, batch
        shape = (2, players, ACTIONS)  # state, whose turn it is
        self.policy = rng.dirichlet(np.ones(ACTIONS), shape[:2])
        self.chance = rng.dirichlet(np.ones(OUTCOMES), shape)
        self.reward = rng.normal(size=(*shape, OUTCOMES))
        # u[p, state, turn]: the mean of what is ahead of player p, of whose steps are worth their own value.
        size = players * 2 * players
        matrix, constant = np.eye(size), np.zeros(size)
        for row, (p, state, turn) in enumerate(np.ndindex(players, 2, players)):
            discount = gamma if batch == "all" or turn == p else 1.0
            for action, outcome in np.ndindex(ACTIONS, OUTCOMES):
                weight = self.policy[state, turn, action] * self.chance[state, turn, action, outcome]
                constant[row] += discount * weight * self.reward[state, turn, action, outcome]
                if outcome < 2:
                    to = np.ravel_multi_index((p, outcome, (turn + 1) % players), (players, 2, players))
                    matrix[row, to] -= discount * weight
        self.ahead = np.linalg.solve(matrix, constant).reshape(players, 2, players)

    def records(self, p, state, turn):
        """Whether a step of this turn is one of player p's."""
        return self.batch == "all" or p == turn

    def value(self, p, state, turn):
        """The exact value of a recorded step."""
        return self.ahead[p, state, turn] / self.gamma

    def advantage(self, p, state, turn, action):
        """The exact advantage of what the player in turn does, for player p."""
        outcomes = [self.reward[state, turn, action, outcome] for outcome in range(OUTCOMES)]
        following = [self.ahead[p, outcome, (turn + 1) % self.players] for outcome in range(2)] + [0.0]
        total = self.chance[state, turn, action] @ (np.array(outcomes) + following)
        return total - self.value(p, state, turn)


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize(
    ("players", "batch", "places"),
    [(1, "acting", "own"), (2, "acting", "own"), (2, "acting", "all"), (2, "all", "all"), (3, "acting", "own"),
     (3, "all", "all")],
)  # fmt: skip
@pytest.mark.parametrize("gae_lambda", [0.0, 0.9])
def test_the_mean_advantage_is_exact_over_all_rollouts(steps, players, batch, places, gae_lambda):
    """Every action of every step of every rollout, weighed by its probability: none is left out by what came of it.

    In `all` places, as for a memory that is replayed, who is not recorded lends an arbitrary value to her place.
    """
    chain = Chain(players, batch, 0.8, seed=steps + 10 * players)
    rng = np.random.default_rng(0)
    shape = (steps, 1, 1 if places == "own" else players)
    columns = {name: [] for name in ("player", "valid", "value", "reward", "done", "ahead")}
    weights, visits = [], []
    for choices in itertools.product(itertools.product(range(ACTIONS), range(OUTCOMES)), repeat=steps):
        state, turn, weight, visited = 0, 0, 1.0, []
        player, valid, value = np.zeros(shape, np.int32), np.zeros(shape, bool), rng.normal(0, 100, shape)
        reward, done = np.zeros((steps, 1)), np.zeros((steps, 1), bool)
        for t, (action, outcome) in enumerate(choices):
            for m, p in enumerate([turn] if places == "own" else range(players)):
                player[t, 0, m], valid[t, 0, m] = p, chain.records(p, state, turn)
                if valid[t, 0, m]:
                    value[t, 0, m] = chain.value(p, state, turn)
            visited.append((state, turn, action))
            weight *= chain.policy[state, turn, action] * chain.chance[state, turn, action, outcome]
            reward[t], done[t] = chain.reward[state, turn, action, outcome], outcome == 2
            state, turn = (0, 0) if outcome == 2 else (outcome, (turn + 1) % players)
        made = (player, valid, value, reward, done, chain.ahead[None, :, state, turn])
        for name, array in zip(columns, made, strict=True):
            columns[name].append(array)
        weights.append(weight)
        visits.append(visited)
    assert sum(weights) == pytest.approx(1)
    every = {name: np.concatenate(arrays, axis=0 if name == "ahead" else 1) for name, arrays in columns.items()}
    with jax.enable_x64(True):
        found = np.asarray(run(*every.values(), 0.8, gae_lambda, num_players=players))
    for t in range(steps):
        for cell in sorted({visited[t] for visited in visits}):
            here = [number for number, visited in enumerate(visits) if visited[t] == cell]
            for m, p in enumerate([cell[1]] if places == "own" else range(players)):
                if chain.records(p, *cell[:2]):
                    mean = np.average(found[t, here, m], weights=np.array(weights)[here])
                    assert mean == pytest.approx(chain.advantage(p, *cell), abs=1e-6)
