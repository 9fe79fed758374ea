"""Adaptive partner modelling in a repeated matrix game: infer the partner's reasoning depth, and go one deeper.

The one method here that adapts within an episode, after the idea of an adaptive theory of mind: two agents whose orders
of reasoning do not fit fail to coordinate, so an agent estimates its partner's order and takes the one above. Here it
is done exactly, with the levels of cognitive-hierarchy research (Camerer, Ho and Chong 2004) and Bayes' rule. No
symmetries are used.

Two players choose at the same time, T times over, and both receive payoffs[a, b]. A player of level 0 draws its action
from a given distribution (uniform by default); one of level k plays the best response to the other player's level
k - 1, equally good actions being equally probable. Levels do not change and look at nothing that has been played. The
adaptive row player has a prior over its partner's level 0 ... K, multiplies it after every round with the probability
that each level gave to the action it saw, and best-responds to the mean of the levels under this posterior. With all
the mass on level l that is level l + 1. What it plays does not change what it learns, so that this is also the best
that anybody with this prior can do over the whole game.

Returns are exact: the posterior depends on how often each *kind* of partner action was seen (actions to which all
levels give the same probabilities are of one kind), and the counts are multinomial.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from games.errors import TacitError, whole_number
from marl.exact.reasoning import TIE

MOST_COUNTS = 20_000
"""The most different counts of the rounds before the last one that are enumerated."""


class AdaptiveTable(NamedTuple):
    """Expected returns over all rounds of the row player's agents against column players of levels 0 to K.

    `agents` names the rows: "level 0" to "level K + 1", then "adaptive". `regrets` is `best - returns`, with `best` the
    return of an agent that knows the partner's level from the start. `beliefs[t, k]` are the probabilities that the
    adaptive agent gives to each level after t rounds with a partner of level k, on average over what it has seen.
    """

    agents: tuple[str, ...]
    returns: np.ndarray  # float64[K + 3, K + 1]
    regrets: np.ndarray  # float64[K + 3, K + 1], at least 0
    best: np.ndarray  # float64[K + 1]
    beliefs: np.ndarray  # float64[T, K + 1, K + 1]


def adaptive_table(
    payoffs: np.ndarray,
    rounds: int,
    levels: int,
    *,
    prior: Sequence[float] | None = None,
    level_zero: tuple[Sequence[float], Sequence[float]] | None = None,
) -> AdaptiveTable:
    """What the adaptive agent and agents of fixed depth earn with partners of each level, without sampling.

    Args:
      payoffs: float64[A, B], what both receive for the row player's and the column player's action.
      rounds: T.
      levels: K, the partner's highest level.
      prior: the adaptive agent's probabilities of levels 0 to K, none of them 0; uniform by default.
      level_zero: the distributions of level 0 as row and as column player; uniform by default.

    Raises:
      TacitError: for a payoff matrix, number or distribution that is not one; if the counts are more than
        `MOST_COUNTS`.
    """
    rounds, levels = whole_number("rounds", rounds, 1), whole_number("levels", levels, 0)
    rows, columns = reasoning_levels(payoffs, levels + 1, level_zero=level_zero)
    columns = columns[: levels + 1]
    belief = np.full(levels + 1, 1 / (levels + 1)) if prior is None else _distribution("prior", prior, levels + 1)
    if not belief.all():
        raise TacitError(f"prior must give every level from 0 to {levels} a probability above 0")
    kinds = len(_kinds(columns)[0])
    if (size := math.comb(rounds + kinds - 2, kinds - 1)) > MOST_COUNTS:
        raise TacitError(
            f"{rounds} rounds with {kinds} kinds of actions have {size:,} different counts, more than {MOST_COUNTS:,}"
        )
    table = np.asarray(payoffs, np.float64)
    worth = table @ columns.T  # [A, K + 1], of each action against each level
    fixed = rounds * (rows @ worth)
    earned, beliefs = zip(*(_one_round(table, columns, belief, seen, worth) for seen in range(rounds)), strict=True)
    returns = np.vstack([fixed, np.sum(earned, 0)])
    best = rounds * worth.max(0)
    names = (*(f"level {level}" for level in range(levels + 2)), "adaptive")
    return AdaptiveTable(names, returns, np.maximum(best - returns, 0.0), best, np.stack(beliefs))


def reasoning_levels(
    payoffs: np.ndarray, levels: int, *, level_zero: tuple[Sequence[float], Sequence[float]] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """What levels 0 to `levels` play: float64[levels + 1, A] as row player and float64[levels + 1, B] as column player.

    Args:
      payoffs, level_zero: as in `adaptive_table`.
      levels: the highest level.

    Raises:
      TacitError: for a payoff matrix, number or distribution that is not one.
    """
    table = np.asarray(payoffs, np.float64)
    if table.ndim != 2 or not table.size or not np.isfinite(table).all():
        raise TacitError(f"payoffs must be a matrix of finite numbers, not an array of shape {table.shape}")
    levels = whole_number("levels", levels, 0)
    if level_zero is None:
        rows, columns = [np.full(size, 1 / size) for size in table.shape]
    else:
        rows, columns = [
            _distribution("level_zero", own, size) for own, size in zip(level_zero, table.shape, strict=True)
        ]
    played = [(rows, columns)]
    for _ in range(levels):
        rows, columns = played[-1]
        played.append((_best(table @ columns, table), _best(rows @ table, table)))
    return np.stack([rows for rows, _ in played]), np.stack([columns for _, columns in played])


def _one_round(
    table: np.ndarray, columns: np.ndarray, prior: np.ndarray, seen: int, worth: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The adaptive agent in the round after `seen` rounds, with partners of each level, as means over what it has seen.

    Returns:
      float64[K + 1], what it earns; float64[K + 1, K + 1], its belief in each level (column).
    """
    kinds, sizes = _kinds(columns)
    earned, believed = np.zeros(len(prior)), np.zeros((len(prior), len(prior)))
    for counts in _counts(seen, len(kinds)):
        ways = math.lgamma(seen + 1) - sum(math.lgamma(count + 1) for count in counts.tolist())
        logs = ways + special.xlogy(counts[:, None], kinds * sizes[:, None]).sum(0)  # log P(counts | level)
        if np.isneginf(logs).all():
            continue
        posterior = prior * np.exp(logs - logs.max())
        posterior /= posterior.sum()
        chance = np.exp(logs)
        earned += chance * (_best(table @ (posterior @ columns), table) @ worth)
        believed += np.outer(chance, posterior)
    return earned, believed


def _kinds(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(float64[C, K + 1] the probabilities of one action of each kind at each level, int64[C] how many there are)."""
    return np.unique(columns.T, axis=0, return_counts=True)


def _counts(total: int, kinds: int) -> Iterator[np.ndarray]:
    """All int64[kinds] of whole numbers from 0 that sum to `total`."""
    for bars in itertools.combinations(range(total + kinds - 1), kinds - 1):
        yield np.diff([-1, *bars, total + kinds - 1]) - 1


def _best(values: np.ndarray, table: np.ndarray) -> np.ndarray:
    """The uniform distribution over the best actions."""
    best = values >= values.max() - TIE * np.abs(table).max()
    return best / best.sum()


def _distribution(name: str, values: Sequence[float], size: int) -> np.ndarray:
    result = np.asarray(values, np.float64)
    if result.shape != (size,) or not (result >= 0).all() or not math.isclose(result.sum(), 1, rel_tol=1e-9):
        raise TacitError(f"{name} must be {size} probabilities that sum to 1, not {list(values)}")
    return result
