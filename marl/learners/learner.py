"""The contract that every learner keeps, what its updates report, and the loop over updates.

A learner is a frozen dataclass: one algorithm on one game with one policy, for one seed. Its state is a pytree of
arrays with a field `key`. Where games continue from one update to the next, it has a field `playing`, too, whose leaves
have a leading axis of games. The caller vmaps over seeds and hyperparameters.
"""

import dataclasses
from typing import Any, Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax

from games.game import Game
from marl.learners.losses import masked_mean
from marl.learners.rollout import Episodes, Trajectory
from marl.policies.policy import Array

NEVER = 2**31 - 1
"""A placeholder for the number of an update that did not happen."""

Anneal = Literal["none", "linear", "cosine"]

EntropySchedule = Literal["constant", "linear", "cosine", "target"]

ENTROPY_COEF_RANGE = (1e-5, 1e2)
"""A coefficient that is adapted to a target entropy is clipped to this interval: perhaps none reaches the target."""


class Metrics(NamedTuple):
    """The report of one or several updates; every leaf is a scalar of one learner."""

    updates: Array  # int32[] how many
    episodes: Episodes  # sums over the games that ended
    sums: dict[str, Array]  # over updates, of means over minibatches; "loss" and "entropy" are among them
    maxima: dict[str, Array]
    diverged: Array  # int32[] the number of the first update whose loss was not finite; NEVER if there was none

    @property
    def means(self) -> dict[str, Array]:
        """Means over minibatches and updates, float32[] each."""
        return {name: total / self.updates.astype(jnp.float32) for name, total in self.sums.items()}

    @classmethod
    def of_update(
        cls, number: Array, episodes: Episodes, means: dict[str, Array], maxima: dict[str, Array]
    ) -> "Metrics":
        """The metrics of one update: its `number` int32[], counted from 1, its means and its maxima, float32[] each."""
        diverged = jnp.where(jnp.isfinite(means["loss"]), NEVER, number).astype(jnp.int32)
        return cls(updates=jnp.int32(1), episodes=episodes, sums=means, maxima=maxima, diverged=diverged)


class Learner(Protocol):
    """An algorithm for one seed, hashable.

    A learner that can begin from stored policies (`initial_policies`) also has `with_agent_params(state, params)`: the
    initial state with the parameters that the policy plays with replaced.
    """

    hyperparameters: type
    """NamedTuple of the numbers that may differ between learners of one compiled program, with `check()`."""
    game: Game
    num_games: int
    total_updates: int

    @property
    def steps_per_update(self) -> int:
        """Steps of games that one update plays."""
        ...

    def init(self, hyperparameters: Any, *, key: Array) -> Any:
        """The initial state of a learner. For many seeds use `lax.map`, never `vmap` (see `FeedForward.init`)."""
        ...

    def update(self, state: Any) -> tuple[Any, Metrics]:
        """Play, then learn from what was played."""
        ...

    def agent_params(self, state: Any) -> Any:
        """The parameters that the policy plays with: those of its `marl.agent.Kind`, without a separate critic's."""
        ...

    def peak_bytes(self) -> int:
        """Bytes that one learner needs at its peak, estimated from shapes."""
        ...


@dataclasses.dataclass(frozen=True)
class MinibatchLearner:
    """The fields of the learners that take their gradient steps as `marl.learners.ppo` does; they extend this class.

    Attributes:
      game, policy, observer: the game, the policy that learns it, and the name of the observer that the policy sees.
      num_games: games played side by side.
      epochs: passes over what an update has played.
      minibatches: parts of the shuffled sequences in a pass.
      total_updates: updates of the whole run, over which schedules run.
      anneal: the learning rate's schedule over `total_updates`: "none", "linear" or "cosine" (to 0).
      entropy_schedule: of the entropy coefficient: "constant", "linear" or "cosine" (to `entropy_coef_final` over
        `total_updates`), or "target" (adapted so that the policy's entropy becomes `target_entropy`, a share of that of
        a uniform choice).
      share_parameters: one set of parameters for all players, or one set each.
      microbatches: parts of a minibatch whose gradients are computed one after the other and added up: less memory, and
        the same result up to rounding. None: on a CPU as many as keep a part in its cache, one on an accelerator.
    """

    game: Game
    policy: Any  # ActorCritic, Replayed if its memory depends on the parameters
    observer: str
    _: dataclasses.KW_ONLY  # so that learners may add fields without defaults
    num_games: int
    epochs: int
    minibatches: int
    total_updates: int
    anneal: Anneal = "none"
    entropy_schedule: EntropySchedule = "constant"
    share_parameters: bool = True
    microbatches: int | None = None


def zero_metrics(learner: Learner, state: Any) -> Metrics:
    """The metrics of zero updates: the identity element of the sum in `updates`."""
    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(learner.update, state)[1])
    return nothing._replace(diverged=jnp.int32(NEVER))


def updates(learner: Learner, state: Any, metrics: Metrics, count: Array) -> tuple[Any, Metrics]:
    """Several updates in one compiled loop.

    Args:
      learner: of one seed.
      state: where to start.
      metrics: of the updates before. The new ones are added to them, so that the sums are the same to the bit however
        the updates are divided into calls.
      count: int32[]; traced, so that any number runs in the same program.

    Returns:
      The state afterwards, and the metrics of all updates reduced to one.
    """

    def once(_: Array, carry: tuple[Any, Metrics]) -> tuple[Any, Metrics]:
        state, total = carry
        state, new = learner.update(state)
        return state, Metrics(
            updates=total.updates + new.updates,
            episodes=jax.tree.map(jnp.add, total.episodes, new.episodes),
            sums=jax.tree.map(jnp.add, total.sums, new.sums),
            maxima=jax.tree.map(jnp.maximum, total.maxima, new.maxima),
            diverged=jnp.minimum(total.diverged, new.diverged),
        )

    return jax.lax.fori_loop(0, count, once, (state, metrics))


def clipped_adam(max_grad_norm: Array) -> optax.GradientTransformation:
    """Clip the gradient's norm to `max_grad_norm` float32[], then Adam; the caller applies the learning rate."""
    # Where double precision is enabled, optax would compute the powers of a Python float in float64.
    adam = optax.scale_by_adam(b1=jnp.float32(0.9), b2=jnp.float32(0.999), eps=1e-5)
    return optax.chain(optax.clip_by_global_norm(max_grad_norm), adam)


def annealed(anneal: Anneal, updates: Array, total_updates: int) -> Array:
    """float32[]: a schedule's factor after `updates` of `total_updates` updates: from 1 down to 0; "none": always 1."""
    schedules = {
        "none": optax.constant_schedule(1.0),
        "linear": optax.linear_schedule(1.0, 0.0, total_updates),
        "cosine": optax.cosine_decay_schedule(1.0, total_updates),
    }
    return jnp.asarray(schedules[anneal](updates.astype(jnp.float32)), jnp.float32)


def next_entropy_coef(
    schedule: EntropySchedule,
    hyperparameters: Any,
    entropy_coef: Array,
    relative_entropy: Array,
    updates: Array,
    total_updates: int,
) -> Array:
    """float32[]: the entropy coefficient c of the next update, after `updates` of them.

        constant  c stays.
        linear    c goes from c_0 to c_final over the run, linearly.
        cosine    the same, along half a period of a cosine.
        target    log c += η (h_target − h), with h the mean of H / log(number of legal actions) over decisions. This is
                  the temperature's gradient step of soft actor-critic (Haarnoja et al. 2018b, section 5), on log c and
                  with the entropy divided by its maximum over the legal actions; c stays in `ENTROPY_COEF_RANGE`.

    Args:
      schedule: one of these.
      hyperparameters: with `entropy_coef` c_0, `entropy_coef_final`, `target_entropy`, `entropy_learning_rate` η.
      entropy_coef: c of the last update.
      relative_entropy: h of the last update, from `relative_entropy`.
      updates: done so far.
      total_updates: of the whole run.
    """
    if schedule == "constant":
        return entropy_coef
    if schedule == "target":
        step = hyperparameters.entropy_learning_rate * (hyperparameters.target_entropy - relative_entropy)
        return jnp.clip(entropy_coef * jnp.exp(step), *map(jnp.float32, ENTROPY_COEF_RANGE))
    first, last = hyperparameters.entropy_coef, hyperparameters.entropy_coef_final
    return last + (first - last) * annealed(schedule, updates, total_updates)


def relative_entropy(trajectory: Trajectory) -> Array:
    """float32[]: an unbiased estimate of the entropy of the policy that played, as a share (0 to 1) of its maximum.

    It is the mean of −log π(a|o) / log(number of legal actions) over a trajectory's decisions with two legal actions or
    more; 0 if there are none.
    """
    choices = jnp.sum(trajectory.legal, axis=-1, dtype=jnp.int32)
    share = -trajectory.log_prob / jnp.log(jnp.maximum(choices, 2).astype(jnp.float32))
    return masked_mean(share, trajectory.acting & (choices > 1))


def bytes_of(*trees: Any) -> int:
    """The bytes of all leaves, which are arrays or their shapes."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(trees))
