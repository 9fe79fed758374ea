"""The laws of symmetries in a game whose symmetry changes seats."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pytest

from games.check import commutes
from games.game import Game, Layout, Observer, Symmetry


class Table(NamedTuple):
    shown: Any  # int32[2] what each player has shown
    time: Any
    ended: Any
    illegal: Any


@dataclasses.dataclass(frozen=True)
class Swapped(Game):
    """Both players show a number at once, which stays in front of them; the players may change seats."""

    name = "swapped"
    version = "swapped-1"
    num_players = 2
    num_actions = 4
    max_acting = 2
    cyclic = False
    horizon = 2
    score_range = (0.0, 0.0)

    @property
    def observers(self):
        layout = Layout.of([("own", {"number": 3}, ""), ("other", {"number": 3}, "")])

        def encode(state, player):
            return jnp.append(jnp.arange(3) == state.shown[player], jnp.arange(3) == state.shown[1 - player])

        return {"all": Observer("all", layout, jnp.bool_, encode, lambda g, seen: seen)}

    def init(self, *, key):
        return Table(jax.random.randint(key, (2,), 0, 3), jnp.int32(0), jnp.bool_(False), jnp.bool_(False))

    def transition(self, state, actions, *, key):
        ended = state.time + 1 == 2
        return state._replace(shown=actions, time=state.time + 1, ended=ended), jnp.float32(0)

    def acting(self, state):
        return jnp.arange(2, dtype=jnp.int32), jnp.broadcast_to(~state.ended, (2,))

    def legal_when_acting(self, state, player):
        return jnp.arange(4) < 3

    def action_name(self, action):
        return str(action)

    def sample_symmetry(self, *, key):
        same = jnp.broadcast_to(jnp.arange(4, dtype=jnp.int32), (2, 4))
        return Symmetry(jnp.array([1, 0], jnp.int32), same, ())

    def apply_symmetry(self, symmetry, state):
        return state._replace(shown=state.shown[symmetry.players])


@pytest.mark.slow
def test_actions_move_with_their_players():
    game = Swapped()
    state = game.init(key=jax.random.key(0))
    symmetry = game.sample_symmetry(key=jax.random.key(1))
    hold = commutes(game, symmetry, state, jnp.array([0, 2], jnp.int32), key=jax.random.key(2))
    assert all(jax.device_get(list(hold.values()))), hold
