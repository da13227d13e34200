"""Rewrites that a pass has planned by looking at a whole graph, made in one walk over it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from graphopt.graph import Graph
from graphopt.ir import Node, walk
from graphopt.records import Derivation
from graphopt.refine import refines

Made = Callable[[Node], Node]
"""What became of a node that stands before."""
Planner = Callable[[Node, Node, Made], tuple[str, Node] | None]
"""What is planned for a node: given it, the same over its new inputs, and what became of others,
the name of a rule and what it puts there; None to keep it."""
Allows = Callable[[str, Node, int], bool]
"""Whether a rule may replace a node, after so many other rewrites."""


@dataclass
class Followed:
    """A graph after a plan, and what was done: (rule, old, new)."""

    graph: Graph
    done: list[tuple[str, Node, Node]] = field(default_factory=list[tuple[str, Node, Node]])


def followed(
    graph: Graph,
    planner: Planner,
    allows: Allows,
    tick: Callable[[], None],
    order: Iterable[Node] | None = None,
) -> Followed:
    """The graph by a plan, bodies not entered; what has a weaker type than it replaces is not made.

    Each replacement must mean the same whether or not the others are made. `order` holds all nodes
    in the order in which they are asked for, inputs before users; None: as they are walked.
    """
    made = Followed(graph)
    memo: dict[Node, Node] = {}
    derived: dict[Node, Derivation] = {}
    known = graph.tables.records
    for step, node in enumerate(walk(graph.roots) if order is None else order):
        if step % 256 == 0:
            tick()
        new, rule = node.with_inputs(tuple([memo[item] for item in node.inputs])), ""
        planned = planner(node, new, memo.__getitem__)
        differs = planned is not None and planned[1] is not new and refines(planned[1], new)
        if planned is not None and differs and allows(planned[0], new, len(made.done)):
            made.done.append((planned[0], new, planned[1]))
            rule, new = planned
        if new is not node and new not in known:
            derived.setdefault(new, Derivation(rule, (node,)))
        memo[node] = new
    roots = tuple(memo[root] for root in graph.roots)
    if roots != graph.roots:
        made.graph = graph.with_outputs(roots, derived)
    return made
