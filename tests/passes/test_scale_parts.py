"""Factors of parts: which go into weights, which stay, and that the result is the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from graphopt.backends import reference
from graphopt.graph import Graph, operations
from graphopt.ir import Node, walk
from graphopt.ops.activation import relu
from graphopt.ops.arithmetic import add, div, mul
from graphopt.ops.linalg import gemm, matmul
from graphopt.ops.movement import transpose
from graphopt.ops.shape import reshape
from graphopt.ops.slicing import slice_, split
from graphopt.passes.contractions.scale_parts import ScaleParts
from graphopt.pipeline import Context, run_pipeline
from graphopt.rewriting.examples import example, filled, ints, weights
from graphopt.rewriting.rule import Math
from graphopt.structural import constant, out
from graphopt.tensor import Tensor
from graphopt.types import DType

X = example("float32[N, 5, 6]")
W, B = weights(6, 12), weights(12, seed=1)
Parts = Callable[[Node], tuple[Node, ...]]


def graph_of(*outputs: Node) -> Graph:
    inputs = tuple(dict.fromkeys(n for n in walk(outputs) if n.op.name == "Input"))
    return Graph(inputs, outputs, tuple(f"y{k}" for k in range(len(outputs))))


def scaled(*outputs: Node, math: Math = Math.DEFAULT) -> dict[str, int]:
    """The operators after the pass, which must compute the same, and nothing more once more."""
    graph = graph_of(*outputs)
    made = run_pipeline(graph, [ScaleParts()], Context(math=math, strict=True))
    rng = np.random.default_rng(0)
    feeds = {
        item.attrs["name"]: rng.standard_normal(
            [n if isinstance(n, int) else 3 for n in item.shape or ()]
        ).astype(np.float32)
        for item in graph.inputs
    }
    for old, new in zip(reference.run(graph, feeds), reference.run(made, feeds), strict=True):
        np.testing.assert_allclose(new, old, rtol=1e-5, atol=1e-5)
    return dict(Counter(node.op.name for node in operations(made.nodes)))


def split_parts(x: Node) -> tuple[Node, ...]:
    node: Node = split(x, ints(4, 4, 4), axis=-1, outputs=3)
    return tuple(out(node, k) for k in range(3))


def slices(x: Node) -> tuple[Node, ...]:
    return tuple(slice_(x, ints(k), ints(k + 4), ints(2)) for k in (0, 4, 8))


def head_parts(x: Node) -> tuple[Node, ...]:
    """Parts of the heads of what was reshaped, transposed."""
    heads = reshape(x, ints(0, 5, 6, 2))
    node: Node = split(heads, ints(2, 2, 2), axis=2, outputs=3)
    return tuple(transpose(out(node, k), perm=(0, 2, 1, 3)) for k in range(3))


def packed(x: Node = X, w: Node = W, b: Node | None = B) -> Node:
    made: Node = matmul(x, w) if b is None else add(matmul(x, w), b)
    return made


def scores(parts: tuple[Node, ...], factor: float = 0.25) -> tuple[Node, ...]:
    """Queries times keys, scaled; and the values."""
    q, k, v = parts
    turned = transpose(k, perm=(*range((k.rank or 0) - 2), (k.rank or 0) - 1, (k.rank or 0) - 2))
    return mul(matmul(q, turned), filled(factor)), v


@pytest.mark.parametrize("parts", [split_parts, slices, head_parts])
def test_scores_are_scaled_by_the_weights_of_the_queries(parts: Parts) -> None:
    made = scaled(*scores(parts(packed())))
    assert "Mul" not in made and made["MatMul"] == 2


@pytest.mark.parametrize("bias", [None, filled(0.5, 12), B])
def test_a_part_is_scaled_with_its_bias(bias: Node | None) -> None:
    q, k, v = split_parts(packed(b=bias))
    assert "Mul" not in scaled(mul(q, filled(0.3)), k, v)
    assert "Div" not in scaled(div(k, filled(3)), q, v)


def test_a_gemm_with_turned_weights() -> None:
    x, w = example("float32[N, 6]", "rows"), weights(12, 6)
    q, k, v = split_parts(gemm(x, w, B, transB=1))
    assert scaled(mul(q, filled(0.3)), k, v) == {"Gemm": 1, "Split": 1}


def test_a_bias_that_is_one_number_or_varies_by_row_stays() -> None:
    for bias in (filled(0.5), weights(5, 1)):
        q, k, v = split_parts(packed(b=bias))
        assert scaled(mul(q, filled(0.3)), k, v)["Mul"] == 1


def layers(*factors: float) -> tuple[Node, ...]:
    """Layers that share their weights."""
    x, rest = X, list[Node]()
    for factor in factors:
        found, v = scores(split_parts(packed(x)), factor)
        rest.append(v)
        x = matmul(found, slice_(x, ints(0), ints(5), ints(1)))
    return (x, *rest)


def test_layers_that_share_weights_agree_on_the_factor() -> None:
    assert "Mul" not in scaled(*layers(0.25, 0.25, 0.25))
    assert scaled(*layers(0.25, 0.5, 0.25))["Mul"] == 3


def test_weights_that_something_else_uses_stay() -> None:
    assert scaled(*scores(split_parts(packed())), matmul(X, W))["Mul"] == 1
    assert scaled(*layers(0.25, 0.25), packed(relu(X)))["Mul"] == 2


def test_a_factor_behind_another_waits_for_it() -> None:
    """The outer one would go into the inner one, which goes itself."""
    q, k, v = split_parts(packed())
    (both, _), other = scores((mul(q, filled(0.3)), k, v)), packed(relu(X))
    assert scaled(both, v)["Mul"] == 1
    assert scaled(both, v, other)["Mul"] == 2


def test_parts_of_what_was_transposed() -> None:
    """Heads stand behind queries, keys and values in the product, before them in what is split."""
    packs = transpose(reshape(packed(), ints(0, 5, 3, 2, 2)), perm=(2, 0, 3, 1, 4))
    node: Node = split(packs, ints(1, 1, 1), axis=0, outputs=3)
    assert "Mul" not in scaled(*scores((out(node, 0), out(node, 1), out(node, 2))))


def test_rows_are_no_columns() -> None:
    """As many rows as columns."""
    node: Node = split(matmul(X, weights(6, 5)), ints(2, 3), axis=1, outputs=2)
    assert scaled(mul(out(node, 0), filled(0.3)), out(node, 1))["Mul"] == 1


def test_terms_that_are_broadcast_stay() -> None:
    row = transpose(matmul(example("float32[6, 6]", "r"), weights(6, 12)), perm=(1, 0))
    turned = transpose(
        add(transpose(packed(), perm=(0, 2, 1)), slice_(row, *map(ints, (0, 5, 1)))), perm=(0, 2, 1)
    )
    q, k, v = split_parts(turned)
    assert scaled(mul(q, filled(0.3)), k, v)["Mul"] == 1


def test_a_part_that_is_used_twice_stays() -> None:
    q, k, v = split_parts(packed())
    assert scaled(mul(q, filled(0.3)), q, k, v)["Mul"] == 1
    low, wide = (slice_(packed(), ints(0), ints(end), ints(2)) for end in (4, 8))
    assert scaled(mul(low, filled(0.3)), wide)["Mul"] == 1


def test_the_whole_is_used_elsewhere() -> None:
    y = packed()
    q, k, v = slices(y)
    assert scaled(mul(q, filled(0.3)), k, v, y)["Mul"] == 1


def test_two_parts_are_scaled_one_after_the_other() -> None:
    q, k, v = split_parts(packed())
    graph = graph_of(mul(q, filled(0.3)), mul(k, filled(0.7)), v)
    for left in (1, 0):
        graph = run_pipeline(graph, [ScaleParts()], Context(strict=True))
        assert sum(node.op is mul for node in graph.nodes) == left


@pytest.mark.parametrize("factor", [3.0, 1e-12])
def test_a_factor_that_could_overflow_or_vanish_stays(factor: float) -> None:
    assert scaled(*scores(split_parts(packed()), factor))["Mul"] == 1


def test_strict_math_leaves_factors() -> None:
    assert scaled(*scores(split_parts(packed())), math=Math.STRICT)["Mul"] == 1


def test_no_more_bytes_are_stored() -> None:
    """Weights of one number become weights of two."""
    w = constant(Tensor.splat(DType.FLOAT32, (6, 4096), 0.5))
    node: Node = split(matmul(X, w), ints(2048, 2048), axis=-1, outputs=2)
    assert scaled(mul(out(node, 0), filled(0.3)), out(node, 1))["Mul"] == 1
