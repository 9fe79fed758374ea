"""Functions and tables of a game's author that give something else: the sentence names the culprit, not NumPy's."""

import re

import numpy as np
import pytest

from games.errors import TacitError
from games.tabular.dec_pomdp import from_functions, matrix_game

SIDES = ("left", "right")
RIGHT = {
    "agents": ("ann", "bob"),
    "states": SIDES,
    "actions": (SIDES, SIDES),
    "observations": (SIDES, SIDES),
    "discount": 1.0,
    "start": (0.5, 0.5),
    "transition": lambda state, actions: {state: 1.0},
    "observation": lambda actions, state: {(0, 1): 0.5, (np.int64(1), 0): np.float32(0.5)},
    "reward": lambda state, actions: np.float32(state),
}
ALL = (0, 0)


def only(state, actions, wrong, right):
    """A function of a state and a joint action that is wrong only there."""
    return lambda s, a: wrong if (s, a) == (state, actions) else right


def after(wrong):
    """An observation function that is wrong only of the second state."""
    return lambda actions, state: wrong if state == 1 else {ALL: 1.0}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"reward": only(1, (0, 1), [1.0], 0.0)},
            "reward of actions left,right in state right must be a number, not [1.0]",
        ),
        (
            {"reward": only(1, (0, 1), "1", 0.0)},
            "reward of actions left,right in state right must be a number, not '1'",
        ),
        ({"reward": lambda s, a: [[1], 2]}, "reward of actions left,left in state left must be a number, not [[1], 2]"),
        (
            {"observation": after({0: 1.0})},
            "observation of actions left,left and next state right must be {joint observation: probability}, a joint "
            "observation being a tuple of an index for each agent (0 to 1, 0 to 1), and 0 is none: {0: 1.0}",
        ),
        ({"observation": after({(0, 2): 1.0})}, "and (0, 2) is none: {(0, 2): 1.0}"),
        ({"observation": after({(0,): 1.0})}, "and (0,) is none: {(0,): 1.0}"),
        (
            {"initial_observation": lambda state: {0: 1.0}},
            "initial_observation of state left must be {joint observation: probability}, a joint",
        ),
        (
            {"transition": only(1, ALL, [0.0, 1.0], {0: 1.0})},
            "transition of actions left,left in state right must be {next state: probability}, a state being its index"
            ", not [0.0, 1.0]",
        ),
        ({"transition": only(1, ALL, {-1: 1.0}, {0: 1.0})}, "its index (0 to 1), and -1 is none: {-1: 1.0}"),
        ({"transition": only(1, ALL, {"left": 1.0}, {0: 1.0})}, "and 'left' is none: {'left': 1.0}"),
        (
            {"transition": only(1, ALL, {0: [1.0]}, {0: 1.0})},
            "the probability of 0 in transition of actions left,left in state right must be a number, not [1.0]",
        ),
        ({"start": ((0.5,), 0.5)}, "start must be an array of numbers, with rows of one length, not "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_what_a_function_gave_is_named(changes, sentence):
    from_functions(**RIGHT)
    with pytest.raises(TacitError, match=re.escape(sentence)):
        from_functions(**(RIGHT | changes))


def test_payoffs():
    assert matrix_game([[1, 0], [0, 1]], ("ann", "bob"), (SIDES, SIDES)).num_actions == (2, 2)
    for payoffs, sentence in [
        ([[1, 2], [3]], "payoffs must be an array of numbers, with rows of one length, not [[1, 2], [3]]"),
        (np.ones((2, 3)), "payoffs must be of shape (2, 2), the actions of each agent, not (2, 3)"),
    ]:
        with pytest.raises(TacitError, match=re.escape(sentence)):
            matrix_game(payoffs, ("ann", "bob"), (SIDES, SIDES))
