"""Play with the current policy and record what a learner needs.

Two conventions say whose steps are recorded, and therefore over which steps γ and λ count:

`acting`  only players who act. A player's trajectory is the sequence of its own turns: the reward of a turn is the sum
          of the team's rewards from this turn up to the player's next one, and γ and λ count own turns. In a two-player
          turn-based game this is half the rows of `all`.
`all`     every player at every step, with the no-op out of turn, as in the published baseline (JaxMARL). γ and λ count
          the steps of the game, everybody's turns. Out of turn only the value is learned: the no-op's log-probability
          and entropy are 0 whatever the parameters, and by default no mean counts them (`no_op_rows` of
          `marl.learners.ppo.PPO`).
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from games.game import Game, Observer
from marl.learners.losses import lambda_returns
from marl.policies.policy import ActorCritic, Array, sample

Batch = Literal["acting", "all"]


class Playing(NamedTuple):
    """Games in progress, [num_games, ...] in every leaf."""

    states: Any
    memories: Any  # [num_games, num_players, ...]
    returns: Array  # float32[num_games] sum of rewards since the game began
    lengths: Array  # int32[num_games] steps since the game began


class Trajectory(NamedTuple):
    """T steps of G games with M recorded players each, at most K of whom act; P players, sequences of L steps."""

    observation: Array  # observer's dtype[T, G, M, observation_size], or uint8[T, G, M, bytes] of bits: see `packed`
    memory: Any  # [T / L, G, P, ...] all players' memories before the first step of each sequence
    player: Array  # int32[T, G, M]
    valid: Array  # bool[T, G, M] this entry is a player's recorded step, not padding
    value: Array  # float32[T, G, M]
    slot: Array  # int32[T, G, K] which of the M recorded players acts
    acting: Array  # bool[T, G, K] this entry is an action, not padding
    legal: Array  # bool[T, G, K, num_actions]
    action: Array  # int32[T, G, K]
    log_prob: Array  # float32[T, G, K]
    reward: Array  # float32[T, G]
    done: Array  # bool[T, G] the game ended with this step


class Episodes(NamedTuple):
    """Statistics of the games that ended, as sums: divide by `count`, which may be 0."""

    count: Array  # int32[], a column of metrics.npz  # pyright: ignore[reportIncompatibleMethodOverride]
    return_sum: Array  # float32[]
    length_sum: Array  # int32[]
    bombed: Array  # int32[]

    @classmethod
    def none(cls) -> "Episodes":
        """The statistics of zero games: the identity element of the sum."""
        return cls(jnp.int32(0), jnp.float32(0), jnp.int32(0), jnp.int32(0))

    @classmethod
    def after(cls, game: Game, state: Any, *, total: Array, length: Array, done: Array) -> "Episodes":
        """The statistics of one game if its step into `state` ended it (`done`, bool[]); else those of zero games."""
        return cls(
            count=done.astype(jnp.int32),
            return_sum=jnp.where(done, total, 0.0),
            length_sum=jnp.where(done, length, 0),
            bombed=(done & game.bombed(state)).astype(jnp.int32),
        )

    def accumulate(self, others: "Episodes") -> "Episodes":
        """The sum of these statistics and of `others`, those of several games, with leaves [num_games]."""
        return jax.tree.map(lambda sum_, new: sum_ + jnp.sum(new, dtype=sum_.dtype), self, others)


def start(game: Game, policy: ActorCritic, num_games: int, *, key: Array) -> Playing:
    """`num_games` fresh games."""
    states = jax.vmap(lambda key: game.init(key=key))(jax.random.split(key, num_games))
    memories = jax.tree.map(
        lambda x: jnp.broadcast_to(x, (num_games, game.num_players, *x.shape)), policy.initial_memory()
    )
    return Playing(
        states=states,
        memories=memories,
        returns=jnp.zeros(num_games, jnp.float32),
        lengths=jnp.zeros(num_games, jnp.int32),
    )


def observer_of(game: Game, observer: str | Observer) -> Observer:
    """The observer of that name, or the one given: a learner may see more than the players (a centralised critic)."""
    return game.observer(observer) if isinstance(observer, str) else observer


def params_of(params: Any, player: Array, share_parameters: bool) -> Any:
    """The parameters that `player` int32[] acts with: all if they are shared, else its row of every leaf [P, ...]."""
    return params if share_parameters else jax.tree.map(lambda leaf: leaf[player], params)


def acting_rows(rows: Array, slot: Array) -> Array:
    """Gather the acting players' rows [K, ...] from `rows` [M, ...]; where K = M, `rows` as they are."""
    return rows if rows.shape[0] == slot.shape[0] else rows[slot]


def gather_memories(memories: Any, player: Array) -> Any:
    """Gather the memories of the players [M] from those of all players [P, ...]; where M = P, all of them in order."""

    def gather(every: Array) -> Array:
        if len(player) == len(every):
            return every
        return _select(_is(player, len(every)), every)

    return jax.tree.map(gather, memories)


def scatter_memories(memories: Any, player: Array, moves: Array, after: Any) -> Any:
    """Scatter `after` [M, ...] into all players' memories [P, ...], for those of the players [M] who move, bool[M]."""

    def scatter(every: Array, new: Array) -> Array:
        if len(player) == len(every):
            return jnp.where(moves.reshape(-1, *[1] * (every.ndim - 1)), new, every)
        source = (_is(player, len(every)) & moves[:, None]).T
        return jnp.where(jnp.any(source, axis=1).reshape(-1, *[1] * (every.ndim - 1)), _select(source, new), every)

    return jax.tree.map(scatter, memories, after)


def joint_action(game: Game, actors: Array, acting: Array, action: Array) -> Array:
    """int32[P]: the actions [K] of those of the players `actors` [K] who act, bool[K] `acting`; no-ops for the rest."""
    is_actor = _is(actors, game.num_players) & acting[:, None]  # [K, P]
    actions = jnp.max(jnp.where(is_actor, action[:, None], -1), axis=0)
    return jnp.where(actions < 0, game.noop, actions)


def moves_mask(policy: ActorCritic, slot: Array, acting: Array, recorded: int) -> Array:
    """bool[M]: which of M recorded players update their memory in a step; `slot`, `acting` [K] as in `Trajectory`."""
    if policy.memory_clock == "every_step":
        return jnp.ones(recorded, jnp.bool_)
    return jnp.any(_is(slot, recorded) & acting[:, None], axis=0)


def packed(observation: Array) -> Array:
    """An observation [..., size] for storage: bool is packed into uint8[..., ⌈size / 8⌉], any other dtype stays."""
    return jnp.packbits(observation, axis=-1) if observation.dtype == jnp.bool_ else observation


def unpacked(kept: Array, size: int) -> Array:
    """The inverse of `packed` for observations [..., size]."""
    if kept.dtype != jnp.uint8:
        return kept
    return jnp.unpackbits(kept, axis=-1, count=size).astype(jnp.bool_)


def rollout(
    game: Game,
    policy: ActorCritic,
    params: Any,
    playing: Playing,
    *,
    observer: str | Observer,
    batch: Batch,
    share_parameters: bool,
    length: int,
    sequence: int,
    restart: bool = True,
    reward_scale: float = 1.0,
    key: Array,
) -> tuple[Playing, Trajectory, Episodes]:
    """Play `length` steps of every game.

    Args:
      params: the policy's parameters, with a leading axis [num_players] unless `share_parameters`.
      playing: games in progress.
      observer: the players' observer, or its name.
      batch: whose steps are recorded.
      sequence: L, which divides `length`: how many steps are replayed one after the other. From L = 2 on, `acting`
        records every player whose memory is updated at the step, too, since the replay needs its observation; out of
        turn such a row is not valid.
      restart: whether a game that ends is followed by a fresh one at the next step. If not, what is recorded after its
        end is padding.
      reward_scale: recorded rewards are the game's times this; the statistics of games have the game's.
      key: consumed.
    """
    play_one = one_step(
        game, policy, params, observer=observer, batch=batch, share_parameters=share_parameters, sequence=sequence,
        restart=restart, reward_scale=reward_scale,
    )  # fmt: skip
    num_games = playing.returns.shape[0]

    def step(carry: tuple[Playing, Episodes], key: Array) -> tuple[tuple[Playing, Episodes], Trajectory]:
        playing, episodes = carry
        playing, (trajectory, finished) = jax.vmap(play_one)(playing, jax.random.split(key, num_games))
        return (playing, episodes.accumulate(finished)), trajectory

    def play_sequence(carry: tuple[Playing, Episodes], keys: Array) -> tuple[tuple[Playing, Episodes], Trajectory]:
        memories = carry[0].memories
        carry, trajectory = jax.lax.scan(step, carry, keys, unroll=sequence == 1)
        return carry, trajectory._replace(memory=memories)

    keys = jax.random.split(key, length).reshape(length // sequence, sequence)
    (playing, episodes), parts = jax.lax.scan(play_sequence, (playing, Episodes.none()), keys)
    steps = jax.tree.map(lambda x: x.reshape(length, *x.shape[2:]), parts._replace(memory=()))
    return playing, steps._replace(memory=parts.memory), episodes


def bootstrap(
    game: Game,
    policy: ActorCritic,
    params: Any,
    playing: Playing,
    *,
    observer: str | Observer,
    batch: Batch,
    share_parameters: bool,
    gamma: Array,
    reward_scale: float = 1.0,
    key: Array,
) -> Array:
    """The return beyond a rollout: each player's rewards up to its next recorded step, and γ times its value there.

    The policy plays on until each player has had such a step or the game has ended; these steps enter no trajectory.
    The value where the rollout stops would not do: values are trained at recorded steps only. Since the policy itself
    draws the extra steps, the mean is that of the return.

    Args:
      playing: the games as the rollout left them.
      gamma: float32[].
      key: consumed.
      others: as in `rollout`.

    Returns:
      float32[num_games, num_players].
    """
    play_one = one_step(
        game, policy, params, observer=observer, batch=batch, share_parameters=share_parameters, sequence=1,
        restart=True, reward_scale=reward_scale,
    )  # fmt: skip
    num_games = playing.returns.shape[0]

    def play_on(carry: tuple[Playing, Array, Array, Array]) -> tuple[Playing, Array, Array, Array]:
        playing, ahead, waiting, number = carry  # the second and the third [num_games, num_players]
        keys = jax.random.split(jax.random.fold_in(key, number), num_games)
        playing, (step, _) = jax.vmap(play_one)(playing, keys)
        recorded, value = _by_player(step, game.num_players)
        ahead = ahead + jnp.where(waiting & recorded, gamma * value, 0.0)
        waiting = waiting & ~recorded
        ahead = ahead + jnp.where(waiting, step.reward[:, None], 0.0)
        return playing, ahead, waiting & ~step.done[:, None], number + 1

    def goes_on(carry: tuple[Playing, Array, Array, Array]) -> Array:
        # A policy that has diverged makes no legal move, and then no game ends.
        return jnp.any(carry[2]) & (carry[3] < game.horizon)

    shape = (num_games, game.num_players)
    carry = (playing, jnp.zeros(shape, jnp.float32), jnp.ones(shape, jnp.bool_), jnp.int32(0))
    return jax.lax.while_loop(goes_on, play_on, carry)[1]


def advantages(trajectory: Trajectory, ahead: Array, *, num_players: int, gamma: Array, gae_lambda: Array) -> Array:
    """Generalised advantage estimation (Schulman et al. 2016) along each player's recorded steps.

    With k and k+1 two recorded steps of one player in one game, R_k the team's reward from step k up to step k+1:

        δ_k = R_k + γ v_{k+1} − v_k,    A_k = δ_k + γ λ A_{k+1},    and v = A = 0 after the end of the game.

    Where a game goes on beyond the rollout, the result of `bootstrap` is the return after the last step.

    Args:
      ahead: float32[G, P], from `bootstrap`.

    Returns:
      float32[T, G, M], 0 where an entry is no recorded step.
    """
    recorded, value = _by_player(trajectory, num_players)
    # A player's returns from every step of the game on; γ and λ apply where the next step is one of its recorded ones.
    counts = jnp.concatenate([recorded[1:], jnp.zeros_like(recorded[:1])])
    discount = jnp.where(counts, gamma, 1.0) * ~trajectory.done[..., None]
    returns = lambda_returns(
        jnp.broadcast_to(trajectory.reward[..., None], value.shape),
        discount,
        jnp.concatenate([value[1:], ahead[None]]),
        jnp.where(counts, gae_lambda, 1.0),
    )
    own = jnp.take_along_axis(returns, trajectory.player, axis=-1)
    return jnp.where(trajectory.valid, own - trajectory.value, 0.0)


def _by_player(steps: Trajectory, num_players: int) -> tuple[Array, Array]:
    """bool[..., P] which players have a recorded step, and float32[..., P] its value, 0 where there is none."""
    recorded = jax.nn.one_hot(steps.player, num_players, dtype=jnp.bool_) & steps.valid[..., None]
    return jnp.any(recorded, axis=-2), jnp.sum(jnp.where(recorded, steps.value[..., None], 0.0), axis=-2)


def one_step(
    game: Game,
    policy: ActorCritic,
    params: Any,
    *,
    observer: str | Observer,
    batch: Batch,
    share_parameters: bool,
    sequence: int,
    restart: bool,
    reward_scale: float = 1.0,
) -> Callable[[Playing, Array], tuple[Playing, tuple[Trajectory, Episodes]]]:
    """One step of one game: the game afterwards, what is recorded of the step, and the statistics if it ended the game.

    Arguments as in `rollout`; the key that the returned function takes is consumed.
    """
    encode = observer_of(game, observer).encode
    everybody = jnp.arange(game.num_players, dtype=jnp.int32)
    initial_memory = policy.initial_memory()

    def play_one(playing: Playing, key: Array) -> tuple[Playing, tuple[Trajectory, Episodes]]:
        state = playing.states
        draw_key, step_key, init_key = jax.random.split(key, 3)
        actors, acting = game.acting(state)
        if game.max_acting == game.num_players:
            actors, acting = everybody, game.is_acting(state)  # in order: `acting_rows` has nothing to move
        in_order = jnp.arange(game.max_acting, dtype=jnp.int32)
        # A memory that is updated at every step needs the observations of all players, recorded or not.
        everybody_observes = batch == "all" or policy.memory_clock == "every_step"
        players, slot = (everybody, actors) if everybody_observes else (actors, in_order)

        def evaluate(player: Array, memory: Any) -> tuple[Array, Any, Array, Array]:
            observation = encode(state, player)
            own = params_of(params, player, share_parameters)
            memory, features = policy.remember(own, memory, policy.perceive(own, observation))
            return packed(observation), memory, features, policy.value(own, features)

        def act(player: Array, features: Array, key: Array) -> tuple[Array, Array, Array]:
            legal = game.legal(state, player)
            log_probs = policy.act(params_of(params, player, share_parameters), features, legal)
            action = sample(log_probs, key=key)
            return legal, action, log_probs[action]

        memory = gather_memories(playing.memories, players)
        observation, memory_after, features, value = jax.vmap(evaluate)(players, memory)
        legal, action, log_prob = jax.vmap(act)(
            actors, acting_rows(features, slot), jax.random.split(draw_key, game.max_acting)
        )
        next_state, reward, done = game.step(state, joint_action(game, actors, acting, action), key=step_key)
        if not restart:
            done = done & ~state.ended
        total, steps = playing.returns + reward, playing.lengths + 1
        finished = Episodes.after(game, next_state, total=total, length=steps, done=done)
        moves = moves_mask(policy, slot, acting, len(players))
        memories = scatter_memories(playing.memories, players, moves, memory_after)
        playing = Playing(next_state, memories, total, steps)
        if restart:
            first = jax.tree.map(lambda every, one: jnp.broadcast_to(one, every.shape), memories, initial_memory)
            fresh = Playing(game.init(key=init_key), first, returns=jnp.float32(0), lengths=jnp.int32(0))
            playing = jax.tree.map(lambda new, old: jnp.where(done, new, old), fresh, playing)
        if batch == "all":
            valid = jnp.ones(game.num_players, jnp.bool_)
        elif sequence > 1:
            valid = jnp.any(_is(slot, len(players)) & acting[:, None], axis=0)
        else:
            observation, players, value = (acting_rows(rows, slot) for rows in (observation, players, value))
            valid, slot = acting, in_order
        step = Trajectory(
            observation=observation,
            memory=(),
            player=players,
            valid=valid,
            value=value,
            slot=slot,
            acting=acting,
            legal=legal,
            action=action,
            log_prob=log_prob,
            reward=reward * reward_scale,
            done=done,
        )
        return playing, (step, finished)

    return play_one


def _is(index: Array, size: int) -> Array:
    """bool[len(index), size]: one-hot rows."""
    return index[:, None] == jnp.arange(size, dtype=index.dtype)[None]


def _select(which: Array, rows: Array) -> Array:
    """[A, ...]: gather by mask: for each row of `which` bool[A, B] the one of `rows` [B, ...] that it marks, or 0."""
    # A masked sum over few rows: a gather's gradient would be a scatter, which runs one element at a time on a CPU.
    which = which.reshape(*which.shape, *[1] * (rows.ndim - 1))
    return jnp.sum(jnp.where(which, rows[None], jnp.zeros((), rows.dtype)), axis=1, dtype=rows.dtype)
