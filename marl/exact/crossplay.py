"""Exact self-play and cross-play of joint policies of a tabular game."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from games.errors import TacitError
from games.tabular.histories import Tree
from marl.crossplay.greedify import greedify
from marl.exact.objective import (
    JointPolicy,
    Tables,
    cross_returns,
    double_precision,
    expected_return,
    in_batches,
    tables,
)

GREEDY_TIES = 1e-8
"""Exact log-probabilities this close count as tied. This is far above the rounding of a converged point, and in no game
here do action values differ by less than 1e-8 α."""


@double_precision
def self_play(tree: Tree, log_probs: tuple[np.ndarray, ...]) -> np.ndarray:
    """The expected return Σ_t γ^t r_t of each joint policy: float64[B].

    Args:
      tree: the game's histories.
      log_probs: for each agent float64[B, H, A].
    """
    count = len(log_probs[0])
    return play(tree, log_probs, np.repeat(np.arange(count)[:, None], len(log_probs), axis=1))


@double_precision
def cross_play(tree: Tree, log_probs: tuple[np.ndarray, ...]) -> np.ndarray:
    """The expected return with agent 0 of joint policy i and agent 1 of joint policy j: float64[B, B].

    Raises:
      TacitError: for a game of one agent or more than two: `play` takes their seatings.

    Two joint policies that meet on a lever of their own, each with probability 0.9 for either agent:

    >>> from games.tabular import histories
    >>> from games.tabular.dec_pomdp import matrix_game
    >>> levers = matrix_game(np.eye(2), ["ann", "bob"], [["left", "right"]] * 2)
    >>> own = np.log([[[0.9, 0.1]], [[0.1, 0.9]]])
    >>> cross_play(histories.build(levers, 1), (own, own)).round(2)
    array([[0.82, 0.18],
           [0.18, 0.82]])
    """
    if len(log_probs) != 2:
        raise TacitError(f"a cross-play matrix is for two agents; with {len(log_probs)} the seatings have to be named")
    count = len(log_probs[0])
    rows = np.minimum(np.arange(max(16, 1 << (count - 1).bit_length())), count - 1)  # few sizes, so that few compile
    padded = tuple(jnp.asarray(own[rows]) for own in log_probs)
    return np.asarray(_cross_returns(tables(tree), padded))[:count, :count]


@double_precision
def play(tree: Tree, log_probs: tuple[np.ndarray, ...], seatings: np.ndarray) -> np.ndarray:
    """The expected return of each seating: float64[C].

    Args:
      tree: the game's histories.
      log_probs: for each agent float64[B, H, A].
      seatings: int[C, n], the joint policy from which each agent takes its part, for example `marl.crossplay.seatings`.
    """
    chosen = tuple(own[np.asarray(seatings)[:, agent]] for agent, own in enumerate(log_probs))
    return in_batches(_returns, tables(tree), chosen)


@double_precision
def greedy(log_probs: tuple[np.ndarray, ...], tolerance: float = GREEDY_TIES) -> tuple[np.ndarray, ...]:
    """The best actions of every history, ties split evenly, as log-probabilities: for each agent float64[..., H, A]."""
    return tuple(np.asarray(greedify(jnp.asarray(own), tolerance)) for own in log_probs)


@jax.jit
@functools.partial(jax.vmap, in_axes=(None, 0))
def _returns(table: Tables, log_probs: JointPolicy) -> jax.Array:
    return expected_return(table, log_probs)


_cross_returns = jax.jit(cross_returns)
