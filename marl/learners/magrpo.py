"""Group-relative policy optimisation for teams: advantages from comparing joint episodes, without a critic.

MAGRPO (Liu et al. 2025, arXiv:2508.04652), the team version of GRPO (Shao et al. 2024). A group is `group_size` games
from the same initial situation (the same deck in Hanabi), played to their ends side by side by the present policy. With
R_t^g = r_t + γ r_{t+1} + … the team's return in game g from step t on, every action taken in it at step t has the
advantage

    A_t^g = (R_t^g − mean_g R_t^g) / (σ_t + 1e-5),

where the mean runs over the games of the group that still go on at step t (in the source all are equally long). The
field `advantage_normaliser` decides what σ_t is:

    group_std  the standard deviation over the same games, as in the source: a difference within a group counts the
               same, whether it is a point or the whole game
    batch_std  that of all A of the update, one number: as in a PPO batch, a larger difference counts more
    none       1, without the 1e-5: advantages, and with them the entropy coefficient, are in units of the reward. (It
               is still not the theorem's alpha: R_t^g holds no entropy of later steps.)

With `credit: episode` R_0^g takes the place of R_t^g at every step, as in GRPO, where the reward comes at the end.

The loss of a minibatch is PPO's without the value term (`marl.learners.ppo`), means over all actions of the players
in turn. The source's public code takes one gradient step a batch instead, without clipping: `epochs: 1`,
`minibatches: 1`.
"""

import dataclasses
from typing import Any, ClassVar, Literal, NamedTuple, final, get_args

import jax
import jax.numpy as jnp

from games.errors import TacitError, number, one_of, whole_number
from marl.learners import ppo, rollout
from marl.learners.learner import Metrics, MinibatchLearner
from marl.learners.losses import masked_mean
from marl.policies.policy import Array

Normaliser = Literal["group_std", "batch_std", "none"]
Credit = Literal["to_go", "episode"]

_LEAST_STD = 1e-5
"""Added to a standard deviation: far above the rounding of a mean of equal returns."""


class Hyperparameters(NamedTuple):
    """The numbers that may differ between learners of one compiled program: float32[] each, or Python floats."""

    learning_rate: Any = 1e-3
    entropy_coef: Any = 0.01
    gamma: Any = 0.95
    clip: Any = 0.2
    max_grad_norm: Any = 0.5
    entropy_coef_final: Any = 0.0
    target_entropy: Any = 0.3
    entropy_learning_rate: Any = 0.1

    def check(self) -> "Hyperparameters":
        """These numbers, if each is in its range.

        Raises:
          TacitError: naming the first that is not.
        """
        number("learner.clip", self.clip, 0, above=True)
        _of_ppo(self).check()
        return self


@final
@dataclasses.dataclass(frozen=True)
class MAGRPO(MinibatchLearner):
    """The algorithm for one seed; the caller vmaps over seeds and hyperparameters.

    Attributes:
      game, policy, observer, ...: see `MinibatchLearner`. `num_games` are played by an update from their beginning to
        their end, minibatches are of `num_games` x `game.horizon` steps, of which those after a game's end are left out
        of every mean, and a value head of the policy stays as it was initialised.
      group_size: games with the same beginning, at least 2, a divisor of `num_games`.
      advantage_normaliser: "group_std", "batch_std" or "none", see above.
      credit: "to_go" or "episode", see above.

    Raises:
      TacitError: if a value is out of range, or one does not divide what it must.
    """

    version: ClassVar[str] = "magrpo-1"
    hyperparameters: ClassVar[type[Hyperparameters]] = Hyperparameters

    _: dataclasses.KW_ONLY
    group_size: int
    advantage_normaliser: Normaliser = "group_std"
    credit: Credit = "to_go"

    def __post_init__(self) -> None:
        whole_number("learner.group_size", self.group_size, 2)
        one_of("learner.advantage_normaliser", self.advantage_normaliser, get_args(Normaliser))
        one_of("learner.credit", self.credit, get_args(Credit))
        if self._ppo.num_games % self.group_size:
            raise TacitError(
                f"learner.group_size must divide learner.num_games, {self.num_games}, and {self.group_size} does not"
            )

    @property
    def rollout_length(self) -> int:
        """Steps of every game in an update: the horizon."""
        return self.game.horizon

    @property
    def steps_per_update(self) -> int:
        """Steps of games that one update plays at most: as if no game ended before the horizon.

        Budgets count these; `length_sum` of the metrics counts those that were played.
        """
        return self.num_games * self.game.horizon

    def init(self, hyperparameters: Hyperparameters, *, key: Array) -> ppo.PPOState:
        """The initial state of a learner. For many seeds use `lax.map`, never `vmap` (see `FeedForward.init`)."""
        state_key, games_key = jax.random.split(key)
        state = self._ppo.init(_of_ppo(hyperparameters), key=state_key)
        return state._replace(playing=self._fresh_groups(games_key))

    def update(self, state: ppo.PPOState) -> tuple[ppo.PPOState, Metrics]:
        """Play every group to the end and learn from it; `state.playing` are always games that have not begun."""
        key, games_key, rollout_key, shuffle_key = jax.random.split(state.key, 4)
        _, trajectory, episodes = rollout.rollout(
            self.game,
            self.policy,
            state.params,
            state.playing,
            observer=self.observer,
            batch="acting",
            share_parameters=self.share_parameters,
            length=self.rollout_length,
            sequence=self._ppo.sequence,
            restart=False,
            key=rollout_key,
        )
        advantage, going_on = group_advantages(
            trajectory.reward,
            trajectory.done,
            gamma=state.hyperparameters.gamma,
            group_size=self.group_size,
            normaliser=self.advantage_normaliser,
            credit=self.credit,
        )
        recorded = trajectory.player.shape
        advantage, going_on = (jnp.broadcast_to(x[..., None], recorded) for x in (advantage, going_on))
        state, metrics = self._ppo.learn(state, trajectory, advantage, going_on, episodes, key=shuffle_key)
        return state._replace(playing=self._fresh_groups(games_key), key=key), metrics

    def agent_params(self, state: ppo.PPOState) -> Any:
        """The parameters that the policy plays with."""
        return state.params

    def with_agent_params(self, state: ppo.PPOState, params: Any) -> ppo.PPOState:
        """An initial state whose policy plays with `params`."""
        return state._replace(params=params)

    def peak_bytes(self) -> int:
        """Bytes that one learner needs at its peak, estimated from shapes."""
        return self._ppo.peak_bytes()

    @property
    def _ppo(self) -> ppo.PPO:
        """The PPO that updates the parameters, given the advantages."""
        return ppo.from_learner(self, _WithoutCritic, normalise_advantages=False)

    def _fresh_groups(self, key: Array) -> rollout.Playing:
        one_of_each = rollout.start(self.game, self.policy, self.num_games // self.group_size, key=key)
        group = jnp.arange(self.num_games, dtype=jnp.int32) // self.group_size
        return jax.tree.map(lambda leaf: leaf[group], one_of_each)


def group_advantages(
    reward: Array, done: Array, *, gamma: Array, group_size: int, normaliser: Normaliser, credit: Credit
) -> tuple[Array, Array]:
    """The advantages of whole games, each compared with the others of its group.

    Args:
      reward: float32[T, G] of G games in groups of `group_size` neighbours; after a game's end it is ignored.
      done: bool[T, G] the game ends with this step; once a game.
      gamma: float32[] discount for each step of the game.
      group_size: divides G.
      normaliser, credit: see above.

    Returns:
      advantage float32[T, G], 0 after a game's end, and bool[T, G]: the game has not ended before this step.
    """
    ended = jnp.cumsum(done, axis=0, dtype=jnp.int32) - done.astype(jnp.int32)
    going_on = ended == 0
    reward = jnp.where(going_on, reward, 0.0)

    def backward(return_tp1: Array, reward_t: Array) -> tuple[Array, Array]:
        return_t = reward_t + gamma * return_tp1
        return return_t, return_t

    returns = jax.lax.scan(backward, jnp.zeros_like(reward[0]), reward, reverse=True)[1]
    if credit == "episode":
        returns = jnp.broadcast_to(returns[0], returns.shape)
    over_groups = jax.vmap(jax.vmap(lambda x, mask: x - masked_mean(x, mask)))
    shape = (len(reward), -1, group_size)
    mask = going_on.reshape(shape)
    advantage = jnp.where(mask, over_groups(returns.reshape(shape), mask), 0.0)
    if normaliser == "group_std":
        square = jax.vmap(jax.vmap(masked_mean))(advantage**2, mask)
        advantage = advantage / (jnp.sqrt(square)[..., None] + _LEAST_STD)
    elif normaliser == "batch_std":
        advantage = advantage / (jnp.sqrt(masked_mean(advantage**2, mask)) + _LEAST_STD)
    return advantage.reshape(reward.shape), going_on


def _of_ppo(hyperparameters: Hyperparameters) -> ppo.Hyperparameters:
    return ppo.Hyperparameters(**hyperparameters._asdict(), value_coef=0.0, gae_lambda=1.0)


class _WithoutCritic(ppo.PPO):
    """PPO whose loss has no value term."""

    critic: ClassVar[bool] = False
