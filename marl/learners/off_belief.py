"""Off-belief learning with an exact belief, as a policy-gradient learner.

Hu et al. 2021, "Off-Belief Learning" (ICML; arXiv:2103.04000), with the actor-critic of `marl.learners.ppo` in place
of Q-learning. Level 1 maximises the return from the present turn on, but a player's belief about its own hand assumes
that all past actions came from an uninformative policy. So no action gets a meaning beyond the rules, and independent
seeds find the same play. Level k + 1 does the same with beliefs that assume level k's policy.

At every step of the real game, the hand of the acting player i and the deck are resampled from i's belief
B_{k−1}(· | o_i) (`games.hanabi.beliefs`, exact). In this fictitious game i takes the action a that it takes in the
real one, and the others act by the current policy until it is i's turn again, with observation o'_i:

    y = Σ r + γ V(o'_i),  or Σ r if the game ends before,        A = y − V(o_i)

The clipped surrogate, the value error and the entropy are as in IPPO. The next real step starts from the real state
again, so errors of a drawn hand do not add up, and there is no λ. γ counts own turns.

Level 1's belief is that of the grounded policy (see `games.hanabi.beliefs`), for which past actions do not matter.
Later levels weigh each hand by the likelihood of the others' actions under level k−1's policy. The updates are divided
equally among the levels. Each level starts from the policy of the one before, which its belief then assumes.

Chosen here: exact beliefs instead of learned ones. From level 2 on they cost one forward pass for each hand of the
board and step (36 on Hanabi-2x3, 729 on 3x3), nothing at level 1, and leave no error of a belief model to explain;
large boards are refused. Memoryless policies only: the belief evaluates what the partner would have done at one step
if the player had held another hand.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, final

import jax
import jax.numpy as jnp

from games.errors import TacitError, whole_number
from games.hanabi.beliefs import HandBelief
from marl.learners import ppo, rollout
from marl.learners.learner import Metrics, MinibatchLearner
from marl.policies.policy import Array


class Hyperparameters(NamedTuple):
    """The numbers that may differ between learners of one compiled program: float32[] each, or Python floats."""

    learning_rate: Any = 1e-3
    entropy_coef: Any = 0.01
    gamma: Any = 0.99
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
        _of_ppo(self).check()
        return self


class OffBeliefState(NamedTuple):
    """Everything that `update` changes, and the hyperparameters."""

    ppo: ppo.PPOState
    """The policy and the real games. In place of memories players have log-likelihoods of their hands given the
    others' actions, float32[num_games, num_players, hands]; of 0 hands at level 1."""
    belief_params: Any  # the policy of the level before, under which beliefs evaluate the others' actions


@final
@dataclasses.dataclass(frozen=True)
class OffBelief(MinibatchLearner):
    """The algorithm for one seed; the caller vmaps over seeds and hyperparameters.

    Attributes:
      game, policy, observer, ...: see `MinibatchLearner`. The policy has no memory, and `share_parameters` must be
        true: the belief evaluates the partner's actions with the player's own network.
      rollout_length: steps of every game between two updates.
      levels: the highest level, at which the run ends, counted from 1.
      samples: fictitious continuations of each step, whose mean is the target.
      normalise_advantages: subtract the mean and divide by the standard deviation in every minibatch.

    Raises:
      TacitError: if a value is out of range; if the game has no exact belief; if the policy has a memory.
    """

    version: ClassVar[str] = "off_belief-2"
    hyperparameters: ClassVar[type[Hyperparameters]] = Hyperparameters

    _: dataclasses.KW_ONLY
    rollout_length: int
    levels: int = 1
    samples: int = 1
    normalise_advantages: bool = True

    def __post_init__(self) -> None:
        for name in ("levels", "samples"):
            whole_number(f"learner.{name}", getattr(self, name), 1)
        if self.share_parameters is not True:
            raise TacitError("off-belief learning shares parameters: learner.share_parameters must be true")
        if jax.tree.leaves(jax.eval_shape(self.policy.initial_memory)):
            raise TacitError(
                f"off-belief learning takes policies without a memory, and this one has one: {self.policy}"
            )
        if self.levels > self.total_updates:
            raise TacitError(
                f"learner.levels must be at most the {self.total_updates} updates of the run, and {self.levels} is more"
            )
        HandBelief(self.game)
        _ = self._ppo  # its checks

    @property
    def steps_per_update(self) -> int:
        """Real steps of games that one update plays."""
        return self._ppo.steps_per_update

    def init(self, hyperparameters: Hyperparameters, *, key: Array) -> OffBeliefState:
        """The initial state of a learner. For many seeds use `lax.map`, never `vmap` (see `FeedForward.init`)."""
        begun = self._ppo.init(_of_ppo(hyperparameters), key=key)
        begun = begun._replace(playing=self._reset_log_likelihoods(begun.playing))
        return OffBeliefState(begun, belief_params=begun.params if self.levels > 1 else ())

    def update(self, state: OffBeliefState) -> tuple[OffBeliefState, Metrics]:
        """Play one rollout and learn from it."""
        key, start_key, rollout_key, shuffle_key = jax.random.split(state.ppo.key, 4)
        state = self._advance_level(state, start_key)
        level = self.level(state.ppo.updates)
        playing, trajectory, advantage, episodes = self._rollout(state, rollout_key)
        learnt, metrics = self._ppo.learn(state.ppo, trajectory, advantage, trajectory.valid, episodes, key=shuffle_key)
        metrics = metrics._replace(sums=metrics.sums | {"level": level.astype(jnp.float32)})
        return state._replace(ppo=learnt._replace(playing=playing, key=key)), metrics

    def agent_params(self, state: OffBeliefState) -> Any:
        """The parameters that the policy plays with: those of the present level."""
        return state.ppo.params

    def with_agent_params(self, state: OffBeliefState, params: Any) -> OffBeliefState:
        """An initial state whose policy plays with `params`."""
        return state._replace(ppo=state.ppo._replace(params=params))

    def level(self, updates: Array) -> Array:
        """int32[]: the level, from 1, that the next update after `updates` of them learns."""
        ends = jnp.array([self.total_updates * level // self.levels for level in range(1, self.levels)], jnp.int32)
        return 1 + jnp.sum(updates >= ends, dtype=jnp.int32)

    def peak_bytes(self) -> int:
        """Bytes that one learner needs at its peak, estimated from shapes: PPO's, and those of the belief's hands."""
        if self.levels == 1:
            return self._ppo.peak_bytes()
        hands = self.num_games * self.game.num_players * HandBelief(self.game).num_hands
        return self._ppo.peak_bytes() + 4 * hands * (1 + self.game.observer(self.observer).size)

    @property
    def _ppo(self) -> ppo.PPO:
        """The PPO that updates the parameters, given the advantages."""
        return ppo.from_learner(self)

    # --- play --------------------------------------------------------------------------------------------------------

    def _advance_level(self, state: OffBeliefState, key: Array) -> OffBeliefState:
        """Where a new level begins, make the present policy the belief's policy, and begin all games anew."""
        if self.levels == 1:
            return state
        begins = self.level(state.ppo.updates) > self.level(state.ppo.updates - 1)
        fresh = self._reset_log_likelihoods(rollout.start(self.game, self.policy, self.num_games, key=key))
        belief_params, playing = jax.tree.map(
            lambda new, old: jnp.where(begins, new, old),
            (state.ppo.params, fresh),
            (state.belief_params, state.ppo.playing),
        )
        return OffBeliefState(state.ppo._replace(playing=playing), belief_params)

    def _reset_log_likelihoods(self, playing: rollout.Playing) -> rollout.Playing:
        """The games with all log-likelihoods of hands reset to 0, as before any action."""
        hands = HandBelief(self.game).num_hands if self.levels > 1 else 0
        return playing._replace(memories=jnp.zeros((self.num_games, self.game.num_players, hands), jnp.float32))

    def _rollout(
        self, state: OffBeliefState, key: Array
    ) -> tuple[rollout.Playing, rollout.Trajectory, Array, rollout.Episodes]:
        """The games afterwards, what was played, the advantages float32[T, G, 1], and the games that ended."""

        def step(carry: tuple[Any, Any], key: Array) -> tuple[tuple[Any, Any], tuple[rollout.Trajectory, Array]]:
            playing, episodes = carry
            keys = jax.random.split(key, self.num_games)
            playing, (recorded, finished) = jax.vmap(functools.partial(self._play_one, state))(playing, keys)
            return (playing, episodes.accumulate(finished)), recorded

        keys = jax.random.split(key, self.rollout_length)
        (playing, episodes), (trajectory, advantage) = jax.lax.scan(
            step, (state.ppo.playing, rollout.Episodes.none()), keys
        )
        return playing, trajectory, advantage, episodes

    def _play_one(
        self, state: OffBeliefState, playing: rollout.Playing, key: Array
    ) -> tuple[rollout.Playing, tuple[tuple[rollout.Trajectory, Array], rollout.Episodes]]:
        """A step of one real game, with its advantage from fictitious ones."""
        real_key, fiction_key = jax.random.split(key)
        before, log_likelihoods = playing.states, playing.memories
        playing, (step, finished) = self._step(state, restart=True)(playing._replace(memories=()), real_key)
        player, action = step.player[0], step.action[0]
        targets = jax.vmap(lambda key: self._fictitious(state, before, log_likelihoods, player, action, key))(
            jax.random.split(fiction_key, self.samples)
        )
        log_likelihoods = jnp.where(
            step.done, 0.0, self._updated_log_likelihoods(state, before, player, action, log_likelihoods)
        )
        return playing._replace(memories=log_likelihoods), ((step, jnp.mean(targets) - step.value), finished)

    def _fictitious(
        self, state: OffBeliefState, before: Any, log_likelihoods: Array, player: Array, action: Array, key: Array
    ) -> Array:
        """float32[]: the target y of one fictitious game, from a hand drawn from the belief to the next own turn."""
        draw_key, first_key, rest_key = jax.random.split(key, 3)
        belief = HandBelief(self.game)
        if self.levels == 1:
            log_likelihood = jnp.zeros(belief.num_hands, jnp.float32)
        else:
            log_likelihood = log_likelihoods[player] * (self.level(state.ppo.updates) > 1)
        fiction = belief.resampled(before, player, log_likelihood, key=draw_key)
        actions = rollout.joint_action(self.game, player[None], jnp.ones(1, jnp.bool_), action[None])
        fiction, reward, _ = self.game.step(fiction, actions, key=first_key)
        playing = rollout.Playing(fiction, memories=(), returns=reward, lengths=jnp.int32(1))
        for key in jax.random.split(rest_key, self.game.num_players - 1):  # the others, in turn
            playing, _ = self._step(state, restart=False)(playing, key)
        value = self._value(state.ppo.params, playing.states, player)
        return playing.returns + jnp.where(playing.states.ended, 0.0, state.ppo.hyperparameters.gamma * value)

    def _updated_log_likelihoods(
        self, state: OffBeliefState, before: Any, player: Array, action: Array, log_likelihoods: Array
    ) -> Array:
        """float32[P, hands]: all players' log-likelihoods of their hands after an action."""
        if self.levels == 1:
            return log_likelihoods
        belief = HandBelief(self.game)

        def log_prob(other: Any) -> Array:
            return self._log_probs(state.belief_params, other, player)[action]

        def one(listener: Array, log_likelihood: Array) -> Array:
            told = belief.after_others_action(before, listener, log_likelihood, log_prob)
            own = belief.after_own_action(before, listener, action, log_likelihood)
            return jnp.where(listener == player, own, told)

        return jax.vmap(one)(jnp.arange(self.game.num_players, dtype=jnp.int32), log_likelihoods)

    def _step(self, state: OffBeliefState, *, restart: bool) -> Callable[..., Any]:
        return rollout.one_step(
            self.game, self.policy, state.ppo.params, observer=self.observer, batch="acting", share_parameters=True,
            sequence=1, restart=restart,
        )  # fmt: skip

    def _log_probs(self, params: Any, state: Any, player: Array) -> Array:
        """float32[num_actions]: a player's log-probabilities."""
        observation = self.game.observe(state, player, self.observer)
        return self.policy.apply(params, (), observation, self.game.legal(state, player))[1]

    def _value(self, params: Any, state: Any, player: Array) -> Array:
        """float32[]: the value of a player's observation."""
        observation = self.game.observe(state, player, self.observer)
        _, features = self.policy.remember(params, (), self.policy.perceive(params, observation))
        return self.policy.value(params, features)


def _of_ppo(hyperparameters: Hyperparameters) -> ppo.Hyperparameters:
    return ppo.Hyperparameters(**hyperparameters._asdict(), gae_lambda=0.0)
