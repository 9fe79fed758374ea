"""The simulator against games known by hand, and sampled cross-play against exact values of random games."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from games.errors import TacitError
from games.tabular import histories
from games.tabular.dec_pomdp import DecPOMDP, from_functions, matrix_game
from games.tabular.simulator import Simulator
from marl.crossplay import crossplay
from marl.policies.tabular import agent_of

# ------------------------------------------------------------------------------------------- a game of turns, by hand

WAIT = 0  # agent 1's action out of turn; agent 0 has "left" there


def relay(discount=0.5):
    """Agent 0 sees a card and says left or right; agent 1 hears it and is paid for naming the card.

    States: card 0 or 1, before (0, 1) and after (2, 3) agent 0 spoke. Agent 0 sees zero, one, then nothing; agent 1
    nothing, then what was said.
    """

    def transition(state, actions):
        return {state % 2 + 2: 1.0}

    def observation(actions, state):
        return {(2, 1 + actions[0]): 1.0}

    return from_functions(
        agents=("speaker", "hearer"),
        states=("card 0", "card 1", "card 0 told", "card 1 told"),
        actions=(("left", "right"), ("wait", "left", "name 1")),
        observations=(("zero", "one", "nothing"), ("nothing", "left", "right")),
        discount=discount,
        start=[0.25, 0.75, 0, 0],
        transition=transition,
        observation=observation,
        reward=lambda state, actions: float(state >= 2 and actions[1] == state - 1),
        initial_observation=lambda state: {(state % 2, 0): 1.0},
        legal=(
            np.array([[True, True], [True, True], [True, False]]),
            np.array([[True, False, False], [False, True, True], [False, True, True]]),
        ),
    )


def bits(vector):
    return np.flatnonzero(np.asarray(vector)).tolist()


def test_what_a_game_of_turns_looks_like():
    game = Simulator(relay(), 2, "relay")
    assert (game.name, game.num_players, game.num_actions, game.noop, game.horizon) == ("relay", 2, 4, 3, 2)
    assert (game.max_acting, game.cyclic) == (1, True)
    assert game.score_range == (0.0, 0.5)
    assert Simulator(relay(), 1, "relay").score_range == (0.0, 0.0)  # the only reward comes at the second step
    assert not Simulator(relay(), 3, "relay").cyclic  # it would be agent 0's turn again, and it is not
    assert [game.action_name(action) for action in range(5)] == [
        "left/wait", "right/left", "name 1", "no-op", "no such action"
    ]  # fmt: skip
    assert repr(game).startswith("relay(horizon=2, agents=2, states=4, actions=2x3, observations=3x3, discount=0.5, ")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_a_game_of_turns_played_by_hand(seed):
    game = Simulator(relay(), 2, "relay")
    init_key, first_key, second_key = jax.random.split(jax.random.key(seed), 3)
    state = game.init(key=init_key)
    card = int(state.state)
    assert game.is_acting(state).tolist() == [True, False]
    assert [bits(game.legal(state, player)) for player in (0, 1)] == [[0, 1], [3]]
    # Sections: time (2), action (4, the last: none), observation (4, the last: none).
    assert [bits(game.observe(state, player, "last")) for player in (0, 1)] == [[0, 5, 6 + card], [0, 5, 6]]
    with pytest.raises(TacitError, match="player 1 may not take action 0 \\('left/wait'\\) here"):
        game.checked_step(state, [0, WAIT], key=first_key)
    state, reward, done = game.checked_step(state, [1, game.noop], key=first_key)
    assert (float(reward), bool(done), int(state.state)) == (0.0, False, card + 2)
    assert game.is_acting(state).tolist() == [False, True]
    assert [bits(game.legal(state, player)) for player in (0, 1)] == [[3], [1, 2]]
    # Out of turn the simulator played agent 1's only action for it.
    assert [bits(game.observe(state, player, "last")) for player in (0, 1)] == [[1, 3, 8], [1, 2, 8]]
    for player, path in enumerate([(card, 1, 2), (0, WAIT, 2)]):
        (index,) = bits(game.observe(state, player, "history"))
        assert game.tree.agents[player].path(index) == path
    state, reward, done = game.checked_step(state, [game.noop, 2], key=second_key)
    assert (float(reward), bool(done)) == (0.5 * card, True)  # discounted once
    assert [bits(game.legal(state, player)) for player in (0, 1)] == [[3], [3]]
    assert bits(game.observe(state, 0, "history")) == []
    after, reward, done = game.step(state, jnp.array([3, 3]), key=second_key)
    assert (float(reward), bool(done)) == (0.0, True)
    for old, new in zip(state, after, strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.slow
@pytest.mark.parametrize("actions", [[0, 0], [3, 3], [2, 3], [0, -1], [4, 3]])
def test_an_illegal_action_is_not_played(actions):
    game = Simulator(relay(), 2, "relay")
    state = game.init(key=jax.random.key(0))
    after, reward, done = game.step(state, jnp.array(actions), key=jax.random.key(1))
    assert (float(reward), bool(done), bool(after.illegal)) == (0.0, False, True)
    for old, new in zip(state._replace(illegal=jnp.bool_(True)), after, strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.slow
def test_everybody_acts_at_once_in_a_matrix_game():
    game = Simulator(matrix_game(np.diag([3.0, -1.0, 2.0]), "ab", [["x", "y", "z"]] * 2), 1, "diagonal")
    assert (game.max_acting, game.cyclic, game.score_range) == (2, False, (-1.0, 3.0))
    assert game.action_name(1) == "y"
    state = game.init(key=jax.random.key(0))
    assert game.acting(state)[0].tolist() == [0, 1]
    for actions, payoff in [([0, 0], 3.0), ([1, 1], -1.0), ([0, 2], 0.0)]:
        _, reward, done = game.checked_step(state, actions, key=jax.random.key(1))
        assert (float(reward), bool(done)) == (payoff, True)


def test_an_agent_that_never_has_a_choice_never_acts():
    problem = matrix_game(np.array([[1.0], [2.0]]), "ab", [["x", "y"], ["only"]])
    game = Simulator(problem, 3, "lonely")
    state = game.init(key=jax.random.key(0))
    assert (game.max_acting, game.score_range) == (1, (3.0, 6.0))
    assert bits(game.legal(state, 1)) == [game.noop]
    _, reward, _ = game.checked_step(state, [1, game.noop], key=jax.random.key(0))
    assert float(reward) == 2.0


# -------------------------------------------------------------------------------------------------------------- chance


def test_chance_has_the_probabilities_of_the_tables():
    """Never an entry of probability 0, wherever in its row; the others as often as they should be."""
    start = np.array([0, 0.2, 0, 0, 0.7, 0.1, 0])
    blind = dataclasses.replace(
        matrix_game(np.zeros(1), "a", [["only"]]),
        states=tuple("abcdefg"),
        start=start,
        transition=np.tile(start, (1, 7, 1)),
        observation=np.ones((1, 7, 1)),
        reward=np.arange(7.0).reshape(1, 1, 7, 1) * np.ones((1, 7, 1, 1)),
    )
    game, draws = Simulator(blind, 1, "blind"), 40_000
    keys = jax.random.split(jax.random.key(3), draws)
    states = np.asarray(jax.jit(jax.vmap(lambda key: game.init(key=key)))(keys).state)
    first = game.init(key=jax.random.key(0))
    rewards = jax.jit(jax.vmap(lambda key: game.step(first, jnp.array([game.noop]), key=key)[1]))(keys)
    for drawn in (states, np.asarray(rewards).astype(int)):  # the reward is the next state's number
        counts = np.bincount(drawn, minlength=7)
        assert not counts[start == 0].any()
        np.testing.assert_array_less(np.abs(counts - draws * start), 4 * np.sqrt(draws * start * (1 - start)) + 1e-9)


@pytest.mark.slow
def test_precision_does_not_depend_on_the_callers():
    game = Simulator(relay(), 2, "relay")

    def play():
        state = game.init(key=jax.random.key(5))
        return game.step(state, jnp.array([1, 3], jnp.int32), key=jax.random.key(6))

    single = play()
    with jax.enable_x64(True):
        double = play()
    for one, other in zip(jax.tree.leaves(single), jax.tree.leaves(double), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


# ----------------------------------------------------------------------------------------------- identity and refusals


def test_equal_tables_are_one_game_and_others_are_not():
    game, problem = Simulator(relay(), 2, "relay"), relay()
    assert game == Simulator(relay(), 2, "relay")
    assert hash(game) == hash(Simulator(relay(), 2, "relay"))
    assert game.version == Simulator(relay(), 2, "another name").version
    assert game != Simulator(relay(), 2, "another name")
    reward = problem.reward.copy()
    reward[0, 0] += 1e-12
    everything_legal = tuple(np.ones_like(mask) for mask in problem.legal)
    others = [
        Simulator(problem, 3, "relay"),
        Simulator(relay(discount=0.25), 2, "relay"),
        Simulator(problem.replace(reward=reward), 2, "relay"),
        Simulator(problem.replace(start=np.array([0.75, 0.25, 0, 0])), 2, "relay"),
        Simulator(problem.replace(initial_observation=None), 2, "relay"),
        Simulator(problem.replace(legal=None), 2, "relay"),
        Simulator(problem.replace(legal=everything_legal), 2, "relay"),
        Simulator(problem.replace(transition=np.tile(np.eye(4), (6, 1, 1))), 2, "relay"),
    ]
    versions = {other.version for other in others} | {game.version}
    assert len(versions) == len(others) + 1
    assert all(version.startswith("tabular-1-") and len(version) == 18 for version in versions)


@pytest.mark.parametrize("horizon", [0, -1, 1.5, "3", True, None])
def test_a_horizon_is_a_positive_whole_number(horizon):
    with pytest.raises(TacitError, match=r"^horizon must be a whole number of at least 1, not "):
        Simulator(relay(), horizon, "relay")


def test_histories_are_refused_only_when_asked_for():
    problem = matrix_game(np.ones((2, 2)), "ab", [["x", "y"]] * 2).replace(
        observations=(("o", "p"),) * 2, observation=np.full((4, 1, 4), 0.25)
    )
    game = Simulator(problem, 12, "long")
    assert list(game.observers) == ["last", "history"]
    assert game.observe(game.init(key=jax.random.key(0)), 0, "last").shape == (12 + 3 + 3,)
    with pytest.raises(TacitError, match="'history' of game 'long' would need up to 5592405 entries at horizon"):
        game.observer("history")
    assert Simulator(problem, 4, "shorter").observer("history").size == 1 + 4 + 16 + 64
    with pytest.raises(TacitError, match="game 'long' has no observer 'eyes'; it has last, history"):
        game.observer("eyes")


# ---------------------------------------------------------------------------------------- sampled against exact values


def random_problem(rng, actions, observations, states):
    """Sparse random tables, random legal actions, initial observations and rewards of what happens next."""
    joint_actions, joint_observations = np.prod(actions), np.prod(observations)

    def distributions(*shape):
        weights = rng.exponential(size=shape) * (rng.random(shape) < 0.6)
        weights[..., 0] += weights.sum(-1) == 0
        return weights / weights.sum(-1, keepdims=True)

    legal = [rng.random(sizes) < 0.7 for sizes in zip(observations, actions, strict=True)]
    for mask in legal:
        mask[~mask.any(1), 0] = True
    return DecPOMDP(
        agents=tuple("abc"[: len(actions)]),
        states=tuple(map(str, range(states))),
        actions=tuple(tuple(map(str, range(size))) for size in actions),
        observations=tuple(tuple(map(str, range(size))) for size in observations),
        discount=0.8,
        start=distributions(states),
        transition=distributions(joint_actions, states, states),
        observation=distributions(joint_actions, states, joint_observations),
        reward=rng.normal(size=(joint_actions, states, states, joint_observations)),
        initial_observation=distributions(states, joint_observations),
        legal=tuple(legal),
    )


def random_policy(rng, own):
    """Some rows nearly flat, some sharp, some without one of the legal actions."""
    weights = rng.exponential(size=own.legal.shape) ** rng.uniform(0.3, 4, (own.size, 1)) * own.legal
    forgotten = (rng.random(weights.shape) < 0.2) & (weights < weights.max(1, keepdims=True))
    weights[forgotten] = 0
    return weights / weights.sum(1, keepdims=True)


def exact_value(problem, horizon, tree, policies):
    """Expected discounted return by brute force over everything that can happen."""
    sizes = problem.num_actions, problem.num_observations
    by_path = [
        {own.path(h): policy[h] for h in range(own.size)} for own, policy in zip(tree.agents, policies, strict=True)
    ]
    mean_reward = np.einsum("ast,ato,asto->as", problem.transition, problem.observation, problem.reward)

    def going_on(weights, paths, t):
        """What is still to come, in `weights` [S]: the probability of the state and of all that happened."""
        if not weights.any():
            return 0.0
        total = 0.0
        for joint, actions in enumerate(itertools.product(*map(range, sizes[0]))):
            chosen = weights * np.prod([by_path[i][paths[i]][a] for i, a in enumerate(actions)])
            if not chosen.any():
                continue
            total += problem.discount**t * chosen @ mean_reward[joint]
            moved = chosen @ problem.transition[joint]
            for number, seen in enumerate(itertools.product(*map(range, sizes[1]))):
                after = tuple((*paths[i], actions[i], seen[i]) for i in range(len(seen)))
                if t + 1 < horizon:
                    total += going_on(moved * problem.observation[joint][:, number], after, t + 1)
        return total

    return sum(
        going_on(problem.start * problem.initial_observation[:, number], tuple((own,) for own in seen), 0)
        for number, seen in enumerate(itertools.product(*map(range, sizes[1])))
    )


SIZES = {2: ((3, 2), (2, 2), 3, 3), 3: ((2, 2, 2), (2, 1, 2), 2, 2)}  # agents: actions, observations, states, horizon
SEATINGS = {2: [[0, 0], [0, 1], [1, 0]], 3: [[0, 0, 0], [0, 1, 0], [1, 0, 2], [2, 2, 1]]}


def errors_in_standard_errors(agents, seed, games=1000):
    """(sampled - exact) / standard error of every seating of random joint policies in one random game."""
    rng = np.random.default_rng((agents, seed))
    *sizes, horizon = SIZES[agents]
    problem = random_problem(rng, *sizes)
    game = Simulator(problem, horizon, "random")
    tree = histories.build(problem, horizon)
    joint = [tuple(random_policy(rng, own) for own in tree.agents) for _ in range(agents)]
    played = crossplay(
        game,
        [agent_of(game, policies, str(number)) for number, policies in enumerate(joint)],
        games=games,
        greedy=False,
        key=jax.random.key(seed),
        seating=np.array(SEATINGS[agents]),
    )
    exact = np.array(
        [
            exact_value(problem, horizon, tree, [joint[agent][seat] for seat, agent in enumerate(seats)])
            for seats in SEATINGS[agents]
        ]
    )
    low, high = game.score_range
    assert ((low < exact) & (exact < high)).all()
    np.testing.assert_array_equal(played.length, horizon)
    return (played.mean - exact) / played.standard_error, exact


@pytest.mark.slow
@pytest.mark.parametrize(
    ("agents", "problems"), [(2, 3), (3, 3), *(pytest.param(agents, 10, marks=pytest.mark.proof) for agents in (2, 3))]
)
def test_sampled_returns_are_the_exact_ones(agents, problems):
    errors, exact = zip(*(errors_in_standard_errors(agents, seed) for seed in range(problems)), strict=True)
    errors = np.concatenate(errors)
    assert (np.abs(errors) < 4).all()
    assert 0.6 < errors.std() < 1.4  # the standard errors are not too large for this to say something
    assert min(np.ptp(values) for values in exact) > 1e-3  # and the seatings differ
