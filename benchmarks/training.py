"""Training: IPPO on full two-player Hanabi, steps of games a second, networks and hyperparameters of JaxMARL.

1,024 games x 128 steps, 4 epochs x 4 minibatches. Feed-forward: Dense 512 with heads of 512; recurrent: Dense 128, a
gated recurrent unit of 128, heads of 128, replayed through whole rollouts. JaxMARL's package holds the game and no
learner, so `benchmarks.peer` trains on it by the algorithm of JaxMARL's published baselines; `--baselines DIR` measures
the scripts of a JaxMARL checkout instead.

Memory is measured as well: what a learner carries for each game from update to update (the state of the game, hidden
states, episode statistics, JaxMARL's also the observations), what it stores for one step of a game until it has used
it, and the working memory of an update.
"""

from pathlib import Path
from typing import Any

import jax

from benchmarks import peer
from benchmarks.measure import nbytes, race
from games.game import Game
from games.hanabi import Hanabi
from marl.learners import rollout
from marl.learners.ippo import IPPO, Hyperparameters
from marl.policies.feed_forward import FeedForward
from marl.policies.recurrent import Recurrent

GAMES = 1024
LENGTH = 128
EPOCHS, MINIBATCHES = 4, 4


def make_learner(
    network: str, batch: str, observer: str, *, games: int, length: int, precision: str = "float32", game: Game
) -> IPPO:
    """IPPO with JaxMARL's "feed-forward" or "recurrent" network."""
    size, actions = game.observer(observer).size, game.num_actions
    policy: Any
    if network == "recurrent":
        policy = Recurrent(size, actions, (128,), 128, (128,), (128,), precision=precision)  # type: ignore[arg-type]
    else:
        policy = FeedForward(size, actions, (512,), (512,), (512,), precision=precision)  # type: ignore[arg-type]
    return IPPO(
        game=game,
        policy=policy,
        observer=observer,
        num_games=games,
        rollout_length=length,
        epochs=EPOCHS,
        minibatches=MINIBATCHES,
        total_updates=1,
        batch=batch,  # type: ignore[arg-type]
    )


def main(*, games: int = GAMES, repeats: int = 2, baselines: Path | None = None) -> list[str]:
    """Lines of the report."""
    lines = [f"{games} games x {LENGTH} steps an update"]
    for network in peer.NETWORKS:
        lines += ["", f"### {network}", "", *_table(network, games, repeats, baselines)]
    return lines


def _table(network: str, games: int, repeats: int, baselines: Path | None) -> list[str]:
    notes = []
    base, program, stored = _peer(network, games)
    if baselines is not None:
        theirs = peer.script(network, baselines, games, LENGTH)
        try:
            jax.eval_shape(theirs[0], *theirs[1])
            base, program = "JaxMARL's script", theirs
        except Exception as error:  # whatever is wrong with that checkout, `benchmarks.peer` can be measured instead
            reason = str(error).splitlines()[0]
            notes = ["", f"{peer.SCRIPTS[network]}.py of this checkout does not run: {type(error).__name__}: {reason}"]
    programs, memory = {base: program}, {base: stored}
    for batch in ("all", "acting"):
        for observer in ("belief", "hle"):
            learner = make_learner(network, batch, observer, games=games, length=LENGTH, game=Hanabi())
            state = jax.jit(lambda key, learner=learner: learner.init(Hyperparameters(), key=key))(jax.random.key(0))
            name = f"Tacit `{batch}`, {observer}"
            programs[name] = (learner.update, (state,))
            memory[name] = nbytes(state.playing) / games, stored_bytes(learner, state)
    times = race(programs, repeats=repeats)
    lines = [
        "| program | steps/s, best (median) | × JaxMARL | compile s | carried, bytes a game | stored, bytes a step | "
        "update, MB |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, timing in times.items():
        carried, step = memory[name]
        working = "" if timing.working_bytes is None else f"{timing.working_bytes / 1e6:,.0f}"
        lines.append(
            f"| {name} | {timing.rate(games * LENGTH)} | {times[base].best / timing.best:.2f} | "
            f"{timing.compile_seconds:.1f} | {carried:,.0f} | {step:,.0f} | {working} |"
        )
    return lines + notes


def _peer(network: str, games: int) -> tuple[str, Any, tuple[float, float]]:
    """Name, program, and the bytes carried for each game and stored of each step."""
    learner = peer.Peer(network, games, LENGTH)
    state = jax.jit(learner.init)(jax.random.PRNGKey(0))
    record = jax.eval_shape(learner.rollout, state.params, state.playing, state.key)[1]
    bytes_ = nbytes(state.playing) / games, nbytes(record) / (games * LENGTH)
    return "JaxMARL's algorithm", (learner.update, (state,)), bytes_


def stored_bytes(learner: IPPO, state: Any) -> float:
    """Bytes that a rollout stores of one step of a game, all players' together."""

    def record(state: Any) -> Any:
        return rollout.rollout(
            learner.game,
            learner.policy,
            state.params,
            state.playing,
            observer=learner.observer,
            batch=learner.batch,
            share_parameters=learner.share_parameters,
            length=learner.rollout_length,
            sequence=learner.sequence,
            key=state.key,
        )[1]

    return nbytes(jax.eval_shape(record, state)) / learner.steps_per_update
