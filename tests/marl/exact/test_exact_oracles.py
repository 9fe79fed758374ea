"""The exact core against OpenSpiel and Gambit, which read the exported game."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from games.tabular import efg, histories
from games.tabular.library import dectiger, lever, tiny_hanabi
from marl.exact import deterministic, objective
from marl.exact.best_response import best_response as response
from marl.exact.crossplay import self_play
from marl.exact.gradient_flow import solve
from marl.exact.objective import double_precision
from marl.exact.starts import concatenate, normal_starts, pure_starts

pyspiel = pytest.importorskip("pyspiel", reason="install the dev extra")
pygambit = pytest.importorskip("pygambit", reason="install the dev extra")
from open_spiel.python import policy as open_spiel_policy  # noqa: E402
from open_spiel.python.algorithms import best_response, expected_game_score  # noqa: E402


@pytest.fixture(scope="module")
def games(random_dec_pomdp):
    problems = {
        "dectiger": (dectiger.problem(), 2),
        "tiny_hanabi": (tiny_hanabi.problem("E"), 2),
        "restricted": (random_dec_pomdp(2, initial=True, restricted=True, discount=0.5), 2),
        "three": (random_dec_pomdp(1, num_agents=3, num_states=2, num_actions=(2,), discount=0.7), 2),
        "lever": (lever.problem((1.0, 0.9, 0.5)), 1),
        "types": (random_dec_pomdp(3, num_states=4, num_actions=(2,), initial=True), 1),
        "three with types": (random_dec_pomdp(5, num_agents=3, num_states=4, initial=True), 1),
        "restricted types": (random_dec_pomdp(7, num_observations=(3, 2), initial=True, restricted=True), 1),
    }
    return {name: histories.build(*both) for name, both in problems.items()}


def rows_of(tree, form):
    """For each agent the histories of its information sets in the order of the other program, and their actions."""
    for own, paths in zip(tree.agents, form.histories, strict=True):
        number = {own.path(h): h for h in range(own.size)}
        rows = [number[path] for path in paths]
        yield rows, [np.flatnonzero(own.legal[h]) for h in rows]


@jax.jit
def SWEEP(tables, log_probs, alpha):
    return objective.sweep(tables, log_probs, alpha)


@jax.jit
def RESIDUALS(tables, log_probs, alpha):
    return objective.residuals(tables, log_probs, alpha)


@double_precision
def of_policy(function, tree, policies, alpha):
    """One of the two above at probabilities, in numpy."""
    own = tuple(map(jnp.asarray, logs(policies)))
    return jax.tree.map(np.asarray, function(objective.tables(tree), own, jnp.asarray(alpha)))


def logs(policies):
    with np.errstate(divide="ignore"):
        return tuple(map(np.log, policies))


# ------------------------------------------------------------------------------------------------------------ OpenSpiel


class ReadPolicy(open_spiel_policy.Policy):
    """A joint policy of ours in OpenSpiel's tree, whose information sets are known by their number."""

    def __init__(self, game, tree, form, policies):
        super().__init__(game, list(range(game.num_players())))
        self.rows, self.policies = list(rows_of(tree, form)), policies

    def action_probabilities(self, state, player_id=None):
        agent = state.current_player()
        owner, _, number, _ = state.information_state_string().split("-", 3)
        assert int(owner) == agent and player_id in (None, agent)
        rows, legal = (column[int(number) - 1] for column in self.rows[agent])
        return dict(zip(state.legal_actions(), self.policies[agent][rows, legal].tolist(), strict=True))


def some_at_full_size(*small, full):
    """Names of games, of which `make test` takes the first ones: every game is other programs to compile."""
    return pytest.mark.parametrize("name", [*small, *(pytest.param(name, marks=pytest.mark.proof) for name in full)])


@some_at_full_size("dectiger", "restricted", "three", full=["tiny_hanabi", "three with types"])
def test_expected_returns_are_those_of_open_spiel(games, random_policy, name):
    tree = games[name]
    form = efg.export(tree.problem, tree.horizon)
    game = pyspiel.load_efg_game(form.text)
    policies = [random_policy(tree, seed, zeros=seed == 1) for seed in range(3)]
    ours = self_play(tree, tuple(np.stack(own) for own in zip(*map(logs, policies), strict=True)))
    assert np.ptp(ours) > 0.01
    for policy, value in zip(policies, ours, strict=True):
        readers = [ReadPolicy(game, tree, form, policy)] * tree.problem.num_agents
        theirs = expected_game_score.policy_value(game.new_initial_state(), readers)
        np.testing.assert_allclose(theirs, value, rtol=0, atol=1e-10)


def best_reply(tree, policies, agent):
    """Value and policy of one agent's best response: the last stage first, by our own action values."""
    policies = [own.copy() for own in policies]
    for t in reversed(range(tree.horizon)):
        own = tree.agents[agent]
        values = of_policy(SWEEP, tree, policies, 0.0).q[agent]
        q = np.where(own.legal, values, -np.inf)[own.stage(t)]
        policies[agent][own.stage(t)] = np.eye(own.legal.shape[1])[q.argmax(1)]
    return self_play(tree, tuple(own[None] for own in logs(policies)))[0], policies


@pytest.mark.slow
@some_at_full_size("restricted", "three", full=["dectiger", "tiny_hanabi"])
def test_best_responses_are_those_of_open_spiel(games, random_policy, name):
    tree = games[name]
    form = efg.export(tree.problem, tree.horizon)
    game = pyspiel.load_efg_game(form.text)
    for seed in range(2):
        policies = random_policy(tree, seed)
        reader = ReadPolicy(game, tree, form, policies)
        before = self_play(tree, tuple(own[None] for own in logs(policies)))[0]
        for agent in range(tree.problem.num_agents):
            theirs = best_response.BestResponsePolicy(game, agent, reader).value(game.new_initial_state())
            ours, _ = best_reply(tree, policies, agent)
            assert ours == pytest.approx(theirs, abs=1e-10)
            assert ours > before


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.proof) for seed in (1, 2))])
def test_best_responses_to_pure_policies(games, seed):
    """Ours by action values, ours by beliefs and OpenSpiel's."""
    tree = games["dectiger"]
    generator = np.random.default_rng(seed)
    pure = tuple(tuple(generator.integers(0, 3, 2**t) for t in range(2)) for _ in range(2))
    policies = deterministic.to_behaviour(pure, tree)
    form = efg.export(tree.problem, tree.horizon)
    game = pyspiel.load_efg_game(form.text)
    reader = ReadPolicy(game, tree, form, policies)
    for agent in range(2):
        theirs = best_response.BestResponsePolicy(game, agent, reader).value(game.new_initial_state())
        by_beliefs, _ = response(tree.problem, 2, pure, agent)
        assert by_beliefs == pytest.approx(theirs, abs=1e-10)
        mixed = [0.999999 * own + 1e-6 / 3 for own in policies]  # so that every history of the agent is met
        mixed[1 - agent] = policies[1 - agent]
        assert best_reply(tree, mixed, agent)[0] == pytest.approx(theirs, abs=1e-10)


# --------------------------------------------------------------------------------------------------------------- Gambit


def gambit_profile(game, tree, form, policies):
    """A joint policy of ours in Gambit."""
    mixed = [
        [own[row, legal].tolist() for row, legal in zip(*both, strict=True)]
        for own, both in zip(policies, rows_of(tree, form), strict=True)
    ]
    return game.mixed_behavior_profile(mixed, rational=False)


def from_gambit(profile, tree, form):
    """The way back: for each agent float64[H, A]; who has no information set has one legal action."""
    policies = []
    for player, own, (rows, legal) in zip(profile.game.players, tree.agents, rows_of(tree, form), strict=True):
        policy = own.legal / own.legal.sum(1, keepdims=True)
        for (_, mixed), row, actions in zip(profile[player], rows, legal, strict=True):
            policy[row, actions] = [chance for _, chance in mixed]
        policies.append(policy)
    return tuple(policies)


one_stage = pytest.mark.parametrize(
    ("name", "alphas"),
    [
        ("lever", [0.5, 0.1]),
        ("types", [1.0, 0.1]),
        pytest.param("three with types", [1.0, 0.3], marks=pytest.mark.proof),
        pytest.param("restricted types", [1.0, 0.1], marks=pytest.mark.proof),
    ],
)


@pytest.mark.slow
@one_stage
def test_stationary_points_are_logit_equilibria_in_gambit(games, name, alphas):
    """π(a|h) = softmax(λ · payoff of a in Gambit), λ = 1/α; wherever a start ends."""
    tree = games[name]
    form = efg.export(tree.problem, 1)
    game = pygambit.read_efg(io.StringIO(form.text))
    for alpha in alphas:
        starts = concatenate(pure_starts(tree, 3, seed=0), normal_starts(tree, 1, 1.0, seed=0))
        found = solve(tree, starts, np.full(len(starts[0]), alpha))
        assert found.converged.all()
        for row in range(len(starts[0])):
            policies = tuple(np.exp(own[row]) for own in found.log_probs)
            profile = gambit_profile(game, tree, form, policies)
            values = iter([[value for _, value in of_actions] for _, of_actions in profile.action_values])
            for own, (rows, legal) in zip(policies, rows_of(tree, form), strict=True):
                for h, actions in zip(rows, legal, strict=True):
                    weights = np.exp(np.array(next(values)) / alpha)
                    np.testing.assert_allclose(own[h, actions], weights / weights.sum(), rtol=0, atol=1e-8)
            assert next(values, None) is None


@one_stage
def test_gambits_logit_equilibria_are_stationary(games, name, alphas):
    tree = games[name]
    form = efg.export(tree.problem, 1)
    game = pygambit.read_efg(io.StringIO(form.text))
    found = pygambit.qre.logit_solve_lambda(game, [1 / alpha for alpha in alphas])
    assert len(found) == len(alphas)
    for equilibrium, alpha in zip(found, alphas, strict=True):
        assert equilibrium.lam == pytest.approx(1 / alpha, abs=1e-8)
        policies = from_gambit(equilibrium.profile, tree, form)
        reached, everywhere = of_policy(RESIDUALS, tree, policies, alpha)
        assert reached <= everywhere <= 1e-8
        assert max(np.abs(own - own.mean(1, keepdims=True)).max() for own in policies) > 0.05  # not just uniform


def frozen(tree, policies, alpha):
    """The game with the payoff r - α Σ log π of a joint policy π."""
    number = [{own.path(h): h for h in range(own.size)} for own in tree.agents]
    return efg.export(
        tree.problem,
        tree.horizon,
        lambda agent, path, action: -alpha * float(np.log(policies[agent][number[agent][path], action])),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "alpha"),
    [
        ("dectiger", 15.0),
        *(
            pytest.param(*case, marks=pytest.mark.proof)
            for case in [("dectiger", 8.0), ("tiny_hanabi", 1.0), ("restricted", 0.5), ("three", 0.5)]
        ),
    ],
)
def test_stationary_points_have_no_regret_in_the_frozen_game(games, random_policy, name, alpha):
    tree = games[name]
    starts = concatenate(pure_starts(tree, 2, seed=0), normal_starts(tree, 1, 1.0, seed=0))
    found = solve(tree, starts, np.full(3, alpha))
    assert found.converged.all()
    stationary = [tuple(np.exp(own[row]) for own in found.log_probs) for row in range(3)]
    for policies, is_stationary in [(policy, True) for policy in stationary] + [(random_policy(tree, 5), False)]:
        form = frozen(tree, policies, alpha)
        game = pygambit.read_efg(io.StringIO(form.text))
        profile = gambit_profile(game, tree, form, policies)
        value = float(of_policy(SWEEP, tree, policies, alpha).objective)
        for player in game.players:
            assert profile.payoffs[player] == pytest.approx(value, rel=1e-12, abs=1e-10)
        regret = float(profile.agent_max_regret())
        assert regret <= 1e-8 if is_stationary else regret > 0.1


def test_gambits_own_equilibrium_without_continuation_entropy_is_another_point(games):
    """Beyond one stage agent quantal response equilibria are not the stationary points of J_α."""
    tree, alpha = games["dectiger"], 15.0
    form = efg.export(tree.problem, 2)
    (found,) = pygambit.qre.logit_solve_lambda(pygambit.read_efg(io.StringIO(form.text)), [1 / alpha])
    assert found.lam == pytest.approx(1 / alpha, abs=1e-8)
    policies = from_gambit(found.profile, tree, form)
    assert of_policy(RESIDUALS, tree, policies, alpha)[0] > 1e-4
