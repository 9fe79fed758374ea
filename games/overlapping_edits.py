"""Overlapping edits for any number of agents, as a simulator: the tabular game of that name without its tables.

The rules and the finding they model are those of `games.tabular.library.overlapping_edits`, which is exact for 2 to 4
agents: m slots in a ring, a different feature k for each of n agents, which fits into slot k and slot k + 1. Each edits
one slot, at the same time. The reward is 1 if every feature is where it fits and no two edits are in the same slot.
"""

# Why: see the attributes of `games.game.Game`.
# pyright: reportIncompatibleVariableOverride=false

import dataclasses
import functools
from collections.abc import Mapping
from typing import NamedTuple, final

import jax
import jax.numpy as jnp

from games.errors import TacitError, whole_number
from games.game import Array, Game, Layout, Observer, Symmetry


class EditsState(NamedTuple):
    """Who has which feature."""

    features: Array  # int32[agents], all different
    ended: Array  # bool[]
    illegal: Array  # bool[]


@final
@dataclasses.dataclass(frozen=True)
class OverlappingEdits(Game):
    """One simultaneous step of `agents` agents in a ring of `slots` slots; action k edits slot k.

    Its symmetries are those of the ring: a rotation, or a reflection, of slots with features. Players stay.

    Raises:
      TacitError: for fewer than 2 agents, fewer than 3 slots, or fewer slots than agents.
    """

    agents: int = 5
    slots: int = 6

    def __post_init__(self) -> None:
        whole_number("overlapping_edits agents", self.agents, 2)
        whole_number("overlapping_edits slots", self.slots, 3)
        if self.slots < self.agents:
            raise TacitError(f"{self.agents} agents need at least as many slots, not {self.slots}")

    @property
    def name(self) -> str:
        return f"overlapping_edits({self.agents} agents, {self.slots} slots)"

    @property
    def version(self) -> str:
        return "edits-1"

    @property
    def num_players(self) -> int:
        return self.agents

    @property
    def num_actions(self) -> int:
        return self.slots + 1

    @property
    def max_acting(self) -> int:
        return self.agents

    @property
    def cyclic(self) -> bool:
        return False

    @property
    def horizon(self) -> int:
        return 1

    @property
    def score_range(self) -> tuple[float, float]:
        return 0.0, 1.0

    @functools.cached_property
    def observers(self) -> Mapping[str, Observer]:  # pyright: ignore[reportIncompatibleMethodOverride] (kept, once made)
        """One: which feature is the player's own."""
        layout = Layout.of([("feature", {"feature": self.slots}, "the player's own feature")])

        def encode(state: EditsState, player: Array) -> Array:
            return jnp.arange(self.slots, dtype=jnp.int32) == state.features[player]

        def permute(symmetry: Symmetry, observation: Array) -> Array:
            _, feature_image = symmetry.parameters
            return layout.permute(observation, "feature", feature_image)

        return {"feature": Observer("feature", layout, jnp.bool_, encode, permute)}

    def init(self, *, key: Array) -> EditsState:
        features = jax.random.permutation(key, jnp.arange(self.slots, dtype=jnp.int32))[: self.agents]
        return EditsState(features, jnp.zeros((), jnp.bool_), jnp.zeros((), jnp.bool_))

    def transition(self, state: EditsState, actions: Array, *, key: Array) -> tuple[EditsState, Array]:
        del key
        fits = (actions - state.features) % self.slots <= 1
        edits = jnp.sum(actions[:, None] == jnp.arange(self.slots, dtype=jnp.int32)[None], axis=0)
        passes = jnp.all(fits) & jnp.all(edits <= 1)
        return state._replace(ended=jnp.ones((), jnp.bool_)), passes.astype(jnp.float32)

    def acting(self, state: EditsState) -> tuple[Array, Array]:
        del state
        return jnp.arange(self.agents, dtype=jnp.int32), jnp.ones(self.agents, jnp.bool_)

    def legal_when_acting(self, state: EditsState, player: Array) -> Array:
        del state, player
        return jnp.arange(self.num_actions, dtype=jnp.int32) != self.noop

    def action_name(self, action: int) -> str:
        return "wait" if action == self.noop else f"slot{action}"

    def sample_symmetry(self, *, key: Array) -> Symmetry:
        turn_key, flip_key = jax.random.split(key)
        turn = jax.random.randint(turn_key, (), 0, self.slots, jnp.int32)
        flip = jax.random.bernoulli(flip_key)
        ring = jnp.arange(self.slots, dtype=jnp.int32)
        # Reflected, slot s goes to -s, and feature k, which fits s = k and k + 1, to -(k + 1).
        slots = jnp.where(flip, -ring, ring) + turn
        features = jnp.where(flip, -ring - 1, ring) + turn
        actions = jnp.append(slots % self.slots, jnp.int32(self.noop))
        return Symmetry(
            players=jnp.arange(self.agents, dtype=jnp.int32),
            actions=jnp.broadcast_to(actions, (self.agents, self.num_actions)),
            parameters=(slots % self.slots, features % self.slots),
        )

    def apply_symmetry(self, symmetry: Symmetry, state: EditsState) -> EditsState:
        _, feature_image = symmetry.parameters
        return state._replace(features=feature_image[state.features])
