"""What every test runs under."""

import jax
from hypothesis import settings

# A shape that is broadcast by accident is a defect; one that is meant says so with [None].
jax.config.update("jax_numpy_rank_promotion", "raise")

# The same examples on every machine and at every run.
settings.register_profile("tacit", derandomize=True, database=None, deadline=None, max_examples=20)
settings.load_profile("tacit")
