"""A person's seat in a game of Hanabi with agents: what the person sees, their moves, and the record of the game.

The agents' draws are a function of the game's seed and the step, and the deck of the seed alone, so that a game is its
settings and its actions: it is resumed, and moves are undone, by playing the actions again.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.report import games as format_of_games
from games.errors import TacitError, whole_number
from games.hanabi import Hanabi, render
from games.hanabi.replay import checked_step, full_deck, of_replay, to_replay
from marl.agent import Agent
from marl.crossplay.match import Match
from marl.policies.policy import Array

ANONYMOUS = "agent"
"""What the person reads instead of an agent's name where it is hidden."""
MOST_SEED = 2**31 - 1
"""The greatest seed of a game."""
_COUNTED = ("undone", "asked")
"""What a record counts of a game."""


class Settings(NamedTuple):
    """What a game is, before its first move."""

    person: int
    """The person's seat."""
    seed: int
    """Of the deck and of the agents' draws."""
    greedy: bool
    """The agents take the most probable action, instead of sampling."""
    practice: bool
    """The person may undo moves."""
    asking: bool = True
    """The person may ask what the agent would do, and reads its name."""


class _Turn(NamedTuple):
    """What is known before a move."""

    state: Any
    memories: tuple[Any, ...]
    """Of all seats, once the move was made."""
    log_probs: np.ndarray
    """float32[P, A]: what each policy says; of the person's seat, what the agent there would do."""
    drawn: np.ndarray
    """int32[P]: what each agent does."""
    legal: list[int]
    """The actions of the person, if it is their turn."""


class Seat:
    """One game of a person with agents, step by step.

    Args:
      game: any board.
      agents: one for each seat; that of the person's seat is asked what it would do there.
      settings: seat, seed, play.
      actions: those of an earlier sitting, of the player to move each; an agent's are not drawn again.

    Raises:
      TacitError: if there is no such seat, or an action is illegal, naming its step.
    """

    def __init__(self, game: Hanabi, agents: Sequence[Agent], settings: Settings, actions: Sequence[int] = ()) -> None:
        if not 0 <= settings.person < game.players:
            raise TacitError(f"a game of {game.players} has the seats 0 to {game.players - 1}, not {settings.person}")
        self.game, self.agents, self.settings = game, tuple(agents), settings
        self.undone, self.asked = 0, 0
        self.actions: list[int] = []
        self._match = Match(game, tuple(agent.kind for agent in agents))
        self._params = tuple(_params_of_seat(agent, seat) for seat, agent in enumerate(agents))
        self._key = jax.random.key(settings.seed)
        self.deck = np.asarray(full_deck(game, self._key))
        memories = tuple(agent.kind.policy.initial_memory() for agent in agents)
        self._turns = [self._turn(game.init_from_deck(self.deck), memories)]
        for action in actions:
            self._make(int(action))
        self._until_the_person()

    @classmethod
    def of_record(cls, game: Hanabi, agents: Sequence[Agent], record: Mapping[str, Any]) -> "Seat":
        """The game of a record as it was left; `game` and `agents` are those it was played with.

        Raises:
          TacitError: if the record is not one of `record`, or an action in it is illegal.
        """
        _, deck, actions = of_replay(record)
        seat = cls(game, agents, settings_of(record), actions)
        if deck != seat.deck.tolist():
            raise TacitError(f"the deck of the game is not that of its seed, {seat.settings.seed}")
        seat.undone, seat.asked = (record["tacit"][name] for name in _COUNTED)
        return seat

    @property
    def step(self) -> int:
        """How many moves were made."""
        return len(self.actions)

    @property
    def over(self) -> bool:
        """Whether the game has ended."""
        return bool(self._turns[-1].state.ended)

    @property
    def score(self) -> int:
        """So far."""
        return int(self.game.score(self._turns[-1].state))

    # --- what the person does ----------------------------------------------------------------------------------------

    def move(self, action: Any) -> None:
        """Make the person's move, an id of the game, then the agents' until it is the person's turn again.

        Raises:
          TacitError: if the game is over or the move is not legal now; nothing changes.
        """
        self._check_going_on()
        if type(action) is not int or action not in self._legal():
            raise TacitError(f"the action {action!r} is not legal now")
        self._make(action)
        self._until_the_person()

    def undo(self) -> None:
        """Take back the person's last move, and what the agents did since.

        Raises:
          TacitError: outside practice, and before the first move.
        """
        if not self.settings.practice:
            raise TacitError("moves are undone in practice only")
        own = [number for number in range(self.step) if number % self.game.players == self.settings.person]
        if not own:
            raise TacitError("there is no move to undo")
        del self.actions[own[-1] :], self._turns[own[-1] + 1 :]
        self.undone += 1

    def advice(self) -> list[tuple[int, float]]:
        """What the agent of the person's seat would do here: each legal action with its probability.

        Raises:
          TacitError: where asking is not allowed, and if the game is over.
        """
        if not self.settings.asking:
            raise TacitError("the agent is not asked in this game")
        self._check_going_on()
        self.asked += 1
        said = self._turns[-1].log_probs[self.settings.person]
        return [(action, round(float(np.exp(said[action])), 5)) for action in self._legal()]

    # --- what is told ------------------------------------------------------------------------------------------------

    def view(self) -> dict[str, Any]:
        """What the person may see, as plain JSON: nothing in it depends on cards that are hidden from the person.

        `board`, `seats`, `score_range`, `actions` (names by id) and `state` are as in `experiments.report.games`, with
        None for the person's own cards until the game is over. `legal` are the ids of the person's moves, `moves` the
        moves so far in words.
        """
        person, state = self.settings.person, self._turns[-1].state
        position = format_of_games.position(render.read(state))
        if not self.over:
            position["hands"][person] = [[None, *known] for _, *known in position["hands"][person]]
        return {
            "person": person,
            "step": self.step,
            "over": self.over,
            "practice": self.settings.practice,
            "asking": self.settings.asking,
            "game": self.game.name,
            "board": format_of_games.board(self.game),
            "score_range": [int(limit) for limit in self.game.score_range],
            "seats": self._seats(),
            "actions": format_of_games.action_names(self.game, person),
            "state": position,
            "legal": self._legal(),
            "moves": [render.read(turn.state).last_move for turn in self._turns[1:]],
        }

    def whole_game(self) -> dict[str, Any]:
        """The whole game for the replay viewer, with the policies' probabilities, in the format of reports.

        Raises:
          TacitError: if the game is not over, or is one of a study.
        """
        if not self.over:
            raise TacitError("the whole game is shown when it is over")
        if not self.settings.asking:
            raise TacitError("the games of a study are not shown")
        played = format_of_games.recording(
            self.game,
            jax.tree.map(lambda *leaves: np.stack(leaves), *(turn.state for turn in self._turns)),
            self.actions,
            log_probs=np.stack([turn.log_probs for turn in self._turns[:-1]]),
            greedy=self.settings.greedy,
        )
        return {
            "format": format_of_games.FORMAT,
            "seats": self._seats(),
            "play": "greedy" if self.settings.greedy else "sampled",
            "source": f"the deck of seed {self.settings.seed}",
            "home": "Back to the table",
            **format_of_games.describe(self.game, played),
        }

    def record(self, names: Sequence[str]) -> dict[str, Any]:
        """The game as `games.hanabi.records` reads it, with its settings and the agents' names as `tacit`."""
        replay = to_replay(self.game, self.deck, self.actions)
        settings = {**self.settings._asdict(), "agents": list(names), "undone": self.undone, "asked": self.asked}
        return replay | {"tacit": settings} | ({"score": self.score} if self.over else {})

    # --- steps -------------------------------------------------------------------------------------------------------

    def _seats(self) -> list[dict[str, Any]]:
        labels = [agent.label if self.settings.asking else ANONYMOUS for agent in self.agents]
        seats = [{"agent": seat, "label": label} for seat, label in enumerate(labels)]
        seats[self.settings.person] |= {"label": "you", "policy": labels[self.settings.person]}
        return seats

    def _legal(self) -> list[int]:
        return [] if self.over else self._turns[-1].legal

    def _check_going_on(self) -> None:
        if self.over:
            raise TacitError("the game is over")

    def _until_the_person(self) -> None:
        while not self.over and (player := self.step % self.game.players) != self.settings.person:
            self._make(int(self._turns[-1].drawn[player]))

    def _make(self, action: int) -> None:
        """Make a move of the player whose turn it is."""
        now, player = self._turns[-1], self.step % self.game.players
        state = checked_step(self.game, now.state, player, action, self.step)
        self.actions.append(action)
        self._turns.append(self._turn(state, now.memories))

    def _turn(self, state: Any, memories: tuple[Any, ...]) -> _Turn:
        key = jax.random.fold_in(self._key, len(self.actions))
        greedy = jnp.bool_(self.settings.greedy)
        decided = _decide(self._match, self._params, state, memories, key, greedy)
        after, log_probs, drawn, legal = jax.device_get(decided)
        own = np.flatnonzero(legal[self.settings.person]).tolist()
        return _Turn(jax.device_get(state), after, log_probs, drawn, own)


def settings_of(record: Mapping[str, Any]) -> Settings:
    """The settings in a record of `Seat.record`.

    Raises:
      TacitError: if it has none.
    """
    own = record.get("tacit")
    kinds = Settings.__annotations__ | dict.fromkeys(_COUNTED, int)
    if not isinstance(own, Mapping) or any(type(own.get(name)) is not kind for name, kind in kinds.items()):
        raise TacitError(f'a game that was played here has {", ".join(kinds)} under "tacit"')
    whole_number("the seed of a game", own["seed"], 0, MOST_SEED)
    return Settings(**{name: own[name] for name in Settings._fields})


def _params_of_seat(agent: Agent, seat: int) -> Any:
    return agent.params if agent.kind.share_parameters else jax.tree.map(lambda leaf: leaf[seat], agent.params)


@functools.partial(jax.jit, static_argnums=0)
def _decide(
    match: Match, params: tuple[Any, ...], state: Any, memories: tuple[Any, ...], key: Array, greedy: Array
) -> tuple[tuple[Any, ...], Array, Array, Array]:
    """The memories after this move, float32[P, A] what each policy says, int32[P] draws, bool[P, A] legal actions."""
    players = jnp.arange(match.game.num_players, dtype=jnp.int32)
    decided = match.decide(None, params, state, memories, jax.random.split(key, len(players)), greedy)
    return *decided, jax.vmap(lambda player: match.game.legal(state, player))(players)
