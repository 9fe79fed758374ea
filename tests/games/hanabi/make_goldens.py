"""Make goldens/*.json: games of Hanabi as HLE plays them, for the test that replays them without HLE.

    .venv/bin/python tests/games/hanabi/make_goldens.py

A file holds one board and games of it, each given by its deck and its actions (never by a random key), with the rewards
and, at some steps, each player's observation (bits in hex), the legal actions of the player to move, and the belief
about each card. A belief is the card's weights, one digit a kind of card: the copies that the public has not seen, or 0
where the public knowledge rules the kind out. It is computed here from HLE's public knowledge, in numpy; HLE's minimal
observation hides what hints said, so the boards that use it have none.
"""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from games.hanabi import Hanabi, make
from games.hanabi.hle import HleGame, HleState

FOLDER = Path(__file__).parent / "goldens"
ENDINGS = ("last life lost", "deck used up", "fireworks completed")
BOARDS: dict[str, Hanabi] = {
    **{f"Hanabi-Full-{players}": make("Hanabi-Full", players=players) for players in (2, 3, 4, 5)},
    "Hanabi-Full-Minimal-2": make("Hanabi-Full-Minimal", players=2),
    "Hanabi-Full-Minimal-4": make("Hanabi-Full-Minimal", players=4),
    "Hanabi-Small-2": make("Hanabi-Small", players=2),
    "Hanabi-Very-Small-2": make("Hanabi-Very-Small", players=2),
    "Hanabi-Very-Small-5": make("Hanabi-Very-Small", players=5),  # the deal uses the deck up
    "one-rank": Hanabi(players=3, colors=4, ranks=1, hand_size=3, max_information_tokens=3, max_life_tokens=2),
    "two-by-five": Hanabi(players=3, colors=2, ranks=5, hand_size=3, max_information_tokens=4, max_life_tokens=3),
}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, board in BOARDS.items():
        rng = np.random.default_rng(0)
        reference = HleGame(board)
        found: dict[str, dict] = {}
        telling: set[str] = set()  # endings found with points, or with points that were lost
        for attempt in range(3000):
            deck = rng.permutation(
                np.repeat(np.arange(board.colors * board.ranks), np.tile(board.copies, board.colors))
            )
            choose = (random_player, hoarder, expert)[attempt % 3]
            game = play(board, reference, deck, choose, rng)
            ending = game["ending"]
            tells = any(game["rewards"])
            if ending not in found or (tells and ending not in telling):
                found[ending] = game
            if tells:
                telling.add(ending)
            if len(telling) == len(ENDINGS):
                break
        document = {
            "source": "hanabi-learning-environment 0.0.4 through tests/games/hanabi/make_goldens.py",
            "board": {key: value for key, value in dataclasses.asdict(board).items() if key != "copies"},
            "games": [found[ending] for ending in ENDINGS if ending in found],
        }
        path = FOLDER / f"{name}.json"
        path.write_text(json.dumps(document, separators=(",", ":")).replace('{"', '\n{"') + "\n")
        endings = ", ".join(f"{game['ending']} {game['score']}" for game in document["games"])
        print(f"{name}: {endings}: {path.stat().st_size} bytes")


def play(
    board: Hanabi, reference: HleGame, deck: np.ndarray, choose: Callable[..., int], rng: np.random.Generator
) -> dict:
    state = reference.deal(deck)
    actions: list[int] = []
    rewards: list[int] = []
    snapshots = [snapshot(board, reference, state)]
    while not reference.ended(state):
        action = choose(board, reference, state, rng)
        rewards.append(reference.apply(state, action))
        actions.append(action)
        snapshots.append(snapshot(board, reference, state))
    length = len(actions)
    kept = sorted({0, 1, length // 3, 2 * length // 3, length - 1, length})
    return {
        "ending": reference.ending(state),
        "score": reference.score(state),
        "deck": deck.tolist(),
        "actions": actions,
        "rewards": rewards,
        "snapshots": [{"step": step} | snapshots[step] for step in kept],
    }


def snapshot(board: Hanabi, reference: HleGame, state: HleState) -> dict:
    ended = reference.ended(state)
    return {
        "player": None if ended else reference.player(state),
        "legal": [] if ended else np.flatnonzero(reference.legal(state, reference.player(state))).tolist(),
        "observations": [
            np.packbits(reference.observe(state, player)).tobytes().hex() for player in range(board.players)
        ],
        "beliefs": beliefs(board, state) if board.default_observer == "hle" else None,
    }


def beliefs(board: Hanabi, state: HleState) -> list[str]:
    """For each player the weights of each card in the hand, one after the other; an empty slot weighs nothing."""
    unseen = np.tile(np.array(board.copies), (board.colors, 1))
    for card in state.state.discard_pile():
        unseen[card.color(), card.rank()] -= 1
    for color, height in enumerate(state.state.fireworks()):
        unseen[color, :height] -= 1
    hands = []
    # The knowledge in an observation is public: any player's shows it, counted from that player. It lives as long as
    # the observation does.
    observation = state.state.observation(0)
    for knowledge in observation.card_knowledge():
        weights = np.zeros((board.hand_size, board.colors, board.ranks), int)
        for slot, card in enumerate(knowledge):
            for color in range(board.colors):
                for rank in range(board.ranks):
                    if card.color_plausible(color) and card.rank_plausible(rank):
                        weights[slot, color, rank] = unseen[color, rank]
        hands.append("".join(map(str, weights.reshape(-1).tolist())))
    return hands


# --- players, who see everything -------------------------------------------------------------------------------------


def random_player(board: Hanabi, reference: HleGame, state: HleState, rng: np.random.Generator) -> int:
    return int(rng.choice(np.flatnonzero(reference.legal(state, reference.player(state)))))


def hoarder(board: Hanabi, reference: HleGame, state: HleState, rng: np.random.Generator) -> int:
    """Never loses a life and rarely plays: such games end with the deck."""
    legal = np.flatnonzero(reference.legal(state, reference.player(state)))
    fits = [board.hand_size + slot for slot in fitting(state, reference.player(state))]
    harmless = [action for action in legal if action < board.hand_size or action >= 2 * board.hand_size]
    harmless += fits if rng.random() < 0.3 or not harmless else []
    return int(rng.choice(harmless or legal))


def expert(board: Hanabi, reference: HleGame, state: HleState, rng: np.random.Generator) -> int:
    """Plays what fits, discards what nobody needs any more, then hints, then discards what there is another copy of."""
    player = reference.player(state)
    legal = np.flatnonzero(reference.legal(state, player))
    fits = fitting(state, player)
    if fits:
        return board.hand_size + fits[0]
    fireworks, hand = state.state.fireworks(), state.state.player_hands()[player]
    gone = {(card.color(), card.rank()): 0 for card in state.state.discard_pile()}
    for card in state.state.discard_pile():
        gone[card.color(), card.rank()] += 1
    spare = {
        slot: board.copies[card.rank()] - gone.get((card.color(), card.rank()), 0) for slot, card in enumerate(hand)
    }
    useless = [slot for slot, card in enumerate(hand) if card.rank() < fireworks[card.color()]]
    discards = [slot for slot in useless if slot in legal]
    hints = [int(action) for action in legal if action >= 2 * board.hand_size]
    if discards:
        return discards[0]
    if hints:
        return int(rng.choice(hints))
    return max((slot for slot in spare if slot in legal), key=lambda slot: spare[slot])


def fitting(state: HleState, player: int) -> list[int]:
    fireworks = state.state.fireworks()
    return [
        slot for slot, card in enumerate(state.state.player_hands()[player]) if card.rank() == fireworks[card.color()]
    ]


if __name__ == "__main__":
    main()
