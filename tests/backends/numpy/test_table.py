"""Every op of the table on NumPy programs gives what the reference gives, on its examples."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import graphopt
from graphopt import structural
from graphopt.errors import ExecutionError, GraphoptError
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.op import Op
from graphopt.ops import table
from graphopt.structural import constant, results
from graphopt.types import TensorType
from tests.backends.numpy import programs
from tests.ops import harness, oracle

Array = Any
OPS = [op for op in table().values() if op not in structural.OPS]

STRINGS = "strings have no place in an arena"
WHOLE = {
    "Loop": "when it ends depends on what it computes",
    "Cast": "from and to strings: parsing and printing have no `out`",
    "NonZero": "how many elements are not 0 depends on what they are",
    "Compress": "how many elements are kept depends on the condition",
    "Unique": "how many elements differ depends on what they are",
    "Inverse": "zeros, which tell what a function returns, have no inverse",
    "Solve": "zeros, which tell what a function returns, are singular",
    "Resize": STRINGS,
    "Where": STRINGS,
}
"""Ops that have examples which are run as a whole, and why they are not recorded."""

AXES = "the axes are an input, and the shape follows from them"
BY_VALUE = {
    "Loop": "how often the body runs is an input",
    "If": "a program is made for each of the two branches",
    "CumProd": "the axis is an input",
    "CumSum": "the axis is an input",
    "ReduceL1": AXES,
    "ReduceL2": AXES,
    "ReduceLogSum": AXES,
    "ReduceLogSumExp": AXES,
    "ReduceMax": AXES,
    "ReduceMean": AXES,
    "ReduceMin": AXES,
    "ReduceProd": AXES,
    "ReduceSum": AXES,
    "ReduceSumSquare": AXES,
}
"""Ops that have examples whose programs depend on what an input contains, and why."""

ULPS = 4
"""By how much elements may be off: NumPy rounds otherwise on strided memory, by an ulp or two."""

every_op = pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)


def graph_of(node: Node) -> Graph:
    made = results(node)
    names = tuple(f"y{k}" for k in range(len(made)))
    return Graph(tuple(harness.inputs_of(node)), made, names)


def cases(op: Op) -> Iterator[tuple[Graph, Node, list[Array], list[Array]]]:
    """The examples as graphs with inputs that the reference takes, and what it returns."""
    assert op.example is not None
    for node in op.example():
        for sizes in harness.bindings(node):
            for special in (False, True):
                given = harness.feeds(node, sizes, special=special, wide=special)
                if (wanted := expected(node, given)) is not None:
                    graph = graph_of(node)
                    yield graph, node, [given[item] for item in graph.inputs], wanted


def expected(node: Node, given: harness.Values) -> list[Array] | None:
    """What the reference makes of inputs; None where it refuses them."""
    try:
        return harness.outputs_of(node, harness.run(node, given))
    except ExecutionError:
        return None


def check(graph: Graph, node: Node, arrays: list[Array], wanted: list[Array]) -> set[str]:
    """Run a graph twice and compare; returns in which ways it is an exception.

    A second run meets memory that is full of rubbish: no step reads what it did not write. Nothing
    warns, whatever the numbers.
    """
    with programs.watched_arenas() as arenas, warnings.catch_warnings():
        warnings.simplefilter("error")
        run = graphopt.compile(graph, threads=1)
        run._find(tuple(arrays))  # pyright: ignore[reportPrivateUsage]
        program = programs.program_of(run)
        programs.check_no_objects(program)
        for _ in range(2):
            programs.poison(arenas)
            for actual, ideal in zip(run(*arrays), wanted, strict=True):
                check_output(actual, ideal, node)
    exceptions = {"whole": programs.whole_nodes(program), "by value": run.by_value}
    return {name for name, found in exceptions.items() if found}


def check_output(actual: Array, wanted: Array, node: Node) -> None:
    assert type(actual) is type(wanted)
    if oracle.elements_of(wanted) is None:
        assert actual.dtype == wanted.dtype
    facts = node.op.facts
    ulps = 0 if facts.moves else max(harness.tolerance(node), ULPS)
    harness.check_close(actual, wanted, ulps, overall=not facts.elementwise)


@every_op
def test_examples_agree_with_the_reference(op: Op) -> None:
    found: set[str] = set()
    count = 0
    for graph, node, arrays, wanted in cases(op):
        count += 1
        found |= check(graph, node, arrays, wanted)
    assert count, "the reference takes none of the examples"
    exceptions = {"whole": op.name in WHOLE, "by value": op.name in BY_VALUE}
    assert found == {name for name, expected in exceptions.items() if expected}


def with_constant(node: Node, index: int, value: Array) -> Node | None:
    """The same node with a constant in place of an input; None where its type rule refuses it."""
    operands = [None if item.is_absent else item for item in node.inputs]
    operands[index] = constant(value, node.inputs[index].dtype)
    try:
        made: Node = node.op(*operands, **node.attrs)
        return made
    except GraphoptError:
        return None


def partly_known(op: Op) -> Iterator[tuple[Graph, Node, list[Array], list[Array]]]:
    """The examples again, with one input after the other a constant."""
    assert op.example is not None
    for node in op.example():
        sizes = next(harness.bindings(node))
        given = harness.feeds(node, sizes)
        for index, item in enumerate(node.inputs):
            if item.op.name != "Input" or not isinstance(item.type, TensorType):
                continue
            if len(given) < 2 or (known := with_constant(node, index, given[item])) is None:
                continue
            if (wanted := expected(known, given)) is not None:
                graph = graph_of(known)
                yield graph, known, [given[each] for each in graph.inputs], wanted


@every_op
def test_examples_with_constants_agree_with_the_reference(op: Op) -> None:
    found: set[str] = set()
    for graph, node, arrays, wanted in partly_known(op):
        found |= check(graph, node, arrays, wanted)
    assert "whole" not in found or op.name in WHOLE
    assert "by value" not in found or op.name in BY_VALUE


def test_a_result_that_is_off_is_found() -> None:
    op = next(op for op in OPS if op.name == "Exp")
    graph, node, arrays, wanted = next(cases(op))
    (good,) = wanted
    bad = good.copy()
    bad.flat[0] = np.nextafter(bad.flat[0], np.inf) * good.dtype.type(1.001)
    with pytest.raises(AssertionError, match="is wanted"):
        check(graph, node, arrays, [bad])
