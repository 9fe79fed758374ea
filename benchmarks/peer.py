"""JaxMARL as it is trained in its published feed-forward Hanabi baseline, for the training benchmark.

The package `jaxmarl` holds environments and wrappers. `update` is one PPO update on them by the baseline's algorithm:
every agent's row at every step, belief observations kept as float32, games shuffled over minibatches with their whole
sequences. `script` runs the baseline's own file from a checkout instead.
"""

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

EPOCHS, MINIBATCHES = 4, 4
GAMMA, LAMBDA, CLIP = 0.99, 0.95, 0.2


class Network(nn.Module):
    """Dense 512, then 512 and the logits, and 512 and the value."""

    actions: int

    @nn.compact
    def __call__(self, seen: Any, legal: Any) -> Any:
        def dense(width: int, gain: float) -> nn.Dense:
            return nn.Dense(width, kernel_init=nn.initializers.orthogonal(gain))

        shared = nn.relu(dense(512, float(np.sqrt(2)))(seen))
        logits = dense(self.actions, 0.01)(nn.relu(dense(512, 2.0)(shared)))
        value = dense(1, 1.0)(nn.relu(dense(512, 2.0)(shared)))
        return jax.nn.log_softmax(logits - (1 - legal) * 1e10), value[..., 0]


def update(games: int, length: int) -> tuple[Any, tuple[Any, ...]]:
    """One update as a function and its arguments."""
    import jaxmarl
    from jaxmarl.wrappers.baselines import LogWrapper

    env = LogWrapper(jaxmarl.make("hanabi", num_agents=2))
    agents = env.agents
    rows = games * len(agents)
    network = Network(env.action_space(agents[0]).n)
    optimiser = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(5e-4, eps=1e-5))

    def flat(by_agent: Any) -> Any:
        return jnp.stack([by_agent[agent] for agent in agents]).reshape(rows, -1)

    def one_update(params: Any, moments: Any, seen: Any, states: Any, key: Any) -> Any:
        def step(carry: Any, key: Any) -> Any:
            seen, states = carry
            draw_key, step_key = jax.random.split(key)
            legal = flat(jax.vmap(env.get_legal_moves)(states.env_state))
            before = flat(seen)
            log_probs, value = network.apply(params, before, legal)
            action = jax.random.categorical(draw_key, log_probs)
            chosen = dict(zip(agents, action.reshape(len(agents), games), strict=True))
            seen, states, reward, done, info = jax.vmap(env.step)(jax.random.split(step_key, games), states, chosen)
            record = {
                "seen": before,
                "legal": legal,
                "action": action,
                "log_prob": jnp.take_along_axis(log_probs, action[:, None], axis=1)[:, 0],
                "value": value,
                "reward": flat(reward)[:, 0],
                "done": flat(done)[:, 0],
            }
            return (seen, states), (record, info["returned_episode_returns"])

        key, shuffle_key = jax.random.split(key)
        (seen, states), (record, returns) = jax.lax.scan(step, (seen, states), jax.random.split(key, length))
        legal = flat(jax.vmap(env.get_legal_moves)(states.env_state))
        last_value = network.apply(params, flat(seen), legal)[1]

        def backward(carry: Any, now: Any) -> Any:
            advantage, value_tp1 = carry
            goes_on = 1 - now["done"]
            delta = now["reward"] + GAMMA * value_tp1 * goes_on - now["value"]
            advantage = delta + GAMMA * LAMBDA * goes_on * advantage
            return (advantage, now["value"]), advantage

        start = (jnp.zeros_like(last_value), last_value)
        record["advantage"] = jax.lax.scan(backward, start, record, reverse=True, unroll=16)[1]
        record["target"] = record["advantage"] + record["value"]

        def loss(params: Any, part: Any) -> Any:
            log_probs, value = network.apply(params, part["seen"], part["legal"])
            log_prob = jnp.take_along_axis(log_probs, part["action"][..., None], axis=-1)[..., 0]
            ratio = jnp.exp(log_prob - part["log_prob"])
            advantage = part["advantage"]
            advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
            gain = jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - CLIP, 1 + CLIP) * advantage)
            near = part["value"] + jnp.clip(value - part["value"], -CLIP, CLIP)
            error = jnp.maximum((value - part["target"]) ** 2, (near - part["target"]) ** 2)
            entropy = -jnp.sum(jnp.exp(log_probs) * log_probs, axis=-1)
            return -gain.mean() + 0.5 * 0.5 * error.mean() - 0.01 * entropy.mean()

        def minibatch(carry: Any, part: Any) -> Any:
            params, moments = carry
            steps, moments = optimiser.update(jax.grad(loss)(params, part), moments, params)
            return (optax.apply_updates(params, steps), moments), None

        def epoch(carry: Any, key: Any) -> Any:
            order = jax.random.permutation(key, rows)
            parts = jax.tree.map(
                lambda x: jnp.take(x, order, axis=1).reshape(length, MINIBATCHES, -1, *x.shape[2:]).swapaxes(0, 1),
                record,
            )
            return jax.lax.scan(minibatch, carry, parts)[0], None

        (params, moments), _ = jax.lax.scan(epoch, (params, moments), jax.random.split(shuffle_key, EPOCHS))
        return params, moments, seen, states, returns.mean()

    key = jax.random.PRNGKey(0)
    seen, states = jax.vmap(env.reset)(jax.random.split(key, games))
    params = network.init(key, flat(seen), flat(jax.vmap(env.get_legal_moves)(states.env_state)))
    return one_update, (params, optimiser.init(params), seen, states, key)


def script(checkout: Path, games: int, length: int) -> tuple[Any, tuple[Any, ...]]:
    """One update of `baselines/IPPO/ippo_ff_hanabi.py` in a JaxMARL checkout, from its own start.

    Its trackers are replaced by nothing. It initialises inside the measured program, which costs it well below a
    percent of an update at these sizes.
    """
    file = checkout / "baselines" / "IPPO" / "ippo_ff_hanabi.py"
    if "wandb" not in sys.modules:
        silent = types.ModuleType("wandb")
        silent.log = lambda *_: None  # type: ignore[attr-defined]
        sys.modules["wandb"] = silent
    spec = importlib.util.spec_from_file_location("ippo_ff_hanabi", file)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = {
        "LR": 5e-4, "NUM_ENVS": games, "NUM_STEPS": length, "TOTAL_TIMESTEPS": games * length, "UPDATE_EPOCHS": EPOCHS,
        "NUM_MINIBATCHES": MINIBATCHES, "GAMMA": GAMMA, "GAE_LAMBDA": LAMBDA, "CLIP_EPS": CLIP, "ENT_COEF": 0.01,
        "VF_COEF": 0.5, "MAX_GRAD_NORM": 0.5, "ENV_NAME": "hanabi", "ENV_KWARGS": {}, "ANNEAL_LR": False,
    }  # fmt: skip
    return module.make_train(config), (jax.random.PRNGKey(0),)
