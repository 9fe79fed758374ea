"""Decks of games of Hanabi, and one game as a replay of hanab.live, written and read.

The site's format: the deck in drawing order, then each action with the card's place in the deck (a play or discard) or
the hinted player and value. Its colors are red, yellow, green, blue and purple where HLE's fourth and fifth are white
and blue: they correspond by index. Games on boards that the site does not have are written in the same way, with their
sizes as `board`, and among these their copies if they are not HLE's.
"""

import functools
import string
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from games.errors import TacitError
from games.game import Array
from games.hanabi.rules import Hanabi, HanabiState

HANAB_LIVE = "https://hanab.live"

_PLAY, _DISCARD, _HINT_COLOR, _HINT_RANK, _END = range(5)
_BASE_62 = string.ascii_lowercase + string.digits + string.ascii_uppercase
_NO_VARIANT = 0
_SIZES = ("colors", "ranks", "hand_size", "max_information_tokens", "max_life_tokens")
_COPIES = "copies"
_NAME_OF_NO_VARIANT = "No Variant"
_OTHER_RULES = (
    "allOrNothing", "cardCycle", "deckPlays", "detrimentalCharacters", "emptyClues", "oneExtraCard", "oneLessCard",
    "startingPlayer",
)  # fmt: skip
"""Options of the site that change the rules."""


def drawn_deck(game: Hanabi, state: HanabiState) -> np.ndarray:
    """int32[dealt]: the cards `color * ranks + rank` of one state that were drawn so far, in drawing order."""
    codes = np.asarray(state.deck)[: int(state.dealt)].astype(np.int32)
    return (codes >> 3) * game.ranks + (codes & 7)


def full_deck(game: Hanabi, key: Array) -> Array:
    """int32[D]: the whole deck that `game.init(key=key)` deals from, as cards `color * ranks + rank`.

    Whatever is played after `init`, the cards are drawn in this order.
    """
    state = game.init(key=key)

    def draw(position: Array, deck: Array) -> Array:
        return game.draw(deck, state.deck_key, position.astype(jnp.uint8), state.deck_given)[0]

    deck = jax.lax.fori_loop(game.players * game.hand_size, game.deck_size, draw, state.deck).astype(jnp.int32)
    return (deck >> 3) * game.ranks + (deck & 7)


def to_hanab_live(
    game: Hanabi,
    deck: Sequence[int] | Array | np.ndarray,
    actions: Sequence[int] | Array | np.ndarray,
    *,
    names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """One game as hanab.live's replay, ready for `json.dumps`: `to_replay` for the boards that the site has.

    Args:
      game: a board that the site has: 5 colors, 5 ranks, its hand size, 8 information tokens and 3 lives.
      deck: int[cards], as in `to_replay`.
      actions: int[moves], as in `to_replay`.
      names: of the players; "player 0" and so on if not given.

    Raises:
      TacitError: as `to_replay`, and for a board that the site does not have.

    Source: the site's replay format, https://github.com/Hanabi-Live/hanabi-live.
    """
    _check_board(game)
    return to_replay(game, deck, actions, names=names)


def to_replay(
    game: Hanabi,
    deck: Sequence[int] | Array | np.ndarray,
    actions: Sequence[int] | Array | np.ndarray,
    *,
    names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """One game in hanab.live's format, ready for `json.dumps`; with the sizes of a board that the site does not have.

    Args:
      game: any board.
      deck: int[cards], the cards `color * ranks + rank` in drawing order, at least those that the game draws; the rest
        is filled up in order, since the site asks for all.
      actions: int[moves], the actions played, in order; each is of the player whose turn it is. The game need not be
        finished.
      names: of the players; "player 0" and so on if not given.

    Raises:
      TacitError: for a deck that is none of this board's, and an illegal action, naming its step.
    """
    names = [f"player {player}" for player in range(game.players)] if names is None else list(names)
    if len(names) != game.players or len(set(names)) != game.players:
        raise TacitError(f"a replay of {game.players} players needs {game.players} different names, not {names}")
    given = [int(card) for card in np.asarray(deck).tolist()]
    full = _filled_up(game, given)

    state = game.init_from_deck(np.array(full, np.int32))
    hands = [list(range(p * game.hand_size, (p + 1) * game.hand_size)) for p in range(game.players)]  # deck indices
    drawn = game.players * game.hand_size
    if len(given) < drawn:
        raise TacitError(f"the deal draws {drawn} cards, and the deck given has only {len(given)}")
    replay_actions = []
    for step, action in enumerate(np.asarray(actions, int).tolist()):
        player = step % game.players
        state = checked_step(game, state, player, action, step)
        if action < game.first_color_hint:
            plays, slot = divmod(action, game.hand_size)
            index = hands[player].pop(slot)
            replay_actions.append({"type": _PLAY if plays else _DISCARD, "target": index})
            if drawn < game.deck_size:
                hands[player].append(drawn)
                drawn += 1
                if drawn > len(given):
                    raise TacitError(
                        f"step {step}: the game draws card number {drawn}, and the deck given has only {len(given)}"
                    )
        elif action < game.first_rank_hint:
            offset, color = divmod(action - game.first_color_hint, game.colors)
            target = (player + 1 + offset) % game.players
            replay_actions.append({"type": _HINT_COLOR, "target": target, "value": color})
        else:
            offset, rank = divmod(action - game.first_rank_hint, game.ranks)
            target = (player + 1 + offset) % game.players
            replay_actions.append({"type": _HINT_RANK, "target": target, "value": rank + 1})
    cards = [{"suitIndex": card // game.ranks, "rank": card % game.ranks + 1} for card in full]
    replay = {"players": names, "deck": cards, "actions": replay_actions, "options": {"variant": _NAME_OF_NO_VARIANT}}
    sizes = _sizes(game)
    return replay if sizes == _sizes(_of_site(game.players)) else replay | {"board": sizes}


def of_replay(replay: Any) -> tuple[Hanabi, list[int], list[int]]:
    """The board of a replay in hanab.live's format, its deck, and the actions played: the inverse of `to_replay`.

    What else the site exports, such as names, notes and times, is left out. Whether the actions are legal is not
    checked, except that a card has to be in the hand of who plays or discards it.

    Returns:
      The game; the cards `color * ranks + rank` in drawing order; the actions' ids, each of the player to move. They
      stop where a player ended the game.

    Raises:
      TacitError: for what is no replay, and for games of other rules.
    """
    if not isinstance(replay, Mapping):
        raise TacitError(
            f"a replay of hanab.live is an object with players, deck and actions, not of type {type(replay).__name__}"
        )
    for name in ("players", "deck", "actions"):
        if not isinstance(replay.get(name), list):
            raise TacitError(f"a replay of hanab.live has a list of {name}, and this one has none")
    _check_options(replay.get("options") or {})
    players = len(replay["players"])
    if not 2 <= players <= 5:
        raise TacitError(f"a replay of {players} players cannot be read, only of 2 to 5")
    game = _board(replay.get("board"), players)
    hand_size = game.hand_size
    deck = [_card(game, card, place) for place, card in enumerate(replay["deck"])]
    if len(deck) != game.deck_size:
        raise TacitError(f"the deck has {len(deck)} cards, and {game.deck_size} are expected")
    hands = [list(range(p * hand_size, (p + 1) * hand_size)) for p in range(players)]  # deck indices
    drawn = players * hand_size
    actions = []
    for step, action in enumerate(replay["actions"]):
        kind, target, value = (_whole(action, name, step) for name in ("type", "target", "value"))
        player = step % players
        if kind == _END:
            break
        if kind in (_PLAY, _DISCARD):
            if target not in hands[player]:
                raise TacitError(f"step {step}: player {player} does not hold card {target} of the deck")
            slot = hands[player].index(target)
            hands[player].pop(slot)
            actions.append(slot + (hand_size if kind == _PLAY else 0))
            if drawn < game.deck_size:
                hands[player].append(drawn)
                drawn += 1
        elif kind in (_HINT_COLOR, _HINT_RANK):
            index = value - (kind == _HINT_RANK)
            values = game.colors if kind == _HINT_COLOR else game.ranks
            if not (0 <= target < players and target != player and 0 <= index < values):
                raise TacitError(f"step {step}: there is no hint of type {kind}, value {value}, to player {target}")
            first = game.first_color_hint if kind == _HINT_COLOR else game.first_rank_hint
            actions.append(first + ((target - player) % players - 1) * values + index)
        else:
            raise TacitError(f"step {step}: type {kind} is none of an action, which are 0 to {_END}")
    return game, deck, actions


def hanab_live_url(replay: Mapping[str, Any]) -> str:
    """The address at which hanab.live shows a replay, which it holds in full.

    Three parts with commas between them, and a hyphen after every 20 characters. The deck: the number of players, the
    least and the greatest rank, and a digit (to base 62) for each card, `suit * ranks + rank - least`. The actions: the
    least and the greatest type, and two digits for each action, `(value + 1) * types + type - least`, where the value
    of a play or discard is -1, then the target. The variant's number. The names of the players are not in it.

    Args:
      replay: of `to_hanab_live`.

    Source: the site's replay format, https://github.com/Hanabi-Live/hanabi-live.
    """
    ranks = [card["rank"] for card in replay["deck"]]
    types = [action["type"] for action in replay["actions"]] or [0]
    all_ranks, all_types = (max(values) - min(values) + 1 for values in (ranks, types))
    deck = "".join(_BASE_62[card["suitIndex"] * all_ranks + card["rank"] - min(ranks)] for card in replay["deck"])
    actions = "".join(
        _BASE_62[(action.get("value", -1) + 1) * all_types + action["type"] - min(types)] + _BASE_62[action["target"]]
        for action in replay["actions"]
    )
    players = len(replay["players"])
    code = f"{players}{min(ranks)}{max(ranks)}{deck},{min(types)}{max(types)}{actions},{_NO_VARIANT}"
    hyphened = "-".join(code[first : first + 20] for first in range(0, len(code), 20))
    return f"{HANAB_LIVE}/replay-json/{hyphened}"


def _of_site(players: int) -> Hanabi:
    return Hanabi(players=players, hand_size=5 if players < 4 else 4)


def _sizes(game: Hanabi) -> dict[str, Any]:
    """The sizes in which boards differ, as JSON data; copies only if they are not HLE's."""
    sizes = {name: getattr(game, name) for name in _SIZES}
    return sizes if game.has_hle_copies else sizes | {_COPIES: list(game.copies)}


def _board(sizes: Any, players: int) -> Hanabi:
    """The board of these sizes, or the site's."""
    if sizes is None:
        return _of_site(players)
    if not isinstance(sizes, Mapping) or set(sizes) - {_COPIES} != set(_SIZES):
        raise TacitError(f"the board of a replay is an object with {', '.join(_SIZES)}, and perhaps {_COPIES}")
    return Hanabi(players=players, **sizes)


def _check_options(options: Any) -> None:
    if not isinstance(options, Mapping):
        raise TacitError(f"the options of a replay are an object, not of type {type(options).__name__}")
    for name in ("variant", "variantName"):
        if (variant := options.get(name, _NAME_OF_NO_VARIANT)) != _NAME_OF_NO_VARIANT:
            raise TacitError(f"the variant {variant!r} has other rules: only {_NAME_OF_NO_VARIANT!r} is read")
    if changed := [name for name in _OTHER_RULES if options.get(name)]:
        raise TacitError(f"the option {changed[0]} changes the rules, so that the game cannot be read")


def _card(game: Hanabi, card: Any, place: int) -> int:
    color, rank = (_whole(card, name, place, "card") for name in ("suitIndex", "rank"))
    if not (0 <= color < game.colors and 1 <= rank <= game.ranks):
        raise TacitError(f"card {place}: there is none of suit {color} and rank {rank}")
    return color * game.ranks + rank - 1


def _whole(item: Any, name: str, place: int, what: str = "step") -> int:
    """A whole number of an action or a card; 0 where an action has no value, as plays and discards."""
    value = item.get(name, 0 if name == "value" else None) if isinstance(item, Mapping) else None
    if not isinstance(value, int) or isinstance(value, bool):
        raise TacitError(f"{what} {place}: {name} is to be a whole number, not {value!r}")
    return value


def _check_board(game: Hanabi) -> None:
    if (game.colors, game.ranks) != (5, 5):
        raise TacitError(
            f"hanab.live plays with 50 cards: only boards of 5 colors x 5 ranks can be exported, not "
            f"{game.colors} x {game.ranks}"
        )
    if not game.has_hle_copies:
        raise TacitError(
            f"hanab.live plays with other copies: a game with copies {list(game.copies)} cannot be exported"
        )
    own = _sizes(game)
    for name, value in _sizes(_of_site(game.players)).items():
        if own[name] != value:
            raise TacitError(
                f"hanab.live plays {game.players} players with {name} {value}: a game with {name} {own[name]} cannot "
                "be exported"
            )


def _filled_up(game: Hanabi, deck: list[int]) -> list[int]:
    rest = [card for card in range(game.colors * game.ranks) for _ in range(game.copies[card % game.ranks])]
    for place, card in enumerate(deck):
        if card not in rest:
            raise TacitError(f"card {card} at place {place} of the deck is none of this board's, or one too many")
        rest.remove(card)
    return deck + rest


def checked_step(game: Hanabi, state: HanabiState, player: int, action: int, step: int) -> HanabiState:
    """The state after the action of the player to move, at a step with this number.

    Raises:
      TacitError: if the action is illegal or the game is over, naming the step.
    """
    if bool(state.ended):
        raise TacitError(f"step {step}: the game was over before action {action}")
    actions = np.full(game.players, game.noop, np.int32)
    actions[player] = action
    after = _step(game, state, actions)
    if bool(after.illegal):
        try:
            game.checked_step(state, actions, key=jax.random.key(0))
        except TacitError as error:
            raise TacitError(f"step {step}: {error}") from None
    return after


@functools.partial(jax.jit, static_argnums=0)
def _step(game: Hanabi, state: HanabiState, actions: Array) -> HanabiState:
    return game.step(state, actions, key=jax.random.key(0))[0]
