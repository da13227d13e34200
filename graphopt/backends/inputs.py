"""What a caller gives a graph, held against the types of its inputs; the same for every backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from graphopt import dims
from graphopt.dims import Size
from graphopt.errors import ExecutionError
from graphopt.graph import Graph
from graphopt.ir import Node
from graphopt.types import DType, TensorType

Array = Any
Sizes = dict[str, int]


def bind_inputs(graph: Graph, feeds: Mapping[str, Any]) -> dict[Node, Array]:
    """Arrays by input node; an input that is left out has its default.

    Equal names are equal sizes, and a size that is an expression of names has its value. Raises
    ExecutionError naming the input for what is missing, unknown or not of its type.
    """
    unknown = sorted(set(feeds) - set(graph.input_names))
    if unknown:
        raise ExecutionError(f"the graph has no input {unknown[0]!r}", at=graph.name)
    sizes: Sizes = {}
    bound: dict[Node, Array] = {}
    for node in graph.inputs:
        name = node.attrs["name"]
        if name in feeds:
            value = feeds[name]
        elif node in graph.defaults:
            value = graph.defaults[node].array
        else:
            raise ExecutionError("the input is missing", at=f"input {name!r}")
        kind = node.derived_type
        bound[node] = check_input(name, value, kind, sizes) if type(kind) is TensorType else value
    for node, array in bound.items():
        kind = node.derived_type
        if isinstance(kind, TensorType) and kind.shape is not None:
            _check_expressions(node.attrs["name"], array, kind, sizes)
    return bound


def check_input(name: str, value: Any, kind: TensorType, sizes: Sizes) -> Array:
    """`value` as an array of type `kind`; binds the named sizes that are not bound yet."""
    array = np.asarray(value)
    at = f"input {name!r}"
    if array.dtype != kind.dtype.numpy:
        if kind.dtype is not DType.STRING or array.dtype.kind not in "US":
            raise ExecutionError(f"dtype {array.dtype} where {kind.dtype} is taken", at=at)
        array = array.astype(object)
    if kind.shape is None:
        return array
    if array.ndim != len(kind.shape):
        raise ExecutionError(f"shape {array.shape} where {kind} is taken", at=at)
    for axis, (size, wanted) in enumerate(zip(array.shape, kind.shape, strict=True)):
        atom = None if wanted is None else dims.sole_atom(wanted)
        if isinstance(atom, dims.Symbol):
            if sizes.setdefault(atom.name, size) != size:
                text = f"axis {axis} is {size}, but {atom.name} is {sizes[atom.name]}"
                raise ExecutionError(text, at=at)
        elif isinstance(wanted, int) and wanted != size:
            raise ExecutionError(f"axis {axis} is {size} where {kind} is taken", at=at)
    return array


def _check_expressions(name: str, array: Array, kind: TensorType, sizes: Sizes) -> None:
    def value(atom: dims.Symbol | dims.DimOf) -> Size | None:
        return sizes.get(atom.name) if isinstance(atom, dims.Symbol) else None

    for axis, wanted in enumerate(kind.shape or ()):
        number = dims.substitute(wanted, value) if isinstance(wanted, dims.Dim) else None
        if isinstance(number, int) and number != array.shape[axis]:
            text = f"axis {axis} is {array.shape[axis]}, but {wanted} is {number}"
            raise ExecutionError(text, at=f"input {name!r}")
