"""What a program on NumPy is made of: buffers, arrays over them, and calls of NumPy's functions.

A kernel that is run on `Ref`s instead of arrays does not compute: each NumPy function that it calls
is written down as a `Call`, with the memory that it reads and writes. A ref's `meta` is an array
of the same shape, dtype and strides over memory that is never touched, so NumPy itself says what a
view is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from graphopt.ir import Node

Array = np.ndarray[Any, Any]
Kind = Literal["temp", "constant", "input", "late", "output"]


class RecordingError(Exception):
    """A kernel did what cannot be written down; its node is then run as a whole."""


class ConcretizedError(RecordingError):
    """A kernel asked for the content of an array that is only known at run time."""

    def __init__(self, ref: Ref) -> None:
        super().__init__("the content is needed")
        self.ref = ref


class DataDependentError(RecordingError):
    """The shape of a result depends on the content of an array."""


@dataclass(eq=False, slots=True)
class Buffer:
    """The memory of an array: a place in the arena (temp), the caller's, or what a call returns.

    That of a constant is here as a ref, where a kernel must not know that it is known.

    `meta` is an array of all of it, None where not even its shape is known beforehand. `sources`
    has a bit for each input of the program whose content it depends on.
    """

    kind: Kind
    meta: Array | None
    sources: int = 0
    input: int = -1


@dataclass(frozen=True, slots=True)
class View:
    """How a ref follows from another: `func(parent, *args)`, where its place is not known."""

    func: Callable[..., Any]
    parent: Ref
    args: tuple[Any, ...]


class Ref(NDArrayOperatorsMixin):
    """An array that is not there yet, as kernels see it: all or a part of a buffer."""

    __slots__ = ("_meta", "block", "buffer", "how")

    def __init__(
        self, block: Block, buffer: Buffer, meta: Array | None, how: View | None = None
    ) -> None:
        self.block = block
        self.buffer = buffer
        self._meta = meta
        self.how = how

    def __hash__(self) -> int:
        return id(self)

    @property
    def meta(self) -> Array:
        """An array of this shape, dtype and strides, without content."""
        if self._meta is None:
            raise DataDependentError("the shape is not known")
        return self._meta

    @property
    def is_known(self) -> bool:
        """Whether shape and dtype are known."""
        return self._meta is not None

    @property
    def is_whole(self) -> bool:
        """Whether this is all of its buffer, element by element."""
        return self.is_known and self.buffer.meta is not None and self.how is None

    @property
    def shape(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = self.meta.shape
        return shape

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = self.meta.dtype
        return dtype

    @property
    def ndim(self) -> int:
        return self.meta.ndim

    @property
    def size(self) -> int:
        return self.meta.size

    @property
    def nbytes(self) -> int:
        return self.meta.nbytes

    @property
    def itemsize(self) -> int:
        return self.meta.itemsize

    def __len__(self) -> int:
        return len(self.meta)

    def __iter__(self) -> Iterator[Any]:
        return (self[k] for k in range(len(self.meta)))

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return self.block.ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        return self.block.function(func, args, kwargs)

    def __getitem__(self, index: Any) -> Any:
        return self.block.getitem(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        self.block.setitem(self, index, value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self.block.method(self, name)

    def _concretize(self, *_: Any, **__: Any) -> Any:
        raise ConcretizedError(self)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise RecordingError("NumPy was given an array that is not there yet")

    __bool__ = __int__ = __float__ = __complex__ = __index__ = _concretize
    item = tolist = tobytes = _concretize

    def __repr__(self) -> str:
        kind = f"{self.dtype}{list(self.shape)}" if self.is_known else "?"
        return f"<{self.buffer.kind} {kind}>"


@dataclass(eq=False, slots=True)
class Call:
    """One call of a function of NumPy, or of a kernel: `func(*args, **kwargs)`.

    Refs among the arguments (in tuples and lists, too) stand for arrays. It writes the memory of
    `writes`, which are among them, and returns the arrays `returns`. `inplace` says that a result
    may lie where an operand of the same layout lies.
    """

    node: Node | None
    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    writes: tuple[Ref, ...] = ()
    returns: tuple[Ref, ...] = ()
    inplace: bool = False
    cost: float = 0.0

    @property
    def refs(self) -> Iterator[Ref]:
        """All refs among the arguments."""
        return refs_in((self.args, tuple(self.kwargs.values())))

    @property
    def reads(self) -> Iterator[Ref]:
        """The refs that it reads, but for those into memory that it writes."""
        written = {ref.buffer for ref in self.writes}
        return (ref for ref in self.refs if ref.buffer not in written)


def refs_in(value: Any) -> Iterator[Ref]:
    """The refs in nested tuples and lists."""
    if isinstance(value, Ref):
        yield value
    elif type(value) in (tuple, list):
        for item in value:
            yield from refs_in(item)


def metas(value: Any) -> Any:
    """Nested arguments with the meta in place of each ref."""
    if isinstance(value, Ref):
        return value.meta
    if type(value) in (tuple, list):
        return type(value)(metas(item) for item in value)
    return value


@dataclass
class Block:
    """Calls in their order, as they are written down; what it says of functions is in `recorder`.

    `node` is the node whose kernel is being run.
    """

    calls: list[Call] = field(default_factory=list[Call])
    inputs: list[Ref] = field(default_factory=list[Ref])
    node: Node | None = None

    def temp(self, shape: Sequence[int], dtype: Any) -> Ref:
        """A new array in the arena; never one of objects, which are pointers."""
        meta = np.empty(shape, dtype)
        if meta.dtype.hasobject:
            raise RecordingError("objects have no place in the arena")
        return Ref(self, Buffer("temp", meta), meta)

    def given(self, shape: Sequence[int], dtype: Any) -> Ref:
        """The next input."""
        meta = np.empty(shape, dtype)
        position = len(self.inputs)
        ref = Ref(self, Buffer("input", meta, 1 << position, position), meta)
        self.inputs.append(ref)
        return ref

    def constant(self, array: Array) -> Ref:
        """A known array as a ref."""
        return Ref(self, Buffer("constant", array), array)

    def late(self, meta: Array | None) -> Ref:
        """An array that a call returns."""
        return Ref(self, Buffer("late", meta), meta)

    def view(self, parent: Ref, func: Callable[..., Any], *args: Any) -> Ref:
        """What a function makes of an array: a view, or a copy where there is no such view."""
        made = func(parent.meta, *args)
        base = parent.buffer.meta
        if base is not None and (not made.size or np.may_share_memory(made, base)):
            same = made.shape == parent.shape and made.strides == parent.meta.strides
            if same and made.dtype == parent.dtype and base.size == made.size:
                return parent
            return Ref(self, parent.buffer, made, View(func, parent, args))
        if parent.meta.flags.c_contiguous:  # then a copy of it would have no such view, either
            raise RecordingError(f"{func} makes no view")
        whole = self.temp(parent.shape, parent.dtype)
        self.write(whole, np.copyto, whole, parent)
        return self.view(whole, func, *args)

    def write(
        self,
        target: Ref,
        func: Callable[..., Any],
        *args: Any,
        inplace: bool = False,
        **kwargs: Any,
    ) -> Ref:
        """Record a call that writes the array `target`, which is among its arguments."""
        self._record(Call(self.node, func, args, kwargs, (target,), (), inplace))
        return target

    def call(
        self, returns: tuple[Ref, ...], func: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> None:
        """Record a call that returns arrays of its own."""
        self._record(Call(self.node, func, args, kwargs, (), returns))

    def _record(self, call: Call) -> None:
        sources = 0
        for ref in call.refs:
            sources |= ref.buffer.sources
        for ref in (*call.writes, *call.returns):
            ref.buffer.sources |= sources
        self.calls.append(call)

    # What kernels do to refs; the recorder says what it means.

    def ufunc(self, ufunc: np.ufunc, method: str, inputs: Any, kwargs: Any) -> Any:
        """A ufunc, or a method of it, called with refs."""
        raise NotImplementedError

    def function(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Another function of NumPy, called with refs."""
        raise NotImplementedError

    def getitem(self, ref: Ref, index: Any) -> Any:
        """`ref[index]`."""
        raise NotImplementedError

    def setitem(self, ref: Ref, index: Any, value: Any) -> None:
        """`ref[index] = value`."""
        raise NotImplementedError

    def method(self, ref: Ref, name: str) -> Any:
        """A method of arrays, bound to a ref."""
        raise NotImplementedError
