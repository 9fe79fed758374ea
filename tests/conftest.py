"""What every test runs under."""

import gc
import os
from importlib.metadata import version
from pathlib import Path

# Programs of tests compile for longer than they run, so XLA compiles quickly instead of well, and all that it compiled
# is kept for the next run. In the environment, since tests start processes, and before JAX is imported, which reads it.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path.home() / ".cache" / "tacit" / "jax"))
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
os.environ["JAX_NUM_CPU_DEVICES"] = "1"  # whatever a worker's first test is
os.environ["XLA_FLAGS"] = " ".join(  # each once, where a worker starts too: programs are kept by their flags
    dict.fromkeys(
        [
            *os.environ.get("XLA_FLAGS", "").split(),
            # Later versions have no others than fusion emitters, and end a process that names the flag.
            *["--xla_cpu_use_fusion_emitters=false"] * version("jaxlib").startswith("0.10."),
        ]
    )
)

import jax
import numpy as np
import pytest
from hypothesis import settings

from games.tabular.dec_pomdp import DecPOMDP
from marl.programs import free_programs
from tests import watchdog

# A shape that is broadcast by accident is a defect; one that is meant says so with [None].
jax.config.update("jax_numpy_rank_promotion", "raise")

# Tracing makes many small objects and few cycles: collect the garbage rarely, which is 5 % of the time.
gc.set_threshold(200_000, 20, 100)

# The same examples on every machine and at every run.
settings.register_profile("tacit", derandomize=True, database=None, deadline=None, max_examples=20)
settings.load_profile("tacit")


def pytest_configure(config):
    """What tests start ends with them, however they end."""
    watching = watchdog.start()
    config.add_cleanup(lambda: watchdog.stop(watching))


@pytest.fixture(autouse=True, scope="session")
def indexes_of_their_own(tmp_path_factory):
    """Indexes of runs that tests made do not stay behind in the user's folder for caches."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("experiments.runs.index.cache_folder", lambda: folder)
        yield


@pytest.fixture(autouse=True, scope="module")
def few_compiled_programs():
    """Free compiled programs where a process holds many."""
    yield
    free_programs()


@pytest.fixture(scope="session")
def random_dec_pomdp():
    """The function below, for tests of tabular games."""
    return make_random_dec_pomdp


def make_random_dec_pomdp(
    seed,
    num_agents=2,
    num_states=3,
    num_actions=(2, 3),
    num_observations=(2, 2),
    discount=1.0,
    initial=False,
    restricted=False,
):
    """A Dec-POMDP with dense random tables and rewards that depend on state and joint action, N(0, 1).

    Args:
      seed: int; the same one gives the same game.
      num_actions, num_observations: for each agent; cycled where there are more agents.
      initial: agents see something before they act.
      restricted: after each observation some actions are illegal; after the last one all but the first, so that an
        agent with it has nothing to choose.
    """
    generator = np.random.default_rng(seed)
    actions = [num_actions[agent % len(num_actions)] for agent in range(num_agents)]
    observations = [num_observations[agent % len(num_observations)] for agent in range(num_agents)]
    joint_actions, joint_observations = int(np.prod(actions)), int(np.prod(observations))
    legal = None
    if restricted:
        legal = tuple(
            generator.random((seen, chosen)) < 0.7 for seen, chosen in zip(observations, actions, strict=True)
        )
        for mask in legal:
            mask[:, 0] = True
            mask[-1, 1:] = False
    return DecPOMDP(
        agents=tuple(f"agent{agent}" for agent in range(num_agents)),
        states=tuple(f"state{state}" for state in range(num_states)),
        actions=tuple(tuple(f"a{agent}-{action}" for action in range(size)) for agent, size in enumerate(actions)),
        observations=tuple(
            tuple(f"o{agent}-{seen}" for seen in range(size)) for agent, size in enumerate(observations)
        ),
        discount=discount,
        start=generator.dirichlet(np.ones(num_states)),
        transition=generator.dirichlet(np.ones(num_states), (joint_actions, num_states)),
        observation=generator.dirichlet(np.ones(joint_observations), (joint_actions, num_states)),
        reward=generator.normal(size=(joint_actions, num_states, 1, 1)),
        initial_observation=generator.dirichlet(np.ones(joint_observations), num_states) if initial else None,
        legal=legal,
    )
