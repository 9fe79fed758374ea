"""The operations and bytes of a program, with loops counted for every round.

The compiler's own `cost_analysis` counts the body of a loop once.
"""

import math
from collections.abc import Iterator
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun


def product_flops(jaxpr: Any) -> int:
    """Floating-point operations of the matrix products in a closed jaxpr: 2 m n k each, times the rounds of each scan.

    A `while`, whose number of rounds is unknown, counts as one round; of a `cond` the most expensive branch counts.
    """
    return sum(_product_flops(equation) for equation in jaxpr.jaxpr.eqns)


def _product_flops(equation: Any) -> int:
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        left = equation.invars[0].aval.shape
        return 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(left[axis] for axis in contracted)
    costs = [product_flops(inner) for inner in _inner(equation)]
    if equation.primitive.name == "cond":
        return max(costs)
    return _rounds(equation) * sum(costs)


def traffic(traced: Any, compiled: Any) -> float:
    """Bytes that a program reads and writes, by the compiler's estimate after fusion.

    The body of each scan is compiled once more on its own, to be counted as often as it runs.

    Args:
      traced: what `jax.jit(function).trace(...)` returns.
      compiled: what `traced.lower().compile()` returns.
    """
    return _traffic(traced.jaxpr, compiled)[1]


def _traffic(jaxpr: Any, compiled: Any) -> tuple[float, float]:
    """(bytes with every loop's body counted once, bytes with all rounds)."""
    once = float(compiled.cost_analysis()["bytes accessed"])
    total = once
    for equation in _scans(jaxpr):
        body = equation.params["jaxpr"]
        shapes = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in body.in_avals]
        body_once, body_total = _traffic(body, jax.jit(jaxpr_as_fun(body)).lower(*shapes).compile())
        total += _rounds(equation) * body_total - body_once
    return once, total


def _scans(jaxpr: Any) -> Iterator[Any]:
    """The outermost scans of more than one round."""
    for equation in jaxpr.jaxpr.eqns:
        if _rounds(equation) > 1:
            yield equation
        else:
            for inner in _inner(equation):
                yield from _scans(inner)


def _rounds(equation: Any) -> int:
    return equation.params["length"] if equation.primitive.name == "scan" else 1


def _inner(equation: Any) -> Iterator[Any]:
    """The closed jaxprs among an equation's parameters."""
    for value in equation.params.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            if hasattr(one, "jaxpr") and hasattr(one, "consts"):
                yield one
            elif hasattr(one, "eqns"):
                yield ClosedJaxpr(one, ())
