"""What an agent's conventions look like: how an action changes what the next player does.

An agent's **convention matrix** holds P(action of the next player at step t + 1 | action of a player at step t), over
the games that it plays with itself, from the counts of such pairs. Actions are named from the seat of who takes them
(`Game.action_name`); the no-op is left out. Seeds that answer actions alike have close matrices, and the distances can
be compared with how well the seeds play with each other.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy import stats

from games.errors import TacitError
from games.game import Game
from games.relabelled import some_symmetries
from marl.agent import Agent
from marl.crossplay import self_play_seatings
from marl.crossplay.estimators import LEVEL, SEEDS_FOR_INTERVAL
from marl.crossplay.evaluate import visit_cells
from marl.crossplay.match import Match, Step
from marl.policies.policy import Array

PERMUTATIONS = 9_999
RESAMPLES = 2_000


def convention_counts(
    game: Game, agents: Sequence[Agent], *, games: int, greedy: bool, key: Array, max_lanes: int = 4096
) -> np.ndarray:
    """How often each action followed each other one in self-play: int64[agents, A, A], A without the no-op.

    Entry [n, a, b]: agent n took action a and the next player answered with b. Arguments as in `crossplay`.

    Raises:
      TacitError: for a game in which several players act at once; else as `visit_cells`.
    """
    check_turns(game)
    total = np.zeros((len(agents), game.num_actions, game.num_actions), np.int64)
    seating = self_play_seatings(len(agents), game.num_players)
    for some in visit_cells(game, agents, seating, _Pairs(), games=games, greedy=greedy, key=key, max_lanes=max_lanes):
        total[some.cells] += some.results.sum(axis=1, dtype=np.int64)
    return total[:, : game.noop, : game.noop]


def check_turns(game: Game) -> None:
    """Refuse a game in which actions are simultaneous, so that none answers another.

    Raises:
      TacitError: if several players can act at one step.
    """
    if game.max_acting > 1:
        raise TacitError(f"in game {game.name} several players act at once, so that no action answers another")


def responses(counts: np.ndarray) -> np.ndarray:
    """The convention matrices P(b | a), float64[..., A, A], of counts [..., A, A]; nan in rows never visited."""
    visits = counts.sum(axis=-1, keepdims=True)
    return np.divide(counts, visits, out=np.full(counts.shape, np.nan), where=visits > 0)


def distances(counts: np.ndarray) -> np.ndarray:
    """How far the convention matrices of any two agents are apart: float64[N, N], 0 to 1, of counts [N, A, A].

        d(i, j) = Σ_a ½ (w_i(a) + w_j(a)) · TV(P_i(·|a), P_j(·|a)),    w_i(a) = share of i's pairs that begin with a

    A row is weighted by how often the two agents use the action, on average. Where only one of them ever takes it, the
    other has no answer to compare, and the row's distance is 1, the greatest. Rows that neither visits have weight 0.
    Sampling alone makes d positive: compare with the distance between two samples of one agent.

    Raises:
      TacitError: for an agent without any pair of actions.
    """
    visits = counts.sum(axis=-1)  # [N, A]
    if (visits.sum(axis=-1) == 0).any():
        raise TacitError("an agent's games hold no two actions in a row, so that it has no convention matrix")
    shares = visits / visits.sum(axis=-1, keepdims=True)
    answers = responses(counts)
    apart = np.zeros((len(counts), len(counts)))
    for i in range(len(counts)):
        row_distance = np.abs(answers - answers[i][None]).sum(axis=-1) / 2  # [N, A]
        row_distance[np.isnan(row_distance)] = 1.0
        apart[i] = ((shares + shares[i][None]) / 2 * row_distance).sum(axis=-1)
    return apart


# ------------------------------------------------------------------------------------------------ up to relabellings


def action_orbits(game: Game) -> np.ndarray:
    """Which actions symmetries take to each other: int[A], numbered in the order of their first members.

    In Hanabi: the color hints to one player are one orbit, every other action is alone. From random symmetries, so
    an orbit that is very rarely moved could come out in parts.
    """
    images = some_symmetries(game).actions.reshape(-1, game.num_actions)[:, : game.noop]
    orbit = np.arange(game.noop)
    for _ in range(game.noop):  # propagate the least label through each orbit
        least = orbit.copy()
        for image in images:
            np.minimum.at(least, image, orbit)
            least = np.minimum(least, orbit[image])
        if (least == orbit).all():
            break
        orbit = least
    return np.unique(orbit, return_inverse=True)[1]


def merged(counts: np.ndarray, orbits: np.ndarray) -> np.ndarray:
    """Counts [..., A, A] with the actions of an orbit as one: [..., orbits, orbits]."""
    member = (orbits[:, None] == np.arange(orbits.max() + 1)[None]).astype(counts.dtype)
    return member.T @ counts @ member


# ------------------------------------------------------------------------------------------- do distances predict XP?


class Correlation(NamedTuple):
    """Spearman's correlation over pairs of seeds; None, and `note` says why, if not estimable."""

    rho: float | None
    p: float | None = None  # two-sided, Mantel's test
    low: float | None = None  # of the interval over seeds
    high: float | None = None
    note: str = ""

    def __str__(self) -> str:
        if self.rho is None:
            return f"not estimable ({self.note})"
        interval = "" if self.low is None or self.high is None else f" [{self.low:z.2f}, {self.high:z.2f}]"
        p = "" if self.p is None else f", p = {self.p:.2g}"
        return f"{self.rho:z.2f}{interval}{p}{f' ({self.note})' if self.note else ''}"


def correlation(
    apart: np.ndarray,
    scores: np.ndarray,
    *,
    permutations: int = PERMUTATIONS,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    rng: int = 0,
) -> Correlation:
    """Spearman's correlation between the distances of seeds and their cross-play scores.

    Over unordered pairs of different seeds; a pair scores the mean of its two entries. Pairs that share a seed are
    dependent, so neither error counts pairs. p: Mantel's permutation test (Cancer Research 27, 1967), which renumbers
    the seeds of one matrix, all renumberings if they are at most `permutations`. Interval: seeds are drawn with
    replacement, pairs of copies of one seed left out, and the percentiles taken; from 6 seeds. It is wide: with normal
    points in the plane, their distances d and scores −s·d + noise, the 95 % interval covered the truth in 100, 99.5 and
    100 % of draws (s = 0, truth −.01) and in 100, 100 and 98 % (s = 1, truth −.49) with 6, 8 and 12 seeds; at .05 the
    test rejected in 4.5, 2.5 and 5.5 % (s = 0) and in 35, 59 and 92 % (s = 1), of 200 draws each.

    Args:
      apart: float[N, N], symmetric.
      scores: float[N, N]; the diagonals of both are not used.

    Raises:
      TacitError: if the matrices are not square and of one size, or an entry off the diagonal is not finite.
    """
    apart, scores = np.asarray(apart, np.float64), np.asarray(scores, np.float64)
    count = len(apart)
    if apart.shape != (count, count) or scores.shape != apart.shape:
        raise TacitError(f"distances {apart.shape} and scores {scores.shape}: expected two square matrices of one size")
    first, second = np.triu_indices(count, 1)
    scores = (scores + scores.T) / 2
    if not (np.isfinite(apart[first, second]).all() and np.isfinite(scores[first, second]).all()):
        raise TacitError("a distance or score of two different seeds is not a finite number")
    if count < 4:
        return Correlation(None, note=f"a correlation over pairs needs 4 seeds, there are {count}")
    if np.ptp(apart[first, second]) == 0 or np.ptp(scores[first, second]) == 0:
        return Correlation(None, note="all pairs of seeds are equally far apart or score the same")

    def renumbered(order: np.ndarray) -> float:
        order = order.astype(np.int64)
        return _spearman(apart[order[first], order[second]], scores[first, second])

    tested = stats.permutation_test(
        (np.arange(count),), renumbered, permutation_type="pairings", n_resamples=permutations,
        rng=np.random.default_rng(rng),
    )  # fmt: skip
    found = Correlation(float(tested.statistic), float(tested.pvalue))
    if count < SEEDS_FOR_INTERVAL:
        return found._replace(note=f"an interval needs {SEEDS_FOR_INTERVAL} seeds, there are {count}")
    generator = np.random.default_rng(rng)
    resampled = []
    for drawn in generator.integers(count, size=(resamples, count)):
        one, other = drawn[first], drawn[second]
        pairs = one != other
        resampled.append(_spearman(apart[one[pairs], other[pairs]], scores[one[pairs], other[pairs]]))
    low, high = np.nanquantile(resampled, ((1 - level) / 2, (1 + level) / 2))
    return found._replace(low=float(low), high=float(high))


def _spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's correlation; nan where x or y is constant."""
    if len(x) < 2:
        return np.nan
    x, y = stats.rankdata(x), stats.rankdata(y)
    x, y = x - x.mean(), y - y.mean()
    scale = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / scale) if scale > 0 else np.nan


@dataclasses.dataclass(frozen=True)
class _Pairs:
    """The visitor that counts pairs of actions at consecutive steps."""

    def start(self, match: Match, *, key: Array) -> tuple[Array, Array]:
        del key
        return jnp.zeros((match.game.num_actions, match.game.num_actions), jnp.int32), jnp.int32(-1)

    def visit(
        self,
        match: Match,
        seated: tuple[Any, ...],
        tally: tuple[Array, Array],
        step: Step,
        *,
        turn: int | None,
        greedy: Array,
    ) -> tuple[Array, Array]:
        del match, seated, turn, greedy
        counts, before = tally
        action = jnp.max(jnp.where(step.acting, step.actions, -1))  # -1: nobody acts
        pair = (before >= 0) & (action >= 0)
        counts = counts.at[jnp.maximum(before, 0), jnp.maximum(action, 0)].add(pair.astype(jnp.int32))
        return counts, action

    def result(self, match: Match, tally: tuple[Array, Array], state: Any) -> Array:
        del match, state
        return tally[0]
