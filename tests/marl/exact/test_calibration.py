"""Predictions of partners: values by hand, and against an enumeration of states and joint histories."""

import collections
import itertools

import numpy as np
import pytest

from games.errors import TacitError
from games.tabular import histories
from games.tabular.library import dectiger, hint, lever, two_stage_lever
from marl.exact import other_play
from marl.exact.calibration import calibration, mean_calibration


def logs(policies):
    with np.errstate(divide="ignore"):
        return tuple(map(np.log, policies))


def stacked(policies):
    return tuple(np.stack(own) for own in zip(*map(logs, policies), strict=True))


@pytest.fixture(scope="module")
def levers():
    """(the tree of two levers, both on lever 0 and both on lever 1 [2, 1, 2])."""
    tree = histories.build(lever.problem([1, 1]), 1)
    return tree, stacked([(np.eye(2)[[pulled]],) * 2 for pulled in (0, 1)])


def test_two_conventions(levers):
    tree, log_probs = levers
    own = mean_calibration(tree, log_probs, np.array([[0, 0], [1, 1]]))
    assert own == (0, 0, 0, 0, 0, 1)
    crossed = mean_calibration(tree, log_probs, np.array([[0, 1], [1, 0]]))
    # Always sure and always wrong: (1 - 0)² + (0 - 1)²; nothing is uncertain in it.
    assert crossed == (2, 2, 0, 0, 0, 1)


def test_a_stranger_with_other_labels(levers):
    tree, log_probs = levers
    strangers = other_play.relabelled(tree, (np.array([[0, 0]]), np.array([[1, 1]])), log_probs)
    found = mean_calibration(tree, log_probs, np.array([[0, 1], [1, 0]]), strangers)
    # Wrong every second time: Brier 1 = reliability 2 (1 - 1/2)² + uncertainty 1/2.
    np.testing.assert_allclose(found, (1, 0.5, 0, 0.5, 0, 1), atol=1e-12)


def repeat_or_switch(tree, first, switch):
    """Step 1: lever 0 with probability `first`. Step 2: the own lever again, or the other one."""
    policies = []
    for own in tree.agents:
        policy = np.tile([first, 1 - first], (own.size, 1))
        later = own.stage(1)
        policy[later] = np.eye(2)[own.action[later] ^ switch]
        policies.append(policy)
    return tuple(policies)


def test_resolution_of_the_second_step():
    tree = histories.build(two_stage_lever.problem(), 2)
    repeat, switch = (logs(repeat_or_switch(tree, 0.5, way)) for way in (0, 1))
    # Half the predictions are (1/2, 1/2), the others certain.
    own = calibration(tree, repeat, repeat, agent=0, partner=1)
    np.testing.assert_allclose(own, (0.25, 0, 0.25, 0.5, 0, 2), atol=1e-12)
    crossed = calibration(tree, repeat, (repeat[0], switch[1]), agent=0, partner=1)
    np.testing.assert_allclose(crossed, (1.25, 1, 0.25, 0.5, 0, 2), atol=1e-12)


def test_what_the_model_excludes():
    """After a stranger's first lever 1 the model, in which lever 0 is pulled, knows nothing but its own partner."""
    tree = histories.build(two_stage_lever.problem(), 2)
    model, stranger = (logs(repeat_or_switch(tree, first, 0)) for first in (1.0, 0.0))
    found = calibration(tree, model, (model[0], stranger[1]), agent=0, partner=1)
    # First surely wrong (2). Then the model's partner, had it pulled lever 1, would repeat it: right (0).
    np.testing.assert_allclose(found, (1, 1, 0, 0, 0.5, 2), atol=1e-12)


def reached(game):
    """[(probability, joint path)] of every stage of an `Enumeration`, under its policies."""
    stage = collections.Counter()
    for chance, state, paths in game.first():
        stage[state, paths] += chance
    for t in range(game.horizon):
        yield [(weight, paths) for (_, paths), weight in stage.items()]
        following = collections.Counter()
        for (state, paths), weight in stage.items():
            if t == game.horizon - 1:
                continue
            rows = [game.row(agent, paths) for agent in game.agents]
            for actions in np.ndindex(*game.problem.num_actions):
                share = weight * np.prod([row[a] for row, a in zip(rows, actions, strict=True)])
                if share > 0:
                    for chance, later, after in game.after(state, paths, actions)[1]:
                        following[later, after] += share * chance
        stage = following


def predicted(enumeration, tree, model, played, agent, partner):
    """[(weight, prediction, shares of the partner's actions)] for each joint path at which one is asked for."""
    uniform = tree.uniform()
    believed = enumeration(tree, tuple(uniform[i] if i == agent else own for i, own in enumerate(model)), 0.0)
    real = enumeration(tree, played, 0.0)
    legal = tree.agents[partner].legal
    rows = []
    for belief, happens in zip(reached(believed), reached(real), strict=True):
        asked = [[(p, h) for p, h in part if legal[real.number[partner][h[partner]]].sum() > 1]
                 for part in (belief, happens)]  # fmt: skip
        sums = collections.defaultdict(float)
        for p, paths in asked[0]:
            sums[paths[agent]] += p * believed.row(partner, paths)
        rows += [(p, sums[h[agent]] / np.sum(sums[h[agent]]), real.row(partner, h)) for p, h in asked[1] if p > 0]
    return rows


def scores(rows):
    """Brier and its parts, from the definitions."""
    total = sum(weight for weight, _, _ in rows)
    brier, groups = 0.0, collections.defaultdict(list)
    for weight, forecast, shares in rows:
        for action, share in enumerate(shares):
            brier += weight * share * sum((p - (a == action)) ** 2 for a, p in enumerate(forecast)) / total
        groups[tuple(np.round(forecast, 9))].append((weight, shares))
    base = sum(weight * shares for weight, _, shares in rows) / total
    reliability = resolution = 0.0
    for forecast, part in groups.items():
        size = sum(weight for weight, _ in part)
        mean = sum(weight * shares for weight, shares in part) / size
        reliability += size / total * np.sum((np.array(forecast) - mean) ** 2)
        resolution += size / total * np.sum((mean - base) ** 2)
    return brier, reliability, resolution, np.sum(base * (1 - base)), 0, total


@pytest.fixture(scope="module")
def games(random_dec_pomdp):
    problems = {
        "two": (random_dec_pomdp(0, initial=True), 2),
        "restricted": (
            random_dec_pomdp(1, initial=True, restricted=True, num_actions=(3,), num_observations=(2, 3)),
            2,
        ),
        "three": (random_dec_pomdp(2, num_agents=3, num_actions=(2,), num_observations=(2, 1)), 2),
        "dectiger": (dectiger.problem(), 2),
    }
    return {name: histories.build(*both) for name, both in problems.items()}


@pytest.mark.parametrize("name", ["two", "restricted", "three", "dectiger"])
@pytest.mark.parametrize("zeros", [False, True])
def test_against_the_enumeration(games, enumeration, random_policy, name, zeros):
    tree = games[name]
    model, other = random_policy(tree, 1), random_policy(tree, 2, zeros)
    for agent, partner in itertools.permutations(range(len(tree.agents)), 2):
        played = tuple(model[i] if i == agent else own for i, own in enumerate(other))
        found = calibration(tree, logs(model), logs(played), agent=agent, partner=partner)
        expected = scores(predicted(enumeration, tree, model, played, agent, partner))
        np.testing.assert_allclose(found, expected, atol=1e-8)
        assert found.reliability > 1e-3
        assert found.brier == pytest.approx(found.reliability - found.resolution + found.uncertainty, abs=1e-12)


@pytest.mark.parametrize("name", ["two", "restricted", "three", "dectiger"])
def test_calibrated_with_itself(games, random_policy, name):
    tree = games[name]
    for seed in range(10):
        policy = logs(random_policy(tree, seed, zeros=seed % 2 == 1))
        for agent, partner in itertools.permutations(range(len(tree.agents)), 2):
            own = calibration(tree, policy, policy, agent=agent, partner=partner)
            assert own.reliability < 1e-20 and own.unforeseen == 0
            assert own.brier == pytest.approx(own.uncertainty - own.resolution, abs=1e-12)


def test_a_draw_among_strangers_is_one_stranger(games, random_policy):
    """Probabilities of predictions and actions are linear in what the partner plays."""
    tree = games["two"]
    policies = [logs(random_policy(tree, seed)) for seed in range(3)]
    mixed = other_play.mixture(tree, tuple(np.stack(own) for own in zip(*policies, strict=True)))
    found = calibration(tree, policies[0], (policies[0][0], mixed[1]), agent=0, partner=1)
    each = [calibration(tree, policies[0], (policies[0][0], other[1]), agent=0, partner=1) for other in policies]
    assert found.brier == pytest.approx(np.mean([one.brier for one in each]), abs=1e-10)
    assert found.reliability < np.mean([one.reliability for one in each])


def test_who_has_one_legal_action_is_not_predicted():
    """Hint: the guesser predicts the word, the hinter the guess, and nobody who waits."""
    tree = histories.build(hint.problem(2), 2)
    uniform = logs(tree.uniform())
    # The word is one of 2 and the guess one of 4: Brier 1/2 and 3/4.
    for agent, brier in ((1, 0.5), (0, 0.75)):
        found = calibration(tree, uniform, uniform, agent=agent, partner=1 - agent)
        np.testing.assert_allclose(found, (brier, 0, 0, brier, 0, 1), atol=1e-12)


def test_the_mean_counts_predictions(games, random_policy):
    tree = games["restricted"]
    policies = [logs(random_policy(tree, seed)) for seed in range(2)]
    both = tuple(np.stack(own) for own in zip(*policies, strict=True))
    each = [
        calibration(tree, policies[model], (policies[first][0], policies[second][1]), agent=agent, partner=1 - agent)
        for first, second in ((0, 1), (1, 1))
        for agent, model in enumerate((first, second))
    ]
    counts = [one.predictions for one in each]
    assert np.ptp(counts) > 0.01
    found = mean_calibration(tree, both, np.array([[0, 1], [1, 1]]))
    np.testing.assert_allclose(found[:-1], np.average(np.array(each)[:, :-1], axis=0, weights=counts), atol=1e-12)
    assert found.predictions == pytest.approx(np.mean(counts), abs=1e-12)


def test_bad_input(levers):
    tree, log_probs = levers
    policy = tuple(own[0] for own in log_probs)
    with pytest.raises(TacitError, match="an agent predicts another one, not itself"):
        calibration(tree, policy, policy, agent=1, partner=1)
    with pytest.raises(TacitError, match="partner must be a whole number from 0 to 1"):
        calibration(tree, policy, policy, agent=1, partner=2)
    one = histories.build(lever.problem([1]), 1)
    with pytest.raises(TacitError, match="agent player1 never has a choice: there is nothing to predict"):
        calibration(one, logs(one.uniform()), logs(one.uniform()), agent=0, partner=1)
    with pytest.raises(TacitError, match="nobody ever has a choice"):
        mean_calibration(one, tuple(own[None] for own in logs(one.uniform())), np.zeros((1, 2), int))
