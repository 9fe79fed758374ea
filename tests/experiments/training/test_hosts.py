"""Two processes that train together give what one process gives, and what the environment must say.

This file is also the program of each process.
"""

import functools
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.training import hosts
from games.errors import TacitError
from games.tabular.library.dectiger import make as dectiger
from marl import devices
from marl.agent import Agent, Kind
from marl.crossplay import crossplay
from marl.learners.ippo import IPPO, Hyperparameters
from marl.policies.feed_forward import FeedForward

ROOT = Path(__file__).parents[3]
TOLERANCE = 1e-6
SECONDS = 200


def main(output, learners):
    hosts.initialise()
    hosts.initialise()  # a second call does nothing
    found = {"processes": jax.process_count(), "devices": jax.device_count(), "local": jax.local_device_count()}
    # Process 0 says no and yes; process 1 always the opposite.
    first = jax.process_index() == 0
    found["agreed"] = [devices.broadcast_from_first(not first), devices.broadcast_from_first(first)]
    found |= {f"train {number}": train(number) for number in learners}
    if len(learners) > 1:
        found["crossplay"] = cross_play(jax.devices())
    Path(output).write_bytes(pickle.dumps(found))


def learner():
    game = dectiger(horizon=3)
    policy = FeedForward(game.observer("last").size, game.num_actions, torso=(8,))
    return IPPO(
        game=game, policy=policy, observer="last", num_games=8, rollout_length=6, epochs=1, minibatches=2,
        total_updates=2,
    )  # fmt: skip


@functools.cache
def start():
    numbers = Hyperparameters(*map(jnp.float32, Hyperparameters(learning_rate=3e-3)))
    init = jax.jit(lambda seeds: jax.lax.map(lambda seed: learner().init(numbers, key=jax.random.key(seed)), seeds))
    return devices.fetch(init(jnp.arange(2, dtype=jnp.uint32)))


def train(learners):
    """Two updates, the second counted by an argument that all learners share."""

    def update(state, before, count):
        state, metrics = learner().update(state)
        return state, jax.tree.map(lambda old, new: old + count.astype(new.dtype) * new, before, metrics)

    state = jax.tree.map(lambda leaf: leaf[:learners], start())
    mesh = devices.mesh_for(jax.devices(), learners=learners, num_games=8)
    before = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), jax.eval_shape(jax.vmap(learner().update), state)[1])
    advance = devices.over_learners(update, mesh, state, in_axes=(0, 0, None))
    layout = devices.layout(mesh, (state, before))
    state, metrics = devices.place((state, before), layout)
    for count in (1, 2):
        state, metrics = advance(state, metrics, np.int32(count))
    whole = devices.fetch((state, metrics))
    return jax.tree.map(lambda x: np.asarray(jax.random.key_data(x)) if devices._is_key(x) else x, whole)


def cross_play(on):
    algorithm, params = learner(), start().params
    kind = Kind(algorithm.policy, "last", True)
    agents = [Agent(kind, jax.tree.map(lambda leaf, row=row: leaf[row], params), str(row)) for row in range(2)]
    key = jax.random.key(1)
    return crossplay(algorithm.game, agents, games=5, greedy=False, key=key, devices=on)._asdict()


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def run_two(folder, learners, port, environments):
    """What two processes with two devices each found; they meet at `port` of this machine.

    Args:
      learners: the numbers of learners that they train, one after the other; of two numbers, they cross-play, too.
    """
    common = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "JAX_COORDINATOR_"))}
    common |= {
        "JAX_NUM_CPU_DEVICES": "2",
        "JAX_PLATFORMS": "cpu",
        "JAX_COORDINATOR_BIND_ADDRESS": f"127.0.0.1:{port}",
        "PYTHONPATH": str(ROOT),
    }
    outputs = [folder / f"{number}.pickle" for number in range(2)]
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, str(output), *map(str, learners)], env=common | own,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for output, own in zip(outputs, environments, strict=True)
    ]  # fmt: skip
    try:
        said = [process.communicate(timeout=SECONDS)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
            process.stderr.close()
    assert [process.returncode for process in processes] == [0, 0], [text[-3000:] for text in said]
    found = [pickle.loads(output.read_bytes()) for output in outputs]
    for one in found:
        assert (one["processes"], one["devices"], one["local"]) == (2, 4, 2)
        assert one["agreed"] == [False, True]
    return found


def assert_as_one_process(both, alone):
    for found in both:
        for name, expected in alone.items():
            assert jax.tree.structure(expected) == jax.tree.structure(found[name])
            for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found[name]), strict=True):
                assert np.asarray(a).dtype == np.asarray(b).dtype
                if name != "crossplay" and np.issubdtype(a.dtype, np.floating):
                    np.testing.assert_allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE)
                else:
                    np.testing.assert_array_equal(a, b)


@pytest.mark.proof
@pytest.mark.timeout(SECONDS + 60)
def test_two_processes_give_what_one_gives(tmp_path):
    port = free_port()
    common = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}", "JAX_NUM_PROCESSES": "2"}
    both = run_two(tmp_path, (1, 2), port, [common | {"JAX_PROCESS_ID": str(number)} for number in range(2)])
    assert_as_one_process(both, {"train 1": train(1), "train 2": train(2), "crossplay": cross_play(None)})


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 60)
def test_the_tasks_of_a_slurm_step_find_each_other(tmp_path):
    port = free_port()
    common = {
        "SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2",
        "JAX_COORDINATOR_PORT": str(port),
    }  # fmt: skip
    tasks = [common | {"SLURM_PROCID": str(number), "SLURM_LOCALID": str(number)} for number in range(2)]
    run_two(tmp_path, (), port, tasks)


@pytest.mark.parametrize(
    "environment",
    [{}, {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4"}, {"SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "4"}],
    ids=["nothing", "batch script", "step of one task"],
)
def test_a_process_alone_joins_nobody(environment):
    hosts.initialise(environment)
    assert not jax.distributed.is_initialized()
    assert jax.process_count() == 1


def test_half_of_the_environment_is_refused(monkeypatch):
    calls = []

    def initialize(**arguments):
        calls.append(arguments)
        raise ValueError("Number of processes must be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    with pytest.raises(TacitError, match=r"^JAX_COORDINATOR_ADDRESS asks for JAX_NUM_PROCESSES and, .*must be defined"):
        hosts.initialise({"JAX_COORDINATOR_ADDRESS": "here:1", "JAX_PROCESS_ID": "0"})
    assert calls == [{"num_processes": None, "process_id": 0}]


def test_a_step_of_several_tasks_is_left_to_jax(monkeypatch):
    calls = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda **arguments: calls.append(arguments))
    hosts.initialise({"SLURM_STEP_NUM_TASKS": "4"})
    assert calls == [{"num_processes": None, "process_id": None}]


@pytest.mark.parametrize("name", ["JAX_NUM_PROCESSES", "JAX_PROCESS_ID"])
def test_numbers_of_processes_are_whole(name):
    with pytest.raises(TacitError, match=f"^the environment variable {name} must be a whole number, not 'two'$"):
        hosts.initialise({"JAX_COORDINATOR_ADDRESS": "here:1", name: "two"})


if __name__ == "__main__":
    main(sys.argv[1], [int(number) for number in sys.argv[2:]])
