"""ConstantOfShape, Range, EyeLike, OneHot; NonZero, Compress, TopK, Unique."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.dims import maximum, symbol
from graphopt.errors import ExecutionError, TypeRuleError
from graphopt.ir import Node
from graphopt.ops.generate import constant_of_shape, eye_like, one_hot, range_
from graphopt.ops.selection import compress, non_zero, top_k, unique
from graphopt.ops.shape import shape, size
from graphopt.ops.slicing import concat
from graphopt.structural import constant, graph_input, results
from graphopt.tensor import Tensor
from graphopt.types import DType, TensorType
from tests.ops import harness
from tests.ops.drawn import Program, sizes

N, M = symbol("N"), symbol("M")


def value(*shape: Any, dtype: DType = DType.FLOAT32, name: str = "x") -> Node:
    return graph_input(name, TensorType(dtype, shape))


def ints(*numbers: int) -> Node:
    return constant(np.array(numbers, np.int64))


def run(node: Node, *arrays: Any) -> Any:
    return harness.run(node, dict(zip(harness.inputs_of(node), arrays, strict=True)))[node]


@given(st.data(), sizes())
def test_constant_of_shape(data: Any, of: list[int]) -> None:
    program = Program(data.draw)
    element = Tensor.of([data.draw(st.integers(-3, 3))], DType.INT32)
    node = constant_of_shape(program.ints(of), value=element)
    program.check(node, np.full(of, element.element))
    program.check(constant_of_shape(program.ints(of)), np.zeros(of, np.float32))


@given(st.data(), *[st.integers(-6, 6)] * 2, st.integers(-3, 3).filter(bool))
def test_range_of_integers(data: Any, start: int, limit: int, delta: int) -> None:
    program = Program(data.draw)
    bounds = [size(program.array([1, n])) if n >= 0 else constant(n) for n in (start, limit)]
    step = constant(delta) if data.draw(st.booleans()) else program.feed(np.array(delta), ())
    program.check(range_(*bounds, step), np.arange(start, limit, delta))


def test_ranges_of_named_sizes() -> None:
    zero, one, many = constant(0), constant(1), size(value(N))
    assert range_(zero, many, one).shape == (N,)
    assert range_(many, zero, constant(-1)).shape == (N,)
    assert range_(one, many, constant(2)).shape == ((maximum(0, N - 1) + 1) // 2,)
    assert range_(many, size(value(N + 3)), one).known == (N, N + 1, N + 2)
    assert range_(zero, one, many).derived_type == TensorType(DType.INT64, (None,))


def test_ranges_of_floats_count_in_double_precision_and_low_ones_in_single() -> None:
    def over(dtype: DType, *bounds: float) -> Any:
        node = range_(*(constant(bound, dtype) for bound in bounds))
        made = run(node)
        assert made.shape == node.shape
        return made

    assert len(over(DType.FLOAT32, 0, 1, 0.1)) == 10
    assert over(DType.FLOAT16, 0, 5000, 1)[-1] == np.float16(4999)
    assert over(DType.BFLOAT16, 0, 300, 1)[-1].astype(float) == 300  # 299 rounded
    with pytest.raises(ExecutionError, match="ZeroDivisionError"):
        run(range_(constant(0), constant(1), value(dtype=DType.INT64)), np.array(0))


@given(st.data(), sizes(ranks=(2, 2)), st.integers(-5, 5))
def test_eye_like(data: Any, of: list[int], k: int) -> None:
    program = Program(data.draw)
    x = program.array(of)
    program.check(eye_like(x, k=k, dtype=DType.INT8), np.eye(of[0], of[1], k, dtype=np.int8))


@given(st.data(), sizes(0, 3, ranks=(0, 3)), st.integers(1, 4))
def test_one_hot(data: Any, of: list[int], depth: int) -> None:
    program = Program(data.draw)
    axis: int = data.draw(st.integers(-len(of) - 1, len(of)))
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    indices = rng.integers(-6, 6, of)
    at = program.feed(indices, of)
    wanted = np.full([*of, depth], 5, np.float32)
    for place in np.ndindex(*of):
        if -depth <= indices[place] < depth:
            wanted[(*place, indices[place])] = 7
    count = program.ints([depth]) if data.draw(st.booleans()) else constant(depth)
    node = one_hot(at, count, constant([5, 7], DType.FLOAT32), axis=axis)
    program.check(node, np.moveaxis(wanted, -1, axis))


def test_one_hot_of_strings_and_floats() -> None:
    words = constant(["no", "yes"])
    made = run(one_hot(constant([1.9], DType.FLOAT32), constant(2.5, DType.FLOAT32), words))
    assert made.tolist() == [["no", "yes"]]


# Selection.


@given(st.data(), sizes(0, 3))
def test_non_zero(data: Any, of: list[int]) -> None:
    program = Program(data.draw)
    array = np.random.default_rng(data.draw(st.integers(0, 9))).integers(0, 2, of)
    x = program.feed(array, of) if data.draw(st.booleans()) else constant(array)
    wanted = np.stack(np.nonzero(array)) if of else np.zeros((0, int(array)), np.int64)
    program.check(non_zero(x), wanted)


def test_non_zero_of_known_sizes_and_strings() -> None:
    assert non_zero(constant_of_shape(ints(3), value=Tensor.of([1]))).known == (0, 1, 2)
    assert non_zero(shape(value(N))).derived_type == TensorType(DType.INT64, (1, None))
    assert run(non_zero(value(2, dtype=DType.STRING)), np.array(["", "a"], object)).tolist() == [
        [1]
    ]


@given(st.data(), sizes(0, 3, ranks=(1, 3)))
def test_compress(data: Any, of: list[int]) -> None:
    program = Program(data.draw)
    x = program.array(of)
    axis: int | None = data.draw(st.none() | st.integers(-len(of), len(of) - 1))
    whole = prod(of) if axis is None else of[axis]
    flags: list[bool] = data.draw(st.lists(st.booleans(), max_size=whole))
    array = np.array(flags, bool)
    condition = constant(array) if data.draw(st.booleans()) else program.feed(array, (len(flags),))
    program.check(compress(x, condition, axis=axis), np.compress(array, program.feeds[x], axis))


def test_a_condition_that_is_true_behind_the_end_fails() -> None:
    with pytest.raises(ExecutionError, match="IndexError"):
        run(compress(value(2), constant([True, False, True])), np.zeros(2, np.float32))


@given(st.data(), sizes(0, 4, ranks=(1, 3)), st.booleans())
def test_top_k(data: Any, of: list[int], largest: bool) -> None:
    """Python's stable sort is the judge; ties and NaN included."""
    program = Program(data.draw)
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    array = rng.choice(np.array([0, 1, 2, np.nan], np.float32), of)
    axis: int = data.draw(st.integers(-len(of), len(of) - 1))
    k: int = data.draw(st.integers(0, of[axis]))
    rows = np.moveaxis(array, axis, -1)
    wanted = np.zeros([*rows.shape[:-1], k], np.int64)
    for place in np.ndindex(*rows.shape[:-1]):
        keys = [(1, 0) if item != item else (0, item) for item in rows[place].tolist()]
        order = sorted(range(len(keys)), key=keys.__getitem__, reverse=largest)
        wanted[place] = order[:k]
    indices = np.moveaxis(wanted, -1, axis)
    node = top_k(program.feed(array, of), program.ints([k]), axis=axis, largest=int(largest))
    program.check(node, (np.take_along_axis(array, indices, axis), indices))


def test_top_k_of_integers_at_the_edges_and_of_too_many() -> None:
    least = np.array([-128, 127, -128], np.int8)
    values, indices = run(top_k(value(3, dtype=DType.INT8), ints(3)), least)
    assert (values.tolist(), indices.tolist()) == ([127, -128, -128], [1, 0, 2])
    with pytest.raises(ExecutionError, match="3 of 2 elements"):
        run(top_k(value(N), ints(3)), np.zeros(2, np.float32))
    values, _ = results(top_k(value(N, M), shape(value(N, name="k")), axis=1))
    assert values.shape == (N, N)


@given(st.data(), sizes(0, 3, ranks=(0, 3)), st.booleans(), st.booleans())
def test_unique(data: Any, of: list[int], ordered: bool, texts: bool) -> None:
    program = Program(data.draw)
    array = np.random.default_rng(data.draw(st.integers(0, 9))).integers(0, 2, of)
    if texts:
        array = array.astype(str).astype(object)
    axis: int | None = data.draw(st.none() | st.integers(-len(of), len(of) - 1)) if of else None
    parts: list[Any] = (array.reshape(-1) if axis is None else np.moveaxis(array, axis, 0)).tolist()
    seen: list[Any] = [part for k, part in enumerate(parts) if part not in parts[:k]]
    if ordered:
        seen = sorted(seen)
    first = [parts.index(part) for part in seen]
    inverse = [seen.index(part) for part in parts]
    counts = [parts.count(part) for part in seen]
    made = program.run(unique(program.feed(array, of), axis=axis, sorted=int(ordered), outputs=4))
    whole = array.reshape(-1) if axis is None else array
    assert made[0].tolist() == np.take(whole, np.array(first, np.int64), axis or 0).tolist()
    assert [item.tolist() for item in made[1:]] == [first, inverse, counts]


REFUSED: list[tuple[Callable[[Node], object], str]] = [
    (lambda x: constant_of_shape(ints(-1)), "negative"),
    (lambda x: constant_of_shape(ints(1), value=Tensor.of([1, 2])), "2 elements, not 1"),
    (lambda x: constant_of_shape(x), "rank 2 where 1 is taken"),
    (lambda x: range_(constant(0), constant(1), constant(0)), "delta is 0"),
    (lambda x: range_(constant(0), constant(1), constant(0.5)), "dtypes differ"),
    (lambda x: range_(ints(0, 1), constant(1), constant(1)), "not one number"),
    (lambda x: eye_like(value(3)), "1 axes, not 2"),
    (lambda x: eye_like(x, dtype=DType.STRING), "string"),
    (lambda x: one_hot(ints(0), constant(0), x), "2"),
    (lambda x: one_hot(ints(0), constant(0), ints(0, 1)), "not positive"),
    (lambda x: one_hot(ints(0), constant(2), ints(0, 1), axis=2), "no place 2"),
    (lambda x: compress(x, ints(1)), "int64"),
    (lambda x: compress(x, constant([True]), axis=2), "no axis 2"),
    (lambda x: top_k(x, ints(4)), "4 of 3"),
    (lambda x: top_k(x, ints(-1)), "-1 of 3"),
    (lambda x: top_k(x, ints(1, 1)), "not one number"),
    (lambda x: top_k(value(2, dtype=DType.BOOL), ints(1)), "bool"),
    (lambda x: unique(x, outputs=5), "1 to 4"),
    (lambda x: unique(x, axis=2), "no axis 2"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_refusals(make: Callable[[Node], object], message: str) -> None:
    with pytest.raises(TypeRuleError, match=message):
        make(value(2, 3))


def test_known_sizes_of_concatenated_shapes_fill_arrays() -> None:
    both = concat(shape(value(N)), ints(2), axis=0)
    assert constant_of_shape(both).shape == (N, 2)
    made = constant_of_shape(ints(2), value=Tensor.of([3]))
    assert made.known == (3, 3)
