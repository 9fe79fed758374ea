"""Games of Hanabi that were played elsewhere: read from files, checked, and replayed by the rules.

Two formats are read. Names of people are never kept.

**AH2AC2** (safetensors; Dizdarević et al. 2025, the Ad-Hoc Human-AI Coordination Challenge): N games of the full board
with equally many players. `decks` int32[N, 50, 2] are color and rank in drawing order, `actions` int32[N, T, P] ids as
ours with the no-op for whoever is not to move, `num_actions` and `scores` int32[N], `num_players` int32[].

**hanab.live** (JSON): one game as `games.hanabi.replay.to_replay` writes it, or a list of such games on one board.
HanabiData's games come in this format, with a `score`.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from games.errors import TacitError
from games.game import Array
from games.hanabi import make
from games.hanabi.replay import checked_step, of_replay
from games.hanabi.rules import Hanabi, HanabiState

_MOST = 2**31 - 1


class Refused(NamedTuple):
    """A game that cannot be read, or breaks the rules."""

    game: int  # its number in the file, from 0
    reason: str  # with the step, from 0


class RecordedGames(NamedTuple):
    """N games of one board, of at most T moves. Numpy arrays."""

    game: Hanabi
    decks: np.ndarray  # int32[N, D] the cards `color * ranks + rank` in drawing order
    actions: np.ndarray  # int32[N, T] of the player to move; the no-op after the last move
    lengths: np.ndarray  # int32[N] moves
    scores: np.ndarray  # int32[N] as the file says; -1 where it does not
    unreadable: tuple[Refused, ...]  # games without moves here, since what the file says of them makes no sense


class Replayed(NamedTuple):
    """The outcomes of N recorded games. Numpy arrays; what they say of refused games means nothing."""

    scores: np.ndarray  # int32[N]
    ended: np.ndarray  # bool[N] the rules ended the game, and not the players
    refused: list[Refused]  # those that could not be read among them

    def legal(self) -> np.ndarray:
        """bool[N]: the games that are not refused."""
        legal = np.ones(len(self.scores), bool)
        legal[[one.game for one in self.refused]] = False
        return legal


def read(path: Path) -> RecordedGames:
    """The games of a file, whose format is told by its suffix: .safetensors for AH2AC2, .json for hanab.live.

    Raises:
      TacitError: for a file that cannot be read, or that is not of its format; naming it.
    """
    if path.suffix not in (".safetensors", ".json"):
        raise TacitError(f"{path} is no file of recorded games: expected .safetensors (AH2AC2) or .json (hanab.live)")
    try:
        content = path.read_bytes()
        if path.suffix == ".json":
            return of_replays(json.loads(content))
        return of_ah2ac2(load(content))
    except TacitError as error:
        raise TacitError(f"{path}: {error}") from error
    except OSError as error:
        raise TacitError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError, KeyError, SafetensorError) as error:
        # A JSONDecodeError is a ValueError; a KeyError is safetensors' for a kind of number that numpy does not have.
        raise TacitError(f"{path} cannot be read: {error}") from error


def of_ah2ac2(arrays: Mapping[str, np.ndarray]) -> RecordedGames:
    """The games of an AH2AC2 file's arrays, by name: int32[N, 50, 2], int32[N, T, P], … as in the module's docstring.

    Raises:
      TacitError: naming an array that is missing or has another shape, and values that are out of range.
    """
    shapes = {"decks": 3, "actions": 3, "num_actions": 1, "scores": 1, "num_players": 0}
    for name, axes in shapes.items():
        if name not in arrays:
            raise TacitError(f"there is no array {name}: AH2AC2's files have {', '.join(shapes)}")
        if arrays[name].ndim != axes:
            raise TacitError(f"the array {name} has the shape {arrays[name].shape}, and {axes} axes are expected")
        if arrays[name].dtype.kind not in "iu" or (np.abs(arrays[name].astype(np.int64)) > _MOST).any():
            raise TacitError(f"the array {name}, {arrays[name].dtype}, is expected to have whole numbers of 32 bits")
    decks, actions, lengths, scores = (
        arrays[name].astype(np.int32) for name in ("decks", "actions", "num_actions", "scores")
    )
    game = make(players=int(arrays["num_players"]))
    count, most = len(decks), actions.shape[1]
    if not count:
        raise TacitError("there is no game in it")
    expected = {
        "decks": (count, game.deck_size, 2),
        "actions": (count, most, game.players),
        "num_actions": (count,),
        "scores": (count,),
    }
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            raise TacitError(f"the array {name} has the shape {arrays[name].shape}, and {shape} is expected")
    if lengths.min() < 0 or lengths.max() > most:
        raise TacitError(f"num_actions are to be 0 to {most}, as many as there are actions")
    turns = np.arange(most)
    mover = turns[:, None] % game.players == np.arange(game.players)[None]
    out_of_turn = ((actions != game.noop) & ~mover[None]).any(-1) & (turns[None] < lengths[:, None])  # [N, T]
    no_card: np.ndarray = np.any((decks < 0) | (decks >= [game.colors, game.ranks]), axis=-1)  # bool[N, D]
    reasons = {}
    for number in range(count):
        place = int(no_card[number].argmax())
        if no_card[number, place]:
            card = decks[number, place].tolist()
            reasons[number] = f"card {place} of its deck is none: color and rank {card}, from 0"
        elif out_of_turn[number].any():
            reasons[number] = f"step {out_of_turn[number].argmax()}: a player acts out of turn"
    unreadable = tuple(Refused(number, reason) for number, reason in reasons.items())
    lengths[list(reasons)] = 0
    moves = np.where(turns[None] < lengths[:, None], actions[:, turns, turns % game.players], game.noop)
    return RecordedGames(game, decks[..., 0] * game.ranks + decks[..., 1], moves, lengths, scores, unreadable)


def of_replays(replays: Any) -> RecordedGames:
    """The games of one replay of hanab.live, or of a list of them.

    Raises:
      TacitError: for what is no replay, and for games with different numbers of players.
    """
    given: Sequence[Any] = replays if isinstance(replays, list) else [replays]
    if not given:
        raise TacitError("there is no game in it")
    found, unreadable = [], []
    for number, replay in enumerate(given):
        try:
            found.append(of_replay(replay))
        except TacitError as error:
            if not isinstance(replays, list):
                raise
            unreadable.append(Refused(number, str(error)))
            found.append(None)
    games = [one[0] for one in found if one is not None]
    if not games:
        raise TacitError(f"none of its {len(given)} games can be read; the first: {unreadable[0].reason}")
    if other := next((game for game in games if game != games[0]), None):
        raise TacitError(f"games on different boards: {games[0]} and {other}; a file has games on one board")
    game, nothing = games[0], (games[0], np.zeros(games[0].deck_size, int), [])
    decks, played = zip(*((one or nothing)[1:] for one in found), strict=True)
    lengths = np.array([len(actions) for actions in played], np.int32)
    moves = np.full((len(found), max(1, lengths.max())), game.noop, np.int32)
    for row, actions in zip(moves, played, strict=True):
        row[: len(actions)] = actions
    told = [one.get("score") if isinstance(one, Mapping) else None for one in given]
    possible = range(int(game.score_range[1]) + 1)
    scores = np.array([score if type(score) is int and score in possible else -1 for score in told], np.int32)
    return RecordedGames(game, np.array(decks, np.int32), moves, lengths, scores, tuple(unreadable))


def replay(recorded: RecordedGames) -> Replayed:
    """Play recorded games by the rules; a game that breaks them is refused, with the step and the reason."""
    game = recorded.game
    refused = list(recorded.unreadable)
    sound = np.ones(len(recorded.decks), bool)
    sound[[one.game for one in refused]] = False
    every = np.sort(np.repeat(np.arange(game.colors * game.ranks), np.tile(game.copies, game.colors)))
    for number, deck in enumerate(recorded.decks):
        if sound[number] and (np.sort(deck) != every).any():
            refused.append(Refused(number, f"its deck is no order of the {game.deck_size} cards"))
            sound[number] = False
    decks, lengths = np.where(sound[:, None], recorded.decks, every[None]), np.where(sound, recorded.lengths, 0)
    states, legal_moves = jax.device_get(_replay(game, decks, recorded.actions, lengths))
    for number in np.flatnonzero(legal_moves < lengths).tolist():
        before = jax.tree.map(lambda leaf, number=number: jnp.asarray(leaf[number]), states)
        refused.append(Refused(number, _reason(recorded, number, int(legal_moves[number]), before)))
    scores = np.where(states.life_tokens > 0, states.fireworks.sum(-1, dtype=np.int32), 0)
    return Replayed(scores, states.ended, sorted(refused))


def states(recorded: RecordedGames, number: int) -> HanabiState:
    """The states [length + 1, ...] of one recorded game that breaks no rule: before each move, and after the last."""
    length = int(recorded.lengths[number])
    last, before = _states(recorded.game, recorded.decks[number], recorded.actions[number])
    whole = jax.tree.map(lambda leaf, end: jnp.concatenate([leaf, end[None]]), before, last)
    return jax.tree.map(lambda leaf: leaf[: length + 1], whole)


@functools.partial(jax.jit, static_argnums=0)
def _states(game: Hanabi, deck: Array, actions: Array) -> tuple[HanabiState, HanabiState]:
    """The last state, and those before each of T actions; no-ops at the end change nothing."""

    def turn(state: HanabiState, action: Array) -> tuple[HanabiState, HanabiState]:
        return game.step(state, actions_of_all(game, state, action), key=jax.random.key(0))[0], state

    return jax.lax.scan(turn, game.init_from_deck(deck), actions)


@functools.partial(jax.jit, static_argnums=0)
def _replay(game: Hanabi, decks: Array, actions: Array, lengths: Array) -> tuple[HanabiState, Array]:
    """The state of each game after its last legal move, and how many these are: int32[N]."""

    def one(deck: Array, actions: Array, length: Array) -> tuple[HanabiState, Array]:
        def turn(carry: tuple[HanabiState, Array], action: Array) -> tuple[tuple[HanabiState, Array], None]:
            state, turns = carry
            after, _, _ = game.step(state, actions_of_all(game, state, action), key=jax.random.key(0))
            legal = (turns < length) & ~state.ended & ~after.illegal & (action >= 0) & (action < game.noop)
            going_on = legal & ~state.illegal
            state = jax.tree.map(lambda new, old: jnp.where(going_on, new, old), after, state)
            # A move against the rules stops the counting, too.
            state = state._replace(illegal=state.illegal | ~legal)
            return (state, turns + going_on.astype(jnp.int32)), None

        (state, turns), _ = jax.lax.scan(turn, (game.init_from_deck(deck), jnp.int32(0)), actions)
        return state, turns

    return jax.vmap(one)(decks, actions, lengths)


def actions_of_all(game: Hanabi, state: HanabiState, action: Array) -> Array:
    """int32[P]: the actions of all players, `action` int32[] being that of the player to move."""
    players = jnp.arange(game.players, dtype=jnp.int32)
    return jnp.where(players == state.player, action, game.noop).astype(jnp.int32)


def _reason(recorded: RecordedGames, number: int, step: int, before: HanabiState) -> str:
    """Why a game's move is against the rules, in the state before it."""
    state = before._replace(illegal=jnp.bool_(False))
    try:
        checked_step(recorded.game, state, step % recorded.game.players, int(recorded.actions[number, step]), step)
    except TacitError as error:
        return str(error)
    raise AssertionError(f"game {number} breaks no rule at step {step}")
