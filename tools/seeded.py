"""Seeded random parameters in place of constant ones.

The `light_*` models that ship with onnx have weights that are all alike (ConstantOfShape), so that
their outputs hardly depend on the input and a check on them is blind. This puts random weights and
batch-normalization statistics in their place, scaled so that activations neither die nor explode.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

Array = np.ndarray[Any, np.dtype[np.float32]]


def seeded(model: ModelProto, seed: int = 0) -> ModelProto:
    """A copy of a model with every float parameter drawn anew; shapes and nodes are the same.

    Parameters are float initializers of more than one element and outputs of ConstantOfShape.
    """
    made = ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    shapes = dict(_parameter_shapes(graph))
    roles = _roles(graph, shapes)
    rng = np.random.default_rng(seed)
    drawn = {name: draw(rng, roles.get(name, ""), shape) for name, shape in shapes.items()}
    kept_nodes = [node for node in graph.node if node.output[0] not in drawn]
    kept = [item for item in graph.initializer if item.name not in drawn]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept_nodes)
    graph.initializer.extend(kept)
    graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in drawn.items())
    if made.ir_version < 4:
        listed = {item.name for item in graph.input}
        graph.input.extend(
            onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape)
            for name, array in drawn.items()
            if name not in listed
        )
    _expose_logits(graph)
    return made


def _expose_logits(graph: Any) -> None:
    """Make what a final Softmax is given an output: saturated, it would hide every difference."""
    last = graph.node[-1]
    if last.op_type == "Softmax":
        name = last.input[0]
        graph.output.append(onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, None))


def _parameter_shapes(graph: Any) -> Iterator[tuple[str, tuple[int, ...]]]:
    held = {item.name: item for item in graph.initializer}
    for item in graph.initializer:
        if item.data_type == TensorProto.FLOAT and math.prod(item.dims) > 1:
            yield item.name, tuple(item.dims)
    for node in graph.node:
        if node.op_type == "ConstantOfShape" and node.input[0] in held and _is_float(node):
            yield node.output[0], tuple(numpy_helper.to_array(held[node.input[0]]).tolist())


def _is_float(node: NodeProto) -> bool:
    return not node.attribute or node.attribute[0].t.data_type == TensorProto.FLOAT


def _roles(graph: Any, parameters: dict[str, Any]) -> dict[str, str]:
    """What each parameter is for: the op that takes it and the position, through Unsqueeze."""
    roles: dict[str, str] = {}
    aliases: dict[str, str] = {}
    for node in graph.node:
        if node.op_type in ("Unsqueeze", "Reshape") and node.input[0] in parameters:
            aliases[node.output[0]] = node.input[0]
            continue
        for position, name in enumerate(node.input):
            source = aliases.get(name, name)
            if source in parameters:
                roles[source] = f"{node.op_type}:{position}"
    return roles


def draw(rng: np.random.Generator, role: str, shape: tuple[int, ...]) -> Array:
    """Random elements for a parameter of this role."""
    normal = rng.standard_normal(shape, np.float32)
    if role in ("BatchNormalization:1", "Mul:0", "Mul:1"):
        return np.float32(1) + np.float32(0.2) * normal
    if role == "BatchNormalization:4":
        return np.float32(0.5) + rng.random(shape, np.float32)
    if role in ("Conv:1", "Gemm:1", "MatMul:1"):
        fan_in = math.prod(shape[1:]) if role != "MatMul:1" else shape[0]
        return normal * np.float32(math.sqrt(2 / fan_in))
    return np.float32(0.1) * normal
