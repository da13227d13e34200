"""Attention of heads written for ONNX Runtime: when, and that it computes the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import graphopt
from graphopt.frontends.onnx import to_proto
from graphopt.ir import Node
from graphopt.ops.arithmetic import add, div, mul
from graphopt.ops.linalg import matmul
from graphopt.ops.movement import transpose
from graphopt.ops.reduction import reduce_sum
from graphopt.ops.shape import reshape
from graphopt.ops.slicing import split
from graphopt.ops.softmax import softmax
from graphopt.rewriting.examples import example, filled, ints, weights
from graphopt.structural import constant, out
from graphopt.tensor import Tensor
from graphopt.types import DType
from tests.frontends.onnx.models import operators
from tests.frontends.onnx.test_targets import agrees, graph_of

Scores = Callable[[Node], Node]


def by_head(x: Node, heads: int = 2) -> Node:
    made: Node = reshape(x, ints(0, 0, heads, 4))
    return made


def attended(q: Node, k: Node, v: Node, scores: Scores) -> Node:
    """Heads (batch, sequence, heads, size) attended to, put together."""
    q, k, v = (
        transpose(x, perm=perm)
        for x, perm in ((q, (0, 2, 1, 3)), (k, (0, 2, 3, 1)), (v, (0, 2, 1, 3)))
    )
    found = transpose(matmul(softmax(scores(matmul(q, k))), v), perm=(0, 2, 1, 3))
    made: Node = reshape(found, ints(0, 0, 8))
    return made


def separate(scores: Scores) -> Node:
    """Queries of a length of their own."""
    q, k, v = (
        by_head(example(f"float32[N, {n}, 8]", name)) for name, n in (("q", 3), ("k", 5), ("v", 5))
    )
    return attended(q, k, v, scores)


def written(root: Node, target: str = "ort") -> list[str]:
    """The operators that a graph is written by after all passes; they compute the same."""
    graph = graph_of(root, 17)
    model = to_proto(graphopt.optimize(graph, "O2"), target=target)
    agrees(graph, model)
    return operators(model)


SCALED: tuple[Scores, ...] = (
    lambda x: x,
    lambda x: mul(x, filled(2)),
    lambda x: mul(filled(0.3, 1), x),
    lambda x: div(x, filled(3)),
)


@pytest.mark.parametrize("scores", SCALED)
def test_attention_of_heads_is_one_operator(scores: Scores) -> None:
    assert written(separate(scores)) == ["MultiHeadAttention"]
    assert "MultiHeadAttention" not in written(separate(scores), "portable")


def test_heads_of_one_product() -> None:
    """Queries, keys and values are parts of one product; the factor goes into its weights."""
    x = example("float32[N, 5, 8]")
    node: Node = split(by_head(matmul(x, weights(8, 24)), 6), ints(2, 2, 2), axis=2, outputs=3)
    root = attended(out(node, 0), out(node, 1), out(node, 2), lambda x: div(x, filled(2)))
    found = written(root)
    assert found.count("MultiHeadAttention") == 1
    assert not {"Mul", "Div", "Softmax", "Transpose"} & set(found)


OTHERS: tuple[Scores, ...] = (
    lambda x: add(x, example("float32[3, 5]", "m")),
    lambda x: mul(x, weights(5)),
    lambda x: mul(x, filled(2, 4, 1, 1, 1)),
)


@pytest.mark.parametrize("scores", OTHERS)
def test_masks_and_other_factors_are_left(scores: Scores) -> None:
    """The last one makes four of one batch."""
    q, k, v = (by_head(example(f"float32[1, {n}, 8]", f"x{n}")) for n in (3, 5, 5))
    assert "MultiHeadAttention" not in written(attended(q, k, v, scores))


def test_scores_that_others_use_are_left() -> None:
    root = separate(lambda x: x)
    shares = root.inputs[0].inputs[0].inputs[0]
    assert shares.op is softmax
    both = add(root, reduce_sum(shares))
    assert "MultiHeadAttention" not in written(both)


def test_values_of_another_batch_are_left() -> None:
    q, k = (by_head(example(f"float32[4, {n}, 8]", name)) for name, n in (("q", 3), ("k", 5)))
    v = by_head(example("float32[1, 5, 8]", "v"))
    assert "MultiHeadAttention" not in written(attended(q, k, v, lambda x: x))


def test_what_may_be_broadcast_is_left() -> None:
    """Where a batch is not known, that of the values may be 1; where keys are one, factors many."""
    q, k, v = (
        example(f"float32[?, {n}, 2, 4]", name) for name, n in (("q", 3), ("k", 5), ("v", 5))
    )
    assert "MultiHeadAttention" not in written(attended(q, k, v, lambda x: x))
    q, k, v = (
        by_head(example(f"float32[N, {n}, 8]", name)) for name, n in (("q", 3), ("k", 1), ("v", 5))
    )
    wide = constant(Tensor.splat(DType.FLOAT32, (5,), 2))
    graph = graph_of(attended(q, k, v, lambda x: mul(x, wide)), 17)
    model = to_proto(graph, target="ort")
    agrees(graph, model)
    assert "MultiHeadAttention" not in operators(model)


def test_heads_that_are_put_together_otherwise_are_left() -> None:
    (root,) = separate(lambda x: x).inputs[:1]
    made = reshape(root, ints(3, -1, 8))
    assert "MultiHeadAttention" not in written(made)
