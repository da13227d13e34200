"""Nodes fused into one and opened again: the very same nodes, wherever they stand."""

from __future__ import annotations

import numpy as np
import pytest

import graphopt
from graphopt.backends import reference
from graphopt.body import Body
from graphopt.errors import TypeRuleError
from graphopt.fusion import between, expanded, form_of, fuse, opened, used_outside
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.ops.activation import gelu
from graphopt.ops.arithmetic import add, mul
from graphopt.ops.cast import cast
from graphopt.ops.control import if_
from graphopt.ops.functions import cos, exp
from graphopt.ops.fused import fused
from graphopt.ops.linalg import matmul
from graphopt.rewriting.examples import example, filled, weights
from graphopt.rewriting.sweep import Sweep
from graphopt.rewriting.uses import Uses
from graphopt.structural import constant, graph_input, out
from graphopt.tensor import Tensor
from graphopt.text import parse_graph, print_graph
from graphopt.types import DType, TensorType


def graph_of(*outputs: Node, inputs: tuple[Node, ...]) -> Graph:
    return Graph(inputs, outputs, tuple(f"y{k}" for k in range(len(outputs))))


X = example("float32[N, 3]")


def test_opening_gives_the_nodes_that_were_fused() -> None:
    w, b = weights(3, 40), weights(40)
    root = exp(add(matmul(X, w), b))
    made = fuse(root, between(root, (X,)), "MatMul+Add+Exp")
    assert made.inputs == (X, w, b), "large constants are inputs"
    assert opened(made) == (root,)
    assert made.type == root.type
    graph = graph_of(made, inputs=(X,))
    assert len(graph) == 1
    assert expanded(graph).outputs == (root,)


def test_small_constants_stand_inside() -> None:
    root = mul(cos(X), filled(2.0))
    made = fuse(root, between(root, (X,)), "")
    assert made.inputs == (X,)
    wide = mul(cos(X), constant(Tensor.splat(DType.FLOAT32, (500, 3), 2)))
    assert fuse(wide, between(wide, (X,)), "").inputs == (X,), "a splat is one number"


def test_what_is_fused_twice_is_one_object() -> None:
    y = example("float32[N, 3]", "y")
    one, other = exp(cos(X)), exp(cos(y))
    bodies = [fuse(root, between(root, (X, y)), "").attrs["body"] for root in (one, other)]
    assert bodies[0] is bodies[1]


def test_uses_outside_are_found() -> None:
    middle = cos(X)
    root = exp(middle)
    inner = between(root, (X,))
    assert inner == [root, middle]
    assert not used_outside(inner, root, Uses((root,)))
    assert used_outside(inner, root, Uses((root, middle)))
    assert not used_outside([root, middle], root, Uses((root, root)))


def test_a_fused_node_may_hold_others_and_stand_in_a_body() -> None:
    inner = exp(cos(X))
    once = fuse(inner, between(inner, (X,)), "Cos+Exp")
    root = add(once, X)
    twice = fuse(root, between(root, (X,)), "Cos+Exp+Add")
    plain = add(inner, X)
    assert expanded(graph_of(twice, inputs=(X,))).outputs == (plain,)
    cond = example("bool[]", "c")
    other = Body.close((), (X,), (X,))
    branches = [Body.close((), (X,), (item,)) for item in (twice, plain)]
    fused_if, plain_if = (
        if_(cond, X, then_branch=branch, else_branch=other) for branch in branches
    )
    assert fused_if is not plain_if
    assert expanded(graph_of(fused_if, inputs=(cond, X))).outputs == (plain_if,)


def test_several_outputs_are_opened() -> None:
    made = fused(X, body=Body.close((X,), (), (cos(X), exp(X))))
    graph = graph_of(out(made, 1), out(made, 0), inputs=(X,))
    assert expanded(graph).outputs == (exp(X), cos(X))


def test_a_graph_without_fused_nodes_is_itself() -> None:
    graph = graph_of(exp(X), inputs=(X,))
    assert expanded(graph) is graph


def test_the_form_may_be_chosen() -> None:
    root = mul(X, exp(X))
    made = fuse(root, between(root, (X,)), "Gelu", gelu(X))
    graph = graph_of(cos(made), inputs=(X,))
    assert form_of(made) is gelu(X)
    assert expanded(graph, form_of).outputs == (cos(gelu(X)),)
    assert expanded(graph).outputs == (cos(root),)


def test_sizes_that_only_running_tells_are_known_outside() -> None:
    x = graph_input("x", TensorType(DType.FLOAT32, (None, 3)))
    root = exp(cos(x))
    made = fuse(root, between(root, (x,)), "")
    assert made.shape == root.shape
    assert made.shape is not None and str(made.shape[0]) == str(x.shape[0])  # type: ignore[index]


def test_a_form_of_another_dtype_is_refused() -> None:
    body = Body.close((X,), (), (exp(X),))
    with pytest.raises(TypeRuleError, match="other parameters or outputs"):
        fused(X, body=body, form=Body.close((X,), (), (cast(X, to=DType.FLOAT64),)))
    with pytest.raises(TypeRuleError, match="takes 1"):
        fused(X, X, body=body)


def test_rewrites_do_not_enter() -> None:
    root = exp(cos(X))
    made = fuse(root, between(root, (X,)), "Cos+Exp")
    outer = cos(made)
    sweep = Sweep(lambda node: (exp(*node.inputs), "rule") if node.op is cos else None)
    assert sweep.run((outer,)) == (exp(made),)


def test_the_text_form_shows_the_body() -> None:
    root = exp(cos(X))
    graph = graph_of(fuse(root, between(root, (X,)), "Cos+Exp"), inputs=(X,))
    text = print_graph(graph)
    assert 'kind = "Cos+Exp"' in text and "Cos(" in text
    assert parse_graph(text).outputs == graph.outputs


@pytest.mark.parametrize("backend", ["reference", "numpy", "jax"])
def test_backends_run_what_stands_inside(backend: str) -> None:
    if backend == "jax":
        pytest.importorskip("jax")
    w, b = weights(3, 40), weights(40)
    root = exp(cos(add(matmul(X, w), b)))
    made = fuse(root, between(root, (X,)), "MatMul+Add+Cos+Exp")
    plain, one = graph_of(root, inputs=(X,)), graph_of(made, inputs=(X,))
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    (wanted,) = graphopt.compile(plain, backend=backend)(x)
    (found,) = graphopt.compile(one, backend=backend)(x)
    assert np.asarray(wanted).tobytes() == np.asarray(found).tobytes()
    if backend == "reference":
        assert reference.run(one, {"x": x})[0].tobytes() == wanted.tobytes()


def test_the_numpy_program_is_that_of_the_nodes() -> None:
    root = exp(cos(mul(X, filled(2.0))))
    made = fuse(root, between(root, (X,)), "")
    x = np.ones((5, 3), np.float32)
    plans: list[str] = []
    for value in (root, made):
        run = graphopt.compile(graph_of(value, inputs=(X,)))
        run(x)
        plans.append(str(run.plan))
    assert plans[0] == plans[1]


def test_a_size_of_the_body_is_that_of_the_input() -> None:
    """A body knows its parameters' sizes by names, which stand for what the inputs have."""
    root = exp(cos(X))
    made = fuse(root, between(root, (X,)), "Cos+Exp")
    for kind in ("float32[1, 3]", "float32[M, 3]"):
        x = example(kind)
        other = made.with_inputs((x,))
        assert other.type == x.type
        assert expanded(graph_of(other, inputs=(x,))).outputs == (exp(cos(x)),)
