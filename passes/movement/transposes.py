"""Transposes are moved, merged and cancelled over the whole graph, where that moves fewer bytes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.ops.movement import transpose
from graphopt.passes.movement.permuted import Perm, inverse
from graphopt.passes.movement.relayout import Rebuilding
from graphopt.passes.movement.row_major import STILL_TRANSPOSES, order_of
from graphopt.passes.movement.shapes import transposes as compositions
from graphopt.passes.movement.two_layouts import Layouts
from graphopt.pipeline import Attempt, Context, ScopePass
from graphopt.rewriting.rule import Math

__all__ = ["STILL_TRANSPOSES", "Transposes"]

LAYOUTS = 16
"""So many pairs of layouts, those of the most transposes first, are looked at."""
ROUNDS = 4
"""So often: what is moved between two layouts may meet others."""


@dataclass(frozen=True)
class Transposes(ScopePass):
    """Move transposes together where they cancel or move fewer bytes: never more of either.

    Given:   %1 = Transpose(%x); %2 = Relu(%1); %3 = Transpose(%2); return %3
    Result:  %3 = Relu(%x)
    """

    name: ClassVar[str] = "transposes"
    own: ClassVar[tuple[str, ...]] = ("move",)

    def scope(self, graph: Graph, context: Context) -> Graph:
        for _ in range(ROUNDS):
            before = graph = context.rewrite(graph, compositions)
            for perm in pairs_of(graph):
                layouts = Layouts(graph, perm, strict=context.math is Math.STRICT)
                chosen = layouts.chosen(context.tick)
                if chosen is not None:
                    graph = moved(layouts, chosen, context)
            if graph is before:
                break
        return context.rewrite(graph, STILL_TRANSPOSES)


def moved(layouts: Layouts, chosen: dict[Node, bool], context: Context) -> Graph:
    """The graph with nodes in the layouts that are chosen: one rewrite, all of it or nothing."""
    graph = layouts.graph
    rule, others = layouts.rule, [n for n, side in chosen.items() if side is not layouts.frame[n]]
    if not others or not context.allows(rule, others[0]):
        return graph
    rebuilding = Rebuilding(layouts, chosen)
    made = rebuilding.graph()
    if made is graph:
        return graph
    done = [(rule, others[0], rebuilding.what_became(others[0]))]
    return context.keep(Attempt(made, Counter((rule,)), done))


def pairs_of(graph: Graph) -> list[Perm]:
    """A permutation of each pair of inverse ones in a graph, the most used first."""
    found = Counter(
        min(order, inverse(order))
        for node in graph.order
        if node.op is transpose and (order := order_of(node)) is not None
    )
    ordered = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))
    return [perm for perm, _ in ordered[:LAYOUTS]]
