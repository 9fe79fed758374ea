"""Equivariance defect and Other-Play return, of policies on a small game worked by hand and of networks on Hanabi."""

import dataclasses
import itertools
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from games import hanabi
from games.errors import TacitError
from games.game import Game, Layout, Observer, Symmetry
from games.hanabi import symmetry
from games.relabelled import Relabelled
from games.tabular.library.lever import make as lever_game
from marl.agent import Agent, Kind
from marl.crossplay.record import record_games
from marl.equivariance import measure_defect, other_play_return
from marl.partners import partners
from marl.policies.recurrent import Recurrent
from marl.policies.uniform import Uniform

KEY = jax.random.key(0)


# ------------------------------------------------------------------------------------- three levers, pulled three times

LAST = Layout.of([("last", {"lever": 3}, "own lever of the first step, shown at the second")])


class LeverState(NamedTuple):
    time: Any
    last: Any  # int32[2]
    ended: Any
    illegal: Any


@dataclasses.dataclass(frozen=True)
class Levers(Game):
    """Two players pull one of three equal levers at each of three steps; a match pays 1. Levers may be relabelled, and
    the players swapped if `swap`."""

    name: ClassVar[str] = "levers"
    version: ClassVar[str] = "levers-1"
    num_players: ClassVar[int] = 2
    num_actions: ClassVar[int] = 4
    max_acting: ClassVar[int] = 2
    cyclic: ClassVar[bool] = False
    horizon: ClassVar[int] = 3
    score_range: ClassVar[tuple[float, float]] = (0.0, 3.0)
    swap: bool = False

    @property
    def observers(self):
        def encode(state, player):
            return (jnp.arange(3) == state.last[player]) & (state.time == 1)

        def permute(g, observation):
            return LAST.permute(observation, "lever", g.parameters)

        return {"last": Observer("last", LAST, jnp.bool_, encode, permute)}

    def init(self, *, key):
        return LeverState(jnp.int32(0), jnp.full(2, -1, jnp.int32), jnp.bool_(False), jnp.bool_(False))

    def transition(self, state, actions, *, key):
        after = LeverState(state.time + 1, actions, state.time + 1 == 3, state.illegal)
        return after, (actions[0] == actions[1]).astype(jnp.float32)

    def acting(self, state):
        return jnp.arange(2, dtype=jnp.int32), jnp.ones(2, jnp.bool_)

    def legal_when_acting(self, state, player):
        return jnp.arange(4) < 3

    def action_name(self, action):
        return f"pull {action}"

    def sample_symmetry(self, *, key):
        for_levers, for_players = jax.random.split(key)
        image = jax.random.permutation(for_levers, jnp.arange(3, dtype=jnp.int32))
        players = jnp.arange(2, dtype=jnp.int32)
        if self.swap:
            players = jax.random.permutation(for_players, players)
        actions = jnp.broadcast_to(jnp.append(image, 3), (2, 4))
        return Symmetry(players=players, actions=actions, parameters=image)

    def apply_symmetry(self, g, state):
        last = jnp.where(state.last < 0, state.last, g.parameters[state.last])
        return state._replace(last=jnp.zeros(2, jnp.int32).at[g.players].set(last))


@dataclasses.dataclass(frozen=True)
class Repeat:
    """Draws its first lever from its parameters, and pulls it again at the second step, where it sees it, and at the
    third, where only its memory holds it."""

    memory_clock: ClassVar[str] = "own_turns"

    def init(self, *, key):
        return jnp.zeros(3, jnp.float32)

    def initial_memory(self):
        return jnp.zeros(3, jnp.float32)

    def apply(self, params, memory, observation, legal):
        memory = jnp.where(jnp.any(observation), observation.astype(jnp.float32), memory)
        probabilities = jnp.append(jnp.where(jnp.any(memory > 0), memory, params), 0.0)
        return memory, jnp.log(jnp.where(legal, probabilities, 0.0))


# Of (.5, .3, .2) the six relabellings are at total variation 0 (identity), .2, .3, .1 (swaps), .3, .3 (turns).
WEIGHTS = jnp.array([0.5, 0.3, 0.2], jnp.float32)
REPEAT = Agent(Kind(Repeat(), "last", True), WEIGHTS, "repeat")


@pytest.mark.slow
def test_the_defect_by_hand():
    found, alone = measure_defect(Levers(), [REPEAT, REPEAT], games=600, greedy=False, key=KEY, symmetries=5)
    # At the first of three steps 0.2 on average over the group, then the repeated lever, which is equivariant.
    assert found.mean == pytest.approx(0.2 / 3, abs=4 * found.standard_error)
    assert 0.0005 < found.standard_error < 0.0015  # sd of the six is .11; five draws a game, over three steps
    assert found.largest == pytest.approx(0.3, abs=1e-6)
    assert alone != found  # games of its own
    parts = measure_defect(Levers(), [REPEAT, REPEAT], games=600, greedy=False, key=KEY, symmetries=5, max_lanes=500)
    np.testing.assert_allclose(parts, [found, alone], rtol=1e-6)  # a call of 500 games, and one of the rest


@pytest.mark.slow
def test_the_defect_of_the_greedified_policy_by_hand():
    # Greedy, it pulls lever 0 first, which two of three relabellings move.
    (found,) = measure_defect(Levers(), [REPEAT], games=600, greedy=True, key=KEY, symmetries=5)
    assert found.mean == pytest.approx(2 / 9, abs=4 * found.standard_error)
    assert found.largest == 1


@pytest.mark.slow
def test_where_players_may_be_swapped_the_seat_of_the_image_answers():
    flat = jnp.ones(3, jnp.float32) / 3
    seats = Agent(Kind(Repeat(), "last", False), jnp.stack([flat, WEIGHTS]), "seats")
    kept, swapped = (
        measure_defect(Levers(swap), [seats], games=600, greedy=False, key=KEY, symmetries=5)[0]
        for swap in (False, True)
    )
    # Without the swap seat 0 has defect 0 and seat 1 has 0.2. A swap compares (.5, .3, .2) with the flat policy: 1/6.
    assert kept.mean == pytest.approx(0.1 / 3, abs=4 * kept.standard_error)
    assert swapped.mean == pytest.approx((0.1 + 1 / 6) / 2 / 3, abs=4 * swapped.standard_error)


@pytest.mark.slow
def test_other_play_by_hand():
    # Greedy partners pull lever 0 as each of them names it: the same one in a third of the games, and then again.
    games = 3000
    own, other = other_play_return(Levers(), [REPEAT, REPEAT], games=games, greedy=True, key=KEY)
    assert own.mean.tolist() == [3, 3]
    assert other.seatings.tolist() == [[0, 0], [1, 1]]
    assert other.mean[0] == pytest.approx(1.0, abs=4 * np.sqrt(2 / games))


# -------------------------------------------------------------------------------------------------- networks on Hanabi

BOARD = hanabi.make("Hanabi-2x3", colors=3, max_information_tokens=3, ranks=2)
OBSERVER = BOARD.observer("hle")
NETWORK = Recurrent(OBSERVER.size, BOARD.num_actions, torso=(8,), memory=8, memory_clock="own_turns")


@dataclasses.dataclass(frozen=True)
class Symmetrised:
    """The mean over all permutations of three colors of a policy that plays behind the permutation."""

    policy: Any

    @property
    def memory_clock(self):
        return self.policy.memory_clock

    def init(self, *, key):
        return self.policy.init(key=key)

    def initial_memory(self):
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (6, *leaf.shape)), self.policy.initial_memory())

    def apply(self, params, memory, observation, legal):
        images = jnp.array(list(itertools.permutations(range(3))), jnp.int32)

        def behind(image, memory):
            g = symmetry.of_colors(BOARD, image)
            seen, allowed = OBSERVER.symmetry(g, observation), g.on_legal(jnp.int32(0), legal)
            after, log_probs = self.policy.apply(params, memory, seen, allowed)
            return after, jnp.exp(log_probs)[g.actions[0]]

        memory, probabilities = jax.vmap(behind)(images, memory)
        return memory, jnp.log(jnp.mean(probabilities, axis=0))


@pytest.mark.slow
def test_networks_have_a_defect_and_equivariant_policies_have_none():
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: NETWORK.init(key=KEY))
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, 1.5, leaf.shape).astype(np.float32)), shapes)
    agents = [
        Agent(Kind(policy, "hle", True), params, str(number))
        for number, policy in enumerate((NETWORK, Symmetrised(NETWORK)))
    ]
    raw, symmetrised = measure_defect(BOARD, agents, games=16, greedy=False, key=KEY, symmetries=3)
    assert raw.mean > 0.02
    assert raw.largest > 0.1
    assert symmetrised.largest < 2e-5


@pytest.mark.slow
def test_partners_have_no_defect_in_greedy_play_either():
    """They tell no color from another, and they sample in greedy play: so do their images."""
    (found,) = measure_defect(BOARD, partners(BOARD, ["flawed"]), games=8, greedy=True, key=KEY, symmetries=2)
    assert found.largest < 1e-5


@pytest.mark.slow
def test_games_in_which_everybody_draws_the_identity_are_those_of_self_play():
    board = hanabi.make("Hanabi-2x3", colors=2, hand_size=1, ranks=2)
    observer = board.observer("hle")
    policy = Recurrent(observer.size, board.num_actions, torso=(8,), memory=8, memory_clock="own_turns")
    agent = Agent(Kind(policy, "hle", True), policy.init(key=KEY), "seed 0")
    seating = np.zeros((1, 2), np.int32)
    (own,), (other,) = (
        record_games(game, [agent], seating, games=40, greedy=False, key=KEY) for game in (board, Relabelled(board))
    )
    same = 0
    for plain, through in zip(own, other, strict=True):
        np.testing.assert_array_equal(plain.states.deck[0], through.states.inner.deck[0])
        drawn = through.states.symmetries.actions[0]  # [P, P, A]
        if (drawn == np.arange(board.num_actions)).all():
            same += 1
            np.testing.assert_array_equal(plain.actions, through.actions)
            np.testing.assert_array_equal(plain.rewards, through.rewards)
    assert 4 <= same <= 20  # of two colors each player draws the identity in half of the games
    whole, relabelled = other_play_return(board, [agent], games=40, greedy=False, key=KEY)
    assert whole.mean[0] == np.mean([one.score for one in own])
    assert relabelled.mean[0] == np.mean([one.score for one in other])


# ------------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("game", [lever_game(), hanabi.make("Hanabi-2x3", colors=1, hand_size=1)])
def test_a_game_without_symmetries_has_nothing_to_relabel(game):
    agent = Agent(Kind(Uniform(), next(iter(game.observers)), True), (), "uniform")
    with pytest.raises(TacitError, match=r"no symmetry but the identity|draws no symmetries"):
        measure_defect(game, [agent], games=1, greedy=False, key=KEY)
    with pytest.raises(TacitError, match=r"no symmetry but the identity|draws no symmetries"):
        other_play_return(game, [agent], games=1, greedy=False, key=KEY)


def test_nonsense_is_refused():
    with pytest.raises(TacitError, match="symmetries must be"):
        measure_defect(Levers(), [REPEAT], games=1, greedy=False, key=KEY, symmetries=0)
    wrong = REPEAT._replace(params=jnp.zeros(2, jnp.float32))
    with pytest.raises(TacitError, match="agent repeat declares"):
        measure_defect(Levers(), [wrong], games=1, greedy=False, key=KEY)
