"""Convolutions against ONNX's, on geometries of all kinds and symbolic sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from graphopt.backends.reference import evaluate
from graphopt.dims import Symbol
from graphopt.errors import ExecutionError, TypeRuleError
from graphopt.ir import Node
from graphopt.ops import conv as family
from graphopt.ops.conv import conv
from graphopt.ops.conv_transpose import col2im, conv_transpose
from graphopt.ops.deform import deform_conv
from graphopt.ops.integer import conv_integer
from graphopt.structural import constant, graph_input
from graphopt.types import DType
from tests.ops import harness
from tests.ops.harness import tensor

PADS = ("NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


def value(name: str, *shape: int | str, dtype: str = "float32") -> Node:
    return graph_input(name, tensor(dtype, *shape))


@st.composite
def geometries(draw: st.DrawFn, axes: int) -> dict[str, Any]:
    """Attributes of a convolution."""

    def ints(low: int, high: int, count: int = axes) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(count))

    made: dict[str, Any] = {"auto_pad": draw(st.sampled_from(PADS)), "strides": ints(1, 3)}
    if made["auto_pad"] == "NOTSET":
        made["pads"] = ints(0, 2, 2 * axes)
    if made["auto_pad"] in ("NOTSET", "VALID"):
        made["dilations"] = ints(1, 2)
    return made


def check(node: Node, sizes: dict[str, int]) -> None:
    """The result is ONNX's and has the type."""
    bound: harness.Sizes = {Symbol(name): size for name, size in sizes.items()}
    try:
        values = harness.run(node, harness.feeds(node, bound))
    except ExecutionError:
        assume(False)
    harness.check_types(node, values, bound)
    harness.check_oracle(node, values)


@settings(max_examples=60)
@given(st.data())
def test_conv_is_onnx_conv(data: st.DataObject) -> None:
    axes, group = data.draw(st.integers(1, 3)), data.draw(st.sampled_from([1, 2]))
    kernel = [data.draw(st.integers(1, 3)) for _ in range(axes)]
    names = [f"S{k}" for k in range(axes)]
    sizes = {name: data.draw(st.integers(3, 7)) for name in names} | {"N": 2}
    bias = value("b", 4) if data.draw(st.booleans()) else None
    x, w = value("x", "N", 2 * group, *names), value("w", 4, 2, *kernel)
    check(conv(x, w, bias, group=group, **data.draw(geometries(axes))), sizes)


@settings(max_examples=60)
@given(st.data())
def test_conv_transpose_is_onnx_conv_transpose(data: st.DataObject) -> None:
    axes, group = data.draw(st.integers(1, 3)), data.draw(st.sampled_from([1, 2]))
    kernel = [data.draw(st.integers(1, 3)) for _ in range(axes)]
    names = [f"S{k}" for k in range(axes)]
    sizes = {name: data.draw(st.integers(2, 4)) for name in names} | {"N": 2}
    attrs = data.draw(geometries(axes))
    attrs["output_padding"] = tuple(data.draw(st.integers(0, s - 1)) for s in attrs["strides"])
    x, w = value("x", "N", 2 * group, *names), value("w", 2 * group, 3, *kernel)
    check(conv_transpose(x, w, value("b", 3 * group), group=group, **attrs), sizes)


def test_blocks_of_columns_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x, w = rng.integers(-9, 9, (2, 4, 9, 8)), rng.integers(-9, 9, (6, 2, 3, 2))
    arrays = [x.astype(np.float32), w.astype(np.float32)]
    attrs: dict[str, Any] = {"strides": (2, 1), "pads": (1, 0, 1, 1), "group": 2}
    node = conv(value("x", 2, 4, 9, 8), value("w", 6, 2, 3, 2), **attrs)
    whole = evaluate(node, arrays)
    for block in (1, 500, 1000):
        monkeypatch.setattr(family, "BLOCK", block)
        np.testing.assert_array_equal(evaluate(node, arrays), whole)


def test_an_odd_rest_of_output_shape_is_cut_as_auto_pad_says() -> None:
    x, w = np.array([[[1, 2, 3]]], np.float32), np.arange(4, dtype=np.float32).reshape(1, 1, 4)

    def run(**attrs: Any) -> list[float]:
        node = conv_transpose(value("x", 1, 1, 3), value("w", 1, 1, 4), **attrs)
        result: list[float] = evaluate(node, [x, w]).reshape(-1).tolist()
        return result

    assert run() == [0, 1, 4, 10, 12, 9]
    assert run(output_shape=(3,)) == [4, 10, 12]
    assert run(output_shape=(3,), auto_pad="SAME_UPPER") == [1, 4, 10]
    assert run(auto_pad="SAME_LOWER") == [4, 10, 12]
    assert run(output_shape=(8,)) == [0, 1, 4, 10, 12, 9, 0, 0]


def test_accumulation_is_modulo_2_to_the_32() -> None:
    image = np.full((1, 1, 40000), 255, np.uint8)
    node = conv_integer(*(value(n, 1, 1, 40000, dtype="uint8") for n in "xw"))
    assert evaluate(node, [image, image]).item() == 255 * 255 * 40000 - 2**32


def test_half_precision_is_accumulated_in_float32() -> None:
    ones = np.ones((1, 1, 4096), np.float16)
    node = conv(*(value(n, 1, 1, 4096, dtype="float16") for n in "xw"))
    assert evaluate(node, [ones, ones]).item() == 4096


X, W = value("x", 1, 4, 5, 5), value("w", 6, 4, 3, 3)
SHAPE = constant([4, 4], DType.INT64)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: conv(X, value("w", 6, 3, 3, 3)), "the number of channels is both 4 and 3"),
        (lambda: conv(X, W, value("b", 5)), "the number of filters is both 6 and 5"),
        (lambda: conv(X, value("w", 6, 4, 3)), "the rank is both 4 and 3"),
        (lambda: conv(X, value("w", 5, 2, 3, 3), group=2), "5 filters do not make 2 groups"),
        (lambda: conv(X, W, kernel_shape=(3, 2)), "the kernel is both 2 and 3"),
        (lambda: conv(X, value("w", 6, 4, 7, 3)), "a window of 7 does not fit axis 0 of size 5"),
        (lambda: conv(X, W, group=0), "group is 0"),
        (lambda: conv(X, value("w", 6, 4, 3, 3, dtype="float64")), "dtypes differ"),
        (lambda: conv(value("x", 1, 4), W), "rank"),
        (lambda: conv_transpose(X, W), "the number of channels is both 4 and 6"),
        (lambda: conv_transpose(X, value("w", 4, 1, 3, 3), pads=(9, 9, 9, 9)), "padding leaves"),
        (lambda: conv_integer(X, W), "float32 is not taken for x or w"),
        (lambda: col2im(value("x", 1, 5, 9), SHAPE, constant([2, 2], DType.INT64)), "5 rows"),
        (
            lambda: deform_conv(X, W, value("o", 1, 18, 2, 3)),
            "a size of the output is both",
        ),
    ],
)
def test_misfits_are_refused(make: Any, message: str) -> None:
    with pytest.raises(TypeRuleError, match=message):
        make()
