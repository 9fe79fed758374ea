"""Compiled programs are freed where a process holds many."""

import jax
import jax.numpy as jnp
import pytest

from marl import programs
from marl.programs import free_programs


@pytest.mark.skipif(not programs._MAPS.exists(), reason="the system does not list memory maps")
def test_programs_are_freed_where_there_are_many():
    doubled = jax.jit(lambda x: 2 * x)
    doubled(jnp.float32(1))
    free_programs()
    assert doubled._cache_size() == 1  # this process has few
    free_programs(most=0)
    assert doubled._cache_size() == 0
    assert doubled(jnp.float32(2)) == 4
