"""A graph: named inputs and outputs over nodes, the order of its effects, and its tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from graphopt.body import all_nodes
from graphopt.ir import Node, flatten, unflatten, walk
from graphopt.order import canonical
from graphopt.records import Derivation, Tables
from graphopt.report import Report
from graphopt.tensor import Tensor

if TYPE_CHECKING:
    import networkx as nx


SILENT = frozenset({"Input", "Bound", "Constant", "Out", "Absent", "State"})


@dataclass(frozen=True, eq=False)
class Graph:
    """A program: what is computed from the inputs, and in which order resources change.

    `inputs` are `Input` nodes with distinct names. `defaults` gives the content of an input that
    may be left out at a call (an initializer that the caller may override). `effects` are the
    newest versions of the resources: with the outputs they are the roots, and their serial order is
    the order in which they stand. Graphs are immutable; `with_outputs` makes the next.
    """

    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]
    output_names: tuple[str, ...]
    name: str = "graph"
    effects: tuple[Node, ...] = ()
    defaults: Mapping[Node, Tensor] = field(default_factory=dict[Node, Tensor])
    tables: Tables = field(default_factory=Tables)
    report: Report | None = None

    @property
    def input_names(self) -> tuple[str, ...]:
        """The inputs' names, in order."""
        return tuple(item.attrs["name"] for item in self.inputs)

    @property
    def roots(self) -> tuple[Node, ...]:
        """What must be computed: the outputs and the effects."""
        return self.outputs + self.effects

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes that the roots depend on, in canonical order, but for those in bodies."""
        return canonical(self.roots, self.tables)

    @cached_property
    def order(self) -> tuple[Node, ...]:
        """All nodes that the roots depend on as `walk` yields them, inputs before users."""
        return tuple(walk(self.roots))

    @cached_property
    def _count(self) -> int:
        return sum(1 for _ in operations(self.order))

    def __len__(self) -> int:
        return self._count

    @cached_property
    def uses(self) -> Mapping[Node, tuple[tuple[Node, int], ...]]:
        """The uses of every node by others: (user, input position)."""
        found: dict[Node, list[tuple[Node, int]]] = {node: [] for node in self.nodes}
        for node in self.nodes:
            for position, item in enumerate(node.inputs):
                found[item].append((node, position))
        return {node: tuple(users) for node, users in found.items()}

    @property
    def untouched(self) -> bool:
        """Whether the graph computes what it did as it was loaded, by the same nodes."""
        return bool(self.tables.origin) and self.tables.origin == self.roots

    def with_outputs(
        self,
        roots: Sequence[Node],
        derivations: Mapping[Node, Derivation] | None = None,
    ) -> Graph:
        """This graph with other roots (outputs, then effects); itself when they are the same."""
        roots = tuple(roots)
        if roots == self.roots and not derivations:
            return self
        count = len(self.outputs)
        tables = self.tables
        if derivations:
            tables = replace(tables, derivations=_joined(tables.derivations, derivations))
        return replace(self, outputs=roots[:count], effects=roots[count:], tables=tables)

    def without_dead_history(self) -> Graph:
        """This graph, remembering derivations only of what it has and of what that came from."""
        known = self.tables.derivations
        if not known:
            return self
        pending = [node for node in all_nodes(self.roots) if node in known]
        kept: dict[Node, Derivation] = {}
        for node in pending:
            if node not in kept:
                kept[node] = known[node]
                pending += [old for old in known[node].olds if old in known]
        if len(kept) == len(known):
            return self
        return replace(self, tables=replace(self.tables, derivations=kept))

    def history(self, node: Node) -> list[str]:
        """The rules that made a value, the last one first, then the names it came from."""
        told: list[str] = []
        pending, seen = [node], {node}
        for current in pending:
            made = self.tables.derivations.get(current)
            if made is None:
                told += [record.name or record.op_type for record in self._records(current)]
                continue
            told.append(made.rule)
            fresh = [old for old in dict.fromkeys(made.olds) if old not in seen]
            seen.update(fresh)
            pending += fresh
        return told

    def _records(self, node: Node) -> tuple[Any, ...]:
        return self.tables.records.get(node, ())

    def to_networkx(self) -> nx.MultiDiGraph[Node]:
        """The graph for analysis and drawing: a vertex a node, an edge a use.

        Vertices are nodes with `op`, `type` and `label`; edges carry the input's `position`.
        """
        import networkx as nx

        drawn: nx.MultiDiGraph[Node] = nx.MultiDiGraph(name=self.name)
        for node in self.nodes:
            drawn.add_node(node, op=node.op.name, type=str(node.type), label=node.label)
            for position, item in enumerate(node.inputs):
                drawn.add_edge(item, node, position=position)
        return drawn

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuilt, _flat(self))

    def __repr__(self) -> str:
        from graphopt.text import print_graph

        return print_graph(self, max_lines=40)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        from graphopt.draw import to_html, to_svg

        return {"text/plain": repr(self), "image/svg+xml": to_svg(self), "text/html": to_html(self)}


def _joined(
    known: Mapping[Node, Derivation], more: Mapping[Node, Derivation]
) -> Mapping[Node, Derivation]:
    """Both tables. What was only rebuilt, and before that only rebuilt, is derived from the first:
    the values between are forgotten."""
    made = dict(known)
    for node, derivation in more.items():
        earlier = None if derivation.rule else known.get(derivation.olds[0])
        if earlier is None or earlier.rule or len(derivation.olds) > 1:
            made[node] = derivation
        else:
            made[node] = earlier
    return made


def operations(nodes: Iterable[Node]) -> Iterator[Node]:
    """Those of the nodes that do work: not inputs, constants or outputs of others."""
    return (node for node in nodes if node.op.name not in SILENT)


def _flat(graph: Graph) -> tuple[Any, ...]:
    tables = graph.tables
    keyed = (tables.names, tables.records, tables.locations, tables.derivations, graph.defaults)
    olds = [old for made in tables.derivations.values() for old in made.olds]
    everything = [*graph.inputs, *graph.roots, *tables.origin, *olds]
    for table in keyed:
        everything += table
    position = {node: k for k, node in enumerate(walk(everything))}

    def at(nodes: Iterable[Node]) -> list[int]:
        return [position[node] for node in nodes]

    derivations = {position[n]: (d.rule, at(d.olds)) for n, d in tables.derivations.items()}
    plain = [
        {position[n]: v for n, v in table.items()}
        for table in (tables.names, tables.records, tables.locations, graph.defaults)
    ]
    heads = [at(graph.inputs), at(graph.outputs), at(graph.effects), at(tables.origin)]
    named = (graph.output_names, graph.name, tables.info)
    return (flatten(everything), heads, plain, derivations, named)


def _rebuilt(
    rows: Any,
    heads: list[list[int]],
    plain: list[dict[int, Any]],
    derivations: dict[int, tuple[str, list[int]]],
    named: Any,
) -> Graph:
    nodes = unflatten(rows)
    inputs, outputs, effects, origin = (tuple(nodes[k] for k in head) for head in heads)
    names, records, locations, defaults = ({nodes[k]: v for k, v in t.items()} for t in plain)
    derived = {
        nodes[k]: Derivation(rule, tuple(nodes[o] for o in olds))
        for k, (rule, olds) in derivations.items()
    }
    output_names, name, info = named
    tables = Tables(info, names, records, locations, derived, origin)
    return Graph(inputs, outputs, output_names, name, effects, defaults, tables)
