"""Tracing: one run of a function on what stands for its arguments, and the graph of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphopt.frontends.trace.arguments import Leaf, Parameters
from graphopt.frontends.trace.array import TracedArray
from graphopt.frontends.trace.containers import CAPTURED, captured
from graphopt.frontends.trace.errors import TraceError, trace_error
from graphopt.frontends.trace.kinds import class_of
from graphopt.frontends.trace.live import Viewer
from graphopt.frontends.trace.number import TracedNumber
from graphopt.frontends.trace.places import Place, users_traceback
from graphopt.frontends.trace.record import Recorder
from graphopt.frontends.trace.sources import Source, read
from graphopt.frontends.trace.specs import TensorSpec
from graphopt.frontends.trace.trace import ACTIVE, Buffer, Input
from graphopt.frontends.trace.tree import Tree, flatten, is_dataclass, paths, plain, unflatten
from graphopt.graph import Graph
from graphopt.ir import Node, rebuild
from graphopt.records import Location, Tables
from graphopt.structural import constant
from graphopt.tensor import Tensor
from graphopt.types import DType, TensorType, dtype_of

DTYPES = {int: DType.INT64, float: DType.FLOAT64, complex: DType.COMPLEX128}
RETURNED = (
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    range,
    slice,
    type(Ellipsis),
    type,
    np.dtype,
    np.generic,
)


@dataclass(frozen=True, slots=True)
class Result:
    """A leaf of what a function returns: `kind` says how it comes of output `position`.

    array, scalar, number: of an output of the graph; value: it is `value`, an array of which every
    call gets a copy.
    """

    kind: str
    position: int = -1
    value: Any = None


@dataclass(frozen=True, eq=False)
class Traced:
    """A traced function: its graph, and how calls relate to it.

    `inputs` are in the order of the graph's. Its last outputs are the new contents of the arguments
    in `writes` (positions of leaves).
    """

    graph: Graph
    inputs: tuple[Input, ...]
    guards: tuple[tuple[Source, Any], ...]
    results: tuple[Result, ...]
    tree: Tree
    writes: tuple[int, ...]
    kept: tuple[Any, ...]

    def with_graph(self, graph: Graph) -> Traced:
        """The same with another graph of the same inputs and outputs."""
        return Traced(
            graph, self.inputs, self.guards, self.results, self.tree, self.writes, self.kept
        )

    def captures(self) -> dict[Node, Any]:
        """The arrays from outside, as they are now, by their inputs."""
        return {item.node: read(item.source) for item in self.inputs if item.source is not None}

    def graph_with_defaults(self) -> Graph:
        """The graph; inputs that are captured may be left out and are then as they are now."""
        from dataclasses import replace

        defaults = {node: Tensor.of(array) for node, array in self.captures().items()}
        return replace(self.graph, defaults=defaults) if defaults else self.graph

    def closed_graph(self) -> Graph:
        """The graph with captured arrays, as they are now, as constants."""
        from dataclasses import replace

        arrays = self.captures()
        if not arrays:
            return self.graph
        nodes = {node: constant(array) for node, array in arrays.items()}
        graph = self.graph
        inputs = tuple(node for node in graph.inputs if node not in nodes)
        return replace(graph, inputs=inputs, outputs=rebuild(graph.outputs, nodes.get))


def trace_function(
    function: Callable[..., Any],
    parameters: Parameters,
    values: Sequence[Any],
    leaves: Sequence[Leaf],
    tree: Tree,
    name: str,
) -> Traced:
    """Run `function` once on what stands for the leaves `values`.

    Raises TraceError for what cannot be traced, Specialise where the value of a number is needed,
    and what the function itself raises.
    """
    trace = Recorder()
    trace.viewer = Viewer(trace)
    token = ACTIVE.set(trace)
    try:
        made = [
            _stand_in(trace, k, leaf, v)
            for k, (leaf, v) in enumerate(zip(leaves, values, strict=True))
        ]
        arguments = unflatten(tree, made, lambda part, parts: _node(trace, part, parts, tree))
        viewed = trace.viewer.seen(function, None)
        returned = parameters.call(viewed, arguments)
        if trace.asked is not None:  # which a bare `except:` of the program has stopped
            raise trace.asked
        if trace.failure is not None:
            raise trace.failure
        return _traced(trace, returned, name)
    except TraceError as error:
        raise error.with_traceback(users_traceback(error.__traceback__)) from None
    finally:
        trace.closed = True
        ACTIVE.reset(token)


def _stand_in(trace: Recorder, position: int, leaf: Leaf, value: Any) -> Any:
    """What the function sees for a leaf."""
    if leaf.kind in ("value", "object"):
        trace.kept.append(value)
        return trace.viewer.seen(value, None)
    name = dotted(leaf.path)
    if isinstance(value, TensorSpec):
        kind = value.type(name)
        name = value.name or name
    elif leaf.kind == "number":
        kind = TensorType(DTYPES[type(value)], ())
    else:
        kind = TensorType(dtype_of(value.dtype), value.shape)
    node = trace.new_input(name, kind)
    if leaf.kind == "number":
        trace.inputs.append(Input(node, position, number=True))
        return TracedNumber(trace, node)
    buffer = Buffer(node, "argument")
    trace.inputs.append(Input(node, position, buffer=buffer))
    return TracedArray(trace, buffer, scalar=leaf.kind == "scalar")


def dotted(path: str) -> str:
    """A leaf's path as the name of an input: params['w'][0] is params.w.0."""
    for mark in ("['", "']", "[", "]", '["', '"]'):
        path = path.replace(mark, "." if "[" in mark else "")
    return path


def _node(trace: Recorder, tree: Tree, parts: Sequence[Any], root: Tree) -> Any:
    """A node of the arguments' tree: what the caller would see changed is not to be changed."""
    if tree is root:
        return parts
    if tree.kind in CAPTURED:
        content = parts if tree.kind is list else zip(tree.keys, parts, strict=True)
        return captured(trace, tree.kind, content)
    if not is_dataclass(tree.kind):
        return plain(tree, parts)
    shadows = trace.viewer.shadows
    return shadows.seal(plain(Tree(shadows.of_class(tree.kind), tree.keys, tree.parts), parts))


def _traced(trace: Recorder, returned: Any, name: str) -> Traced:
    leaves, tree = flatten(returned)
    outputs: list[Node] = []
    names: list[str] = []
    results: list[Result] = []
    for path, leaf in zip(paths(tree, "output"), leaves, strict=True):
        result = _result(leaf, len(outputs), path)
        results.append(result)
        if result.position >= 0:
            outputs.append(leaf.node)
            name_of = dotted(path)
            names.append(name_of if name_of not in names else f"{name_of}_{len(names)}")
    writes: list[int] = []
    for item in trace.inputs:
        if item.leaf is not None and item.buffer is not None and item.buffer.written:
            writes.append(item.leaf)
            outputs.append(item.buffer.node)
            names.append(f"{item.node.attrs['name']}.after")
    tables = Tables(locations=_locations(trace.places))
    inputs = tuple(item.node for item in trace.inputs)
    graph = Graph(inputs, tuple(outputs), tuple(names), name=name, tables=tables)
    return Traced(
        graph,
        tuple(trace.inputs),
        tuple(trace.guards),
        tuple(results),
        tree,
        tuple(writes),
        (*trace.kept, trace.seen),
    )


def _result(leaf: Any, position: int, path: str) -> Result:
    kind = class_of(leaf)
    if kind is TracedNumber:
        return Result("number", position)
    if kind is TracedArray:
        static = leaf.static
        if static is not None:
            return Result("value", value=np.array(static))
        return Result("scalar" if leaf.scalar else "array", position)
    if kind is np.ndarray:
        return Result("value", value=np.array(leaf))
    if isinstance(leaf, RETURNED):
        return Result("value", value=leaf)
    raise TraceError(
        f"a {kind.__module__}.{kind.__qualname__} is returned, which is no array, number, or tuple,"
        " list, dict or dataclass of them",
        at=path,
    )


def _locations(places: dict[Node, Place]) -> dict[Node, Location]:
    """The places of nodes as lines of files, each place resolved once."""
    known: dict[Place, Location] = {}
    found: dict[Node, Location] = {}
    for node, place in places.items():
        location = known.get(place)
        if location is None:
            location = known[place] = place.location
        found[node] = location
    return found


__all__ = ["Result", "Traced", "trace_error", "trace_function"]
