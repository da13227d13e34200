"""Quantization: how many scales there are, and what tells the dtypes."""

from __future__ import annotations

from graphopt.frontends.onnx.call import Call
from graphopt.frontends.onnx.opsets.steps import (
    Inexpressible,
    Lowering,
    dtype_of,
    given,
    shape_of,
    with_input,
    without,
)
from graphopt.structural import constant
from graphopt.tensor import Tensor
from graphopt.types import BY_CODE, DType


def scale_is_scalar(position: int) -> Lowering:
    """Before opset 13, one scale serves the whole tensor."""

    def step(call: Call) -> Call:
        shape = shape_of(call.inputs[position])
        if shape is None or any(size != 1 for size in shape):
            raise Inexpressible("there may be more than one scale")
        return without(call, "axis")

    return step


def quantized_dtype(call: Call) -> Call:
    """Before QuantizeLinear 21, the zero point alone tells the output's dtype."""
    code = call.attributes.get("output_dtype", 0)
    if call.attributes.get("block_size", 0):
        raise Inexpressible("it has blocks")
    call = without(call, "output_dtype", "block_size")
    dtype = BY_CODE.get(code)
    if dtype is None or given(call, 2) is not None or dtype is DType.UINT8:
        return call
    shape = shape_of(call.inputs[1])
    if shape is None or not all(isinstance(size, int) for size in shape):
        raise Inexpressible("the shape of the scale is not known")
    sizes = [size for size in shape if isinstance(size, int)]
    return with_input(call, 2, constant(Tensor.splat(dtype, sizes, 0)))


def scale_has_dtype_of_input(call: Call) -> Call:
    """Before QuantizeLinear 23, the input and its scale have one dtype."""
    if call.attributes.get("precision", 0):
        raise Inexpressible("it has a precision")
    if dtype_of(call.inputs[0]) is not dtype_of(call.inputs[1]):
        raise Inexpressible("the scale has another dtype than the input")
    return without(call, "precision")


def output_has_dtype_of_scale(call: Call) -> Call:
    """Before DequantizeLinear 23, the output has the dtype of the scale."""
    code = call.attributes.get("output_dtype", 0)
    if code and BY_CODE.get(code) is not dtype_of(call.inputs[1]):
        raise Inexpressible("the output has another dtype than the scale")
    return without(call, "output_dtype")
