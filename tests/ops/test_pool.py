"""Pooling: against ONNX's on geometries of all kinds, and where ONNX's is a matter of detail."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import graphopt
from graphopt.backends.reference import evaluate
from graphopt.dims import Symbol
from graphopt.errors import ExecutionError, TypeRuleError
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.ops.pool import average_pool, lp_pool, max_pool
from graphopt.ops.pool_global import max_unpool
from graphopt.ops.roi import max_roi_pool, roi_align
from graphopt.structural import constant, graph_input, out
from graphopt.types import DType
from tests.ops import harness
from tests.ops.harness import tensor
from tests.work import steps

Array = Any


def value(name: str, *shape: int | str, dtype: str = "float32") -> Node:
    return graph_input(name, tensor(dtype, *shape))


@settings(max_examples=100)
@given(st.data())
def test_pools_are_onnx_runtimes(data: st.DataObject) -> None:
    """The reference's have mistakes; ONNX Runtime's only where padding meets other attributes."""
    axes = data.draw(st.integers(1, 3))
    kernel = tuple(data.draw(st.integers(1, 5)) for _ in range(axes))
    auto_pad = data.draw(st.sampled_from(["NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    same = auto_pad.startswith("SAME")
    attrs: dict[str, Any] = {"kernel_shape": kernel, "auto_pad": auto_pad}
    attrs["strides"] = tuple(data.draw(st.integers(1, k if same else 3)) for k in kernel)
    attrs["ceil_mode"] = data.draw(st.integers(0, 1))
    if not same:
        attrs["dilations"] = tuple(data.draw(st.integers(1, 2)) for _ in kernel)
    if auto_pad == "NOTSET":
        attrs["pads"] = tuple(data.draw(st.integers(0, k - 1)) for k in kernel * 2)
    sizes = {f"S{k}": data.draw(st.integers(5, 8)) for k in range(axes)}
    x = value("x", 2, 2, *sizes)
    node = data.draw(
        st.sampled_from(
            [
                lambda: max_pool(x, **attrs),
                lambda: max_pool(x, outputs=2, storage_order=1, **attrs),
                lambda: average_pool(x, **attrs),
                lambda: average_pool(x, count_include_pad=1, **attrs),
                lambda: lp_pool(x, p=1, **attrs),
            ]
        )
    )()
    bound: harness.Sizes = {Symbol(name): size for name, size in sizes.items()}
    try:
        values = harness.run(node, harness.feeds(node, bound))
    except ExecutionError:
        assume(False)
    harness.check_types(node, values, bound)
    harness.check_runtime(node, values)


def pooled(x: list[float], **attrs: Any) -> tuple[list[float], list[int]]:
    node = max_pool(value("x", 1, 1, len(x)), outputs=2, **attrs)
    most, places = evaluate(node, [np.array([[x]], np.float32)])
    return most.reshape(-1).tolist(), places.reshape(-1).tolist()


def test_max_pool_finds_the_first_of_equals_and_never_padding() -> None:
    low = -np.inf
    assert pooled([low] * 4, kernel_shape=(3,), pads=(1, 1)) == ([low] * 4, [0, 0, 1, 2])
    assert pooled([1, 2, 2, 1], kernel_shape=(2,)) == ([2, 2, 2], [1, 1, 2])


def test_max_pool_shows_nan() -> None:
    most, places = pooled([0, np.nan, 2, np.nan], kernel_shape=(2,))
    assert np.isnan(most).all() and places == [1, 1, 3]
    node = max_pool(value("x", 1, 1, 4), kernel_shape=(2,))
    assert np.isnan(evaluate(node, [np.array([[[0, np.nan, 2, 5]]], np.float32)])[0, 0, :2]).all()


def test_what_lies_behind_the_padding_never_counts() -> None:
    x = np.arange(1, 7, dtype=np.float32).reshape(1, 1, 6)
    attrs: dict[str, Any] = {"kernel_shape": (3,), "strides": (3,), "pads": (1, 1), "ceil_mode": 1}
    for include, wanted in ((1, [1, 4, 3]), (0, [1.5, 4, 6])):
        node = average_pool(value("x", 1, 1, 6), count_include_pad=include, **attrs)
        assert evaluate(node, [x]).reshape(-1).tolist() == wanted


@given(st.integers(2, 9), st.integers(1, 3), st.integers(1, 3), st.integers(0, 99))
def test_unpooling_puts_back_what_was_pooled(size: int, k: int, stride: int, seed: int) -> None:
    assume(k <= size and (size - k) % stride == 0 and k <= stride)
    x = np.random.default_rng(seed).normal(size=(2, 3, size)).astype(np.float32)
    attrs = {"kernel_shape": (k,), "strides": (stride,)}
    most, places = evaluate(max_pool(value("x", 2, 3, size), outputs=2, **attrs), [x])
    back = max_unpool(value("m", *most.shape), value("i", *most.shape, dtype="int64"), **attrs)
    made = evaluate(back, [most, places])
    assert back.type == tensor("float32", 2, 3, size)
    np.testing.assert_array_equal(made[made != 0], x[made != 0])
    np.testing.assert_array_equal(made.reshape(-1)[places.reshape(-1)], most.reshape(-1))


def test_max_roi_pool_is_caffes() -> None:
    x = -np.arange(25, dtype=np.float32).reshape(1, 1, 5, 5) - 1
    rois = np.array([[0, 1, 1, 3, 3], [0, 7, 7, 9, 9], [0, 0.5, 1.5, 2.5, 2.5]], np.float32)
    node = max_roi_pool(value("x", 1, 1, 5, 5), value("r", "R", 5), pooled_shape=(2, 2))
    made = evaluate(node, [x, rois]).reshape(3, 4).tolist()
    assert made == [[-7, -8, -12, -13], [0, 0, 0, 0], [-12, -13, -17, -18]]
    assert evaluate(node, [x, rois[:0]]).shape == (0, 1, 2, 2)


def test_a_region_of_nothing_is_zero() -> None:
    inputs = value("x", 1, 2, 4, 4), value("r", "R", 4), value("i", "R", dtype="int64")
    arrays = [np.ones((1, 2, 4, 4), np.float32), np.ones((1, 4), np.float32), np.zeros(1, np.int64)]
    node = roi_align(*inputs, output_height=2)
    assert evaluate(node, arrays).tolist() == np.zeros((1, 2, 2, 1)).tolist()


X = value("x", 1, 2, 5, 5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: max_pool(X, kernel_shape=(3,)), "the input has rank 4 where 3 is taken"),
        (lambda: max_pool(X, kernel_shape=(6, 1)), "a window of 6 does not fit axis 0 of size 5"),
        (lambda: max_pool(value("x", 1, 1, 3, dtype="int32"), kernel_shape=(1,)), "int32"),
        (lambda: average_pool(value("x", 1, 1, 3, dtype="int8"), kernel_shape=(1,)), "int8"),
        (lambda: lp_pool(X, kernel_shape=(1, 1), p=0), "p is 0"),
        (lambda: max_roi_pool(X, value("r", 3, 4), pooled_shape=(1, 1)), "both 5 and 4"),
        (lambda: max_roi_pool(X, value("r", 3, 5), pooled_shape=(1,)), "1 entries"),
        (lambda: max_unpool(X, X, kernel_shape=(2, 2)), "float32 is not taken for the indices"),
        (
            lambda: roi_align(X, value("r", 3, 4), constant([0, 0], DType.INT64)),
            "the number of regions is both 3 and 2",
        ),
    ],
)
def test_misfits_are_refused(make: Any, message: str) -> None:
    with pytest.raises(TypeRuleError, match=message):
        make()


@pytest.mark.parametrize("kind", ["most", "places", "mean", "norm"])
@pytest.mark.parametrize("backend", ["numpy", "jax"])
def test_large_windows_are_no_large_programs(kind: str, backend: str) -> None:
    """Of 90000 taps, and of those that lie in the padding."""
    x = value("x", 1, 2, 320, 310)
    attrs: dict[str, Any] = {"kernel_shape": (300, 300), "pads": (290, 3, 0, 4)}
    array = np.random.default_rng(0).standard_normal((1, 2, 320, 310)).astype(np.float32)
    seen = array[:, :, :10, :297].astype(np.float64)  # by the first window
    flat = seen.reshape(2, -1)
    rows, columns = np.divmod(flat.argmax(1), 297)
    kinds: dict[str, tuple[Array, Node]] = {
        "most": (flat.max(1), max_pool(x, **attrs)),
        "places": (
            np.arange(2) * 320 * 310 + rows * 310 + columns,
            out(max_pool(x, outputs=2, **attrs), 1),
        ),
        "mean": (flat.mean(1), average_pool(x, **attrs)),
        "norm": (np.sqrt((flat**2).sum(1)), lp_pool(x, **attrs)),
    }
    wanted, node = kinds[kind]
    run = graphopt.compile(Graph((x,), (node,), ("y",)), backend, layout="keep")
    made: Array = None

    def compiled_and_run() -> None:
        nonlocal made
        (made,) = run(array)

    assert steps(compiled_and_run) < 20_000  # one for each tap would be 90000
    np.testing.assert_allclose(made[0, :, 0, 0], wanted, rtol=1e-5, atol=1e-6)


def test_first_of_equals_in_large_windows() -> None:
    """As in small ones: by rows, padding and what is less never, NaN before numbers."""
    array = np.zeros((1, 1, 9, 9), np.float32)
    array[0, 0, 2, 7] = array[0, 0, 3, 1] = 1
    node = max_pool(value("x", 1, 1, 9, 9), kernel_shape=(7, 7), pads=(3,) * 4, outputs=2)
    _, places = evaluate(node, [array])
    assert places[0, 0, 4, 4] == 2 * 9 + 7
    assert places[0, 0, 3, 3] == 3 * 9 + 1
    assert places[0, 0, 8, 0] == 5 * 9
    array[0, 0, 3, 5] = array[0, 0, 4, 4] = np.nan
    assert evaluate(node, [array])[1][0, 0, 4, 4] == 3 * 9 + 5
