"""The layers of the networks."""

import functools
from collections.abc import Sequence
from typing import Any, Literal, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp

from games.errors import TacitError, one_of, whole_number
from marl.policies.policy import Array

ACTIVATIONS = {"relu": nn.relu, "tanh": nn.tanh}

Precision = Literal["float32", "bfloat16"]
"""The precision of the factors of matrix products. Sums, parameters and all else are float32 either way.

On accelerators "float32" means jax's default: on NVIDIA's TF32, unless `jax_default_matmul_precision` asks for more.
"""


def widths(name: str, given: Any) -> tuple[int, ...]:
    """A list of layer widths from a configuration, hashable.

    Raises:
      TacitError: if it is none.
    """
    if not isinstance(given, list | tuple):
        raise TacitError(f"policy.{name} must be a list of layer widths, not {given!r}")
    return tuple(whole_number(f"policy.{name}", width, 1) for width in given)


def check(activation: Any, precision: Any) -> None:
    """Refuse an activation or a precision that is not known."""
    one_of("policy.activation", activation, ACTIVATIONS)
    one_of("policy.precision", precision, get_args(Precision))


def dense(width: int, gain: float, precision: Precision) -> nn.Dense:
    """A dense layer; at first its kernel is orthogonal with that gain, and its bias is 0."""
    return nn.Dense(width, kernel_init=nn.initializers.orthogonal(gain), dot_general=products(precision))


def hidden(layers: Sequence[nn.Dense], activation: str, x: Array) -> Array:
    """x float32[..., inputs] after every layer and its activation: float32[..., outputs of the last]."""
    for layer in layers:
        x = ACTIVATIONS[activation](layer(x))
    return x


def products(precision: Precision) -> Any:
    """`lax.dot_general` as layers call it, or None for the usual one."""
    return None if precision == "float32" else bfloat16_dot_general


def product(precision: Precision, x: Array, kernel: Array) -> Array:
    """float32[..., m] of float32[..., n] and float32[n, m], factors in `precision`."""
    return x @ kernel if precision == "float32" else _product(x, kernel)


def bfloat16_dot_general(x: Array, kernel: Array, dimension_numbers: Any, **_: Any) -> Array:
    """`lax.dot_general` of float32[..., n] and float32[n, m] with bfloat16 factors and float32 sums.

    The products of the gradients are of that kind, too.
    """
    assert dimension_numbers == (((x.ndim - 1,), (0,)), ((), ()))
    return _product(x, kernel)


@jax.custom_vjp
def _product(x: Array, kernel: Array) -> Array:
    return _dot("...n,nm->...m", x, kernel)


def _forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _product(x, kernel), (x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16))


def _backward(saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    x, kernel = saved
    return _dot("...m,nm->...n", gradient, kernel), _dot("...n,...m->nm", x, gradient)


_product.defvjp(_forward, _backward)


def _dot(subscripts: str, *factors: Array) -> Array:
    product = functools.partial(jnp.einsum, subscripts, preferred_element_type=jnp.float32)
    return product(*(factor.astype(jnp.bfloat16) for factor in factors))
