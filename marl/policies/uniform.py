"""The policy that picks a legal action at random: the floor that every comparison needs."""

import dataclasses
from typing import Literal, final

import jax.numpy as jnp

from marl.policies.policy import Array, masked_log_softmax


@final
@dataclasses.dataclass(frozen=True)
class Uniform:
    """Every legal action with the same probability; no parameters."""

    @property
    def memory_clock(self) -> Literal["own_turns"]:
        return "own_turns"

    def init(self, *, key: Array) -> tuple[()]:
        del key
        return ()

    def initial_memory(self) -> tuple[()]:
        return ()

    def apply(self, params: tuple[()], memory: tuple[()], observation: Array, legal: Array) -> tuple[tuple[()], Array]:
        return memory, masked_log_softmax(jnp.zeros(legal.shape, jnp.float32), legal)
