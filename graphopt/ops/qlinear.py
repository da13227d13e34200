"""Products and convolutions of quantized numbers that are quantized again."""

from __future__ import annotations

from typing import Any

from graphopt.ir import Node
from graphopt.op import Array, Ints, Xp, op
from graphopt.ops.checks import check_dtype, check_one_element, check_size, same_dtype
from graphopt.ops.common import tensor
from graphopt.ops.conv import conv_shape, convolve, kernel_of
from graphopt.ops.dtypes import BYTES, FLOAT8, SHORT_FLOATS
from graphopt.ops.examples import given
from graphopt.ops.integer import (
    by_filter,
    by_row,
    centred,
    check_parameter,
    check_quantized,
    one_or_all,
    to_int32,
)
from graphopt.ops.linalg import matmul_shape
from graphopt.ops.window import window
from graphopt.structural import constant
from graphopt.types import DType, Type

FLOAT8_MAX = {
    "float8_e4m3fn": 448.0,
    "float8_e4m3fnuz": 240.0,
    "float8_e5m2": 57344.0,
    "float8_e5m2fnuz": 57344.0,
}
QUANTIZED = (*BYTES, *FLOAT8)


def quantize(xp: Xp, total: Array, scale: Array, zero_point: Array) -> Array:
    """total * scale, in float32, rounded half to even, plus the zero point, saturated.

    Raises ValueError when the scale or the zero point does not broadcast to the total.
    """
    kind = zero_point.dtype
    scaled = xp.asarray(total, xp.float32) * scale
    if scaled.shape != total.shape:
        raise ValueError(f"the scales make {scaled.shape} of {total.shape}")
    offset = xp.broadcast_to(xp.asarray(zero_point, xp.float32), total.shape)
    if kind.name in FLOAT8_MAX:
        largest = FLOAT8_MAX[kind.name]
        return xp.asarray(xp.clip(scaled + offset, -largest, largest), kind)
    limits = xp.iinfo(kind)
    return xp.asarray(xp.clip(xp.rint(scaled) + offset, limits.min, limits.max), kind)


@op("QLinearMatMul")
def qlinear_matmul(
    xp: Xp,
    a: Array,
    a_scale: Array,
    a_zero_point: Array,
    b: Array,
    b_scale: Array,
    b_zero_point: Array,
    y_scale: Array,
    y_zero_point: Array,
) -> Array:
    """The product of quantized matrices, quantized by y's scale and zero point.

    Scales and zero points are one for all, or one a row of A and one a column of B.
    """
    left = centred(xp, a, by_row(a_zero_point))
    right = centred(xp, b, one_or_all(b_zero_point))
    total = xp.matmul(left, right)
    if a.dtype.name not in FLOAT8_MAX and b.dtype.name not in FLOAT8_MAX:
        total = to_int32(xp, total)
    parameters = (by_row(a_scale), one_or_all(b_scale), one_or_all(y_scale))
    scales = [xp.asarray(item, xp.float32) for item in parameters]
    return quantize(xp, total, scales[0] * scales[1] / scales[2], one_or_all(y_zero_point))


@qlinear_matmul.infer
def _(
    a: Node,
    a_scale: Node,
    a_zero_point: Node,
    b: Node,
    b_scale: Node,
    b_zero_point: Node,
    y_scale: Node,
    y_zero_point: Node,
) -> Type:
    for value, zero_point in ((a, a_zero_point), (b, b_zero_point)):
        check_dtype(value, QUANTIZED, "a matrix")
        check_dtype(zero_point, (value.dtype,), "a zero point")
    check_dtype(y_zero_point, QUANTIZED, "the output's zero point")
    same_dtype(a_scale, b_scale, y_scale, among=SHORT_FLOATS)
    return tensor(y_zero_point.dtype, matmul_shape(a, b))


@qlinear_matmul.examples
def _() -> list[Node]:
    a, b = given("a", 2, 3, dtype=DType.UINT8), given("b", 3, 4, dtype=DType.INT8)
    zero_a, zero_b = constant(1, DType.UINT8), constant(-1, DType.INT8)
    half, one = constant(0.5, DType.FLOAT32), constant(0.25, DType.FLOAT32)
    columns = constant([0.5, 1.0, 2.0, 0.125], DType.FLOAT32)
    short = constant(0.5, DType.FLOAT16)
    batch = given("a", "N", 2, 3, dtype=DType.UINT8)
    return [
        qlinear_matmul(a, half, zero_a, b, one, zero_b, half, zero_a),
        qlinear_matmul(batch, half, zero_a, b, columns, zero_b, half, zero_b),
        qlinear_matmul(a, short, zero_a, b, short, zero_b, short, zero_b),
    ]


@op("QLinearConv")
def qlinear_conv(
    xp: Xp,
    x: Array,
    x_scale: Array,
    x_zero_point: Array,
    w: Array,
    w_scale: Array,
    w_zero_point: Array,
    y_scale: Array,
    y_zero_point: Array,
    bias: Array | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Array:
    """The convolution of quantized x and w, quantized by y's scale and zero point.

    Scale and zero point of w are one for all, or one a filter. The int32 bias has the scale of x
    times that of w.
    """
    win = window(kernel_of(x, w, kernel_shape), strides, pads, dilations, auto_pad)
    image = centred(xp, x, one_or_all(x_zero_point))
    filters = centred(xp, w, by_filter(w_zero_point, w.ndim - 1))
    total = convolve(xp, image, filters, win, group)
    if bias is not None:
        check_size("the number of filters", total.shape[1], *bias.shape)
        total = total + bias.reshape((-1,) + (1,) * (w.ndim - 2))
    scales = by_filter(x_scale * w_scale / y_scale, w.ndim - 2)
    return quantize(xp, to_int32(xp, total), scales, one_or_all(y_zero_point))


@qlinear_conv.infer
def _(
    x: Node,
    x_scale: Node,
    x_zero_point: Node,
    w: Node,
    w_scale: Node,
    w_zero_point: Node,
    y_scale: Node,
    y_zero_point: Node,
    bias: Node | None,
    **geometry: Any,
) -> Type:
    check_quantized(x, x_zero_point, None)
    check_quantized(w, w_zero_point, w)
    check_dtype(y_zero_point, BYTES, "the output's zero point")
    check_one_element(y_zero_point, "the output's zero point")
    check_dtype(bias, (DType.INT32,), "the bias")
    for scale, filters in ((x_scale, None), (w_scale, w), (y_scale, None)):
        check_dtype(scale, (DType.FLOAT32,), "a scale")
        check_parameter(scale, filters)
    return tensor(y_zero_point.dtype, conv_shape(x, w, bias, **geometry))


@qlinear_conv.examples
def _() -> list[Node]:
    x, w = given("x", 2, 4, 5, 6, dtype=DType.UINT8), given("w", 3, 4, 2, 3, dtype=DType.INT8)
    zero, signed = constant(1, DType.UINT8), constant([0, 1, -1], DType.INT8)
    scale, scales = constant(0.5, DType.FLOAT32), constant([0.5, 0.25, 1.0], DType.FLOAT32)
    bias = given("b", 3, dtype=DType.INT32)
    plain = constant(0, DType.INT8)
    return [
        qlinear_conv(x, scale, zero, w, scale, plain, scale, zero),
        qlinear_conv(x, scale, zero, w, scales, signed, scale, zero, bias, pads=(1, 1, 0, 2)),
        qlinear_conv(x, scale, zero, w, scale, plain, scale, plain, bias, strides=(2, 2)),
    ]
