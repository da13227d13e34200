"""x[index] gives what NumPy gives, on known and symbolic sizes."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from graphopt.errors import UnsupportedError
from graphopt.frontends.trace.library import nodes
from graphopt.frontends.trace.library.indexing import getitem
from graphopt.ir import Node, walk
from graphopt.structural import graph_input
from graphopt.types import DType, TensorType
from tests.trace.library.harness import T, Traced, check, traced_call


def take(x: Any, index: Any) -> Any:
    return x[index]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_basic_indexing(data: st.DataObject) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
    index = data.draw(hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))
    array = Traced(np.arange(prod(shape)).reshape(shape))
    for symbolic in (False, True):
        check(take, getitem, (array, index), symbolic=symbolic)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_array_indexing(data: st.DataObject) -> None:
    """Arrays (traced or not), integers, slices and new axes in any order."""
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4))
    common = data.draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=1, max_side=3))
    index: list[Any] = []
    for size in shape[: data.draw(st.integers(1, len(shape)))]:
        kind = data.draw(st.sampled_from(["array", "traced", "int", "slice", "new"]))
        if kind in ("array", "traced"):
            own = tuple(data.draw(st.sampled_from([1, n])) for n in common)
            array = data.draw(hnp.arrays(np.int64, own, elements=st.integers(-size, size - 1)))
            index.append(Traced(array) if kind == "traced" else array)
        elif kind == "int":
            index.append(data.draw(st.integers(-size, size - 1)))
        else:
            index += [None] if kind == "new" else []
            index.append(slice(None, None, data.draw(st.sampled_from([None, -1, 2]))))
    if data.draw(st.booleans()):
        index.append(Ellipsis)
    array = np.arange(prod(shape)).reshape(shape)
    for symbolic in (False, True):
        check(take, getitem, (Traced(array), tuple(index)), symbolic=symbolic)


X = T(np.arange(24).reshape(2, 3, 4))
MASK = np.arange(24).reshape(2, 3, 4) % 3 == 0


@pytest.mark.parametrize("symbolic", [False, True])
@pytest.mark.parametrize(
    "index",
    [
        MASK,
        MASK[:, :, 0],
        (0, MASK[0, :, 0]),
        ([1, 0], slice(None), MASK[0, 0]),
        [True, False],
        Traced(MASK),
        Traced(MASK[:, :, 0]),
        Traced(MASK[:, 0, 0]),
        (0, Traced(MASK[0, :, 0])),
        (slice(None), Traced(MASK[0, :, 0]), [0]),
        (slice(1), Traced(MASK[0])),
        (T(1), slice(None), T(-2)),
        (T(1), [0, 2]),
        (slice(T(0), T(2)), slice(T(1), None), slice(None, T(-1), 2)),
        ([], 0),
        [],
        (),
        ...,
        None,
        np.int8(1),
        (np.array([1, 0], np.uint8), np.array([[2], [0]])),
    ],
)
def test_masks_and_traced_positions(index: Any, symbolic: bool) -> None:
    check(take, getitem, (X, index), symbolic=symbolic)


@pytest.mark.parametrize(
    "index", [2, (0, 3), (0, 0, 0, 0), 1.5, [0.5], (..., ...), ([0, 5],), ([0, 1], [0, 1, 2]),
              np.ones(3, bool), "a", slice(None, None, 0), (Traced(np.ones(3, bool)))],
)  # fmt: skip
def test_wrong_indices_raise_as_in_numpy(index: Any) -> None:
    plain = index.array if isinstance(index, Traced) else index
    with pytest.raises((IndexError, ValueError)) as wanted:
        X.array[plain]
    with pytest.raises(wanted.type):
        traced_call(getitem, (X, index), {})


def test_what_cannot_be_said_is_refused() -> None:
    x = graph_input("x", TensorType(DType.FLOAT32, (3,)))
    flag = graph_input("b", TensorType(DType.BOOL, ()))
    step = graph_input("s", TensorType(DType.INT64, ()))
    for index in (True, flag, slice(None, None, step)):
        with pytest.raises(UnsupportedError):
            getitem(x, index)


@pytest.mark.parametrize(
    ("index", "names"),
    [
        (slice(None), []),
        (0, ["Gather"]),
        (slice(1, -1), ["Slice"]),
        ((slice(1, 2), slice(None), slice(None, None, 2)), ["Slice"]),
        ((0, slice(1)), ["Slice", "Squeeze"]),
        ((0, 1, 2), ["Slice", "Squeeze"]),
        ((None, slice(None)), ["Unsqueeze"]),
        ([1, 0], ["Gather"]),
        ((slice(None), [1, 0]), ["Gather"]),
        (([1, 0], [0, 1]), ["GatherND"]),
    ],
)
def test_few_nodes(index: Any, names: list[str]) -> None:
    x = graph_input("x", TensorType(DType.FLOAT32, (2, 3, 4)))
    found = [node.op.name for node in walk((getitem(x, index),))]
    assert [name for name in found if name not in ("Input", "Constant")] == names


def test_flip_of_no_axes_is_nothing() -> None:
    x: Node = graph_input("x", TensorType(DType.FLOAT32, (2,)))
    assert nodes.flip_axes(x, ()) is x
