"""Starts of flows in games whose policies are too many to count in floating point."""

import types

import numpy as np

from marl.exact.starts import pure_starts


def test_pure_starts_of_a_game_with_more_joint_policies_than_a_float_can_count():
    """A warning of an overflow would be an error here."""
    agent = types.SimpleNamespace(size=2000, legal=np.ones((2000, 3), bool))
    (logits,) = pure_starts(types.SimpleNamespace(agents=(agent,)), 4, seed=0)
    assert logits.shape == (4, 2000, 3)
    assert np.bincount(logits[0].argmax(1)).min() > 500  # drawn, not gone through
