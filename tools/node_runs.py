"""The ways in which `tools.node_tests` runs a model: as it is, optimized, folded, written anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

import graphopt
from graphopt.backends import reference
from graphopt.frontends.onnx import from_proto, to_proto

Run = Callable[[onnx.ModelProto, Mapping[str, Any]], Sequence[Any]]


def run_reference(model: onnx.ModelProto, feeds: Mapping[str, Any]) -> Sequence[Any]:
    """The outputs of a model, by the reference backend."""
    return reference.run(from_proto(model), feeds)


def run_numpy(model: onnx.ModelProto, feeds: Mapping[str, Any]) -> Sequence[Any]:
    """The outputs of a model, by the numpy backend."""
    return graphopt.compile(from_proto(model), "numpy")(**feeds)


def optimized(model: onnx.ModelProto, level: str) -> graphopt.Graph:
    """What a level makes of a model. Raises what a pass raises."""
    return graphopt.optimize(from_proto(model), level, strict=True)


def run_optimized(model: onnx.ModelProto, feeds: Mapping[str, Any]) -> Sequence[Any]:
    """The outputs of what O3 makes of a model."""
    return reference.run(optimized(model, "O3"), feeds)


def run_folded(model: onnx.ModelProto, feeds: Mapping[str, Any]) -> Sequence[Any]:
    """The outputs of what O2 makes of a model whose inputs are constants."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    del fixed.graph.input[:]
    for port in model.graph.input:
        constant = _constant(port, feeds.get(port.name))
        if constant is None:
            fixed.graph.input.append(port)
        else:
            fixed.graph.initializer.append(constant)
    left = {port.name: feeds[port.name] for port in fixed.graph.input if port.name in feeds}
    return reference.run(optimized(fixed, "O2"), left)


def _constant(port: onnx.ValueInfoProto, value: Any) -> onnx.TensorProto | None:
    """An input's value as an initializer; None for what cannot be one: sequences, optionals."""
    if value is None or isinstance(value, list) or not port.type.HasField("tensor_type"):
        return None
    made = numpy_helper.from_array(np.asarray(value), port.name)
    return made if made.data_type == port.type.tensor_type.elem_type else None


def run_exported(model: onnx.ModelProto, feeds: Mapping[str, Any]) -> Sequence[Any]:
    """The outputs of what O2 makes of a model, written as ONNX and read again."""
    written = to_proto(optimized(model, "O2"))
    return reference.run(from_proto(written), feeds)


RUNS: dict[str, Run] = {
    "reference": run_reference,
    "numpy": run_numpy,
    "optimized": run_optimized,
    "folded": run_folded,
    "exported": run_exported,
}
"""The ways by name; the tests must pass in each."""

AS_THEY_ARE = ("reference", "numpy")
"""The ways in which no pass may make a test pass that else would not."""
