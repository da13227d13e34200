"""The array that a traced function sees: behaves as numpy.ndarray, and holds a node of the graph.

It refers to a `Buffer`, which writes change for all that share it. A view remembers how it is read
from the buffer (`path`), and reads it again after a write. Where it is not certain that memory is
shared (`reshape` copies at times), reading or writing after the other side was written to raises.
An array whose content is known while tracing has it in the buffer, and NumPy computes with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np

from graphopt.frontends.trace.members import Members
from graphopt.frontends.trace.operators import Operators
from graphopt.frontends.trace.trace import Buffer, Stamp, live_trace
from graphopt.ir import Node

if TYPE_CHECKING:
    from graphopt.frontends.trace.record import Recorder

Array = Any
Step = Callable[[Node], Node]
"""How a view is read from what it is a view of."""
Doubt = tuple["ref[Buffer]", Stamp, int]
"""A buffer whose memory may be shared, while it lives; its stamp, and the version then."""


class TracedArray(Operators, Members):
    """See the module's text. `scalar` says that NumPy has a scalar here, which nothing mutates."""

    __slots__ = ("__weakref__", "_node", "_seen", "_static", "buffer", "doubts", "path", "scalar",
                 "trace")  # fmt: skip
    __hash__ = None  # type: ignore[assignment]  # pyright: ignore  # as that of ndarray
    __array_priority__ = 1e6

    def __init__(
        self,
        trace: Recorder,
        buffer: Buffer,
        path: tuple[Step, ...] = (),
        *,
        scalar: bool = False,
        doubts: tuple[Doubt, ...] = (),
        static: Array | None = None,
    ) -> None:
        self.trace = trace
        self.buffer = buffer
        self.path = path
        self.scalar = scalar
        self.doubts = doubts
        self._static = static
        self._seen = -1
        self._node: Node | None = None

    @property  # type: ignore[misc]  # isinstance(x, np.ndarray) must hold in the program
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.kind[1].type if self.scalar else np.ndarray

    @property
    def node(self) -> Node:
        """The content now."""
        live_trace(self)
        buffer = self.buffer
        if self._seen == buffer.version and self._node is not None and not self.doubts:
            return self._node
        self.check_certain()
        if self._seen != buffer.version or self._node is None:
            node = buffer.node
            for step in self.path:
                node = step(node)
            self._node, self._seen = node, buffer.version
        return self._node

    @property
    def static(self) -> Array | None:
        """The content as an array of NumPy (a view where this is one), None when it is traced."""
        if self.buffer.array is None or self.doubts:
            return None
        return self._static if self.path else self.buffer.array

    @property
    def kind(self) -> tuple[tuple[Any, ...], np.dtype[Any]]:
        """(shape, dtype), which no write changes; a size that is not known is a Dim."""
        static = self.static
        if static is not None:
            return static.shape, static.dtype
        node = self._node or self.node
        if node.shape is None:
            raise self.trace.fail("the number of axes is not known here")
        return node.shape, node.dtype.numpy

    def check_certain(self) -> None:
        """Raise TraceError when memory that may be shared was written to."""
        for _, stamp, version in self.doubts:
            if stamp.version != version:
                raise self.trace.fail(
                    "this array may share memory with one that was written to meanwhile",
                    "Whether reshape, ravel and their like copy depends on the array's layout.",
                    "Write .copy() where the array is made.",
                )

    def view_by(
        self, step: Step, *, content: Node | None = None, static: Array | None = None
    ) -> TracedArray:
        """A view of this array, whose content now is given as a node or as an array."""
        path = (*self.path, step)
        made = TracedArray(self.trace, self.buffer, path, doubts=self.doubts, static=static)
        if content is not None:
            made._node, made._seen = content, self.buffer.version
        return made

    def alias(self) -> TracedArray:
        """Another array object with the same memory, shape and order."""
        where = self.trace, self.buffer, self.path
        return TracedArray(*where, doubts=self.doubts, static=self._static)

    def doubt(self) -> tuple[Doubt, ...]:
        """The mark of an array that may share this one's memory."""
        return (*self.doubts, (ref(self.buffer), self.buffer.stamp, self.buffer.version))

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return self.trace.ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return self.trace.function(func, args, kwargs)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        static = self.static
        if static is not None:
            return np.array(static, dtype)
        raise self.trace.leak(self.node)

    def __getitem__(self, index: Any) -> Any:
        return self.trace.getitem(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        self.trace.setitem(self, index, value)

    def __len__(self) -> int:
        shape = self.kind[0]
        if not shape:
            raise TypeError("len() of unsized object")
        size: int = self.trace.number_of(shape[0], "the length of this array")
        return size

    def __iter__(self) -> Iterator[Any]:
        if not self.kind[0]:
            raise TypeError("iteration over a 0-d array")
        return iter([self[position] for position in range(len(self))])

    def __contains__(self, item: Any) -> bool:
        return bool((self == item).any())

    def __bool__(self) -> bool:
        return bool(self._value("the truth of a value", "Choose by np.where(test, a, b)."))

    def __int__(self) -> int:
        return int(self._value("the integer of a value", "Write x.astype(np.int64)."))

    def __float__(self) -> float:
        return float(self._value("the number of a value", "Write x.astype(np.float64)."))

    def __complex__(self) -> complex:
        return complex(self._value("the number of a value", "Write x.astype(np.complex128)."))

    def __index__(self) -> int:
        hint = "Where an array is indexed by it, write np.take(x, i)."
        return int(self._value("a value used as an index or a size", hint).__index__())

    def __round__(self, digits: int | None = None) -> Any:
        if digits is None:
            return round(self._value("the integer of a value", "Write np.rint(x)."))
        return self.trace.function(np.round, (self, digits), {})

    def item(self, *index: Any) -> Any:
        """The element as a Python number; raises TraceError unless it is known."""
        return self._value("an element as a Python number").item(*index)

    def tolist(self) -> Any:
        """The elements as nested lists; raises TraceError unless they are known."""
        return self._value("the elements as Python numbers").tolist()

    def tobytes(self, order: Any = "C") -> bytes:
        """The elements' bytes; raises TraceError unless they are known."""
        return bytes(self._value("the bytes of a value").tobytes(order))

    def _value(self, what: str, hint: str = "") -> Array:
        static = self.static
        if static is None:
            raise self.trace.needs_value(self.node, what, hint)
        return static

    def __copy__(self) -> Any:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> Any:
        return self.copy()

    def __reduce__(self) -> Any:
        raise self.trace.needs_value(self.node, "the content of a value")

    def __repr__(self) -> str:
        if self.trace.closed:
            return "traced array of a call that is over"
        shape, dtype = self.kind
        static = self.static
        if static is not None:
            return repr(static)
        return f"traced {dtype}[{', '.join(map(str, shape))}]"

    def __format__(self, spec: str) -> str:
        static = self.static
        return repr(self) if static is None else format(static, spec)
