"""Other-Play on the lever game: labels that are drawn anew cannot be coordinated on, the odd lever can."""

import dataclasses
import functools
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from games.errors import TacitError
from games.game import Game, Layout, Observer, Symmetry
from games.relabelled import Relabelled
from games.tabular.library.lever import make as lever
from marl.learners.ippo import IPPO, Hyperparameters
from marl.learners.learner import updates, zero_metrics
from marl.policies.feed_forward import FeedForward


class LeversState(NamedTuple):
    ended: Any
    illegal: Any


@dataclasses.dataclass(frozen=True)
class Levers(Game):
    """Two players pull one of three levers: the same of the first two pays 1, both the last 0.9 (after Hu et al.)."""

    name: ClassVar[str] = "levers"
    version: ClassVar[str] = "levers-1"
    num_players: ClassVar[int] = 2
    num_actions: ClassVar[int] = 4
    max_acting: ClassVar[int] = 2
    cyclic: ClassVar[bool] = False
    horizon: ClassVar[int] = 1
    score_range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    @functools.cached_property
    def observers(self):
        layout = Layout.of([("nothing", {"bit": 1}, "always 1")])
        see = lambda state, player: jnp.ones(1, jnp.float32)  # noqa: E731
        return {"own": Observer("own", layout, jnp.float32, see, lambda symmetry, x: x)}

    def init(self, *, key):
        return LeversState(jnp.bool_(False), jnp.bool_(False))

    def transition(self, state, actions, *, key):
        pays = jnp.array([1.0, 1.0, 0.9, 0.0], jnp.float32)[actions[0]]
        return state._replace(ended=jnp.bool_(True)), jnp.where(actions[0] == actions[1], pays, 0.0)

    def acting(self, state):
        return jnp.arange(2, dtype=jnp.int32), jnp.broadcast_to(~state.ended, (2,))

    def legal_when_acting(self, state, player):
        return jnp.arange(4, dtype=jnp.int32) < 3

    def action_name(self, action):
        return f"lever {action}"

    def sample_symmetry(self, *, key):
        image = jax.random.permutation(key, jnp.arange(2, dtype=jnp.int32))
        actions = jnp.concatenate([image, jnp.array([2, 3], jnp.int32)])
        return Symmetry(jnp.arange(2, dtype=jnp.int32), jnp.broadcast_to(actions, (2, 4)), image)


def learner(game, **changes):
    given = {
        "policy": FeedForward(1, game.num_actions, torso=(8,)), "observer": "own",
        "num_games": 512, "rollout_length": 1, "epochs": 2, "minibatches": 1, "total_updates": 100,
    }  # fmt: skip
    return IPPO(game=game, **(given | changes))


START = (0.46, 0.08, 0.46, 1.0)
"""How likely each lever is at the start; the last entry is the no-op's, which is not legal."""


@functools.cache
def trained(other_play):
    """Greedy actions of six seeds, and their last mean returns."""
    own = learner(Levers(), other_play=other_play)
    numbers = Hyperparameters(learning_rate=0.02, entropy_coef=0.01)

    def start(key):
        state = own.init(numbers, key=key)
        state.params["logits_layer"]["bias"] = jnp.log(jnp.array(START, jnp.float32))
        return state

    def decide(params):
        return own.policy.apply(params, (), jnp.ones(1, jnp.float32), jnp.arange(4) < 3)[1]

    states = jax.jit(lambda keys: jax.lax.map(start, keys))(jax.random.split(jax.random.key(0), 6))
    nothing = zero_metrics(own, jax.eval_shape(start, jax.random.key(0)))
    run = jax.jit(lambda states, count: jax.lax.map(lambda state: updates(own, state, nothing, count), states))
    states, _ = run(states, jnp.int32(90))
    states, last = run(states, jnp.int32(10))
    log_probs, episodes = jax.device_get((jax.jit(jax.vmap(decide))(own.agent_params(states)), last.episodes))
    return log_probs.argmax(axis=1), episodes.return_sum / episodes.count


@pytest.mark.slow
def test_self_play_takes_the_lever_that_is_likeliest():
    """A partner who names levers alike pulls lever 0 in .46 of the games, which pays more than .9 x .46."""
    actions, returns = trained(False)
    assert actions.tolist() == [0] * 6
    np.testing.assert_allclose(returns, 1, atol=0.06)


@pytest.mark.slow
def test_other_play_takes_the_lever_that_everybody_finds():
    """A partner whose labels are its own pulls either of the two in .27 of the games: less than .9 x .46."""
    actions, returns = trained(True)
    assert actions.tolist() == [2] * 6
    np.testing.assert_allclose(returns, 0.9, atol=0.06)


def test_a_learner_that_is_changed_relabels_once():
    once = learner(Levers(), other_play=True)
    assert once.game == Relabelled(Levers())
    assert dataclasses.replace(once, total_updates=7).game == Relabelled(Levers())
    assert learner(Levers()).game == Levers()


def test_a_game_without_symmetries_is_refused():
    game = lever()
    policy = FeedForward(2, game.num_actions)
    with pytest.raises(TacitError, match="game lever draws no symmetries to relabel it by; of tabular"):
        learner(game, policy=policy, observer="last", other_play=True)
