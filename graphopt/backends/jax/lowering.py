"""From a graph to a compiled program: what is known before tracing, the trace, the compilation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphopt.backends.executable import Options, Spec
from graphopt.backends.jax import scope
from graphopt.backends.jax.kernels import storage
from graphopt.backends.jax.library import jax
from graphopt.backends.jax.program import JaxProgram
from graphopt.backends.jax.trace import Subject, Trace, Values, on_host
from graphopt.backends.jax.weights import LITERAL, Weights
from graphopt.errors import UnsupportedError
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.types import DType, TensorType

Array = Any
Ints = tuple[int, ...]

WIDE = frozenset("int64 uint64 float64 complex128".split())


def compiled(
    graph: Graph, inputs: Sequence[Array | Spec], by_value: Mapping[int, Array], options: Options
) -> JaxProgram:
    """The program; see `graphopt.backends.jax.lower`."""
    if graph.effects:
        raise UnsupportedError("a graph with effects cannot be run by the jax backend yet")
    specs = [_spec(node, array) for node, array in zip(graph.inputs, inputs, strict=True)]
    used = set(graph.nodes)
    taken = [k for k, node in enumerate(graph.inputs) if k not in by_value and node in used]
    fixed = _fixed(graph, {graph.inputs[k]: array for k, array in by_value.items()})
    weights = Weights(_arguments(graph, fixed))
    subject = Subject(graph, specs, weights)
    donated = [n for n, k in enumerate(taken) if graph.input_names[k] in options.donate]
    with scope.numpy_semantics():
        traced = _traced(subject, fixed, taken, donated)
        while weights.add_missing():
            traced = _traced(subject, fixed, taken, donated)
        executable = traced.lower().compile()
        arguments = tuple([jax.device_put(array) for array in weights.arrays])
    wide = any(specs[k].dtype.name in WIDE for k in taken)
    return JaxProgram(executable, arguments, taken, len(graph.inputs), wide)


def _spec(node: Node, array: Array | Spec) -> Spec:
    """The shape and dtype of an input; raises UnsupportedError for what JAX has not."""
    kind, at = node.derived_type, f"input {node.attrs['name']!r}"
    if not isinstance(kind, TensorType):
        raise UnsupportedError(f"jax has no {kind}: use backend='numpy'", at=at)
    if kind.dtype is DType.STRING:
        raise UnsupportedError("jax has no strings: use backend='numpy'", at=at)
    return Spec(tuple(array.shape), np.dtype(array.dtype))


def _fixed(graph: Graph, given: Values) -> Values:
    """The values of all nodes that depend on constants and on the given inputs alone."""
    values: Values = dict(given)
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            if node in values or node.op.name == "Input":
                continue
            if all(item in values for item in node.inputs):
                values[node] = on_host(graph, node, [values[item] for item in node.inputs])
    return values


def _is_large(value: object) -> bool:
    """Whether a value is an array of many bytes, and more than one number everywhere."""
    return isinstance(value, np.ndarray) and value.nbytes > LITERAL and any(value.strides)


def _arguments(graph: Graph, fixed: Values) -> list[tuple[Array, Ints]]:
    """The large arrays among the fixed values that other nodes take, or that are outputs.

    Each with the order of axes that suits the first that takes it.
    """
    found: dict[int, tuple[Array, Ints]] = {}

    def take(item: Node, by: Node | None = None, position: int = 0) -> None:
        value: Array = fixed.get(item)
        if _is_large(value):
            order = tuple(range(value.ndim)) if by is None else storage(by, position, value.shape)
            found.setdefault(id(value), (value, order))

    for node in graph.nodes:
        if node not in fixed:
            for position, item in enumerate(node.inputs):
                if position not in node.op.facts.host_inputs:
                    take(item, node, position)
    for node in graph.outputs:
        take(node)
    return list(found.values())


def _traced(subject: Subject, fixed: Values, taken: Sequence[int], donated: Sequence[int]) -> Any:
    """The program as JAX sees it: a function of the weights, then of the inputs that it takes."""
    graph, weights = subject.graph, subject.weights
    count = len(weights.arrays)

    def program(*arguments: Array) -> tuple[Array, ...]:
        weights.begin(arguments[:count])
        trace = Trace(subject, {graph.inputs[k]: frozenset({k}) for k in taken})
        given = {graph.inputs[k]: arguments[count + n] for n, k in enumerate(taken)}
        outputs = trace.run(graph.nodes, graph.outputs, {**fixed, **given})
        return tuple(map(trace.on_device, outputs))

    program.__name__ = "".join(c if c.isalnum() else "_" for c in graph.name)
    function: Any = jax.jit(program, donate_argnums=[count + n for n in donated])
    shaped: list[Any] = [*weights.arrays, *(subject.specs[k] for k in taken)]
    return function.trace(*(jax.ShapeDtypeStruct(each.shape, each.dtype) for each in shaped))
