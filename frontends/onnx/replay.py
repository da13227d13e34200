"""Writing a graph that nobody changed: its records again, as they were."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from graphopt.frontends.onnx.call import items_of
from graphopt.frontends.onnx.kinds import merged
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.records import INITIALIZER, ModelInfo, Ports, Record, Region
from graphopt.types import UNKNOWN, Type


def replayed(graph: Graph) -> Region | None:
    """The region of a graph as its file had it, dead and repeated nodes included; None if it is not
    what the file had."""
    info = graph.tables.info
    if info is None or not graph.untouched or graph.effects:
        return None
    found: dict[int, Record] = {}
    made: dict[str, Node] = {item.attrs["name"]: item for item in graph.inputs}
    for node, records in graph.tables.records.items():
        for record in records:
            found[record.ordinal] = record
            made.update(dict.fromkeys(record.outputs, node))
    for record in list(found.values()):
        for inner in nested(record):
            found.pop(inner.ordinal, None)
    for name, value in zip(graph.output_names, graph.outputs, strict=True):
        base = value.inputs[0] if value.op.name == "Out" else value
        if made.get(name) is not base:
            return None
    ordered = [found[ordinal] for ordinal in sorted(found)]
    outer = {name for record in ordered for name in record.outputs}
    named = ((name, value) for value, name in graph.tables.names.items() if name in outer)
    return Region(
        input_ports(graph),
        output_ports(graph, info),
        (*default_records(graph), *ordered),
        graph.name,
        value_ports(named, graph, info),
        info.graph_doc,
        info.graph_metadata,
        info.annotations,
    )


def nested(record: Record) -> Iterator[Record]:
    """The records in the subgraphs of a record, at any depth."""
    pending = [record]
    while pending:
        for _, value in pending.pop().attributes:
            for item in items_of(value):
                if isinstance(item, Region):
                    yield from item.records
                    pending += item.records


def default_records(graph: Graph) -> list[Record]:
    """The initializers of inputs that a caller may leave out."""
    return [
        Record(0, INITIALIZER, (), (item.attrs["name"],), (("value", tensor),), "graphopt")
        for item, tensor in graph.defaults.items()
    ]


def input_ports(graph: Graph) -> Ports:
    """The inputs as they are written."""
    return tuple((item.attrs["name"], item.derived_type) for item in graph.inputs)


def output_ports(graph: Graph, info: ModelInfo | None) -> Ports:
    """The outputs with their derived types, and of the declared what does not contradict those."""
    declared: Mapping[str, Type] = dict(info.declared) if info else {}
    pairs = zip(graph.output_names, graph.outputs, strict=True)
    return tuple((n, merged(v.derived_type, declared.get(n, UNKNOWN))) for n, v in pairs)


def value_ports(named: Iterable[tuple[str, Node]], graph: Graph, info: ModelInfo | None) -> Ports:
    """The types to write of values inside: those that the file declared, and of opaque nodes."""
    declared: Mapping[str, Type] = dict(info.declared) if info else {}
    signature = {*graph.output_names, *graph.input_names}
    ports: list[tuple[str, Type]] = []
    for name, value in named:
        base = value.inputs[0] if value.op.name == "Out" else value
        if name in signature or value.constant is not None or base.op.name == "Bound":
            continue
        if name in declared or base.op.facts.opaque:
            kind = merged(value.derived_type, declared.get(name, UNKNOWN))
            if kind != UNKNOWN:
                ports.append((name, kind))
    return tuple(ports)
