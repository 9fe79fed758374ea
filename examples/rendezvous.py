"""A simulator game of one's own with simultaneous moves, in one file: two players on a ring who have to meet.

Both see where both are, and step left, stay or step right at the same time. Meeting pays 1 and ends the game; after
`steps` steps it ends without. Who stands next to the other has to know who moves and who stays: if both move they pass
each other, and if both stay they wait.

    tacit games rendezvous.Rendezvous cells=7
    tacit train game=rendezvous.Rendezvous cells=7 learner.num_games=16 budget.steps=20000
    tacit train game=rendezvous.Rendezvous learner=other_play budget.steps=20000
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from games.errors import whole_number
from games.game import Array, Game, Layout, Observer, Symmetry

LEFT, STAY, RIGHT, NOOP = range(4)
"""The actions; the no-op, of a player who has no choice, is always the last."""


class RingState(NamedTuple):
    """Where the players are. `Game` asks for `ended` and `illegal`; the other fields are the game's own."""

    cells: Array  # int32[2]
    step: Array  # int32[] steps played so far
    ended: Array  # bool[]
    illegal: Array  # bool[]


@dataclasses.dataclass(frozen=True)
class Rendezvous(Game):
    """The game on a ring of `cells` cells, for at most `steps` steps.

    Its symmetries are those of the ring: a rotation, or a reflection, which swaps left and right. Players stay.

    Raises:
      TacitError: for fewer than 3 cells or fewer than 1 step.
    """

    cells: int = 5
    steps: int = 4

    name = "rendezvous"
    version = "rendezvous-1"  # another one whenever the same actions can lead elsewhere than before
    num_players = 2
    num_actions = 4
    max_acting = 2
    cyclic = False
    score_range = (0.0, 1.0)

    def __post_init__(self) -> None:
        whole_number("rendezvous cells", self.cells, 3)
        whole_number("rendezvous steps", self.steps, 1)

    @property
    def horizon(self) -> int:
        return self.steps

    @functools.cached_property
    def observers(self) -> Mapping[str, Observer]:
        """One: both players' cells, the player's own first, and the time."""
        layout = Layout.of(
            [
                ("own", {"cell": self.cells}, "where the player is"),
                ("other", {"cell": self.cells}, "where the other player is"),
                ("time", {"step": self.steps}, "steps played so far"),
            ]
        )

        def encode(state: RingState, player: Array) -> Array:
            indices = [state.cells[player], state.cells[1 - player], state.step]
            sizes = [section.size for section in layout.sections]
            parts = [jax.nn.one_hot(i, n, dtype=jnp.bool_) for i, n in zip(indices, sizes, strict=True)]
            return jnp.concatenate(parts)

        def permute(symmetry: Symmetry, observation: Array) -> Array:
            return layout.permute(observation, "cell", symmetry.parameters)

        return {"ring": Observer("ring", layout, jnp.bool_, encode, permute)}

    def init(self, *, key: Array) -> RingState:
        """Two different cells, all pairs equally likely."""
        cells = jax.random.permutation(key, jnp.arange(self.cells, dtype=jnp.int32))[:2]
        return RingState(cells, jnp.int32(0), ended=jnp.bool_(False), illegal=jnp.bool_(False))

    def transition(self, state: RingState, actions: Array, *, key: Array) -> tuple[RingState, Array]:
        """Everybody moves at once."""
        del key  # no chance after the start
        cells = (state.cells + actions - STAY) % self.cells
        step, met = state.step + 1, cells[0] == cells[1]
        return state._replace(cells=cells, step=step, ended=met | (step >= self.steps)), met.astype(jnp.float32)

    def acting(self, state: RingState) -> tuple[Array, Array]:
        """Everybody, at every step."""
        return jnp.arange(2, dtype=jnp.int32), jnp.ones(2, jnp.bool_)

    def legal_when_acting(self, state: RingState, player: Array) -> Array:
        """Every action but the no-op."""
        return jnp.arange(self.num_actions, dtype=jnp.int32) != NOOP

    def action_name(self, action: int) -> str:
        """For example "stay"."""
        return ("left", "stay", "right", "no-op")[action]

    def sample_symmetry(self, *, key: Array) -> Symmetry:
        """One of the 2 · `cells` rotations and reflections; `parameters` is where each cell goes."""
        turn_key, flip_key = jax.random.split(key)
        turn, flip = jax.random.randint(turn_key, (), 0, self.cells, jnp.int32), jax.random.bernoulli(flip_key)
        ring = jnp.arange(self.cells, dtype=jnp.int32)
        actions = jnp.where(
            flip, jnp.array([RIGHT, STAY, LEFT, NOOP], jnp.int32), jnp.array([LEFT, STAY, RIGHT, NOOP], jnp.int32)
        )
        return Symmetry(
            players=jnp.arange(2, dtype=jnp.int32),
            actions=jnp.broadcast_to(actions, (2, self.num_actions)),
            parameters=(jnp.where(flip, -ring, ring) + turn) % self.cells,
        )

    def apply_symmetry(self, symmetry: Symmetry, state: RingState) -> RingState:
        """The same situation, elsewhere on the ring."""
        return state._replace(cells=symmetry.parameters[state.cells])
