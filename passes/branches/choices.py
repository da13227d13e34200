"""MergeChoices: what is chosen by one predicate is chosen at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from graphopt.body import Body, all_nodes
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.ops.control import if_
from graphopt.pipeline import Context, ScopePass
from graphopt.rewriting.plan import Made
from graphopt.structural import out, out_op

Key = tuple[Node, int]


@dataclass(frozen=True)
class MergeChoices(ScopePass):
    """Merge Ifs on one predicate of which none depends on another.

    Given:   %1 = If(%p, %x) {f, g}; %2 = If(%p, %x) {h, k}; %3 = Add(%1, %2)
    Result:  %1, %2 = If(%p, %x) {f and h, g and k}; %3 = Add(%1, %2)

    Only those are merged before which equally many Ifs stand one behind another: so no two merged
    Ifs can come to wait for each other.
    """

    name: ClassVar[str] = "merge-choices"
    own: ClassVar[tuple[str, ...]] = ("same",)

    def scope(self, graph: Graph, context: Context) -> Graph:
        levels = _levels(graph)
        groups: dict[Key, list[Node]] = {}
        for node, level in levels.items():
            if node.op is if_ and not _has_effects(node):
                groups.setdefault((node.inputs[0], level), []).append(node)
        group_of = {node: found for found in groups.values() if len(found) > 1 for node in found}
        if not group_of:
            return graph
        merged: dict[Node, Node] = {}

        def planned(node: Node, made: Node, new: Made) -> tuple[str, Node] | None:
            chosen = node.inputs[0] if node.op is out_op else node
            group = group_of.get(chosen)
            if group is None or (chosen is node and _count(node) > 1):
                return None
            if group[0] not in merged:
                merged[group[0]] = _merged(group, new)
            first = sum(_count(item) for item in group[: group.index(chosen)])
            index: int = first + (node.attrs["index"] if node.op is out_op else 0)
            return "merge-choices.same", out(merged[group[0]], index)

        return context.follow(graph, planned, sorted(levels, key=levels.__getitem__))


def _levels(graph: Graph) -> dict[Node, int]:
    """How many Ifs stand one behind another up to each node, itself among them."""
    made: dict[Node, int] = {}
    for node in graph.order:
        made[node] = max((made[item] for item in node.inputs), default=0) + (node.op is if_)
    return made


def _has_effects(node: Node) -> bool:
    inner = all_nodes(tuple(item for _, body in node.bodies for item in body.outputs))
    return any(item.op.facts.opaque or item.op.facts.mutates for item in inner)


def _count(node: Node) -> int:
    body: Body = node.attrs["then_branch"]
    return len(body.outputs)


def _merged(group: Sequence[Node], new: Made) -> Node:
    """One If with the outputs of all, over what became of their captures."""
    captured = [[new(item) for item in node.inputs[1:]] for node in group]
    every = tuple(dict.fromkeys(item for items in captured for item in items))
    bodies: dict[str, Body] = {}
    for name in ("then_branch", "else_branch"):
        outputs: list[Node] = []
        for node, items in zip(group, captured, strict=True):
            outputs += node.attrs[name].open(items)[1]
        bodies[name] = Body.close((), every, outputs)
    made: Node = if_(
        new(group[0].inputs[0]), *every, **bodies, outputs=sum(_count(node) for node in group)
    )
    return made
