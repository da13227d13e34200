"""Random models: what is written is valid, computes the same, and is loaded as the same graph."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from graphopt.frontends.onnx import load
from graphopt.verify import verify
from tests.frontends.onnx.models import assert_same, changed, run, written

SHAPE = (2, 4)
UNARY = ("Neg", "Abs", "Relu", "Sigmoid", "Identity", "Dropout", "Softmax", "Exp")
BINARY = ("Add", "Mul", "Sub", "Max")


@dataclass
class Writer:
    """Draws nodes over values that all have one shape; labels may be empty."""

    draw: st.DrawFn
    prefix: str = ""
    count: int = 0
    names: list[str] = field(default_factory=list[str])
    nodes: list[onnx.NodeProto] = field(default_factory=list[onnx.NodeProto])
    initializers: list[TensorProto] = field(default_factory=list[TensorProto])

    def name(self) -> str:
        self.count += 1
        return f"{self.prefix}{self.draw(st.sampled_from(['', '/a/', 'x.']))}v{self.count}"

    def some(self) -> str:
        return self.draw(st.sampled_from(self.names))

    def node(
        self, operator: str, inputs: list[str], count: int = 1, **attributes: Any
    ) -> list[str]:
        """Write a node; its outputs, which nothing else may read until they are in `names`."""
        outputs = [self.name() for _ in range(count)]
        label = self.draw(st.sampled_from(["", outputs[0], f"node {outputs[0]}"]))
        self.nodes.append(helper.make_node(operator, inputs, outputs, label, **attributes))
        return outputs

    def step(self, depth: int) -> None:
        kinds = ["unary", "unary", "binary", "binary", "constant", "initializer", "split", "axes"]
        kind = self.draw(st.sampled_from(kinds + ["if"] * (depth < 2)))
        match kind:
            case "unary":
                made = self.node(self.draw(st.sampled_from(UNARY)), [self.some()])
            case "binary":
                made = self.node(self.draw(st.sampled_from(BINARY)), [self.some(), self.some()])
            case "constant" | "initializer":
                made = self.constant(kind == "initializer")
            case "split":
                halves = self.node("Split", [self.some()], 2, axis=1)
                made = self.node("Concat", halves[::-1], axis=1)
            case "axes":
                made = self.node("ReduceMean", [self.some()], axes=[0], keepdims=1)
                made = self.node("Add", [*made, self.some()])
            case _:
                made = self.branches(depth)
        self.names += made

    def constant(self, initializer: bool) -> list[str]:
        number = self.draw(st.sampled_from([0.0, -0.0, 1.0, 0.1]))
        tensor = numpy_helper.from_array(np.full(SHAPE, number, np.float32))
        if not initializer:
            return self.node("Constant", [], value=tensor)
        tensor.name = self.name()
        self.initializers.append(tensor)
        return [tensor.name]

    def branches(self, depth: int) -> list[str]:
        graphs: list[onnx.GraphProto] = []
        for branch in ("t", "e"):
            prefix = f"{self.prefix}{self.count}{branch}/"
            inner = Writer(self.draw, prefix, names=list(self.names))
            for _ in range(self.draw(st.integers(1, 3))):
                inner.step(depth + 1)
            (last,) = inner.node("Identity", [inner.some()])
            output = helper.make_tensor_value_info(last, TensorProto.FLOAT, None)
            graphs.append(helper.make_graph(inner.nodes, prefix, [], [output], inner.initializers))
        return self.node("If", ["c"], then_branch=graphs[0], else_branch=graphs[1])


@st.composite
def models(draw: st.DrawFn) -> onnx.ModelProto:
    """Models over inputs x (float) and c (bool), at opsets where ReduceMean has its axes within."""
    opset = draw(st.sampled_from([11, 13, 16, 17]))
    writer = Writer(draw, names=["x"])
    for _ in range(draw(st.integers(1, 8))):
        writer.step(0)
    made = sorted(set(writer.names) - {"x"})
    outputs = draw(st.lists(st.sampled_from(made), min_size=1, max_size=3, unique=True))
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    inputs = [
        helper.make_tensor_value_info(
            "x", TensorProto.FLOAT, ["N", 4] if draw(st.booleans()) else SHAPE
        ),
        helper.make_tensor_value_info("c", TensorProto.BOOL, []),
    ]
    graph = helper.make_graph(writer.nodes, "g", inputs, ports, writer.initializers)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", opset)])


@pytest.mark.fuzz
@given(proto=models(), c=st.booleans())
def test_what_is_written_computes_the_same(proto: onnx.ModelProto, c: bool) -> None:
    graph = load(proto.SerializeToString())
    verify(graph)
    feeds = {"x": np.linspace(-2, 2, 8, dtype=np.float32).reshape(SHAPE), "c": np.array(c)}
    expected = run(proto, feeds)
    for one in (graph, changed(graph)):
        made = written(one)
        assert_same(run(made, feeds), expected)
        verify(load(made.SerializeToString()))


@pytest.mark.fuzz
@given(proto=models())
def test_writing_twice_gives_the_same_bytes(proto: onnx.ModelProto) -> None:
    first = written(changed(load(proto.SerializeToString())))
    again = written(changed(load(first.SerializeToString())))
    third = written(changed(load(again.SerializeToString())))
    assert third == again
    assert len(third.graph.node) <= len(first.graph.node)
