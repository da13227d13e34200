"""Fusing nodes into one, and opening what is fused again.

    made = fuse(root, between(root, (x, w, b)), "MatMul+Add+Relu")
    expanded(graph)

A fused node is a `Fused` over a closed body. Nodes are interned, so opening it gives back the very
nodes that were fused: their names and records stay theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

from graphopt.body import Body, all_nodes
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.ops.fused import fused
from graphopt.records import Derivation
from graphopt.rewriting.sweep import Sweep

MAX_INNER = 64
"""Constants of more bytes are inputs of a fused node, so that equal ones are stored once; smaller
ones and splats stand in its body."""


def is_inner(node: Node) -> bool:
    """Whether a value stands in a body as it is: small constants, inputs that are left out."""
    tensor = node.constant
    if tensor is None:
        return node.is_absent
    return tensor.is_splat or tensor.nbytes <= MAX_INNER


def between(root: Node, leaves: Iterable[Node]) -> list[Node]:
    """The nodes that the root depends on up to the leaves, users first, the root foremost.

    Neither the leaves are among them nor constants, absent inputs, inputs and parameters.
    """
    stop = set(leaves)
    found: dict[Node, None] = {root: None}
    pending = [root]
    for node in pending:
        for item in node.inputs:
            if item not in stop and item not in found and item.inputs:
                found[item] = None
                pending.append(item)
    return list(found)


def used_outside(inner: Collection[Node], root: Node, uses: Callable[[Node], int]) -> bool:
    """Whether one of the nodes but the root is used by others than these nodes."""
    counts = dict.fromkeys(inner, 0)
    for node in inner:
        for item in node.inputs:
            if item in counts:
                counts[item] += 1
    return any(uses(node) > count for node, count in counts.items() if node is not root)


def fuse(root: Node, inner: Collection[Node], kind: str, form: Node | None = None) -> Node:
    """One node for `inner`, nodes of which only the root is used by others.

    `form` computes the same, up to rounding, of the inputs of these nodes alone. Raises VerifyError
    where it needs more.
    """
    members = set(inner)
    inputs: dict[Node, None] = {}
    for node in reversed(list(inner)):
        inputs.update((i, None) for i in node.inputs if i not in members and not is_inner(i))
    given = tuple(inputs)
    body = Body.close(given, (), (root,))
    other = None if form is None else Body.close(given, (), (form,))
    made: Node = fused(*given, body=body, kind=kind, form=other)
    return made


def opened(node: Node) -> tuple[Node, ...]:
    """The outputs of a fused node as the nodes of its body."""
    body: Body = node.attrs["body"]
    return tuple(body.open(node.inputs)[1])


def form_of(node: Node) -> Node | None:
    """What a fused node of one output may be computed by instead, None where there is nothing."""
    form: Body | None = node.attrs.get("form")
    return None if form is None else form.open(node.inputs)[1][0]


def _no_choice(node: Node) -> Node | None:
    return None


def is_fused(node: Node) -> bool:
    """Whether a node is a fused one."""
    return node.op is fused


def expanded(
    graph: Graph,
    chosen: Callable[[Node], Node | None] = _no_choice,
    opens: Callable[[Node], bool] = is_fused,
) -> Graph:
    """The graph with the bodies of its fused nodes in their place, in other bodies too.

    `chosen` may give something else to stand in the place of a fused node of one output; `opens`
    says which of them are opened.
    """
    if not any(opens(node) for node in all_nodes(graph.roots)):
        return graph

    def rewrite(node: Node) -> tuple[Node, str] | None:
        if opens(node):
            outputs = opened(node)
            return (chosen(node) or outputs[0], "expand") if len(outputs) == 1 else None
        if node.op.name == "Out" and opens(node.inputs[0]):
            index: int = node.attrs["index"]
            return opened(node.inputs[0])[index], "expand"
        return None

    sweep = Sweep(rewrite)
    roots = sweep.run(graph.roots)
    return graph.with_outputs(roots, dict(_new(graph, sweep.derivations)))


def _new(graph: Graph, derived: dict[Node, Derivation]) -> Iterator[tuple[Node, Derivation]]:
    """What is derived and was not known to the graph before."""
    for node, made in derived.items():
        if node not in graph.tables.records and node not in graph.tables.derivations:
            yield node, made
