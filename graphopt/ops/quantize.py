"""Linear quantization: to small integers and floats, and back."""

from __future__ import annotations

from math import inf
from typing import Any

from graphopt.dims import Size
from graphopt.ir import Node
from graphopt.op import Array, Facts, Xp, op, refuse
from graphopt.ops.bounds import converted
from graphopt.ops.checks import check_dtype
from graphopt.ops.common import normal_axis
from graphopt.ops.dtypes import FLOAT8, SHORT_FLOATS
from graphopt.ops.examples import given
from graphopt.ops.intervals import mul, same_sign, spread, sub, within
from graphopt.ranges import ANYTHING, ValueFacts
from graphopt.structural import constant
from graphopt.types import DType, TensorType, Type, dtype_of

SCALES = (*SHORT_FLOATS, DType.FLOAT8E8M0)
SMALL = (
    DType.INT8, DType.UINT8, DType.INT16, DType.UINT16, *FLOAT8, DType.UINT4, DType.INT4,
    DType.FLOAT4E2M1, DType.UINT2, DType.INT2,
)  # fmt: skip
# A code of 0 in a file says that the attribute is not there: DType | None here.


def _spread(xp: Xp, scale: Array, x: Array, axis: int, block_size: int) -> Array:
    """A scale or zero point as float32, as scalar or in the shape of x."""
    if scale.dtype != xp.float64:
        scale = scale.astype(xp.float32)
    if scale.size == 1:
        return scale.reshape(())
    count = x.shape[axis]
    if scale.ndim == 1 and not block_size:
        scale = scale.reshape(tuple(-1 if k == axis % x.ndim else 1 for k in range(x.ndim)))
    else:
        scale = xp.take(xp.repeat(scale, block_size, axis=axis), xp.arange(count), axis=axis)
    return xp.broadcast_to(scale, x.shape)  # fails where another axis does not fit


def check_scale(kind: TensorType, value: Node, axis: int, block_size: int) -> None:
    """Raise TypeRuleError when a scale or zero point does not fit a tensor of type `kind`."""
    if block_size < 0:
        raise refuse(f"a block has at least 1 element, not {block_size}")
    shape, other = kind.shape, value.shape
    if shape is None or other is None or all(size == 1 for size in other):
        return
    if len(other) == 1 and not block_size:
        wanted: list[Size] = [shape[normal_axis(axis, len(shape))]]  # type: ignore[list-item]  # no None in a looked-up type
    elif block_size and len(other) == len(shape):
        wanted = list(shape)  # type: ignore[arg-type]  # no None in it
        axis = normal_axis(axis, len(shape))
        wanted[axis] = (wanted[axis] + (block_size - 1)) // block_size
    else:
        raise refuse(f"{value.type} is no scale of {kind}")
    if any(type(a) is type(b) is int and a != b for a, b in zip(wanted, other, strict=True)):
        raise refuse(f"{value.type} is no scale of {kind} along axis {axis}")


@op("QuantizeLinear", facts=Facts(signed_zero="passed"))
def quantize_linear(
    xp: Xp, x: Array, y_scale: Array, y_zero_point: Array | None = None, *, axis: int = 1,
    saturate: int = 1, block_size: int = 0, output_dtype: DType | None = None,
    precision: DType | None = None,
) -> Array:  # fmt: skip
    """round(x / y_scale) + y_zero_point as a small dtype, clamped to its range.

    The scale and the zero point are scalars, or 1-d along `axis`, or of the shape of x but for
    blocks of `block_size` along `axis`. The division is made in `precision`, else in the dtype of
    the scale; halves are rounded to even; 8-bit floats as Cast does.
    """
    made = output_dtype or DType.UINT8
    if y_zero_point is not None:
        made = dtype_of(y_zero_point.dtype)
    scale_dtype = dtype_of(y_scale.dtype)
    exact = precision or (scale_dtype if scale_dtype in SHORT_FLOATS else DType.FLOAT32)
    scale = xp.cast(_spread(xp, y_scale, x, axis, block_size), exact)
    ratio = (xp.cast(x, exact) / scale).astype(xp.float32)
    zero: Any = 0.0
    if y_zero_point is not None:
        zero = _spread(xp, y_zero_point, x, axis, block_size)
    if made.is_float:
        return xp.cast(ratio if y_zero_point is None else ratio + zero, made, bool(saturate))
    top = (1 << (made.bits - (made.kind == "i"))) - 1
    low = -top - 1 if made.kind == "i" else 0
    return xp.cast(xp.clip(xp.rint(ratio) + zero, low, top), made)


@quantize_linear.infer
def _(
    x: Node, y_scale: Node, y_zero_point: Node | None, *, axis: int, saturate: int,
    block_size: int, output_dtype: DType | None, precision: DType | None,
) -> Type:  # fmt: skip
    check_dtype(x, (*SHORT_FLOATS, DType.INT32))
    kind = x.tensor_type
    check_dtype(y_scale, (*SCALES, DType.INT32))
    check_scale(kind, y_scale, axis, block_size)
    made = output_dtype or DType.UINT8
    if y_zero_point is not None:
        check_scale(kind, y_zero_point, axis, block_size)
        made = y_zero_point.dtype
        if output_dtype not in (None, made):
            raise refuse(f"the zero point is {made}, but output_dtype is {output_dtype}")
    if made not in SMALL or precision not in (None, *SHORT_FLOATS, DType.FLOAT64):
        raise refuse(f"quantization to {made} with precision {precision} is not taken")
    return kind.with_shape(kind.shape).with_dtype(made)


@quantize_linear.examples
def _() -> list[Node]:
    x, scale = given("x", "N", 4, 3), constant(0.25, DType.FLOAT32)
    by_axis = constant([0.5, 0.25, 2, 1], DType.FLOAT32)
    blocks = constant([[[0.5, 1, 2]], [[0.25, 2, 1]]], DType.FLOAT32)
    blocked = given("x", 2, 4, 3)
    return [
        *(quantize_linear(x, scale, output_dtype=dtype) for dtype in SMALL),
        quantize_linear(x, scale),
        quantize_linear(x, by_axis, constant([1, 2, 3, 4], DType.INT8)),
        quantize_linear(x, by_axis, axis=-2, output_dtype=DType.INT16),
        quantize_linear(blocked, blocks, block_size=4),
        quantize_linear(blocked, blocks, constant([[[1, 2, 0]]] * 2, DType.UINT8), block_size=5),
        quantize_linear(x, scale, precision=DType.FLOAT16),
        quantize_linear(given("x", 0, 3, dtype=DType.FLOAT16), constant(0.5, DType.FLOAT16)),
        quantize_linear(given("x", 3, dtype=DType.INT32), constant(2.0, DType.FLOAT32)),
        quantize_linear(x, scale, output_dtype=DType.FLOAT8E5M2, saturate=0),
    ]


@op("DequantizeLinear", facts=Facts(signed_zero="passed"))
def dequantize_linear(
    xp: Xp, x: Array, x_scale: Array, x_zero_point: Array | None = None, *, axis: int = 1,
    block_size: int = 0, output_dtype: DType | None = None,
) -> Array:  # fmt: skip
    """(x - x_zero_point) * x_scale as output_dtype, else as the dtype of the scale.

    Scale and zero point are laid out as those of QuantizeLinear.
    """
    real = xp.cast(x, DType.FLOAT32)
    if x_zero_point is not None:
        real = real - _spread(xp, x_zero_point, x, axis, block_size)
    scaled = real * _spread(xp, x_scale, x, axis, block_size)
    return xp.cast(scaled, output_dtype or dtype_of(x_scale.dtype))


@dequantize_linear.infer
def _(
    x: Node, x_scale: Node, x_zero_point: Node | None, *, axis: int, block_size: int,
    output_dtype: DType | None,
) -> Type:  # fmt: skip
    check_dtype(x, (*SMALL, DType.INT32))
    kind = x.tensor_type
    check_dtype(x_scale, SCALES)
    scale = x_scale.tensor_type
    check_scale(kind, x_scale, axis, block_size)
    if x_zero_point is not None:
        check_scale(kind, x_zero_point, axis, block_size)
        if x_zero_point.dtype is not kind.dtype:
            raise refuse(f"the zero point of {kind.dtype} is {x_zero_point.dtype}")
    made = output_dtype or scale.dtype
    if made not in SHORT_FLOATS:
        raise refuse(f"dequantization to {made} is not taken")
    return TensorType(made, kind.shape)


@dequantize_linear.bounds
def _(node: Node, x: ValueFacts, scale: ValueFacts, zero_point: ValueFacts | None) -> ValueFacts:
    wide, kind = DType.FLOAT32, node.inputs[0].dtype
    real = converted(kind, wide, x)
    if zero_point is not None:
        real = sub(wide, real, converted(kind, wide, zero_point))
    made = mul(wide, real, converted(node.inputs[1].dtype, wide, scale))
    return spread(node.dtype, made, 2, *same_sign(made))


@dequantize_linear.examples
def _() -> list[Node]:
    x, scale = given("x", "N", 4, 3, dtype=DType.UINT8), constant(0.25, DType.FLOAT32)
    by_axis = constant([0.5, 0.25, 2, 1], DType.FLOAT32)
    blocks = constant([[[0.5, 1, 2]], [[0.25, 2, 1]]], DType.FLOAT32)
    return [
        *(
            dequantize_linear(given("x", "N", 3, dtype=dtype), scale)
            for dtype in (*SMALL, DType.INT32)
        ),
        dequantize_linear(x, scale, constant(3, DType.UINT8)),
        dequantize_linear(x, by_axis, constant([1, 2, 3, 4], DType.UINT8)),
        dequantize_linear(given("x", 2, 4, 3, dtype=DType.UINT8), blocks, block_size=4),
        dequantize_linear(x, constant(0.3, DType.FLOAT16)),
        dequantize_linear(x, scale, output_dtype=DType.FLOAT16),
        dequantize_linear(given("x", 0, dtype=DType.INT8), scale),
    ]


@op("DynamicQuantizeLinear", facts=Facts(signed_zero="absorbed", total=True))
def dynamic_quantize_linear(xp: Xp, x: Array, *, outputs: int = 3) -> Any:
    """x quantized to uint8 by its own range widened to hold 0; the scale; the zero point.

    The scale of a tensor of all zeros is 1.
    """
    high, low = xp.max(x, initial=0), xp.min(x, initial=0)
    scale = xp.where(high == low, 1, (high - low) / xp.float32(255)).astype(xp.float32)
    zero = xp.rint(xp.clip(-low / scale, 0, 255))
    made = xp.clip(xp.rint(x / scale) + zero, 0, 255)
    return made.astype(xp.uint8), scale, zero.astype(xp.uint8)


@dynamic_quantize_linear.infer
def _(x: Node, *, outputs: int) -> Any:
    check_dtype(x, (DType.FLOAT32,))
    if outputs != 3:
        raise refuse(f"there are 3 outputs, not {outputs}")
    kind = x.tensor_type
    small = DType.UINT8
    return TensorType(small, kind.shape), TensorType(DType.FLOAT32, ()), TensorType(small, ())


@dynamic_quantize_linear.bounds
def _(node: Node, x: ValueFacts) -> tuple[ValueFacts, ...]:
    return ANYTHING, within(0, inf, nan=not x.finite), ANYTHING


dynamic_quantize_linear.examples(
    lambda: [dynamic_quantize_linear(given("x", *shape)) for shape in (("N", 5), (1,))]
)
