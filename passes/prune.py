"""Prune: drop what nobody uses.

Nodes that no output depends on are gone by construction (a graph is what its outputs reach). Left
to drop are outputs that nobody takes and values that a body captures without need.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

from graphopt.body import Body
from graphopt.errors import TypeRuleError
from graphopt.graph import Graph
from graphopt.ir import Node, walk
from graphopt.pipeline import Context, Pass
from graphopt.structural import bound, out, out_op


@dataclass(frozen=True)
class Prune(Pass):
    """Drop dead nodes, outputs that nobody takes and captures that no body needs.

    Given:   %a, %b = MaxPool(%x) {outputs = 2}; return %a       Result:   %a = MaxPool(%x)
    """

    name: ClassVar[str] = "prune"
    own: ClassVar[tuple[str, ...]] = ("unused",)

    def run(self, graph: Graph, context: Context) -> Graph:
        graph = _without_dead_records(graph)
        if not any(node.op is out_op or node.op.has_bodies for node in walk(graph.roots)):
            return graph
        while True:
            highest = taken_outputs(graph.roots)
            pruned = context.sweep(graph, partial(trimmed, highest=highest))
            if pruned is graph:
                return graph
            graph = pruned


def trimmed(node: Node, highest: Mapping[Node, int]) -> tuple[Node, str] | None:
    """The rewriter: a node without what nobody takes of it."""
    made = trim_outputs(node, highest) or trim_captures(node)
    return None if made is None else (made, "prune.unused")


def _without_dead_records(graph: Graph) -> Graph:
    """The graph, no longer taken for untouched when its file held nodes that nothing needs."""
    if not graph.untouched:
        return graph
    alive = set(walk(graph.roots))
    if all(node in alive and len(held) == 1 for node, held in graph.tables.records.items()):
        return graph
    return replace(graph, tables=replace(graph.tables, origin=()))


def taken_outputs(roots: tuple[Node, ...]) -> Mapping[Node, int]:
    """The highest output that is taken of every node that has several."""
    highest: dict[Node, int] = {}
    for node in walk(roots):
        if node.op.name == "Out":
            source, index = node.inputs[0], node.attrs["index"]
            highest[source] = max(index, highest.get(source, 0))
    return highest


def trim_outputs(node: Node, highest: Mapping[Node, int]) -> Node | None:
    """Output i of a node that has no outputs behind the last one taken.

    Only for ops whose attribute `outputs` says how many there are and means nothing else.
    """
    if node.op.name != "Out":
        return None
    source = node.inputs[0]
    last = highest.get(source)
    optional = source.op.attributes.get("outputs")
    if last is None or optional is None or source.op.name == "Split" or source.op.has_bodies:
        return None
    if source.op.arguments(source.attrs)["outputs"] <= last + 1:
        return None
    try:
        trimmed = source.op(*_operands(source), **{**source.attrs, "outputs": last + 1})
    except TypeRuleError:  # such as TopK: it always has all
        return None
    return trimmed if last == 0 else out(trimmed, node.attrs["index"])


def _operands(node: Node) -> list[Node | None]:
    return [None if item.is_absent else item for item in node.inputs]


def trim_captures(node: Node) -> Node | None:
    """The node without captures that are constants (free in a body), repeated, or not used."""
    bodies = dict(node.bodies)
    captures = max((body.captures for body in bodies.values()), default=0)
    if not captures or node.op.facts.opaque:
        return None
    first = len(node.inputs) - captures
    captured = node.inputs[first:]
    used = {
        item.attrs["index"]
        for body in bodies.values()
        for item in walk(body.outputs)
        if item.op.name == "Bound"
    }
    offset = {name: len(body.params) - captures for name, body in bodies.items()}
    kept: list[Node] = []
    for k, item in enumerate(captured):
        needed = any(offset[name] + k in used for name in bodies)
        if needed and item.constant is None and item not in kept:
            kept.append(item)
    if len(kept) == captures:
        return None
    made = {name: _recaptured(body, captured, kept) for name, body in bodies.items()}
    return Node(node.op, (*node.inputs[:first], *kept), {**node.attrs, **made})


def _recaptured(body: Body, captured: tuple[Node, ...], kept: list[Node]) -> Body:
    """The body over the captures that are kept; constants stand in it instead."""
    formals = len(body.params) - body.captures
    own = [bound(k, kind) for k, kind in enumerate(body.params[:formals])]
    place = {item: formals + body_index for body_index, item in enumerate(kept)}
    types = list(body.params[:formals])
    arguments: list[Node] = list(own)
    kinds = {item: body.params[formals + captured.index(item)] for item in kept}
    types += [kinds[item] for item in kept]
    for item in captured:
        held = item if item not in place else bound(place[item], kinds[item])
        arguments.append(held)
    _, outputs = body.open(arguments)
    return Body(tuple(types), tuple(outputs), len(kept))
