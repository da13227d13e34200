"""From a graph to a recording: its kernels are run in order on refs, and what is known is computed.

Shapes are those of the inputs, so all that follows from them alone (shape arithmetic, branches on
sizes, weights in another layout) is computed here, once. A node whose kernel cannot be written
down is one call that runs it as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

import numpy as np

from graphopt import dims
from graphopt.backends import reference
from graphopt.backends.executable import NeedsValues
from graphopt.backends.numpy import kernels
from graphopt.backends.numpy.block import (
    Array,
    ConcretizedError,
    DataDependentError,
    RecordingError,
    Ref,
    refs_in,
)
from graphopt.backends.numpy.namespace import RecordingNamespace
from graphopt.backends.numpy.operators import OPERATORS
from graphopt.backends.numpy.recorder import Recorder
from graphopt.body import Body
from graphopt.errors import ExecutionError, GraphoptError, UnsupportedError
from graphopt.graph import Graph
from graphopt.ir import Node, types_of, walk
from graphopt.provenance import described
from graphopt.structural import results
from graphopt.types import TensorType

MAX_CALLS = 4096
"""A node whose kernel makes more calls than this is run as a whole."""

MAX_VALUES = 64
"""Inputs of at most so many integers may be asked for their content."""


class Lowering:
    """The recording of a graph for inputs of certain shapes.

    With `ask`, it raises NeedsValues where knowing what inputs contain would tell more.
    """

    def __init__(self, *, ask: bool = True) -> None:
        self._may_ask = ask
        self.recorder = Recorder()
        self.namespace = RecordingNamespace(self.recorder, self.body)
        self._environment: dict[Node, Any] = {}
        self._sizes: dict[str, int] = {}
        self._told: Callable[[Node], str] = attrgetter("label")
        self._limit: int | None = None

    def graph(
        self, graph: Graph, inputs: Sequence[Any], by_value: Mapping[int, Array]
    ) -> list[Ref | Array]:
        """Record a graph; returns its outputs, arrays where they are known beforehand."""
        if graph.effects:
            raise UnsupportedError("a graph with effects cannot be run by the numpy backend yet")
        self._told = partial(described, graph)
        environment: dict[Node, Any] = {}
        for position, node in enumerate(graph.inputs):
            item = inputs[position]
            known = hasattr(item, "shape")
            ref = self.recorder.given(item.shape if known else (), item.dtype if known else object)
            if not known:
                ref = self._unknown(ref)
            environment[node] = by_value.get(position, ref)
            if known and isinstance(node.derived_type, TensorType):
                self._bind(node.derived_type, item.shape)
        return self._nodes(graph.nodes, graph.outputs, environment)

    def _bind(self, kind: TensorType, shape: tuple[int, ...]) -> None:
        """Note what the named sizes of an input are."""
        for size, number in zip(kind.shape or (), shape, strict=False):
            atom = None if size is None else dims.sole_atom(size)
            if isinstance(atom, dims.Symbol):
                self._sizes[atom.name] = number

    def body(self, body: Body, arguments: Sequence[Any]) -> tuple[Any, ...]:
        """Record a body's nodes in place of its call; a loop may call it without end."""
        if self._limit is not None and len(self.recorder.calls) > self._limit:
            raise DataDependentError("too many calls")
        nodes = list(walk(body.outputs))
        environment = {n: arguments[n.attrs["index"]] for n in nodes if n.op.name == "Bound"}
        owner, sizes = self.recorder.node, self._sizes
        self._sizes = {}  # a name stands for another size in a body
        made = self._nodes(nodes, body.outputs, environment)
        self.recorder.node, self._sizes = owner, sizes
        return tuple(made)

    def _nodes(
        self, nodes: Sequence[Node], outputs: Sequence[Node], environment: dict[Node, Any]
    ) -> list[Any]:
        outer, self._environment = self._environment, environment
        for node in nodes:
            if node not in environment:
                environment[node] = self._node(node, [environment[item] for item in node.inputs])
        self._environment = outer
        return [environment[node] for node in outputs]

    def _node(self, node: Node, operands: list[Any]) -> Any:
        if node.op.name == "Out":
            return operands[0][node.attrs["index"]]
        self.recorder.node = node
        mark = len(self.recorder.calls)
        try:
            if not any(True for _ in refs_in(operands)):
                return reference.evaluate(node, operands)
            if node.op.facts.opaque:
                raise UnsupportedError(f"no kernel for the operator {node.op!r}")
            return self._record(node, operands)
        except RecordingError as error:
            del self.recorder.calls[mark:]
            unsure = isinstance(error, ConcretizedError | DataDependentError)
            return self._whole(node, operands, tried=not unsure)
        except GraphoptError as error:
            if error.at in ("", node.label):
                error.at = self._told(node)
            raise
        except NeedsValues:
            raise
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            raise ExecutionError(text, at=self._told(node)) from error

    def _record(self, node: Node, operands: list[Any]) -> Any:
        """Run a node's kernel on refs; raises RecordingError when it cannot be written down."""
        mark = len(self.recorder.calls)
        outer, self._limit = self._limit, self._limit or mark + MAX_CALLS
        try:
            return self._kernel(node, operands, mark)
        finally:
            self._limit = outer

    def _kernel(self, node: Node, operands: list[Any], mark: int) -> Any:
        arguments = node.op.arguments(node.attrs)
        own = node.op.domain in ("", "graphopt")
        kernel = OPERATORS.get(node.op.name, node.op.kernel) if own else node.op.kernel
        try:
            made = kernel(self.namespace, *operands, **arguments)
        except DataDependentError:
            raise
        except RecordingError as error:
            if isinstance(error, ConcretizedError):
                self._ask(error.ref)
            hidden = [self._hidden(item) for item in operands]
            if all(new is old for new, old in zip(hidden, operands, strict=True)):
                raise
            del self.recorder.calls[mark:]
            made = kernel(self.namespace, *hidden, **arguments)
        if len(self.recorder.calls) - mark > MAX_CALLS:
            raise RecordingError("too many calls")
        return made

    def _hidden(self, operand: Array | Ref | None) -> Any:
        """A known array of floats as a ref: NumPy asks refs, not arrays, how to index by refs."""
        if isinstance(operand, np.ndarray) and operand.ndim and operand.dtype.kind == "f":
            return self.recorder.constant(operand)
        return operand

    def _ask(self, ref: Ref) -> None:
        """Ask for the content of the inputs that a ref follows from, if it may be asked for."""
        asked = [
            each for each in self.recorder.inputs if ref.buffer.sources >> each.buffer.input & 1
        ]
        if (
            self._may_ask
            and asked
            and all(
                each.is_known and each.dtype.kind in "iub" and each.size <= MAX_VALUES
                for each in asked
            )
        ):
            raise NeedsValues(each.buffer.input for each in asked)

    def _whole(self, node: Node, operands: list[Any], *, tried: bool) -> Any:
        """Record a node as one call; `tried` says that zeros may tell its results' shapes."""
        kinds = types_of(node)
        metas = [self._empty(node, k) for k in range(len(kinds))]
        if tried and not all(meta is not None for meta in metas):
            metas = self._tried(node, operands) or metas
        late = [self.recorder.late(meta) for meta in metas]
        self.recorder.call(tuple(late), partial(run_node, node), *operands)
        return late[0] if len(kinds) == 1 else tuple(late)

    def _empty(self, node: Node, index: int) -> Array | None:
        """An array of the type of a node's result, if all sizes follow from those of refs."""
        kind = results(node)[index].type
        if not isinstance(kind, TensorType) or kind.shape is None:
            return None
        shape = [None if size is None else dims.substitute(size, self._size) for size in kind.shape]
        sizes = [size for size in shape if isinstance(size, int)]
        return np.empty(sizes, kind.dtype.numpy) if len(sizes) == len(shape) else None

    def _size(self, atom: dims.Symbol | dims.DimOf) -> int | None:
        if isinstance(atom, dims.Symbol):
            return self._sizes.get(atom.name)
        value = self._environment.get(atom.value)
        if isinstance(value, Ref) and not value.is_known:
            return None
        return None if value is None else value.shape[atom.axis]

    def _tried(self, node: Node, operands: list[Any]) -> list[Array | None] | None:
        """Arrays like those that a node returns for zeros, None when it refuses them."""
        if not all(ref.is_known for ref in refs_in(operands)):
            return None
        zeros = [np.zeros(i.shape, i.dtype) if isinstance(i, Ref) else i for i in operands]
        try:
            made: Any = reference.evaluate(node, zeros)
        except GraphoptError:
            return None
        several: list[Array] = [*made] if isinstance(made, tuple) else [made]
        return [np.empty(item.shape, item.dtype) for item in several]

    def _unknown(self, ref: Ref) -> Ref:
        """An input that is no tensor: only whole nodes take it."""
        ref.buffer.meta = None
        unknown = Ref(self.recorder, ref.buffer, None)
        self.recorder.inputs[ref.buffer.input] = unknown
        return unknown


def run_node(node: Node, *operands: Any) -> Any:
    """Run a node as the reference does; what it returns is nobody else's."""
    made: Any = reference.evaluate(node, operands)
    if isinstance(made, tuple):
        return tuple(_apart(item, operands) for item in made)  # pyright: ignore[reportUnknownVariableType]
    return _apart(made, operands)


def _apart(made: Any, operands: Sequence[Any]) -> Any:
    return kernels.apart(made, operands) if isinstance(made, np.ndarray) else made
