"""Regions of a graph that are small enough to be looked at as a whole.

A region is connected and convex: no path leaves it and comes back, so that what is made of its
inputs anew may stand in its place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from graphopt.ir import Node, walk


@dataclass(frozen=True, slots=True)
class Region:
    """Some nodes, inputs first; those of them that are `values` are used outside, too.

    `leaves` are the operands from outside.
    """

    nodes: tuple[Node, ...]
    values: tuple[Node, ...]
    leaves: tuple[Node, ...]


def regions_of(roots: Sequence[Node], admits: Callable[[Node], bool], most: int) -> list[Region]:
    """The regions of two nodes or more under some roots, of `most` at the most.

    Of a larger one, each `most` nodes in their order are one.
    """
    nodes = list(walk(roots))
    uses = Counter(item for node in nodes for item in node.inputs)
    uses.update(roots)
    found: list[Region] = []
    for group in _groups(nodes, admits):
        for begin in range(0, len(group), most):
            part = group[begin : begin + most]
            if len(part) > 1:
                found.append(_region(part, uses))
    return found


def _groups(nodes: Iterable[Node], admits: Callable[[Node], bool]) -> list[list[Node]]:
    """The nodes that are admitted, by where they are connected at one level.

    The level grows wherever a path goes through a node that is not admitted: of one level, no path
    leaves and comes back.
    """
    level: dict[Node, int] = {}
    parent: dict[Node, Node] = {}

    def top(node: Node) -> Node:
        while parent[node] is not node:
            parent[node] = node = parent[parent[node]]
        return node

    for node in nodes:
        inside = admits(node)
        level[node] = max((level[item] for item in node.inputs), default=0) + (not inside)
        if not inside:
            continue
        parent[node] = node
        for item in node.inputs:
            if item in parent and level[item] == level[node]:
                parent[top(item)] = top(node)
    groups: dict[Node, list[Node]] = {}
    for node in parent:
        groups.setdefault(top(node), []).append(node)
    return list(groups.values())


def _region(part: list[Node], uses: Counter[Node]) -> Region:
    inside = set(part)
    within = Counter(item for node in part for item in node.inputs)
    values = tuple(node for node in part if uses[node] > within[node])
    operands = (item for node in part for item in node.inputs if item not in inside)
    return Region(tuple(part), values, tuple(dict.fromkeys(operands)))
