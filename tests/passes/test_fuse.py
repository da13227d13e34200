"""Fuse: what becomes one node, what does not, and that nothing computed changes by a bit."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import graphopt
from graphopt.backends import reference
from graphopt.body import Body
from graphopt.fusion import expanded
from graphopt.graph import Graph
from graphopt.ir import Node, walk
from graphopt.ops.activation import gelu, relu, sigmoid
from graphopt.ops.arithmetic import add, div, mul, power, sub
from graphopt.ops.control import if_
from graphopt.ops.conv import conv
from graphopt.ops.functions import cos, erf, exp, sqrt, tanh
from graphopt.ops.fused import fused
from graphopt.ops.linalg import gemm, matmul
from graphopt.ops.logic import where
from graphopt.ops.movement import transpose
from graphopt.ops.normalization import batch_normalization
from graphopt.ops.reduction import reduce_max, reduce_mean, reduce_sum
from graphopt.ops.shape import shape
from graphopt.ops.slicing import concat, split
from graphopt.ops.softmax import softmax
from graphopt.passes.fusion.fuse import Fuse
from graphopt.rewriting.examples import example, filled, ints, weights
from graphopt.structural import constant, out
from tests.work import steps
from tools import model_inputs, models

X = example("float32[N, 4]")
W, B = weights(4, 4), weights(4)


def graph_of(*outputs: Node) -> Graph:
    found = {n: None for o in outputs for n in walk((o,)) if n.op.name == "Input"}
    return Graph(tuple(found), outputs, tuple(f"y{k}" for k in range(len(outputs))))


def fuse(*outputs: Node, math: Any = "default") -> Graph:
    """The graph after the pass; opened, it is what it was, and once more, it stays what it is."""
    before = graph_of(*outputs)
    after = graphopt.optimize(before, [Fuse()], math=math, strict=True)
    assert expanded(after).outputs == before.outputs
    assert graphopt.optimize(after, [Fuse()], math=math, strict=True).outputs == after.outputs
    return after


def kinds(graph: Graph) -> list[str]:
    return [node.attrs["kind"] for node in graph.nodes if node.op is fused]


def feeds(graph: Graph, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    made: dict[str, Any] = {}
    for node in graph.inputs:
        sizes = [size if isinstance(size, int) else 3 for size in node.shape or ()]
        made[node.attrs["name"]] = rng.standard_normal(sizes).astype(node.dtype.numpy)
    return made


def check_bits(*outputs: Node) -> Graph:
    """That fusing changes no bit of what the reference computes; the fused graph."""
    before, after = graph_of(*outputs), fuse(*outputs)
    given = feeds(before)
    for old, new in zip(reference.run(before, given), reference.run(after, given), strict=True):
        assert old.tobytes() == new.tobytes()
    return after


def softmax_spelled(x: Node) -> Node:
    powers = exp(sub(x, reduce_max(x, ints(-1))))
    made: Node = div(powers, reduce_sum(powers, ints(-1)))
    return made


def attention(*, spelled: bool) -> Node:
    q, k, v = (example("float32[2, 2, 3, 4]", name) for name in "qkv")
    scores = mul(matmul(q, transpose(k, perm=(0, 1, 3, 2))), filled(0.5))
    masked = add(scores, example("float32[3, 3]", "m"))
    made: Node = matmul(softmax_spelled(masked) if spelled else softmax(masked), v)
    return made


def layer_norm(x: Node) -> Node:
    d = sub(x, reduce_mean(x, ints(-1)))
    norm = div(d, sqrt(add(reduce_mean(power(d, filled(2)), ints(-1)), filled(1e-5))))
    made: Node = add(mul(norm, weights(4)), weights(4, seed=1))
    return made


def convolved() -> Node:
    made: Node = conv(example("float32[N, 3, 8, 8]"), weights(4, 3, 3, 3), weights(4))
    return made


def normalized(x: Node) -> Node:
    made: Node = batch_normalization(x, B, B, B, filled(0.5, 4))
    return made


def gelu_spelled(x: Node) -> Node:
    gate = add(erf(div(x, filled(2**0.5))), filled(1))
    made: Node = mul(mul(x, gate), filled(0.5))
    return made


def chosen_attention() -> Node:
    """A mask that says where scores count."""
    q, k, v = (example("float32[2, 2, 3, 4]", name) for name in "qkv")
    scores = div(matmul(q, transpose(k, perm=(0, 1, 3, 2))), filled(2))
    counts = constant(np.tri(3, dtype=bool))
    made: Node = matmul(softmax(where(counts, scores, filled(-1e9))), v)
    return made


ONE: dict[str, tuple[Callable[[], Node], str]] = {
    "bias and relu": (lambda: relu(add(matmul(X, W), B)), "MatMul+Add+Relu"),
    "gemm": (lambda: tanh(gemm(X, W, B)), "Gemm+Tanh"),
    "chain": (lambda: exp(cos(X)), "Cos+Exp"),
    "diamond": (lambda: mul(cos(X), exp(cos(X))), "Cos+Exp+Mul"),
    "conv": (lambda: relu(convolved()), "Conv+Relu"),
    "batch norm": (lambda: relu(normalized(convolved())), "Conv+BatchNormalization+Relu"),
    "residual": (
        lambda: relu(add(convolved(), example("float32[N, 4, 6, 6]", "r"))),
        "Conv+Add+Relu",
    ),
    "idiom behind": (lambda: gelu_spelled(add(matmul(X, W), B)), "MatMul+Add+Gelu"),
    "swish": (lambda: mul(convolved(), sigmoid(convolved())), "Conv+Swish"),
    "layer norm": (lambda: layer_norm(X), "LayerNormalization"),
    "attention": (lambda: attention(spelled=False), "Attention"),
    "softmax spelled": (lambda: attention(spelled=True), "Attention"),
    "chosen": (chosen_attention, "Attention"),
    "softmax": (lambda: softmax_spelled(X), "Softmax"),
}


@pytest.mark.parametrize("name", ONE)
def test_one_node_is_left(name: str) -> None:
    make, kind = ONE[name]
    graph = check_bits(make())
    assert len(graph) == 1
    assert kinds(graph) == [kind]


def test_branches_are_fused_each() -> None:
    parts = [exp(cos(example("float32[2, 3]", name))) for name in "abc"]
    graph = check_bits(concat(*parts, axis=0))
    assert len(graph) == 4 and kinds(graph) == ["Cos+Exp"] * 3
    pieces = split(example("float32[6]"), None, num_outputs=3, outputs=3)
    graph = check_bits(*(exp(cos(out(pieces, k))) for k in range(3)))
    assert kinds(graph) == ["Cos+Exp"] * 3


def test_what_is_used_elsewhere_stays_apart() -> None:
    middle = cos(X)
    assert len(fuse(exp(middle), middle)) == 2, "an output of the graph"
    assert kinds(fuse(exp(middle), matmul(middle, W))) == [], "another's operand"
    summed = add(matmul(X, W), B)
    assert kinds(check_bits(relu(summed), summed)) == ["MatMul+Add"]
    d = sub(X, reduce_mean(X, ints(-1)))
    norm = div(d, sqrt(add(reduce_mean(mul(d, d), ints(-1)), filled(1e-5))))
    assert "LayerNormalization" not in kinds(fuse(norm, d))


def test_an_operand_that_is_broadcast_is_computed_once() -> None:
    small = exp(cos(example("float32[4]", "s")))
    graph = check_bits(mul(exp(X), small))
    assert sorted(kinds(graph)) == ["Cos+Exp", "Exp+Mul"]


def test_shapes_stay_in_sight() -> None:
    sizes = mul(add(shape(X), ints(1)), ints(2))
    assert kinds(fuse(sizes)) == []


def test_two_products_share_no_epilogue() -> None:
    root = relu(add(matmul(X, W), matmul(X, weights(4, 4, seed=2))))
    graph = check_bits(root)
    assert kinds(graph) == ["MatMul+Add+Relu"] and len(graph) == 2


def test_strict_mode_groups_and_names_no_function() -> None:
    graph = fuse(gelu_spelled(X), math="strict")
    (made,) = graph.nodes[-1:]
    assert kinds(graph) == ["Div+Erf+Add+Mul+Mul"] and "form" not in made.attrs


def test_bodies_are_fused_inside() -> None:
    cond = example("bool[]", "c")
    then, other = (Body.close((), (X,), (item,)) for item in (exp(cos(X)), exp(X)))
    graph = fuse(if_(cond, X, then_branch=then, else_branch=other))
    (node,) = [node for node in graph.nodes if node.op is if_]
    assert [o.attrs.get("kind") for o in node.attrs["then_branch"].outputs] == ["Cos+Exp"]


def test_a_long_chain_is_cut_and_named_briefly() -> None:
    value = X
    for _ in range(300):
        value = exp(cos(value))
    graph = check_bits(value)
    assert len(graph) == 3
    assert kinds(graph)[-1] == "Cos+Exp+Cos+Exp+Cos+Exp+Cos+Exp+248 more"


def test_it_is_switched_off_and_counted() -> None:
    before = graph_of(exp(cos(X)))
    assert graphopt.optimize(before, [Fuse()], disable=["fuse"]).outputs == before.outputs
    after = graphopt.optimize(before, [Fuse()])
    assert after.report is not None and dict(after.report.rules) == {"fuse.chain": 1}


def test_work_grows_with_the_graph_alone() -> None:
    def counted(layers: int) -> int:
        value = X
        for _ in range(layers):
            value = add(value, tanh(add(matmul(value, W), B)))
        graph = graph_of(value)

        def twice() -> None:
            once = graphopt.optimize(graph, [Fuse()], strict=True)
            again = graphopt.optimize(once, [Fuse()], strict=True)
            assert again.outputs == once.outputs

        return steps(twice)

    counted(10)
    assert counted(200) < 2.4 * counted(100)


def random_graph(seed: int) -> Graph:
    """Some hundred nodes of a few ops, of which any may be used again."""
    rng = random.Random(seed)
    values: list[Node] = [X, example("float32[N, 4]", "y"), example("float32[4]", "z")]
    makers: Sequence[Callable[[Node, Node], Node]] = (
        lambda a, b: add(a, b),
        lambda a, b: mul(a, sigmoid(a)),
        lambda a, b: relu(add(matmul(values[0], W), B)),
        lambda a, b: tanh(a),
        lambda a, b: gelu_spelled(a),
        lambda a, b: softmax_spelled(a),
        lambda a, b: matmul(a, W),
        lambda a, b: layer_norm(a),
        lambda a, b: gelu(a),
    )
    for _ in range(60):
        a, b = (values[-rng.randint(1, min(len(values), 6))] for _ in range(2))
        values.append(tanh(rng.choice(makers)(a, b)))
    return graph_of(*rng.sample(values[3:], 2), values[-1])


@pytest.mark.parametrize("seed", range(25))
def test_random_graphs_keep_every_bit(seed: int) -> None:
    check_bits(*random_graph(seed).outputs)


REAL = {
    "minilm_int8": {"Attention": 6, "DequantizeMatMul+Add+Gelu": 6},
    "rxnmap_transformer": {"Attention": 15, "MatMul+Add+Gelu": 15},
    "nudenet_yolov8n": {"Conv+Swish": 51},
}
"""Some of what must be found in models of the zoo."""


@pytest.mark.parametrize("name", REAL)
def test_real_models(name: str) -> None:
    if not models.table()[name].is_cached():
        pytest.skip("the model is not here: run tools.models")
    loaded = graphopt.load(models.table()[name].path)
    plain = graphopt.optimize(loaded, "O1")
    made = graphopt.optimize(plain, [Fuse()], strict=True)
    found = Counter(kinds(made))
    assert {kind: found[kind] for kind in REAL[name]} == REAL[name]
    assert expanded(made).outputs == plain.outputs
    types = {item.attrs["name"]: item.dtype.numpy for item in loaded.inputs}
    given = model_inputs.feeds(name, 1, types)
    for old, new in zip(reference.run(plain, given), reference.run(made, given), strict=True):
        assert old.tobytes() == new.tobytes()
