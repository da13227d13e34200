"""The rules of Grappler's constant folding: what each becomes here, a graph before and after.

The keys are those of tools/catalogue.py.
"""

from __future__ import annotations

import pytest

from graphopt.body import Body
from graphopt.ir import Node
from graphopt.ops.arithmetic import add, div, mul, sub, sum_
from graphopt.ops.cast import cast, identity
from graphopt.ops.control import if_
from graphopt.ops.conv import conv
from graphopt.ops.functions import exp, neg
from graphopt.ops.generate import constant_of_shape, range_
from graphopt.ops.indexing import gather
from graphopt.ops.linalg import matmul
from graphopt.ops.logic import and_, or_, where
from graphopt.ops.loops import loop
from graphopt.ops.movement import transpose
from graphopt.ops.padding import pad
from graphopt.ops.reduction import reduce_max, reduce_mean, reduce_prod, reduce_sum
from graphopt.ops.shape import reshape, shape, size, squeeze, unsqueeze
from graphopt.ops.slicing import concat, slice_, split, tile
from graphopt.rewriting.examples import example, filled, ints, weights
from graphopt.structural import constant, out
from graphopt.types import DType
from tests.passes.before_after import Row, check_row, graph_of, told

A, B = (example("float32[N, 4]", name) for name in "ab")
M = example("int32[N, 4]", "m")
P, Q = (example("float32[2, 3]", name) for name in "pq")
FLAGS = example("bool[2, 3]", "flags")
CHOICE = example("bool[]", "choice")
IMAGE = example("float32[2, 3, 6, 6]")
OPEN = example("float32[?, 5, 6]")
KERNEL = weights(4, 3, 3, 3)


def whole(number: int, *sizes: int) -> Node:
    """A constant of equal integers."""
    return filled(number, *sizes, dtype="int32")


def chosen(predicate: Node) -> Node:
    """exp(p) where the predicate holds, else the predicate's flag as a number."""
    one = Body.close((), (P, CHOICE), (exp(P),))
    other = Body.close((), (P, CHOICE), (add(P, cast(CHOICE, to=DType.FLOAT32)),))
    made: Node = if_(predicate, P, CHOICE, then_branch=one, else_branch=other)
    return made


def repeated(value: Node) -> Node:
    """p + value, as often as an input says; the value is carried round and never changed."""
    k, go, carried, kept = (
        example("int64[]", "k"), example("bool[]", "go"), P, example("float32[2, 3]", "kept"),
    )  # fmt: skip
    body = Body.close((k, go, carried, kept), (), (constant(True), add(carried, exp(kept)), kept))
    made = loop(example("int64[]", "trips"), None, P, value, body=body, outputs=2)
    return out(made, 0)


ROWS = (
    Row("1.2.MaterializeShapes", lambda: mul(P, cast(shape(example("float32[3]", "z")),
                                                     to=DType.FLOAT32)), "Mul"),
    Row("1.2.MaterializeShapes", lambda: reshape(A, concat(shape(A, start=1), ints(-1), axis=0)),
        "Reshape"),
    Row("1.2.MaterializeConstantValuedNode", lambda: add(P, constant_of_shape(ints(2, 3))), "Add"),
    Row("1.2.MaterializeOutputValues", lambda: reshape(OPEN, concat(gather(shape(OPEN), ints(0)),
                                                                    ints(-1), axis=0)), "Reshape"),
    Row("1.2.MaterializeReductionIndices", lambda: reduce_sum(
        P, range_(constant(0), size(shape(P)), constant(1)), keepdims=0), "ReduceSum"),
    Row("1.2.FoldGraph", lambda: add(A, exp(neg(weights(4)))), "Add"),
    Row("1.2.FoldGraph", lambda: add(A, out(split(weights(8), None, num_outputs=2, outputs=2), 1)),
        "Add"),
    Row("1.2.RemoveSplitOrSplitV", lambda: split(P, ints(2), outputs=1), ""),
    Row("1.2.RemoveShuffleOrTranspose", lambda: transpose(example("float32[1, 1, 3]"),
                                                          perm=(1, 0, 2)), ""),
    Row("1.2.RemoveShuffleOrTranspose", lambda: transpose(example("float32[2, 1, 3]"),
                                                          perm=(1, 0, 2)), "Reshape"),
    Row("1.2.RemoveReverse", lambda: slice_(example("float32[1, 3]"), ints(-1), ints(-9), ints(0),
                                            ints(-1)), ""),
    Row("1.2.SimplifySlice", lambda: slice_(P, ints(0, 0), ints(2, 3), ints(0, 1)), ""),
    Row("1.2.SimplifyStridedSlice", lambda: slice_(A, ints(0), ints(2**63 - 1), ints(0), ints(1)),
        ""),
    Row("1.2.SimplifyTile", lambda: tile(P, ints(1, 1)), ""),
    Row("1.2.SimplifyPad", lambda: pad(P, ints(0, 0, 0, 0), filled(7)), ""),
    Row("1.2.SimplifySqueeze", lambda: squeeze(P, None), ""),
    Row("1.2.SimplifyPack", lambda: concat(unsqueeze(P, ints(0)), axis=0), "Unsqueeze"),
    Row("1.2.SimplifySwitch", lambda: chosen(CHOICE), "If"),
    Row("1.2.SimplifyReduction", lambda: reduce_max(P, ints(), noop_with_empty_axes=1), ""),
    Row("1.2.SimplifyReduction", lambda: reduce_max(example("float32[1, 3]"), ints(0)), ""),
    Row("1.2.SimplifyReduction", lambda: reduce_mean(example("int32[1, 1]"), keepdims=0),
        "Squeeze"),
    Row("1.2.SimplifyReduction", lambda: reduce_prod(example("float32[1, 3]"), ints(0),
                                                     keepdims=0), "Squeeze"),
    Row("1.2.SimplifyReshape", lambda: reshape(A, concat(shape(A, end=1), ints(4), axis=0)), ""),
    Row("1.2.SimplifyArithmeticOperations", lambda: mul(A, filled(1)), ""),
    Row("1.2.SimplifyArithmeticOperations", lambda: div(A, filled(1)), ""),
    Row("1.2.SimplifyArithmeticOperations", lambda: sub(A, filled(0)), ""),
    Row("1.2.SimplifyArithmeticOperations", lambda: add(M, whole(0)), ""),
    Row("1.2.SimplifyArithmeticOperations", lambda: add(exp(A), filled(0)), "Exp"),
    Row("1.2.SimplifyArithmeticOperations", lambda: add(A, filled(0)), "", math="fast",
        rounds=True),
    Row("1.2.SimplifyArithmeticOperations", lambda: mul(example("float32[3]"), filled(1, 2, 3)),
        "Expand"),
    Row("1.2.SimplifyArithmeticOperations", lambda: and_(FLAGS, constant(True)), ""),
    Row("1.2.SimplifyArithmeticOperations", lambda: or_(FLAGS, constant(False)), ""),
    Row("1.2.SimplifyArithmeticOperations", lambda: or_(FLAGS, constant(True)), ""),
    Row("1.2.SimplifyArithmeticOperations", lambda: sub(whole(0), M), "Neg"),
    Row("1.2.SimplifyArithmeticOperations", lambda: exp(sub(filled(0), A)), "Neg Exp"),
    Row("1.2.SimplifyArithmeticOperations", lambda: div(filled(1), A), "Reciprocal"),
    Row("1.2.SimplifyArithmeticOperations", lambda: mul(example("int32[2, 3]"), whole(0)), ""),
    Row("1.2.SimplifyArithmeticOperations", lambda: matmul(example("int32[2, 3]"), whole(0, 3, 4)),
        ""),
    Row("1.2.SimplifyArithmeticOperations", lambda: mul(P, filled(0)), "", math="fast",
        rounds=True),
    Row("1.2.SimplifyArithmeticOperations", lambda: matmul(P, filled(0, 3, 4)), "", math="fast",
        rounds=True),
    Row("1.2.ReduceDivToReciprocalMul", lambda: div(A, filled(4)), "Mul"),
    Row("1.2.ReduceDivToReciprocalMul", lambda: div(A, filled(3)), "Mul", math="fast",
        rounds=True),
    Row("1.2.ConstantPushDown", lambda: add(add(M, whole(5)), whole(7)), "Add"),
    Row("1.2.ConstantPushDown", lambda: mul(whole(3), mul(M, whole(5))), "Mul"),
    Row("1.2.ConstantPushDown", lambda: sub(whole(3), sub(M, whole(5))), "Sub"),
    Row("1.2.ConstantPushDown", lambda: add(add(exp(A), filled(1)), filled(2)), "Exp Add",
        rounds=True),
    Row("1.2.ConstantPushDown", lambda: mul(filled(3), mul(A, filled(5))), "Mul", rounds=True),
    Row("1.2.ConstantPushDown", lambda: div(div(A, filled(3)), filled(5)), "Div", rounds=True),
    Row("1.2.ConstantPushDown", lambda: mul(div(filled(3), A), filled(5)), "Div", rounds=True),
    Row("1.2.ConstantPushDown", lambda: add(sub(filled(1), A), filled(3)), "Sub", math="fast",
        rounds=True),
    Row("1.2.ConstantPushDown", lambda: sub(add(A, filled(3)), filled(7)), "Add", math="fast",
        rounds=True),
    Row("1.2.ConstantPushDown", lambda: div(mul(A, filled(3)), filled(7)), "Mul", math="fast",
        rounds=True),
    Row("1.2.ConstantPushDown", lambda: sub(filled(7), sub(filled(3), A)), "Add", math="fast",
        rounds=True),
    Row("1.2.MulConvPushDown", lambda: mul(conv(IMAGE, KERNEL), filled(2)), "Conv", rounds=True),
    Row("1.2.MulConvPushDown", lambda: mul(conv(IMAGE, KERNEL), weights(4, 1, 1)), "Conv",
        rounds=True),
    Row("1.2.PartialConstPropThroughIdentityN", lambda: add(A, identity(filled(3))), "Add"),
    Row("1.2.PartialAssocOpConstFolding", lambda: sum_(filled(1, 2, 3), P, filled(2, 2, 3), Q),
        "Sum", math="fast", rounds=True),
    Row("1.2.PartialAssocOpConstFolding", lambda: add(add(add(M, whole(1)), example(
        "int32[N, 4]", "o")), whole(2)), "Add Add"),
    Row("1.2.PartialAssocOpConstFolding", lambda: add(add(add(A, filled(1)), B), filled(2)),
        "Add Add", math="fast", rounds=True),
    Row("1.2.MergeConcat", lambda: concat(P, concat(Q, P, axis=0), axis=0), "Concat"),
    Row("1.2.PartialConcatConstFolding", lambda: concat(P, weights(1, 3), weights(2, 3), Q,
                                                        axis=0), "Concat"),
    Row("1.2.ConstantPushDownBiasAdd", lambda: add(conv(IMAGE, KERNEL, weights(4)),
                                                   weights(1, 4, 1, 1)), "Conv", rounds=True),
    Row("1.2.ConstantPushDownBiasAdd", lambda: add(matmul(P, weights(3, 4), ), add(
        weights(4), weights(4, seed=1))), "Gemm", rounds=True),
    Row("1.2.SimplifyCase", lambda: chosen(constant(True)), "Exp"),
    Row("1.2.SimplifySelect", lambda: where(constant(True), P, Q), ""),
    Row("1.2.SimplifySelect", lambda: where(filled(0, 2, 3, dtype="bool"), P, Q), ""),
    Row("1.2.SimplifySelect", lambda: where(filled(1, 2, 3, dtype="bool"), example("float32[3]"),
                                            Q), "Expand"),
)  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_row(row: Row) -> None:
    check_row(row)


def test_a_branch_knows_its_predicate() -> None:
    graph = check_row(Row("1.2.SimplifySwitch", lambda: chosen(CHOICE), "If"))
    (node,) = [node for node in graph.nodes if node.op is if_]
    assert CHOICE not in node.inputs[1:], "false is a constant where the predicate does not hold"


def test_a_constant_is_taken_into_a_loop() -> None:
    row = Row("1.2.MoveConstantsPastEnter", lambda: repeated(filled(2, 2, 3)), "Loop")
    (node,) = [node for node in check_row(row).nodes if node.op is loop]
    assert len(node.inputs) == 3, "trips, no condition, and the sum alone is carried"
    inner = graph_of(node.attrs["body"].outputs)
    assert told(inner, fused=False) == "Add", "its exponential is a constant"
