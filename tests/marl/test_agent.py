"""Weights against what an architecture declares."""

import numpy as np
import pytest

from games.errors import TacitError
from marl.agent import check_shapes

DECLARED = {"kernel": (2, 3), "bias": (3,)}
WEIGHTS = {"kernel": np.zeros((2, 3)), "bias": np.zeros(3)}


def test_weights_as_declared():
    check_shapes("a file", DECLARED, WEIGHTS)


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        ({"bias": WEIGHTS["bias"]}, r"a file declares kernel of shape \(2, 3\), and holds no such weights"),
        (WEIGHTS | {"bias": np.zeros(2)}, r"a file declares bias of shape \(3,\), and holds \(2,\)"),
        (WEIGHTS | {"gain": np.zeros(1)}, r"a file holds weights that its architecture does not have: \['gain'\]"),
    ],
)
def test_other_weights_are_refused(weights, sentence):
    with pytest.raises(TacitError, match=sentence):
        check_shapes("a file", DECLARED, weights)
