"""Engine: steps of full two-player Hanabi a second, random legal play, 1,024 games side by side, automatic reset.

(a) the player to move is observed at every step; (b) all players are. JaxMARL computes every player's observation in
every step, so its one figure is compared with both. All observe the V0 belief, as JaxMARL does; `hle` is measured, too.
"""

from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.measure import nbytes, race
from games.hanabi import Hanabi

GAMES = 1024
STEPS = 100


def main() -> list[str]:
    """Lines of the report."""
    import jaxmarl

    game = Hanabi()
    peer = jaxmarl.make("hanabi", num_agents=2)
    key = jax.random.key(0)
    states = jax.vmap(lambda key: game.init(key=key))(jax.random.split(key, GAMES))
    peer_obs, peer_states = jax.vmap(peer.reset)(jax.random.split(jax.random.PRNGKey(0), GAMES))
    programs: dict[str, Any] = {
        "JaxMARL, both observed": (play_peer(peer), (peer_obs, peer_states, jax.random.PRNGKey(1)))
    }
    for observer in ("belief", "hle"):
        for who in ("to move", "all"):
            programs[f"Tacit {observer}, {who}"] = (play(game, observer, who), (states, key))
    programs["Tacit, nobody observed"] = (play(game, None, "nobody"), (states, key))
    times = race(programs, repeats=5)
    base = times["JaxMARL, both observed"]
    lines = ["| program | steps/s, best (median) | × JaxMARL | compile s |", "|---|---:|---:|---:|"]
    lines += [
        f"| {name} | {timing.rate(GAMES * STEPS)} | {base.best / timing.best:.1f} | {timing.compile_seconds:.1f} |"
        for name, timing in times.items()
    ]
    one_game = jax.tree.map(lambda leaf: leaf[0], (states, peer_states))
    lines += ["", f"bytes of state a game: Tacit {nbytes(one_game[0])}, JaxMARL {nbytes(one_game[1])}"]
    return lines


def draw(legal: Any, key: Any) -> Any:
    """A legal action at random, the same way for both engines."""
    cumulative = jnp.cumsum(legal.astype(jnp.float32))
    return jnp.argmax(cumulative > jax.random.uniform(key, (), jnp.float32) * cumulative[-1]).astype(jnp.int32)


def play(game: Hanabi, observer: str | None, who: str, *, games: int = GAMES, steps: int = STEPS) -> Any:
    """A function (states, key) -> (states, last observations, sum of rewards)."""
    players = jnp.arange(game.num_players, dtype=jnp.int32)

    def one(state: Any, key: Any) -> Any:
        draw_key, step_key, init_key = jax.random.split(key, 3)
        player = state.player.astype(jnp.int32)
        action = draw(game.legal(state, player), draw_key)
        state, reward, done = game.step(state, jnp.where(players == player, action, game.noop), key=step_key)
        fresh = game.init(key=init_key)
        state = jax.tree.map(lambda new, old: jnp.where(done, new, old), fresh, state)
        if observer is None:
            seen = ()
        elif who == "all":
            seen = jax.vmap(lambda player: game.observe(state, player, observer))(players)
        else:
            seen = game.observe(state, state.player.astype(jnp.int32), observer)
        return state, seen, reward

    def run(states: Any, key: Any) -> Any:
        def step(carry: Any, key: Any) -> Any:
            states, _, total = carry
            states, seen, reward = jax.vmap(one)(states, jax.random.split(key, games))
            return (states, seen, total + jnp.sum(reward)), None

        shapes = jax.eval_shape(jax.vmap(one), states, jax.random.split(key, games))[1]
        blank = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        return jax.lax.scan(step, (states, blank, jnp.float32(0)), jax.random.split(key, steps))[0]

    return run


def play_peer(env: Any, *, games: int = GAMES, steps: int = STEPS) -> Any:
    """The same on JaxMARL's environment, whose `step` resets by itself: (observations, states, key) -> …"""

    def one(state: Any, key: Any) -> Any:
        draw_key, step_key = jax.random.split(key)
        legal = env.get_legal_moves(state)
        draws = jax.random.split(draw_key, env.num_agents)
        actions = {agent: draw(legal[agent], one_key) for agent, one_key in zip(env.agents, draws, strict=True)}
        seen, state, reward, _, _ = env.step(step_key, state, actions)
        return state, seen, reward[env.agents[0]]

    def run(seen: Any, states: Any, key: Any) -> Any:
        def step(carry: Any, key: Any) -> Any:
            states, _, total = carry
            states, seen, reward = jax.vmap(one)(states, jax.random.split(key, games))
            return (states, seen, total + jnp.sum(reward)), None

        return jax.lax.scan(step, (states, seen, jnp.float32(0)), jax.random.split(key, steps))[0]

    return run
