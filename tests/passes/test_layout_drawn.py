"""Drawn networks compute the same with channels first and last, on every backend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphopt
from graphopt.backends import reference
from graphopt.body import Body, all_nodes
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.ops.activation import prelu, relu
from graphopt.ops.arithmetic import add, mul
from graphopt.ops.channels_last_table import FIRST, LAST
from graphopt.ops.control import if_
from graphopt.ops.conv import conv
from graphopt.ops.conv_transpose import conv_transpose
from graphopt.ops.loops import loop
from graphopt.ops.movement import depth_to_space, space_to_depth
from graphopt.ops.normalization import (
    batch_normalization,
    group_normalization,
    instance_normalization,
)
from graphopt.ops.norms import lp_normalization, lrn
from graphopt.ops.padding import pad
from graphopt.ops.pool import average_pool, max_pool
from graphopt.ops.pool_global import global_average_pool, global_max_pool
from graphopt.ops.reduction import arg_max, reduce_max, reduce_mean
from graphopt.ops.resize import resize
from graphopt.ops.slicing import concat, split
from graphopt.ops.softmax import softmax
from graphopt.passes.layout.cost import TARGETS
from graphopt.passes.layout.layout import Layout
from graphopt.structural import constant, graph_input, out
from graphopt.types import DType, TensorType
from tests.passes.before_after import graph_of
from tests.passes.test_layout import TO_BE_FIRST, TO_BE_LAST, held, ops

C = 4
Step = Callable[[Node], Node]


@pytest.fixture(autouse=True)
def targets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two targets more, which are as fast as can be in one of the layouts."""
    for target in (TO_BE_LAST, TO_BE_FIRST):
        monkeypatch.setitem(TARGETS, target.name, target)


def weights(*shape: int) -> Node:
    """A constant; as filters they leave images about as large as they are."""
    rng = np.random.default_rng(shape)
    array = (rng.standard_normal(shape) + 0.8) / prod(shape[1:])
    return constant(array.astype(np.float32))


def vectors(count: int) -> list[Node]:
    """Constants, one positive element a channel."""
    return [constant(np.linspace(0.5, 2 + k, C, dtype=np.float32)) for k in range(count)]


def halves(x: Node) -> Node:
    """Both halves of the channels, the other way around."""
    parts = split(x, axis=1, num_outputs=2, outputs=2)
    made: Node = concat(out(parts, 1), out(parts, 0), axis=1)
    return made


def ints(*numbers: int) -> Node:
    return constant(list(numbers), DType.INT64)


STEPS: Mapping[str, Step] = {
    "conv": lambda x: conv(x, weights(C, C, 3, 3), weights(C), pads=(1, 1, 1, 1)),
    "point": lambda x: conv(x, weights(C, C, 1, 1)),
    "groups": lambda x: conv(x, weights(C, 2, 3, 2), group=2, pads=(1, 0, 1, 1)),
    "depthwise": lambda x: conv(x, weights(C, 1, 3, 3), group=C, pads=(1, 1, 1, 1)),
    "transposed": lambda x: conv_transpose(
        x, weights(C, C, 3, 2), weights(C), strides=(2, 1), pads=(1, 0, 1, 1)
    ),
    "transposed groups": lambda x: conv_transpose(
        x, weights(C, 2, 2, 2), group=2, strides=(2, 2), output_padding=(1, 0)
    ),
    "largest": lambda x: max_pool(x, kernel_shape=(3, 2), pads=(1, 0, 1, 1)),
    "mean": lambda x: average_pool(x, kernel_shape=(2, 2), strides=(2, 1), pads=(1, 1, 1, 1)),
    "whole mean": lambda x: add(x, global_average_pool(x)),
    "whole largest": lambda x: add(x, global_max_pool(x)),
    "near": lambda x: lrn(x, size=3, alpha=0.3),
    "batch": lambda x: batch_normalization(x, *vectors(4)),
    "instance": lambda x: instance_normalization(x, *vectors(2), epsilon=0.1),
    "group": lambda x: group_normalization(x, *vectors(2), num_groups=2, epsilon=0.1),
    "blocks": lambda x: depth_to_space(conv(x, weights(4 * C, C, 1, 1)), blocksize=2, mode="CRD"),
    "channels of blocks": lambda x: conv(
        space_to_depth(twice(x), blocksize=2),
        weights(C, 4 * C, 1, 1),
    ),
    "nearest": lambda x: resize(x, None, constant([1, 1, 2, 1], DType.FLOAT32)),
    "padded": lambda x: pad(x, ints(1, 0, 0, 2), None, ints(2, 3)),
    "padded channels": lambda x: conv(
        pad(x, ints(0, 1, 0, 0, 0, 1, 0, 0), mode="edge"), weights(C, C + 2, 1, 1)
    ),
    "softmax": lambda x: softmax(x, axis=1),
    "norm": lambda x: lp_normalization(x, axis=1),
    "slopes": lambda x: prelu(x, weights(C, 1, 1)),
    "bias": lambda x: add(x, weights(C, 1, 1)),
    "halves": halves,
    "joined": lambda x: conv(concat(x, relu(x), axis=1), weights(C, 2 * C, 1, 1)),
    "gate": lambda x: mul(x, reduce_mean(x, ints(2, 3))),
    "most": lambda x: add(x, reduce_max(x, ints(1))),
    "relu": relu,
}


def twice(x: Node) -> Node:
    """Rows and columns two by two, so that there are even numbers of them."""
    made: Node = resize(x, None, constant([1, 1, 2, 2], DType.FLOAT32))
    return made


def network(steps: Sequence[str]) -> Graph:
    """The steps one after the other, behind a convolution and before another."""
    x = graph_input("x", TensorType(DType.FLOAT32, (2, 3, 5, 4)))
    value: Node = conv(x, weights(C, 3, 1, 1))
    for step in steps:
        value = STEPS[step](value)
    return graph_of((conv(value, weights(2, C, 1, 1)), arg_max(value, axis=1)))


@pytest.mark.parametrize("step", STEPS)
def test_one_step_costs_no_transposes(step: str) -> None:
    graph = network([step])
    made = graphopt.optimize(graph, [Layout("last")], strict=True)
    found = ops(made)
    assert not {op.name for op in LAST} & {*found}
    assert found["Transpose"] <= 3  # of the input and of both outputs
    held(graph, made)
    again = graphopt.optimize(made, [Layout("first")], strict=True)
    assert not {op.name for op in FIRST} & {*ops(again)}
    assert ops(again)["Transpose"] == 0
    feeds = {"x": np.random.default_rng(0).standard_normal((2, 3, 5, 4)).astype(np.float32)}
    for ours, theirs in zip(reference.run(again, feeds), reference.run(graph, feeds), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@settings(max_examples=8, deadline=None)
@given(st.lists(st.sampled_from(sorted(STEPS)), min_size=2, max_size=6))
def test_networks(steps: Sequence[str]) -> None:
    graph = network(steps)
    made = graphopt.optimize(graph, [Layout("last")], strict=True)
    assert not {op.name for op in LAST} & {*ops(made)}
    array = np.random.default_rng(len(steps)).standard_normal((2, 3, 5, 4)).astype(np.float32)
    expected = reference.run(graph, {"x": array})
    results: list[Any] = [
        graphopt.compile(made, backend, layout="keep")(array)
        for backend in ("reference", "numpy", "jax")
    ]
    results += [graphopt.compile(graph, backend)(array) for backend in ("numpy", "jax")]
    for found in results:
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-3, atol=1e-3)


def test_bodies_have_layouts_of_their_own() -> None:
    """Of a branch inside a loop too; what comes in and goes out is as it was."""
    kind = TensorType(DType.FLOAT32, (1, C, 6, 6))
    x, inner, carried = (graph_input(name, kind) for name in "xic")
    flag, going = (graph_input(name, TensorType(DType.BOOL, ())) for name in "fg")
    number = graph_input("n", TensorType(DType.INT64, ()))
    deep = STEPS["point"](relu(STEPS["conv"](inner)))
    branches = [Body.close((), (inner,), (made,)) for made in (deep, relu(inner))]
    chosen = if_(flag, carried, then_branch=branches[0], else_branch=branches[1])
    pooled = max_pool(chosen, kernel_shape=(3, 3), pads=(1, 1, 1, 1))
    body = Body.close((number, going, carried), (flag,), (constant(True), pooled))
    graph = graph_of(loop(constant(2), None, x, flag, body=body))
    made = graphopt.optimize(graph, [Layout("last")], strict=True)
    found = Counter(node.op.name for node in all_nodes(made.roots))
    assert (found["ConvLast"], found["MaxPoolLast"], found["Conv"], found["MaxPool"]) == (
        2,
        1,
        0,
        0,
    )
    assert found["Transpose"] == 4
    array = np.random.default_rng(0).standard_normal((1, C, 6, 6)).astype(np.float32)
    for flagged in (True, False):
        feeds = {"x": array, "f": np.array(flagged)}
        (expected,) = reference.run(graph, feeds)
        for backend in ("reference", "numpy", "jax"):
            (ours,) = graphopt.compile(made, backend, layout="keep")(**feeds)
            np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)
