"""Rows of players who wait, counted as JaxMARL counts them: one optimiser step of its published formula, in float64.

The formula is written here from the public baselines (JaxMARL at c793d09, baselines/IPPO/ippo_{ff,rnn}_hanabi.py):
every player has a row at every step, the no-op is all that is legal for who waits, advantages are normalised over all
rows, and all terms are means over all rows.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from games.errors import TacitError
from games.tabular.library.lever import make as lever_game
from marl.learners import rollout
from marl.learners.ippo import IPPO, Hyperparameters
from marl.policies.feed_forward import FeedForward
from marl.policies.recurrent import Recurrent

STEPS, GAMES, ACTIONS, NOOP = 5, 4, 4, 3
NUMBERS = {"clip": 0.3, "value_coef": 0.5, "entropy_coef": 0.05, "gamma": 0.9, "gae_lambda": 0.6, "max_grad_norm": 0.5}
RATE = 1e-3
POLICIES = {
    "feed-forward": FeedForward(2, ACTIONS, torso=(6,)),
    "recurrent": Recurrent(2, ACTIONS, torso=(6,), memory=3, memory_clock="every_step"),
}


def learner(policy, players, **changes):
    settings = {"num_games": GAMES, "rollout_length": STEPS, "epochs": 1, "minibatches": 1, "total_updates": 10}
    settings |= {"batch": "all", "no_op_rows": "counted"}
    return IPPO(lever_game((1.0, 1.0, 1.0), 0.0, players), policy, "last", **settings | changes)


def played(policy, players, seed):
    """A made-up rollout of games in turns, with ends: (trajectory, what is ahead [G, P])."""
    rng = np.random.default_rng(seed)
    shape = (STEPS, GAMES, players)
    mover = rng.integers(0, players, (STEPS, GAMES, 1)).astype(np.int32)
    action = rng.integers(0, NOOP, (STEPS, GAMES, 1)).astype(np.int32)
    legal = rng.random((STEPS, GAMES, 1, ACTIONS)) < 0.7
    np.put_along_axis(legal, action[..., None], True, axis=-1)
    memory = jax.tree.map(
        lambda leaf: rng.normal(size=(1, GAMES, players, *leaf.shape)).astype(np.float32), policy.initial_memory()
    )
    trajectory = rollout.Trajectory(
        observation=rng.normal(size=(*shape, 2)).astype(np.float32),
        memory=memory,
        player=np.broadcast_to(np.arange(players, dtype=np.int32), shape),
        valid=np.ones(shape, bool),
        value=rng.normal(size=shape).astype(np.float32),
        slot=mover,
        acting=np.ones((STEPS, GAMES, 1), bool),
        legal=legal,
        action=action,
        log_prob=np.log(rng.uniform(0.1, 0.6, (STEPS, GAMES, 1))).astype(np.float32),
        reward=rng.normal(size=(STEPS, GAMES)).astype(np.float32),
        done=rng.random((STEPS, GAMES)) < 0.3,
    )
    ahead = rng.normal(size=(GAMES, players)).astype(np.float32)
    return jax.tree.map(jnp.asarray, trajectory), jnp.asarray(ahead)


def published_loss(policy, params, trajectory, ahead):
    """The baselines' loss of the whole rollout as one minibatch."""
    players = trajectory.player.shape[2]
    going_on = 1.0 - trajectory.done[..., None]
    advantages, later, next_value = [], 0.0, ahead / NUMBERS["gamma"]  # of the observation after the rollout
    for t in reversed(range(STEPS)):
        delta = trajectory.reward[t][:, None] + NUMBERS["gamma"] * next_value * going_on[t] - trajectory.value[t]
        later = delta + NUMBERS["gamma"] * NUMBERS["gae_lambda"] * going_on[t] * later
        next_value = trajectory.value[t]
        advantages.insert(0, later)
    advantage = jnp.stack(advantages)
    target = advantage + trajectory.value
    acts = jax.nn.one_hot(trajectory.slot[..., 0], players, dtype=bool)  # [T, G, P]
    only_noop = np.arange(ACTIONS) == NOOP
    legal = jnp.where(acts[..., None], trajectory.legal, only_noop)
    action = jnp.where(acts, trajectory.action, NOOP)
    old_log_prob = jnp.where(acts, trajectory.log_prob, 0.0)

    def one_row(memory, observation, legal, done):
        """Of one player in one game, all steps."""
        log_probs, values = [], []
        for t in range(STEPS):
            memory, features = policy.remember(params, memory, policy.perceive(params, observation[t]))
            log_probs.append(policy.act(params, features, legal[t]))
            values.append(policy.value(params, features))
            fresh = policy.initial_memory()
            memory = jax.tree.map(lambda new, old, t=t: jnp.where(done[t], new, old), fresh, memory)
        return jnp.stack(log_probs), jnp.stack(values)

    of_players = jax.vmap(one_row, (0, 1, 1, None), 1)
    memory = jax.tree.map(lambda leaf: leaf[0], trajectory.memory)
    log_probs, value = jax.vmap(of_players, (0, 1, 1, 1), 1)(memory, trajectory.observation, legal, trajectory.done)

    log_prob = jnp.take_along_axis(log_probs, action[..., None], axis=-1)[..., 0]
    ratio = jnp.exp(log_prob - old_log_prob)
    scaled = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    clip = NUMBERS["clip"]
    actor = -jnp.minimum(ratio * scaled, jnp.clip(ratio, 1 - clip, 1 + clip) * scaled).mean()
    clipped = trajectory.value + jnp.clip(value - trajectory.value, -clip, clip)
    critic = 0.5 * jnp.maximum((value - target) ** 2, (clipped - target) ** 2).mean()
    entropy = -jnp.where(legal, jnp.exp(log_probs) * jnp.where(legal, log_probs, 0.0), 0.0).sum(-1).mean()
    return actor + NUMBERS["value_coef"] * critic - NUMBERS["entropy_coef"] * entropy


def published_step(params, gradient):
    """Clipped by the global norm, then the first step of Adam with eps 1e-5: (clipped gradient, parameters)."""
    norm = jnp.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(gradient)))
    clipped = jax.tree.map(lambda leaf: leaf * jnp.minimum(1.0, NUMBERS["max_grad_norm"] / norm), gradient)
    return clipped, jax.tree.map(lambda p, g: p - RATE * g / (jnp.abs(g) + 1e-5), params, clipped)


def close(found, expected):
    """To 1e-5 of the norm of the whole tree."""
    found, expected = (
        np.concatenate([np.ravel(leaf).astype(float) for leaf in jax.tree.leaves(x)]) for x in (found, expected)
    )
    assert np.linalg.norm(found - expected) <= 1e-5 * np.linalg.norm(expected)


@pytest.mark.slow
@pytest.mark.parametrize("kind", POLICIES)
@pytest.mark.parametrize("players", [2, 3, 4, 5])
def test_one_step_is_the_published_one(kind, players):
    policy = POLICIES[kind]
    trajectory, ahead = played(policy, players, seed=players)
    hyperparameters = Hyperparameters(**NUMBERS, learning_rate=RATE)
    ours = learner(policy, players)
    state = jax.jit(lambda: ours.init(hyperparameters, key=jax.random.key(3)))()

    @jax.jit
    def step(state):
        rows = ours._rows(trajectory, ahead, state.hyperparameters)
        (loss, _), gradient = jax.value_and_grad(ours._loss, has_aux=True)(state.params, rows, state.hyperparameters)
        return loss, gradient, ours._learn(state, rows, jax.random.key(0))[0]

    loss, gradient, after = jax.device_get(step(state))
    with jax.enable_x64(True):
        wide = jax.tree.map(
            lambda leaf: np.asarray(leaf, np.float64 if leaf.dtype == np.float32 else leaf.dtype), trajectory
        )
        params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), jax.device_get(state.params))
        of_params = jax.jit(
            jax.value_and_grad(lambda params: published_loss(policy, params, wide, np.asarray(ahead, np.float64)))
        )
        expected_loss, expected = of_params(params)
        clipped, expected_after = published_step(params, expected)
        assert float(loss) == pytest.approx(float(expected_loss), rel=1e-5)
        close(gradient, expected)
        norm = np.sqrt(sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(gradient)))
        close(jax.tree.map(lambda leaf: leaf * min(1.0, NUMBERS["max_grad_norm"] / norm), gradient), clipped)
        close(after, expected_after)


def test_left_out_it_is_another_step():
    """Two players divide the gradient of the policy's terms by two; normalisation is over other rows as well."""
    policy = POLICIES["feed-forward"]
    trajectory, ahead = played(policy, 2, seed=0)
    hyperparameters = Hyperparameters(**NUMBERS | {"value_coef": 0.0})
    state = learner(policy, 2).init(hyperparameters, key=jax.random.key(0))

    def gradient(**changes):
        ours = learner(policy, 2, normalise_advantages=False, **changes)
        rows = ours._rows(trajectory, ahead, state.hyperparameters)
        of_params = jax.jit(jax.value_and_grad(ours._loss, has_aux=True))
        (_, report), found = of_params(state.params, rows, state.hyperparameters)
        return found, report

    (counted, said), (left_out, also) = gradient(), gradient(no_op_rows="left_out")
    for one, other in zip(jax.tree.leaves(counted), jax.tree.leaves(left_out), strict=True):
        np.testing.assert_allclose(2 * one, other, rtol=1e-4, atol=1e-7)
    for name in ("entropy", "clip_fraction", "approx_kl", "ratio_error", "value_loss"):  # what is told is of actions
        assert float(said[name]) == pytest.approx(float(also[name]), rel=1e-5), name


@pytest.mark.parametrize("microbatches", [2, 4])
def test_parts_of_a_minibatch_add_up(microbatches):
    policy = POLICIES["feed-forward"]
    trajectory, ahead = played(policy, 3, seed=1)
    hyperparameters = Hyperparameters(**NUMBERS)
    whole, parts = (learner(policy, 3, microbatches=number) for number in (1, microbatches))
    state = whole.init(hyperparameters, key=jax.random.key(0))
    rows = whole._rows(trajectory, ahead, state.hyperparameters)
    (expected, said), (found, also) = (
        jax.jit(one._gradient)(state.params, rows, state.hyperparameters) for one in (whole, parts)
    )
    close(found, expected)
    for name, value in said.items():
        assert float(also[name]) == pytest.approx(float(value), rel=1e-4, abs=1e-6), name


def test_rows_that_are_not_recorded_cannot_be_counted():
    with pytest.raises(TacitError, match=r"learner\.no_op_rows=counted needs learner\.batch=all, which"):
        learner(POLICIES["feed-forward"], 2, batch="acting")
    with pytest.raises(TacitError, match=r"learner\.no_op_rows must be one of left_out, counted, not 'some'"):
        learner(POLICIES["feed-forward"], 2, no_op_rows="some")
