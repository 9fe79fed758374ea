"""Look at every step of self-play: what an agent sees, how it would act and how it does.

A **visitor** says what is kept of a game: it starts a tally and takes each step into it. Games run side by side over
agents of one kind and over decks, in one compiled program for each kind.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from games.errors import TacitError, whole_number
from games.game import Game
from marl.agent import Agent, Kind, check_parameters
from marl.crossplay.greedify import as_played
from marl.learners.rollout import memories_of, params_of, with_memories
from marl.policies.policy import Array, sample


class Step(NamedTuple):
    """One step of a game, about to be played. M players look: everybody, or the players to move (`memory_clock`)."""

    player: Array  # int32[M]
    acts: Array  # bool[M] it is this player's turn
    moves: Array  # bool[M] this player's memory moves on
    greedy: Array  # bool[] the best action is played
    observation: Array  # [M, observation_size]
    legal: Array  # bool[M, num_actions]
    log_probs: Array  # float32[M, num_actions] what the action is drawn from
    action: Array  # int32[M]


class Visitor(Protocol):
    """What is kept of one game; hashable, pure functions of arrays."""

    def start(self, game: Game, kind: Kind, *, key: Array) -> Any:
        """The tally before the first step."""
        ...

    def visit(self, game: Game, kind: Kind, params: Any, tally: Any, step: Step) -> Any:
        """The tally after a step; `params` of the agent."""
        ...

    def result(self, tally: Any) -> Any:
        """What is kept of the tally after the last step."""
        ...


def visit_games(
    game: Game,
    agents: Sequence[Agent],
    visitor: Visitor,
    *,
    games: int,
    greedy: bool,
    key: Array,
    max_lanes: int = 4096,
) -> Iterator[tuple[list[int], Any]]:
    """Let every agent play `games` games with itself.

    Args:
      game: the game.
      agents: of any kinds.
      visitor: what is kept of each game.
      games: games of each agent, on the decks that `crossplay` deals for the same key.
      greedy: play the best action, ties split evenly, instead of sampling from the policy.
      key: decides decks, draws and the visitor's own randomness.
      max_lanes: games in one compiled call.

    Yields:
      Chunks of games of agents of one kind: the numbers [n] of these agents, and their games' results, numpy arrays
      [n, games of the chunk, ...].

    Raises:
      TacitError: without an agent or a game; if weights do not fit their own architecture; if a policy plays an illegal
        action.
    """
    whole_number("games", games, 1)
    if not agents:
        raise TacitError("self-play needs at least one agent, and there is none")
    for agent in agents:
        check_parameters(agent, game.num_players)
    for kind in dict.fromkeys(agent.kind for agent in agents):
        members = [number for number, agent in enumerate(agents) if agent.kind == kind]
        params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(agents[number].params for number in members))
        at_once = min(games, max(1, max_lanes // len(members)))
        for first in range(0, games, at_once):
            # The last chunk plays on beyond `games`, so that every call has the same shape.
            numbers = jnp.arange(first, first + at_once, dtype=jnp.uint32)
            result, illegal = jax.device_get(
                _play(game, kind, visitor, params, jnp.asarray(members, jnp.uint32), numbers, key, jnp.bool_(greedy))
            )
            if illegal.any():
                raise TacitError(f"agent {agents[members[int(illegal.argmax())]].label} played an illegal action")
            yield members, jax.tree.map(lambda leaf, last=games - first: leaf[:, :last], result)


@functools.partial(jax.jit, static_argnames=("game", "kind", "visitor"))
def _play(
    game: Game, kind: Kind, visitor: Visitor, params: Any, members: Array, numbers: Array, key: Array, greedy: Array
) -> tuple[Any, Array]:
    """Results [n, G, ...] of the games `numbers` [G] of agents `members` [n], and bool[n]: an illegal action."""
    deck_key, draw_key = jax.random.split(key)  # as in cross-play

    def one(params: Any, member: Array, number: Array) -> tuple[Any, Array]:
        state = game.init(key=jax.random.fold_in(deck_key, number))
        draws = jax.random.fold_in(jax.random.fold_in(draw_key, member), number)
        return _one_game(game, kind, visitor, params, state, draws, greedy)

    over_games = jax.vmap(one, in_axes=(None, None, 0))
    result, illegal = jax.vmap(over_games, in_axes=(0, 0, None))(params, members, numbers)
    return result, jnp.any(illegal, axis=1)


def _one_game(
    game: Game, kind: Kind, visitor: Visitor, params: Any, state: Any, key: Array, greedy: Array
) -> tuple[Any, Array]:
    policy = kind.policy
    everybody = jnp.arange(game.num_players, dtype=jnp.int32)
    visitor_key, key = jax.random.split(key)

    def look(player: Array, memory: Any, state: Any, key: Array) -> tuple[Any, tuple[Array, ...]]:
        observation, legal = game.observe(state, player, kind.observer), game.legal(state, player)
        after, log_probs = policy.apply(params_of(params, player, kind.share_parameters), memory, observation, legal)
        log_probs = as_played(kind, log_probs, greedy=greedy)
        return after, (observation, legal, log_probs, sample(log_probs, key=key))

    def play(carry: tuple[Any, Any, Any, Array]) -> tuple[Any, Any, Any, Array]:
        state, memories, tally, time = carry
        looks, draws = jax.random.split(jax.random.fold_in(key, time))
        actors, valid = game.acting(state)
        if policy.memory_clock == "every_step" or game.max_acting == game.num_players:
            players, acts = everybody, game.is_acting(state)
        else:
            players, acts = actors, valid
        after, seen = jax.vmap(look, in_axes=(0, 0, None, 0))(
            players, memories_of(memories, players), state, jax.random.split(looks, len(players))
        )
        moves = acts if policy.memory_clock == "own_turns" else jnp.ones_like(acts)
        step = Step(players, acts, moves, greedy, *seen)
        tally = visitor.visit(game, kind, params, tally, step)
        hers = (players[:, None] == everybody[None]) & acts[:, None]
        actions = jnp.max(jnp.where(hers, step.action[:, None], -1), axis=0)
        state, _, _ = game.step(state, jnp.where(actions < 0, game.noop, actions), key=draws)
        return state, with_memories(memories, players, moves, after), tally, time + 1

    def going_on(carry: tuple[Any, Any, Any, Array]) -> Array:
        state, _, _, time = carry
        return ~state.ended & ~state.illegal & (time < game.horizon)

    memories = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (game.num_players, *leaf.shape)), policy.initial_memory()
    )
    tally = visitor.start(game, kind, key=visitor_key)
    state, _, tally, _ = jax.lax.while_loop(going_on, play, (state, memories, tally, jnp.int32(0)))
    return visitor.result(tally), state.illegal
