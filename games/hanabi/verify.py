"""The proof that this Hanabi is HLE's: the same decks and actions in both, everything compared at every step.

Random boards for 2 to 5 players are played by three kinds of scripted teams, so that games end in all three ways: at
random, carefully (never losing a life where that can be helped), and by cheating experts (who see their own cards and
play what fits).
"""

import dataclasses
import functools
from collections import Counter
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from games.errors import TacitError
from games.game import Array
from games.hanabi.hle import HleGame
from games.hanabi.rules import Hanabi, HanabiState

ENDINGS = ("last life lost", "fireworks completed", "deck used up")
_GAMES_PER_CALL = 48


@dataclasses.dataclass
class Report:
    """What was compared, and what differed."""

    steps: int = 0
    games: int = 0
    boards: int = 0
    players: Counter[int] = dataclasses.field(default_factory=Counter)
    """Games for each number of players."""
    endings: Counter[str] = dataclasses.field(default_factory=Counter)
    """Games for each of `ENDINGS`."""
    differences: list[str] = dataclasses.field(default_factory=list)

    def __str__(self) -> str:
        seats = ", ".join(f"{count} with {players} players" for players, count in sorted(self.players.items()))
        ends = ", ".join(f"{self.endings[ending]} {ending}" for ending in ENDINGS)
        lines = [
            f"{self.steps} steps of {self.games} games on {self.boards} boards compared with HLE: "
            f"{len(self.differences)} differences",
            f"  games: {seats}",
            f"  endings: {ends}",
        ]
        return "\n".join(lines + [f"  {difference}" for difference in self.differences[:10]])


def verify(*, steps: int, seed: int, on_progress: Callable[[Report], None] | None = None) -> Report:
    """Compare at least `steps` steps with HLE.

    Every player's observation, the legal moves, reward, end and score are compared at every step.

    Args:
      steps: how many steps to compare at the least; a step compares all players.
      seed: draws boards, decks and actions.
      on_progress: called after each board.

    Raises:
      TacitError: if `steps` is not positive.
    """
    if steps < 1:
        raise TacitError(f"--steps must be at least 1, not {steps}")
    rng = np.random.default_rng(seed)
    report = Report()
    boards = [Hanabi(players=2), *(_random_board(rng, players) for players in (5, 4, 3, 2))]
    per_board = max(-(-steps // 12), 1_000)  # to compile a board takes as long as to compare thousands of steps
    while report.steps < steps:
        board = boards.pop(0) if boards else _random_board(rng, int(rng.integers(2, 6)))
        compare_board(board, rng=rng, steps=min(per_board, steps - report.steps), report=report)
        if on_progress is not None:
            on_progress(report)
    return report


def compare_board(board: Hanabi, *, rng: np.random.Generator, steps: int, report: Report) -> None:
    """Compare at least `steps` steps on one board and add them to `report`."""
    reference = HleGame(board)
    report.boards += 1
    goal = report.steps + steps
    cards = np.repeat(np.arange(board.colors * board.ranks), np.tile(board.copies, board.colors))
    while report.steps < goal:
        decks = rng.permuted(np.tile(cards, (_GAMES_PER_CALL, 1)), axis=1)
        key = jax.random.key(int(rng.integers(2**31)))
        record = jax.device_get(_play(board, jnp.asarray(decks, jnp.int32), key))
        for game in range(_GAMES_PER_CALL):
            _compare_game(board, reference, decks[game], {name: x[game] for name, x in record.items()}, report)
            if report.steps >= goal:
                return


def _random_board(rng: np.random.Generator, players: int) -> Hanabi:
    while True:
        try:
            return Hanabi(
                players=players,
                colors=int(rng.integers(1, 6)),
                ranks=int(rng.integers(1, 6)),
                hand_size=int(rng.integers(1, 7)),
                max_information_tokens=int(rng.integers(0, 9)),
                max_life_tokens=int(rng.integers(1, 4)),
                default_observer=str(rng.choice(["hle", "hle", "hle", "minimal"])),
            )
        except TacitError:
            continue  # too few cards for the hands


@functools.partial(jax.jit, static_argnums=0)
def _play(board: Hanabi, decks: Array, key: Array) -> dict[str, Array]:
    """Play each deck to the end and record what is compared, [games, horizon + 1, ...], at each step."""
    players = jnp.arange(board.players, dtype=jnp.int32)

    def game(deck: Array, key: Array, team: Array) -> dict[str, Array]:
        def step(state: HanabiState, key: Array) -> tuple[HanabiState, dict[str, Array]]:
            legal = jax.vmap(board.legal, (None, 0))(state, players)
            logits = jnp.where(legal[state.player], _preference(board, state, team), -jnp.inf)
            action = jax.random.categorical(key, logits).astype(jnp.int32)
            actions = jnp.where(players == state.player, action, board.noop)
            after, reward, done = board.step(state, actions, key=key)
            seen = jax.vmap(board.observe, (None, 0, None))(state, players, board.default_observer)
            return after, {
                "observations": seen,
                "legal": legal,
                "player": state.player,
                "action": action,
                "reward": reward,
                "done": done,
                "score": board.score(after),
                "illegal": after.illegal & ~state.ended,
            }

        return jax.lax.scan(step, board.init_from_deck(deck), jax.random.split(key, board.horizon + 1))[1]

    games = decks.shape[0]
    return jax.vmap(game)(decks, jax.random.split(key, games), jnp.arange(games, dtype=jnp.int32) % 3)


def _preference(board: Hanabi, state: HanabiState, team: Array) -> Array:
    """float32[num_actions]: logits of the scripted teams 0 random, 1 careful, 2 expert."""
    hand = state.cards[state.player]
    color, rank = jnp.minimum(hand >> 3, board.colors - 1), hand & 7
    fits = (state.fireworks[color] == rank) & (hand != 255)
    careful = jnp.where(fits, 0.0, -20.0)
    expert = jnp.where(fits, 10.0, -20.0)
    plays = jnp.where(team == 0, 0.0, jnp.where(team == 1, careful, expert))
    logits = jnp.zeros(board.num_actions, jnp.float32)
    return logits.at[board.hand_size : 2 * board.hand_size].set(plays.astype(jnp.float32))


def _compare_game(
    board: Hanabi, reference: HleGame, deck: np.ndarray, record: dict[str, np.ndarray], report: Report
) -> None:
    layout = board.observer(board.default_observer).layout
    state = reference.deal(deck)

    def differ(step: int, what: str) -> None:
        report.differences.append(f"{board}, game {report.games}, step {step}: {what}")

    for step in range(board.horizon + 1):
        for player in range(board.players):
            expected, found = reference.observe(state, player), record["observations"][step, player]
            if not np.array_equal(expected, found):
                sections = [s.name for s in layout.sections if (expected != found)[s.start : s.stop].any()]
                differ(step, f"player {player} sees other bits in {', '.join(sections)}")
            legal = reference.legal(state, player)
            if not np.array_equal(legal, record["legal"][step, player]):
                differ(step, f"player {player} has other legal moves: HLE {legal.nonzero()[0].tolist()}")
        if reference.ended(state):
            break
        if reference.player(state) != record["player"][step]:
            differ(step, f"HLE's player to move is {reference.player(state)}")
            break
        reward = reference.apply(state, int(record["action"][step]))
        report.steps += 1
        for name, value in [("reward", reward), ("done", reference.ended(state)), ("score", reference.score(state))]:
            if record[name][step] != value:
                differ(step, f"{name} is {record[name][step]} where HLE has {value}")
        if record["illegal"][step]:
            differ(step, "a legal action was flagged as illegal")
    else:
        differ(board.horizon, "the game is longer than its horizon")
    report.games += 1
    report.players[board.players] += 1
    report.endings[reference.ending(state)] += 1
