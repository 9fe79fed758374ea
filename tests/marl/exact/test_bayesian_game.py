"""Bayesian games with common payoff: branch and bound against all decision rules."""

import itertools

import numpy as np
import pytest

from marl.exact.bayesian_game import BayesianGame, best_rule, rules_above


@pytest.mark.parametrize("seed", range(40))
def test_bayesian_games_by_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    agents = int(rng.integers(1, 4))
    most = 4 if agents < 3 else 3
    sizes, actions = rng.integers(1, most, agents), rng.integers(1, most, agents)
    types = np.array(list(np.ndindex(*sizes)))
    payoff = rng.normal(size=(len(types), *actions)) * (rng.random((len(types), *[1] * agents)) < 0.8)
    legal = tuple(rng.random((c, a)) < 0.7 for c, a in zip(sizes, actions, strict=True))
    for mask in legal:
        mask[np.arange(len(mask)), rng.integers(mask.shape[1], size=len(mask))] = True
    offsets = np.cumsum([0, *sizes])
    values: dict[tuple[int, ...], float] = {}
    for rule in itertools.product(*(np.flatnonzero(row).tolist() for mask in legal for row in mask)):
        taken = [np.array(rule)[offsets[i] + types[:, i]] for i in range(agents)]
        values[rule] = float(payoff[np.arange(len(types)), *taken].sum())
    game, best = BayesianGame(types, payoff, legal), max(values.values())
    threshold = float(np.quantile(list(values.values()), 0.7)) - 1e-9
    above = {rule for rule, value in values.items() if value > threshold}
    found = rules_above(game, threshold, 10**6)
    rules = [tuple(row) for row in found.actions.tolist()]
    assert set(rules) == above and len(rules) == len(above) and found.left_out == -np.inf
    assert found.payoff == pytest.approx([values[rule] for rule in rules], rel=0, abs=1e-12)
    assert (np.diff(found.payoff) <= 0).all()
    few = rules_above(game, threshold, 2)
    kept = {tuple(row) for row in few.actions.tolist()}
    assert max((values[rule] for rule in above - kept), default=-np.inf) <= few.left_out + 1e-12
    one = best_rule(game, -np.inf, 10**6)
    assert one.payoff.tolist() == pytest.approx([best], rel=0, abs=1e-12)
    assert values[tuple(one.actions[0].tolist())] == pytest.approx(best, rel=0, abs=1e-12)
    assert len(best_rule(game, best + 1e-9, 10**6).payoff) == 0
