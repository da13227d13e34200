"""Rewrites that a pass has planned by looking at a whole graph, made in one walk over it.

Such a pass sees one scope at a time: the graph, or one body as a graph of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from graphopt.body import Body
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
    """The graph by a plan; what has a weaker type than it replaces is not made.

    Bodies are not entered: see `in_scopes`. Each replacement must mean the same whether or not the
    others are made. `order` holds all nodes in the order in which they are asked for, inputs before
    users; None: as they are walked.
    """
    made = Followed(graph)
    memo: dict[Node, Node] = {}
    derived: dict[Node, Derivation] = {}
    known = graph.tables.records
    for step, node in enumerate(graph.order if order is None else order):
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


def in_scopes(graph: Graph, run: Callable[[Graph], Graph], settled: set[Body]) -> Graph:
    """The graph after `run` on each of its bodies, what is inside one first, and on itself.

    A body is given as a graph whose inputs are the parameters that it uses. Those in `settled` are
    known to stay as they are; what is found to is added.
    """
    scopes = _Scopes(run, settled)
    roots = scopes.entered(graph)
    known = graph.tables.records
    derived = {node: made for node, made in scopes.derived.items() if node not in known}
    return run(graph if roots == graph.roots else graph.with_outputs(roots, derived))


@dataclass
class _Scopes:
    """The bodies of a graph, each of which is rewritten once."""

    run: Callable[[Graph], Graph]
    settled: set[Body]
    bodies: dict[Body, Body] = field(default_factory=dict[Body, Body])
    derived: dict[Node, Derivation] = field(default_factory=dict[Node, Derivation])

    def entered(self, scope: Graph) -> tuple[Node, ...]:
        """The roots of a scope over rewritten bodies."""
        if not any(map(may_enter, scope.order)):
            return scope.roots
        memo: dict[Node, Node] = {}
        for node in scope.order:
            made = node.with_inputs(tuple([memo[item] for item in node.inputs]))
            if may_enter(node):
                bodies = {name: self.body(body) for name, body in node.bodies}
                made = Node(node.op, made.inputs, {**node.attrs, **bodies})
            if made is not node:
                self.derived.setdefault(made, Derivation("", (node,)))
            memo[node] = made
        return tuple([memo[root] for root in scope.roots])

    def body(self, body: Body) -> Body:
        """What becomes of a body."""
        if body in self.settled:
            return body
        if body not in self.bodies:
            names = tuple(map(str, range(len(body.outputs))))
            scope = Graph(parameters(body.outputs), body.outputs, names)
            scope = scope.with_outputs(self.entered(scope))
            made = self.run(scope)
            self.derived |= made.tables.derivations
            self.bodies[body] = Body(body.params, made.outputs, body.captures)
            if self.bodies[body] is body:
                self.settled.add(body)
        return self.bodies[body]


def may_enter(node: Node) -> bool:
    """Whether a node has bodies that rewrites enter."""
    return node.op.has_bodies and not (node.op.facts.sealed or node.op.facts.opaque)


def parameters(roots: Iterable[Node]) -> tuple[Node, ...]:
    """The parameters of a body that its outputs depend on."""
    return tuple([node for node in walk(roots) if node.op.name == "Bound"])
