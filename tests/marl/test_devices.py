"""The same learners and the same cross-play on 1, 2, 4 and 8 devices, and what the devices send each other.

Eight virtual devices exist in a process that asks for them at its start: this file is also the program that runs there.
"""

import functools
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from games.errors import TacitError
from games.tabular.library.dectiger import make as dectiger
from marl import devices
from marl.agent import Agent, Kind
from marl.crossplay import crossplay
from marl.learners.ippo import IPPO, Hyperparameters
from marl.policies.feed_forward import FeedForward

ROOT = Path(__file__).parents[2]
NUM_GAMES = 16
UPDATES = 3
TOLERANCE = 1e-6
"""Relative, and absolute below 1, after three updates; seen: 6e-8 in parameters, the last bit of numbers near 1."""

LAYOUTS = {
    (8, 1): (1, 1),
    (8, 4): (4, 1),
    (1, 4): (1, 4),
    (2, 4): (2, 2),
}
"""Learners and devices, and the mesh's rows and the devices in each."""
MORE = {
    (8, 2): (2, 1),
    (8, 8): (8, 1),
    (1, 2): (1, 2),
}
"""Others, of a process of their own at `make proof`."""
SECONDS = 280

# ------------------------------------------------------------------------------------------- in the process of devices


def main(output: str, more: str) -> None:
    jax.config.update("jax_numpy_rank_promotion", "raise")
    layouts, counts = (MORE, (2, 4)) if more else (LAYOUTS, (1, 8))
    found = {
        "devices": jax.device_count(),
        "for learners": {count: len(devices.for_learners(count)) for count in (1, 5, 6, 40)},
        "trained": {layout: train(*layout) for layout in layouts},
        "crossplay": {count: cross_play(jax.devices()[:count]) for count in counts},
        "shared": None if more else shared_gradient(),
    }
    Path(output).write_bytes(pickle.dumps(found))


def learner() -> IPPO:
    game = dectiger(horizon=3)
    policy = FeedForward(game.observer("last").size, game.num_actions, torso=(8,))
    return IPPO(
        game=game, policy=policy, observer="last", num_games=NUM_GAMES, rollout_length=6, epochs=2, minibatches=2,
        total_updates=UPDATES,
    )  # fmt: skip


@functools.cache
def eight() -> Any:
    """One learner after the other: batched QR can hang on a CPU (see `FeedForward.init`)."""
    numbers = Hyperparameters(*map(jnp.float32, Hyperparameters(learning_rate=3e-3)))
    init = jax.jit(lambda seeds: jax.lax.map(lambda seed: learner().init(numbers, key=jax.random.key(seed)), seeds))
    return devices.fetch(init(jnp.arange(8, dtype=jnp.uint32)))


def rows(tree: Any, count: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[:count], tree)


def train(learners: int, count: int) -> dict[str, Any]:
    algorithm, traced = learner(), []

    def update(state):
        traced.append(count)
        return algorithm.update(state)

    state = rows(eight(), learners)
    mesh = devices.mesh_for(jax.devices()[:count], learners=learners, num_games=NUM_GAMES)
    advance = devices.over_learners(update, mesh, state, in_axes=(0,))
    state = devices.place(state, devices.layout(mesh, state))
    hlo = advance.lower(state).compile().as_text()
    for _ in range(UPDATES):
        state, metrics = advance(state)
    return {
        "mesh": tuple(mesh.shape.values()),
        "state": without_keys(devices.fetch(state)),
        "metrics": devices.fetch(metrics),
        "traced": len(traced),
        "sends": sends(hlo),
        "games_of_a_device": state.playing.returns.sharding.shard_shape(state.playing.returns.shape),
    }


def sends(hlo: str) -> set[str]:
    """The operations in a compiled program by which devices send each other anything."""
    names = "all-gather|all-reduce|all-to-all|reduce-scatter|collective-permute|collective-broadcast|send|recv"
    return set(re.findall(rf"= [^=]*?\b({names})(?:-start)?\(", hlo))


def without_keys(tree: Any) -> Any:
    return jax.tree.map(lambda x: np.asarray(jax.random.key_data(x)) if devices._is_key(x) else x, tree)


def cross_play(on: Any) -> dict[str, np.ndarray]:
    algorithm, params = learner(), eight().params
    kind = Kind(algorithm.policy, "last", True)
    agents = [Agent(kind, jax.tree.map(lambda leaf, row=row: leaf[row], params), str(row)) for row in range(3)]
    key = jax.random.key(1)
    return crossplay(algorithm.game, agents, games=5, greedy=False, key=key, max_lanes=6, devices=on)._asdict()


class Shared(NamedTuple):
    weights: Any  # float32[3]
    playing: Any  # float32[games, 3]


def shared_gradient() -> dict[str, Any]:
    """A learner that fits a plane to a minibatch of its games: w ← w − ∇ ½ mean (x·w − 1)²."""

    def update(state: Shared) -> tuple[Shared, Any]:
        chosen = state.playing[devices.shard_rows(jnp.array([5, 0, 3, 6, 1, 1, 7, 2], jnp.int32))]
        loss, gradient = jax.value_and_grad(lambda w: 0.5 * jnp.mean((chosen @ w - 1) ** 2))(state.weights)
        return Shared(state.weights - gradient, state.playing * 2), loss

    playing = np.random.default_rng(0).normal(size=(2, 8, 3)).astype(np.float32)
    state = Shared(np.ones((2, 3), np.float32), playing)
    mesh = devices.mesh_for(jax.devices(), learners=2, num_games=8)
    advance = devices.over_learners(update, mesh, state, in_axes=(0,))
    placed = devices.place(state, devices.layout(mesh, state))
    hlo = advance.lower(placed).compile().as_text()
    after, loss = advance(placed)
    return devices.fetch(after)._asdict() | {"games": playing, "loss": devices.fetch(loss), "sends": sends(hlo)}


# ------------------------------------------------------------------------------------------------------------ the tests


def in_a_process_of_eight(output, more=""):
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "8", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    made = subprocess.run(
        [sys.executable, "-W", "error", __file__, str(output), more],
        env=environment, capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr[-3000:]
    return pickle.loads(output.read_bytes())


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return in_a_process_of_eight(tmp_path_factory.mktemp("devices") / "found.pickle")


@pytest.fixture(scope="module")
def found_more(tmp_path_factory):
    return in_a_process_of_eight(tmp_path_factory.mktemp("devices") / "found.pickle", "more")


def assert_same(one, other):
    """Numbers to the tolerance, everything whole to the bit."""
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert a.dtype == b.dtype
        if np.issubdtype(a.dtype, np.floating):
            np.testing.assert_allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE)
        else:
            np.testing.assert_array_equal(a, b)


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 20)
def test_there_are_eight_devices(found):
    assert found["devices"] == 8
    assert found["for learners"] == {1: 1, 5: 5, 6: 6, 40: 8}


def assert_rows_are_the_same(many, one):
    learners = len(many["state"].updates)
    assert_same(rows(one["state"], learners), many["state"])
    assert_same(rows(one["metrics"], learners), many["metrics"])


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 20)
@pytest.mark.parametrize("layout", list(LAYOUTS)[1:], ids=str)
def test_learners_are_the_same_on_any_number_of_devices(found, layout):
    assert found["trained"][layout]["state"].updates.shape == layout[:1]
    assert_rows_are_the_same(found["trained"][layout], found["trained"][8, 1])


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 20)
def test_the_learners_learned_and_differ(found):
    def flat(params):
        return np.concatenate([leaf.reshape(8, -1) for leaf in jax.tree.leaves(params)], axis=1)

    before, after = flat(eight().params), flat(found["trained"][8, 4]["state"].params)
    assert np.abs(after - before).max(axis=1).min() > 1000 * TOLERANCE
    assert min(np.abs(after[i] - after[j]).max() for i in range(8) for j in range(i)) > 1000 * TOLERANCE


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 20)
def test_one_device_gives_what_a_vmap_gives(found):
    state, update = eight(), jax.jit(jax.vmap(learner().update))
    for _ in range(UPDATES):
        state, metrics = update(state)
    assert_same(without_keys(devices.fetch(state)), found["trained"][8, 1]["state"])
    assert_same(devices.fetch(metrics), found["trained"][8, 1]["metrics"])


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 20)
def test_an_accelerator_has_its_learners_side_by_side(found, monkeypatch):
    monkeypatch.setattr(devices, "_on_cpu", lambda devices: False)
    assert_rows_are_the_same(train(8, 1), found["trained"][8, 1])


def assert_own_learners_before_games(one, layout, learner_rows, in_row):
    assert one["mesh"] == (learner_rows, in_row)
    assert one["games_of_a_device"] == (layout[0] // learner_rows, NUM_GAMES // in_row)
    assert one["traced"] == 1
    if in_row == 1:
        assert one["sends"] == set()
    else:
        assert "all-reduce" in one["sends"]  # at least the sums over the games that ended


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 20)
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_devices_take_learners_of_their_own_before_games(found, layout):
    assert_own_learners_before_games(found["trained"][layout], layout, *LAYOUTS[layout])


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 20)
def test_the_gradient_of_shared_rows_is_added_up(found):
    shared = found["shared"]
    assert shared["sends"] >= {"all-reduce"}
    for number in range(2):
        chosen = shared["games"][number].astype(np.float64)[[5, 0, 3, 6, 1, 1, 7, 2]]
        error = chosen @ np.ones(3) - 1
        assert shared["loss"][number] == pytest.approx(0.5 * np.mean(error**2), rel=1e-5)
        np.testing.assert_allclose(shared["weights"][number], 1 - error @ chosen / 8, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(shared["playing"], shared["games"] * 2)


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 20)
def test_cross_play_is_the_same_on_any_number_of_devices(found):
    default = cross_play(None)
    assert len(default["mean"]) == 9  # no multiple of the number of devices
    assert len(set(default["mean"].tolist())) > 3
    assert_plays_the_same(found, default)


def assert_plays_the_same(found, default):
    for many in found["crossplay"].values():
        for name, value in default.items():
            np.testing.assert_array_equal(value, many[name], err_msg=name)


@pytest.mark.proof
@pytest.mark.timeout(2 * SECONDS)
def test_more_layouts_are_the_same(found, found_more):
    for layout, mesh in MORE.items():
        many = found_more["trained"][layout]
        assert_rows_are_the_same(many, found["trained"][8, 1])
        assert_own_learners_before_games(many, layout, *mesh)
    assert_plays_the_same(found_more, cross_play(None))


# ------------------------------------------------------------------------------------------ on one device, in here


def test_without_a_mesh_nothing_is_shared():
    index = jnp.arange(4, dtype=jnp.int32)
    assert devices.shard_rows(index) is index


def test_what_was_placed_is_a_copy():
    mesh = devices.mesh_for(jax.devices()[:1], learners=2, num_games=1)
    for tree in (jnp.arange(2, dtype=jnp.float32), jax.random.split(jax.random.key(0)), np.arange(2, dtype=np.float32)):
        before = np.asarray(without_keys(tree)).copy()
        jax.jit(lambda x: x, donate_argnums=0)(devices.place(tree, NamedSharding(mesh, P(devices.LEARNERS))))
        np.testing.assert_array_equal(without_keys(tree), before)


def test_a_tree_comes_back_as_it_was():
    key = jax.random.split(jax.random.key(3, impl="rbg"), 4)
    tree = {"key": key, "half": np.arange(8, dtype=np.float16).reshape(4, 2), "flag": np.array([True, False] * 2)}
    mesh = devices.mesh_for(jax.devices()[:1], learners=4, num_games=1)
    placed = devices.place(tree, NamedSharding(mesh, P(devices.LEARNERS)))
    assert all(isinstance(leaf, jax.Array) and leaf.sharding.mesh == mesh for leaf in jax.tree.leaves(placed))
    back = devices.fetch(placed)
    assert back["key"].dtype == key.dtype
    np.testing.assert_array_equal(jax.random.key_data(back["key"]), jax.random.key_data(key))
    for name in ("half", "flag"):
        assert type(back[name]) is np.ndarray
        assert back[name].dtype == tree[name].dtype
        np.testing.assert_array_equal(back[name], tree[name])


@pytest.mark.parametrize(
    ("number", "learners", "num_games", "others"),
    [(7, 4, 10, "5 or 8"), (8, 3, 10, "6 or 10"), (5, 4, 16, "4 or 8"), (3, 2, 1, "2")],
)
def test_devices_that_fit_neither_are_refused(number, learners, num_games, others):
    with pytest.raises(
        TacitError,
        match=f"^{number} devices cannot share {learners} learners of {num_games} games each equally; {others} devices",
    ):
        devices.mesh_for(jax.devices()[:1] * number, learners=learners, num_games=num_games)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("said", "used", "expected"),
    [({}, "", len(os.sched_getaffinity(0))), ({}, "jax.devices()", 1), ({"JAX_NUM_CPU_DEVICES": "3"}, "", 3)]
    if hasattr(os, "sched_getaffinity")
    else [],
)
def test_every_core_is_a_device_unless_something_else_was_said(said, used, expected):
    environment = {name: value for name, value in os.environ.items() if name != "JAX_NUM_CPU_DEVICES"}
    made = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import jax; {used}\nfrom marl import devices\ndevices.one_per_core()\nprint(jax.device_count())",
        ],
        env=environment | said | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=SECONDS, check=True,
    )  # fmt: skip
    assert int(made.stdout) == expected


def test_the_decision_of_one_process_is_its_own():
    assert devices.broadcast_from_first(True) is True
    assert devices.broadcast_from_first(False) is False


if __name__ == "__main__":
    main(*sys.argv[1:])
