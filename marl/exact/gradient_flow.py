"""Policy gradient flow dθ/dt = ∇J_α(θ) of tabular softmax policies, from many starts at once, to certified points.

The theorem (docs/theory.md) is about the flow: `method="flow"` integrates the differential equation with error control.
For comparison there is what practice does instead: `natural_gradient` (the flow of the natural gradient, θ' =
advantages), `gradient_ascent` and `adam` (fixed steps). All of them stop by the same residual, are polished by damped
soft policy iteration, and return a certificate, which says whether a point meets the tolerance.

The flow is stiff: a history moves at the rate of its reach probability times α, which spans many orders of magnitude.
`integrators.Rosenbrock` takes that diagonal part implicitly, in closed form, and keeps its order with any such
approximation of the Jacobian; `method="flow_explicit"` is diffrax's Tsit5 on the same equation, hundreds of times
slower to the end, and agrees with it over the times that it can reach.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax

from games.errors import TacitError, number, one_of, whole_number
from games.tabular.histories import Tree
from marl.exact import newton
from marl.exact.integrators import Lane, Rosenbrock, error_controlled, fixed_steps
from marl.exact.objective import (
    Array,
    JointPolicy,
    Tables,
    batch_width,
    distances,
    double_precision,
    greatest,
    in_batches,
    legal_masks,
    log_policy,
    residuals,
    soft_policy_iteration,
    sweep,
    tables,
)

Method = Literal["flow", "flow_explicit", "natural_gradient", "gradient_ascent", "adam"]
METHODS: tuple[Method, ...] = get_args(Method)

CONVERGED = 1e-8
"""The residual over all histories up to which a polished point counts as stationary."""
_RAREST = 1e-12
"""Entries (history, action) rarer than this move too slowly for the flow: soft policy iteration relaxes them, then the
flow goes on, in rounds."""
_ROUNDS = 8
_POLISH_FROM, _POLISH_FROM_NEARER = 1e-6, 1e-9
_POLISH_AT_MOST = 1e-3
_POLISHED, _POLISH_STEPS, _FEW_POLISH_STEPS = 1e-13, 5000, 500
_POLISHED_WELL = 1e-12
"""A larger residual after polishing means that it converges slowly: the point is farther from its limit than the
residual says. Then Newton's method goes on, if it may be used; if so, polishing takes few steps."""
_RELAXED, _RELAX_STEPS = 1e-9, 300
_MOVED_TOO_FAR = 1e-2
CHUNK = 25
"""Steps of a compiled call, after which progress is reported."""


class Stationary(NamedTuple):
    """Where B starts ended, with a certificate for each: a point of `converged` False is no result.

    The residual of a history is the total-variation distance between π(·|h) and softmax(Q(h,·)/α): 0 at every reached
    history if and only if J_α is stationary in the interior.
    """

    log_probs: tuple[np.ndarray, ...]  # for each agent float64[B, H, A], -inf where illegal
    residual_reached: np.ndarray  # float64[B], the greatest over histories of reach probability 1e-6 and more
    residual_all: np.ndarray  # float64[B], the greatest over all histories
    moved: np.ndarray  # float64[B], how far polishing or Newton's method moved a reached history (total variation)
    steps: np.ndarray  # int64[B], steps of the method, rejected ones included
    time: np.ndarray  # float64[B], flow time up to which a reached history was seen moving, looked at every 25 steps;
    # where Newton's method took over: until then
    converged: np.ndarray  # bool[B]

    def take(self, rows: Any) -> "Stationary":
        """The starts of an index."""
        return Stationary(tuple(own[rows] for own in self.log_probs), *(field[rows] for field in self[1:]))


@double_precision
def solve(
    tree: Tree,
    logits: tuple[np.ndarray, ...],
    alphas: np.ndarray,
    *,
    method: Method = "flow",
    step_tolerance: float = 1e-2,
    learning_rate: float = 1e-2,
    max_steps: int = 10_000,
    newton_after: int | None = None,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Stationary:
    """Follow every start until it converges.

    Args:
      tree: the game's histories.
      logits: for each agent float64[B, H, A], the starts.
      alphas: float64[B], α of each start, positive.
      method: see the module.
      step_tolerance: root mean square of the logits' local errors in one step of `flow`; 1e-5 of it in the explicit
        methods `flow_explicit` and `natural_gradient`.
      learning_rate: step size of `gradient_ascent` and `adam`, in logits per unit of gradient, and per step.
      max_steps: after which a start counts as not converged; of the method, and of polishing.
      newton_after: steps after which Newton's method (`newton.maxima_near`) is tried for starts that have not
        converged, and again whenever the steps have doubled and at `max_steps`: right at a fold or bifurcation the flow
        is slow without bound. Never if None or above `max_steps`, and in games too large for it (`newton.applies`).
      report: called with how many starts are done, and of how many.

    Raises:
      TacitError: for a value out of range, naming it.
    """
    one_of("method", method, METHODS)
    alphas = np.asarray(alphas, np.float64)
    for alpha in np.unique(alphas).tolist():
        number("alpha", alpha, 0.0, above=True)
    number("step_tolerance", step_tolerance, 0.0, above=True)
    number("learning_rate", learning_rate, 0.0, above=True)
    if any(own.shape != (len(alphas), *masks.legal.shape) for own, masks in zip(logits, tree.agents, strict=True)):
        expected = ", ".join(str((len(alphas), *own.legal.shape)) for own in tree.agents)
        raise TacitError(
            f"starts must be arrays of shape {expected}, not {', '.join(str(own.shape) for own in logits)}"
        )
    ended = tuple(np.array(own, np.float64) for own in logits)
    steps, time = np.zeros(len(alphas), np.int64), np.zeros(len(alphas))
    most_done = 0  # progress does not fall where a start that was done goes on
    programs = _compiled(method, float(step_tolerance), float(learning_rate))

    def tell(done: int) -> None:
        nonlocal most_done
        most_done = max(most_done, done)
        report(most_done, len(alphas))

    def come_to_rest(moving: np.ndarray, gap: float, most: int) -> None:
        """Follow some rows of `ended` in place for `most` steps in all, relaxing what is rarest in between."""
        for _ in range(_ROUNDS):
            moving = moving[steps[moving] < most]
            if not len(moving):
                return
            rested = len(alphas) - len(moving)
            now, taken, passed = _follow(
                table,
                programs,
                tuple(own[moving] for own in ended),
                alphas[moving],
                gap,
                most - steps[moving],
                lambda done, total, rested=rested: tell(rested + done),
            )
            relaxed, gaps = in_batches(_relax, table, now, alphas[moving])
            for own, new in zip(ended, relaxed, strict=True):
                own[moving] = new
            steps[moving] += taken
            time[moving] += passed
            moving = moving[gaps > gap]

    def polished(rows: np.ndarray) -> Stationary:
        return polish(tree, tuple(own[rows] for own in ended), alphas[rows], polish_steps)

    def assign(rows: np.ndarray, found: Stationary) -> None:
        for whole, part in zip(jax.tree.leaves(result), jax.tree.leaves(found), strict=True):
            whole[rows] = part

    def moving() -> np.ndarray:
        return np.flatnonzero(~result.converged)

    table = tables(tree)
    result, tried = _unconverged(ended), np.zeros(len(alphas), bool)
    if newton_after is not None:
        newton_after = whole_number("newton_after", newton_after, 1)
        newton_after = newton_after if newton_after <= max_steps and newton.applies(tree) else None
    most = newton_after or max_steps
    polish_steps = min(max_steps, _POLISH_STEPS if newton_after is None else _FEW_POLISH_STEPS)
    while len(left := moving()):
        come_to_rest(left, _POLISH_FROM, most)
        assign(left, polished(left))
        # Where polishing failed, the flow was not near enough to its limit: it goes on from where it stopped.
        if len(again := np.flatnonzero(~result.converged & (steps < most))):
            come_to_rest(again, _POLISH_FROM_NEARER, most)
            assign(again, polished(again))
        doubtful = ~result.converged | (result.residual_all > _POLISHED_WELL) & ~tried
        tried = tried | doubtful
        if newton_after is not None and len(left := np.flatnonzero(doubtful)):
            # Polishing may have moved a point too far to be trusted, and still be a good guess.
            rests = (result.residual_all <= CONVERGED)[left, None, None]
            guesses = tuple(np.where(rests, a[left], b[left]) for a, b in zip(result.log_probs, ended, strict=True))
            found, moved = newton.maxima_near(tree, tuple(own[left] for own in ended), guesses, alphas[left])
            if len(near := np.flatnonzero(np.isfinite(moved))):
                certified = polish(tree, tuple(own[near] for own in found), alphas[left[near]])
                assign(left[near], certified._replace(moved=moved[near]))
        if most == max_steps:
            break
        most = min(2 * most, max_steps)
    return result._replace(steps=steps, time=time)


def _unconverged(logits: tuple[np.ndarray, ...]) -> Stationary:
    """The placeholder result of starts, for each agent float64[B, H, A], that have not been followed."""
    size = len(logits[0])
    first, second, third = np.full((3, size), np.nan)
    none = np.zeros(size, np.int64)
    return Stationary(tuple(map(np.array, logits)), first, second, third, none, 0.0 * none, none > 0)


def _follow(
    table: Tables,
    programs: tuple[Callable, Callable],
    logits: tuple[np.ndarray, ...],
    alphas: np.ndarray,
    gap: float,
    max_steps: np.ndarray,
    report: Callable[[int, int], None],
) -> tuple[tuple[np.ndarray, ...], np.ndarray, np.ndarray]:
    """(logits, steps, time) where every start's gap is small, or after its `max_steps`, int64[B].

    A lane (a row of the batch) that is done is refilled with a waiting start.
    """
    prepare, advance = programs
    total = len(alphas)
    width = batch_width(total, table)

    def fresh(chosen: list[int]) -> Lane:
        # Padded to `width` rows, so that there is one compiled program.
        padded = chosen + [chosen[0]] * (width - len(chosen))
        return prepare(table, tuple(jnp.asarray(own[padded]) for own in logits), jnp.asarray(alphas[padded]))

    first, waiting = list(range(min(width, total))), list(range(width, total))
    lanes: Lane = jax.tree.map(np.array, fresh(first))
    rows = np.array(first + [0] * (width - len(first)))
    taken, active = np.zeros(width, np.int64), np.arange(width) < total
    ended = tuple(np.array(own) for own in logits)
    steps, time = np.zeros(total, np.int64), np.zeros(total)
    while active.any():
        lanes = jax.tree.map(np.array, advance(table, lanes))
        taken += CHUNK
        at_rest = (lanes.gap < gap) | ~np.isfinite(lanes.gap)
        done = np.flatnonzero(active & (at_rest | (taken >= max_steps[rows])))
        for own, lane in zip(ended, lanes.logits, strict=True):
            own[rows[done]] = lane[done]
        steps[rows[done]], time[rows[done]] = taken[done], lanes.moving_until[done]
        active[done] = False
        if len(refill := done[: len(waiting)]):
            chosen, waiting = waiting[: len(refill)], waiting[len(refill) :]
            for leaf, new in zip(jax.tree.leaves(lanes), jax.tree.leaves(fresh(chosen)), strict=True):
                leaf[refill] = np.asarray(new)[: len(refill)]
            rows[refill], taken[refill], active[refill] = chosen, 0, True
        narrower = batch_width(int(active.sum()), table)
        if narrower < len(rows):  # the last ones go on in a smaller program
            kept = np.argsort(~active, kind="stable")[:narrower]
            lanes = jax.tree.map(lambda leaf, kept=kept: leaf[kept], lanes)
            rows, taken, active = rows[kept], taken[kept], active[kept]
        report(total - len(waiting) - int(active.sum()), total)
    return ended, steps, time


@double_precision
def polish(
    tree: Tree, logits: tuple[np.ndarray, ...], alphas: np.ndarray, max_steps: int = _POLISH_STEPS
) -> Stationary:
    """Damped soft policy iteration, log π <- (1 - η) log π + η Q/α, from points that are nearly stationary.

    η halves whenever the residual grows. A point whose residual is too large to begin with is left as it is.

    Args:
      tree: the game's histories.
      logits: for each agent float64[B, H, A].
      alphas: float64[B].
      max_steps: of policy iteration.
    """
    alphas = np.asarray(alphas, np.float64)
    steps = np.full(len(alphas), max_steps)
    log_probs, reached, everywhere, moved = in_batches(_polish, tables(tree), logits, alphas, steps)
    converged = (everywhere <= CONVERGED) & (moved <= _MOVED_TOO_FAR)
    return Stationary(
        log_probs, reached, everywhere, moved, np.zeros(len(alphas), np.int64), np.zeros(len(alphas)), converged
    )


@functools.lru_cache(maxsize=32)
def _compiled(method: Method, step_tolerance: float, learning_rate: float) -> tuple[Callable, Callable]:
    """(prepare, advance): lanes from starts, and lanes some steps further; both for a batch of lanes."""
    if method in ("gradient_ascent", "adam"):
        optimiser = optax.scale_by_adam(mu_dtype=jnp.float64) if method == "adam" else optax.identity()
        init, step = fixed_steps(optimiser, learning_rate)
    else:
        solver = Rosenbrock() if method == "flow" else diffrax.Tsit5()
        # At the edge of its stability an explicit method jitters by its tolerance, and would never converge.
        tolerance = step_tolerance if method == "flow" else 1e-5 * step_tolerance
        init, step = error_controlled(solver, method == "natural_gradient", tolerance)

    def prepare(table: Tables, logits: JointPolicy, alpha: Array) -> Lane:
        hidden, size = init(table, logits, alpha)
        return Lane(logits, alpha, hidden, size, jnp.zeros(()), jnp.zeros(()), jnp.full((), jnp.inf))

    def advance(table: Tables, lane: Lane) -> Lane:
        lane = jax.lax.fori_loop(0, CHUNK, lambda _, lane: step(table, lane), lane)
        log_probs = log_policy(table, lane.logits)
        target, swept = soft_policy_iteration(table, log_probs, lane.alpha)
        moving = greatest(distances(log_probs, target), swept.reach) > _POLISH_FROM
        return lane._replace(
            moving_until=jnp.where(moving, lane.time, lane.moving_until),
            gap=_gap(table, log_probs, target, _frequent(log_probs, target, swept.reach)),
        )

    return (
        jax.jit(jax.vmap(prepare, in_axes=(None, 0, 0))),
        jax.jit(jax.vmap(advance, in_axes=(None, 0))),
    )


@jax.jit
@functools.partial(jax.vmap, in_axes=(None, 0, 0))
def _relax(table: Tables, logits: JointPolicy, alpha: Array) -> tuple[JointPolicy, Array]:
    """Take the rarest entries to their limit, as the flow would in the end: (logits, gap of the other entries)."""
    start = log_policy(table, logits)
    target, swept = soft_policy_iteration(table, start, alpha)
    rare = tuple(~entries for entries in _frequent(start, target, swept.reach))
    end, target = _iterate(table, start, alpha, rare, _RELAXED, _RELAX_STEPS)
    frequent = _frequent(end, target, sweep(table, end, alpha).reach)
    logits = tuple(jnp.where(jnp.isfinite(own), own, 0.0) for own in end)
    return logits, _gap(table, end, target, frequent)


@jax.jit
@functools.partial(jax.vmap, in_axes=(None, 0, 0, 0))
def _polish(table: Tables, logits: JointPolicy, alpha: Array, most: Array) -> tuple[JointPolicy, Array, Array, Array]:
    """(log_probs, residual at reached histories, at all, how far a reached history has moved)."""
    start = log_policy(table, logits)
    near = residuals(table, start, alpha)[0] < _POLISH_AT_MOST
    everything = tuple(jnp.broadcast_to(near, own.shape) for own in start)
    end, target = _iterate(table, start, alpha, everything, _POLISHED, most)
    reach = sweep(table, end, alpha).reach
    apart = distances(end, target)
    return end, greatest(apart, reach), greatest(apart, None), greatest(distances(start, end), reach)


def _iterate(
    table: Tables, log_probs: JointPolicy, alpha: Array, where: tuple[Array, ...], least: float, most: Array | int
) -> tuple[JointPolicy, JointPolicy]:
    """Damped soft policy iteration of the entries `where`, the step halved when their gap grows.

    Stops at the gap `least`, or after `most` steps.

    Returns:
      The policy, and log softmax of its Q/α.
    """
    masks = legal_masks(table)

    def mix(current: Array, target: Array, damping: Array, mask: Array, chosen: Array) -> Array:
        share = jnp.where(chosen, damping, 0.0)
        return jnp.where(mask, (1 - share) * jnp.where(mask, current, 0.0) + share * jnp.where(mask, target, 0.0), 0.0)

    def iterate(state: tuple) -> tuple:
        count, current, target, damping, before = state
        mixed = tuple(mix(a, b, damping, mask, w) for a, b, mask, w in zip(current, target, masks, where, strict=True))
        mixed = log_policy(table, mixed)
        target, _ = soft_policy_iteration(table, mixed, alpha)
        after = _gap(table, mixed, target, where)
        return count + 1, mixed, target, jnp.where(after > before, jnp.maximum(damping / 2, 1e-3), damping), after

    target, _ = soft_policy_iteration(table, log_probs, alpha)
    state = (jnp.int32(0), log_probs, target, jnp.full((), 0.5), _gap(table, log_probs, target, where))
    _, end, target, _, _ = jax.lax.while_loop(lambda state: (state[0] < most) & (state[-1] > least), iterate, state)
    return end, target


def _frequent(log_probs: JointPolicy, target: JointPolicy, reach: tuple[Array, ...]) -> tuple[Array, ...]:
    """bool[H, A] for each agent: the history is reached and the action taken, now or at the target, often enough."""
    return tuple(
        weight[:, None] * jnp.exp(jnp.maximum(a, b)) >= _RAREST
        for weight, a, b in zip(reach, log_probs, target, strict=True)
    )


def _gap(table: Tables, log_probs: JointPolicy, target: JointPolicy, where: tuple[Array, ...]) -> Array:
    """How far a policy is from its target at the entries `where`: total variation, or a thousandth of log-probability.

    A rare action changes total variation little, and what others infer from it much.
    """
    gaps = []
    for mask, a, b, entries in zip(legal_masks(table), log_probs, target, where, strict=True):
        distance = 0.5 * jnp.abs(jnp.exp(a) - jnp.exp(b)).sum(-1)
        ratio = jnp.abs(jnp.where(mask, a, 0.0) - jnp.where(mask, b, 0.0))
        gaps.append(jnp.max(jnp.where(entries, jnp.maximum(distance[:, None], 1e-3 * ratio), 0.0)))
    return functools.reduce(jnp.maximum, gaps)
