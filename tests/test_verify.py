"""Each invariant of a graph has a graph that breaks it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from graphopt.body import Body
from graphopt.errors import VerifyError
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.op import op
from graphopt.structural import bound, constant, graph_input, results, state
from graphopt.tensor import Tensor
from graphopt.types import DType, ResourceType, TensorType, Type
from graphopt.verify import verify
from tests.strategies import F32, assign, draw_from, join, neg, read

X, Y = graph_input("x", F32), graph_input("y", F32)
V = state("v", "variable")
GOOD = Graph((X, Y), (join(neg(X), Y),), ("out",), effects=(assign(V, X),))


def test_well_formed_graph() -> None:
    verify(GOOD)
    verify(replace(GOOD, defaults={X: Tensor.of([1.0, 2.0], DType.FLOAT32)}))


def test_version_may_be_read_often_and_ended_once() -> None:
    verify(replace(GOOD, outputs=(join(read(V), read(V), V),)))


TWICE = graph_input("x", TensorType(DType.INT64, ()))
VERSION = ResourceType("variable")
SPLIT = Body(
    (VERSION,), (assign(bound(0, VERSION), constant(1.0)), assign(bound(0, VERSION), constant(2.0)))
)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (replace(GOOD, inputs=(X, Y, TWICE)), "two inputs are called 'x'"),
        (replace(GOOD, outputs=(X, X), output_names=("y", "y")), "two outputs are called 'y'"),
        (replace(GOOD, output_names=("y", "z")), "differ in number"),
        (replace(GOOD, inputs=(X, neg(Y))), "not an Input node"),
        (replace(GOOD, inputs=(X,)), "%y: the value belongs to another graph"),
        (replace(GOOD, outputs=(bound(0, F32),)), "escaped"),
        (replace(GOOD, defaults={X: Tensor.of([1])}), "default does not fit"),
        (replace(GOOD, defaults={neg(X): Tensor.of([1.0])}), "default does not fit"),
        (replace(GOOD, effects=(assign(V, X), assign(V, Y))), "2 nodes end the same version"),
        (replace(GOOD, effects=(assign(V, X), *results(draw_from(V)))), "2 nodes end the same"),
        (replace(GOOD, outputs=(join(X, body=SPLIT),)), "2 nodes end the same version"),
    ],
)
def test_violation_is_found(graph: Graph, message: str) -> None:
    with pytest.raises(VerifyError, match=message):
        verify(graph)


def test_type_that_is_not_derived_is_found() -> None:
    """A rule that does not answer the same twice, or a node that was tampered with."""
    answers = [TensorType(DType.INT8, ()), F32]

    @op("Fickle", domain="test")
    def fickle(xp: object, x: object) -> object:
        return x

    def rule(x: Node) -> Type:
        return answers.pop()

    fickle.infer(rule)
    with pytest.raises(VerifyError, match=r"the type is float32\[2\], derived is int8\[\]"):
        verify(Graph((X,), (fickle(X),), ("y",)))


def test_body_that_was_tampered_with_is_found() -> None:
    body = Body((F32,), (neg(bound(0, F32)), constant(41.0)))
    outputs = body.outputs
    try:
        body.outputs = (X,)
        with pytest.raises(VerifyError, match="outside"):
            verify(replace(GOOD, outputs=(join(X, body=body),)))
    finally:
        body.outputs = outputs
