"""From protobuf messages to records: the structure of a model, before it gets a meaning."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import onnx

from graphopt.errors import GraphoptError, ModelError
from graphopt.frontends.onnx.external import DataFiles
from graphopt.frontends.onnx.kinds import read_type
from graphopt.frontends.onnx.tensors import read_sparse, read_tensor
from graphopt.op import OPSET
from graphopt.records import INITIALIZER, ModelInfo, Pairs, Ports, Record, Region

IR_VERSIONS = range(3, 15)
OLDEST_OPSET = 7
"""The oldest opset of ai.onnx that is written; what is older is read as if it were this one."""
MAX_DEPTH = 64
"""The deepest nesting of subgraphs and functions."""

FunctionKey = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Ref:
    """An attribute of a function's node that is what the function's caller gives for `name`."""

    name: str


@dataclass(frozen=True, slots=True)
class Function:
    """A function that a model brings along: records over its own names."""

    key: FunctionKey
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: tuple[str, ...]
    defaults: tuple[tuple[str, Any], ...]
    records: tuple[Record, ...]
    opsets: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Model:
    """A model as its file has it."""

    info: ModelInfo
    region: Region
    functions: Mapping[FunctionKey, Function]


def shown(name: str) -> str:
    """A name for a message: quoted, on one line, not too long."""
    return repr(name if len(name) <= 80 else f"{name[:60]}…{name[-15:]}")


def describe(record: Record) -> str:
    """How messages call a record: its operator and name, or its first output."""
    operator = f"{record.domain}::{record.op_type}" if record.domain else record.op_type
    if len(operator) > 80 or not operator.isprintable():
        operator = shown(operator)
    if record.name:
        return f"{operator} {shown(record.name)}"
    named = next((name for name in record.outputs if name), "")
    return f"{operator} of {shown(named)}" if named else operator


def read_model(proto: onnx.ModelProto, files: DataFiles) -> Model:
    """The records of a ModelProto. Raises ModelError, without the file's name, if it is wrong."""
    if proto.ir_version not in IR_VERSIONS:
        raise ModelError(
            f"IR version {proto.ir_version} is not one of {IR_VERSIONS[0]} to {IR_VERSIONS[-1]}"
            if proto.ir_version
            else "the model has no IR version"
        )
    if proto.training_info:
        raise ModelError("models with training information are not supported")
    opsets = read_opsets(proto.opset_import)
    if not opsets:
        raise ModelError("the model imports no opset")
    reader = _Reader(files, proto.ir_version)
    region = reader.region(proto.graph, 0)
    info = ModelInfo(
        ir_version=proto.ir_version,
        opsets=tuple(opsets.items()),
        producer_name=_doc(proto.producer_name),
        producer_version=_doc(proto.producer_version),
        domain=_doc(proto.domain),
        model_version=proto.model_version,
        doc=_doc(proto.doc_string),
        graph_doc=region.doc,
        metadata=_pairs(proto.metadata_props),
        graph_metadata=region.metadata,
        declared=region.outputs + region.declared,
        annotations=region.annotations,
    )
    functions: dict[FunctionKey, Function] = {}
    for item in proto.functions:
        function = reader.function(item)
        if functions.setdefault(function.key, function) is not function:
            raise ModelError(f"two functions are called {shown(item.name)}")
    return Model(replace(info, data_files=files.locations), region, functions)


def read_opsets(protos: Iterable[onnx.OperatorSetIdProto]) -> dict[str, int]:
    """Opset versions by domain; raises ModelError for versions that there are not."""
    opsets: dict[str, int] = {}
    for item in protos:
        domain = normal_domain(_text(item.domain, "the domain of an opset"))
        version = item.version
        where = f"opset {version} of {domain or 'ai.onnx'}"
        if opsets.setdefault(domain, version) != version:
            raise ModelError(f"{where}: the model also imports version {opsets[domain]}")
        if version < 1:
            raise ModelError(f"{where}: versions start at 1")
        if not domain and version > OPSET:
            raise ModelError(f"{where}: the newest that is known is {OPSET}")
    return opsets


def normal_domain(domain: str) -> str:
    """A domain, '' for the standard one under its other name."""
    return "" if domain == "ai.onnx" else domain


class _Reader:
    """Turns messages into records, counting them: an ordinal is a place in the file."""

    def __init__(self, files: DataFiles, ir_version: int) -> None:
        self.files = files
        self.ir_version = ir_version
        self.count = 0

    def next_ordinal(self) -> int:
        self.count += 1
        return self.count

    def region(self, proto: onnx.GraphProto, depth: int) -> Region:
        """The records of a graph or subgraph, initializers first."""
        if depth > MAX_DEPTH:
            raise ModelError(f"subgraphs are nested more than {MAX_DEPTH} deep")
        records = [self.initializer(item) for item in proto.initializer]
        records += [self.sparse_initializer(item) for item in proto.sparse_initializer]
        inputs = self.ports(proto.input, "input")
        if not depth and self.ir_version < 4:  # then every initializer is listed as an input too
            repeated = {record.outputs[0] for record in records}
            inputs = tuple(port for port in inputs if port[0] not in repeated)
        records += [self.node(item, depth) for item in proto.node]
        return Region(
            inputs,
            self.ports(proto.output, "output"),
            tuple(records),
            _doc(proto.name),
            self.ports(proto.value_info, "value"),
            _doc(proto.doc_string),
            _pairs(proto.metadata_props),
            tuple(
                (_text(item.tensor_name, "a name"), _pairs(item.quant_parameter_tensor_names))
                for item in proto.quantization_annotation
            ),
        )

    def ports(self, protos: Iterable[onnx.ValueInfoProto], what: str) -> Ports:
        made: list[tuple[str, Any]] = []
        for item in protos:
            name = _text(item.name, f"the name of an {what}")
            try:
                made.append((name, read_type(item.type)))
            except ModelError as error:
                raise ModelError(f"{what} {shown(name)}: {error.message}") from error
        return tuple(made)

    def initializer(self, proto: onnx.TensorProto) -> Record:
        name = _text(proto.name, "the name of an initializer")
        value = self.tensor(proto, f"initializer {shown(name)}", read_tensor)
        return self._initializer(name, value)

    def sparse_initializer(self, proto: onnx.SparseTensorProto) -> Record:
        name = _text(proto.values.name, "the name of an initializer")
        value = self.tensor(proto, f"sparse initializer {shown(name)}", read_sparse)
        return self._initializer(name, value)

    def _initializer(self, name: str, value: Any) -> Record:
        if not name:
            raise ModelError("an initializer has no name")
        ordinal = self.next_ordinal()
        attributes = (("value", value),)
        return Record(ordinal, INITIALIZER, (), (name,), attributes, "graphopt", name)

    def tensor(self, proto: Any, where: str, read: Any) -> Any:
        try:
            return read(proto, self.files)
        except (GraphoptError, ValueError) as error:
            raise ModelError(f"{where}: {error}") from error

    def node(self, proto: onnx.NodeProto, depth: int) -> Record:
        ordinal = self.next_ordinal()
        op_type = _text(proto.op_type, "the operator of a node")
        name = _text(proto.name, f"the name of a node of {shown(op_type)}")
        record = Record(
            ordinal,
            op_type,
            tuple([_text(item, "the name of a value") for item in proto.input]),
            tuple([_text(item, "the name of a value") for item in proto.output]),
            (),
            normal_domain(_text(proto.domain, "the domain of a node")),
            name,
            _text(proto.overload, "the overload of a node"),
            _doc(proto.doc_string),
            _pairs(proto.metadata_props),
        )
        if not op_type:
            raise ModelError(f"node {shown(name)} has no operator")
        if record.domain == "graphopt":
            raise ModelError(f"node {describe(record)}: the domain 'graphopt' is reserved")
        if not any(record.outputs):
            raise ModelError(f"node {describe(record)} has no outputs")
        if not proto.attribute:
            return record
        where = f"node {describe(record)}"
        attributes = tuple([self.attribute(item, where, depth) for item in proto.attribute])
        if len({key for key, _ in attributes}) < len(attributes):
            raise ModelError(f"{where}: two attributes have one name")
        return _with_attributes(record, attributes)

    def attribute(self, proto: onnx.AttributeProto, where: str, depth: int) -> tuple[str, Any]:
        """(name, Python value) of an attribute; see `Call` for the values."""
        name = proto.name
        kind = proto.type or _guessed_kind(proto)
        if kind in _PLAIN and type(name) is str and not proto.ref_attr_name:
            return name, _PLAIN[kind](proto)
        name = _text(name, f"{where}: the name of an attribute")
        at = f"{where}, attribute {shown(name)}"
        if proto.ref_attr_name:
            return name, Ref(_text(proto.ref_attr_name, at))
        return name, self._nested(proto, kind, at, depth)

    def _nested(self, proto: onnx.AttributeProto, kind: int, at: str, depth: int) -> Any:
        match kind:
            case onnx.AttributeProto.TENSOR:
                return self.tensor(proto.t, at, read_tensor)
            case onnx.AttributeProto.TENSORS:
                return tuple(self.tensor(item, at, read_tensor) for item in proto.tensors)
            case onnx.AttributeProto.SPARSE_TENSOR:
                return self.tensor(proto.sparse_tensor, at, read_sparse)
            case onnx.AttributeProto.GRAPH:
                return self.region(proto.g, depth + 1)
            case onnx.AttributeProto.GRAPHS:
                return tuple(self.region(item, depth + 1) for item in proto.graphs)
            case onnx.AttributeProto.TYPE_PROTO:
                return read_type(proto.tp)
            case onnx.AttributeProto.TYPE_PROTOS:
                return tuple(read_type(item) for item in proto.type_protos)
            case _:
                raise ModelError(f"{at}: its kind {kind} is not supported")

    def function(self, proto: onnx.FunctionProto) -> Function:
        domain = normal_domain(_text(proto.domain, "the domain of a function"))
        name = _text(proto.name, "the name of a function")
        try:
            return Function(
                (domain, name, _text(proto.overload, "the overload")),
                tuple(_text(item, "an input") for item in proto.input),
                tuple(_text(item, "an output") for item in proto.output),
                tuple(_text(item, "an attribute") for item in proto.attribute),
                tuple(self.attribute(item, "its default", 0) for item in proto.attribute_proto),
                tuple(self.node(item, 0) for item in proto.node),
                read_opsets(proto.opset_import),
            )
        except ModelError as error:
            raise ModelError(f"function {shown(name)}: {error.message}") from error


def _with_attributes(record: Record, attributes: tuple[tuple[str, Any], ...]) -> Record:
    r = record
    return Record(
        r.ordinal, r.op_type, r.inputs, r.outputs, attributes, r.domain, r.name, r.overload, r.doc,
        r.metadata,
    )  # fmt: skip


def _string(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


_PLAIN: dict[int, Callable[[onnx.AttributeProto], Any]] = {
    onnx.AttributeProto.FLOAT: lambda proto: proto.f,
    onnx.AttributeProto.INT: lambda proto: proto.i,
    onnx.AttributeProto.STRING: lambda proto: _string(proto.s),
    onnx.AttributeProto.FLOATS: lambda proto: tuple(proto.floats),
    onnx.AttributeProto.INTS: lambda proto: tuple(proto.ints),
    onnx.AttributeProto.STRINGS: lambda proto: tuple(map(_string, proto.strings)),
}
_FIELDS = (
    ("f", onnx.AttributeProto.FLOAT),
    ("i", onnx.AttributeProto.INT),
    ("s", onnx.AttributeProto.STRING),
    ("t", onnx.AttributeProto.TENSOR),
    ("g", onnx.AttributeProto.GRAPH),
    ("tp", onnx.AttributeProto.TYPE_PROTO),
    ("sparse_tensor", onnx.AttributeProto.SPARSE_TENSOR),
)
_LISTS = (
    ("floats", onnx.AttributeProto.FLOATS),
    ("ints", onnx.AttributeProto.INTS),
    ("strings", onnx.AttributeProto.STRINGS),
)


def _guessed_kind(proto: onnx.AttributeProto) -> int:
    """The kind of an attribute that does not state it, as very old files do."""
    for field, kind in _FIELDS:
        if proto.HasField(field):
            return kind
    for field, kind in _LISTS:
        if len(getattr(proto, field)):
            return kind
    return 0


def _text(value: str | bytes, what: str) -> str:
    """Protobuf hands out bytes where a string is not UTF-8."""
    if type(value) is str:
        return value
    raise ModelError(f"{what} is not UTF-8 text")


def _doc(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def _pairs(protos: Iterable[onnx.StringStringEntryProto]) -> Pairs:
    return tuple((_doc(item.key), _doc(item.value)) for item in protos) if protos else ()
