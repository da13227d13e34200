"""Slice, Split, Concat, Tile."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphopt import dims
from graphopt.dims import Size, Symbol, symbol
from graphopt.errors import ExecutionError, TypeRuleError
from graphopt.ir import Node
from graphopt.ops.movement import transpose
from graphopt.ops.shape import reshape, shape
from graphopt.ops.sizes import FAR, effective, slice_size
from graphopt.ops.slicing import concat, slice_, split, tile
from graphopt.structural import constant, graph_input, results
from graphopt.types import DType, TensorType
from tests.ops import harness
from tests.ops.drawn import Program, sizes

N, M = symbol("N"), symbol("M")
BOUNDS = st.integers(-6, 6) | st.sampled_from((FAR, -FAR, 2**63 - 1, -(2**63)))
STEPS = st.integers(-3, 3).filter(bool)


def value(*shape: Any, dtype: DType = DType.FLOAT32, name: str = "x") -> Node:
    return graph_input(name, TensorType(dtype, shape))


def ints(*numbers: int) -> Node:
    return constant(np.array(numbers, np.int64))


def plain_slice(size: int, start: int, end: int, step: int) -> list[int]:
    """The indices that ONNX's text says a slice takes."""
    start = start + size if start < 0 else start
    end = end + size if end < 0 else end
    if step > 0:
        return list(range(min(max(start, 0), size), min(max(end, 0), size), step))
    return list(range(min(max(start, 0), size - 1), min(max(end, -1), size - 1), step))


@given(st.integers(0, 5), BOUNDS, BOUNDS, STEPS)
def test_effective_slice_is_that_of_the_text(size: int, start: int, end: int, step: int) -> None:
    taken = list(range(size))[effective(size, start, end, step)]
    assert taken == (plain_slice(size, start, end, step) if size else [])


def linear(n: int) -> st.SearchStrategy[tuple[Size, int]]:
    """A size that depends on N, and its value where N is `n`."""
    return st.tuples(st.integers(-2, 2), st.integers(-3, 3)).map(
        lambda pair: (pair[0] * N + pair[1], pair[0] * n + pair[1])
    )


@given(st.data(), st.integers(0, 5), STEPS)
def test_slice_size_with_symbols(data: Any, n: int, step: int) -> None:
    size, real = data.draw(linear(n).filter(lambda pair: pair[1] >= 0))
    bound = linear(n) | BOUNDS.map(lambda at: (at, at))
    (start, first), (end, last) = data.draw(bound), data.draw(bound)
    made = slice_size(size, start, end, step)
    if made is not None:
        found = dims.substitute(made, {Symbol("N"): n}.get)  # type: ignore[arg-type]
        assert found == len(plain_slice(real, first, last, step) if real else [])


@given(st.data(), sizes(ranks=(1, 3)))
def test_slice(data: Any, of: list[int]) -> None:
    program = Program(data.draw)
    x = program.array(of)
    axes: list[int] = data.draw(st.lists(st.integers(0, len(of) - 1), unique=True))
    starts, ends = ([data.draw(BOUNDS) for _ in axes] for _ in range(2))
    steps = [data.draw(STEPS) for _ in axes]
    wanted = program.feeds[x]
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        wanted = np.take(wanted, plain_slice(of[axis], start, end, step) if of[axis] else [], axis)
    turned = [axis - data.draw(st.sampled_from((0, len(of)))) for axis in axes]
    known = [x]
    vectors = (program.ints(v, known) for v in (starts, ends, turned, steps))
    program.check(slice_(x, *vectors), wanted)


def test_slices_of_named_sizes() -> None:
    x = value(N, 8)
    at = {name: shape(value(symbol(name), name=name)) for name in "NMK"}

    def sliced(start: Node, end: Node) -> Any:
        made = slice_(x, start, end, ints(0))
        return made.derived_type.shape[0]

    assert sliced(ints(0), ints(FAR)) == N
    assert sliced(ints(0), at["N"]) == N
    assert sliced(ints(0), at["M"]) == dims.minimum(M, N)
    assert sliced(ints(1), ints(-1)) == dims.maximum(0, N - 2)
    assert sliced(ints(-3), ints(FAR)) == dims.minimum(3, N)
    assert sliced(at["M"], ints(2**63 - 1)) == dims.maximum(0, N - M)
    assert sliced(value(1, dtype=DType.INT64, name="u"), ints(2)) is None
    past = slice_(value(N + M, 8), at["M"], ints(FAR), ints(0))
    assert past.shape == (N, 8)


def test_known_elements_pass_through_slices() -> None:
    """How exporters write the pads of torch.nn.functional.pad."""
    pads = concat(ints(1, 2, 0), shape(value(N)), axis=0)
    pairs = reshape(pads, ints(-1, 2))
    turned = transpose(slice_(pairs, ints(-1), ints(-(2**63)), ints(0), ints(-1)), perm=(1, 0))
    assert reshape(turned, ints(-1)).known == (0, 1, N, 2)
    first, second = results(split(pads, ints(1, 3), outputs=2))
    assert (first.known, second.known) == ((1,), (2, 0, N))
    assert tile(shape(value(N, 2)), ints(2)).known == (N, 2, N, 2)


@given(st.data(), sizes(0, 3, ranks=(1, 3)), st.integers(1, 3), st.booleans())
def test_concat_of_the_parts_of_a_split(data: Any, of: list[int], count: int, equal: bool) -> None:
    program = Program(data.draw)
    axis: int = data.draw(st.integers(-len(of), len(of) - 1))
    some = st.lists(st.integers(0, of[axis]), min_size=count - 1, max_size=count - 1)
    cuts: list[int] = sorted(data.draw(some))
    parts = [after - before for before, after in pairwise([0, *cuts, of[axis]])]
    if equal:
        of[axis] *= count
        parts = [of[axis] // count] * count
        cuts = [part * (k + 1) for k, part in enumerate(parts)][:-1]
    x = program.array(of)
    wanted = np.split(program.feeds[x], cuts, axis)
    if equal:
        node = split(x, axis=axis, num_outputs=count, outputs=count)
    else:
        node = split(x, program.ints(parts, [x]), axis=axis, outputs=count)
    program.check(node, tuple(wanted) if count > 1 else wanted[0])
    program.check(concat(*results(node), axis=axis), program.feeds[x])


@pytest.mark.parametrize(("size", "count", "wanted"), [(7, 3, [3, 3, 1]), (4, 3, [2, 2, 0])])
def test_split_in_parts_that_differ(size: int, count: int, wanted: list[int]) -> None:
    made = split(value(size), num_outputs=count, outputs=count)
    assert [part.shape for part in results(made)] == [(part,) for part in wanted]
    named = split(value(N), num_outputs=count, outputs=count)
    x = np.zeros(size, np.float32)
    program = {named.inputs[0]: x}
    harness.check_types(named, harness.run(named, program), {Symbol("N"): size})


def test_split_that_does_not_fit_fails() -> None:
    node = split(value(N), num_outputs=4, outputs=4)
    with pytest.raises(ExecutionError, match="cannot be split"):
        harness.run(node, {node.inputs[0]: np.zeros(5, np.float32)})
    node = split(value(N), ints(1, 1), outputs=2)
    with pytest.raises(ExecutionError, match="cannot be split"):
        harness.run(node, {node.inputs[0]: np.zeros(3, np.float32)})


def test_concat_takes_the_better_known_size() -> None:
    made = concat(value(N, 2), value(3, M, name="y"), value(1, None, name="z"), axis=0)
    assert made.shape == (N + 4, 2)
    made = concat(value(N, 2), graph_input("y", TensorType(DType.FLOAT32, None)), axis=0)
    assert made.derived_type == TensorType(DType.FLOAT32, (None, 2))


@given(st.data(), sizes(0, 3))
def test_tile(data: Any, of: list[int]) -> None:
    program = Program(data.draw)
    x = program.array(of)
    counts: list[int] = [data.draw(st.integers(0, 3)) for _ in of]
    program.check(tile(x, program.ints(counts, [x])), np.tile(program.feeds[x], counts))


REFUSED: list[tuple[Callable[[Node], object], str]] = [
    (lambda x: slice_(x, ints(0), ints(1), ints(2)), "no axis 2"),
    (lambda x: slice_(x, ints(0, 0), ints(1, 1), ints(1, -1)), "named twice"),
    (lambda x: slice_(x, ints(0), ints(1, 2)), "differ in length"),
    (lambda x: slice_(x, ints(0), ints(1), ints(0), ints(0)), "a step is 0"),
    (lambda x: slice_(x, constant([0.5]), ints(1)), "float64"),
    (lambda x: split(x, num_outputs=2, outputs=3), "3 outputs"),
    (lambda x: split(x, ints(1, 1), num_outputs=2, outputs=2), "both"),
    (lambda x: split(x, ints(1, 2), outputs=2), "cannot be split"),
    (lambda x: split(x, ints(3, -1), outputs=2), "negative"),
    (lambda x: split(x, num_outputs=2, outputs=2, axis=2), "no axis 2"),
    (lambda x: concat(axis=0), "missing"),
    (lambda x: concat(x, None, x, axis=0), "missing"),
    (lambda x: concat(x, value(3, 4, name="y"), axis=0), "both 3 and 4"),
    (lambda x: concat(x, value(3, name="y"), axis=0), "2 and 1 axes"),
    (lambda x: concat(x, value(2, 3, dtype=DType.INT8, name="y"), axis=0), "dtypes differ"),
    (lambda x: concat(value(), axis=0), "no axis 0"),
    (lambda x: tile(x, ints(1)), "1 repeats for 2 axes"),
    (lambda x: tile(x, ints(1, -1)), "negative"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_refusals(make: Callable[[Node], object], message: str) -> None:
    with pytest.raises(TypeRuleError, match=message):
        make(value(2, 3))
