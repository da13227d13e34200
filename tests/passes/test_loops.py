"""Loops: what leaves them, what is written out or dropped, what must stay."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from graphopt.body import Body
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.ops.arithmetic import add, div, mul
from graphopt.ops.control import if_
from graphopt.ops.functions import exp, neg
from graphopt.ops.indexing import gather
from graphopt.ops.linalg import gemm, matmul
from graphopt.ops.logic import less
from graphopt.ops.loops import loop, scan
from graphopt.ops.movement import transpose
from graphopt.ops.reduction import reduce_sum
from graphopt.ops.selection import top_k
from graphopt.ops.shape import reshape
from graphopt.passes import O2, O3
from graphopt.passes.branches.loop_motion import Loops, never_fails
from graphopt.passes.prune import Prune
from graphopt.pipeline import Context, Pass, run_pipeline
from graphopt.rewriting.examples import example, filled, ints
from graphopt.structural import constant, opaque, out, results
from graphopt.types import DType, TensorType, TupleType
from tests.passes.flows import ALL, inside, names, ran

K, GO = example("int64[]", "k"), example("bool[]", "go")
N, P, Q = example("int64[]", "n"), example("bool[]", "p"), example("bool[]", "q")
X, Y, Z = (example("float32[2, 2]", name) for name in "xyz")
YES = constant(True)
TOP = constant(50.0, DType.FLOAT32)


def body(formals: Sequence[Node], captured: Sequence[Node], *made: Node, go: Node = YES) -> Body:
    """A Loop's body."""
    return Body.close((K, GO, *formals), captured, (go, *made))


# What leaves a loop


def test_an_invariant_product_leaves_a_while_loop() -> None:
    product = matmul(Y, Z)
    again = add(X, product)
    go = less(reduce_sum(again, keepdims=0), TOP)
    (made,) = ran(loop(None, YES, X, Y, Z, body=body((X,), (Y, Z), again, go=go)))
    assert names(made) == ["MatMul", "Loop"]
    assert inside(made) == ["Add", "ReduceSum", "Less"]
    assert made.inputs[-1] is product


@pytest.mark.parametrize("passes", [O2, O3], ids=["O2", "O3"])
def test_an_invariant_product_leaves_before_it_is_one_with_a_sum(passes: Sequence[Pass]) -> None:
    again = add(X, matmul(Y, Z))
    go = less(reduce_sum(again, keepdims=0), TOP)
    (made,) = ran(loop(None, YES, X, Y, Z, body=body((X,), (Y, Z), again, go=go)), passes=passes)
    assert names(made) == ["MatMul", "Loop"]


def test_a_chain_leaves_as_one_value() -> None:
    (made,) = ran(loop(N, None, X, Y, body=body((X,), (Y,), mul(X, exp(neg(transpose(Y)))))))
    assert names(made) == ["Transpose", "Neg", "Exp", "Loop"]
    assert (inside(made), len(made.inputs)) == (["Mul"], 4)


def test_what_is_stacked_and_the_condition_may_leave() -> None:
    go = less(reduce_sum(neg(Y), keepdims=0), TOP)
    node = loop(N, YES, X, Y, body=body((X,), (Y,), add(X, X), neg(Y), go=go), outputs=2)
    made = ran(*results(node))
    assert inside(made[0]) == ["ReduceSum", "Less", "Add"]  # a sum is not proven not to fail
    assert "Neg" in names(*made)


def test_of_a_loop_that_surely_runs_all_may_leave() -> None:
    at = example("int64[1]", "at")
    for trips, left in ((N, ["Gather", "Add"]), (constant(100), ["Add"])):
        picked = gather(Y, at)
        (made,) = ran(loop(trips, None, X, Y, at, body=body((X,), (Y, at), add(X, picked))))
        assert inside(made) == left


def test_what_may_fail_stays() -> None:
    wide, odd = example("float32[M, 2]", "wide"), example("float32[L, 2]", "odd")
    count = example("int64[2]", "count")
    whole = example("int32[2, 2]", "whole")
    for value, captured in (
        (reduce_sum(add(wide, odd), keepdims=0), (wide, odd)),
        (reshape(Y, count), (Y, count)),
        (reduce_sum(matmul(transpose(wide), odd), keepdims=0), (wide, odd)),
    ):
        node = loop(N, None, X, *captured, body=body((X,), captured, mul(X, value)))
        (made,) = ran(node)
        assert inside(made) == [op for op in inside(node) if op != "Transpose"]
    carried = example("int32[2, 2]", "carried")
    node = loop(N, None, whole, whole, body=body((carried,), (whole,), add(carried, div(whole,
                whole))))  # fmt: skip
    (made,) = ran(node)
    assert "Div" in inside(made)


def test_what_is_not_understood_stays() -> None:
    random = opaque("", "RandomLike", (Y,), origin=1, types=(Y.type,), attrs={})
    node = loop(constant(3), None, X, Y, body=body((X,), (Y,), add(X, random)))
    assert ran(node) == (node,)


def test_out_of_a_loop_in_a_loop_and_in_a_branch() -> None:
    inner = loop(N, None, X, Y, body=body((X,), (Y,), add(X, neg(Y))))
    outer = loop(N, None, X, N, Y, body=body((X,), (N, Y), inner))
    (made,) = ran(outer)
    assert names(made) == ["Neg", "Loop"]
    assert inside(made) == ["Loop"]
    same = Body.close((), (N, X, Y), (X,))
    (made,) = ran(if_(P, N, X, Y, then_branch=Body.close((), (N, X, Y), (inner,)),
                      else_branch=same))  # fmt: skip
    assert (names(made), inside(made)) == (["If"], ["Neg", "Loop"])


def test_a_branch_that_cannot_fail_leaves_as_a_whole() -> None:
    at = example("int64[1]", "at")
    for picked, left in ((neg(Y), ["Mul"]), (gather(Y, at), ["If", "Mul"])):
        one, other = (Body.close((), (Y, at), (made,)) for made in (exp(Y), picked))
        chosen = if_(P, Y, at, then_branch=one, else_branch=other)
        (made,) = ran(loop(N, None, X, P, Y, at, body=body((X,), (P, Y, at), mul(X, chosen))))
        assert inside(made) == left


def test_out_of_a_scan() -> None:
    state, item, rows = (example("float32[2]", name) for name in ("s", "i", "r"))
    table = example("float32[M, 2]", "table")
    inner = Body.close((state, item), (rows,), (add(state, mul(item, exp(rows))),))
    (made,) = ran(scan(state, table, rows, body=inner, num_scan_inputs=1))
    assert (names(made), inside(made)) == (["Exp", "Scan"], ["Mul", "Add"])


def test_an_output_of_a_node_of_several_leaves() -> None:
    best = top_k(Y, ints(1))
    (made,) = ran(loop(constant(99), None, X, Y, body=body((X,), (Y,), mul(X, out(best, 0)))))
    assert (inside(made), made.inputs[-1]) == (["Mul"], out(best, 0))


FITS = [
    (neg(X), True),
    (add(X, example("float32[2]", "v")), True),
    (add(example("float32[M]", "a"), example("float32[M]", "b")), True),
    (add(example("float32[M]", "a"), example("float32[L]", "b")), False),
    (add(example("float32[M]", "a"), example("float32[7]", "b")), False),
    (matmul(example("float32[M, 2]", "a"), X), True),
    (matmul(example("float32[M, L]", "a"), example("float32[O, M]", "b")), False),
    (matmul(example("float32[M, 2]", "a"), example("float32[2]", "v")), True),
    (matmul(example("float32[M, 2, 2]", "a"), example("float32[L, 2, 2]", "b")), False),
    (gemm(example("float32[2, M]", "a"), X, transA=1), True),
    (gemm(example("float32[M, 2]", "a"), X, example("float32[L, 2]", "c")), False),
    (gemm(example("float32[M, 2]", "a"), X, example("float32[2]", "c")), True),
    (gather(X, ints(0)), False),
    (reshape(X, ints(4)), True),
    (reshape(example("float32[M]", "a"), ints(2, 2)), False),
    (reshape(X, example("int64[1]", "to")), False),
]  # fmt: skip


@pytest.mark.parametrize(("node", "safe"), FITS)
def test_what_is_proven_not_to_fail(node: Node, safe: bool) -> None:
    assert never_fails(node) is safe


# Loops of few iterations


def test_a_short_loop_is_written_out() -> None:
    node = loop(constant(3), YES, X, body=body((X,), (), add(X, X), neg(X), K, go=GO), outputs=3)
    made = ran(*results(node))
    assert not {"Loop"} & set(names(*made))
    x2 = add(X, X)
    assert made[0] is add(add(x2, x2), add(x2, x2))
    assert made[2].constant is not None and made[2].constant.array.tolist() == [0, 1, 2]


def test_a_scan_of_few_slices_is_written_out() -> None:
    state, item = example("float32[2]", "s"), example("float32[2]", "i")
    inner = Body.close((state, item), (), (add(state, item), mul(state, item)))
    node = scan(
        state, X, body=inner, num_scan_inputs=1, scan_input_axes=(1,), scan_output_axes=(-1,),
        scan_input_directions=(1,), scan_output_directions=(1,), outputs=2,
    )  # fmt: skip
    made = ran(*results(node))
    assert "Scan" not in names(*made)


def test_a_long_loop_is_not_written_out() -> None:
    def doubled(trips: int) -> Node:
        node: Node = loop(constant(trips), None, X, body=body((X,), (), add(X, neg(X))))
        return node

    assert "Loop" not in names(*ran(doubled(16)))
    assert ran(doubled(17)) == (doubled(17),)
    assert ran(doubled(17), passes=[Loops(unroll=34)])[0].op.name == "Add"


def test_a_loop_that_may_stop_is_not_written_out() -> None:
    go = less(reduce_sum(X, keepdims=0), TOP)
    for cond, going in ((P, YES), (YES, go), (None, go)):
        node = loop(constant(2), cond, X, body=body((X,), (), add(X, X), go=going))
        assert ran(node) == (node,)


def test_huge_loops_cost_nothing() -> None:
    node = loop(constant(2**62), None, filled(1, 2, 2), body=body((X,), (), add(X, X)))
    graph = Graph((), (node,), ("y",))
    assert run_pipeline(graph, ALL, Context(strict=True)).outputs == (node,)


# Loops that do not run, values that do not change, outputs that nobody takes


def test_a_loop_that_never_runs() -> None:
    for trips, cond in ((constant(0), None), (constant(-1), YES), (N, constant(False))):
        node = loop(trips, cond, X, body=body((X,), (), add(X, X), neg(X)), outputs=2)
        last, stacked = ran(*results(node))
        assert last is X
        assert stacked.constant is not None and stacked.shape == (0, 2, 2)


def test_a_value_that_never_changes_is_captured() -> None:
    node = loop(N, None, X, Y, body=body((X, Y), (), mul(X, neg(Y)), Y), outputs=2)
    made = ran(*results(node))
    assert made[1] is Y
    assert names(made[0]) == ["Neg", "Loop"]
    assert made[0].inputs[2:] == (X, neg(Y))


def test_a_value_that_is_set_to_what_it_was_is_captured() -> None:
    other = example("float32[2, 2]", "other")
    node = loop(N, None, X, Y, Y, body=body((X, other), (Y,), mul(X, other), Y), outputs=2)
    made = ran(*results(node))
    assert (made[1], made[0].inputs[2:]) == (Y, (X, Y))
    changed = loop(N, None, X, Z, Y, body=body((X, other), (Y,), mul(X, other), Y), outputs=2)
    assert ran(*results(changed)) == results(changed)


def test_what_nobody_takes_is_dropped() -> None:
    sums, shown = add(Y, X), exp(X)
    node = loop(N, None, X, Y, body=body((X, Y), (), add(X, X), sums, shown, K), outputs=4)
    last, counted = ran(out(node, 0), out(node, 3))
    assert last.inputs[0] is counted.inputs[0]
    assert inside(last) == ["Add"]
    assert last.inputs[0].attrs["outputs"] == 2
    (both,) = ran(out(node, 1))  # y is made of x
    assert inside(both) == ["Add", "Add"]


def test_what_the_condition_needs_is_kept() -> None:
    go = less(reduce_sum(Y, keepdims=0), TOP)
    node = loop(N, YES, X, Y, body=body((X, Y), (), add(X, X), add(Y, Y), go=go), outputs=2)
    (made,) = ran(out(node, 0))
    assert made is out(node, 0)


def test_what_a_scan_stacks_for_nobody_is_dropped() -> None:
    state, item = example("float32[2]", "s"), example("float32[2]", "i")
    table = example("float32[2, M]", "table")
    made = add(state, item), mul(state, item), neg(item)
    node = scan(
        state, table, body=Body.close((state, item), (), made), num_scan_inputs=1,
        scan_input_axes=(1,), scan_output_axes=(0, 1), outputs=3,
    )  # fmt: skip
    (left,) = ran(out(node, 2))
    assert left.op.name == "Scan"
    assert (inside(left), left.attrs["scan_output_axes"]) == (["Neg"], (1,))


def test_the_body_knows_that_the_condition_holds() -> None:
    chosen = if_(GO, X, then_branch=Body.close((), (X,), (neg(X),)),
                 else_branch=Body.close((), (X,), (exp(X),)))  # fmt: skip
    (made,) = ran(loop(N, P, X, body=body((X,), (), chosen, go=GO)))
    assert inside(made) == ["Neg"]


def test_types_may_stay_as_they_were() -> None:
    loose = example("float32[?, 2]", "loose")
    node = loop(constant(2), None, X, body=body((loose,), (), add(loose, loose)))
    (made,) = ran(node)
    assert made.derived_type == TensorType(DType.FLOAT32, (2, 2))


def test_an_output_of_several_may_become_better_known() -> None:
    """With the constant that it captures in it, the body is seen to go on."""
    go = example("bool[]", "more")
    node = loop(constant(2), YES, X, YES, body=body((X,), (go,), add(X, X), X, go=go), outputs=2)
    assert node.derived_type == TupleType((X.type, TensorType(DType.FLOAT32, (None, 2, 2))))
    pruned = ran(*results(node), passes=[Prune()])
    assert pruned[1].derived_type == TensorType(DType.FLOAT32, (2, 2, 2))
