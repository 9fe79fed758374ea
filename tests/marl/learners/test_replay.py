"""A memory in play and in replay: the same bits step by step, the same ratios in sequences, the same gradients."""

import dataclasses
import functools
import math
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from games import hanabi
from games.errors import TacitError
from games.game import Game, Layout, Observer
from marl.learners import rollout
from marl.learners.ippo import IPPO, Hyperparameters
from marl.learners.learner import updates as run_updates
from marl.learners.learner import zero_metrics
from marl.policies.feed_forward import FeedForward
from marl.policies.recurrent import Recurrent

pytestmark = pytest.mark.slow


class WalkState(NamedTuple):
    time: Any  # int32[]
    spot: Any  # float32[num_players, 3] what each player sees, drawn anew at every step
    ended: Any
    illegal: Any


@dataclasses.dataclass(frozen=True)
class Walk(Game):
    """Noise to look at and to be paid by, games of 1 to 9 steps, and `shifts` in turn to act.

    Where fewer than `max_acting` act, the last places are copies of the first and are not valid.
    """

    name: ClassVar[str] = "walk"
    version: ClassVar[str] = "walk-1"
    cyclic: ClassVar[bool] = False
    num_actions: ClassVar[int] = 4
    horizon: ClassVar[int] = 9
    score_range: ClassVar[tuple[float, float]] = (-math.inf, math.inf)

    shifts: tuple[tuple[int, ...], ...]

    @property
    def num_players(self):
        return 1 + max(map(max, self.shifts))

    @property
    def max_acting(self):
        return max(map(len, self.shifts))

    @functools.cached_property
    def observers(self):
        def encode(state, player):
            return jnp.append((jnp.arange(2, dtype=jnp.int32) == player).astype(jnp.float32), state.spot[player])

        layout = Layout.of([("who", {"number": 2}, ""), ("spot", {"number": 3}, "")])
        return {
            "numbers": Observer("numbers", layout, jnp.float32, encode, lambda symmetry, x: x),
            "bits": Observer("bits", layout, jnp.bool_, lambda *a: encode(*a) > 0, lambda symmetry, x: x),
            "ones": Observer(
                "ones", layout, jnp.float32, lambda *a: (encode(*a) > 0).astype(jnp.float32), lambda symmetry, x: x
            ),
        }

    def init(self, *, key):
        return WalkState(jnp.int32(0), self._spot(key), jnp.bool_(False), jnp.bool_(False))

    def transition(self, state, actions, *, key):
        spot_key, end_key = jax.random.split(key)
        played = (actions[:, None] == jnp.arange(3, dtype=jnp.int32)[None]).astype(jnp.float32)
        time = state.time + 1
        ended = (time == self.horizon) | jax.random.bernoulli(end_key, jnp.float32(0.15))
        return state._replace(time=time, spot=self._spot(spot_key), ended=ended), jnp.sum(played * state.spot)

    def _spot(self, key):
        return jax.random.normal(key, (self.num_players, 3), jnp.float32)

    def acting(self, state):
        rows = [(*shift, *[shift[0]] * (self.max_acting - len(shift))) for shift in self.shifts]
        valid = [[place < len(shift) for place in range(self.max_acting)] for shift in self.shifts]
        now = state.time % len(self.shifts)
        return jnp.array(rows, jnp.int32)[now], jnp.array(valid, jnp.bool_)[now] & ~state.ended

    def legal_when_acting(self, state, player):
        return jnp.append((state.spot[player] > -0.8).at[0].set(True), False)

    def action_name(self, action):
        return str(action)


GAMES = {
    "in turns, 2": Walk(((0,), (1,))),
    "in turns, 3": Walk(((0,), (1,), (2,))),
    "at once, 2": Walk(((0, 1),)),
    "some of 3": Walk(((2, 0), (1,), (1, 2), (0,), (2,))),
    "Hanabi, 2": hanabi.make("Hanabi-2x3"),
    "Hanabi, 3": hanabi.make("Hanabi-Small", players=3),
}
NO_MEMORY = FeedForward(5, 4)
CLOCKS, BATCHES = ("every_step", "own_turns"), ("acting", "all")
LENGTH = 16


@functools.cache
def learner(game, clock="every_step", batch="acting", sequence=None, **changes):
    game = GAMES[game]
    observer = changes.pop("observer", next(iter(game.observers)))
    policy = Recurrent(
        game.observer(observer).size, game.num_actions, torso=(7,), memory=6, actor=(5,), critic=(4,),
        activation="tanh", memory_clock=clock,
    )  # fmt: skip
    settings = {
        "game": game, "policy": policy, "observer": observer, "num_games": 4, "rollout_length": LENGTH, "epochs": 2,
        "minibatches": 1, "total_updates": 20, "batch": batch, "sequence_length": sequence,
    }  # fmt: skip
    return IPPO(**settings | changes)


@functools.cache
def start(game, policy, num_games):
    """A program of fresh games, for all learners alike."""
    return jax.jit(lambda key: rollout.start(game, policy, num_games, key=key))


@functools.cache
def program(learner):
    return jax.jit(functools.partial(run_updates, learner))


@functools.cache
def nothing():
    """The metrics of no update, which are the same for all learners."""
    some = learner("some of 3")
    return zero_metrics(some, new(some))


def updates(learner, state, count, metrics=None):
    return program(learner)(state, nothing() if metrics is None else metrics, jnp.int32(count))


def numbers(**changes):
    return Hyperparameters(*map(jnp.float32, Hyperparameters(**{"learning_rate": 1e-2} | changes)))


def new(learner, seed=0, **changes):
    """A learner's state at its start, with weights with which the memory matters."""
    state = jax.eval_shape(lambda: learner.init(numbers(), key=jax.random.key(0)))
    alike = dataclasses.replace(learner.policy, memory_clock="own_turns")
    rng = np.random.default_rng(seed)
    coefficients = numbers(**changes)
    return state._replace(
        hyperparameters=coefficients,
        params=jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, 0.7, leaf.shape).astype(np.float32)), state.params),
        optimiser=jax.tree.map(lambda leaf: jnp.asarray(np.zeros(leaf.shape, leaf.dtype)), state.optimiser),
        playing=start(learner.game, alike, learner.num_games)(jax.random.key(seed)),
        entropy_coef=coefficients.entropy_coef,
        updates=jnp.int32(0),
        key=jax.random.key(seed + 100),
    )


# ---------------------------------------------------------------------------------------------------------- the cases

OWN = {"share_parameters": False, "minibatches": 4}
# Each pair of a clock, a batch, the length of a sequence and whose parameters there are; every game.
CASES = [
    ("some of 3", "every_step", "acting", 8, OWN),
    ("in turns, 3", "every_step", "all", None, {}),
    ("some of 3", "own_turns", "acting", None, {}),
    ("some of 3", "own_turns", "all", 8, {}),
    ("at once, 2", "own_turns", "all", None, OWN),
    ("at once, 2", "every_step", "acting", None, {"observer": "bits"}),
]
IN_STEPS = ("in turns, 3", "own_turns", "acting", 1, {})
OF_HANABI = ("Hanabi, 2", "own_turns", "acting", 8, {})
MORE = [
    *[("some of 3", clock, batch, sequence, {}) for clock in CLOCKS for batch in BATCHES for sequence in (None, 8)],
    ("in turns, 2", "every_step", "acting", 8, {}),
    ("in turns, 3", "every_step", "all", 8, {}),
    ("some of 3", "own_turns", "all", 8, OWN),
    ("Hanabi, 2", "every_step", "acting", None, {}),
    ("Hanabi, 3", "every_step", "acting", 8, {}),
    ("Hanabi, 3", "own_turns", "all", None, {}),
]


def over(*cases):
    """The test of these cases; of `MORE`, too, at `make proof`."""
    proof = [pytest.param(*case, marks=pytest.mark.proof) for case in MORE if case not in cases]
    slow = pytest.param(*OF_HANABI, marks=pytest.mark.slow)
    return pytest.mark.parametrize(("game", "clock", "batch", "sequence", "changes"), [*cases, slow, *proof])


# -------------------------------------------------------------------------------------------------- the first ratio


@over(*CASES, IN_STEPS)
def test_the_first_ratio_is_one(game, clock, batch, sequence, changes):
    """Where the minibatch is the whole rollout: no step of any game is off."""
    ours = learner(game, clock, batch, sequence, **changes)
    state = new(ours)
    before, ends = state.params, 0
    for count in (1, 4, 2):
        state, metrics = updates(ours, state, count)
        assert metrics.maxima["first_ratio_error"] < 1e-5
        assert metrics.means["approx_kl"] > 1e-5  # and then it moved
        ends += int(metrics.episodes.count)
    assert ends >= 8
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), *jax.device_get((state.params, before)))
    assert all(distance > 1e-3 for distance in jax.tree.leaves(moved))
    assert ours.share_parameters or all(len(leaf) == ours.game.num_players for leaf in jax.tree.leaves(state.params))


def ahead(learner):
    """Of every player in every game another number."""
    shape = (learner.num_games, learner.game.num_players)
    return np.linspace(-1, 1, math.prod(shape), dtype=np.float32).reshape(shape)


# ------------------------------------------------------------------------------- a replay that is wrong does not pass


@functools.cache
def one_rollout(learner):
    """(state before, playing after, trajectory, rows, report of those rows) after three updates."""
    state, _ = updates(learner, new(learner), 3)

    @jax.jit
    def play(state):
        playing, trajectory, _ = learner._rollout(state, state.key)
        return playing, trajectory, learner._rows(trajectory, ahead(learner), state.hyperparameters)

    report = jax.jit(lambda rows: learner._loss(state.params, rows, state.hyperparameters)[1])
    return state, *jax.device_get(play(state)), report


def from_zeros(rows):
    return rows._replace(memory=np.zeros_like(rows.memory))


def of_another_game(rows):
    return rows._replace(memory=np.roll(rows.memory, 1, axis=0))


def of_another_player(rows):
    return rows._replace(memory=np.roll(rows.memory, 1, axis=1))


def ending(rows, done):
    return rows._replace(steps=rows.steps._replace(done=done))


def reset_never(rows):
    return ending(rows, np.zeros_like(rows.steps.done))


def reset_one_step_late(rows):
    late = np.roll(rows.steps.done, 1, axis=0)
    late[0] = False
    return ending(rows, late)


def reset_one_step_early(rows):
    early = np.roll(rows.steps.done, -1, axis=0)
    early[-1] = False
    return ending(rows, early)


def out_of_turn(rows):
    return rows._replace(steps=rows.steps._replace(acting=~rows.steps.acting))


DEFECTS = [from_zeros, of_another_game, of_another_player, reset_never, reset_one_step_late, reset_one_step_early]


@pytest.mark.parametrize("defect", [*DEFECTS, out_of_turn])
@pytest.mark.parametrize("case", [CASES[0], CASES[2]], ids=CLOCKS)
def test_a_wrong_replay_shows_in_the_ratio(case, defect):
    clock, ours = case[1], learner(*case[:4], **case[4])
    *_, rows, report = one_rollout(ours)
    assert report(rows)["ratio_error"] < 1e-5
    if clock == "every_step" and defect is out_of_turn:
        assert report(defect(rows))["ratio_error"] < 1e-5  # this clock asks for no turn
    else:
        assert report(defect(rows))["ratio_error"] > 0.01


# --------------------------------------------------------------------------------------------------- step by step


@over(*CASES)
def test_step_by_step_replay_is_the_rollout(game, clock, batch, sequence, changes):
    """From the recorded memories on, one step at a time and in the rollout's shapes: it differs by rounding alone.

    With some versions of jax no bit differs on a CPU, but the two are programs of their own, which nobody promises.
    """
    close = functools.partial(np.testing.assert_allclose, rtol=2e-6, atol=2e-6)
    ours = learner(game, clock, batch, sequence, **changes)
    share_parameters = ours.share_parameters
    state, playing, records, *_ = one_rollout(ours)
    policy, size = ours.policy, ours.game.observer(ours.observer).size
    own_axis = None if share_parameters else 0

    def both(function, axes):
        """Over games, and over players with parameters of their own or not."""
        return jax.vmap(jax.vmap(function, in_axes=(own_axis, *axes)), in_axes=(None if own_axis is None else 0, *axes))

    def own_of(player):
        return state.params if share_parameters else jax.tree.map(lambda x: x[player], state.params)

    @jax.jit
    def step(memories, player, observation, slot, legal):
        def one(params, memory, observation):
            after, features = policy.remember(params, memory, policy.perceive(params, observation))
            return after, features, policy.value(params, features)

        after, features, value = both(one, (0, 0))(own_of(player), memories[games, player], observation)
        return after, value, both(policy.act, (0, 0))(own_of(player[games, slot]), features[games, slot], legal)

    observation = records.observation
    if observation.dtype == np.uint8:
        observation = np.unpackbits(observation, axis=-1)[..., :size].astype(bool)
    games, length = np.arange(ours.num_games)[:, None], ours.sequence
    memory, firsts = None, np.asarray(state.playing.lengths) == 0
    for t in range(LENGTH):
        if t % length == 0:
            recorded = records.memory[t // length]
            if memory is not None:
                close(memory, recorded)
            memory = np.array(recorded)
        # zeros exactly at the first step of a game, and nowhere later for a player who moved
        assert not memory[firsts].any()
        player, slot, acting = records.player[t], records.slot[t], records.acting[t]
        after, value, log_probs = jax.device_get(step(memory, player, observation[t], slot, records.legal[t]))
        close(value, records.value[t])
        chosen = np.take_along_axis(log_probs, records.action[t][..., None], axis=-1)[..., 0]
        close(chosen, records.log_prob[t])
        for row, m in np.ndindex(player.shape):
            acts = any(acting[row, k] and slot[row, k] == m for k in range(slot.shape[1]))
            if clock == "every_step" or acts:
                memory[row, player[row, m]] = after[row, m]
        firsts = records.done[t]
        memory[firsts] = 0
    close(memory, playing.memories)
    assert records.done.sum() >= 2 and (records.log_prob < -0.5).any()  # games end, and choices are open


# ------------------------------------------------------------------------------------------------------- gradients


def naive_advantages(records, ahead, gamma, gae_lambda):
    """Along each player's valid steps, from the last one back: [T, G, M] in double precision."""
    advantage = np.zeros(records.player.shape)
    for game, player in np.ndindex(ahead.shape):
        next_value, next_advantage, total = 0.0, 0.0, float(ahead[game, player])
        for t in reversed(range(len(records.player))):
            if records.done[t, game]:
                next_value, next_advantage, total = 0.0, 0.0, 0.0
            total += float(records.reward[t, game])
            for m in np.flatnonzero(records.valid[t, game] & (records.player[t, game] == player)):
                value = float(records.value[t, game, m])
                delta = total + gamma * next_value - value
                advantage[t, game, m] = delta + gamma * gae_lambda * next_advantage
                next_value, next_advantage, total = value, advantage[t, game, m], 0.0
    return advantage


def naive_step(params, memory, observation):
    """The network by hand, of many sets of parameters: their memories after an observation, and the values [N]."""

    def dense(name, x):
        return (x[:, None] @ params[name]["kernel"])[:, 0] + params[name].get("bias", 0)

    percept = np.split(dense("input_layer", np.tanh(dense("torso_layers_0", observation[None]))), 3, axis=1)
    within = np.split(dense("memory_layer", memory), 3, axis=1)
    reset, keep = (1 / (1 + np.exp(-percept[gate] - within[gate])) for gate in (0, 1))
    candidate = np.tanh(percept[2] + reset * (within[2] + params["candidate_bias"]))
    after = (1 - keep) * candidate + keep * memory
    logits = dense("logits_layer", np.tanh(dense("actor_layers_0", after)))
    return after, logits, dense("value_layer", np.tanh(dense("critic_layers_0", after)))[:, 0]


def naive_losses(params, ours, records, length, hyperparameters):
    """[N] of N sets of parameters: one player and one step after the other, every memory in a list of its own."""
    clip, clock = hyperparameters.clip, ours.policy.memory_clock
    advantage = naive_advantages(records, ahead(ours), hyperparameters.gamma, hyperparameters.gae_lambda)
    values, ratios, advantages, entropies = [], [], [], []
    for game in range(records.player.shape[1]):
        for t in range(len(records.player)):
            if t % length == 0:
                memory = [x[None].astype(float) for x in records.memory[t // length, game]]
            elif records.done[t - 1, game]:
                memory = [np.zeros_like(x) for x in memory]
            after = list(memory)
            for m, player in enumerate(records.player[t, game]):
                own = params if ours.share_parameters else jax.tree.map(lambda x, p=player: x[:, p], params)
                new_memory, logits, value = naive_step(own, memory[player], records.observation[t, game, m])
                places = [k for k in np.flatnonzero(records.acting[t, game]) if records.slot[t, game, k] == m]
                if clock == "every_step" or places:
                    after[player] = new_memory
                if not records.valid[t, game, m]:
                    continue
                old = float(records.value[t, game, m])
                target = old + advantage[t, game, m]
                near = old + np.clip(value - old, -clip, clip)
                values.append(np.maximum((value - target) ** 2, (near - target) ** 2) / 2)
                for k in places:
                    weights = np.exp(logits) * records.legal[t, game, k]
                    probabilities = weights / weights.sum(axis=1, keepdims=True)
                    chosen = probabilities[:, records.action[t, game, k]]
                    ratios.append(chosen / np.exp(float(records.log_prob[t, game, k])))
                    advantages.append(advantage[t, game, m])
                    log_probs = np.log(np.where(probabilities > 0, probabilities, 1))
                    entropies.append(-(probabilities * log_probs).sum(axis=1))
            memory = after
    advantages = ((np.array(advantages) - np.mean(advantages)) / (np.std(advantages) + 1e-8))[:, None]
    ratios = np.array(ratios)
    surrogate = np.minimum(ratios * advantages, np.clip(ratios, 1 - clip, 1 + clip) * advantages)
    return (
        -surrogate.mean(axis=0)
        + hyperparameters.value_coef * np.mean(values, axis=0)
        - hyperparameters.entropy_coef * np.mean(entropies, axis=0)
    )


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]).astype(float)


def by_differences(losses, params, nudge=1e-4):
    """(loss, its gradient): every parameter nudged up and down, in double precision."""
    leaves, structure = jax.tree.flatten(jax.device_get(params))
    nudges = nudge * np.eye(len(flat(params)))
    rows = flat(params) + np.concatenate([nudges, -nudges, nudges[:1] * 0])
    cuts = np.split(rows, np.cumsum([leaf.size for leaf in leaves])[:-1], axis=1)
    shaped = [cut.reshape(-1, *leaf.shape) for cut, leaf in zip(cuts, leaves, strict=True)]
    found = losses(jax.tree.unflatten(structure, shaped))
    up, down = found[:-1].reshape(2, -1)
    return found[-1], (up - down) / (2 * nudge)


@pytest.mark.parametrize(
    ("game", "clock", "batch", "share_parameters", "lengths"),
    [
        ("some of 3", "every_step", "acting", True, (4, 2)),
        ("some of 3", "own_turns", "all", True, (4,)),
        ("in turns, 2", "own_turns", "acting", False, (2,)),
    ],
)
def test_the_gradient_is_the_naive_one(game, clock, batch, share_parameters, lengths):
    found, losses = {}, {}
    whole = learner(game, clock, batch, 4, num_games=2, rollout_length=4, share_parameters=share_parameters)
    cut = dataclasses.replace(whole, sequence_length=2)
    state = new(whole, seed=3, entropy_coef=0.1, clip=0.3, gamma=0.9, gae_lambda=0.7)
    play = jax.jit(lambda state: cut._rollout(state, jax.random.key(4))[:2])
    state = state._replace(playing=play(state)[0])  # games in progress, with memories
    trajectory = jax.device_get(play(state)[1])
    assert trajectory.done[:-1].sum() == 3
    assert np.abs(trajectory.memory).max(axis=(1, 2, 3)).min() > 0.1
    noise = np.random.default_rng(4).normal(0, 0.3, trajectory.log_prob.shape).astype(np.float32)
    for length in lengths:
        ours = dataclasses.replace(whole, sequence_length=length)

        @jax.jit
        @jax.value_and_grad
        def loss(params, trajectory, ours=ours):
            return ours._loss(
                params, ours._rows(trajectory, ahead(ours), state.hyperparameters), state.hyperparameters
            )[0]

        own = trajectory._replace(memory=trajectory.memory[:: length // 2])
        losses[length], _ = loss(state.params, own)
        off = own._replace(log_prob=own.log_prob + noise)  # as if another policy had played
        total, gradient = loss(state.params, off)
        naive = functools.partial(
            naive_losses, ours=ours, records=off, length=length,
            hyperparameters=Hyperparameters(*map(float, state.hyperparameters)),
        )  # fmt: skip
        expected, expected_gradient = by_differences(naive, state.params)
        assert float(total) == pytest.approx(expected, rel=1e-5)
        found[length] = flat(gradient)
        np.testing.assert_allclose(found[length], expected_gradient, atol=1e-5 * np.abs(expected_gradient).max())
    if len(lengths) == 2:
        # Cutting a sequence leaves the loss as it was and takes the gradient's way through the cut away.
        assert float(losses[4]) == pytest.approx(float(losses[2]), rel=1e-5)
        assert np.abs(found[4] - found[2]).max() > 1e-3 * np.abs(found[4]).max()


def test_a_gradient_in_parts_is_the_whole_one():
    """Parts have unlike numbers of actions and recorded steps; the means are those of the whole minibatch."""
    ours = learner(*CASES[0][:4], **OWN)
    state, _, _, rows, _ = one_rollout(ours)
    noise = np.random.default_rng(5).normal(0, 0.3, rows.steps.log_prob.shape).astype(np.float32)
    rows = rows._replace(steps=rows.steps._replace(log_prob=rows.steps.log_prob + noise))
    counts = rows.steps.in_policy_terms.sum(axis=(0, 2))
    assert len(counts) == 8 and len(set(counts.tolist())) > 1
    whole = jax.jit(lambda rows: jax.grad(ours._loss, has_aux=True)(state.params, rows, state.hyperparameters))(rows)
    cut = dataclasses.replace(ours, microbatches=2)
    found = jax.jit(lambda rows: cut._gradient(state.params, rows, state.hyperparameters))(rows)
    assert found[1]["clip_fraction"] > 0.1
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), found, whole)


# --------------------------------------------------------------------------------------------------------- the rest


def assert_same(first, second, near=0.0):
    """Equal bits, or floating-point numbers as near as that."""

    def plain(leaf):
        return np.asarray(jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf)

    def same(path, one, other):
        assert one.dtype == other.dtype, jax.tree_util.keystr(path)
        atol = near if jnp.issubdtype(one.dtype, jnp.floating) else 0
        np.testing.assert_allclose(plain(one), plain(other), 0, atol, err_msg=jax.tree_util.keystr(path))

    jax.tree_util.tree_map_with_path(same, first, second)


def test_observations_kept_as_bits_are_the_same_as_numbers():
    of_bits, of_ones = (learner(*CASES[5][:4], observer=observer) for observer in ("bits", "ones"))
    both = [jax.tree.leaves(updates(one, new(one), 3)[0].params) for one in (of_bits, of_ones)]
    for packed, plain in zip(*both, strict=True):
        np.testing.assert_allclose(packed, plain, atol=1e-5)
    records = one_rollout(of_bits)[2]
    assert records.observation.shape == (LENGTH, 4, 2, 1) and records.observation.dtype == np.uint8


def test_cutting_updates_into_calls_changes_no_bit():
    """Games in progress and their memories go on from call to call."""
    ours = learner(*CASES[0][:4], **OWN)
    whole = updates(ours, new(ours), 5)
    state, metrics = new(ours), None
    for count in (2, 0, 1, 2):
        state, metrics = updates(ours, state, count, metrics)
    assert_same(whole, (state, metrics))


def test_double_precision_elsewhere_changes_nothing():
    ours = learner(*CASES[0][:4], **OWN)

    def train(run):
        state = jax.jit(lambda numbers, key: ours.init(numbers, key=key))(numbers(), jax.random.key(8))
        return state, *run(state, nothing(), jnp.int32(4))

    before = train(program(ours))
    with jax.enable_x64(True):
        inside = train(jax.jit(functools.partial(run_updates, ours)))  # traced anew
    assert_same(before, inside, near=1e-5)  # another program: it may round another way


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"sequence": 5}, r"learner\.sequence_length must divide learner\.rollout_length, 16, and 5 does not"),
        ({"sequence": 0}, r"learner\.sequence_length must be a whole number of at least 1, not 0"),
        ({"sequence": "8"}, r"learner\.sequence_length must be a whole number of at least 1, not '8'"),
        (
            {"sequence": 8, "minibatches": 3},
            r"learner\.minibatches must divide the 8 sequences of 8 steps of .* \(16 steps x 4 games\), and 3 .*",
        ),
        ({"minibatches": 8}, r"learner\.minibatches must divide the 4 sequences of 16 steps of .*, and 8 does not"),
        (
            {"sequence": 8, "policy": NO_MEMORY},
            r"learner\.sequence_length belongs to policies whose memory depends on their parameters, and this policy's "
            r"does not: FeedForward\(.*\)",
        ),
    ],
)
def test_refusals_name_the_key(changes, sentence):
    with pytest.raises(TacitError, match=f"^{sentence}$"):
        learner("in turns, 2", **changes)


def test_how_long_sequences_are():
    assert learner("in turns, 2").sequence == 16
    assert learner("in turns, 2", sequence=8).sequence == 8
    assert learner("in turns, 2", policy=NO_MEMORY, minibatches=64).sequence == 1
