"""Running a graph's nodes while JAX traces: on the host what is known there, else on the device.

A value is an array of NumPy's (host) or of JAX's (device). A node with a device operand runs on the
device; what only depends on constants, on shapes and on inputs given by value runs on the host, so
that shapes and axes are numbers. Where a kernel wants to see the content of a device array, the
inputs that it comes from are looked up: the program must then be made for their values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from graphopt.backends import reference
from graphopt.backends.executable import NeedsValues, Spec
from graphopt.backends.jax.control import CONTROL
from graphopt.backends.jax.kernels import KERNELS, STATIC
from graphopt.backends.jax.library import jax
from graphopt.backends.jax.namespace import JAX, on_device
from graphopt.backends.jax.weights import LITERAL, Weights
from graphopt.body import Body
from graphopt.errors import ExecutionError, GraphoptError, UnsupportedError
from graphopt.graph import Graph
from graphopt.ir import Node, types_of, walk
from graphopt.provenance import described
from graphopt.types import TensorType

Array = Any
Values = dict[Node, Any]
Sources = frozenset[int]
NOWHERE: Sources = frozenset()

UNKNOWN_CONTENT = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.NonConcreteBooleanIndexError,
)
"""What JAX raises when the content of a traced array is asked for."""

SMALL = 64
"""Programs are made for the values of integer inputs of at most this many elements."""


def on_host(graph: Graph, node: Node, operands: Sequence[Array]) -> Array:
    """The result of a node by the reference; errors say where in the graph the node comes from."""
    try:
        return reference.evaluate(node, operands)
    except GraphoptError as error:
        error.at = described(graph, node) if error.at == node.label else error.at
        raise


@dataclass(frozen=True, slots=True)
class Subject:
    """What is traced: a graph, its inputs' shapes and dtypes, and its large constants."""

    graph: Graph
    specs: Sequence[Spec]
    weights: Weights

    def origin(self, node: Node) -> str:
        """A node's label and where it comes from, for messages."""
        return described(self.graph, node)

    def is_small(self, position: int, kinds: str) -> bool:
        """Whether programs may be made for the values of an input: of few, of some dtypes."""
        spec = self.specs[position]
        return spec.dtype.kind in kinds and prod(spec.shape) <= SMALL


class Trace:
    """One run of a graph or body under JAX's tracing; see the module's text.

    `sources` tells from the content of which inputs, by position, a device value comes.
    """

    def __init__(self, subject: Subject, sources: Mapping[Node, Sources]) -> None:
        self.subject = subject
        self.weights = subject.weights
        self.sources = dict(sources)

    def run(
        self, nodes: Sequence[Node], outputs: Sequence[Node], values: Values
    ) -> tuple[Array, ...]:
        """Run nodes in order over `values`, which has the inputs or parameters; the outputs."""
        for node in nodes:
            if node not in values:
                operands = [values[item] for item in node.inputs]
                if node.op.name != "Out":
                    self.sources[node] = self._joined(node.inputs)
                    values[node] = self.evaluate(node, operands)
                else:
                    self.sources[node] = self.sources.get(node.inputs[0], NOWHERE)
                    values[node] = operands[0][node.attrs["index"]]
        return tuple(values[node] for node in outputs)

    def evaluate(self, node: Node, operands: list[Array]) -> Array:
        """The result of one node; a tuple when it has several outputs."""
        if not any(map(on_device, operands)):
            return on_host(self.subject.graph, node, operands)
        if node.op.facts.opaque:
            raise UnsupportedError(
                f"no kernel for the operator {node.op!r}", at=self.subject.origin(node)
            )
        try:
            if node.op.key in CONTROL:
                return CONTROL[node.op.key](self, node, operands)
            kernel = KERNELS.get(node.op.key, node.op.kernel)
            made = kernel(JAX, *self._ready(node, operands), **node.op.arguments(node.attrs))
        except UNKNOWN_CONTENT:
            return self.ask(node, operands)
        except GraphoptError as error:
            error.at = error.at or self.subject.origin(node)
            raise
        except NeedsValues:
            raise
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            raise ExecutionError(text, at=self.subject.origin(node)) from error
        return self._checked(node, made)

    def _ready(self, node: Node, operands: Sequence[Array]) -> list[Array]:
        """The operands as a kernel takes them: on the device but for what shapes the result."""
        host, static = node.op.facts.host_inputs, STATIC.get(node.op.key, ())
        ready = list(operands)
        for position, operand in enumerate(operands):
            if operand is None or position in host or on_device(operand):
                continue
            if position not in static or operand.nbytes > LITERAL:
                ready[position] = self.weights.device(operand)
        return ready

    def _checked(self, node: Node, made: Array) -> Array:
        """The result as arrays, of the dtypes that the op's type rule says."""
        kinds = types_of(node)
        several = kinds != (node.derived_type,)
        elements: list[Array] = [*made] if several else [made]
        found: list[Array] = [each if on_device(each) else np.asarray(each) for each in elements]
        for value, kind in zip(found, kinds, strict=True):
            if isinstance(kind, TensorType) and value.dtype != kind.dtype.numpy:
                text = f"jax gives {value.dtype} where {kind.dtype} is meant"
                raise UnsupportedError(text, at=self.subject.origin(node))
        return tuple(found) if several else found[0]

    def _joined(self, nodes: Sequence[Node]) -> Sources:
        return NOWHERE.union(*(self.sources.get(item, NOWHERE) for item in nodes))

    def ask(self, node: Node, operands: Sequence[Array]) -> Any:
        """Ask for the values of the inputs on whose content `node` depends; never returns.

        Raises NeedsValues when they are small integers (or floats, where an op is meant to be told
        by them what to do, like Resize by its scales), UnsupportedError when they are not.
        """
        device = [k for k, operand in enumerate(operands) if on_device(operand)]
        shaping = [k for k in device if k in node.op.facts.host_inputs]
        found = self._joined([node.inputs[k] for k in shaping or device])
        kinds = "iubf" if shaping and node.op.key != ("", "If") else "iub"
        if found and all(self.subject.is_small(position, kinds) for position in found):
            raise NeedsValues(found)
        names = ", ".join(repr(self.subject.graph.input_names[k]) for k in sorted(found))
        raise UnsupportedError(
            "its result's shape, or which branch runs, or how often a loop does, depends on the"
            f" content of input {names}, but jax compiles for shapes: use backend='numpy', or make"
            " that content a constant",
            at=self.subject.origin(node),
        )

    def body(self, node: Node, body: Body, captures: Sequence[Array]) -> tuple[Array, ...]:
        """The outputs of a body of `node` on arguments, at first the node's last inputs."""
        nodes = list(walk(body.outputs))
        parameters = [item for item in nodes if item.op.name == "Bound"]
        bound: dict[Node, int] = {item: item.attrs["index"] for item in parameters}
        outer = dict(enumerate(node.inputs, len(captures) - len(node.inputs)))
        sources = {
            item: self.sources.get(outer[k], NOWHERE) for item, k in bound.items() if k in outer
        }
        inner = Trace(self.subject, sources)
        return inner.run(nodes, body.outputs, {item: captures[k] for item, k in bound.items()})

    def on_device(self, value: Array) -> Array:
        """A value as one of the device."""
        return value if on_device(value) else self.weights.device(value)
