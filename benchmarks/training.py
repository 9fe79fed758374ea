"""Training: IPPO on full two-player Hanabi, steps of games a second, network and hyperparameters of JaxMARL.

1,024 games x 128 steps, 4 epochs x 4 minibatches, Dense 512 with heads of 512. JaxMARL's package holds the game and no
learner, so `benchmarks.peer` trains on it by the algorithm of JaxMARL's published baseline; `--baselines DIR` measures
the script of a JaxMARL checkout itself in its place.
"""

from pathlib import Path
from typing import Any

import jax

from benchmarks import peer
from benchmarks.measure import race
from games.hanabi import Hanabi
from marl.learners.ippo import IPPO, Hyperparameters
from marl.policies.feed_forward import FeedForward

GAMES = 1024
LENGTH = 128


def main(*, games: int = GAMES, repeats: int = 2, baselines: Path | None = None) -> list[str]:
    """Lines of the report."""
    game = Hanabi()
    programs: dict[str, Any] = {}
    name = "JaxMARL's script" if baselines else "JaxMARL's algorithm"
    programs[name] = peer.update(games, LENGTH) if baselines is None else peer.script(baselines, games, LENGTH)
    for batch in ("all", "acting"):
        for observer in ("belief", "hle"):
            policy = FeedForward(game.observer(observer).size, game.num_actions, (512,), (512,), (512,))
            learner = IPPO(
                game=game,
                policy=policy,
                observer=observer,
                num_games=games,
                rollout_length=LENGTH,
                epochs=4,
                minibatches=4,
                total_updates=1,
                batch=batch,
            )
            state = jax.jit(lambda key, learner=learner: learner.init(Hyperparameters(), key=key))(jax.random.key(0))
            programs[f"Tacit `{batch}`, {observer}"] = (learner.update, (state,))
    times = race(programs, repeats=repeats)
    base = times[name]
    lines = [
        f"{games} games x {LENGTH} steps an update",
        "",
        "| program | steps/s, best (median) | × JaxMARL | compile s |",
        "|---|---:|---:|---:|",
    ]
    return lines + [
        f"| {program} | {timing.rate(games * LENGTH)} | {base.best / timing.best:.2f} | {timing.compile_seconds:.1f} |"
        for program, timing in times.items()
    ]
