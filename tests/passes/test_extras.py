"""Rewrites that other compilers have and Grappler lacks: a graph before and after each.

The keys are those of tools/catalogue_extras.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import pytest

import graphopt
from graphopt.backends import reference
from graphopt.body import Body
from graphopt.ir import Node
from graphopt.ops.activation import relu, sigmoid
from graphopt.ops.arithmetic import add, clip, div, max_, min_, mod, mul, power, sub
from graphopt.ops.cast import cast
from graphopt.ops.control import if_
from graphopt.ops.conv import conv
from graphopt.ops.functions import absolute, erf, exp, log, reciprocal, sqrt
from graphopt.ops.indexing import gather, scatter_nd
from graphopt.ops.linalg import gemm, matmul
from graphopt.ops.logic import (
    and_,
    equal,
    greater,
    greater_or_equal,
    less,
    less_or_equal,
    not_,
    or_,
    where,
)
from graphopt.ops.movement import transpose
from graphopt.ops.normalization import batch_normalization, layer_normalization
from graphopt.ops.padding import pad
from graphopt.ops.pool import max_pool
from graphopt.ops.pool_global import global_average_pool
from graphopt.ops.quantize import dequantize_linear, quantize_linear
from graphopt.ops.reduction import arg_max, reduce_max, reduce_mean, reduce_min, reduce_sum
from graphopt.ops.shape import expand, reshape, shape, unsqueeze
from graphopt.ops.slicing import concat, slice_
from graphopt.ops.softmax import softmax
from graphopt.rewriting.examples import example, filled, ints, weights
from graphopt.structural import absent, constant
from graphopt.types import DType
from tests.passes.before_after import Row, check_row, graph_of, told
from tests.passes.judge import same_bits

A, B, C, D = (example("float32[N, 4]", name) for name in "abcd")
P, Q, R = (example("float32[2, 3]", name) for name in "pqr")
M, N = (example("int32[2, 3]", name) for name in "mn")
U = example("uint32[2, 3]", "u")
FLAG, FLAG2 = example("bool[2, 3]", "f"), example("bool[2, 3]", "g")
TOKENS = example("float32[2, 9, 4]", "t")
IMAGE = example("float32[2, 3, 6, 6]", "image")
ROW = example("int64[]", "i")
BYTES = example("uint8[5, 4]", "q")


def whole(number: int, dtype: str = "int32") -> Node:
    """A constant of one integer."""
    return filled(number, dtype=dtype)


def below(x: Node, bound: int) -> Node:
    """Numbers from 0 on, fewer than `bound`."""
    made: Node = mod(x, whole(bound))
    return made


def stacked(*values: Node, axis: int = 0) -> Node:
    """The values side by side along a new axis."""
    made: Node = concat(*(unsqueeze(value, ints(axis)) for value in values), axis=axis)
    return made


def real(x: Node) -> Node:
    """What some bytes stand for."""
    made: Node = dequantize_linear(x, filled(0.25), filled(3, dtype="uint8"))
    return made


def back(x: Node) -> Node:
    """The bytes that stand for some reals."""
    made: Node = quantize_linear(x, filled(0.25), filled(3, dtype="uint8"))
    return made


def gelu(x: Node) -> Node:
    """Gelu as it is spelled out."""
    made: Node = mul(mul(x, filled(0.5)), add(erf(div(x, filled(2**0.5))), filled(1)))
    return made


def adapted(rows: int) -> Node:
    """A product by a matrix to which a product of thin ones is added."""
    u, v = example("float32[256, 4]", "u"), example("float32[4, 256]", "v")
    made: Node = matmul(example(f"float32[{rows}, 256]"), add(example("float32[256, 256]", "w"),
                                                           matmul(u, v)))  # fmt: skip
    return made


def chosen() -> Node:
    """An If that chooses between two of its captures."""
    x, y = example("float32[3]"), example("float32[3]", "y")
    one, other = Body.close((), (x, y), (y,)), Body.close((), (x, y), (x,))
    made: Node = if_(example("bool[]", "p"), x, y, then_branch=one, else_branch=other)
    return made


def layer(x: Node) -> Node:
    """The second half of a layer that normalizes at its end."""
    hidden = relu(add(matmul(x, weights(4, 8)), weights(8)))
    sum_of = add(add(matmul(hidden, weights(8, 4, seed=1)), weights(4, seed=1)), x)
    made: Node = layer_normalization(sum_of, weights(4, seed=2), weights(4, seed=3))
    return made


RUNTIME = (
    Row("ort.Gelu", lambda: mul(P, sigmoid(mul(P, filled(1.702)))), "QuickGelu", fused=True),
    Row("ort.BiasGelu", lambda: gelu(add(P, example("float32[3]", "b"))), "Add+Gelu", fused=True,
        rounds=True),
    Row("ort.SkipLayerNorm", lambda: layer(TOKENS), "MatMul+Add+Relu MatMul+Add "
        "SkipLayerNormalization", fused=True, rounds=True),
    Row("ort.QDQPropagation", lambda: back(slice_(real(BYTES), ints(0), ints(1), ints(0))),
        "Slice"),
    Row("ort.QDQPropagation", lambda: back(gather(real(BYTES), example("int64[5]", "i"))),
        "Gather"),
    Row("ort.QDQPropagation", lambda: back(concat(real(BYTES), real(example("uint8[3, 4]", "r")),
                                                  axis=0)), "Concat"),
    Row("ort.QDQPropagation", lambda: back(max_pool(real(example("uint8[1, 2, 4, 4]", "q")),
                                                    kernel_shape=(2, 2))), "MaxPool"),
    Row("ort.QDQPropagation", lambda: back(transpose(real(BYTES))), "Transpose"),
    Row("ort.DoubleQDQ", lambda: real(back(real(back(P)))), "QuantizeLinear DequantizeLinear"),
    Row("ort.MatMulAdd", lambda: add(matmul(A, weights(4, 5)), weights(5)), "Gemm", rounds=True),
    Row("ort.MatMulScale", lambda: matmul(A, mul(weights(4, 5), filled(0.5))), "MatMul"),
    Row("ort.MatMulTranspose", lambda: matmul(A, transpose(B)), "Gemm", rounds=True),
    Row("ort.BatchNorm", lambda: batch_normalization(conv(IMAGE, weights(4, 3, 1, 1)), weights(4),
        weights(4, seed=1), weights(4, seed=2), filled(0.5, 4)), "Conv", rounds=True),
    Row("ort.ReshapeFusion", lambda: reshape(A, concat(shape(A, end=1), ints(-1), axis=0)), ""),
    Row("ort.GatherToSlice", lambda: gather(TOKENS, ints(2, 3, 4), axis=1), "Slice"),
    Row("ort.UpStreamGather", lambda: gather(layer(TOKENS), ROW, axis=1),
        "Gather Gemm Relu Gemm Add LayerNormalization", rounds=True),
    Row("ort.UpStreamGather", lambda: slice_(layer(TOKENS), ints(-1), ints(99), ints(1)),
        "Slice MatMul Add Relu MatMul Add Add LayerNormalization", rounds=True),
    Row("ort.UpStreamGather", lambda: slice_(softmax(TOKENS), ints(1), ints(3), ints(1)),
        "Slice Softmax", rounds=True),
    Row("ort.UpStreamGather", lambda: slice_(matmul(TOKENS, weights(4, 5)), ints(1), ints(3),
                                             ints(2)), "MatMul", rounds=True),
    Row("ort.UpStreamReshape", lambda: reshape(exp(reshape(P, ints(6))), ints(3, 2)),
        "Reshape Exp"),
)  # fmt: skip
RELAX = (
    Row("tvm.ExpandMatmulOfSum", lambda: adapted(1), "MatMul MatMul Gemm", math="fast",
        rounds=True),
    Row("tvm.ExpandMatmulOfSum", lambda: adapted(64), "Gemm MatMul", math="fast", rounds=True),
    Row("tvm.ReorderPermuteDims", lambda: concat(transpose(P), transpose(Q), axis=0),
        "Concat Transpose"),
)  # fmt: skip
XLA = (
    Row("xla.exp", lambda: mul(exp(P), exp(Q)), "Add Exp", math="fast", rounds=True),
    Row("xla.exp", lambda: log(exp(P)), "", math="fast", rounds=True),
    Row("xla.div_div", lambda: div(filled(3), div(P, Q)), "Mul Div", math="fast", rounds=True),
    Row("xla.sqrt", lambda: mul(reciprocal(sqrt(P)), reciprocal(sqrt(P))), "Reciprocal",
        math="fast", rounds=True),
    Row("xla.sqrt", lambda: power(absolute(P), filled(0.5)), "Abs Sqrt", rounds=True),
    Row("xla.sqrt", lambda: power(P, filled(0.5)), "Pow"),
    Row("xla.div_pow2", lambda: div(U, whole(8, "uint32")), "BitShift"),
    Row("xla.sub_self", lambda: sub(M, M), ""),
    Row("xla.factor", lambda: add(mul(M, whole(5)), mul(N, whole(5))), "Add Mul"),
    Row("xla.factor", lambda: add(mul(P, filled(0.25)), mul(Q, filled(0.25))), "Add Mul",
        rounds=True),
    Row("xla.clamps", lambda: clip(clip(P, filled(0), filled(6)), filled(1), filled(9)), "Clip"),
    Row("xla.clamps", lambda: clip(clip(P, filled(0), filled(6)), filled(0), filled(3)), "Clip"),
    Row("xla.clamps", lambda: max_(M, min_(M, N)), ""),
    Row("xla.compare_max", lambda: less(P, max_(P, Q)), "Less"),
    Row("xla.compare_max", lambda: equal(P, min_(P, Q)), "LessOrEqual"),
    Row("xla.compare_max", lambda: greater_or_equal(max_(M, N), M), ""),
    Row("xla.compare_max", lambda: greater_or_equal(max_(P, Q), P), "Max GreaterOrEqual"),
    Row("xla.unsigned", lambda: (less(U, whole(0, "uint32")),
                                 greater_or_equal(U, whole(0, "uint32"))), ""),
    Row("xla.select", lambda: where(FLAG, P, P), ""),
    Row("xla.select", lambda: where(FLAG, FLAG2, filled(0, dtype="bool")), "And"),
    Row("xla.convert", lambda: cast(cast(below(M, 9), to=DType.FLOAT16), to=DType.INT32), "Mod"),
    Row("xla.convert", lambda: cast(cast(below(M, 9000), to=DType.FLOAT16), to=DType.INT32),
        "Mod Cast Cast"),
    Row("xla.convert", lambda: greater(cast(FLAG, to=DType.FLOAT32), filled(0.5)), ""),
    Row("xla.convert", lambda: equal(cast(FLAG, to=DType.INT64), filled(0, dtype="int64")), "Not"),
    Row("xla.convert", lambda: less(cast(M, to=DType.INT64), filled(7, dtype="int64")), "Less"),
    Row("xla.data", lambda: slice_(concat(P, Q, axis=0), ints(2), ints(4), ints(0)), ""),
    Row("xla.pad_conv", lambda: conv(pad(IMAGE, ints(0, 0, 1, 1, 0, 0, 1, 1)),
                                     weights(4, 3, 3, 3)), "Conv", rounds=True),
    Row("xla.reduce_reduce", lambda: reduce_max(reduce_max(TOKENS, ints(1)), ints(2)),
        "ReduceMax"),
    Row("xla.reduce_transpose", lambda: reduce_sum(transpose(P), ints(0), keepdims=0),
        "ReduceSum", rounds=True),
    Row("xla.reduce_broadcast", lambda: reduce_max(expand(P, ints(5, 2, 3)), ints(0), keepdims=0),
        ""),
    Row("xla.reduce_broadcast", lambda: reduce_sum(expand(example("float32[1, 3]"), ints(5, 3)),
                                                   ints(0, 1)), "ReduceSum Mul", rounds=True),
    Row("xla.reduce_broadcast", lambda: reduce_mean(expand(P, ints(5, 2, 3)), ints(0, 2)),
        "ReduceMean Expand", rounds=True),
    Row("xla.reduce_concat", lambda: reduce_sum(stacked(P, Q, axis=-1), ints(-1), keepdims=0),
        "Add", rounds=True),
    Row("xla.reduce_concat", lambda: reduce_min(stacked(M, N), ints(0), keepdims=0), "Min"),
    Row("xla.reduce_concat", lambda: reduce_max(stacked(P, Q), ints(0), keepdims=0),
        "Unsqueeze Unsqueeze Concat ReduceMax"),
    Row("xla.reduce_concat", lambda: reduce_sum(concat(example("float32[300, 256]"), example(
        "float32[300, 256]", "y"), axis=0), ints(1)), "ReduceSum ReduceSum Concat", rounds=True),
    Row("xla.reduce_concat", lambda: reduce_sum(concat(example("float32[300, 256]"), example(
        "float32[300, 256]", "y"), axis=1), ints(1)), "ReduceSum ReduceSum Add", rounds=True),
    Row("xla.reduce_dot", lambda: reduce_mean(add(matmul(TOKENS, weights(4, 5)), weights(5)),
                                              ints(1), keepdims=0), "ReduceMean Gemm", rounds=True),
    Row("xla.reduce_dot", lambda: global_average_pool(conv(IMAGE, weights(4, 3, 1, 1))),
        "GlobalAveragePool Conv", rounds=True),
    Row("xla.dot_concat", lambda: matmul(concat(P, filled(1, 2, 1), axis=1), weights(4, 5)),
        "Gemm", rounds=True),
    Row("xla.dot_broadcast", lambda: matmul(expand(P, ints(5, 2, 3)), example("float32[5, 3, 4]")),
        "MatMul", rounds=True),
    Row("xla.dot_gather", lambda: matmul(gather(weights(9, 8), example("int64[5]", "k")),
                                         weights(8, 4)), "Gather", rounds=True),
    Row("xla.dot_order", lambda: conv(conv(IMAGE, weights(3, 3, 1, 1)), weights(3, 3, 3, 3),
                                      pads=(1, 1, 1, 1)), "Conv", math="fast", rounds=True),
    Row("xla.dot_order", lambda: conv(conv(IMAGE, weights(3, 3, 1, 1), weights(3)),
        weights(3, 3, 3, 3), pads=(1, 1, 1, 1)), "Conv Conv", math="fast", rounds=True),
    Row("xla.dot_order", lambda: gemm(gemm(A, weights(4, 6), weights(6)), weights(6, 3),
                                      weights(3)), "Gemm", math="fast", rounds=True),
    Row("xla.dot_order", lambda: matmul(matmul(A, weights(4, 1)), weights(1, 4)),
        "MatMul MatMul", math="fast", rounds=True),
    Row("xla.dot_transpose", lambda: transpose(matmul(P, transpose(Q))), "Gemm", rounds=True),
    Row("xla.update_pad", lambda: scatter_nd(filled(0, 5, 3), constant([[1], [2]], DType.INT64), P),
        "Pad"),
    Row("xla.update_pad", lambda: scatter_nd(Q, constant([[0], [1]], DType.INT64), P), ""),
    Row("xla.slice_slice", lambda: slice_(slice_(TOKENS, ints(1), ints(8), ints(1)), ints(2),
                                          ints(4), ints(1)), "Slice"),
    Row("xla.slice_slice", lambda: gather(gather(TOKENS, example("int64[5]", "k"), axis=1),
                                          example("int64[2]", "l"), axis=1), "Gather Gather"),
    Row("xla.scatter", lambda: scatter_nd(scatter_nd(A, constant([[1], [2]], DType.INT64),
        example("float32[2, 4]", "u")), constant([[0]], DType.INT64),
        example("float32[1, 4]", "v")), "ScatterND ScatterND"),
    Row("xla.scatter", lambda: scatter_nd(scatter_nd(TOKENS, constant([[1]], DType.INT64),
        example("float32[1, 9, 4]", "u")), constant([[0]], DType.INT64),
        example("float32[1, 9, 4]", "v")), "Concat ScatterND"),
    Row("xla.scatter", lambda: scatter_nd(scatter_nd(TOKENS, constant([[1]], DType.INT64),
        example("float32[1, 9, 4]", "u")), constant([[-1]], DType.INT64),
        example("float32[1, 9, 4]", "v")), "ScatterND"),
    Row("xla.conditional", lambda: chosen(), "Where"),
)  # fmt: skip
INDUCTOR = (
    Row("inductor.binary_folding", lambda: mul(conv(IMAGE, weights(4, 3, 1, 1)),
                                               weights(4, 1, 1)), "Conv", rounds=True),
    Row("inductor.gumbel_max", lambda: arg_max(softmax(P), axis=1), "ArgMax", math="fast",
        rounds=True),
    Row("inductor.gumbel_max", lambda: arg_max(softmax(P), axis=1), "Softmax ArgMax"),
)  # fmt: skip
TINYGRAD = (
    Row("tinygrad.ranges", lambda: div(below(M, 4), whole(12)), ""),
    Row("tinygrad.ranges", lambda: mod(below(M, 4), whole(12)), "Mod"),
    Row("tinygrad.ranges", lambda: less(add(below(M, 100), whole(3)), whole(10)), "Mod Less"),
    Row("tinygrad.ranges", lambda: less(add(M, whole(3)), whole(10)), "Add Less"),
    Row("tinygrad.ranges", lambda: less(mul(below(M, 100), whole(3)), whole(10)), "Mod Less"),
    Row("tinygrad.ranges", lambda: equal(add(M, whole(3)), whole(10)), "Equal"),
    Row("tinygrad.whole", lambda: add(mul(div(below(M, 50), whole(7)), whole(7)),
                                      mod(below(M, 50), whole(7))), "Mod"),
    Row("tinygrad.gcd", lambda: div(mul(below(M, 99), whole(6)), whole(3)), "Mod Mul"),
    Row("tinygrad.gcd", lambda: div(mul(below(M, 99), whole(3)), whole(6)), "Mod Div"),
    Row("tinygrad.gcd", lambda: div(add(mul(below(M, 99), whole(7)), below(N, 7)), whole(7)),
        "Mod"),
    Row("tinygrad.gcd", lambda: mod(add(mul(below(M, 99), whole(7)), below(N, 7)), whole(7)),
        "Mod"),
    Row("tinygrad.gcd", lambda: mod(mod(M, whole(12)), whole(4)), "Mod"),
    Row("tinygrad.boolean", lambda: and_(FLAG, or_(FLAG, FLAG2)), ""),
    Row("tinygrad.boolean", lambda: not_(less_or_equal(M, N)), "Greater"),
)  # fmt: skip
ROWS = RUNTIME + RELAX + XLA + INDUCTOR + TINYGRAD


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_row(row: Row) -> None:
    check_row(row)


BYTE = example("int8[256]", "b")
EVERY = np.arange(-128, 128, dtype=np.int8)
NUMBERS = (1, 2, 3, 4, 6, 12, 100)
SHAPES: tuple[tuple[str, Callable[[Node, Node, Node], Node]], ...] = (
    ("x * a / c", lambda x, a, c: div(mul(x, a), c)),
    ("x * a mod c", lambda x, a, c: mod(mul(x, a), c)),
    ("x mod a mod c", lambda x, a, c: mod(mod(x, a), c)),
    ("x fmod a fmod c", lambda x, a, c: mod(mod(x, a, fmod=1), c, fmod=1)),
    ("x * a + x mod a / c", lambda x, a, c: div(add(mul(x, a), mod(x, a)), c)),
    ("x * a + x mod a mod c", lambda x, a, c: mod(add(mul(x, a), mod(x, a)), c)),
    ("x + a < c", lambda x, a, c: less(add(x, a), c)),
    ("c >= x + a", lambda x, a, c: greater_or_equal(c, add(x, a))),
    ("x * a <= c", lambda x, a, c: less_or_equal(mul(x, a), c)),
    ("c < x * a", lambda x, a, c: less(c, mul(x, a))),
    ("x + a = c", lambda x, a, c: equal(add(x, a), c)),
)


@pytest.mark.parametrize("shape", [shape for _, shape in SHAPES], ids=[name for name, _ in SHAPES])
def test_every_number_of_8_bits(shape: Callable[[Node, Node, Node], Node]) -> None:
    """With all constants, and dividends of all ranges, of one sign and of both."""
    fired = 0
    for a, c, top in product(NUMBERS, NUMBERS, (3, 9, -9, 128)):
        x = mod(BYTE, whole(top, "int8")) if top < 128 else BYTE
        before = graph_of(shape(x, whole(a, "int8"), whole(c, "int8")))
        made = graphopt.optimize(before, "O2", strict=True)
        (old,), (new,) = (reference.run(graph, {"b": EVERY}) for graph in (before, made))
        assert same_bits(old, new), (a, c, top)
        fired += made.report is not None and bool(made.report.rules)
    assert fired > 10


Bounded = Callable[[Node, Sequence[Node]], Node]
CLIPPED: tuple[tuple[str, int, Bounded], ...] = (
    ("clip clip", 4, lambda x, b: clip(clip(x, b[0], b[1]), b[2], b[3])),
    ("min relu", 1, lambda x, b: min_(relu(x), b[0])),
    ("max min", 2, lambda x, b: max_(min_(x, b[0]), b[1])),
    ("min max", 2, lambda x, b: min_(max_(x, b[0]), b[1])),
    ("clip relu", 2, lambda x, b: clip(relu(x), b[0], b[1])),
    ("relu clip", 2, lambda x, b: relu(clip(x, b[0], b[1]))),
    ("max relu", 1, lambda x, b: max_(relu(x), b[0])),
)


@pytest.mark.parametrize(("_", "count", "make"), CLIPPED, ids=[name for name, *_ in CLIPPED])
def test_one_clip_for_two_keeps_the_signs_of_zeros(_: str, count: int, make: Bounded) -> None:
    """Wherever two become one in default math: with all bounds, of zeros of both signs."""
    bounds = [filled(number) for number in (-1, -0.0, 0.0, 1)]
    array = np.array([0.0, -0.0, 1, -1, 0.5, 3, np.nan, -np.inf], np.float32)
    x, fired = example("float32[8]"), 0
    for chosen in product([absent, *bounds] if count == 4 else bounds, repeat=count):
        for value in (x, absolute(x), cast(example("int8[8]"), to=DType.FLOAT32)):
            before = graph_of(make(value, chosen))
            made = graphopt.optimize(before, "O2", strict=True)
            whole_numbers = before.inputs[0].dtype is DType.INT8
            feeds = {"x": np.arange(-4, 4, dtype=np.int8) if whole_numbers else array}
            (old,), (new,) = (reference.run(graph, feeds) for graph in (before, made))
            assert same_bits(old, new), chosen
            fired += len(told(made, fused=False).split()) < len(told(before, fused=False).split())
    assert fired > 1
