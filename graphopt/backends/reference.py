"""The reference backend: serial NumPy, one node at a time. It defines what a graph means.

Slow and obvious on purpose. It alone is bit-exact by definition: operands are made C-contiguous
before a kernel sees them, since NumPy gives other bits on strided views.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from graphopt.backends.inputs import bind_inputs
from graphopt.backends.namespace import NUMPY, NumpyNamespace
from graphopt.body import Body
from graphopt.errors import ExecutionError, GraphoptError, LimitError, UnsupportedError
from graphopt.graph import Graph
from graphopt.ir import Node, walk

Array = Any


class _Timed(NumpyNamespace):
    """Kernels' functions that run no further body once so many seconds have passed."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.until = seconds, time.monotonic() + seconds

    def call(self, body: Body, arguments: Sequence[Array]) -> tuple[Array, ...]:
        """The outputs of a body run on arguments; raises LimitError."""
        if time.monotonic() > self.until:
            raise LimitError(f"stopped after {self.seconds:g} s of running")
        return super().call(body, arguments)


def run(
    graph: Graph, feeds: Mapping[str, Any], *, seconds: float | None = None
) -> tuple[Array, ...]:
    """The outputs of a graph for inputs by name.

    After `seconds`, if given, no iteration of a loop is begun. Raises ExecutionError for missing,
    unknown or ill-typed inputs and for kernels that fail, UnsupportedError for an op without a
    kernel and LimitError for a loop that was stopped.
    """
    xp = NUMPY if seconds is None else _Timed(seconds)
    environment = bind_inputs(graph, feeds)
    if graph.effects:
        raise UnsupportedError("a graph with effects cannot be run by the reference backend yet")
    return evaluate_all(graph.nodes, graph.outputs, environment, xp)


def evaluate_all(
    nodes: Sequence[Node],
    outputs: Sequence[Node],
    environment: dict[Node, Array],
    xp: NumpyNamespace = NUMPY,
) -> tuple[Array, ...]:
    """Run nodes in order over an environment of inputs; a value is dropped after its last use."""
    left: dict[Node, int] = {}
    for node in nodes:
        for item in node.inputs:
            left[item] = left.get(item, 0) + 1
    for node in outputs:
        left[node] = left.get(node, 0) + 1
    with np.errstate(all="ignore"):
        for node in nodes:
            if node not in environment:
                environment[node] = evaluate(node, [environment[item] for item in node.inputs], xp)
            for item in node.inputs:
                left[item] -= 1
                if not left[item]:
                    del environment[item]
    return tuple(environment[node] for node in outputs)


def evaluate(node: Node, operands: Sequence[Array], xp: NumpyNamespace = NUMPY) -> Array:
    """The result of one node on arrays (None: absent); a tuple when it has several outputs.

    Raises ExecutionError naming the node when its kernel fails.
    """
    op = node.op
    if op.name == "Out":
        return operands[0][node.attrs["index"]]
    if op.facts.opaque:
        raise UnsupportedError(f"no kernel for the operator {op!r}", at=node.label)
    ready = [_contiguous(operand) for operand in operands]
    try:
        made = op.kernel(xp, *ready, **op.arguments(node.attrs))
    except GraphoptError as error:
        error.at = error.at or node.label
        raise
    except Exception as error:
        raise ExecutionError(f"{type(error).__name__}: {error}", at=node.label) from error
    if isinstance(made, tuple):
        return tuple(map(_as_array, made))  # pyright: ignore[reportUnknownArgumentType]
    return _as_array(made)


def _contiguous(operand: Array) -> Array:
    strided = isinstance(operand, np.ndarray) and not operand.flags.c_contiguous
    return operand.copy(order="C") if strided else operand  # pyright: ignore[reportUnknownVariableType]


def _as_array(value: Array) -> Array:
    return np.asarray(value) if isinstance(value, np.generic) else value  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def run_body(
    body: Body, arguments: Sequence[Array], xp: NumpyNamespace = NUMPY
) -> tuple[Array, ...]:
    """The outputs of a body on arguments, one a parameter."""
    nodes = list(walk(body.outputs))
    environment = {n: arguments[n.attrs["index"]] for n in nodes if n.op.name == "Bound"}
    return evaluate_all(nodes, body.outputs, environment, xp)


def lower(
    graph: Graph, inputs: Sequence[Any], by_value: Mapping[int, Array], options: Any
) -> Callable[..., tuple[Array, ...]]:
    """A graph as a program of arrays, one for each input, of any shapes."""

    def program(*arrays: Array) -> tuple[Array, ...]:
        return run(graph, dict(zip(graph.input_names, arrays, strict=True)))

    return program
