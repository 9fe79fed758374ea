"""Independent proximal policy optimisation with a shared reward.

Schulman et al. 2017 (the clipped surrogate), de Witt et al. 2020 and Yu et al. 2022 (independent learners with shared
parameters in cooperative games). Every player maximises the team's return from its own observations; nothing is
centralised. The entropy coefficient is in units of the advantage, which is normalised in every minibatch: it is not
the reward-unit alpha of the theorem.

Loss of a minibatch, with r = π(a|o) / π_old(a|o), normalised advantages A and targets G = A_raw + v_old:

    − mean min(r A, clip(r, 1 − ε, 1 + ε) A) + c_v ½ mean max((v − G)², (clip(v, v_old ± ε) − G)²) − c_H mean H(π(·|o))

Means of the policy terms run over the actions of players in turn; the value term runs over every recorded step. A
minibatch is drawn over steps of games: players recorded at one step stay together.
"""

import dataclasses
from typing import Any, ClassVar, Literal, NamedTuple, final

import jax
import jax.numpy as jnp
import optax

from games.errors import TacitError, number, one_of, whole_number
from games.game import Game
from marl.learners import rollout
from marl.policies.policy import ActorCritic, Array, entropy


class Hyperparameters(NamedTuple):
    """The numbers that may differ between learners of one compiled program: float32[] each, or Python floats."""

    learning_rate: Any = 5e-4
    entropy_coef: Any = 0.01
    gamma: Any = 0.99
    gae_lambda: Any = 0.95
    clip: Any = 0.2
    value_coef: Any = 0.5
    max_grad_norm: Any = 0.5

    def check(self) -> "Hyperparameters":
        """These numbers, if each is in its range.

        Raises:
          TacitError: naming the first that is not.
        """
        number("learner.learning_rate", self.learning_rate, 0)
        number("learner.entropy_coef", self.entropy_coef, 0)
        number("learner.gamma", self.gamma, 0, 1)
        number("learner.gae_lambda", self.gae_lambda, 0, 1)
        number("learner.clip", self.clip, 0, above=True)
        number("learner.value_coef", self.value_coef, 0)
        number("learner.max_grad_norm", self.max_grad_norm, 0, above=True)
        return self


class IPPOState(NamedTuple):
    """Everything that `update` changes, and the hyperparameters."""

    hyperparameters: Hyperparameters
    params: Any
    optimiser: Any
    playing: rollout.Playing
    updates: Array  # int32[] updates done
    key: Array


class Metrics(NamedTuple):
    """What one or several updates report; every leaf is a scalar of one learner."""

    episodes: rollout.Episodes  # sums over the games that ended
    means: dict[str, Array]  # means over minibatches
    maxima: dict[str, Array]


class _Rows(NamedTuple):
    """Steps of games as one flat batch: N steps, M recorded players, K who act."""

    observation: Array  # [N, M, observation_size]
    memory: Any  # [N, M, ...]
    player: Array  # [N, M]
    value: Array  # [N, M]
    target: Array  # [N, M]
    in_value_term: Array  # bool[N, M]
    slot: Array  # [N, K] where among the M the acting players are
    legal: Array  # [N, K, num_actions]
    action: Array  # [N, K]
    log_prob: Array  # [N, K]
    advantage: Array  # [N, K]
    in_policy_terms: Array  # bool[N, K]


@final
@dataclasses.dataclass(frozen=True)
class IPPO:
    """The algorithm for one seed; the caller vmaps over seeds and hyperparameters.

    Attributes:
      game, policy, observer: what is learned, by what, from which observation.
      num_games: games played side by side.
      rollout_length: steps of every game between two updates.
      epochs: passes over the rollout in an update.
      minibatches: parts of the shuffled rollout in a pass.
      total_updates: updates of the whole run, over which the learning rate is annealed.
      batch: "acting" or "all", see `marl.learners.rollout`.
      anneal: the learning rate's schedule over `total_updates`: "none", "linear" or "cosine" (to 0).
      normalise_advantages: subtract the mean and divide by the standard deviation in every minibatch.
      share_parameters: one set of parameters for all players, or one set each.

    Raises:
      TacitError: if a value is out of range, or the rollout cannot be cut into `minibatches` equal parts.
    """

    hyperparameters: ClassVar[type[Hyperparameters]] = Hyperparameters
    """What the numbers are that may differ between learners of one compiled program."""

    game: Game
    policy: ActorCritic
    observer: str
    num_games: int
    rollout_length: int
    epochs: int
    minibatches: int
    total_updates: int
    batch: rollout.Batch = "acting"
    anneal: Literal["none", "linear", "cosine"] = "none"
    normalise_advantages: bool = True
    share_parameters: bool = True

    def __post_init__(self) -> None:
        for name in ("num_games", "rollout_length", "epochs", "minibatches", "total_updates"):
            whole_number(f"learner.{name}", getattr(self, name), 1)
        one_of("learner.batch", self.batch, ("acting", "all"))
        one_of("learner.anneal", self.anneal, ("none", "linear", "cosine"))
        for name in ("normalise_advantages", "share_parameters"):
            one_of(f"learner.{name}", getattr(self, name), (True, False))
        if self.steps_per_update % self.minibatches:
            raise TacitError(
                f"learner.minibatches must divide the {self.steps_per_update} steps of a rollout "
                f"({self.rollout_length} steps x {self.num_games} games), and {self.minibatches} does not"
            )

    @property
    def steps_per_update(self) -> int:
        """Steps of games that one update plays."""
        return self.rollout_length * self.num_games

    def init(self, hyperparameters: Hyperparameters, *, key: Array) -> IPPOState:
        """A learner at its start. Make many with `lax.map`, never `vmap` (see `FeedForward.init`)."""
        params_key, games_key, key = jax.random.split(key, 3)
        if self.share_parameters:
            params = self.policy.init(key=params_key)
        else:
            params = jax.lax.map(
                lambda key: self.policy.init(key=key), jax.random.split(params_key, self.game.num_players)
            )
        hyperparameters = Hyperparameters(*(jnp.asarray(value, jnp.float32) for value in hyperparameters))
        return IPPOState(
            hyperparameters=hyperparameters,
            params=params,
            optimiser=_direction(hyperparameters).init(params),
            playing=rollout.start(self.game, self.policy, self.num_games, key=games_key),
            updates=jnp.int32(0),
            key=key,
        )

    def update(self, state: IPPOState) -> tuple[IPPOState, Metrics]:
        """Play one rollout and learn from it."""
        key, rollout_key, shuffle_key = jax.random.split(state.key, 3)
        playing, trajectory, episodes = rollout.rollout(
            self.game,
            self.policy,
            state.params,
            state.playing,
            observer=self.observer,
            batch=self.batch,
            share_parameters=self.share_parameters,
            length=self.rollout_length,
            key=rollout_key,
        )
        rows = self._rows(trajectory, state.hyperparameters)
        params, optimiser, means, maxima = self._learn(state, rows, shuffle_key)
        state = state._replace(params=params, optimiser=optimiser, playing=playing, updates=state.updates + 1, key=key)
        return state, Metrics(episodes=episodes, means=means, maxima=maxima)

    def updates(self, state: IPPOState, count: Array) -> tuple[IPPOState, Metrics]:
        """Several updates in one compiled loop.

        Args:
          state: where to start.
          count: int32[], at least 1; traced, so that any number runs in the same program.

        Returns:
          The state afterwards, and the metrics of all updates reduced to one.
        """

        def once(_: Array, carry: tuple[IPPOState, Metrics]) -> tuple[IPPOState, Metrics]:
            state, total = carry
            state, new = self.update(state)
            return state, Metrics(
                episodes=jax.tree.map(jnp.add, total.episodes, new.episodes),
                means=jax.tree.map(jnp.add, total.means, new.means),
                maxima=jax.tree.map(jnp.maximum, total.maxima, new.maxima),
            )

        nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(self.update, state)[1])
        state, total = jax.lax.fori_loop(0, count, once, (state, nothing))
        return state, total._replace(means=jax.tree.map(lambda x: x / count.astype(jnp.float32), total.means))

    def _rows(self, trajectory: rollout.Trajectory, hyperparameters: Hyperparameters) -> _Rows:
        advantage, known = rollout.advantages(
            trajectory,
            num_players=self.game.num_players,
            gamma=hyperparameters.gamma,
            gae_lambda=hyperparameters.gae_lambda,
        )
        rows = jax.vmap(jax.vmap(rollout.acting_rows))
        batch = _Rows(
            observation=trajectory.observation,
            memory=trajectory.memory,
            player=trajectory.player,
            value=trajectory.value,
            target=trajectory.value + advantage,
            in_value_term=known & trajectory.valid,
            slot=trajectory.slot,
            legal=trajectory.legal,
            action=trajectory.action,
            log_prob=trajectory.log_prob,
            advantage=rows(advantage, trajectory.slot),
            in_policy_terms=rows(known, trajectory.slot) & trajectory.acting,
        )
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batch)

    def _learn(self, state: IPPOState, rows: _Rows, key: Array) -> tuple[Any, Any, dict[str, Array], dict[str, Array]]:
        hyperparameters = state.hyperparameters
        direction = _direction(hyperparameters)
        learning_rate = hyperparameters.learning_rate * self._schedule(state.updates)

        def minibatch(carry: tuple[Any, Any], index: Array) -> tuple[tuple[Any, Any], dict[str, Array]]:
            params, optimiser = carry
            chosen = jax.tree.map(lambda x: x[index], rows)
            gradient, report = jax.grad(self._loss, has_aux=True)(params, chosen, hyperparameters)
            step, optimiser = direction.update(gradient, optimiser, params)
            params = jax.tree.map(lambda p, s: p - learning_rate * s, params, step)
            return (params, optimiser), report | {"gradient_norm": optax.tree_utils.tree_norm(gradient)}

        def epoch(carry: tuple[Any, Any], key: Array) -> tuple[tuple[Any, Any], dict[str, Array]]:
            order = jax.random.permutation(key, jnp.arange(self.steps_per_update, dtype=jnp.int32))
            return jax.lax.scan(minibatch, carry, order.reshape(self.minibatches, -1))

        keys = jax.random.split(key, self.epochs)
        (params, optimiser), report = jax.lax.scan(epoch, (state.params, state.optimiser), keys)
        # Before the first step the policy is the one that played: its ratio shows any error in the replay.
        maxima = {"first_ratio_error": report.pop("ratio_error")[0, 0]}
        return params, optimiser, jax.tree.map(jnp.mean, report), maxima

    def _schedule(self, updates: Array) -> Array:
        schedules = {
            "none": optax.constant_schedule(1.0),
            "linear": optax.linear_schedule(1.0, 0.0, self.total_updates),
            "cosine": optax.cosine_decay_schedule(1.0, self.total_updates),
        }
        return jnp.asarray(schedules[self.anneal](updates.astype(jnp.float32)), jnp.float32)

    def _loss(self, params: Any, rows: _Rows, hyperparameters: Hyperparameters) -> tuple[Array, dict[str, Array]]:
        def own(player: Array) -> Any:
            return rollout.params_of(params, player, self.share_parameters)

        def look(player: Array, memory: Any, observation: Array) -> tuple[Array, Array]:
            features = self.policy.encode(own(player), memory, observation)[1]
            return features, self.policy.value(own(player), features)

        def act(player: Array, features: Array, legal: Array) -> Array:
            return self.policy.act(own(player), features, legal)

        features, value = jax.vmap(jax.vmap(look))(rows.player, rows.memory, rows.observation)
        of_actors = jax.vmap(rollout.acting_rows)
        log_probs = jax.vmap(jax.vmap(act))(
            of_actors(rows.player, rows.slot), of_actors(features, rows.slot), rows.legal
        )
        log_prob = jnp.take_along_axis(log_probs, rows.action[..., None], axis=-1)[..., 0]
        advantage = rows.advantage
        if self.normalise_advantages:
            advantage = normalise(advantage, rows.in_policy_terms)
        policy, ratio = clipped_surrogate(log_prob, rows.log_prob, advantage, hyperparameters.clip)
        values = clipped_value_error(value, rows.value, rows.target, hyperparameters.clip)
        policy_loss = -masked_mean(policy, rows.in_policy_terms)
        value_loss = masked_mean(values, rows.in_value_term)
        mean_entropy = masked_mean(entropy(log_probs), rows.in_policy_terms)
        loss = policy_loss + hyperparameters.value_coef * value_loss - hyperparameters.entropy_coef * mean_entropy
        off = jnp.where(rows.in_policy_terms, jnp.abs(ratio - 1), 0.0)
        report = {
            "loss": loss,
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "entropy": mean_entropy,
            "clip_fraction": masked_mean((off > hyperparameters.clip).astype(jnp.float32), rows.in_policy_terms),
            "approx_kl": masked_mean(ratio - 1 - jnp.log(ratio), rows.in_policy_terms),
            "ratio_error": jnp.max(off),
        }
        return loss, report


def clipped_surrogate(log_prob: Array, old_log_prob: Array, advantage: Array, clip: Array) -> tuple[Array, Array]:
    """min(r A, clip(r, 1 − ε, 1 + ε) A) and r = exp(log π − log π_old), elementwise."""
    ratio = jnp.exp(log_prob - old_log_prob)
    return jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - clip, 1 + clip) * advantage), ratio


def clipped_value_error(value: Array, old_value: Array, target: Array, clip: Array) -> Array:
    """½ max((v − G)², (clip(v, v_old − ε, v_old + ε) − G)²), elementwise."""
    clipped = old_value + jnp.clip(value - old_value, -clip, clip)
    return 0.5 * jnp.maximum((value - target) ** 2, (clipped - target) ** 2)


def masked_mean(x: Array, mask: Array) -> Array:
    """The mean of x where mask is set; 0 if it is set nowhere."""
    return jnp.sum(jnp.where(mask, x, 0.0)) / jnp.maximum(jnp.sum(mask.astype(jnp.float32)), 1.0)


def normalise(x: Array, mask: Array) -> Array:
    """(x − mean) / (std + 1e-8), both over the masked entries."""
    mean = masked_mean(x, mask)
    return (x - mean) / (jnp.sqrt(masked_mean((x - mean) ** 2, mask)) + 1e-8)


def _direction(hyperparameters: Hyperparameters) -> optax.GradientTransformation:
    """Clip the gradient's norm, then Adam; the learning rate is applied by the caller."""
    # Where double precision is enabled, optax would raise a Python number to the power of a count in it.
    adam = optax.scale_by_adam(b1=jnp.float32(0.9), b2=jnp.float32(0.999), eps=1e-5)
    return optax.chain(optax.clip_by_global_norm(hyperparameters.max_grad_norm), adam)
