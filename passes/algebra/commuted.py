"""Commuted: a + b and b + a are computed once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphopt.graph import Graph
from graphopt.ir import Node, attributes_key
from graphopt.op import Op
from graphopt.pipeline import Context, Pass

Key = tuple[Op, frozenset[Node], object]


def key_of(node: Node) -> Key | None:
    """What two nodes have in common that differ by the order of their operands alone."""
    if not node.op.facts.commutative or len(node.inputs) != 2:
        return None
    return node.op, frozenset(node.inputs), attributes_key(node.attrs)


@dataclass(frozen=True)
class Commuted(Pass):
    """Merge nodes that differ by the order of operands which may be exchanged.

    Given:   %1 = Add(%x, %y); %2 = Add(%y, %x); %3 = Mul(%1, %2)
    Result:  %1 = Add(%x, %y); %2 = Mul(%1, %1)

    Nodes that are equal as they stand are one from the start.
    """

    name: ClassVar[str] = "commuted"
    own: ClassVar[tuple[str, ...]] = ("same",)

    def run(self, graph: Graph, context: Context) -> Graph:
        first: dict[Key, Node] = {}

        def rewrite(node: Node) -> tuple[Node, str] | None:
            key = key_of(node)
            found = node if key is None else first.setdefault(key, node)
            return None if found is node else (found, "commuted.same")

        return context.sweep(graph, rewrite)
