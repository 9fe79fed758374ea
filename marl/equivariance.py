"""What a relabelling of the game changes: the equivariance defect of an agent, and its Other-Play return.

A policy is **equivariant** under a symmetry g of the game if it acts in the relabelled history as it acts in the
original one, relabelled: π(g·a | g·h) = π(a | h). The **defect** of an agent is how far it is from that,

    E over games of self-play, over the steps of a game at which somebody acts, and over g:  TV(g⁻¹π(·|g·h), π(·|h)),

total variation TV(p, q) = ½ Σ_a |p(a) − q(a)|, 0 to 1, with h the acting player's action-observation history and g
uniform over the whole group of `Game.sample_symmetry`, the identity included (with two colors half of the draws are
the identity, so that a defect is at most 0.5). It needs no second seed: if every seed has defect 0 under a symmetry,
that symmetry cannot make their conventions differ.

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
from marl.agent import Agent
from marl.crossplay import CrossPlay, crossplay, self_play_seatings
from marl.crossplay.evaluate import visit_cells
from marl.crossplay.greedify import as_played
from marl.crossplay.match import Match, Step
from marl.policies.policy import Array


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

    For each drawn g a second memory follows the game relabelled by g, so that recurrent policies are compared on whole
    histories. Where g permutes players, the parameters are those of the image's seat.

    Args:
      game: the game, with `sample_symmetry`.
      agents: of any kinds.
      games: games of each agent.
      greedy: both play and compare the greedified policy instead of the policy itself.
      key: decides decks, draws and symmetries.
      symmetries: how many are drawn for each game.
      max_lanes: games in one compiled call.

    Raises:
      TacitError: as `check_symmetric` and `visit_cells`.
    """
    check_symmetric(game)
    games, visitor = whole_number("games", games, 1), _Defects(whole_number("symmetries", symmetries, 1))
    seating = self_play_seatings(len(agents), game.num_players)
    means, largest = np.zeros((2, len(agents), games))
    for some in visit_cells(game, agents, seating, visitor, games=games, greedy=greedy, key=key, max_lanes=max_lanes):
        total, compared, greatest = some.results
        means[some.cells, some.games] = total.astype(np.float64) / np.maximum(compared, 1)
        largest[some.cells, some.games] = greatest
    return [_summary(*of_games) for of_games in zip(means, largest, strict=True)]


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
    seating = self_play_seatings(len(agents), game.num_players)
    settings: dict[str, Any] = {
        "games": games, "greedy": greedy, "key": key, "seating": seating, "max_lanes": max_lanes
    }  # fmt: skip
    return crossplay(game, agents, **settings), crossplay(Relabelled(game), agents, **settings)


class _Tally(NamedTuple):
    symmetries: Symmetry  # [S, ...]
    memories: tuple[Any, ...]  # for each seat the memory after the image of its history, [S, ...]
    total: Array  # float32[] sum of the total variations
    compared: Array  # int32[] how many
    largest: Array  # float32[]


@dataclasses.dataclass(frozen=True)
class _Defects:
    """The visitor that follows each game of an agent with itself through several symmetries."""

    symmetries: int

    def start(self, match: Match, *, key: Array) -> _Tally:
        keys = jax.random.split(key, self.symmetries)
        return _Tally(
            symmetries=jax.vmap(lambda key: match.game.sample_symmetry(key=key))(keys),
            memories=tuple(
                jax.tree.map(
                    lambda leaf: jnp.broadcast_to(leaf, (self.symmetries, *leaf.shape)), kind.policy.initial_memory()
                )
                for kind in match.kinds
            ),
            total=jnp.float32(0),
            compared=jnp.int32(0),
            largest=jnp.float32(0),
        )

    def visit(
        self, match: Match, seated: tuple[Any, ...], tally: _Tally, step: Step, *, turn: int | None, greedy: Array
    ) -> _Tally:
        memories = list(tally.memories)
        for seat in match.evaluated_seats(turn):
            after, distance = self._compare(match, seated, seat, memories[seat], tally.symmetries, step, greedy)
            acts = step.acting[seat]
            if match.kinds[seat].policy.memory_clock == "own_turns":
                after = jax.tree.map(lambda new, old, acts=acts: jnp.where(acts, new, old), after, memories[seat])
            memories[seat] = after
            distance = jnp.where(acts, distance, 0.0)
            tally = tally._replace(
                total=tally.total + jnp.sum(distance),
                compared=tally.compared + self.symmetries * acts,
                largest=jnp.maximum(tally.largest, jnp.max(distance)),
            )
        return tally._replace(memories=tuple(memories))

    def _compare(
        self,
        match: Match,
        seated: tuple[Any, ...],
        seat: int,
        memories: Any,
        symmetries: Symmetry,
        step: Step,
        greedy: Array,
    ) -> tuple[Any, Array]:
        """The memories of a seat's images afterwards, and the total variation from the seat's policy, float32[S]."""
        game, kind, player = match.game, match.kinds[seat], jnp.int32(seat)
        observer = game.observer(kind.observer)
        observation, legal = observer.encode(step.state, player), game.legal(step.state, player)
        acted = jnp.exp(as_played(kind, step.log_probs[seat], greedy=greedy))

        def through(symmetry: Symmetry, memory: Any) -> tuple[Any, Array]:
            after, image = kind.policy.apply(
                self._params(match, seated, symmetry.players[player]),
                memory,
                observer.symmetry(symmetry, observation),
                symmetry.on_legal(player, legal),
            )
            image = as_played(kind, image, greedy=greedy)
            pulled_back = image[symmetry.actions[player]]
            return after, jnp.sum(jnp.abs(jnp.exp(pulled_back) - acted)) / 2

        return jax.vmap(through)(symmetries, memories)

    def _params(self, match: Match, seated: tuple[Any, ...], player: Array) -> Any:
        """The parameters, in the seat `player` int32[], of the one agent that sits in all seats."""
        if match.kinds[0].share_parameters:
            return seated[0]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves)[player], *seated)

    def result(self, match: Match, tally: _Tally, state: Any) -> tuple[Array, Array, Array]:
        del match, state
        return tally.total, tally.compared, tally.largest


def _summary(means: np.ndarray, largest: np.ndarray) -> Defect:
    """The defect of one agent, from the mean and the largest distance in each of its games [G]."""
    games = len(means)
    error = means.std(ddof=1) / np.sqrt(games) if games > 1 else np.nan
    return Defect(float(means.mean()), float(error), float(largest.max()))
