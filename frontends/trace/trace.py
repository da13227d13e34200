"""One run of a function that records what it computes: its inputs, what it reads, and where.

A `Trace` is active while the function runs, in its thread alone (a context variable). It knows the
graph's inputs, the readings from outside that the recorded graph depends on, and for each node the
instruction of the user's program that made it. `graphopt.frontends.trace.record` adds what NumPy's
functions do to traced values.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt.errors import GraphoptError
from graphopt.frontends.trace.errors import Specialise, TraceError, trace_error
from graphopt.frontends.trace.places import Place, user_place
from graphopt.frontends.trace.sources import MISSING, Source
from graphopt.ir import Node
from graphopt.structural import constant, graph_input
from graphopt.types import TensorType, dtype_of

if TYPE_CHECKING:
    from graphopt.frontends.trace.array import TracedArray

Array = Any
SILENT = frozenset({"Input", "Constant", "Absent"})
ACTIVE: ContextVar[Trace | None] = ContextVar("graphopt_trace", default=None)
"""The trace that runs in this thread."""


class Stamp:
    """How often a buffer was written to; it may outlive the buffer."""

    __slots__ = ("version",)

    def __init__(self) -> None:
        self.version = 0


class Buffer:
    """The memory of an array and of its views: what it holds now.

    `array` is the content while nothing traced has been written to it, else `node` is. `stamp`
    counts the writes. `origin` is "fresh", "argument" (written back to the caller) or "captured".
    """

    __slots__ = ("__weakref__", "_constant", "_node", "array", "origin", "stamp", "written")

    def __init__(self, content: Node | Array, origin: str = "fresh") -> None:
        static = isinstance(content, np.ndarray)
        self.array: Array | None = content if static else None
        self._node: Node | None = None if static else content
        self._constant: tuple[int, Node] | None = None
        self.origin = origin
        self.stamp = Stamp()
        self.written = False

    @classmethod
    def of_constant(cls, node: Node) -> Buffer:
        """The buffer of a new array whose content is known."""
        assert node.constant is not None
        buffer = cls(np.array(node.constant.array))
        buffer._constant = (0, node)
        return buffer

    @property
    def version(self) -> int:
        """How often it was written to."""
        return self.stamp.version

    @property
    def node(self) -> Node:
        """The content as a node."""
        if self._node is not None:
            return self._node
        if self._constant is None or self._constant[0] != self.version:
            self._constant = (self.version, constant(self.array))
        return self._constant[1]

    def write(self, node: Node) -> None:
        """Another content, of the same shape and dtype."""
        self._node = node
        self.array = None
        self.touch()

    def touch(self) -> None:
        """Note that the content is another now."""
        self.stamp.version += 1
        self.written = True


@dataclass(eq=False)
class Input:
    """An input of the graph: a leaf of the arguments, or a captured array that is read anew.

    `number` says that the leaf is a Python number.
    """

    node: Node
    leaf: int | None = None
    source: Source | None = None
    buffer: Buffer | None = None
    number: bool = False


@dataclass(eq=False)
class Trace:
    """What one run of a function recorded. See the module's text."""

    inputs: list[Input] = field(default_factory=list[Input])
    guards: list[tuple[Source, Any]] = field(default_factory=list[tuple[Source, Any]])
    places: dict[Node, Place] = field(default_factory=dict[Node, Place])
    read: dict[tuple[Any, ...], Any] = field(default_factory=dict[tuple[Any, ...], Any])
    seen: dict[Any, Any] = field(default_factory=dict[Any, Any])
    kept: list[Any] = field(default_factory=list[Any])  # ids of these stand in `seen` and `read`
    failure: TraceError | None = None
    asked: Specialise | None = None
    closed: bool = False
    deep: int = 0

    def new_input(self, name: str, kind: TensorType) -> Node:
        """An input node; a name that is taken gets a number."""
        taken = {item.node.attrs["name"] for item in self.inputs}
        unique, count = name, 1
        while unique in taken:
            count += 1
            unique = f"{name}_{count}"
        return graph_input(unique, kind)

    def capture(self, array: Array, source: Source) -> Buffer:
        """The buffer of an array from outside, whose content is read at each call."""
        key = ("array", id(array))
        if key not in self.seen:
            check_tensor(array, source.text)
            if is_frozen(array):
                made = Buffer(array, "captured")
            else:
                node = self.new_input(source.label, TensorType(dtype_of(array.dtype), array.shape))
                made = Buffer(node, "captured")
                self.inputs.append(Input(node, source=source, buffer=made))
            self.kept.append(array)
            self.seen[key] = made
        buffer: Buffer = self.seen[key]
        item = next((item for item in self.inputs if item.buffer is buffer), None)
        if item is None:
            self.guards.append((source, array))
        elif item.source is not None and item.source.key != source.key:
            self.guards += [(item.source, array), (source, array)]  # that both give one array
        return buffer

    def guard(self, source: Source, value: Any) -> None:
        """Note that the trace holds as long as this reading gives this value."""
        self.guards.append((source, value))
        self.kept.append(source.holder)

    def record(self, results: Iterable[Node], place: Place | None = None) -> None:
        """Say of the nodes that were just made where in the user's program that was."""
        places, where = self.places, place or user_place()
        pending = list(results)
        while pending:
            node = pending.pop()
            if node not in places and node.op.name not in SILENT:
                places[node] = where
                pending += node.inputs

    def scalar_inputs(self, node: Node) -> frozenset[int] | None:
        """The leaves, all Python numbers, that a node depends on; None when it depends on more."""
        by_node = {item.node: item for item in self.inputs}
        found: set[int] = set()
        pending, seen = [node], {node}
        while pending:
            current = pending.pop()
            if current.op.name == "Input":
                item = by_node.get(current)
                if item is None or not item.number or item.leaf is None:
                    return None
                found.add(item.leaf)
            fresh = [other for other in current.inputs if other not in seen]
            seen.update(fresh)
            pending += fresh
        return frozenset(found) or None

    def needs_value(self, node: Node, what: str, hint: str = "") -> BaseException:
        """What to raise where Python needs the value of a traced one."""
        place = user_place()
        leaves = self.scalar_inputs(node)
        if leaves is not None:
            self.asked = Specialise(leaves, f"{what} at {place}")
            return self.asked
        text = place.expression.strip()
        named = f" ({text})" if text and "\n" not in text else ""
        why = "The function is traced once for all values, so Python cannot look at one."
        return self.fail(
            f"{what}{named} is not known while the function is traced",
            self.origin(node),
            why,
            hint,
            place=place,
        )

    def origin(self, node: Node) -> str:
        """A sentence that says where a traced value comes from: from another line, if it does."""
        here, pending, seen = user_place(), [node], {node}
        for current in pending:
            place = self.places.get(current)
            if place is not None and (place.code is not here.code or place.line != here.line):
                text = place.expression.strip()
                where = f"{place.location.file}:{place.line}"
                return f"It comes from {text} ({where})." if text else f"It comes from {where}."
            fresh = [item for item in current.inputs if item not in seen]
            seen.update(fresh)
            pending += fresh
        names = [f"{n.attrs['name']}" for n in pending if n.op.name == "Input"]
        return f"It comes from the argument {names[0]}." if names else ""

    def fail(self, message: str, *notes: str, place: Place | None = None) -> TraceError:
        """The error that the trace cannot go on; it stays failed even if the program goes on."""
        error = trace_error(message, place or user_place(), *notes)
        self.failure = self.failure or error
        return error

    def refused(self, error: GraphoptError) -> TraceError:
        """The error of a type rule or of the library, with the user's line."""
        made = trace_error(
            error.message, user_place(), f"Raised by {error.at}." if error.at else ""
        )
        for note in getattr(error, "__notes__", ()):
            made.add_note(note)
        return made


def check_tensor(array: Array, what: str) -> None:
    """Raise TraceError for an array that a graph cannot hold: of objects, of a subclass, …"""
    if type(array) is not np.ndarray:
        kind = f"{type(array).__module__}.{type(array).__qualname__}"
        raise trace_error(f"{what} is a {kind}, not a plain array", user_place())
    try:
        dtype = dtype_of(array.dtype)
    except TypeError as error:
        raise trace_error(f"{what}: {error}", user_place()) from None
    if array.dtype != dtype.numpy:
        raise trace_error(
            f"{what}: arrays of dtype {array.dtype!r} are not supported", user_place()
        )


def is_frozen(array: Array) -> bool:
    """Whether nobody can write to an array: neither it nor what it is a view of is writable."""
    while isinstance(array, np.ndarray):
        if array.flags.writeable:
            return False
        array = array.base
    return array is None or isinstance(array, bytes)


def active() -> Trace | None:
    """The trace that runs in this thread, if one does."""
    return ACTIVE.get()


def live_trace(value: TracedArray | Any) -> Trace:
    """The trace of a traced value; raises TraceError when it is over."""
    trace: Trace = value.trace
    if trace.closed:
        raise trace_error(
            "a traced value is used after the function that made it has returned",
            user_place(),
            "It was stored outside of the function, or belongs to another thread.",
        )
    return trace


__all__ = ["MISSING", "Buffer", "Input", "Trace", "active", "live_trace"]
