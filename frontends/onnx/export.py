"""From a graph to the records of a model: values get names, ops the form of an opset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphopt.body import Body
from graphopt.errors import GraphoptError, UnsupportedError
from graphopt.frontends.onnx.call import Call, items_of
from graphopt.frontends.onnx.forms import without_form
from graphopt.frontends.onnx.names import Names
from graphopt.frontends.onnx.opaque import own_attributes
from graphopt.frontends.onnx.opsets import CannotLower, lower
from graphopt.frontends.onnx.replay import (
    default_records,
    input_ports,
    output_ports,
    value_ports,
)
from graphopt.frontends.onnx.schemas import (
    OLDEST_IR,
    ir_of_dtype,
    least_inputs,
    opset_for,
    own_opset,
    same_operator,
    type_text,
)
from graphopt.graph import Graph
from graphopt.ir import Node, walk
from graphopt.order import canonical
from graphopt.provenance import described
from graphopt.records import INITIALIZER, Pairs, Record, Region
from graphopt.structural import bound, constant, results
from graphopt.tensor import Tensor
from graphopt.types import DType, MapType, OptionalType, SequenceType, TensorType

ALIASES = frozenset({("graphopt", "Barrier"), ("graphopt", "Refine")})
SILENT = ALIASES | {
    ("", "Constant"),
    *(("graphopt", name) for name in ("Input", "Bound", "Absent", "Out")),
}
LARGE = 1024
"""Splats of more bytes are written as a ConstantOfShape; larger constants stand outside bodies."""


@dataclass(slots=True)
class _Frame:
    """A region being written. `wanted` are names that values of it must get."""

    parent: _Frame | None = None
    names: dict[Node, str] = field(default_factory=dict[Node, str])
    wanted: dict[Node, str] = field(default_factory=dict[Node, str])
    records: list[Record] = field(default_factory=list[Record])
    initializers: list[Record] = field(default_factory=list[Record])
    used: frozenset[Node] = frozenset()


class Exporter:
    """Writes a graph as the region of a model at opset `version` of ai.onnx.

    After `region()`, `needed` is the lowest opset that has a form for every node: where it is
    higher than `version` the region is not to be used, and `reason` says which node wants it.
    """

    def __init__(self, graph: Graph, version: int) -> None:
        self.graph = graph
        self.version = self.needed = version
        self.reason = ""
        self.ir_version = OLDEST_IR
        self.domains: set[str] = set()
        self.original = own_opset(graph.tables.info)
        reserved = (*graph.input_names, *graph.output_names)
        self.names = Names(graph.tables, reserved, graph.nodes)
        self.top = _Frame()

    def region(self) -> Region:
        """The graph in canonical order. Raises UnsupportedError naming a node that ONNX lacks."""
        graph, top = self.graph, self.top
        if graph.effects:
            raise UnsupportedError("a graph with effects has no form in ONNX", at=graph.name)
        for item in graph.inputs:
            top.names[item] = item.attrs["name"]
            self._note_dtypes((item,))
        outputs = [_resolved(value) for value in graph.outputs]
        for value, name in zip(outputs, graph.output_names, strict=True):
            if value not in top.names and not value.is_absent:
                top.wanted.setdefault(value, name)
        top.used = frozenset(graph.nodes)
        self._nodes(top, graph.nodes)
        self._finish(top, outputs, graph.output_names)
        info = graph.tables.info
        ordered = sorted(top.initializers, key=lambda record: record.ordinal)
        return Region(
            input_ports(graph),
            output_ports(graph, info),
            (*default_records(graph), *ordered, *top.records),
            graph.name,
            value_ports(((name, value) for value, name in top.names.items()), graph, info),
            info.graph_doc if info else "",
            info.graph_metadata if info else (),
            _still_true(info.annotations if info else (), (*ordered, *top.records)),
        )

    def _nodes(self, frame: _Frame, nodes: Iterable[Node]) -> None:
        for node in nodes:
            if node.op.key in SILENT:
                continue
            try:
                self._node(frame, node)
            except GraphoptError as error:
                error.at = error.at or self._called(node)
                raise

    def _finish(self, frame: _Frame, values: Sequence[Node], names: Sequence[str]) -> None:
        """Give each value its name as an output, by an Identity where its own name is another."""
        for value, name in zip(values, names, strict=True):
            own = self._operand(frame, value)
            if own != name:
                self.domains.add("")
                frame.records.append(Record(0, "Identity", (own,), (name,)))

    def _operand(self, frame: _Frame, value: Node) -> str:
        """The name by which a node of the frame reads a value."""
        value = _resolved(value)
        if (name := frame.names.get(value)) is not None:
            return name
        if value.is_absent:
            return ""
        if value.constant is not None:
            return self._constant(frame, value, value.constant)
        self._nodes(frame, [n for n in walk((value,)) if not _named(frame, n)])
        return frame.names[value]

    def _constant(self, frame: _Frame, value: Node, tensor: Tensor) -> str:
        outer: _Frame | None = frame
        while outer is not None:
            if (name := outer.names.get(value)) is not None:
                return name
            outer = outer.parent
        target = frame
        while target.parent is not None and (tensor.nbytes > LARGE or _used_outside(target, value)):
            target = target.parent
        name = target.wanted.get(value) or self.names.of_value(value, "constant")
        target.names[value] = name
        self._note_dtypes((value,))
        if tensor.is_splat and tensor.nbytes > LARGE and self._is_filled(target, value, name):
            return name
        records = self.graph.tables.records.get(value, ())
        ordinal = records[0].ordinal if records else 1 << 62
        attributes = (("value", tensor),)
        made = Record(ordinal, INITIALIZER, (), (name,), attributes, "graphopt", name)
        target.initializers.append(made)
        return name

    def _is_filled(self, frame: _Frame, value: Node, name: str) -> bool:
        """Write a splat as a ConstantOfShape, where the opset takes its dtype."""
        texts = ("tensor(int64)",), (type_text(value.derived_type),)
        if opset_for("ConstantOfShape", self.version, *texts) != self.version:
            return False
        tensor = value.constant
        assert tensor is not None
        shape = self._operand(frame, constant(tensor.shape, DType.INT64))
        element = Tensor.of([tensor.element], tensor.dtype)
        record = self.names.record_of(value)
        label = self.names.of_node(record.name if record else "")
        self.domains.add("")
        attributes = (("value", element),)
        frame.records.append(
            Record(0, "ConstantOfShape", (shape,), (name,), attributes, name=label)
        )
        return True

    def _node(self, frame: _Frame, node: Node) -> None:
        values = results(node)
        if node.op.domain == "graphopt":
            raise UnsupportedError(without_form(node.op))
        call = self._call(node, len(values))
        record = self.names.record_of(node)
        inputs = [self._operand(frame, item) for item in call.inputs]
        captures = max((body.captures for body in _bodies(call.attributes)), default=0)
        captured = inputs[len(inputs) - captures :]
        del inputs[len(inputs) - captures :]
        least = least_inputs(call.op_type, self.version) if not call.domain else 0
        while len(inputs) > least and not inputs[-1]:
            inputs.pop()
        inputs += [""] * (least - len(inputs))
        outputs = [self._result(frame, value, k, record) for k, value in enumerate(values)]
        self._check_types(node, call, len(inputs), values, record)
        self.domains.add(call.domain)
        frame.records.append(
            Record(
                0,
                call.op_type,
                tuple(inputs),
                tuple(outputs[: call.outputs]),
                tuple((k, self._written(frame, v, captured)) for k, v in call.attributes.items()),
                call.domain,
                self.names.of_node(record.name) if record else "",
                record.overload if record else "",
                record.doc if record else "",
                record.metadata if record else (),
            )
        )

    def _call(self, node: Node, outputs: int) -> Call:
        """The node as the opset writes it; where it has no form there, as the newest does."""
        op = node.op
        if op.facts.opaque:
            own = node.attrs["origin"] < 0  # made for the target, at this opset
            if not (op.domain or own or same_operator("", op.name, self.original, self.version)):
                raise UnsupportedError(
                    f"{op.name} is kept as it is, and differs between opsets {self.original}"
                    f" and {self.version}"
                )
            return Call(op.name, node.inputs, own_attributes(node), outputs, op.domain)
        attributes = {
            name: _plain(value)
            for name, value in node.attrs.items()
            if value is not None and name != "outputs"
        }
        call = Call(op.name, node.inputs, attributes, outputs, op.domain)
        try:
            return lower(call, self.version)
        except CannotLower as error:
            self._want(error.needed, node, error.message)
            return call

    def _want(self, opset: int, node: Node, why: str) -> None:
        if opset > self.needed:
            self.needed, self.reason = opset, f"{self._called(node)}: {why}"

    def _called(self, node: Node) -> str:
        record = self.names.record_of(node)
        if record and record.name:
            return f"{record.op_type} {record.name!r}"
        return described(self.graph, node)

    def _check_types(
        self, node: Node, call: Call, count: int, values: Sequence[Node], record: Record | None
    ) -> None:
        """Ask for a newer opset where this one does not take the dtypes; note their IR version."""
        self._note_dtypes(values)
        if call.domain or node.op.facts.opaque or self.needed > self.version:
            return
        inputs = tuple(type_text(item.derived_type) for item in call.inputs[:count])
        outputs = tuple(type_text(value.derived_type) for value in values[: call.outputs])
        opset = opset_for(call.op_type, self.version, inputs, outputs)
        if opset is not None:
            self._want(opset, node, f"its dtypes came with opset {opset}")
        elif record is None:
            kinds = ", ".join((*inputs, *outputs))
            raise UnsupportedError(f"no opset has a form of {call.op_type} for {kinds}")

    def _note_dtypes(self, values: Iterable[Node]) -> None:
        for value in values:
            kind = value.derived_type
            while isinstance(kind, SequenceType | OptionalType | MapType):
                kind = kind.element
            if isinstance(kind, TensorType):
                self.ir_version = max(self.ir_version, ir_of_dtype(kind.dtype))

    def _result(self, frame: _Frame, value: Node, position: int, record: Record | None) -> str:
        """The name of an output; "" where the file left it out and nothing reads it now."""
        name = frame.wanted.get(value)
        if name is None:
            left_out = record and len(record.outputs) > position and not record.outputs[position]
            if left_out and value not in frame.used:
                return ""
            name = self.names.of_value(value, value.label.partition("@")[0].lstrip("%"))
        frame.names[value] = name
        return name

    def _body(self, frame: _Frame, body: Body, names: Sequence[str]) -> None:
        for value, name in zip(map(_resolved, body.outputs), names, strict=True):
            if _is_made(value):
                frame.wanted.setdefault(value, name)
        nodes = canonical(body.outputs, self.graph.tables)
        frame.used = frozenset(nodes)
        self._nodes(frame, nodes)
        self._finish(frame, body.outputs, names)

    def _written(self, frame: _Frame, value: Any, captured: Sequence[str]) -> Any:
        """An attribute with its bodies as regions."""
        if isinstance(value, tuple):
            return tuple(self._written(frame, item, captured) for item in items_of(value))
        return self._region(frame, value, captured) if isinstance(value, Body) else value

    def _region(self, frame: _Frame, body: Body, captured: Sequence[str]) -> Region:
        inner = _Frame(frame)
        formals = len(body.params) - body.captures
        inputs: list[tuple[str, Any]] = []
        for k, kind in enumerate(body.params):
            param = bound(k, kind)
            if k >= formals:
                inner.names[param] = captured[k - formals]
            else:
                inner.names[param] = self.names.of_value(param, "p")
                inputs.append((inner.names[param], kind))
        seen: set[Node] = set()
        names: list[str] = []
        for value in map(_resolved, body.outputs):
            own = _is_made(value) and value not in seen
            seen.add(value)
            hint = value.label.partition("@")[0]
            names.append(self.names.of_value(value, hint) if own else self.names.fresh("output"))
        self._body(inner, body, names)
        types = (value.derived_type for value in body.outputs)
        ordered = sorted(inner.initializers, key=lambda record: record.ordinal)
        outputs = tuple(zip(names, types, strict=True))
        return Region(tuple(inputs), outputs, (*ordered, *inner.records), self.names.fresh("body"))


def _still_true(
    annotations: tuple[tuple[str, Pairs], ...], records: Sequence[Record]
) -> tuple[tuple[str, Pairs], ...]:
    """The annotations that are only about values which are there."""
    there = {name for record in records for name in (*record.inputs, *record.outputs)}
    return tuple(
        (name, pairs)
        for name, pairs in annotations
        if name in there and all(target in there for _, target in pairs)
    )


def _resolved(value: Node) -> Node:
    """What stands behind nodes that only pass a value on."""
    while value.op.key in ALIASES:
        value = value.inputs[0]
    return value


def _is_made(value: Node) -> bool:
    """Whether a node makes the value: it is no input, parameter or constant."""
    return value.op.name == "Out" or value.op.key not in SILENT


def _used_outside(frame: _Frame, value: Node) -> bool:
    """Whether a graph around the frame uses the value too: one constant serves both."""
    outer = frame.parent
    while outer is not None and value not in outer.used:
        outer = outer.parent
    return outer is not None


def _named(frame: _Frame, node: Node) -> bool:
    return all(value in frame.names for value in results(node))


def _plain(value: Any) -> Any:
    if isinstance(value, DType):
        return value.code
    return int(value) if isinstance(value, bool) else value


def _bodies(attributes: Mapping[str, Any]) -> list[Body]:
    found: list[Body] = []
    for value in attributes.values():
        found += [item for item in items_of(value) if isinstance(item, Body)]
    return found
