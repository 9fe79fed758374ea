"""Cross-play against games worked by hand, a naive replay of every game, and what must not make a difference."""

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
from games.errors import TacitError
from games.game import Game, Layout, Observer
from games.hanabi import Hanabi
from games.tabular.library.lever import make as lever_game
from marl.agent import Agent, Kind
from marl.crossplay import crossplay, greedify
from marl.policies.feed_forward import FeedForward
from marl.policies.uniform import Uniform

pytestmark = pytest.mark.slow

KEY = jax.random.key(0)


# -------------------------------------------------------------------------------------------------- hand-made policies


@dataclasses.dataclass(frozen=True)
class Puller:
    """Plays the action that its parameters name, if it is legal; otherwise the first legal one."""

    memory_clock: str = "own_turns"

    def init(self, *, key):
        return jnp.int32(0)

    def initial_memory(self):
        return ()

    def apply(self, params, memory, observation, legal):
        wanted = jnp.arange(legal.shape[0], dtype=jnp.int32) == params
        wanted = jnp.where(jnp.any(wanted & legal), wanted, jnp.arange(legal.shape[0]) == jnp.argmax(legal))
        return memory, jnp.where(wanted, jnp.float32(0), -jnp.inf)


@dataclasses.dataclass(frozen=True)
class Wrong(Puller):
    """Plays the action that its parameters name whatever is legal."""

    memory_clock: str = "every_step"

    def apply(self, params, memory, observation, legal):
        return memory, jnp.where(jnp.arange(legal.shape[0]) == params, jnp.float32(0), -jnp.inf)


@dataclasses.dataclass(frozen=True)
class Counting:
    """Plays the number of calls before this one, where it is in turn."""

    memory_clock: str

    def init(self, *, key):
        return ()

    def initial_memory(self):
        return jnp.int32(0)

    def apply(self, params, memory, observation, legal):
        wanted = jnp.arange(legal.shape[0], dtype=jnp.int32) == memory
        return memory + 1, jnp.where(jnp.where(jnp.any(wanted & legal), wanted, legal), jnp.float32(0), -jnp.inf)


def puller(lever, label=None, observer="last"):
    return Agent(Kind(Puller(), observer, True), jnp.int32(lever), label or f"lever {lever}")


def random_params(policy, seed, scale=0.7):
    shapes = jax.eval_shape(lambda: policy.init(key=KEY))
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, scale, leaf.shape).astype(np.float32)), shapes)


def network(game, seed, observer="hle", torso=(8,), scale=0.7):
    """A random network far from uniform: its greedy play has no ties."""
    policy = FeedForward(game.observer(observer).size, game.num_actions, torso=torso)
    return Agent(Kind(policy, observer, True), random_params(policy, seed, scale), f"{observer} {torso} {seed}")


def assert_same(first, second):
    """Every number of two results."""
    for name, one, other in zip(first._fields, first, second, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=name)


# -------------------------------------------------------------------------------------------------------- lever by hand


def test_lever_pullers_by_hand():
    game = lever_game(payoffs=(1.0, 0.5, 0.25), mismatch=-1.0)
    agents = [puller(0), puller(0, "again"), puller(1), puller(2)]
    for greedy in (True, False):
        result = crossplay(game, agents, games=3, greedy=greedy, key=KEY)
        assert result.labels == ("lever 0", "again", "lever 1", "lever 2")
        assert result.matrix().tolist() == [[1, 1, -1, -1], [1, 1, -1, -1], [-1, -1, 0.5, -1], [-1, -1, -1, 0.25]]
        assert result.standard_error.tolist() == [0.0] * 16
        assert result.games.tolist() == [3] * 16
        assert result.length.tolist() == [1.0] * 16
        assert result.bombed.tolist() == [0] * 16
        assert result.mean.dtype == result.standard_error.dtype == result.length.dtype == np.float64
        assert result.games.dtype == result.bombed.dtype == np.int64


@pytest.mark.parametrize("players", [3, *(pytest.param(more, marks=pytest.mark.proof) for more in (4, 5))])
def test_lever_pullers_of_more_players_by_hand(players):
    game = lever_game(payoffs=(1.0, 0.5), players=players)
    agents = [puller(0), puller(1), puller(0, "again"), puller(1, "too"), puller(0, "and again")]
    result = crossplay(game, agents, games=2, greedy=True, key=KEY, seating="one_against_copies")
    payoff = [1.0, 0.5, 1.0, 0.5, 1.0]
    assert len(result.seatings) == 5 + 20 * players
    for seats, mean in zip(result.seatings, result.mean, strict=True):
        levers = {int(agents[agent].params) for agent in seats}
        assert mean == (payoff[seats[0]] if len(levers) == 1 else 0.0)
    expected = [[payoff[i] if (i - j) % 2 == 0 else 0 for j in range(5)] for i in range(5)]
    assert result.matrix().tolist() == expected
    distinct = crossplay(game, agents, games=2, greedy=True, key=KEY, seating="distinct", max_seatings=15)
    assert len(distinct.seatings) == 5 + min(math.perm(5, players), math.factorial(players) + 15)
    for seats, mean in zip(distinct.seatings, distinct.mean, strict=True):
        levers = {int(agents[agent].params) for agent in seats}
        assert mean == (payoff[seats[0]] if len(levers) == 1 else 0.0)


@pytest.mark.parametrize("kind", ["flat network", "uniform"])
def test_a_flat_policy_does_not_coordinate_greedily(kind):
    """An argmax would have it meet on the first lever: SP = XP = 1."""
    levers, games = 4, 4000
    game = lever_game(payoffs=(1.0,) * levers)
    if kind == "uniform":
        policy, params = Uniform(), ()
    else:
        policy = FeedForward(game.observer("last").size, levers + 1, torso=(4,))
        params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), random_params(policy, 0))
    agents = [Agent(Kind(policy, "last", True), params, str(n)) for n in range(2)]
    for greedy in (True, False):
        result = crossplay(game, agents, games=games, greedy=greedy, key=KEY)
        error = math.sqrt(1 / levers * (1 - 1 / levers) / games)
        np.testing.assert_allclose(result.mean, 1 / levers, atol=4 * error)
        np.testing.assert_allclose(result.standard_error, error, rtol=0.05)
        # every cell draws for itself
        assert len(set(result.mean.tolist())) > 1


def test_unshared_parameters_belong_to_the_seat():
    game = lever_game(payoffs=(1.0, 0.5, 0.25))
    kind = Kind(Puller(), "last", False)
    agents = [
        Agent(kind, jnp.array([0, 0], jnp.int32), "meets itself on 0"),
        Agent(kind, jnp.array([0, 1], jnp.int32), "misses itself"),
        Agent(kind, jnp.array([1, 0], jnp.int32), "misses itself"),
        puller(1),
    ]
    # All pairs of the first three, and each of these beside the one that has no seat of its own.
    cells = np.array([*itertools.product(range(3), repeat=2), *((agent, 3) for agent in range(3))])
    result = crossplay(game, agents, games=2, greedy=True, key=KEY, seating=cells)
    assert result.mean.tolist() == [1, 0, 1, 1, 0, 1, 0, 0.5, 0, 0, 0, 0.5]


def test_cells_of_ones_own():
    game = lever_game(payoffs=(1.0, 0.5))
    result = crossplay(game, [puller(0), puller(1)], games=1, greedy=True, key=KEY, seating=np.array([[1, 1], [0, 1]]))
    assert result.mean.tolist() == [0.5, 0.0]
    assert np.isnan(result.standard_error).all()  # of one game
    assert np.isnan(result.matrix()[0, 0]) and result.matrix()[1, 1] == 0.5


def test_refusals():
    game = lever_game(payoffs=(1.0, 0.5))
    with pytest.raises(TacitError, match=r"^crossplay\.games must be a whole number of at least 1, not 0$"):
        crossplay(game, [puller(0), puller(1)], games=0, greedy=True, key=KEY)
    with pytest.raises(TacitError, match="at least one agent"):
        crossplay(game, [], games=1, greedy=True, key=KEY)
    with pytest.raises(TacitError, match="3 different agents are needed"):
        crossplay(lever_game(players=3), [puller(0), puller(1)], games=1, greedy=True, key=KEY)


def test_an_illegal_action_is_an_error_that_names_the_seating():
    game = lever_game(payoffs=(1.0, 0.5))
    wrong = Agent(Kind(Wrong(), "last", True), jnp.int32(game.noop), "the wrong one")
    right = Agent(Kind(Wrong(), "last", True), jnp.int32(1), "the right one")
    with pytest.raises(TacitError, match=r"seating \['the right one', 'the wrong one'\] played an illegal"):
        crossplay(game, [right, wrong], games=2, greedy=True, key=KEY, seating=np.array([[0, 0], [0, 1]]))


# ---------------------------------------------------------------------------------------------------- a memory's clock


class RosterState(NamedTuple):
    time: Any
    ended: Any
    illegal: Any


@dataclasses.dataclass(frozen=True)
class Roster(Game):
    """The player in turn at step t pays in action · 8^t: the score spells all actions in base 8."""

    name: ClassVar[str] = "roster"
    version: ClassVar[str] = "roster-1"
    max_acting: ClassVar[int] = 1

    turns: tuple[int, ...]
    num_players: int
    cyclic: bool
    num_actions: int = 9

    @property
    def horizon(self):
        return len(self.turns)

    @property
    def score_range(self):
        return 0.0, 8.0**self.horizon

    @functools.cached_property
    def observers(self):
        layout = Layout.of([("nothing", {"bit": 1}, "")])
        return {"nothing": Observer("nothing", layout, jnp.bool_, lambda s, p: jnp.ones(1, bool), lambda y, x: x)}

    def init(self, *, key):
        return RosterState(jnp.int32(0), jnp.bool_(False), jnp.bool_(False))

    def transition(self, state, actions, *, key):
        time = state.time + 1
        worth = jnp.float32(8) ** state.time.astype(jnp.float32)
        reward = actions[self.acting(state)[0][0]].astype(jnp.float32) * worth
        return state._replace(time=time, ended=time == len(self.turns)), jnp.round(reward)

    def acting(self, state):
        return jnp.array(self.turns, jnp.int32)[jnp.minimum(state.time, len(self.turns) - 1)][None], ~state.ended[None]

    def legal_when_acting(self, state, player):
        return jnp.arange(self.num_actions, dtype=jnp.int32) < self.noop

    def action_name(self, action):
        return str(action)


def spelled(score, length):
    return [int(score) // 8**t % 8 for t in range(length)]


@pytest.mark.parametrize(("turns", "cyclic"), [
    ((0, 1, 0, 1, 0, 1, 0), True),
    pytest.param((0, 1, 0, 1, 0, 1, 0), False, marks=pytest.mark.proof),
    ((0, 0, 1, 1, 0, 1, 1), False),
])  # fmt: skip
def test_a_memory_ticks_by_its_own_clock(turns, cyclic):
    game = Roster(turns, 2, cyclic)
    clocks = ("own_turns", "every_step")
    agents = [Agent(Kind(Counting(clock), "nothing", True), (), clock) for clock in clocks]
    result = crossplay(game, agents, games=2, greedy=True, key=KEY)
    for seats, score in zip(result.seatings, result.mean, strict=True):
        own, expected = [0, 0], []
        for time, player in enumerate(turns):
            expected.append(own[player] if clocks[seats[player]] == "own_turns" else time)
            own[player] += 1
        assert spelled(score, len(turns)) == expected
    assert result.length.tolist() == [len(turns)] * 4
    assert result.standard_error.tolist() == [0.0] * 4
    by_hand = {
        (True, 0): [0, 0, 1, 1, 2, 2, 3], (True, 3): [0, 1, 2, 3, 4, 5, 6], (True, 1): [0, 1, 1, 3, 2, 5, 3],
    }  # fmt: skip
    for (_, cell), digits in by_hand.items():
        assert not cyclic or spelled(result.mean[cell], 7) == digits


def test_three_players_with_clocks_of_their_own():
    turns = (0, 1, 2, 0, 1, 2, 0)
    agents = [Agent(Kind(Counting(clock), "nothing", True), (), clock) for clock in ("own_turns", "every_step")]
    expected = {(0, 1, 0): [0, 1, 0, 1, 4, 1, 2], (1, 0, 1): [0, 0, 2, 3, 1, 5, 6]}
    for cyclic, seats in ((True, (0, 1, 0)), (False, (1, 0, 1))):
        result = crossplay(Roster(turns, 3, cyclic), agents, games=1, greedy=True, key=KEY, seating=np.array([seats]))
        assert spelled(result.mean[0], 7) == expected[seats]


# ------------------------------------------------------------------------------------------------------- naive replay

HANABI = hanabi.make("Hanabi-2x3")


@functools.partial(jax.jit, static_argnames=("game", "kind", "greedy"))
def _choose(game, kind, params, state, player, *, greedy):
    observation = game.observe(state, player, kind.observer)
    log_probs = kind.policy.apply(params, kind.policy.initial_memory(), observation, game.legal(state, player))[1]
    return greedify(log_probs) if greedy else log_probs


@functools.partial(jax.jit, static_argnames="game")
def _step(game, state, actions):
    return game.step(state, actions, key=KEY)


@functools.partial(jax.jit, static_argnames="game")
def _deal(game, key):
    return game.init(key=key)


def replay(game, seated, deck_key):
    """One game of memoryless agents whose greedy play has no ties: (score, lives lost, steps)."""
    state, score, steps = _deal(game, deck_key), 0.0, 0
    while not state.ended:
        actions = np.full(game.num_players, game.noop, np.int32)
        player = int(state.player)
        agent = seated[player]
        probabilities = np.exp(
            np.asarray(_choose(game, agent.kind, agent.params, state, np.int32(player), greedy=True))
        )
        assert probabilities.max() == 1  # no ties
        actions[player] = probabilities.argmax()
        state, reward, _ = _step(game, state, actions)
        score, steps = score + float(reward), steps + 1
    assert not state.illegal
    assert score == float(game.score(state))
    return score, int(state.life_tokens) == 0, steps


def assert_is_the_replay(game, agents, result, games, key):
    # Game number n is dealt from fold_in(the first half of the key, n) in every cell.
    decks = [jax.random.fold_in(jax.random.split(key)[0], number) for number in range(games)]
    for cell, seats in enumerate(result.seatings):
        played = [replay(game, [agents[agent] for agent in seats], deck) for deck in decks]
        scores, bombed, steps = map(np.array, zip(*played, strict=True))
        assert result.mean[cell] == pytest.approx(scores.mean(), rel=1e-12)
        assert result.standard_error[cell] == pytest.approx(scores.std(ddof=1) / math.sqrt(games), rel=1e-9, abs=1e-12)
        assert result.bombed[cell] == bombed.sum()
        assert result.length[cell] == pytest.approx(steps.mean(), rel=1e-12)
        assert result.games[cell] == games


@functools.cache
def three(players=2):
    """A board, three agents and how they play."""
    game = hanabi.make("Hanabi-2x3", players=players)
    agents = [network(game, seed) for seed in (1, 2, 3)]
    return game, agents, crossplay(game, agents, games=7, greedy=True, key=KEY)


def test_scores_disasters_and_lengths_are_those_of_a_replay():
    _, agents, result = three()
    assert_is_the_replay(HANABI, agents, result, 7, KEY)
    assert 0 < result.bombed.sum() < 7 * 9
    assert len(set(result.length.tolist())) > 3


MANY = [("hle", (8,)), ("hle", (5, 4)), ("minimal", (8,)), ("belief", (8,)), ("hle", (8,))]


@pytest.mark.parametrize(("kinds", "cells"), [
    ([("hle", (8,)), ("minimal", (5, 4)), ("hle", (8,))], [[0, 1], [2, 1]]),
    pytest.param(MANY, [[0, 1], [3, 2], [4, 1]], marks=pytest.mark.proof),
])  # fmt: skip
def test_agents_of_different_kinds_play_together(kinds, cells):
    agents = [network(HANABI, seed, observer, torso) for seed, (observer, torso) in enumerate(kinds, 1)]
    result = crossplay(HANABI, agents, games=4, greedy=True, key=KEY, seating=np.array(cells))
    assert result.labels[:2] == ("hle (8,) 1", f"{kinds[1][0]} (5, 4) 2")
    assert_is_the_replay(HANABI, agents, result, 4, KEY)
    assert len(set(zip(result.mean.tolist(), result.length.tolist(), strict=True))) > 1


@pytest.mark.parametrize("players", [3, pytest.param(5, marks=pytest.mark.proof)])
def test_more_players_of_different_kinds(players):
    game = hanabi.make("Hanabi-2x3", players=players)
    agents = [network(game, 1), network(game, 2), network(game, 3, observer="minimal", torso=(5,))]
    one_among_others = [2, 0, 1, 1, 0][:players]
    one_against_copies = [2] + [0] * (players - 1)
    seating = np.array([one_among_others, one_against_copies])
    result = crossplay(game, agents, games=3, greedy=True, key=KEY, seating=seating)
    assert_is_the_replay(game, agents, result, 3, KEY)


@functools.cache
def with_a_uniform_partner(seed):
    agents = [network(HANABI, 1), Agent(Kind(Uniform(), "minimal", True), (), "uniform")]
    return crossplay(
        HANABI, agents, games=400, greedy=False, key=jax.random.key(seed), seating=np.array([[0, 1]])
    )  # fmt: skip


def test_with_a_uniform_partner():
    """Two sets of decks and draws agree within 4 standard errors."""
    result, again = with_a_uniform_partner(0), with_a_uniform_partner(1)
    difference = np.abs(result.mean - again.mean)
    assert 0 < difference <= 4 * np.hypot(result.standard_error, again.standard_error)
    assert result.standard_error > 0 and result.bombed > 250


# ----------------------------------------------------------------------------------- what must not make a difference


def test_permuting_the_agents_permutes_the_cells():
    _, agents, result = three()
    order = [2, 0, 1]
    permuted = crossplay(HANABI, [agents[n] for n in order], games=7, greedy=True, key=KEY)
    np.testing.assert_array_equal(permuted.matrix(), result.matrix()[np.ix_(order, order)])
    assert permuted.labels == tuple(result.labels[n] for n in order)


def test_identical_agents_score_the_same_in_every_cell():
    """All cells play the same decks."""
    _, agents, result = three()
    copies = crossplay(HANABI, [agents[0]] * 3, games=7, greedy=True, key=KEY)
    np.testing.assert_array_equal(copies.matrix(), np.full((3, 3), result.matrix()[0, 0]))
    other_decks = crossplay(HANABI, [agents[0]] * 3, games=7, greedy=True, key=jax.random.key(1))
    assert np.ptp(other_decks.mean) == 0
    assert (other_decks.mean[0], other_decks.length[0]) != (copies.mean[0], copies.length[0])


@pytest.mark.parametrize("max_lanes", [5, *(pytest.param(lanes, marks=pytest.mark.proof) for lanes in (1, 14, 25))])
def test_chunks_do_not_show(max_lanes):
    """Five of the seven games of a cell; one game a call; two cells of nine; all games of three cells."""
    _, agents, result = three()
    assert_same(result, crossplay(HANABI, agents, games=7, greedy=True, key=KEY, max_lanes=max_lanes))


@pytest.mark.parametrize("max_lanes", [25, pytest.param(3, marks=pytest.mark.proof)])
def test_chunks_do_not_show_in_sampled_play(max_lanes):
    """Two cells of four or three; three games of a cell."""
    game = lever_game(payoffs=(1.0, 0.6, 0.3), mismatch=-0.5)
    policy = FeedForward(game.observer("last").size, 4, torso=(3,))
    agents = [Agent(Kind(Uniform(), "last", True), (), str(n)) for n in range(2)]
    agents += [Agent(Kind(policy, "last", True), random_params(policy, n), "net") for n in range(2)]
    cells = np.array([[0, 2], [2, 0], [1, 2], [2, 1], [0, 3], [3, 0], [1, 3]])  # two kinds, one after the other
    whole = crossplay(game, agents, games=10, greedy=False, key=KEY, seating=cells)
    assert len(set(whole.mean.tolist())) > 4
    chunked = crossplay(game, agents, games=10, greedy=False, key=KEY, seating=cells, max_lanes=max_lanes)
    # Payoffs such as 0.6 have no exact sum: the order of the games shows in the last bits.
    np.testing.assert_allclose(chunked.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(chunked.standard_error, whole.standard_error, rtol=1e-9)


def test_every_cell_and_every_step_draws_anew():
    flat = FeedForward(1, 9, torso=())
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), random_params(flat, 0))
    # The same distribution by two kinds of policies: the cells are the first of their kinds, and yet other games.
    agents = [Agent(Kind(Uniform(), "nothing", True), (), "uniform"), Agent(Kind(flat, "nothing", True), zeros, "flat")]
    for turns, cyclic in [((0, 1, 0, 1, 0, 1, 0), True), ((0,) * 7, False)]:
        game = Roster(turns, 2, cyclic)
        result = crossplay(game, agents, games=1, greedy=False, key=KEY, seating=np.array([[0, 0], [1, 1]]))
        digits = [spelled(score, 7) for score in result.mean]
        assert digits[0] != digits[1]
        assert min(len(set(drawn)) for drawn in digits) > 2


def test_more_games_begin_with_the_same_ones():
    """A game's draws depend on the cell and the game's number alone."""
    game = lever_game(payoffs=(1.0, 2.0, 4.0))
    agents = [Agent(Kind(Uniform(), "last", True), (), str(n)) for n in range(2)]
    sums = [crossplay(game, agents, games=n, greedy=False, key=KEY, max_lanes=1).mean * n for n in range(1, 9)]
    for single in np.diff(sums, axis=0):
        assert set(single.round(9).flat) <= {0.0, 1.0, 2.0, 4.0}


def test_the_same_call_gives_the_same_bits_and_another_key_other_games():
    game = lever_game(payoffs=(1.0, 0.6))
    agents = [Agent(Kind(Uniform(), "last", True), (), str(n)) for n in range(2)]
    first, again, other = (
        crossplay(game, agents, games=50, greedy=False, key=jax.random.key(seed)) for seed in (0, 0, 1)
    )
    assert_same(first, again)
    assert (first.mean != other.mean).any()


class Unordered(Hanabi):
    """Hanabi that does not say that the players take turns in order: every step asks everybody."""

    cyclic = False


@pytest.mark.parametrize("players", [2, pytest.param(3, marks=pytest.mark.proof)])
def test_unrolling_the_turns_changes_nothing(players):
    game, agents, result = three(players)
    unordered = Unordered(**{f.name: getattr(game, f.name) for f in dataclasses.fields(game)})
    assert game.cyclic and not unordered.cyclic
    assert_same(result, crossplay(unordered, agents, games=7, greedy=True, key=KEY))
    assert len(set(result.mean.tolist())) > 1


def test_double_precision_elsewhere_changes_nothing():
    before = with_a_uniform_partner(0)
    with jax.enable_x64(True):
        assert (jnp.ones(3) / 3).dtype == jnp.float64
        inside = with_a_uniform_partner.__wrapped__(0)
    assert_same(before, inside)
