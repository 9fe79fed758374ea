"""Literal chances: plays of full Hanabi a second whose chance to fail is counted, beside the engine without observers.

The states are those of random legal play after 12 moves; the card is drawn among all of the hand.
"""

from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.engine import play
from benchmarks.measure import race
from games.hanabi import make
from games.hanabi.literal import chance_of_failure

STATES = 100_000


def main(*, repeats: int = 5, states: int = STATES) -> list[str]:
    """Lines of the report."""
    lines = ["| players | program | a second, best (median) | × engine | compile s |", "|---:|---|---:|---:|---:|"]
    for players in (2, 3):
        game = make(players=players)
        keys = jax.random.split(jax.random.key(0), states)
        begun = jax.vmap(lambda key, game=game: game.init(key=key))(keys)
        played = jax.jit(play(game, None, "nobody", games=states, steps=12))(begun, jax.random.key(1))[0]
        slots = jax.random.randint(jax.random.key(2), (states,), 0, game.hand_size, jnp.int32)

        def chances(which: str, game: Any = game) -> Any:
            def one(state: Any, slot: Any) -> Any:
                found = chance_of_failure(game, state, state.player.astype(jnp.int32), slot)
                return getattr(found, which).chance()

            return jax.vmap(one)

        programs: dict[str, Any] = {
            "engine, one step": (play(game, None, "nobody", games=states, steps=1), (played, jax.random.key(3))),
            "joint chance": (chances("joint"), (played, slots)),
            "marginal chance": (chances("marginal"), (played, slots)),
        }
        times = race(programs, repeats=repeats)
        base = times["engine, one step"].best
        lines += [
            f"| {players} | {name} | {timing.rate(states)} | {base / timing.best:.2f} | {timing.compile_seconds:.1f} |"
            for name, timing in times.items()
        ]
    return [f"{states:,} states in one call", "", *lines]
