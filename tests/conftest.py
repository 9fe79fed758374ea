"""What every test runs under."""

import gc

import jax
import pytest
from hypothesis import settings

# A shape that is broadcast by accident is a defect; one that is meant says so with [None].
jax.config.update("jax_numpy_rank_promotion", "raise")

# The same examples on every machine and at every run.
settings.register_profile("tacit", derandomize=True, database=None, deadline=None, max_examples=20)
settings.load_profile("tacit")


@pytest.fixture(autouse=True, scope="module")
def forget_compiled_programs():
    """Free a module's compiled programs: each holds memory maps, of which a process may have 65,530 on Linux.

    Without this one process that compiles the whole suite runs out of them and dies inside the compiler.
    """
    yield
    jax.clear_caches()
    gc.collect()
