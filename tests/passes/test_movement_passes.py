"""Transposes over whole graphs, and the minimum cut that decides where they go."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
import pytest

from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.ops.activation import relu
from graphopt.ops.arithmetic import add, mul, sub
from graphopt.ops.cast import cast
from graphopt.ops.conv import conv
from graphopt.ops.cumulative import cum_sum
from graphopt.ops.functions import exp, neg
from graphopt.ops.linalg import matmul
from graphopt.ops.logic import greater
from graphopt.ops.movement import transpose
from graphopt.ops.padding import pad
from graphopt.ops.pool import max_pool
from graphopt.ops.quantize import quantize_linear
from graphopt.ops.reduction import arg_max, reduce_max, reduce_mean, reduce_sum
from graphopt.ops.shape import shape
from graphopt.ops.slicing import concat, slice_, split, tile
from graphopt.ops.softmax import hardmax, softmax
from graphopt.passes.fold import FoldConstants
from graphopt.passes.movement.mincut import Network
from graphopt.passes.movement.permuted import flows
from graphopt.passes.movement.sizes import Sizes
from graphopt.passes.movement.transposes import Transposes
from graphopt.pipeline import Context, run_pipeline
from graphopt.rewriting.examples import example, filled, ints, weights
from graphopt.rewriting.rule import Math
from graphopt.structural import constant, results
from graphopt.types import DType
from tests.passes.movement import after, check_same, graph_of, ops

FIRST, LAST = (0, 3, 1, 2), (0, 2, 3, 1)
"""Channels to the front, and to the back."""


def moved(*outputs: Node, exact: bool = True, math: Math = Math.DEFAULT) -> Graph:
    """The outputs after the pass, checked to give the same values."""
    made = after(*outputs, passes=[Transposes(), FoldConstants()], math=math)
    assert check_same(graph_of(*outputs), made, exact=exact)
    return made


def wrapped(x: Node, channels: int) -> Node:
    """A convolution with channels first in a program with channels last, as converters write it."""
    made = conv(transpose(x, perm=FIRST), weights(4, channels, 3, 3))
    biased = add(transpose(made, perm=LAST), weights(4, seed=1))
    return pad(relu(biased), ints(0, 1, 1, 0, 0, 1, 1, 0))  # type: ignore[no-any-return]


def test_three_wrapped_convolutions_share_one_transpose() -> None:
    x = example("float32[N, 6, 5, 3]")
    value = x
    for channels in (3, 4, 4):
        value = wrapped(value, channels)
    made = moved(reduce_mean(value, ints(1, 2), keepdims=0), exact=False)
    assert ops(made) == {
        "Transpose": 1, "Conv": 3, "Add": 3, "Relu": 3, "Pad": 3, "ReduceMean": 1,
    }  # fmt: skip


def test_each_convolution_with_transposes_and_a_mean_of_its_own() -> None:
    value = example("float32[N, 6, 5, 3]")
    means: list[Node] = []
    for channels in (3, 4, 4):
        value = wrapped(value, channels)
        means.append(reduce_mean(value, ints(1, 2), keepdims=0))
    assert ops(moved(*means, exact=False))["Transpose"] == 1


Y = example("float32[4, 5, 6]")
TURN, BACK = (2, 0, 1), (1, 2, 0)


START = greater(example("float32[1]", "s"), filled(0.0))


BETWEEN: list[Callable[[Node], Node]] = [
    lambda x: exp(neg(x)),
    lambda x: cast(x, to=DType.FLOAT64),
    lambda x: mul(x, weights(4, 1)),
    lambda x: mul(x, weights(6, 4, 5)),
    lambda x: sub(weights(5), x),
    lambda x: add(x, reduce_max(x, ints(0))),
    lambda x: pad(x, ints(1, 0, 2, 0, 3, 0), filled(7.0)),
    lambda x: slice_(x, ints(1, 4), ints(9, 0), ints(2, 0), ints(1, -1)),
    lambda x: tile(x, ints(1, 2, 3)),
    lambda x: concat(x, exp(x), axis=-1),
    lambda x: concat(*results(split(x, ints(1, 3), axis=1, outputs=2))[::-1], axis=1),
    lambda x: reduce_max(x, ints(1)),
    lambda x: arg_max(x, axis=-1),
    lambda x: hardmax(x, axis=0),
    lambda x: cum_sum(x, constant(np.array(-1, np.int64)), reverse=1),
    lambda x: quantize_linear(x, filled(0.5, 5), filled(3, 5, dtype="uint8"), axis=2),
    lambda x: slice_(x, cast(START, to=DType.INT64), ints(9), ints(-1)),
]


@pytest.mark.parametrize("between", BETWEEN)
def test_two_transposes_cancel_across(between: Callable[[Node], Node]) -> None:
    made = moved(transpose(between(transpose(Y, perm=TURN)), perm=BACK))
    assert "Transpose" not in ops(made)


def test_sums_in_another_order_are_for_other_than_strict_math() -> None:
    value = transpose(softmax(transpose(Y, perm=TURN), axis=1), perm=BACK)
    assert "Transpose" not in ops(moved(value, exact=False))
    assert ops(moved(value, math=Math.STRICT))["Transpose"] == 2


def test_the_shape_of_a_transposed_value() -> None:
    inner = exp(transpose(example("float32[N, 5, 6]"), perm=TURN))
    made = moved(transpose(inner, perm=BACK), shape(inner))
    assert "Transpose" not in ops(made)


def test_a_transpose_goes_where_fewer_bytes_are() -> None:
    wide = cast(transpose(Y, perm=TURN), to=DType.FLOAT64)
    assert moved(wide).outputs[0].op is cast
    (made,) = moved(cast(transpose(cast(Y, to=DType.FLOAT64), perm=TURN), to=DType.FLOAT16)).outputs
    assert made.dtype is DType.FLOAT16
    (turn,) = [
        node for node in (made, *made.inputs, *made.inputs[0].inputs) if node.op is transpose
    ]
    assert turn.dtype in (DType.FLOAT16, DType.FLOAT32)


def test_nothing_moves_where_nothing_is_saved() -> None:
    x = transpose(example("float32[N, 5, 6]"), perm=TURN)
    for value in (exp(x), matmul(exp(x), weights(5, 5)), add(x, example("float32[6, N, 5]", "y"))):
        graph = graph_of(value)
        assert after(value, passes=[Transposes()]).outputs == graph.outputs


def test_a_value_and_its_transpose_in_one_node() -> None:
    """They would have to be in one layout: the node stays where it is."""
    x = example("float32[5, 5]")
    turned = transpose(x, perm=(1, 0))
    made = moved(transpose(add(exp(x), exp(turned)), perm=(1, 0)))
    assert ops(made)["Transpose"] <= 2


def test_a_transpose_of_axes_of_size_one_is_a_reshape() -> None:
    assert ops(moved(transpose(example("float32[N, 1, 3]"), perm=(1, 0, 2)))) == {"Reshape": 1}


def test_twice_is_once() -> None:
    value = example("float32[N, 6, 5, 3]")
    for channels in (3, 4):
        value = wrapped(value, channels)
    once = run_pipeline(graph_of(value), [Transposes()], Context(strict=True))
    again = run_pipeline(once, [Transposes()], Context(strict=True))
    assert again.outputs == once.outputs


UNARY = (exp, neg, relu)
PERMS = ((0, 1, 2), (2, 0, 1), (1, 2, 0), (0, 2, 1), (2, 1, 0))


def drawn(random: Random, count: int) -> list[Node]:
    """Values of a random program of transposes and of nodes that work in any layout, and not."""
    values: list[Node] = [example("float32[4, 5, 6]"), example("float32[4, 5, 6]", "y")]
    for _ in range(count):
        x = random.choice(values[-5:])
        kind = random.randrange(10)
        same = [item for item in values if item.shape == x.shape]
        if kind < 4:
            made = transpose(x, perm=random.choice(PERMS))
        elif kind < 6:
            made = random.choice(UNARY)(x)
        elif kind == 6:
            made = random.choice((add, mul))(x, random.choice(same))
        elif kind == 7:
            made = concat(x, random.choice(same), axis=random.randrange(3))
            made = random.choice(
                results(split(made, axis=random.randrange(3), num_outputs=2, outputs=2))
            )
        elif kind == 8:
            made = add(x, reduce_max(x, ints(random.randrange(3))))
        else:
            made = (
                matmul(x, filled(1.0, int(str(x.shape[-1] if x.shape else 1)), 3))
                if count % 2
                else relu(x)
            )
        values.append(made)
    return values


@pytest.mark.parametrize("seed", range(40))
def test_programs_by_chance(seed: int) -> None:
    random = Random(seed)
    values = drawn(random, 14)
    outputs = [values[-1], random.choice(values[2:])]
    made = after(*outputs, passes=[Transposes()])
    before = graph_of(*outputs)
    assert check_same(before, made, exact=not any(n.op is matmul for n in values))
    assert ops(made)["Transpose"] <= ops(before)["Transpose"]


def test_cuts_are_as_cheap_as_the_cheapest_tried() -> None:
    random = Random(1)
    for _ in range(60):
        count = random.randrange(1, 6)
        edges = [
            (random.randrange(count + 2), random.randrange(count + 2), random.randrange(9))
            for _ in range(12)
        ]
        net = Network()
        vertices = [0, 1, *(net.vertex() for _ in range(count))]
        for a, b, capacity in edges:
            net.edge(vertices[a], vertices[b], capacity)

        def cost(sides: int, edges: list[tuple[int, int, int]] = edges) -> int:
            here = [True, False, *(bool(sides >> k & 1) for k in range(5))]
            return sum(c for a, b, c in edges if here[a] and not here[b])

        cheapest = min(cost(sides) for sides in range(1 << count))
        assert net.cut() == cheapest
        chosen = sum(net.side(vertices[k + 2]) << k for k in range(count))
        assert cost(chosen) == cheapest


def test_what_works_in_any_layout() -> None:
    x = example("float32[2, N, 3]")
    assert flows(exp(x)) == (0,)
    assert flows(add(x, example("float32[3]", "b"))) == (0,)
    assert flows(add(x, example("float32[N, 3]", "b"))) is None
    assert flows(add(x, weights(3))) == (0,)
    assert flows(matmul(x, weights(3, 4))) is None
    assert flows(reduce_sum(x, ints(1))) == (0,)
    assert flows(reduce_sum(x, ints(1)), strict=True) is None
    assert flows(slice_(x, ints(0), example("int64[1]", "e"), example("int64[1]", "a"))) is None
    assert flows(max_pool(x, kernel_shape=(2,))) is None


def test_sizes_come_from_an_input() -> None:
    x = example("float32[N, 3]")
    y = exp(x)
    made = after(y, shape(y), concat(shape(neg(y), end=1), ints(7), axis=0), passes=[Sizes()])
    assert made.outputs[1] is shape(x)
    assert made.outputs[2].inputs[0] is shape(x, end=1)
    np.testing.assert_equal(len(made), 4)


def test_sizes_computed_twice_are_computed_once() -> None:
    x = example("float32[N, 3]")
    first, second = (concat(shape(v, end=1), ints(7), axis=0) for v in (exp(x), neg(x)))
    made = after(first, second, passes=[Sizes()])
    assert made.outputs[0] is made.outputs[1]
