"""Quantization: layouts of scales, saturation, precision, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.errors import TypeRuleError
from graphopt.ir import Node
from graphopt.ops.quantize import dequantize_linear, dynamic_quantize_linear, quantize_linear
from graphopt.structural import constant, graph_input
from graphopt.types import DType
from tests.ops import harness

INFINITY = float("inf")


def numbers(data: Any) -> Node:
    return constant(data, DType.FLOAT32)


def value(node: Node) -> Any:
    made = harness.run(node, {})[node]
    assert made.dtype == node.dtype.numpy
    return made.astype(np.float32).tolist()


def test_quantization_rounds_to_even_and_saturates() -> None:
    x = numbers([0.5, 1.5, -0.5, 200, -200, 1e30, -INFINITY])
    assert value(quantize_linear(x, numbers(1), constant(0, DType.INT8))) == [
        0, 2, 0, 127, -128, 127, -128,
    ]  # fmt: skip
    assert value(quantize_linear(x, numbers(1))) == [0, 2, 0, 200, 0, 255, 0]
    assert value(quantize_linear(x, numbers(1), output_dtype=DType.INT4))[3:] == [7, -8, 7, -8]


def test_division_is_made_in_the_given_precision() -> None:
    x, scale = numbers([2049]), constant(1, DType.FLOAT16)
    half = quantize_linear(x, scale, output_dtype=DType.INT16)
    single = quantize_linear(x, scale, output_dtype=DType.INT16, precision=DType.FLOAT32)
    assert value(half) == [2048] and value(single) == [2049]


@given(st.integers(0, 2), st.integers(1, 4), st.booleans())
def test_layouts_of_the_scale_agree(axis: int, block: int, zeroed: bool) -> None:
    """A scale by axis or by block is the scale of every element."""
    rng = np.random.default_rng(axis * 10 + block)
    x = numbers(rng.normal(size=(2, 3, 4)) * 50)
    shape = [2, 3, 4]
    shape[axis] = -(-shape[axis] // block)
    scale = rng.uniform(0.5, 2, shape).astype(np.float32)
    zero = rng.integers(-3, 3, shape).astype(np.int8) * zeroed
    index = [np.arange(size) for size in (2, 3, 4)]
    index[axis] = index[axis] // block
    whole = scale[np.ix_(*index)]
    zeros = zero[np.ix_(*index)].astype(np.int8)
    attrs = {"axis": axis - 3, "block_size": block}
    made = quantize_linear(x, constant(scale), constant(zero.astype(np.int8)), **attrs)
    wanted = np.clip(np.rint(x.constant.array / whole) + zeros, -128, 127)  # type: ignore[union-attr]
    assert value(made) == wanted.tolist()
    back = dequantize_linear(made, constant(scale), constant(zero.astype(np.int8)), **attrs)
    np.testing.assert_allclose(value(back), (wanted - zeros) * whole, rtol=1e-6)


def test_range_of_dynamic_quantization_holds_zero() -> None:
    kind = harness.tensor("float32", "N")
    x = graph_input("x", kind)
    for row, scale, zero in (
        ([1, 2.55], 0.01, 0),
        ([-2.55, -1], 0.01, 255),
        ([0, 0], 1, 0),
        ([], 1, 0),
    ):
        values = harness.run(dynamic_quantize_linear(x), {x: np.array(row, np.float32)})
        made, factor, point = values[dynamic_quantize_linear(x)]
        assert abs(factor - scale) < 1e-6 and point == zero
        np.testing.assert_allclose((made.astype(float) - point) * factor, row, atol=1e-6)


X = graph_input("x", harness.tensor("float32", "N", 4))
Q = graph_input("q", harness.tensor("uint8", "N", 4))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: quantize_linear(X, numbers([1, 2, 3])), "no scale of"),
        (lambda: quantize_linear(X, numbers([1, 2]), axis=3), "no axis 3"),
        (lambda: quantize_linear(X, numbers([[1, 2]])), "no scale of"),
        (lambda: quantize_linear(X, numbers([[1, 2]]), block_size=-1), "at least 1"),
        (lambda: quantize_linear(X, numbers([[1, 2, 3]]), block_size=2), "no scale of"),
        (lambda: quantize_linear(X, numbers(1), output_dtype=DType.INT32), "to int32"),
        (lambda: quantize_linear(X, numbers(1), constant(0, DType.INT8), output_dtype=DType.UINT8),
         "the zero point is int8"),
        (lambda: quantize_linear(Q, numbers(1)), "uint8 is not taken"),
        (lambda: dequantize_linear(Q, numbers(1), constant(0, DType.INT8)), "zero point of uint8"),
        (lambda: dequantize_linear(Q, numbers(1), output_dtype=DType.INT8), "to int8"),
        (lambda: dequantize_linear(Q, constant(1, DType.FLOAT8E8M0)), "to float8_e8m0fnu"),
    ],
)  # fmt: skip
def test_wrong_use_is_refused(build: Any, message: str) -> None:
    with pytest.raises(TypeRuleError, match=message):
        build()
