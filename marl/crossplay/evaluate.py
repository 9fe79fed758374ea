"""Cross-play: let independently trained agents play with each other.

A seating says which agent sits in each seat; a cell is one seating with its games. All cells play the same decks. A
**visitor** says what is kept of a game: how it ended (`crossplay`), or what its steps show of the agents. Agents of one
kind (same policy, observer and sharing) are stacked and played in one vmapped program, compiled once for each
combination of kinds; chunks of fixed size keep memory bounded whatever the number of agents and games. Several devices
each play cells of their own, without communication.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from games.errors import TacitError, whole_number
from games.game import Game
from marl.agent import Agent, Kind, check_fits
from marl.crossplay.cells import CrossPlay, Seating, seatings
from marl.crossplay.match import Match, Step
from marl.devices import fetch, place
from marl.policies.policy import Array

_WEIGHT_BYTES = 1 << 29
"""The most memory that the weights of one compiled call take on a device."""
_CELLS = "cells"


class Visitor(Protocol):
    """What is kept of a game of cross-play, step by step; hashable, pure functions of arrays.

    Its **tally** is what it carries from step to step.
    """

    def start(self, match: Match, *, key: Array) -> Any:
        """The tally before the first step."""
        ...

    def visit(
        self, match: Match, seated: tuple[Any, ...], tally: Any, step: Step, *, turn: int | None, greedy: Array
    ) -> Any:
        """The tally after a step, also of a game that is over; the rest as in `Match.play_round`."""
        ...

    def result(self, match: Match, tally: Any, state: Any) -> Any:
        """What is kept of the tally after the last step, which led to `state`."""
        ...


class Visited(NamedTuple):
    """Results of some games of some cells."""

    cells: np.ndarray  # int[n]
    games: slice
    results: Any  # of the visitor, [n, games, ...] in every leaf; numpy arrays


def visit_cells(
    game: Game,
    agents: Sequence[Agent],
    cells: np.ndarray,
    visitor: Visitor,
    *,
    games: int,
    greedy: bool,
    key: Array,
    max_lanes: int = 8192,
    devices: Sequence[Any] | None = None,
) -> Iterator[Visited]:
    """Play the games of a cross-play, each followed by the visitor; arguments as in `crossplay`.

    Args:
      cells: int[C, num_players], the agent in each seat.
      visitor: what is kept of each game.

    Raises:
      TacitError: if `games` is not positive; if an agent does not fit the game (`check_fits`); if a policy plays
        an illegal action.
    """
    whole_number("games", games, 1)
    for agent in agents:
        check_fits(agent, game)
    mesh = None if devices is None else Mesh(np.array(devices), (_CELLS,))
    deck_key, draw_key, best = _replicate((*jax.random.split(key), np.asarray(greedy)), mesh)
    games_per_call = min(games, max_lanes)
    for chunk in chunks(agents, cells, max_cells=max_lanes // games_per_call, mesh=mesh):
        for first in range(0, games, games_per_call):
            # The last call is padded with games beyond `games`, so that every call has the same shape.
            numbers = np.arange(first, first + games_per_call, dtype=np.uint32)
            outcome = _play(
                game, chunk.kinds, mesh, visitor, chunk.stacks, chunk.rows, _shard(chunk.cells.astype(np.uint32), mesh),
                _replicate(numbers, mesh), deck_key, draw_key, best,
            )  # fmt: skip
            meant = np.s_[: chunk.filled, : min(games_per_call, games - first)]
            results, illegal = jax.tree.map(lambda leaf, meant=meant: leaf[meant], fetch(outcome))
            rows = chunk.cells[: chunk.filled]
            if illegal.any():
                raise played_illegally(agents, cells[rows[illegal.any(axis=1).argmax()]])
            yield Visited(rows, slice(first, first + illegal.shape[1]), results)


def crossplay(
    game: Game,
    agents: Sequence[Agent],
    *,
    games: int,
    greedy: bool,
    key: Array,
    seating: Seating | np.ndarray = "all",
    max_seatings: int = 200,
    max_lanes: int = 8192,
    devices: Sequence[Any] | None = None,
) -> CrossPlay:
    """Play `games` games in every cell.

    Args:
      game: the game.
      agents: of any kinds.
      games: games a cell; the same decks in all cells.
      greedy: play the best action, ties split evenly (`greedify`), instead of sampling from the policy; agents whose
        draws are their play (`Kind.always_sampled`) sample all the same.
      key: decides decks and draws.
      seating: a kind of `seatings`, or the cells themselves, int[C, num_players].
      max_seatings: see `seatings`.
      max_lanes: games in one compiled call, on each device.
      devices: `jax.Device`s over which the cells are spread, of all processes where there are several; None for the
        default device alone.

    Raises:
      TacitError: as `seatings`; if `games` is not positive; if `seating` names no such agents; if an agent does not
        fit the game (`check_fits`); if a policy plays an illegal action.
    """
    if games < 1:
        raise TacitError(f"crossplay.games must be at least 1, not {games}")
    if isinstance(seating, str):
        cells = seatings(len(agents), game.num_players, seating, max_seatings=max_seatings)
    else:
        cells = checked_seatings(seating, len(agents), game.num_players)
    scores = np.zeros((len(cells), games), np.float32)
    bombed, length = np.zeros((2, len(cells)), np.int64)
    for some in visit_cells(
        game, agents, cells, _Outcomes(), games=games, greedy=greedy, key=key, max_lanes=max_lanes, devices=devices
    ):
        scores[some.cells, some.games] = some.results.score
        bombed[some.cells] += some.results.bombed.sum(axis=1)
        length[some.cells] += some.results.length.sum(axis=1)
    spread = scores.std(axis=1, ddof=1, dtype=np.float64) if games > 1 else np.full(len(cells), np.nan)
    return CrossPlay(
        labels=tuple(agent.label for agent in agents),
        seatings=cells,
        mean=scores.mean(axis=1, dtype=np.float64),
        standard_error=spread / np.sqrt(games),
        games=np.full(len(cells), games),
        bombed=bombed,
        length=length / games,
        scores=scores,
    )


class _Outcome(NamedTuple):
    """How one game ended."""

    score: Array  # float32[]
    length: Array  # int32[] steps
    bombed: Array  # bool[]


@dataclasses.dataclass(frozen=True)
class _Outcomes:
    """The visitor that keeps how each game ended."""

    def start(self, match: Match, *, key: Array) -> _Outcome:
        del match, key
        return _Outcome(jnp.float32(0), jnp.int32(0), jnp.bool_(False))

    def visit(
        self, match: Match, seated: tuple[Any, ...], tally: _Outcome, step: Step, *, turn: int | None, greedy: Array
    ) -> _Outcome:
        del match, seated, turn, greedy
        going_on = (~step.state.ended).astype(jnp.int32)
        return tally._replace(score=tally.score + step.reward, length=tally.length + going_on)

    def result(self, match: Match, tally: _Outcome, state: Any) -> _Outcome:
        return tally._replace(bombed=match.game.bombed(state))


def checked_seatings(cells: Any, num_agents: int, num_players: int) -> np.ndarray:
    """int[C, num_players]: seatings given by a caller.

    Raises:
      TacitError: if they name no such agents.
    """
    seated = np.asarray(cells, np.int32)
    if seated.ndim != 2 or seated.shape[1] != num_players or not ((seated >= 0) & (seated < num_agents)).all():
        raise TacitError(f"seatings are rows of {num_players} numbers of agents, 0 to {num_agents - 1}, not {cells}")
    return seated


def played_illegally(agents: Sequence[Agent], seats: Sequence[int] | np.ndarray) -> TacitError:
    """The error for a seating, int[num_players] numbers of agents, in which an illegal action was played."""
    return TacitError(f"an agent of the seating {[agents[a].label for a in seats]} played an illegal action")


class Chunk(NamedTuple):
    """Cells for one compiled call: n of them; after the first `filled` comes padding."""

    kinds: tuple[Kind, ...]  # in each seat
    stacks: tuple[Any, ...]  # for each seat the parameters of all agents of its kind
    rows: tuple[Array, ...]  # for each seat int32[n] the row in its stack
    cells: np.ndarray  # int[n] indices of the cells
    filled: int


def chunks(agents: Sequence[Agent], cells: np.ndarray, *, max_cells: int, mesh: Mesh | None = None) -> Iterator[Chunk]:
    """The cells [C, P] in parts of one combination of kinds each, all parts of a combination of one size.

    A part has at most `max_cells` cells for each device, and no more than `_WEIGHT_BYTES` of weights there.
    """
    count = 1 if mesh is None else mesh.size
    groups: dict[tuple[Kind, ...], list[int]] = {}
    for cell, seats in enumerate(cells):
        groups.setdefault(tuple(agents[agent].kind for agent in seats), []).append(cell)
    for kinds, group in groups.items():
        members = np.array(group, np.int64)
        stacks, rows = zip(
            *(_stack(agents, kind, cells[members, seat]) for seat, kind in enumerate(kinds)), strict=True
        )
        stacks = _replicate(stacks, mesh)
        weights = sum(leaf.nbytes // len(leaf) for leaf in jax.tree.leaves(stacks))  # of a cell: a copy for each seat
        share = -(-len(members) // count)  # cells of a device
        size = count * max(1, min(share, max_cells, _WEIGHT_BYTES // max(weights, 1)))
        for first in range(0, len(members), size):
            filled = min(size, len(members) - first)
            # The last part is padded with its first cell, so that every call has the same shape and compiles once.
            chosen = np.concatenate([np.arange(first, first + filled), np.full(size - filled, first)])
            yield Chunk(kinds, stacks, tuple(_shard(row[chosen], mesh) for row in rows), members[chosen], filled)


def _stack(agents: Sequence[Agent], kind: Kind, seated: np.ndarray) -> tuple[Any, np.ndarray]:
    """The parameters of all agents of a kind, [n, ...], and the row of each agent in `seated`."""
    numbers = [number for number, agent in enumerate(agents) if agent.kind == kind]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(agents[number].params for number in numbers))
    return stacked, np.searchsorted(numbers, seated).astype(np.int32)


def _replicate(tree: Any, mesh: Mesh | None) -> Any:
    """`tree` replicated on every device."""
    return jax.tree.map(jnp.asarray, tree) if mesh is None else place(tree, NamedSharding(mesh, P()))


def _shard(array: np.ndarray, mesh: Mesh | None) -> Array:
    """`array` [C, ...] sharded equally over the devices."""
    return jnp.asarray(array) if mesh is None else place(array, NamedSharding(mesh, P(_CELLS)))


@functools.partial(jax.jit, static_argnames=("game", "kinds", "mesh", "visitor"))
def _play(
    game: Game,
    kinds: tuple[Kind, ...],
    mesh: Mesh | None,
    visitor: Visitor,
    stacks: tuple[Any, ...],
    rows: tuple[Array, ...],
    cells: Array,
    numbers: Array,
    deck_key: Array,
    draw_key: Array,
    greedy: Array,
) -> tuple[Any, Array]:
    """`_play_cells`; each device of the mesh plays its own cells, until its own games have ended."""
    play = functools.partial(_play_cells, Match(game, kinds), visitor)
    if mesh is not None:
        cut, whole = P(_CELLS), P()
        play = jax.shard_map(
            play, mesh=mesh, in_specs=(whole, cut, cut, *(whole,) * 4), out_specs=cut,
            check_vma=False,  # it would ask games to mark the constants that their loops begin with
        )  # fmt: skip
    return play(stacks, rows, cells, numbers, deck_key, draw_key, greedy)


def _play_cells(
    match: Match,
    visitor: Visitor,
    stacks: tuple[Any, ...],
    rows: tuple[Array, ...],
    cells: Array,
    numbers: Array,
    deck_key: Array,
    draw_key: Array,
    greedy: Array,
) -> tuple[Any, Array]:
    """The visitor's results of game number n of `numbers` [G] in every cell of `cells` [C], [C, G, ...].

    Then bool[C, G]: an illegal action was played.
    """
    seated = match.parameters(stacks, rows)

    def start(cell: Array, number: Array) -> tuple[Any, Any, Any, Array]:
        state, memories, key = match.start(deck_key, draw_key, cell, number)
        own = jax.random.fold_in(jax.random.wrap_key_data(key), match.rounds)  # rounds fold in the numbers below
        return state, memories, visitor.start(match, key=own), key

    def play_round(
        seated: tuple[Any, ...], state: Any, memories: Any, tally: Any, key: Array, round_: Array
    ) -> tuple[Any, Any, Any]:
        state, memories, steps = match.play_round(seated, state, memories, key, round_, greedy)
        for turn, step in zip(match.turns, steps, strict=True):
            tally = visitor.visit(match, seated, tally, step, turn=turn, greedy=greedy)
        return state, memories, tally

    state, memories, tally, keys = jax.vmap(jax.vmap(start, in_axes=(None, 0)), in_axes=(0, None))(cells, numbers)
    rounds = jax.vmap(jax.vmap(play_round, in_axes=(None, 0, 0, 0, 0, None)), in_axes=(0, 0, 0, 0, 0, None))

    def going_on(carry: tuple[Any, ...]) -> Array:
        state, *_, round_ = carry
        return jnp.any(~state.ended & ~state.illegal) & (round_ < match.rounds)

    def one_round(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        state, memories, tally, round_ = carry
        return *rounds(seated, state, memories, tally, keys, round_), round_ + 1

    state, _, tally, _ = jax.lax.while_loop(going_on, one_round, (state, memories, tally, jnp.int32(0)))
    return jax.vmap(jax.vmap(functools.partial(visitor.result, match)))(tally, state), state.illegal
