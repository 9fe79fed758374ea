"""Convention matrices of agents worked by hand, distances and correlations by literal numbers and naive loops."""

import dataclasses
import itertools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from games import hanabi
from games.errors import TacitError
from games.tabular.library.lever import make as lever_game
from marl.agent import Agent, Kind
from marl.conventions import (
    action_orbits,
    convention_counts,
    correlation,
    distances,
    merged,
    responses,
)
from marl.policies.recurrent import Recurrent
from marl.policies.uniform import Uniform

KEY = jax.random.key(0)


BOARD = hanabi.make("Hanabi-2x3")  # 2 discards, 2 plays, 2 color hints, 3 rank hints, no-op


@dataclasses.dataclass(frozen=True)
class Wish:
    """Takes the first legal action of a list, its parameters; every action of the board is in it."""

    memory_clock: ClassVar[str] = "own_turns"
    size: int

    def init(self, *, key):
        return jnp.zeros(self.size, jnp.int32)

    def initial_memory(self):
        return ()

    def apply(self, params, memory, observation, legal):
        chosen = params[jnp.argmax(legal[params])]
        return memory, jnp.where(jnp.arange(self.size) == chosen, jnp.float32(0), -jnp.inf)


def wisher(game, first, *then):
    order = [first, *then, *(action for action in range(game.num_actions) if action not in (first, *then))]
    return Agent(Kind(Wish(game.num_actions), "hle", True), jnp.array(order, jnp.int32), f"wish {first}")


@pytest.mark.slow
def test_counts_of_agents_worked_by_hand():
    # Four hints use up the tokens. Then a discard brings one back, and the next hint uses it: hint, discard, … With 12
    # cards, 4 of them dealt, 8 discards empty the deck, after which both players move once more.
    discard = 0
    assert BOARD.deck_size == 12
    # A hint that touches nothing is illegal, so name all of them before the discard.
    any_hint = wisher(BOARD, 6, 7, 8, discard)
    counts = convention_counts(BOARD, [any_hint], games=5, greedy=False, key=KEY)[0]
    is_hint = np.arange(BOARD.noop) >= 6
    assert counts.dtype == np.int64
    assert counts.shape == (9, 9)
    # h h h h (d h) x 8, where the last d empties the deck, and then one move each: d h ends with h and another, d.
    assert counts[is_hint][:, is_hint].sum() == 5 * 3
    assert counts[discard, is_hint].sum() == 5 * 8
    assert counts[is_hint, discard].sum() == 5 * 9
    assert counts.sum() == 5 * 20


@pytest.mark.slow
def test_counts_agree_with_a_walk_through_the_games_step_by_step():
    board = hanabi.make("Hanabi-2x3", players=3)
    agents = [wisher(board, board.first_rank_hint + 1, 1, 2), wisher(board, 3, 0)]
    counts = convention_counts(board, agents, games=3, greedy=True, key=KEY, max_lanes=4)  # two games a chunk
    decks, _ = jax.random.split(KEY)
    deal, legal_moves, step = jax.jit(lambda key: board.init(key=key)), jax.jit(board.legal), jax.jit(board.step)
    for agent, found in zip(agents, counts, strict=True):
        expected = np.zeros_like(found)
        for game in range(3):
            state, before = deal(jax.random.fold_in(decks, game)), None
            while not state.ended:
                legal = np.asarray(legal_moves(state, np.int32(state.player)))
                action = next(action for action in np.asarray(agent.params).tolist() if legal[action])
                if before is not None:
                    expected[before, action] += 1
                before = action
                everyone = np.full(3, board.noop)
                everyone[int(state.player)] = action
                state, _, _ = step(state, jnp.asarray(everyone, jnp.int32), key=KEY)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
def test_agents_of_any_kinds_and_memories_come_in_their_order():
    recurrent = Recurrent(BOARD.observer("hle").size, BOARD.num_actions, torso=(4,), memory=4)
    rng, shapes = np.random.default_rng(0), jax.eval_shape(lambda: recurrent.init(key=KEY))
    params = jax.tree.map(lambda leaf: rng.normal(0, 0.1, leaf.shape).astype(np.float32), shapes)
    network = Agent(Kind(recurrent, "hle", True), params, "network")
    hints = wisher(BOARD, 6, 7, 8, 0)
    together = convention_counts(BOARD, [network, hints, network], games=5, greedy=False, key=KEY)
    assert together[1, 0, 6:].sum() == 5 * 8
    assert (together[1, 1:6] == 0).all()
    assert ((together[[0, 2]] > 0).sum((1, 2)) > 15).all()
    assert (together[0] != together[2]).any()  # draws of its own


def test_games_of_simultaneous_moves_have_no_answers():
    agent = Agent(Kind(Uniform(), "last", True), (), "uniform")
    with pytest.raises(TacitError, match="several players act at once"):
        convention_counts(lever_game(), [agent], games=1, greedy=False, key=KEY)


def test_nonsense_is_refused():
    with pytest.raises(TacitError, match="games must be"):
        convention_counts(BOARD, [wisher(BOARD, 0)], games=0, greedy=False, key=KEY)
    with pytest.raises(TacitError, match="at least one agent"):
        convention_counts(BOARD, [], games=1, greedy=False, key=KEY)


# ------------------------------------------------------------------------------------------------------------ distances

COUNTS = np.array(
    [
        [[3, 1, 0], [0, 4, 0], [0, 0, 0]],  # shares 1/2, 1/2, 0
        [[1, 1, 0], [0, 0, 0], [0, 3, 3]],  # shares 1/4, 0, 3/4
        [[6, 2, 0], [0, 8, 0], [0, 0, 0]],  # twice the first
    ]
)


def test_responses_by_hand():
    expected = [[0.75, 0.25, 0.0], [0.0, 1.0, 0.0], [np.nan] * 3]
    np.testing.assert_array_equal(responses(COUNTS)[0], expected)


def test_distances_by_hand():
    # Row 0: (1/2 + 1/4) / 2 times TV 1/4; row 1 only the first visits: 1/4; row 2 only the second visits: 3/8.
    d = 3 / 8 / 4 + 1 / 4 + 3 / 8
    np.testing.assert_allclose(distances(COUNTS), [[0, d, 0], [d, 0, d], [0, d, 0]], rtol=1e-14)


def test_an_agent_without_a_pair_has_no_distance():
    with pytest.raises(TacitError, match="no two actions in a row"):
        distances(np.stack([COUNTS[0], np.zeros((3, 3), int)]))


def test_color_hints_are_one_orbit():
    board = hanabi.make("Hanabi-3x3", players=3)
    orbits = action_orbits(board)
    hints = board.first_color_hint
    assert orbits[:hints].tolist() == list(range(hints))
    assert orbits[hints : hints + 6].tolist() == [hints] * 3 + [hints + 1] * 3
    assert orbits[hints + 6 :].tolist() == list(range(hints + 2, hints + 8))


def test_merged_counts_by_hand():
    orbits = np.array([0, 1, 1])
    np.testing.assert_array_equal(merged(COUNTS, orbits)[:2], [[[3, 1], [0, 4]], [[1, 1], [0, 6]]])


# ---------------------------------------------------------------------------------------------------------- correlation


def symmetric(generator, size):
    matrix = generator.random((size, size))
    return matrix + matrix.T


def test_correlation_agrees_with_all_renumberings_by_a_loop():
    generator = np.random.default_rng(3)
    apart, scores = symmetric(generator, 5), generator.random((5, 5))
    upper = np.triu_indices(5, 1)
    both = (scores + scores.T) / 2
    found = correlation(apart, scores)
    rho = stats.spearmanr(apart[upper], both[upper]).statistic
    assert found.rho == pytest.approx(rho, abs=1e-12)
    others = np.array(
        [
            stats.spearmanr(apart[np.ix_(order, order)][upper], both[upper]).statistic
            for order in map(list, itertools.permutations(range(5)))
        ]
    )
    tails = (others >= rho - 1e-9).mean(), (others <= rho + 1e-9).mean()
    assert found.p == pytest.approx(min(1.0, 2 * min(tails)), abs=1e-12)
    assert found.low is None
    assert "needs 6 seeds" in found.note


@pytest.mark.slow
def test_distances_that_decide_the_score_are_found():
    places = np.array([0.0, 0.1, 0.3, 0.7, 1.5, 3.1, 6.3, 12.7])
    apart = np.abs(places[:, None] - places[None])
    found = correlation(apart, -(apart**2))
    assert found.rho == pytest.approx(-1)
    assert found.p < 0.001
    assert found.low == pytest.approx(-1)
    assert found.high == pytest.approx(-1)


@pytest.mark.slow
def test_the_diagonals_are_not_used():
    """Nor are pairs of copies of one seed, which a bootstrap may draw."""
    generator = np.random.default_rng(5)
    apart, scores = symmetric(generator, 8), symmetric(generator, 8)
    others = [table + np.diag(np.linspace(-50, 90, 8)) for table in (apart, scores)]
    assert correlation(*others, permutations=99) == correlation(apart, scores, permutations=99)


@pytest.mark.slow
def test_chance_is_not_called_a_relation():
    generator = np.random.default_rng(0)
    found = [correlation(symmetric(generator, 8), symmetric(generator, 8), permutations=499, resamples=200)
             for _ in range(20)]  # fmt: skip
    assert sum(one.p < 0.05 for one in found) <= 3
    assert sum(one.low <= 0 <= one.high for one in found) >= 16


@pytest.mark.parametrize(
    ("apart", "scores", "why"),
    [
        (np.ones((3, 3)), np.ones((3, 3)), "needs 4 seeds, there are 3"),
        (np.ones((4, 4)), np.arange(16.0).reshape(4, 4), "equally far apart"),
    ],
)
def test_what_cannot_be_estimated_says_why(apart, scores, why):
    found = correlation(apart, scores)
    assert found.rho is None
    assert why in found.note
    assert "not estimable" in str(found)


def test_matrices_must_match():
    with pytest.raises(TacitError, match="square matrices"):
        correlation(np.ones((4, 4)), np.ones((5, 5)))
    with pytest.raises(TacitError, match="not a finite number"):
        correlation(np.full((4, 4), np.nan), np.ones((4, 4)))
