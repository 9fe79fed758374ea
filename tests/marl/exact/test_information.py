"""Mutual information: values by hand, and sums over all plays of random games."""

import collections
import math

import numpy as np
import pytest

from games.errors import TacitError
from games.tabular import histories
from games.tabular.library import dectiger, hint
from marl.exact.information import Entry, mutual_information, sent, used


def logs(policies):
    with np.errstate(divide="ignore"):
        return tuple(map(np.log, policies))


@pytest.fixture(scope="module")
def hints():
    """(tree of two colors and ranks, the convention that tells all four cards apart)

    Cards on the diagonal are named by color, the others by rank.
    """
    tree = histories.build(hint.problem(2), 2)
    policy = tree.uniform()
    hinter, guesser = tree.agents
    policy[0][hinter.root[:4]] = np.eye(3)[[0, 1, 1, 0]]
    for word, card in enumerate((0, 3, 2, 1)):  # color0, color1, rank0, rank1
        heard = guesser.child[guesser.root[4], 4, word]
        policy[1][heard] = np.eye(5)[card]
    return tree, policy


def test_a_convention_in_bits(hints):
    tree, policy = hints
    assert sent(tree, logs(policy), 0, steps=[0]) == pytest.approx(1, abs=1e-12)  # diagonal or not
    assert used(tree, logs(policy), 1, received=[1], steps=[1]) == pytest.approx(2, abs=1e-12)  # four words
    merged = used(tree, logs(policy), 1, received=[1], steps=[1], classes=[0, 0, 1, 1, 2])
    assert merged == pytest.approx(1, abs=1e-12)  # only whether it is a color
    assert sent(tree, logs(policy), 0, steps=[0], classes=[0, 0, 0]) == 0


def test_nothing_said_and_nothing_heard(hints):
    tree, policy = hints
    uniform = tree.uniform()
    assert sent(tree, logs(uniform), 0, steps=[0]) == pytest.approx(0, abs=1e-12)
    assert used(tree, logs((policy[0], uniform[1])), 1, received=[1], steps=[1]) == pytest.approx(0, abs=1e-12)
    # The words alone are not used; what is said does not depend on who listens.
    assert sent(tree, logs((policy[0], uniform[1])), 0, steps=[0]) == pytest.approx(1, abs=1e-12)


def sequences(enumeration, tree, policies, agent):
    """{(observation 0, action 0, observation 1, ...) of an agent: probability}, over all plays."""
    game, found = enumeration(tree, policies, 0.0), collections.Counter()

    def walk(weight, state, paths):
        rows = [game.row(i, paths) for i in game.agents]
        for actions in np.ndindex(*game.problem.num_actions):
            share = weight * math.prod(float(row[a]) for row, a in zip(rows, actions, strict=True))
            if share == 0:
                continue
            if len(paths[0]) == 2 * game.horizon - 1:
                found[(*paths[agent], actions[agent])] += share
                continue
            for chance, later, after in game.after(state, paths, actions)[1]:
                walk(share * chance, later, after)

    for beginning in game.first():
        walk(*beginning)
    return found


def information(plays, one, other, given):
    """Σ p(x, y, z) log2 p(z) p(x, y, z) / p(x, z) p(y, z), places counted in the sequence."""
    sums = collections.Counter()
    parts = {"x": one, "y": other, "z": given}
    for sequence, p in plays.items():
        values = {name: tuple(sequence[place] for place in places) for name, places in parts.items()}
        for key in ("xyz", "xz", "yz", "z"):
            sums[key, tuple(values[name] for name in key)] += p
    total = 0.0
    for (key, (*values,)), p in sums.items():
        if key == "xyz" and p > 0:
            x, y, z = values
            total += p * math.log2(p * sums["z", (z,)] / (sums["xz", (x, z)] * sums["yz", (y, z)]))
    return total


@pytest.fixture(scope="module")
def games(random_dec_pomdp):
    problems = {
        "two": (random_dec_pomdp(0, initial=True), 2),
        "restricted": (
            random_dec_pomdp(1, initial=True, restricted=True, num_actions=(3,), num_observations=(2, 3)),
            2,
        ),
        "three": (random_dec_pomdp(2, num_agents=3, num_actions=(2,), num_observations=(2,), initial=True), 2),
    }
    return {name: histories.build(*both) for name, both in problems.items()}


@pytest.mark.parametrize("name", ["two", "restricted", "three"])
def test_against_sums_over_plays(games, enumeration, random_policy, name):
    tree = games[name]
    for seed, agent in ((1, 0), (2, 1)):
        policy = random_policy(tree, seed, zeros=seed == 2)
        plays = sequences(enumeration, tree, policy, agent)
        assert sum(plays.values()) == pytest.approx(1, abs=1e-12)
        expected = information(plays, (1,), (0,), ())
        assert sent(tree, logs(policy), agent, steps=[0]) == pytest.approx(expected, abs=1e-12)
        assert sent(tree, logs(policy), agent, steps=[0, 1]) == pytest.approx(
            information(plays, (1, 3), (0,), ()), abs=1e-12
        )
        assert expected > 1e-3
        expected = information(plays, (2,), (3,), (0,))
        assert used(tree, logs(policy), agent, received=[1], steps=[1]) == pytest.approx(expected, abs=1e-12)
        without = used(tree, logs(policy), agent, received=[1], steps=[1], private=())
        assert without == pytest.approx(information(plays, (2,), (3,), ()), abs=1e-12)
        whole = mutual_information(
            tree, logs(policy), agent, [Entry("observation", 1)], [Entry("action", 0)], [Entry("action", 1)]
        )
        assert whole == pytest.approx(information(plays, (2,), (1,), (3,)), abs=1e-12)


def test_bad_input(hints):
    tree, policy = hints
    with pytest.raises(TacitError, match="the step of an action must be a whole number from 0 to 1"):
        sent(tree, logs(policy), 0, steps=[2])
    with pytest.raises(TacitError, match="actions from step 0 on cannot use what is seen only at step 1"):
        used(tree, logs(policy), 1, received=[1], steps=[0, 1])
    with pytest.raises(TacitError, match="classes must be given for each of 3 actions, not for 2"):
        sent(tree, logs(policy), 0, steps=[0], classes=[0, 1])
    with pytest.raises(TacitError, match="agent must be a whole number from 0 to 1"):
        sent(tree, logs(policy), 2, steps=[0])
    blind = histories.build(dectiger.problem(), 2)
    with pytest.raises(TacitError, match="agents of this game see nothing before step 0"):
        sent(blind, logs(blind.uniform()), 0, steps=[0])
