"""Check a graph's invariants: what every pass may rely on and must leave true."""

from __future__ import annotations

from collections import Counter

from graphopt.body import Body, all_nodes, check_closed
from graphopt.errors import VerifyError
from graphopt.graph import Graph
from graphopt.ir import Node, walk
from graphopt.order import successors


def verify(graph: Graph) -> None:
    """Raise VerifyError, naming the node, when the graph is not well formed.

    Everything that `verify_structure` checks, and every type is what its op's rule derives.
    """
    verify_structure(graph)
    for node in all_nodes(graph.roots):
        kind = node.op.infer_type(node.inputs, node.attrs)
        if kind != node.derived_type:
            raise VerifyError(f"the type is {node.derived_type}, derived is {kind}", at=node.label)


def verify_structure(graph: Graph) -> None:
    """Raise VerifyError, naming the node, when the parts of a graph do not fit together.

    Inputs are `Input` nodes, named apart, and nothing but them is free; output names are distinct;
    bodies are closed; each version of a resource has at most one successor, in this graph and in
    every body; defaults have the types of their inputs. Types are left out: a node cannot be built
    with one that its rule did not derive.
    """
    for item in graph.inputs:
        if item.op.name != "Input":
            raise VerifyError("an input of the graph is not an Input node", at=item.label)
    for kind, names in (("inputs", graph.input_names), ("outputs", graph.output_names)):
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise VerifyError(f"two {kind} are called {twice[0]!r}", at=graph.name)
    if len(graph.outputs) != len(graph.output_names):
        raise VerifyError("outputs and their names differ in number", at=graph.name)
    for item, tensor in graph.defaults.items():
        if item not in graph.inputs or item.dtype is not tensor.dtype:
            raise VerifyError("a default does not fit its input", at=item.label)
    _verify_nodes(graph.roots, frozenset(graph.inputs), set())


def _verify_nodes(
    roots: tuple[Node, ...], free: frozenset[Node] | None, checked: set[Body]
) -> None:
    """Check the nodes under the roots; `free` are the graph's inputs, None inside a body."""
    nodes = list(walk(roots))
    for node in nodes:
        if node.op.name == "Input" and free is not None and node not in free:
            raise VerifyError("the value belongs to another graph", at=node.label)
        if node.op.name == "Bound" and free is not None:
            raise VerifyError("a body's parameter escaped from it", at=node.label)
        for _, body in node.bodies if node.op.has_bodies else ():
            if body not in checked:
                checked.add(body)
                check_closed(body.params, body.outputs)
                _verify_nodes(body.outputs, None, checked)
    for version, users in successors(nodes).items():
        if len(set(users)) > 1:
            raise VerifyError(f"{len(users)} nodes end the same version", at=version.label)
