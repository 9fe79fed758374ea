"""One agent in the place of all: what it may do, and that nothing else changes."""

import numpy as np
import pytest

from games.tabular.centralised import centralised
from games.tabular.library import dectiger, hint, two_stage_lever
from marl.exact.optimum import optimum


def test_joint_actions_and_observations_are_its_own():
    team = two_stage_lever.problem()
    alone = centralised(team, "one")
    assert alone.agents == ("one",)
    assert alone.actions == (("left,left", "left,right", "right,left", "right,right"),)
    assert alone.observations == alone.actions
    assert (alone.transition == team.transition).all()
    assert (alone.expected_reward == team.expected_reward).all()
    assert alone.legal is None


def test_it_may_do_what_everybody_may():
    alone = centralised(hint.problem(2))  # states: 4 cards; the hinter sees the card, the guesser nothing (number 4)
    assert alone.legal is not None
    (legal,) = alone.legal
    card0 = np.ravel_multi_index((0, 4), (5, 5))  # before the hint
    assert [alone.actions[0][number] for number in np.flatnonzero(legal[card0])] == ["color,wait", "rank,wait"]
    heard = np.ravel_multi_index((4, 0), (5, 5))  # "color0" was said
    assert [alone.actions[0][number] for number in np.flatnonzero(legal[heard])] == [
        f"wait,color{color}-rank{rank}" for color in range(2) for rank in range(2)
    ]


@pytest.mark.parametrize(
    ("problem", "horizon", "value"),
    [
        (two_stage_lever.problem(), 2, 2.0),
        (hint.problem(3), 2, 1.0),  # it sees the card; two agents reach 2/3
        # Both hear the same side with 0.7225 + 0.0225 and open together, for 20 or -50; otherwise they listen again.
        (dectiger.problem(), 2, -2 + 0.7225 * 20 - 0.0225 * 50 - 0.255 * 2),
    ],
    ids=["two_stage_lever", "hint", "dectiger"],
)
def test_its_optimum(problem, horizon, value):
    found = optimum(centralised(problem), horizon)
    assert found.exact
    assert found.value == pytest.approx(value, abs=1e-12)
