"""The recurrent network: its unit against flax's, its layers by hand, its first parameters."""

import dataclasses
import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from games.errors import TacitError
from marl.policies.policy import replay_in_turn
from marl.policies.recurrent import Recurrent

STEPS = 10


def by_shape(params):
    leaves = jax.tree.leaves(params)
    found = {leaf.shape: np.asarray(leaf, np.float64) for leaf in leaves}
    assert len(found) == len(leaves)  # every width is another, so that a shape says which layer it is
    return found


def random_params(policy, seed=1, scale=0.5):
    shapes = jax.eval_shape(lambda: policy.init(key=jax.random.key(0)))
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, scale, leaf.shape).astype(np.float32)), shapes)


def random_inputs(size, *, seed=2):
    return jnp.asarray(np.random.default_rng(seed).normal(0, 1, (STEPS, size)), jnp.float32)


# ------------------------------------------------------------------------------------------------------------ the unit

UNIT = Recurrent(6, 4, torso=(), memory=5, actor=(), critic=())


def of_flax(params):
    """UNIT's parameters as those of flax's cell, whose gates have layers of their own; r, z, n in this order."""
    leaf = {leaf.shape: leaf for leaf in jax.tree.leaves(params)}
    kernels, biases, recurrent = (jnp.split(leaf[shape], 3, axis=-1) for shape in ((6, 15), (15,), (5, 15)))
    cell = {f"i{gate}": {"kernel": kernels[i], "bias": biases[i]} for i, gate in enumerate("rzn")}
    cell |= {f"h{gate}": {"kernel": recurrent[i]} for i, gate in enumerate("rzn")}
    cell["hn"]["bias"] = leaf[(5,)]
    return {"params": cell}


def ours(params, inputs, memory):
    """The memories after each of the inputs."""
    memories = []
    for x in inputs:
        memory, features = UNIT.remember(params, memory, UNIT.perceive(params, x))
        memories += [features]
    return jnp.stack(memories), memory


def theirs(params, inputs, memory):
    cell, memories = nn.GRUCell(features=5), []
    for x in inputs:
        memory, out = cell.apply(of_flax(params), memory, x)
        memories += [out]
    return jnp.stack(memories), memory


@pytest.mark.slow
def test_the_unit_is_flaxs():
    params, inputs = random_params(UNIT), random_inputs(6)
    start = jnp.asarray(np.random.default_rng(3).normal(0, 1, 5), jnp.float32)
    found, last = jax.jit(ours)(params, inputs, start)
    expected, expected_last = jax.jit(theirs)(params, inputs, start)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(last, expected_last, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(found[-1], last)  # the memory is what the heads see
    assert np.abs(np.diff(np.asarray(found), axis=0)).max() > 0.1


@pytest.mark.slow
def test_the_gradient_through_ten_steps_is_flaxs():
    params, inputs = random_params(UNIT), random_inputs(6)
    weights = random_inputs(5, seed=4)
    start = jnp.asarray(np.random.default_rng(3).normal(0, 1, 5), jnp.float32)

    def gradient(unit):
        def total(params, inputs, start):
            return jnp.sum(unit(params, inputs, start)[0] * weights)

        return jax.device_get(jax.jit(jax.grad(total, argnums=(0, 1, 2)))(params, inputs, start))

    found, expected = gradient(ours), gradient(theirs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-5), found, expected)
    of_params, of_inputs, of_start = found
    moved = {leaf.shape: np.abs(leaf).max() for leaf in jax.tree.leaves(of_params)}
    assert all((size > 0.1) == (shape in [(6, 15), (15,), (5, 15), (5,)]) for shape, size in moved.items())
    assert np.abs(of_inputs[0]).max() > 1e-3 and np.abs(of_start).max() > 1e-3


# ------------------------------------------------------------------------------------------------------------- replay

ROWS = 4


def in_turn(policy):
    return lambda *inputs: replay_in_turn(policy, *inputs)


def replay_inputs(seed, often):
    """Of four sequences; the first one never moves and the last one always does, and never ends."""
    rng = np.random.default_rng(seed)
    moves, done = rng.random((STEPS, ROWS)) < 0.6, rng.random((STEPS, ROWS)) < often
    moves[:, 0], moves[:, -1], done[:, -1] = False, True, False
    memories, percepts = rng.normal(0, 1, (ROWS, 5)), rng.normal(0, 1, (STEPS, ROWS, 15))
    return *(jnp.asarray(x, jnp.float32) for x in (memories, percepts)), jnp.asarray(moves), jnp.asarray(done)


@functools.partial(jax.jit, static_argnums=(0, 1))
def features_and_gradients(policy, hand_written, weights, params, memories, percepts, moves, done):
    replay = policy.replay if hand_written else in_turn(policy)

    def total(params, memories, percepts):
        features = replay(params, memories, percepts, moves, done)
        return jnp.sum(features * weights), features

    gradients, features = jax.grad(total, argnums=(0, 1, 2), has_aux=True)(params, memories, percepts)
    return features, gradients


@pytest.mark.parametrize("often", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("saturated", [False, True])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_replay_is_remember_step_by_step(precision, often, saturated):
    """Its gradient is written out by hand: against that of the plain loop, which differentiates `remember`."""
    policy = dataclasses.replace(UNIT, precision=precision)
    params, inputs = random_params(policy, scale=2.0 if saturated else 0.5), replay_inputs(7, often)
    memories, percepts, moves, done = inputs
    weights = jnp.asarray(np.random.default_rng(8).normal(0, 1, (STEPS, ROWS, 5)), jnp.float32)

    found, expected = (
        jax.device_get(features_and_gradients(policy, hand_written, weights, params, memories, percepts, moves, done))
        for hand_written in (True, False)
    )
    # bfloat16: a sum that is rounded the other way can cross from one bfloat16 to the next.
    near = 1e-5 if precision == "float32" else 2**-8
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert one.dtype == jnp.float32
        np.testing.assert_allclose(one, other, rtol=0, atol=near * max(1.0, float(np.abs(other).max())))
    of_params, of_memories, of_percepts = found[1]
    assert {leaf.shape for leaf in jax.tree.leaves(of_params) if leaf.any()} == {(5, 15), (5,)}
    assert (np.abs(of_percepts).max(axis=-1) > 0).all() and (np.abs(of_memories).max(axis=-1) > 0).all()


def test_replay_is_a_loop_over_steps():
    """One sequence after the other, in a list: a memory that does not move stays, one of an ended game is zeros."""
    params, (memories, percepts, moves, done) = random_params(UNIT), replay_inputs(9, 0.2)
    remember, expected = jax.jit(UNIT.remember), np.zeros((STEPS, ROWS, 5))
    for row in range(ROWS):
        memory = memories[row]
        for t in range(STEPS):
            after, expected[t, row] = remember(params, memory, percepts[t, row])
            memory = after if moves[t, row] else memory
            memory = jnp.zeros(5, jnp.float32) if done[t, row] else memory
    for replay in (UNIT.replay, in_turn(UNIT)):
        np.testing.assert_allclose(jax.jit(replay)(params, memories, percepts, moves, done), expected, atol=1e-6)


@pytest.mark.slow
def test_replay_of_players_with_parameters_of_their_own():
    """Gradients, too, of a batch are one by one those of its members."""
    batch = [(random_params(UNIT, seed=seed), *replay_inputs(seed, 0.2)) for seed in (1, 2, 3)]

    def gradient(params, *inputs):
        return jax.grad(lambda params: jnp.sum(jnp.square(UNIT.replay(params, *inputs))))(params)

    together = jax.jit(jax.vmap(gradient))(*jax.tree.map(lambda *leaves: jnp.stack(leaves), *batch))
    for row, one in enumerate(batch):
        alone = jax.jit(gradient)(*one)
        jax.tree.map(lambda a, b, row=row: np.testing.assert_allclose(a[row], b, atol=1e-4), together, alone)


# --------------------------------------------------------------------------------------------------------- the network

NETWORK = Recurrent(9, 3, torso=(7, 6), memory=5, actor=(11,), critic=(4, 2))


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_network_is_what_it_says(activation):
    policy = Recurrent(9, 3, torso=(7, 6), memory=5, actor=(11,), critic=(4, 2), activation=activation)
    params = random_params(policy)
    rng = np.random.default_rng(5)
    observation, memory = (rng.normal(size=size).astype(np.float32) for size in (9, 5))
    legal = jnp.array([True, False, True])
    layers = by_shape(params)
    activate = np.tanh if activation == "tanh" else lambda x: np.maximum(x, 0)

    def dense(x, width):
        return x @ layers[(len(x), width)] + layers[(width,)]

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    torso = activate(dense(activate(dense(observation.astype(float), 7)), 6))
    of_input, of_memory = np.split(dense(torso, 15), 3), np.split(memory @ layers[(5, 15)], 3)
    reset, keep = sigmoid(of_input[0] + of_memory[0]), sigmoid(of_input[1] + of_memory[1])
    after = (1 - keep) * np.tanh(of_input[2] + reset * (of_memory[2] + layers[(5,)])) + keep * memory
    logits = dense(activate(dense(after, 11)), 3)[[0, 2]]
    value = dense(activate(dense(activate(dense(after, 4)), 2)), 1)[0]

    @jax.jit
    def run(params, memory, observation, legal):
        percept = policy.perceive(params, observation)
        after, features = policy.remember(params, memory, percept)
        heads = policy.act(params, features, legal), policy.value(params, features)
        return percept, after, features, *heads, policy.apply(params, memory, observation, legal)

    percept, found, features, log_probs, found_value, applied = run(params, memory, observation, legal)
    np.testing.assert_allclose(percept, np.concatenate(of_input), atol=1e-5)
    np.testing.assert_allclose(found, after, atol=1e-6)
    np.testing.assert_array_equal(features, found)
    assert log_probs[1] == -jnp.inf
    np.testing.assert_allclose(log_probs[jnp.array([0, 2])], logits - np.log(np.exp(logits).sum()), atol=1e-5)
    assert found_value.shape == () and found_value == pytest.approx(value, abs=1e-5)
    # apply is these parts, one after the other
    np.testing.assert_array_equal(applied[0], found)
    np.testing.assert_array_equal(applied[1], log_probs)


def test_number_of_parameters_by_hand():
    def count(policy):
        shapes = jax.eval_shape(lambda: policy.init(key=jax.random.key(0)))
        assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}
        return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))

    # W 6x15, b 15, U 5x15, c 5; logits 5x4+4, value 5x1+1
    assert count(UNIT) == 90 + 15 + 75 + 5 + 24 + 6
    # JaxMARL's recurrent Hanabi network: 658x128+128; 128x384+384, 128x384, 128; heads 128x128+128, x21+21 and x1+1
    assert count(Recurrent(658, 21)) == 84_352 + (49_536 + 49_152 + 128) + 2 * 16_512 + 2_709 + 129 == 219_030


def test_the_memory_is_zeros_at_first():
    memory = NETWORK.initial_memory()
    assert memory.shape == (5,) and memory.dtype == jnp.float32 and not memory.any()
    assert Recurrent(9, 3).memory_clock == "every_step"
    assert Recurrent(9, 3, memory_clock="own_turns").memory_clock == "own_turns"


def test_bits_and_numbers_are_the_same_observation():
    params, perceive = random_params(UNIT), jax.jit(UNIT.perceive)
    bits = jnp.array([1, 0, 0, 1, 1, 0], jnp.bool_)
    np.testing.assert_array_equal(perceive(params, bits), perceive(params, bits.astype(jnp.float32)))


@pytest.mark.slow
def test_initial_parameters():
    policy = Recurrent(400, 3, torso=(), memory=90, actor=(11,), critic=(4, 2))
    init = jax.jit(lambda key: policy.init(key=key))
    params, again, other = init(jax.random.key(4)), init(jax.random.key(4)), init(jax.random.key(5))
    jax.tree.map(np.testing.assert_array_equal, params, again)
    layers, others = by_shape(params), by_shape(other)
    for shape, leaf in layers.items():
        if len(shape) == 1:
            assert not leaf.any()
        else:
            assert (leaf != others[shape]).any()

    # U: an orthogonal matrix for each gate, and each another one
    gates = np.split(layers[(90, 270)], 3, axis=1)
    for gate in gates:
        np.testing.assert_allclose(gate.T @ gate, np.eye(90), atol=2e-5)
    assert min(np.abs(gates[i] - gates[j]).max() for i, j in ((0, 1), (0, 2), (1, 2))) > 0.1

    # W: of mean 0 and variance 1/400 in each gate. The bounds are 4 standard errors of 36,000 normal draws; flax cuts
    # the tails off, which makes the variance's own smaller.
    for gate in np.split(layers[(400, 270)], 3, axis=1):
        assert abs(gate.mean()) < 4 * 0.05 / math.sqrt(36_000)
        assert abs(gate.var() * 400 - 1) < 4 * math.sqrt(2 / 36_000)

    # heads: orthogonal, with gains sqrt 2 in hidden layers, if not another one, 0.01 for logits, 1 for the value
    for shape, squared in {(90, 11): 2, (90, 4): 2, (4, 2): 2, (11, 3): 1e-4, (2, 1): 1}.items():
        np.testing.assert_allclose(layers[shape].T @ layers[shape], squared * np.eye(shape[1]), atol=1e-5 * squared)


def test_the_heads_gain_is_the_heads_alone():
    policy = Recurrent(9, 3, torso=(7,), memory=5, actor=(11,), critic=(4, 2), head_gain=3.0)
    layers = by_shape(jax.jit(lambda key: policy.init(key=key))(jax.random.key(4)))
    for shape, squared in {(9, 7): 2, (5, 4): 9, (4, 2): 9, (11, 3): 1e-4, (2, 1): 1}.items():
        np.testing.assert_allclose(layers[shape].T @ layers[shape], squared * np.eye(shape[1]), atol=1e-5 * squared)
    np.testing.assert_allclose(layers[(5, 11)] @ layers[(5, 11)].T, 9 * np.eye(5), atol=1e-4)  # wider than long


def test_a_list_of_widths_is_as_good_as_a_tuple():
    lists = Recurrent(9, 3, torso=[5, 6], actor=[4], critic=[])
    assert lists == Recurrent(9, 3, torso=(5, 6), actor=(4,), critic=())
    assert hash(lists) == hash(Recurrent(9, 3, torso=(5, 6), actor=(4,), critic=()))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"torso": 64}, r"policy\.torso must be a list of layer widths, not 64"),
        ({"actor": "64"}, r"policy\.actor must be a list of layer widths, not '64'"),
        ({"critic": (8, 0)}, r"policy\.critic must be a whole number of at least 1, not 0"),
        ({"memory": 0}, r"policy\.memory must be a whole number of at least 1, not 0"),
        ({"memory": (8,)}, r"policy\.memory must be a whole number of at least 1, not \(8,\)"),
        ({"activation": "gelu"}, r"policy\.activation must be one of relu, tanh, not 'gelu'; did you mean 'relu'\?"),
        ({"memory_clock": "often"}, r"policy\.memory_clock must be one of every_step, own_turns, not 'often'"),
        ({"head_gain": 0}, r"policy\.head_gain must be a number above 0, not 0"),
        (
            {"precision": "float16"},
            r"policy\.precision must be one of float32, bfloat16, not 'float16'; did you mean 'bfloat16'\?",
        ),
    ],
)
def test_refusals_name_the_key(wrong, sentence):
    with pytest.raises(TacitError, match=f"^{sentence}$"):
        Recurrent(4, 3, **wrong)
