"""Shape, Size, Reshape, Flatten, Squeeze, Unsqueeze, Expand."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from graphopt.dims import symbol
from graphopt.errors import TypeRuleError
from graphopt.ir import Node
from graphopt.ops.indexing import gather
from graphopt.ops.shape import expand, flatten, reshape, shape, size, squeeze, unsqueeze
from graphopt.ops.slicing import concat
from graphopt.structural import constant, graph_input
from graphopt.types import DType, TensorType
from tests.ops.drawn import Program, sizes

N, M, K = symbol("N"), symbol("M"), symbol("K")


def value(*shape: Any, dtype: DType = DType.FLOAT32, name: str = "x") -> Node:
    return graph_input(name, TensorType(dtype, shape))


def ints(*numbers: int) -> Node:
    return constant(numbers, DType.INT64)


@given(st.data(), sizes(), st.integers(-5, 5), st.none() | st.integers(-5, 5))
def test_shape_is_a_slice(data: Any, of: list[int], start: int, end: int | None) -> None:
    program = Program(data.draw)
    x = program.array(of)
    program.check(shape(x, start=start, end=end), np.array(of[start:end], np.int64))
    program.check(size(x), np.int64(prod(of)))


def targets(of: list[int]) -> st.SearchStrategy[list[int]]:
    """Vectors that sizes can be reshaped to: some factors merged, a 1 added, a -1, copied zeros."""

    @st.composite
    def make(draw: Any) -> list[int]:
        made = list(of)
        for _ in range(draw(st.integers(0, 3))):
            at = draw(st.integers(0, len(made)))
            if draw(st.booleans()) and len(made) > at + 1:
                made[at : at + 2] = [made[at] * made[at + 1]]
            else:
                made.insert(at, 1)
        if made and draw(st.booleans()):
            made[draw(st.integers(0, len(made) - 1))] = -1
        for axis in range(min(len(of), len(made))):
            if made[axis] == of[axis] and draw(st.integers(0, 3)) == 0:
                made[axis] = 0
        return made

    return make()


@given(st.data(), sizes(1))
def test_reshape_of_what_is_not_empty(data: Any, of: list[int]) -> None:
    program = Program(data.draw)
    x, target = program.array(of), data.draw(targets(of))
    copied = [of[axis] if item == 0 else item for axis, item in enumerate(target)]
    wanted = program.feeds[x].reshape(copied)
    program.check(reshape(x, program.ints(target, [x])), wanted)


@given(st.data(), sizes(0, 2))
def test_reshape_of_what_may_be_empty(data: Any, of: list[int]) -> None:
    """With axes of the data where they stand in it, and constants elsewhere."""
    program = Program(data.draw)
    x = program.array(of)
    assume(x.rank is not None)
    keep = data.draw(st.integers(0, len(of)))
    rest = data.draw(st.sampled_from(([-1], [1, -1], [prod(of[keep:])], [-1, 2])))
    parts = [shape(x, end=keep), ints(*rest)]
    try:
        node = reshape(x, concat(*parts, axis=0))
    except TypeRuleError:
        assume(False)
    program.run(node)


@given(st.data(), sizes(0, 3))
def test_reshape_that_allows_zeros(data: Any, of: list[int]) -> None:
    program = Program(data.draw)
    x = program.array(of)
    target = list(data.draw(st.permutations(of)))
    node = reshape(x, program.ints(target, [x]), allowzero=1)
    program.check(node, program.feeds[x].reshape(target))


def test_reshape_solves_for_the_missing_size() -> None:
    x = value(N, M, 12)
    batch, length = shape(x, end=1), shape(x, start=1, end=2)
    assert reshape(x, concat(batch, ints(-1), axis=0)).shape == (N, 12 * M)
    assert reshape(x, concat(ints(0, -1), ints(3, 4), axis=0)).shape == (N, M, 3, 4)
    assert reshape(x, ints(-1, 12)).shape == (N * M, 12)
    assert reshape(x, ints(-1, 8)).shape == ((N * M * 12) // 8, 8)
    heads = concat(batch, length, ints(3, 4), axis=0)
    assert reshape(x, heads).shape == (N, M, 3, 4)
    flat = reshape(x, ints(-1, 12))
    assert reshape(flat, concat(batch, length, ints(12), axis=0)).shape == (N, M, 12)
    assert reshape(flat, concat(ints(-1), length, ints(12), axis=0)).shape == (N, M, 12)
    longer = value(N, M + K, 4)
    assert reshape(longer, concat(ints(-1), shape(longer, start=1), axis=0)).shape == (N, M + K, 4)


def test_reshape_finds_a_size_of_which_nothing_is_known() -> None:
    x, unknown = value(N, 6), value(1, dtype=DType.INT64, name="u")
    assert reshape(x, concat(unknown, ints(3), axis=0)).shape == (2 * N, 3)
    made = reshape(x, concat(unknown, unknown, axis=0))
    assert made.derived_type == TensorType(DType.FLOAT32, (None, None))


def test_reshape_does_not_trust_a_size_that_may_be_zero() -> None:
    """A target [M] for data [3] means [3] where M is 0."""
    other = shape(value(M, name="m"))
    assert reshape(value(3), other).derived_type == TensorType(DType.FLOAT32, (3,))
    assert reshape(value(N, K), concat(other, ints(4), axis=0)).shape == ((N * K) // 4, 4)
    made = reshape(value(N, K), concat(other, shape(value(symbol("L"), name="l")), axis=0))
    assert made.derived_type == TensorType(DType.FLOAT32, (None, None))
    assert reshape(value(N), other, allowzero=1).shape == (M,)


def test_known_elements_pass_through_shapes() -> None:
    """Shape, Gather, Unsqueeze, Concat, Reshape: as exporters write x.view(n, -1)."""
    x = value(N, M, 4)
    first = gather(shape(x), constant(0, DType.INT64))
    assert first.known == (N,)
    target = concat(unsqueeze(first, ints(0)), ints(-1), axis=0)
    assert target.known == (N, -1)
    assert reshape(x, target).shape == (N, 4 * M)
    assert squeeze(reshape(shape(x), ints(1, 3)), ints(0)).known == (N, M, 4)
    assert flatten(shape(x)).known == (N, M, 4)
    assert expand(shape(x, end=1), ints(3)).known == (N, N, N)
    assert size(x).known == (4 * N * M,)


@given(st.data(), sizes(), st.integers(-5, 5))
def test_flatten(data: Any, of: list[int], axis: int) -> None:
    assume(-len(of) <= axis <= len(of))
    program = Program(data.draw)
    x = program.array(of)
    at = axis + len(of) if axis < 0 else axis
    wanted = program.feeds[x].reshape(prod(of[:at]), prod(of[at:]))
    program.check(flatten(x, axis=axis), wanted)


@given(st.data(), sizes(0, 2))
def test_squeeze(data: Any, of: list[int]) -> None:
    program = Program(data.draw)
    x = program.array(of)
    ones = [axis for axis, item in enumerate(of) if item == 1]
    program.check(squeeze(x), program.feeds[x].squeeze())
    axes = [axis - data.draw(st.sampled_from((0, len(of)))) for axis in ones[1:]]
    wanted = program.feeds[x].squeeze(tuple(ones[1:]))
    program.check(squeeze(x, program.ints(axes)), wanted)


@given(st.data(), sizes(0, 2), st.sets(st.integers(0, 5), max_size=3))
def test_unsqueeze(data: Any, of: list[int], axes: set[int]) -> None:
    rank = len(of) + len(axes)
    assume(all(axis < rank for axis in axes))
    program = Program(data.draw)
    x = program.array(of)
    some = [axis - data.draw(st.sampled_from((0, rank))) for axis in axes]
    program.check(unsqueeze(x, program.ints(some)), np.expand_dims(program.feeds[x], tuple(axes)))


@given(st.data(), sizes(0, 3))
def test_expand(data: Any, of: list[int]) -> None:
    program = Program(data.draw)
    thin = [data.draw(st.sampled_from((1, item))) for item in of]
    target = [data.draw(st.sampled_from((1, item))) for item in of]
    x = program.array(thin[data.draw(st.integers(0, len(of))) :])
    target = target[data.draw(st.integers(0, len(of))) :]
    full = np.broadcast_shapes(program.feeds[x].shape, tuple(target))
    wanted = np.broadcast_to(program.feeds[x], full)
    program.check(expand(x, program.ints(target, [x])), wanted)


REFUSED: list[tuple[Callable[[Node], object], str]] = [
    (lambda x: reshape(x, ints(-1, -1)), "more than one size is -1"),
    (lambda x: reshape(x, ints(4, -1)), "cannot be reshaped"),
    (lambda x: reshape(x, ints(7)), "cannot be reshaped"),
    (lambda x: reshape(x, ints(-2)), "negative"),
    (lambda x: reshape(x, ints(2, 3, 0)), "missing"),
    (lambda x: reshape(x, ints(0, -1), allowzero=1), "beside one of 0"),
    (lambda x: reshape(x, constant([6], DType.INT32)), "int32"),
    (lambda x: reshape(x, constant([[6]], DType.INT64)), "rank 2 where 1 is taken"),
    (lambda x: flatten(x, axis=3), "no place 3"),
    (lambda x: squeeze(x, ints(0)), "has size 2, not 1"),
    (lambda x: squeeze(x, ints(2)), "no axis 2"),
    (lambda x: unsqueeze(x, ints(4)), "no axis 4"),
    (lambda x: unsqueeze(x, ints(0, -4)), "named twice"),
    (lambda x: expand(x, ints(3, 3)), "cannot be broadcast"),
    (lambda x: expand(x, ints(-1, 3)), "negative"),
    (lambda x: expand(value(2, dtype=DType.INT4), ints(2)), "int4 is not taken"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_refusals(make: Callable[[Node], object], message: str) -> None:
    with pytest.raises(TypeRuleError, match=message):
        make(value(2, 3))
