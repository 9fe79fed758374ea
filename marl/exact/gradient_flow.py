"""Policy gradient flow dθ/dt = ∇J_α(θ) of tabular softmax policies, from many starts at once, to certified points.

What the theorem speaks of is the flow: `method="flow"` integrates the differential equation with error control.
Beside it stand what practice does instead, so that the two can be told apart: `natural_gradient` (the flow of the
natural gradient, θ' = advantages), `gradient_ascent` and `adam` (fixed steps). All of them stop by the same residual,
are polished by damped soft policy iteration, and carry a certificate: a point that misses the tolerance says so.

The flow is stiff: a history moves at the rate of its reach probability times α, which spans many orders of magnitude.
`Rosenbrock` takes that diagonal part implicitly, in closed form, and keeps its order with any such approximation of the
Jacobian; `method="flow_explicit"` is diffrax's Tsit5 on the same equation, hundreds of times slower to the end, and
agrees with it over the times that it can reach.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax

from games.errors import TacitError, number, one_of
from games.tabular.histories import Tree
from marl.exact.objective import (
    Array,
    JointPolicy,
    Tables,
    batch_width,
    discounts,
    double_precision,
    gradient,
    in_batches,
    legal_masks,
    log_policy,
    sweep,
    tables,
)  # fmt: skip

Method = Literal["flow", "flow_explicit", "natural_gradient", "gradient_ascent", "adam"]
METHODS: tuple[Method, ...] = get_args(Method)

REACHED = 1e-6
"""A history counts as reached from this probability on."""
CONVERGED = 1e-8
"""The residual over all histories up to which a polished point counts as stationary."""
_RAREST = 1e-12
"""What is rarer rests too long for the flow to be followed: it is relaxed, then the flow goes on, in rounds."""
_ROUNDS = 8
_POLISH_FROM, _POLISH_FROM_NEARER = 1e-6, 1e-9
_POLISH_AT_MOST = 1e-3
_POLISHED, _POLISH_STEPS = 1e-13, 5000
_RELAXED, _RELAX_STEPS = 1e-9, 300
_MOVED_TOO_FAR = 1e-2
_CHUNK = 25


class Stationary(NamedTuple):
    """Where B starts ended, with a certificate for each: a point of `converged` False is no result.

    The residual of a history is the total-variation distance between π(·|h) and softmax(Q(h,·)/α): 0 at every reached
    history if and only if J_α is stationary in the interior.
    """

    log_probs: tuple[np.ndarray, ...]  # for each agent float64[B, H, A], -inf where illegal
    residual_reached: np.ndarray  # float64[B], the greatest over histories of reach probability 1e-6 and more
    residual_all: np.ndarray  # float64[B], the greatest over all histories
    moved: np.ndarray  # float64[B], how far polishing moved a reached history (total variation)
    steps: np.ndarray  # int64[B], steps of the method, rejected ones included
    time: np.ndarray  # float64[B], flow time up to which a reached history was seen moving, looked at every 25 steps
    converged: np.ndarray  # bool[B]

    def take(self, rows: Any) -> "Stationary":
        """The starts of an index."""
        return Stationary(tuple(own[rows] for own in self.log_probs), *(field[rows] for field in self[1:]))


class _Lane(NamedTuple):
    """One start on its way."""

    logits: JointPolicy
    alpha: Array  # float64[]
    hidden: Any  # of the method: the controller's, the optimiser's
    step: Array  # float64[], the next step's size
    time: Array  # float64[]
    moving_until: Array  # float64[], the last time looked at when a reached history had not come to rest
    gap: Array  # float64[], of all but the rarest entries


class Point(NamedTuple):
    """The flow's right-hand side at one point and what the implicit part needs."""

    slope: JointPolicy
    probs: JointPolicy
    rate: tuple[Array, ...]  # float64[H] for each agent, γ^t·reach·α


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
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Stationary:
    """Follow every start to where it comes to rest.

    Args:
      tree: the game's histories.
      logits: for each agent float64[B, H, A], the starts.
      alphas: float64[B], α of each start, positive.
      method: see the module.
      step_tolerance: root mean square of the logits' local errors in one step of `flow`; 1e-5 of it in the explicit
        methods `flow_explicit` and `natural_gradient`.
      learning_rate: step size of `gradient_ascent` and `adam`, in logits per unit of gradient, and per step.
      max_steps: after which a start counts as not converged.
      report: told how many starts are done, of how many.

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
    programs = _compiled(method, float(step_tolerance), float(learning_rate))

    def come_to_rest(moving: np.ndarray, gap: float) -> None:
        """Follow some rows of `ended` in place, relaxing what is rarest in between."""
        for _ in range(_ROUNDS):
            if not len(moving):
                return
            rested = len(alphas) - len(moving)
            now, taken, passed = _follow(
                table,
                programs,
                tuple(own[moving] for own in ended),
                alphas[moving],
                gap,
                max_steps,
                lambda done, total, rested=rested: report(rested + done, rested + total),
            )
            relaxed, gaps = in_batches(_relax, table, now, alphas[moving])
            for own, new in zip(ended, relaxed, strict=True):
                own[moving] = new
            steps[moving] += taken
            time[moving] += passed
            moving = moving[(gaps > gap) & (steps[moving] < max_steps)]

    table = tables(tree)
    come_to_rest(np.arange(len(alphas)), _POLISH_FROM)
    result = polish(tree, ended, alphas)
    # Where polishing went astray the flow was not near enough to the end: it goes on from where it was.
    if len(again := np.flatnonzero(~result.converged & (steps < max_steps))):
        come_to_rest(again, _POLISH_FROM_NEARER)
        result = jax.tree.map(
            _replace_rows(again), result, polish(tree, tuple(own[again] for own in ended), alphas[again])
        )
    return result._replace(steps=steps, time=time)


def _replace_rows(rows: np.ndarray) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    def replace(whole: np.ndarray, part: np.ndarray) -> np.ndarray:
        whole = np.array(whole)
        whole[rows] = part
        return whole

    return replace


def _follow(
    table: Tables,
    programs: tuple[Callable, Callable],
    logits: tuple[np.ndarray, ...],
    alphas: np.ndarray,
    gap: float,
    max_steps: int,
    report: Callable[[int, int], None],
) -> tuple[tuple[np.ndarray, ...], np.ndarray, np.ndarray]:
    """(logits, steps, time) where every start's gap is small. Lanes that are done make room for waiting starts."""
    prepare, advance = programs
    total = len(alphas)
    width = batch_width(total)

    def fresh(chosen: list[int]) -> _Lane:
        # Always `width` rows, so that there is one compiled program.
        padded = chosen + [chosen[0]] * (width - len(chosen))
        return prepare(table, tuple(jnp.asarray(own[padded]) for own in logits), jnp.asarray(alphas[padded]))

    first, waiting = list(range(min(width, total))), list(range(width, total))
    lanes: _Lane = jax.tree.map(np.array, fresh(first))
    rows = np.array(first + [0] * (width - len(first)))
    taken, active = np.zeros(width, np.int64), np.arange(width) < total
    ended = tuple(np.array(own) for own in logits)
    steps, time = np.zeros(total, np.int64), np.zeros(total)
    while active.any():
        lanes = jax.tree.map(np.array, advance(table, lanes))
        taken += _CHUNK
        at_rest = (lanes.gap < gap) | ~np.isfinite(lanes.gap)
        done = np.flatnonzero(active & (at_rest | (taken >= max_steps)))
        for own, lane in zip(ended, lanes.logits, strict=True):
            own[rows[done]] = lane[done]
        steps[rows[done]], time[rows[done]] = taken[done], lanes.moving_until[done]
        active[done] = False
        if len(refill := done[: len(waiting)]):
            chosen, waiting = waiting[: len(refill)], waiting[len(refill) :]
            for leaf, new in zip(jax.tree.leaves(lanes), jax.tree.leaves(fresh(chosen)), strict=True):
                leaf[refill] = np.asarray(new)[: len(refill)]
            rows[refill], taken[refill], active[refill] = chosen, 0, True
        if batch_width(int(active.sum())) < len(rows):  # the last ones go on in a smaller program
            kept = np.argsort(~active, kind="stable")[: batch_width(int(active.sum()))]
            lanes = jax.tree.map(lambda leaf, kept=kept: leaf[kept], lanes)
            rows, taken, active = rows[kept], taken[kept], active[kept]
        report(total - len(waiting) - int(active.sum()), total)
    return ended, steps, time


@double_precision
def polish(tree: Tree, logits: tuple[np.ndarray, ...], alphas: np.ndarray) -> Stationary:
    """Damped soft policy iteration, log π <- (1 - η) log π + η Q/α, from points that are nearly stationary.

    η halves whenever the residual grows. A point whose residual is too large to begin with is left as it is.

    Args:
      tree: the game's histories.
      logits: for each agent float64[B, H, A].
      alphas: float64[B].
    """
    alphas = np.asarray(alphas, np.float64)
    log_probs, reached, everywhere, moved = in_batches(_polish, tables(tree), logits, alphas)
    converged = (everywhere <= CONVERGED) & (moved <= _MOVED_TOO_FAR)
    return Stationary(
        log_probs, reached, everywhere, moved, np.zeros(len(alphas), np.int64), np.zeros(len(alphas)), converged
    )


def soft_policy_iteration(table: Tables, log_probs: JointPolicy, alpha: Array) -> tuple[JointPolicy, Any]:
    """(log softmax(Q/α), the sweep at `log_probs`): a stationary policy is a fixed point."""
    swept = sweep(table, log_probs, alpha)
    return log_policy(table, tuple(q / alpha for q in swept.q)), swept


def residuals(table: Tables, log_probs: JointPolicy, alpha: Array) -> tuple[Array, Array]:
    """(at reached histories, at all): the greatest total variation between π(·|h) and softmax(Q(h,·)/α)."""
    target, swept = soft_policy_iteration(table, log_probs, alpha)
    distances = _distances(log_probs, target)
    return _greatest(distances, swept.reach), _greatest(distances, None)


def _distances(first: JointPolicy, second: JointPolicy) -> tuple[Array, ...]:
    return tuple(0.5 * jnp.abs(jnp.exp(a) - jnp.exp(b)).sum(-1) for a, b in zip(first, second, strict=True))


def _greatest(distances: tuple[Array, ...], reach: tuple[Array, ...] | None) -> Array:
    if reach is not None:
        distances = tuple(jnp.where(w >= REACHED, d, 0.0) for d, w in zip(distances, reach, strict=True))
    return functools.reduce(jnp.maximum, [jnp.max(own) for own in distances])


def evaluate(table: Tables, logits: JointPolicy, alpha: Array) -> Point:
    """Gradient, action probabilities and rates at one point."""
    log_probs = log_policy(table, logits)
    swept = sweep(table, log_probs, alpha)
    return Point(
        slope=gradient(table, log_probs, swept),
        probs=tuple(map(jnp.exp, log_probs)),
        rate=tuple(alpha * gamma * reach for gamma, reach in zip(discounts(table), swept.reach, strict=True)),
    )


class Rosenbrock(diffrax.AbstractSolver):
    """The two-stage Rosenbrock W-method ROS2 of order 2 for the policy gradient flow, γ = 1 + 1/√2.

        (I - γ h W) k_1 = f(θ),   (I - γ h W) k_2 = f(θ + h k_1) - 2 k_1,   θ <- θ + h (3/2 k_1 + 1/2 k_2)

    The order holds for every matrix W. Here W is the entropies' part of the Jacobian history by history,
    -γ^t·reach·α (diag π - π πᵀ), whose inverse is closed (Sherman-Morrison). The error estimate is the difference from
    the first-order solution θ + h k_1.

    Verwer, Spee, Blom and Hundsdorfer 1999, "A second-order Rosenbrock method applied to photochemical dispersion
    problems".
    """

    term_structure = diffrax.ODETerm
    interpolation_cls = diffrax.LocalLinearInterpolation

    def order(self, terms: Any) -> int:
        del terms
        return 2

    def init(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any) -> None:
        del terms, t0, t1, y0, args

    def func(self, terms: Any, t0: Any, y0: Any, args: Any) -> Any:
        return terms.vf(t0, y0, args)

    def step(
        self, terms: Any, t0: Any, t1: Any, y0: JointPolicy, args: Any, solver_state: None, made_jump: Any
    ) -> tuple[JointPolicy, JointPolicy, dict, None, Any]:
        del terms, solver_state, made_jump
        h = t1 - t0
        point = evaluate(args[0], y0, args[1])
        gamma = 1 + 1 / np.sqrt(2)

        def implicit(right: JointPolicy) -> JointPolicy:
            return tuple(map(_divide, [gamma * h * rate for rate in point.rate], point.probs, right))

        k_1 = implicit(point.slope)
        later = evaluate(args[0], jax.tree.map(lambda y, k: y + h * k, y0, k_1), args[1])
        k_2 = implicit(jax.tree.map(lambda f, k: f - 2 * k, later.slope, k_1))
        y1 = jax.tree.map(lambda y, a, b: y + h * (1.5 * a + 0.5 * b), y0, k_1, k_2)
        error = jax.tree.map(lambda a, b: 0.5 * h * (a + b), k_1, k_2)
        return y1, error, {"y0": y0, "y1": y1}, None, diffrax.RESULTS.successful


def _divide(c: Array, probs: Array, right: Array) -> Array:
    """The solution k of (I + c (diag π - π πᵀ)) k = right for every history: c float64[H], the rest float64[H, A]."""
    c = c[:, None]
    diagonal = 1 + c * probs
    plain = right / diagonal
    # 1 - c Σ π²/(1 + cπ) = Σ π/(1 + cπ), which does not cancel.
    correction = c * jnp.sum(probs * plain, -1, keepdims=True) / jnp.sum(probs / diagonal, -1, keepdims=True)
    return plain + correction * probs / diagonal


@functools.lru_cache(maxsize=32)
def _compiled(method: Method, step_tolerance: float, learning_rate: float) -> tuple[Callable, Callable]:
    """(prepare, advance): lanes from starts, and lanes some steps further; both for a batch of lanes."""
    if method in ("gradient_ascent", "adam"):
        optimiser = optax.scale_by_adam(mu_dtype=jnp.float64) if method == "adam" else optax.identity()
        init, step = _fixed_steps(optimiser, learning_rate)
    else:
        solver = Rosenbrock() if method == "flow" else diffrax.Tsit5()
        # At the edge of its stability an explicit method jitters by its tolerance, and would never come to rest.
        tolerance = step_tolerance if method == "flow" else 1e-5 * step_tolerance
        init, step = _error_controlled(solver, method == "natural_gradient", tolerance)

    def prepare(table: Tables, logits: JointPolicy, alpha: Array) -> _Lane:
        hidden, size = init(table, logits, alpha)
        return _Lane(logits, alpha, hidden, size, jnp.zeros(()), jnp.zeros(()), jnp.full((), jnp.inf))

    def advance(table: Tables, lane: _Lane) -> _Lane:
        lane = jax.lax.fori_loop(0, _CHUNK, lambda _, lane: step(table, lane), lane)
        log_probs = log_policy(table, lane.logits)
        target, swept = soft_policy_iteration(table, log_probs, lane.alpha)
        moving = _greatest(_distances(log_probs, target), swept.reach) > _POLISH_FROM
        return lane._replace(
            moving_until=jnp.where(moving, lane.time, lane.moving_until),
            gap=_gap(table, log_probs, target, _frequent(log_probs, target, swept.reach)),
        )

    return (
        jax.jit(jax.vmap(prepare, in_axes=(None, 0, 0))),
        jax.jit(jax.vmap(advance, in_axes=(None, 0))),
    )


def _error_controlled(solver: Any, natural: bool, tolerance: float) -> tuple[Callable, Callable]:
    """The steps of a diffrax solver under its PID controller. Nothing depends on time: every step goes from 0 to h."""

    def slope(t: Any, logits: JointPolicy, args: Any) -> JointPolicy:
        del t
        table, alpha = args
        log_probs = log_policy(table, logits)
        swept = sweep(table, log_probs, alpha)
        return swept.advantage if natural else gradient(table, log_probs, swept)

    terms = diffrax.ODETerm(slope)
    controller = diffrax.PIDController(rtol=0.0, atol=tolerance)

    def init(table: Tables, logits: JointPolicy, alpha: Array) -> tuple[Any, Array]:
        args = (table, alpha)
        size, state = controller.init(
            terms,
            jnp.zeros(()),
            jnp.ones(()),
            logits,
            jnp.full((), 1e-3) / alpha,
            args,
            solver.func,
            solver.order(terms),
        )
        return (state, solver.init(terms, jnp.zeros(()), size, logits, args)), jnp.asarray(size)

    def step(table: Tables, lane: _Lane) -> _Lane:
        args, start = (table, lane.alpha), jnp.zeros(())
        controlled, solved = lane.hidden
        candidate, error, _, solved_next, _ = solver.step(
            terms, start, lane.step, lane.logits, args, solved, jnp.bool_(False)
        )
        keep, t0, t1, _, controlled, _ = controller.adapt_step_size(
            start, lane.step, lane.logits, candidate, args, error, solver.order(terms), controlled
        )
        logits, solved = jax.tree.map(
            lambda new, old: jnp.where(keep, new, old), (candidate, solved_next), (lane.logits, solved)
        )
        return lane._replace(
            logits=logits,
            hidden=(controlled, solved),
            step=jnp.asarray(t1 - t0),
            time=lane.time + jnp.where(keep, lane.step, 0.0),
        )

    return init, step


def _fixed_steps(optimiser: optax.GradientTransformation, learning_rate: float) -> tuple[Callable, Callable]:
    def init(table: Tables, logits: JointPolicy, alpha: Array) -> tuple[Any, Array]:
        del table, alpha
        return optimiser.init(logits), jnp.full((), learning_rate)

    def step(table: Tables, lane: _Lane) -> _Lane:
        point = evaluate(table, lane.logits, lane.alpha)
        direction, hidden = optimiser.update(point.slope, lane.hidden)
        logits = jax.tree.map(lambda own, d: own + learning_rate * d, lane.logits, direction)
        return lane._replace(logits=logits, hidden=hidden, time=lane.time + learning_rate)

    return init, step


@jax.jit
@functools.partial(jax.vmap, in_axes=(None, 0, 0))
def _relax(table: Tables, logits: JointPolicy, alpha: Array) -> tuple[JointPolicy, Array]:
    """Let what is rarest come to rest, as the flow would in the end: (logits, gap of the rest)."""
    start = log_policy(table, logits)
    target, swept = soft_policy_iteration(table, start, alpha)
    rare = tuple(~entries for entries in _frequent(start, target, swept.reach))
    end, target = _iterate(table, start, alpha, rare, _RELAXED, _RELAX_STEPS)
    frequent = _frequent(end, target, sweep(table, end, alpha).reach)
    logits = tuple(jnp.where(jnp.isfinite(own), own, 0.0) for own in end)
    return logits, _gap(table, end, target, frequent)


@jax.jit
@functools.partial(jax.vmap, in_axes=(None, 0, 0))
def _polish(table: Tables, logits: JointPolicy, alpha: Array) -> tuple[JointPolicy, Array, Array, Array]:
    """(log_probs, residual at reached histories, at all, how far a reached history has moved)."""
    start = log_policy(table, logits)
    near = residuals(table, start, alpha)[0] < _POLISH_AT_MOST
    everything = tuple(jnp.broadcast_to(near, own.shape) for own in start)
    end, target = _iterate(table, start, alpha, everything, _POLISHED, _POLISH_STEPS)
    reach = sweep(table, end, alpha).reach
    distances = _distances(end, target)
    return end, _greatest(distances, reach), _greatest(distances, None), _greatest(_distances(start, end), reach)


def _iterate(
    table: Tables, log_probs: JointPolicy, alpha: Array, where: tuple[Array, ...], least: float, most: int
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


def normal_starts(tree: Tree, count: int, scale: float, *, seed: int) -> tuple[np.ndarray, ...]:
    """Logits drawn from N(0, scale²): for each agent float64[count, H, A]."""
    rng = np.random.default_rng(seed)
    return tuple(scale * rng.normal(size=(count, *own.legal.shape)) for own in tree.agents)


def pure_starts(tree: Tree, count: int, *, seed: int) -> tuple[np.ndarray, ...]:
    """Near-pure joint policies, 0.99 on one action of every history: all of them if at most `count`, else drawn.

    The logits carry N(0, 0.1²) on top: without it a start can lie exactly between two conventions, and stays there.

    Returns:
      For each agent float64[count or fewer, H, A] logits.
    """
    rng = np.random.default_rng(seed)
    choices = [np.flatnonzero(row) for own in tree.agents for row in own.legal]
    combinations = float(np.prod([float(len(choice)) for choice in choices]))
    if combinations <= count:
        grid = np.indices([len(choice) for choice in choices]).reshape(len(choices), -1)
        picked = np.stack([choice[index] for choice, index in zip(choices, grid, strict=True)], axis=1)
    else:
        picked = np.stack([rng.choice(choice, count) for choice in choices], axis=1)
    starts, column = [], 0
    for own in tree.agents:
        best = picked[:, column : column + own.size]
        column += own.size
        others = np.maximum(own.legal.sum(1) - 1, 1)
        ahead = np.log(0.99 / (0.01 / others))  # [H]
        pure = (np.arange(own.legal.shape[1]) == best[..., None]) * ahead[:, None]
        starts.append(pure + 0.1 * rng.normal(size=pure.shape))
    return tuple(starts)


def concatenate(*starts: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """Several sets of starts behind each other."""
    if not starts:
        raise TacitError("there must be at least one start")
    return tuple(np.concatenate(own) for own in zip(*starts, strict=True))
