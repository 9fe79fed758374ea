"""Record games of cross-play, step by step: the same games that `crossplay` counts."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from games.errors import TacitError, whole_number
from games.game import Game
from marl.agent import Agent, check_fits
from marl.crossplay.evaluate import checked_seatings, chunks, played_illegally
from marl.crossplay.match import Match, Step
from marl.policies.policy import Array


class Recording(NamedTuple):
    """One game of T steps; P players, A actions. Numpy arrays."""

    seats: tuple[int, ...]  # the agent in each seat
    number: int  # of the game in its cell
    states: Any  # [T + 1, ...] before each step, and after the last
    acting: np.ndarray  # bool[T, P]
    actions: np.ndarray  # int32[T, P]; the no-op of who is not acting
    log_probs: np.ndarray  # float32[T, P, A] what each policy says, -inf where illegal; padding unless `acting`
    rewards: np.ndarray  # float32[T]
    bombed: bool  # the game lost the whole score in a disaster
    greedy: bool  # the best action was played, ties split evenly, instead of sampling

    @property
    def length(self) -> int:
        """Steps."""
        return len(self.rewards)

    @property
    def score(self) -> float:
        """The sum of the rewards."""
        return float(self.rewards.sum(dtype=np.float64))

    def state(self, step: int) -> Any:
        """The state before a step, or after the last one."""
        return jax.tree.map(lambda leaf: leaf[step], self.states)


def record_games(
    game: Game,
    agents: Sequence[Agent],
    seatings: np.ndarray,
    *,
    games: int,
    greedy: bool,
    key: Array,
    cells: Sequence[int] | None = None,
    max_lanes: int = 1024,
) -> list[list[Recording]]:
    """Play the first `games` games of some cells of a cross-play again, and keep every step.

    Decks and draws depend on the key, the cell and the game's number alone, so these are the games that `crossplay`
    counted for the same key. (Where a batch of another size rounds a network's output differently, a draw that lies
    within the rounding could fall the other way.)

    Args:
      game: the game.
      agents: of any kinds, numbered as in the cross-play.
      seatings: int[C, num_players] the agent in each seat.
      games: of each cell.
      greedy: as in the cross-play.
      key: as in the cross-play.
      cells: which cells of the cross-play these are, their places in its seatings; None for the first C.
      max_lanes: games in one compiled call.

    Returns:
      For each cell its games.

    Raises:
      TacitError: if `games` is not positive; if there is not one cell for each seating; if the seatings name no such
        agents; if an agent does not fit the game (`check_fits`); if a policy plays an illegal action.
    """
    whole_number("games", games, 1)
    seated = checked_seatings(seatings, len(agents), game.num_players)
    numbers = np.arange(len(seated)) if cells is None else np.asarray(cells)
    if numbers.shape != (len(seated),):
        raise TacitError(f"{len(seated)} seatings are {len(seated)} cells of a cross-play, not {cells}")
    for agent in agents:
        check_fits(agent, game)
    deck_key, draw_key = jax.random.split(key)
    recorded: list[list[Recording]] = [[] for _ in seated]
    for chunk in chunks(agents, seated, max_cells=max_lanes // games):
        match = Match(game, chunk.kinds)
        cell_numbers = jnp.asarray(numbers[chunk.cells], jnp.uint32)
        played = jax.device_get(
            _play(match, chunk.stacks, chunk.rows, cell_numbers, deck_key, draw_key, jnp.bool_(greedy), games=games)
        )
        for row, cell in enumerate(chunk.cells[: chunk.filled].tolist()):
            for number in range(games):
                steps, last, bombed = jax.tree.map(lambda leaf, at=(row, number): leaf[at], played)
                if last.illegal:
                    raise played_illegally(agents, seated[cell])
                length = int((~steps.state.ended).sum())
                recorded[cell].append(
                    Recording(
                        seats=tuple(seated[cell].tolist()),
                        number=number,
                        states=jax.tree.map(
                            lambda leaf, end, n=length: np.append(leaf[:n], end[None], 0), steps.state, last
                        ),
                        acting=steps.acting[:length],
                        actions=steps.actions[:length],
                        log_probs=steps.log_probs[:length],
                        rewards=steps.reward[:length],
                        bombed=bool(bombed),
                        greedy=greedy,
                    )
                )
    return recorded


@functools.partial(jax.jit, static_argnames=("match", "games"))
def _play(
    match: Match,
    stacks: tuple[Any, ...],
    rows: tuple[Array, ...],
    cells: Array,
    deck_key: Array,
    draw_key: Array,
    greedy: Array,
    *,
    games: int,
) -> tuple[Step, Any, Array]:
    """The first games of every cell of `cells` [C], for `match.rounds` rounds each; leaves [C, games, ...].

    Returns:
      The steps [T], the last state, and bool[] whether the game ended in a disaster.
    """
    game = match.game

    def one_game(seated: tuple[Any, ...], cell: Array, number: Array) -> tuple[Step, Any, Array]:
        state, memories, key = match.start(deck_key, draw_key, cell, number)

        def one_round(carry: tuple[Any, Any], round_: Array) -> tuple[tuple[Any, Any], Step]:
            state, memories, steps = match.play_round(seated, *carry, key, round_, greedy)
            return (state, memories), jax.tree.map(lambda *leaves: jnp.stack(leaves), *steps)

        (last, _), steps = jax.lax.scan(one_round, (state, memories), jnp.arange(match.rounds, dtype=jnp.int32))
        steps = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), steps)
        return steps, last, game.bombed(last)

    over_games = jax.vmap(one_game, in_axes=(None, None, 0))
    numbers = jnp.arange(games, dtype=jnp.uint32)
    return jax.vmap(over_games, in_axes=(0, 0, None))(match.parameters(stacks, rows), cells, numbers)
