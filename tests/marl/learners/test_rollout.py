"""The rollout against a replay outside of it: every record, every count, every reset, every memory."""

import dataclasses
import functools
import itertools
import math
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from games import hanabi
from games.game import Game, Layout, Observer
from marl.learners import rollout
from marl.policies.feed_forward import FeedForward
from marl.policies.policy import apply_in_parts

HANABI = hanabi.make("Hanabi-2x3")
NETWORK = FeedForward(HANABI.observer("hle").size, HANABI.num_actions, torso=(8,))


# ---------------------------------------------------------------------------------------------- a game to look through


class ShiftState(NamedTuple):
    time: Any  # int32[]
    ended: Any
    illegal: Any


@dataclasses.dataclass(frozen=True)
class Shifts(Game):
    """Player p earns 10^p · action whenever she acts; `shifts` says who acts at each step, in whatever order.

    Where fewer than `max_acting` act, the last places are filled with copies of the first and are not valid.
    """

    name: ClassVar[str] = "shifts"
    version: ClassVar[str] = "shifts-1"
    cyclic: ClassVar[bool] = False

    shifts: tuple[tuple[int, ...], ...]
    num_players: int = 3
    num_actions: int = 4

    @property
    def max_acting(self):
        return max(map(len, self.shifts))

    @property
    def horizon(self):
        return len(self.shifts)

    @property
    def score_range(self):
        return 0.0, math.inf

    @functools.cached_property
    def observers(self):
        def encode(state, player):
            # who asks, and when: what a policy needs to know which row it got
            return jnp.stack([player, state.time]).astype(jnp.float32)

        layout = Layout.of([("player", {"number": 1}, ""), ("time", {"number": 1}, "")])
        return {"plain": Observer("plain", layout, jnp.float32, encode, lambda symmetry, x: x)}

    def init(self, *, key):
        return ShiftState(jnp.int32(0), jnp.bool_(False), jnp.bool_(False))

    def transition(self, state, actions, *, key):
        worth = 10.0 ** jnp.arange(self.num_players, dtype=jnp.float32)
        reward = jnp.sum(jnp.where(actions == self.noop, 0, actions).astype(jnp.float32) * worth)
        time = state.time + 1
        return state._replace(time=time, ended=time == len(self.shifts)), reward

    def acting(self, state):
        rows = [(*shift, *[shift[0]] * (self.max_acting - len(shift))) for shift in self.shifts]
        valid = [[place < len(shift) for place in range(self.max_acting)] for shift in self.shifts]
        time = jnp.minimum(state.time, len(self.shifts) - 1)
        return jnp.array(rows, jnp.int32)[time], jnp.array(valid, jnp.bool_)[time] & ~state.ended

    def legal_when_acting(self, state, player):
        return jnp.arange(self.num_actions, dtype=jnp.int32) < self.noop

    def action_name(self, action):
        return str(action)


@dataclasses.dataclass(frozen=True)
class Counter:
    """Counts its calls, values a state by the count, and plays `action = player number` (or the only legal one)."""

    memory_clock: str

    def init(self, *, key):
        return ()

    def initial_memory(self):
        return jnp.int32(7)  # not 0, so that a memory that nobody set shows

    def perceive(self, params, observation):
        return observation

    def remember(self, params, memory, percept):
        return memory + 1, jnp.append(percept, (memory + 1).astype(jnp.float32))

    def act(self, params, features, legal):
        wanted = jnp.arange(legal.shape[0], dtype=jnp.int32) == features[0].astype(jnp.int32)
        allowed = jnp.where(jnp.any(wanted & legal), wanted & legal, legal)
        return jnp.where(allowed, -jnp.log(jnp.sum(allowed, dtype=jnp.float32)), -jnp.inf)

    def value(self, params, features):
        return features[-1]

    def apply(self, params, memory, observation, legal):
        return apply_in_parts(self, params, memory, observation, legal)


STATIC = ("game", "policy", "observer", "batch", "length", "sequence", "share_parameters")


@functools.partial(jax.jit, static_argnames=STATIC)
def play(game, policy, params, playing, key, *, observer, batch, length, sequence=1, share_parameters=True):
    return rollout.rollout(
        game, policy, params, playing, observer=observer, batch=batch, share_parameters=share_parameters,
        length=length, sequence=sequence, key=key,
    )  # fmt: skip


@functools.partial(jax.jit, static_argnames=("game", "policy", "games"))
def start(game, policy, games, key):
    return rollout.start(game, policy, games, key=key)


@functools.partial(jax.jit, static_argnames="game")
def look(game, states):
    """What everybody sees and may do, and who acts: [G, P, ...]."""
    players = jnp.arange(game.num_players, dtype=jnp.int32)

    def one(state):
        seen = {name: jax.vmap(lambda p, name=name: game.observe(state, p, name))(players) for name in game.observers}
        return seen, jax.vmap(lambda p: game.legal(state, p))(players), game.is_acting(state)

    return jax.device_get(jax.vmap(one)(states))


@functools.partial(jax.jit, static_argnames="game")
def step(game, states, actions):
    return jax.vmap(lambda state, action: game.step(state, action, key=jax.random.key(0)))(states, actions)


def with_noops(game, player, acting, action):
    """[G, K] records of who acted -> [G, P] actions of everybody."""
    actions = np.full((len(player), game.num_players), game.noop, np.int32)
    for row, place in np.argwhere(acting):
        actions[row, player[row, place]] = action[row, place]
    return actions


def bits_of(kept):
    """The bits of Hanabi-2x3 that were kept packed, most significant bit first."""
    size = HANABI.observer("hle").size
    bits = np.unpackbits(kept, axis=-1)
    assert not bits[..., size:].any()
    return bits[..., :size].astype(bool)


def assert_same(first, second):
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(first), jax.device_get(second))


def hanabi_params(seed=0):
    """Weights large enough that the policy is far from uniform."""
    shapes = jax.eval_shape(lambda: NETWORK.init(key=jax.random.key(0)))
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: rng.normal(0, 0.7, leaf.shape).astype(np.float32), shapes)


# --------------------------------------------------------------------------------------------------------- Hanabi 2x3


@pytest.mark.slow
@pytest.mark.parametrize("batch", [pytest.param("acting", marks=pytest.mark.proof), "all"])
def test_every_step_is_the_games(batch):
    """One step a call, so that the states before and after each step are seen: records, rewards, ends and resets."""
    games, params = 6, hanabi_params()
    playing = start(HANABI, NETWORK, games, jax.random.key(1))
    ends = 0
    for number in range(40):
        before = jax.device_get(playing)
        playing, trajectory, episodes = play(
            HANABI, NETWORK, params, playing, jax.random.key(number), observer="hle", batch=batch, length=1
        )
        after, records = jax.device_get((playing, jax.tree.map(lambda x: x[0], trajectory)))
        seen, legal, turn = look(HANABI, before.states)
        mover = before.states.player.astype(int)
        rows = np.arange(games)
        assert turn[rows, mover].all() and turn.sum() == games

        assert records.valid.all() and records.acting.all() and records.acting.shape == (games, 1)
        if batch == "all":
            np.testing.assert_array_equal(records.player, [[0, 1]] * games)
            np.testing.assert_array_equal(bits_of(records.observation), seen["hle"])
            np.testing.assert_array_equal(records.slot[:, 0], mover)
        else:
            np.testing.assert_array_equal(records.player[:, 0], mover)
            np.testing.assert_array_equal(bits_of(records.observation)[:, 0], seen["hle"][rows, mover])
            np.testing.assert_array_equal(records.slot, 0)
        assert records.observation.dtype == np.uint8  # kept packed, 115 bits in 15 bytes
        assert records.observation.shape[-1] == 15
        np.testing.assert_array_equal(records.legal[:, 0], legal[rows, mover])
        assert records.legal[rows, 0, records.action[:, 0]].all()

        states, reward, done = jax.device_get(
            step(HANABI, before.states, with_noops(HANABI, mover[:, None], records.acting, records.action))
        )
        assert not states.illegal.any()
        np.testing.assert_array_equal(records.reward, reward)
        np.testing.assert_array_equal(records.done, done)

        # A game that goes on is the one replayed; one that ended has made way for a fresh one.
        def rows_of(tree, chosen):
            return jax.tree.map(lambda x: x[chosen], tree)

        assert_same(rows_of(after.states, ~done), rows_of(states, ~done))
        fresh = rows_of(after.states, done)
        assert (fresh.dealt == 4).all() and not fresh.fireworks.any() and not fresh.ended.any()
        assert (fresh.life_tokens == 2).all() and (fresh.information_tokens == 4).all() and not fresh.player.any()
        assert (fresh.deck_key != before.states.deck_key[done]).any(axis=-1).all()
        np.testing.assert_array_equal(after.lengths, np.where(done, 0, before.lengths + 1))
        np.testing.assert_array_equal(after.returns, np.where(done, 0, before.returns + reward))
        assert episodes.count == done.sum()
        assert episodes.return_sum == (before.returns + reward)[done].sum()
        assert episodes.length_sum == (before.lengths + 1)[done].sum()
        assert episodes.bombed == (states.life_tokens[done] == 0).sum()
        ends += done.sum()
    assert ends >= 10


@pytest.mark.slow
@pytest.mark.parametrize("batch", ["acting", pytest.param("all", marks=pytest.mark.proof)])
def test_a_long_rollout_is_one_game_after_the_other(batch):
    """Up to each game's first end the records are a replay from its first state; counts are those of the rewards."""
    games, length, params = 6, 40, hanabi_params(1)
    playing = start(HANABI, NETWORK, games, jax.random.key(2))
    _, trajectory, episodes = play(
        HANABI, NETWORK, params, playing, jax.random.key(3), observer="hle", batch=batch, length=length
    )
    records, episodes = jax.device_get((trajectory, episodes))
    mover = np.take_along_axis(records.player, records.slot, axis=2)

    # The probability that was recorded is the policy's.
    @jax.jit
    def log_probs_of(observation, legal):
        def one(observation, legal):
            features = NETWORK.remember(params, (), NETWORK.perceive(params, observation))[1]
            return NETWORK.act(params, features, legal), NETWORK.value(params, features)

        return jax.vmap(one)(observation, legal)

    def flat(x):
        return x.reshape(-1, *x.shape[3:])

    observation = np.take_along_axis(bits_of(records.observation), records.slot[..., None], axis=2)
    log_probs, value = log_probs_of(flat(observation), flat(records.legal))
    chosen = np.take_along_axis(np.asarray(log_probs), flat(records.action)[:, None], axis=1)[:, 0]
    np.testing.assert_allclose(flat(records.log_prob), chosen, atol=1e-5)
    np.testing.assert_allclose(flat(np.take_along_axis(records.value, records.slot, axis=2)), value, atol=1e-5)
    assert (records.log_prob < 0).any()

    states, over = playing.states, np.zeros(games, bool)
    for t in range(length):
        seen, legal, _ = look(HANABI, states)
        states, reward, done = step(HANABI, states, with_noops(HANABI, mover[t], records.acting[t], records.action[t]))
        for game in np.flatnonzero(~over):
            player = mover[t, game, 0]
            np.testing.assert_array_equal(observation[t, game, 0], seen["hle"][game, player])
            np.testing.assert_array_equal(records.legal[t, game, 0], legal[game, player])
            assert (records.reward[t, game], records.done[t, game]) == (reward[game], done[game])
        over |= np.asarray(done)
    assert over.all()

    returns, lengths = [], []
    for game in range(games):
        first = 0
        for end in np.flatnonzero(records.done[:, game]):
            returns.append(records.reward[first : end + 1, game].sum())
            lengths.append(end + 1 - first)
            # the players take turns from player 0 on
            np.testing.assert_array_equal(mover[first : end + 1, game, 0], np.arange(lengths[-1]) % 2)
            first = end + 1
    assert (episodes.count, episodes.return_sum, episodes.length_sum) == (len(returns), sum(returns), sum(lengths))
    assert 0 < episodes.bombed <= returns.count(0)


# ----------------------------------------------------------------------------- who acts, in whatever order and number

SHIFTS = {
    # places: at most one, two or three act at a step
    1: ((0,), (2,), (1,), (1,), (2,)),
    2: ((2, 0), (1,), (1, 2), (0,)),
    3: ((2, 1, 0), (2,), (1, 0), (0, 1, 2), (1,)),
}


# Every pair of two of the four, and the one place where a step of everybody's is cut to those who act.
CASES = [
    (1, "acting", "own_turns", 1),
    (1, "all", "every_step", 7),
    (2, "acting", "every_step", 7),
    (2, "acting", "every_step", 1),
    (2, "all", "own_turns", 1),
    (3, "acting", "own_turns", 7),
    (3, "all", "every_step", 1),
]
ALL = itertools.product((1, 2, 3), ("acting", "all"), ("own_turns", "every_step"), (1, 7))
PROOF = [pytest.param(*case, marks=pytest.mark.proof) for case in ALL if case not in CASES]


def shifts(places, batch, clock, sequence, playing=None):
    """(playing, records, episodes) after 14 steps of two games, from their beginning or from where they are."""
    game, policy = Shifts(SHIFTS[places]), Counter(clock)
    playing = start(game, policy, 2, jax.random.key(0)) if playing is None else playing
    return jax.device_get(
        play(
            game, policy, (), playing, jax.random.key(1), observer="plain", batch=batch, length=14, sequence=sequence
        )
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("places", "batch", "clock", "sequence"), [*CASES, *PROOF])
def test_places_and_memories(places, batch, clock, sequence):
    """Everybody plays her own number; the memory counts her calls in this game, and nobody else's.

    Of the memories everybody's is recorded where a sequence begins, before the step; sequences end within games.
    """
    game, length = Shifts(SHIFTS[places]), 14
    playing, records, episodes = shifts(places, batch, clock, sequence)

    calls, everybody = np.zeros(3, int), [0, 1, 2]
    assert records.memory.shape == (length // sequence, 2, 3)
    for t in range(length):
        time = t % game.horizon
        shift = SHIFTS[places][time]
        if time == 0:
            calls[:] = 0
        if t % sequence == 0:
            np.testing.assert_array_equal(records.memory[t // sequence], [7 + calls] * 2)
        for row in range(2):
            # Player p earns p · 10^p.
            assert records.reward[t, row] == sum(p * 10**p for p in shift)
            assert records.done[t, row] == (time == game.horizon - 1)
            recorded = {}
            for m, person in enumerate(records.player[t, row]):
                # what a place shows that is not valid is true, too
                assert records.observation[t, row, m].tolist() == [person, time]
                assert records.value[t, row, m] == 7 + calls[person] + 1
                if records.valid[t, row, m]:
                    assert person not in recorded
                    recorded[person] = m
            assert sorted(recorded) == (sorted(shift) if batch == "acting" else everybody)
            if batch == "all" or (sequence > 1 and clock == "every_step"):
                # a replay needs what everybody saw whose memory moves on
                assert records.player[t, row].tolist() == everybody
            else:
                assert records.player.shape[2] == places
            actors = {}
            for k in np.flatnonzero(records.acting[t, row]):
                slot = records.slot[t, row, k]
                assert records.valid[t, row, slot]
                actors[records.player[t, row, slot]] = k
            assert sorted(actors) == sorted(shift)
            for person, k in actors.items():
                assert records.action[t, row, k] == person
                assert records.log_prob[t, row, k] == 0
                assert records.legal[t, row, k].tolist() == [True, True, True, False]
        for person in range(3):
            calls[person] += clock == "every_step" or person in shift
    time = length % game.horizon
    np.testing.assert_array_equal(playing.memories, np.broadcast_to(7 + (calls if time else 0 * calls), (2, 3)))
    np.testing.assert_array_equal(playing.lengths, time)
    rewards = [sum(p * 10**p for p in shift) for shift in SHIFTS[places]]
    np.testing.assert_array_equal(playing.returns, sum(rewards[:time]))
    whole = 2 * (length // game.horizon)
    assert (episodes.count, episodes.return_sum, episodes.length_sum, episodes.bombed) == (
        whole, whole * sum(rewards), whole * game.horizon, 0,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_what_is_ahead_is_what_the_next_rollout_records(case):
    """The rewards up to a player's next recorded step, or to the end, and γ times the value there."""
    (places, batch, clock, _), gamma = case, np.float32(0.5)
    game, policy = Shifts(SHIFTS[places]), Counter(clock)
    for playing in (start(game, policy, 2, jax.random.key(0)), shifts(*case)[0]):
        arguments = {"observer": "plain", "batch": batch, "share_parameters": True, "key": jax.random.key(2)}
        ahead = rollout.bootstrap(game, policy, (), playing, **arguments, gamma=gamma)
        records = shifts(*case, playing)[1]
        for row, person in np.ndindex(2, 3):
            total, t = 0.0, 0
            while not (here := np.flatnonzero(records.valid[t, row] & (records.player[t, row] == person))).size:
                total, t = total + records.reward[t, row], t + 1
                if records.done[t - 1, row]:
                    break
            else:
                total += gamma * records.value[t, row, here.item()]
            assert ahead[row, person] == total


@pytest.mark.parametrize("case", CASES[-2:])
def test_out_of_turn_only_the_no_op_is_open(case):
    """What is recorded at an unfilled place is one of the no-op's player, and no action."""
    noop, records = Shifts(SHIFTS[3]).noop, shifts(*case)[1]
    empty = ~records.acting
    # Of 15 places in a game 10 are filled; two games are played twice, and then the steps of 3, 1, 2 and 3 players.
    assert empty.sum() == 2 * (2 * (15 - 10) + 0 + 2 + 1 + 0)
    assert (records.action[empty] == noop).all()
    assert (records.log_prob[empty] == 0).all()
    assert (records.legal[empty] == [False, False, False, True]).all()


@dataclasses.dataclass(frozen=True)
class Told(Counter):
    """Plays the action that its parameters name."""

    def act(self, params, features, legal):
        return super().act(params, features.at[0].set(params), legal)


@pytest.mark.parametrize(("places", "batch"), [(1, "all"), (2, "acting"), (3, "acting")])
def test_unshared_parameters_are_the_players_own(places, batch):
    game, policy = Shifts(SHIFTS[places]), Told("own_turns")
    playing = start(game, policy, 2, jax.random.key(0))
    params = jnp.array([2.0, 0.0, 1.0], jnp.float32)
    _, trajectory, _ = play(
        game, policy, params, playing, jax.random.key(1),
        observer="plain", batch=batch, length=game.horizon, share_parameters=False,
    )  # fmt: skip
    expected = [sum({0: 2, 1: 0, 2: 100}[p] for p in shift) for shift in SHIFTS[places]]
    np.testing.assert_array_equal(trajectory.reward, np.array([expected, expected]).T)


# ------------------------------------------------------------------------------------------------- observations as bits


@pytest.mark.parametrize("size", [1, 7, 8, 9, 16, 17, 658])
def test_bits_are_packed_and_come_back(size):
    bits = np.random.default_rng(size).random((3, 2, size)) < 0.5
    kept = jax.jit(rollout.packed)(bits)
    assert kept.dtype == jnp.uint8 and kept.shape == (3, 2, math.ceil(size / 8))
    np.testing.assert_array_equal(kept, np.packbits(bits, axis=-1))
    back = jax.jit(rollout.unpacked, static_argnums=1)(kept, size)
    assert back.dtype == jnp.bool_
    np.testing.assert_array_equal(back, bits)


def test_numbers_are_kept_as_they_are():
    numbers = jnp.array([[0.5, -0.0, jnp.nan], [1.0, 1e-40, 3.0]], jnp.float32)
    assert rollout.packed(numbers) is numbers
    assert rollout.unpacked(numbers, 3) is numbers


# --------------------------------------------------------------------------------------------- everybody's memories


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.uint8])
def test_memories_go_to_whom_they_belong(dtype):
    """Of five players the third and the first move; the last place is a copy of the first place and does not."""
    player, moves = jnp.array([2, 0, 2], jnp.int32), jnp.array([True, True, False])
    every = {"a": jnp.arange(10, dtype=dtype).reshape(5, 2), "b": jnp.arange(5, dtype=dtype)}
    hers = jax.jit(rollout.gather_memories)(every, player)
    assert hers["a"].tolist() == [[4, 5], [0, 1], [4, 5]] and hers["b"].tolist() == [2, 0, 2]
    after = {"a": jnp.array([[70, 71], [80, 81], [90, 91]], dtype), "b": jnp.array([7, 8, 9], dtype)}
    found = jax.jit(rollout.scatter_memories)(every, player, moves, after)
    assert found["a"].tolist() == [[80, 81], [2, 3], [70, 71], [6, 7], [8, 9]]
    assert found["b"].tolist() == [8, 1, 7, 3, 4]
    assert all(leaf.dtype == dtype for leaf in jax.tree.leaves((hers, found)))


@pytest.mark.slow
def test_a_memory_that_is_no_number_stays_its_players():
    every = jnp.array([jnp.nan, 1.0, 2.0], jnp.float32)
    player = jnp.array([1, 2], jnp.int32)
    assert rollout.gather_memories(every, player).tolist() == [1, 2]
    after = jnp.array([jnp.inf, 5.0], jnp.float32)
    found = rollout.scatter_memories(every, player, jnp.array([False, True]), after)
    np.testing.assert_array_equal(found, [jnp.nan, 1.0, 5.0])
