"""Transpose, DepthToSpace, SpaceToDepth, ReverseSequence, Trilu; Pad, CenterCropPad."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from graphopt.dims import symbol
from graphopt.errors import ExecutionError, TypeRuleError
from graphopt.ir import Node
from graphopt.ops.movement import (
    depth_to_space,
    reverse_sequence,
    space_to_depth,
    transpose,
    trilu,
)
from graphopt.ops.padding import MODES, center_crop_pad, pad
from graphopt.ops.shape import shape
from graphopt.ops.slicing import concat
from graphopt.structural import constant, graph_input
from graphopt.types import DType, TensorType
from tests.ops import harness
from tests.ops.drawn import Program, sizes

N, M = symbol("N"), symbol("M")


def value(*shape: Any, dtype: DType = DType.FLOAT32, name: str = "x") -> Node:
    return graph_input(name, TensorType(dtype, shape))


def ints(*numbers: int) -> Node:
    return constant(np.array(numbers, np.int64))


@given(st.data(), sizes())
def test_transpose(data: Any, of: list[int]) -> None:
    program = Program(data.draw)
    x = program.array(of)
    perm = tuple(data.draw(st.permutations(range(len(of)))))
    program.check(transpose(x, perm=perm), program.feeds[x].transpose(perm))
    program.check(transpose(x), program.feeds[x].T)


@given(st.data(), st.lists(st.integers(0, 2), min_size=4, max_size=4), st.integers(1, 3))
def test_blocks_there_and_back(data: Any, of: list[int], block: int) -> None:
    program = Program(data.draw)
    mode = data.draw(st.sampled_from(("DCR", "CRD")))
    n, c, h, w = of
    x = program.array([n, c * block**2, h, w])
    wide = depth_to_space(x, blocksize=block, mode=mode)
    made = program.run(wide)
    assert made.shape == (n, c, h * block, w * block)
    if mode == "DCR":  # channel (i, j, k) is pixel (i, j) of the block of channel k
        parts = program.feeds[x].reshape(n, block, block, c, h, w)
    else:  # channel (k, i, j)
        parts = program.feeds[x].reshape(n, c, block, block, h, w).transpose(0, 2, 3, 1, 4, 5)
    for i in range(block):
        for j in range(block):
            np.testing.assert_array_equal(made[:, :, i::block, j::block], parts[:, i, j])
    program.check(space_to_depth(wide, blocksize=block, mode=mode), program.feeds[x])


def test_blocks_of_named_sizes() -> None:
    assert depth_to_space(value(N, 4 * M, 2, N), blocksize=2).shape == (N, M, 4, 2 * N)
    assert space_to_depth(value(N, M, 2, 2 * N), blocksize=2).shape == (N, 4 * M, 1, N)
    node = space_to_depth(value(1, 1, N, 2), blocksize=2)
    with pytest.raises(ExecutionError, match="reshape"):
        harness.run(node, {node.inputs[0]: np.zeros((1, 1, 3, 2), np.float32)})


@given(st.data(), sizes(ranks=(2, 4)), st.booleans())
def test_reverse_sequence(data: Any, of: list[int], batch_first: bool) -> None:
    program = Program(data.draw)
    x, batch = program.array(of), 0 if batch_first else 1
    lens: list[int] = [data.draw(st.integers(0, of[1 - batch])) for _ in range(of[batch])]
    wanted = program.feeds[x].copy()
    for k, length in enumerate(lens):
        part = wanted[k] if batch_first else wanted[:, k]
        part[:length] = part[:length][::-1].copy()
    node = reverse_sequence(x, program.ints(lens), batch_axis=batch, time_axis=1 - batch)
    program.check(node, wanted)


@pytest.mark.parametrize("lens", [[1, 3], [1], [1, 1, 1]])
def test_reverse_sequence_with_wrong_lengths_fails(lens: list[int]) -> None:
    node = reverse_sequence(value(None, None), value(None, dtype=DType.INT64, name="l"))
    feeds = {node.inputs[0]: np.zeros((2, 2), np.float32), node.inputs[1]: np.array(lens)}
    with pytest.raises(ExecutionError):
        harness.run(node, feeds)


@given(st.data(), sizes(ranks=(2, 4)), st.integers(-5, 5), st.booleans())
def test_trilu(data: Any, of: list[int], k: int, upper: bool) -> None:
    program = Program(data.draw)
    x = program.array(of)
    wanted = (np.triu if upper else np.tril)(program.feeds[x], k)
    diagonal = constant(k) if data.draw(st.booleans()) else program.ints([k])
    program.check(trilu(x, diagonal, upper=int(upper)), wanted)


def test_trilu_of_strings_leaves_empty_ones() -> None:
    node = trilu(value(2, 2, dtype=DType.STRING))
    made = harness.run(node, {node.inputs[0]: np.array([["a", "b"], ["c", "d"]], object)})[node]
    assert made.tolist() == [["a", "b"], ["", "d"]]


# Pad.


@given(st.data(), sizes(0, 3, ranks=(0, 3)), st.sampled_from(MODES))
def test_pad(data: Any, of: list[int], mode: str) -> None:
    program = Program(data.draw)
    x = program.array(of)
    axes: list[int] = data.draw(
        st.lists(st.sampled_from(range(len(of))), unique=True) if of else st.just([])
    )
    low: list[int] = [data.draw(st.integers(-of[axis], 4)) for axis in axes]
    high = [
        data.draw(st.integers(-of[axis] - min(n, 0), 4)) for axis, n in zip(axes, low, strict=True)
    ]
    wanted = program.feeds[x]
    widths = [(0, 0)] * len(of)
    for axis, before, after in zip(axes, low, high, strict=True):
        kept = range(max(-before, 0), of[axis] + min(after, 0))
        wanted = np.take(wanted, kept, axis)
        widths[axis] = (max(before, 0), max(after, 0))
    padded = zip(wanted.shape, widths, strict=True)
    assume(mode == "constant" or not any(n == 0 and max(width) for n, width in padded))
    np_pad: Any = np.pad
    how: Any = {"constant_values": 7} if mode == "constant" else {}
    filler = constant(7, DType.FLOAT32) if mode == "constant" else None
    node = pad(x, program.ints(low + high, [x]), filler, program.ints(axes), mode=mode)
    program.check(node, np_pad(wanted, widths, mode, **how) if of else wanted)


@pytest.mark.parametrize("sizes", [(3, -4), (-4, 3), (-2, -2)])
def test_pad_that_removes_too_much_fails(sizes: tuple[int, int]) -> None:
    node = pad(value(N), ints(*sizes))
    with pytest.raises(ExecutionError, match="removed"):
        harness.run(node, {node.inputs[0]: np.zeros(3, np.float32)})


def test_pad_takes_all_types_and_known_elements() -> None:
    assert pad(value(N, 3), ints(1, 0, 2, -1)).shape == (N + 3, 2)
    assert pad(shape(value(N, M)), ints(1, 1)).known == (0, N, M, 0)
    assert pad(shape(value(N, M)), ints(1, -1), constant(5)).known == (5, N)
    assert pad(shape(value(N, M)), ints(0, 2), mode="wrap").known == (N, M, N, M)
    assert pad(constant([True]), ints(0, 1)).known == (True, False)
    axes = constant([-1], DType.INT32)
    assert pad(value(2, N), ints(1, 1), None, axes).shape == (2, N + 2)
    node = pad(value(1, dtype=DType.STRING), ints(1, 0))
    made = harness.run(node, {node.inputs[0]: np.array(["a"], object)})[node]
    assert made.tolist() == ["", "a"]


# CenterCropPad.


@given(st.data(), sizes())
def test_center_crop_pad(data: Any, of: list[int]) -> None:
    program = Program(data.draw)
    x = program.array(of)
    axes: list[int] = data.draw(
        st.lists(st.sampled_from(range(len(of))), unique=True) if of else st.just([])
    )
    target: list[int] = [data.draw(st.integers(0, 7)) for _ in axes]
    wanted = program.feeds[x]
    for axis, size in zip(axes, target, strict=True):
        given, less, more = of[axis], max(of[axis] - size, 0), max(size - of[axis], 0)
        wanted = np.take(wanted, range(less // 2, less // 2 + min(size, given)), axis)
        widths = [(more // 2, more - more // 2) if k == axis else (0, 0) for k in range(len(of))]
        wanted = np.pad(wanted, widths)
    program.check(center_crop_pad(x, program.ints(target, [x]), axes=tuple(axes)), wanted)


def test_center_crop_pad_takes_int32_and_names() -> None:
    assert center_crop_pad(value(5, N), constant([2, 3], DType.INT32)).shape == (2, 3)
    target = concat(shape(value(M)), ints(3), axis=0)
    assert center_crop_pad(value(5, N), target).shape == (M, 3)


REFUSED: list[tuple[Callable[[Node], object], str]] = [
    (lambda x: transpose(x, perm=(0, 0)), "no permutation"),
    (lambda x: transpose(x, perm=(0, 1, 2)), "does not permute 2 axes"),
    (lambda x: depth_to_space(x, blocksize=2), "2 axes, not 4"),
    (lambda x: depth_to_space(value(1, 3, 1, 1), blocksize=2), "not divisible"),
    (lambda x: space_to_depth(value(1, 3, 1, 2), blocksize=2), "not divisible"),
    (lambda x: space_to_depth(value(1, 3, 2, 2), blocksize=0), "not positive"),
    (lambda x: space_to_depth(value(1, 3, 2, 2), blocksize=2, mode="RCD"), "'RCD'"),
    (lambda x: reverse_sequence(x, ints(1)), "batch size is both 3 and 1"),
    (lambda x: reverse_sequence(x, ints(1, 1, 1), batch_axis=0), "not 0 and 1"),
    (lambda x: reverse_sequence(value(2), ints(1, 1)), "not 2 or more"),
    (lambda x: trilu(value(2)), "not 2 or more"),
    (lambda x: trilu(x, ints(1, 2)), "not one number"),
    (lambda x: trilu(x, constant(0.5)), "float64"),
    (lambda x: pad(x, ints(1, 1)), "2 pads for 2 axes"),
    (lambda x: pad(x, ints(0, 0, 0, 0), mode="mirror"), "'mirror'"),
    (lambda x: pad(x, ints(-3, 0, 0, 0)), "removed"),
    (lambda x: pad(x, ints(0, 0, 0, 0), constant(1)), "dtypes differ"),
    (lambda x: pad(x, ints(0, 0), None, ints(2)), "no axis 2"),
    (lambda x: center_crop_pad(x, ints(1)), "1 sizes for 2 axes"),
    (lambda x: center_crop_pad(x, ints(1, -1)), "negative"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_refusals(make: Callable[[Node], object], message: str) -> None:
    with pytest.raises(TypeRuleError, match=message):
        make(value(2, 3))
