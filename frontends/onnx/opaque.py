"""Nodes that are not understood: unknown operators, custom domains, and what is random.

They are kept as they are. Their types are what the model declares for their outputs, or what the
onnx package infers for an operator that it knows; else they are unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx
from onnx import checker, defs, shape_inference

from graphopt.errors import GraphoptError
from graphopt.frontends.onnx.emit import Emitter
from graphopt.frontends.onnx.external import Embedded
from graphopt.frontends.onnx.kinds import merged, read_type, write_type
from graphopt.frontends.onnx.tensors import write_tensor
from graphopt.ir import Node
from graphopt.records import Record
from graphopt.structural import opaque, results
from graphopt.types import UNKNOWN, Type

RESERVED = ("origin", "types")
"""Attributes that every opaque node has of its own; a model's of the same name are marked."""
MARK = "model's "
_REFUSALS = (
    checker.ValidationError,
    defs.SchemaError,
    shape_inference.InferenceError,
    KeyError,
    RuntimeError,
    ValueError,
)
"""What the onnx package raises where it does not know the types."""


def opaque_values(
    record: Record,
    inputs: tuple[Node, ...],
    attributes: Mapping[str, Any],
    declared: Mapping[str, Type],
    version: int,
) -> tuple[Node, ...]:
    """The values of a node that is kept as it is; `attributes` are its record's with bodies."""
    types = tuple(declared.get(name, UNKNOWN) for name in record.outputs)
    if UNKNOWN in types and defs.has(record.op_type, record.domain):
        inferred = _inferred(record, inputs, version)
        types = tuple(
            merged(inferred.get(name, UNKNOWN), kind)
            for name, kind in zip(record.outputs, types, strict=True)
        )
    attrs = {f"{MARK}{k}" if k in RESERVED else k: v for k, v in attributes.items()}
    while inputs and inputs[-1].is_absent and len(inputs) > len(record.inputs):
        inputs = inputs[:-1]
    return results(
        opaque(
            record.domain,
            record.op_type,
            inputs,
            origin=record.ordinal,
            types=types,
            attrs=attrs,
        )
    )


def own_attributes(node: Node) -> dict[str, Any]:
    """The attributes of an opaque node as its model has them."""
    return {k.removeprefix(MARK): v for k, v in node.attrs.items() if k not in RESERVED}


def _inferred(record: Record, inputs: tuple[Node, ...], version: int) -> dict[str, Type]:
    """What the onnx package derives for the outputs; empty where it derives nothing."""
    try:
        schema = defs.get_schema(record.op_type, version, record.domain)
        node = Emitter().node(record)
        types: dict[str, onnx.TypeProto] = {}
        known: dict[str, onnx.TensorProto] = {}
        for name, value in zip(record.inputs, inputs, strict=False):
            proto = write_type(value.derived_type)
            if proto is not None:
                types[name] = proto
            if (content := value.constant) is not None and content.size <= 64:
                known[name] = onnx.TensorProto(name=name)
                write_tensor(content, known[name], Embedded())
        opsets = [onnx.helper.make_opsetid(record.domain, version)]
        found = shape_inference.infer_node_outputs(schema, node, types, known, opset_imports=opsets)
        return {name: read_type(kind) for name, kind in found.items()}
    except (GraphoptError, *_REFUSALS):
        return {}
