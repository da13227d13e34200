"""What counts as a node when optimizers are held to each other, and which operators are standard.

Everything a model computes counts once for each time it is written out, so that moving nodes into
subgraphs or functions, or back, changes nothing:

- a Constant node is no node, nor is a ConstantOfShape whose shape is constant: both are constants;
- the nodes of subgraphs (branches, loop bodies) count where they stand, in addition to the If or
  Loop that holds them;
- a call of one of the model's own functions counts as the nodes of the function, at each call.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import onnx
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto

Key: TypeAlias = tuple[str, str, str]
OVERRIDABLE = 4
"""From this IR version on an initializer that is listed among the inputs is an input."""


def node_count(model: ModelProto) -> int:
    """The nodes of a model, as this module counts them. RecursionError: its functions recur."""
    return _Counter(model).graph(model.graph, frozenset(), model.ir_version < OVERRIDABLE)


def foreign_operators(model: ModelProto, original: ModelProto) -> list[str]:
    """Operators of a model that neither the ONNX standard nor the original has, sorted."""
    known = set(map(_key, _nodes(original))) | _functions(model).keys()
    found = {(node.domain, node.op_type) for node in _nodes(model) if _key(node) not in known}
    return sorted(f"{domain}::{name}" for domain, name in found if not _is_standard(name, domain))


class _Counter:
    """Counts nodes; each function of the model is counted once and its number kept."""

    def __init__(self, model: ModelProto) -> None:
        self.functions = _functions(model)
        self.sizes: dict[Key, int] = {}

    def graph(self, graph: GraphProto, outer: frozenset[str], constant_inputs: bool = True) -> int:
        """The nodes of a graph that sees the constants `outer`."""
        inputs = frozenset[str]() if constant_inputs else {item.name for item in graph.input}
        held = {item.name for item in graph.initializer}
        held |= {item.values.name for item in graph.sparse_initializer}
        return self.nodes(graph.node, outer | (held - inputs))

    def nodes(self, nodes: Iterable[NodeProto], constants: frozenset[str]) -> int:
        """The nodes of a list in topological order that sees `constants`."""
        known = set(constants)
        count = 0
        for node in nodes:
            if _is_constant(node, known):
                known.update(node.output)
                continue
            key = _key(node)
            count += self.function(key) if key in self.functions else 1
            seen = frozenset(known)
            count += sum(self.graph(body, seen) for body in _bodies(node))
        return count

    def function(self, key: Key) -> int:
        """The nodes of a function; its inputs are not constants."""
        if key not in self.sizes:
            self.sizes[key] = self.nodes(self.functions[key].node, frozenset())
        return self.sizes[key]


def _is_constant(node: NodeProto, known: set[str]) -> bool:
    if node.domain not in ("", "ai.onnx"):
        return False
    if node.op_type == "ConstantOfShape":
        return node.input[0] in known
    return node.op_type == "Constant"


def _functions(model: ModelProto) -> dict[Key, FunctionProto]:
    return {(each.domain, each.name, each.overload): each for each in model.functions}


def _key(node: NodeProto) -> Key:
    return node.domain, node.op_type, node.overload


def _bodies(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _nodes(model: ModelProto) -> Iterator[NodeProto]:
    """All nodes of a model: those of its subgraphs and functions as well."""
    pending: list[Any] = [model.graph, *model.functions]
    while pending:
        for node in pending.pop().node:
            yield node
            pending += _bodies(node)


def _is_standard(name: str, domain: str) -> bool:
    domain = "" if domain == "ai.onnx" else domain
    return domain in ("", "ai.onnx.ml") and onnx.defs.has(name, domain)
