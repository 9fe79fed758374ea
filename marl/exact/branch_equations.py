"""The equations of a branch of soft stationary points, and the eigenvalues that say whether it is stable.

`marl.exact.branches`, which follows the branch, defines the equations, their unknowns and P.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse.linalg import LinearOperator, eigs

from games.errors import TacitError
from games.tabular.histories import Tree
from marl.exact.objective import Array, JointPolicy, Tables, log_policy, residuals, sweep, tables

MOST_UNKNOWNS = 2_000
"""The most unknowns, after tying, of a game whose branch is followed."""
MOST_DENSE = 500
"""With more free coordinates only the `KRYLOV` largest eigenvalues are computed, by Arnoldi iteration, and only their
crossings are seen."""
KRYLOV = 6
CONVERGED = 1e-9
"""Newton's method stops at a correction this small: convergence is quadratic."""
_ROUNDING = 1e-14
"""Equations with an error this small count as solved."""
_NEWTON_STEPS = 10
_BATCH = 256
"""Directions in which the equations are differentiated at a time."""


class NoPointError(Exception):
    """Newton's method does not converge, or to somewhere else than asked for."""


class Space(NamedTuple):
    """What the unknowns are: differences of values within histories, one for each orbit but the first of a history."""

    column: tuple[np.ndarray, ...]  # for each agent int32[H, A], the unknown; U for those that are 0
    entry: np.ndarray  # int32[U], the index of the unknown's value among all agents' values, concatenated
    base: np.ndarray  # int32[U], the index of the value that is subtracted from it, at the same history


class Solution(NamedTuple):
    """The solution of the equations in a plane across the direction of travel."""

    z: np.ndarray  # float64[U + 1], the unknowns and log α
    tangent: np.ndarray  # float64[U + 1], of length 1, in the direction of travel
    determinant: tuple[float, float]  # (sign, log) of the equations' and the plane's derivative


class Evaluation(NamedTuple):
    """What is recorded of one point."""

    log_probs: tuple[Any, ...]  # for each agent float64[H, A]
    residual: Any  # float64[], over all histories
    error: Any  # float64[U], of the equation


@dataclasses.dataclass(frozen=True, eq=False)
class Curve:
    """The equations of one game. z: float64[U + 1], the unknowns and log α."""

    table: Tables
    tied: Space
    full: Space
    scale: float
    stability: bool = True
    """Whether eigenvalues are computed: most of the time goes into them."""

    def correct(self, guess: np.ndarray, normal: np.ndarray) -> Solution:
        """The solution in the plane through `guess` across `normal`, and the tangent there, on the side of `normal`.

        Both are float64[U + 1].

        Raises:
          NoPointError: if Newton's method does not converge.
        """
        z = guess
        for _ in range(_NEWTON_STEPS):
            value, jacobian = (np.asarray(part) for part in _linearise(self.table, self.tied, self.scale, z))
            bordered = np.concatenate([jacobian, normal[None]])
            right = np.stack([np.append(value, normal @ (z - guess)), along_alpha(z)], axis=1)
            if not np.isfinite(bordered).all() or not np.isfinite(right).all():
                break
            try:
                change, tangent = np.linalg.solve(bordered, right).T
            except np.linalg.LinAlgError:  # exactly at a bifurcation
                change, tangent = np.linalg.lstsq(bordered, right)[0].T
            at_rest = np.abs(right[:, 0]).max() < _ROUNDING  # then a change would only be noise at a bifurcation
            z = z if at_rest else z - change
            if at_rest or np.abs(change).max() < CONVERGED:
                sign, log = np.linalg.slogdet(bordered)
                return Solution(z, tangent / np.linalg.norm(tangent), (float(sign), float(log)))
        raise NoPointError

    def eigenvalues(self, z: np.ndarray) -> np.ndarray:
        """Eigenvalues of P among all policies at z float64[U + 1], the largest first; nan without `stability`."""
        if not self.stability:
            return np.full(1, np.nan)
        full = _counted(self.full, np.append(z[:-1], 0.0)[np.concatenate([own.ravel() for own in self.tied.column])])
        return eigenvalues(self.table, self.full, self.scale, np.append(full, z[-1]))

    def evaluate(self, z: np.ndarray) -> Evaluation:
        return jax.tree.map(np.asarray, _evaluate(self.table, self.tied, self.scale, z))


def equations(tree: Tree, orbits: Sequence[np.ndarray] | None) -> Curve:
    """The equations of a game whose policies are tied by `orbits`, for each agent int64[H, A]; None: by nothing.

    Raises:
      TacitError: for more than `MOST_UNKNOWNS` unknowns; for orbits that do not number the legal actions.
    """
    alone = trivial_orbits(tree)
    tied = space_of(alone if orbits is None else _checked(tree, orbits))
    if len(tied.entry) > MOST_UNKNOWNS:
        raise TacitError(
            f"the game is too large to follow a branch: it has {len(tied.entry):,} unknowns and the limit is "
            f"{MOST_UNKNOWNS:,}"
        )
    return Curve(tables(tree), tied, space_of(alone), scale_of(tree))


def trivial_orbits(tree: Tree) -> tuple[np.ndarray, ...]:
    """The orbits of the trivial group: for each agent int64[H, A], -1 where illegal."""
    legal = np.concatenate([own.legal.ravel() for own in tree.agents])
    numbers = np.where(legal, np.cumsum(legal) - 1, -1)
    ends = np.cumsum([own.legal.size for own in tree.agents])[:-1]
    return tuple(part.reshape(own.legal.shape) for part, own in zip(np.split(numbers, ends), tree.agents, strict=True))


def _checked(tree: Tree, orbits: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    orbits = tuple(map(np.asarray, orbits))
    if len(orbits) != len(tree.agents) or any(
        own.shape != agent.legal.shape or not np.array_equal(own >= 0, agent.legal)
        for own, agent in zip(orbits, tree.agents, strict=True)
    ):
        raise TacitError("orbits must number every legal action of every history of every agent, -1 where illegal")
    return orbits


def space_of(orbits: Sequence[np.ndarray]) -> Space:
    """The unknowns of orbits, for each agent int64[H, A], -1 where illegal.

    At each history the values are counted from the orbit with the least number.
    """
    offsets = np.cumsum([0, *(own.size for own in orbits)])
    count = 1 + max(int(own.max()) for own in orbits)
    entry, base = np.full(count, -1), np.full(count, -1)
    for own, offset in zip(orbits, offsets, strict=False):
        least = np.where(own >= 0, own, count).argmin(1)  # the first action of each history
        history, action = np.nonzero(own >= 0)
        first = history * own.shape[1] + least[history]
        own_orbits = own[history, action]
        base[own_orbits] = np.where(own_orbits == own.ravel()[first], -1, offset + first)
        entry[own_orbits] = offset + history * own.shape[1] + action
    free = np.flatnonzero(base >= 0)
    column = np.full(count + 1, len(free))  # the last one is for the number -1
    column[free] = np.arange(len(free))
    return Space(
        tuple(column[own].astype(np.int32) for own in orbits), entry[free].astype(np.int32), base[free].astype(np.int32)
    )


def unknowns(space: Space, log_probs: tuple[np.ndarray, ...], alpha: float, scale: float) -> np.ndarray:
    """z float64[U + 1] of a joint policy, for each agent float64[H, A].

    Raises:
      TacitError: if it is not finite where an action is legal.
    """
    z = np.append(_counted(space, np.concatenate([np.ravel(own) for own in log_probs])) * alpha / (alpha + scale), 0.0)
    if not np.isfinite(z).all():
        raise TacitError("log_probs must be finite where an action is legal")
    z[-1] = np.log(alpha)
    return z


def _counted(space: Space, values: np.ndarray) -> np.ndarray:
    """The concatenated values of all agents as differences within histories: float64[U]."""
    return values[space.entry] - values[space.base]


def along_alpha(z: np.ndarray) -> np.ndarray:
    """float64[U + 1]: the direction in which only log α changes, for z float64[U + 1]."""
    return np.eye(len(z))[-1]


def scale_of(tree: Tree) -> float:
    """The span of the returns that rewards allow; 1 if all rewards are equal."""
    rewards = tree.problem.expected_reward
    span = float(rewards.max() - rewards.min()) * float((tree.problem.discount ** np.arange(tree.horizon)).sum())
    return span or 1.0


def _log_probs(table: Tables, space: Space, scale: Array, z: Array) -> JointPolicy:
    """log softmax(w (α + s)/α)."""
    alpha = jnp.exp(z[-1])
    values = z.at[-1].set(0.0) * (alpha + scale) / alpha
    return log_policy(table, tuple(values[column] for column in space.column))


def _equation(table: Tables, space: Space, scale: Array, z: Array) -> Array:
    """w - Q_π/(α + s): float64[U]."""
    alpha = jnp.exp(z[-1])
    q = jnp.concatenate([own.ravel() for own in sweep(table, _log_probs(table, space, scale, z), alpha).q])
    return z[:-1] - (q[space.entry] - q[space.base]) / (alpha + scale)


@jax.jit
def _linearise(table: Tables, space: Space, scale: Array, z: Array) -> tuple[Array, Array]:
    """The equation and its derivative by z: (float64[U], float64[U, U + 1])."""
    value, push = jax.linearize(functools.partial(_equation, table, space, scale), z)
    batches = -(-len(z) // _BATCH)
    width = -(-len(z) // batches)
    directions = jnp.eye(batches * width, len(z)).reshape(batches, width, len(z))
    return value, jax.lax.map(jax.vmap(push), directions).reshape(batches * width, -1)[: len(z)].T


@jax.jit
def _jacobian_product(table: Tables, space: Space, scale: Array, z: Array, direction: Array) -> Array:
    """P times a direction: float64[U]."""
    change = jax.jvp(functools.partial(_equation, table, space, scale), (z,), (jnp.append(direction, 0.0),))[1]
    return direction - change


@jax.jit
def _evaluate(table: Tables, space: Space, scale: Array, z: Array) -> Evaluation:
    log_probs = _log_probs(table, space, scale, z)
    return Evaluation(log_probs, residuals(table, log_probs, jnp.exp(z[-1]))[1], _equation(table, space, scale, z))


def eigenvalues(table: Tables, full: Space, scale: float, z: np.ndarray) -> np.ndarray:
    """Real parts of P's eigenvalues at z float64[U + 1], the largest first: float64[U]; of a large game [KRYLOV]."""
    size = len(full.entry)
    if size == 0:
        return np.zeros(1)  # nobody has a choice
    if size <= MOST_DENSE:
        # In numpy: batched linear algebra inside a compiled program can hang on CPU.
        derivative = np.asarray(_linearise(table, full, scale, z)[1])[:, :-1]
        return np.sort(np.linalg.eigvals(np.eye(size) - derivative).real)[::-1]

    def shifted(direction: np.ndarray) -> np.ndarray:  # by 1, since Arnoldi iteration fails on a matrix of zeros
        return direction.ravel() + np.asarray(_jacobian_product(table, full, scale, z, direction.ravel()))

    operator = LinearOperator((size, size), shifted, dtype=np.float64)  # pyright: ignore[reportCallIssue]
    start = np.random.default_rng(0).normal(size=size)  # scipy's own would differ from call to call
    found: Any = eigs(operator, KRYLOV, which="LR", v0=start, return_eigenvectors=False)
    return np.sort(found.real)[::-1] - 1
