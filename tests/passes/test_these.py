"""What is asked of an optimizer, and what others miss: graphs by their ops, before and after."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
import pytest

import graphopt
from graphopt.backends import reference
from graphopt.body import Body
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.ops.activation import relu
from graphopt.ops.arithmetic import add, div, max_, min_, mul, power, sub
from graphopt.ops.cast import cast
from graphopt.ops.control import if_
from graphopt.ops.conv import conv
from graphopt.ops.functions import cos, exp, log, neg, sin, sqrt
from graphopt.ops.indexing import gather
from graphopt.ops.linalg import matmul
from graphopt.ops.logic import less, where
from graphopt.ops.loops import loop
from graphopt.ops.movement import transpose
from graphopt.ops.padding import pad
from graphopt.ops.reduction import reduce_max, reduce_mean, reduce_sum
from graphopt.ops.shape import reshape, shape, unsqueeze
from graphopt.ops.slicing import concat, slice_, split
from graphopt.ops.softmax import softmax
from graphopt.rewriting.examples import example, filled, ints, weights
from graphopt.structural import constant, results
from graphopt.types import DType
from tests.passes.before_after import Row, check_row, graph_of, told

A, B, C, D = (example("float32[N, 4]", name) for name in "abcd")
P, Q, R = (example("float32[2, 3]", name) for name in "pqr")
X, Y = (example("float32[2, 2]", name) for name in "xy")
M = example("int32[N, 4]", "m")
YES, NO = example("bool[]", "yes"), example("bool[N, 4]", "no")
FAR = 2**63 - 1
LAST, FIRST = (0, 3, 1, 2), (0, 2, 3, 1)
BACK, WITHIN = ints(-1), ints(-FAR)


def attention() -> Node:
    q, k, v = (example("float32[2, 2, 3, 4]", name) for name in "qkv")
    scores = mul(matmul(q, transpose(k, perm=(0, 1, 3, 2))), filled(0.5))
    made: Node = matmul(softmax(add(scores, example("float32[3, 3]", "m"))), v)
    return made


def layer_norm(x: Node) -> Node:
    d = sub(x, reduce_mean(x, ints(-1)))
    norm = div(d, sqrt(add(reduce_mean(power(d, filled(2)), ints(-1)), filled(1e-5))))
    made: Node = add(mul(norm, weights(4)), weights(4, seed=1))
    return made


def softmax_spelled(x: Node) -> Node:
    powers = exp(sub(x, reduce_max(x, ints(-1))))
    made: Node = div(powers, reduce_sum(powers, ints(-1)))
    return made


def images() -> Node:
    """Three convolutions, channels first, on images whose channels come last."""
    value = example("float32[1, 8, 8, 3]", "i")
    for inner, size in ((3, 0), (4, 1), (4, 0)):
        filters = weights(4, inner, 3, 3)
        value = add(transpose(conv(transpose(value, perm=LAST), filters), perm=FIRST), weights(4))
        value = relu(value)
        value = pad(value, ints(0, 1, 1, 0, 0, 1, 1, 0)) if size else value
    made: Node = reduce_mean(value, ints(1, 2), keepdims=0)
    return made


def while_loop() -> Node:
    """x + x @ y again and again, while the sum is small."""
    k, go, kept = example("int64[]", "k"), example("bool[]", "go"), example("float32[2, 2]", "c")
    summed = add(kept, matmul(X, Y))
    small = less(reduce_sum(summed, keepdims=0), filled(50))
    body = Body.close((k, go, kept), (X, Y), (small, summed))
    made: Node = loop(None, constant(True), X, X, Y, body=body)
    return made


def short_loop() -> Node:
    k, go, kept = example("int64[]", "k"), example("bool[]", "go"), example("float32[2, 2]", "c")
    body = Body.close((k, go, kept), (X,), (constant(True), exp(add(kept, X))))
    made: Node = loop(constant(3), None, Y, X, body=body)
    return made


def choice(one: Node, other: Node) -> Node:
    sides = (Body.close((), (X, Y, YES), (side,)) for side in (one, other))
    then, otherwise = sides
    made: Node = if_(YES, X, Y, YES, then_branch=then, else_branch=otherwise)
    return made


def parts(x: Node, count: int) -> tuple[Node, ...]:
    return results(split(x, None, num_outputs=count, outputs=count))


def stack(*values: Node) -> Node:
    made: Node = concat(*(unsqueeze(value, ints(0)) for value in values), axis=0)
    return made


def reversed_(x: Node) -> Node:
    made: Node = slice_(x, BACK, WITHIN, ints(0), BACK)
    return made


FUSED = (
    Row("x @ w + b, relu", lambda: relu(add(matmul(A, weights(4, 4)), weights(4))), "Gemm+Relu"),
    Row("x @ w + b, relu, of rank 3", lambda: relu(add(matmul(example("float32[2, 3, 4]"),
                                                              weights(4, 4)), weights(4))),
        "MatMul+Add+Relu"),
    Row("exp cos of each, side by side", lambda: concat(*(exp(cos(v)) for v in (P, Q, R)), axis=0),
        "Concat Cos+Exp"),
    Row("exp cos of each part", lambda: tuple(
        exp(cos(v)) for v in parts(example("float32[6]"), 3)), "Cos+Exp Split"),
    Row("layer norm", lambda: layer_norm(A), "LayerNormalization"),
    Row("attention", attention, "Attention"),
    Row("softmax", lambda: softmax_spelled(A), "Softmax"),
)  # fmt: skip

OPENED = (
    Row("((a + b) + c) + d", lambda: add(add(add(A, B), C), D), "Sum"),
    Row("x + x + x", lambda: add(add(A, A), A), "Mul"),
    Row("two transposes, times 2", lambda: mul(transpose(transpose(
        example("float32[2, 3, 4]"), perm=(2, 0, 1)), perm=(2, 0, 1)), filled(2)),
        "Transpose Mul"),
    Row("exp cos of each, side by side", lambda: concat(*(exp(cos(v)) for v in (P, Q, R)), axis=0),
        "Concat Cos Exp"),
    Row("exp cos of each part", lambda: tuple(
        exp(cos(v)) for v in parts(example("float32[6]"), 3)), "Cos Exp Split"),
    Row("flatten", lambda: reshape(example("float32[?, 5, 6]"), concat(
        gather(shape(example("float32[?, 5, 6]")), ints(0)), ints(-1), axis=0)), "Reshape"),
    Row("three convolutions", images, "Transpose Conv Relu Conv Relu Conv Relu ReduceMean",
        rounds=True),
    Row("while, with an invariant product", while_loop, "MatMul Loop", rounds=True),
    Row("three products of one value", lambda: tuple(
        matmul(A, weights(4, n, seed=n)) for n in (2, 3, 5)), "MatMul Split", rounds=True),
    Row("stack(x, y, z)[1]", lambda: gather(stack(P, Q, R), constant(1)), ""),
    Row("slice of slice", lambda: slice_(slice_(A, ints(2), ints(FAR), ints(0)), ints(1), ints(3),
                                         ints(0)), "Slice"),
    Row("sum of transpose", lambda: reduce_sum(transpose(P), keepdims=0), "ReduceSum",
        rounds=True),
    Row("where(p, a, a)", lambda: where(NO, A, A), ""),
    Row("x - x of integers", lambda: sub(example("int32[2, 3]"), example("int32[2, 3]")), ""),
    Row("x - x of floats", lambda: sub(A, A), "Sub"),
    Row("slice of concat", lambda: slice_(concat(P, Q, R, axis=0), ints(2), ints(4), ints(0)), ""),
    Row("pad of pad", lambda: pad(pad(P, ints(1, 0, 0, 2)), ints(0, 3, 1, 0)), "Pad"),
    Row("sum of sum", lambda: reduce_sum(reduce_sum(P, ints(1)), ints(0)), "ReduceSum",
        rounds=True),
    Row("widened and narrowed", lambda: cast(cast(A, to=DType.FLOAT64), to=DType.FLOAT32), ""),
    Row("reversed and reversed", lambda: reversed_(reversed_(A)), ""),
    Row("min(max), whose zeros nobody sees", lambda: exp(min_(max_(min_(max_(
        A, filled(0)), filled(6)), filled(0)), filled(6))), "Clip Exp"),
    Row("min(max) of numbers in between", lambda: min_(max_(sin(A), filled(-2)), filled(2)), "Sin"),
    Row("sigmoid", lambda: div(filled(1), add(filled(1), exp(neg(A)))), "Sigmoid", rounds=True),
    Row("log sum exp", lambda: log(reduce_sum(exp(A), ints(1))), "ReduceLogSumExp", rounds=True),
    Row("one part of a split", lambda: parts(example("float32[6]"), 3)[1], "Slice"),
    Row("(a @ b) @ v", lambda: matmul(matmul(example("float32[200, 2]", "a"), example(
        "float32[2, 200]", "b")), example("float32[200]", "v")), "MatMul MatMul", math="fast",
        rounds=True),
    Row("equal work in both branches", lambda: choice(neg(matmul(X, Y)), exp(matmul(X, Y))),
        "MatMul If", rounds=True),
    Row("three trips", short_loop, "Add Exp Add Exp Add Exp"),
    Row("two choices on one predicate", lambda: add(choice(neg(X), exp(X)), choice(
        mul(X, Y), add(X, Y))), "If Add"),
    Row("a choice in a choice", lambda: choice(choice(neg(X), exp(X)), mul(X, Y)), "If"),
)  # fmt: skip


@pytest.mark.parametrize("row", OPENED, ids=str)
def test_ops_left(row: Row) -> None:
    check_row(row)


@pytest.mark.parametrize("row", FUSED, ids=str)
def test_fused(row: Row) -> None:
    check_row(Row(row.key, row.make, row.left, fused=True, rounds=True))


def test_products_are_associated_by_their_cost() -> None:
    a, b = example("float32[2000, 2]", "a"), example("float32[2, 2000]", "b")
    root = matmul(matmul(a, b), example("float32[2000]", "v"))
    made = graphopt.optimize(graph_of(root), math="fast", strict=True)
    assert flops(made) == 16_000
    assert flops(graphopt.optimize(graph_of(root), strict=True)) == 16_000_000 + 8_000_000


def flops(graph: Graph) -> int:
    """What the products of matrices cost."""
    total = 0
    for node in graph.nodes:
        if node.op is matmul:
            size = int(np.prod([n for n in node.shape or () if isinstance(n, int)]))
            inner = (node.inputs[0].shape or (0,))[-1]
            assert isinstance(inner, int)
            total += 2 * size * inner
    return total


def doubled(kind: str, times: int = 40) -> Node:
    value = example(kind)
    for _ in range(times):
        value = add(value, value)
    return value


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_doubling_forty_times_is_one_product(kind: str) -> None:
    before = graph_of(doubled(f"{kind}[N]"))
    started = perf_counter()
    made = graphopt.optimize(before, strict=True)
    print(f"{kind}: {perf_counter() - started:.3f} s")
    assert told(made, fused=False) == "Mul"
    factor = made.outputs[0].inputs[1].constant
    assert factor is not None and float(factor.array) == 2.0**40
    tiny = float(np.finfo(kind).smallest_subnormal)
    feeds = {"x": np.array([1.5, -0.0, 0.0, tiny, -3 * tiny, 1e-30, 1e30, np.inf, -np.inf, np.nan],
                           kind)}  # fmt: skip
    with np.errstate(over="ignore"):
        (old,), (new,) = reference.run(before, feeds), reference.run(made, feeds)
    assert old.tobytes() == new.tobytes()


def test_doubling_halves_forty_times_overflows_in_steps() -> None:
    before = graph_of(doubled("float16[N]"))
    made = graphopt.optimize(before, strict=True)
    assert told(made, fused=False) != "Mul", "2 ** 40 is infinite, and 0 * inf is no 0"
    feeds = {"x": np.array([0.0, -0.0, 6e-8, 1, -np.inf, np.nan], np.float16)}
    (old,), (new,) = reference.run(before, feeds), reference.run(made, feeds)
    assert old.tobytes() == new.tobytes()


# The same, by the door for functions


def dense(x: Any, w: Any, b: Any) -> Any:
    return np.maximum(x @ w + b, 0)


def sums(x: Any, w: Any, b: Any) -> Any:
    return x + w + b + x


def thrice(x: Any, w: Any, b: Any) -> Any:
    return x + x + x


def turned(x: Any, w: Any, b: Any) -> Any:
    return x.transpose(1, 0).transpose(1, 0) * 2


def joined(x: Any, w: Any, b: Any) -> Any:
    return np.concatenate([np.exp(np.cos(v)) for v in (x, w, b)])


def middle(x: Any, w: Any, b: Any) -> Any:
    return np.stack([x, w, b])[1]


def sliced(x: Any, w: Any, b: Any) -> Any:
    return x[1:][:2][::-1][::-1]


def summed(x: Any, w: Any, b: Any) -> Any:
    return np.sum(x.T)


def same(x: Any, w: Any, b: Any) -> Any:
    choose: Callable[..., Any] = np.where
    return choose(w > 0, x, x)


def flat(x: Any, w: Any, b: Any) -> Any:
    return x.reshape(x.shape[0], -1).reshape(-1)


DOOR: tuple[tuple[Callable[..., Any], str], ...] = (
    (dense, "Gemm+Relu"), (sums, "Sum"), (thrice, "Mul"), (turned, "Mul"),
    (joined, "Concat Cos+Exp"), (middle, ""), (sliced, "Slice"), (summed, "ReduceSum"), (same, ""),
    (flat, "Reshape"),
)  # fmt: skip


@pytest.mark.parametrize(("python", "left"), DOOR, ids=lambda item: getattr(item, "__name__", ""))
def test_functions(python: Callable[..., Any], left: str) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.random((4, 4)).astype(np.float32) + 0.5 for _ in range(3)]
    lowered = graphopt.function(python, backend="reference").lower(*arrays)
    made = lowered.optimize()
    assert told(made.graph, fused=True) == left
    np.testing.assert_allclose(made.compile()(*arrays), python(*arrays), rtol=1e-5)
