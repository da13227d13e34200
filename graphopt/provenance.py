"""Where a node of a graph comes from, in the words of its author: a file and line, or a name."""

from __future__ import annotations

from graphopt.graph import Graph
from graphopt.ir import Node

MANY = 3
"""A node made of more than this many others names only the first ones."""


def origin(graph: Graph, node: Node) -> str:
    """The places in a Python program, or the nodes in a model's file, that made a node.

    Empty when nothing is known, as for a node inside a body.
    """
    tables = graph.tables
    found: dict[str, None] = {}
    pending, seen = [node], {node}
    for current in pending:
        if (place := tables.locations.get(current)) is not None:
            found[f"{place.file}:{place.line}"] = None
        for record in tables.records.get(current, ()):
            found[record.name or next(filter(None, record.outputs), "")] = None
        made = tables.derivations.get(current)
        fresh = [old for old in (made.olds if made else ()) if old not in seen]
        seen.update(fresh)
        pending += fresh
    names = [name for name in found if name]
    return ", ".join(names[:MANY]) + (", ..." if len(names) > MANY else "")


def described(graph: Graph, node: Node) -> str:
    """A node's label and where it comes from."""
    told = origin(graph, node)
    return f"{node.label} ({told})" if told else node.label
