"""Softmax, its logarithm and its limit: probabilities along an axis."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, log

from graphopt.ir import Node
from graphopt.op import Array, Facts, Op, Xp
from graphopt.ops.bounds import attribute, size_range
from graphopt.ops.checks import float_dtype
from graphopt.ops.common import normal_axis
from graphopt.ops.examples import given
from graphopt.ops.intervals import has_infinity, spread, within
from graphopt.ops.kernels import wide
from graphopt.ranges import ValueFacts
from graphopt.types import DType, TensorType, Type


def shifted(xp: Xp, x: Array, axis: int) -> Array:
    """x minus its maximum along an axis, so that no exponential of it overflows."""
    return x - xp.max(x, axis=axis, keepdims=True, initial=-xp.inf)


def softmax_of(xp: Xp, x: Array, axis: int) -> Array:
    """exp(x) / sum(exp(x)) along an axis; of x's shape."""
    powers = xp.exp(shifted(xp, x, axis))
    return powers / xp.sum(powers, axis=axis, keepdims=True)


def log_softmax_of(xp: Xp, x: Array, axis: int) -> Array:
    """log(softmax(x)) along an axis, finite wherever x is; of x's shape."""
    below = shifted(xp, x, axis)
    return below - xp.log(xp.sum(xp.exp(below), axis=axis, keepdims=True))


def hardmax_of(xp: Xp, x: Array, axis: int) -> Array:
    """1 at the first maximum along an axis and 0 elsewhere; of x's shape."""
    if not x.size:
        return x
    first = xp.expand_dims(xp.argmax(x, axis=axis), axis)
    position = xp.arange(x.shape[axis]).reshape((-1,) + (1,) * (x.ndim - axis % x.ndim - 1))
    return (position == first).astype(x.dtype)


def along_axis(name: str, compute: Callable[[Xp, Array, int], Array], facts: Facts) -> Op:
    """A function of the vectors along an axis that keeps the shape."""

    def kernel(xp: Xp, x: Array, *, axis: int = -1) -> Array:
        (full,) = wide(xp, x)
        return compute(xp, full, axis).astype(x.dtype)

    def infer(x: Node, *, axis: int) -> Type:
        float_dtype(x)
        if x.shape is not None:
            normal_axis(axis, len(x.shape))
        return TensorType(x.dtype, x.shape)

    def examples() -> list[Node]:
        x = given("x", 2, 3, 4)
        others = [given("x", *shape) for shape in ((1,), (3, 1), (2, 0), (0, 2))]
        halves = [given("x", 2, 5, dtype=kind) for kind in (DType.FLOAT16, DType.FLOAT64)]
        made = [op(x, axis=axis) for axis in (-3, -2, -1, 0, 1, 2)]
        return made + [op(other) for other in others + halves]

    kernel.__doc__ = compute.__doc__
    op = Op(name, kernel, facts=facts)
    op.infer(infer)
    op.examples(examples)
    return op


softmax = along_axis("Softmax", softmax_of, Facts(signed_zero="absorbed"))
log_softmax = along_axis("LogSoftmax", log_softmax_of, Facts(signed_zero="absorbed"))
hardmax = along_axis("Hardmax", hardmax_of, Facts(idempotent=True, signed_zero="absorbed"))


@softmax.bounds
def _(node: Node, x: ValueFacts) -> ValueFacts:
    nan = x.may_be_nan or has_infinity(x)
    return spread(node.dtype, within(0, 1, nan=nan), 64, least=0)


@log_softmax.bounds
def _(node: Node, x: ValueFacts) -> ValueFacts:
    if has_infinity(x):
        return spread(node.dtype, within(-inf, 0, nan=True, zero=True), 64)
    shape, axis = node.inputs[0].shape, int(attribute(node, "axis"))
    _, count = size_range(None if shape is None else (shape[axis],))
    low = x.low - x.high - log(max(count, 1))
    return spread(node.dtype, within(low, 0, nan=x.may_be_nan, zero=True), 64)


hardmax.bounds(lambda node, x: within(0, 1, whole=True))
