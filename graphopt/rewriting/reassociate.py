"""The one place where constants of sums and products are combined across another operation.

Integers wrap around, so any order of sums and products gives the same bits. For floats the combined
constant must be exact, finite and normal, and such that the new order neither overflows nor loses
what the old one kept:

- (x + a) + b = x + (a + b) where a and b have the same sign. With opposite signs the first sum may
  round x to a grid on purpose, or hide it on purpose.
- (x * a) * b = x * (a * b) where both magnitudes are at least 1, or both at most 1: then whatever
  overflows or underflows on the right does so on the left, too.

One rounding takes the place of two, so that the class of such a rule is ROUNDING; `exact_product`
says where it is even EXACT. `roughly` combines what may differ visibly, for rules of class FAST.
"""

from __future__ import annotations

from math import frexp
from typing import Any

import numpy as np

from graphopt.analysis import finite_and_normal
from graphopt.ir import Node
from graphopt.rewriting.rule import Declined
from graphopt.structural import constant
from graphopt.tensor import Tensor
from graphopt.types import DType

Array = np.ndarray[Any, np.dtype[Any]]
MAX_ELEMENTS = 1 << 20
"""Constants with more elements are not combined: the result would be one more of that size."""


def combined_sum(a: Node, b: Node) -> Node | Declined:
    """The constant a + b, broadcast, that x + a + b may add to x at once."""
    found = _operands(a, b)
    if isinstance(found, Declined):
        return found
    dtype, first, second = found
    if not dtype.is_float:
        return _constant(dtype, _wrapping(np.add, first, second))
    made = _rounded(dtype, first, second, np.add)
    if made is None:
        return Declined("the sum of the constants is not exact and finite")
    if np.any((first < 0) != (second < 0)):
        return Declined("the constants have opposite signs")
    return _constant(dtype, made)


def combined_product(a: Node, b: Node) -> Node | Declined:
    """The constant a * b, broadcast, by which x * a * b may multiply x at once."""
    found = _operands(a, b)
    if isinstance(found, Declined):
        return found
    dtype, first, second = found
    if not dtype.is_float:
        return _constant(dtype, _wrapping(np.multiply, first, second))
    made = _rounded(dtype, first, second, np.multiply)
    if made is None:
        return Declined("the product of the constants is not exact and normal")
    large = (np.abs(first) >= 1) & (np.abs(second) >= 1)
    small = (np.abs(first) <= 1) & (np.abs(second) <= 1) & (first != 0) & (second != 0)
    if not np.all(large | small):
        return Declined("one constant enlarges, the other makes smaller")
    return _constant(dtype, made)


def roughly(operation: Any, a: Node, b: Node) -> Node | Declined:
    """The constant `operation` (a ufunc) makes of two of floats, rounded, for rules of class FAST.

    It is finite, and normal but for sums that are 0: anything else is no constant of the program.
    """
    found = _operands(a, b)
    if isinstance(found, Declined):
        return found
    dtype, first, second = found
    if not dtype.is_float:
        return Declined("constants of integers are combined exactly")
    with np.errstate(all="ignore"):
        wide = operation(first.astype(np.float64), second.astype(np.float64))
        made = np.asarray(wide.astype(dtype.numpy))
    product = operation not in (np.add, np.subtract)
    if not finite_and_normal(made) or (product and not np.all(made)):
        return Declined("the combined constant is not finite and normal")
    return _constant(dtype, made)


def exact_product(a: Node, b: Node) -> bool:
    """Whether x * a * b = x * (a * b) bit for bit: of integers, or of powers of two from 1 up.

    The latter overflow together, and neither rounds.
    """
    found = _operands(a, b)
    if isinstance(found, Declined):
        return False
    dtype, first, second = found
    return not dtype.is_float or (_enlarging_power(first) and _enlarging_power(second))


def _enlarging_power(values: Array) -> bool:
    if values.size == 1:
        element = abs(float(values.item()))
        return element >= 1 and frexp(element)[0] == 0.5
    fractions, _ = np.frexp(np.abs(values.astype(np.float64)))
    return bool(np.all((fractions == 0.5) & (np.abs(values) >= 1)))


def _operands(a: Node, b: Node) -> tuple[DType, Array, Array] | Declined:
    first, second = a.constant, b.constant
    if first is None or second is None:
        return Declined("both are constants")
    if first.dtype is not second.dtype or first.dtype.kind not in "iuf" or first.dtype.bits < 8:
        return Declined(f"constants of {first.dtype} and {second.dtype} are not combined")
    if max(_stored(first), _stored(second)) > MAX_ELEMENTS:
        return Declined("the constants are too large")
    return first.dtype, _held(first), _held(second)


def _stored(tensor: Tensor) -> int:
    return 1 if tensor.is_splat else tensor.size


def _held(tensor: Tensor) -> Array:
    """The elements, one along each axis of a splat."""
    if tensor.is_splat:
        return np.full((1,) * len(tensor.shape), tensor.element, tensor.dtype.numpy)
    return tensor.array


def _wrapping(operation: Any, first: Array, second: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray(operation(first, second, dtype=first.dtype))


def _rounded(dtype: DType, first: Array, second: Array, operation: Any) -> Array | None:
    """The result in `dtype`, None where it is not exact, not finite or subnormal."""
    x, y = first.astype(np.float64), second.astype(np.float64)
    with np.errstate(all="ignore"):
        wide = operation(x, y)
        made = wide.astype(dtype.numpy)
        exact = np.array_equal(made.astype(np.float64), wide)
        if operation is np.add:
            exact = exact and not _sum_error(x, y).any()
        elif dtype.bits > 32:  # a product of two floats of 32 bits has 48 bits at the most
            exact = exact and not _product_error(x, y).any()
    return made if exact and finite_and_normal(made) else None


def _sum_error(x: Array, y: Array) -> Array:
    """What float64 addition rounds away (Knuth's TwoSum); NaN for what overflows."""
    total = x + y
    part = total - x
    return np.asarray((x - (total - part)) + (y - part))


def _product_error(x: Array, y: Array) -> Array:
    """What float64 multiplication rounds away, of the fractions (Dekker's product)."""
    (p, _), (q, _) = np.frexp(x), np.frexp(y)
    p_high, q_high = _high(p), _high(q)
    p_low, q_low = p - p_high, q - q_high
    return np.asarray(((p_high * q_high - p * q) + p_high * q_low + p_low * q_high) + p_low * q_low)


def _high(x: Array) -> Array:
    """The upper 26 bits of fractions (Veltkamp's split)."""
    scaled = x * 134217729.0  # 2**27 + 1
    return np.asarray(scaled - (scaled - x))


def _constant(dtype: DType, array: Array) -> Node:
    return constant(Tensor.of(np.ascontiguousarray(array).reshape(array.shape), dtype).compact())
