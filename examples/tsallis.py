"""A term added to IPPO's loss: the policy's Tsallis entropy of order 2, 1 − Σ π(a|o)², is rewarded beside Shannon's.

Up to a constant the loss gains `weight` times the mean of Σ π(a|o)² over a minibatch's actions. As with the entropy
coefficient, the weight is in units of the normalised advantage.

    tacit train game=lever learner=tsallis.Tsallis learner.weight=0.5 budget.steps=20000
"""

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp

from marl.learners.ippo import IPPO, Actions
from marl.policies.policy import Array


@dataclasses.dataclass(frozen=True)
class Tsallis(IPPO):
    """The algorithm for one seed; its keys are IPPO's and `weight`."""

    version: ClassVar[str] = "tsallis-1"  # part of a run's name: change it with the code

    weight: float = 0.1

    def penalty(self, actions: Actions, hyperparameters: Any) -> Array:
        """Elementwise, see `IPPO.penalty`."""
        return self.weight * jnp.sum(jnp.exp(2 * actions.log_probs), axis=-1, where=actions.legal)
