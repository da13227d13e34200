"""From graphs to recordings: shapes that content decides, nodes run as a whole, what is known."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphopt
from graphopt.backends import reference
from graphopt.backends.executable import Executable
from graphopt.backends.numpy import lowering
from graphopt.body import Body
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.op import Array, Xp, op
from graphopt.ops.arithmetic import add, div
from graphopt.ops.cast import cast
from graphopt.ops.control import if_
from graphopt.ops.functions import exp, neg, sqrt
from graphopt.ops.generate import constant_of_shape, one_hot, range_
from graphopt.ops.indexing import gather, gather_elements, gather_nd
from graphopt.ops.logic import equal, greater
from graphopt.ops.padding import pad
from graphopt.ops.reduction import reduce_sum
from graphopt.ops.selection import top_k
from graphopt.ops.shape import expand, reshape, unsqueeze
from graphopt.ops.slicing import concat, slice_, tile
from graphopt.structural import constant, graph_input, out
from graphopt.types import DType, Type
from tests.backends.numpy.programs import (
    check_equal,
    poison,
    program_of,
    watched_arenas,
    whole_nodes,
)
from tests.ops.harness import tensor

X = graph_input("x", tensor("float32", 4))
I64 = DType.INT64
COUNT = cast(reduce_sum(X, keepdims=0), to=I64)
SIZE = unsqueeze(COUNT, constant([0], I64))
FLOATS = constant(np.arange(6, dtype=np.float32).reshape(3, 2))


@op("Long", domain="test")
def long(xp: Xp, x: Array, *, outputs: int = 2) -> tuple[Array, ...]:
    """x after many steps, and x itself."""
    made = x
    for _ in range(lowering.MAX_CALLS + 1):
        made = made + 1
    return made, x


@long.infer
def _(x: Node, *, outputs: int) -> tuple[Type, ...]:
    return (x.derived_type, x.derived_type)


def graph(*outputs: Node, inputs: tuple[Node, ...] = (X,)) -> Graph:
    return Graph(inputs, outputs, tuple(f"y{k}" for k in range(len(outputs))))


def check(made: Graph, *calls: tuple[Array, ...]) -> Executable:
    """All calls, twice in turn and over rubbish, give what the reference gives."""
    with watched_arenas() as arenas:
        run = graphopt.compile(made, threads=1)
        for arrays in calls * 2:
            wanted = reference.run(made, dict(zip(made.input_names, arrays, strict=True)))
            check_equal(run(*arrays), wanted)
            poison(arenas)
    return run


def used(node: Node) -> Node:
    """Something that is computed from a value, over memory of its shape."""
    made: Node = exp(sqrt(cast(node, to=DType.FLOAT32)))
    return made


@pytest.mark.parametrize(
    "node",
    [
        range_(constant(0, I64), COUNT, constant(1, I64)),
        slice_(X, constant([0], I64), SIZE),
        constant_of_shape(SIZE),
        tile(X, SIZE),
        pad(X, concat(SIZE, SIZE, axis=0)),
        out(top_k(X, SIZE), 0),
        one_hot(constant([0, 1], I64), SIZE, constant(np.array([0, 1], np.float32))),
        expand(X, concat(SIZE, constant([4], I64), axis=0)),
        reshape(X, concat(SIZE, constant([-1], I64), axis=0)),
        if_(
            greater(COUNT, constant(2, I64)),
            X,
            then_branch=Body.close((), (X,), [X]),
            else_branch=Body.close((), (X,), [concat(X, X, axis=0)]),
        ),
    ],
    ids=lambda node: node.label.split("@")[0],
)
def test_shapes_that_floats_decide(node: Node) -> None:
    """Floats are never asked for: what follows from them is run as a whole, at any content."""
    two, four = np.full(4, 0.5, np.float32), np.ones(4, np.float32)
    run = check(graph(used(node)), (two,), (four,), (two,))
    assert not run.by_value
    assert len(run._programs) == 1  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("take", [gather, gather_nd, gather_elements])
def test_known_floats_at_indices_that_are_not(take: Callable[..., Any]) -> None:
    """Indexing a constant by an input is recorded; no program is made for each content."""
    at = graph_input("at", tensor("int64", 2, 2))
    made = graph(used(take(FLOATS, at)), inputs=(at,))
    run = check(made, (np.array([[0, 1], [2, 0]]),), (np.array([[1, 1], [0, 0]]),))
    assert not run.by_value
    assert whole_nodes(program_of(run)) == []


def test_a_rate_by_which_a_branch_is_chosen() -> None:
    rate = graph_input("rate", tensor("int64"))
    branches = {
        "then_branch": Body.close((), (X,), [concat(X, X, axis=0)]),
        "else_branch": Body.close((), (X,), [neg(X)]),
    }
    chosen = if_(equal(rate, constant(16000, I64)), X, **branches)
    made = graph(used(chosen), inputs=(X, rate))
    x = np.ones(4, np.float32)
    run = check(made, (x, np.array(16000)), (x, np.array(8000)))
    assert run.by_value == {1}
    assert whole_nodes(program_of(run)) == []


def test_a_whole_node_that_hands_its_operand_on() -> None:
    node = long(exp(X))
    made = graph(add(out(node, 1), neg(used(used(out(node, 0))))), out(node, 1))
    run = check(made, (np.ones(4, np.float32),), (np.zeros(4, np.float32),))
    assert whole_nodes(program_of(run)) == ["Long"]


def test_what_is_known_is_computed_once_and_in_silence() -> None:
    zero = constant(np.zeros(4, np.float32))
    made = graph(add(X, div(zero, zero)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = check(made, (np.ones(4, np.float32),))
    assert len(program_of(run).recording.calls) == 1
