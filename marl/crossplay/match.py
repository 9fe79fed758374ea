"""Agents of any kinds in one match: how a step of one game is played in cross-play, and how a game starts."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from games.game import Game
from marl.agent import Kind
from marl.crossplay.greedify import as_played
from marl.policies.policy import Array, sample


class Step(NamedTuple):
    """One step of one game."""

    state: Any  # before it
    acting: Array  # bool[P]
    actions: Array  # int32[P]; the no-op of who is not acting
    log_probs: Array  # float32[P, num_actions] what each policy says; of a player who waits, the no-op
    reward: Array  # float32[]


class Match(NamedTuple):
    """A game with agents of some kinds in its seats."""

    game: Game
    kinds: tuple[Kind, ...]

    @property
    def turns(self) -> Sequence[int | None]:
        """The only player who can be acting at each step of a round, where that is known.

        In a cyclic game the players take turns in a fixed order, so a round of steps is unrolled and only the network
        of the player to move is evaluated.
        """
        return tuple(range(self.game.num_players)) if self.game.cyclic else (None,)

    def evaluated_seats(self, turn: int | None) -> list[int]:
        """The seats whose policies are evaluated at a step: who may be acting, and whose memory moves at every step."""
        clocks = [kind.policy.memory_clock for kind in self.kinds]
        return [seat for seat, clock in enumerate(clocks) if turn in (None, seat) or clock == "every_step"]

    @property
    def rounds(self) -> int:
        """The number of rounds that no game exceeds."""
        return -(-self.game.horizon // len(self.turns))

    def parameters(self, stacks: tuple[Any, ...], rows: tuple[Array, ...]) -> tuple[Any, ...]:
        """The parameters of each seat, [C, ...], gathered from stacks by rows as in `Chunk`."""
        params = tuple(
            jax.tree.map(lambda leaf, row=row: leaf[row], stack) for stack, row in zip(stacks, rows, strict=True)
        )
        return tuple(
            own if kind.share_parameters else jax.tree.map(lambda leaf, seat=seat: leaf[:, seat], own)
            for seat, (kind, own) in enumerate(zip(self.kinds, params, strict=True))
        )

    def start(self, deck_key: Array, draw_key: Array, cell: Array, number: Array) -> tuple[Any, tuple[Any, ...], Array]:
        """The state, memories and key uint32[2] of game `number` int32[] of `cell` int32[]; all cells have its deck."""
        state = self.game.init(key=jax.random.fold_in(deck_key, number))
        draws = jax.random.fold_in(jax.random.fold_in(draw_key, cell), number)
        return state, tuple(kind.policy.initial_memory() for kind in self.kinds), jax.random.key_data(draws)

    def play_round(
        self, seated: tuple[Any, ...], state: Any, memories: tuple[Any, ...], key: Array, round_: Array, greedy: Array
    ) -> tuple[Any, tuple[Any, ...], list[Step]]:
        """Play round `round_` int32[] of one game: a step for each of `turns`.

        `key` uint32[2] is that of `start`; `greedy` bool[] says whether the best actions are played.

        Returns:
          The state and the memories afterwards, and the steps.
        """
        keys = jax.random.split(jax.random.fold_in(jax.random.wrap_key_data(key), round_), len(self.turns))
        steps = []
        for turn, key in zip(self.turns, keys, strict=True):
            state, memories, step = self._play_step(turn, seated, state, memories, key, greedy)
            steps.append(step)
        return state, memories, steps

    def _play_step(
        self,
        turn: int | None,
        seated: tuple[Any, ...],
        state: Any,
        memories: tuple[Any, ...],
        key: Array,
        greedy: Array,
    ) -> tuple[Any, tuple[Any, ...], Step]:
        game = self.game
        keys = jax.random.split(key, game.num_players + 1)
        after, log_probs, actions = self.decide(turn, seated, state, memories, keys[:-1], greedy)
        next_state, reward, _ = game.step(state, actions, key=keys[-1])
        return next_state, after, Step(state, game.is_acting(state), actions, log_probs, reward)

    def decide(
        self,
        turn: int | None,
        seated: tuple[Any, ...],
        state: Any,
        memories: tuple[Any, ...],
        keys: Array,
        greedy: Array,
    ) -> tuple[tuple[Any, ...], Array, Array]:
        """What each seat would do now, with a key [P] for each.

        Returns:
          The memories afterwards; float32[P, num_actions] and int32[P] as in `Step`.
        """
        game = self.game
        only_noop = jnp.where(jnp.arange(game.num_actions, dtype=jnp.int32) == game.noop, jnp.float32(0), -jnp.inf)
        played = [(memory, only_noop, jnp.int32(game.noop)) for memory in memories]
        for seat in self.evaluated_seats(turn):
            played[seat] = self._act(seat, seated[seat], state, memories[seat], keys[seat], greedy)
        after, log_probs, actions = zip(*played, strict=True)
        return after, jnp.stack(log_probs), jnp.stack(actions)

    def _act(
        self, seat: int, params: Any, state: Any, memory: Any, key: Array, greedy: Array
    ) -> tuple[Any, Array, Array]:
        kind, player = self.kinds[seat], jnp.int32(seat)
        observation = self.game.observe(state, player, kind.observer)
        after, log_probs = kind.policy.apply(params, memory, observation, self.game.legal(state, player))
        action = sample(as_played(kind, log_probs, greedy=greedy), key=key)
        if kind.policy.memory_clock == "own_turns":
            turn = self.game.is_acting(state)[seat]
            after = jax.tree.map(lambda new, old: jnp.where(turn, new, old), after, memory)
        return after, log_probs, action
