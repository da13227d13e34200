"""From records to protobuf messages: the structure of a model as it is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx
from onnx import defs

from graphopt.errors import UnsupportedError
from graphopt.frontends.onnx.external import Embedded, Sink
from graphopt.frontends.onnx.kinds import write_type
from graphopt.frontends.onnx.tensors import write_tensor
from graphopt.records import INITIALIZER, ModelInfo, Pairs, Ports, Record, Region
from graphopt.tensor import Tensor
from graphopt.types import DType

KINDS = onnx.AttributeProto
NO_OPSETS: Mapping[str, int] = {}


class Emitter:
    """Writes records as messages; `sink` takes the content of large tensors.

    `opsets` are the versions of domains: only an empty list needs one, whose kind its values don't
    tell.
    """

    def __init__(self, sink: Sink | None = None, opsets: Mapping[str, int] = NO_OPSETS) -> None:
        self.sink = Embedded() if sink is None else sink
        self.opsets = opsets

    def model(self, region: Region, info: ModelInfo) -> onnx.ModelProto:
        """The ModelProto of a graph's region and what the file says beside it."""
        proto = onnx.ModelProto(
            ir_version=info.ir_version,
            producer_name=info.producer_name,
            producer_version=info.producer_version,
            domain=info.domain,
            model_version=info.model_version,
            doc_string=info.doc,
        )
        for domain, version in info.opsets:
            proto.opset_import.add(domain=domain, version=version)
        _add_pairs(proto.metadata_props, info.metadata)
        self.graph(region, proto.graph)
        return proto

    def graph(self, region: Region, proto: onnx.GraphProto) -> None:
        """Write a region into a GraphProto."""
        proto.name = region.name
        if region.doc:
            proto.doc_string = region.doc
        _add_pairs(proto.metadata_props, region.metadata)
        for name, pairs in region.annotations:
            annotation = proto.quantization_annotation.add(tensor_name=name)
            _add_pairs(annotation.quant_parameter_tensor_names, pairs)
        _add_ports(proto.input, region.inputs)
        _add_ports(proto.output, region.outputs)
        _add_ports(proto.value_info, region.declared)
        for record in region.records:
            if is_initializer(record):
                ((_, value),) = record.attributes
                item = proto.initializer.add()
                item.name = record.outputs[0]
                write_tensor(value, item, self.sink)
            else:
                self.node(record, proto.node.add())

    def node(self, record: Record, proto: onnx.NodeProto | None = None) -> onnx.NodeProto:
        """Write a record into a NodeProto."""
        if proto is None:
            proto = onnx.NodeProto()
        proto.op_type = record.op_type
        proto.input.extend(record.inputs)
        proto.output.extend(record.outputs)
        for field, value in (
            ("name", record.name),
            ("domain", record.domain),
            ("overload", record.overload),
            ("doc_string", record.doc),
        ):
            if value:
                setattr(proto, field, value)
        _add_pairs(proto.metadata_props, record.metadata)
        for name, value in record.attributes:
            item = proto.attribute.add()
            item.name = name
            self._attribute(value, item, record)
        return proto

    def _attribute(self, value: Any, proto: onnx.AttributeProto, record: Record) -> None:
        kind = kind_of(value)
        if kind is None:  # an empty list
            kind = self._declared_kind(record, proto.name)
        if kind is None:
            message = f"attribute {proto.name!r} of {record.op_type} cannot be written: {value!r}"
            raise UnsupportedError(message)
        proto.type = kind  # type: ignore[assignment]  # the enum, as protobuf takes it
        match kind:
            case KINDS.INT:
                proto.i = value.code if isinstance(value, DType) else int(value)
            case KINDS.FLOAT:
                proto.f = value
            case KINDS.STRING:
                proto.s = _bytes(value)
            case KINDS.TENSOR:
                write_tensor(value, proto.t, self.sink)
            case KINDS.GRAPH:
                self.graph(value, proto.g)
            case KINDS.TYPE_PROTO:
                proto.tp.CopyFrom(write_type(value) or onnx.TypeProto())
            case _:
                self._list(value, kind, proto)

    def _list(self, items: tuple[Any, ...], kind: int, proto: onnx.AttributeProto) -> None:
        match kind:
            case KINDS.INTS:
                proto.ints.extend(map(int, items))
            case KINDS.FLOATS:
                proto.floats.extend(items)
            case KINDS.STRINGS:
                proto.strings.extend(map(_bytes, items))
            case KINDS.TENSORS:
                for item in items:
                    write_tensor(item, proto.tensors.add(), self.sink)
            case KINDS.GRAPHS:
                for item in items:
                    self.graph(item, proto.graphs.add())
            case _:
                proto.type_protos.extend(write_type(item) or onnx.TypeProto() for item in items)

    def _declared_kind(self, record: Record, name: str) -> int | None:
        version = self.opsets.get(record.domain)
        if version is not None and defs.has(record.op_type, version, record.domain):
            schema = defs.get_schema(record.op_type, version, record.domain)
            if name in schema.attributes:
                kind = str(schema.attributes[name].type).rpartition(".")[2]
                return _LIST_KINDS.get(kind, int(KINDS.INTS))
        return int(KINDS.INTS)


def is_initializer(record: Record) -> bool:
    """Whether a record is an initializer, no node."""
    return record.op_type == INITIALIZER and record.domain == "graphopt"


def kind_of(value: Any) -> int | None:
    """The kind of the attribute that holds a Python value, None of an empty list."""
    match value:
        case bool() | int() | DType():
            return int(KINDS.INT)
        case float():
            return int(KINDS.FLOAT)
        case str() | bytes():
            return int(KINDS.STRING)
        case Tensor():
            return int(KINDS.TENSOR)
        case Region():
            return int(KINDS.GRAPH)
        case tuple():
            return _LISTS[kind_of(value[0]) or 0] if value else None
        case _:
            return int(KINDS.TYPE_PROTO)


_LISTS: Mapping[int, int] = {
    KINDS.INT: int(KINDS.INTS),
    KINDS.FLOAT: int(KINDS.FLOATS),
    KINDS.STRING: int(KINDS.STRINGS),
    KINDS.TENSOR: int(KINDS.TENSORS),
    KINDS.GRAPH: int(KINDS.GRAPHS),
    KINDS.TYPE_PROTO: int(KINDS.TYPE_PROTOS),
}

_LIST_KINDS = {"FLOATS": int(KINDS.FLOATS), "STRINGS": int(KINDS.STRINGS)}
"""The kinds of empty lists that are not taken for a list of integers."""


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")


def _add_ports(protos: Any, ports: Ports) -> None:
    for name, kind in ports:
        proto = protos.add()
        proto.name = name
        written = write_type(kind)
        if written is not None:
            proto.type.CopyFrom(written)


def _add_pairs(protos: Any, pairs: Pairs) -> None:
    for key, value in pairs:
        protos.add(key=key, value=value)
