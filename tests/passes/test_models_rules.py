"""What exporters write, and what becomes of it: tables, detectors, states, residuals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import graphopt
from graphopt.backends import reference
from graphopt.fusion import expanded, form_of
from graphopt.graph import Graph
from graphopt.ir import Node, walk
from graphopt.ops.activation import relu
from graphopt.ops.arithmetic import add, mul, sum_
from graphopt.ops.cast import cast
from graphopt.ops.conv import conv
from graphopt.ops.fused import fused
from graphopt.ops.generate import constant_of_shape
from graphopt.ops.indexing import gather
from graphopt.ops.linalg import matmul
from graphopt.ops.logic import equal
from graphopt.ops.movement import transpose
from graphopt.ops.normalization import layer_normalization
from graphopt.ops.rnn import gru
from graphopt.ops.shape import reshape, shape, unsqueeze
from graphopt.ops.slicing import concat
from graphopt.ops.softmax import softmax
from graphopt.passes.fusion.fuse import Fuse
from graphopt.rewriting.examples import example, ints, weights
from graphopt.structural import constant
from graphopt.types import DType


def graph_of(*outputs: Node) -> Graph:
    inputs = tuple(node for node in walk(outputs) if node.op.name == "Input")
    return Graph(inputs, outputs, tuple(f"y{k}" for k in range(len(outputs))))


def ops(graph: Graph) -> list[str]:
    """The operators of a graph, fused ones opened."""
    return [node.op.name for node in expanded(graph).nodes if node.inputs]


def held(graph: Graph, *feeds: Any, exact: bool = True) -> list[str]:
    """The operators after O2, which must compute what the graph does."""
    made = graphopt.optimize(graph, strict=True)
    given = dict(zip(graph.input_names, feeds, strict=True))
    for old, new in zip(reference.run(graph, given), reference.run(made, given), strict=True):
        if exact:
            np.testing.assert_array_equal(old, new, strict=True)
        else:
            np.testing.assert_allclose(old, new, rtol=1e-5, atol=1e-6, strict=True)
    return ops(made)


def one_hot(count: Sequence[int], w: Node, x: Node) -> Node:
    marks = equal(x, constant(np.array(count, np.int32)))
    made: Node = matmul(cast(marks, to=DType.FLOAT32), w)
    return made


def test_a_product_with_one_hot_rows_takes_rows_of_a_table() -> None:
    x = example("int32[N, 3]")
    w = weights(4, 8)
    root = add(one_hot(range(4), w, unsqueeze(x, ints(2))), weights(8, seed=1))
    feed = np.array([[0, 3, -1], [4, 2, 1], [-(2**31), 2**31 - 1, 0]], np.int32)
    assert held(graph_of(root), feed) == ["Clip", "Gather"]


def test_a_product_with_other_marks_stays() -> None:
    x = unsqueeze(example("int32[N, 3]"), ints(2))
    for root in (
        one_hot([0, 1, 1, 3], weights(4, 8), x),
        one_hot(range(4), constant(np.full((4, 8), np.inf, np.float32)), x),
    ):
        assert "MatMul" in held(graph_of(root), np.array([[0, 1, 2]], np.int32))


def test_rows_are_taken_before_they_are_widened() -> None:
    table = constant(np.arange(300 * 4, dtype=np.int64).astype(np.int8).reshape(300, 4))
    ids = example("int64[N, 5]", "i")
    feed = np.array([[0, 299, -1, 7, -300]])
    for scales in ((300, 1), (1, 4), (4,), (1, 1)):
        root = gather(mul(cast(table, to=DType.FLOAT32), weights(*scales)), ids)
        made = graphopt.optimize(graph_of(root), strict=True)
        assert all(
            node.op.name != "Cast" or node.shape != (300, 4) for node in expanded(made).nodes
        )
        held(graph_of(root), feed)


def test_the_mean_of_a_distribution_over_channels() -> None:
    """Detectors write each side of a box as one: 1 filter of size 1 behind a Softmax."""
    x = example("float32[N, 32, M]")
    chances = softmax(transpose(reshape(x, ints(0, 4, 8, -1)), perm=(0, 2, 1, 3)), axis=1)
    root = reshape(conv(chances, constant(np.arange(8, dtype=np.float32).reshape(1, 8, 1, 1))),
                   ints(0, 4, -1))  # fmt: skip
    feed = np.random.default_rng(0).standard_normal((2, 32, 3)).astype(np.float32)
    made = held(graph_of(root), feed, exact=False)
    assert "Conv" not in made and made.count("Transpose") == 1
    wide = conv(chances, weights(2, 8, 1, 1))
    assert "Conv" in held(graph_of(wide), feed, exact=False)


@pytest.mark.parametrize("state", [0.0, -0.0, 0.5])
def test_a_layer_that_begins_with_zeros(state: float) -> None:
    """Zeros of a shape that only running tells need not be made."""
    x = example("float32[T, N, 3]")
    sizes = concat(ints(1), shape(x, start=1, end=2), ints(2), axis=0)
    begin = constant_of_shape(sizes, value=constant(np.array([state], np.float32)).constant)
    layer = gru(x, weights(1, 6, 3), weights(1, 6, 2), None, None, begin, hidden_size=2)
    made = graphopt.optimize(graph_of(layer), strict=True)
    (node,) = (node for node in made.nodes if node.op is gru)
    assert (len(node.inputs) < 6) == (str(state) == "0.0")
    feed = np.random.default_rng(0).standard_normal((3, 2, 3)).astype(np.float32)
    held(graph_of(layer), feed)


def test_a_normalization_of_a_sum_is_written_by_sum() -> None:
    x, y = example("float32[N, 8]"), example("float32[N, 8]", "y")
    graph = graph_of(layer_normalization(add(x, y), weights(8), weights(8, seed=1)))
    (root,) = graphopt.optimize(graph, [Fuse()], strict=True).outputs
    assert root.op is fused
    form = form_of(root)
    assert form is not None and form.inputs[0].op is sum_


def test_activations_stay_with_the_convolutions_that_take_them() -> None:
    """Hoisted over Concat they would be one node in place of two, and run alone."""
    x = example("float32[1, 2, 4, 4]")

    def branch(seed: int) -> Node:
        made = conv(x, weights(2, 2, 1, 1, seed=seed))
        by_channel = unsqueeze(weights(2, seed=seed + 1), ints(1, 2))
        node: Node = relu(add(mul(made, by_channel), by_channel))
        return node

    graph = graph_of(concat(branch(0), branch(2), axis=1))
    feed = np.random.default_rng(0).standard_normal((1, 2, 4, 4)).astype(np.float32)
    made = held(graph, feed, exact=False)
    assert made.index("Relu") < made.index("Concat") and made.count("Relu") == 2
