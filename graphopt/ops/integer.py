"""Products and convolutions of quantized integers.

They are computed exactly, by float64 products of matrices, whose sums of less than 2^53 have no
rounding error; only then are they taken modulo 2^32, as accumulation in int32 would leave them.
"""

from __future__ import annotations

from typing import Any

from graphopt.ir import Node
from graphopt.op import Array, Ints, Xp, op
from graphopt.ops.checks import check_dtype, check_one_element, one_size, size_at
from graphopt.ops.common import tensor
from graphopt.ops.conv import conv_shape, convolve, kernel_of
from graphopt.ops.dtypes import BYTES
from graphopt.ops.examples import given
from graphopt.ops.linalg import matmul_shape
from graphopt.ops.window import window
from graphopt.structural import constant
from graphopt.types import DType, Type


def centred(xp: Xp, x: Array, zero_point: Array | None) -> Array:
    """x - zero_point in float64, where the zero point broadcasts to x."""
    x = xp.asarray(x, xp.float64)
    if zero_point is None:
        return x
    return x - xp.broadcast_to(xp.asarray(zero_point, xp.float64), x.shape)


def one_or_all(value: Array | None) -> Array | None:
    """A parameter of one element as a scalar; all else as it is."""
    return value.reshape(()) if value is not None and value.size == 1 else value


def by_row(value: Array | None) -> Array | None:
    """A parameter with an element a row as a column."""
    value = one_or_all(value)
    return value[:, None] if value is not None and value.ndim == 1 else value


def by_filter(value: Array | None, behind: int) -> Array | None:
    """A parameter with an element a filter, for a tensor with `behind` axes behind that one."""
    value = one_or_all(value)
    return value if value is None or value.ndim == 0 else value.reshape((-1,) + (1,) * behind)


def to_int32(xp: Xp, total: Array) -> Array:
    """Whole numbers in float64 modulo 2^32."""
    return xp.asarray(xp.asarray(total, xp.int64), xp.int32)


@op("MatMulInteger")
def matmul_integer(
    xp: Xp,
    a: Array,
    b: Array,
    a_zero_point: Array | None = None,
    b_zero_point: Array | None = None,
) -> Array:
    """The product of 8-bit matrices in int32, as MatMul's, the zero points subtracted first.

    A zero point is one for all, or one a row of A and one a column of B.
    """
    left = centred(xp, a, by_row(a_zero_point))
    right = centred(xp, b, one_or_all(b_zero_point))
    return to_int32(xp, xp.matmul(left, right))


@matmul_integer.infer
def _(a: Node, b: Node, a_zero_point: Node | None, b_zero_point: Node | None) -> Type:
    for value, zero_point in ((a, a_zero_point), (b, b_zero_point)):
        check_dtype(value, BYTES, "a matrix")
        check_dtype(zero_point, (value.dtype,), "a zero point")
    return tensor(DType.INT32, matmul_shape(a, b))


@matmul_integer.examples
def _() -> list[Node]:
    def bytes_(*shape: int, dtype: DType = DType.UINT8) -> Node:
        return given("ab"[shape[0] == 3], *shape, dtype=dtype)

    zero = constant(2, DType.UINT8)
    return [
        matmul_integer(bytes_(4, 3), bytes_(3, 2)),
        matmul_integer(bytes_(4, 3), bytes_(3, 2, dtype=DType.INT8), zero),
        matmul_integer(bytes_(2, 4, 3), bytes_(3, 2), zero, constant([1, 0], DType.UINT8)),
    ]


@op("ConvInteger")
def conv_integer(
    xp: Xp,
    x: Array,
    w: Array,
    x_zero_point: Array | None = None,
    w_zero_point: Array | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    """The convolution of 8-bit x and w in int32, as Conv's, the zero points subtracted first.

    What pads x is its zero point. That of w is one for all, or one a filter.
    """
    win = window(kernel_of(x, w, kernel_shape), strides, pads, dilations, auto_pad)
    image = centred(xp, x, one_or_all(x_zero_point))
    filters = centred(xp, w, by_filter(w_zero_point, w.ndim - 1))
    return to_int32(xp, convolve(xp, image, filters, win, group))


@conv_integer.infer
def _(
    x: Node, w: Node, x_zero_point: Node | None, w_zero_point: Node | None, **geometry: Any
) -> Type:
    check_quantized(x, x_zero_point, None)
    check_quantized(w, w_zero_point, w)
    return tensor(DType.INT32, conv_shape(x, w, **geometry))


def check_quantized(value: Node, zero_point: Node | None, filters: Node | None) -> None:
    """Refuse what is not of 8 bits, and a zero point of another dtype, or a wrong size of it."""
    check_dtype(value, BYTES, "x or w")
    check_dtype(zero_point, (value.dtype,), "a zero point")
    check_parameter(zero_point, filters)


def check_parameter(value: Node | None, filters: Node | None) -> None:
    """Refuse a parameter that is not one element, nor, if there are filters, one a filter."""
    if value is None or value.rank != 1 or filters is None:
        check_one_element(value, "a scale or zero point")
    elif size_at(value, 0) != 1:
        one_size("the number of filters", size_at(filters, 0), size_at(value, 0))


@conv_integer.examples
def _() -> list[Node]:
    x, w = given("x", 2, 4, 5, 6, dtype=DType.UINT8), given("w", 3, 4, 2, 3, dtype=DType.UINT8)
    zero = constant(1, DType.UINT8)
    signed = given("w", 4, 2, 2, 3, dtype=DType.INT8)
    return [
        conv_integer(x, w),
        conv_integer(x, w, zero, pads=(1, 1, 0, 2), strides=(2, 1)),
        conv_integer(x, w, zero, constant([0, 1, 2], DType.UINT8), dilations=(2, 1)),
        conv_integer(x, signed, None, constant([1], DType.INT8), group=2, auto_pad="SAME_UPPER"),
    ]
