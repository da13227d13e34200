"""Strip: what a model carries for debugging alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.pipeline import Context, Pass
from graphopt.records import ModelInfo, Record, Region, Tables
from graphopt.refine import refines


@dataclass(frozen=True)
class StripDebug(Pass):
    """Remove doc strings, stack traces, and the operators that only look at what they pass on.

    Never run unless it is named. Removed are the doc strings of model, graph and nodes, and the
    metadata of nodes, in which exporters leave stack traces; with `metadata`, also that of model
    and graph, which programs may read. `ops` names operators of custom domains that hand their
    inputs on unchanged, such as prints and assertions: a glob over domain.name, or several joined
    by `|`. One whose output says more of its type than its input does is left. Names stay; Identity
    and Dropout, which are no debugging alone, go by `simplify`.

    Given:   %1 = my.debug.Print(%x); %2 = Relu(%1); return %2      {ops=my.debug.*}
    Result:  %1 = Relu(%x); return %1
    """

    name: ClassVar[str] = "strip-debug"
    ops: str = ""
    metadata: bool = False

    def run(self, graph: Graph, context: Context) -> Graph:
        """The graph without them; the same one when it has none."""
        globs = [glob.strip() for glob in self.ops.split("|") if glob.strip()]

        def rewrite(node: Node) -> tuple[Node, str] | None:
            passed = passed_on(node, globs)
            return None if passed is None else (passed, "strip-debug.op")

        made = context.sweep(graph, rewrite) if globs else graph
        tables, count = stripped(made.tables, self.metadata)
        if not count:
            return made
        context.count("strip-debug.text", count)
        return replace(made, tables=tables)


def passed_on(node: Node, globs: list[str]) -> Node | None:
    """The input that an output of a debugging operator hands on, None of any other value."""
    index: int = node.attrs["index"] if node.op.name == "Out" else 0
    source = node.inputs[0] if node.op.name == "Out" else node
    if not source.op.facts.opaque or not 0 <= index < len(source.inputs):
        return None
    name = f"{source.op.domain}.{source.op.name}"
    if not source.op.domain or not any(fnmatchcase(name, glob) for glob in globs):
        return None
    passed = source.inputs[index]
    return passed if not passed.is_absent and refines(passed, node) else None


def stripped(tables: Tables, metadata: bool) -> tuple[Tables, int]:
    """Tables without texts for debugging, and how many records and heads had some."""
    records = {node: tuple(map(_plain, held)) for node, held in tables.records.items()}
    info = _plain_info(tables.info, metadata)
    count = sum(
        new is not old
        for node, held in tables.records.items()
        for old, new in zip(held, records[node], strict=True)
    ) + (info is not tables.info)
    return replace(tables, records=records, info=info), count


def _plain_info(info: ModelInfo | None, metadata: bool) -> ModelInfo | None:
    if info is None:
        return None
    plain = replace(info, doc="", graph_doc="")
    if metadata:
        plain = replace(plain, metadata=(), graph_metadata=())
    return info if plain == info else plain


def _plain(record: Record) -> Record:
    """A record without them; itself when it has none."""
    attributes = tuple((name, _plain_attribute(value)) for name, value in record.attributes)
    changed = any(a[1] is not b[1] for a, b in zip(attributes, record.attributes, strict=True))
    if not (changed or record.doc or record.metadata):
        return record
    return replace(record, attributes=attributes, doc="", metadata=())


def _plain_attribute(value: Any) -> Any:
    if isinstance(value, tuple):
        items: tuple[Any, ...] = value  # pyright: ignore[reportUnknownVariableType]
        made = tuple(map(_plain_attribute, items))
        same = all(new is old for new, old in zip(made, items, strict=True))
        return items if same else made
    if not isinstance(value, Region):
        return value
    records = tuple(map(_plain, value.records))
    same = all(new is old for new, old in zip(records, value.records, strict=True))
    if same and not (value.doc or value.metadata):
        return value
    return replace(value, records=records, doc="", metadata=())
