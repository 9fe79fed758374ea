"""JaxMARL's published Hanabi baselines, re-implemented for the training benchmark.

The package `jaxmarl` holds environments and wrappers. `update` is one PPO update on them by the baselines' algorithm:
every agent's row at every step, belief observations kept as float32, games shuffled over minibatches with their whole
sequences. The recurrent one replays each sequence from the memory that the rollout began with and sets it to zero at
the first step of a game (the published script always replays from zeros, which is the same work). `script` runs the
baseline's own file from a checkout instead.
"""

import importlib.util
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

EPOCHS, MINIBATCHES = 4, 4
GAMMA, LAMBDA, CLIP = 0.99, 0.95, 0.2


def _dense(width: int, gain: float) -> nn.Dense:
    return nn.Dense(width, kernel_init=nn.initializers.orthogonal(gain))


def _heads(features: Any, legal: Any, actions: int, width: int) -> tuple[Any, Any]:
    """Log-probabilities and the value, each through a hidden layer of its own."""
    logits = _dense(actions, 0.01)(nn.relu(_dense(width, 2.0)(features)))
    value = _dense(1, 1.0)(nn.relu(_dense(width, 2.0)(features)))
    return jax.nn.log_softmax(logits - (1 - legal) * 1e10), value[..., 0]


class FeedForward(nn.Module):
    """Dense 512, then 512 and the logits, and 512 and the value. Its memory has no entries."""

    actions: int
    memory: int = 0

    @nn.compact
    def __call__(self, memory: Any, seen: Any, legal: Any, fresh: Any) -> Any:
        """Over [steps, rows]; `fresh` where a game begins."""
        shared = nn.relu(_dense(512, float(np.sqrt(2)))(seen))
        return memory, *_heads(shared, legal, self.actions, 512)


class Recurrent(nn.Module):
    """Dense 128, a gated recurrent unit of 128, then 128 and the logits, and 128 and the value."""

    actions: int
    memory: int = 128

    @nn.compact
    def __call__(self, memory: Any, seen: Any, legal: Any, fresh: Any) -> Any:
        """Over [steps, rows]; `memory` [rows, 128] before the first step, `fresh` where a game begins."""
        embedded = nn.relu(_dense(128, float(np.sqrt(2)))(seen))
        unit = nn.scan(_Unit, variable_broadcast="params", split_rngs={"params": False})(self.memory)
        memory, features = unit(memory, (embedded, fresh))
        return memory, *_heads(features, legal, self.actions, 128)


class _Unit(nn.Module):
    width: int

    @nn.compact
    def __call__(self, memory: Any, now: Any) -> Any:
        embedded, fresh = now
        return nn.GRUCell(self.width)(jnp.where(fresh[:, None], 0.0, memory), embedded)


NETWORKS: dict[str, Callable[..., Any]] = {"feed-forward": FeedForward, "recurrent": Recurrent}
SCRIPTS = {"feed-forward": "ippo_ff_hanabi", "recurrent": "ippo_rnn_hanabi"}


class Playing(NamedTuple):
    """Games in progress."""

    seen: Any  # observations by agent
    states: Any
    memory: Any  # [rows, width of the memory]
    fresh: Any  # bool[rows] a game begins


class Learning(NamedTuple):
    """A learner's state, carried from update to update."""

    params: Any
    moments: Any
    playing: Playing
    key: Any


class Peer:
    """One learner: `init`, `rollout` and `update` are pure functions."""

    def __init__(self, network: str, games: int, length: int) -> None:
        import jaxmarl
        from jaxmarl.wrappers.baselines import LogWrapper

        self.env = LogWrapper(jaxmarl.make("hanabi", num_agents=2))
        self.games, self.length = games, length
        self.rows = games * len(self.env.agents)
        self.network = NETWORKS[network](self.env.action_space(self.env.agents[0]).n)
        self.optimiser = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(5e-4, eps=1e-5))

    def init(self, key: Any) -> Learning:
        seen, states = jax.vmap(self.env.reset)(jax.random.split(key, self.games))
        memory = jnp.zeros((self.rows, self.network.memory), jnp.float32)
        playing = Playing(seen, states, memory, jnp.zeros(self.rows, jnp.bool_))
        params = self.network.init(key, memory, *self._look(playing))
        return Learning(params, self.optimiser.init(params), playing, key)

    def rollout(self, params: Any, playing: Playing, key: Any) -> tuple[Playing, dict[str, Any], Any]:
        """The games afterwards, a record with leaves [length, rows, ...] and the returns of the last games to end."""
        agents = self.env.agents

        def step(playing: Playing, key: Any) -> tuple[Playing, tuple[dict[str, Any], Any]]:
            draw_key, step_key = jax.random.split(key)
            inputs = self._look(playing)
            memory, log_probs, value = self.network.apply(params, playing.memory, *inputs)
            action = jax.random.categorical(draw_key, log_probs[0])
            chosen = dict(zip(agents, action.reshape(len(agents), self.games), strict=True))
            seen, states, reward, done, info = jax.vmap(self.env.step)(
                jax.random.split(step_key, self.games), playing.states, chosen
            )
            done = self._flat(done)[:, 0]
            record = {
                "seen": inputs[0][0],
                "legal": inputs[1][0],
                "fresh": inputs[2][0],
                "action": action,
                "log_prob": jnp.take_along_axis(log_probs[0], action[:, None], axis=1)[:, 0],
                "value": value[0],
                "reward": self._flat(reward)[:, 0],
                "done": done,
            }
            return Playing(seen, states, memory, done), (record, info["returned_episode_returns"])

        playing, (record, returns) = jax.lax.scan(step, playing, jax.random.split(key, self.length))
        return playing, record, returns

    def update(self, state: Learning) -> tuple[Learning, Any]:
        """Play one rollout and learn from it; the next state and the mean return."""
        key, rollout_key, shuffle_key = jax.random.split(state.key, 3)
        playing, record, returns = self.rollout(state.params, state.playing, rollout_key)
        last_value = self.network.apply(state.params, playing.memory, *self._look(playing))[2][0]

        def backward(carry: Any, now: Any) -> Any:
            advantage, value_tp1 = carry
            goes_on = 1 - now["done"]
            delta = now["reward"] + GAMMA * value_tp1 * goes_on - now["value"]
            advantage = delta + GAMMA * LAMBDA * goes_on * advantage
            return (advantage, now["value"]), advantage

        start = (jnp.zeros_like(last_value), last_value)
        record["advantage"] = jax.lax.scan(backward, start, record, reverse=True, unroll=16)[1]
        record["target"] = record["advantage"] + record["value"]
        before = state.playing.memory[None]

        def minibatch(carry: Any, part: Any) -> tuple[Any, None]:
            params, moments = carry
            steps, moments = self.optimiser.update(jax.grad(self._loss)(params, *part), moments, params)
            return (optax.apply_updates(params, steps), moments), None

        def epoch(carry: Any, key: Any) -> tuple[Any, None]:
            order = jax.random.permutation(key, self.rows)
            parts = jax.tree.map(
                lambda x: (
                    jnp.take(x, order, axis=1)
                    .reshape(len(x), MINIBATCHES, self.rows // MINIBATCHES, *x.shape[2:])
                    .swapaxes(0, 1)
                ),
                (before, record),
            )
            return jax.lax.scan(minibatch, carry, parts)[0], None

        carry = (state.params, state.moments)
        (params, moments), _ = jax.lax.scan(epoch, carry, jax.random.split(shuffle_key, EPOCHS))
        return Learning(params, moments, playing, key), returns.mean()

    def _loss(self, params: Any, before: Any, part: dict[str, Any]) -> Any:
        inputs = part["seen"], part["legal"], part["fresh"]
        _, log_probs, value = self.network.apply(params, before[0], *inputs)
        log_prob = jnp.take_along_axis(log_probs, part["action"][..., None], axis=-1)[..., 0]
        ratio = jnp.exp(log_prob - part["log_prob"])
        advantage = part["advantage"]
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        gain = jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - CLIP, 1 + CLIP) * advantage)
        near = part["value"] + jnp.clip(value - part["value"], -CLIP, CLIP)
        error = jnp.maximum((value - part["target"]) ** 2, (near - part["target"]) ** 2)
        entropy = -jnp.sum(jnp.exp(log_probs) * log_probs, axis=-1)
        return -gain.mean() + 0.5 * 0.5 * error.mean() - 0.01 * entropy.mean()

    def _look(self, playing: Playing) -> tuple[Any, Any, Any]:
        """The network's inputs at one step, each [1, rows, ...]."""
        legal = jax.vmap(self.env.get_legal_moves)(playing.states.env_state)
        return self._flat(playing.seen)[None], self._flat(legal)[None], playing.fresh[None]

    def _flat(self, by_agent: Any) -> Any:
        return jnp.stack([by_agent[agent] for agent in self.env.agents]).reshape(self.rows, -1)


def script(network: str, checkout: Path, games: int, length: int) -> tuple[Any, tuple[Any, ...]]:
    """One update by a baseline's own script in a JaxMARL checkout, as a function and its arguments.

    Its trackers are replaced by stubs. The script initialises inside the measured program, which adds well below a
    percent of an update at these sizes.
    """
    file = checkout / "baselines" / "IPPO" / f"{SCRIPTS[network]}.py"
    if "wandb" not in sys.modules:
        silent = types.ModuleType("wandb")
        silent.log = lambda *_, **__: None  # type: ignore[attr-defined]
        sys.modules["wandb"] = silent
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = {
        "LR": 5e-4, "NUM_ENVS": games, "NUM_STEPS": length, "TOTAL_TIMESTEPS": games * length, "UPDATE_EPOCHS": EPOCHS,
        "NUM_MINIBATCHES": MINIBATCHES, "GAMMA": GAMMA, "GAE_LAMBDA": LAMBDA, "CLIP_EPS": CLIP, "ENT_COEF": 0.01,
        "VF_COEF": 0.5, "MAX_GRAD_NORM": 0.5, "ENV_NAME": "hanabi", "ENV_KWARGS": {}, "ANNEAL_LR": False,
        "FC_DIM_SIZE": 128, "GRU_HIDDEN_DIM": 128, "ACTIVATION": "relu",
    }  # fmt: skip
    return module.make_train(config), (jax.random.PRNGKey(0),)
