"""Off-belief learning: targets against all hands and decks gone through, levels, and a board it learns."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from games.errors import TacitError
from games.hanabi import literal
from games.hanabi.beliefs import HandBelief
from games.hanabi.rules import Hanabi
from games.tabular.library.lever import make as lever
from marl.learners.learner import updates, zero_metrics
from marl.learners.off_belief import Hyperparameters, OffBelief
from marl.policies.feed_forward import FeedForward
from marl.policies.recurrent import Recurrent

BOARD = Hanabi(players=2, colors=2, ranks=2, hand_size=1, max_information_tokens=2, max_life_tokens=2)


def network(game, **sizes):
    return FeedForward(observation_size=game.observer("hle").size, num_actions=game.num_actions, **sizes)


def learner(game=BOARD, **changes):
    given = {
        "policy": network(game, torso=(16,)), "observer": "hle", "num_games": 32, "rollout_length": 8, "epochs": 2,
        "minibatches": 2, "total_updates": 10,
    }  # fmt: skip
    return OffBelief(game=game, **(given | changes))


@functools.cache
def programs():
    """A learner of three levels, its compiled init and its update."""
    own = learner(levels=3, total_updates=7)
    return (
        own,
        jax.jit(lambda key: own.init(Hyperparameters(learning_rate=3e-3), key=key)),
        jax.jit(own.update),
    )


# Of the board, compiled once for all states.
BELIEF = HandBelief(BOARD)
deal = jax.jit(lambda seed: BOARD.init(key=jax.random.key(seed)))
step = jax.jit(lambda state, actions: BOARD.step(state, actions, key=jax.random.key(0)))
weigh = jax.jit(lambda state, player: (BELIEF.weights(state, player), literal.unseen(BELIEF.game, state, player)))
with_hand = jax.jit(BELIEF.with_hand)


def sharp(own, params):
    """The same network with larger logits, so that actions differ in probability."""
    params["logits_layer"]["kernel"] = params["logits_layer"]["kernel"] * 100
    return own._replace(ppo=own.ppo._replace(params=params))


@pytest.mark.slow
def test_the_target_is_the_mean_over_hands_decks_and_the_partners_actions():
    """On the first level, where beliefs rest on no policy."""
    own, start, _ = programs()
    state = start(jax.random.key(1))
    state = sharp(state, state.ppo.params)
    gamma = float(state.ppo.hyperparameters.gamma)

    @jax.jit
    def drawn(real, player, action, keys):
        return jax.vmap(lambda key: own._fictitious(state, real, state.ppo.playing.memories[0], player, action, key))(
            keys
        )

    @jax.jit
    def look(seen, player):
        return own._log_probs(state.ppo.params, seen, player), own._value(state.ppo.params, seen, player)

    compared = []
    for seed, moves in [(0, ()), (3, (4,)), (5, (1, 3))]:
        real = deal(seed)
        for number, action in enumerate(moves):
            taken = np.full(2, BOARD.noop, np.int32)
            taken[number % 2] = action
            real = step(real, taken)[0]
            assert not real.illegal
        player, action = np.int32(real.player), np.int32(1)  # play the only card
        sampled = np.asarray(drawn(real, player, action, jax.random.split(jax.random.key(9), 20_000)))
        expected = exact_target(look, real, int(player), int(action), gamma)
        error = sampled.std() / np.sqrt(len(sampled))
        assert abs(sampled.mean() - expected) < 4 * error + 1e-6, (expected, sampled.mean(), error)
        compared.append(expected)
    assert np.ptp(compared) > 0.05


def exact_target(look, real, player, action, gamma):
    """E[y] by going through the player's hands, the next two cards of the deck and the partner's actions."""
    weights, left = jax.device_get(weigh(real, np.int32(player)))
    assert left.sum() == BOARD.deck_size - int(real.dealt) + 1
    total, mass = 0.0, 0.0
    for hand, first, second in itertools.product(range(4), repeat=3):
        count = left.copy()
        ways = weights[hand]
        count[hand] -= 1
        for card in (first, second):
            ways *= max(count[card], 0)
            count[card] -= 1
        if ways <= 0:
            continue
        rest = np.repeat(np.arange(4), np.maximum(count, 0))
        tail = np.array([first, second, *rest])
        deck = np.array(real.deck)
        deck[int(real.dealt) :] = tail // 2 * 8 + tail % 2
        fiction = with_hand(real, np.int32(player), np.int32(hand))._replace(deck=deck, deck_given=np.bool_(True))
        after, reward, done = step(fiction, np.where(np.arange(2) == player, action, BOARD.noop).astype(np.int32))
        mass += ways
        total += ways * float(reward)
        if done:
            continue
        log_probs, _ = look(after, np.int32(1 - player))
        for reply in np.flatnonzero(np.isfinite(log_probs)):
            share = ways * float(np.exp(log_probs[reply]))
            actions = np.where(np.arange(2) == player, BOARD.noop, reply).astype(np.int32)
            later, reward, done = step(after, actions)
            _, value = look(later, np.int32(player))
            total += share * (float(reward) + (0.0 if done else gamma * float(value)))
    return total / mass


@pytest.mark.slow
def test_an_update_learns_from_what_was_played():
    own, start, update = programs()
    state = start(jax.random.key(0))
    after, metrics = update(state)
    assert float(metrics.maxima["first_ratio_error"]) < 1e-5
    assert int(metrics.diverged) == 2**31 - 1
    assert float(metrics.sums["level"]) == 1
    assert float(metrics.sums["entropy"]) > 0.5
    moved = jax.tree.map(
        lambda new, old: np.abs(new - old).max(), *jax.device_get((after.ppo.params, state.ppo.params))
    )
    assert min(jax.tree.leaves(moved)) > 0
    assert own.agent_params(after) is after.ppo.params
    one = learner()
    state = jax.eval_shape(lambda key: one.init(Hyperparameters(), key=key), jax.random.key(0))
    assert state.ppo.playing.memories.shape == (32, 2, 0)  # of one level nobody listens
    assert state.belief_params == ()
    assert one.peak_bytes() > 32 * 8 * BOARD.observer("hle").size / 8


@pytest.mark.slow
def test_levels_follow_each_other_with_the_policy_before_as_belief():
    own, start, update = programs()
    assert [int(own.level(jnp.int32(number))) for number in range(7)] == [1, 1, 2, 2, 3, 3, 3]
    state, seen = start(jax.random.key(2)), []
    for number in range(5):
        before = state
        state, metrics = update(state)
        seen.append(float(metrics.sums["level"]))
        begins = number in (2, 4)
        expected = before.ppo.params if begins else before.belief_params
        jax.tree.map(np.testing.assert_array_equal, state.belief_params, expected)
        if begins:  # all games began in this update
            assert int(state.ppo.playing.lengths.max()) <= own.rollout_length
    assert seen == [1, 1, 2, 2, 3]
    heard = np.asarray(state.ppo.playing.memories)
    assert heard.shape == (32, 2, 4)
    assert (heard < 0).any()
    assert np.isfinite(heard).all()


@pytest.mark.slow
def test_who_listens_believes_in_the_policy_of_the_level_before():
    own, start, _ = programs()
    state = start(jax.random.key(1))
    params = {name: start(jax.random.key(seed)).ppo.params for seed, name in [(3, "now"), (4, "before")]}
    params = {name: sharp(state, one).ppo.params for name, one in params.items()}
    state = state._replace(ppo=state.ppo._replace(params=params["now"]), belief_params=params["before"])
    real, action = deal(3), np.int32(1)
    player, listener = np.int32(real.player), np.int32(1 - real.player)
    look = jax.jit(lambda params, seen: own._log_probs(params, seen, player)[action])
    told = jax.jit(own._updated_log_likelihoods)(state, real, player, action, jnp.zeros((2, 4), jnp.float32))[listener]
    under = {
        name: [float(look(one, with_hand(real, listener, np.int32(hand)))) for hand in range(4)]
        for name, one in params.items()
    }
    assert np.abs(np.subtract(under["now"], under["before"])).max() > 0.1
    np.testing.assert_allclose(told, under["before"], atol=1e-5)


@pytest.mark.slow
def test_it_learns_a_board():
    """One color of two ranks, one card each: uniform play scores 0.45, and two points are all there are."""
    game = Hanabi(players=2, colors=1, ranks=2, hand_size=1, max_information_tokens=2, max_life_tokens=1)
    own = learner(game, total_updates=150, policy=network(game, torso=(32,)))
    state = jax.jit(lambda key: own.init(Hyperparameters(learning_rate=5e-3), key=key))(jax.random.key(0))
    run = jax.jit(functools.partial(updates, own))
    nothing = zero_metrics(own, state)
    state, first = run(state, nothing, jnp.int32(3))
    state, _ = run(state, nothing, jnp.int32(130))
    _, last = run(state, nothing, jnp.int32(17))
    assert last.maxima["first_ratio_error"] < 1e-5
    scores = [float(metrics.episodes.return_sum / metrics.episodes.count) for metrics in (first, last)]
    assert scores[0] < 0.8, scores
    assert scores[1] > 1.3, scores


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"game": lever()}, "game lever has no belief: exact beliefs are of Hanabi's small boards"),
        ({"game": Hanabi()}, r"at most 4,096, and this one has 25\^5 = 9,765,625"),
        ({"levels": 0}, r"learner\.levels must be a whole number of at least 1, not 0"),
        ({"levels": 11}, r"learner\.levels must be at most the 10 updates of the run, and 11 is more"),
        ({"samples": 1.5}, r"learner\.samples must be a whole number of at least 1, not 1\.5"),
        ({"minibatches": 3}, r"learner\.minibatches must divide the 256 steps of a rollout .*, and 3 does not"),
        ({"share_parameters": False}, r"off-belief learning shares parameters: learner\.share_parameters must be true"),
    ],
)
def test_refusals(changes, sentence):
    game = changes.pop("game", None)
    with pytest.raises(TacitError, match=sentence):
        dataclasses.replace(learner(), **({"game": game} if game else {}), **changes)


def test_a_policy_with_a_memory_is_refused():
    policy = Recurrent(observation_size=BOARD.observer("hle").size, num_actions=BOARD.num_actions)
    with pytest.raises(TacitError, match="off-belief learning takes policies without a memory, and this one has"):
        learner(policy=policy)
