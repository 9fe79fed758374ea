"""What a relabelling of the game changes: the equivariance defect of an agent, and its Other-Play return.

A policy is **equivariant** under a symmetry g of the game if it acts in the relabelled history as it acts in the
original one, relabelled: π(g·a | g·h) = π(a | h). The **defect** of an agent is how far it is from that,

    E over games of self-play, over the steps of a game at which somebody acts, and over g:  TV(g⁻¹π(·|g·h), π(·|h)),

total variation TV(p, q) = ½ Σ_a |p(a) − q(a)|, 0 to 1, with h the acting player's action-observation history and g
uniform over the whole group of `Game.sample_symmetry`, the identity included (with two colors half of the draws are
it, so that 0.5 is the most). It needs no second seed: if every seed has defect 0 under a symmetry, that symmetry cannot
part their conventions.

The **Other-Play return** (Hu et al. 2020) is what an agent scores with itself when every player sees and acts through
a random symmetry of its own. It equals the self-play return if the agent is equivariant; the converse does not hold.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from games.errors import whole_number
from games.game import Game, Symmetry
from games.relabelled import Relabelled, check_symmetric
from marl.agent import Agent, Kind
from marl.crossplay import CrossPlay, crossplay
from marl.crossplay.greedify import as_played
from marl.learners.rollout import memories_of, params_of, with_memories
from marl.policies.policy import Array
from marl.self_play import Step, visit_games


class Defect(NamedTuple):
    """The equivariance defect of one agent, in total variation."""

    mean: float
    standard_error: float  # of the mean, over games; nan with fewer than two
    largest: float  # at any visited history, under any symmetry that was tried there


def measure_defect(
    game: Game,
    agents: Sequence[Agent],
    *,
    games: int,
    greedy: bool,
    key: Array,
    symmetries: int = 4,
    max_lanes: int = 4096,
) -> list[Defect]:
    """The equivariance defect of each agent on the histories that it visits in self-play.

    For each drawn g a second memory follows the game as it looks through g, so that recurrent policies are compared
    on whole histories. Where symmetries permute players, the seat of the image answers for the player.

    Args:
      game: the game, whose `sample_symmetry` is meant.
      agents: of any kinds.
      games: games of each agent.
      greedy: both play and compare the greedified policy instead of the policy itself.
      key: decides decks, draws and symmetries.
      symmetries: how many are drawn for each game.
      max_lanes: games in one compiled call.

    Raises:
      TacitError: as `check_symmetric` and `visit_games`.
    """
    check_symmetric(game)
    visitor = _Defects(whole_number("symmetries", symmetries, 1))
    found: list[list[np.ndarray]] = [[] for _ in agents]
    for members, (total, compared, largest) in visit_games(
        game, agents, visitor, games=games, greedy=greedy, key=key, max_lanes=max_lanes
    ):
        mean = total.astype(np.float64) / np.maximum(compared, 1)
        for row, member in enumerate(members):
            found[member].append(np.stack([mean[row], largest[row]]))
    return [_summary(*np.concatenate(chunks, axis=1)) for chunks in found]


def other_play_return(
    game: Game, agents: Sequence[Agent], *, games: int, greedy: bool, key: Array, max_lanes: int = 8192
) -> tuple[CrossPlay, CrossPlay]:
    """Self-play of each agent, and the same with every player relabelled at random: one cell an agent, in their order.

    Both play the same decks with the same draws: games in which everybody draws the identity are the same. Arguments as
    in `crossplay`.

    Raises:
      TacitError: as `check_symmetric` and `crossplay`.
    """
    check_symmetric(game)
    seating = np.repeat(np.arange(len(agents), dtype=np.int32)[:, None], game.num_players, axis=1)
    settings: dict[str, Any] = {
        "games": games, "greedy": greedy, "key": key, "seating": seating, "max_lanes": max_lanes
    }  # fmt: skip
    return crossplay(game, agents, **settings), crossplay(Relabelled(game), agents, **settings)


class _Tally(NamedTuple):
    symmetries: Symmetry  # [S, ...]
    memories: Any  # [S, P, ...] of player p's image, who has seen the image of p's history
    total: Array  # float32[] sum of the total variations
    compared: Array  # int32[] how many
    largest: Array  # float32[]


@dataclasses.dataclass(frozen=True)
class _Defects:
    """The visitor that follows each game through several symmetries."""

    symmetries: int

    def start(self, game: Game, kind: Kind, *, key: Array) -> _Tally:
        keys = jax.random.split(key, self.symmetries)
        return _Tally(
            symmetries=jax.vmap(lambda key: game.sample_symmetry(key=key))(keys),
            memories=jax.tree.map(
                lambda leaf: jnp.broadcast_to(leaf, (self.symmetries, game.num_players, *leaf.shape)),
                kind.policy.initial_memory(),
            ),
            total=jnp.float32(0),
            compared=jnp.int32(0),
            largest=jnp.float32(0),
        )

    def visit(self, game: Game, kind: Kind, params: Any, tally: _Tally, step: Step) -> _Tally:
        observer = game.observer(kind.observer)

        def through(symmetry: Symmetry, memories: Any) -> tuple[Any, Array]:
            def look(
                player: Array, memory: Any, observation: Array, legal: Array, log_probs: Array
            ) -> tuple[Any, Array]:
                after, image = kind.policy.apply(
                    params_of(params, symmetry.players[player], kind.share_parameters),
                    memory,
                    observer.symmetry(symmetry, observation),
                    symmetry.on_legal(player, legal),
                )
                image = as_played(kind, image, greedy=step.greedy)
                pulled_back = image[symmetry.actions[player]]
                return after, jnp.sum(jnp.abs(jnp.exp(pulled_back) - jnp.exp(log_probs))) / 2

            before = memories_of(memories, step.player)
            after, distance = jax.vmap(look)(step.player, before, step.observation, step.legal, step.log_probs)
            return with_memories(memories, step.player, step.moves, after), jnp.where(step.acts, distance, 0.0)

        memories, distances = jax.vmap(through)(tally.symmetries, tally.memories)
        return tally._replace(
            memories=memories,
            total=tally.total + jnp.sum(distances),
            compared=tally.compared + self.symmetries * jnp.sum(step.acts, dtype=jnp.int32),
            largest=jnp.maximum(tally.largest, jnp.max(distances)),
        )

    def result(self, tally: _Tally) -> tuple[Array, Array, Array]:
        return tally.total, tally.compared, tally.largest


def _summary(means: np.ndarray, largest: np.ndarray) -> Defect:
    """Of one agent's games [G]."""
    games = len(means)
    error = means.std(ddof=1) / np.sqrt(games) if games > 1 else np.nan
    return Defect(float(means.mean()), float(error), float(largest.max()))
