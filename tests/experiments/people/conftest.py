"""An agent whose moves can be foretold, and games with it."""

import dataclasses

import jax.numpy as jnp
import pytest

from experiments.people.seat import Seat, Settings
from experiments.people.sitting import Planned
from games import hanabi
from marl.agent import Agent

SETTINGS = Settings(person=0, seed=5, greedy=True, practice=False)


@dataclasses.dataclass(frozen=True)
class Counts:
    """On its turn number k, from 0, it does legal action number k mod L of L: its memory is all that it knows."""

    memory_clock: str = "own_turns"

    def init(self, *, key):
        del key
        return ()

    def initial_memory(self):
        return jnp.int32(0)

    def apply(self, params, memory, observation, legal):
        del params, observation
        place = jnp.cumsum(legal, dtype=jnp.int32) - 1
        wanted = legal & (place == memory % jnp.sum(legal, dtype=jnp.int32))
        return memory + 1, jnp.where(wanted, jnp.float32(0), -jnp.inf)


@pytest.fixture(scope="session")
def board():
    return hanabi.make("Hanabi-2x3", max_life_tokens=9)


@pytest.fixture(scope="session")
def counts():
    return Agent.of(Counts(), observer="hle", label="counts")


@pytest.fixture(scope="session")
def make_seat(board, counts):
    """make_seat(practice=True, …) -> a seat at the small board beside an agent that counts."""
    return lambda actions=(), **changes: Seat(board, [counts] * 2, SETTINGS._replace(**changes), actions)


@pytest.fixture(scope="session")
def planned(board, counts):
    """The game of a number: that of `make_seat`, with the next seed each."""
    return lambda number: Planned(
        board, (counts, counts), ("person", "counts"), SETTINGS._replace(seed=5 + number, practice=True)
    )
