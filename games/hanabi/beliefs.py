"""What a player of Hanabi may believe of its own hand, exactly, by enumerating all hands of a small board.

The probability that player p holds the hand h, given all that p has seen:

    P(h) ∝ Π_s (copies of h_s that p does not see, less those in earlier slots of h) · 1[h fits what hints said]
           · Π over the others' past actions a of π(a | what the other saw if p held h)

The first line is the belief when the others' choices say nothing beyond the rules, that is when they act by the
**grounded** policy: it draws the kind of action (play, discard, hint) by what everybody sees, then a slot of its own
hand, or a card of another hand and whether to name its color or its rank. A hint's probability then grows with the
number of cards that it touches, which everybody sees, too: given the public facts it is the same for all hands that
fit. (A policy that is uniform over legal actions tells more: how many hints are legal depends on the hand.)

The second line is stored as a log-likelihood of each hand, which every action updates (`after_others_action`,
`after_own_action`). It is exact for others without a memory of their own; the caller gives their policy, as a function.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import final

import jax
import jax.numpy as jnp
import numpy as np

from games.errors import TacitError
from games.game import Array, Game
from games.hanabi import literal
from games.hanabi.cards import EMPTY
from games.hanabi.observers import from_seat
from games.hanabi.rules import Hanabi, HanabiState

MOST_HANDS = 4096
"""The most hands of a board that are enumerated: Hanabi-3x3 has 729."""
_IMPOSSIBLE = -1e30
"""The least log-likelihood, of an impossible hand: finite, so that differences of two are finite, too."""


@final
@dataclasses.dataclass(frozen=True)
class HandBelief:
    """Beliefs over the N = kinds^hand_size hands of a board, kinds = colors * ranks; functions of one state.

    A hand is its number: the kinds of its slots as digits, the oldest slot first. An empty slot counts as kind 0.

    Raises:
      TacitError: for a game other than Hanabi, or a board of more than `MOST_HANDS` hands.
    """

    game: Game

    def __post_init__(self) -> None:
        if not isinstance(self.game, Hanabi):
            raise TacitError(f"game {self.game.name} has no belief: exact beliefs are of Hanabi's small boards")
        if self.num_hands > MOST_HANDS:
            raise TacitError(
                f"an exact belief goes through all hands of a board, at most {MOST_HANDS:,}, and this one has "
                f"{self._kinds}^{self._board.hand_size} = {self.num_hands:,}"
            )

    @property
    def num_hands(self) -> int:
        return self._kinds**self._board.hand_size

    def weights(self, state: HanabiState, player: Array) -> Array:
        """float32[N]: the first line of the formula above, not normalised."""
        hands = self._hands
        board = self._board
        filled = self._own(state.cards, player) != EMPTY  # [H]
        possible = literal.possible(board, state, player)  # [H, K]
        left = literal.unseen(board, state, player)[hands] - self._earlier  # [N, H]
        slots = jnp.arange(board.hand_size, dtype=jnp.int32)
        fits = possible[slots[None], hands]
        ways = jnp.where(filled[None], jnp.where(fits, jnp.maximum(left, 0), 0), hands == 0)
        return jnp.prod(ways.astype(jnp.float32), axis=1)

    def resampled(self, state: HanabiState, player: Array, log_likelihood: Array, *, key: Array) -> HanabiState:
        """The state with the player's hand drawn from its belief, and the cards left in the deck in a random order.

        Args:
          state: one state.
          player: int32[], whose belief it is.
          log_likelihood: float32[N] of the others' actions; zeros for the grounded belief.
          key: consumed.
        """
        hand_key, deck_key = jax.random.split(key)
        logits = jnp.log(self.weights(state, player)) + log_likelihood
        hand = jax.random.categorical(hand_key, logits).astype(jnp.int32)
        left = literal.unseen(self._board, state, player)
        held = self._own(state.cards, player) != EMPTY
        mine = jnp.asarray(self._hands)[hand]  # [H]
        kinds = jnp.arange(self._kinds, dtype=jnp.int32)
        left = left - jnp.sum((mine[:, None] == kinds[None]) & held[:, None], axis=0, dtype=jnp.int32)
        # The order does not matter: cards are drawn from random places of the deck, by its key.
        place = jnp.arange(self._board.deck_size, dtype=jnp.int32) - state.dealt.astype(jnp.int32)
        kind = jnp.sum(place[:, None] >= jnp.cumsum(left, dtype=jnp.int32)[None], axis=1, dtype=jnp.int32)
        deck = jnp.where(place >= 0, self._bytes(kind), state.deck)
        state = self.with_hand(state, player, hand)
        return state._replace(
            deck=deck, deck_key=jax.random.key_data(deck_key).astype(jnp.uint32), deck_given=jnp.bool_(False)
        )

    def with_hand(self, state: HanabiState, player: Array, hand: Array) -> HanabiState:
        """The state with another hand of the player int32[], by its number int32[]; empty slots stay empty."""
        mine = self._bytes(jnp.asarray(self._hands)[hand])
        is_own = (jnp.arange(self._board.players, dtype=jnp.int32) == player)[:, None] & (state.cards != EMPTY)
        return state._replace(cards=jnp.where(is_own, mine[None], state.cards))

    def after_others_action(
        self,
        state: HanabiState,
        player: Array,
        log_likelihood: Array,
        log_prob: Callable[[HanabiState], Array],
    ) -> Array:
        """float32[N]: a player's log-likelihoods after another has acted.

        Args:
          state: before the action.
          player: whose belief it is.
          log_likelihood: before the action.
          log_prob: of the action that was taken, in a state.
        """

        def under(hand: Array) -> Array:
            return log_prob(self.with_hand(state, player, hand))

        # The bound is for hands under which the action was impossible: -inf - -inf would be nan later on.
        new = jax.vmap(under)(jnp.arange(self.num_hands, dtype=jnp.int32))
        return jnp.maximum(log_likelihood + new, _IMPOSSIBLE)

    def after_own_action(self, state: HanabiState, player: Array, action: Array, log_likelihood: Array) -> Array:
        """float32[N]: a player's log-likelihoods after an action of its own, taken in `state`.

        A card that leaves the hand is known now; younger ones move down, and nobody has acted on the newest yet.
        """
        size = self._board.hand_size
        took = action < 2 * size
        slot = jnp.where(took, action % size, 0)
        card = self._own(state.cards, player)[slot]
        kind = jnp.minimum((card >> 3) * self._board.ranks + (card & 7), self._kinds - 1).astype(jnp.int32)
        return jnp.where(took, log_likelihood[jnp.asarray(self._before)[slot, kind]], log_likelihood)

    # --- of the board ------------------------------------------------------------------------------------------------

    @property
    def _board(self) -> Hanabi:
        assert isinstance(self.game, Hanabi)
        return self.game

    @property
    def _kinds(self) -> int:
        return self._board.colors * self._board.ranks

    @functools.cached_property
    def _hands(self) -> np.ndarray:
        """int32[N, H]: the kind in each slot."""
        digits = np.indices([self._kinds] * self._board.hand_size)
        return digits.reshape(self._board.hand_size, -1).T.astype(np.int32)

    @functools.cached_property
    def _earlier(self) -> np.ndarray:
        """int32[N, H]: how many of the slots before hold the same kind."""
        hands = self._hands
        same = hands[:, :, None] == hands[:, None, :]
        return np.tril(same, -1).sum(axis=2).astype(np.int32)

    @functools.cached_property
    def _before(self) -> np.ndarray:
        """int32[H, K, N]: the hand from which hand n came when a card of kind k left slot s."""
        size, kinds = self._board.hand_size, self._kinds
        digits = kinds ** np.arange(size)[::-1]
        source = np.zeros((size, kinds, self.num_hands), np.int32)
        for slot in range(size):
            for kind in range(kinds):
                before = np.insert(self._hands[:, :-1], slot, kind, axis=1)
                source[slot, kind] = before @ digits
        return source

    def _own(self, rows: Array, player: Array) -> Array:
        return from_seat(rows, player, self._board.players)[0]

    def _bytes(self, kind: Array) -> Array:
        """uint8: card bytes."""
        return (kind // self._board.ranks * 8 + kind % self._board.ranks).astype(jnp.uint8)
