"""Make the sizes of a graph's inputs concrete, and everything that depends on them with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from graphopt import dims
from graphopt.body import Body
from graphopt.dims import DimOf, Size, Symbol
from graphopt.errors import GraphoptError, SpecializeError, nearest
from graphopt.graph import Graph
from graphopt.ir import Node, walk
from graphopt.records import Derivation, Ports, Record, Region, Tables
from graphopt.structural import graph_input
from graphopt.types import TensorType, Type, map_shapes


def specialize(
    graph: Graph,
    sizes: Mapping[str, int] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> Graph:
    """The graph with named dimensions fixed by `sizes` and whole inputs by `shapes`.

    A shape fixes the names that stand in it for all inputs. Raises SpecializeError for a name that
    the graph does not have, and for sizes that contradict each other or the graph.
    """
    fixed = {Symbol(name): size for name, size in (sizes or {}).items()}
    _check_names(graph, fixed)
    inputs = dict(zip(graph.input_names, graph.inputs, strict=True))
    for name, shape in (shapes or {}).items():
        if name not in inputs:
            hint = nearest(name, list(inputs))
            raise SpecializeError(f"the graph has no input {name!r}{hint}")
        _bind(name, inputs[name], shape, fixed)
    if not fixed and not shapes:
        return graph
    work = _Specializer(fixed)
    for name, node in inputs.items():
        kind = map_shapes(node.derived_type, work.resized)
        if shapes and name in shapes:
            kind = TensorType(node.dtype, tuple(shapes[name]))
        work.memo[node] = graph_input(name, kind)
    return work.graph(graph)


def _check_names(graph: Graph, fixed: Mapping[Symbol, int]) -> None:
    known: set[str] = set()
    for node in graph.inputs:
        if isinstance(node.type, TensorType):
            for size in node.type.shape or ():
                atoms = () if size is None else dims.atoms(size)
                known |= {atom.name for atom in atoms if isinstance(atom, Symbol)}
    for name in (atom.name for atom in fixed if atom.name not in known):
        hint = nearest(name, sorted(known)) or (
            f"; it has {', '.join(sorted(known))}" if known else "; all its dimensions are fixed"
        )
        raise SpecializeError(f"no input of the graph has a dimension {name!r}{hint}")


def _bind(name: str, node: Node, shape: Sequence[int], fixed: dict[Symbol, int]) -> None:
    """Note what a wanted shape says of the names in an input's type; refuse contradictions."""
    at, kind = f"input {name!r}", node.type
    if not isinstance(kind, TensorType):
        raise SpecializeError(f"it is a {kind}, which has no shape", at=at)
    if kind.shape is None:
        return
    if len(kind.shape) != len(shape):
        raise SpecializeError(f"{list(shape)} where it has {len(kind.shape)} axes: {kind}", at=at)
    for axis, (size, wanted) in enumerate(zip(kind.shape, shape, strict=True)):
        atom = None if size is None else dims.sole_atom(size)
        if isinstance(atom, Symbol):
            size = fixed.setdefault(atom, wanted)
        if isinstance(size, int) and size != wanted:
            told = f"{atom.name} is {size}" if isinstance(atom, Symbol) else f"it is {size}"
            raise SpecializeError(f"axis {axis} cannot be {wanted}: {told}", at=at)


@dataclass
class _Specializer:
    """Rebuilds nodes with some symbols fixed; `memo` has what every node became."""

    fixed: Mapping[Symbol, int]
    memo: dict[Node, Node] = field(default_factory=dict[Node, Node])
    bodies: dict[Body, Body] = field(default_factory=dict[Body, Body])

    def graph(self, graph: Graph) -> Graph:
        """The graph over the inputs in `memo`, with its tables carried over."""
        tables = graph.tables
        olds = [old for made in tables.derivations.values() for old in made.olds]
        keyed = (tables.names, tables.records, tables.locations, tables.derivations, graph.defaults)
        everything = [*graph.inputs, *graph.roots, *tables.origin, *olds]
        for table in keyed:
            everything += table
        self.rebuild(everything)
        at = self.memo
        for old, tensor in graph.defaults.items():
            if at[old].shape != tensor.shape:
                text = f"its default has shape {list(tensor.shape)}"
                raise SpecializeError(text, at=f"input {old.attrs['name']!r}")
        return replace(
            graph,
            inputs=tuple(at[node] for node in graph.inputs),
            outputs=tuple(at[node] for node in graph.outputs),
            effects=tuple(at[node] for node in graph.effects),
            defaults={at[node]: tensor for node, tensor in graph.defaults.items()},
            tables=self.tables(tables),
        )

    def tables(self, tables: Tables) -> Tables:
        at = self.memo
        derivations = {
            at[node]: Derivation(made.rule, tuple(at[old] for old in made.olds))
            for node, made in tables.derivations.items()
        }
        records: dict[Node, tuple[Record, ...]] = {}
        for node, found in tables.records.items():
            # sizes may make nodes equal that were not
            records[at[node]] = records.get(at[node], ()) + tuple(map(self.record, found))
        info = tables.info
        return replace(
            tables,
            info=None if info is None else replace(info, declared=self.ports(info.declared)),
            names={at[node]: name for node, name in tables.names.items()},
            records=records,
            locations={at[node]: place for node, place in tables.locations.items()},
            derivations=derivations,
            origin=tuple(at[node] for node in tables.origin),
        )

    def ports(self, ports: Ports) -> Ports:
        return tuple((name, map_shapes(kind, self.resized)) for name, kind in ports)

    def record(self, record: Record) -> Record:
        attributes = tuple((name, self.attribute(value)) for name, value in record.attributes)
        return replace(record, attributes=attributes)

    def region(self, region: Region) -> Region:
        return replace(
            region,
            inputs=self.ports(region.inputs),
            outputs=self.ports(region.outputs),
            declared=self.ports(region.declared),
            records=tuple(map(self.record, region.records)),
        )

    def rebuild(self, roots: Sequence[Node]) -> None:
        """Fill `memo` for everything under the roots; the sizes may prove the program invalid."""
        for node in walk(roots):
            if node not in self.memo:
                inputs = tuple(self.memo[item] for item in node.inputs)
                attrs = {name: self.attribute(value) for name, value in node.attrs.items()}
                try:
                    self.memo[node] = Node(node.op, inputs, attrs)
                except GraphoptError as error:
                    raise SpecializeError(f"these sizes do not fit: {error}") from error

    def attribute(self, value: Any) -> Any:
        if isinstance(value, Body):
            return self.body(value)
        if isinstance(value, Region):
            return self.region(value)
        if type(value) is tuple:
            return tuple(map(self.attribute, value))  # pyright: ignore[reportUnknownArgumentType]
        return map_shapes(value, self.resized) if isinstance(value, Type) else value

    def body(self, body: Body) -> Body:
        if body not in self.bodies:
            self.rebuild(body.outputs)
            params = tuple(map_shapes(param, self.resized) for param in body.params)
            outputs = tuple(self.memo[node] for node in body.outputs)
            self.bodies[body] = Body(params, outputs, body.captures)
        return self.bodies[body]

    def resized(self, kind: TensorType) -> TensorType:
        shape = None if kind.shape is None else tuple(map(self.size, kind.shape))
        known = kind.known
        if known is not None:
            known = tuple(self.size(e) if isinstance(e, dims.Dim) else e for e in known)
        return TensorType(kind.dtype, shape, known)

    def size(self, size: Size | None) -> Size | None:
        return None if size is None else dims.substitute(size, self.atom)

    def atom(self, atom: Symbol | DimOf) -> Size | None:
        if isinstance(atom, Symbol):
            return self.fixed.get(atom, dims.symbol(atom.name))
        node = self.memo.get(atom.value, atom.value)
        shape = node.shape
        return None if shape is None or len(shape) <= atom.axis else shape[atom.axis]
