"""Sample games of a run as plain JSON, for the replay viewer (`static/replay.html`).

A game is a dict of:

    format      1
    kind        "hanabi", or "steps" for every other game
    run, game   the run's name; the game's name and version
    seats       [{"agent": its number in the run, "label"}, …] in the order of the players
    play        "greedy" or "sampled"
    cell, number, seed   the game is number `number` of this cell of the run's cross-play, with this seed
    score, bombed, ending   of the whole game; how it ended, in words
    score_range [least, greatest]
    actions     for each player the names of all actions, by id
    steps       [{"moves": [{"player", "action", "probabilities": [[action, p], …]}, …], "reward"}, …]: what each acting
                player did, and the policy's probabilities of its legal actions (greedy play takes the most probable
                one, ties split evenly); none of a person
    states      one more than steps: before each step, and after the last

Hanabi also has

    board       {"colors": letters, "ranks", "hand_size", "information_tokens", "life_tokens"}
    hanab_live  {"url", "replay"}, or {"refusal": why there is none}
    steps       a move that plays a card also has "failure": the probability that it fails, given the literal content of
                hints (with hands of at most five cards)
    convention_gaps  of each player, in this game: {"plays", "gap": mean of these probabilities minus the share of plays
                that failed, or None without a play}
    states      {"hands": for each player [[card, possible colors, possible ranks, marks], …], oldest first, with marks
                of the letters c and r (color, rank known from a hint) and t (touched by the last move, a hint);
                "fireworks": heights by color, "discards": cards, "information_tokens", "life_tokens", "cards_left",
                "score", "player": to move or None, "turn", "last_move": in words}

and any other game

    states      {"facts": [[name, value], …]}, all as text: for a tabular game its hidden state, and what each player
                observed last.
"""

from collections.abc import Sequence
from typing import Any, TypeGuard

import jax
import numpy as np

from experiments import runs
from experiments.configuration.config import CrossPlayConfig, parse_dataclass
from games.errors import TacitError
from games.game import Game
from games.hanabi import Hanabi, render
from games.hanabi.cards import COLOR_LETTERS
from games.hanabi.literal import MOST_CARDS
from games.hanabi.replay import drawn_deck, hanab_live_url, to_hanab_live
from games.tabular.simulator import Simulator
from marl.crossplay.record import Recording, record_games
from marl.literal import chances

FORMAT = 1


def record(run: runs.Run, pairs: Sequence[tuple[int, ...]], *, games: int, greedy: bool) -> list[dict[str, Any]]:
    """The first games of some seatings of a run's own cross-play, in the format above.

    Args:
      run: a run with a crossplay.json.
      pairs: the agent in each seat, of seatings that the cross-play has.
      games: number of games of each seating.
      greedy: whether to take the greedy cross-play instead of the sampled one.

    Returns:
      All games of the first seating, then of the second, ….

    Raises:
      TacitError: if crossplay.json is missing or damaged or has no such seating, or `games` is not positive.
    """
    play = "greedy" if greedy else "sampled"
    cells = {tuple(seats): cell for cell, seats in enumerate(runs.read_crossplay(run.path)[play].seatings.tolist())}
    settings = runs.read_json(run.path / "crossplay.json").get("settings", {})
    config = parse_dataclass(CrossPlayConfig, "crossplay", settings)
    seatings = [tuple(map(int, seats)) for seats in pairs]
    for seats in seatings:
        if seats not in cells:
            raise TacitError(f"the cross-play of run {run.name} has no seating {seats}")
    if not seatings:
        return []
    numbers = [cells[seats] for seats in seatings]
    recorded = record_games(
        run.game,
        run.agents,
        np.array(seatings),
        games=games,
        greedy=greedy,
        key=jax.random.key(config.seed),
        cells=numbers,
    )
    return [
        {
            "format": FORMAT,
            "run": run.name,
            "seats": [{"agent": agent, "label": run.agents[agent].label} for agent in one.seats],
            "play": play,
            "cell": cell,
            "number": one.number,
            "seed": config.seed,
            **describe(run.game, one),
        }
        for cell, own in zip(numbers, recorded, strict=True)
        for one in own
    ]


def describe(game: Game, one: Recording) -> dict[str, Any]:
    """The part of the format above that does not depend on who played the game."""
    states = [one.state(step) for step in range(one.length + 1)]
    failing = _failing(game, one)
    common = {
        "game": {"name": game.name, "version": game.version},
        "score": round(one.score, 6),
        "score_range": [round(float(limit), 6) for limit in game.score_range],
        "bombed": one.bombed,
        "actions": [action_names(game, player) for player in range(game.num_players)],
        "steps": [_step(one, step, float(failing[step])) for step in range(one.length)],
    }
    if isinstance(game, Hanabi):
        return common | _hanabi(game, one, states, failing)
    named = [{"facts": _facts(game, state)} for state in states]
    return common | {"kind": "steps", "ending": "the game is over", "states": named}


def _step(one: Recording, step: int, failing: float) -> dict[str, Any]:
    """A step; `failing` is the literal chance that its play fails, or nan."""
    moves = []
    for player in np.flatnonzero(one.acting[step]).tolist():
        log_probs = one.log_probs[step, player]
        legal = np.flatnonzero(np.isfinite(log_probs)).tolist()
        moves.append(
            {
                "player": player,
                "action": int(one.actions[step, player]),
                "probabilities": [[action, round(float(np.exp(log_probs[action])), 5)] for action in legal],
                **({"failure": round(failing, 6)} if np.isfinite(failing) else {}),
            }
        )
    return {"moves": moves, "reward": round(float(one.rewards[step]), 6)}


def action_names(game: Game, player: int) -> list[str]:
    """The actions of a player in words, by id."""
    return [_action_name(game, player, action) for action in range(game.num_actions)]


def _action_name(game: Game, player: int, action: int) -> str:
    """An action in words; a hint names its target by the player's number."""
    if isinstance(game, Simulator):
        own = game.problem.actions[player]
        return own[action] if action < len(own) else "no-op"
    name = game.action_name(action)
    if isinstance(game, Hanabi) and (start := name.find("player +")) >= 0:
        return f"{name[:start]}player {(player + int(name[start + 8 :])) % game.num_players}"
    return name


# --- Hanabi ----------------------------------------------------------------------------------------------------------


def _hanabi(game: Hanabi, one: Recording, states: Sequence[Any], failing: np.ndarray) -> dict[str, Any]:
    positions = [render.read(state) for state in states]
    return {
        "kind": "hanabi",
        "ending": positions[-1].turn,
        "board": board(game),
        "hanab_live": _hanab_live(game, one),
        "states": [position(one) for one in positions],
        "convention_gaps": _gaps_of_players(game, one, failing),
    }


def board(game: Hanabi) -> dict[str, Any]:
    """The sizes of a board, in the format above."""
    return {
        "colors": COLOR_LETTERS[: game.colors],
        "ranks": game.ranks,
        "hand_size": game.hand_size,
        "information_tokens": game.max_information_tokens,
        "life_tokens": game.max_life_tokens,
    }


def _has_chances(game: Game) -> TypeGuard[Hanabi]:
    return isinstance(game, Hanabi) and game.hand_size <= MOST_CARDS


def _failing(game: Game, one: Recording) -> np.ndarray:
    """float32[T]: the literal chance that each play fails; nan for other moves, and where it cannot be counted."""
    if not _has_chances(game):
        return np.full(one.length, np.nan, np.float32)
    steps = np.arange(one.length)
    before = jax.tree.map(lambda leaf: leaf[:-1], one.states)
    return chances(game, before, one.actions[steps, steps % game.players])


def _gaps_of_players(game: Hanabi, one: Recording, failing: np.ndarray) -> list[dict[str, Any]] | None:
    if not _has_chances(game):
        return None
    gained = failing - ~one.states.last_scored[1:]
    own = [gained[player :: game.players] for player in range(game.players)]
    plays = [gains[np.isfinite(gains)] for gains in own]
    return [{"plays": len(gains), "gap": round(float(gains.mean()), 6) if len(gains) else None} for gains in plays]


def _hanab_live(game: Hanabi, one: Recording) -> dict[str, Any]:
    steps = np.arange(one.length)
    actions = one.actions[steps, steps % game.players]
    try:
        replay = to_hanab_live(game, drawn_deck(game, one.state(one.length)), actions)
    except TacitError as refusal:
        return {"refusal": str(refusal)}
    return {"url": hanab_live_url(replay), "replay": replay}


def position(read: render.Position) -> dict[str, Any]:
    """One state in the format above."""

    def card(color: int, rank: int) -> str:
        return f"{COLOR_LETTERS[color]}{rank + 1}"

    def held(slot: render.Slot) -> list[str]:
        marks = "c" * slot.color_hinted + "r" * slot.rank_hinted + "t" * slot.touched
        colors = "".join(COLOR_LETTERS[color] for color in slot.colors)
        return [card(slot.color, slot.rank), colors, "".join(str(rank + 1) for rank in slot.ranks), marks]

    return {
        "hands": [[held(slot) for slot in hand] for hand in read.hands],
        "fireworks": read.fireworks,
        "discards": [card(color, rank) for color, rank in read.discards],
        "information_tokens": read.information_tokens,
        "life_tokens": read.life_tokens,
        "cards_left": read.cards_left,
        "score": read.score,
        "player": read.player,
        "turn": read.turn,
        "last_move": read.last_move,
    }


def recording(
    game: Hanabi,
    states: Any,
    actions: Sequence[int] | np.ndarray,
    *,
    log_probs: np.ndarray | None = None,
    greedy: bool = False,
) -> Recording:
    """A game that was not played by `record_games`, for `describe`.

    Args:
      game: its board.
      states: [T + 1, ...] before each move, and after the last; numpy.
      actions: int[T] of the player to move.
      log_probs: float32[T, P, A] what each policy says; None where nobody knows.
      greedy: whether the best actions were played.
    """
    steps, players = np.arange(len(actions)), game.players
    joint = np.full((len(actions), players), game.noop, np.int32)
    joint[steps, steps % players] = actions
    heights = states.fireworks.sum(axis=-1, dtype=np.int32)
    unknown = np.full((len(actions), players, game.num_actions), -np.inf, np.float32)
    return Recording(
        seats=tuple(range(players)),
        number=0,
        states=states,
        acting=joint != game.noop,
        actions=joint,
        log_probs=unknown if log_probs is None else log_probs,
        rewards=np.diff(np.where(states.life_tokens > 0, heights, 0)).astype(np.float32),
        bombed=bool(states.life_tokens[-1] == 0),
        greedy=greedy,
    )


# --- any other game --------------------------------------------------------------------------------------------------


def _facts(game: Game, state: Any) -> list[list[str]]:
    if not isinstance(game, Simulator):
        return []
    problem, step = game.problem, int(state.step)
    facts = [["hidden state", problem.states[int(state.state)]]]
    for agent, name in enumerate(problem.agents):
        seen = int(state.observations[agent, step])
        own = problem.observations[agent]
        facts.append([f"{name} observed", own[seen] if seen < len(own) else "nothing yet"])
    return facts
