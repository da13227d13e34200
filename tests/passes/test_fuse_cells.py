"""Cells of recurrent layers: what is told to be a step of a GRU, and that the layer is the same."""

from __future__ import annotations

from typing import Any

import pytest

import graphopt
from graphopt.frontends.onnx import to_proto
from graphopt.ir import Node
from graphopt.ops.activation import sigmoid
from graphopt.ops.arithmetic import add, mul, sub
from graphopt.ops.functions import tanh
from graphopt.ops.fused import fused
from graphopt.ops.linalg import gemm
from graphopt.ops.reduction import reduce_sum
from graphopt.ops.slicing import slice_, split
from graphopt.rewriting.examples import example, filled, ints, weights
from graphopt.structural import out
from tests.frontends.onnx.models import operators
from tests.frontends.onnx.test_targets import agrees, graph_of

X, H = example("float32[N, 4]"), example("float32[N, 2]", "h")


def parts_of(x: Node, *, sliced: bool = False) -> list[Node]:
    if sliced:
        return [slice_(x, ints(k), ints(k + 2), ints(1)) for k in (0, 2, 4)]
    node: Node = split(x, ints(2, 2, 2), axis=1, outputs=3)
    return [out(node, k) for k in range(3)]


def product(x: Node, columns: int, seed: int, *, turned: bool = True, bias: bool = True) -> Node:
    shape = (6, columns) if turned else (columns, 6)
    b = weights(6, seed=seed + 1) if bias else None
    made: Node = gemm(x, weights(*shape, seed=seed), b, transB=int(turned))
    return made


def cell(order: tuple[int, int, int] = (0, 1, 2), *, state: Node = H, **kinds: Any) -> Node:
    """A step whose gates r, z and n stand in some order in both products."""
    sliced = kinds.pop("sliced", False)
    i = parts_of(product(X, 4, 0, **kinds), sliced=sliced)
    s = parts_of(product(H, 2, 2, **kinds), sliced=sliced)
    r, z = (sigmoid(add(i[gate], s[gate])) for gate in order[:2])
    n = tanh(add(mul(s[order[2]], r), i[order[2]]))
    made: Node = add(mul(state, z), mul(n, sub(filled(1), z)))
    return made


def written(root: Node, opset: int = 17) -> list[str]:
    """The operators by which a graph is written after all passes; they compute the same."""
    graph = graph_of(root, opset)
    made = graphopt.optimize(graph, "O2")
    assert graphopt.optimize(made, "O2").outputs == made.outputs
    model = to_proto(made)
    agrees(graph, model)
    return operators(model)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 0, 1)])
@pytest.mark.parametrize("kinds", [{}, {"turned": False}, {"bias": False}, {"sliced": True}])
def test_a_step_of_a_gru(order: tuple[int, int, int], kinds: dict[str, Any]) -> None:
    assert sorted(written(cell(order, **kinds))) == ["GRU", "Squeeze", "Unsqueeze", "Unsqueeze"]


def test_before_axes_were_inputs() -> None:
    assert sorted(written(cell(), 12)) == ["GRU", "Squeeze", "Unsqueeze", "Unsqueeze"]


def test_backends_run_it_as_it_is_spelled() -> None:
    made = graphopt.optimize(graph_of(cell()), "O2")
    assert [node.attrs["kind"] for node in made.nodes if node.op is fused] == ["GRU"]
    assert made.outputs[0].attrs["body"].outputs[0].op is add


def of(i: Node, s: Node, state: Node = H) -> Node:
    """A step by two products."""
    gates = [parts_of(i), parts_of(s)]
    r, z = (sigmoid(add(gates[0][k], gates[1][k])) for k in (0, 1))
    n = tanh(add(gates[0][2], mul(r, gates[1][2])))
    made: Node = add(mul(sub(filled(1), z), n), mul(z, state))
    return made


def test_other_products_are_left() -> None:
    w, r, b = weights(6, 4), weights(6, 2, seed=1), weights(6, seed=2)
    six, h = example("float32[6, 4]", "six"), example("float32[6, 2]", "h6")
    plain = gemm(H, r, b, transB=1)
    assert "GRU" in written(of(gemm(X, w, b, transB=1), plain))
    assert "GRU" not in written(of(gemm(X, w, b, transB=1, alpha=2.5), plain))
    assert "GRU" not in written(of(gemm(example("float32[1, 4]"), w, b, transB=1), plain))
    rows = gemm(six, w, weights(6, 1, seed=2), transB=1)
    assert "GRU" not in written(of(rows, gemm(h, r, b, transB=1), h))
    assert "GRU" not in written(of(gemm(X, w, b, transB=1), gemm(X, weights(6, 4), b, transB=1)))


def test_weights_that_others_use_are_not_stored_twice() -> None:
    w, other = weights(6, 4), example("float32[N, 4]", "other")
    root = of(gemm(X, w, transB=1), gemm(H, weights(6, 2, seed=1), transB=1))
    assert "GRU" not in written(add(root, reduce_sum(gemm(other, w, transB=1))))


def test_other_cells_are_left() -> None:
    gates = parts_of(product(X, 4, 0)), parts_of(product(H, 2, 2))
    r, z = (sigmoid(add(*(part[gate] for part in gates))) for gate in (0, 1))
    n = tanh(add(gates[0][2], mul(r, gates[1][1])))
    crossed = add(mul(sub(filled(1), z), n), mul(z, H))
    another = cell(state=example("float32[N, 2]", "k"))
    shown = add(cell(), sigmoid(add(parts_of(product(X, 4, 0))[0], H)))
    for root in (crossed, another, shown):
        assert "GRU" not in written(root)
