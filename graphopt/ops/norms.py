"""Normalization by other measures: a norm along an axis, nearby channels, mean and deviation."""

from __future__ import annotations

from functools import reduce

from graphopt.ir import Node
from graphopt.op import Array, Facts, Ints, Xp, op, refuse
from graphopt.ops.checks import check_rank_from, float_dtype
from graphopt.ops.common import normal_axes, normal_axis
from graphopt.ops.examples import given
from graphopt.ops.kernels import mean_over, wide
from graphopt.types import TensorType, Type


@op("LpNormalization")
def lp_normalization(xp: Xp, x: Array, *, axis: int = -1, p: int = 2) -> Array:
    """x divided by its p-norm (p: 1 or 2) along an axis; 0 where the norm is 0."""
    (full,) = wide(xp, x)
    powers = xp.abs(full) if p == 1 else full * full
    norm = xp.sum(powers, axis=axis, keepdims=True)
    norm = norm if p == 1 else xp.sqrt(norm)
    return xp.where(norm == 0, xp.zeros_like(full), full / norm).astype(x.dtype)


@lp_normalization.infer
def _(x: Node, *, axis: int, p: int) -> Type:
    float_dtype(x)
    if p not in (1, 2):
        raise refuse(f"p is {p} where 1 or 2 is taken")
    if x.shape is not None:
        normal_axis(axis, len(x.shape))
    return TensorType(x.dtype, x.shape)


@lp_normalization.examples
def _() -> list[Node]:
    x = given("x", 2, 3, 4)
    made = [lp_normalization(x, axis=axis, p=p) for axis in (-1, 0, 1) for p in (1, 2)]
    return [*made, lp_normalization(given("x", 2, 0)), lp_normalization(given("x", 3, 1))]


@op("LRN", facts=Facts(signed_zero="passed"))
def lrn(
    xp: Xp, x: Array, *, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, size: int
) -> Array:
    """x / (bias + alpha / size * s)^beta, s the sum of squares over `size` channels around each."""
    (full,) = wide(xp, x)
    total = squares_nearby(xp, full, 1, size)
    return (full / (bias + alpha / size * total) ** beta).astype(x.dtype)


def squares_nearby(xp: Xp, x: Array, axis: int, size: int) -> Array:
    """The sum of the squares of `size` elements around each along an axis."""
    count = x.shape[axis]
    margins = [(0, 0)] * x.ndim
    below, above = margins[axis] = min((size - 1) // 2, count), min(size // 2, count)
    squares = xp.pad(x * x, margins)
    before = (slice(None),) * axis
    parts = (squares[(*before, slice(k, k + count))] for k in range(below + above + 1))
    return reduce(xp.add, parts)


@lrn.infer
def _(x: Node, *, alpha: float, beta: float, bias: float, size: int) -> Type:
    float_dtype(x)
    check_rank_from(x, 2)
    if size < 1:
        raise refuse(f"size is {size}")
    return TensorType(x.dtype, x.shape)


@lrn.examples
def _() -> list[Node]:
    x = given("x", 2, 5, 3, 2)
    return [lrn(x, size=size) for size in (1, 2, 3, 8)] + [
        lrn(x, size=3, alpha=0.5, beta=0.4, bias=2.0),
        lrn(given("x", 2, 1, 3, 0), size=5),
    ]


@op("MeanVarianceNormalization", facts=Facts(signed_zero="passed"))
def mean_variance_normalization(xp: Xp, x: Array, *, axes: Ints = (0, 2, 3)) -> Array:
    """(x - mean) / (the standard deviation + 1e-9) over some axes, over all where none is named."""
    (full,) = wide(xp, x)
    over = axes or tuple(range(x.ndim))
    centered = full - mean_over(xp, full, over)
    deviation = xp.sqrt(mean_over(xp, centered * centered, over))
    return (centered / (deviation + 1e-9)).astype(x.dtype)


@mean_variance_normalization.infer
def _(x: Node, *, axes: Ints) -> Type:
    float_dtype(x)
    if x.shape is not None:
        normal_axes(axes, len(x.shape))
    return TensorType(x.dtype, x.shape)


@mean_variance_normalization.examples
def _() -> list[Node]:
    x = given("x", 2, 3, 4, 5)
    return [mean_variance_normalization(x, axes=axes) for axes in ((0, 2, 3), (1,), (-1, 0))] + [
        mean_variance_normalization(given("x", 0, 3), axes=(0,)),
    ]
