"""What a text holds and in which order, found before a line of it is written.

A scope is the graph's or a body's list of nodes. Nodes are interned, so one that stands in two
bodies has one name in both, and a table can refer to it from outside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any

from graphopt.body import Body
from graphopt.dims import Dim, DimOf, atoms
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.op import absent
from graphopt.order import canonical
from graphopt.records import ModelInfo, Record, Region, Tables
from graphopt.structural import bound
from graphopt.tensor import Tensor
from graphopt.text.words import is_plain
from graphopt.types import MapType, OptionalType, SequenceType, TensorType, TupleType


class Layout:
    """The scopes of a graph's text.

    `scopes` holds the nodes of the graph (None) and of each body, `history` those that only tables
    refer to, `outs` the outputs of each node of several, `named` the nodes that tables refer to,
    `plain` the names that values have without quotes, and `repeats` counts bodies and tensors.
    """

    def __init__(self, graph: Graph, *, tables: bool) -> None:
        self._tables = graph.tables if tables else Tables(names=graph.tables.names)
        self.scopes: dict[Body | None, list[Node]] = {}
        self.outs: dict[Node, dict[int, Node]] = {}
        self.repeats: Counter[Body | Tensor] = Counter()
        self._placed = {absent}
        self._collect(None, (*graph.inputs, *graph.nodes), {absent})
        for tensor in graph.defaults.values():
            self._scan(tensor)
        wanted = list(self._referred()) if tables else []
        self.named = {*graph.tables.names, *wanted}
        self.history = in_order(wanted, self._placed)
        self._note(self.history)
        self._scan((self._tables.info, *self._tables.records.values()))
        self.plain = _plain_names(graph)

    def _referred(self) -> Iterator[Node]:
        """The nodes that tables refer to, in an order that parsing keeps.

        Rows are printed in their order. Not those of names, most of which are no rows: by name.
        """
        tables = self._tables
        for table in (tables.records, tables.locations):
            yield from table
        for node, made in tables.derivations.items():
            yield node
            yield from made.olds
        yield from tables.origin
        yield from mentioned((tables.info, *tables.records.values()))
        yield from sorted(tables.names, key=tables.names.__getitem__)

    def _collect(self, scope: Body | None, nodes: Iterable[Node], placed: set[Node]) -> None:
        order = self.scopes[scope] = in_order(nodes, placed)
        self._placed |= placed
        self._note(order)

    def _note(self, nodes: Iterable[Node]) -> None:
        for node in nodes:
            if node.op.name == "Out":
                self.outs.setdefault(node.inputs[0], {})[node.attrs["index"]] = node
            for name in sorted(node.attrs):
                self._scan(node.attrs[name])

    def _scan(self, value: Any) -> None:
        if isinstance(value, tuple | Record | Region | ModelInfo):
            for item in parts(value):  # pyright: ignore[reportUnknownArgumentType]
                self._scan(item)
        elif isinstance(value, Tensor):
            if is_large(value):
                self.repeats[value] += 1
        elif isinstance(value, Body):
            self.repeats[value] += 1
            if value not in self.scopes:
                params = {bound(k, kind) for k, kind in enumerate(value.params)}
                nodes = canonical(value.outputs, self._tables)
                self._collect(value, nodes, {absent} | params)


def is_large(tensor: Tensor) -> bool:
    """Whether a tensor is known by its memory, not by its bits, and is kept out of the text."""
    return type(tensor.key[-1]) is int


def in_order(nodes: Iterable[Node], placed: set[Node]) -> list[Node]:
    """The nodes, each after its inputs and the values that its types mention; adds to `placed`."""
    order: list[Node] = []
    for wanted in nodes:
        stack = [wanted]
        while stack:
            node = stack[-1]
            pending = [item for item in _needs(node) if item not in placed]
            if node in placed:
                stack.pop()
            elif pending:
                stack += reversed(pending)
            else:
                stack.pop()
                placed.add(node)
                order.append(node)
    return order


def _needs(node: Node) -> list[Node]:
    return [*node.inputs, *mentioned((node.derived_type, *node.attrs.values()))]


def mentioned(value: Any) -> list[Node]:
    """The values whose axes occur in a size, a type, a body's parameters, or a tuple of those."""
    found: list[Node] = []
    pending = [value]
    while pending:
        item = pending.pop()
        match item:
            case Dim():
                axes = [atom for atom in atoms(item) if isinstance(atom, DimOf)]
                found += (atom.value for atom in sorted(axes, key=_stable))
            case TensorType():
                pending += (s for s in (item.shape or ()) if isinstance(s, Dim))
                pending += (e for e in (item.known or ()) if isinstance(e, Dim))
            case TupleType(inside) | Body(params=inside):
                pending += inside
            case SequenceType(inside) | OptionalType(inside) | MapType(_, inside):
                pending.append(inside)
            case tuple() | Record() | Region() | ModelInfo():
                pending += parts(item)  # pyright: ignore[reportUnknownArgumentType]
            case _:
                pass
    return found


def parts(value: tuple[Any, ...] | Record | Region | ModelInfo) -> Iterable[Any]:
    """The items of a tuple or the fields of a record."""
    if isinstance(value, tuple):
        return value
    return [getattr(value, field.name) for field in fields(value)]


def _stable(atom: DimOf) -> tuple[str, str, int]:
    """An order that does not depend on where things lie in memory."""
    return (atom.value.op.name, str(sorted(atom.value.attrs.items())), atom.axis)


def _plain_names(graph: Graph) -> dict[Node, str]:
    """The names that stand in the text as they are: identifiers that one value has."""
    inputs = Counter(graph.input_names)
    found = {
        node: name
        for node, name in zip(graph.inputs, graph.input_names, strict=True)
        if inputs[name] == 1 and is_plain(name)
    }
    others = {n: name for n, name in graph.tables.names.items() if n.op.name != "Input"}
    counts = Counter(others.values())
    return found | {
        node: name
        for node, name in others.items()
        if counts[name] == 1 and name not in inputs and is_plain(name)
    }
