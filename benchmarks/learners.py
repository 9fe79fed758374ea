"""Learners: the 40 small networks of a job of the ladder, steps of games a second of all of them together.

`experiment=ladder game=hanabi_3x5 seeds=8`: five coefficients on eight seeds. A job trains them on as many devices as
cores, one after the other on each (`marl.devices`); beside it all of them in one `vmap` on one device, as JaxMARL's
scripts and this project's earlier versions do, and the matrix products of an update alone, both ways.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.measure import race
from experiments.configuration.config import JobConfig
from experiments.launching import compose
from experiments.training import loop
from marl import devices
from marl.learners.ippo import IPPO

_NEARLY_NOTHING = 1e-20
JOB = ("experiment=ladder", "game=hanabi_3x5", "seeds=8")


def main(*, job: Sequence[str] = JOB, repeats: int = 5) -> list[str]:
    """Lines of the report."""
    config = JobConfig.parse(compose.compose(list(job)))
    built = [run.built for run in config.runs]
    learner: Any = built[0].learner
    number = len(built) * config.seeds
    given = loop._stacked_inputs(built, config.first_seed, config.seeds)
    state = jax.jit(loop._initial_state, static_argnums=0)(learner, *given)
    mesh = devices.mesh_for(devices.for_learners(number), learners=number, num_games=learner.num_games)

    def products(params: Any) -> tuple[Any, Any]:
        return _products(learner, params), ()

    spread = devices.layout(mesh, (state, state.params))
    placed, params = devices.place((state, state.params), spread)

    def in_turn(function: Callable[..., Any], state: Any) -> Callable[..., Any]:
        return devices.over_learners(function, mesh, state, in_axes=(0,))

    several = f"in turn on {len(mesh.devices.ravel())} devices"
    programs = {
        f"update, {several}": (in_turn(learner.update, placed), (placed,)),
        "update, one vmap": (jax.vmap(learner.update), (state,)),
        f"products alone, {several}": (in_turn(products, params), (params,)),
        "products alone, one vmap": (jax.vmap(products), (state.params,)),
    }
    times = race(programs, repeats=repeats)
    best = min(timing.best for name, timing in times.items() if name.startswith("products"))
    steps = number * learner.steps_per_update
    return [
        f"{number} learners of {learner.num_games} games x {learner.rollout_length} steps an update",
        "",
        "| program | steps/s, best (median) | share of the fastest products |",
        "|---|---:|---:|",
        *(f"| {name} | {timing.rate(steps)} | {best / timing.best:.0%} |" for name, timing in times.items()),
    ]


def _products(learner: IPPO, params: Any) -> Any:
    """The matrix products of an update, one after the other and nothing else; the parameters afterwards.

    Each feeds the next one, so that the compiler leaves none out.
    """
    torso = [f"torso_layers_{number}" for number in range(len(learner.policy.torso))]
    heads = ("logits_layer", "value_layer")

    def rows(number: int) -> jax.Array:
        size = learner.policy.observation_size
        return jnp.sin(jnp.arange(number * size, dtype=jnp.float32)).reshape(number, size)

    def forward(kernels: dict[str, jax.Array], x: jax.Array) -> tuple[list[jax.Array], list[jax.Array]]:
        inputs = [x]
        for name in torso:
            inputs.append(inputs[-1] @ kernels[name])
        return inputs, [inputs[-1] @ kernels[name] for name in heads]

    def play(_: int, carry: tuple[dict[str, jax.Array], jax.Array]) -> tuple[dict[str, jax.Array], jax.Array]:
        kernels, x = carry
        outputs = forward(kernels, x)[1]
        return kernels, x + _NEARLY_NOTHING * outputs[1]

    def learn(_: int, carry: tuple[dict[str, jax.Array], jax.Array]) -> tuple[dict[str, jax.Array], jax.Array]:
        kernels, x = carry
        inputs, outputs = forward(kernels, x)
        gradient = {name: inputs[-1].T @ output for name, output in zip(heads, outputs, strict=True)}
        back = sum(output @ kernels[name].T for name, output in zip(heads, outputs, strict=True))
        for number in reversed(range(len(torso))):
            gradient[torso[number]] = inputs[number].T @ back
            if number:
                back = back @ kernels[torso[number]].T
        return {name: kernel + _NEARLY_NOTHING * gradient[name] for name, kernel in kernels.items()}, x

    kernels = {name: params[name]["kernel"] for name in (*torso, *heads)}
    kernels, played = jax.lax.fori_loop(0, learner.rollout_length, play, (kernels, rows(learner.num_games)))
    steps = learner.epochs * learner.minibatches
    x = rows(learner.steps_per_update // learner.minibatches) + _NEARLY_NOTHING * played[0, 0]
    kernels, _ = jax.lax.fori_loop(0, steps, learn, (kernels, x))
    return {name: layer | {"kernel": kernels[name]} for name, layer in params.items()}
