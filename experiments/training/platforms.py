"""The platforms on which JAX can compute here, where it was told to use another one."""

import os
import sys

from games.errors import TacitError

_OF_PLATFORMS = (RuntimeError, AssertionError)
"""What JAX raises where it finds none of the platforms: the second one, without a word, if a plugin is missing."""


def unusable(error: Exception) -> TacitError | None:
    """A sentence if an error came up because JAX_PLATFORMS names no platform that is here; None for any other error.

    JAX does without JAX_PLATFORMS afterwards: the process should end.
    """
    asked = os.environ.get("JAX_PLATFORMS")
    if not asked or "jax" not in sys.modules or not isinstance(error, _OF_PLATFORMS):
        return None
    import jax

    try:
        jax.devices()
    except _OF_PLATFORMS:
        jax.config.update("jax_platforms", None)
        there = sorted({"cpu", *(device.platform for device in jax.devices())})
        return TacitError(f"JAX_PLATFORMS={asked} names no platform that JAX can use here: there is {', '.join(there)}")
    return None
