"""The lever game: pull the same lever without having met.

Hu, Lerer, Peysakhovich and Foerster 2020, "Other-Play for zero-shot coordination": two players, ten levers; nine pay
1.0 and one pays 0.9 when both pull it; different levers pay nothing. Best self-play 1.0, independent conventions 1/9
in cross-play, best symmetry-equivariant policy 0.9.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import ClassVar, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np

from games.errors import TacitError, number, whole_number
from games.game import Array, Game, Layout, Observer, Symmetry


class LeverState(NamedTuple):
    """Whether the only step has been played."""

    ended: Array  # bool[]
    illegal: Array  # bool[]


@final
@dataclasses.dataclass(frozen=True)
class Lever(Game):
    """One simultaneous step: everybody on lever i pays `payoffs[i]`, anything else `mismatch`.

    Attributes:
      payoffs: reward for meeting on each lever; at least one.
      mismatch: reward for not meeting.
      players: at least 2.
    """

    name: ClassVar[str] = "lever"
    version: ClassVar[str] = "lever-1"
    cyclic: ClassVar[bool] = False
    horizon: ClassVar[int] = 1

    payoffs: tuple[float, ...] = (1.0,) * 9 + (0.9,)
    mismatch: float = 0.0
    players: int = 2

    def __post_init__(self) -> None:
        if not isinstance(self.payoffs, list | tuple) or not self.payoffs:
            raise TacitError(f"lever payoffs must be a list of at least one number, not {self.payoffs!r}")
        payoffs = tuple(number("lever payoffs", payoff, -math.inf) for payoff in self.payoffs)
        object.__setattr__(self, "payoffs", payoffs)  # a list from a configuration file becomes hashable
        number("lever mismatch", self.mismatch, -math.inf)
        whole_number("lever players", self.players, 2)

    @property
    def num_players(self) -> int:
        return self.players

    @property
    def num_actions(self) -> int:
        return len(self.payoffs) + 1

    @property
    def max_acting(self) -> int:
        return self.players

    @property
    def score_range(self) -> tuple[float, float]:
        values = (*self.payoffs, self.mismatch)
        return min(values), max(values)

    @functools.cached_property
    def observers(self) -> Mapping[str, Observer]:
        layout = Layout.of([("nothing", {"bit": 1}, "always set: there is nothing to see")])
        blank = Observer(
            name="nothing",
            layout=layout,
            dtype=jnp.bool_,
            encode=lambda state, player: jnp.ones(1, jnp.bool_),
            symmetry=lambda symmetry, observation: observation,
        )
        return {"nothing": blank}

    def init(self, *, key: Array) -> LeverState:
        del key
        return LeverState(ended=jnp.bool_(False), illegal=jnp.bool_(False))

    def transition(self, state: LeverState, actions: Array, *, key: Array) -> tuple[LeverState, Array]:
        del key
        met = jnp.all(actions == actions[0])
        payoffs = jnp.asarray((*self.payoffs, self.mismatch), jnp.float32)
        return state._replace(ended=jnp.bool_(True)), jnp.where(met, payoffs[actions[0]], jnp.float32(self.mismatch))

    def acting(self, state: LeverState) -> tuple[Array, Array]:
        return jnp.arange(self.players, dtype=jnp.int32), jnp.broadcast_to(~state.ended, (self.players,))

    def legal_when_acting(self, state: LeverState, player: Array) -> Array:
        return jnp.arange(self.num_actions, dtype=jnp.int32) < self.noop

    def action_name(self, action: int) -> str:
        if action == self.noop:
            return "no-op"
        return f"pull lever {action}" if 0 <= action < self.noop else "no such action"

    def sample_symmetry(self, *, key: Array) -> Symmetry:
        """A uniformly drawn permutation of the levers that pay the same, the same one for every player."""
        kinds = np.unique(np.asarray(self.payoffs), return_inverse=True)[1].astype(np.int32)
        order = np.argsort(kinds, kind="stable").astype(np.int32)
        shuffled = jnp.lexsort((jax.random.uniform(key, (len(kinds),), jnp.float32), jnp.asarray(kinds)))
        levers = jnp.zeros(len(kinds), jnp.int32).at[order].set(shuffled.astype(jnp.int32))
        actions = jnp.append(levers, jnp.int32(self.noop))
        return Symmetry(
            players=jnp.arange(self.players, dtype=jnp.int32),
            actions=jnp.broadcast_to(actions, (self.players, self.num_actions)),
            parameters=(),
        )
