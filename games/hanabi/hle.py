"""The bridge to the Hanabi Learning Environment: the same board in HLE, dealt from a given deck.

HLE has no call that injects a deck, but a deal move taken from another state's history can be applied. `HleGame`
collects one deal move of each card and replays any deck with them. HLE is imported here and nowhere else in `games`.
"""

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from games.errors import TacitError
from games.hanabi.board import hle_copies

if TYPE_CHECKING:
    from games.hanabi.rules import Hanabi

_ENDINGS = {1: "last life lost", 2: "deck used up", 3: "fireworks completed"}


class HleState:
    """A game of HLE in progress: its state, the rest of the deck and the score so far."""

    def __init__(self, state: Any, deck: list[int]) -> None:
        self.state = state
        self.deck = deck
        self.score = 0


class HleGame:
    """HLE's game for a board, with Tacit's conventions for seats, action ids and decks.

    Raises:
      TacitError: for a board with other copies than HLE's, and if hanabi-learning-environment is not installed.
    """

    def __init__(self, board: "Hanabi") -> None:
        if not board.has_hle_copies:
            raise TacitError(
                f"the Hanabi Learning Environment has copies {list(hle_copies(board.ranks))} of {board.ranks} rank(s): "
                f"it cannot express a board with copies {list(board.copies)}"
            )
        try:
            from hanabi_learning_environment import pyhanabi
        except ImportError as error:
            raise TacitError(
                "the Hanabi Learning Environment is not installed: CMAKE_POLICY_VERSION_MINIMUM=3.5 pip install "
                "'tacit[verify]'"
            ) from error
        self._pyhanabi = pyhanabi
        self._board = board
        kinds = pyhanabi.AgentObservationType
        kind = kinds.MINIMAL if board.default_observer == "minimal" else kinds.CARD_KNOWLEDGE
        self._game = pyhanabi.HanabiGame(
            {
                "players": board.players,
                "colors": board.colors,
                "ranks": board.ranks,
                "hand_size": board.hand_size,
                "max_information_tokens": board.max_information_tokens,
                "max_life_tokens": board.max_life_tokens,
                "observation_type": kind.value,
            }
        )
        self._encoder = pyhanabi.ObservationEncoder(self._game)
        self._moves = [self._game.get_move(action) for action in range(board.num_actions - 1)]
        self._deals = self._collect_deals()

    def deal(self, deck: np.ndarray) -> HleState:
        """A new game from the deck int[D] of cards `color * ranks + rank`."""
        state = HleState(self._game.new_initial_state(), [int(card) for card in reversed(deck)])
        self._deal_while_chance(state)
        return state

    def observe(self, state: HleState, player: int) -> np.ndarray:
        """bool[observation size]: HLE's canonical encoding for any player."""
        lib, ffi = cast(Any, self._pyhanabi.lib), cast(Any, self._pyhanabi.ffi)
        observation = state.state.observation(player)
        text = lib.EncodeObservation(self._encoder._encoder, observation.observation())
        bits = np.frombuffer(ffi.string(text), np.uint8)[::2] == ord("1")  # "0,1,0,…"
        lib.DeleteString(text)
        return bits

    def legal(self, state: HleState, player: int) -> np.ndarray:
        """bool[num_actions]: HLE's legal moves; only the no-op out of turn and after the end."""
        legal = np.zeros(self._board.num_actions, bool)
        if self.ended(state) or player != self.player(state):
            legal[-1] = True
        else:
            legal[:-1] = [state.state.move_is_legal(move) for move in self._moves]
        return legal

    def apply(self, state: HleState, action: int) -> int:
        """Make a move of the player whose turn it is and deal; the reward, HLE's difference of scores."""
        state.state.apply_move(self._moves[action])
        self._deal_while_chance(state)
        before, state.score = state.score, self.score(state)
        return state.score - before

    def player(self, state: HleState) -> int:
        return state.state.cur_player()

    def ended(self, state: HleState) -> bool:
        return state.state.is_terminal()

    def score(self, state: HleState) -> int:
        return state.state.score()

    def ending(self, state: HleState) -> str:
        return _ENDINGS.get(int(state.state.end_of_game_status()), "not finished")

    def _deal_while_chance(self, state: HleState) -> None:
        while state.state.cur_player() == self._pyhanabi.CHANCE_PLAYER_ID:
            state.state.apply_move(self._deals[state.deck.pop()])

    def _collect_deals(self) -> dict[int, Any]:
        deals: dict[int, Any] = {}
        while len(deals) < self._board.colors * self._board.ranks:
            state = self._game.new_initial_state()
            while state.cur_player() == self._pyhanabi.CHANCE_PLAYER_ID:
                state.deal_random_card()
            for item in state.move_history():
                move = item.move()
                deals[move.color() * self._board.ranks + move.rank()] = move
        return deals
