"""Proximal policy optimisation with a shared reward, on which the learners of this folder are built.

Schulman et al. 2017 (the clipped surrogate), de Witt et al. 2020 and Yu et al. 2022 (independent learners with shared
parameters in cooperative games). Every player maximises the team's return. The entropy coefficient is in units of the
advantage, which is normalised in every minibatch: it is not the theorem's alpha, in units of reward (docs/theory.md).

Loss of a minibatch, with r = π(a|o) / π_old(a|o), normalised advantages A and targets G = A_raw + v_old:

    − mean min(r A, clip(r, 1 − ε, 1 + ε) A) + c_v ½ mean max((v − G)², (clip(v, v_old ± ε) − G)²) − c_H mean H(π(·|o))

c_H is constant or follows a schedule, see `marl.learners.learner.next_entropy_coef`.

Means of the policy terms run over the actions of players in turn; the value term runs over every recorded step. A
minibatch is a random subset of the sequences of steps; the players recorded at one step stay together. A sequence is
one step, unless the policy has a memory that depends on its parameters. Such a memory is replayed through the whole
sequence: it starts from what the rollout recorded at the sequence's first step, and is reset where a game begins.
"""

import dataclasses
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import optax

from games.errors import TacitError, number, one_of, whole_number
from games.game import Observer
from marl import devices
from marl.learners import rollout
from marl.learners.learner import (
    Anneal,
    EntropySchedule,
    Metrics,
    MinibatchLearner,
    annealed,
    bytes_of,
    clipped_adam,
    next_entropy_coef,
    relative_entropy,
)
from marl.learners.losses import clipped_surrogate, clipped_value_error, masked_mean, normalise
from marl.policies.policy import Array, entropy

NoOpRows = Literal["left_out", "counted"]


class Hyperparameters(NamedTuple):
    """The numbers that may differ between learners of one compiled program: float32[] each, or Python floats."""

    learning_rate: Any = 1e-3
    entropy_coef: Any = 0.01
    gamma: Any = 0.99
    gae_lambda: Any = 0.9
    clip: Any = 0.2
    value_coef: Any = 0.5
    max_grad_norm: Any = 0.5
    entropy_coef_final: Any = 0.0
    target_entropy: Any = 0.3
    entropy_learning_rate: Any = 0.1

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
        number("learner.entropy_coef_final", self.entropy_coef_final, 0)
        number("learner.target_entropy", self.target_entropy, 0, 1)
        number("learner.entropy_learning_rate", self.entropy_learning_rate, 0)
        return self


class PPOState(NamedTuple):
    """Everything that `update` changes, and the hyperparameters."""

    hyperparameters: Hyperparameters
    params: Any
    optimiser: Any
    playing: rollout.Playing
    entropy_coef: Array  # float32[] of the next update
    updates: Array  # int32[] updates done
    key: Array


_CACHED_STEPS, _CACHED_SEQUENCES = 1024, 16
"""The largest microbatch on a CPU: with the published networks its activations fit in a processor's cache.

So many steps, or so many sequences if these have more steps together. Measured on two cores: docs/performance.md.
Matrix products of larger microbatches run at half the rate.
"""
_COMBINE = {"ratio_error": jnp.maximum}
"""How the reports of microbatches are combined; those not named here are added."""


class Actions(NamedTuple):
    """The actions in L steps of N sequences, of at most K acting players; differentiable in the parameters."""

    log_probs: Array  # float32[L, N, K, num_actions] log π(·|o), −inf for what is illegal
    legal: Array  # bool[L, N, K, num_actions]
    action: Array  # int32[L, N, K] what was done
    ratio: Array  # float32[L, N, K] π(a|o) / π_old(a|o)
    advantage: Array  # float32[L, N, K], normalised over the minibatch if `normalise_advantages`


class _Counts(NamedTuple):
    """The denominators of a minibatch's means, and the sum of its terms that do not depend on the parameters."""

    actions: Array  # float32[] actions of acting players
    in_policy: Array  # float32[] entries of the policy's terms
    in_value: Array  # float32[] entries of the value's term
    no_ops: Array  # float32[] sum of the advantages of counted no-ops, whose ratio is 1


class _Rows(NamedTuple):
    """Sequences of steps: L steps of N sequences, M recorded players, K who act, P players."""

    memory: Any  # [N, P, ...] all players' memories before the first step
    steps: "_Steps"


class _Steps(NamedTuple):
    observation: Array  # [L, N, M, ...] as `rollout.packed`
    player: Array  # [L, N, M]
    value: Array  # [L, N, M]
    target: Array  # [L, N, M]
    in_value_term: Array  # bool[L, N, M]
    slot: Array  # [L, N, K] where among the M the acting players are
    acting: Array  # bool[L, N, K]
    legal: Array  # [L, N, K, num_actions]
    action: Array  # [L, N, K]
    log_prob: Array  # [L, N, K]
    advantage: Array  # [L, N, K]
    in_policy_terms: Array  # bool[L, N, K]
    done: Array  # bool[L, N]


@dataclasses.dataclass(frozen=True)
class PPO(MinibatchLearner):
    """The algorithm for one seed; the caller vmaps over seeds and hyperparameters. Learners extend it, or hold one.

    Attributes:
      game, policy, observer, ...: see `MinibatchLearner`.
      rollout_length: steps of every game between two updates.
      batch: "acting" or "all", see `marl.learners.rollout`.
      normalise_advantages: subtract the mean and divide by the standard deviation in every minibatch.
      no_op_rows: rows of players who are not acting, which `batch` "all" records: "left_out" of the policy's terms and
        of the normalisation, or "counted" in both, as JaxMARL does. Their ratio is 1 and their entropy 0: in a
        turn-based game of P players, counting them divides the gradient of the policy's terms by P.
      reward_scale: the learner's rewards are the game's times this. Normalised advantages do not change, but values are
        learned and clipped in these units.
      sequence_length: steps through which a memory that depends on the parameters is replayed; None for the whole
        rollout.

    Raises:
      TacitError: if a value is out of range, or the rollout cannot be cut into equal sequences, and these into
        `minibatches` equal parts of `microbatches` equal parts.
    """

    critic: ClassVar[bool] = True
    """Whether the policy's value is learned."""
    hyperparameters: ClassVar[Any] = Hyperparameters
    """NamedTuple class of the numbers that may differ between learners of one compiled program.

    A variant may have a class of its own, with these fields and others.
    """

    _: dataclasses.KW_ONLY  # so that a variant may give defaults to some
    rollout_length: int
    batch: rollout.Batch = "acting"
    normalise_advantages: bool = True
    no_op_rows: NoOpRows = "left_out"
    reward_scale: float = 1.0
    sequence_length: int | None = None

    def __post_init__(self) -> None:
        for name in ("num_games", "rollout_length", "epochs", "minibatches", "total_updates"):
            whole_number(f"learner.{name}", getattr(self, name), 1)
        number("learner.reward_scale", self.reward_scale, 0, above=True)
        one_of("learner.batch", self.batch, ("acting", "all"))
        if one_of("learner.no_op_rows", self.no_op_rows, get_args(NoOpRows)) == "counted" and self.batch != "all":
            raise TacitError("learner.no_op_rows=counted needs learner.batch=all, which records these rows")
        one_of("learner.anneal", self.anneal, get_args(Anneal))
        one_of("learner.entropy_schedule", self.entropy_schedule, get_args(EntropySchedule))
        for name in ("normalise_advantages", "share_parameters"):
            one_of(f"learner.{name}", getattr(self, name), (True, False))
        if self.sequence_length is not None:
            whole_number("learner.sequence_length", self.sequence_length, 1)
            if not self._replays:
                raise TacitError(
                    "learner.sequence_length belongs to policies whose memory depends on their parameters, and this "
                    f"policy's does not: {self.policy}"
                )
            if self.rollout_length % self.sequence_length:
                raise TacitError(
                    f"learner.sequence_length must divide learner.rollout_length, {self.rollout_length}, and "
                    f"{self.sequence_length} does not"
                )
        if self._sequences % self.minibatches:
            size = "steps" if self.sequence == 1 else f"sequences of {self.sequence} steps"
            raise TacitError(
                f"learner.minibatches must divide the {self._sequences} {size} of a rollout "
                f"({self.rollout_length} steps x {self.num_games} games), and {self.minibatches} does not"
            )
        if self.microbatches is not None:
            whole_number("learner.microbatches", self.microbatches, 1)
            size = self._sequences // self.minibatches
            if size % self.microbatches:
                raise TacitError(
                    f"learner.microbatches must divide a minibatch's {size} sequences, and {self.microbatches} does not"
                )

    @property
    def actor_critic(self) -> Any:
        """What is trained. Here it is the policy itself; a variant may add what does not play, such as a critic."""
        return self.policy

    @property
    def seen(self) -> Observer:
        """The observer that `actor_critic` sees in training."""
        return self.game.observer(self.observer)

    @property
    def steps_per_update(self) -> int:
        """Steps of games that one update plays."""
        return self.rollout_length * self.num_games

    @property
    def sequence(self) -> int:
        """Steps of a sequence: 1 unless the policy's memory depends on its parameters."""
        return (self.sequence_length or self.rollout_length) if self._replays else 1

    @property
    def _microbatches(self) -> int:
        if self.microbatches is not None:
            return self.microbatches
        size = self._sequences // self.minibatches
        if jax.default_backend() != "cpu":
            return 1
        most = max(_CACHED_STEPS // self.sequence, _CACHED_SEQUENCES)
        return next(parts for parts in range(1, size + 1) if size % parts == 0 and size // parts <= most)

    @property
    def _replays(self) -> bool:
        memory = jax.eval_shape(self.actor_critic.initial_memory)
        return any(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in jax.tree.leaves(memory))

    @property
    def _sequences(self) -> int:
        return self.steps_per_update // self.sequence

    def init(self, hyperparameters: Hyperparameters, *, key: Array) -> PPOState:
        """The initial state of a learner. For many seeds use `lax.map`, never `vmap` (see `FeedForward.init`)."""
        params_key, games_key, key = jax.random.split(key, 3)
        if self.share_parameters:
            params = self.actor_critic.init(key=params_key)
        else:
            params = jax.lax.map(
                lambda key: self.actor_critic.init(key=key), jax.random.split(params_key, self.game.num_players)
            )
        hyperparameters = self.hyperparameters(*(jnp.asarray(value, jnp.float32) for value in hyperparameters))
        return PPOState(
            hyperparameters=hyperparameters,
            params=params,
            optimiser=clipped_adam(hyperparameters.max_grad_norm).init(params),
            playing=rollout.start(self.game, self.actor_critic, self.num_games, key=games_key),
            entropy_coef=hyperparameters.entropy_coef,
            updates=jnp.int32(0),
            key=key,
        )

    def update(self, state: PPOState) -> tuple[PPOState, Metrics]:
        """Play one rollout and learn from it."""
        key, rollout_key, bootstrap_key, shuffle_key = jax.random.split(state.key, 4)
        playing, trajectory, episodes = self._rollout(state, rollout_key)
        ahead = self._bootstrap(state._replace(playing=playing), bootstrap_key)
        advantage = self._advantages(trajectory, ahead, state.hyperparameters)
        state, metrics = self.learn(state, trajectory, advantage, trajectory.valid, episodes, key=shuffle_key)
        return state._replace(playing=playing, key=key), metrics

    def learn(
        self,
        state: PPOState,
        trajectory: rollout.Trajectory,
        advantage: Array,
        known: Array,
        episodes: rollout.Episodes,
        *,
        key: Array,
    ) -> tuple[PPOState, Metrics]:
        """Learn from a trajectory and its advantages, whichever estimator they are from.

        Args:
          state: `playing` and `key` stay as they are.
          trajectory, episodes: of a rollout of this learner's shape by the parameters of `state`.
          advantage: float32[T, G, M].
          known: bool[T, G, M] where there is an advantage; other rows enter no term of the loss.
          key: consumed.
        """
        params, optimiser, means, maxima = self._learn(state, self._in_sequences(trajectory, advantage, known), key)
        number, entropy_now = state.updates + 1, relative_entropy(trajectory)
        coefficient = next_entropy_coef(
            self.entropy_schedule, state.hyperparameters, state.entropy_coef, entropy_now, number, self.total_updates
        )
        means |= {"entropy_coef": state.entropy_coef, "relative_entropy": entropy_now}
        state = state._replace(params=params, optimiser=optimiser, entropy_coef=coefficient, updates=number)
        return state, Metrics.of_update(number, episodes, means, maxima)

    def surrogate(self, ratio: Array, advantage: Array, hyperparameters: Hyperparameters) -> Array:
        """float32[L, N, K], elementwise: the policy's loss is minus its mean. Here PPO's clipped surrogate.

        The mean is over the actions of a minibatch; padding (no action) is left out, but must be finite.

        Args:
          ratio: float32[L, N, K] π(a|o) / π_old(a|o), of L steps of N sequences with at most K acting players.
          advantage: float32[L, N, K], normalised over the minibatch if `normalise_advantages`.
          hyperparameters: float32[] each.
        """
        return clipped_surrogate(ratio, advantage, hyperparameters.clip)

    def penalty(self, actions: Actions, hyperparameters: Hyperparameters) -> Array | None:
        """float32[L, N, K], elementwise: its mean over the actions of a minibatch is added to the loss. Here none.

        Padding (no action) is left out of the mean, but must be finite.

        Args:
          actions: what was done, and what the policy would do now.
          hyperparameters: float32[] each.
        """
        return None

    def agent_params(self, state: PPOState) -> Any:
        """The parameters that the policy plays with."""
        return state.params

    def with_agent_params(self, state: PPOState, params: Any) -> PPOState:
        """An initial state whose policy plays with `params`."""
        return state._replace(params=params)

    def peak_bytes(self) -> int:
        """Bytes that one learner needs at its peak, estimated from shapes.

        The sum of its state; its rollout, as it was played and in sequences; a minibatch; what the backward pass of a
        microbatch keeps; and twice the parameters' size, for gradients.
        """
        state = jax.eval_shape(lambda: self.init(self.hyperparameters(), key=jax.random.key(0)))
        ahead = jax.ShapeDtypeStruct((self.num_games, self.game.num_players), jnp.float32)
        rows = jax.eval_shape(
            lambda state, ahead: self._rows(self._rollout(state, state.key)[1], ahead, state.hyperparameters),
            state,
            ahead,
        )
        index = jnp.arange(self._sequences // self.minibatches, dtype=jnp.int32)
        chosen = jax.eval_shape(lambda rows: self._chosen(rows, index), rows)
        part = jax.eval_shape(lambda rows: self._chosen(rows, index[:: self._microbatches]), rows)

        def kept(state: PPOState, part: _Rows) -> Any:
            return jax.vjp(lambda params: self._loss(params, part, state.hyperparameters)[0], state.params)[1]

        sizes = (state, rows, rows, chosen, jax.eval_shape(kept, state, part), state.params, state.params)
        return bytes_of(sizes)

    @property
    def _play_settings(self) -> dict[str, Any]:
        """How games are played, whether they are recorded or not."""
        return {
            "observer": self.seen,
            "batch": self.batch,
            "share_parameters": self.share_parameters,
            "reward_scale": self.reward_scale,
        }

    def _rollout(self, state: PPOState, key: Array) -> tuple[rollout.Playing, rollout.Trajectory, rollout.Episodes]:
        return rollout.rollout(
            self.game,
            self.actor_critic,
            state.params,
            state.playing,
            **self._play_settings,
            length=self.rollout_length,
            sequence=self.sequence,
            key=key,
        )

    def _bootstrap(self, state: PPOState, key: Array) -> Array:
        """float32[G, P]: the return beyond the rollout (`rollout.bootstrap`)."""
        return rollout.bootstrap(
            self.game,
            self.actor_critic,
            state.params,
            state.playing,
            **self._play_settings,
            gamma=state.hyperparameters.gamma,
            key=key,
        )

    def _rows(self, trajectory: rollout.Trajectory, ahead: Array, hyperparameters: Hyperparameters) -> _Rows:
        advantage = self._advantages(trajectory, ahead, hyperparameters)
        return self._in_sequences(trajectory, advantage, trajectory.valid)

    def _advantages(self, trajectory: rollout.Trajectory, ahead: Array, hyperparameters: Hyperparameters) -> Array:
        return rollout.advantages(
            trajectory,
            ahead,
            num_players=self.game.num_players,
            gamma=hyperparameters.gamma,
            gae_lambda=hyperparameters.gae_lambda,
        )

    def _in_sequences(self, trajectory: rollout.Trajectory, advantage: Array, known: Array) -> _Rows:
        rows = jax.vmap(jax.vmap(rollout.acting_rows))
        steps = _Steps(
            observation=trajectory.observation,
            player=trajectory.player,
            value=trajectory.value,
            target=trajectory.value + advantage,
            in_value_term=known & trajectory.valid,
            slot=trajectory.slot,
            acting=trajectory.acting,
            legal=trajectory.legal,
            action=trajectory.action,
            log_prob=trajectory.log_prob,
            advantage=rows(advantage, trajectory.slot),
            in_policy_terms=rows(known, trajectory.slot) & trajectory.acting,
            done=trajectory.done,
        )

        def in_sequences(x: Array) -> Array:
            """[T, G, ...] to [L, T / L * G, ...]."""
            x = x.reshape(-1, self.sequence, *x.shape[1:]).swapaxes(0, 1)
            return x.reshape(self.sequence, self._sequences, *x.shape[3:])

        memory = jax.tree.map(lambda x: x.reshape(self._sequences, *x.shape[2:]), trajectory.memory)
        return _Rows(memory, jax.tree.map(in_sequences, steps))

    def _learn(self, state: PPOState, rows: _Rows, key: Array) -> tuple[Any, Any, dict[str, Array], dict[str, Array]]:
        hyperparameters = state.hyperparameters._replace(entropy_coef=state.entropy_coef)
        direct = clipped_adam(hyperparameters.max_grad_norm)
        learning_rate = hyperparameters.learning_rate * annealed(self.anneal, state.updates, self.total_updates)

        def minibatch(carry: tuple[Any, Any], index: Array) -> tuple[tuple[Any, Any], dict[str, Array]]:
            params, optimiser = carry
            chosen = self._chosen(rows, devices.shard_rows(index))
            gradient, report = self._gradient(params, chosen, hyperparameters)
            step, optimiser = direct.update(gradient, optimiser, params)
            params = jax.tree.map(lambda p, s: p - learning_rate * s, params, step)
            return (params, optimiser), report | {"gradient_norm": optax.tree_utils.tree_norm(gradient)}

        def epoch(carry: tuple[Any, Any], key: Array) -> tuple[tuple[Any, Any], dict[str, Array]]:
            order = jax.random.permutation(key, jnp.arange(self._sequences, dtype=jnp.int32))
            return jax.lax.scan(minibatch, carry, order.reshape(self.minibatches, -1))

        keys = jax.random.split(key, self.epochs)
        (params, optimiser), report = jax.lax.scan(epoch, (state.params, state.optimiser), keys)
        # In the first minibatch the policy is the one that played, so that a ratio other than 1 is a replay's error.
        maxima = {"first_ratio_error": report.pop("ratio_error")[0, 0]}
        return params, optimiser, jax.tree.map(jnp.mean, report), maxima

    def _chosen(self, rows: _Rows, index: Array) -> _Rows:
        """The sequences with the numbers `index` [B]."""
        memory = jax.tree.map(lambda x: x[index], rows.memory)
        return _Rows(memory, jax.tree.map(lambda x: x[:, index], rows.steps))

    def _gradient(self, params: Any, chosen: _Rows, hyperparameters: Hyperparameters) -> tuple[Any, dict[str, Array]]:
        """The gradient of a minibatch's loss and its report, accumulated over microbatches."""
        whole, counts = self._prepared(chosen)
        of_part = jax.grad(self._loss_of_part, has_aux=True)
        if self._microbatches == 1:
            return of_part(params, whole, counts, hyperparameters)

        def add(total: tuple[Any, dict[str, Array]], index: Array) -> tuple[tuple[Any, dict[str, Array]], None]:
            gradient, report = of_part(params, self._chosen(whole, index), counts, hyperparameters)
            gradient = jax.tree.map(jnp.add, total[0], gradient)
            combined = {name: _COMBINE.get(name, jnp.add)(total[1][name], value) for name, value in report.items()}
            return (gradient, combined), None

        counts = counts._replace(no_ops=counts.no_ops / self._microbatches)  # each part adds its share of the constant
        parts = jnp.arange(chosen.steps.done.shape[1], dtype=jnp.int32).reshape(self._microbatches, -1)
        shapes = jax.eval_shape(of_part, params, self._chosen(whole, parts[0]), counts, hyperparameters)
        nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        return jax.lax.scan(add, nothing, parts)[0]

    def _loss(self, params: Any, chosen: _Rows, hyperparameters: Hyperparameters) -> tuple[Array, dict[str, Array]]:
        """The loss of a minibatch in one part."""
        return self._loss_of_part(params, *self._prepared(chosen), hyperparameters)

    def _prepared(self, chosen: _Rows) -> tuple[_Rows, _Counts]:
        """A minibatch with normalised advantages, and the denominators of its means."""
        rows = chosen.steps
        actions, in_value = (jnp.sum(mask.astype(jnp.float32)) for mask in (rows.in_policy_terms, rows.in_value_term))
        if self.no_op_rows == "left_out":
            if self.normalise_advantages:
                rows = rows._replace(advantage=normalise(rows.advantage, rows.in_policy_terms))
            return chosen._replace(steps=rows), _Counts(actions, actions, in_value, jnp.float32(0))
        everybody = rows.target - rows.value
        if self.normalise_advantages:
            everybody = normalise(everybody, rows.in_value_term)
        rows = rows._replace(advantage=jax.vmap(jax.vmap(rollout.acting_rows))(everybody, rows.slot))
        acting = jnp.sum(jnp.where(rows.in_policy_terms, rows.advantage, 0.0))
        no_ops = jnp.sum(jnp.where(rows.in_value_term, everybody, 0.0)) - acting
        return chosen._replace(steps=rows), _Counts(actions, in_value, in_value, no_ops)

    def _loss_of_part(
        self, params: Any, chosen: _Rows, counts: _Counts, hyperparameters: Hyperparameters
    ) -> tuple[Array, dict[str, Array]]:
        """What a part of a prepared minibatch adds to its loss: sums over the part, divided by the whole's `counts`."""
        rows = chosen.steps

        def own(player: Array) -> Any:
            return rollout.params_of(params, player, self.share_parameters)

        def value_of(player: Array, features: Array) -> Array:
            return self.actor_critic.value(own(player), features)

        def act(player: Array, features: Array, legal: Array) -> Array:
            return self.actor_critic.act(own(player), features, legal)

        features = self._features(params, chosen)
        value = _over_rows(value_of)(rows.player, features) if self.critic else rows.value
        of_actors = jax.vmap(jax.vmap(rollout.acting_rows))
        log_probs = _over_rows(act)(of_actors(rows.player, rows.slot), of_actors(features, rows.slot), rows.legal)
        log_prob = jnp.take_along_axis(log_probs, rows.action[..., None], axis=-1)[..., 0]
        ratio = jnp.exp(log_prob - rows.log_prob)
        policy = self.surrogate(ratio, rows.advantage, hyperparameters)
        values = clipped_value_error(value, rows.value, rows.target, hyperparameters.clip)

        def of_actions(x: Array) -> Array:
            return masked_mean(x, rows.in_policy_terms, counts.actions)

        def of_policy(x: Array) -> Array:
            return masked_mean(x, rows.in_policy_terms, counts.in_policy)

        entropies = entropy(log_probs)
        policy_loss = -of_policy(policy) - counts.no_ops / jnp.maximum(counts.in_policy, 1.0)
        value_loss = masked_mean(values, rows.in_value_term, counts.in_value)
        loss = policy_loss + hyperparameters.value_coef * value_loss if self.critic else policy_loss
        loss -= hyperparameters.entropy_coef * of_policy(entropies)
        actions = Actions(log_probs, rows.legal, rows.action, ratio, rows.advantage)
        if (penalty := self.penalty(actions, hyperparameters)) is not None:
            loss += of_policy(penalty)
        off = jnp.where(rows.in_policy_terms, jnp.abs(ratio - 1), 0.0)
        report = {
            "loss": loss,
            "policy_loss": policy_loss,
            **({"value_loss": value_loss} if self.critic else {}),
            "entropy": of_actions(entropies),
            "clip_fraction": of_actions((off > hyperparameters.clip).astype(jnp.float32)),
            "approx_kl": of_actions(ratio - 1 - jnp.log(ratio)),
            "ratio_error": jnp.max(off),
        }
        return loss, report

    def _features(self, params: Any, chosen: _Rows) -> Array:
        """[L, N, M, features]: the heads' inputs at every step, with the memory replayed from its recorded start."""
        rows = chosen.steps

        def own(player: Array) -> Any:
            return rollout.params_of(params, player, self.share_parameters)

        def perceive(player: Array, observation: Array) -> Any:
            seen = rollout.unpacked(observation, self.seen.size)
            return self.actor_critic.perceive(own(player), seen)

        def remember(player: Array, memory: Any, percept: Any) -> tuple[Any, Array]:
            return self.actor_critic.remember(own(player), memory, percept)

        def one_step(memories: Any, percept: Any, steps: _Steps) -> tuple[Any, Array]:
            """Of one game; `memories` [P, ...], all else [M, ...]."""
            memory = rollout.gather_memories(memories, steps.player)
            after, features = jax.vmap(remember)(steps.player, memory, percept)
            moves = rollout.moves_mask(self.actor_critic, steps.slot, steps.acting, len(steps.player))
            memories = rollout.scatter_memories(memories, steps.player, moves, after)
            first = self.actor_critic.initial_memory()
            return jax.tree.map(lambda new, old: jnp.where(steps.done, new[None], old), first, memories), features

        percepts = _over_rows(perceive)(rows.player, rows.observation)
        if self.sequence > 1 and rows.player.shape[2] == self.game.num_players:
            return self._replay_of_everybody(params, chosen.memory, percepts, rows)
        every_game = jax.vmap(one_step)
        if self.sequence == 1:
            return every_game(chosen.memory, *jax.tree.map(lambda x: x[0], (percepts, rows)))[1][None]
        every_game = jax.checkpoint(every_game)  # the backward pass keeps the memories only, and recomputes the rest
        return jax.lax.scan(lambda memories, step: every_game(memories, *step), chosen.memory, (percepts, rows))[1]

    def _replay_of_everybody(self, params: Any, memory: Any, percepts: Any, rows: _Steps) -> Array:
        """[L, N, P, features] where all players are recorded, in order, of `percepts` [L, N, P, ...]."""
        length, sequences, players = rows.player.shape
        moves = jax.vmap(jax.vmap(lambda slot, acting: rollout.moves_mask(self.actor_critic, slot, acting, players)))(
            rows.slot, rows.acting
        )
        done = jnp.broadcast_to(rows.done[..., None], rows.player.shape)
        if not self.share_parameters:
            return jax.vmap(self.actor_critic.replay, (0, 1, 2, 2, 2), 2)(params, memory, percepts, moves, done)
        memory = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), memory)
        percepts, moves, done = jax.tree.map(
            lambda x: x.reshape(length, sequences * players, *x.shape[3:]), (percepts, moves, done)
        )
        features = self.actor_critic.replay(params, memory, percepts, moves, done)
        return features.reshape(length, sequences, players, -1)


def from_learner(learner: Any, cls: type[PPO] = PPO, **changes: Any) -> PPO:
    """The PPO to which a learner passes its advantages, with the learner's fields of equal name, but for `changes`."""
    names = (field.name for field in dataclasses.fields(cls))
    return cls(**{name: getattr(learner, name) for name in names if hasattr(learner, name)} | changes)


def _over_rows(function: Any) -> Any:
    """A function of one player's step, mapped over [L, N, M or K]."""
    return jax.vmap(jax.vmap(jax.vmap(function)))
