"""Pruning: outputs that nobody takes and captures that no body needs."""

from __future__ import annotations

from graphopt.body import Body
from graphopt.graph import Graph
from graphopt.ir import Node, walk
from graphopt.ops.arithmetic import add, mul
from graphopt.ops.control import if_
from graphopt.ops.pool import max_pool
from graphopt.ops.selection import top_k
from graphopt.passes.prune import Prune
from graphopt.pipeline import Context, run_pipeline
from graphopt.rewriting.examples import example, filled, ints
from graphopt.structural import graph_input, out
from graphopt.types import TensorType


def pruned(*outputs: Node) -> tuple[Node, ...]:
    """The outputs after pruning."""
    inputs = tuple(node for node in walk(outputs) if node.op.name == "Input")
    names = tuple(f"y{k}" for k in range(len(outputs)))
    return run_pipeline(Graph(inputs, outputs, names), [Prune()], Context(strict=True)).outputs


def test_an_output_that_nobody_takes_is_dropped() -> None:
    x = example("float32[1, 3, 8, 8]")
    both = max_pool(x, kernel_shape=(2, 2), outputs=2)
    assert pruned(out(both, 0)) == (max_pool(x, kernel_shape=(2, 2)),)


def test_an_output_that_is_taken_stays() -> None:
    both = max_pool(example("float32[1, 3, 8, 8]"), kernel_shape=(2, 2), outputs=2)
    assert pruned(out(both, 1)) == (out(both, 1),)


def test_an_op_that_always_has_all_outputs_keeps_them() -> None:
    both = top_k(example("float32[8]"), ints(2))
    assert pruned(out(both, 0)) == (out(both, 0),)


def test_captures_are_dropped_when_constant_or_unused_or_repeated() -> None:
    p, x = example("bool[]", "p"), example("float32[3]")
    a, b, c, d = (graph_input(f"c{k}", TensorType(x.dtype, (3,))) for k in range(4))
    then_branch = Body.close((), (a, b, c, d), (add(a, b),))
    else_branch = Body.close((), (a, b, c, d), (mul(a, d),))
    two = filled(2, 3)
    (made,) = pruned(if_(p, x, two, x, x, then_branch=then_branch, else_branch=else_branch))
    assert made.inputs == (p, x)
    assert made.attrs["then_branch"] is Body.close((), (a,), (add(a, two),))
    assert made.attrs["else_branch"] is Body.close((), (a,), (mul(a, a),))
