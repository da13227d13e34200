"""Operators at one opset: run by others as a model, and by graphopt as nodes of the newest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from graphopt.backends import reference
from graphopt.frontends.onnx.call import Call
from graphopt.frontends.onnx.operators import values_of
from graphopt.frontends.onnx.opsets import lower
from graphopt.graph import Graph
from graphopt.ir import Node, types_of
from graphopt.structural import absent, constant, graph_input
from graphopt.tensor import Tensor
from graphopt.types import DType, TensorType, dtype_of
from tools.node_tests import is_list

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Const:
    """An input that is a constant of the model."""

    value: Any
    dtype: str = "float32"

    @property
    def array(self) -> Array:
        """The content."""
        return np.asarray(self.value, self.dtype)


Input = Array | Const | None


@dataclass(frozen=True, eq=False)
class Case:
    """An operator as some opset has it; inputs are arrays to feed, constants, or left out."""

    op_type: str
    version: int
    inputs: Sequence[Input]
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    outputs: int = 1

    def __str__(self) -> str:
        modes = [str(value) for value in self.attributes.values()]
        return "-".join([self.op_type, str(self.version), *modes]).replace(" ", "")

    @property
    def feeds(self) -> dict[str, Array]:
        """The arrays by the names of the inputs."""
        named = ((f"x{k}", item) for k, item in enumerate(self.inputs))
        return {name: item for name, item in named if isinstance(item, np.ndarray)}

    @property
    def call(self) -> Call:
        """The call over inputs of a graph and constants."""
        values: list[Node] = []
        for k, item in enumerate(self.inputs):
            match item:
                case None:
                    values.append(absent)
                case Const():
                    values.append(constant(item.array))
                case _:
                    values.append(
                        graph_input(f"x{k}", TensorType(dtype_of(item.dtype), item.shape))
                    )
        attributes = {k: tuple(v) if is_list(v) else v for k, v in self.attributes.items()}
        return Call(self.op_type, tuple(values), attributes, self.outputs)

    @property
    def values(self) -> tuple[Node, ...]:
        """The values as nodes of the newest opset."""
        return values_of(self.call, self.version)

    @property
    def model(self) -> onnx.ModelProto:
        """The operator as a model of its opset."""
        names = ["" if item is None else f"x{k}" for k, item in enumerate(self.inputs)]
        outputs = [f"y{k}" for k in range(self.outputs)]
        node = helper.make_node(self.op_type, names, outputs, **self.attributes)
        consts = [
            numpy_helper.from_array(item.array, f"x{k}")
            for k, item in enumerate(self.inputs)
            if isinstance(item, Const)
        ]
        return _model([node], self.feeds, outputs, consts, self.version)


def _model(
    nodes: Sequence[onnx.NodeProto],
    feeds: Mapping[str, Array],
    outputs: Sequence[str],
    constants: Sequence[onnx.TensorProto],
    version: int,
) -> onnx.ModelProto:
    inputs = [
        helper.make_tensor_value_info(name, dtype_of(array.dtype).code, array.shape)
        for name, array in feeds.items()
    ]
    ends = [onnx.ValueInfoProto(name=name) for name in outputs]
    graph = helper.make_graph(nodes, "case", inputs, ends, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=8)


def evaluate(values: Sequence[Node], feeds: Mapping[str, Array]) -> tuple[Any, ...]:
    """What the reference backend makes of some values."""
    inputs = [
        graph_input(name, TensorType(dtype_of(array.dtype), array.shape))
        for name, array in feeds.items()
    ]
    names = tuple(f"y{k}" for k in range(len(values)))
    return reference.run(Graph(tuple(inputs), tuple(values), names), feeds)


def run_elsewhere(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> list[Any]:
    """What ONNX Runtime makes of a model, or ONNX's reference where that has no kernel."""
    import onnxruntime
    from onnx.reference import ReferenceEvaluator

    library: Any = onnxruntime
    options = library.SessionOptions()
    options.log_severity_level = 4
    content = model.SerializeToString()
    try:
        session = library.InferenceSession(content, options, ["CPUExecutionProvider"])
    except library.capi.onnxruntime_pybind11_state.NotImplemented:
        evaluator: Any = ReferenceEvaluator(model)
        return list(evaluator.run(None, dict(feeds)))
    return list(session.run(None, dict(feeds)))


class Lowered:
    """A model of some opset made of values of the newest."""

    def __init__(self, values: Sequence[Node], version: int) -> None:
        self.version, self.count = version, 0
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.names: dict[Node, str] = {absent: ""}
        self.outputs = [self.name(value) for value in values]

    def model(self, feeds: Mapping[str, Array]) -> onnx.ModelProto:
        """The model over inputs that take `feeds`."""
        return _model(self.nodes, feeds, self.outputs, self.constants, self.version)

    def name(self, value: Node) -> str:
        """What a value is called; its node is added when it is not there yet."""
        if value not in self.names:
            self.names[value] = self._add(value)
        return self.names[value]

    def _add(self, value: Node) -> str:
        self.count += 1
        name = f"v{self.count}"
        if value.op.name == "Input":
            return str(value.attrs["name"])
        if value.constant is not None:
            self.constants.append(numpy_helper.from_array(value.constant.array, name))
            return name
        if value.op.name == "Out":
            of, index = self.name(value.inputs[0]), value.attrs["index"]
            return f"{of}_{index}" if index else of
        call = lower(call_of(value), self.version)
        inputs = [self.name(item) for item in call.inputs]
        names = [name, *(f"{name}_{k}" for k in range(1, call.outputs))]
        plain = {key: plainly(item) for key, item in call.attributes.items() if item is not None}
        self.nodes.append(helper.make_node(call.op_type, inputs, names, **plain))
        return name


def call_of(value: Node) -> Call:
    """A node as a call of the newest opset."""
    codes = {k: v.code if isinstance(v, DType) else v for k, v in value.attrs.items()}
    codes.pop("outputs", None)
    return Call(value.op.name, value.inputs, codes, len(types_of(value)), value.op.domain)


def plainly(value: Any) -> Any:
    """An attribute as onnx.helper takes it."""
    return numpy_helper.from_array(value.array) if isinstance(value, Tensor) else value


def same(found: Sequence[Any], wanted: Sequence[Any]) -> None:
    """Raise AssertionError unless arrays are of one dtype and shape and as good as equal."""
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6)
