"""Products of one value merged into one: what they become, and what stays apart."""

from __future__ import annotations

from collections import Counter
from functools import reduce

import numpy as np
import pytest

from graphopt.backends import reference
from graphopt.body import Body, all_nodes
from graphopt.graph import Graph, operations
from graphopt.ir import Node, walk
from graphopt.ops.activation import relu
from graphopt.ops.arithmetic import add
from graphopt.ops.control import if_
from graphopt.ops.conv import conv
from graphopt.ops.linalg import gemm, matmul
from graphopt.passes.contractions.parallel import MergeProducts
from graphopt.pipeline import Context, run_pipeline
from graphopt.rewriting.examples import example, weights
from graphopt.rewriting.rule import Math
from graphopt.structural import constant
from graphopt.tensor import Tensor
from graphopt.types import DType

X = example("float32[N, 5, 6]")
ROWS = example("float32[N, 6]", "rows")
IMAGE = example("float32[N, 3, 8, 8]", "image")


def graph_of(*outputs: Node) -> Graph:
    inputs = tuple(dict.fromkeys(n for n in walk(outputs) if n.op.name == "Input"))
    return Graph(inputs, outputs, tuple(f"y{k}" for k in range(len(outputs))))


def merged(graph: Graph, pass_: MergeProducts | None = None, math: Math = Math.DEFAULT) -> Graph:
    """The graph after the pass, which must compute the same."""
    made = run_pipeline(graph, [pass_ or MergeProducts()], Context(math=math, strict=True))
    rng = np.random.default_rng(0)
    feeds = {
        item.attrs["name"]: rng.standard_normal(
            [n if isinstance(n, int) else 3 for n in item.shape or ()]
        ).astype(np.float32)
        for item in graph.inputs
        if item.dtype.is_float
    } | {item.attrs["name"]: np.array(True) for item in graph.inputs if not item.dtype.is_float}
    pairs = zip(reference.run(graph, feeds), reference.run(made, feeds), strict=True)
    for old, new in pairs:
        np.testing.assert_allclose(new, old, rtol=1e-5, atol=1e-5)
    return made


def ops(graph: Graph) -> dict[str, int]:
    return dict(Counter(node.op.name for node in operations(graph.nodes)))


def products(x: Node, *widths: int) -> list[Node]:
    return [matmul(x, weights(6, width, seed=k)) for k, width in enumerate(widths)]


def test_three_products_are_one_and_a_split() -> None:
    graph = graph_of(*products(X, 4, 7, 1))
    made = merged(graph)
    assert ops(made) == {"MatMul": 1, "Split": 1}
    assert [item.type for item in made.outputs] == [item.type for item in graph.outputs]
    assert merged(made).outputs == made.outputs


def test_two_products_stay() -> None:
    graph = graph_of(*products(X, 4, 4))
    assert ops(merged(graph)) == {"MatMul": 2}
    assert ops(merged(graph, MergeProducts(least=2))) == {"MatMul": 1, "Split": 1}


def test_biases_are_merged_with_their_products() -> None:
    sums = [add(weights(4, seed=9 + k), y) for k, y in enumerate(products(X, 4, 4, 4))]
    assert ops(merged(graph_of(*sums))) == {"MatMul": 1, "Add": 1, "Split": 1}


def test_a_bias_by_row_is_not_merged() -> None:
    sums = [add(weights(5, 1, seed=9 + k), y) for k, y in enumerate(products(X, 4, 4, 4))]
    made = ops(merged(graph_of(*sums)))
    assert made == {"MatMul": 1, "Split": 1, "Add": 3}


def test_gemms_of_one_kind_are_merged() -> None:
    same = [gemm(ROWS, weights(k, 6), weights(k), transB=1, alpha=0.5) for k in (2, 3, 4)]
    other = gemm(ROWS, weights(6, 3), weights(3), alpha=0.5)
    assert ops(merged(graph_of(*same, other))) == {"Gemm": 2, "Split": 1}


def test_what_depends_on_merged_products_is_merged_too() -> None:
    first = reduce(add, products(ROWS, 6, 6, 6))
    made = merged(graph_of(*products(first, 2, 2, 2)))
    assert ops(made)["MatMul"] == 2
    assert ops(made)["Split"] == 2


def test_shared_weights_are_not_copied() -> None:
    w = weights(6, 4)
    outputs = [matmul(X, w), matmul(relu(X), w), *products(X, 2, 3)]
    assert ops(merged(graph_of(*outputs))) == {"MatMul": 4, "Relu": 1}


def test_weights_of_one_element_are_not_written_out() -> None:
    splat = matmul(X, constant(Tensor.splat(DType.FLOAT32, (6, 100), 0.5)))
    assert ops(merged(graph_of(splat, *products(X, 2, 3)))) == {"MatMul": 3}


def test_strict_math_leaves_them() -> None:
    graph = graph_of(*products(X, 4, 7, 1))
    assert ops(merged(graph, math=Math.STRICT)) == {"MatMul": 3}


@pytest.mark.parametrize("asked", [False, True])
def test_convolutions_only_where_asked_for(asked: bool) -> None:
    made = [conv(IMAGE, weights(k, 3, 1, 1, seed=k), weights(k)) for k in (2, 4, 6)]
    wanted = {"Conv": 1, "Split": 1} if asked else {"Conv": 3}
    assert ops(merged(graph_of(*made), MergeProducts(convolutions=asked))) == wanted


def branches(then: int, otherwise: int) -> Graph:
    """An If with so many products of one captured value in each branch."""
    kind = example("float32[3, 6]", "rows")
    seeds = iter(range(then + otherwise))

    def body(count: int) -> Body:
        x = example("float32[3, 6]", "inner")
        made = [matmul(x, weights(6, 4, seed=next(seeds))) for _ in range(count)]
        return Body.close([], [x], [reduce(add, made)])

    cond = example("bool[]", "cond")
    return graph_of(if_(cond, kind, then_branch=body(then), else_branch=body(otherwise)))


def inside(graph: Graph) -> Counter[str]:
    return Counter(node.op.name for node in all_nodes(graph.roots))


def test_products_of_different_branches_stay_apart() -> None:
    """What one branch computes must not be computed where another one is taken."""
    assert inside(merged(branches(2, 2)))["MatMul"] == 4
    made = inside(merged(branches(3, 1)))
    assert (made["MatMul"], made["Split"]) == (2, 1)
