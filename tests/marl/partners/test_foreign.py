"""Weights of JaxMARL as agents: against flax networks built as JaxMARL builds its own, step by step."""

import functools
import warnings

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from games.errors import TacitError
from games.hanabi import Hanabi
from games.tabular.library import lever
from marl.agent import check_fits
from marl.partners import jaxmarl_agent

BOARD = Hanabi(colors=2, ranks=2, hand_size=2, max_information_tokens=2)
SIZE, ACTIONS = BOARD.observer("belief").size, BOARD.num_actions
OTHERS_CARDS = 1 * 2 * 2 * 2  # players, slots, colors, ranks
STEPS, NEW_GAME = 9, 5
WIDTH = 6


class ActorCritic(nn.Module):
    """JaxMARL's feed-forward and, with `recurrent`, its recurrent network; without `critic`, the actor of its MAPPO."""

    recurrent: bool
    critic: bool

    @nn.compact
    def __call__(self, memory, inputs):
        observations, resets, legal = inputs
        x = nn.relu(nn.Dense(WIDTH)(observations))
        if self.recurrent:
            memory, x = ScannedRNN()(memory, (x, resets))
        # flax numbers layers as they are made: hidden layers before the layers that follow them
        hidden = nn.relu(nn.Dense(WIDTH)(x))
        log_probs = jax.nn.log_softmax(nn.Dense(ACTIONS)(hidden) - 1e10 * (1 - legal))
        if not self.critic:
            return memory, log_probs, jnp.zeros(x.shape[:-1], jnp.float32)
        hidden = nn.relu(nn.Dense(WIDTH)(x))
        return memory, log_probs, nn.Dense(1)(hidden)[..., 0]


class ScannedRNN(nn.Module):
    @functools.partial(nn.scan, variable_broadcast="params", split_rngs={"params": False})
    @nn.compact
    def __call__(self, memory, step):
        x, reset = step
        # This cell is only asked for its first memory, but counts: the one with weights is GRUCell_1.
        first = nn.GRUCell(WIDTH).initialize_carry(jax.random.key(0), x.shape)
        return nn.GRUCell(WIDTH)(jnp.where(reset[:, None], first, memory), x)


class TwoLSTM(nn.Module):
    @nn.compact
    def __call__(self, memory, x):
        after = []
        for layer, before in enumerate(memory):
            now, x = nn.LSTMCell(WIDTH, name=f"l{layer}")(before, x)
            after.append(now)
        return after, x


class PublicPrivate(nn.Module):
    """JaxMARL's network for the weights of Off-Belief Learning."""

    @nn.compact
    def __call__(self, memory, observation):
        private = observation
        for layer in range(3):
            private = nn.relu(nn.Dense(WIDTH, name=f"priv_net_dense_{layer}")(private))
        public = nn.relu(nn.Dense(WIDTH, name="publ_net_dense_0")(observation[OTHERS_CARDS:]))
        memory, public = TwoLSTM(name="lstm")(memory, public)
        return memory, nn.Dense(ACTIONS, name="fc_a")(private * public)


def random_weights(network, *inputs, seed=0):
    """Parameters all of which matter, biases too."""
    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), *inputs))
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: rng.normal(0, 0.7, leaf.shape).astype(np.float32), shapes)


def as_file(params):
    """As JaxMARL saves them."""
    return dict(flatten_dict(params, sep=","))


def sequence(seed=3):
    """(observations [L, 1, SIZE], resets [L, 1], legal [L, 1, ACTIONS]); a new game begins in the middle."""
    rng = np.random.default_rng(seed)
    legal = rng.random((STEPS, 1, ACTIONS)) < 0.5
    legal[..., 0] = True
    resets = np.zeros((STEPS, 1), bool)
    resets[[0, NEW_GAME]] = True
    return jnp.asarray(rng.normal(0, 1, (STEPS, 1, SIZE)), jnp.float32), jnp.asarray(resets), jnp.asarray(legal)


def actor_critic(recurrent, critic):
    """The oracle, its weights and the inputs."""
    network, inputs = ActorCritic(recurrent, critic), sequence()
    return network, random_weights(network, jnp.zeros((1, WIDTH), jnp.float32), inputs), inputs


FOUR = pytest.mark.parametrize(("recurrent", "critic"), [(False, True), (False, False), (True, True), (True, False)])


@pytest.mark.slow
@FOUR
def test_log_probabilities_and_values_are_the_networks_own(recurrent, critic):
    network, params, inputs = actor_critic(recurrent, critic)
    _, log_probs, values = network.apply(params, jnp.zeros((1, WIDTH), jnp.float32), inputs)
    agent = jaxmarl_agent(BOARD, as_file(params), label="theirs", file="f")
    check_fits(agent, BOARD)
    policy, ours = agent.kind.policy, agent.params
    assert (agent.label, agent.kind.observer, agent.kind.share_parameters) == ("theirs", "belief", True)
    assert not recurrent or policy.memory_clock == "every_step"
    memory = policy.initial_memory()
    for step, (observation, reset, legal) in enumerate(zip(*(part[:, 0] for part in inputs), strict=True)):
        memory = policy.initial_memory() if reset else memory
        _, features = policy.remember(ours, memory, policy.perceive(ours, observation))
        memory, found = policy.apply(ours, memory, observation, legal)
        np.testing.assert_array_equal(np.isneginf(found), ~legal)
        np.testing.assert_allclose(found[legal], log_probs[step, 0][legal], atol=1e-5)
        np.testing.assert_allclose(policy.value(ours, features), values[step, 0], atol=1e-5)


@pytest.mark.slow
def test_the_public_private_network_is_its_own():
    network, (observations, resets, legals) = PublicPrivate(), sequence()
    fresh = [(jnp.zeros(WIDTH, jnp.float32),) * 2] * 2
    params = random_weights(network, fresh, observations[0, 0])
    file = as_file(params) | {"params,fc_v,kernel": np.zeros((WIDTH, 1), np.float32)}  # a head that does not act
    agent = jaxmarl_agent(BOARD, file, label="OBL", file="f")
    check_fits(agent, BOARD)
    policy = agent.kind.policy
    memory, theirs = policy.initial_memory(), fresh
    actions = set()
    for observation, reset, legal in zip(observations[:, 0], resets[:, 0], legals[:, 0], strict=True):
        memory, theirs = (policy.initial_memory(), fresh) if reset else (memory, theirs)
        _, values = policy.values(agent.params, memory, observation)
        memory, log_probs = policy.apply(agent.params, memory, observation, legal)
        theirs, advantages = network.apply(params, theirs, observation)
        np.testing.assert_allclose(values, advantages, atol=1e-5)
        np.testing.assert_allclose(jax.tree.leaves(memory), jax.tree.leaves(theirs), atol=1e-5)
        best = int(np.argmax((1 + advantages - advantages.min()) * legal))
        np.testing.assert_array_equal(log_probs, np.where(np.arange(ACTIONS) == best, 0, -np.inf))
        actions.add(best)
    assert len(actions) > 2


@pytest.mark.slow
def test_equal_values_share_the_probability():
    network = PublicPrivate()
    params = random_weights(network, [(jnp.zeros(WIDTH, jnp.float32),) * 2] * 2, jnp.zeros(SIZE, jnp.float32))
    file = {name: np.zeros_like(tensor) for name, tensor in as_file(params).items()}
    policy, weights = (agent := jaxmarl_agent(BOARD, file, label="flat", file="f")).kind.policy, agent.params
    legal = jnp.arange(ACTIONS) < 4
    _, log_probs = policy.apply(weights, policy.initial_memory(), jnp.zeros(SIZE, jnp.float32), legal)
    np.testing.assert_allclose(np.exp(log_probs), np.where(legal, 0.25, 0), atol=1e-6)


@pytest.mark.slow
def test_jaxmarl_itself_chooses_the_same_moves_in_its_own_game():
    with warnings.catch_warnings(), jax.numpy_rank_promotion("allow"):
        warnings.simplefilter("ignore")
        jaxmarl = pytest.importorskip("jaxmarl", reason="jaxmarl is not installed: it is a peer, not a dependency")
        from jaxmarl.environments.hanabi.pretrained import OBLAgentR2D2

        game, env, theirs = Hanabi(), jaxmarl.make("hanabi"), OBLAgentR2D2(hid_dim=16)
        carry = theirs.initialize_carry(jax.random.key(0), batch_dims=(2,))
        shapes = jax.eval_shape(
            lambda: theirs.init(jax.random.key(0), carry, (jnp.zeros((2, 658)), jnp.zeros((2, 533))))
        )
        rng = np.random.default_rng(0)
        params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, 0.3, leaf.shape), jnp.float32), shapes)
        agent = jaxmarl_agent(game, {k: np.asarray(v) for k, v in as_file(params).items()}, label="OBL", file="f")
        policy = agent.kind.policy
        assert policy.private_entries == 125
        deck = rng.permutation([5 * color + rank for color in range(5) for rank in (0, 0, 0, 1, 1, 2, 2, 3, 3, 4)])
        pairs = jnp.asarray(np.stack(np.divmod(deck, 5), axis=1))
        observations, there = env.reset_from_deck_of_pairs(pairs)
        here = game.init_from_deck(jnp.asarray(deck, jnp.int32))
        players = jnp.arange(2, dtype=jnp.int32)
        memories = jax.tree.map(lambda leaf: jnp.stack([leaf] * 2), policy.initial_memory())

        @jax.jit
        def move(state, memories):
            seen = jax.vmap(game.observe, (None, 0, None))(state, players, "belief")
            legal = jax.vmap(game.legal, (None, 0))(state, players)
            memories, log_probs = jax.vmap(policy.apply, (None, 0, 0, 0))(agent.params, memories, seen, legal)
            actions = jnp.argmax(log_probs, axis=-1)
            state, _, done = game.step(state, actions, key=jax.random.key(0))
            return state, memories, actions, done

        legal_moves, act, done, chosen = jax.jit(env.get_legal_moves), jax.jit(theirs.greedy_act), False, []
        while not done:
            legal = legal_moves(there)
            both = [jnp.stack([table[name] for name in env.agents]) for table in (observations, legal)]
            carry, expected = act(params, carry, both)
            here, memories, actions, done = move(here, memories)
            np.testing.assert_array_equal(actions, expected)
            chosen.append(int(jnp.min(actions)))
            played = dict(zip(env.agents, expected, strict=True))
            observations, there, _, _, _ = env.step_env(jax.random.key(0), there, played)
        assert len(chosen) > 3 and len(set(chosen)) > 2


def test_the_prefix_of_the_collection_may_be_missing():
    _, params, _ = actor_critic(recurrent=False, critic=True)
    with_prefix, without = (
        jaxmarl_agent(BOARD, as_file(tree), label="a", file="f") for tree in (params, params["params"])
    )
    jax.tree.map(np.testing.assert_array_equal, with_prefix.params, without.params)


def test_the_first_cell_may_not_count():
    _, params, _ = actor_critic(recurrent=True, critic=True)
    file = as_file(params)
    renamed = {name.replace("GRUCell_1", "GRUCell_0"): tensor for name, tensor in file.items()}
    assert renamed.keys() != file.keys()
    one, other = (jaxmarl_agent(BOARD, names, label="a", file="f") for names in (file, renamed))
    jax.tree.map(np.testing.assert_array_equal, one.params, other.params)
    both = file | {"params,ScannedRNN_0,GRUCell_0,hz,kernel": np.zeros((WIDTH, WIDTH), np.float32)}
    with pytest.raises(TacitError, match="holds none of JaxMARL's networks"):
        jaxmarl_agent(BOARD, both, label="a", file="f")


@FOUR
def test_another_board_is_one_sentence(recurrent, critic):
    _, params, _ = actor_critic(recurrent, critic)
    with pytest.raises(TacitError) as refused:
        jaxmarl_agent(Hanabi(), as_file(params), label="a", file="their/model.safetensors")
    assert str(refused.value) == (
        "their/model.safetensors does not fit this board of hanabi: "
        f"Dense_0,kernel must have shape (658, {WIDTH}), not ({SIZE}, {WIDTH})"
    )


def changed(changes):
    _, params, _ = actor_critic(recurrent=True, critic=True)
    file = as_file(params["params"]) | changes
    return {name: tensor for name, tensor in file.items() if tensor is not None}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"Dense_2,bias": np.zeros(4)}, rf"Dense_2,bias must have shape \({ACTIONS},\), not \(4,\)"),
        ({"Dense_4,kernel": np.zeros((WIDTH, 2))}, rf"Dense_4,kernel must have shape \({WIDTH}, 1\), not"),
        ({"ScannedRNN_0,GRUCell_1,hz,kernel": np.zeros(3)}, r"1,hz,kernel must have shape \(6, 6\), not \(3,\)"),
        ({"Dense_0,kernel": np.zeros((2, SIZE, WIDTH))}, rf"Dense_0,kernel must have shape \({SIZE}, 6\), not \(2, "),
        ({"Dense_0,kernel": np.float32(1)}, rf"Dense_0,kernel must have shape \({SIZE}, 1\), not \(\)"),
        ({"Dense_5,kernel": np.zeros(1)}, "f holds none of JaxMARL's networks for Hanabi .* its layers are Dense_0, "),
        ({"Dense_1,bias": None}, "holds none of JaxMARL's networks"),
    ],
)
def test_other_weights_are_one_sentence(changes, expected):
    with pytest.raises(TacitError, match=expected):
        jaxmarl_agent(BOARD, changed(changes), label="a", file="f")


def test_no_other_game_and_no_empty_file():
    with pytest.raises(TacitError, match="f: JaxMARL's agents play hanabi only, not the game 'lever'"):
        jaxmarl_agent(lever.make(), {}, label="a", file="f")
    with pytest.raises(TacitError, match="its layers are none"):
        jaxmarl_agent(BOARD, {}, label="a", file="f")
