"""Cross-play: games a second for all 16 x 16 pairs of a feed-forward network on full two-player Hanabi.

JaxMARL has no cross-play. The rate is compared with an upper bound: our own engine without networks.
"""

import time

import jax
import numpy as np

from games.hanabi import Hanabi
from marl.agent import Agent, Kind
from marl.crossplay import crossplay
from marl.policies.feed_forward import FeedForward


def main(*, agents: int = 16, games: int = 64) -> list[str]:
    """Lines of the report."""
    game = Hanabi()
    lines = ["| network | games/s | steps/s | compile s | mean length |", "|---|---:|---:|---:|---:|"]
    for name, widths in [("Dense 64, 64", ((64, 64), (), ())), ("Dense 512 + heads of 512", ((512,), (512,), (512,)))]:
        policy = FeedForward(game.observer("hle").size, game.num_actions, *widths)
        keys = jax.random.split(jax.random.key(0), agents)
        params = jax.device_get(
            jax.jit(lambda keys, policy=policy: jax.lax.map(lambda k: policy.init(key=k), keys))(keys)
        )
        seeds = [
            Agent(Kind(policy, "hle", True), jax.tree.map(lambda leaf, i=i: leaf[i], params), str(i))
            for i in range(agents)
        ]

        def run(seeds: list[Agent] = seeds) -> tuple[float, float]:
            began = time.perf_counter()
            result = crossplay(game, seeds, games=games, greedy=False, key=jax.random.key(1), max_lanes=4096)
            return time.perf_counter() - began, float(np.sum(result.length * result.games))

        first, _ = run()
        seconds, steps = min(run() for _ in range(3))
        count = agents**2 * games
        lines.append(
            f"| {name} | {count / seconds:,.0f} | {steps / seconds:,.0f} | {first - seconds:.1f} | "
            f"{steps / count:.1f} |"
        )
    return [f"{agents} x {agents} pairs, {games} games each, untrained networks, sampled play", "", *lines]
