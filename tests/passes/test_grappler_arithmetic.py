"""The stages of Grappler's arithmetic optimizer: what each becomes here, a graph before and after.

The keys are those of tools/catalogue.py.
"""

from __future__ import annotations

import pytest

from graphopt.ir import Node
from graphopt.ops.activation import relu
from graphopt.ops.arithmetic import add, div, mul, power, sub, sum_
from graphopt.ops.cast import bit_cast, cast, identity
from graphopt.ops.complexes import conjugate
from graphopt.ops.conv import conv
from graphopt.ops.functions import cos, exp, log, neg, reciprocal, sqrt, tanh
from graphopt.ops.indexing import gather
from graphopt.ops.linalg import matmul
from graphopt.ops.logic import bitwise_not, greater, less, less_or_equal, not_
from graphopt.ops.movement import transpose
from graphopt.ops.pool import max_pool
from graphopt.ops.reduction import arg_max, reduce_max
from graphopt.ops.selection import unique
from graphopt.ops.shape import expand, reshape, unsqueeze
from graphopt.ops.slicing import concat, slice_, split, tile
from graphopt.ops.softmax import softmax
from graphopt.rewriting.examples import example, filled, ints, weights
from graphopt.structural import constant, out, results
from graphopt.types import DType
from tests.passes.before_after import Row, check_row

A, B, C, D = (example("float32[N, 4]", name) for name in "abcd")
M, N, L = (example("int32[N, 4]", name) for name in "ijk")
P, Q, R = (example("float32[2, 3]", name) for name in "pqr")
S, T = (example("float32[]", name) for name in "st")
SCALAR = example("int32[]", "n")
COMPLEX = example("complex64[2, 3]", "z")
TABLE = example("float32[5, 3]", "table")
IMAGE = example("float32[2, 3, 6, 6]")
BATCH = example("float32[2, 3, 4]")


def stacked(*values: Node, axis: int = 0) -> Node:
    """The values side by side along a new axis."""
    made: Node = concat(*(unsqueeze(value, ints(axis)) for value in values), axis=axis)
    return made


def halves(x: Node, axis: int = 0) -> tuple[Node, ...]:
    """Two halves of a value."""
    return results(split(x, None, axis=axis, num_outputs=2, outputs=2))


ROWS = (
    Row("1.1.1", lambda: add(add(add(A, B), C), D), "Sum"),
    Row("1.1.1", lambda: add(add(A, B), add(C, D)), "Sum", math="fast", rounds=True),
    Row("1.1.1", lambda: add(add(A, B), add(C, D)), "Add Sum"),
    Row("1.1.2", lambda: transpose(conjugate(transpose(COMPLEX))), "Conjugate"),
    Row("1.1.2", lambda: conjugate(transpose(conjugate(COMPLEX))), "Transpose"),
    Row("1.1.3", lambda: conv(mul(IMAGE, filled(2)), weights(4, 3, 3, 3)), "Conv", rounds=True),
    Row("1.1.3", lambda: conv(transpose(mul(IMAGE, filled(3.5)), perm=(0, 1, 3, 2)),
                              weights(4, 3, 3, 3)), "Transpose Conv", rounds=True),
    Row("1.1.4", lambda: matmul(transpose(P), Q), "Gemm", rounds=True),
    Row("1.1.4", lambda: matmul(P, transpose(Q)), "Gemm", rounds=True),
    Row("1.1.5", lambda: add(mul(M, N), mul(M, L)), "Add Mul"),
    Row("1.1.5", lambda: add(mul(A, B), mul(A, C)), "Add Mul", math="fast", rounds=True),
    Row("1.1.5", lambda: add(div(B, A), div(C, A)), "Add Div", math="fast", rounds=True),
    Row("1.1.5", lambda: add(mul(A, B), mul(A, C)), "Mul Mul Add"),
    Row("1.1.6", lambda: add(add(M, SCALAR), add(N, SCALAR)), "Add Mul Add"),
    Row("1.1.6", lambda: mul(mul(A, S), mul(B, T)), "Mul Mul Mul", math="fast", rounds=True),
    Row("1.1.7", lambda: transpose(transpose(BATCH, perm=(2, 0, 1)), perm=(1, 2, 0)), ""),
    Row("1.1.7", lambda: transpose(BATCH, perm=(0, 1, 2)), ""),
    Row("1.1.7", lambda: transpose(exp(transpose(BATCH, perm=(2, 0, 1))), perm=(1, 2, 0)), "Exp"),
    Row("1.1.8", lambda: neg(neg(A)), ""),
    Row("1.1.8", lambda: not_(not_(example("bool[N]"))), ""),
    Row("1.1.8", lambda: bitwise_not(bitwise_not(M)), ""),
    Row("1.1.8", lambda: conjugate(conjugate(COMPLEX)), ""),
    Row("1.1.8", lambda: neg(transpose(neg(A))), "Transpose"),
    Row("1.1.8", lambda: reciprocal(reciprocal(A)), "", math="fast", rounds=True),
    Row("1.1.9", lambda: bit_cast(bit_cast(A, to=DType.INT32), to=DType.UINT32), "BitCast"),
    Row("1.1.9", lambda: bit_cast(A, to=DType.FLOAT32), ""),
    Row("1.1.10", lambda: cast(A, to=DType.FLOAT32), ""),
    Row("1.1.11", lambda: stacked(P, P, P), "Expand"),
    Row("1.1.12", lambda: mul(example("float32[1, 3]"), filled(1, 2, 3)), "Expand"),
    Row("1.1.13", lambda: reshape(tile(reshape(example("float32[2, 3, 4, 4]"),
                                               ints(2, 3, 4, 1, 4, 1)), ints(1, 1, 1, 2, 1, 2)),
                                  ints(2, 3, 8, 8)), "Resize"),
    Row("1.1.14", lambda: reshape(P, ints(2, 3)), ""),
    Row("1.1.14", lambda: expand(P, ints(2, 3)), ""),
    Row("1.1.14", lambda: reshape(exp(reshape(P, ints(6))), ints(3, 2)), "Reshape Exp"),
    Row("1.1.15", lambda: sub(A, neg(B)), "Add"),
    Row("1.1.15", lambda: add(A, neg(B)), "Sub"),
    Row("1.1.15", lambda: add(neg(A), B), "Sub"),
    Row("1.1.16", lambda: mul(A, A), "Mul"),
    Row("1.1.17", lambda: not_(greater(M, N)), "LessOrEqual"),
    Row("1.1.17", lambda: not_(less(M, N)), "GreaterOrEqual"),
    Row("1.1.17", lambda: not_(less_or_equal(M, N)), "Greater"),
    Row("1.1.17", lambda: not_(less(A, B)), "Less Not"),
    Row("1.1.18", lambda: transpose(cast(example("float16[2, 3]"), to=DType.FLOAT32)),
        "Transpose Cast"),
    Row("1.1.18", lambda: cast(transpose(P), to=DType.FLOAT16), "Cast Transpose"),
    Row("1.1.18", lambda: gather(cast(example("float16[5, 3]", "h"), to=DType.FLOAT32),
                                 example("int64[2]", "k")), "Gather Cast"),
    Row("1.1.19", lambda: sum_(A), ""),
    Row("1.1.19", lambda: add(add(A, A), A), "Mul"),
    Row("1.1.19", lambda: sum_(A, A, A, A, A), "Mul"),
    Row("1.1.19", lambda: sum_(A, A, A, A, A, A), "Sum"),
    Row("1.1.20", lambda: concat(exp(P), exp(Q), exp(R), axis=0), "Concat Exp"),
    Row("1.1.20", lambda: tuple(exp(p) for p in halves(example("float32[4, 3]"))), "Exp Split"),
    Row("1.1.21", lambda: div(sqrt(A), A), "Sqrt Div"),
    Row("1.1.21", lambda: reciprocal(sqrt(A)), "Sqrt Reciprocal"),
    Row("1.1.22", lambda: identity(identity(A)), ""),
    Row("1.1.22", lambda: relu(relu(A)), "Relu"),
    Row("1.1.23", lambda: power(A, filled(2)), "Mul", rounds=True),
    Row("1.1.23", lambda: power(A, filled(1)), ""),
    Row("1.1.23", lambda: power(P, filled(0)), ""),
    Row("1.1.23", lambda: power(A, filled(3)), "Mul Mul", rounds=True, pipeline="lengthen"),
    Row("1.1.23", lambda: power(exp(A), filled(0.5)), "Exp Sqrt", rounds=True),
    Row("1.1.23", lambda: power(A, filled(-1)), "Reciprocal", rounds=True),
    Row("1.1.24", lambda: log(add(A, filled(1))), "Log1p", math="fast", rounds=True,
        pipeline="lengthen"),
    Row("1.1.25", lambda: log(softmax(A)), "LogSoftmax", rounds=True),
    Row("1.1.26", lambda: reduce_max(relu(P), ints(1)), "ReduceMax Relu"),
    Row("1.1.26", lambda: reduce_max(exp(P), ints(1)), "ReduceMax Exp", rounds=True),
    Row("1.1.26", lambda: exp(reduce_max(neg(P), ints(1))), "ReduceMin Neg Exp"),
    Row("1.1.26", lambda: arg_max(neg(P)), "ArgMin"),
    Row("1.1.26", lambda: max_pool(relu(IMAGE), kernel_shape=(2, 2)), "MaxPool Relu"),
    Row("1.1.27", lambda: sub(exp(A), filled(1)), "Expm1", math="fast", rounds=True,
        pipeline="lengthen"),
    Row("1.1.28", lambda: tanh(exp(cos(A))), "Cos+Exp+Tanh", fused=True),
    Row("1.1.29", lambda: gather(stacked(P, Q, R), constant(1)), ""),
    Row("1.1.29", lambda: slice_(stacked(P, Q, R), ints(-1), ints(9), ints(0)), "Unsqueeze"),
    Row("1.1.30", lambda: gather(gather(TABLE, out(unique(example("int64[5]", "k"), outputs=4), 0)),
                                 out(unique(example("int64[5]", "k"), outputs=4), 2)), "Gather"),
    Row("1.1.31", lambda: gather(TABLE, cast(example("int32[5]", "k"), to=DType.INT64)), "Gather"),
    Row("1.1.32", lambda: power(sub(A, B), filled(2)), "Sub Mul", rounds=True),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_row(row: Row) -> None:
    check_row(row)
