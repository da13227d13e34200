"""Sizes made concrete: everywhere, in bodies and tables too, and contradictions refused."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt import dims
from graphopt.body import Body
from graphopt.errors import SpecializeError
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.op import Array, Xp, op
from graphopt.records import Derivation, ModelInfo, Record, Tables
from graphopt.specialize import specialize
from graphopt.structural import graph_input, refine
from graphopt.tensor import Tensor
from graphopt.types import DType, SequenceType, TensorType, Type
from graphopt.verify import verify
from tests.toy import add, forget, graph_of, neg

N, M = dims.symbol("N"), dims.symbol("M")
F32 = DType.FLOAT32


def value(name: str, *shape: dims.Size | None) -> Node:
    return graph_input(name, TensorType(F32, shape))


X, Y = value("x", N, 4), value("y", N + 1, M, None)


def shapes(graph: Graph) -> list[object]:
    return [node.derived_type.shape for node in graph.inputs if isinstance(node.type, TensorType)]  # type: ignore[union-attr]  # pyright: ignore


def test_names_are_fixed_in_all_inputs() -> None:
    graph = graph_of(neg(X), inputs=(X, Y))
    made = specialize(graph, {"N": 2})
    assert shapes(made) == [(2, 4), (3, M, None)]
    assert made.outputs == (neg(value("x", 2, 4)),)
    verify(made)


def test_shape_fixes_the_names_in_it() -> None:
    graph = graph_of(neg(X), inputs=(X, Y))
    assert shapes(specialize(graph, shapes={"x": (5, 4)})) == [(5, 4), (6, M, None)]
    assert shapes(specialize(graph, shapes={"y": (3, 7, 9)})) == [(N, 4), (3, 7, 9)]


def test_nothing_to_fix_gives_the_same_graph() -> None:
    graph = graph_of(neg(X), inputs=(X,))
    assert specialize(graph) is graph
    assert specialize(graph, {}, {}) is graph


def test_rank_becomes_known() -> None:
    x = graph_input("x", TensorType(F32, None))
    assert shapes(specialize(graph_of(x, inputs=(x,)), shapes={"x": (2, 3)})) == [(2, 3)]


@pytest.mark.parametrize(
    ("sizes", "wanted", "message"),
    [
        ({"K": 2}, {}, "has a dimension 'K'; it has M, N"),
        ({"N": 2}, {"x": (3, 4)}, "input 'x': axis 0 cannot be 3: N is 2"),
        ({}, {"x": (3, 5)}, "input 'x': axis 1 cannot be 5: it is 4"),
        ({}, {"x": (3,)}, "input 'x': .* 2 axes"),
        ({}, {"z": (3,)}, "no input 'z'"),
        ({}, {"s": (3,)}, "input 's': it is a sequence"),
    ],
)
def test_contradictions_name_the_input(
    sizes: dict[str, int], wanted: dict[str, tuple[int, ...]], message: str
) -> None:
    s = graph_input("s", SequenceType(TensorType(F32, (1,))))
    with pytest.raises(SpecializeError, match=message):
        specialize(graph_of(neg(X), inputs=(X, Y, s)), sizes, wanted)


def test_sizes_that_the_program_refuses() -> None:
    @op("ToyPositive", domain="toy")
    def positive(xp: Xp, x: Array) -> Array:
        """x"""
        return x

    @positive.infer
    def _(x: Node) -> Type:
        from graphopt.op import refuse

        if x.shape is not None and x.shape[0] == 0:
            raise refuse("no rows")
        return x.derived_type

    with pytest.raises(SpecializeError, match="do not fit: ToyPositive: no rows"):
        specialize(graph_of(positive(X), inputs=(X,)), {"N": 0})


def test_types_in_attributes_and_bodies_follow() -> None:
    @op("ToyRun", domain="toy")
    def run_body(xp: Xp, x: Array, *, body: Body) -> Array:
        """The body's output on x."""
        return xp.call(body, [x])[0]

    @run_body.infer
    def _(x: Node, *, body: Body) -> Type:
        return body.result_types([x])[0]

    p = value("p", N, 4)
    body = Body.close((p,), (), (neg(p),))
    refined = refine(forget(X), type=TensorType(F32, (N, 4)))
    made = specialize(graph_of(run_body(X, body=body), refined, inputs=(X,)), {"N": 2})
    q = value("q", 2, 4)
    assert made.outputs[0].attrs["body"] is Body.close((q,), (), (neg(q),))
    assert made.outputs[0].shape == (2, 4)
    assert made.outputs[1].shape == (2, 4)
    verify(made)


def test_tables_follow() -> None:
    old, new = add(neg(neg(X)), X), add(X, X)
    record = Record(1, "Add", ("x", "x"), ("y",))
    tables = Tables(
        info=ModelInfo(declared=(("y", TensorType(F32, (N, 4))),)),
        names={old: "y"},
        records={old: (record,)},
        derivations={new: Derivation("rule", (old,))},
        origin=(old,),
    )
    graph = Graph((X,), (new,), ("y",), tables=tables)
    made = specialize(graph, {"N": 2})
    x = made.inputs[0]
    assert made.tables.names == {add(neg(neg(x)), x): "y"}
    assert made.history(made.outputs[0]) == ["rule", "Add"]
    assert made.tables.origin == (add(neg(neg(x)), x),)
    assert made.tables.info is not None
    assert made.tables.info.declared == (("y", TensorType(F32, (2, 4))),)


def test_default_must_fit() -> None:
    tensor = Tensor.of(np.zeros((3, 4), np.float32))
    graph = Graph((X,), (neg(X),), ("y",), defaults={X: tensor})
    assert specialize(graph, {"N": 3}).defaults == {value("x", 3, 4): tensor}
    with pytest.raises(SpecializeError, match="input 'x': its default has shape"):
        specialize(graph, {"N": 2})
