"""How much of play is convention: what plays and discards gain over the literal content of hints.

If players used only what hints say literally, their plays would fail as often as the literal chances say
(`games.hanabi.literal`). The **convention gap** is how much less often they do:

    gap = mean over plays of P(the card cannot be played | literal information) − share of plays that failed

It is 0 for a player who plays only cards that are certain, and in expectation if all players choose by public facts
alone, in their hints too. The joint chance is the gap's; the marginal one, which forgets the rest of the hand, stands
beside it. The gap of discards is the same, with cards that are critical (`games.hanabi.literal.critical`) in place of
those that cannot be played. Hints have none: who gives a hint sees the cards.

Fukushima, Xiong and Moradi Pari 2026, "The Convention Gap" (arXiv:2609.11489).
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from games.errors import TacitError
from games.game import Game
from games.hanabi.literal import chance_of, chance_of_failure, check_hand, critical, unplayable
from games.hanabi.records import RecordedGames, actions_of_all
from games.hanabi.rules import Hanabi, HanabiState
from marl.agent import Agent
from marl.crossplay.evaluate import visit_cells
from marl.crossplay.match import Match, Step
from marl.policies.policy import Array

MOST_HINTS = 3
"""Cards that hints touched so often, or more often, are counted together."""


class Sums(NamedTuple):
    """Sums over the plays or discards of games [...], by how many hints had touched the card: [..., MOST_HINTS + 1].

    A play fails if the card cannot be played, a discard if it is critical.
    """

    moves: Any  # int32 number of plays, or of discards
    failures: Any  # int32
    joint: Any  # float32 sum of the chances to fail, given the literal information
    marginal: Any  # float32 the same, without what the other cards of the hand tell

    def over_hints(self) -> "Sums":
        """The sums over all cards, [...]; numpy, float64."""
        return Sums(*(np.asarray(leaf, np.float64).sum(-1) for leaf in self))


class Moves(NamedTuple):
    """The plays and the discards of games."""

    plays: Sums
    discards: Sums

    @classmethod
    def none(cls) -> "Moves":
        """Those of a game that has not begun."""
        count, chance = jnp.zeros(MOST_HINTS + 1, jnp.int32), jnp.zeros(MOST_HINTS + 1, jnp.float32)
        sums = Sums(count, count, chance, chance)
        return cls(sums, sums)


class Gap(NamedTuple):
    """The convention gap of games, in shares of plays or of discards."""

    gap: float
    standard_error: float  # over games, whose moves are dependent; nan with fewer than two
    marginal: float  # the gap of the marginal chances
    failed: float  # share of moves that failed
    moves: int


def check_hanabi(game: Game) -> Hanabi:
    """The game, if it has plays whose chances can be counted.

    Raises:
      TacitError: for other games than Hanabi, and for hands of more than five cards.
    """
    if not isinstance(game, Hanabi):
        raise TacitError(f"game {game.name} has no cards to play: the convention gap is of Hanabi")
    check_hand(game)
    return game


def gap(sums: Sums) -> Gap:
    """The convention gap of games, from sums [games] over the plays of each game, or over its discards.

    The standard error is that of a ratio of means over independent games (the delta method).

    Raises:
      TacitError: if there is no such move.
    """
    count, failures, joint, marginal = (np.asarray(leaf, np.float64) for leaf in sums)
    total = count.sum()
    if total == 0:
        raise TacitError("there is no such move, so that there is no convention gap")
    gained = joint - failures
    mean = gained.sum() / total
    games = len(count)
    deviation = (gained - mean * count).std(ddof=1) / count.mean() / np.sqrt(games) if games > 1 else np.nan
    return Gap(
        gap=float(mean),
        standard_error=float(deviation),
        marginal=float((marginal - failures).sum() / total),
        failed=float(failures.sum() / total),
        moves=int(total),
    )


def gains(sums: Sums, *, pooled: bool = False) -> np.ndarray:
    """What each game adds to its cell's gap: float64[C, games], whose mean over games is the gap of the cell.

    With d a game's difference of chances and failures, n its moves and r the gap of the cell: r + (d − r n) / mean n,
    so that games with more moves do not vary more (the delta method). nan in cells without such a move.

    Args:
      sums: [C, games, MOST_HINTS + 1].
      pooled: whether r and the mean of n are those of all cells together. The mean over all is then the gap of all
        moves, which needs no move in every cell, and is not biased where cells have few games.
    """
    count, failures, joint, _ = sums.over_hints()
    over = (0, 1) if pooled else 1
    gained, means = joint - failures, np.broadcast_to(count.mean(axis=over, keepdims=True), count.shape)
    ratio, residual = np.full((2, *joint.shape), np.nan)
    np.divide(gained.mean(axis=over, keepdims=True), means, out=ratio, where=means > 0)
    np.divide(gained - ratio * count, means, out=residual, where=means > 0)
    return ratio + residual


def moves_of_agents(
    game: Game,
    agents: Sequence[Agent],
    seatings: np.ndarray,
    *,
    games: int,
    greedy: bool,
    key: Array,
    max_lanes: int = 4096,
) -> Moves:
    """The moves in each game of some seatings: numpy [C, games, MOST_HINTS + 1]. Arguments as in `crossplay`.

    Raises:
      TacitError: as `check_hanabi` and `visit_cells`.
    """
    check_hanabi(game)
    shape = (len(seatings), games, MOST_HINTS + 1)
    total = jax.tree.map(lambda leaf: np.zeros(shape, leaf.dtype), Moves.none())
    for some in visit_cells(
        game, agents, seatings, _Visitor(), games=games, greedy=greedy, key=key, max_lanes=max_lanes
    ):
        for sums, results in zip(jax.tree.leaves(total), jax.tree.leaves(some.results), strict=True):
            sums[some.cells, some.games] = results
    return total


def moves_of_records(recorded: RecordedGames) -> Moves:
    """The moves in each recorded game: numpy [N, MOST_HINTS + 1]; those of refused games mean nothing."""
    check_hanabi(recorded.game)
    return jax.device_get(_moves_of_records(recorded.game, recorded.decks, recorded.actions, recorded.lengths))


def chances(game: Hanabi, states: HanabiState, actions: np.ndarray) -> np.ndarray:
    """The joint literal chance that each play of a game fails: float32[T], nan where no card is played.

    Args:
      game: with hands of at most five cards.
      states: [T, ...] before each move.
      actions: int[T] of the player to move.
    """
    check_hanabi(game)
    if not len(actions):
        return np.zeros(0, np.float32)
    # Of one length for all games of a board, so that one program is compiled.
    missing = max(0, game.horizon - len(actions))
    padded = np.concatenate([np.asarray(actions, np.int32), np.full(missing, game.noop, np.int32)])
    places = np.minimum(np.arange(len(padded)), len(actions) - 1)
    found = _chances(game, jax.tree.map(lambda leaf: np.asarray(leaf)[places], states), padded)
    return np.asarray(found)[: len(actions)]


@functools.partial(jax.jit, static_argnums=0)
def _chances(game: Hanabi, states: HanabiState, actions: Array) -> Array:
    def one(state: HanabiState, action: Array) -> Array:
        is_play = (action >= game.hand_size) & (action < game.first_color_hint)
        slot = jnp.where(is_play, action - game.hand_size, 0)
        chance = chance_of_failure(game, state, state.player.astype(jnp.int32), slot).joint.chance()
        return jnp.where(is_play, chance, jnp.nan)

    return jax.vmap(one)(states, actions)


@functools.partial(jax.jit, static_argnums=0)
def _moves_of_records(game: Hanabi, decks: Array, actions: Array, lengths: Array) -> Moves:
    def one(deck: Array, actions: Array, length: Array) -> Moves:
        def turn(carry: tuple[Any, ...], action: Array) -> tuple[tuple[Any, ...], None]:
            state, hints, moves, number = carry
            hints = hints_received(game, state, hints)
            after, _, _ = game.step(state, actions_of_all(game, state, action), key=jax.random.key(0))
            legal = (number < length) & ~state.ended & ~after.illegal & ~state.illegal
            moves = jax.tree.map(
                lambda new, old: jnp.where(legal, new, old), _with_move(game, state, action, hints, moves), moves
            )
            return (after, hints, moves, number + 1), None

        begun = (game.init_from_deck(deck), _no_hints(game), Moves.none(), jnp.int32(0))
        return jax.lax.scan(turn, begun, actions)[0][2]

    return jax.vmap(one)(decks, actions, lengths)


def hints_received(game: Hanabi, state: HanabiState, hints: Array) -> Array:
    """int32[P, H]: how many hints have touched each card, after the last move, given the numbers before it."""
    slots = jnp.arange(game.hand_size, dtype=jnp.int32)
    players = jnp.arange(game.players, dtype=jnp.int32)
    action, mover = state.last_action.astype(jnp.int32), state.last_player.astype(jnp.int32)
    took = (action < game.first_color_hint) & (players == mover)[:, None] & (slots >= action % game.hand_size)[None]
    moved_down = jnp.concatenate([hints[:, 1:], jnp.zeros((game.players, 1), jnp.int32)], axis=1)
    is_color = action < game.first_rank_hint
    offset = jnp.where(
        is_color,
        (action - game.first_color_hint) // game.colors,
        (action - game.first_rank_hint) // game.ranks,
    )
    told = (action >= game.first_color_hint) & (action < game.noop)
    target = (mover + 1 + offset) % game.players
    touched = (state.last_touched.astype(jnp.int32) >> slots) & 1
    gained = jnp.where(told & (players == target)[:, None], touched[None], 0)
    return jnp.where(took, moved_down, hints + gained)


def _no_hints(game: Hanabi) -> Array:
    return jnp.zeros((game.players, game.hand_size), jnp.int32)


def _with_move(game: Hanabi, state: HanabiState, action: Array, hints: Array, moves: Moves) -> Moves:
    """The sums with the action of the player to move, if it plays or discards a card."""
    player = state.player.astype(jnp.int32)
    is_play = (action >= game.hand_size) & (action < game.first_color_hint)
    is_discard = (action >= 0) & (action < game.hand_size)
    slot = jnp.where(is_play, action - game.hand_size, jnp.where(is_discard, action, 0))
    card = jnp.sum(jnp.where(jnp.arange(game.hand_size) == slot, state.cards[player], 0), dtype=jnp.uint8)
    kind = (card >> 3).astype(jnp.int32) * game.ranks + (card & 7).astype(jnp.int32)
    failing = jnp.where(is_play, unplayable(game, state), critical(game, state))
    fails = jnp.any((jnp.arange(len(failing), dtype=jnp.int32) == kind) & failing)
    literal = chance_of(game, state, player, slot, failing)
    row = jnp.arange(MOST_HINTS + 1, dtype=jnp.int32) == jnp.minimum(hints[player, slot], MOST_HINTS)

    def counted(sums: Sums, happened: Array) -> Sums:
        here = row & happened
        return Sums(
            sums.moves + here,
            sums.failures + (here & fails),
            sums.joint + jnp.where(here, literal.joint.chance(), 0.0),
            sums.marginal + jnp.where(here, literal.marginal.chance(), 0.0),
        )

    return Moves(counted(moves.plays, is_play), counted(moves.discards, is_discard))


@dataclasses.dataclass(frozen=True)
class _Visitor:
    """The visitor that sums over the plays and the discards of a game."""

    def start(self, match: Match, *, key: Array) -> tuple[Array, Moves]:
        del key
        return _no_hints(check_hanabi(match.game)), Moves.none()

    def visit(
        self,
        match: Match,
        seated: tuple[Any, ...],
        tally: tuple[Array, Moves],
        step: Step,
        *,
        turn: int | None,
        greedy: Array,
    ) -> tuple[Array, Moves]:
        del seated, turn, greedy
        game = check_hanabi(match.game)
        hints = hints_received(game, step.state, tally[0])
        action = jnp.max(jnp.where(step.acting, step.actions, -1))  # -1: nobody acts
        return hints, _with_move(game, step.state, action, hints, tally[1])

    def result(self, match: Match, tally: tuple[Array, Moves], state: Any) -> Moves:
        del match, state
        return tally[1]
