"""From the records of a model to a graph: names become values, operators become nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from graphopt.body import Body, param_type
from graphopt.errors import GraphoptError, ModelError, UnsupportedError, VerifyError
from graphopt.frontends.onnx.bodies import (
    MAX_WIDENINGS,
    output_count,
    parameter_types,
    widened,
)
from graphopt.frontends.onnx.call import Call, items_of
from graphopt.frontends.onnx.functions import Functions, Opsets
from graphopt.frontends.onnx.opaque import opaque_values
from graphopt.frontends.onnx.operators import constant_value, is_understood, values_of
from graphopt.frontends.onnx.parse import MAX_DEPTH, OLDEST_OPSET, Model, Ref, describe, shown
from graphopt.frontends.onnx.scope import Captures, Scope
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.records import INITIALIZER, Record, Region, Tables
from graphopt.structural import absent, bound, constant, graph_input
from graphopt.tensor import Tensor
from graphopt.types import TensorType, Type, UnknownType

MAX_SHALLOW = 3
"""Loops nested deeper carry values of unknown shape: finding one builds a body several times."""


def build_graph(model: Model) -> Graph:
    """The graph of a model. Raises ModelError, without the file's name, for what is wrong in it."""
    return _Builder(model).graph()


@dataclass(slots=True)
class _Site:
    """A node while it is built: where it stands and what its subgraphs take from there."""

    scope: Scope
    record: Record
    inputs: tuple[Node, ...]
    version: int
    opsets: Opsets
    plain: dict[str, Any]
    """The attributes that are no subgraphs."""
    captures: Captures = field(default_factory=Captures)


class _Builder:
    def __init__(self, model: Model) -> None:
        self.model = model
        own = dict(model.info.opsets)
        self.opsets: Opsets = {**own, "": max(own[""], OLDEST_OPSET)} if "" in own else own
        self.functions = Functions(model)
        self.declared: Mapping[str, Type] = dict(model.info.declared)
        self.faithful = True
        self.names: list[tuple[Node, str]] = []
        self.records: list[tuple[Node, Record]] = []
        self.count = 0

    def graph(self) -> Graph:
        region, scope = self.model.region, Scope()
        inputs = tuple(self._input(scope, name, kind) for name, kind in region.inputs)
        listed = {name for name, _ in region.inputs}
        overridable = {
            record.outputs[0]: record
            for record in region.records
            if record.op_type == INITIALIZER and record.outputs[0] in listed
        }
        records = region.records
        if overridable:
            records = tuple(r for r in records if overridable.get(r.outputs[0]) is not r)
        self._build(scope, records, dict(self.model.info.opsets))
        output_names = tuple(name for name, _ in region.outputs)
        outputs = tuple(self._output(scope, name) for name in output_names)
        if twice := [name for name, count in Counter(output_names).items() if count > 1]:
            raise ModelError(f"two outputs are called {shown(twice[0])}")
        info = replace(self.model.info, opsets=self._needed_opsets())
        return Graph(
            inputs,
            outputs,
            output_names,
            region.name or "graph",
            defaults=dict(self._default(scope, name, r) for name, r in overridable.items()),
            tables=Tables(
                info,
                names=dict(reversed(self.names)),  # the first name of a value counts
                records=_grouped(self.records),
                origin=outputs if self.faithful else (),
            ),
        )

    def _needed_opsets(self) -> tuple[tuple[str, int], ...]:
        """The opsets of the model but for the domains that only had functions, now inlined."""
        inlined = {domain for domain, _, _ in self.functions.table}
        inlined -= {"", *(record.domain for _, record in self.records)}
        return tuple(item for item in self.opsets.items() if item[0] not in inlined)

    def _input(self, scope: Scope, name: str, kind: Type) -> Node:
        if not name:
            raise ModelError("an input has no name")
        if isinstance(kind, UnknownType):
            raise ModelError(f"input {shown(name)} has no type")
        value = graph_input(name, kind)
        scope.define(name, value)
        return value

    def _default(self, scope: Scope, name: str, record: Record) -> tuple[Node, Tensor]:
        value = scope.names[name]
        tensor: Tensor = record.attributes[0][1]
        kind = value.derived_type
        if not isinstance(kind, TensorType) or kind.dtype is not tensor.dtype:
            raise ModelError(f"input {shown(name)} is {kind}, its initializer {tensor.dtype}")
        if not _fits(tensor.shape, kind):
            shape = list(tensor.shape)
            raise ModelError(f"input {shown(name)} is {kind}, its initializer has shape {shape}")
        return value, tensor

    def _output(self, scope: Scope, name: str) -> Node:
        value = scope.find(name) if name else None
        if value is None:
            raise ModelError(f"output {shown(name)} is made by no node")
        return value

    def _build(self, scope: Scope, records: Iterable[Record], opsets: Opsets) -> list[Record]:
        """Define what the records make; the records as they were built, functions inlined."""
        built: list[Record] = []
        for called in records:
            for item, versions in self.functions.expand(called, opsets):
                record = item
                if self.functions.table:  # what was inlined takes places in between
                    self.count += 1
                    record = replace(item, ordinal=self.count)
                if record.op_type == INITIALIZER and record.domain == "graphopt":
                    values: tuple[Node, ...] = (constant(record.attributes[0][1]),)
                else:
                    record, values = self._node(scope, record, versions)
                self._define(scope, record, values)
                built.append(record)
        return built

    def _define(self, scope: Scope, record: Record, values: Sequence[Node]) -> None:
        if len(record.outputs) > len(values) and any(record.outputs[len(values) :]):
            count = len(record.outputs)
            raise ModelError(f"node {describe(record)} has {count} outputs, not {len(values)}")
        told: Node | None = None
        for name, value in zip(record.outputs, values, strict=False):
            if not name:
                continue
            try:
                scope.define(name, value)
            except ModelError as error:
                raise ModelError(f"{_place(record)}: {error.message}") from None
            self.names.append((value, name))
            base = value.inputs[0] if value.op.name == "Out" else value
            if base is not told:
                self.records.append((base, record))
                told = base
        if scope.shadows:
            self.faithful = False

    def _node(
        self, scope: Scope, record: Record, opsets: Opsets
    ) -> tuple[Record, tuple[Node, ...]]:
        """(the record with its subgraphs as they were built, the node's values)."""
        inputs = tuple([self._operand(scope, record, name) for name in record.inputs])
        version = self._version(record, opsets)
        site = _Site(scope, record, inputs, version, opsets, {})
        attributes = self._attributes(site) if record.attributes else {}
        record = site.record
        if record.op_type == "Constant" and not record.domain:
            return record, (constant(constant_value(record)),)
        captured = tuple(site.captures.values)
        if is_understood(record, inputs, attributes):
            while inputs and not captured and inputs[-1].is_absent:
                inputs = inputs[:-1]
            count = output_count(record, attributes)
            call = Call(record.op_type, inputs + captured, attributes, count, record.domain)
            try:
                return record, values_of(call, version)
            except UnsupportedError:
                pass
            except GraphoptError as error:
                if not scope.depth:  # the body of a branch that is never taken may be nonsense
                    raise ModelError(
                        f"node {describe(record)}: {_reason(record, error)}"
                    ) from error
        if version != self.opsets.get(record.domain):
            raise ModelError(
                f"node {describe(record)} is of opset {version}, which would become"
                f" {self.opsets.get(record.domain)}: it is not understood well enough for that"
            )
        values = opaque_values(record, inputs + captured, attributes, self.declared, version)
        return record, values

    def _operand(self, scope: Scope, record: Record, name: str) -> Node:
        if not name:
            return absent
        value = scope.find(name)
        if value is None:
            later = any(name in r.outputs for r in self.model.region.records)
            raise ModelError(
                f"node {describe(record)} reads {shown(name)}, which "
                + ("is made after it: the nodes are not sorted" if later else "nothing makes")
            )
        return value

    def _version(self, record: Record, opsets: Opsets) -> int:
        """The opset version of a node's domain; a function may know it better than its model."""
        domain = record.domain
        version = opsets.get(domain, self.opsets.get(domain))
        if version is None:
            if not domain:
                raise ModelError(f"node {describe(record)}: the model imports no opset of ai.onnx")
            raise ModelError(f"node {describe(record)}: no opset of its domain is imported")
        known = self.opsets.get(domain)
        if known is None:
            self.opsets = {**self.opsets, domain: version}
        elif known != version:
            self.faithful = False
        return version

    def _attributes(self, site: _Site) -> dict[str, Any]:
        """The attributes with subgraphs as bodies; the site's record gets what was built."""
        made: dict[str, Any] = {}
        told: dict[str, Any] = {}
        for name, value in site.record.attributes:
            if isinstance(value, Ref):
                raise ModelError(
                    f"node {describe(site.record)}: attribute {shown(name)} refers to that of a"
                    " function, and stands in none"
                )
            made[name] = told[name] = value
            if not _has_regions(value):
                site.plain[name] = value
        if len(site.plain) == len(made):
            return made
        for name, value in made.items():
            if isinstance(value, Region):
                made[name], told[name] = self._body(site, value)
            elif _has_regions(value):
                pairs = [self._body(site, item) for item in value]
                made[name], told[name] = tuple(b for b, _ in pairs), tuple(r for _, r in pairs)
        site.record = replace(site.record, attributes=tuple(told.items()))
        return {name: _all_capturing(value, site.captures) for name, value in made.items()}

    def _body(self, site: _Site, region: Region) -> tuple[Body, Region]:
        """The body of a subgraph; a loop's is built until the shapes that it carries hold still."""
        depth = site.scope.depth
        if depth > MAX_DEPTH:
            raise ModelError(f"subgraphs are nested more than {MAX_DEPTH} deep")
        types, carried = parameter_types(site.record, region, site.inputs, site.plain, site.version)
        attempt = MAX_WIDENINGS if depth >= MAX_SHALLOW else 0
        if attempt:
            types = tuple(_shapeless(k) if i in carried else k for i, k in enumerate(types))
        while True:
            marks = len(self.names), len(self.records)
            outputs, built = self._run(site, region, types)
            wider = self._widened(site.record, types, outputs, carried, attempt)
            if wider == types:
                break
            types, attempt = wider, attempt + 1
            del self.names[marks[0] :], self.records[marks[1] :]
        told = replace(region, records=tuple(built), declared=())
        params = types + _capture_types(site.captures)
        return Body(params, outputs, len(site.captures.values)), told

    def _run(
        self, site: _Site, region: Region, types: tuple[Type, ...]
    ) -> tuple[tuple[Node, ...], list[Record]]:
        """(outputs, records as built) of a body over parameters of some types."""
        inner = Scope(site.scope, site.captures, len(types))
        for k, (name, _) in enumerate(region.inputs):
            formal = bound(k, types[k])
            inner.define(name, formal)
            self.names.append((formal, name))
        # an initializer that is an input is a default for what the operator always gives
        records = [
            record
            for record in region.records
            if record.op_type != INITIALIZER or record.outputs[0] not in inner.names
        ]
        built = self._build(inner, records, site.opsets)
        if inner.shadows:
            self.faithful = False
        return tuple(self._output(inner, name) for name, _ in region.outputs), built

    def _widened(
        self,
        record: Record,
        types: tuple[Type, ...],
        outputs: tuple[Node, ...],
        carried: range,
        attempt: int,
    ) -> tuple[Type, ...]:
        skipped = 1 if record.op_type == "Loop" else 0  # its first output is the condition
        if carried and len(outputs) < skipped + len(carried):
            raise ModelError(f"the body of node {describe(record)} has too few outputs")
        wider = list(types)
        for k, position in enumerate(carried):
            new = outputs[skipped + k].derived_type
            try:
                give_up = attempt >= MAX_WIDENINGS - 1
                wider[position] = widened(types[position], new, give_up=give_up)
            except ModelError as error:
                raise ModelError(f"node {describe(record)}: {error.message}") from None
        return tuple(wider)


def _shapeless(kind: Type) -> Type:
    return TensorType(kind.dtype, None) if isinstance(kind, TensorType) else kind


def _capture_types(captures: Captures) -> tuple[Type, ...]:
    return tuple(param_type(value.derived_type) for value in captures.values)


def _has_regions(value: Any) -> bool:
    return any(isinstance(item, Region) for item in items_of(value)[:1])


def _all_capturing(value: Any, captures: Captures) -> Any:
    """Bodies with parameters for all captures: the first did not know those of later ones."""
    if isinstance(value, Body):
        kept = value.params[: len(value.params) - value.captures]
        return Body(kept + _capture_types(captures), value.outputs, len(captures.values))
    if isinstance(value, tuple):
        return tuple(_all_capturing(item, captures) for item in items_of(value))
    return value


def _fits(shape: tuple[int, ...], kind: TensorType) -> bool:
    if kind.shape is None:
        return True
    return len(shape) == len(kind.shape) and all(
        not isinstance(wanted, int) or wanted == size
        for size, wanted in zip(shape, kind.shape, strict=True)
    )


def _place(record: Record) -> str:
    if record.op_type == INITIALIZER and record.domain == "graphopt":
        return f"initializer {shown(record.name)}"
    return f"node {describe(record)}"


def _reason(record: Record, error: GraphoptError) -> str:
    if isinstance(error, VerifyError) or error.at not in ("", record.op_type):
        return str(error)
    return error.message


def _grouped(pairs: Iterable[tuple[Node, Record]]) -> dict[Node, tuple[Record, ...]]:
    found: dict[Node, tuple[Record, ...]] = {}
    for node, record in pairs:
        found[node] = (*found.get(node, ()), record)
    return found
