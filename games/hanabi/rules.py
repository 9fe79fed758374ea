"""The rules of Hanabi, exactly those of the Hanabi Learning Environment (HLE).

Bard et al. 2020, "The Hanabi challenge: a new frontier for AI research", and the library
hanabi-learning-environment 0.0.4, which `games.hanabi.verify` replays move by move. HLE cannot express other copies of
a card; such boards are compared with the rules in plain Python (`tests/games/hanabi/oracle.py`).

Action ids are HLE's, for a hand of H cards, P players, C colors and R ranks:

    0 .. H-1                      discard the card in that slot
    H .. 2H-1                     play the card in that slot
    2H .. 2H+(P-1)C-1             color hint: (target offset - 1) * C + color
    2H+(P-1)C .. +(P-1)R-1        rank hint: (target offset - 1) * R + rank
    last id                       no-op (ours: the only action of a player who is not to move)

A card is the number `color * R + rank` (HLE's chance-outcome id) where users meet it, and the byte `8 * color + rank`
inside the state, so that color and rank are shifts away.
"""

# Why: see the attributes of `games.game.Game`.
# pyright: reportIncompatibleVariableOverride=false

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike
from numpy.typing import NDArray

from games.errors import TacitError, one_of
from games.game import Array, Game, Observer, Symmetry
from games.hanabi import observers, render
from games.hanabi import symmetry as symmetries
from games.hanabi.board import Board, State
from games.hanabi.cards import COLOR_LETTERS, EMPTY, HINTED
from games.hanabi.smaller import places


class HanabiState(State):
    """One game of Hanabi; prints itself, and shows itself in a notebook."""

    __slots__ = ()

    def __str__(self) -> str:
        return render.text(self)

    def _repr_svg_(self) -> str:
        return render.svg(self)


class _Move(NamedTuple):
    """What the player to move does."""

    mover: Array  # bool[P]
    action: Array  # uint8[]
    plays: Array  # bool[]
    takes: Array  # bool[] a card leaves the hand: played or discarded
    hints_color: Array  # bool[]
    hints_rank: Array  # bool[]
    slot: Array  # uint8[] of the card that leaves
    card: Array  # uint8[] its byte, or EMPTY


@final
@dataclasses.dataclass(frozen=True)
class Hanabi(Board, Game):
    """Hanabi on any board that HLE can express, and, beyond HLE, with other numbers of copies.

    Attributes:
      players, colors, ranks, hand_size, max_information_tokens, max_life_tokens, copies: see `Board`.
      default_observer: which observer comes first in `observers`.

    Raises:
      TacitError: as `Board`, and for an observer that does not exist.
    """

    name: ClassVar[str] = "hanabi"
    version: ClassVar[str] = "hanabi-1"
    max_acting: ClassVar[int] = 1
    cyclic: ClassVar[bool] = True

    default_observer: str = "hle"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("hanabi default_observer", self.default_observer, observers.NAMES)

    # --- the contract of games.game.Game -----------------------------------------------------------------------------

    @functools.cached_property
    def observers(self) -> Mapping[str, Observer]:  # pyright: ignore[reportIncompatibleMethodOverride] (kept, once made)
        names = sorted(observers.NAMES, key=lambda name: name != self.default_observer)
        return {name: observers.make(self, name) for name in names}

    def init(self, *, key: Array) -> HanabiState:
        """A shuffled deck, dealt: player 0 gets the whole first hand, then player 1, as in HLE.

        The deck is shuffled lazily (Fisher and Yates): card d is drawn by swapping it with a position chosen by the
        bits of `fold_in(key, d)`. The deck is a function of `key` alone, whatever is played.
        """
        return self._deal(jnp.asarray(self._sorted_deck()), key, given=False)

    def places_of(self, smaller: Any, observer: str) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Where a smaller board's observations int[size] and actions int[num_actions] stand among those of this one.

        See `games.hanabi.smaller`.

        Raises:
          TacitError: if it does not fit into this board.
        """
        return places(self, smaller, (self.observer(observer).layout, smaller.observer(observer).layout))

    def init_from_deck(self, deck: ArrayLike) -> HanabiState:
        """The state a game with a given deck starts from.

        Args:
          deck: int[D], the card `color * ranks + rank` at each place, first drawn first.

        Raises:
          TacitError: if `deck` is concrete and not an order of this board's cards.
        """
        if not isinstance(deck, Tracer):
            ordered = sorted(np.asarray(deck).tolist())
            expected = sorted(
                np.repeat(np.arange(self.colors * self.ranks), np.tile(self.copies, self.colors)).tolist()
            )
            if ordered != expected:
                raise TacitError(f"a deck of this board is an order of the {self.deck_size} cards {expected}")
        deck = jnp.asarray(deck)
        deck_bytes = (deck // self.ranks * 8 + deck % self.ranks).astype(jnp.uint8)
        return self._deal(deck_bytes, jax.random.key(0), given=True)

    def transition(self, state: HanabiState, actions: Array, *, key: Array) -> tuple[HanabiState, Array]:
        del key  # the only chance is the deck, and the deck has its own key
        move = self._move(state, actions)
        scored, token, changed = self._after_card(state, move)
        color_knowledge, rank_knowledge, touched = self._after_hint(state, move)

        # Younger cards move down one slot and the drawn card comes last.
        deck_empty = state.dealt == self.deck_size
        deck, drawn = self.draw(state.deck, state.deck_key, state.dealt, state.deck_given)
        draws = move.takes & ~deck_empty
        slots = jnp.arange(self.hand_size, dtype=jnp.uint8)
        moves_down = move.takes & move.mover[:, None] & (slots >= move.slot)[None]  # [P, H]

        def replace(hands: Array, newest: Array, nothing: int) -> Array:
            last = jnp.broadcast_to(jnp.where(draws, newest, jnp.uint8(nothing)), (self.players, 1))
            return jnp.where(moves_down, jnp.concatenate([hands[:, 1:], last], axis=1), hands)

        turns_left = state.turns_left - deck_empty.astype(jnp.uint8)
        points_before = jnp.sum(state.fireworks, dtype=jnp.uint8)
        points = points_before + scored.astype(jnp.uint8)
        bombed = changed["life_tokens"] == 0
        reward = jnp.where(bombed, -points_before.astype(jnp.float32), scored.astype(jnp.float32))
        next_state = state._replace(
            **changed,
            deck=jnp.where(draws, deck, state.deck),
            dealt=state.dealt + draws.astype(jnp.uint8),
            cards=replace(state.cards, drawn, EMPTY),
            color_knowledge=replace(color_knowledge, jnp.uint8(2**self.colors - 1), 0),
            rank_knowledge=replace(rank_knowledge, jnp.uint8(2**self.ranks - 1), 0),
            player=(state.player + 1) % self.players,
            turns_left=turns_left,
            last_player=state.player,
            last_action=move.action,
            last_card=move.card,
            last_touched=jnp.sum(touched.astype(jnp.uint8) << slots, dtype=jnp.uint8),
            last_scored=scored,
            last_token=token,
            ended=bombed | (points == self.colors * self.ranks) | (turns_left == 0),
        )
        return next_state, reward

    def _move(self, state: HanabiState, actions: Array) -> _Move:
        """What the player to move does, of int32[P] `actions`."""
        mover = jnp.arange(self.players, dtype=jnp.uint8) == state.player
        action = jnp.sum(jnp.where(mover, actions, 0)).astype(jnp.uint8)
        plays = (action >= self.hand_size) & (action < self.first_color_hint)
        takes = action < self.first_color_hint
        slot = action - jnp.where(plays, jnp.uint8(self.hand_size), jnp.uint8(0))
        here = mover[:, None] & (jnp.arange(self.hand_size, dtype=jnp.uint8) == slot)[None]  # [P, H]
        return _Move(
            mover=mover,
            action=action,
            plays=plays,
            takes=takes,
            hints_color=(action >= self.first_color_hint) & (action < self.first_rank_hint),
            hints_rank=(action >= self.first_rank_hint) & (action < self.noop),
            slot=slot,
            card=jnp.where(takes, jnp.max(jnp.where(here, state.cards, 0)), jnp.uint8(EMPTY)),
        )

    def _after_card(self, state: HanabiState, move: _Move) -> tuple[Array, Array, dict[str, Array]]:
        """bool[] a card scored, bool[] an information token came back, and the piles and tokens afterwards."""
        color, rank = move.card >> 3, move.card & 7
        pile = jnp.arange(self.colors, dtype=jnp.uint8) == color  # [C]
        scored = move.plays & jnp.any(pile & (state.fireworks == rank))
        misplayed = move.plays & ~scored
        discards = move.takes & ~move.plays
        finished = scored & (rank == self.ranks - 1)
        token = (discards | finished) & (state.information_tokens < self.max_information_tokens)
        hints = (move.hints_color | move.hints_rank).astype(jnp.uint8)
        of_rank = jnp.arange(self.ranks, dtype=jnp.uint8) == rank  # [R]
        to_discards = (pile & (discards | misplayed))[:, None] & of_rank[None]  # [C, R]
        return (
            scored,
            token,
            {
                "fireworks": state.fireworks + (pile & scored).astype(jnp.uint8),
                "discards": state.discards + to_discards.astype(jnp.uint8),
                "information_tokens": state.information_tokens + token.astype(jnp.uint8) - hints,
                "life_tokens": state.life_tokens - misplayed.astype(jnp.uint8),
            },
        )

    def _after_hint(self, state: HanabiState, move: _Move) -> tuple[Array, Array, Array]:
        """The knowledge of colors and of ranks uint8[P, H] afterwards, and bool[H] the slots that a hint touched."""
        first = jnp.where(move.hints_rank, jnp.uint8(self.first_rank_hint), jnp.uint8(self.first_color_hint))
        hint = move.action - first
        kinds = jnp.where(move.hints_rank, jnp.uint8(self.ranks), jnp.uint8(self.colors))
        value = hint % kinds
        target = (state.player + 1 + hint // kinds) % self.players
        hinted_hand = (jnp.arange(self.players, dtype=jnp.uint8) == target)[:, None] & (state.cards != EMPTY)

        def learn(knowledge: Array, values: Array, hints: Array) -> tuple[Array, Array]:
            told = hinted_hand & hints
            touched = told & (values == value)
            bit = jnp.uint8(1) << value
            told_no = jnp.where(told, knowledge & ~bit, knowledge)
            return jnp.where(touched, bit | jnp.uint8(HINTED), told_no), touched

        color_knowledge, color_touched = learn(state.color_knowledge, state.cards >> 3, move.hints_color)
        rank_knowledge, rank_touched = learn(state.rank_knowledge, state.cards & 7, move.hints_rank)
        return color_knowledge, rank_knowledge, jnp.any(color_touched | rank_touched, axis=0)

    def acting(self, state: HanabiState) -> tuple[Array, Array]:
        return state.player.astype(jnp.int32)[None], ~state.ended[None]

    def legal_when_acting(self, state: HanabiState, player: Array) -> Array:
        has_card = observers.from_seat(state.cards, player, self.players) != EMPTY  # [P, H], this player first
        others = observers.from_seat(state.cards, player, self.players)[1:]  # [P-1, H]
        may_discard = state.information_tokens < self.max_information_tokens
        may_hint = state.information_tokens > 0
        colors = jnp.arange(self.colors, dtype=jnp.uint8)
        ranks = jnp.arange(self.ranks, dtype=jnp.uint8)
        # An empty slot is neither: its byte has color 31 and rank 7.
        color_hints = jnp.any((others >> 3)[:, :, None] == colors[None, None], axis=1)  # [P-1, C]
        rank_hints = jnp.any((others & 7)[:, :, None] == ranks[None, None], axis=1)  # [P-1, R]
        return jnp.concatenate(
            [
                has_card[0] & may_discard,
                has_card[0],
                color_hints.reshape(-1) & may_hint,
                rank_hints.reshape(-1) & may_hint,
                jnp.zeros(1, jnp.bool_),
            ]
        )

    def bombed(self, state: HanabiState) -> Array:
        return state.life_tokens == 0

    def action_name(self, action: int) -> str:
        if not 0 <= action < self.num_actions:
            return "no such action"
        if action < self.hand_size:
            return f"discard slot {action}"
        if action < self.first_color_hint:
            return f"play slot {action - self.hand_size}"
        if action < self.first_rank_hint:
            offset, color = divmod(action - self.first_color_hint, self.colors)
            return f"hint {COLOR_LETTERS[color]} to player +{offset + 1}"
        if action < self.noop:
            offset, rank = divmod(action - self.first_rank_hint, self.ranks)
            return f"hint {rank + 1} to player +{offset + 1}"
        return "no-op"

    def sample_symmetry(self, *, key: Array) -> Symmetry:
        """A uniformly drawn permutation of the colors."""
        return symmetries.of_colors(self, jax.random.permutation(key, jnp.arange(self.colors, dtype=jnp.int32)))

    def apply_symmetry(self, symmetry: Symmetry, state: HanabiState) -> HanabiState:
        return symmetries.on_state(self, symmetry, state)

    # --- what users read off a state ---------------------------------------------------------------------------------

    def score(self, state: HanabiState) -> Array:
        """int32[]: HLE's score, the cards on the piles, or 0 once the last life is lost."""
        return jnp.where(state.life_tokens > 0, jnp.sum(state.fireworks.astype(jnp.int32)), 0)

    # --- dealing -----------------------------------------------------------------------------------------------------

    def _sorted_deck(self) -> np.ndarray:
        cards = [8 * color + rank for color in range(self.colors) for rank in range(self.ranks)]
        return np.repeat(np.array(cards, np.uint8), np.tile(self.copies, self.colors))

    def draw(self, deck: Array, deck_key: Array, position: Array, given: Array) -> tuple[Array, Array]:
        """Swap the card to draw into its position, as in `init`.

        Args:
          deck: uint8[deck_size], card bytes.
          deck_key: uint32[2], the bits of the key that decides.
          position: uint8[], how many cards have been drawn.
          given: bool[], whether the deck is to be drawn in its order, without a swap.

        Returns:
          The deck afterwards, uint8[deck_size], and the card drawn, uint8[].
        """
        fold = jax.random.fold_in(jax.random.wrap_key_data(deck_key), position.astype(jnp.uint32))
        bits = jax.random.key_data(fold)[0] >> 8  # 24 bits: the bias of a choice among n is below n / 2**24
        choices = jnp.uint32(self.deck_size) - position.astype(jnp.uint32)
        chosen = position + jnp.where(given, jnp.uint32(0), (bits * choices) >> 24).astype(jnp.uint8)
        places = jnp.arange(self.deck_size, dtype=jnp.uint8)
        at_position, at_chosen = places == position, places == chosen
        old = jnp.max(jnp.where(at_position, deck, 0))
        drawn = jnp.max(jnp.where(at_chosen, deck, 0))
        return jnp.where(at_position, drawn, jnp.where(at_chosen, old, deck)), drawn

    def _deal(self, deck: Array, key: Array, *, given: bool) -> HanabiState:
        deck_key, deck_given = jax.random.key_data(key), jnp.bool_(given)
        first_cards = self.players * self.hand_size

        def draw(position: Array, deck: Array) -> Array:
            return self.draw(deck, deck_key, position.astype(jnp.uint8), deck_given)[0]

        if not given:
            deck = jax.lax.fori_loop(0, first_cards, draw, deck, unroll=True)
        hands = (self.players, self.hand_size)
        nought = jnp.uint8(0)
        return HanabiState(
            deck=deck,
            deck_key=deck_key,
            deck_given=deck_given,
            dealt=jnp.uint8(first_cards),
            cards=deck[:first_cards].reshape(hands),
            color_knowledge=jnp.full(hands, 2**self.colors - 1, jnp.uint8),
            rank_knowledge=jnp.full(hands, 2**self.ranks - 1, jnp.uint8),
            fireworks=jnp.zeros(self.colors, jnp.uint8),
            discards=jnp.zeros((self.colors, self.ranks), jnp.uint8),
            information_tokens=jnp.uint8(self.max_information_tokens),
            life_tokens=jnp.uint8(self.max_life_tokens),
            player=nought,
            turns_left=jnp.uint8(self.players),
            last_player=nought,
            last_action=jnp.uint8(self.noop),
            last_card=jnp.uint8(EMPTY),
            last_touched=nought,
            last_scored=jnp.bool_(False),
            last_token=jnp.bool_(False),
            ended=jnp.bool_(False),
            illegal=jnp.bool_(False),
        )
