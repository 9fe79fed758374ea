"""Who meets whom in cross-play, and what every meeting scored; plain arrays, without jax."""

import itertools
import math
from typing import Literal, NamedTuple

import numpy as np

from games.errors import TacitError

Seating = Literal["all", "distinct", "one_against_copies"]


class CrossPlay(NamedTuple):
    """What every cell scored; C cells, P seats."""

    labels: tuple[str, ...]  # of the agents
    seatings: np.ndarray  # int[C, P] index of the agent in each seat
    mean: np.ndarray  # float64[C] mean score
    standard_error: np.ndarray  # float64[C] of the mean, over games; nan with fewer than two games
    games: np.ndarray  # int[C]
    bombed: np.ndarray  # int[C] games that lost the whole score in a disaster
    length: np.ndarray  # float64[C] mean number of steps
    scores: np.ndarray | None = (
        None  # float32[C, G] of each game, column g the same deck; None where they were not kept
    )

    @property
    def cells(self) -> tuple[np.ndarray, np.ndarray]:
        """Seatings and scores as `marl.crossplay.estimators` takes them: of all games, or their means."""
        return self.seatings, self.mean if self.scores is None else self.scores

    def matrix(self) -> np.ndarray:
        """float64[N, N]: the mean over the seatings with agent i in seat 0 and agent j in another seat.

        With two players this is the one cell (i, j). The diagonal is self-play alone. nan without such a seating.
        """
        total, count = np.zeros((2, len(self.labels), len(self.labels)))
        for seats, mean in zip(self.seatings.tolist(), self.mean, strict=True):
            for other in set(seats) - {seats[0]} or {seats[0]}:
                total[seats[0], other] += mean
                count[seats[0], other] += 1
        return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def self_play_seatings(num_agents: int, num_players: int) -> np.ndarray:
    """int[N, num_players]: the seatings in which each of N agents plays with itself.

    Raises:
      TacitError: without an agent.
    """
    if num_agents < 1:
        raise TacitError("cross-play needs at least one agent, and there is none")
    return np.repeat(np.arange(num_agents, dtype=np.int32)[:, None], num_players, axis=1)


def seatings(num_agents: int, num_players: int, kind: Seating, *, max_seatings: int = 200, seed: int = 0) -> np.ndarray:
    """Which agents meet.

    Every kind has the N self-play seatings. Beyond these:

      all                 two players: all ordered pairs. More players: as `distinct`.
      distinct            a different agent in every seat: all orders of the disjoint groups (0 .. n-1), (n .. 2n-1), …,
                          then all other seatings, or `max_seatings` random ones where there are more.
      one_against_copies  agent i in one seat (each in turn) and copies of agent j in all others.

    Returns:
      int[C, num_players].

    Raises:
      TacitError: without an agent, or with fewer than players where each needs another; one alone plays with itself.
    """
    alone = self_play_seatings(num_agents, num_players)
    if num_agents == 1:
        return alone
    cells = list(map(tuple, alone.tolist()))
    if kind == "one_against_copies":
        for one, other in itertools.permutations(range(num_agents), 2):
            cells += [tuple(one if seat == s else other for s in range(num_players)) for seat in range(num_players)]
        # With two players both seats of (i, j) are a seat of (j, i).
        return np.array(list(dict.fromkeys(cells)), np.int32)
    if num_agents < num_players:
        raise TacitError(
            f"{num_players} different agents are needed to fill every seat, and there are {num_agents}; "
            "seating=one_against_copies needs two"
        )
    if num_players == 2 and kind == "all":
        return np.array(list(itertools.product(range(num_agents), repeat=2)), np.int32)
    groups = [range(first, first + num_players) for first in range(0, num_agents - num_players + 1, num_players)]
    grouped = [order for group in groups for order in itertools.permutations(group)]
    chosen = dict.fromkeys(grouped)
    if math.perm(num_agents, num_players) - len(grouped) <= max_seatings:
        chosen |= dict.fromkeys(itertools.permutations(range(num_agents), num_players))
    else:
        rng = np.random.default_rng(seed)
        while len(chosen) < len(grouped) + max_seatings:
            chosen[tuple(rng.permutation(num_agents)[:num_players].tolist())] = None
    return np.array(cells + list(chosen), np.int32)
