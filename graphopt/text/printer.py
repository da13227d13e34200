"""Write a graph as text: `print_graph`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from types import NoneType
from typing import Any, cast

from graphopt.body import Body
from graphopt.dims import Dim
from graphopt.errors import UnsupportedError
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.op import OPSET, absent
from graphopt.records import Record, Region
from graphopt.structural import OpaqueOp, bound, constant_op
from graphopt.tensor import Tensor
from graphopt.text.elements import tensor_of, words_of
from graphopt.text.layout import Layout, is_large, parts
from graphopt.text.side import SideFile
from graphopt.text.types import size_text, type_text
from graphopt.text.words import bytes_text, float_text, quote, word
from graphopt.types import DType, TupleType, Type

VERSION = 1
"""The version of the form, which stands in the first line."""

_SCALARS: dict[type, Callable[[Any], str]] = {
    NoneType: lambda _: "none",
    bool: lambda value: "true" if value else "false",
    int: str,
    float: float_text,
    str: quote,
    bytes: bytes_text,
    DType: lambda dtype: dtype.label,
}


def print_graph(graph: Graph, *, max_lines: int | None = None, side: SideFile | None = None) -> str:
    """The text of a graph, from which `parse_graph` makes the same graph.

    Constants of more than 1 KiB go to `side`, or into the text where there is none. With
    `max_lines`, a text for readers: only so many lines of nodes, no large constants, no tables.
    """
    return Printer(graph, side, max_lines).text()


class Printer:
    """The writer of one text."""

    def __init__(self, graph: Graph, side: SideFile | None, max_lines: int | None) -> None:
        self.graph = graph
        self.side = side
        self.brief = max_lines is not None
        self.left = -1 if max_lines is None else max_lines
        self.layout = Layout(graph, tables=not self.brief)
        self.names: dict[Node, str] = {absent: "_"}
        self.numbers = 0
        self.anchors: dict[Body | Tensor, str] = {}

    def text(self) -> str:
        """All of it."""
        graph = self.graph
        lines = [f"graph {word(graph.name)}"]
        inputs = frozenset(graph.inputs)
        lines += self.nodes(self.layout.scopes[None], "", inputs)
        for name, node in zip(graph.output_names, graph.outputs, strict=True):
            lines.append(f"output {word(name)} = {self.name(node)}")
        lines += [f"effect {self.name(node)}" for node in graph.effects]
        if not self.brief:
            lines += self.tables()
        lines.append("end\n")
        head = [f"graphopt {VERSION} opset {OPSET}"]
        if self.side is not None and len(self.side):
            head.append(f"data {quote(self.side.tag)}")
        return "\n".join(head + lines)

    # Names

    def define(self, node: Node) -> str:
        """The name of a value, which it gets here unless it has one."""
        name = self.names.get(node)
        if name is None:
            plain = self.layout.plain.get(node)
            if plain is None:
                plain = str(self.numbers)
                self.numbers += 1
            name = self.names[node] = "%" + plain
        return name

    def name(self, node: Node) -> str:
        """The name of a value that is defined; in a text cut short it may not be."""
        return self.define(node) if self.brief else self.names[node]

    # Nodes

    def nodes(
        self, nodes: Sequence[Node], indent: str, inputs: frozenset[Node] = frozenset()
    ) -> Iterator[str]:
        """A line for each of the nodes; outputs stand with their node."""
        for k, node in enumerate(nodes):
            if node in inputs:
                yield self.input(node)
            elif node.op.name != "Out":
                if not self.left:
                    rest = sum(n.op.name != "Out" and n not in inputs for n in nodes[k:])
                    yield f"{indent}… {rest} more nodes"
                    return
                self.left -= 1
                yield f"{indent}{self.targets(node)} = {self.made(node, indent)}"

    def input(self, node: Node) -> str:
        """The line of an input of the graph."""
        name: str = node.attrs["name"]
        shown = self.define(node)
        given = "" if shown == "%" + name else " " + quote(name)
        text = f"input {shown}{given} : {self.type(node.attrs['type'], known=True)}"
        default = self.graph.defaults.get(node)
        return text if default is None else f"{text} = {self.value(default, '')}"

    def targets(self, node: Node) -> str:
        """What stands left of the `=` of a node."""
        kind = node.derived_type
        if not isinstance(kind, TupleType):
            return self.define(node)
        text = ""
        if node in self.layout.named or not kind.elements:
            text = self.define(node)
        outs = self.layout.outs.get(node, {})
        if kind.elements:
            count = len(kind.elements)
            listed = ", ".join(self.define(outs[k]) if k in outs else "_" for k in range(count))
            text += (" = " if text else "") + listed + ("," if count == 1 else "")
        return text

    def made(self, node: Node, indent: str) -> str:
        """What stands right of the `=` of a node."""
        attrs = dict(node.attrs)
        if node.op is constant_op:
            return self.value(attrs["value"], indent)
        name = word(node.op.name)
        if node.op.domain:
            name = f"{word(node.op.domain)}::{name}"
        opaque = isinstance(node.op, OpaqueOp)
        if opaque:
            name += f"#{attrs.pop('origin')}"
            del attrs["types"]
        inputs = ", ".join(self.name(item) for item in node.inputs)
        items = ", ".join(
            f"{word(key)} = {self.value(attrs[key], indent)}" for key in sorted(attrs)
        )
        text = f"{name}({inputs})" + (f" {{{items}}}" if items else "")
        return f"{text} : {self.type(node.derived_type, known=opaque)}"

    # Values

    def type(self, kind: Type, *, known: bool = False) -> str:
        """A type."""
        return type_text(kind, self.name, known=known)

    def value(self, value: Any, indent: str) -> str:
        """The value of an attribute."""
        kind = cast("type[object]", type(value))
        written = _SCALARS.get(kind)
        if written is not None:
            return written(value)
        match value:
            case Tensor() | Body():
                return self.anchored(value, indent)
            case tuple():
                return f"[{', '.join([self.value(item, indent) for item in parts(value)])}]"  # pyright: ignore[reportUnknownArgumentType]
            case Record() | Region():
                return f"{kind.__name__.lower()} {self.fields(value)}"
            case Dim():
                return f"size({size_text(value, self.name)})"
            case _ if isinstance(value, Type):
                return self.type(value, known=True)
            case _:
                raise UnsupportedError(f"{kind.__name__} has no textual form")

    def anchored(self, value: Body | Tensor, indent: str) -> str:
        """A body or a tensor; where it occurs again, only its mark."""
        mark = self.anchors.get(value, "")
        if mark:
            return mark
        if self.layout.repeats[value] > 1:
            mark = self.anchors[value] = f"&{len(self.anchors)}"
        text = self.body(value, indent) if isinstance(value, Body) else self.tensor(value)
        return f"{mark} {text}" if mark else text

    def body(self, body: Body, indent: str) -> str:
        """A body as an indented block."""
        params = ", ".join(
            f"{self.define(bound(k, kind))} : {self.type(kind, known=True)}"
            for k, kind in enumerate(body.params)
        )
        captures = f" captures {body.captures}" if body.captures else ""
        lines = [f"body({params}){captures} {{"]
        lines += self.nodes(self.layout.scopes[body], indent + "  ")
        returned = ", ".join(self.name(node) for node in body.outputs)
        lines.append(f"{indent}  return {returned}".rstrip())
        lines.append(f"{indent}}}")
        return "\n".join(lines)

    def tensor(self, tensor: Tensor) -> str:
        """A tensor: its elements, its place in the side file, or its bytes."""
        kind = f"{tensor.dtype.label}[{', '.join(map(str, tensor.shape))}]"
        head = "splat" if tensor.is_splat else "tensor"
        if tensor.dtype is DType.STRING:
            texts = (item.decode("utf-8", "surrogateescape") for item in tensor.items)
            return f"{head}({kind}, [{', '.join(map(quote, texts))}])"
        if is_large(tensor):
            if self.brief:
                return f"{head}({kind}, …)"
            if self.side is not None:
                return f"{head}({kind}, at {self.side.put(tensor)})"
            return f"{head}({kind}, raw {quote(tensor.tobytes().hex())})"
        words = words_of(tensor)
        if tensor_of(tensor.dtype, tensor.shape, words, splat=tensor.is_splat) != tensor:
            return f"{head}({kind}, raw {quote(tensor.tobytes().hex())})"
        return f"{head}({kind}, [{', '.join(words)}])"

    # Tables

    def tables(self) -> Iterator[str]:
        """The sections after the graph: where it came from."""
        tables, names = self.graph.tables, self.names
        yield from section("history", self.nodes(self.layout.history, "  "))
        if tables.info is not None:
            yield f"info {self.fields(tables.info)}"

        def rows(table: Any) -> list[tuple[str, Any]]:
            return [(names[node], row) for node, row in table.items()]

        listed = {
            node: name
            for node, name in tables.names.items()
            if node.op.name == "Input" or names[node] != "%" + name
        }
        yield from section("names", (f"  {n} = {quote(name)}" for n, name in rows(listed)))
        yield from section(
            "records",
            (f"  {n} = {self.fields(r)}" for n, records in rows(tables.records) for r in records),
        )
        yield from section(
            "locations",
            (f"  {n} = {quote(at.file)} {at.line}" for n, at in rows(tables.locations)),
        )
        yield from section(
            "derivations",
            (
                f"  {n} = {quote(made.rule)} ({', '.join(names[old] for old in made.olds)})"
                for n, made in rows(tables.derivations)
            ),
        )
        if tables.origin:
            yield f"origin ({', '.join(names[node] for node in tables.origin)})"

    def fields(self, record: Any) -> str:
        """The fields of a record that differ from their defaults."""
        parts: list[str] = []
        for field in dataclasses.fields(record):
            value = getattr(record, field.name)
            if field.default is dataclasses.MISSING or value != field.default:
                parts.append(f"{field.name} = {self.value(value, '  ')}")
        return f"{{{', '.join(parts)}}}"


def section(name: str, lines: Iterator[str]) -> Iterator[str]:
    """A section in braces, nothing where it would be empty."""
    listed = list(lines)
    if listed:
        yield f"{name} {{"
        yield from listed
        yield "}"
