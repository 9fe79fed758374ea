"""The rules that rule-based players of Hanabi are lists of.

A rule is a function of a `View` to float32[num_actions]: how likely each action is, up to a factor, if the rule
applies, and all 0 if it does not. Rules ignore legality: illegal actions are masked afterwards, and a rule without a
legal action does not apply.

The names in brackets are those of the Hanabi framework by Walton-Rivers et al. ("Evaluating and modelling
Hanabi-playing agents", 2017, arXiv:1704.07069), in which the competitions of 2018 and 2019 were run. Its order of
players and cards is kept: the next player first, and in a hand slot by slot. Slots are in order of age here, so the
first card is the oldest; there a new card takes the slot of the old one. No rule tells colors apart: where the
framework goes through the colors in their order, ties are split evenly.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from marl.partners.view import View
from marl.policies.policy import Array

Rule = Callable[[View], Array]

_ROUNDING = 1e-6


# --- playing and discarding ------------------------------------------------------------------------------------------


def play_identified(view: View) -> Array:
    """Play a playable card whose color and rank are both known from hints [PlayIfCertain]."""
    known = view.knows_color[0] & view.knows_rank[0]
    return _moves(view, play=_first(known & jnp.any(view.possible[0] & view.playable[None], axis=(1, 2))))


def play_certain(view: View) -> Array:
    """Play a card that is playable whichever it is, by hints and all cards seen [PlaySafeCard]."""
    return _moves(view, play=_first(view.play_chance >= 1 - _ROUNDING))


@functools.cache
def play_likeliest(threshold: float) -> Rule:
    """Play the card that is most likely playable, if that is at least `threshold` likely [PlayProbablySafeCard]."""
    return lambda view: _moves(view, play=_likeliest(view, view.play_chance, threshold))


def discard_useless(view: View) -> Array:
    """Discard a card that hints show to be useless [OsawaDiscard].

    Its pile is finished; its rank is on all piles; it is identified and useless; or its color is known, and whichever
    card it is by all cards seen, it is blocked. (Counting everything would find a few more: `discard_likeliest(1.0)`.)
    """
    could, knows_color, knows_rank = view.possible[0], view.knows_color[0], view.knows_rank[0]

    def among(kinds: Array, could: Array = could) -> Array:
        return jnp.any(could, axis=(1, 2)) & jnp.all(~could | kinds[None], axis=(1, 2))

    seen_to_be = among(view.blocked, could & view.unseen[None])
    useless = knows_color & (among(_finished(view)) | seen_to_be) | knows_rank & among(_on_all_piles(view))
    return _moves(view, discard=_first(useless | knows_color & knows_rank & among(view.useless)))


@functools.cache
def discard_likeliest(threshold: float) -> Rule:
    """Discard the card most likely useless, if that is at least `threshold` likely [DiscardProbablyUselessCard]."""
    return lambda view: _moves(view, discard=_likeliest(view, view.useless_chance, threshold))


def discard_oldest(view: View) -> Array:
    """Discard the card held longest [DiscardOldestFirst]."""
    return _moves(view, discard=_first(_held(view)))


def discard_randomly(view: View) -> Array:
    """Discard any card [DiscardRandomly]."""
    return _moves(view, discard=_held(view))


# --- hints -----------------------------------------------------------------------------------------------------------


def tell_playable(view: View) -> Array:
    """Name the rank, or else the color, of a playable card whose owner does not know both.

    The first such card of the next player who has one [TellAnyoneAboutUsefulCard].
    """
    return _tell_missing(view, _first(_shows(view, view.playable) & _incomplete(view)), rank_first=True)


def tell_next_playable(view: View) -> Array:
    """`tell_playable`, to the next player only [TellPlayableCardOuter]."""
    cards = _shows(view, view.playable) & _incomplete(view) & _next_only(view)
    return _tell_missing(view, _first(cards), rank_first=True)


def tell_next_playable_randomly(view: View) -> Array:
    """Name rank or color, at random, of the next player's first playable card [TellPlayableCard]."""
    card = _first(_shows(view, view.playable) & _next_only(view))
    return _tell(view, color=card, rank=card)


def tell_next_unknown(view: View) -> Array:
    """Name the color, or else the rank, of the first card that the next player does not know [TellUnknown]."""
    return _tell_missing(view, _first(_incomplete(view) & _next_only(view)), rank_first=False)


def tell_dispensable(view: View) -> Array:
    """Give the hint that shows somebody that a card can be discarded [TellDispensable].

    For the first such card: the color, if its pile is finished; the rank, if it is on all piles; or, if the card is on
    its pile already, the one of both that its owner does not know.
    """
    knows_color, knows_rank = view.knows_color[1:], view.knows_rank[1:]
    on_pile = _shows(view, view.useless & ~view.blocked) & (knows_color ^ knows_rank)
    by_color = _shows(view, _finished(view)) & ~knows_color
    by_rank = _shows(view, _on_all_piles(view)) & ~knows_rank & ~by_color
    open_color = on_pile & knows_rank & ~by_rank
    open_rank = on_pile & knows_color & ~by_color
    card = _first(by_color | by_rank | on_pile)
    return _tell(view, color=card & (by_color | open_color), rank=card & (by_rank | open_rank))


def tell_most(view: View) -> Array:
    """The hint that tells something new about the most cards [TellMostInformation].

    Ties go to the next player, then to ranks, the lowest first; equal colors split evenly.
    """
    color = jnp.sum(_of_color(view) & ~view.knows_color[1:, :, None], axis=1)  # [P-1, C]
    rank = jnp.sum(_of_rank(view) & ~view.knows_rank[1:, :, None], axis=1)  # [P-1, R]
    most = jnp.maximum(jnp.max(color), jnp.max(rank))
    best_color, best_rank = (color == most) & (most > 0), (rank == most) & (most > 0)
    player = _first(jnp.any(best_color, axis=1) | jnp.any(best_rank, axis=1))[:, None]
    rank_hint = _first(best_rank & player)
    return _moves(view, color=best_color & player & ~jnp.any(rank_hint), rank=rank_hint)


def tell_randomly(view: View) -> Array:
    """Name color or rank of a random card of the next player [TellRandomly]."""
    cards = jnp.any(view.cards, axis=(2, 3)) & _next_only(view)
    return _tell(view, color=cards, rank=cards)


# --- conditions ------------------------------------------------------------------------------------------------------


@functools.cache
def when(condition: Callable[[View], Array], rule: Rule) -> Rule:
    """`rule` where the condition, bool[], holds [IfRule]."""
    return lambda view: jnp.where(condition(view), rule(view), 0.0)


def life_to_spare(view: View) -> Array:
    """bool[]: more than one life is left."""
    return view.lives > 1


def last_round(view: View) -> Array:
    """bool[]: more than one life is left, and no card to draw."""
    return (view.lives > 1) & (view.deck == 0)


def short_of_tokens(view: View) -> Array:
    """bool[]: fewer than four information tokens."""
    return view.information < 4


# --- HLE's simple agent ----------------------------------------------------------------------------------------------


def play_told(view: View) -> Array:
    """Play the first card of which a hint named anything."""
    return _moves(view, play=_first(view.told[0] & _held(view)))


def tell_color_of_playable(view: View) -> Array:
    """Name the color of the first playable card whose color no hint has named yet."""
    return _tell(view, color=_first(_shows(view, view.playable) & ~view.told_color[1:]))


def play_oldest(view: View) -> Array:
    """Play the card held longest."""
    return _moves(view, play=_first(_held(view)))


# --- the focus convention --------------------------------------------------------------------------------------------
#
# A hint to the next player speaks about the newest card it touches, its focus: "play it", if by all that hints then say
# it could be playable. Hints to others, and hints whose focus cannot be playable, have their literal meaning only.


def play_asked(view: View) -> Array:
    """Play the focus of the hint just given to this player, if it could be playable."""
    focus = _last(view.touched)
    return _moves(view, play=focus & (view.play_chance > 0))


def ask(view: View) -> Array:
    """Hint at a playable card of the next player, who does not know that it is playable.

    Of several such hints, the one with the most newly touched useful cards less twice the touched useless ones; ties
    are split evenly.
    """
    read = _read(view)
    new = read.touched & ~view.told[1][None]
    useful, useless = _shows(view, ~view.useless)[0], _shows(view, view.useless)[0]
    worth = jnp.sum(new & useful[None], axis=1, dtype=jnp.int32) - 2 * jnp.sum(
        read.touched & useless[None], axis=1, dtype=jnp.int32
    )
    known = jnp.all(~view.possible[1] | ~view.out[None] | view.playable[None], axis=(1, 2))  # [H]
    asks = read.asks & read.true & ~jnp.any(read.focus & known[None], axis=1)
    best = jnp.max(jnp.where(asks, worth, -(2**20)))
    return _to_next(view, asks & (worth == best))


def save(view: View) -> Array:
    """Touch the card that the next player would discard, if it is the last of its kind that is needed."""
    read = _read(view)
    chop = _first(~view.told[1] & jnp.any(view.cards[0], axis=(1, 2)))
    saved = jnp.any(read.touched & (chop & _shows(view, view.critical)[0])[None], axis=1)
    return _to_next(view, saved & (~read.asks | read.true))


def inform(view: View) -> Array:
    """Any hint to the next player that does not ask for a card that is not playable."""
    read = _read(view)
    return _to_next(view, jnp.any(read.touched, axis=1) & (~read.asks | read.true))


def discard_untold(view: View) -> Array:
    """Discard the oldest card that no hint has touched."""
    return _moves(view, discard=_first(~view.told[0] & _held(view)))


class _Reading(NamedTuple):
    """How the next player would read each hint, the V = C + R hints in the order of their ids."""

    touched: Array  # bool[V, H]
    focus: Array  # bool[V, H] the newest card touched
    asks: Array  # bool[V] the focus could be playable by what hints then say
    true: Array  # bool[V] the focus is playable


def _read(view: View) -> _Reading:
    touched = jnp.concatenate([_of_color(view)[0].T, _of_rank(view)[0].T])
    colors, ranks = view.playable.shape
    kinds = jnp.concatenate(
        [
            jnp.broadcast_to(jnp.eye(colors, dtype=jnp.bool_)[:, :, None], (colors, colors, ranks)),
            jnp.broadcast_to(jnp.eye(ranks, dtype=jnp.bool_)[:, None, :], (ranks, colors, ranks)),
        ]
    )  # [V, C, R] the cards that a hint touches
    focus = _last(touched)
    could = view.possible[1] & (view.playable & view.out)[None]  # [H, C, R]
    asks = jnp.any(focus[:, :, None, None] & kinds[:, None] & could[None], axis=(1, 2, 3))
    return _Reading(touched, focus, asks, jnp.any(focus & _shows(view, view.playable)[0][None], axis=1))


def _to_next(view: View, hints: Array) -> Array:
    """Hints bool[V] to the next player."""
    others, _, colors, ranks = view.cards.shape
    color = jnp.zeros((others, colors), jnp.bool_).at[0].set(hints[:colors])
    return _moves(view, color=color, rank=jnp.zeros((others, ranks), jnp.bool_).at[0].set(hints[colors:]))


# --- what rules are made of ------------------------------------------------------------------------------------------


def _moves(
    view: View,
    *,
    discard: Array | None = None,
    play: Array | None = None,
    color: Array | None = None,
    rank: Array | None = None,
) -> Array:
    """float32[num_actions] of weights for discards [H], plays [H], color hints [P-1, C] and rank hints [P-1, R]."""
    others, slots, colors, ranks = view.cards.shape
    given = [(discard, slots), (play, slots), (color, others * colors), (rank, others * ranks), (None, 1)]
    return jnp.concatenate(
        [
            jnp.zeros(size, jnp.float32) if part is None else part.reshape(size).astype(jnp.float32)
            for part, size in given
        ]
    )


def _tell(view: View, *, color: Array | None = None, rank: Array | None = None) -> Array:
    """Hints that name the color of the cards `color` or the rank of the cards `rank`, bool[P-1, H], once for each."""
    return _moves(
        view,
        color=None if color is None else jnp.sum(_of_color(view) & color[:, :, None], axis=1),
        rank=None if rank is None else jnp.sum(_of_rank(view) & rank[:, :, None], axis=1),
    )


def _tell_missing(view: View, card: Array, *, rank_first: bool) -> Array:
    """The hint about `card`, bool[P-1, H], that its owner lacks; if both, the rank (`rank_first`) or the color."""
    knows_color, knows_rank = view.knows_color[1:], view.knows_rank[1:]
    if rank_first:
        return _tell(view, color=card & knows_rank & ~knows_color, rank=card & ~knows_rank)
    return _tell(view, color=card & ~knows_color, rank=card & knows_color & ~knows_rank)


def _held(view: View) -> Array:
    """bool[H]: the own slots that hold a card."""
    return jnp.any(view.possible[0], axis=(1, 2))


def _shows(view: View, kinds: Array) -> Array:
    """bool[P-1, H]: the others' cards that are among `kinds`, bool[C, R]."""
    return jnp.any(view.cards & kinds[None, None], axis=(2, 3))


def _of_color(view: View) -> Array:
    """bool[P-1, H, C]: the others' cards by color."""
    return jnp.any(view.cards, axis=3)


def _of_rank(view: View) -> Array:
    """bool[P-1, H, R]: the others' cards by rank."""
    return jnp.any(view.cards, axis=2)


def _incomplete(view: View) -> Array:
    """bool[P-1, H]: the others' cards of which the owner does not know both color and rank."""
    return jnp.any(view.cards, axis=(2, 3)) & ~(view.knows_color[1:] & view.knows_rank[1:])


def _next_only(view: View) -> Array:
    """bool[P-1, 1]: True for the next player."""
    return (jnp.arange(view.cards.shape[0], dtype=jnp.int32) == 0)[:, None]


def _finished(view: View) -> Array:
    """bool[C, R]: cards of finished piles."""
    colors, ranks = view.playable.shape
    return jnp.broadcast_to((view.height == ranks)[:, None], (colors, ranks))


def _on_all_piles(view: View) -> Array:
    """bool[C, R]: cards of ranks that are on all piles."""
    colors, ranks = view.playable.shape
    return jnp.broadcast_to((jnp.arange(ranks, dtype=jnp.int32) < jnp.min(view.height))[None], (colors, ranks))


def _likeliest(view: View, chance: Array, threshold: float) -> Array:
    """bool[H]: the held card of the greatest chance, if that is at least `threshold`.

    Of equals the one in the last slot, as in the framework; here that is the newest card.
    """
    chance = jnp.where(_held(view), chance, -1.0)
    return _last((chance == jnp.max(chance)) & (chance >= threshold - _ROUNDING))


def _first(mask: Array) -> Array:
    """A mask of the first True only, in C order."""
    number = jnp.arange(mask.size, dtype=jnp.int32).reshape(mask.shape)
    return number == jnp.min(jnp.where(mask, number, mask.size))


def _last(mask: Array) -> Array:
    """A mask of the last True only, along the last axis."""
    number = jnp.broadcast_to(jnp.arange(mask.shape[-1], dtype=jnp.int32), mask.shape)
    return number == jnp.max(jnp.where(mask, number, -1), axis=-1, keepdims=True)
