"""A game in which every player sees and acts through a symmetry of its own, drawn anew for every game.

Other-Play (Hu et al. 2020, "Other-Play for zero-shot coordination") trains in it: what a player names color 1 its
partner may name color 3, so a convention that rests on labels pays nothing. An agent's score in it is its Other-Play
return. With g_p the symmetry of player p and s the state of the underlying game:

    observation  g_p · observe(s, p)        legal  g_p · legal(s, p)        action a means  g_p⁻¹ · a

For the same key the relabelled game begins in the same state of the underlying one; where every player draws the
identity, they are the same game.
"""

# Why: see the attributes of `games.game.Game`.
# pyright: reportIncompatibleVariableOverride=false

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np

from games.errors import TacitError
from games.game import Array, Game, Observer, Symmetry

_DRAWS = 64
_SYMMETRIES = 0x0E1ABE11
"""Folded into a game's key to draw the symmetries of its players."""


class RelabelledState(NamedTuple):
    """A state of the underlying game and how each player sees it."""

    inner: Any
    symmetries: Symmetry  # leaves [num_players, ...]
    ended: Array  # bool[] as in `inner`
    illegal: Array  # bool[]


@final
@dataclasses.dataclass(frozen=True)
class Relabelled(Game):
    """The game whose players are relabelled; sizes, observers and scores are those of `game`.

    Raises:
      TacitError: if `game` has no symmetry but the identity, or one that permutes players: they cannot be relabelled
        one by one.
    """

    game: Game

    def __post_init__(self) -> None:
        check_symmetric(self.game)
        if (some_symmetries(self.game).players != np.arange(self.num_players)).any():
            raise TacitError(
                f"the symmetries of game {self.game.name} permute players: each cannot have one of its own"
            )

    @property
    def name(self) -> str:
        return self.game.name

    @property
    def version(self) -> str:
        return self.game.version

    @property
    def num_players(self) -> int:
        return self.game.num_players

    @property
    def num_actions(self) -> int:
        return self.game.num_actions

    @property
    def max_acting(self) -> int:
        return self.game.max_acting

    @property
    def cyclic(self) -> bool:
        return self.game.cyclic

    @property
    def horizon(self) -> int:
        return self.game.horizon

    @property
    def score_range(self) -> tuple[float, float]:
        return self.game.score_range

    @property
    def seats_differ(self) -> bool:
        return self.game.seats_differ

    @property
    def discounted(self) -> bool:
        return self.game.discounted

    @functools.cached_property
    def observers(self) -> Mapping[str, Observer]:  # pyright: ignore[reportIncompatibleMethodOverride] (kept, once made)
        return {name: self._through(observer) for name, observer in self.game.observers.items()}

    def init(self, *, key: Array) -> RelabelledState:
        inner = self.game.init(key=key)  # the state with which the game itself begins
        keys = jax.random.split(jax.random.fold_in(key, _SYMMETRIES), self.num_players)
        symmetries = jax.vmap(lambda key: self.game.sample_symmetry(key=key))(keys)
        return RelabelledState(inner, symmetries, inner.ended, inner.illegal)

    def transition(self, state: RelabelledState, actions: Array, *, key: Array) -> tuple[RelabelledState, Array]:
        players = jnp.arange(self.num_players, dtype=jnp.int32)
        own = state.symmetries.actions[players, players]  # [P, A], row p: what g_p makes of player p's actions
        meant = jnp.argmax(own == actions[:, None], axis=1).astype(jnp.int32)
        inner, reward = self.game.transition(state.inner, meant, key=key)
        return state._replace(inner=inner, ended=inner.ended), reward

    def acting(self, state: RelabelledState) -> tuple[Array, Array]:
        return self.game.acting(state.inner)

    def legal_when_acting(self, state: RelabelledState, player: Array) -> Array:
        legal = self.game.legal_when_acting(state.inner, player)
        return self._of(state, player).on_legal(player, legal)

    def bombed(self, state: RelabelledState) -> Array:
        return self.game.bombed(state.inner)

    def action_name(self, action: int) -> str:
        return self.game.action_name(action)

    def _of(self, state: RelabelledState, player: Array) -> Symmetry:
        return jax.tree.map(lambda leaf: leaf[player], state.symmetries)

    def _through(self, observer: Observer) -> Observer:
        def encode(state: RelabelledState, player: Array) -> Array:
            return observer.symmetry(self._of(state, player), observer.encode(state.inner, player))

        return dataclasses.replace(observer, encode=encode)


def relabelled(game: Game) -> Relabelled:
    """`Relabelled(game)`, or the game itself if its players are relabelled already."""
    return game if isinstance(game, Relabelled) else Relabelled(game)


def check_symmetric(game: Game) -> None:
    """Refuse a game in which nothing can be relabelled.

    Raises:
      TacitError: if no symmetry drawn permutes actions or players: the group is trivial, or the game does not draw any.
    """
    if type(game).sample_symmetry is Game.sample_symmetry:
        raise TacitError(
            f"game {game.name} draws no symmetries to relabel it by; of tabular games, tacit zsc-table knows them all"
        )
    drawn = some_symmetries(game)
    if (drawn.actions == np.arange(game.num_actions)).all() and (drawn.players == np.arange(game.num_players)).all():
        raise TacitError(f"game {game.name} has no symmetry but the identity, so there is nothing to relabel")


@functools.lru_cache(maxsize=16)
def some_symmetries(game: Game) -> Symmetry:
    """Random symmetries, the same ones every time: numpy leaves [64, ...]."""
    with jax.ensure_compile_time_eval():
        keys = jax.random.split(jax.random.key(0), _DRAWS)
        return jax.tree.map(np.asarray, jax.vmap(lambda key: game.sample_symmetry(key=key))(keys))
