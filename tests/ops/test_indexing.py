"""Gather, GatherElements, GatherND, ScatterElements, ScatterND, TensorScatter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt.dims import symbol
from graphopt.errors import ExecutionError, TypeRuleError
from graphopt.ir import Node
from graphopt.ops.indexing import (
    gather,
    gather_elements,
    gather_nd,
    scatter_elements,
    scatter_nd,
    tensor_scatter,
)
from graphopt.ops.shape import shape
from graphopt.structural import constant, graph_input
from graphopt.types import DType, TensorType
from tests.ops import harness
from tests.ops.drawn import Program, sizes

N, M = symbol("N"), symbol("M")
UFUNCS: dict[str, Callable[[Any, Any], Any]] = {
    "none": lambda old, new: new,
    "add": np.add,
    "mul": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
}


def value(*shape: Any, dtype: DType = DType.FLOAT32, name: str = "x") -> Node:
    return graph_input(name, TensorType(dtype, shape))


def ints(*numbers: Any) -> Node:
    return constant(np.array(numbers, np.int64))


def positions(data: Any, program: Program, size: int, of: list[int]) -> tuple[Node, Any]:
    """Indices into an axis, of both signs, as a constant or an input, and as an array."""
    seed = data.draw(st.integers(0, 9))
    made = np.random.default_rng(seed).integers(-size, max(size, 1), of)
    if data.draw(st.booleans()):
        return constant(made.astype(data.draw(st.sampled_from((np.int32, np.int64))))), made
    return program.feed(made, [data.draw(st.sampled_from((n, None))) for n in of]), made


@given(st.data(), sizes(1, 3, ranks=(1, 3)), sizes(0, 3, ranks=(0, 2)))
def test_gather(data: Any, of: list[int], lead: list[int]) -> None:
    program = Program(data.draw)
    x = program.array(of)
    axis: int = data.draw(st.integers(-len(of), len(of) - 1))
    at, indices = positions(data, program, of[axis], lead)
    program.check(gather(x, at, axis=axis), np.take(program.feeds[x], indices, axis))


@given(st.data(), sizes(1, 3, ranks=(1, 3)))
def test_gather_and_scatter_elements(data: Any, of: list[int]) -> None:
    program = Program(data.draw)
    x = program.array(of)
    axis: int = data.draw(st.integers(0, len(of) - 1))
    reduction = data.draw(st.sampled_from(sorted(UFUNCS)))
    part: list[int] = [data.draw(st.integers(0, n)) for n in of]
    at, indices = positions(data, program, of[axis], part)
    array = program.feeds[x]
    taken, written = np.zeros(part, np.float32), array.copy()
    updates = program.array(part)
    for place in np.ndindex(*part):
        where = (*place[:axis], indices[place], *place[axis + 1 :])
        taken[place] = array[where]
        written[where] = UFUNCS[reduction](written[where], program.feeds[updates][place])
    turned = axis - data.draw(st.sampled_from((0, len(of))))
    program.check(gather_elements(x, at, axis=turned), taken)
    node = scatter_elements(x, at, updates, axis=turned, reduction=reduction)
    program.check(node, written)


@given(st.data(), sizes(1, 3, ranks=(1, 4)))
def test_gather_and_scatter_nd(data: Any, of: list[int]) -> None:
    program = Program(data.draw)
    x = program.array(of)
    batch: int = data.draw(st.integers(0, len(of) - 1))
    depth: int = data.draw(st.integers(1, len(of) - batch))
    lead = [*of[:batch], *data.draw(sizes(0, 3, ranks=(0, 2)))]
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    columns = [rng.integers(-of[batch + k], of[batch + k], lead) for k in range(depth)]
    indices = np.stack(columns, -1)
    at = program.feed(indices, [*lead, depth])
    rest = of[batch + depth :]
    taken = np.zeros([*lead, *rest], np.float32)
    for place in np.ndindex(*lead):
        taken[place] = program.feeds[x][(*place[:batch], *indices[place])]
    program.check(gather_nd(x, at, batch_dims=batch), taken)
    if batch == 0:
        reduction = data.draw(st.sampled_from(sorted(UFUNCS)))
        updates, written = program.array([*lead, *rest]), program.feeds[x].copy()
        for place in np.ndindex(*lead):
            where = tuple(indices[place])
            written[where] = UFUNCS[reduction](written[where], program.feeds[updates][place])
        program.check(scatter_nd(x, at, updates, reduction=reduction), written)


@given(st.data(), sizes(1, 3, ranks=(2, 4)), st.booleans())
def test_tensor_scatter(data: Any, of: list[int], circular: bool) -> None:
    program = Program(data.draw)
    axis: int = data.draw(st.integers(1, len(of) - 1))
    new = list(of)
    new[axis] = data.draw(st.integers(0, of[axis]))
    most: int = 5 if circular else of[axis] - new[axis]
    at: list[int] = [data.draw(st.integers(0, most)) for _ in range(of[0])]
    x, update = program.array(of), program.array(new)
    wanted = program.feeds[x].copy()
    for place in np.ndindex(*new):
        batch: int = place[0]
        where = (at[batch] + place[axis]) % of[axis]
        wanted[(*place[:axis], where, *place[axis + 1 :])] = program.feeds[update][place]
    mode = "circular" if circular else "linear"
    program.check(tensor_scatter(x, update, program.ints(at), axis=axis, mode=mode), wanted)


OUTSIDE: list[Callable[[Node, Node], Node]] = [
    lambda x, at: gather(x, at),
    lambda x, at: gather_elements(x, at),
    lambda x, at: gather_nd(x, ints([3])),
    lambda x, at: gather_nd(x, ints([-4])),
    lambda x, at: scatter_elements(x, at, value(1, name="u")),
    lambda x, at: scatter_nd(x, ints([3]), value(1, name="u")),
    lambda x, at: scatter_nd(x, ints([-4]), value(1, name="u")),
    lambda x, at: gather(constant(np.array([1, 2, 3])), at),
]


@pytest.mark.parametrize("make", OUTSIDE)
@pytest.mark.parametrize("index", [3, -4])
def test_indices_outside_fail_at_run_time(make: Callable[[Node, Node], Node], index: int) -> None:
    """A node that fails can be built: it may stand in a branch that is never taken."""
    node = make(value(3), ints(index))
    feeds = harness.feeds(node, {})
    with pytest.raises(ExecutionError, match="IndexError"):
        harness.run(node, feeds)


def test_writing_behind_the_cache_fails() -> None:
    node = tensor_scatter(value(1, 3), value(1, 2, name="u"), ints(2), axis=1)
    feeds = dict(zip(node.inputs, (np.zeros((1, 3)), np.zeros((1, 2))), strict=False))
    with pytest.raises(ExecutionError, match="IndexError"):
        harness.run(node, feeds)


def test_a_gathered_element_is_an_array_of_its_dtype() -> None:
    for dtype, element in ((DType.STRING, "b"), (DType.BFLOAT16, 2), (DType.BOOL, True)):
        node = gather(constant(["a", "b"] if dtype is DType.STRING else [0, 2], dtype), constant(1))
        made = harness.run(node, {})[node]
        assert made.shape == () and made.dtype == dtype.numpy
        assert made.tolist() == element


def test_known_elements_are_gathered() -> None:
    of = shape(value(N, 4, M))
    assert gather(of, constant(-1)).known == (M,)
    assert gather(of, ints([0, 2])).known == (N, M)
    assert gather(of, constant(3)).known is None
    assert gather_elements(of, ints(2, 2)).known == (M, M)


@pytest.mark.parametrize("dtype", [DType.FLOAT16, DType.BFLOAT16, DType.BOOL, DType.COMPLEX64])
def test_reductions_of_other_dtypes(dtype: DType) -> None:
    x = constant(np.ones(2), dtype)
    node = scatter_elements(x, ints(1, 1), x, reduction="add")
    assert harness.run(node, {})[node].tolist() == ([True, True] if dtype is DType.BOOL else [1, 3])


REFUSED: list[tuple[Callable[[Node], object], str]] = [
    (lambda x: gather(x, ints(0), axis=2), "no axis 2"),
    (lambda x: gather(x, constant(0.5)), "float64"),
    (lambda x: gather_elements(x, ints(0)), "1 axes, the data 2"),
    (lambda x: gather_nd(x, ints(0, 0, 0)), "tuples of 3"),
    (lambda x: gather_nd(x, ints(0), batch_dims=1), "batch_dims"),
    (lambda x: gather_nd(x, ints([0], [0], [0]), batch_dims=1), "both 2 and 3"),
    (lambda x: scatter_elements(x, ints([0]), value(2, 1, name="u")), "both 1 and 2"),
    (lambda x: scatter_elements(x, ints([0]), value(1, name="u")), "1 axes, not 2"),
    (lambda x: scatter_elements(x, ints([0]), x, reduction="sub"), "'sub'"),
    (lambda x: scatter_nd(x, ints(0), value(2, name="u")), "both 3 and 2"),
    (lambda x: scatter_nd(x, ints(0), value(3, dtype=DType.INT8, name="u")), "dtypes differ"),
    (lambda x: tensor_scatter(x, value(2, 4, name="u"), axis=1), "4 elements"),
    (lambda x: tensor_scatter(x, value(1, 3, name="u"), axis=1), "both 2 and 1"),
    (lambda x: tensor_scatter(x, x), "along axis 0"),
    (lambda x: tensor_scatter(x, x, axis=1, mode="ring"), "'ring'"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_refusals(make: Callable[[Node], object], message: str) -> None:
    with pytest.raises(TypeRuleError, match=message):
        make(value(2, 3))


def test_strings_cannot_be_reduced() -> None:
    x = value(2, dtype=DType.STRING)
    with pytest.raises(TypeRuleError, match="strings"):
        scatter_elements(x, ints(0, 1), x, reduction="add")
