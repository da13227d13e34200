"""Grappler's layout and whole-graph passes: what each becomes here, a graph before and after.

The keys are those of tools/catalogue.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import graphopt
from graphopt.body import Body
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.ops.activation import relu
from graphopt.ops.arithmetic import add, div, max_, mul
from graphopt.ops.cast import cast, identity
from graphopt.ops.control import if_
from graphopt.ops.conv import conv
from graphopt.ops.functions import exp, neg
from graphopt.ops.linalg import matmul
from graphopt.ops.logic import less
from graphopt.ops.loops import loop
from graphopt.ops.movement import depth_to_space, transpose
from graphopt.ops.normalization import batch_normalization
from graphopt.ops.padding import pad
from graphopt.ops.pool import average_pool, max_pool
from graphopt.ops.reduction import reduce_mean, reduce_prod, reduce_sum
from graphopt.ops.shape import shape, size, squeeze
from graphopt.ops.slicing import concat, slice_, split
from graphopt.rewriting.examples import example, filled, ints, weights
from graphopt.structural import constant, opaque, out, results
from graphopt.types import DType
from tests.passes.before_after import Row, check_row, graph_of, told

LAST, FIRST = (0, 3, 1, 2), (0, 2, 3, 1)
X, Y = example("float32[2, 2]", "x"), example("float32[2, 2]", "y")
P = example("bool[]", "p")
IMAGE = example("float32[1, 8, 8, 3]")
NAMED = example("float32[N, M]")
WHOLE = example("int64[N, 3]", "i")


def wrapped(x: Node, make: Callable[[Node], Node]) -> Node:
    """A node of images whose channels come first, on images whose channels come last."""
    made: Node = transpose(make(transpose(x, perm=LAST)), perm=FIRST)
    return made


def convolved(x: Node, inner: int = 3) -> Node:
    """A convolution and its bias, channels last."""
    made: Node = add(wrapped(x, lambda v: conv(v, weights(4, inner, 3, 3), pads=(1, 1, 1, 1))),
                     weights(4))  # fmt: skip
    return made


def between(*steps: Callable[[Node], Node]) -> Node:
    """Steps between two convolutions."""
    value = convolved(IMAGE)
    for step in steps:
        value = step(value)
    made: Node = wrapped(value, lambda v: conv(v, weights(4, 4, 3, 3)))
    return made


def pieces(x: Node) -> Node:
    made: Node = concat(*reversed(results(split(x, None, axis=3, num_outputs=2, outputs=2))),
                        axis=3)  # fmt: skip
    return made


BETWEEN = "Transpose Conv {} Conv Transpose"
STEPS: tuple[tuple[Callable[[Node], Node], str], ...] = (
    (relu, "Relu"),
    (lambda x: mul(x, filled(3.5)), ""),
    (lambda x: max_(x, example("float32[4]", "v")), "Unsqueeze Max"),
    (lambda x: max_(x, example("float32[]", "s")), "Max"),
    (lambda x: pad(x, ints(0, 1, 1, 0, 0, 1, 1, 0)), ""),
    (lambda x: pad(x, ints(0, 1, 1, 0, 0, 1, 1, 0), filled(7)), "Pad"),
    (lambda x: slice_(x, ints(1), ints(7), ints(1)), "Slice"),
    (pieces, "Split Concat"),
    (lambda x: wrapped(x, lambda v: max_pool(v, kernel_shape=(2, 2))), "MaxPool"),
)


def images() -> Node:
    """Two convolutions whose channels come first, on images whose channels come last."""
    value = relu(convolved(IMAGE))
    value = relu(convolved(pad(value, ints(0, 1, 1, 0, 0, 1, 1, 0)), inner=4))
    made: Node = reduce_mean(value, ints(1, 2), keepdims=0)
    return made


def volumes() -> Node:
    """Two convolutions of three axes, and the sizes of what is between them."""
    value = example("float32[1, 4, 4, 4, 3]")
    sizes: list[Node] = []
    for inner in (3, 2):
        filters = weights(2, inner, 3, 3, 3)
        first = conv(transpose(value, perm=(0, 4, 1, 2, 3)), filters, pads=(1, 1, 1, 1, 1, 1))
        value = relu(transpose(first, perm=(0, 2, 3, 4, 1)))
        sizes.append(cast(shape(value, start=1), to=DType.FLOAT32))
    made: Node = add(reduce_sum(value, keepdims=0), add(*sizes))
    return made


def normalized(x: Node) -> Node:
    made: Node = batch_normalization(relu(x), *(weights(4, seed=k) for k in range(3)),
                                     filled(0.5, 4))  # fmt: skip
    return made


SENSITIVE: tuple[tuple[Callable[[Node], Node], str], ...] = (
    (lambda x: average_pool(x, kernel_shape=(2, 2)), "AveragePool"),
    (lambda x: depth_to_space(concat(x, x, x, x, axis=1), blocksize=2), "Tile DepthToSpace"),
    (normalized, "Relu"),
)


def layout_row(step: Callable[[Node], Node], left: str, key: str = "1.4.Agnostic") -> Row:
    shown = BETWEEN.format(left).replace("  ", " ")
    return Row(key, lambda: between(step), shown, rounds=True)


def branches(predicate: Node) -> Node:
    made: Node = if_(
        predicate, X, Y,
        then_branch=Body.close((), (X, Y), (neg(X),)),
        else_branch=Body.close((), (X, Y), (mul(X, Y),)),
    )  # fmt: skip
    return made


def while_loop(go: Node, *, dead: bool = False) -> Node:
    """x + x @ y again and again, while the sum is small."""
    k, again, kept = example("int64[]", "k"), example("bool[]", "go"), example("float32[2, 2]", "c")
    summed = add(kept, matmul(X, Y))
    small = less(reduce_sum(summed, keepdims=0), filled(50))
    body = Body.close((k, again, kept), (X, Y), (small, summed))
    made: Node = loop(None, go, X, X, Y, body=body)
    return made


ROWS = (
    *(layout_row(step, left) for step, left in STEPS),
    *(layout_row(partial(wrapped, make=make), left, "1.4.Sensitive") for make, left in SENSITIVE),
    Row("1.4.Choice", lambda: wrapped(IMAGE, lambda v: conv(v, weights(4, 3, 3, 3))),
        "Transpose Conv Transpose", rounds=True),
    Row("1.4.Algorithm", images, "Transpose Conv Relu Conv Relu ReduceMean", rounds=True),
    Row("1.4.Extras", volumes, "Transpose Conv Relu Conv Relu ReduceSum Add", rounds=True),
    Row("1.4.Agnostic", lambda: reduce_mean(convolved(IMAGE), ints(1, 2), keepdims=0),
        "Transpose Conv ReduceMean", rounds=True),
    Row("1.5.CSE.merge", lambda: mul(exp(X), neg(exp(X))), "Exp Neg Mul"),
    Row("1.5.CSE.merge", lambda: mul(add(X, Y), neg(add(Y, X))), "Add Neg Mul"),
    Row("1.5.Dependency.bypass", lambda: exp(identity(neg(X))), "Neg Exp"),
    Row("1.5.Pruner.dce", lambda: out(split(X, None, num_outputs=2, outputs=2), 1), "Slice"),
    Row("1.5.Pruner.trivial", lambda: add(identity(X), identity(Y)), "Add"),
    Row("1.5.Shape.prod", lambda: reduce_prod(shape(NAMED), keepdims=0), "Size"),
    Row("1.5.Shape.ratio", lambda: div(size(WHOLE), size(example("int64[N]", "j"))), ""),
    Row("1.5.Loop.dead_branch", lambda: branches(constant(True)), "Neg"),
    Row("1.5.Loop.zero_trip", lambda: while_loop(constant(False)), ""),
    Row("1.5.Loop.licm", lambda: while_loop(constant(True)), "MatMul Loop", rounds=True),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_row(row: Row) -> None:
    check_row(row)


def test_equal_constants_are_one() -> None:
    array = np.random.default_rng(0).random((64, 64)).astype(np.float32)
    root = matmul(matmul(example("float32[N, 64]"), constant(array)), constant(array.copy()))
    made = graphopt.optimize(graph_of(root), strict=True)
    assert len({node.inputs[1] for node in made.nodes if node.op is matmul}) == 1


def test_what_draws_numbers_stays_apart() -> None:
    one, two = (
        opaque("", "RandomNormalLike", (X,), origin=k, types=(X.type,), attrs={}) for k in (1, 2)
    )
    made = graphopt.optimize(graph_of(add(one, two)), strict=True)
    assert told(made, fused=False).count("RandomNormalLike") == 2


def test_a_dead_node_and_a_dead_output_go() -> None:
    dead = example("float32[3]", "unused")
    graph = Graph((X, dead), (exp(X),), ("y",))
    made = graphopt.optimize(graph, strict=True)
    assert told(made, fused=False) == "Exp" and made.inputs == (X, dead), "a signature stays"


def test_a_function_is_inlined_and_specialized() -> None:
    @graphopt.function(backend="reference")
    def inner(x: Any, power: int) -> Any:
        return np.maximum(x, 0) * power

    @graphopt.function(backend="reference")
    def outer(x: Any) -> Any:
        return inner(x, 3) + inner(x, 3)

    lowered = outer.lower(np.ones(4, np.float32)).optimize()
    assert told(lowered.graph, fused=False) == "Relu Mul"


def test_a_shape_is_the_same_from_wherever_it_is_taken() -> None:
    scaled = mul(cast(shape(exp(NAMED)), to=DType.FLOAT32), cast(shape(neg(NAMED)),
                 to=DType.FLOAT32))  # fmt: skip
    made = graphopt.optimize(graph_of(scaled), strict=True)
    assert told(made, fused=False) == "Shape Cast Mul"


def test_squeezing_a_convolution_moves_no_transposes() -> None:
    root = squeeze(wrapped(example("float32[1, 8, 1, 3]"), lambda v: conv(v, weights(4, 3, 1, 1))),
                   ints(2))  # fmt: skip
    made = graphopt.optimize(graph_of(root), strict=True)
    assert told(made, fused=False).count("Transpose") <= 2
