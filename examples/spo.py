"""A variant of IPPO by inheritance: Simple Policy Optimization, whose penalty takes the place of PPO's clipping.

Xie et al. 2024, "Simple Policy Optimization" (arXiv:2401.16025). With r = π(a|o) / π_old(a|o), advantages A and the
trust region's ε (`learner.clip`), the surrogate is

    r A − |A| / (2 ε) (r − 1)².

It is greatest at r = 1 + ε where A > 0 and at r = 1 − ε where A < 0, and beyond it pulls the ratio back, where the
clipped surrogate is flat. Everything else, the clipped error of the value included, is IPPO's.

    tacit train game=lever learner=spo.SPO budget.steps=20000
"""

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp

from marl.learners.ippo import IPPO
from marl.policies.policy import Array


@dataclasses.dataclass(frozen=True)
class SPO(IPPO):
    """The algorithm for one seed; its keys, their defaults and the hyperparameters are IPPO's."""

    version: ClassVar[str] = "spo-1"  # part of a run's name: change it with the code

    def surrogate(self, ratio: Array, advantage: Array, hyperparameters: Any) -> Array:
        """Elementwise, see `IPPO.surrogate`."""
        return ratio * advantage - jnp.abs(advantage) / (2 * hyperparameters.clip) * (ratio - 1) ** 2
