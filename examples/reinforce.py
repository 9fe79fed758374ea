"""A learner of one's own: REINFORCE with an entropy bonus and a baseline.

Williams 1992, "Simple statistical gradient-following algorithms for connectionist reinforcement learning". An update
plays whole games with the present policy and takes one step along an unbiased estimate of the gradient of

    J = E Σ_t (r_t + c Σ_i H(π_i(·|h_{i,t}))),

the team's rewards and, with the entropy coefficient c in units of reward, the entropies of all players' choices. With
R_t the rewards and bonuses of a game from step t on, and b_t the mean of R_t over the other games of the update:

    ∇J = E Σ_t Σ_i (R_t − b_t) ∇ log π_i(a_{i,t}|h_{i,t}) + c ∇H(π_i(·|h_{i,t})).

R_t holds what the choices of step t and later bring, entropies included, so that c is the theorem's α; in PPO it is not
(docs/theory.md). There is no critic: a policy's value head stays as it was initialised.

    tacit train game=lever learner=reinforce.Reinforce learner.entropy_coef=[0.05,0.5] budget.steps=20000
"""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from games.errors import number, one_of, whole_number
from games.game import Game
from marl.learners import rollout
from marl.learners.learner import Metrics, bytes_of, clipped_adam
from marl.learners.losses import masked_mean
from marl.policies.policy import Array, entropy, replay_in_turn


class Hyperparameters(NamedTuple):
    """The numbers that may differ between learners of one compiled program: a list of them trains one run for each."""

    learning_rate: Any = 0.01
    entropy_coef: Any = 0.01
    max_grad_norm: Any = 1.0

    def check(self) -> "Hyperparameters":
        """These numbers, if each is in its range.

        Raises:
          TacitError: naming the first that is not.
        """
        number("learner.learning_rate", self.learning_rate, 0)
        number("learner.entropy_coef", self.entropy_coef, 0)
        number("learner.max_grad_norm", self.max_grad_norm, 0, above=True)
        return self


class State(NamedTuple):
    """Everything that `update` changes, and the hyperparameters."""

    hyperparameters: Hyperparameters
    params: Any
    optimiser: Any
    updates: Array  # int32[] done so far
    key: Array


class Played(NamedTuple):
    """T steps of G games side by side, P players; after a game's end nothing counts."""

    seen: rollout.Trajectory
    going_on: Array  # bool[T, G] the game has not ended before this step


@dataclasses.dataclass(frozen=True)
class Reinforce:
    """The algorithm for one seed; the caller vmaps over seeds and hyperparameters.

    Attributes:
      game, policy, observer, total_updates: filled in from the rest of the configuration.
      num_games: games of an update, each from its beginning to its end; at least 2.
      share_parameters: one set of parameters for all players, or one set each.

    Raises:
      TacitError: if a value is out of range.
    """

    hyperparameters: ClassVar[type[Hyperparameters]] = Hyperparameters

    game: Game
    policy: Any
    observer: str
    total_updates: int
    num_games: int = 64
    share_parameters: bool = True

    def __post_init__(self) -> None:
        whole_number("learner.num_games", self.num_games, 2, why="a game is compared with the others")
        one_of("learner.share_parameters", self.share_parameters, (True, False))

    @property
    def steps_per_update(self) -> int:
        """Steps of games that one update plays at most."""
        return self.num_games * self.game.horizon

    def init(self, hyperparameters: Hyperparameters, *, key: Array) -> State:
        """A learner at its start."""
        params_key, key = jax.random.split(key)
        if self.share_parameters:
            params = self.policy.init(key=params_key)
        else:
            keys = jax.random.split(params_key, self.game.num_players)
            params = jax.lax.map(lambda key: self.policy.init(key=key), keys)
        hyperparameters = Hyperparameters(*(jnp.asarray(value, jnp.float32) for value in hyperparameters))
        optimiser = clipped_adam(hyperparameters.max_grad_norm).init(params)
        return State(hyperparameters, params, optimiser, updates=jnp.int32(0), key=key)

    def update(self, state: State) -> tuple[State, Metrics]:
        """Play whole games, and take one step of Adam."""
        key, play_key = jax.random.split(state.key)
        played, episodes = self.play(state.params, key=play_key)
        gradient, report = jax.grad(self.loss, has_aux=True)(state.params, played, state.hyperparameters.entropy_coef)
        step, optimiser = clipped_adam(state.hyperparameters.max_grad_norm).update(gradient, state.optimiser)
        params = jax.tree.map(lambda p, s: p - state.hyperparameters.learning_rate * s, state.params, step)
        number = state.updates + 1
        state = state._replace(params=params, optimiser=optimiser, updates=number, key=key)
        return state, Metrics.of_update(number, episodes, report, maxima={})

    def play(self, params: Any, *, key: Array) -> tuple[Played, rollout.Episodes]:
        """`num_games` games from their beginning to their end."""
        start_key, key = jax.random.split(key)
        _, seen, episodes = rollout.rollout(
            self.game,
            self.policy,
            params,
            rollout.start(self.game, self.policy, self.num_games, key=start_key),
            observer=self.observer,
            batch="all",  # every player's observation at every step: a memory is replayed from the first one on
            share_parameters=self.share_parameters,
            length=self.game.horizon,
            sequence=self.game.horizon,
            restart=False,
            key=key,
        )
        ended_before = jnp.cumsum(seen.done, axis=0, dtype=jnp.int32) - seen.done.astype(jnp.int32)
        return Played(seen, ended_before == 0), episodes

    def loss(self, params: Any, played: Played, entropy_coef: Array) -> tuple[Array, dict[str, Array]]:
        """The number whose gradient is the estimate of −∇J, and what the update reports."""
        log_probs = self.log_probs(params, played.seen)  # [T, G, K, actions], K players who act
        chosen = jnp.take_along_axis(log_probs, played.seen.action[..., None], axis=-1)[..., 0]
        counts = played.seen.acting & played.going_on[..., None]
        entropies = jnp.where(counts, entropy(log_probs), 0.0)
        bonus = entropy_coef * jnp.sum(entropies, axis=2)
        reward = jnp.where(played.going_on, played.seen.reward, 0.0)
        advantage = jax.lax.stop_gradient(_advantages(reward + bonus, played.going_on))
        scores = jnp.sum(jnp.where(counts, chosen, 0.0), axis=2)
        loss = -jnp.sum(advantage * scores + bonus) / self.num_games
        return loss, {"loss": loss, "entropy": masked_mean(entropies, counts)}

    def log_probs(self, params: Any, seen: rollout.Trajectory) -> Array:
        """float32[T, G, K, num_actions] of the players who act, their memories replayed from the games' beginnings."""
        size = self.game.observer(self.observer).size

        def features(player: Array) -> Array:
            """[T, G, features]: what one player's heads see."""
            own = rollout.params_of(params, player, self.share_parameters)
            observation = rollout.unpacked(seen.observation[:, :, player], size)
            percepts = jax.vmap(jax.vmap(lambda one: self.policy.perceive(own, one)))(observation)
            memories = jax.tree.map(
                lambda leaf: jnp.broadcast_to(leaf, (self.num_games, *leaf.shape)), self.policy.initial_memory()
            )
            turn = jnp.any((seen.slot == player) & seen.acting, axis=2)
            moves = turn if self.policy.memory_clock == "own_turns" else jnp.ones_like(turn)
            return replay_in_turn(self.policy, own, memories, percepts, moves, jnp.zeros_like(turn))

        def act(player: Array, features: Array, legal: Array) -> Array:
            own = rollout.params_of(params, player, self.share_parameters)
            return self.policy.act(own, features, legal)

        everybody = jnp.arange(self.game.num_players, dtype=jnp.int32)
        of_all = jax.vmap(features, out_axes=2)(everybody)
        of_actors = jax.vmap(jax.vmap(rollout.acting_rows))(of_all, seen.slot)
        return jax.vmap(jax.vmap(jax.vmap(act)))(seen.slot, of_actors, seen.legal)

    def agent_params(self, state: State) -> Any:
        """The parameters that the policy plays with."""
        return state.params

    def peak_bytes(self) -> int:
        """Bytes that one learner needs at its peak, estimated from shapes: its state, its games and their gradient."""
        state = jax.eval_shape(lambda: self.init(Hyperparameters(), key=jax.random.key(0)))
        played = jax.eval_shape(lambda state: self.play(state.params, key=state.key)[0], state)
        return bytes_of(state, state.params, played, played)


def _advantages(reward: Array, going_on: Array) -> Array:
    """R_t − b_t of every game that goes on at step t, else 0; float32[T, G], both arguments [T, G]."""
    to_go = jnp.cumsum(reward[::-1], axis=0)[::-1]
    games = jnp.sum(going_on, axis=1, keepdims=True, dtype=jnp.float32)
    mean = jnp.sum(jnp.where(going_on, to_go, 0.0), axis=1, keepdims=True) / jnp.maximum(games, 1.0)
    others = games / jnp.maximum(games - 1, 1.0)  # R − mean of the others = n / (n − 1) (R − mean of all)
    return jnp.where(going_on, others * (to_go - mean), 0.0)
