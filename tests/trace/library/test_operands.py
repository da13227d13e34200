"""Operands: promotion as NumPy's, and arrays, numbers and lists as values of the graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt.dims import dim_of, floordiv, maximum, symbol
from graphopt.errors import UnsupportedError
from graphopt.frontends.trace.library import WeakScalar, lift
from graphopt.frontends.trace.library.nodes import reshape, shape_node, size_node
from graphopt.frontends.trace.library.operands import (
    cast,
    loop_kind,
    result_dtype,
    static,
    static_size,
    traced,
)
from graphopt.ir import Node
from graphopt.structural import graph_input
from graphopt.types import DType, TensorType, dtype_of
from tests.trace.library.harness import T, mapped, run, traced_call

KINDS = [np.dtype(code) for code in "?bBhHiIlLefd"]


def value(kind: Any, *shape: Any) -> Node:
    """An input of the graph."""
    return graph_input("x", TensorType(dtype_of(kind), shape))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([*KINDS, 1, 1.5, True]), min_size=1, max_size=3))
def test_promotion_is_numpys(kinds: list[Any]) -> None:
    operands = [value(kind) if isinstance(kind, np.dtype) else kind for kind in kinds]
    weak = [value(kind) if isinstance(kind, np.dtype) else WeakScalar(lift(kind)) for kind in kinds]
    wanted = np.result_type(*kinds)
    assert result_dtype(*operands) == wanted
    assert result_dtype(*weak) == wanted


def test_weak_numbers_have_no_dtype() -> None:
    assert loop_kind(WeakScalar(lift(3))) is int
    assert loop_kind(WeakScalar(lift(0.5))) is float
    assert loop_kind(WeakScalar(lift(True))) == np.dtype(bool)


def test_lift() -> None:
    x = value("float32", 2)
    assert lift(x) is x and lift(WeakScalar(x)) is x and lift(x, np.float32) is x
    assert lift(x, np.float64).dtype is DType.FLOAT64
    assert lift(3, np.int8).known == (3,)
    assert lift(np.float16(1)).dtype is DType.FLOAT16
    assert lift([[1, 2], [3, 4]]).shape == (2, 2)
    with pytest.raises(OverflowError):
        lift(300, np.uint8)
    for strange in ("text", None, np.array(["a"]), np.datetime64("2020-01-01"), np.longdouble(1)):
        with pytest.raises(UnsupportedError):
            lift(strange)


def test_lists_with_traced_elements_are_arrays() -> None:
    rows: Any
    for rows in ([T(1), 2.5], [[T(1), 2], [3, T(4)]], [T([1, 2]), [3, 4]], [T(1.0), T(2)]):
        made, feeds = traced_call(lift, (rows,), {})
        plain = np.array(mapped(rows, lambda operand: operand.array))
        (array,) = run(made, feeds)
        np.testing.assert_array_equal(array, plain)
        assert array.dtype == plain.dtype
    assert traced([1, (2, [value("int8")])]) and not traced([1, (2.0, "a")])


def test_static_arguments() -> None:
    assert static(3, "a") == 3 and static([1, (2,)], "a") == [1, (2,)]
    assert static(lift(5), "a") == 5 and static(lift([1, 2]), "a") == [1, 2]
    assert static(WeakScalar(lift(7)), "a") == 7
    with pytest.raises(UnsupportedError, match="an axis depends on traced values"):
        static(value("int64"), "an axis")
    with pytest.raises(UnsupportedError, match="split along an axis whose size"):
        static_size(symbol("N"), "split")


def test_no_cast_drops_an_imaginary_part() -> None:
    with pytest.raises(UnsupportedError, match="complex numbers where float32 is wanted"):
        cast(value("complex64", 2), np.float32)
    made, feeds = traced_call(cast, (T([1.0, 2.0]), np.complex64), {})
    np.testing.assert_array_equal(run(made, feeds)[0], np.array([1, 2], np.complex64))
    made, feeds = traced_call(cast, (T([0j, 1j, 1]), bool), {})
    assert run(made, feeds)[0].tolist() == [False, True, True]


def test_symbolic_sizes_are_computed_from_sources() -> None:
    """Every size that the shapes of the operands can show, as a vector of one element."""
    n, m = symbol("N"), symbol("M")
    x = graph_input("x", TensorType(DType.FLOAT32, (n, m)))
    open_ = graph_input("o", TensorType(DType.FLOAT32, (None,)))
    feeds = {x: np.zeros((5, 3), np.float32), open_: np.zeros(7, np.float32)}
    sizes = {
        n: 5, n * m: 15, 2 * n + 1: 11, n * n: 25, 3: 3, floordiv(n, 2): 2, maximum(n, m): 5,
        dim_of(open_, 0): 7,
    }  # fmt: skip
    made = [size_node(size, (x,)) for size in sizes]
    assert [int(array[0]) for array in run(made, feeds)] == list(sizes.values())
    for size, node in zip(sizes, made, strict=True):
        assert node.known is None or node.known == (size,)
    with pytest.raises(UnsupportedError, match="size K"):
        size_node(symbol("K"), (x,))


def test_shapes_are_few_nodes() -> None:
    n = symbol("N")
    x = graph_input("x", TensorType(DType.FLOAT32, (n, 4)))
    assert shape_node((2, 3)).op.name == "Constant"
    assert shape_node((n, 4), (x,)).op.name == "Shape"
    assert reshape(x, (n, 4)) is x
    made = reshape(x, (2, n, 2))
    assert made.shape == (2, n, 2)
    assert made.inputs[1].op.name == "Constant"
