"""The steps of the policy gradient flow and of what practice does instead.

`error_controlled` and `fixed_steps` each return two functions for one start: `init` gives the method's own state and
the size of its first step; `step` takes one step of a `Lane`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax

from marl.exact.objective import Array, JointPolicy, Tables, discounts, gradient, log_policy, sweep


class Lane(NamedTuple):
    """The state of one start."""

    logits: JointPolicy
    alpha: Array  # float64[]
    hidden: Any  # the method's own state: the controller's and the solver's, or the optimiser's
    step: Array  # float64[], the next step's size
    time: Array  # float64[]
    moving_until: Array  # float64[], the last time looked at when a reached history had not converged
    gap: Array  # float64[], of all but the rarest entries


class Point(NamedTuple):
    """The flow's right-hand side at one point, and what the implicit part of a step needs."""

    slope: JointPolicy  # float64[H, A] for each agent
    probs: JointPolicy  # float64[H, A] for each agent
    rate: tuple[Array, ...]  # float64[H] for each agent, γ^t·reach·α


def evaluate(table: Tables, logits: JointPolicy, alpha: Array) -> Point:
    """The gradient, probabilities and rates at logits, for each agent float64[H, A], and α float64[]."""
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
            return tuple(map(divide, [gamma * h * rate for rate in point.rate], point.probs, right))

        k_1 = implicit(point.slope)
        later = evaluate(args[0], jax.tree.map(lambda y, k: y + h * k, y0, k_1), args[1])
        k_2 = implicit(jax.tree.map(lambda f, k: f - 2 * k, later.slope, k_1))
        y1 = jax.tree.map(lambda y, a, b: y + h * (1.5 * a + 0.5 * b), y0, k_1, k_2)
        error = jax.tree.map(lambda a, b: 0.5 * h * (a + b), k_1, k_2)
        return y1, error, {"y0": y0, "y1": y1}, None, diffrax.RESULTS.successful


def divide(c: Array, probs: Array, right: Array) -> Array:
    """The solution k of (I + c (diag π - π πᵀ)) k = right for every history: c float64[H], the rest float64[H, A]."""
    c = c[:, None]
    diagonal = 1 + c * probs
    plain = right / diagonal
    # 1 - c Σ π²/(1 + cπ) = Σ π/(1 + cπ), which does not cancel.
    correction = c * jnp.sum(probs * plain, -1, keepdims=True) / jnp.sum(probs / diagonal, -1, keepdims=True)
    return plain + correction * probs / diagonal


def error_controlled(solver: Any, natural: bool, tolerance: float) -> tuple[Callable, Callable]:
    """The steps of a diffrax solver under its PID controller. The flow is autonomous: every step goes from 0 to h."""

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

    def step(table: Tables, lane: Lane) -> Lane:
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


def fixed_steps(optimiser: optax.GradientTransformation, learning_rate: float) -> tuple[Callable, Callable]:
    """The steps of an optimiser: `learning_rate` times its direction."""

    def init(table: Tables, logits: JointPolicy, alpha: Array) -> tuple[Any, Array]:
        del table, alpha
        return optimiser.init(logits), jnp.full((), learning_rate)

    def step(table: Tables, lane: Lane) -> Lane:
        point = evaluate(table, lane.logits, lane.alpha)
        direction, hidden = optimiser.update(point.slope, lane.hidden)
        logits = jax.tree.map(lambda own, d: own + learning_rate * d, lane.logits, direction)
        return lane._replace(logits=logits, hidden=hidden, time=lane.time + learning_rate)

    return init, step
