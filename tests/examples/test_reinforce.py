"""The example's learner: its gradient is right on average, it learns, and is swept and resumed like built-in ones."""

import functools
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from examples.reinforce import Hyperparameters, Reinforce
from experiments import runs
from games.errors import TacitError
from games.tabular.library import lever, tiny_hanabi, two_stage_lever
from marl.learners.learner import updates, zero_metrics
from marl.policies.recurrent import Recurrent
from marl.policies.tabular import Tabular, numbering

pytestmark = pytest.mark.slow

ALPHA = 0.7


def softmax(logits):
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def entropy_of(p):
    return -(p * np.log(p)).sum()


def objective(logits, child):
    """J_α of the two-stage lever game at horizon 2 by enumeration; `logits` [2 players, histories, 2 levers]."""
    first = [softmax(logits[player, 0]) for player in range(2)]
    total = ALPHA * sum(map(entropy_of, first))
    for a0, a1 in itertools.product(range(2), repeat=2):
        rows = child[0, a0, a1], child[0, a1, a0]  # own lever, then the other's, which is seen
        second = [softmax(logits[player, row]) for player, row in enumerate(rows)]
        later = sum(second[0][b] * second[1][c] * (1 if b == c else -1) for b in range(2) for c in range(2))
        later += ALPHA * sum(map(entropy_of, second))
        total += first[0][a0] * first[1][a1] * ((1 if a0 == a1 else -1) + later)
    return total


def test_the_gradient_is_that_of_the_soft_objective():
    game = two_stage_lever.make()
    learner = Reinforce(game, Tabular(game), "last", total_updates=1, num_games=2048, share_parameters=False)
    child = numbering(game).child
    logits = np.random.default_rng(0).normal(size=(2, len(child), 2))
    with_noop = np.concatenate([logits, np.zeros((2, len(child), 1))], axis=2)  # the last action, never legal here
    params = {"logits": jnp.asarray(with_noop, jnp.float32), "value": jnp.zeros((2, len(child)), jnp.float32)}

    @jax.jit
    def estimate(key):
        played, _ = learner.play(params, key=key)
        return jax.grad(learner.loss, has_aux=True)(params, played, jnp.float32(ALPHA))[0]["logits"]

    found = -np.asarray(jax.lax.map(estimate, jax.random.split(jax.random.key(0), 64)), np.float64)
    exact = np.zeros_like(with_noop)
    for index in np.ndindex(logits.shape):
        step = np.zeros_like(logits)
        step[index] = 1e-5
        exact[index] = (objective(logits + step, child) - objective(logits - step, child)) / 2e-5
    error = found.std(axis=0, ddof=1) / np.sqrt(len(found))
    assert np.abs(exact).max() > 20 * error.max()
    assert (np.abs(found.mean(axis=0) - exact) <= 4.5 * error + 1e-6).all()


@pytest.mark.parametrize("memory_clock", ["every_step", "own_turns"])
def test_the_replay_gives_the_probabilities_that_were_played_with(memory_clock):
    """Also in turns, with a recurrent memory, and with parameters of one's own for each seat."""
    game = tiny_hanabi.make("A")
    sizes = {"torso": (4,), "memory": 4, "actor": (), "critic": ()}
    policy = Recurrent(game.observer("last").size, game.num_actions, memory_clock=memory_clock, **sizes)
    learner = Reinforce(game, policy, "last", total_updates=1, num_games=32, share_parameters=False)

    @jax.jit
    def both(key):
        state = learner.init(Hyperparameters(), key=key)
        params = jax.tree.map(  # at the start all actions are nearly as likely
            lambda leaf: leaf + 0.5 * jax.random.normal(key, leaf.shape, jnp.float32), state.params
        )
        seen = learner.play(params, key=key)[0].seen
        replayed = jnp.take_along_axis(learner.log_probs(params, seen), seen.action[..., None], axis=-1)[..., 0]
        return seen.log_prob, replayed, seen.acting

    played, replayed, acting = jax.device_get(both(jax.random.key(3)))
    assert acting.all()
    assert played.std() > 0.02
    np.testing.assert_allclose(replayed, played, atol=1e-5)


@functools.cache
def trained(seeds, count=150):
    """Metrics of each seed's last updates and its parameters, at coefficients 0.05 and 0.5 in one program."""
    game = lever.make()
    learner = Reinforce(game, Tabular(game), "last", total_updates=count, num_games=32, share_parameters=True)

    @jax.jit
    def train(seed, entropy_coef):
        numbers = Hyperparameters(learning_rate=0.1, entropy_coef=entropy_coef)
        state = learner.init(numbers, key=jax.random.key(seed))
        state, _ = updates(learner, state, zero_metrics(learner, state), jnp.int32(count - 20))
        return updates(learner, state, zero_metrics(learner, state), jnp.int32(20))

    every = jax.vmap(jax.vmap(train, (0, None)), (None, 0))
    return jax.device_get(every(jnp.asarray(seeds, jnp.int32), jnp.array([0.05, 0.5], jnp.float32)))


def test_it_learns_the_lever_game():
    """Below the threshold 0.2194 of that game a seed settles on a lever; above it on nothing, and nobody differs."""
    state, metrics = trained((0, 1, 2, 3))
    returns = metrics.episodes.return_sum / metrics.episodes.count
    assert (returns[0] > 0.9).all()
    assert (returns[1] < 0.2).all()
    assert (metrics.means["entropy"][1] > 0.99 * np.log(10)).all()
    best = state.params["logits"][0, :, 0, :10].argmax(axis=1)
    assert len(set(best.tolist())) > 1  # conventions of their own
    assert (state.updates == 150).all()


def test_a_seed_learns_the_same_beside_others():
    together, alone = trained((0, 1, 2, 3))[0], trained((2,))[0]
    np.testing.assert_allclose(together.params["logits"][:, 2], alone.params["logits"][:, 0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"num_games": 1}, r"learner.num_games must be a whole number of at least 2 \(a game is compared"),
        ({"share_parameters": "some"}, "learner.share_parameters must be one of True, False"),
    ],
)
def test_bad_values(changes, says):
    game = lever.make()
    with pytest.raises(TacitError, match=says):
        Reinforce(game, Tabular(game), "last", total_updates=1, **changes)
    with pytest.raises(TacitError, match=r"learner\.entropy_coef must be a number of at least 0, not -1"):
        Hyperparameters(entropy_coef=-1).check()


def test_a_list_of_coefficients_and_a_stop_on_the_way(tacit, small, folder):
    arguments = (
        "train", "game=lever", "learner=reinforce.Reinforce", "policy=tabular", "learner.entropy_coef=[0.05,0.5]",
        "budget.steps=16", *small,
    )  # fmt: skip
    whole = tacit(*arguments, "execution.output=whole")
    assert whole.status == 0, whole.err
    ends = []
    while not ends or ends[-1].status == 75:
        ends.append(tacit(*arguments, "execution.output=cut", "budget.minutes=1e-9"))
    assert [end.status for end in ends] == [75, 75, 75, 0]
    names = sorted(path.parent.name for path in folder.glob("whole/*/run.json"))
    assert len(names) == 2
    for name in names:
        science = json.loads((folder / "whole" / name / "run.json").read_text())["science"]["learner"]
        assert science["_target_"] == "reinforce.Reinforce"
        assert science["share_parameters"] is False  # of a tabular game, unless told otherwise
        ours, theirs = (runs.read_run(folder / output / name) for output in ("whole", "cut"))
        for one, other in zip(ours.agents, theirs.agents, strict=True):
            np.testing.assert_array_equal(one.params["logits"], other.params["logits"])
