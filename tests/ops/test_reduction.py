"""Reductions: the types of known and unknown axes, empty tensors, special numbers, precision."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt import dims
from graphopt.backends import reference
from graphopt.errors import ExecutionError, TypeRuleError
from graphopt.op import Op
from graphopt.ops import cumulative, reduction
from graphopt.structural import constant, graph_input
from graphopt.types import DType, TensorType, dtype_of
from tests.ops import harness

KNOWING = (
    reduction.reduce_sum,
    reduction.reduce_prod,
    reduction.reduce_max,
    reduction.reduce_min,
)
INFINITY = float("inf")
flags = st.integers(0, 1)
shapes = st.lists(st.integers(0, 3), max_size=3)


def compute(op: Op, data: Any, *inputs: Any, dtype: str = "float32", **attrs: Any) -> Any:
    """The result of an op on an array and constants, whose type is the inferred one."""
    array = np.asarray(data, dtype_of(dtype).numpy)
    x = graph_input("x", TensorType(dtype_of(dtype), array.shape))
    node = op(x, *(constant(each) for each in inputs), **attrs)
    values = harness.run(node, {x: array})
    harness.check_types(node, values, {})
    return values[node]


@given(st.data(), shapes, flags, flags)
def test_symbolic_shapes_are_reduced_as_real_ones(
    data: st.DataObject, shape: list[int], keepdims: int, noop: int
) -> None:
    op = data.draw(st.sampled_from(KNOWING))
    axes = data.draw(st.lists(st.sampled_from(range(-len(shape), len(shape))), max_size=2)
                     if shape else st.just([]))  # fmt: skip
    if len({axis % len(shape) for axis in axes}) != len(axes):
        return
    names = [dims.symbol(f"N{axis}") for axis in range(len(shape))]
    bound = {next(iter(dims.atoms(name))): size for name, size in zip(names, shape, strict=True)}
    x = graph_input("x", TensorType(DType.FLOAT32, tuple(names)))
    given_axes = graph_input("axes", TensorType(DType.INT64, (len(axes),)))
    for second in (constant(axes, DType.INT64), given_axes):
        node = op(x, second, keepdims=keepdims, noop_with_empty_axes=noop)
        values = harness.feeds(x, bound) | {given_axes: np.array(axes, np.int64)}
        harness.check_types(node, harness.run(node, values), bound)
    assert node.rank is not None
    assert node.rank == (len(shape) if keepdims or (noop and not axes) else
                         len(shape) - len(axes) if axes else 0)  # fmt: skip


@given(st.data(), st.sampled_from(KNOWING), shapes, flags)
def test_known_integers_are_the_real_ones(
    data: st.DataObject, op: Op, shape: list[int], keepdims: int
) -> None:
    elements = st.sampled_from([-(2**31), -3, 0, 1, 2, 2**31 - 1])
    row = [data.draw(elements) for _ in range(math.prod(shape))]
    array = np.array(row, np.int32).reshape(shape)
    axes = data.draw(st.permutations(range(len(shape))))[: data.draw(st.integers(0, 2))]
    node = op(constant(array), constant(axes, DType.INT64), keepdims=keepdims)
    harness.check_types(node, harness.run(node, {}), {})


def test_products_of_sizes_are_known() -> None:
    kind = TensorType(DType.INT64, (3,)).with_known([dims.symbol("N"), 3, dims.symbol("N")])
    x = graph_input("x", kind)
    n = dims.symbol("N")
    assert reduction.reduce_prod(x, keepdims=0).known == (3 * n * n,)
    assert reduction.reduce_sum(x, constant([0])).known == (2 * n + 3,)
    assert reduction.reduce_prod(constant([], DType.INT64), keepdims=0).known == (1,)


def test_empty_reductions_have_their_units() -> None:
    none: Any = np.zeros((0, 2), np.float32)
    axes = [0]
    assert compute(reduction.reduce_sum, none, axes).tolist() == [[0, 0]]
    assert compute(reduction.reduce_prod, none, axes).tolist() == [[1, 1]]
    assert compute(reduction.reduce_max, none, axes).tolist() == [[-INFINITY] * 2]
    assert compute(reduction.reduce_min, none, axes).tolist() == [[INFINITY] * 2]
    assert compute(reduction.reduce_log_sum_exp, none, axes).tolist() == [[-INFINITY] * 2]
    assert compute(reduction.reduce_max, none, axes, dtype="int8").tolist() == [[-128] * 2]
    assert compute(reduction.reduce_min, none, axes, dtype="bool").tolist() == [[True] * 2]
    assert compute(reduction.reduce_mean, none, axes, dtype="int32").tolist() == [[0, 0]]


def test_log_sum_exp_does_not_overflow() -> None:
    rows = [[1000, 1000], [-1000, -1000], [INFINITY, 0], [-INFINITY, -INFINITY]]
    made = compute(reduction.reduce_log_sum_exp, rows, [1], keepdims=0)
    np.testing.assert_allclose(made, [1000 + math.log(2), -1000 + math.log(2), INFINITY, -INFINITY])


def test_half_precision_is_summed_in_single() -> None:
    for dtype in ("float16", "bfloat16"):
        assert compute(reduction.reduce_sum, np.ones(4096), dtype=dtype).tolist() == [4096]
        assert compute(reduction.reduce_l2, np.full(4, 200), dtype=dtype).tolist() == [400]


def test_means_of_integers_are_truncated() -> None:
    assert compute(reduction.reduce_mean, [[-7, 2], [7, -2]], [1], dtype="int32").tolist() == [
        [-2],
        [2],
    ]


def test_extremes_keep_nan() -> None:
    for op in (reduction.reduce_max, reduction.reduce_min):
        assert np.isnan(compute(op, [1, math.nan, 2])).all()


@pytest.mark.parametrize(("last", "wanted"), [(0, [1, 0, 1]), (1, [2, 2, 1])])
def test_positions_of_extremes(last: int, wanted: list[int]) -> None:
    rows: Any = [[1, 5, 5], [0.0, -0.0, 0.0], [9, math.nan, 3]]
    made = compute(reduction.arg_max, rows, axis=1, keepdims=0, select_last_index=last)
    assert made.tolist() == wanted
    made = compute(reduction.arg_min, np.negative(rows), axis=1, keepdims=0, select_last_index=last)
    assert made.tolist() == wanted


def test_position_in_an_empty_axis_fails() -> None:
    x = graph_input("x", harness.tensor("float32", 0, 2))
    with pytest.raises(ExecutionError):
        reference.evaluate(reduction.arg_max(x), [np.zeros((0, 2), np.float32)])


@given(st.lists(st.integers(-3, 3), max_size=5), flags, flags)
def test_running_sums_and_products(row: list[int], exclusive: int, reverse: int) -> None:
    for op, fold in ((cumulative.cum_sum, sum), (cumulative.cum_prod, math.prod)):
        made = compute(op, row, 0, dtype="int32", exclusive=exclusive, reverse=reverse)
        if reverse:
            wanted = [fold(row[k + exclusive :]) for k in range(len(row))]
        else:
            wanted = [fold(row[: k + 1 - exclusive]) for k in range(len(row))]
        assert made.tolist() == wanted


def test_axis_of_a_running_sum_is_checked_as_it_runs() -> None:
    x, axis = (
        graph_input("x", harness.tensor("float32", 2)),
        graph_input("a", harness.tensor("int64")),
    )
    node = cumulative.cum_sum(x, axis)
    with pytest.raises(ExecutionError, match="no axis 1 among 1"):
        harness.run(node, {x: np.ones(2, np.float32), axis: np.array(1)})


X = graph_input("x", harness.tensor("float32", "N", 3))


@pytest.mark.parametrize(
    ("op", "inputs", "attrs", "message"),
    [
        (reduction.reduce_sum, (X, constant([2])), {}, "no axis 2 among 2"),
        (reduction.reduce_sum, (X, constant([0, -2])), {}, "named twice"),
        (reduction.reduce_sum, (X, constant(0)), {}, "the axes are 1-d"),
        (reduction.reduce_sum, (X, constant([0], DType.INT32)), {}, "int32 is not taken"),
        (reduction.reduce_sum, (X, graph_input("a", harness.tensor("int64", 3))), {"keepdims": 0},
         "3 axes of"),
        (reduction.reduce_log_sum, (constant([1, 2]),), {}, "int64 is not taken"),
        (reduction.reduce_sum, (constant([True]),), {}, "bool is not taken"),
        (reduction.arg_max, (X,), {"axis": 2}, "no axis 2"),
        (cumulative.cum_sum, (X, constant(-3)), {}, "no axis -3"),
        (cumulative.cum_sum, (X, constant([[1]])), {}, "the axis is a scalar"),
        (cumulative.cum_prod, (X, X), {}, "float32 is not taken"),
    ],
)  # fmt: skip
def test_wrong_use_is_refused(
    op: Op, inputs: tuple[Any, ...], attrs: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeRuleError, match=message):
        op(*inputs, **attrs)
